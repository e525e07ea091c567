//! Requests that reach a server which does not have the session. What sessions do then is what they
//! do anyway: `RELAYED=1 cargo test` runs the tests of polling, WebSocket and upgrade in this way.

mod common;

use std::time::{Duration, Instant};

use common::{
    A_MOMENT, App, ECHO, PATH, RECORD, Running, assert_unknown,
    relay::{LocalBus, Split},
    start_alone,
};
use engineio::{CloseReason, Config, Server};
use testkit::{Http, TIME_LIMIT, Ws, within};
use tokio::time::sleep;

/// A server that has sessions, and two others where their requests may arrive.
struct Cluster {
    bus: LocalBus,
    owner: Running,
    front: Running,
    other: Running,
}

async fn cluster() -> Cluster {
    cluster_with(Config::default()).await
}

async fn cluster_with(config: Config) -> Cluster {
    let bus = LocalBus::default();
    let config = config.relay(bus.clone());
    Cluster {
        owner: start_alone(config.clone(), ECHO).await,
        front: start_alone(config.clone(), RECORD).await,
        other: start_alone(config, RECORD).await,
        bus,
    }
}

fn url(sid: &str, transport: &str) -> String {
    format!("{PATH}?EIO=4&transport={transport}&sid={sid}")
}

async fn poll(at: &Running, sid: &str) -> testkit::Response {
    testkit::get(at.addr, &url(sid, "polling")).await
}

async fn post(at: &Running, sid: &str, body: &str) -> testkit::Response {
    testkit::request(at.addr, "POST", &url(sid, "polling"), &[], body).await
}

/// A WebSocket that has taken a session over at some server.
async fn upgrade(at: &Running, sid: &str) -> Ws {
    let mut ws = Ws::connect(at.addr, &url(sid, "websocket")).await;
    ws.text("2probe").await;
    assert_eq!(ws.recv_text().await, "3probe");
    ws.text("5").await;
    ws
}

#[tokio::test]
async fn ids_name_the_server_of_their_session() {
    let cluster = cluster().await;
    let session = cluster.owner.open().await;
    let (id, node) = session.sid().split_once('.').expect("a dot");
    assert_eq!((id.len(), node.len()), (20, 8));
    assert!(cluster.bus.names().iter().any(|name| name == node));
    let again = cluster.owner.open().await;
    assert!(again.sid().ends_with(&format!(".{node}")));
    let elsewhere = cluster.front.open().await;
    assert!(!elsewhere.sid().ends_with(node));
}

#[tokio::test]
async fn ids_made_by_the_application_name_it_too() {
    let bus = LocalBus::default();
    let config = Config::default()
        .relay(bus.clone())
        .generate_id(|_| async { Ok::<_, String>("mine".to_owned()) });
    let running = start_alone(config, ECHO).await;
    let session = running.open().await;
    assert_eq!(session.sid(), format!("mine.{}", bus.names()[0]));
}

#[tokio::test]
async fn each_request_may_reach_another_server() {
    let Cluster {
        owner,
        front,
        other,
        ..
    } = cluster().await;
    let session = owner.open().await;
    let sid = session.sid();
    let all = [&owner, &front, &other];
    for turn in 0..30 {
        let sent = format!("4{turn}\x1ebAQID");
        assert_eq!(post(all[turn % 3], sid, &sent).await.text(), "ok");
        assert_eq!(poll(all[turn / 3 % 3], sid).await.text(), sent);
    }
    assert_eq!(front.server.sessions() + other.server.sessions(), 0);
}

#[tokio::test]
async fn a_poll_waits_at_another_server() {
    let Cluster { owner, front, .. } = cluster().await;
    let session = owner.open().await;
    let handle = owner.handle(session.sid()).await;
    let waiting = poll(&front, session.sid());
    let send = async {
        sleep(A_MOMENT).await;
        assert_eq!(front.server.stats().relayed, 1);
        handle.send("now");
    };
    let (answer, ()) = tokio::join!(waiting, send);
    assert_eq!(answer.text(), "4now");
}

#[tokio::test]
async fn two_polls_at_two_servers_are_one_too_many() {
    let Cluster {
        owner,
        front,
        other,
        ..
    } = cluster().await;
    let session = owner.open().await;
    let second = async {
        sleep(A_MOMENT).await;
        poll(&other, session.sid()).await
    };
    let (first, second) = tokio::join!(poll(&front, session.sid()), second);
    assert_eq!((first.text(), second.status), ("1", 400));
    let reason = owner.close_reason(session.sid()).await;
    assert_eq!(reason, CloseReason::TransportError);
}

#[tokio::test]
async fn a_client_that_goes_away_while_it_polls_closes_its_session() {
    let Cluster { owner, front, .. } = cluster().await;
    let session = owner.open().await;
    let mut http = Http::connect(front.addr).await;
    let url = url(session.sid(), "polling");
    http.send_request("GET", &url, &[], "").await;
    sleep(A_MOMENT).await;
    drop(http);
    let reason = owner.close_reason(session.sid()).await;
    assert_eq!(reason, CloseReason::TransportError);
}

#[tokio::test]
async fn a_session_upgrades_at_another_server() {
    let Cluster {
        owner,
        front,
        other,
        ..
    } = cluster().await;
    let session = owner.open().await;
    let sid = session.sid();
    let handle = owner.handle(sid).await;
    handle.send("before");
    assert_eq!(poll(&other, sid).await.text(), "4before");
    let mut ws = upgrade(&front, sid).await;
    owner.upgraded(sid).await;
    for turn in 0..100 {
        ws.text(&format!("4{turn}")).await;
    }
    for turn in 0..100 {
        assert_eq!(ws.recv_text().await, format!("4{turn}"));
    }
    let large = "x".repeat(900_000);
    ws.text(&format!("4{large}")).await;
    assert_eq!(ws.recv_text().await[1..], large);
    assert_eq!(poll(&other, sid).await.status, 400);
    handle.close(CloseReason::ForcedClose);
    ws.until_closed().await;
    drop(ws);
    let none_left = async {
        while front.server.stats().relayed > 0 {
            sleep(Duration::from_millis(1)).await;
        }
    };
    within(TIME_LIMIT, "the stream to end", none_left).await;
}

/// What a client does not read stays in the queue of its session, where it is counted.
#[tokio::test]
async fn a_slow_reader_at_another_server_is_noticed() {
    let config = Config::default().max_queued(400_000);
    let Cluster { owner, front, .. } = cluster_with(config).await;
    let session = owner.open().await;
    let sid = session.sid();
    let ws = upgrade(&front, sid).await;
    owner.upgraded(sid).await;
    let handle = owner.handle(sid).await;
    let chunk = "x".repeat(100_000);
    let fill = async {
        // More than TCP takes, and whatever stands between.
        while !handle.is_closed() {
            handle.send(&*chunk);
            sleep(Duration::from_millis(1)).await;
        }
    };
    within(TIME_LIMIT, "the queue to be full", fill).await;
    let reason = owner.close_reason(sid).await;
    assert_eq!(reason, CloseReason::SlowClient);
    drop(ws);
}

#[tokio::test]
async fn names_that_nobody_has_are_refused_at_once() {
    let Cluster { owner, front, .. } = cluster().await;
    let session = owner.open().await;
    let node = session.sid().split_once('.').expect("a dot").1;
    let begun = Instant::now();
    for sid in ["x.y", "x.", ".", "..", "a.b.c", &format!("x.{node}")] {
        assert_unknown(&poll(&front, sid).await);
        assert_unknown(&post(&front, sid, "4x").await);
    }
    assert!(begun.elapsed() < Duration::from_secs(2));
    owner.assert_open(session.sid()).await;
}

#[tokio::test]
async fn a_server_that_has_gone_is_not_waited_for() {
    let Cluster { owner, front, .. } = cluster().await;
    let session = owner.open().await;
    let waiting = poll(&front, session.sid());
    let end = async {
        sleep(A_MOMENT).await;
        owner.server.close(Duration::ZERO).await;
    };
    let (answer, ()) = tokio::join!(waiting, end);
    assert_eq!(answer.text(), "1");
    drop(owner);
    assert_unknown(&poll(&front, session.sid()).await);
}

#[tokio::test]
async fn a_server_that_is_silent_is_waited_for_in_vain_but_not_for_long() {
    let Cluster {
        bus, owner, front, ..
    } = cluster().await;
    let session = owner.open().await;
    let begun = Instant::now();
    let waiting = poll(&front, session.sid());
    let cut = async {
        sleep(A_MOMENT).await;
        bus.cut(true);
        poll(&front, session.sid()).await
    };
    let (waited, refused) = tokio::join!(waiting, cut);
    assert_unknown(&waited);
    assert_unknown(&refused);
    let took = begun.elapsed();
    assert!(
        took > Duration::from_secs(2) && took < TIME_LIMIT * 2,
        "{took:?}"
    );
}

/// Nobody knows what was lost, so nothing goes on as if nothing had been.
#[tokio::test]
async fn an_interruption_ends_what_is_under_way() {
    let Cluster {
        bus, owner, front, ..
    } = cluster().await;
    let session = owner.open().await;
    let upgraded = owner.open().await;
    let mut ws = upgrade(&front, upgraded.sid()).await;
    owner.upgraded(upgraded.sid()).await;
    let interrupt = async {
        sleep(A_MOMENT).await;
        bus.interrupt();
    };
    let (answer, ()) = tokio::join!(poll(&front, session.sid()), interrupt);
    assert_unknown(&answer);
    ws.until_closed().await;
    for session in [&session, &upgraded] {
        owner.close_reason(session.sid()).await;
    }
    // Others begin anew.
    let session = owner.open().await;
    assert_eq!(post(&front, session.sid(), "4x").await.text(), "ok");
    assert_eq!(poll(&front, session.sid()).await.text(), "4x");
}

/// A client must not get half of what was sent as if it were all.
#[tokio::test]
async fn a_gap_ends_a_stream() {
    let Cluster {
        bus, owner, front, ..
    } = cluster().await;
    let session = owner.open().await;
    let sid = session.sid();
    let mut ws = upgrade(&front, sid).await;
    owner.upgraded(sid).await;
    let handle = owner.handle(sid).await;
    bus.cut(true);
    handle.send("lost");
    sleep(A_MOMENT).await;
    bus.cut(false);
    handle.send("after");
    assert_eq!(ws.until_closed().await, []);
    owner.close_reason(sid).await;
}

#[tokio::test]
async fn too_many_at_once_are_refused() {
    let config = Config::default().max_relayed(1);
    let Cluster { owner, front, .. } = cluster_with(config).await;
    let (one, two) = (owner.open().await, owner.open().await);
    let handle = owner.handle(one.sid()).await;
    let second = async {
        sleep(A_MOMENT).await;
        assert_unknown(&poll(&front, two.sid()).await);
        handle.send("one");
    };
    let (answer, ()) = tokio::join!(poll(&front, one.sid()), second);
    assert_eq!(answer.text(), "4one");
}

#[tokio::test]
async fn a_server_that_closes_lets_go_of_what_belongs_to_others() {
    let Cluster {
        owner,
        front,
        other,
        ..
    } = cluster().await;
    let session = owner.open().await;
    let mut ws = upgrade(&front, session.sid()).await;
    owner.upgraded(session.sid()).await;
    assert!(front.server.close(TIME_LIMIT).await.all_gone());
    ws.until_closed().await;
    owner.close_reason(session.sid()).await;
    // It is not the owner that closes.
    let session = owner.open().await;
    assert_eq!(post(&other, session.sid(), "4x").await.text(), "ok");
}

#[tokio::test]
async fn a_server_that_has_closed_passes_nothing_on() {
    let Cluster {
        owner, front, bus, ..
    } = cluster().await;
    let session = owner.open().await;
    front.server.close(TIME_LIMIT).await;
    let before = bus.sent();
    assert!(post(&front, session.sid(), "4x").await.status >= 400);
    assert_eq!(bus.sent(), before);
    assert_eq!(post(&owner, session.sid(), "4x").await.text(), "ok");
}

#[tokio::test]
async fn foreign_bytes_are_ignored() {
    let Cluster {
        bus, owner, front, ..
    } = cluster().await;
    let session = owner.open().await;
    for bytes in [&b""[..], b"\0", b"\x01", b"{}", &[1; 20], &[0xff; 2_000]] {
        assert!(!bus.send_all(&bytes.to_vec().into()), "{bytes:?}");
    }
    // About a stream that nobody knows.
    assert!(bus.send_all(&b"\x01\x04\0\0\0\0\x01x\0\0\0\0\0\0\0\0\0\0\0\x01GET /"[..].into()));
    assert_eq!(post(&front, session.sid(), "4x").await.text(), "ok");
    assert_eq!(poll(&front, session.sid()).await.text(), "4x");
}

/// A server without others is one like any.
#[tokio::test]
async fn without_a_bus_nothing_is_passed_on() {
    let app = App::new(RECORD);
    let server = Server::new(Config::default(), app);
    let split = Split {
        owner: server.clone(),
        front: None,
    };
    assert_eq!(split.owner.stats().relayed, 0);
    let running = start_alone(Config::default(), ECHO).await;
    assert!(!running.open().await.sid().contains('.'));
    assert_unknown(&poll(&running, "x.y").await);
}
