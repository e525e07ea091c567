//! Shutting a server down.

mod common;

use std::time::Duration;

use common::{A_MOMENT, RECORD, assert_error, both_versions, refuse_ws, start, start_with};
use engineio::{CloseReason, Config};
use testkit::{Http, Message, TIME_LIMIT, Upgrade, within};
use tokio::{
    io::AsyncReadExt,
    net::TcpListener,
    time::{Instant, sleep},
};

const DOWN: CloseReason = CloseReason::ServerShuttingDown;
const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn every_client_is_told() {
    let running = start(both_versions()).await;
    let mut waiting = running.open().await;
    waiting.send_poll().await;
    let mut waiting_v3 = running.open_v3().await;
    waiting_v3.send_poll().await;
    let (mut ws, open) = running.ws().await;
    let mut probing = running.open().await;
    probing.send_poll().await;
    let mut upgrade = Upgrade::connect(&probing).await;
    sleep(A_MOMENT).await;

    let start = Instant::now();
    let server = running.server.clone();
    let close = tokio::spawn(async move { server.close(LONG).await });
    assert_eq!(waiting.recv_poll().await.text(), "1");
    assert_eq!(waiting_v3.recv_poll().await.text(), "1:1");
    assert_eq!(probing.recv_poll().await.text(), "1");
    assert_eq!(ws.recv_close().await, None);
    assert_eq!(upgrade.ws.until_closed().await, []);
    within(TIME_LIMIT, "close()", close)
        .await
        .expect("no panic");
    assert!(start.elapsed() < TIME_LIMIT);
    for sid in [waiting.sid(), waiting_v3.sid(), &open.sid, probing.sid()] {
        assert_eq!(running.close_reason(sid).await, DOWN);
    }
    assert_eq!(running.server.sessions(), 0);
}

#[tokio::test]
async fn a_client_between_two_polls_is_waited_for() {
    let running = start(Config::default()).await;
    let mut session = running.open().await;
    let server = running.server.clone();
    let close = tokio::spawn(async move { server.close(LONG).await });
    assert_eq!(running.close_reason(session.sid()).await, DOWN);
    sleep(A_MOMENT).await;
    assert!(!close.is_finished());
    assert_eq!(session.poll_text().await, "6\x1e1");
    within(TIME_LIMIT, "close()", close)
        .await
        .expect("no panic");
}

#[tokio::test]
async fn nobody_is_waited_for_longer_than_the_grace() {
    let running = start(Config::default()).await;
    let session = running.open().await;
    let grace = Duration::from_millis(200);
    let start = Instant::now();
    running.server.close(grace).await;
    let taken = start.elapsed();
    assert!(taken >= grace && taken < grace * 3, "{taken:?}");
    assert_eq!(running.close_reason(session.sid()).await, DOWN);
}

#[tokio::test]
async fn what_is_queued_still_leaves() {
    let running = start(Config::default()).await;
    let mut session = running.open().await;
    let (mut ws, open) = running.ws().await;
    running.handle(session.sid()).await.send("last");
    running.handle(&open.sid).await.send("last");
    let server = running.server.clone();
    let close = tokio::spawn(async move { server.close(LONG).await });
    assert_eq!(ws.recv_text().await, "4last");
    assert_eq!(ws.recv_close().await, None);
    let mut packets = Vec::new();
    while packets.last() != Some(&"1".to_owned()) {
        let body = session.poll_text().await;
        packets.extend(body.split('\x1e').map(str::to_owned));
    }
    assert_eq!(packets[0], "4last");
    within(TIME_LIMIT, "close()", close)
        .await
        .expect("no panic");
}

#[tokio::test]
async fn what_a_websocket_has_not_read_yet_is_waited_for() {
    let running = start_with(Config::default(), RECORD).await;
    let (mut pipe, open) = running.ws_on_a_pipe(4096).await;
    let long = "x".repeat(300_000);
    running.handle(&open.sid).await.send(&*long);
    let server = running.server.clone();
    let close = tokio::spawn(async move { server.close(LONG).await });
    // Nobody finds the session any more, but its last message is still here.
    running.sessions(0).await;
    sleep(A_MOMENT).await;
    assert!(!close.is_finished());
    let mut received = vec![0; 10 + 1 + long.len() + 2];
    let read = pipe.read_exact(&mut received);
    let read = within(TIME_LIMIT, "what was sent", read).await;
    read.expect("everything");
    assert!(received.ends_with(&[b'x', b'x', 0x88, 0]));
    drop(pipe);
    within(TIME_LIMIT, "close()", close)
        .await
        .expect("no panic");
}

#[tokio::test]
async fn no_session_opens_any_more() {
    let running = start(Config::default()).await;
    running.server.close(LONG).await;
    let url = "/engine.io/?EIO=4&transport=polling";
    let response = testkit::get(running.addr, url).await;
    assert_error(&response, 503, 3, "Server shutting down");
    let url = "/engine.io/?EIO=4&transport=websocket";
    let response = refuse_ws(running.addr, url, &[]).await;
    assert_error(&response, 503, 3, "Server shutting down");
    assert_eq!(running.server.sessions(), 0);
}

#[tokio::test]
async fn a_server_without_sessions_closes_at_once() {
    let running = start(Config::default()).await;
    let close = running.server.close(LONG);
    within(Duration::from_secs(1), "close()", close).await;
    // And a second time.
    let close = running.server.close(LONG);
    within(Duration::from_secs(1), "close()", close).await;
}

#[tokio::test]
async fn many_sessions_close_together() {
    let running = start_with(Config::default(), RECORD).await;
    let mut sessions = Vec::new();
    for _ in 0..100 {
        let mut session = running.open().await;
        session.send_poll().await;
        sessions.push(session);
    }
    sleep(A_MOMENT).await;
    let close = running.server.close(LONG);
    within(TIME_LIMIT, "close()", close).await;
    assert_eq!(running.server.sessions(), 0);
    for mut session in sessions {
        assert_eq!(session.recv_poll().await.text(), "1");
    }
}

#[tokio::test]
async fn the_accept_loop_ends_and_frees_its_port() {
    let mut running = start(Config::default()).await;
    let mut idle = Http::connect(running.addr).await;
    assert_eq!(idle.get("/nothing").await.status, 404);
    running.server.close(LONG).await;
    let stop = running.shutdown.take().expect("the first time");
    stop.send(()).expect("somebody listens");
    let task = &mut running.task;
    within(TIME_LIMIT, "the accept loop to end", task)
        .await
        .expect("no panic");
    idle.closed().await;
    TcpListener::bind(running.addr).await.expect("a free port");
}

#[tokio::test]
async fn requests_in_progress_are_answered_before_the_accept_loop_ends() {
    let config = Config::default().allow_request(async |_| {
        sleep(Duration::from_millis(300)).await;
        Ok(())
    });
    let mut running = start(config).await;
    let mut http = Http::connect(running.addr).await;
    let url = "/engine.io/?EIO=4&transport=polling";
    http.send_request("GET", url, &[], "").await;
    sleep(A_MOMENT).await;
    let stop = running.shutdown.take().expect("the first time");
    stop.send(()).expect("somebody listens");
    assert_eq!(http.response().await.status, 200);
    let task = &mut running.task;
    within(TIME_LIMIT, "the accept loop to end", task)
        .await
        .expect("no panic");
}

#[tokio::test]
async fn an_upgraded_connection_does_not_hold_the_accept_loop_up() {
    let mut running = start(Config::default()).await;
    let (mut ws, _) = running.ws().await;
    let stop = running.shutdown.take().expect("the first time");
    stop.send(()).expect("somebody listens");
    let task = &mut running.task;
    within(TIME_LIMIT, "the accept loop to end", task)
        .await
        .expect("no panic");
    // The session is no HTTP request: it lives until it is closed.
    ws.text("4hello").await;
    assert_eq!(ws.recv_text().await, "4hello");
    running.server.close(Duration::ZERO).await;
    assert_eq!(ws.recv().await, Message::Close(None));
}
