//! A message goes to the server and comes back.

use std::{
    cell::RefCell,
    collections::VecDeque,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use crate::{
    client::{Polling, Shown, Version, Ws},
    frame::{Frame, Opcode, Template},
    load::{Load, Measured, Timing},
    reactor::TaskId,
    server::Server,
};

/// Each client keeps so many messages under way, over WebSocket.
#[derive(Clone, Copy)]
pub(crate) struct Echo {
    pub(crate) clients: usize,
    pub(crate) in_flight: usize,
    /// Bytes of the argument.
    pub(crate) size: usize,
    pub(crate) style: Style,
    pub(crate) version: Version,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    /// `message`, answered by `message-back`
    Event,
    /// `message-with-ack`, acknowledged
    Ack,
    /// `message` with bytes
    Binary,
}

impl Echo {
    pub(crate) fn run(
        self,
        load: &Rc<Load>,
        server: &mut Server,
        timing: Timing,
    ) -> Result<Measured> {
        load.connect(self.clients, |number, load| self.client(number, load))?;
        let measured = load.measure(server, timing)?;
        load.finish()?;
        Ok(measured)
    }

    async fn client(self, number: usize, load: Rc<Load>) -> Result<()> {
        let mut ws = Ws::join(&load.target, self.version).await?;
        let mut request = self.style.request(number, self.size);
        let mut answers = Answers::new(self.style, number, self.size);
        load.ready().await;

        let mut sent = 0;
        let mut sent_at = VecDeque::with_capacity(self.in_flight);
        loop {
            if !load.is_stopping() {
                let now = Instant::now();
                while sent_at.len() < self.in_flight {
                    ws.push(|out| out.extend_from_slice(request.numbered(sent)));
                    sent_at.push_back(now);
                    sent += 1;
                }
            } else if sent_at.is_empty() {
                return Ok(());
            }
            ws.flush().await?;
            ws.fill().await?;
            let now = Instant::now();
            while let Some(frame) = ws.next()? {
                if answers.check(frame)? {
                    load.count(now - sent_at.pop_front().unwrap_or(now));
                }
            }
        }
    }
}

/// So many messages per second, over so many WebSockets, whether answers come or not. Latency
/// counts from when the message was due.
#[derive(Clone, Copy)]
pub(crate) struct Rate {
    pub(crate) clients: usize,
    pub(crate) per_second: u32,
}

/// What one client has to send.
#[derive(Default)]
struct Due {
    task: TaskId,
    /// When the messages were due that are not answered yet.
    since: VecDeque<Instant>,
    /// How many of them have been sent.
    sent: usize,
}

impl Rate {
    pub(crate) fn run(
        self,
        load: &Rc<Load>,
        server: &mut Server,
        timing: Timing,
    ) -> Result<Measured> {
        let mut clients = Vec::new();
        load.connect(self.clients, |number, load| {
            let due = Rc::<RefCell<Due>>::default();
            clients.push(due.clone());
            Self::client(number, due, load)
        })?;
        let mut clients = clients.iter().cycle();
        let step = Duration::from_secs(1) / self.per_second;
        let mut next = Instant::now();
        let measured = load.measure_while(server, timing, |time| {
            let end = Instant::now() + time;
            loop {
                let now = Instant::now();
                if now >= end {
                    return Ok(());
                }
                while next <= now {
                    if let Some(due) = clients.next() {
                        let mut due = due.borrow_mut();
                        due.since.push_back(next);
                        load.reactor.wake(due.task);
                    }
                    next += step;
                }
                // It has a core of its own: looking all the time is the best clock.
                load.reactor.turn(Duration::ZERO)?;
            }
        })?;
        load.finish()?;
        Ok(measured)
    }

    async fn client(number: usize, due: Rc<RefCell<Due>>, load: Rc<Load>) -> Result<()> {
        let mut ws = Ws::join(&load.target, Version::Eio4).await?;
        let mut request = Style::Event.request(number, 64);
        let mut answers = Answers::new(Style::Event, number, 64);
        due.borrow_mut().task = load.reactor.current();
        load.ready().await;

        let mut sent = 0;
        loop {
            while due.borrow().sent < due.borrow().since.len() {
                ws.push(|out| out.extend_from_slice(request.numbered(sent)));
                sent += 1;
                due.borrow_mut().sent += 1;
            }
            ws.flush().await?;
            if load.is_stopping() && due.borrow().sent == 0 {
                return Ok(());
            }
            let more = || {
                let due = due.borrow();
                due.sent < due.since.len() || (load.is_stopping() && due.sent == 0)
            };
            if !ws.readable_or(more).await {
                continue;
            }
            ws.fill().await?;
            let now = Instant::now();
            while let Some(frame) = ws.next()? {
                if answers.check(frame)? {
                    let mut due = due.borrow_mut();
                    due.sent -= 1;
                    load.count(now - due.since.pop_front().unwrap_or(now));
                }
            }
        }
    }
}

/// Each client has a poll that waits, posts a message, and takes it from the poll's answer.
#[derive(Clone, Copy)]
pub(crate) struct PollingEcho {
    pub(crate) clients: usize,
    pub(crate) size: usize,
}

impl PollingEcho {
    pub(crate) fn run(
        self,
        load: &Rc<Load>,
        server: &mut Server,
        timing: Timing,
    ) -> Result<Measured> {
        load.connect(self.clients, |number, load| self.client(number, load))?;
        let measured = load.measure(server, timing)?;
        load.finish()?;
        Ok(measured)
    }

    async fn client(self, number: usize, load: Rc<Load>) -> Result<()> {
        let mut session = Polling::join(&load.target).await?;
        load.ready().await;
        let mut sent = 0;
        while !load.is_stopping() {
            let argument = argument(number, self.size).replace("#######", &format!("{sent:07}"));
            sent += 1;
            let start = Instant::now();
            session.send_poll().await?;
            let post = format!(r#"42["message","{argument}"]"#);
            session.send_post(&post).await?;
            let expected = format!(r#"42["message-back","{argument}"]"#);
            session.recv_posted().await?;
            let answer = session.recv_poll().await?;
            ensure!(answer == expected, "{answer:?} instead of {expected:?}");
            load.count(start.elapsed());
        }
        Ok(())
    }
}

impl Style {
    fn request(self, number: usize, size: usize) -> Template {
        match self {
            Self::Event => Template::frames(&[text("", "message", number, size)]),
            // Ids without a zero in front.
            Self::Ack => Template::frames(&[text("1#######", "message-with-ack", number, size)]),
            Self::Binary => Template::frames(&[
                (Opcode::Text, placeholder("message")),
                (Opcode::Binary, bytes(number, size)),
            ]),
        }
    }

    fn answer(self, number: usize, size: usize) -> Vec<(Opcode, Vec<u8>)> {
        match self {
            Self::Event => vec![text("", "message-back", number, size)],
            Self::Ack => {
                let argument = argument(number, size);
                let answer = format!(r#"431#######["{argument}"]"#);
                vec![(Opcode::Text, answer.into())]
            }
            Self::Binary => vec![
                (Opcode::Text, placeholder("message-back")),
                (Opcode::Binary, bytes(number, size)),
            ],
        }
    }
}

/// The answers that a client waits for, in order.
struct Answers {
    /// The messages of one answer.
    parts: Vec<(Opcode, Template)>,
    part: usize,
    number: u64,
}

impl Answers {
    fn new(style: Style, number: usize, size: usize) -> Self {
        let parts = style.answer(number, size).into_iter();
        Self {
            parts: parts
                .map(|(opcode, payload)| (opcode, Template::plain(payload)))
                .collect(),
            part: 0,
            number: 0,
        }
    }

    /// Whether an answer is complete with this frame; an error if it is not the right one.
    fn check(&mut self, frame: Frame<'_>) -> Result<bool> {
        let (opcode, payload) = &mut self.parts[self.part];
        let expected = payload.numbered(self.number);
        ensure!(
            frame.opcode == *opcode && frame.payload == expected,
            "answer {}: {} instead of {}",
            self.number,
            Shown(frame.payload),
            Shown(expected)
        );
        self.part += 1;
        let complete = self.part == self.parts.len();
        if complete {
            self.part = 0;
            self.number += 1;
        }
        Ok(complete)
    }
}

fn text(id: &str, event: &str, number: usize, size: usize) -> (Opcode, Vec<u8>) {
    let argument = argument(number, size);
    let packet = format!(r#"42{id}["{event}","{argument}"]"#);
    (Opcode::Text, packet.into())
}

/// Says whose message it is and which.
fn argument(number: usize, size: usize) -> String {
    format!("{:x<size$}", format!("{number:05}-#######-"))
}

fn placeholder(event: &str) -> Vec<u8> {
    format!(r#"451-["{event}",{{"_placeholder":true,"num":0}}]"#).into()
}

fn bytes(number: usize, size: usize) -> Vec<u8> {
    let mut bytes = format!("{number:05}-#######-").into_bytes();
    bytes.extend((bytes.len()..size).map(|i| (i * 7) as u8 | 0x80));
    bytes
}
