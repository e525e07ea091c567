//! How sessions open.

mod common;

use std::time::Duration;

use common::{
    A_MOMENT, Behaviour, ECHO, PATH, assert_error, both_versions, refuse_ws, start, start_with,
};
use engineio::{CloseReason, Config, Encoded, Transport, Version};
use testkit::{Open, Polling, TIME_LIMIT, Upgrade, Ws, within};

/// Speaks first.
const GREETING: Behaviour = Behaviour {
    opened: |session| {
        session.send("hello");
        session.send(Encoded::binary(vec![1, 2]));
    },
    ..ECHO
};

#[tokio::test]
async fn the_open_packet_has_the_official_members_in_their_order() {
    let running = start(Config::default()).await;
    let session = running.open().await;
    let expected = format!(
        r#"0{{"sid":"{}","upgrades":["websocket"],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}}"#,
        session.sid()
    );
    assert_eq!(session.opened.text(), expected);
}

#[tokio::test]
async fn the_open_packet_announces_the_settings() {
    let config = Config::default()
        .ping_interval(Duration::from_millis(1234))
        .ping_timeout(Duration::from_millis(567))
        .max_payload(89);
    let running = start(config).await;
    let (_ws, ws) = running.ws().await;
    for open in [running.open().await.open, ws] {
        assert_eq!(open.ping_interval, Duration::from_millis(1234));
        assert_eq!(open.ping_timeout, Duration::from_millis(567));
        assert_eq!(open.max_payload, Some(89));
    }
}

#[tokio::test]
async fn a_session_on_websocket_has_no_upgrades() {
    let running = start(Config::default()).await;
    let (_ws, open) = running.ws().await;
    assert_eq!(open.upgrades, [""; 0]);
}

#[tokio::test]
async fn no_upgrades_are_offered_where_there_are_none() {
    for config in [
        Config::default().allow_upgrades(false),
        Config::default().transports(&[Transport::Polling]),
    ] {
        let running = start(config).await;
        assert_eq!(running.open().await.open.upgrades, [""; 0]);
    }
}

#[tokio::test]
async fn session_ids_are_20_url_safe_characters_and_never_the_same() {
    let running = start(Config::default()).await;
    let mut sids = Vec::new();
    for _ in 0..20 {
        sids.push(running.open().await.open.sid);
        sids.push(running.ws().await.1.sid);
    }
    let url_safe = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    for sid in &sids {
        assert_eq!(sid.len(), 20, "{sid}");
        assert!(sid.chars().all(url_safe), "{sid}");
    }
    sids.sort_unstable();
    sids.dedup();
    assert_eq!(sids.len(), 40);
}

#[tokio::test]
async fn the_handshake_response_has_the_headers_of_a_poll() {
    let running = start(Config::default()).await;
    let response = running.open().await.opened;
    let header = |name| response.header(name);
    assert_eq!(header("content-type"), Some("text/plain; charset=UTF-8"));
    assert_eq!(header("cache-control"), Some("no-store"));
    let length = response.body.len().to_string();
    assert_eq!(header("content-length"), Some(&*length));
    for name in ["server", "x-powered-by", "set-cookie", "vary"] {
        assert_eq!(header(name), None, "{name}");
    }
}

#[tokio::test]
async fn what_the_application_says_at_once_follows_the_open_packet() {
    let running = start_with(both_versions(), GREETING).await;
    for (query, greeting) in [
        ("EIO=4", "4hello\x1ebAQI="),
        ("EIO=3&b64=1", "6:4hello6:b4AQI="),
    ] {
        let mut session = Polling::open(running.addr, PATH, query).await;
        let opened = session.opened.text().to_owned();
        let rest = &opened[opened.find('}').expect("an object") + 1..];
        let followed = if rest.is_empty() {
            session.poll_text().await
        } else {
            rest.trim_start_matches('\x1e').to_owned()
        };
        assert_eq!(followed, greeting);
    }
}

#[tokio::test]
async fn what_the_application_says_at_once_follows_the_open_packet_on_websocket() {
    let running = start_with(both_versions(), GREETING).await;
    let (mut ws, _) = running.ws().await;
    assert_eq!(ws.recv_text().await, "4hello");
    assert_eq!(ws.recv_binary().await, [1, 2][..]);
    let (mut ws, _) = running.ws_with("EIO=3").await;
    assert_eq!(ws.recv_text().await, "4hello");
    assert_eq!(ws.recv_binary().await, [4, 1, 2][..]);
}

#[tokio::test]
async fn an_empty_sid_opens_a_session() {
    let running = start(Config::default()).await;
    for query in ["EIO=4&sid=", "EIO=4&sid"] {
        Polling::open(running.addr, PATH, query).await;
    }
    running.ws_with("EIO=4&sid=").await;
    assert_eq!(running.server.sessions(), 3);
}

#[tokio::test]
async fn of_a_parameter_that_comes_twice_the_last_counts() {
    let running = start(Config::default().allow_eio3(false)).await;
    let url = "/engine.io/?transport=tobi&EIO=3&transport=polling&EIO=4";
    let response = testkit::get(running.addr, url).await;
    assert_eq!(response.status, 200, "{response:?}");
    let url = "/engine.io/?transport=polling&EIO=4&EIO=3";
    let response = testkit::get(running.addr, url).await;
    assert_error(&response, 400, 5, "Unsupported protocol version");
}

#[tokio::test]
async fn parameters_are_percent_decoded() {
    let running = start(Config::default()).await;
    let response = testkit::get(running.addr, "/engine.io/?%45IO=%34&transport=p%6flling").await;
    assert_eq!(response.status, 200, "{response:?}");
    Open::parse(&response.body);
}

#[tokio::test]
async fn the_application_sees_the_handshake() {
    let running = start(both_versions()).await;
    let url = "/engine.io/?EIO=3&transport=websocket&token=a%20b";
    let headers = [("Origin", "http://a.example"), ("X-Number", "7")];
    let mut ws = Ws::connect_with_headers(running.addr, url, &headers)
        .await
        .expect("a 101");
    let open = Open::parse(ws.recv_text().await.as_bytes());
    let handshake = running.seen(&open.sid).await.handshake;
    assert_eq!(handshake.method().as_str(), "GET");
    assert_eq!(handshake.url(), url);
    assert_eq!(handshake.query(), "EIO=3&transport=websocket&token=a%20b");
    assert_eq!(handshake.header("x-number"), Some("7"));
    assert_eq!(handshake.header("x-other"), None);
    assert!(handshake.cross_domain());
    assert_eq!(handshake.protocol(), Version::V3);
    let client = handshake.remote_addr().expect("an address");
    assert_eq!(client.ip(), running.addr.ip());
    assert_ne!(client.port(), running.addr.port());
    assert!(!handshake.secure());

    let session = running.open().await;
    let handshake = running.seen(session.sid()).await.handshake;
    assert_eq!(handshake.url(), "/engine.io/?EIO=4&transport=polling");
    assert!(!handshake.cross_domain());
    assert_eq!(handshake.protocol(), Version::V4);
}

#[tokio::test]
async fn the_handle_knows_its_session() {
    let running = start(both_versions()).await;
    let polling = running.open().await;
    let handle = running.handle(polling.sid()).await;
    assert_eq!(handle.sid().as_str(), polling.sid());
    assert_eq!(handle.version(), Version::V4);
    assert_eq!(handle.transport(), Transport::Polling);
    assert!(!handle.is_closed());
    let (_ws, open) = running.ws_with("EIO=3").await;
    let handle = running.handle(&open.sid).await;
    assert_eq!(handle.version(), Version::V3);
    assert_eq!(handle.transport(), Transport::WebSocket);
}

#[tokio::test]
async fn sessions_are_counted() {
    let running = start(Config::default()).await;
    assert_eq!(running.server.sessions(), 0);
    let mut polling = running.open().await;
    let (mut ws, _) = running.ws().await;
    assert_eq!(running.server.sessions(), 2);
    ws.close(None).await;
    running.sessions(1).await;
    polling.send_poll().await;
    polling.post_ok("1").await;
    running.sessions(0).await;
}

#[tokio::test]
async fn the_path_is_compared_exactly() {
    let running = start(Config::default()).await;
    for path in [
        "/engine.io/more",
        "/engine.io/more/",
        "/engine.io//",
        "//engine.io/",
        "/engine.ioo/",
        "/Engine.IO/",
        "/socket.io/",
        "/",
    ] {
        let url = format!("{path}?EIO=4&transport=polling");
        let response = testkit::get(running.addr, &url).await;
        assert_eq!(response.status, 404, "{path}");
        let url = format!("{path}?EIO=4&transport=websocket");
        let response = refuse_ws(running.addr, &url, &[]).await;
        assert_eq!(response.status, 404, "{path}");
    }
    assert_eq!(running.server.sessions(), 0);
}

#[tokio::test]
async fn the_path_is_a_setting() {
    for path in ["/live/engine/", "/live/engine", "live/engine"] {
        let running = start(Config::default().path(path)).await;
        Polling::open(running.addr, "/live/engine/", "EIO=4").await;
        let response = testkit::get(running.addr, "/engine.io/?EIO=4&transport=polling").await;
        assert_eq!(response.status, 404);
    }
}

#[tokio::test]
async fn the_slash_at_the_end_of_the_path_is_a_setting() {
    let config = Config::default().path("/live").add_trailing_slash(false);
    let running = start(config).await;
    Polling::open(running.addr, "/live", "EIO=4").await;
    let response = testkit::get(running.addr, "/live/?EIO=4&transport=polling").await;
    assert_eq!(response.status, 404);
}

#[tokio::test]
async fn the_root_is_a_path() {
    for config in [
        Config::default().path("/"),
        Config::default().path(""),
        Config::default().path("/").add_trailing_slash(false),
    ] {
        let running = start(config).await;
        let mut session = Polling::open(running.addr, "/", "EIO=4").await;
        session.post_ok("4hello").await;
        assert_eq!(session.poll_text().await, "4hello");
    }
}

#[tokio::test]
async fn times_may_be_endless() {
    let config = Config::default()
        .ping_interval(Duration::MAX)
        .ping_timeout(Duration::MAX)
        .upgrade_timeout(Duration::MAX)
        .close_timeout(Duration::MAX)
        .allow_eio3(true);
    let running = start(config).await;
    let mut open_sockets = Vec::new();
    for query in ["EIO=4", "EIO=3"] {
        let (mut ws, open) = running.ws_with(query).await;
        ws.text("4hello").await;
        assert_eq!(ws.recv_text().await, "4hello");
        assert!(open.ping_interval > Duration::from_secs(24 * 60 * 60));
        open_sockets.push(ws);
        let mut session = Polling::open(running.addr, PATH, query).await;
        let (mut ws, _) = Upgrade::run(&mut session).await;
        ws.text("4hello").await;
        assert_eq!(ws.recv_text().await, "4hello");
        open_sockets.push(ws);
    }
    let mut session = running.open().await;
    let handle = running.handle(session.sid()).await;
    handle.close(CloseReason::ForcedClose);
    assert_eq!(session.poll_text().await, "6\x1e1");
    running.sessions(4).await;
    drop(open_sockets);
    within(TIME_LIMIT, "close()", running.server.close(Duration::MAX)).await;
}

#[tokio::test]
async fn version_3_can_be_refused() {
    let running = start(Config::default().allow_eio3(false)).await;
    for version in ["3", "2"] {
        let url = format!("/engine.io/?EIO={version}&transport=polling");
        let response = testkit::get(running.addr, &url).await;
        assert_error(&response, 400, 5, "Unsupported protocol version");
        let url = format!("/engine.io/?EIO={version}&transport=websocket");
        let response = refuse_ws(running.addr, &url, &[]).await;
        assert_error(&response, 400, 5, "Unsupported protocol version");
    }
}

#[tokio::test]
async fn a_client_that_leaves_during_the_handshake_leaves_no_session_for_long() {
    let config = Config::default()
        .ping_interval(A_MOMENT)
        .ping_timeout(A_MOMENT);
    let running = start(config).await;
    for transport in ["polling", "websocket"] {
        let mut wire = testkit::Wire::connect(running.addr).await;
        let request = format!(
            "GET /engine.io/?EIO=4&transport={transport} HTTP/1.1\r\nHost: a\r\n\
             Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        wire.send(request).await;
    }
    tokio::time::sleep(A_MOMENT).await;
    running.sessions(0).await;
}

#[tokio::test]
async fn the_initial_packet_comes_right_behind_the_open_packet_on_every_transport() {
    let config = both_versions().initial_packet("héy");
    let running = start_with(config, GREETING).await;
    let session = running.open().await;
    let opened = session.opened.text();
    assert!(opened.starts_with("0{"), "{opened}");
    assert!(opened.ends_with("}\x1e4héy\x1e4hello\x1ebAQI="), "{opened}");
    let session = running.open_v3().await;
    let opened = session.opened.text();
    assert!(opened.ends_with("}4:4héy6:4hello6:b4AQI="), "{opened}");
    for query in ["EIO=4", "EIO=3"] {
        let (mut ws, _) = running.ws_with(query).await;
        assert_eq!(ws.recv_text().await, "4héy");
        assert_eq!(ws.recv_text().await, "4hello");
    }
}

#[tokio::test]
async fn the_initial_packet_may_be_binary() {
    let config = Config::default().initial_packet(Encoded::binary(vec![1, 2]));
    let running = start(config).await;
    let session = running.open().await;
    assert!(session.opened.text().ends_with("}\x1ebAQI="));
    let (mut ws, open) = running.ws().await;
    assert_eq!(ws.recv_binary().await, &[1, 2][..]);
    assert_eq!(running.handle(&open.sid).await.queued(), 0);
}
