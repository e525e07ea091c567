//! Arguments into values: which types take several arguments, and what they get if there are too
//! few.

use std::{cell::Cell, fmt, marker::PhantomData};

use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, IgnoredAny, SeqAccess, Visitor,
};
use serde_json::{Error, de::StrRead};

use crate::{Args, ArgsError, binary::Binary, json};

type Result<T, E = Error> = std::result::Result<T, E>;

/// Reads arguments as a Rust type; see [`Args::deserialize`].
pub(crate) fn deserialize<T: DeserializeOwned>(args: &Args) -> Result<T, ArgsError> {
    let progress = Progress::default();
    let read = |array: &str| {
        T::deserialize(Top {
            args,
            array,
            progress: &progress,
        })
    };
    let result = read(args.array()).or_else(|error| {
        // the JSON is valid, so what is wrong with its syntax may be half a surrogate pair
        let replaced = if error.is_syntax() {
            json::replace_lone_surrogates(args.array())
        } else {
            None
        };
        progress.argument.set(0);
        replaced.map_or(Err(error), |array| read(&array))
    });
    result.map_err(|error| {
        let argument = progress.argument.get();
        if progress.missing.get() {
            ArgsError::missing(argument, args.event())
        } else {
            ArgsError::mismatch(argument, args.event(), &error)
        }
    })
}

/// Which argument is being read, for the error message.
#[derive(Default)]
struct Progress {
    argument: Cell<usize>,
    missing: Cell<bool>,
}

impl Progress {
    fn next(&self) {
        self.argument.set(self.argument.get() + 1);
    }
}

/// All arguments.
struct Top<'de, 'p> {
    args: &'p Args,
    /// The text of the arguments; not their own if that had to be mended.
    array: &'de str,
    progress: &'p Progress,
}

impl<'de, 'p> Top<'de, 'p> {
    /// A reader of the first argument, which does not care what comes behind that.
    fn first(&self) -> Option<serde_json::Deserializer<StrRead<'de>>> {
        self.progress.next();
        let text = &self.array[self.args.start()..];
        (!self.args.is_empty()).then(|| serde_json::Deserializer::from_str(text))
    }

    fn missing(&self) -> Missing<'p, Error> {
        Missing {
            progress: self.progress,
            error: PhantomData,
        }
    }

    fn several<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value> {
        let several = Several {
            args: self.args,
            len,
            visitor,
            progress: self.progress,
        };
        serde_json::Deserializer::from_str(self.array).deserialize_seq(several)
    }
}

macro_rules! first {
    ($($method:ident($($name:ident: $type:ty),*);)*) => {$(
        fn $method<V: Visitor<'de>>(self, $($name: $type,)* visitor: V) -> Result<V::Value> {
            match (self.first(), self.args.attachments()) {
                (None, _) => self.missing().$method($($name,)* visitor),
                (Some(mut json), []) => json.$method($($name,)* visitor),
                (Some(mut json), attachments) => {
                    Binary::new(&mut json, attachments).$method($($name,)* visitor)
                }
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Top<'de, '_> {
    type Error = Error;

    first! {
        deserialize_any();
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
        deserialize_bytes();
        deserialize_byte_buf();
        deserialize_option();
        deserialize_seq();
        deserialize_map();
        deserialize_struct(name: &'static str, fields: &'static [&'static str]);
        deserialize_enum(name: &'static str, variants: &'static [&'static str]);
        deserialize_identifier();
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_unit()
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value> {
        // serde_json asks for its `RawValue` like this; only its own deserializer can give it
        if name.starts_with("$serde_json::")
            && let Some(mut json) = self.first()
        {
            return json.deserialize_newtype_struct(name, visitor);
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value> {
        self.several(len, visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value> {
        self.several(len, visitor)
    }
}

/// Visits the array: skips the name, hands on as many arguments as are asked for, skips the rest.
struct Several<'p, V> {
    args: &'p Args,
    len: usize,
    visitor: V,
    progress: &'p Progress,
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Several<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(f)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<V::Value, A::Error> {
        if self.args.is_named() {
            seq.next_element::<IgnoredAny>()?;
        }
        let value = self.visitor.visit_seq(Elements {
            seq: &mut seq,
            left: self.len,
            args: self.args,
            progress: self.progress,
        })?;
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(value)
    }
}

struct Elements<'a, 'p, A> {
    seq: &'a mut A,
    left: usize,
    args: &'p Args,
    progress: &'p Progress,
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Elements<'_, '_, A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        self.progress.next();
        let mut seed = Some(seed);
        let value = self.seq.next_element_seed(Element {
            seed: &mut seed,
            args: self.args,
        })?;
        match seed {
            // nobody took it: there was no element left
            Some(seed) => seed
                .deserialize(Missing {
                    progress: self.progress,
                    error: PhantomData,
                })
                .map(Some),
            None => Ok(value),
        }
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

struct Element<'a, S> {
    seed: &'a mut Option<S>,
    args: &'a Args,
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Element<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<S::Value, D::Error> {
        let seed = self.seed.take();
        let seed = seed.ok_or_else(|| de::Error::custom("an element was read twice"))?;
        match self.args.attachments() {
            [] => seed.deserialize(json),
            attachments => seed.deserialize(Binary::new(json, attachments)),
        }
    }
}

/// An argument that is not there: `None` for an `Option`, an error for everything else.
struct Missing<'p, E> {
    progress: &'p Progress,
    error: PhantomData<E>,
}

impl<'de, E: de::Error> Deserializer<'de> for Missing<'_, E> {
    type Error = E;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, E> {
        self.progress.missing.set(true);
        Err(E::custom("missing"))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, E> {
        visitor.visit_none()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, E> {
        visitor.visit_newtype_struct(self)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}
