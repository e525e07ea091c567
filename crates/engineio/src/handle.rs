//! The outside of a session.

use std::{fmt, sync::Arc};

use engineio_proto::{CloseReason, Dialect, Encoded, Queue, Sid, Version, query::Transport};

use crate::{
    Overflow,
    backlog::{Backlog, Limits, Traffic},
    item::Item,
    mailbox::Mailbox,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
};

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
///
/// In this order: what sending looks at comes first and lies side by side, since in a broadcast to
/// many sessions most of the time goes into fetching it from memory.
#[repr(C)]
struct Shared {
    mailbox: Mailbox,
    backlog: Backlog,
    traffic: Arc<Traffic>,
    closed: AtomicBool,
    /// The transport could take a message right now.
    writable: AtomicBool,
    on_websocket: AtomicBool,
    upgraded: AtomicBool,
    /// A POST is being read.
    posting: AtomicBool,
    overflown: AtomicBool,
    flag: AtomicBool,
    dialect: Dialect,
    dropped: AtomicU32,
    dropped_volatile: AtomicU32,
    sid: Sid,
}

impl SessionHandle {
    pub(crate) fn new(
        sid: Sid,
        dialect: Dialect,
        transport: Transport,
        traffic: Arc<Traffic>,
    ) -> Self {
        Self(Arc::new(Shared {
            sid,
            dialect,
            mailbox: Mailbox::default(),
            backlog: Backlog::default(),
            traffic,
            dropped: AtomicU32::new(0),
            dropped_volatile: AtomicU32::new(0),
            writable: AtomicBool::new(false),
            on_websocket: AtomicBool::new(transport == Transport::WebSocket),
            upgraded: AtomicBool::new(false),
            posting: AtomicBool::new(false),
            overflown: AtomicBool::new(false),
            flag: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        }))
    }

    /// A handle without a driver: what is sent collects in it. For tests of upper layers.
    pub fn detached(sid: Sid, version: Version) -> Self {
        let dialect = match version {
            Version::V3 => Dialect::V3,
            Version::V4 => Dialect::V4,
        };
        let traffic = Arc::new(Traffic::new(Limits::NONE));
        Self::new(sid, dialect, Transport::WebSocket, traffic)
    }

    /// The session id. It authenticates the client: do not show it to others.
    pub fn sid(&self) -> &Sid {
        &self.0.sid
    }

    /// The protocol version.
    #[doc(alias = "protocol")]
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
    /// If more is queued than [`Config::max_queued`](crate::Config::max_queued) or
    /// [`Config::max_queued_messages`](crate::Config::max_queued_messages), the message is dropped,
    /// and [`Config::overflow`](crate::Config::overflow) says what becomes of the session. To wait
    /// in place of that, see [`ready`](Self::ready).
    pub fn send(&self, message: impl Into<Encoded>) {
        self.send_with(message, None);
    }

    /// As [`send`](Self::send), but this message may bring its own word on what becomes of the
    /// session if too much is queued. Returns whether the message was queued.
    ///
    /// ```
    /// use engineio::{Overflow, SessionHandle, Sid, Version};
    ///
    /// let session = SessionHandle::detached(Sid::from("abc"), Version::V4);
    /// assert!(session.send_with("21.5 °C", Overflow::DropNewest));
    /// ```
    pub fn send_with(
        &self,
        message: impl Into<Encoded>,
        overflow: impl Into<Option<Overflow>>,
    ) -> bool {
        let limits = &self.0.traffic.limits;
        let overflow = overflow.into().unwrap_or(limits.overflow);
        self.queue(message.into(), limits, overflow)
    }

    /// As [`send`](Self::send), for a message without which the client would be left in a wrong
    /// state: [`Overflow::DropNewest`] does not drop it. It may fill the queue up to twice the
    /// limits; beyond that the session closes.
    pub fn send_essential(&self, message: impl Into<Encoded>) {
        let limits = self.0.traffic.limits.with_reserve();
        self.queue(message.into(), &limits, Overflow::Disconnect);
    }

    /// Queues a message only if the transport could take it right now: a WebSocket that has
    /// written all before it, or a poll that waits. Returns whether it was queued.
    pub fn send_volatile(&self, message: impl Into<Encoded>) -> bool {
        let sent = self.is_writable() && {
            let message = message.into();
            // Counted before the driver can have it.
            self.0.backlog.add(&message);
            match self.0.mailbox.push_if_empty(Item::Send(message)) {
                Err(Item::Send(message)) => {
                    self.take_back(&message);
                    false
                }
                _ => true,
            }
        };
        if !sent {
            self.skip_volatile();
        }
        sent
    }

    /// Counts a volatile message as dropped: for whoever has not even made it, because the
    /// transport [is not writable](Self::is_writable).
    pub fn skip_volatile(&self) {
        if !self.is_closed() {
            let order = Ordering::Relaxed;
            self.0.dropped_volatile.fetch_add(1, order);
            self.0.traffic.dropped_volatile.fetch_add(1, order);
        }
    }

    /// Waits until little enough is queued that a sender should go on: at most
    /// [`Config::low_water`](crate::Config::low_water) bytes, and half of the messages that may be.
    /// Returns whether the session is still open.
    ///
    /// Whoever sends much waits for it before each message, and never meets the limits.
    ///
    /// ```
    /// # async fn run(session: engineio::SessionHandle, rows: Vec<String>) {
    /// for row in rows {
    ///     if !session.ready().await {
    ///         break;
    ///     }
    ///     session.send(&*row);
    /// }
    /// # }
    /// ```
    pub async fn ready(&self) -> bool {
        if !self.is_ready() {
            self.0.traffic.waits.fetch_add(1, Ordering::Relaxed);
        }
        while !self.is_ready() {
            let released = self.0.mailbox.released();
            // What the driver takes from now on it tells; what it took before is seen here.
            if !self.is_ready() {
                released.await;
            }
        }
        !self.is_closed()
    }

    /// Closes the session: what is queued still leaves if the client takes it in time, then the
    /// client is told.
    pub fn close(&self, reason: CloseReason) {
        let _ = self.0.mailbox.push(Item::Close(reason));
    }

    /// Closes the session at once: what is queued is dropped. (`close(true)` in the official
    /// server.)
    pub fn abort(&self, reason: CloseReason) {
        let _ = self.0.mailbox.push(Item::Abort(reason));
    }

    /// Whether the transport could take a message right now.
    #[doc(alias = "writable")]
    pub fn is_writable(&self) -> bool {
        self.0.writable.load(Ordering::Acquire)
    }

    /// Whether the session has closed or is closing: whatever is sent now is dropped.
    #[doc(alias = "readyState")]
    pub fn is_closed(&self) -> bool {
        self.0.closed.load(Ordering::Acquire)
    }

    /// Bytes of messages that were sent and have not left yet, with a small charge for each.
    pub fn queued(&self) -> usize {
        self.0.backlog.bytes()
    }

    /// Messages that were sent and have not left yet.
    pub fn queued_messages(&self) -> usize {
        self.0.backlog.messages()
    }

    /// Messages that were dropped because too much was queued.
    pub fn dropped(&self) -> u32 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    /// Volatile messages that were dropped because the transport could not take them at once.
    pub fn dropped_volatile(&self) -> u32 {
        self.0.dropped_volatile.load(Ordering::Relaxed)
    }

    /// Sets a flag that means nothing here. With it others tell a [`Connection`](crate::Connection)
    /// that it has to look after something when it has its turn next; it wakes nobody.
    pub fn set_flag(&self) {
        self.0.flag.store(true, Ordering::Release);
    }

    /// Whether the flag was [set](Self::set_flag) since this was last asked. It costs next to
    /// nothing, in every turn.
    ///
    /// ```
    /// use engineio::{SessionHandle, Sid, Version};
    ///
    /// let session = SessionHandle::detached(Sid::from("abc"), Version::V4);
    /// session.clone().set_flag();
    /// assert!(session.take_flag());
    /// assert!(!session.take_flag());
    /// ```
    pub fn take_flag(&self) -> bool {
        self.0.flag.load(Ordering::Relaxed) && self.0.flag.swap(false, Ordering::Acquire)
    }

    /// Takes the messages that were sent and not driven out yet. For tests of upper layers, with
    /// [`detached`](Self::detached).
    pub fn take_sent(&self) -> Vec<Encoded> {
        let mut items = Queue::default();
        self.0.mailbox.take(&mut items);
        let message = |item| match item {
            Item::Send(message) => Some(message),
            _ => None,
        };
        std::iter::from_fn(|| items.pop_front())
            .filter_map(message)
            .inspect(|it| self.credit(it))
            .collect()
    }

    /// Whether both are the same session, and not only the same id.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
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
        self.0.mailbox.release();
    }

    /// There is no driver any more: nothing is taken, and what is still queued will never leave.
    pub(crate) fn end(&self) -> Queue<Item> {
        let items = self.0.mailbox.close();
        self.set_closed();
        self.0.backlog.forget();
        items
    }

    pub(crate) fn set_upgraded(&self) {
        self.0.on_websocket.store(true, Ordering::Release);
        self.0.upgraded.store(true, Ordering::Release);
    }

    /// A message has left, or will never leave.
    pub(crate) fn credit(&self, message: &Encoded) {
        self.0.backlog.remove(message);
    }

    /// Whether those who wait for [`ready`](Self::ready) need to wait no longer.
    pub(crate) fn is_ready(&self) -> bool {
        self.is_closed() || self.0.backlog.is_low(&self.0.traffic.limits)
    }

    fn queue(&self, message: Encoded, limits: &Limits, overflow: Overflow) -> bool {
        if self.is_closed() {
            return false;
        }
        if !self.0.backlog.add_within(&message, limits) {
            // For a moment it was counted, and who looked then may wait.
            self.0.mailbox.look_again();
            self.overflow(overflow);
            return false;
        }
        let pushed = self.0.mailbox.push(Item::Send(message));
        if let Err(Item::Send(message)) = &pushed {
            self.take_back(message);
        }
        pushed.is_ok()
    }

    /// A message that was counted was not queued. Who looked meanwhile may wait.
    fn take_back(&self, message: &Encoded) {
        self.credit(message);
        self.0.mailbox.look_again();
    }

    /// A message was dropped because too much is queued.
    fn overflow(&self, overflow: Overflow) {
        let order = Ordering::Relaxed;
        let traffic = &self.0.traffic;
        self.0.dropped.fetch_add(1, order);
        traffic.dropped.fetch_add(1, order);
        if overflow == Overflow::Disconnect && !self.0.overflown.swap(true, order) {
            traffic.slow_clients.fetch_add(1, order);
            self.abort(CloseReason::SlowClient);
        }
    }
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

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_handle_is_one_pointer() {
        assert_eq!(size_of::<SessionHandle>(), size_of::<usize>());
        assert!(size_of::<Shared>() <= 128, "{}", size_of::<Shared>());
    }

    #[test]
    fn a_queue_over_the_limit_takes_no_more() {
        let limits = Limits {
            bytes: 200,
            ..Limits::NONE
        };
        let traffic = Arc::new(Traffic::new(limits));
        let sid = Sid::from("a");
        let handle = SessionHandle::new(sid, Dialect::V4, Transport::WebSocket, traffic);
        handle.send("1");
        handle.send("2");
        handle.send("3");
        handle.send("4");
        assert_eq!(handle.dropped(), 1);
        assert_eq!(handle.queued_messages(), 3);
        assert_eq!(handle.take_sent().len(), 3);
        assert_eq!(handle.queued(), 0);
    }

    #[test]
    fn what_is_essential_has_a_reserve_and_an_end() {
        let limits = Limits {
            messages: 2,
            ..Limits::NONE
        };
        let traffic = Arc::new(Traffic::new(limits));
        let sid = Sid::from("a");
        let handle = SessionHandle::new(sid, Dialect::V4, Transport::WebSocket, traffic.clone());
        let taken = ["1", "2", "3"].map(|it| handle.send_with(it, None));
        assert_eq!(taken, [true, true, false]);
        handle.send_essential("4");
        handle.send_essential("5");
        assert_eq!((handle.dropped(), handle.queued_messages()), (1, 4));
        assert_eq!(traffic.slow_clients.load(Ordering::Relaxed), 0);
        handle.send_essential("6");
        assert_eq!(traffic.slow_clients.load(Ordering::Relaxed), 1);
        assert_eq!((handle.dropped(), handle.queued_messages()), (2, 4));
    }

    #[test]
    fn volatile_needs_a_writable_transport_and_an_empty_queue() {
        let handle = SessionHandle::detached(Sid::from("a"), Version::V4);
        assert!(!handle.send_volatile("1"));
        handle.set_writable(true);
        assert!(handle.send_volatile("2"));
        assert!(!handle.send_volatile("3"));
        assert_eq!(handle.dropped_volatile(), 2);
        assert_eq!(handle.take_sent().len(), 1);
    }
}
