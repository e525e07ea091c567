//! What makes many servers one, over any adapter.

use std::{
    collections::{HashMap, HashSet},
    error::Error,
    fmt,
    future::Future,
    sync::{Arc, Mutex, OnceLock, PoisonError, Weak},
    time::Duration,
};

use socketio_proto::Args;
use tokio::{
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
    time::{Instant, timeout_at},
};

use crate::{
    Adapter, Channel, Event, Message, NodeId, Options, Peers, RequestId, Response, Room, Selection,
    SocketDetails,
};

/// What other nodes ask this one for, in one namespace. Implemented by the server.
pub trait Local: Send + Sync + 'static {
    /// Sends an event to sockets of this node.
    fn broadcast(&self, event: &Event, options: &Options);

    /// The same, and asks for acknowledgements: says how many clients were asked, and then what
    /// each of them answers. The channel ends when all have answered or are gone.
    fn broadcast_with_ack(
        &self,
        event: &Event,
        options: &Options,
    ) -> (usize, UnboundedReceiver<Args>);

    /// Makes sockets of this node join rooms.
    fn sockets_join(&self, selection: &Selection, rooms: &[Room]);

    /// Makes sockets of this node leave rooms.
    fn sockets_leave(&self, selection: &Selection, rooms: &[Room]);

    /// Disconnects sockets of this node, and closes their connections if asked to.
    fn disconnect_sockets(&self, selection: &Selection, close: bool);

    /// Sockets of this node.
    fn sockets(&self, selection: &Selection) -> Vec<SocketDetails>;

    /// An event for the server itself; it answers through the reply if there is one.
    fn server_side_emit(&self, event: Event, reply: Option<Reply>);
}

/// One namespace of this node among the other nodes.
///
/// It is asked for what the *other* nodes have to do: this node has done its own part already.
#[derive(Clone)]
pub struct Cluster {
    channel: Arc<dyn Channel>,
    shared: Arc<Shared>,
    timeout: Duration,
}

struct Shared {
    local: Weak<dyn Local>,
    channel: OnceLock<Weak<dyn Channel>>,
    requests: Mutex<HashMap<RequestId, UnboundedSender<Answer>>>,
}

enum Answer {
    Response(NodeId, Response),
    Left(NodeId),
}

impl Cluster {
    /// Opens a namespace. `timeout` is how long other nodes have for an answer if a request does
    /// not say.
    pub fn open(
        adapter: &dyn Adapter,
        namespace: &str,
        local: Weak<dyn Local>,
        timeout: Duration,
    ) -> Self {
        let shared = Arc::new(Shared {
            local,
            channel: OnceLock::new(),
            requests: Mutex::default(),
        });
        let channel = adapter.open(namespace, Inbox(shared.clone()));
        let _ = shared.channel.set(Arc::downgrade(&channel));
        Self {
            channel,
            shared,
            timeout,
        }
    }

    /// Tells the other nodes something that needs no answer.
    pub fn publish(&self, message: Message) {
        self.channel.publish(message);
    }

    /// Sends an event to sockets of other nodes and gives what their clients answer. The event is
    /// published at once; the future collects the answers, and is done when all have come.
    ///
    /// # Errors
    ///
    /// If not all have come in the time that the options say.
    pub fn broadcast_with_ack(
        &self,
        event: Event,
        options: Options,
        answers: UnboundedSender<Args>,
    ) -> impl Future<Output = Result<(), Incomplete>> + Send + 'static {
        let mut request = self.request(options.timeout);
        let channel = self.channel.clone();
        channel.publish(Message::Broadcast {
            event,
            options,
            request: Some(request.id.clone()),
        });
        async move {
            let mut waiting = Waiting::new(request.peers(&*channel).await?);
            let mut asked: HashMap<NodeId, Asked> = HashMap::new();
            loop {
                let open = asked.values().any(|node| !node.is_done());
                if waiting.is_done() && !open {
                    return Ok(());
                }
                let answer = tokio::select! {
                    answer = request.next() => answer,
                    () = answers.closed() => return Ok(()),
                };
                match answer {
                    None => return Err(Incomplete::new(waiting.len().max(usize::from(open)))),
                    Some(Answer::Response(node, Response::ClientCount { count, .. })) => {
                        waiting.answered(&node);
                        asked.entry(node).or_default().count = Some(count);
                    }
                    Some(Answer::Response(node, Response::Ack { args, .. })) => {
                        asked.entry(node).or_default().answered += 1;
                        let _ = answers.send(args);
                    }
                    Some(Answer::Response(..)) => {}
                    Some(Answer::Left(node)) => {
                        waiting.left(&node);
                        asked.remove(&node);
                    }
                }
            }
        }
    }

    /// The sockets of other nodes.
    ///
    /// # Errors
    ///
    /// If not all nodes answered in time; the error holds what the others said.
    pub async fn fetch_sockets(
        &self,
        selection: Selection,
        timeout: Option<Duration>,
    ) -> Result<Vec<SocketDetails>, Incomplete<SocketDetails>> {
        let mut sockets = Vec::new();
        let result = self
            .ask(
                timeout,
                |request| Message::FetchSockets { selection, request },
                |response| {
                    if let Response::Sockets { sockets: found, .. } = response {
                        sockets.extend(found);
                    }
                },
            )
            .await;
        finish(sockets, result)
    }

    /// Sends an event to the other servers and gives what each answers.
    ///
    /// # Errors
    ///
    /// If not all nodes answered in time; the error holds what the others said.
    pub async fn server_side_emit_with_ack(
        &self,
        event: Event,
        timeout: Option<Duration>,
    ) -> Result<Vec<Args>, Incomplete<Args>> {
        let mut answers = Vec::new();
        let result = self
            .ask(
                timeout,
                |request| Message::ServerSideEmit {
                    event,
                    request: Some(request),
                },
                |response| {
                    if let Response::ServerSideEmit { args, .. } = response {
                        answers.push(args);
                    }
                },
            )
            .await;
        finish(answers, result)
    }

    /// How many servers there are, this one included.
    ///
    /// # Errors
    ///
    /// If the adapter cannot say.
    pub async fn server_count(&self) -> Result<usize, crate::BoxError> {
        self.channel.peers().await.map(|peers| peers.len() + 1)
    }

    /// This node serves the namespace no longer.
    pub async fn close(&self) {
        self.channel.close().await;
    }

    /// One answer of each other node.
    async fn ask(
        &self,
        timeout: Option<Duration>,
        message: impl FnOnce(RequestId) -> Message,
        mut take: impl FnMut(Response),
    ) -> Result<(), Incomplete> {
        let mut request = self.request(timeout);
        let mut waiting = Waiting::new(request.peers(&*self.channel).await?);
        if waiting.is_done() {
            return Ok(());
        }
        self.channel.publish(message(request.id.clone()));
        while !waiting.is_done() {
            match request.next().await {
                None => return Err(Incomplete::new(waiting.len())),
                Some(Answer::Response(node, response)) => {
                    // Not twice from the same node.
                    if waiting.answered(&node) {
                        take(response);
                    }
                }
                Some(Answer::Left(node)) => waiting.left(&node),
            }
        }
        Ok(())
    }

    fn request(&self, timeout: Option<Duration>) -> Request {
        let (sender, answers) = mpsc::unbounded_channel();
        let id = RequestId::random();
        self.shared.requests().insert(id.clone(), sender);
        Request {
            id,
            answers,
            // so far away that it can be added
            deadline: Instant::now() + timeout.unwrap_or(self.timeout).min(LONGEST),
            shared: self.shared.clone(),
        }
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("requests", &self.shared.requests().len())
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn requests(&self) -> std::sync::MutexGuard<'_, HashMap<RequestId, UnboundedSender<Answer>>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where an adapter puts what other nodes say to this one.
#[derive(Clone)]
pub struct Inbox(Arc<Shared>);

impl Inbox {
    /// Another node has told all.
    ///
    /// Sockets have it in their queues when this returns. Call it for messages of one node in the
    /// order in which that node published them.
    pub fn message(&self, from: &NodeId, message: Message) {
        let Some(local) = self.0.local.upgrade() else {
            return;
        };
        match message {
            Message::Broadcast {
                event,
                options,
                request: None,
            } => local.broadcast(&event, &options),
            Message::Broadcast {
                event,
                options,
                request: Some(request),
            } => {
                let (count, answers) = local.broadcast_with_ack(&event, &options);
                let reply = self.reply(from, request);
                reply.send(|request| Response::ClientCount { request, count });
                tokio::spawn(forward(answers, reply));
            }
            Message::SocketsJoin { selection, rooms } => local.sockets_join(&selection, &rooms),
            Message::SocketsLeave { selection, rooms } => local.sockets_leave(&selection, &rooms),
            Message::DisconnectSockets { selection, close } => {
                local.disconnect_sockets(&selection, close);
            }
            Message::FetchSockets { selection, request } => {
                let sockets = local.sockets(&selection);
                self.reply(from, request)
                    .send(|request| Response::Sockets { request, sockets });
            }
            Message::ServerSideEmit { event, request } => {
                let reply = request.map(|request| self.reply(from, request));
                local.server_side_emit(event, reply);
            }
        }
    }

    /// Another node answers this one. What nobody waits for any more is ignored.
    pub fn response(&self, from: &NodeId, response: Response) {
        let requests = self.0.requests();
        if let Some(request) = requests.get(response.request()) {
            let _ = request.send(Answer::Response(from.clone(), response));
        }
    }

    /// Another node is gone: nobody waits for its answers any more.
    pub fn left(&self, node: &NodeId) {
        for request in self.0.requests().values() {
            let _ = request.send(Answer::Left(node.clone()));
        }
    }

    fn reply(&self, to: &NodeId, request: RequestId) -> Reply {
        Reply {
            shared: self.0.clone(),
            to: to.clone(),
            request,
        }
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Inbox")
    }
}

/// The answer that another server waits for.
pub struct Reply {
    shared: Arc<Shared>,
    to: NodeId,
    request: RequestId,
}

impl Reply {
    /// Answers an event for the servers.
    pub fn answer(self, args: Args) {
        self.send(|request| Response::ServerSideEmit { request, args });
    }

    fn send(&self, response: impl FnOnce(RequestId) -> Response) {
        if let Some(channel) = self.shared.channel.get().and_then(Weak::upgrade) {
            channel.respond(&self.to, response(self.request.clone()));
        }
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply")
            .field("to", &self.to)
            .field("request", &self.request)
            .finish_non_exhaustive()
    }
}

async fn forward(mut answers: UnboundedReceiver<Args>, reply: Reply) {
    while let Some(args) = answers.recv().await {
        reply.send(|request| Response::Ack { request, args });
    }
}

/// Not all nodes, or not all of their clients, answered in time.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Incomplete<T = ()> {
    /// What the others answered.
    pub responses: Vec<T>,
    /// How many nodes did not answer, if that is known.
    pub missing: Option<usize>,
}

impl Incomplete {
    fn new(missing: usize) -> Self {
        Self {
            responses: Vec::new(),
            missing: Some(missing),
        }
    }
}

impl<T> fmt::Display for Incomplete<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.missing {
            Some(missing) => write!(f, "{missing} other servers did not answer in time"),
            None => f.write_str("the other servers could not be counted"),
        }
    }
}

impl<T: fmt::Debug> Error for Incomplete<T> {}

fn finish<T>(responses: Vec<T>, result: Result<(), Incomplete>) -> Result<Vec<T>, Incomplete<T>> {
    match result {
        Ok(()) => Ok(responses),
        Err(Incomplete { missing, .. }) => Err(Incomplete { responses, missing }),
    }
}

/// A question to the other nodes. Forgotten when it is dropped.
struct Request {
    id: RequestId,
    answers: UnboundedReceiver<Answer>,
    deadline: Instant,
    shared: Arc<Shared>,
}

impl Request {
    async fn peers(&self, channel: &dyn Channel) -> Result<Peers, Incomplete> {
        match timeout_at(self.deadline, channel.peers()).await {
            Ok(Ok(peers)) => return Ok(peers),
            Ok(Err(error)) => tracing::warn!(%error, "the other servers cannot be counted"),
            Err(_) => tracing::warn!("the other servers cannot be counted in time"),
        }
        Err(Incomplete {
            responses: Vec::new(),
            missing: None,
        })
    }

    /// `None` when the time is up.
    async fn next(&mut self) -> Option<Answer> {
        timeout_at(self.deadline, self.answers.recv())
            .await
            .ok()
            .flatten()
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.shared.requests().remove(&self.id);
    }
}

/// The nodes that have not answered.
enum Waiting {
    Count(usize, HashSet<NodeId>),
    Nodes(HashSet<NodeId>),
}

impl Waiting {
    fn new(peers: Peers) -> Self {
        match peers {
            Peers::Count(count) => Waiting::Count(count, HashSet::new()),
            Peers::Nodes(nodes) => Waiting::Nodes(nodes.into_iter().collect()),
        }
    }

    /// Whether it was the node's first answer. A node that nobody expected is not waited for, but
    /// what it says counts.
    fn answered(&mut self, node: &NodeId) -> bool {
        match self {
            Waiting::Count(_, answered) => answered.insert(node.clone()),
            Waiting::Nodes(nodes) => nodes.remove(node),
        }
    }

    fn left(&mut self, node: &NodeId) {
        if let Waiting::Nodes(nodes) = self {
            nodes.remove(node);
        }
    }

    fn len(&self) -> usize {
        match self {
            Waiting::Count(count, answered) => count.saturating_sub(answered.len()),
            Waiting::Nodes(nodes) => nodes.len(),
        }
    }

    fn is_done(&self) -> bool {
        self.len() == 0
    }
}

/// A node that was asked for acknowledgements.
#[derive(Default)]
struct Asked {
    /// How many clients it has asked, once it has said so.
    count: Option<usize>,
    answered: usize,
}

impl Asked {
    fn is_done(&self) -> bool {
        self.count.is_some_and(|count| self.answered >= count)
    }
}

/// No request takes longer than this.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);
