//! Behaviours that the official server's tests pin and no other file here shows; see
//! `docs/PARITY.md`.

mod common;

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use common::{PATH, RECORD, Running, assert_error, start, start_with};
use engineio::{Config, ConnectionErrorKind as Kind, Cors, Server, Transport};
use http::{HeaderValue, Request};
use hyper::{body::Incoming, service::service_fn};
use testkit::{
    Http, Message, Open, Polling, TIME_LIMIT, Upgrade, Wire, Ws, within, ws::SAMPLE_KEY,
};
use tokio::{net::TcpListener, runtime::Handle, time::sleep};

const WS_URL: &str = "/engine.io/?EIO=4&transport=websocket";

// handshakes

#[tokio::test]
async fn a_body_behind_a_websocket_handshake_costs_that_connection_alone() {
    let running = start(Config::default()).await;
    let mut session = running.open().await;
    for url in [WS_URL.to_owned(), session.ws_url()] {
        // As frames, these four letters have all reserved bits set.
        let request = format!(
            "GET {url} HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {SAMPLE_KEY}\r\n\
             Content-Length: 4\r\n\r\ntest"
        );
        let mut wire = Wire::connect(running.addr).await;
        wire.send(request).await;
        wire.finish().await;
        wire.rest().await;
    }
    running.sessions(1).await;
    session.post_ok("4hello").await;
    assert_eq!(session.poll_text().await, "4hello");
    running.ws().await;
}

#[tokio::test]
async fn a_websocket_request_of_a_polling_session_without_an_upgrade_is_told_for_what_it_is() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let errors = told.clone();
    let config = Config::default()
        .on_connection_error(move |error| errors.lock().unwrap().push(error.kind.clone()));
    let running = start(config).await;
    let mut session = running.open().await;
    let headers = [("Connection", "close")];
    let url = session.ws_url();
    let response = testkit::request(running.addr, "GET", &url, &headers, "").await;
    assert_error(&response, 400, 3, "Bad request");
    // The official server speaks of a mismatch; what is missing says more.
    let kind = told.lock().unwrap().pop();
    assert!(
        matches!(kind, Some(Kind::TransportHandshake(_))),
        "{kind:?}"
    );
    session.post_ok("4echo").await;
    assert_eq!(session.poll_text().await, "4echo");
}

#[tokio::test]
async fn a_refused_handshake_carries_the_cors_headers_of_its_origin() {
    let cors = Cors::exact(HeaderValue::from_static("http://engine.io")).credentials(true);
    let running = start(Config::default().cors(cors)).await;
    let origin = [("Origin", "http://engine.io")];
    let response = testkit::request(running.addr, "GET", WS_URL, &origin, "").await;
    assert_error(&response, 400, 3, "Bad request");
    let header = |name| response.header(name);
    assert_eq!(header("access-control-allow-credentials"), Some("true"));
    let allowed = header("access-control-allow-origin");
    assert_eq!(allowed, Some("http://engine.io"));
}

#[tokio::test]
async fn headers_query_and_address_of_the_client_reach_the_application_on_both_transports() {
    let running = start(Config::default()).await;
    let headers = [
        ("X-Custom-Header-For-My-Project", "my-secret-access-token"),
        (
            "Cookie",
            "user_session=NI2JlCKF90; path=/; expires=Tue, 07-Apr-2015 18:18:08 GMT; secure",
        ),
    ];
    let query = "EIO=4&a=b&c=d";
    let url = format!("{PATH}?{query}&transport=polling");
    let response = testkit::request(running.addr, "GET", &url, &headers, "").await;
    let polling = Open::parse(&response.body);
    let url = format!("{PATH}?{query}&transport=websocket");
    let connected = Ws::connect_with_headers(running.addr, &url, &headers).await;
    let mut ws = connected.expect("a 101");
    let websocket = Open::parse(ws.recv_text().await.as_bytes());
    for (sid, transport) in [(polling.sid, "polling"), (websocket.sid, "websocket")] {
        let handshake = running.seen(&sid).await.handshake;
        for (name, value) in headers {
            assert_eq!(handshake.header(name), Some(value));
        }
        assert_eq!(handshake.query(), format!("{query}&transport={transport}"));
        let client = handshake.remote_addr().expect("an address");
        assert!(client.ip().is_loopback());
    }
}

#[tokio::test]
async fn a_server_of_websockets_alone_opens_them_directly() {
    let running = start(Config::default().transports(&[Transport::WebSocket])).await;
    let (_ws, open) = running.ws().await;
    assert_eq!(open.upgrades, [""; 0]);
    let handle = running.handle(&open.sid).await;
    assert_eq!(handle.transport(), Transport::WebSocket);
}

// upgrades that are none of ours

#[tokio::test]
async fn an_upgrade_to_something_else_is_answered_like_any_request() {
    let running = start(Config::default()).await;
    let mut http = Http::connect(running.addr).await;
    let headers = [("Connection", "Upgrade"), ("Upgrade", "IRC/6.9")];
    let response = http.request("GET", "/", &headers, "").await;
    assert_eq!(response.status, 404);
    // Nothing hangs, and nothing has to be destroyed.
    assert_eq!(http.get("/nothing").await.status, 404);
}

#[tokio::test]
async fn two_engines_on_one_port_do_not_disturb_each_other() {
    let (one, other) = (
        start(Config::default()).await,
        start(Config::default().path("/foo")).await,
    );
    let addr = both_on_a_port(&one, &other).await;
    let mut session = Polling::open(addr, PATH, "EIO=4").await;
    let mut second = Polling::open(addr, "/foo/", "EIO=4").await;
    let (mut ws, _) = Upgrade::run(&mut session).await;
    second.post_ok("4second").await;
    for number in 0..50 {
        ws.text(&format!("4{number}")).await;
    }
    for number in 0..50 {
        assert_eq!(ws.recv_text().await, format!("4{number}"));
    }
    assert_eq!(second.poll_text().await, "4second");
    assert_eq!((one.server.sessions(), other.server.sessions()), (1, 1));
}

/// One port in front of two servers.
async fn both_on_a_port(one: &Running, other: &Running) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("an address");
    let servers = [one.server.clone(), other.server.clone()];
    let service = service_fn(move |request: Request<Incoming>| {
        let server = servers.iter().find(|it| it.is_for(&request)).cloned();
        async move {
            let server = server.expect("a request for one of the two");
            Ok::<_, std::convert::Infallible>(server.handle(request).await)
        }
    });
    tokio::spawn(async move { engineio::serve(listener, service).await });
    addr
}

// messages

#[tokio::test]
async fn messages_with_pauses_between_them_and_the_close_arrive_in_order() {
    let running = start_with(Config::default(), RECORD).await;
    let mut session = running.open().await;
    let handle = running.handle(session.sid()).await;
    handle.send("a");
    assert_eq!(session.poll_text().await, "4a");
    session.send_poll().await;
    handle.send("b");
    assert_eq!(session.recv_poll().await.text(), "4b");
    handle.send("c");
    handle.close(engineio::CloseReason::ForcedClose);
    assert_eq!(session.poll_text().await, "4c\x1e1");

    let (mut ws, open) = running.ws().await;
    let handle = running.handle(&open.sid).await;
    handle.send("a");
    assert_eq!(ws.recv_text().await, "4a");
    handle.send("b");
    assert_eq!(ws.recv_text().await, "4b");
    handle.send("c");
    handle.close(engineio::CloseReason::ForcedClose);
    assert_eq!(ws.until_closed().await, [Message::Text("4c".into())]);
}

#[tokio::test]
async fn a_message_sent_during_the_upgrade_leaves_by_the_poll() {
    let running = start(Config::default()).await;
    let mut session = running.open().await;
    let handle = running.handle(session.sid()).await;
    session.send_poll().await;
    let mut upgrade = Upgrade::connect(&session).await;
    handle.send("a");
    assert_eq!(session.recv_poll().await.text(), "4a");
    assert_eq!(handle.queued(), 0);
    upgrade.probe().await;
    upgrade.finish().await;
}

// the end

#[tokio::test]
async fn clients_come_back_when_the_accept_loop_was_started_again() {
    let mut running = start(Config::default()).await;
    let stop = running.shutdown.take().expect("the first time");
    stop.send(()).expect("somebody listens");
    let ended = within(TIME_LIMIT, "the accept loop to end", &mut running.task);
    ended.await.expect("no panic");
    let listener = TcpListener::bind(running.addr).await.expect("the port");
    let server: Server<_> = running.server.clone();
    tokio::spawn(async move { engineio::serve(listener, server).await });
    let (mut ws, open) = running.ws().await;
    let handle = running.handle(&open.sid).await;
    handle.close(engineio::CloseReason::ForcedClose);
    assert_eq!(ws.recv_close().await, None);
}

#[tokio::test]
async fn nothing_runs_any_more_when_the_server_has_closed() {
    type Upgraded = fn(Polling) -> std::pin::Pin<Box<dyn Future<Output = Vec<Bytes>> + Send>>;
    // What becomes of the session before the server closes.
    let plain: Upgraded = |mut session| {
        Box::pin(async move {
            session.send_poll().await;
            vec![session.recv_poll().await.body]
        })
    };
    let upgraded: Upgraded = |mut session| {
        Box::pin(async move {
            let (mut ws, _) = Upgrade::run(&mut session).await;
            assert_eq!(ws.until_closed().await, []);
            Vec::new()
        })
    };
    let upgrading: Upgraded = |mut session| {
        Box::pin(async move {
            session.send_poll().await;
            let mut upgrade = Upgrade::connect(&session).await;
            assert_eq!(upgrade.ws.until_closed().await, []);
            vec![session.recv_poll().await.body]
        })
    };
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    for (kind, last) in [(plain, 1), (upgraded, 0), (upgrading, 1)] {
        let mut running = start(Config::default()).await;
        let client = tokio::spawn(kind(running.open().await));
        sleep(common::A_MOMENT).await;
        running.server.close(TIME_LIMIT).await;
        assert_eq!(client.await.expect("no panic"), vec![&b"1"[..]; last]);
        let stop = running.shutdown.take().expect("the first time");
        stop.send(()).expect("somebody listens");
        let ended = within(TIME_LIMIT, "the accept loop to end", &mut running.task);
        ended.await.expect("no panic");
        let none_left = async {
            while tasks() > before {
                tokio::task::yield_now().await;
            }
        };
        within(TIME_LIMIT, "every task to end", none_left).await;
    }
}
