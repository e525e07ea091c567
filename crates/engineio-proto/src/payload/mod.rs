//! Many packets, one HTTP body.

use bytes::Bytes;

use crate::{Dialect, Packet, Violation, session::Transmit};

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
pub fn encode(items: &[Transmit], dialect: &Dialect, jsonp: Option<&str>) -> Body {
    let _ = (items, dialect, jsonp);
    todo!()
}

/// Decodes the body of a POST.
pub fn decode(body: Bytes, framing: Framing, dialect: &Dialect) -> Decoder {
    let _ = (body, framing, dialect);
    todo!()
}

/// The packets of a body, in order; ends after the first violation.
#[derive(Debug)]
pub struct Decoder(());

impl Iterator for Decoder {
    type Item = Result<Packet, Violation>;

    fn next(&mut self) -> Option<Self::Item> {
        todo!()
    }
}
