//! One socket, and how events are sent to it.

use std::time::Duration;

use engineio::{Overflow, SessionHandle};
use socketio_proto::{Encoded, ToArgs};

use crate::{AckFuture, EmitError, Socket, socket::check_emit};

/// Sends events to one socket in another way than [`Socket::emit`] does. Made by
/// [`Socket::volatile`], [`Socket::overflow`], [`Socket::compress`] and [`Socket::timeout`].
///
/// ```no_run
/// # use std::time::Duration;
/// # async fn example(socket: socketio::Socket) -> Result<(), socketio::AckError> {
/// socket.volatile().compress(false).emit("position", &(1.5, 2.5))?;
/// let ok: bool = socket
///     .timeout(Duration::from_secs(5))
///     .emit_with_ack("save", &())
///     .await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
#[must_use = "nothing happens until `emit`"]
pub struct Emitter<'a> {
    socket: &'a Socket,
    pub(crate) flags: Flags,
}

/// How an event is sent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flags {
    pub(crate) way: Way,
    pub(crate) compress: bool,
    pub(crate) timeout: Option<Duration>,
}

impl Default for Flags {
    fn default() -> Self {
        Self {
            way: Way::default(),
            compress: true,
            timeout: None,
        }
    }
}

/// How an event is given to a connection.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Way {
    pub(crate) volatile: bool,
    /// What happens if too much is queued, if it is not for the server to say.
    pub(crate) overflow: Option<Overflow>,
}

impl Way {
    /// Returns whether the connection has taken the event.
    pub(crate) fn send(self, to: &SessionHandle, event: Encoded) -> bool {
        if self.volatile {
            to.send_volatile(event)
        } else {
            to.send_with(event, self.overflow)
        }
    }
}

impl<'a> Emitter<'a> {
    pub(crate) fn new(socket: &'a Socket) -> Self {
        Self {
            socket,
            flags: Flags::default(),
        }
    }

    /// The event may be lost: it is sent only if the connection can take it right now, that is, a
    /// WebSocket that has written all before it, or a poll that waits. An event with binary data is
    /// sent or lost as a whole.
    pub fn volatile(mut self) -> Self {
        self.flags.way.volatile = true;
        self
    }

    /// What happens if more is queued for the client than [may be](crate::Config::max_queued): the
    /// event is dropped, or the client is disconnected as too slow. Default: what
    /// [`Config::overflow`](crate::Config::overflow) says. An event with binary data is sent or
    /// dropped as a whole, and a volatile one is never queued.
    ///
    /// ```no_run
    /// # fn example(socket: socketio::Socket) -> Result<(), socketio::EmitError> {
    /// use socketio::Overflow;
    ///
    /// let fits = socket.overflow(Overflow::DropNewest).emit("row", &1)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.flags.way.overflow = Some(overflow);
        self
    }

    /// Whether a poll response that carries the event may be compressed. Default: `true`.
    pub fn compress(mut self, compress: bool) -> Self {
        self.flags.compress = compress;
        self
    }

    /// How long [`emit_with_ack`](Self::emit_with_ack) waits. Default: until the client answers or
    /// the socket is disconnected.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.flags.timeout = Some(timeout);
        self
    }

    /// Sends the event, and says whether it did: not if the socket is not connected, if the event is
    /// volatile and the connection cannot take it now, or if too much is queued for the client. What
    /// is [kept](crate::Builder::connection_state_recovery) for a client that may come back counts
    /// as sent.
    ///
    /// # Errors
    ///
    /// If the name is reserved or the arguments cannot be JSON.
    pub fn emit<A: ToArgs + ?Sized>(&self, event: &str, args: &A) -> Result<bool, EmitError> {
        self.socket.emit_as(event, args, self.flags)
    }

    /// Waits until the client has read most of what was sent before, and then sends the event; see
    /// [`Socket::ready`].
    ///
    /// # Errors
    ///
    /// If the name is reserved or the arguments cannot be JSON.
    pub async fn emit_ready<A>(&self, event: &str, args: &A) -> Result<bool, EmitError>
    where
        A: ToArgs + ?Sized,
    {
        check_emit(event)?;
        Ok(self.socket.ready().await && self.emit(event, args)?)
    }

    /// Sends the event `message`; see [`emit`](Self::emit).
    ///
    /// # Errors
    ///
    /// If the arguments cannot be JSON.
    #[doc(alias = "write")]
    pub fn send<A: ToArgs + ?Sized>(&self, args: &A) -> Result<bool, EmitError> {
        self.emit("message", args)
    }

    /// See [`Socket::emit_with_ack`].
    #[doc(alias = "emitWithAck")]
    pub fn emit_with_ack<T>(&self, event: &str, args: &(impl ToArgs + ?Sized)) -> AckFuture<T> {
        let answer = AckFuture::new(
            self.socket.clone(),
            self.socket.send_with_ack(event, args, self.flags),
        );
        match self.flags.timeout {
            Some(timeout) => answer.timeout(timeout),
            None => answer,
        }
    }
}
