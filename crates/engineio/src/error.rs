//! Requests that are refused.

use std::fmt;

use http::StatusCode;
use serde_json::{Value, json};

/// A request that is refused, as the client and [`Config::on_connection_error`] are told.
///
/// [`Config::on_connection_error`]: crate::Config::on_connection_error
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionError {
    /// What is wrong.
    pub kind: ConnectionErrorKind,
    /// Path and query of the request.
    pub url: String,
}

/// What is wrong with a request. Codes and texts are the official server's.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectionErrorKind {
    /// Code 0: no transport of this name is served.
    UnknownTransport(Option<String>),
    /// Code 1: no session has this id.
    UnknownSid(String),
    /// Code 2: a method that does not go with the request.
    BadHandshakeMethod(String),
    /// Code 3: the session is on another transport.
    TransportMismatch,
    /// Code 3: a WebSocket was asked for, but not in the way of RFC 6455.
    TransportHandshake(&'static str),
    /// Code 3: the session was opened with another protocol version.
    ProtocolMismatch,
    /// Code 3: the `Origin` header is not text.
    InvalidOrigin,
    /// Code 3: [`Config::generate_id`](crate::Config::generate_id) failed, or made an id that cannot
    /// be used; what was wrong with it.
    IdGeneration(String),
    /// Code 3: refused by a [middleware](crate::Config::middleware), or by the failure of
    /// [`Config::cors_with`](crate::Config::cors_with); with the error.
    Middleware(String),
    /// Code 4: refused by [`Config::allow_request`](crate::Config::allow_request).
    Forbidden(Value),
    /// Code 5: nobody speaks this protocol version, or it is not allowed.
    UnsupportedProtocol(Option<String>),
    /// No new sessions: the server is being closed. Status 503.
    ShuttingDown,
}

impl ConnectionErrorKind {
    /// The number on the wire, 0 to 5.
    pub const fn code(&self) -> u8 {
        match self {
            Self::UnknownTransport(_) => 0,
            Self::UnknownSid(_) => 1,
            Self::BadHandshakeMethod(_) => 2,
            Self::TransportMismatch
            | Self::TransportHandshake(_)
            | Self::ProtocolMismatch
            | Self::InvalidOrigin
            | Self::IdGeneration(_)
            | Self::Middleware(_)
            | Self::ShuttingDown => 3,
            Self::Forbidden(_) => 4,
            Self::UnsupportedProtocol(_) => 5,
        }
    }

    /// The HTTP status.
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// The body: `{"code":0,"message":"Transport unknown"}`.
    pub(crate) fn body(&self) -> String {
        let message = match self {
            Self::UnknownTransport(_) => json!("Transport unknown"),
            Self::UnknownSid(_) => json!("Session ID unknown"),
            Self::BadHandshakeMethod(_) => json!("Bad handshake method"),
            Self::TransportMismatch
            | Self::TransportHandshake(_)
            | Self::ProtocolMismatch
            | Self::InvalidOrigin
            | Self::IdGeneration(_)
            | Self::Middleware(_) => json!("Bad request"),
            Self::Forbidden(message) => message.clone(),
            Self::UnsupportedProtocol(_) => json!("Unsupported protocol version"),
            Self::ShuttingDown => json!("Server shutting down"),
        };
        format!(r#"{{"code":{},"message":{message}}}"#, self.code())
    }
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ConnectionErrorKind::UnknownTransport(Some(name)) => {
                write!(f, "transport {name:?} is not served")
            }
            ConnectionErrorKind::UnknownTransport(None) => {
                f.write_str("the query names no transport")
            }
            ConnectionErrorKind::UnknownSid(_) => {
                f.write_str("no session has this id: it has closed, or it lives in another process")
            }
            ConnectionErrorKind::BadHandshakeMethod(method) => {
                write!(f, "method {method} does not go with this request")
            }
            ConnectionErrorKind::TransportMismatch => {
                f.write_str("the session is on another transport")
            }
            ConnectionErrorKind::TransportHandshake(what) => {
                write!(f, "not a WebSocket handshake: {what}")
            }
            ConnectionErrorKind::ProtocolMismatch => {
                f.write_str("the session was opened with another protocol version")
            }
            ConnectionErrorKind::InvalidOrigin => f.write_str("the Origin header is not text"),
            ConnectionErrorKind::IdGeneration(error) => write!(f, "no session id: {error}"),
            ConnectionErrorKind::Middleware(error) => {
                write!(f, "refused by a middleware: {error}")
            }
            ConnectionErrorKind::Forbidden(message) => {
                write!(f, "refused by allow_request: {message}")
            }
            ConnectionErrorKind::UnsupportedProtocol(version) => write!(
                f,
                "protocol version {:?} is not served",
                version.as_deref().unwrap_or_default()
            ),
            ConnectionErrorKind::ShuttingDown => f.write_str("the server is being closed"),
        }
    }
}

impl std::error::Error for ConnectionError {}
