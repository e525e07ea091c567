//! How sockets and namespaces are listened to, and no longer listened to.

use crate::{
    Namespace, Socket,
    handler::{self, Disconnect, Event, Handler, HandlerId, IntoReply, IntoResult},
};

/// Handlers for all sockets.
impl Namespace {
    /// Adds a handler for an event as [`on`](Self::on) does, and returns what [`off`](Self::off)
    /// removes it by.
    ///
    /// ```
    /// let io = socketio::SocketIo::new();
    /// let main = io.of("/");
    /// let id = main.add_handler("vote", async || "counted");
    /// assert!(main.off(id));
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
    pub fn off(&self, id: HandlerId) -> bool {
        let removed = self.change_listeners(|listeners| listeners.remove(id));
        removed.is_some()
    }

    /// Removes all handlers for an event. Those of single sockets stay.
    pub fn off_event(&self, event: &str) {
        drop(self.change_listeners(|listeners| listeners.remove_event(event)));
    }

    /// Removes the handlers for all events. Those of single sockets stay.
    pub fn off_all(&self) {
        drop(self.change_listeners(|listeners| listeners.remove_events()));
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
    pub fn off(&self, id: HandlerId) -> bool {
        let removed = self
            .listeners()
            .and_then(|it| it.update(|it| it.remove(id)));
        removed.is_some()
    }

    /// Removes all handlers that this socket has for an event. Those of the namespace stay.
    pub fn off_event(&self, event: &str) {
        if let Some(listeners) = self.listeners() {
            drop(listeners.update(|it| it.remove_event(event)));
        }
    }

    /// Removes the handlers that this socket has for all events. Those of the namespace stay.
    pub fn off_all(&self) {
        if let Some(listeners) = self.listeners() {
            drop(listeners.update(|it| it.remove_events()));
        }
    }
}
