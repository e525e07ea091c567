//! One client in one namespace.

use std::{
    collections::HashMap,
    fmt,
    hash::{Hash, Hasher},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock, Weak,
        atomic::{AtomicU8, Ordering},
    },
    task::Waker,
    time::Duration,
};

use engineio::{Overflow, SessionHandle, Sid, Version};
use futures_util::task::AtomicWaker;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use socketio_adapter::{Room, SocketDetails};
use socketio_proto::{Args, EncodeError, Encoded, ToArgs};
use tokio::sync::oneshot;

use crate::{
    AckError, AckFuture, BroadcastOperator, DisconnectReason, EmitError, ErrorReport, Extensions,
    Handshake, Namespace,
    broadcast::IntoRooms,
    delivery::Ticket,
    emitter::{Emitter, Flags, Way},
    error::HandlerError,
    handler::{Event, Handler, HandlerId, IntoReply, Listeners},
    namespace::Member,
    namespaces::Seat,
    outgoing,
    recovery::{Order, Packets, Recoverable},
    snapshot::Watched,
};

/// One client in one namespace. Cheap to clone; any task may use it at any time.
///
/// It is *connected* from the moment that all middlewares have let it in until it is disconnected.
/// After that it sends nothing and joins nothing; that is no error. (With
/// [recovery](crate::Builder::connection_state_recovery), what it sends may be kept for its client.)
#[derive(Clone)]
pub struct Socket(Arc<Inner>);

struct Inner {
    id: Room,
    namespace: Namespace,
    session: SessionHandle,
    handshake: Handshake,
    /// One of the states below.
    state: AtomicU8,
    /// Wakes the connection when [`Socket::disconnect`] has changed the state.
    connection: AtomicWaker,
    /// What belongs to the state and most sockets do not need at a given time.
    rare: Mutex<Option<Box<Rare>>>,
    extras: OnceLock<Box<Extras>>,
    /// If its namespace has connection state recovery, and its client knows of it.
    recoverable: Option<Box<Recoverable>>,
}

pub(crate) struct WeakSocket(Weak<Inner>);

impl WeakSocket {
    pub(crate) fn upgrade(&self) -> Option<Socket> {
        self.0.upgrade().map(Socket)
    }

    pub(crate) fn is_alive(&self) -> bool {
        self.0.strong_count() > 0
    }
}

#[derive(Default)]
struct Rare {
    pending_acks: HashMap<u64, Waiter>,
    /// Rooms joined before the socket was connected; or those that it was in when it was
    /// disconnected, as long as handlers for that look at them.
    rooms: Vec<Room>,
}

/// Who waits for an answer of the client.
#[derive(Debug)]
enum Waiter {
    One(oneshot::Sender<Args>),
    OfMany(Ticket),
}

/// What applications may add to a socket.
#[derive(Default)]
struct Extras {
    extensions: Extensions,
    data: RwLock<Option<Box<RawValue>>>,
    listeners: OnceLock<Box<Watched<Listeners>>>,
}

/// In middleware.
const CONNECTING: u8 = 0;
const CONNECTED: u8 = 1;
/// Refused, or left by the client or with its connection.
const LEFT: u8 = 2;
/// Disconnected by the server.
const KICKED: u8 = 3;
/// Disconnected by the server, which wants the whole connection closed.
const KICKED_OUT: u8 = 4;
/// Its client has come back on another connection.
const TAKEN_OVER: u8 = 5;
/// None of its handlers will be called any more.
const GONE: u8 = 6;

impl Socket {
    /// A socket that is about to be connected. The seat is its, until it leaves or is refused.
    pub(crate) fn new(
        seat: Seat,
        session: SessionHandle,
        handshake: Handshake,
        restored: Option<Recoverable>,
    ) -> Self {
        let namespace = seat.into_namespace();
        let version = session.version();
        let recoverable = namespace.recovery().and_then(|recovery| {
            recovery.note(version);
            (version == Version::V4).then(|| {
                let claimed = match recovery.has_store() {
                    true => restored,
                    false => recovery.claim(handshake.auth()),
                };
                Box::new(claimed.unwrap_or_else(Recoverable::new))
            })
        });
        let before = recoverable.as_ref().and_then(|it| it.before());
        let (id, data) = before.unwrap_or_else(|| (new_id(&session, namespace.name()), None));
        let extras = OnceLock::new();
        if let Some(data) = data {
            let data = RwLock::new(Some(data));
            let _ = extras.set(Box::new(Extras {
                data,
                ..Extras::default()
            }));
        }
        Self(Arc::new(Inner {
            id,
            namespace,
            session,
            handshake,
            state: AtomicU8::new(CONNECTING),
            connection: AtomicWaker::new(),
            rare: Mutex::default(),
            extras,
            recoverable,
        }))
    }

    /// The id: unique, known to the client, and the name of a room that the socket is in.
    ///
    /// Clients of protocol 4 (1.x and 2.x) have the session's id in it; all others have one of 118
    /// random bits that says nothing about the session.
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// The namespace.
    pub fn namespace(&self) -> &Namespace {
        &self.0.namespace
    }

    /// What the client said when it connected.
    pub fn handshake(&self) -> &Handshake {
        &self.0.handshake
    }

    /// The connection below, which the sockets of a client in several namespaces share.
    pub fn conn(&self) -> &SessionHandle {
        &self.0.session
    }

    /// Whether the socket is connected: middlewares have let it in, and it was not disconnected.
    pub fn connected(&self) -> bool {
        self.state() == CONNECTED
    }

    /// Whether the client has come back after a disconnection: the socket has its id, rooms and data
    /// again, and the client gets what it has missed; see
    /// [`Builder::connection_state_recovery`](crate::Builder::connection_state_recovery).
    pub fn recovered(&self) -> bool {
        let recoverable = self.0.recoverable.as_ref();
        recoverable.is_some_and(|it| it.is_recovered())
    }

    /// Values of any type, one of each, that belong to this socket.
    pub fn extensions(&self) -> &Extensions {
        &self.extras().extensions
    }

    /// Keeps data with the socket, in place of what was there. Other servers
    /// [see it](crate::BroadcastOperator::fetch_sockets), and a
    /// [recovered](crate::Builder::connection_state_recovery) socket has it again. For what is only
    /// for this server, or cannot be JSON, there are [`extensions`](Self::extensions).
    ///
    /// ```
    /// # fn example(socket: &socketio::Socket) -> Result<(), serde_json::Error> {
    /// #[derive(serde::Serialize, serde::Deserialize)]
    /// struct User { name: String }
    ///
    /// socket.set_data(&User { name: "ann".into() })?;
    /// let user: User = socket.data()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If it cannot be JSON.
    pub fn set_data<T: Serialize + ?Sized>(&self, data: &T) -> Result<(), serde_json::Error> {
        let data = serde_json::value::to_raw_value(data)?;
        let mut slot = self.extras().data.write();
        let slot = slot.as_mut().unwrap_or_else(|it| it.get_mut());
        **slot = Some(data);
        Ok(())
    }

    /// The [data](Self::set_data) of the socket. As long as there is none it is `null`, which an
    /// `Option` reads as `None`.
    ///
    /// # Errors
    ///
    /// If it has another shape.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        let data = self.raw_data();
        serde_json::from_str(data.as_deref().map_or("null", RawValue::get))
    }

    /// Sends an event. A tuple stands for several arguments, `()` for none.
    ///
    /// Events leave in the order of the calls. If the socket is not connected any more nothing is
    /// sent, unless its client may come back or is
    /// [back already](crate::Builder::connection_state_recovery); in a middleware they leave before
    /// the client knows that it is connected.
    ///
    /// # Errors
    ///
    /// If the name is reserved or the arguments cannot be JSON.
    pub fn emit<A: ToArgs + ?Sized>(&self, event: &str, args: &A) -> Result<(), EmitError> {
        self.emit_as(event, args, Flags::default()).map(drop)
    }

    /// Sends the event `message`; see [`emit`](Self::emit).
    ///
    /// # Errors
    ///
    /// If the arguments cannot be JSON.
    #[doc(alias = "write")]
    pub fn send<A: ToArgs + ?Sized>(&self, args: &A) -> Result<(), EmitError> {
        self.emit("message", args)
    }

    /// Sends an event and asks for an acknowledgement, which is read as a `T`: a tuple takes
    /// several arguments, `()` none, everything else the first.
    ///
    /// The event is sent at once, not when the future is first polled.
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # async fn example(socket: socketio::Socket) -> Result<(), socketio::AckError> {
    /// let answer: u32 = socket
    ///     .timeout(Duration::from_secs(5))
    ///     .emit_with_ack("how many?", &("apples", 3))
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "emitWithAck")]
    pub fn emit_with_ack<T>(&self, event: &str, args: &(impl ToArgs + ?Sized)) -> AckFuture<T> {
        Emitter::new(self).emit_with_ack(event, args)
    }

    /// Events that may be lost: they are sent only if the connection can take them right now.
    pub fn volatile(&self) -> Emitter<'_> {
        Emitter::new(self).volatile()
    }

    /// Events that are dropped, or that disconnect the client, if too much is queued for it; see
    /// [`Emitter::overflow`].
    pub fn overflow(&self, overflow: Overflow) -> Emitter<'_> {
        Emitter::new(self).overflow(overflow)
    }

    /// Events in poll responses that may be compressed, or not. Default: `true`.
    pub fn compress(&self, compress: bool) -> Emitter<'_> {
        Emitter::new(self).compress(compress)
    }

    /// Events whose acknowledgements are waited for no longer than this.
    pub fn timeout(&self, timeout: Duration) -> Emitter<'_> {
        Emitter::new(self).timeout(timeout)
    }

    /// Joins rooms: one name, or a list of them. Before the socket is connected it is remembered,
    /// and forgotten if a middleware refuses the client.
    pub fn join(&self, rooms: impl IntoRooms) {
        // Now, and not under a lock: the conversion may be the application's.
        let rooms: Vec<Room> = rooms.into_rooms().collect();
        let mut order = self.order();
        let mut rare = self.rare();
        match self.state() {
            CONNECTING => {
                let early = &mut rare.get_or_insert_default().rooms;
                for room in rooms {
                    if !early.contains(&room) {
                        early.push(room);
                    }
                }
            }
            // Under the lock: a client of protocol 4 that comes back has the same id again.
            CONNECTED => {
                if let Some(order) = &mut order {
                    order.join(&rooms);
                }
                self.namespace().registry().join(self.id(), rooms);
            }
            _ => {}
        }
        drop((rare, order));
        self.namespace().tell_room_events();
    }

    /// Leaves a room.
    pub fn leave(&self, room: &str) {
        let mut order = self.order();
        let mut rare = self.rare();
        match (self.state(), &mut *rare) {
            (CONNECTING, Some(rare)) => rare.rooms.retain(|early| **early != *room),
            (CONNECTED, _) => {
                self.namespace().registry().leave(self.id(), room);
                // What is sent to the socket alone is kept as of its own room.
                if let Some(order) = &mut order
                    && *room != *self.0.id
                {
                    order.leave(room);
                }
            }
            _ => {}
        }
        drop((rare, order));
        self.namespace().tell_room_events();
    }

    /// The rooms that the socket is in, its own first. None after it was disconnected, except for
    /// [`on_disconnecting`](Namespace::on_disconnecting).
    pub fn rooms(&self) -> Vec<Room> {
        let rare = self.rare();
        match (&*rare, self.state()) {
            (_, CONNECTED) => self.namespace().registry().rooms_of(self.id()),
            (Some(rare), _) => rare.rooms.clone(),
            (None, _) => Vec::new(),
        }
    }

    /// Everybody in these rooms but this socket.
    pub fn to(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        self.broadcast().to(rooms)
    }

    /// The same as [`to`](Self::to).
    #[doc(alias = "in")]
    pub fn in_(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        self.to(rooms)
    }

    /// Everybody but this socket and whoever is in these rooms.
    pub fn except(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        self.broadcast().except(rooms)
    }

    /// Everybody but this socket.
    pub fn broadcast(&self) -> BroadcastOperator {
        BroadcastOperator::new(self.namespace().clone()).except(&self.0.id)
    }

    /// Everybody on this server but this socket.
    pub fn local(&self) -> BroadcastOperator {
        self.broadcast().local()
    }

    /// Waits until the client has read most of what was sent to it: at most
    /// [`Config::low_water`](crate::Config::low_water) bytes are queued, and half of the messages
    /// that may be. Returns whether the socket can still be sent to.
    ///
    /// Whoever sends a lot waits for it before each event, and is as fast as the client reads.
    ///
    /// ```no_run
    /// # async fn example(socket: socketio::Socket, rows: Vec<String>) -> Result<(), socketio::EmitError> {
    /// for row in rows {
    ///     if !socket.emit_ready("row", &row).await? {
    ///         break; // the client is gone
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn ready(&self) -> bool {
        self.conn().ready().await && self.state() <= CONNECTED
    }

    /// [Waits](Self::ready), and then sends the event, and says whether it did: not if the socket
    /// is not connected any more.
    ///
    /// # Errors
    ///
    /// If the name is reserved or the arguments cannot be JSON.
    pub async fn emit_ready<A>(&self, event: &str, args: &A) -> Result<bool, EmitError>
    where
        A: ToArgs + ?Sized,
    {
        Emitter::new(self).emit_ready(event, args).await
    }

    /// Adds a handler for an event of this socket alone, which is called after those of the
    /// [namespace](Namespace::on). It is dropped when the socket is disconnected.
    ///
    /// Handlers that are the same for all sockets belong into the namespace: there they exist
    /// once.
    ///
    /// # Panics
    ///
    /// If the name is reserved: no client can send it.
    pub fn on<H, T>(&self, event: &str, handler: H)
    where
        H: Handler<Event, T, Output: IntoReply>,
    {
        self.add_handler(event, handler);
    }

    /// Makes the client leave the namespace; its connection stays. Does nothing unless the socket
    /// is connected.
    ///
    /// What was sent before arrives before. Disconnection handlers are told
    /// [`ServerNamespaceDisconnect`](crate::DisconnectReason::ServerNamespaceDisconnect); events
    /// that arrive from now on are ignored.
    pub fn disconnect(&self) {
        self.kick(KICKED);
    }

    /// Makes the client leave all namespaces and closes its connection. Does nothing unless the
    /// socket is connected.
    pub fn disconnect_all(&self) {
        self.kick(KICKED_OUT);
    }

    fn kick(&self, state: u8) {
        if self.leave_namespace(state, false) {
            let namespace = self.namespace();
            match namespace.codec().disconnect(namespace.name()) {
                Ok(packet) => self.conn().send_essential(packet),
                Err(error) => self.report(None, HandlerError::Encode(error)),
            }
            self.tell_connection();
        }
    }

    /// Somebody else than the connection has changed the state.
    fn tell_connection(&self) {
        self.conn().set_flag();
        self.0.connection.wake();
    }

    pub(crate) fn emit_as<A: ToArgs + ?Sized>(
        &self,
        event: &str,
        args: &A,
        flags: Flags,
    ) -> Result<bool, EmitError> {
        check_emit(event)?;
        let state = self.state();
        let namespace = self.namespace();
        let recovery = self.recoverable().zip(namespace.recovery());
        let may_be_kept = recovery.is_some() && !flags.way.volatile;
        if state > CONNECTED && !may_be_kept {
            return Ok(false);
        }
        if flags.way.volatile && !self.conn().is_writable() {
            self.conn().skip_volatile();
            return Ok(false);
        }
        let sent = match recovery {
            Some((recoverable, recovery)) if may_be_kept && state != CONNECTING => {
                recovery.emit(self, recoverable, event, args, flags)?
            }
            _ => {
                let packet = match recovery {
                    Some(_) => {
                        Packets::unkept(namespace, event, args, flags.compress)?.new_clients()
                    }
                    None => namespace
                        .codec()
                        .event(namespace.name(), None, event, args)?
                        .compress(flags.compress),
                };
                flags.way.send(self.conn(), packet)
            }
        };
        if sent {
            outgoing::notify(self, event, args);
        }
        Ok(sent)
    }

    pub(crate) fn send_with_ack(
        &self,
        event: &str,
        args: &(impl ToArgs + ?Sized),
        flags: Flags,
    ) -> Result<(u64, oneshot::Receiver<Args>), AckError> {
        check_emit(event)?;
        let namespace = self.namespace();
        let id = namespace.next_ack_id();
        let packet = namespace
            .codec()
            .event(namespace.name(), Some(id), event, args);
        let packet = packet.map_err(EmitError::from)?.compress(flags.compress);
        let (sender, answer) = oneshot::channel();
        self.expect_ack(id, Waiter::One(sender))
            .map_err(|(error, _)| error)?;
        // On a connection that has closed it waits, until the socket hears of that.
        if !flags.way.send(self.conn(), packet) && !self.conn().is_closed() {
            self.forget_ack(id);
            return Err(AckError::NotSent);
        }
        outgoing::notify(self, event, args);
        Ok((id, answer))
    }

    /// Asks this socket as one of many. Returns whether it was asked; if it owes too many answers,
    /// or too much is queued for it, the ticket says so.
    pub(crate) fn ask(&self, id: u64, ticket: Ticket, way: Way, packet: Encoded) -> bool {
        if let Err((error, waiter)) = self.expect_ack(id, Waiter::OfMany(ticket)) {
            match (error, waiter) {
                (AckError::Disconnected, Waiter::OfMany(ticket)) => ticket.void(),
                (error, Waiter::OfMany(ticket)) => ticket.answer(Err(error)),
                (_, Waiter::One(_)) => {}
            }
            return false;
        }
        let sent = way.send(self.conn(), packet);
        if !sent && let Some(Waiter::OfMany(ticket)) = self.take_ack(id) {
            if way.volatile {
                ticket.void();
            } else if !self.conn().is_closed() {
                ticket.answer(Err(AckError::NotSent));
            }
        }
        sent
    }

    fn expect_ack(&self, id: u64, waiter: Waiter) -> Result<(), (AckError, Waiter)> {
        let mut rare = self.rare();
        // Looked at under the lock: whoever disconnects changes the state first, then takes the
        // lock and drops what is pending.
        if !self.connected() {
            return Err((AckError::Disconnected, waiter));
        }
        let pending = &mut rare.get_or_insert_default().pending_acks;
        if pending.len() >= self.namespace().options().max_pending_acks {
            return Err((AckError::TooManyPending, waiter));
        }
        pending.insert(id, waiter);
        Ok(())
    }

    /// The client has answered. Answers that nobody waits for are none of our business.
    pub(crate) fn resolve_ack(&self, id: u64, args: Args) {
        match self.take_ack(id) {
            Some(Waiter::One(sender)) => drop(sender.send(args)),
            Some(Waiter::OfMany(ticket)) => ticket.answer(Ok(args)),
            None => {}
        }
    }

    pub(crate) fn forget_ack(&self, id: u64) {
        self.take_ack(id);
    }

    fn take_ack(&self, id: u64) -> Option<Waiter> {
        let mut rare = self.rare();
        let pending = &mut rare.as_mut()?.pending_acks;
        let waiter = pending.remove(&id);
        if pending.is_empty() && self.connected() {
            *rare = None;
        }
        waiter
    }

    #[cfg(test)]
    pub(crate) fn pending_acks(&self) -> usize {
        self.rare()
            .as_ref()
            .map_or(0, |rare| rare.pending_acks.len())
    }

    /// All middlewares have let the socket in; `connect` makes the packet that says so, with the
    /// private id for recovery if there is one.
    pub(crate) fn admit(
        &self,
        connect: impl Fn(Option<&str>) -> Result<Encoded, EncodeError>,
    ) -> Result<(), EncodeError> {
        match self.namespace().recovery() {
            Some(recovery) => recovery.admit(self, connect)?,
            None => {
                self.conn().send_essential(connect(None)?);
                self.enter(&[]);
            }
        }
        self.namespace().tell_room_events();
        Ok(())
    }

    /// From now on it is connected, in these rooms and in those that it joined before, which are
    /// returned.
    ///
    /// Order of locks, here and elsewhere: [recovery](crate::recovery::Recovery), what belongs to
    /// the state, a shard of the registry.
    pub(crate) fn enter(&self, rooms: &[Room]) -> Vec<Room> {
        let mut rare = self.rare();
        let early = rare.take().map(|rare| rare.rooms).unwrap_or_default();
        let registry = self.namespace().registry();
        registry.insert(self.0.id.clone(), Member::new(self));
        if rooms.len() + early.len() > 0 {
            registry.join(self.id(), rooms.iter().chain(&early).cloned());
        }
        self.0.state.store(CONNECTED, Ordering::Release);
        early
    }

    /// The lock under which a socket that can be recovered joins and leaves rooms.
    fn order(&self) -> Option<Order<'_>> {
        let (recoverable, recovery) = self.recoverable().zip(self.namespace().recovery())?;
        Some(recovery.order(recoverable))
    }

    /// A middleware has refused the client, or its connection is gone.
    pub(crate) fn refuse(&self) {
        let mut rare = self.rare();
        let was = self.0.state.swap(LEFT, Ordering::AcqRel);
        *rare = None;
        drop(rare);
        if let Some(recoverable) = self.recoverable() {
            recoverable.refuse();
        }
        self.drop_listeners();
        if was == CONNECTING {
            self.namespace().leave_seat();
        }
    }

    /// The client has left, or its connection is gone. `false` if the socket was not connected.
    pub(crate) fn left(&self, reason: DisconnectReason) -> bool {
        self.leave_namespace(LEFT, reason.is_recoverable())
    }

    /// The client has come back on another connection, before it was noticed that this one is gone.
    pub(crate) fn take_over(&self) {
        if self.leave_namespace(TAKEN_OVER, true) {
            self.tell_connection();
        }
    }

    /// Whom to wake when somebody else than its connection disconnects it. To be followed by a look
    /// at whether that [has happened](Self::kicked).
    pub(crate) fn wakes(&self, waker: &Waker) {
        self.0.connection.register(waker);
    }

    /// Whether the socket was disconnected by somebody else than its connection.
    pub(crate) fn kicked(&self) -> Option<Kick> {
        let kick = match self.state() {
            KICKED => Kick::Socket,
            KICKED_OUT => Kick::Connection,
            TAKEN_OVER => Kick::Replaced,
            _ => return None,
        };
        // Until whoever does it has taken the socket out of the registry: it may come back with
        // the same id.
        drop(self.rare());
        Some(kick)
    }

    /// Whether the server has disconnected the socket.
    pub(crate) fn is_kicked(&self) -> bool {
        matches!(self.state(), KICKED | KICKED_OUT)
    }

    /// Whether its client has come back on another connection.
    pub(crate) fn is_replaced(&self) -> bool {
        self.state() == TAKEN_OVER
    }

    /// The socket's own handlers, if it has had any.
    pub(crate) fn listeners(&self) -> Option<Arc<Listeners>> {
        self.table().map(Watched::current)
    }

    pub(crate) fn has_listeners(&self) -> bool {
        self.table().is_some()
    }

    /// Adds a handler of this socket's own, unless none will be called any more: it may hold the
    /// socket.
    pub(crate) fn add_listener(&self, add: impl FnOnce(&mut Listeners) -> HandlerId) -> HandlerId {
        let table = self.extras().listeners.get_or_init(Box::default);
        // The lock is for `drop_listeners`: either it sees the table, or this sees the state.
        let _rare = self.rare();
        match self.state() {
            GONE => HandlerId::next(),
            _ => self.change(table, add),
        }
    }

    /// What other servers are told of it.
    pub(crate) fn details(&self) -> SocketDetails {
        let data = self.raw_data();
        let data = data.and_then(|data| serde_json::from_str(data.get()).ok());
        SocketDetails {
            id: self.0.id.clone(),
            handshake: self.handshake().details(),
            rooms: self.rooms(),
            data: data.unwrap_or_default(),
        }
    }

    pub(crate) fn raw_data(&self) -> Option<Box<RawValue>> {
        let data = &self.0.extras.get()?.data;
        data.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes the socket's own handlers, if it has any.
    pub(crate) fn change_listeners<R>(
        &self,
        change: impl FnOnce(&mut Listeners) -> R,
    ) -> Option<R> {
        Some(self.change(self.table()?, change))
    }

    /// Drops the socket's own handlers, for good.
    pub(crate) fn drop_listeners(&self) {
        let rare = self.rare();
        self.0.state.store(GONE, Ordering::Release);
        drop(rare);
        drop(self.change_listeners(std::mem::take));
    }

    fn table(&self) -> Option<&Watched<Listeners>> {
        Some(self.0.extras.get()?.listeners.get()?)
    }

    fn change<R>(&self, table: &Watched<Listeners>, change: impl FnOnce(&mut Listeners) -> R) -> R {
        table.update(|listeners| {
            let before = listeners.outgoing.len();
            let result = change(listeners);
            let after = listeners.outgoing.len();
            self.namespace().count_outgoing(before, after);
            result
        })
    }

    pub(crate) fn report(&self, event: Option<&str>, error: HandlerError) {
        self.namespace().report(&ErrorReport {
            socket: Some(self),
            event,
            error: &error,
        });
    }

    fn leave_namespace(&self, state: u8, may_return: bool) -> bool {
        let left = match self.namespace().recovery() {
            Some(recovery) => recovery.depart(self, may_return, || self.exit(state)),
            None => self.exit(state),
        };
        self.namespace().tell_room_events();
        let Some(pending) = left else {
            return false;
        };
        // Whoever waits for an answer hears that there will be none.
        drop(pending);
        self.namespace().leave_seat();
        true
    }

    /// Gives those who wait for answers, or nothing if the socket was not connected.
    fn exit(&self, state: u8) -> Option<HashMap<u64, Waiter>> {
        let mut rare = self.rare();
        let was =
            self.0
                .state
                .compare_exchange(CONNECTED, state, Ordering::AcqRel, Ordering::Acquire);
        was.ok()?;
        let left = self.leaves_rooms_behind().then(|| Rare {
            rooms: self.namespace().registry().rooms_of(self.id()),
            ..Rare::default()
        });
        self.namespace().registry().remove(self.id());
        let before = std::mem::replace(&mut *rare, left.map(Box::new));
        Some(before.map(|it| it.pending_acks).unwrap_or_default())
    }

    /// The room of its own.
    pub(crate) fn room(&self) -> Room {
        self.0.id.clone()
    }

    pub(crate) fn recoverable(&self) -> Option<&Recoverable> {
        self.0.recoverable.as_deref()
    }

    pub(crate) fn downgrade(&self) -> WeakSocket {
        WeakSocket(Arc::downgrade(&self.0))
    }

    /// Whether handlers will look at the rooms that the socket was in.
    fn leaves_rooms_behind(&self) -> bool {
        let looks = |listeners: &Listeners| listeners.disconnecting.len() > 0;
        let handlers = self.namespace().handlers();
        handlers.look(|handlers| looks(&handlers.listeners))
            || self.table().is_some_and(|table| table.look(looks))
    }

    /// Those that the socket was in when it was disconnected.
    pub(crate) fn forget_rooms(&self) {
        *self.rare() = None;
    }

    fn state(&self) -> u8 {
        self.0.state.load(Ordering::Acquire)
    }

    fn rare(&self) -> MutexGuard<'_, Option<Box<Rare>>> {
        self.0.rare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn extras(&self) -> &Extras {
        self.0.extras.get_or_init(Box::default)
    }
}

impl PartialEq for Socket {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Socket {}

impl Hash for Socket {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.id.hash(state);
    }
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("id", &self.0.id)
            .field("namespace", &self.namespace().name())
            .field("connected", &self.connected())
            .finish_non_exhaustive()
    }
}

/// Who disconnected a socket, if not its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kick {
    /// The server.
    Socket,
    /// The client itself: it has come back on another connection.
    Replaced,
    /// The server, which wants the whole connection closed.
    Connection,
}

pub(crate) fn check_emit(event: &str) -> Result<(), EmitError> {
    if socketio_proto::is_reserved(event) {
        return Err(EmitError::ReservedEvent);
    }
    Ok(())
}

/// Clients of protocol 4 work their ids out from the session's, so there is no choice.
fn new_id(session: &SessionHandle, namespace: &str) -> Room {
    let sid = session.sid();
    match session.version() {
        Version::V4 => random_id().into(),
        Version::V3 if namespace == "/" => sid.as_str().into(),
        Version::V3 => format!("{namespace}#{sid}").into(),
    }
}

fn random_id() -> Sid {
    Sid::from_uuid(uuid::Uuid::new_v4().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_small() {
        assert_eq!(size_of::<Socket>(), 8);
        assert!(size_of::<Inner>() <= 136, "{}", size_of::<Inner>());
    }

    #[test]
    fn ids_are_random() {
        let (one, two) = (random_id(), random_id());
        assert_eq!(one.as_str().len(), 20);
        assert_ne!(one, two);
    }
}
