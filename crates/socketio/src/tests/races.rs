//! What several threads do to one socket.

use std::thread;

use super::peer::{Peer, server};
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
