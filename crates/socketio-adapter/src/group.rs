//! The members of one room.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

/// A number that stands for a member in every table: comparing it costs nothing, comparing ids
/// costs a cache miss for each member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key(pub(crate) u64);

/// A table from [`Key`] to something.
pub(crate) type KeyMap<T> = HashMap<Key, T, BuildHasherDefault<KeyHasher>>;

/// Keys are counted, not chosen by a peer, so one multiplication spreads them well enough.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(self.0 ^ u64::from(*byte));
        }
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// The members of one room.
#[derive(Debug)]
pub(crate) struct Group<M>(KeyMap<M>);

impl<M> Group<M> {
    /// Returns whether the member was not there before.
    pub(crate) fn insert(&mut self, key: Key, member: M) -> bool {
        self.0.insert(key, member).is_none()
    }

    pub(crate) fn remove(&mut self, key: Key) {
        self.0.remove(&key);
        let (len, capacity) = (self.0.len(), self.0.capacity());
        if capacity > SHRINK_ABOVE && len < capacity / 4 {
            self.0.shrink_to(len * 2);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key, &M)> {
        self.0.iter().map(|(key, member)| (*key, member))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<M> Default for Group<M> {
    fn default() -> Self {
        Self(KeyMap::default())
    }
}

/// Tables of up to this many members keep their memory.
const SHRINK_ABOVE: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_back() {
        let mut group = Group::default();
        for key in 0..10_000 {
            assert!(group.insert(Key(key), ()));
        }
        for key in 0..9_990 {
            group.remove(Key(key));
        }
        assert_eq!(group.0.len(), 10);
        assert!(group.0.capacity() <= 40, "{}", group.0.capacity());
        for key in 9_990..10_000 {
            group.remove(Key(key));
        }
        assert!(group.0.capacity() <= SHRINK_ABOVE, "{}", group.0.capacity());
    }
}
