//! One event to many.

use bytes::Bytes;

use super::peer::{Peer, server};
use crate::{Room, Socket, SocketIo, handler::Data};

/// Three clients: the first two in the room `red`, the first one in `round` too.
async fn three(io: &SocketIo) -> [Peer; 3] {
    let mut peers = [
        Peer::open(io).await,
        Peer::open(io).await,
        Peer::open(io).await,
    ];
    for peer in &mut peers {
        peer.join("/");
    }
    peers[0].socket().join(["red", "round"]);
    peers[1].socket().join("red");
    peers
}

/// How often each client got something.
fn counts(peers: &mut [Peer; 3]) -> [usize; 3] {
    std::array::from_fn(|at| peers[at].received().len())
}

#[tokio::test]
async fn to_whom() {
    let (io, _) = server();
    let mut peers = three(&io).await;
    let [a, b, c] = std::array::from_fn(|at| peers[at].socket());
    let namespace = io.of("/");
    let (red, room) = (String::from("red"), Room::from("red"));
    let mut check = |sent: Result<(), _>, expected| {
        sent.unwrap();
        assert_eq!(counts(&mut peers), expected);
    };
    check(io.emit("e", &()), [1, 1, 1]);
    check(io.to("red").emit("e", &()), [1, 1, 0]);
    check(io.in_("round").emit("e", &()), [1, 0, 0]);
    check(io.to("red").to("round").emit("e", &()), [1, 1, 0]);
    check(io.to(["red", "round"]).emit("e", &()), [1, 1, 0]);
    check(io.to("nobody").emit("e", &()), [0, 0, 0]);
    check(io.except("round").emit("e", &()), [0, 1, 1]);
    check(io.to("red").except("round").emit("e", &()), [0, 1, 0]);
    check(io.to(c.id()).emit("e", &()), [0, 0, 1]);
    check(io.except(c.id()).except(a.id()).emit("e", &()), [0, 1, 0]);
    check(a.emit("e", &()), [1, 0, 0]);
    check(a.broadcast().emit("e", &()), [0, 1, 1]);
    check(a.to("red").emit("e", &()), [0, 1, 0]);
    check(c.to("red").emit("e", &()), [1, 1, 0]);
    check(c.in_(vec!["red"]).except("round").emit("e", &()), [0, 1, 0]);
    check(b.except(&["round"][..]).emit("e", &()), [0, 0, 1]);
    check(namespace.to(red.clone()).emit("e", &()), [1, 1, 0]);
    check(namespace.in_(&red).emit("e", &()), [1, 1, 0]);
    check(namespace.except(&room).emit("e", &()), [0, 0, 1]);
    a.leave("red");
    check(io.to("red").emit("e", &()), [0, 1, 0]);
    b.disconnect();
    check(io.to("red").emit("e", &()), [0, 1, 0]);
}

#[tokio::test]
async fn rooms_may_stand_in_sets() {
    use std::collections::{BTreeSet, HashSet};

    let (io, _) = server();
    let mut peers = three(&io).await;
    let hashed = HashSet::from(["red", "round"]);
    let sorted = BTreeSet::from([String::from("red"), String::from("nobody")]);
    io.to(&hashed).except(&sorted).emit("e", &()).unwrap();
    assert_eq!(counts(&mut peers), [0, 0, 0]);
    io.to(hashed).emit("e", &()).unwrap();
    io.except(sorted).emit("e", &()).unwrap();
    assert_eq!(counts(&mut peers), [1, 1, 1]);
}

#[tokio::test]
async fn operators_do_not_change_each_other() {
    let (io, _) = server();
    let mut peers = three(&io).await;
    let red = io.to("red");
    let rest = red.clone().except("round");
    let both = red.clone().to(peers[2].socket().id());
    red.emit("e", &()).unwrap();
    assert_eq!(counts(&mut peers), [1, 1, 0]);
    rest.emit("e", &()).unwrap();
    assert_eq!(counts(&mut peers), [0, 1, 0]);
    both.emit("e", &()).unwrap();
    assert_eq!(counts(&mut peers), [1, 1, 1]);
}

#[tokio::test]
async fn namespaces_do_not_hear_each_other() {
    let (io, _) = server();
    let other = io.of("/other");
    let mut peer = Peer::connect(&io).await;
    let id = peer.join("/other");
    other.socket(&id).unwrap().join("red");
    io.to("red").emit("e", &1).unwrap();
    other.to("red").emit("e", &2).unwrap();
    assert_eq!(peer.received(), [r#"2/other,["e",2]"#]);
}

#[tokio::test]
async fn an_event_is_encoded_once() {
    let (io, _) = server();
    let mut peers = three(&io).await;
    let mut old = Peer::open_old(&io, "").await;
    old.received();
    io.emit("e", &("é", Bytes::from_static(&[1]))).unwrap();
    let mut places: Vec<_> = peers
        .iter_mut()
        .chain([&mut old])
        .map(|peer| peer.session.take_sent().remove(0))
        .map(|message| message.wire_text().unwrap().as_ptr())
        .collect();
    places.dedup();
    assert_eq!(places.len(), 1);
}

#[tokio::test]
async fn events_of_one_task_keep_their_order() {
    let (io, _) = server();
    io.on(
        "go",
        async |io: SocketIo, socket: Socket, Data(n): Data<u8>| {
            socket.emit("a", &n)?;
            io.emit("b", &n)?;
            io.to(socket.id()).emit("c", &n)?;
            socket.emit("d", &n)
        },
    );
    let mut peer = Peer::connect(&io).await;
    peer.send(r#"2["go",1]"#);
    assert_eq!(
        peer.received(),
        [r#"2["a",1]"#, r#"2["b",1]"#, r#"2["c",1]"#, r#"2["d",1]"#]
    );
}

#[tokio::test]
async fn volatile_events_need_a_connection_that_can_take_them() {
    // A detached session never can; that one that can gets them is a matter of the wire tests.
    let (io, _) = server();
    let mut peer = Peer::connect(&io).await;
    let socket = peer.socket();
    assert_eq!(socket.volatile().emit("e", &()), Ok(false));
    io.volatile().emit("e", &()).unwrap();
    io.to(socket.id()).volatile().emit("e", &()).unwrap();
    assert!(peer.received().is_empty());
}
