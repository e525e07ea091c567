//! The session's state machine with a virtual clock: every row of the protocol's tables, the races
//! of the upgrade, and random sequences of operations.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use engineio_proto::{
    CloseReason, Data, Encoded, Packet, PacketKind, Session, Version, Violation,
    session::{Event, Lane, LaneChange, Settings, Transmit},
};
use proptest::prelude::*;

const MS: Duration = Duration::from_millis(1);
const INTERVAL: Duration = Duration::from_millis(300);
const TIMEOUT: Duration = Duration::from_millis(200);
const UPGRADE: Duration = Duration::from_millis(1000);
const CLOSE: Duration = Duration::from_millis(5000);

/// A session and a clock.
struct Rig {
    session: Session,
    now: Instant,
}

impl Rig {
    fn new(version: Version, lane: Lane) -> Self {
        let settings = Settings {
            ping_interval: INTERVAL,
            ping_timeout: TIMEOUT,
            upgrade_timeout: UPGRADE,
            close_timeout: CLOSE,
            max_payload: 1000,
        };
        let now = Instant::now();
        let open = Packet::control(PacketKind::Open, "{}".into());
        let session = Session::new(Arc::new(settings), version, lane, open, now);
        Self { session, now }
    }

    /// A session that polls, its open packet taken.
    fn polling(version: Version) -> Self {
        let mut rig = Self::new(version, Lane::Polling);
        assert_eq!(rig.poll(), Ok(Some("0{}".into())));
        rig
    }

    /// A session on a WebSocket, its open packet taken.
    fn socket(version: Version) -> Self {
        let mut rig = Self::new(version, Lane::Socket);
        assert_eq!(rig.frames(), ["0{}"]);
        rig
    }

    fn probing(version: Version) -> Self {
        let mut rig = Self::polling(version);
        rig.lane(LaneChange::Attached).unwrap();
        rig.packet(Lane::Socket, "2probe").unwrap();
        assert_eq!(rig.frames(), ["3probe"]);
        rig
    }

    fn packet(&mut self, from: Lane, packet: &str) -> Result<(), Violation> {
        let kind = PacketKind::from_digit(packet.as_bytes()[0]).unwrap();
        let packet = Packet::control(kind, packet[1..].into());
        self.session.handle_packet(from, packet, self.now)
    }

    fn lane(&mut self, change: LaneChange) -> Result<(), Violation> {
        self.session.handle_lane(change, self.now)
    }

    /// A GET comes; its body, if it is answered at once.
    fn poll(&mut self) -> Result<Option<String>, Violation> {
        self.lane(LaneChange::PollParked)?;
        Ok(self.body())
    }

    fn body(&mut self) -> Option<String> {
        let items = self.session.poll_body()?;
        Some(items.iter().map(show).collect::<Vec<_>>().join(" "))
    }

    fn frames(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.session.poll_frame())
            .map(|it| show(&it))
            .collect()
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.session.poll_event()).collect()
    }

    fn send(&mut self, text: &str) {
        self.session.send(Encoded::text(text));
    }

    fn close(&mut self) {
        self.session.close(CloseReason::ForcedClose, self.now);
    }

    /// Lets time pass, calling the session whenever it wants to be called.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.session.poll_timeout().filter(|due| *due <= end) {
            self.now = due.max(self.now);
            self.session.handle_timeout(self.now);
        }
        self.now = end;
    }
}

fn show(item: &Transmit) -> String {
    match item {
        Transmit::Control(packet) => match &packet.data {
            Data::Text(text) => format!("{}{text}", packet.kind.digit()),
            Data::Binary(_) => unreachable!("control packets are text"),
        },
        Transmit::Message(message) => message.wire_text().unwrap().to_string(),
    }
}

fn message(text: &str) -> Event {
    Event::Message(text.into())
}

fn closed(reason: CloseReason) -> Event {
    Event::Closed(reason)
}

mod heartbeat {
    use super::*;

    #[test]
    fn v4_pings_after_the_interval_and_again_after_each_pong() {
        let mut rig = Rig::socket(Version::V4);
        for _ in 0..5 {
            rig.pass(INTERVAL - MS);
            assert!(rig.frames().is_empty());
            rig.pass(MS);
            assert_eq!(rig.frames(), ["2"]);
            rig.pass(TIMEOUT - MS);
            rig.packet(Lane::Socket, "3").unwrap();
        }
        assert!(rig.session.is_open());
    }

    #[test]
    fn v4_closes_without_a_pong() {
        let mut rig = Rig::socket(Version::V4);
        rig.pass(INTERVAL + TIMEOUT - MS);
        assert!(rig.session.is_open());
        rig.pass(MS);
        assert_eq!(rig.events(), [closed(CloseReason::PingTimeout)]);
    }

    #[test]
    fn v4_other_packets_move_the_deadline_once() {
        let mut rig = Rig::socket(Version::V4);
        rig.pass(INTERVAL + TIMEOUT - MS);
        rig.packet(Lane::Socket, "4a").unwrap();
        rig.pass(TIMEOUT - MS);
        rig.packet(Lane::Socket, "4b").unwrap();
        assert!(rig.session.is_open());
        rig.pass(MS);
        assert!(!rig.session.is_open());
    }

    #[test]
    fn v4_unsolicited_pongs_are_harmless() {
        let mut rig = Rig::socket(Version::V4);
        rig.packet(Lane::Socket, "3").unwrap();
        rig.packet(Lane::Socket, "3").unwrap();
        rig.pass(INTERVAL);
        assert_eq!(rig.frames(), ["2"]);
    }

    #[test]
    fn v4_client_must_not_ping() {
        let mut rig = Rig::socket(Version::V4);
        assert_eq!(
            rig.packet(Lane::Socket, "2"),
            Err(Violation::HeartbeatDirection)
        );
        assert_eq!(rig.events(), [closed(CloseReason::TransportError)]);
    }

    #[test]
    fn v4_ping_waits_for_a_poll_and_the_timeout_runs_anyway() {
        let mut rig = Rig::polling(Version::V4);
        rig.pass(INTERVAL + TIMEOUT - MS);
        assert_eq!(rig.poll(), Ok(Some("2".into())));
        rig.pass(MS);
        assert_eq!(rig.events(), [closed(CloseReason::PingTimeout)]);
    }

    #[test]
    fn timeout_answers_the_waiting_poll_with_close() {
        let mut rig = Rig::polling(Version::V4);
        rig.pass(INTERVAL);
        assert_eq!(rig.poll(), Ok(Some("2".into())));
        assert_eq!(rig.poll(), Ok(None));
        rig.pass(TIMEOUT);
        assert_eq!(rig.body(), Some("1".into()));
    }

    #[test]
    fn what_was_wrong_is_remembered_if_the_session_closes_for_it() {
        let mut rig = Rig::polling(Version::V4);
        rig.lane(LaneChange::Attached).unwrap();
        rig.session
            .handle_violation(Lane::Socket, Violation::UnknownPacket);
        assert_eq!(rig.session.violation(), None, "only the candidate is lost");
        assert!(rig.lane(LaneChange::PostOverlap).is_err());
        assert!(rig.lane(LaneChange::PostAborted).is_err());
        let first = Some(Violation::OverlappingPost);
        assert_eq!(rig.session.violation(), first);

        let mut rig = Rig::socket(Version::V4);
        rig.close();
        rig.session
            .handle_violation(Lane::Socket, Violation::UnknownPacket);
        assert_eq!(rig.session.violation(), None, "it was closing already");
    }

    #[test]
    fn v3_answers_pings_without_their_data() {
        let mut rig = Rig::socket(Version::V3);
        rig.packet(Lane::Socket, "2probe").unwrap();
        assert_eq!(rig.frames(), ["3"]);
    }

    #[test]
    fn v3_closes_without_a_ping() {
        let mut rig = Rig::socket(Version::V3);
        rig.pass(INTERVAL + TIMEOUT - MS);
        rig.packet(Lane::Socket, "4only pings count").unwrap();
        rig.packet(Lane::Socket, "2").unwrap();
        rig.pass(INTERVAL + TIMEOUT - MS);
        assert!(rig.session.is_open());
        rig.packet(Lane::Socket, "4only pings count").unwrap();
        rig.pass(MS);
        assert!(!rig.session.is_open());
    }

    #[test]
    fn v3_client_must_not_pong() {
        let mut rig = Rig::socket(Version::V3);
        assert_eq!(
            rig.packet(Lane::Socket, "3"),
            Err(Violation::HeartbeatDirection)
        );
    }

    #[test]
    fn goes_on_after_an_upgrade() {
        for version in [Version::V3, Version::V4] {
            let mut rig = Rig::probing(version);
            rig.packet(Lane::Socket, "5").unwrap();
            rig.pass(INTERVAL + TIMEOUT);
            let last = rig.events().pop();
            assert_eq!(last, Some(closed(CloseReason::PingTimeout)), "{version:?}");
        }
    }

    #[test]
    fn silence_does_not_count_while_nothing_is_read() {
        for version in [Version::V3, Version::V4] {
            for before in [Duration::ZERO, INTERVAL] {
                let mut rig = Rig::socket(version);
                rig.pass(before);
                rig.session.handle_reading_paused();
                rig.pass(4 * (INTERVAL + TIMEOUT));
                assert!(rig.session.is_open());
                rig.session.handle_reading_resumed(rig.now);
                rig.pass(TIMEOUT - MS);
                assert!(rig.session.is_open());
                rig.pass(INTERVAL + MS);
                assert!(!rig.session.is_open());
            }
        }
    }

    #[test]
    fn pings_go_on_while_nothing_is_read() {
        let mut rig = Rig::socket(Version::V4);
        rig.session.handle_reading_paused();
        rig.pass(INTERVAL);
        assert_eq!(rig.frames(), ["2"]);
        for _ in 0..5 {
            rig.pass(INTERVAL);
            assert_eq!(rig.frames(), ["2"]);
        }
    }

    #[test]
    fn a_client_that_is_never_read_again_is_not_kept_for_ever() {
        for version in [Version::V3, Version::V4] {
            let mut rig = Rig::socket(version);
            rig.session.handle_reading_paused();
            rig.pass(20 * (INTERVAL + TIMEOUT));
            assert_eq!(rig.events(), [closed(CloseReason::PingTimeout)]);
        }
    }

    #[test]
    fn a_process_that_slept_asks_before_it_closes() {
        let mut rig = Rig::socket(Version::V4);
        rig.now += 10 * INTERVAL;
        rig.session.handle_timeout(rig.now);
        assert_eq!(rig.frames(), ["2"]);
        rig.pass(TIMEOUT - MS);
        assert!(rig.session.is_open());
    }
}

mod polling {
    use super::*;

    #[test]
    fn a_poll_waits_until_there_is_something() {
        let mut rig = Rig::polling(Version::V4);
        assert_eq!(rig.poll(), Ok(None));
        rig.send("a");
        rig.send("b");
        assert_eq!(rig.body(), Some("4a 4b".into()));
        rig.send("c");
        assert_eq!(rig.body(), None);
        assert_eq!(rig.poll(), Ok(Some("4c".into())));
    }

    #[test]
    fn control_packets_overtake_messages() {
        let mut rig = Rig::polling(Version::V4);
        rig.send("a");
        rig.pass(INTERVAL);
        assert_eq!(rig.poll(), Ok(Some("2 4a".into())));
    }

    #[test]
    fn a_body_ends_before_it_exceeds_the_limit() {
        let mut rig = Rig::polling(Version::V4);
        rig.send(&"a".repeat(600));
        rig.send(&"b".repeat(600));
        rig.send(&"c".repeat(5000));
        for (letter, length) in [('a', 601), ('b', 601), ('c', 5001)] {
            let body = rig.poll().unwrap().unwrap();
            assert_eq!((body.len(), body.chars().nth(1)), (length, Some(letter)));
        }
    }

    #[test]
    fn a_second_poll_closes_the_session_and_ends_the_first() {
        let mut rig = Rig::polling(Version::V4);
        assert_eq!(rig.poll(), Ok(None));
        assert_eq!(rig.poll(), Err(Violation::OverlappingPoll));
        assert_eq!(rig.body(), Some("1".into()));
        assert_eq!(rig.events(), [closed(CloseReason::TransportError)]);
    }

    #[test]
    fn a_second_post_closes_the_session() {
        let mut rig = Rig::polling(Version::V4);
        assert_eq!(
            rig.lane(LaneChange::PostOverlap),
            Err(Violation::OverlappingPost)
        );
        assert_eq!(rig.events(), [closed(CloseReason::TransportError)]);
    }

    #[test]
    fn a_poll_or_post_that_is_given_up_closes_the_session() {
        let mut rig = Rig::polling(Version::V4);
        assert_eq!(rig.poll(), Ok(None));
        assert_eq!(
            rig.lane(LaneChange::PollAborted),
            Err(Violation::PollAborted)
        );
        assert_eq!(rig.events(), [closed(CloseReason::TransportError)]);
        assert_eq!(rig.body(), None);
        let mut rig = Rig::polling(Version::V4);
        assert_eq!(
            rig.lane(LaneChange::PostAborted),
            Err(Violation::PostAborted)
        );
        assert_eq!(rig.events(), [closed(CloseReason::TransportError)]);
    }

    #[test]
    fn an_unreadable_payload_ends_the_waiting_poll_too() {
        let mut rig = Rig::polling(Version::V4);
        assert_eq!(rig.poll(), Ok(None));
        rig.packet(Lane::Polling, "4before").unwrap();
        rig.session
            .handle_violation(Lane::Polling, Violation::UnknownPacket);
        assert_eq!(
            rig.events(),
            [message("before"), closed(CloseReason::ParseError)]
        );
        assert_eq!(rig.body(), Some("1".into()));
    }

    #[test]
    fn packets_without_a_meaning_here_do_nothing() {
        let mut rig = Rig::polling(Version::V4);
        for packet in ["0", "5", "6"] {
            rig.packet(Lane::Polling, packet).unwrap();
        }
        assert!(rig.events().is_empty());
        assert!(rig.session.is_open());
    }
}

mod upgrade {
    use super::*;

    #[test]
    fn the_dance() {
        let mut rig = Rig::polling(Version::V4);
        assert_eq!(rig.poll(), Ok(None));
        rig.lane(LaneChange::Attached).unwrap();
        assert_eq!(rig.body(), None);
        rig.packet(Lane::Socket, "2probe").unwrap();
        assert_eq!(rig.frames(), ["3probe"]);
        assert_eq!(rig.body(), Some("6".into()));
        rig.send("while nobody listens");
        assert!(rig.frames().is_empty());
        rig.packet(Lane::Socket, "5").unwrap();
        assert_eq!(rig.events(), [Event::Upgraded]);
        assert_eq!(rig.frames(), ["4while nobody listens"]);
        assert_eq!(rig.session.lane(), Lane::Socket);
        assert_eq!(rig.poll(), Err(Violation::TransportMismatch));
        assert_eq!(
            rig.packet(Lane::Polling, "4x"),
            Err(Violation::TransportMismatch)
        );
        assert!(rig.session.is_open());
    }

    #[test]
    fn messages_leave_by_the_poll_until_the_client_moves() {
        let mut rig = Rig::probing(Version::V4);
        rig.send("a");
        assert_eq!(rig.poll(), Ok(Some("4a".into())));
        assert_eq!(rig.poll(), Ok(Some("6".into())));
    }

    #[test]
    fn a_poll_that_waits_when_the_client_moves_gets_a_noop() {
        let mut rig = Rig::polling(Version::V4);
        rig.lane(LaneChange::Attached).unwrap();
        rig.packet(Lane::Socket, "2probe").unwrap();
        rig.lane(LaneChange::PollParked).unwrap();
        rig.packet(Lane::Socket, "5").unwrap();
        rig.send("a");
        assert_eq!(rig.body(), Some("6".into()));
        assert_eq!(rig.frames(), ["4a"]);
    }

    #[test]
    fn other_packets_cost_the_candidate_and_nothing_else() {
        for packet in ["2", "4hello", "5", "3probe", "1", "2Probe"] {
            let mut rig = Rig::polling(Version::V4);
            rig.lane(LaneChange::Attached).unwrap();
            let result = rig.packet(Lane::Socket, packet);
            assert_eq!(result, Err(Violation::UpgradeSequence), "{packet}");
            assert!(rig.session.is_open() && !rig.session.is_probing());
            assert!(rig.events().is_empty());
            rig.send("a");
            assert_eq!(rig.poll(), Ok(Some("4a".into())));
            rig.lane(LaneChange::Attached).unwrap();
            rig.packet(Lane::Socket, "2probe").unwrap();
            rig.packet(Lane::Socket, "5").unwrap();
            assert_eq!(rig.session.lane(), Lane::Socket);
        }
    }

    #[test]
    fn an_unreadable_frame_costs_the_candidate_and_nothing_else() {
        let mut rig = Rig::probing(Version::V4);
        rig.session
            .handle_violation(Lane::Socket, Violation::UnknownPacket);
        assert!(rig.session.is_open() && !rig.session.is_probing());
    }

    #[test]
    fn a_repeated_probe_is_answered_again() {
        let mut rig = Rig::probing(Version::V4);
        rig.packet(Lane::Socket, "2probe").unwrap();
        assert_eq!(rig.frames(), ["3probe"]);
    }

    #[test]
    fn a_candidate_that_goes_away_changes_nothing() {
        for change in [
            LaneChange::Closed,
            LaneChange::Failed,
            LaneChange::Violated(Violation::InvalidFrame),
        ] {
            let mut rig = Rig::probing(Version::V4);
            rig.send("a");
            rig.lane(change).unwrap();
            assert!(rig.session.is_open() && !rig.session.is_probing());
            assert_eq!(rig.poll(), Ok(Some("4a".into())));
            assert_eq!(rig.poll(), Ok(None));
        }
    }

    #[test]
    fn takes_no_longer_than_the_upgrade_timeout() {
        let mut rig = Rig::polling(Version::V3);
        rig.lane(LaneChange::Attached).unwrap();
        for _ in 0..9 {
            rig.packet(Lane::Polling, "2").unwrap();
            rig.pass(UPGRADE / 10);
        }
        rig.packet(Lane::Polling, "2").unwrap();
        rig.pass(UPGRADE / 10 - MS);
        assert!(rig.session.is_probing());
        rig.pass(MS);
        assert!(rig.session.is_open() && !rig.session.is_probing());
    }

    #[test]
    fn a_second_socket_is_refused() {
        let mut rig = Rig::probing(Version::V4);
        assert_eq!(
            rig.lane(LaneChange::Attached),
            Err(Violation::TransportMismatch)
        );
        rig.packet(Lane::Socket, "5").unwrap();
        assert_eq!(
            rig.lane(LaneChange::Attached),
            Err(Violation::TransportMismatch)
        );
        assert!(rig.session.is_open());
    }

    #[test]
    fn requests_after_the_move_do_no_harm() {
        let mut rig = Rig::probing(Version::V4);
        rig.packet(Lane::Socket, "5").unwrap();
        for change in [
            LaneChange::PollParked,
            LaneChange::PostOverlap,
            LaneChange::PostAborted,
        ] {
            assert_eq!(rig.lane(change), Err(Violation::TransportMismatch));
        }
        rig.lane(LaneChange::PollAborted).unwrap();
        assert!(rig.session.is_open());
    }

    #[test]
    fn close_during_the_probe_leaves_by_whichever_way_the_client_takes() {
        let mut rig = Rig::probing(Version::V4);
        rig.send("last words");
        rig.close();
        rig.packet(Lane::Socket, "5").unwrap();
        assert_eq!(rig.frames(), ["4last words"]);
        assert_eq!(rig.session.closed(), Some(CloseReason::ForcedClose));

        let mut rig = Rig::probing(Version::V4);
        rig.send("last words");
        rig.close();
        assert_eq!(rig.poll(), Ok(Some("4last words 1".into())));
        assert_eq!(rig.session.closed(), Some(CloseReason::ForcedClose));
    }
}

mod close {
    use super::*;

    #[test]
    fn by_the_client_over_websocket() {
        let mut rig = Rig::socket(Version::V4);
        rig.packet(Lane::Socket, "4a").unwrap();
        rig.packet(Lane::Socket, "1").unwrap();
        rig.packet(Lane::Socket, "4too late").unwrap();
        assert_eq!(
            rig.events(),
            [message("a"), closed(CloseReason::TransportClose)]
        );
    }

    #[test]
    fn by_the_client_over_polling_releases_the_poll() {
        let mut rig = Rig::polling(Version::V4);
        assert_eq!(rig.poll(), Ok(None));
        rig.packet(Lane::Polling, "1").unwrap();
        assert_eq!(rig.body(), Some("6".into()));
        assert_eq!(rig.poll(), Err(Violation::TransportMismatch));
    }

    #[test]
    fn by_the_client_over_polling_before_its_poll_comes() {
        let mut rig = Rig::polling(Version::V4);
        rig.packet(Lane::Polling, "1").unwrap();
        assert_eq!(rig.events(), [closed(CloseReason::TransportClose)]);
        assert_eq!(rig.poll(), Ok(Some("6".into())));
        assert_eq!(rig.session.closed(), Some(CloseReason::TransportClose));

        let mut rig = Rig::polling(Version::V4);
        rig.packet(Lane::Polling, "1").unwrap();
        rig.pass(Duration::from_secs(1));
        assert_eq!(rig.session.closed(), Some(CloseReason::TransportClose));
    }

    #[test]
    fn by_the_server_with_a_poll_waiting() {
        let mut rig = Rig::polling(Version::V4);
        assert_eq!(rig.poll(), Ok(None));
        rig.close();
        assert_eq!(rig.body(), Some("1".into()));
        assert_eq!(rig.events(), [closed(CloseReason::ForcedClose)]);
    }

    #[test]
    fn by_the_server_without_a_poll() {
        let mut rig = Rig::polling(Version::V4);
        rig.close();
        assert_eq!(rig.events(), [closed(CloseReason::ForcedClose)]);
        rig.packet(Lane::Polling, "4ignored").unwrap();
        assert_eq!(rig.session.closed(), None);
        assert_eq!(rig.poll(), Ok(Some("6 1".into())));
        assert_eq!(rig.session.closed(), Some(CloseReason::ForcedClose));
    }

    #[test]
    fn by_the_server_and_the_client_never_polls_again() {
        let mut rig = Rig::polling(Version::V4);
        rig.send("never taken");
        rig.close();
        rig.pass(CLOSE - MS);
        assert_eq!(rig.session.closed(), None);
        rig.pass(MS);
        assert_eq!(rig.session.closed(), Some(CloseReason::ForcedClose));
        assert_eq!(rig.session.poll_timeout(), None);
    }

    #[test]
    fn by_the_server_sends_what_is_queued_first() {
        let mut rig = Rig::socket(Version::V4);
        rig.send("a");
        rig.send("b");
        rig.close();
        rig.send("too late");
        assert_eq!(rig.session.closed(), None);
        assert_eq!(rig.frames(), ["4a", "4b"]);
        assert_eq!(rig.session.closed(), Some(CloseReason::ForcedClose));
    }

    #[test]
    fn the_reason_never_changes() {
        let mut rig = Rig::polling(Version::V4);
        rig.close();
        rig.session.abort(CloseReason::SlowClient);
        rig.session.close(CloseReason::ServerShuttingDown, rig.now);
        assert_eq!(rig.session.closed(), Some(CloseReason::ForcedClose));
        assert_eq!(rig.events(), [closed(CloseReason::ForcedClose)]);
    }

    #[test]
    fn a_broken_socket_and_an_orderly_one() {
        for (change, reason) in [
            (LaneChange::Closed, CloseReason::TransportClose),
            (LaneChange::Failed, CloseReason::TransportError),
            (
                LaneChange::Violated(Violation::InvalidFrame),
                CloseReason::TransportError,
            ),
        ] {
            let mut rig = Rig::socket(Version::V4);
            rig.lane(change).unwrap();
            let violation = match change {
                LaneChange::Violated(violation) => Some(violation),
                _ => None,
            };
            assert_eq!(rig.session.violation(), violation);
            assert_eq!(rig.events(), [closed(reason)]);
        }
    }
}

#[test]
fn a_session_stays_small() {
    assert!(size_of::<Session>() <= 256, "{} B", size_of::<Session>());
}

/// What the outside can do to a session.
#[derive(Clone, Debug)]
enum Operation {
    Packet(Lane, &'static str),
    Lane(LaneChange),
    Violation(Lane),
    Send,
    Close,
    Abort,
    Pause,
    Resume,
    Pass(u16),
}

fn operation() -> impl Strategy<Value = Operation> {
    let lane = prop_oneof![Just(Lane::Polling), Just(Lane::Socket)];
    let packet = prop::sample::select(vec!["0", "1", "2", "2probe", "3", "3probe", "4m", "5", "6"]);
    let change = prop::sample::select(vec![
        LaneChange::PollParked,
        LaneChange::PollParked,
        LaneChange::PollAborted,
        LaneChange::PostOverlap,
        LaneChange::PostAborted,
        LaneChange::Attached,
        LaneChange::Attached,
        LaneChange::Closed,
        LaneChange::Failed,
        LaneChange::Violated(Violation::MessageTooLarge),
    ]);
    prop_oneof![
        8 => (lane.clone(), packet).prop_map(|(lane, packet)| Operation::Packet(lane, packet)),
        6 => change.prop_map(Operation::Lane),
        1 => lane.prop_map(Operation::Violation),
        6 => Just(Operation::Send),
        1 => Just(Operation::Close),
        1 => Just(Operation::Abort),
        1 => Just(Operation::Pause),
        1 => Just(Operation::Resume),
        3 => (0u16..400).prop_map(Operation::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    /// Whatever happens in whatever order: nothing panics, messages leave in the order they were
    /// sent, each at most once; what the peer sent is heard in order; the end is told exactly
    /// once and last; and a session that is over wants nothing more.
    #[test]
    fn any_sequence_of_operations(
        v4 in any::<bool>(),
        on_socket in any::<bool>(),
        operations in prop::collection::vec(operation(), 0..60),
    ) {
        let version = if v4 { Version::V4 } else { Version::V3 };
        let lane = if on_socket { Lane::Socket } else { Lane::Polling };
        let mut rig = Rig::new(version, lane);
        let mut sent = Vec::new();
        let mut left = Vec::new();
        let mut heard_end = 0;
        let mut was_open = true;
        for operation in operations {
            match operation {
                Operation::Packet(lane, packet) => {
                    let before = rig.session.is_open();
                    let _ = rig.packet(lane, packet);
                    prop_assert!(before || !rig.session.is_open(), "came back to life");
                }
                Operation::Lane(change) => { let _ = rig.lane(change); }
                Operation::Violation(lane) => {
                    rig.session.handle_violation(lane, Violation::InvalidPayload);
                }
                Operation::Send => {
                    let text = sent.len().to_string();
                    if rig.session.is_open() {
                        sent.push(format!("4{text}"));
                    }
                    rig.send(&text);
                }
                Operation::Close => rig.close(),
                Operation::Abort => rig.session.abort(CloseReason::SlowClient),
                Operation::Pause => rig.session.handle_reading_paused(),
                Operation::Resume => rig.session.handle_reading_resumed(rig.now),
                Operation::Pass(millis) => rig.pass(u32::from(millis) * MS),
            }
            if let Some(body) = rig.body() {
                left.extend(body.split(' ').filter(|it| it.starts_with('4')).map(str::to_owned));
                prop_assert!(!rig.session.poll_parked());
            }
            left.extend(rig.frames().into_iter().filter(|it| it.starts_with('4')));
            for event in rig.events() {
                prop_assert_eq!(heard_end, 0, "an event after the end");
                heard_end += usize::from(matches!(event, Event::Closed(_)));
            }
            prop_assert_eq!(rig.session.inbox_bytes(), 0);
            prop_assert_eq!(heard_end, usize::from(!rig.session.is_open()));
            prop_assert!(was_open || !rig.session.is_open());
            was_open = rig.session.is_open();
            prop_assert!(sent.starts_with(&left), "left {left:?} of {sent:?}");
        }
        // A client that goes on polling, or reading, gets all that was sent while it was there.
        if rig.session.is_open() {
            if rig.session.lane() == Lane::Polling {
                if !rig.session.poll_parked() {
                    rig.lane(LaneChange::PollParked).unwrap();
                }
                while let Some(body) = rig.body() {
                    left.extend(body.split(' ').filter(|it| it.starts_with('4')).map(str::to_owned));
                    if rig.session.is_drained() {
                        break;
                    }
                    rig.lane(LaneChange::PollParked).unwrap();
                }
            }
            prop_assert_eq!(&left, &sent);
        }
        rig.session.abort(CloseReason::ForcedClose);
        rig.body();
        prop_assert!(rig.session.closed().is_some());
        prop_assert_eq!(rig.session.poll_timeout(), None);
    }
}
