//! What the clients talk to.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use socketio::{
    Args, ConnectError, DisconnectReason, EmitError, Namespace, ParentNamespace, Socket, SocketIo,
    handler::Data,
};
use tokio::time::{Interval, MissedTickBehavior, interval, sleep};

/// Handlers that wait for something now.
pub static IN_FLIGHT: AtomicUsize = AtomicUsize::new(0);

/// What [`CYCLES`](crate::clients::CYCLES) need: namespaces in which clients come and go. Returns
/// the one whose children clients bring into being.
pub fn come_and_go(io: &SocketIo) -> ParentNamespace {
    for name in ["/", "/chat"] {
        application(&io.of(name));
    }
    let made = io.of_dynamic("/made/{name}");
    made.on("rooms", rooms).on("echo", async |args: Args| args);
    made
}

fn application(namespace: &Namespace) {
    namespace.middleware(async |socket: Socket| {
        socket.join("early");
        match socket.handshake().auth().contains("refuse") {
            true => Err(ConnectError::new("no")),
            false => Ok(()),
        }
    });
    namespace.on_connection(async |socket: Socket| {
        // It holds the socket that holds it.
        let own = socket.clone();
        socket.on("own", move || {
            let _ = &own;
            async {}
        });
    });
    namespace.on("rooms", rooms);
    namespace.on("echo", async |args: Args| args);
    // Nobody answers.
    namespace.on("ask", async |socket: Socket| {
        let _waiting = Waiting::new();
        let _ = socket.emit_with_ack::<()>("question", &()).await;
    });
    namespace.on("ask all", async |socket: Socket, Data(()): Data<()>| {
        let _waiting = Waiting::new();
        let everybody = socket.namespace().timeout(Duration::from_millis(50));
        let _ = everybody.emit_with_ack::<()>("question", &()).await;
    });
    namespace.on("slow", async || {
        let _waiting = Waiting::new();
        sleep(Duration::from_millis(100)).await;
    });
    namespace.on("kick", async |socket: Socket| socket.disconnect_all());
    namespace.on_disconnect(async |socket: Socket, _: DisconnectReason| {
        socket.broadcast().emit("left", &socket.id())
    });
}

async fn rooms(socket: Socket, Data(own): Data<String>) -> Result<(), EmitError> {
    socket.join(["all".into(), format!("room {own}")]);
    socket.to("all").emit("joined", &own)?;
    let room = socket.namespace().to(format!("room {own}"));
    room.emit("welcome", &())
}

/// A namespace in which every event is numbered, so that clients can tell when one is missing.
///
/// | event | answer |
/// |---|---|
/// | `say` (…) | `said` with the same arguments |
/// | `echo` (…) | acknowledged with the same arguments |
/// | `now` | acknowledged with the number of the last `tick` |
/// | `shout` (…) | `shouted` with the same arguments to everybody |
/// | `kick` | the client is thrown out |
///
/// Everybody who is here gets `tick` with the next number again and again.
pub fn numbered(namespace: &Namespace, every: Duration) {
    namespace.on_connection(async |socket: Socket| socket.join("everybody"));
    namespace.on("say", async |socket: Socket, args: Args| {
        socket.emit("said", &args)
    });
    namespace.on("echo", async |args: Args| args);
    namespace.on("shout", async |namespace: Namespace, args: Args| {
        namespace.emit("shouted", &args)
    });
    namespace.on("kick", async |socket: Socket| socket.disconnect_all());

    let last = Arc::new(Mutex::new(0_u64));
    let ticks = last.clone();
    namespace.on("now", move || {
        let last = *last.lock().unwrap_or_else(PoisonError::into_inner);
        async move { last }
    });
    let namespace = namespace.clone();
    tokio::spawn(async move {
        let mut timer = timer(every);
        loop {
            timer.tick().await;
            // Under the lock, so that who is told a number has been sent all up to it.
            let mut last = ticks.lock().unwrap_or_else(PoisonError::into_inner);
            *last += 1;
            let sent = namespace.to("everybody").emit("tick", &*last);
            sent.expect("a number can be sent");
        }
    });
}

/// Does not make up for what it has missed.
pub fn timer(every: Duration) -> Interval {
    let mut timer = interval(every);
    timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
    timer
}

/// Counts itself.
struct Waiting;

impl Waiting {
    fn new() -> Self {
        IN_FLIGHT.fetch_add(1, Relaxed);
        Self
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        IN_FLIGHT.fetch_sub(1, Relaxed);
    }
}
