//! Socket.IO server for hyper and tower. It speaks protocol 5 and 4, so to every official client
//! from 1.0 to 4.8, over WebSocket and HTTP long-polling.
//!
//! A chat server:
//!
//! ```no_run
//! use socketio::{SocketIo, handler::Data};
//!
//! #[tokio::main]
//! async fn main() -> std::io::Result<()> {
//!     let io = SocketIo::new();
//!     io.on("chat message", async |io: SocketIo, Data(text): Data<String>| {
//!         io.emit("chat message", &text)
//!     });
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//!     socketio::serve(listener, io.service()).await
//! }
//! ```
//!
//! | To | see |
//! |---|---|
//! | write handlers | [`handler`] |
//! | tie names, payloads and answers together | [`TypedEvent`] |
//! | let clients in or not | [`Namespace::middleware`] |
//! | change or refuse events | [`Namespace::packet_middleware`] |
//! | send to one, to rooms, to all | [`Socket::emit`], [`Socket::to`], [`SocketIo::to`] |
//! | let namespaces come to be on demand | [`SocketIo::of_dynamic`] |
//! | wait for an answer, or for many | [`Socket::emit_with_ack`], [`BroadcastOperator::emit_with_ack`] |
//! | look at sockets, move or disconnect them | [`SocketIo::fetch_sockets`], [`SocketIo::sockets_join`] |
//! | take clients back after a short disconnection | [`Builder::connection_state_recovery`] |
//! | make many servers one | [`Builder::adapter`], [`SocketIo::server_side_emit`] |
//! | set limits and options | [`Builder`], [`Config`] |
//! | send to clients that read slowly | [below](#when-a-client-reads-too-slowly) |
//! | watch over the server | [`SocketIo::stats`], [`conn`] |
//! | talk to clients with another parser | [`parser`] |
//! | stand beside an application's own routes | [`SocketIo::service`], its [`layer`](Server::layer) |
//! | shut down | [`SocketIo::close`], [`SocketIo::close_within`] |
//! | test handlers | the crate `socketio-test` |
//!
//! # When a client reads too slowly
//!
//! What is sent waits in a queue for each client, whose bounds are
//! [`Config::max_queued`] bytes and [`Config::max_queued_messages`]. You choose what happens when
//! it is full, for the whole server and for each event:
//!
//! | Then | for the server | for an event | counted in |
//! |---|---|---|---|
//! | the client is disconnected as a [slow client](DisconnectReason::SlowClient); the default | `.overflow(`[`Overflow::Disconnect`]`)` | [`Emitter::overflow`], [`BroadcastOperator::overflow`] | [`Stats::slow_clients`] |
//! | the event is dropped | `.overflow(`[`Overflow::DropNewest`]`)` | the same | [`Stats::dropped`], [`SessionHandle::dropped`] |
//! | the event is dropped unless nothing waits at all | | [`Socket::volatile`], [`BroadcastOperator::volatile`] | [`Stats::dropped_volatile`], [`SessionHandle::dropped_volatile`] |
//! | the sender waits, well before the queue is full | [`Config::low_water`] | [`Socket::emit_ready`], [`Socket::ready`] | [`Stats::waits`] |
//!
//! What is no event (the answers to CONNECT and to the client's events, DISCONNECT) is never
//! dropped. It may fill the queue up to twice its bounds; beyond that the client is disconnected
//! whatever was chosen.
//!
//! ```
//! use socketio::{Overflow, SocketIo};
//!
//! let io = SocketIo::builder()
//!     .engine(|config| {
//!         config
//!             .max_queued(1_000_000)
//!             .max_queued_messages(1_000)
//!             .overflow(Overflow::DropNewest)
//!     })
//!     .build();
//! io.overflow(Overflow::Disconnect).emit("must arrive", &1)?;
//! # Ok::<(), socketio::EmitError>(())
//! ```
//!
//! # Promises
//!
//! - No event is lost or reordered between the connection and the handlers: what a client sends
//!   once it has been let in waits for the connection handlers, and handlers of a socket start in
//!   the order of arrival.
//! - Nothing is silent: an error that a handler returns answers the client if it waits for an
//!   answer, and reaches the [error hook](SocketIo::on_error) if not; arguments of the wrong shape
//!   and panics do both.
//! - Everything that a client can make the server keep is bounded; see [`Builder`] and [`Config`].
//!   So is what it makes the server keep by not reading.
//! - A client that breaks the protocol is disconnected, and nobody else notices.
#![forbid(unsafe_code)]

mod ack;
mod acks;
mod broadcast;
mod builder;
mod client;
mod client_files;
pub mod conn;
mod delivery;
mod dynamic;
mod emitter;
mod error;
mod extensions;
pub mod handler;
mod handshake;
mod in_flight;
mod listen;
mod namespace;
mod namespaces;
mod outgoing;
pub mod parser;
mod reason;
mod recovery;
mod remote;
mod room_events;
mod server;
mod server_side;
mod snapshot;
mod socket;
mod stats;
mod sync;
mod typed;

pub use engineio::{
    CloseReason, Closed, Config, ConnectionError, ConnectionErrorKind, Cookie, Cors, Exchange,
    File, Files, Halt, HttpCompression, InvalidCookie, Overflow, Peer, Refusal, Serve, Server,
    SessionHandle, Sid, Stats as EngineStats, Str, Transport, Version, forwarded_for, serve,
};
pub use socketio_adapter::{self as adapter, HandshakeDetails, Room, RoomEvent};
#[cfg(feature = "macros")]
pub use socketio_macros::TypedEvent;
pub use socketio_proto::{Args, ArgsError, DecodeError, EncodeError, ToArgs, encode::ArgsWriter};

pub use self::{
    ack::AckFuture,
    acks::{BroadcastAckError, BroadcastAcks},
    broadcast::{BroadcastOperator, IntoRooms},
    builder::Builder,
    client::Client,
    dynamic::{NamespaceMatcher, ParentBroadcastOperator, ParentNamespace},
    emitter::Emitter,
    error::{AckError, BoxError, ConnectError, EmitError, ErrorReply, ErrorReport, HandlerError},
    extensions::Extensions,
    handshake::Handshake,
    namespace::Namespace,
    outgoing::OutgoingEvent,
    reason::DisconnectReason,
    recovery::ConnectionStateRecovery,
    remote::{FetchError, RemoteSocket},
    server::SocketIo,
    server_side::{ServerSideError, ServerSideEvent},
    socket::Socket,
    stats::Stats,
    typed::TypedEvent,
};

#[cfg(test)]
extern crate self as socketio; // what the derive macro makes names it
#[cfg(test)]
mod tests;

/// The README's program compiles.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
mod readme {}

/// What the documents show compiles.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/LIMITS.md")]
mod limits {}
#[cfg(doctest)]
#[doc = include_str!("../../../SECURITY.md")]
mod security {}
