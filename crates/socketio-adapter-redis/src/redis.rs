//! The connection to Redis.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use redis::{AsyncConnectionConfig, ConnectionInfo, RedisError, RedisResult, Value};
use tokio::{
    runtime::Handle,
    sync::{oneshot, watch},
    time::timeout,
};

use crate::{
    Builder,
    cluster::Cluster,
    link::{Common, Link, away},
    lost::LostReason,
    queue::{Item, Publication},
    routes::{Receiver, Topic},
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
pub(crate) struct Owner {
    pub(crate) common: Arc<Common>,
    pub(crate) way: Way,
}

pub(crate) enum Way {
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
    /// Messages that were [lost](crate::Lost), for whatever reason.
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

impl Redis {
    pub(crate) fn new(owner: Owner) -> Self {
        Self(Arc::new(owner))
    }

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
        Builder::new([url], false)
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
        Builder::new(urls, true)
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

    /// How many messages for channels Redis has answered with an error.
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
        self.common().unsendable(error.to_string());
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

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConnectError::Url(error) => write!(f, "no address of a Redis server: {error}"),
            ConnectError::NoRuntime => f.write_str("there is no tokio runtime here"),
        }
    }
}

impl std::error::Error for ConnectError {}

const LONGEST_FLUSH: Duration = Duration::from_secs(1);
