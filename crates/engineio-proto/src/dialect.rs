//! How one client frames packets and encodes text.
//!
//! The protocol version comes with every request (`EIO=`), but "version 3" is spoken in several
//! ways: clients 1.x encode text to UTF-8 twice and, up to 1.3.7, read binary bodies only; clients
//! 2.x do neither. [`Dialect::from_query`] decides once, from the request that opens the session.

use crate::query::Query;

/// The protocol version of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// `EIO=3` (clients 1.1 to 2.x) and `EIO=2` (clients 1.0): the client sends the pings.
    V3,
    /// `EIO=4` (clients 3.x and 4.x): the server sends the pings.
    V4,
}

impl Version {
    /// The number clients know it by.
    pub const fn number(self) -> u8 {
        match self {
            Version::V3 => 3,
            Version::V4 => 4,
        }
    }
}

/// The shape of a version 3 polling body that goes to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyShape {
    /// Text, or the binary framing if the batch has binary data in it: what the official servers
    /// 2.x to 4.x send to clients that did not ask for `b64`.
    Auto,
    /// Always the binary framing. Clients up to 1.3.7 with XMLHttpRequest 2 understand nothing
    /// else, 1.4 to 1.7 understand beyond-ASCII text in nothing else, and 2.x accept it.
    Binary,
    /// Always text, binary data as base64 (`b64=1`, and so every JSONP client).
    Text,
}

/// How often text from and to a client of version 3 is encoded to UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextCoding {
    /// Once, as everywhere else.
    Plain,
    /// Unknown: in polling bodies the client may be a 1.4 to 1.7 (twice) or a 2.x (once), in frames a
    /// 1.0 (twice) or a 1.1 to 1.3.7 (once), and its URL does not tell. What comes in is decoded once more if it can only have been encoded twice. What goes out
    /// is kept ASCII where the message allows it ([`Encoded::ascii`](crate::Encoded::ascii)).
    Detect,
    /// Twice, lengths in bytes: clients up to 1.3.7, told by their `t=<ms>-<n>` time stamp.
    Twice,
}

/// How one client frames packets and encodes text. Fixed when its session opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// The protocol version.
    pub version: Version,
    /// The shape of polling bodies to the client. Means nothing in version 4.
    pub body: BodyShape,
    /// The coding of text in polling bodies of the text shape, in both directions.
    pub text: TextCoding,
    /// The coding of text in WebSocket frames, in both directions. Clients 1.0 encode it twice
    /// too; those in browsers say so with `EIO=2`, those in Node.js cannot be told from 1.1 to
    /// 1.3.7.
    pub frame_text: TextCoding,
    /// Whether binary WebSocket messages go to the client as `b4<base64>` text: `b64=1` in the
    /// request for the WebSocket, whatever the session's first request said.
    pub base64_frames: bool,
}

impl Dialect {
    /// Version 4.
    pub const V4: Self = Self {
        version: Version::V4,
        body: BodyShape::Text,
        text: TextCoding::Plain,
        frame_text: TextCoding::Plain,
        base64_frames: false,
    };

    /// Version 3 as clients 2.x speak it and the protocol document has it.
    pub const V3: Self = Self {
        version: Version::V3,
        body: BodyShape::Auto,
        text: TextCoding::Plain,
        frame_text: TextCoding::Plain,
        base64_frames: false,
    };

    /// The dialect of the client that sent this query, or `None` for a protocol version that
    /// nobody speaks.
    ///
    /// ```
    /// use engineio_proto::{Dialect, Query, Version};
    ///
    /// let query = Query::parse("EIO=4&transport=polling");
    /// assert_eq!(Dialect::from_query(&query), Some(Dialect::V4));
    /// let query = Query::parse("EIO=5&transport=polling");
    /// assert_eq!(Dialect::from_query(&query), None);
    /// ```
    pub fn from_query(query: &Query<'_>) -> Option<Self> {
        let (first, base64) = match query.eio() {
            Some("4") => return Some(Self::V4),
            Some("3") => (false, query.base64()),
            Some("2") => (true, query.base64()),
            _ => return None,
        };
        let stamp = query.time_stamp();
        let body = if base64 {
            BodyShape::Text
        } else if first || stamp.is_some() {
            BodyShape::Binary
        } else {
            BodyShape::Auto
        };
        let text = if first || stamp.is_some_and(is_counted_time_stamp) {
            TextCoding::Twice
        } else if stamp.is_some() {
            TextCoding::Detect
        } else {
            TextCoding::Plain
        };
        Some(Self {
            version: Version::V3,
            body,
            text,
            frame_text: match text {
                TextCoding::Twice if first => TextCoding::Twice,
                TextCoding::Twice => TextCoding::Detect,
                TextCoding::Plain | TextCoding::Detect => TextCoding::Plain,
            },
            base64_frames: base64,
        })
    }
}

impl Dialect {
    /// Takes into account that the client may be a 1.0 in Node.js, which encodes frames twice but
    /// says `EIO=3`. Does nothing if the frames' coding is known.
    ///
    /// The query of a session that opens with a WebSocket has no time stamp to tell by. The `ws`
    /// package of that time makes its `Sec-WebSocket-Key` of the protocol's version and the time
    /// instead of random bytes.
    pub fn suspect_twice_encoded_frames(&mut self) {
        if self.version == Version::V3 && self.frame_text == TextCoding::Plain {
            self.frame_text = TextCoding::Detect;
        }
    }
}

/// `1427193600000-3`: how clients up to 1.3.7 keep their requests out of caches. Later ones send
/// a short base-64 time.
fn is_counted_time_stamp(stamp: &str) -> bool {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    stamp
        .split_once('-')
        .is_some_and(|(time, count)| time.len() >= 10 && digits(time) && digits(count))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialect(query: &str) -> Dialect {
        Dialect::from_query(&Query::parse(query)).unwrap()
    }

    #[test]
    fn client_1_0_is_told_by_its_version() {
        let it = dialect("EIO=2&transport=polling");
        assert_eq!(it.version, Version::V3);
        assert_eq!(it.body, BodyShape::Binary);
        assert_eq!(it.text, TextCoding::Twice);
        assert_eq!(it.frame_text, TextCoding::Twice);
    }

    #[test]
    fn clients_up_to_1_3_7_are_told_by_their_time_stamp() {
        let it = dialect("EIO=3&transport=polling&t=1427193600000-0");
        assert_eq!((it.body, it.text), (BodyShape::Binary, TextCoding::Twice));
        assert_eq!(it.frame_text, TextCoding::Detect);
        let it = dialect("EIO=3&transport=polling&t=1427193600000-0&b64=1");
        assert_eq!((it.body, it.text), (BodyShape::Text, TextCoding::Twice));
        assert!(it.base64_frames);
    }

    #[test]
    fn clients_from_1_4_on_are_not_told_apart() {
        let it = dialect("EIO=3&transport=polling&t=Q87nR_u");
        assert_eq!((it.body, it.text), (BodyShape::Binary, TextCoding::Detect));
        assert_eq!(it.frame_text, TextCoding::Plain);
        let it = dialect("EIO=3&transport=polling&t=Q87nR_u&b64=1");
        assert_eq!((it.body, it.text), (BodyShape::Text, TextCoding::Detect));
    }

    #[test]
    fn without_a_time_stamp_the_protocol_document_holds() {
        assert_eq!(dialect("EIO=3&transport=polling"), Dialect::V3);
    }

    #[test]
    fn other_versions_are_refused() {
        for query in [
            "transport=polling",
            "EIO=abc",
            "EIO=5",
            "EIO=1",
            "EIO=",
            "EIO=04",
        ] {
            assert_eq!(Dialect::from_query(&Query::parse(query)), None, "{query}");
        }
    }

    #[test]
    fn a_short_time_is_not_a_counted_one() {
        assert!(!is_counted_time_stamp("Q87nR_u-1"));
        assert!(!is_counted_time_stamp("-1"));
        assert!(!is_counted_time_stamp("1427193600000-"));
        assert!(is_counted_time_stamp("1427193600000-12"));
    }
}
