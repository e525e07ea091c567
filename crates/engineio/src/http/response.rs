//! The answers.

use std::sync::LazyLock;

use bytes::Bytes;
use engineio_proto::payload::{Body, Framing};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;

use crate::ConnectionErrorKind;

/// The body of every response: all of it is there at once.
pub type ResponseBody = Full<Bytes>;

/// The answer to a poll.
pub(crate) fn poll(body: Body, old_explorer: bool) -> Response<ResponseBody> {
    static TEXT: LazyLock<HeaderMap> = LazyLock::new(|| headers("text/plain; charset=UTF-8"));
    static BINARY: LazyLock<HeaderMap> = LazyLock::new(|| headers("application/octet-stream"));
    let headers = match body.framing {
        Framing::Text => &*TEXT,
        Framing::Binary => &*BINARY,
    };
    success(headers, body.bytes, old_explorer)
}

/// The answer to a POST. `text/html` keeps old browsers from offering it as a download.
pub(crate) fn posted(old_explorer: bool) -> Response<ResponseBody> {
    static HTML: LazyLock<HeaderMap> = LazyLock::new(|| headers("text/html"));
    success(&HTML, Bytes::from_static(b"ok"), old_explorer)
}

/// A refused request, with the code and the text of the official server.
pub(crate) fn error(kind: &ConnectionErrorKind) -> Response<ResponseBody> {
    let mut response = Response::new(Full::from(kind.body()));
    *response.status_mut() = kind.status();
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// A status without a body.
pub(crate) fn empty(status: StatusCode) -> Response<ResponseBody> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

/// The answer that turns the connection into a WebSocket (RFC 6455, section 4.2.2).
pub(crate) fn switching_protocols(
    accept: HeaderValue,
    subprotocol: Option<HeaderValue>,
) -> Response<ResponseBody> {
    let mut response = empty(StatusCode::SWITCHING_PROTOCOLS);
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(subprotocol) = subprotocol {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, subprotocol);
    }
    response
}

/// The headers of all such answers: a copy costs less than to insert each of them.
fn headers(content_type: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(2);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers
}

fn success(headers: &HeaderMap, body: Bytes, old_explorer: bool) -> Response<ResponseBody> {
    let mut response = Response::new(Full::new(body));
    let added = response.headers_mut();
    added.clone_from(headers);
    if old_explorer {
        // Its filter mistakes packets for attacks.
        let name = HeaderName::from_static("x-xss-protection");
        added.insert(name, HeaderValue::from_static("0"));
    }
    response
}

pub(crate) fn is_old_internet_explorer(request: &HeaderMap) -> bool {
    request
        .get(header::USER_AGENT)
        .and_then(|agent| agent.to_str().ok())
        .is_some_and(|agent| agent.contains(";MSIE") || agent.contains("Trident/"))
}
