//! What single steps cost, without a kernel in the way. `crates/bench/run --micro` runs them.

use std::{
    hint::black_box,
    sync::{Arc, Mutex},
    task::{Context, Waker},
    time::{Duration, Instant},
};

use bytes::Bytes;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use engineio::{Acceptor, Config, Connection, Handshake, SessionHandle, Sid, Version};
use engineio_proto::{
    Data, Dialect, Encoded, Queue, frame,
    payload::{self, Framing},
    session::Transmit,
};
use http::Request;
use http_body_util::Empty;
use socketio::{Args, Socket, SocketIo, handler::Data as Payload};
use socketio_proto::{Decoder, Limits, PacketKind, encode};
use socketio_test::TestClient;
use tokio::runtime::{Builder, Runtime};

criterion_main!(benches);

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(700))
        .sample_size(20)
        .without_plots();
    targets = frames, bodies, codec, dispatch, fan_out, echo
}

const DIALECTS: [(u8, Dialect); 2] = [(3, Dialect::V3), (4, Dialect::V4)];

fn frames(criterion: &mut Criterion) {
    let text = Data::from(format!("4{}", event(64)).as_str());
    for (version, dialect) in DIALECTS {
        criterion.bench_function(&format!("Engine.IO {version}: decode a frame"), |bencher| {
            bencher.iter(|| frame::decode(black_box(text.clone()), &dialect));
        });
        criterion.bench_function(&format!("Engine.IO {version}: encode a frame"), |bencher| {
            let message = event(64);
            bencher.iter(|| {
                let message = Encoded::text(black_box(&message));
                frame::encode(&message, &dialect, |_, bytes| {
                    black_box(bytes);
                });
            });
        });
    }
}

fn bodies(criterion: &mut Criterion) {
    let items: Queue<_> = (0..10)
        .map(|_| Transmit::Message(Encoded::text(&event(64))))
        .collect();
    for (version, dialect) in DIALECTS {
        let name = format!("Engine.IO {version}: encode a body of 10 messages");
        criterion.bench_function(&name, |bencher| {
            bencher.iter_batched(
                || items.clone(),
                |items| payload::encode(items, &dialect, None),
                BatchSize::SmallInput,
            );
        });
        let packet = format!("4{}", event(64));
        let body = match version {
            3 => format!("{}:{packet}", packet.len()).repeat(10),
            _ => vec![packet; 10].join("\u{1e}"),
        };
        let body = Bytes::from(body);
        let name = format!("Engine.IO {version}: decode a body of 10 messages");
        criterion.bench_function(&name, |bencher| {
            bencher.iter(|| {
                let packets = payload::decode(black_box(body.clone()), Framing::Text, &dialect);
                assert_eq!(packets.filter(Result::is_ok).count(), 10);
            });
        });
    }
}

fn codec(criterion: &mut Criterion) {
    for size in [64, 1024] {
        let message = Data::from(event(size).as_str());
        criterion.bench_function(&format!("decode an event of {size} B"), |bencher| {
            let mut decoder = Decoder::new(Limits::default());
            bencher.iter(|| decoder.add(black_box(message.clone())));
        });

        let args = args_of(&message);
        criterion.bench_function(
            &format!("read the argument of an event of {size} B"),
            |bencher| {
                bencher.iter(|| black_box(&args).deserialize::<String>());
            },
        );

        let argument = "x".repeat(size);
        criterion.bench_function(&format!("encode an event of {size} B"), |bencher| {
            bencher.iter(|| encode::event("/", None, "message", black_box(&argument)));
        });
        criterion.bench_function(
            &format!("encode arguments that came, {size} B"),
            |bencher| {
                bencher.iter(|| encode::event("/", None, "message-back", black_box(&args)));
            },
        );
    }

    let text = Data::from(r#"51-["message",{"_placeholder":true,"num":0}]"#);
    let bytes = Data::Binary(vec![0x80; 1024].into());
    criterion.bench_function("decode an event with 1 KiB of bytes", |bencher| {
        let mut decoder = Decoder::new(Limits::default());
        bencher.iter(|| {
            let first = decoder.add(black_box(text.clone()));
            (first, decoder.add(black_box(bytes.clone())))
        });
    });
    let bytes = Bytes::from(vec![0x80; 1024]);
    criterion.bench_function("encode an event with 1 KiB of bytes", |bencher| {
        bencher.iter(|| encode::event("/", None, "message", black_box(&bytes)));
    });
}

/// An event from the bytes of its message to the answer in the mailbox: what a server does between
/// its transport's two ends.
fn dispatch(criterion: &mut Criterion) {
    let runtime = runtime();
    let _entered = runtime.enter();
    let io = SocketIo::new();
    io.on("message", async |socket: Socket, args: Args| {
        socket.emit("message-back", &args)
    });
    io.on(
        "typed",
        async |socket: Socket, Payload((text, number)): Payload<(String, u32)>| {
            socket.emit("typed-back", &(text, number))
        },
    );
    io.on("with-ack", async |args: Args| args);
    io.on("silent", async || ());
    let client = &mut Detached::join(&io, &handshake(&runtime), 0);
    let argument = "x".repeat(64);
    for (name, message) in [
        (
            "an event whose handler does nothing",
            r#"2["silent"]"#.into(),
        ),
        (
            "an event, relayed as it came",
            format!(r#"2["message","{argument}"]"#),
        ),
        (
            "an event, read as text and number",
            format!(r#"2["typed","{argument}",42]"#),
        ),
        (
            "an event with ack",
            format!(r#"21["with-ack","{argument}"]"#),
        ),
    ] {
        let answers = usize::from(!message.contains("silent"));
        let message = Data::from(message.as_str());
        criterion.bench_function(&format!("dispatch {name}"), |bencher| {
            bencher.iter(|| {
                client.take(black_box(message.clone()));
                assert_eq!(client.session.take_sent().len(), answers);
            });
        });
    }
}

/// The sender's part: what it puts into mailboxes.
fn fan_out(criterion: &mut Criterion) {
    let runtime = runtime();
    let _entered = runtime.enter();
    let handshake = handshake(&runtime);
    let argument = "x".repeat(64);
    for members in [1000, 10_000] {
        let io = SocketIo::new();
        let clients: Vec<_> = (0..members)
            .map(|number| Detached::join(&io, &handshake, number))
            .collect();
        criterion.bench_function(&format!("broadcast into {members} mailboxes"), |bencher| {
            bencher.iter_custom(|iterations| {
                let mut time = Duration::ZERO;
                for _ in 0..iterations {
                    let start = Instant::now();
                    io.emit("broadcast", &argument).expect("JSON");
                    time += start.elapsed();
                    for client in &clients {
                        assert_eq!(client.session.take_sent().len(), 1);
                    }
                }
                time
            });
        });
    }
    let io = SocketIo::new();
    let _client = Detached::join(&io, &handshake, 0);
    criterion.bench_function("join and leave a room", |bencher| {
        let socket = io.of("/").sockets().pop().expect("a socket");
        bencher.iter_batched(
            || socket.clone(),
            |socket| {
                socket.join("room");
                socket.leave("room");
            },
            BatchSize::SmallInput,
        );
    });
}

/// Through HTTP, WebSocket and heartbeats too; the client's share is in it: about half.
fn echo(criterion: &mut Criterion) {
    let runtime = runtime();
    let io = SocketIo::new();
    io.on("message", async |socket: Socket, args: Args| {
        socket.emit("message-back", &args)
    });
    let mut client = runtime.block_on(TestClient::connect(&io));
    let argument = "x".repeat(64);
    criterion.bench_function(
        "through the test kit's connection and back, 64 B",
        |bencher| {
            bencher.iter(|| {
                runtime.block_on(async {
                    client.emit("message", &argument).await;
                    client.expect("message-back").await
                })
            });
        },
    );
}

/// A client without a transport: the upper half of a connection.
struct Detached {
    session: SessionHandle,
    client: <SocketIo as Acceptor>::Connection,
}

impl Detached {
    fn join(io: &SocketIo, handshake: &Arc<Handshake>, number: u128) -> Self {
        let sid = Sid::from_uuid(number.to_be_bytes());
        let session = SessionHandle::detached(sid, Version::V4);
        let client = io.accept(session.clone(), handshake.clone());
        let mut joined = Self { session, client };
        joined.take("0".into());
        let answer = joined.session.take_sent();
        assert_eq!(answer.len(), 1, "the answer to CONNECT");
        joined
    }

    /// What the driver does with a message.
    fn take(&mut self, message: Data) {
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(self.client.poll_ready(cx).is_ready());
        self.client.on_message(message, cx);
        assert!(self.client.poll_progress(cx).is_ready());
    }
}

/// What the server keeps of a request; only a request makes one.
fn handshake(runtime: &Runtime) -> Arc<Handshake> {
    #[derive(Default)]
    struct Keeper(Arc<Mutex<Option<Arc<Handshake>>>>);

    struct Nothing;

    impl Acceptor for Keeper {
        type Connection = Nothing;

        fn accept(&self, _: SessionHandle, handshake: Arc<Handshake>) -> Nothing {
            *self.0.lock().expect("nobody panics") = Some(handshake);
            Nothing
        }
    }

    impl Connection for Nothing {
        fn on_message(&mut self, _: Data, _: &mut Context<'_>) {}
    }

    let kept = Keeper::default();
    let handshake = kept.0.clone();
    let server = engineio::Server::new(Config::default(), kept);
    let request = Request::get("/engine.io/?EIO=4&transport=polling");
    let request = request.body(Empty::<Bytes>::new()).expect("a request");
    runtime.block_on(server.handle(request));
    let kept = handshake.lock().expect("nobody panics").take();
    kept.expect("a session has opened")
}

fn runtime() -> Runtime {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime")
}

/// As Engine.IO delivers it.
fn event(size: usize) -> String {
    format!(r#"2["message","{}"]"#, "x".repeat(size))
}

fn args_of(message: &Data) -> Args {
    let packet = Decoder::new(Limits::default()).add(message.clone());
    match packet.map(|packet| packet.map(|it| it.kind)) {
        Ok(Some(PacketKind::Event { args, .. })) => args,
        other => panic!("{other:?}"),
    }
}
