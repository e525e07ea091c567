//! WebSocket: the only folder that names tungstenite.
//!
//! tungstenite knows what a frame is: headers, opcodes, close codes, the handshake's key. Buffers and
//! writing are our own, so that an idle connection holds none, and a message for many is not copied
//! into a frame for each of them.

mod inbound;
mod outbound;

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use engineio_proto::{
    CloseReason, Data, Dialect, Encoded, Str, Violation,
    frame::{self, Kind},
    session::LaneChange,
};
use hyper::upgrade::Upgraded;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::{
    handshake::derive_accept_key,
    protocol::frame::coding::{CloseCode, Control, Data as DataCode, OpCode},
};

use self::{
    inbound::{Inbound, Received},
    outbound::Outbound,
};
use super::io::Io;

/// The value of `Sec-WebSocket-Accept` for a `Sec-WebSocket-Key` (RFC 6455, section 4.2.2).
pub(crate) fn accept_key(key: &[u8]) -> String {
    derive_accept_key(key)
}

/// The server's end of one WebSocket.
#[derive(Debug)]
pub(crate) struct WebSocket {
    io: Io,
    inbound: Inbound,
    outbound: Outbound,
    /// Bytes of pongs since everything was last flushed.
    owed_pongs: usize,
    dialect: Dialect,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// Our close frame is on its way; messages that still come are thrown away.
    Closing,
    /// The peer broke a rule and was told so. Its frames make no sense any more, but as long as
    /// bytes come they are taken: closing a TCP connection with unread bytes would reset it, and
    /// the peer might never read why.
    Draining,
    Ended,
}

/// What comes out of a WebSocket.
#[derive(Debug)]
pub(crate) enum Incoming {
    Message(Data),
    /// The end, by a close frame, a broken connection or a broken rule.
    End(LaneChange),
}

impl WebSocket {
    /// Takes over an upgraded connection. No message larger than `max_payload` bytes gets in.
    ///
    /// The dialect is the session's, but for `base64_frames`, which each transport of a session
    /// asks for in its own request.
    pub(crate) fn new(upgraded: Upgraded, dialect: Dialect, max_payload: usize) -> Self {
        let (io, read, held) = Io::new(upgraded);
        Self {
            io,
            inbound: Inbound::new(&read, max_payload),
            outbound: Outbound::new(&held),
            owed_pongs: 0,
            dialect,
            phase: Phase::Open,
        }
    }

    /// The next message. After [`Incoming::End`] nothing comes.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        if matches!(self.phase, Phase::Draining | Phase::Ended) {
            return Poll::Pending;
        }
        loop {
            // A peer that pings and does not read would let the pongs pile up.
            if self.waits_for_flush() && ready!(self.poll_flush(cx)).is_err() {
                return Poll::Ready(self.end(LaneChange::Failed));
            }
            match self.inbound.next() {
                Ok(Some(Received::Message(data))) => {
                    if self.phase == Phase::Open {
                        return Poll::Ready(Incoming::Message(data));
                    }
                }
                Ok(Some(Received::Ping(payload))) => {
                    if self.phase == Phase::Open {
                        self.owed_pongs += payload.len() + 2;
                        self.outbound.push(OpCode::Control(Control::Pong), &payload);
                    }
                }
                Ok(Some(Received::Close(answer))) => {
                    if self.phase == Phase::Open {
                        self.say_goodbye(cx, &answer);
                    }
                    return Poll::Ready(self.end(LaneChange::Closed));
                }
                Ok(None) => match ready!(self.inbound.poll_fill(&mut self.io, cx)) {
                    Ok(0) => return Poll::Ready(self.end(LaneChange::Closed)),
                    Ok(_) => {}
                    Err(_) => return Poll::Ready(self.end(LaneChange::Failed)),
                },
                Err(violation) => return Poll::Ready(self.fail(cx, violation)),
            }
        }
    }

    /// Whether more may be written before the next flush.
    pub(crate) fn has_room(&self) -> bool {
        self.outbound.len() < FLUSH_AT && self.phase == Phase::Open
    }

    /// Whether nothing is read before all that was written has gone to the kernel.
    pub(crate) fn waits_for_flush(&self) -> bool {
        self.owed_pongs >= MAX_PONGS
    }

    /// Whether the stream is known to tell its reader and its writer apart.
    pub(crate) fn is_tcp(&self) -> bool {
        matches!(self.io, Io::Tcp(_))
    }

    /// Whether all that was written has gone to the kernel.
    pub(crate) fn is_flushed(&self) -> bool {
        self.outbound.is_empty()
    }

    /// Writes the frames of a message, without flushing.
    pub(crate) fn write(&mut self, message: &Encoded) {
        frame::encode(message, &self.dialect, |kind, bytes| {
            let kind = match kind {
                Kind::Text => DataCode::Text,
                Kind::Binary => DataCode::Binary,
            };
            self.outbound.push(OpCode::Data(kind), bytes);
        });
    }

    /// Writes a control packet of Engine.IO, without flushing.
    pub(crate) fn write_text(&mut self, text: &Str) {
        self.outbound
            .push(OpCode::Data(DataCode::Text), text.as_bytes());
    }

    /// Moves what was written to the kernel.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CloseReason>> {
        let flushed = ready!(self.outbound.poll_flush(&mut self.io, cx));
        self.owed_pongs = 0;
        Poll::Ready(flushed.map_err(|_| CloseReason::TransportError))
    }

    /// Says goodbye with an empty close frame, if nothing was said yet, and waits for the peer's,
    /// so that what was written before is not lost to a connection reset. The caller limits the
    /// time.
    pub(crate) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.phase == Phase::Open {
            self.outbound
                .push(OpCode::Control(Control::Close), &Bytes::new());
            self.phase = Phase::Closing;
        }
        // An error here shows up in the reads below.
        let flushed = self.poll_flush(cx).is_ready();
        while self.phase == Phase::Closing {
            ready!(self.poll_read(cx));
        }
        if self.phase == Phase::Draining {
            if flushed {
                let _ = Pin::new(&mut self.io).poll_shutdown(cx);
            }
            ready!(self.poll_drain(cx));
            self.phase = Phase::Ended;
        }
        Poll::Ready(())
    }

    /// Throws away what comes, up to the end of the stream.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut bytes = [0; 512];
        loop {
            let mut buf = ReadBuf::new(&mut bytes);
            match ready!(Pin::new(&mut self.io).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => {}
                _ => return Poll::Ready(()),
            }
        }
    }

    /// Tells the peer what was wrong, as far as that goes without waiting; see
    /// [`poll_close`](Self::poll_close) for the rest.
    fn fail(&mut self, cx: &mut Context<'_>, violation: Violation) -> Incoming {
        let was_open = self.phase == Phase::Open;
        self.phase = if was_open {
            Phase::Draining
        } else {
            Phase::Ended
        };
        if was_open {
            self.say_goodbye(cx, &payload_of(close_code(violation)));
        }
        Incoming::End(LaneChange::Violated(violation))
    }

    /// Sends a close frame, as far as that goes without waiting.
    fn say_goodbye(&mut self, cx: &mut Context<'_>, payload: &Bytes) {
        self.outbound.push(OpCode::Control(Control::Close), payload);
        let _ = self.poll_flush(cx);
    }

    fn end(&mut self, change: LaneChange) -> Incoming {
        self.phase = Phase::Ended;
        Incoming::End(change)
    }
}

/// The payload of a close frame without a reason.
fn payload_of(code: CloseCode) -> Bytes {
    Bytes::copy_from_slice(&u16::from(code).to_be_bytes())
}

fn close_code(violation: Violation) -> CloseCode {
    match violation {
        Violation::MessageTooLarge => CloseCode::Size,
        Violation::InvalidUtf8 => CloseCode::Invalid,
        _ => CloseCode::Protocol,
    }
}

/// How many bytes of pongs may wait for a peer that does not read.
const MAX_PONGS: usize = 16 * 1024;

/// How much is handed to the socket before it must have gone to the kernel.
const FLUSH_AT: usize = 64 * 1024;
