//! What the official conformance suite of protocol version 5 checks, case by case: 32 cases, with
//! the suite's settings (ping every 300 ms, 200 ms for the answer, 1 s to join a namespace).
#![allow(
    clippy::unwrap_used,
    reason = "clippy sees no tests in functions that tests share"
)]

mod common;

use std::time::{Duration, Instant};

use common::{PATH, Running, official};
use serde_json::{Value, json};
use socketio::SocketIo;
use testkit::{Message, Polling, Upgrade, Ws};
use tokio::time::sleep;

const INTERVAL: Duration = Duration::from_millis(300);
const TIMEOUT: Duration = Duration::from_millis(200);

async fn server() -> Running {
    server_with(Duration::from_secs(1)).await
}

async fn server_with(connect_timeout: Duration) -> Running {
    let io = SocketIo::builder()
        .connect_timeout(connect_timeout)
        .engine(|config| config.ping_interval(INTERVAL).ping_timeout(TIMEOUT))
        .build();
    official(&io);
    Running::start(io).await
}

/// The status of a request without a body.
async fn status(running: &Running, method: &str, query: &str) -> u16 {
    let url = format!("{PATH}{query}");
    let response = testkit::request(running.addr, method, &url, &[], "").await;
    response.status
}

async fn ws_is_refused(running: &Running, query: &str) {
    let url = format!("{PATH}{query}");
    let refused = Ws::connect_with_headers(running.addr, &url, &[]).await;
    assert_eq!(refused.expect_err(query).status, 400, "{query}");
}

/// The open packet has these members, and no other.
#[track_caller]
fn assert_open(packet: &str, upgrades: Value) {
    let json = packet.strip_prefix('0').expect("an open packet");
    let open: Value = serde_json::from_str(json).unwrap();
    assert!(open["sid"].is_string());
    let expected = json!({
        "sid": open["sid"],
        "upgrades": upgrades,
        "pingInterval": 300,
        "pingTimeout": 200,
        "maxPayload": 1_000_000,
    });
    assert_eq!(open, expected);
}

/// The next message that is no ping.
async fn next(ws: &mut Ws) -> Message {
    loop {
        match ws.recv().await {
            Message::Text(text) if text == "2" => ws.text("3").await,
            message => return message,
        }
    }
}

async fn next_text(ws: &mut Ws) -> String {
    match next(ws).await {
        Message::Text(text) => text,
        other => panic!("expected text, got {other:?}"),
    }
}

/// The answer to a CONNECT: the id of the socket and nothing else.
async fn assert_joined(ws: &mut Ws, prefix: &str) {
    let packet = next_text(ws).await;
    let json = packet.strip_prefix(prefix).expect(&packet);
    let answer: Value = serde_json::from_str(json).unwrap();
    assert!(answer["sid"].is_string());
    assert_eq!(answer.as_object().unwrap().len(), 1);
}

/// A connection that has joined `/` and got its `auth`.
async fn joined(running: &Running) -> Ws {
    let mut ws = running.ws().await;
    ws.text("40").await;
    assert_joined(&mut ws, "40").await;
    assert_eq!(next_text(&mut ws).await, r#"42["auth",{}]"#);
    ws
}

#[tokio::test]
async fn handshake_polling_opens_a_session() {
    let running = server().await;
    let url = format!("{PATH}?EIO=4&transport=polling");
    let response = testkit::get(running.addr, &url).await;
    assert_eq!(response.status, 200);
    assert_open(response.text(), json!(["websocket"]));
}

#[tokio::test]
async fn handshake_polling_fails_with_an_invalid_version() {
    let running = server().await;
    for query in ["?transport=polling", "?EIO=abc&transport=polling"] {
        assert_eq!(status(&running, "GET", query).await, 400, "{query}");
    }
}

#[tokio::test]
async fn handshake_polling_fails_with_an_invalid_transport() {
    let running = server().await;
    for query in ["?EIO=4", "?EIO=4&transport=abc"] {
        assert_eq!(status(&running, "GET", query).await, 400, "{query}");
    }
}

#[tokio::test]
async fn handshake_polling_fails_with_an_invalid_method() {
    let running = server().await;
    for method in ["POST", "PUT"] {
        let status = status(&running, method, "?EIO=4&transport=polling").await;
        assert_eq!(status, 400, "{method}");
    }
}

#[tokio::test]
async fn handshake_websocket_opens_a_session() {
    let running = server().await;
    let url = format!("{PATH}?EIO=4&transport=websocket");
    let mut ws = Ws::connect(running.addr, &url).await;
    assert_open(&ws.recv_text().await, json!([]));
}

#[tokio::test]
async fn handshake_websocket_fails_with_an_invalid_version() {
    let running = server().await;
    for query in ["?transport=websocket", "?EIO=abc&transport=websocket"] {
        ws_is_refused(&running, query).await;
    }
}

#[tokio::test]
async fn handshake_websocket_fails_with_an_invalid_transport() {
    let running = server().await;
    for query in ["?EIO=4", "?EIO=4&transport=abc"] {
        ws_is_refused(&running, query).await;
    }
}

#[tokio::test]
async fn heartbeat_polling_pings() {
    let running = server().await;
    let mut session = running.poll().await;
    for _ in 0..3 {
        assert_eq!(session.poll_text().await, "2");
        session.post_ok("3").await;
    }
}

#[tokio::test]
async fn heartbeat_polling_closes_upon_ping_timeout() {
    let running = server().await;
    let mut session = running.poll().await;
    sleep(INTERVAL + TIMEOUT + Duration::from_millis(20)).await;
    assert_eq!(session.poll().await.status, 400);
}

#[tokio::test]
async fn heartbeat_websocket_pings() {
    let running = server().await;
    let mut ws = running.ws().await;
    for _ in 0..3 {
        assert_eq!(ws.recv_text().await, "2");
        ws.text("3").await;
    }
}

#[tokio::test]
async fn heartbeat_websocket_closes_upon_ping_timeout() {
    let running = server_with(Duration::from_secs(60)).await;
    let mut ws = running.ws().await;
    assert_eq!(ws.until_closed().await, [Message::Text("2".into())]);
}

#[tokio::test]
async fn close_polling() {
    let running = server().await;
    let mut session = running.poll().await;
    session.send_poll().await;
    session.post_ok("1").await;
    let poll = session.recv_poll().await;
    assert_eq!((poll.status, poll.text()), (200, "6"));
    assert_eq!(session.poll().await.status, 400);
}

#[tokio::test]
async fn close_websocket() {
    let running = server().await;
    let mut ws = running.ws().await;
    ws.text("1").await;
    ws.until_closed().await;
}

async fn upgraded(running: &Running) -> (Polling, Ws) {
    let session = running.poll().await;
    let mut upgrade = Upgrade::connect(&session).await;
    upgrade.probe().await;
    let ws = upgrade.finish().await;
    (session, ws)
}

#[tokio::test]
async fn upgrade() {
    let running = server().await;
    let (_, mut ws) = upgraded(&running).await;
    ws.text("40").await;
    assert_joined(&mut ws, "40").await;
}

#[tokio::test]
async fn upgrade_ends_polling() {
    let running = server().await;
    let (mut session, _ws) = upgraded(&running).await;
    assert_eq!(session.poll().await.status, 400);
}

#[tokio::test]
async fn upgrade_happens_once() {
    let running = server().await;
    let (session, _ws) = upgraded(&running).await;
    let mut second = Ws::connect(running.addr, &session.ws_url()).await;
    assert!(second.until_closed().await.is_empty());
}

#[tokio::test]
async fn connect_to_the_main_namespace() {
    let running = server().await;
    joined(&running).await;
}

#[tokio::test]
async fn connect_to_the_main_namespace_with_a_payload() {
    let running = server().await;
    let mut ws = running.ws().await;
    ws.text(r#"40{"token":"123"}"#).await;
    assert_joined(&mut ws, "40").await;
    assert_eq!(next_text(&mut ws).await, r#"42["auth",{"token":"123"}]"#);
}

#[tokio::test]
async fn connect_to_a_custom_namespace() {
    let running = server().await;
    let mut ws = running.ws().await;
    ws.text("40/custom,").await;
    assert_joined(&mut ws, "40/custom,").await;
    assert_eq!(next_text(&mut ws).await, r#"42/custom,["auth",{}]"#);
}

#[tokio::test]
async fn connect_to_a_custom_namespace_with_a_payload() {
    let running = server().await;
    let mut ws = running.ws().await;
    ws.text(r#"40/custom,{"token":"abc"}"#).await;
    assert_joined(&mut ws, "40/custom,").await;
    assert_eq!(
        next_text(&mut ws).await,
        r#"42/custom,["auth",{"token":"abc"}]"#
    );
}

#[tokio::test]
async fn connect_to_an_unknown_namespace_is_refused() {
    let running = server().await;
    let mut ws = running.ws().await;
    ws.text("40/random").await;
    assert_eq!(
        next_text(&mut ws).await,
        r#"44/random,{"message":"Invalid namespace"}"#
    );
}

#[tokio::test]
async fn connect_with_something_else_closes() {
    let running = server().await;
    let mut ws = running.ws().await;
    ws.text("4abc").await;
    assert!(ws.until_closed().await.is_empty());
}

#[tokio::test]
async fn connect_in_time_or_never() {
    let running = server().await;
    let mut ws = running.ws().await;
    let start = Instant::now();
    // it answers the pings, so this is not the heartbeat
    while let Message::Text(_) = next(&mut ws).await {}
    let took = start.elapsed();
    assert!((700..4000).contains(&took.as_millis()), "{took:?}");
}

#[tokio::test]
async fn disconnect_from_the_main_namespace() {
    let running = server().await;
    let mut ws = joined(&running).await;
    ws.text("41").await;
    assert_eq!(ws.recv_text().await, "2", "the connection lives on");
}

#[tokio::test]
async fn disconnect_from_a_custom_namespace() {
    let running = server().await;
    let mut ws = joined(&running).await;
    ws.text("40/custom").await;
    assert_joined(&mut ws, "40/custom,").await;
    next_text(&mut ws).await;
    ws.text("41/custom").await;
    ws.text(r#"42["message","to the main namespace"]"#).await;
    assert_eq!(
        next_text(&mut ws).await,
        r#"42["message-back","to the main namespace"]"#
    );
}

#[tokio::test]
async fn message_of_text() {
    let running = server().await;
    let mut ws = joined(&running).await;
    ws.text(r#"42["message",1,"2",{"3":[true]}]"#).await;
    assert_eq!(
        next_text(&mut ws).await,
        r#"42["message-back",1,"2",{"3":[true]}]"#
    );
}

const TWO_PLACEHOLDERS: &str = r#"{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}"#;

/// Sends a header and two attachments, and expects another header and the same attachments.
async fn binary_round_trip(sent: String, expected: String) {
    let running = server().await;
    let mut ws = joined(&running).await;
    ws.text(&sent).await;
    ws.binary([1, 2, 3]).await;
    ws.binary([4, 5, 6]).await;
    assert_eq!(next_text(&mut ws).await, expected);
    for bytes in [[1, 2, 3], [4, 5, 6]] {
        assert_eq!(next(&mut ws).await, Message::Binary(bytes.to_vec().into()));
    }
}

#[tokio::test]
async fn message_with_attachments() {
    let event = |name| format!(r#"452-["{name}",{TWO_PLACEHOLDERS}]"#);
    binary_round_trip(event("message"), event("message-back")).await;
}

#[tokio::test]
async fn message_of_text_with_an_ack() {
    let running = server().await;
    let mut ws = joined(&running).await;
    ws.text(r#"42456["message-with-ack",1,"2",{"3":[false]}]"#)
        .await;
    assert_eq!(next_text(&mut ws).await, r#"43456[1,"2",{"3":[false]}]"#);
}

#[tokio::test]
async fn message_with_attachments_and_an_ack() {
    let sent = format!(r#"452-789["message-with-ack",{TWO_PLACEHOLDERS}]"#);
    binary_round_trip(sent, format!("462-789[{TWO_PLACEHOLDERS}]")).await;
}

async fn closes_upon(packet: &str) {
    let running = server().await;
    let mut ws = joined(&running).await;
    ws.text(packet).await;
    let before = ws.until_closed().await;
    assert!(before.iter().all(|it| *it == Message::Text("2".into())));
    assert!(running.io.of("/").is_empty());
}

#[tokio::test]
async fn message_of_an_unknown_type_closes() {
    closes_upon("4abc").await;
}

#[tokio::test]
async fn message_with_an_invalid_payload_closes() {
    closes_upon("42{}").await;
}

#[tokio::test]
async fn message_with_an_invalid_ack_id_closes() {
    closes_upon(r#"42abc["message-with-ack",1,"2",{"3":[false]}]"#).await;
}
