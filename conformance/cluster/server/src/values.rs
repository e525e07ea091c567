//! JSON of the tests, in which `{"$binary": "base64"}` stands for binary data.

use std::fmt;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_json::{Map, Value, json};
use socketio::{Args, BoxError};

const MARK: &str = "$binary";

/// Arguments of an event.
pub(crate) fn args(values: &Value) -> Result<Args, BoxError> {
    fn collect(value: &Value, attachments: &mut Vec<Bytes>) -> Result<Value, BoxError> {
        Ok(match value {
            Value::Object(object) if object.contains_key(MARK) => {
                let bytes = BASE64_STANDARD.decode(object[MARK].as_str().unwrap_or_default())?;
                let num = attachments.len();
                attachments.push(bytes.into());
                json!({ "_placeholder": true, "num": num })
            }
            Value::Object(object) => {
                let mut out = Map::new();
                for (key, value) in object {
                    out.insert(key.clone(), collect(value, attachments)?);
                }
                out.into()
            }
            Value::Array(values) => {
                let values = values.iter().map(|it| collect(it, attachments));
                values.collect::<Result<Vec<_>, _>>()?.into()
            }
            value => value.clone(),
        })
    }
    let mut attachments = Vec::new();
    let array = collect(values, &mut attachments)?;
    Ok(Args::from_json(array.to_string().into(), attachments)?)
}

/// Anything that has arrived.
#[derive(Debug)]
pub(crate) struct Any(pub(crate) Value);

impl<'de> Deserialize<'de> for Any {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Anything).map(Self)
    }
}

struct Anything;

impl<'de> Visitor<'de> for Anything {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_bytes<E>(self, value: &[u8]) -> Result<Value, E> {
        Ok(json!({ MARK: BASE64_STANDARD.encode(value) }))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(Any(value)) = seq.next_element()? {
            values.push(value);
        }
        Ok(values.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((key, Any(value))) = map.next_entry()? {
            object.insert(key, value);
        }
        Ok(object.into())
    }
}
