//! What arrives.

use crate::Args;
use engineio_proto::Str;

/// A decoded packet.
#[derive(Clone, Debug, PartialEq)]
pub struct Packet {
    /// The namespace, `/` when absent.
    pub nsp: Str,
    /// What it is.
    pub kind: PacketKind,
}

/// The kinds of packet.
#[derive(Clone, Debug, PartialEq)]
pub enum PacketKind {
    /// `0`
    Connect {
        /// The JSON object text.
        auth: Option<Str>,
    },
    /// `1`
    Disconnect,
    /// `2`, `5`
    Event {
        /// Unescaped name; the text of a number.
        name: Str,
        /// The id of the acknowledgement that the client waits for.
        id: Option<u64>,
        /// The arguments.
        args: Args,
    },
    /// `2` without a payload: legal, means nothing.
    Empty,
    /// `3`, `6`
    Ack {
        /// The id.
        id: u64,
        /// The arguments.
        args: Args,
    },
    /// `4`
    ConnectError {
        /// The JSON text, a string or an object.
        data: Option<Str>,
    },
}

/// Event names that no application may use.
pub const RESERVED: [&str; 6] = [
    "connect",
    "connect_error",
    "disconnect",
    "disconnecting",
    "newListener",
    "removeListener",
];

/// Whether an event name is reserved.
pub fn is_reserved(event: &str) -> bool {
    RESERVED.contains(&event)
}
