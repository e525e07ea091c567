//! How sessions end.

mod common;

use std::time::Duration;

use common::{A_MOMENT, Behaviour, PATH, RECORD, assert_unknown, both_versions, start, start_with};
use engineio::{CloseReason, Config, Data, Encoded};
use testkit::{Http, Message, Polling, TIME_LIMIT, within};
use tokio::{
    io::AsyncReadExt,
    time::{Instant, sleep},
};

const FORCED: CloseReason = CloseReason::ForcedClose;

#[tokio::test]
async fn a_server_that_closes_answers_the_poll_that_waits() {
    let running = start(both_versions()).await;
    for (query, close) in [
        ("EIO=4", &b"1"[..]),
        ("EIO=3&b64=1", b"1:1"),
        ("EIO=3&t=x", b"\x00\x01\xff1"),
    ] {
        let mut session = Polling::open(running.addr, PATH, query).await;
        session.send_poll().await;
        sleep(A_MOMENT).await;
        running.handle(session.sid()).await.close(FORCED);
        let poll = session.recv_poll().await;
        assert_eq!((poll.status, &poll.body[..]), (200, close));
        assert_eq!(running.close_reason(session.sid()).await, FORCED);
        assert_unknown(&session.poll().await);
    }
}

#[tokio::test]
async fn a_server_that_closes_waits_for_the_next_poll() {
    let running = start(both_versions()).await;
    for (query, close) in [
        ("EIO=4", &b"6\x1e1"[..]),
        ("EIO=3&b64=1", b"1:61:1"),
        ("EIO=3&t=x", b"\x00\x01\xff6\x00\x01\xff1"),
    ] {
        let mut session = Polling::open(running.addr, PATH, query).await;
        running.handle(session.sid()).await.close(FORCED);
        // The application knows at once, the client when it asks.
        assert_eq!(running.close_reason(session.sid()).await, FORCED);
        sleep(A_MOMENT).await;
        let poll = session.poll().await;
        assert_eq!((poll.status, &poll.body[..]), (200, close));
        assert_unknown(&session.poll().await);
        running.sessions(0).await;
    }
}

#[tokio::test]
async fn a_server_that_closes_does_not_wait_for_ever() {
    let limit = Duration::from_millis(200);
    let running = start(Config::default().close_timeout(limit)).await;
    let mut session = running.open().await;
    let start = Instant::now();
    running.handle(session.sid()).await.close(FORCED);
    sleep(limit / 2).await;
    assert_eq!(running.server.sessions(), 1);
    running.sessions(0).await;
    let taken = start.elapsed();
    assert!(taken >= limit && taken < limit * 3, "{taken:?}");
    assert_unknown(&session.poll().await);
}

#[tokio::test]
async fn a_session_that_is_aborted_drops_what_is_queued() {
    let running = start(both_versions()).await;
    let mut session = running.open().await;
    let handle = running.handle(session.sid()).await;
    handle.send("a");
    handle.abort(FORCED);
    assert_eq!(running.close_reason(session.sid()).await, FORCED);
    assert_unknown(&session.poll().await);
    running.sessions(0).await;
    assert_eq!(handle.queued(), 0);
}

#[tokio::test]
async fn what_is_queued_leaves_before_the_session_closes() {
    let running = start(both_versions()).await;
    let mut session = running.open().await;
    let handle = running.handle(session.sid()).await;
    handle.send("a");
    handle.send("b");
    handle.close(FORCED);
    handle.send("too late");
    let mut packets = Vec::new();
    while packets.last() != Some(&"1".to_owned()) {
        let body = session.poll_text().await;
        packets.extend(body.split('\x1e').map(str::to_owned));
    }
    packets.retain(|packet| packet != "6");
    assert_eq!(packets, ["4a", "4b", "1"]);
    assert_unknown(&session.poll().await);
}

#[tokio::test]
async fn a_long_queue_leaves_before_the_session_closes() {
    let running = start(Config::default().max_payload(1000)).await;
    let mut session = running.open().await;
    let handle = running.handle(session.sid()).await;
    for number in 0..50 {
        handle.send(&*format!("{number:0100}"));
    }
    handle.close(FORCED);
    let mut packets = Vec::new();
    while packets.last() != Some(&"1".to_owned()) {
        let body = session.poll_text().await;
        packets.extend(body.split('\x1e').map(str::to_owned));
    }
    packets.retain(|packet| packet != "6" && packet != "1");
    let expected: Vec<_> = (0..50).map(|number| format!("4{number:0100}")).collect();
    assert_eq!(packets, expected);
}

#[tokio::test]
async fn posts_to_a_closing_session_are_ignored() {
    let running = start_with(Config::default(), RECORD).await;
    let mut session = running.open().await;
    running.handle(session.sid()).await.close(FORCED);
    running.close_reason(session.sid()).await;
    let response = session.post("4too late").await;
    assert!(matches!(response.status, 200 | 400), "{response:?}");
    assert_eq!(session.poll_text().await, "6\x1e1");
    let seen = running.seen(session.sid()).await;
    assert_eq!(seen.messages, []);
    assert_eq!(seen.closed, [FORCED]);
}

#[tokio::test]
async fn a_closing_session_cannot_be_upgraded() {
    let running = start(Config::default()).await;
    let mut session = running.open().await;
    running.handle(session.sid()).await.close(FORCED);
    running.close_reason(session.sid()).await;
    let url = session.ws_url();
    match testkit::Ws::connect_with_headers(running.addr, &url, &[]).await {
        Err(response) => assert_eq!(response.status, 400),
        Ok(mut ws) => {
            ws.text("2probe").await;
            assert_eq!(ws.until_closed().await, []);
        }
    }
    assert_eq!(session.poll_text().await, "6\x1e1");
}

#[tokio::test]
async fn a_post_that_is_being_read_when_the_session_closes_is_ended() {
    let running = start(Config::default()).await;
    let mut session = running.open().await;
    let url = session.url();
    session.send_poll().await;
    let http = session.post_connection();
    let headers = [("Content-Length", "100")];
    http.send_request("POST", &url, &headers, "4he").await;
    sleep(A_MOMENT).await;
    let handle = running.handle(session.sid()).await;
    handle.close(FORCED);
    // Broken off or refused, but not left waiting for bytes that nobody wants.
    if let Some(response) = session.post_connection().try_response().await {
        assert_eq!(response.status, 400);
    }
    assert_eq!(session.recv_poll().await.text(), "1");
    assert_eq!(running.close_reason(session.sid()).await, FORCED);
}

#[tokio::test]
async fn a_client_that_closes_gets_its_poll_back() {
    let running = start(both_versions()).await;
    for (query, close, noop) in [
        ("EIO=4", "1", &b"6"[..]),
        ("EIO=3&b64=1", "1:1", b"1:6"),
        ("EIO=3&t=x", "1:1", b"\x00\x01\xff6"),
    ] {
        let mut session = Polling::open(running.addr, PATH, query).await;
        session.send_poll().await;
        sleep(A_MOMENT).await;
        session.post_ok(close).await;
        assert_eq!(session.recv_poll().await.body, noop);
        assert_unknown(&session.poll().await);
        let reason = running.close_reason(session.sid()).await;
        assert_eq!(reason, CloseReason::TransportClose);
    }
}

#[tokio::test]
async fn a_client_that_closes_and_then_polls_gets_a_noop() {
    let running = start(Config::default()).await;
    let mut session = running.open().await;
    session.post_ok("1").await;
    // The application knows at once.
    let reason = running.close_reason(session.sid()).await;
    assert_eq!(reason, CloseReason::TransportClose);
    sleep(Duration::from_millis(300)).await;
    assert_eq!(session.poll_text().await, "6");
    assert_unknown(&session.poll().await);
}

#[tokio::test]
async fn a_client_that_closes_and_does_not_poll_is_soon_forgotten() {
    let running = start(Config::default()).await;
    let mut session = running.open().await;
    session.post_ok("1").await;
    running.sessions(0).await;
    assert_unknown(&session.poll().await);
}

#[tokio::test]
async fn a_client_that_closes_is_sent_nothing_more() {
    let running = start(Config::default()).await;
    let mut session = running.open().await;
    let handle = running.handle(session.sid()).await;
    handle.send("queued");
    sleep(A_MOMENT).await;
    session.post_ok("1").await;
    handle.send("later");
    assert_eq!(session.poll_text().await, "6");
}

#[tokio::test]
async fn a_poll_and_a_close_packet_at_the_same_time_end_well() {
    let running = start(Config::default()).await;
    for _ in 0..50 {
        let mut session = running.open().await;
        let url = session.url();
        let mut other = Http::connect(running.addr).await;
        session.send_poll().await;
        other.send_request("POST", &url, &[], "1").await;
        assert_eq!(session.recv_poll().await.text(), "6");
        assert_eq!(other.response().await.text(), "ok");
        assert_unknown(&session.poll().await);
    }
}

#[tokio::test]
async fn a_server_that_closes_a_websocket_sends_an_empty_close_frame() {
    let running = start(both_versions()).await;
    for query in ["EIO=4", "EIO=3"] {
        let (mut ws, open) = running.ws_with(query).await;
        running.handle(&open.sid).await.close(FORCED);
        assert_eq!(ws.recv_close().await, None);
        assert_eq!(ws.recv().await, Message::Eof);
        assert_eq!(running.close_reason(&open.sid).await, FORCED);
    }
    running.sessions(0).await;
}

#[tokio::test]
async fn what_is_queued_leaves_before_the_close_frame() {
    let running = start(Config::default()).await;
    let (mut ws, open) = running.ws().await;
    let handle = running.handle(&open.sid).await;
    let long = "x".repeat(100_000);
    for _ in 0..100 {
        handle.send(&*long);
    }
    handle.close(FORCED);
    handle.send("too late");
    sleep(A_MOMENT).await;
    for _ in 0..100 {
        assert_eq!(ws.recv_text().await.len(), 100_001);
    }
    assert_eq!(ws.recv_close().await, None);
}

#[tokio::test]
async fn messages_to_a_closing_websocket_are_ignored() {
    let running = start_with(Config::default(), RECORD).await;
    let (mut ws, open) = running.ws().await;
    running.handle(&open.sid).await.close(FORCED);
    running.close_reason(&open.sid).await;
    ws.text("4too late").await;
    assert_eq!(ws.recv_close().await, None);
    assert_eq!(ws.recv().await, Message::Eof);
    assert_eq!(running.seen(&open.sid).await.messages, []);
}

#[tokio::test]
async fn a_peer_that_does_not_answer_the_close_frame_is_left() {
    let running = start(Config::default()).await;
    let (mut ws, open) = running.ws().await;
    running.handle(&open.sid).await.close(FORCED);
    assert_eq!(ws.recv().await, Message::Close(None));
    running.sessions(0).await;
    // No answer: the server ends the connection by itself.
    assert_eq!(ws.recv().await, Message::Eof);
}

#[tokio::test]
async fn a_session_closes_once_whatever_happens() {
    let running = start(Config::default()).await;
    let (mut ws, open) = running.ws().await;
    let handle = running.handle(&open.sid).await;
    ws.close(None).await;
    for _ in 0..3 {
        handle.close(FORCED);
    }
    ws.until_closed().await;
    drop(ws);
    running.sessions(0).await;
    sleep(A_MOMENT).await;
    assert_eq!(running.seen(&open.sid).await.closed.len(), 1);
    handle.send("to nobody");
    handle.close(FORCED);
    assert!(handle.is_closed());
    assert_eq!(running.seen(&open.sid).await.closed.len(), 1);
}

#[tokio::test]
async fn a_session_can_be_closed_before_its_open_packet_has_left() {
    let close = Behaviour {
        opened: |session| session.close(FORCED),
        ..RECORD
    };
    let running = start_with(Config::default(), close).await;
    let mut session = running.open().await;
    if !session.opened.text().ends_with("\x1e1") {
        assert_eq!(session.poll_text().await, "6\x1e1");
    }
    assert_unknown(&session.poll().await);
    let (mut ws, open) = running.ws().await;
    assert_eq!(ws.recv_close().await, None);
    assert_eq!(running.close_reason(&open.sid).await, FORCED);
}

#[tokio::test]
async fn a_session_can_be_closed_by_what_arrives() {
    let close = Behaviour {
        message: |session, message| {
            session.send(message);
            session.close(FORCED);
        },
        ..RECORD
    };
    let running = start_with(Config::default(), close).await;
    let (mut ws, open) = running.ws().await;
    ws.text("4a").await;
    ws.text("4b").await;
    assert_eq!(ws.recv_text().await, "4a");
    let rest = ws.until_closed().await;
    assert!(rest.is_empty() || rest == [Message::Text("4b".to_owned())]);
    assert_eq!(running.close_reason(&open.sid).await, FORCED);

    let mut session = running.open().await;
    session.post_ok("4a").await;
    let body = session.poll_text().await;
    assert!(body.starts_with("4a"), "{body:?}");
}

/// Closes whatever arrives, and at `bye` says something first.
const CLOSES: Behaviour = Behaviour {
    message: |session, message| {
        if message == Data::from("bye") {
            session.send("last");
        }
        session.close(FORCED);
    },
    ..RECORD
};

#[tokio::test]
async fn a_close_by_a_handler_takes_effect_at_once() {
    let running = start_with(Config::default(), CLOSES).await;
    let (mut ws, open) = running.ws().await;
    ws.text("4close").await;
    assert_eq!(ws.recv_close().await, None);
    assert_eq!(running.close_reason(&open.sid).await, FORCED);

    let mut session = running.open().await;
    session.send_poll().await;
    sleep(A_MOMENT).await;
    session.post_ok("4close").await;
    assert_eq!(session.recv_poll().await.text(), "1");
    assert_eq!(running.close_reason(session.sid()).await, FORCED);
    running.sessions(0).await;
}

#[tokio::test]
async fn a_close_by_a_handler_is_told_before_the_client_polls() {
    let running = start_with(Config::default(), CLOSES).await;
    let mut session = running.open().await;
    session.post_ok("4close").await;
    assert_eq!(running.close_reason(session.sid()).await, FORCED);
    assert_eq!(session.poll_text().await, "6\x1e1");
    running.sessions(0).await;
}

#[tokio::test]
async fn what_a_handler_sends_before_it_closes_leaves() {
    let running = start_with(Config::default(), CLOSES).await;
    let (mut ws, _) = running.ws().await;
    ws.text("4bye").await;
    assert_eq!(ws.recv_text().await, "4last");
    assert_eq!(ws.recv_close().await, None);

    let mut session = running.open().await;
    session.post_ok("4bye").await;
    assert_eq!(running.close_reason(session.sid()).await, FORCED);
    assert_eq!(session.poll_text().await, "4last\x1e1");
    running.sessions(0).await;
}

#[tokio::test]
async fn a_websocket_that_reads_late_still_gets_all_before_the_close_frame() {
    let running = start_with(Config::default(), RECORD).await;
    // What fits into the socket's buffer at once, and what does not.
    let mut late = Vec::new();
    for size in [50_000, 300_000] {
        let (pipe, open) = running.ws_on_a_pipe(4096).await;
        let handle = running.handle(&open.sid).await;
        handle.send(Encoded::binary(vec![7; size]));
        handle.close(FORCED);
        late.push((size, pipe));
    }
    // Longer than a client is waited for that has only the close frame left to answer.
    sleep(Duration::from_millis(3200)).await;
    for (size, mut pipe) in late {
        let head = if size < 65_536 { 4 } else { 10 };
        let mut received = vec![0; head + size + 2];
        let read = pipe.read_exact(&mut received);
        let read = within(TIME_LIMIT, "what was sent last", read).await;
        read.expect("everything");
        assert_eq!(received[0], 0x82);
        assert!(received[head..][..size].iter().all(|byte| *byte == 7));
        assert_eq!(received[head + size..], [0x88, 0]);
    }
    running.sessions(0).await;
}
