//! A request's query string.

use std::{borrow::Cow, iter};

/// The transports of Engine.IO over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// HTTP long-polling, JSONP included.
    Polling,
    /// WebSocket.
    WebSocket,
}

impl Transport {
    /// The name on the wire: `polling` or `websocket`.
    pub const fn name(self) -> &'static str {
        match self {
            Transport::Polling => "polling",
            Transport::WebSocket => "websocket",
        }
    }
}

/// The parameters that Engine.IO reads. Of a name that comes twice the last value counts, `+` and
/// `%xx` are decoded, as in the official server.
///
/// What is not encoded stays a slice of the URL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query<'a> {
    transport: Option<Cow<'a, str>>,
    eio: Option<Cow<'a, str>>,
    sid: Option<Cow<'a, str>>,
    time_stamp: Option<Cow<'a, str>>,
    jsonp: Option<Cow<'a, str>>,
    base64: bool,
}

impl<'a> Query<'a> {
    /// Reads the part of a URL after `?`. Never fails: what is missing is absent.
    ///
    /// ```
    /// use engineio_proto::query::{Query, Transport};
    ///
    /// let query = Query::parse("EIO=4&transport=polling&sid=abc&sid=d%65f");
    /// assert_eq!(query.transport(), Some(Transport::Polling));
    /// assert_eq!(query.sid(), Some("def"));
    /// ```
    pub fn parse(query: &'a str) -> Self {
        let mut it = Self::default();
        for (name, value) in pairs(query) {
            let field = match &*name {
                "transport" => &mut it.transport,
                "EIO" => &mut it.eio,
                "sid" => &mut it.sid,
                "t" => &mut it.time_stamp,
                "j" => &mut it.jsonp,
                "b64" => {
                    it.base64 = !value.is_empty();
                    continue;
                }
                _ => continue,
            };
            *field = Some(value);
        }
        it
    }

    /// The transport, if it is one that exists.
    pub fn transport(&self) -> Option<Transport> {
        match self.transport.as_deref() {
            Some("polling") => Some(Transport::Polling),
            Some("websocket") => Some(Transport::WebSocket),
            _ => None,
        }
    }

    /// The transport as the client wrote it, for error reports.
    pub fn transport_name(&self) -> Option<&str> {
        self.transport.as_deref()
    }

    /// The protocol version as the client wrote it.
    pub fn eio(&self) -> Option<&str> {
        self.eio.as_deref()
    }

    /// The session id; an empty one counts as none.
    pub fn sid(&self) -> Option<&str> {
        self.sid.as_deref().filter(|sid| !sid.is_empty())
    }

    /// The time stamp that keeps requests out of caches.
    pub fn time_stamp(&self) -> Option<&str> {
        self.time_stamp.as_deref()
    }

    /// Whether the client cannot take binary data (`b64=1`).
    pub fn base64(&self) -> bool {
        self.base64
    }

    /// The callback index of a JSONP client: the digits of `j`. Anything but a digit is dropped,
    /// as it would be written into a script.
    pub fn jsonp(&self) -> Option<String> {
        let index = self.jsonp.as_deref()?;
        Some(
            index
                .chars()
                .filter(char::is_ascii_digit)
                .take(20)
                .collect(),
        )
    }
}

/// Names and values. Each byte is looked at once, and again only in what is encoded.
fn pairs(mut query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    iter::from_fn(move || {
        query = query.trim_start_matches('&');
        let (mut end, mut equals, mut encoded) = (query.len(), None, false);
        for (at, byte) in query.bytes().enumerate() {
            match byte {
                b'&' => {
                    end = at;
                    break;
                }
                b'=' => equals = equals.or(Some(at)),
                b'%' | b'+' => encoded = true,
                _ => {}
            }
        }
        let (parameter, rest) = query.split_at(end);
        query = rest;
        if encoded || parameter.is_empty() {
            return form_urlencoded::parse(parameter.as_bytes()).next();
        }
        let (name, value) = match equals {
            Some(at) => (&parameter[..at], &parameter[at + 1..]),
            None => (parameter, ""),
        };
        Some((name.into(), value.into()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_sid_counts_as_none() {
        assert_eq!(Query::parse("sid=").sid(), None);
        assert_eq!(Query::parse("sid").sid(), None);
    }

    #[test]
    fn transports_are_exact_names() {
        for name in [
            "",
            "Polling",
            "tobi",
            "constructor",
            "__proto__",
            "webtransport",
        ] {
            let query = format!("transport={name}");
            assert_eq!(Query::parse(&query).transport(), None);
        }
        assert_eq!(Query::parse("").transport(), None);
    }

    #[test]
    fn jsonp_keeps_digits_only() {
        assert_eq!(Query::parse("j=12").jsonp().as_deref(), Some("12"));
        assert_eq!(Query::parse("j=1;alert(2)").jsonp().as_deref(), Some("12"));
        assert_eq!(Query::parse("j=").jsonp().as_deref(), Some(""));
        assert_eq!(Query::parse("").jsonp(), None);
    }

    /// The shortcut for what is not encoded reads the same as the URL standard.
    #[test]
    fn parameters_are_those_of_the_url_standard() {
        for query in [
            "",
            "&&a&=b&=&a=b=c&&",
            "a=1&a=2",
            "EIO=4&transport=polling&t=Q8%2B&sid=x",
            "a+b=c+d&e%3Df=%26&%=%zz&é=ü&%ff=+",
        ] {
            let standard: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
            assert_eq!(pairs(query).collect::<Vec<_>>(), standard, "{query}");
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_do_no_harm() {
        assert_eq!(Query::parse("sid=%ff%00").sid(), Some("\u{fffd}\0"));
    }
}
