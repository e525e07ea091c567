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
    frame::{Frame, MARK, Opcode, Template},
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
        let exchange = Exchange::new(self.style, self.size);
        load.connect(self.clients, |number, load| {
            self.client(exchange.client(number), load)
        })?;
        let measured = load.measure(server, timing)?;
        load.finish()?;
        Ok(measured)
    }

    async fn client(self, mut conversation: Conversation, load: Rc<Load>) -> Result<()> {
        let mut ws = Ws::join(&load.target, self.version).await?;
        load.ready().await;

        let mut sent_at = VecDeque::with_capacity(self.in_flight);
        loop {
            if !load.is_stopping() {
                let now = Instant::now();
                while sent_at.len() < self.in_flight {
                    ws.push(|out| conversation.say(out));
                    sent_at.push_back(now);
                }
            } else if sent_at.is_empty() {
                return Ok(());
            }
            ws.flush().await?;
            ws.fill().await?;
            let now = Instant::now();
            while let Some(frame) = ws.next()? {
                if conversation.hear(frame)? {
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
        let exchange = Exchange::new(Style::Event, 64);
        let mut clients = Vec::new();
        load.connect(self.clients, |number, load| {
            let due = Rc::<RefCell<Due>>::default();
            clients.push(due.clone());
            Self::client(exchange.client(number), due, load)
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

    async fn client(
        mut conversation: Conversation,
        due: Rc<RefCell<Due>>,
        load: Rc<Load>,
    ) -> Result<()> {
        let mut ws = Ws::join(&load.target, Version::Eio4).await?;
        due.borrow_mut().task = load.reactor.current();
        load.ready().await;

        loop {
            while due.borrow().sent < due.borrow().since.len() {
                ws.push(|out| conversation.say(out));
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
                if conversation.hear(frame)? {
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
        let pattern = argument(self.size);
        let mut sent = first(number);
        while !load.is_stopping() {
            let argument = pattern.replace(MARK, &format!("{sent:012}"));
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

/// What clients say and hear, for all of them.
#[derive(Clone)]
struct Exchange(Rc<RefCell<Templates>>);

struct Templates {
    request: Template,
    /// The messages of one answer.
    answer: Vec<(Opcode, Template)>,
}

impl Exchange {
    fn new(style: Style, size: usize) -> Self {
        let argument = argument(size);
        let event = |name| format!(r#"42["{name}","{argument}"]"#).into();
        let (request, answer) = match style {
            Style::Event => (
                vec![(Opcode::Text, event("message"))],
                vec![(Opcode::Text, event("message-back"))],
            ),
            // Ids have no zero in front.
            Style::Ack => {
                let request = format!(r#"421{MARK}["message-with-ack","{argument}"]"#);
                let answer = format!(r#"431{MARK}["{argument}"]"#);
                (
                    vec![(Opcode::Text, request.into())],
                    vec![(Opcode::Text, answer.into())],
                )
            }
            Style::Binary => {
                let bytes = bytes(size);
                (
                    vec![
                        (Opcode::Text, placeholder("message")),
                        (Opcode::Binary, bytes.clone()),
                    ],
                    vec![
                        (Opcode::Text, placeholder("message-back")),
                        (Opcode::Binary, bytes),
                    ],
                )
            }
        };
        let answer = answer.into_iter();
        Self(Rc::new(RefCell::new(Templates {
            request: Template::frames(&request),
            answer: answer
                .map(|(opcode, payload)| (opcode, Template::plain(payload)))
                .collect(),
        })))
    }

    fn client(&self, number: usize) -> Conversation {
        Conversation {
            exchange: self.clone(),
            sent: first(number),
            heard: first(number),
            part: 0,
        }
    }
}

/// One client's part of it.
struct Conversation {
    exchange: Exchange,
    /// The next message's number, and the next answer's.
    sent: u64,
    heard: u64,
    /// How much of the next answer has come.
    part: usize,
}

impl Conversation {
    fn say(&mut self, out: &mut Vec<u8>) {
        let request = &mut self.exchange.0.borrow_mut().request;
        out.extend_from_slice(request.numbered(self.sent));
        self.sent += 1;
    }

    /// Whether an answer is complete with this frame; an error if it is not the right one.
    fn hear(&mut self, frame: Frame<'_>) -> Result<bool> {
        let answer = &mut self.exchange.0.borrow_mut().answer;
        let (opcode, payload) = &mut answer[self.part];
        let expected = payload.numbered(self.heard);
        ensure!(
            frame.opcode == *opcode && frame.payload == expected,
            "{} instead of {}",
            Shown(frame.payload),
            Shown(expected)
        );
        self.part += 1;
        let complete = self.part == answer.len();
        if complete {
            self.part = 0;
            self.heard += 1;
        }
        Ok(complete)
    }
}

/// The number of a client's first message: each says whose it is and which.
fn first(client: usize) -> u64 {
    client as u64 * 10_000_000
}

fn argument(size: usize) -> String {
    let filler = "x".repeat(size - MARK.len());
    format!("{MARK}{filler}")
}

fn placeholder(event: &str) -> Vec<u8> {
    format!(r#"451-["{event}",{{"_placeholder":true,"num":0}}]"#).into()
}

fn bytes(size: usize) -> Vec<u8> {
    let mut bytes = MARK.as_bytes().to_vec();
    bytes.extend((bytes.len()..size).map(|i| (i * 7) as u8 | 0x80));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(payload: &str) -> Frame<'_> {
        Frame {
            opcode: Opcode::Text,
            payload: payload.as_bytes(),
        }
    }

    fn answer(number: u64) -> String {
        format!(r#"42["message-back","{number:012}xxxx"]"#)
    }

    #[test]
    fn answers_have_to_come_in_order_and_to_the_right_client() {
        let exchange = Exchange::new(Style::Event, 16);
        let mut second = exchange.client(1);
        assert!(second.hear(frame(&answer(10_000_000))).unwrap());
        for wrong in [10_000_000, 10_000_002, 1, 20_000_001] {
            assert!(second.hear(frame(&answer(wrong))).is_err(), "{wrong}");
        }
        assert!(second.hear(frame(&answer(10_000_001))).unwrap());
    }

    #[test]
    fn what_comes_has_to_be_the_same_byte_by_byte() {
        let exchange = Exchange::new(Style::Event, 16);
        let mut client = exchange.client(0);
        let due = answer(0);
        let almost = due.replace("xxxx", "xxxX");
        assert!(client.hear(frame(&almost)).is_err());
        let binary = Frame {
            opcode: Opcode::Binary,
            payload: due.as_bytes(),
        };
        assert!(client.hear(binary).is_err());
    }

    #[test]
    fn a_binary_answer_is_complete_with_its_bytes() {
        let exchange = Exchange::new(Style::Binary, 16);
        let mut client = exchange.client(0);
        let text = String::from_utf8(placeholder("message-back")).unwrap();
        assert!(!client.hear(frame(&text)).unwrap());
        assert!(client.hear(frame(&text)).is_err(), "its bytes are due");
        let mut sent = bytes(16);
        sent[..MARK.len()].fill(b'0');
        let sent = Frame {
            opcode: Opcode::Binary,
            payload: &sent,
        };
        assert!(client.hear(sent).unwrap());
    }
}
