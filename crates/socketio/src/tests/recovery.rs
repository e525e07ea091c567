//! Connection state recovery.

use std::time::Duration;

use engineio::CloseReason;
use serde_json::Value;
use socketio_adapter::MemoryAdapter;

use super::peer::{Log, Peer, server_with};
use crate::{
    ConnectError, ConnectionStateRecovery, DisconnectReason, Socket, SocketIo, handler::State,
};

/// What a client knows of its session.
#[derive(Clone, Debug)]
struct Session {
    sid: String,
    pid: String,
    offset: Option<String>,
}

impl Session {
    /// From the packets that a client gets when it connects.
    fn of(packets: &[String]) -> Self {
        let connect = packets.last().unwrap();
        let json: Value = serde_json::from_str(connect.strip_prefix('0').expect(connect)).unwrap();
        let text = |name: &str| json[name].as_str().expect(connect).to_owned();
        Self {
            sid: text("sid"),
            pid: text("pid"),
            offset: None,
        }
    }

    /// Reads events as the official client does, and remembers their offset.
    fn read(&mut self, packets: &[String]) -> Vec<String> {
        let mut events = Vec::new();
        for packet in packets {
            let Some(json) = packet.strip_prefix('2') else {
                continue;
            };
            let mut array: Vec<Value> = serde_json::from_str(json).unwrap();
            if let Some(Value::String(offset)) = array.last().filter(|_| array.len() > 1) {
                self.offset = Some(offset.clone());
                array.pop();
            }
            events.push(Value::from(array).to_string());
        }
        events
    }

    /// The CONNECT of a client that wants it back.
    fn connect(&self) -> String {
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
async fn reconnect(io: &SocketIo, session: &mut Session) -> (Peer, Vec<String>, bool) {
    let mut peer = Peer::open(io).await;
    peer.send(&session.connect());
    let packets = peer.received();
    let after = Session::of(&packets);
    let recovered = after.pid == session.pid;
    assert_eq!(recovered, after.sid == session.sid);
    assert_eq!(recovered, peer.socket().recovered());
    let missed = session.read(&packets);
    if !recovered {
        *session = after;
    }
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
async fn a_namespace_that_is_removed_gives_back_what_it_kept() {
    let (io, _) = server_with(|builder| {
        builder
            .connection_state_recovery(ConnectionStateRecovery::new())
            .cleanup_empty_child_namespaces(true)
    });
    io.of_dynamic("/room/{id}");
    let main = io.of("/");
    let recovery = main.recovery().unwrap();
    let mut peer = Peer::open(&io).await;
    peer.send("0/room/1,");
    io.of("/room/1").emit("kept", &"for a while").unwrap();
    assert!(recovery.budget().used() > 0);
    lose(peer);
    assert!(io.namespace("/room/1").is_none());
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
        io.to(format!("room {number}"))
            .emit("x", &"y".repeat(100))
            .unwrap();
        assert!(recovery.budget().used() <= 20_000);
    }
    // None of them was for this socket.
    let (_peer, missed, recovered) = reconnect(&io, &mut session).await;
    assert!(recovered && missed.is_empty());
    for _ in 0..200 {
        let (peer, _) = connect(&io).await;
        peer.socket().set_data(&"z".repeat(1000)).unwrap();
        lose(peer);
        assert!(recovery.budget().used() <= 20_000);
    }
}

/// A client takes the last argument of any event for an offset if it is text.
#[tokio::test]
async fn a_volatile_event_that_ends_with_text_does_not_spoil_the_offset() {
    let (io, _) = server(ConnectionStateRecovery::new());
    let (mut peer, mut session) = connect(&io).await;
    io.emit("a", &1).unwrap();
    session.read(&peer.received());
    // What the client of a writable session would have got.
    let main = io.of("/");
    let mut packet = None;
    let recovery = main.recovery().unwrap();
    let send = |packets: &crate::recovery::Packets| packet = Some(packets.new_clients());
    recovery
        .volatile(&main, "tick", &"text", true, send)
        .unwrap();
    let packet = packet.unwrap().wire_text().unwrap()[1..].to_owned();
    assert_eq!(session.read(&[packet]), [r#"["tick","text"]"#]);
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
