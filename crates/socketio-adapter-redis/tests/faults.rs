//! Redis goes, comes back, is slow, or says strange things; the clients of a server see nothing of
//! it.

#![allow(clippy::unwrap_used)] // helpers of tests may, as the tests themselves

mod common;

use std::{
    sync::{Arc, Mutex, OnceLock},
    time::{Duration, Instant},
};

use common::{Server, connect, shared, unique};
use socketio::{ConnectionStateRecovery, Socket, SocketIo, adapter::Adapter};
use socketio_adapter_redis::{LostReason, PubSubAdapter, Redis, StreamsAdapter};
use socketio_test::{Incoming, TestClient};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

/// A server with this connection.
fn server(redis: &Redis, key: &str) -> SocketIo {
    server_with(PubSubAdapter::new(redis.clone()).key(key))
}

fn server_with(adapter: impl Adapter) -> SocketIo {
    let io = SocketIo::builder()
        .adapter(adapter)
        .request_timeout(Duration::from_secs(1))
        .build();
    io.on_connection(async |socket: Socket| socket.join("room"));
    io
}

/// Two servers of a cluster that know each other, and a client of each.
async fn pair(redis: &Server) -> [(Redis, SocketIo, TestClient); 2] {
    let key = unique();
    let one = async || {
        let connection = connect(redis);
        let io = server(&connection, &key);
        let client = TestClient::connect(&io).await;
        (connection, io, client)
    };
    let pair = [one().await, one().await];
    meet(&pair).await;
    pair
}

async fn meet(pair: &[(Redis, SocketIo, TestClient); 2]) -> Duration {
    let begun = Instant::now();
    for (_, io, _) in pair {
        while io.of("/").server_count().await.ok() != Some(2) {
            sleep(Duration::from_millis(5)).await;
            assert!(begun.elapsed() < Duration::from_secs(20), "no cluster");
        }
    }
    begun.elapsed()
}

/// What takes this long has waited for Redis.
const AT_ONCE: Duration = Duration::from_millis(500);

#[tokio::test]
async fn servers_start_and_serve_while_redis_is_away() {
    let redis = Redis::connect("redis://127.0.0.1:1/").unwrap();
    let io = server(&redis, "key");
    let begun = Instant::now();
    let mut client = TestClient::connect(&io).await;
    io.to("room").emit("event", &1).unwrap();
    assert_eq!(client.expect_as::<u8>("event").await, 1);
    let question = io
        .timeout(Duration::from_secs(5))
        .emit_with_ack::<u8>("question", &());
    client.expect("question").await.ack(&7).await;
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    // who waits for other servers is told that they cannot be counted
    let error = io.fetch_sockets().await.unwrap_err();
    assert_eq!((error.sockets.len(), error.missing), (1, None));
    assert!(io.of("/").server_count().await.is_err());
    assert_eq!(question.await.unwrap_err().responses, [7]);
    assert!(!redis.stats().connected);
    io.close().await;
}

#[tokio::test]
async fn subscriptions_come_back_after_a_restart() {
    let mut redis = Server::start();
    let mut pair = pair(&redis).await;
    for round in 1..=3 {
        redis.kill();
        let begun = Instant::now();
        pair[0].1.emit("local", &round).unwrap();
        assert_eq!(pair[0].2.expect_as::<u64>("local").await, round);
        assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
        // longer than the pauses between attempts to connect take to grow
        sleep(Duration::from_millis(1_500)).await;
        redis.restart();
        let took = meet(&pair).await;
        assert!(took < Duration::from_secs(2), "{took:?}");
        for from in 0..2 {
            pair[from].1.emit("again", &round).unwrap();
            for (_, _, client) in &mut pair {
                assert_eq!(next_of(client, "again").await, round);
            }
        }
        for (redis, _, _) in &pair {
            assert_eq!(redis.stats().connections, round + 1);
        }
    }
}

#[tokio::test]
async fn a_connection_that_is_cut_comes_back() {
    let redis = Server::start();
    let mut pair = pair(&redis).await;
    for round in 1..=5 {
        redis.command(&["client", "kill", "type", "pubsub"]);
        let (connection, io, client) = &mut pair[0];
        io.emit("local", &round).unwrap();
        assert_eq!(next_of(client, "local").await, round);
        let begun = Instant::now();
        while connection.stats().connections <= round {
            sleep(Duration::from_millis(5)).await;
            assert!(begun.elapsed() < Duration::from_secs(2));
        }
        meet(&pair).await;
        pair[1].1.emit("again", &round).unwrap();
        assert_eq!(next_of(&mut pair[0].2, "again").await, round);
    }
}

#[tokio::test]
async fn nothing_is_lost_or_reordered_while_redis_stands_still() {
    let redis = Server::start();
    let mut pair = pair(&redis).await;
    let [(connection, io, here), (_, _, there)] = &mut pair;
    for number in 0..3_000_u64 {
        match number {
            500 => redis.pause(),
            2_500 => redis.resume(),
            _ => {}
        }
        io.emit("number", &number).unwrap();
        let begun = Instant::now();
        assert_eq!(here.expect_as::<u64>("number").await, number);
        assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
        sleep(Duration::from_micros(200)).await;
    }
    for number in 0..3_000_u64 {
        assert_eq!(there.expect_as::<u64>("number").await, number);
    }
    assert_eq!(connection.stats().lost, 0);
    assert_eq!(connection.stats().connections, 1);
}

#[tokio::test]
async fn a_stream_is_read_on_where_it_was_left() {
    let mut redis = Server::start();
    let one = async || {
        let connection = connect(&redis);
        let io = server_with(StreamsAdapter::new(connection.clone()));
        let client = TestClient::connect(&io).await;
        (connection, io, client)
    };
    let mut pair = [one().await, one().await];
    meet(&pair).await;
    for round in 0..5 {
        for number in 0..100 {
            pair[0].1.emit("number", &(round * 200 + number)).unwrap();
        }
        // Those that read; what is being written would be lost with the others.
        let readers = redis.command(&["client", "list"]);
        let readers = readers.lines().filter(|it| it.contains(" cmd=xread "));
        let ids: Vec<_> = readers
            .map(|it| it.split([' ', '=']).nth(1).unwrap())
            .collect();
        assert_eq!(ids.len(), 2);
        for id in ids {
            redis.command(&["client", "kill", "id", id]);
        }
        for number in 100..200 {
            pair[0].1.emit("number", &(round * 200 + number)).unwrap();
        }
        for number in 0..200 {
            let there = next_of(&mut pair[1].2, "number").await;
            assert_eq!(there, round * 200 + number);
        }
        assert_eq!(pair[0].0.stats().lost, 0);
    }
    // and it goes on when there is another stream
    redis.kill();
    redis.restart();
    let took = meet(&pair).await;
    assert!(took < Duration::from_secs(2), "{took:?}");
    // The one that reads may take a moment longer, and still misses nothing.
    for number in 0..100 {
        pair[0].1.emit("again", &number).unwrap();
        assert_eq!(next_of(&mut pair[1].2, "again").await, number);
    }
}

#[tokio::test]
async fn a_server_that_loads_its_data_is_away() {
    let options = "--key-load-delay 300 --loading-process-events-interval-bytes 1024";
    let mut redis = Server::start_with(&options.split(' ').collect::<Vec<_>>());
    let fill = "for i = 1, 5000 do redis.call('set', i, string.rep('x', 100)) end";
    redis.command(&["eval", fill, "0"]);
    let connection = connect(&redis);
    let io = server_with(StreamsAdapter::new(connection.clone()));
    while io.of("/").server_count().await.is_err() {}
    redis.command(&["save"]);
    redis.kill();
    while connection.stats().connected {
        sleep(Duration::from_millis(5)).await;
    }
    for number in 0..100 {
        io.emit("number", &number).unwrap();
    }
    redis.restart();
    assert!(redis.command(&["ping"]).starts_with("LOADING"));
    connection.connected().await;
    assert_eq!(io.of("/").server_count().await.unwrap(), 1);
    assert_eq!(redis.command(&["xlen", "socket.io"]).trim(), "100");
    assert_eq!(connection.stats().lost, 0);
}

#[tokio::test]
async fn what_a_replica_refuses_waits_for_a_master_in_its_order() {
    let redis = Server::start();
    let connection = connect(&redis);
    let io = server_with(StreamsAdapter::new(connection.clone()));
    while io.of("/").server_count().await.is_err() {}
    redis.command(&["replicaof", "127.0.0.1", "1"]);
    for number in 0..100 {
        io.emit("number", &number).unwrap();
        sleep(Duration::from_millis(1)).await;
    }
    let begun = Instant::now();
    while connection.stats().connected {
        sleep(Duration::from_millis(5)).await;
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
    redis.command(&["replicaof", "no", "one"]);
    while connection.stats().published < 100 {
        sleep(Duration::from_millis(5)).await;
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
    assert_eq!(connection.stats().lost, 0);
    let entries = redis.command(&["xrange", "socket.io", "-", "+"]);
    let places = (0..100).map(|it| entries.find(&format!("\"number\",{it}]")));
    let places = places.map(Option::unwrap).collect::<Vec<_>>();
    assert!(places.is_sorted());
}

#[tokio::test]
async fn what_nobody_will_write_any_more_is_told() {
    let (told, mut lost) = tokio::sync::mpsc::unbounded_channel();
    let connection = Redis::builder("redis://127.0.0.1:1/")
        .on_lost(move |it| told.send(it.clone()).unwrap())
        .connect()
        .unwrap();
    let io = server(&connection, "key");
    io.emit("event", &1).unwrap();
    io.emit("event", &2).unwrap();
    io.close().await;
    drop((io, connection));
    let lost = timeout(Duration::from_secs(10), lost.recv()).await.unwrap();
    let lost = lost.unwrap();
    assert_eq!((lost.messages, lost.reason), (2, LostReason::Unsendable));
}

#[tokio::test]
async fn strange_entries_of_a_stream_are_counted_and_ignored() {
    let name = unique();
    let connection = connect(shared());
    let adapter = StreamsAdapter::builder().stream_name(&name);
    let io = server_with(adapter.channel_prefix(&name).build(connection.clone()));
    while io.of("/").server_count().await.ok() != Some(1) {}
    for (fields, refused) in [
        (&["any", "thing"][..], 0),
        (&["nsp", "/"], 1),
        (&["nsp", "/", "uid", "a"], 2),
        (&["nsp", "/", "uid", "a", "type", "x"], 3),
        (&["nsp", "/", "uid", "a", "type", "3"], 4),
        (&["nsp", "/", "uid", "a", "type", "3", "data", "???"], 5),
        (&["nsp", "/", "uid", "a", "type", "3", "data", "AAAA"], 6),
        (&["nsp", "/", "uid", "a", "type", "3", "data", "{"], 7),
        (&["nsp", "/other", "uid", "a", "type", "x"], 7),
    ] {
        let add = [&["xadd", &*name, "*"], fields].concat();
        shared().command(&add);
        let begun = Instant::now();
        while connection.stats().refused < refused {
            sleep(Duration::from_millis(5)).await;
            assert!(begun.elapsed() < Duration::from_secs(5), "{fields:?}");
        }
    }
    assert_eq!(connection.stats().refused, 7);
}

#[tokio::test]
async fn who_is_silent_for_too_long_is_left() {
    let redis = Server::start();
    let connection = Redis::builder(&redis.url())
        .dead_after(Duration::from_millis(600))
        .connect()
        .unwrap();
    let io = server(&connection, "key");
    while io.of("/").server_count().await.is_err() {}
    redis.pause();
    let begun = Instant::now();
    while connection.stats().connected {
        sleep(Duration::from_millis(5)).await;
        assert!(begun.elapsed() < Duration::from_secs(2));
    }
    redis.resume();
    let begun = Instant::now();
    let again = timeout(Duration::from_secs(7), connection.connected()).await;
    assert!(again.is_ok(), "{:?}", begun.elapsed());
    assert_eq!(io.of("/").server_count().await.unwrap(), 1);
}

#[tokio::test]
async fn what_waits_is_bounded_and_what_is_lost_is_told() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let lost = told.clone();
    let connection = Redis::builder("redis://127.0.0.1:1/")
        .max_queued(10_000)
        .on_lost(move |it| lost.lock().unwrap().push(it.clone()))
        .connect()
        .unwrap();
    let io = server(&connection, "key");
    let mut client = TestClient::connect(&io).await;
    for number in 0..200_u64 {
        io.emit("event", &(number, "x".repeat(100))).unwrap();
        let (here, _) = client.expect_as::<(u64, String)>("event").await;
        assert_eq!(here, number);
    }
    let stats = connection.stats();
    assert!(stats.queued_bytes <= 10_000, "{stats:?}");
    assert!((100..200).contains(&stats.lost), "{stats:?}");
    let sum = || {
        told.lock()
            .unwrap()
            .iter()
            .map(|it| it.messages)
            .sum::<u64>()
    };
    let begun = Instant::now();
    while sum() < stats.lost {
        sleep(Duration::from_millis(5)).await;
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
    let told = told.lock().unwrap();
    assert_eq!(told.iter().map(|it| it.messages).sum::<u64>(), stats.lost);
    assert!(told.iter().all(|it| it.reason == LostReason::QueueFull));
    assert!(told.iter().all(|it| it.bytes > 100));
}

#[tokio::test]
async fn strange_messages_are_counted_and_ignored() {
    let key = unique();
    let connection = connect(shared());
    let io = server(&connection, &key);
    let mut client = TestClient::connect(&io).await;
    while io.of("/").server_count().await.ok() != Some(1) {}
    let mut strange = 0;
    for channel in ["#/#", "#/#room#", "-request#/#", "-response#/#"] {
        let deep = (b"[".repeat(100_000), b"{\"a\":".repeat(100_000));
        for payload in [
            &b"\x01"[..],
            b"{",
            b"[]",
            b"\x93\xa1x\x80\x80",
            b"\x93\xa1x\x81\xa4type\x02\xdf\xff\xff\xff\xff",
            b"\xc6\xff\xff\xff\xff",
            br#"{"type":99}"#,
            br#"{"type":7,"requestId":"x"}"#,
            br#"{"requestId":"x","type":8}"#,
            b"{\"type\":1,\"requestId\":\"\xff\"}",
            &deep.0,
            &deep.1,
            &vec![0x91; 1_000_000],
            &vec![0xC4; 1_000_000],
        ] {
            shared().publish(&format!("{key}{channel}"), payload);
            strange += 1;
        }
    }
    io.emit("still here", &1_u64).unwrap();
    assert_eq!(next_of(&mut client, "still here").await, 1);
    while connection.stats().refused < strange {
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(connection.stats().refused, strange);
    assert_eq!(connection.stats().connections, 1);
}

#[tokio::test]
async fn two_servers_may_share_a_connection() {
    let key = unique();
    let connection = connect(shared());
    let (a, b) = (server(&connection, &key), server(&connection, &key));
    let mut of_b = TestClient::connect(&b).await;
    while a.of("/").server_count().await.ok() != Some(2) {}
    a.emit("event", &5_u64).unwrap();
    assert_eq!(next_of(&mut of_b, "event").await, 5);
    of_b.expect_nothing().await;
    assert_eq!(a.fetch_sockets().await.unwrap().len(), 1);
    b.close().await;
    assert_eq!(a.of("/").server_count().await.unwrap(), 1);
}

#[tokio::test]
async fn what_was_said_before_a_server_closes_is_written() {
    let mut pair = pair(shared()).await;
    let [(_, a, _), (_, _, there)] = &mut pair;
    for number in 0..1_000_u64 {
        a.emit("last words", &number).unwrap();
    }
    a.close().await;
    for number in 0..1_000_u64 {
        assert_eq!(there.expect_as::<u64>("last words").await, number);
    }
}

/// The next event of this name, and what it says.
async fn next_of(client: &mut TestClient, name: &str) -> u64 {
    let next = async {
        loop {
            if let Incoming::Event(event) = client.recv().await
                && event.name() == name
            {
                return event.data();
            }
        }
    };
    timeout(Duration::from_secs(5), next).await.unwrap()
}

/// Whoever publishes may hold locks. A deadlock would hold this thread, so another one is asked.
#[test]
fn whoever_is_told_of_losses_may_do_anything() {
    let (done, is_done) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let server: Arc<OnceLock<SocketIo>> = Arc::default();
            let (hook, told) = (server.clone(), Arc::new(Notify::new()));
            let notify = told.clone();
            let connection = Redis::builder("redis://127.0.0.1:1/")
                .max_queued(1_000)
                .on_lost(move |_| {
                    let io = hook.get().unwrap();
                    io.emit("lost", &()).unwrap();
                    io.to("room").sockets_join("another");
                    notify.notify_one();
                    panic!("a hook that panics");
                })
                .connect()
                .unwrap();
            let io = SocketIo::builder()
                .adapter(StreamsAdapter::builder().build(connection))
                .connection_state_recovery(ConnectionStateRecovery::new())
                .build();
            server.set(io.clone()).ok().unwrap();
            let client = TestClient::connect(&io).await;
            for _ in 0..3 {
                // The first losses fill the queue, and those of the hook are losses, too.
                io.emit("event", &"x".repeat(2_000)).unwrap();
                told.notified().await;
            }
            drop(client);
        });
        done.send(()).unwrap();
    });
    is_done.recv_timeout(Duration::from_secs(20)).unwrap();
}
