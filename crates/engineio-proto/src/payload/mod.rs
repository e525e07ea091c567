//! Many packets, one HTTP body.
//!
//! | | packets | binary data |
//! |---|---|---|
//! | version 4 | separated by U+001E | `b`, base64 |
//! | version 3, text | `<length>:<packet>` | `b`, kind digit, base64 |
//! | version 3, binary | string or binary, length, 0xFF, packet | kind byte, bytes |
//!
//! A JSONP response wraps the text of either version in a script, a JSONP POST in a form:
//! [`jsonp`].
//!
//! Source: Engine.IO protocol, "HTTP long-polling", versions 3 and 4; [`TextCoding`] tells how old
//! clients deviate.
//!
//! [`TextCoding`]: crate::dialect::TextCoding

use std::iter::FusedIterator;

use bytes::Bytes;

use crate::{
    Dialect, Packet, Queue, Str, Version, Violation, dialect::BodyShape, session::Transmit,
};

pub mod jsonp;
mod v3;
mod v4;

/// The framing of a body, told by its content type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// `text/plain; charset=UTF-8`.
    Text,
    /// `application/octet-stream`, version 3 only.
    Binary,
}

/// A finished body of a poll response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// Decides the content type.
    pub framing: Framing,
    /// The bytes.
    pub bytes: Bytes,
}

/// Encodes what is to leave as the body of one poll response.
///
/// `items` must not be empty: no body of no packets exists in either version. A single text is not
/// copied. `jsonp` is the callback index of a JSONP client, whose body is text whatever the dialect prefers.
///
/// ```
/// use engineio_proto::{Dialect, Encoded, payload, session::Transmit};
///
/// let hello = Transmit::Message(Encoded::text("hello"));
/// let bytes = Transmit::Message(Encoded::binary(vec![1, 2]));
/// let both = [hello.clone(), bytes].into_iter().collect();
/// assert_eq!(payload::encode(both, &Dialect::V4, None).bytes, "4hello\u{1e}bAQI=");
///
/// let body = payload::encode(hello.into(), &Dialect::V3, Some("0"));
/// assert_eq!(body.bytes, r#"___eio[0]("6:4hello");"#);
/// ```
pub fn encode(items: Queue<Transmit>, dialect: &Dialect, jsonp: Option<&str>) -> Body {
    debug_assert!(!items.is_empty(), "a body needs a packet");
    let text = match dialect.version {
        Version::V4 => v4::encode(items),
        Version::V3 if jsonp.is_none() && leaves_as_binary(&items, dialect.body) => {
            return Body {
                framing: Framing::Binary,
                bytes: v3::encode_binary(&items),
            };
        }
        Version::V3 => v3::encode_text(&items, dialect.text),
    };
    Body {
        framing: Framing::Text,
        bytes: match jsonp {
            Some(index) => jsonp::script(index, &text).into(),
            None => text.into_bytes(),
        },
    }
}

/// Decodes the body of a POST.
///
/// Text that is not UTF-8 is read with U+FFFD in place of what is wrong. Everything else that is
/// wrong ends the packets with a violation; the packets before it count. Nothing is allocated for
/// a packet but what its base64 or its second UTF-8 coding need: packets are slices of the body.
///
/// ```
/// use engineio_proto::{Dialect, Packet, Violation, payload::{self, Framing}};
///
/// let mut packets = payload::decode("4a\u{1e}x".into(), Framing::Text, &Dialect::V4);
/// assert_eq!(packets.next(), Some(Ok(Packet::text("a"))));
/// assert_eq!(packets.next(), Some(Err(Violation::UnknownPacket)));
/// assert_eq!(packets.next(), None);
/// ```
pub fn decode(body: Bytes, framing: Framing, dialect: &Dialect) -> Decoder {
    Decoder(match (dialect.version, framing) {
        (Version::V4, Framing::Binary) => State::Refused(Violation::InvalidContentType),
        _ if body.is_empty() => State::Refused(Violation::InvalidPayload),
        (Version::V4, Framing::Text) => State::V4(v4::Packets::new(lenient_text(body))),
        (Version::V3, Framing::Text) => {
            State::V3Text(v3::TextPackets::new(lenient_text(body), dialect.text))
        }
        (Version::V3, Framing::Binary) => State::V3Binary(v3::BinaryPackets::new(body)),
    })
}

/// The packets of a body, in order; ends after the first violation.
#[derive(Debug)]
pub struct Decoder(State);

impl Iterator for Decoder {
    type Item = Result<Packet, Violation>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = match &mut self.0 {
            State::V4(packets) => packets.next(),
            State::V3Text(packets) => packets.next(),
            State::V3Binary(packets) => packets.next(),
            State::Refused(violation) => Some(Err(*violation)),
            State::Ended => None,
        };
        if !matches!(next, Some(Ok(_))) {
            self.0 = State::Ended;
        }
        next
    }
}

impl FusedIterator for Decoder {}

#[derive(Debug)]
enum State {
    V4(v4::Packets),
    V3Text(v3::TextPackets),
    V3Binary(v3::BinaryPackets),
    /// Nothing can be read from this body at all.
    Refused(Violation),
    Ended,
}

fn leaves_as_binary(items: &Queue<Transmit>, shape: BodyShape) -> bool {
    match shape {
        BodyShape::Text => false,
        BodyShape::Binary => true,
        BodyShape::Auto => items.iter().any(|item| match item {
            Transmit::Control(_) => false,
            Transmit::Message(message) => !message.attachments().is_empty(),
        }),
    }
}

/// About how many bytes a body takes: room for the framing, and for base64 if that is wanted.
fn capacity(items: &Queue<Transmit>, base64: bool) -> usize {
    let of_item = |item: &Transmit| match item {
        Transmit::Control(packet) => packet.data.len() + FRAMING,
        Transmit::Message(message) => {
            let bytes: usize = message.attachments().iter().map(Bytes::len).sum();
            let grown = if base64 { bytes / 3 } else { 0 };
            message.len() + grown + FRAMING * (1 + message.attachments().len())
        }
    };
    items.iter().map(of_item).sum()
}

/// What is not UTF-8 becomes U+FFFD, as in the official server; what is costs no copy.
fn lenient_text(bytes: Bytes) -> Str {
    match Str::try_from(bytes.clone()) {
        Ok(text) => text,
        Err(_) => String::from_utf8_lossy(&bytes).into_owned().into(),
    }
}

/// Bytes that a packet takes besides its data, at a guess.
const FRAMING: usize = 12;

#[cfg(test)]
mod tests;
