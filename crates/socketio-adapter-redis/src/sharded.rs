//! The adapter for `createShardedAdapter`.

use std::{
    collections::HashSet,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use socketio_adapter::{
    Adapter, BoxError, BoxFuture, Channel, Inbox, Message, NodeId, Peers, Response, Room, RoomEvent,
};
use socketio_proto::EncodeError;

use crate::{
    Redis,
    peer::Peer,
    queue::Publication,
    routes::{Receiver, Topic},
    wire::cluster::{Body, single_room},
};

/// Servers share a cluster through Redis' sharded publish and subscribe, with each other and with
/// servers in Node.js that use `createShardedAdapter` of `@socket.io/redis-adapter` 8.
///
/// Needs Redis 7.0 or newer.
///
/// ```no_run
/// use socketio_adapter_redis::{Redis, ShardedAdapter, SubscriptionMode};
///
/// # fn main() -> Result<(), socketio_adapter_redis::ConnectError> {
/// let redis = Redis::connect("redis://127.0.0.1/")?;
/// let adapter = ShardedAdapter::new(redis).subscription_mode(SubscriptionMode::Static);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct ShardedAdapter {
    redis: Redis,
    prefix: Arc<str>,
    mode: SubscriptionMode,
    to_rooms: bool,
}

/// To which channels a server subscribes. Must be the same on all servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SubscriptionMode {
    /// Two for each namespace.
    Static,
    /// Also one for each room that has members here, but for those that sockets have of their own.
    #[default]
    Dynamic,
    /// Also one for each of those.
    DynamicPrivate,
}

impl ShardedAdapter {
    /// With the official adapter's options as they are by default.
    pub fn new(redis: Redis) -> Self {
        Self {
            redis,
            prefix: "socket.io".into(),
            mode: SubscriptionMode::default(),
            to_rooms: false,
        }
    }

    /// What all channels begin with, `socket.io` if it is not said. Must be the same on all servers.
    #[must_use]
    pub fn channel_prefix(mut self, prefix: &str) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// To which channels this server subscribes; [dynamic](SubscriptionMode::Dynamic) if it is not
    /// said.
    #[must_use]
    pub fn subscription_mode(mut self, mode: SubscriptionMode) -> Self {
        self.mode = mode;
        self
    }

    /// Whether an event for one room goes to the servers that have subscribed to the room, as the
    /// official adapter does it in the dynamic modes, or to all, which is what is done if it is not
    /// said.
    ///
    /// It spares servers without members in the room the reading. But a server subscribes only after
    /// somebody has joined, and what is sent to the room in this moment is lost for it, even if
    /// the sender has made the member join.
    #[must_use]
    pub fn publish_to_rooms(mut self, to_rooms: bool) -> Self {
        self.to_rooms = to_rooms;
        self
    }

    pub(crate) fn redis(&self) -> &Redis {
        &self.redis
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }
}

impl Adapter for ShardedAdapter {
    fn open(&self, namespace: &str, inbox: Inbox) -> Arc<dyn Channel> {
        let peer = Peer::new(self.redis.clone(), namespace, inbox);
        let public: Arc<str> = format!("{}#{namespace}#", self.prefix).into();
        let node = Arc::new(Node {
            topics: [
                Topic::Shard(public.clone()),
                Topic::Shard(format!("{public}{}#", peer.uid).into()),
            ],
            peer,
            public,
            mode: self.mode,
            to_rooms: self.to_rooms && self.mode != SubscriptionMode::Static,
            rooms: Mutex::new(Some(HashSet::new())),
        });
        for topic in &node.topics {
            self.redis.subscribe(topic.clone(), node.clone());
        }
        if self.mode != SubscriptionMode::Static {
            let weak = Arc::downgrade(&node);
            node.peer.inbox().observe_rooms(move |event| {
                if let Some(node) = weak.upgrade() {
                    node.room_changed(event);
                }
            });
        }
        Arc::new(ShardedChannel(node))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.redis.flush())
    }
}

impl fmt::Debug for ShardedAdapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardedAdapter")
            .field("redis", &self.redis)
            .field("prefix", &self.prefix)
            .field("mode", &self.mode)
            .finish_non_exhaustive()
    }
}

struct ShardedChannel(Arc<Node>);

impl ShardedChannel {
    fn leave(&self) {
        let node = &self.0;
        if !node.peer.close() {
            return;
        }
        let receiver: Arc<dyn Receiver> = node.clone();
        for topic in &node.topics {
            node.peer.redis.unsubscribe(topic, &receiver);
        }
        let rooms = node
            .rooms
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        for room in rooms.into_iter().flatten() {
            node.peer
                .redis
                .unsubscribe(&node.topic_of(&room), &receiver);
        }
    }
}

impl Channel for ShardedChannel {
    fn publish(&self, message: Message) {
        let node = &self.0;
        let room = single_room(&message).filter(|room| node.has_channel(room));
        let channel = match room {
            Some(room) => node.topic_of(room).name().clone(),
            None => node.public.clone(),
        };
        node.publish(channel, Body::of_message(&message));
    }

    fn respond(&self, to: &NodeId, response: Response) {
        let channel = format!("{}{to}#", self.0.public);
        self.0.publish(channel.into(), Body::of_response(&response));
    }

    fn peers(&self) -> BoxFuture<'static, Result<Peers, BoxError>> {
        if self.0.peer.is_closed() {
            return Box::pin(std::future::ready(Ok(Peers::Count(0))));
        }
        let count = self.0.peer.redis.count_others(&self.0.topics[0]);
        Box::pin(async move { Ok(Peers::Count(count.await?)) })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.leave();
        // What comes meanwhile has been read when this is answered.
        Box::pin(self.0.peer.redis.flush())
    }
}

impl Drop for ShardedChannel {
    fn drop(&mut self) {
        self.leave();
    }
}

struct Node {
    peer: Peer,
    /// The channel of the namespace, and that for answers to this server.
    topics: [Topic; 2],
    public: Arc<str>,
    mode: SubscriptionMode,
    to_rooms: bool,
    /// The rooms that this server has subscribed to; `None` once the namespace is closed.
    rooms: Mutex<Option<HashSet<Room>>>,
}

impl Node {
    fn publish(&self, channel: Arc<str>, body: Result<Body, EncodeError>) {
        if self.peer.is_closed() {
            return;
        }
        let payload = body.and_then(|it| it.in_json(&self.peer.uid, &self.peer.namespace));
        match payload {
            Ok(payload) => self.peer.redis.publish(Publication::Publish {
                channel,
                sharded: true,
                payload,
            }),
            Err(error) => self.peer.redis.unsendable(&error),
        }
    }

    fn topic_of(&self, room: &str) -> Topic {
        Topic::Shard(format!("{}{room}#", self.public).into())
    }

    /// Whether whoever has members in a room has subscribed to it. In dynamic mode the official
    /// adapter takes any name of 20 characters for the id of a socket.
    fn has_channel(&self, room: &str) -> bool {
        let is_private = room.encode_utf16().count() == ID_LENGTH;
        self.to_rooms && (self.mode == SubscriptionMode::DynamicPrivate || !is_private)
    }

    /// Called under locks of the registry.
    fn room_changed(self: &Arc<Self>, event: &RoomEvent) {
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(rooms) = &mut *rooms else {
            return;
        };
        match event {
            RoomEvent::Joined { room, id } => {
                let wanted = room != id || self.mode == SubscriptionMode::DynamicPrivate;
                if wanted && rooms.insert(room.clone()) {
                    self.peer.redis.subscribe(self.topic_of(room), self.clone());
                }
            }
            RoomEvent::Deleted { room } if rooms.remove(room) => {
                let receiver: Arc<dyn Receiver> = self.clone();
                self.peer.redis.unsubscribe(&self.topic_of(room), &receiver);
            }
            _ => {}
        }
    }
}

impl Receiver for Node {
    fn receive(&self, _: &Topic, channel: &[u8], payload: Bytes) {
        self.peer.receive(channel, &payload);
    }
}

/// Of the ids of sockets.
const ID_LENGTH: usize = 20;
