//! Rooms of a Socket.IO server.
//!
//! A [`Registry`] knows which members of this node are in which room, and walks those that a
//! [`Selection`] names. It stores whatever stands for a member (a socket, a session handle) and
//! knows nothing of packets, transports or runtimes.
//!
//! ```
//! use socketio_adapter::{Registry, Selection};
//!
//! let registry = Registry::new();
//! registry.insert("a".into(), 'a');
//! registry.insert("b".into(), 'b');
//! registry.join("a", ["red".into()]);
//!
//! let mut reached = Vec::new();
//! registry.each(&Selection::room("red"), |member| reached.push(*member));
//! assert_eq!(reached, ['a']);
//! ```
#![forbid(unsafe_code)]

mod group;
pub mod registry;
pub mod selection;

pub use registry::Registry;
pub use selection::{Room, Selection};
