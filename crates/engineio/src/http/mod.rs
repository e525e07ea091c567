//! What the server says in HTTP besides Engine.IO itself.

mod cors;

pub use cors::Cors;
