//! What several threads do to one socket.

use std::{future::IntoFuture as _, thread};

use super::peer::{Peer, server, server_with};
use crate::AckError;

#[tokio::test]
async fn whoever_disconnects_leaves_nothing_behind() {
    let (io, _) = server();
    let namespace = io.of("/");
    for round in 0..300 {
        let mut peer = Peer::connect(&io).await;
        let socket = peer.socket();
        let answers = thread::scope(|scope| {
            scope.spawn(|| {
                for room in 0..20 {
                    socket.join([format!("{room}"), String::from("all")]);
                    socket.emit("e", &room).unwrap();
                    socket.leave("all");
                }
            });
            let asking = scope.spawn(|| {
                let ask = |_| socket.emit_with_ack::<u8>("e", &());
                (0..20).map(ask).collect::<Vec<_>>()
            });
            scope.spawn(|| match round % 3 {
                0 => socket.disconnect(),
                1 => socket.disconnect_all(),
                _ => {}
            });
            if round % 3 == 2 {
                peer.send("1");
            }
            io.to("all").emit("to all", &round).unwrap();
            asking.join().unwrap()
        });
        for answer in answers {
            let answer = testkit::within(testkit::TIME_LIMIT, "an answer", answer);
            assert_eq!(answer.await, Err(AckError::Disconnected));
        }
        peer.turn();
        assert_eq!(socket.pending_acks(), 0);
        assert!(socket.rooms().is_empty());
        assert_eq!((namespace.len(), namespace.registry().room_count()), (0, 0));
    }
}

#[tokio::test]
async fn a_question_to_many_ends_whoever_leaves_meanwhile() {
    let (io, _) = server_with(|builder| builder.max_pending_acks(15));
    for round in 0..100 {
        let mut peers = Vec::new();
        for _ in 0..3 {
            peers.push(Peer::connect(&io).await);
        }
        let sockets: Vec<_> = peers.iter().map(Peer::socket).collect();
        let ask = |_| io.emit_with_ack::<u8>("?", &());
        let questions = thread::scope(|scope| {
            let asking = [(); 2].map(|()| scope.spawn(|| (0..10).map(ask).collect::<Vec<_>>()));
            scope.spawn(|| match round % 3 {
                0 => sockets[0].disconnect(),
                1 => sockets[0].disconnect_all(),
                _ => io.disconnect_sockets(false),
            });
            // Some are answered, some are given up.
            for _ in 0..20 {
                for peer in peers.iter_mut().filter(|it| !it.is_closed()) {
                    for packet in peer.received() {
                        let id = packet.strip_suffix(r#"["?"]"#).map(|it| it[1..].to_owned());
                        id.into_iter()
                            .for_each(|id| peer.send(&format!("3{id}[1]")));
                    }
                }
            }
            asking.map(|it| it.join().unwrap())
        });
        for peer in peers {
            drop(peer);
        }
        let [first, given_up] = questions;
        for question in first {
            let answers = testkit::within(testkit::TIME_LIMIT, "answers", question.into_future());
            if let Err(error) = answers.await {
                assert!(error.responses.len() + error.errors.len() <= 3);
                let is_expected =
                    |it: &AckError| matches!(it, AckError::Disconnected | AckError::TooManyPending);
                assert!(error.errors.iter().all(is_expected), "{error:?}");
            }
        }
        drop(given_up);
        for socket in sockets {
            assert_eq!(socket.pending_acks(), 0);
        }
        assert!(io.of("/").is_empty());
    }
}
