//! The WebSocket handshake, and what is refused before the 101.

mod common;

use common::{assert_error, refuse_ws, start};
use engineio::Config;
use testkit::{
    Wire, Ws,
    ws::{self, Frame},
};

const URL: &str = "/engine.io/?EIO=4&transport=websocket";

#[tokio::test]
async fn the_handshake_of_the_tutorial_is_answered() {
    let running = start(Config::default()).await;
    let request = format!(
        "GET {URL} HTTP/1.1\r\n\
         Host: example.com:8000\r\n\
         Upgrade: websocket\r\n\
         Connection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Version: 13\r\n\r\n"
    );
    let mut ws = Ws::handshake(running.addr, request).await.expect("a 101");
    let header = |name| ws.response().header(name).map(str::to_ascii_lowercase);
    assert_eq!(header("upgrade").as_deref(), Some("websocket"));
    assert_eq!(header("connection").as_deref(), Some("upgrade"));
    assert_eq!(
        ws.response().header("sec-websocket-accept"),
        Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    );
    assert!(ws.recv_text().await.starts_with("0{"));
}

#[tokio::test]
async fn header_values_are_lists_of_tokens_in_any_case() {
    let running = start(Config::default()).await;
    for headers in [
        [("Upgrade", "WebSocket"), ("Connection", "upgrade")],
        [
            ("upgrade", "WEBSOCKET"),
            ("connection", "keep-alive, Upgrade"),
        ],
        [
            ("Upgrade", "h2c, websocket"),
            ("Connection", "Upgrade,keep-alive"),
        ],
    ] {
        let connected = Ws::connect_with_headers(running.addr, URL, &headers).await;
        let mut ws = connected.expect("a 101");
        assert!(ws.recv_text().await.starts_with("0{"));
    }
}

#[tokio::test]
async fn a_handshake_that_breaks_the_rfc_is_refused() {
    let running = start(Config::default()).await;
    for header in [
        ("Upgrade", ""),
        ("Upgrade", "h2c"),
        ("Connection", ""),
        ("Connection", "keep-alive"),
        ("Sec-WebSocket-Key", ""),
        ("Sec-WebSocket-Key", "short"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25j*Q=="),
        ("Sec-WebSocket-Version", ""),
        ("Sec-WebSocket-Version", "12"),
        ("Sec-WebSocket-Version", "abc"),
    ] {
        let response = refuse_ws(running.addr, URL, &[header]).await;
        assert_error(&response, 400, 3, "Bad request");
    }
    assert_eq!(running.server.sessions(), 0);
}

#[tokio::test]
async fn of_the_subprotocols_offered_the_first_is_taken() {
    let running = start(Config::default()).await;
    let headers = [("Sec-WebSocket-Protocol", "one, two")];
    let connected = Ws::connect_with_headers(running.addr, URL, &headers).await;
    let mut ws = connected.expect("a 101");
    let taken = ws.response().header("sec-websocket-protocol");
    assert_eq!(taken, Some("one"));
    assert!(ws.recv_text().await.starts_with("0{"));
}

#[tokio::test]
async fn empty_names_are_no_subprotocols() {
    let running = start(Config::default()).await;
    for (offered, taken) in [
        (", one", Some("one")),
        (" ,, one , two", Some("one")),
        (",", None),
        (" , ", None),
    ] {
        let headers = [("Sec-WebSocket-Protocol", offered)];
        let connected = Ws::connect_with_headers(running.addr, URL, &headers).await;
        let mut ws = connected.expect("a 101");
        let header = ws.response().header("sec-websocket-protocol");
        assert_eq!(header, taken, "{offered:?}");
        assert!(ws.recv_text().await.starts_with("0{"));
    }
}

#[tokio::test]
async fn http_1_0_cannot_be_upgraded() {
    let running = start(Config::default()).await;
    let session = running.open().await;
    for url in [URL.to_owned(), session.ws_url()] {
        let mut wire = Wire::connect(running.addr).await;
        let request = format!(
            "GET {url} HTTP/1.0\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        );
        wire.send(request).await;
        let answer = wire.rest().await;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with("HTTP/1.0 400 "), "{answer}");
        let refused = answer.ends_with(r#"{"code":3,"message":"Bad request"}"#);
        assert!(refused, "{answer}");
    }
    assert_eq!(running.server.sessions(), 1);
}

#[tokio::test]
async fn extensions_that_are_not_spoken_are_not_agreed_to() {
    let running = start(Config::default()).await;
    let headers = [("Sec-WebSocket-Extensions", "x-nobody-has-this; a=1")];
    let connected = Ws::connect_with_headers(running.addr, URL, &headers).await;
    let mut ws = connected.expect("a 101");
    assert_eq!(ws.response().header("sec-websocket-extensions"), None);
    assert!(ws.recv_text().await.starts_with("0{"));
}

#[tokio::test]
async fn nothing_is_decompressed() {
    let running = start(Config::default()).await;
    let headers = [(
        "Sec-WebSocket-Extensions",
        "permessage-deflate; client_max_window_bits",
    )];
    let connected = Ws::connect_with_headers(running.addr, URL, &headers).await;
    let mut ws = connected.expect("a 101");
    assert_eq!(ws.response().header("sec-websocket-extensions"), None);
    assert!(ws.recv_text().await.starts_with("0{"));
    let compressed = Frame {
        reserved: 4,
        ..Frame::new(ws::TEXT, [0x32, 0x01, 0x00])
    };
    ws.frame(&compressed).await;
    assert_eq!(ws.recv_close().await, Some(1002));
}

#[tokio::test]
async fn frames_right_behind_the_handshake_are_read() {
    let running = start(Config::default()).await;
    let request = format!(
        "GET {URL} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    let mut bytes = request.into_bytes();
    for number in 0..10 {
        bytes.extend(Frame::new(ws::TEXT, format!("4{number}")).encode());
    }
    let mut ws = Ws::handshake(running.addr, bytes).await.expect("a 101");
    assert!(ws.recv_text().await.starts_with("0{"));
    for number in 0..10 {
        assert_eq!(ws.recv_text().await, format!("4{number}"));
    }
}

#[tokio::test]
async fn a_plain_get_is_no_websocket() {
    let running = start(Config::default()).await;
    let response = testkit::get(running.addr, URL).await;
    assert_error(&response, 400, 3, "Bad request");
}

#[tokio::test]
async fn a_plain_get_with_the_sid_of_a_websocket_is_answered() {
    let running = start(Config::default()).await;
    let (mut ws, open) = running.ws().await;
    let url = format!("{URL}&sid={}", open.sid);
    for _ in 0..2 {
        let response = testkit::get(running.addr, &url).await;
        assert_error(&response, 400, 3, "Bad request");
    }
    ws.text("4hello").await;
    assert_eq!(ws.recv_text().await, "4hello");
}

#[tokio::test]
async fn polls_and_posts_to_a_websocket_are_refused() {
    let running = start(Config::default()).await;
    let (mut ws, open) = running.ws().await;
    let url = format!("/engine.io/?EIO=4&transport=polling&sid={}", open.sid);
    let poll = testkit::get(running.addr, &url).await;
    assert_error(&poll, 400, 3, "Bad request");
    let post = testkit::post(running.addr, &url, "text/plain", "4by post").await;
    assert_error(&post, 400, 3, "Bad request");
    ws.text("4hello").await;
    assert_eq!(ws.recv_text().await, "4hello");
}

#[tokio::test]
async fn a_second_websocket_with_the_same_sid_is_closed_again() {
    let running = start(Config::default()).await;
    let (mut ws, open) = running.ws().await;
    let url = format!("{URL}&sid={}", open.sid);
    let mut second = Ws::connect(running.addr, &url).await;
    assert_eq!(second.until_closed().await, []);
    ws.text("4hello").await;
    assert_eq!(ws.recv_text().await, "4hello");
}

#[tokio::test]
async fn an_upgrade_to_polling_is_refused() {
    let running = start(Config::default()).await;
    let url = "/engine.io/?EIO=4&transport=polling";
    let mut wire = Wire::connect(running.addr).await;
    let request = format!(
        "GET {url} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: close, Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    wire.send(request).await;
    let answer = wire.rest().await;
    // Refused, or taken for the plain poll that it also is; never switched.
    assert!(!answer.starts_with(b"HTTP/1.1 101"), "{answer:?}");
}

#[tokio::test]
async fn http_goes_on_after_a_refused_websocket() {
    let running = start(Config::default()).await;
    let mut http = testkit::Http::connect(running.addr).await;
    let headers = [
        ("Upgrade", "websocket"),
        ("Connection", "Upgrade"),
        ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("Sec-WebSocket-Version", "13"),
    ];
    let url = format!("{URL}&sid=unknown");
    let refused = http.request("GET", &url, &headers, "").await;
    assert_error(&refused, 400, 1, "Session ID unknown");
    let opened = http.get("/engine.io/?EIO=4&transport=polling").await;
    assert_eq!(opened.status, 200);
}

/// One system call and one wake-up of the client instead of two.
#[tokio::test]
async fn the_open_packet_leaves_together_with_the_101() {
    let running = start(Config::default()).await;
    let mut stream = tokio::net::TcpStream::connect(running.addr).await.unwrap();
    let request = "GET /engine.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\n\
        Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes())
        .await
        .unwrap();
    let mut answer = vec![0; 4096];
    let read = tokio::io::AsyncReadExt::read(&mut stream, &mut answer)
        .await
        .unwrap();
    let answer = String::from_utf8_lossy(&answer[..read]);
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert!(answer.contains(r#"0{"sid":""#), "{answer}");
}
