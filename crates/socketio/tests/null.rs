//! A JSON value that is `null` is an argument like every other.
#![allow(
    clippy::unwrap_used,
    reason = "clippy sees no tests in functions that tests share"
)]

mod common;

use common::Running;
use serde_json::Value;
use socketio::{
    SocketIo,
    handler::{Data, Reply},
};

#[tokio::test]
async fn a_handler_can_answer_with_null() {
    let running = Running::start(SocketIo::new()).await;
    running
        .io
        .on("echo", async |Data(value): Data<Value>| value);
    running
        .io
        .on("reply", async |Data(value): Data<Value>| Reply(value));
    let mut ws = running.joined().await;
    ws.text(r#"420["echo",1]"#).await;
    assert_eq!(ws.recv_text().await, "430[1]");
    ws.text(r#"421["echo",null]"#).await;
    assert_eq!(ws.recv_text().await, "431[null]");
    ws.text(r#"422["reply",null]"#).await;
    assert_eq!(ws.recv_text().await, "432[null]");
}

#[tokio::test]
async fn null_can_be_emitted() {
    let running = Running::start(SocketIo::new()).await;
    let (mut ws, socket) = running.joined_as().await;
    socket.emit("e", &Value::Null).unwrap();
    assert_eq!(ws.recv_text().await, r#"42["e",null]"#);
}
