//! WebSocket: the only file that names tungstenite.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use engineio_proto::{
    CloseReason, Data, Dialect, Encoded, Str, Violation, frame, session::LaneChange,
};
use futures_util::{Sink, Stream};
use hyper::upgrade::Upgraded;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Error, Message,
        error::{CapacityError, ProtocolError},
        protocol::{
            CloseFrame, Role, WebSocketConfig,
            frame::{
                Frame,
                coding::{CloseCode, Data as DataCode, OpCode},
            },
        },
    },
};

use super::io::Io;

/// The value of `Sec-WebSocket-Accept` for a `Sec-WebSocket-Key` (RFC 6455, section 4.2.2).
pub(crate) fn accept_key(key: &[u8]) -> String {
    tokio_tungstenite::tungstenite::handshake::derive_accept_key(key)
}

/// The server's end of one WebSocket.
#[derive(Debug)]
pub(crate) struct WebSocket {
    stream: WebSocketStream<Io>,
    dialect: Dialect,
    /// Bytes written since everything was last flushed.
    unflushed: usize,
    /// Bytes of pongs that tungstenite may still hold.
    owed_pongs: usize,
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
    pub(crate) async fn new(upgraded: Upgraded, dialect: Dialect, max_payload: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(WRITE_BUFFER)
            .max_message_size(Some(max_payload))
            .max_frame_size(Some(max_payload));
        let (io, read) = Io::new(upgraded);
        let (role, config) = (Role::Server, Some(config));
        let stream = if read.is_empty() {
            // Not made of nothing: a buffer whose slices are in use is replaced by one of the size
            // that it was made with.
            WebSocketStream::from_raw_socket(io, role, config).await
        } else {
            // A copy: moved, it would be the read buffer from now on, at the size of hyper's.
            WebSocketStream::from_partially_read(io, read.to_vec(), role, config).await
        };
        Self {
            stream,
            dialect,
            unflushed: 0,
            owed_pongs: 0,
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
            if self.owed_pongs >= MAX_PONGS {
                let _ = ready!(Pin::new(&mut self.stream).poll_flush(cx));
                self.owed_pongs = 0;
            }
            let message = match ready!(Pin::new(&mut self.stream).poll_next(cx)) {
                Some(Ok(Message::Text(text))) => match Str::try_from(Bytes::from(text)) {
                    Ok(text) => Data::Text(text),
                    // tungstenite has checked it already
                    Err(_) => return Poll::Ready(self.fail(cx, Violation::InvalidUtf8)),
                },
                Some(Ok(Message::Binary(bytes))) => Data::Binary(bytes),
                // Control frames are answered by tungstenite.
                Some(Ok(Message::Ping(payload))) => {
                    self.owed_pongs += payload.len() + 2;
                    continue;
                }
                Some(Ok(_)) => continue,
                None => return Poll::Ready(self.end(LaneChange::Closed)),
                Some(Err(error)) => {
                    return Poll::Ready(match change(&error) {
                        LaneChange::Violated(violation) => self.fail(cx, violation),
                        change => self.end(change),
                    });
                }
            };
            if self.phase == Phase::Open {
                return Poll::Ready(Incoming::Message(message));
            }
        }
    }

    /// Whether more may be written before the next flush.
    pub(crate) fn has_room(&self) -> bool {
        self.unflushed < FLUSH_AT && self.phase == Phase::Open
    }

    /// Whether all that was written has gone to the kernel.
    pub(crate) fn is_flushed(&self) -> bool {
        self.unflushed == 0
    }

    /// Writes the frames of a message, without flushing.
    pub(crate) fn write(&mut self, message: &Encoded) -> Result<(), CloseReason> {
        for data in frame::encode(message, &self.dialect) {
            let (bytes, opcode) = match data {
                Data::Text(text) => (text.into_bytes(), DataCode::Text),
                Data::Binary(bytes) => (bytes, DataCode::Binary),
            };
            self.write_frame(Frame::message(bytes, OpCode::Data(opcode), true))?;
        }
        Ok(())
    }

    /// Writes a control packet of Engine.IO, without flushing.
    pub(crate) fn write_text(&mut self, text: Str) -> Result<(), CloseReason> {
        self.write_frame(Frame::message(
            text.into_bytes(),
            OpCode::Data(DataCode::Text),
            true,
        ))
    }

    /// Moves what was written to the kernel.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), CloseReason>> {
        if self.unflushed == 0 {
            return Poll::Ready(Ok(()));
        }
        let flushed = ready!(Pin::new(&mut self.stream).poll_flush(cx));
        self.unflushed = 0;
        Poll::Ready(flushed.map_err(|_| CloseReason::TransportError))
    }

    /// Says goodbye with an empty close frame, if nothing was said yet, and waits for the peer's,
    /// so that what was written before is not lost to a connection reset. The caller limits the
    /// time.
    pub(crate) fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.phase == Phase::Open {
            self.phase = match Pin::new(&mut self.stream).start_send(Message::Close(None)) {
                Ok(()) => Phase::Closing,
                Err(_) => Phase::Ended,
            };
        }
        // An error here shows up in the reads below.
        let flushed = Pin::new(&mut self.stream).poll_flush(cx).is_ready();
        if flushed {
            self.unflushed = 0;
        }
        while self.phase == Phase::Closing {
            ready!(self.poll_read(cx));
        }
        if self.phase == Phase::Draining {
            if flushed {
                let _ = Pin::new(self.stream.get_mut()).poll_shutdown(cx);
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
            match ready!(Pin::new(self.stream.get_mut()).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => {}
                _ => return Poll::Ready(()),
            }
        }
    }

    fn write_frame(&mut self, frame: Frame) -> Result<(), CloseReason> {
        self.unflushed += frame.len();
        Pin::new(&mut self.stream)
            .start_send(Message::Frame(frame))
            .map_err(|_| CloseReason::TransportError)
    }

    /// Tells the peer what was wrong, as far as that goes without waiting; see
    /// [`poll_close`](Self::poll_close) for the rest.
    fn fail(&mut self, cx: &mut Context<'_>, violation: Violation) -> Incoming {
        let goodbye = CloseFrame {
            code: close_code(violation),
            reason: "".into(),
        };
        self.phase = match Pin::new(&mut self.stream).start_send(Message::Close(Some(goodbye))) {
            Ok(()) => Phase::Draining,
            Err(_) => Phase::Ended,
        };
        let _ = Pin::new(&mut self.stream).poll_flush(cx);
        Incoming::End(LaneChange::Violated(violation))
    }

    fn end(&mut self, change: LaneChange) -> Incoming {
        self.phase = Phase::Ended;
        Incoming::End(change)
    }
}

/// Allocated for every connection; larger messages let it grow.
const READ_BUFFER: usize = 2 * 1024;

/// Written before this much has collected, a frame would cost a system call of its own.
const WRITE_BUFFER: usize = 16 * 1024;

/// How many bytes of pongs may wait for a peer that does not read.
const MAX_PONGS: usize = 16 * 1024;

/// How much is handed to the socket before it must have gone to the kernel.
const FLUSH_AT: usize = 64 * 1024;

/// What an error is to the session. After a violation the peer still listens.
///
/// A connection that ends without a close frame has been closed by the peer, as the official
/// server sees it.
fn change(error: &Error) -> LaneChange {
    match error {
        Error::Capacity(CapacityError::MessageTooLong { .. }) => {
            LaneChange::Violated(Violation::MessageTooLarge)
        }
        Error::Utf8(_) => LaneChange::Violated(Violation::InvalidUtf8),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => LaneChange::Closed,
        Error::Protocol(_) => LaneChange::Violated(Violation::InvalidFrame),
        _ => LaneChange::Failed,
    }
}

fn close_code(violation: Violation) -> CloseCode {
    match violation {
        Violation::MessageTooLarge => CloseCode::Size,
        Violation::InvalidUtf8 => CloseCode::Invalid,
        _ => CloseCode::Protocol,
    }
}
