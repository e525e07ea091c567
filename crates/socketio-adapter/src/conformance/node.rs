//! Nodes that write down what arrives.

use std::{
    fmt::Debug,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use bytes::Bytes;
use serde_json::{Value, json};
use socketio_proto::{Args, ToArgs};
use tokio::{
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::{
    Adapter, Channel, Cluster, Event, HandshakeDetails, Inbox, Incomplete, Local, Message, Options,
    Peers, Registry, Reply, Room, RoomEvent, Selection, SocketDetails,
};

/// A server: an adapter, and the rule that a case is about.
#[derive(Clone)]
pub(super) struct Server {
    name: &'static str,
    rule: &'static str,
    adapter: Arc<dyn Adapter>,
}

/// One namespace of a server, with two sockets: `a1` in the room `odd`, `a2` in the room `even`.
pub(super) struct Node {
    pub(super) server: Server,
    pub(super) cluster: Cluster,
    /// What other nodes reach; without it the node is silent.
    local: Option<Arc<Script>>,
    channel: Arc<dyn Channel>,
    arrivals: UnboundedReceiver<Arrival>,
}

/// What has arrived.
pub(super) struct Arrival {
    /// Without the names of requests.
    pub(super) message: Message,
    /// Those of this node whom it concerns.
    pub(super) reached: Vec<Room>,
    /// Where they answer, if they are asked.
    pub(super) answers: Option<UnboundedSender<Args>>,
    /// Where the server answers, if it is asked.
    pub(super) reply: Option<Reply>,
}

/// Acknowledgements that a node waits for.
pub(super) struct Question {
    server: Server,
    result: JoinHandle<Result<(), Incomplete>>,
    answers: UnboundedReceiver<Args>,
}

/// Three servers of a new cluster.
pub(super) async fn three_servers<A: Adapter>(
    make: &impl AsyncFn() -> A,
    rule: &'static str,
) -> [Server; 3] {
    [
        Server::new("a", make, rule).await,
        Server::new("b", make, rule).await,
        Server::new("c", make, rule).await,
    ]
}

/// Three nodes of a new cluster that know each other.
pub(super) async fn three<A: Adapter>(make: impl AsyncFn() -> A, rule: &'static str) -> [Node; 3] {
    let servers = three_servers(&make, rule).await;
    let nodes = servers.map(|server| server.open("/"));
    meet(&nodes).await;
    nodes
}

/// Waits until all nodes know that they are so many.
pub(super) async fn meet(nodes: &[Node]) {
    for node in nodes {
        node.count_servers(nodes.len()).await;
    }
}

/// Makes sure that nothing has arrived but what was expected: each node sends one more event, and
/// that is the next one that the others get.
pub(super) async fn nothing_else<const N: usize>(nodes: [&mut Node; N]) {
    let last = |from: usize| broadcast("last", &from, Selection::all());
    for (from, node) in nodes.iter().enumerate() {
        node.publish(&last(from));
    }
    for (to, node) in nodes.into_iter().enumerate() {
        let mut expected: Vec<_> = (0..N).filter(|&from| from != to).map(last).collect();
        while let Some(next) = expected.first() {
            let arrival = node.next(next).await;
            let found = expected.iter().position(|it| same(it, &arrival.message));
            let Some(found) = found else {
                node.refuse(&arrival);
            };
            expected.remove(found);
        }
    }
}

impl Server {
    pub(super) async fn new<A: Adapter>(
        name: &'static str,
        make: &impl AsyncFn() -> A,
        rule: &'static str,
    ) -> Self {
        Self {
            name,
            rule,
            adapter: Arc::new(make().await),
        }
    }

    /// A namespace begins.
    pub(super) fn open(&self, namespace: &str) -> Node {
        let (sender, arrivals) = mpsc::unbounded_channel();
        let local = Arc::new(Script {
            registry: Registry::new(),
            arrivals: sender,
        });
        for (number, room) in [(1, "odd"), (2, "even")] {
            local.add(details(&format!("{}{number}", self.name)), room);
        }
        let tap = Tap {
            adapter: self.adapter.clone(),
            channel: Mutex::default(),
        };
        let weak: Weak<Script> = Arc::downgrade(&local);
        let cluster = Cluster::open(&tap, namespace, weak, LIMIT);
        let channel = tap.channel.into_inner();
        let channel = channel.unwrap_or_else(PoisonError::into_inner);
        Node {
            server: self.clone(),
            cluster,
            local: Some(local),
            channel: channel.unwrap_or_else(|| unreachable!("open has been called")),
            arrivals,
        }
    }

    /// The server closes.
    pub(super) async fn close(&self) {
        self.within("its adapter closes", self.adapter.close())
            .await;
    }

    pub(super) async fn within<T>(&self, what: &str, future: impl Future<Output = T>) -> T {
        match timeout(LIMIT, future).await {
            Ok(output) => output,
            Err(_) => self.fail(&format!("waited {LIMIT:?} in vain until {what}")),
        }
    }

    pub(super) fn fail(&self, what: &str) -> ! {
        panic!(
            "the adapter breaks a rule: {}\nnode {} {what}",
            self.rule, self.name
        );
    }
}

impl Node {
    /// Adds a socket.
    pub(super) fn add(&self, details: SocketDetails, room: &str) {
        self.script().add(details, room);
    }

    /// The node answers nothing from now on.
    pub(super) fn fall_silent(&mut self) {
        self.local = None;
    }

    pub(super) fn publish(&self, message: &Message) {
        self.cluster.publish(message.clone());
    }

    /// The rooms that a socket is in, besides its own.
    pub(super) fn rooms(&self, id: &str) -> Vec<String> {
        let rooms = self.script().registry.rooms_of(id);
        rooms.iter().skip(1).map(|room| room.to_string()).collect()
    }

    /// The message that must come next, and the sockets that it must reach.
    pub(super) async fn expect(&mut self, message: &Message, reached: &[&str]) -> Arrival {
        let arrival = self.next(message).await;
        if !same(message, &arrival.message) {
            let (expected, got) = (brief(message), brief(&arrival.message));
            self.fail(&format!("got {got}\ninstead of {expected}"));
        }
        if !arrival
            .reached
            .iter()
            .map(|id| &**id)
            .eq(reached.iter().copied())
        {
            let (message, got) = (brief(message), &arrival.reached);
            self.fail(&format!(
                "reached {got:?} instead of {reached:?} with {message}"
            ));
        }
        arrival
    }

    /// The next message.
    pub(super) async fn next(&mut self, expected: &Message) -> Arrival {
        match timeout(LIMIT, self.arrivals.recv()).await {
            Ok(Some(arrival)) => arrival,
            _ => self.fail(&format!("waited {LIMIT:?} in vain for {}", brief(expected))),
        }
    }

    /// Makes sure that nothing is there.
    pub(super) fn expect_nothing(&mut self) {
        if let Ok(arrival) = self.arrivals.try_recv() {
            self.refuse(&arrival);
        }
    }

    /// Waits until there are so many servers.
    pub(super) async fn count_servers(&self, expected: usize) {
        let mut counted = String::from("nothing");
        let agree = async {
            loop {
                match self.cluster.server_count().await {
                    Ok(count) if count == expected => return,
                    Ok(count) => counted = count.to_string(),
                    Err(error) => counted = format!("the error {error:?}"),
                }
                sleep(A_MOMENT).await;
            }
        };
        if timeout(LIMIT, agree).await.is_err() {
            self.fail(&format!(
                "counts {counted} instead of {expected} servers, itself included"
            ));
        }
    }

    /// Whether the adapter knows which nodes there are, and so says when one leaves.
    pub(super) async fn knows_nodes(&self) -> bool {
        matches!(self.channel.peers().await, Ok(Peers::Nodes(_)))
    }

    /// Asks the sockets of the other nodes.
    pub(super) fn ask(&self, event: Event, options: Options) -> Question {
        let (sender, answers) = mpsc::unbounded_channel();
        let asked = self.cluster.broadcast_with_ack(event, options, sender);
        Question {
            server: self.server.clone(),
            result: tokio::spawn(asked),
            answers,
        }
    }

    /// Publishes although the namespace is closed.
    pub(super) fn publish_anyway(&self, message: &Message) {
        self.channel.publish(message.clone());
    }

    pub(super) async fn close(&self) {
        let closed = self.cluster.close();
        self.server.within("its namespace closes", closed).await;
    }

    /// The outcome of something that takes time.
    pub(super) async fn within<T>(&self, what: &str, future: impl Future<Output = T>) -> T {
        self.server.within(what, future).await
    }

    /// What must be equal.
    pub(super) fn check<T: PartialEq + Debug>(&self, what: &str, got: T, expected: T) {
        if got != expected {
            let (got, expected) = (brief(&got), brief(&expected));
            self.fail(&format!("got {what}: {got}\ninstead of {expected}"));
        }
    }

    fn refuse(&self, arrival: &Arrival) -> ! {
        let got = brief(&arrival.message);
        self.fail(&format!("got {got}, which it should not"))
    }

    fn fail(&self, what: &str) -> ! {
        self.server.fail(what)
    }

    fn script(&self) -> &Script {
        match &self.local {
            Some(local) => local,
            None => unreachable!("a silent node is asked for nothing"),
        }
    }
}

impl Arrival {
    /// A socket answers.
    pub(super) fn answer(&self, args: &(impl ToArgs + ?Sized)) {
        if let Some(answers) = &self.answers {
            let _ = answers.send(self::args(args));
        }
    }

    /// The server answers.
    pub(super) fn reply(self, args: &(impl ToArgs + ?Sized)) {
        if let Some(reply) = self.reply {
            reply.answer(self::args(args));
        }
    }
}

impl Question {
    /// The next answer.
    pub(super) async fn next(&mut self) -> Option<Args> {
        let answer = self.answers.recv();
        self.server.within("an acknowledgement comes", answer).await
    }

    /// What comes in the end: the answers, sorted, and whether all are there.
    pub(super) async fn finish(mut self) -> (Vec<String>, Result<(), Incomplete>) {
        let mut answers = Vec::new();
        while let Some(args) = self.next().await {
            answers.push(value(&args).to_string());
        }
        answers.sort_unstable();
        match self.result.await {
            Ok(result) => (answers, result),
            Err(panic) => self.server.fail(&format!("failed: {panic}")),
        }
    }
}

/// The server's part: keeps sockets, and writes down what happens to them.
struct Script {
    registry: Registry<Arc<SocketDetails>>,
    arrivals: UnboundedSender<Arrival>,
}

impl Script {
    fn add(&self, details: SocketDetails, room: &str) {
        let id = details.id.clone();
        self.registry.insert(id.clone(), Arc::new(details));
        self.registry.join(&id, [room.into()]);
    }

    fn select(&self, selection: &Selection) -> Vec<Arc<SocketDetails>> {
        let mut selected = Vec::new();
        self.registry
            .each(selection, |it| selected.push(it.clone()));
        selected.sort_unstable_by(|a, b| a.id.cmp(&b.id));
        selected
    }

    fn note(&self, message: Message, selection: &Selection) -> Arrival {
        let reached = self.select(selection).into_iter().map(|it| it.id.clone());
        Arrival {
            message,
            reached: reached.collect(),
            answers: None,
            reply: None,
        }
    }

    fn arrive(&self, arrival: Arrival) {
        let _ = self.arrivals.send(arrival);
    }
}

impl Local for Script {
    fn broadcast(&self, event: &Event, options: &Options) {
        self.arrive(self.note(message(event, options), &options.selection));
    }

    fn broadcast_with_ack(
        &self,
        event: &Event,
        options: &Options,
    ) -> (usize, UnboundedReceiver<Args>) {
        let (sender, answers) = mpsc::unbounded_channel();
        let mut arrival = self.note(message(event, options), &options.selection);
        arrival.answers = Some(sender);
        let count = arrival.reached.len();
        self.arrive(arrival);
        (count, answers)
    }

    fn sockets_join(&self, selection: &Selection, rooms: &[Room]) {
        let message = Message::SocketsJoin {
            selection: selection.clone(),
            rooms: rooms.to_vec(),
        };
        let arrival = self.note(message, selection);
        for id in &arrival.reached {
            self.registry.join(id, rooms.iter().cloned());
        }
        self.arrive(arrival);
    }

    fn sockets_leave(&self, selection: &Selection, rooms: &[Room]) {
        let message = Message::SocketsLeave {
            selection: selection.clone(),
            rooms: rooms.to_vec(),
        };
        let arrival = self.note(message, selection);
        for id in &arrival.reached {
            for room in rooms {
                self.registry.leave(id, room);
            }
        }
        self.arrive(arrival);
    }

    fn disconnect_sockets(&self, selection: &Selection, close: bool) {
        let message = Message::DisconnectSockets {
            selection: selection.clone(),
            close,
        };
        let arrival = self.note(message, selection);
        for id in &arrival.reached {
            self.registry.remove(id);
        }
        self.arrive(arrival);
    }

    fn sockets(&self, selection: &Selection) -> Vec<SocketDetails> {
        self.arrive(self.note(fetch_sockets(selection.clone()), selection));
        let selected = self.select(selection).into_iter();
        let details = selected.map(|it| SocketDetails {
            rooms: self.registry.rooms_of(&it.id),
            ..SocketDetails::clone(&it)
        });
        details.collect()
    }

    fn server_side_emit(&self, event: Event, reply: Option<Reply>) {
        let message = Message::ServerSideEmit {
            event,
            request: None,
        };
        let mut arrival = self.note(message, &Selection::room("nobody"));
        arrival.reply = reply;
        self.arrive(arrival);
    }

    fn observe_rooms(&self, observer: Box<dyn Fn(&RoomEvent) + Send + Sync>) {
        self.registry.observe(observer);
    }
}

/// Keeps the channel that an adapter opens.
struct Tap {
    adapter: Arc<dyn Adapter>,
    channel: Mutex<Option<Arc<dyn Channel>>>,
}

impl Adapter for Tap {
    fn open(&self, namespace: &str, inbox: Inbox) -> Arc<dyn Channel> {
        let channel = self.adapter.open(namespace, inbox);
        let mut slot = self.channel.lock().unwrap_or_else(PoisonError::into_inner);
        *slot = Some(channel.clone());
        channel
    }
}

/// A broadcast without options.
pub(super) fn broadcast(name: &str, args: &(impl ToArgs + ?Sized), to: Selection) -> Message {
    let options = Options {
        selection: to,
        ..Options::default()
    };
    message(&event(name, args), &options)
}

/// A broadcast that asks for nothing, as it was published: its place is given to it on the way.
pub(super) fn message(event: &Event, options: &Options) -> Message {
    Message::Broadcast {
        event: event.clone(),
        options: Options {
            place: None,
            ..options.clone()
        },
        request: None,
    }
}

/// An event for the servers.
pub(super) fn server_side(event: &Event) -> Message {
    Message::ServerSideEmit {
        event: event.clone(),
        request: None,
    }
}

/// A question for sockets.
pub(super) fn fetch_sockets(selection: Selection) -> Message {
    Message::FetchSockets {
        selection,
        request: "".into(),
    }
}

pub(super) fn event(name: &str, args: &(impl ToArgs + ?Sized)) -> Event {
    Event {
        name: name.into(),
        args: self::args(args),
    }
}

pub(super) fn args(args: &(impl ToArgs + ?Sized)) -> Args {
    match Args::new(args) {
        Ok(args) => args,
        Err(error) => unreachable!("the suite's own arguments: {error}"),
    }
}

/// Arguments with binary data: an array with placeholders, as on the wire.
pub(super) fn binary(json: &str, attachments: &[&'static [u8]]) -> Args {
    let attachments = attachments.iter().map(|bytes| Bytes::from_static(bytes));
    match Args::from_json(json.into(), attachments.collect()) {
        Ok(args) => args,
        Err(error) => unreachable!("the suite's own arguments: {error}"),
    }
}

pub(super) fn selection(rooms: &[&str], except: &[&str]) -> Selection {
    let names = |names: &[&str]| names.iter().map(|&name| name.into()).collect();
    Selection {
        rooms: names(rooms),
        except: names(except),
    }
}

pub(super) fn details(id: &str) -> SocketDetails {
    SocketDetails {
        id: id.into(),
        handshake: HandshakeDetails::default(),
        rooms: Vec::new(),
        data: Value::Null,
    }
}

/// Arguments as they are meant, however they are written: binary data stands in its place.
pub(super) fn value(args: &Args) -> Value {
    fn resolve(value: &mut Value, attachments: &[Bytes]) {
        match value {
            Value::Object(object) if object.get("_placeholder") == Some(&true.into()) => {
                let number = object
                    .get("num")
                    .and_then(Value::as_u64)
                    .unwrap_or(u64::MAX);
                let bytes = attachments.get(number as usize);
                *value = json!({ "binary": bytes.map(|it| it.to_vec()) });
            }
            Value::Object(object) => object.values_mut().for_each(|it| resolve(it, attachments)),
            Value::Array(array) => array.iter_mut().for_each(|it| resolve(it, attachments)),
            _ => {}
        }
    }

    let parsed = serde_json::from_str(&format!("[{}]", args.json()));
    let mut value = parsed.unwrap_or(Value::Null);
    resolve(&mut value, args.attachments());
    value
}

/// Whether two messages mean the same.
fn same(one: &Message, other: &Message) -> bool {
    let same_event = |one: &Event, other: &Event| {
        one.name == other.name && (one.args == other.args || value(&one.args) == value(&other.args))
    };
    match (one, other) {
        (
            Message::Broadcast { event, options, .. },
            Message::Broadcast {
                event: other_event,
                options: other_options,
                ..
            },
        ) => same_event(event, other_event) && options == other_options,
        (
            Message::ServerSideEmit { event, .. },
            Message::ServerSideEmit {
                event: other_event, ..
            },
        ) => same_event(event, other_event),
        _ => one == other,
    }
}

/// A few words of something that may be large.
fn brief(value: &impl Debug) -> String {
    let text = format!("{value:?}");
    match text.char_indices().nth(BRIEF) {
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], text.len()),
        None => text,
    }
}

/// How long something may take that must come.
pub(super) const LIMIT: Duration = Duration::from_secs(10);

/// How long is waited for what does not come.
pub(super) const SHORT: Duration = Duration::from_secs(1);

/// Between two looks at something that is not told.
const A_MOMENT: Duration = Duration::from_millis(10);

const BRIEF: usize = 400;
