//! A whole server in memory, and clients on pipes that do what the input says.
//!
//! The first byte chooses whether the server recovers connections. Then come steps, each between bytes
//! 254: what to do, the number of a connection (of which there are eight, each opened when it is first
//! written to), and the rest:
//!
//! | | does | the rest |
//! |---|---|---|
//! | `x` | writes | the bytes |
//! | `g` | makes a GET | the query |
//! | `p` | makes a POST | the query, a blank, the body |
//! | `o` | makes a POST of bytes | the query, a blank, the body |
//! | `u` | asks for a WebSocket | the query |
//! | `m` | sends a WebSocket text | its payload |
//! | `b` | sends a WebSocket binary message | its payload |
//! | `f` | sends a WebSocket frame | its first byte, its payload |
//! | `e` | ends what it writes | |
//! | `c` | breaks off | |
//! | `t` | waits | as many times 100 ms as its first byte says |
//!
//! `$` and the number of a connection stand for the id of the session that it has opened; `@` for what its
//! client is told for coming back, `#` for the offset of the last event that it got.

use std::{
    cell::Cell,
    convert::Infallible,
    future::poll_fn,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    task::Poll,
    time::Duration,
};

use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use socketio::{
    Args, ConnectError, ConnectionStateRecovery, HttpCompression, Peer, Server, Socket, SocketIo,
    handler::{Auth, Params},
};
use testkit::ws::{BINARY, Frame, TEXT};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream, ReadBuf},
    runtime,
    task::JoinSet,
    time::{sleep, timeout},
};

/// Nothing panics; each request gets an answer of a bounded length, or its connection is closed; what the
/// server says is HTTP and WebSocket; who stands by gets its echoes; and when all clients have fallen
/// silent, nothing of them is left, and the server serves the next.
pub fn run(input: &[u8]) {
    let Some((&choice, steps)) = input.split_first() else {
        return;
    };
    let mut runtime = runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(scene(choice, steps));
}

async fn scene(choice: u8, steps: &[u8]) {
    let io = application(choice & 1 == 1);
    let mut server = Serving {
        service: io.service(),
        connections: JoinSet::new(),
    };
    let mut bystander = Bystander::join(&mut server).await;
    let mut clients: [Option<Client>; 8] = Default::default();
    let steps = steps.split(|byte| *byte == 254).take(MAX_STEPS);
    for step in steps {
        let [action, number, rest @ ..] = step else {
            continue;
        };
        let number = usize::from(number & 7);
        if *action == b't' {
            let tenths = rest.first().copied().unwrap_or(10);
            pass(Duration::from_millis(100) * tenths.into(), &mut bystander).await;
        } else if *action == b'c' {
            if let Some(client) = clients[number].take() {
                client.check();
            }
        } else {
            let rest = with_ids(rest, &clients);
            let client = clients[number].get_or_insert_with(|| Client::new(&mut server));
            client.act(*action, &rest).await;
        }
        sleep(SETTLE).await;
        for client in clients.iter_mut().flatten() {
            client.read().await;
        }
    }
    bystander.echo().await;
    drop(bystander);

    let reading: Vec<_> = clients
        .into_iter()
        .flatten()
        .map(|client| tokio::spawn(client.read_to_end()))
        .collect();
    for client in reading {
        let client = timeout(PATIENCE, client).await;
        client
            .expect("the connection is closed")
            .expect("a reader")
            .check();
    }
    let ended = async { while server.connections.join_next().await.is_some() {} };
    timeout(PATIENCE, ended)
        .await
        .expect("the server lets go of its connections");
    // sessions that poll have no connection of their own
    sleep(PATIENCE).await;
    let stats = io.stats();
    assert_eq!(
        (stats.sessions, stats.sockets, stats.queued_bytes),
        (0, 0, 0)
    );

    Bystander::join(&mut server).await.echo().await;
}

/// Lets time pass; who stands by stays there.
async fn pass(mut time: Duration, bystander: &mut Bystander) {
    while !time.is_zero() {
        let step = time.min(Duration::from_secs(10));
        sleep(step).await;
        bystander.heartbeat().await;
        time -= step;
    }
}

/// What the server has told clients, in place of `$0`, `@0` and `#0`.
fn with_ids(bytes: &[u8], clients: &[Option<Client>; 8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + 32);
    let mut bytes = bytes.iter().copied().peekable();
    while let Some(byte) = bytes.next() {
        match bytes.peek() {
            Some(digit @ b'0'..=b'7') if matches!(byte, b'$' | b'@' | b'#') => {
                let client = clients[usize::from(digit - b'0')].as_ref();
                let told = client.and_then(|client| match byte {
                    b'$' => client
                        .told(b"0{\"sid\":\"")
                        .or(client.told(b"0{\\\"sid\\\":\\\"")),
                    b'@' => client.told(b"\"pid\":\""),
                    _ => client.offset(),
                });
                out.extend(told.unwrap_or(b"none"));
                bytes.next();
            }
            _ => out.push(byte),
        }
    }
    out
}

/// An application that does a bit of everything.
fn application(recovery: bool) -> SocketIo {
    let mut builder = SocketIo::builder().engine(|config| {
        config
            .max_payload(10_000)
            .max_packets(100)
            .max_queued(100_000)
            .http_compression(Some(HttpCompression::default().threshold(200)))
    });
    if recovery {
        builder = builder.connection_state_recovery(ConnectionStateRecovery::default());
    }
    let io = builder.build();
    serve(&io.of("/"));
    serve(&io.of("/custom"));
    io.of("/locked")
        .middleware(
            async |Auth(auth): Auth<serde_json::Value>| match auth["token"] == "key" {
                true => Ok(()),
                false => Err(ConnectError::new("wrong token").with_data(&auth)),
            },
        );
    io.of_dynamic("/room/{id}")
        .on_connection(async |socket: Socket, Params(id): Params<String>| socket.emit("id", &id));
    io
}

fn serve(namespace: &socketio::Namespace) {
    namespace.on("message", async |socket: Socket, args: Args| {
        socket.emit("message-back", &args)
    });
    namespace.on("ack", async |args: Args| args);
    namespace.on("ask", async |socket: Socket, args: Args| {
        let asked = socket.timeout(Duration::from_secs(1));
        asked
            .emit_with_ack::<serde_json::Value>("question", &args)
            .await
            .ok()
    });
    namespace.on("join", async |socket: Socket| socket.join("crowd"));
    namespace.on("leave", async |socket: Socket| socket.leave("crowd"));
    namespace.on("shout", async |socket: Socket, args: Args| {
        socket.namespace().to("crowd").emit("shout", &args)
    });
    namespace.on("whisper", async |socket: Socket, args: Args| {
        socket.volatile().emit("whisper", &args)
    });
    namespace.on("wait", async || sleep(Duration::from_secs(3)).await);
    namespace.on("kick", async |socket: Socket| socket.disconnect());
    namespace.on("drop", async |socket: Socket| socket.disconnect_all());
}

struct Serving {
    service: Server<SocketIo>,
    connections: JoinSet<()>,
}

impl Serving {
    /// As `socketio::serve` does with TCP.
    fn connect(&mut self) -> DuplexStream {
        let (outside, inside) = tokio::io::duplex(PIPE);
        let service = self.service.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(Peer::new(ADDRESS));
            let service = service.clone();
            async move { Ok::<_, Infallible>(service.handle(request).await) }
        });
        let connection = http1::Builder::new()
            .header_read_timeout(Duration::from_secs(30))
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(inside), service)
            .with_upgrades();
        self.connections
            .spawn(async move { drop(connection.await) });
        outside
    }
}

/// A client, which may do anything.
struct Client {
    pipe: DuplexStream,
    output: Vec<u8>,
    /// The server has ended what it says.
    ended: bool,
    /// How many well-formed requests it has made, and whether nothing else.
    requests: usize,
    is_well_formed: bool,
}

impl Client {
    fn new(server: &mut Serving) -> Self {
        Self {
            pipe: server.connect(),
            output: Vec::new(),
            ended: false,
            requests: 0,
            is_well_formed: true,
        }
    }

    async fn act(&mut self, action: u8, rest: &[u8]) {
        let (query, body) = match rest.iter().position(|byte| *byte == b' ') {
            Some(blank) => (&rest[..blank], &rest[blank + 1..]),
            None => (rest, &[][..]),
        };
        match action {
            b'x' => {
                self.is_well_formed = false;
                self.write(rest).await;
            }
            b'g' => self.request("GET", query, "", b"").await,
            b'p' => {
                self.request("POST", query, "Content-Type: text/plain\r\n", body)
                    .await
            }
            b'o' => {
                let header = "Content-Type: application/octet-stream\r\n";
                self.request("POST", query, header, body).await;
            }
            b'u' => self.request("GET", query, UPGRADE, b"").await,
            b'm' => self.frame(&Frame::new(TEXT, rest)).await,
            b'b' => self.frame(&Frame::new(BINARY, rest)).await,
            b'f' => {
                let first = rest.first().copied().unwrap_or_default();
                let frame = Frame {
                    fin: first & 128 != 0,
                    reserved: first >> 4 & 7,
                    ..Frame::new(first & 15, rest.get(1..).unwrap_or_default())
                };
                self.frame(&frame).await;
            }
            b'e' => drop(self.pipe.shutdown().await),
            _ => {}
        }
    }

    async fn request(&mut self, method: &str, query: &[u8], headers: &str, body: &[u8]) {
        let is_plain = |byte: &u8| matches!(byte, b'!'..=b'~') && *byte != b'#';
        self.is_well_formed &= query.iter().all(is_plain);
        self.requests += 1;
        let mut request = format!("{method} /socket.io/?").into_bytes();
        request.extend_from_slice(query);
        request.extend_from_slice(b" HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: gzip\r\n");
        request.extend_from_slice(headers.as_bytes());
        if method == "POST" {
            request.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
        }
        request.extend_from_slice(b"\r\n");
        request.extend_from_slice(body);
        self.write(&request).await;
    }

    /// Before there is a WebSocket, it is nothing that a server would understand.
    async fn frame(&mut self, frame: &Frame) {
        self.is_well_formed &= self.is_websocket();
        self.write(&frame.encode()).await;
    }

    /// As much as the server takes by and by.
    async fn write(&mut self, bytes: &[u8]) {
        let _ = timeout(Duration::from_secs(1), self.pipe.write_all(bytes)).await;
    }

    fn is_websocket(&self) -> bool {
        let rest = self.output.split(|byte| *byte == b'\r');
        rest.into_iter()
            .any(|it| it.ends_with(b"HTTP/1.1 101 Switching Protocols"))
    }

    /// What is there to be read.
    async fn read(&mut self) {
        let mut space = [0; 4096];
        while !self.ended {
            let mut buf = ReadBuf::new(&mut space);
            let ready = poll_fn(
                |cx| match Pin::new(&mut self.pipe).poll_read(cx, &mut buf) {
                    Poll::Ready(result) => Poll::Ready(Some(result)),
                    Poll::Pending => Poll::Ready(None),
                },
            );
            match ready.await {
                None => return,
                Some(Ok(())) if !buf.filled().is_empty() => self.output.extend(buf.filled()),
                Some(_) => self.ended = true,
            }
        }
    }

    async fn read_to_end(mut self) -> Self {
        let _ = self.pipe.read_to_end(&mut self.output).await;
        self.ended = true;
        self
    }

    /// What stands between this and a quote, for the first time: a session's id before a socket's.
    fn told(&self, before: &[u8]) -> Option<&[u8]> {
        let at = self
            .output
            .windows(before.len())
            .position(|it| it == before);
        let mut parts = self.output[at? + before.len()..].split(|it| matches!(it, b'"' | b'\\'));
        parts.next()
    }

    /// The last argument of the last event.
    fn offset(&self) -> Option<&[u8]> {
        let end = self.output.windows(2).rposition(|it| it == b"\"]")?;
        self.output[..end].rsplit(|it| *it == b'"').next()
    }

    /// What the server has said so far.
    fn check(&self) {
        assert!(
            self.output.len() < MAX_OUTPUT,
            "{} bytes",
            self.output.len()
        );
        if !self.is_well_formed {
            assert!(self.output.is_empty() || self.output.starts_with(b"HTTP/1."));
            return;
        }
        let mut rest = &self.output[..];
        let mut responses = 0;
        while !rest.is_empty() {
            let Some(head) = rest.windows(4).position(|it| it == b"\r\n\r\n") else {
                panic!("half a head: {:?}", rest.escape_ascii().to_string());
            };
            let text = str::from_utf8(&rest[..head]).expect("a head");
            rest = &rest[head + 4..];
            responses += 1;
            let status = text.strip_prefix("HTTP/1.1 ").expect("a status line");
            if status.starts_with("101 ") {
                check_frames(rest, self.ended);
                break;
            }
            let length = text.lines().find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                name.eq_ignore_ascii_case("content-length").then_some(value)
            });
            let length = length.map_or(0, |it| it.parse().expect("a length"));
            rest = rest.get(length..).expect("a whole body");
        }
        assert!(responses <= self.requests, "an answer to nothing");
    }
}

/// What a server may say by WebSocket.
fn check_frames(mut rest: &[u8], ended: bool) {
    while let Some((payload, opcode, tail)) = cut_frame(rest) {
        match opcode {
            TEXT => {
                let text = str::from_utf8(payload).expect("UTF-8");
                let first = text.bytes().next().expect("a packet");
                assert!(matches!(first, b'0'..=b'6' | b'b'), "{text}");
            }
            BINARY => {}
            8..=10 => assert!(payload.len() <= 125),
            _ => panic!("opcode {opcode}"),
        }
        rest = tail;
    }
    assert!(rest.is_empty() || !ended, "half a frame");
}

/// A server's frame: its payload, its opcode, and what comes after it.
fn cut_frame(bytes: &[u8]) -> Option<(&[u8], u8, &[u8])> {
    let [first, length, rest @ ..] = bytes else {
        return None;
    };
    assert_eq!(first & 0xF0, 0x80, "not whole, or with reserved bits");
    let (length, rest) = match length {
        126 => {
            let (length, rest) = rest.split_first_chunk()?;
            (u16::from_be_bytes(*length).into(), rest)
        }
        127 => {
            let (length, rest) = rest.split_first_chunk()?;
            (u64::from_be_bytes(*length) as usize, rest)
        }
        128.. => panic!("masked"),
        length => (usize::from(*length), rest),
    };
    let (payload, rest) = rest.split_at_checked(length)?;
    Some((payload, first & 0x0F, rest))
}

/// A client that does nothing wrong.
struct Bystander {
    pipe: DuplexStream,
    input: Vec<u8>,
    next: Cell<u32>,
}

impl Bystander {
    async fn join(server: &mut Serving) -> Self {
        let mut it = Self {
            pipe: server.connect(),
            input: Vec::new(),
            next: Cell::new(0),
        };
        let request =
            format!("GET /socket.io/?{QUERY} HTTP/1.1\r\nHost: localhost\r\n{UPGRADE}\r\n");
        it.pipe
            .write_all(request.as_bytes())
            .await
            .expect("the server reads");
        while !it.input.ends_with(b"\r\n\r\n") {
            it.input
                .push(it.pipe.read_u8().await.expect("the server answers"));
        }
        assert!(it.input.starts_with(b"HTTP/1.1 101 "));
        it.input.clear();
        assert!(it.receive().await.starts_with("0{\"sid\":"));
        it.send(TEXT, b"40").await;
        assert!(it.receive().await.starts_with("40{\"sid\":"));
        it
    }

    async fn send(&mut self, opcode: u8, payload: &[u8]) {
        let frame = Frame::new(opcode, payload).encode();
        self.pipe.write_all(&frame).await.expect("the server reads");
    }

    /// The next text, in time.
    async fn receive(&mut self) -> String {
        let next = timeout(Duration::from_secs(1), self.next_frame()).await;
        let (opcode, payload) = next.expect("an answer in time");
        assert_eq!(opcode, TEXT);
        String::from_utf8(payload).expect("UTF-8")
    }

    async fn next_frame(&mut self) -> (u8, Vec<u8>) {
        loop {
            if let Some((payload, opcode, rest)) = cut_frame(&self.input) {
                let (payload, length) = (payload.to_vec(), self.input.len() - rest.len());
                self.input.drain(..length);
                return (opcode, payload);
            }
            let read = self.pipe.read_buf(&mut self.input).await;
            assert!(
                read.expect("the server writes") > 0,
                "the bystander is thrown out"
            );
        }
    }

    /// Answers the pings that have come.
    async fn heartbeat(&mut self) {
        while let Ok((_, packet)) = timeout(SETTLE, self.next_frame()).await {
            assert_eq!(packet, b"2");
            self.send(TEXT, b"3").await;
        }
    }

    async fn echo(&mut self) {
        self.heartbeat().await;
        for _ in 0..2 {
            let number = self.next.get();
            self.next.set(number + 1);
            let event = format!("42[\"message\",{number}]");
            self.send(TEXT, event.as_bytes()).await;
            let echo = self.receive().await;
            // behind it comes an offset, if connections are recovered
            let rest = echo.strip_prefix(&format!("42[\"message-back\",{number}"));
            assert!(rest.is_some_and(|it| it.starts_with([',', ']'])), "{echo}");
        }
        self.send(TEXT, b"451-7[\"ack\",{\"_placeholder\":true,\"num\":0}]")
            .await;
        self.send(BINARY, b"\x01\x02").await;
        assert_eq!(
            self.receive().await,
            "461-7[{\"_placeholder\":true,\"num\":0}]"
        );
        assert_eq!(self.next_frame().await, (BINARY, vec![1, 2]));
    }
}

const QUERY: &str = "EIO=4&transport=websocket";
const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 4711);

/// Steps of one input.
const MAX_STEPS: usize = 100;
/// Bytes that fit into a pipe.
const PIPE: usize = 64 * 1024;
/// With the clock paused, it takes this long when there is nothing left to do.
const SETTLE: Duration = Duration::from_millis(1);
/// Longer than any time limit of the server.
const PATIENCE: Duration = Duration::from_secs(200);
/// What steps of a few kilobytes can make the server say.
const MAX_OUTPUT: usize = 10_000_000;
