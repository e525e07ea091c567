//! What makes many servers one, over any adapter.

use std::{
    collections::{HashMap, HashSet},
    error::Error,
    fmt,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use socketio_proto::Args;
use tokio::{
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
    time::{Instant, timeout, timeout_at},
};

use crate::{
    Adapter, BoxError, BoxFuture, Channel, Event, Message, NodeId, Options, Peers, RequestId,
    Response, Room, RoomEvent, Selection, SessionStore, SocketDetails,
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

    /// Adds a function that is told what happens to the rooms of this node from now on, as
    /// [`Registry::observe`](crate::Registry::observe) does.
    fn observe_rooms(&self, observer: Box<dyn Fn(&RoomEvent) + Send + Sync>);
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
    outlet: Mutex<Outlet>,
    /// Those that wait for answers. `None` once the namespace is closed. To send them something, or
    /// to drop them, wakes whoever waits, and a waker is anybody's code: not under the lock.
    requests: Mutex<Option<HashMap<RequestId, UnboundedSender<Answer>>>>,
}

/// Where this node's answers leave.
enum Outlet {
    /// The adapter has begun to deliver, but not given the channel yet.
    Opening(Vec<(NodeId, Response)>),
    Open(Weak<dyn Channel>),
}

/// What another node has said to a request.
struct Answer {
    /// `None` if it has not said who it is.
    node: Option<NodeId>,
    /// `None` if it has left instead.
    response: Option<Response>,
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
            outlet: Mutex::new(Outlet::Opening(Vec::new())),
            requests: Mutex::new(Some(HashMap::new())),
        });
        let channel = adapter.open(namespace, Inbox(shared.clone()));
        shared.set_outlet(&channel);
        Self {
            channel,
            shared,
            timeout,
        }
    }

    /// Where sessions and events are kept for clients that come back to another node, if they are.
    pub fn store(&self) -> Option<Arc<dyn SessionStore>> {
        self.channel.store()
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
        mut options: Options,
        answers: UnboundedSender<Args>,
    ) -> impl Future<Output = Result<(), Incomplete>> + Send + 'static {
        // Nobody has to keep answers open for longer than they are waited for.
        options.timeout.get_or_insert(self.timeout);
        let mut request = self.request(options.timeout);
        let peers = self.channel.peers();
        self.channel.publish(Message::Broadcast {
            event,
            options,
            request: Some(request.id.clone()),
        });
        async move {
            // If they cannot be counted, what comes in time is still worth having.
            let mut waiting = Waiting::new(request.peers(peers).await.ok());
            // All without a name are one: of them it is enough to know the sums.
            let mut asked: HashMap<Option<NodeId>, Asked> = HashMap::new();
            loop {
                let open = asked.values().filter(|node| !node.is_done()).count();
                let missing = waiting.missing().map(|missing| missing + open);
                if missing == Some(0) {
                    return Ok(());
                }
                let answer = tokio::select! {
                    answer = request.next() => answer,
                    () = answers.closed() => return Ok(()),
                };
                let Some(Answer { node, response }) = answer else {
                    return Err(Incomplete::new(missing));
                };
                match (&node, &response) {
                    (Some(node), _) => drop(waiting.heard(node)),
                    (None, Some(Response::ClientCount { .. })) => waiting.heard_somebody(),
                    (None, _) => {}
                }
                let is_named = node.is_some();
                let node = asked.entry(node).or_default();
                match response {
                    Some(Response::ClientCount { count, .. }) => match &mut node.count {
                        None => node.count = Some(count),
                        Some(sum) if !is_named => *sum = sum.saturating_add(count),
                        Some(_) => {}
                    },
                    Some(Response::Ack { args, .. }) => {
                        node.answered += 1;
                        let _ = answers.send(args);
                    }
                    Some(_) => {}
                    None => node.count = Some(0),
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
    /// If the adapter cannot say, or not in time.
    pub async fn server_count(&self) -> Result<usize, BoxError> {
        match timeout(self.timeout, self.channel.peers()).await {
            Ok(peers) => Ok(peers?.len() + 1),
            Err(_) => Err("the other servers cannot be counted in time".into()),
        }
    }

    /// This node serves the namespace no longer. Requests that are waiting end with what has come.
    pub async fn close(&self) {
        let requests = self.shared.requests().take();
        drop(requests);
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
        let mut waiting = Waiting::new(Some(request.peers(self.channel.peers()).await?));
        if waiting.missing() == Some(0) {
            return Ok(());
        }
        self.channel.publish(message(request.id.clone()));
        while waiting.missing() != Some(0) {
            let Some(Answer { node, response }) = request.next().await else {
                return Err(Incomplete::new(waiting.missing()));
            };
            let is_new = match &node {
                // Not twice from the same node.
                Some(node) => waiting.heard(node),
                None => {
                    waiting.heard_somebody();
                    true
                }
            };
            if is_new && let Some(response) = response {
                take(response);
            }
        }
        Ok(())
    }

    fn request(&self, timeout: Option<Duration>) -> Request {
        let (sender, answers) = mpsc::unbounded_channel();
        let id = RequestId::random();
        if let Some(requests) = &mut *self.shared.requests() {
            requests.insert(id.clone(), sender);
        }
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
        let requests = self.shared.requests().as_ref().map(HashMap::len);
        f.debug_struct("Cluster")
            .field("requests", &requests)
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn set_outlet(&self, channel: &Arc<dyn Channel>) {
        let open = Outlet::Open(Arc::downgrade(channel));
        let before = std::mem::replace(&mut *self.outlet(), open);
        if let Outlet::Opening(responses) = before {
            for (to, response) in responses {
                channel.respond(&to, response);
            }
        }
    }

    fn respond(&self, to: &NodeId, response: Response) {
        let channel = match &mut *self.outlet() {
            Outlet::Opening(responses) => return responses.push((to.clone(), response)),
            Outlet::Open(channel) => channel.upgrade(),
        };
        if let Some(channel) = channel {
            channel.respond(to, response);
        }
    }

    fn outlet(&self) -> MutexGuard<'_, Outlet> {
        self.outlet.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn requests(&self) -> MutexGuard<'_, Option<HashMap<RequestId, UnboundedSender<Answer>>>> {
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
    /// order in which that node published them, and inside of a tokio runtime.
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
                if count > 0 {
                    tokio::spawn(forward(answers, reply));
                }
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
        self.answer(Some(from.clone()), response);
    }

    /// The same, if answers do not say whose they are. For adapters that [count](Peers::Count) the
    /// other nodes only; that a node answers once is then up to the adapter.
    pub fn anonymous_response(&self, response: Response) {
        self.answer(None, response);
    }

    /// Adds a function that is told what happens to the rooms of this node from now on, for adapters
    /// that subscribe to rooms. It is called under locks: it may push to a queue, and must not
    /// call the inbox.
    pub fn observe_rooms(&self, observer: impl Fn(&RoomEvent) + Send + Sync + 'static) {
        if let Some(local) = self.0.local.upgrade() {
            local.observe_rooms(Box::new(observer));
        }
    }

    /// Another node is gone: nobody waits for its answers any more.
    pub fn left(&self, node: &NodeId) {
        let requests = self.0.requests();
        let all: Vec<_> = requests.iter().flat_map(HashMap::values).cloned().collect();
        drop(requests);
        for request in all {
            let _ = request.send(Answer {
                node: Some(node.clone()),
                response: None,
            });
        }
    }

    fn answer(&self, node: Option<NodeId>, response: Response) {
        let requests = self.0.requests();
        let request = requests.as_ref().and_then(|it| it.get(response.request()));
        let request = request.cloned();
        drop(requests);
        if let Some(request) = request {
            let _ = request.send(Answer {
                node,
                response: Some(response),
            });
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
        let response = response(self.request.clone());
        self.shared.respond(&self.to, response);
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
    /// How many nodes did not answer, if that is known. Nodes that do not say which they are (see
    /// [`Inbox::anonymous_response`]) and have said how many clients they asked, but not what all of
    /// these answer, count as one.
    pub missing: Option<usize>,
}

impl Incomplete {
    fn new(missing: Option<usize>) -> Self {
        Self {
            responses: Vec::new(),
            missing,
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
    async fn peers(
        &self,
        peers: BoxFuture<'static, Result<Peers, BoxError>>,
    ) -> Result<Peers, Incomplete> {
        match timeout_at(self.deadline, peers).await {
            Ok(Ok(peers)) => return Ok(peers),
            Ok(Err(error)) => tracing::warn!(%error, "the other servers cannot be counted"),
            Err(_) => tracing::warn!("the other servers cannot be counted in time"),
        }
        Err(Incomplete::new(None))
    }

    /// `None` when the time is up, or the namespace closed.
    async fn next(&mut self) -> Option<Answer> {
        timeout_at(self.deadline, self.answers.recv())
            .await
            .ok()
            .flatten()
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        let mut requests = self.shared.requests();
        let request = requests.as_mut().and_then(|it| it.remove(&self.id));
        drop(requests);
        drop(request);
    }
}

/// The nodes that have said nothing yet.
struct Waiting {
    silent: Silent,
    /// Those that have answered or left, expected or not.
    heard: HashSet<NodeId>,
}

enum Silent {
    Count(usize),
    Nodes(HashSet<NodeId>),
    Unknown,
}

impl Waiting {
    fn new(peers: Option<Peers>) -> Self {
        Self {
            silent: match peers {
                Some(Peers::Count(count)) => Silent::Count(count),
                Some(Peers::Nodes(nodes)) => Silent::Nodes(nodes.into_iter().collect()),
                None => Silent::Unknown,
            },
            heard: HashSet::new(),
        }
    }

    /// A node has answered, or left. Returns whether that is the first of it. A node that nobody
    /// expected is not waited for, but what it says counts.
    fn heard(&mut self, node: &NodeId) -> bool {
        if !self.heard.insert(node.clone()) {
            return false;
        }
        match &mut self.silent {
            Silent::Count(count) => *count = count.saturating_sub(1),
            Silent::Nodes(nodes) => {
                nodes.remove(node);
            }
            Silent::Unknown => {}
        }
        true
    }

    /// A node has answered that does not say which it is.
    fn heard_somebody(&mut self) {
        if let Silent::Count(count) = &mut self.silent {
            *count = count.saturating_sub(1);
        }
    }

    /// How many there are, if that is known.
    fn missing(&self) -> Option<usize> {
        match &self.silent {
            Silent::Count(count) => Some(*count),
            Silent::Nodes(nodes) => Some(nodes.len()),
            Silent::Unknown => None,
        }
    }
}

/// A node that was asked for acknowledgements, or all that do not say which they are.
#[derive(Default)]
struct Asked {
    /// How many clients have been asked, once that was said.
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
