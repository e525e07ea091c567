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
    AckError, Args, BoxError, Config, EmitError, RemoteSocket, ServerSideError, ServerSideEvent,
    Socket, SocketIo, Transport, Version,
    adapter::MemoryAdapter,
    handler::{EventName, State},
};
use socketio_test::{Incoming, TestClient};
use testkit::{Open, Ws};
use tokio::net::TcpListener;

/// Two servers of one cluster.
fn two_servers() -> [SocketIo; 2] {
    let cluster = MemoryAdapter::new();
    [(), ()].map(|()| SocketIo::builder().adapter(cluster.clone()).build())
}

/// A client of each server.
async fn client_of_each(servers: &[SocketIo; 2]) -> [TestClient; 2] {
    let [here, there] = servers;
    [
        TestClient::connect(here).await,
        TestClient::connect(there).await,
    ]
}

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
    let servers = two_servers();
    let parents = servers.each_ref().map(|io| io.of_dynamic("/room/{id}"));
    let [one, two] = client_of_each(&servers).await;
    let mut here = one.join("/room/1").await.unwrap();
    let mut there = two.join("/room/1").await.unwrap();
    parents[0].emit("all", &()).unwrap();
    here.expect("all").await;
    there.expect("all").await;
    parents[0].local().emit("here", &()).unwrap();
    parents[0]
        .to(there.id())
        .local()
        .emit("nobody", &())
        .unwrap();
    here.expect("here").await;
    here.expect_nothing().await;
    there.expect_nothing().await;
}

// several servers

#[tokio::test(start_paused = true)]
async fn a_broadcast_reaches_the_clients_of_other_servers_unless_it_is_local() {
    let servers = two_servers();
    let [mut here, mut there] = client_of_each(&servers).await;
    let [io, _] = &servers;
    assert_eq!(io.of("/").server_count().await.unwrap(), 2);
    io.emit("all", &1).unwrap();
    io.to(there.id()).emit("there", &2).unwrap();
    assert_eq!(here.expect_as::<u8>("all").await, 1);
    assert_eq!(there.expect_as::<u8>("all").await, 1);
    assert_eq!(there.expect_as::<u8>("there").await, 2);
    io.local().emit("here", &3).unwrap();
    let socket = io.of("/").socket(here.id()).unwrap();
    socket.local().emit("nobody", &4).unwrap();
    assert_eq!(here.expect_as::<u8>("here").await, 3);
    here.expect_nothing().await;
    there.expect_nothing().await;
    socket.broadcast().emit("but me", &5).unwrap();
    assert_eq!(there.expect_as::<u8>("but me").await, 5);
    here.expect_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn the_clients_of_other_servers_acknowledge_too() {
    let servers = two_servers();
    let [mut here, mut there] = client_of_each(&servers).await;
    let question = servers[0].timeout(Duration::from_secs(60));
    let answers = question.emit_with_ack::<u8>("how many?", &());
    here.expect("how many?").await.ack(&1).await;
    there.expect("how many?").await.ack(&2).await;
    let mut answers = answers.await.unwrap();
    answers.sort_unstable();
    assert_eq!(answers, [1, 2]);
    let local = servers[0].local().emit_with_ack::<u8>("you?", &());
    here.expect("you?").await.ack(&3).await;
    assert_eq!(local.await.unwrap(), [3]);
    there.expect_nothing().await;
}

/// The only other socket, as one of another server.
async fn remote(io: &SocketIo, id: &str) -> RemoteSocket {
    let mut sockets = io.in_(id).fetch_sockets().await.unwrap();
    assert_eq!(sockets.len(), 1);
    let socket = sockets.remove(0);
    assert!(socket.socket().is_none(), "it is not of this server");
    socket
}

#[tokio::test(start_paused = true)]
async fn a_socket_of_another_server_is_shown_and_can_be_dealt_with() {
    let servers = two_servers();
    let [_here, mut there] = client_of_each(&servers).await;
    let [io, other] = &servers;
    let socket = other.of("/").socket(there.id()).unwrap();
    socket.set_data(&json!({ "name": "ann" })).unwrap();
    socket.join("red");
    assert_eq!(io.fetch_sockets().await.unwrap().len(), 2);
    assert_eq!(io.local().fetch_sockets().await.unwrap().len(), 1);

    let ann = remote(io, there.id()).await;
    assert_eq!(ann.id(), there.id());
    assert_eq!(ann.handshake().query["EIO"], "4");
    assert_eq!(ann.rooms(), [there.id().into(), "red".into()]);
    assert_eq!(ann.data()["name"], "ann");
    ann.emit("hello", &1).unwrap();
    assert_eq!(there.expect_as::<u8>("hello").await, 1);
    let minute = Duration::from_secs(60);
    let (answer, ()) = tokio::join!(ann.emit_with_ack::<u8>("?", &(), minute), async {
        there.expect("?").await.ack(&7).await;
    });
    assert_eq!(answer, Ok(7));
    let nobody = ann.emit_with_ack::<u8>("?", &(), Duration::ZERO).await;
    assert_eq!(nobody, Err(AckError::Timeout));
    there.expect("?").await;
    ann.join(["blue", "green"]);
    ann.leave("red");
    let rooms = [there.id().into(), "blue".into(), "green".into()];
    assert_eq!(remote(io, there.id()).await.rooms(), rooms);
    ann.disconnect(false);
    assert!(matches!(there.recv().await, Incoming::Disconnect));
    assert!(!socket.connected());
}

#[tokio::test(start_paused = true)]
async fn sockets_of_all_servers_join_leave_and_are_disconnected_unless_it_is_local() {
    let servers = two_servers();
    let [here, there] = client_of_each(&servers).await;
    let [io, other] = &servers;
    let rooms = |room: &str| [io, other].map(|it| it.local().to(room).sockets().len());
    io.sockets_join("all");
    io.local().sockets_join("here");
    assert_eq!((rooms("all"), rooms("here")), ([1, 1], [1, 0]));
    io.in_("all").local().sockets_leave("all");
    assert_eq!(rooms("all"), [0, 1]);
    io.sockets_leave("all");
    assert_eq!(rooms("all"), [0, 0]);
    io.local().disconnect_sockets(true);
    here.closed().await;
    assert_eq!(other.sockets().len(), 1);
    io.disconnect_sockets(true);
    there.closed().await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_closes_leaves_the_cluster_and_is_in_it_again_when_it_is_served() {
    let [io, other] = two_servers();
    let _client = TestClient::connect(&io).await;
    let count = async || other.of("/").server_count().await.unwrap();
    assert_eq!(count().await, 2);
    io.close().await;
    assert_eq!(count().await, 1);
    assert!(other.fetch_sockets().await.unwrap().is_empty());
    let _service = io.service();
    assert_eq!(count().await, 2);
}

// events between servers

#[tokio::test(start_paused = true)]
async fn other_servers_hear_of_an_event_and_this_one_does_not() {
    let log = Log::default();
    let servers = two_servers();
    for (io, name) in servers.iter().zip(["here", "there"]) {
        let log = log.clone();
        io.on_server_side_emit("hello", move |event: ServerSideEvent| {
            let data: (String, u8) = event.data().unwrap();
            log.push(format!("{name}: {} {data:?}", event.name()));
            event.answer(&"nobody asked").unwrap();
            async {}
        });
    }
    let [io, other] = &servers;
    let mut client = TestClient::connect(other).await;
    io.server_side_emit("hello", &("world", 1)).unwrap();
    io.of("/another").server_side_emit("hello", &()).unwrap();
    assert_eq!(log.lines(1).await, [r#"there: hello ("world", 1)"#]);
    client.expect_nothing().await;
}

#[tokio::test]
async fn other_servers_answer_an_event() {
    let cluster = MemoryAdapter::new();
    let servers = [1, 2, 3].map(|number: u8| {
        let io = SocketIo::builder().adapter(cluster.clone()).build();
        io.on_server_side_emit("number?", move |event: ServerSideEvent| async move {
            event.answer(&number)?;
            event.answer(&"the first answer counts")?;
            Ok::<_, BoxError>(())
        });
        io
    });
    let answers = servers[0].server_side_emit_with_ack::<u8>("number?", &());
    let mut answers = answers.await.unwrap();
    answers.sort_unstable();
    assert_eq!(answers, [2, 3]);

    let alone = SocketIo::new();
    let nobody = alone.server_side_emit_with_ack::<u8>("number?", &()).await;
    assert_eq!(nobody, Ok(Vec::new()));
}

#[tokio::test(start_paused = true)]
async fn what_other_servers_answered_in_time_is_in_the_error() {
    let cluster = MemoryAdapter::new();
    let server = || SocketIo::builder().adapter(cluster.clone());
    let io = server().request_timeout(Duration::from_secs(1)).build();
    let (quick, _silent) = (server().build(), server().build());
    quick.on_server_side_emit("number?", async |event: ServerSideEvent| event.answer(&2));
    let error = io.server_side_emit_with_ack::<u8>("number?", &()).await;
    let expected = ServerSideError::Incomplete {
        responses: vec![2],
        missing: Some(1),
    };
    assert_eq!(error, Err(expected));
}

#[tokio::test]
async fn some_names_mean_something_else_to_other_servers() {
    let io = SocketIo::new();
    for name in ["connect", "connection", "new_namespace"] {
        let error = io.server_side_emit(name, &()).unwrap_err();
        assert_eq!(error, EmitError::ReservedEvent);
        let error = io.server_side_emit_with_ack::<u8>(name, &()).await;
        let expected = ServerSideError::Emit(EmitError::ReservedEvent);
        assert_eq!(error, Err(expected));
    }
    io.server_side_emit("disconnect", &()).unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_error_in_a_handler_for_other_servers_is_reported() {
    let log = Log::default();
    let [io, other] = two_servers();
    let seen = log.clone();
    other.on_error(move |report| seen.push(report));
    other.on_server_side_emit("fail", async |_: ServerSideEvent| Err("no luck"));
    io.server_side_emit("fail", &()).unwrap();
    assert_eq!(log.lines(1).await, ["`fail`: no luck"]);
}
