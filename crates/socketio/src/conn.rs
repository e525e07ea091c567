//! What happens on the connections below the sockets: the events of `socket.conn` and `io.engine`
//! in the official server.
//!
//! One connection carries the sockets of a client in all namespaces, so its events are the
//! server's to tell, and its [`SessionHandle`] says which one it is; a socket has the same one as
//! [`Socket::conn`](crate::Socket::conn).
//!
//! | Official event | here |
//! |---|---|
//! | `upgrade` | [`SocketIo::on_upgrade`] |
//! | `packet` | [`SocketIo::on_packet`] |
//! | `packetCreate` | [`SocketIo::on_packet_create`] |
//! | `drain` | [`SocketIo::on_drain`] |
//! | `close` | [`SocketIo::on_close`] |
//! | `connection_error` | [`Config::on_connection_error`](crate::Config::on_connection_error) |
//! | `initial_headers` | [`Config::on_initial_headers`](crate::Config::on_initial_headers) |
//! | `headers` | [`Config::on_headers`](crate::Config::on_headers) |
//! | `clientsCount` (no event) | [`Stats::sessions`](crate::Stats::sessions) |
//!
//! Functions for these are called in place, on the task of the connection: they must not block. A
//! panic in one of them reaches the [error hook](SocketIo::on_error), and nobody else notices. What
//! nobody listens to costs nothing.
//!
//! ```
//! use socketio::{SocketIo, conn::Transmit};
//!
//! let io = SocketIo::new();
//! io.on_upgrade(|conn| println!("{:?} has moved to {:?}", conn.sid(), conn.transport()));
//! io.on_packet(|conn, packet| println!("{:?} has sent a {:?}", conn.sid(), packet.kind));
//! io.on_packet_create(|_, packet| {
//!     if let Transmit::Message(message) = packet {
//!         println!("{} bytes leave", message.len());
//!     }
//! });
//! ```

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use engineio::{CloseReason, SessionHandle};
pub use engineio::{Data, Encoded, Packet, PacketKind, Transmit};

use crate::{
    ErrorReport, SocketIo,
    handler::{guarded, panic_error},
    snapshot::Watched,
};

/// Who wants to know what happens on connections.
#[derive(Debug, Default)]
pub(crate) struct ConnHooks {
    pub(crate) upgrade: Hooks<OnConn>,
    pub(crate) packet: Hooks<OnPacket>,
    pub(crate) packet_create: Hooks<OnPacketCreate>,
    pub(crate) drain: Hooks<OnConn>,
    pub(crate) close: Hooks<OnClose>,
}

type OnConn = dyn Fn(&SessionHandle) + Send + Sync;
type OnPacket = dyn Fn(&SessionHandle, &Packet) + Send + Sync;
type OnPacketCreate = dyn Fn(&SessionHandle, &Transmit) + Send + Sync;
type OnClose = dyn Fn(&SessionHandle, CloseReason, Option<&str>) + Send + Sync;

/// The functions for one kind of event.
pub(crate) struct Hooks<F: ?Sized> {
    /// All that is looked at as long as there are none.
    any: AtomicBool,
    list: Watched<Vec<Arc<F>>>,
}

impl<F: ?Sized> Hooks<F> {
    pub(crate) fn add(&self, hook: Arc<F>) {
        self.list.update(|list| list.push(hook));
        self.any.store(true, Ordering::Release);
    }

    /// Calls them one after the other, under no lock: they may do anything.
    pub(crate) fn call(&self, io: &SocketIo, call: impl Fn(&F)) {
        if !self.any.load(Ordering::Acquire) {
            return;
        }
        for hook in &*self.list.current() {
            if let Err(panic) = guarded(|| call(hook)) {
                io.report(&ErrorReport {
                    socket: None,
                    event: None,
                    error: &panic_error(&*panic),
                });
            }
        }
    }
}

impl<F: ?Sized> Default for Hooks<F> {
    fn default() -> Self {
        Self {
            any: AtomicBool::new(false),
            list: Watched::default(),
        }
    }
}

impl<F: ?Sized> fmt::Debug for Hooks<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hooks")
            .field(&self.list.current().len())
            .finish()
    }
}
