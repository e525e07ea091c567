//! Clients that come and go while many threads send: whoever is recovered has got every event once
//! and in order.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use engineio::CloseReason;
use tokio::runtime::Handle;

use super::{
    peer::{Peer, server_with},
    recovery::{Session, reconnect},
};
use crate::{ConnectionStateRecovery, RoomEvent, Socket, SocketIo, handler::guarded};

/// How often each client loses its connection.
const LOSSES: usize = 150;

/// A client that loses its connection again and again, each time with what was under way to it.
struct Wanderer {
    io: SocketIo,
    peer: Peer,
    session: Session,
    /// What has arrived.
    events: Vec<String>,
    /// Connections that the server does not know yet to be dead.
    dead: Vec<Peer>,
    random: u64,
}

impl Wanderer {
    async fn new(io: &SocketIo, seed: u64) -> Self {
        let mut peer = Peer::open(io).await;
        peer.send("0");
        let session = Session::of(&peer.received());
        peer.socket().join("room");
        Self {
            io: io.clone(),
            peer,
            session,
            events: Vec::new(),
            dead: Vec::new(),
            random: seed,
        }
    }

    fn read(&mut self) {
        let packets = self.peer.received();
        self.events.extend(self.session.read(&packets));
    }

    async fn lose(&mut self) {
        let packets = self.peer.received();
        let arrived = self.random(packets.len() + 1);
        self.events.extend(self.session.read(&packets[..arrived]));
        let at_once = self.random(2) == 0;
        if at_once {
            self.peer.close(CloseReason::TransportClose);
        }
        if self.random(3) == 0 {
            thread::sleep(Duration::from_micros(200));
        }
        let (peer, missed, recovered) = reconnect(&self.io, &mut self.session).await;
        assert!(recovered);
        self.events.extend(missed);
        let old = std::mem::replace(&mut self.peer, peer);
        if !at_once {
            self.dead.push(old);
        }
        if self.dead.len() > 3 {
            for mut dead in self.dead.drain(..) {
                dead.turn();
                assert!(dead.is_closed());
            }
        }
    }

    fn random(&mut self, below: usize) -> usize {
        self.random = self
            .random
            .wrapping_mul(6364136223846793005)
            .wrapping_add(1);
        (self.random >> 33) as usize % below
    }
}

/// The events of each sender, each once and in order.
fn check(events: &[String], name: &str, sent: usize) {
    let prefix = format!(r#"["{name}","#);
    let numbers: Vec<usize> = events
        .iter()
        .filter_map(|it| it.strip_prefix(&prefix)?.strip_suffix(']')?.parse().ok())
        .collect();
    let wrong = numbers.iter().enumerate().find(|(at, it)| at != *it);
    assert_eq!(wrong, None, "{name}: of {sent}");
    assert_eq!(numbers.len(), sent, "{name}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_arrives_once_and_in_order() {
    let (io, _) =
        server_with(|builder| builder.connection_state_recovery(ConnectionStateRecovery::new()));
    let runtime = Handle::current();
    let mut clients = Vec::new();
    for seed in 0..3 {
        clients.push(Wanderer::new(&io, seed).await);
    }
    let ids: Vec<_> = clients.iter().map(|it| it.session.sid.clone()).collect();
    let main = io.of("/");
    let handles: Vec<_> = ids.iter().map(|id| main.socket(id).unwrap()).collect();
    let done = AtomicBool::new(false);
    let finished = AtomicUsize::new(0);
    let sent: Vec<AtomicUsize> = (0..5).map(|_| AtomicUsize::new(0)).collect();
    let clients = tokio::task::block_in_place(|| {
        thread::scope(|scope| {
            for sender in 0..5 {
                let (io, ids, handles, done, sent) = (&io, &ids, &handles, &done, &sent);
                scope.spawn(move || {
                    let mut number = 0;
                    while !done.load(Ordering::SeqCst) {
                        match sender {
                            0 => io.emit("all", &number).unwrap(),
                            1 => io.to("room").emit("room", &number).unwrap(),
                            2 => io
                                .to(["room", "x"])
                                .except("y")
                                .emit("rooms", &number)
                                .unwrap(),
                            3 => ids
                                .iter()
                                .for_each(|id| io.to(id).emit("id", &number).unwrap()),
                            _ => handles
                                .iter()
                                .for_each(|it| it.emit("own", &number).unwrap()),
                        }
                        number += 1;
                        if number % 8 == 0 {
                            thread::sleep(Duration::from_micros(300));
                        }
                    }
                    sent[sender].store(number, Ordering::SeqCst);
                });
            }
            let clients: Vec<_> = clients
                .into_iter()
                .map(|mut client| {
                    let (runtime, done, finished) = (runtime.clone(), &done, &finished);
                    scope.spawn(move || {
                        let outcome = guarded(|| {
                            runtime.block_on(async {
                                for _ in 0..LOSSES {
                                    client.lose().await;
                                }
                            });
                        });
                        if outcome.is_err() || finished.fetch_add(1, Ordering::SeqCst) == 2 {
                            done.store(true, Ordering::SeqCst);
                        }
                        outcome.expect("every loss is recovered from");
                        client
                    })
                })
                .collect();
            clients
                .into_iter()
                .map(|it| it.join().unwrap())
                .collect::<Vec<_>>()
        })
    });
    for mut client in clients {
        client.read();
        for (name, sent) in ["all", "room", "rooms", "id", "own"].iter().zip(&sent) {
            check(&client.events, name, sent.load(Ordering::SeqCst));
        }
    }
}

/// Whoever sends has not seen them yet when it encodes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn old_clients_that_come_while_others_send_see_no_offset() {
    for _ in 0..40 {
        let recovery = ConnectionStateRecovery::new();
        let (io, _) = server_with(|builder| builder.connection_state_recovery(recovery));
        let mut others = Vec::new();
        for _ in 0..64 {
            let mut other = Peer::open(&io).await;
            other.send("0");
            others.push(other);
        }
        let done = AtomicBool::new(false);
        let mut old = Peer::open_later(&io).await;
        thread::scope(|scope| {
            let sender = scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    io.emit("e", &1).unwrap();
                }
            });
            thread::sleep(Duration::from_micros(500));
            old.turn();
            done.store(true, Ordering::SeqCst);
            sender.join().unwrap();
        });
        let packets = old.received();
        assert_eq!(packets[0], "0");
        let wrong = packets[1..].iter().find(|it| *it != r#"2["e",1]"#);
        assert_eq!(wrong, None);
    }
}

/// Whoever is told of something may use everything that others use at the same time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_somebody_who_waits() {
    let recovery = ConnectionStateRecovery::new().max_bytes(200_000);
    let (io, _) = server_with(|builder| builder.connection_state_recovery(recovery));
    let main = io.of("/");
    main.on_room_event({
        let io = io.clone();
        move |event| {
            if let RoomEvent::Joined { room, id } | RoomEvent::Left { room, id } = event {
                io.to(room).emit("room", &()).unwrap();
                if let Some(socket) = io.of("/").socket(id) {
                    socket.rooms();
                    socket.leave("2");
                    socket.emit("you", &()).unwrap();
                }
            }
        }
    });
    main.on_any_outgoing({
        let io = io.clone();
        move |socket, event| {
            if event.name() == "all" {
                socket.join("1");
                io.to("1").emit("heard", &()).unwrap();
                socket.leave("1");
            }
        }
    });
    main.on_disconnect(async |socket: Socket| {
        socket.emit("late", &()).unwrap();
        socket.to("2").emit("late", &()).unwrap();
    });
    let runtime = Handle::current();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let (io, done, runtime) = (&io, &done, &runtime);
        for worker in 0..4 {
            scope.spawn(move || {
                while !done.load(Ordering::SeqCst) {
                    match worker {
                        0 => io.emit("all", &()).unwrap(),
                        1 => io.sockets_join(["1", "2"]),
                        2 => {
                            io.sockets_leave("2");
                            drop(io.emit_with_ack::<u8>("?", &()));
                        }
                        _ => {
                            let data = |socket: &Socket| socket.set_data(&1).unwrap();
                            io.sockets().iter().for_each(data);
                            io.to("1").disconnect_sockets(false);
                        }
                    }
                    thread::sleep(Duration::from_micros(50));
                }
            });
        }
        let clients = [(); 2].map(|()| {
            scope.spawn(move || {
                runtime.block_on(async {
                    let mut dead = Vec::new();
                    let mut auth = String::new();
                    for round in 0..150 {
                        let mut peer = Peer::open(io).await;
                        peer.send(&format!("0{auth}"));
                        if round % 4 > 0 {
                            let packets = peer.received();
                            let connect = packets.iter().find(|it| it.starts_with('0'));
                            auth = connect.map_or_else(String::new, |it| it[1..].to_owned());
                        }
                        match round % 3 {
                            0 => {
                                peer.close(CloseReason::TransportClose);
                            }
                            1 => drop(peer),
                            _ => dead.push(peer),
                        }
                        for peer in &mut dead {
                            peer.turn();
                        }
                    }
                });
            })
        });
        let outcomes = clients.map(|client| client.join());
        done.store(true, Ordering::SeqCst);
        outcomes.into_iter().for_each(|it| it.unwrap());
    });
    let used = main.recovery().unwrap().budget().used();
    assert!(used <= 200_000, "{used}");
}
