//! How a connection ends.

use std::sync::Arc;

use engineio::CloseReason;
use socketio_proto::DecodeError;
use tokio::time::sleep;

use super::{
    Client,
    slot::{Slot, Stage},
    waiting::Item,
};
use crate::{DisconnectReason, ErrorReport, error::HandlerError, handler::Disconnect};

impl Client {
    /// A packet where none such may be.
    pub(super) fn violation(&mut self, namespace: &str) {
        if !self.closed {
            tracing::debug!(sid = ?self.session.sid(), namespace, "packet out of place");
            self.close_by_force(None);
        }
    }

    /// A message that is no packet. All sockets of the client are told, as by the official server.
    pub(super) fn decode_error(&mut self, error: DecodeError) {
        let description = error.to_string().into();
        let error = HandlerError::Decode(error);
        let mut report = ErrorReport {
            socket: None,
            event: None,
            error: &error,
        };
        for socket in self.slots.iter().filter_map(Slot::connected) {
            report.socket = Some(socket);
            socket.namespace().report(&report);
        }
        if report.socket.is_none() {
            self.io.report(&report);
        }
        self.close_by_force(Some(description));
    }

    /// Closes the connection, with the words that the official server has for whether that can
    /// be done at once.
    pub(super) fn close_by_force(&mut self, description: Option<Arc<str>>) {
        let reason = if self.session.is_writable() {
            DisconnectReason::ForcedClose
        } else {
            DisconnectReason::ForcedServerClose
        };
        self.end(reason, description);
        self.session.close(CloseReason::ForcedClose);
    }

    /// Makes the client leave all namespaces and closes the connection.
    pub(super) fn kick_out(&mut self) {
        for socket in self.slots.iter().filter_map(Slot::connected) {
            socket.disconnect();
        }
        self.end(DisconnectReason::ServerNamespaceDisconnect, None);
        self.session.close(CloseReason::ForcedClose);
    }

    /// The client has come back on another connection: this one is of no more use, and nobody takes
    /// what is queued for it.
    pub(super) fn replaced(&mut self) {
        self.end(DisconnectReason::TransportClose, None);
        self.session.abort(CloseReason::ForcedClose);
    }

    /// Nothing more comes from the client, and nothing more goes to it.
    pub(super) fn end(&mut self, reason: DisconnectReason, description: Option<Arc<str>>) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        self.searches.give_up();
        let mut has_middlewares = false;
        self.slots.retain_mut(|slot| {
            match &slot.stage {
                Stage::Joining(socket) => {
                    socket.refuse();
                    has_middlewares = true;
                    return false;
                }
                Stage::Open(socket) => {
                    // What came before is handled, also if the client is back elsewhere already.
                    if socket.left(reason) || socket.is_replaced() {
                        self.waiting.push(Item::Ended(Disconnect {
                            socket: socket.clone(),
                            reason,
                            description: description.clone(),
                        }));
                    } else if !self.waiting.has_ended(socket) {
                        let socket = socket.clone();
                        self.waiting.push(Item::Kicked(socket.clone()));
                        slot.stage = Stage::Kicked(Some(socket));
                    }
                }
                Stage::Kicked(_) => {}
            }
            true
        });
        // They run on like handlers, but nobody waits for what they say.
        if has_middlewares {
            let time = self.io.options().connect_timeout;
            self.deadline.get_or_insert_with(|| Box::pin(sleep(time)));
        } else {
            self.deadline = None;
        }
    }
}

impl Drop for Client {
    /// The usual end is [`on_close`](engineio::Connection::on_close). Without it (the runtime goes
    /// down) the sockets must not stay in their rooms.
    fn drop(&mut self) {
        for slot in &self.slots {
            match &slot.stage {
                Stage::Joining(socket) => socket.refuse(),
                Stage::Open(socket) | Stage::Kicked(Some(socket)) => {
                    socket.left(DisconnectReason::ServerNamespaceDisconnect);
                    // They may hold the socket.
                    socket.drop_listeners();
                }
                Stage::Kicked(None) => {}
            }
        }
    }
}
