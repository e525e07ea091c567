//! Which session has which id.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use engineio_proto::Sid;

use crate::{
    SessionHandle,
    sync::{
        DashMap, Entry, Notify, OwnedNotified, RefMulti,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

/// All sessions of a server, from the first request to the last packet.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    by_sid: DashMap<Sid, SessionHandle>,
    /// As many as are in the table; to ask it would mean to lock each of its shards.
    len: AtomicUsize,
    /// These, and those that nobody finds any more, but whose last bytes are still on their way or
    /// whose connection still has something in flight. In one number, so that none is overlooked or
    /// counted twice while it leaves.
    alive: AtomicUsize,
    /// No new ones; whoever waits for the last one to go is told.
    closing: AtomicBool,
    empty: Notify,
    /// Set when the time for closing is over: how many there were.
    cut: OnceLock<usize>,
    cutting: Arc<Notify>,
}

impl Sessions {
    /// Adds a session. `false` if the id is taken or the server is being closed.
    pub(crate) fn insert(&self, handle: SessionHandle) -> bool {
        match self.by_sid.entry(handle.sid().clone()) {
            Entry::Occupied(_) => return false,
            Entry::Vacant(entry) => {
                self.len.fetch_add(1, Ordering::SeqCst);
                self.alive.fetch_add(1, Ordering::SeqCst);
                entry.insert(handle.clone());
            }
        }
        // Looked at after the insertion: either this sees the flag, or closing sees the session.
        if self.is_closing() {
            self.remove(&handle);
            return false;
        }
        true
    }

    pub(crate) fn get(&self, sid: &str) -> Option<SessionHandle> {
        self.by_sid.get(sid).map(|entry| entry.value().clone())
    }

    /// Removes a session. Another one that has its id by now stays.
    pub(crate) fn remove(&self, handle: &SessionHandle) {
        if self.take_out(handle) {
            self.gone();
        }
    }

    /// As [`remove`](Self::remove), but who waits for the last one waits for this one until what
    /// is returned is dropped.
    pub(crate) fn depart(self: &Arc<Self>, handle: &SessionHandle) -> Departure {
        if !self.take_out(handle) {
            self.alive.fetch_add(1, Ordering::SeqCst);
        }
        Departure {
            cut: None,
            sessions: self.clone(),
        }
    }

    /// Nobody finds it any more. Returns whether somebody did.
    fn take_out(&self, handle: &SessionHandle) -> bool {
        let is_it = |_: &Sid, found: &mut SessionHandle| {
            let is_it = found.is(handle);
            if is_it {
                self.len.fetch_sub(1, Ordering::SeqCst);
            }
            is_it
        };
        let was_in = self.by_sid.remove_if_mut(handle.sid(), is_it).is_some();
        if was_in {
            self.shrink();
        }
        was_in
    }

    /// Nobody has to wait for a session any more.
    fn gone(&self) {
        let is_last = self.alive.fetch_sub(1, Ordering::SeqCst) == 1;
        if is_last && self.is_closing() {
            self.empty.notify_waiters();
        }
    }

    /// Bytes and messages that wait for clients.
    pub(crate) fn queued(&self) -> (usize, usize) {
        let sum = |(bytes, messages), entry: RefMulti<'_, Sid, SessionHandle>| {
            let session = entry.value();
            (
                bytes + session.queued(),
                messages + session.queued_messages(),
            )
        };
        self.by_sid.iter().fold((0, 0), sum)
    }

    pub(crate) fn len(&self) -> usize {
        self.len.load(Ordering::SeqCst)
    }

    /// Gives back the memory of the table when most have left. It is looked at whenever half of them
    /// have, so that nobody pays for it who comes and goes.
    fn shrink(&self) {
        let len = self.len();
        let halved = len == 0 || len.is_power_of_two();
        if halved && self.by_sid.capacity() > SHRINK_ABOVE + 8 * len {
            self.by_sid.shrink_to_fit();
        }
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    /// Takes no more sessions and returns those there are.
    pub(crate) fn begin_closing(&self) -> Vec<SessionHandle> {
        self.closing.store(true, Ordering::SeqCst);
        self.all()
    }

    /// The time for closing is over: nothing is waited for any more. Returns the sessions that have
    /// to be woken to see it.
    pub(crate) fn cut(&self) -> Vec<SessionHandle> {
        let _ = self.cut.set(self.alive.load(Ordering::SeqCst));
        self.cutting.notify_waiters();
        self.all()
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.cut.get().is_some()
    }

    /// Waits until the time for closing is over.
    pub(crate) async fn cut_off(&self) {
        let notified = self.cutting.notified();
        if !self.is_cut() {
            notified.await;
        }
    }

    /// How many sessions there were when the time for closing was over.
    pub(crate) fn were_cut(&self) -> usize {
        self.cut.get().copied().unwrap_or_default()
    }

    /// Waits until all sessions are gone.
    pub(crate) async fn emptied(&self) {
        loop {
            let notified = self.empty.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            if self.is_empty() {
                return;
            }
            notified.await;
        }
    }

    fn all(&self) -> Vec<SessionHandle> {
        self.by_sid
            .iter()
            .map(|entry| entry.value().clone())
            .collect()
    }

    fn is_empty(&self) -> bool {
        self.alive.load(Ordering::SeqCst) == 0
    }
}

/// A session on its way out.
#[derive(Debug)]
pub(crate) struct Departure {
    sessions: Arc<Sessions>,
    /// Once it waits. Few do: a connection usually has nothing in flight when its session ends.
    cut: Option<Pin<Box<OwnedNotified>>>,
}

impl Departure {
    /// Whether the session must be gone now, whatever it still waits for. If not yet, the task is
    /// woken then.
    pub(crate) fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Self { sessions, cut } = self;
        let cut = cut.get_or_insert_with(|| Box::pin(sessions.cutting.clone().notified_owned()));
        // Looked at after the waiting has begun, so that neither misses the other.
        if sessions.is_cut() {
            return Poll::Ready(());
        }
        cut.as_mut().poll(cx)
    }
}

impl Drop for Departure {
    fn drop(&mut self) {
        self.sessions.gone();
    }
}

/// A table with room for so many more than there are keeps its memory.
const SHRINK_ABOVE: usize = 256;

#[cfg(all(test, not(loom)))]
mod tests {
    use engineio_proto::Version;

    use super::*;

    #[test]
    fn memory_comes_back_and_the_count_is_right() {
        let sessions = Sessions::default();
        let handle = |id: usize| SessionHandle::detached(Sid::from(&*id.to_string()), Version::V4);
        let handles: Vec<_> = (0..20_000).map(handle).collect();
        for handle in &handles {
            assert!(sessions.insert(handle.clone()));
        }
        assert!(!sessions.insert(handle(0)));
        assert_eq!(sessions.len(), 20_000);
        // the same id, but another session
        sessions.remove(&handle(0));
        assert_eq!(sessions.len(), 20_000);
        for handle in &handles[10..] {
            sessions.remove(handle);
            sessions.remove(handle);
        }
        assert_eq!((sessions.len(), sessions.by_sid.len()), (10, 10));
        assert!(sessions.by_sid.capacity() <= SHRINK_ABOVE + 200);
        assert!(sessions.get("9").is_some());
        for handle in &handles[..10] {
            sessions.remove(handle);
        }
        assert!(sessions.is_empty());
    }
}
