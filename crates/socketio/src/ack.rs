//! Acknowledgements, of the client's events and of ours.

use std::{
    fmt,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    sync::{
        OnceLock,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};
use socketio_proto::{Args, EncodeError, ToArgs};
use tokio::{sync::oneshot, time::Sleep};

use crate::{AckError, Socket, error::HandlerError};

/// The answer that a client waits for. Everybody who may give it shares this; the first one does.
pub(crate) struct AckRequest {
    socket: Socket,
    id: u64,
    /// The name of the event, once the answer is in the hands of the application.
    taken: OnceLock<Box<str>>,
    /// Some of [`ANSWERED`] and [`NOTHING`].
    state: AtomicU8,
}

impl AckRequest {
    pub(crate) fn new(socket: Socket, id: u64) -> Self {
        Self {
            socket,
            id,
            taken: OnceLock::new(),
            state: AtomicU8::new(0),
        }
    }

    /// Answers, if nobody has yet. The answer leaves also when the namespace was left meanwhile, as
    /// long as the connection is open.
    ///
    /// `false` if somebody was faster.
    pub(crate) fn answer<A: ToArgs + ?Sized>(&self, args: &A) -> Result<bool, EncodeError> {
        if self.has(ANSWERED) {
            return Ok(false);
        }
        let namespace = self.socket.namespace();
        let encoded = namespace.codec().ack(namespace.name(), self.id, args)?;
        let first = self.set(ANSWERED) & ANSWERED == 0;
        if first {
            self.socket.conn().send_essential(encoded);
        }
        Ok(first)
    }

    /// Answers `{"error":"<text>"}`.
    pub(crate) fn answer_error(&self, text: &str) -> bool {
        #[derive(Serialize)]
        struct ErrorText<'a> {
            error: &'a str,
        }

        // an object with a text in it can always be JSON
        self.answer(&ErrorText { error: text }).unwrap_or(false)
    }

    /// A handler has returned without a value: if no other one answers, the answer has no
    /// arguments.
    pub(crate) fn answer_nothing(&self) {
        self.set(NOTHING);
    }

    /// The answer is in the hands of the application.
    pub(crate) fn take(&self, event: &str) {
        self.taken.get_or_init(|| event.into());
    }

    fn has(&self, flag: u8) -> bool {
        self.state.load(Ordering::Acquire) & flag != 0
    }

    fn set(&self, flag: u8) -> u8 {
        self.state.fetch_or(flag, Ordering::AcqRel)
    }
}

impl Drop for AckRequest {
    /// All handlers are done.
    fn drop(&mut self) {
        if self.has(ANSWERED) {
            return;
        }
        if let Some(event) = self.taken.get() {
            if !self.socket.conn().is_closed() {
                self.socket.report(Some(event), HandlerError::Unanswered);
            }
        } else if self.has(NOTHING)
            && let Err(error) = self.answer(&())
        {
            self.socket.report(None, HandlerError::Reply(error));
        }
    }
}

impl fmt::Debug for AckRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AckRequest")
            .field("id", &self.id)
            .field("answered", &self.has(ANSWERED))
            .finish_non_exhaustive()
    }
}

const ANSWERED: u8 = 1;
const NOTHING: u8 = 2;

/// The client's answer to an event that has been sent; see
/// [`Socket::emit_with_ack`].
///
/// Without a [timeout](Self::timeout) it waits until the client answers or the socket is
/// disconnected. Dropping it forgets the answer.
#[must_use = "without it, `emit` does the same"]
pub struct AckFuture<T> {
    socket: Socket,
    wait: Wait,
    deadline: Option<Pin<Box<Sleep>>>,
    answer: PhantomData<fn() -> T>,
}

enum Wait {
    For {
        id: u64,
        answer: oneshot::Receiver<Args>,
    },
    Failed(AckError),
    Done,
}

impl<T> AckFuture<T> {
    pub(crate) fn new(
        socket: Socket,
        sent: Result<(u64, oneshot::Receiver<Args>), AckError>,
    ) -> Self {
        Self {
            socket,
            wait: match sent {
                Ok((id, answer)) => Wait::For { id, answer },
                Err(error) => Wait::Failed(error),
            },
            deadline: None,
            answer: PhantomData,
        }
    }

    /// Waits no longer than this, from now on; then it is [`AckError::Timeout`].
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.deadline = Some(Box::pin(tokio::time::sleep(timeout)));
        self
    }

    fn forget(&mut self) {
        if let Wait::For { id, .. } = self.wait {
            self.socket.forget_ack(id);
        }
        self.wait = Wait::Done;
    }
}

impl<T: DeserializeOwned> Future for AckFuture<T> {
    type Output = Result<T, AckError>;

    /// # Panics
    ///
    /// If it is polled again after it was ready.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Wait::For { answer, .. } = &mut this.wait {
            let result = match Pin::new(answer).poll(cx) {
                Poll::Ready(Ok(args)) => args.deserialize().map_err(AckError::Args),
                Poll::Ready(Err(_)) => Err(AckError::Disconnected),
                Poll::Pending => {
                    let Some(deadline) = &mut this.deadline else {
                        return Poll::Pending;
                    };
                    ready!(deadline.as_mut().poll(cx));
                    Err(AckError::Timeout)
                }
            };
            this.forget();
            return Poll::Ready(result);
        }
        match std::mem::replace(&mut this.wait, Wait::Done) {
            Wait::Failed(error) => Poll::Ready(Err(error)),
            _ => panic!("polled after it was ready"),
        }
    }
}

impl<T> Drop for AckFuture<T> {
    fn drop(&mut self) {
        self.forget();
    }
}

impl<T> fmt::Debug for AckFuture<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AckFuture")
            .field("socket", &self.socket.id())
            .finish_non_exhaustive()
    }
}
