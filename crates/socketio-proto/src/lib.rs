//! Socket.IO packets, protocol 4 and 5, default parser.
#![forbid(unsafe_code)]

pub mod args;
mod binary;
pub mod connect;
mod de;
pub mod decode;
pub mod encode;
pub mod error;
mod json;
pub mod packet;
mod placeholder;
mod ser;

pub use args::Args;
pub use decode::{Decoder, Limits};
pub use encode::ToArgs;
pub use error::{ArgsError, DecodeError, EncodeError};
pub use packet::{Packet, PacketKind, RESERVED, is_reserved};
