//! Clients that are there and silent: what does each of them weigh, and what stays when they have
//! gone?

use std::{cell::RefCell, rc::Rc, time::Duration};

use anyhow::{Result, ensure};
use serde::Serialize;

use super::connect::hold;
use crate::{
    client::{Polling, Shown, Version, Ws},
    frame::{self, Frame, Opcode},
    load::{AT_ONCE, Load},
    reactor::{Reactor, TaskId, until},
    server::{Memory, Server},
};

/// Three waves of clients.
#[derive(Clone, Copy)]
pub(crate) struct Idle {
    pub(crate) connections: usize,
    pub(crate) clients: Clients,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clients {
    /// joined over WebSocket
    WebSocket,
    /// the same, after a large message in each direction
    WebSocketAfterLarge,
    /// joined by polling, a poll waits
    Polling,
    /// joined by polling, no connection is open
    BetweenPolls,
}

/// When to look at a server's memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pauses {
    /// After a wave has come.
    pub(crate) open: Duration,
    /// Once more, in the first wave.
    pub(crate) later: Duration,
    /// After a wave has gone.
    pub(crate) left: Duration,
}

impl Pauses {
    /// Long enough that each poll has come before its session is left.
    const SHORT: Self = Self {
        open: Duration::from_millis(200),
        later: Duration::ZERO,
        left: Duration::from_millis(200),
    };
}

/// One server's memory.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Held {
    pub(crate) connections: usize,
    /// Before anybody came.
    pub(crate) before: Memory,
    pub(crate) waves: Vec<Wave>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Wave {
    pub(crate) open: Memory,
    /// First wave only.
    pub(crate) later: Option<Memory>,
    pub(crate) left: Memory,
}

const WAVES: usize = 3;

/// Clients that come and go before anything is measured.
const FIRST: usize = 10;

/// What an idle connection of ours may weigh, in KiB.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Targets {
    pub(crate) rss: Option<f64>,
    pub(crate) heap: Option<f64>,
}

impl Clients {
    pub(crate) fn targets(self) -> Targets {
        let (rss, heap) = match self {
            Self::WebSocket => (Some(4.0), Some(4.0)),
            Self::WebSocketAfterLarge => (Some(6.0), None),
            Self::Polling => (None, None),
            Self::BetweenPolls => (Some(3.0), None),
        };
        Targets { rss, heap }
    }
}

impl Held {
    /// What a connection of the first wave adds, in KiB.
    pub(crate) fn rss_per_connection(&self) -> f64 {
        let rss = |memory: Memory| memory.rss_kib as f64;
        (rss(self.waves[0].open) - rss(self.before)) / self.connections as f64
    }

    /// The same of the heap, if the server counts.
    pub(crate) fn heap_per_connection(&self) -> Option<f64> {
        let added = self.waves[0].open.heap_kib? - self.before.heap_kib?;
        Some(added / self.connections as f64)
    }

    /// How much larger the RSS of the last wave is than that of the first, as a part of it.
    pub(crate) fn growth(&self) -> f64 {
        let rss = |wave: &Wave| wave.open.rss_kib as f64;
        match (self.waves.first(), self.waves.last()) {
            (Some(first), Some(last)) => rss(last) / rss(first) - 1.0,
            _ => f64::NAN,
        }
    }

    /// What is left over of the heap when all waves have gone: in KiB, and as a part of what a wave
    /// takes.
    pub(crate) fn heap_left_over(&self) -> Option<(f64, f64)> {
        let before = self.before.heap_kib?;
        let last = self.waves.last()?;
        let left = last.left.heap_kib? - before;
        Some((left, left / (last.open.heap_kib? - before)))
    }
}

impl Idle {
    /// Descriptors of this process for each server.
    pub(crate) fn descriptors(self) -> usize {
        match self.clients {
            Clients::Polling => 2 * self.connections,
            _ => self.connections,
        }
    }

    /// Measures servers side by side.
    pub(crate) fn run(self, servers: &mut [Server], pauses: Pauses) -> Result<Vec<Held>> {
        let mut all = Vec::new();
        // What a server makes for its first clients and keeps for all others is no cost of a client.
        let first = Idle {
            connections: FIRST,
            ..self
        };
        first.wave(servers, Pauses::SHORT, false)?;
        for before in look(servers)? {
            all.push(Held {
                connections: self.connections,
                before,
                waves: Vec::new(),
            });
        }
        for number in 0..WAVES {
            let waves = self.wave(servers, pauses, number == 0)?;
            for (held, wave) in all.iter_mut().zip(waves) {
                held.waves.push(wave);
            }
        }
        Ok(all)
    }

    /// Clients come to all servers, and go.
    fn wave(self, servers: &mut [Server], pauses: Pauses, looks_later: bool) -> Result<Vec<Wave>> {
        let reactor = Reactor::new()?;
        let mut loads = Vec::new();
        let large = Large::new();
        for server in &*servers {
            let load = Load::new(reactor.clone(), server.port)?;
            let queue = Rc::new(Queue::default());
            load.connect(self.connections, |number, load| {
                self.client(number, load, large.clone(), queue.clone())
            })?;
            loads.push(load);
        }
        for load in &loads {
            load.start();
        }
        if self.clients == Clients::WebSocketAfterLarge {
            let what = "everybody has had a large message";
            reactor.run_until(what, LARGE_TIME, || {
                let all = self.connections as u64;
                loads.iter().all(|it| it.messages() == all)
            })?;
        }
        reactor.run_for(pauses.open)?;
        let open = look(servers)?;
        let mut later = None;
        if looks_later {
            reactor.run_for(pauses.later.saturating_sub(pauses.open))?;
            later = Some(look(servers)?);
        }
        // As many at a time as they came.
        for staying in (0..self.connections).step_by(AT_ONCE).rev() {
            for load in &loads {
                load.dismiss(self.connections - staying);
            }
            let what = "those who leave have left";
            let left = staying * loads.len();
            reactor.run_until(what, LEAVE_TIME, || reactor.clients() <= left)?;
        }
        drop(loads);
        reactor.run_for(pauses.left)?;
        let left = look(servers)?;
        let waves = (0..servers.len()).map(|i| Wave {
            open: open[i],
            later: later.as_ref().map(|it| it[i]),
            left: left[i],
        });
        Ok(waves.collect())
    }

    async fn client(
        self,
        number: usize,
        load: Rc<Load>,
        large: Rc<Large>,
        queue: Rc<Queue>,
    ) -> Result<()> {
        let target = &load.target;
        let leaves = || load.is_dismissed(number);
        match self.clients {
            Clients::WebSocket => {
                let mut ws = Ws::join(target, Version::Eio4).await?;
                load.ready().await;
                hold(&mut ws, leaves).await?;
                ws.leave().await
            }
            Clients::WebSocketAfterLarge => {
                let mut ws = Ws::join(target, Version::Eio4).await?;
                queue.0.borrow_mut().push((number, load.reactor.current()));
                load.ready().await;
                // One after the other, so that what the server holds for all is small.
                until(|| load.messages() == number as u64).await;
                ws.push(|out| out.extend_from_slice(&large.request));
                ws.flush().await?;
                ws.recv(|frame| large.hear(frame)).await?;
                ws.shrink();
                load.count(Duration::ZERO);
                queue.wake(number + 1, &load.reactor);
                hold(&mut ws, leaves).await?;
                ws.leave().await
            }
            Clients::Polling => {
                let mut session = Polling::join(target).await?;
                session.send_poll().await?;
                session.disconnect(true);
                load.ready().await;
                while session.polled_or(leaves).await {
                    session.answer_ping().await?;
                    session.disconnect(true);
                }
                session.leave(true).await
            }
            Clients::BetweenPolls => {
                let mut session = Polling::join(target).await?;
                session.disconnect(false);
                load.ready().await;
                until(leaves).await;
                session.leave(false).await
            }
        }
    }
}

/// A large message, and the answer that is due.
struct Large {
    request: Vec<u8>,
    answer: String,
}

impl Large {
    fn new() -> Rc<Self> {
        let argument = "x".repeat(LARGE);
        let message = format!(r#"42["message","{argument}"]"#);
        let mut request = Vec::new();
        frame::encode(&mut request, Opcode::Text, message.as_bytes());
        let answer = format!(r#"42["message-back","{argument}"]"#);
        Rc::new(Self { request, answer })
    }

    fn hear(&self, frame: Frame<'_>) -> Result<()> {
        let is_it = frame.opcode == Opcode::Text && frame.payload == self.answer.as_bytes();
        ensure!(is_it, "{} to a large message", Shown(frame.payload));
        Ok(())
    }
}

/// Whose turn it is, by number.
#[derive(Default)]
struct Queue(RefCell<Vec<(usize, TaskId)>>);

impl Queue {
    fn wake(&self, number: usize, reactor: &Reactor) {
        let queue = self.0.borrow();
        if let Some(&(_, task)) = queue.iter().find(|(it, _)| *it == number) {
            reactor.wake(task);
        }
    }
}

fn look(servers: &mut [Server]) -> Result<Vec<Memory>> {
    servers.iter_mut().map(Server::memory).collect()
}

/// Just below 1 MB, the largest message that the official server takes by default.
const LARGE: usize = 999_000;

/// For those of all servers that leave together.
const LEAVE_TIME: Duration = Duration::from_secs(30);
/// For all clients.
const LARGE_TIME: Duration = Duration::from_secs(60);
