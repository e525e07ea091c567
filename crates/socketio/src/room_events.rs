//! Who wants to know what happens to rooms.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, PoisonError},
};

use socketio_adapter::RoomEvent;

use crate::{
    handler::guarded,
    snapshot::Watched,
    sync::{Mutex, MutexGuard},
};

type Hook = Arc<dyn Fn(&RoomEvent) + Send + Sync>;

/// The hooks of a namespace, and what they have not been told yet: rooms change under the lock of a
/// socket, and hooks may use that socket.
#[derive(Default)]
pub(crate) struct RoomEvents {
    hooks: Watched<Vec<Hook>>,
    queue: Mutex<Queue>,
}

#[derive(Default)]
struct Queue {
    events: VecDeque<RoomEvent>,
    /// Somebody is telling, and tells the rest too. So the hooks hear of everything in its order,
    /// and what a hook itself causes comes after what it is being told.
    telling: bool,
}

impl RoomEvents {
    pub(crate) fn add(&self, hook: impl Fn(&RoomEvent) + Send + Sync + 'static) {
        self.hooks.update(|hooks| hooks.push(Arc::new(hook)));
    }

    /// Takes an event, to be told later.
    pub(crate) fn push(&self, event: RoomEvent) {
        self.queue().events.push_back(event);
    }

    /// Tells the hooks what has happened. To be called without any lock.
    pub(crate) fn tell(&self) {
        let mut queue = self.queue();
        if std::mem::replace(&mut queue.telling, true) {
            return;
        }
        while let Some(event) = queue.events.pop_front() {
            drop(queue);
            for hook in &*self.hooks.current() {
                if guarded(|| hook(&event)).is_err() {
                    tracing::error!("a hook for room events panicked");
                }
            }
            queue = self.queue();
        }
        queue.telling = false;
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for RoomEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RoomEvents").finish_non_exhaustive()
    }
}
