//! Handlers that still see the rooms of a socket that has been disconnected.

use std::sync::Arc;

use engineio::CloseReason;
use tokio::sync::Semaphore;

use super::peer::{Log, Peer, server, server_with};
use crate::{
    DisconnectReason, Socket, SocketIo,
    handler::{Disconnect, State},
};

fn rooms(socket: &Socket) -> String {
    let own = socket.id().to_owned();
    let rooms = socket.rooms();
    let names = rooms.iter().map(|it| if **it == *own { "own" } else { it });
    names.collect::<Vec<_>>().join(" ")
}

fn watched() -> (SocketIo, Log) {
    let (io, log) = server();
    io.of("/").on_disconnecting(
        async |State(log): State<Log>, socket: Socket, reason: DisconnectReason| {
            assert!(!socket.connected());
            log.push(format!("disconnecting [{}] {reason}", rooms(&socket)));
        },
    );
    io.on_disconnect(async |State(log): State<Log>, socket: Socket| {
        log.push(format!("disconnect [{}]", rooms(&socket)));
    });
    (io, log)
}

#[tokio::test]
async fn rooms_are_there_while_disconnecting_and_gone_when_disconnected() {
    type End = (fn(&mut Peer), &'static str);
    let ends: [End; 4] = [
        (|peer| peer.send("1"), "client namespace disconnect"),
        (
            |peer| {
                peer.socket().disconnect();
                peer.turn();
            },
            "server namespace disconnect",
        ),
        (
            |peer| assert!(peer.close(CloseReason::TransportClose)),
            "transport close",
        ),
        (|peer| peer.send("2{}"), "forced server close"),
    ];
    for (end, reason) in ends {
        let (io, log) = watched();
        let mut peer = Peer::connect(&io).await;
        let socket = peer.socket();
        socket.join(["a", "b"]);
        end(&mut peer);
        let lines = log.take();
        let expected = [
            format!("disconnecting [own a b] {reason}"),
            "disconnect []".into(),
        ];
        assert_eq!(lines[lines.len() - 2..], expected);
        assert_eq!(io.of("/").registry().room_count(), 0);
        assert!(socket.rooms().is_empty());
    }
}

#[tokio::test]
async fn the_rooms_that_a_socket_was_in_can_be_told() {
    let (io, _) = server();
    io.of("/").on_disconnecting(async |socket: Socket| {
        for room in socket.rooms() {
            socket.to(&room).emit("left", &&*room).unwrap();
        }
    });
    let (mut one, mut two) = (Peer::connect(&io).await, Peer::connect(&io).await);
    one.socket().join(["x", "y"]);
    two.socket().join("x");
    one.send("1");
    assert_eq!(two.received_one(), r#"2["left","x"]"#);
    assert!(one.received().is_empty(), "it is reached no more");
}

#[tokio::test]
async fn what_came_before_is_handled_before() {
    let (io, log) = watched();
    let gate = Arc::new(Semaphore::new(0));
    let key = gate.clone();
    io.on_connection(move || {
        let gate = key.clone();
        async move { gate.acquire_owned().await.unwrap().forget() }
    });
    io.on("e", async |State(log): State<Log>| log.push("e"));
    let mut peer = Peer::connect(&io).await;
    peer.send(r#"2["e"]"#);
    peer.send("1");
    assert!(log.take().is_empty());
    gate.add_permits(1);
    peer.settle().await;
    assert_eq!(
        log.take(),
        [
            "e",
            "disconnecting [own] client namespace disconnect",
            "disconnect []"
        ]
    );
}

#[tokio::test]
async fn disconnection_handlers_wait_for_those_of_disconnecting() {
    let gate = Arc::new(Semaphore::new(0));
    let (io, log) = server_with(|builder| builder.max_in_flight(2));
    io.of("/other");
    let key = gate.clone();
    let main = io.of("/");
    main.on_disconnecting(move |socket: Socket, State(log): State<Log>| {
        let gate = key.clone();
        async move {
            log.push("begin");
            gate.acquire_owned().await.unwrap().forget();
            log.push(rooms(&socket));
        }
    })
    .on_disconnecting(async |State(log): State<Log>| log.push("beside it"));
    main.on_disconnect(async |State(log): State<Log>| log.push("end"));
    let mut peer = Peer::connect(&io).await;
    let socket = peer.socket();
    socket.on_disconnecting(async |State(log): State<Log>| log.push("own"));
    socket.on_disconnect(async |State(log): State<Log>| log.push("own end"));
    peer.send("1");
    assert_eq!(log.take(), ["begin", "beside it", "own"]);
    // the client may come back meanwhile
    let second = peer.join("/");
    assert_ne!(second, socket.id());
    gate.add_permits(1);
    peer.settle().await;
    assert_eq!(log.take(), ["own", "end", "own end"]);
    assert!(peer.turn());
}

#[tokio::test]
async fn handlers_of_a_socket_that_never_hears_of_its_end_are_freed() {
    let (io, _) = server();
    io.of("/")
        .on_disconnecting(async || std::future::pending::<()>().await);
    let value = Arc::new(());
    let held = Arc::downgrade(&value);
    let mut peer = Peer::connect(&io).await;
    let (socket, own) = (peer.socket(), peer.socket());
    socket.on_disconnect(move || {
        let _ = (&value, &own);
        async {}
    });
    peer.send("1");
    assert_eq!(held.strong_count(), 1);
    drop(peer);
    assert_eq!(held.strong_count(), 0);
}

#[tokio::test]
async fn errors_are_reported_and_keep_nobody_from_the_end() {
    let (io, log) = server();
    io.of("/")
        .on_disconnecting(async || Err("not saved"))
        .on_disconnecting(async || {
            if true {
                panic!("broken");
            }
        })
        .on_disconnect(async |State(log): State<Log>| log.push("end"));
    let mut peer = Peer::connect(&io).await;
    peer.send("1");
    assert_eq!(
        log.take(),
        ["error not saved", "error panicked: broken", "end"]
    );
}

#[tokio::test]
async fn a_disconnection_is_described_if_there_is_more_to_say() {
    let (io, log) = server();
    io.on_disconnect(async |State(log): State<Log>, context: Disconnect| {
        log.push(format!("{} {:?}", context.reason(), context.description()));
    });
    let mut peer = Peer::connect(&io).await;
    peer.send("1");
    assert_eq!(log.take(), ["client namespace disconnect None"]);
    peer.join("/");
    peer.send("abc");
    let lines = log.take();
    assert_eq!(lines[0], "error unknown packet type NaN");
    assert_eq!(
        lines[1],
        r#"forced server close Some("unknown packet type NaN")"#
    );
}
