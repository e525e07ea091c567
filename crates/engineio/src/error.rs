//! Requests that are refused.

use std::fmt;

use engineio_proto::{Version, query::Transport};
use http::{HeaderMap, Method, StatusCode, request};
use serde_json::{Value, json};

/// A request that is refused, as [`Config::on_connection_error`] is told.
///
/// [`Config::on_connection_error`]: crate::Config::on_connection_error
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionError {
    /// What is wrong.
    pub kind: ConnectionErrorKind,
    /// The method of the request.
    pub method: Method,
    /// Path and query of the request. They may hold the id of a living session, which nobody but
    /// its client should know.
    pub url: String,
    /// The headers of the request, cookies and credentials among them.
    pub headers: HeaderMap,
}

impl ConnectionError {
    pub(crate) fn new(kind: ConnectionErrorKind, request: &request::Parts) -> Self {
        let url = request.uri.path_and_query().map_or("", |it| it.as_str());
        Self {
            kind,
            method: request.method.clone(),
            url: url.to_owned(),
            headers: request.headers.clone(),
        }
    }
}

/// What is wrong with a request. Codes, texts and names are the official server's.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionErrorKind {
    /// Code 0: no transport of this name is served; the name, if there is one.
    UnknownTransport(Option<String>),
    /// Code 1: no session has this id.
    UnknownSid(String),
    /// Code 2: a method that does not go with the request.
    BadHandshakeMethod(String),
    /// Code 3: the session is on another transport.
    TransportMismatch {
        /// That of the request.
        transport: Transport,
        /// That of the session.
        previous: Transport,
    },
    /// Code 3: a WebSocket was asked for, but not in the way of RFC 6455; what is wrong.
    TransportHandshake(&'static str),
    /// Code 3: the session was opened with another protocol version.
    ProtocolMismatch {
        /// That of the request, as it stands in it.
        protocol: String,
        /// That of the session.
        previous: Version,
    },
    /// Code 3: the `Origin` header is not text; its readable part.
    InvalidOrigin(String),
    /// Code 3: [`Config::generate_id`](crate::Config::generate_id) failed, or made an id that cannot
    /// be used; what was wrong with it.
    IdGeneration(String),
    /// Code 3: refused by a [middleware](crate::Config::middleware), or by the failure of
    /// [`Config::cors_with`](crate::Config::cors_with); with the error.
    Middleware(String),
    /// Code 4: refused by [`Config::allow_request`](crate::Config::allow_request).
    Forbidden(Value),
    /// Code 4: the page is none of [`Config::allowed_origins`](crate::Config::allowed_origins); where
    /// it is from.
    OriginNotAllowed(String),
    /// Code 5: nobody speaks this protocol version, or it is not allowed; the version as it stands
    /// in the request, if there is one.
    UnsupportedProtocol(Option<String>),
    /// No new sessions: the server is being closed. Status 503.
    ShuttingDown,
    /// No new sessions: there are [as many as there may be](crate::Config::max_sessions). Status 503.
    TooManySessions,
    /// No new sessions for this address: it has [as many as it
    /// may](crate::Config::max_sessions_per_address), or opens them [too
    /// fast](crate::Config::max_opens_per_second). Status 429.
    TooManyFromAddress,
}

impl ConnectionErrorKind {
    /// The number on the wire, 0 to 5.
    pub const fn code(&self) -> u8 {
        match self {
            Self::UnknownTransport(_) => 0,
            Self::UnknownSid(_) => 1,
            Self::BadHandshakeMethod(_) => 2,
            Self::TransportMismatch { .. }
            | Self::TransportHandshake(_)
            | Self::ProtocolMismatch { .. }
            | Self::InvalidOrigin(_)
            | Self::IdGeneration(_)
            | Self::Middleware(_)
            | Self::ShuttingDown
            | Self::TooManySessions
            | Self::TooManyFromAddress => 3,
            Self::Forbidden(_) | Self::OriginNotAllowed(_) => 4,
            Self::UnsupportedProtocol(_) => 5,
        }
    }

    /// The HTTP status.
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Forbidden(_) | Self::OriginNotAllowed(_) => StatusCode::FORBIDDEN,
            Self::ShuttingDown | Self::TooManySessions => StatusCode::SERVICE_UNAVAILABLE,
            Self::TooManyFromAddress => StatusCode::TOO_MANY_REQUESTS,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// What the client is told: a text, or whatever JSON value a
    /// [`Refusal`](crate::Refusal) has.
    pub fn message(&self) -> Value {
        match self {
            Self::UnknownTransport(_) => json!("Transport unknown"),
            Self::UnknownSid(_) => json!("Session ID unknown"),
            Self::BadHandshakeMethod(_) => json!("Bad handshake method"),
            Self::TransportMismatch { .. }
            | Self::TransportHandshake(_)
            | Self::ProtocolMismatch { .. }
            | Self::InvalidOrigin(_)
            | Self::IdGeneration(_)
            | Self::Middleware(_) => json!("Bad request"),
            Self::Forbidden(message) => message.clone(),
            Self::UnsupportedProtocol(_) => json!("Unsupported protocol version"),
            Self::ShuttingDown => json!("Server shutting down"),
            Self::OriginNotAllowed(_) => json!("Forbidden"),
            Self::TooManySessions | Self::TooManyFromAddress => json!("Too many sessions"),
        }
    }

    /// What led to it, as the official server's `connection_error` has it: a JSON object.
    ///
    /// ```
    /// use engineio::{ConnectionErrorKind, Transport};
    /// use serde_json::json;
    ///
    /// let kind = ConnectionErrorKind::TransportMismatch {
    ///     transport: Transport::Polling,
    ///     previous: Transport::WebSocket,
    /// };
    /// let context = json!({
    ///     "name": "TRANSPORT_MISMATCH",
    ///     "transport": "polling",
    ///     "previousTransport": "websocket",
    /// });
    /// assert_eq!(kind.context(), context);
    /// ```
    pub fn context(&self) -> Value {
        match self {
            Self::UnknownTransport(transport) => json!({ "transport": transport }),
            Self::UnknownSid(sid) => json!({ "sid": sid }),
            Self::BadHandshakeMethod(method) => json!({ "method": method }),
            Self::TransportMismatch {
                transport,
                previous,
            } => json!({
                "name": "TRANSPORT_MISMATCH",
                "transport": transport.name(),
                "previousTransport": previous.name(),
            }),
            Self::TransportHandshake(error) => {
                json!({ "name": "TRANSPORT_HANDSHAKE_ERROR", "error": error })
            }
            Self::ProtocolMismatch { protocol, previous } => json!({
                "name": "PROTOCOL_MISMATCH",
                "protocol": protocol,
                "previousProtocol": previous.number(),
            }),
            Self::InvalidOrigin(origin) => json!({ "name": "INVALID_ORIGIN", "origin": origin }),
            Self::IdGeneration(error) => json!({ "name": "ID_GENERATION_ERROR", "error": error }),
            Self::Middleware(error) => json!({ "name": "MIDDLEWARE_FAILURE", "error": error }),
            Self::Forbidden(message) => json!({ "message": message }),
            Self::UnsupportedProtocol(protocol) => json!({ "protocol": protocol }),
            Self::ShuttingDown => json!({ "name": "SHUTTING_DOWN" }),
            Self::OriginNotAllowed(origin) => {
                json!({ "name": "ORIGIN_NOT_ALLOWED", "origin": origin })
            }
            Self::TooManySessions => json!({ "name": "TOO_MANY_SESSIONS" }),
            Self::TooManyFromAddress => json!({ "name": "TOO_MANY_FROM_ADDRESS" }),
        }
    }

    /// The body: `{"code":0,"message":"Transport unknown"}`.
    pub(crate) fn body(&self) -> String {
        let (code, message) = (self.code(), self.message());
        format!(r#"{{"code":{code},"message":{message}}}"#)
    }
}

impl fmt::Display for ConnectionErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownTransport(Some(name)) => write!(f, "transport {name:?} is not served"),
            Self::UnknownTransport(None) => f.write_str("the query names no transport"),
            Self::UnknownSid(_) => {
                f.write_str("no session has this id: it has closed, or it lives in another process")
            }
            Self::BadHandshakeMethod(method) => {
                write!(f, "method {method} does not go with this request")
            }
            Self::TransportMismatch { previous, .. } => {
                write!(
                    f,
                    "the session is on another transport, {}",
                    previous.name()
                )
            }
            Self::TransportHandshake(what) => write!(f, "not a WebSocket handshake: {what}"),
            Self::ProtocolMismatch { protocol, previous } => write!(
                f,
                "protocol version {protocol:?} in a session of version {}",
                previous.number()
            ),
            Self::InvalidOrigin(origin) => write!(f, "the Origin header is not text: {origin:?}"),
            Self::IdGeneration(error) => write!(f, "no session id: {error}"),
            Self::Middleware(error) => write!(f, "refused by a middleware: {error}"),
            Self::Forbidden(message) => write!(f, "refused by allow_request: {message}"),
            Self::UnsupportedProtocol(version) => {
                let version = version.as_deref().unwrap_or_default();
                write!(f, "protocol version {version:?} is not served")
            }
            Self::ShuttingDown => f.write_str("the server is being closed"),
            Self::OriginNotAllowed(origin) => write!(f, "no page of {origin:?} is let in"),
            Self::TooManySessions => f.write_str("there are as many sessions as there may be"),
            Self::TooManyFromAddress => {
                f.write_str("the address has as many sessions as it may, or opens them too fast")
            }
        }
    }
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl std::error::Error for ConnectionError {}
