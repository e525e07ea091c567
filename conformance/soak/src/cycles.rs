//! Clients of every kind come and go, many thousand of them, and the server's memory is afterwards
//! what it was before.
//!
//! Server and clients are one process. After each round everybody has gone; then what is allocated
//! on the heap is counted. The first round does not count: it fills what is kept for good, such as
//! the tables of sessions.

use std::{
    net::{Ipv4Addr, SocketAddr},
    process::ExitCode,
    time::{Duration, Instant},
};

use socketio::{Namespace, ParentNamespace, SocketIo};
use tokio::{
    net::TcpListener,
    runtime::Handle,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{application::come_and_go, clients::CYCLES, heap::Live, proc::Process};

const ROUNDS: usize = 10;

/// How many clients are there at the same time, beside those that the server has yet to notice
/// are gone.
const AT_ONCE: usize = 100;

/// Longer than the server needs to notice that a client has gone, and then to forget it.
const PATIENCE: Duration = Duration::from_secs(20);

/// What tables may keep for good: how large they become depends on how many sessions there are at
/// the same time, not on how many there were.
const TOLERANCE: Live = Live {
    bytes: 128 * 1024,
    allocations: 100,
};

/// Runs so many cycles.
pub async fn run(cycles: usize) -> ExitCode {
    let round = cycles.div_ceil(ROUNDS);
    let soak = Soak::start().await;
    println!(
        "{round} cycles in each of {ROUNDS} rounds, {} kinds:",
        CYCLES.len()
    );
    for (name, _) in CYCLES {
        println!("  {}", name.replace('_', " "));
    }
    println!("  cycles  seconds  sessions  sockets  tasks  allocations  heap KiB  RSS KiB");
    soak.report(0, Duration::ZERO);

    let start = Instant::now();
    let mut first = None;
    for number in 0..=ROUNDS {
        soak.round(number * round, round).await;
        soak.report((number + 1) * round, start.elapsed());
        first.get_or_insert_with(Live::now);
    }
    let grown = Live::now() - first.expect("a round");
    println!(
        "soak: after {} cycles there are {} bytes and {} allocations more",
        ROUNDS * round,
        grown.bytes,
        grown.allocations
    );
    if grown.bytes > TOLERANCE.bytes || grown.allocations > TOLERANCE.allocations {
        println!("soak: that is too much");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

struct Soak {
    io: SocketIo,
    /// Whose children clients bring into being.
    made: ParentNamespace,
    port: u16,
    /// Tasks without a client.
    tasks: usize,
}

impl Soak {
    async fn start() -> Self {
        let short = Duration::from_millis(400);
        let io = SocketIo::builder()
            .connect_timeout(short)
            .cleanup_empty_child_namespaces(true)
            .engine(|config| {
                config
                    .ping_interval(short)
                    .ping_timeout(short)
                    .upgrade_timeout(short)
                    .close_timeout(short)
            })
            .build();
        let made = come_and_go(&io);
        io.on_error(|_| {});
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await;
        let listener = listener.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        tokio::spawn(socketio::serve(listener, io.service()).into_future());
        sleep(Duration::from_millis(10)).await;
        Self {
            io,
            made,
            port,
            tasks: tasks(),
        }
    }

    /// So many clients, and everybody has gone.
    async fn round(&self, from: usize, cycles: usize) {
        let mut clients = JoinSet::new();
        for number in from..from + cycles {
            if clients.len() == AT_ONCE {
                clients
                    .join_next()
                    .await
                    .expect("a client")
                    .expect("no panic");
            }
            let (_, cycle) = CYCLES[number % CYCLES.len()];
            clients.spawn(cycle(self.addr(number), number));
        }
        while let Some(ended) = clients.join_next().await {
            ended.expect("no panic");
        }
        let gone = async {
            while self.sessions() + self.sockets() + self.made.children().len() > 0
                || tasks() > self.tasks
            {
                sleep(Duration::from_millis(10)).await;
            }
        };
        if timeout(PATIENCE, gone).await.is_err() {
            self.report(from + cycles, PATIENCE);
            panic!("not everybody has gone");
        }
    }

    /// Many addresses of this machine, as there are only so many ports for each.
    fn addr(&self, number: usize) -> SocketAddr {
        (
            Ipv4Addr::new(127, 0, 0, 1 + (number % 100) as u8),
            self.port,
        )
            .into()
    }

    fn report(&self, cycles: usize, time: Duration) {
        let Live { bytes, allocations } = Live::now();
        println!(
            "{cycles:8}  {:7.1}  {:8}  {:7}  {:5}  {allocations:11}  {:8.1}  {:7}",
            time.as_secs_f64(),
            self.sessions(),
            self.sockets(),
            tasks(),
            bytes as f64 / 1024.0,
            Process::own().rss() / 1024,
        );
    }

    fn sessions(&self) -> usize {
        self.io.service().sessions()
    }

    fn sockets(&self) -> usize {
        let made = self.made.children();
        let namespaces = [self.io.of("/"), self.io.of("/chat")];
        namespaces.iter().chain(&made).map(Namespace::len).sum()
    }
}

fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}
