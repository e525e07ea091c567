//! The state machine of one session.
//!
//! ```text
//!    open via HTTP                                      open via WebSocket
//!         |                                                      |
//!         v            socket attached            upgrade `5`    v
//!    +---------+ --------------------------> +---------+ ---> +--------+
//!    | Polling |                             | Probing |      | Socket |
//!    +---------+ <-------------------------- +---------+      +--------+
//!         |     deadline / socket gone /          |               |
//!         |     anything but 2probe, 5            |               |
//!         +-------------------+-------------------+---------------+
//!                             |  close() with something left to say
//!                             v
//!                        +---------+   said / deadline    +--------+
//!                        | Closing | -------------------> | Closed |
//!                        +---------+                      +--------+
//!    any state: ping timeout, violation, transport error, peer's `1`  ---> Closed(reason)
//! ```

mod heartbeat;

use std::{
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use self::heartbeat::{Beat, Heartbeat, Reply};
use crate::{CloseReason, Data, Encoded, Packet, PacketKind, Queue, Str, Version, Violation};

/// One session: what both transports, the heartbeat, the upgrade and closing have in common.
///
/// It has no socket and no clock. The methods are of four kinds:
///
/// - `handle_*`: something has arrived, or time has passed;
/// - commands of the application: [`send`](Self::send), [`close`](Self::close);
/// - `poll_*`: what has to happen next;
/// - getters.
///
/// After any `handle_*` or command, the caller asks [`poll_event`](Self::poll_event) until it is
/// `None`, then [`poll_body`](Self::poll_body) and [`poll_frame`](Self::poll_frame) until they are,
/// and then sleeps until [`poll_timeout`](Self::poll_timeout) or the next arrival.
#[derive(Debug)]
pub struct Session {
    settings: Arc<Settings>,
    version: Version,
    state: State,
    heartbeat: Heartbeat,
    /// A GET waits for a body.
    poll_parked: bool,
    /// A GET was left waiting by the upgrade and is owed a noop.
    poll_released: bool,
    /// The candidate is owed a `3probe`.
    probe_owed: bool,
    control: Queue<Packet>,
    messages: Queue<Encoded>,
    events: Queue<Event>,
    inbox_bytes: usize,
    violation: Option<Violation>,
}

/// What all sessions of a server have in common. Durations as in the official options.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Version 4: from open and each pong to the next ping. Part of the deadline in version 3.
    pub ping_interval: Duration,
    /// Time for the answer to a ping.
    pub ping_timeout: Duration,
    /// From the candidate's arrival to its `5`.
    pub upgrade_timeout: Duration,
    /// How long a closing session waits for what is left to be taken.
    pub close_timeout: Duration,
    /// About how many bytes of messages go into one poll response; a larger message goes alone.
    pub max_payload: usize,
}

impl Default for Settings {
    /// The official server's defaults.
    fn default() -> Self {
        Self {
            ping_interval: Duration::from_millis(25_000),
            ping_timeout: Duration::from_millis(20_000),
            upgrade_timeout: Duration::from_millis(10_000),
            close_timeout: Duration::from_millis(30_000),
            max_payload: 1_000_000,
        }
    }
}

/// The two ways to the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// HTTP requests.
    Polling,
    /// A WebSocket.
    Socket,
}

/// What happened to a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaneChange {
    /// Polling: a GET has come and waits.
    PollParked,
    /// Polling: the waiting GET was given up by the client.
    PollAborted,
    /// Polling: a POST came while another was being read.
    PostOverlap,
    /// Polling: the client gave up a POST half way.
    PostAborted,
    /// Socket: a candidate for the upgrade has connected.
    Attached,
    /// Socket: the peer closed it in an orderly way.
    Closed,
    /// Socket: it broke.
    Failed,
    /// Socket: it was closed because the peer broke a rule of its own.
    Violated(Violation),
}

/// Something the application has to hear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A message, in the order in which the peer sent them.
    Message(Data),
    /// The session has moved to its WebSocket.
    Upgraded,
    /// The session is over; the last event, exactly once.
    Closed(CloseReason),
}

/// Something that is to leave.
#[derive(Clone, Debug)]
pub enum Transmit {
    /// A control packet.
    Control(Packet),
    /// A message.
    Message(Encoded),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Polling,
    Probing {
        deadline: Instant,
        answered: bool,
    },
    Socket,
    Closing(Closing),
    Closed {
        reason: CloseReason,
        owed: Option<PacketKind>,
    },
}

/// The application knows already; the peer has yet to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Closing {
    lane: Lane,
    reason: CloseReason,
    deadline: Instant,
    /// What the last poll response ends with.
    farewell: PacketKind,
}

impl Session {
    /// A session opened by the given lane. `open` leaves first.
    pub fn new(
        settings: Arc<Settings>,
        version: Version,
        lane: Lane,
        open: Packet,
        now: Instant,
    ) -> Self {
        let heartbeat = Heartbeat::new(version, settings.ping_interval, settings.ping_timeout, now);
        Self {
            settings,
            version,
            state: match lane {
                Lane::Polling => State::Polling,
                Lane::Socket => State::Socket,
            },
            heartbeat,
            poll_parked: false,
            poll_released: false,
            probe_owed: false,
            control: Queue::from(open),
            messages: Queue::default(),
            events: Queue::default(),
            inbox_bytes: 0,
            violation: None,
        }
    }

    /// A packet has arrived by a lane.
    ///
    /// # Errors
    /// The rule that the peer broke. But for [`Violation::TransportMismatch`] and
    /// [`Violation::UpgradeSequence`], which the session survives, it has closed by then.
    pub fn handle_packet(
        &mut self,
        from: Lane,
        packet: Packet,
        now: Instant,
    ) -> Result<(), Violation> {
        match (self.state, from) {
            (State::Closing(closing), Lane::Socket) if packet.kind == PacketKind::Upgrade => {
                // The client polls no more: what is left to say leaves by the socket.
                self.state = State::Closing(Closing {
                    lane: Lane::Socket,
                    ..closing
                });
                self.poll_released = self.poll_parked;
                Ok(())
            }
            (State::Closing(_) | State::Closed { .. }, _) => Ok(()),
            (State::Probing { deadline, answered }, Lane::Socket) => {
                self.handle_candidate(&packet, deadline, answered)
            }
            (State::Polling | State::Probing { .. }, Lane::Polling)
            | (State::Socket, Lane::Socket) => self.handle_current(from, packet, now),
            (State::Socket, Lane::Polling) | (State::Polling, Lane::Socket) => {
                Err(Violation::TransportMismatch)
            }
        }
    }

    /// Something has happened to a lane.
    ///
    /// # Errors
    /// The rule that the peer broke; the request that brought the news is to be refused.
    pub fn handle_lane(&mut self, change: LaneChange, now: Instant) -> Result<(), Violation> {
        match change {
            LaneChange::PollParked => self.handle_poll(),
            LaneChange::PollAborted => {
                let parked = mem::take(&mut self.poll_parked);
                self.poll_released = false;
                match self.lane() {
                    Lane::Polling if parked && self.is_open() => self.fail(Violation::PollAborted),
                    _ => Ok(()),
                }
            }
            LaneChange::PostOverlap | LaneChange::PostAborted
                if self.lane() == Lane::Socket || !self.is_open() =>
            {
                Err(Violation::TransportMismatch)
            }
            LaneChange::PostOverlap => self.fail(Violation::OverlappingPost),
            LaneChange::PostAborted => self.fail(Violation::PostAborted),
            LaneChange::Attached => match self.state {
                State::Polling => {
                    self.probe_owed = false;
                    self.state = State::Probing {
                        deadline: now + self.settings.upgrade_timeout,
                        answered: false,
                    };
                    Ok(())
                }
                _ => Err(Violation::TransportMismatch),
            },
            LaneChange::Closed => {
                self.socket_gone(CloseReason::TransportClose);
                Ok(())
            }
            LaneChange::Failed => {
                self.socket_gone(CloseReason::TransportError);
                Ok(())
            }
            LaneChange::Violated(violation) => {
                if self.state == State::Socket {
                    self.violation = Some(violation);
                }
                self.socket_gone(violation.close_reason());
                Ok(())
            }
        }
    }

    /// What the peer sent could not be read, or broke a rule outside this machine. The session
    /// closes; a candidate for the upgrade only loses itself.
    pub fn handle_violation(&mut self, from: Lane, violation: Violation) {
        if from == Lane::Socket && matches!(self.state, State::Probing { .. }) {
            self.state = State::Polling;
        } else {
            let _ = self.fail(violation);
        }
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        match self.state {
            State::Closed { .. } => return,
            State::Closing(closing) => {
                if now >= closing.deadline {
                    self.state = State::Closed {
                        reason: closing.reason,
                        owed: None,
                    };
                    self.drop_queues();
                }
                return;
            }
            State::Probing { deadline, .. } if now >= deadline => self.state = State::Polling,
            _ => {}
        }
        match self.heartbeat.on_time(now) {
            Beat::Nothing => {}
            Beat::Ping => self.control.push_back(Packet::bare(PacketKind::Ping)),
            Beat::Dead => self.finish(CloseReason::PingTimeout, PacketKind::Close),
        }
    }

    /// Nothing is read for a while because the application is behind; the peer's silence does not
    /// count against it.
    pub fn handle_reading_paused(&mut self) {
        self.heartbeat.pause();
    }

    /// Reading goes on.
    pub fn handle_reading_resumed(&mut self, now: Instant) {
        self.heartbeat.resume(now);
    }

    /// Queues a message. Does nothing once the session is closing.
    #[inline]
    pub fn send(&mut self, message: Encoded) {
        if self.is_open() {
            self.messages.push_back(message);
        }
    }

    /// Closes the session: what is queued still leaves, if the peer takes it in time.
    pub fn close(&mut self, reason: CloseReason, now: Instant) {
        let lane = match self.state {
            State::Polling | State::Probing { .. } => Lane::Polling,
            State::Socket => Lane::Socket,
            State::Closing(_) | State::Closed { .. } => return,
        };
        let said_all = self.control.is_empty() && self.messages.is_empty();
        if said_all && (lane == Lane::Socket || self.poll_parked) {
            self.finish(reason, PacketKind::Close);
        } else {
            self.begin_closing(Closing {
                lane,
                reason,
                deadline: now + self.settings.close_timeout,
                farewell: PacketKind::Close,
            });
        }
    }

    /// Closes the session at once and drops what is queued.
    pub fn abort(&mut self, reason: CloseReason) {
        match self.state {
            State::Closed { .. } => {}
            State::Closing(closing) => {
                self.state = State::Closed {
                    reason: closing.reason,
                    owed: self.poll_parked.then_some(closing.farewell),
                };
                self.drop_queues();
            }
            _ => self.finish(reason, PacketKind::Close),
        }
    }

    /// The body for the waiting GET, if there is one and there is something to say. The GET is
    /// answered with it.
    pub fn poll_body(&mut self) -> Option<Queue<Transmit>> {
        if !self.poll_parked {
            return None;
        }
        let mut body = Queue::default();
        match self.state {
            State::Polling | State::Probing { .. } => {
                self.take_queued(&mut body);
                let release = matches!(self.state, State::Probing { answered: true, .. });
                if body.is_empty() && release {
                    body.push_back(bare(PacketKind::Noop));
                }
            }
            State::Socket => {
                if mem::take(&mut self.poll_released) {
                    body.push_back(bare(PacketKind::Noop));
                }
            }
            State::Closing(Closing {
                lane: Lane::Socket, ..
            }) => {
                if mem::take(&mut self.poll_released) {
                    body.push_back(bare(PacketKind::Noop));
                }
            }
            State::Closing(closing) => {
                self.take_queued(&mut body);
                if self.control.is_empty() && self.messages.is_empty() {
                    if body.is_empty() && closing.farewell == PacketKind::Close {
                        // The official server answers the first poll after close() like this.
                        body.push_back(bare(PacketKind::Noop));
                    }
                    body.push_back(bare(closing.farewell));
                    self.state = State::Closed {
                        reason: closing.reason,
                        owed: None,
                    };
                }
            }
            State::Closed { reason, owed } => {
                if let Some(kind) = owed {
                    body.push_back(bare(kind));
                    self.state = State::Closed { reason, owed: None };
                }
            }
        }
        if body.is_empty() {
            return None;
        }
        self.poll_parked = false;
        Some(body)
    }

    /// The next thing that is to leave by the WebSocket, be it the current transport or the
    /// candidate. Control packets overtake messages, so that a heartbeat never waits behind a
    /// long queue.
    #[inline]
    pub fn poll_frame(&mut self) -> Option<Transmit> {
        match self.state {
            State::Socket => {}
            State::Probing { .. } => {
                return mem::take(&mut self.probe_owed).then_some(Transmit::Control(PROBE_ANSWER));
            }
            State::Closing(closing) if closing.lane == Lane::Socket => {
                if self.control.is_empty() && self.messages.is_empty() {
                    self.state = State::Closed {
                        reason: closing.reason,
                        owed: None,
                    };
                }
            }
            _ => return None,
        }
        let control = self.control.pop_front().map(Transmit::Control);
        control.or_else(|| self.messages.pop_front().map(Transmit::Message))
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called next.
    pub fn poll_timeout(&self) -> Option<Instant> {
        match self.state {
            State::Closed { .. } => None,
            State::Closing(closing) => Some(closing.deadline),
            State::Probing { deadline, .. } => Some(self.heartbeat.next().min(deadline)),
            State::Polling | State::Socket => Some(self.heartbeat.next()),
        }
    }

    /// The next thing that the application has to hear.
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        if let Event::Message(data) = &event {
            self.inbox_bytes -= inbox_cost(data);
        }
        Some(event)
    }

    /// Whether [`poll_event`](Self::poll_event) has something.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Bytes of messages that the application has not heard yet, with a small charge for each.
    pub fn inbox_bytes(&self) -> usize {
        self.inbox_bytes
    }

    /// The lane that messages leave by.
    pub fn lane(&self) -> Lane {
        match self.state {
            State::Socket
            | State::Closing(Closing {
                lane: Lane::Socket, ..
            }) => Lane::Socket,
            _ => Lane::Polling,
        }
    }

    /// Whether a candidate is attached that has not taken over yet.
    pub fn is_probing(&self) -> bool {
        matches!(self.state, State::Probing { .. })
    }

    /// Whether messages still come and go.
    pub fn is_open(&self) -> bool {
        matches!(
            self.state,
            State::Polling | State::Probing { .. } | State::Socket
        )
    }

    /// Why the session has closed, once it has nothing left to say either.
    pub fn closed(&self) -> Option<CloseReason> {
        match self.state {
            State::Closed { reason, .. } => Some(reason),
            _ => None,
        }
    }

    /// What the peer did wrong, if that is what the session closes for.
    pub fn violation(&self) -> Option<Violation> {
        self.violation
    }

    /// How long a closing session waits for the peer.
    pub fn close_timeout(&self) -> Duration {
        self.settings.close_timeout
    }

    /// Whether a GET waits.
    pub fn poll_parked(&self) -> bool {
        self.poll_parked
    }

    /// Whether nothing waits to leave.
    pub fn is_drained(&self) -> bool {
        self.control.is_empty() && self.messages.is_empty()
    }

    /// The protocol version.
    pub fn version(&self) -> Version {
        self.version
    }

    fn handle_poll(&mut self) -> Result<(), Violation> {
        match self.state {
            State::Socket
            | State::Closing(Closing {
                lane: Lane::Socket, ..
            })
            | State::Closed { .. } => Err(Violation::TransportMismatch),
            _ if self.poll_parked => self.fail(Violation::OverlappingPoll),
            State::Polling | State::Probing { .. } | State::Closing(_) => {
                self.poll_parked = true;
                Ok(())
            }
        }
    }

    /// The upgrade dance on the candidate.
    fn handle_candidate(
        &mut self,
        packet: &Packet,
        deadline: Instant,
        answered: bool,
    ) -> Result<(), Violation> {
        if packet.is(PacketKind::Ping, PROBE) {
            self.probe_owed = true;
            self.state = State::Probing {
                deadline,
                answered: true,
            };
            Ok(())
        } else if packet.kind == PacketKind::Upgrade && answered {
            self.state = State::Socket;
            self.poll_released = self.poll_parked;
            self.events.push_back(Event::Upgraded);
            Ok(())
        } else {
            self.state = State::Polling;
            Err(Violation::UpgradeSequence)
        }
    }

    /// A packet on the lane that the session is on.
    fn handle_current(
        &mut self,
        from: Lane,
        packet: Packet,
        now: Instant,
    ) -> Result<(), Violation> {
        match self.heartbeat.on_packet(self.version, packet.kind, now) {
            Ok(Reply::Nothing) => {}
            // Several pings in one payload need no more than one answer.
            Ok(Reply::Pong) if self.control.iter().any(|it| it.kind == PacketKind::Pong) => {}
            Ok(Reply::Pong) => self.control.push_back(Packet::bare(PacketKind::Pong)),
            Err(violation) => return self.fail(violation),
        }
        match packet.kind {
            PacketKind::Message => {
                self.inbox_bytes += inbox_cost(&packet.data);
                self.events.push_back(Event::Message(packet.data));
            }
            PacketKind::Close => self.handle_peer_close(from, now),
            PacketKind::Open
            | PacketKind::Ping
            | PacketKind::Pong
            | PacketKind::Upgrade
            | PacketKind::Noop => {}
        }
        Ok(())
    }

    fn handle_peer_close(&mut self, from: Lane, now: Instant) {
        let reason = CloseReason::TransportClose;
        if from == Lane::Socket || self.poll_parked {
            self.finish(reason, PacketKind::Noop);
        } else {
            // The poll that belongs to this client is probably on its way: let it end well.
            self.drop_queues();
            self.begin_closing(Closing {
                lane: Lane::Polling,
                reason,
                deadline: now + FAREWELL_TIME.min(self.settings.close_timeout),
                farewell: PacketKind::Noop,
            });
        }
    }

    fn socket_gone(&mut self, reason: CloseReason) {
        match self.state {
            State::Probing { .. } => self.state = State::Polling,
            State::Socket => self.finish(reason, PacketKind::Noop),
            State::Closing(closing) if closing.lane == Lane::Socket => {
                self.state = State::Closed {
                    reason: closing.reason,
                    owed: None,
                };
                self.drop_queues();
            }
            _ => {}
        }
    }

    fn take_queued(&mut self, body: &mut Queue<Transmit>) {
        while let Some(packet) = self.control.pop_front() {
            body.push_back(Transmit::Control(packet));
        }
        let mut bytes = 0;
        while let Some(message) = self.messages.front() {
            bytes += message.len();
            if bytes > self.settings.max_payload && !body.is_empty() {
                break;
            }
            body.extend(self.messages.pop_front().map(Transmit::Message));
        }
    }

    fn fail(&mut self, violation: Violation) -> Result<(), Violation> {
        if self.is_open() {
            self.violation = Some(violation);
        }
        self.abort(violation.close_reason());
        Err(violation)
    }

    fn begin_closing(&mut self, closing: Closing) {
        self.events.push_back(Event::Closed(closing.reason));
        self.state = State::Closing(closing);
    }

    /// Ends an open session; a waiting GET is still told.
    fn finish(&mut self, reason: CloseReason, farewell: PacketKind) {
        self.events.push_back(Event::Closed(reason));
        self.state = State::Closed {
            reason,
            owed: self.poll_parked.then_some(farewell),
        };
        self.drop_queues();
    }

    fn drop_queues(&mut self) {
        self.control = Queue::default();
        self.messages = Queue::default();
    }
}

/// The answer to the candidate's `2probe`.
const PROBE_ANSWER: Packet = Packet::control(PacketKind::Pong, Str::from_static(PROBE));

const PROBE: &str = "probe";

/// How long a session that the client closed still answers the client's last poll.
const FAREWELL_TIME: Duration = Duration::from_secs(1);

fn bare(kind: PacketKind) -> Transmit {
    Transmit::Control(Packet::bare(kind))
}

/// Even an empty message takes a place in the queue.
fn inbox_cost(data: &Data) -> usize {
    data.len() + size_of::<Event>()
}
