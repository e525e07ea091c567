//! Events for the servers themselves.

use super::node::{LIMIT, Node, SHORT, event, nothing_else, server_side, three, value};
use crate::{Adapter, Event, Incomplete};

/// An event for the servers reaches each other node, and not the node that sends it.
pub async fn server_side_events_reach_every_other_node_once<A: Adapter>(make: impl AsyncFn() -> A) {
    let rule = "an event for the servers reaches each other node once, and not the node itself";
    let [mut a, mut b, mut c] = three(make, rule).await;
    for number in 0..3 {
        let message = server_side(&event("hello", &("world", number, "ü")));
        a.publish(&message);
        for node in [&mut b, &mut c] {
            let arrival = node.expect(&message, &[]).await;
            node.check("a wish for an answer", arrival.reply.is_some(), false);
        }
    }
    nothing_else([&mut a, &mut b, &mut c]).await;
}

/// Each other node answers.
pub async fn server_side_events_are_answered<A: Adapter>(make: impl AsyncFn() -> A) {
    let rule = "each node's answer reaches the node that has asked";
    let [mut a, mut b, mut c] = three(make, rule).await;
    let question = event("how many?", &"room");
    let message = server_side(&question);
    let answers = ask(&a, question, None);
    b.expect(&message, &[]).await.reply(&2);
    c.expect(&message, &[]).await.reply(&("3", [3]));
    let outcome = answers.await;
    let expected = (vec![r#"["3",[3]]"#.into(), "[2]".into()], Ok(()));
    a.check("the answers", outcome, expected);
    nothing_else([&mut a, &mut b, &mut c]).await;
}

/// When the time is up there are the answers of the others; what comes later is ignored.
pub async fn server_side_events_without_an_answer_time_out<A: Adapter>(make: impl AsyncFn() -> A) {
    let rule = "a request ends when its time is up, with the answers that have come";
    let [mut a, mut b, mut c] = three(make, rule).await;
    let question = event("question", &());
    let message = server_side(&question);
    let answers = ask(&a, question, Some(SHORT));
    b.expect(&message, &[]).await.reply(&2);
    let late = c.expect(&message, &[]).await;
    let expected = (vec!["[2]".into()], Err(Some(1)));
    a.check("the answers", answers.await, expected);
    late.reply(&"late");
    nothing_else([&mut a, &mut b, &mut c]).await;
}

/// A node that leaves is not waited for. Where nodes are only counted, that cannot be known, and
/// the request ends when its time is up.
pub async fn server_side_events_do_not_wait_for_a_node_that_leaves<A: Adapter>(
    make: impl AsyncFn() -> A,
) {
    let rule = "an adapter that knows the other nodes says when one of them leaves";
    let [a, mut b, mut c] = three(make, rule).await;
    let knows = a.knows_nodes().await;
    let question = event("question", &());
    let message = server_side(&question);
    let answers = ask(&a, question, Some(if knows { LIMIT * 6 } else { SHORT }));
    b.expect(&message, &[]).await.reply(&2);
    let _unanswered = c.expect(&message, &[]).await;
    c.close().await;
    let (answers, missing) = answers.await;
    a.check("the answers", answers, vec!["[2]".into()]);
    a.check("all that can come", missing.is_ok() || !knows, true);
}

type Outcome = (Vec<String>, Result<(), Option<usize>>);

/// Asks the other servers, at once; then gives their answers, sorted, and how many are missing.
fn ask(
    node: &Node,
    event: Event,
    time: Option<std::time::Duration>,
) -> impl Future<Output = Outcome> {
    let cluster = node.cluster.clone();
    let asked = async move { cluster.server_side_emit_with_ack(event, time).await };
    let asked = tokio::spawn(asked);
    let server = node.server.clone();
    async move {
        let asked = server
            .within("the other servers have answered", asked)
            .await;
        let (answers, missing) = match asked {
            Ok(Ok(answers)) => (answers, Ok(())),
            Ok(Err(Incomplete { responses, missing })) => (responses, Err(missing)),
            Err(panic) => server.fail(&format!("failed: {panic}")),
        };
        let mut answers: Vec<_> = answers.iter().map(|it| value(it).to_string()).collect();
        answers.sort_unstable();
        (answers, missing)
    }
}
