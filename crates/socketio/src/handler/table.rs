//! The tables that handlers stand in.

use std::{
    any::Any,
    collections::HashMap,
    fmt,
    hash::{BuildHasherDefault, Hasher},
    sync::atomic::{AtomicU64, Ordering},
};

use super::{Connect, Disconnect, Erased, ErasedEvent, Event, Middleware, PacketMiddleware};
use crate::outgoing::OutgoingListener;

/// A handler that has been added: what [`Namespace::off`](crate::Namespace::off) and
/// [`Socket::off`](crate::Socket::off) remove. No two handlers of a program have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HandlerId(u64);

impl HandlerId {
    pub(crate) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// The handlers of a namespace.
#[derive(Clone, Default)]
pub(crate) struct Handlers {
    pub(crate) middlewares: Vec<Middleware>,
    pub(crate) connect: Vec<Erased<Connect>>,
    pub(crate) listeners: Listeners,
}

impl fmt::Debug for Handlers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handlers").finish_non_exhaustive()
    }
}

/// What a namespace has for all its sockets, and a socket for itself.
#[derive(Clone, Default)]
pub(crate) struct Listeners {
    /// Called for every event, before anything else.
    pub(crate) any: List<Erased<Event>>,
    pub(crate) packet_middlewares: List<PacketMiddleware>,
    events: HashMap<Box<str>, List<EventHandler>, BuildHasherDefault<NameHasher>>,
    /// Called for events that nobody else handles.
    pub(crate) fallbacks: List<ErasedEvent>,
    /// Told what is sent.
    pub(crate) outgoing: List<OutgoingListener>,
    pub(crate) disconnecting: List<Erased<Disconnect>>,
    pub(crate) disconnect: List<Erased<Disconnect>>,
}

/// A handler for one event.
#[derive(Clone)]
pub(crate) struct EventHandler {
    pub(crate) call: ErasedEvent,
    /// Whether it is removed when it is called.
    pub(crate) once: bool,
}

/// What has been removed from a table. It may hold anything, so it is to be dropped outside of
/// locks.
pub(crate) type Removed = Box<dyn Any + Send + Sync>;

impl Listeners {
    pub(crate) fn add_event(&mut self, event: &str, handler: EventHandler) -> HandlerId {
        self.events.entry(event.into()).or_default().push(handler)
    }

    pub(crate) fn events(&self, event: &str) -> &[(HandlerId, EventHandler)] {
        self.events.get(event).map_or(&[], List::as_slice)
    }

    /// Removes a handler of any kind.
    pub(crate) fn remove(&mut self, id: HandlerId) -> Option<Removed> {
        self.remove_event_handler(id)
            .or_else(|| self.any.remove(id))
            .or_else(|| self.fallbacks.remove(id))
            .or_else(|| self.outgoing.remove(id))
            .or_else(|| self.disconnecting.remove(id))
            .or_else(|| self.disconnect.remove(id))
    }

    fn remove_event_handler(&mut self, id: HandlerId) -> Option<Removed> {
        let removed = self.events.values_mut().find_map(|list| list.remove(id))?;
        self.events.retain(|_, list| !list.as_slice().is_empty());
        Some(removed)
    }

    /// Removes all handlers for an event.
    pub(crate) fn remove_event(&mut self, event: &str) -> Option<Removed> {
        Some(Box::new(self.events.remove(event)?))
    }

    /// Removes the handlers of all events.
    pub(crate) fn remove_events(&mut self) -> Removed {
        Box::new(std::mem::take(&mut self.events))
    }
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.events.keys()).finish()
    }
}

/// Handlers for the same thing, in the order in which they are called.
#[derive(Clone)]
pub(crate) struct List<F>(Vec<(HandlerId, F)>);

impl<F: Send + Sync + 'static> List<F> {
    pub(crate) fn push(&mut self, handler: F) -> HandlerId {
        let id = HandlerId::next();
        self.0.push((id, handler));
        id
    }

    pub(crate) fn prepend(&mut self, handler: F) -> HandlerId {
        let id = HandlerId::next();
        self.0.insert(0, (id, handler));
        id
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn as_slice(&self) -> &[(HandlerId, F)] {
        &self.0
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &F> {
        self.0.iter().map(|(_, handler)| handler)
    }

    pub(crate) fn clear(&mut self) -> Removed {
        Box::new(std::mem::take(&mut self.0))
    }

    fn remove(&mut self, id: HandlerId) -> Option<Removed> {
        let at = self.0.iter().position(|(it, _)| *it == id)?;
        Some(Box::new(self.0.remove(at)))
    }
}

/// Hashes the names of events. They are the application's own: a client can only ask for some that
/// are not there.
#[derive(Clone, Default)]
struct NameHasher(u64);

impl Hasher for NameHasher {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.write_u64(u64::from_le_bytes(*word));
        }
        let rest = rest
            .iter()
            .rfold(0, |word, byte| (word << 8) | u64::from(*byte));
        self.write_u64(rest);
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    /// The end of a text.
    fn write_u8(&mut self, _: u8) {}
}

impl<F> Default for List<F> {
    fn default() -> Self {
        Self(Vec::new())
    }
}
