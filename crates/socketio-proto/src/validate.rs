//! Whether a text is JSON: in one walk, without making anything of it and without recursion.
//!
//! It says of every text what `serde_json` says; the tests compare the two.

use crate::{
    DecodeError,
    json::{plain_len, skip_blanks},
};

/// Refuses a text that is not one JSON value, maybe with blanks around it, or one with more lists and
/// objects inside of each other than that.
pub(crate) fn check(text: &str, max_depth: usize) -> Result<(), DecodeError> {
    let bytes = text.as_bytes();
    let mut open = Open::new(max_depth);
    match value_end(bytes, skip_blanks(bytes, 0), &mut open) {
        Some(end) if skip_blanks(bytes, end) == bytes.len() => Ok(()),
        None if open.is_too_deep => Err(DecodeError::TooDeep),
        _ => Err(DecodeError::InvalidPayload),
    }
}

/// The index after the value that starts at this one, and after all that is open around it.
fn value_end(bytes: &[u8], mut at: usize, open: &mut Open) -> Option<usize> {
    loop {
        at = match bytes.get(at)? {
            b'"' => string_end(bytes, at + 1)?,
            b'-' | b'0'..=b'9' => number_end(bytes, at)?,
            b't' => literal_end(bytes, at, b"true")?,
            b'f' => literal_end(bytes, at, b"false")?,
            b'n' => literal_end(bytes, at, b"null")?,
            b'[' => {
                open.push(false)?;
                at = skip_blanks(bytes, at + 1);
                if bytes.get(at) != Some(&b']') {
                    continue;
                }
                open.pop();
                at + 1
            }
            b'{' => {
                open.push(true)?;
                at = skip_blanks(bytes, at + 1);
                if bytes.get(at) != Some(&b'}') {
                    at = member_name_end(bytes, at)?;
                    continue;
                }
                open.pop();
                at + 1
            }
            _ => return None,
        };
        // What the value is the last one of ends with it.
        loop {
            let Some(is_object) = open.innermost() else {
                return Some(at);
            };
            at = skip_blanks(bytes, at);
            match (bytes.get(at)?, is_object) {
                (b',', false) => {
                    at = skip_blanks(bytes, at + 1);
                    break;
                }
                (b',', true) => {
                    at = member_name_end(bytes, skip_blanks(bytes, at + 1))?;
                    break;
                }
                (b']', false) | (b'}', true) => {
                    open.pop();
                    at += 1;
                }
                _ => return None,
            }
        }
    }
}

/// The name of a member and its colon: the index of the value.
fn member_name_end(bytes: &[u8], at: usize) -> Option<usize> {
    if *bytes.get(at)? != b'"' {
        return None;
    }
    let colon = skip_blanks(bytes, string_end(bytes, at + 1)?);
    (*bytes.get(colon)? == b':').then(|| skip_blanks(bytes, colon + 1))
}

/// The index after the string whose opening quote is right before this one.
fn string_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += plain_len(&bytes[at..]);
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at = escape_end(bytes, at + 1)?,
            _ => return None,
        }
    }
}

/// The index after the escape whose backslash is right before this one. A lone surrogate is legal.
fn escape_end(bytes: &[u8], at: usize) -> Option<usize> {
    match bytes.get(at)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(at + 1),
        b'u' => {
            let digits = bytes.get(at + 1..at + 5)?;
            digits.iter().all(u8::is_ascii_hexdigit).then_some(at + 5)
        }
        _ => None,
    }
}

fn number_end(bytes: &[u8], mut at: usize) -> Option<usize> {
    at += usize::from(bytes[at] == b'-');
    at = match bytes.get(at)? {
        b'0' => at + 1,
        _ => digits_end(bytes, at)?,
    };
    if bytes.get(at) == Some(&b'.') {
        at = digits_end(bytes, at + 1)?;
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        at += 1;
        at += usize::from(matches!(bytes.get(at), Some(b'+' | b'-')));
        at = digits_end(bytes, at)?;
    }
    Some(at)
}

/// The index after at least one digit.
fn digits_end(bytes: &[u8], at: usize) -> Option<usize> {
    let rest = bytes.get(at..)?;
    let len = rest.iter().take_while(|it| it.is_ascii_digit()).count();
    (len > 0).then_some(at + len)
}

fn literal_end(bytes: &[u8], at: usize, literal: &[u8]) -> Option<usize> {
    bytes[at..]
        .starts_with(literal)
        .then_some(at + literal.len())
}

/// The lists and objects that have not been closed yet: a bit for each, as a hostile text is
/// nothing but these. Memory is needed for more than 64.
struct Open {
    depth: usize,
    max_depth: usize,
    is_too_deep: bool,
    /// The innermost ones, the last one lowest: whether it is an object.
    bits: u64,
    outer: Vec<u64>,
}

impl Open {
    fn new(max_depth: usize) -> Self {
        Self {
            depth: 0,
            max_depth,
            is_too_deep: false,
            bits: 0,
            outer: Vec::new(),
        }
    }

    fn push(&mut self, is_object: bool) -> Option<()> {
        if self.depth >= self.max_depth {
            self.is_too_deep = true;
            return None;
        }
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.outer.push(self.bits);
        }
        self.bits = (self.bits << 1) | u64::from(is_object);
        self.depth += 1;
        Some(())
    }

    fn pop(&mut self) {
        self.depth -= 1;
        self.bits >>= 1;
        if self.depth.is_multiple_of(64)
            && let Some(bits) = self.outer.pop()
        {
            self.bits = bits;
        }
    }

    fn innermost(&self) -> Option<bool> {
        (self.depth > 0).then_some(self.bits & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::de::IgnoredAny;

    use super::*;

    fn is_json(text: &str) -> bool {
        check(text, usize::MAX).is_ok()
    }

    fn serde_says(text: &str) -> bool {
        serde_json::from_str::<IgnoredAny>(text).is_ok()
    }

    #[test]
    fn every_short_text_of_the_grammar_is_what_serde_says() {
        // the first character of each kind of token, and what may be inside of one
        let alphabet = [
            "[", "]", "{", "}", ",", ":", "\"", "a", "0", "1", "-", ".", "e", " ",
        ];
        let mut texts = vec![String::new()];
        let mut valid = 0;
        for _ in 0..5 {
            texts = texts
                .iter()
                .flat_map(|text| alphabet.map(|it| format!("{text}{it}")))
                .collect();
            for text in &texts {
                assert_eq!(is_json(text), serde_says(text), "{text}");
                valid += usize::from(is_json(text));
            }
        }
        assert!(valid > 500, "{valid}");
    }

    #[test]
    fn tokens_are_what_serde_says() {
        for text in [
            "true",
            "false",
            "null",
            "tru",
            "truE",
            "nulll",
            "-",
            "-0",
            "-01",
            "00",
            "1.",
            "1.5",
            ".5",
            "1e5",
            "1E+5",
            "1e-",
            "1e+05",
            "1.e5",
            "1.0e999999",
            "-1.5e-3 ",
            "\t\n\r 1",
            "\u{b}1",
            "\u{c}1",
            "\u{feff}1",
            "\u{a0}1",
            r#""\u12aF""#,
            r#""\u12g0""#,
            r#""\u12"#,
            r#""\ud800""#,
            r#""\x""#,
            r#""\"#,
            r#""\""#,
            r#""\"""#,
            r#""\\\/\b\f\n\r\t""#,
            "\"\n\"",
            "\"\u{1f}\"",
            "\"\u{7f}\"",
            "\"\0\"",
            "\"é\u{10ffff}\"",
            "[1 2]",
            "[1,]",
            "{\"a\":1,}",
            "{\"a\" : 1 , \"b\":[ ] }",
            "{1:2}",
            "{\"a\"}",
            "{\"a\",1}",
            "[1}",
            "{\"a\":1]",
            "[]]",
            "",
            " ",
            "NaN",
            "Infinity",
            "'a'",
            "[1]//",
            "+1",
            "0x1",
        ] {
            assert_eq!(is_json(text), serde_says(text), "{text:?}");
        }
    }

    #[test]
    fn every_place_of_a_control_character_is_seen() {
        for len in 1..100 {
            for at in 0..len {
                let mut text = "x".repeat(len);
                text.replace_range(at..=at, "\u{1f}");
                assert!(!is_json(&format!("\"{text}\"")), "{at} of {len}");
            }
        }
    }

    #[test]
    fn whatever_is_open_is_closed_by_its_own_kind() {
        for depth in [1, 63, 64, 65, 127, 128, 129, 200] {
            let kinds = || (0..depth).map(|it| it * 7 % 3 == 0);
            let open: String = kinds().map(|it| if it { "{\"a\":" } else { "[" }).collect();
            let close = |it| if it { '}' } else { ']' };
            let close: String = kinds().rev().map(close).collect();
            assert!(is_json(&format!("{open}1{close}")), "{depth}");
            for at in 0..depth {
                let mut wrong = close.clone();
                let other = if &close[at..=at] == "}" { "]" } else { "}" };
                wrong.replace_range(at..=at, other);
                assert!(!is_json(&format!("{open}1{wrong}")), "{at} of {depth}");
            }
        }
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        use serde_json::Value;
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            "[a-z\"\\\\\\x00-\\x1f]{0,90}".prop_map(Value::from),
        ];
        leaf.prop_recursive(6, 60, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::hash_map(any::<String>(), inner, 0..6)
                    .prop_map(|it| it.into_iter().collect()),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_serde_writes_is_valid(value in json(), pretty: bool) {
            let text = if pretty {
                serde_json::to_string_pretty(&value).unwrap()
            } else {
                value.to_string()
            };
            prop_assert!(is_json(&text));
        }

        #[test]
        fn a_changed_text_is_what_serde_says(
            value in json(),
            changes in prop::collection::vec((any::<prop::sample::Index>(), 0..3u8, any::<char>(), 0..20usize), 1..4),
        ) {
            let mut text: Vec<char> = value.to_string().chars().collect();
            for (at, kind, other, token) in changes {
                let at = at.index(text.len() + 1);
                let token = "[]{},:\"\\0-.eu\n\u{1f}a tn".chars().nth(token).unwrap_or(other);
                match kind {
                    0 => text.insert(at, token),
                    1 if at < text.len() => drop(text.remove(at)),
                    _ if at < text.len() => text[at] = token,
                    _ => text.truncate(at / 2),
                }
            }
            let text: String = text.into_iter().collect();
            prop_assert_eq!(is_json(&text), serde_says(&text), "{}", text);
        }

        #[test]
        fn tokens_in_any_order_are_what_serde_says(
            tokens in prop::collection::vec(prop::sample::select(vec![
                "[", "]", "{", "}", ",", ":", "\"a\"", "\"", "\\", "\\u00e9", "1", "-", ".5", "e3",
                "true", "null", " ", "\n", "é",
            ]), 0..12),
        ) {
            let text = tokens.concat();
            prop_assert_eq!(is_json(&text), serde_says(&text), "{}", text);
        }
    }
}
