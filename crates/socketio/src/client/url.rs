//! Names of namespaces as clients of protocol 4 give them: as URLs.

use std::{borrow::Cow, fmt::Write as _};

/// The namespace and the query of what a client of protocol 4 (1.x and 2.x) names.
///
/// The official server reads it as a URL and takes the path, so `/a/../b` is `/b`, letters beyond
/// ASCII are percent-encoded, and of `//host/path` the host does not count.
///
/// Source: WHATWG URL, "path state" and "path percent-encode set".
pub(super) fn parse(url: &str) -> (Cow<'_, str>, &str) {
    let url = url.trim_end_matches(|c| c <= ' ');
    let (url, _fragment) = url.split_once('#').unwrap_or((url, ""));
    let (path, query) = url.split_once('?').unwrap_or((url, ""));
    if is_normal(path) {
        return (path.into(), query);
    }
    (
        normalise(&path.replace(['\t', '\n', '\r'], "")).into(),
        query,
    )
}

/// Whether a path surely stays as it is. What may begin with a dot is left to [`normalise`].
fn is_normal(path: &str) -> bool {
    let suspicious = ["//", "/.", "/%"];
    path.starts_with('/')
        && path.bytes().all(|byte| byte != b'\\' && !is_encoded(byte))
        && !suspicious.iter().any(|it| path.contains(it))
}

fn normalise(path: &str) -> String {
    let without_slash = |path| str::trim_start_matches::<&[_; 2]>(path, &SLASHES);
    let path = match path.strip_prefix(SLASHES) {
        Some(behind) if behind.starts_with(SLASHES) => {
            let host_and_path = without_slash(behind);
            host_and_path
                .split_once(SLASHES)
                .map_or("", |(_host, path)| path)
        }
        Some(behind) => behind,
        None => path,
    };
    let mut segments = Vec::new();
    let mut left = path.split(SLASHES).peekable();
    while let Some(segment) = left.next() {
        match dots(segment) {
            None => segments.push(segment),
            Some(dots) => {
                if dots == 2 {
                    segments.pop();
                }
                if left.peek().is_none() {
                    segments.push("");
                }
            }
        }
    }
    let mut normal = String::with_capacity(path.len() + 1);
    for segment in segments {
        normal.push('/');
        encode(segment, &mut normal);
    }
    normal
}

/// How many dots a segment consists of, if it consists of one or two.
fn dots(segment: &str) -> Option<usize> {
    let plain = segment.replace("%2e", ".").replace("%2E", ".");
    matches!(&*plain, "." | "..").then_some(plain.len())
}

fn encode(segment: &str, to: &mut String) {
    for c in segment.chars() {
        let mut bytes = [0; 4];
        let bytes = c.encode_utf8(&mut bytes).as_bytes();
        if is_encoded(bytes[0]) {
            for byte in bytes {
                let _ = write!(to, "%{byte:02X}");
            }
        } else {
            to.push(c);
        }
    }
}

/// Whether a byte is written as `%` and two digits.
fn is_encoded(byte: u8) -> bool {
    !(b'!'..=b'~').contains(&byte) || b"\"#<>?`{}".contains(&byte)
}

const SLASHES: [char; 2] = ['/', '\\'];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_paths_of_urls() {
        for (url, name, query) in [
            ("/", "/", ""),
            ("/admin", "/admin", ""),
            ("/admin?token=a%20b&x", "/admin", "token=a%20b&x"),
            ("/admin?a?b#c?d", "/admin", "a?b"),
            ("/a#b?c", "/a", ""),
            ("/a/../b", "/b", ""),
            ("/a/b/..", "/a/", ""),
            ("/../..", "/", ""),
            ("/a/./b/.", "/a/b/", ""),
            ("/a/%2E%2e/b/%2e", "/b/", ""),
            ("/a/...", "/a/...", ""),
            ("/.a/..b", "/.a/..b", ""),
            ("/%41", "/%41", ""),
            ("/a//b/", "/a//b/", ""),
            ("/a//../b", "/a/b", ""),
            ("//host/p/q", "/p/q", ""),
            ("//host", "/", ""),
            ("///host/p", "/p", ""),
            ("/\\host\\p\\q", "/p/q", ""),
            ("/a\\b", "/a/b", ""),
            ("/é/ö?ü", "/%C3%A9/%C3%B6", "ü"),
            ("/a b\"<>`{}|^", "/a%20b%22%3C%3E%60%7B%7D|^", ""),
            ("/a\tb\n \u{1}", "/ab", ""),
            ("/a\u{1}b\u{7f}", "/a%01b%7F", ""),
        ] {
            assert_eq!(parse(url), (name.into(), query), "{url:?}");
        }
    }
}
