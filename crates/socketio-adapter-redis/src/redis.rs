//! The connection to Redis.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, PushInfo,
    PushKind, RedisError, RedisResult, ServerError, Value,
    aio::{ConnectionLike, MultiplexedConnection},
};
use tokio::{
    runtime::Handle,
    sync::{Notify, oneshot, watch},
    time::{Instant, sleep, timeout},
};

use crate::{
    cluster::{Cluster, Place},
    lost::{Hook, Lost, LostReason, Teller},
    queue::{Item, Publication, Queue},
    routes::{Change, Receiver, Routes, Topic},
};

/// A connection to Redis that comes back by itself. Cloning gives the same one.
///
/// Nothing waits for it: what is published goes into a queue with a bound, and a task writes it.
/// When the connection is lost the task makes a new one, first at once, then after pauses that grow
/// to a second, and subscribes to everything again. What was published meanwhile leaves then, as
/// far as the queue could hold it. What had been written, but not answered when the connection was
/// lost, is not written again: it would arrive twice. A server that loads its data, or has become a
/// replica, counts as away.
///
/// Server and connection speak RESP3, so Redis must be 6.0 or newer.
///
/// Several servers in one process may share one. What one of them has published just before another
/// opens a namespace may then still reach that one.
///
/// ```no_run
/// use socketio_adapter_redis::Redis;
///
/// # fn main() -> Result<(), socketio_adapter_redis::ConnectError> {
/// let redis = Redis::builder("redis://:password@redis.example.com/")
///     .on_lost(|lost| eprintln!("other servers will not get {lost}"))
///     .connect()?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Redis(Arc<Owner>);

/// Ends the tasks when the last clone is dropped.
struct Owner {
    common: Arc<Common>,
    way: Way,
}

enum Way {
    One(Arc<Link>),
    Cluster(Arc<Cluster>),
}

impl Drop for Owner {
    fn drop(&mut self) {
        match &self.way {
            Way::One(link) => link.queue.close(),
            Way::Cluster(cluster) => cluster.close(),
        }
    }
}

/// How a [`Redis`] is made.
pub struct Builder {
    urls: Vec<String>,
    is_cluster: bool,
    #[cfg(feature = "tls")]
    root_certificate: Option<Vec<u8>>,
    max_queued: usize,
    dead_after: Duration,
    on_lost: Option<Hook>,
}

/// What has happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Whether Redis is there right now, and everything is subscribed.
    pub connected: bool,
    /// How often a connection was made.
    pub connections: u64,
    /// Messages that Redis has taken.
    pub published: u64,
    /// Messages that were [lost](Lost), for whatever reason.
    pub lost: u64,
    /// Messages that came, this server's own among them.
    pub received: u64,
    /// Messages that came and could not be understood. They are ignored.
    pub refused: u64,
    /// Bytes that wait to be written.
    pub queued_bytes: usize,
}

/// Why there can be no connection, not even later.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectError {
    /// The address makes no sense.
    Url(RedisError),
    /// There is no tokio runtime for the task.
    NoRuntime,
}

/// What all connections of a [`Redis`] have in common.
pub(crate) struct Common {
    pub(crate) runtime: Handle,
    counters: Counters,
    teller: Option<Arc<Teller>>,
    dead_after: Duration,
    /// A connection has been made or lost, or Redis has refused a message.
    changed: watch::Sender<()>,
}

/// One connection, which comes back by itself.
pub(crate) struct Link {
    common: Arc<Common>,
    pub(crate) info: ConnectionInfo,
    pub(crate) queue: Queue,
    pub(crate) routes: Routes,
    connected: AtomicBool,
    /// No connection could be made: nobody should wait for one.
    down: AtomicBool,
    /// Of which it is a node.
    cluster: Option<Weak<Cluster>>,
}

#[derive(Default)]
struct Counters {
    connections: AtomicU64,
    published: AtomicU64,
    lost: AtomicU64,
    received: AtomicU64,
    refused: AtomicU64,
    /// Messages that Redis has answered with an error.
    refusals: AtomicU64,
}

impl Redis {
    /// Connects to `redis://host:port/`, `redis://user:password@host:port/` or
    /// `redis+unix:///path`; with TLS, and the feature `tls`, to `rediss://host:port/`. Streams are in
    /// the database that is named behind the last `/`, 0 if none is. Returns at once: the connection is made in a task of the current tokio
    /// runtime, and servers can be started while Redis is away.
    ///
    /// # Errors
    ///
    /// If the address is none, or there is no runtime.
    pub fn connect(url: &str) -> Result<Self, ConnectError> {
        Self::builder(url).connect()
    }

    /// The same with options.
    pub fn builder(url: &str) -> Builder {
        Self::builder_of([url], false)
    }

    /// A Redis Cluster. The addresses are those of some of its nodes, of which the others are learned;
    /// what the first one says of user, password and TLS is so for all nodes.
    ///
    /// There is a connection to each node, and each comes back by itself. What is for a node that is
    /// away waits until it is back, or its replica has its place; what is for the others does not
    /// wait.
    ///
    /// ```no_run
    /// use socketio_adapter_redis::{Redis, ShardedAdapter};
    ///
    /// # fn main() -> Result<(), socketio_adapter_redis::ConnectError> {
    /// let redis = Redis::cluster(["redis://10.0.0.1/", "redis://10.0.0.2/"]).connect()?;
    /// let adapter = ShardedAdapter::new(redis);
    /// # Ok(()) }
    /// ```
    pub fn cluster<'a>(urls: impl IntoIterator<Item = &'a str>) -> Builder {
        Self::builder_of(urls, true)
    }

    fn builder_of<'a>(urls: impl IntoIterator<Item = &'a str>, is_cluster: bool) -> Builder {
        Builder {
            urls: urls.into_iter().map(Into::into).collect(),
            is_cluster,
            #[cfg(feature = "tls")]
            root_certificate: None,
            max_queued: 16 * 1024 * 1024,
            dead_after: Duration::from_secs(15),
            on_lost: None,
        }
    }

    /// What has happened so far.
    pub fn stats(&self) -> Stats {
        let counters = &self.common().counters;
        Stats {
            connected: self.is_connected(),
            connections: counters.connections.load(Ordering::Relaxed),
            published: counters.published.load(Ordering::Relaxed),
            lost: counters.lost.load(Ordering::Relaxed),
            received: counters.received.load(Ordering::Relaxed),
            refused: counters.refused.load(Ordering::Relaxed),
            queued_bytes: match self.way() {
                Way::One(link) => link.queue.bytes(),
                Way::Cluster(cluster) => cluster.queued_bytes(),
            },
        }
    }

    /// Waits until there is a connection. Servers need not wait for it.
    ///
    /// ```no_run
    /// # async fn example(redis: socketio_adapter_redis::Redis) -> Result<(), tokio::time::error::Elapsed> {
    /// // who would rather not start without Redis
    /// tokio::time::timeout(std::time::Duration::from_secs(10), redis.connected()).await?;
    /// # Ok(()) }
    /// ```
    pub async fn connected(&self) {
        let mut changed = self.common().changed.subscribe();
        // Fails if the other end is gone, which this holds.
        let _ = changed.wait_for(|()| self.is_connected()).await;
    }

    /// Waits until what has been published so far is written, but no longer than a second, and not
    /// at all while Redis is away.
    pub async fn flush(&self) {
        let _ = timeout(LONGEST_FLUSH, async {
            self.written().await;
            if self.is_cluster() {
                // What had to wait for something at another node.
                self.written().await;
            }
        })
        .await;
    }

    async fn written(&self) {
        let links = match self.way() {
            Way::One(link) => vec![link.clone()],
            Way::Cluster(cluster) => cluster.links(),
        };
        let mut barriers = Vec::new();
        for link in links {
            let (written, wait) = oneshot::channel();
            if !link.is_down() && link.queue.push(Item::Barrier(written)).is_ok() {
                barriers.push(wait);
            }
        }
        for wait in barriers {
            let _ = wait.await;
        }
    }

    /// Tells of each time that it, or a node of it, goes and comes, or refuses a message.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.common().changed.subscribe()
    }

    /// How many messages Redis has answered with an error.
    pub(crate) fn refusals(&self) -> u64 {
        self.common().counters.refusals.load(Ordering::Relaxed)
    }

    pub(crate) fn subscribe(&self, topic: Topic, receiver: Arc<dyn Receiver>) {
        match self.way() {
            Way::One(link) => {
                link.routes.add(topic, receiver);
                link.queue.wake();
            }
            Way::Cluster(cluster) => cluster.subscribe(topic, receiver),
        }
    }

    pub(crate) fn unsubscribe(&self, topic: &Topic, receiver: &Arc<dyn Receiver>) {
        match self.way() {
            Way::One(link) => {
                link.routes.remove(topic, receiver);
                link.queue.wake();
            }
            Way::Cluster(cluster) => cluster.unsubscribe(topic, receiver),
        }
    }

    pub(crate) fn publish(&self, publication: Publication) {
        self.offer(publication);
    }

    /// Publishes, and returns whether there was room for it.
    pub(crate) fn offer(&self, publication: Publication) -> bool {
        let pushed = match self.way() {
            Way::One(link) => link.queue.push(Item::Publish(publication)),
            Way::Cluster(cluster) => cluster.push(publication),
        };
        match pushed {
            Ok(()) => true,
            Err(item) => {
                self.common().lost_items(&[item], LostReason::QueueFull);
                false
            }
        }
    }

    /// How many other receivers there are for a channel that this process subscribes to.
    pub(crate) fn count_others(
        &self,
        topic: &Topic,
    ) -> impl Future<Output = RedisResult<usize>> + Send + 'static {
        let counts = match self.way() {
            Way::One(link) => link.count(topic).map(|count| vec![count]),
            Way::Cluster(cluster) => cluster.count(topic),
        };
        let owner = Arc::downgrade(&self.0);
        let topic = topic.clone();
        async move {
            let mut sum = 0;
            for count in counts? {
                sum += count.await.map_err(|_| away())??;
            }
            let owner = owner.upgrade().ok_or_else(away)?;
            let receivers = match &owner.way {
                Way::One(link) => link.routes.receivers(&topic),
                Way::Cluster(cluster) => cluster.receivers(&topic),
            };
            // The connection of this process counts once.
            Ok((sum + receivers).saturating_sub(2))
        }
    }

    /// What Redis says to a command about a key, which is written after everything that has been
    /// published to where the key is.
    pub(crate) fn ask(
        &self,
        key: &str,
        command: redis::Cmd,
    ) -> impl Future<Output = RedisResult<Value>> + Send + 'static {
        let answer = match self.way() {
            Way::One(link) => link.ask(command),
            Way::Cluster(cluster) => cluster.ask_about(key, command),
        };
        async move { answer?.await.map_err(|_| away())? }
    }

    /// What another connection is made of, to where a key is.
    pub(crate) fn connection_for(
        &self,
        key: &str,
    ) -> RedisResult<(ConnectionInfo, AsyncConnectionConfig)> {
        let info = match self.way() {
            Way::One(link) => link.info.clone(),
            Way::Cluster(cluster) => cluster.node_of(key)?,
        };
        Ok((info, self.common().config()))
    }

    /// Whether keys are at several nodes.
    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self.way(), Way::Cluster(_))
    }

    /// A key is no longer where it was.
    pub(crate) fn doubt(&self) {
        if let Way::Cluster(cluster) = self.way() {
            cluster.doubt();
        }
    }

    /// Whether Redis is there right now.
    pub(crate) fn is_connected(&self) -> bool {
        match self.way() {
            Way::One(link) => link.is_connected(),
            Way::Cluster(cluster) => cluster.is_connected(),
        }
    }

    pub(crate) fn dead_after(&self) -> Duration {
        self.common().dead_after
    }

    pub(crate) fn runtime(&self) -> &Handle {
        &self.common().runtime
    }

    /// A message has come on another connection.
    pub(crate) fn received(&self) {
        self.common()
            .counters
            .received
            .fetch_add(1, Ordering::Relaxed);
    }

    /// A message could not be understood.
    pub(crate) fn refuse(&self, channel: &[u8], error: &dyn fmt::Display) {
        let refused = &self.common().counters.refused;
        refused.fetch_add(1, Ordering::Relaxed);
        let channel = String::from_utf8_lossy(channel);
        tracing::debug!(%channel, %error, "a message from Redis makes no sense");
    }

    /// A message cannot be sent.
    pub(crate) fn unsendable(&self, error: &dyn fmt::Display) {
        tracing::warn!(%error, "a message for other servers cannot be written");
        self.common().lost(1, 0, LostReason::Unsendable);
    }

    fn common(&self) -> &Common {
        &self.0.common
    }

    fn way(&self) -> &Way {
        &self.0.way
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Redis").field(&self.stats()).finish()
    }
}

impl Builder {
    /// How many bytes may wait to be written, in a Redis Cluster for each of its nodes; 16 MiB if it
    /// is not said. What comes on top is lost.
    #[must_use]
    pub fn max_queued(mut self, bytes: usize) -> Self {
        self.max_queued = bytes;
        self
    }

    /// How long Redis may be silent when it is asked something; 15 seconds if it is not said. Then
    /// the connection counts as lost, and a new one is made. It is asked at least every third part
    /// of this time.
    #[must_use]
    pub fn dead_after(mut self, time: Duration) -> Self {
        self.dead_after = time;
        self
    }

    /// Who alone may vouch for Redis with TLS, in PEM; those that the operating system trusts if it is
    /// not said.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let redis = socketio_adapter_redis::Redis::builder("rediss://redis.example.com/")
    ///     .root_certificate(std::fs::read("ca.pem")?)
    ///     .connect()?;
    /// # Ok(()) }
    /// ```
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn root_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.root_certificate = Some(pem.into());
        self
    }

    /// A function that is told what is lost. It is called in a task of its own and may do whatever
    /// a task may do; what is lost meanwhile for the same reason it is told as one.
    #[must_use]
    pub fn on_lost(mut self, hook: impl Fn(&Lost) + Send + Sync + 'static) -> Self {
        self.on_lost = Some(Box::new(hook));
        self
    }

    /// See [`Redis::connect`].
    ///
    /// # Errors
    ///
    /// If the address is none, or there is no runtime.
    pub fn connect(self) -> Result<Redis, ConnectError> {
        let read = |url: &String| {
            let info = url.as_str().into_connection_info()?;
            let settings = info.redis_settings().clone();
            let info = info.set_redis_settings(settings.set_protocol(ProtocolVersion::RESP3));
            #[cfg(feature = "tls")]
            let info = self.with_tls(info)?;
            Ok(info)
        };
        let infos: RedisResult<Vec<_>> = self.urls.iter().map(read).collect();
        let infos = infos.map_err(ConnectError::Url)?;
        let Some(first) = infos.first().cloned() else {
            return Err(ConnectError::Url(away()));
        };
        let runtime = Handle::try_current().map_err(|_| ConnectError::NoRuntime)?;
        let teller = self.on_lost.map(Teller::new);
        if let Some(teller) = &teller {
            runtime.spawn(teller.clone().run());
        }
        let common = Arc::new(Common {
            runtime,
            counters: Counters::default(),
            teller,
            dead_after: self.dead_after,
            changed: watch::Sender::new(()),
        });
        let way = if self.is_cluster {
            Way::Cluster(Cluster::start(common.clone(), infos, self.max_queued))
        } else {
            Way::One(Link::start(&common, first, self.max_queued, None))
        };
        Ok(Redis(Arc::new(Owner { common, way })))
    }
}

#[cfg(feature = "tls")]
impl Builder {
    fn with_tls(&self, info: ConnectionInfo) -> RedisResult<ConnectionInfo> {
        if !matches!(info.addr(), redis::ConnectionAddr::TcpTls { .. }) {
            return Ok(info);
        }
        // rustls does not choose if an application has built it with several.
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        if self.root_certificate.is_none() {
            return Ok(info);
        }
        let certificates = redis::TlsCertificates {
            client_tls: None,
            root_cert: self.root_certificate.clone(),
        };
        let client = Client::build_with_tls(info, certificates)?;
        Ok(client.get_connection_info().clone())
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("max_queued", &self.max_queued)
            .field("dead_after", &self.dead_after)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectError::Url(error) => write!(f, "no address of a Redis server: {error}"),
            ConnectError::NoRuntime => f.write_str("there is no tokio runtime here"),
        }
    }
}

impl std::error::Error for ConnectError {}

impl Common {
    pub(crate) fn config(&self) -> AsyncConnectionConfig {
        AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECTION_TIMEOUT))
            .set_response_timeout(Some(self.dead_after))
    }

    /// A connection has been made or lost.
    pub(crate) fn changed(&self) {
        self.changed.send_replace(());
    }

    /// Publications of these will not be written.
    pub(crate) fn lost_items(&self, items: &[Item], reason: LostReason) {
        let publications = items.iter().filter_map(|it| match it {
            Item::Publish(it) => Some(it),
            _ => None,
        });
        self.lost_all(publications, reason);
    }

    fn lost_all<'a>(
        &self,
        publications: impl Iterator<Item = &'a Publication>,
        reason: LostReason,
    ) {
        let sizes = publications.map(Publication::len);
        let (messages, bytes) = sizes.fold((0, 0), |(count, sum), len| (count + 1, sum + len));
        if messages > 0 {
            self.lost(messages, bytes, reason);
        }
    }

    fn lost(&self, messages: u64, bytes: usize, reason: LostReason) {
        self.counters.lost.fetch_add(messages, Ordering::Relaxed);
        let bytes = bytes as u64;
        tracing::debug!(
            messages,
            bytes,
            ?reason,
            "messages for other servers are lost"
        );
        if let Some(teller) = &self.teller {
            teller.add(Lost {
                messages,
                bytes,
                reason,
            });
        }
        if reason == LostReason::Refused {
            self.counters
                .refusals
                .fetch_add(messages, Ordering::Relaxed);
            self.changed();
        }
    }
}

impl Drop for Common {
    fn drop(&mut self) {
        if let Some(teller) = &self.teller {
            teller.close();
        }
    }
}

impl Link {
    pub(crate) fn start(
        common: &Arc<Common>,
        info: ConnectionInfo,
        max_queued: usize,
        cluster: Option<&Arc<Cluster>>,
    ) -> Arc<Self> {
        let link = Arc::new(Self {
            common: common.clone(),
            info,
            queue: Queue::new(max_queued),
            routes: Routes::default(),
            connected: AtomicBool::new(false),
            down: AtomicBool::new(false),
            cluster: cluster.map(Arc::downgrade),
        });
        common.runtime.spawn(link.clone().run());
        link
    }

    /// Asks how many connections subscribe to a channel.
    pub(crate) fn ask(
        &self,
        command: redis::Cmd,
    ) -> RedisResult<oneshot::Receiver<RedisResult<Value>>> {
        let (reply, answer) = oneshot::channel();
        let command = Box::new(command);
        if self.is_down() {
            return Err(away());
        }
        let pushed = self.queue.push(Item::Ask { command, reply });
        pushed.map_err(|_| away())?;
        Ok(answer)
    }

    fn count(&self, topic: &Topic) -> RedisResult<oneshot::Receiver<RedisResult<usize>>> {
        let (reply, count) = oneshot::channel();
        let question = Item::Count {
            channel: topic.name().clone(),
            sharded: matches!(topic, Topic::Shard(_)),
            reply,
        };
        if self.is_down() {
            return Err(away());
        }
        self.queue.push(question).map_err(|_| away())?;
        Ok(count)
    }

    /// Keeps the connection until nobody wants it any more.
    async fn run(self: Arc<Self>) {
        let mut pause = SHORTEST_PAUSE;
        while !self.queue.is_closed() {
            let begun = Instant::now();
            let error = match self.connect().await {
                Ok(mut connection) => match self.serve(&mut connection).await {
                    Ok(()) => break,
                    Err(error) => error,
                },
                Err(error) => error,
            };
            let was_connected = self.set_connected(false);
            if was_connected {
                tracing::warn!(%error, "Redis is away: other servers are out of reach");
            } else {
                tracing::debug!(%error, "Redis cannot be reached");
            }
            self.queue.give_up_questions();
            if let Some(cluster) = self.cluster() {
                cluster.doubt();
            }
            // What fails at once shall not be tried again at once.
            if was_connected && begun.elapsed() > LONGEST_PAUSE {
                pause = SHORTEST_PAUSE;
            }
            let _ = timeout(pause, self.closed()).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        self.set_connected(false);
        self.queue.give_up_questions();
        let left = self.queue.take(usize::MAX, usize::MAX);
        self.common.lost_items(&left, LostReason::Unsendable);
    }

    /// Returns whether it was before.
    fn set_connected(&self, connected: bool) -> bool {
        self.down.store(!connected, Ordering::Relaxed);
        let before = self.connected.swap(connected, Ordering::Relaxed);
        self.common.changed();
        before
    }

    async fn closed(&self) {
        while !self.queue.is_closed() {
            self.queue.changed().await;
        }
    }

    async fn connect(self: &Arc<Self>) -> RedisResult<Connection> {
        let gone = Arc::new(Notify::new());
        let (link, notify) = (self.clone(), gone.clone());
        let receive = move |push: PushInfo| -> Result<(), redis::aio::SendError> {
            match push.kind {
                PushKind::Disconnection => notify.notify_one(),
                _ => link.receive(push),
            }
            Ok(())
        };
        let config = self.common.config().set_push_sender(receive);
        let client = Client::open(self.info.clone())?;
        let redis = client.get_multiplexed_async_connection_with_config(&config);
        let mut redis = redis.await?;
        // A server that reads its data from the disk lets in, and then refuses what is for a stream.
        if let Value::ServerError(error) = redis.send_packed_command(&redis::cmd("PING")).await? {
            return Err(error.into());
        }
        Ok(Connection {
            redis,
            gone,
            subscribed: HashSet::new(),
        })
    }

    /// Writes what there is to write. Returns when all is written and nobody wants the connection
    /// any more.
    async fn serve(&self, connection: &mut Connection) -> RedisResult<()> {
        self.routes.begin();
        let mut is_new = true;
        loop {
            // In this order: what was subscribed or not before an item came is so when it is written.
            let items = self.queue.take(BATCH_BYTES, BATCH_ITEMS);
            let changes = self.routes.changes(&mut connection.subscribed);
            if changes.is_empty() && items.is_empty() && !is_new {
                if self.queue.is_closed() {
                    return Ok(());
                }
                tokio::select! {
                    () = self.queue.changed() => continue,
                    () = connection.gone.notified() => return Err(away()),
                    () = sleep(self.common.dead_after / 3) => {}
                }
            }
            let is_done = self.write(connection, &changes, items).await?;
            if std::mem::take(&mut is_new) {
                let connections = &self.common.counters.connections;
                connections.fetch_add(1, Ordering::Relaxed);
                self.set_connected(true);
                tracing::info!("connected to Redis");
            }
            if !is_done {
                // Meanwhile it is looked where that belongs.
                sleep(LATER).await;
            }
        }
    }

    /// Writes one batch and waits for the answers; a ping if there is nothing else. Returns whether
    /// nothing of it has to be written again, here or at another node.
    async fn write(
        &self,
        connection: &mut Connection,
        changes: &[Change],
        items: Vec<Item>,
    ) -> RedisResult<bool> {
        let mut commands = redis::Pipeline::new();
        for change in changes {
            match change {
                Change::Subscribe(it) => commands.cmd(it.subscribe()).arg(&**it.name()),
                Change::Unsubscribe(it) => commands.cmd(it.unsubscribe()).arg(&**it.name()),
            };
        }
        let mut questions = Vec::with_capacity(items.len());
        for item in items {
            let question = match item {
                Item::Publish(it) => {
                    it.write(&mut commands);
                    Question::Publish(it)
                }
                Item::Count {
                    channel,
                    sharded,
                    reply,
                } => {
                    let what = if sharded { "SHARDNUMSUB" } else { "NUMSUB" };
                    commands.cmd("PUBSUB").arg(what).arg(&*channel);
                    Question::Count(reply)
                }
                Item::Ask { command, reply } => {
                    commands.add_command(*command);
                    Question::Ask(reply)
                }
                Item::Barrier(reply) => {
                    commands.cmd("PING");
                    Question::Barrier(reply)
                }
            };
            questions.push(question);
        }
        if commands.is_empty() {
            commands.cmd("PING");
        }
        let count = commands.len();
        let answers = connection.redis.req_packed_commands(&commands, 0, count);
        let answers = match answers.await {
            Ok(answers) => answers,
            Err(error) => {
                self.unconfirmed(&questions);
                return Err(error);
            }
        };
        if !fit(changes, &answers) {
            // Redis has said something between that stands for an answer now.
            self.unconfirmed(&questions);
            return Err(away());
        }
        let mut answers = answers.into_iter();
        let mut later = None;
        for change in changes {
            let Some(Value::ServerError(error)) = answers.next() else {
                continue;
            };
            match change {
                Change::Subscribe(topic) if self.cluster.is_some() && is_for_later(&error) => {
                    self.routes.dropped(topic.clone());
                    later = Some(error);
                }
                _ => {
                    self.unconfirmed(&questions);
                    return Err(error.into());
                }
            }
        }
        let mut waiting = BTreeMap::<_, Vec<_>>::new();
        for (question, answer) in questions.into_iter().zip(answers) {
            match (question, answer) {
                (Question::Publish(it), Value::ServerError(error)) if is_for_later(&error) => {
                    waiting.entry(self.place_of(&it)).or_default().push(it);
                    later = Some(error);
                }
                (Question::Publish(it), _) if it.is_behind() => {
                    match waiting.get_mut(&self.place_of(&it)) {
                        Some(waiting) => waiting.push(it),
                        None => self.pass_on(it.not_behind()),
                    }
                }
                (Question::Publish(it), answer) => {
                    // Behind what has been taken now, they would come in another order.
                    let place = self.place_of(&it);
                    self.refuse_all(waiting.remove(&place).unwrap_or_default());
                    self.answer(Question::Publish(it), answer);
                }
                (question, answer) => self.answer(question, answer),
            }
        }
        let Some(error) = later else {
            return Ok(true);
        };
        let waiting: Vec<_> = waiting.into_values().flatten().collect();
        match self.cluster() {
            None => {
                self.queue.put_back(waiting);
                Err(error.into())
            }
            Some(cluster) => {
                tracing::debug!(error = %RedisError::from(error), "something has moved");
                self.refuse_all(cluster.put_back(self, waiting));
                cluster.doubt();
                Ok(false)
            }
        }
    }

    /// What is for one place keeps its order.
    fn place_of(&self, publication: &Publication) -> Place {
        match self.cluster {
            Some(_) => publication.place(),
            None => Place::Home,
        }
    }

    /// What it was behind is written; it belongs to another node.
    fn pass_on(&self, publication: Publication) {
        let pushed = match self.cluster() {
            Some(cluster) => cluster.push(publication),
            None => self.queue.push(Item::Publish(publication)),
        };
        if let Err(item) = pushed {
            self.common.lost_items(&[item], LostReason::QueueFull);
        }
    }

    fn refuse_all(&self, publications: Vec<Publication>) {
        let reason = LostReason::Refused;
        self.common.lost_all(publications.iter(), reason);
    }

    fn refused(&self, publication: &Publication, error: ServerError) {
        tracing::warn!(error = %RedisError::from(error), "Redis refuses a message");
        let reason = LostReason::Refused;
        self.common.lost(1, publication.len(), reason);
    }

    fn answer(&self, question: Question, answer: Value) {
        match question {
            Question::Publish(it) => match answer {
                Value::ServerError(error) => self.refused(&it, error),
                _ => {
                    let published = &self.common.counters.published;
                    published.fetch_add(1, Ordering::Relaxed);
                }
            },
            Question::Count(reply) => {
                let count = match answer {
                    Value::ServerError(error) => Err(error.into()),
                    answer => redis::from_redis_value::<(Value, usize)>(answer)
                        .map(|(_, count)| count)
                        .map_err(RedisError::from),
                };
                let _ = reply.send(count);
            }
            Question::Ask(reply) => {
                let answer = match answer {
                    Value::ServerError(error) => Err(error.into()),
                    answer => Ok(answer),
                };
                let _ = reply.send(answer);
            }
            Question::Barrier(reply) => drop(reply.send(())),
        }
    }

    fn unconfirmed(&self, questions: &[Question]) {
        let publications = questions.iter().filter_map(|it| match it {
            Question::Publish(it) => Some(it),
            _ => None,
        });
        let reason = LostReason::Unconfirmed;
        self.common.lost_all(publications, reason);
    }

    /// Called by the task that reads from Redis, so everything comes in its order.
    fn receive(&self, push: PushInfo) {
        let mut data = push.data.into_iter().map_while(|value| match value {
            Value::BulkString(bytes) => Some(bytes),
            _ => None,
        });
        let topic = match push.kind {
            PushKind::Message => Topic::Channel,
            PushKind::PMessage => Topic::Pattern,
            PushKind::SMessage => Topic::Shard,
            PushKind::SUnsubscribe => {
                // A slot goes to another node.
                if let Some(channel) = data.next()
                    && let Ok(name) = str::from_utf8(&channel)
                    && self.routes.left(Topic::Shard(name.into()))
                    && let Some(cluster) = self.cluster()
                {
                    self.queue.wake();
                    cluster.doubt();
                }
                return;
            }
            _ => return,
        };
        let is_pattern = matches!(push.kind, PushKind::PMessage);
        let pattern = is_pattern.then(|| data.next().unwrap_or_default());
        let (Some(channel), Some(payload)) = (data.next(), data.next()) else {
            return;
        };
        let received = &self.common.counters.received;
        received.fetch_add(1, Ordering::Relaxed);
        // What this process subscribes to is text.
        if let Ok(name) = std::str::from_utf8(pattern.as_ref().unwrap_or(&channel)) {
            let topic = topic(name.into());
            self.routes.deliver(&topic, &channel, &Bytes::from(payload));
        }
    }

    pub(crate) fn is_down(&self) -> bool {
        self.down.load(Ordering::Relaxed)
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    fn cluster(&self) -> Option<Arc<Cluster>> {
        self.cluster.as_ref()?.upgrade()
    }
}

struct Connection {
    redis: MultiplexedConnection,
    gone: Arc<Notify>,
    subscribed: HashSet<Topic>,
}

/// What an answer of Redis is for.
enum Question {
    Publish(Publication),
    Count(oneshot::Sender<RedisResult<usize>>),
    Ask(oneshot::Sender<RedisResult<Value>>),
    Barrier(oneshot::Sender<()>),
}

/// Whether each of the first answers is one to its change, and none of the others is.
fn fit(changes: &[Change], answers: &[Value]) -> bool {
    let is_answer = |change: &Change, answer: &Value| match answer {
        Value::ServerError(_) => true,
        Value::Push { kind, data } => {
            let (Change::Subscribe(topic) | Change::Unsubscribe(topic)) = change;
            let is_left = matches!(
                kind,
                PushKind::Unsubscribe | PushKind::PUnsubscribe | PushKind::SUnsubscribe
            );
            let names_it = matches!(data.first(), Some(Value::BulkString(name))
                if **name == *topic.name().as_bytes());
            names_it && is_left == matches!(change, Change::Unsubscribe(_))
        }
        _ => false,
    };
    let (first, others) = answers.split_at(changes.len().min(answers.len()));
    first.len() == changes.len()
        && std::iter::zip(changes, first).all(|(change, it)| is_answer(change, it))
        && !others.iter().any(|it| matches!(it, Value::Push { .. }))
}

/// Whether Redis says that it would take it at another time or place.
fn is_for_later(error: &ServerError) -> bool {
    use redis::ServerErrorKind::{
        Ask, BusyLoading, ClusterDown, MasterDown, Moved, ReadOnly, TryAgain,
    };
    matches!(
        error.kind(),
        Some(BusyLoading | MasterDown | ReadOnly | ClusterDown | TryAgain | Moved | Ask)
    )
}

pub(crate) fn away() -> RedisError {
    RedisError::from(std::io::Error::from(std::io::ErrorKind::NotConnected))
}

/// Between two attempts to connect, at first and at last.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Before something is tried again that belongs to another node.
const LATER: Duration = Duration::from_millis(50);

/// How long it may take to connect.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(5);

/// What is written at once.
const BATCH_BYTES: usize = 1024 * 1024;
const BATCH_ITEMS: usize = 4096;

const LONGEST_FLUSH: Duration = Duration::from_secs(1);
