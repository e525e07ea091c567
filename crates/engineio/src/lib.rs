//! Engine.IO 3 and 4 server for hyper: HTTP long-polling, WebSocket, and the upgrade from one to
//! the other. It carries messages between a server and its clients, in order and without loss, and
//! knows nothing of what they mean; Socket.IO stands on top of it, in the `socketio` crate.
//!
//! A whole server, which sends back what it gets:
//!
//! ```no_run
//! use std::{sync::Arc, task::Context};
//! use engineio::{Acceptor, Config, Connection, Data, Handshake, Server, SessionHandle};
//!
//! struct Echo;
//! struct EchoConnection(SessionHandle);
//!
//! impl Acceptor for Echo {
//!     type Connection = EchoConnection;
//!     fn accept(&self, session: SessionHandle, _: Arc<Handshake>) -> EchoConnection {
//!         EchoConnection(session)
//!     }
//! }
//!
//! impl Connection for EchoConnection {
//!     fn on_message(&mut self, message: Data, _: &mut Context<'_>) {
//!         self.0.send(message);
//!     }
//! }
//!
//! #[tokio::main]
//! async fn main() -> std::io::Result<()> {
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//!     engineio::serve(listener, Server::new(Config::default(), Echo)).await
//! }
//! ```
//!
//! # How a session lives
//!
//! Each session has one future, its driver. It owns the [protocol's state
//! machine](engineio_proto::session), the WebSocket if there is one, and the [`Connection`] that
//! you give it. Everything else reaches it through the mailbox behind a [`SessionHandle`]: sending,
//! closing, polls and posts. So all that happens to a session has one order, and a connection
//! is a plain `&mut self`.
//!
//! # Feature flags
//!
//! None. Both protocol versions and both transports are served at run time.
#![forbid(unsafe_code)]

mod backlog;
mod clock;
mod config;
mod connection;
mod driver;
mod error;
mod handle;
mod handshake;
mod http;
mod item;
mod layer;
mod mailbox;
mod middleware;
mod relay;
mod serve;
mod server;
mod sessions;
mod signal;
mod sync;
mod transport;
mod visitors;
#[cfg(test)]
mod wakes;

pub use self::http::{
    Cookie, Cors, File, Files, HttpCompression, InvalidCookie, Priority, SameSite,
    response::ResponseBody,
};
pub use backlog::{Overflow, Stats};
pub use config::{Config, Refusal};
pub use connection::{Acceptor, Connection};
pub use engineio_proto::{
    CloseReason, Data, Encoded, Packet, PacketKind, Sid, Str, Version,
    query::Transport,
    relay::{InvalidRelayMessage, RelayBus, RelayInbox},
    session::Transmit,
};
pub use error::{ConnectionError, ConnectionErrorKind};
pub use handle::SessionHandle;
pub use handshake::{Handshake, Peer};
pub use layer::{EngineLayer, EngineService};
pub use middleware::{Exchange, Halt};
pub use serve::{Serve, serve};
pub use server::{Closed, Server, ServerFuture, WeakServer};
pub use visitors::forwarded_for;
