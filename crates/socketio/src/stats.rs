//! Numbers of a running server.

use crate::{EngineStats, SocketIo};

/// Numbers of a running server, from [`SocketIo::stats`].
///
/// Those that count something count from when the [service](SocketIo::service) was made. What is
/// counted for a single client is at its [connection](crate::Socket::conn).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Connections now (`io.engine.clientsCount` in the official server).
    pub sessions: usize,
    /// Connected sockets now, in all namespaces.
    pub sockets: usize,
    /// Namespaces now.
    pub namespaces: usize,
    /// Messages that wait for their clients now.
    pub queued_messages: usize,
    /// Bytes of these messages, with a charge of 64 for each.
    pub queued_bytes: usize,
    /// Events that were dropped because too much was queued for their clients.
    pub dropped: u64,
    /// Volatile events that were dropped because the connection could not take them at once.
    pub dropped_volatile: u64,
    /// How often a sender had to [wait](crate::Socket::ready) until a client had read.
    pub waits: u64,
    /// Clients that were disconnected because they read too slowly.
    pub slow_clients: u64,
    /// Requests and WebSockets of other servers' sessions that are under way here now; see
    /// [`Config::relay`](engineio::Config::relay).
    pub relayed: usize,
}

impl Stats {
    pub(crate) fn of(io: &SocketIo, engine: Option<EngineStats>) -> Self {
        let namespaces = io.namespaces();
        let own = Self {
            sockets: namespaces.iter().map(|it| it.len()).sum(),
            namespaces: namespaces.len(),
            ..Self::default()
        };
        let Some(engine) = engine else {
            return own;
        };
        Self {
            sessions: engine.sessions,
            queued_messages: engine.queued_messages,
            queued_bytes: engine.queued_bytes,
            dropped: engine.dropped,
            dropped_volatile: engine.dropped_volatile,
            waits: engine.waits,
            slow_clients: engine.slow_clients,
            relayed: engine.relayed,
            ..own
        }
    }
}
