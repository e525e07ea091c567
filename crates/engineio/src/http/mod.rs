//! What the server says in HTTP besides Engine.IO itself.

mod compression;
mod cookie;
mod cors;

pub use compression::HttpCompression;
pub use cookie::{Cookie, InvalidCookie, Priority, SameSite};
pub use cors::Cors;
