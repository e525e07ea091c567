//! Namespaces that come to be when a client asks for them.

mod matcher;
mod pattern;

use std::{fmt, sync::Arc};

use socketio_adapter::Room;
use socketio_proto::{Args, ToArgs};

pub use self::matcher::NamespaceMatcher;
pub(crate) use self::matcher::Params;
use crate::{
    ConnectError, EmitError, ErrorReport, Handshake, Namespace, Socket,
    broadcast::IntoRooms,
    error::HandlerError,
    handler::{
        self, Connect, Disconnect, Event, Handler, Handlers, IntoReply, IntoResult, IntoVerdict,
    },
    namespace::ErrorHook,
    outgoing::{OutgoingEvent, OutgoingListener},
    server::{Core, WeakSocketIo},
    snapshot::Watched,
    socket::check_emit,
};

/// What many namespaces have in common that come to be when a client asks for them: its children.
/// Cheap to clone. Made by [`SocketIo::of_dynamic`](crate::SocketIo::of_dynamic).
///
/// Handlers that are registered here are those of all children, of the ones that there are already
/// too. A child can have more of its own, which are called in their order of registration with
/// the parent's.
///
/// The parent has no sockets: what is emitted here goes to those of all children that there are at
/// that time.
#[derive(Clone)]
pub struct ParentNamespace(Arc<Inner>);

struct Inner {
    matcher: NamespaceMatcher,
    core: Arc<Core>,
    /// Weak: the server owns its parents.
    server: WeakSocketIo,
    handlers: Watched<Handlers>,
    on_error: ErrorHook,
}

impl ParentNamespace {
    pub(crate) fn new(matcher: NamespaceMatcher, core: Arc<Core>, server: WeakSocketIo) -> Self {
        Self(Arc::new(Inner {
            matcher,
            core,
            server,
            handlers: Watched::default(),
            on_error: ErrorHook::default(),
        }))
    }

    /// The children that there are now, in no order.
    pub fn children(&self) -> Vec<Namespace> {
        let server = self.0.server.upgrade();
        server.map_or_else(Vec::new, |it| it.namespaces_table().children_of(self))
    }

    /// See [`Namespace::middleware`].
    #[doc(alias = "use")]
    pub fn middleware<H, T, E>(&self, middleware: H) -> &Self
    where
        H: Handler<Connect, T, Output = Result<(), E>>,
        E: Into<ConnectError>,
    {
        let middleware = handler::erase_middleware(middleware);
        self.update(|handlers| handlers.middlewares.push(middleware.clone()))
    }

    /// See [`Namespace::on_connection`].
    pub fn on_connection<H, T>(&self, handler: H) -> &Self
    where
        H: Handler<Connect, T, Output: IntoResult>,
    {
        let handler = handler::erase(handler);
        self.update(|handlers| handlers.connect.push(handler.clone()))
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
        let handler = handler::event_handler(event, handler, false);
        self.update(|handlers| {
            handlers.listeners.add_event(event, handler.clone());
        })
    }

    /// See [`Namespace::on_any`].
    #[doc(alias = "onAny")]
    pub fn on_any<H, T>(&self, handler: H) -> &Self
    where
        H: Handler<Event, T, Output: IntoResult>,
    {
        let handler = handler::erase(handler);
        self.update(|handlers| {
            handlers.listeners.any.push(handler.clone());
        })
    }

    /// See [`Namespace::on_fallback`].
    pub fn on_fallback<H, T>(&self, handler: H) -> &Self
    where
        H: Handler<Event, T, Output: IntoReply>,
    {
        let handler = handler::erase_event(handler);
        self.update(|handlers| {
            handlers.listeners.fallbacks.push(handler.clone());
        })
    }

    /// See [`Namespace::on_disconnecting`].
    pub fn on_disconnecting<H, T>(&self, handler: H) -> &Self
    where
        H: Handler<Disconnect, T, Output: IntoResult>,
    {
        let handler = handler::erase(handler);
        self.update(|handlers| {
            handlers.listeners.disconnecting.push(handler.clone());
        })
    }

    /// See [`Namespace::packet_middleware`].
    #[doc(alias = "use")]
    pub fn packet_middleware<H, T>(&self, middleware: H) -> &Self
    where
        H: Handler<Event, T, Output: IntoVerdict>,
    {
        let middleware = handler::erase_packet_middleware(middleware);
        self.update(|handlers| {
            let middlewares = &mut handlers.listeners.packet_middlewares;
            middlewares.push(middleware.clone());
        })
    }

    /// See [`Namespace::on_any_outgoing`].
    #[doc(alias = "onAnyOutgoing")]
    pub fn on_any_outgoing(
        &self,
        listener: impl Fn(&Socket, &OutgoingEvent<'_>) + Send + Sync + 'static,
    ) -> &Self {
        let listener: OutgoingListener = Arc::new(listener);
        self.update(|handlers| {
            handlers.listeners.outgoing.push(listener.clone());
        })
    }

    /// See [`Namespace::on_disconnect`].
    pub fn on_disconnect<H, T>(&self, handler: H) -> &Self
    where
        H: Handler<Disconnect, T, Output: IntoResult>,
    {
        let handler = handler::erase(handler);
        self.update(|handlers| {
            handlers.listeners.disconnect.push(handler.clone());
        })
    }

    /// Sets the function that is told what goes wrong in children that have [none of their
    /// own](Namespace::on_error), and in a [predicate](NamespaceMatcher::predicate), in place of
    /// the [server's](crate::SocketIo::on_error).
    pub fn on_error(&self, hook: impl Fn(&ErrorReport<'_>) + Send + Sync + 'static) -> &Self {
        self.0.on_error.set(hook);
        self
    }

    /// Sends an event to all sockets of all children. A tuple stands for several arguments, `()`
    /// for none.
    ///
    /// # Errors
    ///
    /// If the name is reserved or the arguments cannot be JSON.
    pub fn emit<A: ToArgs + ?Sized>(&self, event: &str, args: &A) -> Result<(), EmitError> {
        self.everybody().emit(event, args)
    }

    /// Sends the event `message` to all sockets of all children.
    ///
    /// # Errors
    ///
    /// If the arguments cannot be JSON.
    #[doc(alias = "write")]
    pub fn send<A: ToArgs + ?Sized>(&self, args: &A) -> Result<(), EmitError> {
        self.everybody().send(args)
    }

    /// Everybody in these rooms of any child.
    pub fn to(&self, rooms: impl IntoRooms) -> ParentBroadcastOperator {
        self.everybody().to(rooms)
    }

    /// The same as [`to`](Self::to).
    #[doc(alias = "in")]
    pub fn in_(&self, rooms: impl IntoRooms) -> ParentBroadcastOperator {
        self.to(rooms)
    }

    /// Everybody in any child but whoever is in these rooms.
    pub fn except(&self, rooms: impl IntoRooms) -> ParentBroadcastOperator {
        self.everybody().except(rooms)
    }

    /// Events that may be lost: they go to those whose connection can take them right now.
    pub fn volatile(&self) -> ParentBroadcastOperator {
        self.everybody().volatile()
    }

    /// Events in poll responses that may be compressed, or not. Default: `true`.
    pub fn compress(&self, compress: bool) -> ParentBroadcastOperator {
        self.everybody().compress(compress)
    }

    /// Only the sockets of this server.
    pub fn local(&self) -> ParentBroadcastOperator {
        self.everybody().local()
    }

    fn everybody(&self) -> ParentBroadcastOperator {
        ParentBroadcastOperator {
            parent: self.clone(),
            rooms: Vec::new(),
            except: Vec::new(),
            volatile: false,
            compress: true,
            local: false,
        }
    }

    /// Whether a name that has no namespace yet is one of a child. A predicate is not asked.
    pub(crate) fn params(&self, name: &str) -> Option<Params> {
        self.or_report(self.0.matcher.params(name))
    }

    /// The same for a client, and a predicate is asked.
    pub(crate) async fn ask(&self, name: &str, handshake: &Handshake) -> Option<Params> {
        self.or_report(self.0.matcher.ask(name, handshake).await)
    }

    pub(crate) fn handlers(&self) -> Arc<Handlers> {
        self.0.handlers.current()
    }

    pub(crate) fn report(&self, report: &ErrorReport<'_>) {
        if !self.0.on_error.call(report) {
            self.0.core.report(report);
        }
    }

    fn or_report(&self, outcome: Result<Option<Params>, HandlerError>) -> Option<Params> {
        outcome.unwrap_or_else(|error| {
            self.report(&ErrorReport {
                socket: None,
                event: None,
                error: &error,
            });
            None
        })
    }

    pub(crate) fn update(&self, change: impl Fn(&mut Handlers)) -> &Self {
        let Some(server) = self.0.server.upgrade() else {
            return self;
        };
        // A child has the change from its birth or gets it here, never both.
        server
            .namespaces_table()
            .with_children_of(self, |children| {
                let old = self.handlers();
                self.0.handlers.update(&change);
                let new = self.handlers();
                for child in children {
                    child.handlers().follow(&old, &new, &change);
                    child.handlers_changed();
                }
            });
        self
    }
}

impl PartialEq for ParentNamespace {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for ParentNamespace {}

impl fmt::Debug for ParentNamespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParentNamespace")
            .field("matcher", &self.0.matcher)
            .finish_non_exhaustive()
    }
}

/// Whom an event goes to, in all children of a parent. Made by [`ParentNamespace::to`] and its
/// like; every method gives a new one, and a clone can be kept. See
/// [`BroadcastOperator`](crate::BroadcastOperator).
#[derive(Clone, Debug)]
#[must_use = "nothing happens until `emit`"]
pub struct ParentBroadcastOperator {
    parent: ParentNamespace,
    rooms: Vec<Room>,
    except: Vec<Room>,
    volatile: bool,
    compress: bool,
    local: bool,
}

impl ParentBroadcastOperator {
    /// Adds rooms: one name, or a list of them.
    pub fn to(mut self, rooms: impl IntoRooms) -> Self {
        self.rooms.extend(rooms.into_rooms());
        self
    }

    /// The same as [`to`](Self::to).
    #[doc(alias = "in")]
    pub fn in_(self, rooms: impl IntoRooms) -> Self {
        self.to(rooms)
    }

    /// Leaves out whoever is in these rooms.
    pub fn except(mut self, rooms: impl IntoRooms) -> Self {
        self.except.extend(rooms.into_rooms());
        self
    }

    /// Leaves out whose connection cannot take the event right now.
    pub fn volatile(mut self) -> Self {
        self.volatile = true;
        self
    }

    /// Whether a poll response that carries the event may be compressed. Default: `true`.
    pub fn compress(mut self, compress: bool) -> Self {
        self.compress = compress;
        self
    }

    /// Only the sockets of this server.
    pub fn local(mut self) -> Self {
        self.local = true;
        self
    }

    /// Sends the event to the children that there are now. The arguments are encoded once, the
    /// packet once for each child.
    ///
    /// # Errors
    ///
    /// If the name is reserved or the arguments cannot be JSON.
    pub fn emit<A: ToArgs + ?Sized>(&self, event: &str, args: &A) -> Result<(), EmitError> {
        check_emit(event)?;
        let args = Args::new(args)?;
        for child in self.parent.children() {
            let mut operator = child.to(&self.rooms).except(&self.except);
            operator = operator.compress(self.compress);
            if self.volatile {
                operator = operator.volatile();
            }
            if self.local {
                operator = operator.local();
            }
            operator.emit(event, &args)?;
        }
        Ok(())
    }

    /// Sends the event `message`.
    ///
    /// # Errors
    ///
    /// If the arguments cannot be JSON.
    #[doc(alias = "write")]
    pub fn send<A: ToArgs + ?Sized>(&self, args: &A) -> Result<(), EmitError> {
        self.emit("message", args)
    }
}
