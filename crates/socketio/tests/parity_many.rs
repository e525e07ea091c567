//! Behaviours of what concerns many sockets at once that the official server's tests pin; see
//! `docs/PARITY.md`.
#![allow(
    clippy::unwrap_used,
    reason = "clippy sees no tests in functions that tests share"
)]

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{A_MOMENT, Log, Running};
use socketio::{AckError, ConnectionStateRecovery, RemoteSocket, RoomEvent, Socket, SocketIo};
use testkit::{Message, Ws};

/// Clients in the namespace `/`, and their sockets.
async fn three(running: &Running) -> ([Ws; 3], [Socket; 3]) {
    let (a, first) = running.joined_as().await;
    let (b, second) = running.joined_as().await;
    let (c, third) = running.joined_as().await;
    ([a, b, c], [first, second, third])
}

/// Answers the one question that is sent to a client.
async fn answer(ws: &mut Ws, value: &str) {
    let packet = ws.recv_text().await;
    let id = packet.strip_prefix("42").expect(&packet);
    let id = id.split_once('[').expect(&packet).0;
    ws.text(&format!("43{id}[{value}]")).await;
}

/// A time that is up long after the test.
const LONG: Duration = Duration::from_secs(60);

// acknowledgements

#[tokio::test]
async fn everybody_acknowledges_a_broadcast() {
    let running = Running::start(SocketIo::new()).await;
    let (mut clients, _) = three(&running).await;
    let question = running.io.timeout(LONG);
    let answers = question.emit_with_ack::<u8>("some event", &());
    for (ws, value) in clients.iter_mut().zip(["1", "2", "3"]) {
        answer(ws, value).await;
    }
    let mut responses = answers.await.unwrap();
    responses.sort_unstable();
    assert_eq!(responses, [1, 2, 3]);
}

#[tokio::test]
async fn answers_are_told_one_after_the_other_too() {
    let running = Running::start(SocketIo::new()).await;
    let (mut clients, _) = three(&running).await;
    let mut answers = running.io.emit_with_ack::<u8>("some event", &());
    for (ws, value) in clients.iter_mut().zip([1, 2, 3]) {
        answer(ws, &value.to_string()).await;
        assert_eq!(answers.next().await, Some(Ok(value)));
    }
    assert_eq!(answers.next().await, None);
}

#[tokio::test]
async fn who_does_not_acknowledge_a_broadcast_in_time_is_left_out_and_owes_nothing() {
    let io = SocketIo::builder().max_pending_acks(1).build();
    let running = Running::start(io).await;
    let (mut clients, sockets) = three(&running).await;
    let question = running.io.timeout(Duration::from_millis(200));
    let answers = question.emit_with_ack::<u8>("some event", &());
    for (ws, value) in clients.iter_mut().zip(["1", "2"]) {
        answer(ws, value).await;
    }
    let error = answers.await.unwrap_err();
    let mut responses = error.responses;
    responses.sort_unstable();
    assert_eq!(responses, [1, 2]);
    assert_eq!(error.errors, [AckError::Timeout]);
    // Nobody may owe more than one answer.
    clients[2].recv_text().await;
    let again = sockets[2].emit_with_ack::<u8>("again", &());
    answer(&mut clients[2], "4").await;
    assert_eq!(again.await, Ok(4));
}

#[tokio::test]
async fn a_broadcast_to_nobody_is_acknowledged_at_once() {
    let running = Running::start(SocketIo::new()).await;
    let (mut clients, _) = three(&running).await;
    let question = running.io.to("room123").timeout(LONG);
    let answers = question.emit_with_ack::<u8>("some event", &());
    assert_eq!(answers.await.unwrap(), [0; 0]);
    for ws in &mut clients {
        ws.silence(A_MOMENT / 3).await;
    }
}

#[tokio::test]
async fn bytes_acknowledge_a_broadcast() {
    let running = Running::start(SocketIo::new()).await;
    let (mut clients, _) = three(&running).await;
    let question = running.io.timeout(LONG);
    let answers = question.emit_with_ack::<Bytes>("some event", &Bytes::from_static(&[0]));
    for (ws, value) in clients.iter_mut().zip([1, 2, 3]) {
        let header = ws.recv_text().await;
        assert_eq!(ws.recv_binary().await, [0][..]);
        let id = header.strip_prefix("451-").expect(&header);
        let id = id.split_once('[').expect(&header).0;
        let ack = format!(r#"461-{id}[{{"_placeholder":true,"num":0}}]"#);
        ws.text(&ack).await;
        ws.binary([value]).await;
    }
    let mut responses = answers.await.unwrap();
    responses.sort_unstable();
    assert_eq!(responses, [&[1][..], &[2], &[3]]);
}

// which sockets there are

fn ids(sockets: &[RemoteSocket]) -> Vec<&str> {
    let mut ids: Vec<_> = sockets.iter().map(RemoteSocket::id).collect();
    ids.sort_unstable();
    ids
}

fn sorted<const N: usize>(sockets: [&Socket; N]) -> [&str; N] {
    let mut ids = sockets.map(Socket::id);
    ids.sort_unstable();
    ids
}

#[tokio::test]
async fn sockets_can_be_fetched_with_what_is_known_of_them() {
    let running = Running::start(SocketIo::new()).await;
    let (_clients, [a, b, c]) = three(&running).await;
    a.join(["room1", "room2"]);
    b.join("room1");
    c.join("room2");
    a.set_data(&serde_json::json!({ "username": "john" }))
        .unwrap();
    let io = &running.io;
    let all = io.fetch_sockets().await.unwrap();
    assert_eq!(ids(&all), sorted([&a, &b, &c]));
    let some = io.in_("room1").fetch_sockets().await.unwrap();
    assert_eq!(ids(&some), sorted([&a, &b]));
    let one = io.in_("room1").except("room2").fetch_sockets().await;
    assert_eq!(ids(&one.unwrap()), [b.id()]);
    let none = io.in_("nowhere").fetch_sockets().await.unwrap();
    assert_eq!(ids(&none), [""; 0]);

    let of_a = io.in_(a.id()).fetch_sockets().await.unwrap();
    let [of_a] = &of_a[..] else {
        panic!("{} sockets", of_a.len())
    };
    let rooms: Vec<_> = of_a.rooms().iter().map(|it| &**it).collect();
    assert_eq!(rooms, [a.id(), "room1", "room2"]);
    assert_eq!(of_a.data(), &serde_json::json!({ "username": "john" }));
    assert_eq!(of_a.socket(), Some(&a));
}

#[tokio::test]
async fn the_sockets_of_a_namespace_are_its_own() {
    let running = Running::start(SocketIo::new()).await;
    let chat = running.io.of("/chat");
    let (mut ws, elsewhere) = running.joined_as().await;
    for packet in ["40/chat,", "40/other,"] {
        running.io.of("/other");
        ws.text(packet).await;
        assert!(ws.recv_text().await.starts_with(packet));
    }
    let mut other = running.ws().await;
    other.text("40/chat,").await;
    other.recv_text().await;
    let sockets = chat.fetch_sockets().await.unwrap();
    assert_eq!(sockets.len(), 2);
    assert!(!ids(&sockets).contains(&elsewhere.id()));
    sockets[0].join(["foo", "both"]);
    sockets[1].join(["bar", "both"]);
    let foo = chat.in_("foo").fetch_sockets().await.unwrap();
    assert_eq!(ids(&foo), [sockets[0].id()]);
    // Also if it is in several of the rooms.
    let both = chat.in_("foo").in_("bar").in_("both").fetch_sockets().await;
    assert_eq!(both.unwrap().len(), 2);
    assert_eq!(running.io.in_("foo").sockets(), []);
}

fn is_in(socket: &Socket, room: &str) -> bool {
    socket.rooms().iter().any(|it| **it == *room)
}

#[tokio::test]
async fn sockets_can_be_made_to_join() {
    let running = Running::start(SocketIo::new()).await;
    let (_clients, [a, b, c]) = three(&running).await;
    running.io.sockets_join("room1");
    assert!([&a, &b, &c].iter().all(|it| is_in(it, "room1")));
    c.leave("room1");
    running.io.in_("room1").sockets_join(["room2", "room3"]);
    for room in ["room2", "room3"] {
        let inside = [&a, &b, &c].map(|it| is_in(it, room));
        assert_eq!(inside, [true, true, false]);
    }
}

#[tokio::test]
async fn sockets_can_be_made_to_leave() {
    let running = Running::start(SocketIo::new()).await;
    let (_clients, [a, b, c]) = three(&running).await;
    a.join(["room1", "room2"]);
    b.join("room1");
    c.join("room2");
    running.io.in_("room2").sockets_leave("room1");
    assert!(is_in(&a, "room2") && !is_in(&a, "room1"));
    assert!(is_in(&b, "room1"));
    running.io.sockets_leave("room1");
    assert!(!is_in(&b, "room1"));
    assert!(is_in(&a, "room2") && is_in(&c, "room2"));
}

#[tokio::test]
async fn sockets_can_be_disconnected_together() {
    for close in [false, true] {
        let running = Running::start(SocketIo::new()).await;
        let ([mut a, mut b, mut c], [first, second, third]) = three(&running).await;
        first.join(["room1", "room2"]);
        second.join("room1");
        third.join("room2");
        running.io.emit("last words", &()).unwrap();
        running.io.in_("room2").disconnect_sockets(close);
        let last = Message::Text(r#"42["last words"]"#.into());
        for ws in [&mut a, &mut c] {
            assert_eq!(ws.recv().await, last);
            assert_eq!(ws.recv_text().await, "41");
            match close {
                true => assert_eq!(ws.until_closed().await, []),
                false => ws.silence(A_MOMENT / 3).await,
            }
        }
        assert!(second.connected() && !first.connected() && !third.connected());
        running.io.disconnect_sockets(close);
        assert_eq!(b.recv().await, last);
        assert_eq!(b.recv_text().await, "41");
        assert!(running.io.of("/").is_empty());
    }
}

#[tokio::test]
async fn who_is_told_of_rooms_may_change_them() {
    let recovery = ConnectionStateRecovery::new();
    for builder in [
        SocketIo::builder(),
        SocketIo::builder().connection_state_recovery(recovery),
    ] {
        let running = Running::start(builder.build()).await;
        let (io, log) = (running.io.clone(), Log::default());
        let told = log.clone();
        running.io.of("/").on_room_event(move |event| {
            let socket = |id: &str| io.of("/").socket(id);
            let (line, room) = match event {
                RoomEvent::Created { room } => ("create", room),
                RoomEvent::Joined { room, id } => {
                    assert!(socket(id).is_none_or(|it| is_in(&it, room)));
                    ("join", room)
                }
                RoomEvent::Left { room, id } => {
                    if let Some(socket) = socket(id) {
                        socket.leave(room);
                        socket.leave("room2");
                    }
                    ("leave", room)
                }
                RoomEvent::Deleted { room } => ("delete", room),
                _ => return,
            };
            if room.starts_with("room") {
                told.push(format!("{line} {room}"));
            }
        });
        let mut ws = running.ws().await;
        ws.text("40").await;
        ws.recv_text().await;
        let socket = running.io.sockets().remove(0);
        socket.join(["room1", "room2"]);
        socket.leave("room1");
        socket.join("room3");
        socket.disconnect();
        let expected = [
            "create room1",
            "join room1",
            "create room2",
            "join room2",
            "leave room1",
            "delete room1",
            "leave room2",
            "delete room2",
            "create room3",
            "join room3",
            "leave room3",
            "delete room3",
        ];
        assert_eq!(log.lines(expected.len()).await, expected);
    }
}

// compression

#[tokio::test]
async fn events_are_compressed_unless_they_are_not_to_be() {
    let recovery = ConnectionStateRecovery::new();
    for builder in [
        SocketIo::builder(),
        SocketIo::builder().connection_state_recovery(recovery),
    ] {
        let io = builder.build();
        io.of("/chat");
        assert_compression(&Running::start(io).await).await;
    }
}

async fn assert_compression(running: &Running) {
    let mut session = running.poll().await;
    session.post_ok("40/chat,").await;
    session.poll_text().await;
    let chat = running.io.of("/chat");
    let socket = &chat.sockets().remove(0);
    let text = &"hi ".repeat(1000);
    let ways: [(&dyn Fn(), bool); 7] = [
        (&|| socket.emit("woot", text).unwrap(), true),
        (
            &|| assert!(socket.compress(true).emit("woot", text).unwrap()),
            true,
        ),
        (
            &|| assert!(socket.compress(false).emit("woot", text).unwrap()),
            false,
        ),
        (
            &|| drop(socket.compress(false).emit_with_ack::<()>("woot", text)),
            false,
        ),
        (&|| chat.emit("woot", text).unwrap(), true),
        (&|| chat.compress(false).emit("woot", text).unwrap(), false),
        (
            &|| drop(chat.compress(false).emit_with_ack::<()>("woot", text)),
            false,
        ),
    ];
    let url = session.url();
    for (number, (emit, compressed)) in ways.into_iter().enumerate() {
        emit();
        let http = session.get_connection();
        let headers = [("Accept-Encoding", "gzip")];
        let response = http.request("GET", &url, &headers, "").await;
        let coding = response.header("content-encoding");
        assert_eq!(coding, compressed.then_some("gzip"), "way {number}");
    }
}
