//! Tables that many read, and the queue of what hooks are told.

use std::sync::{Arc, Mutex};

use loom::thread;
use socketio_adapter::RoomEvent;

use super::check;
use crate::{room_events::RoomEvents, snapshot::Watched};

#[test]
fn a_snapshot_that_is_refreshed_is_never_older_than_what_was_seen() {
    check(|| {
        let watched = Arc::new(Watched::new(Arc::new(0)));
        let writing = {
            let watched = watched.clone();
            thread::spawn(move || (1..=2).for_each(|it| watched.update(|value| *value = it)))
        };
        let mut snapshot = watched.snapshot();
        let mut seen = 0;
        for _ in 0..2 {
            let now = **snapshot.refresh(&watched);
            assert!(now >= seen, "{now} after {seen}");
            seen = now;
        }
        writing.join().unwrap();
        assert_eq!(**snapshot.refresh(&watched), 2);
    });
}

#[test]
fn hooks_are_told_everything_once_and_in_its_order() {
    check(|| {
        let events = Arc::new(RoomEvents::default());
        // Not a lock of loom's: what hooks do is of no interest.
        let told = Arc::new(Mutex::new(Vec::new()));
        let list = told.clone();
        events.add(move |event| list.lock().unwrap().push(room(event)));
        let tell = |events: &RoomEvents, rooms: [&str; 2]| {
            for room in rooms {
                events.push(RoomEvent::Created { room: room.into() });
                events.tell();
            }
        };
        let other = {
            let events = events.clone();
            thread::spawn(move || tell(&events, ["a1", "a2"]))
        };
        tell(&events, ["b1", "b2"]);
        other.join().unwrap();
        let told = told.lock().unwrap();
        for (sender, rooms) in [("a", ["a1", "a2"]), ("b", ["b1", "b2"])] {
            let of_one: Vec<_> = told.iter().filter(|it| it.starts_with(sender)).collect();
            assert_eq!(of_one, rooms);
        }
    });
}

fn room(event: &RoomEvent) -> String {
    match event {
        RoomEvent::Created { room } => room.to_string(),
        other => panic!("{other:?}"),
    }
}
