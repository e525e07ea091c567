//! The two ways to a client.

pub(crate) mod io;
pub(crate) mod websocket;
pub(crate) mod wire;
