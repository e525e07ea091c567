//! The text of a Socket.IO packet.

use bytes::Bytes;
use engineio_proto::{Data, Encoded, Version};
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use socketio_proto::{
    DecodeError, Decoder, Limits, Packet, PacketKind, connect, encode, is_reserved,
};

/// A packet is accepted if another way to read it accepts it, and means the same; it can be encoded, in
/// ASCII as well, and is decoded the same again; a copy of it is equal.
pub fn run(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else {
        return;
    };
    let decoded = decode(text);
    let expected = read(text);
    match (&decoded, &expected) {
        (Ok(packet), Some(expected)) => compare(packet, expected),
        (Err(_), None) => {}
        (Err(DecodeError::IllegalPlaceholder), Some(it)) if !it.is_certain => {}
        _ => panic!("{decoded:?} instead of {expected:?}"),
    }
    if let Ok(packet) = &decoded {
        round_trip(packet);
        let mut copy = packet.clone();
        copy.detach();
        assert_eq!(copy, *packet);
    }
    answers(text);
}

/// The packet, each announced attachment a byte that says its number.
fn decode(text: &str) -> Result<Packet, DecodeError> {
    let mut decoder = Decoder::new(Limits::default());
    let mut next = Data::from(text);
    for number in 0..=Limits::default().max_attachments {
        if let Some(packet) = decoder.add(next)? {
            return Ok(packet);
        }
        next = Data::Binary(vec![number as u8].into());
    }
    panic!("more attachments than there may be")
}

/// The parts of a packet, as another decoder sees them.
#[derive(Debug)]
struct Parts<'a> {
    kind: u8,
    attachments: usize,
    nsp: &'a str,
    id: Option<u64>,
    name: Option<String>,
    args: Vec<&'a RawValue>,
    payload: &'a str,
    /// Whether its placeholders are known to be legal.
    is_certain: bool,
}

fn read(text: &str) -> Option<Parts<'_>> {
    let limits = Limits::default();
    let kind = text.bytes().next()?;
    let mut rest = text.get(1..)?;
    let mut attachments = 0;
    if matches!(kind, b'5' | b'6') {
        let (count, tail) = rest.split_once('-')?;
        if count.is_empty() || !count.bytes().all(|it| it.is_ascii_digit()) {
            return None;
        }
        attachments = count.parse().ok()?;
        if !(1..=limits.max_attachments as usize).contains(&attachments) {
            return None;
        }
        rest = tail;
    }
    let mut nsp = "/";
    if rest.starts_with('/') {
        (nsp, rest) = rest.split_once(',').unwrap_or((rest, ""));
    }
    if nsp.len() > limits.max_namespace as usize {
        return None;
    }
    let has_id = matches!(kind, b'2' | b'3' | b'5' | b'6');
    let payload = rest.trim_start_matches(|it: char| has_id && it.is_ascii_digit());
    let id = &rest[..rest.len() - payload.len()];
    let id = if id.is_empty() {
        None
    } else {
        Some(id.parse().ok()?)
    };
    let mut parts = Parts {
        kind,
        attachments,
        nsp,
        id,
        name: None,
        args: Vec::new(),
        payload: payload.trim_ascii_end(),
        is_certain: true,
    };
    if payload.is_empty() {
        return matches!(kind, b'0'..=b'6').then_some(parts);
    }
    let starts: &[char] = match kind {
        b'0' => &['{'],
        b'4' => &['{', '"'],
        b'2' | b'3' | b'5' | b'6' => &['['],
        _ => return None,
    };
    if !payload.starts_with(starts) {
        return None;
    }
    serde_json::from_str::<IgnoredAny>(payload).ok()?;
    if depth(payload) > limits.max_depth as usize {
        return None;
    }
    if has_id {
        parts.args = serde_json::from_str(payload).ok()?;
        if attachments > 0 {
            let are_legal = placeholders_are_legal(payload, attachments);
            parts.is_certain = are_legal.is_some();
            if are_legal == Some(false) {
                return None;
            }
        }
    }
    if matches!(kind, b'2' | b'5') {
        let name = *parts.args.first()?;
        parts.args.remove(0);
        let name = match name.get().as_bytes()[0] {
            b'"' => string(name.get()),
            b'-' | b'0'..=b'9' => name.get().into(),
            _ => return None,
        };
        if name.len() > limits.max_event_name as usize || is_reserved(&name) {
            return None;
        }
        parts.name = Some(name);
    }
    Some(parts)
}

/// How many lists and objects are inside of each other at most in valid JSON.
fn depth(json: &str) -> usize {
    let (mut depth, mut most, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => depth -= 1,
            _ => {}
        }
        most = most.max(depth);
    }
    most
}

/// A JSON string with U+FFFD for halves of surrogate pairs.
fn string(json: &str) -> String {
    serde_json::from_str(json).unwrap_or_else(|_| {
        let mut units = Vec::new();
        let mut rest = &json[1..json.len() - 1];
        while let Some(next) = rest.chars().next() {
            let mut length = next.len_utf8();
            if next != '\\' {
                units.extend(next.encode_utf16(&mut [0; 2]).iter());
            } else if rest.as_bytes()[1] == b'u' {
                units.push(u16::from_str_radix(&rest[2..6], 16).expect("four digits"));
                length = 6;
            } else {
                let escape = format!("\"{}\"", &rest[..2]);
                let it: char = serde_json::from_str(&escape).expect("an escape");
                units.push(it as u16);
                length = 2;
            }
            rest = &rest[length..];
        }
        String::from_utf16_lossy(&units)
    })
}

/// Whether every object with `_placeholder: true` names an attachment of its own. `None` if nobody can tell from
/// serde's value: it has none for half a surrogate pair and for too many levels, and none of two members with one
/// name but the last.
fn placeholders_are_legal(payload: &str, attachments: usize) -> Option<bool> {
    /// Adds the numbers of those that are not inside of another one.
    fn walk(value: &serde_json::Value, attachments: usize, named: &mut Vec<u64>) -> bool {
        match value {
            serde_json::Value::Array(list) => list.iter().all(|it| walk(it, attachments, named)),
            serde_json::Value::Object(map) => {
                if map.get("_placeholder") != Some(&true.into()) {
                    return map.values().all(|it| walk(it, attachments, named));
                }
                let num = map.get("num").and_then(serde_json::Value::as_u64);
                named.extend(num);
                let mut inside = Vec::new();
                num.is_some_and(|num| num < attachments as u64)
                    && map.values().all(|it| walk(it, attachments, &mut inside))
            }
            _ => true,
        }
    }
    let value = serde_json::from_str(payload).ok()?;
    let mut named = Vec::new();
    if !walk(&value, attachments, &mut named) {
        return Some(false);
    }
    let count = named.len();
    named.sort_unstable();
    named.dedup();
    if named.len() < count {
        return Some(false);
    }
    (payload.matches("_placeholder").count() == count).then_some(true)
}

fn compare(packet: &Packet, expected: &Parts<'_>) {
    assert_eq!(&*packet.nsp, expected.nsp);
    let payload = (!expected.payload.is_empty()).then_some(expected.payload);
    let args = match &packet.kind {
        PacketKind::Connect { auth } => {
            assert_eq!((expected.kind, auth.as_deref()), (b'0', payload));
            return;
        }
        PacketKind::Disconnect => {
            assert_eq!((expected.kind, payload), (b'1', None));
            return;
        }
        PacketKind::ConnectError { data } => {
            assert_eq!((expected.kind, data.as_deref()), (b'4', payload));
            return;
        }
        PacketKind::Empty => {
            let is_ack = matches!(expected.kind, b'3' | b'6');
            assert!(if is_ack {
                expected.id.is_none()
            } else {
                payload.is_none()
            });
            return;
        }
        PacketKind::Event { name, id, args } => {
            assert!(matches!(expected.kind, b'2' | b'5'));
            assert_eq!(
                (expected.name.as_deref(), expected.id),
                (Some(&**name), *id)
            );
            args
        }
        PacketKind::Ack { id, args } => {
            assert!(matches!(expected.kind, b'3' | b'6'));
            assert_eq!(expected.id, Some(*id));
            args
        }
    };
    assert_eq!(args.len(), expected.args.len());
    assert_eq!(args.is_empty(), expected.args.is_empty());
    let bytes: Vec<_> = (0..expected.attachments)
        .map(|it| Bytes::from(vec![it as u8]))
        .collect();
    assert_eq!(args.attachments(), bytes);
    if expected.attachments == 0 {
        let list = format!("[{}]", args.json());
        let list: Vec<&RawValue> = serde_json::from_str(&list).expect("a list");
        assert!(
            list.iter()
                .map(|it| it.get())
                .eq(expected.args.iter().map(|it| it.get()))
        );
        if let Some(first) = expected.args.first() {
            let value = serde_json::from_str::<serde_json::Value>(first.get()).ok();
            let read = args.deserialize::<serde_json::Value>().ok();
            // halves of surrogate pairs can be read here
            assert!(value.is_none() || read == value);
        }
    }
}

fn round_trip(packet: &Packet) {
    let encoded = match &packet.kind {
        PacketKind::Event { name, id, args } => encode::event(&packet.nsp, *id, name, args),
        PacketKind::Ack { id, args } => encode::ack(&packet.nsp, *id, args),
        _ => return,
    };
    let encoded = encoded.expect("what was read can be sent");
    assert_eq!(decode_encoded(&encoded), *packet);

    let ascii = encoded.ascii().expect("a text");
    let (PacketKind::Event { args, .. } | PacketKind::Ack { args, .. }) = &packet.kind else {
        return;
    };
    if packet.nsp.is_ascii() {
        assert!(ascii.is_ascii());
    }
    let again = decode(&ascii[1..]).expect("the same in ASCII");
    let (PacketKind::Event { args: other, .. } | PacketKind::Ack { args: other, .. }) = &again.kind
    else {
        panic!("{again:?}")
    };
    assert_eq!(again.nsp, packet.nsp);
    let value = |args: &socketio_proto::Args| {
        serde_json::from_str::<serde_json::Value>(&format!("[{}]", args.json())).ok()
    };
    assert_eq!(value(other), value(args));
}

fn decode_encoded(encoded: &Encoded) -> Packet {
    let mut decoder = Decoder::new(Limits::default());
    let text = encoded.wire_text().expect("a text");
    let mut packet = decoder.add(Data::Text(text.slice_ref(&text[1..])));
    for bytes in encoded.attachments() {
        assert_eq!(packet, Ok(None));
        packet = decoder.add(Data::Binary(bytes.clone()));
    }
    packet
        .expect("what was sent can be read")
        .expect("no attachment is missing")
}

/// What the server says about namespaces holds any text.
fn answers(text: &str) {
    let nsp = "/a?b";
    let json = |it: &Encoded| match decode_encoded(it) {
        Packet {
            kind: PacketKind::Connect { auth: json } | PacketKind::ConnectError { data: json },
            nsp: name,
        } => {
            assert_eq!(name, nsp);
            json.map(|it| serde_json::from_str::<serde_json::Value>(&it).expect("JSON"))
        }
        other => panic!("{other:?}"),
    };
    let it = connect::connect(Version::V4, nsp, text, Some(text));
    assert_eq!(
        json(&it),
        Some(serde_json::json!({"sid": text, "pid": text}))
    );
    assert_eq!(json(&connect::connect(Version::V3, nsp, text, None)), None);
    let it = connect::connect_error(Version::V4, nsp, text, None);
    assert_eq!(json(&it), Some(serde_json::json!({"message": text})));
    let it = connect::connect_error(Version::V3, nsp, text, None);
    assert_eq!(json(&it), Some(text.into()));
}
