//! What is kept of the request that opened a session.

use std::net::SocketAddr;

use http::{HeaderMap, Method, Uri, Version};

/// What is kept of the request that opened a session: copies, so that the buffer the request was
/// read into can go.
#[derive(Clone, Debug)]
pub struct Handshake {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) version: Version,
    pub(crate) headers: HeaderMap,
    pub(crate) remote_addr: Option<SocketAddr>,
    pub(crate) secure: bool,
    pub(crate) protocol: engineio_proto::Version,
}

impl Handshake {
    /// The HTTP method, always GET for a session that opened.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Path and query of the request.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The query string, without `?`, as it stands in the request.
    pub fn query(&self) -> &str {
        self.uri.query().unwrap_or_default()
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// One header as text, if it is there and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Address of the TCP peer, where the server was told (see `RemoteAddr`).
    pub fn remote_addr(&self) -> Option<SocketAddr> {
        self.remote_addr
    }

    /// Whether the request came over TLS, where the server was told.
    pub fn secure(&self) -> bool {
        self.secure
    }

    /// Whether the request names another origin (it has an `Origin` header).
    pub fn cross_domain(&self) -> bool {
        self.headers.contains_key(http::header::ORIGIN)
    }

    /// The protocol version of the session.
    pub fn protocol(&self) -> engineio_proto::Version {
        self.protocol
    }

    /// The HTTP version of the request.
    pub fn version(&self) -> Version {
        self.version
    }
}
