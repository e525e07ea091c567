//! What the targets for bodies have in common.

use bytes::Bytes;
use engineio_proto::{
    Dialect, Packet, PacketKind, Violation,
    payload::{self, Body, Framing},
    session::Transmit,
};

/// The packets of a body, and the violation that ends them.
pub(crate) type Packets = (Vec<Packet>, Option<Violation>);

/// Decodes a body; nothing comes behind a violation.
pub(crate) fn decode(body: &[u8], framing: Framing, dialect: &Dialect) -> Packets {
    let mut packets = Vec::new();
    let mut results = payload::decode(Bytes::copy_from_slice(body), framing, dialect);
    for result in &mut results {
        match result {
            Ok(packet) => packets.push(packet),
            Err(violation) => {
                assert_eq!(results.next(), None);
                return (packets, Some(violation));
            }
        }
    }
    // a packet has a byte at least
    assert!(packets.len() <= body.len());
    (packets, None)
}

/// The messages among packets can be sent back, and are read the same again.
pub(crate) fn round_trip(packets: &[Packet], dialect: &Dialect) {
    let is_message = |packet: &&Packet| packet.kind == PacketKind::Message;
    let messages: Vec<_> = packets.iter().filter(is_message).cloned().collect();
    if messages.is_empty() {
        return;
    }
    let transmit = |packet: &Packet| Transmit::Message(packet.data.clone().into());
    let items = messages.iter().map(transmit).collect();
    let Body { framing, bytes } = payload::encode(items, dialect, None);
    assert_eq!(decode(&bytes, framing, dialect), (messages, None));
}

/// Reads packets one by one; another way to decode a body, for comparison.
pub(crate) fn collect(mut next: impl FnMut() -> Option<Result<Packet, Violation>>) -> Packets {
    let mut packets = Vec::new();
    loop {
        match next() {
            None => return (packets, None),
            Some(Ok(packet)) => packets.push(packet),
            Some(Err(violation)) => return (packets, Some(violation)),
        }
    }
}

/// Digit and data, as plain as can be.
pub(crate) fn text_packet(packet: &str) -> Result<Packet, Violation> {
    let kind = match packet.chars().next() {
        Some('0') => PacketKind::Open,
        Some('1') => PacketKind::Close,
        Some('2') => PacketKind::Ping,
        Some('3') => PacketKind::Pong,
        Some('4') => PacketKind::Message,
        Some('5') => PacketKind::Upgrade,
        Some('6') => PacketKind::Noop,
        _ => return Err(Violation::UnknownPacket),
    };
    Ok(Packet::control(kind, packet[1..].into()))
}

/// Kind and bytes: version 3 alone has packets that are no messages in this form; their data is text.
pub(crate) fn binary_packet(kind: u8, bytes: &[u8]) -> Result<Packet, Violation> {
    match kind {
        4 => Ok(Packet::binary(bytes.to_vec())),
        0..=6 => {
            let text = str::from_utf8(bytes).map_err(|_| Violation::UnknownPacket)?;
            text_packet(&format!("{kind}{text}"))
        }
        _ => Err(Violation::UnknownPacket),
    }
}

/// Base64, six bits at a time.
pub(crate) fn base64(text: &str) -> Result<Vec<u8>, Violation> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = text.trim_end_matches('=');
    let padding = text.len() - digits.len();
    if digits.len() % 4 == 1 || padding > (4 - digits.len() % 4) % 4 {
        return Err(Violation::InvalidBase64);
    }
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for digit in digits.bytes() {
        let value = ALPHABET.iter().position(|it| *it == digit);
        let value = value.ok_or(Violation::InvalidBase64)?;
        bits = (bits << 6) | value as u32;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
        }
    }
    Ok(bytes)
}
