//! The adapters on a Redis Cluster: the behaviour suite, and what happens when a node goes.

#![allow(clippy::unwrap_used)] // helpers of tests may, as the tests themselves

mod common;

use std::{
    sync::{Arc, Mutex, OnceLock},
    time::{Duration, Instant},
};

use common::unique;
use socketio::{Socket, SocketIo, adapter::Adapter};
use socketio_adapter::{Channel, Inbox, StoredSession};
use socketio_adapter_redis::{
    Emitter, PubSubAdapter, Redis, ShardedAdapter, StreamsAdapter, StreamsBuilder, SubscriptionMode,
};
use socketio_test::{Incoming, TestClient};
use testkit::RedisCluster;
use tokio::time::{sleep, timeout};

/// One that all tests share that do it no harm.
fn shared() -> &'static RedisCluster {
    static SHARED: OnceLock<RedisCluster> = OnceLock::new();
    SHARED.get_or_init(|| RedisCluster::start(false))
}

/// Begins with any one of the nodes.
fn connect(cluster: &RedisCluster, node: usize) -> Redis {
    Redis::cluster([&*cluster.urls()[node]]).connect().unwrap()
}

async fn connected() -> Redis {
    let number = unique().as_bytes()[0];
    let redis = connect(shared(), usize::from(number) % 3);
    redis.connected().await;
    redis
}

mod pub_sub {
    use std::time::Duration;

    use socketio_adapter::adapter_tests;
    use socketio_adapter_redis::PubSubAdapter;
    use tokio::time::sleep;

    use crate::{common::unique, connected};

    fn cluster() -> impl AsyncFn() -> PubSubAdapter {
        let key = unique();
        async move || {
            let redis = connected().await;
            // What another process has published at another node may still be on its way to this
            // one's: whoever subscribes now may get it.
            sleep(Duration::from_millis(100)).await;
            PubSubAdapter::new(redis).key(&key)
        }
    }

    adapter_tests!(cluster());
}

mod sharded {
    use socketio_adapter::adapter_tests;
    use socketio_adapter_redis::{ShardedAdapter, SubscriptionMode};

    use crate::{common::unique, connected};

    fn cluster() -> impl AsyncFn() -> ShardedAdapter {
        let prefix = unique();
        async move || {
            ShardedAdapter::new(connected().await)
                .channel_prefix(&prefix)
                .subscription_mode(SubscriptionMode::DynamicPrivate)
        }
    }

    adapter_tests!(cluster());
}

mod three_streams_and_sharded_channels {
    use socketio_adapter::adapter_tests;
    use socketio_adapter_redis::StreamsAdapter;

    use crate::{common::unique, connected};

    fn cluster() -> impl AsyncFn() -> StreamsAdapter {
        let name = unique();
        async move || {
            let options = StreamsAdapter::builder().stream_name(&name);
            let options = options.channel_prefix(&name).use_sharded_pub_sub(true);
            options.stream_count(3).build(connected().await)
        }
    }

    adapter_tests!(cluster());
}

/// A cluster needs a second to notice that a node is gone, and has much more.
const SOON: Duration = Duration::from_secs(20);

struct Server {
    redis: Redis,
    io: SocketIo,
    client: TestClient,
}

async fn server(redis: Redis, adapter: impl Adapter) -> Server {
    let io = SocketIo::builder()
        .adapter(adapter)
        .request_timeout(Duration::from_secs(1))
        .build();
    io.on_connection(async |socket: Socket| socket.join("room"));
    let client = TestClient::connect(&io).await;
    Server { redis, io, client }
}

async fn meet(servers: &[Server]) {
    let begun = Instant::now();
    for server in servers {
        while server.io.of("/").server_count().await.ok() != Some(servers.len()) {
            sleep(Duration::from_millis(5)).await;
            assert!(begun.elapsed() < SOON, "no cluster");
        }
    }
}

/// An adapter, and the channel that it has opened last.
struct Spy<A>(A, Arc<Mutex<Option<Arc<dyn Channel>>>>);

impl<A: Adapter> Adapter for Spy<A> {
    fn open(&self, namespace: &str, inbox: Inbox) -> Arc<dyn Channel> {
        let channel = self.0.open(namespace, inbox);
        *self.1.lock().unwrap() = Some(channel.clone());
        channel
    }
}

/// The next number that has come.
async fn next(client: &mut TestClient) -> u64 {
    let next = async {
        loop {
            if let Incoming::Event(event) = client.recv().await
                && event.name() == "number"
            {
                return event.data();
            }
        }
    };
    timeout(SOON, next).await.unwrap()
}

fn sharded(redis: &Redis, prefix: &str) -> ShardedAdapter {
    ShardedAdapter::new(redis.clone())
        .channel_prefix(prefix)
        .subscription_mode(SubscriptionMode::Static)
}

/// A prefix whose channel for `/` is at this node.
fn prefix_at(cluster: &RedisCluster, node: usize) -> String {
    loop {
        let prefix = unique();
        if cluster.owner(&format!("{prefix}#/#")) == node {
            return prefix;
        }
    }
}

#[tokio::test]
async fn a_replica_takes_the_place_of_its_master_and_what_waits_comes_in_its_order() {
    let mut cluster = RedisCluster::start(true);
    let prefix = prefix_at(&cluster, 0);
    let mut servers = Vec::new();
    for node in [1, 2] {
        let redis = connect(&cluster, node);
        servers.push(server(redis.clone(), sharded(&redis, &prefix)).await);
    }
    meet(&servers).await;
    cluster.nodes()[0].kill();
    let begun = Instant::now();
    let mut number = 0;
    // until the replica has its place, and some more
    while servers[0].redis.stats().published < 50 {
        servers[0].io.emit("number", &number).unwrap();
        assert_eq!(next(&mut servers[0].client).await, number);
        number += 1;
        sleep(Duration::from_millis(20)).await;
        assert!(begun.elapsed() < SOON, "{:?}", servers[0].redis);
    }
    meet(&servers).await;
    servers[0].io.emit("number", &number).unwrap();
    // What came before the other one had subscribed again is lost for it; the rest is in order.
    let mut last = next(&mut servers[1].client).await;
    while last < number {
        let it = next(&mut servers[1].client).await;
        assert!(it > last, "{it} after {last}");
        last = it;
    }
    // What was being written when the node died is all that was lost on the way.
    assert!(servers[0].redis.stats().lost <= 1, "{:?}", servers[0].redis);
}

#[tokio::test]
async fn without_a_replica_the_others_live_on_until_the_node_comes_back() {
    let mut cluster = RedisCluster::start(false);
    let prefixes = [prefix_at(&cluster, 0), prefix_at(&cluster, 1)];
    let redis = [connect(&cluster, 1), connect(&cluster, 2)];
    let mut pairs = Vec::new();
    for prefix in &prefixes {
        let mut pair = Vec::new();
        for redis in &redis {
            pair.push(server(redis.clone(), sharded(redis, prefix)).await);
        }
        meet(&pair).await;
        pairs.push(pair);
    }
    cluster.nodes()[0].kill();
    for number in 0..300_u64 {
        for pair in &mut pairs {
            pair[0].io.emit("number", &number).unwrap();
            assert_eq!(next(&mut pair[0].client).await, number);
        }
        // at the node that is there
        assert_eq!(next(&mut pairs[1][1].client).await, number);
        sleep(Duration::from_millis(5)).await;
    }
    assert!(!redis[0].stats().connected);
    assert!(pairs[0][0].io.of("/").server_count().await.is_err());
    cluster.nodes()[0].restart();
    for pair in &mut pairs {
        meet(pair).await;
        pair[0].io.emit("number", &1_000_u64).unwrap();
        while next(&mut pair[1].client).await < 1_000 {}
    }
    assert!(redis[0].stats().connected);
    assert!(redis[0].stats().lost <= 1, "{:?}", redis[0]);
}

#[tokio::test]
async fn usual_channels_find_another_node_and_streams_are_read_on() {
    let mut cluster = RedisCluster::start(true);
    let name = loop {
        let name = unique();
        if cluster.owner(&name) == 0 {
            break name;
        }
    };
    let mut pub_sub = Vec::new();
    let mut streams = Vec::new();
    for node in [1, 2] {
        let redis = connect(&cluster, node);
        pub_sub.push(server(redis.clone(), PubSubAdapter::new(redis)).await);
        let redis = connect(&cluster, node);
        let options: StreamsBuilder = StreamsAdapter::builder().stream_name(&name);
        streams.push(server(redis.clone(), options.build(redis)).await);
    }
    meet(&pub_sub).await;
    meet(&streams).await;
    // All that has been taken shall be at the replica, too.
    streams[0].io.emit("number", &0_u64).unwrap();
    assert_eq!(next(&mut streams[1].client).await, 0);
    sleep(Duration::from_millis(200)).await;
    cluster.nodes()[0].kill();
    while streams[0].redis.stats().connected {
        sleep(Duration::from_millis(5)).await;
    }
    for number in 1..=100_u64 {
        streams[0].io.emit("number", &number).unwrap();
    }
    for number in 1..=100 {
        assert_eq!(next(&mut streams[1].client).await, number);
    }
    assert_eq!(streams[0].redis.stats().lost, 0);
    meet(&pub_sub).await;
    meet(&streams).await;
    pub_sub[0].io.emit("number", &1_u64).unwrap();
    assert_eq!(next(&mut pub_sub[1].client).await, 1);
}

#[tokio::test]
async fn a_slot_may_move() {
    let mut cluster = RedisCluster::start(false);
    let prefix = prefix_at(&cluster, 0);
    let channel = format!("{prefix}#/#");
    let mut servers = Vec::new();
    for node in [1, 2] {
        let redis = connect(&cluster, node);
        servers.push(server(redis.clone(), sharded(&redis, &prefix)).await);
    }
    meet(&servers).await;
    let nodes = cluster.nodes();
    let slot = nodes[0].command(&["cluster", "keyslot", &channel]);
    for round in 0..4_u64 {
        let to = [1, 2, 0, 2][round as usize];
        let id = nodes[to].command(&["cluster", "myid"]);
        // First those who get it and who lose it: the third hears of it from them.
        let mut order = [0, 1, 2];
        order.rotate_left(to);
        for node in order {
            let set = ["cluster", "setslot", slot.trim(), "node", id.trim()];
            assert_eq!(nodes[node].command(&set).trim(), "OK");
            servers[0]
                .io
                .emit("number", &(round * 100 + node as u64))
                .unwrap();
        }
        meet(&servers).await;
        servers[0].io.emit("number", &(round * 100 + 10)).unwrap();
        let mut last = next(&mut servers[1].client).await;
        while last != round * 100 + 10 {
            last = next(&mut servers[1].client).await;
        }
    }
}

#[tokio::test]
async fn an_emitter_reaches_all() {
    let prefix = unique();
    let redis = connected().await;
    let mut servers = Vec::new();
    for _ in 0..2 {
        let redis = connected().await;
        servers.push(server(redis.clone(), sharded(&redis, &prefix)).await);
    }
    meet(&servers).await;
    let emitter = Emitter::sharded(&sharded(&redis, &prefix));
    emitter.to("room").emit("number", &7_u64).unwrap();
    for server in &mut servers {
        assert_eq!(next(&mut server.client).await, 7);
    }
    redis.flush().await;
    assert_eq!(redis.stats().published, 1);
}

#[tokio::test]
async fn servers_start_and_serve_while_no_node_is_there() {
    let redis = Redis::cluster(["redis://127.0.0.1:1/", "redis://127.0.0.1:2/"]);
    let redis = redis.connect().unwrap();
    let begun = Instant::now();
    let mut server = server(redis.clone(), sharded(&redis, "key")).await;
    server.io.emit("number", &1_u64).unwrap();
    assert_eq!(next(&mut server.client).await, 1);
    assert!(server.io.fetch_sockets().await.is_err());
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert!(redis.stats().queued_bytes > 0 && !redis.stats().connected);
    assert!(Redis::cluster([]).connect().is_err());
}

/// Whoever finds the session reads the events next, from another node.
#[tokio::test]
async fn a_session_is_there_when_the_events_before_it_are() {
    let mut cluster = RedisCluster::start(false);
    let at = |node: usize, prefix: &str| {
        let names = std::iter::repeat_with(|| format!("{prefix}{}", unique()));
        names
            .into_iter()
            .find(|it| cluster.owner(it) == node)
            .unwrap()
    };
    let (stream, key) = (at(0, ""), at(1, "sessions:"));
    let redis = connect(&cluster, 1);
    let channel = Arc::default();
    let adapter = StreamsAdapter::builder()
        .stream_name(&stream)
        .session_key_prefix("sessions:")
        .build(redis.clone());
    let server = server(redis.clone(), Spy(adapter, Arc::clone(&channel))).await;
    meet(std::slice::from_ref(&server)).await;
    let session = StoredSession {
        pid: key["sessions:".len()..].into(),
        sid: "sid".into(),
        rooms: Vec::new(),
        data: None,
        server: None,
        since: None,
        until: None,
    };
    let store = channel.lock().unwrap().as_ref().unwrap().store().unwrap();
    let nodes = cluster.nodes();
    let is_there = || nodes[1].command(&["exists", &key]).trim() == "1";
    nodes[0].pause();
    server.io.emit("event", &()).unwrap();
    store.save(&session, Duration::from_secs(60));
    sleep(Duration::from_millis(300)).await;
    assert!(!is_there());
    nodes[0].resume();
    let begun = Instant::now();
    while !is_there() {
        sleep(Duration::from_millis(5)).await;
        assert!(begun.elapsed() < SOON);
    }
    // What is still on its way when the server ends comes, too.
    store.forget(&session.pid);
    store.save(&session, Duration::from_secs(60));
    redis.flush().await;
    assert!(is_there());
}
