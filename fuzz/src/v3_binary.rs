//! Bodies of version 3 in the binary framing.

use engineio_proto::{
    Dialect, Packet, Violation,
    dialect::{BodyShape, TextCoding},
    payload::Framing,
};

use crate::payload::{binary_packet, collect, decode, round_trip, text_packet};

/// The packets are those that another way to cut the body gives, and the same in every dialect;
/// messages can be sent back and are read the same again.
pub fn run(body: &[u8]) {
    let decoded = decode(body, Framing::Binary, &Dialect::V3);
    for body in [BodyShape::Binary, BodyShape::Auto, BodyShape::Text] {
        for text in [TextCoding::Plain, TextCoding::Twice] {
            round_trip(
                &decoded.0,
                &Dialect {
                    body,
                    text,
                    ..Dialect::V3
                },
            );
        }
    }

    let mut rest = body;
    let expected = if body.is_empty() {
        (Vec::new(), Some(Violation::InvalidPayload))
    } else {
        collect(|| {
            (!rest.is_empty()).then(|| cut(&mut rest).unwrap_or(Err(Violation::InvalidPayload)))
        })
    };
    assert_eq!(decoded, expected);

    let twice = Dialect {
        text: TextCoding::Twice,
        ..Dialect::V3
    };
    assert_eq!(decode(body, Framing::Binary, &twice), decoded);
}

/// Takes a kind, a length, 255 and so many bytes.
fn cut(rest: &mut &[u8]) -> Option<Result<Packet, Violation>> {
    let end_of_length = 1 + rest[1..].iter().position(|it| *it == 255)?;
    let digits = &rest[1..end_of_length];
    if !(1..=10).contains(&digits.len()) || digits.iter().any(|it| *it > 9) {
        return None;
    }
    let length = digits
        .iter()
        .fold(0, |sum, digit| sum * 10 + u64::from(*digit));
    let start = end_of_length + 1;
    let packet = rest.get(start..start.checked_add(length as usize)?)?;
    let kind = rest[0];
    *rest = &rest[start + packet.len()..];
    match (kind, packet.split_first()) {
        (0, _) => Some(text_packet(&String::from_utf8_lossy(packet))),
        (1, Some((kind, bytes))) => Some(binary_packet(*kind, bytes)),
        (1, None) => Some(Err(Violation::UnknownPacket)),
        _ => None,
    }
}
