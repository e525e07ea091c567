//! The byte stream under a WebSocket.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::wire::Wire;

/// The byte stream of an upgraded HTTP connection.
#[derive(Debug)]
pub(crate) struct Io {
    stream: Stream,
    /// What is to leave before anything else: the response that was
    /// [held back](super::wire::Hold).
    head: Bytes,
}

#[derive(Debug)]
enum Stream {
    /// A plain TCP stream, without the box and the virtual calls of the general case.
    Tcp(TcpStream),
    /// Whatever else the application serves HTTP on: TLS, a Unix socket, a test's pipe.
    Other(Box<TokioIo<Upgraded>>),
}

macro_rules! delegate {
    ($stream:expr, $io:ident => $call:expr) => {
        match $stream {
            Stream::Tcp($io) => {
                let $io = Pin::new($io);
                $call
            }
            Stream::Other($io) => {
                let $io = Pin::new($io.as_mut());
                $call
            }
        }
    };
}
impl Io {
    /// The stream and what had been read from it beyond the request.
    pub(crate) fn new(upgraded: Upgraded) -> (Self, Bytes) {
        let upgraded = match upgraded.downcast::<Wire>() {
            Ok(parts) => {
                let (stream, head) = parts.io.into_parts();
                let (stream, head) = (Stream::Tcp(stream), head.into());
                return (Self { stream, head }, parts.read_buf);
            }
            Err(upgraded) => upgraded,
        };
        let (stream, read) = match upgraded.downcast::<TokioIo<TcpStream>>() {
            Ok(parts) => (Stream::Tcp(parts.io.into_inner()), parts.read_buf),
            Err(upgraded) => {
                let other = Box::new(TokioIo::new(upgraded));
                (Stream::Other(other), Bytes::new())
            }
        };
        let head = Bytes::new();
        (Self { stream, head }, read)
    }

    /// Writes what was held back, and of the buffer what goes with it.
    fn poll_write_head(&mut self, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        while !self.head.is_empty() {
            let both = [IoSlice::new(&self.head), IoSlice::new(buf)];
            let stream = &mut self.stream;
            let written = ready!(delegate!(stream, io => io.poll_write_vectored(cx, &both)))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let of_head = written.min(self.head.len());
            self.head.advance(of_head);
            if written > of_head {
                return Poll::Ready(Ok(written - of_head));
            }
        }
        Poll::Ready(Ok(0))
    }
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        delegate!(&mut self.stream, io => io.poll_read(cx, buf))
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match ready!(self.poll_write_head(cx, buf))? {
            0 => delegate!(&mut self.stream, io => io.poll_write(cx, buf)),
            written => Poll::Ready(Ok(written)),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = bufs.iter().find(|it| !it.is_empty());
        match ready!(self.poll_write_head(cx, first.map_or(&[], |it| it)))? {
            0 => delegate!(&mut self.stream, io => io.poll_write_vectored(cx, bufs)),
            written => Poll::Ready(Ok(written)),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Tcp(stream) => stream.is_write_vectored(),
            Stream::Other(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_head(cx, &[]))?;
        delegate!(&mut self.stream, io => io.poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_head(cx, &[]))?;
        delegate!(&mut self.stream, io => io.poll_shutdown(cx))
    }
}
