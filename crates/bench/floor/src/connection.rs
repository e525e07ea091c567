//! A TCP connection: HTTP first, then perhaps a WebSocket.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io::{self, IoSlice},
    mem,
    pin::{Pin, pin},
    rc::Rc,
    task::{Context, Poll, Waker, ready},
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, ReadBuf},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use crate::{
    frame::{BINARY, CLOSE, Frame, TEXT, push_header},
    hub::{Hub, Session},
    request::Request,
};

/// The writing side, which others write to as well.
pub(crate) struct Conn {
    stream: OwnedWriteHalf,
    pub(crate) out: RefCell<Vec<u8>>,
    pub(crate) dirty: Cell<bool>,
    /// The connection's task: it goes on when the kernel takes no more.
    task: RefCell<Option<Waker>>,
}

/// The reading side.
struct Reader {
    hub: Rc<Hub>,
    conn: Rc<Conn>,
    stream: OwnedReadHalf,
    /// What has come of a frame or request that is not complete.
    partial: Vec<u8>,
    state: State,
}

enum State {
    Http,
    /// The WebSocket is the session's transport.
    Socket(Rc<Session>),
    /// It may become so.
    Candidate(Rc<Session>),
    Closed,
}

thread_local! {
    /// Where everything is read to. An idle connection needs no buffer.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; 128 * 1024]);
}

pub(crate) async fn run(hub: Rc<Hub>, stream: TcpStream) {
    let (read, write) = stream.into_split();
    let mut reader = Reader {
        hub,
        conn: Rc::new(Conn {
            stream: write,
            out: RefCell::default(),
            dirty: Cell::default(),
            task: RefCell::default(),
        }),
        stream: read,
        partial: Vec::new(),
        state: State::Http,
    };
    poll_fn(|cx| reader.poll(cx)).await;
    if let State::Socket(session) = &reader.state {
        reader.hub.close(session);
    }
    reader.hub.flush();
}

impl Reader {
    /// Ready when the connection has ended.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let conn = self.conn.clone();
        conn.task
            .borrow_mut()
            .get_or_insert_with(|| cx.waker().clone());
        while !matches!(self.state, State::Closed) {
            while !conn.out.borrow().is_empty()
                && conn.stream.as_ref().poll_write_ready(cx).is_ready()
            {
                conn.flush();
            }
            if !ready!(self.poll_turn(cx)).unwrap_or(false) {
                break;
            }
        }
        Poll::Ready(())
    }

    /// Reads once and answers all that is complete; false at the end.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if self.partial.is_empty() {
            SCRATCH.with_borrow_mut(|scratch| {
                let mut buffer = ReadBuf::new(scratch);
                ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))?;
                let bytes = buffer.filled_mut();
                let used = self.answer(bytes);
                self.partial.extend_from_slice(&bytes[used..]);
                Poll::Ready(Ok(!bytes.is_empty()))
            })
        } else {
            let mut partial = mem::take(&mut self.partial);
            let missing = Frame::header(&partial).map_or(0, |it| it.end - partial.len());
            partial.reserve(missing.clamp(4096, 1 << 20));
            let read = pin!(self.stream.read_buf(&mut partial)).poll(cx);
            let Poll::Ready(read) = read else {
                self.partial = partial;
                return Poll::Pending;
            };
            let used = self.answer(&mut partial);
            // What is empty is given back: an idle connection has no buffer.
            if used < partial.len() {
                partial.drain(..used);
                self.partial = partial;
            }
            Poll::Ready(Ok(read? > 0))
        }
    }

    /// Returns how many bytes were complete requests or frames.
    fn answer(&mut self, bytes: &mut [u8]) -> usize {
        let mut used = 0;
        loop {
            let rest = &mut bytes[used..];
            let taken = match self.state {
                State::Http => self.answer_request(rest),
                State::Socket(_) | State::Candidate(_) => self.answer_frame(rest),
                State::Closed => None,
            };
            let Some(taken) = taken else {
                break;
            };
            used += taken;
        }
        self.hub.flush();
        used
    }

    fn answer_request(&mut self, bytes: &[u8]) -> Option<usize> {
        let request = Request::find(bytes)?;
        let (hub, conn) = (&self.hub, &self.conn);
        let session = request.sid().and_then(|sid| hub.session(sid));
        match (request.accept(), session) {
            (Some(accept), session) => {
                let head = format!(
                    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                     Connection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
                );
                conn.out.borrow_mut().extend_from_slice(head.as_bytes());
                hub.mark(conn);
                self.state = match session {
                    Some(session) => State::Candidate(session),
                    None => {
                        let session = hub.open(Some(conn.clone()));
                        hub.send(&session, &[&Hub::open_packet(&session, "")]);
                        if request.is_version_3() {
                            hub.join(&session);
                            hub.send(&session, &[b"40"]);
                        }
                        State::Socket(session)
                    }
                };
            }
            (None, None) => {
                let session = hub.open(None);
                hub.respond(conn, &Hub::open_packet(&session, r#""websocket""#));
            }
            (None, Some(session)) if request.is_post() => {
                let body = &bytes[request.begin..request.end];
                for packet in body.split(|&byte| byte == 0x1e) {
                    match packet {
                        b"1" => hub.close(&session),
                        packet => hub.on_text(&session, packet),
                    }
                }
                hub.respond(conn, b"ok");
            }
            (None, Some(session)) => hub.poll(&session, conn),
        }
        Some(request.end)
    }

    fn answer_frame(&mut self, bytes: &mut [u8]) -> Option<usize> {
        let frame = Frame::header(bytes).filter(|it| it.end <= bytes.len())?;
        let payload = frame.payload(bytes);
        match (frame.opcode, &self.state) {
            (TEXT, State::Socket(session)) => self.hub.on_text(session, payload),
            (BINARY, State::Socket(session)) => self.hub.on_binary(session, payload),
            (TEXT, State::Candidate(session)) => match &*payload {
                b"2probe" => {
                    self.conn.push_text(&[b"3probe"]);
                    self.hub.mark(&self.conn);
                    self.hub.release_poll(session);
                }
                _ => {
                    self.hub.upgrade(session, &self.conn);
                    self.state = State::Socket(session.clone());
                }
            },
            (CLOSE, state) => {
                push_header(&mut self.conn.out.borrow_mut(), CLOSE, payload.len());
                self.conn.out.borrow_mut().extend_from_slice(payload);
                self.hub.mark(&self.conn);
                if let State::Socket(session) = state {
                    self.hub.close(session);
                }
                self.state = State::Closed;
            }
            _ => {}
        }
        Some(frame.end)
    }
}

impl Conn {
    /// Queues a text frame that is made of these parts.
    pub(crate) fn push_text(&self, parts: &[&[u8]]) {
        let out = &mut *self.out.borrow_mut();
        push_header(out, TEXT, parts.iter().map(|it| it.len()).sum());
        for part in parts {
            out.extend_from_slice(part);
        }
    }

    /// Queues bytes; many are written at once, without a copy.
    pub(crate) fn push_bytes(&self, bytes: &[u8]) {
        let out = &mut *self.out.borrow_mut();
        let mut written = 0;
        if bytes.len() > KEEP {
            let both = [IoSlice::new(out), IoSlice::new(bytes)];
            written = self.stream.try_write_vectored(&both).unwrap_or(0);
        }
        let first = written.min(out.len());
        out.drain(..first);
        out.extend_from_slice(&bytes[written - first..]);
    }

    pub(crate) fn flush(&self) {
        let out = &mut *self.out.borrow_mut();
        if out.is_empty() {
            return;
        }
        match self.stream.try_write(out) {
            Ok(written) if written == out.len() && out.capacity() > KEEP => *out = Vec::new(),
            Ok(written) => drop(out.drain(..written)),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // The reading side hears of it too.
            Err(_) => out.clear(),
        }
        if !out.is_empty()
            && let Some(task) = &*self.task.borrow()
        {
            task.wake_by_ref();
        }
    }
}

/// The largest buffer that an idle connection keeps.
const KEEP: usize = 4096;
