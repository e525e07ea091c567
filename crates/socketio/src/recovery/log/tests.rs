//! The log against somebody who remembers everything.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use proptest::prelude::*;

use super::*;
use crate::{ConnectionStateRecovery, recovery::budget::Budget};

const SOCKETS: usize = 3;

#[derive(Clone, Debug)]
enum Op {
    Send {
        rooms: Vec<u8>,
        except: Vec<u8>,
        size: usize,
    },
    Join(usize, u8),
    Leave(usize, u8),
    /// Comes back with the offset of what it received so many events ago.
    Return(usize, usize),
    Wait(u64),
    Sweep,
}

fn op() -> impl Strategy<Value = Op> {
    let socket = 0..SOCKETS;
    let room = 0..4u8;
    let rooms = |most| proptest::collection::vec(0..4u8, 0..most);
    prop_oneof![
        6 => (rooms(4), rooms(2), 0..300usize)
            .prop_map(|(rooms, except, size)| Op::Send { rooms, except, size }),
        2 => (socket.clone(), room.clone()).prop_map(|(socket, room)| Op::Join(socket, room)),
        2 => (socket.clone(), room).prop_map(|(socket, room)| Op::Leave(socket, room)),
        4 => (socket, 0..8usize).prop_map(|(socket, ago)| Op::Return(socket, ago)),
        1 => (0..40u64).prop_map(Op::Wait),
        1 => Just(Op::Sweep),
    ]
}

#[derive(Default)]
struct Socket {
    stays: Stays,
    rooms: BTreeSet<u8>,
    received: Vec<Received>,
}

struct Received {
    offset: u64,
    text: String,
    time: Instant,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn nothing_is_missing_and_nothing_too_much(
        ops in proptest::collection::vec(op(), 1..120),
        max_bytes in prop_oneof![Just(1_000_000), 1_000..8_000usize],
        max_room_bytes in prop_oneof![Just(1_000_000), 0..3_000usize],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build();
        let options = ConnectionStateRecovery::new()
            .max_bytes(max_bytes)
            .max_room_bytes(max_room_bytes)
            .max_disconnection_duration(Duration::from_secs(60));
        runtime.expect("a runtime").block_on(run(ops, options));
    }
}

async fn run(ops: Vec<Op>, options: ConnectionStateRecovery) {
    let budget = Arc::new(Budget::new(options, Duration::from_secs(40)));
    let (keep, all_fits) = (
        budget.keep,
        options.max_bytes.min(options.max_room_bytes) == 1_000_000,
    );
    let mut account = Account::new(budget.clone());
    let mut log = Log::default();
    let mut sockets: [Socket; SOCKETS] = Default::default();
    let mut sent = 0;
    let name = |room: &u8| Room::from(format!("room {room}"));
    for op in ops {
        match op {
            Op::Send {
                rooms,
                except,
                size,
            } => {
                // Two senders at a time may overtake each other.
                let offset = sent ^ 1;
                sent += 1;
                let text = format!("{offset} {}", "x".repeat(size));
                let selection = Selection {
                    rooms: rooms.iter().map(name).collect(),
                    except: except.iter().map(name).collect(),
                };
                let packet = Encoded::text(&text);
                log.append(
                    Kept {
                        offset,
                        place: None,
                        packet,
                    },
                    &selection,
                    &mut account,
                );
                for socket in &mut sockets {
                    let is_in = |room: &u8| socket.rooms.contains(room);
                    let is_named = rooms.is_empty() || rooms.iter().any(is_in);
                    if is_named && !except.iter().any(is_in) {
                        let (text, time) = (text.clone(), Instant::now());
                        socket.received.push(Received { offset, text, time });
                    }
                }
                assert!(budget.used() <= options.max_bytes);
            }
            Op::Join(socket, room) => {
                sockets[socket].rooms.insert(room);
                sockets[socket].stays.join(&name(&room), log.head());
            }
            Op::Leave(socket, room) => {
                let now = Moment {
                    at: log.head(),
                    time: Instant::now(),
                };
                sockets[socket].rooms.remove(&room);
                sockets[socket].stays.leave(&name(&room), now, keep);
            }
            Op::Return(socket, ago) => {
                let Socket {
                    stays, received, ..
                } = &sockets[socket];
                let (has, misses) = received.split_at(received.len().saturating_sub(ago));
                let is_late = |it: &Received| it.time.elapsed() > keep;
                if misses.iter().any(is_late) {
                    continue;
                }
                let offset = has.last().map(|it| it.offset);
                match log.missed(offset, 0, stays, &account) {
                    Some(missed) => {
                        let text = |it: &Encoded| it.wire_text().unwrap()[1..].to_owned();
                        let missed: Vec<_> = missed.iter().map(text).collect();
                        let expected: Vec<_> = misses.iter().map(|it| it.text.clone()).collect();
                        assert_eq!(missed, expected);
                    }
                    None => assert!(!all_fits),
                }
            }
            Op::Wait(seconds) => tokio::time::advance(Duration::from_secs(seconds)).await,
            Op::Sweep => log.sweep(Instant::now(), &mut account),
        }
        log.check(&budget);
    }
    tokio::time::advance(keep + Duration::from_secs(1)).await;
    log.sweep(Instant::now(), &mut account);
    assert!(log.is_empty());
    assert_eq!(budget.used(), 0);
}

impl Log {
    /// What it counts is what is there.
    fn check(&self, budget: &Budget) {
        let slots = self.slots.iter().map(|slot| match &slot.entry {
            Some(entry) => entry.bytes,
            None => SLOT,
        });
        let rooms = self.rooms.keys().map(cost_of_room);
        assert_eq!(budget.used(), slots.chain(rooms).sum::<usize>());
        assert_eq!(self.by_offset.len(), self.slots.len());
        assert!(self.slots.front().is_none_or(|slot| slot.entry.is_some()));
        let marks = self.rooms.values().filter(|room| room.is_mark());
        assert_eq!(self.marks, marks.count());
        assert!(!self.rooms.values().any(RoomLog::is_empty));
    }
}
