//! Handlers that are removed, and those that are called once.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::peer::{Log, Peer, server, server_with};
use crate::{
    DisconnectReason, Socket,
    handler::{Data, State},
};

async fn note(State(log): State<Log>, Data(text): Data<String>) {
    log.push(text);
}

#[tokio::test]
async fn a_handler_of_a_namespace_is_removed_alone() {
    let (io, log) = server();
    let main = io.of("/");
    let first = main.add_handler("e", async |State(log): State<Log>| log.push("first"));
    main.on("e", async |State(log): State<Log>| log.push("second"));
    let mut peer = Peer::connect(&io).await;
    assert!(main.off(first));
    assert!(!main.off(first), "it was there once");
    peer.send(r#"2["e"]"#);
    assert_eq!(log.take(), ["second"]);
}

#[tokio::test]
async fn a_handler_of_a_socket_is_removed_alone() {
    let (io, log) = server();
    let mut peer = Peer::connect(&io).await;
    let mut other = Peer::connect(&io).await;
    let ids = [&peer, &other].map(|it| it.socket().add_handler("note", note));
    assert!(!other.socket().off(ids[0]), "it belongs to another socket");
    assert!(!io.of("/").off(ids[0]), "it belongs to a socket");
    assert!(peer.socket().off(ids[0]));
    peer.send(r#"2["note","one"]"#);
    other.send(r#"2["note","two"]"#);
    assert_eq!(log.take(), ["two"]);
}

#[tokio::test]
async fn all_handlers_for_an_event_are_removed() {
    let (io, log) = server();
    io.on("a", async |State(log): State<Log>| log.push("a"))
        .on("a", async |State(log): State<Log>| log.push("a"))
        .on("b", async |State(log): State<Log>| log.push("b"));
    let mut peer = Peer::connect(&io).await;
    let socket = peer.socket();
    for name in ["a", "b"] {
        socket.on(name, async |State(log): State<Log>| log.push("own"));
    }
    io.of("/").off_event("a");
    io.of("/").off_event("nothing");
    peer.send(r#"2["a"]"#);
    peer.send(r#"2["b"]"#);
    assert_eq!(log.take(), ["own", "b", "own"]);
    socket.off_event("b");
    peer.send(r#"2["a"]"#);
    peer.send(r#"2["b"]"#);
    assert_eq!(log.take(), ["own", "b"]);
    socket.off_all();
    io.of("/").off_all();
    peer.send(r#"2["a"]"#);
    peer.send(r#"2["b"]"#);
    assert!(log.take().is_empty());
    peer.send("1");
    Peer::connect(&io).await.socket().off_all();
}

#[tokio::test]
async fn removing_events_keeps_disconnection_handlers() {
    let (io, log) = server();
    let mut peer = Peer::connect(&io).await;
    let socket = peer.socket();
    socket.on_disconnect(async |State(log): State<Log>| log.push("own"));
    io.on_disconnect(async |State(log): State<Log>| log.push("all"));
    socket.off_all();
    io.of("/").off_all();
    peer.send("1");
    assert_eq!(log.take(), ["all", "own"]);
}

#[tokio::test]
async fn a_handler_for_once_is_called_once() {
    let (io, log) = server();
    io.on_connection(async |socket: Socket| {
        socket.once("note", note);
        socket.once("n", async |Data(n): Data<u8>| n);
    });
    let (mut one, mut two) = (Peer::connect(&io).await, Peer::connect(&io).await);
    one.send(r#"2["note","1"]"#);
    one.send(r#"2["note","2"]"#);
    two.send(r#"2["note","3"]"#);
    assert_eq!(log.take(), ["1", "3"]);
    one.send(r#"2["n","wrong"]"#);
    assert_eq!(log.take().len(), 1);
    one.send(r#"21["n",1]"#);
    assert!(one.received().is_empty(), "it was used up");
    two.send(r#"21["n",1]"#);
    assert_eq!(two.received_one(), "31[1]");
}

#[tokio::test]
async fn a_handler_for_once_can_be_removed_before() {
    let (io, log) = server();
    let mut peer = Peer::connect(&io).await;
    let socket = peer.socket();
    let id = socket.once("note", note);
    socket.off(id);
    peer.send(r#"2["note","1"]"#);
    assert!(log.take().is_empty());
}

#[tokio::test]
async fn a_handler_can_remove_itself() {
    let (io, log) = server();
    let mut peer = Peer::connect(&io).await;
    let socket = peer.socket();
    socket.on("e", async |socket: Socket, State(log): State<Log>| {
        log.push("e");
        socket.off_event("e");
    });
    socket.on("e", async |State(log): State<Log>| {
        log.push("the same event still reaches the others");
    });
    peer.send(r#"2["e"]"#);
    peer.send(r#"2["e"]"#);
    assert_eq!(log.take(), ["e", "the same event still reaches the others"]);
}

#[tokio::test]
async fn what_a_removed_handler_holds_is_freed() {
    let (io, _) = server();
    let mut peer = Peer::connect(&io).await;
    let value = Arc::new(());
    let held = Arc::downgrade(&value);
    let handler = |value: Arc<()>| {
        move || {
            let _ = &value;
            async {}
        }
    };
    let (main, socket) = (io.of("/"), peer.socket());
    let ids = [
        main.add_handler("e", handler(value.clone())),
        socket.add_handler("e", handler(value.clone())),
        socket.once("e", handler(value)),
    ];
    peer.send(r#"2["e"]"#);
    assert_eq!(held.strong_count(), 2);
    main.off(ids[0]);
    socket.off(ids[1]);
    peer.send(r#"2["e"]"#);
    assert_eq!(held.strong_count(), 0);
}

#[tokio::test]
async fn idle_connections_do_not_keep_what_was_removed() {
    let (io, _) = server();
    let held = Arc::new(());
    let holds = held.clone();
    let id = io.add_handler("e", move || {
        let _ = &holds;
        async {}
    });
    let mut idle = Peer::connect(&io).await;
    idle.send(r#"2["e"]"#);
    assert!(io.off(id));
    idle.heartbeat();
    assert_eq!(Arc::strong_count(&held), 1);
}

#[tokio::test]
async fn a_disconnection_handler_of_a_socket_comes_after_its_events() {
    let (io, log) = server_with(|builder| builder.max_in_flight(1));
    let gate = Arc::new(Semaphore::new(0));
    let mut peer = Peer::connect(&io).await;
    let socket = peer.socket();
    let key = gate.clone();
    socket.on("wait", move || {
        let gate = key.clone();
        async move { gate.acquire_owned().await.unwrap().forget() }
    });
    socket.on("late", async |socket: Socket| {
        // must not cost the others their turn
        socket.on("later", async || {});
    });
    socket.on("note", note);
    socket.on_disconnect(async |State(log): State<Log>, reason: DisconnectReason| log.push(reason));
    let removed = socket.on_disconnect(async |State(log): State<Log>| log.push("removed"));
    socket.off(removed);
    for packet in [r#"2["wait"]"#, r#"2["late"]"#, r#"2["note","1"]"#, "1"] {
        peer.send(packet);
    }
    assert!(!socket.connected());
    gate.add_permits(1);
    peer.settle().await;
    assert_eq!(log.take(), ["1", "client namespace disconnect"]);
}

#[tokio::test]
async fn a_disconnection_handler_that_a_connection_handler_adds_late_is_called() {
    let (io, log) = server();
    let gate = Arc::new(Semaphore::new(0));
    let key = gate.clone();
    io.on_connection(move |socket: Socket| {
        let gate = key.clone();
        async move {
            gate.acquire_owned().await.unwrap().forget();
            socket.on_disconnect(async |State(log): State<Log>| log.push("gone"));
        }
    });
    let mut peer = Peer::connect(&io).await;
    let socket = peer.socket();
    peer.send("1");
    gate.add_permits(1);
    peer.settle().await;
    assert_eq!(log.take(), ["gone"]);

    let value = Arc::new(());
    let held = Arc::downgrade(&value);
    let own = socket.clone();
    socket.on_disconnect(move || {
        let _ = (&value, &own);
        async {}
    });
    assert_eq!(held.strong_count(), 0, "nobody would call it any more");
}
