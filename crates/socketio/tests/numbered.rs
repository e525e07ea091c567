//! Numbered events: none is lost or out of its place, on no transport, not across an upgrade and
//! not right behind a connection's beginning.
#![allow(
    clippy::unwrap_used,
    reason = "clippy sees no tests in functions that tests share"
)]

mod common;

use std::{
    iter,
    net::SocketAddr,
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use common::{PATH, Running};
use socketio::{
    Builder, Socket, SocketIo,
    handler::{Data, State},
};
use testkit::{
    Polling, Upgrade, Ws, within,
    ws::{Frame, SAMPLE_KEY, TEXT},
};
use tokio::{
    sync::{Notify, Semaphore},
    task::JoinSet,
};

/// Events in each direction.
const EVENTS: u32 = 20_000;

/// Events in one body, or in one write to a WebSocket.
const BATCH: u32 = 500;

/// How many events the server sends for each permit of its [`Server::flow`].
const PERMIT: u32 = 500;

/// Longer than any of these tests takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A server that notes the numbers of the events `n`, and at `go` sends numbers of its own, as
/// far as it may.
struct Server {
    running: Running,
    arrivals: Arc<Arrivals>,
    /// How far the server may go.
    flow: Arc<Semaphore>,
}

/// What the handler of `n` saw.
#[derive(Default)]
struct Arrivals {
    count: AtomicU32,
    out_of_place: AtomicU32,
    all: Notify,
}

impl Server {
    async fn start() -> Self {
        let arrivals = Arc::new(Arrivals::default());
        let flow = Arc::new(Semaphore::new(0));
        let io = quiet().state(arrivals.clone()).build();
        io.on(
            "n",
            async |State(arrivals): State<Arc<Arrivals>>, Data(number): Data<u32>| {
                arrivals.add(number);
            },
        );
        let permits = flow.clone();
        io.on("go", move |socket: Socket| {
            let permits = permits.clone();
            async move {
                tokio::spawn(async move {
                    for number in 0..EVENTS {
                        if number % PERMIT == 0 {
                            permits.acquire().await.unwrap().forget();
                        }
                        socket.emit("m", &number).unwrap();
                    }
                });
            }
        });
        Self {
            running: Running::start(io).await,
            arrivals,
            flow,
        }
    }

    /// Lets the server send a part of its events: so many quarters.
    fn send(&self, quarters: u32) {
        let permits = quarters * EVENTS / PERMIT / 4;
        self.flow.add_permits(permits as usize);
    }

    /// A session on polling that is in the namespace `/` and has said `go`.
    async fn polling(&self, framing: Framing) -> Polling {
        let mut session = Polling::open(self.running.addr, PATH, framing.query()).await;
        session.get_connection().set_limit(PATIENCE);
        if framing == Framing::V4 {
            session.post_ok("40").await;
            assert!(session.poll_text().await.starts_with("40{"));
        }
        let go = iter::once(String::from(r#"42["go"]"#));
        session.post_ok(&framing.join(go)).await;
        session
    }

    /// The same on WebSocket.
    async fn ws(&self, query: &str) -> Ws {
        let mut ws = self.running.ws_with(query).await;
        ws.set_limit(PATIENCE);
        if query == "EIO=4" {
            ws.text("40").await;
        }
        assert!(ws.recv_text().await.starts_with("40"));
        ws.text(r#"42["go"]"#).await;
        ws
    }
}

impl Arrivals {
    fn add(&self, number: u32) {
        let place = self.count.fetch_add(1, Ordering::Relaxed);
        if place != number {
            self.out_of_place.fetch_add(1, Ordering::Relaxed);
        }
        if place + 1 == EVENTS {
            self.all.notify_one();
        }
    }

    /// Waits until all numbers have arrived, each in its place.
    async fn complete(&self) {
        within(PATIENCE, "all numbers", self.all.notified()).await;
        assert_eq!(self.out_of_place.load(Ordering::Relaxed), 0);
        assert_eq!(self.count.load(Ordering::Relaxed), EVENTS);
    }
}

/// A server that does not ping meanwhile.
fn quiet() -> Builder {
    SocketIo::builder().engine(|config| config.ping_interval(PATIENCE * 2))
}

/// How many numbers came from the server, each in its place.
#[derive(Default)]
struct Received(u32);

impl Received {
    fn add(&mut self, packet: &str) {
        // What a poll is answered with during an upgrade.
        if packet != "6" {
            assert_eq!(packet, format!(r#"42["m",{}]"#, self.0));
            self.0 += 1;
        }
    }

    fn is_complete(&self) -> bool {
        self.0 == EVENTS
    }

    /// Takes the answer to the poll that waits.
    async fn answer(&mut self, session: &mut Polling, framing: Framing) {
        let response = session.recv_poll().await;
        assert_eq!(response.status, 200, "{response:?}");
        for packet in framing.split(&response.body) {
            self.add(&packet);
        }
    }

    /// Takes so many events from a WebSocket, or all that are left.
    async fn frames(&mut self, ws: &mut Ws, count: u32) {
        let end = EVENTS.min(self.0 + count);
        while self.0 < end {
            self.add(&ws.recv_text().await);
        }
    }
}

/// How packets are put into bodies.
#[derive(Clone, Copy, PartialEq)]
enum Framing {
    V4,
    /// Version 3, text both ways.
    V3Text,
    /// Version 3, bytes from the server.
    V3Bytes,
}

impl Framing {
    fn query(self) -> &'static str {
        match self {
            Self::V4 => "EIO=4",
            Self::V3Text => "EIO=3&b64=1",
            Self::V3Bytes => "EIO=3&t=Q87nR_u",
        }
    }

    fn join(self, packets: impl Iterator<Item = String>) -> String {
        match self {
            Self::V4 => packets.collect::<Vec<_>>().join("\x1e"),
            _ => packets.map(|it| format!("{}:{it}", it.len())).collect(),
        }
    }

    fn split(self, body: &[u8]) -> Vec<String> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        match self {
            Self::V4 => text(body).split('\x1e').map(str::to_owned).collect(),
            // All of it is ASCII: a character is a byte.
            Self::V3Text => cut(body, b':', |length| text(length).parse().unwrap()),
            Self::V3Bytes => cut(body, 0xff, |length| {
                assert_eq!(length[0], 0, "a text packet");
                let digits = length[1..].iter();
                digits.fold(0, |sum, digit| sum * 10 + usize::from(*digit))
            }),
        }
    }
}

/// Cuts a body of packets that have their lengths in front of them.
fn cut(mut body: &[u8], end: u8, length: impl Fn(&[u8]) -> usize) -> Vec<String> {
    let mut packets = Vec::new();
    while !body.is_empty() {
        let head = body.iter().position(|it| *it == end).unwrap();
        let (packet, rest) = body[head + 1..].split_at(length(&body[..head]));
        packets.push(String::from_utf8(packet.to_vec()).unwrap());
        body = rest;
    }
    packets
}

fn events(numbers: Range<u32>) -> impl Iterator<Item = String> {
    numbers.map(|number| format!(r#"42["n",{number}]"#))
}

fn batches(numbers: Range<u32>) -> impl Iterator<Item = Range<u32>> {
    let end = numbers.end;
    numbers
        .step_by(BATCH as usize)
        .map(move |start| start..(start + BATCH).min(end))
}

async fn post(session: &mut Polling, framing: Framing, numbers: Range<u32>) {
    session.post_ok(&framing.join(events(numbers))).await;
}

async fn write(ws: &mut Ws, numbers: Range<u32>) {
    let frames = events(numbers).flat_map(|event| Frame::new(TEXT, event).encode());
    ws.raw(frames.collect::<Vec<_>>()).await;
}

async fn by_polling(framing: Framing) {
    let server = Server::start().await;
    let mut session = server.polling(framing).await;
    server.send(4);
    let mut received = Received::default();
    for numbers in batches(0..EVENTS) {
        let polls = !received.is_complete();
        if polls {
            session.send_poll().await;
        }
        post(&mut session, framing, numbers).await;
        if polls {
            received.answer(&mut session, framing).await;
        }
    }
    while !received.is_complete() {
        session.send_poll().await;
        received.answer(&mut session, framing).await;
    }
    server.arrivals.complete().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_polling_of_version_4() {
    by_polling(Framing::V4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_polling_of_version_3_as_text() {
    by_polling(Framing::V3Text).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_polling_of_version_3_as_bytes() {
    by_polling(Framing::V3Bytes).await;
}

async fn by_websocket(query: &str) {
    let server = Server::start().await;
    let mut ws = server.ws(query).await;
    server.send(4);
    let mut received = Received::default();
    for numbers in batches(0..EVENTS) {
        write(&mut ws, numbers).await;
        received.frames(&mut ws, BATCH).await;
    }
    server.arrivals.complete().await;
    assert!(received.is_complete());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_websocket_of_version_4() {
    by_websocket("EIO=4").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_websocket_of_version_3() {
    by_websocket("EIO=3").await;
}

/// A quarter of the events leaves on polling, a quarter while the WebSocket is a candidate, a
/// quarter between the answer to the probe and the upgrade packet, the rest after it.
async fn across_the_upgrade(framing: Framing) {
    const QUARTER: u32 = EVENTS / 4;
    let server = Server::start().await;
    let mut session = server.polling(framing).await;
    let mut received = Received::default();

    server.send(1);
    for numbers in batches(0..QUARTER) {
        post(&mut session, framing, numbers).await;
    }
    while received.0 < QUARTER {
        session.send_poll().await;
        received.answer(&mut session, framing).await;
    }

    session.send_poll().await;
    let mut upgrade = Upgrade::connect(&session).await;
    upgrade.ws.set_limit(PATIENCE);
    server.send(1);
    for numbers in batches(QUARTER..2 * QUARTER) {
        post(&mut session, framing, numbers).await;
    }
    upgrade.probe().await;
    received.answer(&mut session, framing).await;

    server.send(1);
    for numbers in batches(2 * QUARTER..3 * QUARTER) {
        session.send_poll().await;
        post(&mut session, framing, numbers).await;
        received.answer(&mut session, framing).await;
    }

    server.send(1);
    let mut ws = upgrade.finish().await;
    for numbers in batches(3 * QUARTER..EVENTS) {
        write(&mut ws, numbers).await;
    }
    received.frames(&mut ws, EVENTS).await;
    server.arrivals.complete().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn across_an_upgrade_of_version_4() {
    across_the_upgrade(Framing::V4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn across_an_upgrade_of_version_3_with_text() {
    across_the_upgrade(Framing::V3Text).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn across_an_upgrade_of_version_3_with_bytes() {
    across_the_upgrade(Framing::V3Bytes).await;
}

/// How a client begins: its first event leaves as soon as the protocol lets it.
#[derive(Clone, Copy)]
enum Start {
    /// CONNECT and the event in one write.
    WebSocket,
    /// The event in the moment of the answer to CONNECT.
    WebSocketAnswered,
    /// CONNECT and the event in one body.
    Polling,
    /// The namespace is joined unasked: the event stands right behind the request that opens the
    /// WebSocket.
    OldWebSocket,
    /// The event in the first body after the open packet.
    OldPolling,
}

impl Start {
    const ALL: [Self; 5] = [
        Self::WebSocket,
        Self::WebSocketAnswered,
        Self::Polling,
        Self::OldWebSocket,
        Self::OldPolling,
    ];

    /// A client that says its number at once and leaves when that was acknowledged.
    async fn run(self, addr: SocketAddr, number: u32) {
        let event = format!(r#"420["n",{number}]"#);
        let url = |version| format!("{PATH}?EIO={version}&transport=websocket");
        match self {
            Self::WebSocket => {
                let mut ws = Ws::connect(addr, &url(4)).await;
                let frames = ["40", &*event].map(|it| Frame::new(TEXT, it).encode());
                ws.raw(frames.concat()).await;
                until_answered(&mut ws).await;
            }
            Self::WebSocketAnswered => {
                let mut ws = Ws::connect(addr, &url(4)).await;
                assert!(ws.recv_text().await.starts_with("0{"));
                ws.text("40").await;
                assert!(ws.recv_text().await.starts_with("40{"));
                ws.text(&event).await;
                until_answered(&mut ws).await;
            }
            Self::Polling => {
                let mut session = Polling::open(addr, PATH, "EIO=4").await;
                session.post_ok(&format!("40\x1e{event}")).await;
                while !session.poll_text().await.ends_with("430[]") {}
                session.post_ok("1").await;
            }
            Self::OldWebSocket => {
                let request = format!(
                    "GET {} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {SAMPLE_KEY}\r\n\r\n",
                    url(3)
                );
                let mut bytes = request.into_bytes();
                bytes.extend(Frame::new(TEXT, event).encode());
                let mut ws = Ws::handshake(addr, bytes).await.expect("a 101");
                until_answered(&mut ws).await;
            }
            Self::OldPolling => {
                let mut session = Polling::open(addr, PATH, "EIO=3&b64=1").await;
                session.post_ok(&format!("{}:{event}", event.len())).await;
                while !session.poll_text().await.ends_with("5:430[]") {}
                session.post_ok("1:1").await;
            }
        }
    }
}

async fn until_answered(ws: &mut Ws) {
    while ws.recv_text().await != "430[]" {}
    ws.close(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn right_behind_the_beginning_of_ten_thousand_connections() {
    const CLIENTS: u32 = 10_000;
    const AT_ONCE: usize = 100;

    let seen: Arc<Vec<AtomicU32>> = Arc::new((0..CLIENTS).map(|_| AtomicU32::new(0)).collect());
    let io = quiet().state(seen.clone()).build();
    // The handler is there only when the connection handler has done something else first.
    io.on_connection(async |socket: Socket| {
        tokio::time::sleep(Duration::from_millis(1)).await;
        socket.on(
            "n",
            async |State(seen): State<Arc<Vec<AtomicU32>>>, Data(number): Data<usize>| {
                seen[number].fetch_add(1, Ordering::Relaxed);
            },
        );
    });
    let running = Running::start(io).await;
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        if clients.len() == AT_ONCE {
            clients.join_next().await.unwrap().unwrap();
        }
        let start = Start::ALL[number as usize % Start::ALL.len()];
        clients.spawn(start.run(running.addr, number));
    }
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
    let seen = seen.iter().map(|it| it.load(Ordering::Relaxed));
    let wrong: Vec<_> = seen.enumerate().filter(|(_, count)| *count != 1).collect();
    assert_eq!(wrong, []);
}
