//! Socket.IO packets without I/O: protocol 4 (clients 1.x and 2.x) and 5 (clients 3.x and 4.x), with
//! the default parser or another one.
//!
//! A message that Engine.IO delivered becomes a [`Packet`] in a [`Decoder`], one per connection. Its
//! arguments stay [`Args`], a slice of the message, until a handler says as which type it wants to
//! read them. What goes out is written once, Engine.IO's packet kind included, and is then an
//! [`Encoded`] that all recipients share.
//!
//! | Module | What it turns into what |
//! |---|---|
//! | [`encode`] | a name and a Rust value into an event, a value into its acknowledgement |
//! | [`connect`] | the answers to a client that joins a namespace, per protocol version |
//! | [`Decoder`] | messages into packets |
//! | [`Codec`] | all of that, with the default parser or with another [`Parser`] |
//! | [`Args`] | arguments into a Rust value |
//! | [`msgpack`] | JSON with binary data into MessagePack, and back |
//!
//! ```
//! use socketio_proto::{Decoder, Limits, PacketKind, encode};
//!
//! let mut decoder = Decoder::new(Limits::default());
//! let packet = decoder.add(r#"2["sum",1,2]"#.into()).unwrap().unwrap();
//! let PacketKind::Event { name, args, .. } = packet.kind else { panic!() };
//! let (a, b): (u32, u32) = args.deserialize().unwrap();
//!
//! let it = encode::event(&packet.nsp, None, &name, &(a + b)).unwrap();
//! assert_eq!(&**it.wire_text().unwrap(), r#"42["sum",3]"#);
//! ```
#![forbid(unsafe_code)]

mod args;
mod binary;
pub mod connect;
mod de;
mod decode;
pub mod encode;
mod error;
mod json;
pub mod msgpack;
mod packet;
mod parser;
mod placeholder;
mod reassemble;
mod ser;
mod validate;

pub use engineio_proto::{Data, Encoded};

pub use args::Args;
pub use encode::{ArgsWriter, ToArgs};
pub use error::{ArgsError, DecodeError, EncodeError};
pub use msgpack::MsgpackParser;
pub use packet::{Packet, PacketKind, RESERVED, is_reserved};
pub use parser::{AnyDecoder, Codec, PacketDecoder, Parser};
pub use reassemble::{Decoder, Limits};
