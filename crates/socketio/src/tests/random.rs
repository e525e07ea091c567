//! Random clients and servers that keep to the protocol: nothing is lost, nothing is out of order,
//! nothing is left behind.

use std::{collections::BTreeMap, sync::Arc};

use engineio::CloseReason;
use proptest::prelude::*;
use tokio::sync::Semaphore;

use super::peer::{Log, Peer, server_with};
use crate::{
    Socket,
    handler::{Data, State},
};

#[derive(Clone, Copy, Debug)]
enum Op {
    Join(usize),
    Leave(usize),
    /// An event for which nobody waits for a permit, or its handler, or a packet middleware.
    Event(usize, u8),
    Permit(u8),
    Kick(usize),
}

const NAMESPACES: [&str; 2] = ["/", "/b"];

fn op() -> impl Strategy<Value = Op> {
    let at = 0..NAMESPACES.len();
    prop_oneof![
        2 => at.clone().prop_map(Op::Join),
        1 => at.clone().prop_map(Op::Leave),
        6 => (at.clone(), 0..3u8).prop_map(|(at, waits)| Op::Event(at, waits)),
        2 => (1..4u8).prop_map(Op::Permit),
        1 => at.prop_map(Op::Kick),
    ]
}

/// What became of one stay in a namespace.
#[derive(Debug, Default)]
struct Stay {
    sent: Vec<usize>,
    kicked: bool,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_stay_is_told_in_order(
        ops in proptest::collection::vec(op(), 1..60),
        max_in_flight in 1..4usize,
        slow_start in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.expect("a runtime").block_on(run(ops, max_in_flight, slow_start));
    }
}

async fn run(ops: Vec<Op>, max_in_flight: usize, slow_start: bool) {
    let gate = Arc::new(Semaphore::new(0));
    let (io, log) = server_with(|builder| {
        let builder = builder.max_in_flight(max_in_flight).max_waiting(4, 1000);
        builder.state(gate.clone()).state(slow_start)
    });
    for name in NAMESPACES {
        io.of(name)
            .on_connection(
                async |socket: Socket,
                       State(log): State<Log>,
                       State(slow): State<bool>,
                       State(gate): State<Arc<Semaphore>>| {
                    if slow {
                        gate.acquire().await.unwrap().forget();
                    }
                    log.push(format!("{} connected", socket.id()));
                },
            )
            .on(
                "e",
                async |socket: Socket,
                       State(log): State<Log>,
                       State(gate): State<Arc<Semaphore>>,
                       Data((n, waits)): Data<(usize, u8)>| {
                    log.push(format!("{} {n}", socket.id()));
                    if waits == 1 {
                        gate.acquire().await.unwrap().forget();
                    }
                },
            )
            .packet_middleware(
                async |State(gate): State<Arc<Semaphore>>, Data((_, waits)): Data<(usize, u8)>| {
                    if waits == 2 {
                        gate.acquire().await.unwrap().forget();
                    }
                },
            )
            .on_disconnecting(
                async |socket: Socket,
                       State(slow): State<bool>,
                       State(gate): State<Arc<Semaphore>>| {
                    if slow {
                        gate.acquire().await.unwrap().forget();
                    }
                    assert!(!socket.rooms().is_empty());
                },
            )
            .on_disconnect(async |socket: Socket, State(log): State<Log>| {
                log.push(format!("{} disconnected", socket.id()));
            });
    }

    let mut peer = Peer::open(&io).await;
    let mut stays = BTreeMap::<String, Stay>::new();
    let mut joined: [Option<Socket>; 2] = [None, None];
    for (n, op) in ops.into_iter().enumerate() {
        if !peer.is_ready() {
            // what the driver does: nothing is read until there is room
            gate.add_permits(1);
            peer.turn();
            continue;
        }
        let prefix = |at: usize| match at {
            0 => String::new(),
            at => format!("{},", NAMESPACES[at]),
        };
        match op {
            Op::Join(at) if joined[at].is_none() => {
                peer.send(&format!("0{}", prefix(at)));
                // It may have to wait until an earlier stay is over.
                let socket = loop {
                    let socket = peer.client.socket(NAMESPACES[at]);
                    let is_new = |it: &Socket| it.connected() && !stays.contains_key(it.id());
                    if socket.as_ref().is_some_and(is_new) {
                        break socket;
                    }
                    gate.add_permits(1);
                    peer.settle().await;
                };
                let id = socket.as_ref().map(|it| it.id().to_owned());
                stays.insert(id.unwrap(), Stay::default());
                joined[at] = socket;
            }
            Op::Leave(at) if joined[at].take().is_some() => peer.send(&format!("1{}", prefix(at))),
            Op::Event(at, waits) => {
                if let Some(socket) = &joined[at] {
                    stays.get_mut(socket.id()).unwrap().sent.push(n);
                    peer.send(&format!(r#"2{}["e",{n},{waits}]"#, prefix(at)));
                }
            }
            Op::Permit(count) => {
                gate.add_permits(count.into());
                peer.settle().await;
            }
            Op::Kick(at) => {
                if let Some(socket) = joined[at].take() {
                    socket.disconnect();
                    stays.get_mut(socket.id()).unwrap().kicked = true;
                    peer.turn();
                }
            }
            Op::Join(_) | Op::Leave(_) => {}
        }
        assert!(!peer.is_closed(), "nobody broke the protocol");
    }
    peer.close(CloseReason::TransportClose);
    gate.add_permits(1000);
    peer.settle().await;
    assert!(peer.turn(), "nothing is in flight");

    let mut told = BTreeMap::<String, Vec<String>>::new();
    for line in log.take() {
        let (id, what) = line.split_once(' ').unwrap();
        told.entry(id.to_owned()).or_default().push(what.to_owned());
    }
    for (id, stay) in &stays {
        let told = told.remove(id).unwrap();
        let sent: Vec<_> = stay.sent.iter().map(usize::to_string).collect();
        if stay.kicked {
            // What waits when the server disconnects a socket is dropped, and a connection
            // handler may end after it.
            let events: Vec<_> = told.iter().filter(|it| it.parse::<u32>().is_ok()).collect();
            assert!(
                sent.iter().collect::<Vec<_>>().starts_with(&events),
                "{told:?}"
            );
            assert_eq!(told.iter().filter(|it| *it == "disconnected").count(), 1);
        } else {
            let mut expected = vec![String::from("connected")];
            expected.extend(sent);
            expected.push("disconnected".into());
            assert_eq!(told, expected);
        }
    }
    assert!(told.is_empty(), "{told:?}");
    for name in NAMESPACES {
        assert!(io.of(name).is_empty());
    }
}
