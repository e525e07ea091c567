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
    /// [set](Self::set), or the waker is new. Who is to use it next must be asked after this.
    pub(crate) fn take(&self) -> bool {
        // Who sets it wakes the task afterwards, which then sees it: a look is enough most times.
        let is_set =
            |it: &AtomicBool| it.load(Ordering::Relaxed) && it.swap(false, Ordering::Acquire);
        self.0.as_ref().is_none_or(|shared| is_set(&shared.is_set))
    }

    /// The next [`take`](Self::take) gives `true`. The task is not woken.
    pub(crate) fn set(&self) {
        if let Some(shared) = &self.0 {
            shared.is_set.store(true, Ordering::Relaxed);
        }
    }

    /// Wakes this task, and says so.
    pub(crate) fn waker(&mut self, cx: &Context<'_>) -> Waker {
        let shared = match &mut self.0 {
            Some(shared) if shared.task.will_wake(cx.waker()) => shared,
            // Who has the waker of before, which may be another task's, does not tell this one.
            none => none.insert(Arc::new(Shared {
                is_set: AtomicBool::new(true),
                task: cx.waker().clone(),
            })),
        };
        Waker::from(shared.clone())
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
        let waker = signal.waker(&Context::from_waker(&task));
        assert!(signal.take());
        task.wake_by_ref();
        assert!(!signal.take());
        waker.wake_by_ref();
        waker.wake();
        assert_eq!(wakes.count(), 3);
        assert!(signal.take());
        assert!(!signal.take());
        signal.set();
        assert!(signal.take());
    }

    #[test]
    fn a_waker_for_another_task_is_new_and_sets_it() {
        let mut signal = Signal::default();
        let before = signal.waker(&Context::from_waker(Waker::noop()));
        assert!(signal.take());
        let (wakes, task) = Wakes::new();
        let cx = Context::from_waker(&task);
        let after = signal.waker(&cx);
        assert!(signal.take());
        assert!(!after.will_wake(&before));
        assert!(after.will_wake(&signal.waker(&cx)));
        after.wake();
        assert_eq!(wakes.count(), 1);
        assert!(signal.take());
    }
}
