//! A raw HTTP/1.1 and WebSocket client for wire tests.
//!
//! It shares no code with the server under test (no hyper, no tungstenite), so that a mistake
//! cannot cancel itself out, and it can send what no well-behaved client sends. It is strict about
//! what it receives, and it panics with a readable message: it is for tests only.
//!
//! | Module | What it speaks |
//! |---|---|
//! | [`http`] | requests on a keep-alive connection, also malformed ones |
//! | [`ws`] | the WebSocket handshake and frames, also malformed ones |
//! | [`eio`] | the Engine.IO dance on top: open, poll, post, upgrade |
//! | [`wire`] | bytes, with a time limit on every wait |
//! | [`panics`] | nothing: it counts them |
//! | [`redis`] | nothing: it starts a Redis server, and stops it |
//!
//! ```no_run
//! # async fn example(addr: std::net::SocketAddr) {
//! use testkit::{Polling, Upgrade};
//!
//! let response = testkit::get(addr, "/health").await;
//! assert_eq!(response.status, 200);
//!
//! let mut session = Polling::open(addr, "/engine.io/", "EIO=4").await;
//! session.post_ok("4hello").await;
//! assert_eq!(session.poll_text().await, "4hello");
//!
//! let mut upgrade = Upgrade::connect(&session).await;
//! upgrade.probe().await;
//! let mut ws = upgrade.finish().await;
//! ws.text("4hello again").await;
//! assert_eq!(ws.recv_text().await, "4hello again");
//! # }
//! ```
#![forbid(unsafe_code)]

pub mod eio;
pub mod http;
pub mod panics;
pub mod redis;
pub mod rng;
pub mod wire;
pub mod ws;

use std::net::SocketAddr;

pub use eio::{Open, Polling, Upgrade};
pub use http::{Http, Response};
pub use redis::{RedisCluster, RedisServer};
pub use rng::Rng;
pub use wire::{TIME_LIMIT, Wire, within};
pub use ws::{Message, Ws};

/// One GET on a connection of its own.
pub async fn get(addr: SocketAddr, path: &str) -> Response {
    Http::connect(addr).await.get(path).await
}

/// One POST on a connection of its own.
pub async fn post(
    addr: SocketAddr,
    path: &str,
    content_type: &str,
    body: impl AsRef<[u8]>,
) -> Response {
    Http::connect(addr)
        .await
        .post(path, content_type, body)
        .await
}

/// One request on a connection of its own; see [`Http::request`].
pub async fn request(
    addr: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: impl AsRef<[u8]>,
) -> Response {
    Http::connect(addr)
        .await
        .request(method, path, headers, body)
        .await
}
