//! The upgrade from polling to WebSocket.

mod common;

use std::time::Duration;

use common::{
    A_MOMENT, PATH, RECORD, Running, assert_error, assert_unknown, both_versions, refuse_ws, start,
    start_with,
};
use engineio::{CloseReason, Config, SessionHandle, Transport};
use futures_util::future::join_all;
use testkit::{
    Message, Polling, Rng, Upgrade, Ws,
    ws::{self, Frame},
};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

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
async fn a_second_websocket_after_the_upgrade_is_refused() {
    let running = start(Config::default()).await;
    let mut session = running.open().await;
    let (mut ws, _) = Upgrade::run(&mut session).await;
    ws.text("4a").await;
    assert_eq!(ws.recv_text().await, "4a");
    let response = refuse_ws(running.addr, &session.ws_url(), &[]).await;
    assert_error(&response, 400, 3, "Bad request");
    ws.text("4b").await;
    assert_eq!(ws.recv_text().await, "4b");
}

#[tokio::test]
async fn a_second_websocket_during_the_upgrade_is_refused() {
    let running = start(Config::default()).await;
    let session = running.open().await;
    let mut upgrade = Upgrade::connect(&session).await;
    upgrade.probe().await;
    let response = refuse_ws(running.addr, &session.ws_url(), &[]).await;
    assert_error(&response, 400, 3, "Bad request");
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
    // Official clients do not do this. Whichever way it goes, the client is told the truth.
    let expected = match response.status {
        200 => vec!["ws", "post1", "end"],
        _ => vec!["ws", "end"],
    };
    let messages = running.messages(session.sid(), expected.len()).await;
    assert_eq!(messages, expected);
    running.assert_open(session.sid()).await;
}

/// Messages in each direction of a run under load.
const MESSAGES: usize = 60;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_reordered_by_an_upgrade_at_any_moment() {
    let running = start_with(both_versions(), RECORD).await;
    for seed in 0..80 {
        upgrade_under_load(&running, seed, 0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_reordered_by_upgrades_that_fail() {
    let running = start_with(both_versions(), RECORD).await;
    for seed in 100..140 {
        upgrade_under_load(&running, seed, 1 + seed % 3).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_clients_upgrade_at_the_same_time() {
    let running = start_with(both_versions(), RECORD).await;
    let run = |seed| upgrade_under_load(&running, seed, seed / 2 % 2);
    join_all((200..260).map(run)).await;
}

/// The server sends numbers all the time and so does the client, while the client upgrades as the
/// official one does: it stops posting and waits for its poll to end before it sends `5`. Before
/// that it fails so many times. Every other client speaks version 3.
async fn upgrade_under_load(running: &Running, seed: u64, failures: u64) {
    let query = ["EIO=4", "EIO=3&b64=1"][seed as usize % 2];
    let mut rng = Rng::new(seed);
    let session = Polling::open(running.addr, PATH, query).await;
    let sid = session.sid().to_owned();
    let sender = send_numbers(running.handle(&sid).await, rng.clone());
    let rounds = rng.below(4);
    let mut client = Client {
        v3: seed % 2 == 1,
        session,
        rng,
        poll_waits: false,
        sent: 0,
        received: Vec::new(),
    };
    for _ in 0..rounds {
        client.poll_and_post().await;
    }
    for _ in 0..failures {
        client.fail_to_upgrade().await;
    }
    let mut ws = client.upgrade().await;
    for number in client.sent..MESSAGES {
        ws.text(&format!("4{number}")).await;
    }
    while client.received.len() < MESSAGES {
        client.received.push(ws.recv_text().await);
    }

    let numbers: Vec<_> = (0..MESSAGES).map(|number| number.to_string()).collect();
    assert_eq!(running.messages(&sid, MESSAGES).await, numbers);
    let numbers: Vec<_> = numbers.iter().map(|number| format!("4{number}")).collect();
    assert_eq!(client.received, numbers, "seed {seed}");
    sender.await.expect("no panic");
    running.assert_open(&sid).await;
}

fn send_numbers(handle: SessionHandle, mut rng: Rng) -> JoinHandle<()> {
    tokio::spawn(async move {
        for number in 0..MESSAGES {
            handle.send(&*number.to_string());
            if rng.below(3) == 0 {
                sleep(rng.up_to(Duration::from_millis(1))).await;
            }
        }
    })
}

/// A client that sends numbers and keeps what it receives.
struct Client {
    session: Polling,
    v3: bool,
    rng: Rng,
    poll_waits: bool,
    sent: usize,
    received: Vec<String>,
}

impl Client {
    async fn poll_and_post(&mut self) {
        self.start_poll().await;
        self.post().await;
        self.finish_poll_if_due().await;
    }

    /// Posts and polls go on beside a candidate that leaves in one of several ways.
    async fn fail_to_upgrade(&mut self) {
        self.start_poll().await;
        let mut upgrade = Upgrade::connect(&self.session).await;
        if self.rng.below(2) == 0 {
            upgrade.probe().await;
        }
        self.post().await;
        match self.rng.below(3) {
            0 => upgrade.ws.close(None).await,
            1 => upgrade.ws.text("4not yours").await,
            _ => {}
        }
        self.finish_poll_if_due().await;
        drop(upgrade);
        // Until the server has seen the end of the candidate it refuses another one.
        sleep(A_MOMENT).await;
        self.poll_and_post().await;
    }

    async fn upgrade(&mut self) -> Ws {
        self.start_poll().await;
        let mut upgrade = Upgrade::connect(&self.session).await;
        self.post().await;
        sleep(self.rng.up_to(Duration::from_millis(3))).await;
        upgrade.probe().await;
        self.post().await;
        self.finish_poll().await;
        sleep(self.rng.up_to(Duration::from_millis(3))).await;
        upgrade.finish().await
    }

    /// Posts one number or two.
    async fn post(&mut self) {
        let end = MESSAGES.min(self.sent + 1 + self.rng.below(2) as usize);
        let packets = (self.sent..end).map(|number| format!("4{number}"));
        let payload = match self.v3 {
            true => packets.map(|it| format!("{}:{it}", it.len())).collect(),
            false => packets.collect::<Vec<_>>().join("\x1e"),
        };
        if !payload.is_empty() {
            self.session.post_ok(&payload).await;
        }
        self.sent = end;
    }

    async fn start_poll(&mut self) {
        if !self.poll_waits {
            self.session.send_poll().await;
            self.poll_waits = true;
        }
    }

    /// Waits for the poll unless the server has nothing left to answer it with.
    async fn finish_poll_if_due(&mut self) {
        if self.received.len() < MESSAGES {
            self.finish_poll().await;
        }
    }

    async fn finish_poll(&mut self) {
        let response = self.session.recv_poll().await;
        self.poll_waits = false;
        assert_eq!(response.status, 200, "{response:?}");
        let packets = split(response.text(), self.v3);
        let messages = packets.into_iter().filter(|packet| packet != "6");
        self.received.extend(messages);
    }
}

/// The packets of a polling body; all are ASCII here.
fn split(body: &str, v3: bool) -> Vec<String> {
    if !v3 {
        return body.split('\x1e').map(str::to_owned).collect();
    }
    let mut packets = Vec::new();
    let mut rest = body;
    while let Some((length, after)) = rest.split_once(':') {
        let (packet, next) = after.split_at(length.parse().expect("a length"));
        packets.push(packet.to_owned());
        rest = next;
    }
    packets
}
