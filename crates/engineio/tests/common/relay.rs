//! Servers that pass requests on to each other, in one process.

use std::{
    collections::HashMap,
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use engineio::{RelayBus, RelayInbox, ResponseBody, Server};
use http::{Request, Response};
use hyper::{body::Incoming, service::Service};
use tokio::sync::mpsc;

use super::App;

/// A bus of one process. Cloning gives the same one.
#[derive(Clone, Default)]
pub struct LocalBus(Arc<Lines>);

#[derive(Default)]
struct Lines {
    nodes: Mutex<HashMap<String, Node>>,
    /// Messages vanish, and nobody is told.
    cut: AtomicBool,
    sent: AtomicUsize,
}

struct Node {
    line: mpsc::UnboundedSender<Bytes>,
    inbox: Arc<dyn RelayInbox>,
}

impl LocalBus {
    /// From now on nothing arrives any more, or again something.
    pub fn cut(&self, cut: bool) {
        self.0.cut.store(cut, Ordering::SeqCst);
    }

    /// How many messages have been sent.
    pub fn sent(&self) -> usize {
        self.0.sent.load(Ordering::SeqCst)
    }

    /// Tells all servers that messages may be lost.
    pub fn interrupt(&self) {
        for inbox in self.inboxes() {
            inbox.interrupted();
        }
    }

    /// Sends the same bytes to all servers; whether they made sense to any.
    pub fn send_all(&self, bytes: &Bytes) -> bool {
        let inboxes = self.inboxes();
        inboxes.iter().any(|it| it.receive(bytes.clone()).is_ok())
    }

    /// The servers there are.
    pub fn names(&self) -> Vec<String> {
        self.0
            .nodes
            .lock()
            .expect("no panic")
            .keys()
            .cloned()
            .collect()
    }

    fn inboxes(&self) -> Vec<Arc<dyn RelayInbox>> {
        let nodes = self.0.nodes.lock().expect("no panic");
        nodes.values().map(|node| node.inbox.clone()).collect()
    }
}

impl RelayBus for LocalBus {
    fn open(&self, node: &str, inbox: Arc<dyn RelayInbox>) {
        let (line, mut messages) = mpsc::unbounded_channel();
        let receiver = inbox.clone();
        tokio::spawn(async move {
            while let Some(message) = messages.recv().await {
                receiver.receive(message).expect("a message of a server");
            }
        });
        let node = (node.to_owned(), Node { line, inbox });
        self.0.nodes.lock().expect("no panic").extend([node]);
    }

    fn close(&self, node: &str) {
        self.0.nodes.lock().expect("no panic").remove(node);
    }

    fn send(&self, node: &str, message: Bytes) -> bool {
        self.0.sent.fetch_add(1, Ordering::SeqCst);
        if self.0.cut.load(Ordering::SeqCst) {
            return true;
        }
        let nodes = self.0.nodes.lock().expect("no panic");
        nodes
            .get(node)
            .is_some_and(|node| node.line.send(message).is_ok())
    }
}

/// Requests that open a session go to one server, all others to the other one.
#[derive(Clone)]
pub struct Split {
    /// Has the sessions.
    pub owner: Server<App>,
    /// Gets the requests for them, if there is another one.
    pub front: Option<Server<App>>,
}

impl Service<Request<Incoming>> for Split {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let query = request.uri().query().unwrap_or_default();
        let resumes = query.split('&').any(|it| it.starts_with("sid="));
        let server = match &self.front {
            Some(front) if resumes => front,
            _ => &self.owner,
        };
        Box::pin(Service::call(server, request))
    }
}
