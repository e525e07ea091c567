//! Many sockets at once: acknowledgements, rooms from outside, lists of sockets.

use std::time::Duration;

use futures_util::{FutureExt as _, StreamExt};

use super::peer::{Log, Peer, server, server_with};
use crate::{AckError, ConnectionStateRecovery, RoomEvent, Socket, adapter::MemoryAdapter};

async fn three(io: &crate::SocketIo) -> [Peer; 3] {
    let mut peers = [
        Peer::connect(io).await,
        Peer::connect(io).await,
        Peer::connect(io).await,
    ];
    peers[0].socket().join(["room", "red"]);
    peers[1].socket().join("room");
    for peer in &mut peers {
        peer.received();
    }
    peers
}

#[tokio::test]
async fn everybody_is_asked_under_one_id_and_all_answers_come() {
    let (io, _) = server();
    let [mut one, mut two, mut three] = three(&io).await;
    let answers = io.to("room").emit_with_ack::<u8>("points?", &"act 3");
    assert_eq!(one.received_one(), r#"20["points?","act 3"]"#);
    assert_eq!(two.received_one(), r#"20["points?","act 3"]"#);
    assert!(three.received().is_empty());
    two.send("30[2]");
    one.send("30[1]");
    assert_eq!(answers.await, Ok(vec![2, 1]));
    for peer in [&one, &two, &three] {
        assert_eq!(peer.socket().pending_acks(), 0);
    }
}

#[tokio::test]
async fn answers_can_be_had_one_after_the_other() {
    let (io, _) = server();
    let [mut one, mut two, _three] = three(&io).await;
    let mut answers = io.to("room").emit_with_ack::<u8>("?", &());
    assert!(answers.next().now_or_never().is_none());
    one.send("30[1]");
    assert_eq!(StreamExt::next(&mut answers).await, Some(Ok(1)));
    two.send("30[2]");
    assert_eq!(answers.next().await, Some(Ok(2)));
    assert_eq!(answers.next().await, None);
    assert_eq!(answers.next().await, None);
}

#[tokio::test]
async fn nobody_to_ask_is_an_empty_answer_at_once() {
    let (io, _) = server();
    let nobody = io.to("nobody").emit_with_ack::<u8>("?", &());
    assert_eq!(nobody.into_future_now(), Some(Ok(vec![])));
}

trait Now<T> {
    fn into_future_now(self) -> Option<T>;
}

impl<F: IntoFuture<Output = T>, T> Now<T> for F {
    fn into_future_now(self) -> Option<T> {
        self.into_future().now_or_never()
    }
}

#[tokio::test(start_paused = true)]
async fn at_the_timeout_the_answers_that_came_are_in_the_error() {
    let (io, _) = server();
    let [mut one, mut two, _three] = three(&io).await;
    let question = io.to("room").timeout(Duration::from_secs(5));
    let answers = question.emit_with_ack::<u8>("?", &());
    one.send("30[1]");
    let error = answers.await.unwrap_err();
    assert_eq!(error.responses, [1]);
    assert_eq!(error.errors, [AckError::Timeout]);
    assert_eq!(error.to_string(), "operation has timed out");
    // Nobody waits any more, and an answer that comes late is ignored.
    assert_eq!(two.socket().pending_acks(), 0);
    two.send("30[2]");
    assert!(!two.is_closed());
}

#[tokio::test]
async fn dropped_it_waits_for_nobody() {
    let (io, _) = server();
    let [one, two, _three] = three(&io).await;
    let answers = io.emit_with_ack::<u8>("?", &());
    assert_eq!(one.socket().pending_acks(), 1);
    drop(answers);
    assert_eq!(one.socket().pending_acks() + two.socket().pending_acks(), 0);
}

#[tokio::test]
async fn who_is_gone_is_not_waited_for() {
    let (io, _) = server();
    let [mut one, mut two, _three] = three(&io).await;
    let answers = io.to("room").emit_with_ack::<u8>("?", &());
    one.send("1");
    two.send("30[2]");
    let error = answers.await.unwrap_err();
    assert_eq!(
        (error.responses, error.errors),
        (vec![2], vec![AckError::Disconnected])
    );
}

#[tokio::test]
async fn who_owes_too_much_is_not_asked() {
    let (io, _) = server_with(|builder| builder.max_pending_acks(1));
    let [mut one, _two, _three] = three(&io).await;
    let first = io.to("red").emit_with_ack::<u8>("?", &());
    let second = io.to("red").emit_with_ack::<u8>("?", &());
    assert_eq!(one.received().len(), 1);
    assert_eq!(second.await.unwrap_err().errors, [AckError::TooManyPending]);
    one.send("30[1]");
    assert_eq!(first.await, Ok(vec![1]));
}

#[tokio::test]
async fn an_answer_of_another_shape_is_an_error_of_its_own() {
    let (io, _) = server();
    let [mut one, mut two, _three] = three(&io).await;
    let answers = io.to("room").emit_with_ack::<u8>("?", &());
    one.send(r#"30["one"]"#);
    two.send("30[2]");
    let error = answers.await.unwrap_err();
    assert_eq!(error.responses, [2]);
    assert!(matches!(&*error.errors, [AckError::Args(_)]), "{error:?}");
}

#[tokio::test]
async fn a_reserved_event_asks_nobody() {
    let (io, _) = server();
    let [mut one, _two, _three] = three(&io).await;
    let error = io.emit_with_ack::<u8>("connect", &()).await.unwrap_err();
    assert!(matches!(&*error.errors, [AckError::Emit(_)]), "{error:?}");
    assert!(one.received().is_empty());
}

#[tokio::test]
async fn volatile_questions_go_to_those_who_can_take_them() {
    let (io, _) = server();
    let [mut one, _two, _three] = three(&io).await;
    // A detached session cannot be written to.
    let answers = io.volatile().emit_with_ack::<u8>("?", &());
    assert!(one.received().is_empty());
    assert_eq!(answers.await, Ok(vec![]));
    let answer = one.socket().volatile().emit_with_ack::<u8>("?", &());
    assert_eq!(answer.await, Err(AckError::NotSent));
    assert_eq!(one.socket().volatile().emit("?", &()), Ok(false));
    assert_eq!(one.socket().pending_acks(), 0);
}

#[tokio::test(start_paused = true)]
async fn one_socket_can_be_asked_with_a_timeout() {
    let (io, _) = server();
    let mut peer = Peer::connect(&io).await;
    let socket = peer.socket();
    let patient = socket.timeout(Duration::from_secs(1));
    assert_eq!(
        patient.emit_with_ack::<u8>("?", &()).await,
        Err(AckError::Timeout)
    );
    let answer = patient.emit_with_ack::<u8>("?", &());
    peer.send("31[7]");
    assert_eq!(answer.await, Ok(7));
    assert_eq!(socket.pending_acks(), 0);
}

#[tokio::test]
async fn send_is_the_event_message() {
    let (io, _) = server();
    let mut peer = Peer::connect(&io).await;
    io.send(&1).unwrap();
    io.of("/").send(&2).unwrap();
    io.to(peer.socket().id()).send(&3).unwrap();
    peer.socket().send(&("a", "b")).unwrap();
    peer.socket().compress(false).send(&()).unwrap();
    assert_eq!(
        peer.received(),
        [
            r#"2["message",1]"#,
            r#"2["message",2]"#,
            r#"2["message",3]"#,
            r#"2["message","a","b"]"#,
            r#"2["message"]"#
        ]
    );
}

#[tokio::test]
async fn messages_say_whether_they_may_be_compressed() {
    let (io, _) = server();
    let peer = Peer::connect(&io).await;
    let socket = peer.socket();
    socket.emit("a", &()).unwrap();
    socket.compress(false).emit("a", &()).unwrap();
    drop(socket.compress(false).emit_with_ack::<()>("a", &()));
    io.emit("a", &()).unwrap();
    io.compress(false).emit("a", &()).unwrap();
    io.of("/").compress(true).emit("a", &()).unwrap();
    let sent = peer.session.take_sent();
    let flags: Vec<bool> = sent.iter().map(|message| message.compresses()).collect();
    assert_eq!(flags, [true, false, false, true, false, true]);
}

#[tokio::test]
async fn operators_do_not_change_each_other() {
    let (io, _) = server();
    let [mut one, mut two, mut three] = three(&io).await;
    let everybody = io.local();
    let room = everybody.clone().to("room");
    let red = everybody.clone().to("red");
    let rest = room.clone().except("red");
    red.emit("red", &()).unwrap();
    rest.emit("rest", &()).unwrap();
    room.emit("room", &()).unwrap();
    everybody.emit("all", &()).unwrap();
    assert_eq!(one.received().len(), 3);
    assert_eq!(two.received().len(), 3);
    assert_eq!(three.received(), [r#"2["all"]"#]);
}

#[tokio::test]
async fn sockets_join_and_leave_rooms_from_outside() {
    let (io, _) = server();
    let [one, two, three] = three(&io).await;
    io.in_("room").except("red").sockets_join(["a", "b"]);
    io.sockets_join("all");
    assert_eq!(
        two.socket().rooms()[1..],
        ["room".into(), "a".into(), "b".into(), "all".into()]
    );
    assert_eq!(
        one.socket().rooms()[1..],
        ["room".into(), "red".into(), "all".into()]
    );
    assert_eq!(three.socket().rooms()[1..], ["all".into()]);
    io.to("a").sockets_leave(["b", "all", "nothing"]);
    assert_eq!(two.socket().rooms()[1..], ["room".into(), "a".into()]);
    io.of("/").sockets_leave("all");
    assert_eq!(three.socket().rooms().len(), 1);
}

#[tokio::test]
async fn sockets_are_disconnected_from_outside() {
    let (io, _) = server();
    let [mut one, mut two, mut three] = three(&io).await;
    io.to("red").disconnect_sockets(false);
    one.turn();
    assert_eq!(one.received(), ["1"]);
    assert!(!one.is_closed());
    io.of("/").disconnect_sockets(true);
    for peer in [&mut two, &mut three] {
        peer.turn();
        assert_eq!(peer.received(), ["1"]);
        assert!(peer.is_closed());
    }
    assert!(io.sockets().is_empty());
}

#[tokio::test]
async fn sockets_are_listed_and_fetched() {
    let (io, _) = server();
    let [mut one, two, _three] = three(&io).await;
    assert_eq!(io.sockets().len(), 3);
    let mut here: Vec<Socket> = io.to("room").sockets();
    here.sort_by_key(|socket| socket.rooms().len());
    assert_eq!(here, [two.socket(), one.socket()]);
    one.socket()
        .set_data(&serde_json::json!({ "name": "ann" }))
        .unwrap();
    let fetched = io.to("red").fetch_sockets().await.unwrap();
    let [ann] = &*fetched else {
        panic!("{fetched:?}")
    };
    assert_eq!(ann.id(), one.socket().id());
    assert_eq!(ann.data()["name"], "ann");
    assert_eq!(ann.rooms()[1..], ["room".into(), "red".into()]);
    let handshake = ann.handshake();
    assert_eq!(handshake.headers["x-test"], "yes");
    assert_eq!(handshake.query["EIO"], "4");
    assert!(handshake.issued > 1_500_000_000_000, "{}", handshake.issued);
    assert_eq!(handshake.auth, serde_json::json!({}));
    assert!(handshake.time.ends_with("GMT"), "{}", handshake.time);
    assert_eq!(ann.socket(), Some(&one.socket()));
    ann.emit("hi", &1).unwrap();
    ann.join("blue");
    ann.leave("red");
    assert_eq!(one.received_one(), r#"2["hi",1]"#);
    assert_eq!(one.socket().rooms()[1..], ["room".into(), "blue".into()]);
    let answer = ann.emit_with_ack::<u8>("?", &(), Duration::from_secs(1));
    let (answer, ()) = tokio::join!(answer, async { one.send("30[5]") });
    assert_eq!(answer, Ok(5));
    ann.disconnect(false);
    assert_eq!(io.sockets().len(), 2);
    let gone = ann
        .emit_with_ack::<u8>("?", &(), Duration::from_secs(1))
        .await;
    assert_eq!(gone, Err(AckError::Disconnected));
}

#[tokio::test]
async fn a_namespace_tells_of_its_rooms() {
    let (io, _) = server();
    let log = Log::default();
    let seen = log.clone();
    io.of("/").on_room_event(move |event| match event {
        RoomEvent::Created { room } if room.len() < 10 => seen.push(format!("create {room}")),
        RoomEvent::Joined { room, .. } if room.len() < 10 => seen.push(format!("join {room}")),
        RoomEvent::Left { room, .. } if room.len() < 10 => seen.push(format!("leave {room}")),
        RoomEvent::Deleted { room } if room.len() < 10 => seen.push(format!("delete {room}")),
        _ => {}
    });
    io.of("/")
        .on_room_event(|_| panic!("a hook that panics hurts nobody"));
    let mut peer = Peer::connect(&io).await;
    peer.socket().join("a");
    peer.socket().join("a");
    assert_eq!(io.of("/").rooms(), ["a".into()]);
    peer.send("1");
    assert_eq!(log.take(), ["create a", "join a", "leave a", "delete a"]);
    assert!(io.of("/").rooms().is_empty());
}

#[tokio::test]
async fn who_is_told_of_rooms_may_use_the_sockets_in_them() {
    for recovery in [None, Some(ConnectionStateRecovery::new())] {
        let (io, log) = server_with(|builder| match recovery {
            Some(options) => builder.connection_state_recovery(options),
            None => builder,
        });
        let (server, seen) = (io.clone(), log.clone());
        io.of("/").on_room_event(move |event| {
            server.emit("changed", &()).unwrap();
            let (RoomEvent::Joined { room, id } | RoomEvent::Left { room, id }) = event else {
                return;
            };
            if let Some(socket) = server.of("/").socket(id) {
                if **room == *"a" {
                    socket.join("after a");
                }
                seen.push(socket.rooms()[1..].join(", "));
            }
        });
        let mut peer = Peer::open(&io).await;
        peer.send("0");
        let socket = peer.socket();
        assert_eq!(log.take(), [""]);
        socket.join("a");
        assert_eq!(log.take(), ["a, after a", "a, after a"]);
        socket.leave("a");
        assert_eq!(log.take(), ["after a"]);
        peer.send("1");
        assert!(io.of("/").rooms().is_empty());
    }
}

#[tokio::test]
async fn data_belongs_to_a_socket() {
    let (io, _) = server();
    let peer = Peer::connect(&io).await;
    let socket = peer.socket();
    assert_eq!(socket.data::<Option<u8>>().unwrap(), None);
    assert!(socket.data::<u8>().is_err());
    socket.set_data(&7).unwrap();
    assert_eq!(socket.data::<u8>().unwrap(), 7);
    assert!(socket.data::<String>().is_err());
    socket.set_data(&["a"]).unwrap();
    assert_eq!(socket.data::<Vec<String>>().unwrap(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn clients_of_this_server_may_answer_later_than_other_servers() {
    let cluster = MemoryAdapter::new();
    let (io, _) = server_with(|builder| builder.adapter(cluster.clone()));
    let (other, _) = server_with(|builder| builder.adapter(cluster));
    let mut here = Peer::connect(&io).await;
    let _there = Peer::connect(&other).await;
    let answers = io.emit_with_ack::<u8>("?", &());
    let late = async {
        tokio::time::sleep(Duration::from_secs(10)).await;
        here.send("30[7]");
    };
    let (answers, ()) = tokio::join!(answers, late);
    let error = answers.unwrap_err();
    assert_eq!(error.responses, [7]);
    assert_eq!(error.errors, [AckError::Timeout]);
}
