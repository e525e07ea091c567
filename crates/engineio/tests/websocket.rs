//! WebSocket, protocol version 4.

mod common;

use common::{A_MOMENT, RECORD, assert_error, refuse_ws, start, start_with};
use engineio::{CloseReason, Config};
use testkit::{
    Message, Wire, Ws,
    ws::{self, Frame},
};
use tokio::time::sleep;

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
async fn extensions_that_are_not_spoken_are_not_agreed_to() {
    let running = start(Config::default()).await;
    let headers = [("Sec-WebSocket-Extensions", "x-nobody-has-this; a=1")];
    let connected = Ws::connect_with_headers(running.addr, URL, &headers).await;
    let mut ws = connected.expect("a 101");
    assert_eq!(ws.response().header("sec-websocket-extensions"), None);
    assert!(ws.recv_text().await.starts_with("0{"));
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
async fn messages_of_every_shape_come_back_as_they_were() {
    let running = start(Config::default()).await;
    let (mut ws, _) = running.ws().await;
    for text in ["4", "4hello", "4é€😀\u{2028}", "44\u{0}", "4b"] {
        ws.text(text).await;
        assert_eq!(ws.recv_text().await, text);
    }
    for size in [0, 1, 125, 126, 127, 65_535, 65_536, 999_999] {
        let bytes = vec![size as u8; size];
        ws.binary(&bytes).await;
        assert_eq!(ws.recv_binary().await, bytes);
        if size > 0 {
            let text = format!("4{}", "x".repeat(size - 1));
            ws.text(&text).await;
            assert_eq!(ws.recv_text().await, text);
        }
    }
}

#[tokio::test]
async fn each_message_is_a_frame_of_its_own() {
    let running = start(Config::default()).await;
    let (mut ws, open) = running.ws().await;
    let handle = running.handle(&open.sid).await;
    for number in 0..1000 {
        handle.send(&*number.to_string());
    }
    for number in 0..1000 {
        let frame = ws.recv_frame().await.expect("a frame");
        assert!(frame.fin);
        assert_eq!(frame.opcode, ws::TEXT);
        assert_eq!(frame.payload, format!("4{number}"));
    }
}

#[tokio::test]
async fn many_messages_keep_their_order() {
    let running = start(Config::default()).await;
    let (mut ws, _) = running.ws().await;
    for round in 0..20 {
        let mut bytes = Vec::new();
        for number in 0..250 {
            let text = format!("4{}", round * 250 + number);
            bytes.extend(Frame::new(ws::TEXT, text).encode());
            bytes.extend(Frame::new(ws::BINARY, [number as u8]).encode());
        }
        ws.raw(bytes).await;
        for number in 0..250 {
            assert_eq!(ws.recv_text().await, format!("4{}", round * 250 + number));
            assert_eq!(ws.recv_binary().await, [number as u8][..]);
        }
    }
}

#[tokio::test]
async fn reading_goes_on_after_a_large_message() {
    let running = start_with(Config::default(), RECORD).await;
    let (mut ws, open) = running.ws().await;
    let large = "x".repeat(500_000);
    for number in 0..10 {
        ws.text(&format!("4{large}")).await;
        running.messages(&open.sid, 2 * number + 1).await;
        ws.text("4small").await;
        running.messages(&open.sid, 2 * number + 2).await;
    }
}

#[tokio::test]
async fn a_message_may_come_in_fragments() {
    let running = start(Config::default()).await;
    let (mut ws, _) = running.ws().await;
    ws.fragments(ws::TEXT, &[b"4h\xc3", b"\xa9", b"", b"llo"])
        .await;
    assert_eq!(ws.recv_text().await, "4héllo");
    ws.fragments(ws::BINARY, &[b"", b"\x01", b"\x02"]).await;
    assert_eq!(ws.recv_binary().await, [1, 2][..]);
}

#[tokio::test]
async fn frames_may_come_byte_by_byte() {
    let running = start(Config::default()).await;
    let (mut ws, _) = running.ws().await;
    for byte in Frame::new(ws::TEXT, "4hello").encode() {
        ws.raw([byte]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(ws.recv_text().await, "4hello");
}

#[tokio::test]
async fn pings_are_answered_also_between_fragments() {
    let running = start(Config::default()).await;
    let (mut ws, _) = running.ws().await;
    ws.ping("are you there").await;
    assert_eq!(ws.recv().await, Message::Pong("are you there".into()));
    let start = Frame {
        fin: false,
        ..Frame::new(ws::TEXT, "4hel")
    };
    ws.frame(&start).await;
    ws.ping("").await;
    assert_eq!(ws.recv().await, Message::Pong("".into()));
    ws.frame(&Frame::new(ws::CONTINUATION, "lo")).await;
    assert_eq!(ws.recv_text().await, "4hello");
}

#[tokio::test]
async fn pongs_that_nobody_asked_for_do_no_harm() {
    let running = start(Config::default()).await;
    let (mut ws, _) = running.ws().await;
    ws.pong("x").await;
    ws.text("4hello").await;
    assert_eq!(ws.recv_text().await, "4hello");
}

#[tokio::test]
async fn a_close_frame_is_answered_and_closes_the_session() {
    let running = start(Config::default()).await;
    for code in [None, Some(1000), Some(1001), Some(4000)] {
        let (mut ws, open) = running.ws().await;
        ws.close(code).await;
        assert!(matches!(ws.recv().await, Message::Close(_)));
        assert_eq!(ws.recv().await, Message::Eof);
        let reason = running.close_reason(&open.sid).await;
        assert_eq!(reason, CloseReason::TransportClose, "{code:?}");
    }
    running.sessions(0).await;
}

#[tokio::test]
async fn messages_before_the_close_frame_are_delivered() {
    let running = start_with(Config::default(), RECORD).await;
    let (mut ws, open) = running.ws().await;
    let mut bytes = Vec::new();
    for number in 0..100 {
        bytes.extend(Frame::new(ws::TEXT, format!("4{number}")).encode());
    }
    bytes.extend(Frame::new(ws::CLOSE, "").encode());
    bytes.extend(Frame::new(ws::TEXT, "4too late").encode());
    ws.raw(bytes).await;
    running.close_reason(&open.sid).await;
    let expected: Vec<_> = (0..100).map(|number| number.to_string()).collect();
    assert_eq!(running.messages(&open.sid, 100).await, expected);
}

#[tokio::test]
async fn a_connection_that_ends_without_a_close_frame_closes_the_session() {
    let running = start(Config::default()).await;
    let (mut ws, open) = running.ws().await;
    ws.text("4hello").await;
    assert_eq!(ws.recv_text().await, "4hello");
    drop(ws);
    let reason = running.close_reason(&open.sid).await;
    assert_eq!(reason, CloseReason::TransportClose);
    running.sessions(0).await;
}

#[tokio::test]
async fn a_packet_that_cannot_be_decoded_closes_the_session() {
    let running = start(Config::default()).await;
    for text in ["", "abc", "7", "{}", " 4hello"] {
        let (mut ws, open) = running.ws().await;
        ws.text(text).await;
        assert_eq!(ws.recv_close().await, None, "{text:?}");
        assert_eq!(ws.recv().await, Message::Eof);
        let reason = running.close_reason(&open.sid).await;
        assert_eq!(reason, CloseReason::ParseError, "{text:?}");
    }
}

#[tokio::test]
async fn packets_that_mean_nothing_here_are_ignored() {
    let running = start(Config::default()).await;
    let (mut ws, _) = running.ws().await;
    for text in ["0", "5", "6", "3", "3probe", "4hello"] {
        ws.text(text).await;
    }
    assert_eq!(ws.recv_text().await, "4hello");
}

#[tokio::test]
async fn a_close_packet_closes_the_session_at_once() {
    let running = start(Config::default()).await;
    let (mut ws, open) = running.ws().await;
    ws.text("1").await;
    assert_eq!(ws.recv_close().await, None);
    assert_eq!(ws.recv().await, Message::Eof);
    let reason = running.close_reason(&open.sid).await;
    assert_eq!(reason, CloseReason::TransportClose);
}

#[tokio::test]
async fn text_that_is_not_utf8_closes_with_1007() {
    let running = start(Config::default()).await;
    let (mut ws, open) = running.ws().await;
    ws.frame(&Frame::new(ws::TEXT, b"4\xff")).await;
    assert_eq!(ws.recv_close().await, Some(1007));
    let reason = running.close_reason(&open.sid).await;
    assert_eq!(reason, CloseReason::TransportError);
}

#[tokio::test]
async fn frames_that_break_the_rfc_close_with_1002() {
    let good = || Frame::new(ws::TEXT, "4hello");
    let broken = [
        (
            "not masked",
            Frame {
                masked: false,
                ..good()
            },
        ),
        (
            "RSV1",
            Frame {
                reserved: 4,
                ..good()
            },
        ),
        (
            "RSV2",
            Frame {
                reserved: 2,
                ..good()
            },
        ),
        (
            "RSV3",
            Frame {
                reserved: 1,
                ..good()
            },
        ),
        (
            "opcode 3",
            Frame {
                opcode: 3,
                ..good()
            },
        ),
        (
            "opcode 11",
            Frame {
                opcode: 11,
                ..good()
            },
        ),
        (
            "continues nothing",
            Frame {
                opcode: ws::CONTINUATION,
                ..good()
            },
        ),
        (
            "a ping in parts",
            Frame {
                fin: false,
                ..Frame::new(ws::PING, "a")
            },
        ),
        ("a long ping", Frame::new(ws::PING, [0; 126])),
        ("half a close code", Frame::new(ws::CLOSE, [3])),
    ];
    let running = start(Config::default()).await;
    for (what, frame) in broken {
        let (mut ws, open) = running.ws().await;
        ws.frame(&frame).await;
        assert_eq!(ws.recv_close().await, Some(1002), "{what}");
        let reason = running.close_reason(&open.sid).await;
        assert_eq!(reason, CloseReason::TransportError, "{what}");
    }
}

#[tokio::test]
async fn a_message_inside_a_message_closes_with_1002() {
    let running = start(Config::default()).await;
    let (mut ws, _) = running.ws().await;
    let start = Frame {
        fin: false,
        ..Frame::new(ws::TEXT, "4a")
    };
    ws.frame(&start).await;
    ws.frame(&start).await;
    assert_eq!(ws.recv_close().await, Some(1002));
}

#[tokio::test]
async fn half_a_frame_and_then_the_end_closes_the_session() {
    let running = start(Config::default()).await;
    let (mut ws, open) = running.ws().await;
    ws.raw(&Frame::new(ws::TEXT, "4hello").encode()[..4]).await;
    sleep(A_MOMENT).await;
    drop(ws);
    running.close_reason(&open.sid).await;
    assert_eq!(running.seen(&open.sid).await.messages, []);
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
async fn a_second_websocket_with_the_same_sid_is_refused() {
    let running = start(Config::default()).await;
    let (mut ws, open) = running.ws().await;
    let url = format!("{URL}&sid={}", open.sid);
    let response = refuse_ws(running.addr, &url, &[]).await;
    assert_error(&response, 400, 3, "Bad request");
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
