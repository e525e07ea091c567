//! The parser of `socket.io-msgpack-parser`, on bytes as that package writes them.

#![allow(clippy::unwrap_used)] // helpers of tests may, as the tests themselves

use bytes::Bytes;
use engineio_proto::{Encoded, Version};
use proptest::prelude::*;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Visitor};
use serde_json::{Value, json, value::RawValue};
use socketio_proto::{
    Args, Codec, DecodeError, EncodeError, Limits, MsgpackParser, Packet, PacketKind, Parser,
    msgpack,
};

fn decode(message: impl AsRef<[u8]>) -> Result<Packet, DecodeError> {
    decode_within(message, Limits::default())
}

fn decode_within(message: impl AsRef<[u8]>, limits: Limits) -> Result<Packet, DecodeError> {
    let message = Bytes::copy_from_slice(message.as_ref());
    let packet = codec().decoder(limits).add(message.into());
    packet.map(|it| it.expect("a whole packet"))
}

fn codec() -> Codec {
    Codec::new(MsgpackParser)
}

/// A message with these members.
fn message(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = vec![0x80 | u8::try_from(members.len()).unwrap()];
    for (key, value) in members {
        out.push(0xA0 | u8::try_from(key.len()).unwrap());
        out.extend(key.as_bytes());
        out.extend(*value);
    }
    out
}

/// An event `e` in the namespace `/` with this one argument.
fn event_with(argument: &[u8]) -> Vec<u8> {
    let data = [b"\x92\xa1e", argument].concat();
    message(&[("type", b"\x02"), ("nsp", b"\xa1/"), ("data", &data)])
}

/// The argument of the event above.
fn argument(bytes: &[u8]) -> Result<Args, DecodeError> {
    argument_within(bytes, Limits::default())
}

fn argument_within(bytes: &[u8], limits: Limits) -> Result<Args, DecodeError> {
    match decode_within(event_with(bytes), limits)?.kind {
        PacketKind::Event { args, .. } => Ok(args),
        kind => panic!("{kind:?}"),
    }
}

fn json_of(bytes: &[u8]) -> String {
    argument(bytes).unwrap().json().to_owned()
}

fn bytes_of(message: Result<Encoded, EncodeError>) -> Vec<u8> {
    let message = message.unwrap();
    assert_eq!(message.wire_text(), None);
    assert_eq!(message.attachments().len(), 1);
    message.attachments()[0].to_vec()
}

// What the server says.

#[test]
fn every_packet_is_one_binary_message_with_its_members_in_the_official_order() {
    let codec = codec();
    for (message, bytes) in [
        (
            codec.event("/", None, "a", &(1, "b")),
            &b"\x83\xa4type\x02\xa4data\x93\xa1a\x01\xa1b\xa3nsp\xa1/"[..],
        ),
        (
            codec.event("/x", Some(300), "a", &()),
            b"\x84\xa4type\x02\xa4data\x91\xa1a\xa2id\xcd\x01\x2c\xa3nsp\xa2/x",
        ),
        (
            codec.ack("/", 7, &true),
            b"\x84\xa2id\x07\xa4type\x03\xa4data\x91\xc3\xa3nsp\xa1/",
        ),
        (
            codec.ack("/", 0, &()),
            b"\x84\xa2id\x00\xa4type\x03\xa4data\x90\xa3nsp\xa1/",
        ),
        (codec.disconnect("/x"), b"\x82\xa4type\x01\xa3nsp\xa2/x"),
    ] {
        assert_eq!(bytes_of(message), bytes);
    }
}

#[test]
fn clients_of_both_protocols_are_told_what_they_expect() {
    let codec = codec();
    let data = RawValue::from_string(r#"{"a":[1, null]}"#.into()).unwrap();
    for (message, bytes) in [
        (
            codec.connect(Version::V4, "/", "abc", None),
            &b"\x83\xa4type\x00\xa4data\x81\xa3sid\xa3abc\xa3nsp\xa1/"[..],
        ),
        (
            codec.connect(Version::V4, "/", "abc", Some("p")),
            b"\x83\xa4type\x00\xa4data\x82\xa3sid\xa3abc\xa3pid\xa1p\xa3nsp\xa1/",
        ),
        (
            codec.connect(Version::V3, "/", "abc", None),
            b"\x82\xa4type\x00\xa3nsp\xa1/",
        ),
        (
            codec.connect_error(Version::V4, "/", "no", Some(&data)),
            b"\x83\xa4type\x04\xa4data\x82\xa7message\xa2no\xa4data\x81\xa1a\x92\x01\xc0\xa3nsp\xa1/",
        ),
        (
            codec.connect_error(Version::V3, "/", "no", None),
            b"\x83\xa4type\x04\xa4data\xa2no\xa3nsp\xa1/",
        ),
        (
            codec.connect_error(Version::V3, "/", "no", Some(&data)),
            b"\x83\xa4type\x04\xa4data\x81\xa1a\x92\x01\xc0\xa3nsp\xa1/",
        ),
    ] {
        assert_eq!(bytes_of(message), bytes);
    }
}

#[test]
fn values_take_as_few_bytes_as_they_need() {
    fn sent(value: impl Serialize) -> Vec<u8> {
        let bytes = bytes_of(codec().ack("/", 0, &[value]));
        let start = b"\x84\xa2id\x00\xa4type\x03\xa4data\x91".len();
        bytes[start..bytes.len() - b"\xa3nsp\xa1/".len()].to_vec()
    }
    fn head(value: impl Serialize, len: usize) -> Vec<u8> {
        sent(value)[..len].to_vec()
    }

    assert_eq!(sent(None::<u8>), b"\xc0");
    assert_eq!(sent(false), b"\xc2");
    for (value, bytes) in [
        (0_i64, &b"\x00"[..]),
        (127, b"\x7f"),
        (128, b"\xcc\x80"),
        (255, b"\xcc\xff"),
        (256, b"\xcd\x01\x00"),
        (65_536, b"\xce\x00\x01\x00\x00"),
        (4_294_967_296, b"\xcf\x00\x00\x00\x01\x00\x00\x00\x00"),
        (-1, b"\xff"),
        (-32, b"\xe0"),
        (-33, b"\xd0\xdf"),
        (-128, b"\xd0\x80"),
        (-129, b"\xd1\xff\x7f"),
        (-32_769, b"\xd2\xff\xff\x7f\xff"),
        (-2_147_483_649, b"\xd3\xff\xff\xff\xff\x7f\xff\xff\xff"),
    ] {
        assert_eq!(sent(value), bytes, "{value}");
    }
    assert_eq!(
        sent(u64::MAX),
        [0xCF, 255, 255, 255, 255, 255, 255, 255, 255]
    );
    assert_eq!(sent(1.5), b"\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00");
    assert_eq!(sent(u128::MAX)[..3], [0xCB, 0x47, 0xF0]);
    assert_eq!(head("x".repeat(31), 1), b"\xbf");
    assert_eq!(head("x".repeat(32), 2), b"\xd9\x20");
    assert_eq!(head("x".repeat(256), 3), b"\xda\x01\x00");
    assert_eq!(head("x".repeat(65_536), 5), b"\xdb\x00\x01\x00\x00");
    assert_eq!(head(vec![0; 15], 1), b"\x9f");
    assert_eq!(head(vec![0; 16], 3), b"\xdc\x00\x10");
    assert_eq!(head(vec![0; 65_536], 5), b"\xdd\x00\x01\x00\x00");
    assert_eq!(head(Bytes::from(vec![7]), 3), b"\xc4\x01\x07");
    assert_eq!(head(Bytes::from(vec![7; 256]), 4), b"\xc5\x01\x00\x07");
    assert_eq!(
        head(Bytes::from(vec![7; 65_536]), 5),
        b"\xc6\x00\x01\x00\x00"
    );
    let members = |len| {
        (0..len)
            .map(|key| (key, ()))
            .collect::<std::collections::BTreeMap<u32, ()>>()
    };
    assert_eq!(head(members(15), 3), b"\x8f\xa10");
    assert_eq!(head(members(16), 4), b"\xde\x00\x10\xa1");
}

#[test]
fn an_empty_packet_is_not_sent() {
    let (nsp, kind) = ("/".into(), PacketKind::Empty);
    assert!(MsgpackParser.encode(&Packet { nsp, kind }).is_err());
}

// What a client says.

#[test]
fn members_come_in_any_order_and_others_are_ignored() {
    let expected = decode(message(&[
        ("type", b"\x02"),
        ("data", b"\x92\xa1e\x01"),
        ("id", b"\x05"),
        ("nsp", b"\xa2/x"),
    ]));
    let expected = expected.unwrap();
    assert_eq!(expected.nsp, "/x");
    let PacketKind::Event { name, id, args } = &expected.kind else {
        panic!("{expected:?}")
    };
    assert_eq!((&**name, *id, args.json()), ("e", Some(5), "1"));
    let shuffled = message(&[
        ("options", b"\x81\xa8compress\xc3"),
        ("nsp", b"\xa2/x"),
        ("id", b"\xcd\x00\x05"),
        ("id2", b"\xc4\x02\x00\x00"),
        (
            "data",
            b"\xdc\x00\x02\xd9\x01e\xd3\x00\x00\x00\x00\x00\x00\x00\x01",
        ),
        ("type", b"\xcc\x02"),
    ]);
    assert_eq!(decode(shuffled).unwrap(), expected);
}

#[test]
fn clients_join_and_leave() {
    let connect = |members: &[(&str, &[u8])]| decode(message(members)).unwrap().kind;
    let auth = |auth: Option<&'static str>| PacketKind::Connect {
        auth: auth.map(Into::into),
    };
    let (join, nsp) = (("type", &b"\x00"[..]), ("nsp", &b"\xa1/"[..]));
    assert_eq!(connect(&[join, nsp]), auth(None));
    assert_eq!(connect(&[join, nsp, ("data", b"\xd4\x00\x00")]), auth(None));
    assert_eq!(connect(&[join, nsp, ("data", b"\x80")]), auth(Some("{}")));
    assert_eq!(
        connect(&[join, nsp, ("data", b"\x82\xa5token\xa1a\xa1u\xd4\x00\x00")]),
        auth(Some(r#"{"token":"a"}"#))
    );
    assert_eq!(connect(&[("type", b"\x01"), nsp]), PacketKind::Disconnect);
    // as the client in Python says it
    assert_eq!(
        connect(&[("type", b"\x01"), nsp, ("data", b"\xc0")]),
        PacketKind::Disconnect
    );
    let error = |data: &[u8]| connect(&[("type", b"\x04"), nsp, ("data", data)]);
    let data = |data: &'static str| PacketKind::ConnectError {
        data: Some(data.into()),
    };
    assert_eq!(error(b"\xa1x"), data("\"x\""));
    assert_eq!(error(b"\x80"), data("{}"));
}

#[test]
fn values_become_json() {
    for (bytes, json) in [
        (&b"\xc0"[..], "null"),
        (b"\xc2", "false"),
        (b"\xc3", "true"),
        (b"\x7f", "127"),
        (b"\xe0", "-32"),
        (
            b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff",
            "18446744073709551615",
        ),
        (
            b"\xd3\x80\x00\x00\x00\x00\x00\x00\x00",
            "-9223372036854775808",
        ),
        (b"\xd0\x80", "-128"),
        (b"\xd1\x80\x00", "-32768"),
        (b"\xd2\x80\x00\x00\x00", "-2147483648"),
        (b"\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00", "1.5"),
        (b"\xca\x3f\xc0\x00\x00", "1.5"),
        (b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", "null"),
        (b"\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00", "null"),
        (b"\xca\xff\x80\x00\x00", "null"),
        (b"\xa4a\"\n\\", r#""a\"\u000a\\""#),
        (b"\xa2\xc3\xa9", "\"é\""),
        (b"\x90", "[]"),
        (b"\x92\x01\x91\x02", "[1,[2]]"),
        (b"\xdd\x00\x00\x00\x01\x80", "[{}]"),
        (b"\x82\xa1a\x01\xa1b\x90", r#"{"a":1,"b":[]}"#),
        (b"\xde\x00\x01\xa1\"\x01", r#"{"\"":1}"#),
        (b"\xdf\x00\x00\x00\x01\xa0\x01", r#"{"":1}"#),
    ] {
        assert_eq!(json_of(bytes), json, "{bytes:x?}");
        serde_json::from_str::<Value>(json).unwrap();
    }
}

#[test]
fn undefined_is_null_in_a_list_and_nothing_in_an_object() {
    assert_eq!(json_of(b"\xd4\x00\x00"), "null");
    assert_eq!(json_of(b"\x93\x01\xd4\x00\x00\x02"), "[1,null,2]");
    assert_eq!(json_of(b"\x81\xa1a\xd4\x00\x00"), "{}");
    assert_eq!(
        json_of(b"\x84\xa1a\xd4\x00\x00\xa1b\x01\xa1c\xd4\x00\x00\xa1d\x02"),
        r#"{"b":1,"d":2}"#
    );
}

#[test]
fn a_date_is_text() {
    let date = b"\xd7\x00\x00\x00\x01\x8d\xf4\xaf\x2c\x7b";
    assert_eq!(json_of(date), "\"2024-02-29T11:45:37.403Z\"");
    assert_eq!(json_of(b"\xd7\x00\x7f\xff\xff\xff\xff\xff\xff\xff"), "null");
}

#[test]
fn binary_data_is_a_slice_of_the_message() {
    for bytes in [
        &b"\xc4\x02\x07\x08"[..],
        b"\xc5\x00\x02\x07\x08",
        b"\xc6\x00\x00\x00\x02\x07\x08",
        // an `ArrayBuffer`
        b"\xc7\x02\x00\x07\x08",
        b"\xc8\x00\x02\x00\x07\x08",
        b"\xc9\x00\x00\x00\x02\x00\x07\x08",
    ] {
        let args = argument(bytes).unwrap();
        assert_eq!(args.json(), r#"{"_placeholder":true,"num":0}"#);
        assert_eq!(args.deserialize::<Bytes>().unwrap(), [7, 8][..]);
    }
    let message = Bytes::from(event_with(b"\x93\xc4\x01\x01\xc4\x00\xc4\x02\x02\x03"));
    let packet = codec()
        .decoder(Limits::default())
        .add(message.clone().into());
    let PacketKind::Event { args, .. } = packet.unwrap().unwrap().kind else {
        panic!()
    };
    assert_eq!(args.attachments(), [&[1][..], &[], &[2, 3]]);
    let whole = message.as_ptr_range();
    assert!(whole.contains(&args.attachments()[2].as_ptr()));
}

#[test]
fn extensions_that_mean_nothing_are_lists() {
    for (bytes, json, len) in [
        (
            &b"\xd4\x05\x01"[..],
            r#"[5,{"_placeholder":true,"num":0}]"#,
            1,
        ),
        (
            b"\xd5\x00\x01\x02",
            r#"[0,{"_placeholder":true,"num":0}]"#,
            2,
        ),
        (
            b"\xd6\xff\x01\x02\x03\x04",
            r#"[-1,{"_placeholder":true,"num":0}]"#,
            4,
        ),
        (
            b"\xd7\x80\x01\x02\x03\x04\x05\x06\x07\x08",
            r#"[-128,{"_placeholder":true,"num":0}]"#,
            8,
        ),
        (b"\xc7\x00\x01", r#"[1,{"_placeholder":true,"num":0}]"#, 0),
    ] {
        let args = argument(bytes).unwrap();
        assert_eq!((args.json(), args.attachments()[0].len()), (json, len));
    }
    let long = [&b"\xd8\x01"[..], &[0; 16]].concat();
    assert_eq!(argument(&long).unwrap().attachments()[0].len(), 16);
}

#[test]
fn what_looks_like_a_placeholder_is_none() {
    #[derive(Debug, Deserialize, PartialEq)]
    struct Lookalike {
        _placeholder: bool,
        num: u32,
    }

    let lookalike = b"\x82\xac_placeholder\xc3\xa3num\x00";
    let both = [b"\x92\xc4\x01\x07", &lookalike[..]].concat();
    let args = argument(&both).unwrap();
    let (bytes, object): (Bytes, Lookalike) =
        args.deserialize::<((Bytes, Lookalike),)>().unwrap().0;
    assert_eq!(bytes, [7][..]);
    assert_eq!(
        object,
        Lookalike {
            _placeholder: true,
            num: 0
        }
    );
    let (_, object): (Bytes, Value) = args.deserialize::<((Bytes, Value),)>().unwrap().0;
    assert_eq!(object, json!({"_placeholder": true, "num": 0}));
    assert!(args.deserialize::<((Bytes, Bytes),)>().is_err());
    // Sent on, or from a value, it is still none.
    let sent = [
        codec().ack("/", 1, &args),
        codec().ack("/", 1, &[(Bytes::from_static(&[7]), &object)]),
        codec().ack(
            "/",
            1,
            &[(
                Bytes::from_static(&[7]),
                RawValue::from_string(object.to_string()).unwrap(),
            )],
        ),
    ];
    for sent in sent {
        let bytes = bytes_of(sent);
        assert!(bytes.windows(both.len()).any(|it| it == both), "{bytes:x?}");
    }
    let plain = argument(lookalike).unwrap();
    let relayed = bytes_of(codec().ack("/", 1, &plain));
    assert!(relayed.windows(lookalike.len()).any(|it| it == lookalike));
}

#[test]
fn bytes_that_are_no_utf8_are_replaced() {
    assert_eq!(json_of(b"\xa3a\xffb"), "\"a\u{FFFD}b\"");
    assert_eq!(json_of(b"\xa3\xed\xa0\x80").chars().next(), Some('"'));
    assert_eq!(json_of(b"\x81\xa1\xff\x01"), "{\"\u{FFFD}\":1}");
}

#[test]
fn the_name_of_an_event_is_its_first_element() {
    let name_of = |data: &[u8]| {
        let packet = decode(message(&[
            ("type", b"\x02"),
            ("nsp", b"\xa1/"),
            ("data", data),
        ]));
        match packet.unwrap().kind {
            PacketKind::Event { name, args, .. } => Some((name.to_string(), args.len())),
            PacketKind::Empty => None,
            kind => panic!("{kind:?}"),
        }
    };
    assert_eq!(name_of(b"\x91\xa1e"), Some(("e".into(), 0)));
    assert_eq!(
        name_of(b"\x92\xa4\"\n\xc3\xa9\x01"),
        Some(("\"\né".into(), 1))
    );
    assert_eq!(name_of(b"\x93\x07\x01\x02"), Some(("7".into(), 2)));
    // The official parser lets these through, and nobody can listen for them.
    for nameless in [&b"\x90"[..], b"\x91\xc0", b"\x91\x90", b"\x91\xc4\x01\x00"] {
        assert_eq!(name_of(nameless), None);
    }
    // Here names that stand for something else are not looked for.
    assert_eq!(
        name_of(b"\x91\xaadisconnect"),
        Some(("disconnect".into(), 0))
    );
}

#[test]
fn acks() {
    let (ack, nsp) = (("type", &b"\x03"[..]), ("nsp", &b"\xa1/"[..]));
    let packet = decode(message(&[
        ack,
        nsp,
        ("id", b"\x07"),
        ("data", b"\x92\x01\xc4\x01\x02"),
    ]));
    let PacketKind::Ack { id: 7, args } = packet.unwrap().kind else {
        panic!()
    };
    assert_eq!(args.deserialize().ok(), Some((1, Bytes::from_static(&[2]))));
    let packet = decode(message(&[ack, nsp, ("data", b"\x90")]));
    assert_eq!(packet.unwrap().kind, PacketKind::Empty);
}

#[test]
fn every_member_is_checked() {
    let good: [(&str, &[u8]); 4] = [
        ("type", b"\x02"),
        ("nsp", b"\xa1/"),
        ("data", b"\x91\xa1e"),
        ("id", b"\x01"),
    ];
    assert!(decode(message(&good)).is_ok());
    let with = |key: &str, value: &'static [u8]| {
        let members = good.map(|(it, old)| (it, if it == key { value } else { old }));
        decode(message(&members))
            .map(|_| ())
            .unwrap_err()
            .to_string()
    };
    for value in [
        &b"\x05"[..],
        b"\xff",
        b"\xc0",
        b"\xd4\x00\x00",
        b"\xa1\x32",
        b"\x90",
        b"\xcb\x40\0\0\0\0\0\0\0",
    ] {
        assert_eq!(with("type", value), "invalid packet type", "{value:x?}");
    }
    for value in [&b"\xc0"[..], b"\x01", b"\x90", b"\xc4\x01/"] {
        assert_eq!(with("nsp", value), "invalid namespace", "{value:x?}");
    }
    for value in [&b"\xc0"[..], b"\xd4\x00\x00", b"\x80", b"\x01", b"\xa1e"] {
        assert_eq!(with("data", value), "invalid payload", "{value:x?}");
    }
    for value in [
        &b"\xa1\x31"[..],
        b"\xff",
        b"\xcb\x3f\xf8\0\0\0\0\0\0",
        b"\xc3",
    ] {
        assert_eq!(with("id", value), "invalid packet id", "{value:x?}");
    }
    for (kind, data) in [
        (&b"\x00"[..], &b"\x90"[..]),
        (b"\x00", b"\xa1x"),
        (b"\x00", b"\x81\xa1a\xc4\x00"),
        (b"\x01", b"\x80"),
        (b"\x01", b"\x90"),
        (b"\x03", b"\x80"),
        (b"\x04", b"\x90"),
        (b"\x04", b"\xc0"),
    ] {
        let error = decode(message(&[
            ("type", kind),
            ("nsp", b"\xa1/"),
            ("data", data),
        ]));
        assert_eq!(
            error,
            Err(DecodeError::InvalidPayload),
            "{kind:x?} {data:x?}"
        );
    }
    let error = |bytes: &[u8]| decode(bytes).unwrap_err();
    assert_eq!(error(b"\x80"), DecodeError::InvalidType);
    assert_eq!(error(b"\x90"), DecodeError::InvalidType);
    assert_eq!(error(b"\x01"), DecodeError::InvalidType);
    assert_eq!(
        error(&message(&[("type", b"\x01")])),
        DecodeError::InvalidNamespace
    );
    assert_eq!(
        error(&message(&[("nsp", b"\xa1/")])),
        DecodeError::InvalidType
    );
    let mut trailing = message(&good);
    trailing.push(0xC0);
    assert_eq!(error(&trailing), DecodeError::InvalidPacket);
    assert_eq!(error(b""), DecodeError::InvalidPacket);
    assert_eq!(error(b"\xc1"), DecodeError::InvalidPacket);
}

#[test]
fn text_is_no_packet() {
    let mut decoder = codec().decoder(Limits::default());
    assert_eq!(
        decoder.add(r#"2["a"]"#.into()),
        Err(DecodeError::InvalidPacket)
    );
}

#[test]
fn keys_that_are_no_strings_are_refused() {
    for key in [
        &b"\x01"[..],
        b"\xc0",
        b"\xc4\x01a",
        b"\x90",
        b"\x80",
        b"\xd4\x00\x00",
    ] {
        let map = [b"\x81", key, b"\x01"].concat();
        assert_eq!(argument(&map), Err(DecodeError::InvalidPacket), "{key:x?}");
        let root = [b"\x81", key, b"\x01"].concat();
        assert_eq!(decode(root), Err(DecodeError::InvalidPacket));
    }
}

#[test]
fn depth_takes_no_stack_and_has_a_limit() {
    let deep = 300_000;
    let mut bytes = b"\x91".repeat(deep);
    bytes.push(0x90);
    let mut limits = Limits::default();
    limits.max_depth = deep as u32 + 2; // the list of arguments is one of them
    let args = argument_within(&bytes, limits).unwrap();
    assert_eq!(args.json().len(), 2 * (deep + 1));
    assert!(args.deserialize::<Value>().is_err());
    let relayed = bytes_of(codec().event("/", None, "e", &args));
    assert!(relayed.windows(bytes.len()).any(|it| it == bytes));
    limits.max_depth -= 1;
    assert_eq!(argument_within(&bytes, limits), Err(DecodeError::TooDeep));
    assert_eq!(argument(&bytes), Err(DecodeError::TooDeep));
    bytes.pop();
    limits.max_depth += 1;
    assert_eq!(
        argument_within(&bytes, limits),
        Err(DecodeError::InvalidPacket)
    );
}

#[test]
fn lengths_are_not_believed() {
    for head in [
        &b"\xdd\xff\xff\xff\xff"[..],
        b"\xdf\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\x00",
        b"\xdc\xff\xff",
    ] {
        assert_eq!(argument(head), Err(DecodeError::InvalidPacket), "{head:x?}");
    }
    assert_eq!(
        decode(b"\xdf\xff\xff\xff\xff"),
        Err(DecodeError::InvalidPacket)
    );
}

#[test]
fn binary_data_has_an_end() {
    let many = |len: u16| {
        let list = [
            b"\xdc",
            &len.to_be_bytes()[..],
            &b"\xc4\x00".repeat(len.into()),
        ]
        .concat();
        argument(&list).map(|args| args.attachments().len())
    };
    assert_eq!(many(10_000), Ok(10_000));
    assert_eq!(many(10_001), Err(DecodeError::TooManyAttachments));
}

#[test]
fn long_names_are_refused() {
    let nsp = |len: u16| {
        let nsp = [b"\xda", &len.to_be_bytes()[..], &b"/".repeat(len.into())].concat();
        decode(message(&[("type", b"\x01"), ("nsp", &nsp)])).map(|_| ())
    };
    assert_eq!(nsp(8192), Ok(()));
    assert_eq!(nsp(8193), Err(DecodeError::NamespaceTooLong));
    let name = |len: u16| {
        let name = [
            b"\x91\xda",
            &len.to_be_bytes()[..],
            &b"e".repeat(len.into()),
        ]
        .concat();
        decode(message(&[
            ("type", b"\x02"),
            ("nsp", b"\xa1/"),
            ("data", &name),
        ]))
        .map(|_| ())
    };
    assert_eq!(name(1024), Ok(()));
    assert_eq!(name(1025), Err(DecodeError::EventNameTooLong));
}

// Whatever is said.

/// Anything that JSON and bytes can say.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(untagged)]
enum Anything {
    Null,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Binary(OnlyBytes),
    Text(String),
    List(Vec<Anything>),
    Object(std::collections::BTreeMap<String, Anything>),
}

/// Bytes, and nothing else that could be read as such.
#[derive(Clone, Debug, PartialEq)]
struct OnlyBytes(Vec<u8>);

impl Serialize for OnlyBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for OnlyBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = OnlyBytes;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<OnlyBytes, E> {
                Ok(OnlyBytes(bytes.into()))
            }
        }
        deserializer.deserialize_bytes(Reader)
    }
}

fn anything() -> impl Strategy<Value = Anything> {
    let key = prop_oneof![
        any::<String>(),
        Just("_placeholder".into()),
        Just("num".into())
    ];
    let leaf = prop_oneof![
        Just(Anything::Null),
        any::<bool>().prop_map(Anything::Bool),
        any::<u64>().prop_map(Anything::Unsigned),
        (i64::MIN..0).prop_map(Anything::Signed),
        any::<f64>()
            .prop_filter("a number for JSON", |it| it.is_finite())
            .prop_map(Anything::Float),
        any::<String>().prop_map(Anything::Text),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(|it| Anything::Binary(OnlyBytes(it))),
    ];
    leaf.prop_recursive(4, 64, 20, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..20).prop_map(Anything::List),
            prop::collection::btree_map(key.clone(), inner, 0..20).prop_map(Anything::Object),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_sent_arrives(
        value in anything(),
        nsp in "/[^,]*",
        name: String,
        id: Option<u64>,
    ) {
        let sent = bytes_of(codec().event(&nsp, id, &name, &(&value, 1)));
        let packet = decode(&sent).unwrap();
        prop_assert_eq!(&*packet.nsp, &*nsp);
        let PacketKind::Event { name: its_name, id: its_id, args } = packet.kind else {
            panic!()
        };
        prop_assert_eq!((&*its_name, its_id), (&*name, id));
        prop_assert_eq!(args.deserialize::<(Anything, u8)>().unwrap(), (value, 1));
        // What arrived can be sent on as it is.
        prop_assert_eq!(bytes_of(codec().event(&nsp, id, &name, &args)), sent);
    }

    #[test]
    fn half_a_message_is_an_error(value in anything(), cut: prop::sample::Index) {
        let sent = bytes_of(codec().ack("/", 1, &[value]));
        prop_assert!(decode(&sent[..cut.index(sent.len())]).is_err());
    }

    #[test]
    fn no_message_is_too_odd(bytes: Vec<u8>) {
        if let Ok(Packet { kind: PacketKind::Event { args, .. }, .. }) = decode(event_with(&bytes)) {
            let list = format!("[{}]", args.json());
            prop_assert!(serde_json::from_str::<Box<RawValue>>(&list).is_ok(), "{list}");
        }
        let _ = decode(bytes);
    }

    #[test]
    fn a_changed_byte_does_no_harm(value in anything(), at: prop::sample::Index, byte: u8) {
        let mut sent = bytes_of(codec().event("/", Some(1), "e", &[value]));
        let at = at.index(sent.len());
        sent[at] = byte;
        if let Ok(Packet { kind: PacketKind::Event { args, .. }, .. }) = decode(&sent) {
            let _ = args.deserialize::<Anything>();
            let _ = bytes_of(codec().event("/", None, "e", &args));
        }
    }
}

// What servers write for each other.

#[test]
fn values_of_other_protocols_are_read_and_written() {
    let json = r#"["uid",{"a":[1,-2,0.5,{"_placeholder":true,"num":0}]},"ü"]"#;
    let attachments = [Bytes::from_static(b"\x00\xff")];
    let message = msgpack::from_json(json, &attachments).unwrap();
    let expected =
        b"\x93\xa3uid\x81\xa1a\x94\x01\xfe\xcb\x3f\xe0\0\0\0\0\0\0\xc4\x02\x00\xff\xa2\xc3\xbc";
    assert_eq!(message, expected);
    let read = msgpack::to_json(&message.into(), 1).unwrap();
    assert_eq!(read, (json.to_owned(), attachments.to_vec()));
}

#[test]
fn values_of_other_protocols_are_whole_and_bounded() {
    let to_json = |bytes: &'static [u8], max| msgpack::to_json(&Bytes::from_static(bytes), max);
    assert_eq!(to_json(b"", 0), Err(DecodeError::InvalidPacket));
    assert_eq!(to_json(b"\x01\x01", 0), Err(DecodeError::InvalidPacket));
    assert_eq!(to_json(b"\x92\x01", 0), Err(DecodeError::InvalidPacket));
    assert_eq!(
        to_json(b"\x92\xc4\0\xc4\0", 1),
        Err(DecodeError::TooManyAttachments)
    );
}

#[test]
fn timestamps_of_other_protocols_are_dates() {
    for (bytes, text) in [
        // what notepack 3 and @msgpack/msgpack write for a `Date`
        (&b"\xd6\xff\x65\xe0\x70\xe0"[..], "2024-02-29T11:56:16.000Z"),
        (
            b"\xd7\xff\x1d\x53\x53\x00\x65\xe0\x70\xe0",
            "2024-02-29T11:56:16.123Z",
        ),
        (
            b"\xc7\x0c\xff\x07\x54\xd4\xc0\xff\xff\xff\xff\xff\xff\xff\xff",
            "1969-12-31T23:59:59.123Z",
        ),
    ] {
        let (json, _) = msgpack::to_json(&Bytes::from_static(bytes), 0).unwrap();
        assert_eq!(json, format!("\"{text}\""));
    }
    // not to the parser of clients, whose notepack is older
    assert_eq!(
        json_of(b"\xd6\xff\x65\xe0\x70\xe0"),
        r#"[-1,{"_placeholder":true,"num":0}]"#
    );
    // too far away for a `Date`
    let far = Bytes::from_static(b"\xc7\x0c\xff\0\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff");
    assert_eq!(msgpack::to_json(&far, 0).unwrap().0, "null");
}
