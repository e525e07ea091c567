//! The examples, as a client sees them.

use std::net::SocketAddr;

use testkit::{Open, Polling, Upgrade, Ws};
use tokio::net::TcpListener;

#[allow(
    dead_code,
    unreachable_pub,
    reason = "a program, of which this is a part"
)]
#[path = "../examples/axum_layer.rs"]
mod axum_layer;
#[allow(
    dead_code,
    unreachable_pub,
    reason = "a program, of which this is a part"
)]
#[path = "../examples/axum_nested.rs"]
mod axum_nested;
#[allow(
    dead_code,
    unreachable_pub,
    reason = "a program, of which this is a part"
)]
#[path = "../examples/hyper_app.rs"]
mod hyper_app;
#[allow(
    dead_code,
    unreachable_pub,
    reason = "a program, of which this is a part"
)]
#[path = "../examples/typed_events.rs"]
mod typed_events;

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("an address");
    (listener, addr)
}

async fn connect(addr: SocketAddr, path: &str) -> Ws {
    let url = format!("{path}?EIO=4&transport=websocket");
    let mut ws = Ws::connect(addr, &url).await;
    Open::parse(ws.recv_text().await.as_bytes());
    ws
}

async fn join(ws: &mut Ws) {
    ws.text("40").await;
    assert!(ws.recv_text().await.starts_with("40{"));
}

#[tokio::test]
async fn hyper_app() {
    let (listener, addr) = listener().await;
    let server = tokio::spawn(hyper_app::serve(listener));
    assert_eq!(testkit::get(addr, "/count").await.text(), "0");
    assert_eq!(testkit::get(addr, "/nothing").await.status, 404);

    let mut ws = connect(addr, "/socket.io/").await;
    join(&mut ws).await;
    ws.text(r#"421["vote",2]"#).await;
    assert_eq!(ws.recv_text().await, r#"42["votes",2]"#);
    assert_eq!(ws.recv_text().await, "431[2]");

    let mut session = Polling::open(addr, "/socket.io/", "EIO=4").await;
    session.post_ok("40").await;
    assert!(session.poll_text().await.starts_with("40{"));
    let (mut upgraded, _) = Upgrade::run(&mut session).await;
    upgraded.text(r#"42["vote",3]"#).await;
    assert_eq!(upgraded.recv_text().await, r#"42["votes",5]"#);
    assert_eq!(ws.recv_text().await, r#"42["votes",5]"#);
    assert_eq!(testkit::get(addr, "/count").await.text(), "5");
    server.abort();
}

#[tokio::test]
async fn axum_layer() {
    let (listener, addr) = listener().await;
    let server = tokio::spawn(axum_layer::serve(listener));
    assert_eq!(testkit::get(addr, "/").await.text(), "hello");
    assert_eq!(testkit::get(addr, "/nothing").await.status, 404);
    let mut ws = connect(addr, "/socket.io/").await;
    join(&mut ws).await;
    ws.text(r#"42["chat message","hi"]"#).await;
    assert_eq!(ws.recv_text().await, r#"42["chat message","hi"]"#);
    let answer = testkit::get(addr, "/announce").await;
    assert_eq!(answer.text(), "sent to 1 clients");
    assert_eq!(
        ws.recv_text().await,
        r#"42["chat message","an announcement"]"#
    );
    server.abort();
}

#[tokio::test]
async fn axum_nested() {
    let (listener, addr) = listener().await;
    let server = tokio::spawn(axum_nested::serve(listener));
    assert_eq!(testkit::get(addr, "/").await.text(), "hello");
    let outside = "/socket.io/?EIO=4&transport=polling";
    assert_eq!(testkit::get(addr, outside).await.status, 404);
    let mut ws = connect(addr, "/live/socket.io/").await;
    ws.text(r#"40/members,{"token":"guess"}"#).await;
    assert_eq!(
        ws.recv_text().await,
        r#"44/members,{"message":"wrong token"}"#
    );
    ws.text(r#"40/members,{"token":"secret"}"#).await;
    let joined = ws.recv_text().await;
    let id = &joined[r#"40/members,{"sid":""#.len()..joined.len() - 2];
    ws.text(r#"42/members,1["rooms"]"#).await;
    let rooms = format!(r#"43/members,1[["{id}","members"]]"#);
    assert_eq!(ws.recv_text().await, rooms);
    server.abort();
}

#[tokio::test]
async fn typed_events() {
    let (listener, addr) = listener().await;
    let server = tokio::spawn(typed_events::serve(listener));
    let mut players = Vec::new();
    for id in 0..2 {
        let mut ws = connect(addr, "/socket.io/").await;
        join(&mut ws).await;
        assert_eq!(ws.recv_text().await, format!(r#"42{id}["ready?"]"#));
        ws.text(&format!("43{id}[true]")).await;
        players.push(ws);
    }
    let [one, two] = &mut players[..] else {
        unreachable!()
    };
    // By its answer the server has read what came before, so the second one is a player.
    two.text(r#"420["move",3]"#).await;
    assert_eq!(two.recv_text().await, r#"430[{"x":3}]"#);
    one.text(r#"421["move",-1]"#).await;
    loop {
        let text = one.recv_text().await;
        if text.starts_with("43") {
            assert_eq!(text, r#"431[{"x":2}]"#);
            break;
        }
        assert!(text.ends_with(r#""to":{"x":3}}]"#), "{text}");
    }
    let text = two.recv_text().await;
    assert!(text.starts_with(r#"42["moved",{"who":""#), "{text}");
    assert!(text.ends_with(r#""to":{"x":2}}]"#), "{text}");
    server.abort();
}
