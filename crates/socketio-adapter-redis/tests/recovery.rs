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
use tokio::{net::TcpListener, task::JoinHandle, time::sleep};

/// A server on a port of its own.
struct Node {
    io: SocketIo,
    redis: Redis,
    addr: SocketAddr,
    task: JoinHandle<()>,
}

async fn node(server: &Server, stream: &str) -> Node {
    let redis = connect(server);
    redis.connected().await;
    let adapter = StreamsAdapter::builder()
        .stream_name(stream)
        .channel_prefix(stream)
        .session_key_prefix(&format!("{stream}:"))
        .build(redis.clone());
    let io = SocketIo::builder()
        .adapter(adapter)
        .connection_state_recovery(ConnectionStateRecovery::new())
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
    let begun = Instant::now();
    for node in &nodes {
        while node.io.of("/").server_count().await.ok() != Some(N) {
            sleep(Duration::from_millis(5)).await;
            assert!(begun.elapsed() < Duration::from_secs(20), "no cluster");
        }
    }
    nodes.try_into().ok().unwrap()
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
        let mut ws = Ws::connect(at.addr, "/socket.io/?EIO=4&transport=websocket").await;
        assert!(ws.recv_text().await.starts_with('0'));
        let (mut auth, mut events, mut offset) = (json!({}), Vec::new(), None);
        let mut old = None;
        if let Some(before) = before {
            auth = json!({ "pid": before.pid });
            if let Some(offset) = &before.offset {
                auth["offset"] = offset.as_str().into();
            }
            (events, offset, old) = (before.events, before.offset, Some(before.pid));
        }
        ws.text(&format!("40{auth}")).await;
        let mut client = Self {
            ws,
            sid: String::new(),
            pid: String::new(),
            offset,
            recovered: false,
            events,
        };
        while client.sid.is_empty() {
            client.packet().await;
        }
        client.recovered = old.is_some_and(|old| old == client.pid);
        client
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
