//! What single steps cost, without a kernel in the way. `crates/bench/run --micro` runs them.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use bytes::Bytes;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use engineio_proto::{
    Data, Dialect, Encoded, frame,
    payload::{self, Framing},
    session::Transmit,
};
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
    targets = engine_codec, codec, echo, fan_out
}

fn engine_codec(criterion: &mut Criterion) {
    let message = Data::from(format!("4{}", event(64)).as_str());
    criterion.bench_function("Engine.IO: decode a frame", |bencher| {
        bencher.iter(|| frame::decode(black_box(message.clone()), &Dialect::V4));
    });

    let items: Vec<_> = (0..10)
        .map(|_| Transmit::Message(Encoded::text(&event(64))))
        .collect();
    criterion.bench_function("Engine.IO: encode a body of 10 messages", |bencher| {
        bencher.iter(|| payload::encode(black_box(&items), &Dialect::V4, None));
    });

    let body = payload::encode(&items, &Dialect::V4, None).bytes;
    criterion.bench_function("Engine.IO: decode a body of 10 messages", |bencher| {
        bencher.iter(|| {
            let packets = payload::decode(black_box(body.clone()), Framing::Text, &Dialect::V4);
            assert_eq!(packets.count(), 10);
        });
    });
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

/// The client's share is in it: about half.
fn echo(criterion: &mut Criterion) {
    let runtime = runtime();
    let io = SocketIo::new();
    io.on("message", async |socket: Socket, args: Args| {
        socket.emit("message-back", &args)
    });
    io.on(
        "typed",
        async |socket: Socket, Payload(text): Payload<String>| socket.emit("typed-back", &text),
    );
    let mut client = runtime.block_on(TestClient::connect(&io));
    let argument = "x".repeat(64);
    for (name, event, answer) in [
        (
            "through the server and back, 64 B",
            "message",
            "message-back",
        ),
        (
            "through the server and back, read as text",
            "typed",
            "typed-back",
        ),
    ] {
        criterion.bench_function(name, |bencher| {
            bencher.iter(|| {
                runtime.block_on(async {
                    client.emit(event, &argument).await;
                    client.expect(answer).await
                })
            });
        });
    }
}

/// Only the sender's part: what it puts into the queues, and whom it wakes.
fn fan_out(criterion: &mut Criterion) {
    let runtime = runtime();
    let io = SocketIo::new();
    let argument = "x".repeat(64);
    let mut clients = Vec::new();
    for _ in 0..MEMBERS {
        clients.push(runtime.block_on(TestClient::connect(&io)));
    }
    criterion.bench_function(
        &format!("broadcast to {MEMBERS}, the sender's part"),
        |bencher| {
            bencher.iter_custom(|iterations| {
                runtime.block_on(async {
                    let mut time = Duration::ZERO;
                    for _ in 0..iterations {
                        let start = Instant::now();
                        io.emit("broadcast", &argument).expect("JSON");
                        time += start.elapsed();
                        for client in &mut clients {
                            client.expect("broadcast").await;
                        }
                    }
                    time
                })
            });
        },
    );
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

const MEMBERS: usize = 1000;

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
