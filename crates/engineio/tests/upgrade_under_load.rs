//! The upgrade while both sides send all the time: nothing may be lost or change places.

mod common;

use std::time::Duration;

use common::{A_MOMENT, PATH, RECORD, Running, both_versions, start_with};
use engineio::SessionHandle;
use futures_util::future::join_all;
use testkit::{Polling, Rng, Upgrade, Ws};
use tokio::{task::JoinHandle, time::sleep};

/// Messages in each direction of a run.
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
