//! What arrives.

use engineio_proto::Str;

use crate::Args;

/// A decoded packet. Its texts are slices of the message, not copies.
///
/// Source: Socket.IO protocol 5, "Packet types"; version 4 has the same text.
#[derive(Clone, Debug, PartialEq)]
pub struct Packet {
    /// The namespace: `/` if the packet names none.
    pub nsp: Str,
    /// What the packet says.
    pub kind: PacketKind,
}

/// What a packet says. Whether its attachments came in (types 5 and 6) or not (2 and 3) is the
/// business of [`Args`].
#[derive(Clone, Debug, PartialEq)]
pub enum PacketKind {
    /// `0`: the client wants to join the namespace.
    Connect {
        /// What it gives to be let in: the text of a JSON object.
        auth: Option<Str>,
    },
    /// `1`: the client leaves the namespace.
    Disconnect,
    /// `2`, `5`: an event.
    Event {
        /// The name: without escapes, a lone surrogate in it replaced by U+FFFD; the text of a
        /// number as it stood on the wire, for a name may be one.
        name: Str,
        /// The id under which the client waits for an answer.
        id: Option<u64>,
        /// What comes after the name.
        args: Args,
    },
    /// `2`, `5` without a payload: an event without a name. It is legal, and nobody can listen to
    /// it.
    Empty,
    /// `3`, `6`: the answer to an event.
    Ack {
        /// The id that the event was sent with.
        id: u64,
        /// The answer.
        args: Args,
    },
    /// `4`: an error. No server expects one.
    ConnectError {
        /// The text of a JSON string or object.
        data: Option<Str>,
    },
}

/// Event names that stand for something else in every official client and server: an application
/// must not send them, and the decoder refuses them.
///
/// ```
/// assert!(socketio_proto::is_reserved("disconnect"));
/// assert!(!socketio_proto::is_reserved("error"));
/// ```
pub fn is_reserved(event: &str) -> bool {
    RESERVED.contains(&event)
}

/// See [`is_reserved`].
pub const RESERVED: [&str; 6] = [
    "connect",
    "connect_error",
    "disconnect",
    "disconnecting",
    "newListener",
    "removeListener",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_is_not_huge() {
        assert!(size_of::<Packet>() <= 144, "{}", size_of::<Packet>());
        assert!(size_of::<Args>() <= 56, "{}", size_of::<Args>());
    }
}
