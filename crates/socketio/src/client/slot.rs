//! A namespace that a client has joined or is about to.

use crate::{Namespace, Socket, handler::Handlers, snapshot::Snapshot};

/// A namespace that the client has joined or is about to.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) namespace: Namespace,
    pub(super) stage: Stage,
    /// How many of its connection handlers are not done yet, and whether an event is in packet
    /// middlewares: its packets wait for both.
    pub(super) starting: usize,
    pub(super) handlers: Snapshot<Handlers>,
}

#[derive(Debug)]
pub(super) enum Stage {
    /// In middleware.
    Joining(Socket),
    /// Connected, or left by the client while what it sent before waits for its turn.
    Open(Socket),
    /// Disconnected by the server. The client may not know yet. Holds the socket until its
    /// handlers have heard of it.
    Kicked(Option<Socket>),
}

impl Slot {
    pub(super) fn is_starting(&self) -> bool {
        self.starting > 0
    }

    /// The socket, if it has been connected and was not disconnected.
    pub(super) fn connected(&self) -> Option<&Socket> {
        match &self.stage {
            Stage::Open(socket) => Some(socket),
            Stage::Joining(_) | Stage::Kicked(_) => None,
        }
    }

    pub(super) fn is_of(&self, socket: &Socket) -> bool {
        match &self.stage {
            Stage::Joining(it) | Stage::Open(it) | Stage::Kicked(Some(it)) => it == socket,
            Stage::Kicked(None) => false,
        }
    }

    /// Whether the server has disconnected the socket since the stage was looked at.
    pub(super) fn is_behind(&self) -> bool {
        self.connected().is_some_and(|socket| !socket.connected())
    }
}
