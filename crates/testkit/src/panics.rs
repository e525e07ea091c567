//! Panics, counted. One in a task ends that task alone, and nobody else need notice.

use std::{
    cell::Cell,
    panic,
    sync::{
        Once,
        atomic::{AtomicUsize, Ordering},
    },
};

static SEEN: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static SEEN_HERE: Cell<usize> = const { Cell::new(0) };
}

/// Counts from now on.
pub fn watch() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            SEEN.fetch_add(1, Ordering::SeqCst);
            SEEN_HERE.set(SEEN_HERE.get() + 1);
            usual(info);
        }));
    });
}

/// Panics in any task or thread of this program, also those that were caught.
pub fn seen() -> usize {
    SEEN.load(Ordering::SeqCst)
}

/// Those on the calling thread.
pub fn seen_here() -> usize {
    SEEN_HERE.get()
}
