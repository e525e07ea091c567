//! What is told of the connections below the sockets.
#![allow(
    clippy::unwrap_used,
    reason = "clippy sees no tests in functions that tests share"
)]

mod common;

use std::time::Duration;

use common::{Log, PATH, Running, writable};
use http::HeaderValue;
use socketio::{
    Builder, ConnectionError, SessionHandle, Socket, SocketIo, Transport,
    conn::{Data, Transmit},
    handler::{Disconnect, State},
};
use testkit::{Polling, TIME_LIMIT, Upgrade, within, ws};

/// A server that logs what happens on its connections, and echoes.
async fn start(change: impl FnOnce(Builder) -> Builder) -> (Running, Log) {
    let builder = SocketIo::builder().engine(|it| it.ping_interval(Duration::from_secs(1000)));
    let io = change(builder).build();
    let log = Log::default();
    let to = log.clone();
    io.on_upgrade(move |conn| {
        assert!(conn.upgraded());
        assert_eq!(conn.transport(), Transport::WebSocket);
        to.push("upgrade");
    });
    let to = log.clone();
    io.on_packet(move |_, packet| {
        let data = match &packet.data {
            Data::Text(text) => text,
            Data::Binary(_) => "binary",
        };
        // Without the credentials, which differ.
        let data = data.split('{').next().unwrap();
        to.push(format!("in {}{data}", packet.kind.digit()));
    });
    let to = log.clone();
    io.on_packet_create(move |_, packet| match packet {
        Transmit::Control(packet) => to.push(format!("out {}", packet.kind.digit())),
        Transmit::Message(message) => {
            let text = message.wire_text().unwrap().split('{').next().unwrap();
            let plain = if message.compresses() { "" } else { " plain" };
            let and = match message.attachments().len() {
                0 => "",
                _ => " and binary",
            };
            to.push(format!("out {text}{and}{plain}"));
        }
    });
    let to = log.clone();
    io.on_drain(move |_| to.push("drain"));
    let to = log.clone();
    io.on_close(move |conn, reason, description| {
        assert!(conn.is_closed());
        to.push(match description {
            Some(text) => format!("close {reason}: {text}"),
            None => format!("close {reason}"),
        });
    });
    io.on("echo", async |socket: Socket| {
        socket.compress(false).emit("echo", &())
    });
    (Running::start(io).await, log)
}

async fn logged(log: &Log, expected: &[&str]) {
    assert_eq!(log.lines(expected.len()).await, expected);
}

#[tokio::test]
async fn packets_and_drains_of_a_websocket() {
    let (running, log) = start(|it| it).await;
    let (mut ws, socket) = running.joined_as().await;
    logged(&log, &["out 0", "drain", "in 40", "out 40", "drain"]).await;
    ws.text(r#"42["echo"]"#).await;
    let echo = [r#"in 42["echo"]"#, r#"out 42["echo"] plain"#, "drain"];
    logged(&log, &echo).await;
    socket
        .emit("b", &bytes::Bytes::from_static(&[1, 2]))
        .unwrap();
    logged(&log, &[r#"out 451-["b", and binary"#, "drain"]).await;
    ws.text("41").await;
    ws.close(None).await;
    logged(&log, &["in 41", "close transport close"]).await;
}

#[tokio::test]
async fn an_upgrade_is_told_once_and_its_probe_is_not() {
    let (running, log) = start(|it| it).await;
    let (mut session, socket) = running.polling_as().await;
    logged(&log, &["out 0", "drain", "in 40", "out 40", "drain"]).await;
    assert!(!socket.conn().upgraded());
    let (mut ws, _) = Upgrade::run(&mut session).await;
    logged(&log, &["out 6", "drain", "upgrade"]).await;
    ws.text(r#"42["echo"]"#).await;
    let echo = [r#"in 42["echo"]"#, r#"out 42["echo"] plain"#, "drain"];
    logged(&log, &echo).await;
    assert!(log.is_empty());
}

#[tokio::test]
async fn the_pings_of_an_old_client() {
    let (running, log) = start(|it| it).await;
    let mut session = Polling::open(running.addr, PATH, "EIO=3&b64=1").await;
    logged(&log, &["out 0", "out 40", "drain"]).await;
    session.post_ok("1:2").await;
    assert_eq!(session.poll_text().await, "1:3");
    logged(&log, &["in 2", "out 3", "drain"]).await;
    session.post_ok("1:1").await;
    logged(&log, &["in 1", "close transport close"]).await;
}

#[tokio::test]
async fn a_connection_that_joins_nothing_is_told_of_too() {
    let change = |it: Builder| it.connect_timeout(Duration::from_millis(50));
    let (running, log) = start(change).await;
    let mut ws = running.ws().await;
    assert!(ws.until_closed().await.is_empty());
    logged(&log, &["out 0", "drain", "close forced close"]).await;
}

#[tokio::test]
async fn a_message_is_told_of_as_its_recipients_get_it() {
    let (running, log) = start(|it| it).await;
    let (_one, _) = running.joined_as().await;
    logged(&log, &["out 0", "drain", "in 40", "out 40", "drain"]).await;
    let (_two, _) = running.joined_as().await;
    logged(&log, &["out 0", "drain", "in 40", "out 40", "drain"]).await;
    running.io.compress(false).emit("all", &()).unwrap();
    let mut lines = log.lines(4).await;
    lines.sort();
    let all = r#"out 42["all"] plain"#;
    assert_eq!(lines, ["drain", "drain", all, all]);
}

#[tokio::test]
async fn who_listens_may_use_the_server() {
    let io = SocketIo::new();
    let (server, log) = (io.clone(), Log::default());
    let to = log.clone();
    io.on_packet(move |conn: &SessionHandle, _| {
        server.on_drain(|_| {});
        server.emit("seen", &conn.sid().as_str().len()).unwrap();
    });
    let server = io.clone();
    io.on_close(move |_, _, _| to.push(server.stats().sockets));
    let running = Running::start(io).await;
    let (mut ws, socket) = running.joined_as().await;
    ws.text(r#"42["anything"]"#).await;
    assert_eq!(ws.recv_text().await, r#"42["seen",20]"#);
    socket.disconnect_all();
    assert_eq!(log.lines(1).await, ["0"]);
}

#[tokio::test]
async fn a_panic_is_reported_and_harms_nobody() {
    let io = SocketIo::new();
    let log = Log::default();
    let to = log.clone();
    io.on_error(move |report| to.push(report));
    io.on_upgrade(|_| panic!("upgrade"));
    io.on_packet(|_, _| panic!("packet"));
    io.on_packet_create(|_, _| panic!("packet create"));
    io.on_drain(|_| panic!("drain"));
    io.on_close(|_, _, _| panic!("close"));
    let closed = log.clone();
    io.on_close(move |_, reason, _| closed.push(reason));
    let running = Running::start(io).await;
    let (mut session, socket) = running.polling_as().await;
    let (mut ws, _) = Upgrade::run(&mut session).await;
    socket.emit("e", &()).unwrap();
    assert_eq!(ws.recv_text().await, r#"42["e"]"#);
    ws.close(None).await;
    let closed = async {
        while !socket.conn().is_closed() {
            tokio::task::yield_now().await;
        }
    };
    within(TIME_LIMIT, "the end", closed).await;
    let lines = log.lines(12).await;
    for event in ["upgrade", "packet", "packet create", "drain", "close"] {
        let report = format!("panicked: {event}");
        assert!(lines.contains(&report), "{event}: {lines:?}");
    }
    assert_eq!(lines.last().unwrap(), "transport close");
}

const URL: &str = "/socket.io/?EIO=4&transport=polling";

#[tokio::test]
async fn requests_that_are_refused_are_told_with_code_and_reason() {
    let log = Log::default();
    let to = log.clone();
    let io = SocketIo::builder()
        .engine(move |config| {
            config.on_connection_error(move |error: &ConnectionError| {
                let ConnectionError { kind, method, .. } = error;
                to.push(format!("{method} {} {}", kind.code(), kind.message()));
            })
        })
        .build();
    let running = Running::start(io).await;
    for (query, told) in [
        ("EIO=4", r#"GET 0 "Transport unknown""#),
        (
            "EIO=4&transport=polling&sid=x",
            r#"GET 1 "Session ID unknown""#,
        ),
        ("EIO=4&transport=websocket", r#"GET 3 "Bad request""#),
        (
            "EIO=7&transport=polling",
            r#"GET 5 "Unsupported protocol version""#,
        ),
    ] {
        let url = format!("{PATH}?{query}");
        assert_eq!(testkit::get(running.addr, &url).await.status, 400);
        assert_eq!(log.lines(1).await, [told]);
    }
    running.joined().await;
    assert!(log.is_empty());
}

#[tokio::test]
async fn headers_for_the_first_response_of_a_session_and_for_every_one() {
    let io = SocketIo::builder()
        .engine(|config| {
            config
                .on_initial_headers(|headers, request| {
                    assert_eq!(request.uri.path(), PATH);
                    headers.insert("x-first", HeaderValue::from_static("1"));
                })
                .on_headers(|headers, _| {
                    headers.insert("x-every", HeaderValue::from_static("2"));
                })
        })
        .build();
    let running = Running::start(io).await;
    let mut session = running.poll().await;
    let names = ["x-first", "x-every"];
    let has = |response: &testkit::Response| names.map(|it| response.header(it).is_some());
    assert_eq!(has(&session.opened), [true, true]);
    assert_eq!(has(&session.post("40").await), [false, true]);
    assert_eq!(has(&session.poll().await), [false, true]);
    let upgrade = Upgrade::connect(&session).await;
    assert_eq!(has(upgrade.ws.response()), [false, true]);
    let ws = running.ws().await;
    assert_eq!(has(ws.response()), [true, true]);
    let refused = testkit::get(running.addr, &URL.replace("polling", "pigeon")).await;
    assert_eq!(has(&refused), [false, false]);
}

#[tokio::test]
async fn connections_are_counted_whether_they_have_joined_or_not() {
    let running = Running::start(SocketIo::new()).await;
    let count = || {
        let stats = running.io.stats();
        (stats.sessions, stats.sockets)
    };
    assert_eq!(count(), (0, 0));
    let _polling = running.poll().await;
    let (mut ws, socket) = running.joined_as().await;
    assert_eq!(count(), (2, 1));
    running.io.of("/other");
    ws.text("40/other,").await;
    ws.recv_text().await;
    assert_eq!(count(), (2, 2));
    socket.disconnect_all();
    ws.until_closed().await;
    let gone = async {
        while count() != (1, 0) {
            tokio::task::yield_now().await;
        }
    };
    within(TIME_LIMIT, "one connection to be gone", gone).await;
    running.io.close_within(Duration::ZERO).await;
    assert_eq!(count(), (0, 0));
}

#[tokio::test]
async fn the_rule_that_a_client_broke_is_told_to_sockets_and_connections() {
    let log = Log::default();
    let io = SocketIo::builder()
        .state(log.clone())
        .engine(|config| config.max_payload(1000))
        .build();
    io.on_disconnect(async |State(log): State<Log>, context: Disconnect| {
        let description = context.description();
        log.push(format!("{}: {description:?}", context.reason()));
    });
    let to = log.clone();
    io.on_close(move |_, reason, description| to.push(format!("{reason}: {description:?}")));
    let running = Running::start(io).await;
    let ended = async |expected: &str| assert_eq!(log.lines(2).await, [expected; 2]);

    let (mut session, socket) = running.polling_as().await;
    session.send_poll().await;
    writable(&socket).await;
    session.abort_poll().await;
    ended(r#"transport error: Some("poll connection closed prematurely")"#).await;

    let (mut session, _) = running.polling_as().await;
    assert_eq!(session.post("nonsense").await.status, 400);
    ended(r#"parse error: Some("unknown packet type")"#).await;

    let (mut ws, _) = running.joined_as().await;
    ws.text("2").await;
    ended(r#"transport error: Some("invalid heartbeat direction")"#).await;

    let (mut ws, _) = running.joined_as().await;
    ws.text(&"4".repeat(1001)).await;
    ended(r#"transport error: Some("max payload size exceeded")"#).await;

    let (mut ws, _) = running.joined_as().await;
    ws.frame(&ws::Frame::new(ws::TEXT, [0xff])).await;
    ended(r#"transport error: Some("invalid UTF-8 sequence")"#).await;

    let (mut ws, _) = running.joined_as().await;
    ws.frame(&ws::Frame::new(7, "")).await;
    ended(r#"transport error: Some("invalid WebSocket frame")"#).await;

    let (mut ws, _) = running.joined_as().await;
    ws.close(None).await;
    ended("transport close: None").await;
}
