//! Engine.IO 3 and 4 without I/O.
//!
//! This crate turns bytes into values and values into bytes, and holds the state machine of one
//! session. It knows no socket, no runtime and no clock: time comes in as an argument, random
//! bytes come in as an argument. The `engineio` crate moves it over hyper and WebSocket; a test
//! moves it over nothing at all.
//!
//! | Module | What it turns into what |
//! |---|---|
//! | [`query`] | a request's query string into "open a session" or "continue this one" |
//! | [`dialect`] | a query into the way this client frames and encodes |
//! | [`packet`] | the seven packet kinds |
//! | [`frame`] | one packet, one WebSocket message |
//! | [`payload`] | many packets, one HTTP body |
//! | [`handshake`] | the open packet |
//! | [`encoded`] | a message in wire shape, shared by all its recipients |
//! | [`relay`] | what servers say to each other about clients that reach the wrong one |
//! | [`session`] | what arrives and what the application wants, into what happens next |
//!
//! ```
//! use engineio_proto::{Dialect, Packet, frame};
//!
//! let packet = frame::decode(engineio_proto::Data::Text("4hello".into()), &Dialect::V4).unwrap();
//! assert_eq!(packet, Packet::text("hello"));
//! ```
#![forbid(unsafe_code)]

pub mod close;
pub mod dialect;
pub mod encoded;
pub mod error;
pub mod frame;
pub mod handshake;
pub mod packet;
pub mod payload;
pub mod query;
pub mod queue;
pub mod relay;
pub mod session;
pub mod sid;

pub use bytestring::ByteString as Str;

pub use close::CloseReason;
pub use dialect::{Dialect, Version};
pub use encoded::Encoded;
pub use error::Violation;
pub use handshake::Open;
pub use packet::{Data, Packet, PacketKind};
pub use query::Query;
pub use queue::Queue;
pub use session::Session;
pub use sid::Sid;
