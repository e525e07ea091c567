//! What is measured.

mod broadcast;
mod connect;
mod echo;
mod idle;

pub(crate) use self::{
    broadcast::Broadcast,
    connect::Connect,
    echo::{Echo, PollingEcho, Rate, Style},
    idle::{Clients, Held, Idle, Pauses, Targets},
};

use std::rc::Rc;

use anyhow::Result;

use crate::{
    client::Version,
    load::{Load, Measured, Timing},
    reactor::Reactor,
    server::{Kind, Server},
};

/// One row of the tables.
#[derive(Clone, Copy)]
pub(crate) struct Scenario {
    /// For the command line.
    pub(crate) name: &'static str,
    /// For the tables.
    pub(crate) title: &'static str,
    pub(crate) work: Work,
    /// Whether the quick benchmark has it.
    pub(crate) quick: bool,
    /// How often each round has it; the quick benchmark has it once.
    pub(crate) times: usize,
}

#[derive(Clone, Copy)]
pub(crate) enum Work {
    Echo(Echo),
    PollingEcho(PollingEcho),
    Rate(Rate),
    Broadcast(Broadcast),
    Connect(Connect),
    Idle(Idle),
}

impl Scenario {
    const fn new(name: &'static str, title: &'static str, work: Work) -> Self {
        Self {
            name,
            title,
            work,
            quick: true,
            times: 1,
        }
    }

    const fn not_quick(mut self) -> Self {
        self.quick = false;
        self
    }

    /// For what varies more than the others.
    const fn twice(mut self) -> Self {
        self.times = 2;
        self
    }

    /// How many connections there are at the same time, at the server and here.
    pub(crate) fn connections(&self) -> usize {
        match self.work {
            Work::Echo(echo) => echo.clients,
            Work::PollingEcho(echo) => 2 * echo.clients,
            Work::Rate(rate) => rate.clients,
            Work::Broadcast(broadcast) => broadcast.clients(),
            Work::Connect(connect) => connect.open + 3 * Connect::AT_ONCE,
            Work::Idle(idle) => idle.descriptors(),
        }
    }

    /// How many clients the server has in its own memory.
    pub(crate) fn in_memory(&self) -> usize {
        match self.work {
            Work::Connect(connect) => connect.in_memory,
            _ => 0,
        }
    }

    /// Only ours can have clients in its memory.
    pub(crate) fn is_for(&self, kind: Kind) -> bool {
        self.in_memory() == 0 || kind == Kind::Ours
    }

    /// What takes the place of this one on machines that cannot have so many connections.
    pub(crate) fn substitute(&self) -> Option<&'static Self> {
        (self.name == AT_50_000).then_some(&IN_MEMORY)
    }

    /// Measures one server, but for idle clients, which are measured side by side.
    pub(crate) fn run(&self, server: &mut Server, timing: Timing) -> Result<Measured> {
        let load = &Load::new(Reactor::new()?, server.port)?;
        self.run_on(load, server, timing)
    }

    fn run_on(&self, load: &Rc<Load>, server: &mut Server, timing: Timing) -> Result<Measured> {
        match self.work {
            Work::Echo(echo) => echo.run(load, server, timing),
            Work::PollingEcho(echo) => echo.run(load, server, timing),
            Work::Rate(rate) => rate.run(load, server, timing),
            Work::Broadcast(broadcast) => broadcast.run(load, server, timing),
            Work::Connect(connect) => connect.run(load, server, timing),
            Work::Idle(_) => anyhow::bail!("idle clients use no time"),
        }
    }

    /// Has a server answer at least so many messages and nothing more; how many it was.
    pub(crate) fn answer(&self, server: &mut Server, messages: u64) -> Result<u64> {
        let load = &Load::new(Reactor::new()?, server.port)?;
        self.run_on(load, server, Timing::messages(messages))?;
        Ok(load.messages())
    }
}

pub(crate) const SCENARIOS: &[Scenario] = &[
    connect("connect", "connect, join, leave over WebSocket", 0),
    Scenario::new(
        "upgrade",
        "polling, upgrade, one echo, leave",
        Work::Connect(Connect {
            open: 0,
            in_memory: 0,
            upgrade: true,
        }),
    ),
    echo("echo-64", "echo 64 B, 1 in flight", Style::Event, 64, 1),
    echo(
        "echo-64-16",
        "echo 64 B, 16 in flight",
        Style::Event,
        64,
        16,
    ),
    echo("echo-1k", "echo 1 KiB, 1 in flight", Style::Event, 1024, 1),
    echo(
        "echo-1k-16",
        "echo 1 KiB, 16 in flight",
        Style::Event,
        1024,
        16,
    ),
    echo("ack-64", "ack 64 B, 1 in flight", Style::Ack, 64, 1),
    echo("ack-64-16", "ack 64 B, 16 in flight", Style::Ack, 64, 16),
    echo("ack-1k", "ack 1 KiB, 1 in flight", Style::Ack, 1024, 1).not_quick(),
    echo("ack-1k-16", "ack 1 KiB, 16 in flight", Style::Ack, 1024, 16).not_quick(),
    echo("binary-1k", "binary echo 1 KiB", Style::Binary, 1024, 1),
    echo("binary-64k", "binary echo 64 KiB", Style::Binary, 65_536, 1),
    Scenario::new(
        "eio3-echo-64",
        "echo 64 B, 1 in flight, Engine.IO 3",
        Work::Echo(Echo {
            clients: 100,
            in_flight: 1,
            size: 64,
            style: Style::Event,
            version: Version::Eio3,
        }),
    ),
    Scenario::new(
        "polling-echo",
        "polling echo 64 B, 50 clients",
        Work::PollingEcho(PollingEcho {
            clients: 50,
            size: 64,
        }),
    ),
    Scenario::new(
        "rate-5000",
        "echo 64 B, 5,000 messages/s in all",
        Work::Rate(Rate {
            clients: 100,
            per_second: 5000,
        }),
    ),
    broadcast("broadcast-10", "broadcast to 10, per delivery", 10, 1).not_quick(),
    broadcast("broadcast-100", "broadcast to 100, per delivery", 100, 1).not_quick(),
    broadcast(
        "broadcast-1000",
        "broadcast to 1,000, per delivery",
        1000,
        1,
    ),
    broadcast(
        "broadcast-10000",
        "broadcast to 10,000, per delivery",
        10_000,
        1,
    )
    .not_quick(),
    broadcast(
        "broadcast-1000-8",
        "broadcast to 1,000, 8 outstanding",
        1000,
        8,
    ),
    Scenario::new(
        "rooms",
        "broadcast to rooms, 50 of 100, per delivery",
        Work::Broadcast(Broadcast {
            rooms: Some(50),
            members: 100,
            outstanding: 1,
        }),
    )
    .twice(),
    connect(
        "connect-at-10000",
        "connect, join, leave beside 10,000",
        10_000,
    ),
    connect(AT_50_000, "connect, join, leave beside 50,000", 50_000),
    IN_MEMORY,
    idle("idle-ws-2000", "2,000 WebSocket", 2000, Clients::WebSocket),
    idle(
        "idle-ws-10000",
        "10,000 WebSocket",
        10_000,
        Clients::WebSocket,
    )
    .not_quick(),
    idle(
        "idle-ws-large",
        "1,000 WebSocket, after 1 MB in each direction",
        1000,
        Clients::WebSocketAfterLarge,
    )
    .not_quick(),
    idle(
        "idle-polling-2000",
        "2,000 polling, a poll waits",
        2000,
        Clients::Polling,
    ),
    idle(
        "idle-between-polls-10000",
        "10,000 polling, between polls",
        10_000,
        Clients::BetweenPolls,
    )
    .not_quick(),
];

const AT_50_000: &str = "connect-at-50000";

/// Without TCP for those that stay.
const IN_MEMORY: Scenario = Scenario::new(
    "connect-in-memory-50000",
    "connect, join, leave beside 50,000 in memory",
    Work::Connect(Connect {
        open: 0,
        in_memory: 50_000,
        upgrade: false,
    }),
);

const fn echo(
    name: &'static str,
    title: &'static str,
    style: Style,
    size: usize,
    in_flight: usize,
) -> Scenario {
    let echo = Echo {
        clients: 100,
        in_flight,
        size,
        style,
        version: Version::Eio4,
    };
    Scenario::new(name, title, Work::Echo(echo))
}

const fn broadcast(
    name: &'static str,
    title: &'static str,
    members: usize,
    outstanding: usize,
) -> Scenario {
    let broadcast = Broadcast {
        rooms: None,
        members,
        outstanding,
    };
    Scenario::new(name, title, Work::Broadcast(broadcast))
}

const fn connect(name: &'static str, title: &'static str, open: usize) -> Scenario {
    let connect = Connect {
        open,
        in_memory: 0,
        upgrade: false,
    };
    Scenario::new(name, title, Work::Connect(connect))
}

const fn idle(
    name: &'static str,
    title: &'static str,
    connections: usize,
    clients: Clients,
) -> Scenario {
    let idle = Idle {
        connections,
        clients,
    };
    Scenario::new(name, title, Work::Idle(idle))
}
