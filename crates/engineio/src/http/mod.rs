//! What the server says in HTTP besides Engine.IO itself.

mod cookie;
mod cors;

pub use cookie::{Cookie, InvalidCookie, Priority, SameSite};
pub use cors::Cors;
