//! The one lock per session: whatever happens to a session from outside its driver goes through
//! here, so there is one order of events.

use std::{
    mem,
    sync::{Arc, PoisonError},
    task::{Context, Waker},
};

use engineio_proto::Queue;

use crate::{
    item::Item,
    sync::{
        Mutex, MutexGuard, Notify, OwnedNotified,
        atomic::{AtomicBool, Ordering},
    },
};

/// A queue with one reader that sleeps.
///
/// Nobody encodes, awaits or runs user code under its lock.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    state: Mutex<State>,
    /// Whether there is something to take. Changed under the lock; what the reader overlooks when it
    /// looks without the lock it sees before it sleeps.
    filled: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    items: Queue<Item>,
    /// Set while the reader sleeps; taken by whoever wakes it.
    sleeper: Option<Waker>,
    /// Senders that wait until less is queued. Few sessions ever have one.
    waiters: Option<Arc<Notify>>,
    closed: bool,
}

impl Mailbox {
    /// Adds an item and wakes the reader if it sleeps. Gives the item back once the box is closed.
    pub(crate) fn push(&self, item: Item) -> Result<(), Item> {
        self.push_if(item, |_| true)
    }

    /// Adds an item only if nothing is waiting.
    pub(crate) fn push_if_empty(&self, item: Item) -> Result<(), Item> {
        self.push_if(item, Queue::is_empty)
    }

    fn push_if(&self, item: Item, may: impl FnOnce(&Queue<Item>) -> bool) -> Result<(), Item> {
        let mut state = self.lock();
        if state.closed || !may(&state.items) {
            return Err(item);
        }
        state.items.push_back(item);
        self.filled.store(true, Ordering::Relaxed);
        let sleeper = state.sleeper.take();
        drop(state);
        if let Some(waker) = sleeper {
            waker.wake();
        }
        Ok(())
    }

    /// Whether there is something to take.
    pub(crate) fn is_filled(&self) -> bool {
        self.filled.load(Ordering::Relaxed)
    }

    /// Swaps what has come with the given empty queue.
    pub(crate) fn take(&self, items: &mut Queue<Item>) {
        debug_assert!(items.is_empty());
        let mut state = self.lock();
        self.filled.store(false, Ordering::Relaxed);
        mem::swap(&mut state.items, items);
    }

    /// The reader is about to sleep: `true` if nothing is waiting, and then the next push wakes it.
    /// Senders that [wait](Self::released) may go on if they are `ready`, which is asked under the
    /// lock.
    pub(crate) fn sleep(&self, ready: impl FnOnce() -> bool, cx: &mut Context<'_>) -> bool {
        let mut state = self.lock();
        let waiters = state.waiters.take_if(|_| ready());
        let sleeps = state.items.is_empty();
        if sleeps {
            match &mut state.sleeper {
                Some(waker) => waker.clone_from(cx.waker()),
                none => *none = Some(cx.waker().clone()),
            }
        }
        drop(state);
        if let Some(waiters) = waiters {
            waiters.notify_waiters();
        }
        sleeps
    }

    /// Waits until the reader next sleeps and is ready for more; from now on, and not from the
    /// first poll.
    pub(crate) fn released(&self) -> OwnedNotified {
        let waiters = &mut self.lock().waiters;
        waiters.get_or_insert_default().clone().notified_owned()
    }

    /// Somebody else than the reader has changed what senders wait for: the reader looks again. It
    /// lets them go, and not this: their wakers may be anybody's code, and locks may be held here.
    pub(crate) fn look_again(&self) {
        let mut state = self.lock();
        let is_waited = state.waiters.is_some();
        let sleeper = state.sleeper.take_if(|_| is_waited);
        drop(state);
        if let Some(waker) = sleeper {
            waker.wake();
        }
    }

    /// Nothing is taken any more; what is still here comes back.
    pub(crate) fn close(&self) -> Queue<Item> {
        let mut state = self.lock();
        state.closed = true;
        state.sleeper = None;
        mem::take(&mut state.items)
    }

    /// Lets all senders go that wait.
    pub(crate) fn release(&self) {
        let waiters = self.lock().waiters.take();
        if let Some(waiters) = waiters {
            waiters.notify_waiters();
        }
    }

    /// A panic cannot happen under this lock, so a poisoned one is as good as any.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use engineio_proto::CloseReason;

    use super::*;
    use crate::wakes::Wakes;

    #[test]
    fn items_are_small() {
        assert!(size_of::<Item>() <= 16, "{}", size_of::<Item>());
        assert!(size_of::<Mailbox>() <= 72, "{}", size_of::<Mailbox>());
    }

    #[test]
    fn only_a_sleeping_reader_is_woken_and_once() {
        let (wakes, waker) = Wakes::new();
        let mut cx = Context::from_waker(&waker);
        let mailbox = Mailbox::default();
        mailbox.push(Item::Abort(CloseReason::ForcedClose)).unwrap();
        assert!(!mailbox.sleep(|| true, &mut cx));
        let mut items = Queue::default();
        mailbox.take(&mut items);
        assert_eq!(items.len(), 1);
        assert!(mailbox.sleep(|| true, &mut cx));
        mailbox.push(Item::Abort(CloseReason::ForcedClose)).unwrap();
        mailbox.push(Item::Abort(CloseReason::ForcedClose)).unwrap();
        assert_eq!(wakes.count(), 1);
        assert_eq!(mailbox.close().len(), 2);
        assert!(mailbox.push(Item::Abort(CloseReason::ForcedClose)).is_err());
    }
}
