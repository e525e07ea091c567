//! A stream between two servers: its reader and its writer, and what comes from the other end.

use std::{future::poll_fn, pin::Pin, task::Poll};

use bytes::Bytes;
use engineio_proto::relay::RelayEvent;
use loom::{future::block_on, thread};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};

use super::check;
use crate::relay::{RelayStream, stream};

/// The next bytes; none at the end, `None` if the stream has failed.
async fn read(stream: &mut RelayStream) -> Option<Vec<u8>> {
    let mut space = [0; 8];
    let mut buf = ReadBuf::new(&mut space);
    let read = poll_fn(|cx| Pin::new(&mut *stream).poll_read(cx, &mut buf)).await;
    read.ok().map(|()| buf.filled().to_vec())
}

/// How many bytes were taken; `None` if the stream has failed.
async fn write(stream: &mut RelayStream, bytes: &[u8]) -> Option<usize> {
    poll_fn(|cx| Pin::new(&mut *stream).poll_write(cx, bytes))
        .await
        .ok()
}

/// Writes as much as the window takes.
fn fill(stream: &mut RelayStream) -> usize {
    let bytes = [7; 16 * 1024];
    let mut written = 0;
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    while let Poll::Ready(Ok(n)) = Pin::new(&mut *stream).poll_write(&mut cx, &bytes) {
        written += n;
    }
    written
}

#[test]
fn a_reader_gets_all_bytes_in_their_order_and_the_end() {
    check(|| {
        let (mut stream, line, _) = stream();
        let data = line.clone();
        let other = thread::spawn(move || {
            data.receive(0, RelayEvent::Data(Bytes::from_static(b"ab")));
            data.receive(1, RelayEvent::Data(Bytes::from_static(b"c")));
        });
        let mut all = Vec::new();
        while all.len() < 3 {
            all.extend(block_on(read(&mut stream)).expect("it has not failed"));
        }
        assert_eq!(all, b"abc");
        other.join().unwrap();
        let other = thread::spawn(move || line.receive(2, RelayEvent::End));
        assert_eq!(block_on(read(&mut stream)), Some(Vec::new()));
        other.join().unwrap();
    });
}

#[test]
fn a_writer_goes_on_when_the_other_end_has_read() {
    check(|| {
        let (mut stream, line, relay) = stream();
        let window = fill(&mut stream);
        let other = thread::spawn(move || {
            line.receive(0, RelayEvent::Credit(1));
            line.receive(1, RelayEvent::Credit(1));
        });
        assert!(block_on(write(&mut stream, b"xy")).is_some_and(|n| n > 0));
        other.join().unwrap();
        let numbers: Vec<_> = relay.sent().into_iter().map(|(order, _)| order).collect();
        assert!(numbers.iter().copied().eq(0..numbers.len() as u32));
        assert_eq!(window, 64 * 1024);
    });
}

#[test]
fn a_reader_and_a_writer_hear_that_the_stream_has_failed() {
    for writes in [false, true] {
        check(move || {
            let (mut stream, line, _) = stream();
            fill(&mut stream);
            let other = thread::spawn(move || line.fail());
            let failed = match writes {
                true => block_on(write(&mut stream, b"x")).is_none(),
                false => block_on(read(&mut stream)).is_none(),
            };
            assert!(failed);
            other.join().unwrap();
        });
    }
}
