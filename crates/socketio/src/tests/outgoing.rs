//! Listening to what is sent.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use serde::{Serialize, Serializer};

use super::peer::{Log, Peer, server};
use crate::{OutgoingEvent, Socket, handler::State};

/// Writes down what it is told, with a name for the socket.
fn listener(log: &Log, prefix: &'static str) -> impl Fn(&Socket, &OutgoingEvent<'_>) + use<> {
    let log = log.clone();
    move |_, event| {
        let args = event.args();
        let bytes = args.attachments().len();
        log.push(format!("{prefix} {} {} {bytes}", event.name(), args.json()));
    }
}

#[tokio::test]
async fn what_a_socket_is_sent_is_told() {
    let (io, log) = server();
    let peer = Peer::connect(&io).await;
    let socket = peer.socket();
    io.of("/").on_any_outgoing(listener(&log, "all"));
    socket.on_any_outgoing(listener(&log, "own"));
    socket.emit("e", &(1, "x")).unwrap();
    assert_eq!(log.take(), [r#"all e 1,"x" 0"#, r#"own e 1,"x" 0"#]);
    drop(socket.emit_with_ack::<u8>("ask", &()));
    assert_eq!(log.take(), ["all ask  0", "own ask  0"]);
    socket.emit("b", &Bytes::from_static(&[1])).unwrap();
    let placeholder = r#"{"_placeholder":true,"num":0}"#;
    assert_eq!(log.take()[1], format!("own b {placeholder} 1"));
}

#[tokio::test]
async fn a_broadcast_is_told_once_for_each_socket_that_it_reaches() {
    let (io, log) = server();
    let peers = [
        Peer::connect(&io).await,
        Peer::connect(&io).await,
        Peer::connect(&io).await,
    ];
    let [a, b, c] = peers.each_ref().map(Peer::socket);
    a.join(["x", "y"]);
    b.join("y");
    a.on_any_outgoing(listener(&log, "a"));
    c.on_any_outgoing(listener(&log, "c"));
    io.to(["x", "y"]).emit("e", &1).unwrap();
    assert_eq!(log.take(), ["a e 1 0"]);
    a.broadcast().emit("e", &2).unwrap();
    assert_eq!(log.take(), ["c e 2 0"]);
    io.of("/").on_any_outgoing(listener(&log, "all"));
    io.emit("e", &3).unwrap();
    let mut lines = log.take();
    lines.sort();
    assert_eq!(
        lines,
        ["a e 3 0", "all e 3 0", "all e 3 0", "all e 3 0", "c e 3 0"]
    );
    drop(b);
}

#[tokio::test]
async fn what_is_not_sent_is_not_told() {
    let (io, log) = server();
    io.of("/").on_any_outgoing(listener(&log, "all"));
    io.on("ask", async || 1);
    let mut peer = Peer::connect(&io).await;
    let socket = peer.socket();
    // acknowledgements are no events
    peer.send(r#"21["ask"]"#);
    assert_eq!(peer.received_one(), "31[1]");
    // a detached session can never take anything at once
    socket.volatile().emit("e", &()).unwrap();
    io.volatile().emit("e", &()).unwrap();
    socket.emit("connect", &()).unwrap_err();
    peer.send("1");
    socket.emit("e", &()).unwrap();
    drop(socket.emit_with_ack::<u8>("e", &()));
    io.of("/other").emit("e", &()).unwrap();
    assert!(log.take().is_empty());
}

#[tokio::test]
async fn listeners_are_put_in_front_counted_and_removed() {
    let (io, log) = server();
    let main = io.of("/");
    let mut peer = Peer::connect(&io).await;
    let socket = peer.socket();
    let counts = || {
        (
            main.listeners_any_outgoing(),
            socket.listeners_any_outgoing(),
        )
    };
    assert_eq!(counts(), (0, 0));
    assert!(!main.has_outgoing_listeners());
    main.on_any_outgoing(listener(&log, "2"));
    let first = main.prepend_any_outgoing(listener(&log, "1"));
    socket.on_any_outgoing(listener(&log, "4"));
    let third = socket.prepend_any_outgoing(listener(&log, "3"));
    assert_eq!(counts(), (2, 2));
    socket.emit("e", &()).unwrap();
    assert_eq!(log.take(), ["1 e  0", "2 e  0", "3 e  0", "4 e  0"]);
    assert!(main.off(first) && socket.off(third));
    socket.emit("e", &()).unwrap();
    assert_eq!(log.take(), ["2 e  0", "4 e  0"]);
    main.off_any_outgoing();
    assert!(main.has_outgoing_listeners());
    socket.off_any_outgoing();
    assert_eq!(counts(), (0, 0));
    assert!(!main.has_outgoing_listeners());
    socket.emit("e", &()).unwrap();
    assert!(log.take().is_empty());

    socket.on_any_outgoing(listener(&log, "last"));
    assert!(main.has_outgoing_listeners());
    peer.send("1");
    assert!(!main.has_outgoing_listeners(), "it went with the socket");
}

/// Counts how often it is written.
struct Counted(Arc<AtomicUsize>);

impl Serialize for Counted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.fetch_add(1, Ordering::SeqCst);
        serializer.serialize_u8(1)
    }
}

#[tokio::test]
async fn arguments_are_made_for_listeners_only_and_once() {
    let (io, log) = server();
    let (one, two) = (Peer::connect(&io).await, Peer::connect(&io).await);
    let count = Arc::new(AtomicUsize::new(0));
    let args = Counted(count.clone());
    io.emit("e", &args).unwrap();
    one.socket().emit("e", &args).unwrap();
    assert_eq!(count.swap(0, Ordering::SeqCst), 2);
    one.socket().on_any_outgoing(listener(&log, "one"));
    two.socket().emit("e", &args).unwrap();
    assert_eq!(count.swap(0, Ordering::SeqCst), 1, "nobody listens there");
    io.of("/").on_any_outgoing(listener(&log, "all"));
    io.emit("e", &args).unwrap();
    assert_eq!(count.swap(0, Ordering::SeqCst), 2, "for all listeners once");
}

#[tokio::test]
async fn listeners_are_called_outside_of_locks() {
    let (io, log) = server();
    let told = log.clone();
    let server = io.clone();
    io.of("/").on_any_outgoing(move |socket, event| {
        told.push(event.name());
        if event.name() == "e" {
            // whatever needs the registry, or the table that this stands in
            socket.join("heard");
            server.to("heard").emit("echo", event.args()).unwrap();
            socket.on("later", async |State(log): State<Log>| log.push("later"));
            let main = server.of("/");
            main.off(main.on_any_outgoing(|_, _| {}));
        }
    });
    let mut peer = Peer::connect(&io).await;
    io.emit("e", &1).unwrap();
    assert_eq!(log.take(), ["e", "echo"]);
    assert_eq!(peer.received(), [r#"2["e",1]"#, r#"2["echo",1]"#]);
    peer.send(r#"2["later"]"#);
    assert_eq!(log.take(), ["later"]);
}

#[tokio::test]
async fn a_listener_that_panics_harms_nobody() {
    let (io, log) = server();
    io.of("/")
        .on_any_outgoing(|_, event| panic!("no {}", event.name()));
    io.of("/").on_any_outgoing(listener(&log, "next"));
    let mut peer = Peer::connect(&io).await;
    io.emit("e", &()).unwrap();
    assert_eq!(log.take(), ["error `e`: panicked: no e", "next e  0"]);
    assert_eq!(peer.received_one(), r#"2["e"]"#);
}

#[tokio::test]
async fn a_parent_listens_to_what_its_children_are_sent() {
    let (io, log) = server();
    let parent = io.of_dynamic("/room/{id}");
    parent.on_any_outgoing(listener(&log, "before"));
    let mut peer = Peer::open(&io).await;
    peer.join("/room/1");
    io.of("/room/1").emit("e", &1).unwrap();
    assert_eq!(log.take(), ["before e 1 0"]);
    parent.on_any_outgoing(listener(&log, "later"));
    parent.emit("e", &2).unwrap();
    assert_eq!(log.take(), ["before e 2 0", "later e 2 0"]);
}
