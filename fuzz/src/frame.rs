//! WebSocket messages. The first byte chooses the dialect, and text or binary.

use bytes::Bytes;
use engineio_proto::{
    Data, Dialect, Encoded, Packet, PacketKind, Version, Violation,
    dialect::TextCoding,
    frame::{self, Kind},
};

use crate::payload::{base64, binary_packet, text_packet};

/// A message is what another way to read it says, and can be sent back and is read the same again.
pub fn run(input: &[u8]) {
    let Some((&choice, message)) = input.split_first() else {
        return;
    };
    let message = match str::from_utf8(message) {
        Ok(text) if choice & 1 == 0 => Data::from(text),
        _ => Data::from(message.to_vec()),
    };
    let frame_text =
        [TextCoding::Plain, TextCoding::Detect, TextCoding::Twice][usize::from(choice >> 2) % 3];
    let mut dialect = match choice & 2 {
        0 => Dialect::V4,
        _ => Dialect {
            frame_text,
            base64_frames: choice & 32 != 0,
            ..Dialect::V3
        },
    };
    let decoded = frame::decode(message.clone(), &dialect);
    assert_eq!(decoded, read(&message, &dialect));
    let Ok(packet) = decoded else {
        return;
    };
    if packet.kind != PacketKind::Message {
        return;
    }
    if dialect.frame_text == TextCoding::Detect {
        // detection may find in what comes back what it did not find before
        dialect.frame_text = TextCoding::Plain;
    }
    let message = Encoded::from(packet.data.clone());
    let mut back = Vec::new();
    frame::encode(&message, &dialect, |kind, bytes| {
        let bytes: Bytes = bytes.clone();
        let data = match kind {
            Kind::Text => Data::Text(bytes.try_into().expect("text is UTF-8")),
            Kind::Binary => Data::Binary(bytes),
        };
        back.push(frame::decode(data, &dialect));
    });
    assert_eq!(back, [Ok(packet)]);
}

fn read(message: &Data, dialect: &Dialect) -> Result<Packet, Violation> {
    match (dialect.version, message) {
        (Version::V4, Data::Binary(bytes)) => Ok(Packet::binary(bytes.clone())),
        (Version::V3, Data::Binary(bytes)) => match bytes.split_first() {
            Some((kind, data)) => binary_packet(*kind, data),
            None => Err(Violation::UnknownPacket),
        },
        (Version::V4, Data::Text(text)) => match text.strip_prefix('b') {
            Some(text) => base64(text).map(Packet::binary),
            None => text_packet(text),
        },
        (Version::V3, Data::Text(text)) => crate::v3_text::packet(text, dialect.frame_text),
    }
}
