//! A deserializer around another one that gives bytes where a placeholder stands.
//!
//! Two kinds of request can mean bytes: one for bytes, and one for whatever comes. For these, an
//! object whose first member marks it as a placeholder is replaced by its attachment. All other
//! requests go on to the inner deserializer, wrapped so that the same holds further down. Nothing
//! is collected in between, and no request goes deeper than the inner deserializer allows.
//!
//! Relies on every placeholder being in its usual form; see the `placeholder` module.

use std::{borrow::Cow, fmt};

use bytes::Bytes;
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, Error as _, IntoDeserializer, MapAccess,
    SeqAccess, VariantAccess, Visitor,
};
use serde_json::value::RawValue;

use crate::placeholder;

/// Something of serde's (a deserializer, a seed, an access) with the attachments at hand.
pub(crate) struct Binary<'a, T> {
    inner: T,
    attachments: &'a [Bytes],
}

impl<'a, T> Binary<'a, T> {
    pub(crate) fn new(inner: T, attachments: &'a [Bytes]) -> Self {
        Self { inner, attachments }
    }

    fn wrap<U>(&self, inner: U) -> Binary<'a, U> {
        Binary::new(inner, self.attachments)
    }

    /// A visitor that takes objects for what they are.
    fn typed<V>(&self, visitor: V) -> Replacing<'a, V> {
        Replacing {
            visitor,
            attachments: self.attachments,
            wants_bytes: false,
        }
    }

    /// A visitor that gets bytes for a placeholder.
    fn replacing<V>(&self, visitor: V) -> Replacing<'a, V> {
        Replacing {
            wants_bytes: true,
            ..self.typed(visitor)
        }
    }
}

macro_rules! forward {
    ($($method:ident($($name:ident: $type:ty),*) $($wrap:ident)?;)*) => {$(
        fn $method<V: Visitor<'de>>(
            self,
            $($name: $type,)*
            visitor: V,
        ) -> Result<V::Value, D::Error> {
            $(let visitor = self.$wrap(visitor);)?
            self.inner.$method($($name,)* visitor)
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Binary<'_, D> {
    type Error = D::Error;

    forward! {
        deserialize_bool();
        deserialize_i8();
        deserialize_i16();
        deserialize_i32();
        deserialize_i64();
        deserialize_i128();
        deserialize_u8();
        deserialize_u16();
        deserialize_u32();
        deserialize_u64();
        deserialize_u128();
        deserialize_f32();
        deserialize_f64();
        deserialize_char();
        deserialize_str();
        deserialize_string();
        deserialize_unit();
        deserialize_unit_struct(name: &'static str);
        deserialize_identifier();
        deserialize_ignored_any();
        deserialize_any() replacing;
        deserialize_option() typed;
        deserialize_seq() typed;
        deserialize_tuple(len: usize) typed;
        deserialize_map() typed;
        deserialize_newtype_struct(name: &'static str) typed;
        deserialize_tuple_struct(name: &'static str, len: usize) typed;
        deserialize_struct(name: &'static str, fields: &'static [&'static str]) typed;
        deserialize_enum(name: &'static str, variants: &'static [&'static str]) typed;
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.deserialize_any(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.deserialize_any(visitor)
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Binary<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<S::Value, D::Error> {
        let json = self.wrap(json);
        self.inner.deserialize(json)
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Binary<'_, A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        let seed = self.wrap(seed);
        self.inner.next_element_seed(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, 'a, A: EnumAccess<'de>> EnumAccess<'de> for Binary<'a, A> {
    type Error = A::Error;
    type Variant = Binary<'a, A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self::Variant), A::Error> {
        let (name, variant) = self.inner.variant_seed(seed)?;
        Ok((name, Binary::new(variant, self.attachments)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Binary<'_, A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        let seed = self.wrap(seed);
        self.inner.newtype_variant_seed(seed)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        let visitor = self.typed(visitor);
        self.inner.tuple_variant(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        let visitor = self.typed(visitor);
        self.inner.struct_variant(fields, visitor)
    }
}

/// A visitor around another one.
struct Replacing<'a, V> {
    visitor: V,
    attachments: &'a [Bytes],
    /// Whether a placeholder is to be replaced right here.
    wants_bytes: bool,
}

macro_rules! visit {
    ($($method:ident($type:ty);)*) => {$(
        fn $method<E: de::Error>(self, value: $type) -> Result<V::Value, E> {
            self.visitor.$method(value)
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Replacing<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(f)
    }

    visit! {
        visit_bool(bool);
        visit_i64(i64);
        visit_u64(u64);
        visit_f64(f64);
        visit_str(&str);
        visit_borrowed_str(&'de str);
        visit_string(String);
    }

    fn visit_unit<E: de::Error>(self) -> Result<V::Value, E> {
        self.visitor.visit_unit()
    }

    fn visit_none<E: de::Error>(self) -> Result<V::Value, E> {
        self.visitor.visit_none()
    }

    fn visit_some<D: Deserializer<'de>>(self, json: D) -> Result<V::Value, D::Error> {
        self.visitor.visit_some(Binary::new(json, self.attachments))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, json: D) -> Result<V::Value, D::Error> {
        let json = Binary::new(json, self.attachments);
        self.visitor.visit_newtype_struct(json)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_seq(Binary::new(seq, self.attachments))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, data: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_enum(Binary::new(data, self.attachments))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<V::Value, A::Error> {
        let mut first = First::None;
        if self.wants_bytes {
            first = match map.next_key_seed(Name)? {
                None => First::End,
                // With escapes in it, it is not borrowed, and not the mark of a placeholder.
                Some(Cow::Borrowed(name)) if name == placeholder::MARK => {
                    let value: &RawValue = map.next_value()?;
                    if value.get() == "true" {
                        let bytes = attachment(&mut map, self.attachments)?;
                        return self.visitor.visit_bytes(bytes);
                    }
                    First::Member(name.into(), value)
                }
                Some(name) => First::Name(name),
            };
        }
        self.visitor.visit_map(Members {
            first,
            map,
            attachments: self.attachments,
        })
    }
}

/// The attachment that a placeholder names; its first member has been read.
fn attachment<'de, 'a, A: MapAccess<'de>>(
    map: &mut A,
    attachments: &'a [Bytes],
) -> Result<&'a Bytes, A::Error> {
    let mut num = None;
    while let Some(name) = map.next_key_seed(Name)? {
        if name == placeholder::NUM {
            num = Some(map.next_value::<usize>()?);
        } else {
            map.next_value::<de::IgnoredAny>()?;
        }
    }
    num.and_then(|num| attachments.get(num))
        .ok_or_else(|| A::Error::custom("illegal attachments"))
}

/// What has been read of an object in order to see whether it is a placeholder.
enum First<'de> {
    None,
    Name(Cow<'de, str>),
    Member(Cow<'de, str>, &'de RawValue),
    Value(&'de RawValue),
    End,
}

/// The members of an object, those included that have been read already.
struct Members<'a, 'de, A> {
    first: First<'de>,
    map: A,
    attachments: &'a [Bytes],
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Members<'_, 'de, A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        let name = match std::mem::replace(&mut self.first, First::None) {
            First::Name(name) => name,
            First::Member(name, value) => {
                self.first = First::Value(value);
                name
            }
            First::End => return Ok(None),
            First::None | First::Value(_) => return self.map.next_key_seed(seed),
        };
        seed.deserialize(name.into_deserializer()).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        let First::Value(value) = self.first else {
            return self
                .map
                .next_value_seed(Binary::new(seed, self.attachments));
        };
        self.first = First::None;
        if value.get().starts_with(['[', '{']) {
            // reading it here would start to count its depth from zero
            return Err(A::Error::custom(
                "a list or an object called `_placeholder` beside binary data",
            ));
        }
        seed.deserialize(&mut serde_json::Deserializer::from_str(value.get()))
            .map_err(A::Error::custom)
    }

    fn size_hint(&self) -> Option<usize> {
        self.map.size_hint()
    }
}

/// Reads the name of a member, without a copy if it has no escapes.
struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Self::Value, D::Error> {
        json.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Name {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a member")
    }

    fn visit_borrowed_str<E: de::Error>(self, name: &'de str) -> Result<Self::Value, E> {
        Ok(name.into())
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(name.to_owned().into())
    }
}
