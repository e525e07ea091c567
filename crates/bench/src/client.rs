//! Clients: raw HTTP and WebSocket, and what Socket.IO says over them.

use std::{
    cell::{Cell, RefCell},
    mem,
    net::{Ipv4Addr, SocketAddr},
    rc::Rc,
};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    frame::{self, Frame, Opcode},
    reactor::{Reactor, Stream},
};

/// Where the server listens, and the reactor that runs its clients.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) reactor: Reactor,
    port: u16,
    next: Rc<Cell<u32>>,
    /// Buffers that nobody needs now. Few are in use at the same time, and those stay in the
    /// processor's cache.
    buffers: Rc<RefCell<Vec<Vec<u8>>>>,
}

impl Target {
    pub(crate) fn new(reactor: Reactor, port: u16) -> Self {
        Self {
            reactor,
            port,
            next: Rc::default(),
            buffers: Rc::default(),
        }
    }

    /// Many addresses of this machine in turn, as there are only so many ports for each.
    fn addr(&self) -> SocketAddr {
        let next = self.next.get();
        self.next.set(next.wrapping_add(1));
        (Ipv4Addr::new(127, 0, 0, 1 + (next % 250) as u8), self.port).into()
    }
}

/// Engine.IO's version, as in the query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Eio3 = 3,
    Eio4 = 4,
}

/// A connection that is read through a buffer.
struct Buffered {
    stream: Stream,
    target: Target,
    /// Without length while there is nothing in it.
    buffer: Vec<u8>,
    begin: usize,
    end: usize,
}

/// Enough for a window of messages; it grows for larger ones.
const BUFFER: usize = 128 * 1024;

impl Buffered {
    async fn connect(target: &Target) -> Result<Self> {
        let addr = target.addr();
        let stream = Stream::connect(&target.reactor, addr).await;
        Ok(Self {
            stream: stream.with_context(|| format!("cannot connect to {addr}"))?,
            target: target.clone(),
            buffer: Vec::new(),
            begin: 0,
            end: 0,
        })
    }

    /// Reads once; false at the end.
    async fn fill(&mut self) -> Result<bool> {
        if self.begin == self.end {
            self.give_back();
        }
        self.stream.readable_or(|| false).await;
        if self.buffer.is_empty() {
            let buffer = self.target.buffers.borrow_mut().pop();
            self.buffer = buffer.unwrap_or_else(|| vec![0; BUFFER]);
        } else if self.end == self.buffer.len() {
            self.buffer.copy_within(self.begin..self.end, 0);
            (self.begin, self.end) = (0, self.end - self.begin);
            if self.end == self.buffer.len() {
                self.buffer.resize(2 * self.end, 0);
            }
        }
        let read = self.stream.read(&mut self.buffer[self.end..]).await?;
        self.end += read;
        Ok(read > 0)
    }

    fn give_back(&mut self) {
        (self.begin, self.end) = (0, 0);
        if !self.buffer.is_empty() {
            let buffer = mem::take(&mut self.buffer);
            self.target.buffers.borrow_mut().push(buffer);
        }
    }

    fn unread(&self) -> &[u8] {
        &self.buffer[self.begin..self.end]
    }

    /// Reads an HTTP response's head; returns the status, and where the body begins and ends in
    /// what is unread (which need not have all of it yet).
    async fn head(&mut self) -> Result<(u16, usize, usize)> {
        let head = loop {
            let end = self.unread().windows(4).position(|it| it == b"\r\n\r\n");
            if let Some(end) = end {
                break end + 4;
            }
            ensure!(self.fill().await?, "the server hung up before it answered");
        };
        let text = std::str::from_utf8(&self.unread()[..head])?;
        let mut lines = text.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1));
        let status = status.context("no status line")?.parse()?;
        let mut len = 0;
        for line in lines {
            let (name, value) = line.split_once(':').unwrap_or_default();
            if name.eq_ignore_ascii_case("content-length") {
                len = value.trim().parse()?;
            }
            if name.eq_ignore_ascii_case("transfer-encoding") {
                bail!("the response is chunked");
            }
            if name.eq_ignore_ascii_case("sec-websocket-accept") {
                ensure!(value.trim() == ACCEPT, "wrong Sec-WebSocket-Accept");
            }
        }
        Ok((status, head, head + len))
    }
}

impl Drop for Buffered {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// The key of RFC 6455's example, and its answer.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A WebSocket connection.
pub(crate) struct Ws {
    io: Buffered,
    out: Vec<u8>,
}

impl Ws {
    /// Opens a session over WebSocket and joins `/`.
    pub(crate) async fn join(target: &Target, version: Version) -> Result<Self> {
        let query = format!("EIO={}&transport=websocket", version as u8);
        let mut ws = Self::connect(target, &query).await?;
        ws.expect_start("0{").await?;
        if version == Version::Eio4 {
            ws.send("40").await?;
            ws.expect_start("40{").await?;
        } else {
            ws.expect("40").await?;
        }
        Ok(ws)
    }

    pub(crate) async fn connect(target: &Target, query: &str) -> Result<Self> {
        let mut io = Buffered::connect(target).await?;
        let request = format!(
            "GET /socket.io/?{query} HTTP/1.1\r\nHost: localhost:{}\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n\r\n",
            target.port
        );
        io.stream.write_all(request.as_bytes()).await?;
        let (status, head, _) = io.head().await?;
        ensure!(status == 101, "status {status} to a WebSocket");
        io.begin += head;
        let out = Vec::new();
        Ok(Self { io, out })
    }

    pub(crate) async fn send(&mut self, text: &str) -> Result<()> {
        self.push(|out| {
            frame::encode(out, Opcode::Text, text.as_bytes());
        });
        self.flush().await
    }

    /// Frames that leave with the next [`flush`](Self::flush).
    pub(crate) fn push(&mut self, frames: impl FnOnce(&mut Vec<u8>)) {
        frames(&mut self.out);
    }

    pub(crate) async fn flush(&mut self) -> Result<()> {
        self.io.stream.write_all(&self.out).await?;
        self.out.clear();
        Ok(())
    }

    /// Keeps no memory for what leaves next.
    pub(crate) fn shrink(&mut self) {
        self.out = Vec::new();
    }

    /// Reads once.
    pub(crate) async fn fill(&mut self) -> Result<()> {
        ensure!(self.io.fill().await?, "the server closed the connection");
        Ok(())
    }

    /// See [`Stream::readable_or`].
    pub(crate) async fn readable_or(&self, condition: impl Fn() -> bool) -> bool {
        self.io.stream.readable_or(condition).await
    }

    /// The next frame of what has been read. Pings are answered with the next flush.
    pub(crate) fn next(&mut self) -> Result<Option<Frame<'_>>> {
        loop {
            let Some((opcode, begin, end)) = frame::decode(self.io.unread())? else {
                return Ok(None);
            };
            let start = self.io.begin;
            self.io.begin += end;
            let payload = start + begin..start + end;
            if opcode == Opcode::Text && self.io.buffer[payload.clone()] == *b"2" {
                frame::encode(&mut self.out, Opcode::Text, b"3");
                continue;
            }
            let payload = &self.io.buffer[payload];
            return Ok(Some(Frame { opcode, payload }));
        }
    }

    /// Waits for the next frame and looks at it.
    pub(crate) async fn recv<T>(&mut self, look: impl FnOnce(Frame<'_>) -> Result<T>) -> Result<T> {
        loop {
            if let Some(frame) = self.next()? {
                return look(frame);
            }
            self.flush().await?;
            self.fill().await?;
        }
    }

    pub(crate) async fn expect(&mut self, text: &str) -> Result<()> {
        self.recv(|frame| {
            let is_it = frame.opcode == Opcode::Text && frame.payload == text.as_bytes();
            ensure!(is_it, "{} instead of {text:?}", Shown(frame.payload));
            Ok(())
        })
        .await
    }

    pub(crate) async fn expect_start(&mut self, start: &str) -> Result<()> {
        self.recv(|frame| {
            let is_it = frame.opcode == Opcode::Text && frame.payload.starts_with(start.as_bytes());
            ensure!(is_it, "{} instead of {start:?}", Shown(frame.payload));
            Ok(())
        })
        .await
    }

    /// Leaves the namespace, closes the WebSocket and waits for the server to do so.
    pub(crate) async fn leave(mut self) -> Result<()> {
        self.push(|out| {
            frame::encode(out, Opcode::Text, b"41");
            frame::encode(out, Opcode::Close, &1000_u16.to_be_bytes());
        });
        self.flush().await?;
        loop {
            if let Some(frame) = self.next()? {
                let shown = Shown(frame.payload);
                ensure!(frame.opcode == Opcode::Close, "{shown} after the goodbye");
                return Ok(());
            }
            if !self.io.fill().await? {
                return Ok(());
            }
        }
    }
}

/// A polling session. Connections are opened when there is none.
pub(crate) struct Polling {
    target: Target,
    /// The polls go here.
    polls: Option<Http>,
    /// The posts go here.
    posts: Option<Http>,
    sid: String,
}

impl Polling {
    /// Opens a session and joins `/`.
    pub(crate) async fn join(target: &Target) -> Result<Self> {
        let mut polls = Http::connect(target).await?;
        polls.send_get("").await?;
        let open = polls.recv().await?;
        let sid = open.strip_prefix(r#"0{"sid":""#);
        let sid = sid.and_then(|rest| rest.split('"').next());
        let mut session = Self {
            sid: sid.context("no session id")?.to_owned(),
            target: target.clone(),
            polls: Some(polls),
            posts: None,
        };
        session.post("40").await?;
        session.send_poll().await?;
        let joined = session.recv_poll().await?;
        ensure!(joined.starts_with("40{"), "{joined:?} instead of 40");
        Ok(session)
    }

    pub(crate) async fn post(&mut self, body: &str) -> Result<()> {
        self.send_post(body).await?;
        self.recv_posted().await
    }

    pub(crate) async fn send_post(&mut self, body: &str) -> Result<()> {
        let posts = Http::or_connect(&mut self.posts, &self.target).await?;
        posts.send_post(&self.sid, body).await
    }

    pub(crate) async fn recv_posted(&mut self) -> Result<()> {
        let posts = self.posts.as_mut().context("nothing was posted")?;
        let body = posts.recv().await?;
        ensure!(body == "ok", "{body:?} instead of ok");
        Ok(())
    }

    pub(crate) async fn send_poll(&mut self) -> Result<()> {
        let polls = Http::or_connect(&mut self.polls, &self.target).await?;
        polls.send_get(&format!("&sid={}", self.sid)).await
    }

    /// The body of the poll's answer. Pings are answered; no post may be under way.
    pub(crate) async fn recv_poll(&mut self) -> Result<String> {
        loop {
            let polls = self.polls.as_mut().context("no poll waits")?;
            let body = polls.recv().await?;
            if body.split(SEPARATOR).all(|packet| packet != "2") {
                return Ok(body.to_owned());
            }
            let others = body.split(SEPARATOR).filter(|&packet| packet != "2");
            let others: Vec<_> = others.map(str::to_owned).collect();
            self.post("3").await?;
            if !others.is_empty() {
                return Ok(others.join("\x1e"));
            }
            self.send_poll().await?;
        }
    }

    /// Whether the poll's answer has come; false when the condition holds first.
    pub(crate) async fn polled_or(&self, condition: impl Fn() -> bool) -> bool {
        match &self.polls {
            Some(polls) => polls.io.stream.readable_or(condition).await,
            None => false,
        }
    }

    /// Takes the answer to a poll, which can only be a ping, and polls again.
    pub(crate) async fn answer_ping(&mut self) -> Result<()> {
        let polls = self.polls.as_mut().context("no poll waits")?;
        let ping = polls.recv().await?;
        ensure!(ping == "2", "{ping:?} for somebody silent");
        self.post("3").await?;
        self.send_poll().await
    }

    /// Closes the connections that wait for nothing.
    pub(crate) fn disconnect(&mut self, poll_waits: bool) {
        self.posts = None;
        if !poll_waits {
            self.polls = None;
        }
    }

    /// Moves to a WebSocket, as the official client does.
    pub(crate) async fn upgrade(mut self) -> Result<Ws> {
        self.send_poll().await?;
        let query = format!("EIO=4&transport=websocket&sid={}", self.sid);
        let mut ws = Ws::connect(&self.target, &query).await?;
        ws.send("2probe").await?;
        ws.expect("3probe").await?;
        let last = self.recv_poll().await?;
        ensure!(last == "6", "{last:?} instead of 6");
        ws.send("5").await?;
        Ok(ws)
    }

    /// Closes the session; the poll that waits is answered.
    pub(crate) async fn leave(mut self, poll_waits: bool) -> Result<()> {
        self.post("1").await?;
        if poll_waits {
            let polls = self.polls.as_mut().context("no poll waits")?;
            polls.recv().await?;
        }
        Ok(())
    }
}

/// Between the packets of a body.
const SEPARATOR: char = '\x1e';

/// A connection that stays open from request to request.
struct Http {
    io: Buffered,
    port: u16,
}

impl Http {
    async fn or_connect<'a>(http: &'a mut Option<Self>, target: &Target) -> Result<&'a mut Self> {
        if http.is_none() {
            *http = Some(Self::connect(target).await?);
        }
        http.as_mut().context("connected")
    }

    async fn connect(target: &Target) -> Result<Self> {
        Ok(Self {
            io: Buffered::connect(target).await?,
            port: target.port,
        })
    }

    async fn send_get(&mut self, query: &str) -> Result<()> {
        let request = format!(
            "GET /socket.io/?EIO=4&transport=polling{query} HTTP/1.1\r\nHost: localhost:{}\r\n\r\n",
            self.port
        );
        Ok(self.io.stream.write_all(request.as_bytes()).await?)
    }

    async fn send_post(&mut self, sid: &str, body: &str) -> Result<()> {
        let request = format!(
            "POST /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: localhost:{}\r\n\
             Content-Type: text/plain;charset=UTF-8\r\nContent-Length: {}\r\n\r\n{body}",
            self.port,
            body.len()
        );
        Ok(self.io.stream.write_all(request.as_bytes()).await?)
    }

    /// The body of the response, which has to be good.
    async fn recv(&mut self) -> Result<&str> {
        let (status, begin, end) = self.io.head().await?;
        while self.io.unread().len() < end {
            ensure!(self.io.fill().await?, "the server hung up in its answer");
        }
        let start = self.io.begin;
        self.io.begin += end;
        let body = std::str::from_utf8(&self.io.buffer[start + begin..start + end])?;
        ensure!(status == 200, "status {status} with {body:?}");
        Ok(body)
    }
}

/// The start of what came, for an error.
pub(crate) struct Shown<'a>(pub(crate) &'a [u8]);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (start, rest) = self.0.split_at(self.0.len().min(80));
        write!(f, "{:?}", String::from_utf8_lossy(start))?;
        if !rest.is_empty() {
            write!(f, "… ({} bytes)", self.0.len())?;
        }
        Ok(())
    }
}
