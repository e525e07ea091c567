//! HTTP requests, as far as the benchmark's clients vary them.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha1::{Digest, Sha1};

pub(crate) struct Request<'a> {
    head: &'a [u8],
    /// Where the body begins and ends.
    pub(crate) begin: usize,
    pub(crate) end: usize,
}

impl<'a> Request<'a> {
    /// The request at the start of the bytes, if it is complete.
    pub(crate) fn find(bytes: &'a [u8]) -> Option<Self> {
        let begin = 4 + position(bytes, b"\r\n\r\n")?;
        let head = &bytes[..begin];
        let len = after(head, b"\r\nContent-Length: ").map_or(0, number) as usize;
        let end = begin + len;
        (end <= bytes.len()).then_some(Self { head, begin, end })
    }

    pub(crate) fn is_post(&self) -> bool {
        self.head.starts_with(b"POST")
    }

    pub(crate) fn is_version_3(&self) -> bool {
        position(self.head, b"EIO=3").is_some()
    }

    pub(crate) fn sid(&self) -> Option<u64> {
        after(self.head, b"&sid=").map(number)
    }

    /// The answer's `Sec-WebSocket-Accept`, if this asks for a WebSocket.
    pub(crate) fn accept(&self) -> Option<String> {
        let key = after(self.head, b"\r\nSec-WebSocket-Key: ")?;
        let key = &key[..position(key, b"\r\n")?];
        let mut sha = Sha1::new();
        sha.update(key);
        sha.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
        Some(STANDARD.encode(sha.finalize()))
    }
}

pub(crate) fn position(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|it| it == wanted)
}

fn after<'a>(bytes: &'a [u8], wanted: &[u8]) -> Option<&'a [u8]> {
    position(bytes, wanted).map(|at| &bytes[at + wanted.len()..])
}

fn number(bytes: &[u8]) -> u64 {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, digit| 10 * number + u64::from(digit - b'0'))
}
