//! What goes wrong around the server: connections that are cut, handlers that panic or never return,
//! a runtime that goes down.
#![allow(
    clippy::unwrap_used,
    reason = "clippy sees no tests in functions that tests share"
)]

mod common;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use common::{A_MOMENT, Log, PATH, Running};
use serde_json::Value;
use socketio::{
    AckError, ConnectionStateRecovery, Socket, SocketIo,
    handler::{Data, State},
};
use testkit::{
    TIME_LIMIT, Ws, within,
    ws::{Frame, SAMPLE_KEY, TEXT},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime,
    sync::oneshot,
    time::sleep,
};

/// A proxy that cuts each connection when so many bytes have come down it, in the middle of what is
/// just being said.
async fn cutting_proxy(server: SocketAddr, bytes: usize) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let cuts = Arc::new(AtomicUsize::new(0));
    let counter = cuts.clone();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let counter = counter.clone();
            tokio::spawn(async move {
                let mut server = TcpStream::connect(server).await.unwrap();
                let (mut from_client, mut to_client) = client.split();
                let (mut from_server, mut to_server) = server.split();
                let down = async {
                    let mut buffer = vec![0; bytes];
                    let mut left = bytes;
                    while left > 0 {
                        let Ok(read @ 1..) = from_server.read(&mut buffer[..left]).await else {
                            return;
                        };
                        if to_client.write_all(&buffer[..read]).await.is_err() {
                            return;
                        }
                        left -= read;
                    }
                    counter.fetch_add(1, Relaxed);
                };
                tokio::select! {
                    () = down => {}
                    _ = tokio::io::copy(&mut from_client, &mut to_server) => {}
                }
            });
        }
    });
    (addr, cuts)
}

/// A WebSocket that may end anywhere, in the middle of a frame as well.
struct Fragile(TcpStream);

impl Fragile {
    async fn connect(addr: SocketAddr) -> Option<Self> {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        let request = format!(
            "GET {PATH}?EIO=4&transport=websocket HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {SAMPLE_KEY}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.ok()?);
        }
        Some(Self(stream))
    }

    async fn text(&mut self, text: &str) {
        let _ = self.0.write_all(&Frame::new(TEXT, text).encode()).await;
    }

    async fn text_or_end(&mut self) -> Option<String> {
        within(TIME_LIMIT, "a message or the end", async {
            assert_eq!(self.0.read_u8().await.ok()?, 0x81, "a whole text");
            let length = match self.0.read_u8().await.ok()? {
                126 => self.0.read_u16().await.ok()?.into(),
                length => usize::from(length),
            };
            let mut text = vec![0; length];
            self.0.read_exact(&mut text).await.ok()?;
            Some(String::from_utf8(text).unwrap())
        })
        .await
    }
}

#[tokio::test]
async fn who_is_cut_off_again_and_again_loses_nothing() {
    const EVENTS: u64 = 1_000;
    let recovery = ConnectionStateRecovery::new();
    let io = SocketIo::builder()
        .connection_state_recovery(recovery)
        .build();
    let running = Running::start(io).await;
    let (proxy, cuts) = cutting_proxy(running.addr, 1_500).await;
    let io = running.io.clone();
    let (joined, has_joined) = oneshot::channel::<()>();
    let sender = tokio::spawn(async move {
        has_joined.await.unwrap();
        for n in 0..EVENTS {
            io.emit("n", &n).unwrap();
            if n % 10 == 0 {
                sleep(Duration::from_millis(2)).await;
            }
        }
    });
    let mut joined = Some(joined);
    let (mut pid, mut offset) = (Value::Null, Value::Null);
    let mut received = Vec::new();
    while received.len() < EVENTS as usize {
        let Some(mut ws) = Fragile::connect(proxy).await else {
            continue;
        };
        let auth = match pid.is_null() {
            true => String::new(),
            false => serde_json::json!({ "pid": pid, "offset": offset }).to_string(),
        };
        ws.text(&format!("40{auth}")).await;
        while received.len() < EVENTS as usize {
            let Some(packet) = ws.text_or_end().await else {
                break;
            };
            if let Some(open) = packet.strip_prefix("40") {
                let open: Value = serde_json::from_str(open).unwrap();
                assert!(pid.is_null() || pid == open["pid"], "not recovered");
                pid = open["pid"].clone();
                if let Some(joined) = joined.take() {
                    joined.send(()).unwrap();
                }
            } else if let Some(event) = packet.strip_prefix("42") {
                let event: Vec<Value> = serde_json::from_str(event).unwrap();
                received.push(event[1].as_u64().unwrap());
                offset = event[2].clone();
            }
        }
    }
    sender.await.unwrap();
    let cuts = cuts.load(Relaxed);
    assert_eq!(received, (0..EVENTS).collect::<Vec<_>>());
    assert!(cuts >= 10, "{cuts}");
    println!("| a proxy cuts connections | {cuts} | 0 of {EVENTS} lost, all in order |");
}

#[tokio::test]
async fn a_handler_that_panics_harms_nobody_else() {
    let log = Log::default();
    let io = SocketIo::builder().state(log.clone()).build();
    let reports = log.clone();
    io.on_error(move |report| reports.push(report));
    io.on("panic", async || -> u32 { panic!("a mistake") });
    io.on("echo", async |Data(n): Data<u32>| n);
    let running = Running::start(io).await;
    let mut one = running.joined().await;
    let mut other = running.joined().await;
    for n in 0..10 {
        one.text(r#"42["panic"]"#).await;
        // its own connection, too, goes on
        for ws in [&mut one, &mut other] {
            ws.text(&format!(r#"421["echo",{n}]"#)).await;
            assert_eq!(ws.recv_text().await, format!("431[{n}]"));
        }
    }
    for line in log.lines(10).await {
        assert!(line.contains("a mistake"), "{line}");
    }
}

#[tokio::test]
async fn a_handler_that_never_returns_holds_up_its_own_connection_alone() {
    let io = SocketIo::builder().max_in_flight(2).build();
    io.on("stay", async || std::future::pending::<()>().await);
    io.on("echo", async |Data(n): Data<u32>| n);
    let running = Running::start(io).await;
    let mut stuck = running.joined().await;
    let mut other = running.joined().await;
    for _ in 0..2 {
        stuck.text(r#"42["stay"]"#).await;
    }
    stuck.text(r#"421["echo",0]"#).await;
    for n in 0..50 {
        other.text(&format!(r#"421["echo",{n}]"#)).await;
        assert_eq!(other.recv_text().await, format!("431[{n}]"));
    }
    stuck.silence(A_MOMENT).await;
    other.close(Some(1000)).await;
    other.until_closed().await;
    let gone = async {
        while running.io.stats().sessions > 1 {
            sleep(Duration::from_millis(2)).await;
        }
    };
    within(TIME_LIMIT, "the other to go", gone).await;
    let closed = running.io.close_within(Duration::from_millis(200)).await;
    assert_eq!(closed.cut, 1);
    stuck.until_closed().await;
}

#[tokio::test]
async fn an_answer_that_nobody_waits_for_is_forgotten() {
    let io = SocketIo::builder().max_pending_acks(2).build();
    let running = Running::start(io).await;
    let (mut ws, socket) = running.joined_as().await;
    for n in 0..100 {
        let question = socket.emit_with_ack::<u32>("question", &n);
        let question = tokio::time::timeout(Duration::from_millis(1), question).await;
        assert!(question.is_err(), "given up, and its place is free");
        assert!(
            ws.recv_text()
                .await
                .ends_with(&format!(r#"["question",{n}]"#))
        );
    }
}

#[test]
fn a_runtime_that_goes_down_tells_everybody() {
    let (started, start) = std::sync::mpsc::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let log = Log::default();
    let io = SocketIo::builder().state(log.clone()).build();
    io.on("ask", async |socket: Socket, State(log): State<Log>| {
        let answer = socket.emit_with_ack::<u32>("question", &()).await;
        log.push(format!("{answer:?}"));
    });
    let served = io.clone();
    let server = thread::spawn(move || {
        let runtime = runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            started.send(listener.local_addr().unwrap()).unwrap();
            tokio::select! {
                served = socketio::serve(listener, served.service()) => served.unwrap(),
                _ = stopped => {}
            }
        });
    });
    let addr = start.recv().unwrap();
    runtime::Runtime::new().unwrap().block_on(async {
        let mut clients = Vec::new();
        for _ in 0..10 {
            let url = format!("{PATH}?EIO=4&transport=websocket");
            let mut ws = Ws::connect(addr, &url).await;
            ws.recv_text().await;
            ws.text("40").await;
            ws.recv_text().await;
            ws.text(r#"42["ask"]"#).await;
            ws.recv_text().await;
            clients.push(ws);
        }
        let sockets = io.of("/").sockets();
        assert_eq!(sockets.len(), 10);
        drop(stop);
        for ws in &mut clients {
            ws.until_closed().await;
        }
        server.join().expect("no panic");
        // What outlives it can still be used, and waits for nobody.
        assert!(io.of("/").is_empty());
        assert!(!sockets[0].connected());
        let answer = sockets[0].emit_with_ack::<u32>("question", &()).await;
        assert!(matches!(answer, Err(AckError::Disconnected)), "{answer:?}");
        io.emit("news", "x").unwrap();
        io.close_within(Duration::from_secs(1)).await;
    });
}
