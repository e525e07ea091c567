//! The HTTP client against a scripted server.

mod common;

use std::time::Duration;

use common::script;
use testkit::{Http, within};

const HEAD_END: &str = "\r\n\r\n";

#[tokio::test]
async fn reads_a_body_of_known_length_and_reuses_the_connection() {
    let first = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nok";
    let second = b"HTTP/1.1 400 Bad Request\r\nx-a: 1\r\nX-A: 2\r\ncontent-length: 0\r\n\r\n";
    let (addr, server) = script([vec![
        (HEAD_END, first.to_vec()),
        ("4hello", second.to_vec()),
    ]])
    .await;
    let mut http = Http::connect(addr).await;

    let response = http.get("/a?b=c").await;
    assert_eq!((response.status, response.text()), (200, "ok"));
    assert_eq!(response.header("content-type"), Some("text/html"));

    let response = http.post("/d", "text/plain", "4hello").await;
    assert_eq!((response.status, response.text()), (400, ""));
    assert_eq!(
        response.header_values("X-a").collect::<Vec<_>>(),
        ["1", "2"]
    );
    http.closed().await;

    let [sent] = server.await.unwrap();
    let expected = format!(
        "GET /a?b=c HTTP/1.1\r\nHost: {addr}\r\n\r\n\
         POST /d HTTP/1.1\r\nHost: {addr}\r\nContent-Length: 6\r\nContent-Type: text/plain\r\n\r\n\
         4hello"
    );
    assert_eq!(sent, expected);
}

#[tokio::test]
async fn reads_chunks() {
    let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
        3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n";
    let (addr, _server) = script([vec![(HEAD_END, answer.to_vec())]]).await;
    assert_eq!(testkit::get(addr, "/").await.text(), "abc0123456789");
}

#[tokio::test]
async fn reads_a_body_that_ends_with_the_connection() {
    let answer = b"HTTP/1.1 200 OK\r\n\r\nto the end";
    let (addr, _server) = script([vec![(HEAD_END, answer.to_vec())]]).await;
    assert_eq!(testkit::get(addr, "/").await.text(), "to the end");
}

#[tokio::test]
async fn expects_no_body_where_there_is_none() {
    let answers = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n";
    let no_content = b"HTTP/1.1 204 No Content\r\n\r\n";
    let (addr, _server) = script([vec![
        (HEAD_END, answers.to_vec()),
        (HEAD_END, no_content.to_vec()),
    ]])
    .await;
    let mut http = Http::connect(addr).await;
    let response = http.request("HEAD", "/", &[], "").await;
    assert_eq!((response.status, response.body.len()), (200, 0));
    assert_eq!(http.request("OPTIONS", "/", &[], "").await.status, 204);
}

#[tokio::test]
async fn given_headers_replace_the_usual_ones() {
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let (addr, server) = script([vec![("0\r\n\r\n", answer.to_vec())]]).await;
    let headers = [("host", "example.com"), ("Transfer-Encoding", "chunked")];
    testkit::request(addr, "POST", "/", &headers, "0\r\n\r\n").await;
    let [sent] = server.await.unwrap();
    let expected = "POST / HTTP/1.1\r\nhost: example.com\r\nTransfer-Encoding: chunked\r\n\r\n\
        0\r\n\r\n";
    assert_eq!(sent, expected);
}

#[tokio::test]
async fn the_end_of_the_connection_is_no_response() {
    let (addr, _server) = script([vec![("nonsense", Vec::new())]]).await;
    let mut http = Http::connect(addr).await;
    http.send("nonsense").await;
    assert_eq!(http.try_response().await, None);
}

#[tokio::test]
#[should_panic(expected = "waited in vain for the response to GET /slow")]
async fn waits_no_longer_than_the_limit() {
    let (addr, _server) = script([vec![("never", Vec::new())]]).await;
    let mut http = Http::connect(addr).await;
    http.set_limit(Duration::from_millis(20));
    http.get("/slow").await;
}

#[tokio::test]
#[should_panic(expected = "expected silence")]
async fn silence_is_broken_by_any_byte() {
    let (addr, _server) = script([vec![("x", b"y".to_vec())]]).await;
    let mut http = Http::connect(addr).await;
    http.send("x").await;
    http.silence(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn silence_passes() {
    let (addr, _server) = script([vec![("never", Vec::new())]]).await;
    let mut http = Http::connect(addr).await;
    http.silence(Duration::from_millis(20)).await;
}

#[tokio::test]
#[should_panic(expected = "in vain for a miracle")]
async fn within_names_what_it_waited_for() {
    within(
        Duration::from_millis(5),
        "a miracle",
        std::future::pending::<()>(),
    )
    .await;
}
