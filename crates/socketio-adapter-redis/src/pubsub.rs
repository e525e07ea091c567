//! The adapter for `@socket.io/redis-adapter`.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use socketio_adapter::{
    Adapter, BoxError, BoxFuture, Channel, Inbox, Message, NodeId, Peers, RequestId, Response,
    Selection,
};
use uuid::Uuid;

use crate::{
    Redis,
    queue::Publication,
    routes::{Receiver, Topic},
    wire::classic::{self, Channels, Request},
};

/// Servers share a cluster through Redis' publish and subscribe, with each other and with servers in
/// Node.js that use `createAdapter` of `@socket.io/redis-adapter` 8.
///
/// Works with Redis 6.0 or newer, and with a [Redis Cluster](Redis::cluster), which passes on to all of
/// its nodes what is published.
///
/// ```no_run
/// use socketio_adapter_redis::{PubSubAdapter, Redis};
///
/// # fn main() -> Result<(), socketio_adapter_redis::ConnectError> {
/// let redis = Redis::connect("redis://127.0.0.1/")?;
/// let adapter = PubSubAdapter::new(redis); // for `SocketIo::builder().adapter(adapter)`
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct PubSubAdapter {
    redis: Redis,
    key: Arc<str>,
    specific: bool,
}

impl PubSubAdapter {
    /// With the official adapter's options as they are by default.
    pub fn new(redis: Redis) -> Self {
        Self {
            redis,
            key: "socket.io".into(),
            specific: true,
        }
    }

    /// What all channels begin with, `socket.io` if it is not said. Must be the same on all servers:
    /// the option `key` of the official adapter.
    #[must_use]
    pub fn key(mut self, key: &str) -> Self {
        self.key = key.into();
        self
    }

    /// Whether only the server that has asked gets the answer, which saves all others from reading
    /// it. The official adapter listens there whatever it has been told itself, since version 7.1;
    /// with older ones in the cluster say `false`. `true` if it is not said.
    #[must_use]
    pub fn publish_on_specific_response_channel(mut self, specific: bool) -> Self {
        self.specific = specific;
        self
    }

    pub(crate) fn redis(&self) -> &Redis {
        &self.redis
    }

    pub(crate) fn key_of_channels(&self) -> &str {
        &self.key
    }
}

impl Adapter for PubSubAdapter {
    fn open(&self, namespace: &str, inbox: Inbox) -> Arc<dyn Channel> {
        let channels = Channels::new(&self.key, namespace);
        let uid = Uuid::new_v4().as_u64_pair().1;
        let uid: NodeId = format!("{uid:016x}").into();
        let topics = [
            Topic::Channel(channels.requests.as_str().into()),
            Topic::Pattern(channels.pattern().into()),
            Topic::Channel(channels.responses.as_str().into()),
            Topic::Channel(channels.responses_to(&uid).into()),
        ];
        let node = Arc::new(Node {
            redis: self.redis.clone(),
            own: classic::beginnings_of_own(&uid),
            channels,
            uid,
            namespace: namespace.into(),
            specific: self.specific,
            inbox,
            closed: AtomicBool::new(false),
            names: Mutex::default(),
        });
        for topic in &topics {
            self.redis.subscribe(topic.clone(), node.clone());
        }
        Arc::new(PubSubChannel { node, topics })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.redis.flush())
    }
}

impl fmt::Debug for PubSubAdapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PubSubAdapter")
            .field("redis", &self.redis)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

struct PubSubChannel {
    node: Arc<Node>,
    /// The channel for requests first: who subscribes to it is counted.
    topics: [Topic; 4],
}

impl PubSubChannel {
    fn leave(&self) {
        self.node.closed.store(true, Ordering::Release);
        let receiver: Arc<dyn Receiver> = self.node.clone();
        for topic in &self.topics {
            self.node.redis.unsubscribe(topic, &receiver);
        }
    }
}

impl Channel for PubSubChannel {
    fn publish(&self, message: Message) {
        let node = &self.node;
        if node.is_closed() {
            return;
        }
        match classic::encode(&node.channels, &node.uid, &node.namespace, &message) {
            Ok((channel, payload)) => node.publish(channel, payload),
            Err(error) => node.redis.unsendable(&error),
        }
    }

    fn respond(&self, to: &NodeId, response: Response) {
        self.node.respond(to, &response);
    }

    fn peers(&self) -> BoxFuture<'static, Result<Peers, BoxError>> {
        if self.node.is_closed() {
            return Box::pin(std::future::ready(Ok(Peers::Count(0))));
        }
        let count = self.node.redis.count_others(&self.topics[0]);
        Box::pin(async move { Ok(Peers::Count(count.await?)) })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.leave();
        // What comes meanwhile has been read when this is answered.
        Box::pin(self.node.redis.flush())
    }
}

impl Drop for PubSubChannel {
    fn drop(&mut self) {
        self.leave();
    }
}

/// One namespace of this server.
struct Node {
    redis: Redis,
    channels: Channels,
    uid: NodeId,
    namespace: Box<str>,
    specific: bool,
    inbox: Inbox,
    closed: AtomicBool,
    /// How most of what this server itself has written begins.
    own: [Vec<u8>; 2],
    /// Requests for sockets of which only names are wanted, while they are being answered.
    names: Mutex<HashMap<RequestId, Names>>,
}

/// What is wanted of sockets.
#[derive(Clone, Copy)]
enum Names {
    Ids,
    Rooms,
}

impl Node {
    fn publish(&self, channel: String, payload: Vec<u8>) {
        self.redis.publish(Publication::Publish {
            channel: channel.into(),
            sharded: false,
            payload,
        });
    }

    fn respond(&self, to: &NodeId, response: &Response) {
        if self.is_closed() {
            return;
        }
        let names = self.names().get(response.request()).copied();
        let payload = match (response, names) {
            (Response::Sockets { request, sockets }, Some(Names::Ids)) => {
                Ok(classic::encode_ids(request, sockets))
            }
            (Response::Sockets { request, sockets }, Some(Names::Rooms)) => {
                Ok(classic::encode_rooms(request, sockets))
            }
            _ => classic::encode_response(response),
        };
        let channel = match &**to {
            UNKNOWN => self.channels.responses.clone(),
            uid if self.specific => self.channels.responses_to(uid),
            _ => self.channels.responses.clone(),
        };
        match payload {
            Ok(payload) => self.publish(channel, payload),
            Err(error) => self.redis.unsendable(&error),
        }
    }

    fn event(&self, channel: &[u8], payload: &Bytes) {
        // The pattern of a namespace may match channels of others.
        if !channel.starts_with(self.channels.events.as_bytes()) {
            return;
        }
        match classic::decode_event(payload, &self.namespace) {
            Ok(Some((uid, message))) if *uid != *self.uid => {
                self.inbox.message(&uid.into(), message);
            }
            Ok(_) => {}
            Err(error) => self.redis.refuse(channel, &error),
        }
    }

    fn request(&self, channel: &[u8], payload: &Bytes) {
        let (uid, request) = match classic::decode_request(payload) {
            Ok(request) => request,
            Err(error) => return self.redis.refuse(channel, &error),
        };
        let from: NodeId = uid.map_or_else(|| UNKNOWN.into(), NodeId::from);
        if from == self.uid {
            return;
        }
        let (selection, names, request) = match request {
            Request::Message(message) => return self.inbox.message(&from, message),
            Request::Ids { rooms, request } => {
                let except = Vec::new();
                (Selection { rooms, except }, Names::Ids, request)
            }
            Request::Rooms { request } => (Selection::all(), Names::Rooms, request),
        };
        // Sockets are looked for, and the answer is given, before this returns.
        self.names().insert(request.clone(), names);
        let message = Message::FetchSockets {
            selection,
            request: request.clone(),
        };
        self.inbox.message(&from, message);
        self.names().remove(&request);
    }

    fn response(&self, channel: &[u8], payload: &Bytes) {
        match classic::decode_response(payload) {
            Ok(response) => self.inbox.anonymous_response(response),
            Err(error) => self.redis.refuse(channel, &error),
        }
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn names(&self) -> MutexGuard<'_, HashMap<RequestId, Names>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Receiver for Node {
    fn receive(&self, topic: &Topic, channel: &[u8], payload: Bytes) {
        if self.is_closed() || self.own.iter().any(|own| payload.starts_with(own)) {
            return;
        }
        match topic {
            Topic::Pattern(_) => self.event(channel, &payload),
            Topic::Channel(name) if **name == *self.channels.requests => {
                self.request(channel, &payload);
            }
            _ => self.response(channel, &payload),
        }
    }
}

/// A server that does not say its name.
const UNKNOWN: &str = "";
