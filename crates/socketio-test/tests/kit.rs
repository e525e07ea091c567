//! What the kit promises. In no time: the clock is paused.
#![allow(clippy::unwrap_used)]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use serde_json::{Value, json};
use socketio::{
    AckError as ServerAckError, Args, BoxError, ConnectError, DisconnectReason, Handshake, Socket,
    SocketIo, Transport, Version,
    handler::{Auth, Data, State},
};
use socketio_test::{AckError, Incoming, TestClient, settle};
use tokio::time::{Instant, sleep};

/// What handlers saw.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn push(&self, line: impl ToString) {
        self.0.lock().unwrap().push(line.to_string());
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// A server that sends back what it gets, and notes who goes and why.
fn server() -> (SocketIo, Log) {
    let log = Log::default();
    let io = SocketIo::builder().state(log.clone()).build();
    for namespace in ["/", "/chat"] {
        io.of(namespace)
            .on("echo", async |socket: Socket, args: Args| {
                socket.emit("echo", &args)
            })
            .on("ask", async |args: Args| args)
            .on_disconnect(async |State(log): State<Log>, reason: DisconnectReason| {
                log.push(reason)
            });
    }
    (io, log)
}

/// All ways to connect.
async fn everybody(io: &SocketIo) -> Vec<TestClient> {
    let mut clients = Vec::new();
    for version in [Version::V4, Version::V3] {
        for (transport, upgrade) in [
            (Transport::WebSocket, false),
            (Transport::Polling, false),
            (Transport::Polling, true),
        ] {
            let builder = TestClient::builder(io).version(version);
            let builder = builder.transport(transport).upgrade(upgrade);
            clients.push(builder.connect().await.unwrap());
        }
    }
    clients
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_client_sends_and_receives() {
    let (io, _) = server();
    for (mut client, transport) in everybody(&io).await.into_iter().zip(
        [
            Transport::WebSocket,
            Transport::Polling,
            Transport::WebSocket,
        ]
        .repeat(2),
    ) {
        let socket = io.of("/").socket(client.id()).unwrap();
        assert_eq!(socket.conn().transport(), transport);
        assert_eq!(socket.conn().sid().as_str(), client.connection().sid());
        client.emit("echo", &("é😀", 1)).await;
        let event = client.expect("echo").await;
        assert_eq!(event.data::<(String, u8)>(), ("é😀".to_owned(), 1));
        let bytes = Bytes::from_static(&[0, 1, 255]);
        client.emit("echo", &(&bytes, "and", &bytes)).await;
        let (one, _, other): (Bytes, String, Bytes) = client.expect_as("echo").await;
        assert_eq!((&one, &other), (&bytes, &bytes));
        let answer: Bytes = client.emit_with_ack("ask", &bytes).await.unwrap();
        assert_eq!(answer, bytes);
        for number in 0..100 {
            client.emit("echo", &number).await;
        }
        for number in 0..100 {
            assert_eq!(client.expect_as::<u32>("echo").await, number);
        }
        client.expect_nothing().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_on_its_way_survives_the_upgrade() {
    let (io, _) = server();
    io.on_connection(async |socket: Socket| {
        for number in 0..10 {
            socket.emit("count", &number)?;
            sleep(Duration::from_micros(50)).await;
        }
        Ok::<_, BoxError>(())
    });
    for version in [Version::V4, Version::V3] {
        let builder = TestClient::builder(&io).transport(Transport::Polling);
        let client = builder.version(version).upgrade(true).connect().await;
        let mut client = client.unwrap();
        for number in 0..10 {
            assert_eq!(client.expect_as::<u32>("count").await, number);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_kind_of_client_lives_through_heartbeats() {
    let (io, log) = server();
    let mut clients = everybody(&io).await;
    sleep(Duration::from_secs(600)).await;
    for client in &mut clients {
        assert!(!client.connection().is_closed());
        client.emit("echo", &1).await;
        assert_eq!(client.expect_as::<u32>("echo").await, 1);
    }
    assert!(log.take().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_client_without_heartbeat_is_given_up() {
    let real = std::time::Instant::now();
    let (io, log) = server();
    for version in [Version::V4, Version::V3] {
        let builder = TestClient::builder(&io).version(version);
        let mut client = builder.heartbeat(false).connect().await.unwrap();
        let start = Instant::now();
        client.closed().await;
        assert_eq!(start.elapsed().as_secs(), 45);
        assert!(matches!(client.recv().await, Incoming::Closed));
        assert_eq!(log.take(), ["ping timeout"]);
    }
    assert!(real.elapsed() < Duration::from_secs(45));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_come_times_out() {
    let (io, _) = server();
    io.on("ask me", async |socket: Socket| {
        let answer = socket.emit_with_ack::<String>("name?", &());
        let answer = answer.timeout(Duration::from_secs(10)).await;
        socket.emit("answer", &(answer == Err(ServerAckError::Timeout)))?;
        Ok::<_, BoxError>(())
    });
    let mut client = TestClient::connect(&io).await;
    client.emit("ask me", &()).await;
    let question = client.expect("name?").await;
    assert!(question.wants_ack());
    let start = Instant::now();
    assert!(client.expect_as::<bool>("answer").await);
    assert_eq!(start.elapsed().as_secs(), 10);
    // Too late, and no harm.
    question.ack("Anna").await;
    client.expect_nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_joins_nothing_is_closed() {
    let (io, _) = server();
    let builder = TestClient::builder(&io);
    let connection = builder.open().await.unwrap();
    let start = Instant::now();
    connection.closed().await;
    assert_eq!(start.elapsed().as_secs(), 45);
    let refused = connection.join("/").await.unwrap_err();
    assert_eq!(refused.message, "the connection was closed");
}

#[tokio::test(start_paused = true)]
async fn several_namespaces_share_a_connection() {
    for version in [Version::V4, Version::V3] {
        let (io, log) = server();
        let builder = TestClient::builder(&io).version(version);
        let connection = builder.open().await.unwrap();
        settle().await;
        let main = connection.join("/").await.unwrap();
        let mut chat = main.join("/chat").await.unwrap();
        assert_eq!(chat.namespace(), "/chat");
        assert!(io.of("/chat").socket(chat.id()).is_some());
        main.emit("echo", &"main").await;
        chat.emit("echo", &"chat").await;
        assert_eq!(chat.expect_as::<String>("echo").await, "chat");
        chat.expect_nothing().await;

        main.disconnect().await;
        chat.emit("echo", &"still here").await;
        assert_eq!(chat.expect_as::<String>("echo").await, "still here");
        assert_eq!(log.take(), ["client namespace disconnect"]);
        chat.disconnect().await;
        assert_eq!(log.take(), ["client namespace disconnect"]);
        connection.closed().await;
        assert_eq!(io.service().sessions(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_can_leave_and_come_back() {
    let (io, log) = server();
    let main = TestClient::connect(&io).await;
    let chat = main.join("/chat").await.unwrap();
    chat.disconnect().await;
    let mut chat = main.join("/chat").await.unwrap();
    chat.emit("echo", &1).await;
    assert_eq!(chat.expect_as::<u8>("echo").await, 1);
    assert_eq!(log.take(), ["client namespace disconnect"]);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_says_why() {
    let io = SocketIo::builder()
        .engine(|config| {
            config.allow_request(async |request| match request.query().contains("bad=1") {
                true => Err(socketio::Refusal::new("no bad clients")),
                false => Ok(()),
            })
        })
        .build();
    io.middleware(
        async |Auth(auth): Auth<Value>| match auth["token"].as_u64() {
            Some(1) => Ok(()),
            Some(_) => Err(ConnectError::new("wrong token").with_data(&json!({"code": 7}))),
            None => Err(ConnectError::new("no token")),
        },
    );
    let refused = TestClient::builder(&io).connect().await.unwrap_err();
    assert_eq!(refused.message, "no token");
    assert_eq!((refused.data, refused.status), (None, None));
    let builder = TestClient::builder(&io).auth(&json!({"token": 2}));
    let refused = builder.connect().await.unwrap_err();
    assert_eq!(refused.message, "wrong token");
    assert_eq!(refused.data, Some(json!({"code": 7})));
    let builder = TestClient::builder(&io).auth(&json!({"token": 1}));
    let client = builder.connect().await.unwrap();
    let refused = client.join("/nowhere").await.unwrap_err();
    assert_eq!(refused.message, "Invalid namespace");

    let connection = TestClient::builder(&io).open().await.unwrap();
    assert!(connection.join("/").await.is_err());
    let auth = json!({"token": 1});
    assert!(connection.join_with("/", &auth).await.is_ok());

    for transport in [Transport::WebSocket, Transport::Polling] {
        let builder = TestClient::builder(&io).query("bad=1");
        let refused = builder.transport(transport).connect().await.unwrap_err();
        assert_eq!(refused.message, "no bad clients");
        assert_eq!(refused.status, Some(403));
    }
}

#[tokio::test(start_paused = true)]
async fn the_server_sees_the_query_the_headers_and_an_address() {
    let io = SocketIo::builder()
        .engine(|config| config.path("/live/"))
        .build();
    io.on("who am I", async |handshake: Handshake| {
        let header = handshake.header("x-test").unwrap_or_default().to_owned();
        let address = handshake.address().unwrap();
        (
            handshake.query().to_owned(),
            header,
            address.ip().is_loopback(),
        )
    });
    let builder = TestClient::builder(&io)
        .query("a=b")
        .header("X-Test", "yes");
    let client = builder.connect().await.unwrap();
    let answer = client.emit_with_ack("who am I", &()).await;
    let (query, header, is_local): (String, String, bool) = answer.unwrap();
    assert_eq!(query, "EIO=4&transport=websocket&a=b");
    assert_eq!((&*header, is_local), ("yes", true));
}

#[tokio::test(start_paused = true)]
async fn an_old_client_joins_with_a_query() {
    let (io, _) = server();
    io.of("/chat")
        .on("auth", async |Auth(auth): Auth<Value>| auth);
    let builder = TestClient::builder(&io).version(Version::V3);
    let client = builder.namespace("/chat?token=abc").connect().await;
    let client = client.unwrap();
    assert_eq!(client.namespace(), "/chat");
    let auth = client.emit_with_ack("auth", &()).await;
    assert_eq!(auth, Ok(json!({"token": "abc"})));
}

#[tokio::test(start_paused = true)]
async fn whatever_ends_a_connection_is_seen_on_both_sides() {
    for transport in [Transport::WebSocket, Transport::Polling] {
        let (io, log) = server();
        io.on("leave", async |socket: Socket| socket.disconnect());
        io.on("out", async |socket: Socket| socket.disconnect_all());
        let connect = async || {
            let builder = TestClient::builder(&io).transport(transport);
            builder.connect().await.unwrap()
        };

        let mut client = connect().await;
        client.emit("leave", &()).await;
        assert!(matches!(client.recv().await, Incoming::Disconnect));
        assert!(!client.connection().is_closed());
        let mut again = client.join("/").await.unwrap();
        again.emit("out", &()).await;
        assert!(matches!(again.recv().await, Incoming::Disconnect));
        again.closed().await;
        assert_eq!(log.take(), ["server namespace disconnect"; 2]);

        let mut client = connect().await;
        client.close();
        client.closed().await;
        assert!(matches!(client.recv().await, Incoming::Closed));
        settle().await;
        let lines = log.take();
        assert!(lines[0].starts_with("transport "), "{lines:?}");

        drop(connect().await);
        settle().await;
        let lines = log.take();
        assert!(lines[0].starts_with("transport "), "{lines:?}");

        connect().await.disconnect().await;
        assert_eq!(log.take(), ["client namespace disconnect"]);

        let mut client = connect().await;
        io.close().await;
        assert_eq!(log.take(), ["server shutting down"]);
        assert!(matches!(client.recv().await, Incoming::Closed));
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_can_be_missing_or_of_another_shape() {
    let (io, _) = server();
    io.on("out", async |socket: Socket| {
        socket.disconnect_all();
        std::future::pending::<()>().await;
    });
    let client = TestClient::connect(&io).await;
    let answer = client.emit_with_ack::<u32>("ask", &"text").await;
    let error = answer.unwrap_err();
    assert!(matches!(error, AckError::Shape { .. }));
    assert!(
        error.to_string().ends_with(r#"in the answer ["text"]"#),
        "{error}"
    );
    let answer = client.emit_with_ack::<u32>("out", &()).await;
    assert_eq!(answer, Err(AckError::Disconnected));
}

#[tokio::test(start_paused = true)]
#[should_panic = "expected the event \"pong\", but there came the event \"echo\" [1]"]
async fn another_event_than_the_expected_one_is_shown() {
    let (io, _) = server();
    let mut client = TestClient::connect(&io).await;
    client.emit("echo", &1).await;
    client.expect("pong").await;
}

#[tokio::test(start_paused = true)]
#[should_panic = "waited 60s in vain for the event \"pong\" (client "]
async fn an_event_that_does_not_come_is_named() {
    let (io, _) = server();
    TestClient::connect(&io).await.expect("pong").await;
}

#[tokio::test(start_paused = true)]
#[should_panic = "waited 3s in vain for the answer to \"nothing\" (client "]
async fn an_answer_that_does_not_come_is_named() {
    let (io, _) = server();
    let builder = TestClient::builder(&io).time_limit(Duration::from_secs(3));
    let client = builder.connect().await.unwrap();
    let _ = client.emit_with_ack::<()>("nothing", &()).await;
}

#[tokio::test(start_paused = true)]
#[should_panic = "expected nothing, but there came the event \"echo\" [1,\"a\"]"]
async fn an_event_that_nobody_expects_is_shown() {
    let (io, _) = server();
    let mut client = TestClient::connect(&io).await;
    client.emit("echo", &(1, "a")).await;
    client.expect_nothing().await;
}

#[tokio::test(start_paused = true)]
#[should_panic = "in the event \"echo\" [\"a\"]"]
async fn data_of_another_shape_is_shown() {
    let (io, _) = server();
    let mut client = TestClient::connect(&io).await;
    client.emit("echo", "a").await;
    client.expect_as::<u32>("echo").await;
}

#[tokio::test(start_paused = true)]
#[should_panic = "the event \"echo\" cannot be sent: the client is disconnected"]
async fn a_disconnected_client_sends_nothing() {
    let (io, _) = server();
    let client = TestClient::connect(&io).await;
    client.close();
    client.closed().await;
    client.emit("echo", &()).await;
}

#[tokio::test(start_paused = true)]
#[should_panic = "the server waits for no answer to the event \"echo\""]
async fn only_questions_are_answered() {
    let (io, _) = server();
    let mut client = TestClient::connect(&io).await;
    client.emit("echo", &()).await;
    client.expect("echo").await.ack(&()).await;
}

#[tokio::test(start_paused = true)]
async fn handlers_that_take_their_time_take_none() {
    let real = std::time::Instant::now();
    let (io, _) = server();
    io.on("slow", async |Data(seconds): Data<u64>| {
        sleep(Duration::from_secs(seconds)).await;
        "done"
    });
    let client = TestClient::connect(&io).await;
    let start = Instant::now();
    let answer: String = client.emit_with_ack("slow", &50).await.unwrap();
    assert_eq!((&*answer, start.elapsed().as_secs()), ("done", 50));
    assert!(real.elapsed() < Duration::from_secs(50));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_works_with_a_clock_that_runs_too() {
    let (io, log) = server();
    for mut client in everybody(&io).await {
        client.emit("echo", &1).await;
        assert_eq!(client.expect_as::<u32>("echo").await, 1);
        client.expect_nothing().await;
        client.disconnect().await;
        assert_eq!(log.take(), ["client namespace disconnect"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_asks_for_something_while_the_connection_closes_hears_of_it() {
    let io = SocketIo::new();
    for _ in 0..1000 {
        let builder = TestClient::builder(&io).time_limit(Duration::from_secs(5));
        let connection = builder.open().await.unwrap();
        let asking = [(); 8].map(|()| {
            let connection = connection.clone();
            tokio::spawn(async move {
                while !connection.is_closed() {
                    connection.join("/nowhere").await.unwrap_err();
                }
            })
        });
        connection.join("/nowhere").await.unwrap_err();
        connection.close();
        for asking in asking {
            asking.await.unwrap();
        }
    }
}
