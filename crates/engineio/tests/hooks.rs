//! What an application can decide, add and hear.

mod common;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use common::{A_MOMENT, assert_error, assert_unknown, refuse_ws, start};
use engineio::{Config, ConnectionErrorKind as Kind, Cookie, Refusal, Transport};
use http::HeaderValue;
use testkit::{Http, Polling, Upgrade, Ws};
use tokio::time::sleep;

const URL: &str = "/engine.io/?EIO=4&transport=polling";
const WS_URL: &str = "/engine.io/?EIO=4&transport=websocket";

#[tokio::test]
async fn a_refusal_is_told_to_the_client_and_to_the_application() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let errors = told.clone();
    let config = Config::default()
        .allow_request(async |request| match request.header("x-name") {
            Some("tobi") => Ok(()),
            Some(_) => Err(Refusal::new("who are you?")),
            None => Err(Refusal::default()),
        })
        .on_connection_error(move |error| errors.lock().unwrap().push(error.kind.clone()));
    let running = start(config).await;

    let response = testkit::get(running.addr, URL).await;
    assert_error(&response, 403, 4, "Forbidden");
    let name = [("X-Name", "loki")];
    let response = testkit::request(running.addr, "GET", URL, &name, "").await;
    assert_error(&response, 403, 4, "who are you?");
    let response = refuse_ws(running.addr, WS_URL, &name).await;
    assert_error(&response, 403, 4, "who are you?");
    assert_eq!(running.server.sessions(), 0);
    let expected = ["Forbidden", "who are you?", "who are you?"];
    let expected = expected.map(|text| Kind::Forbidden(text.into()));
    assert_eq!(*told.lock().unwrap(), expected);

    let name = [("X-Name", "tobi")];
    let response = testkit::request(running.addr, "GET", URL, &name, "").await;
    assert_eq!(response.status, 200);
    let ws = Ws::connect_with_headers(running.addr, WS_URL, &name).await;
    assert!(ws.expect("a 101").recv_text().await.starts_with("0{"));
}

#[tokio::test]
async fn a_refusal_may_say_any_json() {
    for (refusal, body) in [
        (Refusal::new(3000), r#"{"code":4,"message":3000}"#),
        (Refusal::new(true), r#"{"code":4,"message":true}"#),
        (
            Refusal::new(vec!["a \"quote\"", "é"]),
            r#"{"code":4,"message":["a \"quote\"","é"]}"#,
        ),
    ] {
        let config = Config::default().allow_request(move |_| {
            let refusal = refusal.clone();
            async { Err(refusal) }
        });
        let running = start(config).await;
        let response = testkit::get(running.addr, URL).await;
        assert_eq!((response.status, response.text()), (403, body));
    }
}

#[tokio::test]
async fn only_handshakes_are_asked_about() {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    let config = Config::default().allow_request(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        async { Ok(()) }
    });
    let running = start(config).await;
    let mut session = running.open().await;
    session.post_ok("4hello").await;
    session.poll_text().await;
    let (mut ws, _) = Upgrade::run(&mut session).await;
    ws.text("4hello").await;
    ws.recv_text().await;
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    testkit::get(running.addr, "/engine.io/?EIO=9&transport=polling").await;
    testkit::post(running.addr, URL, "", "").await;
    assert_unknown(&testkit::get(running.addr, &format!("{URL}&sid=x")).await);
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    running.ws().await;
    assert_eq!(asked.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_decision_may_take_its_time() {
    let config = Config::default().allow_request(async |request| {
        if request.header("x-slow").is_some() {
            sleep(Duration::from_millis(300)).await;
        }
        Ok(())
    });
    let running = start(config).await;
    let slow = [("X-Slow", "1")];
    let mut http = Http::connect(running.addr).await;
    http.send_request("GET", URL, &slow, "").await;
    let mut given_up = Http::connect(running.addr).await;
    given_up.send_request("GET", URL, &slow, "").await;
    sleep(A_MOMENT).await;
    drop(given_up);
    let quick = running.open().await;
    assert_eq!(running.server.sessions(), 1);
    assert_eq!(http.response().await.status, 200);
    // Whoever left before the decision has no session.
    sleep(A_MOMENT).await;
    assert_eq!(running.server.sessions(), 2);
    running.assert_open(quick.sid()).await;
}

fn with_headers() -> Config {
    let (initial, every) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let number = |counter: &AtomicUsize| {
        let count = counter.fetch_add(1, Ordering::Relaxed) + 1;
        HeaderValue::from(count)
    };
    Config::default()
        .on_initial_headers(move |headers, request| {
            headers.insert("x-initial", number(&initial));
            headers.append("set-cookie", HeaderValue::from_static("mine=1"));
            let path = HeaderValue::from_str(request.uri.path()).expect("ASCII");
            headers.insert("x-path", path);
        })
        .on_headers(move |headers, _| {
            headers.insert("x-every", number(&every));
        })
}

#[tokio::test]
async fn headers_can_be_added_to_the_first_response_and_to_every_one() {
    let running = start(with_headers()).await;
    let mut session = running.open().await;
    let opened = &session.opened;
    assert_eq!(opened.header("x-initial"), Some("1"));
    assert_eq!(opened.header("x-path"), Some("/engine.io/"));
    assert_eq!(opened.header("x-every"), Some("1"));
    for (number, response) in [
        ("2", session.post("4hello").await),
        ("3", session.poll().await),
    ] {
        assert_eq!(response.header("x-initial"), None);
        assert_eq!(response.header("x-every"), Some(number));
    }
    let upgrade = Upgrade::connect(&session).await;
    assert_eq!(upgrade.ws.response().header("x-initial"), None);
    assert_eq!(upgrade.ws.response().header("x-every"), Some("4"));
    let ws = Ws::connect(running.addr, WS_URL).await;
    assert_eq!(ws.response().header("x-initial"), Some("2"));
    assert_eq!(ws.response().header("x-every"), Some("5"));
}

#[tokio::test]
async fn a_hook_for_headers_that_panics_ends_its_request_alone() {
    let panics = |request: &http::request::Parts| {
        assert!(request.headers.get("x-panic").is_none(), "on purpose");
    };
    let config = Config::default()
        .ping_interval(A_MOMENT)
        .ping_timeout(A_MOMENT)
        .on_initial_headers(move |_, request| panics(request))
        .on_headers(move |_, request| panics(request));
    let running = start(config).await;
    let mut before = Http::connect(running.addr).await;
    let panic = [("X-Panic", "yes")];
    for _ in 0..3 {
        let mut http = Http::connect(running.addr).await;
        http.send_request("GET", URL, &panic, "").await;
        assert!(http.try_response().await.is_none(), "there is an answer");
    }
    assert_eq!(before.get(URL).await.status, 200);
    assert_eq!(testkit::get(running.addr, URL).await.status, 200);
    // Sessions of which nobody has heard end as those do whose clients are silent.
    running.sessions(0).await;
}

#[tokio::test]
async fn headers_are_not_added_to_errors() {
    let running = start(with_headers().max_payload(10)).await;
    let mut session = running.open().await;
    for response in [
        testkit::get(running.addr, "/engine.io/").await,
        testkit::get(running.addr, "/elsewhere").await,
        session.post("4more than ten").await,
        session.post("nonsense").await,
        session.poll().await,
    ] {
        assert!(response.status >= 400);
        assert_eq!(response.header("x-initial"), None, "{response:?}");
        assert_eq!(response.header("x-every"), None, "{response:?}");
    }
}

#[tokio::test]
async fn cookies_of_the_application_stand_beside_the_servers_own() {
    let running = start(with_headers().cookie(Cookie::default())).await;
    let session = running.open().await;
    let cookies: Vec<_> = session.opened.header_values("set-cookie").collect();
    assert_eq!(cookies.len(), 2, "{cookies:?}");
    assert!(cookies.contains(&"mine=1"));
    let own = format!("io={}; Path=/; HttpOnly; SameSite=Lax", session.sid());
    assert!(cookies.contains(&&*own));
    let ws = Ws::connect(running.addr, WS_URL).await;
    let cookies: Vec<_> = ws.response().header_values("set-cookie").collect();
    assert_eq!(cookies, ["mine=1"]);
}

#[tokio::test]
async fn several_cookies_on_a_101_stay_apart() {
    let config = Config::default().on_headers(|headers, _| {
        for cookie in ["a=1; Expires=Thu, 01 Jan 2099 00:00:00 GMT", "b=2"] {
            headers.append("set-cookie", HeaderValue::from_static(cookie));
        }
    });
    let running = start(config).await;
    let ws = Ws::connect(running.addr, WS_URL).await;
    assert_eq!(ws.response().header_values("set-cookie").count(), 2);
}

#[tokio::test]
async fn errors_inside_a_session_are_told_as_well() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let errors = told.clone();
    let config = Config::default()
        .on_connection_error(move |error| errors.lock().unwrap().push(error.clone()));
    let running = start(config).await;
    let mut session: Polling = running.open().await;
    let (_ws, _) = Upgrade::run(&mut session).await;
    sleep(A_MOMENT).await;
    session.poll().await;
    let told = told.lock().unwrap();
    assert_eq!(told.len(), 1);
    let expected = Kind::TransportMismatch {
        transport: Transport::Polling,
        previous: Transport::WebSocket,
    };
    assert_eq!(told[0].kind, expected);
    assert_eq!(told[0].kind.code(), 3);
    assert_eq!(told[0].url, session.url());
}

/// Makes ids of what the request says.
fn ids_by_header() -> Config {
    Config::default().generate_id(async |request| match request.header("x-id") {
        Some("none") => Err("the counter is away"),
        Some("empty") => Ok(String::new()),
        Some(id) => Ok(id.to_owned()),
        None => Ok("default-id".to_owned()),
    })
}

#[tokio::test]
async fn session_ids_can_be_made_by_the_application() {
    let running = start(ids_by_header()).await;
    let mut session = running.open().await;
    assert_eq!(session.sid(), "default-id");
    session.post_ok("4hello").await;
    assert_eq!(session.poll_text().await, "4hello");
    let (mut ws, _) = Upgrade::run(&mut session).await;
    ws.text("4there").await;
    assert_eq!(ws.recv_text().await, "4there");

    let id = "eu:1-2_3.~Z";
    let ws = Ws::connect_with_headers(running.addr, WS_URL, &[("X-Id", id)]).await;
    let open = ws.expect("a 101").recv_text().await;
    assert_eq!(testkit::Open::parse(open.as_bytes()).sid, id);
    let url = "/engine.io/?EIO=3&transport=polling&b64=1";
    let response = testkit::request(running.addr, "GET", url, &[("X-Id", "v3")], "").await;
    assert_eq!(testkit::Open::parse(&response.body).sid, "v3");
}

#[tokio::test]
async fn without_a_session_id_there_is_no_session_and_the_refusal_is_clean_http() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let errors = told.clone();
    let config = ids_by_header()
        .on_connection_error(move |error| errors.lock().unwrap().push(error.kind.clone()));
    let running = start(config).await;
    running.open().await; // has the id `default-id`
    let long = "a".repeat(129);
    let unusable = "use 1 to 128 ASCII letters, digits and -._~:";
    for (id, what) in [
        ("none", "the counter is away"),
        ("default-id", "another session has it"),
        ("empty", unusable),
        ("a b", unusable),
        ("a&b", unusable),
        ("a#b", unusable),
        ("a\"b", unusable),
        ("a%62", unusable),
        ("a\tb", unusable),
        (&long, unusable),
    ] {
        let headers = [("X-Id", id)];
        let response = testkit::request(running.addr, "GET", URL, &headers, "").await;
        assert_error(&response, 400, 3, "Bad request");
        let response = refuse_ws(running.addr, WS_URL, &headers).await;
        assert_error(&response, 400, 3, "Bad request");
        let expected = Kind::IdGeneration(what.to_owned());
        let told = std::mem::take(&mut *told.lock().unwrap());
        assert_eq!(told, [expected.clone(), expected], "{id:?}");
    }
    assert_eq!(running.server.sessions(), 1);
    let longest = [("X-Id", &long[..128])];
    let response = testkit::request(running.addr, "GET", URL, &longest, "").await;
    assert_eq!(response.status, 200);
}

#[tokio::test]
async fn a_session_id_is_free_again_when_its_session_has_closed() {
    let running = start(ids_by_header()).await;
    for _ in 0..2 {
        let (ws, open) = running.ws().await;
        assert_eq!(open.sid, "default-id");
        drop(ws);
        running.sessions(0).await;
    }
}

#[tokio::test]
async fn only_one_of_two_handshakes_at_once_gets_the_same_session_id() {
    let config = Config::default().generate_id(async |_| {
        sleep(A_MOMENT).await;
        Ok::<_, std::fmt::Error>("same".to_owned())
    });
    let running = start(config).await;
    let get = || testkit::get(running.addr, URL);
    let (one, two) = tokio::join!(get(), get());
    let mut statuses = [one.status, two.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 400]);
    assert_eq!(running.server.sessions(), 1);
}
