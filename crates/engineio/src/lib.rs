//! Engine.IO 3 and 4 server for hyper.

mod connection;
mod handle;
mod handshake;
mod http;

pub use connection::{Acceptor, Connection};
pub use engineio_proto::{CloseReason, Data, Encoded, Sid, Str, Version};
pub use handle::SessionHandle;
pub use handshake::Handshake;
