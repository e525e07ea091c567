//! Members of the official server's API that no other test shows; see `docs/PARITY.md`.
#![allow(
    clippy::unwrap_used,
    reason = "clippy sees no tests in functions that tests share"
)]

mod common;

use std::time::{Duration, SystemTime};

use common::{Log, Running};
use engineio::Server;
use serde_json::json;
use socketio::{
    Args, BoxError, Config, Socket, SocketIo, Transport, Version,
    adapter::MemoryAdapter,
    handler::{EventName, State},
};
use socketio_test::TestClient;
use testkit::{Open, Ws};
use tokio::net::TcpListener;

// the server

#[tokio::test]
async fn the_path_can_be_asked_for() {
    assert_eq!(SocketIo::new().service().path(), "/socket.io/");
    let io = SocketIo::builder().engine(|config| config.path("live"));
    assert_eq!(io.build().service().path(), "/live/");
}

#[tokio::test]
async fn an_engine_of_ones_own_can_be_bound_to_a_server() {
    let io = SocketIo::new();
    io.on("echo", async |args: Args| args);
    let engine = Server::new(Config::default().path("/own/"), io.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let serve = tokio::spawn(async move { socketio::serve(listener, engine).await });
    let mut ws = Ws::connect(addr, "/own/?EIO=4&transport=websocket").await;
    Open::parse(ws.recv_text().await.as_bytes());
    ws.text("40").await;
    assert!(ws.recv_text().await.starts_with("40{"));
    ws.text(r#"421["echo","é"]"#).await;
    assert_eq!(ws.recv_text().await, r#"431["é"]"#);
    assert_eq!(io.sockets().len(), 1);
    serve.abort();
}

#[tokio::test(start_paused = true)]
async fn one_type_of_server_whatever_the_adapter() {
    fn server(clustered: bool) -> SocketIo {
        let builder = SocketIo::builder();
        if clustered {
            builder.adapter(MemoryAdapter::new()).build()
        } else {
            builder.build()
        }
    }

    for io in [server(true), server(false)] {
        let mut client = TestClient::connect(&io).await;
        io.emit("hello", &1).unwrap();
        assert_eq!(client.expect_as::<u8>("hello").await, 1);
        assert_eq!(io.of("/").server_count().await.unwrap(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_namespace_knows_its_server() {
    let io = SocketIo::new();
    let chat = io.of("/chat");
    chat.on("to all namespaces", async |socket: Socket, args: Args| {
        let server = socket.namespace().server().ok_or("no server")?;
        for namespace in server.namespaces() {
            namespace.emit("news", &args)?;
        }
        Ok::<_, BoxError>(())
    });
    let mut client = TestClient::connect(&io).await;
    let mut member = client.join("/chat").await.unwrap();
    member.emit("to all namespaces", &7).await;
    assert_eq!(client.expect_as::<u8>("news").await, 7);
    assert_eq!(member.expect_as::<u8>("news").await, 7);
    let orphan = SocketIo::new().of("/chat");
    assert!(orphan.server().is_none(), "it does not keep it alive");
}

// what the socket knows

#[tokio::test(start_paused = true)]
async fn the_handshake_has_the_official_members() {
    let before = SystemTime::now();
    let io = SocketIo::new();
    let builder = TestClient::builder(&io)
        .query("room=7")
        .header("origin", "https://page.example")
        .auth(&json!({ "token": "abc" }));
    let client = builder.connect().await.unwrap();
    let socket = io.of("/").socket(client.id()).unwrap();
    let handshake = socket.handshake();
    assert_eq!(handshake.headers()["origin"], "https://page.example");
    assert!(handshake.time() >= before);
    assert!(handshake.address().is_some());
    assert!(handshake.xdomain());
    assert!(!handshake.secure());
    assert!(handshake.url().starts_with("/socket.io/?"));
    assert!(handshake.query().contains("EIO=4"));
    assert_eq!(handshake.query_param("room").as_deref(), Some("7"));
    assert_eq!(handshake.auth(), r#"{"token":"abc"}"#);

    let request = handshake.request();
    assert_eq!(request.method(), "GET");
    assert_eq!(request.protocol(), Version::V4);
    assert_eq!(request.remote_addr(), handshake.address());

    let fetched = io.fetch_sockets().await.unwrap();
    let details = fetched[0].handshake();
    let issued = Duration::from_millis(details.issued);
    assert_eq!(
        issued.as_millis(),
        handshake
            .time()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_millis()
    );
    assert_eq!(details.query["room"], "7");
    assert_eq!(details.auth, json!({ "token": "abc" }));
}

#[tokio::test(start_paused = true)]
async fn the_connection_below_has_the_official_members() {
    let io = SocketIo::new();
    io.of("/chat");
    let builder = TestClient::builder(&io).transport(Transport::Polling);
    let client = builder.upgrade(true).connect().await.unwrap();
    let member = client.join("/chat").await.unwrap();
    let socket = io.of("/").socket(client.id()).unwrap();
    let conn = socket.conn();
    assert_eq!(conn.sid().as_str(), client.connection().sid());
    assert_eq!(conn.version().number(), 4);
    assert_eq!(conn.transport().name(), "websocket");
    assert!(conn.upgraded());
    assert!(!conn.is_closed());
    let other = io.of("/chat").socket(member.id()).unwrap();
    assert_eq!(other.conn().sid(), conn.sid());
    socket.disconnect_all();
    client.closed().await;
    assert!(conn.is_closed());
    assert!(!other.connected());
}

#[tokio::test(start_paused = true)]
async fn names_of_events_that_are_not_reserved() {
    let log = Log::default();
    let io = SocketIo::builder().state(log.clone()).build();
    let names = [
        "error",
        "message",
        "connection",
        "ping",
        "new_namespace",
        "",
    ];
    for name in names {
        io.on(name, async |State(log): State<Log>, name: EventName| {
            log.push(name);
        });
    }
    let mut client = TestClient::connect(&io).await;
    for name in names {
        client.emit(name, &()).await;
        assert_eq!(log.lines(1).await, [name]);
        io.emit(name, &()).unwrap();
        client.expect(name).await;
    }
}

#[tokio::test]
async fn a_number_is_the_name_of_an_event_too() {
    let io = SocketIo::new();
    io.on("12", async |name: EventName, args: Args| {
        (name.to_string(), args.deserialize::<u8>().unwrap())
    });
    let running = Running::start(io).await;
    let mut ws = running.joined().await;
    ws.text("421[12,5]").await;
    assert_eq!(ws.recv_text().await, r#"431["12",5]"#);
}

// children of a parent

#[tokio::test(start_paused = true)]
async fn a_parent_sends_messages_to_its_children() {
    let io = SocketIo::new();
    let parent = io.of_dynamic("/room/{id}");
    let client = TestClient::connect(&io).await;
    let mut one = client.join("/room/1").await.unwrap();
    let mut two = client.join("/room/2").await.unwrap();
    parent.send(&1).unwrap();
    parent.to(two.id()).send(&2).unwrap();
    assert_eq!(one.expect_as::<u8>("message").await, 1);
    assert_eq!(two.expect_as::<u8>("message").await, 1);
    assert_eq!(two.expect_as::<u8>("message").await, 2);
    one.expect_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_parent_reaches_the_clients_of_other_servers_unless_it_is_local() {
    let cluster = MemoryAdapter::new();
    let servers = [(), ()].map(|()| SocketIo::builder().adapter(cluster.clone()).build());
    let [parent, _] = servers.each_ref().map(|io| io.of_dynamic("/room/{id}"));
    let one = TestClient::connect(&servers[0]).await;
    let two = TestClient::connect(&servers[1]).await;
    let mut here = one.join("/room/1").await.unwrap();
    let mut there = two.join("/room/1").await.unwrap();
    parent.emit("all", &()).unwrap();
    here.expect("all").await;
    there.expect("all").await;
    parent.local().emit("here", &()).unwrap();
    parent.to(there.id()).local().emit("nobody", &()).unwrap();
    here.expect("here").await;
    here.expect_nothing().await;
    there.expect_nothing().await;
}
