//! How long and how much is kept.

use std::time::Duration;

/// Options of connection state recovery; see
/// [`Builder::connection_state_recovery`](crate::Builder::connection_state_recovery).
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct ConnectionStateRecovery {
    pub(super) max_disconnection_duration: Duration,
    pub(super) skip_middlewares: bool,
    pub(super) max_bytes: usize,
    pub(super) max_room_bytes: usize,
}

impl Default for ConnectionStateRecovery {
    fn default() -> Self {
        Self {
            max_disconnection_duration: Duration::from_secs(120),
            skip_middlewares: true,
            max_bytes: 64 * 1024 * 1024,
            max_room_bytes: 8 * 1024 * 1024,
        }
    }
}

impl ConnectionStateRecovery {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// How long after a disconnection a client can come back. Default: 2 minutes; at most one day.
    #[doc(alias = "maxDisconnectionDuration")]
    pub fn max_disconnection_duration(mut self, duration: Duration) -> Self {
        self.max_disconnection_duration = duration.min(LONGEST);
        self
    }

    /// Whether a client that comes back is let in without passing the middlewares again. Default:
    /// `true`.
    #[doc(alias = "skipMiddlewares")]
    pub fn skip_middlewares(mut self, skip: bool) -> Self {
        self.skip_middlewares = skip;
        self
    }

    /// The most bytes of events and states that the server keeps in all namespaces together.
    /// Default: 64 MiB. Beyond it the oldest events go first; a client that has missed one of them
    /// gets a new session.
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// The most bytes of events that are kept for one room, or for a whole namespace where an event
    /// names no room. Default: 8 MiB. A busy room so costs only its own members their recovery.
    pub fn max_room_bytes(mut self, bytes: usize) -> Self {
        self.max_room_bytes = bytes;
        self
    }
}

pub(super) const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
