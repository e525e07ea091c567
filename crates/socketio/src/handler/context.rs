//! What handlers are called for.

use std::sync::Arc;

use socketio_proto::{Args, ToArgs};

use super::Answer;
use crate::{DisconnectReason, EmitError, Socket, Str};

/// What a handler is called for: [`Connect`], [`Event`] or [`Disconnect`].
pub trait Context: Send + Sync + 'static {
    /// The socket that it is about.
    fn socket(&self) -> &Socket;

    /// The name of the event, if it is about one.
    fn event_name(&self) -> Option<&Str> {
        None
    }
}

/// A socket is being connected: the context of middlewares and connection handlers.
#[derive(Debug)]
pub struct Connect {
    pub(crate) socket: Socket,
}

/// A socket has been disconnected.
#[derive(Clone, Debug)]
pub struct Disconnect {
    pub(crate) socket: Socket,
    pub(crate) reason: DisconnectReason,
    pub(crate) description: Option<Arc<str>>,
}

impl Disconnect {
    pub(crate) fn new(socket: Socket, reason: DisconnectReason) -> Self {
        Self {
            socket,
            reason,
            description: None,
        }
    }

    /// Why.
    pub fn reason(&self) -> DisconnectReason {
        self.reason
    }

    /// More about the reason, for a log: what was wrong with a packet that could not be decoded, or
    /// which rule of the transport the client broke ("poll connection closed prematurely"). Usually
    /// there is nothing to say.
    pub fn description(&self) -> Option<&str> {
        self.description.as_deref()
    }
}

/// The client has sent an event.
#[derive(Clone, Debug)]
pub struct Event {
    /// Whose event it is, and where the answer goes.
    pub(super) answer: Answer,
    pub(super) args: Args,
}

impl Event {
    pub(crate) fn new(socket: Socket, name: Str, id: Option<u64>, args: Args) -> Self {
        Self {
            answer: Answer::new(socket, name, id),
            args,
        }
    }

    /// The event's name.
    pub fn name(&self) -> &str {
        &self.answer.event
    }

    /// Its arguments.
    pub fn args(&self) -> &Args {
        &self.args
    }

    /// Gives it another name: for [packet middlewares](crate::Namespace::packet_middleware), which
    /// return the event as it is to go on.
    pub fn set_name(&mut self, name: &str) {
        self.answer.event = name.into();
    }

    /// Gives it other arguments; a tuple stands for several.
    ///
    /// # Errors
    ///
    /// If they cannot be JSON.
    pub fn set_args<A: ToArgs + ?Sized>(&mut self, args: &A) -> Result<(), EmitError> {
        self.args = Args::new(args)?;
        Ok(())
    }

    /// Makes it keep nothing else of the message alive, for as long as it waits.
    pub(super) fn detach(&mut self) {
        self.answer.detach();
        self.args.detach();
    }

    /// Whether the client wants an answer.
    pub fn wants_ack(&self) -> bool {
        self.answer.ack.is_some()
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
        &self.answer.socket
    }

    fn event_name(&self) -> Option<&Str> {
        Some(&self.answer.event)
    }
}
