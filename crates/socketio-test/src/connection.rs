//! One connection: what its sockets send and get, and what it does by itself.

use std::{collections::HashMap, time::Duration};

use engineio_proto::{
    Encoded, Packet as EnginePacket, PacketKind as EngineKind, session::Transmit,
};
use http::StatusCode;
use serde_json::Value;
use socketio::{Args, ToArgs, Version};
use socketio_proto::{Decoder, Limits, Packet, PacketKind, connect, encode};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, Interval},
};

use crate::{
    Refused, TestClient,
    transport::{Answer, Transport, Wire},
    wait::within,
};

/// A connection to the server, on which a client can join any number of namespaces. Cheap to
/// clone; when the last clone and the last [`TestClient`] are dropped, it breaks off.
///
/// Made by [`Builder::open`](crate::Builder::open); each [`TestClient`] has one.
#[derive(Clone, Debug)]
pub struct Connection {
    sid: String,
    version: Version,
    commands: mpsc::UnboundedSender<Command>,
    pub(crate) limit: Duration,
}

impl Connection {
    /// The id of the session, which [`SessionHandle::sid`](socketio::SessionHandle::sid) is on the
    /// server's side.
    pub fn sid(&self) -> &str {
        &self.sid
    }

    /// Joins a namespace. A client of version 3 may add a query to its name: `/chat?token=abc`.
    ///
    /// # Errors
    ///
    /// If the server refuses.
    pub async fn join(&self, namespace: &str) -> Result<TestClient, Refused> {
        self.join_as(namespace, None).await
    }

    /// Joins a namespace and gives the server something to be let in, which has to be a JSON object.
    ///
    /// # Errors
    ///
    /// If the server refuses.
    pub async fn join_with(
        &self,
        namespace: &str,
        auth: &impl serde::Serialize,
    ) -> Result<TestClient, Refused> {
        self.join_as(namespace, Some(to_object(auth))).await
    }

    pub(crate) async fn join_as(
        &self,
        namespace: &str,
        auth: Option<String>,
    ) -> Result<TestClient, Refused> {
        let (packets, received) = mpsc::unbounded_channel();
        let (joined, answer) = oneshot::channel();
        let name = match self.version {
            Version::V3 => namespace
                .split_once('?')
                .map_or(namespace, |(name, _)| name),
            Version::V4 => namespace,
        };
        self.command(Command::Join {
            name: name.into(),
            asked: namespace.into(),
            auth,
            slot: Slot {
                packets,
                joined: Some(joined),
                acks: HashMap::new(),
            },
        });
        let what = || format!("the answer to joining {namespace:?}");
        let answer = within(self.limit, what, self.answer(answer)).await;
        let id = answer.unwrap_or_else(|| Err(Refused::closed()))?;
        Ok(TestClient::new(id, name.into(), self.clone(), received))
    }

    /// Breaks the connection off, as a network does that is gone. It is over once
    /// [`closed`](Self::closed) returns; the server has yet to notice then.
    pub fn close(&self) {
        self.command(Command::Abort);
    }

    /// Waits until the connection is closed, by whomever.
    ///
    /// # Panics
    ///
    /// If that takes longer than the [time limit](crate::Builder::time_limit).
    pub async fn closed(&self) {
        let what = || String::from("the end of the connection");
        within(self.limit, what, self.commands.closed()).await;
    }

    /// Whether the connection is closed.
    pub fn is_closed(&self) -> bool {
        self.commands.is_closed()
    }

    /// Moves from long-polling to WebSocket.
    pub(crate) async fn upgrade(&self) -> Result<(), Refused> {
        let (upgraded, answer) = oneshot::channel();
        self.command(Command::Upgrade(upgraded));
        let what = || String::from("the upgrade");
        let answer = within(self.limit, what, self.answer(answer)).await;
        answer.unwrap_or_else(|| Err(Refused::closed()))
    }

    /// Sends a packet and waits until it has been sent.
    pub(crate) async fn send(&self, what: &str, command: impl FnOnce(Sent) -> Command) {
        let (sent, done) = oneshot::channel();
        self.command(command(sent));
        let sent = || format!("{what} to be sent");
        let sent = within(self.limit, sent, self.answer(done)).await;
        assert!(
            sent.is_some(),
            "{what} cannot be sent: the client is disconnected"
        );
    }

    /// The answer to a command, unless the connection is closed before. A command that is given
    /// while the connection closes may lie in the channel, neither seen nor dropped.
    pub(crate) async fn answer<T>(&self, mut answer: oneshot::Receiver<T>) -> Option<T> {
        tokio::select! {
            biased;
            answer = &mut answer => answer.ok(),
            () = self.commands.closed() => answer.try_recv().ok(),
        }
    }

    /// Does nothing if the connection is closed; whoever waits for an answer sees that.
    pub(crate) fn command(&self, command: Command) {
        let _ = self.commands.send(command);
    }
}

/// Told when something has been sent; dropped if it cannot be.
pub(crate) type Sent = oneshot::Sender<()>;

/// What the test wants of a connection.
#[derive(Debug)]
pub(crate) enum Command {
    Join {
        name: String,
        /// The name as it is asked for, perhaps with a query.
        asked: String,
        auth: Option<String>,
        slot: Slot,
    },
    Emit {
        namespace: String,
        name: String,
        args: Args,
        ack: Option<oneshot::Sender<Args>>,
        sent: Sent,
    },
    Ack {
        namespace: String,
        id: u64,
        args: Args,
        sent: Sent,
    },
    /// Told when it has been sent, and when the connection is over if this was the last namespace.
    Leave {
        namespace: String,
        done: Sent,
    },
    Upgrade(oneshot::Sender<Result<(), Refused>>),
    Abort,
}

/// A namespace that the client has joined or is about to.
#[derive(Debug)]
pub(crate) struct Slot {
    /// What the client is to see.
    packets: mpsc::UnboundedSender<PacketKind>,
    /// Until the server has answered.
    joined: Option<oneshot::Sender<Result<String, Refused>>>,
    acks: HashMap<u64, oneshot::Sender<Args>>,
}

/// Opens a connection.
pub(crate) async fn open(
    mut wire: Wire,
    transport: socketio::Transport,
    heartbeat: bool,
    limit: Duration,
) -> Result<Connection, Refused> {
    let (transport, open) = within(limit, || String::from("an open connection"), async {
        match transport {
            socketio::Transport::Polling => {
                let mut packets = match wire.poll().await {
                    Some(Answer::Response(response)) if response.status() == StatusCode::OK => {
                        wire.packets(response)
                    }
                    answer => return Err(Refused::by(answer)),
                };
                let open = Open::read(packets.remove(0));
                wire.sid = Some(open.sid.clone());
                Ok((Transport::polling(&wire, packets), open))
            }
            socketio::Transport::WebSocket => {
                let io = match wire.websocket().await {
                    Some(Answer::WebSocket(io)) => io,
                    answer => return Err(Refused::by(answer)),
                };
                let mut transport = Transport::websocket(io, wire.dialect()).await;
                let open = Open::read(transport.recv().await.ok_or_else(Refused::closed)?);
                wire.sid = Some(open.sid.clone());
                Ok((transport, open))
            }
        }
    })
    .await?;
    let (commands, received) = mpsc::unbounded_channel();
    let version = wire.version;
    let pings = version == Version::V3 && heartbeat;
    let task = Task {
        commands: received,
        transport,
        sockets: HashMap::new(),
        unclaimed: (version == Version::V3).then(Vec::new),
        decoder: Decoder::new(unlimited()),
        next_ack: 0,
        beat: pings.then(|| beat(open.ping_interval)),
        answers_pings: heartbeat,
        farewell: None,
        wire,
    };
    tokio::spawn(task.run());
    Ok(Connection {
        sid: open.sid,
        version,
        commands,
        limit,
    })
}

/// What a connection does by itself.
struct Task {
    wire: Wire,
    transport: Transport,
    commands: mpsc::UnboundedReceiver<Command>,
    sockets: HashMap<String, Slot>,
    /// Version 3: the server lets the client into `/` unasked. What comes before it is asked for.
    unclaimed: Option<Vec<Packet>>,
    decoder: Decoder,
    next_ack: u64,
    /// Version 3: when the client has to ping.
    beat: Option<Interval>,
    answers_pings: bool,
    /// Dropped when the connection is over.
    farewell: Option<Sent>,
}

impl Task {
    async fn run(mut self) {
        loop {
            tokio::select! {
                biased;
                command = self.commands.recv() => match command {
                    None | Some(Command::Abort) => return,
                    Some(command) => self.obey(command).await,
                },
                packet = self.transport.recv() => match packet {
                    Some(packet) if packet.kind != EngineKind::Close => self.take(packet),
                    _ => return,
                },
                () = tick(&mut self.beat) => self.control(EngineKind::Ping, None),
            }
        }
    }

    async fn obey(&mut self, command: Command) {
        match command {
            Command::Join {
                name,
                asked,
                auth,
                slot,
            } => self.join(name, &asked, auth, slot),
            Command::Emit {
                namespace,
                name,
                args,
                ack,
                sent,
            } => {
                if let Some(slot) = self.sockets.get_mut(&namespace) {
                    let id = ack.map(|ack| {
                        let id = self.next_ack;
                        self.next_ack += 1;
                        slot.acks.insert(id, ack);
                        id
                    });
                    let packet = encode::event(&namespace, id, &name, &args);
                    self.send(packet.expect("arguments are JSON"), Some(sent));
                }
            }
            Command::Ack {
                namespace,
                id,
                args,
                sent,
            } => {
                if self.sockets.contains_key(&namespace) {
                    let packet = encode::ack(&namespace, id, &args);
                    self.send(packet.expect("arguments are JSON"), Some(sent));
                }
            }
            Command::Leave { namespace, done } => {
                let was_in = self.sockets.remove(&namespace).is_some();
                let last = self.sockets.is_empty();
                let (sent, farewell) = if last {
                    (None, Some(done))
                } else {
                    (Some(done), None)
                };
                if was_in {
                    self.send(connect::disconnect(&namespace), sent);
                }
                if last {
                    self.control(EngineKind::Close, None);
                    self.farewell = farewell;
                }
            }
            Command::Upgrade(upgraded) => {
                let answer = self.upgrade().await;
                let _ = upgraded.send(answer);
            }
            Command::Abort => {}
        }
    }

    fn join(&mut self, name: String, asked: &str, auth: Option<String>, slot: Slot) {
        let early = self.unclaimed.take_if(|_| name == "/");
        self.sockets.insert(name, slot);
        if early.is_none() {
            let mut text = match asked {
                "/" => String::from("0"),
                _ => format!("0{asked},"),
            };
            text.push_str(auth.as_deref().unwrap_or_default());
            self.send(Encoded::text(&text), None);
        }
        for packet in early.into_iter().flatten() {
            self.deliver(packet);
        }
    }

    /// A packet of the engine has arrived.
    fn take(&mut self, packet: EnginePacket) {
        match packet.kind {
            EngineKind::Ping if self.answers_pings => self.control(EngineKind::Pong, None),
            EngineKind::Message => {
                let packet = self.decoder.add(packet.data);
                if let Some(packet) = packet.expect("the server's packets can be read") {
                    self.deliver(packet);
                }
            }
            _ => {}
        }
    }

    /// A packet for a socket has arrived.
    fn deliver(&mut self, packet: Packet) {
        let Packet { nsp, kind } = packet;
        let Some(slot) = self.sockets.get_mut(&*nsp) else {
            if let Some(unclaimed) = &mut self.unclaimed {
                unclaimed.push(Packet { nsp, kind });
            }
            return;
        };
        match kind {
            PacketKind::Connect { auth } => {
                if let Some(joined) = slot.joined.take() {
                    let _ = joined.send(Ok(self.socket_id(&nsp, auth.as_deref())));
                }
            }
            PacketKind::ConnectError { data } => {
                if let Some(slot) = self.sockets.remove(&*nsp)
                    && let Some(joined) = slot.joined
                {
                    let _ = joined.send(Err(Refused::from_packet(data.as_deref())));
                }
            }
            PacketKind::Event { .. } => {
                let _ = slot.packets.send(kind);
            }
            PacketKind::Ack { id, args } => {
                if let Some(ack) = slot.acks.remove(&id) {
                    let _ = ack.send(args);
                }
            }
            PacketKind::Disconnect => {
                let _ = slot.packets.send(kind);
                self.sockets.remove(&*nsp);
            }
            PacketKind::Empty => {}
        }
    }

    /// Clients of version 3 work it out from the session's.
    fn socket_id(&self, namespace: &str, auth: Option<&str>) -> String {
        let sid = self.wire.sid.as_deref().unwrap_or_default();
        match self.wire.version {
            Version::V4 => {
                let auth: Value = parse(auth.unwrap_or("null"));
                auth["sid"].as_str().unwrap_or_default().to_owned()
            }
            Version::V3 if namespace == "/" => sid.to_owned(),
            Version::V3 => format!("{namespace}#{sid}"),
        }
    }

    /// The dance of an upgrade, as clients do it.
    async fn upgrade(&mut self) -> Result<(), Refused> {
        let io = match self.wire.websocket().await {
            Some(Answer::WebSocket(io)) => io,
            answer => return Err(Refused::by(answer)),
        };
        let mut candidate = Transport::websocket(io, self.wire.dialect()).await;
        candidate.send(control(EngineKind::Ping, "probe"), None);
        let answer = candidate.recv().await.ok_or_else(Refused::closed)?;
        assert!(answer.is(EngineKind::Pong, "probe"), "{answer:?}");
        let polling = std::mem::replace(&mut self.transport, candidate);
        let last = polling.finish().await;
        self.control(EngineKind::Upgrade, None);
        for packet in last {
            self.take(packet);
        }
        Ok(())
    }

    fn send(&self, message: Encoded, sent: Option<Sent>) {
        self.transport.send(Transmit::Message(message), sent);
    }

    fn control(&self, kind: EngineKind, sent: Option<Sent>) {
        self.transport.send(control(kind, ""), sent);
    }
}

/// The first packet of a session.
struct Open {
    sid: String,
    ping_interval: Duration,
}

impl Open {
    fn read(packet: EnginePacket) -> Self {
        let engineio_proto::Data::Text(text) = &packet.data else {
            panic!("no open packet: {packet:?}")
        };
        assert_eq!(packet.kind, EngineKind::Open, "{packet:?}");
        let open: Value = parse(text);
        let interval = open["pingInterval"].as_u64().unwrap_or_default();
        Self {
            sid: open["sid"].as_str().unwrap_or_default().to_owned(),
            ping_interval: Duration::from_millis(interval),
        }
    }
}

/// A value as JSON, which must be an object.
pub(crate) fn to_object(value: &impl serde::Serialize) -> String {
    let json = serde_json::to_string(value);
    let json = json.unwrap_or_else(|error| panic!("auth cannot be JSON: {error}"));
    assert!(
        json.starts_with('{'),
        "auth must be a JSON object, not {json}"
    );
    json
}

/// Arguments in wire form.
pub(crate) fn to_args(what: &str, args: &(impl ToArgs + ?Sized)) -> Args {
    Args::new(args).unwrap_or_else(|error| panic!("{what}: the arguments cannot be JSON: {error}"))
}

fn control(kind: EngineKind, text: &'static str) -> Transmit {
    Transmit::Control(EnginePacket::control(
        kind,
        engineio_proto::Str::from_static(text),
    ))
}

fn parse(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{error} in {json:?}"))
}

/// What a server of one's own sends is taken, however large.
fn unlimited() -> Limits {
    let mut limits = Limits::default();
    limits.max_attachments = u32::MAX;
    limits.max_depth = u32::MAX;
    limits.max_attachment_bytes = usize::MAX;
    limits
}

fn beat(interval: Duration) -> Interval {
    let interval = interval.max(Duration::from_millis(1));
    tokio::time::interval_at(Instant::now() + interval, interval)
}

async fn tick(beat: &mut Option<Interval>) {
    match beat {
        Some(beat) => {
            beat.tick().await;
        }
        None => std::future::pending().await,
    }
}
