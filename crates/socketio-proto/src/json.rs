//! JSON texts, without making values of them. What is read here has been validated before.

use std::borrow::Cow;

/// Appends a JSON string.
pub(crate) fn push_string(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    loop {
        let (plain, special) = rest.split_at(plain_len(rest.as_bytes()));
        out.push_str(plain);
        match special.as_bytes().first() {
            None => break,
            Some(b'"') => out.push_str("\\\""),
            Some(b'\\') => out.push_str("\\\\"),
            Some(byte) => push_escape(out, u16::from(*byte)),
        }
        rest = &special[1..];
    }
    out.push('"');
}

/// How many of the bytes at the start stand for themselves in a JSON string: what comes then is a
/// quote, a backslash, a control character or the end. Most of what is sent is inside of strings,
/// so this goes along it many bytes at a time.
#[inline(always)] // a call would cost as much as the usual name
pub(crate) fn plain_len(bytes: &[u8]) -> usize {
    // Names end soon.
    match bytes.first_chunk().map(plain_in_word) {
        Some(len @ 0..8) => len,
        _ => plain_blocks(bytes),
    }
}

/// The same for long strings.
#[inline(never)]
fn plain_blocks(bytes: &[u8]) -> usize {
    let mut len = 0;
    // Without a branch for each byte, and as a minimum, the compiler makes vector instructions of it.
    let zero_if_special = |byte: u8| {
        let (quote, backslash) = (byte ^ b'"', byte ^ b'\\');
        byte.saturating_sub(0x1F).min(quote).min(backslash)
    };
    let (blocks, _) = bytes.as_chunks::<32>();
    for block in blocks {
        if block
            .iter()
            .fold(1, |least, byte| zero_if_special(*byte).min(least))
            == 0
        {
            break;
        }
        len += block.len();
    }
    let (words, rest) = bytes[len..].as_chunks();
    for word in words {
        match plain_in_word(word) {
            8 => len += 8,
            plain => return len + plain,
        }
    }
    let is_special = |byte: &u8| matches!(byte, 0..0x20 | b'"' | b'\\');
    len + rest.iter().position(is_special).unwrap_or(rest.len())
}

/// See [`plain_len`].
#[inline]
fn plain_in_word(word: &[u8; 8]) -> usize {
    let word = u64::from_le_bytes(*word);
    // The highest bit of the first such byte, and of none before it.
    let below = |it: u64, limit: u64| it.wrapping_sub(EACH * limit) & !it & (EACH * 0x80);
    let is = |byte: u8| below(word ^ (EACH * u64::from(byte)), 1);
    let special = below(word, 0x20) | is(b'"') | is(b'\\');
    special.trailing_zeros() as usize / 8
}

/// One in each byte.
const EACH: u64 = u64::from_ne_bytes([1; 8]);

/// Appends a number.
pub(crate) fn push_number(out: &mut String, number: u64) {
    out.push_str(itoa::Buffer::new().format(number));
}

/// Without blanks and line ends around.
pub(crate) fn trim(json: &str) -> &str {
    json.trim_ascii()
}

/// The index of the next byte that is no blank.
#[inline]
pub(crate) fn skip_blanks(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\t' | b'\n' | b'\r') = bytes.get(at) {
        at += 1;
    }
    at
}

/// The index after the string that starts at `start`.
pub(crate) fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(rest) = bytes.get(at..) {
        at += plain_len(rest);
        match bytes.get(at) {
            Some(b'"') => return at + 1,
            Some(b'\\') => at += 2,
            _ => break,
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
    let text = string.strip_prefix('"')?.strip_suffix('"')?;
    if plain_len(text.as_bytes()) == text.len() {
        Some(Cow::Borrowed(text))
    } else {
        unescape(string).map(Cow::Owned)
    }
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
        fn a_number_is_what_it_is(number in any::<u64>(), shift in 0..64) {
            let mut text = String::new();
            push_number(&mut text, number >> shift);
            let number: u64 = number >> shift;
            prop_assert_eq!(text, number.to_string());
        }

        #[test]
        fn plain_bytes_are_counted(bytes in prop::collection::vec(prop_oneof![
            20 => b'a'..=0xFF,
            20 => b' '..b'"',
            1 => prop::sample::select(vec![b'"', b'\\', b'\n', 0, 0x1F]),
        ], 0..120)) {
            let special = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
            let first = bytes.iter().position(special);
            prop_assert_eq!(plain_len(&bytes), first.unwrap_or(bytes.len()));
        }

        #[test]
        fn a_pushed_string_reads_back(text in "\\PC{0,40}|[a-z\"\\\\\\x00-\\x1f]{0,90}") {
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
