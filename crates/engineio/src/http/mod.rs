//! What the server says in HTTP: which answer a request gets, and the headers around it.

pub(crate) mod body;
mod compression;
mod cookie;
mod cors;
mod files;
pub(crate) mod head_timer;
pub(crate) mod response;
pub(crate) mod spare;

pub use compression::HttpCompression;
pub use cookie::{Cookie, InvalidCookie, Priority, SameSite};
pub use cors::Cors;
pub use files::{File, Files};
