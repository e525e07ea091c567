//! Socket.IO servers that share a cluster through Redis, with each other and with servers in Node.js
//! that use the official adapters.
//!
//! ```no_run
//! use socketio::SocketIo;
//! use socketio_adapter_redis::{PubSubAdapter, Redis};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), socketio_adapter_redis::ConnectError> {
//! let redis = Redis::connect("redis://127.0.0.1/")?;
//! let io = SocketIo::builder()
//!     .adapter(PubSubAdapter::new(redis.clone()))
//!     .build();
//! // reaches the clients of all servers
//! io.to("room").emit("event", &1).unwrap();
//! println!("{:?}", redis.stats());
//! # Ok(()) }
//! ```
//!
//! | Adapter | shares a cluster with |
//! |---|---|
//! | [`PubSubAdapter`] | `createAdapter` of `@socket.io/redis-adapter` 8 |
//! | [`ShardedAdapter`] | `createShardedAdapter` of the same |
//! | [`StreamsAdapter`] | `createAdapter` of `@socket.io/redis-streams-adapter` 0.3 |
//!
//! An [`Emitter`] reaches the clients of all of them from a process that is no server.
//!
//! Whatever Redis does, the clients of a server are served: events for them have been delivered
//! when `emit` returns, and handlers never wait for it. See [`Redis`] for what happens when it is
//! away, and [`Stats`] for what was lost.
//!
//! Clients that poll, or begin with polling, need a load balancer that sends them to the same server
//! every time, or else a [`RedisRelay`] at every server.
#![forbid(unsafe_code)]

mod builder;
mod cluster;
mod emitter;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod link;
mod lost;
mod peer;
mod pubsub;
mod queue;
mod redis;
mod relay;
mod routes;
mod sessions;
mod sharded;
mod streams;
mod wire;

pub use self::{
    builder::Builder,
    emitter::Emitter,
    lost::{Lost, LostReason},
    pubsub::PubSubAdapter,
    redis::{ConnectError, Redis, Stats},
    relay::RedisRelay,
    sharded::{ShardedAdapter, SubscriptionMode},
    streams::{StreamsAdapter, StreamsBuilder},
};
