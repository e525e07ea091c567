//! Who may open sessions: how many, how fast, from which address, from which page.

mod common;

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

use common::{A_MOMENT, App, ECHO, PATH, Running, assert_error, refuse_ws, start};
use engineio::{Config, ConnectionErrorKind, Server, forwarded_for};
use testkit::{Http, Polling, Upgrade, Wire, Ws, within};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::mpsc,
    time::sleep,
};

const OPEN: &str = "/engine.io/?EIO=4&transport=polling";
const OPEN_WS: &str = "/engine.io/?EIO=4&transport=websocket";

/// As behind a proxy on this machine.
fn behind_a_proxy(config: Config) -> Config {
    config.client_address(|request| forwarded_for(request, |proxy| proxy.is_loopback()))
}

/// A request for a session that comes from an address, as a proxy tells it.
async fn open_from(running: &Running, address: &str) -> testkit::Response {
    let headers = [("X-Forwarded-For", address)];
    testkit::request(running.addr, "GET", OPEN, &headers, "").await
}

#[tokio::test]
async fn there_are_no_more_sessions_than_there_may_be() {
    let (tell, mut errors) = mpsc::unbounded_channel();
    let config = Config::default()
        .max_sessions(2)
        .on_connection_error(move |error| {
            let _ = tell.send(error.kind.clone());
        });
    let running = start(config).await;
    let mut polling = running.open().await;
    let (mut ws, _) = running.ws().await;
    let refused = testkit::get(running.addr, OPEN).await;
    assert_error(&refused, 503, 3, "Too many sessions");
    let refused = refuse_ws(running.addr, OPEN_WS, &[]).await;
    assert_error(&refused, 503, 3, "Too many sessions");
    for _ in 0..2 {
        let told = errors.recv().await;
        assert_eq!(told, Some(ConnectionErrorKind::TooManySessions));
    }
    assert_eq!(running.server.sessions(), 2);
    // Those that are there notice nothing, and may upgrade.
    polling.post_ok("4hello").await;
    assert_eq!(polling.poll_text().await, "4hello");
    let _upgraded = Upgrade::run(&mut polling).await;
    ws.close(Some(1000)).await;
    running.sessions(1).await;
    running.open().await;
}

#[tokio::test]
async fn sessions_that_open_at_once_are_no_more_than_there_may_be() {
    let running = start(Config::default().max_sessions(10)).await;
    let requests = (0..50).map(|_| testkit::get(running.addr, OPEN));
    let responses = futures_util::future::join_all(requests).await;
    let opened = responses.iter().filter(|it| it.status == 200).count();
    assert!((1..=10).contains(&opened), "{opened}");
    assert_eq!(running.server.sessions(), opened);
}

#[tokio::test]
async fn an_address_has_no_more_sessions_than_it_may() {
    let config = Config::default().max_sessions_per_address(2);
    let running = start(behind_a_proxy(config)).await;
    for address in ["203.0.113.1", "2001:db8::1"] {
        assert_eq!(open_from(&running, address).await.status, 200);
    }
    let (address, same) = ("203.0.113.1", "203.0.113.1");
    let headers = [("X-Forwarded-For", address)];
    let ws = Ws::connect_with_headers(running.addr, OPEN_WS, &headers).await;
    let mut ws = ws.unwrap();
    let refused = open_from(&running, same).await;
    assert_error(&refused, 429, 3, "Too many sessions");
    // what the client itself puts before it does not count
    let refused = open_from(&running, "9.9.9.9, 203.0.113.1").await;
    assert_eq!(refused.status, 429);
    // all of an IPv6 /64 is one
    assert_eq!(open_from(&running, "2001:db8::2").await.status, 200);
    assert_eq!(open_from(&running, "2001:db8::3").await.status, 429);
    assert_eq!(open_from(&running, "2001:db8:0:1::3").await.status, 200);
    // one that ends makes place
    ws.recv_text().await;
    ws.close(Some(1000)).await;
    ws.until_closed().await;
    running.sessions(4).await;
    let opened = async {
        while open_from(&running, address).await.status != 200 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    within(testkit::TIME_LIMIT, "a place", opened).await;
}

#[tokio::test]
async fn a_proxy_that_is_not_trusted_is_the_client() {
    let config = Config::default()
        .max_sessions_per_address(1)
        .client_address(|request| forwarded_for(request, |_| false));
    let running = start(config).await;
    assert_eq!(open_from(&running, "203.0.113.1").await.status, 200);
    assert_eq!(open_from(&running, "203.0.113.2").await.status, 429);
}

#[tokio::test]
async fn an_address_opens_sessions_no_faster_than_it_may() {
    let config = Config::default().max_opens_per_second(1, 3);
    let running = start(behind_a_proxy(config)).await;
    let begin = Instant::now();
    let mut opened = 0;
    for _ in 0..20 {
        opened += usize::from(open_from(&running, "203.0.113.1").await.status == 200);
    }
    let at_most = 4 + begin.elapsed().as_secs() as usize;
    assert!((3..=at_most).contains(&opened), "{opened}");
    // others do
    assert_eq!(open_from(&running, "203.0.113.2").await.status, 200);
    let opened = async {
        while open_from(&running, "203.0.113.1").await.status != 200 {
            sleep(Duration::from_millis(100)).await;
        }
    };
    within(testkit::TIME_LIMIT, "a budget that refills", opened).await;
}

#[tokio::test]
async fn there_is_something_remembered_of_so_many_addresses() {
    let config = Config::default()
        .max_sessions_per_address(1)
        .max_addresses(2);
    let running = start(behind_a_proxy(config)).await;
    for address in ["203.0.113.1", "203.0.113.2"] {
        assert_eq!(open_from(&running, address).await.status, 200);
    }
    let refused = open_from(&running, "203.0.113.3").await;
    assert_error(&refused, 503, 3, "Too many sessions");
    assert_eq!(open_from(&running, "203.0.113.1").await.status, 429);
}

#[tokio::test]
async fn an_address_sends_messages_no_faster_than_it_may_and_loses_none() {
    let config = Config::default().max_messages_per_second(100, 10);
    let running = start(config).await;
    let begin = Instant::now();
    let (mut ws, _) = running.ws().await;
    let mut polling = running.open().await;
    let body: Vec<_> = (0..60).map(|n| format!("4p{n}")).collect();
    for n in 0..60 {
        ws.text(&format!("4w{n}")).await;
    }
    polling.post_ok(&body.join("\x1e")).await;
    for n in 0..60 {
        assert_eq!(ws.recv_text().await, format!("4w{n}"));
    }
    let expected: Vec<_> = (0..60).map(|n| format!("p{n}")).collect();
    assert_eq!(running.messages(polling.sid(), 60).await, expected);
    // 120 messages, of which 10 are free; both sessions share what the address has
    assert!(begin.elapsed() >= Duration::from_millis(1050));
}

#[tokio::test]
async fn a_session_waits_for_its_budget_and_still_lives() {
    let config = common::quick().max_messages_per_second(4, 1);
    let running = start(config).await;
    let (mut ws, open) = running.ws().await;
    for n in 0..8 {
        ws.text(&format!("4{n}")).await;
    }
    let (mut echoes, mut pings) = (0, 0);
    while echoes < 8 {
        match &*ws.recv_text().await {
            "2" => {
                pings += 1;
                ws.text("3").await;
            }
            echo => {
                assert_eq!(echo, format!("4{echoes}"));
                echoes += 1;
            }
        }
    }
    // 1.75 s: pings are answered meanwhile
    assert!(pings >= 3, "{pings}");
    running.assert_open(&open.sid).await;
}

#[tokio::test]
async fn pages_from_elsewhere_open_no_sessions() {
    let (tell, mut errors) = mpsc::unbounded_channel();
    let config = Config::default()
        .allowed_origins(["https://example.com", "http://localhost:3000/"])
        .on_connection_error(move |error| {
            let _ = tell.send(error.kind.clone());
        });
    let running = start(config).await;
    for origin in ["https://example.com", "http://localhost:3000"] {
        let headers = [("Origin", origin)];
        let response = testkit::request(running.addr, "GET", OPEN, &headers, "").await;
        assert_eq!(response.status, 200);
        let ws = Ws::connect_with_headers(running.addr, OPEN_WS, &headers).await;
        assert!(ws.is_ok());
    }
    let session = running.open().await; // no browser
    for origin in [
        "https://evil.example",
        "https://example.com.evil.example",
        "https://sub.example.com",
        "http://example.com",
        "https://example.com:8443",
        "null",
    ] {
        let headers = [("Origin", origin)];
        let refused = refuse_ws(running.addr, OPEN_WS, &headers).await;
        assert_error(&refused, 403, 4, "Forbidden");
        let refused = testkit::request(running.addr, "GET", OPEN, &headers, "").await;
        assert_error(&refused, 403, 4, "Forbidden");
        let refused = refuse_ws(running.addr, &session.ws_url(), &headers).await;
        assert_error(&refused, 403, 4, "Forbidden");
        for _ in 0..3 {
            let told = errors.recv().await;
            let expected = ConnectionErrorKind::OriginNotAllowed(origin.to_owned());
            assert_eq!(told, Some(expected));
        }
    }
}

#[tokio::test]
async fn from_everywhere_unless_something_is_said() {
    let running = start(Config::default()).await;
    let headers = [("Origin", "https://evil.example")];
    let ws = Ws::connect_with_headers(running.addr, OPEN_WS, &headers).await;
    assert!(ws.is_ok());
    for _ in 0..200 {
        assert_eq!(testkit::get(running.addr, OPEN).await.status, 200);
    }
}

/// An accept loop with other limits.
async fn serve(
    change: impl FnOnce(
        engineio::Serve<engineio::Server<App>>,
    ) -> engineio::Serve<engineio::Server<App>>,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("an address");
    let server = Server::new(Config::default().max_payload(10_000_000), App::new(ECHO));
    let serve = change(engineio::serve(listener, server));
    tokio::spawn(async move { serve.await.expect("no error") });
    addr
}

#[tokio::test]
async fn a_head_that_takes_too_long_is_not_waited_for() {
    let addr = serve(|it| it.header_timeout(Duration::from_millis(300))).await;
    let begin = Instant::now();
    let mut idle = Http::connect(addr).await;
    assert_eq!(idle.get("/engine.io/").await.status, 400);
    let mut silent = Wire::connect(addr).await;
    let mut slow = Wire::connect(addr).await;
    slow.send("GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ").await;
    // each byte in time
    while !slow.has_ended() && begin.elapsed() < testkit::TIME_LIMIT {
        slow.send("x").await;
        sleep(A_MOMENT).await;
    }
    assert!(begin.elapsed() < testkit::TIME_LIMIT);
    silent.rest().await;
    idle.closed().await;
}

/// A client that polls when there is more for it than the systems of both sides keep, and its system
/// takes no more than so many bytes ahead.
async fn poll_of_much(addr: SocketAddr, ahead: u32) -> TcpStream {
    let mut session = Polling::open(addr, PATH, "EIO=4").await;
    let text = format!("4{}", "x".repeat(MUCH - 1));
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(ahead).expect("a buffer");
    let mut stream = socket.connect(addr).await.expect("a connection");
    session.post_ok(&text).await;
    let url = format!("{PATH}?EIO=4&transport=polling&sid={}", session.sid());
    let request = format!("GET {url} HTTP/1.1\r\nHost: a\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    stream
}

const MUCH: usize = 8_000_000;

#[tokio::test]
async fn an_answer_that_is_not_read_is_not_kept() {
    let addr = serve(|it| it.write_timeout(Duration::from_millis(300))).await;
    let mut stream = poll_of_much(addr, 4096).await;
    sleep(Duration::from_secs(1)).await;
    let mut came = Vec::new();
    let ended = within(
        testkit::TIME_LIMIT,
        "the end",
        stream.read_to_end(&mut came),
    );
    let _ = ended.await;
    assert!(
        came.starts_with(b"HTTP/1.1 200") && came.len() < MUCH,
        "{}",
        came.len()
    );
}

#[tokio::test]
async fn an_answer_that_is_read_slowly_is_kept() {
    let addr = serve(|it| it.write_timeout(Duration::from_millis(500))).await;
    let mut stream = poll_of_much(addr, 256 * 1024).await;
    let begin = Instant::now();
    let mut came = 0;
    let mut buffer = vec![0; 64 * 1024];
    while came < MUCH {
        let n = within(testkit::TIME_LIMIT, "more", stream.read(&mut buffer)).await;
        let n = n.expect("no reset");
        assert!(n > 0, "the end, after {came} bytes");
        came += n;
        sleep(Duration::from_millis(5)).await;
    }
    assert!(
        begin.elapsed() > Duration::from_millis(500),
        "too fast to tell"
    );
}

#[tokio::test]
async fn a_head_is_no_larger_than_it_may_be() {
    let addr = serve(|it| it.max_header_bytes(8 * 1024)).await;
    let request = |bytes| {
        let long = "x".repeat(bytes);
        format!("GET {PATH} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX: {long}\r\n\r\n")
    };
    let mut wire = Wire::connect(addr).await;
    wire.send(request(4 * 1024)).await;
    assert!(wire.rest().await.starts_with(b"HTTP/1.1 400 "));
    let mut wire = Wire::connect(addr).await;
    wire.send(request(10 * 1024)).await;
    assert!(wire.rest().await.starts_with(b"HTTP/1.1 431 "));
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_one_that_leaves() {
    let addr = serve(|it| it.max_connections(2)).await;
    let first = Http::connect(addr).await;
    let mut second = Http::connect(addr).await;
    assert_eq!(second.get("/engine.io/").await.status, 400);
    let mut third = Http::connect(addr).await;
    third.send_request("GET", "/engine.io/", &[], "").await;
    third.silence(A_MOMENT).await;
    drop(first);
    assert_eq!(third.response().await.status, 400);
    drop(second);
    // A WebSocket is a session, and no longer one of these.
    let mut sockets = Vec::new();
    for _ in 0..5 {
        sockets.push(Ws::connect(addr, OPEN_WS).await);
    }
    assert_eq!(third.get("/engine.io/").await.status, 400);
}

#[tokio::test]
async fn the_address_is_that_of_the_connection_unless_something_is_said() {
    let config = Config::default().max_sessions_per_address(1);
    let running = start(config).await;
    let local: IpAddr = running.addr.ip();
    assert!(local.is_loopback());
    let _session = Polling::open(running.addr, PATH, "EIO=4").await;
    assert_eq!(open_from(&running, "203.0.113.7").await.status, 429);
}
