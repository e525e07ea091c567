//! The fuzz targets: what each does with an input, and what has to hold then. None of it needs a fuzzer.
//!
//! docs/FUZZING.md has them in a table.
#![forbid(unsafe_code)]

pub mod frame;
pub mod jsonp;
pub mod msgpack;
pub mod packet;
pub mod query;
pub mod reassembly;
pub mod redis;
pub mod relay;
pub mod server;
pub mod session;
pub mod v3_binary;
pub mod v3_text;
pub mod v4;

mod payload;

/// A fuzz target.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, which its corpus has, too.
    pub name: &'static str,
    /// Panics if something does not hold.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: [Target; 13] = [
    target("v4", v4::run),
    target("v3_text", v3_text::run),
    target("v3_binary", v3_binary::run),
    target("jsonp", jsonp::run),
    target("query", query::run),
    target("frame", frame::run),
    target("packet", packet::run),
    target("reassembly", reassembly::run),
    target("msgpack", msgpack::run),
    target("redis", redis::run),
    target("relay", relay::run),
    target("session", session::run),
    target("server", server::run),
];

const fn target(name: &'static str, run: fn(&[u8])) -> Target {
    Target { name, run }
}
