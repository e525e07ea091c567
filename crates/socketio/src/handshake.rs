//! What a client said when it connected.

use std::{borrow::Cow, net::SocketAddr, sync::Arc, time::SystemTime};

use http::HeaderMap;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use socketio_adapter::HandshakeDetails;

/// What a client said when it connected: its first HTTP request, and what it gave to be let into
/// the namespace.
#[derive(Clone, Debug)]
pub struct Handshake {
    request: Arc<engineio::Handshake>,
    /// The text of a JSON object; none stands for an empty one.
    auth: Option<Box<str>>,
}

impl Handshake {
    pub(crate) fn new(request: Arc<engineio::Handshake>, auth: Option<Box<str>>) -> Self {
        Self { request, auth }
    }

    /// The headers of the request. They are put together anew at each call; for one of them,
    /// [`header`](Self::header) is cheaper.
    pub fn headers(&self) -> HeaderMap {
        self.request.headers()
    }

    /// One header of the request, if it is there and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.request.header(name)
    }

    /// What [middlewares of the engine](engineio::Config::middleware) have found out about the
    /// client.
    pub fn extensions(&self) -> &http::Extensions {
        self.request.extensions()
    }

    /// Path and query of the request.
    pub fn url(&self) -> &str {
        self.request.url()
    }

    /// The query string of the request, as it stands there.
    pub fn query(&self) -> &str {
        self.request.query()
    }

    /// One parameter of the query, decoded; the last one if it comes several times.
    pub fn query_param(&self, name: &str) -> Option<Cow<'_, str>> {
        form_urlencoded::parse(self.query().as_bytes())
            .filter(|(found, _)| found == name)
            .last()
            .map(|(_, value)| value)
    }

    /// What the client gave to be let into the namespace, as the text of a JSON object: its `auth`
    /// option. A client of protocol 4 (1.x and 2.x), which has no such option, gives the query of
    /// the namespace, or of the request for the namespace `/`.
    pub fn auth(&self) -> &str {
        self.auth.as_deref().unwrap_or("{}")
    }

    /// [`auth`](Self::auth) as a Rust type.
    ///
    /// # Errors
    ///
    /// If it has another shape.
    pub fn auth_as<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.auth())
    }

    /// Address of the TCP peer, if whoever accepted the connection said so (see
    /// [`Peer`](engineio::Peer)).
    pub fn address(&self) -> Option<SocketAddr> {
        self.request.remote_addr()
    }

    /// Whether the connection is encrypted, if whoever accepted it said so (see
    /// [`Peer`](engineio::Peer)).
    pub fn secure(&self) -> bool {
        self.request.secure()
    }

    /// Whether the request names another origin: it has an `Origin` header.
    pub fn xdomain(&self) -> bool {
        self.request.cross_domain()
    }

    /// When the request arrived.
    #[doc(alias = "issued")]
    pub fn time(&self) -> SystemTime {
        self.request.time()
    }

    /// What other servers are told of it.
    pub(crate) fn details(&self) -> HandshakeDetails {
        let mut headers = Map::new();
        for (name, value) in &self.headers() {
            let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
            match headers.get_mut(name.as_str()) {
                None => drop(headers.insert(name.as_str().into(), value.into())),
                Some(Value::Array(values)) => values.push(value.into()),
                Some(first) => *first = vec![first.take(), value.into()].into(),
            }
        }
        let issued = self.time().duration_since(SystemTime::UNIX_EPOCH);
        let query = form_urlencoded::parse(self.query().as_bytes());
        HandshakeDetails {
            headers,
            time: httpdate::fmt_http_date(self.time()),
            address: self
                .address()
                .map_or(String::new(), |it| it.ip().to_string()),
            xdomain: self.xdomain(),
            secure: self.secure(),
            issued: issued.map_or(0, |it| it.as_millis() as u64),
            url: self.url().into(),
            query: query
                .map(|(name, value)| (name.into_owned(), value.into_owned().into()))
                .collect(),
            auth: self.auth_as().unwrap_or_default(),
        }
    }

    /// The request that opened the connection.
    pub fn request(&self) -> &engineio::Handshake {
        &self.request
    }
}

/// A query as the text of a JSON object: what clients of protocol 4 give in place of `auth`. The
/// engine's own parameters are left out. Of a name that comes twice the last value counts.
pub(crate) fn auth_of_query(query: &str) -> Option<Box<str>> {
    let pairs = form_urlencoded::parse(query.as_bytes())
        .filter(|(name, _)| !ENGINE_PARAMETERS.contains(&&**name));
    let object: serde_json::Map<_, _> = pairs
        .map(|(name, value)| (name.into_owned(), value.into_owned().into()))
        .collect();
    (!object.is_empty()).then(|| serde_json::Value::from(object).to_string().into())
}

const ENGINE_PARAMETERS: [&str; 6] = ["EIO", "transport", "sid", "t", "b64", "j"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_becomes_an_object() {
        let auth = auth_of_query("EIO=3&token=a%22b&x=1&t=abc&x=2").unwrap();
        assert_eq!(&*auth, r#"{"token":"a\"b","x":"2"}"#);
        assert_eq!(auth_of_query("EIO=3&transport=polling"), None);
    }
}
