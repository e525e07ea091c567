//! Clients that come back to another server, with sessions and events in Redis.

#![allow(clippy::unwrap_used)] // helpers of tests may, as the tests themselves

mod common;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use common::{Server, connect, unique};
use serde_json::{Value, json};
use socketio::{ConnectionStateRecovery, Socket, SocketIo, handler::Data};
use socketio_adapter_redis::{Redis, StreamsAdapter};
use testkit::Ws;
use tokio::{
    net::TcpListener,
    task::{JoinHandle, JoinSet},
    time::sleep,
};

/// A server on a port of its own.
struct Node {
    io: SocketIo,
    redis: Redis,
    addr: SocketAddr,
    task: JoinHandle<()>,
}

async fn node(server: &Server, stream: &str) -> Node {
    node_with(server, stream, ConnectionStateRecovery::new()).await
}

async fn node_with(server: &Server, stream: &str, recovery: ConnectionStateRecovery) -> Node {
    let redis = connect(server);
    redis.connected().await;
    let adapter = StreamsAdapter::builder()
        .stream_name(stream)
        .channel_prefix(stream)
        .session_key_prefix(&format!("{stream}:"))
        .build(redis.clone());
    let io = SocketIo::builder()
        .adapter(adapter)
        .connection_state_recovery(recovery)
        .build();
    io.on("join", async |socket: Socket, Data(room): Data<String>| {
        socket.join(room);
        socket.emit("joined", &())
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let service = io.service();
    let task = tokio::spawn(async move {
        socketio::serve(listener, service).await.unwrap();
    });
    Node {
        io,
        redis,
        addr,
        task,
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Servers that know each other.
async fn nodes<const N: usize>(server: &Server) -> [Node; N] {
    let stream = unique();
    let mut nodes = Vec::new();
    for _ in 0..N {
        nodes.push(node(server, &stream).await);
    }
    know_each_other(&nodes).await;
    nodes.try_into().ok().unwrap()
}

async fn know_each_other(nodes: &[Node]) {
    let begun = Instant::now();
    for node in nodes {
        while node.io.of("/").server_count().await.ok() != Some(nodes.len()) {
            sleep(Duration::from_millis(5)).await;
            assert!(begun.elapsed() < Duration::from_secs(20), "no cluster");
        }
    }
}

/// A client that remembers what the official one does.
struct Client {
    ws: Ws,
    sid: String,
    pid: String,
    offset: Option<String>,
    /// Whether it got its old session.
    recovered: bool,
    events: Vec<Value>,
}

impl Client {
    async fn connect(at: &Node) -> Self {
        Self::with(at, None).await
    }

    async fn with(at: &Node, before: Option<Client>) -> Self {
        let old = before.as_ref().map(|it| it.pid.clone());
        let mut client = Self::arrive(at, before).await;
        while client.sid.is_empty() {
            client.packet().await;
        }
        client.recovered = old.is_some_and(|old| old == client.pid);
        client
    }

    /// Says who it was, and has no answer yet.
    async fn arrive(at: &Node, before: Option<Client>) -> Self {
        let mut ws = Ws::connect(at.addr, "/socket.io/?EIO=4&transport=websocket").await;
        assert!(ws.recv_text().await.starts_with('0'));
        let (mut auth, mut events, mut offset) = (json!({}), Vec::new(), None);
        let mut pid = String::new();
        if let Some(before) = before {
            auth = json!({ "pid": before.pid });
            if let Some(offset) = &before.offset {
                auth["offset"] = offset.as_str().into();
            }
            (events, offset, pid) = (before.events, before.offset, before.pid);
        }
        ws.text(&format!("40{auth}")).await;
        Self {
            ws,
            sid: String::new(),
            pid,
            offset,
            recovered: false,
            events,
        }
    }

    /// Loses its connection and comes back to another server, or the same.
    async fn move_to(self, from: &Node, to: &Node) -> Self {
        let before = self.lose(from).await;
        Self::with(to, Some(before)).await
    }

    /// Loses its connection, and the server knows.
    async fn lose(mut self, at: &Node) -> Self {
        let other = Ws::connect(at.addr, "/socket.io/?EIO=4&transport=websocket").await;
        drop(std::mem::replace(&mut self.ws, other));
        while at.io.of("/").socket(&self.sid).is_some() {
            sleep(Duration::from_millis(1)).await;
        }
        self
    }

    async fn packet(&mut self) {
        let packet = self.ws.recv_text().await;
        if let Some(json) = packet.strip_prefix("40") {
            let json: Value = serde_json::from_str(json).unwrap();
            self.sid = json["sid"].as_str().unwrap().into();
            self.pid = json["pid"].as_str().unwrap().into();
            return;
        }
        if packet == "2" {
            return self.ws.text("3").await;
        }
        let (binaries, json) = match packet.strip_prefix("45") {
            None => (0, packet.strip_prefix("42").expect(&packet)),
            Some(rest) => {
                let (count, json) = rest.split_once('-').unwrap();
                (count.parse().unwrap(), json)
            }
        };
        let mut array: Vec<Value> = serde_json::from_str(json).unwrap();
        for _ in 0..binaries {
            let bytes = self.ws.recv_binary().await;
            array.push(json!({ "bytes": bytes.to_vec() }));
        }
        let at = array.len() - 1 - binaries;
        if let Value::String(_) = &array[at]
            && let Value::String(offset) = array.remove(at)
        {
            self.offset = Some(offset);
        }
        self.events.push(array.into());
    }

    /// All events until this one comes, with their arguments.
    async fn until(&mut self, last: &str) -> Vec<Value> {
        loop {
            if let Some(at) = self.events.iter().position(|it| it[0] == *last) {
                return self.events.drain(..=at).collect();
            }
            self.packet().await;
        }
    }

    async fn join(&mut self, room: &str) {
        self.ws.text(&format!("42[\"join\",\"{room}\"]")).await;
        self.until("joined").await;
    }
}

/// Everything that was published has come everywhere.
async fn settle(nodes: &[Node]) {
    for node in nodes {
        node.redis.flush().await;
    }
    sleep(Duration::from_millis(100)).await;
}

#[tokio::test]
async fn a_client_is_what_it_was_at_another_server() {
    let server = Server::start();
    let nodes: [Node; 2] = nodes(&server).await;
    let [one, two] = &nodes;
    let mut client = Client::connect(one).await;
    client.join("room").await;
    let id = client.sid.clone();
    let socket = one.io.of("/").socket(&id).unwrap();
    socket.set_data(&json!({ "name": "é" })).unwrap();
    let mut client = client.move_to(one, two).await;
    assert!(client.recovered);
    assert_eq!(client.sid, id);
    let socket = two.io.of("/").socket(&id).unwrap();
    assert!(socket.recovered() && socket.rooms().iter().any(|it| **it == *"room"));
    assert_eq!(socket.data::<Value>().unwrap(), json!({ "name": "é" }));
    // Live, from both, by room and by id.
    one.io.to("room").emit("live", &1).unwrap();
    assert_eq!(client.until("live").await, [json!(["live", 1])]);
    two.io.to(&*id).emit("end", &()).unwrap();
    assert_eq!(client.until("end").await, [json!(["end"])]);
}

#[tokio::test]
async fn what_was_missed_comes_once_and_in_order() {
    let server = Server::start();
    let nodes: [Node; 2] = nodes(&server).await;
    let [one, two] = &nodes;
    let mut client = Client::connect(one).await;
    client.join("room").await;
    let id = client.sid.clone();
    let socket = one.io.of("/").socket(&id).unwrap();
    let client = client.lose(one).await;
    one.io.to("room").emit("e", &1).unwrap();
    one.io.to("elsewhere").emit("e", &"not for it").unwrap();
    settle(&nodes).await;
    two.io
        .emit("e", &(2, bytes::Bytes::from_static(b"\x00\xff")))
        .unwrap();
    two.io
        .to("room")
        .except(&*id)
        .emit("e", &"not for it")
        .unwrap();
    settle(&nodes).await;
    socket.emit("e", &3).unwrap();
    one.io.volatile().emit("e", &"too late").unwrap();
    settle(&nodes).await;
    let mut client = Client::with(two, Some(client)).await;
    assert!(client.recovered);
    two.io.emit("end", &()).unwrap();
    let events = client.until("end").await;
    assert_eq!(
        Value::from(events),
        json!([
            ["e", 1],
            ["e", 2, { "_placeholder": true, "num": 0 }, { "bytes": [0, 255] }],
            ["e", 3],
            ["end"],
        ])
    );
}

#[tokio::test]
async fn a_client_may_move_again_and_again() {
    let server = Server::start();
    let nodes: [Node; 3] = nodes(&server).await;
    let mut client = Client::connect(&nodes[0]).await;
    client.join("room").await;
    let id = client.sid.clone();
    for turn in 0..12 {
        let (from, to) = (&nodes[turn % 3], &nodes[(turn + 1) % 3]);
        // Every other time nothing comes.
        if turn % 2 == 0 {
            from.io.to("room").emit("before", &turn).unwrap();
            client.until("before").await;
        }
        client = client.lose(from).await;
        if turn % 3 == 0 {
            for node in &nodes {
                node.io.to("room").emit("missed", &turn).unwrap();
            }
        }
        client = Client::with(to, Some(client)).await;
        assert!(client.recovered, "turn {turn}");
        assert_eq!(client.sid, id);
        settle(&nodes).await;
        to.io.to("room").emit("end", &turn).unwrap();
        let events = client.until("end").await;
        let expected = if turn % 3 == 0 { 3 } else { 0 };
        assert_eq!(events.len(), expected + 1, "turn {turn}: {events:?}");
    }
}

#[tokio::test]
async fn a_server_that_closes_hands_its_clients_over() {
    let server = Server::start();
    let nodes: [Node; 2] = nodes(&server).await;
    let [one, two] = &nodes;
    let mut client = Client::connect(one).await;
    client.join("room").await;
    one.io.to("room").emit("seen", &()).unwrap();
    client.until("seen").await;
    one.io.close().await;
    two.io.to("room").emit("missed", &1).unwrap();
    settle(&nodes).await;
    let mut client = Client::with(two, Some(client)).await;
    assert!(client.recovered);
    two.io.emit("end", &()).unwrap();
    assert_eq!(
        client.until("end").await,
        [json!(["missed", 1]), json!(["end"])]
    );
}

#[tokio::test]
async fn a_session_is_taken_once() {
    let server = Server::start();
    let nodes: [Node; 2] = nodes(&server).await;
    let [one, two] = &nodes;
    let mut client = Client::connect(one).await;
    client.join("room").await;
    let (pid, offset) = (client.pid.clone(), client.offset.clone());
    let client = client.lose(one).await;
    let client = Client::with(two, Some(client)).await;
    assert!(client.recovered);
    // Somebody else with what it knew.
    let mut thief = Client::connect(two).await;
    thief.pid = pid;
    thief.offset = offset;
    let thief = thief.move_to(two, one).await;
    assert!(!thief.recovered);
}

#[tokio::test]
async fn nonsense_begins_anew() {
    let server = Server::start();
    let nodes: [Node; 2] = nodes(&server).await;
    let [one, two] = &nodes;
    for (pid, offset) in [
        (None, Some("1-1")),
        (None, Some("x.y.z")),
        (None, Some("00000000.1.99999999999999-0")),
        (
            None,
            Some("00000000.18446744073709551615.0-18446744073709551615"),
        ),
        (Some("nobody"), Some("0-0")),
        (Some(""), None),
    ] {
        let mut client = Client::connect(one).await;
        client.join("room").await;
        let mut client = client.lose(one).await;
        if let Some(pid) = pid {
            client.pid = pid.into();
        }
        client.offset = offset.map(Into::into);
        let client = Client::with(two, Some(client)).await;
        // What the client says of another server is older than its session: it has missed nothing.
        assert_eq!(client.recovered, pid.is_none(), "{offset:?}");
    }
}

#[tokio::test]
async fn without_redis_a_client_comes_back_to_its_own_server() {
    let mut server = Server::start();
    let nodes: [Node; 2] = nodes(&server).await;
    let [one, two] = &nodes;
    let mut stays = Client::connect(one).await;
    stays.join("room").await;
    let mut moves = Client::connect(one).await;
    moves.join("room").await;
    server.kill();
    for node in &nodes {
        while node.redis.stats().connected {
            sleep(Duration::from_millis(5)).await;
        }
    }
    let stays = stays.lose(one).await;
    let moves = moves.lose(one).await;
    one.io.to("room").emit("missed", &1).unwrap();
    let begun = Instant::now();
    let mut stays = Client::with(one, Some(stays)).await;
    assert!(stays.recovered);
    stays.until("missed").await;
    assert!(!Client::with(two, Some(moves)).await.recovered);
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "{:?}",
        begun.elapsed()
    );
}

/// Two servers send all the time, and clients move between them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_whatever_happens_at_the_same_time() {
    let server = Server::start();
    let nodes: Arc<[Node; 2]> = Arc::new(nodes(&server).await);
    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = Client::connect(&nodes[0]).await;
        client.join("room").await;
        clients.push(client);
    }
    let mut senders = Vec::new();
    for sender in 0..4_usize {
        let (nodes, stop) = (nodes.clone(), stop.clone());
        senders.push(tokio::spawn(async move {
            let mut sent = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                nodes[sender % 2]
                    .io
                    .to("room")
                    .emit("n", &(sender, sent))
                    .unwrap();
                sent += 1;
                sleep(Duration::from_millis(2)).await;
            }
            sent
        }));
    }
    let mut movers = Vec::new();
    for (index, mut client) in clients.into_iter().enumerate() {
        let nodes = nodes.clone();
        movers.push(tokio::spawn(async move {
            let mut at = 0;
            for turn in 0..25_usize {
                let until = Instant::now() + Duration::from_millis(7 * ((turn + index) % 5) as u64);
                while Instant::now() < until {
                    client.packet().await;
                }
                let to = (turn * 7 + index) / 3 % 2;
                client = client.lose(&nodes[at]).await;
                if turn % 4 == 0 {
                    sleep(Duration::from_millis(10)).await;
                }
                client = Client::with(&nodes[to], Some(client)).await;
                assert!(client.recovered, "client {index}, turn {turn}");
                at = to;
            }
            client
        }));
    }
    let mut clients = Vec::new();
    for mover in movers {
        clients.push(mover.await.unwrap());
    }
    stop.store(true, Ordering::Relaxed);
    let mut sent = Vec::new();
    for sender in senders {
        sent.push(sender.await.unwrap());
    }
    settle(&nodes[..]).await;
    nodes[0].io.to("room").emit("end", &()).unwrap();
    for (index, mut client) in clients.into_iter().enumerate() {
        let events = client.until("end").await;
        for (sender, sent) in sent.iter().enumerate() {
            let of_sender = events.iter().filter(|it| it[0] == "n" && it[1] == sender);
            let numbers: Vec<_> = of_sender.map(|it| it[2].as_u64().unwrap()).collect();
            let expected: Vec<_> = (0..*sent).collect();
            assert_eq!(numbers, expected, "client {index}, sender {sender}");
        }
    }
}

#[tokio::test]
async fn what_has_changed_elsewhere_is_not_forgotten() {
    let server = Server::start();
    let nodes: [Node; 2] = nodes(&server).await;
    let [one, two] = &nodes;
    let mut client = Client::connect(one).await;
    client.join("admin").await;
    let id = client.sid.clone();
    // To the second, which says nothing to it, and back.
    let client = client.move_to(one, two).await;
    assert!(client.recovered);
    let socket = two.io.of("/").socket(&id).unwrap();
    socket.leave("admin");
    socket.join("other");
    let client = client.lose(two).await;
    two.io.to("other").emit("missed", &1).unwrap();
    two.io.to("admin").emit("missed", &"not for it").unwrap();
    settle(&nodes).await;
    let mut client = Client::with(one, Some(client)).await;
    assert!(client.recovered);
    let rooms = one.io.of("/").socket(&id).unwrap().rooms();
    assert!(rooms.iter().any(|it| **it == *"other") && !rooms.iter().any(|it| **it == *"admin"));
    one.io.emit("end", &()).unwrap();
    assert_eq!(
        client.until("end").await,
        [json!(["missed", 1]), json!(["end"])]
    );
}

#[tokio::test]
async fn nothing_comes_from_before_the_session() {
    let server = Server::start();
    let nodes: [Node; 2] = nodes(&server).await;
    let [one, two] = &nodes;
    let mut early = Client::connect(one).await;
    early.join("room").await;
    one.io.to("room").emit("early", &()).unwrap();
    early.until("early").await;
    settle(&nodes).await;
    // An offset of its server, made up or of an earlier session.
    let prefix = early.offset.as_deref().unwrap().split('.').next().unwrap();
    for offset in [format!("{prefix}.0.0-0"), early.offset.clone().unwrap()] {
        let mut late = Client::connect(one).await;
        late.join("room").await;
        late.offset = Some(offset);
        let mut late = late.move_to(one, two).await;
        assert!(late.recovered);
        two.io.emit("end", &()).unwrap();
        let events = late.until("end").await;
        assert!(events.iter().all(|it| it[0] != "early"), "{events:?}");
    }
}

/// The client is gone again before all that it has missed has come to it.
#[tokio::test]
async fn what_was_missed_and_came_in_part_goes_on_elsewhere() {
    let server = Server::start();
    let nodes: [Node; 2] = nodes(&server).await;
    let [one, two] = &nodes;
    for (knows_what_came, back_at) in [(true, one), (true, two), (false, one), (false, two)] {
        let mut client = Client::connect(one).await;
        client.join("room").await;
        one.io.to("room").emit("first", &()).unwrap();
        client.until("first").await;
        let (sid, pid) = (client.sid.clone(), client.pid.clone());
        let client = client.lose(one).await;
        for number in 0..5 {
            for (sender, node) in nodes.iter().enumerate() {
                node.io.to("room").emit("n", &(sender, number)).unwrap();
            }
            settle(&nodes).await;
        }
        let offset = client.offset.clone();
        let mut client = Client::arrive(two, Some(client)).await;
        for _ in 0..4 {
            client.packet().await;
        }
        assert_eq!(client.events.len(), 4);
        if !knows_what_came {
            // As the official client, which looks at events when it is connected.
            (client.events, client.offset) = (Vec::new(), offset);
        }
        client.sid = sid;
        let client = client.lose(two).await;
        let mut client = Client::with(back_at, Some(client)).await;
        assert_eq!((client.recovered, &client.pid), (true, &pid));
        back_at.io.to("room").emit("end", &()).unwrap();
        let events = client.until("end").await;
        assert_eq!(events.len(), 11, "{knows_what_came} {events:?}");
        for sender in 0..2 {
            let of_sender = events.iter().filter(|it| it[0] == "n" && it[1] == sender);
            let numbers: Vec<_> = of_sender.map(|it| it[2].as_u64().unwrap()).collect();
            assert_eq!(numbers, [0, 1, 2, 3, 4]);
        }
        client.lose(back_at).await;
    }
}

/// Each reads the stream; a server that has died leaves many.
#[tokio::test]
async fn many_come_at_once() {
    let server = Server::start();
    let nodes: Arc<[Node; 2]> = Arc::new(nodes(&server).await);
    let [one, two] = &*nodes;
    let mut clients = Vec::new();
    for _ in 0..100 {
        let mut client = Client::connect(one).await;
        client.join("room").await;
        clients.push(client);
    }
    one.io.close().await;
    for number in 0..100 {
        two.io.to("room").emit("n", &number).unwrap();
    }
    settle(&nodes[..]).await;
    let mut come = JoinSet::new();
    for client in clients {
        let nodes = nodes.clone();
        come.spawn(async move { Client::with(&nodes[1], Some(client)).await });
    }
    let clients = come.join_all().await;
    two.io.to("room").emit("end", &()).unwrap();
    for mut client in clients {
        assert!(client.recovered);
        let events = client.until("end").await;
        assert!((0..100).eq(events[..100].iter().map(|it| it[1].as_u64().unwrap())));
    }
}

/// What one client may have missed has a bound, and all together have it.
#[tokio::test]
async fn too_much_to_be_kept_begins_anew() {
    let server = Server::start();
    let stream = unique();
    let recovery = ConnectionStateRecovery::new().max_bytes(800_000);
    let one = node(&server, &stream).await;
    let two = node_with(&server, &stream, recovery).await;
    let nodes = [one, two];
    know_each_other(&nodes).await;
    let [one, two] = &nodes;
    for (events, recovered) in [(10, true), (40, false), (10, true)] {
        let mut client = Client::connect(one).await;
        client.join("room").await;
        let client = client.lose(one).await;
        for number in 0..events {
            let event = (number, "x".repeat(5_000));
            one.io.to("room").emit("n", &event).unwrap();
        }
        settle(&nodes).await;
        let client = Client::with(two, Some(client)).await;
        assert_eq!(client.recovered, recovered);
        assert_eq!(client.events.len(), if recovered { events } else { 0 });
    }
}

#[tokio::test]
async fn a_client_that_is_refused_may_try_again_as_long_as_before() {
    let server = Server::start();
    let stream = unique();
    let keep = Duration::from_secs(20);
    let recovery = ConnectionStateRecovery::new().max_disconnection_duration(keep);
    let one = node_with(&server, &stream, recovery).await;
    let two = node_with(&server, &stream, recovery.skip_middlewares(false)).await;
    let refuses = Arc::new(AtomicBool::new(true));
    let asked = refuses.clone();
    two.io.middleware(move |_: Socket| {
        let refuses = asked.load(Ordering::Relaxed);
        async move {
            match refuses {
                true => Err(socketio::ConnectError::new("not now")),
                false => Ok(()),
            }
        }
    });
    let nodes = [one, two];
    know_each_other(&nodes).await;
    let [one, two] = &nodes;
    let mut client = Client::connect(one).await;
    client.join("room").await;
    let key = format!("{stream}:{}", client.pid);
    let client = client.lose(one).await;
    sleep(Duration::from_secs(1)).await;
    let left = || {
        server
            .command(&["pttl", &key])
            .trim()
            .parse::<i64>()
            .unwrap()
    };
    let before = left();
    assert!((1..=19_000).contains(&before), "{before}");
    let mut client = Client::arrive(two, Some(client)).await;
    assert!(client.ws.recv_text().await.starts_with("44"));
    while left() < 0 {
        sleep(Duration::from_millis(5)).await;
    }
    assert!(left() <= before, "{} after {before}", left());
    refuses.store(false, Ordering::Relaxed);
    let client = Client::with(two, Some(client)).await;
    assert!(client.recovered);
}

/// Redis could not be asked, but still has it when it can.
#[tokio::test]
async fn who_is_back_without_redis_is_nowhere_else() {
    let server = Server::start();
    let nodes: [Node; 2] = nodes(&server).await;
    let [one, two] = &nodes;
    let mut client = Client::connect(one).await;
    client.join("room").await;
    let client = client.lose(one).await;
    settle(&nodes).await;
    let (pid, offset) = (client.pid.clone(), client.offset.clone());
    server.command(&["acl", "setuser", "default", "-eval"]);
    let client = Client::with(one, Some(client)).await;
    assert!(client.recovered);
    server.command(&["acl", "setuser", "default", "+eval"]);
    settle(&nodes).await;
    let mut thief = Client::connect(two).await;
    (thief.pid, thief.offset) = (pid, offset);
    assert!(!Client::with(two, Some(thief)).await.recovered);
}

/// Sends something itself each time that it is written, so others are always faster.
struct Restless(SocketIo);

impl serde::Serialize for Restless {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.emit("from inside", &()).unwrap();
        serializer.serialize_str("restless")
    }
}

/// A deadlock would hold this thread, so another one is asked.
#[test]
fn a_value_may_send_while_it_is_written() {
    let (done, is_done) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let server = Server::start();
            let node = node(&server, &unique()).await;
            let mut client = Client::connect(&node).await;
            client.join("room").await;
            let value = Restless(node.io.clone());
            node.io.to("room").emit("value", &value).unwrap();
            assert_eq!(client.until("value").await.pop().unwrap()[1], "restless");
        });
        done.send(()).unwrap();
    });
    is_done.recv_timeout(Duration::from_secs(20)).unwrap();
}

/// The stream has been cut: whoever has missed something of it begins anew, and the others do not.
#[tokio::test]
async fn what_redis_keeps_no_longer_is_missed_by_nobody() {
    let server = Server::start();
    let nodes: [Node; 2] = nodes(&server).await;
    let [one, two] = &nodes;
    let mut late = Client::connect(one).await;
    late.join("room").await;
    let late = late.lose(one).await;
    let mut watcher = Client::connect(one).await;
    watcher.join("room").await;
    // Redis drops whole blocks of a hundred entries.
    for number in 0..11_000 {
        two.io.to("room").emit("n", &number).unwrap();
    }
    two.io.to("room").emit("all", &()).unwrap();
    watcher.until("all").await;
    let mut early = Client::connect(one).await;
    early.join("room").await;
    let early = early.lose(one).await;
    two.io.to("room").emit("n", &"missed").unwrap();
    settle(&nodes).await;
    let late = Client::with(two, Some(late)).await;
    assert!(!late.recovered && late.events.is_empty());
    let early = Client::with(two, Some(early)).await;
    assert!(early.recovered);
    assert!(early.events == [json!(["n", "missed"])]);
}

/// Whoever breaks off while Redis is asked does not take its session along.
#[tokio::test]
async fn who_breaks_off_and_comes_again_is_what_it_was() {
    let server = Server::start();
    let nodes: [Node; 2] = nodes(&server).await;
    let [one, two] = &nodes;
    for at in [one, two] {
        let mut client = Client::connect(one).await;
        client.join("room").await;
        let client = client.lose(one).await;
        settle(&nodes).await;
        server.command(&["client", "pause", "1000"]);
        let first = Client::arrive(at, Some(client)).await;
        sleep(Duration::from_millis(300)).await;
        let (pid, offset) = (first.pid.clone(), first.offset.clone());
        drop(first);
        sleep(Duration::from_millis(1_200)).await;
        let mut again = Client::connect(two).await;
        (again.pid, again.offset) = (pid, offset);
        assert!(Client::with(at, Some(again)).await.recovered);
    }
}

/// What they have missed is more than Redis lets wait for a connection, and for one that subscribes
/// it cuts that.
#[tokio::test]
async fn many_who_have_missed_much_harm_no_connection() {
    let server = Server::start();
    let stream = unique();
    let recovery = ConnectionStateRecovery::new().max_bytes(256 * 1024 * 1024);
    let one = node_with(&server, &stream, recovery).await;
    let two = node_with(&server, &stream, recovery).await;
    let nodes = Arc::new([one, two]);
    know_each_other(&nodes[..]).await;
    let [one, two] = &*nodes;
    let mut clients = Vec::new();
    for _ in 0..8 {
        let mut client = Client::connect(one).await;
        client.join("room").await;
        clients.push(client);
    }
    one.io.close().await;
    for number in 0..100 {
        let event = (number, "x".repeat(50_000));
        two.io.to("room").emit("n", &event).unwrap();
    }
    settle(&nodes[..]).await;
    let connections = two.redis.stats().connections;
    let mut come = JoinSet::new();
    for client in clients {
        let nodes = nodes.clone();
        come.spawn(async move { Client::with(&nodes[1], Some(client)).await });
    }
    let clients = come.join_all().await;
    assert_eq!(two.redis.stats().connections, connections);
    assert!(
        clients
            .iter()
            .all(|it| it.recovered && it.events.len() == 100)
    );
}
