//! Why a task was woken.

use std::{
    sync::Arc,
    task::{Context, Wake, Waker},
};

use crate::sync::atomic::{AtomicBool, Ordering};

/// Tells a task that it was woken by some of those who wake it, which have another waker than the others.
///
/// A session's task mostly has its turn because something was sent to the session. Neither its socket nor
/// the clock, which would say that there is nothing new, need be asked then.
#[derive(Debug, Default)]
pub(crate) struct Signal(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    is_set: AtomicBool,
    task: Waker,
}

impl Signal {
    /// Whether somebody has used the [waker](Self::waker) since this was last asked, it was
    /// [set](Self::set), or this is another task, for which whoever has a waker needs a new one. Who is
    /// to use it next must be asked after this.
    pub(crate) fn take(&mut self, cx: &Context<'_>) -> bool {
        // Who sets it wakes the task afterwards, which then sees it: a look is enough most times.
        let is_set = &self.shared(cx).is_set;
        is_set.load(Ordering::Relaxed) && is_set.swap(false, Ordering::Acquire)
    }

    /// The next [`take`](Self::take) gives `true`. The task is not woken.
    pub(crate) fn set(&self) {
        if let Some(shared) = &self.0 {
            shared.is_set.store(true, Ordering::Relaxed);
        }
    }

    /// Wakes this task, and says so.
    pub(crate) fn waker(&mut self, cx: &Context<'_>) -> Waker {
        Waker::from(self.shared(cx).clone())
    }

    /// Who has the waker of before, which may be another task's, does not tell this one.
    #[inline]
    fn shared(&mut self, cx: &Context<'_>) -> &Arc<Shared> {
        if (self.0.as_ref()).is_some_and(|it| !it.task.will_wake(cx.waker())) {
            self.0 = None;
        }
        self.0.get_or_insert_with(|| {
            Arc::new(Shared {
                is_set: AtomicBool::new(true),
                task: cx.waker().clone(),
            })
        })
    }
}

impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_set.store(true, Ordering::Release);
        self.task.wake_by_ref();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::wakes::Wakes;

    #[test]
    fn only_its_own_waker_sets_it_and_wakes_the_task() {
        let (wakes, task) = Wakes::new();
        let mut signal = Signal::default();
        let cx = Context::from_waker(&task);
        assert!(signal.take(&cx));
        let waker = signal.waker(&cx);
        task.wake_by_ref();
        assert!(!signal.take(&cx));
        waker.wake_by_ref();
        waker.wake();
        assert_eq!(wakes.count(), 3);
        assert!(signal.take(&cx));
        assert!(!signal.take(&cx));
        signal.set();
        assert!(signal.take(&cx));
    }

    #[test]
    fn a_waker_for_another_task_is_new_and_sets_it() {
        let mut signal = Signal::default();
        let cx = Context::from_waker(Waker::noop());
        assert!(signal.take(&cx));
        let before = signal.waker(&cx);
        let (wakes, task) = Wakes::new();
        let cx = Context::from_waker(&task);
        assert!(signal.take(&cx));
        let after = signal.waker(&cx);
        assert!(!after.will_wake(&before));
        assert!(after.will_wake(&signal.waker(&cx)));
        assert!(!signal.take(&cx));
        after.wake();
        assert_eq!(wakes.count(), 1);
        assert!(signal.take(&cx));
    }
}
