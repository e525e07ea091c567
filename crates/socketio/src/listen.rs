//! How sockets and namespaces are listened to, and no longer listened to.

use std::sync::Arc;

use crate::{
    Namespace, OutgoingEvent, Socket, SocketIo,
    handler::{self, Disconnect, Event, Handler, HandlerId, IntoReply, IntoResult, IntoVerdict},
};

/// Handlers for all sockets.
impl Namespace {
    /// Adds a handler for an event as [`on`](Self::on) does, and returns what [`off`](Self::off)
    /// removes it by.
    ///
    /// ```
    /// let io = socketio::SocketIo::new();
    /// let id = io.add_handler("vote", async || "counted");
    /// assert!(io.off(id));
    /// ```
    ///
    /// # Panics
    ///
    /// If the name is reserved: no client can send it.
    pub fn add_handler<H, T>(&self, event: &str, handler: H) -> HandlerId
    where
        H: Handler<Event, T, Output: IntoReply>,
    {
        let handler = handler::event_handler(event, handler, false);
        self.change_listeners(|listeners| listeners.add_event(event, handler))
    }

    /// Removes a handler, of whatever kind. Returns whether it was there. An event that is being
    /// handled right now may still reach it.
    #[doc(alias = "removeListener")]
    pub fn off(&self, id: HandlerId) -> bool {
        let removed = self.change_listeners(|listeners| listeners.remove(id));
        removed.is_some()
    }

    /// Removes all handlers for an event. Those of single sockets stay.
    pub fn off_event(&self, event: &str) {
        drop(self.change_listeners(|listeners| listeners.remove_event(event)));
    }

    /// Removes the handlers for all events. Those of single sockets stay.
    #[doc(alias = "removeAllListeners")]
    pub fn off_all(&self) {
        drop(self.change_listeners(|listeners| listeners.remove_events()));
    }

    /// Adds a handler that is called for every socket when it has been disconnected and
    /// [`Socket::rooms`] still tells the rooms that it was in. Handlers of
    /// [`on_disconnect`](Self::on_disconnect) come after that: they wait until these are done.
    ///
    /// All events that came before have been given to their handlers. The socket itself is reached
    /// by no broadcast any more, so `socket.to(room)` reaches the others in the room.
    ///
    /// ```
    /// use socketio::{BoxError, Socket, SocketIo};
    ///
    /// let io = SocketIo::new();
    /// io.on_disconnecting(async |socket: Socket| {
    ///     for room in socket.rooms() {
    ///         socket.to(&room).emit("user left", &socket.id())?;
    ///     }
    ///     Ok::<_, BoxError>(())
    /// });
    /// ```
    pub fn on_disconnecting<H, T>(&self, handler: H) -> &Self
    where
        H: Handler<Disconnect, T, Output: IntoResult>,
    {
        let handler = handler::erase(handler);
        self.change_listeners(|listeners| listeners.disconnecting.push(handler));
        self
    }

    /// Adds a handler for events that no other handler is for, neither here nor at the socket
    /// itself. What it returns is the answer, as with any handler; without a fallback such events
    /// stay unanswered.
    ///
    /// ```
    /// use socketio::{SocketIo, handler::EventName};
    ///
    /// let io = SocketIo::new();
    /// io.on_fallback(async |name: EventName| {
    ///     Err::<(), _>(format!("there is no `{name}` here"))
    /// });
    /// ```
    pub fn on_fallback<H, T>(&self, handler: H) -> HandlerId
    where
        H: Handler<Event, T, Output: IntoReply>,
    {
        let handler = handler::erase_event(handler);
        self.change_listeners(|listeners| listeners.fallbacks.push(handler))
    }

    /// Adds a handler that is called for every event, before the packet middlewares and the
    /// event's own handlers. It does not answer, unless it takes the
    /// [`AckSender`](crate::handler::AckSender).
    ///
    /// ```
    /// use socketio::{Args, Socket, SocketIo, handler::EventName};
    ///
    /// let io = SocketIo::new();
    /// io.on_any(async |socket: Socket, name: EventName, args: Args| {
    ///     println!("{} sent {name}: {}", socket.id(), args.json());
    /// });
    /// ```
    #[doc(alias = "onAny")]
    pub fn on_any<H, T>(&self, handler: H) -> HandlerId
    where
        H: Handler<Event, T, Output: IntoResult>,
    {
        let handler = handler::erase(handler);
        self.change_listeners(|listeners| listeners.any.push(handler))
    }

    /// The same as [`on_any`](Self::on_any), but it is called before those that are there.
    #[doc(alias = "prependAny")]
    pub fn prepend_any<H, T>(&self, handler: H) -> HandlerId
    where
        H: Handler<Event, T, Output: IntoResult>,
    {
        let handler = handler::erase(handler);
        self.change_listeners(|listeners| listeners.any.prepend(handler))
    }

    /// Removes all handlers that were added by [`on_any`](Self::on_any) and
    /// [`prepend_any`](Self::prepend_any); [`off`](Self::off) removes one. Those of single sockets
    /// stay.
    #[doc(alias = "offAny")]
    pub fn off_any(&self) {
        drop(self.change_listeners(|listeners| listeners.any.clear()));
    }

    /// How many handlers [`on_any`](Self::on_any) and [`prepend_any`](Self::prepend_any) have
    /// added.
    #[doc(alias = "listenersAny")]
    pub fn listeners_any(&self) -> usize {
        self.handlers().current().listeners.any.len()
    }

    /// Adds a function that is called after an event has been sent to a socket, by itself or in a
    /// broadcast, once for each socket. Acknowledgements are no events.
    ///
    /// It is called by whoever sends, so it must be quick. It is told of what it sends itself too.
    ///
    /// ```
    /// let io = socketio::SocketIo::new();
    /// io.on_any_outgoing(|socket, event| {
    ///     println!("to {}: {} {}", socket.id(), event.name(), event.args().json());
    /// });
    /// ```
    #[doc(alias = "onAnyOutgoing")]
    pub fn on_any_outgoing(
        &self,
        listener: impl Fn(&Socket, &OutgoingEvent<'_>) + Send + Sync + 'static,
    ) -> HandlerId {
        self.change_listeners(|listeners| listeners.outgoing.push(Arc::new(listener)))
    }

    /// The same as [`on_any_outgoing`](Self::on_any_outgoing), but it is called before those that
    /// are there.
    #[doc(alias = "prependAnyOutgoing")]
    pub fn prepend_any_outgoing(
        &self,
        listener: impl Fn(&Socket, &OutgoingEvent<'_>) + Send + Sync + 'static,
    ) -> HandlerId {
        self.change_listeners(|listeners| listeners.outgoing.prepend(Arc::new(listener)))
    }

    /// Removes all functions that were added by [`on_any_outgoing`](Self::on_any_outgoing) and
    /// [`prepend_any_outgoing`](Self::prepend_any_outgoing); [`off`](Self::off) removes one. Those
    /// of single sockets stay.
    #[doc(alias = "offAnyOutgoing")]
    pub fn off_any_outgoing(&self) {
        drop(self.change_listeners(|listeners| listeners.outgoing.clear()));
    }

    /// How many functions [`on_any_outgoing`](Self::on_any_outgoing) and
    /// [`prepend_any_outgoing`](Self::prepend_any_outgoing) have added.
    #[doc(alias = "listenersAnyOutgoing")]
    pub fn listeners_any_outgoing(&self) -> usize {
        self.handlers().current().listeners.outgoing.len()
    }

    /// Adds a function that every event has to pass before its handlers are called, in the order
    /// of registration; those of the socket come after those of the namespace. It may give the
    /// event another name and other arguments, which is what later middlewares and the handlers
    /// see.
    ///
    /// If it returns an error or panics, or if its parameters cannot be had, no handler is called:
    /// the client is answered with the error if it asked for an answer, and the [error
    /// hook](SocketIo::on_error) is told in any case. While it waits, what the client sends next
    /// waits too, so that events keep their order.
    ///
    /// ```
    /// use socketio::{Socket, SocketIo, handler::Event};
    ///
    /// let io = SocketIo::new();
    /// io.packet_middleware(async |socket: Socket, mut event: Event| {
    ///     if event.name().starts_with("admin:") && !socket.rooms().iter().any(|it| &**it == "admins") {
    ///         return Err("not allowed");
    ///     }
    ///     if event.name() == "old name" {
    ///         event.set_name("new name");
    ///     }
    ///     Ok(event)
    /// });
    /// ```
    #[doc(alias = "use")]
    pub fn packet_middleware<H, T>(&self, middleware: H) -> &Self
    where
        H: Handler<Event, T, Output: IntoVerdict>,
    {
        let middleware = handler::erase_packet_middleware(middleware);
        self.change_listeners(|listeners| listeners.packet_middlewares.push(middleware));
        self
    }
}

/// The namespace `/`; `io.of("/")` has more of these.
impl SocketIo {
    /// See [`Namespace::add_handler`].
    ///
    /// # Panics
    ///
    /// If the name is reserved: no client can send it.
    pub fn add_handler<H, T>(&self, event: &str, handler: H) -> HandlerId
    where
        H: Handler<Event, T, Output: IntoReply>,
    {
        self.main().add_handler(event, handler)
    }

    /// See [`Namespace::off`].
    #[doc(alias = "removeListener")]
    pub fn off(&self, id: HandlerId) -> bool {
        self.main().off(id)
    }

    /// See [`Namespace::on_fallback`].
    pub fn on_fallback<H, T>(&self, handler: H) -> HandlerId
    where
        H: Handler<Event, T, Output: IntoReply>,
    {
        self.main().on_fallback(handler)
    }

    /// See [`Namespace::on_any`].
    #[doc(alias = "onAny")]
    pub fn on_any<H, T>(&self, handler: H) -> HandlerId
    where
        H: Handler<Event, T, Output: IntoResult>,
    {
        self.main().on_any(handler)
    }

    /// See [`Namespace::on_any_outgoing`].
    #[doc(alias = "onAnyOutgoing")]
    pub fn on_any_outgoing(
        &self,
        listener: impl Fn(&Socket, &OutgoingEvent<'_>) + Send + Sync + 'static,
    ) -> HandlerId {
        self.main().on_any_outgoing(listener)
    }

    /// See [`Namespace::packet_middleware`].
    #[doc(alias = "use")]
    pub fn packet_middleware<H, T>(&self, middleware: H) -> &Self
    where
        H: Handler<Event, T, Output: IntoVerdict>,
    {
        self.main().packet_middleware(middleware);
        self
    }

    /// See [`Namespace::on_disconnecting`].
    pub fn on_disconnecting<H, T>(&self, handler: H) -> &Self
    where
        H: Handler<Disconnect, T, Output: IntoResult>,
    {
        self.main().on_disconnecting(handler);
        self
    }
}

/// Handlers for one socket. They are dropped when it has been disconnected.
impl Socket {
    /// Adds a handler for an event as [`on`](Self::on) does, and returns what [`off`](Self::off)
    /// removes it by.
    ///
    /// # Panics
    ///
    /// If the name is reserved: no client can send it.
    pub fn add_handler<H, T>(&self, event: &str, handler: H) -> HandlerId
    where
        H: Handler<Event, T, Output: IntoReply>,
    {
        let handler = handler::event_handler(event, handler, false);
        self.add_listener(|listeners| listeners.add_event(event, handler))
    }

    /// Adds a handler that is called for an event once: it is removed when the event comes, also
    /// if its parameters cannot be had then.
    ///
    /// ```no_run
    /// # fn example(socket: socketio::Socket) {
    /// use socketio::handler::Data;
    ///
    /// socket.once("hello", async |Data(name): Data<String>| format!("nice to meet you, {name}"));
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// If the name is reserved: no client can send it.
    pub fn once<H, T>(&self, event: &str, handler: H) -> HandlerId
    where
        H: Handler<Event, T, Output: IntoReply>,
    {
        let handler = handler::event_handler(event, handler, true);
        self.add_listener(|listeners| listeners.add_event(event, handler))
    }

    /// Adds a handler for events that no other handler is for, which is called after those of the
    /// [namespace](Namespace::on_fallback).
    pub fn on_fallback<H, T>(&self, handler: H) -> HandlerId
    where
        H: Handler<Event, T, Output: IntoReply>,
    {
        let handler = handler::erase_event(handler);
        self.add_listener(|listeners| listeners.fallbacks.push(handler))
    }

    /// Adds a handler that is called for every event of this socket, after those of the
    /// [namespace](Namespace::on_any).
    #[doc(alias = "onAny")]
    pub fn on_any<H, T>(&self, handler: H) -> HandlerId
    where
        H: Handler<Event, T, Output: IntoResult>,
    {
        let handler = handler::erase(handler);
        self.add_listener(|listeners| listeners.any.push(handler))
    }

    /// The same as [`on_any`](Self::on_any), but it is called before those that this socket has.
    #[doc(alias = "prependAny")]
    pub fn prepend_any<H, T>(&self, handler: H) -> HandlerId
    where
        H: Handler<Event, T, Output: IntoResult>,
    {
        let handler = handler::erase(handler);
        self.add_listener(|listeners| listeners.any.prepend(handler))
    }

    /// Adds a function that is called after an event has been sent to this socket, by itself or in
    /// a broadcast, after those of the [namespace](Namespace::on_any_outgoing).
    #[doc(alias = "onAnyOutgoing")]
    pub fn on_any_outgoing(
        &self,
        listener: impl Fn(&Socket, &OutgoingEvent<'_>) + Send + Sync + 'static,
    ) -> HandlerId {
        self.add_listener(|listeners| listeners.outgoing.push(Arc::new(listener)))
    }

    /// The same as [`on_any_outgoing`](Self::on_any_outgoing), but it is called before those that
    /// this socket has.
    #[doc(alias = "prependAnyOutgoing")]
    pub fn prepend_any_outgoing(
        &self,
        listener: impl Fn(&Socket, &OutgoingEvent<'_>) + Send + Sync + 'static,
    ) -> HandlerId {
        self.add_listener(|listeners| listeners.outgoing.prepend(Arc::new(listener)))
    }

    /// Adds a function that every event of this socket has to pass, after those of the
    /// [namespace](Namespace::packet_middleware).
    #[doc(alias = "use")]
    pub fn packet_middleware<H, T>(&self, middleware: H)
    where
        H: Handler<Event, T, Output: IntoVerdict>,
    {
        let middleware = handler::erase_packet_middleware(middleware);
        self.add_listener(|listeners| listeners.packet_middlewares.push(middleware));
    }

    /// Adds a handler that is called when this socket has been disconnected and
    /// [`rooms`](Self::rooms) still tells the rooms that it was in, after those of the
    /// [namespace](Namespace::on_disconnecting).
    pub fn on_disconnecting<H, T>(&self, handler: H) -> HandlerId
    where
        H: Handler<Disconnect, T, Output: IntoResult>,
    {
        let handler = handler::erase(handler);
        self.add_listener(|listeners| listeners.disconnecting.push(handler))
    }

    /// Adds a handler that is called after this socket has been disconnected, after those of the
    /// [namespace](Namespace::on_disconnect).
    ///
    /// One that a connection handler adds is called also if the client has left meanwhile.
    pub fn on_disconnect<H, T>(&self, handler: H) -> HandlerId
    where
        H: Handler<Disconnect, T, Output: IntoResult>,
    {
        let handler = handler::erase(handler);
        self.add_listener(|listeners| listeners.disconnect.push(handler))
    }

    /// Removes a handler of this socket, of whatever kind. Returns whether it was there. An event
    /// that is being handled right now may still reach it.
    #[doc(alias = "removeListener")]
    pub fn off(&self, id: HandlerId) -> bool {
        let removed = self.change_listeners(|listeners| listeners.remove(id));
        removed.flatten().is_some()
    }

    /// Removes all handlers that this socket has for an event. Those of the namespace stay.
    pub fn off_event(&self, event: &str) {
        drop(self.change_listeners(|listeners| listeners.remove_event(event)));
    }

    /// Removes the handlers that this socket has for all events. Those of the namespace stay.
    #[doc(alias = "removeAllListeners")]
    pub fn off_all(&self) {
        drop(self.change_listeners(|listeners| listeners.remove_events()));
    }

    /// Removes all handlers that were added by [`on_any`](Self::on_any) and
    /// [`prepend_any`](Self::prepend_any); [`off`](Self::off) removes one. Those of the namespace
    /// stay.
    #[doc(alias = "offAny")]
    pub fn off_any(&self) {
        drop(self.change_listeners(|listeners| listeners.any.clear()));
    }

    /// How many handlers [`on_any`](Self::on_any) and [`prepend_any`](Self::prepend_any) have
    /// added to this socket.
    #[doc(alias = "listenersAny")]
    pub fn listeners_any(&self) -> usize {
        self.listeners().map_or(0, |it| it.any.len())
    }

    /// Removes all functions that were added by [`on_any_outgoing`](Self::on_any_outgoing) and
    /// [`prepend_any_outgoing`](Self::prepend_any_outgoing); [`off`](Self::off) removes one. Those
    /// of the namespace stay.
    #[doc(alias = "offAnyOutgoing")]
    pub fn off_any_outgoing(&self) {
        drop(self.change_listeners(|listeners| listeners.outgoing.clear()));
    }

    /// How many functions [`on_any_outgoing`](Self::on_any_outgoing) and
    /// [`prepend_any_outgoing`](Self::prepend_any_outgoing) have added to this socket.
    #[doc(alias = "listenersAnyOutgoing")]
    pub fn listeners_any_outgoing(&self) -> usize {
        self.listeners().map_or(0, |it| it.outgoing.len())
    }
}
