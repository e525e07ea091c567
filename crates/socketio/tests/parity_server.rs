//! Behaviours of the whole server that the official server's tests pin and no other file here
//! shows; see `docs/PARITY.md`.
#![allow(
    clippy::unwrap_used,
    reason = "clippy sees no tests in functions that tests share"
)]

mod common;

use std::net::SocketAddr;

use common::{Log, PATH, Running};
use http::{HeaderName, HeaderValue, Method};
use socketio::{
    Cors, Refusal, SocketIo,
    handler::{Data, State},
};
use testkit::{Http, Open, Polling, TIME_LIMIT, Upgrade, Ws, within};
use tokio::{net::TcpListener, runtime::Handle, sync::oneshot, task::JoinHandle};

const URL: &str = "/socket.io/?EIO=4&transport=polling";

/// A server whose accept loop can be ended.
struct Served {
    addr: SocketAddr,
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Served {
    async fn on(io: &SocketIo, addr: SocketAddr) -> Self {
        let listener = TcpListener::bind(addr).await.expect("a free port");
        let addr = listener.local_addr().unwrap();
        let (end, ended) = oneshot::channel();
        let serve = socketio::serve(listener, io.service()).with_graceful_shutdown(async {
            let _ = ended.await;
        });
        let task = tokio::spawn(async move { serve.await.expect("no error ends it") });
        Self { addr, end, task }
    }

    async fn anywhere(io: &SocketIo) -> Self {
        Self::on(io, ([127, 0, 0, 1], 0).into()).await
    }

    /// Closes the server and ends the accept loop.
    async fn close(self, io: &SocketIo) {
        within(TIME_LIMIT, "close()", io.close()).await;
        self.end.send(()).unwrap();
        let ended = within(TIME_LIMIT, "the accept loop to end", self.task);
        ended.await.expect("no panic");
    }
}

async fn joined(addr: SocketAddr) -> Ws {
    let mut ws = Ws::connect(addr, "/socket.io/?EIO=4&transport=websocket").await;
    Open::parse(ws.recv_text().await.as_bytes());
    ws.text("40").await;
    assert!(ws.recv_text().await.starts_with("40{"));
    ws
}

// close

#[tokio::test]
async fn a_server_that_closes_disconnects_its_clients_and_frees_its_port() {
    let io = SocketIo::new();
    let served = Served::anywhere(&io).await;
    let addr = served.addr;
    let mut ws = joined(addr).await;
    assert_eq!(io.of("/").len(), 1);
    let (code, ()) = tokio::join!(ws.recv_close(), served.close(&io));
    assert_eq!(code, None);
    assert!(io.of("/").is_empty());
    TcpListener::bind(addr).await.expect("a free port");
}

#[tokio::test]
async fn a_server_that_was_never_served_closes_as_well() {
    let io = SocketIo::new();
    within(TIME_LIMIT, "close()", io.close()).await;
    io.service();
    within(TIME_LIMIT, "close()", io.close()).await;
    within(TIME_LIMIT, "close()", io.close()).await;
}

#[tokio::test]
async fn a_server_that_has_closed_can_be_served_again() {
    let log = Log::default();
    let io = SocketIo::builder().state(log.clone()).build();
    io.on(
        "ev",
        async |State(log): State<Log>, Data(it): Data<String>| log.push(it),
    );
    let served = Served::anywhere(&io).await;
    let addr = served.addr;
    let mut before = joined(addr).await;
    tokio::join!(before.recv_close(), served.close(&io));

    let _served = Served::on(&io, addr).await;
    let mut again = joined(addr).await;
    again.text(r#"42["ev","payload"]"#).await;
    assert_eq!(log.lines(1).await, ["payload"]);
}

#[tokio::test]
async fn nothing_runs_any_more_when_the_server_has_closed() {
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let io = SocketIo::new();
    let served = Served::anywhere(&io).await;
    let mut ws = joined(served.addr).await;
    let mut waiting = Polling::open(served.addr, PATH, "EIO=4").await;
    waiting.post_ok("40").await;
    waiting.poll_text().await;
    waiting.send_poll().await;
    let mut upgrading = Polling::open(served.addr, PATH, "EIO=4").await;
    upgrading.send_poll().await;
    let mut upgrade = Upgrade::connect(&upgrading).await;
    let clients = tokio::spawn(async move {
        ws.recv_close().await;
        upgrade.ws.recv_close().await;
        (waiting.recv_poll().await, upgrading.recv_poll().await)
    });
    served.close(&io).await;
    let (waiting, upgrading) = clients.await.unwrap();
    assert_eq!((waiting.text(), upgrading.text()), ("1", "1"));
    let none_left = async {
        while tasks() > before {
            tokio::task::yield_now().await;
        }
    };
    within(TIME_LIMIT, "every task to end", none_left).await;
}

#[tokio::test]
async fn polls_after_a_violation_say_what_was_queued_and_that_it_is_over() {
    for (packets, answers) in [
        (&["40", "40"][..], 1),
        (&[r#"42["some event"]"#], 0),
        (&["40", "4abc"], 1),
    ] {
        let running = Running::start(SocketIo::new()).await;
        let mut session = running.poll().await;
        for packet in packets {
            session.post_ok(packet).await;
        }
        let mut said = Vec::new();
        while said.last().is_none_or(|it| it != "1") {
            let body = session.poll_text().await;
            said.extend(body.split('\x1e').map(str::to_owned));
        }
        said.retain(|it| it != "6");
        assert_eq!(said.len(), answers + 1, "{said:?}");
        assert!(answers == 0 || said[0].starts_with("40{"), "{said:?}");
        assert_eq!(session.poll().await.status, 400);
    }
}

// what the engine is told

fn origin() -> Cors {
    Cors::exact(HeaderValue::from_static("http://localhost:54023"))
        .methods([Method::GET, Method::POST])
        .allowed_headers([HeaderName::from_static("content-type")])
        .credentials(true)
}

#[tokio::test]
async fn cors_headers_are_sent_with_a_preflight_and_with_the_handshake() {
    let io = SocketIo::builder()
        .engine(|config| config.cors(origin()))
        .build();
    let running = Running::start(io).await;
    let headers = [("Origin", "http://localhost:54023")];
    let response = testkit::request(running.addr, "OPTIONS", URL, &headers, "").await;
    assert_eq!(response.status, 204);
    for (name, value) in [
        ("access-control-allow-origin", "http://localhost:54023"),
        ("access-control-allow-methods", "GET,POST"),
        ("access-control-allow-headers", "content-type"),
        ("access-control-allow-credentials", "true"),
    ] {
        assert_eq!(response.header(name), Some(value));
    }
    let response = testkit::request(running.addr, "GET", URL, &headers, "").await;
    assert_eq!(response.status, 200);
    let header = |name| response.header(name);
    let allowed = header("access-control-allow-origin");
    assert_eq!(allowed, Some("http://localhost:54023"));
    assert_eq!(header("access-control-allow-credentials"), Some("true"));
}

#[tokio::test]
async fn a_request_is_allowed_or_not_by_the_application() {
    for (allowed, status) in [(true, 200), (false, 403)] {
        let io = SocketIo::builder()
            .engine(|config| {
                config.allow_request(move |_| async move {
                    allowed.then_some(()).ok_or_else(Refusal::default)
                })
            })
            .build();
        let running = Running::start(io).await;
        let headers = [("Origin", "http://foo.example")];
        let response = testkit::request(running.addr, "GET", URL, &headers, "").await;
        assert_eq!(response.status, status);
    }
}

#[tokio::test]
async fn another_path_is_not_found() {
    let running = Running::start(SocketIo::new()).await;
    let mut http = Http::connect(running.addr).await;
    assert_eq!(http.get("/abcdefghij/socket.io.js").await.status, 404);
    assert_eq!(http.get("/").await.status, 404);
}

// clients of 2.x

#[tokio::test]
async fn a_client_of_2_x_is_known_by_the_id_of_its_session() {
    let log = Log::default();
    let io = SocketIo::builder().state(log.clone()).build();
    for name in ["/", "/the-namespace"] {
        io.of(name)
            .on_connection(async |socket: socketio::Socket, State(log): State<Log>| {
                log.push(socket.id());
                log.push(socket.handshake().auth());
            });
    }
    let running = Running::start(io).await;
    let mut session = Polling::open(running.addr, PATH, "EIO=3&b64=1").await;
    assert_eq!(log.lines(2).await[0], session.sid());
    session.post_ok("25:40/the-namespace?test=123").await;
    let id = format!("/the-namespace#{}", session.sid());
    assert_eq!(log.lines(2).await, [&*id, r#"{"test":"123"}"#]);
    let body = session.poll_text().await;
    assert_eq!(body, "17:40/the-namespace,");
}

#[tokio::test]
async fn a_client_of_2_x_is_refused_where_old_clients_are_not_wanted() {
    let io = SocketIo::builder()
        .engine(|config| config.allow_eio3(false))
        .build();
    let running = Running::start(io).await;
    let url = "/socket.io/?EIO=3&transport=polling";
    let response = testkit::get(running.addr, url).await;
    assert_eq!(response.status, 400);
    let refused = r#"{"code":5,"message":"Unsupported protocol version"}"#;
    assert_eq!(response.text(), refused);
}
