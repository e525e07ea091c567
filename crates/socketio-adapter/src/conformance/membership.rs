//! Who belongs to the cluster.

use super::node::{
    Node, Server, broadcast, fetch_sockets, meet, nothing_else, three, three_servers,
};
use crate::{Adapter, Selection};

/// Nodes come and go, and the others know how many there are.
pub async fn servers_are_counted<A: Adapter>(make: impl AsyncFn() -> A) {
    let rule = "every node knows how many others have opened the namespace";
    let [a, b, c] = three_servers(&make, rule).await;
    let a = a.open("/");
    a.count_servers(1).await;
    let b = b.open("/");
    a.count_servers(2).await;
    b.count_servers(2).await;
    let c = c.open("/");
    for node in [&a, &b, &c] {
        node.count_servers(3).await;
    }
    b.close().await;
    a.count_servers(2).await;
    c.count_servers(2).await;
    c.close().await;
    a.count_servers(1).await;
}

/// After it was closed nothing arrives in a namespace, and nothing leaves it; other namespaces of
/// the same node go on.
pub async fn a_closed_namespace_is_silent<A: Adapter>(make: impl AsyncFn() -> A) {
    let rule = "in a closed namespace nothing arrives and nothing is published any more";
    let servers = three_servers(&make, rule).await;
    let mut nodes = [&servers[0], &servers[1], &servers[2]].map(|server| server.open("/"));
    let mut others = [&servers[0], &servers[1], &servers[2]].map(|server| server.open("/other"));
    meet(&nodes).await;
    meet(&others).await;
    let [a, b, c] = &mut nodes;
    c.close().await;
    a.count_servers(2).await;
    b.count_servers(2).await;
    let (event, unheard) = (says("after"), says("unheard"));
    c.publish_anyway(&unheard);
    a.publish(&event);
    b.expect(&event, &["b1", "b2"]).await;
    nothing_else([a, b]).await;
    // What had been sent to c would have come before this.
    nothing_else(others.each_mut()).await;
    c.expect_nothing();
    others[2].count_servers(3).await;
}

/// A namespace whose channel is dropped counts as closed.
pub async fn a_dropped_namespace_is_closed<A: Adapter>(make: impl AsyncFn() -> A) {
    let rule = "a channel that is dropped is closed";
    let [mut a, mut b, c] = three(make, rule).await;
    drop(c);
    a.count_servers(2).await;
    b.count_servers(2).await;
    let event = says("event");
    a.publish(&event);
    b.expect(&event, &["b1", "b2"]).await;
    nothing_else([&mut a, &mut b]).await;
}

/// Closing what is closed does nothing.
pub async fn a_namespace_can_be_closed_twice<A: Adapter>(make: impl AsyncFn() -> A) {
    let rule = "closing a closed namespace, or a closed adapter, does nothing";
    let [mut a, mut b, c] = three(make, rule).await;
    for _ in 0..2 {
        c.close().await;
        c.server.close().await;
    }
    a.count_servers(2).await;
    b.count_servers(2).await;
    nothing_else([&mut a, &mut b]).await;
}

/// A server that was closed takes part again, with the same adapter.
pub async fn a_namespace_can_be_opened_again<A: Adapter>(make: impl AsyncFn() -> A) {
    let rule = "a closed adapter can open namespaces again";
    let [mut a, mut b, mut old] = three(make, rule).await;
    for round in 0..2 {
        old.close().await;
        old.server.close().await;
        a.count_servers(2).await;
        let mut new = old.server.open("/");
        for node in [&a, &b, &new] {
            node.count_servers(3).await;
        }
        let (to, from) = (says(&format!("to {round}")), says(&format!("from {round}")));
        a.publish(&to);
        b.expect(&to, &["b1", "b2"]).await;
        new.expect(&to, &["c1", "c2"]).await;
        new.publish(&from);
        a.expect(&from, &["a1", "a2"]).await;
        b.expect(&from, &["b1", "b2"]).await;
        nothing_else([&mut a, &mut b, &mut new]).await;
        let fetched = a.cluster.fetch_sockets(Selection::room("c1"), None);
        let fetched = a.within("sockets are fetched", fetched).await;
        a.check("the number of sockets", fetched.map(|it| it.len()), Ok(1));
        for (node, reached) in [(&mut b, &[][..]), (&mut new, &["c1"])] {
            let message = fetch_sockets(Selection::room("c1"));
            node.expect(&message, reached).await;
        }
        old.expect_nothing();
        old = new;
    }
}

/// A node that comes later gets what is published from then on, and nothing from before.
pub async fn a_late_node_gets_what_comes_from_now_on<A: Adapter>(make: impl AsyncFn() -> A) {
    let rule = "a node gets what is published after it has opened the namespace, and nothing older";
    let a = Server::new("a", &make, rule).await.open("/");
    a.publish(&says("before"));
    let b = Server::new("b", &make, rule).await.open("/");
    let mut nodes: [Node; 2] = [a, b];
    meet(&nodes).await;
    let [a, b] = &mut nodes;
    let event = says("after");
    a.publish(&event);
    b.expect(&event, &["b1", "b2"]).await;
    nothing_else([a, b]).await;
}

fn says(text: &str) -> crate::Message {
    broadcast("event", text, Selection::all())
}
