//! Requests that are refused: status, code, text, and what the application is told.

mod common;

use std::sync::{Arc, Mutex};

use common::{A_MOMENT, Running, assert_error, assert_unknown, both_versions, refuse_ws, start};
use engineio::{
    Config, ConnectionError, ConnectionErrorKind as Kind, Halt, Refusal, Transport, Version,
};
use serde_json::{Value, json};
use testkit::{Http, Polling, TIME_LIMIT, Upgrade};
use tokio::time::sleep;

/// A server and the errors that its application was told of.
async fn recording(config: Config) -> (Running, Arc<Mutex<Vec<ConnectionError>>>) {
    let errors = Arc::new(Mutex::new(Vec::new()));
    let told = errors.clone();
    let config = config.on_connection_error(move |error| {
        told.lock().expect("no panic").push(error.clone());
    });
    (start(config).await, errors)
}

#[tokio::test]
async fn code_0_a_transport_that_is_not_served() {
    let (running, errors) = recording(Config::default()).await;
    let mut expected = Vec::new();
    for (parameter, name) in [
        ("", None),
        ("&transport", Some("")),
        ("&transport=", Some("")),
        ("&transport=tobi", Some("tobi")),
        ("&transport=Polling", Some("Polling")),
        ("&transport=polling%00", Some("polling\0")),
        ("&transport=constructor", Some("constructor")),
        ("&transport=__proto__", Some("__proto__")),
        ("&transport=webtransport", Some("webtransport")),
    ] {
        let url = format!("/engine.io/?EIO=4{parameter}");
        let response = testkit::get(running.addr, &url).await;
        assert_error(&response, 400, 0, "Transport unknown");
        let response = refuse_ws(running.addr, &url, &[]).await;
        assert_error(&response, 400, 0, "Transport unknown");
        let error = Kind::UnknownTransport(name.map(str::to_owned));
        expected.extend([(url.clone(), error.clone()), (url, error)]);
    }
    let response = testkit::get(running.addr, "/engine.io/").await;
    assert_error(&response, 400, 0, "Transport unknown");
    expected.push(("/engine.io/".to_owned(), Kind::UnknownTransport(None)));
    let told = errors.lock().unwrap();
    let told: Vec<_> = told
        .iter()
        .map(|it| (it.url.clone(), it.kind.clone()))
        .collect();
    assert_eq!(told, expected);
}

#[tokio::test]
async fn code_0_a_transport_that_is_switched_off() {
    let running = start(Config::default().transports(&[Transport::WebSocket])).await;
    let response = testkit::get(running.addr, "/engine.io/?EIO=4&transport=polling").await;
    assert_error(&response, 400, 0, "Transport unknown");
    running.ws().await;

    let running = start(Config::default().transports(&[Transport::Polling])).await;
    let url = "/engine.io/?EIO=4&transport=websocket";
    let response = refuse_ws(running.addr, url, &[]).await;
    assert_error(&response, 400, 0, "Transport unknown");
    let session = running.open().await;
    let response = refuse_ws(running.addr, &session.ws_url(), &[]).await;
    assert_error(&response, 400, 0, "Transport unknown");
}

#[tokio::test]
async fn code_1_a_session_that_nobody_knows() {
    let (running, errors) = recording(Config::default()).await;
    for sid in [
        "unknown",
        "__proto__",
        "constructor",
        "%00",
        "%ff",
        "AAAAAAAAAAAAAAAAAAAA",
    ] {
        let url = format!("/engine.io/?EIO=4&transport=polling&sid={sid}");
        assert_unknown(&testkit::get(running.addr, &url).await);
        assert_unknown(&testkit::post(running.addr, &url, "text/plain", "4a").await);
        assert_unknown(&testkit::request(running.addr, "PUT", &url, &[], "").await);
        let url = url.replace("polling", "websocket");
        assert_unknown(&refuse_ws(running.addr, &url, &[]).await);
    }
    let told = errors.lock().unwrap();
    assert_eq!(told.len(), 24);
    assert_eq!(told[0].kind, Kind::UnknownSid("unknown".to_owned()));
}

#[tokio::test]
async fn code_1_a_session_id_in_the_wrong_case() {
    let running = start(Config::default()).await;
    let session = running.open().await;
    let sid = session.sid();
    let swap = |c: char| match c.is_ascii_lowercase() {
        true => c.to_ascii_uppercase(),
        false => c.to_ascii_lowercase(),
    };
    let swapped: String = sid.chars().map(swap).collect();
    let url = session.url().replace(sid, &swapped);
    assert_unknown(&testkit::get(running.addr, &url).await);
}

#[tokio::test]
async fn code_2_a_handshake_by_another_method() {
    let (running, errors) = recording(Config::default()).await;
    for transport in ["polling", "websocket"] {
        let url = format!("/engine.io/?EIO=4&transport={transport}");
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"] {
            let response = testkit::request(running.addr, method, &url, &[], "").await;
            assert_error(&response, 400, 2, "Bad handshake method");
            let told = errors.lock().unwrap().pop().expect("an error");
            assert_eq!(told.kind, Kind::BadHandshakeMethod(method.to_owned()));
        }
        let response = testkit::request(running.addr, "HEAD", &url, &[], "").await;
        assert_eq!((response.status, response.text()), (400, ""));
    }
    assert_eq!(running.server.sessions(), 0);
}

#[tokio::test]
async fn code_3_a_session_of_another_protocol_version() {
    let (running, errors) = recording(both_versions()).await;
    let mut v4 = running.open().await;
    let mut v3 = running.open_v3().await;
    for url in [
        v4.url().replace("EIO=4", "EIO=3"),
        v4.url().replace("EIO=4", "EIO=5"),
        v3.url().replace("EIO=3", "EIO=4"),
    ] {
        let response = testkit::get(running.addr, &url).await;
        assert_error(&response, 400, 3, "Bad request");
        let response = testkit::post(running.addr, &url, "", "4a").await;
        assert_error(&response, 400, 3, "Bad request");
    }
    let told = std::mem::take(&mut *errors.lock().unwrap());
    let expected = [("3", Version::V4), ("5", Version::V4), ("4", Version::V3)];
    for (told, (protocol, previous)) in told.chunks(2).zip(expected) {
        let protocol = protocol.to_owned();
        let expected = Kind::ProtocolMismatch { protocol, previous };
        assert!(told.iter().all(|it| it.kind == expected), "{told:?}");
    }
    v4.post_ok("4a").await;
    assert_eq!(v4.poll_text().await, "4a");
    v3.post_ok("2:4a").await;
    assert_eq!(v3.poll_text().await, "2:4a");
}

#[tokio::test]
async fn code_3_a_websocket_without_an_upgrade() {
    let (running, errors) = recording(Config::default()).await;
    let url = "/engine.io/?EIO=4&transport=websocket";
    let response = testkit::get(running.addr, url).await;
    assert_error(&response, 400, 3, "Bad request");
    let told = errors.lock().unwrap().pop().expect("an error");
    assert!(matches!(told.kind, Kind::TransportHandshake(_)), "{told:?}");
}

#[tokio::test]
async fn code_3_a_proxy_that_takes_the_upgrade_out_does_no_harm() {
    let running = start(Config::default()).await;
    let mut session = running.open().await;
    let response = testkit::get(running.addr, &session.ws_url()).await;
    assert_error(&response, 400, 3, "Bad request");
    session.post_ok("4hello").await;
    assert_eq!(session.poll_text().await, "4hello");
}

#[tokio::test]
async fn code_3_an_origin_that_is_not_text() {
    let (running, errors) = recording(Config::default()).await;
    let mut http = Http::connect(running.addr).await;
    let mut request = b"GET /engine.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: a\r\n".to_vec();
    request.extend_from_slice(b"Origin: http://\xff\xfe\r\n\r\n");
    http.send(request).await;
    let response = http.response().await;
    assert_error(&response, 400, 3, "Bad request");
    let told = errors.lock().unwrap().pop().expect("an error");
    let origin = "http://\u{fffd}\u{fffd}".to_owned();
    assert_eq!(told.kind, Kind::InvalidOrigin(origin));
}

#[tokio::test]
async fn code_5_a_version_that_nobody_speaks() {
    let (running, errors) = recording(both_versions()).await;
    for (parameter, version) in [
        ("", None),
        ("&EIO", Some("")),
        ("&EIO=", Some("")),
        ("&EIO=abc", Some("abc")),
        ("&EIO=1", Some("1")),
        ("&EIO=5", Some("5")),
        ("&EIO=04", Some("04")),
        ("&EIO=4.0", Some("4.0")),
        ("&EIO=-4", Some("-4")),
        ("&eio=4", None),
    ] {
        let url = format!("/engine.io/?transport=polling{parameter}");
        let response = testkit::get(running.addr, &url).await;
        assert_error(&response, 400, 5, "Unsupported protocol version");
        let url = format!("/engine.io/?transport=websocket{parameter}");
        let response = refuse_ws(running.addr, &url, &[]).await;
        assert_error(&response, 400, 5, "Unsupported protocol version");
        let told = errors.lock().unwrap().pop().expect("an error");
        let expected = Kind::UnsupportedProtocol(version.map(str::to_owned));
        assert_eq!(told.kind, expected);
    }
    assert_eq!(running.server.sessions(), 0);
}

#[tokio::test]
async fn the_transport_is_checked_before_the_sid_and_the_sid_before_the_rest() {
    let running = start(Config::default()).await;
    let get = async |query: &str| testkit::get(running.addr, &format!("/engine.io/?{query}")).await;
    let response = get("EIO=9&transport=tobi&sid=unknown").await;
    assert_error(&response, 400, 0, "Transport unknown");
    assert_unknown(&get("EIO=9&transport=websocket&sid=unknown").await);
    let url = "/engine.io/?EIO=9&transport=polling";
    let response = testkit::post(running.addr, url, "", "").await;
    assert_error(&response, 400, 2, "Bad handshake method");
    let response = get("EIO=9&transport=websocket").await;
    assert_error(&response, 400, 3, "Bad request");
}

#[tokio::test]
async fn a_connection_survives_its_errors() {
    let running = start(Config::default()).await;
    let mut http = Http::connect(running.addr).await;
    for _ in 0..3 {
        for (url, status) in [
            ("/nothing/here", 404),
            ("/engine.io/", 400),
            ("/engine.io/?EIO=4&transport=polling&sid=x", 400),
            ("/engine.io/?EIO=4&transport=polling", 200),
        ] {
            let response = http.get(url).await;
            assert_eq!(response.status, status, "{url}");
            assert!(!response.closes(), "{response:?}");
        }
    }
}

#[tokio::test]
async fn nothing_that_the_client_sent_comes_back() {
    let running = start(Config::default()).await;
    let url = "/engine.io/?transport=%3Cscript%3E&EIO=4";
    let response = testkit::get(running.addr, url).await;
    assert_error(&response, 400, 0, "Transport unknown");
    let url = "/engine.io/?transport=polling&EIO=4&sid=%3Cscript%3E";
    assert_unknown(&testkit::get(running.addr, url).await);
}

#[tokio::test]
async fn a_session_that_has_closed_is_unknown_to_every_request() {
    let running = start(Config::default()).await;
    let mut session: Polling = running.open().await;
    session.send_poll().await;
    sleep(A_MOMENT).await;
    session.post_ok("1").await;
    session.recv_poll().await;
    assert_unknown(&session.poll().await);
    assert_unknown(&session.post("4a").await);
    assert_unknown(&refuse_ws(running.addr, &session.ws_url(), &[]).await);
}

#[tokio::test]
async fn the_application_is_told_code_message_context_and_the_request() {
    let config = Config::default()
        .allow_eio3(false)
        .middleware(
            async |exchange| match exchange.request.headers.get("x-stop") {
                Some(stop) if stop == "middleware" => Err(Halt::refuse("tired")),
                _ => Ok(exchange),
            },
        )
        .allow_request(async |request| match request.header("x-stop") {
            Some("allow_request") => Err(Refusal::new("who are you?")),
            _ => Ok(()),
        })
        .generate_id(async |request| match request.header("x-stop") {
            Some("generate_id") => Err("no ids left"),
            Some(id) => Ok(id.to_owned()),
            None => Ok("one".to_owned()),
        });
    let (running, errors) = recording(config).await;
    let mut session = running.open().await;
    let (_ws, _) = Upgrade::run(&mut session).await;
    running.upgraded(session.sid()).await;
    let polling = "/engine.io/?EIO=4&transport=polling";
    let websocket = "/engine.io/?EIO=4&transport=websocket";
    let cases = [
        (
            "GET",
            "/engine.io/?transport=tobi",
            "",
            0,
            "Transport unknown",
            json!({ "transport": "tobi" }),
        ),
        (
            "GET",
            "/engine.io/",
            "",
            0,
            "Transport unknown",
            json!({ "transport": null }),
        ),
        (
            "GET",
            "/engine.io/?transport=polling&sid=x",
            "",
            1,
            "Session ID unknown",
            json!({ "sid": "x" }),
        ),
        (
            "PUT",
            polling,
            "",
            2,
            "Bad handshake method",
            json!({ "method": "PUT" }),
        ),
        (
            "GET",
            "/engine.io/?EIO=4&transport=polling&sid=one",
            "",
            3,
            "Bad request",
            json!({ "name": "TRANSPORT_MISMATCH", "transport": "polling", "previousTransport": "websocket" }),
        ),
        (
            "POST",
            "/engine.io/?EIO=4&transport=polling&sid=one",
            "",
            3,
            "Bad request",
            json!({ "name": "TRANSPORT_MISMATCH", "transport": "polling", "previousTransport": "websocket" }),
        ),
        (
            "GET",
            websocket,
            "",
            3,
            "Bad request",
            json!({ "name": "TRANSPORT_HANDSHAKE_ERROR", "error": "the Upgrade header is not `websocket`" }),
        ),
        (
            "GET",
            "/engine.io/?EIO=3&transport=polling&sid=one",
            "",
            3,
            "Bad request",
            json!({ "name": "PROTOCOL_MISMATCH", "protocol": "3", "previousProtocol": 4 }),
        ),
        (
            "GET",
            polling,
            "generate_id",
            3,
            "Bad request",
            json!({ "name": "ID_GENERATION_ERROR", "error": "no ids left" }),
        ),
        (
            "GET",
            polling,
            "one",
            3,
            "Bad request",
            json!({ "name": "ID_GENERATION_ERROR", "error": "another session has it" }),
        ),
        (
            "GET",
            polling,
            "middleware",
            3,
            "Bad request",
            json!({ "name": "MIDDLEWARE_FAILURE", "error": "tired" }),
        ),
        (
            "GET",
            polling,
            "allow_request",
            4,
            "who are you?",
            json!({ "message": "who are you?" }),
        ),
        (
            "GET",
            "/engine.io/?EIO=3&transport=polling",
            "",
            5,
            "Unsupported protocol version",
            json!({ "protocol": "3" }),
        ),
    ];
    for (method, url, stop, code, message, context) in cases {
        let headers: &[(&str, &str)] = &[("X-Stop", stop)];
        let headers = if stop.is_empty() { &[] } else { headers };
        let response = testkit::request(running.addr, method, url, headers, "").await;
        let status = if code == 4 { 403 } else { 400 };
        assert_error(&response, status, code, message);
        let told = std::mem::take(&mut *errors.lock().unwrap());
        let [told] = &told[..] else {
            panic!("{url}: {told:?}");
        };
        assert_eq!(
            (told.kind.code(), told.kind.message()),
            (code, Value::from(message))
        );
        assert_eq!(told.kind.context(), context, "{url}");
        assert_eq!((told.method.as_str(), &*told.url), (method, url));
        let header = told
            .headers
            .get("x-stop")
            .map_or("", |it| it.to_str().unwrap());
        assert_eq!(header, stop);
    }
}

#[tokio::test]
async fn a_server_that_is_being_closed_says_so() {
    let (running, errors) = recording(Config::default()).await;
    running.server.close(TIME_LIMIT).await;
    let url = "/engine.io/?EIO=4&transport=polling";
    let response = testkit::get(running.addr, url).await;
    assert_error(&response, 503, 3, "Server shutting down");
    let told = errors.lock().unwrap().pop().expect("an error");
    assert_eq!(told.kind, Kind::ShuttingDown);
    assert_eq!(told.kind.context(), json!({ "name": "SHUTTING_DOWN" }));
}
