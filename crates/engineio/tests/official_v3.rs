//! What the official conformance suite of protocol version 3 checks, case by case: 23 cases and
//! the one that it skips, with the suite's settings (ping interval 300 ms, timeout 200 ms).

mod common;

use std::time::Duration;

use common::{A_MOMENT, PATH, Running, quick, refuse_ws, start};
use testkit::{Http, Open, Polling, Upgrade, Ws};
use tokio::time::sleep;

const INTERVAL: Duration = Duration::from_millis(300);
const TIMEOUT: Duration = Duration::from_millis(200);

async fn server() -> Running {
    start(quick()).await
}

async fn ws(running: &Running) -> Ws {
    running.ws_with("EIO=3").await.0
}

async fn ws_refused(running: &Running, query: &str) -> u16 {
    let url = format!("{PATH}{query}");
    refuse_ws(running.addr, &url, &[]).await.status
}

fn assert_handshake(open: &Open, upgrades: &[&str]) {
    assert!(!open.sid.is_empty());
    assert_eq!(open.upgrades, upgrades);
    assert_eq!((open.ping_interval, open.ping_timeout), (INTERVAL, TIMEOUT));
    assert!(matches!(open.max_payload, None | Some(1_000_000)));
}

#[tokio::test]
async fn handshake_polling_opens_a_session() {
    let running = server().await;
    let response = testkit::get(running.addr, "/engine.io/?EIO=3&transport=polling").await;
    assert_eq!(response.status, 200);
    let (length, packet) = response.text().split_once(':').expect("a length");
    assert_eq!(length, packet.len().to_string());
    assert!(packet.starts_with("0{"));
    assert_handshake(&Open::parse(packet.as_bytes()), &["websocket"]);
}

#[tokio::test]
async fn handshake_polling_fails_with_an_invalid_transport() {
    let running = server().await;
    for query in ["?EIO=3", "?EIO=3&transport=abc"] {
        let response = testkit::get(running.addr, &format!("{PATH}{query}")).await;
        assert_eq!(response.status, 400, "{query}");
    }
}

#[tokio::test]
async fn handshake_polling_fails_with_an_invalid_method() {
    let running = server().await;
    let url = format!("{PATH}?EIO=3&transport=polling");
    let response = testkit::request(running.addr, "POST", &url, &[], "").await;
    assert_eq!(response.status, 400);
}

#[tokio::test]
async fn handshake_websocket_opens_a_session() {
    let running = server().await;
    let (_ws, open) = running.ws_with("EIO=3").await;
    assert_handshake(&open, &[]);
}

#[tokio::test]
async fn handshake_websocket_fails_with_an_invalid_version() {
    let running = server().await;
    for query in ["?transport=websocket", "?EIO=abc&transport=websocket"] {
        assert_eq!(ws_refused(&running, query).await, 400, "{query}");
    }
}

#[tokio::test]
async fn handshake_websocket_fails_with_an_invalid_transport() {
    let running = server().await;
    for query in ["?EIO=3", "?EIO=3&transport=abc"] {
        assert_eq!(ws_refused(&running, query).await, 400, "{query}");
    }
}

#[tokio::test]
async fn message_polling_one_text_packet() {
    let running = server().await;
    let mut session = running.open_v3().await;
    session.post_ok("6:4hello").await;
    assert_eq!(session.poll_text().await, "6:4hello");
}

#[tokio::test]
async fn message_polling_several_text_packets() {
    let running = server().await;
    let mut session = running.open_v3().await;
    let payload = "6:4test16:4test26:4test3";
    session.post_ok(payload).await;
    assert_eq!(session.poll_text().await, payload);
}

#[tokio::test]
async fn message_polling_text_and_binary_packets_as_base64() {
    let running = server().await;
    let mut session = running.open_v3().await;
    let payload = "6:4hello10:b4AQIDBA==";
    session.post_ok(payload).await;
    assert_eq!(session.poll_text().await, payload);
}

#[tokio::test]
async fn message_polling_text_and_binary_packets_as_bytes() {
    let running = server().await;
    let mut session = Polling::open(running.addr, PATH, "EIO=3").await;
    session.post_ok("6:4hello10:b4AQIDBA==").await;
    let response = session.poll().await;
    assert_eq!(response.status, 200);
    let text = b"\x00\x06\xff4hello";
    let binary = b"\x01\x05\xff\x04\x01\x02\x03\x04";
    assert_eq!(response.body, [&text[..], binary].concat());
}

#[tokio::test]
async fn message_polling_closes_upon_an_invalid_packet() {
    let running = server().await;
    let mut session = running.open_v3().await;
    assert_eq!(session.post("abc").await.status, 400);
    assert_eq!(session.poll().await.status, 400);
}

#[tokio::test]
async fn message_polling_closes_upon_a_second_poll() {
    let running = server().await;
    let mut session = running.open_v3().await;
    session.send_poll().await;
    sleep(Duration::from_millis(5)).await;
    let burst = format!("{}&t=burst", session.url());
    let second = testkit::get(running.addr, &burst).await;
    let first = session.recv_poll().await;
    assert_eq!((first.status, first.text()), (200, "1:1"));
    assert_eq!(second.status, 400);
    assert_eq!(session.poll().await.status, 400);
}

#[tokio::test]
async fn message_websocket_text() {
    let running = server().await;
    let mut ws = ws(&running).await;
    ws.text("4hello").await;
    assert_eq!(ws.recv_text().await, "4hello");
}

#[tokio::test]
async fn message_websocket_binary() {
    let running = server().await;
    let mut ws = ws(&running).await;
    ws.binary([4, 1, 2, 3, 4]).await;
    assert_eq!(ws.recv_binary().await, [4, 1, 2, 3, 4][..]);
}

#[tokio::test]
async fn message_websocket_closes_upon_an_invalid_packet() {
    let running = server().await;
    let mut ws = ws(&running).await;
    ws.text("abc").await;
    assert_eq!(ws.until_closed().await, []);
}

#[tokio::test]
async fn heartbeat_polling_pings_and_pongs() {
    let running = server().await;
    let mut session = running.open_v3().await;
    for _ in 0..3 {
        session.post_ok("1:2").await;
        assert_eq!(session.poll_text().await, "1:3");
    }
}

#[tokio::test]
async fn heartbeat_polling_closes_upon_ping_timeout() {
    let running = server().await;
    let mut session = running.open_v3().await;
    sleep(INTERVAL + TIMEOUT + A_MOMENT).await;
    assert_eq!(session.post("1:2").await.status, 400);
}

#[tokio::test]
async fn heartbeat_websocket_pings_and_pongs() {
    let running = server().await;
    let mut ws = ws(&running).await;
    for _ in 0..3 {
        ws.text("2").await;
        assert_eq!(ws.recv_text().await, "3");
    }
}

#[tokio::test]
async fn heartbeat_websocket_closes_upon_ping_timeout() {
    let running = server().await;
    let mut ws = ws(&running).await;
    assert_eq!(ws.until_closed().await, []);
}

#[tokio::test]
async fn close_polling_by_the_client() {
    let running = server().await;
    let mut session = running.open_v3().await;
    session.send_poll().await;
    sleep(A_MOMENT).await;
    session.post_ok("1:1").await;
    let poll = session.recv_poll().await;
    assert_eq!((poll.status, poll.text()), (200, "1:6"));
    assert_eq!(session.poll().await.status, 400);
}

/// The suite sends the poll and the close packet at the same time: either may arrive first.
#[tokio::test]
async fn close_polling_by_the_client_that_polls_a_little_later() {
    let running = server().await;
    let mut session = running.open_v3().await;
    let mut other = Http::connect(running.addr).await;
    other.send_request("POST", &session.url(), &[], "1:1").await;
    assert_eq!(session.poll_text().await, "1:6");
    assert_eq!(other.response().await.text(), "ok");
    assert_eq!(session.poll().await.status, 400);
}

#[tokio::test]
async fn close_websocket_by_the_client() {
    let running = server().await;
    let mut ws = ws(&running).await;
    ws.text("1").await;
    assert_eq!(ws.until_closed().await, []);
}

#[tokio::test]
async fn upgrade_succeeds() {
    let running = server().await;
    let mut session = running.open_v3().await;
    let mut upgrade = Upgrade::connect(&session).await;
    upgrade.probe().await;
    assert_eq!(session.poll_text().await, "1:6");
    let mut ws = upgrade.finish().await;
    ws.text("4hello").await;
    assert_eq!(ws.recv_text().await, "4hello");
}

async fn upgraded(running: &Running) -> (Polling, Ws) {
    let session = running.open_v3().await;
    let mut upgrade = Upgrade::connect(&session).await;
    upgrade.probe().await;
    (session, upgrade.finish().await)
}

#[tokio::test]
async fn upgrade_leaves_no_polling_behind() {
    let running = server().await;
    let (mut session, mut ws) = upgraded(&running).await;
    sleep(A_MOMENT).await;
    assert_eq!(session.poll().await.status, 400);
    ws.text("4hello").await;
    assert_eq!(ws.recv_text().await, "4hello");
}

#[tokio::test]
async fn upgrade_happens_once() {
    let running = server().await;
    let (session, mut ws) = upgraded(&running).await;
    sleep(A_MOMENT).await;
    // Closed, not refused: in Node.js the suite does not listen for the error of a refusal.
    let mut second = Ws::connect(running.addr, &session.ws_url()).await;
    assert_eq!(second.until_closed().await, []);
    ws.text("4hello").await;
    assert_eq!(ws.recv_text().await, "4hello");
}
