//! What waits for its turn.

use std::collections::VecDeque;

use bytes::Bytes;
use socketio_proto::{Packet, PacketKind};

use crate::{Socket, builder::Options, handler::Disconnect};

/// What waits for its turn, in the order of arrival. An empty queue holds no memory.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    items: VecDeque<Item>,
    bytes: usize,
}

#[derive(Debug)]
pub(super) enum Item {
    Packet(Packet),
    /// The server has disconnected a socket, and the handlers are to hear of it.
    Kicked(Socket),
    /// A socket's client has left, or its connection has ended.
    Ended(Disconnect),
}

impl Waiting {
    pub(super) fn push(&mut self, mut item: Item) {
        if let Item::Packet(packet) = &mut item {
            // What waits is counted, so it must not keep more alive than it counts.
            packet.detach();
        }
        self.bytes += item.bytes();
        self.items.push_back(item);
    }

    pub(super) fn get(&self, at: usize) -> Option<&Item> {
        self.items.get(at)
    }

    pub(super) fn remove(&mut self, at: usize) -> Option<Item> {
        let item = self.items.remove(at)?;
        self.bytes -= item.bytes();
        if self.items.is_empty() {
            self.items = VecDeque::new();
        }
        Some(item)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub(super) fn is_full(&self, options: &Options) -> bool {
        self.items.len() >= options.max_waiting || self.bytes >= options.max_waiting_bytes
    }

    /// Whether the end of this socket waits for its turn.
    pub(super) fn has_ended(&self, socket: &Socket) -> bool {
        let is_it = |item: &Item| matches!(item, Item::Ended(ended) if ended.socket == *socket);
        self.items.iter().any(is_it)
    }

    /// Whether anything waits that is about this namespace.
    pub(super) fn has_for(&self, namespace: &str) -> bool {
        self.items.iter().any(|item| item.namespace() == namespace)
    }
}

impl Item {
    pub(super) fn namespace(&self) -> &str {
        match self {
            Item::Packet(packet) => &packet.nsp,
            Item::Kicked(socket) | Item::Ended(Disconnect { socket, .. }) => {
                socket.namespace().name()
            }
        }
    }

    fn bytes(&self) -> usize {
        let Item::Packet(packet) = self else {
            return 0;
        };
        match &packet.kind {
            PacketKind::Event { args, .. } => {
                args.json().len() + args.attachments().iter().map(Bytes::len).sum::<usize>()
            }
            PacketKind::Connect { auth: Some(auth) } => auth.len(),
            _ => 0,
        }
    }
}
