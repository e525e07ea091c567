//! One packet, one WebSocket message.
//!
//! | | text | binary |
//! |---|---|---|
//! | version 4 | kind digit, data | the data of a message |
//! | version 3 | kind digit, data; `b` + kind digit + base64 | kind byte, data |
//!
//! Source: Engine.IO protocol, "Packet encoding"; for `EIO=2` the clients of that time.

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;

use crate::{
    Data, Dialect, Encoded, Packet, PacketKind, Str, Version, Violation, dialect::TextCoding,
};

/// Padding may be missing, as every client's decoder allows.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Decodes a WebSocket message.
///
/// ```
/// use engineio_proto::{Data, Dialect, Packet, Violation, frame};
///
/// let bytes = Data::Binary(vec![4, 1, 2].into());
/// assert_eq!(frame::decode(bytes, &Dialect::V3), Ok(Packet::binary(vec![1, 2])));
/// assert_eq!(frame::decode("x".into(), &Dialect::V4), Err(Violation::UnknownPacket));
/// ```
pub fn decode(message: Data, dialect: &Dialect) -> Result<Packet, Violation> {
    match (message, dialect.version) {
        // clients with `forceBase64`, whatever the transport
        (Data::Text(text), Version::V4) if text.starts_with('b') => {
            decode_base64(&text[1..]).map(Packet::binary)
        }
        (Data::Text(text), Version::V4) => decode_text(text),
        (Data::Text(text), Version::V3) if text.starts_with('b') => decode_v3_base64(&text[1..]),
        (Data::Text(text), Version::V3) => decode_text(match dialect.frame_text {
            TextCoding::Plain => text,
            TextCoding::Detect => decode_if_twice(text),
            TextCoding::Twice => decode_twice(&text).unwrap_or(text),
        }),
        (Data::Binary(bytes), Version::V4) => Ok(Packet::binary(bytes)),
        (Data::Binary(bytes), Version::V3) => decode_v3_binary(bytes),
    }
}

/// A control packet as a WebSocket message. They are text in every dialect, and ASCII.
pub fn encode_control(packet: &Packet) -> Str {
    match &packet.data {
        Data::Text(text) if text.is_empty() => Str::from_static(bare(packet.kind)),
        Data::Text(text) => [bare(packet.kind), text].concat().into(),
        Data::Binary(_) => unreachable!("only messages carry binary data"),
    }
}

/// Calls a function with the WebSocket messages that a message is made of, in order.
///
/// ```
/// use engineio_proto::{Dialect, Encoded, frame::{self, Kind}};
///
/// let mut frames = Vec::new();
/// frame::encode(&Encoded::text("hello"), &Dialect::V4, |kind, bytes| {
///     frames.push((kind, bytes.clone()));
/// });
/// assert_eq!(frames, [(Kind::Text, "4hello".into())]);
/// ```
pub fn encode(message: &Encoded, dialect: &Dialect, mut write: impl FnMut(Kind, &Bytes)) {
    if let Some(text) = encoded_text(message, dialect.frame_text) {
        write(Kind::Text, text.as_bytes());
    }
    match dialect.version {
        Version::V3 if message.attachments().is_empty() => {}
        Version::V4 => {
            for bytes in message.attachments() {
                write(Kind::Binary, bytes);
            }
        }
        Version::V3 if dialect.base64_frames => {
            for base64 in message.base64_attachments() {
                write(Kind::Text, &format!("b4{base64}").into());
            }
        }
        Version::V3 => {
            for bytes in message.prefixed_attachments() {
                write(Kind::Binary, bytes);
            }
        }
    }
}

/// The two kinds of WebSocket messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// Binary.
    Binary,
}

/// The text of a message in a coding.
pub(crate) fn encoded_text(message: &Encoded, coding: TextCoding) -> Option<&Str> {
    match coding {
        TextCoding::Plain => message.wire_text(),
        TextCoding::Detect => message.ascii(),
        TextCoding::Twice => message.twice_encoded(),
    }
}

/// Kind digit and data.
pub(crate) fn decode_text(text: Str) -> Result<Packet, Violation> {
    let digit = text.bytes().next().ok_or(Violation::UnknownPacket)?;
    let kind = PacketKind::from_digit(digit).ok_or(Violation::UnknownPacket)?;
    Ok(Packet {
        kind,
        data: Data::Text(text.slice_ref(&text[1..])),
    })
}

/// Version 3: kind byte and data.
pub(crate) fn decode_v3_binary(mut bytes: Bytes) -> Result<Packet, Violation> {
    if bytes.is_empty() {
        return Err(Violation::UnknownPacket);
    }
    let kind = PacketKind::from_number(bytes.split_to(1)[0]).ok_or(Violation::UnknownPacket)?;
    binary_packet(kind, bytes)
}

/// Version 3: kind digit and base64, what follows the `b`.
pub(crate) fn decode_v3_base64(text: &str) -> Result<Packet, Violation> {
    let digit = text.bytes().next().ok_or(Violation::UnknownPacket)?;
    let kind = PacketKind::from_digit(digit).ok_or(Violation::UnknownPacket)?;
    binary_packet(kind, decode_base64(&text[1..])?)
}

/// Base64 in the standard alphabet, padded or not.
pub(crate) fn decode_base64(text: &str) -> Result<Bytes, Violation> {
    let decoded = LENIENT.decode(text).map_err(|_| Violation::InvalidBase64)?;
    Ok(decoded.into())
}

/// Text whose characters each stand for one byte of UTF-8, decoded; `None` if it is no such text.
/// Surrogates that an old encoder wrote as three bytes each become U+FFFD.
pub(crate) fn decode_twice(text: &str) -> Option<Str> {
    let bytes: Option<Vec<u8>> = text
        .chars()
        .map(|it| u8::try_from(u32::from(it)).ok())
        .collect();
    Some(match String::from_utf8(bytes?) {
        Ok(text) => text.into(),
        Err(error) => String::from_utf8_lossy(error.as_bytes())
            .into_owned()
            .into(),
    })
}

/// Text that has been encoded twice for certain: decoded; anything else as it is.
pub(crate) fn decode_if_twice(text: Str) -> Str {
    if text.is_ascii() {
        return text;
    }
    let bytes: Option<Vec<u8>> = text
        .chars()
        .map(|it| u8::try_from(u32::from(it)).ok())
        .collect();
    match bytes.map(String::from_utf8) {
        Some(Ok(decoded)) => decoded.into(),
        _ => text,
    }
}

/// Data of packets other than messages is text, whatever its frame was.
fn binary_packet(kind: PacketKind, bytes: Bytes) -> Result<Packet, Violation> {
    match kind {
        PacketKind::Message => Ok(Packet::binary(bytes)),
        _ => {
            let text = Str::try_from(bytes).map_err(|_| Violation::UnknownPacket)?;
            Ok(Packet::control(kind, text))
        }
    }
}

const fn bare(kind: PacketKind) -> &'static str {
    match kind {
        PacketKind::Open => "0",
        PacketKind::Close => "1",
        PacketKind::Ping => "2",
        PacketKind::Pong => "3",
        PacketKind::Message => "4",
        PacketKind::Upgrade => "5",
        PacketKind::Noop => "6",
    }
}
