//! Requests that reach the wrong server go to the right one by way of Redis. What the engine makes of
//! it has tests of its own; these are about Redis.

#![allow(clippy::unwrap_used)] // helpers of tests may, as the tests themselves

mod common;

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use common::{Server, connect, unique};
use socketio::{Args, Socket, SocketIo};
use socketio_adapter_redis::{Redis, RedisRelay};
use testkit::{Polling, Response};
use tokio::{net::TcpListener, task::JoinHandle, time::sleep};

/// A server on a port of its own, which sends back every `message`.
struct Node {
    io: SocketIo,
    redis: Redis,
    addr: SocketAddr,
    task: JoinHandle<()>,
}

async fn node(server: &Server, key: &str) -> Node {
    node_with(connect(server), key).await
}

async fn node_with(redis: Redis, key: &str) -> Node {
    redis.connected().await;
    let relay = RedisRelay::new(redis.clone()).key(key);
    let io = SocketIo::builder()
        .engine(|config| config.relay(relay))
        .build();
    io.on("message", async |socket: Socket, args: Args| {
        socket.emit("back", &args)
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let service = io.service();
    let task = tokio::spawn(async move {
        socketio::serve(listener, service).await.unwrap();
    });
    redis.flush().await;
    Node {
        io,
        redis,
        addr,
        task,
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A client that has joined `/` at one server, and its id there.
async fn client(at: &Node) -> String {
    let session = Polling::open(at.addr, "/socket.io/", "EIO=4").await;
    let sid = session.sid().to_owned();
    assert_eq!(post(at, &sid, "40").await.text(), "ok");
    assert!(poll(at, &sid).await.text().starts_with("40{"));
    sid
}

async fn poll(at: &Node, sid: &str) -> Response {
    let url = format!("/socket.io/?EIO=4&transport=polling&sid={sid}");
    testkit::get(at.addr, &url).await
}

async fn post(at: &Node, sid: &str, body: &str) -> Response {
    let url = format!("/socket.io/?EIO=4&transport=polling&sid={sid}");
    testkit::request(at.addr, "POST", &url, &[], body).await
}

async fn echo(at: &Node, sid: &str, text: &str) {
    let posted = post(at, sid, &format!(r#"42["message","{text}"]"#)).await;
    assert_eq!(posted.text(), "ok");
    assert_eq!(
        poll(at, sid).await.text(),
        format!(r#"42["back","{text}"]"#)
    );
}

#[tokio::test]
async fn a_client_is_served_wherever_it_comes() {
    let server = Server::start();
    let key = unique();
    let (one, two) = (node(&server, &key).await, node(&server, &key).await);
    let foreign = node(&server, &unique()).await;
    let sid = client(&one).await;
    for turn in 0..20 {
        echo([&one, &two][turn % 2], &sid, &turn.to_string()).await;
    }
    // As much as a body may have.
    echo(&two, &sid, &"x".repeat(900_000)).await;
    assert_eq!(poll(&foreign, &sid).await.status, 400);
    let sessions = [&one, &two].map(|node| node.io.service().sessions());
    assert_eq!(sessions, [1, 0]);
}

#[tokio::test]
async fn without_redis_each_server_serves_its_own() {
    let mut server = Server::start();
    let key = unique();
    let (one, two) = (node(&server, &key).await, node(&server, &key).await);
    let sid = client(&one).await;
    echo(&two, &sid, "before").await;
    server.kill();
    let begun = Instant::now();
    while two.redis.stats().connected {
        sleep(Duration::from_millis(5)).await;
        assert!(begun.elapsed() < Duration::from_secs(2));
    }
    let begun = Instant::now();
    echo(&one, &sid, "meanwhile").await;
    assert_eq!(post(&two, &sid, "4x").await.status, 400);
    assert!(begun.elapsed() < Duration::from_secs(1));
    server.restart();
    for node in [&one, &two] {
        node.redis.connected().await;
        node.redis.flush().await;
    }
    echo(&two, &sid, "after").await;
}

#[tokio::test]
async fn what_is_under_way_when_redis_dies_ends() {
    let mut server = Server::start();
    let key = unique();
    let (one, two) = (node(&server, &key).await, node(&server, &key).await);
    let sid = client(&one).await;
    let kill = async {
        sleep(Duration::from_millis(200)).await;
        assert_eq!(two.io.stats().relayed, 1);
        server.kill();
    };
    let begun = Instant::now();
    let (answer, ()) = tokio::join!(poll(&two, &sid), kill);
    assert_eq!(answer.status, 400);
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn what_makes_no_sense_is_counted() {
    let server = Server::start();
    let key = unique();
    let (one, two) = (node(&server, &key).await, node(&server, &key).await);
    let sid = client(&one).await;
    let name = sid.rsplit('.').next().unwrap();
    for payload in ["", "nonsense", "{\"type\":1}", "\u{1}\u{9}xxxxxxxxx"] {
        server.command(&["publish", &format!("{key}#{name}"), payload]);
    }
    echo(&two, &sid, "x").await;
    assert_eq!(one.redis.stats().refused, 4);
}

#[tokio::test]
async fn a_server_that_goes_leaves_nothing_behind() {
    let server = Server::start();
    let key = unique();
    let (one, two) = (node(&server, &key).await, node(&server, &key).await);
    let sid = client(&one).await;
    echo(&two, &sid, "x").await;
    let channels = || server.command(&["pubsub", "channels", &format!("{key}#*")]);
    assert_eq!(channels().lines().count(), 2);
    one.io.close().await;
    drop(one);
    let begun = Instant::now();
    while channels().lines().count() > 1 {
        sleep(Duration::from_millis(20)).await;
        assert!(begun.elapsed() < Duration::from_secs(5), "{}", channels());
    }
    assert_eq!(poll(&two, &sid).await.status, 400);
}

/// Nothing comes behind a message that would show the gap.
#[tokio::test]
async fn what_redis_refuses_is_not_waited_for() {
    let server = Server::start();
    let key = unique();
    let (one, two) = (node(&server, &key).await, node(&server, &key).await);
    let sid = client(&one).await;
    echo(&two, &sid, "before").await;
    let begun = Instant::now();
    let refuse = async {
        sleep(Duration::from_millis(200)).await;
        assert_eq!(two.io.stats().relayed, 1);
        server.command(&["acl", "setuser", "default", "-publish"]);
        // Its answer is refused.
        one.io.emit("event", &()).unwrap();
    };
    let (answer, ()) = tokio::join!(poll(&two, &sid), refuse);
    assert_eq!(answer.status, 400);
    assert!(
        begun.elapsed() < Duration::from_secs(8),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn what_has_no_room_in_the_queue_is_not_waited_for() {
    let server = Server::start();
    let key = unique();
    let one = node(&server, &key).await;
    let redis = Redis::builder(&server.url()).max_queued(1_500).connect();
    let two = node_with(redis.unwrap(), &key).await;
    let sid = client(&one).await;
    echo(&two, &sid, "before").await;
    let begun = Instant::now();
    assert_eq!(post(&two, &sid, &"x".repeat(10_000)).await.status, 400);
    assert!(begun.elapsed() < Duration::from_secs(1));
}
