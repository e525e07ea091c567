//! What a peer can do wrong.

use std::fmt;

use crate::CloseReason;

/// A rule that the peer broke. It never panics and it is never the application's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Violation {
    /// A packet without a kind, or with one that does not exist.
    UnknownPacket,
    /// A packet that should have held base64 and did not.
    InvalidBase64,
    /// A body that cannot be cut into packets: bad length, trailing bytes, nothing at all.
    InvalidPayload,
    /// More packets in one body than the server takes.
    TooManyPackets,
    /// A ping from the side that has to answer them, or an answer from the side that asks.
    HeartbeatDirection,
    /// A second poll while one is open.
    OverlappingPoll,
    /// A second POST while one is being read.
    OverlappingPost,
    /// A poll that the client gave up.
    PollAborted,
    /// A POST that the client gave up.
    PostAborted,
    /// A body of a type that this protocol version does not have.
    InvalidContentType,
    /// The candidate of an upgrade said something other than the upgrade dance.
    UpgradeSequence,
    /// A request on a transport that the session has left.
    TransportMismatch,
    /// A WebSocket message larger than the server takes.
    MessageTooLarge,
    /// A WebSocket text that is not UTF-8.
    InvalidUtf8,
    /// Something that RFC 6455 forbids.
    InvalidFrame,
}

impl Violation {
    /// What the session closes with.
    pub const fn close_reason(self) -> CloseReason {
        match self {
            Violation::UnknownPacket
            | Violation::InvalidBase64
            | Violation::InvalidPayload
            | Violation::TooManyPackets => CloseReason::ParseError,
            _ => CloseReason::TransportError,
        }
    }

    /// What is wrong, in the official server's words where it has some.
    ///
    /// ```
    /// let violation = engineio_proto::Violation::OverlappingPoll;
    /// assert_eq!(violation.as_str(), "overlap from client");
    /// ```
    pub const fn as_str(self) -> &'static str {
        match self {
            Violation::UnknownPacket => "unknown packet type",
            Violation::InvalidBase64 => "invalid base64",
            Violation::InvalidPayload => "invalid payload",
            Violation::TooManyPackets => "too many packets in one payload",
            Violation::HeartbeatDirection => "invalid heartbeat direction",
            Violation::OverlappingPoll => "overlap from client",
            Violation::OverlappingPost => "data request overlap from client",
            Violation::PollAborted => "poll connection closed prematurely",
            Violation::PostAborted => "data request connection closed prematurely",
            Violation::InvalidContentType => "invalid content",
            Violation::UpgradeSequence => "unexpected packet during the upgrade",
            Violation::TransportMismatch => "the session is on another transport",
            Violation::MessageTooLarge => "max payload size exceeded",
            Violation::InvalidUtf8 => "invalid UTF-8 sequence",
            Violation::InvalidFrame => "invalid WebSocket frame",
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::error::Error for Violation {}
