//! Decoding.

use engineio_proto::Data;

use crate::{DecodeError, Packet};

/// Turns messages into packets; one per connection.
#[derive(Debug)]
pub struct Decoder {}

/// What a client may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Binary attachments of one packet. Default: 10.
    pub max_attachments: usize,
    /// Bytes in all attachments of one packet. Default: 10 000 000.
    pub max_attachment_bytes: usize,
    /// Bytes in the name of a namespace. Default: 8192.
    pub max_namespace: usize,
    /// Bytes in the name of an event. Default: 1024.
    pub max_event_name: usize,
}

impl Default for Limits {
    fn default() -> Self {
        todo!()
    }
}

impl Decoder {
    /// New.
    pub fn new(_limits: Limits) -> Self {
        todo!()
    }
    /// Takes the next message.
    pub fn add(&mut self, _message: Data) -> Result<Option<Packet>, DecodeError> {
        todo!()
    }
}
