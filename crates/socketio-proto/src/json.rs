//! JSON texts, without making values of them. What is read here has been validated before.

use std::borrow::Cow;

/// Appends a JSON string.
pub(crate) fn push_string(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    let is_special = |byte| matches!(byte, b'"' | b'\\' | 0..b' ');
    while let Some(at) = rest.bytes().position(is_special) {
        out.push_str(&rest[..at]);
        match rest.as_bytes()[at] {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            byte => push_escape(out, byte.into()),
        }
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
    out.push('"');
}

/// Without blanks and line ends around.
pub(crate) fn trim(json: &str) -> &str {
    json.trim_matches([' ', '\t', '\n', '\r'])
}

/// The index of the next byte that is no blank.
pub(crate) fn skip_blanks(bytes: &[u8], at: usize) -> usize {
    let blank = |it: &&u8| matches!(it, b' ' | b'\t' | b'\n' | b'\r');
    at + bytes[at..].iter().take_while(blank).count()
}

/// The index after the string that starts at `start`.
pub(crate) fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// How many values a list without its brackets has.
pub(crate) fn count_elements(list: &str) -> usize {
    let bytes = list.as_bytes();
    let mut at = skip_blanks(bytes, 0);
    if at == bytes.len() {
        return 0;
    }
    let (mut count, mut depth) = (1, 0usize);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                at = string_end(bytes, at);
                continue;
            }
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            b',' if depth == 0 => count += 1,
            _ => {}
        }
        at += 1;
    }
    count
}

/// The value of a JSON string, which most often is just what stands between the quotes.
pub(crate) fn value_of(string: &str) -> Option<Cow<'_, str>> {
    if string.contains('\\') {
        return unescape(string).map(Cow::Owned);
    }
    let text = string.strip_prefix('"')?.strip_suffix('"')?;
    Some(Cow::Borrowed(text))
}

/// The value of a JSON string, lone surrogates replaced by U+FFFD.
pub(crate) fn unescape(string: &str) -> Option<String> {
    serde_json::from_str(string)
        .or_else(|error| match replace_lone_surrogates(string) {
            Some(replaced) => serde_json::from_str(&replaced),
            None => Err(error),
        })
        .ok()
}

/// The text with each escape of a lone surrogate replaced by `\ufffd`, or `None` if it has none.
/// The length stays.
///
/// A JavaScript string may have half a surrogate pair in it, a Rust string may not.
pub(crate) fn replace_lone_surrogates(json: &str) -> Option<String> {
    let bytes = json.as_bytes();
    let mut out = String::new();
    let (mut at, mut copied) = (0, 0);
    while let Some(found) = json.get(at..).and_then(|rest| rest.find('\\')) {
        at += found;
        at = match code_unit(bytes, at) {
            None => at + 2,
            Some(0xD800..=0xDBFF) if is_low_surrogate(code_unit(bytes, at + 6)) => at + 12,
            Some(0xD800..=0xDFFF) => {
                out.push_str(&json[copied..at]);
                push_escape(&mut out, 0xFFFD);
                copied = at + 6;
                copied
            }
            Some(_) => at + 6,
        };
    }
    (copied > 0).then(|| out + &json[copied..])
}

/// The text with everything beyond ASCII escaped. Only strings have such characters in them, and
/// there the escape means the same.
pub(crate) fn push_ascii(out: &mut String, json: &str) {
    let mut units = [0; 2];
    for it in json.chars() {
        if it.is_ascii() {
            out.push(it);
        } else {
            for unit in it.encode_utf16(&mut units) {
                push_escape(out, *unit);
            }
        }
    }
}

/// The code unit that a `\uXXXX` at this place stands for.
fn code_unit(bytes: &[u8], at: usize) -> Option<u16> {
    let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

fn is_low_surrogate(unit: Option<u16>) -> bool {
    matches!(unit, Some(0xDC00..=0xDFFF))
}

pub(crate) fn push_escape(out: &mut String, unit: u16) {
    out.push_str("\\u");
    for shift in [12, 8, 4, 0] {
        let digit = char::from_digit(u32::from(unit >> shift & 0xF), 16);
        out.extend(digit);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lone_surrogates_are_replaced_pairs_stay() {
        let replaced = |json| replace_lone_surrogates(json);
        assert_eq!(replaced(r#""a""#), None);
        assert_eq!(replaced(r#""\u00e9\n\\ud800""#), None);
        assert_eq!(replaced(r#""\ud83d\ude00""#), None);
        assert_eq!(replaced(r#""\ud83d""#).unwrap(), r#""\ufffd""#);
        assert_eq!(replaced(r#""\uDE00é""#).unwrap(), r#""\ufffdé""#);
        assert_eq!(
            replaced(r#""\ud83d\ud83d\ude00\\""#).unwrap(),
            r#""\ufffd\ud83d\ude00\\""#
        );
        assert_eq!(replaced(r#""\ud83d\n""#).unwrap(), r#""\ufffd\n""#);
    }

    #[test]
    fn elements_are_counted_at_the_top_only() {
        for (list, count) in [
            ("", 0),
            (" ", 0),
            ("1", 1),
            (r#"[1,2],{"a":[3,4],"b":5}"#, 2),
            (r#""a,\",b" , "[", null"#, 3),
        ] {
            assert_eq!(count_elements(list), count, "{list}");
        }
    }

    proptest! {
        #[test]
        fn a_pushed_string_reads_back(text: String) {
            let mut json = String::new();
            push_string(&mut json, &text);
            prop_assert_eq!(unescape(&json), Some(text.clone()));
            prop_assert_eq!(string_end(json.as_bytes(), 0), json.len());

            let mut ascii = String::new();
            push_ascii(&mut ascii, &json);
            prop_assert!(ascii.is_ascii());
            prop_assert_eq!(unescape(&ascii), Some(text));
        }

        #[test]
        fn any_mix_of_code_units_can_be_unescaped(units in prop::collection::vec(0xD7FEu16..0xE002, 0..12)) {
            let mut json = String::from("\"");
            for unit in &units {
                push_escape(&mut json, *unit);
            }
            json.push('"');
            prop_assert_eq!(unescape(&json), Some(String::from_utf16_lossy(&units)));
        }
    }
}
