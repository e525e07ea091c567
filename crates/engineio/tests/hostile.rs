//! Clients that follow no rule. Whatever they send, the server answers or closes, and goes on.

mod common;

use std::time::Duration;

use common::{A_MOMENT, Running, both_versions};
use engineio::Config;
use testkit::{
    Http, Polling, Rng, Wire, Ws,
    http::statuses,
    panics,
    ws::{self, Frame},
};
use tokio::time::sleep;

async fn start(config: Config) -> Running {
    panics::watch();
    common::start(config).await
}

/// The server still serves, and no task of it has panicked.
async fn assert_unharmed(running: &Running) {
    let mut session = running.open().await;
    session.post_ok("4polling").await;
    assert_eq!(session.poll_text().await, "4polling");
    let (mut ws, _) = running.ws().await;
    ws.text("4websocket").await;
    assert_eq!(ws.recv_text().await, "4websocket");
    assert_eq!(panics::seen(), 0, "something panicked");
}

/// Sends bytes, then nothing more, and returns what comes back until the server closes.
async fn exchange(running: &Running, bytes: impl AsRef<[u8]>) -> String {
    let mut wire = Wire::connect(running.addr).await;
    wire.send(bytes).await;
    wire.finish().await;
    String::from_utf8_lossy(&wire.rest().await).into_owned()
}

/// Sends a request that asks for the end of the connection, and returns all that comes back.
async fn ask(running: &Running, request: impl AsRef<[u8]>) -> String {
    let mut wire = Wire::connect(running.addr).await;
    wire.send(request).await;
    String::from_utf8_lossy(&wire.rest().await).into_owned()
}

#[tokio::test]
async fn bytes_that_are_no_http() {
    let running = start(both_versions()).await;
    let mut rng = Rng::new(1);
    for size in [1, 10, 100, 1000, 10_000, 100_000] {
        for _ in 0..5 {
            let answer = exchange(&running, rng.bytes(size)).await;
            assert!(
                statuses(&answer)
                    .iter()
                    .all(|it| *it == "400" || *it == "431")
            );
        }
    }
    for bytes in [
        &b"\0"[..],
        b"\r\n\r\n\r\n",
        b"GET",
        b"GET /engine.io/",
        b"GET /engine.io/ HTTP/1.1",
        b"GET /engine.io/ HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"HTTP/1.1 200 OK\r\n\r\n",
    ] {
        let answer = exchange(&running, bytes).await;
        assert!(!answer.contains(" 200 "), "{answer}");
    }
    assert_unharmed(&running).await;
}

#[tokio::test]
async fn request_targets_of_every_shape() {
    let running = start(both_versions()).await;
    for target in [
        "*",
        "/",
        "//",
        "/engine.io/../engine.io/?EIO=4&transport=polling",
        "/engine.io/./?EIO=4&transport=polling",
        "/%65ngine.io/?EIO=4&transport=polling",
        "/engine.io/%00?EIO=4&transport=polling",
        "/engine.io/?",
        "/engine.io/??",
        "/engine.io/?&&&&=&=&",
        "/engine.io/?EIO=4&transport=polling&sid=%",
        "/engine.io/?EIO=4&transport=polling&sid=%zz",
        "/engine.io/?EIO=4&transport=polling&sid=%ff%fe",
        "/engine.io/?EIO[]=4&transport[]=polling",
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let answer = ask(&running, request).await;
        assert!(
            matches!(statuses(&answer)[..], ["400" | "404"]),
            "{target}: {answer}"
        );
    }
    let long = "x".repeat(50_000);
    for target in [
        format!("/engine.io/?EIO=4&transport=polling&sid={long}"),
        format!("/engine.io/?EIO=4&transport={long}"),
        format!("/engine.io/?transport=polling&EIO={long}"),
        format!("/{long}"),
        format!("/engine.io/?{}", "a=b&".repeat(10_000)),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let answer = ask(&running, request).await;
        let status = &statuses(&answer)[..];
        assert!(
            matches!(status, ["400" | "404" | "414" | "431"]),
            "{status:?}"
        );
    }
    assert_unharmed(&running).await;
}

#[tokio::test]
async fn an_absolute_target_is_the_path_in_it() {
    let running = start(both_versions()).await;
    let request = "GET http://example.com/engine.io/?EIO=4&transport=polling HTTP/1.1\r\n\
        Host: example.com\r\nConnection: close\r\n\r\n";
    let answer = ask(&running, request).await;
    assert_eq!(statuses(&answer), ["200"], "{answer}");
}

#[tokio::test]
async fn methods_of_every_shape() {
    let running = start(both_versions()).await;
    let session = running.open().await;
    let long = "M".repeat(5000);
    for method in ["CONNECT", "TRACE", "get", "Get", "X-Y_Z!", &long] {
        for target in [
            &session.url(),
            "/engine.io/",
            "/engine.io/?EIO=4&transport=polling",
        ] {
            let request =
                format!("{method} {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
            let answer = ask(&running, request).await;
            assert!(!answer.contains(" 200 "), "{method}: {answer}");
        }
    }
    running.assert_open(session.sid()).await;
    assert_unharmed(&running).await;
}

#[tokio::test]
async fn a_body_with_two_lengths_is_not_read_as_two_requests() {
    let running = start(both_versions()).await;
    let mut victim = running.open().await;
    let url = victim.url();
    // Each hides a second POST, to be seen by whoever takes the other length.
    let hidden = format!("POST {url} HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n4smuggled!");
    let length = hidden.len() + 5;
    for head in [
        format!("Content-Length: {length}\r\nTransfer-Encoding: chunked"),
        format!("Transfer-Encoding: chunked\r\nContent-Length: {length}"),
        format!("Content-Length: 0\r\nContent-Length: {length}"),
        format!("Content-Length: {length}, 0"),
        format!("Content-Length: +{length}"),
        format!("Content-Length: 0x{length:x}"),
        "Transfer-Encoding: chunked, identity".to_owned(),
        "Transfer-Encoding: xchunked".to_owned(),
        "Transfer-Encoding : chunked".to_owned(),
        "Transfer-Encoding:\x0bchunked".to_owned(),
        "Content-Length: -1".to_owned(),
    ] {
        let other = "/engine.io/?EIO=4&transport=polling&sid=unknown";
        let request =
            format!("POST {other} HTTP/1.1\r\nHost: a\r\n{head}\r\n\r\n0\r\n\r\n{hidden}");
        let answer = exchange(&running, request).await;
        assert!(!answer.contains("\r\n\r\nok"), "{head}: {answer}");
    }
    sleep(A_MOMENT).await;
    assert_eq!(running.seen(victim.sid()).await.messages, []);
    victim.post_ok("4hello").await;
    assert_eq!(victim.poll_text().await, "4hello");
    assert_unharmed(&running).await;
}

#[tokio::test]
async fn where_a_body_ends_is_never_in_doubt() {
    let running = start(both_versions()).await;
    let next = "GET /elsewhere HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let chunks = "6\r\n4hello\r\n0\r\n\r\n";
    let chunked = "Transfer-Encoding: chunked";
    for (head, body, expected) in [
        // refused, and closed
        (
            "Content-Length: 6\r\nContent-Length: 0",
            "4hello",
            &["400"][..],
        ),
        ("Content-Length: 6, 6", "4hello", &["400"]),
        ("Content-Length: +6", "4hello", &["400"]),
        ("Content-Length: 0x6", "4hello", &["400"]),
        ("Transfer-Encoding: chunked, gzip", chunks, &["400"]),
        ("Transfer-Encoding: xchunked", chunks, &["400"]),
        (chunked, "6\n4hello\r\n0\r\n\r\n", &["400"]),
        (chunked, "6\r\n4hello\n0\r\n\r\n", &["400"]),
        (chunked, "6\r\n4hello\r\n0\n\r\n", &["400"]),
        (chunked, "6;a\nb\r\n4hello\r\n0\r\n\r\n", &["400"]),
        (chunked, "+6\r\n4hello\r\n0\r\n\r\n", &["400"]),
        (chunked, "0x6\r\n4hello\r\n0\r\n\r\n", &["400"]),
        // The chunks count, and nothing behind them is read.
        (
            "Content-Length: 6\r\nTransfer-Encoding: chunked",
            chunks,
            &["200"],
        ),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 6",
            chunks,
            &["200"],
        ),
        // taken, and the next request is behind it
        (
            "Content-Length: 6\r\nContent-Length: 6",
            "4hello",
            &["200", "404"],
        ),
        ("Transfer-Encoding: Chunked", chunks, &["200", "404"]),
        ("Transfer-Encoding: gzip, chunked", chunks, &["200", "404"]),
    ] {
        let session = running.open().await;
        let url = session.url();
        let request = format!("POST {url} HTTP/1.1\r\nHost: a\r\n{head}\r\n\r\n{body}{next}");
        let answer = ask(&running, request).await;
        assert_eq!(statuses(&answer), expected, "{head:?} {body:?}: {answer}");
        let taken = usize::from(expected[0] == "200");
        let messages = running.messages(session.sid(), taken).await;
        assert_eq!(messages.len(), taken, "{head:?} {body:?}: {messages:?}");
    }
    assert_unharmed(&running).await;
}

/// A request that opens a session, if these lines do not hinder it. It asks for no end.
fn opening(head: &str) -> String {
    format!("GET /engine.io/?EIO=4&transport=polling HTTP/1.1\r\n{head}\r\n")
}

/// Each is refused, and the connection is closed, though the request does not ask for that.
#[tokio::test]
async fn headers_of_every_shape() {
    let running = start(both_versions()).await;
    for lines in [
        "No colon\r\n",
        ": no name\r\n",
        "X Y: space\r\n",
        "X-Y : space\r\n",
        "X-Y\t: tab\r\n",
        "X-\u{e9}: no token\r\n",
        "X-\0: a\r\n",
        "X-Nul: a\0b\r\n",
        "X-Control: a\x01b\r\n",
        "X-Delete: a\x7fb\r\n",
        "X-Bare: a\rY: b\r\n",
        "X-Fold: a\r\n b\r\n",
        "X-Fold: a\r\n\tb\r\n",
        "X-Fold: a\n b\r\n",
    ] {
        for head in [format!("Host: a\r\n{lines}"), format!("{lines}Host: a\r\n")] {
            let answer = ask(&running, opening(&head)).await;
            assert_eq!(statuses(&answer), ["400"], "{head:?}: {answer}");
        }
    }
    let answer = ask(&running, opening(" Host: a\r\n")).await;
    assert_eq!(statuses(&answer), ["400"], "{answer}");
    let many = "X-Header: 1\r\n".repeat(150);
    let answer = ask(&running, opening(&many)).await;
    assert_eq!(statuses(&answer), ["431"], "{answer}");
    let long = format!("X-Long: {}\r\n", "x".repeat(200_000));
    let answer = ask(&running, opening(&long)).await;
    // The end may overtake the answer, as not all was read.
    assert!(matches!(statuses(&answer)[..], [] | ["431"]), "{answer}");
    assert_unharmed(&running).await;
}

#[tokio::test]
async fn headers_of_any_bytes_are_read() {
    let running = start(both_versions()).await;
    let mut request = b"GET /engine.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: a\r\n".to_vec();
    request.extend_from_slice(b"Connection: close\r\nUser-Agent: \xff\xfe\r\nCookie: \xe9\r\n");
    request.extend_from_slice(b"Accept-Encoding: \xff\r\nContent-Type: \xff\r\n\r\n");
    let answer = ask(&running, request).await;
    assert_eq!(statuses(&answer), ["200"], "{answer}");
    assert_unharmed(&running).await;
}

/// Where hyper is more lenient than others may be. Each shape is one request, which has one answer,
/// and what comes behind it is the next.
#[tokio::test]
async fn shapes_that_a_front_has_to_put_right() {
    let running = start(both_versions()).await;
    let next = "GET /elsewhere HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let usual = opening("Host: a\r\n");
    for request in [
        // a line that ends without its CR (RFC 9112, 2.2, leaves it to the server)
        opening("X-Bare: a\nHost: a\r\n"),
        usual.replace("1.1\r\n", "1.1\n"),
        usual.replace("\r\n\r\n", "\r\n\n"),
        usual.replace("\r\n", "\n"),
        // empty lines before it (RFC 9112, 2.2, asks for one)
        format!("\r\n\r\n{usual}"),
        format!("\n\n{usual}"),
        // no host, several, none that could be one (RFC 9112, 3.2, wants a 400; nothing goes by it)
        opening(""),
        opening("Host: a\r\nHost: b\r\n"),
        opening("Host: a b/@\r\n"),
    ] {
        let answer = ask(&running, format!("{request}{next}")).await;
        assert_eq!(statuses(&answer), ["200", "404"], "{request:?}: {answer}");
    }
    // The line behind a bare LF is a header, and counts.
    let mut session = running.open().await;
    let url = session.url();
    let post = format!("POST {url} HTTP/1.1\r\nHost: a\nContent-Length: 6\r\n\r\n4hello{next}");
    let answer = ask(&running, post).await;
    assert_eq!(statuses(&answer), ["200", "404"], "{answer}");
    assert_eq!(session.poll_text().await, "4hello");
    assert_unharmed(&running).await;
}

#[tokio::test]
async fn websocket_handshakes_of_every_shape() {
    let running = start(both_versions()).await;
    let url = "/engine.io/?EIO=4&transport=websocket";
    let long = "x".repeat(10_000);
    let many = "a,".repeat(10_000);
    for header in [
        ("Sec-WebSocket-Key", &*long),
        ("Sec-WebSocket-Key", "========================"),
        ("Sec-WebSocket-Version", &long),
        ("Sec-WebSocket-Protocol", ",,,"),
        ("Sec-WebSocket-Protocol", &long),
        ("Sec-WebSocket-Protocol", "a b c"),
        ("Sec-WebSocket-Extensions", &many),
        (
            "Sec-WebSocket-Extensions",
            "permessage-deflate; server_max_window_bits=99",
        ),
        ("Sec-WebSocket-Extensions", ";;;=,,,\"\""),
        ("Upgrade", &many),
        ("Connection", &many),
        ("Origin", &long),
        ("Content-Length", "10"),
        ("Transfer-Encoding", "chunked"),
    ] {
        match Ws::connect_with_headers(running.addr, url, &[header]).await {
            Ok(mut ws) => {
                ws.wire().finish().await;
                ws.wire().rest().await;
            }
            Err(response) => assert_eq!(response.status, 400, "{}", header.0),
        }
    }
    assert_unharmed(&running).await;
}

#[tokio::test]
async fn garbage_behind_a_101() {
    let running = start(both_versions()).await;
    let mut rng = Rng::new(2);
    for round in 0..60 {
        let mut ws = match round % 3 {
            0 => running.ws().await.0,
            1 => running.ws_with("EIO=3").await.0,
            _ => Ws::connect(running.addr, &running.open().await.ws_url()).await,
        };
        let size = 1 + rng.below(2000) as usize;
        let mut garbage = rng.bytes(size);
        // A first frame that is complete, so that the server need not wait for more.
        garbage.splice(0..0, [0x93, 0x80, 0, 0, 0, 0]);
        ws.raw(garbage).await;
        ws.wire().rest().await;
    }
    assert_unharmed(&running).await;
}

#[tokio::test]
async fn a_request_in_place_of_frames() {
    let running = start(both_versions()).await;
    let (mut ws, open) = running.ws().await;
    ws.raw("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    ws.wire().rest().await;
    running.close_reason(&open.sid).await;
    assert_unharmed(&running).await;
}

#[tokio::test]
async fn frames_of_every_shape() {
    let running = start(both_versions().max_payload(10_000)).await;
    let mut rng = Rng::new(3);
    for round in 0..200 {
        let query = ["EIO=4", "EIO=3", "EIO=3&b64=1", "EIO=2"][round % 4];
        let (mut ws, _) = running.ws_with(query).await;
        for _ in 0..1 + rng.below(20) {
            let size = rng.below(200) as usize;
            let mut payload = rng.bytes(size);
            if rng.below(2) == 0 {
                // Often enough a packet that is almost right.
                payload.splice(0..0, [b"0123456b"[rng.below(8) as usize]]);
                payload.iter_mut().for_each(|byte| *byte &= 0x7f);
            }
            let frame = Frame {
                fin: rng.below(4) > 0,
                reserved: u8::from(rng.below(30) == 0),
                opcode: [0, 1, 1, 1, 2, 2, 8, 9, 10, 11][rng.below(10) as usize],
                masked: rng.below(30) > 0,
                payload: payload.into(),
            };
            ws.frame(&frame).await;
        }
        ws.wire().finish().await;
        ws.wire().rest().await;
    }
    running.sessions(0).await;
    assert_unharmed(&running).await;
}

#[tokio::test]
async fn bodies_of_every_shape() {
    let running = start(both_versions()).await;
    let mut rng = Rng::new(4);
    let pieces: [&[u8]; 16] = [
        b"4hello",
        b"\x1e",
        b"b",
        b"AQ==",
        b"1",
        b"2",
        b"3",
        b"6",
        b"0:",
        b"2:4a",
        b"\x00",
        b"\x01",
        b"\xff",
        b"d=",
        b"%",
        b"99999999999",
    ];
    for round in 0..400 {
        let query = [
            "EIO=4",
            "EIO=3",
            "EIO=3&b64=1",
            "EIO=2",
            "EIO=4&j=1",
            "EIO=3&j=1&b64=1",
        ][round % 6];
        let mut session = Polling::open(running.addr, common::PATH, query).await;
        let mut body = Vec::new();
        for _ in 0..rng.below(8) {
            if rng.below(4) == 0 {
                let size = rng.below(10) as usize;
                body.extend(rng.bytes(size));
            } else {
                body.extend_from_slice(pieces[rng.below(16) as usize]);
            }
        }
        let kind = ["text/plain", "application/octet-stream", ""][rng.below(3) as usize];
        let response = session.post_as(kind, &body).await;
        assert!(
            matches!(response.status, 200 | 400),
            "{body:?}: {response:?}"
        );
    }
    assert_unharmed(&running).await;
}

#[tokio::test]
async fn clients_that_send_half_and_wait() {
    let running = start(both_versions()).await;
    let session = running.open().await;
    let url = session.url();
    let halves = [
        "G".to_owned(),
        "GET /engine.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: a\r\n".to_owned(),
        format!("POST {url} HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n4"),
    ];
    let mut wires = Vec::new();
    for half in halves.iter().cycle().take(30) {
        let mut wire = Wire::connect(running.addr).await;
        wire.send(half).await;
        wires.push(wire);
    }
    let (mut ws, _) = running.ws().await;
    ws.raw(&Frame::new(ws::TEXT, "4hello").encode()[..5]).await;
    sleep(A_MOMENT).await;
    assert_unharmed(&running).await;
}

#[tokio::test]
async fn connections_that_come_and_go() {
    let running = start(both_versions()).await;
    let mut rng = Rng::new(5);
    for _ in 0..200 {
        let mut http = Http::connect(running.addr).await;
        match rng.below(3) {
            0 => {}
            1 => {
                let url = "/engine.io/?EIO=4&transport=polling";
                http.send_request("GET", url, &[], "").await;
            }
            _ => http.send("GET /engine.io/?EIO=4&tr").await,
        }
        if rng.below(4) == 0 {
            sleep(Duration::from_millis(1)).await;
        }
    }
    assert_unharmed(&running).await;
}

#[tokio::test]
async fn requests_that_do_not_wait_for_their_answers() {
    let running = start(both_versions()).await;
    let mut session = running.open().await;
    let url = session.url();
    let mut bytes = String::new();
    for number in 0..50 {
        let body = format!("4{number:03}");
        bytes += &format!("POST {url} HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n{body}");
    }
    bytes += &format!("GET {url} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    let answer = ask(&running, bytes).await;
    assert_eq!(statuses(&answer), ["200"; 51]);
    let expected: Vec<_> = (0..50).map(|number| format!("4{number:03}")).collect();
    assert!(answer.ends_with(&expected.join("\x1e")), "{answer}");
    session.post_ok("4hello").await;
    assert_eq!(session.poll_text().await, "4hello");
}
