//! Attacks over real sockets. Each has a server of its own, on a thread whose allocations are
//! counted, and two bystanders, one on each transport, who talk to it meanwhile: they get all their
//! echoes, in order, and soon, nothing panics, and the server's memory stays below a bound. With
//! `--nocapture` each attack prints what was seen.
#![allow(
    clippy::unwrap_used,
    reason = "clippy sees no tests in functions that tests share"
)]

use std::{
    future::Future,
    io::ErrorKind,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use socketio::{Args, Config, Socket, SocketIo, handler::Data, handler::Params};
use testkit::{
    Polling, Rng, Ws,
    http::statuses,
    panics,
    ws::{BINARY, CONTINUATION, Frame, PING, SAMPLE_KEY, TEXT},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime,
    sync::oneshot,
    time::{sleep, timeout},
};

const PATH: &str = "/socket.io/";
const OPEN: &str = "/socket.io/?EIO=4&transport=polling";
const OPEN_WS: &str = "/socket.io/?EIO=4&transport=websocket";

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// A bystander never waits longer. It is far above what is seen, for machines that are busy.
const PATIENCE: Duration = Duration::from_secs(10);

/// An attack: what it is called, the engine's options, the bound of the server's memory.
struct Attack {
    name: &'static str,
    config: fn(Config) -> Config,
    most_bytes: u64,
}

impl Attack {
    fn new(name: &'static str, most_bytes: u64) -> Self {
        Self {
            name,
            config: |config| config,
            most_bytes,
        }
    }

    /// Runs it. The attack says how often it was carried out.
    fn run<F>(self, attack: impl FnOnce(SocketAddr) -> F)
    where
        F: Future<Output = usize>,
    {
        let Self {
            name,
            config,
            most_bytes,
        } = self;
        panics::watch();
        let (started, addr) = std::sync::mpsc::channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let server = thread::spawn(move || {
            let allocated = allocation_counter::measure(|| {
                let runtime = runtime::Builder::new_current_thread().enable_all().build();
                runtime.unwrap().block_on(async {
                    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                    started.send(listener.local_addr().unwrap()).unwrap();
                    let io = application(config);
                    tokio::select! {
                        served = socketio::serve(listener, io.service()) => served.unwrap(),
                        _ = stopped => {}
                    }
                });
            });
            (allocated.bytes_max, panics::seen_here())
        });
        let addr = addr.recv().unwrap();
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build();
        let (times, seen) = runtime.unwrap().block_on(async {
            let over = Arc::new(AtomicBool::new(false));
            let socket = tokio::spawn(watch_socket(joined(addr).await, over.clone()));
            let polling = tokio::spawn(watch_polling(joined_by_polling(addr).await, over.clone()));
            let times = timeout(Duration::from_secs(60), attack(addr)).await;
            sleep(AFTERWARDS).await;
            over.store(true, Relaxed);
            let socket = socket.await.expect("the bystander on a WebSocket");
            let polling = polling.await.expect("the bystander on polling");
            (times.expect("the attack ends"), [socket, polling])
        });
        drop(stop);
        let (memory, panics) = server.join().expect("the server lives");
        let worst = seen.iter().map(|it| it.worst).max().unwrap_or_default();
        let echoes: usize = seen.iter().map(|it| it.echoes).sum();
        println!(
            "| {name} | {times} | {} KiB | {} ms | 0 of {echoes} |",
            memory / KIB,
            worst.as_millis(),
        );
        assert!(memory <= most_bytes, "{name}: {memory} bytes");
        assert!(seen.iter().all(|it| it.echoes > 0), "{name}: no echoes");
        assert_eq!(panics, 0, "{name}: panics in the server");
    }
}

/// Echoes, sends to rooms, and has namespaces that clients bring into being.
fn application(config: fn(Config) -> Config) -> SocketIo {
    let io = SocketIo::builder()
        .engine(|engine| config(engine.max_queued(MIB as usize)))
        .build();
    io.on("echo", async |socket: Socket, args: Args| {
        socket.emit("echo", &args)
    });
    io.on("join", async |socket: Socket| socket.join("crowd"));
    io.on("shout", async |io: SocketIo, Data(bytes): Data<usize>| {
        io.to("crowd").emit("news", &"x".repeat(bytes))
    });
    io.on("ask", async |socket: Socket| {
        socket
            .timeout(Duration::from_secs(1))
            .emit_with_ack::<u32>("question", &())
            .await
            .map_or(0, |answer| answer)
    });
    io.of_dynamic("/room/{id}")
        .on_connection(async |Params(_): Params<String>| {});
    io
}

/// What a bystander saw. One that loses an echo, or gets another one than the next, panics.
struct Seen {
    worst: Duration,
    echoes: usize,
}

async fn watch_socket(mut ws: Ws, over: Arc<AtomicBool>) -> Seen {
    let mut seen = Seen {
        worst: Duration::ZERO,
        echoes: 0,
    };
    while !over.load(Relaxed) {
        let n = seen.echoes;
        let begin = Instant::now();
        ws.text(&format!(r#"42["echo",{n}]"#)).await;
        loop {
            match &*ws.recv_text().await {
                "2" => ws.text("3").await,
                echo => break assert_eq!(echo, format!(r#"42["echo",{n}]"#)),
            }
        }
        seen.worst = seen.worst.max(begin.elapsed());
        seen.echoes += 1;
        sleep(PAUSE).await;
    }
    seen
}

async fn watch_polling(mut session: Polling, over: Arc<AtomicBool>) -> Seen {
    let mut seen = Seen {
        worst: Duration::ZERO,
        echoes: 0,
    };
    while !over.load(Relaxed) {
        let n = seen.echoes;
        let begin = Instant::now();
        session.post_ok(&format!(r#"42["echo",{n}]"#)).await;
        let mut echoed = false;
        while !echoed {
            for packet in session.poll_text().await.split('\x1e') {
                match packet {
                    "2" => session.post_ok("3").await,
                    echo => {
                        assert_eq!(echo, format!(r#"42["echo",{n}]"#));
                        assert!(!echoed, "{echo} again");
                        echoed = true;
                    }
                }
            }
        }
        seen.worst = seen.worst.max(begin.elapsed());
        seen.echoes += 1;
        sleep(PAUSE).await;
    }
    seen
}

/// A time limit of the server that an attack waits for. A hundred connections are made long before.
const SOON: Duration = Duration::from_secs(4);

/// How long the bystanders go on when the attack is over.
const AFTERWARDS: Duration = Duration::from_millis(200);

/// Between two echoes of a bystander.
const PAUSE: Duration = Duration::from_millis(10);

/// A client that has joined the namespace `/`.
async fn joined(addr: SocketAddr) -> Ws {
    let mut ws = Ws::connect(addr, OPEN_WS).await;
    ws.set_limit(PATIENCE);
    ws.recv_text().await;
    ws.text("40").await;
    ws.recv_text().await;
    ws
}

/// The same on the polling transport.
async fn joined_by_polling(addr: SocketAddr) -> Polling {
    let mut session = Polling::open(addr, PATH, "EIO=4").await;
    session.get_connection().set_limit(PATIENCE);
    session.post_connection().set_limit(PATIENCE);
    session.post_ok("40").await;
    session.poll_text().await;
    session
}

/// A connection of an attacker, who does not mind what becomes of it.
struct Tcp(TcpStream);

impl Tcp {
    async fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    /// `false` when the server has had enough.
    async fn send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        let sent = timeout(PATIENCE, self.0.write_all(bytes.as_ref())).await;
        matches!(sent, Ok(Ok(())))
    }

    /// Reads until the head of a response is complete.
    async fn head(&mut self) {
        self.read_until("\r\n\r\n").await;
    }

    /// Reads until this has come, or the server has closed.
    async fn read_until(&mut self, end: &str) {
        let mut seen = Vec::new();
        while !seen.ends_with(end.as_bytes()) {
            match timeout(PATIENCE, self.0.read_u8()).await {
                Ok(Ok(byte)) => seen.push(byte),
                Ok(Err(error)) if error.kind() == ErrorKind::UnexpectedEof => return,
                Ok(Err(_)) => return,
                Err(_) => panic!("no answer: {}", String::from_utf8_lossy(&seen)),
            }
        }
    }

    /// The server says no more than goodbye.
    async fn is_closed(&mut self, after: &str) {
        let mut answer = [0; 2];
        let read = timeout(PATIENCE, self.0.read_exact(&mut answer)).await;
        read.expect("in time").expect("an answer");
        assert_eq!(answer, [0x88, 0], "{:.40}: a close frame", after);
    }

    /// Reads until the server has closed.
    async fn rest(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        let read = timeout(PATIENCE, self.0.read_to_end(&mut all)).await;
        // A reset is an end, too.
        let _ = read.expect("the server closes");
        all
    }

    /// Whether the server has not closed so far, whatever it has sent.
    fn is_open(&self) -> bool {
        loop {
            match self.0.try_read(&mut [0; 1024]) {
                Ok(1..) => {}
                Ok(0) => return false,
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
    }

    /// Whether the server has not closed: nothing comes, not even the end.
    async fn still_open(&mut self) -> bool {
        let end = timeout(Duration::from_millis(50), self.0.read_u8()).await;
        !matches!(end, Ok(Err(_)))
    }

    /// A WebSocket handshake, and its answer.
    async fn websocket(addr: SocketAddr, url: &str) -> Self {
        let mut tcp = Self::connect(addr).await;
        tcp.send(websocket_request(url)).await;
        tcp.head().await;
        tcp
    }
}

fn websocket_request(url: &str) -> String {
    format!(
        "GET {url} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {SAMPLE_KEY}\r\n\r\n"
    )
}

fn text(text: impl AsRef<str>) -> Vec<u8> {
    Frame::new(TEXT, text.as_ref()).encode()
}

/// What the others are to be compared with.
#[test]
fn nothing() {
    Attack::new("nothing", 2 * MIB).run(async |_| {
        sleep(Duration::from_millis(500)).await;
        0
    });
}

#[test]
fn heads_that_come_slowly() {
    // 32 KiB each: the connection, and the buffers of a head that has just begun
    Attack::new("slow heads", 2 * MIB + 500 * 32 * KIB).run(async |addr| {
        let mut all = Vec::new();
        for _ in 0..500 {
            let mut tcp = Tcp::connect(addr).await;
            tcp.send("GET /socket.io/ HTTP/1.1\r\nHost: a\r\nX-Slow: ")
                .await;
            all.push(tcp);
        }
        for _ in 0..10 {
            for tcp in &mut all {
                tcp.send("x").await;
            }
        }
        500
    });
}

#[test]
fn bodies_that_come_slowly() {
    // nothing is set aside for what is only announced
    Attack::new("slow bodies", 2 * MIB + 200 * 64 * KIB).run(async |addr| {
        let mut all = Vec::new();
        for _ in 0..200 {
            let session = Polling::open(addr, PATH, "EIO=4").await;
            let mut tcp = Tcp::connect(addr).await;
            let url = session.url();
            tcp.send(format!(
                "POST {url} HTTP/1.1\r\nHost: a\r\nContent-Length: 999999\r\n\r\n4"
            ))
            .await;
            all.push((session, tcp));
        }
        for _ in 0..10 {
            for (_, tcp) in &mut all {
                tcp.send("x").await;
            }
        }
        200
    });
}

#[test]
fn silent_connections() {
    Attack::new("silent connections", 2 * MIB + 1000 * 24 * KIB).run(async |addr| {
        let mut all = Vec::new();
        for _ in 0..1000 {
            all.push(Tcp::connect(addr).await);
        }
        sleep(Duration::from_millis(200)).await;
        all.len()
    });
}

#[test]
fn sockets_that_do_not_read() {
    // each may have 1 MiB queued
    Attack::new("WebSockets that do not read", 4 * MIB + 20 * MIB).run(async |addr| {
        let mut all = Vec::new();
        for _ in 0..20 {
            let mut ws = joined(addr).await;
            ws.text(r#"42["join"]"#).await;
            all.push(ws);
        }
        shout(addr, 65_536).await;
        SHOUTS * all.len()
    });
}

#[test]
fn pollers_that_do_not_poll() {
    Attack::new("pollers that do not poll", 4 * MIB + 20 * MIB).run(async |addr| {
        let mut all = Vec::new();
        // for each three quarters of what may wait, and none of it is anybody else's
        let own = format!(r#"42["echo","{}"]"#, "x".repeat(65_536));
        for _ in 0..20 {
            let mut session = Polling::open(addr, PATH, "EIO=4").await;
            session.post_ok("40").await;
            session.post_ok(r#"42["join"]"#).await;
            for _ in 0..12 {
                session.post_ok(&own).await;
            }
            all.push(session);
        }
        shout(addr, 65_536).await;
        for session in &mut all {
            assert_eq!(session.poll().await.status, 400, "too much waited for it");
        }
        (12 + SHOUTS) * all.len()
    });
}

/// Has the server send events with so many bytes to all who have joined.
async fn shout(addr: SocketAddr, bytes: usize) {
    let mut shouter = joined(addr).await;
    for _ in 0..SHOUTS {
        shouter.text(&format!(r#"42["shout",{bytes}]"#)).await;
    }
    shouter.text(r#"42["echo","end"]"#).await;
    while shouter.recv_text().await != r#"42["echo","end"]"# {}
}

const SHOUTS: usize = 400;

#[test]
fn upgrades_that_are_never_finished() {
    let attack = Attack {
        config: |config| config.upgrade_timeout(SOON),
        ..Attack::new("upgrades never finished", 8 * MIB + 300 * 64 * KIB)
    };
    attack.run(async |addr| {
        let probe = text("2probe");
        // many for one session, each left at once
        let session = Polling::open(addr, PATH, "EIO=4").await;
        let url = session.ws_url();
        for n in 0..10_000 {
            let mut tcp = Tcp::connect(addr).await;
            tcp.send(websocket_request(&url)).await;
            if n % 2 == 0 {
                tcp.head().await;
                tcp.send(&probe).await;
            }
        }
        // one for each session, all of them held
        let mut held = Vec::new();
        for n in 0..300 {
            let session = Polling::open(addr, PATH, "EIO=4").await;
            let mut tcp = Tcp::websocket(addr, &session.ws_url()).await;
            if n % 2 == 0 {
                tcp.send(&probe).await;
                tcp.read_until("3probe").await;
            }
            held.push((session, tcp));
        }
        let open = held.iter().filter(|(_, tcp)| tcp.is_open()).count();
        assert!(open >= 100, "{open} at the same time");
        for (session, tcp) in &mut held {
            tcp.rest().await;
            // The session stays where it was.
            session.post_ok("40").await;
            assert!(session.poll_text().await.starts_with("40{"));
        }
        10_300
    });
}

#[test]
fn polls_in_storms() {
    Attack::new("overlapping polls", 8 * MIB).run(async |addr| {
        let mut times = 0;
        for _ in 0..20 {
            let session = Polling::open(addr, PATH, "EIO=4").await;
            let poll = format!("GET {} HTTP/1.1\r\nHost: a\r\n", session.url());
            let more = format!("{poll}\r\n").repeat(9);
            let mut all = Vec::new();
            for _ in 0..50 {
                let mut tcp = Tcp::connect(addr).await;
                tcp.send(format!("{more}{poll}Connection: close\r\n\r\n"))
                    .await;
                all.push(tcp);
                times += 10;
            }
            // The second is one too many, so the first may get an answer, and no other.
            let mut answers = Vec::new();
            for tcp in &mut all {
                let came = tcp.rest().await;
                answers.extend(statuses(&came).into_iter().map(str::to_owned));
            }
            assert_eq!(answers.len(), 500);
            let refused = answers.iter().filter(|it| *it == "400").count();
            let answered = answers.iter().filter(|it| *it == "200").count();
            assert!(
                matches!((refused, answered), (499, 1) | (500, 0)),
                "{answers:?}"
            );
        }
        times
    });
}

#[test]
fn sessions_that_are_opened_and_left() {
    let attack = Attack {
        config: |config| config.max_sessions(500),
        ..Attack::new("sessions opened and left", 2 * MIB + 500 * 16 * KIB)
    };
    attack.run(async |addr| {
        let request = format!("GET {OPEN} HTTP/1.1\r\nHost: a\r\n");
        let more = format!("{request}\r\n").repeat(99);
        let mut answers = Vec::new();
        for _ in 0..50 {
            let mut tcp = Tcp::connect(addr).await;
            tcp.send(format!("{more}{request}Connection: close\r\n\r\n"))
                .await;
            let came = tcp.rest().await;
            answers.extend(statuses(&came).into_iter().map(str::to_owned));
        }
        let opened = answers.iter().filter(|it| *it == "200").count();
        let refused = answers.iter().filter(|it| *it == "503").count();
        // Two are the bystanders'.
        assert_eq!((opened, refused), (498, 4_502));
        5_000
    });
}

#[test]
fn sockets_that_never_answer_a_ping() {
    let attack = Attack {
        config: |config| {
            config
                .ping_interval(Duration::from_secs(1))
                .ping_timeout(SOON)
        },
        ..Attack::new("half-open WebSockets", 2 * MIB + 300 * 32 * KIB)
    };
    attack.run(async |addr| {
        let mut all = Vec::new();
        for _ in 0..300 {
            all.push(Tcp::websocket(addr, OPEN_WS).await);
        }
        let open = all.iter().filter(|it| it.is_open()).count();
        assert!(open >= 100, "{open} at the same time");
        for tcp in &mut all {
            tcp.rest().await;
        }
        all.len()
    });
}

#[test]
fn many_namespaces() {
    Attack::new("namespaces", 4 * MIB + 10 * 100 * 16 * KIB).run(async |addr| {
        for client in 0..10 {
            let mut tcp = Tcp::websocket(addr, OPEN_WS).await;
            let connects = (0..1000).map(|n| text(format!("40/room/{client}-{n},")));
            let bytes: Vec<u8> = connects.flatten().collect();
            tcp.send(bytes).await;
            let refused = format!("44/room/{client}-999,{{\"message\":\"Too many namespaces\"}}");
            tcp.read_until(&refused).await;
            assert!(tcp.still_open().await);
        }
        10_000
    });
}

#[test]
fn pings_in_floods() {
    Attack::new("pings, no pong read", 8 * MIB).run(async |addr| {
        let mut tcp = Tcp::websocket(addr, OPEN_WS).await;
        let flood = Frame::new(PING, [b'x'; 125]).encode().repeat(1000);
        let mut times = 0;
        for _ in 0..100 {
            let sent = timeout(Duration::from_millis(500), tcp.0.write_all(&flood)).await;
            if !matches!(sent, Ok(Ok(()))) {
                break;
            }
            times += 1000;
        }
        times
    });
}

#[test]
fn frames_without_bytes() {
    Attack::new("fragments without bytes", 8 * MIB).run(async |addr| {
        let mut ws = joined(addr).await;
        let part = |opcode, text: &str| Frame {
            fin: false,
            ..Frame::new(opcode, text)
        };
        ws.frame(&part(TEXT, r#"42["echo","#)).await;
        let flood = part(CONTINUATION, "").encode().repeat(10_000);
        for _ in 0..20 {
            ws.raw(&flood).await;
        }
        ws.frame(&Frame::new(CONTINUATION, "1]")).await;
        assert_eq!(ws.recv_text().await, r#"42["echo",1]"#);
        200_000
    });
}

#[test]
fn frames_too_large() {
    // 20 clients at a time, each with a message of almost 1 MB
    Attack::new("giant frames", 4 * MIB + 20 * 3 * MIB).run(async |addr| {
        let mut all = Vec::new();
        for _ in 0..20 {
            let mut tcp = Tcp::websocket(addr, OPEN_WS).await;
            // says 2^62, sends 100 KiB
            let mut frame = vec![0x82, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4];
            frame.resize(100 * 1024, 0);
            tcp.send(frame).await;
            let mut tcp = Tcp::websocket(addr, OPEN_WS).await;
            let almost = Frame {
                fin: false,
                ..Frame::new(BINARY, vec![0; 990_000])
            };
            tcp.send(almost.encode()).await;
            all.push(tcp);
        }
        sleep(Duration::from_millis(200)).await;
        for tcp in &mut all {
            tcp.send(Frame::new(CONTINUATION, vec![0; 100_000]).encode())
                .await;
        }
        40
    });
}

#[test]
fn arguments_in_arguments() {
    Attack::new("deep JSON", 24 * MIB).run(async |addr| {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        let packets = [
            ("42[\"echo\",", "]"),
            ("451-[\"echo\",", "]"),
            ("40/room/1,{\"a\":", "}"),
            ("461-0[\"echo\",", "]"),
        ];
        for (start, end) in packets.iter().cycle().take(40) {
            let mut tcp = Tcp::websocket(addr, OPEN_WS).await;
            tcp.send(text("40")).await;
            let deep = nested(999);
            tcp.send(text(format!(r#"42["echo",{deep}]"#))).await;
            tcp.read_until(&format!(r#"42["echo",{deep}]"#)).await;
            let deep = nested(400_000);
            tcp.send(text(format!("{start}{deep}{end}"))).await;
            tcp.is_closed(start).await;
        }
        40
    });
}

#[test]
fn attachments_that_are_only_announced() {
    Attack::new("placeholders", 16 * MIB).run(async |addr| {
        let placeholder = r#"{"_placeholder":true,"num":0},"#;
        let twice = format!(r#"452-["echo",{}0]"#, placeholder.repeat(2));
        let many = format!(r#"451-["echo",{}0]"#, placeholder.repeat(30_000));
        let mut times = 0;
        for header in [
            r#"4599999999999-["echo"]"#,
            r#"4511-["echo",{"_placeholder":true,"num":0}]"#,
            r#"451-["echo",{"_placeholder":true,"num":99999999}]"#,
            r#"450-["echo"]"#,
            &twice,
            &many,
        ]
        .iter()
        .cycle()
        .take(60)
        {
            let mut tcp = Tcp::websocket(addr, OPEN_WS).await;
            tcp.send(text("40")).await;
            tcp.read_until("\"}").await; // the answer to it
            tcp.send(text(header)).await;
            tcp.is_closed(header).await;
            tcp.send(Frame::new(BINARY, vec![0; 10_000]).encode()).await;
            times += 1;
        }
        times
    });
}

#[test]
fn acks_of_what_was_not_asked() {
    Attack::new("ack ids out of range", 8 * MIB).run(async |addr| {
        let mut ws = joined(addr).await;
        for n in 0..2_000_u64 {
            let id = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            ws.text(&format!("43{id}[1]")).await;
        }
        ws.text(r#"42["echo","alive"]"#).await;
        assert_eq!(ws.recv_text().await, r#"42["echo","alive"]"#);
        // beyond 64 bits, below 0, no number at all
        for id in ["18446744073709551616", "99999999999999999999999", "-1", "x"] {
            let mut ws = joined(addr).await;
            ws.text(&format!("43{id}[1]")).await;
            ws.until_closed().await;
        }
        2_004
    });
}

#[test]
fn random_bytes_at_every_layer() {
    Attack::new("random bytes", 16 * MIB).run(async |addr| {
        let mut rng = Rng::new(11);
        let mut times = 0;
        for _ in 0..200 {
            let size = 1 + rng.below(2000) as usize;
            let bytes = rng.bytes(size);
            // TCP
            Tcp::connect(addr).await.send(&bytes).await;
            // WebSocket
            let mut tcp = Tcp::websocket(addr, OPEN_WS).await;
            tcp.send(&bytes).await;
            // Engine.IO
            let mut tcp = Tcp::websocket(addr, OPEN_WS).await;
            let readable: String = bytes.iter().map(|it| char::from(it & 0x7f)).collect();
            tcp.send(text(&readable)).await;
            // Socket.IO
            let mut tcp = Tcp::websocket(addr, OPEN_WS).await;
            tcp.send(text("40")).await;
            tcp.send(text(format!("4{readable}"))).await;
            tcp.send(Frame::new(BINARY, &bytes).encode()).await;
            // a body
            let mut session = Polling::open(addr, PATH, "EIO=4").await;
            session.post_as("text/plain", &bytes).await;
            times += 5;
        }
        times
    });
}

#[test]
fn sessions_of_others() {
    Attack::new("guessed session ids", 8 * MIB).run(async |addr| {
        let mut rng = Rng::new(12);
        let mut http = testkit::Http::connect(addr).await;
        for n in 0..3_000 {
            let sid: String = rng.bytes(15).iter().map(|it| format!("{it:02x}")).collect();
            let url = format!("{OPEN}&sid={}", &sid[..20]);
            let response = if n % 2 == 0 {
                http.get(&url).await
            } else {
                http.post(&url, "text/plain", r#"42["echo","mine"]"#).await
            };
            assert_eq!(response.status, 400);
            assert_eq!(
                response.text(),
                r#"{"code":1,"message":"Session ID unknown"}"#
            );
        }
        3_000
    });
}

#[test]
fn requests_in_requests() {
    Attack::new("request smuggling", 8 * MIB).run(async |addr| {
        let mut victim = Polling::open(addr, PATH, "EIO=4").await;
        victim.post_ok("40").await;
        victim.poll_text().await;
        let url = victim.url();
        let inner = format!(
            "POST {url} HTTP/1.1\r\nHost: a\r\nContent-Length: 23\r\n\r\n42[\"echo\",\"smuggled!!\"]"
        );
        let chunked = format!("0\r\n\r\n{inner}");
        let length = chunked.len();
        let shapes = [
            // both, in either order
            format!("Content-Length: {length}\r\nTransfer-Encoding: chunked\r\n\r\n{chunked}"),
            format!("Transfer-Encoding: chunked\r\nContent-Length: {length}\r\n\r\n{chunked}"),
            // two lengths
            format!("Content-Length: 0\r\nContent-Length: {length}\r\n\r\n{inner}"),
            format!("Content-Length: 0, {length}\r\n\r\n{inner}"),
            // chunked in a way of its own
            format!("Transfer-Encoding: xchunked\r\n\r\n{chunked}"),
            format!("Transfer-Encoding: chunked, identity\r\n\r\n{chunked}"),
            // a line that goes on in the next one
            format!("X-Long: a\r\n Content-Length: 0\r\n\r\n{inner}"),
            format!("Content-Length : 0\r\n\r\n{inner}"),
            // chunks whose lines end in another way
            format!("Transfer-Encoding: chunked\r\n\r\n0;\n\r\n{inner}"),
            format!("Transfer-Encoding: chunked\r\n\r\n0\n\n{inner}"),
            format!("Transfer-Encoding: chunked\r\n\r\n0\r\r\n{inner}"),
            // a length that is none
            format!("Content-Length: +0\r\n\r\n{inner}"),
            format!("Content-Length: 0x0\r\n\r\n{inner}"),
        ];
        let mut times = 0;
        for shape in &shapes {
            let mut tcp = Tcp::connect(addr).await;
            // one that has no session, so that the first request harms nobody
            tcp.send(format!("POST {OPEN}&sid=x HTTP/1.1\r\nHost: a\r\n{shape}"))
                .await;
            let answers = tcp.rest().await;
            assert_eq!(
                statuses(&answers),
                ["400"],
                "{shape:?} led to {}",
                String::from_utf8_lossy(&answers)
            );
            times += 1;
        }
        // The victim's session heard nothing.
        victim.post_ok(r#"42["echo","own"]"#).await;
        assert_eq!(victim.poll_text().await, r#"42["echo","own"]"#);
        // Without a trick it is a request like any other, or the above would show nothing.
        let mut tcp = Tcp::connect(addr).await;
        tcp.send(format!(
            "POST {OPEN}&sid=x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n{inner}"
        ))
        .await;
        assert_eq!(victim.poll_text().await, r#"42["echo","smuggled!!"]"#);
        times
    });
}

#[test]
fn requests_twice_and_out_of_order() {
    Attack::new("polls and posts behind each other", 8 * MIB).run(async |addr| {
        let mut times = 0;
        for _ in 0..50 {
            let mut session = Polling::open(addr, PATH, "EIO=4").await;
            let url = session.url();
            let post = format!("POST {url} HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n40");
            let mut tcp = Tcp::connect(addr).await;
            // the same CONNECT twice, which is against the protocol, then a poll of what is over
            tcp.send(post.repeat(2)).await;
            tcp.send(format!(
                "GET {url} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
            ))
            .await;
            let answers = tcp.rest().await;
            assert_eq!(statuses(&answers), ["200"; 3]);
            let answers = String::from_utf8_lossy(&answers);
            assert!(answers.contains("\r\n\r\n40{"), "{answers}");
            assert!(answers.ends_with("}\x1e1"), "{answers}");
            assert_eq!(session.poll().await.status, 400);
            times += 3;
        }
        times
    });
}
