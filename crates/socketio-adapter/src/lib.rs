//! Rooms of a Socket.IO server, and what makes many servers one.
//!
//! - A [`Registry`] knows which members of this node are in which room, and walks those that a
//!   [`Selection`] names. It stores whatever stands for a member (a socket, a session handle) and
//!   knows nothing of packets, transports or runtimes.
//! - An [`Adapter`] carries [`Message`]s between the nodes of a cluster. [`Cluster`] is everything
//!   that is built on it: broadcasts, acknowledgements from all nodes, the sockets of all nodes,
//!   events between servers.
//! - With the feature `conformance` there is a behaviour suite for adapters. The
//!   [module of the adapter](adapter) shows how one is written.
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

pub mod adapter;
pub mod cluster;
#[cfg(feature = "conformance")]
pub mod conformance;
mod group;
pub mod memory;
pub mod message;
pub mod registry;
pub mod selection;
pub mod store;

pub use adapter::{Adapter, BoxError, BoxFuture, Channel, Peers};
pub use cluster::{Cluster, Inbox, Incomplete, Local, Reply};
pub use memory::MemoryAdapter;
pub use message::{
    Event, HandshakeDetails, Message, NodeId, Options, RequestId, Response, SocketDetails,
};
pub use registry::{Registry, RoomEvent};
pub use selection::{Room, Selection};
pub use store::{InvalidPlace, Place, SessionStore, StoredSession};
