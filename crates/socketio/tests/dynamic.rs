//! Dynamic namespaces, with clients on a network.
#![allow(
    clippy::unwrap_used,
    reason = "clippy sees no tests in functions that tests share"
)]

mod common;

use std::{sync::Arc, time::Duration};

use common::{A_MOMENT, Log, Running, writable};
use socketio::{Builder, ConnectError, NamespaceMatcher, SocketIo};
use testkit::{TIME_LIMIT, within};
use tokio::sync::Semaphore;

/// Tells the log when it is dropped.
struct AtWork(Log);

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.push("dropped");
    }
}

/// A server with a predicate that never answers.
async fn stuck(change: impl FnOnce(Builder) -> Builder) -> (Running, Log) {
    let io = change(SocketIo::builder()).build();
    let log = Log::default();
    let at_work = log.clone();
    io.of_dynamic(NamespaceMatcher::predicate(move |_, _| {
        at_work.push("asked");
        let at_work = AtWork(at_work.clone());
        async move {
            let _at_work = at_work;
            std::future::pending().await
        }
    }));
    (Running::start(io).await, log)
}

/// Waits until no namespace has this name.
async fn gone(io: &SocketIo, name: &str) {
    let wait = async {
        while io.namespace(name).is_some() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    within(TIME_LIMIT, "the end of a namespace", wait).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_clients_ask_for_a_new_name_at_once() {
    const CLIENTS: usize = 20;
    let running = Running::start(SocketIo::new()).await;
    let log = Log::default();
    let asked = Arc::new(Semaphore::new(0));
    let gate = asked.clone();
    let parent = running
        .io
        .of_dynamic(NamespaceMatcher::predicate(move |_, _| {
            let gate = gate.clone();
            async move {
                // all answers at once
                gate.add_permits(1);
                drop(gate.acquire_many(CLIENTS as u32).await?);
                Ok(true)
            }
        }));
    let seen = log.clone();
    running
        .io
        .on_new_namespace(move |namespace| seen.push(namespace.name()));
    let mut clients = Vec::new();
    for _ in 0..CLIENTS {
        let mut ws = running.ws().await;
        ws.text("40/dynamic-101,").await;
        clients.push(ws);
    }
    for ws in &mut clients {
        assert!(
            ws.recv_text()
                .await
                .starts_with(r#"40/dynamic-101,{"sid":"#)
        );
    }
    assert_eq!(running.io.of("/dynamic-101").len(), CLIENTS);
    assert_eq!(parent.children().len(), 1);
    parent.emit("message", &1).unwrap();
    for ws in &mut clients {
        assert_eq!(ws.recv_text().await, r#"42/dynamic-101,["message",1]"#);
    }
    assert_eq!(log.lines(1).await, ["/dynamic-101"]);
}

#[tokio::test]
async fn a_child_is_cleaned_up_when_its_last_client_goes_and_comes_back_with_the_next() {
    let builder = SocketIo::builder().cleanup_empty_child_namespaces(true);
    let running = Running::start(builder.build()).await;
    running.io.of_dynamic("/dynamic-101");
    for _ in 0..2 {
        let mut ws = running.ws().await;
        ws.text("40/dynamic-101,").await;
        ws.recv_text().await;
        let mut session = running.poll().await;
        session.post_ok("40/dynamic-101,").await;
        assert!(session.poll_text().await.starts_with("40/dynamic-101,"));
        session.post_ok("41/dynamic-101,").await;
        let namespace = running.io.namespace("/dynamic-101").unwrap();
        drop(ws);
        gone(&running.io, "/dynamic-101").await;
        assert!(namespace.is_empty());
    }
}

#[tokio::test]
async fn a_child_whose_only_client_was_refused_is_cleaned_up_before_the_client_knows() {
    let builder = SocketIo::builder().cleanup_empty_child_namespaces(true);
    let running = Running::start(builder.build()).await;
    running
        .io
        .of_dynamic("/dynamic-101")
        .middleware(async || Err::<(), _>(ConnectError::new("You shall not pass!")));
    let mut ws = running.ws().await;
    ws.text("40/dynamic-101,").await;
    let refusal = r#"44/dynamic-101,{"message":"You shall not pass!"}"#;
    assert_eq!(ws.recv_text().await, refusal);
    assert!(running.io.namespace("/dynamic-101").is_none());
}

#[tokio::test]
async fn a_predicate_that_never_answers_goes_with_its_client() {
    let (running, log) = stuck(|builder| builder).await;
    let mut ws = running.joined().await;
    ws.text("40/x,").await;
    log.lines(1).await;
    drop(ws);
    log.lines(1).await;

    let (mut session, _) = running.polling_as().await;
    session.post_ok("40/x,").await;
    log.lines(1).await;
    session.post_ok("1").await;
    assert_eq!(log.lines(1).await, ["dropped"]);
}

#[tokio::test]
async fn a_predicate_that_never_answers_ends_with_the_connect_timeout() {
    let timeout = Duration::from_millis(100);
    let (running, log) = stuck(|builder| builder.connect_timeout(timeout)).await;
    let mut ws = running.ws().await;
    ws.text("40/x,").await;
    ws.recv_close().await;
    assert_eq!(log.lines(2).await, ["asked", "dropped"]);
}

#[tokio::test]
async fn a_predicate_that_never_answers_does_not_hold_up_the_end_of_the_server() {
    let (running, log) = stuck(|builder| builder).await;
    let mut ws = running.joined().await;
    ws.text("40/x,").await;
    log.lines(1).await;
    tokio::join!(running.io.close(), ws.recv_close());
    assert_eq!(log.lines(1).await, ["dropped"]);
}

#[tokio::test]
async fn volatile_events_reach_children_whose_clients_can_take_them() {
    let running = Running::start(SocketIo::new()).await;
    let parent = running.io.of_dynamic("/chat/{id}");
    let mut ws = running.ws().await;
    ws.text("40/chat/1,").await;
    let json = ws.recv_text().await.replace("40/chat/1,", "");
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let chat = running.io.of("/chat/1");
    let socket = chat.socket(json["sid"].as_str().unwrap()).unwrap();

    writable(&socket).await;
    chat.emit("regular", &()).unwrap();
    chat.volatile().emit("lost", &()).unwrap();
    assert_eq!(ws.recv_text().await, r#"42/chat/1,["regular"]"#);
    ws.silence(A_MOMENT).await;
    writable(&socket).await;
    chat.volatile().emit("taken", &()).unwrap();
    assert_eq!(ws.recv_text().await, r#"42/chat/1,["taken"]"#);
    writable(&socket).await;
    parent.volatile().emit("all", &()).unwrap();
    parent.volatile().emit("lost", &()).unwrap();
    parent.emit("end", &()).unwrap();
    assert_eq!(ws.recv_text().await, r#"42/chat/1,["all"]"#);
    assert_eq!(ws.recv_text().await, r#"42/chat/1,["end"]"#);
}
