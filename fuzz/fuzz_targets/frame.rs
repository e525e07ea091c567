//! WebSocket messages: any is read or refused, and a message that was read can be sent back and is
//! read the same again.
#![no_main]

use engineio_proto::{Data, Dialect, Encoded, PacketKind, dialect::TextCoding, frame::{self, Kind}};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&choice, message)) = input.split_first() else {
        return;
    };
    let message = match std::str::from_utf8(message) {
        Ok(text) if choice & 1 == 0 => Data::from(text),
        _ => Data::from(message.to_vec()),
    };
    let dialect = match choice & 2 {
        0 => Dialect::V4,
        _ => Dialect {
            frame_text: [TextCoding::Plain, TextCoding::Detect, TextCoding::Twice][usize::from(choice >> 2) % 3],
            base64_frames: choice & 8 != 0,
            ..Dialect::V3
        },
    };
    let Ok(packet) = frame::decode(message, &dialect) else {
        return;
    };
    if packet.kind != PacketKind::Message {
        return;
    }
    let message = Encoded::from(packet.data.clone());
    let mut back = Vec::new();
    frame::encode(&message, &dialect, |kind, bytes| {
        let bytes = bytes.clone();
        let data = match kind {
            Kind::Text => Data::Text(bytes.try_into().expect("text is UTF-8")),
            Kind::Binary => Data::Binary(bytes),
        };
        back.push(frame::decode(data, &dialect));
    });
    assert_eq!(back, [Ok(packet)]);
});
