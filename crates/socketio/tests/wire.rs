//! The rules that need a whole server: transports, closing, timing.
#![allow(
    clippy::unwrap_used,
    reason = "clippy sees no tests in functions that tests share"
)]

mod common;

use std::{sync::Arc, time::Duration};

use common::{A_MOMENT, Log, PATH, Running, writable};
use engineio::CloseReason;
use socketio::{
    ConnectError, ConnectionStateRecovery, DisconnectReason, Socket, SocketIo,
    handler::{Data, State},
};
use testkit::{Message, Polling, Upgrade, Ws};
use tokio::{sync::Semaphore, time::sleep};

/// A server that logs why sockets leave.
fn logging(change: impl FnOnce(socketio::Builder) -> socketio::Builder) -> (SocketIo, Log) {
    let log = Log::default();
    let io = change(SocketIo::builder().state(log.clone())).build();
    for name in ["/", "/other"] {
        io.of(name)
            .on_disconnect(async |State(log): State<Log>, reason: DisconnectReason| {
                log.push(reason);
            });
    }
    (io, log)
}

async fn start() -> (Running, Log) {
    let (io, log) = logging(|builder| builder);
    (Running::start(io).await, log)
}

#[tokio::test]
async fn polling_then_websocket() {
    let (running, _) = start().await;
    running
        .io
        .on("echo", async |socket: Socket, Data(n): Data<u8>| {
            socket.emit("echo", &n)
        });
    let (mut session, _) = running.polling_as().await;
    session.post_ok("42[\"echo\",1]\x1e42[\"echo\",2]").await;
    let body = session.poll_text().await;
    assert_eq!(body, "42[\"echo\",1]\x1e42[\"echo\",2]");
    let (mut ws, _) = Upgrade::run(&mut session).await;
    ws.text(r#"42["echo",3]"#).await;
    assert_eq!(ws.recv_text().await, r#"42["echo",3]"#);
}

#[tokio::test]
async fn no_event_is_lost_or_reordered_across_the_upgrade() {
    let (running, log) = start().await;
    running
        .io
        .on("n", async |State(log): State<Log>, Data(n): Data<u32>| {
            log.push(n);
        });
    let (mut session, _) = running.polling_as().await;
    let numbers: Vec<_> = (0..100).map(|n| format!("42[\"n\",{n}]")).collect();
    session.post_ok(&numbers[..50].join("\x1e")).await;
    for n in 0..40 {
        running.io.emit("down", &n).unwrap();
    }
    let (mut ws, body) = Upgrade::run(&mut session).await;
    let mut down: Vec<String> = body
        .split('\x1e')
        .filter(|packet| *packet != "6")
        .map(str::to_owned)
        .collect();
    for n in 40..50 {
        running.io.emit("down", &n).unwrap();
    }
    for packet in &numbers[50..] {
        ws.text(packet).await;
    }
    while down.len() < 50 {
        down.push(ws.recv_text().await);
    }
    let expected: Vec<_> = (0..50).map(|n| format!("42[\"down\",{n}]")).collect();
    assert_eq!(down, expected);
    let expected: Vec<_> = (0..100).map(|n| n.to_string()).collect();
    assert_eq!(log.lines(100).await, expected);
}

#[tokio::test]
async fn events_right_behind_connect_wait_for_slow_connection_handlers() {
    let (running, log) = start().await;
    running.io.on_connection(async |socket: Socket| {
        sleep(A_MOMENT).await;
        socket.on("e", async |State(log): State<Log>, Data(n): Data<u8>| {
            log.push(n);
        });
    });
    let mut ws = running.ws().await;
    ws.text("40").await;
    for n in 0..10 {
        ws.text(&format!(r#"42["e",{n}]"#)).await;
    }
    let expected: Vec<_> = (0..10).map(|n| n.to_string()).collect();
    assert_eq!(log.lines(10).await, expected);
}

#[tokio::test]
async fn a_websocket_that_breaks_the_protocol() {
    let (running, log) = start().await;
    let (mut ws, socket) = running.joined_as().await;
    writable(&socket).await;
    ws.text("4abc").await;
    assert!(ws.until_closed().await.is_empty());
    assert_eq!(log.lines(1).await, ["forced close"]);
}

#[tokio::test]
async fn polls_of_a_client_that_breaks_the_protocol() {
    for packets in ["40\x1e40", "42[\"e\"]", "4abc"] {
        let (running, _) = start().await;
        let mut session = running.poll().await;
        session.post_ok(packets).await;
        let body = session.poll_text().await;
        let tail = body.strip_suffix("6\x1e1").or(body.strip_suffix('1'));
        assert!(tail.is_some(), "{packets:?}: {body:?}");
        assert_eq!(session.poll().await.status, 400);
    }
}

#[tokio::test]
async fn no_poll_waits_when_the_protocol_is_broken() {
    let (running, log) = start().await;
    let (mut session, _) = running.polling_as().await;
    session.post_ok("4abc").await;
    assert_eq!(log.lines(1).await, ["forced server close"]);

    let (mut session, socket) = running.polling_as().await;
    session.send_poll().await;
    writable(&socket).await;
    session.post_ok("4abc").await;
    assert_eq!(log.lines(1).await, ["forced close"]);
    assert_eq!(session.recv_poll().await.text(), "1");
}

#[tokio::test]
async fn disconnected_altogether() {
    let (running, log) = start().await;
    running
        .io
        .on("out", async |socket: Socket| socket.disconnect_all());
    let mut ws = running.joined().await;
    ws.text("40/other").await;
    ws.recv_text().await;
    ws.text(r#"42["out"]"#).await;
    let packets = ["41", "41/other,"].map(|it| Message::Text(it.into()));
    assert_eq!(ws.until_closed().await, packets);
    assert_eq!(log.lines(2).await, ["server namespace disconnect"; 2]);

    let (mut session, _) = running.polling_as().await;
    session.send_poll().await;
    session.post_ok(r#"42["out"]"#).await;
    assert_eq!(session.recv_poll().await.text(), "41\x1e1");
    assert_eq!(session.poll().await.status, 400);
    assert_eq!(log.lines(1).await, ["server namespace disconnect"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn disconnected_from_elsewhere() {
    // The connection's task sleeps and has to be woken for its handlers; and this has to work
    // at whatever point of its turn it is.
    let (running, log) = start().await;
    for _ in 0..200 {
        let mut ws = running.ws().await;
        ws.text(r#"40{"noise":1}"#).await;
        let packet = ws.recv_text().await;
        let id = &packet[r#"40{"sid":""#.len()..packet.len() - 2];
        let socket = running.io.of("/").socket(id).unwrap();
        ws.text(r#"42["nobody"]"#).await;
        socket.disconnect();
        assert_eq!(ws.recv_text().await, "41");
        assert_eq!(log.lines(1).await, ["server namespace disconnect"]);
    }
}

#[tokio::test]
async fn why_the_connection_ended() {
    let (running, log) = start().await;
    let ws = running.joined().await;
    drop(ws);
    let reason = log.lines(1).await.remove(0);
    assert!(reason.starts_with("transport "), "{reason}");

    let mut ws = running.joined().await;
    ws.close(None).await;
    assert_eq!(log.lines(1).await, ["transport close"]);

    let (mut session, _) = running.polling_as().await;
    session.post_ok("1").await;
    assert_eq!(log.lines(1).await, ["transport close"]);

    let mut ws = running.joined().await;
    ws.text("9").await;
    assert_eq!(log.lines(1).await, ["parse error"]);

    running.io.on("conn", async |socket: Socket| {
        socket.conn().close(CloseReason::ForcedClose);
    });
    let mut ws = running.joined().await;
    ws.text(r#"42["conn"]"#).await;
    assert_eq!(log.lines(1).await, ["forced close"]);
}

#[tokio::test]
async fn a_silent_client() {
    let quick = |config: socketio::Config| {
        config
            .ping_interval(Duration::from_millis(50))
            .ping_timeout(Duration::from_millis(50))
    };
    let (io, log) = logging(|builder| builder.engine(quick));
    let running = Running::start(io).await;
    let _ws = running.joined().await;
    assert_eq!(log.lines(1).await, ["ping timeout"]);
}

#[tokio::test]
async fn closing_the_server() {
    let (running, log) = start().await;
    let mut ws = running.joined().await;
    let (mut session, socket) = running.polling_as().await;
    session.send_poll().await;
    writable(&socket).await;
    running.io.emit("last words", &()).unwrap();
    let service = running.io.service();
    assert_eq!(service.sessions(), 2);
    running.io.close().await;
    assert_eq!(service.sessions(), 0);
    assert_eq!(
        ws.until_closed().await,
        [Message::Text(r#"42["last words"]"#.into())]
    );
    assert!(session.recv_poll().await.text().contains("last words"));
    assert_eq!(log.lines(2).await, ["server shutting down"; 2]);
    assert!(running.io.of("/").is_empty());
    let url = format!("{PATH}?EIO=4&transport=polling");
    assert_eq!(testkit::get(running.addr, &url).await.status, 503);
}

#[tokio::test]
async fn volatile_events() {
    let (running, _) = start().await;
    running.io.on("go", async |socket: Socket| {
        socket.volatile().emit("one", &()).unwrap();
        socket.volatile().emit("two", &()).unwrap();
        socket.emit("three", &()).unwrap();
        socket.volatile().emit("four", &()).unwrap();
    });
    let (mut ws, socket) = running.joined_as().await;
    writable(&socket).await;
    ws.text(r#"42["go"]"#).await;
    assert_eq!(ws.recv_text().await, r#"42["one"]"#);
    assert_eq!(ws.recv_text().await, r#"42["three"]"#);
    ws.silence(A_MOMENT).await;
    writable(&socket).await;
    running.io.volatile().emit("all", &bytes_of(1)).unwrap();
    let header = r#"451-["all",{"_placeholder":true,"num":0}]"#;
    assert_eq!(ws.recv_text().await, header);
    assert_eq!(ws.recv_binary().await, [1][..]);

    // a poll takes it only while it waits
    let (mut session, socket) = running.polling_as().await;
    running.io.volatile().emit("lost", &()).unwrap();
    session.send_poll().await;
    writable(&socket).await;
    running.io.volatile().emit("taken", &()).unwrap();
    assert_eq!(session.recv_poll().await.text(), r#"42["taken"]"#);
}

fn bytes_of(byte: u8) -> bytes::Bytes {
    bytes::Bytes::copy_from_slice(&[byte])
}

#[tokio::test]
async fn a_connection_that_is_behind_still_answers_pings() {
    let gate = Arc::new(Semaphore::new(0));
    let (io, log) = logging(|builder| {
        builder
            .state(gate.clone())
            .max_in_flight(1)
            .max_waiting(2, 1000)
            .engine(|config| {
                config
                    .ping_interval(Duration::from_millis(50))
                    .ping_timeout(Duration::from_millis(100))
            })
    });
    io.on(
        "slow",
        async |State(log): State<Log>, State(gate): State<Arc<Semaphore>>, Data(n): Data<u32>| {
            gate.acquire().await.unwrap().forget();
            log.push(n);
        },
    );
    let running = Running::start(io).await;
    let mut ws = running.joined().await;
    for n in 0..20 {
        ws.text(&format!(r#"42["slow",{n}]"#)).await;
    }
    for _ in 0..5 {
        assert_eq!(ws.recv_text().await, "2");
        ws.text("3").await;
    }
    gate.add_permits(20);
    let expected: Vec<_> = (0..20).map(|n| n.to_string()).collect();
    assert_eq!(log.lines(20).await, expected);
}

#[tokio::test]
async fn middlewares_take_their_time_on_every_transport() {
    let (running, _) = start().await;
    running.io.middleware(async || {
        sleep(A_MOMENT).await;
        Ok::<_, ConnectError>(())
    });
    running.joined().await;
    running.polling_as().await;
}

#[tokio::test]
async fn a_client_of_protocol_4_by_websocket() {
    let (running, log) = start().await;
    running
        .io
        .on("add", async |Data((a, b)): Data<(i32, i32)>| a + b);
    let mut ws = running.ws_with("EIO=3").await;
    assert_eq!(ws.recv_text().await, "40");
    ws.text(r#"427["add",1,2]"#).await;
    assert_eq!(ws.recv_text().await, "437[3]");
    ws.text("40/other?token=1,").await;
    assert_eq!(ws.recv_text().await, "40/other,");
    ws.text("2").await;
    assert_eq!(ws.recv_text().await, "3");
    ws.text("41").await;
    assert_eq!(log.lines(1).await, ["client namespace disconnect"]);
    assert_eq!(running.io.of("/other").len(), 1);
}

#[tokio::test]
async fn a_client_of_protocol_4_by_polling() {
    let (running, _) = start().await;
    let mut session = Polling::open(running.addr, PATH, "EIO=3&b64=1").await;
    let opened = session.opened.text();
    assert!(opened.ends_with("2:40"), "{opened}");
    running.io.emit("e", "é").unwrap();
    let body = session.poll_text().await;
    assert!(body.ends_with(r#"42["e","é"]"#), "{body}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_gets_every_broadcast_once_and_in_order() {
    const CLIENTS: usize = 20;
    const EVENTS: u32 = 200;

    let (running, _) = start().await;
    running
        .io
        .on("in", async |socket: Socket| socket.join("room"));
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut ws = running.joined().await;
        ws.text(r#"421["in"]"#).await;
        assert_eq!(ws.recv_text().await, "431[]");
        clients.push(ws);
    }
    let io = running.io.clone();
    let sender = tokio::spawn(async move {
        for n in 0..EVENTS {
            io.to("room").emit("n", &n).unwrap();
            if n % 16 == 0 {
                tokio::task::yield_now().await;
            }
        }
    });
    // meanwhile others come and go
    let addr_of = running.addr;
    let churn = tokio::spawn(async move {
        for _ in 0..30 {
            let url = format!("{PATH}?EIO=4&transport=websocket");
            let mut ws = Ws::connect(addr_of, &url).await;
            ws.text("40").await;
            ws.text(r#"42["in"]"#).await;
            ws.recv_text().await;
        }
    });
    for ws in &mut clients {
        for n in 0..EVENTS {
            assert_eq!(ws.recv_text().await, format!(r#"42["n",{n}]"#));
        }
    }
    sender.await.unwrap();
    churn.await.unwrap();
}

/// The official client takes the last element of any event for an offset if it is text.
#[tokio::test]
async fn a_volatile_event_does_not_look_as_if_it_could_be_recovered() {
    let recovery = ConnectionStateRecovery::new();
    let builder = SocketIo::builder().connection_state_recovery(recovery);
    let running = Running::start(builder.build()).await;
    let mut ws = running.ws().await;
    ws.text("40").await;
    assert!(ws.recv_text().await.contains(r#""pid":"#));
    let socket = running.io.sockets().remove(0);
    writable(&socket).await;
    assert!(socket.volatile().emit("tick", &(1, "text")).unwrap());
    assert_eq!(ws.recv_text().await, r#"42["tick",1,"text",null]"#);
    writable(&socket).await;
    running.io.volatile().emit("tick", &"text").unwrap();
    assert_eq!(ws.recv_text().await, r#"42["tick","text",null]"#);
    writable(&socket).await;
    running.io.volatile().emit("tick", &()).unwrap();
    assert_eq!(ws.recv_text().await, r#"42["tick",null]"#);
    writable(&socket).await;
    running.io.volatile().emit("tick", &("text", 1)).unwrap();
    assert_eq!(ws.recv_text().await, r#"42["tick","text",1]"#);
}

/// The client knows first that its connection is dead; the server may have queued much for it.
#[tokio::test]
async fn a_connection_is_over_when_its_client_is_back_on_another() {
    let recovery = ConnectionStateRecovery::new().max_room_bytes(32 << 20);
    let builder = SocketIo::builder().connection_state_recovery(recovery);
    let running = Running::start(builder.build()).await;
    let mut old = running.ws().await;
    old.text("40").await;
    let connected = old.recv_text().await;
    let pid = connected.split('"').nth(7).unwrap();
    let socket = running.io.sockets().remove(0);
    // More than the kernel takes.
    let event = "x".repeat(100_000);
    for _ in 0..100 {
        socket.emit("e", &event).unwrap();
    }
    let mut new = running.ws().await;
    new.text(&format!(r#"40{{"pid":"{pid}"}}"#)).await;
    let mut missed = 0;
    let again = loop {
        let packet = new.recv_text().await;
        if packet.starts_with("40") {
            break packet;
        }
        missed += 1;
    };
    assert_eq!((again, missed), (connected, 100));
    let over = async {
        while socket.conn().queued_messages() > 0 {
            sleep(Duration::from_millis(2)).await;
        }
    };
    testkit::within(A_MOMENT * 10, "the end of the old connection", over).await;
    drop(old);
}
