//! What an adapter is, and how to write one.
//!
//! An adapter does two things: it carries what a node [publishes](Channel::publish) to all other
//! nodes, and an [answer](Channel::respond) to one of them; and it knows [how many](Channel::peers)
//! others there are. Here is one whose network is a list of queues:
//!
//! ```
//! use std::{
//!     future::ready,
//!     sync::{Arc, Mutex},
//! };
//!
//! use socketio_adapter::{
//!     Adapter, BoxError, BoxFuture, Channel, Inbox, Message, NodeId, Peers, Response,
//! };
//! use tokio::sync::mpsc;
//!
//! /// Every clone makes one more node.
//! #[derive(Clone, Default)]
//! struct Queues(Arc<Mutex<Vec<Member>>>);
//!
//! #[derive(Clone)]
//! struct Member {
//!     node: NodeId,
//!     namespace: String,
//!     queue: mpsc::UnboundedSender<(NodeId, Parcel)>,
//! }
//!
//! #[derive(Clone)]
//! enum Parcel {
//!     Message(Message),
//!     Response(Response),
//!     Left,
//! }
//!
//! struct QueueChannel {
//!     adapter: Queues,
//!     node: NodeId,
//!     namespace: String,
//! }
//!
//! impl Adapter for Queues {
//!     fn open(&self, namespace: &str, inbox: Inbox) -> Arc<dyn Channel> {
//!         let (queue, mut parcels) = mpsc::unbounded_channel();
//!         let node: NodeId = uuid::Uuid::new_v4().to_string().into();
//!         self.0.lock().unwrap().push(Member {
//!             node: node.clone(),
//!             namespace: namespace.into(),
//!             queue,
//!         });
//!         // One task, so that messages are given to the inbox in their order. It ends when the
//!         // member is no longer in the list.
//!         tokio::spawn(async move {
//!             while let Some((from, parcel)) = parcels.recv().await {
//!                 match parcel {
//!                     Parcel::Message(message) => inbox.message(&from, message),
//!                     Parcel::Response(response) => inbox.response(&from, response),
//!                     Parcel::Left => inbox.left(&from),
//!                 }
//!             }
//!         });
//!         let namespace = namespace.into();
//!         Arc::new(QueueChannel { adapter: self.clone(), node, namespace })
//!     }
//! }
//!
//! impl QueueChannel {
//!     /// The other members of the namespace; none if this one has left.
//!     fn others(&self) -> Vec<Member> {
//!         let mut members = self.adapter.0.lock().unwrap().clone();
//!         members.retain(|it| it.namespace == self.namespace);
//!         if !members.iter().any(|it| it.node == self.node) {
//!             return Vec::new();
//!         }
//!         members.retain(|it| it.node != self.node);
//!         members
//!     }
//!
//!     fn leave(&self) {
//!         for other in self.others() {
//!             let _ = other.queue.send((self.node.clone(), Parcel::Left));
//!         }
//!         self.adapter.0.lock().unwrap().retain(|it| it.node != self.node);
//!     }
//! }
//!
//! impl Channel for QueueChannel {
//!     fn publish(&self, message: Message) {
//!         for other in self.others() {
//!             let parcel = Parcel::Message(message.clone());
//!             let _ = other.queue.send((self.node.clone(), parcel));
//!         }
//!     }
//!
//!     fn respond(&self, to: &NodeId, response: Response) {
//!         if let Some(other) = self.others().into_iter().find(|it| it.node == *to) {
//!             let _ = other.queue.send((self.node.clone(), Parcel::Response(response)));
//!         }
//!     }
//!
//!     fn peers(&self) -> BoxFuture<'static, Result<Peers, BoxError>> {
//!         let nodes = self.others().into_iter().map(|it| it.node).collect();
//!         Box::pin(ready(Ok(Peers::Nodes(nodes))))
//!     }
//!
//!     fn close(&self) -> BoxFuture<'_, ()> {
//!         self.leave();
//!         Box::pin(ready(()))
//!     }
//! }
//!
//! impl Drop for QueueChannel {
//!     fn drop(&mut self) {
//!         self.leave();
//!     }
//! }
//!
//! // Whether all that is right is found out by the behaviour suite.
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! # use socketio_adapter::conformance;
//! # fn cluster() -> impl AsyncFn() -> Queues {
//! #     let cluster = Queues::default();
//! #     async move || cluster.clone()
//! # }
//! # conformance::events_reach_every_other_node_once(cluster()).await;
//! # conformance::acknowledgements_of_all_nodes_come(cluster()).await;
//! # conformance::acknowledgements_do_not_wait_for_a_node_that_leaves(cluster()).await;
//! # conformance::a_closed_namespace_is_silent(cluster()).await;
//! # conformance::a_dropped_namespace_is_closed(cluster()).await;
//! # conformance::a_namespace_can_be_opened_again(cluster()).await;
//! # }
//! ```
//!
//! Over a real network there is more to think of:
//!
//! - `publish` must not wait. It puts the message into a queue, and a task writes it to the broker.
//!   The queue is bounded, in bytes better than in messages: when the broker is away for long, the
//!   oldest or the newest messages are lost.
//! - [`Message`] and [`Response`] need a form on the wire. Binary data is in
//!   [`Args::attachments`](socketio_proto::Args::attachments), and what the JSON says is already
//!   encoded.
//! - A node is a peer when it has subscribed, not when it has asked to.
//! - Nodes crash. An adapter that names its peers must notice when one has been silent for long,
//!   and [say so](Inbox::left).

use std::{error::Error, fmt, future::Future, pin::Pin, sync::Arc};

use crate::{Inbox, Message, NodeId, Response, SessionStore};

/// A boxed future.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Any error.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Connects the nodes of a cluster: whatever carries [`Message`]s between them.
///
/// Everything else that makes many servers one is written once, in [`Cluster`](crate::Cluster): an
/// adapter delivers, and knows nothing of rooms, requests or timeouts. See [the module](self) for
/// an example, and run the behaviour suite (feature `conformance`) against yours.
pub trait Adapter: Send + Sync + 'static {
    /// A namespace of this node begins. From now on what other nodes publish for it goes into the
    /// inbox, until the channel is [closed](Channel::close) or dropped.
    ///
    /// Must not block: whatever takes time (a subscription) happens in a task of the adapter. Must
    /// not call the inbox itself before it returns; a task may. It is called under locks of the
    /// server, so an adapter takes no lock here that it holds while it calls an inbox.
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
    /// Tells all other nodes. If there is a [store](Self::store) it is called under a lock of the
    /// server: it may take a place in a queue, and must not call an inbox or the server.
    fn publish(&self, message: Message);

    /// Answers one node.
    fn respond(&self, to: &NodeId, response: Response);

    /// The other nodes that serve this namespace, as of the call: those that get what is published
    /// after it. A node that is not reached yet is not counted yet.
    fn peers(&self) -> BoxFuture<'static, Result<Peers, BoxError>>;

    /// Where sessions and events are kept for clients that come back to another node, if they are.
    fn store(&self) -> Option<Arc<dyn SessionStore>> {
        None
    }

    /// This node serves the namespace no longer. Nothing goes into the inbox after that, and what
    /// is published reaches nobody. The other nodes are told, so that they do not wait for it.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// The other nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Peers {
    /// So many; which ones is not known. A request waits for so many answers, and for a node that
    /// leaves meanwhile until its time is up.
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
