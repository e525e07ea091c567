//! The heartbeat: version 4, where the server pings, and version 3, where the client does.

mod common;

use std::{sync::Arc, time::Duration};

use common::{A_MOMENT, PATH, RECORD, Running, assert_unknown, start, start_with};
use engineio::{CloseReason, Config, SessionHandle};
use testkit::{Message, Polling, Upgrade, Ws};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, sleep_until},
};

const INTERVAL: Duration = Duration::from_millis(300);
const TIMEOUT: Duration = Duration::from_millis(200);

/// How late something may happen on a busy machine.
const SLACK: Duration = Duration::from_millis(150);

fn config() -> Config {
    Config::default()
        .ping_interval(INTERVAL)
        .ping_timeout(TIMEOUT)
        .allow_eio3(true)
}

#[track_caller]
fn assert_about(measured: Duration, expected: Duration) {
    // Our clock starts a little later than the server's.
    let early = Duration::from_millis(80);
    assert!(
        measured + early >= expected && measured <= expected + SLACK,
        "{measured:?} instead of {expected:?}"
    );
}

async fn assert_timed_out(running: &Running, sid: &str) {
    assert_eq!(running.close_reason(sid).await, CloseReason::PingTimeout);
    running.sessions(0).await;
}

#[tokio::test]
async fn the_first_ping_comes_after_the_interval() {
    let running = start(config()).await;
    let start = Instant::now();
    let (mut ws, _) = running.ws().await;
    assert_eq!(ws.recv_text().await, "2");
    assert_about(start.elapsed(), INTERVAL);

    let start = Instant::now();
    let mut session = running.open().await;
    assert_eq!(session.poll_text().await, "2");
    assert_about(start.elapsed(), INTERVAL);
}

#[tokio::test]
async fn the_next_ping_comes_an_interval_after_the_pong() {
    let running = start(config()).await;
    let (mut ws, _) = running.ws().await;
    assert_eq!(ws.recv_text().await, "2");
    sleep(TIMEOUT / 2).await;
    ws.text("3").await;
    let start = Instant::now();
    assert_eq!(ws.recv_text().await, "2");
    assert_about(start.elapsed(), INTERVAL);
}

#[tokio::test]
async fn a_client_that_does_not_answer_is_dead() {
    let running = start(config()).await;
    let start = Instant::now();
    let (mut ws, open) = running.ws().await;
    assert_eq!(ws.recv_text().await, "2");
    assert_eq!(ws.recv_close().await, None);
    assert_about(start.elapsed(), INTERVAL + TIMEOUT);
    assert_timed_out(&running, &open.sid).await;
}

#[tokio::test]
async fn the_poll_of_a_client_that_does_not_answer_is_told() {
    let running = start(config()).await;
    let start = Instant::now();
    let mut session = running.open().await;
    assert_eq!(session.poll_text().await, "2");
    assert_eq!(session.poll_text().await, "1");
    assert_about(start.elapsed(), INTERVAL + TIMEOUT);
    assert_timed_out(&running, session.sid()).await;
    assert_unknown(&session.poll().await);
}

#[tokio::test]
async fn a_client_that_never_polls_is_dead() {
    let running = start(config()).await;
    let start = Instant::now();
    let session = running.open().await;
    assert_timed_out(&running, session.sid()).await;
    assert_about(start.elapsed(), INTERVAL + TIMEOUT);
}

#[tokio::test]
async fn a_ping_waits_for_the_poll() {
    let running = start(config()).await;
    let mut session = running.open().await;
    sleep(INTERVAL + A_MOMENT).await;
    assert_eq!(session.poll_text().await, "2");
    session.post_ok("3").await;
    assert_eq!(session.poll_text().await, "2");
}

#[tokio::test]
async fn messages_are_no_answer() {
    let running = start_with(config(), RECORD).await;
    let (mut ws, open) = running.ws().await;
    let talk = async {
        let start = Instant::now();
        // One late message may prolong the wait once, as in the newest official servers.
        while start.elapsed() < INTERVAL + TIMEOUT * 3 {
            ws.text("4still talking").await;
            sleep(Duration::from_millis(20)).await;
        }
    };
    talk.await;
    assert_timed_out(&running, &open.sid).await;
    assert_eq!(ws.until_closed().await, [Message::Text("2".to_owned())]);
}

#[tokio::test]
async fn several_pongs_do_no_harm() {
    let running = start(config()).await;
    let (mut ws, open) = running.ws().await;
    for _ in 0..3 {
        ws.text("3").await;
        assert_eq!(ws.recv_text().await, "2");
        ws.text("3").await;
        ws.text("3").await;
    }
    running.assert_open(&open.sid).await;
}

#[tokio::test]
async fn a_client_of_version_4_must_not_ping() {
    let running = start(config()).await;
    for ping in ["2", "2probe"] {
        let (mut ws, open) = running.ws().await;
        ws.text(ping).await;
        assert_eq!(ws.recv_close().await, None);
        let reason = running.close_reason(&open.sid).await;
        assert_eq!(reason, CloseReason::TransportError);

        let mut session = running.open().await;
        session.send_poll().await;
        sleep(A_MOMENT).await;
        assert_eq!(session.post(ping).await.status, 400);
        assert_eq!(session.recv_poll().await.text(), "1");
        let reason = running.close_reason(session.sid()).await;
        assert_eq!(reason, CloseReason::TransportError);
    }
}

#[tokio::test]
async fn a_ping_does_not_wait_behind_a_long_queue() {
    let running = start(config()).await;
    let (mut ws, open) = running.ws().await;
    let handle = running.handle(&open.sid).await;
    let message = "x".repeat(50_000);
    for _ in 0..100 {
        handle.send(&*message);
    }
    // Nobody reads until the ping is due; then it must not come last.
    sleep(INTERVAL + A_MOMENT).await;
    let (mut messages, mut before_ping) = (0, None);
    while messages < 100 || before_ping.is_none() {
        match &*ws.recv_text().await {
            "2" => {
                before_ping = Some(messages);
                ws.text("3").await;
            }
            text => {
                assert_eq!(text.len(), 50_001);
                messages += 1;
            }
        }
    }
    running.assert_open(&open.sid).await;
}

#[tokio::test]
async fn a_client_of_version_3_is_answered() {
    let running = start(config()).await;
    let (mut ws, _) = running.ws_with("EIO=3").await;
    for ping in ["2", "2", "2probe"] {
        ws.text(ping).await;
        assert_eq!(ws.recv_text().await, "3");
    }
    let mut session = running.open_v3().await;
    session.send_poll().await;
    session.post_ok("1:2").await;
    assert_eq!(session.recv_poll().await.text(), "1:3");
    session.post_ok("6:2probe").await;
    assert_eq!(session.poll_text().await, "1:3");
}

#[tokio::test]
async fn a_client_of_version_3_is_never_pinged() {
    let running = start(config()).await;
    let (mut ws, _) = running.ws_with("EIO=3").await;
    ws.silence(INTERVAL + TIMEOUT / 2).await;
}

#[tokio::test]
async fn a_client_of_version_3_that_does_not_ping_is_dead() {
    let running = start(config()).await;
    let start = Instant::now();
    let (mut ws, open) = running.ws_with("EIO=3").await;
    assert_eq!(ws.recv_close().await, None);
    assert_about(start.elapsed(), INTERVAL + TIMEOUT);
    assert_timed_out(&running, &open.sid).await;

    let start = Instant::now();
    let mut session = running.open_v3().await;
    assert_eq!(session.poll_text().await, "1:1");
    assert_about(start.elapsed(), INTERVAL + TIMEOUT);
    assert_timed_out(&running, session.sid()).await;
}

#[tokio::test]
async fn only_pings_keep_a_client_of_version_3_alive() {
    let running = start_with(config(), RECORD).await;
    let (mut ws, open) = running.ws_with("EIO=3").await;
    let start = Instant::now();
    sleep(INTERVAL).await;
    ws.text("2").await;
    assert_eq!(ws.recv_text().await, "3");
    sleep_until(start + INTERVAL + TIMEOUT + SLACK).await;
    running.assert_open(&open.sid).await;
    let pinged = start + INTERVAL;
    while pinged.elapsed() < INTERVAL + TIMEOUT - Duration::from_millis(50) {
        ws.text("4still talking").await;
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(ws.recv_close().await, None);
    assert_about(pinged.elapsed(), INTERVAL + TIMEOUT);
    assert_timed_out(&running, &open.sid).await;
}

#[tokio::test]
async fn a_client_of_version_3_must_not_pong() {
    let running = start(config()).await;
    let (mut ws, open) = running.ws_with("EIO=3").await;
    ws.text("3").await;
    assert_eq!(ws.recv_close().await, None);
    let reason = running.close_reason(&open.sid).await;
    assert_eq!(reason, CloseReason::TransportError);

    let mut session = running.open_v3().await;
    assert_eq!(session.post("1:3").await.status, 400);
    let reason = running.close_reason(session.sid()).await;
    assert_eq!(reason, CloseReason::TransportError);
}

async fn upgraded(running: &Running, query: &str) -> (String, Ws) {
    let mut session = Polling::open(running.addr, PATH, query).await;
    let (ws, _) = Upgrade::run(&mut session).await;
    (session.open.sid, ws)
}

#[tokio::test]
async fn pings_go_on_after_an_upgrade() {
    let running = start(config()).await;
    let start = Instant::now();
    let (sid, mut ws) = upgraded(&running, "EIO=4").await;
    assert_eq!(ws.recv_text().await, "2");
    // The upgrade does not start the interval anew.
    assert_about(start.elapsed(), INTERVAL);
    ws.text("3").await;
    assert_eq!(ws.recv_text().await, "2");
    assert_eq!(ws.recv_close().await, None);
    assert_about(start.elapsed(), INTERVAL * 2 + TIMEOUT);
    assert_timed_out(&running, &sid).await;
}

#[tokio::test]
async fn a_ping_that_is_out_when_the_upgrade_completes_still_counts() {
    let running = start(config()).await;
    for answer in [true, false] {
        let mut session = running.open().await;
        assert_eq!(session.poll_text().await, "2");
        let pinged = Instant::now();
        let (mut ws, polled) = Upgrade::run(&mut session).await;
        assert_eq!(polled, "6");
        if answer {
            ws.text("3").await;
            assert_eq!(ws.recv_text().await, "2");
            assert_about(pinged.elapsed(), INTERVAL);
        } else {
            assert_eq!(ws.recv_close().await, None);
            assert_about(pinged.elapsed(), TIMEOUT);
            assert_timed_out(&running, session.sid()).await;
        }
    }
}

#[tokio::test]
async fn a_ping_that_nobody_polled_for_moves_to_the_websocket() {
    let running = start(config()).await;
    let session = running.open().await;
    let mut upgrade = Upgrade::connect(&session).await;
    upgrade.probe().await;
    sleep(INTERVAL + A_MOMENT / 2).await;
    let mut ws = upgrade.finish().await;
    assert_eq!(ws.recv_text().await, "2");
    ws.text("3").await;
    assert_eq!(ws.recv_text().await, "2");
}

#[tokio::test]
async fn a_client_of_version_3_that_falls_silent_after_an_upgrade_is_dead() {
    let running = start(config()).await;
    let start = Instant::now();
    let (sid, mut ws) = upgraded(&running, "EIO=3&b64=1").await;
    sleep_until(start + INTERVAL).await;
    ws.text("2").await;
    let pinged = Instant::now();
    assert_eq!(ws.recv_text().await, "3");
    assert_eq!(ws.recv_close().await, None);
    assert_about(pinged.elapsed(), INTERVAL + TIMEOUT);
    assert_timed_out(&running, &sid).await;

    let start = Instant::now();
    let (sid, mut ws) = upgraded(&running, "EIO=3&b64=1").await;
    assert_eq!(ws.recv_close().await, None);
    assert_about(start.elapsed(), INTERVAL + TIMEOUT);
    assert_timed_out(&running, &sid).await;
}

#[tokio::test]
async fn the_candidate_of_a_session_that_dies_is_closed() {
    let running = start(config()).await;
    let session = running.open().await;
    let mut upgrade = Upgrade::connect(&session).await;
    upgrade.probe().await;
    assert_eq!(upgrade.ws.until_closed().await, []);
    assert_timed_out(&running, session.sid()).await;
}

#[tokio::test]
async fn an_application_that_is_behind_does_not_kill_its_client() {
    let running = start_with(config(), RECORD).await;
    let (mut ws, open) = running.ws().await;
    running.hold();
    let message = format!("4{}", "x".repeat(20_000));
    for _ in 0..50 {
        ws.text(&message).await;
    }
    // The client answers in time, but behind messages that nobody reads.
    ws.text("3").await;
    sleep((INTERVAL + TIMEOUT) * 2).await;
    running.assert_open(&open.sid).await;
    running.release();
    running.messages(&open.sid, 50).await;
}

/// A server whose only thread is not the test's; it ends when the sender is dropped.
async fn on_a_thread(config: Config) -> (Arc<Running>, oneshot::Sender<()>) {
    let (started, running) = oneshot::channel();
    let (stop, stopped) = oneshot::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(async {
            let running = Arc::new(start_with(config, RECORD).await);
            let _ = started.send(running.clone());
            let _ = stopped.await;
        });
    });
    (running.await.expect("a server"), stop)
}

#[tokio::test]
async fn a_handler_that_holds_the_runtime_up_costs_no_other_client_its_session() {
    let (running, _stop) = on_a_thread(config()).await;
    let (mut other, busy) = running.ws().await;
    let (mut ws, on_ws) = running.ws().await;
    let mut session = running.open().await;
    let (ping, poll) = tokio::join!(ws.recv_text(), session.poll_text());
    assert_eq!((&*ping, &*poll), ("2", "2"));
    let busy = running.occupy(&busy.sid, other.text("4go")).await;
    // In time, but nobody looks.
    ws.text("3").await;
    let url = session.url();
    let http = session.post_connection();
    http.send_request("POST", &url, &[], "3").await;
    sleep(TIMEOUT + A_MOMENT).await;
    drop(busy);
    assert_eq!(session.post_connection().response().await.text(), "ok");
    let (ping, poll) = tokio::join!(ws.recv_text(), session.poll_text());
    assert_eq!((&*ping, &*poll), ("2", "2"));
    running.assert_open(&on_ws.sid).await;
    running.assert_open(session.sid()).await;
}

#[tokio::test]
async fn a_client_that_a_busy_handler_has_just_sent_something_keeps_its_session() {
    let (running, _stop) = on_a_thread(config()).await;
    let (mut other, busy) = running.ws().await;
    let (mut ws, open) = running.ws().await;
    assert_eq!(ws.recv_text().await, "2");
    let handle = running.handle(&open.sid).await;
    let (end, ended) = std::sync::mpsc::channel::<()>();
    let broadcast = move |_: &SessionHandle| {
        handle.send("broadcast");
        let _ = ended.recv();
    };
    running.work(&busy.sid, broadcast).await;
    other.text("4go").await;
    sleep(A_MOMENT).await;
    ws.text("3").await;
    sleep(TIMEOUT).await;
    drop(end);
    assert_eq!(ws.recv_text().await, "4broadcast");
    assert_eq!(ws.recv_text().await, "2");
    running.assert_open(&open.sid).await;
}
