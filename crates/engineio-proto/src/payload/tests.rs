//! What holds in every dialect.

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::{Data, PacketKind, dialect::TextCoding, frame};

/// Every dialect that frames bodies differently.
fn dialects() -> impl Iterator<Item = Dialect> {
    let shapes = [BodyShape::Auto, BodyShape::Binary, BodyShape::Text];
    let codings = [TextCoding::Plain, TextCoding::Detect, TextCoding::Twice];
    let v3 = shapes.into_iter().flat_map(move |body| {
        codings.into_iter().map(move |text| Dialect {
            body,
            text,
            ..Dialect::V3
        })
    });
    v3.chain([Dialect::V4])
}

/// A packet as it leaves; version 4 has no way to escape its separator.
fn packet() -> impl Strategy<Value = Packet> {
    prop_oneof![
        "[^\u{1e}]{0,12}".prop_map(Packet::text),
        vec(any::<u8>(), 0..12).prop_map(Packet::binary),
        prop_oneof![
            Just(PacketKind::Open),
            Just(PacketKind::Ping),
            Just(PacketKind::Noop)
        ]
        .prop_map(Packet::bare),
        Just(Packet::control(PacketKind::Pong, "probe".into())),
    ]
}

fn transmit(packet: Packet) -> Transmit {
    match packet.kind {
        PacketKind::Message => Transmit::Message(packet.data.into()),
        _ => Transmit::Control(packet),
    }
}

/// What the other side of a session of unknown coding makes of a packet.
fn detected(packet: Packet) -> Packet {
    match packet.data {
        Data::Text(text) => Packet {
            kind: packet.kind,
            data: frame::decode_if_twice(text).into(),
        },
        Data::Binary(_) => packet,
    }
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(packets in vec(packet(), 1..8)) {
        for dialect in dialects() {
            let items = packets.iter().cloned().map(transmit).collect();
            let Body { framing, bytes } = encode(items, &dialect, None);
            let back: Result<Vec<_>, _> = decode(bytes, framing, &dialect).collect();
            let detects = framing == Framing::Text && dialect.text == TextCoding::Detect;
            let packets = packets.iter().cloned();
            let expected = if detects {
                packets.map(detected).collect()
            } else {
                packets.collect()
            };
            prop_assert_eq!(back, Ok::<Vec<_>, _>(expected), "{:?}", dialect);
        }
    }

    #[test]
    fn bodies_of_version_3_may_be_joined(
        first in vec(packet(), 1..4),
        second in vec(packet(), 1..4),
    ) {
        for dialect in dialects().filter(|it| it.version == Version::V3) {
            let encode = |packets: &[Packet]| {
                let items = packets.iter().cloned().map(transmit).collect();
                encode(items, &dialect, None)
            };
            let all = encode(&[&first[..], &second].concat());
            let (first, second) = (encode(&first), encode(&second));
            if first.framing == second.framing {
                prop_assert_eq!(all.bytes, [first.bytes, second.bytes].concat());
            }
        }
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(body in vec(any::<u8>(), 0..64)) {
        never_panics_and_ends(body.into());
    }

    #[test]
    fn any_lengths_are_decoded_or_refused(body in "[0-9:b4é😀\u{1e}Ã©=A]{0,32}") {
        never_panics_and_ends(body.into());
    }

    #[test]
    fn any_binary_lengths_are_decoded_or_refused(
        body in vec(prop_oneof![0_u8..=9, Just(0xff), Just(b'4'), any::<u8>()], 0..32),
    ) {
        never_panics_and_ends(body.into());
    }
}

fn never_panics_and_ends(body: Bytes) {
    for dialect in dialects() {
        for framing in [Framing::Text, Framing::Binary] {
            let mut packets = decode(body.clone(), framing, &dialect);
            let items: Vec<_> = packets.by_ref().collect();
            assert!(items.len() <= body.len() + 1, "a packet takes a byte");
            let violations = items.iter().rposition(Result::is_err);
            assert!(violations.is_none_or(|at| at + 1 == items.len()));
            assert!(items.iter().filter(|it| it.is_err()).count() <= 1);
            assert_eq!(packets.next(), None);
        }
    }
}
