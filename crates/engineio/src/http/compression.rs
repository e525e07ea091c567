//! Compression of poll responses.

use std::io::{self, Write as _};

use bytes::Bytes;
use flate2::{
    Compression,
    write::{GzEncoder, ZlibEncoder},
};
use http::HeaderValue;

/// Compression of poll responses by gzip or deflate, where the client accepts one of them.
///
/// It says nothing about WebSocket.
///
/// ```
/// use engineio::HttpCompression;
///
/// let compression = HttpCompression::default().threshold(4096).level(1);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpCompression {
    threshold: usize,
    level: u32,
}

impl HttpCompression {
    /// The least size of a body that is compressed, in bytes. Default: 1024.
    pub fn threshold(mut self, bytes: usize) -> Self {
        self.threshold = bytes;
        self
    }

    /// How hard to try, from 0 (not at all) to 9; more counts as 9. Default: 6.
    pub fn level(mut self, level: u32) -> Self {
        self.level = level.min(9);
        self
    }

    /// The body as it is to leave, and its `Content-Encoding` if it has one. `accept` is the
    /// request's `Accept-Encoding`; without it nothing is compressed.
    pub(crate) fn compress(
        &self,
        body: Bytes,
        accept: Option<&HeaderValue>,
    ) -> (Bytes, Option<&'static str>) {
        let accept = accept.filter(|_| body.len() >= self.threshold);
        let offered = [Coding::Gzip, Coding::Deflate].map(|it| (it.name(), it));
        let Some(coding) = accept.and_then(|it| preferred(it.to_str().ok()?, offered)) else {
            return (body, None);
        };
        match coding.encode(&body, Compression::new(self.level)) {
            Ok(smaller) if smaller.len() < body.len() => (smaller.into(), Some(coding.name())),
            _ => (body, None), // noise that does not shrink
        }
    }
}

/// Level 6, from 1024 bytes on.
impl Default for HttpCompression {
    fn default() -> Self {
        Self {
            threshold: 1024,
            level: 6,
        }
    }
}

#[derive(Clone, Copy)]
pub(crate) enum Coding {
    Gzip,
    /// In the zlib format, as HTTP has it.
    Deflate,
}

impl Coding {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Coding::Gzip => "gzip",
            Coding::Deflate => "deflate",
        }
    }

    pub(crate) fn encode(self, body: &[u8], level: Compression) -> io::Result<Vec<u8>> {
        let out = Vec::with_capacity(body.len() / 2);
        match self {
            Coding::Gzip => {
                let mut encoder = GzEncoder::new(out, level);
                encoder.write_all(body)?;
                encoder.finish()
            }
            Coding::Deflate => {
                let mut encoder = ZlibEncoder::new(out, level);
                encoder.write_all(body)?;
                encoder.finish()
            }
        }
    }
}

/// Of the codings on offer the one that the client likes best, the first of several that it likes
/// as much; none if it would rather have the body as it is.
///
/// Source: RFC 9110, section 12.5.3.
pub(crate) fn preferred<T>(
    accept: &str,
    offered: impl IntoIterator<Item = (&'static str, T)>,
) -> Option<T> {
    let weights = Weights::parse(accept);
    let mut best = (0, None);
    for (name, coding) in offered {
        let weight = weights.of(name).unwrap_or(0);
        if weight > best.0 {
            best = (weight, Some(coding));
        }
    }
    // a body as it is, if nothing is said about it, is always acceptable and never preferred
    let identity = weights.named("identity").unwrap_or(0);
    let (weight, coding) = best;
    coding.filter(|_| weight >= identity)
}

/// What an `Accept-Encoding` says: codings and their weights in thousandths.
struct Weights<'a>(Vec<(&'a str, u16)>);

impl<'a> Weights<'a> {
    fn parse(accept: &'a str) -> Self {
        let weight_of = |item: &'a str| {
            let mut parts = item.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default();
            let quality = parts.find_map(|it| it.strip_prefix("q=").or(it.strip_prefix("Q=")));
            (name, quality.map_or(1000, thousandths))
        };
        Self(accept.split(',').map(weight_of).collect())
    }

    /// The weight of a coding, by its name or by the wildcard.
    fn of(&self, name: &str) -> Option<u16> {
        self.named(name).or_else(|| self.named("*"))
    }

    fn named(&self, name: &str) -> Option<u16> {
        let same = |(it, _): &&(&str, u16)| it.eq_ignore_ascii_case(name);
        self.0.iter().find(same).map(|(_, weight)| *weight)
    }
}

/// `0.8` is 800. What is not a number from 0 to 1 refuses the coding.
fn thousandths(quality: &str) -> u16 {
    match quality.parse::<f32>() {
        Ok(quality) if (0.0..=1.0).contains(&quality) => (quality * 1000.0).round() as u16,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::{GzDecoder, ZlibDecoder};

    use super::*;

    fn compress(
        compression: &HttpCompression,
        body: &Bytes,
        accept: &str,
    ) -> (Bytes, &'static str) {
        let accept = HeaderValue::from_str(accept).unwrap();
        let (bytes, coding) = compression.compress(body.clone(), Some(&accept));
        (bytes, coding.unwrap_or("identity"))
    }

    fn coding_for(accept: &str) -> &'static str {
        let body = Bytes::from(vec![b'a'; 2000]);
        compress(&HttpCompression::default(), &body, accept).1
    }

    #[test]
    fn both_codings_are_read_back() {
        let body: Bytes = (0..5000_u16).map(|it| (it % 255) as u8).collect();
        let (gzip, coding) = compress(&HttpCompression::default(), &body, "gzip");
        assert_eq!(coding, "gzip");
        let mut back = Vec::new();
        GzDecoder::new(&*gzip).read_to_end(&mut back).unwrap();
        assert_eq!(back, body);

        let (deflate, coding) = compress(&HttpCompression::default(), &body, "deflate");
        assert_eq!(coding, "deflate");
        let mut back = Vec::new();
        ZlibDecoder::new(&*deflate).read_to_end(&mut back).unwrap();
        assert_eq!(back, body);
        assert!(
            deflate.len() < gzip.len(),
            "the zlib format has less around it"
        );
    }

    #[test]
    fn the_client_chooses_and_gzip_wins_a_draw() {
        let cases = [
            ("gzip, deflate, br", "gzip"),
            ("deflate, gzip", "gzip"),
            ("GZIP", "gzip"),
            ("gzip;q=0.5, deflate;q=0.6", "deflate"),
            ("gzip ; q=0.001", "gzip"),
            ("gzip;q=0, deflate;Q=1.000", "deflate"),
            ("gzip;q=0", "identity"),
            ("br, zstd", "identity"),
            ("", "identity"),
            ("gzip2", "identity"),
        ];
        for (accept, coding) in cases {
            assert_eq!(coding_for(accept), coding, "{accept}");
        }
    }

    #[test]
    fn the_wildcard_stands_for_what_is_not_named() {
        let cases = [
            ("*", "gzip"),
            ("*;q=0", "identity"),
            ("gzip;q=0, *", "deflate"),
            ("deflate;q=0.5, *;q=0.4", "deflate"),
            ("*;q=0, deflate", "deflate"),
        ];
        for (accept, coding) in cases {
            assert_eq!(coding_for(accept), coding, "{accept}");
        }
    }

    #[test]
    fn a_client_may_prefer_the_body_as_it_is() {
        let cases = [
            ("identity", "identity"),
            ("identity, gzip;q=0.5", "identity"),
            ("identity;q=0.5, gzip", "gzip"),
            ("identity, gzip", "gzip"),
            ("identity;q=0", "identity"),
            ("identity;q=0, *;q=0.1", "gzip"),
        ];
        for (accept, coding) in cases {
            assert_eq!(coding_for(accept), coding, "{accept}");
        }
    }

    #[test]
    fn what_is_no_weight_refuses() {
        for quality in ["x", "", "-1", "1.1", "NaN", "inf"] {
            let accept = format!("gzip;q={quality}, deflate;q=0.1");
            assert_eq!(coding_for(&accept), "deflate", "{accept}");
        }
    }

    #[test]
    fn without_the_header_nothing_is_compressed() {
        let body = Bytes::from(vec![b'a'; 2000]);
        let compression = HttpCompression::default();
        assert_eq!(
            compression.compress(body.clone(), None),
            (body.clone(), None)
        );
        let unreadable = HeaderValue::from_bytes(b"gzip, \xe9").unwrap();
        assert_eq!(
            compression.compress(body.clone(), Some(&unreadable)),
            (body, None)
        );
    }

    #[test]
    fn the_threshold_is_the_least_size() {
        let of = |compression: &HttpCompression, length| {
            compress(compression, &vec![b'a'; length].into(), "gzip").1
        };
        assert_eq!(of(&HttpCompression::default(), 1023), "identity");
        assert_eq!(of(&HttpCompression::default(), 1024), "gzip");
        let low = HttpCompression::default().threshold(0);
        assert_eq!(of(&low, 100), "gzip");
    }

    #[test]
    fn what_does_not_shrink_leaves_as_it_is() {
        let mut state = 1_u64;
        let mut noise = || {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            (state >> 56) as u8
        };
        let body: Bytes = (0..4096).map(|_| noise()).collect();
        let (bytes, coding) = compress(&HttpCompression::default(), &body, "gzip");
        assert_eq!((bytes, coding), (body, "identity"));
        let empty = compress(
            &HttpCompression::default().threshold(0),
            &Bytes::new(),
            "gzip",
        );
        assert_eq!(empty.1, "identity");
    }

    #[test]
    fn levels_beyond_the_last_count_as_the_last() {
        let compression = HttpCompression::default();
        assert_eq!(compression.clone().level(99), compression.level(9));
    }
}
