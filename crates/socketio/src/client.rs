//! One connection: what arrives, for which socket it is, and whose turn it is.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use engineio::{CloseReason, Connection, Data, SessionHandle, Version};
use socketio_proto::{
    Args, DecodeError, Decoder, Packet, PacketKind,
    connect::{self, split_namespace_query},
};
use tokio::time::Sleep;

use crate::{
    ConnectError, DisconnectReason, ErrorReport, Handshake, Socket, SocketIo, Str,
    ack::AckRequest,
    error::HandlerError,
    handler::{Connect, Disconnect, Event, Events, Handlers, admission},
    handshake::auth_of_query,
    in_flight::{Done, InFlight, Work},
    server::Options,
    snapshot::Snapshot,
};

/// One connection, with a socket in each namespace that the client has joined.
///
/// # Whose turn it is
///
/// Handlers of a socket start in the order in which its packets arrived. A packet waits in one
/// queue for the whole connection while
///
/// - the connection handlers of its socket are not done: they may be about to add handlers,
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
    decoder: Decoder,
    /// Usually one.
    slots: Vec<Slot>,
    in_flight: InFlight,
    waiting: Waiting,
    /// While no namespace was joined.
    deadline: Option<Pin<Box<Sleep>>>,
    /// A client of protocol 4, which joins the namespace `/` without asking.
    joins_by_itself: bool,
    closed: bool,
}

/// A namespace that the client has joined or is about to.
#[derive(Debug)]
struct Slot {
    socket: Socket,
    stage: Stage,
    handlers: Snapshot<Handlers>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// In middleware.
    Joining,
    /// Connected; this many connection handlers are not done yet.
    Starting(usize),
    /// Connected.
    Open,
    /// Disconnected by the server. The client may not know yet.
    Kicked,
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
            decoder: Decoder::new(options.limits),
            slots: Vec::new(),
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

    /// Whether there is something to [catch up](Self::catch_up) with.
    fn is_behind(&self) -> bool {
        let is_kicked = |slot: &Slot| slot.stage.is_connected() && !slot.socket.connected();
        self.joins_by_itself || self.slots.iter().any(is_kicked)
    }

    /// What others have done since the last turn. From now on they wake this connection when they
    /// do something.
    fn catch_up(&mut self, cx: &mut Context<'_>) {
        if std::mem::take(&mut self.joins_by_itself) && !self.closed {
            let auth = auth_of_query(self.request.query());
            self.join("/", auth, cx);
        }
        let mut close = false;
        for slot in &mut self.slots {
            if slot.stage.is_connected()
                && let Some(out) = slot.socket.poll_kicked(cx)
            {
                slot.stage = Stage::Kicked;
                let reason = DisconnectReason::ServerNamespaceDisconnect;
                self.waiting.push(Item::Left(slot.socket.clone(), reason));
                close |= out;
            }
        }
        if close && !self.closed {
            for slot in &self.slots {
                slot.socket.disconnect();
            }
            self.end(DisconnectReason::ServerNamespaceDisconnect);
            self.session.close(CloseReason::ForcedClose);
        }
    }

    fn take(&mut self, mut packet: Packet, cx: &mut Context<'_>) {
        let mut query = None;
        if self.session.version() == Version::V3
            && matches!(packet.kind, PacketKind::Connect { .. })
        {
            let (name, rest) = split_namespace_query(&packet.nsp);
            query = auth_of_query(rest);
            packet.nsp = name.into();
        }
        if let (PacketKind::Connect { auth }, Some(query)) = (&mut packet.kind, query) {
            *auth = Some(query.into_string().into());
        }
        if self.must_wait(&packet) {
            self.waiting.push(Item::Packet(packet));
        } else {
            self.handle(packet, cx);
        }
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
        let Some(at) = self.position(&packet.nsp) else {
            return false;
        };
        takes_turns
            && self.slots[at].stage.is_connected()
            && (self.slots[at].is_starting() || self.in_flight.is_full())
    }

    /// A packet whose turn it is.
    fn handle(&mut self, packet: Packet, cx: &mut Context<'_>) {
        let Packet { nsp, kind } = packet;
        let at = self.position(&nsp);
        let stage = at.map(|at| self.slots[at].stage);
        match (at, stage, kind) {
            (None, _, PacketKind::Connect { auth }) => self.join(&nsp, auth.map(copy), cx),
            (Some(at), Some(Stage::Kicked), PacketKind::Connect { auth }) => {
                self.slots.swap_remove(at);
                self.join(&nsp, auth.map(copy), cx);
            }
            (_, Some(Stage::Kicked), PacketKind::ConnectError { .. }) => self.violation(&nsp),
            (_, Some(Stage::Kicked), _) => {}
            (Some(at), Some(Stage::Starting(_) | Stage::Open), kind) => match kind {
                PacketKind::Event { name, id, args } => self.dispatch(at, name, id, args, cx),
                PacketKind::Ack { id, args } => self.slots[at].socket.resolve_ack(id, args),
                PacketKind::Disconnect => {
                    let socket = self.slots.swap_remove(at).socket;
                    socket.left();
                    self.run_disconnect(socket, DisconnectReason::ClientNamespaceDisconnect, cx);
                }
                PacketKind::Empty => {}
                PacketKind::Connect { .. } | PacketKind::ConnectError { .. } => {
                    self.violation(&nsp);
                }
            },
            _ => self.violation(&nsp),
        }
    }

    fn join(&mut self, name: &str, auth: Option<Box<str>>, cx: &mut Context<'_>) {
        if self.closed {
            return;
        }
        let Some(namespace) = self.io.namespace(name) else {
            // The same for clients of protocol 4, as the official server has it.
            let packet = connect::connect_error(Version::V4, name, "Invalid namespace", None);
            return self.session.send(packet);
        };
        let mut handlers = namespace.handlers().snapshot();
        let handshake = Handshake::new(self.request.clone(), auth);
        let socket = Socket::new(namespace, self.session.clone(), handshake);
        if self.slots.is_empty() {
            self.slots.reserve_exact(1);
        }
        let admission = admission(handlers.refresh(socket.namespace().handlers()), &socket);
        self.slots.push(Slot {
            socket: socket.clone(),
            stage: Stage::Joining,
            handlers,
        });
        match admission {
            None => self.decided(&socket, Ok(()), cx),
            Some(admission) => {
                let work = Work::Admit(admission, socket);
                if let Some(done) = self.in_flight.start(work, cx) {
                    self.done(done, cx);
                }
            }
        }
    }

    /// The middlewares are done with a client.
    fn decided(
        &mut self,
        socket: &Socket,
        outcome: Result<(), ConnectError>,
        cx: &mut Context<'_>,
    ) {
        let Some(at) = self.position_of(socket) else {
            return;
        };
        let name = socket.namespace().name();
        let version = self.session.version();
        if let Err(error) = outcome {
            socket.refuse();
            self.slots.swap_remove(at);
            let packet = connect::connect_error(version, name, error.message(), error.data());
            return self.session.send(packet);
        }
        self.deadline = None;
        // The packet before the registration: no broadcast may overtake it. It cannot leave
        // before this turn is over.
        self.session
            .send(connect::connect(version, name, socket.id(), None));
        socket.admit();
        let Self {
            slots, in_flight, ..
        } = self;
        let slot = &mut slots[at];
        let context = Connect {
            socket: socket.clone(),
        };
        let mut unfinished = 0;
        for handler in &slot.handlers.refresh(socket.namespace().handlers()).connect {
            if let Some(task) = handler(&context) {
                let work = Work::Connect(task, socket.clone());
                unfinished += usize::from(in_flight.start(work, cx).is_none());
            }
        }
        slot.stage = match unfinished {
            0 => Stage::Open,
            unfinished => Stage::Starting(unfinished),
        };
        // The handlers may have disconnected it already.
        self.catch_up(cx);
    }

    fn dispatch(
        &mut self,
        at: usize,
        name: Str,
        id: Option<u64>,
        args: Args,
        cx: &mut Context<'_>,
    ) {
        let Self {
            slots, in_flight, ..
        } = self;
        let Slot {
            socket, handlers, ..
        } = &mut slots[at];
        let event = Event {
            socket: socket.clone(),
            ack: id.map(|id| Arc::new(AckRequest::new(socket.clone(), name.clone(), id))),
            name,
            args,
        };
        let mut run = |events: &Events| {
            for handler in events.get(&event.name) {
                if let Some(task) = handler(&event) {
                    in_flight.start(Work::Event(task), cx);
                }
            }
        };
        run(&handlers.refresh(socket.namespace().handlers()).events);
        if let Some(own) = socket.handlers() {
            run(&own.current());
        }
    }

    fn run_disconnect(&mut self, socket: Socket, reason: DisconnectReason, cx: &mut Context<'_>) {
        let handlers = socket.namespace().handlers().current();
        let context = Disconnect { socket, reason };
        for handler in &handlers.disconnect {
            if let Some(task) = handler(&context) {
                self.in_flight.start(Work::Event(task), cx);
            }
        }
        context.socket.drop_handlers();
    }

    fn done(&mut self, done: Done, cx: &mut Context<'_>) {
        match done {
            Done::Event => {}
            Done::Admit(socket, outcome) => self.decided(&socket, outcome, cx),
            Done::Connect(socket) => {
                if let Some(at) = self.position_of(&socket)
                    && let Stage::Starting(unfinished) = &mut self.slots[at].stage
                {
                    *unfinished -= 1;
                    if *unfinished == 0 {
                        self.slots[at].stage = Stage::Open;
                    }
                }
            }
        }
    }

    /// Gives their turn to all who can have it. `false` if nobody could.
    fn drain(&mut self, cx: &mut Context<'_>) -> bool {
        let mut any = false;
        let mut at = 0;
        while !self.in_flight.is_full()
            && let Some(item) = self.waiting.get(at)
        {
            let slot = self.position(item.namespace());
            if slot.is_some_and(|slot| self.slots[slot].is_starting()) {
                at += 1;
                continue;
            }
            any = true;
            match self.waiting.remove(at) {
                Some(Item::Packet(packet)) => self.handle(packet, cx),
                Some(Item::Left(socket, reason)) => {
                    // Not if the client has left by itself just before.
                    if let Some(slot) = self.position_of(&socket) {
                        if self.closed {
                            self.slots.swap_remove(slot);
                        }
                        self.run_disconnect(socket, reason, cx);
                    }
                }
                None => {}
            }
        }
        any
    }

    fn violation(&mut self, namespace: &str) {
        if !self.closed {
            tracing::debug!(sid = ?self.session.sid(), namespace, "packet out of place");
            self.close_by_force();
        }
    }

    fn decode_error(&mut self, error: DecodeError) {
        let error = HandlerError::Decode(error);
        let connected = self.slots.iter().filter(|it| it.stage.is_connected());
        let mut told = false;
        for Slot { socket, .. } in connected {
            told = true;
            socket.namespace().report(&ErrorReport {
                socket: Some(socket),
                event: None,
                error: &error,
            });
        }
        if !told {
            self.io.report(&ErrorReport {
                socket: None,
                event: None,
                error: &error,
            });
        }
        self.close_by_force();
    }

    fn close_by_force(&mut self) {
        self.end(if self.session.is_writable() {
            DisconnectReason::ForcedClose
        } else {
            DisconnectReason::ForcedServerClose
        });
        self.session.close(CloseReason::ForcedClose);
    }

    /// Nothing more comes from the client, and nothing more goes to it.
    fn end(&mut self, reason: DisconnectReason) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        self.deadline = None;
        self.slots.retain_mut(|slot| {
            match slot.stage {
                Stage::Joining => {
                    slot.socket.refuse();
                    return false;
                }
                Stage::Starting(_) | Stage::Open => {
                    let reason = if slot.socket.left() {
                        reason
                    } else {
                        slot.stage = Stage::Kicked;
                        DisconnectReason::ServerNamespaceDisconnect
                    };
                    self.waiting.push(Item::Left(slot.socket.clone(), reason));
                }
                Stage::Kicked => {}
            }
            true
        });
    }

    #[cfg(test)]
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    #[cfg(test)]
    pub(crate) fn socket(&self, namespace: &str) -> Option<Socket> {
        self.position(namespace)
            .map(|at| self.slots[at].socket.clone())
    }

    fn position(&self, namespace: &str) -> Option<usize> {
        self.slots
            .iter()
            .position(|slot| slot.socket.namespace().name() == namespace)
    }

    fn position_of(&self, socket: &Socket) -> Option<usize> {
        self.slots.iter().position(|slot| slot.socket == *socket)
    }
}

impl Connection for Client {
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<()> {
        // The queue gets shorter in `poll_progress` alone, and after that the driver asks again.
        if self.waiting.is_full(self.io.options()) {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    }

    fn on_message(&mut self, message: Data, cx: &mut Context<'_>) {
        if self.is_behind() {
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

    fn poll_progress(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.catch_up(cx);
        if let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(cx).is_ready()
        {
            self.close_by_force();
        }
        loop {
            while let Some(done) = self.in_flight.poll_finished(cx) {
                self.done(done, cx);
            }
            if !self.drain(cx) {
                break;
            }
        }
        if self.in_flight.is_empty() && self.waiting.is_empty() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    fn on_close(&mut self, reason: CloseReason, _: &mut Context<'_>) {
        self.end(reason.into());
    }
}

impl Drop for Client {
    /// The usual end is [`on_close`](Connection::on_close). Without it (the runtime goes down) the
    /// sockets must not stay in their rooms.
    fn drop(&mut self) {
        for slot in &self.slots {
            if slot.stage == Stage::Joining {
                slot.socket.refuse();
            } else {
                slot.socket.left();
            }
        }
    }
}

impl Slot {
    fn is_starting(&self) -> bool {
        matches!(self.stage, Stage::Starting(_))
    }
}

impl Stage {
    fn is_connected(self) -> bool {
        matches!(self, Stage::Starting(_) | Stage::Open)
    }
}

/// What waits for its turn.
#[derive(Debug, Default)]
struct Waiting {
    items: VecDeque<Item>,
    bytes: usize,
}

#[derive(Debug)]
enum Item {
    Packet(Packet),
    /// A socket has been disconnected, and its handlers are to hear of it.
    Left(Socket, DisconnectReason),
}

impl Waiting {
    fn push(&mut self, item: Item) {
        self.bytes += item.bytes();
        self.items.push_back(item);
    }

    fn get(&self, at: usize) -> Option<&Item> {
        self.items.get(at)
    }

    fn remove(&mut self, at: usize) -> Option<Item> {
        let item = self.items.remove(at)?;
        self.bytes -= item.bytes();
        if self.items.is_empty() {
            self.items = VecDeque::new();
        }
        Some(item)
    }

    fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    fn is_full(&self, options: &Options) -> bool {
        self.items.len() >= options.max_waiting || self.bytes >= options.max_waiting_bytes
    }

    fn has_for(&self, namespace: &str) -> bool {
        self.items.iter().any(|item| item.namespace() == namespace)
    }
}

impl Item {
    fn namespace(&self) -> &str {
        match self {
            Item::Packet(packet) => &packet.nsp,
            Item::Left(socket, _) => socket.namespace().name(),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Item::Packet(Packet {
                kind: PacketKind::Event { args, .. },
                ..
            }) => args.json().len() + args.attachments().iter().map(Bytes::len).sum::<usize>(),
            _ => 0,
        }
    }
}

/// What a socket keeps must not be a slice of what it was read from.
fn copy(text: Str) -> Box<str> {
    (*text).into()
}
