//! What a `Cluster` does with an adapter that a test plays.
#![allow(clippy::unwrap_used)]

use std::{
    future::{pending, ready},
    sync::{Arc, Mutex, MutexGuard, mpsc as std_mpsc},
    task::{Context, Wake, Waker},
    time::Duration,
};

use socketio_adapter::{
    Adapter, BoxError, BoxFuture, Channel, Cluster, Event, Inbox, Incomplete, Local, Message,
    NodeId, Options, Peers, Reply, RequestId, Response, Room, RoomEvent, Selection, SocketDetails,
};
use socketio_proto::Args;
use tokio::sync::mpsc::{self, UnboundedReceiver};

/// An adapter in the hands of a test.
#[derive(Clone, Default)]
struct Wire(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    inbox: Option<Inbox>,
    published: Vec<Message>,
    responses: Vec<(NodeId, Response)>,
    peers: Known,
    /// Delivered while the channel opens.
    early: Option<Message>,
}

/// What the adapter knows of the other nodes.
#[derive(Default)]
enum Known {
    #[default]
    Nothing,
    Peers(Peers),
    NothingInTime,
}

impl Wire {
    fn with(peers: Peers) -> Self {
        let wire = Self::default();
        wire.state().peers = Known::Peers(peers);
        wire
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn inbox(&self) -> Inbox {
        self.state().inbox.clone().unwrap()
    }

    /// The request that has been published last.
    fn request(&self) -> RequestId {
        match self.state().published.last() {
            Some(
                Message::FetchSockets { request, .. }
                | Message::Broadcast {
                    request: Some(request),
                    ..
                },
            ) => request.clone(),
            other => panic!("no request but {other:?}"),
        }
    }

    fn asked(&self, node: &str, count: usize) {
        let request = self.request();
        let response = Response::ClientCount { request, count };
        self.inbox().response(&node.into(), response);
    }

    fn ack(&self, node: &str, answer: u8) {
        let (request, args) = (self.request(), Args::new(&answer).unwrap());
        let response = Response::Ack { request, args };
        self.inbox().response(&node.into(), response);
    }

    fn sockets(&self, node: &str, ids: &[&str]) {
        let (request, sockets) = (self.request(), ids.iter().map(|id| details(id)).collect());
        let response = Response::Sockets { request, sockets };
        self.inbox().response(&node.into(), response);
    }
}

impl Adapter for Wire {
    fn open(&self, _: &str, inbox: Inbox) -> Arc<dyn Channel> {
        let early = self.state().early.take();
        if let Some(message) = early {
            let inbox = inbox.clone();
            let deliver = move || inbox.message(&"b".into(), message);
            std::thread::spawn(deliver).join().unwrap();
        }
        self.state().inbox = Some(inbox);
        Arc::new(self.clone())
    }
}

impl Channel for Wire {
    fn publish(&self, message: Message) {
        self.state().published.push(message);
    }

    fn respond(&self, to: &NodeId, response: Response) {
        self.state().responses.push((to.clone(), response));
    }

    fn peers(&self) -> BoxFuture<'static, Result<Peers, BoxError>> {
        match &self.state().peers {
            Known::Nothing => Box::pin(ready(Err("the broker is away".into()))),
            Known::Peers(peers) => Box::pin(ready(Ok(peers.clone()))),
            Known::NothingInTime => Box::pin(pending()),
        }
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(ready(()))
    }
}

/// A node with one socket.
struct OneSocket;

impl Local for OneSocket {
    fn broadcast(&self, _: &Event, _: &Options) {}

    fn broadcast_with_ack(&self, _: &Event, _: &Options) -> (usize, UnboundedReceiver<Args>) {
        (0, mpsc::unbounded_channel().1)
    }

    fn sockets_join(&self, _: &Selection, _: &[Room]) {}

    fn sockets_leave(&self, _: &Selection, _: &[Room]) {}

    fn disconnect_sockets(&self, _: &Selection, _: bool) {}

    fn sockets(&self, _: &Selection) -> Vec<SocketDetails> {
        vec![details("mine")]
    }

    fn server_side_emit(&self, _: Event, _: Option<Reply>) {}

    fn observe_rooms(&self, _: Box<dyn Fn(&RoomEvent) + Send + Sync>) {}
}

fn details(id: &str) -> SocketDetails {
    SocketDetails {
        id: id.into(),
        handshake: Default::default(),
        rooms: vec![id.into()],
        data: Default::default(),
    }
}

fn open(wire: &Wire) -> (Cluster, Arc<dyn Local>) {
    let local: Arc<dyn Local> = Arc::new(OneSocket);
    let cluster = Cluster::open(wire, "/", Arc::downgrade(&local), TIMEOUT);
    (cluster, local)
}

fn nodes(nodes: &[&str]) -> Peers {
    Peers::Nodes(nodes.iter().map(|&node| node.into()).collect())
}

fn question() -> Event {
    Event {
        name: "question".into(),
        args: Args::empty(),
    }
}

type Acks = tokio::task::JoinHandle<Result<(), Incomplete>>;

/// Asks for acknowledgements.
fn ask(cluster: &Cluster) -> (Acks, UnboundedReceiver<Args>) {
    let (sender, answers) = mpsc::unbounded_channel();
    let asked = cluster.broadcast_with_ack(question(), Options::default(), sender);
    (tokio::spawn(asked), answers)
}

type Fetch = tokio::task::JoinHandle<Result<Vec<SocketDetails>, Incomplete<SocketDetails>>>;

/// Asks for sockets, and returns when the others have been asked.
async fn fetch(cluster: &Cluster) -> Fetch {
    let cluster = cluster.clone();
    let fetch = tokio::spawn(async move { cluster.fetch_sockets(Selection::all(), None).await });
    tokio::task::yield_now().await;
    fetch
}

fn ids(sockets: Vec<SocketDetails>) -> Vec<Room> {
    sockets.into_iter().map(|socket| socket.id).collect()
}

fn requests(cluster: &Cluster) -> String {
    format!("{cluster:?}")
}

const TIMEOUT: Duration = Duration::from_secs(5);

#[tokio::test(start_paused = true)]
async fn acknowledgements_come_as_they_are_given() {
    let wire = Wire::with(nodes(&["b", "c"]));
    let (cluster, _local) = open(&wire);
    let (asked, mut answers) = ask(&cluster);
    wire.asked("b", 1);
    wire.asked("c", 2);
    for answer in 1..=3 {
        wire.ack(if answer == 1 { "b" } else { "c" }, answer);
        let args = answers.recv().await.unwrap();
        assert_eq!(args.deserialize::<u8>(), Ok(answer));
    }
    assert_eq!(answers.recv().await, None);
    assert_eq!(asked.await.unwrap(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn an_acknowledgement_may_come_before_the_number_of_them() {
    let wire = Wire::with(nodes(&["b"]));
    let (cluster, _local) = open(&wire);
    let (asked, mut answers) = ask(&cluster);
    wire.ack("b", 1);
    assert!(answers.recv().await.is_some());
    assert!(!asked.is_finished());
    wire.asked("b", 1);
    assert_eq!(asked.await.unwrap(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn who_has_not_acknowledged_in_time_is_counted() {
    for peers in [nodes(&["b", "c", "d"]), Peers::Count(3)] {
        let wire = Wire::with(peers);
        let (cluster, _local) = open(&wire);
        let (asked, mut answers) = ask(&cluster);
        wire.asked("b", 1);
        wire.ack("b", 1);
        wire.asked("c", 2);
        wire.ack("c", 1);
        let error = asked.await.unwrap().unwrap_err();
        assert_eq!(
            error.missing,
            Some(2),
            "c owes an answer, and d has said nothing"
        );
        // what comes now comes too late
        wire.ack("c", 2);
        let mut came = 0;
        while answers.recv().await.is_some() {
            came += 1;
        }
        assert_eq!(came, 2);
        assert_eq!(requests(&cluster), "Cluster { requests: Some(0), .. }");
    }
}

#[tokio::test(start_paused = true)]
async fn answers_need_no_name() {
    let wire = Wire::with(Peers::Count(3));
    let (cluster, _local) = open(&wire);
    let (asked, mut answers) = ask(&cluster);
    let request = wire.request();
    let count = |count| Response::ClientCount {
        request: request.clone(),
        count,
    };
    let ack = || Response::Ack {
        request: request.clone(),
        args: Args::new(&1).unwrap(),
    };
    let says = async |response| {
        wire.inbox().anonymous_response(response);
        tokio::task::yield_now().await;
    };
    says(count(2)).await;
    says(ack()).await;
    says(count(0)).await;
    says(ack()).await;
    assert!(!asked.is_finished(), "one node has said nothing");
    // may be of the third node, in another channel than its number
    says(ack()).await;
    assert!(!asked.is_finished());
    says(count(2)).await;
    assert!(!asked.is_finished(), "one answer is missing");
    says(ack()).await;
    assert_eq!(asked.await.unwrap(), Ok(()));
    let mut came = 0;
    while answers.recv().await.is_some() {
        came += 1;
    }
    assert_eq!(came, 4);
}

#[tokio::test(start_paused = true)]
async fn nodes_without_a_name_are_missed() {
    for (counts, missing) in [(&[][..], 2), (&[0], 1), (&[1], 2), (&[1, 1], 1)] {
        let wire = Wire::with(Peers::Count(2));
        let (cluster, _local) = open(&wire);
        let (asked, _answers) = ask(&cluster);
        for &count in counts {
            let request = wire.request();
            let response = Response::ClientCount { request, count };
            wire.inbox().anonymous_response(response);
        }
        let error = asked.await.unwrap().unwrap_err();
        assert_eq!(error.missing, Some(missing), "{counts:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn sockets_of_nodes_without_a_name_are_fetched() {
    let wire = Wire::with(Peers::Count(2));
    let (cluster, _local) = open(&wire);
    let fetched = fetch(&cluster).await;
    let request = wire.request();
    for id in ["1", "2"] {
        let (request, sockets) = (request.clone(), vec![details(id)]);
        let response = Response::Sockets { request, sockets };
        wire.inbox().anonymous_response(response);
    }
    assert_eq!(
        ids(fetched.await.unwrap().unwrap()),
        ["1".into(), "2".into()]
    );
}

#[tokio::test(start_paused = true)]
async fn a_node_that_has_left_owes_nothing_even_if_it_still_answers() {
    let wire = Wire::with(nodes(&["b", "c"]));
    let (cluster, _local) = open(&wire);
    let (asked, mut answers) = ask(&cluster);
    wire.asked("b", 2);
    wire.inbox().left(&"b".into());
    // was on its way
    wire.asked("b", 2);
    wire.ack("b", 1);
    assert!(answers.recv().await.is_some());
    assert!(!asked.is_finished(), "c has not answered");
    wire.asked("c", 0);
    assert_eq!(asked.await.unwrap(), Ok(()));
}

#[tokio::test(start_paused = true)]
async fn acknowledgements_come_even_if_nodes_cannot_be_counted() {
    for peers in [Known::Nothing, Known::NothingInTime] {
        let wire = Wire::default();
        wire.state().peers = peers;
        let (cluster, _local) = open(&wire);
        let (asked, mut answers) = ask(&cluster);
        wire.asked("b", 1);
        wire.ack("b", 1);
        assert!(answers.recv().await.is_some());
        assert_eq!(asked.await.unwrap().unwrap_err().missing, None);
    }
}

#[tokio::test(start_paused = true)]
async fn who_comes_after_the_question_is_not_waited_for() {
    let wire = Wire::with(nodes(&["b"]));
    let (cluster, _local) = open(&wire);
    let (sender, _answers) = mpsc::unbounded_channel();
    let asked = cluster.broadcast_with_ack(question(), Options::default(), sender);
    wire.state().peers = Known::Peers(nodes(&["b", "c"]));
    wire.asked("b", 0);
    assert_eq!(asked.await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn acknowledgements_that_nobody_waits_for_are_forgotten() {
    let wire = Wire::with(nodes(&["b"]));
    let (cluster, _local) = open(&wire);
    let (asked, answers) = ask(&cluster);
    drop(answers);
    assert_eq!(asked.await.unwrap(), Ok(()));
    assert_eq!(requests(&cluster), "Cluster { requests: Some(0), .. }");
}

#[tokio::test(start_paused = true)]
async fn who_is_asked_knows_how_long_is_waited() {
    let wire = Wire::with(nodes(&["b"]));
    let (cluster, _local) = open(&wire);
    let (_asked, _answers) = ask(&cluster);
    let published = &wire.state().published[0];
    let Message::Broadcast { options, .. } = published else {
        panic!("{published:?}");
    };
    assert_eq!(options.timeout, Some(TIMEOUT));
}

#[tokio::test(start_paused = true)]
async fn every_node_answers_once() {
    for peers in [nodes(&["b", "c"]), Peers::Count(2)] {
        let wire = Wire::with(peers);
        let (cluster, _local) = open(&wire);
        let fetched = fetch(&cluster).await;
        wire.sockets("b", &["1"]);
        wire.sockets("b", &["1"]);
        wire.sockets("c", &["2"]);
        assert_eq!(
            ids(fetched.await.unwrap().unwrap()),
            ["1".into(), "2".into()]
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_node_says_that_nobody_expected_counts() {
    let wire = Wire::with(nodes(&["b"]));
    let (cluster, _local) = open(&wire);
    let fetched = fetch(&cluster).await;
    wire.sockets("new", &["1"]);
    wire.sockets("b", &["2"]);
    assert_eq!(
        ids(fetched.await.unwrap().unwrap()),
        ["1".into(), "2".into()]
    );
}

#[tokio::test(start_paused = true)]
async fn answers_of_others_are_there_when_one_is_missing() {
    for peers in [nodes(&["b", "c"]), Peers::Count(2)] {
        let wire = Wire::with(peers);
        let (cluster, _local) = open(&wire);
        let fetched = fetch(&cluster).await;
        wire.sockets("b", &["1"]);
        let error = fetched.await.unwrap().unwrap_err();
        assert_eq!(error.to_string(), "1 other servers did not answer in time");
        assert_eq!(ids(error.responses), ["1".into()]);
        assert_eq!(requests(&cluster), "Cluster { requests: Some(0), .. }");
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_is_asked_if_nodes_cannot_be_counted() {
    let wire = Wire::default();
    let (cluster, _local) = open(&wire);
    let error = cluster.fetch_sockets(Selection::all(), None).await;
    assert_eq!(error.unwrap_err().missing, None);
    assert!(wire.state().published.is_empty());
}

#[tokio::test(start_paused = true)]
async fn closing_ends_what_is_waiting() {
    let wire = Wire::with(nodes(&["b", "c"]));
    let (cluster, _local) = open(&wire);
    let before = tokio::time::Instant::now();
    let (asked, _answers) = ask(&cluster);
    let fetched = fetch(&cluster).await;
    wire.sockets("b", &["1"]);
    cluster.close().await;
    assert_eq!(asked.await.unwrap().unwrap_err().missing, Some(2));
    let error = fetched.await.unwrap().unwrap_err();
    assert_eq!(
        (ids(error.responses), error.missing),
        (vec!["1".into()], Some(1))
    );
    // and nothing waits that comes afterwards
    assert!(cluster.fetch_sockets(Selection::all(), None).await.is_err());
    assert!(ask(&cluster).0.await.unwrap().is_err());
    assert_eq!(before.elapsed(), Duration::ZERO);
}

#[tokio::test]
async fn an_answer_to_what_comes_while_the_channel_opens_is_not_lost() {
    let wire = Wire::default();
    let request = RequestId::random();
    wire.state().early = Some(Message::FetchSockets {
        selection: Selection::all(),
        request: request.clone(),
    });
    let (_cluster, _local) = open(&wire);
    let response = Response::Sockets {
        request,
        sockets: vec![details("mine")],
    };
    assert_eq!(wire.state().responses, [("b".into(), response)]);
}

#[tokio::test(start_paused = true)]
async fn servers_are_counted_in_time_or_not_at_all() {
    let wire = Wire::with(Peers::Count(2));
    let (cluster, _local) = open(&wire);
    assert_eq!(cluster.server_count().await.unwrap(), 3);
    wire.state().peers = Known::NothingInTime;
    assert!(cluster.server_count().await.is_err());
}

#[tokio::test]
async fn a_namespace_that_is_gone_hears_nothing() {
    let wire = Wire::default();
    let (_cluster, local) = open(&wire);
    drop(local);
    let message = Message::FetchSockets {
        selection: Selection::all(),
        request: RequestId::random(),
    };
    wire.inbox().message(&"b".into(), message);
    assert!(wire.state().responses.is_empty());
}

/// Whoever waits for an answer is woken by what may be anybody's code.
#[test]
fn whoever_hears_of_an_answer_may_use_the_cluster() {
    struct User(Cluster, std_mpsc::Sender<String>);

    impl Wake for User {
        fn wake(self: Arc<Self>) {
            let _ = self.1.send(requests(&self.0));
        }
    }

    let (done, end) = std_mpsc::channel();
    // Not in the test's thread: that must not stay where it is.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_time().build().unwrap();
        runtime.block_on(async {
            let wire = Wire::with(nodes(&["b", "c"]));
            let (cluster, _local) = open(&wire);
            let (woken, wakes) = std_mpsc::channel();
            let waker = Waker::from(Arc::new(User(cluster.clone(), woken)));
            let mut cx = Context::from_waker(&waker);
            let heard = || assert!(wakes.try_recv().is_ok(), "nobody was woken");
            let fetch = || Box::pin(cluster.fetch_sockets(Selection::all(), None));
            let mut fetching = fetch();
            assert!(fetching.as_mut().poll(&mut cx).is_pending());
            wire.sockets("b", &["1"]);
            heard();
            assert!(fetching.as_mut().poll(&mut cx).is_pending());
            wire.inbox().left(&"c".into());
            heard();
            drop(fetching);
            let mut fetching = fetch();
            assert!(fetching.as_mut().poll(&mut cx).is_pending());
            drop(fetching);
            heard();
            let mut fetching = fetch();
            assert!(fetching.as_mut().poll(&mut cx).is_pending());
            cluster.close().await;
            heard();
            assert!(fetching.as_mut().poll(&mut cx).is_ready());
        });
        done.send(()).unwrap();
    });
    end.recv_timeout(TIMEOUT).expect("it does not end");
}
