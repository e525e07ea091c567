//! A namespace: its sockets, its rooms, its handlers.

use std::{
    fmt,
    sync::{
        Arc, OnceLock, PoisonError, RwLock, RwLockWriteGuard, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use engineio::{Overflow, SessionHandle};
use serde::de::DeserializeOwned;
use socketio_adapter::{Cluster, Local, Registry, RoomEvent};
use socketio_proto::{Codec, ToArgs};
use tokio::sync::SetOnce;

use crate::{
    BroadcastAcks, BroadcastOperator, ConnectError, EmitError, ErrorReport, FetchError,
    ParentNamespace, RemoteSocket, Room, Socket, SocketIo,
    broadcast::IntoRooms,
    builder::Options,
    delivery::LocalNamespace,
    dynamic::Params,
    error::{BoxError, HandlerError},
    handler::{
        self, Connect, Disconnect, Event, Handler, Handlers, IntoReply, IntoResult, Listeners,
        guarded,
    },
    recovery::Recovery,
    room_events::RoomEvents,
    server::{Core, WeakSocketIo},
    server_side::ServerSide,
    snapshot::Watched,
};

/// A namespace: a part of a server with sockets, rooms and handlers of its own. Cheap to clone.
///
/// Made by [`SocketIo::of`], or by a [`ParentNamespace`] when a client asks for it. Handlers are
/// registered here once for all sockets, at any time; those for the same thing are called in the
/// order of registration.
#[derive(Clone)]
pub struct Namespace(Arc<Inner>);

struct Inner {
    name: Box<str>,
    core: Arc<Core>,
    /// Known once the server has been put together. Weak: the server owns its namespaces.
    server: OnceLock<WeakSocketIo>,
    /// If it is dynamic.
    child: Option<Box<Child>>,
    /// Set when whoever wants to know of new namespaces has heard of it.
    announced: SetOnce<()>,
    registry: Registry<Member>,
    /// If somebody wants to know.
    room_events: OnceLock<Arc<RoomEvents>>,
    handlers: Watched<Handlers>,
    /// How many of the handlers listen to what is sent.
    outgoing: AtomicUsize,
    /// How many such listeners the sockets have of their own.
    outgoing_of_sockets: AtomicUsize,
    on_error: ErrorHook,
    ack_ids: AtomicU64,
    server_side: Watched<ServerSide>,
    recovery: Option<Arc<Recovery>>,
    /// This namespace among other servers, if the server has an adapter.
    cluster: RwLock<Option<Membership>>,
}

/// This namespace as one of a cluster's.
struct Membership {
    cluster: Cluster,
    /// What other servers reach, as long as this is there.
    _local: Arc<dyn Local>,
}

pub(crate) struct WeakNamespace(Weak<Inner>);

impl WeakNamespace {
    pub(crate) fn upgrade(&self) -> Option<Namespace> {
        self.0.upgrade().map(Namespace)
    }
}

/// What a namespace has that came from a parent.
struct Child {
    parent: ParentNamespace,
    params: Params,
    /// How many clients are in it or about to join.
    seats: AtomicUsize,
    /// Whether the server keeps it among those that nobody is in.
    vacant: AtomicBool,
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
        Self::with(name, core, None, Watched::default())
    }

    /// A namespace that begins with the handlers of its parent.
    pub(crate) fn new_child(
        name: &str,
        core: Arc<Core>,
        parent: &ParentNamespace,
        params: Params,
    ) -> Self {
        let child = Child {
            parent: parent.clone(),
            params,
            seats: AtomicUsize::new(0),
            vacant: AtomicBool::new(false),
        };
        let handlers = Watched::new(parent.handlers());
        Self::with(name, core, Some(Box::new(child)), handlers)
    }

    fn with(
        name: &str,
        core: Arc<Core>,
        child: Option<Box<Child>>,
        handlers: Watched<Handlers>,
    ) -> Self {
        let recovery = core.recovery.clone().map(Recovery::new).map(Arc::new);
        let namespace = Self(Arc::new(Inner {
            name: name.into(),
            core,
            recovery,
            server: OnceLock::new(),
            child,
            announced: SetOnce::new(),
            registry: Registry::new(),
            room_events: OnceLock::new(),
            outgoing: AtomicUsize::new(handlers.look(|it| it.listeners.outgoing.len())),
            outgoing_of_sockets: AtomicUsize::new(0),
            handlers,
            on_error: ErrorHook::default(),
            ack_ids: AtomicU64::new(0),
            server_side: Watched::default(),
            cluster: RwLock::default(),
        }));
        namespace.open_cluster();
        namespace
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

    /// Whether it came from a [parent](SocketIo::of_dynamic).
    pub fn is_dynamic(&self) -> bool {
        self.0.child.is_some()
    }

    /// The parent that it came from, if it is dynamic.
    pub fn parent(&self) -> Option<&ParentNamespace> {
        self.0.child.as_ref().map(|child| &child.parent)
    }

    /// What a variable part of the name is, if the parent's
    /// [matcher](crate::NamespaceMatcher) gives it this name. Handlers can have all of them as
    /// [`Params<T>`](crate::handler::Params).
    pub fn param(&self, name: &str) -> Option<&str> {
        let mut params = self.params().iter();
        params
            .find(|(it, _)| **it == *name)
            .map(|(_, value)| &**value)
    }

    /// The connected socket with this id.
    pub fn socket(&self, id: &str) -> Option<Socket> {
        self.0.registry.get(id).map(|member| member.socket)
    }

    /// Adds a function that every client has to pass before it is connected, in the order of
    /// registration. The first error refuses the client, which may try again on the same
    /// connection; so does a parameter that cannot be had, and a panic.
    ///
    /// The socket is not connected yet: it is in no room and gets no broadcast. If the connection
    /// closes meanwhile, a middleware that waits runs on, but is dropped after the
    /// [`connect_timeout`](crate::Builder::connect_timeout), which counts from the opening of the
    /// connection if the client has joined nothing.
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
    #[doc(alias = "use")]
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

    /// Adds a function that is told what happens to rooms: the official adapter's events
    /// `create-room`, `join-room`, `leave-room` and `delete-room`. It is called after the fact, in
    /// the order in which things happened, and must not block. It may use the socket.
    ///
    /// ```
    /// use socketio::{RoomEvent, SocketIo};
    ///
    /// let io = SocketIo::new();
    /// io.of("/").on_room_event(|event| {
    ///     if let RoomEvent::Joined { room, id } = event {
    ///         println!("{id} has joined {room}");
    ///     }
    /// });
    /// ```
    pub fn on_room_event(&self, hook: impl Fn(&RoomEvent) + Send + Sync + 'static) -> &Self {
        let events = self.0.room_events.get_or_init(|| {
            let events = Arc::new(RoomEvents::default());
            let queue = events.clone();
            self.0
                .registry
                .observe(move |event| queue.push(event.clone()));
            events
        });
        events.add(hook);
        self
    }

    /// Tells the hooks what has happened to rooms. To be called without any lock.
    pub(crate) fn tell_room_events(&self) {
        if let Some(events) = self.0.room_events.get() {
            events.tell();
        }
    }

    /// The names of the rooms that somebody is in, without those that sockets have of their own.
    pub fn rooms(&self) -> Vec<Room> {
        self.0.registry.rooms()
    }

    /// Sends an event to all sockets. A tuple stands for several arguments, `()` for none.
    ///
    /// # Errors
    ///
    /// If the name is reserved or the arguments cannot be JSON.
    pub fn emit<A: ToArgs + ?Sized>(&self, event: &str, args: &A) -> Result<(), EmitError> {
        self.everybody().emit(event, args)
    }

    /// Sends the event `message` to all sockets.
    ///
    /// # Errors
    ///
    /// If the arguments cannot be JSON.
    #[doc(alias = "write")]
    pub fn send<A: ToArgs + ?Sized>(&self, args: &A) -> Result<(), EmitError> {
        self.everybody().send(args)
    }

    /// Sends an event to all sockets and asks for acknowledgements; see
    /// [`BroadcastOperator::emit_with_ack`].
    #[doc(alias = "emitWithAck")]
    pub fn emit_with_ack<T: DeserializeOwned>(
        &self,
        event: &str,
        args: &(impl ToArgs + ?Sized),
    ) -> BroadcastAcks<T> {
        self.everybody().emit_with_ack(event, args)
    }

    /// Everybody in these rooms.
    pub fn to(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        self.everybody().to(rooms)
    }

    /// The same as [`to`](Self::to).
    #[doc(alias = "in")]
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

    /// Events that are dropped, or that disconnect a client, if too much is queued for it; see
    /// [`BroadcastOperator::overflow`].
    pub fn overflow(&self, overflow: Overflow) -> BroadcastOperator {
        self.everybody().overflow(overflow)
    }

    /// Events in poll responses that may be compressed, or not. Default: `true`.
    pub fn compress(&self, compress: bool) -> BroadcastOperator {
        self.everybody().compress(compress)
    }

    /// Only the sockets of this server.
    pub fn local(&self) -> BroadcastOperator {
        self.everybody().local()
    }

    /// How long answers are waited for.
    pub fn timeout(&self, timeout: Duration) -> BroadcastOperator {
        self.everybody().timeout(timeout)
    }

    /// The connected sockets of this server.
    pub fn sockets(&self) -> Vec<Socket> {
        self.everybody().sockets()
    }

    /// The connected sockets of all servers.
    ///
    /// # Errors
    ///
    /// If another server does not answer in time; see [`BroadcastOperator::fetch_sockets`].
    #[doc(alias = "fetchSockets")]
    pub async fn fetch_sockets(&self) -> Result<Vec<RemoteSocket>, FetchError> {
        self.everybody().fetch_sockets().await
    }

    /// Makes all sockets join rooms.
    #[doc(alias = "socketsJoin")]
    pub fn sockets_join(&self, rooms: impl IntoRooms) {
        self.everybody().sockets_join(rooms);
    }

    /// Makes all sockets leave rooms.
    #[doc(alias = "socketsLeave")]
    pub fn sockets_leave(&self, rooms: impl IntoRooms) {
        self.everybody().sockets_leave(rooms);
    }

    /// Disconnects all sockets; with `close`, also the connections below them.
    #[doc(alias = "disconnectSockets")]
    pub fn disconnect_sockets(&self, close: bool) {
        self.everybody().disconnect_sockets(close);
    }

    /// How many servers have this namespace, this one included.
    ///
    /// # Errors
    ///
    /// If the adapter cannot say.
    #[doc(alias = "serverCount")]
    pub async fn server_count(&self) -> Result<usize, BoxError> {
        match self.cluster() {
            Some(cluster) => cluster.server_count().await,
            None => Ok(1),
        }
    }

    fn everybody(&self) -> BroadcastOperator {
        BroadcastOperator::new(self.clone())
    }

    /// The server, unless it has been dropped: a namespace alone does not keep it.
    pub fn server(&self) -> Option<SocketIo> {
        self.0.server.get()?.upgrade()
    }

    pub(crate) fn set_server(&self, server: WeakSocketIo) {
        let _ = self.0.server.set(server);
    }

    pub(crate) fn params(&self) -> &[(Box<str>, Box<str>)] {
        self.0.child.as_ref().map_or(&[], |child| &child.params)
    }

    /// Whether whoever wants to know of new namespaces has heard of it: clients come in only then.
    pub(crate) fn announced(&self) -> &SetOnce<()> {
        &self.0.announced
    }

    /// A client is about to join. Only by way of a [`Seat`](crate::namespaces::Seat).
    pub(crate) fn take_seat(&self) {
        if let Some(child) = &self.0.child {
            child.seats.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A client has left, or will not join.
    pub(crate) fn leave_seat(&self) {
        if let Some(child) = &self.0.child
            && child.seats.fetch_sub(1, Ordering::AcqRel) == 1
        {
            self.vacate();
        }
    }

    /// If it is dynamic, and nobody is in it or may come back to it, the server may remove it.
    pub(crate) fn vacate(&self) {
        if self.is_dynamic()
            && !self.is_taken()
            && let Some(server) = self.server()
        {
            server.vacated(self);
        }
    }

    /// Whether somebody may come back whose connection was lost.
    pub(crate) fn is_awaited(&self) -> bool {
        self.recovery().is_some_and(|it| it.has_sessions())
    }

    /// Whether somebody is in it or about to join.
    pub(crate) fn is_taken(&self) -> bool {
        let child = self.0.child.as_ref();
        child.is_some_and(|child| child.seats.load(Ordering::Acquire) > 0)
    }

    /// Returns whether that is a change.
    pub(crate) fn set_vacant(&self, vacant: bool) -> bool {
        let child = self.0.child.as_ref();
        child.is_some_and(|child| child.vacant.swap(vacant, Ordering::Relaxed) != vacant)
    }

    pub(crate) fn state<T: Send + Sync + 'static>(&self) -> Option<&T> {
        self.0.core.state.get()
    }

    pub(crate) fn options(&self) -> &Options {
        &self.0.core.options
    }

    pub(crate) fn downgrade(&self) -> WeakNamespace {
        WeakNamespace(Arc::downgrade(&self.0))
    }

    /// The other servers, if there may be any.
    pub(crate) fn cluster(&self) -> Option<Cluster> {
        self.0.core.adapter.as_ref()?;
        let membership = self.0.cluster.read();
        let membership = membership.unwrap_or_else(PoisonError::into_inner);
        membership.as_ref().map(|it| it.cluster.clone())
    }

    /// Becomes one of the cluster's, if there is one.
    pub(crate) fn open_cluster(&self) {
        let Some(adapter) = &self.0.core.adapter else {
            return;
        };
        let mut membership = self.membership();
        if membership.is_none() {
            let local = LocalNamespace::of(self);
            let timeout = self.options().request_timeout;
            let weak = Arc::downgrade(&local);
            let cluster = Cluster::open(&**adapter, self.name(), weak, timeout);
            if let Some(recovery) = self.recovery()
                && let Some(store) = cluster.store()
            {
                recovery.set_store(store);
            }
            *membership = Some(Membership {
                cluster,
                _local: local,
            });
        }
    }

    /// It has been removed: other servers do not find it any more, whoever still has it.
    pub(crate) fn leave_cluster(&self) {
        let membership = self.membership().take();
        // Not under the lock: the channel is the adapter's.
        drop(membership);
    }

    pub(crate) async fn close_cluster(&self) {
        let membership = self.membership().take();
        if let Some(Membership { cluster, .. }) = membership {
            cluster.close().await;
        }
    }

    fn membership(&self) -> RwLockWriteGuard<'_, Option<Membership>> {
        let membership = self.0.cluster.write();
        membership.unwrap_or_else(PoisonError::into_inner)
    }

    /// What is kept for clients that come back, if the server has connection state recovery.
    pub(crate) fn recovery(&self) -> Option<&Arc<Recovery>> {
        self.0.recovery.as_ref()
    }

    pub(crate) fn server_side(&self) -> &Watched<ServerSide> {
        &self.0.server_side
    }

    pub(crate) fn codec(&self) -> &Codec {
        &self.0.core.codec
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
        if self.0.on_error.call(report) {
            return;
        }
        match self.parent() {
            Some(parent) => parent.report(report),
            None => self.0.core.report(report),
        }
    }
}

impl PartialEq for Namespace {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Namespace {}

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
        let before = current.replace(Arc::new(hook));
        // Not under the lock: what the hook holds may do anything when it goes.
        drop(current);
        drop(before);
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
