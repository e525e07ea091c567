//! A server under test, and what its application saw.
#![allow(dead_code, unreachable_pub)] // each test file is a crate and uses a part of this

pub mod relay;

use std::{
    collections::HashMap,
    future::Future,
    mem,
    net::SocketAddr,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use engineio::{
    Acceptor, CloseReason, Config, Connection, Data, Handshake, Server, SessionHandle, Transport,
};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use relay::{LocalBus, Split};
use testkit::{Open, Polling, Response, TIME_LIMIT, Ws, within};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    net::TcpListener,
    sync::{oneshot, watch},
    task::JoinHandle,
};

/// Where the engine listens in these tests.
pub const PATH: &str = "/engine.io/";

/// Longer than the server needs to see what was sent to it, short enough to wait for often.
pub const A_MOMENT: Duration = Duration::from_millis(60);

/// A server on a port of its own. Dropping it stops it.
pub struct Running {
    /// Where it listens.
    pub addr: SocketAddr,
    /// The server.
    pub server: Server<App>,
    /// The accept loop.
    pub task: JoinHandle<()>,
    /// Ends the accept loop.
    pub shutdown: Option<oneshot::Sender<()>>,
    app: App,
}

/// The application on top: does what its [`Behaviour`] says, and records.
#[derive(Clone)]
pub struct App(Arc<Shared>);

/// What the application does.
#[derive(Clone, Copy)]
pub struct Behaviour {
    /// When a session opens.
    pub opened: fn(&SessionHandle),
    /// When a message arrives.
    pub message: fn(&SessionHandle, Data),
}

/// Sends every message back.
pub const ECHO: Behaviour = Behaviour {
    opened: |_| {},
    message: |session, message| session.send(message),
};

/// Only records.
pub const RECORD: Behaviour = Behaviour {
    opened: |_| {},
    message: |_, _| {},
};

/// What was seen of one session.
#[derive(Clone)]
pub struct Seen {
    /// Its handle.
    pub handle: SessionHandle,
    /// The request that opened it.
    pub handshake: Arc<Handshake>,
    /// The messages so far.
    pub messages: Vec<Data>,
    /// The reasons it closed with: never more than one.
    pub closed: Vec<CloseReason>,
    desk: Desk,
}

/// Where work for a connection of the application is left.
#[derive(Clone, Default)]
struct Desk(Arc<Mutex<Option<Job>>>);

type Job = Box<dyn FnOnce(&SessionHandle) + Send>;

struct Shared {
    behaviour: Behaviour,
    seen: watch::Sender<HashMap<String, Seen>>,
    gate: Mutex<Gate>,
}

/// Holds back what the application is ready for.
#[derive(Default)]
struct Gate {
    shut: bool,
    waiting: Vec<Waker>,
}

/// A server that echoes.
pub async fn start(config: Config) -> Running {
    start_with(config, ECHO).await
}

/// A server whose application behaves in some other way. If there is a variable `RELAYED` in the
/// environment, each request of a session reaches another server first.
pub async fn start_with(config: Config, behaviour: Behaviour) -> Running {
    run(config, behaviour, std::env::var_os("RELAYED").is_some()).await
}

/// A server that gets its requests itself, whatever the environment says.
pub async fn start_alone(config: Config, behaviour: Behaviour) -> Running {
    run(config, behaviour, false).await
}

async fn run(config: Config, behaviour: Behaviour, relayed: bool) -> Running {
    let app = App::new(behaviour);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("an address");
    let (server, front) = if relayed {
        let config = config.relay(LocalBus::default());
        let server = Server::new(config.clone(), app.clone());
        (server, Some(Server::new(config, App::new(RECORD))))
    } else {
        (Server::new(config, app.clone()), None)
    };
    let service = Split {
        owner: server.clone(),
        front,
    };
    let (shutdown, signal) = oneshot::channel();
    let serve = engineio::serve(listener, service).with_graceful_shutdown(async {
        let _ = signal.await;
    });
    Running {
        addr,
        server,
        task: tokio::spawn(async move {
            serve.await.expect("no error ends the accept loop");
        }),
        shutdown: Some(shutdown),
        app,
    }
}

/// The settings of the official suites: ping every 300 ms, 200 ms for the answer.
pub fn quick() -> Config {
    Config::default()
        .ping_interval(Duration::from_millis(300))
        .ping_timeout(Duration::from_millis(200))
        .allow_eio3(true)
}

/// The defaults, old clients allowed.
pub fn both_versions() -> Config {
    Config::default().allow_eio3(true)
}

impl Running {
    /// Opens a polling session of version 4.
    pub async fn open(&self) -> Polling {
        Polling::open(self.addr, PATH, "EIO=4").await
    }

    /// Opens a polling session of version 3 with base64, as the official suite does.
    pub async fn open_v3(&self) -> Polling {
        Polling::open(self.addr, PATH, "EIO=3&b64=1").await
    }

    /// Opens a WebSocket session of version 4 and reads the open packet.
    pub async fn ws(&self) -> (Ws, Open) {
        self.ws_with("EIO=4").await
    }

    /// Opens a WebSocket session and reads the open packet.
    pub async fn ws_with(&self, query: &str) -> (Ws, Open) {
        let mut ws = Ws::connect(self.addr, &format!("{PATH}?{query}&transport=websocket")).await;
        let open = Open::parse(ws.recv_text().await.as_bytes());
        (ws, open)
    }

    /// What was seen of a session so far.
    pub async fn seen(&self, sid: &str) -> Seen {
        self.wait(sid, "a session", |_| true).await
    }

    /// The handle of a session.
    pub async fn handle(&self, sid: &str) -> SessionHandle {
        self.seen(sid).await.handle
    }

    /// The first so many messages of a session, as text; binary ones as `b` and the bytes.
    pub async fn messages(&self, sid: &str, count: usize) -> Vec<String> {
        let enough = |seen: &Seen| seen.messages.len() >= count;
        let seen = self.wait(sid, "messages", enough).await;
        seen.messages.iter().map(show).collect()
    }

    /// Why a session closed.
    pub async fn close_reason(&self, sid: &str) -> CloseReason {
        let closed = |seen: &Seen| !seen.closed.is_empty();
        let seen = self.wait(sid, "the session to close", closed).await;
        assert_eq!(seen.closed.len(), 1, "closed more than once");
        seen.closed[0]
    }

    /// Panics if a session has closed.
    pub async fn assert_open(&self, sid: &str) {
        assert_eq!(self.seen(sid).await.closed, []);
    }

    /// The application takes no more messages.
    pub fn hold(&self) {
        self.app.0.gate.lock().expect("no panic").shut = true;
    }

    /// The application takes messages again.
    pub fn release(&self) {
        let gate = mem::take(&mut *self.app.0.gate.lock().expect("no panic"));
        gate.waiting.into_iter().for_each(Waker::wake);
    }

    /// Has the connection of a session do something in its next turn, as a handler does that has
    /// waited for something else.
    pub async fn work(&self, sid: &str, job: impl FnOnce(&SessionHandle) + Send + 'static) {
        let desk = self.seen(sid).await.desk;
        *desk.0.lock().expect("no panic") = Some(Box::new(job));
    }

    /// Keeps a session's task, and the thread it runs on, inside the application until what is
    /// returned is dropped. The cause is what makes the session take its next turn. Needs a
    /// server with another thread than the test's.
    pub async fn occupy(
        &self,
        sid: &str,
        cause: impl Future<Output = ()>,
    ) -> std::sync::mpsc::Sender<()> {
        let (began, begun) = oneshot::channel();
        let (end, ended) = std::sync::mpsc::channel::<()>();
        let job = move |_: &SessionHandle| {
            let _ = began.send(());
            let _ = ended.recv();
        };
        self.work(sid, job).await;
        cause.await;
        let begun = within(TIME_LIMIT, "the application to begin", begun).await;
        begun.expect("the session is there");
        end
    }

    /// A WebSocket of version 4 on a pipe that holds so many bytes: what its client leaves unread
    /// stays in the server, where TCP would buffer megabytes. The open packet has been read.
    pub async fn ws_on_a_pipe(&self, bytes: usize) -> (DuplexStream, Open) {
        let (mut outside, inside) = duplex(bytes);
        let connection =
            http1::Builder::new().serve_connection(TokioIo::new(inside), self.server.clone());
        tokio::spawn(connection.with_upgrades());
        let request = format!(
            "GET {PATH}?EIO=4&transport=websocket HTTP/1.1\r\nHost: a\r\n\
             Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: {}\r\n\r\n",
            testkit::ws::SAMPLE_KEY
        );
        let mut answer = Vec::new();
        let open = async {
            outside.write_all(request.as_bytes()).await.expect("a pipe");
            while answer.last() != Some(&b'}') {
                let byte = outside.read_u8().await.expect("an open packet");
                answer.push(byte);
            }
        };
        within(TIME_LIMIT, "a WebSocket on a pipe", open).await;
        (outside, Open::parse(&answer))
    }

    /// Waits until a session has moved to its WebSocket.
    pub async fn upgraded(&self, sid: &str) {
        let handle = self.handle(sid).await;
        let poll = async {
            while handle.transport() != Transport::WebSocket {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        within(TIME_LIMIT, "the upgrade", poll).await;
    }

    /// Waits until the server has so many sessions.
    pub async fn sessions(&self, count: usize) {
        let poll = async {
            while self.server.sessions() != count {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        within(TIME_LIMIT, &format!("{count} sessions"), poll).await;
    }

    async fn wait(&self, sid: &str, what: &str, condition: impl Fn(&Seen) -> bool) -> Seen {
        let mut seen = self.app.0.seen.subscribe();
        let condition = |all: &HashMap<_, _>| all.get(sid).is_some_and(&condition);
        let all = within(TIME_LIMIT, what, seen.wait_for(condition)).await;
        all.expect("the application is there")[sid].clone()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl App {
    /// An application that behaves like this.
    pub fn new(behaviour: Behaviour) -> Self {
        Self(Arc::new(Shared {
            behaviour,
            seen: watch::Sender::new(HashMap::new()),
            gate: Mutex::default(),
        }))
    }

    /// What was seen of a session up to now.
    pub fn seen(&self, sid: &str) -> Seen {
        self.0.seen.borrow()[sid].clone()
    }
}

impl Acceptor for App {
    type Connection = Session;

    fn accept(&self, session: SessionHandle, handshake: Arc<Handshake>) -> Session {
        (self.0.behaviour.opened)(&session);
        let seen = Seen {
            handle: session.clone(),
            handshake,
            messages: Vec::new(),
            closed: Vec::new(),
            desk: Desk::default(),
        };
        let desk = seen.desk.clone();
        self.0.seen.send_modify(|all| {
            all.insert(session.sid().to_string(), seen);
        });
        Session {
            app: self.clone(),
            handle: session,
            desk,
        }
    }
}

/// One session of the application.
pub struct Session {
    app: App,
    handle: SessionHandle,
    desk: Desk,
}

impl Session {
    fn record(&self, change: impl FnOnce(&mut Seen)) {
        self.app.0.seen.send_modify(|all| {
            all.entry(self.handle.sid().to_string()).and_modify(change);
        });
    }
}

impl Connection for Session {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut gate = self.app.0.gate.lock().expect("no panic");
        if !gate.shut {
            return Poll::Ready(());
        }
        gate.waiting.push(cx.waker().clone());
        Poll::Pending
    }

    fn on_message(&mut self, message: Data, _: &mut Context<'_>) {
        (self.app.0.behaviour.message)(&self.handle, message.clone());
        self.record(|seen| seen.messages.push(message));
    }

    fn poll_progress(&mut self, _: &mut Context<'_>) -> Poll<()> {
        let job = self.desk.0.lock().expect("no panic").take();
        if let Some(job) = job {
            job(&self.handle);
        }
        Poll::Ready(())
    }

    fn on_close(&mut self, reason: CloseReason, _: Option<&'static str>, _: &mut Context<'_>) {
        self.record(|seen| seen.closed.push(reason));
    }
}

/// A WebSocket handshake that must be refused, and in clean HTTP: the response.
pub async fn refuse_ws(addr: SocketAddr, url: &str, headers: &[(&str, &str)]) -> Response {
    match Ws::connect_with_headers(addr, url, headers).await {
        Err(response) => response,
        Ok(ws) => panic!("{url}: expected a refusal, got {:?}", ws.response()),
    }
}

/// A response is an error of the protocol: status, content type and exact body.
#[track_caller]
pub fn assert_error(response: &Response, status: u16, code: u8, message: &str) {
    assert_eq!(response.status, status, "{response:?}");
    let content_type = response.header("content-type");
    assert_eq!(content_type, Some("application/json"), "{response:?}");
    let body = format!(r#"{{"code":{code},"message":"{message}"}}"#);
    assert_eq!(response.text(), body);
}

/// The session is gone.
#[track_caller]
pub fn assert_unknown(response: &Response) {
    assert_error(response, 400, 1, "Session ID unknown");
}

fn show(message: &Data) -> String {
    match message {
        Data::Text(text) => text.to_string(),
        Data::Binary(bytes) => format!("b{bytes:?}"),
    }
}
