//! What a shutdown does, whom it waits for, and what it leaves behind. In no time: the clock is
//! paused.
#![allow(clippy::unwrap_used)]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use socketio::{
    BoxError, ConnectError, DisconnectReason, Server, Socket, SocketIo, Transport,
    adapter::MemoryAdapter, handler::State,
};
use socketio_test::{AckError, Incoming, TestClient, settle};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout},
};

const TIME: Duration = Duration::from_secs(10);
const LONGER: Duration = Duration::from_secs(20);
const BOTH: [Transport; 2] = [Transport::WebSocket, Transport::Polling];

/// What handlers saw, and how many of them have been dropped half way.
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

/// A server whose handlers for disconnections take some time.
fn server(time: Duration) -> (SocketIo, Log) {
    let log = Log::default();
    let io = SocketIo::builder().state((log.clone(), time)).build();
    io.on_disconnect(
        async |State((log, time)): State<(Log, Duration)>, reason: DisconnectReason| {
            log.push(reason);
            sleep(time).await;
            log.push("done");
        },
    );
    (io, log)
}

async fn connect(io: &SocketIo, transport: Transport) -> TestClient {
    let builder = TestClient::builder(io).transport(transport);
    builder.connect().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn everybody_is_told_and_gets_what_was_sent_before() {
    let (io, log) = server(Duration::ZERO);
    let mut clients = Vec::new();
    for transport in BOTH {
        clients.push(connect(&io, transport).await);
    }
    io.emit("last", &"words").unwrap();
    let closed = io.close().await;
    assert!(closed.all_gone());
    assert_eq!(io.of("/").len(), 0);
    for client in &mut clients {
        assert_eq!(client.expect_as::<String>("last").await, "words");
        assert!(matches!(client.recv().await, Incoming::Closed));
    }
    let lines = log.take();
    assert_eq!(lines, ["server shutting down", "done"].repeat(2));
}

#[tokio::test(start_paused = true)]
async fn a_handler_for_disconnections_runs_to_its_end() {
    for transport in BOTH {
        let (io, log) = server(TIME / 2);
        let _client = connect(&io, transport).await;
        let start = Instant::now();
        let closed = io.close_within(TIME).await;
        assert_eq!((closed.cut, start.elapsed().as_secs()), (0, 5));
        assert_eq!(log.take(), ["server shutting down", "done"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_handler_for_disconnections_is_cut_off_when_the_time_is_over() {
    let (io, log) = server(LONGER);
    let clients = [connect(&io, BOTH[0]).await, connect(&io, BOTH[1]).await];
    let start = Instant::now();
    let closed = io.close_within(TIME).await;
    assert_eq!((closed.cut, start.elapsed().as_secs()), (2, 10));
    assert!(!closed.all_gone());
    sleep(LONGER).await;
    assert_eq!(log.take(), ["server shutting down"; 2]);
    drop(clients);
}

#[tokio::test(start_paused = true)]
async fn by_default_a_shutdown_takes_ten_seconds_at_most() {
    let (io, _) = server(LONGER);
    let _client = TestClient::connect(&io).await;
    let start = Instant::now();
    assert_eq!(io.close().await.cut, 1);
    assert_eq!(start.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn handlers_for_disconnections_of_clients_that_have_left_are_waited_for_too() {
    let (io, log) = server(TIME / 2);
    TestClient::connect(&io).await.disconnect().await;
    settle().await;
    assert_eq!(io.service().sessions(), 0);
    assert!(io.close_within(TIME).await.all_gone());
    assert_eq!(log.take(), ["client namespace disconnect", "done"]);
}

#[tokio::test(start_paused = true)]
async fn handlers_for_events_run_to_their_end() {
    let (io, log) = server(Duration::ZERO);
    io.on(
        "work",
        async |State((log, _)): State<(Log, Duration)>, socket: Socket| {
            sleep(TIME / 2).await;
            log.push(format!("worked, connected: {}", socket.connected()));
            socket.emit("worked", &())
        },
    );
    let mut client = TestClient::connect(&io).await;
    client.emit("work", &()).await;
    settle().await;
    assert!(io.close_within(TIME).await.all_gone());
    assert!(matches!(client.recv().await, Incoming::Closed));
    let lines = log.take();
    assert_eq!(
        lines.last().unwrap(),
        "worked, connected: false",
        "{lines:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_an_answer_that_cannot_come_any_more() {
    let (io, log) = server(Duration::ZERO);
    io.on(
        "ask me",
        async |State((log, _)): State<(Log, Duration)>, socket: Socket| {
            let answer = socket.emit_with_ack::<()>("question", &()).await;
            log.push(answer.unwrap_err());
            Ok::<_, BoxError>(())
        },
    );
    let mut client = TestClient::connect(&io).await;
    client.emit("ask me", &()).await;
    client.expect("question").await;
    let start = Instant::now();
    assert!(io.close_within(TIME).await.all_gone());
    assert!(start.elapsed() < Duration::from_secs(1));
    assert!(
        log.take()
            .contains(&"the socket is disconnected".to_owned())
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_in_middleware_is_told_and_not_let_in() {
    for (time, cut) in [(TIME / 2, 0), (LONGER, 1)] {
        for transport in BOTH {
            let (io, log) = server(Duration::ZERO);
            io.middleware(move |State((log, _)): State<(Log, Duration)>| async move {
                sleep(time).await;
                log.push("may come in");
                Ok::<_, ConnectError>(())
            });
            io.on_connection(async |State((log, _)): State<(Log, Duration)>| log.push("is in"));
            let builder = TestClient::builder(&io).transport(transport);
            let connection = builder.open().await.unwrap();
            let (refused, closed) = tokio::join!(connection.join("/"), async {
                settle().await;
                io.close_within(TIME).await
            });
            assert_eq!(refused.unwrap_err().message, "the connection was closed");
            assert_eq!(closed.cut, cut);
            let expected: &[&str] = if cut == 0 { &["may come in"] } else { &[] };
            assert_eq!(log.take(), expected);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_upgrade_that_is_under_way_comes_to_an_end() {
    // The requests of the dance: two polls, a post, a WebSocket. The shutdown comes with any.
    for number in 1..=4 {
        let requests = Arc::new(AtomicUsize::new(0));
        let reached = Arc::new(Notify::new());
        let (count, reach) = (requests.clone(), reached.clone());
        let io = SocketIo::builder()
            .engine(|config| {
                config.on_headers(move |_, _| {
                    if count.fetch_add(1, Ordering::SeqCst) + 1 == number {
                        reach.notify_one();
                    }
                })
            })
            .build();
        let builder = TestClient::builder(&io).transport(Transport::Polling);
        let builder = builder.upgrade(true);
        let (connected, closed) = tokio::join!(builder.connect(), async {
            reached.notified().await;
            io.close_within(TIME).await
        });
        assert!(closed.all_gone(), "at request {number}");
        if let Ok(client) = connected {
            client.closed().await;
        }
        assert_eq!(io.of("/").len(), 0);
        assert!(requests.load(Ordering::SeqCst) >= number);
    }
}

#[tokio::test(start_paused = true)]
async fn new_connections_are_refused_meanwhile_and_welcome_afterwards() {
    let (io, log) = server(TIME / 2);
    let client = TestClient::connect(&io).await;
    let old = io.service();
    let closing = io.clone();
    let close = tokio::spawn(async move { closing.close_within(TIME).await });
    settle().await;
    assert!(client.connection().is_closed());
    for transport in BOTH {
        let builder = TestClient::builder(&io).transport(transport);
        let refused = builder.connect().await.unwrap_err();
        assert_eq!(refused.status, Some(503));
        assert_eq!(refused.message, "Server shutting down");
    }
    assert!(close.await.unwrap().all_gone());
    assert_eq!(log.take(), ["server shutting down", "done"]);

    let mut client = TestClient::connect(&io).await;
    io.emit("hello", &()).unwrap();
    client.expect("hello").await;
    assert!(old.is_closing());
    assert_eq!((old.sessions(), io.service().sessions()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn calls_at_the_same_time_wait_for_the_same() {
    let (io, log) = server(TIME / 2);
    let _client = TestClient::connect(&io).await;
    let (one, other) = tokio::join!(io.close_within(TIME), io.close_within(LONGER));
    assert_eq!((one, other), Default::default());
    assert_eq!(log.take(), ["server shutting down", "done"]);
    assert!(io.close().await.all_gone());
}

#[tokio::test(start_paused = true)]
async fn a_call_that_comes_second_leaves_a_new_service_in_the_cluster() {
    let cluster = MemoryAdapter::new();
    let server = || SocketIo::builder().adapter(cluster.clone()).build();
    let (io, other) = (server(), server());
    let client = TestClient::connect(&io).await;
    let one = tokio::spawn({
        let io = io.clone();
        async move {
            io.close().await;
            io.service()
        }
    });
    let two = tokio::spawn({
        let io = io.clone();
        async move { io.close().await }
    });
    let _service = one.await.unwrap();
    two.await.unwrap();
    assert!(client.connection().is_closed());
    assert_eq!(other.of("/").server_count().await.unwrap(), 2);
    let mut client = TestClient::connect(&io).await;
    other.emit("hello", &()).unwrap();
    client.expect("hello").await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_given_up_can_be_made_again() {
    let (io, log) = server(TIME / 2);
    let _client = TestClient::connect(&io).await;
    let given_up = timeout(Duration::from_secs(1), io.close_within(TIME)).await;
    assert!(given_up.is_err());
    assert!(io.service().is_closing());
    assert!(io.close_within(TIME).await.all_gone());
    assert_eq!(log.take(), ["server shutting down", "done"]);
    assert!(!io.service().is_closing());
}

#[tokio::test(start_paused = true)]
async fn a_handler_can_start_the_shutdown() {
    let (io, log) = server(Duration::ZERO);
    io.on("shut down", async |io: SocketIo| {
        tokio::spawn(async move { io.close().await });
    });
    let client = TestClient::connect(&io).await;
    let answer = client.emit_with_ack::<()>("shut down", &()).await;
    assert!(matches!(answer, Ok(()) | Err(AckError::Disconnected)));
    client.closed().await;
    settle().await;
    assert_eq!(log.take(), ["server shutting down", "done"]);
}

/// Counts how many of it there are.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A server with a state and a handler, and how many of both there are.
fn counted() -> (SocketIo, Arc<AtomicUsize>) {
    let count = Arc::default();
    let io = SocketIo::builder()
        .state(Arc::new(Counted::new(&count)))
        .build();
    let held = Counted::new(&count);
    io.on("e", move || {
        let _ = &held;
        async {}
    });
    (io, count)
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_dropped_without_being_closed_is_freed() {
    let (io, count) = counted();
    let service = io.service();
    drop(io);
    assert_eq!(count.load(Ordering::SeqCst), 2);
    drop(service);
    assert_eq!(count.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_dropped_lives_as_long_as_its_connections() {
    for transport in BOTH {
        let (io, count) = counted();
        let client = connect(&io, transport).await;
        drop(io);
        sleep(Duration::from_secs(60)).await;
        assert!(!client.connection().is_closed());
        assert_eq!(count.load(Ordering::SeqCst), 2);
        drop(client);
        sleep(Duration::from_secs(60)).await;
        assert_eq!(count.load(Ordering::SeqCst), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn the_service_is_the_same_as_long_as_it_has_connections() {
    let (io, _) = counted();
    let client = TestClient::connect(&io).await;
    assert_eq!(io.service().sessions(), 1);
    client.disconnect().await;
    settle().await;
    let service: Server<SocketIo> = io.service();
    let _client = TestClient::connect(&io).await;
    assert_eq!(service.sessions(), 1);
}
