//! What the clients of one scenario share, and the measuring of it.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use hdrhistogram::Histogram;
use nix::time::ClockId;
use serde::Serialize;

use crate::{
    client::Target,
    reactor::{Reactor, until},
    server::Server,
};

/// One scenario that runs against one server.
pub(crate) struct Load {
    pub(crate) reactor: Reactor,
    pub(crate) target: Target,
    /// How many clients are connected, joined and wait for the start.
    ready: Cell<usize>,
    started: Cell<bool>,
    /// The clients below this number are to go.
    dismissed: Cell<usize>,
    messages: Cell<u64>,
    /// Nanoseconds.
    latencies: RefCell<Histogram<u64>>,
}

/// What one interval has shown.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Measured {
    pub(crate) messages: u64,
    pub(crate) seconds: f64,
    /// The server's time, user and system, µs per message.
    pub(crate) cpu_us: f64,
    /// How much of it is the user's, by the kernel's coarser clock.
    pub(crate) user_share: Option<f64>,
    pub(crate) messages_per_second: f64,
    pub(crate) latency_us: Latency,
    /// How much of the interval each of them was at work. The load generator should not be the one
    /// that the other waits for.
    pub(crate) server_busy: f64,
    pub(crate) load_busy: f64,
    pub(crate) rss_kib: u64,
    pub(crate) allocations: Option<f64>,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

/// How long a measurement takes: each part the time, and until so many messages have come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    pub(crate) warm_up: Duration,
    pub(crate) warm_up_messages: u64,
    pub(crate) interval: Duration,
    pub(crate) messages: u64,
}

impl Timing {
    /// No warm-up, and this many messages.
    pub(crate) fn messages(messages: u64) -> Self {
        Self {
            warm_up: Duration::ZERO,
            warm_up_messages: 0,
            interval: Duration::ZERO,
            messages,
        }
    }

    /// Each of these clients hears messages until it is as a connection that has been there for
    /// long, and then as many again.
    ///
    /// Where thousands listen, each of them hears a few messages in the usual time, and so a part
    /// of the measurement, larger or smaller, would fall into its connection's first messages. The
    /// kernel acknowledges those one by one, in the time of the server.
    pub(crate) fn for_each_of(self, clients: usize) -> Self {
        let clients = clients as u64;
        Self {
            warm_up_messages: self.warm_up_messages.max(clients * QUICK_ACKS),
            messages: self.messages.max(clients * QUICK_ACKS),
            ..self
        }
    }
}

/// More segments than Linux acknowledges at once, without delay, when a connection is new
/// (`TCP_MAX_QUICKACKS`).
const QUICK_ACKS: u64 = 20;

impl Load {
    pub(crate) fn new(reactor: Reactor, port: u16) -> Result<Rc<Self>> {
        Ok(Rc::new(Self {
            target: Target::new(reactor.clone(), port),
            reactor,
            ready: Cell::new(0),
            started: Cell::new(false),
            dismissed: Cell::new(0),
            messages: Cell::new(0),
            latencies: RefCell::new(Histogram::new_with_bounds(100, LONGEST, 2)?),
        }))
    }

    /// Adds clients, so many at a time, and waits until all of them are ready.
    pub(crate) fn connect<F>(
        self: &Rc<Self>,
        clients: usize,
        mut client: impl FnMut(usize, Rc<Self>) -> F,
    ) -> Result<()>
    where
        F: Future<Output = Result<()>> + 'static,
    {
        let before = self.ready.get();
        let connecting = |spawned| before + spawned - self.ready.get();
        for number in 0..clients {
            let what = "a client is connected";
            let reactor = &self.reactor;
            reactor.run_until(what, PATIENCE, || connecting(number) < AT_ONCE)?;
            let future = client(number, self.clone());
            reactor.spawn(async move { future.await.with_context(|| format!("client {number}")) });
        }
        let what = "all clients are connected";
        self.reactor
            .run_until(what, PATIENCE, || connecting(clients) == 0)
    }

    /// A client says that it is ready, and waits for the start.
    pub(crate) async fn ready(&self) {
        self.ready.set(self.ready.get() + 1);
        until(|| self.started.get()).await;
    }

    pub(crate) fn start(&self) {
        self.started.set(true);
        self.reactor.wake_all();
    }

    /// From now on clients begin nothing new.
    pub(crate) fn stop(&self) {
        self.dismiss(usize::MAX);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.dismissed.get() == usize::MAX
    }

    /// The clients below this number are to go.
    pub(crate) fn dismiss(&self, below: usize) {
        self.dismissed.set(below);
        self.reactor.wake_all();
    }

    pub(crate) fn is_dismissed(&self, number: usize) -> bool {
        number < self.dismissed.get()
    }

    /// How many have come since the measurement began.
    pub(crate) fn messages(&self) -> u64 {
        self.messages.get()
    }

    /// A message has come as it should.
    pub(crate) fn count(&self, latency: Duration) {
        self.messages.set(self.messages.get() + 1);
        let nanos = u64::try_from(latency.as_nanos()).unwrap_or(LONGEST);
        self.latencies.borrow_mut().saturating_record(nanos);
    }

    /// Starts the clients, warms up, and looks at the server at both ends of an interval.
    pub(crate) fn measure(&self, server: &mut Server, timing: Timing) -> Result<Measured> {
        self.measure_while(server, timing, |time| self.reactor.run_for(time))
    }

    /// The same with something of the caller's that makes the reactor run so long.
    pub(crate) fn measure_while(
        &self,
        server: &mut Server,
        timing: Timing,
        mut run: impl FnMut(Duration) -> Result<()>,
    ) -> Result<Measured> {
        self.start();
        self.until(timing.warm_up, timing.warm_up_messages, &mut run)?;
        self.messages.set(0);
        self.latencies.borrow_mut().reset();
        let (before, load_before, start) = (server.usage()?, own_cpu()?, Instant::now());
        self.until(timing.interval, timing.messages, &mut run)?;
        let (after, load_after, time) = (server.usage()?, own_cpu()?, start.elapsed());

        let messages = self.messages.get();
        ensure!(messages > 0, "not one answer came in {time:?}");
        let cpu = after.cpu - before.cpu;
        let ticks = after.ticks.1 - before.ticks.1;
        let allocations = before.allocations.zip(after.allocations);
        Ok(Measured {
            messages,
            seconds: time.as_secs_f64(),
            cpu_us: cpu.as_secs_f64() * 1e6 / messages as f64,
            user_share: (ticks > 0).then(|| (after.ticks.0 - before.ticks.0) as f64 / ticks as f64),
            messages_per_second: messages as f64 / time.as_secs_f64(),
            latency_us: Latency::of(&self.latencies.borrow()),
            server_busy: cpu.as_secs_f64() / time.as_secs_f64(),
            load_busy: (load_after - load_before).as_secs_f64() / time.as_secs_f64(),
            rss_kib: server.memory()?.rss_kib,
            allocations: allocations
                .map(|(before, after)| (after - before) as f64 / messages as f64),
        })
    }

    /// Lets the time pass, and until so many messages have come.
    fn until(
        &self,
        time: Duration,
        messages: u64,
        run: &mut impl FnMut(Duration) -> Result<()>,
    ) -> Result<()> {
        run(time)?;
        let (mut before, mut since) = (self.messages.get(), Instant::now());
        while self.messages.get() < messages {
            run(STEP)?;
            if self.messages.get() > before {
                (before, since) = (self.messages.get(), Instant::now());
            }
            ensure!(since.elapsed() < PATIENCE, "no answer comes: one is lost");
        }
        Ok(())
    }

    /// Lets what is under way end: all answers have to come.
    pub(crate) fn finish(&self) -> Result<()> {
        self.stop();
        let what = "the last answers have come: some are lost";
        self.reactor
            .run_until(what, PATIENCE, || self.reactor.clients() == 0)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.reactor.clear();
    }
}

impl Latency {
    fn of(nanos: &Histogram<u64>) -> Self {
        let at = |quantile| nanos.value_at_quantile(quantile) as f64 / 1e3;
        Self {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: nanos.max() as f64 / 1e3,
        }
    }
}

/// User and system time of this process.
fn own_cpu() -> Result<Duration> {
    Ok(ClockId::CLOCK_PROCESS_CPUTIME_ID.now()?.into())
}

/// How many clients connect at the same time.
pub(crate) const AT_ONCE: usize = 100;

/// How long nothing may happen before it counts as lost.
const PATIENCE: Duration = Duration::from_secs(15);

/// How often to look whether there are messages enough.
const STEP: Duration = Duration::from_millis(10);

/// The longest latency that is told from longer ones, in nanoseconds.
const LONGEST: u64 = 60_000_000_000;
