//! The server, a process of its own.

use std::{
    io::{self, BufRead as _},
    net::Ipv4Addr,
    panic, process,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread,
};

use socketio::{
    ConnectionStateRecovery, SocketIo,
    conn::{PacketKind, Transmit},
};
use tokio::{net::TcpListener, runtime::Handle};

use crate::{
    application::{self, IN_FLIGHT},
    heap::Live,
    times::Times,
};

static RECEIVED: AtomicU64 = AtomicU64::new(0);
static SENT: AtomicU64 = AtomicU64::new(0);

/// Serves until its standard input ends. Each line there is answered with the [`Counts`] of the
/// moment.
pub async fn run(times: Times) {
    // Who made it panic might not even mind; the run has to.
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        report(info);
        process::abort();
    }));
    let io = SocketIo::builder()
        .connection_state_recovery(
            ConnectionStateRecovery::new().max_disconnection_duration(times.recovery),
        )
        // Clients make thousands, of which there may be 10,000.
        .cleanup_empty_child_namespaces(true)
        .connect_timeout(times.ping_interval + times.ping_timeout)
        .engine(|config| {
            config
                .ping_interval(times.ping_interval)
                .ping_timeout(times.ping_timeout)
                .upgrade_timeout(times.upgrade)
        })
        .build();
    application::come_and_go(&io);
    application::numbered(&io.of("/talk"), times.tick);
    application::numbered(&io.of("/storm"), times.storm_tick);
    application::numbered(&io.of("/flood"), times.storm_tick);
    // Hostile clients see to it that there is always something.
    io.on_error(|_| {});
    io.on_packet(|_, packet| {
        if packet.kind == PacketKind::Message {
            RECEIVED.fetch_add(1, Relaxed);
        }
    });
    io.on_packet_create(|_, packet| {
        if matches!(packet, Transmit::Message(_)) {
            SENT.fetch_add(1, Relaxed);
        }
    });

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
    let listener = listener.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let handle = Handle::current();
    let service = io.service();
    thread::spawn(move || {
        println!("{port}");
        for _ in io::stdin().lock().lines() {
            println!("{}", Counts::now(&io, &handle).line());
        }
        drop(end);
    });
    tokio::select! {
        served = socketio::serve(listener, service) => served.expect("served"),
        _ = ended => {}
    }
}

/// What the server knows of itself.
#[derive(Clone, Copy)]
pub struct Counts {
    pub sessions: u64,
    pub sockets: u64,
    pub tasks: u64,
    pub in_flight: u64,
    pub heap: u64,
    pub allocations: u64,
    pub received: u64,
    pub sent: u64,
    pub slow_clients: u64,
}

impl Counts {
    fn now(io: &SocketIo, handle: &Handle) -> Self {
        let stats = io.stats();
        let live = Live::now();
        Self {
            sessions: stats.sessions as u64,
            sockets: stats.sockets as u64,
            tasks: handle.metrics().num_alive_tasks() as u64,
            in_flight: IN_FLIGHT.load(Relaxed) as u64,
            heap: live.bytes as u64,
            allocations: live.allocations as u64,
            received: RECEIVED.load(Relaxed),
            sent: SENT.load(Relaxed),
            slow_clients: stats.slow_clients,
        }
    }

    fn line(&self) -> String {
        let Self {
            sessions,
            sockets,
            tasks,
            in_flight,
            heap,
            allocations,
            received,
            sent,
            slow_clients,
        } = self;
        format!(
            "{sessions} {sockets} {tasks} {in_flight} {heap} {allocations} {received} {sent} {slow_clients}"
        )
    }

    pub fn parse(line: &str) -> Option<Self> {
        let mut numbers = line.split(' ').map(|it| it.parse::<u64>().ok());
        let mut next = || numbers.next()?;
        Some(Self {
            sessions: next()?,
            sockets: next()?,
            tasks: next()?,
            in_flight: next()?,
            heap: next()?,
            allocations: next()?,
            received: next()?,
            sent: next()?,
            slow_clients: next()?,
        })
    }
}
