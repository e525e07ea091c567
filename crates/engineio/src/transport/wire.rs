//! A TCP connection as hyper has it.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    time::{Sleep, sleep},
};

/// A TCP connection on which a response can be [held back](Hold): a WebSocket's 101 then leaves
/// together with the first packet of its session, by one system call instead of two.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TokioIo<TcpStream>,
    hold: Hold,
    held: Vec<u8>,
    /// How long the client may take none of what waits for it.
    write_timeout: Duration,
    /// While it takes none.
    stalled: Option<Pin<Box<Sleep>>>,
}

/// Holds back the 101 that is written to a connection next, and what comes behind it. Whoever asks
/// for that takes the connection over, and writes to it at once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hold(Arc<AtomicBool>);

impl Hold {
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Wire {
    pub(crate) fn new(stream: TcpStream, hold: Hold, write_timeout: Duration) -> Self {
        Self {
            stream: TokioIo::new(stream),
            hold,
            held: Vec::new(),
            write_timeout,
            stalled: None,
        }
    }

    /// The connection, and what was held back.
    pub(crate) fn into_parts(self) -> (TcpStream, Vec<u8>) {
        (self.stream.into_inner(), self.held)
    }

    /// Another service around the server may have put another response in the place of its 101, and
    /// then nobody takes the connection over.
    fn holds(&self, bufs: &[IoSlice<'_>]) -> bool {
        let is_switch = || bufs.iter().any(|it| it.starts_with(SWITCH));
        self.hold.0.load(Ordering::Relaxed) && (!self.held.is_empty() || is_switch())
    }

    fn stream(&mut self) -> Pin<&mut TokioIo<TcpStream>> {
        Pin::new(&mut self.stream)
    }
}

impl Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream().poll_read(cx, buf)
    }
}

impl Write for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.as_mut().poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if !self.holds(bufs) {
            let len: usize = bufs.iter().map(|it| it.len()).sum();
            let written = if bufs.len() > 1 && len <= SMALL {
                // The kernel takes one buffer in less time than several.
                let (mut joined, mut at) = ([0; SMALL], 0);
                for buf in bufs {
                    joined[at..][..buf.len()].copy_from_slice(buf);
                    at += buf.len();
                }
                self.stream().poll_write(cx, &joined[..len])
            } else {
                self.stream().poll_write_vectored(cx, bufs)
            };
            if written.is_ready() {
                self.stalled = None;
                return written;
            }
            let time = self.write_timeout;
            let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(time)));
            ready!(stalled.as_mut().poll(cx));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let before = self.held.len();
        for buf in bufs {
            self.held.extend_from_slice(buf);
        }
        Poll::Ready(Ok(self.held.len() - before))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(cx)
    }
}

/// Up to this size a copy costs less than a second buffer.
const SMALL: usize = 512;

/// How the response starts that can be held back.
const SWITCH: &[u8] = b"HTTP/1.1 101 ";
