//! The rules that the official parser's tests pin, one test for each, and the packets that an
//! official server was seen to send and to accept. Rules about JavaScript objects (cycles, revivers,
//! blobs) have no counterpart here.
#![allow(clippy::unwrap_used)] // helpers of tests may, as the tests themselves

use std::collections::BTreeMap;

use bytes::Bytes;
use engineio_proto::{Data, Encoded, Str, Version};
use socketio_proto::{
    Args, DecodeError, Decoder, Limits, Packet, PacketKind, connect, encode, is_reserved,
};

fn decoder() -> Decoder {
    Decoder::new(Limits::default())
}

fn decode(text: &str) -> Result<Option<Packet>, DecodeError> {
    decoder().add(text.into())
}

/// The packet that a peer makes of a message.
fn received(message: &Encoded) -> Packet {
    let mut decoder = decoder();
    let text = message.wire_text().unwrap();
    let text = text.slice_ref(text.strip_prefix('4').unwrap());
    let mut packet = decoder.add(Data::Text(text)).unwrap();
    for bytes in message.attachments() {
        assert_eq!(packet, None);
        packet = decoder.add(Data::Binary(bytes.clone())).unwrap();
    }
    packet.unwrap()
}

fn event(name: &str, id: Option<u64>, args: Args) -> PacketKind {
    let name = Str::from(name);
    PacketKind::Event { name, id, args }
}

fn args<T: serde::Serialize>(value: T) -> Args {
    Args::new(&value).unwrap()
}

fn wire(message: &Encoded) -> &str {
    message.wire_text().unwrap()
}

/// The text and the attachments of an event.
fn sent<T: serde::Serialize>(value: T) -> (String, Vec<Bytes>) {
    let message = encode::event("/", None, "a", &value).unwrap();
    (wire(&message).into(), message.attachments().to_vec())
}

const BYTES: Bytes = Bytes::from_static(b"abc");
const PLACEHOLDER: &str = r#"{"_placeholder":true,"num":0}"#;

// packet types and round trips

#[test]
fn there_are_seven_packet_types() {
    for text in ["0", "1", "2[1]", "30[]", "4{}"] {
        assert!(matches!(decode(text), Ok(Some(_))), "{text}");
    }
    for text in ["51-[1]", "61-0[]"] {
        assert_eq!(decode(text), Ok(None), "{text}");
    }
    assert_eq!(decode("7"), Err(DecodeError::UnknownType(Some(7))));
}

#[test]
fn connect_with_payload_and_namespace() {
    let message = connect::connect(Version::V4, "/woot", "abc", None);
    let packet = received(&message);
    assert_eq!(packet.nsp, "/woot");
    let auth = Some(r#"{"sid":"abc"}"#.into());
    assert_eq!(packet.kind, PacketKind::Connect { auth });
}

#[test]
fn disconnect_with_namespace() {
    let packet = received(&connect::disconnect("/woot"));
    assert_eq!(packet.nsp, "/woot");
    assert_eq!(packet.kind, PacketKind::Disconnect);
}

#[test]
fn event_with_arguments() {
    let message = encode::event("/", None, "a", &(1, BTreeMap::<(), ()>::new())).unwrap();
    assert_eq!(wire(&message), r#"42["a",1,{}]"#);
    let expected = event("a", None, args((1, BTreeMap::<(), ()>::new())));
    assert_eq!(received(&message).kind, expected);
}

#[test]
fn event_with_an_integer_as_name() {
    let packet = decode(r#"2[1,"a",{}]"#).unwrap().unwrap();
    let PacketKind::Event { name, args, .. } = packet.kind else {
        panic!("{packet:?}")
    };
    assert_eq!((&*name, args.json()), ("1", r#""a",{}"#));
}

#[test]
fn event_with_id_and_namespace() {
    let message = encode::event("/test", Some(1), "a", &1).unwrap();
    assert_eq!(wire(&message), r#"42/test,1["a",1]"#);
    let packet = received(&message);
    assert_eq!(packet.nsp, "/test");
    assert_eq!(packet.kind, event("a", Some(1), args(1)));
}

#[test]
fn ack_with_arguments() {
    let message = encode::ack("/", 123, &("a", 1)).unwrap();
    assert_eq!(wire(&message), r#"43123["a",1]"#);
    let args = args(("a", 1));
    assert_eq!(received(&message).kind, PacketKind::Ack { id: 123, args });
}

#[test]
fn connect_error_with_a_string() {
    let message = connect::connect_error(Version::V3, "/", "Unauthorized", None);
    assert_eq!(wire(&message), r#"44"Unauthorized""#);
    let data = Some(r#""Unauthorized""#.into());
    assert_eq!(received(&message).kind, PacketKind::ConnectError { data });
}

#[test]
fn connect_error_with_an_object() {
    let message = connect::connect_error(Version::V4, "/", "Unauthorized", None);
    let data = Some(r#"{"message":"Unauthorized"}"#.into());
    assert_eq!(received(&message).kind, PacketKind::ConnectError { data });
}

// what an encoder refuses

#[test]
fn what_json_cannot_hold_is_an_error() {
    let map = BTreeMap::from([((1, 2), 3)]);
    let error = encode::event("/", None, "a", &map).unwrap_err();
    assert_eq!(error.to_string(), "key must be a string");
    assert!(encode::ack("/", 1, &("a", map)).is_err());
}

// what a decoder refuses

#[test]
fn binary_header_without_attachments_is_illegal() {
    for text in ["5", "51", "5a-", "51.23-", "50-[\"a\"]", "5-[\"a\"]"] {
        let error = decode(text).unwrap_err();
        assert_eq!(error.to_string(), "Illegal attachments", "{text}");
    }
}

#[test]
fn too_many_attachments_are_refused() {
    assert_eq!(decode("510-[\"a\"]"), Ok(None));
    let error = decode("511-[\"a\"]").unwrap_err();
    assert_eq!(error.to_string(), "too many attachments");
}

#[test]
fn a_payload_of_the_wrong_shape_is_invalid() {
    for text in [
        r#"442["some","data""#,
        r#"0/admin,"invalid""#,
        "0[]",
        "1/admin,{}",
        r#"2/admin,"invalid""#,
        "2/admin,{}",
        r#"2[{"toString":"foo"}]"#,
        "2[true,\"foo\"]",
        "2[null,\"bar\"]",
        r#"2["connect"]"#,
        r#"2["disconnect","123"]"#,
        r#"2["disc\u006fnnect"]"#,
        r#"2["a"]garbage"#,
        r#"2abc["a"]"#,
    ] {
        let error = decode(text).unwrap_err();
        assert_eq!(error.to_string(), "invalid payload", "{text}");
    }
}

#[test]
fn reserved_names_are_those_of_the_official_parser() {
    for name in [
        "connect",
        "connect_error",
        "disconnect",
        "disconnecting",
        "newListener",
        "removeListener",
    ] {
        assert!(is_reserved(name));
    }
    for name in ["error", "message", "connection", "ping", "", "Connect"] {
        assert!(!is_reserved(name), "{name}");
    }
}

#[test]
fn an_unknown_type_is_refused() {
    let error = decode("999").unwrap_err();
    assert_eq!(error.to_string(), "unknown packet type 9");
    let error = decode("abc").unwrap_err();
    assert_eq!(error.to_string(), "unknown packet type NaN");
}

#[test]
fn a_decoder_starts_anew_after_an_error_amid_a_binary_packet() {
    let mut decoder = decoder();
    assert_eq!(decoder.add("51-[\"hello\"]".into()), Ok(None));
    let error = decoder.add("2[\"hello\"]".into()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "got plaintext data when reconstructing a packet"
    );
    assert!(decoder.add("2[\"hello\"]".into()).unwrap().is_some());
}

#[test]
fn bytes_without_a_header_are_refused() {
    let error = decoder().add(Data::Binary(BYTES)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "got binary data when not reconstructing a packet"
    );
}

#[test]
fn bytes_beyond_those_announced_are_refused() {
    let mut decoder = decoder();
    assert_eq!(decoder.add("51-[\"hello\"]".into()), Ok(None));
    assert!(decoder.add(BYTES.into()).unwrap().is_some());
    assert_eq!(
        decoder.add(BYTES.into()),
        Err(DecodeError::UnexpectedBinary)
    );
}

#[test]
fn a_bad_placeholder_is_refused() {
    for num in ["\"splice\"", "1", "-1", "0.5"] {
        let text = format!(r#"51-["hello",{{"_placeholder":true,"num":{num}}}]"#);
        let error = decode(&text).unwrap_err();
        assert_eq!(error.to_string(), "illegal attachments", "{num}");
    }
}

#[test]
fn an_attachment_may_be_named_once_or_not_at_all() {
    let mut decoder = decoder();
    let text = format!("52-[\"a\",{PLACEHOLDER}]");
    assert_eq!(decoder.add(text.into()), Ok(None));
    assert_eq!(decoder.add(BYTES.into()), Ok(None));
    let packet = decoder.add(vec![1].into()).unwrap().unwrap();
    let PacketKind::Event { args, .. } = packet.kind else {
        panic!("{packet:?}")
    };
    assert_eq!(args.deserialize::<[Bytes; 1]>(), Ok([BYTES]));
    let text = format!("52-[\"a\",{PLACEHOLDER},{PLACEHOLDER}]");
    assert_eq!(
        decoder.add(text.into()),
        Err(DecodeError::IllegalPlaceholder)
    );
}

// binary

#[test]
fn event_with_bytes() {
    let message = encode::event("/cool", Some(23), "a", &BYTES).unwrap();
    assert_eq!(
        wire(&message),
        format!(r#"451-/cool,23["a",{PLACEHOLDER}]"#)
    );
    let packet = received(&message);
    assert_eq!(packet.kind, event("a", Some(23), args(BYTES)));
}

#[test]
fn ack_with_bytes() {
    let message = encode::ack("/back", 127, &("a", BYTES, BTreeMap::<(), ()>::new())).unwrap();
    assert_eq!(
        wire(&message),
        format!(r#"461-/back,127["a",{PLACEHOLDER},{{}}]"#)
    );
    let PacketKind::Ack { id: 127, args } = received(&message).kind else {
        panic!()
    };
    assert_eq!(args.deserialize(), Ok(("a".to_owned(), BYTES)));
}

#[test]
fn nested_bytes_are_numbered_in_the_order_of_appearance() {
    let second = Bytes::from_static(b"second");
    let map = BTreeMap::from([("x", (vec![Some(BYTES), None], [&second]))]);
    let (text, attachments) = sent((0, map, BYTES));
    assert_eq!(
        text,
        concat!(
            r#"453-["a",0,{"x":[[{"_placeholder":true,"num":0},null],"#,
            r#"[{"_placeholder":true,"num":1}]]},{"_placeholder":true,"num":2}]"#,
        )
    );
    assert_eq!(attachments, [BYTES, second, BYTES]);
}

#[test]
fn a_plain_packet_with_something_like_a_placeholder_is_ordinary() {
    let packet = decode(&format!("2[\"a\",{PLACEHOLDER}]")).unwrap().unwrap();
    let PacketKind::Event { args, .. } = packet.kind else {
        panic!("{packet:?}")
    };
    assert_eq!(args.json(), PLACEHOLDER);
    assert!(args.attachments().is_empty());
    assert!(args.deserialize::<Bytes>().is_err());
}

// seen on the wire

#[test]
fn what_official_servers_send() {
    let text = |message: Result<Encoded, _>| wire(&message.unwrap()).to_owned();
    assert_eq!(
        text(encode::event(
            "/",
            Some(1),
            "srvq2",
            &Bytes::from_static(&[7])
        )),
        r#"451-1["srvq2",{"_placeholder":true,"num":0}]"#
    );
    assert_eq!(
        text(encode::event("/admin", Some(12), "x", &(BYTES, "y"))),
        r#"451-/admin,12["x",{"_placeholder":true,"num":0},"y"]"#
    );
    assert_eq!(text(encode::ack("/", 12, &("r", 5))), r#"4312["r",5]"#);
    assert_eq!(text(encode::ack("/", 14, &())), "4314[]");
    assert_eq!(
        text(encode::ack("/", 13, &[BYTES, BYTES])),
        r#"462-13[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#
    );
    assert_eq!(text(encode::ack("/", 0, &"late")), r#"430["late"]"#);
    assert_eq!(
        text(encode::event(
            "/",
            None,
            "e1",
            &(BTreeMap::from([("a", 1)]), "Q87nR_u")
        )),
        r#"42["e1",{"a":1},"Q87nR_u"]"#
    );
    assert_eq!(
        text(encode::event("/", None, "u\u{2028}", &(f64::NAN, "\n"))),
        "42[\"u\u{2028}\",null,\"\\n\"]"
    );
}

#[test]
fn what_official_clients_send() {
    for (text, nsp) in [
        ("2/,[\"x\"]", "/"),
        ("0/admin", "/admin"),
        ("0/admin,", "/admin"),
        ("0/admin?token=abc,", "/admin?token=abc"),
        (r#"0{"pid":"a","offset":"b"}"#, "/"),
        ("1/admin,", "/admin"),
    ] {
        assert_eq!(decode(text).unwrap().unwrap().nsp, nsp, "{text}");
    }
    let packet = decode(r#"212["q",5]"#).unwrap().unwrap();
    assert_eq!(packet.kind, event("q", Some(12), args(5)));
}
