//! Clients that reach the wrong server: their requests go on to the one that has the session.
//!
//! Between two servers run byte streams, one for each request or WebSocket, made of the messages of
//! [`engineio_proto::relay`]. At one end is an HTTP client, at the other an HTTP server, as if the
//! client had connected to the right server; the session does not know the difference.

mod forward;
mod stream;

use std::{
    collections::HashMap,
    mem,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use engineio_proto::{
    Str,
    relay::{InvalidRelayMessage, RelayBus, RelayEvent, RelayInbox, RelayKind, RelayMessage},
};
use hyper::client::conn::http1::SendRequest;
use tokio::{runtime::Handle, sync::watch, time::Instant};

use forward::RelayedBody;
use stream::{Half, RelayStream};

/// This server's end of all streams.
pub(crate) struct Relay {
    node: Str,
    bus: Arc<dyn RelayBus>,
    max_streams: usize,
    epoch: AtomicU32,
    next: AtomicU64,
    table: Mutex<Table>,
    /// HTTP connections that wait for the next request, the newest last.
    idle: Mutex<HashMap<Str, Vec<Idle>>>,
    /// What is done with a stream that another server opens.
    serve: OnceLock<Serve>,
    closing: watch::Sender<bool>,
}

type Serve = Box<dyn Fn(RelayStream, watch::Receiver<bool>) + Send + Sync>;

type Sender = SendRequest<RelayedBody>;

struct Idle {
    sender: Sender,
    since: Instant,
}

#[derive(Default)]
struct Table {
    streams: HashMap<Key, Arc<Half>>,
    /// The servers with which there are streams.
    peers: HashMap<Str, Peer>,
    /// Whether there is a task that looks after them.
    watched: bool,
}

/// Which stream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    peer: Str,
    number: u64,
    opened_here: bool,
}

/// What is known of another server.
struct Peer {
    heard: Instant,
    epoch: Option<u32>,
}

/// What the bus holds, so that it does not keep the server alive.
struct Inbox(Weak<Relay>);

impl Relay {
    pub(crate) fn new(bus: Arc<dyn RelayBus>, max_streams: usize) -> Arc<Self> {
        let mut name = [0; 8];
        let random = uuid::Uuid::new_v4().simple().to_string();
        name.copy_from_slice(&random.as_bytes()[..8]);
        let node = Str::from(String::from_utf8_lossy(&name).into_owned());
        Arc::new(Self {
            node,
            bus,
            max_streams,
            epoch: AtomicU32::new(0),
            next: AtomicU64::new(0),
            table: Mutex::default(),
            idle: Mutex::default(),
            serve: OnceLock::new(),
            closing: watch::Sender::new(false),
        })
    }

    /// Begins to take what others send.
    pub(crate) fn open(
        self: &Arc<Self>,
        serve: impl Fn(RelayStream, watch::Receiver<bool>) + Send + Sync + 'static,
    ) {
        let _ = self.serve.set(Box::new(serve));
        let inbox = Inbox(Arc::downgrade(self));
        self.bus.open(&self.node, Arc::new(inbox));
    }

    /// What comes behind the last dot of the ids of this server's sessions.
    pub(crate) fn node(&self) -> &str {
        &self.node
    }

    /// Which other server has the session with this id, if one has.
    pub(crate) fn owner_of(&self, sid: &str) -> Option<Str> {
        let node = RelayMessage::node_of(sid)?;
        (node != &*self.node).then(|| node.into())
    }

    /// How many requests and WebSockets are on their way to other servers.
    pub(crate) fn outgoing(&self) -> usize {
        let idle: usize = self.idle().values().map(Vec::len).sum();
        let table = self.table();
        let opened = table.streams.keys().filter(|key| key.opened_here);
        opened.count().saturating_sub(idle)
    }

    /// A new stream to another server, unless there are too many or it is plain that it is not there.
    fn connect(self: &Arc<Self>, peer: Str) -> Option<RelayStream> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let key = Key {
            peer,
            number,
            opened_here: true,
        };
        let half = Arc::new(Half::opened_here());
        self.insert(&key, &half)?;
        let stream = RelayStream::new(self.clone(), key, half);
        stream.open().then_some(stream)
    }

    /// An HTTP connection to another server that waits for a request.
    fn take_idle(&self, peer: &Str) -> Option<Sender> {
        let mut idle = self.idle();
        let connections = idle.get_mut(peer)?;
        // One that has failed since is not ready.
        while let Some(Idle { sender, .. }) = connections.pop() {
            if sender.is_ready() {
                return Some(sender);
            }
        }
        None
    }

    /// A connection has been used and may be used again, when it has got its breath back.
    fn put_idle(self: &Arc<Self>, peer: Str, mut sender: Sender) {
        let relay = self.clone();
        let put = move |sender| {
            let mut idle = relay.idle();
            let connections = idle.entry(peer).or_default();
            if connections.len() < MAX_IDLE && !*relay.closing.borrow() {
                let since = Instant::now();
                connections.push(Idle { sender, since });
            }
        };
        if sender.is_ready() {
            return put(sender);
        }
        tokio::spawn(async move {
            if sender.ready().await.is_ok() {
                put(sender);
            }
        });
    }

    fn drop_old_idle(&self) {
        self.idle().retain(|_, connections| {
            connections.retain(|it| it.since.elapsed() < IDLE_TIME && it.sender.is_ready());
            !connections.is_empty()
        });
    }

    fn insert(self: &Arc<Self>, key: &Key, half: &Arc<Half>) -> Option<()> {
        let runtime = Handle::try_current().ok()?;
        let mut table = self.table();
        // Under the lock: what is opened before the end, that finds.
        let is_too_late = key.opened_here && *self.closing.borrow();
        if is_too_late || table.streams.len() >= self.max_streams {
            return None;
        }
        let heard = Instant::now();
        let peer = Peer { heard, epoch: None };
        table.peers.entry(key.peer.clone()).or_insert(peer);
        table.streams.insert(key.clone(), half.clone());
        if !mem::replace(&mut table.watched, true) {
            runtime.spawn(watch(Arc::downgrade(self)));
        }
        Some(())
    }

    fn remove(&self, key: &Key) {
        self.table().streams.remove(key);
    }

    fn receive(self: &Arc<Self>, message: RelayMessage) {
        let RelayMessage { from, epoch, kind } = message;
        if from == self.node {
            return;
        }
        self.heard(&from, epoch);
        match kind {
            RelayKind::Ping => drop(self.send(&from, RelayKind::Pong)),
            RelayKind::Pong => {}
            RelayKind::Stream {
                number,
                by_sender,
                order,
                event,
            } => {
                let key = Key {
                    peer: from,
                    number,
                    opened_here: !by_sender,
                };
                let half = self.table().streams.get(&key).cloned();
                match (half, event) {
                    (None, RelayEvent::Reset) => {}
                    (None, RelayEvent::Open) if by_sender && order == 0 => {
                        self.accept(key, epoch);
                    }
                    (None, _) => self.reset(&key),
                    (Some(half), event) => {
                        if half.receive(epoch, order, event).is_err() {
                            half.fail();
                            self.reset(&key);
                        }
                    }
                }
            }
        }
    }

    /// Another server opens a stream.
    fn accept(self: &Arc<Self>, key: Key, epoch: u32) {
        let half = Arc::new(Half::accepted(epoch));
        let Some(serve) = self.serve.get() else {
            return;
        };
        if self.insert(&key, &half).is_none() {
            tracing::debug!("too many requests of other servers");
            return self.reset(&key);
        }
        let stream = RelayStream::new(self.clone(), key, half);
        if stream.accept() {
            serve(stream, self.closing.subscribe());
        }
    }

    /// A sign of life. One that has been interrupted since has forgotten its streams.
    fn heard(&self, from: &Str, epoch: u32) {
        let mut table = self.table();
        let Some(peer) = table.peers.get_mut(from) else {
            return;
        };
        peer.heard = Instant::now();
        if peer.epoch.replace(epoch) != Some(epoch) {
            table.fail(|key, half| key.peer == *from && half.is_older_than(epoch));
        }
    }

    fn reset(&self, key: &Key) {
        self.send_about(key, 0, RelayEvent::Reset);
    }

    fn send_about(&self, key: &Key, order: u32, event: RelayEvent) -> bool {
        let kind = RelayKind::Stream {
            number: key.number,
            by_sender: key.opened_here,
            order,
            event,
        };
        self.send(&key.peer, kind)
    }

    fn send(&self, to: &str, kind: RelayKind) -> bool {
        let message = RelayMessage {
            from: self.node.clone(),
            epoch: self.epoch.load(Ordering::Relaxed),
            kind,
        };
        self.bus.send(to, message.encode())
    }

    fn interrupted(&self) {
        self.epoch.fetch_add(1, Ordering::Relaxed);
        self.table().fail(|_, _| true);
    }

    /// The server closes: nothing goes on to others any more. What they have passed on is answered
    /// when its session ends.
    pub(crate) fn close(&self) {
        self.closing.send_replace(true);
        self.idle().clear();
        let failed = self.table().fail(|key, _| key.opened_here);
        for key in failed {
            self.reset(&key);
        }
    }

    /// Asks the others whether they are there, and fails the streams of those that do not answer.
    /// `false` if there are no streams any more.
    fn look_after(&self) -> bool {
        self.drop_old_idle();
        let mut table = self.table();
        let late = |since: Instant| since.elapsed() > DEAD_AFTER;
        let Table {
            streams,
            peers,
            watched,
        } = &mut *table;
        if streams.is_empty() {
            peers.clear();
            *watched = false;
            return false;
        }
        let mut asked = HashMap::new();
        for key in streams.keys() {
            if let Some(peer) = peers.get(&key.peer) {
                asked.insert(key.peer.clone(), late(peer.heard));
            }
        }
        peers.retain(|name, _| asked.contains_key(name));
        table.fail(|key, half| {
            asked.get(&key.peer).is_none_or(|dead| *dead) || half.unanswered().is_some_and(late)
        });
        drop(table);
        for (peer, dead) in &asked {
            if !dead {
                self.send(peer, RelayKind::Ping);
            }
        }
        true
    }

    fn idle(&self) -> MutexGuard<'_, HashMap<Str, Vec<Idle>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.bus.close(&self.node);
    }
}

impl RelayInbox for Inbox {
    fn receive(&self, message: Bytes) -> Result<(), InvalidRelayMessage> {
        let message = RelayMessage::decode(message)?;
        if let Some(relay) = self.0.upgrade() {
            relay.receive(message);
        }
        Ok(())
    }

    fn interrupted(&self) {
        if let Some(relay) = self.0.upgrade() {
            relay.interrupted();
        }
    }
}

impl Table {
    /// Fails streams, and says which.
    fn fail(&mut self, which: impl Fn(&Key, &Half) -> bool) -> Vec<Key> {
        let mut failed = Vec::new();
        for (key, half) in &self.streams {
            if which(key, half) {
                half.fail();
                failed.push(key.clone());
            }
        }
        failed
    }
}

/// Looks after the streams as long as there are any.
async fn watch(relay: Weak<Relay>) {
    loop {
        let begun = Instant::now();
        tokio::time::sleep(LOOK_EVERY).await;
        // If this server was held up itself, it may not have heard what others have said.
        if begun.elapsed() > LOOK_EVERY * 2 {
            tokio::time::sleep(LOOK_EVERY).await;
        }
        if !relay.upgrade().is_some_and(|relay| relay.look_after()) {
            return;
        }
    }
}

const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long another server may be silent.
const DEAD_AFTER: Duration = Duration::from_secs(3);

/// HTTP connections to one other server that may wait for the next request, and how long.
const MAX_IDLE: usize = 64;
const IDLE_TIME: Duration = Duration::from_secs(5);
