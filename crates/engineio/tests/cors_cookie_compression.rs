//! What responses carry beside their bodies: CORS headers, the cookie, a coding.

mod common;

use std::{io::Read as _, time::Duration};

use common::{assert_error, start};
use engineio::{Config, Cookie, Cors, Encoded, HttpCompression, SameSite};
use flate2::read::{GzDecoder, ZlibDecoder};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use testkit::{Http, Response, Ws};

const URL: &str = "/engine.io/?EIO=4&transport=polling";
const WS_URL: &str = "/engine.io/?EIO=4&transport=websocket";
const ORIGIN: (&str, &str) = ("Origin", "http://page.example");

fn cors_headers(response: &Response) -> Vec<(&str, &str)> {
    let headers = response.headers.iter();
    headers
        .filter(|(name, _)| name.starts_with("access-control-") || name == "vary")
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect()
}

#[tokio::test]
async fn without_cors_there_are_no_headers_and_no_preflight() {
    let running = start(Config::default()).await;
    let response = testkit::request(running.addr, "GET", URL, &[ORIGIN], "").await;
    assert_eq!(response.status, 200);
    assert_eq!(cors_headers(&response), []);
    let response = testkit::request(running.addr, "OPTIONS", URL, &[ORIGIN], "").await;
    assert_error(&response, 400, 2, "Bad handshake method");
    assert_eq!(cors_headers(&response), []);
}

#[tokio::test]
async fn any_origin_is_a_star() {
    let running = start(Config::default().cors(Cors::any())).await;
    for headers in [&[ORIGIN][..], &[]] {
        let response = testkit::request(running.addr, "GET", URL, headers, "").await;
        assert_eq!(
            cors_headers(&response),
            [("access-control-allow-origin", "*")]
        );
    }
}

#[tokio::test]
async fn a_fixed_origin_is_always_the_answer() {
    let cors = Cors::exact(HeaderValue::from_static("http://only.example"));
    let running = start(Config::default().cors(cors)).await;
    let response = testkit::request(running.addr, "GET", URL, &[ORIGIN], "").await;
    let mut headers = cors_headers(&response);
    headers.sort_unstable();
    let expected = [
        ("access-control-allow-origin", "http://only.example"),
        ("vary", "Origin"),
    ];
    assert_eq!(headers, expected);
}

#[tokio::test]
async fn of_a_list_the_origin_that_asks_is_the_answer() {
    let origins = ["http://page.example", "http://other.example"].map(HeaderValue::from_static);
    let running = start(Config::default().cors(Cors::one_of(origins))).await;
    let response = testkit::request(running.addr, "GET", URL, &[ORIGIN], "").await;
    let allowed = response.header("access-control-allow-origin");
    assert_eq!(allowed, Some("http://page.example"));
    // Another origin is served all the same: it is the browser that keeps it from reading.
    let stranger = [("Origin", "http://stranger.example")];
    let response = testkit::request(running.addr, "GET", URL, &stranger, "").await;
    assert_eq!(response.status, 200);
    assert_eq!(cors_headers(&response), [("vary", "Origin")]);
}

#[tokio::test]
async fn a_preflight_is_answered_in_full_and_in_the_official_order() {
    let cors = Cors::reflect()
        .credentials(true)
        .methods([Method::GET, Method::POST])
        .allowed_headers([
            HeaderName::from_static("x-one"),
            HeaderName::from_static("x-two"),
        ])
        .exposed_headers([HeaderName::from_static("x-three")])
        .max_age(Duration::from_secs(60));
    let running = start(Config::default().cors(cors)).await;
    let response = testkit::request(running.addr, "OPTIONS", URL, &[ORIGIN], "").await;
    assert_eq!((response.status, response.text()), (204, ""));
    let expected = [
        ("access-control-allow-origin", "http://page.example"),
        ("vary", "Origin"),
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-methods", "GET,POST"),
        ("access-control-allow-headers", "x-one,x-two"),
        ("access-control-max-age", "60"),
        ("access-control-expose-headers", "x-three"),
    ];
    assert_eq!(cors_headers(&response), expected);
    assert_eq!(running.server.sessions(), 0);
}

#[tokio::test]
async fn a_preflight_may_ask_for_headers_and_the_status_is_a_setting() {
    let cors = Cors::any().options_success_status(StatusCode::OK);
    let running = start(Config::default().cors(cors)).await;
    let headers = [ORIGIN, ("Access-Control-Request-Headers", "x-a, x-b")];
    let response = testkit::request(running.addr, "OPTIONS", "/engine.io/", &headers, "").await;
    assert_eq!((response.status, response.text()), (200, ""));
    let allowed = response.header("access-control-allow-headers");
    assert_eq!(allowed, Some("x-a, x-b"));
    let methods = response.header("access-control-allow-methods");
    assert_eq!(methods, Some("GET,HEAD,PUT,PATCH,POST,DELETE"));
    let vary = response.header("vary");
    assert_eq!(vary, Some("Access-Control-Request-Headers"));
}

#[tokio::test]
async fn a_preflight_may_go_on_to_the_engine() {
    let cors = Cors::any().preflight_continue(true);
    let running = start(Config::default().cors(cors)).await;
    let response = testkit::request(running.addr, "OPTIONS", URL, &[ORIGIN], "").await;
    assert_error(&response, 400, 2, "Bad handshake method");
}

#[tokio::test]
async fn every_answer_carries_cors_headers() {
    let config = Config::default().cors(Cors::any()).max_payload(10);
    let running = start(config).await;
    let mut session = running.open().await;
    let star = |response: &Response, status: u16| {
        assert_eq!(response.status, status, "{response:?}");
        let origin = response.header("access-control-allow-origin");
        assert_eq!(origin, Some("*"), "{response:?}");
    };
    star(&session.opened, 200);
    star(&session.post("4hello").await, 200);
    star(&session.poll().await, 200);
    star(&session.post("4more than ten").await, 413);
    star(&session.post("nonsense").await, 400);
    star(&session.poll().await, 400);
    star(&testkit::get(running.addr, "/engine.io/").await, 400);
    star(&testkit::get(running.addr, WS_URL).await, 400);
    let refused = Ws::connect_with_headers(running.addr, "/engine.io/?EIO=9", &[]).await;
    star(&refused.expect_err("a refusal"), 400);
    let ws = Ws::connect(running.addr, WS_URL).await;
    star(ws.response(), 101);
}

#[tokio::test]
async fn a_page_of_another_origin_can_use_polling() {
    let cors = Cors::reflect().credentials(true);
    let running = start(Config::default().cors(cors)).await;
    let mut session = running.open().await;
    let mut http = Http::connect(running.addr).await;
    let url = session.url();
    let response = http.request("POST", &url, &[ORIGIN], "4hello").await;
    assert_eq!(response.text(), "ok");
    let allowed = response.header("access-control-allow-origin");
    assert_eq!(allowed, Some("http://page.example"));
    let credentials = response.header("access-control-allow-credentials");
    assert_eq!(credentials, Some("true"));
    assert_eq!(session.poll_text().await, "4hello");
}

fn cookies(response: &Response) -> Vec<&str> {
    response.header_values("set-cookie").collect()
}

#[tokio::test]
async fn there_is_no_cookie_unless_it_is_asked_for() {
    let running = start(Config::default()).await;
    assert_eq!(cookies(&running.open().await.opened), [""; 0]);
}

#[tokio::test]
async fn the_cookie_is_set_by_the_polling_handshake_only() {
    let running = start(Config::default().cookie(Cookie::default())).await;
    let mut session = running.open().await;
    let expected = format!("io={}; Path=/; HttpOnly; SameSite=Lax", session.sid());
    assert_eq!(cookies(&session.opened), [expected]);
    assert_eq!(cookies(&session.post("4hello").await), [""; 0]);
    assert_eq!(cookies(&session.poll().await), [""; 0]);
    assert_eq!(cookies(&session.post("nonsense").await), [""; 0]);
    let ws = Ws::connect(running.addr, WS_URL).await;
    assert_eq!(cookies(ws.response()), [""; 0]);
}

#[tokio::test]
async fn the_attributes_of_the_cookie_are_settings() {
    let cookie = Cookie::new("route")
        .and_then(|it| it.path("/chat"))
        .and_then(|it| it.domain("example.com"))
        .expect("valid")
        .max_age(Duration::from_secs(60))
        .http_only(false)
        .secure(true)
        .same_site(SameSite::Strict);
    let running = start(Config::default().cookie(cookie)).await;
    let session = running.open().await;
    let expected = format!(
        "route={}; Max-Age=60; Domain=example.com; Path=/chat; Secure; SameSite=Strict",
        session.sid()
    );
    assert_eq!(cookies(&session.opened), [expected]);

    let bare = Cookie::default().path(None).expect("valid");
    let bare = bare.http_only(false).same_site(None);
    let running = start(Config::default().cookie(bare)).await;
    let session = running.open().await;
    assert_eq!(cookies(&session.opened), [format!("io={}", session.sid())]);
}

/// A message of so many bytes that compresses well.
fn long(bytes: usize) -> String {
    "hello ".repeat(bytes / 6 + 1)[..bytes].to_owned()
}

/// A session whose next poll is answered with `4` and the text; that answer.
async fn poll(config: Config, accept: &str, text: &str) -> Response {
    let running = start(config).await;
    let session = running.open().await;
    running.handle(session.sid()).await.send(text);
    let headers = [("Accept-Encoding", accept)];
    let response = testkit::request(running.addr, "GET", &session.url(), &headers, "").await;
    assert_eq!(response.status, 200);
    response
}

fn gunzip(body: &[u8]) -> String {
    let mut text = String::new();
    GzDecoder::new(body)
        .read_to_string(&mut text)
        .expect("gzip");
    text
}

fn inflate(body: &[u8]) -> String {
    let mut text = String::new();
    ZlibDecoder::new(body)
        .read_to_string(&mut text)
        .expect("deflate");
    text
}

#[tokio::test]
async fn polls_are_compressed_by_gzip() {
    let text = long(1023);
    let response = poll(Config::default(), "gzip, deflate, br", &text).await;
    assert_eq!(response.header("content-encoding"), Some("gzip"));
    let content_type = response.header("content-type");
    assert_eq!(content_type, Some("text/plain; charset=UTF-8"));
    assert!(response.body.len() < 200);
    assert_eq!(gunzip(&response.body), format!("4{text}"));
}

#[tokio::test]
async fn polls_are_compressed_by_deflate_for_clients_that_want_it() {
    let text = long(5000);
    for accept in ["deflate", "gzip;q=0.5, deflate", "gzip;q=0, deflate, br"] {
        let response = poll(Config::default(), accept, &text).await;
        assert_eq!(response.header("content-encoding"), Some("deflate"));
        let decoded = inflate(&response.body);
        assert_eq!(decoded, format!("4{text}"), "{accept}");
    }
}

#[tokio::test]
async fn large_polls_are_compressed_as_well() {
    // Numbers, so that not everything looks the same.
    let text: String = (0..150_000).map(|number| format!("{number},")).collect();
    for (accept, coding) in [
        ("gzip", Some("gzip")),
        ("deflate", Some("deflate")),
        ("identity", None),
    ] {
        let response = poll(Config::default(), accept, &text).await;
        assert_eq!(response.header("content-encoding"), coding);
        let length = response.body.len().to_string();
        assert_eq!(response.header("content-length"), Some(&*length));
        let body = match coding {
            Some("gzip") => gunzip(&response.body),
            Some(_) => inflate(&response.body),
            None => response.text().to_owned(),
        };
        assert!(body == format!("4{text}"), "{accept}");
    }
}

#[tokio::test]
async fn polls_are_not_compressed_for_clients_that_do_not_want_it() {
    let text = long(5000);
    for accept in ["identity", "br", "", "gzip;q=0", "nonsense", ";;;,,,q="] {
        let response = poll(Config::default(), accept, &text).await;
        assert_eq!(response.header("content-encoding"), None, "{accept:?}");
        assert_eq!(response.text(), format!("4{text}"));
    }
}

#[tokio::test]
async fn short_polls_are_not_compressed() {
    let response = poll(Config::default(), "gzip", &long(1022)).await;
    assert_eq!(response.header("content-encoding"), None);
}

#[tokio::test]
async fn compression_has_settings() {
    let low = Some(HttpCompression::default().threshold(100).level(1));
    let response = poll(Config::default().http_compression(low), "gzip", &long(200)).await;
    assert_eq!(response.header("content-encoding"), Some("gzip"));
    assert_eq!(gunzip(&response.body), format!("4{}", long(200)));
    let off = Config::default().http_compression(None);
    let response = poll(off, "gzip", &long(5000)).await;
    assert_eq!(response.header("content-encoding"), None);
}

#[tokio::test]
async fn old_clients_and_scripts_are_compressed_as_well() {
    let running = start(Config::default().allow_eio3(true)).await;
    let text = long(2000);
    for (query, start) in [
        ("EIO=3&t=x", b"\x00\x02\x00\x00\x01\xff4hello"),
        ("EIO=3&b64=1", b"2001:4hello "),
        ("EIO=4&j=7", b"___eio[7](\"4"),
    ] {
        let session = testkit::Polling::open(running.addr, common::PATH, query).await;
        running.handle(session.sid()).await.send(&*text);
        let headers = [("Accept-Encoding", "gzip")];
        let response = testkit::request(running.addr, "GET", &session.url(), &headers, "").await;
        assert_eq!(response.header("content-encoding"), Some("gzip"));
        let mut body = Vec::new();
        let mut decoder = GzDecoder::new(&response.body[..]);
        decoder.read_to_end(&mut body).expect("gzip");
        assert!(body.starts_with(start), "{query}");
    }
}

#[tokio::test]
async fn posts_and_websockets_are_not_compressed() {
    let low = Some(HttpCompression::default().threshold(0));
    let running = start(Config::default().http_compression(low)).await;
    let session = running.open().await;
    let headers = [("Accept-Encoding", "gzip")];
    let url = session.url();
    let response = testkit::request(running.addr, "POST", &url, &headers, "4a").await;
    assert_eq!(response.header("content-encoding"), None);
    assert_eq!(response.text(), "ok");
    let ws = Ws::connect_with_headers(running.addr, WS_URL, &headers).await;
    let mut ws = ws.expect("a 101");
    assert_eq!(ws.response().header("content-encoding"), None);
    assert!(ws.recv_text().await.starts_with("0{"));
}

#[tokio::test]
async fn a_poll_is_compressed_if_one_of_its_messages_wants_it() {
    let running = start(Config::default()).await;
    let session = running.open().await;
    let handle = running.handle(session.sid()).await;
    let headers = [("Accept-Encoding", "gzip")];
    let text = Encoded::text(&long(2000));
    for (wishes, coding) in [
        (&[false][..], None),
        (&[false, false], None),
        (&[false, true], Some("gzip")),
        (&[true], Some("gzip")),
    ] {
        for compress in wishes {
            handle.send(text.clone().compress(*compress));
        }
        let url = session.url();
        let response = testkit::request(running.addr, "GET", &url, &headers, "").await;
        assert_eq!(response.header("content-encoding"), coding, "{wishes:?}");
    }
}
