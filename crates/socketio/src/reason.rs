//! Why sockets disconnect.

use std::fmt;

use engineio::CloseReason;

/// Why a socket was disconnected. [`as_str`](Self::as_str) gives the official server's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DisconnectReason {
    /// The client left the namespace.
    ClientNamespaceDisconnect,
    /// The server made it leave: [`Socket::disconnect`](crate::Socket::disconnect).
    ServerNamespaceDisconnect,
    /// The client closed the connection, or said that it would.
    TransportClose,
    /// The connection broke, or the client broke a rule of the transport.
    TransportError,
    /// The client gave no sign of life in time.
    PingTimeout,
    /// A packet of the transport could not be decoded.
    ParseError,
    /// The server closed the connection, for example since the client broke the protocol.
    ForcedClose,
    /// The same, but the connection could not be closed at once: the client polls, and no poll was
    /// waiting.
    ForcedServerClose,
    /// The whole server is being closed.
    ServerShuttingDown,
    /// The client read too slowly. The official server has no such limit.
    SlowClient,
}

impl DisconnectReason {
    /// Whether a client that was disconnected for this reason may be
    /// [recovered](crate::Builder::connection_state_recovery): not if one of the sides wanted it,
    /// and not if it breaks rules.
    pub const fn is_recoverable(self) -> bool {
        matches!(
            self,
            DisconnectReason::TransportClose
                | DisconnectReason::TransportError
                | DisconnectReason::PingTimeout
                | DisconnectReason::ForcedClose
                | DisconnectReason::ForcedServerClose
                | DisconnectReason::ServerShuttingDown
        )
    }

    /// The official server's words for it.
    ///
    /// ```
    /// let reason = socketio::DisconnectReason::ClientNamespaceDisconnect;
    /// assert_eq!(reason.as_str(), "client namespace disconnect");
    /// ```
    pub const fn as_str(self) -> &'static str {
        match self {
            DisconnectReason::ClientNamespaceDisconnect => "client namespace disconnect",
            DisconnectReason::ServerNamespaceDisconnect => "server namespace disconnect",
            DisconnectReason::TransportClose => "transport close",
            DisconnectReason::TransportError => "transport error",
            DisconnectReason::PingTimeout => "ping timeout",
            DisconnectReason::ParseError => "parse error",
            DisconnectReason::ForcedClose => "forced close",
            DisconnectReason::ForcedServerClose => "forced server close",
            DisconnectReason::ServerShuttingDown => "server shutting down",
            DisconnectReason::SlowClient => "slow client",
        }
    }
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<CloseReason> for DisconnectReason {
    fn from(reason: CloseReason) -> Self {
        match reason {
            CloseReason::TransportClose => DisconnectReason::TransportClose,
            CloseReason::TransportError => DisconnectReason::TransportError,
            CloseReason::PingTimeout => DisconnectReason::PingTimeout,
            CloseReason::ParseError => DisconnectReason::ParseError,
            CloseReason::ServerShuttingDown => DisconnectReason::ServerShuttingDown,
            CloseReason::SlowClient => DisconnectReason::SlowClient,
            // Whatever else the engine may close for one day is the server's doing.
            _ => DisconnectReason::ForcedClose,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_of_the_engine_keep_their_words() {
        for reason in [
            CloseReason::TransportClose,
            CloseReason::TransportError,
            CloseReason::PingTimeout,
            CloseReason::ParseError,
            CloseReason::ForcedClose,
            CloseReason::ServerShuttingDown,
            CloseReason::SlowClient,
        ] {
            assert_eq!(DisconnectReason::from(reason).as_str(), reason.as_str());
        }
    }
}
