//! Which namespaces a server has.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use crate::{Namespace, ParentNamespace};

/// The namespaces of a server, and the parents of those that come to be when a client asks.
///
/// # Children that nobody is in
///
/// Clients get into a namespace by a [`Seat`], which is given out under the lock of the table. A
/// child is removed under the same lock and only if no seat is taken, so whoever has one is in the
/// namespace that the table has.
#[derive(Debug)]
pub(crate) struct Namespaces(RwLock<Table>);

#[derive(Debug)]
struct Table {
    by_name: HashMap<Box<str>, Namespace>,
    parents: Arc<[ParentNamespace]>,
    /// How many of them have a parent.
    children: usize,
    /// Children that were left by everybody, the first one first. Some may be in use again. None
    /// is in here twice.
    vacant: VecDeque<Namespace>,
}

/// What a client has in a namespace that it is in, or is about to join. It keeps the namespace in
/// the table.
#[derive(Debug)]
pub(crate) struct Seat(Namespace);

/// There are as many children as may be, and somebody is in each.
#[derive(Debug)]
pub(crate) struct Full;

impl Namespaces {
    pub(crate) fn new(main: Namespace) -> Self {
        Self(RwLock::new(Table {
            by_name: [(main.name().into(), main)].into(),
            parents: Arc::default(),
            children: 0,
            vacant: VecDeque::new(),
        }))
    }

    pub(crate) fn get(&self, name: &str) -> Option<Namespace> {
        self.read().by_name.get(name).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Namespace> {
        self.read().by_name.values().cloned().collect()
    }

    pub(crate) fn parents(&self) -> Arc<[ParentNamespace]> {
        self.read().parents.clone()
    }

    pub(crate) fn add_parent(&self, parent: ParentNamespace) {
        let mut table = self.write();
        table.parents = table.parents.iter().cloned().chain([parent]).collect();
    }

    pub(crate) fn children_of(&self, parent: &ParentNamespace) -> Vec<Namespace> {
        let table = self.read();
        let children = table
            .by_name
            .values()
            .filter(|it| it.parent() == Some(parent));
        children.cloned().collect()
    }

    /// Calls a function with the children while none can come to be. It must not call back.
    pub(crate) fn with_children_of<R>(
        &self,
        parent: &ParentNamespace,
        f: impl FnOnce(&mut dyn Iterator<Item = &Namespace>) -> R,
    ) -> R {
        let table = self.write();
        let children = table.by_name.values();
        f(&mut children.filter(|it| it.parent() == Some(parent)))
    }

    /// A seat in a namespace that there is.
    pub(crate) fn seat(&self, name: &str) -> Option<Seat> {
        self.read().by_name.get(name).map(Seat::take)
    }

    /// A seat in a namespace that clients can come into right now.
    pub(crate) fn open_seat(&self, name: &str) -> Option<Seat> {
        let table = self.read();
        let namespace = table.by_name.get(name)?;
        // Not one to be given back: whoever gives back the last one has the namespace removed.
        let is_open = namespace.announced().initialized();
        is_open.then(|| Seat::take(namespace))
    }

    /// The namespace with this name, and whether it was made.
    pub(crate) fn get_or_make(
        &self,
        name: &str,
        make: impl FnOnce() -> Namespace,
    ) -> (Namespace, bool) {
        let mut table = self.write();
        match table.by_name.entry(name.into()) {
            Entry::Occupied(there) => (there.get().clone(), false),
            Entry::Vacant(_) => (table.add(make()), true),
        }
    }

    /// A seat in the namespace with this name, and whether that was made. Beyond `max_children` a
    /// child that nobody is in has to go first.
    pub(crate) fn seat_or_make(
        &self,
        name: &str,
        max_children: usize,
        make: impl FnOnce() -> Namespace,
    ) -> Result<(Seat, bool), Full> {
        let mut table = self.write();
        if let Some(there) = table.by_name.get(name) {
            return Ok((Seat::take(there), false));
        }
        let mut evicted = None;
        if table.children >= max_children {
            evicted = Some(table.evict().ok_or(Full)?);
        }
        let seat = Seat::take(&table.add(make()));
        drop(table);
        // Not under the lock: its handlers are the application's.
        if let Some(evicted) = evicted {
            evicted.leave_cluster();
        }
        Ok((seat, true))
    }

    /// The last seat in a child was given up.
    pub(crate) fn vacated(&self, child: &Namespace, remove: bool) {
        let mut table = self.write();
        let is_there = table.by_name.get(child.name()) == Some(child);
        if !is_there || child.is_taken() {
            return;
        }
        if !remove || child.is_awaited() {
            if child.set_vacant(true) {
                table.vacant.push_back(child.clone());
            }
            return;
        }
        let removed = table.remove(child);
        drop(table);
        if let Some(removed) = removed {
            removed.leave_cluster();
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Table> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Table> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn add(&mut self, namespace: Namespace) -> Namespace {
        self.children += usize::from(namespace.is_dynamic());
        self.by_name
            .insert(namespace.name().into(), namespace.clone());
        namespace
    }

    fn remove(&mut self, child: &Namespace) -> Option<Namespace> {
        let removed = self.by_name.remove(child.name())?;
        self.children -= 1;
        if child.set_vacant(false) {
            self.vacant.retain(|it| it != child);
        }
        Some(removed)
    }

    /// Removes a child that nobody is in.
    fn evict(&mut self) -> Option<Namespace> {
        while let Some(child) = self.vacant.pop_front() {
            child.set_vacant(false);
            if !child.is_taken() {
                return self.remove(&child);
            }
        }
        None
    }
}

impl Seat {
    /// Only under the lock of the table that has the namespace.
    fn take(namespace: &Namespace) -> Self {
        namespace.take_seat();
        Self(namespace.clone())
    }

    pub(crate) fn namespace(&self) -> &Namespace {
        &self.0
    }

    /// The namespace, with a seat that the caller has to [leave](Namespace::leave_seat).
    pub(crate) fn into_namespace(self) -> Namespace {
        self.0.take_seat();
        self.0.clone()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.leave_seat();
    }
}
