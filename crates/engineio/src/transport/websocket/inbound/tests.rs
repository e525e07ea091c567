use std::io::{Read, Write};

use proptest::{collection::vec, prelude::*};
use tokio_tungstenite::tungstenite::{
    Error, Message,
    protocol::{Role, WebSocketConfig, WebSocketContext},
};

use super::*;

#[test]
fn a_mask_counts_from_the_start_of_the_payload() {
    let mask = [1, 2, 4, 8];
    for len in 0..100 {
        let mut bytes = vec![0; len];
        unmask(&mut bytes, mask);
        let expected: Vec<_> = (0..len).map(|at| mask[at % 4]).collect();
        assert_eq!(bytes, expected);
    }
}

#[test]
fn nothing_is_held_between_messages() {
    let frame = [0x81, 0x82, 0, 0, 0, 0, b'4', b'x'];
    let mut inbound = Inbound::new(&frame.repeat(2), 100);
    for _ in 0..2 {
        let message = inbound.next().expect("no violation");
        assert!(matches!(message, Some(Received::Message(Data::Text(text))) if text == "4x"));
    }
    assert_eq!(inbound.buffer.capacity(), 0);
}

#[test]
fn the_start_of_a_frame_does_not_keep_the_large_one_before_it() {
    let header = [0x82, 0xff, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0];
    let mut inbound = Inbound::new(&header, usize::MAX);
    inbound.buffer.resize(header.len() + 0x10_0000, 7);
    inbound.buffer.extend_from_slice(&[0x81]);
    assert!(matches!(inbound.next(), Ok(Some(Received::Message(_)))));
    assert_eq!(inbound.buffer, [0x81][..]);
    assert!(!inbound.buffer.try_reclaim(READ_SIZE));
}

#[test]
fn a_copy_does_not_keep_the_last_one() {
    let mut last = copy(&[1; READ_SIZE - 200], READ_SIZE - 200);
    SPARE.set(last.split_off(READ_SIZE - 200));
    let mut next = copy(&[2; 100], 100);
    drop(last);
    assert!(!next.try_reclaim(READ_SIZE / 2));
}

#[test]
fn a_length_alone_takes_little_memory() {
    let header = [0x82, 0xff, 0, 0, 0, 0, 0, 0x10, 0, 0, 1, 2, 3, 4];
    let mut inbound = Inbound::new(&header, usize::MAX);
    assert!(inbound.next().expect("no violation").is_none());
    assert_eq!(inbound.missing(&inbound.buffer), BELIEF * header.len());
}

#[test]
fn fragments_are_added_up_before_they_come() {
    let first = [0x01, 0x83, 0, 0, 0, 0, b'4', b'x', b'x'];
    let second = [0x80, 0x83, 0, 0, 0, 0];
    let mut inbound = Inbound::new(&[&first[..], &second].concat(), 5);
    assert_eq!(inbound.next().unwrap_err(), Violation::MessageTooLarge);
}

#[test]
fn a_ping_between_fragments_is_no_part_of_the_message() {
    let first = [0x01, 0x83, 0, 0, 0, 0, b'4', b'x', b'x'];
    let ping = [0x89, 0x84, 0, 0, 0, 0, 1, 2, 3, 4];
    let last = [0x80, 0x81, 0, 0, 0, 0, b'y'];
    let mut inbound = Inbound::new(&[&first[..], &ping, &last].concat(), 4);
    assert!(matches!(inbound.next(), Ok(Some(Received::Ping(_)))));
    let message = inbound.next().expect("no violation");
    assert!(matches!(message, Some(Received::Message(Data::Text(text))) if text == "4xxy"));
}

/// What a reader of frames makes of them.
#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Message(Data),
    Ping(Vec<u8>),
    Close,
    Violation(Violation),
}

/// What this reader makes of bytes that come in pieces.
fn seen<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<Seen> {
    let mut inbound = Inbound::new(&[], LIMIT);
    let mut all = Vec::new();
    for piece in pieces {
        inbound.buffer.extend_from_slice(piece);
        loop {
            let seen = match inbound.next() {
                Ok(None) => break,
                Ok(Some(Received::Message(data))) => Seen::Message(data),
                Ok(Some(Received::Ping(payload))) => Seen::Ping(payload.into()),
                Ok(Some(Received::Close(_))) => Seen::Close,
                Err(violation) => Seen::Violation(violation),
            };
            all.push(seen.clone());
            if matches!(seen, Seen::Close | Seen::Violation(_)) {
                return all;
            }
        }
    }
    all
}

/// What tungstenite's own reader makes of the same.
fn expected(bytes: &[u8]) -> Vec<Seen> {
    struct Stream<'a>(&'a [u8]);

    impl Read for Stream<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            match Read::read(&mut self.0, buf) {
                Ok(0) => Err(io::ErrorKind::WouldBlock.into()),
                read => read,
            }
        }
    }

    impl Write for Stream<'_> {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            Ok(buf.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let config = WebSocketConfig::default()
        .max_message_size(Some(LIMIT))
        .max_frame_size(Some(LIMIT));
    let mut reader = WebSocketContext::new(Role::Server, Some(config));
    let mut stream = Stream(bytes);
    let mut all = Vec::new();
    loop {
        all.push(match reader.read(&mut stream) {
            Ok(Message::Text(text)) => Seen::Message(Data::from(text.as_str())),
            Ok(Message::Binary(bytes)) => Seen::Message(Data::Binary(bytes)),
            Ok(Message::Ping(payload)) => Seen::Ping(payload.into()),
            Ok(Message::Pong(_)) => continue,
            Ok(Message::Close(_)) => {
                all.push(Seen::Close);
                return all;
            }
            Ok(Message::Frame(frame)) => unreachable!("{frame:?}"),
            Err(Error::Io(_)) => return all,
            Err(error) => {
                all.push(Seen::Violation(match error {
                    Error::Capacity(_) => Violation::MessageTooLarge,
                    Error::Utf8(_) => Violation::InvalidUtf8,
                    Error::Protocol(_) => Violation::InvalidFrame,
                    other => unreachable!("{other}"),
                }));
                return all;
            }
        });
    }
}

const LIMIT: usize = 300;

fn frame() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        20 => prop::sample::select(vec![0x81, 0x82, 0x01, 0x02, 0x00, 0x80, 0x89, 0x8a]),
        1 => prop::sample::select(vec![0x88, 0x08, 0x09]),
        1 => any::<u8>(),
    ];
    let text = "[a-z4é€😀]{0,60}".prop_map(String::into_bytes);
    let payload = prop_oneof![
        12 => text,
        4 => vec(any::<u8>(), 0..10),
        1 => vec(any::<u8>(), 120..310),
    ];
    let is_masked = prop::bool::weighted(0.98);
    (first, payload, any::<[u8; 4]>(), is_masked).prop_map(|(first, payload, mask, is_masked)| {
        let masked = if is_masked { 0x80 } else { 0 };
        let mut frame = vec![first];
        match payload.len() {
            len @ 0..126 => frame.push(masked | len as u8),
            len => {
                frame.push(masked | 126);
                frame.extend((len as u16).to_be_bytes());
            }
        }
        if is_masked {
            frame.extend(mask);
        }
        let mask = if is_masked { mask } else { [0; 4] };
        frame.extend(
            payload
                .iter()
                .zip(mask.iter().cycle())
                .map(|(it, mask)| it ^ mask),
        );
        frame
    })
}

/// Compares, but for text in several frames: it is looked at when it is complete, and what is wrong
/// with it may be found after another thing.
fn assert_same(mut seen: Vec<Seen>, mut expected: Vec<Seen>) {
    if expected.last() == Some(&Seen::Violation(Violation::InvalidUtf8)) {
        expected.pop();
        if let Some(Seen::Violation(_)) = seen.last() {
            seen.pop();
        }
        seen.retain(|it| !matches!(it, Seen::Ping(_) | Seen::Close));
        expected.retain(|it| !matches!(it, Seen::Ping(_)));
    }
    assert_eq!(seen, expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn frames_are_read_as_tungstenite_reads_them(frames in vec(frame(), 1..12), cut in 1..40_usize) {
        let bytes = frames.concat();
        let expected = expected(&bytes);
        assert_same(seen([&bytes[..]]), expected.clone());
        assert_same(seen(bytes.chunks(cut)), expected);
    }

    #[test]
    fn bytes_that_are_no_frames_are_read_the_same_in_any_pieces(
        bytes in vec(any::<u8>(), 0..200),
        cut in 1..40_usize,
    ) {
        prop_assert_eq!(seen([&bytes[..]]), seen(bytes.chunks(cut)));
    }
}
