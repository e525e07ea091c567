//! WebSocket, protocol version 4.

mod common;

use std::time::Duration;

use common::{A_MOMENT, RECORD, start, start_with};
use engineio::{CloseReason, Config, Data};
use testkit::{
    Message, TIME_LIMIT, within,
    ws::{self, Frame},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{sleep, timeout},
};

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
async fn messages_are_read_many_at_a_time_also_while_earlier_ones_are_kept() {
    const COUNT: usize = 1000;

    let running = start_with(Config::default(), RECORD).await; // keeps them all
    let (mut ws, open) = running.ws().await;
    ws.raw(Frame::new(ws::TEXT, "4x").encode().repeat(COUNT))
        .await;
    running.messages(&open.sid, COUNT).await;
    let seen = running.seen(&open.sid).await;
    let place = |data: &Data| match data {
        Data::Text(text) => text.as_ptr() as usize,
        Data::Binary(bytes) => panic!("{bytes:?}"),
    };
    let places: Vec<_> = seen.messages.iter().map(place).collect();
    let of_one_read = places.windows(2).filter(|it| it[0] + 8 == it[1]);
    assert!(of_one_read.count() > COUNT * 9 / 10);
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
async fn bytes_may_come_as_base64() {
    let running = start(Config::default()).await;
    for query in ["EIO=4", "EIO=4&b64=1"] {
        let (mut ws, open) = running.ws_with(query).await;
        for text in ["bAQID", "bAQ==", "b"] {
            ws.text(text).await;
        }
        let messages = running.messages(&open.sid, 3).await;
        assert_eq!(messages, ["bb\"\\x01\\x02\\x03\"", "bb\"\\x01\"", "bb\"\""]);
        running.assert_open(&open.sid).await;
    }
    let (mut ws, open) = running.ws().await;
    ws.text("b*").await;
    assert_eq!(ws.recv_close().await, None);
    let reason = running.close_reason(&open.sid).await;
    assert_eq!(reason, CloseReason::ParseError);
}

#[tokio::test]
async fn a_client_that_pings_and_does_not_read_is_not_read_either() {
    let running = start(Config::default()).await;
    let (pipe, _) = running.ws_on_a_pipe(4096).await;
    let (mut reading, mut writing) = tokio::io::split(pipe);
    let ping = Frame::new(ws::PING, [7; 125]).encode();
    let send = async move {
        for _ in 0..2000 {
            writing.write_all(&ping).await.expect("somebody listens");
        }
        let hello = Frame::new(ws::TEXT, "4hello").encode();
        writing.write_all(&hello).await.expect("somebody listens");
        writing
    };
    let mut sending = tokio::spawn(send);
    let early = timeout(Duration::from_millis(300), &mut sending).await;
    assert!(early.is_err(), "250 kB went somewhere");
    // It is served again as soon as it reads.
    let mut received = Vec::new();
    let read = async {
        while !received.ends_with(b"4hello") {
            let read = reading.read_buf(&mut received).await;
            assert_ne!(read.expect("no error"), 0);
        }
    };
    within(TIME_LIMIT, "the echo", read).await;
    sending.await.expect("no panic");
}
