//! Tables that many read and few change.

use std::sync::{Arc, PoisonError};

use crate::sync::{
    RwLock,
    atomic::{AtomicUsize, Ordering},
};

/// A value that is replaced as a whole. Readers keep a [`Snapshot`] and look at a counter that
/// hardly ever changes: on the message path no two connections write to the same memory.
#[derive(Debug, Default)]
pub(crate) struct Watched<T> {
    version: AtomicUsize,
    current: RwLock<Arc<T>>,
}

impl<T: Clone> Watched<T> {
    /// A value that is shared until either side is changed.
    pub(crate) fn new(value: Arc<T>) -> Self {
        Self {
            version: AtomicUsize::new(0),
            current: RwLock::new(value),
        }
    }

    /// Changes the value. Snapshots that were taken keep the old one until they are refreshed.
    ///
    /// The change is made under the lock; what it removes it returns, to be dropped outside.
    pub(crate) fn update<R>(&self, change: impl FnOnce(&mut T) -> R) -> R {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let result = change(Arc::make_mut(&mut current));
        self.version.fetch_add(1, Ordering::Release);
        result
    }

    /// Makes a change that has been made to another one: where they shared the `old` value they
    /// share the `new` one.
    pub(crate) fn follow(&self, old: &Arc<T>, new: &Arc<T>, change: impl FnOnce(&mut T)) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if Arc::ptr_eq(&current, old) {
            *current = new.clone();
        } else {
            change(Arc::make_mut(&mut current));
        }
        self.version.fetch_add(1, Ordering::Release);
    }

    /// The value as it is now, to be looked at once.
    pub(crate) fn current(&self) -> Arc<T> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        current.clone()
    }

    /// Looks at the value under the lock: nobody changes it meanwhile.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&T) -> R) -> R {
        look(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The value as it is now, to be looked at often.
    pub(crate) fn snapshot(&self) -> Snapshot<T> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Snapshot {
            version: self.version.load(Ordering::Acquire),
            value: current.clone(),
        }
    }
}

/// A value of a [`Watched`] as it was at some time.
#[derive(Debug)]
pub(crate) struct Snapshot<T> {
    version: usize,
    value: Arc<T>,
}

impl<T: Clone> Snapshot<T> {
    /// The value as it is now.
    pub(crate) fn refresh(&mut self, from: &Watched<T>) -> &Arc<T> {
        if self.version != from.version.load(Ordering::Acquire) {
            *self = from.snapshot();
        }
        &self.value
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_follows_when_refreshed() {
        let watched = Watched::<Vec<u8>>::default();
        let mut snapshot = watched.snapshot();
        watched.update(|list| list.push(1));
        assert!(snapshot.value.is_empty());
        assert_eq!(**snapshot.refresh(&watched), [1]);
        let same = Arc::as_ptr(snapshot.refresh(&watched));
        assert_eq!(same, Arc::as_ptr(snapshot.refresh(&watched)));
    }
}
