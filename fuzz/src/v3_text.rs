//! Bodies of version 3 in the text framing. The first byte chooses how their text is encoded.

use engineio_proto::{
    Dialect, Packet, Violation,
    dialect::{BodyShape, TextCoding},
    payload::Framing,
};

use crate::payload::{base64, binary_packet, collect, decode, round_trip, text_packet};

/// The packets are those that another way to cut the body gives, along its UTF-16; messages can be sent
/// back and are read the same again.
pub fn run(input: &[u8]) {
    let Some((&choice, body)) = input.split_first() else {
        return;
    };
    let text = [TextCoding::Plain, TextCoding::Detect, TextCoding::Twice][usize::from(choice) % 3];
    let dialect = Dialect {
        text,
        body: BodyShape::Text,
        ..Dialect::V3
    };
    let decoded = decode(body, Framing::Text, &dialect);
    for body in [BodyShape::Text, BodyShape::Binary, BodyShape::Auto] {
        // detection may find in what comes back what it did not find before
        let text = match text {
            TextCoding::Detect => TextCoding::Plain,
            text => text,
        };
        round_trip(
            &decoded.0,
            &Dialect {
                text,
                body,
                ..Dialect::V3
            },
        );
    }

    let units: Vec<u16> = String::from_utf8_lossy(body).encode_utf16().collect();
    let mut rest = &units[..];
    let expected = if body.is_empty() {
        (Vec::new(), Some(Violation::InvalidPayload))
    } else {
        collect(|| {
            loop {
                if rest.is_empty() {
                    return None;
                }
                match cut(&mut rest) {
                    Some(packet) if packet.is_empty() => {}
                    Some(it) => return Some(packet(&it, text)),
                    None => return Some(Err(Violation::InvalidPayload)),
                }
            }
        })
    };
    assert_eq!(decoded, expected);
}

/// Takes a length, a colon and so many code units.
fn cut(rest: &mut &[u16]) -> Option<String> {
    let colon = rest.iter().position(|unit| *unit == u16::from(b':'))?;
    let digits = String::from_utf16(&rest[..colon]).ok()?;
    if !(1..=10).contains(&digits.len()) || !digits.bytes().all(|it| it.is_ascii_digit()) {
        return None;
    }
    let end = (colon + 1).checked_add(digits.parse().ok()?)?;
    let packet = String::from_utf16(rest.get(colon + 1..end)?).ok()?;
    *rest = &rest[end..];
    Some(packet)
}

pub(crate) fn packet(packet: &str, coding: TextCoding) -> Result<Packet, Violation> {
    if let Some(rest) = packet.strip_prefix('b') {
        let digit = rest.chars().next().and_then(|it| it.to_digit(10));
        let digit = digit
            .filter(|it| *it <= 6)
            .ok_or(Violation::UnknownPacket)?;
        return binary_packet(digit as u8, &base64(&rest[1..])?);
    }
    let bytes: Option<Vec<u8>> = packet.chars().map(|it| u8::try_from(it).ok()).collect();
    match (coding, bytes) {
        (TextCoding::Twice, Some(bytes)) => text_packet(&String::from_utf8_lossy(&bytes)),
        (TextCoding::Detect, Some(bytes)) => {
            text_packet(&String::from_utf8(bytes).unwrap_or(packet.into()))
        }
        _ => text_packet(packet),
    }
}
