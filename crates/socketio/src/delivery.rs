//! The way of an event from the namespace to the sockets of this node.

use std::sync::Arc;

use engineio::Overflow;
use socketio_adapter::{
    Event, Local, Message, Options, Reply, Room, RoomEvent, Selection, SocketDetails,
};
use socketio_proto::{Args, Encoded, ToArgs};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use crate::{
    AckError, EmitError, Namespace, Socket,
    emitter::Way,
    namespace::{Member, WeakNamespace},
    outgoing::Audience,
    recovery::Packets,
};

impl Namespace {
    /// Sends an event to sockets of this node. It is encoded once. What is to go on to other nodes
    /// is taken away if it had to go at the same time.
    pub(crate) fn broadcast<A: ToArgs + ?Sized>(
        &self,
        event: &str,
        args: &A,
        options: &Options,
        overflow: Option<Overflow>,
        onward: &mut Option<Message>,
    ) -> Result<(), EmitError> {
        let (registry, selection) = (self.registry(), &options.selection);
        let way = way(options, overflow);
        let mut audience = Audience::of(self);
        let mut send = |member: &Member, packet: Encoded| {
            let sent = way.send(&member.session, packet);
            if sent && let Some(audience) = &mut audience {
                audience.add(&member.socket);
            }
        };
        match self.recovery() {
            None => {
                let packet = self.codec().event(self.name(), None, event, args)?;
                let packet = packet.compress(options.compress);
                registry.each(selection, |member| send(member, packet.clone()));
            }
            Some(_) if options.volatile => {
                let packets = Packets::unkept(self, event, args, options.compress)?;
                registry.each(selection, |member| send(member, packets.of(member)));
            }
            Some(recovery) => recovery.broadcast(self, event, args, options, onward, send)?,
        }
        if let Some(audience) = audience {
            audience.tell(event, args);
        }
        Ok(())
    }

    /// The same, and asks for acknowledgements, all under one id. Each socket's answer goes into
    /// the channel, or that there will be none.
    pub(crate) fn broadcast_with_ack<A: ToArgs + ?Sized>(
        &self,
        event: &str,
        args: &A,
        options: &Options,
        overflow: Option<Overflow>,
        answers: &UnboundedSender<ClientAck>,
    ) -> Result<Asked, EmitError> {
        let id = self.next_ack_id();
        let packet = self.codec().event(self.name(), Some(id), event, args)?;
        let packet = packet.compress(options.compress);
        let way = way(options, overflow);
        let mut sockets = self.sockets_in(&options.selection);
        sockets.retain(|socket| {
            let ticket = Ticket::new(answers);
            socket.ask(id, ticket, way, packet.clone())
        });
        if let Some(mut audience) = Audience::of(self) {
            sockets.iter().for_each(|socket| audience.add(socket));
            audience.tell(event, args);
        }
        Ok(Asked { id, sockets })
    }

    /// The sockets of this node that a selection names.
    pub(crate) fn sockets_in(&self, selection: &Selection) -> Vec<Socket> {
        let mut sockets = Vec::new();
        self.registry()
            .each(selection, |member| sockets.push(member.socket.clone()));
        sockets
    }
}

fn way(options: &Options, overflow: Option<Overflow>) -> Way {
    Way {
        volatile: options.volatile,
        overflow,
    }
}

/// What came of a question to one client of many.
pub(crate) type ClientAck = Result<Args, AckError>;

/// The place of one client in a question to many. Dropped unused, it says that there will be no
/// answer.
#[derive(Debug)]
pub(crate) struct Ticket(Option<UnboundedSender<ClientAck>>);

impl Ticket {
    fn new(answers: &UnboundedSender<ClientAck>) -> Self {
        Self(Some(answers.clone()))
    }

    pub(crate) fn answer(mut self, answer: ClientAck) {
        if let Some(answers) = self.0.take() {
            let _ = answers.send(answer);
        }
    }

    /// The client was not asked.
    pub(crate) fn void(mut self) {
        self.0 = None;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(answers) = self.0.take() {
            let _ = answers.send(Err(AckError::Disconnected));
        }
    }
}

/// The clients that were asked under one id. When this is dropped nobody waits for them any more.
#[derive(Debug)]
pub(crate) struct Asked {
    id: u64,
    sockets: Vec<Socket>,
}

impl Asked {
    pub(crate) fn len(&self) -> usize {
        self.sockets.len()
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        for socket in &self.sockets {
            socket.forget_ack(self.id);
        }
    }
}

/// This node's part of a namespace, for other nodes.
pub(crate) struct LocalNamespace(WeakNamespace);

impl LocalNamespace {
    pub(crate) fn of(namespace: &Namespace) -> Arc<dyn Local> {
        Arc::new(Self(namespace.downgrade()))
    }

    fn each(&self, selection: &Selection, f: impl FnMut(&Socket)) {
        if let Some(namespace) = self.0.upgrade() {
            namespace.sockets_in(selection).iter().for_each(f);
        }
    }
}

impl Local for LocalNamespace {
    fn broadcast(&self, event: &Event, options: &Options) {
        if let Some(namespace) = self.0.upgrade()
            && let Err(error) =
                namespace.broadcast(&event.name, &event.args, options, None, &mut None)
        {
            tracing::warn!(%error, "an event of another server cannot be sent");
        }
    }

    fn broadcast_with_ack(
        &self,
        event: &Event,
        options: &Options,
    ) -> (usize, UnboundedReceiver<Args>) {
        let (sender, answers) = mpsc::unbounded_channel();
        let Some(namespace) = self.0.upgrade() else {
            return (0, answers);
        };
        let (clients, mut acks) = mpsc::unbounded_channel();
        let asked = namespace.broadcast_with_ack(&event.name, &event.args, options, None, &clients);
        drop(clients);
        let asked = match asked {
            Ok(asked) => asked,
            Err(error) => {
                tracing::warn!(%error, "an event of another server cannot be sent");
                return (0, answers);
            }
        };
        let count = asked.len();
        let timeout = options
            .timeout
            .unwrap_or(namespace.options().request_timeout);
        tokio::spawn(async move {
            let collect = async {
                while let Some(ack) = acks.recv().await {
                    // A client that is gone has no answer; the other server sees it missing.
                    if let Ok(args) = ack {
                        let _ = sender.send(args);
                    }
                }
            };
            let _ = tokio::time::timeout(timeout, collect).await;
            drop(asked);
        });
        (count, answers)
    }

    fn sockets_join(&self, selection: &Selection, rooms: &[Room]) {
        self.each(selection, |socket| socket.join(rooms));
    }

    fn sockets_leave(&self, selection: &Selection, rooms: &[Room]) {
        self.each(selection, |socket| {
            rooms.iter().for_each(|room| socket.leave(room));
        });
    }

    fn disconnect_sockets(&self, selection: &Selection, close: bool) {
        self.each(selection, |socket| {
            if close {
                socket.disconnect_all();
            } else {
                socket.disconnect();
            }
        });
    }

    fn sockets(&self, selection: &Selection) -> Vec<SocketDetails> {
        let mut sockets = Vec::new();
        self.each(selection, |socket| sockets.push(socket.details()));
        sockets
    }

    fn server_side_emit(&self, event: Event, reply: Option<Reply>) {
        if let Some(namespace) = self.0.upgrade() {
            namespace.take_server_side(event, reply);
        }
    }

    fn observe_rooms(&self, observer: Box<dyn Fn(&RoomEvent) + Send + Sync>) {
        if let Some(namespace) = self.0.upgrade() {
            namespace.registry().observe(observer);
        }
    }
}
