//! The outside of a session.

use std::{
    collections::VecDeque,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use engineio_proto::{CloseReason, Dialect, Encoded, Sid, Version, query::Transport};

use crate::mailbox::{Item, Mailbox};

/// A session as everybody but its driver sees it. Cloning is one reference count; any thread may
/// send at any time.
///
/// ```
/// use engineio::{SessionHandle, Sid, Version};
///
/// let session = SessionHandle::detached(Sid::from("abc"), Version::V4);
/// session.send("hello");
/// assert_eq!(session.take_sent().len(), 1);
/// ```
#[derive(Clone)]
pub struct SessionHandle(Arc<Shared>);

/// What the handle and the driver share.
struct Shared {
    sid: Sid,
    dialect: Dialect,
    mailbox: Mailbox,
    /// Bytes of messages that were sent and have not left, with a charge for each message.
    queued: AtomicUsize,
    max_queued: usize,
    /// The transport could take a message right now.
    writable: AtomicBool,
    on_websocket: AtomicBool,
    upgraded: AtomicBool,
    /// A POST is being read.
    posting: AtomicBool,
    overflown: AtomicBool,
    closed: AtomicBool,
}

impl SessionHandle {
    pub(crate) fn new(sid: Sid, dialect: Dialect, transport: Transport, max_queued: usize) -> Self {
        Self(Arc::new(Shared {
            sid,
            dialect,
            mailbox: Mailbox::default(),
            queued: AtomicUsize::new(0),
            max_queued,
            writable: AtomicBool::new(false),
            on_websocket: AtomicBool::new(transport == Transport::WebSocket),
            upgraded: AtomicBool::new(false),
            posting: AtomicBool::new(false),
            overflown: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        }))
    }

    /// A handle without a driver: what is sent collects in it. For tests of upper layers.
    pub fn detached(sid: Sid, version: Version) -> Self {
        let dialect = match version {
            Version::V3 => Dialect::V3,
            Version::V4 => Dialect::V4,
        };
        Self::new(sid, dialect, Transport::WebSocket, usize::MAX)
    }

    /// The session id. It authenticates the client: do not show it to others.
    pub fn sid(&self) -> &Sid {
        &self.0.sid
    }

    /// The protocol version.
    pub fn version(&self) -> Version {
        self.0.dialect.version
    }

    /// The transport in use. It changes once at most, from polling to WebSocket.
    pub fn transport(&self) -> Transport {
        if self.0.on_websocket.load(Ordering::Acquire) {
            Transport::WebSocket
        } else {
            Transport::Polling
        }
    }

    /// Whether the session has moved from polling to a WebSocket. One that was opened by a WebSocket
    /// has nowhere to move.
    pub fn upgraded(&self) -> bool {
        self.0.upgraded.load(Ordering::Acquire)
    }

    /// Queues a message. It leaves in the order of the calls, whatever transport is in use by
    /// then. Once the session has closed this does nothing.
    ///
    /// If more is queued than [`Config::max_queued`](crate::Config::max_queued), the message is
    /// dropped and the session closes with [`CloseReason::SlowClient`].
    pub fn send(&self, message: impl Into<Encoded>) {
        if self.is_closed() {
            return;
        }
        let message = message.into();
        if self.charge(&message)
            && let Err(Item::Send(message)) = self.0.mailbox.push(Item::Send(message))
        {
            self.credit(&message);
        }
    }

    /// Queues a message only if the transport could take it right now: a WebSocket that has
    /// written all before it, or a poll that waits. Returns whether it was queued.
    pub fn send_volatile(&self, message: impl Into<Encoded>) -> bool {
        if !self.is_writable() {
            return false;
        }
        let message = message.into();
        let cost = cost(&message);
        self.0.queued.fetch_add(cost, Ordering::Relaxed);
        let sent = self.0.mailbox.push_if_empty(Item::Send(message)).is_ok();
        if !sent {
            self.0.queued.fetch_sub(cost, Ordering::Relaxed);
        }
        sent
    }

    /// Closes the session: what is queued still leaves if the client takes it in time, then the
    /// client is told.
    pub fn close(&self, reason: CloseReason) {
        let _ = self.0.mailbox.push(Item::Close(reason));
    }

    /// Whether the transport could take a message right now.
    pub fn is_writable(&self) -> bool {
        self.0.writable.load(Ordering::Acquire)
    }

    /// Whether the session has closed or is closing: whatever is sent now is dropped.
    pub fn is_closed(&self) -> bool {
        self.0.closed.load(Ordering::Acquire)
    }

    /// Bytes of messages that were sent and have not left yet, with a small charge for each.
    pub fn queued(&self) -> usize {
        self.0.queued.load(Ordering::Relaxed)
    }

    /// Takes the messages that were sent and not driven out yet. For tests of upper layers, with
    /// [`detached`](Self::detached).
    pub fn take_sent(&self) -> Vec<Encoded> {
        let mut items = VecDeque::new();
        self.0.mailbox.take(&mut items);
        let message = |item| match item {
            Item::Send(message) => Some(message),
            _ => None,
        };
        items
            .into_iter()
            .filter_map(message)
            .inspect(|it| self.credit(it))
            .collect()
    }

    pub(crate) fn dialect(&self) -> &Dialect {
        &self.0.dialect
    }

    pub(crate) fn mailbox(&self) -> &Mailbox {
        &self.0.mailbox
    }

    /// Marks that a POST is being read; `false` if one is already.
    pub(crate) fn begin_post(&self) -> bool {
        !self.0.posting.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn end_post(&self) {
        self.0.posting.store(false, Ordering::Release);
    }

    pub(crate) fn set_writable(&self, writable: bool) {
        self.0.writable.store(writable, Ordering::Release);
    }

    pub(crate) fn set_closed(&self) {
        self.set_writable(false);
        self.0.closed.store(true, Ordering::Release);
    }

    /// There is no driver any more: nothing is taken, and what is still queued will never leave.
    pub(crate) fn end(&self) -> VecDeque<Item> {
        let items = self.0.mailbox.close();
        self.set_closed();
        self.0.queued.store(0, Ordering::Relaxed);
        items
    }

    pub(crate) fn set_upgraded(&self) {
        self.0.on_websocket.store(true, Ordering::Release);
        self.0.upgraded.store(true, Ordering::Release);
    }

    /// A message has left, or will never leave.
    pub(crate) fn credit(&self, message: &Encoded) {
        let cost = cost(message);
        let less = |queued: usize| Some(queued.saturating_sub(cost));
        let order = Ordering::Relaxed;
        let _ = self.0.queued.fetch_update(order, order, less);
    }

    /// Counts a message; `false` if it would be too much.
    fn charge(&self, message: &Encoded) -> bool {
        let cost = cost(message);
        let before = self.0.queued.fetch_add(cost, Ordering::Relaxed);
        // A single message always fits, however large: only a queue can be too long.
        if before > 0 && before.saturating_add(cost) > self.0.max_queued {
            self.0.queued.fetch_sub(cost, Ordering::Relaxed);
            if !self.0.overflown.swap(true, Ordering::Relaxed) {
                let _ = self.0.mailbox.push(Item::Overflow);
            }
            return false;
        }
        true
    }
}

/// A queue of empty messages takes memory too.
fn cost(message: &Encoded) -> usize {
    message.len() + 64
}

impl fmt::Debug for SessionHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionHandle")
            .field("sid", &self.0.sid)
            .field("version", &self.version())
            .field("transport", &self.transport())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_is_one_pointer() {
        assert_eq!(size_of::<SessionHandle>(), size_of::<usize>());
        assert!(size_of::<Shared>() <= 128, "{}", size_of::<Shared>());
    }

    #[test]
    fn a_queue_over_the_limit_takes_no_more() {
        let handle = SessionHandle::new(Sid::from("a"), Dialect::V4, Transport::WebSocket, 200);
        handle.send("1");
        handle.send("2");
        handle.send("3");
        handle.send("4");
        assert_eq!(handle.take_sent().len(), 3);
        assert_eq!(handle.queued(), 0);
    }

    #[test]
    fn volatile_needs_a_writable_transport_and_an_empty_queue() {
        let handle = SessionHandle::detached(Sid::from("a"), Version::V4);
        assert!(!handle.send_volatile("1"));
        handle.set_writable(true);
        assert!(handle.send_volatile("2"));
        assert!(!handle.send_volatile("3"));
        assert_eq!(handle.take_sent().len(), 1);
    }
}
