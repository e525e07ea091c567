//! Connection state recovery: a client that comes back after a short disconnection gets its id, its
//! rooms, its data and the events that it has missed.
//!
//! Source: Socket.IO documentation, "Connection state recovery"; on the wire a private id in the
//! answer to CONNECT, and an offset as the last argument of each event that can be sent again.

mod budget;
mod elsewhere;
mod log;
mod options;
mod packets;
mod stays;

use std::{
    collections::{HashMap, HashSet},
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use engineio::Version;
use serde::Deserialize;
use serde_json::value::RawValue;
use socketio_adapter::{
    Cluster, Event, Message, Options, Place, Room, Selection, SessionStore, StoredSession,
};
use socketio_proto::{Args, EncodeError, Encoded, ToArgs};
use tokio::time::Instant;

pub use self::options::ConnectionStateRecovery;
use self::{
    budget::Account,
    log::{Kept, Log},
    packets::Followed,
    stays::{Moment, Stays},
};
pub(crate) use self::{budget::Budget, packets::Packets};
use crate::{
    Namespace, Socket,
    emitter::Flags,
    namespace::{Member, WeakNamespace},
    socket::WeakSocket,
};

/// What a namespace keeps.
///
/// The lock orders what happens in the namespace: what is sent first stands first in the log and in
/// the queue of each client, and who joins a room after an event was not in it before. Order of
/// locks: this one, then what belongs to a socket's state, then the registry, then mailboxes.
/// Nothing is encoded under it for clients, unless others have been faster too often; for other servers an
/// adapter may.
pub(crate) struct Recovery {
    budget: Arc<Budget>,
    /// Of this run of the server: offsets of another one mean nothing, unless there is a store.
    prefix: Box<str>,
    /// The number of the next event. With a store it changes under the lock only, so that numbers
    /// tell the order.
    next_offset: AtomicU64,
    /// If clients may come back to another server.
    store: OnceLock<Arc<dyn SessionStore>>,
    /// Sockets of protocol 4 have been here. They know no offsets, and must not see any.
    has_old_clients: AtomicBool,
    state: Mutex<State>,
}

struct State {
    log: Log,
    sessions: HashMap<Box<str>, Entry>,
    account: Account,
    sweeping: bool,
    /// With a store: where the last event of another server stands.
    place: Option<Place>,
}

enum Entry {
    /// Connected.
    Live(WeakSocket),
    /// Gone for the time being.
    Saved(Box<Saved>),
    /// In the hands of a client that has come back and was not let in yet.
    Claimed,
}

/// A socket that is gone for the time being.
#[derive(Debug)]
struct Saved {
    sid: Room,
    stays: Stays,
    data: Option<Box<RawValue>>,
    /// The last event before it was connected for the first time.
    start: u64,
    /// The same as an offset, with a store.
    since: Option<Box<str>>,
    /// What it got from the store when it came ended here.
    until: Option<Place>,
    expires: Instant,
    bytes: usize,
}

/// A saved socket in the hands of a client that has come back. Unless it is used it goes back.
struct Claim {
    recovery: Weak<Recovery>,
    pid: Box<str>,
    saved: Option<Box<Saved>>,
    /// What the client has received last.
    offset: Option<Box<str>>,
    /// With a store: what was taken out of it.
    record: Option<Box<Record>>,
    /// The store could not be asked.
    may_be_stored: bool,
    /// If the client was somewhere else.
    foreign: Option<Box<Foreign>>,
}

/// A session out of the store.
struct Record {
    session: StoredSession,
    expires: Instant,
}

/// What a client has missed that was at another server.
struct Foreign {
    /// The socket's rooms, joined when the log had this head.
    stays: Stays,
    head: u64,
    /// Events out of the store, with their places as offsets.
    missed: Vec<Encoded>,
    /// What all this costs.
    bytes: usize,
    /// The numbers of those of this server that were looked at.
    own: HashSet<u64>,
    /// Where the last one that was looked at stands.
    until: Place,
    expires: Instant,
    /// Where the client was then, as an offset.
    since: Box<str>,
}

/// What comes of a claim.
struct Redeemed {
    missed: Vec<Encoded>,
    stays: Stays,
    start: u64,
    since: Option<Box<str>>,
    until: Option<Place>,
}

/// What a socket has to remember to be recovered.
#[derive(Debug)]
pub(crate) struct Recoverable(Mutex<Inner>);

struct Inner {
    /// Empty before the socket is connected.
    pid: Box<str>,
    start: u64,
    /// The same as an offset, with a store.
    since: Option<Box<str>>,
    /// What it got from the store when it came ended here.
    until: Option<Place>,
    stays: Stays,
    recovered: bool,
    claim: Option<Claim>,
}

/// The lock, in the hands of a socket that joins or leaves rooms.
pub(crate) struct Order<'a> {
    state: MutexGuard<'a, State>,
    inner: MutexGuard<'a, Inner>,
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
            prefix: random[..PREFIX].into(),
            next_offset: AtomicU64::new(0),
            store: OnceLock::new(),
            has_old_clients: AtomicBool::new(false),
            state: Mutex::new(State {
                log: Log::default(),
                sessions: HashMap::new(),
                account: Account::new(budget.clone()),
                sweeping: false,
                place: None,
            }),
            budget,
        }
    }

    /// Clients may come back to another server.
    pub(crate) fn set_store(&self, store: Arc<dyn SessionStore>) {
        // Whoever has received nothing has received the event before the first one.
        self.next_offset.fetch_max(1, Ordering::Relaxed);
        let _ = self.store.set(store);
    }

    /// Whether clients that come back have to be [waited for](Self::restore).
    pub(crate) fn has_store(&self) -> bool {
        self.store.get().is_some()
    }

    pub(crate) fn skips_middlewares(&self) -> bool {
        self.budget.options.skip_middlewares
    }

    /// Sends an event to sockets of this node, by the function, and keeps it for those that miss
    /// it. With a store, what goes on to other nodes does so here, in the order of the numbers.
    pub(crate) fn broadcast<A: ToArgs + ?Sized>(
        &self,
        namespace: &Namespace,
        event: &str,
        args: &A,
        options: &Options,
        onward: &mut Option<Message>,
        mut send: impl FnMut(&Member, Encoded),
    ) -> Result<(), EncodeError> {
        let Options {
            selection,
            compress,
            place,
            ..
        } = options;
        let cluster = onward.as_ref().and_then(|_| namespace.cluster());
        let cluster = cluster.filter(|_| self.has_store());
        let way = (*compress, *place);
        self.send(namespace, event, args, way, |state, kept, packets| {
            let number = kept.offset;
            state.keep(kept, selection);
            let registry = namespace.registry();
            registry.each(selection, |member| send(member, packets.of(member)));
            if let Some(cluster) = cluster {
                self.publish(&cluster, number, onward.take());
            }
        })
    }

    fn publish(&self, cluster: &Cluster, number: u64, message: Option<Message>) {
        if let Some(Message::Broadcast {
            event,
            mut options,
            request,
        }) = message
        {
            options.mark = Some(format!("{}.{number}", self.prefix).into());
            cluster.publish(Message::Broadcast {
                event,
                options,
                request,
            });
        }
    }

    /// Sends an event to one socket that has been connected, and keeps it for the case that it
    /// misses it: it may be gone for the time being, or back on another connection. `false` if it
    /// is gone for good, or its connection does not take the event.
    pub(crate) fn emit<A: ToArgs + ?Sized>(
        &self,
        socket: &Socket,
        recoverable: &Recoverable,
        event: &str,
        args: &A,
        flags: Flags,
    ) -> Result<bool, EncodeError> {
        let room = Selection::room(socket.room());
        let namespace = socket.namespace();
        // Wherever the client is when it comes back.
        let cluster = self.store.get().and_then(|_| namespace.cluster());
        let onward = cluster.map(|cluster| {
            let message = Message::Broadcast {
                event: Event {
                    name: event.into(),
                    args: Args::new(args)?,
                },
                options: Options {
                    selection: room.clone(),
                    compress: flags.compress,
                    ..Options::default()
                },
                request: None,
            };
            Ok::<_, EncodeError>((cluster, message))
        });
        let onward = onward.transpose()?;
        self.send(
            namespace,
            event,
            args,
            (flags.compress, None),
            |state, kept, packets| {
                let now = match state.sessions.get(&*recoverable.inner().pid) {
                    None => return false,
                    Some(Entry::Live(socket)) => socket.upgrade(),
                    Some(Entry::Saved(_) | Entry::Claimed) => None,
                };
                if let Some((cluster, message)) = onward {
                    self.publish(&cluster, kept.offset, Some(message));
                }
                state.keep(kept, &room);
                // The registry has it too, so this is not the end of it.
                now.is_none_or(|now| {
                    let sent = flags.way.send(now.conn(), packets.new_clients());
                    // If not, and if it was not too much: it has not heard yet that it is gone.
                    sent || now.conn().is_closed()
                })
            },
        )
    }

    /// Numbers an event, encodes it with its number, and sends it with the lock.
    fn send<A: ToArgs + ?Sized, R>(
        &self,
        namespace: &Namespace,
        event: &str,
        args: &A,
        (compress, place): (bool, Option<Place>),
        send: impl FnOnce(&mut State, Kept, &Packets) -> R,
    ) -> Result<R, EncodeError> {
        let (codec, name) = (namespace.codec(), namespace.name());
        let mut plain = None;
        let mut attempts = 0;
        let mut json = None;
        loop {
            let mut held = None;
            if attempts == ATTEMPTS && json.is_none() {
                json = Some(Args::new(args)?);
            }
            let (number, last) = if self.has_store() {
                let mut state = self.state();
                let now = self.now(&mut state);
                // Others have been faster again and again. No code of a user runs from here on.
                held = (attempts == ATTEMPTS).then_some(state);
                now
            } else {
                (self.next_offset.fetch_add(1, Ordering::Relaxed), None)
            };
            let text = self.text(number, place.or(last));
            let new = match &json {
                None => codec.event(name, None, event, &Followed(args, &*text))?,
                Some(json) => codec.event(name, None, event, &Followed(json, &*text))?,
            };
            let packets = Packets {
                new: new.compress(compress),
                plain: plain.clone(),
            };
            let kept = Kept {
                offset: number,
                place,
                packet: to_keep(&packets.new),
            };
            let mut state = held.unwrap_or_else(|| self.state());
            if plain.is_none() && self.has_old_clients.load(Ordering::Acquire) {
                drop(state);
                let packet = codec.event(name, None, event, args)?;
                plain = Some(packet.compress(compress));
                continue;
            }
            if self.has_store() {
                if self.next_offset.load(Ordering::Relaxed) != number {
                    attempts += 1;
                    continue;
                }
                self.next_offset.store(number + 1, Ordering::Relaxed);
                state.place = place.or(state.place);
            }
            return Ok(send(&mut state, kept, &packets));
        }
    }

    /// The number of the next event, and the place of the last one of another server.
    fn now(&self, state: &mut State) -> (u64, Option<Place>) {
        let store = self.store.get();
        state.place = state.place.or_else(|| store?.position());
        (self.next_offset.load(Ordering::Relaxed), state.place)
    }

    /// An offset: all events of this server up to the number have been received, and with a store
    /// all of others up to the place.
    fn text(&self, number: u64, place: Option<Place>) -> String {
        match place {
            None => format!("{}.{number}", self.prefix),
            Some(place) => format!("{}.{number}.{place}", self.prefix),
        }
    }

    /// Takes what is kept of the socket that a client wants to have again.
    pub(crate) fn claim(self: &Arc<Self>, auth: &str) -> Option<Recoverable> {
        let Credentials { pid, offset } = serde_json::from_str(auth).ok()?;
        let mut state = self.without_connection(&pid)?;
        let State {
            log,
            sessions,
            account,
            ..
        } = &mut *state;
        let entry = sessions.get_mut(&pid)?;
        if let Entry::Saved(saved) = entry {
            self.missed(saved, offset.as_deref(), log, account)?;
        }
        let saved = entry.claim()?;
        Some(Recoverable::claimed(Claim {
            recovery: Arc::downgrade(self),
            pid,
            saved: Some(saved),
            offset,
            record: None,
            may_be_stored: false,
            foreign: None,
        }))
    }

    /// The state, in which the session is not connected any more, if it was: its client knows earlier
    /// than we do that its connection is gone.
    fn without_connection(&self, pid: &str) -> Option<MutexGuard<'_, State>> {
        let state = self.state();
        let Some(Entry::Live(socket)) = state.sessions.get(pid) else {
            return Some(state);
        };
        let socket = socket.upgrade();
        drop(state);
        socket?.take_over();
        Some(self.state())
    }

    /// A client that was here before this packet knows of no offsets.
    pub(crate) fn note(&self, version: Version) {
        if version == Version::V3 {
            self.has_old_clients.store(true, Ordering::Release);
        }
    }

    /// The socket is connected: `connect` makes the packet that says so.
    pub(crate) fn admit(
        &self,
        socket: &Socket,
        connect: impl Fn(Option<&str>) -> Result<Encoded, EncodeError>,
    ) -> Result<(), EncodeError> {
        let Some(recoverable) = socket.recoverable() else {
            let connected = connect(None)?;
            // Whoever sends with the lock after this one knows that there are old clients.
            let _state = self.state();
            socket.conn().send_essential(connected);
            socket.enter(&[]);
            return Ok(());
        };
        let new_pid = new_pid();
        let fresh = connect(Some(&new_pid))?;
        let old_pid = recoverable.claimed_pid();
        let back = old_pid.as_deref().map(|pid| connect(Some(pid)));
        let back = back.transpose()?;
        let mut state = self.state();
        let mut inner = recoverable.inner();
        let claim = inner.claim.take();
        let claimed = claim.and_then(|claim| self.redeem(claim, &mut state));
        inner.recovered = claimed.is_some();
        let rooms: Vec<Room>;
        match (claimed, old_pid, back) {
            (Some(redeemed), Some(old_pid), Some(back)) => {
                for packet in redeemed.missed {
                    socket.conn().send_essential(packet);
                }
                socket.conn().send_essential(back);
                rooms = redeemed.stays.rooms().cloned().collect();
                inner.pid = old_pid;
                inner.start = redeemed.start;
                inner.since = redeemed.since;
                inner.until = redeemed.until;
                inner.stays = redeemed.stays;
            }
            _ => {
                socket.conn().send_essential(fresh);
                rooms = Vec::new();
                inner.pid = new_pid;
                inner.start = state.log.head();
                let (next, place) = self.now(&mut state);
                inner.since = place.map(|place| self.text(next - 1, Some(place)).into());
            }
        }
        let pid = inner.pid.clone();
        drop(inner);
        let early = socket.enter(&rooms);
        let mut inner = recoverable.inner();
        for room in [socket.room()].iter().chain(&early) {
            inner.stays.join(room, state.log.head());
        }
        drop(inner);
        state.sessions.insert(pid, Entry::Live(socket.downgrade()));
        self.sweep_from_now_on(&mut state, socket.namespace());
        Ok(())
    }

    /// Drops what is too old, as long as there is something.
    fn sweep_from_now_on(&self, state: &mut State, namespace: &Namespace) {
        if !std::mem::replace(&mut state.sweeping, true) {
            tokio::spawn(sweep(namespace.downgrade(), self.budget.keep));
        }
    }

    /// The socket is disconnected by `exit`, which gives nothing if it was not connected. If it may
    /// come back, what it needs for that is kept.
    pub(crate) fn depart<T>(
        &self,
        socket: &Socket,
        may_return: bool,
        exit: impl FnOnce() -> Option<T>,
    ) -> Option<T> {
        let Some(recoverable) = socket.recoverable() else {
            return exit();
        };
        let mut state = self.state();
        let left = exit()?;
        let mut inner = recoverable.inner();
        if may_return {
            let saved = Saved::new(socket, &mut inner, &self.budget.options);
            self.store(&inner.pid, &saved);
            state.save(&inner.pid, saved);
        } else {
            state.sessions.remove(&inner.pid);
        }
        Some(left)
    }

    /// For a socket that joins or leaves rooms.
    pub(crate) fn order<'a>(&'a self, recoverable: &'a Recoverable) -> Order<'a> {
        let state = self.state();
        let inner = recoverable.inner();
        Order { state, inner }
    }

    /// Whether somebody may come back.
    pub(crate) fn has_sessions(&self) -> bool {
        !self.state().sessions.is_empty()
    }

    #[cfg(test)]
    pub(crate) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// What a client has missed that comes back now. `None` if it comes too late, or if that is
    /// not known.
    fn missed(
        &self,
        saved: &Saved,
        offset: Option<&str>,
        log: &Log,
        account: &Account,
    ) -> Option<Vec<Encoded>> {
        if saved.expires < Instant::now() {
            return None;
        }
        let offset = match offset {
            None => None,
            Some(text) => self.offset(text)?,
        };
        log.missed(offset, saved.start, &saved.stays, account)
    }

    /// Uses a claim: it does not go back, whatever comes of it. Middlewares may have taken long.
    fn redeem(&self, mut claim: Claim, state: &mut State) -> Option<Redeemed> {
        claim.recovery = Weak::new();
        if let Some(foreign) = claim.foreign.take() {
            state.sessions.remove(&claim.pid);
            return self.redeem_foreign(*foreign, state);
        }
        let saved = claim.saved.take()?;
        if claim.may_be_stored {
            self.forget(&claim.pid);
        }
        state.sessions.remove(&claim.pid);
        state.account.sub(saved.bytes);
        let offset = claim.offset.as_deref();
        Some(Redeemed {
            missed: self.missed(&saved, offset, &state.log, &state.account)?,
            start: saved.start,
            since: saved.since,
            until: saved.until,
            stays: saved.stays,
        })
    }

    /// The number in an offset. One of another server, or of an earlier run of this one, has none:
    /// the client has received nothing since it was connected to this one.
    fn offset(&self, text: &str) -> Option<Option<u64>> {
        let (prefix, number) = text.split_once('.')?;
        let (number, _) = number.split_once('.').unwrap_or((number, ""));
        let number: u64 = number.parse().ok()?;
        if *prefix == *self.prefix {
            return (number < self.next_offset.load(Ordering::Relaxed)).then_some(Some(number));
        }
        let is_prefix = prefix.len() == PREFIX && prefix.bytes().all(|it| it.is_ascii_hexdigit());
        is_prefix.then_some(None)
    }

    /// Drops what is too old. Returns whether there is still something to wait for.
    fn sweep(&self) -> bool {
        let now = Instant::now();
        let mut state = self.state();
        let State {
            log,
            sessions,
            account,
            sweeping,
            ..
        } = &mut *state;
        sessions.retain(|_, entry| match entry {
            Entry::Live(socket) => socket.is_alive(),
            Entry::Claimed => true,
            Entry::Saved(saved) => {
                let keep = saved.expires >= now;
                if !keep {
                    account.sub(saved.bytes);
                }
                keep
            }
        });
        sessions.shrink_to(sessions.len() * 2);
        log.sweep(now, account);
        *sweeping = !(sessions.is_empty() && log.is_empty());
        *sweeping
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
    fn keep(&mut self, event: Kept, selection: &Selection) {
        // Nobody is or was here who could come back.
        if !self.sessions.is_empty() {
            self.log.append(event, selection, &mut self.account);
        }
    }

    /// Keeps a socket in place of the connected one, if there is room for it.
    fn save(&mut self, pid: &str, saved: Saved) {
        if self.hold(saved.bytes) {
            let saved = Entry::Saved(Box::new(saved));
            self.sessions.insert(pid.into(), saved);
        } else {
            self.sessions.remove(pid);
        }
    }

    /// Counts what is kept, if there is room for it.
    fn hold(&mut self, bytes: usize) -> bool {
        self.account.add(bytes);
        self.log.make_room(&mut self.account);
        let fits = !self.account.is_exceeded();
        if !fits {
            self.account.sub(bytes);
        }
        fits
    }
}

impl Entry {
    fn claim(&mut self) -> Option<Box<Saved>> {
        match std::mem::replace(self, Entry::Claimed) {
            Entry::Saved(saved) => Some(saved),
            other => {
                *self = other;
                None
            }
        }
    }
}

impl Saved {
    fn new(socket: &Socket, inner: &mut Inner, options: &ConnectionStateRecovery) -> Self {
        let stays = std::mem::take(&mut inner.stays);
        let data = socket.raw_data();
        let names = stays.all().map(|(room, ..)| ROOM + room.len());
        Self {
            bytes: SESSION + names.sum::<usize>() + data.as_ref().map_or(0, |it| it.get().len()),
            sid: socket.room(),
            stays,
            data,
            start: inner.start,
            since: inner.since.clone(),
            until: inner.until,
            expires: Instant::now() + options.max_disconnection_duration,
        }
    }
}

impl Drop for Claim {
    /// Whoever was refused, or gone before it was let in, may try again.
    fn drop(&mut self) {
        let Some(recovery) = self.recovery.upgrade() else {
            return;
        };
        if let Some(record) = self.record.take() {
            recovery.put_back(&record);
        }
        let pid = std::mem::take(&mut self.pid);
        let mut state = recovery.state();
        if let Some(foreign) = self.foreign.take() {
            state.account.sub(foreign.bytes);
        }
        if let Some(saved) = self.saved.take() {
            if self.may_be_stored {
                recovery.store(&pid, &saved);
            }
            state.sessions.insert(pid, Entry::Saved(saved));
        } else if let Some(Entry::Claimed) = state.sessions.get(&pid) {
            state.sessions.remove(&pid);
        }
    }
}

impl Recoverable {
    /// A socket that has not been here before.
    pub(crate) fn new() -> Self {
        Self::with(None)
    }

    fn claimed(claim: Claim) -> Self {
        Self::with(Some(claim))
    }

    fn with(claim: Option<Claim>) -> Self {
        Self(Mutex::new(Inner {
            pid: Box::default(),
            start: 0,
            since: None,
            until: None,
            stays: Stays::default(),
            recovered: claim.is_some(),
            claim,
        }))
    }

    /// The id and the data that the socket had.
    pub(crate) fn before(&self) -> Option<(Room, Option<Box<RawValue>>)> {
        let inner = self.inner();
        let claim = inner.claim.as_ref()?;
        match (&claim.saved, &claim.record) {
            (Some(saved), _) => Some((saved.sid.clone(), saved.data.clone())),
            (None, Some(record)) => {
                let session = &record.session;
                Some((session.sid.as_ref().into(), session.data.clone()))
            }
            (None, None) => None,
        }
    }

    pub(crate) fn is_recovered(&self) -> bool {
        self.inner().recovered
    }

    /// The socket will not be let in.
    pub(crate) fn refuse(&self) {
        let claim = self.inner().claim.take();
        drop(claim);
    }

    fn claimed_pid(&self) -> Option<Box<str>> {
        self.inner().claim.as_ref().map(|claim| claim.pid.clone())
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner")
            .field("stays", &self.stays)
            .field("recovered", &self.recovered)
            .finish_non_exhaustive()
    }
}

impl Order<'_> {
    /// The socket joins rooms, after all events until now.
    pub(crate) fn join(&mut self, rooms: &[Room]) {
        let head = self.state.log.head();
        rooms
            .iter()
            .for_each(|room| self.inner.stays.join(room, head));
    }

    /// The socket leaves a room: what is sent to the room from now on is not for it.
    pub(crate) fn leave(&mut self, room: &str) {
        let now = Moment {
            at: self.state.log.head(),
            time: Instant::now(),
        };
        let keep = self.state.account.budget.keep;
        self.inner.stays.leave(room, now, keep);
    }
}

/// A copy for the log: binary data may be a slice of something larger, and what is kept is counted.
fn to_keep(packet: &Encoded) -> Encoded {
    let attachments = packet.attachments();
    if attachments.is_empty() {
        return packet.clone();
    }
    let attachments = attachments.iter().map(|it| Bytes::copy_from_slice(it));
    // Old clients are not recovered, so it need not be made ASCII.
    Encoded::from_wire(packet.wire_text().cloned(), attachments.collect(), None)
        .compress(packet.compresses())
}

/// Drops what is too old, until nothing is left.
async fn sweep(namespace: WeakNamespace, keep: Duration) {
    let pause = (keep / 4).clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
    loop {
        tokio::time::sleep(pause).await;
        let Some(namespace) = namespace.upgrade() else {
            return;
        };
        let goes_on = namespace.recovery().is_some_and(|it| it.sweep());
        // Nobody can come back to it any more.
        namespace.vacate();
        if !goes_on {
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

/// How often an event is encoded without the lock, when others are faster.
const ATTEMPTS: u32 = 3;

/// How many hexadecimal digits tell the offsets of one run of a server from those of others.
const PREFIX: usize = 8;

const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What a state costs besides its data and rooms.
const SESSION: usize = 512;

/// What a room of it costs besides the bytes of its name.
const ROOM: usize = 64;
