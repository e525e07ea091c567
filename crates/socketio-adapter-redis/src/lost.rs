//! What does not reach the other servers, and who is told.

use std::{
    fmt, mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

/// What did not reach the other servers, or perhaps did not.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lost {
    /// So many messages,
    pub messages: u64,
    /// with so many bytes,
    pub bytes: u64,
    /// because of this.
    pub reason: LostReason,
}

/// Why messages are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LostReason {
    /// Redis is away or slow, and [so many bytes](crate::Builder::max_queued) wait already.
    QueueFull,
    /// The connection was lost before Redis had answered. They may have arrived.
    Unconfirmed,
    /// Redis answered with an error.
    Refused,
    /// It cannot be written, because it is too long or the connection has been closed.
    Unsendable,
}

/// Tells the log and the owner of the server, in a task of its own: whoever publishes may hold locks
/// that the owner's function may want, or whoever reads the log.
pub(crate) struct Teller {
    hook: Option<Hook>,
    untold: Mutex<Untold>,
    changed: Notify,
}

pub(crate) type Hook = Box<dyn Fn(&Lost) + Send + Sync>;

#[derive(Default)]
struct Untold {
    /// One for each reason at most.
    losses: Vec<Lost>,
    /// Why the last one of those that cannot be written is one.
    error: Option<String>,
    closed: bool,
}

impl Teller {
    pub(crate) fn new(hook: Option<Hook>) -> Arc<Self> {
        Arc::new(Self {
            hook,
            untold: Mutex::default(),
            changed: Notify::new(),
        })
    }

    pub(crate) fn add(&self, lost: Lost) {
        let mut untold = self.untold();
        let same = untold.losses.iter_mut().find(|it| it.reason == lost.reason);
        match same {
            Some(same) => {
                same.messages += lost.messages;
                same.bytes += lost.bytes;
            }
            None => untold.losses.push(lost),
        }
        drop(untold);
        self.changed.notify_one();
    }

    /// Says why a message is lost that cannot be written.
    pub(crate) fn explain(&self, error: String) {
        self.untold().error = Some(error);
    }

    /// No more comes.
    pub(crate) fn close(&self) {
        self.untold().closed = true;
        self.changed.notify_one();
    }

    pub(crate) async fn run(self: Arc<Self>) {
        loop {
            let (losses, error, is_last) = {
                let mut untold = self.untold();
                let error = untold.error.take();
                (mem::take(&mut untold.losses), error, untold.closed)
            };
            if let Some(error) = error {
                tracing::warn!(%error, "a message for other servers cannot be written");
            }
            for lost in &losses {
                self.tell(lost);
            }
            if is_last {
                return;
            }
            self.changed.notified().await;
        }
    }

    fn tell(&self, lost: &Lost) {
        let Lost {
            messages,
            bytes,
            reason,
        } = lost;
        tracing::debug!(
            messages,
            bytes,
            ?reason,
            "messages for other servers are lost"
        );
        if let Some(hook) = &self.hook
            && catch_unwind(AssertUnwindSafe(|| hook(lost))).is_err()
        {
            tracing::error!("the function that is told of losses has panicked");
        }
    }

    fn untold(&self) -> MutexGuard<'_, Untold> {
        self.untold.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = match self.reason {
            LostReason::QueueFull => "the queue is full",
            LostReason::Unconfirmed => "the connection was lost",
            LostReason::Refused => "Redis refused it",
            LostReason::Unsendable => "it cannot be written",
        };
        let Lost {
            messages, bytes, ..
        } = self;
        write!(f, "{messages} messages with {bytes} bytes: {reason}")
    }
}
