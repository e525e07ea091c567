//! A cluster inside one process.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{Adapter, BoxError, BoxFuture, Channel, Inbox, Message, NodeId, Peers, Response};

/// Connects servers that live in the same process: several runtimes, or tests.
///
/// Every clone given to a server makes that server a node. What one server does for another, it does
/// in the task that has asked: an event is in the queues of all servers when `emit` returns.
///
/// ```
/// use socketio_adapter::MemoryAdapter;
///
/// let cluster = MemoryAdapter::new();
/// let (for_one_server, for_another) = (cluster.clone(), cluster);
/// ```
#[derive(Clone, Default)]
pub struct MemoryAdapter(Arc<Hub>);

#[derive(Default)]
struct Hub {
    namespaces: Mutex<Namespaces>,
    next_node: AtomicU64,
}

/// The nodes of each namespace.
type Namespaces = HashMap<Box<str>, Vec<(NodeId, Inbox)>>;

impl MemoryAdapter {
    /// A cluster without nodes.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Adapter for MemoryAdapter {
    fn open(&self, namespace: &str, inbox: Inbox) -> Arc<dyn Channel> {
        let number = self.0.next_node.fetch_add(1, Ordering::Relaxed);
        let node: NodeId = format!("{number:016x}").into();
        let mut namespaces = self.0.namespaces();
        let nodes = namespaces.entry(namespace.into()).or_default();
        nodes.push((node.clone(), inbox));
        Arc::new(MemoryChannel {
            hub: self.0.clone(),
            namespace: namespace.into(),
            node,
        })
    }
}

impl fmt::Debug for MemoryAdapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let namespaces: Vec<_> = self.0.namespaces().keys().cloned().collect();
        f.debug_struct("MemoryAdapter")
            .field("namespaces", &namespaces)
            .finish()
    }
}

impl Hub {
    /// The other nodes, for one that has not left. A copy: what they do with a message may come
    /// back here.
    fn others(&self, namespace: &str, node: &NodeId) -> Vec<(NodeId, Inbox)> {
        let namespaces = self.namespaces();
        let Some(nodes) = namespaces.get(namespace) else {
            return Vec::new();
        };
        let mut others = nodes.clone();
        others.retain(|(it, _)| it != node);
        if others.len() == nodes.len() {
            return Vec::new();
        }
        others
    }

    fn leave(&self, namespace: &str, node: &NodeId) {
        let mut namespaces = self.namespaces();
        let Some(nodes) = namespaces.get_mut(namespace) else {
            return;
        };
        let before = nodes.len();
        nodes.retain(|(it, _)| it != node);
        let left = nodes.len() < before;
        let others = nodes.clone();
        if others.is_empty() {
            namespaces.remove(namespace);
        }
        drop(namespaces);
        if left {
            for (_, inbox) in others {
                inbox.left(node);
            }
        }
    }

    fn namespaces(&self) -> MutexGuard<'_, Namespaces> {
        self.namespaces
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

struct MemoryChannel {
    hub: Arc<Hub>,
    namespace: Box<str>,
    node: NodeId,
}

impl Channel for MemoryChannel {
    fn publish(&self, message: Message) {
        for (_, inbox) in self.hub.others(&self.namespace, &self.node) {
            inbox.message(&self.node, message.clone());
        }
    }

    fn respond(&self, to: &NodeId, response: Response) {
        let others = self.hub.others(&self.namespace, &self.node);
        if let Some((_, inbox)) = others.iter().find(|(node, _)| node == to) {
            inbox.response(&self.node, response);
        }
    }

    fn peers(&self) -> BoxFuture<'static, Result<Peers, BoxError>> {
        let others = self.hub.others(&self.namespace, &self.node);
        let nodes = others.into_iter().map(|(node, _)| node).collect();
        Box::pin(std::future::ready(Ok(Peers::Nodes(nodes))))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.hub.leave(&self.namespace, &self.node);
        Box::pin(std::future::ready(()))
    }
}

impl Drop for MemoryChannel {
    fn drop(&mut self) {
        self.hub.leave(&self.namespace, &self.node);
    }
}
