//! From messages to the kernel.

use std::{
    cell::Cell,
    collections::VecDeque,
    io::{self, IoSlice},
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::io::AsyncWrite;
use tokio_tungstenite::tungstenite::protocol::frame::{FrameHeader, coding::OpCode};

/// Frames that were written and that the kernel has not taken yet. While there are none it holds no
/// memory.
///
/// Small frames are copied one behind the other, so that one system call takes many of them. Large
/// ones are shared with all who are sent the same, also while their reader is slow.
#[derive(Debug, Default)]
pub(super) struct Outbound {
    /// Lent by the thread while there is something in it.
    copied: Vec<u8>,
    /// What comes behind it.
    shared: VecDeque<Bytes>,
    /// Bytes in both.
    len: usize,
    /// The stream has taken everything, and may have kept it for itself.
    flushing: bool,
}

impl Outbound {
    /// Before all frames leaves what is to stand in front of them.
    pub(super) fn new(head: &[u8]) -> Self {
        let mut outbound = Self::default();
        if !head.is_empty() {
            outbound.copied = SPARE.take();
            outbound.copied.extend_from_slice(head);
            outbound.len = head.len();
        }
        outbound
    }

    /// Adds a frame.
    pub(super) fn push(&mut self, opcode: OpCode, payload: &Bytes) {
        let header = FrameHeader {
            is_final: true,
            opcode,
            ..FrameHeader::default()
        };
        let copies = self.shared.is_empty();
        if copies && self.copied.capacity() == 0 {
            self.copied = SPARE.take();
        }
        let start = self.copied.len();
        // writing to a vector cannot fail
        let _ = header.format(payload.len() as u64, &mut self.copied);
        self.len += self.copied.len() - start + payload.len();
        match (copies, payload.len() < SHARED_FROM) {
            (true, true) => self.copied.extend_from_slice(payload),
            (true, false) => self.shared.push_back(payload.clone()),
            (false, small) => {
                let mut bytes = self.copied.split_off(start);
                if small {
                    bytes.extend_from_slice(payload);
                    self.shared.push_back(bytes.into());
                } else {
                    self.shared.extend([bytes.into(), payload.clone()]);
                }
            }
        }
    }

    /// How many bytes wait.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Whether everything has gone.
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0 && !self.flushing
    }

    /// Hands everything to the kernel.
    pub(super) fn poll_flush(
        &mut self,
        io: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.len > 0 {
            self.flushing = true;
            let written = if self.shared.is_empty() {
                Pin::new(&mut *io).poll_write(cx, &self.copied)
            } else {
                let mut slices = [IoSlice::new(&[]); AT_ONCE];
                let parts = [&self.copied[..]].into_iter();
                let parts = parts.chain(self.shared.iter().map(|it| &**it));
                let mut count = 0;
                for (slice, part) in slices.iter_mut().zip(parts) {
                    *slice = IoSlice::new(part);
                    count += 1;
                }
                Pin::new(&mut *io).poll_write_vectored(cx, &slices[..count])
            };
            if written.is_pending() {
                self.give_back();
            }
            let written = ready!(written)?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.remove(written);
        }
        if self.flushing {
            ready!(Pin::new(io).poll_flush(cx))?;
            self.flushing = false;
        }
        Poll::Ready(Ok(()))
    }

    /// The reader is slow: of the thread's buffer it keeps no more than it needs.
    fn give_back(&mut self) {
        if self.copied.capacity() > MIN_LENT.max(4 * self.copied.len()) {
            let kept = self.copied.as_slice().into();
            spare(mem::replace(&mut self.copied, kept));
        }
    }

    fn remove(&mut self, mut written: usize) {
        self.len -= written;
        let copied = written.min(self.copied.len());
        if copied < self.copied.len() {
            self.copied.drain(..copied);
            return;
        }
        spare(mem::take(&mut self.copied));
        if self.shared.is_empty() {
            return;
        }
        written -= copied;
        while let Some(front) = self.shared.front_mut() {
            let taken = written.min(front.len());
            front.advance(taken);
            written -= taken;
            if front.has_remaining() {
                return;
            }
            self.shared.pop_front();
        }
        self.shared = VecDeque::new();
    }
}

/// Gives the thread its buffer back, empty.
fn spare(mut buffer: Vec<u8>) {
    if buffer.capacity() <= MAX_SPARE {
        buffer.clear();
        SPARE.set(buffer);
    }
}

thread_local! {
    /// A buffer for whoever writes next. What a turn of a connection writes is gone at its end, if
    /// the client reads, so the connections of a thread can share one.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A spare buffer that has grown larger is freed.
const MAX_SPARE: usize = 256 * 1024;

/// A buffer of this size may stay with a slow reader.
const MIN_LENT: usize = 1024;

/// From here on to copy a payload costs more than to hand the kernel one more slice.
const SHARED_FROM: usize = 8 * 1024;

/// How many slices are written at once.
const AT_ONCE: usize = 16;

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};
    use tokio_tungstenite::tungstenite::protocol::frame::{Frame, coding::Data};

    use super::*;

    /// Takes so many bytes at each call, and sometimes none.
    struct Slow {
        takes: Vec<usize>,
        calls: usize,
        vectored: bool,
        taken: Vec<u8>,
    }

    impl AsyncWrite for Slow {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let take = self.takes[self.calls % self.takes.len()];
            self.calls += 1;
            if take == 0 {
                return Poll::Pending;
            }
            let take = take.min(bytes.len());
            self.taken.extend_from_slice(&bytes[..take]);
            Poll::Ready(Ok(take))
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            slices: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let all: Vec<u8> = slices.iter().flat_map(|it| it.iter().copied()).collect();
            let first = slices.iter().find(|it| !it.is_empty());
            let vectored = self.vectored;
            self.poll_write(
                cx,
                if vectored {
                    &all
                } else {
                    first.map_or(&[], |it| it)
                },
            )
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    const CLIENTS: usize = 3;

    const SIZES: [usize; 8] = [0, 1, 125, 126, 5000, SHARED_FROM, 30_000, 70_000];

    proptest! {
        #[test]
        fn frames_leave_whole_and_in_order_however_slow_the_kernel(
            head in vec(any::<u8>(), 0..200),
            turns in vec((0..CLIENTS, vec(prop::sample::select(&SIZES[..]), 0..8)), 1..12),
            takes in vec(0..40_000_usize, 1..6),
            vectored: bool,
        ) {
            let takes = [takes, vec![7000]].concat();
            let mut cx = Context::from_waker(std::task::Waker::noop());
            // They share the buffers of the thread.
            let mut clients: [_; CLIENTS] = std::array::from_fn(|_| {
                let slow = Slow { takes: takes.clone(), calls: 0, vectored, taken: Vec::new() };
                (Outbound::new(&head), slow, head.clone())
            });
            for (turn, (client, sizes)) in turns.iter().enumerate() {
                let (outbound, slow, expected) = &mut clients[*client];
                for &size in sizes {
                    let payload = Bytes::from(vec![turn as u8; size]);
                    let opcode = OpCode::Data(Data::Binary);
                    let frame = Frame::message(payload.clone(), opcode, true);
                    frame.format(expected).expect("a vector takes all");
                    outbound.push(opcode, &payload);
                }
                let _ = outbound.poll_flush(slow, &mut cx);
                prop_assert_eq!(outbound.len(), expected.len() - slow.taken.len());
            }
            for (outbound, slow, expected) in &mut clients {
                for _ in 0..10_000 {
                    if outbound.poll_flush(slow, &mut cx).is_ready() {
                        break;
                    }
                }
                prop_assert!(outbound.is_empty());
                prop_assert!(slow.taken == *expected);
                prop_assert_eq!((outbound.copied.capacity(), outbound.shared.capacity()), (0, 0));
            }
        }
    }

    #[test]
    fn a_slow_reader_keeps_no_large_buffer() {
        SPARE.set(Vec::with_capacity(MAX_SPARE));
        let mut slow = Slow {
            takes: vec![2, 0],
            calls: 0,
            vectored: true,
            taken: Vec::new(),
        };
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut outbound = Outbound::default();
        outbound.push(OpCode::Data(Data::Binary), &Bytes::from_static(&[7; 100]));
        assert!(outbound.poll_flush(&mut slow, &mut cx).is_pending());
        assert_eq!(outbound.copied, [7; 100]);
        assert!(outbound.copied.capacity() <= MIN_LENT);
        // Who writes next has the buffer, and nothing of what was in it.
        let mut next = Outbound::default();
        next.push(OpCode::Data(Data::Binary), &Bytes::from_static(&[8]));
        assert_eq!(next.copied, [0x82, 1, 8]);
        assert_eq!(next.copied.capacity(), MAX_SPARE);
    }

    #[test]
    fn a_large_payload_is_not_copied() {
        let payload = Bytes::from(vec![1; SHARED_FROM]);
        let mut outbound = Outbound::default();
        outbound.push(OpCode::Data(Data::Binary), &payload);
        assert_eq!(outbound.shared[0].as_ptr(), payload.as_ptr());
    }
}
