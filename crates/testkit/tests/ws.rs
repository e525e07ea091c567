//! The WebSocket client against a scripted server.

mod common;

use common::script;
use testkit::{
    Message, Ws,
    ws::{self, Frame},
};

const HEAD_END: &str = "\r\n\r\n";
const ACCEPTED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// A connection whose server sends these bytes right behind its 101.
async fn receiving(bytes: &[u8]) -> Ws {
    let answer = [ACCEPTED.as_bytes(), bytes].concat();
    let (addr, _server) = script([vec![(HEAD_END, answer)]]).await;
    Ws::connect(addr, "/").await
}

#[tokio::test]
async fn sends_the_handshake() {
    let (addr, server) = script([vec![(HEAD_END, ACCEPTED.into())]]).await;
    let headers = [("Origin", "http://a.example"), ("Upgrade", "WebSocket")];
    let ws = Ws::connect_with_headers(addr, "/chat?x=1", &headers)
        .await
        .unwrap();
    assert_eq!(ws.response().header("upgrade"), Some("websocket"));
    let [sent] = server.await.unwrap();
    let expected = format!(
        "GET /chat?x=1 HTTP/1.1\r\nHost: {addr}\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
         Origin: http://a.example\r\nUpgrade: WebSocket\r\n\r\n"
    );
    assert_eq!(sent, expected);
}

#[tokio::test]
async fn an_empty_header_leaves_the_usual_one_out() {
    let (addr, server) = script([vec![(HEAD_END, ACCEPTED.into())]]).await;
    let _ = Ws::connect_with_headers(addr, "/", &[("sec-websocket-version", "")]).await;
    let [sent] = server.await.unwrap();
    assert!(!sent.contains("Version"), "{sent}");
}

#[tokio::test]
async fn a_refusal_is_a_response() {
    let answer = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 2\r\n\r\nno";
    let (addr, _server) = script([vec![(HEAD_END, answer.to_vec())]]).await;
    let refused = Ws::connect_with_headers(addr, "/", &[]).await.unwrap_err();
    assert_eq!((refused.status, refused.text()), (400, "no"));
}

#[tokio::test]
#[should_panic(expected = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")]
async fn a_wrong_accept_is_noticed() {
    let answer = ACCEPTED.replace("s3pP", "xxxx");
    let (addr, _server) = script([vec![(HEAD_END, answer.into())]]).await;
    Ws::connect(addr, "/").await;
}

#[test]
fn frames_have_the_shapes_of_the_rfc() {
    // RFC 6455, section 5.7: masked "Hello" with this mask; lengths of 7, 16 and 64 bits.
    let hello = [
        0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58,
    ];
    assert_eq!(Frame::new(ws::TEXT, "Hello").encode(), hello);
    let unmasked = |size: usize| Frame {
        masked: false,
        ..Frame::new(ws::BINARY, vec![0; size])
    };
    assert_eq!(unmasked(125).encode()[..2], [0x82, 125]);
    assert_eq!(unmasked(256).encode()[..4], [0x82, 0x7e, 1, 0]);
    let head = [0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0];
    assert_eq!(unmasked(65536).encode()[..10], head);
    let odd = Frame {
        fin: false,
        reserved: 5,
        ..Frame::new(ws::CONTINUATION, "")
    };
    assert_eq!(odd.encode()[..2], [0x50, 0x80]);
}

#[tokio::test]
async fn reads_messages_and_control_frames() {
    let mut bytes = vec![0x81, 2, b'4', b'a'];
    bytes.extend([0x82, 1, 9]);
    bytes.extend([0x89, 1, b'i', 0x8a, 0]);
    bytes.extend([0x82, 126, 0, 200]);
    bytes.extend([7; 200]);
    bytes.extend([0x88, 4, 0x03, 0xf1, b'n', b'o']);
    let mut ws = receiving(&bytes).await;
    assert_eq!(ws.recv_text().await, "4a");
    assert_eq!(ws.recv_binary().await, &[9][..]);
    assert_eq!(ws.recv().await, Message::Ping("i".into()));
    assert_eq!(ws.recv().await, Message::Pong("".into()));
    assert_eq!(ws.recv_binary().await, &[7; 200][..]);
    assert_eq!(
        ws.recv().await,
        Message::Close(Some((1009, "no".to_owned())))
    );
    assert_eq!(ws.recv().await, Message::Eof);
}

#[tokio::test]
async fn puts_fragments_together() {
    let bytes = [0x01, 1, b'4', 0x00, 1, b'a', 0x80, 1, b'b', 0x88, 0];
    let mut ws = receiving(&bytes).await;
    assert_eq!(ws.recv_text().await, "4ab");
    assert_eq!(ws.recv_close().await, None);
}

#[tokio::test]
async fn collects_what_comes_before_the_end() {
    let mut ws = receiving(&[0x81, 1, b'2', 0x88, 0]).await;
    let before = ws.until_closed().await;
    assert_eq!(before, [Message::Text("2".to_owned())]);
}

#[tokio::test]
#[should_panic(expected = "servers must not mask")]
async fn masked_frames_are_refused() {
    receiving(&[0x81, 0x81, 0, 0, 0, 0, b'2'])
        .await
        .recv()
        .await;
}

#[tokio::test]
#[should_panic(expected = "invalid utf-8")]
async fn text_is_utf8() {
    receiving(&[0x81, 1, 0xff]).await.recv().await;
}

#[tokio::test]
#[should_panic(expected = "in the middle of a frame")]
async fn half_a_frame_is_an_error() {
    receiving(&[0x81, 5, b'2']).await.recv().await;
}
