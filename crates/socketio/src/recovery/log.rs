//! The events that may have to be sent again.

use std::collections::{HashMap, VecDeque};

use socketio_adapter::{Room, Selection};
use socketio_proto::Encoded;
use tokio::time::Instant;

use super::{Budget, Joined};

/// The events of a namespace that may have to be sent again, in the order in which they were sent.
///
/// Each has a sequence number, and an offset that is in the event itself. An event that has been
/// dropped for its *age* is missed by nobody who may still come back. One that was dropped for its
/// *size* may be, so its rooms remember that.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// `None` where an event was dropped before its neighbours.
    entries: VecDeque<Option<Entry>>,
    /// The sequence number before the first entry.
    before: u64,
    by_offset: HashMap<u64, u64>,
    rooms: HashMap<Room, RoomLog>,
    /// Events that name no room.
    everybody: RoomLog,
}

#[derive(Debug)]
struct Entry {
    offset: u64,
    at: Instant,
    /// None for an event that is not sent again, but whose offset clients may name.
    packet: Option<Encoded>,
    selection: Selection,
    bytes: usize,
}

#[derive(Debug, Default)]
struct RoomLog {
    bytes: usize,
    entries: VecDeque<u64>,
    /// The last event that was dropped for its size, and when it had been sent.
    lost: Option<(u64, Instant)>,
}

impl Log {
    /// The sequence number of the last event.
    pub(super) fn head(&self) -> u64 {
        self.before + self.entries.len() as u64
    }

    pub(super) fn bytes(&self) -> usize {
        self.entries.iter().flatten().map(|entry| entry.bytes).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.rooms.is_empty() && self.everybody.is_empty()
    }

    /// Adds an event.
    pub(super) fn append(
        &mut self,
        offset: u64,
        packet: Option<Encoded>,
        selection: &Selection,
        budget: &Budget,
    ) {
        let now = Instant::now();
        let names = selection.rooms.iter().chain(&selection.except);
        let bytes = ENTRY
            + packet.as_ref().map_or(0, Encoded::len)
            + names.map(|room| ROOM + room.len()).sum::<usize>();
        self.entries.push_back(Some(Entry {
            offset,
            at: now,
            packet,
            selection: selection.clone(),
            bytes,
        }));
        let at = self.head();
        self.by_offset.insert(offset, at);
        budget.add(bytes);
        self.each_room(selection, true, |room| {
            room.bytes += bytes;
            // A selection may name a room twice.
            if room.entries.back() != Some(&at) {
                room.entries.push_back(at);
            }
        });
        for room in rooms_of(selection) {
            while let Some(oldest) = self.oldest_beyond(room, budget.options.max_room_bytes) {
                self.lose(oldest, budget);
            }
        }
        self.expire(now, budget);
        self.make_room(budget);
    }

    /// Drops the oldest events until what the server keeps is within its limit.
    pub(super) fn make_room(&mut self, budget: &Budget) {
        while budget.is_exceeded() && !self.entries.is_empty() {
            self.lose(self.before + 1, budget);
            self.trim();
        }
    }

    /// Drops what is too old to be missed.
    pub(super) fn expire(&mut self, now: Instant, budget: &Budget) {
        while let Some(entry) = self.entries.front() {
            if entry
                .as_ref()
                .is_some_and(|entry| now - entry.at <= budget.keep)
            {
                break;
            }
            self.remove(self.before + 1, budget);
            self.trim();
        }
    }

    /// Forgets rooms about which there is nothing to remember any more.
    pub(super) fn sweep(&mut self, now: Instant, budget: &Budget) {
        self.expire(now, budget);
        let is_old = |room: &RoomLog| room.lost.is_none_or(|(_, at)| now - at > budget.keep);
        self.rooms
            .retain(|_, room| !(room.entries.is_empty() && is_old(room)));
        if is_old(&self.everybody) {
            self.everybody.lost = None;
        }
        self.entries.shrink_to(self.entries.len() * 2);
        self.by_offset.shrink_to(self.by_offset.len() * 2);
        self.rooms.shrink_to(self.rooms.len() * 2);
    }

    /// What a socket has not received that has received all up to an offset; without one nothing
    /// since `start`. `None` if that is not known any more.
    pub(super) fn missed(
        &self,
        offset: Option<u64>,
        start: u64,
        rooms: &[Joined],
        budget: &Budget,
    ) -> Option<Vec<Encoded>> {
        // An offset that is not there was dropped, and so was everything before it.
        let position = match offset {
            None => start,
            Some(offset) => self.by_offset.get(&offset).copied().unwrap_or(0).max(start),
        };
        let now = Instant::now();
        let mut missed = Vec::new();
        let mut collect = |room: &RoomLog, since: u64| {
            let from = position.max(since);
            let lost = |(at, sent): (u64, Instant)| at > from && now - sent <= budget.keep;
            if room.lost.is_some_and(lost) {
                return None;
            }
            let first = room.entries.partition_point(|at| *at <= from);
            missed.extend(room.entries.range(first..));
            Some(())
        };
        collect(&self.everybody, start)?;
        for Joined { room, since } in rooms {
            if let Some(room) = self.rooms.get(room) {
                collect(room, *since)?;
            }
        }
        missed.sort_unstable();
        missed.dedup();
        let is_in = |room: &Room| rooms.iter().any(|joined| joined.room == *room);
        let entries = missed.into_iter().filter_map(|at| self.entry(at));
        let entries = entries.filter(|entry| !entry.selection.except.iter().any(is_in));
        Some(entries.filter_map(|entry| entry.packet.clone()).collect())
    }

    fn entry(&self, at: u64) -> Option<&Entry> {
        let index = at.checked_sub(self.before + 1)?;
        self.entries.get(index as usize)?.as_ref()
    }

    /// Drops an event that somebody may still miss.
    fn lose(&mut self, at: u64, budget: &Budget) {
        if let Some(entry) = self.remove(at, budget)
            && entry.packet.is_some()
        {
            self.each_room(&entry.selection, true, |room| {
                room.lost = Some((at, entry.at))
            });
        }
    }

    fn remove(&mut self, at: u64, budget: &Budget) -> Option<Entry> {
        let index = at.checked_sub(self.before + 1)?;
        let entry = self.entries.get_mut(index as usize)?.take()?;
        budget.sub(entry.bytes);
        self.by_offset.remove(&entry.offset);
        self.each_room(&entry.selection, false, |room| {
            if let Ok(index) = room.entries.binary_search(&at) {
                room.entries.remove(index);
                room.bytes -= entry.bytes;
            }
        });
        Some(entry)
    }

    /// Drops the places of events that were dropped.
    fn trim(&mut self) {
        while let Some(None) = self.entries.front() {
            self.entries.pop_front();
            self.before += 1;
        }
    }

    fn oldest_beyond(&self, room: Option<&Room>, limit: usize) -> Option<u64> {
        let room = match room {
            None => &self.everybody,
            Some(room) => self.rooms.get(room)?,
        };
        let oldest = room.entries.front().copied();
        oldest.filter(|_| room.bytes > limit)
    }

    fn each_room(&mut self, selection: &Selection, make: bool, mut f: impl FnMut(&mut RoomLog)) {
        for room in rooms_of(selection) {
            let Some(room) = room else {
                f(&mut self.everybody);
                continue;
            };
            if make && !self.rooms.contains_key(room) {
                self.rooms.insert(room.clone(), RoomLog::default());
            }
            let Some(log) = self.rooms.get_mut(room) else {
                continue;
            };
            f(log);
            if log.is_empty() {
                self.rooms.remove(room);
            }
        }
    }
}

impl RoomLog {
    fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.lost.is_none()
    }
}

/// The rooms of a selection, each once; without any, everybody.
fn rooms_of(selection: &Selection) -> impl Iterator<Item = Option<&Room>> {
    let rooms = &selection.rooms;
    let first = |(index, room): &(usize, &Room)| !rooms[..*index].contains(room);
    let named = rooms.iter().enumerate().filter(first);
    let everybody = rooms.is_empty().then_some(None);
    named.map(|(_, room)| Some(room)).chain(everybody)
}

/// What an event costs besides its bytes.
const ENTRY: usize = 256;

/// What the name of a room costs besides its bytes.
const ROOM: usize = 64;
