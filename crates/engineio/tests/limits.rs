//! Sizes, counts and slow readers.

mod common;

use std::time::Duration;

use common::{A_MOMENT, Behaviour, RECORD, both_versions, start, start_with};
use engineio::{CloseReason, Config};
use testkit::{Http, Polling, TIME_LIMIT, Wire, ws};
use tokio::time::{sleep, timeout};

const LIMIT: usize = 1000;

const MIB: usize = 1024 * 1024;

fn config() -> Config {
    both_versions().max_payload(LIMIT)
}

/// A text message that is so many bytes long on the wire.
fn message(bytes: usize) -> String {
    format!("4{}", "x".repeat(bytes - 1))
}

#[tokio::test]
async fn a_body_of_the_largest_size_is_taken() {
    let running = start(config()).await;
    let mut session = running.open().await;
    session.post_ok(&message(LIMIT)).await;
    assert_eq!(session.poll_text().await, message(LIMIT));
}

#[tokio::test]
async fn a_larger_body_is_refused_and_the_session_goes_on() {
    let running = start(config()).await;
    let mut session = running.open().await;
    session.send_poll().await;
    for size in [LIMIT + 1, LIMIT * 10] {
        let response = session.post(&message(size)).await;
        assert_eq!((response.status, response.text()), (413, ""));
    }
    session.post_ok("4hello").await;
    assert_eq!(session.recv_poll().await.text(), "4hello");
    assert_eq!(running.messages(session.sid(), 1).await, ["hello"]);
}

#[tokio::test]
async fn a_much_larger_body_is_refused_and_the_client_hears_of_it() {
    let running = start(config()).await;
    let mut session = running.open().await;
    for _ in 0..5 {
        let response = session.post(&message(5_000_000)).await;
        assert_eq!(response.status, 413);
    }
    session.post_ok("4hello").await;
    assert_eq!(session.poll_text().await, "4hello");
}

/// The rest of a body that was refused is taken, so that the client can read the answer, but not for
/// ever.
#[tokio::test]
async fn a_refused_body_has_an_end() {
    let running = start(config()).await;
    let session = running.open().await;
    let mut http = Http::connect(running.addr).await;
    let headers = [("Transfer-Encoding", "chunked")];
    http.send_request("POST", &session.url(), &headers, "")
        .await;
    let chunk = format!("100000\r\n{}\r\n", "x".repeat(MIB));
    http.send(&chunk).await;
    assert_eq!(http.response().await.status, 413);
    let mut taken = 1;
    let all = async {
        while !http.wire().has_ended() {
            http.wire().send(&chunk).await;
            taken += 1;
        }
    };
    timeout(TIME_LIMIT, all).await.expect("an end");
    // What else has left is in the buffers of the kernel.
    assert!((64..100).contains(&taken), "{taken} MiB");
}

#[tokio::test]
async fn a_body_that_says_that_it_is_too_large_need_not_be_sent() {
    let running = start(config()).await;
    let mut session = running.open().await;
    let url = session.url();
    for length in ["1001", "99999999999", "9223372036854775807"] {
        let mut http = Http::connect(running.addr).await;
        let headers = [("Content-Length", length)];
        http.send_request("POST", &url, &headers, "").await;
        assert_eq!(http.response().await.status, 413, "{length}");
    }
    session.post_ok("4hello").await;
    assert_eq!(session.poll_text().await, "4hello");
}

#[tokio::test]
async fn chunks_are_counted() {
    let running = start(config()).await;
    let mut session = running.open().await;
    let url = session.url();
    let mut http = Http::connect(running.addr).await;
    let headers = [("Transfer-Encoding", "chunked")];
    http.send_request("POST", &url, &headers, "1\r\n4\r\n")
        .await;
    for _ in 0..20 {
        http.send(format!("64\r\n{}\r\n", "x".repeat(100))).await;
    }
    assert_eq!(http.response().await.status, 413);
    session.post_ok("4hello").await;
    assert_eq!(session.poll_text().await, "4hello");
    assert_eq!(running.messages(session.sid(), 1).await, ["hello"]);
}

#[tokio::test]
async fn a_connection_goes_on_after_a_body_that_was_refused() {
    let running = start(config()).await;
    let session = running.open().await;
    let url = session.url();
    let size = 2_000_000;
    let declared = format!("Content-Length: {size}\r\n\r\n{}", message(size));
    let chunk = format!("2710\r\n{}\r\n", "x".repeat(10_000));
    let chunks = chunk.repeat(size / 10_000);
    let chunked = format!("Transfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n");
    let small = "Content-Length: 6\r\n\r\n4hello";
    let mut http = Http::connect(running.addr).await;
    // Bytes, so that nothing connects anew.
    for (rest, status) in [
        (&*declared, 413),
        (small, 200),
        (&*chunked, 413),
        (small, 200),
    ] {
        http.send(format!("POST {url} HTTP/1.1\r\nHost: a\r\n{rest}"))
            .await;
        let response = http.response().await;
        assert_eq!(response.status, status);
        assert!(!response.closes(), "{response:?}");
    }
    let messages = running.messages(session.sid(), 2).await;
    assert_eq!(messages, ["hello", "hello"]);
}

#[tokio::test]
async fn the_limit_holds_for_version_3_and_for_bytes() {
    let running = start(config()).await;
    let mut session = running.open_v3().await;
    let body = format!("1001:{}", message(1001));
    assert_eq!(session.post(&body).await.status, 413);
    let bytes = vec![0; LIMIT + 1];
    let response = session.post_as("application/octet-stream", bytes).await;
    assert_eq!(response.status, 413);
    session.post_ok("6:4hello").await;
    assert_eq!(session.poll_text().await, "6:4hello");
}

#[tokio::test]
async fn a_websocket_message_of_the_largest_size_is_taken() {
    let running = start(config()).await;
    let (mut ws, _) = running.ws().await;
    ws.text(&message(LIMIT)).await;
    assert_eq!(ws.recv_text().await, message(LIMIT));
    ws.binary(vec![7; LIMIT]).await;
    assert_eq!(ws.recv_binary().await, vec![7; LIMIT]);
    let part = vec![b'4'; LIMIT / 2];
    ws.fragments(ws::TEXT, &[&part, &part]).await;
    assert_eq!(ws.recv_text().await, "4".repeat(LIMIT));
}

#[tokio::test]
async fn a_larger_websocket_message_closes_with_1009() {
    let running = start(config()).await;
    for size in [LIMIT + 1, LIMIT * 100] {
        let (mut ws, open) = running.ws().await;
        ws.text(&message(size)).await;
        assert_eq!(ws.recv_close().await, Some(1009));
        let seen = running.close_reason(&open.sid).await;
        assert_eq!(seen, CloseReason::TransportError);

        let (mut ws, open) = running.ws().await;
        ws.binary(vec![7; size]).await;
        assert_eq!(ws.recv_close().await, Some(1009));
        running.close_reason(&open.sid).await;
        assert_eq!(running.seen(&open.sid).await.messages, []);
    }
}

#[tokio::test]
async fn fragments_are_added_up() {
    let running = start(config()).await;
    let (mut ws, open) = running.ws().await;
    let part = [b'4'; 100];
    ws.fragments(ws::TEXT, &[&part[..]; 11]).await;
    assert_eq!(ws.recv_close().await, Some(1009));
    running.close_reason(&open.sid).await;
    assert_eq!(running.seen(&open.sid).await.messages, []);
}

#[tokio::test]
async fn a_frame_that_says_that_it_is_too_large_need_not_be_sent() {
    let running = start(config()).await;
    for length in [1001_u64, 1 << 40, (1 << 63) - 1, u64::MAX] {
        let (mut ws, open) = running.ws().await;
        let mut head = vec![0x82, 0xff];
        head.extend(length.to_be_bytes());
        head.extend([0; 4]);
        ws.raw(head).await;
        assert!(matches!(ws.recv_close().await, Some(1009 | 1002)));
        let seen = running.close_reason(&open.sid).await;
        assert_eq!(seen, CloseReason::TransportError);
    }
}

#[tokio::test]
async fn the_limit_is_for_what_clients_send() {
    let running = start(config()).await;
    let mut session = running.open().await;
    let handle = running.handle(session.sid()).await;
    let long = "x".repeat(LIMIT * 3);
    handle.send(&*long);
    assert_eq!(session.poll_text().await, format!("4{long}"));
    let (mut ws, open) = running.ws().await;
    running.handle(&open.sid).await.send(&*long);
    assert_eq!(ws.recv_text().await, format!("4{long}"));
}

#[tokio::test]
async fn a_long_queue_is_spread_over_several_polls() {
    let running = start(config()).await;
    let mut session = running.open().await;
    let handle = running.handle(session.sid()).await;
    for number in 0..100 {
        handle.send(&*format!("{number:0100}"));
    }
    let mut received = Vec::new();
    while received.len() < 100 {
        let body = session.poll_text().await;
        assert!(body.len() <= LIMIT + LIMIT / 4, "{} bytes", body.len());
        received.extend(body.split('\x1e').map(str::to_owned));
    }
    let expected: Vec<_> = (0..100).map(|number| format!("4{number:0100}")).collect();
    assert_eq!(received, expected);
}

#[tokio::test]
async fn packets_in_a_body_are_counted() {
    let running = start(both_versions().max_packets(3)).await;
    let mut session = running.open().await;
    session.post_ok("4a\x1e4b\x1e4c").await;
    assert_eq!(session.post("4a\x1e4b\x1e4c\x1e4d").await.status, 400);
    let reason = running.close_reason(session.sid()).await;
    assert_eq!(reason, CloseReason::ParseError);

    let mut session = running.open_v3().await;
    session.post_ok("2:4a2:4b2:4c").await;
    assert_eq!(session.post("2:4a2:4b2:4c2:4d").await.status, 400);
    let reason = running.close_reason(session.sid()).await;
    assert_eq!(reason, CloseReason::ParseError);
}

#[tokio::test]
async fn a_client_that_does_not_poll_does_not_fill_the_memory() {
    let running = start(both_versions().max_queued(100_000)).await;
    let session = running.open().await;
    let handle = running.handle(session.sid()).await;
    let long = "x".repeat(10_000);
    let mut largest = 0;
    for _ in 0..100 {
        handle.send(&*long);
        largest = largest.max(handle.queued());
    }
    assert!(largest <= 100_000, "{largest} bytes queued");
    let reason = running.close_reason(session.sid()).await;
    assert_eq!(reason, CloseReason::SlowClient);
    running.sessions(0).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_does_not_fill_the_memory() {
    let running = start(both_versions().max_queued(1_000_000)).await;
    let (_ws, open) = running.ws().await;
    let handle = running.handle(&open.sid).await;
    let long = "x".repeat(100_000);
    let fill = async {
        while running.seen(&open.sid).await.closed.is_empty() {
            handle.send(&*long);
            assert!(handle.queued() <= 1_000_000);
            tokio::task::yield_now().await;
        }
    };
    testkit::within(testkit::TIME_LIMIT, "the session to close", fill).await;
    let reason = running.close_reason(&open.sid).await;
    assert_eq!(reason, CloseReason::SlowClient);
    running.sessions(0).await;
}

#[tokio::test]
async fn a_handler_that_sends_too_much_closes_its_session_at_once() {
    let flood = Behaviour {
        message: |session, _| (0..200).for_each(|_| session.send(&*"x".repeat(1000))),
        ..RECORD
    };
    let running = start_with(both_versions().max_queued(100_000), flood).await;
    let (mut ws, open) = running.ws().await;
    ws.text("4flood").await;
    let reason = running.close_reason(&open.sid).await;
    assert_eq!(reason, CloseReason::SlowClient);

    let mut session = running.open().await;
    session.post_ok("4flood").await;
    let reason = running.close_reason(session.sid()).await;
    assert_eq!(reason, CloseReason::SlowClient);
    running.sessions(0).await;
}

#[tokio::test]
async fn empty_messages_count_as_well() {
    let running = start(both_versions().max_queued(10_000)).await;
    let session = running.open().await;
    let handle = running.handle(session.sid()).await;
    for _ in 0..10_000 {
        handle.send("");
    }
    let reason = running.close_reason(session.sid()).await;
    assert_eq!(reason, CloseReason::SlowClient);
}

#[tokio::test]
async fn a_client_that_reads_in_time_may_be_sent_any_amount() {
    let running = start(both_versions().max_queued(200_000)).await;
    let (mut ws, open) = running.ws().await;
    let handle = running.handle(&open.sid).await;
    let long = "x".repeat(50_000);
    for _ in 0..200 {
        handle.send(&*long);
        assert_eq!(ws.recv_text().await.len(), 50_001);
    }
    running.assert_open(&open.sid).await;
}

#[tokio::test]
async fn a_post_is_answered_when_the_application_has_caught_up() {
    let running = start_with(both_versions(), RECORD).await;
    let mut session = running.open().await;
    running.hold();
    let url = session.url();
    let long = message(200_000);
    session
        .post_connection()
        .send_request("POST", &url, &[], &long)
        .await;
    session.post_connection().silence(A_MOMENT).await;
    running.release();
    assert_eq!(session.post_connection().response().await.text(), "ok");
    session.post_ok("4hello").await;
    let messages = running.messages(session.sid(), 2).await;
    assert_eq!(messages, [&long[1..], "hello"]);
}

#[tokio::test]
async fn a_websocket_is_not_read_when_the_application_is_behind() {
    let running = start_with(both_versions(), RECORD).await;
    let (mut ws, open) = running.ws().await;
    running.hold();
    let messages = 800;
    let send = async move {
        for number in 0..messages {
            ws.text(&format!("4{number:050000}")).await;
        }
        ws
    };
    let mut sending = tokio::spawn(send);
    let early = timeout(Duration::from_millis(500), &mut sending).await;
    assert!(early.is_err(), "40 MB went somewhere");
    assert_eq!(running.seen(&open.sid).await.messages, []);
    running.release();
    let received = running.messages(&open.sid, messages).await;
    for (number, message) in received.iter().enumerate() {
        assert_eq!(*message, format!("{number:050000}"));
    }
    sending.await.expect("no panic");
}

#[tokio::test]
async fn an_application_that_is_behind_can_still_speak() {
    let running = start_with(both_versions(), RECORD).await;
    running.hold();
    let (mut ws, open) = running.ws().await;
    for _ in 0..20 {
        ws.text(&message(10_000)).await;
    }
    sleep(A_MOMENT).await;
    running.handle(&open.sid).await.send("hello");
    assert_eq!(ws.recv_text().await, "4hello");
    running.release();
    running.messages(&open.sid, 20).await;
}

#[tokio::test]
async fn a_client_that_leaves_while_the_application_is_behind_is_still_heard() {
    let running = start_with(both_versions(), RECORD).await;
    let mut session = running.open().await;
    running.hold();
    session.post_ok("4a").await;
    session.post_ok("4b").await;
    sleep(A_MOMENT).await;
    session.send_poll().await;
    session.post_ok("1").await;
    let reason = running.close_reason(session.sid()).await;
    assert_eq!(reason, CloseReason::TransportClose);
    assert_eq!(running.messages(session.sid(), 2).await, ["a", "b"]);
}

#[tokio::test]
async fn a_request_head_has_a_limit() {
    let running = start(both_versions()).await;
    let mut wire = Wire::connect(running.addr).await;
    let long = "x".repeat(300_000);
    wire.send(format!(
        "GET /engine.io/ HTTP/1.1\r\nHost: a\r\nX-Long: {long}\r\n\r\n"
    ))
    .await;
    let answer = wire.rest().await;
    let refused = answer.starts_with(b"HTTP/1.1 431 ") || answer.starts_with(b"HTTP/1.1 400 ");
    assert!(refused || answer.is_empty(), "{answer:?}");
    Polling::open(running.addr, "/engine.io/", "EIO=4").await;
}
