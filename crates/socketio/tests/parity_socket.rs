//! Behaviours of sockets and broadcasts that the official server's tests pin and no other file
//! here shows; see `docs/PARITY.md`.
#![allow(
    clippy::unwrap_used,
    reason = "clippy sees no tests in functions that tests share"
)]

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{A_MOMENT, Log, Running, writable};
use serde_json::{Value, json};
use socketio::{
    AckError, Args, ConnectError, Socket, SocketIo,
    handler::{Data, State},
};
use testkit::{Message, Polling, Rng, Upgrade, Ws};

async fn start() -> (Running, Log) {
    let log = Log::default();
    let io = SocketIo::builder().state(log.clone()).build();
    let errors = log.clone();
    io.on_error(move |report| errors.push(report));
    (Running::start(io).await, log)
}

fn bytes(count: usize) -> Bytes {
    Rng::new(count as u64).bytes(count).into()
}

/// A client in the namespace `/`, whatever its transport.
enum Client {
    Ws(Ws),
    Polling(Box<Polling>),
}

impl Client {
    async fn both(running: &Running) -> [(Self, Socket); 2] {
        let (ws, on_ws) = running.joined_as().await;
        let (session, on_polling) = running.polling_as().await;
        let session = Box::new(session);
        [(Self::Ws(ws), on_ws), (Self::Polling(session), on_polling)]
    }

    /// Makes the connection able to take a volatile event.
    async fn ready(&mut self, socket: &Socket) {
        if let Self::Polling(session) = self {
            session.send_poll().await;
        }
        writable(socket).await;
    }

    /// Sends a packet and its attachments.
    async fn send(&mut self, text: &str, attachments: &[&Bytes]) {
        match self {
            Self::Ws(ws) => {
                ws.text(text).await;
                for bytes in attachments {
                    ws.binary(bytes).await;
                }
            }
            Self::Polling(session) => {
                let mut body = text.to_owned();
                for bytes in attachments {
                    body += &format!("\x1eb{}", base64(bytes));
                }
                session.post_ok(&body).await;
            }
        }
    }

    /// All packets until the event `end`, which the server sends last; attachments in base64. For
    /// a polling client a poll is waiting.
    async fn until_end(&mut self) -> Vec<String> {
        let mut packets = Vec::new();
        while packets.last().is_none_or(|it| it != r#"42["end"]"#) {
            match self {
                Self::Ws(ws) => packets.push(match ws.recv().await {
                    Message::Text(text) => text,
                    Message::Binary(bytes) => format!("b{}", base64(&bytes)),
                    other => panic!("{other:?}"),
                }),
                Self::Polling(session) => {
                    let body = session.recv_poll().await;
                    packets.extend(body.text().split('\x1e').map(str::to_owned));
                    session.send_poll().await;
                }
            }
        }
        packets.pop();
        packets
    }
}

/// A sender of its own, so that the server's mistakes do not cancel out.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let number = (0..3).fold(0, |sum, at| {
            sum << 8 | u32::from(*chunk.get(at).unwrap_or(&0))
        });
        for at in 0..4 {
            let digit = ALPHABET[(number >> (18 - 6 * at) & 63) as usize];
            let is_there = at <= chunk.len();
            text.push(if is_there { digit.into() } else { '=' });
        }
    }
    text
}

fn placeholder(num: usize) -> Value {
    json!({ "_placeholder": true, "num": num })
}

// what events carry

#[tokio::test]
async fn events_of_several_types_with_bytes_among_them_come_and_go() {
    let (running, _) = start().await;
    let (image, small) = (bytes(36_000), Bytes::from_static(b"asdfasdf"));
    type Several = (u8, Bytes, String, Vec<u8>, Bytes, (Bytes, String, Bytes));
    running.io.on(
        "multiple",
        async |socket: Socket, Data(all): Data<Several>| {
            socket.emit("multiple", &all)?;
            socket.emit("end", &())
        },
    );
    let event = json!([
        "multiple",
        1,
        placeholder(0),
        "3",
        [4],
        placeholder(1),
        [placeholder(2), "swag", placeholder(3)],
    ]);
    let header = format!("454-{event}");
    let parts = [&image, &small, &image, &small];
    let mut expected = vec![header.clone()];
    expected.extend(parts.iter().map(|it| format!("b{}", base64(it))));
    for (mut client, socket) in Client::both(&running).await {
        client.ready(&socket).await;
        client.send(&header, &parts).await;
        let received = client.until_end().await;
        assert!(received == expected, "{}", received[0]);
    }
}

#[tokio::test]
async fn text_beyond_ascii_arrives_as_it_is() {
    let (running, _) = start().await;
    for (mut client, socket) in Client::both(&running).await {
        client.ready(&socket).await;
        for _ in 0..3 {
            socket.emit("hoot", "utf8 — string").unwrap();
        }
        socket.emit("end", &()).unwrap();
        let expected = r#"42["hoot","utf8 — string"]"#;
        assert_eq!(client.until_end().await, [expected; 3]);
    }
}

#[tokio::test]
async fn send_sends_the_event_message() {
    let (running, _) = start().await;
    let (mut ws, socket) = running.joined_as().await;
    socket.send("a").unwrap();
    running.io.send(&("b", 1)).unwrap();
    running.io.to(socket.id()).send(&()).unwrap();
    for packet in [
        r#"42["message","a"]"#,
        r#"42["message","b",1]"#,
        r#"42["message"]"#,
    ] {
        assert_eq!(ws.recv_text().await, packet);
    }
}

#[tokio::test]
async fn a_message_may_be_null() {
    let (running, log) = start().await;
    running.io.on(
        "message",
        async |State(log): State<Log>, Data(it): Data<Value>| {
            log.push(it);
        },
    );
    running.io.on(
        "message",
        async |State(log): State<Log>, Data(it): Data<Option<u8>>| {
            log.push(it.is_none());
        },
    );
    let mut ws = running.joined().await;
    ws.text(r#"42["message",null]"#).await;
    assert_eq!(log.lines(2).await, ["null", "true"]);
}

#[tokio::test]
async fn very_large_events_go_there_and_back() {
    let (running, _) = start().await;
    running.io.on("big", async |socket: Socket, args: Args| {
        socket.emit("big", &args)?;
        socket.emit("end", &())
    });
    let numbers: Vec<u32> = (0..100_000).collect();
    let text = format!(
        "42{}",
        json!(["big", { "hello": "friend", "json": numbers }])
    );
    let image = bytes(700_000);
    let header = r#"451-["big",{"hello":"friend","image":{"_placeholder":true,"num":0}}]"#;
    for (mut client, socket) in Client::both(&running).await {
        client.ready(&socket).await;
        for _ in 0..3 {
            client.send(&text, &[]).await;
            let received = client.until_end().await;
            assert!(received == [&*text]);
            client.send(header, &[&image]).await;
            let received = client.until_end().await;
            assert!(received == [header, &*format!("b{}", base64(&image))]);
        }
    }
}

#[tokio::test]
async fn a_namespace_is_told_its_own_auth_and_the_query_of_the_connection() {
    let (running, log) = start().await;
    running
        .io
        .of("/connection2")
        .on_connection(async |socket: Socket, State(log): State<Log>| {
            let handshake = socket.handshake();
            log.push(handshake.query_param("key1").is_none());
            log.push(handshake.query_param("EIO").unwrap());
            log.push(handshake.auth());
        });
    let mut ws = running.joined().await;
    ws.text(r#"40/connection2,{"key1":"aa","key2":"&=bb"}"#)
        .await;
    let expected = ["true", "4", r#"{"key1":"aa","key2":"&=bb"}"#];
    assert_eq!(log.lines(3).await, expected);
}

// volatile events

#[tokio::test]
async fn a_volatile_event_behind_a_regular_one_is_lost() {
    let (running, _) = start().await;
    for (mut client, socket) in Client::both(&running).await {
        client.ready(&socket).await;
        socket.emit("ev", "data").unwrap();
        assert_eq!(socket.volatile().emit("ev", "data"), Ok(false));
        socket.emit("end", &()).unwrap();
        assert_eq!(client.until_end().await, [r#"42["ev","data"]"#]);
    }
}

#[tokio::test]
async fn a_volatile_event_alone_arrives() {
    let (running, _) = start().await;
    for (mut client, socket) in Client::both(&running).await {
        client.ready(&socket).await;
        assert_eq!(socket.volatile().emit("ev", "data"), Ok(true));
        socket.emit("end", &()).unwrap();
        assert_eq!(client.until_end().await, [r#"42["ev","data"]"#]);
    }
}

#[tokio::test]
async fn of_two_volatile_events_the_first_arrives() {
    let (running, _) = start().await;
    for (mut client, socket) in Client::both(&running).await {
        client.ready(&socket).await;
        assert_eq!(socket.volatile().emit("ev", &1), Ok(true));
        assert_eq!(socket.volatile().emit("ev", &2), Ok(false));
        socket.emit("end", &()).unwrap();
        assert_eq!(client.until_end().await, [r#"42["ev",1]"#]);
    }
}

#[tokio::test]
async fn of_two_volatile_events_with_bytes_the_first_arrives_whole() {
    let (running, _) = start().await;
    let parts = [[1, 2, 3], [4, 5, 6]].map(|it| Bytes::copy_from_slice(&it));
    let header = r#"451-["ev",{"_placeholder":true,"num":0}]"#;
    for (mut client, socket) in Client::both(&running).await {
        client.ready(&socket).await;
        for part in &parts {
            socket.volatile().emit("ev", part).unwrap();
        }
        socket.emit("end", &()).unwrap();
        assert_eq!(client.until_end().await, [header, "bAQID"]);
    }
}

#[tokio::test]
async fn of_two_volatile_broadcasts_with_bytes_the_first_arrives_whole() {
    let (running, _) = start().await;
    let parts = [[1, 2, 3], [4, 5, 6]].map(|it| Bytes::copy_from_slice(&it));
    let header = r#"451-["ev",{"_placeholder":true,"num":0}]"#;
    let mut clients = Client::both(&running).await;
    for (client, socket) in &mut clients {
        client.ready(socket).await;
    }
    for part in &parts {
        running.io.volatile().emit("ev", part).unwrap();
    }
    running.io.emit("end", &()).unwrap();
    for (client, _) in &mut clients {
        assert_eq!(client.until_end().await, [header, "bAQID"]);
    }
}

#[tokio::test]
async fn regular_events_around_a_lost_volatile_one_arrive() {
    let (running, _) = start().await;
    for (mut client, socket) in Client::both(&running).await {
        client.ready(&socket).await;
        socket.emit("ev", &1).unwrap();
        assert_eq!(socket.volatile().emit("ev", &2), Ok(false));
        socket.emit("ev", &3).unwrap();
        socket.emit("end", &()).unwrap();
        let received = client.until_end().await;
        assert_eq!(received, [r#"42["ev",1]"#, r#"42["ev",3]"#]);
    }
}

// broadcasts

#[tokio::test]
async fn bytes_reach_everybody_in_a_namespace_and_nobody_else() {
    let (running, _) = start().await;
    running.io.of("/test");
    let mut clients = Client::both(&running).await;
    for (client, socket) in &mut clients {
        client.ready(socket).await;
    }
    let mut elsewhere = running.ws().await;
    elsewhere.text("40/test,").await;
    assert!(elsewhere.recv_text().await.starts_with("40/test,"));
    running.io.emit("bin", &Bytes::from(vec![0; 10])).unwrap();
    running.io.emit("end", &()).unwrap();
    let header = r#"451-["bin",{"_placeholder":true,"num":0}]"#;
    for (client, _) in &mut clients {
        let received = client.until_end().await;
        assert_eq!(received, [header, "bAAAAAAAAAAAAAA=="]);
    }
    elsewhere.silence(A_MOMENT).await;
}

#[tokio::test]
async fn bytes_for_a_room_reach_who_is_in_it_but_for_the_sender() {
    let (running, _) = start().await;
    let mut outside = running.joined().await;
    let (mut inside, socket) = running.joined_as().await;
    socket.join("test");
    let (mut sender, socket) = running.joined_as().await;
    socket.join("test");
    socket
        .broadcast()
        .to("test")
        .emit("bin", &Bytes::from(vec![0; 5]))
        .unwrap();
    socket.emit("bin2", &Bytes::from(vec![1; 5])).unwrap();
    let header = |event: &str| format!(r#"451-["{event}",{{"_placeholder":true,"num":0}}]"#);
    assert_eq!(inside.recv_text().await, header("bin"));
    assert_eq!(inside.recv_binary().await, [0; 5][..]);
    assert_eq!(sender.recv_text().await, header("bin2"));
    assert_eq!(sender.recv_binary().await, [1; 5][..]);
    for ws in [&mut outside, &mut inside, &mut sender] {
        ws.silence(A_MOMENT).await;
    }
}

// rooms

#[tokio::test]
async fn rooms_are_kept_track_of() {
    let (running, _) = start().await;
    let (_ws, socket) = running.joined_as().await;
    let has = |expected: &[&str]| {
        let rooms = socket.rooms();
        let rooms: Vec<_> = rooms.iter().map(|it| &**it).collect();
        assert_eq!(rooms, [&[socket.id()], expected].concat());
    };
    socket.join("a");
    has(&["a"]);
    socket.join("b");
    has(&["a", "b"]);
    socket.join("c");
    socket.leave("b");
    has(&["a", "c"]);
    socket.leave("unknown");
    has(&["a", "c"]);
    socket.join(["d", "e", "f"]);
    has(&["a", "c", "d", "e", "f"]);
    socket.disconnect();
    assert_eq!(socket.rooms().len(), 0);
}

#[tokio::test]
async fn rooms_joined_in_a_middleware_that_refuses_are_left() {
    let (running, log) = start().await;
    running
        .io
        .middleware(async |socket: Socket, State(log): State<Log>| {
            socket.join("room1");
            log.push(socket.rooms().len());
            Err::<(), _>(ConnectError::new("nope"))
        });
    let mut ws = running.ws().await;
    ws.text("40").await;
    assert_eq!(ws.recv_text().await, r#"44{"message":"nope"}"#);
    assert_eq!(log.lines(1).await, ["1"]);
    running.io.to("room1").emit("e", &()).unwrap();
    ws.silence(A_MOMENT).await;
}

// acknowledgements

#[tokio::test]
async fn a_wait_of_no_time_ends_before_the_answer_and_the_answer_does_no_harm() {
    let (running, _) = start().await;
    let (mut ws, socket) = running.joined_as().await;
    let echo = socket.emit_with_ack::<u8>("echo", &42);
    let answer = echo.timeout(Duration::ZERO).await;
    assert_eq!(answer, Err(AckError::Timeout));
    assert_eq!(ws.recv_text().await, r#"420["echo",42]"#);
    ws.text("430[42]").await;
    let answer = socket.emit_with_ack::<u8>("echo", &42);
    assert_eq!(ws.recv_text().await, r#"421["echo",42]"#);
    ws.text("431[42]").await;
    assert_eq!(answer.timeout(Duration::from_secs(5)).await, Ok(42));
}

// packets that are none

#[tokio::test]
async fn a_packet_that_is_none_costs_its_client_the_connection_and_nothing_else() {
    for (packet, error) in [
        ("5woooot", Some("Illegal attachments")),
        ("5", Some("Illegal attachments")),
        (r#"4["handle me please"]"#, None),
    ] {
        let (running, log) = start().await;
        let mut other = running.joined().await;
        let (mut session, _) = running.polling_as().await;
        let (mut ws, _) = Upgrade::run(&mut session).await;
        ws.text(&format!("4{packet}")).await;
        assert_eq!(ws.until_closed().await, []);
        if let Some(error) = error {
            assert_eq!(log.lines(1).await, [error]);
        }
        running.io.emit("still there", &()).unwrap();
        assert_eq!(other.recv_text().await, r#"42["still there"]"#);
    }
}
