//! Requests that ask for a WebSocket.

use http::{HeaderMap, Method, Response, header, request::Parts};
use hyper::upgrade::OnUpgrade;

use crate::{
    ConnectionErrorKind as Kind,
    http::response::{self, ResponseBody},
    transport::{websocket, wire::Hold},
};

/// A request that asks for a WebSocket in the way of RFC 6455, section 4.2.1.
pub(super) struct WebSocketRequest {
    accept: http::HeaderValue,
    /// The key is `13-<milliseconds>` and not random: the client runs in Node.js and is a 1.x.
    pub(super) key_tells_time: bool,
    subprotocol: Option<http::HeaderValue>,
    on_upgrade: OnUpgrade,
    /// If whoever serves the connection can hold the answer back.
    pub(super) hold: Option<Hold>,
}

impl WebSocketRequest {
    pub(super) fn read(parts: &mut Parts) -> Result<Self, Kind> {
        let headers = &parts.headers;
        let refuse = |what| Err(Kind::TransportHandshake(what));
        if parts.method != Method::GET {
            return Err(Kind::BadHandshakeMethod(parts.method.to_string()));
        }
        if !has_token(headers, header::UPGRADE, "websocket") {
            return refuse("the Upgrade header is not `websocket`");
        }
        if !has_token(headers, header::CONNECTION, "upgrade") {
            return refuse("the Connection header does not say `Upgrade`");
        }
        let Some(on_upgrade) = parts.extensions.remove::<OnUpgrade>() else {
            return refuse("this connection cannot be upgraded");
        };
        let version = headers.get(header::SEC_WEBSOCKET_VERSION);
        if !version.is_some_and(|version| version == "13" || version == "8") {
            return refuse("Sec-WebSocket-Version is not 13");
        }
        let Some(key) = headers.get(header::SEC_WEBSOCKET_KEY) else {
            return refuse("there is no Sec-WebSocket-Key");
        };
        let digits = key.as_bytes().strip_suffix(b"==");
        let is_digit = |it: &u8| it.is_ascii_alphanumeric() || matches!(it, b'+' | b'/');
        if !digits.is_some_and(|it| it.len() == 22 && it.iter().all(is_digit)) {
            return refuse("Sec-WebSocket-Key is not 16 bytes in base64");
        }
        let offered = headers.get(header::SEC_WEBSOCKET_PROTOCOL);
        let names = |list: &'_ http::HeaderValue| {
            let mut names = list.to_str().ok()?.split(',').map(str::trim);
            names.find(|name| !name.is_empty())?.parse().ok()
        };
        let accept = websocket::accept_key(key.as_bytes());
        Ok(Self {
            accept: http::HeaderValue::try_from(accept)
                .map_err(|_| Kind::TransportHandshake("Sec-WebSocket-Key"))?,
            // "13-" in base64
            key_tells_time: key.as_bytes().starts_with(b"MTMt"),
            subprotocol: offered.and_then(names),
            on_upgrade,
            hold: parts.extensions.remove(),
        })
    }

    /// The answer, and what comes of it.
    pub(super) fn accept(self) -> (Response<ResponseBody>, OnUpgrade) {
        let response = response::switching_protocols(self.accept, self.subprotocol);
        (response, self.on_upgrade)
    }
}

fn has_token(headers: &HeaderMap, name: header::HeaderName, token: &str) -> bool {
    let has = |value: &http::HeaderValue| {
        value.to_str().is_ok_and(|list| {
            list.split(',')
                .any(|it| it.trim().eq_ignore_ascii_case(token))
        })
    };
    headers.get_all(name).iter().any(has)
}
