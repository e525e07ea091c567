//! The text of a packet: a short header, read by hand, and JSON, which stays a slice.
//!
//! ```text
//! <type>[<attachments>-][<namespace>,][<id>][<payload>]
//! ```
//!
//! Source: Socket.IO protocol 5, "Packet encoding"; version 4 has the same text.

use std::borrow::Cow;

use engineio_proto::Str;

use crate::{
    Args, DecodeError, Limits, Packet, PacketKind, is_reserved, json, placeholder, validate,
};

/// Decodes the text of a packet; also says how many attachments follow.
pub(crate) fn decode(text: Str, limits: &Limits) -> Result<(Packet, usize), DecodeError> {
    let kind = text
        .bytes()
        .next()
        .filter(u8::is_ascii_digit)
        .ok_or(DecodeError::UnknownType(None))?;
    let rest = &text[1..];
    let (attachments, rest) = match kind {
        b'0'..=b'4' => (0, rest),
        b'5' | b'6' => split_attachments(rest, limits)?,
        _ => return Err(DecodeError::UnknownType(Some(kind - b'0'))),
    };
    let (nsp, rest) = split_namespace(rest);
    limits.check_namespace(nsp)?;
    let depth = limits.max_depth as usize;
    let nsp = match nsp {
        "/" => Str::from_static("/"),
        _ => text.slice_ref(nsp),
    };
    let kind = match kind {
        b'0' => PacketKind::Connect {
            auth: optional(&text, rest, b"{", depth)?,
        },
        b'1' if rest.is_empty() => PacketKind::Disconnect,
        b'1' => return Err(DecodeError::InvalidPayload),
        b'4' => PacketKind::ConnectError {
            data: optional(&text, rest, b"{\"", depth)?,
        },
        b'2' | b'5' => {
            let (id, payload) = split_id(rest)?;
            if payload.is_empty() {
                PacketKind::Empty
            } else {
                let payload = text.len() - payload.len();
                event(array(text, payload, attachments, depth)?, id, limits)?
            }
        }
        _ => {
            let (id, payload) = split_id(rest)?;
            let args = if payload.is_empty() {
                Args::empty()
            } else {
                let payload = text.len() - payload.len();
                array(text, payload, attachments, depth)?
            };
            match id {
                Some(id) => PacketKind::Ack { id, args },
                None => PacketKind::Empty,
            }
        }
    };
    Ok((Packet { nsp, kind }, attachments))
}

/// `2-` at the start.
fn split_attachments<'a>(text: &'a str, limits: &Limits) -> Result<(usize, &'a str), DecodeError> {
    let (digits, rest) = split_digits(text);
    let rest = rest.strip_prefix('-');
    let (Some(rest), false) = (rest, digits.is_empty()) else {
        return Err(DecodeError::IllegalAttachments);
    };
    match digits.parse() {
        Ok(0) => Err(DecodeError::IllegalAttachments),
        Ok(count) if count <= limits.max_attachments as usize => Ok((count, rest)),
        _ => Err(DecodeError::TooManyAttachments),
    }
}

/// `/admin,` at the start, or `/admin` if nothing follows.
fn split_namespace(text: &str) -> (&str, &str) {
    if text.starts_with('/') {
        text.split_once(',').unwrap_or((text, ""))
    } else {
        ("/", text)
    }
}

/// `12` at the start.
fn split_id(text: &str) -> Result<(Option<u64>, &str), DecodeError> {
    let (mut id, mut len) = (0_u64, 0);
    for digit in text.bytes().map_while(|it| char::from(it).to_digit(10)) {
        let next = id
            .checked_mul(10)
            .and_then(|id| id.checked_add(digit.into()));
        id = next.ok_or(DecodeError::InvalidPayload)?;
        len += 1;
    }
    Ok(((len > 0).then_some(id), &text[len..]))
}

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

/// A payload that may be absent, and starts with one of these characters if it is not.
fn optional(
    text: &Str,
    payload: &str,
    starts: &[u8],
    max_depth: usize,
) -> Result<Option<Str>, DecodeError> {
    if payload.is_empty() {
        return Ok(None);
    }
    let payload = validate(payload, starts, max_depth)?;
    Ok(Some(text.slice_ref(payload)))
}

/// The array that a text ends with, its placeholders checked and in the usual form. The text is
/// kept as it came, header included, unless that is not the form.
pub(crate) fn array(
    text: Str,
    start: usize,
    attachments: usize,
    max_depth: usize,
) -> Result<Args, DecodeError> {
    let payload = validate(&text[start..], b"[", max_depth)?;
    if attachments > 0 {
        let normalised = placeholder::normalise(payload, attachments);
        let normalised = normalised.map_err(|_| DecodeError::IllegalPlaceholder)?;
        if let Some(normalised) = normalised {
            return Ok(Args::of_array(normalised.into(), 0));
        }
    }
    if payload.len() == text.len() - start {
        Ok(Args::of_array(text, start))
    } else {
        Ok(Args::of_array(text.slice_ref(payload), 0))
    }
}

/// A whole and valid JSON text that starts with one of these characters.
fn validate<'a>(payload: &'a str, starts: &[u8], max_depth: usize) -> Result<&'a str, DecodeError> {
    let first = payload.as_bytes().first();
    if !first.is_some_and(|it| starts.contains(it)) {
        return Err(DecodeError::InvalidPayload);
    }
    validate::check(payload, max_depth)?;
    Ok(json::trim(payload))
}

/// An event from its array.
fn event(array: Args, id: Option<u64>, limits: &Limits) -> Result<PacketKind, DecodeError> {
    let (name, args) = array.split_name().ok_or(DecodeError::InvalidPayload)?;
    limits.check_event_name(&name)?;
    if is_reserved(&name) {
        return Err(DecodeError::InvalidPayload);
    }
    Ok(PacketKind::Event { name, id, args })
}

/// The first element of an array, which is to be the name of an event, and where the others begin:
/// a string or a number.
pub(crate) fn split_name(array: &str) -> Option<(Cow<'_, str>, usize)> {
    let bytes = array.as_bytes();
    let start = json::skip_blanks(bytes, 1);
    let (end, name) = match bytes[start] {
        b'"' => {
            let text = &array[start + 1..];
            let (plain, rest) = text.split_at(json::plain_len(text.as_bytes()));
            if rest.starts_with('"') {
                (start + plain.len() + 2, Cow::Borrowed(plain))
            } else {
                let end = json::string_end(bytes, start);
                (end, Cow::Owned(json::unescape(&array[start..end])?))
            }
        }
        b'-' | b'0'..=b'9' => {
            let rest = &array[start..];
            let len = rest.find([',', ']', ' ', '\t', '\n', '\r']);
            let end = start + len.unwrap_or(rest.len());
            (end, Cow::Borrowed(&array[start..end]))
        }
        _ => return None,
    };
    let end = json::skip_blanks(bytes, end);
    let comma = usize::from(bytes.get(end) == Some(&b','));
    Some((name, end + comma))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Decoder;

    fn decode(text: &str) -> Result<Option<Packet>, DecodeError> {
        Decoder::new(Limits::default()).add(text.into())
    }

    fn packet(text: &str) -> Packet {
        decode(text).unwrap().unwrap()
    }

    fn error(text: &str) -> DecodeError {
        decode(text).unwrap_err()
    }

    /// Namespace, name, id and arguments of an event.
    fn event(text: &str) -> (String, String, Option<u64>, String) {
        let packet = packet(text);
        let PacketKind::Event { name, id, args } = packet.kind else {
            panic!("{packet:?}")
        };
        let (nsp, name) = (packet.nsp.to_string(), name.to_string());
        (nsp, name, id, args.json().into())
    }

    fn expected(
        nsp: &str,
        name: &str,
        id: Option<u64>,
        args: &str,
    ) -> (String, String, Option<u64>, String) {
        (nsp.into(), name.into(), id, args.into())
    }

    #[test]
    fn events() {
        for (text, it) in [
            (r#"2["a"]"#, expected("/", "a", None, "")),
            (r#"2["a",1,"b"]"#, expected("/", "a", None, r#"1,"b""#)),
            (r#"2/,["x"]"#, expected("/", "x", None, "")),
            (
                r#"2/admin,12["x",[]]"#,
                expected("/admin", "x", Some(12), "[]"),
            ),
            (r#"2/é?a=b,0["x"]"#, expected("/é?a=b", "x", Some(0), "")),
            (r#"2007["x"]"#, expected("/", "x", Some(7), "")),
            ("2[1,2]", expected("/", "1", None, "2")),
            ("2[-1.5e3]", expected("/", "-1.5e3", None, "")),
            (r#"2[""]"#, expected("/", "", None, "")),
            (r#"2["é"]"#, expected("/", "é", None, "")),
            (r#"2["caf\u00e9",1]"#, expected("/", "café", None, "1")),
            (r#"2["\ud800\"",1]"#, expected("/", "\u{FFFD}\"", None, "1")),
            ("2[ \"a\"\t,\n1 , 2 ]\r", expected("/", "a", None, "1 , 2")),
            ("2[ 7 , 1 ] ", expected("/", "7", None, "1")),
            (r#"2["a,]",1]"#, expected("/", "a,]", None, "1")),
            (
                r#"2["a",{"_placeholder":true,"num":9}]"#,
                expected("/", "a", None, r#"{"_placeholder":true,"num":9}"#),
            ),
        ] {
            assert_eq!(event(text), it, "{text}");
        }
    }

    #[test]
    fn slices_not_copies() {
        let text = Str::from(r#"2/admin,["a",1]"#);
        let packet = Decoder::new(Limits::default()).add(text.clone().into());
        let PacketKind::Event { name, args, .. } = packet.unwrap().unwrap().kind else {
            panic!()
        };
        let within = text.as_bytes().as_ptr_range();
        assert!(within.contains(&name.as_bytes().as_ptr()));
        assert!(within.contains(&args.json().as_ptr()));
    }

    #[test]
    fn an_event_may_have_no_payload_and_an_ack_no_id() {
        for text in ["2", "2/admin,", "212", "3", "3[]", r#"3["a"]"#] {
            assert_eq!(packet(text).kind, PacketKind::Empty);
        }
        let mut decoder = Decoder::new(Limits::default());
        assert_eq!(decoder.add("51-".into()), Ok(None));
        let packet = decoder.add(vec![1].into()).unwrap().unwrap();
        assert_eq!(packet.kind, PacketKind::Empty);
    }

    #[test]
    fn acks() {
        for (text, id, json) in [
            (r#"312["r",5]"#, 12, r#""r",5"#),
            ("314[]", 14, ""),
            ("314[ ]", 14, ""),
            ("314", 14, ""),
            ("318446744073709551615[{}]", u64::MAX, "{}"),
        ] {
            let PacketKind::Ack { id: got, args } = packet(text).kind else {
                panic!("{text}")
            };
            assert_eq!((got, args.json()), (id, json), "{text}");
        }
    }

    #[test]
    fn ids_are_digits_and_fit_64_bits() {
        for text in [
            r#"2 ["a"]"#,
            r#"21 ["a"]"#,
            r#"2-1["a"]"#,
            r#"2+1["a"]"#,
            r#"21.5["a"]"#,
            r#"20e1["a"]"#,
            r#"2٣["a"]"#,
            r#"2abc["a"]"#,
            r#"218446744073709551616["a"]"#,
        ] {
            assert_eq!(error(text), DecodeError::InvalidPayload, "{text}");
        }
        assert_eq!(event(r#"29007199254740993["a"]"#).2, Some(9007199254740993));
    }

    #[test]
    fn connect_and_disconnect() {
        let connect = |nsp: &'static str, auth: Option<&'static str>| Packet {
            nsp: nsp.into(),
            kind: PacketKind::Connect {
                auth: auth.map(Into::into),
            },
        };
        assert_eq!(packet("0"), connect("/", None));
        assert_eq!(packet("0/admin"), connect("/admin", None));
        assert_eq!(packet("0/admin,"), connect("/admin", None));
        assert_eq!(packet("0/a?t=1,"), connect("/a?t=1", None));
        let auth = r#"{"token":"a"}"#;
        assert_eq!(packet(r#"0{"token":"a"}"#), connect("/", Some(auth)));
        assert_eq!(packet(r#"0/é,{"token":"a"}"#), connect("/é", Some(auth)));
        assert_eq!(packet("1").kind, PacketKind::Disconnect);
        assert_eq!(packet("1/admin").nsp, "/admin");
        assert_eq!(packet("1/admin,").kind, PacketKind::Disconnect);
    }

    #[test]
    fn payloads_of_another_shape_are_invalid() {
        for text in [
            "0[]",
            "0null",
            "0\"a\"",
            "01",
            "0{",
            "0{}x",
            "0 {}",
            "1{}",
            "11",
            "1/a,\"x\"",
            "41",
            "4null",
            "4[]",
            "2[",
            "2[]",
            "2[,]",
            "2{}",
            "2\"a\"",
            "2true",
            "2[true]",
            "2[null]",
            "2[{}]",
            "2[[]]",
            "2[\"a\"]x",
            "2[\"a\"][\"b\"]",
            "2[\"a\",]",
            "2[\"a\" 1]",
            "2[\"a\\x\"]",
            "2[\"a\nb\"]",
            "2[01]",
            "2\u{feff}[\"a\"]",
            "31{}",
            "31[",
        ] {
            assert_eq!(error(text), DecodeError::InvalidPayload, "{text}");
        }
    }

    #[test]
    fn unknown_types() {
        assert_eq!(error("7"), DecodeError::UnknownType(Some(7)));
        assert_eq!(error(""), DecodeError::UnknownType(None));
        assert_eq!(error("é"), DecodeError::UnknownType(None));
    }

    #[test]
    fn counts_of_attachments() {
        for text in [
            "5", "51", "5-", "5a-", "51.23-", "5-1-", "5 1-", "51/-", "50-", "500-", "6[\"a\"]",
        ] {
            assert_eq!(error(text), DecodeError::IllegalAttachments, "{text}");
        }
        for text in ["511-", "599999999999999999999999999-"] {
            assert_eq!(error(text), DecodeError::TooManyAttachments, "{text}");
        }
        assert_eq!(decode("510-[\"a\"]"), Ok(None));
        assert_eq!(decode("5010-[\"a\"]"), Ok(None));
    }

    #[test]
    fn an_illegal_placeholder_is_found_before_the_bytes_come() {
        let text = r#"51-["a",{"_placeholder":true,"num":1}]"#;
        assert_eq!(error(text), DecodeError::IllegalPlaceholder);
    }

    #[test]
    fn depth_takes_no_stack_and_has_a_limit() {
        for max_depth in [200, 200_000] {
            let decode = |text: &str| {
                let limits = Limits {
                    max_depth,
                    ..Limits::default()
                };
                Decoder::new(limits).add(text.into())
            };
            let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
            // The list of arguments is one of them.
            let deep = nested(max_depth as usize - 1);
            let packet = decode(&format!("2[\"a\",{deep}]")).unwrap().unwrap();
            let PacketKind::Event { args, .. } = packet.kind else {
                panic!("{packet:?}")
            };
            assert_eq!(args.json(), deep);
            assert_eq!(decode(&format!("51-[\"a\",{deep}]")), Ok(None));
            assert_eq!(
                decode(&format!("2[\"a\",{deep}")),
                Err(DecodeError::InvalidPayload)
            );
            let deeper = nested(max_depth as usize);
            for text in [format!("2[\"a\",{deeper}]"), format!("51-[\"a\",{deeper}]")] {
                assert_eq!(decode(&text), Err(DecodeError::TooDeep));
            }
        }
    }
}
