//! HTTP long-polling, protocol version 4.

mod common;

use std::time::Duration;

use common::{A_MOMENT, RECORD, assert_error, assert_unknown, start, start_with};
use engineio::{CloseReason, Config};
use testkit::Http;
use tokio::time::sleep;

#[tokio::test]
async fn a_poll_waits_until_there_is_something_to_say() {
    let running = start(Config::default()).await;
    let mut session = running.open().await;
    let handle = running.handle(session.sid()).await;
    session.send_poll().await;
    session.get_connection().silence(A_MOMENT).await;
    handle.send("now");
    assert_eq!(session.recv_poll().await.text(), "4now");
}

#[tokio::test]
async fn a_poll_takes_everything_that_waits() {
    let running = start(Config::default()).await;
    let mut session = running.open().await;
    let handle = running.handle(session.sid()).await;
    for number in 0..100 {
        handle.send(&*number.to_string());
    }
    sleep(A_MOMENT).await;
    let expected: Vec<_> = (0..100).map(|number| format!("4{number}")).collect();
    assert_eq!(session.poll_text().await, expected.join("\x1e"));
}

#[tokio::test]
async fn messages_of_every_shape_come_back_as_they_were() {
    let running = start(Config::default()).await;
    let mut session = running.open().await;
    for payload in [
        "4",
        "4\n\"\\\u{0}\u{7f}",
        "4é€😀\u{2028}中文",
        "44hello",
        "4{\"a\":[1]}",
        "b",
        "bAA==",
        "b//79",
        "4a\x1eb\x1e4\x1ebAQ==\x1e4b",
    ] {
        session.post_ok(payload).await;
        assert_eq!(session.poll_text().await, payload);
    }
}

#[tokio::test]
async fn base64_without_padding_is_understood() {
    let running = start(Config::default()).await;
    let mut session = running.open().await;
    session.post_ok("bAQIDBA").await;
    assert_eq!(session.poll_text().await, "bAQIDBA==");
}

#[tokio::test]
async fn any_number_of_polls_and_posts_keep_their_order() {
    let running = start(Config::default()).await;
    let mut session = running.open().await;
    let mut received = Vec::new();
    for number in 0..200 {
        session.post_ok(&format!("4{number}")).await;
        if number % 7 == 0 {
            received.push(session.poll_text().await);
        }
    }
    received.push(session.poll_text().await);
    let expected: Vec<_> = (0..200).map(|number| format!("4{number}")).collect();
    assert_eq!(received.join("\x1e"), expected.join("\x1e"));
}

#[tokio::test]
async fn answers_to_a_post_leave_by_the_poll() {
    let running = start(Config::default()).await;
    let mut session = running.open().await;
    session.send_poll().await;
    session.post_ok("4hello").await;
    assert_eq!(session.recv_poll().await.text(), "4hello");
}

#[tokio::test]
async fn responses_have_the_official_headers() {
    let running = start(Config::default()).await;
    let mut session = running.open().await;
    let post = session.post("4hello").await;
    assert_eq!(post.header("content-type"), Some("text/html"));
    assert_eq!(post.header("content-length"), Some("2"));
    assert_eq!(post.header("cache-control"), Some("no-store"));
    let poll = session.poll().await;
    assert_eq!(
        poll.header("content-type"),
        Some("text/plain; charset=UTF-8")
    );
    assert_eq!(poll.header("content-length"), Some("6"));
    assert_eq!(poll.header("cache-control"), Some("no-store"));
    for response in [post, poll] {
        assert_eq!(response.header("x-xss-protection"), None);
    }
}

#[tokio::test]
async fn the_filter_of_old_internet_explorers_is_switched_off() {
    let running = start(Config::default()).await;
    for agent in [
        "Mozilla/4.0 (compatible;MSIE 8.0; Windows NT 6.1)",
        "Mozilla/5.0 (Windows NT 6.1; Trident/7.0; rv:11.0) like Gecko",
    ] {
        let headers = [("User-Agent", agent)];
        let session = running.open().await;
        let mut http = Http::connect(running.addr).await;
        let post = http
            .request("POST", &session.url(), &headers, "4hello")
            .await;
        let poll = http.request("GET", &session.url(), &headers, "").await;
        for response in [post, poll] {
            assert_eq!(response.status, 200);
            assert_eq!(response.header("x-xss-protection"), Some("0"), "{agent}");
        }
    }
}

#[tokio::test]
async fn a_post_that_cannot_be_decoded_closes_the_session() {
    let running = start(Config::default()).await;
    for payload in [
        "",
        "abc",
        "7",
        "{}",
        "\x1e",
        "4a\x1e",
        "\x1e4a",
        "4a\x1e\x1e4b",
        "B",
        "4a\x1e[]",
    ] {
        let mut session = running.open().await;
        let response = session.post(payload).await;
        assert_eq!(response.status, 400, "{payload:?}");
        assert_unknown(&session.poll().await);
        assert_unknown(&session.post("4a").await);
        let reason = running.close_reason(session.sid()).await;
        assert_eq!(reason, CloseReason::ParseError, "{payload:?}");
    }
}

#[tokio::test]
async fn the_poll_that_waits_hears_of_a_post_that_cannot_be_decoded() {
    let running = start(Config::default()).await;
    let mut session = running.open().await;
    session.send_poll().await;
    sleep(A_MOMENT).await;
    assert_eq!(session.post("abc").await.status, 400);
    let poll = session.recv_poll().await;
    assert_eq!((poll.status, poll.text()), (200, "1"));
}

#[tokio::test]
async fn what_is_not_utf8_is_replaced() {
    let running = start_with(Config::default(), RECORD).await;
    let mut session = running.open().await;
    let response = session.post_as("text/plain", b"4\xff\xfe").await;
    assert_eq!(response.text(), "ok");
    let messages = running.messages(session.sid(), 1).await;
    assert_eq!(messages, ["\u{fffd}\u{fffd}"]);
}

#[tokio::test]
async fn packets_before_the_bad_one_are_delivered() {
    let running = start(Config::default()).await;
    let mut session = running.open().await;
    session.post("4a\x1e4b\x1ex\x1e4c").await;
    let reason = running.close_reason(session.sid()).await;
    assert_eq!(reason, CloseReason::ParseError);
    assert_eq!(running.messages(session.sid(), 2).await, ["a", "b"]);
}

#[tokio::test]
async fn packets_after_a_close_packet_are_not_delivered() {
    let running = start(Config::default()).await;
    let mut session = running.open().await;
    session.post_ok("4a\x1e1\x1e4b").await;
    let reason = running.close_reason(session.sid()).await;
    assert_eq!(reason, CloseReason::TransportClose);
    assert_eq!(running.messages(session.sid(), 1).await, ["a"]);
}

#[tokio::test]
async fn packets_that_mean_nothing_here_are_ignored() {
    let running = start(Config::default()).await;
    let mut session = running.open().await;
    session.post_ok("6\x1e5\x1e0\x1e3\x1e4a").await;
    assert_eq!(session.poll_text().await, "4a");
    running.assert_open(session.sid()).await;
}

#[tokio::test]
async fn every_content_type_but_bytes_is_text() {
    let running = start(Config::default()).await;
    let mut session = running.open().await;
    for content_type in [
        "",
        "text/plain",
        "text/plain;charset=UTF-8",
        "text/html",
        "application/json",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
    ] {
        let response = session.post_as(content_type, "4hello").await;
        assert_eq!(response.text(), "ok", "{content_type}");
        assert_eq!(session.poll_text().await, "4hello", "{content_type}");
    }
}

#[tokio::test]
async fn bytes_close_the_session() {
    let running = start(Config::default()).await;
    let mut session = running.open().await;
    let response = session.post_as("application/octet-stream", "4hello").await;
    assert_eq!(response.status, 400);
    assert_unknown(&session.poll().await);
    let seen = running.seen(session.sid()).await;
    assert_eq!(seen.messages, []);
    assert_eq!(seen.closed, [CloseReason::TransportError]);
}

#[tokio::test]
async fn a_body_may_come_in_chunks() {
    let running = start(Config::default()).await;
    let mut session = running.open().await;
    let url = session.url();
    let http = session.post_connection();
    let headers = [("Transfer-Encoding", "chunked")];
    http.send_request("POST", &url, &headers, "2\r\n4h\r\n")
        .await;
    sleep(A_MOMENT).await;
    http.send("4\r\nello\r\n0\r\n\r\n").await;
    assert_eq!(http.response().await.text(), "ok");
    assert_eq!(session.poll_text().await, "4hello");
}

#[tokio::test]
async fn a_body_may_come_byte_by_byte() {
    let running = start(Config::default()).await;
    let mut session = running.open().await;
    let url = session.url();
    let http = session.post_connection();
    let headers = [("Content-Length", "6")];
    http.send_request("POST", &url, &headers, "").await;
    for byte in b"4hello" {
        http.send([*byte]).await;
        sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(http.response().await.text(), "ok");
    assert_eq!(session.poll_text().await, "4hello");
}

#[tokio::test]
async fn a_client_may_ask_before_it_sends_the_body() {
    let running = start(Config::default()).await;
    let mut session = running.open().await;
    let url = session.url();
    let http = session.post_connection();
    let headers = [("Content-Length", "6"), ("Expect", "100-continue")];
    http.send_request("POST", &url, &headers, "").await;
    sleep(A_MOMENT).await;
    http.send("4hello").await;
    assert_eq!(http.response().await.text(), "ok");
    assert_eq!(session.poll_text().await, "4hello");
}

#[tokio::test]
async fn a_second_poll_closes_the_session() {
    let running = start(Config::default()).await;
    let mut session = running.open().await;
    session.send_poll().await;
    sleep(A_MOMENT).await;
    let second = testkit::get(running.addr, &session.url()).await;
    assert_eq!((second.status, second.text()), (400, ""));
    let first = session.recv_poll().await;
    assert_eq!((first.status, first.text()), (200, "1"));
    assert_unknown(&session.poll().await);
    let reason = running.close_reason(session.sid()).await;
    assert_eq!(reason, CloseReason::TransportError);
}

#[tokio::test]
async fn a_second_post_closes_the_session() {
    let running = start(Config::default()).await;
    let mut session = running.open().await;
    let url = session.url();
    let first = session.post_connection();
    let headers = [("Content-Length", "6")];
    first.send_request("POST", &url, &headers, "4he").await;
    sleep(A_MOMENT).await;
    let second = testkit::post(running.addr, &url, "text/plain", "4hello").await;
    assert_eq!((second.status, second.text()), (400, ""));
    // The first may be answered or broken off, but it is not accepted.
    first.send("llo").await;
    if let Some(response) = first.try_response().await {
        assert_eq!(response.status, 400);
    }
    assert_unknown(&session.poll().await);
    let seen = running.seen(session.sid()).await;
    assert_eq!(seen.messages, []);
    assert_eq!(seen.closed, [CloseReason::TransportError]);
}

#[tokio::test]
async fn a_second_post_tells_the_poll_that_waits() {
    let running = start(Config::default()).await;
    let mut session = running.open().await;
    let url = session.url();
    session.send_poll().await;
    let headers = [("Content-Length", "6")];
    session
        .post_connection()
        .send_request("POST", &url, &headers, "4he")
        .await;
    sleep(A_MOMENT).await;
    testkit::post(running.addr, &url, "text/plain", "4hello").await;
    assert_eq!(session.recv_poll().await.text(), "1");
}

#[tokio::test]
async fn posts_one_after_the_other_do_not_overlap() {
    let running = start(Config::default()).await;
    let mut session = running.open().await;
    let url = session.url();
    let http = session.post_connection();
    // Pipelined: the second is in the server's buffer before the first is answered.
    for number in 0..20 {
        http.send_request("POST", &url, &[], format!("4{number}"))
            .await;
    }
    for _ in 0..20 {
        assert_eq!(http.response().await.text(), "ok");
    }
    let expected: Vec<_> = (0..20).map(|number| format!("4{number}")).collect();
    assert_eq!(session.poll_text().await, expected.join("\x1e"));
}

#[tokio::test]
async fn a_poll_that_is_given_up_closes_the_session() {
    let running = start(Config::default()).await;
    let mut session = running.open().await;
    session.send_poll().await;
    sleep(A_MOMENT).await;
    session.abort_poll().await;
    let reason = running.close_reason(session.sid()).await;
    assert_eq!(reason, CloseReason::TransportError);
    assert_unknown(&session.poll().await);
    running.sessions(0).await;
}

#[tokio::test]
async fn a_post_that_is_given_up_closes_the_session() {
    let running = start(Config::default()).await;
    let mut session = running.open().await;
    session.send_poll().await;
    let url = session.url();
    let mut other = Http::connect(running.addr).await;
    let headers = [("Content-Length", "6")];
    other.send_request("POST", &url, &headers, "4he").await;
    sleep(A_MOMENT).await;
    drop(other);
    assert_eq!(session.recv_poll().await.text(), "1");
    let reason = running.close_reason(session.sid()).await;
    assert_eq!(reason, CloseReason::TransportError);
    assert_unknown(&session.poll().await);
}

#[tokio::test]
async fn polls_on_connections_of_their_own_work_as_well() {
    let running = start(Config::default()).await;
    let mut session = running.open().await;
    let headers = [("Connection", "close")];
    for number in 0..5 {
        let url = session.url();
        let mut http = Http::connect(running.addr).await;
        let payload = format!("4{number}");
        let post = http.request("POST", &url, &headers, &payload).await;
        assert_eq!(post.text(), "ok");
        http.closed().await;
        let poll = testkit::request(running.addr, "GET", &url, &headers, "").await;
        assert_eq!(poll.text(), payload);
    }
    running.assert_open(session.sid()).await;
    session.post_ok("4last").await;
    assert_eq!(session.poll_text().await, "4last");
}

#[tokio::test]
async fn a_connection_serves_several_sessions() {
    let running = start(Config::default()).await;
    let (mut a, mut b) = (running.open().await, running.open().await);
    let (url_a, url_b) = (a.url(), b.url());
    let http = a.post_connection();
    assert_eq!(http.post(&url_a, "", "4a").await.text(), "ok");
    assert_eq!(http.post(&url_b, "", "4b").await.text(), "ok");
    assert_eq!(b.poll_text().await, "4b");
    assert_eq!(a.poll_text().await, "4a");
}

#[tokio::test]
async fn other_methods_are_refused_and_do_no_harm() {
    let running = start(Config::default()).await;
    let mut session = running.open().await;
    session.send_poll().await;
    sleep(A_MOMENT).await;
    for method in ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"] {
        let response = testkit::request(running.addr, method, &session.url(), &[], "").await;
        assert_error(&response, 400, 2, "Bad handshake method");
    }
    let response = testkit::request(running.addr, "HEAD", &session.url(), &[], "").await;
    assert_eq!(response.status, 400);
    session.post_ok("4hello").await;
    assert_eq!(session.recv_poll().await.text(), "4hello");
}

#[tokio::test]
async fn a_large_message_comes_back_whole() {
    let running = start(Config::default()).await;
    let mut session = running.open().await;
    let payload = format!("4{}", "é".repeat(400_000));
    session.post_ok(&payload).await;
    assert_eq!(session.poll_text().await, payload);
}
