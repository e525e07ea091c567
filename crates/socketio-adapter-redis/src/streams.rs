//! The adapter for `@socket.io/redis-streams-adapter`.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use redis::{Client, RedisResult, Value, aio::MultiplexedConnection};
use socketio_adapter::{
    Adapter, BoxError, BoxFuture, Channel, Inbox, Message, NodeId, Peers, Place, Response,
    SessionStore,
};
use tokio::{sync::watch, time::sleep};

use crate::{
    Redis,
    peer::Peer,
    queue::Publication,
    routes::{Receiver, Topic},
    sessions::Sessions,
    wire::cluster::{self, Body, Envelope, Incoming},
};

/// Servers share a cluster through a Redis stream, with each other and with servers in Node.js that
/// use `@socket.io/redis-streams-adapter` 0.3.
///
/// Redis keeps the messages of the last time. A server that loses its connection reads on where it
/// has stopped, so nothing is lost while Redis stays; with the other adapters it would miss what is
/// published meanwhile. Works with Redis 6.0 or newer.
///
/// Needs a second connection, which reads.
///
/// ```no_run
/// use socketio_adapter_redis::{Redis, StreamsAdapter};
///
/// # fn main() -> Result<(), socketio_adapter_redis::ConnectError> {
/// let redis = Redis::connect("redis://127.0.0.1/")?;
/// let adapter = StreamsAdapter::builder().max_len(50_000).build(redis);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct StreamsAdapter(Arc<Shared>);

/// How a [`StreamsAdapter`] is made.
#[derive(Clone, Debug)]
pub struct StreamsBuilder {
    stream: String,
    streams: u32,
    prefix: String,
    sharded: bool,
    max_len: usize,
    session_prefix: String,
}

struct Shared {
    redis: Redis,
    options: StreamsBuilder,
    reader: Arc<Reader>,
    /// Ends the task that reads when it is dropped.
    _running: watch::Sender<()>,
}

impl StreamsAdapter {
    /// With the official adapter's options as they are by default.
    pub fn new(redis: Redis) -> Self {
        Self::builder().build(redis)
    }

    /// With others.
    pub fn builder() -> StreamsBuilder {
        StreamsBuilder {
            stream: "socket.io".into(),
            streams: 1,
            prefix: "socket.io".into(),
            sharded: false,
            max_len: 10_000,
            session_prefix: "sio:session:".into(),
        }
    }
}

impl StreamsBuilder {
    /// The name of the stream, `socket.io` if it is not said. Must be the same on all servers.
    #[must_use]
    pub fn stream_name(mut self, name: &str) -> Self {
        self.stream = name.into();
        self
    }

    /// Among how many streams the namespaces are divided; one if it is not said. With more, their
    /// names end with `-0`, `-1` and so on. Must be the same on all servers.
    #[must_use]
    pub fn stream_count(mut self, count: u32) -> Self {
        self.streams = count.max(1);
        self
    }

    /// What the channels for answers begin with, `socket.io` if it is not said. Must be the same on
    /// all servers.
    #[must_use]
    pub fn channel_prefix(mut self, prefix: &str) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Whether these are sharded, which needs Redis 7. Must be the same on all servers.
    #[must_use]
    pub fn use_sharded_pub_sub(mut self, sharded: bool) -> Self {
        self.sharded = sharded;
        self
    }

    /// About how many messages Redis keeps in each stream; 10,000 if it is not said.
    #[must_use]
    pub fn max_len(mut self, messages: usize) -> Self {
        self.max_len = messages;
        self
    }

    /// The adapter.
    pub fn build(self, redis: Redis) -> StreamsAdapter {
        let streams = match self.streams {
            1 => vec![self.stream.clone()],
            count => (0..count)
                .map(|it| format!("{}-{it}", self.stream))
                .collect(),
        };
        let reader = Arc::new(Reader {
            redis: redis.clone(),
            streams: streams.len(),
            state: Mutex::default(),
            positions: watch::Sender::default(),
        });
        let (running, ended) = watch::channel(());
        // In a Redis Cluster each is at another node.
        let at_once = if redis.is_cluster() { 1 } else { streams.len() };
        for streams in streams.chunks(at_once) {
            let reading = reader.clone().run(streams.to_vec(), ended.clone());
            redis.runtime().spawn(reading);
        }
        StreamsAdapter(Arc::new(Shared {
            redis,
            options: self,
            reader,
            _running: running,
        }))
    }

    /// What the keys of sessions begin with that wait for their clients to come back, `sio:session:`
    /// if it is not said. Must be the same on all servers.
    #[must_use]
    pub fn session_key_prefix(mut self, prefix: &str) -> Self {
        self.session_prefix = prefix.into();
        self
    }

    /// An entry for the stream of a namespace.
    pub(crate) fn append(
        &self,
        namespace: &str,
        fields: Box<[(&'static str, String)]>,
    ) -> Publication {
        Publication::Append {
            stream: self.stream_of(namespace).into(),
            max_len: self.max_len,
            fields,
        }
    }

    /// The stream of a namespace. Where the official adapter would write to one that nobody reads,
    /// since it takes remainders of negative numbers, this is another one.
    fn stream_of(&self, namespace: &str) -> String {
        if self.streams == 1 {
            return self.stream.clone();
        }
        let hash = namespace.encode_utf16().fold(0_i32, |hash, unit| {
            hash.wrapping_mul(31).wrapping_add(unit.into())
        });
        let number = i64::from(hash).rem_euclid(self.streams.into());
        format!("{}-{number}", self.stream)
    }
}

impl Adapter for StreamsAdapter {
    fn open(&self, namespace: &str, inbox: Inbox) -> Arc<dyn Channel> {
        let Shared {
            redis,
            options,
            reader,
            ..
        } = &*self.0;
        let peer = Peer::new(redis.clone(), namespace, inbox);
        let topic = if options.sharded {
            Topic::Shard
        } else {
            Topic::Channel
        };
        let public = format!("{}#{namespace}#", options.prefix);
        let node = Arc::new(Node {
            topics: [
                topic(public.as_str().into()),
                topic(format!("{public}{}#", peer.uid).into()),
            ],
            peer,
            public,
        });
        reader.add(&node);
        Arc::new(StreamsChannel {
            adapter: self.0.clone(),
            node,
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.0.redis.flush())
    }
}

impl fmt::Debug for StreamsAdapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamsAdapter")
            .field("redis", &self.0.redis)
            .field("options", &self.0.options)
            .finish()
    }
}

struct StreamsChannel {
    adapter: Arc<Shared>,
    node: Arc<Node>,
}

impl StreamsChannel {
    fn leave(&self) {
        if self.node.peer.close() {
            self.adapter.reader.remove(&self.node);
        }
    }
}

impl Channel for StreamsChannel {
    /// Everything goes through the stream, also what the official adapter publishes on a channel:
    /// otherwise it could overtake what was published before. That adapter does not mind.
    fn publish(&self, message: Message) {
        let peer = &self.node.peer;
        if peer.is_closed() {
            return;
        }
        let body = match Body::of_message(&message) {
            Ok(body) => body,
            Err(error) => return peer.redis.unsendable(&error),
        };
        let mark = match &message {
            Message::Broadcast { options, .. } => options.mark.as_deref(),
            _ => None,
        };
        match body.fields(&peer.uid, &peer.namespace, mark) {
            Ok(fields) => {
                let options = &self.adapter.options;
                peer.redis.publish(options.append(&peer.namespace, fields));
            }
            Err(error) => peer.redis.unsendable(&error),
        }
    }

    fn store(&self) -> Option<Arc<dyn SessionStore>> {
        let Shared {
            redis,
            options,
            reader,
            ..
        } = &*self.adapter;
        let namespace = &self.node.peer.namespace;
        Some(Arc::new(Sessions {
            redis: redis.clone(),
            reader: reader.clone(),
            stream: options.stream_of(namespace).into(),
            namespace: namespace.clone(),
            prefix: options.session_prefix.as_str().into(),
            max_len: options.max_len,
        }))
    }

    fn respond(&self, to: &NodeId, response: Response) {
        let peer = &self.node.peer;
        if peer.is_closed() {
            return;
        }
        let payload = Body::of_response(&response);
        match payload.and_then(|it| it.in_msgpack(&peer.uid, &peer.namespace)) {
            Ok(payload) => peer.redis.publish(Publication::Publish {
                channel: format!("{}{to}#", self.node.public).into(),
                sharded: self.adapter.options.sharded,
                payload,
            }),
            Err(error) => peer.redis.unsendable(&error),
        }
    }

    fn peers(&self) -> BoxFuture<'static, Result<Peers, BoxError>> {
        let peer = &self.node.peer;
        if peer.is_closed() {
            return Box::pin(std::future::ready(Ok(Peers::Count(0))));
        }
        let count = peer.redis.count_others(&self.node.topics[0]);
        Box::pin(async move { Ok(Peers::Count(count.await?)) })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.leave();
        Box::pin(self.adapter.redis.flush())
    }
}

impl Drop for StreamsChannel {
    fn drop(&mut self) {
        self.leave();
    }
}

struct Node {
    peer: Peer,
    /// The channel of the namespace, and that for answers to this server.
    topics: [Topic; 2],
    public: String,
}

impl Receiver for Node {
    fn receive(&self, _: &Topic, channel: &[u8], payload: Bytes) {
        self.peer.receive(channel, &payload);
    }
}

/// Reads the streams, from the moment in which it begins, without a gap.
pub(crate) struct Reader {
    redis: Redis,
    /// So many.
    streams: usize,
    state: Mutex<State>,
    /// What was the last that has been read of each stream, and has been delivered.
    positions: watch::Sender<HashMap<String, Place>>,
}

#[derive(Default)]
struct State {
    nodes: HashMap<Arc<str>, Vec<Arc<Node>>>,
    /// Of so many streams it is known from where on they are read.
    streams: usize,
    /// Of all of them. A server that could still miss something must not
    /// be counted, and it is counted when it has subscribed.
    begun: bool,
}

impl Reader {
    /// How far a stream has been read, if it is known where it has begun.
    pub(crate) fn position(&self, stream: &str) -> Option<Place> {
        self.positions.borrow().get(stream).copied()
    }

    /// Waits until a stream has been read up to a place.
    pub(crate) async fn reach(&self, stream: &str, place: Place) {
        let mut positions = self.positions.subscribe();
        let reached = |it: &HashMap<_, _>| it.get(stream).is_some_and(|at| *at >= place);
        // Fails if the other end is gone, which this holds.
        let _ = positions.wait_for(reached).await;
    }

    fn reached(&self, stream: &str, id: &str) {
        if let Ok(place) = id.parse() {
            self.positions
                .send_modify(|positions| match positions.get_mut(stream) {
                    Some(at) => *at = place,
                    None => drop(positions.insert(stream.into(), place)),
                });
        }
    }

    fn add(&self, node: &Arc<Node>) {
        let mut state = self.state();
        let namespace = node.peer.namespace.clone();
        state.nodes.entry(namespace).or_default().push(node.clone());
        if state.begun {
            self.subscribe(node);
        }
    }

    fn remove(&self, node: &Arc<Node>) {
        let mut state = self.state();
        if let Some(nodes) = state.nodes.get_mut(&node.peer.namespace) {
            nodes.retain(|it| !Arc::ptr_eq(it, node));
            if nodes.is_empty() {
                state.nodes.remove(&node.peer.namespace);
            }
        }
        let receiver: Arc<dyn Receiver> = node.clone();
        for topic in &node.topics {
            self.redis.unsubscribe(topic, &receiver);
        }
    }

    /// So many streams are read from now on.
    fn begin_with(&self, streams: usize) {
        let mut state = self.state();
        state.streams += streams;
        state.begun = state.streams == self.streams;
        if !state.begun {
            return;
        }
        for node in state.nodes.values().flatten() {
            self.subscribe(node);
        }
    }

    fn subscribe(&self, node: &Arc<Node>) {
        for topic in &node.topics {
            self.redis.subscribe(topic.clone(), node.clone());
        }
    }

    /// Reads some of the streams.
    async fn run(self: Arc<Self>, streams: Vec<String>, mut ended: watch::Receiver<()>) {
        tokio::select! {
            () = self.read(&streams) => {}
            // fails when the adapter is gone
            _ = ended.changed() => {}
        }
    }

    async fn read(&self, streams: &[String]) {
        let mut last = None;
        let mut pause = SHORTEST_PAUSE;
        loop {
            let Err(error) = self.read_on(streams, &mut last, &mut pause).await;
            tracing::debug!(%error, "the streams cannot be read");
            self.redis.doubt();
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Reads with one connection, until it is lost.
    async fn read_on(
        &self,
        streams: &[String],
        last: &mut Option<Vec<String>>,
        pause: &mut Duration,
    ) -> RedisResult<Never> {
        let mut connection = self.connect(streams).await?;
        let last = match last {
            Some(ids) => ids,
            None => {
                let ids = self.last_ids(streams, &mut connection).await?;
                self.begin_with(streams.len());
                last.insert(ids)
            }
        };
        for (stream, id) in streams.iter().zip(&*last) {
            self.reached(stream, id);
        }
        self.read_from(streams, last, &mut connection, pause).await
    }

    async fn read_from(
        &self,
        streams: &[String],
        last: &mut [String],
        connection: &mut MultiplexedConnection,
        pause: &mut Duration,
    ) -> RedisResult<Never> {
        loop {
            let mut command = redis::cmd("XREAD");
            command.arg("BLOCK").arg(BLOCK.as_millis() as u64);
            command.arg("COUNT").arg(COUNT).arg("STREAMS");
            command.arg(streams).arg(&*last);
            let reply = connection.send_packed_command(&command).await?;
            if let Value::ServerError(error) = reply {
                return Err(error.into());
            }
            *pause = SHORTEST_PAUSE;
            for (stream, entries) in entries_of(reply) {
                let index = streams.iter().position(|it| *it == stream);
                for (id, fields) in entries {
                    self.take(&stream, &id, fields);
                    self.reached(&stream, &id);
                    if let Some(index) = index {
                        last[index] = id;
                    }
                }
            }
        }
    }

    async fn connect(&self, streams: &[String]) -> RedisResult<MultiplexedConnection> {
        let (info, config) = self.redis.connection_for(&streams[0])?;
        let config = config.set_response_timeout(Some(BLOCK + self.redis.dead_after()));
        let client = Client::open(info)?;
        client
            .get_multiplexed_async_connection_with_config(&config)
            .await
    }

    /// The ids of what is the last in each stream now.
    async fn last_ids(
        &self,
        streams: &[String],
        connection: &mut MultiplexedConnection,
    ) -> RedisResult<Vec<String>> {
        let mut ids = Vec::new();
        for stream in streams {
            let mut command = redis::cmd("XREVRANGE");
            command.arg(stream).arg("+").arg("-").arg("COUNT").arg(1);
            let reply = connection.send_packed_command(&command).await?;
            if let Value::ServerError(error) = reply {
                return Err(error.into());
            }
            let last = entries(reply).into_iter().next();
            ids.push(last.map_or_else(|| "0-0".into(), |(id, _)| id));
        }
        Ok(ids)
    }

    fn take(&self, stream: &str, id: &str, fields: HashMap<String, Bytes>) {
        let field = |name: &str| fields.get(name).and_then(|it| str::from_utf8(it).ok());
        // Entries without a namespace are not ours.
        let Some(nsp) = field("nsp") else {
            return;
        };
        self.redis.received();
        let nodes = self.state().nodes.get(nsp).cloned();
        for node in nodes.into_iter().flatten() {
            if node.peer.is_closed() || field("uid") == Some(&*node.peer.uid) {
                continue;
            }
            let (uid, kind) = (field("uid"), field("type"));
            let mut message = cluster::decode_fields(uid, nsp, kind, fields.get("data"));
            if let Ok(Some(Envelope {
                content: Incoming::Message(Message::Broadcast { options, .. }),
                ..
            })) = &mut message
            {
                options.place = id.parse().ok();
            }
            node.peer.take(stream.as_bytes(), message);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Entry = (String, HashMap<String, Bytes>);

/// The answer to XREAD: a map in RESP3.
fn entries_of(reply: Value) -> Vec<(String, Vec<Entry>)> {
    let Value::Map(streams) = reply else {
        return Vec::new();
    };
    let streams = streams.into_iter();
    let streams = streams.filter_map(|(stream, value)| Some((text(stream)?, entries(value))));
    streams.collect()
}

/// Entries of one stream. What looks otherwise is left out.
pub(crate) fn entries(reply: Value) -> Vec<Entry> {
    let Value::Array(all) = reply else {
        return Vec::new();
    };
    let entry = |it| match it {
        Value::Array(pair) => {
            let [id, Value::Array(values)] = <[Value; 2]>::try_from(pair).ok()? else {
                return None;
            };
            let mut fields = HashMap::new();
            let mut values = values.into_iter();
            while let (Some(name), Some(Value::BulkString(value))) = (values.next(), values.next())
            {
                fields.insert(text(name)?, Bytes::from(value));
            }
            Some((text(id)?, fields))
        }
        _ => None,
    };
    all.into_iter().filter_map(entry).collect()
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

enum Never {}

/// How long Redis waits for something to read, and how much it gives at once: as the official
/// adapter.
const BLOCK: Duration = Duration::from_secs(5);
const COUNT: usize = 100;

const SHORTEST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_are_divided_as_the_official_adapter_does() {
        let one = StreamsAdapter::builder();
        assert_eq!(one.stream_of("/any"), "socket.io");
        let three = StreamsAdapter::builder().stream_name("s").stream_count(3);
        assert_eq!(three.stream_of("/"), "s-2");
        assert_eq!(three.stream_of("/a"), "s-0");
        assert_eq!(three.stream_of("/chat"), "s-1");
        // -2 there
        assert_eq!(three.stream_of("/notifications"), "s-1");
    }
}
