//! One socket, and how events are sent to it.

use std::time::Duration;

use socketio_proto::ToArgs;

use crate::{AckFuture, EmitError, Socket};

/// Sends events to one socket in another way than [`Socket::emit`] does. Made by
/// [`Socket::volatile`], [`Socket::compress`] and [`Socket::timeout`].
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
    pub(crate) volatile: bool,
    pub(crate) compress: bool,
    pub(crate) timeout: Option<Duration>,
}

impl Default for Flags {
    fn default() -> Self {
        Self {
            volatile: false,
            compress: true,
            timeout: None,
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
        self.flags.volatile = true;
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

    /// Sends the event, and says whether it did: not if the socket is not connected, and not if the
    /// event is volatile and the connection cannot take it.
    ///
    /// # Errors
    ///
    /// If the name is reserved or the arguments cannot be JSON.
    pub fn emit<A: ToArgs + ?Sized>(&self, event: &str, args: &A) -> Result<bool, EmitError> {
        self.socket.emit_as(event, args, self.flags)
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

    /// See [`Socket::emit_with_ack`]. A volatile event that cannot be sent is
    /// [`AckError::NotSent`](crate::AckError::NotSent).
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
