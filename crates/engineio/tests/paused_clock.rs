//! A test that pauses tokio's clock sees a whole life of a session in no time.

mod common;

use std::{
    future::Future,
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use common::{App, RECORD};
use engineio::{Acceptor, CloseReason, Config, Connection, Data, Handshake, Server, SessionHandle};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use testkit::Open;
use tokio::time::Instant;

const URL: &str = "/engine.io/?EIO=4&transport=polling";

async fn get<A: Acceptor>(server: &Server<A>, url: &str) -> Response<Bytes> {
    let request = Request::get(url).body(Full::<Bytes>::default());
    let response = server.handle(request.expect("a request")).await;
    let (parts, body) = response.into_parts();
    let body = body.collect().await.expect("a whole body").to_bytes();
    Response::from_parts(parts, body)
}

#[tokio::test(start_paused = true)]
async fn the_heartbeat_follows_the_paused_clock() {
    let app = App::new(RECORD);
    let server = Server::new(Config::default(), app.clone());
    let start = Instant::now();
    let open = Open::parse(get(&server, URL).await.body());
    let url = format!("{URL}&sid={}", open.sid);

    assert_eq!(get(&server, &url).await.body(), "2");
    assert_eq!(start.elapsed().as_secs(), 25);

    assert_eq!(get(&server, &url).await.body(), "1");
    assert_eq!(app.seen(&open.sid).closed, [CloseReason::PingTimeout]);
    assert_eq!(start.elapsed().as_secs(), 45);
    assert_eq!(server.sessions(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_moved_by_hand_moves_the_heartbeat() {
    let app = App::new(RECORD);
    let server = Server::new(Config::default(), app.clone());
    let open = Open::parse(get(&server, URL).await.body());
    let url = format!("{URL}&sid={}", open.sid);
    tokio::time::advance(Duration::from_secs(24)).await;
    let poll = get(&server, &url);
    tokio::pin!(poll);
    tokio::select! {
        biased;
        response = &mut poll => panic!("too early: {response:?}"),
        () = tokio::task::yield_now() => {}
    }
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(poll.await.body(), "2");
}

/// An application whose first turn is so much work that its task must let the others go on.
struct Busy {
    begun: bool,
}

impl Acceptor for Busy {
    type Connection = Busy;

    fn accept(&self, _: SessionHandle, _: Arc<Handshake>) -> Busy {
        Busy { begun: false }
    }
}

impl Connection for Busy {
    fn on_message(&mut self, _: Data, _: &mut Context<'_>) {}

    fn poll_progress(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while !self.begun && pin!(tokio::task::consume_budget()).poll(cx).is_ready() {}
        self.begun = true;
        Poll::Ready(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_that_has_used_up_its_budget_keeps_its_time() {
    let server = Server::new(Config::default(), Busy { begun: true });
    let open = Open::parse(get(&server, URL).await.body());
    let url = format!("{URL}&sid={}", open.sid);
    let ping = tokio::time::timeout(Duration::from_secs(30), get(&server, &url));
    assert_eq!(ping.await.expect("a ping").body(), "2");
}
