//! The server: namespaces, and how it is mounted.

use std::{
    fmt,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use engineio::{
    Acceptor, CloseReason, Closed, Config, Overflow, Server, SessionHandle, WeakServer,
};
use futures_util::future::join_all;
use serde::de::DeserializeOwned;
use socketio_adapter::Adapter;
use socketio_proto::{Codec, ToArgs};

use crate::{
    BroadcastAcks, BroadcastOperator, Builder, ConnectError, EmitError, ErrorReport, FetchError,
    Handshake, Namespace, NamespaceMatcher, ParentNamespace, RemoteSocket, ServerSideError,
    ServerSideEvent, Socket, Stats,
    broadcast::IntoRooms,
    builder::Options,
    client::Client,
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
    pub(crate) on_error: ErrorHook,
}

impl Core {
    pub(crate) fn report(&self, report: &ErrorReport<'_>) {
        // Writing the report out may call the application's `Display`.
        if !self.on_error.call(report) && guarded(|| log(report)).is_err() {
            tracing::error!("an error cannot be written out");
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

    pub(crate) fn with(core: Core, config: Config) -> Self {
        let core = Arc::new(core);
        let main = Namespace::new("/", core.clone());
        let io = Self(Arc::new(Inner {
            main: main.clone(),
            namespaces: Namespaces::new(main.clone()),
            on_new_namespace: Watched::default(),
            conn_hooks: ConnHooks::default(),
            core,
            config,
            service: Mutex::default(),
            closing: tokio::sync::Mutex::default(),
        }));
        main.set_server(io.downgrade());
        let _ = main.announced().set(());
        io
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

/// How long [`SocketIo::close`] takes at most.
const CLOSE_TIME: Duration = Duration::from_secs(10);

/// How long an adapter has at least to say goodbye.
const ADAPTER_TIME: Duration = Duration::from_secs(1);
