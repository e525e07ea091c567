//! Upgrades that come to nothing: the session stays where it is, and the next one succeeds.

mod common;

use std::time::Duration;

use common::{A_MOMENT, start};
use engineio::Config;
use testkit::{
    Message, Polling, Upgrade,
    ws::{self, Frame},
};
use tokio::time::{Instant, sleep};

/// The session is where it was before a failed upgrade, and a new one succeeds.
async fn assert_upgradable(session: &mut Polling) {
    session.post_ok("4still here").await;
    assert_eq!(session.poll_text().await, "4still here");
    let (mut ws, polled) = Upgrade::run(session).await;
    assert_eq!(polled, "6");
    ws.text("4upgraded").await;
    assert_eq!(ws.recv_text().await, "4upgraded");
}

#[tokio::test]
async fn a_candidate_that_breaks_the_dance_is_closed_and_the_session_goes_on() {
    let running = start(Config::default()).await;
    let text = |text| Frame::new(ws::TEXT, text);
    for frame in [
        text("2"),
        text("2other"),
        text("3probe"),
        text("4hello"),
        text("5"),
        text("1"),
        text(""),
        text("nonsense"),
        Frame::new(ws::BINARY, [1, 2]),
        Frame {
            masked: false,
            ..text("2probe")
        },
        Frame {
            reserved: 4,
            ..text("2probe")
        },
    ] {
        let mut session = running.open().await;
        let mut upgrade = Upgrade::connect(&session).await;
        upgrade.ws.frame(&frame).await;
        assert_eq!(upgrade.ws.until_closed().await, [], "{frame:?}");
        assert_upgradable(&mut session).await;
    }
}

#[tokio::test]
async fn a_candidate_that_breaks_the_dance_after_the_probe_is_closed_and_the_session_goes_on() {
    let running = start(Config::default()).await;
    for text in ["2", "4hello", "6", "1", "nonsense"] {
        let mut session = running.open().await;
        let mut upgrade = Upgrade::connect(&session).await;
        upgrade.probe().await;
        upgrade.ws.text(text).await;
        assert_eq!(upgrade.ws.until_closed().await, [], "{text:?}");
        let seen = running.seen(session.sid()).await;
        assert_eq!(seen.messages, []);
        assert_upgradable(&mut session).await;
    }
}

#[tokio::test]
async fn a_candidate_that_leaves_does_no_harm() {
    let running = start(Config::default()).await;
    for probe in [false, true] {
        for say_goodbye in [false, true] {
            let mut session = running.open().await;
            let handle = running.handle(session.sid()).await;
            let mut upgrade = Upgrade::connect(&session).await;
            if probe {
                upgrade.probe().await;
            }
            handle.send("kept");
            if say_goodbye {
                upgrade.ws.close(None).await;
                upgrade.ws.until_closed().await;
            } else {
                drop(upgrade);
                sleep(A_MOMENT).await;
            }
            assert_eq!(session.poll_text().await, "4kept");
            session.send_poll().await;
            session.get_connection().silence(A_MOMENT).await;
            handle.send("later");
            assert_eq!(session.recv_poll().await.text(), "4later");
            assert_upgradable(&mut session).await;
        }
    }
}

#[tokio::test]
async fn an_upgrade_that_never_completes_is_given_up() {
    let limit = Duration::from_millis(200);
    let running = start(Config::default().upgrade_timeout(limit)).await;
    for probe in [false, true] {
        let mut session = running.open().await;
        let start = Instant::now();
        let mut upgrade = Upgrade::connect(&session).await;
        if probe {
            upgrade.probe().await;
        }
        assert_eq!(upgrade.ws.until_closed().await, []);
        let taken = start.elapsed();
        assert!(taken >= limit && taken < limit * 3, "{taken:?}");
        assert_upgradable(&mut session).await;
    }
}

#[tokio::test]
async fn probes_do_not_prolong_an_upgrade() {
    let limit = Duration::from_millis(200);
    let running = start(Config::default().upgrade_timeout(limit)).await;
    let session = running.open().await;
    let mut upgrade = Upgrade::connect(&session).await;
    let start = Instant::now();
    loop {
        upgrade.ws.text("2probe").await;
        match upgrade.ws.recv().await {
            Message::Text(text) => assert_eq!(text, "3probe"),
            _ => break,
        }
        assert!(start.elapsed() < limit * 3);
        sleep(Duration::from_millis(20)).await;
    }
    running.assert_open(session.sid()).await;
}

#[tokio::test]
async fn the_time_limit_ends_with_the_upgrade() {
    let limit = Duration::from_millis(100);
    let running = start(Config::default().upgrade_timeout(limit)).await;
    let mut session = running.open().await;
    let (mut ws, _) = Upgrade::run(&mut session).await;
    ws.silence(limit * 3).await;
    ws.text("4hello").await;
    assert_eq!(ws.recv_text().await, "4hello");
}

#[tokio::test]
async fn a_websocket_that_never_says_anything_does_not_disturb_the_session() {
    let running = start(Config::default()).await;
    let mut session = running.open().await;
    let mut upgrade = Upgrade::connect(&session).await;
    for _ in 0..3 {
        session.post_ok("4hello").await;
        assert_eq!(session.poll_text().await, "4hello");
    }
    upgrade.ws.silence(Duration::from_millis(1)).await;
}
