//! The server: namespaces, options, and how it is mounted.

use std::{
    fmt,
    future::Future,
    io,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use engineio::{
    Acceptor, CloseReason, Closed, Config, Overflow, Server, SessionHandle, WeakServer,
};
use futures_util::future::join_all;
use serde::de::DeserializeOwned;
use socketio_adapter::Adapter;
use socketio_proto::{Codec, Limits, Parser, ToArgs};

use crate::{
    BroadcastAcks, BroadcastOperator, ConnectError, ConnectionStateRecovery, EmitError,
    ErrorReport, FetchError, Handshake, Namespace, NamespaceMatcher, ParentNamespace, RemoteSocket,
    ServerSideError, ServerSideEvent, Socket, Stats,
    broadcast::IntoRooms,
    client::Client,
    client_files,
    conn::{ConnHooks, Packet, Transmit},
    dynamic::Params,
    handler::{Connect, Disconnect, Event, Handler, IntoReply, IntoResult, guarded, panic_error},
    namespace::{ErrorHook, log},
    namespaces::{Full, Namespaces, Seat},
    recovery::Budget,
    snapshot::Watched,
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
    namespaces: Namespaces,
    on_new_namespace: Watched<Vec<NamespaceHook>>,
    conn_hooks: ConnHooks,
    config: Config,
    /// Made when first asked for. Weak: the service keeps the server alive. It lives for as long as
    /// somebody has it or there are sessions; one that is made anew after that is the same to
    /// everybody.
    service: Mutex<WeakServer<SocketIo>>,
    /// Held by whoever closes the adapter.
    closing: tokio::sync::Mutex<()>,
}

type NamespaceHook = Arc<dyn Fn(&Namespace) + Send + Sync>;

/// What namespaces know of their server.
pub(crate) struct Core {
    pub(crate) options: Options,
    pub(crate) codec: Codec,
    pub(crate) state: http::Extensions,
    pub(crate) adapter: Option<Arc<dyn Adapter>>,
    pub(crate) recovery: Option<Arc<Budget>>,
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
    pub(crate) request_timeout: Duration,
    pub(crate) max_namespaces_per_client: usize,
    pub(crate) max_dynamic_namespaces: usize,
    pub(crate) cleanup_empty_child_namespaces: bool,
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
            request_timeout: Duration::from_secs(5),
            max_namespaces_per_client: 100,
            max_dynamic_namespaces: 10_000,
            cleanup_empty_child_namespaces: false,
        }
    }
}

#[derive(Clone)]
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
    /// Clients can join the namespaces that have been made, and those that come to be as children
    /// of a [parent](Self::of_dynamic). One that is made here and matches a parent that is not a
    /// predicate is a child of it all the same, with the parent's handlers; of several parents the
    /// first one counts.
    pub fn of(&self, name: &str) -> Namespace {
        let name = match name.strip_prefix('/') {
            Some(_) => name.to_owned(),
            None => format!("/{name}"),
        };
        let namespaces = &self.0.namespaces;
        if let Some(namespace) = namespaces.get(&name) {
            return namespace;
        }
        let child_of = namespaces.parents().iter().find_map(|parent| {
            let params = parent.params(&name)?;
            Some((parent.clone(), params))
        });
        let (namespace, is_new) = namespaces.get_or_make(&name, || {
            let core = self.0.core.clone();
            let namespace = match child_of {
                Some((parent, params)) => Namespace::new_child(&name, core, &parent, params),
                None => Namespace::new(&name, core),
            };
            namespace.set_server(self.downgrade());
            namespace
        });
        if is_new {
            self.announce(&namespace);
        }
        namespace
    }

    /// Lets namespaces come to be when a client asks for them: those whose name
    /// [matches](NamespaceMatcher). They are the children of what this returns, and have its
    /// handlers.
    ///
    /// Who asks for a name that no namespace has is let in by the first parent that it matches, in
    /// the order in which the parents were made, and refused with `Invalid namespace` if there is
    /// none. How many children there may be is for [`Builder::max_dynamic_namespaces`] to say, how
    /// long they stay for [`Builder::cleanup_empty_child_namespaces`].
    ///
    /// ```
    /// use socketio::{Namespace, Socket, SocketIo};
    ///
    /// let io = SocketIo::new();
    /// let rooms = io.of_dynamic("/room/{id}");
    /// rooms.on_connection(async |socket: Socket, room: Namespace| {
    ///     println!("{} is in room {:?}", socket.id(), room.param("id"));
    /// });
    /// io.of_dynamic(|name: &str| name.ends_with("-live"));
    ///
    /// rooms.emit("to all rooms", &())?;
    /// assert!(io.of("/room/7").is_dynamic());
    /// # Ok::<(), socketio::EmitError>(())
    /// ```
    ///
    /// # Panics
    ///
    /// If a pattern is malformed; see [`NamespaceMatcher`].
    #[doc(alias = "of")]
    pub fn of_dynamic(&self, matcher: impl Into<NamespaceMatcher>) -> ParentNamespace {
        let core = self.0.core.clone();
        let parent = ParentNamespace::new(matcher.into(), core, self.downgrade());
        self.0.namespaces.add_parent(parent.clone());
        parent
    }

    /// The namespace with this name, slash and all, if there is one.
    pub fn namespace(&self, name: &str) -> Option<Namespace> {
        self.0.namespaces.get(name)
    }

    /// All namespaces that there are, in no order.
    #[doc(alias = "_nsps")]
    pub fn namespaces(&self) -> Vec<Namespace> {
        self.0.namespaces.all()
    }

    /// Adds a function that is called once with every namespace that is made from now on, by
    /// [`of`](Self::of) or for a client, and before any client is in it. Parents are none.
    ///
    /// It is called in place, so it should be quick.
    ///
    /// ```
    /// let io = socketio::SocketIo::new();
    /// io.on_new_namespace(|namespace| println!("{} is new", namespace.name()));
    /// ```
    #[doc(alias = "new_namespace")]
    pub fn on_new_namespace(&self, hook: impl Fn(&Namespace) + Send + Sync + 'static) -> &Self {
        let hook: NamespaceHook = Arc::new(hook);
        self.0.on_new_namespace.update(|hooks| hooks.push(hook));
        self
    }

    /// Adds a function that is called when a connection has moved from polling to a WebSocket. See
    /// [`conn`](crate::conn) for this and the next four.
    pub fn on_upgrade(&self, hook: impl Fn(&SessionHandle) + Send + Sync + 'static) -> &Self {
        self.0.conn_hooks.upgrade.add(Arc::new(hook));
        self
    }

    /// Adds a function that is called for every packet of Engine.IO that comes from a client, be it
    /// a message, a ping or a pong, before anybody has looked at it. The packets of an upgrade's
    /// probe are none.
    pub fn on_packet(
        &self,
        hook: impl Fn(&SessionHandle, &Packet) + Send + Sync + 'static,
    ) -> &Self {
        self.0.conn_hooks.packet.add(Arc::new(hook));
        self
    }

    /// Adds a function that is called for every packet of Engine.IO that is about to be written to
    /// a client: the handshake, a message, a ping or a pong, and what ends a poll that has nothing
    /// to carry. In the official server it is called when the packet is put into the queue.
    #[doc(alias = "packetCreate")]
    pub fn on_packet_create(
        &self,
        hook: impl Fn(&SessionHandle, &Transmit) + Send + Sync + 'static,
    ) -> &Self {
        self.0.conn_hooks.packet_create.add(Arc::new(hook));
        self
    }

    /// Adds a function that is called whenever all that was sent to a client has been written. The
    /// client may not have got it yet.
    pub fn on_drain(&self, hook: impl Fn(&SessionHandle) + Send + Sync + 'static) -> &Self {
        self.0.conn_hooks.drain.add(Arc::new(hook));
        self
    }

    /// Adds a function that is called when a connection has closed, whether its client had joined
    /// a namespace or not. If the client broke a rule of the transport, the last parameter says
    /// which; see [`Disconnect::description`].
    pub fn on_close(
        &self,
        hook: impl Fn(&SessionHandle, CloseReason, Option<&str>) + Send + Sync + 'static,
    ) -> &Self {
        self.0.conn_hooks.close.add(Arc::new(hook));
        self
    }

    /// See [`Namespace::middleware`].
    #[doc(alias = "use")]
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

    /// See [`Namespace::send`].
    ///
    /// # Errors
    ///
    /// If the arguments cannot be JSON.
    #[doc(alias = "write")]
    pub fn send<A: ToArgs + ?Sized>(&self, args: &A) -> Result<(), EmitError> {
        self.0.main.send(args)
    }

    /// See [`Namespace::emit_with_ack`].
    #[doc(alias = "emitWithAck")]
    pub fn emit_with_ack<T: DeserializeOwned>(
        &self,
        event: &str,
        args: &(impl ToArgs + ?Sized),
    ) -> BroadcastAcks<T> {
        self.0.main.emit_with_ack(event, args)
    }

    /// See [`Namespace::to`].
    pub fn to(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        self.0.main.to(rooms)
    }

    /// The same as [`to`](Self::to).
    #[doc(alias = "in")]
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

    /// See [`Namespace::overflow`].
    pub fn overflow(&self, overflow: Overflow) -> BroadcastOperator {
        self.0.main.overflow(overflow)
    }

    /// See [`Namespace::compress`].
    pub fn compress(&self, compress: bool) -> BroadcastOperator {
        self.0.main.compress(compress)
    }

    /// See [`Namespace::local`].
    pub fn local(&self) -> BroadcastOperator {
        self.0.main.local()
    }

    /// See [`Namespace::timeout`].
    pub fn timeout(&self, timeout: Duration) -> BroadcastOperator {
        self.0.main.timeout(timeout)
    }

    /// See [`Namespace::sockets`].
    pub fn sockets(&self) -> Vec<Socket> {
        self.0.main.sockets()
    }

    /// See [`Namespace::fetch_sockets`].
    ///
    /// # Errors
    ///
    /// If another server does not answer in time.
    #[doc(alias = "fetchSockets")]
    pub async fn fetch_sockets(&self) -> Result<Vec<RemoteSocket>, FetchError> {
        self.0.main.fetch_sockets().await
    }

    /// See [`Namespace::sockets_join`].
    #[doc(alias = "socketsJoin")]
    pub fn sockets_join(&self, rooms: impl IntoRooms) {
        self.0.main.sockets_join(rooms);
    }

    /// See [`Namespace::sockets_leave`].
    #[doc(alias = "socketsLeave")]
    pub fn sockets_leave(&self, rooms: impl IntoRooms) {
        self.0.main.sockets_leave(rooms);
    }

    /// See [`Namespace::disconnect_sockets`].
    #[doc(alias = "disconnectSockets")]
    pub fn disconnect_sockets(&self, close: bool) {
        self.0.main.disconnect_sockets(close);
    }

    /// See [`Namespace::on_server_side_emit`].
    pub fn on_server_side_emit<H, F>(&self, event: &str, handler: H) -> &Self
    where
        H: Fn(ServerSideEvent) -> F + Send + Sync + 'static,
        F: Future<Output: IntoResult> + Send + 'static,
    {
        self.0.main.on_server_side_emit(event, handler);
        self
    }

    /// See [`Namespace::server_side_emit`].
    ///
    /// # Errors
    ///
    /// If the name is reserved or the arguments cannot be JSON.
    #[doc(alias = "serverSideEmit")]
    pub fn server_side_emit<A: ToArgs + ?Sized>(
        &self,
        event: &str,
        args: &A,
    ) -> Result<(), EmitError> {
        self.0.main.server_side_emit(event, args)
    }

    /// See [`Namespace::server_side_emit_with_ack`].
    ///
    /// # Errors
    ///
    /// If the event cannot be sent, or not all servers answer in time.
    #[doc(alias = "serverSideEmitWithAck")]
    pub async fn server_side_emit_with_ack<T: DeserializeOwned>(
        &self,
        event: &str,
        args: &(impl ToArgs + ?Sized),
    ) -> Result<Vec<T>, ServerSideError<T>> {
        self.0.main.server_side_emit_with_ack(event, args).await
    }

    /// Numbers for whoever watches over the server. It looks at every connection.
    ///
    /// ```
    /// let io = socketio::SocketIo::new();
    /// assert_eq!(io.stats().sessions, 0);
    /// ```
    #[doc(alias = "clientsCount")]
    pub fn stats(&self) -> Stats {
        let service = self.current_service().upgrade();
        Stats::of(self, service.map(|it| it.stats()))
    }

    /// The service that answers HTTP requests: a hyper 1 service and a tower service, and by its
    /// [`layer`](Server::layer) a tower layer. Every call gives the same one, until
    /// [`close`](Self::close).
    ///
    /// Its path is `/socket.io/` unless [`Builder::engine`] says otherwise. The service and its
    /// sessions keep the server alive; when the last of all three is gone, everything is freed.
    #[doc(alias = "engine")]
    pub fn service(&self) -> Server<SocketIo> {
        let mut current = self.current_service();
        if let Some(service) = current.upgrade() {
            return service;
        }
        let service = Server::new(self.0.config.clone(), self.clone());
        *current = service.downgrade();
        for namespace in self.namespaces() {
            namespace.open_cluster();
        }
        service
    }

    /// Shuts down in ten seconds at most; see [`close_within`](Self::close_within).
    pub async fn close(&self) -> Closed {
        self.close_within(CLOSE_TIME).await
    }

    /// Shuts down:
    ///
    /// - new connections are refused with 503;
    /// - sockets are disconnected with
    ///   [`ServerShuttingDown`](crate::DisconnectReason::ServerShuttingDown);
    /// - what was sent still leaves, then the clients are told, and polls that wait are answered;
    /// - handlers run to their end, those of disconnections too.
    ///
    /// Returns when all this is done, or when the time is over. What is still there by then is cut
    /// off: connections are closed, handlers dropped where they wait. [`Closed`] says how many
    /// connections that were.
    ///
    /// Afterwards [`service`](Self::service) gives a new service, and clients can connect again.
    ///
    /// If several calls wait at once, the shortest time holds. If the returned future is dropped,
    /// the shutdown goes on, and another call waits for it. A handler must not wait for it: it
    /// would wait for its own end.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let io = socketio::SocketIo::new();
    /// let service = io.service();
    /// // … serve it, then
    /// let closed = io.close_within(Duration::from_secs(3)).await;
    /// assert!(closed.all_gone());
    /// # }
    /// ```
    ///
    /// The accept loop is stopped by whoever runs it. Do that afterwards: until then, new clients
    /// get their clear answer, and clients with long-polling can fetch what is left for them.
    ///
    /// ```no_run
    /// # async fn example(io: socketio::SocketIo, listener: tokio::net::TcpListener) -> std::io::Result<()> {
    /// socketio::serve(listener, io.service())
    ///     .with_graceful_shutdown(async move {
    ///         let _ = tokio::signal::ctrl_c().await;
    ///         io.close().await;
    ///     })
    ///     .await
    /// # }
    /// ```
    pub async fn close_within(&self, time: Duration) -> Closed {
        let service = self.current_service().upgrade();
        let closed = match &service {
            Some(service) => service.close(time).await,
            None => Closed::default(),
        };
        let _turn = self.0.closing.lock().await;
        // Another call may have been faster, and a new service be in use.
        if self.is_to_be_left() {
            // It may have to reach others that are gone; nobody waits for that for ever.
            let _ = tokio::time::timeout(time.max(ADAPTER_TIME), self.close_adapter()).await;
            *self.current_service() = WeakServer::default();
        }
        closed
    }

    /// Whether a service has been closed whose place in the cluster is still there.
    fn is_to_be_left(&self) -> bool {
        // Not under the lock: this may be the last to hold it.
        let service = self.current_service().upgrade();
        match service {
            Some(service) => service.is_closing(),
            None => self.0.main.cluster().is_some(),
        }
    }

    /// No connection is left: other servers are told that this one is gone.
    async fn close_adapter(&self) {
        if let Some(adapter) = &self.0.core.adapter {
            let namespaces = self.namespaces();
            join_all(namespaces.iter().map(Namespace::close_cluster)).await;
            adapter.close().await;
        }
    }

    /// A seat in a namespace that clients can join right now.
    pub(crate) fn seat(&self, name: &str) -> Option<Seat> {
        self.0.namespaces.open_seat(name)
    }

    /// A seat for a client in the namespace that it asks for, which may come to be now.
    pub(crate) async fn find_seat(
        &self,
        name: &str,
        handshake: &Handshake,
    ) -> Result<Seat, ConnectError> {
        let mut found = self.0.namespaces.seat(name);
        for parent in &*self.0.namespaces.parents() {
            if found.is_some() {
                break;
            }
            if let Some(params) = parent.ask(name, handshake).await {
                found = Some(self.seat_in_child(name, parent, params)?);
            }
        }
        let seat = found.ok_or_else(|| ConnectError::new("Invalid namespace"))?;
        seat.namespace().announced().wait().await;
        Ok(seat)
    }

    fn seat_in_child(
        &self,
        name: &str,
        parent: &ParentNamespace,
        params: Params,
    ) -> Result<Seat, ConnectError> {
        let max = self.options().max_dynamic_namespaces;
        let made = self.0.namespaces.seat_or_make(name, max, || {
            let child = Namespace::new_child(name, self.0.core.clone(), parent, params);
            child.set_server(self.downgrade());
            child
        });
        let (seat, is_new) = made.map_err(|Full| {
            tracing::debug!(name, "too many dynamic namespaces");
            ConnectError::new("Too many namespaces")
        })?;
        if is_new {
            self.announce(seat.namespace());
        }
        Ok(seat)
    }

    fn announce(&self, namespace: &Namespace) {
        for hook in &*self.0.on_new_namespace.current() {
            if let Err(panic) = guarded(|| hook(namespace)) {
                namespace.report(&ErrorReport {
                    socket: None,
                    event: None,
                    error: &panic_error(&*panic),
                });
            }
        }
        let _ = namespace.announced().set(());
    }

    /// The last client has left a child, or will not join it.
    pub(crate) fn vacated(&self, child: &Namespace) {
        let remove = self.options().cleanup_empty_child_namespaces;
        self.0.namespaces.vacated(child, remove);
    }

    pub(crate) fn namespaces_table(&self) -> &Namespaces {
        &self.0.namespaces
    }

    pub(crate) fn main(&self) -> &Namespace {
        &self.0.main
    }

    pub(crate) fn options(&self) -> &Options {
        &self.0.core.options
    }

    pub(crate) fn codec(&self) -> &Codec {
        &self.0.core.codec
    }

    pub(crate) fn conn_hooks(&self) -> &ConnHooks {
        &self.0.conn_hooks
    }

    /// Something went wrong before the client had joined any namespace.
    pub(crate) fn report(&self, report: &ErrorReport<'_>) {
        self.0.core.report(report);
    }

    fn current_service(&self) -> MutexGuard<'_, WeakServer<SocketIo>> {
        self.0
            .service
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
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
    codec: Codec,
    state: http::Extensions,
    adapter: Option<Arc<dyn Adapter>>,
    recovery: Option<ConnectionStateRecovery>,
    engine: Config,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            options: Options::default(),
            codec: Codec::default(),
            state: http::Extensions::new(),
            adapter: None,
            recovery: None,
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

    /// How long a connection may take to join its first namespace before it is closed, and how long
    /// [middlewares](Namespace::middleware) may run on when it has closed. Default: 45 s.
    #[doc(alias = "connectTimeout")]
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

    /// The most bytes of a namespace's name in a packet; for clients 1.x and 2.x the query is a part
    /// of it. A client that sends more is disconnected. Default: 8192.
    pub fn max_namespace_length(mut self, bytes: u32) -> Self {
        self.options.limits.max_namespace = bytes;
        self
    }

    /// The most bytes of an event's name. A client that sends more is disconnected. Default: 1024.
    pub fn max_event_name_length(mut self, bytes: u32) -> Self {
        self.options.limits.max_event_name = bytes;
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

    /// Makes this server one of several that act as one: broadcasts reach the sockets of all of
    /// them, the sockets of this one [first](BroadcastOperator::emit). Default: none, the server is
    /// alone. [`adapter`](crate::adapter::adapter) shows how one is written.
    ///
    /// ```
    /// use socketio::{SocketIo, adapter::MemoryAdapter};
    ///
    /// let cluster = MemoryAdapter::new();
    /// let one = SocketIo::builder().adapter(cluster.clone()).build();
    /// let another = SocketIo::builder().adapter(cluster).build();
    /// ```
    pub fn adapter(mut self, adapter: impl Adapter) -> Self {
        self.adapter = Some(Arc::new(adapter));
        self
    }

    /// Lets clients 3.x and 4.x come back after a short disconnection as if it had not been: with
    /// the id, the rooms and the [data](Socket::set_data) that they had, and with the events that
    /// they have missed, in order, before the answer to their CONNECT. Default: off.
    ///
    /// An event that the client may have to be sent again has one more argument, the offset; events
    /// that are [volatile](Namespace::volatile), ask for an acknowledgement or are sent in a
    /// middleware are not sent again. If such a one would end with text, or has no arguments, `null`
    /// comes behind it: clients take any text at the end for an offset. Old clients (1.x and 2.x) see no offsets and cannot be recovered. A client that
    /// [was disconnected](crate::DisconnectReason::is_recoverable) on purpose, or left, is not.
    ///
    /// While this is on, the events of a namespace are sent one after the other, whichever thread
    /// they come from. What is [sent to a socket](Socket::emit) whose client is gone for the time
    /// being is kept for it, and reaches it too if it has come back as another [`Socket`].
    ///
    /// ```
    /// use socketio::{ConnectionStateRecovery, SocketIo};
    ///
    /// let io = SocketIo::builder()
    ///     .connection_state_recovery(ConnectionStateRecovery::new())
    ///     .build();
    /// io.on_connection(async |socket: socketio::Socket| {
    ///     if !socket.recovered() {
    ///         socket.join("news");
    ///     }
    /// });
    /// ```
    #[doc(alias = "connectionStateRecovery")]
    pub fn connection_state_recovery(mut self, options: ConnectionStateRecovery) -> Self {
        self.recovery = Some(options);
        self
    }

    /// How long other servers have for an answer where nothing else is said. Default: 5 s.
    #[doc(alias = "requestsTimeout")]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.options.request_timeout = timeout;
        self
    }

    /// What packets look like on the wire. Clients must use the same parser. Default: that of the
    /// protocol document; see [`parser`](crate::parser) for others.
    ///
    /// ```
    /// use socketio::{SocketIo, parser::MsgpackParser};
    ///
    /// let io = SocketIo::builder().parser(MsgpackParser).build();
    /// ```
    pub fn parser(mut self, parser: impl Parser) -> Self {
        self.codec = Codec::new(parser);
        self
    }

    /// How many namespaces one client may be in, or ask for, at the same time. Beyond that it is
    /// refused with `Too many namespaces`. Default: 100.
    pub fn max_namespaces_per_client(mut self, count: usize) -> Self {
        self.options.max_namespaces_per_client = count;
        self
    }

    /// How many [dynamic](SocketIo::of_dynamic) namespaces there may be when a client brings
    /// another one into being. Beyond that the new one takes the place of one that everybody has
    /// left, and if there is none the client is refused with `Too many namespaces`. Default:
    /// 10,000, each of which takes about 6 KB.
    ///
    /// Those that the application makes count, but it may make any number.
    pub fn max_dynamic_namespaces(mut self, count: usize) -> Self {
        self.options.max_dynamic_namespaces = count;
        self
    }

    /// Whether a [dynamic](SocketIo::of_dynamic) namespace is removed when its last socket has
    /// left, or when a client was refused while nobody else was in it or about to join. With
    /// [recovery](Self::connection_state_recovery), it stays as long as somebody may come back to
    /// it, or until its place is [needed](Self::max_dynamic_namespaces). Whoever asks for its name
    /// after that makes a new one. Namespaces that have no parent are never removed. Default:
    /// false, so it stays until its place is needed.
    ///
    /// A [`Namespace`] that was removed reaches nobody any more. What was registered with it, and
    /// not with its parent, is gone; [`on_new_namespace`](SocketIo::on_new_namespace) is the place
    /// to do it again.
    #[doc(alias = "cleanupEmptyChildNamespaces")]
    pub fn cleanup_empty_child_namespaces(mut self, cleanup: bool) -> Self {
        self.options.cleanup_empty_child_namespaces = cleanup;
        self
    }

    /// Options of the engine below: path, transports, heartbeat, sizes, CORS, cookies, and what
    /// happens [when a client reads too slowly](crate#when-a-client-reads-too-slowly). The path is
    /// `/socket.io/` to begin with, where clients look if they are not told otherwise.
    ///
    /// Requests that are refused, and headers of responses, are told here too; see
    /// [`conn`](crate::conn).
    ///
    /// ```
    /// use socketio::SocketIo;
    ///
    /// let io = SocketIo::builder()
    ///     .engine(|config| {
    ///         config
    ///             .max_payload(100_000)
    ///             .on_connection_error(|error| eprintln!("{} {:?}", error.method, error.kind))
    ///     })
    ///     .build();
    /// ```
    pub fn engine(mut self, change: impl FnOnce(Config) -> Config) -> Self {
        self.engine = change(self.engine);
        self
    }

    /// Hands out the JavaScript client below the path, so that pages can say
    /// `<script src="/socket.io/socket.io.js">`. Default: it does not; the official server brings
    /// the client along, in Rust it comes from npm.
    ///
    /// The directory is that of the built client, `node_modules/socket.io-client/dist` after
    /// `npm install socket.io-client`. Of the eight files of the official server those that are
    /// there are read once, now. To take them from elsewhere, see
    /// [`Config::files`](engineio::Config::files).
    ///
    /// # Errors
    ///
    /// If none of the files is there, or one cannot be read.
    ///
    /// ```no_run
    /// use socketio::SocketIo;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let io = SocketIo::builder()
    ///     .serve_client("node_modules/socket.io-client/dist")?
    ///     .build();
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "serveClient")]
    pub fn serve_client(mut self, directory: impl AsRef<Path>) -> io::Result<Self> {
        let files = client_files::read(directory.as_ref())?;
        self.engine = self.engine.files(files);
        Ok(self)
    }

    /// The server.
    pub fn build(self) -> SocketIo {
        let core = Arc::new(Core {
            options: self.options,
            codec: self.codec,
            state: self.state,
            adapter: self.adapter,
            recovery: self
                .recovery
                .map(|options| Arc::new(Budget::new(options, self.engine.heartbeat()))),
            on_error: ErrorHook::default(),
        });
        let main = Namespace::new("/", core.clone());
        let io = SocketIo(Arc::new(Inner {
            main: main.clone(),
            namespaces: Namespaces::new(main.clone()),
            on_new_namespace: Watched::default(),
            conn_hooks: ConnHooks::default(),
            core,
            config: self.engine,
            service: Mutex::default(),
            closing: tokio::sync::Mutex::default(),
        }));
        main.set_server(io.downgrade());
        let _ = main.announced().set(());
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

/// How long [`SocketIo::close`] takes at most.
const CLOSE_TIME: Duration = Duration::from_secs(10);

/// How long an adapter has at least to say goodbye.
const ADAPTER_TIME: Duration = Duration::from_secs(1);
