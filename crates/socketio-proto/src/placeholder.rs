//! What stands in the JSON of a binary packet where an attachment belongs:
//! `{"_placeholder":true,"num":0}`.
//!
//! Any object with `_placeholder` set to `true` is one, whatever the order of its members and
//! whatever else it holds: clients that keep objects in hash tables send `num` first. All of them
//! are brought into the form above as they arrive, so that a reader who sees the first member of
//! an object knows what it is.
//!
//! Other parsers have no need of placeholders. There an object of the application that looks like
//! one is just that, and its member's name is written with an escape in it: same name, other text.

use std::{borrow::Cow, fmt::Write as _};

use bytes::Bytes;

use crate::json;

/// The first member of every placeholder.
pub(crate) const MARK: &str = "_placeholder";
/// The second and last one.
pub(crate) const NUM: &str = "num";

/// A member of this name, as text, of an object that is no placeholder.
pub(crate) const HIDDEN_MARK: &str = "\"\\u005fplaceholder\"";

/// A placeholder that names no attachment.
#[derive(Debug)]
pub(crate) struct Illegal;

/// Appends a placeholder.
pub(crate) fn push(out: &mut String, num: usize) {
    out.push_str(START);
    json::push_number(out, num as u64);
    out.push('}');
}

/// The attachment that a placeholder in its usual form at the start of a JSON text stands for, and
/// what comes after it.
pub(crate) fn split<'j, 'a>(
    json: &'j str,
    attachments: &'a [Bytes],
) -> Option<(&'a Bytes, &'j str)> {
    let (num, rest) = split_usual(json)?;
    Some((attachments.get(natural(num)? as usize)?, rest))
}

/// Adds `shift` to the numbers of all placeholders in their usual form.
pub(crate) fn shift(json: &str, shift: usize) -> String {
    // In valid JSON these characters are nothing else: in a string the quotes would be escaped.
    let mut parts = json.split(START);
    let mut out = String::with_capacity(json.len() + 16);
    out.extend(parts.next());
    for part in parts {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        let (num, rest) = part.split_at(digits);
        let num = num.parse().map_or(0, |num: usize| num);
        // writing to a string cannot fail
        let _ = write!(out, "{START}{}{rest}", num + shift);
    }
    out
}

/// What looks like a placeholder in valid JSON is none from here on.
pub(crate) fn hide(json: &str) -> Cow<'_, str> {
    // Wherever these characters stand, they are a whole string.
    if json.contains(PLAIN_MARK) {
        json.replace(PLAIN_MARK, HIDDEN_MARK).into()
    } else {
        json.into()
    }
}

/// Checks all placeholders in a valid JSON text against the number of attachments, and brings them
/// into their usual form. `None` if that changes nothing.
///
/// An attachment may be named once or not at all: whoever makes a copy for each placeholder, as other
/// formats have to, makes no more of it than has come.
pub(crate) fn normalise(json: &str, attachments: usize) -> Result<Option<String>, Illegal> {
    if all_are_usual(json, attachments) {
        return Ok(None);
    }
    let found = find(json, attachments)?;
    let mut nums: Vec<_> = found.iter().map(|it| it.num).collect();
    nums.sort_unstable();
    if nums.windows(2).any(|it| it[0] == it[1]) {
        return Err(Illegal);
    }
    if found.iter().all(|it| it.is_usual(json)) {
        return Ok(None);
    }
    let mut out = String::with_capacity(json.len() + 2 * found.len());
    let mut copied = 0;
    for it in found {
        out.push_str(&json[copied..it.start]);
        push(&mut out, it.num);
        copied = it.end;
    }
    out.push_str(&json[copied..]);
    Ok(Some(out))
}

/// Whether it is plain that all placeholders have their usual form and name attachments, one after the
/// other, as what most clients send; otherwise it takes a closer look.
fn all_are_usual(json: &str, attachments: usize) -> bool {
    let bytes = json.as_bytes();
    let (mut at, mut next) = (0, 0);
    loop {
        at += json::plain_len(&bytes[at..]);
        match bytes.get(at) {
            None => return true,
            // The name of a placeholder's first member may be written in many ways.
            Some(b'\\') => return false,
            Some(b'"') if json[at..].starts_with(PLAIN_MARK) => {
                let object = at.checked_sub(1).and_then(|brace| json.get(brace..));
                let Some((num, rest)) = object.and_then(split_usual) else {
                    return false;
                };
                let num = natural(num).map_or(usize::MAX, |num| num as usize);
                if !(next..attachments).contains(&num) {
                    return false;
                }
                next = num + 1;
                at = json.len() - rest.len();
            }
            Some(_) => at += 1,
        }
    }
}

/// The number in a placeholder in its usual form at the start of a JSON text, and what comes after
/// it.
fn split_usual(json: &str) -> Option<(&str, &str)> {
    let rest = json.strip_prefix(START)?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (num, rest) = rest.split_at(digits);
    Some((num, rest.strip_prefix('}')?))
}

struct Placeholder {
    start: usize,
    end: usize,
    num: usize,
}

impl Placeholder {
    fn is_usual(&self, json: &str) -> bool {
        split_usual(&json[self.start..self.end]).is_some_and(|(_, rest)| rest.is_empty())
    }
}

/// An object that has not been closed yet. Small, for a hostile text is nothing but these.
struct Open {
    start: usize,
    num: Option<u32>,
    marked: bool,
}

/// One walk along the text with a stack of open objects; as deep as the text likes.
fn find(json: &str, attachments: usize) -> Result<Vec<Placeholder>, Illegal> {
    let bytes = json.as_bytes();
    let mut open: Vec<Open> = Vec::new();
    let mut found: Vec<Placeholder> = Vec::new();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let start = at;
        at += 1;
        match byte {
            b'{' => open.push(Open {
                start,
                num: None,
                marked: false,
            }),
            b'}' => {
                if let Some(object) = open.pop()
                    && object.marked
                {
                    let num = object.num.map_or(usize::MAX, |num| num as usize);
                    if num >= attachments {
                        return Err(Illegal);
                    }
                    // what else the object holds goes with it
                    while found.pop_if(|inner| inner.start > object.start).is_some() {}
                    found.push(Placeholder {
                        start: object.start,
                        end: at,
                        num,
                    });
                }
            }
            b'"' => {
                at = json::string_end(bytes, start);
                let colon = json::skip_blanks(bytes, at);
                // in valid JSON a string before a colon is the name of a member
                if bytes.get(colon) == Some(&b':')
                    && let Some(object) = open.last_mut()
                {
                    let value = &json[json::skip_blanks(bytes, colon + 1)..];
                    if is_string(&json[start..at], MARK) {
                        object.marked = value.starts_with("true");
                    } else if is_string(&json[start..at], NUM) {
                        object.num = natural(value);
                    }
                    at = colon + 1;
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

/// Whether a JSON string stands for this text.
fn is_string(string: &str, text: &str) -> bool {
    &string[1..string.len() - 1] == text
        || (string.contains('\\') && json::unescape(string).is_some_and(|it| it == text))
}

/// The number at the start of a text, if it is a plain run of digits.
fn natural(json: &str) -> Option<u32> {
    let digits = json.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, rest) = json.split_at(digits);
    if rest.starts_with(['.', 'e', 'E']) {
        return None;
    }
    digits.parse().ok()
}

/// How a placeholder in its usual form starts; a number and a brace follow.
const START: &str = "{\"_placeholder\":true,\"num\":";

/// [`MARK`] as a JSON string.
const PLAIN_MARK: &str = "\"_placeholder\"";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn normalised(json: &str, attachments: usize) -> Option<String> {
        normalise(json, attachments).unwrap()
    }

    #[test]
    fn the_usual_form_stays() {
        for json in [
            r#"["a",{"_placeholder":true,"num":0},{"b":[{"_placeholder":true,"num":1}]}]"#,
            r#"["a",{"_placeholder":true,"num":1}]"#,
            r#"["a",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]"#,
            r#"["a",{"_placeholder":false,"num":7},{"_placeholder":1},{"num":"x"}]"#,
            r#"["_placeholder",true,"num",9]"#,
            r#"["a",{"x":"{\"_placeholder\":true,\"num\":9}"}]"#,
            r#"["é",{"_placeholder":true,"num":0},"é"]"#,
            r#"["a_placeholder",{"a_placeholder":true,"num":0,"é_placeholder":true}]"#,
            "[\"a\",\t{\"_placeholder\":true,\"num\":001}\n]",
        ] {
            assert_eq!(normalised(json, 2), None, "{json}");
        }
    }

    #[test]
    fn other_forms_become_the_usual_one() {
        let usual = r#"["a",{"_placeholder":true,"num":1},2]"#;
        for json in [
            r#"["a",{"num":1,"_placeholder":true},2]"#,
            r#"["a",{ "_placeholder" : true , "num" : 1 },2]"#,
            r#"["a",{"_placeholder":true,"num":1,"more":[{}]},2]"#,
            r#"["a",{"_placeholder":true,"num":1,"more":{"_placeholder":true,"num":0}},2]"#,
            r#"["a",{"\u005fplaceholder":true,"n\u0075m":1},2]"#,
            r#"["a",{"_placeholder":false,"num":0,"num":1,"_placeholder":true},2]"#,
        ] {
            assert_eq!(normalised(json, 2).unwrap(), usual, "{json}");
        }
    }

    #[test]
    fn a_placeholder_names_an_attachment_or_is_illegal() {
        for num in [
            "\"splice\"",
            "\"0\"",
            "2",
            "-1",
            "0.5",
            "1e0",
            "null",
            "{}",
            "99999999999",
        ] {
            let json = format!(r#"["a",[[{{"_placeholder":true,"num":{num}}}]]]"#);
            assert!(normalise(&json, 2).is_err(), "{num}");
        }
        assert!(normalise(r#"[{"_placeholder":true}]"#, 2).is_err());
    }

    #[test]
    fn an_attachment_is_named_once() {
        let [zero, one] = [0, 1].map(|num| format!(r#"{{"_placeholder":true,"num":{num}}}"#));
        let also_zero = r#"{"num":0,"_placeholder":true}"#;
        for (json, is_legal) in [
            (format!("[{zero},{one}]"), true),
            (format!("[{one},{zero}]"), true),
            (format!("[{zero},{zero}]"), false),
            (format!("[{zero},{one},{zero}]"), false),
            (format!("[[{zero}],{{\"a\":{also_zero}}}]"), false),
            // what is inside of one is gone
            (
                format!(r#"[{{"_placeholder":true,"num":0,"a":{zero}}}]"#),
                true,
            ),
        ] {
            assert_eq!(normalise(&json, 2).is_ok(), is_legal, "{json}");
        }
    }

    #[test]
    fn numbers_can_be_shifted() {
        let json = r#"{"_placeholder":true,"num":0},{"num":0},{"_placeholder":true,"num":9}"#;
        assert_eq!(
            shift(json, 3),
            r#"{"_placeholder":true,"num":3},{"num":0},{"_placeholder":true,"num":12}"#
        );
    }

    proptest! {
        /// A quick look may miss that all is as it should be, and must not say so when it is not.
        #[test]
        fn a_quick_look_is_right(parts in prop::collection::vec(prop::sample::select(vec![
            r#"{"_placeholder":true,"num":0}"#,
            r#"{"_placeholder":true,"num":1}"#,
            r#"{"_placeholder":true,"num":2}"#,
            r#"{"_placeholder":true,"num":1e0}"#,
            r#"{"_placeholder":true,"num":0,"num":7}"#,
            r#"{ "_placeholder":true,"num":0}"#,
            r#"{"num":0,"_placeholder":true}"#,
            r#"{"num":1,"a":{"_placeholder":true,"num":0},"_placeholder":true}"#,
            r#"{"\u005fplaceholder":true,"num":9}"#,
            r#"{"_placeholder":false,"num":9}"#,
            r#"{"é_placeholder":true,"num":9}"#,
            r#"{"a":"é","b":{"_placeholder":true,"num":0}}"#,
            r#""_placeholder""#,
            r#""{\"_placeholder\":true,\"num\":9}""#,
            r#""\\""#,
            " 1\n",
        ]), 0..5)) {
            let json = format!("[{}]", parts.join(","));
            if all_are_usual(&json, 2) {
                let found = find(&json, 2).map_err(|_| TestCaseError::fail("illegal"))?;
                prop_assert!(found.iter().all(|it| it.is_usual(&json)));
            }
        }
    }

    #[test]
    fn depth_does_not_matter() {
        let deep = 100_000;
        let json = "{\"a\":".repeat(deep) + r#"{"num":0,"_placeholder":true}"# + &"}".repeat(deep);
        assert!(normalised(&json, 1).is_some());
    }
}
