//! A packet into a MessagePack message, straight from the text of its JSON.
//!
//! The length of an array or a map stands before what is in it, in as few bytes as it needs, but
//! is known only afterwards. So everything else is written first, and then these heads are put in.

use bytes::Bytes;

use crate::{EncodeError, Packet, PacketKind, json, placeholder};

/// Encodes a packet, its members in the order in which the official server writes them.
pub(super) fn encode(packet: &Packet) -> Result<Vec<u8>, EncodeError> {
    let mut out = Writer::default();
    out.open(MAP);
    if let PacketKind::Ack { id, .. } = packet.kind {
        out.key("id")?;
        out.unsigned(id);
    }
    out.key("type")?;
    out.unsigned(match packet.kind {
        PacketKind::Connect { .. } => 0,
        PacketKind::Disconnect => 1,
        PacketKind::Event { .. } => 2,
        PacketKind::Ack { .. } => 3,
        PacketKind::ConnectError { .. } => 4,
        PacketKind::Empty => return Err(EncodeError::new("an empty packet")),
    });
    match &packet.kind {
        PacketKind::Connect { auth: Some(json) }
        | PacketKind::ConnectError { data: Some(json) } => {
            out.key("data")?;
            out.json(json, &[])?;
        }
        PacketKind::Event { name, id, args } => {
            out.key("data")?;
            out.open(ARRAY);
            out.string(name)?;
            out.json(args.json(), args.attachments())?;
            out.close();
            if let Some(id) = id {
                out.key("id")?;
                out.unsigned(*id);
            }
        }
        PacketKind::Ack { args, .. } => {
            out.key("data")?;
            out.open(ARRAY);
            out.json(args.json(), args.attachments())?;
            out.close();
        }
        _ => {}
    }
    out.key("nsp")?;
    out.string(&packet.nsp)?;
    out.close();
    out.finish()
}

/// Encodes a JSON value.
pub(super) fn value(json: &str, attachments: &[Bytes]) -> Result<Vec<u8>, EncodeError> {
    let mut out = Writer::default();
    out.json(json, attachments)?;
    out.finish()
}

#[derive(Default)]
struct Writer {
    /// All but the heads of arrays and maps.
    body: Vec<u8>,
    /// These, in the order in which they stand.
    heads: Vec<Head>,
    /// Which of them have not come to their end.
    open: Vec<usize>,
}

struct Head {
    format: Format,
    /// Where it belongs in the body.
    at: usize,
    /// Elements, or pairs.
    len: usize,
}

impl Writer {
    fn open(&mut self, format: Format) {
        self.begin_value();
        self.open.push(self.heads.len());
        self.heads.push(Head {
            format,
            at: self.body.len(),
            len: 0,
        });
    }

    fn close(&mut self) {
        self.open.pop();
    }

    fn key(&mut self, key: &str) -> Result<(), EncodeError> {
        self.count();
        self.push(STRING, key.as_bytes())
    }

    fn string(&mut self, value: &str) -> Result<(), EncodeError> {
        self.begin_value();
        self.push(STRING, value.as_bytes())
    }

    fn unsigned(&mut self, value: u64) {
        self.begin_value();
        push_unsigned(&mut self.body, value);
    }

    /// One JSON value, or several with commas in between.
    fn json(&mut self, json: &str, attachments: &[Bytes]) -> Result<(), EncodeError> {
        let bytes = json.as_bytes();
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            let start = at;
            at += 1;
            match byte {
                b'{' => match placeholder::split(&json[start..], attachments) {
                    Some((attachment, rest)) => {
                        at = json.len() - rest.len();
                        self.begin_value();
                        self.push(BINARY, attachment)?;
                    }
                    None => self.open(MAP),
                },
                b'[' => self.open(ARRAY),
                b'}' | b']' => self.close(),
                b'"' => {
                    at = json::string_end(bytes, start);
                    let text = json::value_of(&json[start..at]);
                    let text = text.ok_or_else(|| EncodeError::new("not JSON"))?;
                    if bytes.get(json::skip_blanks(bytes, at)) == Some(&b':') {
                        self.key(&text)?;
                    } else {
                        self.string(&text)?;
                    }
                }
                b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' => {}
                _ => {
                    let is_end = |byte: &u8| b",]} \t\n\r".contains(byte);
                    at += bytes[at..].iter().take_while(|it| !is_end(it)).count();
                    self.begin_value();
                    push_word(&mut self.body, &json[start..at])?;
                }
            }
        }
        Ok(())
    }

    /// The body with the heads in it.
    fn finish(self) -> Result<Vec<u8>, EncodeError> {
        let mut out = Vec::with_capacity(self.body.len() + MAX_HEAD * self.heads.len());
        let mut copied = 0;
        for head in &self.heads {
            out.extend_from_slice(&self.body[copied..head.at]);
            copied = head.at;
            push_head(&mut out, head.format, head.len)?;
        }
        out.extend_from_slice(&self.body[copied..]);
        Ok(out)
    }

    fn push(&mut self, format: Format, bytes: &[u8]) -> Result<(), EncodeError> {
        push_head(&mut self.body, format, bytes.len())?;
        self.body.extend_from_slice(bytes);
        Ok(())
    }

    /// In an array values are counted, in a map keys.
    fn begin_value(&mut self) {
        if let Some(head) = self.open.last()
            && self.heads[*head].format == ARRAY
        {
            self.count();
        }
    }

    fn count(&mut self) {
        if let Some(head) = self.open.last() {
            self.heads[*head].len += 1;
        }
    }
}

/// How a length is written.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Format {
    /// Up to this length, in one byte with these bits set.
    fix: Option<(u8, u8)>,
    /// The first byte for a length in one more byte.
    byte: Option<u8>,
    /// The first byte for a length in two more bytes; the next one is for four.
    short: u8,
}

const STRING: Format = Format {
    fix: Some((31, 0xA0)),
    byte: Some(0xD9),
    short: 0xDA,
};
const BINARY: Format = Format {
    fix: None,
    byte: Some(0xC4),
    short: 0xC5,
};
const ARRAY: Format = Format {
    fix: Some((15, 0x90)),
    byte: None,
    short: 0xDC,
};
const MAP: Format = Format {
    fix: Some((15, 0x80)),
    byte: None,
    short: 0xDE,
};

fn push_head(out: &mut Vec<u8>, format: Format, len: usize) -> Result<(), EncodeError> {
    let Format { fix, byte, short } = format;
    let len = u32::try_from(len).map_err(|_| EncodeError::new("too long for MessagePack"))?;
    let [.., third, last] = len.to_be_bytes();
    match (fix, byte) {
        (Some((max, bits)), _) if len <= max.into() => out.push(bits | last),
        (_, Some(byte)) if len <= u8::MAX.into() => out.extend([byte, last]),
        _ if len <= u16::MAX.into() => out.extend([short, third, last]),
        _ => {
            out.push(short + 1);
            out.extend(len.to_be_bytes());
        }
    }
    Ok(())
}

/// A number, `true`, `false` or `null`.
fn push_word(out: &mut Vec<u8>, word: &str) -> Result<(), EncodeError> {
    match word {
        "null" => out.push(0xC0),
        "false" => out.push(0xC2),
        "true" => out.push(0xC3),
        _ => {
            if let Ok(value) = word.parse() {
                push_unsigned(out, value);
            } else if let Ok(value) = word.parse() {
                push_negative(out, value);
            } else {
                let value = word.parse::<f64>();
                let value = value.map_err(|_| EncodeError::new("not JSON"))?;
                out.push(0xCB);
                out.extend(value.to_be_bytes());
            }
        }
    }
    Ok(())
}

fn push_unsigned(out: &mut Vec<u8>, value: u64) {
    if value < 0x80 {
        out.extend(u8::try_from(value));
    } else if let Ok(value) = u8::try_from(value) {
        out.extend([0xCC, value]);
    } else if let Ok(value) = u16::try_from(value) {
        out.push(0xCD);
        out.extend(value.to_be_bytes());
    } else if let Ok(value) = u32::try_from(value) {
        out.push(0xCE);
        out.extend(value.to_be_bytes());
    } else {
        out.push(0xCF);
        out.extend(value.to_be_bytes());
    }
}

fn push_negative(out: &mut Vec<u8>, value: i64) {
    if let Ok(value) = i8::try_from(value) {
        if value < -0x20 {
            out.push(0xD0);
        }
        out.extend(value.to_be_bytes());
    } else if let Ok(value) = i16::try_from(value) {
        out.push(0xD1);
        out.extend(value.to_be_bytes());
    } else if let Ok(value) = i32::try_from(value) {
        out.push(0xD2);
        out.extend(value.to_be_bytes());
    } else {
        out.push(0xD3);
        out.extend(value.to_be_bytes());
    }
}

/// Bytes that the head of an array or a map may take.
const MAX_HEAD: usize = 5;
