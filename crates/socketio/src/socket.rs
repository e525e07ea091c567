//! One client in one namespace.

use std::{
    collections::HashMap,
    fmt,
    hash::{Hash, Hasher},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    task::Context,
};

use engineio::{SessionHandle, Sid, Version};
use futures_util::task::AtomicWaker;
use socketio_adapter::Room;
use socketio_proto::{Args, ToArgs};
use tokio::sync::oneshot;

use crate::{
    AckError, AckFuture, BroadcastOperator, EmitError, ErrorReport, Extensions, Handshake,
    Namespace,
    broadcast::{IntoRooms, Volatile},
    error::HandlerError,
    handler::{self, Event, Events, Handler, IntoReply},
    namespace::Member,
    snapshot::Watched,
};

/// One client in one namespace. Cheap to clone; any task may use it at any time.
///
/// It is *connected* from the moment that all middlewares have let it in until it is disconnected.
/// After that it sends nothing and joins nothing; that is no error.
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
}

#[derive(Default)]
struct Rare {
    pending_acks: HashMap<u64, oneshot::Sender<Args>>,
    /// Rooms joined before the socket was connected.
    early_rooms: Vec<Room>,
}

/// What applications may add to a socket.
#[derive(Default)]
struct Extras {
    extensions: Extensions,
    handlers: Watched<Events>,
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

impl Socket {
    pub(crate) fn new(namespace: Namespace, session: SessionHandle, handshake: Handshake) -> Self {
        Self(Arc::new(Inner {
            id: new_id(&session, namespace.name()),
            namespace,
            session,
            handshake,
            state: AtomicU8::new(CONNECTING),
            connection: AtomicWaker::new(),
            rare: Mutex::default(),
            extras: OnceLock::new(),
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

    /// Values of any type, one of each, that belong to this socket.
    pub fn extensions(&self) -> &Extensions {
        &self.extras().extensions
    }

    /// Sends an event. A tuple stands for several arguments, `()` for none.
    ///
    /// Events leave in the order of the calls. If the socket is not connected any more nothing is
    /// sent; in a middleware they leave before the client knows that it is connected.
    ///
    /// # Errors
    ///
    /// If the name is reserved or the arguments cannot be JSON.
    pub fn emit<A: ToArgs + ?Sized>(&self, event: &str, args: &A) -> Result<(), EmitError> {
        check_emit(event)?;
        if self.state() <= CONNECTED {
            let namespace = self.namespace();
            let packet = namespace
                .codec()
                .event(namespace.name(), None, event, args)?;
            self.conn().send(packet);
        }
        Ok(())
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
    ///     .emit_with_ack("how many?", &("apples", 3))
    ///     .timeout(Duration::from_secs(5))
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn emit_with_ack<T>(&self, event: &str, args: &(impl ToArgs + ?Sized)) -> AckFuture<T> {
        AckFuture::new(self.clone(), self.send_with_ack(event, args))
    }

    /// Joins rooms: one name, or a list of them. Before the socket is connected it is remembered,
    /// and forgotten if a middleware refuses the client.
    pub fn join(&self, rooms: impl IntoRooms) {
        // Now, and not under a lock: the conversion may be the application's.
        let rooms: Vec<Room> = rooms.into_rooms().collect();
        let mut rare = self.rare();
        match self.state() {
            CONNECTING => {
                let early = &mut rare.get_or_insert_default().early_rooms;
                for room in rooms {
                    if !early.contains(&room) {
                        early.push(room);
                    }
                }
            }
            // Under the lock: a client of protocol 4 that comes back has the same id again.
            CONNECTED => {
                self.namespace().registry().join(self.id(), rooms);
            }
            _ => {}
        }
    }

    /// Leaves a room.
    pub fn leave(&self, room: &str) {
        let mut rare = self.rare();
        match (self.state(), &mut *rare) {
            (CONNECTING, Some(rare)) => rare.early_rooms.retain(|early| **early != *room),
            (CONNECTED, _) => {
                self.namespace().registry().leave(self.id(), room);
            }
            _ => {}
        }
    }

    /// The rooms that the socket is in, its own first. None after it was disconnected.
    pub fn rooms(&self) -> Vec<Room> {
        let rare = self.rare();
        match (&*rare, self.state()) {
            (Some(rare), CONNECTING) => rare.early_rooms.clone(),
            (_, CONNECTED) => self.namespace().registry().rooms_of(self.id()),
            _ => Vec::new(),
        }
    }

    /// Everybody in these rooms but this socket.
    pub fn to(&self, rooms: impl IntoRooms) -> BroadcastOperator {
        self.broadcast().to(rooms)
    }

    /// The same as [`to`](Self::to).
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

    /// Events that may be lost: they are sent only if the connection can take them right now.
    pub fn volatile(&self) -> Volatile<'_> {
        Volatile::new(self)
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
        let table = &self.extras().handlers;
        handler::add_event(table, event, handler);
        if self.state() > CONNECTED {
            // Nobody will call it, and it may hold the socket.
            table.replace(Events::default());
        }
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
        if self.leave_namespace(state) {
            let namespace = self.namespace();
            match namespace.codec().disconnect(namespace.name()) {
                Ok(packet) => self.conn().send(packet),
                Err(error) => self.report(None, HandlerError::Encode(error)),
            }
            self.0.connection.wake();
        }
    }

    fn send_with_ack(
        &self,
        event: &str,
        args: &(impl ToArgs + ?Sized),
    ) -> Result<(u64, oneshot::Receiver<Args>), AckError> {
        check_emit(event)?;
        let namespace = self.namespace();
        let id = namespace.next_ack_id();
        let packet = namespace
            .codec()
            .event(namespace.name(), Some(id), event, args);
        let packet = packet.map_err(EmitError::from)?;
        let (sender, answer) = oneshot::channel();
        let mut rare = self.rare();
        // Looked at under the lock: whoever disconnects changes the state first, then takes the
        // lock and drops what is pending.
        if !self.connected() {
            return Err(AckError::Disconnected);
        }
        let pending = &mut rare.get_or_insert_default().pending_acks;
        if pending.len() >= namespace.options().max_pending_acks {
            return Err(AckError::TooManyPending);
        }
        pending.insert(id, sender);
        drop(rare);
        self.conn().send(packet);
        Ok((id, answer))
    }

    /// The client has answered. Answers that nobody waits for are none of our business.
    pub(crate) fn resolve_ack(&self, id: u64, args: Args) {
        if let Some(sender) = self.take_ack(id) {
            let _ = sender.send(args);
        }
    }

    pub(crate) fn forget_ack(&self, id: u64) {
        self.take_ack(id);
    }

    fn take_ack(&self, id: u64) -> Option<oneshot::Sender<Args>> {
        let mut rare = self.rare();
        let pending = &mut rare.as_mut()?.pending_acks;
        let sender = pending.remove(&id);
        if pending.is_empty() && self.connected() {
            *rare = None;
        }
        sender
    }

    #[cfg(test)]
    pub(crate) fn pending_acks(&self) -> usize {
        self.rare()
            .as_ref()
            .map_or(0, |rare| rare.pending_acks.len())
    }

    /// All middlewares have let the socket in.
    ///
    /// Order of locks, here and elsewhere: what belongs to the state, then a shard of the registry.
    pub(crate) fn admit(&self) {
        let mut rare = self.rare();
        let registry = self.namespace().registry();
        registry.insert(self.0.id.clone(), Member::new(self));
        if let Some(rare) = rare.take() {
            registry.join(self.id(), rare.early_rooms);
        }
        self.0.state.store(CONNECTED, Ordering::Release);
    }

    /// A middleware has refused the client, or its connection is gone.
    pub(crate) fn refuse(&self) {
        let mut rare = self.rare();
        self.0.state.store(LEFT, Ordering::Release);
        *rare = None;
        drop(rare);
        self.drop_handlers();
    }

    /// The client has left, or its connection is gone. `false` if the socket was not connected.
    pub(crate) fn left(&self) -> bool {
        self.leave_namespace(LEFT)
    }

    /// Whether the server has disconnected the socket; and then, whether it wants the whole
    /// connection closed. If not yet, the connection is woken when it does.
    pub(crate) fn poll_kicked(&self, cx: &mut Context<'_>) -> Option<bool> {
        self.0.connection.register(cx.waker());
        let out = match self.state() {
            KICKED => false,
            KICKED_OUT => true,
            _ => return None,
        };
        // Until whoever does it has taken the socket out of the registry: it may come back with
        // the same id.
        drop(self.rare());
        Some(out)
    }

    /// The socket's own handlers, if it has any.
    pub(crate) fn handlers(&self) -> Option<&Watched<Events>> {
        self.0.extras.get().map(|extras| &extras.handlers)
    }

    /// They may hold the socket itself.
    pub(crate) fn drop_handlers(&self) {
        if let Some(handlers) = self.handlers() {
            handlers.replace(Events::default());
        }
    }

    pub(crate) fn report(&self, event: Option<&str>, error: HandlerError) {
        self.namespace().report(&ErrorReport {
            socket: Some(self),
            event,
            error: &error,
        });
    }

    fn leave_namespace(&self, state: u8) -> bool {
        let mut rare = self.rare();
        let was =
            self.0
                .state
                .compare_exchange(CONNECTED, state, Ordering::AcqRel, Ordering::Acquire);
        if was.is_err() {
            return false;
        }
        self.namespace().registry().remove(self.id());
        // Whoever waits for an answer hears that there will be none.
        let pending = rare.take();
        drop(rare);
        drop(pending);
        true
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
        Version::V4 => random_id().as_str().into(),
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
