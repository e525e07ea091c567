//! Bodies for clients that can only load scripts and submit forms.

use std::fmt::Write as _;

use bytes::Bytes;

/// The payload in the body of a JSONP client's POST: field `d` of a form. `None` if there is no
/// such field.
///
/// A browser writes a line break of a form field in its own way, so the client sends `\n` (two
/// characters) for a line break and `\\n` for those two characters.
///
/// ```
/// use engineio_proto::payload::jsonp;
///
/// assert_eq!(jsonp::form_payload(b"d=6%3A4hello").as_deref(), Some(&b"6:4hello"[..]));
/// assert_eq!(jsonp::form_payload(b"a=b"), None);
/// ```
pub fn form_payload(form: &[u8]) -> Option<Bytes> {
    let (_, value) = form_urlencoded::parse(form).find(|(name, _)| name == "d")?;
    Some(unescape(&value).into())
}

/// The body as a script that calls back with it.
pub(super) fn script(index: &str, body: &str) -> String {
    let mut script = String::with_capacity(body.len() + body.len() / 8 + 24);
    script.push_str("___eio[");
    script.push_str(index);
    script.push_str("](\"");
    escape_into(&mut script, body);
    script.push_str("\");");
    script
}

/// JSON, and U+2028 and U+2029 as well: in a script of old they end a line.
fn escape_into(script: &mut String, body: &str) {
    let mut rest = body;
    while let Some(at) = rest.find(needs_escape) {
        let (plain, tail) = rest.split_at(at);
        script.push_str(plain);
        let mut tail = tail.chars();
        match tail.next() {
            Some('"') => script.push_str("\\\""),
            Some('\\') => script.push_str("\\\\"),
            Some('\u{8}') => script.push_str("\\b"),
            Some('\u{c}') => script.push_str("\\f"),
            Some('\n') => script.push_str("\\n"),
            Some('\r') => script.push_str("\\r"),
            Some('\t') => script.push_str("\\t"),
            Some(other) => {
                // a String takes whatever is written to it
                let _ = write!(script, "\\u{:04x}", u32::from(other));
            }
            None => {}
        }
        rest = tail.as_str();
    }
    script.push_str(rest);
}

fn needs_escape(it: char) -> bool {
    matches!(it, '"' | '\\' | '\u{2028}' | '\u{2029}') || it < ' '
}

fn unescape(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    let mut rest = value;
    while let Some(at) = rest.find('\\') {
        let (plain, tail) = rest.split_at(at);
        text.push_str(plain);
        let (replacement, length) = if tail.starts_with("\\\\n") {
            ("\\n", 3)
        } else if tail.starts_with("\\n") {
            ("\n", 2)
        } else {
            ("\\", 1)
        };
        text.push_str(replacement);
        rest = &tail[length..];
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        Dialect, Encoded, Packet, PacketKind,
        dialect::BodyShape,
        payload::{self, Framing},
        session::Transmit,
    };

    #[test]
    fn both_versions_wrap_their_text() {
        let item = Transmit::Message("{\"a\":\"/é\u{2028}\u{2029}\n\"}".into());
        assert_eq!(
            payload::encode(item.clone().into(), &Dialect::V4, Some("12")).bytes,
            r#"___eio[12]("4{\"a\":\"/é\u2028\u2029\n\"}");"#
        );
        assert_eq!(
            payload::encode(item.into(), &Dialect::V3, Some("")).bytes,
            r#"___eio[]("14:4{\"a\":\"/é\u2028\u2029\n\"}");"#
        );
    }

    #[test]
    fn a_script_holds_text_whatever_the_dialect_prefers() {
        let dialect = Dialect {
            body: BodyShape::Binary,
            ..Dialect::V3
        };
        let items = [
            Transmit::Control(Packet::bare(PacketKind::Noop)),
            Transmit::Message(Encoded::binary(vec![1, 2, 255])),
        ];
        let body = payload::encode(items.into_iter().collect(), &dialect, Some("3"));
        assert_eq!(body.framing, Framing::Text);
        assert_eq!(body.bytes, r#"___eio[3]("1:66:b4AQL/");"#);
    }

    #[test]
    fn backslash_n_is_a_line_break_unless_its_backslash_is_escaped() {
        let cases = [
            ("a\\nb", "a\nb"),
            ("a\\\\nb", "a\\nb"),
            ("a\\\\\\nb", "a\\\\nb"),
            ("\\", "\\"),
            ("\\\\", "\\\\"),
            ("\\x", "\\x"),
            ("\\n\\\\n\\n", "\n\\n\n"),
            ("plain\n", "plain\n"),
        ];
        for (wire, text) in cases {
            assert_eq!(unescape(wire), text, "{wire:?}");
        }
    }

    #[test]
    fn forms_are_percent_decoded() {
        let payload = |form: &[u8]| form_payload(form).map(|it| String::from_utf8(it.into()));
        assert_eq!(
            payload(b"x=1&d=5%3A4%22%C3%A9+%22&d=2"),
            Some(Ok("5:4\"é \"".into()))
        );
        assert_eq!(payload(b"d=%ff"), Some(Ok("\u{fffd}".into())));
        assert_eq!(payload(b"d"), Some(Ok(String::new())));
        assert_eq!(payload(b""), None);
    }

    proptest! {
        #[test]
        fn a_script_is_read_back_as_json(body in any::<String>()) {
            let script = script("0", &body);
            let one_line = !script.contains(['\n', '\r', '\u{2028}', '\u{2029}']);
            prop_assert!(one_line);
            let json = &script["___eio[0](".len()..script.len() - ");".len()];
            prop_assert_eq!(serde_json::from_str::<String>(json).unwrap(), body);
        }

        #[test]
        fn what_a_client_escapes_is_restored(body in "[\\\\na\n]{0,12}") {
            // a backslash before a line break is the one thing that the client cannot express
            prop_assume!(!body.contains("\\\n"));
            let escaped = body.replace("\\n", "\\\n").replace('\n', "\\n");
            let mut form = form_urlencoded::Serializer::new(String::new());
            form.append_pair("d", &escaped);
            let form = form.finish();
            prop_assert_eq!(form_payload(form.as_bytes()).unwrap(), body);
        }

        #[test]
        fn any_form_is_read(form in any::<Vec<u8>>()) {
            let _ = form_payload(&form);
        }
    }
}
