//! The server: requests in, sessions and responses out.

mod handshake;
mod open;
mod resume;
mod route;
mod service;

use std::{
    error::Error,
    fmt,
    sync::{Arc, Weak, atomic::Ordering::Relaxed},
    time::Duration,
};

use bytes::Bytes;
use engineio_proto::{CloseReason, session::Settings};
use http::{Request, Response};
use http_body::Body;

use self::route::Target;
pub use self::service::ServerFuture;
use crate::{
    Acceptor, Config, Stats, backlog::Traffic, http::response::ResponseBody, relay::Relay,
    sessions::Sessions, visitors::Visitors,
};

/// An Engine.IO server: a hyper 1 service and a tower service, cheap to clone.
///
/// It answers the requests of its [path](Config::path) and 404 to all others; to stand in front of
/// an application's own routes, ask [`is_for`](Self::is_for) or use [`layer`](Self::layer).
///
/// See the [crate's front page](crate) for a whole program.
pub struct Server<A: Acceptor>(Arc<Inner<A>>);

struct Inner<A> {
    acceptor: A,
    config: Config,
    settings: Arc<Settings>,
    sessions: Arc<Sessions>,
    traffic: Arc<Traffic>,
    relay: Option<Arc<Relay>>,
    visitors: Visitors,
}

impl<A: Acceptor> Server<A> {
    /// A server that makes a connection of the acceptor for each session.
    ///
    /// Sessions run as tasks of the tokio runtime in which requests are handled; it needs its
    /// timer and its I/O.
    pub fn new(config: Config, acceptor: A) -> Self {
        let relay = config.relay.clone();
        let relay = relay.map(|bus| Relay::new(bus, config.max_relayed));
        let server = Self(Arc::new(Inner {
            acceptor,
            settings: Arc::new(config.settings),
            traffic: Arc::new(Traffic::new(config.queue)),
            visitors: Visitors::new(config.per_address),
            config,
            sessions: Arc::default(),
            relay,
        }));
        if let Some(relay) = &server.0.relay {
            server.open_relay(relay);
        }
        server
    }

    /// Whether a request belongs to this server: its path is the [configured](Config::path) one, or
    /// that of one of its [files](Config::files).
    pub fn is_for<B>(&self, request: &Request<B>) -> bool {
        match self.target(request.uri().path()) {
            Target::Engine | Target::File(_) => true,
            Target::Unknown | Target::Elsewhere => false,
        }
    }

    /// Answers a request. Never fails: whatever is wrong with it becomes a response.
    ///
    /// WebSocket needs the connection to be served with upgrades, as [`serve`](crate::serve())
    /// does and hyper's `with_upgrades`.
    #[doc(alias("handleRequest", "handleUpgrade"))]
    pub async fn handle<B>(&self, request: Request<B>) -> Response<ResponseBody>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let mut asked = self.asked(request);
        self.answer_asked(&mut asked).await
    }

    /// How many sessions there are.
    #[doc(alias = "clientsCount")]
    pub fn sessions(&self) -> usize {
        self.0.sessions.len()
    }

    /// Numbers for whoever watches over the server. It looks at every session.
    pub fn stats(&self) -> Stats {
        let Traffic {
            dropped,
            dropped_volatile,
            waits,
            slow_clients,
            ..
        } = &*self.0.traffic;
        let (queued_bytes, queued_messages) = self.0.sessions.queued();
        Stats {
            sessions: self.sessions(),
            queued_messages,
            queued_bytes,
            dropped: dropped.load(Relaxed),
            dropped_volatile: dropped_volatile.load(Relaxed),
            waits: waits.load(Relaxed),
            slow_clients: slow_clients.load(Relaxed),
            relayed: self.0.relay.as_ref().map_or(0, |relay| relay.outgoing()),
        }
    }

    /// Closes all sessions and refuses new ones with 503: what is queued still leaves, then the
    /// clients are told, a poll that waits is answered, and the [`Connection`](crate::Connection)s
    /// finish what they have in flight.
    ///
    /// Returns when all that is done, or when `grace` is over. What is still there by then is cut
    /// off: transports are dropped, and with them the connections and what they have in flight. So
    /// nothing of the server runs any more when this returns, unless it blocks its thread.
    ///
    /// If several calls wait at once, the shortest grace holds. If the returned future is dropped,
    /// the server goes on closing, and another call waits for it.
    pub async fn close(&self, grace: Duration) -> Closed {
        let sessions = &self.0.sessions;
        for session in sessions.begin_closing() {
            session.close(CloseReason::ServerShuttingDown);
        }
        if tokio::time::timeout(grace, sessions.emptied())
            .await
            .is_err()
        {
            for session in sessions.cut() {
                // Wakes it.
                session.close(CloseReason::ServerShuttingDown);
            }
            let _ = tokio::time::timeout(CUT_TIME, sessions.emptied()).await;
        }
        if let Some(relay) = &self.0.relay {
            relay.close();
        }
        Closed {
            cut: sessions.were_cut(),
        }
    }

    /// Whether [`close`](Self::close) has been called: new sessions are refused.
    pub fn is_closing(&self) -> bool {
        self.0.sessions.is_closing()
    }

    /// A handle that does not keep the server alive. Each session does.
    pub fn downgrade(&self) -> WeakServer<A> {
        WeakServer(Arc::downgrade(&self.0))
    }

    /// The path of the requests that it answers; see [`Config::path`].
    pub fn path(&self) -> &str {
        &self.0.config.path
    }

    /// What this server makes connections of.
    pub fn acceptor(&self) -> &A {
        &self.0.acceptor
    }

    pub(crate) fn max_packets(&self) -> usize {
        self.0.config.max_packets
    }

    pub(crate) fn table(&self) -> &Arc<Sessions> {
        &self.0.sessions
    }

    pub(crate) fn relay(&self) -> Option<&Arc<Relay>> {
        self.0.relay.as_ref()
    }
}

impl<A: Acceptor> Clone for Server<A> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<A: Acceptor> fmt::Debug for Server<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("config", &self.0.config)
            .field("sessions", &self.sessions())
            .finish_non_exhaustive()
    }
}

/// How [`Server::close`] went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Closed {
    /// How many sessions were still there when the time was over, and were cut off.
    pub cut: usize,
}

impl Closed {
    /// Whether every session came to its end in time.
    pub const fn all_gone(self) -> bool {
        self.cut == 0
    }
}

/// A [`Server`] that is not kept alive; see [`Server::downgrade`]. The default is one that is gone.
pub struct WeakServer<A: Acceptor>(Weak<Inner<A>>);

impl<A: Acceptor> WeakServer<A> {
    /// The server, if anything keeps it alive.
    pub fn upgrade(&self) -> Option<Server<A>> {
        self.0.upgrade().map(Server)
    }
}

impl<A: Acceptor> Clone for WeakServer<A> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<A: Acceptor> Default for WeakServer<A> {
    fn default() -> Self {
        Self(Weak::new())
    }
}

impl<A: Acceptor> fmt::Debug for WeakServer<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WeakServer")
    }
}

/// How long what was cut off has to be dropped. It takes no time unless it blocks its thread.
const CUT_TIME: Duration = Duration::from_secs(1);
