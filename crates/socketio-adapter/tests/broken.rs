//! The behaviour suite passes a good adapter, and fails a bad one: an adapter that delivers later
//! and elsewhere, as one over a network does, with a fault or without.
#![allow(clippy::unwrap_used)]

use std::{
    future::ready,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use socketio_adapter::{
    Adapter, BoxError, BoxFuture, Channel, Inbox, Message, NodeId, Options, Peers, Response,
    conformance,
};
use socketio_proto::Args;
use tokio::{
    sync::mpsc::{self, UnboundedSender},
    task::JoinHandle,
    time::sleep,
};

/// What is wrong with an adapter.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// Nothing.
    None,
    /// Nothing, but it does not know which nodes there are.
    OnlyCounts,
    LosesEveryTenth,
    Reorders,
    Repeats,
    Echoes,
    LosesAnswers,
    MisdirectsAnswers,
    ForgetsExcept,
    ForgetsOptions,
    ForgetsBinaryData,
    ForgetsData,
    ReadsNamesAsAscii,
    RefusesLargeMessages,
    MixesNamespaces,
    CountsItself,
    CountsTooEarly,
    HidesWhoLeaves,
    StaysWhenClosed,
    PublishesWhenClosed,
    StaysWhenDropped,
    OpensOnlyOnce,
    RepeatsThePast,
}

/// The adapter of one node.
struct Bus {
    hub: Arc<Hub>,
    fault: Fault,
    opened: AtomicBool,
}

#[derive(Default)]
struct Hub {
    state: Mutex<State>,
    next: AtomicUsize,
}

#[derive(Default)]
struct State {
    seats: Vec<Seat>,
    past: Vec<(String, NodeId, Message)>,
}

/// A namespace of a node.
#[derive(Clone)]
struct Seat {
    node: NodeId,
    namespace: String,
    queue: UnboundedSender<Parcel>,
    /// Whether what is published arrives.
    reached: bool,
}

enum Parcel {
    Message(NodeId, Message),
    Response(NodeId, Response),
    Left(NodeId),
}

struct Line {
    hub: Arc<Hub>,
    fault: Fault,
    node: NodeId,
    namespace: String,
    queue: UnboundedSender<Parcel>,
    delivery: Mutex<Option<JoinHandle<()>>>,
    published: AtomicUsize,
    /// What is held back to come in the wrong order.
    held: Mutex<Option<Message>>,
}

fn cluster(fault: Fault) -> impl AsyncFn() -> Bus {
    let hub = Arc::<Hub>::default();
    async move || Bus {
        hub: hub.clone(),
        fault,
        opened: AtomicBool::new(false),
    }
}

impl Adapter for Bus {
    fn open(&self, namespace: &str, inbox: Inbox) -> Arc<dyn Channel> {
        let (queue, mut parcels) = mpsc::unbounded_channel();
        let number = self.hub.next.fetch_add(1, Ordering::Relaxed);
        let node: NodeId = format!("node {number}").into();
        let seat = Seat {
            node: node.clone(),
            namespace: namespace.into(),
            queue: queue.clone(),
            reached: false,
        };
        let again = self.opened.swap(true, Ordering::Relaxed);
        let dead = again && self.fault == Fault::OpensOnlyOnce;
        self.hub.state().seats.push(seat);
        let (hub, fault, subscriber) = (self.hub.clone(), self.fault, node.clone());
        let delivery = tokio::spawn(async move {
            sleep(LATENCY).await;
            if !dead {
                hub.subscribed(&subscriber, fault);
            }
            while let Some(parcel) = parcels.recv().await {
                match parcel {
                    Parcel::Message(from, message) => inbox.message(&from, message),
                    Parcel::Response(from, response) => inbox.response(&from, response),
                    Parcel::Left(node) => inbox.left(&node),
                }
            }
        });
        Arc::new(Line {
            hub: self.hub.clone(),
            fault: self.fault,
            node,
            namespace: namespace.into(),
            queue,
            delivery: Mutex::new(Some(delivery)),
            published: AtomicUsize::new(0),
            held: Mutex::default(),
        })
    }
}

impl Hub {
    fn subscribed(&self, node: &NodeId, fault: Fault) {
        let mut state = self.state();
        let Some(index) = state.seats.iter().position(|it| it.node == *node) else {
            return;
        };
        state.seats[index].reached = true;
        let seat = state.seats[index].clone();
        for (namespace, from, message) in &state.past {
            if fault == Fault::RepeatsThePast && *namespace == seat.namespace {
                let _ = seat
                    .queue
                    .send(Parcel::Message(from.clone(), message.clone()));
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl Line {
    fn has(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    fn serves(&self, seat: &Seat) -> bool {
        if self.has(Fault::MixesNamespaces) {
            return seat.namespace.starts_with(&self.namespace);
        }
        seat.namespace == self.namespace
    }

    /// Those of the other nodes that are reached.
    fn others(&self) -> Vec<Seat> {
        let state = self.hub.state();
        let others = state.seats.iter();
        let others = others.filter(|seat| seat.reached && self.serves(seat));
        others
            .filter(|seat| seat.node != self.node)
            .cloned()
            .collect()
    }

    fn send(&self, message: Message) {
        for seat in self.others() {
            let parcel = Parcel::Message(self.node.clone(), message.clone());
            let _ = seat.queue.send(parcel);
        }
    }

    fn leave(&self) {
        let others = self.others();
        let mut state = self.hub.state();
        let before = state.seats.len();
        state.seats.retain(|seat| seat.node != self.node);
        let hides = self.has(Fault::HidesWhoLeaves) || self.has(Fault::OnlyCounts);
        if state.seats.len() < before && !hides {
            for seat in others {
                let _ = seat.queue.send(Parcel::Left(self.node.clone()));
            }
        }
    }

    /// The message as it arrives.
    fn damage(&self, mut message: Message) -> Message {
        if let Message::Broadcast { event, options, .. } = &mut message {
            let Options { selection, .. } = options;
            match self.fault {
                Fault::ForgetsExcept => selection.except.clear(),
                Fault::ForgetsOptions => options.volatile = false,
                Fault::ForgetsBinaryData if !event.args.attachments().is_empty() => {
                    event.args = Args::empty();
                }
                Fault::ReadsNamesAsAscii => {
                    let name: String = event.name.chars().filter(char::is_ascii).collect();
                    event.name = name.into();
                }
                _ => {}
            }
        }
        message
    }
}

impl Channel for Line {
    fn publish(&self, message: Message) {
        let number = self.published.fetch_add(1, Ordering::Relaxed);
        let closed = !self.hub.state().seats.iter().any(|it| it.node == self.node);
        if closed && !self.has(Fault::PublishesWhenClosed) {
            return;
        }
        let message = self.damage(message);
        let past = (self.namespace.clone(), self.node.clone(), message.clone());
        self.hub.state().past.push(past);
        match self.fault {
            Fault::LosesEveryTenth if number % 10 == 9 => {}
            Fault::RefusesLargeMessages if format!("{message:?}").len() > 1_000_000 => {}
            Fault::Reorders => {
                let held = self.held.lock().unwrap().take();
                if number % 5 == 3 {
                    *self.held.lock().unwrap() = Some(message);
                } else {
                    self.send(message);
                }
                held.into_iter().for_each(|it| self.send(it));
            }
            Fault::Repeats => {
                self.send(message.clone());
                self.send(message);
            }
            Fault::Echoes => {
                self.send(message.clone());
                let _ = self.queue.send(Parcel::Message(self.node.clone(), message));
            }
            _ => self.send(message),
        }
    }

    fn respond(&self, to: &NodeId, mut response: Response) {
        if let (Fault::ForgetsData, Response::Sockets { sockets, .. }) = (self.fault, &mut response)
        {
            for socket in sockets {
                socket.data = Default::default();
            }
        }
        for seat in self.others() {
            let addressed = match self.fault {
                Fault::LosesAnswers => false,
                Fault::MisdirectsAnswers => seat.node != *to,
                _ => seat.node == *to,
            };
            if addressed {
                let parcel = Parcel::Response(self.node.clone(), response);
                let _ = seat.queue.send(parcel);
                return;
            }
        }
    }

    fn peers(&self) -> BoxFuture<'static, Result<Peers, BoxError>> {
        let state = self.hub.state();
        let own = |seat: &&Seat| seat.namespace == self.namespace;
        let mut seats: Vec<_> = state.seats.iter().filter(own).cloned().collect();
        if !self.has(Fault::CountsItself) {
            seats.retain(|seat| seat.node != self.node);
        }
        if !self.has(Fault::CountsTooEarly) {
            seats.retain(|seat| seat.reached);
        }
        let peers = match self.fault {
            Fault::OnlyCounts => Peers::Count(seats.len()),
            _ => Peers::Nodes(seats.into_iter().map(|seat| seat.node).collect()),
        };
        Box::pin(ready(Ok(peers)))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        if self.has(Fault::StaysWhenClosed) {
            return Box::pin(ready(()));
        }
        self.leave();
        let delivery = self.delivery.lock().unwrap().take();
        Box::pin(async move {
            if let Some(delivery) = delivery {
                delivery.abort();
                let _ = delivery.await;
            }
        })
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if !self.has(Fault::StaysWhenDropped) {
            self.leave();
        }
    }
}

const LATENCY: Duration = Duration::from_millis(3);

mod good {
    use socketio_adapter::adapter_tests;

    use super::{Fault, cluster};

    adapter_tests!(cluster(Fault::None));
}

mod good_with_threads {
    use socketio_adapter::adapter_tests;

    use super::{Fault, cluster};

    adapter_tests!(
        cluster(Fault::None),
        flavor = "multi_thread",
        worker_threads = 2
    );
}

mod only_counting {
    use socketio_adapter::adapter_tests;

    use super::{Fault, cluster};

    adapter_tests!(cluster(Fault::OnlyCounts), start_paused = true);
}

/// What a case says of an adapter that it does not pass.
fn judge(case: impl Future<Output = ()>) -> String {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().start_paused(true).build().unwrap();
    let outcome = catch_unwind(AssertUnwindSafe(|| runtime.block_on(case)));
    let panic = outcome.expect_err("the adapter has passed");
    *panic.downcast::<String>().unwrap()
}

/// Tests named by the fault that each case finds.
macro_rules! found {
    ($($test:ident: $fault:ident by $($case:ident)+;)*) => {
        $(
            #[test]
            fn $test() {
                $(
                    let verdict = judge(conformance::$case(cluster(Fault::$fault)));
                    assert!(verdict.starts_with("the adapter breaks a rule: "), "{verdict}");
                )+
            }
        )*
    };
}

found! {
    lost_messages_are_found: LosesEveryTenth by
        events_of_one_node_keep_their_order events_of_many_nodes_keep_the_order_of_each;
    a_wrong_order_is_found: Reorders by
        events_of_one_node_keep_their_order different_messages_keep_their_order;
    repeated_messages_are_found: Repeats by
        events_reach_every_other_node_once server_side_events_reach_every_other_node_once;
    echoes_are_found: Echoes by
        events_reach_every_other_node_once server_side_events_reach_every_other_node_once;
    lost_answers_are_found: LosesAnswers by
        acknowledgements_of_all_nodes_come acknowledgements_of_nobody_come_at_once
        sockets_are_fetched server_side_events_are_answered;
    misdirected_answers_are_found: MisdirectsAnswers by acknowledgements_reach_the_node_that_asked;
    a_forgotten_exception_is_found: ForgetsExcept by selections_arrive_unaltered;
    forgotten_options_are_found: ForgetsOptions by options_arrive_unaltered;
    forgotten_binary_data_is_found: ForgetsBinaryData by arguments_arrive_unaltered;
    forgotten_data_of_sockets_is_found: ForgetsData by sockets_arrive_unaltered;
    mangled_names_are_found: ReadsNamesAsAscii by names_may_be_any_text;
    a_limit_of_messages_is_found: RefusesLargeMessages by large_events_arrive;
    mixed_namespaces_are_found: MixesNamespaces by namespaces_do_not_mix;
    a_node_that_counts_itself_is_found: CountsItself by servers_are_counted;
    a_node_that_is_counted_too_early_is_found: CountsTooEarly by
        a_late_node_gets_what_comes_from_now_on events_reach_every_other_node_once;
    hidden_leaving_is_found: HidesWhoLeaves by
        acknowledgements_do_not_wait_for_a_node_that_leaves
        sockets_do_not_wait_for_a_node_that_leaves
        server_side_events_do_not_wait_for_a_node_that_leaves;
    a_namespace_that_does_not_close_is_found: StaysWhenClosed by
        a_closed_namespace_is_silent servers_are_counted a_namespace_can_be_closed_twice;
    a_closed_namespace_that_publishes_is_found: PublishesWhenClosed by
        a_closed_namespace_is_silent;
    a_dropped_namespace_that_stays_is_found: StaysWhenDropped by a_dropped_namespace_is_closed;
    an_adapter_that_opens_only_once_is_found: OpensOnlyOnce by
        a_namespace_can_be_opened_again;
    an_adapter_that_repeats_the_past_is_found: RepeatsThePast by
        a_late_node_gets_what_comes_from_now_on;
}

#[test]
fn a_verdict_says_what_came_instead_of_what() {
    let case = conformance::selections_arrive_unaltered(cluster(Fault::ForgetsExcept));
    let verdict = judge(case);
    let mut lines = verdict.lines();
    let mut next = || lines.next().unwrap_or_default();
    assert_eq!(
        next(),
        "the adapter breaks a rule: the rooms that an event is for, and the excepted ones, arrive as \
         they were published"
    );
    assert!(next().starts_with("node b got Broadcast"), "{verdict}");
    assert!(next().starts_with("instead of Broadcast"), "{verdict}");
}
