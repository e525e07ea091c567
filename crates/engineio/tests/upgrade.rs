//! The upgrade from polling to WebSocket.

mod common;

use common::{
    A_MOMENT, PATH, RECORD, assert_error, assert_unknown, both_versions, refuse_ws, start,
    start_with,
};
use engineio::{CloseReason, Config, Transport};
use testkit::{
    Polling, Upgrade, Ws,
    ws::{self, Frame},
};
use tokio::time::sleep;

#[tokio::test]
async fn the_poll_that_waits_is_released_by_the_probe() {
    let running = start(Config::default()).await;
    let mut session = running.open().await;
    let (mut ws, polled) = Upgrade::run(&mut session).await;
    assert_eq!(polled, "6");
    ws.text("4hello").await;
    assert_eq!(ws.recv_text().await, "4hello");
    let handle = running.handle(session.sid()).await;
    assert_eq!(handle.transport(), Transport::WebSocket);
    assert_eq!(running.server.sessions(), 1);
}

#[tokio::test]
async fn the_poll_that_waits_is_released_in_the_framing_of_version_3() {
    let running = start(both_versions()).await;
    let mut session = running.open_v3().await;
    let (mut ws, polled) = Upgrade::run(&mut session).await;
    assert_eq!(polled, "1:6");
    ws.text("4hello").await;
    assert_eq!(ws.recv_text().await, "4hello");

    let query = "EIO=3&t=Q87nR_u";
    let mut session = Polling::open(running.addr, PATH, query).await;
    session.send_poll().await;
    let mut upgrade = Upgrade::connect(&session).await;
    upgrade.probe().await;
    assert_eq!(session.recv_poll().await.body, &b"\x00\x01\xff6"[..]);
    let mut ws = upgrade.finish().await;
    ws.binary([4, 1, 2]).await;
    assert_eq!(ws.recv_binary().await, [4, 1, 2][..]);
}

#[tokio::test]
async fn a_poll_after_the_probe_is_answered_at_once() {
    let running = start(Config::default()).await;
    let mut session = running.open().await;
    let mut upgrade = Upgrade::connect(&session).await;
    upgrade.probe().await;
    for _ in 0..3 {
        assert_eq!(session.poll_text().await, "6");
    }
    upgrade.finish().await;
}

#[tokio::test]
async fn a_poll_before_the_probe_waits() {
    let running = start(Config::default()).await;
    let mut session = running.open().await;
    let mut upgrade = Upgrade::connect(&session).await;
    sleep(A_MOMENT).await;
    session.send_poll().await;
    session.get_connection().silence(A_MOMENT).await;
    upgrade.probe().await;
    assert_eq!(session.recv_poll().await.text(), "6");
}

#[tokio::test]
async fn a_poll_that_waits_when_the_upgrade_packet_comes_gets_a_noop() {
    let running = start(both_versions()).await;
    for (query, noop) in [("EIO=4", "6"), ("EIO=3&b64=1", "1:6")] {
        let mut session = Polling::open(running.addr, PATH, query).await;
        session.send_poll().await;
        sleep(A_MOMENT).await;
        // In one write: there is no turn between the two in which the poll could be released.
        let mut ws = Ws::connect(running.addr, &session.ws_url()).await;
        let probe = Frame::new(ws::TEXT, "2probe").encode();
        let upgrade = Frame::new(ws::TEXT, "5").encode();
        ws.raw([probe, upgrade].concat()).await;
        assert_eq!(session.recv_poll().await.text(), noop);
        ws.text("4hello").await;
        let mut message = ws.recv_text().await;
        if message == "3probe" {
            message = ws.recv_text().await;
        }
        assert_eq!(message, "4hello");
    }
}

#[tokio::test]
async fn the_probe_comes_before_everything_else() {
    let running = start(Config::default()).await;
    let mut session = running.open().await;
    let handle = running.handle(session.sid()).await;
    let mut upgrade = Upgrade::connect(&session).await;
    sleep(A_MOMENT).await;
    handle.send("by polling");
    upgrade.ws.silence(A_MOMENT).await;
    upgrade.probe().await;
    upgrade.ws.silence(A_MOMENT).await;
    assert_eq!(session.poll_text().await, "4by polling");
}

#[tokio::test]
async fn until_the_upgrade_packet_messages_leave_by_polling_and_then_by_websocket() {
    let running = start(Config::default()).await;
    let mut session = running.open().await;
    let handle = running.handle(session.sid()).await;
    let mut upgrade = Upgrade::connect(&session).await;
    upgrade.probe().await;
    handle.send("1");
    assert_eq!(session.poll_text().await, "41");
    assert_eq!(handle.transport(), Transport::Polling);
    handle.send("2");
    handle.send("3");
    let mut ws = upgrade.finish().await;
    handle.send("4");
    for message in ["42", "43", "44"] {
        assert_eq!(ws.recv_text().await, message);
    }
}

#[tokio::test]
async fn messages_posted_during_the_upgrade_arrive_in_order() {
    let running = start_with(Config::default(), RECORD).await;
    let mut session = running.open().await;
    session.post_ok("41").await;
    let mut upgrade = Upgrade::connect(&session).await;
    session.post_ok("42").await;
    upgrade.probe().await;
    session.post_ok("43\x1e44").await;
    let mut ws = upgrade.finish().await;
    ws.text("45").await;
    let messages = running.messages(session.sid(), 5).await;
    assert_eq!(messages, ["1", "2", "3", "4", "5"]);
}

#[tokio::test]
async fn a_probe_may_be_repeated() {
    let running = start(Config::default()).await;
    let session = running.open().await;
    let mut upgrade = Upgrade::connect(&session).await;
    for _ in 0..3 {
        upgrade.probe().await;
    }
    let mut ws = upgrade.finish().await;
    ws.text("4hello").await;
    assert_eq!(ws.recv_text().await, "4hello");
}

#[tokio::test]
async fn polls_and_posts_after_the_upgrade_are_refused_and_do_no_harm() {
    let running = start(Config::default()).await;
    let mut session = running.open().await;
    let (mut ws, _) = Upgrade::run(&mut session).await;
    ws.text("4a").await;
    assert_eq!(ws.recv_text().await, "4a");
    assert_error(&session.poll().await, 400, 3, "Bad request");
    assert_error(&session.post("4by post").await, 400, 3, "Bad request");
    assert_error(&session.post("1").await, 400, 3, "Bad request");
    ws.text("4b").await;
    assert_eq!(ws.recv_text().await, "4b");
    running.assert_open(session.sid()).await;
}

#[tokio::test]
async fn an_upgrade_that_was_not_offered_is_possible_all_the_same() {
    let running = start(Config::default().allow_upgrades(false)).await;
    let mut session = running.open().await;
    let (mut ws, _) = Upgrade::run(&mut session).await;
    ws.text("4hello").await;
    assert_eq!(ws.recv_text().await, "4hello");
}

#[tokio::test]
async fn large_messages_cross_the_upgrade_in_order() {
    let running = start_with(Config::default(), RECORD).await;
    let mut session = running.open().await;
    let handle = running.handle(session.sid()).await;
    let large = |number: usize| format!("{number}{}", "x".repeat(300_000));
    let mut received = Vec::new();
    for number in 0..3 {
        handle.send(&*large(number));
        session.post_ok(&format!("4{}", large(number))).await;
    }
    received.extend(session.poll_text().await.split('\x1e').map(str::to_owned));
    let mut upgrade = Upgrade::connect(&session).await;
    upgrade.probe().await;
    handle.send(&*large(3));
    let mut ws = upgrade.finish().await;
    for number in 3..6 {
        ws.text(&format!("4{}", large(number))).await;
    }
    handle.send(&*large(4));
    while received.len() < 5 {
        received.push(ws.recv_text().await);
    }
    for (number, message) in received.iter().enumerate() {
        assert!(
            *message == format!("4{}", large(number)),
            "message {number}"
        );
    }
    let messages = running.messages(session.sid(), 6).await;
    for (number, message) in messages.iter().enumerate() {
        assert!(*message == large(number), "message {number}");
    }
}

#[tokio::test]
async fn a_second_websocket_after_the_upgrade_is_closed_again() {
    let running = start(Config::default()).await;
    let mut session = running.open().await;
    let (mut ws, _) = Upgrade::run(&mut session).await;
    ws.text("4a").await;
    assert_eq!(ws.recv_text().await, "4a");
    let mut second = Ws::connect(running.addr, &session.ws_url()).await;
    assert_eq!(second.until_closed().await, []);
    ws.text("4b").await;
    assert_eq!(ws.recv_text().await, "4b");
}

#[tokio::test]
async fn a_second_websocket_during_the_upgrade_is_closed_again() {
    let running = start(Config::default()).await;
    let session = running.open().await;
    let mut upgrade = Upgrade::connect(&session).await;
    upgrade.probe().await;
    let mut second = Ws::connect(running.addr, &session.ws_url()).await;
    assert_eq!(second.until_closed().await, []);
    upgrade.probe().await;
    let mut ws = upgrade.finish().await;
    ws.text("4hello").await;
    assert_eq!(ws.recv_text().await, "4hello");
}

#[tokio::test]
async fn an_unknown_session_cannot_be_upgraded() {
    let running = start(Config::default()).await;
    let url = "/engine.io/?EIO=4&transport=websocket&sid=unknown";
    let response = refuse_ws(running.addr, url, &[]).await;
    assert_error(&response, 400, 1, "Session ID unknown");
}

#[tokio::test]
async fn another_protocol_version_cannot_upgrade() {
    let running = start(both_versions()).await;
    let session = running.open().await;
    let url = session.ws_url().replace("EIO=4", "EIO=3");
    let response = refuse_ws(running.addr, &url, &[]).await;
    assert_error(&response, 400, 3, "Bad request");
    running.assert_open(session.sid()).await;
}

#[tokio::test]
async fn a_poll_that_is_given_up_during_the_upgrade_closes_the_session() {
    let running = start(Config::default()).await;
    let mut session = running.open().await;
    session.send_poll().await;
    let mut upgrade = Upgrade::connect(&session).await;
    sleep(A_MOMENT).await;
    session.abort_poll().await;
    let reason = running.close_reason(session.sid()).await;
    assert_eq!(reason, CloseReason::TransportError);
    assert_eq!(upgrade.ws.until_closed().await, []);
    assert_unknown(&session.poll().await);
}

#[tokio::test]
async fn a_client_that_closes_during_the_upgrade_closes_the_candidate() {
    let running = start(Config::default()).await;
    let mut session = running.open().await;
    let mut upgrade = Upgrade::connect(&session).await;
    upgrade.probe().await;
    session.post_ok("1").await;
    let reason = running.close_reason(session.sid()).await;
    assert_eq!(reason, CloseReason::TransportClose);
    assert_eq!(upgrade.ws.until_closed().await, []);
    running.sessions(0).await;
}

#[tokio::test]
async fn a_server_that_closes_during_the_upgrade_closes_the_candidate() {
    let running = start(Config::default()).await;
    let mut session = running.open().await;
    let handle = running.handle(session.sid()).await;
    session.send_poll().await;
    let mut upgrade = Upgrade::connect(&session).await;
    sleep(A_MOMENT).await;
    handle.close(CloseReason::ForcedClose);
    assert_eq!(session.recv_poll().await.text(), "1");
    assert_eq!(upgrade.ws.until_closed().await, []);
    let reason = running.close_reason(session.sid()).await;
    assert_eq!(reason, CloseReason::ForcedClose);
    assert_unknown(&session.poll().await);
}

#[tokio::test]
async fn a_session_that_upgraded_closes_like_any_on_websocket() {
    let running = start(Config::default()).await;
    let mut session = running.open().await;
    let (mut ws, _) = Upgrade::run(&mut session).await;
    ws.text("4hello").await;
    assert_eq!(ws.recv_text().await, "4hello");
    let handle = running.handle(session.sid()).await;
    handle.send("last");
    handle.close(CloseReason::ForcedClose);
    assert_eq!(ws.recv_text().await, "4last");
    assert_eq!(ws.recv_close().await, None);
    assert_unknown(&session.poll().await);
    running.sessions(0).await;
}

/// Official clients do not do this.
#[tokio::test]
async fn a_post_that_is_under_way_when_the_upgrade_completes_is_not_half_done() {
    let running = start_with(Config::default(), RECORD).await;
    let mut session = running.open().await;
    let url = session.url();
    let headers = [("Content-Length", "6")];
    session
        .post_connection()
        .send_request("POST", &url, &headers, "4po")
        .await;
    sleep(A_MOMENT).await;
    let (mut ws, _) = Upgrade::run(&mut session).await;
    ws.text("4ws").await;
    running.messages(session.sid(), 1).await;
    session.post_connection().send("st1").await;
    let response = session.post_connection().response().await;
    ws.text("4end").await;
    assert_error(&response, 400, 3, "Bad request");
    let messages = running.messages(session.sid(), 2).await;
    assert_eq!(messages, ["ws", "end"]);
    running.assert_open(session.sid()).await;
}
