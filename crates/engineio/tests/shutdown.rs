//! What a closing server waits for, for how long, and what happens to the rest. In no time: the
//! clock is paused.

mod common;

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use common::{RECORD, start_with};
use engineio::{
    Acceptor, CloseReason, Config, Connection, Data, Encoded, Handshake, Server, SessionHandle,
};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use testkit::Open;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    task::JoinHandle,
    time::{Instant, Sleep, sleep, timeout},
};

const URL: &str = "/engine.io/?EIO=4&transport=polling";
const GRACE: Duration = Duration::from_secs(10);

/// An application that takes its time when a session has closed.
#[derive(Clone)]
struct Slow {
    time: Duration,
    alive: Arc<AtomicUsize>,
    accepted: Arc<AtomicUsize>,
}

struct SlowConnection {
    app: Slow,
    work: Option<Pin<Box<Sleep>>>,
}

impl Slow {
    fn new(time: Duration) -> Self {
        Self {
            time,
            alive: Arc::default(),
            accepted: Arc::default(),
        }
    }

    fn alive(&self) -> usize {
        self.alive.load(Ordering::SeqCst)
    }

    fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

impl Acceptor for Slow {
    type Connection = SlowConnection;

    fn accept(&self, _: SessionHandle, _: Arc<Handshake>) -> SlowConnection {
        self.alive.fetch_add(1, Ordering::SeqCst);
        self.accepted.fetch_add(1, Ordering::SeqCst);
        SlowConnection {
            app: self.clone(),
            work: None,
        }
    }
}

impl Connection for SlowConnection {
    fn on_message(&mut self, _: Data, _: &mut Context<'_>) {}

    fn poll_progress(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.work {
            Some(work) => work.as_mut().poll(cx),
            None => Poll::Ready(()),
        }
    }

    fn on_close(&mut self, _: CloseReason, _: Option<&'static str>, _: &mut Context<'_>) {
        self.work = Some(Box::pin(sleep(self.app.time)));
    }
}

impl Drop for SlowConnection {
    fn drop(&mut self) {
        self.app.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn get<A: Acceptor>(server: &Server<A>, url: &str) -> Response<Bytes> {
    let request = Request::get(url).body(Full::<Bytes>::default());
    let response = server.handle(request.expect("a request")).await;
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("a whole body").to_bytes();
    Response::from_parts(parts, body)
}

/// A server with one session, whose client has a poll waiting.
async fn server_with_a_session(app: &Slow) -> Server<Slow> {
    server_and_poll(app).await.0
}

async fn server_and_poll(app: &Slow) -> (Server<Slow>, JoinHandle<Response<Bytes>>) {
    let server = Server::new(Config::default(), app.clone());
    let open = Open::parse(get(&server, URL).await.body());
    let client = server.clone();
    let url = format!("{URL}&sid={}", open.sid);
    let poll = tokio::spawn(async move { get(&client, &url).await });
    tokio::task::yield_now().await;
    (server, poll)
}

#[tokio::test(start_paused = true)]
async fn what_a_connection_has_in_flight_is_waited_for() {
    let app = Slow::new(GRACE / 2);
    let server = server_with_a_session(&app).await;
    let start = Instant::now();
    let closed = server.close(GRACE).await;
    assert!(closed.all_gone());
    assert_eq!(start.elapsed().as_secs(), 5);
    assert_eq!(app.alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_in_flight_when_the_time_is_over_is_dropped() {
    let app = Slow::new(GRACE * 2);
    let server = server_with_a_session(&app).await;
    let start = Instant::now();
    let closed = server.close(GRACE).await;
    assert_eq!(closed.cut, 1);
    assert!(!closed.all_gone());
    assert_eq!(start.elapsed().as_secs(), 10);
    assert_eq!(app.alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_polls_again_is_cut_off() {
    let app = Slow::new(Duration::ZERO);
    let server = Server::new(Config::default(), app.clone());
    let open = Open::parse(get(&server, URL).await.body());
    assert_eq!(server.close(GRACE).await.cut, 1);
    assert_eq!((server.sessions(), app.alive()), (0, 0));
    let poll = get(&server, &format!("{URL}&sid={}", open.sid)).await;
    assert_eq!(poll.status(), 400);
}

#[tokio::test(start_paused = true)]
async fn a_websocket_that_never_reads_is_cut_off() {
    let running = start_with(Config::default(), RECORD).await;
    let (pipe, open) = running.ws_on_a_pipe(4096).await;
    let handle = running.handle(&open.sid).await;
    handle.send(Encoded::binary(vec![0; 1_000_000]));
    let start = Instant::now();
    assert_eq!(running.server.close(GRACE).await.cut, 1);
    assert_eq!(start.elapsed().as_secs(), 10);
    assert_eq!(
        running.close_reason(&open.sid).await,
        CloseReason::ServerShuttingDown
    );
    drop(pipe);
}

#[tokio::test(start_paused = true)]
async fn a_websocket_that_is_still_opening_is_cut_off() {
    let app = Slow::new(Duration::ZERO);
    let server = Server::new(Config::default(), app.clone());
    // So small that the 101 waits for its client.
    let (mut client, inside) = duplex(16);
    let connection = http1::Builder::new().serve_connection(TokioIo::new(inside), server.clone());
    tokio::spawn(connection.with_upgrades());
    let request = format!(
        "GET /engine.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: a\r\n\
         Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: {}\r\n\r\n",
        testkit::ws::SAMPLE_KEY
    );
    client.write_all(request.as_bytes()).await.expect("a pipe");
    sleep(Duration::from_secs(1)).await;
    assert_eq!((server.sessions(), app.accepted()), (1, 0));
    let start = Instant::now();
    assert_eq!(server.close(Duration::from_secs(2)).await.cut, 1);
    assert_eq!(start.elapsed().as_secs(), 2);
    assert_eq!(server.sessions(), 0);
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.expect("a pipe");
    assert_eq!(app.accepted(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_session_on_its_way_out_leaves_the_next_one_of_its_id_alone() {
    let app = Slow::new(GRACE);
    let config = Config::default().generate_id(async |_| Ok::<_, std::fmt::Error>("same".into()));
    let server = Server::new(config, app.clone());
    let url = format!("{URL}&sid=same");
    assert_eq!(get(&server, URL).await.status(), 200);
    let close = Request::post(&*url).body(Full::from("1"));
    server.handle(close.expect("a request")).await;
    assert_eq!(get(&server, &url).await.body(), "6");

    assert_eq!(get(&server, URL).await.status(), 200);
    assert_eq!(app.alive(), 2);
    sleep(GRACE * 2).await;
    assert_eq!((server.sessions(), app.alive()), (1, 1));
    let pong = Request::post(&*url).body(Full::from("4x"));
    let response = server.handle(pong.expect("a request")).await;
    assert_eq!(response.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn without_any_grace_clients_are_still_told() {
    let app = Slow::new(Duration::ZERO);
    let (server, poll) = server_and_poll(&app).await;
    server.close(Duration::ZERO).await;
    assert_eq!((server.sessions(), app.alive()), (0, 0));
    assert_eq!(poll.await.expect("an answer").body(), "1");
}

#[tokio::test(start_paused = true)]
async fn calls_at_the_same_time_hear_the_same_and_the_shortest_grace_holds() {
    let app = Slow::new(GRACE * 2);
    let server = server_with_a_session(&app).await;
    let start = Instant::now();
    let (one, other) = tokio::join!(server.close(GRACE), server.close(GRACE / 2));
    assert_eq!((one.cut, other.cut), (1, 1));
    assert_eq!(start.elapsed().as_secs(), 5);
    assert_eq!(server.close(GRACE).await.cut, 1);
    assert_eq!(start.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_given_up_can_be_made_again() {
    let app = Slow::new(GRACE / 2);
    let server = server_with_a_session(&app).await;
    let start = Instant::now();
    let given_up = timeout(Duration::from_secs(1), server.close(GRACE)).await;
    assert!(given_up.is_err());
    assert!(server.is_closing());
    assert_eq!(get(&server, URL).await.status(), 503);
    assert!(server.close(GRACE).await.all_gone());
    assert_eq!(start.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_server_lives_as_long_as_its_last_session() {
    let app = Slow::new(Duration::ZERO);
    let server = server_with_a_session(&app).await;
    let weak = server.downgrade();
    drop(server);
    sleep(Duration::from_secs(1)).await;
    let server = weak.upgrade().expect("kept by its session");
    assert_eq!(server.sessions(), 1);
    server.close(GRACE).await;
    drop(server);
    sleep(Duration::from_secs(1)).await;
    assert!(weak.upgrade().is_none());
}
