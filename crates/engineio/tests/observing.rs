//! What a connection sees of its session beside messages: packets, the upgrade, the drain.

mod common;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    task::Context,
    time::Duration,
};

use common::PATH;
use engineio::{
    Acceptor, CloseReason, Config, Connection, Data, Handshake, Packet, Server, SessionHandle,
    Transmit,
};
use testkit::{Open, Polling, TIME_LIMIT, Upgrade, Ws, within};
use tokio::{net::TcpListener, sync::watch};

/// Echoes, and writes down whatever it is told.
#[derive(Clone)]
struct Observer {
    log: watch::Sender<Vec<String>>,
    handle: Arc<Mutex<Option<SessionHandle>>>,
}

struct Observing {
    log: watch::Sender<Vec<String>>,
    handle: SessionHandle,
}

impl Acceptor for Observer {
    type Connection = Observing;

    fn accept(&self, handle: SessionHandle, _: Arc<Handshake>) -> Observing {
        *self.handle.lock().expect("no panic") = Some(handle.clone());
        Observing {
            log: self.log.clone(),
            handle,
        }
    }
}

impl Observing {
    fn log(&self, entry: String) {
        self.log.send_modify(|log| log.push(entry));
    }
}

impl Connection for Observing {
    fn on_message(&mut self, message: Data, _: &mut Context<'_>) {
        self.log(format!("message {}", show(&message)));
        self.handle.send(message);
    }

    fn on_upgrade(&mut self, _: &mut Context<'_>) {
        assert!(self.handle.upgraded());
        self.log("upgrade".to_owned());
    }

    fn on_packet(&mut self, packet: &Packet) {
        self.log(format!("in {}{}", packet.kind.digit(), show(&packet.data)));
    }

    fn on_packet_create(&mut self, packet: &Transmit) {
        self.log(match packet {
            Transmit::Control(packet) => format!("out {}", packet.kind.digit()),
            Transmit::Message(message) => match message.wire_text() {
                Some(text) => format!("out {text}"),
                None => "out binary".to_owned(),
            },
        });
    }

    fn on_drain(&mut self, _: &mut Context<'_>) {
        self.log("drain".to_owned());
    }

    fn on_close(
        &mut self,
        reason: CloseReason,
        description: Option<&'static str>,
        _: &mut Context<'_>,
    ) {
        self.log(match description {
            Some(text) => format!("close {reason}: {text}"),
            None => format!("close {reason}"),
        });
    }
}

fn show(data: &Data) -> &str {
    match data {
        Data::Text(text) => text,
        Data::Binary(_) => "binary",
    }
}

struct Observed {
    addr: SocketAddr,
    observer: Observer,
}

impl Observed {
    async fn start(config: Config) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("an address");
        let observer = Observer {
            log: watch::Sender::default(),
            handle: Arc::default(),
        };
        let server = Server::new(config, observer.clone());
        tokio::spawn(async move { engineio::serve(listener, server).await });
        Self { addr, observer }
    }

    /// Waits for these entries to come next.
    async fn logged(&self, expected: &[&str]) {
        let mut log = self.observer.log.subscribe();
        let enough = log.wait_for(|log| log.len() >= expected.len());
        let waited = within(TIME_LIMIT, "the log to fill", enough).await;
        assert!(waited.is_ok());
        drop(waited);
        let mut next = Vec::new();
        let rest = |log: &mut Vec<String>| next.extend(log.drain(..expected.len()));
        self.observer.log.send_modify(rest);
        assert_eq!(next, expected);
    }

    fn upgraded(&self) -> bool {
        let handle = self.observer.handle.lock().expect("no panic");
        handle.as_ref().expect("a session").upgraded()
    }
}

fn no_pings() -> Config {
    Config::default().ping_interval(Duration::from_secs(1000))
}

#[tokio::test]
async fn packets_of_a_websocket_are_seen_in_both_directions() {
    let observed = Observed::start(no_pings()).await;
    let url = format!("{PATH}?EIO=4&transport=websocket");
    let mut ws = Ws::connect(observed.addr, &url).await;
    Open::parse(ws.recv_text().await.as_bytes());
    observed.logged(&["out 0", "drain"]).await;
    ws.text("4hello").await;
    let echo = ["in 4hello", "message hello", "out 4hello", "drain"];
    observed.logged(&echo).await;
    ws.binary([1, 2]).await;
    let echo = ["in 4binary", "message binary", "out binary", "drain"];
    observed.logged(&echo).await;
    assert!(!observed.upgraded());
    ws.text("1").await;
    observed.logged(&["in 1", "close transport close"]).await;
}

#[tokio::test]
async fn pings_and_pongs_are_seen_in_both_versions() {
    let config = Config::default().ping_interval(Duration::from_millis(50));
    let observed = Observed::start(config).await;
    let url = format!("{PATH}?EIO=4&transport=websocket");
    let mut ws = Ws::connect(observed.addr, &url).await;
    Open::parse(ws.recv_text().await.as_bytes());
    assert_eq!(ws.recv_text().await, "2");
    ws.text("3").await;
    let beat = ["out 0", "drain", "out 2", "drain", "in 3"];
    observed.logged(&beat).await;

    let observed = Observed::start(no_pings()).await;
    let mut session = Polling::open(observed.addr, PATH, "EIO=3&b64=1").await;
    session.post_ok("1:2").await;
    assert_eq!(session.poll_text().await, "1:3");
    let beat = ["out 0", "drain", "in 2", "out 3", "drain"];
    observed.logged(&beat).await;
}

#[tokio::test]
async fn an_upgrade_is_seen_once_and_the_probe_is_not() {
    let observed = Observed::start(no_pings()).await;
    let mut session = Polling::open(observed.addr, PATH, "EIO=4").await;
    session.post_ok("4a\x1e4b").await;
    assert_eq!(session.poll_text().await, "4a\x1e4b");
    observed
        .logged(&[
            "out 0",
            "drain",
            "in 4a",
            "in 4b",
            "message a",
            "message b",
            "out 4a",
            "out 4b",
            "drain",
        ])
        .await;
    assert!(!observed.upgraded());
    let (mut ws, body) = Upgrade::run(&mut session).await;
    assert_eq!(body, "6");
    observed.logged(&["out 6", "drain", "upgrade"]).await;
    assert!(observed.upgraded());
    ws.text("4c").await;
    assert_eq!(ws.recv_text().await, "4c");
    observed
        .logged(&["in 4c", "message c", "out 4c", "drain"])
        .await;
}

#[tokio::test]
async fn the_drain_comes_after_the_last_of_many_messages() {
    let observed = Observed::start(no_pings()).await;
    let url = format!("{PATH}?EIO=4&transport=websocket");
    let mut ws = Ws::connect(observed.addr, &url).await;
    Open::parse(ws.recv_text().await.as_bytes());
    observed.logged(&["out 0", "drain"]).await;
    let long = "x".repeat(1_000_000);
    let handle = observed.observer.handle.lock().unwrap().clone();
    for _ in 0..12 {
        handle.as_ref().expect("a session").send(&*long);
    }
    for _ in 0..12 {
        assert_eq!(ws.recv_text().await.len(), 1_000_001);
    }
    let mut log = observed.observer.log.subscribe();
    let drained = log.wait_for(|log| log.iter().any(|it| it == "drain"));
    let log = within(TIME_LIMIT, "the drain", drained)
        .await
        .unwrap()
        .clone();
    assert_eq!(log.len(), 13);
    assert_eq!(log[12], "drain");
}

#[tokio::test]
async fn messages_that_never_left_are_no_drain() {
    let observed = Observed::start(no_pings()).await;
    let mut session = Polling::open(observed.addr, PATH, "EIO=4").await;
    observed.logged(&["out 0", "drain"]).await;
    let handle = observed.observer.handle.lock().unwrap().clone();
    let handle = handle.expect("a session");
    handle.send("a");
    handle.send("b");
    // The client goes without another poll.
    session.post_ok("1").await;
    observed.logged(&["in 1", "close transport close"]).await;
    session.poll().await;
    let after = observed.observer.log.borrow().clone();
    assert!(
        !after.contains(&"drain".to_owned()) || after == ["out 6", "drain"],
        "{after:?}"
    );
}
