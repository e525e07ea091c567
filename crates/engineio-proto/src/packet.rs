//! The seven kinds of Engine.IO packet.

use bytes::Bytes;

use crate::Str;

/// What a message carries: text, or bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// UTF-8 text.
    Text(Str),
    /// Bytes as the application gave them.
    Binary(Bytes),
}

impl Data {
    /// Length in bytes.
    ///
    /// ```
    /// assert_eq!(engineio_proto::Data::from("é").len(), 2);
    /// ```
    pub fn len(&self) -> usize {
        match self {
            Data::Text(text) => text.len(),
            Data::Binary(bytes) => bytes.len(),
        }
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<&str> for Data {
    fn from(text: &str) -> Self {
        Data::Text(text.into())
    }
}

impl From<String> for Data {
    fn from(text: String) -> Self {
        Data::Text(text.into())
    }
}

impl From<Str> for Data {
    fn from(text: Str) -> Self {
        Data::Text(text)
    }
}

impl From<Bytes> for Data {
    fn from(bytes: Bytes) -> Self {
        Data::Binary(bytes)
    }
}

impl From<Vec<u8>> for Data {
    fn from(bytes: Vec<u8>) -> Self {
        Data::Binary(bytes.into())
    }
}

/// The kind of a packet; the number is what stands on the wire.
///
/// Source: Engine.IO protocol, "Packet encoding" (the same numbers in versions 3 and 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum PacketKind {
    /// `0`: the server's handshake.
    Open = 0,
    /// `1`: this transport, and the session with it, is to be closed.
    Close = 1,
    /// `2`: sent by the server in version 4, by the client in version 3.
    Ping = 2,
    /// `3`: the answer to a ping.
    Pong = 3,
    /// `4`: the application's data.
    Message = 4,
    /// `5`: the client has moved to the new transport.
    Upgrade = 5,
    /// `6`: nothing; ends a long poll.
    Noop = 6,
}

impl PacketKind {
    /// The kind for a wire number (0 to 6), not an ASCII digit.
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            0 => Self::Open,
            1 => Self::Close,
            2 => Self::Ping,
            3 => Self::Pong,
            4 => Self::Message,
            5 => Self::Upgrade,
            6 => Self::Noop,
            _ => return None,
        })
    }

    /// The kind for an ASCII digit (`b'0'` to `b'6'`).
    pub const fn from_digit(digit: u8) -> Option<Self> {
        Self::from_number(digit.wrapping_sub(b'0'))
    }

    /// The ASCII digit that stands on the wire.
    pub const fn digit(self) -> char {
        (b'0' + self as u8) as char
    }
}

/// One packet.
///
/// Only [`PacketKind::Message`] carries binary data; the constructors keep to that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// What the packet is.
    pub kind: PacketKind,
    /// What it carries; empty text for most control packets.
    pub data: Data,
}

impl Packet {
    /// A control packet without data.
    pub const fn bare(kind: PacketKind) -> Self {
        Self {
            kind,
            data: Data::Text(Str::from_static("")),
        }
    }

    /// A control packet with text, such as `3probe`.
    pub const fn control(kind: PacketKind, text: Str) -> Self {
        Self {
            kind,
            data: Data::Text(text),
        }
    }

    /// A text message.
    pub fn text(text: impl Into<Str>) -> Self {
        Self {
            kind: PacketKind::Message,
            data: Data::Text(text.into()),
        }
    }

    /// A binary message.
    pub fn binary(bytes: impl Into<Bytes>) -> Self {
        Self {
            kind: PacketKind::Message,
            data: Data::Binary(bytes.into()),
        }
    }

    /// Whether this is the given kind with exactly the given text.
    pub fn is(&self, kind: PacketKind, text: &str) -> bool {
        self.kind == kind && matches!(&self.data, Data::Text(found) if **found == *text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_digits_name_the_same_kinds() {
        for number in 0..=6 {
            let kind = PacketKind::from_number(number).unwrap();
            assert_eq!(kind as u8, number);
            assert_eq!(PacketKind::from_digit(kind.digit() as u8), Some(kind));
        }
        assert_eq!(PacketKind::from_number(7), None);
        assert_eq!(PacketKind::from_digit(b'/'), None);
        assert_eq!(PacketKind::from_digit(b'7'), None);
    }
}
