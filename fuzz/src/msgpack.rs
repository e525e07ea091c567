//! Messages of the MessagePack parser, and values that servers send each other.

use bytes::Bytes;
use engineio_proto::Data;
use serde::de::IgnoredAny;
use socketio_proto::{Codec, Limits, MsgpackParser, Packet, PacketKind, Parser, msgpack};

/// What was read is JSON; it can be sent back, and is read the same again.
pub fn run(message: &[u8]) {
    let message = Bytes::copy_from_slice(message);
    packet(&message);
    value(&message);
}

fn packet(message: &Bytes) {
    let Some(packet) = read(message) else {
        return;
    };
    match &packet.kind {
        PacketKind::Event { args, .. } | PacketKind::Ack { args, .. } => {
            let list = format!("[{}]", args.json());
            assert!(serde_json::from_str::<IgnoredAny>(&list).is_ok(), "{list}");
        }
        PacketKind::Connect { auth: Some(json) }
        | PacketKind::ConnectError { data: Some(json) } => {
            assert!(serde_json::from_str::<IgnoredAny>(json).is_ok(), "{json}");
        }
        PacketKind::Empty => return,
        _ => {}
    }
    let sent = MsgpackParser
        .encode(&packet)
        .expect("what has been read can be sent");
    assert_eq!(sent.wire_text(), None);
    let again = read(&sent.attachments()[0]);
    assert_eq!(again, Some(packet));
}

fn read(message: &Bytes) -> Option<Packet> {
    let mut decoder = Codec::new(MsgpackParser).decoder(Limits::default());
    decoder.add(Data::Binary(message.clone())).ok().flatten()
}

fn value(message: &Bytes) {
    for max in [0, 3] {
        let Ok((json, binaries)) = msgpack::to_json(message, max) else {
            continue;
        };
        assert!(binaries.len() <= max);
        assert!(serde_json::from_str::<IgnoredAny>(&json).is_ok(), "{json}");
        let sent = msgpack::from_json(&json, &binaries).expect("what has been read can be sent");
        let again = msgpack::to_json(&sent.into(), max);
        assert_eq!(again, Ok((json, binaries)));
    }
}
