//! What an adapter is.

use std::{error::Error, fmt, future::Future, pin::Pin, sync::Arc};

use crate::{Inbox, Message, NodeId, Response};

/// A boxed future.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Any error.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Connects the nodes of a cluster: whatever carries [`Message`]s between them.
///
/// Everything else that makes many servers one is written once, in [`Cluster`](crate::Cluster): an
/// adapter delivers, and knows nothing of rooms, requests or timeouts. Run
/// [`conformance`](crate::conformance) against yours (feature `conformance`).
///
/// See [`MemoryAdapter`](crate::MemoryAdapter) for a small one.
pub trait Adapter: Send + Sync + 'static {
    /// A namespace of this node begins. From now on what other nodes publish for it goes into the
    /// inbox, until the channel is [closed](Channel::close) or dropped.
    ///
    /// Must not block: whatever takes time (a subscription) happens in a task of the adapter. Must
    /// not call the inbox itself before it returns; a task may.
    fn open(&self, namespace: &str, inbox: Inbox) -> Arc<dyn Channel>;

    /// The server closes. All channels have been closed before; new ones may be opened later.
    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// One namespace of one node, as its adapter serves it.
///
/// What one node publishes reaches each other node in the order of the calls, at most once. Nothing
/// here may block or fail for a broker that is away: this node's own sockets have been served
/// already when `publish` is called. What cannot be delivered is dropped, and the adapter says so
/// in a way of its own.
pub trait Channel: Send + Sync + 'static {
    /// Tells all other nodes.
    fn publish(&self, message: Message);

    /// Answers one node.
    fn respond(&self, to: &NodeId, response: Response);

    /// The other nodes that serve this namespace, as of the call: those that get what is published
    /// after it. A node that is not reached yet is not counted yet.
    fn peers(&self) -> BoxFuture<'static, Result<Peers, BoxError>>;

    /// This node serves the namespace no longer. Nothing goes into the inbox after that, and what
    /// is published reaches nobody. The other nodes are told, so that they do not wait for it.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// The other nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Peers {
    /// So many; which ones is not known.
    Count(usize),
    /// These. Such an adapter also says when one of them [has left](Inbox::left).
    Nodes(Vec<NodeId>),
}

impl Peers {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Peers::Count(count) => *count,
            Peers::Nodes(nodes) => nodes.len(),
        }
    }

    /// Whether this node is alone.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for dyn Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Adapter")
    }
}

impl fmt::Debug for dyn Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Channel")
    }
}
