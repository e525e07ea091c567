//! The way from one server to another for clients that have reached the wrong one.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use engineio_proto::relay::{RelayBus, RelayInbox};
use tokio::{sync::watch, task::AbortHandle};

use crate::{
    Redis,
    queue::Publication,
    routes::{Receiver, Topic},
};

/// Lets servers stand behind a load balancer that is not sticky: a request that reaches a server
/// without its session goes on, by way of Redis, to the one that has it.
///
/// Each server subscribes to one channel. While Redis is away each serves its own sessions, and
/// refuses requests for those of others.
///
/// ```no_run
/// use socketio::SocketIo;
/// use socketio_adapter_redis::{PubSubAdapter, Redis, RedisRelay};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), socketio_adapter_redis::ConnectError> {
/// let redis = Redis::connect("redis://127.0.0.1/")?;
/// let io = SocketIo::builder()
///     .adapter(PubSubAdapter::new(redis.clone()))
///     .engine(|config| config.relay(RedisRelay::new(redis)))
///     .build();
/// # Ok(()) }
/// ```
pub struct RedisRelay {
    redis: Redis,
    key: Arc<str>,
    nodes: Mutex<HashMap<Box<str>, Node>>,
}

/// A server of this process.
struct Node {
    receiver: Arc<dyn Receiver>,
    watch: AbortHandle,
}

impl RedisRelay {
    /// With channels whose names begin with `socket.io-relay`.
    pub fn new(redis: Redis) -> Self {
        Self {
            redis,
            key: "socket.io-relay".into(),
            nodes: Mutex::default(),
        }
    }

    /// What the names of channels begin with. Must be the same on all servers of a cluster.
    #[must_use]
    pub fn key(mut self, key: &str) -> Self {
        self.key = key.into();
        self
    }

    fn channel(&self, node: &str) -> Arc<str> {
        format!("{}#{node}", self.key).into()
    }

    fn nodes(&self) -> MutexGuard<'_, HashMap<Box<str>, Node>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RelayBus for RedisRelay {
    fn open(&self, node: &str, inbox: Arc<dyn RelayInbox>) {
        let watch = watch(self.redis.clone(), self.redis.changes(), inbox.clone());
        let watch = self.redis.runtime().spawn(watch);
        let receiver: Arc<dyn Receiver> = Arc::new(Line {
            redis: self.redis.clone(),
            inbox,
        });
        let topic = Topic::Channel(self.channel(node));
        self.redis.subscribe(topic, receiver.clone());
        let watch = watch.abort_handle();
        self.nodes().insert(node.into(), Node { receiver, watch });
    }

    fn close(&self, node: &str) {
        let closed = self.nodes().remove(node);
        if let Some(Node { receiver, watch }) = closed {
            watch.abort();
            let topic = Topic::Channel(self.channel(node));
            self.redis.unsubscribe(&topic, &receiver);
        }
    }

    fn send(&self, node: &str, message: Bytes) -> bool {
        // What would wait for Redis to come back would come too late.
        self.redis.is_connected()
            && self.redis.offer(Publication::Publish {
                channel: self.channel(node),
                sharded: false,
                payload: message.into(),
            })
    }
}

impl fmt::Debug for RedisRelay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisRelay")
            .field("redis", &self.redis)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// What comes for a server.
struct Line {
    redis: Redis,
    inbox: Arc<dyn RelayInbox>,
}

impl Receiver for Line {
    fn receive(&self, _: &Topic, channel: &[u8], payload: Bytes) {
        if let Err(error) = self.inbox.receive(payload) {
            self.redis.refuse(channel, &error);
        }
    }
}

/// Says when a connection has been lost or made anew, and messages may be lost with it, or when
/// Redis has refused one.
async fn watch(redis: Redis, mut changes: watch::Receiver<()>, inbox: Arc<dyn RelayInbox>) {
    let state = || {
        let stats = redis.stats();
        (stats.connected, stats.connections, redis.refusals())
    };
    let mut before = state();
    while changes.changed().await.is_ok() {
        // It may have come back by now.
        let now = state();
        if now != before {
            inbox.interrupted();
        }
        before = now;
    }
}
