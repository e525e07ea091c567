//! Connection state recovery.

use std::{
    future::Future as _,
    pin::pin,
    sync::Arc,
    task::{Context, Wake, Waker},
    time::Duration,
};

use bytes::Bytes;
use engineio::CloseReason;
use futures_util::Stream as _;
use serde_json::Value;
use socketio_adapter::MemoryAdapter;
use socketio_proto::Codec;
use tokio::sync::Semaphore;

use super::peer::{Log, Peer, server_with};
use crate::{
    ConnectError, ConnectionStateRecovery, DisconnectReason, Socket, SocketIo,
    handler::{Data, State},
    namespace::Member,
    parser::{Data as Message, Encoded, Limits, MsgpackParser, Packet, PacketKind, Parser as _},
    recovery::Packets,
};

/// What a client knows of its session.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub(super) sid: String,
    pub(super) pid: String,
    pub(super) offset: Option<String>,
}

impl Session {
    /// From the packets that a client gets when it connects.
    pub(super) fn of(packets: &[String]) -> Self {
        let connect = packets.iter().find(|it| it.starts_with('0')).unwrap();
        let json: Value = serde_json::from_str(connect.strip_prefix('0').expect(connect)).unwrap();
        let text = |name: &str| json[name].as_str().expect(connect).to_owned();
        Self {
            sid: text("sid"),
            pid: text("pid"),
            offset: None,
        }
    }

    /// Reads events as the official client does, and remembers their offset.
    pub(super) fn read(&mut self, packets: &[String]) -> Vec<String> {
        let mut events = Vec::new();
        for packet in packets {
            let Some(json) = packet.strip_prefix('2') else {
                continue;
            };
            let mut array: Vec<Value> = serde_json::from_str(json).unwrap();
            // The name too, if there is nothing behind it.
            if let Some(Value::String(offset)) = array.last() {
                self.offset = Some(offset.clone());
                array.pop();
            }
            events.push(Value::from(array).to_string());
        }
        events
    }

    /// The CONNECT of a client that wants it back.
    pub(super) fn connect(&self) -> String {
        let mut auth = serde_json::json!({ "pid": self.pid });
        if let Some(offset) = &self.offset {
            auth["offset"] = offset.as_str().into();
        }
        format!("0{auth}")
    }
}

fn server(options: ConnectionStateRecovery) -> (SocketIo, Log) {
    server_with(|builder| builder.connection_state_recovery(options))
}

async fn connect(io: &SocketIo) -> (Peer, Session) {
    let mut peer = Peer::open(io).await;
    peer.send("0");
    let session = Session::of(&peer.received());
    (peer, session)
}

/// A client that comes back, and what it has missed.
pub(super) async fn reconnect(io: &SocketIo, session: &mut Session) -> (Peer, Vec<String>, bool) {
    let mut peer = Peer::open(io).await;
    peer.send(&session.connect());
    let packets = peer.received();
    let after = Session::of(&packets);
    let recovered = after.pid == session.pid;
    assert_eq!(recovered, after.sid == session.sid);
    assert_eq!(recovered, peer.socket().recovered());
    let missed = session.read(&packets);
    // It does not forget the offset of the session before.
    (session.sid, session.pid) = (after.sid, after.pid);
    (peer, missed, recovered)
}

fn lose(mut peer: Peer) {
    peer.close(CloseReason::TransportClose);
}

#[tokio::test]
async fn missed_events_come_back_in_order_before_the_connect_packet() {
    let (io, _) = server(ConnectionStateRecovery::new());
    let (mut peer, mut session) = connect(&io).await;
    peer.socket().join("room");
    io.emit("first", &1).unwrap();
    assert_eq!(session.read(&peer.received()), [r#"["first",1]"#]);
    let id = session.sid.clone();
    lose(peer);
    io.emit("all", &2).unwrap();
    io.to("room").emit("room", &3).unwrap();
    io.to("other").emit("other", &4).unwrap();
    io.except("room").emit("except", &5).unwrap();
    io.to(&id).emit("mine", &()).unwrap();
    io.volatile().emit("volatile", &6).unwrap();
    drop(io.emit_with_ack::<()>("ack", &7));
    let (peer, missed, recovered) = reconnect(&io, &mut session).await;
    assert!(recovered);
    assert_eq!(missed, [r#"["all",2]"#, r#"["room",3]"#, r#"["mine"]"#]);
    assert_eq!(peer.socket().id(), id);
    assert_eq!(peer.socket().rooms().len(), 2);
}

#[tokio::test]
async fn rooms_and_data_come_back() {
    let (io, _) = server(ConnectionStateRecovery::new());
    let (peer, mut session) = connect(&io).await;
    peer.socket().join(["a", "b", "c"]);
    peer.socket().leave("b");
    peer.socket().set_data(&("ann", 7)).unwrap();
    lose(peer);
    assert_eq!(io.of("/").rooms().len(), 0);
    let (peer, missed, recovered) = reconnect(&io, &mut session).await;
    assert!(recovered && missed.is_empty());
    let rooms = peer.socket().rooms();
    assert_eq!(
        rooms.iter().map(|it| &**it).collect::<Vec<_>>(),
        [&session.sid, "a", "c"]
    );
    assert_eq!(
        peer.socket().data::<(String, u8)>().unwrap(),
        ("ann".into(), 7)
    );
}

/// The official server cannot: a client without an offset is refused there.
#[tokio::test]
async fn a_client_that_never_got_an_event_is_recovered() {
    let (io, _) = server(ConnectionStateRecovery::new());
    io.emit("before", &0).unwrap();
    let (peer, mut session) = connect(&io).await;
    lose(peer);
    io.emit("missed", &1).unwrap();
    let (_peer, missed, recovered) = reconnect(&io, &mut session).await;
    assert!(recovered);
    assert_eq!(missed, [r#"["missed",1]"#]);
}

#[tokio::test]
async fn a_session_is_recovered_any_number_of_times() {
    let (io, _) = server(ConnectionStateRecovery::new());
    let (mut peer, mut session) = connect(&io).await;
    for round in 0..10 {
        lose(peer);
        if round % 3 > 0 {
            io.emit("missed", &round).unwrap();
        }
        let (again, missed, recovered) = reconnect(&io, &mut session).await;
        assert!(recovered, "{round}");
        assert_eq!(missed.len(), usize::from(round % 3 > 0), "{round}");
        peer = again;
        if round % 2 > 0 {
            io.emit("live", &round).unwrap();
            assert_eq!(session.read(&peer.received()).len(), 1);
        }
    }
}

/// The official server restores the same state as often as somebody asks, also at the same time.
#[tokio::test]
async fn a_session_is_restored_once_at_a_time() {
    let (io, log) = server(ConnectionStateRecovery::new());
    io.on_disconnect(async |State(log): State<Log>, reason: DisconnectReason| {
        log.push(reason);
    });
    let (mut old, mut session) = connect(&io).await;
    // The server has not noticed yet that the first connection is gone.
    let (mut new, _, recovered) = reconnect(&io, &mut session).await;
    assert!(recovered);
    assert_eq!(io.of("/").len(), 1);
    old.turn();
    assert!(old.is_closed());
    assert_eq!(log.take(), ["transport close"]);
    io.emit("live", &1).unwrap();
    assert_eq!(new.received().len(), 1);
    assert!(old.received().is_empty());
}

#[tokio::test]
async fn all_namespaces_of_a_connection_are_recovered() {
    let (io, _) = server(ConnectionStateRecovery::new());
    io.of("/a");
    let (mut peer, mut session) = connect(&io).await;
    peer.send("0/a,");
    let packet = peer.received_one();
    let mut other = Session::of(&[packet.replace("0/a,", "0")]);
    io.of("/a").emit("x", &1).unwrap();
    other.read(&[peer.received_one().replace("/a,", "")]);
    // Both on a new connection, while the old one is there.
    let (mut new, _, recovered) = reconnect(&io, &mut session).await;
    assert!(recovered);
    io.of("/a").emit("x", &2).unwrap();
    peer.turn();
    new.send(&other.connect().replacen('0', "0/a,", 1));
    let packets = new.received();
    assert!(packets[0].starts_with(r#"2/a,["x",2,"#), "{packets:?}");
    assert!(packets[1].contains(&other.pid), "{packets:?}");
}

#[tokio::test]
async fn what_was_said_in_a_room_before_it_was_joined_is_not_missed() {
    let (io, _) = server(ConnectionStateRecovery::new());
    let (mut peer, mut session) = connect(&io).await;
    io.emit("all", &1).unwrap();
    session.read(&peer.received());
    io.to("secret").emit("secret", &2).unwrap();
    peer.socket().join("secret");
    lose(peer);
    io.to("secret").emit("secret", &3).unwrap();
    let (_peer, missed, recovered) = reconnect(&io, &mut session).await;
    assert!(recovered);
    assert_eq!(missed, [r#"["secret",3]"#]);
}

#[tokio::test]
async fn middlewares_are_skipped_unless_they_are_not_to_be() {
    for skip in [true, false] {
        let (io, log) = server(ConnectionStateRecovery::new().skip_middlewares(skip));
        io.middleware(async |socket: Socket, State(log): State<Log>| {
            log.push(socket.recovered());
            Ok::<_, ConnectError>(())
        });
        let (peer, mut session) = connect(&io).await;
        lose(peer);
        let (_peer, _, recovered) = reconnect(&io, &mut session).await;
        assert!(recovered);
        let seen = log.take();
        if skip {
            assert_eq!(seen, ["false"]);
        } else {
            assert_eq!(seen, ["false", "true"]);
        }
    }
}

#[tokio::test]
async fn a_client_that_was_refused_may_try_again() {
    let (io, log) = server(ConnectionStateRecovery::new().skip_middlewares(false));
    io.middleware(async |State(log): State<Log>| {
        let lines = log.take();
        lines.is_empty().then_some(()).ok_or("not now")
    });
    let (peer, session) = connect(&io).await;
    lose(peer);
    io.emit("missed", &1).unwrap();
    log.push("refuse");
    let mut peer = Peer::open(&io).await;
    peer.send(&session.connect());
    assert_eq!(peer.received_one(), r#"4{"message":"not now"}"#);
    peer.send(&session.connect());
    let packets = peer.received();
    assert_eq!(packets.len(), 2, "{packets:?}");
    assert!(packets[1].contains(&session.pid));
}

#[tokio::test]
async fn who_left_or_was_sent_away_is_not_recovered() {
    let (io, _) = server(ConnectionStateRecovery::new());
    for how in ["left", "kicked", "parse error"] {
        let (mut peer, mut session) = connect(&io).await;
        match how {
            "left" => peer.send("1"),
            "kicked" => {
                peer.socket().disconnect();
                peer.turn();
            }
            _ => {
                peer.close(CloseReason::ParseError);
            }
        }
        let (_peer, _, recovered) = reconnect(&io, &mut session).await;
        assert!(!recovered, "{how}");
    }
}

#[tokio::test]
async fn what_is_not_known_gives_a_new_session() {
    let (io, _) = server(ConnectionStateRecovery::new());
    let (peer, session) = connect(&io).await;
    lose(peer);
    for (pid, offset) in [
        ("nobody", None),
        (&*session.pid, Some("garbage")),
        (&*session.pid, Some("")),
    ] {
        let mut wrong = Session {
            pid: pid.into(),
            offset: offset.map(Into::into),
            ..session.clone()
        };
        let (_peer, missed, recovered) = reconnect(&io, &mut wrong).await;
        assert!(!recovered && missed.is_empty(), "{pid} {offset:?}");
    }
    for auth in [
        r#"{"pid":1}"#,
        r#"{"pid":null,"offset":[]}"#,
        r#"{"offset":"x"}"#,
    ] {
        let mut peer = Peer::open(&io).await;
        peer.send(&format!("0{auth}"));
        assert_ne!(Session::of(&peer.received()).pid, session.pid);
    }
    let (_peer, _, recovered) = reconnect(&io, &mut session.clone()).await;
    assert!(recovered);
}

#[tokio::test]
async fn without_the_option_there_is_no_pid_and_no_offset() {
    let (io, _) = server_with(|builder| builder);
    let mut peer = Peer::connect(&io).await;
    io.emit("a", &1).unwrap();
    assert_eq!(peer.received_one(), r#"2["a",1]"#);
    assert!(!peer.socket().recovered());
}

/// They see one in the official server.
#[tokio::test]
async fn old_clients_see_no_offset() {
    let (io, _) = server(ConnectionStateRecovery::new());
    let (mut new, mut session) = connect(&io).await;
    let mut old = Peer::open_old(&io, "").await;
    assert_eq!(old.received_one(), "0");
    io.emit("a", &1).unwrap();
    assert_eq!(old.received_one(), r#"2["a",1]"#);
    assert_eq!(session.read(&new.received()), [r#"["a",1]"#]);
    old.socket().emit("b", &2).unwrap();
    assert_eq!(old.received_one(), r#"2["b",2]"#);
    old.close(CloseReason::TransportClose);
}

#[tokio::test(start_paused = true)]
async fn a_session_is_kept_as_long_as_said_and_its_memory_comes_back() {
    let options = ConnectionStateRecovery::new();
    let (io, _) = server(options.max_disconnection_duration(Duration::from_secs(60)));
    let main = io.of("/");
    let recovery = main.recovery().unwrap();
    let (peer, mut session) = connect(&io).await;
    lose(peer);
    tokio::time::sleep(Duration::from_secs(59)).await;
    let (peer, _, recovered) = reconnect(&io, &mut session).await;
    assert!(recovered);
    io.emit("kept", &"for a while").unwrap();
    assert!(recovery.budget().used() > 0);
    lose(peer);
    tokio::time::sleep(Duration::from_secs(61)).await;
    let (mut peer, _, recovered) = reconnect(&io, &mut session).await;
    assert!(!recovered);
    peer.send("1");
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(recovery.budget().used(), 0);
}

#[tokio::test]
async fn who_missed_more_than_is_kept_gets_a_new_session() {
    let options = ConnectionStateRecovery::new().max_room_bytes(2_000);
    let (io, _) = server(options);
    let text = "x".repeat(500);
    let (busy, mut busy_session) = connect(&io).await;
    busy.socket().join("busy");
    let (quiet, mut quiet_session) = connect(&io).await;
    quiet.socket().join("quiet");
    lose(busy);
    lose(quiet);
    io.to("quiet").emit("quiet", &1).unwrap();
    for _ in 0..10 {
        io.to("busy").emit("busy", &text).unwrap();
    }
    let (_busy, missed, recovered) = reconnect(&io, &mut busy_session).await;
    assert!(!recovered && missed.is_empty());
    let (_quiet, missed, recovered) = reconnect(&io, &mut quiet_session).await;
    assert!(recovered);
    assert_eq!(missed, [r#"["quiet",1]"#]);
}

#[tokio::test]
async fn all_that_is_kept_is_bounded() {
    let options = ConnectionStateRecovery::new().max_bytes(20_000);
    let (io, _) = server(options);
    let main = io.of("/");
    let recovery = main.recovery().unwrap();
    let (peer, mut session) = connect(&io).await;
    lose(peer);
    for number in 0..1000 {
        io.to(format!("room {}", number % 20))
            .emit("x", &"y".repeat(100))
            .unwrap();
        assert!(recovery.budget().used() <= 20_000);
    }
    // None of them was for this socket.
    let (peer, missed, recovered) = reconnect(&io, &mut session).await;
    assert!(recovered && missed.is_empty());
    lose(peer);
    for number in 0..10_000 {
        io.to(format!("room {number}")).emit("x", &()).unwrap();
        assert!(recovery.budget().used() <= 20_000);
    }
    // Where so many were lost is not remembered for ever.
    let (peer, missed, recovered) = reconnect(&io, &mut session).await;
    assert!(!recovered && missed.is_empty());
    lose(peer);
    let (_peer, _, recovered) = reconnect(&io, &mut session).await;
    assert!(recovered);
    for _ in 0..200 {
        let (peer, _) = connect(&io).await;
        peer.socket().set_data(&"z".repeat(1000)).unwrap();
        lose(peer);
        assert!(recovery.budget().used() <= 20_000);
    }
}

/// A client takes the last element of any event for an offset if it is text, the name too.
#[tokio::test]
async fn an_event_that_is_not_kept_does_not_spoil_the_offset() {
    let (io, _) = server(ConnectionStateRecovery::new());
    io.middleware(async |socket: Socket| {
        socket.emit("welcome", &"text").unwrap();
        Ok::<_, ConnectError>(())
    });
    let (peer, mut session) = connect(&io).await;
    let mut old = Peer::open_old(&io, "").await;
    assert_eq!(old.received(), [r#"2["welcome","text"]"#, "0"]);
    assert_eq!(session.offset, None);
    // What clients of writable sessions get.
    let main = io.of("/");
    let ticks = [
        Packets::unkept(&main, "tick", &"text", true).unwrap(),
        Packets::unkept(&main, "tick", &(), true).unwrap(),
        Packets::unkept(&main, "tick", &("text", 1), true).unwrap(),
    ];
    let member = Member::new(&old.socket());
    let text = |packet: Encoded| packet.wire_text().unwrap()[1..].to_owned();
    let new: Vec<_> = ticks.iter().map(|it| text(it.new_clients())).collect();
    let plain = ticks.each_ref().map(|it| text(it.of(&member)));
    assert_eq!(
        plain,
        [
            r#"2["tick","text"]"#,
            r#"2["tick"]"#,
            r#"2["tick","text",1]"#
        ]
    );
    session.read(&new);
    assert_eq!(new[..2], [r#"2["tick","text",null]"#, r#"2["tick",null]"#]);
    assert_eq!(new[2], plain[2]);
    assert_eq!(session.offset, None);
    lose(peer);
    io.emit("b", &2).unwrap();
    let (_peer, missed, recovered) = reconnect(&io, &mut session).await;
    assert!(recovered);
    assert_eq!(missed, [r#"["b",2]"#]);
}

#[tokio::test]
async fn what_other_servers_sent_meanwhile_comes_back_too() {
    let cluster = MemoryAdapter::new();
    let server = || {
        let (cluster, options) = (cluster.clone(), ConnectionStateRecovery::new());
        server_with(|builder| builder.adapter(cluster).connection_state_recovery(options)).0
    };
    let (here, there) = (server(), server());
    let (mut peer, mut session) = connect(&here).await;
    peer.socket().join("room");
    there.emit("first", &1).unwrap();
    assert_eq!(session.read(&peer.received()), [r#"["first",1]"#]);
    lose(peer);
    there.to("room").emit("room", &2).unwrap();
    here.emit("from here", &3).unwrap();
    there.to(&session.sid).emit("mine", &4).unwrap();
    there.except("room").emit("except", &5).unwrap();
    there.volatile().emit("volatile", &6).unwrap();
    there.local().emit("local", &7).unwrap();
    drop(there.emit_with_ack::<()>("ack", &8));
    let (peer, missed, recovered) = reconnect(&here, &mut session).await;
    assert!(recovered);
    let expected = [r#"["room",2]"#, r#"["from here",3]"#, r#"["mine",4]"#];
    assert_eq!(missed, expected);
    lose(peer);
    // Another server knows nothing of it, and the client begins anew.
    let (_peer, missed, recovered) = reconnect(&there, &mut session).await;
    assert!(!recovered);
    assert!(missed.is_empty());
}

/// Nobody else is connected, and still it is not as if nobody could come back.
#[tokio::test]
async fn what_is_sent_while_a_client_is_in_middleware_is_not_lost() {
    let gate = Arc::new(Semaphore::new(1));
    let options = ConnectionStateRecovery::new().skip_middlewares(false);
    let (io, _) = server_with(|builder| {
        let builder = builder.state(gate.clone());
        builder.connection_state_recovery(options)
    });
    io.middleware(async |State(gate): State<Arc<Semaphore>>| {
        gate.acquire().await.unwrap().forget();
        Ok::<_, ConnectError>(())
    });
    let (peer, mut session) = connect(&io).await;
    lose(peer);
    io.emit("a", &1).unwrap();
    let mut peer = Peer::open(&io).await;
    peer.send(&session.connect());
    io.emit("a", &2).unwrap();
    gate.add_permits(1);
    peer.settle().await;
    io.emit("a", &3).unwrap();
    assert!(peer.socket().recovered());
    let missed = session.read(&peer.received());
    assert_eq!(missed, [r#"["a",1]"#, r#"["a",2]"#, r#"["a",3]"#]);
}

/// What it has missed may be too old to be kept by then.
#[tokio::test(start_paused = true)]
async fn a_client_that_is_in_middleware_for_too_long_gets_a_new_session() {
    let options = ConnectionStateRecovery::new().skip_middlewares(false);
    let options = options.max_disconnection_duration(Duration::from_secs(60));
    let (io, _) = server_with(|builder| {
        let builder = builder.connect_timeout(Duration::from_secs(1000));
        builder.connection_state_recovery(options)
    });
    io.middleware(async |socket: Socket| {
        if socket.recovered() {
            tokio::time::sleep(Duration::from_secs(300)).await;
        }
        Ok::<_, ConnectError>(())
    });
    let (peer, session) = connect(&io).await;
    lose(peer);
    io.emit("a", &1).unwrap();
    let mut peer = Peer::open(&io).await;
    peer.send(&session.connect());
    tokio::time::sleep(Duration::from_secs(301)).await;
    peer.settle().await;
    let packets = peer.received();
    assert_eq!(packets.len(), 1, "{packets:?}");
    assert_ne!(Session::of(&packets).pid, session.pid);
    assert!(!peer.socket().recovered());
}

#[tokio::test]
async fn what_was_under_way_when_rooms_changed_is_sent_again() {
    let (io, _) = server(ConnectionStateRecovery::new());
    let (mut peer, mut session) = connect(&io).await;
    let socket = peer.socket();
    socket.join(["left", "excepted"]);
    io.emit("seen", &0).unwrap();
    session.read(&peer.received());
    io.to("left").emit("left", &1).unwrap();
    io.to("joined").emit("joined", &2).unwrap();
    io.except("excepted").emit("excepted", &3).unwrap();
    io.except("joined").emit("all", &4).unwrap();
    socket.leave("left");
    socket.leave("excepted");
    socket.join("joined");
    io.to("left").emit("left", &5).unwrap();
    io.except("joined").emit("all", &6).unwrap();
    socket.join("left");
    io.to("left").emit("left", &7).unwrap();
    let live = session.clone().read(&peer.received());
    assert_eq!(live, [r#"["left",1]"#, r#"["all",4]"#, r#"["left",7]"#]);
    // None of it has arrived.
    lose(peer);
    let (_peer, missed, recovered) = reconnect(&io, &mut session).await;
    assert!(recovered);
    assert_eq!(missed, live);
}

#[tokio::test]
async fn who_left_more_rooms_than_are_remembered_gets_a_new_session() {
    let (io, _) = server(ConnectionStateRecovery::new());
    let (mut peer, mut session) = connect(&io).await;
    let socket = peer.socket();
    for number in 0..300 {
        let room = format!("room {number}");
        socket.join(&room);
        io.to(&room).emit("a", &number).unwrap();
        socket.leave(&room);
    }
    let packets = peer.received();
    session.read(&packets[..200]);
    let mut late = session.clone();
    session.read(&packets[200..]);
    lose(peer);
    let (peer, missed, recovered) = reconnect(&io, &mut session).await;
    assert!(recovered && missed.is_empty());
    lose(peer);
    let (peer, missed, recovered) = reconnect(&io, &mut late).await;
    assert!(recovered);
    assert_eq!(missed.len(), 100);
    lose(peer);
    late.offset = None;
    let (_peer, missed, recovered) = reconnect(&io, &mut late).await;
    assert!(!recovered && missed.is_empty());
}

/// As with the official server: there it is a broadcast to the room of the socket.
#[tokio::test]
async fn what_is_sent_to_a_socket_that_is_gone_for_the_time_being_is_kept() {
    let (io, _) = server(ConnectionStateRecovery::new());
    let (peer, mut session) = connect(&io).await;
    let first = peer.socket();
    lose(peer);
    first.emit("a", &1).unwrap();
    assert!(!first.volatile().emit("a", &2).unwrap());
    let (mut peer, missed, recovered) = reconnect(&io, &mut session).await;
    assert!(recovered);
    assert_eq!(missed, [r#"["a",1]"#]);
    // The handlers of the first connection may still be at work.
    assert!(first.volatile().compress(false).emit("a", &3).is_ok());
    first.emit("a", &4).unwrap();
    assert_eq!(session.read(&peer.received()), [r#"["a",4]"#]);
    peer.socket().disconnect();
    peer.turn();
    peer.received();
    first.emit("a", &5).unwrap();
    peer.send("0");
    assert_eq!(peer.received().len(), 1);
}

#[tokio::test]
async fn an_offset_of_another_server_is_older_than_the_session() {
    let (io, _) = server(ConnectionStateRecovery::new());
    let (before, _) = server(ConnectionStateRecovery::new());
    let (mut peer, mut session) = connect(&before).await;
    before.emit("a", &1).unwrap();
    session.read(&peer.received());
    let (peer, missed, recovered) = reconnect(&io, &mut session).await;
    assert!(!recovered && missed.is_empty());
    assert!(session.offset.is_some());
    lose(peer);
    io.emit("a", &2).unwrap();
    let (_peer, missed, recovered) = reconnect(&io, &mut session).await;
    assert!(recovered);
    assert_eq!(missed, [r#"["a",2]"#]);
}

#[tokio::test]
async fn an_event_that_was_received_and_then_dropped_for_its_size_does_not_bring_back_others() {
    let options = ConnectionStateRecovery::new().max_room_bytes(2_000);
    let (io, _) = server(options);
    let (mut peer, mut session) = connect(&io).await;
    peer.socket().join(["busy", "quiet"]);
    io.to("quiet").emit("quiet", &1).unwrap();
    io.to("busy").emit("busy", &2).unwrap();
    assert_eq!(session.read(&peer.received()).len(), 2);
    peer.socket().leave("busy");
    lose(peer);
    for _ in 0..10 {
        io.to("busy").emit("busy", &"x".repeat(500)).unwrap();
    }
    io.to("quiet").emit("quiet", &3).unwrap();
    let (_peer, missed, _) = reconnect(&io, &mut session).await;
    let expected: &[&str] = &[r#"["quiet",3]"#];
    assert_eq!(missed, expected);
}

/// As when its connection had closed before it came back.
#[tokio::test]
async fn what_a_client_sent_before_it_came_back_is_handled() {
    let gate = Arc::new(Semaphore::new(0));
    let options = ConnectionStateRecovery::new();
    let (io, log) = server_with(|builder| {
        let builder = builder.state(gate.clone()).max_in_flight(1);
        builder.connection_state_recovery(options)
    });
    io.on(
        "e",
        async |State(gate): State<Arc<Semaphore>>, State(log): State<Log>, Data(n): Data<u8>| {
            gate.acquire().await.unwrap().forget();
            log.push(n);
        },
    );
    io.on_disconnect(async |State(log): State<Log>, reason: DisconnectReason| {
        log.push(reason);
    });
    let (mut old, mut session) = connect(&io).await;
    for number in 0..3 {
        old.send(&format!(r#"2["e",{number}]"#));
    }
    let (_new, _, recovered) = reconnect(&io, &mut session).await;
    assert!(recovered);
    old.turn();
    assert!(old.is_closed());
    gate.add_permits(3);
    old.settle().await;
    assert_eq!(log.take(), ["0", "1", "2", "transport close"]);
    assert!(old.turn());
}

#[tokio::test(start_paused = true)]
async fn a_child_to_which_somebody_may_come_back_is_not_removed() {
    let options = ConnectionStateRecovery::new();
    let options = options.max_disconnection_duration(Duration::from_secs(60));
    let (io, _) = server_with(|builder| {
        let builder = builder.connection_state_recovery(options);
        builder.cleanup_empty_child_namespaces(true)
    });
    let parent = io.of_dynamic("/room/{id}");
    let names = || parent.children().len();
    let join = async |auth: &str| {
        let mut peer = Peer::open(&io).await;
        peer.send(&format!("0/room/1,{auth}"));
        peer.settle().await;
        let packets = peer.received();
        let packets = packets.iter().map(|it| it.replacen("/room/1,", "", 1));
        (peer, packets.collect::<Vec<_>>())
    };
    let (peer, packets) = join("").await;
    let session = Session::of(&packets);
    lose(peer);
    assert_eq!(names(), 1);
    parent.emit("missed", &1).unwrap();
    let (mut peer, packets) = join(&session.connect()[1..]).await;
    assert_eq!(packets.len(), 2, "{packets:?}");
    assert_eq!(Session::of(&packets).pid, session.pid);
    lose(peer);
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert_eq!(names(), 0);
    // Who leaves for good does not come back.
    (peer, _) = join("").await;
    assert_eq!(names(), 1);
    peer.send("1/room/1,");
    assert_eq!(names(), 0);
    // Its place may be needed before.
    (peer, _) = join("").await;
    lose(peer);
    assert_eq!(names(), 1);
}

#[tokio::test]
async fn what_a_namespace_has_kept_is_given_back_with_it() {
    let (io, _) = server_with(|builder| {
        let builder = builder.connection_state_recovery(ConnectionStateRecovery::new());
        builder.max_dynamic_namespaces(1)
    });
    io.of_dynamic("/room/{id}");
    let main = io.of("/");
    let budget = main.recovery().unwrap().budget();
    for round in 0..3 {
        let name = format!("/room/{round}");
        let mut peer = Peer::open(&io).await;
        peer.send(&format!("0{name},"));
        peer.settle().await;
        io.of(&name).emit("e", &1).unwrap();
        assert_eq!(peer.received().len(), 2);
        lose(peer);
        let used = budget.used();
        assert!((500..1500).contains(&used), "{used}");
    }
}

/// It may be the waker of anything.
#[tokio::test]
async fn who_waits_for_an_answer_is_woken_without_a_lock() {
    struct Sender(SocketIo, Log);

    impl Wake for Sender {
        fn wake(self: Arc<Self>) {
            self.0.emit("woken", &()).unwrap();
            self.1.push("woken");
        }
    }

    let (io, log) = server(ConnectionStateRecovery::new());
    let (peer, _) = connect(&io).await;
    let answer = peer.socket().emit_with_ack::<u8>("?", &());
    let answers = io.emit_with_ack::<u8>("?", &());
    let (mut answer, mut answers) = (pin!(answer), pin!(answers));
    let waker = Waker::from(Arc::new(Sender(io.clone(), log.clone())));
    let mut cx = Context::from_waker(&waker);
    assert!(answer.as_mut().poll(&mut cx).is_pending());
    assert!(answers.as_mut().poll_next(&mut cx).is_pending());
    lose(peer);
    assert!(!log.take().is_empty());
}

#[tokio::test]
async fn the_room_of_a_socket_is_its_own_after_it_came_back() {
    let (io, _) = server(ConnectionStateRecovery::new());
    let (peer, mut session) = connect(&io).await;
    let id = session.sid.clone();
    peer.socket().leave(&id);
    lose(peer);
    io.to(&id).emit("a", &1).unwrap();
    let (mut peer, missed, _) = reconnect(&io, &mut session).await;
    assert_eq!(missed, [r#"["a",1]"#]);
    io.to(&id).emit("a", &2).unwrap();
    assert_eq!(session.read(&peer.received()), [r#"["a",2]"#]);
}

#[tokio::test]
async fn binary_events_come_back() {
    let (io, _) = server(ConnectionStateRecovery::new());
    let (peer, session) = connect(&io).await;
    lose(peer);
    let body = Bytes::from_static(b"0123456789");
    io.emit("a", &(body.slice(2..4), "b", body.slice(5..6)))
        .unwrap();
    let mut peer = Peer::open(&io).await;
    peer.send(&session.connect());
    let packets = peer.received();
    let placeholder = |num| format!(r#"{{"_placeholder":true,"num":{num}}}"#);
    let (first, second) = (placeholder(0), placeholder(1));
    let begin = format!(r#"52-["a",{first},"b",{second},""#);
    assert!(packets[0].starts_with(&begin), "{packets:?}");
    assert_eq!(packets[1..3], ["[50, 51]", "[53]"]);
    assert!(peer.socket().recovered());
}

#[tokio::test]
async fn events_in_another_format_come_back() {
    let codec = Codec::new(MsgpackParser);
    let (io, _) = server_with(|builder| {
        let builder = builder.parser(MsgpackParser);
        builder.connection_state_recovery(ConnectionStateRecovery::new())
    });
    let connect = async |auth: Value| {
        let mut peer = Peer::open(&io).await;
        let packet = Packet {
            nsp: "/".into(),
            kind: PacketKind::Connect {
                auth: Some(auth.to_string().into()),
            },
        };
        let packet = MsgpackParser.encode(&packet).unwrap();
        peer.send_binary(&packet.attachments()[0]);
        peer
    };
    let received = |peer: &Peer| {
        let mut decoder = codec.decoder(Limits::default());
        let data = |it: &Encoded| Message::Binary(it.attachments()[0].clone());
        let sent = peer.session.take_sent();
        let packets = sent
            .iter()
            .map(|it| decoder.add(data(it)).unwrap().unwrap());
        packets.map(|it| it.kind).collect::<Vec<_>>()
    };
    let peer = connect(Value::Null).await;
    let [PacketKind::Connect { auth: Some(auth) }] = &*received(&peer) else {
        panic!("not connected")
    };
    let auth: Value = serde_json::from_str(auth).unwrap();
    lose(peer);
    io.emit("a", &(1, Bytes::from_static(b"x"))).unwrap();
    let peer = connect(serde_json::json!({ "pid": auth["pid"] })).await;
    let packets = received(&peer);
    let PacketKind::Event { name, args, .. } = &packets[0] else {
        panic!("{packets:?}")
    };
    let (number, bytes, offset): (u8, Bytes, String) = args.deserialize().unwrap();
    assert_eq!((&**name, number, &*bytes), ("a", 1, &b"x"[..]));
    assert!(offset.ends_with(".0"), "{offset}");
    assert!(peer.socket().recovered());
}

/// The log counts what it keeps, so it must not keep what the application has a slice of.
#[tokio::test]
async fn the_log_keeps_no_more_than_it_counts() {
    let (io, _) = server(ConnectionStateRecovery::new());
    let (mut peer, _) = connect(&io).await;
    let body = Bytes::from(vec![7; 100_000]);
    io.emit("a", &body.slice(..10)).unwrap();
    assert_eq!(peer.received().len(), 2);
    assert!(body.try_into_mut().is_ok(), "nobody else has it");
}
