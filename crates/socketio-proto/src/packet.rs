//! What arrives, and what another parser than the default one is given to encode.

use engineio_proto::Str;

use crate::Args;

/// A decoded packet, its texts slices of the message and not copies; or a packet that a
/// [`Parser`](crate::Parser) is to encode.
///
/// Source: Socket.IO protocol 5, "Packet types"; version 4 has the same text.
#[derive(Clone, Debug, PartialEq)]
pub struct Packet {
    /// The namespace: `/` if the packet names none.
    pub nsp: Str,
    /// What the packet says.
    pub kind: PacketKind,
}

impl Packet {
    /// Copies what it holds, so that it keeps nothing else alive: its parts are slices of what was
    /// received, which with long-polling may be a body of many packets. For packets that have to
    /// wait.
    pub fn detach(&mut self) {
        let copy = |text: &mut Str| *text = Str::from(&**text);
        copy(&mut self.nsp);
        match &mut self.kind {
            PacketKind::Event { name, args, .. } => {
                copy(name);
                args.detach();
            }
            PacketKind::Ack { args, .. } => args.detach(),
            PacketKind::Connect { auth: text } | PacketKind::ConnectError { data: text } => {
                text.iter_mut().for_each(copy);
            }
            PacketKind::Disconnect | PacketKind::Empty => {}
        }
    }
}

/// What a packet says. Whether its attachments came in (types 5 and 6) or not (2 and 3) is the
/// business of [`Args`].
#[derive(Clone, Debug, PartialEq)]
pub enum PacketKind {
    /// `0`: the client wants to join the namespace; the server lets it.
    Connect {
        /// What the client gives to be let in; what the server tells of the socket, to a client of
        /// protocol 5. The text of a JSON object.
        auth: Option<Str>,
    },
    /// `1`: the client leaves the namespace, or has to.
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
    /// `2`, `5` without a payload: an event without a name; `3`, `6` without an id: the answer to
    /// nothing. They are legal, and mean nothing to anybody.
    Empty,
    /// `3`, `6`: the answer to an event.
    Ack {
        /// The id that the event was sent with.
        id: u64,
        /// The answer.
        args: Args,
    },
    /// `4`: the client may not join the namespace. No server expects one.
    ConnectError {
        /// The text of a JSON string or object; what a server says to a client of protocol 4 may
        /// be any JSON.
        data: Option<Str>,
    },
}

impl PacketKind {
    /// The event whose name is the first of these, for a parser of one's own. Without one, which is
    /// a text or a number, it is [`Empty`](Self::Empty).
    ///
    /// ```
    /// use socketio_proto::{Args, PacketKind};
    ///
    /// let PacketKind::Event { name, args, .. } = PacketKind::event(None, Args::new(&("a", 1)).unwrap())
    /// else { panic!() };
    /// assert_eq!((&*name, args.json()), ("a", "1"));
    /// ```
    pub fn event(id: Option<u64>, list: Args) -> Self {
        match list.split_name() {
            Some((name, args)) => PacketKind::Event { name, id, args },
            None => PacketKind::Empty,
        }
    }
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
    fn a_detached_packet_says_the_same_and_keeps_nothing() {
        let body = Str::from(format!("2/a,1[\"b\",\"c\"]{}", " ".repeat(1000)));
        let text = body.slice_ref(body.trim_end());
        let packet = crate::Decoder::new(crate::Limits::default()).add(text.into());
        let packet = packet.unwrap().unwrap();
        let mut detached = packet.clone();
        detached.detach();
        assert_eq!(detached, packet);
        let PacketKind::Event { name, args, .. } = &detached.kind else {
            panic!("{detached:?}")
        };
        let whole = body.as_bytes().as_ptr_range();
        for part in [&*detached.nsp, &**name, args.json()] {
            assert!(!whole.contains(&part.as_ptr()), "{part}");
        }
    }

    #[test]
    fn a_packet_is_not_huge() {
        assert!(size_of::<Packet>() <= 144, "{}", size_of::<Packet>());
        assert!(size_of::<Args>() <= 56, "{}", size_of::<Args>());
    }
}
