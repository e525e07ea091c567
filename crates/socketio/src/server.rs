//! The server: namespaces, options, and how it is mounted.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError, RwLock, Weak},
    time::Duration,
};

use engineio::{Acceptor, Config, Server, SessionHandle};
use socketio_proto::{Limits, ToArgs};

use crate::{
    BroadcastOperator, ConnectError, EmitError, ErrorReport, Namespace,
    broadcast::IntoRooms,
    client::Client,
    handler::{Connect, Disconnect, Event, Handler, IntoReply, IntoResult, guarded},
    namespace::{ErrorHook, log},
};

/// A Socket.IO server. Cheap to clone.
///
/// Whatever has no namespace in its name (`on`, `emit`, `to`, …) is about the namespace `/`.
///
/// See the [crate's front page](crate) for a whole program.
#[derive(Clone)]
pub struct SocketIo(Arc<Inner>);

struct Inner {
    core: Arc<Core>,
    main: Namespace,
    namespaces: RwLock<HashMap<Box<str>, Namespace>>,
    config: Config,
    /// Made when first asked for. The service and the server keep each other alive until
    /// [`SocketIo::close`].
    service: Mutex<Option<Server<SocketIo>>>,
}

/// What namespaces know of their server.
pub(crate) struct Core {
    pub(crate) options: Options,
    pub(crate) state: http::Extensions,
    on_error: ErrorHook,
}

impl Core {
    pub(crate) fn report(&self, report: &ErrorReport<'_>) {
        // Writing the report out may call the application's `Display`.
        if !self.on_error.call(report) && guarded(|| log(report)).is_err() {
            tracing::error!("an error cannot be written out");
        }
    }
}

/// Limits; see the methods of [`Builder`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(crate) connect_timeout: Duration,
    pub(crate) limits: Limits,
    pub(crate) max_in_flight: usize,
    pub(crate) max_waiting: usize,
    pub(crate) max_waiting_bytes: usize,
    pub(crate) max_pending_acks: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(45),
            limits: Limits::default(),
            max_in_flight: 64,
            max_waiting: 256,
            max_waiting_bytes: 1_000_000,
            max_pending_acks: 1024,
        }
    }
}

pub(crate) struct WeakSocketIo(Weak<Inner>);

impl WeakSocketIo {
    pub(crate) fn upgrade(&self) -> Option<SocketIo> {
        self.0.upgrade().map(SocketIo)
    }
}

impl SocketIo {
    /// A server with default options.
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Options for a server.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// The namespace with this name, made if there is none. A slash is put before the name where
    /// it is missing.
    ///
    /// Clients can join exactly the namespaces that have been made.
    pub fn of(&self, name: &str) -> Namespace {
        let name = match name.strip_prefix('/') {
            Some(_) => name.to_owned(),
            None => format!("/{name}"),
        };
        let mut namespaces = self.0.namespaces.write();
        let namespaces = namespaces.as_mut().unwrap_or_else(|it| it.get_mut());
        if let Some(namespace) = namespaces.get(&*name) {
            return namespace.clone();
        }
        let namespace = Namespace::new(&name, self.0.core.clone());
        namespace.set_server(self.downgrade());
        namespaces.insert(name.into(), namespace.clone());
        namespace
    }

    /// See [`Namespace::middleware`].
    pub fn middleware<H, T, E>(&self, middleware: H) -> &Self
    where
        H: Handler<Connect, T, Output = Result<(), E>>,
        E: Into<ConnectError>,
    {
        self.0.main.middleware(middleware);
        self
    }

    /// See [`Namespace::on_connection`].
    pub fn on_connection<H, T>(&self, handler: H) -> &Self
    where
        H: Handler<Connect, T, Output: IntoResult>,
    {
        self.0.main.on_connection(handler);
        self
    }

    /// See [`Namespace::on`].
    ///
    /// # Panics
    ///
    /// If the name is reserved: no client can send it.
    pub fn on<H, T>(&self, event: &str, handler: H) -> &Self
    where
        H: Handler<Event, T, Output: IntoReply>,
    {
        self.0.main.on(event, handler);
        self
    }

    /// See [`Namespace::on_disconnect`].
    pub fn on_disconnect<H, T>(&self, handler: H) -> &Self
    where
        H: Handler<Disconnect, T, Output: IntoResult>,
    {
        self.0.main.on_disconnect(handler);
        self
    }

    /// Sets the function that is told what goes wrong, in all namespaces that have [none of their
    /// own](Namespace::on_error): packets that cannot be decoded, parameters that cannot be had,
    /// errors that handlers return, panics. Without one they are logged.
    ///
    /// ```
    /// let io = socketio::SocketIo::new();
    /// io.on_error(|report| eprintln!("{:?}: {report}", report.socket()));
    /// ```
    pub fn on_error(&self, hook: impl Fn(&ErrorReport<'_>) + Send + Sync + 'static) -> &Self {
        self.0.core.on_error.set(hook);
        self
    }

    /// See [`Namespace::emit`].
    ///
    /// # Errors
    ///
    /// If the name is reserved or the arguments cannot be JSON.
    pub fn emit<A: ToArgs + ?Sized>(&self, event: &str, args: &A) -> Result<(), EmitError> {
        self.0.main.emit(event, args)
    }

    /// See [`Namespace::to`].
    pub fn to(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        self.0.main.to(rooms)
    }

    /// The same as [`to`](Self::to).
    pub fn in_(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        self.to(rooms)
    }

    /// See [`Namespace::except`].
    pub fn except(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        self.0.main.except(rooms)
    }

    /// See [`Namespace::volatile`].
    pub fn volatile(&self) -> BroadcastOperator {
        self.0.main.volatile()
    }

    /// The service that answers HTTP requests: a hyper 1 service and a tower service, and by its
    /// [`layer`](Server::layer) a tower layer. Every call gives the same one.
    ///
    /// Its path is `/socket.io/` unless [`Builder::engine`] says otherwise. The service keeps the
    /// server alive, and the server the service, until [`close`](Self::close).
    pub fn service(&self) -> Server<SocketIo> {
        let mut service = self
            .0
            .service
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        service
            .get_or_insert_with(|| Server::new(self.0.config.clone(), self.clone()))
            .clone()
    }

    /// Closes all connections and takes no new ones; sockets are told
    /// [`ServerShuttingDown`](crate::DisconnectReason::ServerShuttingDown). What was sent still
    /// leaves. Returns when all connections are gone, or after ten seconds.
    ///
    /// Afterwards [`service`](Self::service) gives a new service.
    pub async fn close(&self) {
        let service = self.0.service.lock().map(|mut it| it.take());
        let service = service.unwrap_or_else(|it| it.into_inner().take());
        if let Some(service) = service {
            service.close(CLOSE_TIME).await;
        }
    }

    /// The namespace with this name, if it has been made.
    pub(crate) fn namespace(&self, name: &str) -> Option<Namespace> {
        if name == "/" {
            return Some(self.0.main.clone());
        }
        let namespaces = self.0.namespaces.read();
        let namespaces = namespaces.unwrap_or_else(PoisonError::into_inner);
        namespaces.get(name).cloned()
    }

    pub(crate) fn main(&self) -> &Namespace {
        &self.0.main
    }

    pub(crate) fn options(&self) -> &Options {
        &self.0.core.options
    }

    /// Something went wrong before the client had joined any namespace.
    pub(crate) fn report(&self, report: &ErrorReport<'_>) {
        self.0.core.report(report);
    }

    fn downgrade(&self) -> WeakSocketIo {
        WeakSocketIo(Arc::downgrade(&self.0))
    }
}

impl Default for SocketIo {
    fn default() -> Self {
        Self::new()
    }
}

impl Acceptor for SocketIo {
    type Connection = Client;

    fn accept(&self, session: SessionHandle, handshake: Arc<engineio::Handshake>) -> Client {
        Client::new(self.clone(), session, handshake)
    }
}

impl fmt::Debug for SocketIo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketIo")
            .field("main", &self.0.main)
            .field("options", &self.0.core.options)
            .finish_non_exhaustive()
    }
}

/// Options for a [`SocketIo`].
///
/// ```
/// use std::time::Duration;
/// use socketio::SocketIo;
///
/// let io = SocketIo::builder()
///     .state(String::from("what every handler can have"))
///     .connect_timeout(Duration::from_secs(10))
///     .engine(|config| config.ping_interval(Duration::from_secs(10)))
///     .build();
/// ```
#[must_use]
pub struct Builder {
    options: Options,
    state: http::Extensions,
    engine: Config,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            options: Options::default(),
            state: http::Extensions::new(),
            engine: Config::default().path(PATH),
        }
    }
}

impl Builder {
    /// Adds a value that handlers can have as [`State<T>`](crate::handler::State), one of each
    /// type. Default: none.
    pub fn state<T: Clone + Send + Sync + 'static>(mut self, state: T) -> Self {
        self.state.insert(state);
        self
    }

    /// How long a connection may take to join its first namespace before it is closed. Default:
    /// 45 s.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.options.connect_timeout = timeout;
        self
    }

    /// The most binary attachments of one event. A client that sends more is disconnected.
    /// Default: 10.
    pub fn max_attachments(mut self, count: usize) -> Self {
        self.options.limits.max_attachments = count;
        self
    }

    /// The most bytes in all attachments of one event. A client that sends more is disconnected.
    /// Default: 10,000,000.
    pub fn max_attachment_bytes(mut self, bytes: usize) -> Self {
        self.options.limits.max_attachment_bytes = bytes;
        self
    }

    /// How many handlers of events of one connection may be waiting for something before further
    /// events wait for them. At 1 a connection's events are handled strictly one after the other.
    /// Default: 64.
    ///
    /// Handlers start in the order in which the events came, at any number.
    pub fn max_in_flight(mut self, handlers: usize) -> Self {
        self.options.max_in_flight = handlers;
        self
    }

    /// How many events of one connection may wait for their handlers to start, and how many bytes
    /// of arguments they may have together. Beyond either, nothing more is read from the client.
    /// Default: 256 and 1,000,000.
    ///
    /// Acknowledgements do not wait with events, but for what is not read they wait too: a handler
    /// that waits for an acknowledgement should do so with a
    /// [timeout](crate::AckFuture::timeout).
    pub fn max_waiting(mut self, events: usize, bytes: usize) -> Self {
        self.options.max_waiting = events.max(1);
        self.options.max_waiting_bytes = bytes.max(1);
        self
    }

    /// How many acknowledgements one socket may owe; see
    /// [`AckError::TooManyPending`](crate::AckError::TooManyPending). Default: 1024.
    pub fn max_pending_acks(mut self, count: usize) -> Self {
        self.options.max_pending_acks = count;
        self
    }

    /// Options of the engine below: path, transports, heartbeat, sizes, CORS, cookies. The path is
    /// `/socket.io/` to begin with, where clients look if they are not told otherwise.
    pub fn engine(mut self, change: impl FnOnce(Config) -> Config) -> Self {
        self.engine = change(self.engine);
        self
    }

    /// The server.
    pub fn build(self) -> SocketIo {
        let core = Arc::new(Core {
            options: self.options,
            state: self.state,
            on_error: ErrorHook::default(),
        });
        let main = Namespace::new("/", core.clone());
        let io = SocketIo(Arc::new(Inner {
            main: main.clone(),
            namespaces: RwLock::new([("/".into(), main.clone())].into()),
            core,
            config: self.engine,
            service: Mutex::new(None),
        }));
        main.set_server(io.downgrade());
        io
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// Where clients look if they are not told otherwise.
const PATH: &str = "/socket.io/";

/// How long [`SocketIo::close`] waits.
const CLOSE_TIME: Duration = Duration::from_secs(10);
