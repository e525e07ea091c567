//! Events through the Socket.IO layer alone, without a transport: for a profiler that counts
//! instructions, and for the allocations.
//!
//! ```sh
//! cargo build --release --example events
//! valgrind --tool=callgrind --toggle-collect='*::turn' target/release/examples/events echo-64 10000
//! ```

use std::{
    alloc::{GlobalAlloc, Layout, System},
    env,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Waker},
    time::Instant,
};

use engineio::{
    Acceptor, Config, Connection, Data, Handshake, Refusal, Server, SessionHandle, Sid, Version,
};
use serde_json::value::RawValue;
use socketio::{Args, Client, Socket, SocketIo, handler::Data as Payload};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments = env::args().skip(1);
    let scenario = arguments.next().expect("a scenario");
    let rounds = arguments
        .next()
        .map_or(10_000, |it| it.parse().expect("a number"));

    // what the benchmark's server does
    let io = SocketIo::new();
    io.on("message", async |socket: Socket, args: Args| {
        socket.emit("message-back", &args)
    });
    io.on(
        "typed",
        async |socket: Socket, Payload(text): Payload<String>| socket.emit("typed-back", &text),
    );
    io.on("message-with-ack", async |args: Args| args);
    io.on("broadcast", async |io: SocketIo, args: Args| {
        io.emit("broadcast", &args)
    });
    io.on(
        "join",
        async |socket: Socket, Payload(room): Payload<String>| {
            socket.join(room);
        },
    );
    io.on(
        "room-broadcast",
        async |io: SocketIo, Payload((room, payload)): Payload<(String, Box<RawValue>)>| {
            io.to(room).emit("room-broadcast", &payload)
        },
    );

    let text = |size| "x".repeat(size);
    let (members, packet): (_, Vec<Data>) = match &*scenario {
        "echo-64" => (1, vec![format!(r#"2["message","{}"]"#, text(64)).into()]),
        "echo-1k" => (1, vec![format!(r#"2["message","{}"]"#, text(1024)).into()]),
        "typed-64" => (1, vec![format!(r#"2["typed","{}"]"#, text(64)).into()]),
        "ack-64" => (
            1,
            vec![format!(r#"21["message-with-ack","{}"]"#, text(64)).into()],
        ),
        "binary-1k" => (1, binary(1024)),
        "binary-64k" => (1, binary(65536)),
        "all-1000" => (
            1000,
            vec![format!(r#"2["broadcast","{}"]"#, text(64)).into()],
        ),
        "room-100" => {
            let event = format!(r#"2["room-broadcast","room 1","{}"]"#, text(64));
            (100, vec![event.into()])
        }
        other => panic!("unknown: {other}"),
    };

    let mut clients = Vec::new();
    let handshake = handshake().await;
    for number in 0..members {
        let session = SessionHandle::detached(Sid::from(&*format!("{number}")), Version::V4);
        let mut client = io.accept(session.clone(), handshake.clone());
        turn(&mut client, &["0".into()]);
        turn(&mut client, &[r#"2["join","room 1"]"#.into()]);
        session.take_sent();
        clients.push((client, session));
    }
    // what is made once
    for _ in 0..10 {
        turn(&mut clients[0].0, &packet);
        assert!(clients.iter().all(|(_, it)| it.take_sent().len() == 1));
    }

    let (mut allocations, mut time) = (0, 0);
    for _ in 0..rounds {
        let (before, start) = (ALLOCATIONS.load(Relaxed), Instant::now());
        turn(&mut clients[0].0, &packet);
        time += start.elapsed().as_nanos();
        allocations += ALLOCATIONS.load(Relaxed) - before;
        for (_, session) in &clients {
            session.take_sent();
        }
    }
    println!(
        "{scenario}: {} ns, {:.2} allocations",
        time / rounds as u128,
        allocations as f64 / rounds as f64
    );
}

/// A message arrives, and the connection has its turn.
#[inline(never)]
fn turn(client: &mut Client, messages: &[Data]) {
    let cx = &mut Context::from_waker(Waker::noop());
    for message in messages {
        client.on_message(message.clone(), cx);
    }
    let _ = client.poll_progress(cx);
}

fn binary(size: usize) -> Vec<Data> {
    let text = r#"51-["message",{"_placeholder":true,"num":0}]"#;
    vec![text.into(), vec![0x80; size].into()]
}

/// The engine makes handshakes of requests only.
async fn handshake() -> Arc<Handshake> {
    struct Nobody;

    impl Acceptor for Nobody {
        type Connection = Self;
        fn accept(&self, _: SessionHandle, _: Arc<Handshake>) -> Self {
            Nobody
        }
    }

    impl Connection for Nobody {
        fn on_message(&mut self, _: Data, _: &mut Context<'_>) {}
    }

    let seen = Arc::new(Mutex::new(None));
    let slot = seen.clone();
    let config = Config::default().allow_request(move |request| {
        *slot.lock().expect("a lock") = Some(request);
        async { Err(Refusal::default()) }
    });
    let request = http::Request::get("/engine.io/?EIO=4&transport=polling");
    let request = request.body(String::new()).expect("a request");
    Server::new(config, Nobody).handle(request).await;
    let request = seen.lock().expect("a lock").take();
    request.expect("a handshake")
}

struct Counting;

#[global_allocator]
static HEAP: Counting = Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is passed on to the system's allocator as it came.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) };
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Relaxed);
        unsafe { System.realloc(pointer, layout, size) }
    }
}
