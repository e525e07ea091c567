//! Which members of this node are in which room.

use std::{
    collections::HashSet,
    fmt,
    hash::BuildHasherDefault,
    sync::{
        PoisonError, RwLock, RwLockWriteGuard,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use dashmap::DashMap;

use crate::{
    Room, Selection,
    group::{Group, Key, KeyHasher},
};

/// Which members of this node are in which room.
///
/// Every member is in the room of its own id. A room exists while somebody is in it.
///
/// # Order
///
/// What [`join`](Self::join), [`leave`](Self::leave), [`insert`](Self::insert) and
/// [`remove`](Self::remove) did is seen by every [`each`](Self::each) that starts after they
/// returned. `each` has called its function for every member when it returns, so two broadcasts of
/// one task reach every member in the order in which they were made. Two broadcasts of two tasks
/// at the same time may reach two members in different orders. Whoever joins, leaves or is removed
/// while an `each` runs may be reached or not; nobody is reached twice, and everybody else is
/// reached once.
///
/// # Locks
///
/// The tables are split into shards with a lock each. The function given to `each` runs under the
/// read lock of one shard: it may push to a queue, and it must not call back into the registry.
/// The order of locks is: members, then rooms, then whatever the function takes (a mailbox), or an
/// observer (a queue); never back.
pub struct Registry<M> {
    members: DashMap<Room, Member<M>>,
    /// As many as are in `members`; to ask that would mean to lock each of its shards.
    len: AtomicUsize,
    rooms: DashMap<Room, Group<M>>,
    /// Everybody once more, for broadcasts without a room: walking a `DashMap` costs two atomic
    /// operations for each entry, walking these costs none.
    everybody: Box<[RwLock<Group<M>>]>,
    next_key: AtomicU64,
    observed: AtomicBool,
    observers: RwLock<Vec<Observer>>,
}

type Observer = Box<dyn Fn(&RoomEvent) + Send + Sync>;

/// What happened to a room. The first member creates a room before it joins, the last one leaves
/// before the room is deleted. The room of a member's own id counts like any other.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RoomEvent {
    /// `create-room`
    Created {
        /// The room.
        room: Room,
    },
    /// `join-room`
    Joined {
        /// The room.
        room: Room,
        /// The member.
        id: Room,
    },
    /// `leave-room`
    Left {
        /// The room.
        room: Room,
        /// The member.
        id: Room,
    },
    /// `delete-room`
    Deleted {
        /// The room.
        room: Room,
    },
}

#[derive(Debug)]
struct Member<M> {
    key: Key,
    /// Whether it is in the room of its own id, which therefore needs no entry in `rooms`.
    in_own_room: bool,
    member: M,
    /// The other rooms, in the order in which they were joined.
    rooms: Vec<Room>,
}

impl<M: Clone> Registry<M> {
    /// A registry without members.
    pub fn new() -> Self {
        Self {
            members: DashMap::with_shard_amount(SHARDS),
            len: AtomicUsize::new(0),
            rooms: DashMap::with_shard_amount(SHARDS),
            everybody: (0..SHARDS).map(|_| RwLock::default()).collect(),
            next_key: AtomicU64::new(0),
            observed: AtomicBool::new(false),
            observers: RwLock::default(),
        }
    }

    /// Adds a function that is told what happens to rooms from now on, in the order in which it
    /// happens to each of them. It is called under locks: it may push to a queue, and it must not
    /// call back into the registry.
    pub fn observe(&self, observer: impl Fn(&RoomEvent) + Send + Sync + 'static) {
        let mut observers = self
            .observers
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        observers.push(Box::new(observer));
        self.observed.store(true, Ordering::Release);
    }

    /// Adds a member, in the room of its own id. Returns `false`, and does nothing, if the id is
    /// there already.
    pub fn insert(&self, id: Room, member: M) -> bool {
        let dashmap::Entry::Vacant(vacant) = self.members.entry(id) else {
            return false;
        };
        let key = Key(self.next_key.fetch_add(1, Ordering::Relaxed));
        self.len.fetch_add(1, Ordering::Relaxed);
        let entry = vacant.insert(Member {
            key,
            in_own_room: true,
            member: member.clone(),
            rooms: Vec::new(),
        });
        self.everybody(key).insert(key, member);
        self.own_room_joined(entry.key());
        true
    }

    /// Removes a member from every room and returns it.
    pub fn remove(&self, id: &str) -> Option<M> {
        let leave_all = |id: &Room, member: &mut Member<M>| {
            if std::mem::take(&mut member.in_own_room) {
                self.own_room_left(id);
            }
            for room in member.rooms.drain(..) {
                self.leave_room(&room, id, member.key);
            }
            self.everybody(member.key).remove(member.key);
            self.len.fetch_sub(1, Ordering::Relaxed);
            true
        };
        let (_, member) = self.members.remove_if_mut(id, leave_all)?;
        self.shrink();
        Some(member.member)
    }

    /// Adds a member to rooms. Returns `false`, and does nothing, if the member is not there (any
    /// more).
    pub fn join(&self, id: &str, rooms: impl IntoIterator<Item = Room>) -> bool {
        let Some(mut guard) = self.members.get_mut(id) else {
            return false;
        };
        let id = guard.key().clone();
        let entry = guard.value_mut();
        for room in rooms {
            if room == id {
                if !std::mem::replace(&mut entry.in_own_room, true) {
                    self.own_room_joined(&id);
                }
                continue;
            }
            let mut group = self.rooms.entry(room).or_default();
            let created = group.is_empty();
            if group.insert(entry.key, entry.member.clone()) {
                entry.rooms.push(group.key().clone());
                self.joined(group.key(), &id, created);
            }
        }
        true
    }

    /// Takes a member out of a room. Returns whether it was in it.
    pub fn leave(&self, id: &str, room: &str) -> bool {
        let Some(mut entry) = self.members.get_mut(id) else {
            return false;
        };
        let id = entry.key().clone();
        if *id == *room {
            let was_in = std::mem::take(&mut entry.in_own_room);
            if was_in {
                self.own_room_left(&id);
            }
            return was_in;
        }
        let index = entry.rooms.iter().position(|joined| **joined == *room);
        let Some(index) = index else {
            return false;
        };
        let room = entry.rooms.remove(index);
        self.leave_room(&room, &id, entry.key);
        true
    }

    /// The rooms that a member is in, its own first, then in the order in which it joined them.
    /// Empty if the member is not there.
    pub fn rooms_of(&self, id: &str) -> Vec<Room> {
        let Some(entry) = self.members.get(id) else {
            return Vec::new();
        };
        let own = entry.in_own_room.then(|| entry.key().clone());
        own.into_iter().chain(entry.rooms.iter().cloned()).collect()
    }

    /// The member with this id.
    pub fn get(&self, id: &str) -> Option<M> {
        self.members.get(id).map(|entry| entry.member.clone())
    }

    /// Calls a function once for each selected member, however many of the rooms it is in.
    ///
    /// The function runs under the lock of a shard; see [the type](Self) for what it may do.
    pub fn each(&self, selection: &Selection, mut f: impl FnMut(&M)) {
        let mut reached = self.keys_of(&selection.except);
        match &*selection.rooms {
            [] => {
                for group in &self.everybody {
                    let group = group.read().unwrap_or_else(PoisonError::into_inner);
                    for (key, member) in group.iter() {
                        if !reached.contains(key) {
                            f(member);
                        }
                    }
                }
            }
            [room] => self.each_in(room, |key, member| {
                if !reached.contains(key) {
                    f(member);
                }
            }),
            rooms => {
                for room in rooms {
                    self.each_in(room, |key, member| {
                        if reached.insert(key) {
                            f(member);
                        }
                    });
                }
            }
        }
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The names of the rooms, without those that members have of their own.
    pub fn rooms(&self) -> Vec<Room> {
        self.rooms.iter().map(|room| room.key().clone()).collect()
    }

    /// How many rooms there are, without the rooms that members have of their own.
    pub fn room_count(&self) -> usize {
        self.rooms.len()
    }

    /// How many members are in a room.
    pub fn room_len(&self, room: &str) -> usize {
        let mut len = 0;
        self.each_in(room, |_, _| len += 1);
        len
    }

    /// The members of a room, and then the one whose own room it is. They are never the same:
    /// nobody has an entry in `rooms` for the room of its own id.
    fn each_in(&self, room: &str, mut f: impl FnMut(Key, &M)) {
        if let Some(group) = self.rooms.get(room) {
            for (key, member) in group.iter() {
                f(key, member);
            }
        }
        if let Some(entry) = self.members.get(room)
            && entry.in_own_room
        {
            f(entry.key, &entry.member);
        }
    }

    fn keys_of(&self, rooms: &[Room]) -> Keys {
        let mut keys = Keys::default();
        for room in rooms {
            self.each_in(room, |key, _| {
                keys.insert(key);
            });
        }
        keys
    }

    /// Gives back the memory of the tables when most members have left. They are looked at whenever
    /// half of them have, so that nobody pays for it who comes and goes.
    fn shrink(&self) {
        let len = self.len();
        if len != 0 && !len.is_power_of_two() {
            return;
        }
        if self.members.capacity() > SHRINK_ABOVE + 8 * len {
            self.members.shrink_to_fit();
        }
        if self.rooms.capacity() > SHRINK_ABOVE + 8 * self.rooms.len() {
            self.rooms.shrink_to_fit();
        }
    }

    fn leave_room(&self, room: &Room, id: &Room, key: Key) {
        self.rooms.remove_if_mut(room, |_, group| {
            group.remove(key);
            self.left(room, id, group.is_empty());
            group.is_empty()
        });
    }

    fn own_room_joined(&self, id: &Room) {
        if self.is_observed() {
            self.joined(id, id, !self.rooms.contains_key(id));
        }
    }

    fn own_room_left(&self, id: &Room) {
        if self.is_observed() {
            self.left(id, id, !self.rooms.contains_key(id));
        }
    }

    /// Called under the lock of the room, so that the observers hear of all that happens to it in
    /// its order.
    fn joined(&self, room: &Room, id: &Room, created: bool) {
        if !self.is_observed() {
            return;
        }
        let (room, id) = (room.clone(), id.clone());
        if created {
            self.tell(&RoomEvent::Created { room: room.clone() });
        }
        self.tell(&RoomEvent::Joined { room, id });
    }

    /// See [`joined`](Self::joined).
    fn left(&self, room: &Room, id: &Room, deleted: bool) {
        if !self.is_observed() {
            return;
        }
        let (room, id) = (room.clone(), id.clone());
        self.tell(&RoomEvent::Left {
            room: room.clone(),
            id,
        });
        if deleted {
            self.tell(&RoomEvent::Deleted { room });
        }
    }

    fn is_observed(&self) -> bool {
        self.observed.load(Ordering::Acquire)
    }

    fn tell(&self, event: &RoomEvent) {
        let observers = self.observers.read();
        let observers = observers.unwrap_or_else(PoisonError::into_inner);
        observers.iter().for_each(|observer| observer(event));
    }

    fn everybody(&self, key: Key) -> RwLockWriteGuard<'_, Group<M>> {
        self.everybody[key.0 as usize % SHARDS]
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M: Clone> Default for Registry<M> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M: Clone> fmt::Debug for Registry<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("members", &self.len())
            .field("rooms", &self.room_count())
            .finish()
    }
}

/// A set of keys that costs nothing while it has at most one: the usual broadcast excludes
/// nobody, or its sender.
#[derive(Default)]
enum Keys {
    #[default]
    None,
    One(Key),
    Many(HashSet<Key, BuildHasherDefault<KeyHasher>>),
}

impl Keys {
    fn contains(&self, key: Key) -> bool {
        match self {
            Keys::None => false,
            Keys::One(one) => *one == key,
            Keys::Many(many) => many.contains(&key),
        }
    }

    /// Returns whether the key was not there before.
    fn insert(&mut self, key: Key) -> bool {
        match self {
            Keys::None => {
                *self = Keys::One(key);
                true
            }
            Keys::One(one) if *one == key => false,
            Keys::One(one) => {
                *self = Keys::Many([*one, key].into_iter().collect());
                true
            }
            Keys::Many(many) => many.insert(key),
        }
    }
}

/// Enough that a broadcast to one large room rarely meets a join, few enough that a namespace
/// without members stays small.
const SHARDS: usize = 16;

/// Tables with room for so many more than there are keep their memory.
const SHRINK_ABOVE: usize = 256;

#[cfg(test)]
mod tests;
