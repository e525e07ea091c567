//! Messages of the MessagePack parser: any is read or refused; the arguments that were read are JSON,
//! and are read the same again when they are sent back.
#![no_main]

use bytes::Bytes;
use engineio_proto::Data;
use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;
use socketio_proto::{Args, Codec, Limits, MsgpackParser, Packet, PacketKind};

fuzz_target!(|message: &[u8]| {
    let Some(args) = read(Bytes::copy_from_slice(message)) else {
        return;
    };
    let list = format!("[{}]", args.json());
    assert!(serde_json::from_str::<IgnoredAny>(&list).is_ok(), "{list}");

    let sent = Codec::new(MsgpackParser).ack("/", 0, &args);
    let sent = sent.expect("what has been read can be sent");
    assert_eq!(read(sent.attachments()[0].clone()), Some(args));
});

/// The arguments in a message, if it has any.
fn read(message: Bytes) -> Option<Args> {
    let mut decoder = Codec::new(MsgpackParser).decoder(Limits::default());
    match decoder.add(Data::Binary(message)) {
        Ok(Some(Packet {
            kind: PacketKind::Event { args, .. } | PacketKind::Ack { args, .. },
            ..
        })) => Some(args),
        _ => None,
    }
}
