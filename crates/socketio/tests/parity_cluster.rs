//! What the official tests of a cluster's adapter pin, with three servers; see `docs/PARITY.md`.
#![allow(
    clippy::unwrap_used,
    reason = "clippy sees no tests in functions that tests share"
)]

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use serde_json::{Value, json};
use socketio::{
    AckError, ServerSideError, ServerSideEvent, Socket, SocketIo,
    adapter::{
        Adapter, BoxError, BoxFuture, Channel, Inbox, MemoryAdapter, Message, NodeId, Peers,
        Response,
    },
};
use socketio_test::{Incoming, TestClient};

/// Three servers, and a client of each.
struct Three {
    servers: [SocketIo; 3],
    clients: [TestClient; 3],
}

impl Three {
    async fn start() -> Self {
        let cluster = MemoryAdapter::new();
        Self::of([(); 3].map(|()| SocketIo::builder().adapter(cluster.clone()).build())).await
    }

    async fn of(servers: [SocketIo; 3]) -> Self {
        for io in &servers {
            io.of("/custom");
        }
        let [a, b, c] = &servers;
        let clients = [
            TestClient::connect(a).await,
            TestClient::connect(b).await,
            TestClient::connect(c).await,
        ];
        Self { servers, clients }
    }

    /// The server that speaks; the others listen.
    fn io(&self) -> &SocketIo {
        &self.servers[0]
    }

    /// The socket of the client of one of the servers.
    fn socket(&self, server: usize) -> Socket {
        let id = self.clients[server].id();
        self.servers[server].of("/").socket(id).unwrap()
    }

    /// Whether each of the sockets is in a room.
    fn inside(&self, room: &str) -> [bool; 3] {
        [0, 1, 2].map(|at| self.socket(at).rooms().iter().any(|it| **it == *room))
    }

    /// Expects an event at some of the clients, and then nothing at any of them.
    async fn expect(&mut self, event: &str, at: [bool; 3]) {
        for (client, expected) in self.clients.iter_mut().zip(at) {
            if expected {
                client.expect(event).await;
            }
        }
        for client in &mut self.clients {
            client.expect_nothing().await;
        }
    }
}

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(100);

// broadcast

#[tokio::test]
async fn an_event_with_bytes_reaches_all() {
    let mut three = Three::start().await;
    let args = (1, "2", Bytes::from_static(&[3, 4]));
    three.io().emit("test", &args).unwrap();
    for client in &mut three.clients {
        let got = client.expect_as::<(u8, String, Bytes)>("test").await;
        assert_eq!((got.0, &*got.1, got.2), args);
    }
}

#[tokio::test]
async fn an_event_reaches_all_in_a_namespace() {
    let mut three = Three::start().await;
    let mut custom = Vec::new();
    for client in &three.clients {
        custom.push(client.join("/custom").await.unwrap());
    }
    three.io().of("/custom").emit("test", &()).unwrap();
    for client in &mut custom {
        client.expect("test").await;
    }
    three.expect("test", [false; 3]).await;
}

#[tokio::test]
async fn an_event_reaches_a_room() {
    let mut three = Three::start().await;
    three.socket(1).join("room1");
    three.io().to("room1").emit("test", &()).unwrap();
    three.expect("test", [false, true, false]).await;
}

#[tokio::test]
async fn an_event_reaches_all_but_a_room() {
    let mut three = Three::start().await;
    three.socket(1).join("room1");
    three.io().except("room1").emit("test", &()).unwrap();
    three.expect("test", [true, false, true]).await;
}

#[tokio::test]
async fn a_local_event_reaches_this_server_alone() {
    let mut three = Three::start().await;
    three.io().local().emit("test", &()).unwrap();
    three.expect("test", [true, false, false]).await;
}

#[tokio::test]
async fn an_event_that_cannot_be_published_reaches_this_server() {
    let io = || SocketIo::builder().adapter(Mute).build();
    let mut three = Three::of([io(), io(), io()]).await;
    three.io().emit("test", &()).unwrap();
    three.expect("test", [true, false, false]).await;
}

/// Loses whatever is published.
struct Mute;

impl Adapter for Mute {
    fn open(&self, _: &str, _: Inbox) -> Arc<dyn Channel> {
        Arc::new(Mute)
    }
}

impl Channel for Mute {
    fn publish(&self, _: Message) {}

    fn respond(&self, _: &NodeId, _: Response) {}

    fn peers(&self) -> BoxFuture<'static, Result<Peers, BoxError>> {
        Box::pin(async { Err("nobody can be reached".into()) })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

// acknowledgements

#[tokio::test]
async fn all_acknowledge() {
    let mut three = Three::start().await;
    let answers = three.io().timeout(LONG).emit_with_ack::<u8>("test", &());
    for (client, number) in three.clients.iter_mut().zip(1u8..) {
        client.expect("test").await.ack(&number).await;
    }
    let mut answers = answers.await.unwrap();
    answers.sort_unstable();
    assert_eq!(answers, [1, 2, 3]);
}

#[tokio::test]
async fn all_acknowledge_with_bytes() {
    let mut three = Three::start().await;
    let answers = three.io().timeout(LONG).emit_with_ack::<Bytes>("test", &());
    for (client, number) in three.clients.iter_mut().zip(1..) {
        let bytes = Bytes::from(vec![number]);
        client.expect("test").await.ack(&bytes).await;
    }
    let mut answers = answers.await.unwrap();
    answers.sort_unstable();
    assert_eq!(answers, [&[1][..], &[2], &[3]]);
}

#[tokio::test]
async fn nobody_acknowledges_if_nobody_is_there() {
    let mut three = Three::start().await;
    let question = three.io().to("nowhere").timeout(LONG);
    let answers = question.emit_with_ack::<u8>("test", &()).await;
    assert_eq!(answers.unwrap(), [0; 0]);
    three.expect("test", [false; 3]).await;
}

#[tokio::test]
async fn who_is_silent_is_not_waited_for_for_ever() {
    let mut three = Three::start().await;
    let answers = three.io().timeout(SHORT).emit_with_ack::<u8>("test", &());
    for (client, number) in three.clients.iter_mut().zip([1u8, 2]) {
        client.expect("test").await.ack(&number).await;
    }
    let error = answers.await.unwrap_err();
    let mut responses = error.responses;
    responses.sort_unstable();
    assert_eq!(responses, [1, 2]);
    assert_eq!(error.errors, [AckError::Timeout]);
}

#[tokio::test]
async fn one_socket_acknowledges_wherever_it_is() {
    let mut three = Three::start().await;
    for server in [0, 1] {
        let id = three.clients[server].id().to_owned();
        let found = three.io().in_(&*id).fetch_sockets().await.unwrap();
        let [socket] = &found[..] else {
            panic!("{} sockets", found.len())
        };
        let client = &mut three.clients[server];
        let question = socket.emit_with_ack::<String>("test", &"hello", LONG);
        let (answer, ()) = tokio::join!(question, async {
            client.expect("test").await.ack(&"world").await;
        });
        assert_eq!(answer.unwrap(), "world");
        let silence = socket.emit_with_ack::<u8>("test", &(), SHORT).await;
        assert_eq!(silence, Err(AckError::Timeout));
    }
}

// rooms and disconnections

#[tokio::test]
async fn sockets_join() {
    let three = Three::start().await;
    let io = three.io();
    io.sockets_join("all");
    assert_eq!(three.inside("all"), [true; 3]);
    three.socket(0).join("some");
    three.socket(2).join("some");
    io.in_("some").sockets_join("matching");
    assert_eq!(three.inside("matching"), [true, false, true]);
    io.in_(three.clients[1].id()).sockets_join("one");
    assert_eq!(three.inside("one"), [false, true, false]);
}

#[tokio::test]
async fn sockets_leave() {
    let three = Three::start().await;
    let io = three.io();
    io.sockets_join(["room1", "room2", "room3"]);
    io.sockets_leave("room1");
    assert_eq!(three.inside("room1"), [false; 3]);
    three.socket(0).join("some");
    three.socket(1).join("some");
    io.in_("some").sockets_leave("room2");
    assert_eq!(three.inside("room2"), [false, false, true]);
    io.in_(three.clients[1].id()).sockets_leave("room3");
    assert_eq!(three.inside("room3"), [true, false, true]);
}

#[tokio::test]
async fn sockets_are_disconnected_and_get_what_was_sent_before() {
    let mut three = Three::start().await;
    three.io().emit("bye", &()).unwrap();
    three.io().disconnect_sockets(false);
    for client in &mut three.clients {
        client.expect("bye").await;
        assert!(matches!(client.recv().await, Incoming::Disconnect));
    }
    for io in &three.servers {
        assert!(io.of("/").is_empty());
    }
}

#[tokio::test]
async fn sockets_are_fetched() {
    let three = Three::start().await;
    let all = three.io().fetch_sockets().await.unwrap();
    let mut ids: Vec<_> = all.iter().map(|it| it.id()).collect();
    let mut expected: Vec<_> = three.clients.iter().map(TestClient::id).collect();
    ids.sort_unstable();
    expected.sort_unstable();
    assert_eq!(ids, expected);

    three.socket(2).set_data(&json!({ "foo": "bar" })).unwrap();
    three.socket(2).join("room1");
    let id = three.clients[2].id();
    let one = three.io().in_(id).fetch_sockets().await.unwrap();
    let [one] = &one[..] else {
        panic!("{} sockets", one.len())
    };
    assert_eq!(one.id(), id);
    assert_eq!(one.data(), &json!({ "foo": "bar" }));
    assert_eq!(one.rooms(), [id.into(), "room1".into()]);
    assert_eq!(one.handshake().query["EIO"], "4");

    let here = three.io().local().fetch_sockets().await.unwrap();
    assert_eq!(here.len(), 1);
    assert_eq!(here[0].id(), three.clients[0].id());
}

// from server to server

#[tokio::test]
async fn the_other_servers_hear_of_an_event() {
    let three = Three::start().await;
    let (sender, mut heard) = tokio::sync::mpsc::unbounded_channel();
    for (number, io) in three.servers.iter().enumerate() {
        let sender = sender.clone();
        io.on_server_side_emit("hello", move |event: ServerSideEvent| {
            let data = event.data::<(String, u8, Value)>().unwrap();
            sender.send((number, data)).unwrap();
            async {}
        });
    }
    let args = ("world", 1, json!({ "a": "2" }));
    three.io().server_side_emit("hello", &args).unwrap();
    let mut numbers = Vec::new();
    for _ in 0..2 {
        let (number, data) = heard.recv().await.unwrap();
        assert_eq!((&*data.0, data.1, data.2), args.clone());
        numbers.push(number);
    }
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2]);
    socketio_test::settle().await;
    assert!(heard.try_recv().is_err());
}

#[tokio::test]
async fn the_other_servers_answer() {
    let three = Three::start().await;
    for (io, number) in three.servers[1..].iter().zip([2u8, 3]) {
        io.on_server_side_emit("hello", move |event: ServerSideEvent| async move {
            event.answer(&number)
        });
    }
    let answers = three.io().server_side_emit_with_ack::<u8>("hello", &());
    let mut answers = answers.await.unwrap();
    answers.sort_unstable();
    assert_eq!(answers, [2, 3]);
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_missing() {
    let cluster = MemoryAdapter::new();
    let server = || {
        let builder = SocketIo::builder().adapter(cluster.clone());
        builder.request_timeout(SHORT).build()
    };
    let three = Three::of([server(), server(), server()]).await;
    three.servers[1].on_server_side_emit("hello", async |event: ServerSideEvent| event.answer(&2));
    let answers = three.io().server_side_emit_with_ack::<u8>("hello", &());
    let expected = ServerSideError::Incomplete {
        responses: vec![2],
        missing: Some(1),
    };
    assert_eq!(answers.await, Err(expected));
}

#[tokio::test]
async fn a_server_that_leaves_is_not_waited_for() {
    let three = Three::start().await;
    three.servers[1].on_server_side_emit("hello", async |event: ServerSideEvent| event.answer(&2));
    let leaving = three.servers[2].clone();
    three.servers[2].on_server_side_emit("hello", move |_: ServerSideEvent| {
        let leaving = leaving.clone();
        tokio::spawn(async move { leaving.close_within(Duration::ZERO).await });
        async {}
    });
    let answers = three.io().server_side_emit_with_ack::<u8>("hello", &());
    assert_eq!(answers.await, Ok(vec![2]));
}
