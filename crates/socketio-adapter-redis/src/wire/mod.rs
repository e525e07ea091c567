//! What servers write for each other, in bytes.
//!
//! All formats are JSON, or MessagePack where there is binary data: here they are JSON texts with
//! placeholders, as everywhere in this project, and become MessagePack at the very end.

pub(crate) mod classic;
pub(crate) mod cluster;
#[cfg(test)]
mod properties;

use std::{borrow::Cow, fmt, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use serde_json::{Value, value::RawValue};
use socketio_adapter::{Event, HandshakeDetails, Options, Room, Selection, SocketDetails};
use socketio_proto::{Args, DecodeError, EncodeError, is_reserved, msgpack};

/// Why a message of another server makes no sense.
#[derive(Debug)]
pub(crate) enum WireError {
    Json(serde_json::Error),
    Decode(DecodeError),
    /// Something is missing or of another kind.
    Invalid(&'static str),
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WireError::Json(error) => error.fmt(f),
            WireError::Decode(error) => error.fmt(f),
            WireError::Invalid(what) => f.write_str(what),
        }
    }
}

impl From<serde_json::Error> for WireError {
    fn from(error: serde_json::Error) -> Self {
        WireError::Json(error)
    }
}

impl From<DecodeError> for WireError {
    fn from(error: DecodeError) -> Self {
        WireError::Decode(error)
    }
}

/// A message as JSON, with the binary data that its placeholders stand for.
pub(crate) struct Text {
    json: String,
    attachments: Vec<Bytes>,
}

impl Text {
    /// From JSON if it begins like an object, from MessagePack otherwise: a map never begins like
    /// that in it.
    pub(crate) fn read(message: &Bytes) -> Result<Self, WireError> {
        if message.starts_with(b"{") {
            let json = str::from_utf8(message).map_err(|_| WireError::Invalid("not UTF-8"))?;
            let (json, attachments) = (json.to_owned(), Vec::new());
            Ok(Self { json, attachments })
        } else {
            let (json, attachments) = msgpack::to_json(message, MAX_BINARIES)?;
            Ok(Self { json, attachments })
        }
    }

    pub(crate) fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T, WireError> {
        Ok(serde_json::from_str(&self.json)?)
    }

    /// An event from an array of its name and arguments.
    fn event(&self, data: &RawValue) -> Result<Event, WireError> {
        let args = Args::from_json(data.get().into(), self.attachments.clone())?;
        let named = args.split_name();
        let (name, args) = named.ok_or(WireError::Invalid("an event without a name"))?;
        Ok(Event { name, args })
    }

    /// The same, of an event that clients may be sent.
    fn client_event(&self, packet: &Packet<'_>) -> Result<Event, WireError> {
        if !matches!(packet.kind, EVENT | BINARY_EVENT) {
            return Err(WireError::Invalid("a packet that is no event"));
        }
        let event = self.event(packet.data)?;
        if is_reserved(&event.name) {
            return Err(WireError::Invalid("an event with a reserved name"));
        }
        Ok(event)
    }

    /// Arguments: the one that the official adapters send, and ours behind it.
    fn args(&self, first: Option<&RawValue>, rest: &[&RawValue]) -> Result<Args, WireError> {
        let mut array = String::from("[");
        for value in first.iter().chain(rest) {
            if array.len() > 1 {
                array.push(',');
            }
            array.push_str(value.get());
        }
        array.push(']');
        Ok(Args::from_json(array.into(), self.attachments.clone())?)
    }
}

/// Text that may hold escapes.
#[derive(Deserialize)]
#[serde(transparent)]
pub(crate) struct Name<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

/// A packet of the Socket.IO protocol.
#[derive(Deserialize)]
struct Packet<'a> {
    #[serde(rename = "type")]
    kind: u64,
    #[serde(borrow)]
    data: &'a RawValue,
    #[serde(borrow)]
    nsp: Option<Name<'a>>,
}

/// To whom, and how.
#[derive(Deserialize)]
struct Opts {
    #[serde(default)]
    rooms: Vec<RoomName>,
    #[serde(default)]
    except: Vec<RoomName>,
    #[serde(default, deserialize_with = "or_default")]
    flags: Flags,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Flags {
    // of any type, so that one of another type does not cost the message
    volatile: Value,
    compress: Value,
    timeout: Value,
}

impl Opts {
    fn selection(self) -> Selection {
        let names = |names: Vec<RoomName>| names.into_iter().map(|it| it.0).collect();
        Selection {
            rooms: names(self.rooms),
            except: names(self.except),
        }
    }

    fn options(self) -> Options {
        let millis = self.flags.timeout.as_f64();
        let millis = millis.filter(|it| (0.0..=MAX_MILLIS).contains(it));
        Options {
            volatile: self.flags.volatile == Value::Bool(true),
            compress: self.flags.compress != Value::Bool(false),
            timeout: millis.map(|it| Duration::from_secs_f64(it / 1000.0)),
            selection: self.selection(),
            ..Options::default()
        }
    }
}

/// The name of a room; in JavaScript it may be a number.
pub(crate) struct RoomName(pub(crate) Room);

impl<'de> Deserialize<'de> for RoomName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(name) => Ok(Self(name.into())),
            Value::Number(name) => Ok(Self(name.to_string().into())),
            _ => Err(serde::de::Error::custom("the name of a room is text")),
        }
    }
}

/// What another server tells of a socket.
#[derive(Deserialize)]
struct Details {
    id: Room,
    #[serde(default)]
    handshake: Value,
    #[serde(default)]
    rooms: Vec<RoomName>,
    #[serde(default)]
    data: Value,
}

impl Details {
    fn into_socket(self) -> SocketDetails {
        SocketDetails {
            id: self.id,
            handshake: handshake(self.handshake),
            rooms: self.rooms.into_iter().map(|it| it.0).collect(),
            data: self.data,
        }
    }
}

/// Applications in JavaScript can put anything into a handshake. What is of another type than usual
/// is left out, so that the socket is not lost for it.
fn handshake(value: Value) -> HandshakeDetails {
    fn member<T: DeserializeOwned + Default>(members: &mut Value, name: &str) -> T {
        let member = members.get_mut(name).map(Value::take);
        member.map_or_else(T::default, |it| {
            serde_json::from_value(it).unwrap_or_default()
        })
    }
    let mut it = value;
    HandshakeDetails {
        headers: member(&mut it, "headers"),
        time: member(&mut it, "time"),
        address: member(&mut it, "address"),
        xdomain: member(&mut it, "xdomain"),
        secure: member(&mut it, "secure"),
        issued: member(&mut it, "issued"),
        url: member(&mut it, "url"),
        query: member(&mut it, "query"),
        auth: member(&mut it, "auth"),
    }
}

/// `null` is as good as nothing.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// `null` is something.
fn raw<'de: 'a, 'a, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// Name and arguments of an event in one array.
fn event_data(event: &Event) -> String {
    let mut data = String::with_capacity(event.name.len() + event.args.json().len() + 8);
    data.push('[');
    push(&mut data, &*event.name);
    if !event.args.is_empty() {
        data.push(',');
        data.push_str(event.args.json());
    }
    data.push(']');
    data
}

/// Members for arguments, after others: the first one, which is all that the official adapters send
/// of an answer, and the others.
fn push_args(out: &mut String, name: &str, args: &Args) -> Result<(), EncodeError> {
    let array = format!("[{}]", args.json());
    let all: Vec<&RawValue> = serde_json::from_str(&array).map_err(EncodeError::new)?;
    let Some((first, rest)) = all.split_first() else {
        return Ok(());
    };
    out.push(',');
    push(out, name);
    out.push(':');
    out.push_str(first.get());
    if !rest.is_empty() {
        out.push_str(",\"rest\":");
        push(out, rest);
    }
    Ok(())
}

/// The rooms of a selection, as members `rooms` and `except`.
fn push_selection(out: &mut String, selection: &Selection) {
    out.push_str("\"rooms\":");
    push(out, &selection.rooms);
    out.push_str(",\"except\":");
    push(out, &selection.except);
}

/// The object of all options.
fn push_options(out: &mut String, options: &Options) {
    out.push('{');
    push_selection(out, &options.selection);
    out.push_str(",\"flags\":{");
    let mut flags = Vec::new();
    if options.volatile {
        flags.push("\"volatile\":true".to_owned());
    }
    if !options.compress {
        flags.push("\"compress\":false".to_owned());
    }
    if let Some(timeout) = options.timeout {
        flags.push(format!("\"timeout\":{}", timeout.as_millis()));
    }
    out.push_str(&flags.join(","));
    out.push_str("}}");
}

/// Appends something as JSON.
pub(crate) fn push<T: Serialize + ?Sized>(out: &mut String, value: &T) {
    // Fails for keys that are no strings, which nothing here has.
    out.push_str(&serde_json::to_string(value).unwrap_or_default());
}

const EVENT: u64 = 2;
/// What some emitters of former times write.
const BINARY_EVENT: u64 = 5;

/// Pieces of binary data in one message: each takes two bytes there and more here.
const MAX_BINARIES: usize = 100_000;

/// The longest timeout that is taken seriously: a year.
const MAX_MILLIS: f64 = 365.0 * 24.0 * 60.0 * 60.0 * 1000.0;
