//! Clients that read too slowly: each policy, what it costs the others, and the counters.
#![allow(
    clippy::unwrap_used,
    reason = "clippy sees no tests in functions that tests share"
)]

mod common;

use bytes::Bytes;
use common::{A_MOMENT, Log, Running};
use socketio::{
    AckError, Config, ConnectionStateRecovery, DisconnectReason, Overflow, Socket, SocketIo,
    handler::{Data, State},
};
use testkit::{Message, TIME_LIMIT, within};
use tokio::time::timeout;

/// A server that logs why sockets leave.
async fn start(engine: impl FnOnce(Config) -> Config) -> (Running, Log) {
    let log = Log::default();
    let io = SocketIo::builder()
        .state(log.clone())
        .engine(engine)
        .build();
    io.on_disconnect(async |State(log): State<Log>, reason: DisconnectReason| {
        log.push(reason);
    });
    (Running::start(io).await, log)
}

fn dropping(messages: usize) -> impl FnOnce(Config) -> Config {
    move |config| {
        config
            .max_queued_messages(messages)
            .overflow(Overflow::DropNewest)
    }
}

fn events(numbers: impl IntoIterator<Item = u32>) -> Vec<String> {
    let packet = |n| format!(r#"42["n",{n}]"#);
    numbers.into_iter().map(packet).collect()
}

fn packets(body: &str) -> Vec<&str> {
    body.split('\x1e').collect()
}

#[tokio::test]
async fn one_slow_client_of_a_broadcast_is_disconnected_and_the_others_get_everything() {
    let (running, log) = start(|config| config.max_queued_messages(10)).await;
    let mut fast = running.joined().await;
    let (mut slow, socket) = running.polling_as().await;
    for n in 0..30 {
        running.io.emit("n", &n).unwrap();
        assert!(socket.conn().queued_messages() <= 10);
        assert_eq!(fast.recv_text().await, events([n])[0]);
    }
    assert_eq!(log.lines(1).await, ["slow client"]);
    assert_eq!(slow.poll().await.status, 400);
    let stats = running.io.stats();
    assert_eq!(
        (stats.slow_clients, stats.sessions, stats.sockets),
        (1, 1, 1)
    );
    assert!(stats.dropped >= 1);
    assert_eq!((stats.queued_messages, stats.queued_bytes), (0, 0));
}

#[tokio::test]
async fn one_slow_client_of_a_broadcast_misses_events_and_the_others_get_everything() {
    let (running, _) = start(dropping(10)).await;
    let mut fast = running.joined().await;
    let (mut slow, socket) = running.polling_as().await;
    for n in 0..30 {
        running.io.emit("n", &n).unwrap();
        assert_eq!(fast.recv_text().await, events([n])[0]);
    }
    let stats = running.io.stats();
    assert_eq!((stats.dropped, stats.queued_messages), (20, 10));
    assert_eq!(stats.queued_bytes, socket.conn().queued());
    assert_eq!((socket.conn().dropped(), stats.slow_clients), (20, 0));
    assert_eq!(packets(&slow.poll_text().await), events(0..10));
    // Once it has read it is a client as any other.
    running.io.emit("n", &30).unwrap();
    assert_eq!(slow.poll_text().await, events([30])[0]);
    assert_eq!((stats.sessions, stats.sockets, stats.namespaces), (2, 2, 1));
}

#[tokio::test]
async fn what_is_no_event_is_never_dropped() {
    let (running, log) = start(dropping(3)).await;
    let io = &running.io;
    io.of("/other");
    io.of("/left")
        .on("leave", async |socket: Socket| socket.disconnect());
    io.on("add", async |Data((a, b)): Data<(u32, u32)>| a + b);
    io.on("fail", async || Err::<(), _>("no"));
    let (mut session, socket) = running.polling_as().await;
    session.post_ok("40/left,").await;
    session.poll_text().await;
    for n in 0..5 {
        socket.emit("n", &n).unwrap();
    }
    assert_eq!(socket.conn().dropped(), 2);

    session.post_ok(r#"421["add",1,2]"#).await;
    session.post_ok("40/other,").await;
    let body = session.poll_text().await;
    let [events @ .., ack, connect] = &*packets(&body) else {
        panic!("{body}");
    };
    assert_eq!(*events, *self::events(0..3));
    assert_eq!(*ack, "431[3]");
    assert!(connect.starts_with(r#"40/other,{"sid":""#), "{connect}");

    for n in 5..10 {
        socket.emit("n", &n).unwrap();
    }
    session.post_ok("40/nowhere,").await;
    session.post_ok(r#"42/left,["leave"]"#).await;
    let body = session.poll_text().await;
    assert_eq!(
        packets(&body)[3..],
        [r#"44/nowhere,{"message":"Invalid namespace"}"#, "41/left,"]
    );

    for n in 10..15 {
        socket.emit("n", &n).unwrap();
    }
    session.post_ok(r#"422["fail"]"#).await;
    socket.disconnect_all();
    let body = session.poll_text().await;
    assert_eq!(packets(&body)[3..5], [r#"432[{"error":"no"}]"#, "41"]);
    assert_eq!(log.lines(1).await, ["server namespace disconnect"]);
    assert_eq!(io.stats().slow_clients, 0);
}

#[tokio::test]
async fn a_client_that_never_reads_its_answers_is_disconnected() {
    let (running, log) =
        start(|config| config.max_queued(10_000).overflow(Overflow::DropNewest)).await;
    running.io.on("echo", async |Data(text): Data<String>| text);
    let (mut session, socket) = running.polling_as().await;
    let event = format!(r#"421["echo","{}"]"#, "x".repeat(900));
    for _ in 0..20 {
        session.post_ok(&event).await;
        assert!(socket.conn().queued() <= 20_000);
    }
    assert!(socket.connected(), "its answers may take twice the place");
    for _ in 0..3 {
        // The last one may find the session gone.
        session.post(&event).await;
    }
    assert_eq!(log.lines(1).await, ["slow client"]);
    assert_eq!(running.io.stats().slow_clients, 1);
}

#[tokio::test]
async fn an_event_may_be_dropped_where_others_disconnect() {
    let (running, log) = start(|config| config.max_queued_messages(2)).await;
    let (mut session, socket) = running.polling_as().await;
    let optional = socket.overflow(Overflow::DropNewest);
    assert_eq!(optional.emit("n", &0), Ok(true));
    assert_eq!(optional.emit("n", &1), Ok(true));
    assert_eq!(optional.emit("n", &2), Ok(false));
    running
        .io
        .overflow(Overflow::DropNewest)
        .emit("n", &3)
        .unwrap();
    running
        .io
        .to(socket.id())
        .overflow(Overflow::DropNewest)
        .emit("n", &4)
        .unwrap();
    assert_eq!(socket.conn().dropped(), 3);
    assert_eq!(packets(&session.poll_text().await), events(0..2));
    assert!(socket.connected());
    assert!(log.is_empty());
}

#[tokio::test]
async fn an_event_that_must_arrive_disconnects_where_others_are_dropped() {
    let (running, log) = start(dropping(1)).await;
    let (_session, socket) = running.polling_as().await;
    socket.emit("n", &0).unwrap();
    socket.emit("n", &1).unwrap();
    assert!(socket.connected());
    let must = socket.overflow(Overflow::Disconnect);
    assert_eq!(must.emit("n", &2), Ok(false));
    assert_eq!(log.lines(1).await, ["slow client"]);
    assert!(!socket.connected());
}

#[tokio::test]
async fn a_question_that_cannot_be_sent_is_answered_so() {
    let (running, _) = start(dropping(1)).await;
    let (mut session, socket) = running.polling_as().await;
    let first = socket.emit_with_ack::<u32>("q", &());
    let second = socket.emit_with_ack::<u32>("q", &()).await;
    assert_eq!(second, Err(AckError::NotSent));
    let all = running.io.emit_with_ack::<u32>("q", &()).await;
    assert_eq!(all.unwrap_err().errors, [AckError::NotSent]);
    let packet = session.poll_text().await;
    let id = packet.strip_prefix("42").unwrap();
    let id = id.strip_suffix(r#"["q"]"#).unwrap();
    session.post_ok(&format!("43{id}[7]")).await;
    assert_eq!(first.await, Ok(7));
}

#[tokio::test]
async fn who_listens_to_what_is_sent_hears_nothing_of_what_is_dropped() {
    for recovery in [false, true] {
        let log = Log::default();
        let mut builder = SocketIo::builder().engine(dropping(2));
        if recovery {
            builder = builder.connection_state_recovery(ConnectionStateRecovery::new());
        }
        let io = builder.build();
        let sent = log.clone();
        io.of("/")
            .on_any_outgoing(move |_, event| sent.push(event.name()));
        io.on_connection(async |socket: Socket| {
            let names = ["a", "b", "c", "d"];
            assert_eq!(
                socket.overflow(Overflow::DropNewest).emit("a", &()),
                Ok(true)
            );
            let dropped = names.map(|name| socket.compress(true).emit(name, &()));
            assert_eq!(dropped, [const { Ok(false) }; 4]);
            socket.broadcast().emit("nobody", &()).unwrap();
        });
        let running = Running::start(io).await;
        let mut session = running.poll().await;
        session.post_ok("40").await;
        // CONNECT and `a`.
        assert_eq!(packets(&session.poll_text().await).len(), 2);
        assert_eq!(log.lines(1).await, ["a"], "recovery: {recovery}");
        assert_eq!(running.io.stats().dropped, 4);
    }
}

#[tokio::test]
async fn an_event_with_binary_data_is_dropped_as_a_whole() {
    let (running, _) =
        start(|config| config.max_queued(30_000).overflow(Overflow::DropNewest)).await;
    let (mut ws, socket) = running.joined_as().await;
    let mut taken = Vec::new();
    let data = Bytes::from(vec![7; 10_000]);
    // In one go, so that the connection writes nothing meanwhile.
    for n in 0..10_u32 {
        let event = socket.overflow(Overflow::DropNewest);
        if event.emit("b", &(n, &data, &data)).unwrap() {
            taken.push(n);
        }
    }
    assert_eq!(taken, [0]);
    assert_eq!(socket.conn().dropped(), 9);
    socket.emit("end", &()).unwrap();
    let header = r#"452-["b",0,{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#;
    assert_eq!(ws.recv_text().await, header);
    assert_eq!(ws.recv_binary().await, data);
    assert_eq!(ws.recv_binary().await, data);
    assert_eq!(ws.recv_text().await, r#"42["end"]"#);
}

#[tokio::test]
async fn a_sender_that_waits_loses_nothing_and_fills_no_queue() {
    const EVENTS: u32 = 300;
    let (running, _) = start(|config| config.max_queued(200_000)).await;
    let (mut ws, socket) = running.joined_as().await;
    let sender = tokio::spawn(async move {
        let row = "x".repeat(50_000);
        for n in 0..EVENTS {
            assert_eq!(socket.emit_ready("row", &(n, &row)).await, Ok(true));
            assert!(socket.conn().queued() <= 200_000);
        }
    });
    // It waits for a client that does not read at all.
    tokio::time::sleep(A_MOMENT).await;
    for n in 0..EVENTS {
        let packet = ws.recv_text().await;
        assert!(packet.starts_with(&format!(r#"42["row",{n},"x"#)), "{n}");
    }
    sender.await.unwrap();
    let stats = running.io.stats();
    assert!(stats.waits > 0);
    assert_eq!((stats.dropped, stats.slow_clients), (0, 0));
}

#[tokio::test]
async fn a_sender_that_waits_is_let_go_when_the_socket_is_disconnected() {
    for everything in [true, false] {
        let (running, _) = start(|config| config.max_queued_messages(4)).await;
        let (mut session, socket) = running.polling_as().await;
        while socket.conn().queued_messages() < 3 {
            socket.emit("n", &1).unwrap();
        }
        let waiting = tokio::spawn({
            let socket = socket.clone();
            async move { socket.emit_ready("late", &()).await }
        });
        assert!(timeout(A_MOMENT, socket.ready()).await.is_err());
        assert!(!waiting.is_finished());
        if everything {
            socket.disconnect_all();
        } else {
            socket.disconnect();
        }
        assert!(!session.poll_text().await.contains("late"));
        let sent = within(TIME_LIMIT, "the sender to be let go", waiting).await;
        assert_eq!(sent.unwrap(), Ok(false));
        assert!(!socket.ready().await);
    }
}

#[tokio::test]
async fn a_reserved_name_is_refused_before_anything_is_waited_for() {
    let (running, _) = start(|config| config.max_queued_messages(1)).await;
    let (_session, socket) = running.polling_as().await;
    socket.emit("n", &1).unwrap();
    let refused = within(TIME_LIMIT, "an error", socket.emit_ready("connect", &())).await;
    assert_eq!(refused, Err(socketio::EmitError::ReservedEvent));
}

#[tokio::test]
async fn volatile_events_that_are_dropped_are_counted() {
    for recovery in [false, true] {
        let mut builder = SocketIo::builder();
        if recovery {
            builder = builder.connection_state_recovery(ConnectionStateRecovery::new());
        }
        let running = Running::start(builder.build()).await;
        let mut session = running.poll().await;
        session.post_ok("40").await;
        session.poll_text().await;
        let socket = running.io.sockets().remove(0);
        assert_eq!(socket.volatile().emit("n", &1), Ok(false));
        running.io.volatile().emit("n", &1).unwrap();
        running.io.volatile().emit("n", "text").unwrap();
        assert_eq!(socket.conn().dropped_volatile(), 3);
        let stats = running.io.stats();
        assert_eq!((stats.dropped_volatile, stats.dropped), (3, 0));
    }
}

/// The kernel's buffers take some of it; ours must not take the rest.
#[tokio::test]
async fn a_websocket_that_does_not_read_costs_no_more_than_the_limit() {
    const EVENTS: u32 = 500;
    let (running, _) =
        start(|config| config.max_queued(1_000_000).overflow(Overflow::DropNewest)).await;
    let (mut slow, socket) = running.joined_as().await;
    let text = "x".repeat(100_000);
    for n in 0..EVENTS {
        running.io.emit("n", &(n, &text)).unwrap();
        assert!(socket.conn().queued() <= 1_000_000);
        assert!(running.io.stats().queued_bytes <= 1_000_000);
        tokio::task::yield_now().await;
    }
    let dropped = socket.conn().dropped();
    assert!(dropped > EVENTS / 4, "{dropped}");
    let mut last = None;
    for _ in 0..EVENTS - dropped {
        let packet = slow.recv_text().await;
        let number = packet.strip_prefix(r#"42["n","#).unwrap();
        let number = number.split(',').next().unwrap().parse::<u32>().unwrap();
        assert!(last < Some(number), "whole events, in order");
        last = Some(number);
    }
    assert_eq!(socket.conn().queued(), 0);
    running.io.emit("n", &()).unwrap();
    assert_eq!(slow.recv().await, Message::Text(r#"42["n"]"#.into()));
}

#[tokio::test]
async fn a_client_that_comes_back_for_too_much_is_not_recovered_in_part() {
    let io = SocketIo::builder()
        .engine(dropping(2))
        .connection_state_recovery(ConnectionStateRecovery::new())
        .build();
    let running = Running::start(io).await;
    let mut ws = running.ws().await;
    ws.text("40").await;
    let packet = ws.recv_text().await;
    let auth: serde_json::Value = serde_json::from_str(&packet[2..]).unwrap();
    running.io.emit("n", &0).unwrap();
    let event = ws.recv_text().await;
    let event: serde_json::Value = serde_json::from_str(&event[2..]).unwrap();
    let auth = serde_json::json!({ "pid": auth["pid"], "offset": event[2] });
    drop(ws);
    while !running.io.sockets().is_empty() {
        tokio::task::yield_now().await;
    }
    for n in 1..10 {
        running.io.emit("n", &n).unwrap();
    }
    // By polling, so that nothing leaves between the events.
    let mut session = running.poll().await;
    session.post(&format!("40{auth}")).await;
    assert_eq!(session.poll().await.status, 400);
    assert_eq!(running.io.stats().slow_clients, 1);
}
