//! The events that may have to be sent again.

use std::collections::{HashMap, VecDeque};

use socketio_adapter::{Place, Room, Selection};
use socketio_proto::Encoded;
use tokio::time::Instant;

use super::{
    budget::Account,
    stays::{Moment, Stays},
};

/// The events of a namespace that may have to be sent again, in the order in which they were sent.
///
/// Each has a sequence number, and an offset that is in the event itself. An event that has been
/// dropped for its *age* is missed by nobody who may still come back. One that was dropped for its
/// *size* may be, so its rooms remember that.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// The first one has an entry.
    slots: VecDeque<Slot>,
    /// The sequence number before the first slot.
    before: u64,
    by_offset: HashMap<u64, u64>,
    rooms: HashMap<Room, RoomLog>,
    /// How many of the rooms are there only for what was lost in them.
    marks: usize,
    /// Events that name no room.
    everybody: RoomLog,
    /// What was lost in rooms of which there is no mark any more.
    lost: Option<Moment>,
}

/// An event that is kept.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) offset: u64,
    /// Where it stands among the events of all servers, if it is of another one and that is known.
    pub(super) place: Option<Place>,
    pub(super) packet: Encoded,
}

/// The place of an event, which keeps its offset known when it is dropped before its neighbours.
#[derive(Debug)]
struct Slot {
    offset: u64,
    place: Option<Place>,
    entry: Option<Box<Entry>>,
}

#[derive(Debug)]
struct Entry {
    time: Instant,
    packet: Encoded,
    selection: Selection,
    bytes: usize,
}

#[derive(Debug, Default)]
struct RoomLog {
    bytes: usize,
    entries: VecDeque<u64>,
    /// The last event that was dropped for its size.
    lost: Option<Moment>,
}

impl Log {
    /// The sequence number of the last event.
    pub(super) fn head(&self) -> u64 {
        self.before + self.slots.len() as u64
    }

    pub(super) fn is_empty(&self) -> bool {
        let has_lost = self.lost.is_some() || self.everybody.lost.is_some();
        self.slots.is_empty() && self.rooms.is_empty() && !has_lost
    }

    /// Adds an event.
    pub(super) fn append(&mut self, event: Kept, selection: &Selection, account: &mut Account) {
        let Kept {
            offset,
            place,
            packet,
        } = event;
        let now = Instant::now();
        let names = selection.rooms.iter().chain(&selection.except);
        let bytes = ENTRY + packet.len() + names.map(|room| NAME + room.len()).sum::<usize>();
        self.slots.push_back(Slot {
            offset,
            place,
            entry: Some(Box::new(Entry {
                time: now,
                packet,
                selection: selection.clone(),
                bytes,
            })),
        });
        let at = self.head();
        self.by_offset.insert(offset, at);
        account.add(bytes);
        self.each_room(selection, account, |room| {
            // A selection may name a room twice.
            if room.entries.back() != Some(&at) {
                room.entries.push_back(at);
                room.bytes += bytes;
            }
        });
        let limit = account.budget.options.max_room_bytes;
        for room in rooms_of(selection) {
            while let Some(oldest) = self.oldest_beyond(room, limit) {
                self.lose(oldest, account);
            }
        }
        self.expire(now, account);
        self.make_room(account);
    }

    /// Drops the oldest events until what the server keeps is within its limit.
    pub(super) fn make_room(&mut self, account: &mut Account) {
        while account.is_exceeded() {
            // Marks have their share, and no more.
            if self.marks > self.slots.len() {
                self.forget_marks(account);
            } else if !self.slots.is_empty() {
                self.lose(self.before + 1, account);
            } else {
                break;
            }
        }
    }

    /// Drops what is too old to be missed.
    pub(super) fn sweep(&mut self, now: Instant, account: &mut Account) {
        self.expire(now, account);
        let keep = account.budget.keep;
        let is_old = |lost: &mut Moment| lost.is_older_than(keep, now);
        self.lost.take_if(is_old);
        self.everybody.lost.take_if(is_old);
        self.rooms.retain(|name, room| {
            room.lost.take_if(is_old);
            if room.is_empty() {
                account.sub(cost_of_room(name));
                self.marks -= 1;
            }
            !room.is_empty()
        });
        self.slots.shrink_to(self.slots.len() * 2);
        self.by_offset.shrink_to(self.by_offset.len() * 2);
        self.rooms.shrink_to(self.rooms.len() * 2);
    }

    /// What a socket has not received that has received all up to an offset; without one nothing
    /// since `start`. `None` if that is not known any more.
    pub(super) fn missed(
        &self,
        offset: Option<u64>,
        start: u64,
        stays: &Stays,
        account: &Account,
    ) -> Option<Vec<Encoded>> {
        self.missed_but(offset, start, stays, account, |_, _| false)
    }

    /// The same, without those of which the function says so by their number and place.
    pub(super) fn missed_but(
        &self,
        offset: Option<u64>,
        start: u64,
        stays: &Stays,
        account: &Account,
        is_known: impl Fn(u64, Option<Place>) -> bool,
    ) -> Option<Vec<Encoded>> {
        // An offset that is not there was dropped, and so was everything before it.
        let position = match offset {
            None => start,
            Some(offset) => self.by_offset.get(&offset).copied().unwrap_or(0).max(start),
        };
        let (now, keep) = (Instant::now(), account.budget.keep);
        let is_lost = |lost: Option<Moment>, from: u64| {
            lost.is_some_and(|it| it.at > from && !it.is_older_than(keep, now))
        };
        if is_lost(self.lost, position) || is_lost(stays.forgotten(), position) {
            return None;
        }
        let mut missed = Vec::new();
        let mut collect = |room: &RoomLog, since: u64, until: u64| {
            let from = position.max(since);
            if from >= until {
                return Some(());
            }
            if is_lost(room.lost, from) {
                return None;
            }
            let first = room.entries.partition_point(|at| *at <= from);
            let entries = room.entries.range(first..);
            missed.extend(entries.take_while(|at| **at <= until));
            Some(())
        };
        collect(&self.everybody, start, u64::MAX)?;
        for (room, since, until) in stays.all() {
            if let Some(room) = self.rooms.get(room) {
                collect(room, since, until)?;
            }
        }
        missed.sort_unstable();
        missed.dedup();
        let packet = |at| {
            let (slot, entry) = self.entry(at)?;
            if is_known(slot.offset, slot.place) {
                return None;
            }
            let mut except = entry.selection.except.iter();
            let is_excepted = except.any(|room| stays.cover(room, at));
            (!is_excepted).then(|| entry.packet.clone())
        };
        Some(missed.into_iter().filter_map(packet).collect())
    }

    fn entry(&self, at: u64) -> Option<(&Slot, &Entry)> {
        let index = at.checked_sub(self.before + 1)?;
        let slot = self.slots.get(index as usize)?;
        Some((slot, slot.entry.as_deref()?))
    }

    fn expire(&mut self, now: Instant, account: &mut Account) {
        let keep = account.budget.keep;
        while let Some(Slot {
            entry: Some(entry), ..
        }) = self.slots.front()
            && now - entry.time > keep
        {
            self.remove(self.before + 1, account);
        }
    }

    /// Drops an event that somebody may still miss.
    fn lose(&mut self, at: u64, account: &mut Account) {
        if let Some(entry) = self.remove(at, account) {
            let time = entry.time;
            self.each_room(&entry.selection, account, |room| {
                // Another room of a later event may have been full before this one.
                room.lost = room.lost.max(Some(Moment { at, time }));
            });
        }
    }

    fn remove(&mut self, at: u64, account: &mut Account) -> Option<Box<Entry>> {
        let index = at.checked_sub(self.before + 1)?;
        let entry = self.slots.get_mut(index as usize)?.entry.take()?;
        account.sub(entry.bytes);
        account.add(SLOT);
        self.each_room(&entry.selection, account, |room| {
            if let Ok(index) = room.entries.binary_search(&at) {
                room.entries.remove(index);
                room.bytes -= entry.bytes;
            }
        });
        while let Some(Slot { entry: None, .. }) = self.slots.front() {
            if let Some(slot) = self.slots.pop_front() {
                self.by_offset.remove(&slot.offset);
            }
            self.before += 1;
            account.sub(SLOT);
        }
        Some(entry)
    }

    fn oldest_beyond(&self, room: Option<&Room>, limit: usize) -> Option<u64> {
        let room = match room {
            None => &self.everybody,
            Some(room) => self.rooms.get(room)?,
        };
        let oldest = room.entries.front().copied();
        oldest.filter(|_| room.bytes > limit)
    }

    /// Remembers only that something was lost, and not any more where.
    fn forget_marks(&mut self, account: &mut Account) {
        self.rooms.retain(|name, room| {
            let is_mark = room.is_mark();
            if is_mark {
                self.lost = self.lost.max(room.lost);
                account.sub(cost_of_room(name));
            }
            !is_mark
        });
        self.marks = 0;
    }

    fn each_room(
        &mut self,
        selection: &Selection,
        account: &mut Account,
        mut f: impl FnMut(&mut RoomLog),
    ) {
        for room in rooms_of(selection) {
            let Some(name) = room else {
                f(&mut self.everybody);
                continue;
            };
            let room = self.rooms.entry(name.clone()).or_insert_with(|| {
                account.add(cost_of_room(name));
                RoomLog::default()
            });
            self.marks -= usize::from(room.is_mark());
            f(room);
            self.marks += usize::from(room.is_mark());
            if room.is_empty() {
                self.rooms.remove(name);
                account.sub(cost_of_room(name));
            }
        }
    }
}

impl RoomLog {
    fn is_mark(&self) -> bool {
        self.entries.is_empty() && self.lost.is_some()
    }

    fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.lost.is_none()
    }
}

/// The rooms of a selection; without any, everybody.
fn rooms_of(selection: &Selection) -> impl Iterator<Item = Option<&Room>> {
    let everybody = selection.rooms.is_empty().then_some(None);
    selection.rooms.iter().map(Some).chain(everybody)
}

/// What is remembered of a room costs so much besides its events.
fn cost_of_room(name: &Room) -> usize {
    ROOM + name.len()
}

/// What an event costs besides its bytes.
const ENTRY: usize = 256;

/// What the name of a room in a selection costs besides its bytes.
const NAME: usize = 64;

/// What is left of an event that was dropped before its neighbours.
const SLOT: usize = 64;

const ROOM: usize = 160;

#[cfg(test)]
mod tests;
