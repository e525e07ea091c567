//! The connection to Redis.

use std::{
    collections::HashSet,
    fmt,
    sync::{
        Arc,
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

/// Ends the task when the last clone is dropped.
struct Owner(Arc<Link>);

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.queue.close();
    }
}

/// How a [`Redis`] is made.
pub struct Builder {
    url: String,
    max_queued: usize,
    dead_after: Duration,
    on_lost: Option<Hook>,
}

type Hook = Box<dyn Fn(&Lost) + Send + Sync>;

/// What did not reach the other servers, or perhaps did not.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lost {
    /// So many messages,
    pub messages: u64,
    /// with so many bytes,
    pub bytes: u64,
    /// because of this.
    pub reason: LostReason,
}

/// Why messages are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LostReason {
    /// Redis is away or slow, and [so many bytes](Builder::max_queued) wait already.
    QueueFull,
    /// The connection was lost before Redis had answered. They may have arrived.
    Unconfirmed,
    /// Redis answered with an error.
    Refused,
    /// It cannot be written, because it is too long or the connection has been closed.
    Unsendable,
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

pub(crate) struct Link {
    info: ConnectionInfo,
    runtime: Handle,
    queue: Queue,
    pub(crate) routes: Routes,
    connected: watch::Sender<bool>,
    counters: Counters,
    on_lost: Option<Hook>,
    dead_after: Duration,
}

#[derive(Default)]
pub(crate) struct Counters {
    /// No connection could be made: nobody should wait for one.
    down: AtomicBool,
    connections: AtomicU64,
    published: AtomicU64,
    lost: AtomicU64,
    received: AtomicU64,
    refused: AtomicU64,
}

impl Redis {
    /// Connects to `redis://host:port/`, `redis://user:password@host:port/` or
    /// `redis+unix:///path`. Returns at once: the connection is made in a task of the current tokio
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
        Builder {
            url: url.into(),
            max_queued: 16 * 1024 * 1024,
            dead_after: Duration::from_secs(15),
            on_lost: None,
        }
    }

    /// What has happened so far.
    pub fn stats(&self) -> Stats {
        let link = self.link();
        let counters = &link.counters;
        Stats {
            connected: *link.connected.borrow(),
            connections: counters.connections.load(Ordering::Relaxed),
            published: counters.published.load(Ordering::Relaxed),
            lost: counters.lost.load(Ordering::Relaxed),
            received: counters.received.load(Ordering::Relaxed),
            refused: counters.refused.load(Ordering::Relaxed),
            queued_bytes: link.queue.bytes(),
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
        let mut connected = self.link().connected.subscribe();
        // Fails if the other end is gone, which this holds.
        let _ = connected.wait_for(|connected| *connected).await;
    }

    /// Waits until what has been published so far is written, but no longer than a second, and not
    /// at all while Redis is away.
    pub async fn flush(&self) {
        let (written, wait) = oneshot::channel();
        if !self.link().is_down() && self.link().queue.push(Item::Barrier(written)).is_ok() {
            let _ = timeout(LONGEST_FLUSH, wait).await;
        }
    }

    pub(crate) fn subscribe(&self, topic: Topic, receiver: Arc<dyn Receiver>) {
        self.link().routes.add(topic, receiver);
        self.link().queue.wake();
    }

    pub(crate) fn unsubscribe(&self, topic: &Topic, receiver: &Arc<dyn Receiver>) {
        self.link().routes.remove(topic, receiver);
        self.link().queue.wake();
    }

    pub(crate) fn publish(&self, publication: Publication) {
        let link = self.link();
        if let Err(Item::Publish(it)) = link.queue.push(Item::Publish(publication)) {
            let reason = LostReason::QueueFull;
            link.lost(1, it.len(), reason);
        }
    }

    /// How many other receivers there are for a channel that this process subscribes to.
    pub(crate) fn count_others(
        &self,
        topic: &Topic,
    ) -> impl Future<Output = RedisResult<usize>> + Send + 'static {
        let (reply, count) = oneshot::channel();
        let question = Item::Count {
            channel: topic.name().clone(),
            sharded: matches!(topic, Topic::Shard(_)),
            reply,
        };
        let asked = !self.link().is_down() && self.link().queue.push(question).is_ok();
        let link = self.link().clone();
        let topic = topic.clone();
        async move {
            match count.await {
                // The connection of this process counts once.
                Ok(count) if asked => {
                    Ok((count? + link.routes.receivers(&topic)).saturating_sub(2))
                }
                _ => Err(away()),
            }
        }
    }

    /// What another connection is made of.
    pub(crate) fn connection(&self) -> (ConnectionInfo, AsyncConnectionConfig) {
        (self.link().info.clone(), self.link().config())
    }

    pub(crate) fn dead_after(&self) -> Duration {
        self.link().dead_after
    }

    pub(crate) fn runtime(&self) -> &Handle {
        &self.link().runtime
    }

    /// A message has come on another connection.
    pub(crate) fn received(&self) {
        self.link()
            .counters
            .received
            .fetch_add(1, Ordering::Relaxed);
    }

    /// A message could not be understood.
    pub(crate) fn refuse(&self, channel: &[u8], error: &dyn fmt::Display) {
        self.link().counters.refused.fetch_add(1, Ordering::Relaxed);
        let channel = String::from_utf8_lossy(channel);
        tracing::debug!(%channel, %error, "a message from Redis makes no sense");
    }

    /// A message cannot be sent.
    pub(crate) fn unsendable(&self, error: &dyn fmt::Display) {
        tracing::warn!(%error, "a message for other servers cannot be written");
        self.link().lost(1, 0, LostReason::Unsendable);
    }

    fn link(&self) -> &Arc<Link> {
        &self.0.0
    }
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Redis").field(&self.stats()).finish()
    }
}

impl Builder {
    /// How many bytes may wait to be written; 16 MiB if it is not said. What comes on top is lost.
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

    /// A function that is told what is lost. It is called by whoever publishes, or by the task of
    /// the connection, and must not block.
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
        let info = self.url.into_connection_info().map_err(ConnectError::Url)?;
        let settings = info.redis_settings().clone();
        let info = info.set_redis_settings(settings.set_protocol(ProtocolVersion::RESP3));
        let runtime = Handle::try_current().map_err(|_| ConnectError::NoRuntime)?;
        let link = Arc::new(Link {
            info,
            runtime,
            queue: Queue::new(self.max_queued),
            routes: Routes::default(),
            connected: watch::Sender::new(false),
            counters: Counters::default(),
            on_lost: self.on_lost,
            dead_after: self.dead_after,
        });
        link.runtime.spawn(link.clone().run());
        Ok(Redis(Arc::new(Owner(link))))
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

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = match self.reason {
            LostReason::QueueFull => "the queue is full",
            LostReason::Unconfirmed => "the connection was lost",
            LostReason::Refused => "Redis refused it",
            LostReason::Unsendable => "it cannot be written",
        };
        let Lost {
            messages, bytes, ..
        } = self;
        write!(f, "{messages} messages with {bytes} bytes: {reason}")
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

impl Link {
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
            let was_connected = self.connected.send_replace(false);
            if was_connected {
                tracing::warn!(%error, "Redis is away: other servers are out of reach");
            } else {
                tracing::debug!(%error, "Redis cannot be reached");
            }
            self.counters.down.store(true, Ordering::Relaxed);
            self.queue.give_up_questions();
            // What fails at once shall not be tried again at once.
            if was_connected && begun.elapsed() > LONGEST_PAUSE {
                pause = SHORTEST_PAUSE;
            }
            let _ = timeout(pause, self.closed()).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        self.connected.send_replace(false);
        self.counters.down.store(true, Ordering::Relaxed);
        self.queue.give_up_questions();
        let left = self.queue.take(usize::MAX, usize::MAX);
        let left = left.iter().filter_map(|it| match it {
            Item::Publish(it) => Some(it.len()),
            _ => None,
        });
        let (messages, bytes) = left.fold((0, 0), |(count, sum), len| (count + 1, sum + len));
        if messages > 0 {
            self.lost(messages, bytes, LostReason::Unsendable);
        }
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
        let config = self.config().set_push_sender(receive);
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

    fn config(&self) -> AsyncConnectionConfig {
        AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECTION_TIMEOUT))
            .set_response_timeout(Some(self.dead_after))
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
                    () = sleep(self.dead_after / 3) => {}
                }
            }
            self.write(connection, &changes, items).await?;
            if std::mem::take(&mut is_new) {
                self.counters.connections.fetch_add(1, Ordering::Relaxed);
                self.counters.down.store(false, Ordering::Relaxed);
                self.connected.send_replace(true);
                tracing::info!("connected to Redis");
            }
        }
    }

    /// Writes one batch and waits for the answers; a ping if there is nothing else.
    async fn write(
        &self,
        connection: &mut Connection,
        changes: &[Change],
        items: Vec<Item>,
    ) -> RedisResult<()> {
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
        let mut answers = answers.into_iter();
        for _ in changes {
            if let Some(Value::ServerError(error)) = answers.next() {
                self.unconfirmed(&questions);
                return Err(error.into());
            }
        }
        let mut later = None;
        for (question, answer) in questions.into_iter().zip(answers) {
            match (question, answer) {
                (Question::Publish(it), Value::ServerError(error)) if is_for_later(&error) => {
                    let (_, waiting) = later.get_or_insert_with(|| (error, Vec::new()));
                    waiting.push(it);
                }
                (question, answer) => {
                    // Behind what has been taken now, they would come in another order.
                    if matches!(question, Question::Publish(_))
                        && let Some((error, waiting)) = later.take()
                    {
                        waiting
                            .iter()
                            .for_each(|it| self.refused(it, error.clone()));
                    }
                    self.answer(question, answer);
                }
            }
        }
        match later {
            Some((error, waiting)) => {
                self.queue.put_back(waiting);
                Err(error.into())
            }
            None => Ok(()),
        }
    }

    fn refused(&self, publication: &Publication, error: ServerError) {
        tracing::warn!(error = %RedisError::from(error), "Redis refuses a message");
        self.lost(1, publication.len(), LostReason::Refused);
    }

    fn answer(&self, question: Question, answer: Value) {
        match question {
            Question::Publish(it) => match answer {
                Value::ServerError(error) => self.refused(&it, error),
                _ => drop(self.counters.published.fetch_add(1, Ordering::Relaxed)),
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
            Question::Barrier(reply) => drop(reply.send(())),
        }
    }

    fn unconfirmed(&self, questions: &[Question]) {
        let (mut messages, mut bytes) = (0, 0);
        for question in questions {
            if let Question::Publish(it) = question {
                messages += 1;
                bytes += it.len();
            }
        }
        if messages > 0 {
            self.lost(messages, bytes, LostReason::Unconfirmed);
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
        if let Some(hook) = &self.on_lost {
            hook(&Lost {
                messages,
                bytes,
                reason,
            });
        }
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
            _ => return,
        };
        let is_pattern = matches!(push.kind, PushKind::PMessage);
        let pattern = is_pattern.then(|| data.next().unwrap_or_default());
        let (Some(channel), Some(payload)) = (data.next(), data.next()) else {
            return;
        };
        self.counters.received.fetch_add(1, Ordering::Relaxed);
        // What this process subscribes to is text.
        if let Ok(name) = std::str::from_utf8(pattern.as_ref().unwrap_or(&channel)) {
            let topic = topic(name.into());
            self.routes.deliver(&topic, &channel, &Bytes::from(payload));
        }
    }

    fn is_down(&self) -> bool {
        self.counters.down.load(Ordering::Relaxed)
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
    Barrier(oneshot::Sender<()>),
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

fn away() -> RedisError {
    RedisError::from(std::io::Error::from(std::io::ErrorKind::NotConnected))
}

/// Between two attempts to connect, at first and at last.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How long it may take to connect.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(5);

/// What is written at once.
const BATCH_BYTES: usize = 1024 * 1024;
const BATCH_ITEMS: usize = 4096;

const LONGEST_FLUSH: Duration = Duration::from_secs(1);
