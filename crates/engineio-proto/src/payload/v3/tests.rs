//! The bytes that are known of version 3, and its errors.

use proptest::prelude::*;

use super::*;
use crate::Encoded;
use crate::{
    Data, Dialect, PacketKind,
    dialect::BodyShape,
    payload::{self, Body, Framing},
};

const TWICE: Dialect = Dialect {
    body: BodyShape::Text,
    text: TextCoding::Twice,
    ..Dialect::V3
};
const DETECT: Dialect = Dialect {
    body: BodyShape::Text,
    text: TextCoding::Detect,
    ..Dialect::V3
};

fn message(message: impl Into<Encoded>) -> Transmit {
    Transmit::Message(message.into())
}

fn noop() -> Transmit {
    Transmit::Control(Packet::bare(PacketKind::Noop))
}

fn text_body(items: &[Transmit], dialect: &Dialect) -> String {
    let Body { framing, bytes } = payload::encode(items.iter().cloned().collect(), dialect, None);
    assert_eq!(framing, Framing::Text);
    String::from_utf8(bytes.into()).unwrap()
}

fn binary_body(items: &[Transmit], body: BodyShape) -> Bytes {
    let dialect = Dialect {
        body,
        ..Dialect::V3
    };
    let Body { framing, bytes } = payload::encode(items.iter().cloned().collect(), &dialect, None);
    assert_eq!(framing, Framing::Binary);
    bytes
}

fn decoded(body: impl Into<Bytes>, dialect: &Dialect) -> Vec<Result<Packet, Violation>> {
    payload::decode(body.into(), Framing::Text, dialect).collect()
}

fn decoded_binary(body: &[u8]) -> Vec<Result<Packet, Violation>> {
    let body = Bytes::copy_from_slice(body);
    payload::decode(body, Framing::Binary, &Dialect::V3).collect()
}

fn text(text: &str) -> Result<Packet, Violation> {
    Ok(Packet::text(text))
}

const INVALID: Result<Packet, Violation> = Err(Violation::InvalidPayload);
const UNKNOWN: Result<Packet, Violation> = Err(Violation::UnknownPacket);

#[test]
fn lengths_count_utf16_code_units() {
    let items = [
        message("0"),
        message("2[\"txt\",\"é€😀\"]"),
        message("😀"),
        noop(),
    ];
    let wire = "2:4016:42[\"txt\",\"é€😀\"]3:4😀1:6";
    assert_eq!(text_body(&items, &Dialect::V3), wire);
    assert_eq!(wire[4..].len(), 24 + "3:4😀1:6".len());
    assert_eq!(
        decoded(wire, &Dialect::V3),
        [
            text("0"),
            text("2[\"txt\",\"é€😀\"]"),
            text("😀"),
            Ok(Packet::bare(PacketKind::Noop))
        ]
    );
}

#[test]
fn binary_data_in_the_text_framing_is_base64() {
    let items = [message(Encoded::binary(vec![1, 2, 255]))];
    assert_eq!(text_body(&items, &TWICE), "6:b4AQL/");
    assert_eq!(
        decoded("6:b4AQL/2:b4", &Dialect::V3),
        [
            Ok(Packet::binary(vec![1, 2, 255])),
            Ok(Packet::binary(Vec::new()))
        ]
    );
}

#[test]
fn a_batch_with_binary_data_takes_the_binary_framing() {
    let event = "451-[\"bin\",{\"_placeholder\":true,\"num\":0,\"a\":\"bcdef\"}]";
    assert_eq!(event.len(), 53);
    let bytes = vec![Bytes::from_static(&[1, 2, 0xff])];
    let items = [message(Encoded::from_wire(Some(event.into()), bytes, None))];
    let wire = [
        &[0, 5, 3, 0xff][..],
        event.as_bytes(),
        &[1, 4, 0xff, 4, 1, 2, 0xff],
    ]
    .concat();
    assert_eq!(binary_body(&items, BodyShape::Auto), wire);
    assert_eq!(
        decoded_binary(&wire),
        [text(&event[1..]), Ok(Packet::binary(vec![1, 2, 0xff]))]
    );
    assert_eq!(text_body(&[message("a")], &Dialect::V3), "2:4a");
}

#[test]
fn text_in_the_binary_framing_is_encoded_once_and_counted_in_bytes() {
    let body = binary_body(&[message("é"), noop()], BodyShape::Binary);
    assert_eq!(body, [0, 3, 0xff, b'4', 0xc3, 0xa9, 0, 1, 0xff, b'6'][..]);
    assert_eq!(
        decoded_binary(&body),
        [text("é"), Ok(Packet::bare(PacketKind::Noop))]
    );
    let long = binary_body(&[message("x".repeat(199).as_str())], BodyShape::Binary);
    assert_eq!(long[..5], [0, 2, 0, 0, 0xff]);
}

#[test]
fn clients_up_to_1_3_7_encode_twice_and_count_bytes() {
    let wire = "16:42[\"u8\",\"Ã©â\u{82}¬\"]";
    assert_eq!(text_body(&[message("2[\"u8\",\"é€\"]")], &TWICE), wire);
    for dialect in [TWICE, DETECT] {
        assert_eq!(decoded(wire, &dialect), [text("2[\"u8\",\"é€\"]")]);
    }
    assert_eq!(
        decoded(wire, &Dialect::V3),
        [text("2[\"u8\",\"Ã©â\u{82}¬\"]")]
    );
}

#[test]
fn plain_text_from_a_client_of_unknown_coding_stays() {
    for plain in ["é", "€", "😀", "Ãx"] {
        let wire = format!("{}:4{plain}", 1 + utf16_len(plain));
        assert_eq!(decoded(wire, &DETECT), [text(plain)]);
    }
}

#[test]
fn text_to_a_client_of_unknown_coding_is_ascii_where_it_can_be() {
    let to_ascii: fn(&str) -> String = |text| text.replace('é', "\\u00e9");
    let event = |to_ascii| Encoded::from_wire(Some("42[\"é\"]".into()), Vec::new(), to_ascii);
    let items = [message(event(Some(to_ascii))), message(event(None))];
    assert_eq!(text_body(&items, &DETECT), "12:42[\"\\u00e9\"]7:42[\"é\"]");
}

#[test]
fn surrogates_encoded_alone_become_replacement_characters() {
    // U+D83D as three bytes, each of them a character
    let wire = "4:4\u{ed}\u{a0}\u{bd}";
    assert_eq!(decoded(wire, &TWICE), [text("\u{fffd}\u{fffd}\u{fffd}")]);
}

#[test]
fn empty_packets_are_skipped() {
    assert_eq!(decoded("0:2:4a0:", &Dialect::V3), [text("a")]);
    assert_eq!(decoded("0:", &Dialect::V3), []);
}

#[test]
fn text_bodies_that_cannot_be_cut() {
    for body in [
        "",
        "4a",
        ":4a",
        "a:4a",
        "2",
        "2:",
        "3:4a",
        "-1:4a",
        "+2:4a",
        " 2:4a",
        "2 :4a",
        "1e0:4",
        "2:4😀",
        "99999999999:4a",
        "18446744073709551617:4",
        "é",
        "٢:4a",
    ] {
        assert_eq!(decoded(body, &Dialect::V3), [INVALID], "{body}");
    }
    for tail in ["x", "2", "2:", "3:4b", "\n"] {
        let body = format!("2:4a{tail}");
        assert_eq!(decoded(body, &Dialect::V3), [text("a"), INVALID], "{tail}");
    }
}

#[test]
fn packets_of_no_kind() {
    for body in ["1:7", "2:a1", "1:b", "2:b7", "1:é"] {
        assert_eq!(decoded(body, &Dialect::V3), [UNKNOWN], "{body}");
    }
    assert_eq!(
        decoded("3:b4!", &Dialect::V3),
        [Err(Violation::InvalidBase64)]
    );
    for body in [
        &[0, 0, 0xff][..],
        &[0, 1, 0xff, b'7'],
        &[1, 0, 0xff],
        &[1, 1, 0xff, 7],
    ] {
        assert_eq!(decoded_binary(body), [UNKNOWN], "{body:?}");
    }
}

#[test]
fn binary_bodies_that_cannot_be_cut() {
    for body in [
        &[][..],
        &[0],
        &[0, 0xff],
        &[0, 1],
        &[0, 1, b'4'],
        &[0, 1, 0xff],
        &[2, 1, 0xff, b'4'],
        &[0, b'1', 0xff, b'4'],
        &[0, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 0xff, b'4'],
        &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, b'4'],
    ] {
        assert_eq!(decoded_binary(body), [INVALID], "{body:?}");
    }
    assert_eq!(
        decoded_binary(&[0, 2, 0xff, b'4', b'a', 1]),
        [text("a"), INVALID]
    );
}

#[test]
fn control_packets_may_come_as_binary_ones() {
    let ping = Packet::control(PacketKind::Ping, "probe".into());
    assert_eq!(decoded_binary(b"\x01\x06\xff\x02probe"), [Ok(ping)]);
}

#[test]
fn strings_that_are_not_utf8_become_replacement_characters() {
    assert_eq!(decoded_binary(b"\x00\x02\xff4\xff"), [text("\u{fffd}")]);
    assert_eq!(decoded(&b"2:4\xff"[..], &Dialect::V3), [text("\u{fffd}")]);
}

#[test]
fn packets_are_slices_of_the_body() {
    let body = Bytes::from("2:4é2:4b");
    let Ok(Packet {
        data: Data::Text(second),
        ..
    }) = decoded(body.clone(), &Dialect::V3)[1].clone()
    else {
        panic!("not a text message")
    };
    assert_eq!(second.as_bytes().as_ptr(), body[8..].as_ptr());
}

/// Were the body walked from its start for each packet, this would take minutes.
#[test]
fn cutting_takes_linear_time() {
    let packets = 300_000;
    let body = "3:4é€".repeat(packets);
    assert_eq!(decoded(body, &Dialect::V3).len(), packets);
}

proptest! {
    #[test]
    fn utf16_lengths_and_prefixes_are_those_of_the_standard_library(
        text in any::<String>(),
        tail in any::<String>(),
    ) {
        let units = text.encode_utf16().count();
        prop_assert_eq!(utf16_len(&text), units);
        prop_assert_eq!(utf16_prefix(&format!("{text}{tail}"), units), Some(text.len()));
        prop_assert_eq!(utf16_prefix(&text, units + 1), None);
        prop_assert_eq!(utf16_prefix(&format!("{text}😀"), units + 1), None);
    }
}
