//! A namespace that a client has joined or is about to.

use std::task::{Context, Waker};

use crate::{Namespace, Socket, handler::Handlers, snapshot::Snapshot, socket::Kick};

/// A namespace that the client has joined or is about to.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) namespace: Namespace,
    pub(super) stage: Stage,
    /// How many of its connection handlers are not done yet, and whether an event is in packet
    /// middlewares: its packets wait for both.
    pub(super) starting: usize,
    pub(super) handlers: Snapshot<Handlers>,
    /// What the socket wakes when the server disconnects it.
    pub(super) waker: Option<Waker>,
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

    /// Whether somebody else than the connection has disconnected the socket. If not yet, the
    /// connection is woken when it happens.
    pub(super) fn poll_kicked(&mut self, cx: &mut Context<'_>) -> Option<Kick> {
        let Stage::Open(socket) = &self.stage else {
            return None;
        };
        // Most often it is the same as in all turns before.
        if !matches!(&self.waker, Some(waker) if waker.will_wake(cx.waker())) {
            socket.wakes(cx.waker());
            self.waker = Some(cx.waker().clone());
        }
        socket.kicked()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_small() {
        assert!(size_of::<Slot>() <= 64, "{}", size_of::<Slot>());
    }
}
