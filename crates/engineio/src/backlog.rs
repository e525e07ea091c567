//! What waits for clients that do not read, and what becomes of more.

use engineio_proto::Encoded;

use crate::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

/// What happens to a message for a client for which as much is queued as may; see
/// [`Config::overflow`](crate::Config::overflow) and
/// [`SessionHandle::send_with`](crate::SessionHandle::send_with).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// The session closes with [`CloseReason::SlowClient`](crate::CloseReason::SlowClient).
    #[default]
    Disconnect,
    /// The message is dropped and the session goes on. The client is not told.
    DropNewest,
}

/// How much may wait for one client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) bytes: usize,
    pub(crate) messages: usize,
    /// Bytes up to which a sender who waits may go on.
    pub(crate) low_water: usize,
    pub(crate) overflow: Overflow,
}

impl Limits {
    pub(crate) const NONE: Self = Self {
        bytes: usize::MAX,
        messages: usize::MAX,
        low_water: usize::MAX,
        overflow: Overflow::DropNewest,
    };

    /// What holds for messages that must not be dropped: they still fit when the others fill the
    /// queue.
    pub(crate) fn with_reserve(&self) -> Self {
        Self {
            bytes: self.bytes.saturating_mul(2),
            messages: self.messages.saturating_mul(2),
            ..*self
        }
    }
}

/// Numbers of a running server, from [`Server::stats`](crate::Server::stats). Those that count
/// something count from the start of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Sessions now.
    pub sessions: usize,
    /// Messages that wait for their clients now.
    pub queued_messages: usize,
    /// Bytes of these messages, with a charge of 64 for each.
    pub queued_bytes: usize,
    /// Messages that were dropped because too much was queued.
    pub dropped: u64,
    /// Volatile messages that were dropped because the transport could not take them at once.
    pub dropped_volatile: u64,
    /// How often a sender had to wait in
    /// [`SessionHandle::ready`](crate::SessionHandle::ready) until a client had read.
    pub waits: u64,
    /// Sessions that were closed because too much was queued.
    pub slow_clients: u64,
    /// Requests and WebSockets of other servers' sessions that are under way here now; see
    /// [`Config::relay`](crate::Config::relay).
    pub relayed: usize,
}

/// What the sessions of a server share.
#[derive(Debug)]
pub(crate) struct Traffic {
    pub(crate) limits: Limits,
    pub(crate) dropped: AtomicU64,
    pub(crate) dropped_volatile: AtomicU64,
    pub(crate) waits: AtomicU64,
    pub(crate) slow_clients: AtomicU64,
}

impl Traffic {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            dropped: AtomicU64::new(0),
            dropped_volatile: AtomicU64::new(0),
            waits: AtomicU64::new(0),
            slow_clients: AtomicU64::new(0),
        }
    }
}

/// Messages of one session that were sent and have not left: how many, and their bytes with a
/// charge for each. Both in one number, so that one instruction counts a message.
#[derive(Debug, Default)]
pub(crate) struct Backlog(AtomicU64);

impl Backlog {
    pub(crate) fn bytes(&self) -> usize {
        bytes(self.0.load(Relaxed)) as usize
    }

    pub(crate) fn messages(&self) -> usize {
        messages(self.0.load(Relaxed)) as usize
    }

    /// Counts a message, whatever the limits.
    pub(crate) fn add(&self, message: &Encoded) {
        self.0.fetch_add(cost(message), Relaxed);
    }

    /// Counts a message; `false` if it would be too much.
    pub(crate) fn add_within(&self, message: &Encoded, limits: &Limits) -> bool {
        let cost = cost(message);
        let before = self.0.fetch_add(cost, Relaxed);
        // A single message always fits, however large: only a queue can be too long.
        let fits = before == 0
            || bytes(before) + bytes(cost) <= limits.bytes as u64
                && messages(before) < (limits.messages as u64).min(MAX_MESSAGES);
        if !fits {
            self.0.fetch_sub(cost, Relaxed);
        }
        fits
    }

    /// A message has left, or will never leave.
    pub(crate) fn remove(&self, message: &Encoded) {
        let cost = cost(message);
        // One that is given back after the end has been forgotten already.
        let less = |now: u64| {
            let left = messages(now).saturating_sub(1);
            Some(left * MESSAGE + bytes(now).saturating_sub(bytes(cost)))
        };
        let _ = self.0.fetch_update(Relaxed, Relaxed, less);
    }

    pub(crate) fn forget(&self) {
        self.0.swap(0, Release);
    }

    /// Whether a sender who waits may go on. Who sees that all was [forgotten](Self::forget) sees what
    /// happened before that, too: that the session has closed.
    pub(crate) fn is_low(&self, limits: &Limits) -> bool {
        let now = self.0.load(Acquire);
        bytes(now) <= limits.low_water.min(limits.bytes / 2) as u64
            && messages(now) <= limits.messages as u64 / 2
    }
}

/// A queue of empty messages takes memory too.
fn cost(message: &Encoded) -> u64 {
    MESSAGE + message.len() as u64 + 64
}

fn bytes(count: u64) -> u64 {
    count % MESSAGE
}

fn messages(count: u64) -> u64 {
    count / MESSAGE
}

/// One message; below it there is room for a terabyte.
const MESSAGE: u64 = 1 << 40;

/// So many that those who add one message too many at the same time do not meet the end either.
const MAX_MESSAGES: u64 = 1 << 23;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn limits(bytes: usize, messages: usize) -> Limits {
        Limits {
            bytes,
            messages,
            ..Limits::NONE
        }
    }

    #[test]
    fn messages_and_bytes_are_counted_together() {
        let backlog = Backlog::default();
        let message = Encoded::text("123");
        for _ in 0..3 {
            assert!(backlog.add_within(&message, &limits(1000, 1000)));
        }
        assert_eq!((backlog.messages(), backlog.bytes()), (3, 3 * 68));
        backlog.remove(&message);
        assert_eq!((backlog.messages(), backlog.bytes()), (2, 2 * 68));
        backlog.forget();
        backlog.remove(&message);
        assert_eq!((backlog.messages(), backlog.bytes()), (0, 0));
    }

    #[test]
    fn each_limit_holds_and_one_message_always_fits() {
        let message = Encoded::text("123");
        for (limits, fitting) in [
            (limits(3 * 68, 1000), 3),
            (limits(3 * 68 - 1, 1000), 2),
            (limits(1000, 2), 2),
            (limits(0, 1000), 1),
            (limits(1000, 0), 1),
        ] {
            let backlog = Backlog::default();
            let fit = (0..5).filter(|_| backlog.add_within(&message, &limits));
            assert_eq!(fit.count(), fitting, "{limits:?}");
            assert_eq!(backlog.messages(), fitting);
        }
    }

    #[test]
    fn the_low_water_is_at_half_of_the_limits_or_below() {
        let message = Encoded::text("123");
        for (limits, low) in [
            (limits(4 * 68, 1000), 2),
            (limits(4 * 68 - 1, 1000), 1),
            (limits(1000, 7), 3),
            (limits(1000, 1), 0),
            (
                Limits {
                    low_water: 68,
                    ..limits(1000, 1000)
                },
                1,
            ),
        ] {
            let backlog = Backlog::default();
            let mut count = 0;
            while backlog.is_low(&limits) {
                backlog.add(&message);
                count += 1;
            }
            assert_eq!(count - 1, low, "{limits:?}");
        }
    }
}
