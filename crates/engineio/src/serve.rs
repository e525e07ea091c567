//! An accept loop, for applications that do not bring one.

use std::{
    convert::Infallible,
    error::Error,
    future::{Future, IntoFuture, pending, poll_fn},
    io,
    pin::{Pin, pin},
    task::ready,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, header};
use http_body::Body;
use hyper::{body::Incoming, server::conn::http1, service::Service};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
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
    }
}

/// The future of [`serve`]; it runs when awaited.
#[must_use = "nothing is served until this is awaited"]
pub struct Serve<S> {
    listener: TcpListener,
    service: S,
    shutdown: Pin<Box<dyn Future<Output = ()> + Send>>,
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
    // Each connection holds a receiver: it hears of the shutdown, and dropping it says goodbye.
    let (draining, drain) = watch::channel(false);
    let mut shutdown = pin!(serve.shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = serve.listener.accept() => accepted,
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
        tokio::spawn(serve_connection(stream, service, drain.clone()));
    }
    drop(serve.listener);
    drop(drain);
    draining.send_replace(true);
    let _ = tokio::time::timeout(DRAIN_TIME, draining.closed()).await;
    Ok(())
}

/// Serves a connection to its end; once there is a shutdown, the request in progress is the last. All of
/// hyper's state is made inside, since a future holds twice what it is given.
async fn serve_connection<S, R>(
    stream: TcpStream,
    service: WithPeer<S>,
    mut drain: watch::Receiver<bool>,
) where
    S: Service<Request<Incoming>, Response = Response<R>, Error = Infallible>,
    S::Future: Send + 'static,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let stream = Wire::new(stream, service.hold.clone());
    let connection = http1::Builder::new()
        .header_read_timeout(HEADER_TIME)
        .max_buf_size(MAX_HEAD)
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

/// How long a client may take for the head of a request.
const HEADER_TIME: Duration = Duration::from_secs(30);

/// The largest head of a request.
const MAX_HEAD: usize = 64 * 1024;

/// How long accepting rests after an error.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long requests in progress have after the shutdown signal.
const DRAIN_TIME: Duration = Duration::from_secs(3);
