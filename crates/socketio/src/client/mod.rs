//! One connection: what arrives, for which socket it is, and whose turn it is.

mod close;
mod join;
mod search;
mod slot;
mod url;
mod waiting;

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use engineio::{CloseReason, Connection, Data, SessionHandle, Transmit, Version};
use futures_util::future::join_all;
use socketio_proto::{AnyDecoder, Args, Packet, PacketKind};
use tokio::time::Sleep;

use self::{
    search::Searches,
    slot::{Slot, Stage},
    waiting::{Item, Waiting},
};
use crate::{
    DisconnectReason, Socket, SocketIo, Str,
    handler::{self, Context as _, Disconnect, Event, EventHandler, HandlerId, Listeners, Task},
    handshake::auth_of_query,
    in_flight::{Done, InFlight, Work},
    socket::Kick,
};

/// One connection, with a socket in each namespace that the client has joined.
///
/// # Whose turn it is
///
/// Handlers of a socket start in the order in which its packets arrived. A packet waits in one
/// queue for the whole connection while
///
/// - the connection handlers of its socket are not done: they may be about to add handlers,
/// - an event of its socket is in packet middlewares,
/// - as many handlers of events are waiting for something as may, or
/// - another packet of its socket waits.
///
/// Acknowledgements never wait, since handlers wait for them. When the queue is full, nothing more
/// is taken from the session. That the connection has closed takes its place in the queue too, so
/// disconnection handlers come after everything that arrived before.
///
/// # When a client breaks the rules
///
/// A packet that cannot be decoded, a packet for a namespace that the client has not joined, a
/// second CONNECT for one that it has: the connection closes. Only what a client may have sent
/// before it knew that the server disconnected its socket is ignored.
#[derive(Debug)]
pub struct Client {
    io: SocketIo,
    session: SessionHandle,
    request: Arc<engineio::Handshake>,
    decoder: AnyDecoder,
    /// Usually one. Those that the server has made the client leave are in the order in which it
    /// has.
    slots: Vec<Slot>,
    searches: Searches,
    in_flight: InFlight,
    waiting: Waiting,
    /// While no namespace was joined; after the end, while there are middlewares.
    deadline: Option<Pin<Box<Sleep>>>,
    /// A client of protocol 4, which joins the namespace `/` without asking.
    joins_by_itself: bool,
    closed: bool,
}

impl Client {
    pub(crate) fn new(
        io: SocketIo,
        session: SessionHandle,
        request: Arc<engineio::Handshake>,
    ) -> Self {
        let options = io.options();
        let deadline = tokio::time::sleep(options.connect_timeout);
        Self {
            decoder: io.codec().decoder(options.limits),
            slots: Vec::new(),
            searches: Searches::default(),
            in_flight: InFlight::new(options.max_in_flight),
            waiting: Waiting::default(),
            deadline: Some(Box::pin(deadline)),
            joins_by_itself: session.version() == Version::V3,
            closed: false,
            io,
            session,
            request,
        }
    }

    /// What others have done since the last turn. From now on they wake this connection when they
    /// do something.
    fn catch_up(&mut self, cx: &mut Context<'_>) {
        if std::mem::take(&mut self.joins_by_itself) {
            let auth = auth_of_query(self.request.query());
            self.join("/", auth, cx);
        }
        let mut kicked = None;
        for slot in &mut self.slots {
            if let Some(kick) = slot.poll_kicked(cx) {
                kicked = kicked.max(Some(kick));
                let Some(socket) = slot.connected().filter(|_| kick != Kick::Replaced) else {
                    continue;
                };
                let socket = socket.clone();
                self.waiting.push(Item::Kicked(socket.clone()));
                slot.stage = Stage::Kicked(Some(socket));
            }
        }
        match kicked {
            Some(Kick::Connection) => self.kick_out(),
            Some(Kick::Replaced) if !self.closed => self.replaced(),
            Some(Kick::Replaced | Kick::Socket) | None => {}
        }
    }

    /// A packet has arrived.
    fn take(&mut self, mut packet: Packet, cx: &mut Context<'_>) {
        if self.session.version() == Version::V3 {
            let (name, query) = url::parse(&packet.nsp);
            if let PacketKind::Connect { auth } = &mut packet.kind {
                *auth = auth_of_query(query).map(|it| it.into_string().into());
            }
            if *name != *packet.nsp {
                packet.nsp = (*name).into();
            }
        }
        if self.must_wait(&packet) {
            if packet.kind == PacketKind::Disconnect && self.leave_at_once(&packet.nsp) {
                return;
            }
            self.waiting.push(Item::Packet(packet));
        } else {
            self.handle(packet, cx);
        }
    }

    /// The client leaves a namespace whose handlers are still at work. It will answer nothing any
    /// more, so whoever waits for an acknowledgement must hear of it now: the handlers in front of
    /// this packet may be the ones that wait. Disconnection handlers wait for their turn.
    fn leave_at_once(&mut self, namespace: &str) -> bool {
        let slot = self.position(namespace).map(|at| &self.slots[at]);
        let Some(socket) = slot.and_then(Slot::connected) else {
            return false;
        };
        let reason = DisconnectReason::ClientNamespaceDisconnect;
        let left = socket.left(reason);
        if left {
            let context = Disconnect::new(socket.clone(), reason);
            self.waiting.push(Item::Ended(context));
        }
        left
    }

    fn must_wait(&self, packet: &Packet) -> bool {
        let takes_turns = match packet.kind {
            PacketKind::Event { .. } | PacketKind::Disconnect => true,
            PacketKind::Connect { .. } => false,
            PacketKind::Empty | PacketKind::Ack { .. } | PacketKind::ConnectError { .. } => {
                return false;
            }
        };
        if self.waiting.has_for(&packet.nsp) {
            return true;
        }
        let slot = self.position(&packet.nsp).map(|at| &self.slots[at]);
        takes_turns
            && slot.is_some_and(|slot| {
                slot.connected().is_some() && (slot.is_starting() || self.in_flight.is_full())
            })
    }

    /// A packet whose turn it is.
    fn handle(&mut self, packet: Packet, cx: &mut Context<'_>) {
        let Packet { nsp, kind } = packet;
        let Some(at) = self.position(&nsp) else {
            return match kind {
                PacketKind::Connect { auth } if !self.searches.contains(&nsp) => {
                    self.join(&nsp, auth.map(copy), cx);
                }
                _ => self.violation(&nsp),
            };
        };
        match (&self.slots[at].stage, kind) {
            (Stage::Open(socket), kind) => match kind {
                PacketKind::Event { name, id, args } => {
                    let socket = socket.clone();
                    self.dispatch(at, socket, name, id, args, cx);
                }
                PacketKind::Ack { id, args } => socket.resolve_ack(id, args),
                PacketKind::Disconnect => {
                    // If not, the server was faster, and `catch_up` will see to it.
                    let reason = DisconnectReason::ClientNamespaceDisconnect;
                    if socket.left(reason) {
                        let socket = socket.clone();
                        self.slots.remove(at);
                        self.run_disconnect(Disconnect::new(socket, reason), cx);
                    }
                }
                PacketKind::Empty => {}
                PacketKind::Connect { .. } | PacketKind::ConnectError { .. } => {
                    self.violation(&nsp);
                }
            },
            (Stage::Kicked(_), PacketKind::Connect { auth }) => {
                self.slots.remove(at);
                self.join(&nsp, auth.map(copy), cx);
            }
            (Stage::Joining(_), _) | (Stage::Kicked(_), PacketKind::ConnectError { .. }) => {
                self.violation(&nsp);
            }
            (Stage::Kicked(_), _) => {}
        }
    }

    fn dispatch(
        &mut self,
        at: usize,
        socket: Socket,
        name: Str,
        id: Option<u64>,
        args: Args,
        cx: &mut Context<'_>,
    ) {
        let own = socket.listeners();
        let event = Event::new(socket, name, id, args);
        let Self {
            slots, in_flight, ..
        } = self;
        let slot = &mut slots[at];
        let handlers = slot.handlers.refresh(slot.namespace.handlers());
        let any = own.iter().flat_map(|own| own.any.iter());
        for handler in handlers.listeners.any.iter().chain(any) {
            if let Some(task) = handler(&event) {
                in_flight.start(Work::Event(task), cx);
            }
        }
        if !handler::has_packet_middlewares(handlers, own.as_deref()) {
            return self.run_event(at, &event, cx);
        }
        let socket = event.socket().clone();
        let passage = handler::passage(handlers.clone(), own, event);
        match in_flight.start(Work::Pass(passage, socket), cx) {
            Some(Done::Pass(_, event)) => self.passed(at, event, cx),
            // What the client sends next waits.
            _ => slot.starting += 1,
        }
    }

    /// An event has been through the packet middlewares, if they let it through.
    fn passed(&mut self, at: usize, event: Option<Event>, cx: &mut Context<'_>) {
        if let Some(event) = event {
            self.run_event(at, &event, cx);
        }
    }

    fn run_event(&mut self, at: usize, event: &Event, cx: &mut Context<'_>) {
        // As with events that have waited: not if the server has disconnected the socket. Whoever
        // looked at this one may have done so.
        if event.socket().is_kicked() {
            return;
        }
        let Self {
            slots, in_flight, ..
        } = self;
        let mut unhandled = true;
        let mut run = |handlers: &[(HandlerId, EventHandler)]| {
            for (id, handler) in handlers {
                // Whoever removes it calls it.
                if handler.once && !event.socket().off(*id) {
                    continue;
                }
                unhandled = false;
                if let Some(task) = (handler.call)(event, cx) {
                    in_flight.park(Work::Event(task));
                }
            }
        };
        let slot = &mut slots[at];
        let handlers = slot.handlers.refresh(slot.namespace.handlers());
        run(handlers.listeners.events(event.name()));
        if let Some(own) = event.socket().listeners() {
            run(own.events(event.name()));
        }
        if unhandled {
            let own = event.socket().listeners();
            let own = own.iter().flat_map(|own| own.fallbacks.iter());
            for handler in handlers.listeners.fallbacks.iter().chain(own) {
                if let Some(task) = handler(event, cx) {
                    in_flight.park(Work::Event(task));
                }
            }
        }
    }

    /// A socket's turn to hear that it has been disconnected.
    fn run_disconnect(&mut self, context: Disconnect, cx: &mut Context<'_>) {
        let own = context.socket.listeners();
        // They may hold the socket.
        context.socket.drop_listeners();
        let handlers = context.socket.namespace().handlers().current();
        let of_socket = own.iter().flat_map(|own| own.disconnecting.iter());
        let all = handlers.listeners.disconnecting.iter().chain(of_socket);
        let tasks: Vec<Task> = all.filter_map(|handler| handler(&context)).collect();
        if tasks.is_empty() {
            return self.disconnected(&context, own.as_deref(), cx);
        }
        let farewell = Box::pin(async move {
            join_all(tasks).await;
            (context, own)
        });
        if let Some(done) = self.in_flight.start(Work::Disconnecting(farewell), cx) {
            self.done(done, cx);
        }
    }

    fn disconnected(
        &mut self,
        context: &Disconnect,
        own: Option<&Listeners>,
        cx: &mut Context<'_>,
    ) {
        context.socket.forget_rooms();
        let handlers = context.socket.namespace().handlers().current();
        let of_socket = own.iter().flat_map(|own| own.disconnect.iter());
        for handler in handlers.listeners.disconnect.iter().chain(of_socket) {
            if let Some(task) = handler(context) {
                self.in_flight.start(Work::Event(task), cx);
            }
        }
    }

    /// Goes on with everything that is not finished.
    fn progress(&mut self, has_news: bool, cx: &mut Context<'_>) {
        if has_news {
            self.catch_up(cx);
        }
        if let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(cx).is_ready()
        {
            if !self.closed {
                self.close_by_force(None);
            }
            self.in_flight.give_up_admissions();
            self.deadline = None;
        }
        while let Some(found) = self.searches.poll_found(cx) {
            self.found(found, cx);
        }
        while let Some(done) = self.in_flight.poll_finished(cx) {
            self.done(done, cx);
        }
        self.drain(cx);
    }

    /// Whether something is not finished.
    fn is_busy(&self) -> bool {
        !self.in_flight.is_empty() || !self.waiting.is_empty() || self.searches.len() != 0
    }

    /// Gives their turn to all who can have it.
    fn drain(&mut self, cx: &mut Context<'_>) {
        let mut at = 0;
        while !self.waiting.is_empty() && !self.in_flight.is_full() {
            // The handler before may have disconnected the socket that the next one is for.
            if self.slots.iter().any(Slot::is_behind) {
                self.catch_up(cx);
            }
            let Some(item) = self.waiting.get(at) else {
                break;
            };
            let slot = self.position(item.namespace());
            if slot.is_some_and(|slot| self.slots[slot].is_starting()) {
                at += 1;
                continue;
            }
            match self.waiting.remove(at) {
                Some(Item::Packet(packet)) => self.handle(packet, cx),
                Some(Item::Kicked(socket)) => {
                    if let Some(slot) = self.slots.iter().position(|slot| slot.is_of(&socket)) {
                        let mut slot = self.slots.remove(slot);
                        slot.stage = Stage::Kicked(None);
                        // The last one to be forgotten.
                        self.slots.push(slot);
                    }
                    let reason = DisconnectReason::ServerNamespaceDisconnect;
                    self.run_disconnect(Disconnect::new(socket, reason), cx);
                }
                Some(Item::Ended(context)) => {
                    // Not if the client had left by itself just before.
                    let mut slots = self.slots.iter();
                    if let Some(slot) = slots.position(|slot| slot.is_of(&context.socket)) {
                        self.slots.remove(slot);
                        self.run_disconnect(context, cx);
                    }
                }
                None => {}
            }
        }
    }

    fn position(&self, namespace: &str) -> Option<usize> {
        self.slots
            .iter()
            .position(|slot| slot.namespace.name() == namespace)
    }

    #[cfg(test)]
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    #[cfg(test)]
    pub(crate) fn socket(&self, namespace: &str) -> Option<Socket> {
        self.slots[self.position(namespace)?].connected().cloned()
    }
}

impl Connection for Client {
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<()> {
        // The queue gets shorter in `poll_progress` alone, and after that the driver asks again.
        if !self.closed && self.waiting.is_full(self.io.options()) {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }

    fn on_message(&mut self, message: Data, cx: &mut Context<'_>) {
        if self.joins_by_itself || self.slots.iter().any(Slot::is_behind) {
            self.catch_up(cx);
        }
        if self.closed {
            return;
        }
        match self.decoder.add(message) {
            Ok(None) => {}
            Ok(Some(packet)) => self.take(packet, cx),
            Err(error) => self.decode_error(error),
        }
    }

    #[inline]
    fn poll_progress(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // In most turns there is something to write and nothing else: neither the slots nor their
        // sockets need to be fetched from memory for that.
        let has_news = self.joins_by_itself || self.session.take_flag();
        if has_news || self.deadline.is_some() || self.is_busy() {
            self.progress(has_news, cx);
        }
        match self.is_busy() {
            false => Poll::Ready(()),
            true => Poll::Pending,
        }
    }

    fn on_upgrade(&mut self, _: &mut Context<'_>) {
        let hooks = self.io.conn_hooks();
        hooks.upgrade.call(&self.io, |hook| hook(&self.session));
    }

    fn on_packet(&mut self, packet: &engineio::Packet) {
        if let engineio::PacketKind::Ping | engineio::PacketKind::Pong = packet.kind {
            // What was removed is not kept for longer than until the next heartbeat.
            for slot in &mut self.slots {
                slot.handlers.refresh(slot.namespace.handlers());
            }
        }
        let hooks = self.io.conn_hooks();
        hooks
            .packet
            .call(&self.io, |hook| hook(&self.session, packet));
    }

    #[inline]
    fn on_packet_create(&mut self, packet: &Transmit) {
        let hooks = self.io.conn_hooks();
        hooks
            .packet_create
            .call(&self.io, |hook| hook(&self.session, packet));
    }

    #[inline]
    fn on_drain(&mut self, _: &mut Context<'_>) {
        let hooks = self.io.conn_hooks();
        hooks.drain.call(&self.io, |hook| hook(&self.session));
    }

    fn on_close(
        &mut self,
        reason: CloseReason,
        description: Option<&'static str>,
        _: &mut Context<'_>,
    ) {
        self.end(reason.into(), description.map(Into::into));
        let hooks = self.io.conn_hooks();
        hooks
            .close
            .call(&self.io, |hook| hook(&self.session, reason, description));
    }
}

/// What a socket keeps must not be a slice of what it was read from.
fn copy(text: Str) -> Box<str> {
    (*text).into()
}
