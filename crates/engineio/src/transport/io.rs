//! The byte stream under a WebSocket.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

use super::wire::Wire;

/// The byte stream of an upgraded HTTP connection.
#[derive(Debug)]
pub(crate) enum Io {
    /// A plain TCP stream, without the box and the virtual calls of the general case.
    Tcp(TcpStream),
    /// Whatever else the application serves HTTP on: TLS, a Unix socket, a test's pipe.
    Other(Box<TokioIo<Upgraded>>),
}

impl Io {
    /// The stream, what had been read from it beyond the request, and what was
    /// [held back](super::wire::Hold) of the response.
    pub(crate) fn new(upgraded: Upgraded) -> (Self, Bytes, Vec<u8>) {
        let upgraded = match upgraded.downcast::<Wire>() {
            Ok(parts) => {
                let (stream, held) = parts.io.into_parts();
                return (Io::Tcp(stream), parts.read_buf, held);
            }
            Err(upgraded) => upgraded,
        };
        let (io, read) = match upgraded.downcast::<TokioIo<TcpStream>>() {
            Ok(parts) => (Io::Tcp(parts.io.into_inner()), parts.read_buf),
            Err(upgraded) => (Io::Other(Box::new(TokioIo::new(upgraded))), Bytes::new()),
        };
        (io, read, Vec::new())
    }
}

macro_rules! delegate {
    ($self:ident, $io:ident => $call:expr) => {
        match $self.get_mut() {
            Io::Tcp($io) => {
                let $io = Pin::new($io);
                $call
            }
            Io::Other($io) => {
                let $io = Pin::new($io.as_mut());
                $call
            }
        }
    };
}

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        delegate!(self, io => io.poll_read(cx, buf))
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        delegate!(self, io => io.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        delegate!(self, io => io.poll_write_vectored(cx, bufs))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, io => io.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, io => io.poll_shutdown(cx))
    }
}
