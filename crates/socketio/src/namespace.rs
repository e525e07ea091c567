//! A namespace: its sockets, its rooms, its handlers.

use std::{
    fmt,
    sync::{
        Arc, OnceLock, PoisonError, RwLock,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use engineio::SessionHandle;
use socketio_adapter::Registry;
use socketio_proto::ToArgs;

use crate::{
    BroadcastOperator, ConnectError, EmitError, ErrorReport, Socket, SocketIo,
    broadcast::IntoRooms,
    error::HandlerError,
    handler::{
        self, Connect, Disconnect, Event, Handler, Handlers, IntoReply, IntoResult, Listeners,
        guarded,
    },
    server::{Core, Options, WeakSocketIo},
    snapshot::Watched,
};

/// A namespace: a part of a server with sockets, rooms and handlers of its own. Cheap to clone.
///
/// Made by [`SocketIo::of`]. Handlers are registered here once for all sockets, at any time; those
/// for the same thing are called in the order of registration.
#[derive(Clone)]
pub struct Namespace(Arc<Inner>);

struct Inner {
    name: Box<str>,
    core: Arc<Core>,
    /// Known once the server has been put together. Weak: the server owns its namespaces.
    server: OnceLock<WeakSocketIo>,
    registry: Registry<Member>,
    handlers: Watched<Handlers>,
    /// How many of the handlers listen to what is sent.
    outgoing: AtomicUsize,
    /// How many such listeners the sockets have of their own.
    outgoing_of_sockets: AtomicUsize,
    on_error: ErrorHook,
    ack_ids: AtomicU64,
}

/// A connected socket, as rooms hold it. The session stands beside it so that a broadcast does not
/// have to look into each socket for it.
#[derive(Clone)]
pub(crate) struct Member {
    pub(crate) session: SessionHandle,
    pub(crate) socket: Socket,
}

impl Member {
    pub(crate) fn new(socket: &Socket) -> Self {
        Self {
            session: socket.conn().clone(),
            socket: socket.clone(),
        }
    }
}

impl Namespace {
    pub(crate) fn new(name: &str, core: Arc<Core>) -> Self {
        Self(Arc::new(Inner {
            name: name.into(),
            core,
            server: OnceLock::new(),
            registry: Registry::new(),
            handlers: Watched::default(),
            outgoing: AtomicUsize::new(0),
            outgoing_of_sockets: AtomicUsize::new(0),
            on_error: ErrorHook::default(),
            ack_ids: AtomicU64::new(0),
        }))
    }

    /// The name, which starts with a slash.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// How many sockets are connected.
    pub fn len(&self) -> usize {
        self.0.registry.len()
    }

    /// Whether no socket is connected.
    pub fn is_empty(&self) -> bool {
        self.0.registry.is_empty()
    }

    /// The connected socket with this id.
    pub fn socket(&self, id: &str) -> Option<Socket> {
        self.0.registry.get(id).map(|member| member.socket)
    }

    /// Adds a function that every client has to pass before it is connected, in the order of
    /// registration. The first error refuses the client, which may try again on the same
    /// connection; so does a parameter that cannot be had, and a panic.
    ///
    /// The socket is not connected yet: it is in no room and gets no broadcast.
    ///
    /// ```
    /// use socketio::{ConnectError, Socket, SocketIo, handler::Auth};
    ///
    /// #[derive(serde::Deserialize)]
    /// struct Credentials { token: String }
    ///
    /// let io = SocketIo::new();
    /// io.middleware(async |socket: Socket, Auth(credentials): Auth<Credentials>| {
    ///     if credentials.token != "secret" {
    ///         return Err(ConnectError::new("not authorized"));
    ///     }
    ///     socket.join("staff");
    ///     Ok(())
    /// });
    /// ```
    pub fn middleware<H, T, E>(&self, middleware: H) -> &Self
    where
        H: Handler<Connect, T, Output = Result<(), E>>,
        E: Into<ConnectError>,
    {
        let middleware = handler::erase_middleware(middleware);
        self.0
            .handlers
            .update(|handlers| handlers.middlewares.push(middleware));
        self
    }

    /// Adds a handler that is called for every socket when it has been connected.
    ///
    /// Events that the client sends meanwhile wait until all these handlers are done, so that none
    /// is lost for a handler that is added here. Start what runs for as long as the socket as a
    /// task of its own.
    pub fn on_connection<H, T>(&self, handler: H) -> &Self
    where
        H: Handler<Connect, T, Output: IntoResult>,
    {
        let handler = handler::erase(handler);
        self.0
            .handlers
            .update(|handlers| handlers.connect.push(handler));
        self
    }

    /// Adds a handler for an event.
    ///
    /// ```
    /// use socketio::{Socket, SocketIo, handler::Data};
    ///
    /// let io = SocketIo::new();
    /// io.on("chat message", async |socket: Socket, Data(text): Data<String>| {
    ///     socket.broadcast().emit("chat message", &text)
    /// });
    /// io.on("add", async |Data((a, b)): Data<(i64, i64)>| a + b);
    /// ```
    ///
    /// # Panics
    ///
    /// If the name is reserved: no client can send it.
    pub fn on<H, T>(&self, event: &str, handler: H) -> &Self
    where
        H: Handler<Event, T, Output: IntoReply>,
    {
        self.add_handler(event, handler);
        self
    }

    /// Adds a handler that is called for every socket after it has been disconnected, with a
    /// [`DisconnectReason`](crate::DisconnectReason) if it wants one. By then all events that came
    /// before have been given to their handlers.
    pub fn on_disconnect<H, T>(&self, handler: H) -> &Self
    where
        H: Handler<Disconnect, T, Output: IntoResult>,
    {
        let handler = handler::erase(handler);
        self.change_listeners(|listeners| listeners.disconnect.push(handler));
        self
    }

    /// Sets the function that is told what goes wrong in this namespace, in place of the
    /// [server's](SocketIo::on_error).
    pub fn on_error(&self, hook: impl Fn(&ErrorReport<'_>) + Send + Sync + 'static) -> &Self {
        self.0.on_error.set(hook);
        self
    }

    /// Sends an event to all sockets. A tuple stands for several arguments, `()` for none.
    ///
    /// # Errors
    ///
    /// If the name is reserved or the arguments cannot be JSON.
    pub fn emit<A: ToArgs + ?Sized>(&self, event: &str, args: &A) -> Result<(), EmitError> {
        self.everybody().emit(event, args)
    }

    /// Everybody in these rooms.
    pub fn to(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        self.everybody().to(rooms)
    }

    /// The same as [`to`](Self::to).
    pub fn in_(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        self.to(rooms)
    }

    /// Everybody but whoever is in these rooms.
    pub fn except(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        self.everybody().except(rooms)
    }

    /// Events that may be lost: they go to those whose connection can take them right now.
    pub fn volatile(&self) -> BroadcastOperator {
        self.everybody().volatile()
    }

    fn everybody(&self) -> BroadcastOperator {
        BroadcastOperator::new(self.clone())
    }

    /// The server, unless it has been dropped.
    pub(crate) fn server(&self) -> Option<SocketIo> {
        self.0.server.get()?.upgrade()
    }

    pub(crate) fn set_server(&self, server: WeakSocketIo) {
        let _ = self.0.server.set(server);
    }

    pub(crate) fn state<T: Send + Sync + 'static>(&self) -> Option<&T> {
        self.0.core.state.get()
    }

    pub(crate) fn options(&self) -> &Options {
        &self.0.core.options
    }

    pub(crate) fn registry(&self) -> &Registry<Member> {
        &self.0.registry
    }

    pub(crate) fn handlers(&self) -> &Watched<Handlers> {
        &self.0.handlers
    }

    pub(crate) fn change_listeners<R>(&self, change: impl FnOnce(&mut Listeners) -> R) -> R {
        let handlers = &self.0.handlers;
        let result = handlers.update(|handlers| change(&mut handlers.listeners));
        self.handlers_changed();
        result
    }

    /// Whoever has changed the handlers calls this afterwards.
    pub(crate) fn handlers_changed(&self) {
        // Under the lock, so that what the last change made of it stays.
        self.0.handlers.look(|handlers| {
            let count = handlers.listeners.outgoing.len();
            self.0.outgoing.store(count, Ordering::Relaxed);
        });
    }

    /// The listeners of a socket have become more, or less.
    pub(crate) fn count_outgoing(&self, before: usize, after: usize) {
        let change = after.wrapping_sub(before);
        let count = &self.0.outgoing_of_sockets;
        count.fetch_add(change, Ordering::Relaxed);
    }

    /// Whether anybody listens to what is sent to any of the sockets.
    pub(crate) fn has_outgoing_listeners(&self) -> bool {
        let counts = [&self.0.outgoing, &self.0.outgoing_of_sockets];
        counts.iter().any(|it| it.load(Ordering::Relaxed) > 0)
    }

    /// One counter for all sockets: a broadcast asks all its recipients under the same id.
    pub(crate) fn next_ack_id(&self) -> u64 {
        self.0.ack_ids.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn report(&self, report: &ErrorReport<'_>) {
        if !self.0.on_error.call(report) {
            self.0.core.report(report);
        }
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Namespace")
            .field("name", &self.name())
            .field("sockets", &self.len())
            .finish_non_exhaustive()
    }
}

/// A function of the application that is told what goes wrong.
#[derive(Default)]
pub(crate) struct ErrorHook(RwLock<Option<Hook>>);

type Hook = Arc<dyn Fn(&ErrorReport<'_>) + Send + Sync>;

impl ErrorHook {
    pub(crate) fn set(&self, hook: impl Fn(&ErrorReport<'_>) + Send + Sync + 'static) {
        let mut current = self.0.write().unwrap_or_else(PoisonError::into_inner);
        *current = Some(Arc::new(hook));
    }

    /// `false` if there is no hook.
    pub(crate) fn call(&self, report: &ErrorReport<'_>) -> bool {
        // Not under the lock: the hook may do anything.
        let hook = self
            .0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let Some(hook) = hook else {
            return false;
        };
        if guarded(|| hook(report)).is_err() {
            tracing::error!("the error hook panicked");
        }
        true
    }
}

/// Errors that nobody asked to be told of. What a peer can cause must not fill a log.
pub(crate) fn log(report: &ErrorReport<'_>) {
    match report.error {
        HandlerError::Decode(_) | HandlerError::Extract(_) | HandlerError::Refused(_) => {
            tracing::debug!(%report, "handler");
        }
        HandlerError::Panicked(_) => tracing::error!(%report, "handler"),
        _ => tracing::warn!(%report, "handler"),
    }
}
