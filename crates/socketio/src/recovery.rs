//! Connection state recovery: a client that comes back after a short disconnection gets its id, its
//! rooms, its data and the events that it has missed.
//!
//! Source: Socket.IO documentation, "Connection state recovery"; on the wire a private id in the
//! answer to CONNECT, and an offset as the last argument of each event that can be sent again.

mod log;

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use engineio::Version;
use serde::Deserialize;
use serde_json::value::RawValue;
use socketio_adapter::{Options, Room, Selection};
use socketio_proto::{Args, ArgsWriter, EncodeError, Encoded, ToArgs};
use tokio::time::Instant;

use self::log::Log;
use crate::{Namespace, Socket, emitter::Flags, namespace::Member, socket::WeakSocket};

/// Options of connection state recovery; see
/// [`Builder::connection_state_recovery`](crate::Builder::connection_state_recovery).
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct ConnectionStateRecovery {
    max_disconnection_duration: Duration,
    skip_middlewares: bool,
    max_bytes: usize,
    max_room_bytes: usize,
}

impl Default for ConnectionStateRecovery {
    fn default() -> Self {
        Self {
            max_disconnection_duration: Duration::from_secs(120),
            skip_middlewares: true,
            max_bytes: 64 * 1024 * 1024,
            max_room_bytes: 8 * 1024 * 1024,
        }
    }
}

impl ConnectionStateRecovery {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// How long after a disconnection a client can come back. Default: 2 minutes; at most one day.
    #[doc(alias = "maxDisconnectionDuration")]
    pub fn max_disconnection_duration(mut self, duration: Duration) -> Self {
        self.max_disconnection_duration = duration.min(LONGEST);
        self
    }

    /// Whether a client that comes back is let in without passing the middlewares again. Default:
    /// `true`.
    #[doc(alias = "skipMiddlewares")]
    pub fn skip_middlewares(mut self, skip: bool) -> Self {
        self.skip_middlewares = skip;
        self
    }

    /// The most bytes of events and states that the server keeps in all namespaces together.
    /// Default: 64 MiB. Beyond it the oldest events go first; a client that has missed one of them
    /// gets a new session.
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// The most bytes of events that are kept for one room, or for a whole namespace where an event
    /// names no room. Default: 8 MiB. A busy room so costs only its own members their recovery.
    pub fn max_room_bytes(mut self, bytes: usize) -> Self {
        self.max_room_bytes = bytes;
        self
    }
}

/// What a whole server keeps.
#[derive(Debug)]
pub(crate) struct Budget {
    pub(crate) options: ConnectionStateRecovery,
    /// How long events are kept: as long as a client may stay away, and as long before as the
    /// server may not have noticed that it was gone.
    keep: Duration,
    used: AtomicUsize,
}

impl Budget {
    pub(crate) fn new(options: ConnectionStateRecovery, heartbeat: Duration) -> Self {
        Self {
            options,
            keep: options.max_disconnection_duration + heartbeat.min(LONGEST),
            used: AtomicUsize::new(0),
        }
    }

    #[cfg(test)]
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

/// What a namespace keeps.
///
/// The lock orders the events of the namespace: what is sent first stands first in the log and in
/// the queue of each client. Order of locks: this one, then what belongs to a socket's state, then
/// the registry, then mailboxes. Nothing is encoded under it.
pub(crate) struct Recovery {
    budget: Arc<Budget>,
    /// Of this run of the server: offsets of another one mean nothing.
    prefix: Box<str>,
    next_offset: AtomicU64,
    /// Sockets of protocol 4 have been here. They know no offsets, and must not see any.
    has_old_clients: AtomicBool,
    /// Of the last event in the log; for who joins a room without the lock.
    head: AtomicU64,
    state: Mutex<State>,
}

struct State {
    log: Log,
    sessions: HashMap<Box<str>, Entry>,
    sweeping: bool,
}

enum Entry {
    /// Connected.
    Live(WeakSocket),
    /// Gone for the time being.
    Saved(Box<Saved>),
}

/// A socket that is gone for the time being.
#[derive(Debug)]
struct Saved {
    sid: Room,
    rooms: Vec<Joined>,
    data: Option<Box<RawValue>>,
    /// The last event before it was connected for the first time.
    start: u64,
    expires: Instant,
    bytes: usize,
}

/// A room, and the last event before it was joined: what was said in it earlier is none of the
/// socket's business.
#[derive(Clone, Debug)]
struct Joined {
    room: Room,
    since: u64,
}

/// A saved socket in the hands of a client that has come back. Unless it is used it goes back.
struct Claim {
    recovery: Weak<Recovery>,
    pid: Box<str>,
    saved: Option<Box<Saved>>,
    /// What the client has received last.
    offset: Option<Box<str>>,
}

/// What a socket has to remember to be recovered.
#[derive(Debug)]
pub(crate) struct Recoverable(Mutex<Inner>);

struct Inner {
    pid: Box<str>,
    start: u64,
    joined: Vec<Joined>,
    recovered: bool,
    claim: Option<Claim>,
}

/// What the client gives to be recovered.
#[derive(Deserialize)]
struct Credentials {
    pid: Box<str>,
    #[serde(default)]
    offset: Option<Box<str>>,
}

impl Recovery {
    pub(crate) fn new(budget: Arc<Budget>) -> Self {
        let random = uuid::Uuid::new_v4().simple().to_string();
        Self {
            budget,
            prefix: format!("{}.", &random[..8]).into(),
            next_offset: AtomicU64::new(0),
            has_old_clients: AtomicBool::new(false),
            head: AtomicU64::new(0),
            state: Mutex::new(State {
                log: Log::default(),
                sessions: HashMap::new(),
                sweeping: false,
            }),
        }
    }

    pub(crate) fn skips_middlewares(&self) -> bool {
        self.budget.options.skip_middlewares
    }

    /// Sends an event to sockets of this node, by the function, and keeps it for those that miss
    /// it.
    pub(crate) fn broadcast<A: ToArgs + ?Sized>(
        &self,
        namespace: &Namespace,
        event: &str,
        args: &A,
        options: &Options,
        mut send: impl FnMut(&Member, Encoded),
    ) -> Result<(), EncodeError> {
        let Options {
            selection,
            compress,
            ..
        } = options;
        self.send(
            namespace,
            event,
            args,
            *compress,
            |state, offset, packets| {
                state.keep(offset, &packets.with_offset, selection, &self.budget);
                let registry = namespace.registry();
                registry.each(selection, |member| send(member, packets.of(member)));
            },
        )
    }

    /// Sends an event to one connected socket, and keeps it for the case that it misses it. Returns
    /// whether the connection took it.
    pub(crate) fn emit<A: ToArgs + ?Sized>(
        &self,
        socket: &Socket,
        event: &str,
        args: &A,
        flags: Flags,
    ) -> Result<bool, EncodeError> {
        let mut sent = false;
        let (namespace, room) = (socket.namespace(), Selection::room(socket.room()));
        self.send(
            namespace,
            event,
            args,
            flags.compress,
            |state, offset, packets| {
                // Who is gone for the time being will get it when it is back.
                state.keep(offset, &packets.with_offset, &room, &self.budget);
                sent = flags.way.send(socket.conn(), packets.with_offset.clone());
            },
        )?;
        Ok(sent)
    }

    /// Sends a volatile event to whom the function sends it. It is not kept; but since clients take
    /// the last argument of every event for an offset if it is text, such an event has one too.
    pub(crate) fn volatile<A: ToArgs + ?Sized>(
        &self,
        namespace: &Namespace,
        event: &str,
        args: &A,
        compress: bool,
        mut send: impl FnMut(&Packets),
    ) -> Result<(), EncodeError> {
        if !Args::new(args)?.json().ends_with('"') {
            let plain = namespace
                .codec()
                .event(namespace.name(), None, event, args)?
                .compress(compress);
            send(&Packets {
                with_offset: plain,
                plain: None,
            });
            return Ok(());
        }
        self.send(
            namespace,
            event,
            args,
            compress,
            |state, offset, packets| {
                let nobody = Selection::room("");
                state.log.append(offset, None, &nobody, &self.budget);
                send(packets);
            },
        )
    }

    fn send<A: ToArgs + ?Sized>(
        &self,
        namespace: &Namespace,
        event: &str,
        args: &A,
        compress: bool,
        send: impl FnOnce(&mut State, u64, &Packets),
    ) -> Result<(), EncodeError> {
        let (codec, name) = (namespace.codec(), namespace.name());
        let offset = self.next_offset.fetch_add(1, Ordering::Relaxed);
        let text = format!("{}{offset}", self.prefix);
        let mut packets = Packets {
            with_offset: codec
                .event(name, None, event, &WithOffset(args, &text))?
                .compress(compress),
            plain: None,
        };
        loop {
            let mut state = self.state();
            if packets.plain.is_none() && self.has_old_clients.load(Ordering::Acquire) {
                drop(state);
                let plain = codec.event(name, None, event, args)?;
                packets.plain = Some(plain.compress(compress));
                continue;
            }
            send(&mut state, offset, &packets);
            self.head.store(state.log.head(), Ordering::Release);
            return Ok(());
        }
    }

    /// Takes what is kept of the socket that a client wants to have again.
    pub(crate) fn claim(self: &Arc<Self>, auth: &str) -> Option<Recoverable> {
        let Credentials { pid, offset } = serde_json::from_str(auth).ok()?;
        let mut state = self.state();
        if let Some(Entry::Live(socket)) = state.sessions.get(&pid) {
            // The client knows earlier than we do that its connection is gone.
            let socket = socket.upgrade();
            drop(state);
            socket?.take_over();
            state = self.state();
        }
        if !matches!(state.sessions.get(&pid), Some(Entry::Saved(_))) {
            return None;
        }
        let Some(Entry::Saved(saved)) = state.sessions.remove(&pid) else {
            return None;
        };
        self.budget.sub(saved.bytes);
        let claim = Claim {
            recovery: Arc::downgrade(self),
            pid,
            saved: Some(saved),
            offset,
        };
        let known =
            saved_of(&claim)?.expires >= Instant::now() && claim.missed(&state, self).is_some();
        drop(state);
        known.then(|| Recoverable::claimed(claim))
    }

    /// A client that was here before this packet knows of no offsets.
    pub(crate) fn note(&self, version: Version) {
        if version == Version::V3 {
            self.has_old_clients.store(true, Ordering::Release);
        }
    }

    /// The socket is connected: `connect` makes the packet that says so.
    pub(crate) fn admit(
        self: &Arc<Self>,
        socket: &Socket,
        connect: impl Fn(Option<&str>) -> Result<Encoded, EncodeError>,
    ) -> Result<(), EncodeError> {
        let Some(recoverable) = socket.recoverable() else {
            return Ok(());
        };
        let (old_pid, new_pid) = (recoverable.inner().pid.clone(), new_pid());
        let back = connect(Some(&old_pid))?;
        let fresh = connect(Some(&new_pid))?;
        let mut state = self.state();
        let mut inner = recoverable.inner();
        let claim = inner.claim.take();
        let claimed = claim.and_then(|mut claim| {
            let missed = claim.missed(&state, self);
            // Taken in any case: dropped with it, the claim would need the lock.
            missed.zip(claim.saved.take())
        });
        inner.recovered = claimed.is_some();
        let mut rooms = Vec::new();
        if let Some((missed, saved)) = claimed {
            for packet in missed {
                socket.conn().send_essential(packet);
            }
            inner.start = saved.start;
            inner.joined = saved.rooms;
            rooms.extend(inner.joined.iter().map(|it| it.room.clone()));
            socket.conn().send_essential(back);
        } else {
            inner.pid = new_pid;
            inner.start = state.log.head();
            inner.joined = vec![Joined {
                room: socket.room(),
                since: inner.start,
            }];
            socket.conn().send_essential(fresh);
        }
        let pid = inner.pid.clone();
        drop(inner);
        socket.enter(&rooms);
        state.sessions.insert(pid, Entry::Live(socket.downgrade()));
        if !std::mem::replace(&mut state.sweeping, true) {
            tokio::spawn(sweep(Arc::downgrade(self), self.budget.keep));
        }
        Ok(())
    }

    /// The socket is disconnected by `exit`, which says whether it was connected. If it may come
    /// back, what it needs for that is kept.
    pub(crate) fn depart(
        &self,
        socket: &Socket,
        may_return: bool,
        exit: impl FnOnce() -> bool,
    ) -> bool {
        let Some(recoverable) = socket.recoverable() else {
            return exit();
        };
        let mut state = self.state();
        if !exit() {
            return false;
        }
        let mut inner = recoverable.inner();
        let pid = std::mem::take(&mut inner.pid);
        state.sessions.remove(&pid);
        if !may_return {
            return true;
        }
        let saved = Saved::new(socket, &mut inner, &self.budget.options);
        state.save(pid, saved, &self.budget);
        true
    }

    /// The last event; for a socket that joins a room now.
    pub(crate) fn head(&self) -> u64 {
        self.head.load(Ordering::Acquire)
    }

    #[cfg(test)]
    pub(crate) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// The number in an offset of ours.
    fn offset(&self, text: &str) -> Option<u64> {
        let number = text.strip_prefix(&*self.prefix)?.parse().ok()?;
        (number < self.next_offset.load(Ordering::Relaxed)).then_some(number)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Recovery {
    /// Dynamic namespaces come and go; what they may keep together stays the same.
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let saved = state.sessions.values().map(|entry| match entry {
            Entry::Live(_) => 0,
            Entry::Saved(saved) => saved.bytes,
        });
        self.budget.sub(saved.sum::<usize>() + state.log.bytes());
    }
}

impl fmt::Debug for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recovery")
            .field("budget", &self.budget)
            .finish_non_exhaustive()
    }
}

impl State {
    fn keep(&mut self, offset: u64, packet: &Encoded, selection: &Selection, budget: &Budget) {
        // Nobody is or was here who could come back.
        if !self.sessions.is_empty() {
            self.log
                .append(offset, Some(packet.clone()), selection, budget);
        }
    }

    fn save(&mut self, pid: Box<str>, saved: Saved, budget: &Budget) {
        budget.add(saved.bytes);
        self.log.make_room(budget);
        if budget.is_exceeded() {
            budget.sub(saved.bytes);
            return;
        }
        self.sessions.insert(pid, Entry::Saved(Box::new(saved)));
    }
}

impl Budget {
    fn add(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    fn sub(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn is_exceeded(&self) -> bool {
        self.used.load(Ordering::Relaxed) > self.options.max_bytes
    }
}

impl Saved {
    fn new(socket: &Socket, inner: &mut Inner, options: &ConnectionStateRecovery) -> Self {
        let rooms = std::mem::take(&mut inner.joined);
        let data = socket.raw_data();
        let names = rooms.iter().map(|joined| ROOM + joined.room.len());
        Self {
            bytes: SESSION + names.sum::<usize>() + data.as_ref().map_or(0, |it| it.get().len()),
            sid: socket.room(),
            rooms,
            data,
            start: inner.start,
            expires: Instant::now() + options.max_disconnection_duration,
        }
    }
}

impl Claim {
    fn missed(&self, state: &State, recovery: &Recovery) -> Option<Vec<Encoded>> {
        let saved = saved_of(self)?;
        let offset = match &self.offset {
            Some(text) => Some(recovery.offset(text)?),
            None => None,
        };
        let log = &state.log;
        log.missed(offset, saved.start, &saved.rooms, &recovery.budget)
    }
}

fn saved_of(claim: &Claim) -> Option<&Saved> {
    claim.saved.as_deref()
}

impl Drop for Claim {
    /// Whoever was refused, or gone before it was let in, may try again.
    fn drop(&mut self) {
        let (Some(saved), Some(recovery)) = (self.saved.take(), self.recovery.upgrade()) else {
            return;
        };
        let pid = std::mem::take(&mut self.pid);
        recovery.state().save(pid, *saved, &recovery.budget);
    }
}

impl Recoverable {
    /// A socket that has not been here before.
    pub(crate) fn new() -> Self {
        Self::with("".into(), None)
    }

    fn claimed(claim: Claim) -> Self {
        Self::with(claim.pid.clone(), Some(claim))
    }

    fn with(pid: Box<str>, claim: Option<Claim>) -> Self {
        Self(Mutex::new(Inner {
            pid,
            start: 0,
            joined: Vec::new(),
            recovered: claim.is_some(),
            claim,
        }))
    }

    /// The id and the data that the socket had.
    pub(crate) fn before(&self) -> Option<(Room, Option<Box<RawValue>>)> {
        let inner = self.inner();
        let saved = inner.claim.as_ref().and_then(saved_of)?;
        Some((saved.sid.clone(), saved.data.clone()))
    }

    pub(crate) fn is_recovered(&self) -> bool {
        self.inner().recovered
    }

    /// The socket joins a room, after all events up to this one.
    pub(crate) fn join(&self, room: &Room, since: u64) {
        let mut inner = self.inner();
        if !inner.joined.iter().any(|joined| joined.room == *room) {
            inner.joined.push(Joined {
                room: room.clone(),
                since,
            });
        }
    }

    pub(crate) fn leave(&self, room: &str) {
        self.inner().joined.retain(|joined| *joined.room != *room);
    }

    /// The socket will not be let in.
    pub(crate) fn refuse(&self) {
        let claim = self.inner().claim.take();
        drop(claim);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner")
            .field("joined", &self.joined)
            .field("recovered", &self.recovered)
            .finish_non_exhaustive()
    }
}

/// An event in the shapes that its recipients need.
#[derive(Debug)]
pub(crate) struct Packets {
    with_offset: Encoded,
    /// For sockets of protocol 4, if there are any.
    plain: Option<Encoded>,
}

impl Packets {
    pub(crate) fn of(&self, member: &Member) -> Encoded {
        let plain = self.plain.as_ref();
        let plain = plain.filter(|_| member.session.version() == Version::V3);
        plain.unwrap_or(&self.with_offset).clone()
    }

    pub(crate) fn new_clients(&self) -> Encoded {
        self.with_offset.clone()
    }
}

/// Arguments, and an offset behind them.
struct WithOffset<'a, A: ?Sized>(&'a A, &'a str);

impl<A: ToArgs + ?Sized> ToArgs for WithOffset<'_, A> {
    fn write_args(&self, out: &mut ArgsWriter) -> Result<(), EncodeError> {
        self.0.write_args(out)?;
        out.push(self.1)
    }
}

/// Drops what is too old, until nothing is left.
async fn sweep(recovery: Weak<Recovery>, keep: Duration) {
    let pause = (keep / 4).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
    loop {
        tokio::time::sleep(pause).await;
        let Some(recovery) = recovery.upgrade() else {
            return;
        };
        let now = Instant::now();
        let mut state = recovery.state();
        let State { log, sessions, .. } = &mut *state;
        sessions.retain(|_, entry| match entry {
            Entry::Live(socket) => socket.is_alive(),
            Entry::Saved(saved) => {
                let keep = saved.expires >= now;
                if !keep {
                    recovery.budget.sub(saved.bytes);
                }
                keep
            }
        });
        sessions.shrink_to(sessions.len() * 2);
        log.sweep(now, &recovery.budget);
        if sessions.is_empty() && log.is_empty() {
            state.sweeping = false;
            return;
        }
    }
}

/// 118 random bits, as in an id that everybody may see; but this one authenticates its client.
fn new_pid() -> Box<str> {
    engineio::Sid::from_uuid(uuid::Uuid::new_v4().into_bytes())
        .as_str()
        .into()
}

const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What a state costs besides its data and rooms.
const SESSION: usize = 512;

/// What a room of it costs besides the bytes of its name.
const ROOM: usize = 64;
