//! What holds for every value and every message.
#![allow(clippy::unwrap_used)] // helpers of tests may, as the tests themselves

use bytes::Bytes;
use engineio_proto::{Data, Encoded};
use proptest::prelude::*;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{IgnoredAny, Visitor},
};
use socketio_proto::{Args, Decoder, Limits, Packet, PacketKind, encode, is_reserved};

/// Everything a packet may carry, binary data included.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(untagged)]
enum Json {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Binary(Binary),
    Text(String),
    List(Vec<Json>),
    Object(Vec<Member>),
}

/// Bytes, and nothing else that could be read as such.
#[derive(Clone, Debug, PartialEq)]
struct Binary(Vec<u8>);

impl Serialize for Binary {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Binary {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OnlyBytes;
        impl Visitor<'_> for OnlyBytes {
            type Value = Binary;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Binary, E> {
                Ok(Binary(bytes.into()))
            }
        }
        deserializer.deserialize_bytes(OnlyBytes)
    }
}

/// A member of an object, as a list of its own so that the order stays.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Member {
    name: String,
    value: Json,
}

fn value() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::Bool),
        any::<i64>().prop_map(Json::Int),
        prop::num::f64::NORMAL.prop_map(Json::Float),
        any::<String>().prop_map(Json::Text),
        prop::collection::vec(any::<u8>(), 0..9).prop_map(|it| Json::Binary(Binary(it))),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        let member = ("[a-z_]{0,12}", inner.clone());
        let member = member.prop_map(|(name, value)| Member { name, value });
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Json::List),
            prop::collection::vec(member, 1..4).prop_map(Json::Object),
        ]
    })
}

fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.max_attachments = 100;
    limits
}

fn messages(encoded: &Encoded) -> Vec<Data> {
    let text = encoded.wire_text().unwrap();
    let text = Data::Text(text.slice_ref(&text[1..]));
    let attachments = encoded.attachments().iter().cloned().map(Data::Binary);
    std::iter::once(text).chain(attachments).collect()
}

fn decode(encoded: &Encoded) -> Packet {
    let mut decoder = Decoder::new(limits());
    let mut packet = None;
    for message in messages(encoded) {
        assert_eq!(packet, None);
        packet = decoder.add(message).unwrap();
    }
    packet.unwrap()
}

fn namespace() -> impl Strategy<Value = String> {
    prop_oneof![Just("/".to_owned()), "/[a-zé?=/-]{1,8}"]
}

/// Looks at everything there is to see.
fn exercise(packet: &Packet) {
    if let PacketKind::Event { args, .. } | PacketKind::Ack { args, .. } = &packet.kind {
        let _ = args.deserialize::<Json>();
        let _ = args.deserialize::<(String, Bytes, Json)>();
        let _ = args.deserialize::<(serde_json::Value, Option<Bytes>, IgnoredAny)>();
        let _ = args.deserialize::<Vec<Member>>();
        let relayed = encode::event("/", None, "relay", args).unwrap();
        let relayed = decode(&relayed);
        let PacketKind::Event { args: relayed, .. } = relayed.kind else {
            panic!("{relayed:?}")
        };
        assert_eq!(&relayed, args);
        let count = args.len();
        assert_eq!(count == 0, args.is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn an_event_comes_back_as_it_was(
        nsp in namespace(),
        id: Option<u64>,
        name: String,
        first in value(),
        second in value(),
    ) {
        prop_assume!(!is_reserved(&name) && name.len() <= limits().max_event_name as usize);
        let encoded = encode::event(&nsp, id, &name, &(&first, &second)).unwrap();
        let packet = decode(&encoded);
        prop_assert_eq!(&*packet.nsp, &*nsp);
        let PacketKind::Event { name: n, id: i, args } = packet.kind else { panic!() };
        prop_assert_eq!((&*n, i, args.len()), (&*name, id, 2));
        prop_assert_eq!(args.deserialize::<(Json, Json)>().unwrap(), (first.clone(), second));
        prop_assert_eq!(args.deserialize::<Json>().unwrap(), first);
        let relayed = encode::event(&nsp, id, &name, &args).unwrap();
        prop_assert_eq!(messages(&relayed), messages(&encoded));
    }

    #[test]
    fn an_ack_comes_back_as_it_was(nsp in namespace(), id: u64, it in value()) {
        let encoded = encode::ack(&nsp, id, &it).unwrap();
        let args = Args::new(&it).unwrap();
        let packet = decode(&encoded);
        prop_assert_eq!(&*packet.nsp, &*nsp);
        prop_assert_eq!(packet.kind, PacketKind::Ack { id, args });
    }

    #[test]
    fn the_ascii_form_means_the_same(name in "[a-z]{1,8}", it: String) {
        let encoded = encode::event("/", None, &name, &it).unwrap();
        let ascii = encoded.ascii().unwrap();
        prop_assert!(ascii.is_ascii());
        let packet = Decoder::new(limits()).add(Data::Text(ascii.slice_ref(&ascii[1..])));
        let PacketKind::Event { args, .. } = packet.unwrap().unwrap().kind else { panic!() };
        prop_assert_eq!(args.deserialize::<String>().unwrap(), it);
    }

    #[test]
    fn no_text_is_too_much(text: String) {
        let _ = Decoder::new(limits()).add(text.into());
    }

    #[test]
    fn nothing_that_looks_like_a_packet_is_too_much(
        text in r#"[0-6][0-9]{0,2}-?(/a,)?[0-9]{0,2}\[("|a|\\u|d8|00|\{|\}|\[|\]|,|:|_placeholder|num|true|1| ){0,20}\]?"#,
    ) {
        let mut decoder = Decoder::new(limits());
        let mut packet = decoder.add(text.into());
        while let Ok(None) = packet {
            packet = decoder.add(vec![1].into());
        }
        if let Ok(Some(packet)) = packet {
            exercise(&packet);
        }
    }

    #[test]
    fn a_damaged_packet_is_refused_or_another_one(
        it in value(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0u8..128), 0..3),
        cut: prop::sample::Index,
        whole: bool,
    ) {
        let encoded = encode::event("/a", Some(1), "e", &(it, Bytes::from_static(b"x"))).unwrap();
        let mut messages = messages(&encoded);
        let mut text = encoded.wire_text().unwrap()[1..].as_bytes().to_vec();
        for (place, byte) in edits {
            let place = place.index(text.len());
            text[place] = byte;
        }
        if !whole {
            text.truncate(cut.index(text.len()));
        }
        messages[0] = Data::Text(String::from_utf8_lossy(&text).into_owned().into());
        let mut decoder = Decoder::new(limits());
        for message in messages {
            match decoder.add(message) {
                Ok(Some(packet)) => exercise(&packet),
                Ok(None) => {}
                Err(_) => break,
            }
        }
    }
}
