//! Acknowledgements from the clients of all nodes.

use std::time::Duration;

use super::node::{LIMIT, SHORT, binary, event, message, nothing_else, selection, three};
use crate::{Adapter, Message, Options};

/// Every client of every other node is asked, and each answer comes back.
pub async fn acknowledgements_of_all_nodes_come<A: Adapter>(make: impl AsyncFn() -> A) {
    let rule = "a question reaches all nodes, and their answers the one that asked";
    let [mut a, mut b, mut c] = three(make, rule).await;
    let (question, options) = (event("points?", &"act 1"), within(LIMIT));
    let mut asked = a.ask(question.clone(), options.clone());
    let message = message(&question, &options);
    let at_b = b.expect(&message, &["b1", "b2"]).await;
    let at_c = c.expect(&message, &["c1", "c2"]).await;
    at_b.answer(&1);
    let first = asked.next().await.map(|it| it.json().to_owned());
    a.check("the first answer", first.as_deref(), Some("1"));
    at_c.answer(&("two", [2]));
    at_c.answer(&());
    at_b.answer(&4);
    let (answers, result) = asked.finish().await;
    a.check(
        "the answers",
        answers,
        strings(&[r#"["two",[2]]"#, "[4]", "[]"]),
    );
    a.check("the outcome", result, Ok(()));
    nothing_else([&mut a, &mut b, &mut c]).await;
}

/// Answers may hold binary data.
pub async fn acknowledgements_may_be_binary<A: Adapter>(make: impl AsyncFn() -> A) {
    let rule = "the binary data of an answer arrives as it was given";
    let [a, mut b, mut c] = three(make, rule).await;
    let (question, options) = (event("photo?", &()), within_of("odd", LIMIT));
    let asked = a.ask(question.clone(), options.clone());
    let message = message(&question, &options);
    let placeholder = r#"[{"of":{"_placeholder":true,"num":0}}]"#;
    let at_b = b.expect(&message, &["b1"]).await;
    at_b.answer(&binary(placeholder, &[b"\x00b\xff"]));
    let at_c = c.expect(&message, &["c1"]).await;
    at_c.answer(&binary(placeholder, &[b""]));
    let (answers, result) = asked.finish().await;
    let expected = [
        r#"[{"of":{"binary":[0,98,255]}}]"#,
        r#"[{"of":{"binary":[]}}]"#,
    ];
    a.check("the answers", answers, strings(&expected));
    a.check("the outcome", result, Ok(()));
}

/// If no node has a client to ask, nobody is waited for.
pub async fn acknowledgements_of_nobody_come_at_once<A: Adapter>(make: impl AsyncFn() -> A) {
    let rule = "each node says how many clients it has asked, and be it none";
    let [a, mut b, mut c] = three(make, rule).await;
    let (question, options) = (event("anybody?", &()), within_of("nobody", LIMIT));
    let asked = a.ask(question.clone(), options.clone());
    let message = message(&question, &options);
    b.expect(&message, &[]).await;
    c.expect(&message, &[]).await;
    let outcome = asked.finish().await;
    a.check("the outcome", outcome, (Vec::new(), Ok(())));
}

/// When the time is up there are the answers of the others; what comes later is ignored.
pub async fn acknowledgements_of_who_is_silent_time_out<A: Adapter>(make: impl AsyncFn() -> A) {
    let rule = "a question ends when its time is up, with the answers that have come";
    let [mut a, mut b, mut c] = three(make, rule).await;
    let (question, options) = (event("question", &1), within_of("odd", SHORT));
    let asked = a.ask(question.clone(), options.clone());
    let first = message(&question, &options);
    b.expect(&first, &["b1"]).await.answer(&"b");
    let late = c.expect(&first, &["c1"]).await;
    let (answers, result) = asked.finish().await;
    a.check("the answers", answers, strings(&[r#"["b"]"#]));
    a.check(
        "missing nodes",
        result.map_err(|it| it.missing),
        Err(Some(1)),
    );
    late.answer(&"late");

    let (question, options) = (event("question", &2), within_of("odd", LIMIT));
    let asked = a.ask(question.clone(), options.clone());
    let second = message(&question, &options);
    b.expect(&second, &["b1"]).await.answer(&"b");
    c.expect(&second, &["c1"]).await.answer(&"c");
    let expected = (strings(&[r#"["b"]"#, r#"["c"]"#]), Ok(()));
    a.check("the second outcome", asked.finish().await, expected);
    nothing_else([&mut a, &mut b, &mut c]).await;
}

/// A node that leaves owes no answers. Where nodes are only counted, that cannot be known, and the
/// question ends when its time is up.
pub async fn acknowledgements_do_not_wait_for_a_node_that_leaves<A: Adapter>(
    make: impl AsyncFn() -> A,
) {
    let rule = "an adapter that knows the other nodes says when one of them leaves";
    let [a, mut b, mut c] = three(make, rule).await;
    let knows = a.knows_nodes().await;
    let time = if knows { LIMIT * 6 } else { SHORT };
    let (question, options) = (event("question", &()), within_of("odd", time));
    let asked = a.ask(question.clone(), options.clone());
    let message = message(&question, &options);
    b.expect(&message, &["b1"]).await.answer(&"b");
    let _unanswered = c.expect(&message, &["c1"]).await;
    c.close().await;
    let (answers, result) = asked.finish().await;
    a.check("the answers", answers, strings(&[r#"["b"]"#]));
    a.check("all that can come", result.is_ok() || !knows, true);
}

/// Each node gets the answers to its own question.
pub async fn acknowledgements_reach_the_node_that_asked<A: Adapter>(make: impl AsyncFn() -> A) {
    let rule = "an answer reaches the node that it is for";
    let [a, b, mut c] = three(make, rule).await;
    let options = within_of("c1", LIMIT);
    for round in 0..20 {
        let of_a = a.ask(event("from a", &round), options.clone());
        let of_b = b.ask(event("from b", &round), options.clone());
        for _ in 0..2 {
            let arrival = c.next(&message(&event("from a", &round), &options)).await;
            if let Message::Broadcast { event, .. } = &arrival.message {
                arrival.answer(&&*event.name);
            }
        }
        let (of_a, of_b) = (of_a.finish().await, of_b.finish().await);
        a.check("the outcome", of_a, (strings(&[r#"["from a"]"#]), Ok(())));
        b.check("the outcome", of_b, (strings(&[r#"["from b"]"#]), Ok(())));
    }
}

/// A hundred questions at once.
pub async fn many_questions_do_not_mix<A: Adapter>(make: impl AsyncFn() -> A) {
    let rule = "an answer names the question that it is for";
    let [a, mut b, mut c] = three(make, rule).await;
    let options = within_of("odd", LIMIT);
    let question = |number: usize| event("question", &number);
    let asked = (0..100).map(|number| a.ask(question(number), options.clone()));
    let asked: Vec<_> = asked.collect();
    let mut open = Vec::new();
    for number in 0..100 {
        let message = message(&question(number), &options);
        open.push((number, b.expect(&message, &["b1"]).await));
        open.push((number, c.expect(&message, &["c1"]).await));
    }
    // the last question is answered first
    for (number, arrival) in open.into_iter().rev() {
        arrival.answer(&number);
    }
    for (number, asked) in asked.into_iter().enumerate() {
        let answer = format!("[{number}]");
        let expected = (vec![answer.clone(), answer], Ok(()));
        a.check("the outcome", asked.finish().await, expected);
    }
}

fn within(time: Duration) -> Options {
    Options {
        timeout: Some(time),
        ..Options::default()
    }
}

fn within_of(room: &str, time: Duration) -> Options {
    Options {
        selection: selection(&[room], &[]),
        ..within(time)
    }
}

fn strings(all: &[&str]) -> Vec<String> {
    all.iter().map(|&it| it.into()).collect()
}
