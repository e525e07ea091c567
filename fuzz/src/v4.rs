//! Bodies of version 4.

use engineio_proto::{Dialect, Packet, Violation, payload::Framing};

use crate::payload::{base64, collect, decode, round_trip, text_packet};

/// The packets are those that another way to cut the body gives; messages can be sent back and are read
/// the same again.
pub fn run(body: &[u8]) {
    let decoded = decode(body, Framing::Text, &Dialect::V4);
    round_trip(&decoded.0, &Dialect::V4);

    let text = String::from_utf8_lossy(body);
    let mut packets = text.split('\u{1e}');
    let expected = if body.is_empty() {
        (Vec::new(), Some(Violation::InvalidPayload))
    } else {
        collect(|| packets.next().map(packet))
    };
    assert_eq!(decoded, expected);

    let binary = decode(body, Framing::Binary, &Dialect::V4);
    assert_eq!(binary, (Vec::new(), Some(Violation::InvalidContentType)));
}

fn packet(packet: &str) -> Result<Packet, Violation> {
    match packet.strip_prefix('b') {
        Some(text) => base64(text).map(Packet::binary),
        None => text_packet(packet),
    }
}
