//! A byte stream between two servers.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{Arc, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::{Buf, Bytes};
use engineio_proto::relay::RelayEvent;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use super::{Key, Relay};
use crate::sync::{Mutex, MutexGuard};

/// One end of a stream. Dropping it ends it, as with TCP: with a reset if there is something that
/// nobody has read, or if more comes.
pub(crate) struct RelayStream {
    relay: Arc<Relay>,
    key: Key,
    half: Arc<Half>,
}

/// What this end knows of a stream.
pub(super) struct Half(Mutex<State>);

struct State {
    /// What has come and has not been read.
    unread: VecDeque<Bytes>,
    unread_bytes: usize,
    /// Bytes that have been read since the other end was last told.
    read: usize,
    /// Bytes that may be sent.
    credit: usize,
    next_in: u32,
    next_out: u32,
    opened: Instant,
    /// How often the other end had been interrupted when it was first heard.
    epoch: Option<u32>,
    /// No more comes.
    their_end: bool,
    /// No more leaves.
    our_end: bool,
    failed: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// Something that the other end must not do, or a gap: the stream fails.
#[derive(Debug)]
pub(super) struct Broken;

impl Half {
    pub(super) fn opened_here() -> Self {
        Self::new(0, None)
    }

    /// The first message has come already.
    pub(super) fn accepted(epoch: u32) -> Self {
        Self::new(1, Some(epoch))
    }

    fn new(next_in: u32, epoch: Option<u32>) -> Self {
        Self(Mutex::new(State {
            unread: VecDeque::new(),
            unread_bytes: 0,
            read: 0,
            credit: WINDOW,
            next_in,
            next_out: 0,
            opened: Instant::now(),
            epoch,
            their_end: false,
            our_end: false,
            failed: false,
            reader: None,
            writer: None,
        }))
    }

    /// Since when the other end has not answered at all.
    pub(super) fn unanswered(&self) -> Option<Instant> {
        let state = self.state();
        state.epoch.is_none().then_some(state.opened)
    }

    /// Whether the other end has been interrupted since it was first heard.
    pub(super) fn is_older_than(&self, epoch: u32) -> bool {
        self.state().epoch.is_some_and(|it| it != epoch)
    }

    pub(super) fn fail(&self) {
        let mut state = self.state();
        state.failed = true;
        state.unread.clear();
        let wakers = [state.reader.take(), state.writer.take()];
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    pub(super) fn receive(&self, epoch: u32, order: u32, event: RelayEvent) -> Result<(), Broken> {
        let mut state = self.state();
        if let RelayEvent::Reset = event {
            // What has come whole may still be read.
            if !state.their_end {
                drop(state);
                self.fail();
                return Ok(());
            }
            state.our_end = true;
            let writer = state.writer.take();
            drop(state);
            writer.into_iter().for_each(Waker::wake);
            return Ok(());
        }
        let is_data = matches!(event, RelayEvent::Data(_));
        if state.failed || order != state.next_in || (state.their_end && is_data) {
            return Err(Broken);
        }
        state.next_in = order.wrapping_add(1);
        state.epoch = Some(epoch);
        let waker = match event {
            RelayEvent::Data(data) => {
                state.unread_bytes += data.len();
                if data.is_empty() || state.unread_bytes > WINDOW {
                    return Err(Broken);
                }
                state.unread.push_back(data);
                state.reader.take()
            }
            RelayEvent::End => {
                state.their_end = true;
                state.reader.take()
            }
            RelayEvent::Credit(credit) => {
                state.credit += credit as usize;
                if state.credit > WINDOW {
                    return Err(Broken);
                }
                state.writer.take()
            }
            RelayEvent::Accept => None,
            RelayEvent::Open | RelayEvent::Reset => return Err(Broken),
        };
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RelayStream {
    pub(super) fn new(relay: Arc<Relay>, key: Key, half: Arc<Half>) -> Self {
        Self { relay, key, half }
    }

    pub(super) fn open(&self) -> bool {
        self.send(&mut self.half.state(), RelayEvent::Open)
    }

    pub(super) fn accept(&self) -> bool {
        self.send(&mut self.half.state(), RelayEvent::Accept)
    }

    /// Under the lock: messages leave in the order of their numbers.
    fn send(&self, state: &mut State, event: RelayEvent) -> bool {
        let order = state.next_out;
        state.next_out = order.wrapping_add(1);
        let sent = self.relay.send_about(&self.key, order, event);
        state.failed |= !sent;
        sent
    }
}

impl Drop for RelayStream {
    fn drop(&mut self) {
        self.relay.remove(&self.key);
        let mut state = self.half.state();
        if !state.failed && !state.our_end {
            self.send(&mut state, RelayEvent::End);
        }
        if !state.failed && state.unread_bytes > 0 {
            self.send(&mut state, RelayEvent::Reset);
        }
    }
}

impl AsyncRead for RelayStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.half.state();
        if state.failed {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        let before = buf.filled().len();
        while let Some(first) = state.unread.front_mut()
            && buf.remaining() > 0
        {
            let n = first.len().min(buf.remaining());
            buf.put_slice(&first[..n]);
            first.advance(n);
            if first.is_empty() {
                state.unread.pop_front();
            }
        }
        let n = buf.filled().len() - before;
        if n == 0 && buf.remaining() > 0 && !state.their_end {
            state.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        state.unread_bytes -= n;
        state.read += n;
        if state.read >= WINDOW / 2 && !state.their_end {
            let read = std::mem::take(&mut state.read);
            self.send(&mut state, RelayEvent::Credit(read as u32));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for RelayStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.half.state();
        if state.failed {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if state.our_end {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if buf.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let n = buf.len().min(state.credit).min(LARGEST);
        if n == 0 {
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        state.credit -= n;
        let data = Bytes::copy_from_slice(&buf[..n]);
        if self.send(&mut state, RelayEvent::Data(data)) {
            Poll::Ready(Ok(n))
        } else {
            Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.half.state();
        if !state.failed && !state.our_end {
            state.our_end = true;
            self.send(&mut state, RelayEvent::End);
        }
        Poll::Ready(Ok(()))
    }
}

/// Bytes that may be on their way in one direction of one stream.
const WINDOW: usize = 64 * 1024;

/// Bytes in one message.
const LARGEST: usize = 16 * 1024;
