//! The Engine.IO dance against a scripted server.

mod common;

use std::time::Duration;

use common::script;
use testkit::{Open, Polling, Upgrade};

const OPEN: &str = r#"0{"sid":"abc","upgrades":["websocket"],"pingInterval":300,"pingTimeout":200,"maxPayload":1000}"#;

fn assert_open(open: &Open) {
    assert_eq!(open.sid, "abc");
    assert_eq!(open.upgrades, ["websocket"]);
    assert_eq!(open.ping_interval, Duration::from_millis(300));
    assert_eq!(open.ping_timeout, Duration::from_millis(200));
    assert_eq!(open.max_payload, Some(1000));
    assert_eq!(open.json, OPEN[1..]);
}

#[test]
fn finds_the_open_packet_in_every_framing() {
    assert_open(&Open::parse(OPEN.as_bytes()));
    assert_open(&Open::parse(format!("{OPEN}\x1e4hey").as_bytes()));
    assert_open(&Open::parse(
        format!("{}:{OPEN}2:40", OPEN.len()).as_bytes(),
    ));
    let mut binary = vec![0, 9, 9, 0xff];
    binary.extend_from_slice(OPEN.as_bytes());
    assert_open(&Open::parse(&binary));
    let escaped = OPEN.replace('"', "\\\"");
    assert_open(&Open::parse(
        format!("___eio[12](\"{escaped}\");").as_bytes(),
    ));
}

fn response(body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes()
}

#[tokio::test]
async fn opens_polls_and_posts() {
    let (addr, server) = script([
        vec![("\r\n\r\n", response(OPEN)), ("\r\n\r\n", response("4a"))],
        vec![("4b", response("ok"))],
    ])
    .await;
    let mut session = Polling::open(addr, "/engine.io/", "EIO=4").await;
    assert_open(&session.open);
    session.send_poll().await;
    session.post_ok("4b").await;
    assert_eq!(session.recv_poll().await.text(), "4a");

    let [gets, posts] = server.await.unwrap();
    let url = "/engine.io/?EIO=4&transport=polling";
    let host = format!("HTTP/1.1\r\nHost: {addr}\r\n");
    assert_eq!(
        gets,
        format!("GET {url} {host}\r\nGET {url}&sid=abc {host}\r\n")
    );
    assert_eq!(
        posts,
        format!(
            "POST {url}&sid=abc {host}Content-Length: 2\r\n\
             Content-Type: text/plain;charset=UTF-8\r\n\r\n4b"
        )
    );
}

#[tokio::test]
async fn upgrades() {
    let accepted = "HTTP/1.1 101 Switching Protocols\r\n\
        Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
    let (addr, server) = script([
        vec![("\r\n\r\n", response(OPEN)), ("\r\n\r\n", response("6"))],
        vec![],
        vec![
            ("\r\n\r\n", accepted.into()),
            ("", b"\x81\x063probe\x81\x024a".to_vec()),
        ],
    ])
    .await;
    let mut session = Polling::open(addr, "/engine.io/", "EIO=4").await;
    let (mut ws, polled) = Upgrade::run(&mut session).await;
    assert_eq!(polled, "6");
    assert_eq!(ws.recv_text().await, "4a");
    let [_, _, handshake] = server.await.unwrap();
    let url = "GET /engine.io/?EIO=4&transport=websocket&sid=abc HTTP/1.1\r\n";
    assert!(handshake.starts_with(url), "{handshake}");
}
