//! Emits to the clients of Socket.IO servers from a process that is no server, through Redis: what
//! `@socket.io/redis-emitter` is for Node.js. The servers may be in Rust or in Node.js.
//!
//! ```no_run
//! use socketio_emitter_redis::{Emitter, PubSubAdapter, Redis};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let redis = Redis::connect("redis://127.0.0.1/")?;
//! let emitter = Emitter::pub_sub(&PubSubAdapter::new(redis.clone()));
//! emitter.to("admins").emit("news", &("the build is done", 42))?;
//! redis.flush().await;
//! # Ok(()) }
//! ```
//!
//! The adapter says how the servers share their cluster, and is not opened.
#![forbid(unsafe_code)]

pub use socketio_adapter_redis::{
    Builder, ConnectError, Emitter, Lost, LostReason, PubSubAdapter, Redis, ShardedAdapter, Stats,
    StreamsAdapter, StreamsBuilder, SubscriptionMode,
};
