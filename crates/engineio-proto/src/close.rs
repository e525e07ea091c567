//! Why sessions close.

use std::fmt;

/// Why a session closed. The words are those of the official server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseReason {
    /// The client closed the connection, or said that it would.
    TransportClose,
    /// The connection broke, or the client broke a rule of the transport.
    TransportError,
    /// No sign of life within the interval.
    PingTimeout,
    /// A packet or payload could not be decoded.
    ParseError,
    /// The application closed the session.
    ForcedClose,
    /// The whole server is being closed.
    ServerShuttingDown,
    /// The client reads too slowly: more is queued for it than the server keeps.
    SlowClient,
}

impl CloseReason {
    /// The official server's words for it.
    ///
    /// ```
    /// assert_eq!(engineio_proto::CloseReason::PingTimeout.as_str(), "ping timeout");
    /// ```
    pub const fn as_str(self) -> &'static str {
        match self {
            CloseReason::TransportClose => "transport close",
            CloseReason::TransportError => "transport error",
            CloseReason::PingTimeout => "ping timeout",
            CloseReason::ParseError => "parse error",
            CloseReason::ForcedClose => "forced close",
            CloseReason::ServerShuttingDown => "server shutting down",
            CloseReason::SlowClient => "slow client",
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
