//! Files of the server in which threads meet, built with loom's locks and atomics in place of the
//! standard library's, and models of what threads do with them. Loom runs a model once for every order
//! in which that can happen, with every value that an atomic may have. A wake-up that is lost shows as
//! threads that all wait.
//!
//! Each file takes what threads share from a module `sync`; here that is another one. `cargo test` looks
//! at orders in which a thread is interrupted up to three times; `make loom` at more.
#![forbid(unsafe_code)]
#![cfg(test)]
// What no model uses of the files, some of which are meant for others.
#![allow(dead_code, clippy::unwrap_used)]

#[path = "../../engineio/src/backlog.rs"]
mod backlog;
#[path = "../../engineio/src/handle.rs"]
mod handle;
mod handler;
mod item;
#[path = "../../engineio/src/mailbox.rs"]
mod mailbox;
mod models;
mod relay;
#[path = "../../socketio/src/room_events.rs"]
mod room_events;
#[path = "../../engineio/src/sessions.rs"]
mod sessions;
#[path = "../../engineio/src/signal.rs"]
mod signal;
#[path = "../../socketio/src/snapshot.rs"]
mod snapshot;
mod sync;

use backlog::Overflow;
use handle::SessionHandle;
