use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, atomic::AtomicBool},
    thread,
};

use proptest::prelude::*;

use super::*;

fn reached(registry: &Registry<u8>, rooms: &[&str], except: &[&str]) -> Vec<u8> {
    let room = |name: &&str| Room::from(*name);
    let selection = Selection {
        rooms: rooms.iter().map(room).collect(),
        except: except.iter().map(room).collect(),
    };
    let mut reached = Vec::new();
    registry.each(&selection, |member| reached.push(*member));
    reached.sort_unstable();
    reached
}

/// Source: the `create-room`, `join-room`, `leave-room` and `delete-room` events of the official
/// adapter.
#[test]
fn an_observer_is_told_of_rooms_in_order() {
    let registry = Registry::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    registry.observe(move |event| {
        let line = match event {
            RoomEvent::Created { room } => format!("create {room}"),
            RoomEvent::Joined { room, id } => format!("join {room} {id}"),
            RoomEvent::Left { room, id } => format!("leave {room} {id}"),
            RoomEvent::Deleted { room } => format!("delete {room}"),
        };
        log.lock().unwrap().push(line);
    });
    let take = || std::mem::take(&mut *seen.lock().unwrap()).join(", ");
    registry.insert("a".into(), 1);
    registry.insert("b".into(), 2);
    assert_eq!(take(), "create a, join a a, create b, join b b");
    registry.join("a", ["red".into()]);
    registry.join("a", ["red".into()]);
    registry.join("b", ["red".into()]);
    assert_eq!(take(), "create red, join red a, join red b");
    registry.leave("b", "red");
    registry.leave("b", "red");
    assert_eq!(take(), "leave red b");
    registry.remove("a");
    registry.remove("a");
    assert_eq!(take(), "leave a a, delete a, leave red a, delete red");
    registry.leave("b", "b");
    registry.join("b", ["b".into()]);
    assert_eq!(take(), "leave b b, delete b, create b, join b b");
}

fn three() -> Registry<u8> {
    let registry = Registry::new();
    for (id, member) in [("a", 1), ("b", 2), ("c", 3)] {
        assert!(registry.insert(id.into(), member));
    }
    registry.join("a", ["red".into(), "round".into()]);
    registry.join("b", ["red".into()]);
    registry
}

#[test]
fn no_room_means_everybody() {
    let registry = three();
    assert_eq!(reached(&registry, &[], &[]), [1, 2, 3]);
    assert_eq!(reached(&registry, &[], &["red"]), [3]);
    assert_eq!(reached(&registry, &[], &["b"]), [1, 3]);
}

#[test]
fn a_member_of_several_rooms_is_reached_once() {
    let registry = three();
    assert_eq!(reached(&registry, &["red", "round"], &[]), [1, 2]);
    assert_eq!(reached(&registry, &["red", "red"], &[]), [1, 2]);
    assert_eq!(reached(&registry, &["red", "a", "c"], &["round"]), [2, 3]);
}

#[test]
fn an_id_is_a_room() {
    let registry = three();
    assert_eq!(reached(&registry, &["c"], &[]), [3]);
    registry.join("a", ["c".into()]);
    assert_eq!(reached(&registry, &["c"], &[]), [1, 3]);
    assert!(registry.leave("c", "c"));
    assert!(!registry.leave("c", "c"));
    assert_eq!(reached(&registry, &["c"], &[]), [1]);
    assert_eq!(reached(&registry, &[], &[]), [1, 2, 3]);
    registry.join("c", ["c".into()]);
    assert_eq!(reached(&registry, &["c"], &["a"]), [3]);
    assert_eq!(registry.room_len("c"), 2);
}

#[test]
fn rooms_are_listed_in_order_of_joining() {
    let registry = three();
    registry.join("a", ["blue".into(), "red".into()]);
    let rooms = registry.rooms_of("a");
    assert_eq!(rooms, ["a", "red", "round", "blue"].map(Room::from));
    registry.leave("a", "red");
    assert_eq!(registry.rooms_of("a").len(), 3);
    assert!(registry.rooms_of("nobody").is_empty());
}

#[test]
fn empty_rooms_vanish() {
    let registry = three();
    assert_eq!(registry.room_count(), 2);
    assert!(registry.leave("a", "round"));
    assert!(!registry.leave("a", "round"));
    assert!(!registry.leave("a", "nowhere"));
    assert_eq!(registry.room_count(), 1);
    assert_eq!(registry.remove("a"), Some(1));
    assert_eq!(registry.room_len("red"), 1);
    assert_eq!(registry.remove("b"), Some(2));
    assert_eq!((registry.room_count(), registry.len()), (0, 1));
}

#[test]
fn whoever_left_cannot_join() {
    let registry = three();
    assert_eq!(registry.remove("a"), Some(1));
    assert_eq!(registry.remove("a"), None);
    assert!(!registry.join("a", ["red".into()]));
    assert_eq!(reached(&registry, &["red"], &[]), [2]);
    assert_eq!(registry.get("a"), None);
    assert_eq!(registry.get("b"), Some(2));
}

#[test]
fn an_id_is_taken_once() {
    let registry = three();
    assert!(!registry.insert("a".into(), 9));
    assert_eq!(reached(&registry, &["a"], &[]), [1]);
}

#[derive(Clone, Debug)]
enum Op {
    Insert(u8),
    Remove(u8),
    Join(u8, u8),
    Leave(u8, u8),
    Each(Vec<u8>, Vec<u8>),
}

fn op() -> impl Strategy<Value = Op> {
    let (id, room) = (0..6u8, 0..10u8);
    let rooms = || proptest::collection::vec(0..10u8, 0..4);
    prop_oneof![
        id.clone().prop_map(Op::Insert),
        id.clone().prop_map(Op::Remove),
        (id.clone(), room.clone()).prop_map(|(id, room)| Op::Join(id, room)),
        (id, room).prop_map(|(id, room)| Op::Leave(id, room)),
        (rooms(), rooms()).prop_map(|(rooms, except)| Op::Each(rooms, except)),
    ]
}

proptest! {
    /// Numbers below 6 are ids, and so are rooms of that number.
    #[test]
    fn agrees_with_a_naive_model(ops in proptest::collection::vec(op(), 1..80)) {
        let registry = Registry::new();
        let mut model = BTreeMap::<u8, BTreeSet<u8>>::new();
        let name = |number: &u8| Room::from(number.to_string());
        for op in ops {
            match op {
                Op::Insert(id) => {
                    let new = !model.contains_key(&id);
                    model.entry(id).or_insert_with(|| [id].into());
                    prop_assert_eq!(registry.insert(name(&id), id), new);
                }
                Op::Remove(id) => {
                    let removed = model.remove(&id).map(|_| id);
                    prop_assert_eq!(registry.remove(&name(&id)), removed);
                }
                Op::Join(id, room) => {
                    let there = model.get_mut(&id).map(|rooms| rooms.insert(room));
                    prop_assert_eq!(registry.join(&name(&id), [name(&room)]), there.is_some());
                }
                Op::Leave(id, room) => {
                    let was_in = model.get_mut(&id).is_some_and(|rooms| rooms.remove(&room));
                    prop_assert_eq!(registry.leave(&name(&id), &name(&room)), was_in);
                }
                Op::Each(rooms, except) => {
                    let selection = Selection {
                        rooms: rooms.iter().map(name).collect(),
                        except: except.iter().map(name).collect(),
                    };
                    let mut reached = Vec::new();
                    registry.each(&selection, |id| reached.push(*id));
                    reached.sort_unstable();
                    let is_in = |joined: &BTreeSet<u8>, rooms: &[u8]| {
                        rooms.iter().any(|room| joined.contains(room))
                    };
                    let expected = model.iter().filter(|(_, joined)| {
                        (rooms.is_empty() || is_in(joined, &rooms)) && !is_in(joined, &except)
                    });
                    prop_assert_eq!(reached, expected.map(|(id, _)| *id).collect::<Vec<_>>());
                }
            }
            prop_assert_eq!(registry.len(), model.len());
            let mut named = BTreeSet::<u8>::new();
            for (id, joined) in &model {
                named.extend(joined.iter().filter(|room| *room != id));
                let mut rooms = registry.rooms_of(&name(id));
                rooms.sort();
                prop_assert_eq!(rooms, joined.iter().map(name).collect::<Vec<_>>());
            }
            prop_assert_eq!(registry.room_count(), named.len());
        }
    }
}

#[test]
fn threads_agree_in_the_end() {
    let registry = Registry::new();
    registry.insert("witness".into(), 0);
    registry.join("witness", ["all".into()]);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..4u32)
            .map(|worker| {
                let registry = &registry;
                scope.spawn(move || {
                    for round in 0..2_000u32 {
                        let id = Room::from(format!("{worker}-{}", round % 7));
                        registry.insert(id.clone(), worker + 1);
                        registry.join(&id, ["all".into(), format!("{}", round % 5).into()]);
                        registry.leave(&id, "all");
                        registry.join(&id, ["witness".into()]);
                        registry.remove(&id);
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for rooms in [vec![], vec!["all".into()], vec!["all".into(), "1".into()]] {
                    let except = Vec::new();
                    let mut witnessed = 0;
                    let selection = Selection { rooms, except };
                    registry.each(&selection, |member| witnessed += u32::from(*member == 0));
                    assert_eq!(witnessed, 1, "{selection:?}");
                }
            }
        });
        for worker in workers {
            worker.join().unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!((registry.len(), registry.room_count()), (1, 1));
    assert_eq!(registry.rooms_of("witness").len(), 2);
}

/// Somebody who mirrors the rooms by what is told would otherwise forget one that is there.
#[test]
fn threads_that_change_one_room_are_told_of_in_its_order() {
    let registry = Registry::new();
    let told = Arc::new(Mutex::new(Vec::new()));
    let log = told.clone();
    registry.observe(move |event| log.lock().unwrap().push(event.clone()));
    thread::scope(|scope| {
        for worker in 0..4 {
            let registry = &registry;
            scope.spawn(move || {
                let id = Room::from(format!("{worker}"));
                for round in 0..5_000 {
                    registry.insert(id.clone(), worker);
                    registry.join(&id, ["all".into()]);
                    if round % 2 == 0 {
                        registry.leave(&id, "all");
                    }
                    registry.remove(&id);
                }
            });
        }
    });
    let mut rooms = BTreeMap::<Room, BTreeSet<Room>>::new();
    for event in told.lock().unwrap().drain(..) {
        match event {
            RoomEvent::Created { room } => assert!(rooms.insert(room, BTreeSet::new()).is_none()),
            RoomEvent::Joined { room, id } => assert!(rooms.get_mut(&room).unwrap().insert(id)),
            RoomEvent::Left { room, id } => assert!(rooms.get_mut(&room).unwrap().remove(&id)),
            RoomEvent::Deleted { room } => assert!(rooms.remove(&room).unwrap().is_empty()),
        }
    }
    assert!(rooms.is_empty(), "{rooms:?}");
}

#[test]
fn memory_comes_back() {
    let registry = Registry::new();
    for id in 0..20_000 {
        let id: Room = id.to_string().into();
        assert!(registry.insert(id.clone(), ()));
        registry.join(&id, [format!("room {id}").into()]);
    }
    assert_eq!(registry.len(), 20_000);
    for id in 10..20_000 {
        assert!(registry.remove(&id.to_string()).is_some());
        assert!(registry.remove(&id.to_string()).is_none());
    }
    assert_eq!((registry.len(), registry.members.len()), (10, 10));
    for capacity in [registry.members.capacity(), registry.rooms.capacity()] {
        assert!(capacity <= SHRINK_ABOVE + 400, "{capacity}");
    }
}
