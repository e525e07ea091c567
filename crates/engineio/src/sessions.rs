//! Which session has which id.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use dashmap::{DashMap, mapref::multiple::RefMulti};
use engineio_proto::Sid;
use tokio::sync::Notify;

use crate::SessionHandle;

/// All sessions of a server, from the first request to the last packet.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    by_sid: DashMap<Sid, SessionHandle>,
    /// Sessions that nobody finds any more and whose last bytes are still on their way.
    leaving: AtomicUsize,
    /// No new ones; whoever waits for the last one to go is told.
    closing: AtomicBool,
    empty: Notify,
}

impl Sessions {
    /// Adds a session. `false` if the id is taken or the server is being closed.
    pub(crate) fn insert(&self, handle: SessionHandle) -> bool {
        use dashmap::Entry;

        match self.by_sid.entry(handle.sid().clone()) {
            Entry::Occupied(_) => return false,
            Entry::Vacant(entry) => entry.insert(handle.clone()),
        };
        // Looked at after the insertion: either this sees the flag, or closing sees the session.
        if self.is_closing() {
            self.remove(handle.sid());
            return false;
        }
        true
    }

    pub(crate) fn get(&self, sid: &str) -> Option<SessionHandle> {
        self.by_sid.get(sid).map(|entry| entry.value().clone())
    }

    pub(crate) fn remove(&self, sid: &Sid) {
        self.by_sid.remove(sid);
        self.tell_if_empty();
    }

    /// As [`remove`](Self::remove), but who waits for the last one waits for this one until what
    /// is returned is dropped.
    pub(crate) fn depart(self: &Arc<Self>, sid: &Sid) -> Departure {
        self.leaving.fetch_add(1, Ordering::SeqCst);
        self.remove(sid);
        Departure(self.clone())
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
        self.by_sid.len()
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    /// Takes no more sessions and returns those there are.
    pub(crate) fn begin_closing(&self) -> Vec<SessionHandle> {
        self.closing.store(true, Ordering::SeqCst);
        self.by_sid
            .iter()
            .map(|entry| entry.value().clone())
            .collect()
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

    fn is_empty(&self) -> bool {
        self.by_sid.is_empty() && self.leaving.load(Ordering::SeqCst) == 0
    }

    fn tell_if_empty(&self) {
        if self.is_closing() && self.is_empty() {
            self.empty.notify_waiters();
        }
    }
}

/// A session on its way out.
#[derive(Debug)]
pub(crate) struct Departure(Arc<Sessions>);

impl Drop for Departure {
    fn drop(&mut self) {
        self.0.leaving.fetch_sub(1, Ordering::SeqCst);
        self.0.tell_if_empty();
    }
}
