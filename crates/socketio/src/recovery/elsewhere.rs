//! Clients that come back to another server, if what connects the servers can keep their sessions.
//!
//! The servers have no common order in which they send: each serves its own clients first. So an
//! offset says two things: up to which number events of *its* server have been received, and up to
//! which place those of all others. Events in the store say which server calls them by which number,
//! and stand in their places; together this tells what was missed. Once a client has been sent what
//! was in the store, all servers alike, a place alone is its offset, as for the official server.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use socketio_adapter::{BoxError, Event, Options, Place, Room, SessionStore, StoredSession};
use tokio::{
    sync::oneshot,
    time::{Instant, error::Elapsed, sleep, timeout},
};

use super::{
    Budget, Claim, Credentials, Entry, Followed, Foreign, PREFIX, Record, Recoverable, Recovery,
    Redeemed, SESSION, Saved, State, Stays,
};
use crate::Namespace;

/// What an offset says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Received<'a> {
    /// Of this server all up to the number.
    own: Option<(&'a str, u64)>,
    /// Of others all up to the place; of all, if no server is named.
    place: Place,
}

impl<'a> Received<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let Some((prefix, rest)) = text.split_once('.') else {
            let place = text.parse().ok()?;
            return Some(Self { own: None, place });
        };
        let (number, place) = rest.split_once('.')?;
        let is_prefix = prefix.len() == PREFIX && prefix.bytes().all(|it| it.is_ascii_hexdigit());
        let own = is_prefix.then_some((prefix, number.parse().ok()?));
        Some(Self {
            own: Some(own?),
            place: place.parse().ok()?,
        })
    }

    fn text(&self) -> String {
        match self.own {
            Some((server, number)) => format!("{server}.{number}.{}", self.place),
            None => self.place.to_string(),
        }
    }

    /// Whether the other one knows as much of the same server.
    fn number_is_up_to(&self, other: &Self) -> bool {
        match (self.own, other.own) {
            (Some((one, from)), Some((two, to))) => one != two || from <= to,
            _ => true,
        }
    }

    /// Whether something of its server has been received since then. Then all that was sent out of the
    /// store has been, too: it came before.
    fn is_beyond(&self, since: Option<&Self>) -> bool {
        let since = since.and_then(|it| it.own);
        self.own.is_some_and(|(server, number)| {
            since.is_none_or(|(before, from)| server != before || number > from)
        })
    }

    fn is_of(&self, server: &str) -> bool {
        self.own.is_some_and(|(prefix, _)| prefix == server)
    }

    /// Whether an event that stands behind the place has been received.
    fn has(&self, mark: Option<(&str, u64)>) -> bool {
        match (self.own, mark) {
            (Some((server, received)), Some((sender, number))) => {
                server == sender && number <= received
            }
            _ => false,
        }
    }
}

/// What a server calls an event.
fn read_mark(options: &Options) -> Option<(&str, u64)> {
    let (server, number) = options.mark.as_deref()?.split_once('.')?;
    Some((server, number.parse().ok()?))
}

impl Recovery {
    /// Keeps a session for other servers.
    pub(super) fn store(&self, pid: &str, saved: &Saved) {
        let (Some(store), Some(since)) = (self.store.get(), &saved.since) else {
            return;
        };
        let session = StoredSession {
            pid: pid.into(),
            sid: saved.sid.as_ref().into(),
            rooms: saved.stays.rooms().cloned().collect(),
            data: saved.data.clone(),
            server: Some(self.prefix.clone()),
            since: Some(since.clone()),
            until: saved.until,
        };
        store.save(&session, self.budget.options.max_disconnection_duration);
    }

    /// Nobody else shall have a session when the store is back.
    pub(super) fn forget(&self, pid: &str) {
        if let Some(store) = self.store.get() {
            store.forget(pid);
        }
    }

    /// For the rest of its time.
    pub(super) fn put_back(&self, Record { session, expires }: &Record) {
        let left = expires.saturating_duration_since(Instant::now());
        if let Some(store) = self.store.get()
            && !left.is_zero()
        {
            store.save(session, left);
        }
    }

    /// Whether a client says who it was.
    pub(crate) fn is_named(&self, auth: &str) -> bool {
        serde_json::from_str::<Credentials>(auth).is_ok()
    }

    /// As [`claim`](Self::claim), with the store: what is in it counts, since the client may have
    /// been somewhere else meanwhile. Without its help only what this server knows itself.
    pub(crate) async fn restore(
        self: Arc<Self>,
        namespace: Namespace,
        auth: Box<str>,
    ) -> Option<Recoverable> {
        let store = self.store.get()?.clone();
        let Credentials { pid, offset } = serde_json::from_str(&auth).ok()?;
        let is_plain = |it: u8| it.is_ascii_alphanumeric() || it == b'-' || it == b'_';
        if pid.len() > MAX_PID || !pid.bytes().all(is_plain) {
            return None;
        }
        let (mut claim, head) = self.begin(&namespace, pid, offset)?;
        if claim.saved.as_ref().is_some_and(|it| it.since.is_none()) {
            // It came before the store was there, and is in no other place.
            return self.claim_here(claim);
        }
        match taken(&self.budget, &store, &claim.pid).await {
            Ok(Ok(Some((session, left)))) => {
                let left = left.min(self.budget.options.max_disconnection_duration);
                let expires = Instant::now() + left;
                claim.record = Some(Box::new(Record { session, expires }));
            }
            Ok(Ok(None)) => {
                // Too late, or somebody else has it.
                self.drop_saved(&mut claim);
                return None;
            }
            Ok(Err(_)) | Err(_) => {
                tracing::debug!("the store of sessions is away");
                // Whatever has come to the client somewhere else would show in its offset.
                let said = claim.offset.as_deref();
                let is_ours = |text| Received::read(text).is_some_and(|it| it.is_of(&self.prefix));
                let saved = claim.saved.as_deref()?;
                let since = saved.since.as_deref();
                // What it was sent out of the store is not in the log.
                let has_until = saved.until.is_none() || {
                    let said = said.and_then(Received::read);
                    let since = since.and_then(Received::read);
                    said.is_some_and(|it| it.is_beyond(since.as_ref()))
                };
                let is_known = said.is_none_or(is_ours) && since.is_none_or(is_ours) && has_until;
                claim.may_be_stored = true;
                return is_known.then(|| self.claim_here(claim))?;
            }
        }
        let Record {
            session: record,
            expires,
        } = claim.record.as_deref()?;
        let since = record.since.as_deref().and_then(Received::read);
        let server = record.server.as_deref();
        // What a client says of another server than the last one, or of an earlier place, it has
        // received before it came to the last one.
        let is_usable = |it: &Received<'_>| {
            let is_later =
                since.is_none_or(|since| since.place <= it.place && since.number_is_up_to(it));
            is_later && (it.own.is_none() || server.is_some_and(|server| it.is_of(server)))
        };
        let said = claim.offset.as_deref().and_then(Received::read);
        let said = said.filter(is_usable);
        let has_until = said.is_some_and(|it| it.is_beyond(since.as_ref()));
        let mut received = said.or(since)?;
        let is_here = |it: &Received<'_>| it.is_of(&self.prefix);
        if server == Some(&*self.prefix)
            && claim.saved.is_some()
            && is_here(&received)
            && since.as_ref().is_some_and(is_here)
            && (has_until || record.until.is_none())
        {
            return self.claim_here(claim);
        }
        if has_until {
            received.place = received.place.max(record.until.unwrap_or_default());
        } else if received.own.is_none() {
            // A place says nothing of what stands behind it and had been received all the same.
            received.own = since.and_then(|since| since.own);
        }
        let mut stays = Stays::default();
        let sid = Room::from(&*record.sid);
        for room in [&sid].into_iter().chain(&record.rooms) {
            stays.join(room, head);
        }
        let mut foreign = Foreign {
            missed: Vec::new(),
            bytes: SESSION,
            own: HashSet::new(),
            until: Place::default(),
            expires: *expires,
            head,
            since: received.text().into(),
            stays,
        };
        // All who read at the same time keep to the limit together.
        let most = self.budget.options.max_bytes / READERS;
        let mut show = |event: Event, options: Options| {
            let mark = read_mark(&options);
            if let Some((server, number)) = mark
                && *server == *self.prefix
            {
                foreign.own.insert(number);
                foreign.bytes += NUMBER;
            }
            let is_in = |room: &Room| record.rooms.contains(room) || *room == sid;
            let selection = &options.selection;
            let is_for = selection.rooms.is_empty() || selection.rooms.iter().any(is_in);
            if !is_for || selection.except.iter().any(is_in) || received.has(mark) {
                return;
            }
            let packet = options.place.and_then(|place| {
                let args = Followed(&event.args, &*place.to_string());
                let (codec, name) = (namespace.codec(), namespace.name());
                codec.event(name, None, &event.name, &args).ok()
            });
            let bytes = packet.as_ref().map_or(most, |it| ENTRY + it.len());
            foreign.bytes = foreign.bytes.saturating_add(bytes);
            if foreign.bytes <= most {
                foreign
                    .missed
                    .extend(packet.map(|it| it.compress(options.compress)));
            }
        };
        let until = {
            // When a server has died many come at once, and each reads what it has missed.
            let _turn = self.budget.reading.acquire().await.ok()?;
            let read = store.events_after(received.place, &mut show);
            timeout(TIME, read).await.ok()?.ok()??
        };
        foreign.until = until;
        self.drop_saved(&mut claim);
        (foreign.bytes <= most).then_some(())?;
        self.state().hold(foreign.bytes).then_some(())?;
        claim.foreign = Some(Box::new(foreign));
        Some(Recoverable::claimed(claim))
    }

    /// Takes what this server has itself, and keeps events from now on, whether it has or not.
    fn begin(
        self: &Arc<Self>,
        namespace: &Namespace,
        pid: Box<str>,
        offset: Option<Box<str>>,
    ) -> Option<(Claim, u64)> {
        let mut state = self.without_connection(&pid)?;
        let saved = match state.sessions.get_mut(&pid) {
            Some(entry) => Some(entry.claim()?),
            None => {
                state.sessions.insert(pid.clone(), Entry::Claimed);
                None
            }
        };
        self.sweep_from_now_on(&mut state, namespace);
        let claim = Claim {
            recovery: Arc::downgrade(self),
            pid,
            saved,
            offset,
            record: None,
            may_be_stored: false,
            foreign: None,
        };
        Some((claim, state.log.head()))
    }

    /// What this server knows is enough.
    fn claim_here(&self, claim: Claim) -> Option<Recoverable> {
        let missed = {
            let state = self.state();
            let saved = claim.saved.as_deref()?;
            let offset = claim.offset.as_deref();
            self.missed(saved, offset, &state.log, &state.account)
        };
        missed.map(|_| Recoverable::claimed(claim))
    }

    fn drop_saved(&self, claim: &mut Claim) {
        if let Some(saved) = claim.saved.take() {
            self.state().account.sub(saved.bytes);
        }
    }

    /// What came out of the store, and what has been sent since, here or by others.
    pub(super) fn redeem_foreign(&self, foreign: Foreign, state: &mut State) -> Option<Redeemed> {
        let Foreign {
            stays,
            mut missed,
            own,
            until,
            expires,
            head,
            since,
            bytes,
        } = foreign;
        state.account.sub(bytes);
        if expires < Instant::now() {
            return None;
        }
        let is_known = |number: u64, place: Option<Place>| match place {
            Some(place) => place <= until,
            None => own.contains(&number),
        };
        let (log, account) = (&state.log, &state.account);
        missed.extend(log.missed_but(None, head, &stays, account, is_known)?);
        Some(Redeemed {
            missed,
            start: state.log.head(),
            since: Some(since),
            until: Some(until),
            stays,
        })
    }
}

/// Takes a session, within the time. If the client has gone meanwhile it is kept again.
async fn taken(
    budget: &Arc<Budget>,
    store: &Arc<dyn SessionStore>,
    pid: &str,
) -> Result<Result<Option<(StoredSession, Duration)>, BoxError>, Elapsed> {
    let Ok(turn) = budget.asking.clone().try_acquire_owned() else {
        return Ok(Err("too many clients ask".into()));
    };
    let (give, mut given) = oneshot::channel();
    let is_late = Arc::new(AtomicBool::new(false));
    let (budget, store, pid) = (budget.clone(), store.clone(), pid.to_owned());
    let late = is_late.clone();
    tokio::spawn(async move {
        let _turn = turn;
        let take = take(&budget, &*store, &pid, || give.is_closed());
        // Later than a client may come back nobody could have it.
        let time = budget.options.max_disconnection_duration.max(TIME);
        let Ok(taken) = timeout(time, take).await else {
            return;
        };
        // If it is only late, the client goes on with what this server has.
        if let Err(Ok(Some((session, left)))) = give.send(taken)
            && !late.load(Ordering::Acquire)
        {
            store.save(&session, left);
        }
    });
    let taken = timeout(TIME, &mut given).await;
    is_late.store(taken.is_err(), Ordering::Release);
    Ok(taken?.unwrap_or_else(|gone| Err(gone.into())))
}

/// Takes a session. The server where the client has been may just be about to save it, so one that
/// is not there is asked for again, unless too many are.
async fn take(
    budget: &Budget,
    store: &dyn SessionStore,
    pid: &str,
    has_gone: impl Fn() -> bool,
) -> Result<Option<(StoredSession, Duration)>, BoxError> {
    let taken = store.take(pid).await?;
    if taken.is_some() {
        return Ok(taken);
    }
    let Ok(_turn) = budget.waiting.try_acquire() else {
        // Nobody knows, so who has it here keeps it.
        return Err("too many clients ask again".into());
    };
    let mut pause = FIRST_PAUSE;
    while pause <= LAST_PAUSE {
        sleep(pause).await;
        if has_gone() {
            break;
        }
        let taken = store.take(pid).await?;
        if taken.is_some() {
            return Ok(taken);
        }
        pause *= 2;
    }
    Ok(None)
}

/// What a number costs.
const NUMBER: usize = 32;

/// What an event costs besides its bytes.
const ENTRY: usize = 64;

/// Characters in the id of a session.
const MAX_PID: usize = 64;

/// How many clients may ask at once for their sessions. Beyond that the store counts as away.
pub(super) const ASKERS: usize = 10_000;

/// How many of them may ask again. If strangers take all these places, a session that is not there yet
/// is not waited for; one that is there comes back as ever.
pub(super) const WAITERS: usize = 256;

/// How many clients may read at once what they have missed.
pub(super) const READERS: usize = 8;

const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LAST_PAUSE: Duration = Duration::from_millis(160);

/// How long the store has for a session, and then for events. A client waits for it.
const TIME: Duration = Duration::from_secs(3);
