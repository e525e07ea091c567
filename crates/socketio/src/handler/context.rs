//! What handlers are called for.

use std::sync::Arc;

use socketio_proto::Args;

use crate::{DisconnectReason, Socket, Str, ack::AckRequest};

/// What a handler is called for: [`Connect`], [`Event`] or [`Disconnect`].
pub trait Context: Send + Sync + 'static {
    /// The socket that it is about.
    fn socket(&self) -> &Socket;
}

/// A socket is being connected: the context of middlewares and connection handlers.
#[derive(Debug)]
pub struct Connect {
    pub(crate) socket: Socket,
}

/// A socket has been disconnected.
#[derive(Debug)]
pub struct Disconnect {
    pub(crate) socket: Socket,
    pub(crate) reason: DisconnectReason,
}

impl Disconnect {
    /// Why.
    pub fn reason(&self) -> DisconnectReason {
        self.reason
    }
}

/// The client has sent an event.
#[derive(Debug)]
pub struct Event {
    pub(crate) socket: Socket,
    pub(crate) name: Str,
    pub(crate) args: Args,
    /// If the client wants an answer.
    pub(crate) ack: Option<Arc<AckRequest>>,
}

impl Event {
    /// The event's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its arguments.
    pub fn args(&self) -> &Args {
        &self.args
    }

    /// Whether the client wants an answer.
    pub fn wants_ack(&self) -> bool {
        self.ack.is_some()
    }
}

impl Context for Connect {
    fn socket(&self) -> &Socket {
        &self.socket
    }
}

impl Context for Disconnect {
    fn socket(&self) -> &Socket {
        &self.socket
    }
}

impl Context for Event {
    fn socket(&self) -> &Socket {
        &self.socket
    }
}
