//! The bodies and frames of version 3, as its several generations of clients want them.

mod common;

use common::{A_MOMENT, PATH, RECORD, Running, assert_unknown, both_versions, start, start_with};
use engineio::{CloseReason, Encoded};
use testkit::{Message, Polling, Response};
use tokio::time::sleep;

/// The time stamps of clients up to 1.3.7 and of those after them.
const COUNTED: &str = "t=1427193600000-0";
const YEAST: &str = "t=Q87nR_u";

const TEXT: &str = "text/plain; charset=UTF-8";
const BYTES: &str = "application/octet-stream";

async fn open(running: &Running, query: &str) -> Polling {
    Polling::open(running.addr, PATH, query).await
}

/// A text packet in the binary framing.
fn string(packet: &str) -> Vec<u8> {
    framed(0, packet.as_bytes())
}

/// A binary message in the binary framing.
fn binary(bytes: &[u8]) -> Vec<u8> {
    framed(1, &[&[4], bytes].concat())
}

fn framed(kind: u8, packet: &[u8]) -> Vec<u8> {
    let length = packet.len().to_string();
    let digits = length.bytes().map(|digit| digit - b'0');
    let mut bytes = vec![kind];
    bytes.extend(digits);
    bytes.push(0xff);
    bytes.extend_from_slice(packet);
    bytes
}

#[track_caller]
fn assert_body(response: &Response, content_type: &str, body: impl AsRef<[u8]>) {
    assert_eq!(response.status, 200);
    assert_eq!(response.header("content-type"), Some(content_type));
    assert_eq!(response.body, body.as_ref());
}

#[tokio::test]
async fn the_handshake_is_text_where_nothing_speaks_against_it() {
    let running = start(both_versions()).await;
    for query in ["EIO=3", "EIO=3&b64=1", "EIO=3&b64=1&t=Q87nR_u"] {
        let session = open(&running, query).await;
        let packet = format!("0{}", session.open.json);
        let body = format!("{}:{packet}", packet.len());
        assert_body(&session.opened, TEXT, body);
    }
}

#[tokio::test]
async fn the_handshake_of_a_client_with_a_time_stamp_is_bytes() {
    let running = start(both_versions()).await;
    for query in ["EIO=3&t=Q87nR_u", "EIO=3&t=1427193600000-0", "EIO=2"] {
        let session = open(&running, query).await;
        let packet = format!("0{}", session.open.json);
        assert_body(&session.opened, BYTES, string(&packet));
    }
}

#[tokio::test]
async fn the_open_packet_is_the_one_of_version_4() {
    let running = start(both_versions()).await;
    let session = open(&running, "EIO=3").await;
    let expected = format!(
        r#"{{"sid":"{}","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}}"#,
        session.sid()
    );
    assert_eq!(session.open.json, expected);
}

#[tokio::test]
async fn lengths_count_utf16_code_units() {
    let running = start(both_versions()).await;
    for query in ["EIO=3", "EIO=3&b64=1"] {
        let mut session = open(&running, query).await;
        for payload in ["1:4", "3:4😀", "4:4é€中", "16:42[\"txt\",\"é€😀\"]"] {
            session.post_ok(payload).await;
            assert_body(&session.poll().await, TEXT, payload);
        }
        session.post_ok("3:4😀2:4a3:4😀").await;
        assert_body(&session.poll().await, TEXT, "3:4😀2:4a3:4😀");
    }
}

#[tokio::test]
async fn binary_messages_in_text_are_base64() {
    let running = start(both_versions()).await;
    let mut session = open(&running, "EIO=3&b64=1").await;
    for payload in ["2:b4", "6:b4AAE=", "6:b4AQL/2:4a"] {
        session.post_ok(payload).await;
        assert_body(&session.poll().await, TEXT, payload);
    }
    let messages = running.messages(session.sid(), 4).await;
    let bytes = |bytes: &'static [u8]| format!("b{:?}", bytes::Bytes::from_static(bytes));
    let expected = [bytes(b""), bytes(&[0, 1]), bytes(&[1, 2, 255]), "a".into()];
    assert_eq!(messages, expected);
}

#[tokio::test]
async fn without_base64_a_batch_with_bytes_is_bytes() {
    let running = start(both_versions()).await;
    let mut session = open(&running, "EIO=3").await;
    session.post_ok("2:4é6:b4AQL/").await;
    let body = [string("4é"), binary(&[1, 2, 255])].concat();
    assert_body(&session.poll().await, BYTES, body);
    session.post_ok("2:4a").await;
    assert_body(&session.poll().await, TEXT, "2:4a");
}

#[tokio::test]
async fn a_client_with_a_time_stamp_gets_bytes_always() {
    let running = start(both_versions()).await;
    for query in ["EIO=3&t=Q87nR_u", "EIO=3&t=1427193600000-0", "EIO=2&t=x"] {
        let mut session = open(&running, query).await;
        let handle = running.handle(session.sid()).await;
        handle.send("é€😀");
        assert_body(&session.poll().await, BYTES, string("4é€😀"));
        handle.send(Encoded::binary(vec![1, 2, 255]));
        assert_body(&session.poll().await, BYTES, binary(&[1, 2, 255]));
        session.post_ok("1:2").await;
        assert_body(&session.poll().await, BYTES, string("3"));
    }
}

#[tokio::test]
async fn base64_is_chosen_by_the_handshake_and_not_later() {
    let running = start(both_versions()).await;
    let mut session = open(&running, "EIO=3&b64=1").await;
    let sid = session.sid().to_owned();
    running.handle(&sid).await.send(Encoded::binary(vec![0, 1]));
    sleep(A_MOMENT).await;
    let url = format!("{PATH}?EIO=3&transport=polling&sid={sid}");
    assert_body(&testkit::get(running.addr, &url).await, TEXT, "6:b4AAE=");
    session.post_ok("2:4a").await;

    let session = open(&running, "EIO=3").await;
    let sid = session.sid().to_owned();
    running.handle(&sid).await.send(Encoded::binary(vec![0, 1]));
    sleep(A_MOMENT).await;
    let url = format!("{}&b64=1", session.url());
    let response = testkit::get(running.addr, &url).await;
    assert_body(&response, BYTES, binary(&[0, 1]));
}

#[tokio::test]
async fn a_post_may_be_bytes() {
    let running = start_with(both_versions(), RECORD).await;
    for query in ["EIO=3", "EIO=3&t=Q87nR_u", "EIO=3&b64=1", "EIO=2"] {
        let mut session = open(&running, query).await;
        let long = vec![7; 1234];
        let body = [
            string("4é€😀"),
            binary(&[1, 2, 255]),
            string("4"),
            binary(&[]),
            binary(&long),
        ];
        let response = session.post_as(BYTES, body.concat()).await;
        assert_eq!(response.text(), "ok", "{query}");
        let messages = running.messages(session.sid(), 5).await;
        let bytes = |bytes: &[u8]| format!("b{:?}", bytes::Bytes::copy_from_slice(bytes));
        let expected = [
            "é€😀".to_owned(),
            bytes(&[1, 2, 255]),
            String::new(),
            bytes(&[]),
            bytes(&long),
        ];
        assert_eq!(messages, expected, "{query}");
    }
}

#[tokio::test]
async fn clients_up_to_1_3_7_encode_the_text_that_they_post_twice() {
    let running = start_with(both_versions(), RECORD).await;
    for query in [COUNTED, YEAST] {
        let mut session = open(&running, &format!("EIO=3&{query}")).await;
        // Lengths count the bytes of the first encoding.
        session.post_ok("16:42[\"u8\",\"Ã©â\u{82}¬\"]").await;
        session.post_ok("2:4a5:4ð\u{9f}\u{98}\u{80}").await;
        let messages = running.messages(session.sid(), 3).await;
        assert_eq!(messages, ["2[\"u8\",\"é€\"]", "a", "😀"], "{query}");
    }
}

#[tokio::test]
async fn clients_of_2_x_do_not() {
    let running = start_with(both_versions(), RECORD).await;
    let mut session = open(&running, &format!("EIO=3&{YEAST}")).await;
    session.post_ok("13:42[\"u8\",\"é€\"]").await;
    session.post_ok("5:4café3:4😀").await;
    let messages = running.messages(session.sid(), 3).await;
    assert_eq!(messages, ["2[\"u8\",\"é€\"]", "café", "😀"]);
}

#[tokio::test]
async fn clients_up_to_1_3_7_with_base64_are_answered_in_their_coding() {
    let running = start(both_versions()).await;
    let mut session = open(&running, &format!("EIO=3&b64=1&{COUNTED}")).await;
    let handle = running.handle(session.sid()).await;
    handle.send("é€");
    assert_body(&session.poll().await, TEXT, "6:4Ã©â\u{82}¬");
    handle.send("ascii");
    handle.send(Encoded::binary(vec![1, 2, 255]));
    assert_body(&session.poll().await, TEXT, "6:4ascii6:b4AQL/");
}

#[tokio::test]
async fn a_batch_of_a_1_x_client_with_bytes_in_it_is_bytes() {
    let running = start_with(both_versions(), RECORD).await;
    let mut session = open(&running, &format!("EIO=3&{COUNTED}")).await;
    let body = [string("451-[\"é\"]"), binary(&[1])].concat();
    assert_eq!(session.post_as(BYTES, body).await.text(), "ok");
    let messages = running.messages(session.sid(), 2).await;
    assert_eq!(messages[0], "51-[\"é\"]");
}

#[tokio::test]
async fn websocket_frames_carry_text_as_it_is_and_bytes_behind_their_kind() {
    let running = start(both_versions()).await;
    let (mut ws, _) = running.ws_with("EIO=3").await;
    for text in ["4", "4é€😀", "4b"] {
        ws.text(text).await;
        assert_eq!(ws.recv_text().await, text);
    }
    for bytes in [&[4][..], &[4, 1, 2, 255]] {
        ws.binary(bytes).await;
        assert_eq!(ws.recv_binary().await, bytes);
    }
    ws.text("b4AQI=").await;
    assert_eq!(ws.recv_binary().await, [4, 1, 2][..]);
}

#[tokio::test]
async fn websocket_frames_of_a_base64_client_are_text() {
    let running = start(both_versions()).await;
    let (mut ws, _) = running.ws_with("EIO=3&b64=1").await;
    ws.text("b4AQL/").await;
    assert_eq!(ws.recv_text().await, "b4AQL/");
    ws.binary([4, 1]).await;
    assert_eq!(ws.recv_text().await, "b4AQ==");
    ws.text("4é").await;
    assert_eq!(ws.recv_text().await, "4é");
}

#[tokio::test]
async fn websocket_frames_of_clients_1_0_are_encoded_twice() {
    let running = start(both_versions()).await;
    let (mut ws, open) = running.ws_with("EIO=2").await;
    ws.text("4Ã©â\u{82}¬").await;
    assert_eq!(ws.recv_text().await, "4Ã©â\u{82}¬");
    assert_eq!(running.messages(&open.sid, 1).await, ["é€"]);
    ws.binary([4, 1]).await;
    assert_eq!(ws.recv_binary().await, [4, 1][..]);
    ws.text("2").await;
    assert_eq!(ws.recv_text().await, "3");
}

#[tokio::test]
async fn a_text_body_that_cannot_be_decoded_closes_the_session() {
    let running = start(both_versions()).await;
    for payload in [
        "",
        "abc",
        "4hello",
        ":4a",
        "2",
        "2:",
        "2:4",
        "3:4a",
        "1:7",
        "1:b",
        "2:bx",
        "-1:4",
        "+2:4a",
        " 2:4a",
        "2:4a\n",
        "2:4a3:4b",
        "0x2:4a",
        "99999999999999999999:4a",
        "2:4😀",
        "4a\x1e4b",
    ] {
        let mut session = running.open_v3().await;
        assert_eq!(session.post(payload).await.status, 400, "{payload:?}");
        assert_unknown(&session.poll().await);
        let reason = running.close_reason(session.sid()).await;
        assert_eq!(reason, CloseReason::ParseError, "{payload:?}");
    }
}

#[tokio::test]
async fn a_binary_body_that_cannot_be_decoded_closes_the_session() {
    let running = start(both_versions()).await;
    for payload in [
        &b""[..],
        b"\x00",
        b"\x00\x02",
        b"\x00\xff4a",
        b"\x00\x03\xff4a",
        b"\x00\x0a\xff4a",
        b"\x00\x02\xff4a\x00",
        b"\x00\x01\xff7",
        b"\x00\x00\xff",
        b"\x02\x02\xff4a",
        b"4hello",
    ] {
        let mut session = running.open_v3().await;
        let response = session.post_as(BYTES, payload).await;
        assert_eq!(response.status, 400, "{payload:?}");
        let reason = running.close_reason(session.sid()).await;
        assert_eq!(reason, CloseReason::ParseError, "{payload:?}");
    }
}

#[tokio::test]
async fn an_empty_packet_in_a_text_body_is_skipped() {
    let running = start(both_versions()).await;
    let mut session = running.open_v3().await;
    session.post_ok("0:2:4a0:").await;
    assert_eq!(session.poll_text().await, "2:4a");
}

#[tokio::test]
async fn the_poll_that_waits_hears_of_a_body_that_cannot_be_decoded() {
    let running = start(both_versions()).await;
    for (query, close) in [
        ("EIO=3&b64=1", &b"1:1"[..]),
        ("EIO=3&t=x", b"\x00\x01\xff1"),
    ] {
        let mut session = open(&running, query).await;
        session.send_poll().await;
        sleep(A_MOMENT).await;
        assert_eq!(session.post("abc").await.status, 400);
        assert_eq!(session.recv_poll().await.body, close);
    }
}

#[tokio::test]
async fn a_frame_that_cannot_be_decoded_closes_the_session() {
    let running = start(both_versions()).await;
    for frame in ["", "abc", "7", "b", "b7AQI="] {
        let (mut ws, open) = running.ws_with("EIO=3").await;
        ws.text(frame).await;
        assert_eq!(ws.recv_close().await, None, "{frame:?}");
        let reason = running.close_reason(&open.sid).await;
        assert_eq!(reason, CloseReason::ParseError, "{frame:?}");
    }
    for frame in [&[][..], &[7], &[b'4', 1]] {
        let (mut ws, open) = running.ws_with("EIO=3").await;
        ws.binary(frame).await;
        assert_eq!(ws.recv_close().await, None, "{frame:?}");
        let reason = running.close_reason(&open.sid).await;
        assert_eq!(reason, CloseReason::ParseError, "{frame:?}");
    }
}

#[tokio::test]
async fn a_close_packet_closes_a_websocket_at_once() {
    let running = start(both_versions()).await;
    let (mut ws, open) = running.ws_with("EIO=3").await;
    ws.text("1").await;
    assert_eq!(ws.recv_close().await, None);
    assert_eq!(ws.recv().await, Message::Eof);
    let reason = running.close_reason(&open.sid).await;
    assert_eq!(reason, CloseReason::TransportClose);
}
