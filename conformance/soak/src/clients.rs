//! What clients do from the moment they connect until they are gone.

use std::{net::SocketAddr, time::Duration};

use testkit::{Http, Message, Polling, Upgrade, Ws};

const PATH: &str = "/socket.io/";

/// Longer than the server's longest time limit.
const PATIENCE: Duration = Duration::from_secs(90);

/// One way to come and go.
pub type Cycle = (&'static str, fn(SocketAddr, usize) -> Running);

type Running = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

macro_rules! cycles {
    ($($cycle:ident),* $(,)?) => {
        /// Every way to come and go, to be taken in turn.
        pub const CYCLES: &[Cycle] = &[
            $((stringify!($cycle), |addr, number| Box::pin($cycle(addr, number)))),*
        ];
    };
}

cycles![
    polling,
    polling_of_version_3,
    polling_abandoned,
    polling_closed_by_the_server,
    polling_with_a_post_given_up,
    websocket,
    websocket_of_version_3,
    websocket_broken_off,
    websocket_closed_by_the_server,
    websocket_that_breaks_the_protocol,
    websocket_that_joins_nothing,
    upgrade,
    upgrade_of_version_3,
    upgrade_abandoned,
    namespaces_joined_and_left,
    namespaces_that_come_and_go,
    refused_by_a_middleware,
];

async fn polling(addr: SocketAddr, number: usize) {
    let mut session = joined_by_polling(addr, number).await;
    session.post_ok(r#"421["echo","hello"]"#).await;
    until_poll_has(&mut session, r#"431["hello"]"#).await;
    session.post_ok("1").await;
}

async fn polling_of_version_3(addr: SocketAddr, number: usize) {
    let mut session = open_polling(addr, "EIO=3&b64=1").await;
    post_v3(&mut session, &rooms(number)).await;
    post_v3(&mut session, r#"421["echo","hello"]"#).await;
    until_poll_has(&mut session, r#"431["hello"]"#).await;
    session.post_ok("1:1").await;
}

/// It is the heartbeat that notices.
async fn polling_abandoned(addr: SocketAddr, number: usize) {
    let mut session = joined_by_polling(addr, number).await;
    session.post_ok(r#"42["ask"]"#).await;
    session.post_ok(r#"42["slow"]"#).await;
}

async fn polling_closed_by_the_server(addr: SocketAddr, number: usize) {
    let mut session = joined_by_polling(addr, number).await;
    session.post_ok(r#"42["ask"]"#).await;
    session.post_ok(r#"42["kick"]"#).await;
    while !session.poll_text().await.ends_with('1') {}
}

async fn polling_with_a_post_given_up(addr: SocketAddr, number: usize) {
    let session = joined_by_polling(addr, number).await;
    let mut http = Http::connect(addr).await;
    let headers = [("Content-Length", "1000")];
    http.send_request("POST", &session.url(), &headers, r#"42["echo","#)
        .await;
}

async fn websocket(addr: SocketAddr, number: usize) {
    let mut ws = joined_by_websocket(addr, number).await;
    ws.text(r#"421["echo","hello"]"#).await;
    until_frame(&mut ws, r#"431["hello"]"#).await;
    ws.text(r#"451-2["echo",{"_placeholder":true,"num":0}]"#)
        .await;
    ws.binary([number as u8; 1000]).await;
    until_frame(&mut ws, r#"461-2[{"_placeholder":true,"num":0}]"#).await;
    ws.close(None).await;
    until_closed(&mut ws).await;
}

async fn websocket_of_version_3(addr: SocketAddr, number: usize) {
    let mut ws = open_websocket(addr, "EIO=3").await;
    ws.text(&rooms(number)).await;
    ws.text(r#"421["echo","hello"]"#).await;
    until_frame(&mut ws, r#"431["hello"]"#).await;
    ws.close(None).await;
    until_closed(&mut ws).await;
}

/// Acknowledgements are owed and a handler is at work.
async fn websocket_broken_off(addr: SocketAddr, number: usize) {
    let mut ws = joined_by_websocket(addr, number).await;
    for event in ["ask", "ask", "ask all", "slow"] {
        ws.text(&format!(r#"42["{event}"]"#)).await;
    }
    until_frame(&mut ws, "question").await;
}

async fn websocket_closed_by_the_server(addr: SocketAddr, number: usize) {
    let mut ws = joined_by_websocket(addr, number).await;
    ws.text(r#"42["ask"]"#).await;
    ws.text(r#"42["kick"]"#).await;
    until_closed(&mut ws).await;
}

async fn websocket_that_breaks_the_protocol(addr: SocketAddr, number: usize) {
    let mut ws = joined_by_websocket(addr, number).await;
    // Bytes are announced and do not come.
    ws.text(r#"451-["echo",{"_placeholder":true,"num":0}]"#)
        .await;
    ws.text("4nonsense").await;
    until_closed(&mut ws).await;
}

async fn websocket_that_joins_nothing(addr: SocketAddr, _: usize) {
    let mut ws = open_websocket(addr, "EIO=4").await;
    until_closed(&mut ws).await;
}

async fn upgrade(addr: SocketAddr, number: usize) {
    let mut session = joined_by_polling(addr, number).await;
    let mut ws = upgraded(&mut session).await;
    ws.text(r#"421["echo","hello"]"#).await;
    until_frame(&mut ws, r#"431["hello"]"#).await;
    ws.text("41").await;
    ws.close(None).await;
    until_closed(&mut ws).await;
}

async fn upgrade_of_version_3(addr: SocketAddr, number: usize) {
    let mut session = open_polling(addr, "EIO=3&b64=1").await;
    post_v3(&mut session, &rooms(number)).await;
    let mut ws = upgraded(&mut session).await;
    ws.text(r#"421["echo","hello"]"#).await;
    until_frame(&mut ws, r#"431["hello"]"#).await;
    ws.close(None).await;
    until_closed(&mut ws).await;
}

/// Half of them leave at once, the others keep the candidate until the server gives it up.
async fn upgrade_abandoned(addr: SocketAddr, number: usize) {
    let session = joined_by_polling(addr, number).await;
    let mut upgrade = Upgrade::connect(&session).await;
    upgrade.probe().await;
    if number.is_multiple_of(2) {
        upgrade.ws.set_limit(PATIENCE);
        until_closed(&mut upgrade.ws).await;
    }
}

async fn namespaces_joined_and_left(addr: SocketAddr, number: usize) {
    let mut ws = joined_by_websocket(addr, number).await;
    for _ in 0..3 {
        ws.text("40/chat,").await;
        until_frame(&mut ws, "40/chat,").await;
        ws.text(&format!(r#"42/chat,["rooms","{number}"]"#)).await;
        ws.text(r#"42/chat,["ask"]"#).await;
        ws.text(r#"42/chat,1["echo","hello"]"#).await;
        until_frame(&mut ws, r#"43/chat,1["hello"]"#).await;
        ws.text("41/chat,").await;
    }
    ws.text("40/unknown,").await;
    until_frame(&mut ws, "44/unknown,").await;
    ws.close(None).await;
    until_closed(&mut ws).await;
}

/// Each is made for this client alone; the last goes with the connection.
async fn namespaces_that_come_and_go(addr: SocketAddr, number: usize) {
    let mut ws = joined_by_websocket(addr, number).await;
    for turn in 0..3 {
        let name = format!("/made/{number}-{turn}");
        ws.text(&format!("40{name},")).await;
        until_frame(&mut ws, &format!("40{name},")).await;
        ws.text(&format!(r#"42{name},["rooms","{number}"]"#)).await;
        ws.text(&format!(r#"42{name},1["echo","hello"]"#)).await;
        until_frame(&mut ws, &format!(r#"43{name},1["hello"]"#)).await;
        if turn < 2 {
            ws.text(&format!("41{name},")).await;
        }
    }
    ws.close(None).await;
    until_closed(&mut ws).await;
}

async fn refused_by_a_middleware(addr: SocketAddr, _: usize) {
    let mut ws = open_websocket(addr, "EIO=4").await;
    ws.text(r#"40/chat,{"refuse":true}"#).await;
    until_frame(&mut ws, "44/chat,").await;
    ws.close(None).await;
    until_closed(&mut ws).await;
}

/// Makes the client's socket join rooms, one of which is its own.
fn rooms(number: usize) -> String {
    format!(r#"42["rooms","{number}"]"#)
}

async fn joined_by_polling(addr: SocketAddr, number: usize) -> Polling {
    let mut session = open_polling(addr, "EIO=4").await;
    session.post_ok(&format!("40\x1e{}", rooms(number))).await;
    until_poll_has(&mut session, "40{").await;
    session
}

async fn open_polling(addr: SocketAddr, query: &str) -> Polling {
    let mut session = Polling::open(addr, PATH, query).await;
    session.get_connection().set_limit(PATIENCE);
    session.post_connection().set_limit(PATIENCE);
    session
}

async fn open_websocket(addr: SocketAddr, query: &str) -> Ws {
    let mut ws = Ws::connect(addr, &format!("{PATH}?{query}&transport=websocket")).await;
    ws.set_limit(PATIENCE);
    ws
}

async fn joined_by_websocket(addr: SocketAddr, number: usize) -> Ws {
    let mut ws = open_websocket(addr, "EIO=4").await;
    ws.text("40").await;
    ws.text(&rooms(number)).await;
    until_frame(&mut ws, "40{").await;
    ws
}

async fn upgraded(session: &mut Polling) -> Ws {
    session.send_poll().await;
    let mut upgrade = Upgrade::connect(session).await;
    upgrade.probe().await;
    session.recv_poll().await;
    upgrade.finish().await
}

async fn post_v3(session: &mut Polling, packet: &str) {
    session.post_ok(&format!("{}:{packet}", packet.len())).await;
}

async fn until_poll_has(session: &mut Polling, text: &str) {
    loop {
        let body = session.poll_text().await;
        if body.contains(text) {
            break;
        }
        // Pings are answered, as by any client.
        if body.split('\x1e').any(|packet| packet == "2") {
            session.post_ok("3").await;
        }
    }
}

async fn until_frame(ws: &mut Ws, text: &str) {
    loop {
        match ws.recv().await {
            Message::Text(packet) if packet == "2" => ws.text("3").await,
            Message::Text(packet) if packet.contains(text) => break,
            Message::Text(_) | Message::Binary(_) => {}
            other => panic!("{other:?} instead of {text}"),
        }
    }
}

async fn until_closed(ws: &mut Ws) {
    loop {
        match ws.recv().await {
            Message::Close(_) => ws.close(None).await,
            Message::Eof => break,
            _ => {}
        }
    }
}
