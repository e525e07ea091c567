//! How much is kept.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::Semaphore;

use super::{
    ConnectionStateRecovery,
    elsewhere::{ASKERS, READERS, WAITERS},
    options::LONGEST,
};

/// What a whole server keeps.
#[derive(Debug)]
pub(crate) struct Budget {
    pub(super) options: ConnectionStateRecovery,
    /// How long events are kept: as long as a client may stay away, and as long before as the
    /// server may not have noticed that it was gone.
    pub(super) keep: Duration,
    used: AtomicUsize,
    /// Who asks a store for a session,
    pub(super) asking: Arc<Semaphore>,
    /// and asks again, as it may not be there yet.
    pub(super) waiting: Semaphore,
    /// Who reads what was missed from a store.
    pub(super) reading: Semaphore,
}

impl Budget {
    pub(crate) fn new(options: ConnectionStateRecovery, heartbeat: Duration) -> Self {
        Self {
            options,
            keep: options.max_disconnection_duration + heartbeat.min(LONGEST),
            used: AtomicUsize::new(0),
            asking: Arc::new(Semaphore::new(ASKERS)),
            waiting: Semaphore::new(WAITERS),
            reading: Semaphore::new(READERS),
        }
    }

    #[cfg(test)]
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

/// What one namespace uses of the budget. It is given back with the namespace.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) budget: Arc<Budget>,
    used: usize,
}

impl Account {
    pub(super) fn new(budget: Arc<Budget>) -> Self {
        Self { budget, used: 0 }
    }

    pub(super) fn add(&mut self, bytes: usize) {
        self.used += bytes;
        self.budget.used.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn sub(&mut self, bytes: usize) {
        debug_assert!(bytes <= self.used);
        self.used -= bytes;
        self.budget.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Whether the server keeps more than it may.
    pub(super) fn is_exceeded(&self) -> bool {
        self.budget.used.load(Ordering::Relaxed) > self.budget.options.max_bytes
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        self.sub(self.used);
    }
}
