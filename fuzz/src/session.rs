//! The state machine of a session, against a model of what it must do. The first byte chooses the version
//! and the transport that opens it, each further one is something that happens.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use engineio_proto::{
    CloseReason, Data, Encoded, Packet, PacketKind, Session, Version, Violation,
    session::{Event, Lane, LaneChange, Settings, Transmit},
};

/// What must hold, whatever happens in whatever order:
///
/// - what is sent leaves in order, once, by the transport that the session is on; all of it, unless the
///   session ends before and does not end by itself;
/// - what arrives is heard in order, once, all of it;
/// - one poll waits at a time, and is answered once, never with nothing;
/// - the end is told once and last, and nothing comes back to life;
/// - whoever is silent for too long is gone, and nobody else;
/// - the clock is asked for when it is needed, and not for a time that has passed.
pub fn run(input: &[u8]) {
    let Some((&choice, operations)) = input.split_first() else {
        return;
    };
    let version = [Version::V4, Version::V3][usize::from(choice & 1)];
    let lane = [Lane::Polling, Lane::Socket][usize::from(choice >> 1 & 1)];
    let mut rig = Rig::new(version, lane);
    for &operation in operations.iter().take(200) {
        rig.operate(operation);
        rig.check();
    }
    rig.end();
}

struct Rig {
    session: Session,
    version: Version,
    start: Instant,
    now: Instant,
    /// Messages of the application: the next number, and those that have yet to leave.
    next_sent: usize,
    to_leave: VecDeque<usize>,
    /// Messages of the peer, likewise.
    next_received: usize,
    to_hear: VecDeque<usize>,
    ended: usize,
    upgraded: usize,
    polls: usize,
    /// When the peer was last there for certain.
    last_sign: Instant,
    /// Nothing is read.
    paused: bool,
    /// The application has closed the session, and nothing has cut it short.
    closing: bool,
    was_open: bool,
}

impl Rig {
    fn new(version: Version, lane: Lane) -> Self {
        let settings = Settings {
            ping_interval: INTERVAL,
            ping_timeout: TIMEOUT,
            upgrade_timeout: UPGRADE,
            close_timeout: CLOSE,
            max_payload: MAX_PAYLOAD,
        };
        // any moment will do, and asking the clock takes longer than all else here
        thread_local!(static START: Instant = Instant::now());
        let now = START.with(|it| *it);
        let open = Packet::control(PacketKind::Open, "{}".into());
        Self {
            session: Session::new(Arc::new(settings), version, lane, open, now),
            version,
            start: now,
            now,
            next_sent: 0,
            to_leave: VecDeque::new(),
            next_received: 0,
            to_hear: VecDeque::new(),
            ended: 0,
            upgraded: 0,
            polls: 0,
            last_sign: now,
            paused: false,
            closing: false,
            was_open: true,
        }
    }

    fn operate(&mut self, operation: u8) {
        let lane = [Lane::Polling, Lane::Socket][usize::from(operation >> 7)];
        match operation & 127 {
            it @ 0..=6 => {
                let kind = PacketKind::from_number(it).expect("one of seven");
                self.packet(lane, kind, "");
            }
            7 => self.packet(lane, PacketKind::Ping, "probe"),
            8 => self.packet(lane, PacketKind::Pong, "probe"),
            9 => self.park(),
            10 => {
                let waits = self.session.poll_parked();
                let result = self.session.handle_lane(LaneChange::PollAborted, self.now);
                self.polls = 0;
                assert!(result.is_ok() || waits);
                self.survives(result);
            }
            11 => self.lane(LaneChange::PostOverlap),
            12 => self.lane(LaneChange::PostAborted),
            13 => {
                let (polls, probing) = (
                    self.session.lane() == Lane::Polling,
                    self.session.is_probing(),
                );
                let open = self.session.is_open();
                let result = self.session.handle_lane(LaneChange::Attached, self.now);
                assert_eq!(result.is_ok(), open && polls && !probing);
                assert!(result.is_err() || self.session.is_probing());
            }
            14 => self.lane(LaneChange::Closed),
            15 => self.lane(LaneChange::Failed),
            16 => self.lane(LaneChange::Violated(Violation::MessageTooLarge)),
            17 => {
                self.session
                    .handle_violation(lane, Violation::InvalidPayload);
                self.cut_short();
            }
            18 => {
                self.session.close(CloseReason::ForcedClose, self.now);
                self.closing |= self.was_open;
            }
            19 => {
                self.session.abort(CloseReason::SlowClient);
                assert!(self.session.closed().is_some());
                self.cut_short();
            }
            20 => {
                self.session.handle_reading_paused();
                self.paused = true;
            }
            21 => {
                self.session.handle_reading_resumed(self.now);
                self.paused = false;
                self.last_sign = self.now;
            }
            22 => drop(self.body()),
            23 => drop(self.frame()),
            24 => self.events(1),
            25..=31 => self.settle(),
            // a small one, or a large one
            it @ 32..=63 => self.send(usize::from(it - 32) * 8),
            it => self.pass(u32::from(it - 63) * 10 * MS),
        }
    }

    fn packet(&mut self, from: Lane, kind: PacketKind, text: &str) {
        let counts = self.session.is_open() && from == self.session.lane();
        let packet = match kind {
            PacketKind::Message => Packet::text(self.next_received.to_string()),
            _ => Packet::control(kind, text.to_owned().into()),
        };
        let result = self.session.handle_packet(from, packet, self.now);
        if counts && result.is_ok() {
            self.last_sign = self.now;
            if kind == PacketKind::Message {
                self.to_hear.push_back(self.next_received);
                self.next_received += 1;
            }
        }
        if counts && kind == PacketKind::Close {
            assert!(!self.session.is_open());
        }
        self.survives(result);
    }

    fn lane(&mut self, change: LaneChange) {
        let result = self.session.handle_lane(change, self.now);
        self.survives(result);
    }

    fn park(&mut self) {
        let result = self.session.handle_lane(LaneChange::PollParked, self.now);
        if result.is_ok() {
            self.polls += 1;
        }
        assert!(self.polls <= 1, "two polls wait");
        self.survives(result);
    }

    /// Whatever was done, the session survives these two violations, and no other.
    fn survives(&mut self, result: Result<(), Violation>) {
        match result {
            Err(Violation::TransportMismatch | Violation::UpgradeSequence) => {
                assert_eq!(self.session.is_open(), self.was_open);
            }
            Err(_) => assert!(!self.session.is_open()),
            Ok(()) => {}
        }
        self.cut_short();
    }

    /// If the session is over by now, what has not left will not.
    fn cut_short(&mut self) {
        if !self.session.is_open() && (self.was_open || self.session.closed().is_some()) {
            self.closing = false;
        }
    }

    fn send(&mut self, padding: usize) {
        let number = self.next_sent;
        self.session
            .send(Encoded::text(&format!("{number} {}", " ".repeat(padding))));
        if self.session.is_open() {
            self.to_leave.push_back(number);
            self.next_sent += 1;
        }
    }

    /// Lets time pass, the clock being asked for as often as the session wants it.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.session.poll_timeout().filter(|due| *due <= end) {
            assert!(due >= self.start);
            self.now = self.now.max(due);
            let (open, over) = (self.session.is_open(), self.session.closed().is_some());
            self.session.handle_timeout(self.now);
            let next = self.session.poll_timeout();
            assert!(
                next.is_none_or(|next| next > self.now),
                "the clock stands still"
            );
            if !over && self.session.closed().is_some() {
                self.closing = false;
            }
            if open && !self.session.is_open() {
                assert!(self.now - self.start >= TIMEOUT, "gone at once");
            }
        }
        self.now = end;
        let patience = if self.paused { 12 } else { 1 };
        let is_silent = self.now - self.last_sign >= (INTERVAL + TIMEOUT) * patience;
        assert!(
            !is_silent || !self.session.is_open(),
            "silent, and still there"
        );
    }

    /// The body for the poll that waits.
    fn body(&mut self) -> bool {
        let (open, lane) = (self.session.is_open(), self.session.lane());
        let Some(items) = self.session.poll_body() else {
            return false;
        };
        assert_eq!(self.polls, 1, "an answer without a poll");
        assert!(!self.session.poll_parked());
        assert!(!items.is_empty());
        self.polls = 0;
        let (mut count, mut bytes) = (0, 0);
        for item in items.iter() {
            match item {
                Transmit::Message(message) => {
                    assert_eq!(lane, Lane::Polling);
                    count += 1;
                    bytes += message.len();
                    self.left(message);
                }
                Transmit::Control(packet) if open && lane == Lane::Socket => {
                    assert_eq!(packet.kind, PacketKind::Noop);
                }
                Transmit::Control(_) => {}
            }
        }
        assert!(
            bytes <= MAX_PAYLOAD || count == 1,
            "{bytes} bytes in {count} messages"
        );
        true
    }

    fn frame(&mut self) -> bool {
        let (lane, probing) = (self.session.lane(), self.session.is_probing());
        match self.session.poll_frame() {
            None => return false,
            Some(Transmit::Message(message)) => {
                assert_eq!(lane, Lane::Socket);
                self.left(&message);
            }
            Some(Transmit::Control(packet)) if probing => {
                assert!(packet.is(PacketKind::Pong, "probe"));
            }
            Some(Transmit::Control(packet)) => {
                assert_eq!(lane, Lane::Socket);
                let answer = match self.version {
                    Version::V4 => PacketKind::Ping,
                    Version::V3 => PacketKind::Pong,
                };
                let may_be = [PacketKind::Open, answer, PacketKind::Close];
                assert!(may_be.contains(&packet.kind), "{packet:?}");
            }
        }
        true
    }

    /// A message has left.
    fn left(&mut self, message: &Encoded) {
        let text = message.wire_text().expect("a text");
        let number = text[1..].split(' ').next().and_then(|it| it.parse().ok());
        assert_eq!(
            self.to_leave.pop_front(),
            number,
            "lost, twice or too early"
        );
    }

    fn events(&mut self, count: usize) {
        for _ in 0..count {
            let Some(event) = self.session.poll_event() else {
                assert!(!self.session.has_events());
                assert_eq!(self.session.inbox_bytes(), 0);
                assert!(self.to_hear.is_empty(), "{:?} are lost", self.to_hear);
                assert_eq!(self.ended, usize::from(!self.session.is_open()));
                return;
            };
            assert_eq!(self.ended, 0, "an event after the end");
            match event {
                Event::Message(Data::Text(text)) => {
                    assert_eq!(self.to_hear.pop_front(), text.parse().ok());
                }
                Event::Message(Data::Binary(_)) => panic!("nobody sends any"),
                Event::Upgraded => self.upgraded += 1,
                Event::Closed(_) => {
                    self.ended += 1;
                    assert!(!self.session.is_open());
                }
            }
        }
    }

    /// As the driver does after everything.
    fn settle(&mut self) {
        self.events(usize::MAX);
        while self.body() {}
        while self.frame() {}
        if self.session.is_open() && self.session.lane() == Lane::Socket {
            assert!(self.to_leave.is_empty());
        }
    }

    fn check(&mut self) {
        let open = self.session.is_open();
        assert!(self.was_open || !open, "came back to life");
        self.was_open = open;
        let over = self.session.closed().is_some();
        assert!(!(open && over));
        assert_eq!(self.session.poll_timeout().is_none(), over);
        assert_eq!(self.session.poll_parked(), self.polls == 1);
        assert!(self.upgraded <= 1);
        assert!(!self.session.is_probing() || self.session.lane() == Lane::Polling);
        if over {
            assert!(self.session.is_drained());
        }
    }

    /// A client that goes on polling or reading gets all that is left.
    fn end(&mut self) {
        let entitled = self.session.is_open() || self.closing;
        for _ in 0..self.to_leave.len() + 4 {
            while self.frame() {}
            if self.session.lane() == Lane::Polling && !self.session.poll_parked() {
                self.park();
            }
            self.body();
            self.check();
        }
        self.events(usize::MAX);
        if entitled {
            assert!(self.to_leave.is_empty(), "{:?} are lost", self.to_leave);
        }
        self.session.close(CloseReason::ForcedClose, self.now);
        self.pass(CLOSE);
        self.events(usize::MAX);
        self.body();
        self.check();
        assert!(self.session.closed().is_some());
        assert_eq!(self.ended, 1);
        assert!(!self.body() && !self.frame());
    }
}

const MS: Duration = Duration::from_millis(1);
const INTERVAL: Duration = Duration::from_millis(300);
const TIMEOUT: Duration = Duration::from_millis(200);
const UPGRADE: Duration = Duration::from_millis(1000);
const CLOSE: Duration = Duration::from_millis(5000);
const MAX_PAYLOAD: usize = 300;
