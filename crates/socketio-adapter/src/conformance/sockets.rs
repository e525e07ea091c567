//! What is done to the sockets of all nodes.

use serde_json::{Value, json};

use super::node::{
    LIMIT, Node, SHORT, broadcast, details, fetch_sockets, nothing_else, selection, three,
};
use crate::{Adapter, HandshakeDetails, Incomplete, Message, Selection, SocketDetails};

/// All sockets, those of a room, or one, join rooms.
pub async fn sockets_join_rooms<A: Adapter>(make: impl AsyncFn() -> A) {
    let rule = "sockets of other nodes join the rooms that they are told to";
    let [mut a, mut b, mut c] = three(make, rule).await;
    let join = |selection, rooms: &[&str]| Message::SocketsJoin {
        selection,
        rooms: rooms.iter().map(|&room| room.into()).collect(),
    };
    let all = join(Selection::all(), &["x"]);
    a.publish(&all);
    b.expect(&all, &["b1", "b2"]).await;
    c.expect(&all, &["c1", "c2"]).await;
    let some = join(selection(&["odd"], &["c1"]), &["y", "z"]);
    a.publish(&some);
    b.expect(&some, &["b1"]).await;
    c.expect(&some, &[]).await;
    let single = join(Selection::room("c2"), &["y"]);
    a.publish(&single);
    b.expect(&single, &[]).await;
    c.expect(&single, &["c2"]).await;
    check_rooms(&a, &[("a1", &["odd"]), ("a2", &["even"])]);
    check_rooms(
        &b,
        &[("b1", &["odd", "x", "y", "z"]), ("b2", &["even", "x"])],
    );
    check_rooms(&c, &[("c1", &["odd", "x"]), ("c2", &["even", "x", "y"])]);
    nothing_else([&mut a, &mut b, &mut c]).await;
}

/// All sockets, those of a room, or one, leave rooms.
pub async fn sockets_leave_rooms<A: Adapter>(make: impl AsyncFn() -> A) {
    let rule = "sockets of other nodes leave the rooms that they are told to";
    let [mut a, mut b, mut c] = three(make, rule).await;
    let rooms = |rooms: &[&str]| rooms.iter().map(|&room| room.into()).collect();
    let leave = |selection, names: &[&str]| Message::SocketsLeave {
        selection,
        rooms: rooms(names),
    };
    let join = Message::SocketsJoin {
        selection: Selection::all(),
        rooms: rooms(&["x", "y"]),
    };
    let messages = [
        join,
        leave(Selection::all(), &["x"]),
        leave(Selection::room("odd"), &["y", "odd"]),
        leave(Selection::room("c2"), &["even", "never joined"]),
    ];
    for message in &messages {
        a.publish(message);
    }
    for message in &messages {
        b.next(message).await;
        c.next(message).await;
    }
    check_rooms(&b, &[("b1", &[]), ("b2", &["even", "y"])]);
    check_rooms(&c, &[("c1", &[]), ("c2", &["y"])]);
    nothing_else([&mut a, &mut b, &mut c]).await;
}

/// Sockets of all nodes are disconnected, with their connections or without.
pub async fn sockets_are_disconnected<A: Adapter>(make: impl AsyncFn() -> A) {
    let rule = "sockets of other nodes are disconnected, and what was sent before arrives before";
    let [mut a, mut b, mut c] = three(make, rule).await;
    let disconnect = |selection, close| Message::DisconnectSockets { selection, close };
    let bye = broadcast("bye", &(), Selection::all());
    let (one, all) = (
        disconnect(Selection::room("b2"), false),
        disconnect(Selection::all(), true),
    );
    for message in [&one, &bye, &all] {
        a.publish(message);
    }
    b.expect(&one, &["b2"]).await;
    b.expect(&bye, &["b1"]).await;
    b.expect(&all, &["b1"]).await;
    c.expect(&one, &[]).await;
    c.expect(&bye, &["c1", "c2"]).await;
    c.expect(&all, &["c1", "c2"]).await;
    nothing_else([&mut a, &mut b, &mut c]).await;
}

/// The sockets of all other nodes, those of a room, or one.
pub async fn sockets_are_fetched<A: Adapter>(make: impl AsyncFn() -> A) {
    let rule = "each other node tells which of its sockets a selection names";
    let [a, b, c] = three(make, rule).await;
    for (node, selection, expected) in [
        (&a, Selection::all(), &["b1", "b2", "c1", "c2"][..]),
        (&b, Selection::all(), &["a1", "a2", "c1", "c2"]),
        (&c, Selection::room("odd"), &["a1", "b1"]),
        (&a, Selection::room("c2"), &["c2"]),
        (&a, selection(&["odd", "c2"], &["b1"]), &["c1", "c2"]),
        (&a, Selection::room("nobody"), &[]),
    ] {
        let (ids, missing) = fetch(node, selection).await;
        node.check(
            "the sockets",
            ids,
            expected.iter().map(|&id| id.into()).collect(),
        );
        node.check("missing nodes", missing, Ok(()));
    }
}

/// What is known of a socket arrives whole.
pub async fn sockets_arrive_unaltered<A: Adapter>(make: impl AsyncFn() -> A) {
    let rule = "the handshake, the rooms and the data of a socket arrive as they are";
    let [a, b, _c] = three(make, rule).await;
    let object = |value: Value| match value {
        Value::Object(object) => object,
        _ => serde_json::Map::new(),
    };
    let full = SocketDetails {
        id: "Ünique-1_".into(),
        handshake: HandshakeDetails {
            headers: object(json!({ "host": "example.com", "set-cookie": ["a=1", "b=2"] })),
            time: "Fri Mar 01 2024 10:00:00 GMT+0000".into(),
            address: "2001:db8::1".into(),
            xdomain: true,
            secure: true,
            issued: 1_709_287_200_123,
            url: "/socket.io/?EIO=4&transport=polling&x=%C3%BC".into(),
            query: object(json!({ "EIO": "4", "transport": "polling", "x": "ü" })),
            auth: json!({ "token": "t", "list": [1, null, { "deep": true }] }),
        },
        rooms: vec!["Ünique-1_".into(), "full".into()],
        data: json!({ "name": "Zoë", "score": 0.1, "tags": ["😀", null], "nothing": null }),
    };
    b.add(full.clone(), "full");
    let fetched = a.cluster.fetch_sockets(Selection::room("full"), None);
    let fetched = a.within("sockets are fetched", fetched).await;
    a.check("the sockets", fetched, Ok(vec![full]));
}

/// A node may have many sockets.
pub async fn many_sockets_are_fetched<A: Adapter>(make: impl AsyncFn() -> A) {
    let rule = "an answer may be large";
    let [a, b, c] = three(make, rule).await;
    for number in 0..1_000 {
        b.add(details(&format!("b-{number:04}")), "crowd");
        c.add(details(&format!("c-{number:04}")), "crowd");
    }
    let (ids, missing) = fetch(&a, Selection::room("crowd")).await;
    let name = |node: char| move |number| format!("{node}-{number:04}");
    let expected = (0..1_000).map(name('b')).chain((0..1_000).map(name('c')));
    a.check("the sockets", ids, expected.collect());
    a.check("missing nodes", missing, Ok(()));
}

/// When the time is up there are the sockets of the nodes that have answered.
pub async fn sockets_of_who_is_silent_time_out<A: Adapter>(make: impl AsyncFn() -> A) {
    let rule = "a request ends when its time is up, with the answers that have come";
    let [a, _b, mut c] = three(make, rule).await;
    c.fall_silent();
    let fetched = a.cluster.fetch_sockets(Selection::all(), Some(SHORT));
    let (ids, missing) = outcome(a.within("the time is up", fetched).await);
    a.check("the sockets", ids, vec!["b1".into(), "b2".into()]);
    a.check("missing nodes", missing, Err(Some(1)));
}

/// A node that leaves is not waited for. Where nodes are only counted, that cannot be known, and
/// the request ends when its time is up.
pub async fn sockets_do_not_wait_for_a_node_that_leaves<A: Adapter>(make: impl AsyncFn() -> A) {
    let rule = "an adapter that knows the other nodes says when one of them leaves";
    let [a, mut b, mut c] = three(make, rule).await;
    let knows = a.knows_nodes().await;
    let time = if knows { LIMIT * 6 } else { SHORT };
    c.fall_silent();
    let cluster = a.cluster.clone();
    let fetch = async move { cluster.fetch_sockets(Selection::all(), Some(time)).await };
    let fetched = tokio::spawn(fetch);
    b.expect(&fetch_sockets(Selection::all()), &["b1", "b2"])
        .await;
    c.close().await;
    let fetched = a.within("those who are left have answered", fetched).await;
    let Ok((ids, missing)) = fetched.map(outcome) else {
        return;
    };
    a.check("the sockets", ids, vec!["b1".into(), "b2".into()]);
    a.check("all that can come", missing.is_ok() || !knows, true);
}

async fn fetch(node: &Node, selection: Selection) -> (Vec<String>, Result<(), Option<usize>>) {
    let fetched = node.cluster.fetch_sockets(selection, None);
    outcome(node.within("sockets are fetched", fetched).await)
}

/// Their ids, sorted, and how many nodes are missing.
fn outcome(
    fetched: Result<Vec<SocketDetails>, Incomplete<SocketDetails>>,
) -> (Vec<String>, Result<(), Option<usize>>) {
    let (sockets, missing) = match fetched {
        Ok(sockets) => (sockets, Ok(())),
        Err(Incomplete { responses, missing }) => (responses, Err(missing)),
    };
    let mut ids: Vec<_> = sockets.iter().map(|socket| socket.id.to_string()).collect();
    ids.sort_unstable();
    (ids, missing)
}

fn check_rooms(node: &Node, expected: &[(&str, &[&str])]) {
    for (id, rooms) in expected {
        let rooms: Vec<String> = rooms.iter().map(|&room| room.into()).collect();
        node.check(&format!("the rooms of {id}"), node.rooms(id), rooms);
    }
}
