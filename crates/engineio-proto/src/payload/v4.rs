//! Version 4: packets separated by U+001E, binary data as base64.

use crate::{Packet, Queue, Str, Violation, frame, session::Transmit};

/// The packets of one body. All items are text, so the only rule is that none of them is empty.
pub(super) fn encode(mut items: Queue<Transmit>) -> Str {
    if let Some(Transmit::Message(message)) = items.front()
        && message.attachments().is_empty()
        && items.iter().nth(1).is_none()
        && let Some(Transmit::Message(message)) = items.pop_front()
    {
        return message.into_wire_text().unwrap_or_default(); // the body is the packet
    }
    let mut body = String::with_capacity(super::capacity(&items, true));
    for item in items.iter() {
        match item {
            Transmit::Control(packet) => push(&mut body, "", &frame::encode_control(packet)),
            Transmit::Message(message) => {
                if let Some(text) = message.wire_text() {
                    push(&mut body, "", text);
                }
                for base64 in message.base64_attachments() {
                    push(&mut body, "b", base64);
                }
            }
        }
    }
    body.into()
}

/// Cuts a body into packets.
#[derive(Debug)]
pub(super) struct Packets {
    /// `None` after the last packet; an empty rest is an empty packet.
    rest: Option<Str>,
}

impl Packets {
    pub(super) fn new(body: Str) -> Self {
        Self { rest: Some(body) }
    }

    pub(super) fn next(&mut self) -> Option<Result<Packet, Violation>> {
        let body = self.rest.take()?;
        let packet = match body.split_once(SEPARATOR) {
            Some((packet, rest)) => {
                self.rest = Some(body.slice_ref(rest));
                body.slice_ref(packet)
            }
            None => body,
        };
        Some(decode_packet(packet))
    }
}

fn decode_packet(packet: Str) -> Result<Packet, Violation> {
    match packet.strip_prefix('b') {
        Some(base64) => frame::decode_base64(base64).map(Packet::binary),
        None => frame::decode_text(packet),
    }
}

fn push(body: &mut String, prefix: &str, packet: &str) {
    if !body.is_empty() {
        body.push(SEPARATOR);
    }
    body.push_str(prefix);
    body.push_str(packet);
}

const SEPARATOR: char = '\u{1e}';

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{
        Dialect, Encoded, PacketKind,
        payload::{self, Framing},
    };

    fn encoded(items: &[Transmit]) -> Bytes {
        let body = payload::encode(items.iter().cloned().collect(), &Dialect::V4, None);
        assert_eq!(body.framing, Framing::Text);
        body.bytes
    }

    fn decoded(body: impl Into<Bytes>) -> Vec<Result<Packet, Violation>> {
        payload::decode(body.into(), Framing::Text, &Dialect::V4).collect()
    }

    #[test]
    fn every_kind_of_packet_in_one_body() {
        let probe = |kind| Transmit::Control(Packet::control(kind, "probe".into()));
        let items = [
            Transmit::Control(Packet::bare(PacketKind::Open)),
            Transmit::Control(Packet::bare(PacketKind::Close)),
            probe(PacketKind::Ping),
            probe(PacketKind::Pong),
            Transmit::Message("test".into()),
            Transmit::Message(Encoded::binary(vec![1, 2, 3, 4])),
        ];
        let wire = "0\u{1e}1\u{1e}2probe\u{1e}3probe\u{1e}4test\u{1e}bAQIDBA==";
        assert_eq!(encoded(&items), wire);
        let packets = [
            Packet::bare(PacketKind::Open),
            Packet::bare(PacketKind::Close),
            Packet::control(PacketKind::Ping, "probe".into()),
            Packet::control(PacketKind::Pong, "probe".into()),
            Packet::text("test"),
            Packet::binary(vec![1, 2, 3, 4]),
        ];
        assert_eq!(decoded(wire), packets.map(Ok));
    }

    #[test]
    fn attachments_follow_their_text() {
        let message = |text: Option<&'static str>| {
            let attachments = vec![Bytes::from_static(&[1]), Bytes::new()];
            Transmit::Message(Encoded::from_wire(
                text.map(Str::from_static),
                attachments,
                None,
            ))
        };
        assert_eq!(
            encoded(&[message(Some("452-[]")), message(None)]),
            "452-[]\u{1e}bAQ==\u{1e}b\u{1e}bAQ==\u{1e}b"
        );
    }

    #[test]
    fn an_empty_binary_message_is_a_bare_b() {
        assert_eq!(
            encoded(&[Transmit::Message(Encoded::binary(Vec::new()))]),
            "b"
        );
        assert_eq!(decoded("b"), [Ok(Packet::binary(Vec::new()))]);
    }

    #[test]
    fn a_single_text_message_is_not_copied() {
        let message = Encoded::text("hello");
        let body = encoded(&[Transmit::Message(message.clone())]);
        assert_eq!(body, "4hello");
        let text = message.wire_text().unwrap();
        assert_eq!(body.as_ptr(), text.as_bytes().as_ptr());
    }

    #[test]
    fn packets_are_slices_of_the_body() {
        let body = Bytes::from("4a\u{1e}4b");
        let second = decoded(body.clone()).remove(1).unwrap();
        let crate::Data::Text(text) = second.data else {
            panic!("{second:?}")
        };
        assert_eq!(text.as_bytes().as_ptr(), body[4..].as_ptr());
    }

    #[test]
    fn an_empty_packet_is_a_violation_wherever_it_stands() {
        let message = || Ok(Packet::text("a"));
        let unknown = || Err(Violation::UnknownPacket);
        assert_eq!(decoded("4a\u{1e}"), [message(), unknown()]);
        assert_eq!(decoded("\u{1e}4a"), [unknown()]);
        assert_eq!(decoded("4a\u{1e}\u{1e}4a"), [message(), unknown()]);
        assert_eq!(decoded("\u{1e}"), [unknown()]);
        assert_eq!(decoded(""), [Err(Violation::InvalidPayload)]);
    }

    #[test]
    fn the_first_violation_is_the_last_item() {
        for body in ["{", "{}", "[\"a123\", \"a456\"]", "a123", "7", "é", "-1"] {
            let unknown = [Err(Violation::UnknownPacket)];
            assert_eq!(decoded(body), unknown, "{body}");
            assert_eq!(decoded(format!("{body}\u{1e}4a")), unknown, "{body}");
        }
        assert_eq!(decoded("b!\u{1e}4a"), [Err(Violation::InvalidBase64)]);
    }

    #[test]
    fn base64_may_lack_its_padding() {
        assert_eq!(decoded("bAQ"), [Ok(Packet::binary(vec![1]))]);
    }

    #[test]
    fn bytes_that_are_not_utf8_become_replacement_characters() {
        let body = Bytes::from_static(b"4a\xff\x1e4\xe2\x82");
        let replaced = [Packet::text("a\u{fffd}"), Packet::text("\u{fffd}")];
        assert_eq!(decoded(body), replaced.map(Ok));
    }

    #[test]
    fn octet_streams_do_not_exist() {
        let mut packets = payload::decode("4a".into(), Framing::Binary, &Dialect::V4);
        assert_eq!(packets.next(), Some(Err(Violation::InvalidContentType)));
        assert_eq!(packets.next(), None);
    }
}
