//! What one node tells the others.

use super::node::{
    Server, binary, broadcast, event, fetch_sockets, meet, message, nothing_else, selection,
    server_side, three, three_servers,
};
use crate::{Adapter, Event, Message, Options, Selection};

/// An event reaches each other node once, and not the node that sends it.
pub async fn events_reach_every_other_node_once<A: Adapter>(make: impl AsyncFn() -> A) {
    let rule = "what a node publishes reaches each other node once, and not the node itself";
    let mut nodes = three(make, rule).await;
    for from in 0..3 {
        let event = broadcast("hello", &from, Selection::all());
        nodes[from].publish(&event);
        for to in (0..3).filter(|&to| to != from) {
            let name = ["a", "b", "c"][to];
            let everybody = [&*format!("{name}1"), &*format!("{name}2")];
            nodes[to].expect(&event, &everybody).await;
        }
    }
    nothing_else(nodes.each_mut()).await;
}

/// Arguments arrive as they were sent: text, numbers, binary data at any depth, none at all.
pub async fn arguments_arrive_unaltered<A: Adapter>(make: impl AsyncFn() -> A) {
    let rule = "arguments and their binary data arrive as they were published";
    let [mut a, mut b, mut c] = three(make, rule).await;
    let all = [
        binary("[]", &[]),
        binary(r#"["text", 1, -7, 0.1, 1e300, true, false, null]"#, &[]),
        binary("[9007199254740991, -9007199254740991]", &[]),
        binary(
            r#"["", [], {}, [[]], {"": ""}, {"a": {"b": [1, {"c": null}]}}]"#,
            &[],
        ),
        binary(
            r#"["\"\\\u0000\n\u2028", "äöü", "日本", "😀", "\u0007"]"#,
            &[],
        ),
        binary(r#"[{"_placeholder":true,"num":0}]"#, &[b"\x00\xff\x80"]),
        binary(r#"[{"_placeholder":true,"num":0}]"#, &[b""]),
        binary(
            r#"[1, {"x": [{"_placeholder":true,"num":0}, {"_placeholder":true,"num":1}]}, "2"]"#,
            &[b"one", b"two"],
        ),
    ];
    for args in all {
        let name = "event".into();
        let message = message(&Event { name, args }, &Options::default());
        a.publish(&message);
        b.expect(&message, &["b1", "b2"]).await;
        c.expect(&message, &["c1", "c2"]).await;
    }
    nothing_else([&mut a, &mut b, &mut c]).await;
}

/// Events and rooms may have any name.
pub async fn names_may_be_any_text<A: Adapter>(make: impl AsyncFn() -> A) {
    let rule = "names of events and rooms are any text";
    let [mut a, mut b, mut c] = three(make, rule).await;
    for name in NAMES {
        let join = Message::SocketsJoin {
            selection: Selection::room("b1"),
            rooms: vec![name.into()],
        };
        let event = broadcast(name, &name, selection(&[name], &[]));
        a.publish(&join);
        a.publish(&event);
        b.expect(&join, &["b1"]).await;
        b.expect(&event, &["b1"]).await;
        c.expect(&join, &[]).await;
        c.expect(&event, &[]).await;
    }
    nothing_else([&mut a, &mut b, &mut c]).await;
}

/// An event is for everybody, for rooms, or for all but some.
pub async fn selections_arrive_unaltered<A: Adapter>(make: impl AsyncFn() -> A) {
    let rule =
        "the rooms that an event is for, and the excepted ones, arrive as they were published";
    let [mut a, mut b, mut c] = three(make, rule).await;
    let all: [(Names, Names, Names, Names); 8] = [
        (&[], &[], &["b1", "b2"], &["c1", "c2"]),
        (&["odd"], &[], &["b1"], &["c1"]),
        (&["odd", "even"], &[], &["b1", "b2"], &["c1", "c2"]),
        (&["b2", "c1", "c1"], &[], &["b2"], &["c1"]),
        (&[], &["odd"], &["b2"], &["c2"]),
        (&[], &["odd", "c2"], &["b2"], &[]),
        (&["odd", "c2"], &["c1"], &["b1"], &["c2"]),
        (&["nobody"], &["odd"], &[], &[]),
    ];
    for (rooms, except, in_b, in_c) in all {
        let event = broadcast("event", &1, selection(rooms, except));
        a.publish(&event);
        b.expect(&event, in_b).await;
        c.expect(&event, in_c).await;
    }
    nothing_else([&mut a, &mut b, &mut c]).await;
}

/// Whether an event is volatile, and may be compressed.
pub async fn options_arrive_unaltered<A: Adapter>(make: impl AsyncFn() -> A) {
    let rule = "the options of an event arrive as they were published";
    let [mut a, mut b, mut c] = three(make, rule).await;
    for (volatile, compress) in [(false, false), (false, true), (true, false), (true, true)] {
        let options = Options {
            volatile,
            compress,
            ..Options::default()
        };
        let message = message(&event("event", &()), &options);
        a.publish(&message);
        b.expect(&message, &["b1", "b2"]).await;
        c.expect(&message, &["c1", "c2"]).await;
    }
    nothing_else([&mut a, &mut b, &mut c]).await;
}

/// A thousand events, small and large, arrive in the order in which they were sent.
pub async fn events_of_one_node_keep_their_order<A: Adapter>(make: impl AsyncFn() -> A) {
    let rule = "what one node publishes reaches another in the order of the calls, without a gap";
    let [mut a, mut b, mut c] = three(make, rule).await;
    let numbered = |number: usize| match number {
        _ if number.is_multiple_of(100) => broadcast("large", &(number, "x".repeat(20_000)), all()),
        _ if number.is_multiple_of(10) => {
            let json = format!(r#"[{number},{{"_placeholder":true,"num":0}}]"#);
            let args = binary(&json, &[b"binary"]);
            let name = "binary".into();
            message(&Event { name, args }, &Options::default())
        }
        _ => broadcast("small", &number, all()),
    };
    for number in 0..1_000 {
        a.publish(&numbered(number));
    }
    for number in 0..1_000 {
        b.expect(&numbered(number), &["b1", "b2"]).await;
        c.expect(&numbered(number), &["c1", "c2"]).await;
    }
    nothing_else([&mut a, &mut b, &mut c]).await;
}

/// Nodes that send at the same time do not disturb each other.
pub async fn events_of_many_nodes_keep_the_order_of_each<A: Adapter>(make: impl AsyncFn() -> A) {
    let rule = "what each node publishes reaches another in the order of the calls, without a gap";
    let mut nodes = three(make, rule).await;
    let numbered = |from: usize, number: usize| broadcast("event", &(from, number), all());
    for number in 0..300 {
        for (from, node) in nodes.iter().enumerate() {
            node.publish(&numbered(from, number));
        }
    }
    for (to, node) in nodes.iter_mut().enumerate() {
        let mut next = [0; 3];
        for _ in 0..600 {
            let from = (to + 1) % 3;
            let arrival = node.next(&numbered(from, next[from])).await;
            let Message::Broadcast { event, .. } = arrival.message else {
                continue;
            };
            let Ok((from, number)) = event.args.deserialize::<(usize, usize)>() else {
                continue;
            };
            node.check(&format!("the event of node {from}"), number, next[from]);
            next[from] += 1;
        }
    }
    nothing_else(nodes.each_mut()).await;
}

/// Messages of all kinds keep their order: whom an event reaches depends on what came before it.
pub async fn different_messages_keep_their_order<A: Adapter>(make: impl AsyncFn() -> A) {
    let rule = "messages of all kinds reach another node in the order of the calls";
    let [mut a, mut b, mut c] = three(make, rule).await;
    let rooms = || vec!["club".into()];
    let selection = Selection::room("odd");
    let join = Message::SocketsJoin {
        selection: selection.clone(),
        rooms: rooms(),
    };
    let leave = Message::SocketsLeave {
        selection,
        rooms: rooms(),
    };
    let disconnect = Message::DisconnectSockets {
        selection: all(),
        close: true,
    };
    let club = |text: &str| broadcast("event", text, Selection::room("club"));
    let messages = [
        (join, &["b1"][..]),
        (club("after joining"), &["b1"]),
        (leave, &["b1"]),
        (club("after leaving"), &[]),
        (server_side(&event("for servers", &())), &[]),
        (broadcast("bye", &(), all()), &["b1", "b2"]),
        (disconnect, &["b1", "b2"]),
        (broadcast("event", "after disconnecting", all()), &[]),
    ];
    for (message, _) in &messages {
        a.publish(message);
    }
    for (message, reached) in &messages {
        b.expect(message, reached).await;
        c.next(message).await;
    }
    nothing_else([&mut a, &mut b, &mut c]).await;
}

/// A megabyte of text, and of binary data.
pub async fn large_events_arrive<A: Adapter>(make: impl AsyncFn() -> A) {
    let rule = "an event may have a megabyte of arguments";
    let [mut a, mut b, mut c] = three(make, rule).await;
    let text = broadcast("text", &"ä€x".repeat(175_000), all());
    let args = binary(r#"[{"_placeholder":true,"num":0}]"#, &[&[0xa5; 1 << 20]]);
    let name = "binary".into();
    let binary = message(&Event { name, args }, &Options::default());
    for message in [text, binary] {
        a.publish(&message);
        b.expect(&message, &["b1", "b2"]).await;
        c.expect(&message, &["c1", "c2"]).await;
    }
    nothing_else([&mut a, &mut b, &mut c]).await;
}

/// Namespaces have nothing to do with each other, however alike their names are.
pub async fn namespaces_do_not_mix<A: Adapter>(make: impl AsyncFn() -> A) {
    let rule = "what is published in a namespace arrives in this namespace alone";
    let [a, b, _] = three_servers(&make, rule).await;
    let names = [
        "/", "/a", "/a/b", "/A", "/a#", "/a:b", "/a*", "/?", "/[a]", "/ä", "/a b",
    ];
    let open = |server: &Server| names.map(|name| server.open(name));
    let (mut at_a, mut at_b) = (open(&a), open(&b));
    for (a, b) in at_a.iter().zip(&at_b) {
        a.count_servers(2).await;
        b.count_servers(2).await;
    }
    let named = |name: &str| broadcast("event", name, Selection::room("odd"));
    for (a, name) in at_a.iter().zip(names) {
        a.publish(&named(name));
    }
    for (b, name) in at_b.iter_mut().zip(names) {
        b.expect(&named(name), &["b1"]).await;
    }
    for (a, b) in at_a.iter_mut().zip(&mut at_b) {
        nothing_else([a, b]).await;
    }
}

/// A node that does not serve a namespace has no part in it.
pub async fn a_node_without_the_namespace_is_no_peer<A: Adapter>(make: impl AsyncFn() -> A) {
    let rule = "who has not opened a namespace is no peer in it";
    let [a, b, c] = three_servers(&make, rule).await;
    meet(&[a.open("/"), b.open("/"), c.open("/")]).await;
    let (mut a, mut b) = (a.open("/some"), b.open("/some"));
    a.count_servers(2).await;
    b.count_servers(2).await;
    let event = broadcast("event", &(), all());
    a.publish(&event);
    b.expect(&event, &["b1", "b2"]).await;
    let fetched = a.within("sockets are fetched", a.cluster.fetch_sockets(all(), None));
    let count = fetched.await.map(|sockets| sockets.len());
    a.check("the number of sockets", count.ok(), Some(2));
    b.expect(&fetch_sockets(all()), &["b1", "b2"]).await;
    nothing_else([&mut a, &mut b]).await;
}

/// A cluster may have one node.
pub async fn a_node_may_be_alone<A: Adapter>(make: impl AsyncFn() -> A) {
    let rule = "a node that is alone is told so, and reaches nobody";
    let mut a = Server::new("a", &make, rule).await.open("/");
    a.count_servers(1).await;
    a.publish(&broadcast("event", &(), all()));
    let fetched = a.within("nobody has answered", a.cluster.fetch_sockets(all(), None));
    a.check("sockets", fetched.await.ok(), Some(Vec::new()));
    let question = event("question", &());
    let asked = a.cluster.server_side_emit_with_ack(question.clone(), None);
    let answers = a.within("nobody has answered", asked).await;
    a.check("answers", answers.ok(), Some(Vec::new()));
    let (answers, result) = a.ask(question, Options::default()).finish().await;
    a.check("the outcome", (answers, result), (Vec::new(), Ok(())));
    a.expect_nothing();
}

fn all() -> Selection {
    Selection::all()
}

type Names = &'static [&'static str];

/// Names that adapters may be tempted to read something into.
const NAMES: [&str; 8] = [
    "ü",
    "日本 語",
    "😀",
    "a:b#c/d",
    "*?[^x]{}",
    "\"'\\",
    "line\nbreak\0",
    " ",
];
