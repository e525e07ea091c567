//! A namespace that a client has joined or is about to.

use crate::{Namespace, Socket, handler::Handlers, snapshot::Snapshot};

/// A namespace that the client has joined or is about to.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) namespace: Namespace,
    pub(super) stage: Stage,
    pub(super) handlers: Snapshot<Handlers>,
}

#[derive(Debug)]
pub(super) enum Stage {
    /// In middleware.
    Joining(Socket),
    /// Connected; this many connection handlers are not done yet.
    Starting(Socket, usize),
    /// Connected.
    Open(Socket),
    /// Disconnected by the server. The client may not know yet.
    Kicked,
}

impl Slot {
    pub(super) fn is_starting(&self) -> bool {
        matches!(self.stage, Stage::Starting(..))
    }

    /// The socket, if it has been connected and was not disconnected.
    pub(super) fn connected(&self) -> Option<&Socket> {
        match &self.stage {
            Stage::Starting(socket, _) | Stage::Open(socket) => Some(socket),
            Stage::Joining(_) | Stage::Kicked => None,
        }
    }

    pub(super) fn is_of(&self, socket: &Socket) -> bool {
        match &self.stage {
            Stage::Joining(it) | Stage::Starting(it, _) | Stage::Open(it) => it == socket,
            Stage::Kicked => false,
        }
    }

    /// Whether the server has disconnected the socket since the stage was looked at.
    pub(super) fn is_behind(&self) -> bool {
        self.connected().is_some_and(|socket| !socket.connected())
    }
}
