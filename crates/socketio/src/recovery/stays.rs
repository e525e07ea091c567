//! In which rooms a socket has been, and when.

use std::{collections::VecDeque, time::Duration};

use socketio_adapter::Room;
use tokio::time::Instant;

/// A place in the order of events: behind the event with this number, which was the last one at
/// that time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment {
    pub(super) at: u64,
    pub(super) time: Instant,
}

/// The rooms that a socket is in; and those that it has left, as long as what was said in them
/// before may still be on its way to the client.
#[derive(Debug, Default)]
pub(super) struct Stays {
    /// In the order in which they were joined.
    open: Vec<Stay>,
    /// In the order in which they were left.
    ended: VecDeque<(Stay, Moment)>,
    /// The end of the last one that was dropped from the list because there were too many.
    forgotten: Option<Moment>,
}

#[derive(Debug)]
struct Stay {
    room: Room,
    /// The last event before it was joined: what was said in it earlier is none of the socket's
    /// business.
    since: u64,
}

impl Stays {
    pub(super) fn join(&mut self, room: &Room, since: u64) {
        if !self.open.iter().any(|stay| stay.room == *room) {
            let room = room.clone();
            self.open.push(Stay { room, since });
        }
    }

    pub(super) fn leave(&mut self, room: &str, now: Moment, keep: Duration) {
        let Some(index) = self.open.iter().position(|stay| *stay.room == *room) else {
            return;
        };
        let stay = self.open.remove(index);
        // Nothing was said in the meantime.
        if stay.since == now.at {
            return;
        }
        let is_old = |(_, end): &(Stay, Moment)| end.is_older_than(keep, now.time);
        while self.ended.front().is_some_and(is_old) {
            self.ended.pop_front();
        }
        self.ended.push_back((stay, now));
        if self.ended.len() > MAX_ENDED {
            self.forgotten = self.ended.pop_front().map(|(_, end)| end);
        }
    }

    /// The rooms that the socket is in.
    pub(super) fn rooms(&self) -> impl Iterator<Item = &Room> {
        self.open.iter().map(|stay| &stay.room)
    }

    /// All rooms, with the events between which the socket was in each.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Room, u64, u64)> {
        let open = self.open.iter().map(|stay| (stay, u64::MAX));
        let ended = self.ended.iter().map(|(stay, end)| (stay, end.at));
        let all = open.chain(ended);
        all.map(|(stay, until)| (&stay.room, stay.since, until))
    }

    /// Whether the socket was in a room when an event was sent.
    pub(super) fn cover(&self, room: &Room, at: u64) -> bool {
        self.all()
            .any(|(it, since, until)| since < at && at <= until && it == room)
    }

    /// The end of stays that nothing is known of any more.
    pub(super) fn forgotten(&self) -> Option<Moment> {
        self.forgotten
    }
}

impl Moment {
    pub(super) fn is_older_than(&self, age: Duration, now: Instant) -> bool {
        now - self.time > age
    }
}

/// How many stays are remembered after they have ended. A client that makes its socket join and
/// leave rooms all the time, and comes back without the events from before, gets a new session.
const MAX_ENDED: usize = 256;
