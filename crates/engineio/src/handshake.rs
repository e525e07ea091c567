//! What is kept of the request that opened a session.

use std::{net::SocketAddr, time::SystemTime};

use engineio_proto::Version;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, header, request};

/// Where a request came from. Whoever accepts the connection puts it into the request's
/// extensions; [`serve`](crate::serve()) does.
///
/// ```
/// use engineio::Peer;
///
/// let mut request = http::Request::new(());
/// request.extensions_mut().insert(Peer::new(([127, 0, 0, 1], 4711).into()));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    addr: SocketAddr,
    secure: bool,
}

impl Peer {
    /// A peer by its TCP address.
    pub const fn new(addr: SocketAddr) -> Self {
        Self {
            addr,
            secure: false,
        }
    }

    /// Says whether the connection is encrypted. Default: `false`.
    #[must_use]
    pub const fn secure(mut self, secure: bool) -> Self {
        self.secure = secure;
        self
    }

    /// The TCP address.
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }
}

/// What is kept of the request that opened a session.
///
/// It is a copy in one block: the request's own headers are slices of the buffer that they were
/// read into, and would keep all of it alive for as long as the session.
#[derive(Clone, Debug)]
pub struct Handshake {
    /// Per header: name, `\0`, value, `\0`. Neither may contain a NUL.
    headers: Box<[u8]>,
    url: Box<str>,
    method: Method,
    peer: Option<Peer>,
    time: SystemTime,
    protocol: Version,
    extensions: Extensions,
}

impl Handshake {
    pub(crate) fn new(parts: &request::Parts, protocol: Version, extensions: Extensions) -> Self {
        let lengths = parts
            .headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + 2);
        let mut headers = Vec::with_capacity(lengths.sum());
        for (name, value) in &parts.headers {
            headers.extend_from_slice(name.as_str().as_bytes());
            headers.push(0);
            headers.extend_from_slice(value.as_bytes());
            headers.push(0);
        }
        let url = parts.uri.path_and_query().map_or("/", |it| it.as_str());
        Self {
            headers: headers.into_boxed_slice(),
            url: url.into(),
            method: parts.method.clone(),
            peer: parts.extensions.get::<Peer>().copied(),
            time: SystemTime::now(),
            protocol,
            extensions,
        }
    }

    /// The HTTP method: GET for every session that opened.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Path and query of the request, as they stand in it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The query string without `?`, as it stands in the request.
    pub fn query(&self) -> &str {
        self.url.split_once('?').map_or("", |(_, query)| query)
    }

    /// One header as text: its first value, if it is there and is visible ASCII.
    ///
    /// Names are compared without regard to case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self
            .pairs()
            .find(|(found, _)| found.eq_ignore_ascii_case(name.as_bytes()))?;
        std::str::from_utf8(value)
            .ok()
            .filter(|value| value.is_ascii())
    }

    /// All headers. They are put together anew at each call; for one of them,
    /// [`header`](Self::header) is cheaper.
    pub fn headers(&self) -> HeaderMap {
        let parse = |(name, value)| {
            Some((
                HeaderName::from_bytes(name).ok()?,
                HeaderValue::from_bytes(value).ok()?,
            ))
        };
        let mut headers = HeaderMap::new();
        for (name, value) in self.pairs().filter_map(parse) {
            headers.append(name, value);
        }
        headers
    }

    /// Address of the TCP peer, if whoever accepted the connection said so (see [`Peer`]).
    #[doc(alias = "remoteAddress")]
    pub fn remote_addr(&self) -> Option<SocketAddr> {
        self.peer.map(|peer| peer.addr)
    }

    /// Whether the connection is encrypted, if whoever accepted it said so (see [`Peer`]).
    pub fn secure(&self) -> bool {
        self.peer.is_some_and(|peer| peer.secure)
    }

    /// Whether the request has an `Origin` header.
    pub fn cross_domain(&self) -> bool {
        self.header(header::ORIGIN.as_str()).is_some()
    }

    /// When the request arrived.
    pub fn time(&self) -> SystemTime {
        self.time
    }

    /// The protocol version of the session.
    pub fn protocol(&self) -> Version {
        self.protocol
    }

    /// What [middlewares](crate::Config::middleware) have put into
    /// [`Exchange::extensions`](crate::Exchange::extensions).
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    fn pairs(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut fields = self.headers.split(|byte| *byte == 0);
        std::iter::from_fn(move || fields.next().zip(fields.next()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_survive_the_copy() {
        let request = http::Request::get("/engine.io/?EIO=4&x=%20y")
            .header("Cookie", "a=b")
            .header("X-Two", "1")
            .header("X-Two", "2")
            .header("X-Empty", "")
            .body(())
            .unwrap();
        let (parts, ()) = request.into_parts();
        let handshake = Handshake::new(&parts, Version::V4, Extensions::new());
        assert_eq!(handshake.headers(), parts.headers);
        assert_eq!(handshake.header("cookie"), Some("a=b"));
        assert_eq!(handshake.header("x-two"), Some("1"));
        assert_eq!(handshake.header("X-Empty"), Some(""));
        assert_eq!(handshake.header("x-none"), None);
        assert_eq!(handshake.query(), "EIO=4&x=%20y");
        assert!(!handshake.cross_domain());
    }
}
