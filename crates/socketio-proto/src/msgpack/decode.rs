//! A MessagePack message into a packet: its `data` becomes JSON, with binary data beside it.
//!
//! Lengths in a message are promises of the peer. No room is made because of them, and nesting
//! costs no stack.

use std::{borrow::Cow, fmt::Write as _};

use bytes::Bytes;
use engineio_proto::Str;
use serde_json::Number;

use super::date;
use crate::{Args, DecodeError, Packet, PacketKind, json, placeholder};

/// Decodes a packet with no more than this many pieces of binary data, and values no deeper than that.
pub(super) fn decode(
    message: &Bytes,
    max_binaries: usize,
    max_depth: usize,
) -> Result<Packet, DecodeError> {
    let mut reader = Reader {
        message,
        at: 0,
        max_binaries,
        max_depth,
        timestamps: false,
    };
    let Token::Map(len) = reader.token()? else {
        return Err(DecodeError::InvalidType);
    };
    let (mut kind, mut nsp, mut id, mut data) = (None, None, None, Payload::default());
    // In any order. Of two with one name the last counts, as in JavaScript.
    for _ in 0..len {
        match &*reader.key()? {
            "type" => kind = reader.integer(DecodeError::InvalidType)?,
            "nsp" => nsp = Some(reader.text(DecodeError::InvalidNamespace)?),
            "id" => id = reader.integer(DecodeError::InvalidId)?,
            "data" => data = reader.payload()?,
            _ => drop(reader.payload()?),
        }
    }
    if reader.at < message.len() {
        return Err(DecodeError::InvalidPacket);
    }
    let id = id.map(u64::try_from).transpose();
    let id = id.map_err(|_| DecodeError::InvalidId)?;
    let kind = match kind.ok_or(DecodeError::InvalidType)? {
        0 if data.shape == Shape::Nothing => PacketKind::Connect { auth: None },
        0 => PacketKind::Connect {
            auth: Some(data.into_json(&[Shape::Object])?),
        },
        1 if data.shape == Shape::Nothing => PacketKind::Disconnect,
        1 => return Err(DecodeError::InvalidPayload),
        // Like the official parser this one does not ask for a name.
        2 => PacketKind::event(id, data.into_args()?),
        3 => {
            let args = data.into_args()?;
            id.map_or(PacketKind::Empty, |id| PacketKind::Ack { id, args })
        }
        4 => PacketKind::ConnectError {
            data: Some(data.into_json(&[Shape::Object, Shape::Text])?),
        },
        _ => return Err(DecodeError::InvalidType),
    };
    let nsp = match &*nsp.ok_or(DecodeError::InvalidNamespace)? {
        "/" => Str::from_static("/"),
        nsp => nsp.into(),
    };
    Ok(Packet { nsp, kind })
}

/// Decodes a value with no more than this many pieces of binary data.
pub(super) fn value(
    message: &Bytes,
    max_binaries: usize,
) -> Result<(String, Vec<Bytes>), DecodeError> {
    let mut reader = Reader {
        message,
        at: 0,
        max_binaries,
        max_depth: usize::MAX,
        timestamps: true,
    };
    let value = reader.payload()?;
    if reader.at < message.len() {
        return Err(DecodeError::InvalidPacket);
    }
    Ok((value.json, value.binaries))
}

/// A value as JSON.
#[derive(Default)]
struct Payload {
    shape: Shape,
    json: String,
    binaries: Vec<Bytes>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Shape {
    /// `undefined`; or nil, which clients in other languages than JavaScript say for it.
    #[default]
    Nothing,
    Array,
    Object,
    Text,
    Other,
}

impl Payload {
    /// JSON of one of these shapes, without binary data.
    fn into_json(self, shapes: &[Shape]) -> Result<Str, DecodeError> {
        if !shapes.contains(&self.shape) || !self.binaries.is_empty() {
            return Err(DecodeError::InvalidPayload);
        }
        Ok(self.json.into())
    }

    fn into_args(self) -> Result<Args, DecodeError> {
        if self.shape != Shape::Array {
            return Err(DecodeError::InvalidPayload);
        }
        Ok(Args::of_array(self.json.into(), 0).with_attachments(self.binaries))
    }

    fn push_binary(&mut self, bytes: Bytes) {
        placeholder::push(&mut self.json, self.binaries.len());
        self.binaries.push(bytes);
    }

    fn push_float(&mut self, value: f64) {
        match Number::from_f64(value) {
            // writing to a string cannot fail
            Some(number) => drop(write!(self.json, "{number}")),
            None => self.json.push_str("null"),
        }
    }
}

/// The smallest unit: a value, or the beginning of one that has others in it.
enum Token<'a> {
    Undefined,
    Nil,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(Cow<'a, str>),
    Binary(Bytes),
    /// Milliseconds since 1970.
    Date(i64),
    /// An extension that means nothing to the official parser.
    Extension(i8, Bytes),
    /// How many elements follow.
    Array(u32),
    /// How many pairs follow.
    Map(u32),
}

impl Token<'_> {
    fn shape(&self) -> Shape {
        match self {
            Token::Undefined | Token::Nil => Shape::Nothing,
            Token::Array(_) => Shape::Array,
            Token::Map(_) => Shape::Object,
            Token::Text(_) => Shape::Text,
            _ => Shape::Other,
        }
    }
}

/// An array or a map that has not come to its end.
struct Open {
    is_map: bool,
    /// Elements, or pairs, that are still to come.
    left: u32,
    /// Whether the next one needs a comma.
    begun: bool,
}

struct Reader<'a> {
    message: &'a Bytes,
    at: usize,
    max_binaries: usize,
    max_depth: usize,
    /// Whether the format's own timestamps are known, which notepack 2.2 does not.
    timestamps: bool,
}

impl<'a> Reader<'a> {
    /// A whole value.
    fn payload(&mut self) -> Result<Payload, DecodeError> {
        let mut token = self.token()?;
        let mut out = Payload {
            shape: token.shape(),
            ..Payload::default()
        };
        let mut open: Vec<Open> = Vec::new();
        loop {
            match token {
                Token::Array(_) | Token::Map(_) if open.len() >= self.max_depth => {
                    return Err(DecodeError::TooDeep);
                }
                Token::Array(left) | Token::Map(left) => {
                    let is_map = matches!(token, Token::Map(_));
                    out.json.push(if is_map { '{' } else { '[' });
                    open.push(Open {
                        is_map,
                        left,
                        begun: false,
                    });
                }
                token => self.push_scalar(&mut out, token)?,
            }
            token = loop {
                let Some(it) = open.last_mut() else {
                    return Ok(out);
                };
                if it.left == 0 {
                    out.json.push(if it.is_map { '}' } else { ']' });
                    open.pop();
                    continue;
                }
                it.left -= 1;
                let before = out.json.len();
                if it.begun {
                    out.json.push(',');
                }
                if it.is_map {
                    self.push_key(&mut out)?;
                }
                let token = self.token()?;
                if it.is_map && matches!(token, Token::Undefined) {
                    out.json.truncate(before);
                } else {
                    it.begun = true;
                    break token;
                }
            };
        }
    }

    fn push_scalar(&self, out: &mut Payload, token: Token<'_>) -> Result<(), DecodeError> {
        match token {
            Token::Bool(true) => out.json.push_str("true"),
            Token::Bool(false) => out.json.push_str("false"),
            // writing to a string cannot fail
            Token::Integer(value) => drop(write!(out.json, "{value}")),
            Token::Float(value) => out.push_float(value),
            Token::Text(text) => json::push_string(&mut out.json, &text),
            Token::Date(millis) => date::push(&mut out.json, millis),
            Token::Binary(_) | Token::Extension(..) if out.binaries.len() >= self.max_binaries => {
                return Err(DecodeError::TooManyAttachments);
            }
            Token::Binary(bytes) => out.push_binary(bytes),
            Token::Extension(kind, bytes) => {
                let _ = write!(out.json, "[{kind},");
                out.push_binary(bytes);
                out.json.push(']');
            }
            _ => out.json.push_str("null"),
        }
        Ok(())
    }

    /// What looks like a placeholder is none.
    fn push_key(&mut self, out: &mut Payload) -> Result<(), DecodeError> {
        match &*self.key()? {
            placeholder::MARK => out.json.push_str(placeholder::HIDDEN_MARK),
            key => json::push_string(&mut out.json, key),
        }
        out.json.push(':');
        Ok(())
    }

    fn key(&mut self) -> Result<Cow<'a, str>, DecodeError> {
        self.text(DecodeError::InvalidPacket)
    }

    fn text(&mut self, otherwise: DecodeError) -> Result<Cow<'a, str>, DecodeError> {
        match self.token()? {
            Token::Text(text) => Ok(text),
            _ => Err(otherwise),
        }
    }

    fn integer(&mut self, otherwise: DecodeError) -> Result<Option<i128>, DecodeError> {
        match self.token()? {
            Token::Integer(value) => Ok(Some(value)),
            Token::Undefined | Token::Nil => Ok(None),
            _ => Err(otherwise),
        }
    }

    fn token(&mut self) -> Result<Token<'a>, DecodeError> {
        let [format] = self.array()?;
        Ok(match format {
            0x00..=0x7F => Token::Integer(format.into()),
            0x80..=0x8F => Token::Map(u32::from(format & 0x0F)),
            0x90..=0x9F => Token::Array(u32::from(format & 0x0F)),
            0xA0..=0xBF => self.string(u32::from(format & 0x1F))?,
            0xC0 => Token::Nil,
            0xC2 => Token::Bool(false),
            0xC3 => Token::Bool(true),
            0xC4..=0xC6 => {
                let len = self.length(format - 0xC4)?;
                Token::Binary(self.bytes(len)?)
            }
            0xC7..=0xC9 => {
                let len = self.length(format - 0xC7)?;
                match self.array()? {
                    // an `ArrayBuffer`
                    [0] => Token::Binary(self.bytes(len)?),
                    [TIMESTAMP] if self.timestamps && len == 12 => {
                        let nanos = u32::from_be_bytes(self.array()?);
                        Token::Date(millis(i64::from_be_bytes(self.array()?), nanos))
                    }
                    [kind] => Token::Extension(kind.cast_signed(), self.bytes(len)?),
                }
            }
            0xCA => Token::Float(f32::from_be_bytes(self.array()?).into()),
            0xCB => Token::Float(f64::from_be_bytes(self.array()?)),
            0xCC => Token::Integer(u8::from_be_bytes(self.array()?).into()),
            0xCD => Token::Integer(u16::from_be_bytes(self.array()?).into()),
            0xCE => Token::Integer(u32::from_be_bytes(self.array()?).into()),
            0xCF => Token::Integer(u64::from_be_bytes(self.array()?).into()),
            0xD0 => Token::Integer(i8::from_be_bytes(self.array()?).into()),
            0xD1 => Token::Integer(i16::from_be_bytes(self.array()?).into()),
            0xD2 => Token::Integer(i32::from_be_bytes(self.array()?).into()),
            0xD3 => Token::Integer(i64::from_be_bytes(self.array()?).into()),
            0xD4..=0xD8 => {
                let [kind] = self.array()?;
                match (format, kind) {
                    (0xD4, 0) => {
                        self.bytes(1)?;
                        Token::Undefined
                    }
                    (0xD7, 0) => Token::Date(i64::from_be_bytes(self.array()?)),
                    (0xD6, TIMESTAMP) if self.timestamps => {
                        Token::Date(millis(u32::from_be_bytes(self.array()?).into(), 0))
                    }
                    (0xD7, TIMESTAMP) if self.timestamps => {
                        let both = u64::from_be_bytes(self.array()?);
                        let (nanos, seconds) = ((both >> 34) as u32, both & 0x3_FFFF_FFFF);
                        Token::Date(millis(seconds.cast_signed(), nanos))
                    }
                    _ => Token::Extension(kind.cast_signed(), self.bytes(1 << (format - 0xD4))?),
                }
            }
            0xD9..=0xDB => {
                let len = self.length(format - 0xD9)?;
                self.string(len)?
            }
            0xDC | 0xDD => Token::Array(self.length(format - 0xDC + 1)?),
            0xDE | 0xDF => Token::Map(self.length(format - 0xDE + 1)?),
            0xE0..=0xFF => Token::Integer(format.cast_signed().into()),
            0xC1 => return Err(DecodeError::InvalidPacket),
        })
    }

    /// A length of one, two or four bytes.
    fn length(&mut self, exponent: u8) -> Result<u32, DecodeError> {
        Ok(match exponent {
            0 => u8::from_be_bytes(self.array()?).into(),
            1 => u16::from_be_bytes(self.array()?).into(),
            _ => u32::from_be_bytes(self.array()?),
        })
    }

    fn string(&mut self, len: u32) -> Result<Token<'a>, DecodeError> {
        let text = String::from_utf8_lossy(self.take(len as usize)?);
        Ok(Token::Text(text))
    }

    /// A slice of the message, not a copy.
    fn bytes(&mut self, len: u32) -> Result<Bytes, DecodeError> {
        let bytes = self.take(len as usize)?;
        Ok(self.message.slice_ref(bytes))
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let bytes = self.take(N)?.try_into();
        bytes.map_err(|_| DecodeError::InvalidPacket)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let rest = &self.message[self.at..];
        let bytes = rest.get(..len).ok_or(DecodeError::InvalidPacket)?;
        self.at += len;
        Ok(bytes)
    }
}

/// What is too far away stays too far away.
fn millis(seconds: i64, nanos: u32) -> i64 {
    let millis = i64::from(nanos / 1_000_000);
    seconds.saturating_mul(1000).saturating_add(millis)
}

/// The extension type -1.
const TIMESTAMP: u8 = 0xFF;
