//! The examples, as a client sees them.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use serde_json::json;
use socketio::Transport;
use socketio_test::TestClient;
use testkit::{Http, Open, Polling, TIME_LIMIT, Wire, Ws, within};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    task::JoinHandle,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        crypto::ring,
        pki_types::{CertificateDer, pem::PemObject},
    },
};

#[allow(
    dead_code,
    unreachable_pub,
    reason = "a program, of which this is a part"
)]
#[path = "../examples/axum_layer.rs"]
mod axum_layer;
#[allow(
    dead_code,
    unreachable_pub,
    reason = "a program, of which this is a part"
)]
#[path = "../examples/axum_nested.rs"]
mod axum_nested;
#[allow(
    dead_code,
    unreachable_pub,
    reason = "a program, of which this is a part"
)]
#[path = "../examples/hyper_app.rs"]
mod hyper_app;
#[allow(
    dead_code,
    unreachable_pub,
    reason = "a program, of which this is a part"
)]
#[path = "../examples/tls.rs"]
mod tls;
#[allow(
    dead_code,
    unreachable_pub,
    reason = "a program, of which this is a part"
)]
#[path = "../examples/typed_events.rs"]
mod typed_events;

#[tokio::test(start_paused = true)]
async fn hyper_app_counts_votes_of_every_transport() {
    let io = hyper_app::server(hyper_app::Votes::default());
    let mut one = TestClient::connect(&io).await;
    let other = TestClient::builder(&io).transport(Transport::Polling);
    let mut other = other.upgrade(true).connect().await.expect("no refusal");
    assert_eq!(one.emit_with_ack("vote", &2).await, Ok(2));
    other.emit("vote", &3).await;
    for client in [&mut one, &mut other] {
        assert_eq!(client.expect_as::<usize>("votes").await, 2);
        assert_eq!(client.expect_as::<usize>("votes").await, 5);
    }
    // nobody waits for an answer to this
    one.emit("vote", "many").await;
    other.expect_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn axum_layer_sends_messages_to_everybody() {
    let io = axum_layer::server();
    let mut anna = TestClient::connect(&io).await;
    let mut bert = TestClient::connect(&io).await;
    anna.emit("chat message", "hi").await;
    assert_eq!(bert.expect_as::<String>("chat message").await, "hi");
    assert_eq!(anna.expect_as::<String>("chat message").await, "hi");
}

#[tokio::test(start_paused = true)]
async fn axum_nested_lets_members_in() {
    let io = axum_nested::server();
    let builder = || TestClient::builder(&io).namespace("/members");
    let guess = builder().auth(&json!({"token": "guess"})).connect().await;
    assert_eq!(guess.expect_err("a refusal").message, "wrong token");
    let member = builder().auth(&json!({"token": "secret"})).connect().await;
    let member = member.expect("no refusal");
    let rooms: Vec<String> = member.emit_with_ack("rooms", &()).await.expect("a list");
    assert_eq!(rooms, [member.id(), "members"]);
}

#[tokio::test]
async fn hyper_app_on_a_port() {
    let running = run(hyper_app::serve).await;
    assert_eq!(testkit::get(running.addr, "/count").await.text(), "0");
    assert_eq!(testkit::get(running.addr, "/nothing").await.status, 404);
    let mut ws = connect(running.addr, "/socket.io/").await;
    ws.text("40").await;
    assert!(ws.recv_text().await.starts_with("40{"));
    ws.text(r#"421["vote",2]"#).await;
    assert_eq!(ws.recv_text().await, r#"42["votes",2]"#);
    assert_eq!(ws.recv_text().await, "431[2]");
    assert_eq!(testkit::get(running.addr, "/count").await.text(), "2");
    running.shuts_down(ws, "/socket.io/").await;
}

#[tokio::test]
async fn axum_layer_on_a_port() {
    let running = run(axum_layer::serve).await;
    assert_eq!(testkit::get(running.addr, "/").await.text(), "hello");
    assert_eq!(testkit::get(running.addr, "/nothing").await.status, 404);
    let mut ws = connect(running.addr, "/socket.io/").await;
    ws.text("40").await;
    assert!(ws.recv_text().await.starts_with("40{"));
    let answer = testkit::get(running.addr, "/announce").await;
    assert_eq!(answer.text(), "sent to 1 clients");
    assert_eq!(
        ws.recv_text().await,
        r#"42["chat message","an announcement"]"#
    );
    running.shuts_down(ws, "/socket.io/").await;
}

#[tokio::test]
async fn axum_nested_on_a_port() {
    let running = run(axum_nested::serve).await;
    assert_eq!(testkit::get(running.addr, "/").await.text(), "hello");
    let outside = "/socket.io/?EIO=4&transport=polling";
    assert_eq!(testkit::get(running.addr, outside).await.status, 404);
    let mut ws = connect(running.addr, "/live/socket.io/").await;
    ws.text(r#"40/members,{"token":"secret"}"#).await;
    assert!(ws.recv_text().await.starts_with("40/members,{"));
    running.shuts_down(ws, "/live/socket.io/").await;
}

#[tokio::test]
async fn tls_on_a_port() {
    let running = run_tls().await;
    let through = through_tls(running.addr).await;
    let mut ws = connect(through, "/socket.io/").await;
    ws.text("40").await;
    assert!(ws.recv_text().await.starts_with("40{"));
    ws.text(r#"421["echo","hi"]"#).await;
    assert_eq!(ws.recv_text().await, r#"42["echo","hi"]"#);
    assert_eq!(ws.recv_text().await, "431[true]");
    let mut polling = Polling::open(through, "/socket.io/", "EIO=4").await;
    polling.post_ok("40").await;
    assert!(polling.poll_text().await.starts_with("40{"));
    polling.post_ok(r#"421["echo","hi"]"#).await;
    let answers = "42[\"echo\",\"hi\"]\u{1e}431[true]";
    assert_eq!(polling.poll_text().await, answers);

    // all are told, and nobody is waited for who says nothing
    polling.send_poll().await;
    let mut idle = connect_tls(running.addr, "ca.pem").await.expect("TLS");
    assert_eq!(idle.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
    let mut silent = Wire::connect(running.addr).await;
    running.accepted_all().await;
    drop(running.stop);
    assert_eq!(ws.recv_close().await, None);
    assert!(polling.recv_poll().await.text().ends_with('1'));
    // TLS is ended before TCP: anything else is an error of rustls
    let end = within(TIME_LIMIT, "the end of TLS", idle.read(&mut [0])).await;
    assert_eq!(end.expect("no error"), 0);
    assert!(silent.rest().await.is_empty());
    let end = within(Duration::from_secs(2), "the server to end", running.task).await;
    end.expect("no panic").expect("no error");
}

#[tokio::test]
async fn tls_waits_for_nobody_who_says_nothing() {
    let running = run_tls().await;
    let mut silent = Wire::connect(running.addr).await;
    let mut slow = Wire::connect(running.addr).await;
    slow.send(b"\x16\x03\x01\x02\x00").await; // a handshake of 512 bytes
    let mut idle = connect_tls(running.addr, "ca.pem").await.expect("TLS");
    running.accepted_all().await;
    let half = tls::HANDSHAKE_TIMEOUT / 2;
    advance(half).await;
    silent.silence(A_MOMENT).await;
    slow.silence(A_MOMENT).await;
    advance(half).await;
    assert!(silent.rest().await.is_empty());
    assert!(slow.rest().await.is_empty());
    // who has come so far has longer for the head of a request, but not for ever
    idle.write_all(b"GET /socket.io/ HTTP/1.1\r\n")
        .await
        .expect("no error");
    let read = tokio::time::timeout(A_MOMENT, idle.read(&mut [0])).await;
    assert!(read.is_err(), "{read:?}");
    advance(tls::HEADER_TIMEOUT).await;
    let mut answer = Vec::new();
    let read = within(TIME_LIMIT, "the end", idle.read_to_end(&mut answer)).await;
    assert!(answer.is_empty(), "{read:?} {answer:?}");
}

#[tokio::test]
async fn tls_answers_nothing_else() {
    let running = run_tls().await;
    let mut plain = Wire::connect(running.addr).await;
    plain
        .send(b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: a\r\n\r\n")
        .await;
    // a fatal alert: decode_error
    assert_eq!(&plain.rest().await[..], b"\x15\x03\x03\x00\x02\x02\x32");
    running.accepted_all().await;
}

#[tokio::test]
async fn tls_shows_its_certificate() {
    let running = run_tls().await;
    let refused = connect_tls(running.addr, "cert.pem").await;
    let error = refused.expect_err("nobody whom this client trusts has signed it");
    assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
    running.accepted_all().await;
}

#[test]
fn tls_does_not_start_without_its_files() {
    let starts = |certificate, key| tls::config(&tls_file(certificate), &tls_file(key)).is_ok();
    assert!(starts("cert.pem", "key.pem"));
    assert!(!starts("none.pem", "key.pem"));
    assert!(!starts("cert.pem", "none.pem"));
    assert!(!starts("key.pem", "key.pem"), "no certificate in it");
    assert!(!starts("cert.pem", "cert.pem"), "no key in it");
    assert!(!starts("ca.pem", "key.pem"), "another's key");
}

/// An example that serves a port.
struct Running {
    addr: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<io::Result<()>>,
}

type Stop = Pin<Box<dyn Future<Output = ()> + Send>>;

async fn run<F>(serve: impl FnOnce(TcpListener, Stop) -> F) -> Running
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("an address");
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = Box::pin(async { drop(stopped.await) });
    Running {
        addr,
        stop,
        task: tokio::spawn(serve(listener, stopped)),
    }
}

impl Running {
    /// Who has connected before this is being served, and others are, too.
    async fn accepted_all(&self) {
        connect_tls(self.addr, "ca.pem").await.expect("TLS");
    }

    /// All clients are told and nobody is waited for who has been.
    async fn shuts_down(self, mut ws: Ws, path: &str) {
        let mut waiting = Polling::open(self.addr, path, "EIO=4").await;
        waiting.send_poll().await;
        let mut idle = Http::connect(self.addr).await;
        idle.get("/").await;
        drop(self.stop);
        assert_eq!(ws.recv_close().await, None);
        let last = waiting.recv_poll().await;
        assert!(last.text().ends_with('1'), "{last:?}");
        let end = within(TIME_LIMIT, "the server to end", self.task).await;
        end.expect("no panic").expect("no error");
        idle.closed().await;
        TcpListener::bind(self.addr).await.expect("a free port");
    }
}

async fn connect(addr: SocketAddr, path: &str) -> Ws {
    let url = format!("{path}?EIO=4&transport=websocket");
    let mut ws = Ws::connect(addr, &url).await;
    Open::parse(ws.recv_text().await.as_bytes());
    ws
}

#[tokio::test(start_paused = true)]
async fn typed_events_say_what_they_are_called_and_answered() {
    let io = typed_events::server();
    let mut players = Vec::new();
    for _ in 0..2 {
        let mut player = TestClient::connect(&io).await;
        player.expect("ready?").await.ack(&true).await;
        players.push(player);
    }
    let x = async |player: &TestClient, by: i32| {
        let to: serde_json::Value = player.emit_with_ack("move", &by).await.expect("a place");
        to["x"].as_i64()
    };
    assert_eq!(x(&players[0], 3).await, Some(3));
    let moved: serde_json::Value = players[1].expect_as("moved").await;
    assert_eq!(moved, json!({ "who": players[0].id(), "to": { "x": 3 } }));
    assert_eq!(x(&players[1], -1).await, Some(2));
}

/// Longer than the server needs to see what was sent to it.
const A_MOMENT: Duration = Duration::from_millis(60);

async fn run_tls() -> Running {
    let config = tls::config(&tls_file("cert.pem"), &tls_file("key.pem"));
    let config = config.expect("a certificate and its key");
    run(|listener, stop| tls::serve(listener, config, stop)).await
}

fn tls_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../testkit/src/tls")
        .join(name)
}

/// Trusts who stands in the file, and nobody else.
async fn connect_tls(addr: SocketAddr, trusted: &str) -> io::Result<TlsStream<TcpStream>> {
    let trusted = CertificateDer::from_pem_file(tls_file(trusted)).expect("a certificate");
    let mut roots = RootCertStore::empty();
    roots.add(trusted).expect("a certificate");
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    // as browsers do
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let stream = TcpStream::connect(addr).await.expect("a connection");
    let connector = TlsConnector::from(Arc::new(config));
    let connected = connector.connect(addr.ip().into(), stream);
    within(TIME_LIMIT, "a TLS connection", connected).await
}

/// An address whose connections go on to the server through TLS, for clients that have none.
async fn through_tls(server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut plain, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut tls = connect_tls(server, "ca.pem").await.expect("TLS");
                copy_bidirectional(&mut plain, &mut tls).await
            });
        }
    });
    addr
}

/// Lets time pass for the server at once.
async fn advance(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}
