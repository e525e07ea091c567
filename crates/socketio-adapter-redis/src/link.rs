//! One connection to Redis, and what waits for it.

use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, PushInfo, PushKind, RedisError, RedisResult,
    ServerError, Value,
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
    routes::{Change, Routes, Topic},
};

/// What all connections of a [`Redis`](crate::Redis) have in common.
pub(crate) struct Common {
    pub(crate) runtime: Handle,
    pub(crate) counters: Counters,
    teller: Arc<Teller>,
    pub(crate) dead_after: Duration,
    /// A connection has been made or lost, or Redis has refused a message.
    pub(crate) changed: watch::Sender<()>,
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
pub(crate) struct Counters {
    pub(crate) connections: AtomicU64,
    pub(crate) published: AtomicU64,
    pub(crate) lost: AtomicU64,
    pub(crate) received: AtomicU64,
    pub(crate) refused: AtomicU64,
    /// Messages for channels that Redis has answered with an error.
    pub(crate) refusals: AtomicU64,
}

impl Common {
    /// In a task of the runtime the log and the function are told of what is lost.
    pub(crate) fn new(runtime: Handle, dead_after: Duration, on_lost: Option<Hook>) -> Arc<Self> {
        let teller = Teller::new(on_lost);
        runtime.spawn(teller.clone().run());
        Arc::new(Self {
            runtime,
            counters: Counters::default(),
            teller,
            dead_after,
            changed: watch::Sender::new(()),
        })
    }

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

    pub(crate) fn lost(&self, messages: u64, bytes: usize, reason: LostReason) {
        self.counters.lost.fetch_add(messages, Ordering::Relaxed);
        self.teller.add(Lost {
            messages,
            bytes: bytes as u64,
            reason,
        });
    }

    /// A message cannot be written.
    pub(crate) fn unsendable(&self, error: String) {
        self.teller.explain(error);
        self.lost(1, 0, LostReason::Unsendable);
    }
}

impl Drop for Common {
    fn drop(&mut self) {
        self.teller.close();
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

    pub(crate) fn count(
        &self,
        topic: &Topic,
    ) -> RedisResult<oneshot::Receiver<RedisResult<usize>>> {
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
        self.count_refusals(&publications);
    }

    fn refused(&self, publication: &Publication, error: ServerError) {
        tracing::warn!(error = %RedisError::from(error), "Redis refuses a message");
        let reason = LostReason::Refused;
        self.common.lost(1, publication.len(), reason);
        self.count_refusals(std::slice::from_ref(publication));
    }

    /// Of messages for channels, among which may be a relay's.
    fn count_refusals(&self, publications: &[Publication]) {
        let is_message = |it: &&Publication| matches!(it, Publication::Publish { .. });
        let count = publications.iter().filter(is_message).count();
        if count > 0 {
            let refusals = &self.common.counters.refusals;
            refusals.fetch_add(count as u64, Ordering::Relaxed);
            self.common.changed();
        }
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
