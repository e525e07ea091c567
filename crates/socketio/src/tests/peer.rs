//! A client by hand.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use crate::{Builder, Client, Socket, SocketIo};
use bytes::Bytes;
use engineio::{
    Acceptor, CloseReason, Config, Connection, Data, Refusal, SessionHandle, Sid, Version,
};

/// A connection whose client is the test.
pub(crate) struct Peer {
    pub(crate) client: Client,
    pub(crate) session: SessionHandle,
    wakes: Arc<Wakes>,
}

impl Peer {
    /// A client of protocol 5 that has joined nothing.
    pub(crate) async fn open(io: &SocketIo) -> Self {
        Self::open_with(io, Version::V4, "EIO=4&transport=websocket").await
    }

    /// A client of protocol 4.
    pub(crate) async fn open_old(io: &SocketIo, query: &str) -> Self {
        let query = format!("EIO=3&transport=websocket{query}");
        Self::open_with(io, Version::V3, &query).await
    }

    /// The same, not in any namespace before its first turn.
    pub(crate) async fn open_later(io: &SocketIo) -> Self {
        Self::waiting(io, Version::V3, "EIO=3&transport=websocket").await
    }

    async fn open_with(io: &SocketIo, version: Version, query: &str) -> Self {
        let mut peer = Self::waiting(io, version, query).await;
        peer.turn();
        peer
    }

    async fn waiting(io: &SocketIo, version: Version, query: &str) -> Self {
        let request = handshake(query).await;
        let sid = format!("session-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let session = SessionHandle::detached(Sid::from(&*sid), version);
        let client = io.accept(session.clone(), request);
        Self {
            client,
            session,
            wakes: Arc::default(),
        }
    }

    /// A client of protocol 5 in the namespace `/`.
    pub(crate) async fn connect(io: &SocketIo) -> Self {
        let mut peer = Self::open(io).await;
        peer.join("/");
        peer
    }

    /// Joins a namespace and returns the id of the socket.
    pub(crate) fn join(&mut self, namespace: &str) -> String {
        match namespace {
            "/" => self.send("0"),
            name => self.send(&format!("0{name},")),
        }
        self.joined(namespace)
    }

    /// The server lets the client into a namespace; the id of the socket.
    pub(crate) fn joined(&mut self, namespace: &str) -> String {
        let packet = self.received_one();
        let prefix = match namespace {
            "/" => String::from("0"),
            name => format!("0{name},"),
        };
        let json = packet.strip_prefix(&*prefix).expect(&packet);
        let json: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!(json.as_object().unwrap().len(), 1);
        json["sid"].as_str().unwrap().to_owned()
    }

    /// The socket in the namespace `/`.
    pub(crate) fn socket(&self) -> Socket {
        self.client.socket("/").expect("a socket")
    }

    /// Sends a text message, and lets the connection have its turn.
    pub(crate) fn send(&mut self, text: &str) {
        self.deliver(text.into());
    }

    /// Sends a binary message.
    pub(crate) fn send_binary(&mut self, bytes: &[u8]) {
        self.deliver(Bytes::copy_from_slice(bytes).into());
    }

    pub(crate) fn deliver(&mut self, message: Data) {
        assert!(self.is_ready(), "the connection takes nothing now");
        self.with(|client, cx| client.on_message(message, cx));
        self.turn();
    }

    /// Whether the connection takes another message.
    pub(crate) fn is_ready(&mut self) -> bool {
        self.with(|client, cx| client.poll_ready(cx)).is_ready()
    }

    /// Lets the connection have its turn; whether nothing is in flight any more.
    pub(crate) fn turn(&mut self) -> bool {
        self.wakes.0.store(0, Ordering::SeqCst);
        self.with(|client, cx| client.poll_progress(cx)) == Poll::Ready(())
    }

    /// The client answers a ping, as it does from time to time when nothing else happens.
    pub(crate) fn heartbeat(&mut self) {
        let pong = engineio::Packet::bare(engineio::PacketKind::Pong);
        self.with(|client, _| client.on_packet(&pong));
        self.turn();
    }

    /// Gives tasks and timers their time, then the connection its turn.
    pub(crate) async fn settle(&mut self) {
        for _ in 0..4 {
            tokio::task::yield_now().await;
            self.turn();
        }
    }

    /// Whether the connection is over: nothing that the client sends counts any more, and the
    /// session was asked to close.
    pub(crate) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// How often the connection was woken since its last turn.
    pub(crate) fn wakes(&self) -> usize {
        self.wakes.0.load(Ordering::SeqCst)
    }

    /// The session closes.
    pub(crate) fn close(&mut self, reason: CloseReason) -> bool {
        self.with(|client, cx| client.on_close(reason, None, cx));
        self.turn()
    }

    /// All packets that were sent, without the `4` of the engine; attachments as `<bytes>`.
    pub(crate) fn received(&mut self) -> Vec<String> {
        let mut packets = Vec::new();
        for message in self.session.take_sent() {
            packets.extend(message.wire_text().map(|text| text[1..].to_owned()));
            let attachments = message.attachments().iter();
            packets.extend(attachments.map(|bytes| format!("{:?}", &bytes[..])));
        }
        packets
    }

    /// The only packet that was sent.
    pub(crate) fn received_one(&mut self) -> String {
        let mut packets = self.received();
        assert_eq!(packets.len(), 1, "{packets:?}");
        packets.remove(0)
    }

    fn with<R>(&mut self, f: impl FnOnce(&mut Client, &mut Context<'_>) -> R) -> R {
        let waker = Waker::from(self.wakes.clone());
        f(&mut self.client, &mut Context::from_waker(&waker))
    }
}

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// What a test wants to know of what happened inside of handlers.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(crate) fn push(&self, line: impl ToString) {
        self.0.lock().unwrap().push(line.to_string());
    }

    pub(crate) fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// A server whose handlers can have a log as their state, and which logs its errors.
pub(crate) fn server() -> (SocketIo, Log) {
    server_with(|builder| builder)
}

pub(crate) fn server_with(change: impl FnOnce(Builder) -> Builder) -> (SocketIo, Log) {
    let log = Log::default();
    let io = change(SocketIo::builder().state(log.clone())).build();
    let errors = log.clone();
    io.on_error(move |report| errors.push(format!("error {report}")));
    (io, log)
}

/// The engine makes handshakes of requests only.
async fn handshake(query: &str) -> Arc<engineio::Handshake> {
    struct Nobody;
    struct Nothing;

    impl Acceptor for Nobody {
        type Connection = Nothing;
        fn accept(&self, _: SessionHandle, _: Arc<engineio::Handshake>) -> Nothing {
            Nothing
        }
    }

    impl Connection for Nothing {
        fn on_message(&mut self, _: Data, _: &mut Context<'_>) {}
    }

    let seen = Arc::new(Mutex::new(None));
    let slot = seen.clone();
    let config = Config::default().allow_request(move |request| {
        *slot.lock().unwrap() = Some(request);
        async { Err(Refusal::default()) }
    });
    let query = query.replace("transport=websocket", "transport=polling");
    let request = http::Request::get(format!("/engine.io/?{query}"))
        .header("x-test", "yes")
        .body(String::new())
        .unwrap();
    engineio::Server::new(config, Nobody).handle(request).await;
    let request = seen.lock().unwrap().take();
    request.expect("a handshake")
}

static COUNT: AtomicUsize = AtomicUsize::new(0);
