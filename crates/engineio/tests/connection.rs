//! What an application that takes its time, or fails, can rely on.

mod common;

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use common::{A_MOMENT, Behaviour, PATH, RECORD, Running, assert_unknown, start_with};
use engineio::{Acceptor, CloseReason, Config, Connection, Data, Handshake, Server, SessionHandle};
use testkit::{Http, Open, Polling, TIME_LIMIT, Upgrade, Ws, within, ws::Frame};
use tokio::{net::TcpListener, time::sleep};

/// An application that works on one message at a time, for 100 ms, and then sends it back.
struct Slow(Arc<Mutex<Vec<String>>>);

const WORK: Duration = Duration::from_millis(100);

struct SlowConnection {
    handle: SessionHandle,
    log: Arc<Mutex<Vec<String>>>,
    work: Option<Pin<Box<dyn Future<Output = Data> + Send>>>,
}

impl Acceptor for Slow {
    type Connection = SlowConnection;

    fn accept(&self, handle: SessionHandle, _: Arc<Handshake>) -> SlowConnection {
        SlowConnection {
            handle,
            log: self.0.clone(),
            work: None,
        }
    }
}

impl SlowConnection {
    fn log(&self, entry: String) {
        self.log.lock().expect("no panic").push(entry);
    }
}

impl Connection for SlowConnection {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_progress(cx)
    }

    fn on_message(&mut self, message: Data, cx: &mut Context<'_>) {
        self.log(format!("start {}", text(&message)));
        self.work = Some(Box::pin(async move {
            sleep(WORK).await;
            message
        }));
        let _ = self.poll_progress(cx);
    }

    fn poll_progress(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(work) = &mut self.work else {
            return Poll::Ready(());
        };
        let Poll::Ready(message) = work.as_mut().poll(cx) else {
            return Poll::Pending;
        };
        self.work = None;
        self.log(format!("end {}", text(&message)));
        self.handle.send(message);
        Poll::Ready(())
    }

    fn on_close(&mut self, reason: CloseReason, _: Option<&'static str>, _: &mut Context<'_>) {
        self.log(format!("close {reason}"));
    }
}

fn text(message: &Data) -> &str {
    match message {
        Data::Text(text) => text,
        Data::Binary(_) => "bytes",
    }
}

/// A slow server's address and log.
async fn slow(config: Config) -> (std::net::SocketAddr, Arc<Mutex<Vec<String>>>) {
    let log = Arc::new(Mutex::new(Vec::new()));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("an address");
    let server = Server::new(config, Slow(log.clone()));
    tokio::spawn(async move { engineio::serve(listener, server).await });
    (addr, log)
}

async fn ws(addr: std::net::SocketAddr) -> Ws {
    let mut ws = Ws::connect(addr, "/engine.io/?EIO=4&transport=websocket").await;
    Open::parse(ws.recv_text().await.as_bytes());
    ws
}

async fn logged(log: &Mutex<Vec<String>>, expected: &[&str]) {
    let poll = async {
        while log.lock().expect("no panic").len() < expected.len() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    within(TIME_LIMIT, "the log to fill", poll).await;
    assert_eq!(*log.lock().expect("no panic"), expected);
}

#[tokio::test]
async fn messages_wait_their_turn() {
    let (addr, log) = slow(Config::default()).await;
    let mut ws = ws(addr).await;
    for text in ["4a", "4b", "4c"] {
        ws.text(text).await;
    }
    for text in ["4a", "4b", "4c"] {
        assert_eq!(ws.recv_text().await, text);
    }
    logged(
        &log,
        &["start a", "end a", "start b", "end b", "start c", "end c"],
    )
    .await;
}

#[tokio::test]
async fn messages_wait_their_turn_on_polling() {
    let (addr, log) = slow(Config::default()).await;
    let mut session = Polling::open(addr, PATH, "EIO=4").await;
    session.post_ok("4a\x1e4b").await;
    session.post_ok("4c").await;
    for text in ["4a", "4b", "4c"] {
        assert_eq!(session.poll_text().await, text);
    }
    logged(
        &log,
        &["start a", "end a", "start b", "end b", "start c", "end c"],
    )
    .await;
}

#[tokio::test]
async fn what_is_in_flight_when_the_client_leaves_is_finished() {
    let (addr, log) = slow(Config::default()).await;
    let mut ws = ws(addr).await;
    ws.text("4a").await;
    sleep(A_MOMENT / 2).await;
    ws.close(None).await;
    logged(&log, &["start a", "close transport close", "end a"]).await;
}

#[tokio::test]
async fn the_heartbeat_goes_on_while_the_application_works() {
    let config = Config::default()
        .ping_interval(Duration::from_millis(30))
        .ping_timeout(Duration::from_millis(60));
    let (addr, _log) = slow(config).await;
    let mut ws = ws(addr).await;
    let mut pings = 0;
    for text in ["4a", "4b", "4c"] {
        ws.text(text).await;
    }
    let mut echoes = Vec::new();
    while echoes.len() < 3 {
        match ws.recv_text().await {
            ping if ping == "2" => {
                pings += 1;
                ws.text("3").await;
            }
            echo => echoes.push(echo),
        }
    }
    assert_eq!(echoes, ["4a", "4b", "4c"]);
    assert!(pings >= 3, "{pings} pings in 300 ms");
}

#[tokio::test]
async fn an_upgrade_does_not_change_the_order_of_what_waits() {
    let running = start_with(Config::default(), RECORD).await;
    let mut session = running.open().await;
    running.hold();
    session.post_ok("41").await;
    let (mut ws, _) = Upgrade::run(&mut session).await;
    ws.text("42").await;
    sleep(A_MOMENT).await;
    assert_eq!(running.seen(session.sid()).await.messages, []);
    running.release();
    assert_eq!(running.messages(session.sid(), 2).await, ["1", "2"]);
}

#[tokio::test]
async fn messages_that_wait_are_delivered_before_the_end() {
    let running = start_with(Config::default(), RECORD).await;
    let (mut ws, open) = running.ws().await;
    running.hold();
    for number in 0..10 {
        ws.text(&format!("4{number}")).await;
    }
    ws.close(None).await;
    let reason = running.close_reason(&open.sid).await;
    assert_eq!(reason, CloseReason::TransportClose);
    let numbers: Vec<_> = (0..10).map(|number| number.to_string()).collect();
    assert_eq!(running.messages(&open.sid, 10).await, numbers);
}

/// Every message is a catastrophe.
const PANICS: Behaviour = Behaviour {
    message: |_, _| panic!("on purpose"),
    ..RECORD
};

async fn assert_serving(running: &Running) {
    let session = running.open().await;
    running.assert_open(session.sid()).await;
}

#[tokio::test]
async fn an_application_that_panics_loses_one_session() {
    let running = start_with(Config::default(), PANICS).await;
    let (mut ws, _) = running.ws().await;
    ws.text("4a").await;
    assert_eq!(ws.until_closed().await, []);

    let mut session = running.open().await;
    session.send_poll().await;
    sleep(A_MOMENT).await;
    let response = session.post("4a").await;
    assert!(response.status >= 400, "{response:?}");
    let poll = session.recv_poll().await;
    assert!(poll.status >= 400 || poll.text() == "1", "{poll:?}");
    assert_unknown(&session.poll().await);
    running.sessions(0).await;
    assert_serving(&running).await;
}

#[tokio::test]
async fn the_handle_of_a_session_that_a_panic_ended_is_closed() {
    let running = start_with(Config::default(), PANICS).await;
    let (mut ws, open) = running.ws().await;
    let handle = running.handle(&open.sid).await;
    ws.text("4a").await;
    assert_eq!(ws.until_closed().await, []);
    running.sessions(0).await;
    assert!(handle.is_closed());
    assert!(!handle.is_writable());
    assert!(!handle.send_volatile("lost"));
    handle.send("lost");
    assert_eq!(handle.queued(), 0);
}

#[tokio::test]
async fn an_application_that_panics_at_once_leaves_no_session() {
    let panics = Behaviour {
        opened: |_| panic!("on purpose"),
        ..RECORD
    };
    let running = start_with(Config::default(), panics).await;
    for transport in ["polling", "websocket"] {
        let mut wire = testkit::Wire::connect(running.addr).await;
        let request = format!(
            "GET /engine.io/?EIO=4&transport={transport} HTTP/1.1\r\nHost: a\r\n\
             Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: {}\r\n\r\n",
            testkit::ws::SAMPLE_KEY
        );
        wire.send(request).await;
        wire.finish().await;
        wire.rest().await;
    }
    running.sessions(0).await;
}

#[tokio::test]
async fn a_websocket_that_does_not_read_is_not_waited_for() {
    let config = Config::default()
        .close_timeout(Duration::from_millis(200))
        .max_queued(usize::MAX);
    let running = start_with(config, RECORD).await;
    let (_ws, open) = running.ws().await;
    let handle = running.handle(&open.sid).await;
    let long = "x".repeat(1_000_000);
    for _ in 0..30 {
        handle.send(&*long);
    }
    handle.close(CloseReason::ForcedClose);
    let reason = running.close_reason(&open.sid).await;
    assert_eq!(reason, CloseReason::ForcedClose);
    running.sessions(0).await;
}

#[tokio::test]
async fn a_close_by_a_handler_that_has_waited_takes_effect_at_once() {
    let running = start_with(Config::default(), RECORD).await;
    let (mut ws, open) = running.ws().await;
    let mut session = running.open().await;
    for sid in [&open.sid, session.sid()] {
        let close = |it: &SessionHandle| it.close(CloseReason::ForcedClose);
        running.work(sid, close).await;
        running.handle(sid).await.send("go");
        let reason = running.close_reason(sid).await;
        assert_eq!(reason, CloseReason::ForcedClose);
    }
    assert_eq!(ws.recv_text().await, "4go");
    assert_eq!(ws.recv_close().await, None);
    assert_eq!(session.poll_text().await, "4go\x1e1");
    running.sessions(0).await;
}

/// A session whose application is busy; see [`Running::occupy`].
async fn busy(running: &Running) -> (Polling, std::sync::mpsc::Sender<()>) {
    let session = running.open().await;
    let handle = running.handle(session.sid()).await;
    let busy = running.occupy(session.sid(), async { handle.send("go") });
    let busy = busy.await;
    (session, busy)
}

/// The same, with a POST that has only begun and nothing to send.
async fn busy_with_a_post(running: &Running) -> (Polling, Http, std::sync::mpsc::Sender<()>) {
    let session = running.open().await;
    let url = session.url();
    let mut http = Http::connect(running.addr).await;
    let headers = [("Content-Length", "100")];
    let post = http.send_request("POST", &url, &headers, "4he");
    let busy = running.occupy(session.sid(), post).await;
    (session, http, busy)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_post_that_comes_while_the_application_is_busy_is_delivered_then() {
    let running = start_with(Config::default(), RECORD).await;
    let (mut session, busy) = busy(&running).await;
    let url = session.url();
    let http = session.post_connection();
    http.send_request("POST", &url, &[], "4hello").await;
    http.silence(A_MOMENT).await;
    drop(busy);
    assert_eq!(session.post_connection().response().await.text(), "ok");
    assert_eq!(running.messages(session.sid(), 1).await, ["hello"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_post_given_up_while_the_application_is_busy_closes_the_session() {
    let running = start_with(Config::default(), RECORD).await;
    let (mut session, http, busy) = busy_with_a_post(&running).await;
    drop(http);
    sleep(A_MOMENT).await;
    drop(busy);
    let reason = running.close_reason(session.sid()).await;
    assert_eq!(reason, CloseReason::TransportError);
    running.sessions(0).await;
    assert_unknown(&session.poll().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_poll_given_up_while_the_application_is_busy_closes_the_session() {
    let running = start_with(Config::default(), RECORD).await;
    for with_message in [false, true] {
        let (mut session, _post, busy) = if with_message {
            let (session, busy) = busy(&running).await;
            (session, None, busy)
        } else {
            let (session, post, busy) = busy_with_a_post(&running).await;
            (session, Some(post), busy)
        };
        session.send_poll().await;
        sleep(A_MOMENT).await;
        session.abort_poll().await;
        sleep(A_MOMENT).await;
        drop(busy);
        let reason = running.close_reason(session.sid()).await;
        assert_eq!(reason, CloseReason::TransportError, "{with_message}");
        running.sessions(0).await;
    }
}

/// Of what is read at once, up to 32 KiB, the rest may be frames that are no messages.
#[tokio::test]
async fn messages_that_wait_do_not_keep_what_came_with_them() {
    let running = start_with(Config::default(), RECORD).await;
    let (mut ws, open) = running.ws().await;
    running.hold();
    let frames = (0..10).map(|number| Frame::new(2, [number]).encode());
    let distance = Frame::new(2, [0]).encode().len();
    ws.raw(frames.collect::<Vec<_>>().concat()).await;
    sleep(A_MOMENT).await;
    running.release();
    running.messages(&open.sid, 10).await;
    let messages = running.seen(&open.sid).await.messages;
    for (number, pair) in messages.windows(2).enumerate() {
        let [Data::Binary(a), Data::Binary(b)] = pair else {
            panic!("{pair:?}")
        };
        assert_eq!((a[0] + 1, b[0]), (b[0], number as u8 + 1));
        let apart = (b.as_ptr() as usize).wrapping_sub(a.as_ptr() as usize);
        assert_ne!(apart, distance, "{number} is part of what was read");
    }
}
