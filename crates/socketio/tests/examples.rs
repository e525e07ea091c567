//! The examples, as a client sees them.

use std::{future::Future, io, net::SocketAddr, pin::Pin};

use serde_json::json;
use socketio::Transport;
use socketio_test::TestClient;
use testkit::{Http, Open, Polling, TIME_LIMIT, Ws, within};
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};

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
