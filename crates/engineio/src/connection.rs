//! What lives on top of a session.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use engineio_proto::{CloseReason, Data, Packet, session::Transmit};

use crate::{Handshake, SessionHandle};

/// Makes a [`Connection`] for each session that opens.
pub trait Acceptor: Send + Sync + 'static {
    /// What lives on top of one session.
    type Connection: Connection;

    /// A session has opened. Whatever is sent through the handle now leaves right behind the open
    /// packet.
    fn accept(&self, session: SessionHandle, handshake: Arc<Handshake>) -> Self::Connection;
}

/// What lives on top of one session. The session's driver owns it and calls it from one task, so
/// everything is `&mut self` and nothing needs a lock.
///
/// The `cx` that is passed in wakes the driver: a future that is polled with it is polled again
/// from [`poll_progress`](Self::poll_progress).
pub trait Connection: Send + 'static {
    /// Whether another message may be delivered now. While this is pending the driver keeps
    /// answering heartbeats and stops reading once its small buffer is full. When the session
    /// closes, the messages that came before are delivered even so.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let _ = cx;
        Poll::Ready(())
    }

    /// A message has arrived. Messages come in the order in which the peer sent them, whatever
    /// transport they came by.
    fn on_message(&mut self, message: Data, cx: &mut Context<'_>);

    /// Moves whatever was waiting. Called in every turn of the driver, also after
    /// [`on_close`](Self::on_close) until it returns `Ready`: then nothing is in flight any more.
    fn poll_progress(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let _ = cx;
        Poll::Ready(())
    }

    /// The session has moved from polling to its WebSocket.
    fn on_upgrade(&mut self, cx: &mut Context<'_>) {
        let _ = cx;
    }

    /// A packet of the session has arrived, be it a message, a ping or a pong. It has not been
    /// looked at: it may break a rule, and a message that waits for
    /// [`poll_ready`](Self::poll_ready) comes to [`on_message`](Self::on_message) later.
    ///
    /// What a WebSocket says before the session has moved to it does not count.
    fn on_packet(&mut self, packet: &Packet) {
        let _ = packet;
    }

    /// A packet is about to be written: the open packet, a message, a ping, a pong, or a noop that
    /// ends a poll.
    #[doc(alias = "packetCreate")]
    fn on_packet_create(&mut self, packet: &Transmit) {
        let _ = packet;
    }

    /// All that was sent has been written: the transport has taken it, the client may not have got
    /// it yet.
    fn on_drain(&mut self, cx: &mut Context<'_>) {
        let _ = cx;
    }

    /// The session has closed. Called exactly once.
    ///
    /// If it is because the client broke a rule, the description says which: a text for a log.
    fn on_close(
        &mut self,
        reason: CloseReason,
        description: Option<&'static str>,
        cx: &mut Context<'_>,
    ) {
        let _ = (reason, description, cx);
    }
}
