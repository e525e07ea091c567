//! Several servers that act as one, with clients of each. In no time: the clock is paused.
#![allow(
    clippy::unwrap_used,
    reason = "clippy sees no tests in functions that tests share"
)]

use std::{
    collections::BTreeSet,
    future::pending,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use serde_json::{Value, json};
use socketio::{
    AckError, BoxError, BroadcastOperator, Builder, EmitError, RemoteSocket, ServerSideError,
    ServerSideEvent, Socket, SocketIo,
    adapter::{
        Adapter, BoxFuture, Channel, Inbox, MemoryAdapter, Message, NodeId, Peers, Response,
    },
};
use socketio_test::{Incoming, TestClient, settle};
use tokio::time::Instant;

/// Servers of one cluster.
fn servers<const N: usize>() -> [SocketIo; N] {
    servers_with(|builder| builder)
}

fn servers_with<const N: usize>(change: impl Fn(Builder) -> Builder) -> [SocketIo; N] {
    let cluster = MemoryAdapter::new();
    std::array::from_fn(|_| change(SocketIo::builder()).adapter(cluster.clone()).build())
}

/// A client of each server.
async fn clients<const N: usize>(servers: &[SocketIo; N]) -> [TestClient; N] {
    let mut clients = Vec::new();
    for io in servers {
        clients.push(TestClient::connect(io).await);
    }
    clients.try_into().unwrap()
}

fn socket(io: &SocketIo, client: &TestClient) -> Socket {
    io.of(client.namespace()).socket(client.id()).unwrap()
}

fn everybody(io: &SocketIo) -> BroadcastOperator {
    io.except("nobody")
}

/// Expects the event from each of these, and nothing from any of the others.
async fn reaches<const N: usize>(clients: &mut [TestClient; N], event: &str, whom: &[usize]) {
    for &index in whom {
        clients[index].expect(event).await;
    }
    for client in clients {
        client.expect_nothing().await;
    }
}

fn ids<'a>(sockets: impl IntoIterator<Item = &'a RemoteSocket>) -> BTreeSet<String> {
    sockets.into_iter().map(|it| it.id().to_owned()).collect()
}

fn set<const N: usize>(clients: [&TestClient; N]) -> BTreeSet<String> {
    clients.into_iter().map(|it| it.id().to_owned()).collect()
}

/// A time that is up long after the test.
const LONG: Duration = Duration::from_secs(3_600);

// broadcasts

#[tokio::test(start_paused = true)]
async fn an_event_reaches_the_clients_of_all_servers() {
    let servers = servers::<3>();
    let mut clients = clients(&servers).await;
    for io in &servers {
        let bytes = Bytes::from_static(&[3, 4, 255]);
        io.emit("event", &(1, "zwei", &bytes)).unwrap();
        for client in &mut clients {
            let (one, two, three): (u8, String, Bytes) = client.expect_as("event").await;
            assert_eq!((one, &*two, three), (1, "zwei", bytes.clone()));
        }
        io.send("message").unwrap();
        reaches(&mut clients, "message", &[0, 1, 2]).await;
        io.volatile().emit("volatile", &()).unwrap();
        reaches(&mut clients, "volatile", &[0, 1, 2]).await;
        io.compress(false).emit("uncompressed", &()).unwrap();
        reaches(&mut clients, "uncompressed", &[0, 1, 2]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn rooms_are_those_of_all_servers() {
    let servers = servers::<3>();
    let [a, b, c] = &servers;
    let mut clients = clients(&servers).await;
    socket(a, &clients[0]).join("red");
    socket(b, &clients[1]).join(["red", "blue"]);
    socket(c, &clients[2]).join("blue");
    a.to("red").emit("red", &()).unwrap();
    reaches(&mut clients, "red", &[0, 1]).await;
    a.to(["red", "blue"]).emit("both", &()).unwrap();
    reaches(&mut clients, "both", &[0, 1, 2]).await;
    c.except("red").emit("except", &()).unwrap();
    reaches(&mut clients, "except", &[2]).await;
    b.to("blue").except("red").emit("some", &()).unwrap();
    reaches(&mut clients, "some", &[2]).await;
    a.to(clients[1].id()).emit("single", &()).unwrap();
    reaches(&mut clients, "single", &[1]).await;
    a.to("nobody").emit("nobody", &()).unwrap();
    reaches(&mut clients, "nobody", &[]).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_local_stays_on_its_server() {
    let servers = servers::<2>();
    let [a, b] = &servers;
    let mut clients = clients(&servers).await;
    a.local().emit("event", &()).unwrap();
    reaches(&mut clients, "event", &[0]).await;
    socket(a, &clients[0]).local().emit("event", &()).unwrap();
    reaches(&mut clients, "event", &[]).await;
    a.local().sockets_join("room");
    assert!(socket(b, &clients[1]).rooms().len() == 1);
    b.local().sockets_join("room");
    a.local().sockets_leave("room");
    assert!(socket(b, &clients[1]).rooms().len() == 2);
    let local = a.local().fetch_sockets().await.unwrap();
    assert_eq!(ids(&local), set([&clients[0]]));
    assert_eq!(a.sockets().len(), 1);
    let question = a.local().emit_with_ack::<u8>("question", &());
    clients[0].expect("question").await.ack(&1).await;
    assert_eq!(question.await.unwrap(), [1]);
    a.local().disconnect_sockets(true);
    clients[0].closed().await;
    clients[1].expect_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_socket_broadcasts_to_everybody_else_on_all_servers() {
    let servers = servers::<2>();
    for io in &servers {
        io.on("say", async |socket: Socket| {
            socket.broadcast().emit("said", &())?;
            socket.to("room").emit("said in the room", &())
        });
    }
    let mut clients = clients(&servers).await;
    servers[0].sockets_join("room");
    clients[0].emit("say", &()).await;
    clients[1].expect("said").await;
    reaches(&mut clients, "said in the room", &[1]).await;
}

#[tokio::test(start_paused = true)]
async fn events_reach_clients_of_all_servers_in_the_same_order() {
    let servers = servers::<3>();
    let [a, ..] = &servers;
    let mut clients = clients(&servers).await;
    a.sockets_join("room");
    let everybody = a.fetch_sockets().await.unwrap();
    for number in 0..300 {
        match number % 3 {
            0 => a.emit("event", &number).unwrap(),
            1 => a.to("room").emit("event", &number).unwrap(),
            _ => {
                for socket in &everybody {
                    socket.emit("event", &number).unwrap();
                }
            }
        }
    }
    for client in &mut clients {
        for number in 0..300 {
            assert_eq!(client.expect_as::<u32>("event").await, number);
        }
        client.expect_nothing().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_reserved_event_is_refused_before_anybody_gets_it() {
    let servers = servers::<2>();
    let mut clients = clients(&servers).await;
    let refused = servers[0].emit("disconnect", &());
    assert!(matches!(refused, Err(EmitError::ReservedEvent)));
    reaches(&mut clients, "nothing", &[]).await;
}

// namespaces

#[tokio::test(start_paused = true)]
async fn namespaces_of_several_servers_do_not_mix() {
    let servers = servers::<2>();
    let [a, b] = &servers;
    for io in &servers {
        io.of("/chat");
    }
    a.of("/only here");
    let mut main = clients(&servers).await;
    let mut chat = [
        main[0].join("/chat").await.unwrap(),
        main[1].join("/chat").await.unwrap(),
    ];
    b.of("/chat").emit("event", &()).unwrap();
    reaches(&mut chat, "event", &[0, 1]).await;
    reaches(&mut main, "nothing", &[]).await;
    assert_eq!(a.of("/chat").server_count().await.unwrap(), 2);
    assert_eq!(a.of("/only here").server_count().await.unwrap(), 1);
    assert_eq!(a.of("/only here").fetch_sockets().await.unwrap().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn dynamic_namespaces_meet_across_servers() {
    let servers = servers_with::<2>(|builder| builder.cleanup_empty_child_namespaces(true));
    let [a, b] = &servers;
    for io in &servers {
        let rooms = io.of_dynamic("/room/{id}");
        rooms.on("say", async |socket: Socket| {
            socket.broadcast().emit("said", socket.namespace().name())
        });
    }
    let join = async |io: &SocketIo, name: &str| {
        let builder = TestClient::builder(io).namespace(name);
        builder.connect().await.unwrap()
    };
    let mut seven = [join(a, "/room/7").await, join(b, "/room/7").await];
    let mut eight = join(b, "/room/8").await;
    seven[0].emit("say", &()).await;
    assert_eq!(seven[1].expect_as::<String>("said").await, "/room/7");
    reaches(&mut seven, "nothing", &[]).await;
    eight.expect_nothing().await;

    // What comes for a namespace that is not there on this server makes none.
    let namespace = b.namespace("/room/8").unwrap();
    assert_eq!(namespace.server_count().await.unwrap(), 1);
    namespace.emit("event", &()).unwrap();
    eight.expect("event").await;
    assert!(a.namespace("/room/8").is_none());

    // A namespace that is removed is no part of the cluster any more.
    let namespace = a.namespace("/room/7").unwrap();
    assert_eq!(namespace.server_count().await.unwrap(), 2);
    let [_here, there] = seven;
    there.disconnect().await;
    settle().await;
    assert!(b.namespace("/room/7").is_none());
    assert_eq!(namespace.server_count().await.unwrap(), 1);
}

// acknowledgements

#[tokio::test(start_paused = true)]
async fn clients_of_all_servers_acknowledge() {
    let servers = servers::<3>();
    let mut clients = clients(&servers).await;
    for timeout in [None, Some(LONG)] {
        let mut question = everybody(&servers[0]);
        if let Some(timeout) = timeout {
            question = question.timeout(timeout);
        }
        let answers = question.emit_with_ack::<(u8, Bytes)>("question", &());
        for (client, number) in clients.iter_mut().zip(1..) {
            let bytes = Bytes::from(vec![number; 3]);
            client.expect("question").await.ack(&(number, bytes)).await;
        }
        let mut answers = answers.await.unwrap();
        answers.sort_unstable();
        for ((number, bytes), expected) in answers.into_iter().zip(1..) {
            assert_eq!((number, bytes), (expected, Bytes::from(vec![expected; 3])));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn acknowledgements_of_other_servers_come_one_after_the_other_too() {
    let servers = servers::<3>();
    let mut clients = clients(&servers).await;
    let mut answers = servers[1].emit_with_ack::<u8>("question", &());
    for (client, number) in clients.iter_mut().zip(1..) {
        client.expect("question").await.ack(&number).await;
        assert_eq!(answers.next().await, Some(Ok(number)));
    }
    assert_eq!(answers.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_question_to_nobody_on_any_server_is_answered_at_once() {
    let servers = servers::<3>();
    let _clients = clients(&servers).await;
    let start = Instant::now();
    let nobody = servers[0].to("nobody").timeout(LONG);
    let answers = nobody.emit_with_ack::<u8>("question", &()).await;
    assert_eq!(answers.unwrap().len(), 0);
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn who_does_not_acknowledge_in_time_is_left_out() {
    let servers = servers_with::<3>(|builder| builder.request_timeout(Duration::from_secs(7)));
    let mut clients = clients(&servers).await;
    for (timeout, seconds) in [(Some(Duration::from_secs(3)), 3), (None, 7)] {
        let start = Instant::now();
        let mut question = everybody(&servers[0]);
        if let Some(timeout) = timeout {
            question = question.timeout(timeout);
        }
        let answers = question.emit_with_ack::<u8>("question", &());
        clients[0].expect("question").await.ack(&1).await;
        clients[1].expect("question").await.ack(&2).await;
        let late = clients[2].expect("question").await;
        let error = answers.await.unwrap_err();
        assert_eq!(error.responses, [1, 2]);
        assert_eq!(error.errors, [AckError::Timeout]);
        assert_eq!(start.elapsed().as_secs(), seconds);
        late.ack(&3).await;
    }
    reaches(&mut clients, "nothing", &[]).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_of_another_server_that_goes_is_missed_when_the_time_is_up() {
    let servers = servers::<2>();
    let [mut here, mut there] = clients(&servers).await;
    let question = servers[0].timeout(Duration::from_secs(3));
    let answers = question.emit_with_ack::<u8>("question", &());
    here.expect("question").await.ack(&1).await;
    there.expect("question").await;
    there.disconnect().await;
    let error = answers.await.unwrap_err();
    assert_eq!(
        (error.responses, error.errors),
        (vec![1], vec![AckError::Timeout])
    );
}

#[tokio::test(start_paused = true)]
async fn a_question_that_is_given_up_is_forgotten() {
    let servers = servers_with::<2>(|builder| builder.max_pending_acks(1));
    let [_here, mut there] = clients(&servers).await;
    drop(servers[0].emit_with_ack::<u8>("question", &()));
    there.expect("question").await;
    settle().await;
    // until its time is up the other server waits on
    tokio::time::sleep(Duration::from_secs(5)).await;
    drop(servers[0].emit_with_ack::<u8>("question", &()));
    there.expect("question").await;
}

// sockets of all servers

#[tokio::test(start_paused = true)]
async fn sockets_of_all_servers_are_fetched() {
    let servers = servers::<3>();
    let [a, b, c] = &servers;
    let clients = clients(&servers).await;
    let [first, second, third] = &clients;
    socket(b, second).join("room");
    socket(c, third).join(["room", "other"]);
    let everybody = a.fetch_sockets().await.unwrap();
    assert_eq!(ids(&everybody), set([first, second, third]));
    for found in &everybody {
        assert_eq!(found.socket().is_some(), found.id() == first.id());
    }
    let room = a.in_("room").fetch_sockets().await.unwrap();
    assert_eq!(ids(&room), set([second, third]));
    let some = a.in_("room").except("other").fetch_sockets().await.unwrap();
    assert_eq!(ids(&some), set([second]));
    let single = a.in_(third.id()).fetch_sockets().await.unwrap();
    let rooms: Vec<_> = single[0].rooms().iter().map(|room| &**room).collect();
    assert_eq!(rooms, [third.id(), "room", "other"]);
    assert_eq!(a.in_("nobody").fetch_sockets().await.unwrap().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_known_of_a_socket_is_known_to_all_servers() {
    let servers = servers::<2>();
    let [a, b] = &servers;
    let builder = TestClient::builder(b).auth(&json!({ "token": "t", "ü": [1] }));
    let builder = builder.query("name=J%C3%BCrgen").header("x-custom", "yes");
    let client = builder.connect().await.unwrap();
    let data = json!({ "score": 0.1, "tags": ["😀", null] });
    socket(b, &client).set_data(&data).unwrap();
    let there = a.fetch_sockets().await.unwrap().remove(0);
    let here = b.fetch_sockets().await.unwrap().remove(0);
    assert!(there.socket().is_none() && here.socket().is_some());
    assert_eq!(there.handshake(), here.handshake());
    assert_eq!(there.handshake().auth, json!({ "token": "t", "ü": [1] }));
    assert_eq!(there.handshake().query["name"], "Jürgen");
    assert_eq!(there.handshake().headers["x-custom"], "yes");
    assert_eq!((there.data(), there.rooms()), (&data, here.rooms()));
}

#[tokio::test(start_paused = true)]
async fn a_socket_of_another_server_can_be_used() {
    let servers = servers::<2>();
    let [a, b] = &servers;
    b.of("/other");
    let [mut here, mut there] = clients(&servers).await;
    let other = there.join("/other").await.unwrap();
    let there_socket = socket(b, &there);
    let remote = a.in_(there.id()).fetch_sockets().await.unwrap().remove(0);
    remote.emit("event", &(1, "two")).unwrap();
    assert_eq!(
        there.expect_as::<(u8, String)>("event").await,
        (1, "two".into())
    );
    let ask = |timeout| {
        let remote = remote.clone();
        tokio::spawn(async move { remote.emit_with_ack::<u8>("question", &1, timeout).await })
    };
    let answer = ask(LONG);
    there.expect("question").await.ack(&7).await;
    assert_eq!(answer.await.unwrap(), Ok(7));
    let answer = ask(LONG);
    there.expect("question").await.ack("text").await;
    assert!(matches!(answer.await.unwrap(), Err(AckError::Args(_))));
    let answer = ask(Duration::from_secs(1));
    there.expect("question").await;
    assert_eq!(answer.await.unwrap(), Err(AckError::Timeout));

    remote.join(["red", "blue"]);
    remote.leave("red");
    assert_eq!(there_socket.rooms()[1..], ["blue".into()]);
    remote.disconnect(false);
    assert!(matches!(there.recv().await, Incoming::Disconnect));
    assert!(!other.connection().is_closed());
    // It is gone, and nobody is asked.
    assert_eq!(ask(LONG).await.unwrap(), Err(AckError::Disconnected));
    let remote = a.of("/other").in_(other.id()).fetch_sockets().await;
    remote.unwrap()[0].disconnect(true);
    other.closed().await;
    here.expect_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn sockets_of_all_servers_join_and_leave() {
    let servers = servers::<3>();
    let [a, b, c] = &servers;
    let clients = clients(&servers).await;
    let sockets = [
        socket(a, &clients[0]),
        socket(b, &clients[1]),
        socket(c, &clients[2]),
    ];
    let rooms = || {
        let rooms = sockets.each_ref().map(Socket::rooms);
        rooms.map(|rooms| {
            rooms[1..]
                .iter()
                .map(|room| room.to_string())
                .collect::<Vec<_>>()
        })
    };
    a.sockets_join("x");
    assert_eq!(rooms(), [["x"], ["x"], ["x"]]);
    b.in_(clients[2].id()).sockets_join(["y", "z"]);
    a.in_("y").sockets_leave("x");
    assert_eq!(rooms(), [vec!["x"], vec!["x"], vec!["y", "z"]]);
    a.in_("x").sockets_join("y");
    a.except("z").sockets_leave(["x", "never joined"]);
    assert_eq!(rooms(), [vec!["y"], vec!["y"], vec!["y", "z"]]);
    c.sockets_leave("y");
    assert_eq!(rooms(), [vec![], vec![], vec!["z"]]);
}

#[tokio::test(start_paused = true)]
async fn sockets_of_all_servers_are_disconnected_after_what_was_sent() {
    let servers = servers::<3>();
    let clients = clients(&servers).await;
    servers[1].emit("bye", &()).unwrap();
    servers[1].disconnect_sockets(true);
    for mut client in clients {
        client.expect("bye").await;
        assert!(matches!(client.recv().await, Incoming::Disconnect));
        client.closed().await;
    }
}

#[tokio::test(start_paused = true)]
async fn some_sockets_are_disconnected_and_their_connections_stay() {
    let servers = servers::<2>();
    let [a, b] = &servers;
    for io in &servers {
        io.of("/other");
    }
    let mut clients = clients(&servers).await;
    let mut other = [
        clients[0].join("/other").await.unwrap(),
        clients[1].join("/other").await.unwrap(),
    ];
    socket(b, &clients[1]).join("room");
    a.in_("room").disconnect_sockets(false);
    assert!(matches!(clients[1].recv().await, Incoming::Disconnect));
    clients[0].expect_nothing().await;
    a.of("/other").emit("event", &()).unwrap();
    reaches(&mut other, "event", &[0, 1]).await;
    assert_eq!(b.sockets().len(), 0);
}

// events between servers

/// What servers have heard.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    fn by(&self, io: &SocketIo, name: &'static str, event: &str) {
        let heard = self.clone();
        io.on_server_side_emit(event, move |event: ServerSideEvent| {
            let heard = heard.clone();
            async move {
                let line = format!("{name}: {} {}", event.name(), event.args().json());
                heard.0.lock().unwrap().push(line);
            }
        });
    }

    async fn take(&self) -> Vec<String> {
        settle().await;
        let mut heard = std::mem::take(&mut *self.0.lock().unwrap());
        heard.sort_unstable();
        heard
    }
}

#[tokio::test(start_paused = true)]
async fn servers_send_events_to_each_other() {
    let servers = servers::<3>();
    let heard = Heard::default();
    for (io, name) in servers.iter().zip(["a", "b", "c"]) {
        heard.by(io, name, "hello");
    }
    servers[0]
        .server_side_emit("hello", &("world", 1, "2"))
        .unwrap();
    servers[0].server_side_emit("nobody listens", &()).unwrap();
    servers[0]
        .of("/chat")
        .server_side_emit("hello", &())
        .unwrap();
    let expected = [r#"b: hello "world",1,"2""#, r#"c: hello "world",1,"2""#];
    assert_eq!(heard.take().await, expected);
    for reserved in ["connect", "connection", "new_namespace"] {
        let refused = servers[0].server_side_emit(reserved, &());
        assert!(
            matches!(refused, Err(EmitError::ReservedEvent)),
            "{reserved}"
        );
    }
    assert_eq!(heard.take().await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn servers_answer_each_other() {
    let servers = servers::<3>();
    for (io, count) in servers.iter().zip(1..) {
        io.of("/chat")
            .on_server_side_emit("how many?", move |event: ServerSideEvent| async move {
                let room: String = event.data()?;
                event.answer(&(count, room))?;
                // the first answer counts
                event.answer(&(99, "again"))?;
                Ok::<_, BoxError>(())
            });
    }
    let chat = servers[0].of("/chat");
    let answers = chat
        .server_side_emit_with_ack::<(u8, String)>("how many?", "red")
        .await;
    let mut answers = answers.unwrap();
    answers.sort_unstable();
    assert_eq!(answers, [(2, "red".into()), (3, "red".into())]);
    let error = chat
        .server_side_emit_with_ack::<bool>("how many?", "red")
        .await;
    assert!(matches!(error, Err(ServerSideError::Args(_))));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_is_missed_when_the_time_is_up() {
    let servers = servers_with::<3>(|builder| builder.request_timeout(Duration::from_secs(9)));
    let [a, b, c] = &servers;
    let reported = Heard::default();
    b.on_server_side_emit("question", async |event: ServerSideEvent| event.answer(&2));
    c.on_server_side_emit("question", async |_: ServerSideEvent| {
        Err::<(), _>(BoxError::from("no idea"))
    });
    let errors = reported.clone();
    c.on_error(move |report| errors.0.lock().unwrap().push(report.to_string()));
    let start = Instant::now();
    let error = a
        .server_side_emit_with_ack::<u8>("question", &())
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "1 other servers did not answer in time");
    let expected = ServerSideError::Incomplete {
        responses: vec![2],
        missing: Some(1),
    };
    assert_eq!(error, expected);
    assert_eq!(start.elapsed().as_secs(), 9);
    assert_eq!(reported.take().await.len(), 1);
}

// a server that is alone, comes, or goes

#[tokio::test(start_paused = true)]
async fn a_server_without_an_adapter_is_alone() {
    let io = SocketIo::new();
    assert_eq!(io.of("/").server_count().await.unwrap(), 1);
    io.server_side_emit("hello", &()).unwrap();
    let answers = io.server_side_emit_with_ack::<u8>("question", &()).await;
    assert_eq!(answers.unwrap().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn servers_are_counted() {
    let cluster = MemoryAdapter::new();
    let make = || SocketIo::builder().adapter(cluster.clone()).build();
    let (a, b) = (make(), make());
    let count = async |io: &SocketIo| io.of("/").server_count().await.unwrap();
    assert_eq!((count(&a).await, count(&b).await), (2, 2));
    let c = make();
    assert_eq!(count(&a).await, 3);
    drop(c);
    assert_eq!(count(&a).await, 2);
    b.close().await;
    assert_eq!((count(&a).await, count(&b).await), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_closes_leaves_the_cluster_and_may_come_back() {
    let servers = servers::<2>();
    let [a, b] = &servers;
    a.of("/chat");
    b.of("/chat");
    for round in 0..3 {
        let mut clients = clients(&servers).await;
        a.emit("event", &round).unwrap();
        b.of("/chat").emit("nobody is here", &()).unwrap();
        reaches(&mut clients, "event", &[0, 1]).await;
        assert!(b.close().await.all_gone());
        for name in ["/", "/chat"] {
            assert_eq!(a.of(name).server_count().await.unwrap(), 1);
        }
        let [mut here, there] = clients;
        there.closed().await;
        // Nothing leaves a closed server, and nothing is waited for.
        b.emit("event", &()).unwrap();
        here.expect_nothing().await;
        let answers = a.server_side_emit_with_ack::<u8>("question", &()).await;
        assert_eq!(answers.unwrap().len(), 0);
        drop(here);
        settle().await;
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_server_that_closes() {
    let servers = servers::<3>();
    let [a, b, c] = &servers;
    c.on_server_side_emit("stuck", async |_: ServerSideEvent| pending::<()>().await);
    b.on_server_side_emit("stuck", async |event: ServerSideEvent| event.answer(&2));
    let mut clients = clients(&servers).await;
    let start = Instant::now();
    let question = a.timeout(LONG).emit_with_ack::<u8>("question", &());
    let stuck = a.clone();
    let stuck =
        tokio::spawn(async move { stuck.server_side_emit_with_ack::<u8>("stuck", &()).await });
    clients[0].expect("question").await.ack(&1).await;
    clients[1].expect("question").await.ack(&2).await;
    clients[2].expect("question").await;
    c.close_within(Duration::from_secs(1)).await;
    assert_eq!(question.await.unwrap(), [1, 2]);
    assert_eq!(stuck.await.unwrap().unwrap(), [2]);
    assert!(
        start.elapsed() < Duration::from_secs(4),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_closing_server_waits_for_ends_with_it() {
    let servers = servers_with::<2>(|builder| builder.request_timeout(LONG));
    let [a, b] = &servers;
    b.on_server_side_emit("stuck", async |_: ServerSideEvent| pending::<()>().await);
    let start = Instant::now();
    let asking = a.clone();
    let asked =
        tokio::spawn(async move { asking.server_side_emit_with_ack::<u8>("stuck", &()).await });
    settle().await;
    a.close().await;
    let error = asked.await.unwrap().unwrap_err();
    let expected = ServerSideError::Incomplete {
        responses: Vec::new(),
        missing: Some(1),
    };
    assert_eq!(error, expected);
    assert!(start.elapsed() < Duration::from_secs(4));
}

/// An adapter that never finishes closing, and counts how often it was asked to.
#[derive(Clone, Default)]
struct Stuck(Arc<AtomicUsize>);

impl Adapter for Stuck {
    fn open(&self, _: &str, _: Inbox) -> Arc<dyn Channel> {
        Arc::new(self.clone())
    }
}

impl Channel for Stuck {
    fn publish(&self, _: Message) {}

    fn respond(&self, _: &NodeId, _: Response) {}

    fn peers(&self) -> BoxFuture<'static, Result<Peers, BoxError>> {
        Box::pin(pending())
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(pending())
    }
}

#[tokio::test(start_paused = true)]
async fn an_adapter_that_does_not_answer_holds_up_nothing_for_long() {
    let adapter = Stuck::default();
    let io = SocketIo::builder().adapter(adapter.clone()).build();
    for name in ["/a", "/b"] {
        io.of(name);
    }
    let mut client = TestClient::connect(&io).await;
    io.emit("event", &()).unwrap();
    client.expect("event").await;
    assert!(io.of("/").server_count().await.is_err());
    let here = io.fetch_sockets().await.unwrap_err();
    assert_eq!((here.sockets.len(), here.missing), (1, None));
    let answers = io
        .timeout(Duration::from_secs(3))
        .emit_with_ack::<u8>("question", &());
    client.expect("question").await.ack(&1).await;
    assert_eq!(answers.await.unwrap_err().responses, [1]);
    let start = Instant::now();
    let closed = io.close_within(Duration::from_secs(3)).await;
    assert!(closed.all_gone());
    assert_eq!(start.elapsed().as_secs(), 3);
    // All namespaces have been told.
    assert_eq!(adapter.0.load(Ordering::Relaxed), 3);
}

#[tokio::test(start_paused = true)]
async fn many_servers_talk_at_once() {
    let servers = servers::<5>();
    for io in &servers {
        io.on("ask", async |socket: Socket| {
            let everybody = socket.namespace().timeout(LONG);
            let answers: Vec<Value> = everybody.emit_with_ack("question", socket.id()).await?;
            socket.emit("answers", &answers.len())?;
            Ok::<_, BoxError>(())
        });
    }
    let clients = clients(&servers).await;
    let mut tasks = Vec::new();
    for mut client in clients {
        tasks.push(tokio::spawn(async move {
            client.emit("ask", &()).await;
            let mut asked = 0;
            let mut answered = false;
            while asked < 5 || !answered {
                let Incoming::Event(event) = client.recv().await else {
                    panic!("disconnected");
                };
                if event.wants_ack() {
                    asked += 1;
                    event.ack(&asked).await;
                } else {
                    assert_eq!(event.data::<usize>(), 5);
                    answered = true;
                }
            }
            client
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}
