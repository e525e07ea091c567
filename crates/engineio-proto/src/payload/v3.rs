//! Version 3: packets behind their lengths, in a text and in a binary framing.

use bytes::{BufMut, Bytes, BytesMut};

use super::lenient_text;
use crate::{Packet, Queue, Str, Violation, dialect::TextCoding, frame, session::Transmit};

/// The text framing: lengths count UTF-16 code units. Twice encoded text needs no rule of its own,
/// as each of its characters is one code unit and stands for one byte.
pub(super) fn encode_text(items: &Queue<Transmit>, coding: TextCoding) -> Str {
    let mut body = String::with_capacity(super::capacity(items, true));
    let mut push = |prefix: &str, packet: &str| {
        body.push_str(&(prefix.len() + utf16_len(packet)).to_string());
        body.push(':');
        body.push_str(prefix);
        body.push_str(packet);
    };
    for item in items.iter() {
        match item {
            Transmit::Control(packet) => push("", &frame::encode_control(packet)),
            Transmit::Message(message) => {
                if let Some(text) = frame::encoded_text(message, coding) {
                    push("", text);
                }
                for base64 in message.base64_attachments() {
                    push("b4", base64);
                }
            }
        }
    }
    body.into()
}

/// The binary framing: lengths count bytes. Its text is encoded once in every dialect.
pub(super) fn encode_binary(items: &Queue<Transmit>) -> Bytes {
    let mut body = BytesMut::with_capacity(super::capacity(items, false));
    let mut push = |kind: u8, prefix: &[u8], packet: &[u8]| {
        body.put_u8(kind);
        let length = (prefix.len() + packet.len()).to_string();
        body.extend(length.bytes().map(|digit| digit - b'0'));
        body.put_u8(END_OF_LENGTH);
        body.extend_from_slice(prefix);
        body.extend_from_slice(packet);
    };
    for item in items.iter() {
        match item {
            Transmit::Control(packet) => {
                push(STRING, &[], frame::encode_control(packet).as_bytes())
            }
            Transmit::Message(message) => {
                if let Some(text) = message.wire_text() {
                    push(STRING, &[], text.as_bytes());
                }
                for bytes in message.attachments() {
                    push(BINARY, &[4], bytes);
                }
            }
        }
    }
    body.freeze()
}

/// Cuts a body of the text framing into packets.
#[derive(Debug)]
pub(super) struct TextPackets {
    rest: Str,
    coding: TextCoding,
}

impl TextPackets {
    pub(super) fn new(body: Str, coding: TextCoding) -> Self {
        Self { rest: body, coding }
    }

    pub(super) fn next(&mut self) -> Option<Result<Packet, Violation>> {
        while !self.rest.is_empty() {
            match self.cut() {
                Ok(packet) if packet.is_empty() => {} // `0:` is nobody's packet
                Ok(packet) => return Some(self.decode_packet(packet)),
                Err(violation) => return Some(Err(violation)),
            }
        }
        None
    }

    /// Takes `<length>:` and as many code units off the rest.
    fn cut(&mut self) -> Result<Str, Violation> {
        let digits = self.rest.bytes().take_while(u8::is_ascii_digit);
        let (length, digits) = read_length(digits.map(|digit| digit - b'0'))?;
        let tail = self.rest[digits..]
            .strip_prefix(':')
            .ok_or(Violation::InvalidPayload)?;
        let end = utf16_prefix(tail, length).ok_or(Violation::InvalidPayload)?;
        let (packet, rest) = tail.split_at(end);
        let packet = self.rest.slice_ref(packet);
        self.rest = self.rest.slice_ref(rest);
        Ok(packet)
    }

    fn decode_packet(&self, packet: Str) -> Result<Packet, Violation> {
        if let Some(base64) = packet.strip_prefix('b') {
            return frame::decode_v3_base64(base64);
        }
        frame::decode_text(match self.coding {
            TextCoding::Plain => packet,
            TextCoding::Detect => frame::decode_if_twice(packet),
            TextCoding::Twice => frame::decode_twice(&packet).unwrap_or(packet),
        })
    }
}

/// Cuts a body of the binary framing into packets.
#[derive(Debug)]
pub(super) struct BinaryPackets {
    rest: Bytes,
}

impl BinaryPackets {
    pub(super) fn new(body: Bytes) -> Self {
        Self { rest: body }
    }

    pub(super) fn next(&mut self) -> Option<Result<Packet, Violation>> {
        let kind = *self.rest.first()?;
        Some(self.cut().and_then(|packet| match kind {
            STRING => frame::decode_text(lenient_text(packet)),
            BINARY => frame::decode_v3_binary(packet),
            _ => Err(Violation::InvalidPayload),
        }))
    }

    /// Takes kind, length and as many bytes off the rest.
    fn cut(&mut self) -> Result<Bytes, Violation> {
        let digits = self.rest[1..].iter().copied();
        let (length, digits) = read_length(digits.take_while(|digit| *digit <= 9))?;
        let start = 1 + digits;
        if self.rest.get(start) != Some(&END_OF_LENGTH) {
            return Err(Violation::InvalidPayload);
        }
        let mut tail = self.rest.slice(start + 1..);
        if length > tail.len() {
            return Err(Violation::InvalidPayload);
        }
        let packet = tail.split_to(length);
        self.rest = tail;
        Ok(packet)
    }
}

/// The number that the digits (0 to 9) make, and how many they are.
fn read_length(digits: impl Iterator<Item = u8>) -> Result<(usize, usize), Violation> {
    let (mut length, mut count) = (0_u64, 0);
    for digit in digits {
        count += 1;
        if count > MAX_DIGITS {
            return Err(Violation::InvalidPayload);
        }
        length = length * 10 + u64::from(digit);
    }
    match usize::try_from(length) {
        Ok(length) if count > 0 => Ok((length, count)),
        _ => Err(Violation::InvalidPayload),
    }
}

/// Length in UTF-16 code units: one for each character, one more for each beyond U+FFFF.
fn utf16_len(text: &str) -> usize {
    let units = |byte| usize::from(!is_continuation(byte)) + usize::from(byte >= 0xf0);
    text.bytes().map(units).sum()
}

/// Where the first `units` UTF-16 code units of a text end, in bytes. `None` if it has fewer, or
/// if that is in the middle of a character.
fn utf16_prefix(text: &str, units: usize) -> Option<usize> {
    // a code unit takes a byte at least, so this looks at nothing beyond the packet
    if text.as_bytes().get(..units)?.is_ascii() {
        return Some(units);
    }
    let mut left = units;
    for (at, it) in text.char_indices() {
        if left == 0 {
            return Some(at);
        }
        left = left.checked_sub(it.len_utf16())?;
    }
    (left == 0).then_some(text.len())
}

fn is_continuation(byte: u8) -> bool {
    byte & 0b1100_0000 == 0b1000_0000
}

/// Enough for 9 GB, and never an overflow.
const MAX_DIGITS: usize = 10;
/// What a packet of the binary framing starts with.
const STRING: u8 = 0;
/// What a packet of the binary framing starts with.
const BINARY: u8 = 1;
const END_OF_LENGTH: u8 = 0xff;

#[cfg(test)]
mod tests;
