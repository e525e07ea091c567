//! What this process subscribes to, and who gets what comes.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

/// Who gets what comes on a channel.
pub(crate) trait Receiver: Send + Sync {
    /// Called in the order in which Redis delivers what is on one topic. Must not block.
    fn receive(&self, topic: &Topic, channel: &[u8], payload: Bytes);
}

/// What can be subscribed to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Topic {
    Channel(Arc<str>),
    Pattern(Arc<str>),
    Shard(Arc<str>),
}

impl Topic {
    pub(crate) fn name(&self) -> &Arc<str> {
        match self {
            Topic::Channel(name) | Topic::Pattern(name) | Topic::Shard(name) => name,
        }
    }

    pub(crate) fn subscribe(&self) -> &'static str {
        match self {
            Topic::Channel(_) => "SUBSCRIBE",
            Topic::Pattern(_) => "PSUBSCRIBE",
            Topic::Shard(_) => "SSUBSCRIBE",
        }
    }

    pub(crate) fn unsubscribe(&self) -> &'static str {
        match self {
            Topic::Channel(_) => "UNSUBSCRIBE",
            Topic::Pattern(_) => "PUNSUBSCRIBE",
            Topic::Shard(_) => "SUNSUBSCRIBE",
        }
    }
}

/// The table of subscriptions. It says what there should be; the connection follows.
#[derive(Default)]
pub(crate) struct Routes(Mutex<State>);

#[derive(Default)]
struct State {
    receivers: HashMap<Topic, Vec<Arc<dyn Receiver>>>,
    /// Where something has changed since the connection looked.
    changed: HashSet<Topic>,
    /// What the connection has no longer, though it has not said so.
    dropped: HashSet<Topic>,
    /// What the connection is about to leave.
    leaving: HashSet<Topic>,
}

/// What the connection has to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Subscribe(Topic),
    Unsubscribe(Topic),
}

impl Routes {
    pub(crate) fn add(&self, topic: Topic, receiver: Arc<dyn Receiver>) {
        let mut state = self.state();
        state.changed.insert(topic.clone());
        state.receivers.entry(topic).or_default().push(receiver);
    }

    pub(crate) fn remove(&self, topic: &Topic, receiver: &Arc<dyn Receiver>) {
        let mut state = self.state();
        if let Some(receivers) = state.receivers.get_mut(topic) {
            receivers.retain(|it| !Arc::ptr_eq(it, receiver));
            if receivers.is_empty() {
                state.receivers.remove(topic);
                state.changed.insert(topic.clone());
            }
        }
    }

    /// How many receivers in this process share the subscription of its connection.
    pub(crate) fn receivers(&self, topic: &Topic) -> usize {
        self.state().receivers.get(topic).map_or(0, Vec::len)
    }

    /// Everything changes: a new connection has nothing.
    pub(crate) fn begin(&self) {
        let state = &mut *self.state();
        state.changed = state.receivers.keys().cloned().collect();
        state.dropped.clear();
        state.leaving.clear();
    }

    /// The connection could not subscribe.
    pub(crate) fn dropped(&self, topic: Topic) {
        let mut state = self.state();
        state.changed.insert(topic.clone());
        state.dropped.insert(topic);
    }

    /// Redis says that the connection has left a topic. Returns whether nobody had asked for it.
    pub(crate) fn left(&self, topic: Topic) -> bool {
        let is_asked_for = self.state().leaving.remove(&topic);
        if !is_asked_for {
            self.dropped(topic);
        }
        !is_asked_for
    }

    /// What a connection that has these subscriptions must do; it has them afterwards.
    pub(crate) fn changes(&self, has: &mut HashSet<Topic>) -> Vec<Change> {
        let state = &mut *self.state();
        let mut changes = Vec::new();
        for topic in state.dropped.drain() {
            has.remove(&topic);
        }
        for topic in state.changed.drain() {
            if state.receivers.contains_key(&topic) {
                if has.insert(topic.clone()) {
                    changes.push(Change::Subscribe(topic));
                }
            } else if has.remove(&topic) {
                if matches!(topic, Topic::Shard(_)) {
                    state.leaving.insert(topic.clone());
                }
                changes.push(Change::Unsubscribe(topic));
            }
        }
        changes
    }

    /// Gives a message to those that it is for. They are called without the lock.
    pub(crate) fn deliver(&self, topic: &Topic, channel: &[u8], payload: &Bytes) {
        let receivers = self.state().receivers.get(topic).cloned();
        for receiver in receivers.into_iter().flatten() {
            receiver.receive(topic, channel, payload.clone());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Not of size zero, so that no two are at the same address.
    struct Nobody(#[allow(dead_code)] u8);

    impl Receiver for Nobody {
        fn receive(&self, _: &Topic, _: &[u8], _: Bytes) {}
    }

    #[test]
    fn the_last_receiver_ends_a_subscription() {
        let (routes, mut has) = (Routes::default(), HashSet::new());
        let topic = Topic::Channel("a".into());
        let one: Arc<dyn Receiver> = Arc::new(Nobody(1));
        let two: Arc<dyn Receiver> = Arc::new(Nobody(2));
        routes.add(topic.clone(), one.clone());
        routes.add(topic.clone(), two.clone());
        let subscribe = [Change::Subscribe(topic.clone())];
        assert_eq!(routes.changes(&mut has), subscribe);
        assert_eq!(routes.receivers(&topic), 2);
        routes.remove(&topic, &one);
        routes.remove(&topic, &one);
        assert_eq!(routes.changes(&mut has), []);
        routes.remove(&topic, &two);
        assert_eq!(
            routes.changes(&mut has),
            [Change::Unsubscribe(topic.clone())]
        );
        // opened and closed between two looks
        routes.add(topic.clone(), one.clone());
        routes.remove(&topic, &one);
        assert_eq!(routes.changes(&mut has), []);
        // closed and opened again
        routes.add(topic.clone(), one.clone());
        assert_eq!(routes.changes(&mut has), subscribe);
        routes.remove(&topic, &one);
        routes.add(topic.clone(), two);
        assert_eq!(routes.changes(&mut has), []);
        // a new connection
        routes.begin();
        assert_eq!(routes.changes(&mut HashSet::new()), subscribe);
    }

    #[test]
    fn what_redis_takes_away_is_subscribed_to_again() {
        let (routes, mut has) = (Routes::default(), HashSet::new());
        let topic = Topic::Shard("a".into());
        let one: Arc<dyn Receiver> = Arc::new(Nobody(1));
        routes.add(topic.clone(), one.clone());
        let subscribe = [Change::Subscribe(topic.clone())];
        assert_eq!(routes.changes(&mut has), subscribe);
        assert!(routes.left(topic.clone()));
        assert_eq!(routes.changes(&mut has), subscribe);
        // it could not
        routes.dropped(topic.clone());
        assert_eq!(routes.changes(&mut has), subscribe);
        // what was asked for is no surprise
        routes.remove(&topic, &one);
        assert_eq!(routes.changes(&mut has).len(), 1);
        assert!(!routes.left(topic.clone()));
        assert_eq!(routes.changes(&mut has), []);
        // nor what nobody wants
        assert!(routes.left(topic));
        assert_eq!(routes.changes(&mut has), []);
    }
}
