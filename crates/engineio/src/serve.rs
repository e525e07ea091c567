//! An accept loop, for applications that do not bring one.

use std::{
    convert::Infallible,
    error::Error,
    future::{Future, IntoFuture, pending, poll_fn},
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::ready,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, header};
use http_body::Body;
use hyper::{body::Incoming, server::conn::http1, service::Service};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{AcquireError, OwnedSemaphorePermit, Semaphore, watch},
};

use crate::{
    Peer,
    http::{head_timer::HeadTimer, spare},
    transport::wire::{Hold, Wire},
};

/// Serves a hyper service on a listener: HTTP/1.1 with upgrades, each connection on a task of its
/// own, each request with its [`Peer`] among its extensions.
///
/// ```no_run
/// use std::time::Duration;
/// use engineio::{Config, Server};
/// # struct Echo;
/// # struct EchoConnection(engineio::SessionHandle);
/// # impl engineio::Connection for EchoConnection {
/// #     fn on_message(&mut self, data: engineio::Data, _: &mut std::task::Context<'_>) { self.0.send(data) }
/// # }
/// # impl engineio::Acceptor for Echo {
/// #     type Connection = EchoConnection;
/// #     fn accept(&self, session: engineio::SessionHandle, _: std::sync::Arc<engineio::Handshake>) -> EchoConnection {
/// #         EchoConnection(session)
/// #     }
/// # }
/// # async fn run() -> std::io::Result<()> {
/// let server = Server::new(Config::default(), Echo);
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
/// engineio::serve(listener, server.clone())
///     .with_graceful_shutdown(async move {
///         let _ = tokio::signal::ctrl_c().await;
///         server.close(Duration::from_secs(10)).await;
///     })
///     .await
/// # }
/// ```
pub fn serve<S>(listener: TcpListener, service: S) -> Serve<S> {
    Serve {
        listener,
        service,
        shutdown: Box::pin(pending()),
        header_timeout: HEADER_TIME,
        write_timeout: WRITE_TIME,
        max_header_bytes: MAX_HEAD,
        max_connections: MAX_CONNECTIONS,
    }
}

/// The future of [`serve`]; it runs when awaited.
#[must_use = "nothing is served until this is awaited"]
pub struct Serve<S> {
    listener: TcpListener,
    service: S,
    shutdown: Pin<Box<dyn Future<Output = ()> + Send>>,
    header_timeout: Duration,
    write_timeout: Duration,
    max_header_bytes: usize,
    max_connections: usize,
}

impl<S> Serve<S> {
    /// Stops accepting when the signal completes, lets the requests in progress end, for three
    /// seconds at most, and returns.
    ///
    /// Sessions are not HTTP requests: close them with [`Server::close`](crate::Server::close)
    /// inside the signal, which also answers the polls that wait. Until the signal completes
    /// clients can fetch what is left for them, and new ones hear that the server is shutting down.
    pub fn with_graceful_shutdown<F>(mut self, signal: F) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.shutdown = Box::pin(signal);
        self
    }

    /// How long a client may take for the head of a request, and how long a connection may be idle
    /// between two. Beyond that the connection is closed. Default: 30 s.
    pub fn header_timeout(mut self, timeout: Duration) -> Self {
        self.header_timeout = timeout;
        self
    }

    /// How long a client may take so little of an answer that none of the rest fits into the buffers of
    /// the operating system. Beyond that the connection is closed. Default: 60 s. A WebSocket has its heartbeat and
    /// [`max_queued`](crate::Config::max_queued).
    pub fn write_timeout(mut self, timeout: Duration) -> Self {
        self.write_timeout = timeout;
        self
    }

    /// The largest head of a request; a larger one gets 431. Default, and at least: 64 KiB and 8 KiB.
    pub fn max_header_bytes(mut self, bytes: usize) -> Self {
        self.max_header_bytes = bytes.max(8 * 1024);
        self
    }

    /// How many connections may speak HTTP at the same time. Beyond that, others wait to be
    /// accepted until one is closed, or has become a WebSocket: those count as
    /// [sessions](crate::Config::max_sessions). Default: 100,000.
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.max_connections = connections.clamp(1, Semaphore::MAX_PERMITS);
        self
    }
}

impl<S> std::fmt::Debug for Serve<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Serve")
            .field("listener", &self.listener)
            .finish_non_exhaustive()
    }
}

impl<S, R> IntoFuture for Serve<S>
where
    S: Service<Request<Incoming>, Response = Response<R>, Error = Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send + 'static,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Output = io::Result<()>;
    type IntoFuture = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(run(self))
    }
}

async fn run<S, R>(serve: Serve<S>) -> io::Result<()>
where
    S: Service<Request<Incoming>, Response = Response<R>, Error = Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send + 'static,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let places = Arc::new(Semaphore::new(serve.max_connections));
    // Each connection holds a receiver: it hears of the shutdown, and dropping it says goodbye.
    let (draining, drain) = watch::channel(false);
    let mut shutdown = pin!(serve.shutdown);
    loop {
        let accept = async {
            let place = places.clone().acquire_owned().await;
            (serve.listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            accepted = accept => accepted,
            () = &mut shutdown => break,
        };
        let (stream, addr) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, or a client that has gone already. Others may come.
                tracing::warn!(%error, "accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        prepare(&stream);
        let service = WithPeer {
            inner: serve.service.clone(),
            peer: Peer::new(addr),
            hold: Hold::default(),
        };
        let limits = Limits {
            header_timeout: serve.header_timeout,
            write_timeout: serve.write_timeout,
            max_header_bytes: serve.max_header_bytes,
        };
        tokio::spawn(serve_connection(
            stream,
            service,
            limits,
            drain.clone(),
            place,
        ));
    }
    drop(serve.listener);
    drop(drain);
    draining.send_replace(true);
    let _ = tokio::time::timeout(DRAIN_TIME, draining.closed()).await;
    Ok(())
}

/// Of one connection.
#[derive(Clone, Copy)]
struct Limits {
    header_timeout: Duration,
    write_timeout: Duration,
    max_header_bytes: usize,
}

/// Serves a connection to its end; once there is a shutdown, the request in progress is the last. All of
/// hyper's state is made inside, since a future holds twice what it is given.
async fn serve_connection<S, R>(
    stream: TcpStream,
    service: WithPeer<S>,
    limits: Limits,
    mut drain: watch::Receiver<bool>,
    _place: Result<OwnedSemaphorePermit, AcquireError>,
) where
    S: Service<Request<Incoming>, Response = Response<R>, Error = Infallible>,
    S::Future: Send + 'static,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let stream = Wire::new(stream, service.hold.clone(), limits.write_timeout);
    let connection = http1::Builder::new()
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(limits.max_header_bytes)
        .timer(HeadTimer::default())
        .serve_connection(stream, service);
    let mut connection = pin!(connection.with_upgrades());
    let drained = drain.clone();
    let mut draining = pin!(drain.changed());
    let (mut waits, mut ends) = (false, false);
    let result = poll_fn(|cx| {
        loop {
            let result = connection.as_mut().poll(cx);
            // Asked once it wakes this task, whose waker stays the same. To ask it each time would take
            // a lock that all connections share.
            let nothing_new = waits && matches!(drained.has_changed(), Ok(false));
            if result.is_ready() || ends || nothing_new {
                return result;
            }
            waits = true;
            let _ = ready!(draining.as_mut().poll(cx));
            ends = true;
            connection.as_mut().graceful_shutdown();
        }
    });
    if let Err(error) = result.await {
        tracing::debug!(%error, "connection");
    }
}

/// Small packets must not wait for each other.
fn prepare(stream: &TcpStream) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY");
    }
}

#[derive(Clone)]
struct WithPeer<S> {
    inner: S,
    peer: Peer,
    hold: Hold,
}

impl<S: Service<Request<Incoming>>> Service<Request<Incoming>> for WithPeer<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        // Most requests have nothing among their extensions, but for those that may be upgraded.
        if request.extensions().is_empty() {
            *request.extensions_mut() = spare::extensions(self.peer);
            return self.inner.call(request);
        }
        // With a body on its way, hyper does not let the connection go.
        let may_hold =
            request.headers().contains_key(header::UPGRADE) && request.body().is_end_stream();
        let extensions = request.extensions_mut();
        extensions.insert(self.peer);
        if may_hold {
            extensions.insert(self.hold.clone());
        }
        self.inner.call(request)
    }
}

/// How long a client may take for the head of a request, unless something else is said.
const HEADER_TIME: Duration = Duration::from_secs(30);

/// How long a client may take nothing of an answer, unless something else is said.
const WRITE_TIME: Duration = Duration::from_secs(60);

/// The largest head of a request, unless something else is said.
const MAX_HEAD: usize = 64 * 1024;

/// How many connections speak HTTP, unless something else is said.
const MAX_CONNECTIONS: usize = 100_000;

/// How long accepting rests after an error.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long requests in progress have after the shutdown signal.
const DRAIN_TIME: Duration = Duration::from_secs(3);
