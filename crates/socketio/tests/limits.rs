//! Sizes of packets, as the server's builder has them.

mod common;

use common::{Log, Running};
use socketio::{Builder, DisconnectReason, SocketIo, handler::State};
use testkit::Ws;

async fn start(change: impl FnOnce(Builder) -> Builder) -> (Running, Log) {
    let log = Log::default();
    let io = change(SocketIo::builder().state(log.clone())).build();
    io.on("ok", async |State(log): State<Log>| log.push("ok"));
    io.on_disconnect(async |State(log): State<Log>, reason: DisconnectReason| {
        log.push(reason);
    });
    (Running::start(io).await, log)
}

/// The client is disconnected, and the application hears why.
async fn assert_refused(mut ws: Ws, log: &Log) {
    ws.until_closed().await;
    assert_eq!(log.lines(1).await, ["forced close"]);
}

#[tokio::test]
async fn packets_are_no_larger_than_they_may_be() {
    let (running, log) = start(|it| it.max_event_name_length(2)).await;
    let mut ws = running.joined().await;
    ws.text(r#"42["ok"]"#).await;
    assert_eq!(log.lines(1).await, ["ok"]);
    ws.text(r#"42["oks"]"#).await;
    assert_refused(ws, &log).await;

    let (running, log) = start(|it| it.max_namespace_length(4)).await;
    let mut ws = running.joined().await;
    ws.text("40/abc,").await;
    assert!(ws.recv_text().await.starts_with("44/abc,"));
    ws.text("40/abcd,").await;
    assert_refused(ws, &log).await;

    let (running, log) = start(|it| it.max_depth(2)).await;
    let mut ws = running.joined().await;
    ws.text(r#"42["ok",[]]"#).await;
    assert_eq!(log.lines(1).await, ["ok"]);
    ws.text(r#"42["ok",[[]]]"#).await;
    assert_refused(ws, &log).await;

    let header = r#"452-["ok",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#;
    let (running, log) = start(|it| it.max_attachments(2)).await;
    let mut ws = running.joined().await;
    ws.text(header).await;
    ws.binary([1; 10]).await;
    ws.binary([1; 10]).await;
    assert_eq!(log.lines(1).await, ["ok"]);
    ws.text(r#"453-["ok"]"#).await;
    assert_refused(ws, &log).await;

    let (running, log) = start(|it| it.max_attachment_bytes(20)).await;
    let mut ws = running.joined().await;
    ws.text(header).await;
    ws.binary([1; 10]).await;
    ws.binary([1; 10]).await;
    assert_eq!(log.lines(1).await, ["ok"]);
    ws.text(header).await;
    ws.binary([1; 10]).await;
    ws.binary([1; 11]).await;
    assert_refused(ws, &log).await;
}
