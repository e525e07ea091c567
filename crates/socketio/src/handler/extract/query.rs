//! A query string as a Rust type.

use std::{borrow::Cow, fmt};

use serde::de::{
    DeserializeOwned, Deserializer, EnumAccess, IntoDeserializer, Visitor,
    value::{CowStrDeserializer, Error, MapDeserializer},
};

/// The query has another shape.
#[derive(Clone, Debug, PartialEq)]
pub struct InvalidQuery(Error);

impl fmt::Display for InvalidQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid query: {}", self.0)
    }
}

impl std::error::Error for InvalidQuery {}

/// Of a name that comes several times the last value counts, as everywhere in Socket.IO.
pub(super) fn deserialize<T: DeserializeOwned>(query: &str) -> Result<T, InvalidQuery> {
    let mut pairs = Vec::<(Cow<'_, str>, Cow<'_, str>)>::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        pairs.retain(|(earlier, _)| *earlier != name);
        pairs.push((name, value));
    }
    deserialize_pairs(pairs.into_iter()).map_err(InvalidQuery)
}

/// Names and values, each name once.
pub(super) fn deserialize_pairs<'a, T: DeserializeOwned>(
    pairs: impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)>,
) -> Result<T, Error> {
    T::deserialize(MapDeserializer::new(
        pairs.map(|(name, value)| (name, Value(value))),
    ))
}

/// A value of a query: text, which types other than text are parsed from.
struct Value<'de>(Cow<'de, str>);

impl<'de> IntoDeserializer<'de> for Value<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! parse {
    ($($deserialize:ident $visit:ident,)*) => {
        $(
            fn $deserialize<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
                match self.0.parse() {
                    Ok(value) => visitor.$visit(value),
                    Err(_) => self.deserialize_any(visitor),
                }
            }
        )*
    };
}

impl<'de> Deserializer<'de> for Value<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
            Cow::Owned(text) => visitor.visit_string(text),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_enum(Variant(self.0.into_deserializer()))
    }

    parse! {
        deserialize_bool visit_bool,
        deserialize_i8 visit_i8,
        deserialize_i16 visit_i16,
        deserialize_i32 visit_i32,
        deserialize_i64 visit_i64,
        deserialize_i128 visit_i128,
        deserialize_u8 visit_u8,
        deserialize_u16 visit_u16,
        deserialize_u32 visit_u32,
        deserialize_u64 visit_u64,
        deserialize_u128 visit_u128,
        deserialize_f32 visit_f32,
        deserialize_f64 visit_f64,
    }

    serde::forward_to_deserialize_any! {
        char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct
        identifier ignored_any
    }
}

/// The name of a variant without content.
struct Variant<'de>(CowStrDeserializer<'de, Error>);

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = Error;
    type Variant = <CowStrDeserializer<'de, Error> as EnumAccess<'de>>::Variant;

    fn variant_seed<V: serde::de::DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Self::Variant), Error> {
        self.0.variant_seed(seed)
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Colour {
        Red,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Shape {
        name: String,
        count: u16,
        ratio: Option<f32>,
        #[serde(default)]
        round: bool,
        colour: Option<Colour>,
    }

    #[test]
    fn fields_are_parsed() {
        let shape = deserialize::<Shape>("count=1&name=a%20b&EIO=4&count=2&ratio=0.5&colour=red");
        assert_eq!(
            shape,
            Ok(Shape {
                name: "a b".into(),
                count: 2,
                ratio: Some(0.5),
                round: false,
                colour: Some(Colour::Red),
            })
        );
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let error = deserialize::<Shape>("name=a&count=many").unwrap_err();
        assert_eq!(
            error.to_string(),
            "invalid query: invalid type: string \"many\", expected u16"
        );
        let error = deserialize::<Shape>("name=a").unwrap_err();
        assert_eq!(error.to_string(), "invalid query: missing field `count`");
        assert!(deserialize::<Shape>("name=a&count=1&colour=blue").is_err());
    }
}
