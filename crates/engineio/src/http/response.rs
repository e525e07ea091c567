//! The answers.

use bytes::Bytes;
use engineio_proto::payload::{Body, Framing};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;

use super::spare;
use crate::ConnectionErrorKind;

/// The body of every response: all of it is there at once.
pub type ResponseBody = Full<Bytes>;

/// The answer to a poll.
pub(crate) fn poll(body: Body, old_explorer: bool) -> Response<ResponseBody> {
    let content_type = match body.framing {
        Framing::Text => "text/plain; charset=UTF-8",
        Framing::Binary => "application/octet-stream",
    };
    success(content_type, body.bytes, old_explorer)
}

/// The answer to a POST. `text/html` keeps old browsers from offering it as a download.
pub(crate) fn posted(old_explorer: bool) -> Response<ResponseBody> {
    success("text/html", Bytes::from_static(b"ok"), old_explorer)
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

fn success(content_type: &'static str, body: Bytes, old_explorer: bool) -> Response<ResponseBody> {
    let mut response = Response::new(Full::new(body));
    let headers = response.headers_mut();
    *headers = spare::headers();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if old_explorer {
        // Its filter mistakes packets for attacks.
        let name = HeaderName::from_static("x-xss-protection");
        headers.insert(name, HeaderValue::from_static("0"));
    }
    response
}

pub(crate) fn is_old_internet_explorer(request: &HeaderMap) -> bool {
    request
        .get(header::USER_AGENT)
        .and_then(|agent| agent.to_str().ok())
        .is_some_and(|agent| agent.contains(";MSIE") || agent.contains("Trident/"))
}
