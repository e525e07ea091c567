//! Patterns of names, such as `/room/{id}`.

use std::fmt;

use super::matcher::Params;

/// A pattern; see [`NamespaceMatcher`](crate::NamespaceMatcher#patterns).
pub(super) struct Pattern {
    text: Box<str>,
    segments: Box<[Segment]>,
    /// The parameter for all that is left.
    rest: Option<Box<str>>,
}

enum Segment {
    Literal(Box<str>),
    Param(Box<str>),
}

impl Pattern {
    /// # Panics
    ///
    /// If the pattern is malformed.
    pub(super) fn new(text: &str) -> Self {
        let mut pattern = Self {
            text: text.into(),
            segments: Box::default(),
            rest: None,
        };
        let mut segments = Vec::new();
        for segment in text.strip_prefix('/').unwrap_or(text).split('/') {
            pattern.check(pattern.rest.is_none(), "something follows the rest");
            let param = segment
                .strip_prefix('{')
                .and_then(|it| it.strip_suffix('}'));
            let bare = param.unwrap_or(segment);
            match (param, bare.strip_prefix('*')) {
                (None, _) => segments.push(Segment::Literal(segment.into())),
                (Some(_), None) => segments.push(Segment::Param(bare.into())),
                (Some(_), Some(rest)) => pattern.rest = Some(rest.into()),
            }
            pattern.check(
                !bare.contains(['{', '}']),
                "a brace is not around a segment",
            );
        }
        pattern.segments = segments.into();
        for (at, name) in pattern.names().enumerate() {
            pattern.check(!name.is_empty(), "a parameter has no name");
            pattern.check(
                pattern.names().skip(at + 1).all(|it| it != name),
                "a name comes twice",
            );
        }
        pattern
    }

    /// What the parameters are in a name, if it matches.
    pub(super) fn params(&self, name: &str) -> Option<Params> {
        let mut left = Some(name.strip_prefix('/')?);
        let mut params = Vec::new();
        for segment in &self.segments {
            let here = match left?.split_once('/') {
                Some((here, behind)) => {
                    left = Some(behind);
                    here
                }
                None => left.take()?,
            };
            match segment {
                Segment::Literal(literal) if **literal == *here => {}
                Segment::Param(name) if !here.is_empty() => {
                    params.push((name.clone(), here.into()));
                }
                Segment::Literal(_) | Segment::Param(_) => return None,
            }
        }
        match (&self.rest, left) {
            (None, None) => {}
            (Some(name), Some(rest)) if !rest.is_empty() => {
                params.push((name.clone(), rest.into()));
            }
            _ => return None,
        }
        Some(params.into())
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        let params = self.segments.iter().filter_map(|segment| match segment {
            Segment::Literal(_) => None,
            Segment::Param(name) => Some(&**name),
        });
        params.chain(self.rest.as_deref())
    }

    fn check(&self, fine: bool, complaint: &str) {
        assert!(fine, "in the pattern `{}` {complaint}", self.text);
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({:?})", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The parameters as text.
    fn params(pattern: &str, name: &str) -> Option<String> {
        let params = Pattern::new(pattern).params(name)?;
        let params = params.iter().map(|(name, value)| format!("{name}={value}"));
        Some(params.collect::<Vec<_>>().join("&"))
    }

    #[test]
    fn a_parameter_stands_for_one_segment() {
        let it = |name| params("/room/{id}", name);
        assert_eq!(it("/room/7").as_deref(), Some("id=7"));
        assert_eq!(it("/room/é?x"), Some("id=é?x".into()));
        for name in [
            "/room",
            "/room/",
            "/room/7/",
            "/room/7/8",
            "/rooms/7",
            "/",
            "/x/room/7",
            "room/7",
            "",
        ] {
            assert_eq!(it(name), None, "{name}");
        }
        assert_eq!(params("{a}/x/{b}", "/1/x/2").as_deref(), Some("a=1&b=2"));
    }

    #[test]
    fn the_rest_is_one_segment_or_more() {
        let it = |name| params("/files/{*path}", name);
        assert_eq!(it("/files/a").as_deref(), Some("path=a"));
        assert_eq!(it("/files/a//b/").as_deref(), Some("path=a//b/"));
        assert_eq!(it("/files/"), None);
        assert_eq!(it("/files"), None);
        assert_eq!(params("{*all}", "/a/b").as_deref(), Some("all=a/b"));
    }

    #[test]
    fn a_pattern_without_parameters_is_a_name() {
        assert_eq!(params("/a/b", "/a/b").as_deref(), Some(""));
        assert_eq!(params("a/b", "/a/b").as_deref(), Some(""));
        assert_eq!(params("/a/b", "/a/b/"), None);
    }

    #[test]
    fn malformed_patterns_are_refused() {
        for pattern in [
            "/{}",
            "/{*}",
            "/{a}/{a}",
            "/{a}/{*a}",
            "/a{b}",
            "/{a",
            "/a}",
            "/{a}b",
            "/{*a}/b",
            "/{{a}}",
        ] {
            let made = std::panic::catch_unwind(|| Pattern::new(pattern));
            assert!(made.is_err(), "{pattern}");
        }
    }
}
