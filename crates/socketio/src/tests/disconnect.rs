//! Leaving, and being made to leave.

use engineio::CloseReason;

use super::peer::{Log, Peer, server};
use crate::{
    DisconnectReason, Socket, SocketIo,
    handler::{Data, State},
};

fn watched() -> (SocketIo, Log) {
    let (io, log) = server();
    for name in ["/", "/other"] {
        io.of(name).on_disconnect(
            async |State(log): State<Log>, socket: Socket, reason: DisconnectReason| {
                assert!(!socket.connected());
                assert!(socket.rooms().is_empty());
                log.push(format!("{} {reason}", socket.namespace().name()));
            },
        );
    }
    (io, log)
}

#[tokio::test]
async fn the_client_leaves_a_namespace() {
    let (io, log) = watched();
    let mut peer = Peer::open(&io).await;
    let first = peer.join("/");
    peer.join("/other");
    io.of("/").socket(&first).unwrap().join(["a", "b"]);
    peer.send("1");
    assert_eq!(log.take(), ["/ client namespace disconnect"]);
    assert!(io.of("/").is_empty());
    assert_eq!(io.of("/").registry().room_count(), 0);
    assert_eq!(io.of("/other").len(), 1);
    assert!(peer.received().is_empty());
    let second = peer.join("/");
    assert_ne!(first, second);
}

#[tokio::test]
async fn the_connection_closes() {
    for (reason, words) in [
        (CloseReason::TransportClose, "transport close"),
        (CloseReason::TransportError, "transport error"),
        (CloseReason::PingTimeout, "ping timeout"),
        (CloseReason::ParseError, "parse error"),
        (CloseReason::ForcedClose, "forced close"),
        (CloseReason::ServerShuttingDown, "server shutting down"),
    ] {
        let (io, log) = watched();
        let mut peer = Peer::connect(&io).await;
        peer.join("/other");
        assert!(peer.close(reason), "nothing is in flight");
        assert_eq!(
            log.take(),
            [format!("/ {words}"), format!("/other {words}")]
        );
        assert!(io.of("/").is_empty() && io.of("/other").is_empty());
        assert!(peer.received().is_empty());
    }
}

#[tokio::test]
async fn the_server_disconnects_a_socket() {
    let (io, log) = watched();
    io.on("e", async |State(log): State<Log>| log.push("e"));
    let mut peer = Peer::connect(&io).await;
    peer.join("/other");
    let socket = peer.socket();
    socket.emit("last words", &()).unwrap();
    assert_eq!(peer.wakes(), 0);
    socket.disconnect();
    assert_eq!(peer.wakes(), 1, "the connection has to tell the handlers");
    assert!(!socket.connected());
    socket.disconnect();
    peer.turn();
    assert_eq!(peer.received(), [r#"2["last words"]"#, "1"]);
    assert_eq!(log.take(), ["/ server namespace disconnect"]);

    // what the client may have sent before it knew is ignored
    for packet in [r#"2["e"]"#, "30[]", "2", "1"] {
        peer.send(packet);
        assert!(!peer.is_closed(), "{packet}");
    }
    assert!(log.take().is_empty());
    assert_eq!(io.of("/other").len(), 1);
    peer.join("/");
    peer.send(r#"2["e"]"#);
    assert_eq!(log.take(), ["e"]);
}

#[tokio::test]
async fn the_server_disconnects_a_socket_in_its_handlers() {
    let (io, log) = watched();
    io.on_connection(async |socket: Socket| {
        if socket.handshake().auth() != "{}" {
            socket.disconnect();
        }
    });
    io.on("bye", async |socket: Socket| socket.disconnect());
    let mut peer = Peer::open(&io).await;
    peer.send(r#"0{"a":1}"#);
    assert_eq!(peer.received()[1], "1");
    assert_eq!(log.take(), ["/ server namespace disconnect"]);
    peer.join("/");
    peer.send(r#"2["bye"]"#);
    assert_eq!(peer.received_one(), "1");
    assert_eq!(log.take(), ["/ server namespace disconnect"]);
    assert!(peer.turn());
}

#[tokio::test]
async fn the_server_disconnects_a_client_altogether() {
    let (io, log) = watched();
    let mut peer = Peer::connect(&io).await;
    peer.join("/other");
    peer.socket().disconnect_all();
    assert!(peer.wakes() > 0);
    peer.turn();
    assert!(peer.is_closed());
    assert_eq!(peer.received(), ["1", "1/other,"]);
    assert_eq!(
        log.take(),
        [
            "/ server namespace disconnect",
            "/other server namespace disconnect"
        ]
    );
    assert!(peer.close(CloseReason::ForcedClose));
    assert!(log.take().is_empty(), "told once");
}

#[tokio::test]
async fn packets_that_cannot_be_decoded() {
    for packet in [
        "abc",
        "2{}",
        r#"2["disconnect"]"#,
        r#"2abc["e"]"#,
        "5",
        r#"511-["e"]"#,
        "0[]",
    ] {
        let (io, log) = watched();
        let mut peer = Peer::connect(&io).await;
        peer.join("/other");
        peer.send(packet);
        assert!(peer.is_closed(), "{packet}");
        let lines = log.take();
        assert_eq!(
            lines.len(),
            4,
            "each socket is told of the error: {lines:?}"
        );
        assert!(lines[0].starts_with("error "));
        assert_eq!(
            lines[2..],
            ["/ forced server close", "/other forced server close"]
        );
        assert!(io.of("/").is_empty());
        assert!(peer.received().is_empty());
        peer.send("0");
        assert!(peer.received().is_empty(), "nothing counts any more");
    }
    let (io, log) = server();
    let mut peer = Peer::open(&io).await;
    peer.send_binary(&[1]);
    assert!(peer.is_closed());
    let text = "error got binary data when not reconstructing a packet";
    assert_eq!(log.take(), [text]);
}

#[tokio::test]
async fn text_where_bytes_are_missing() {
    let (io, _) = server();
    let mut peer = Peer::connect(&io).await;
    peer.send(r#"51-["e",{"_placeholder":true,"num":0}]"#);
    assert!(!peer.is_closed());
    peer.send(r#"2["e"]"#);
    assert!(peer.is_closed());
}

#[tokio::test]
async fn a_socket_that_has_left_does_nothing() {
    let (io, _) = watched();
    let mut peer = Peer::connect(&io).await;
    let socket = peer.socket();
    peer.send("1");
    socket.join("room");
    assert!(socket.rooms().is_empty());
    assert_eq!(io.of("/").registry().room_count(), 0);
    socket.emit("e", &()).unwrap();
    assert!(!socket.volatile().emit("e", &()).unwrap());
    socket.disconnect();
    socket.disconnect_all();
    peer.turn();
    assert!(peer.received().is_empty());
    assert!(!peer.is_closed());
    // it may still speak to others
    let mut other = Peer::connect(&io).await;
    socket.broadcast().emit("bye", &1).unwrap();
    assert_eq!(other.received_one(), r#"2["bye",1]"#);
}

#[tokio::test]
async fn a_socket_that_has_left_is_freed() {
    let ends: [fn(&mut Peer); 4] = [
        |peer| peer.send("1"),
        |peer| peer.socket().disconnect(),
        |peer| peer.send("abc"),
        |peer| assert!(peer.close(CloseReason::TransportClose)),
    ];
    for end in ends {
        let (io, _) = watched();
        let mut peer = Peer::connect(&io).await;
        let value = std::sync::Arc::new(());
        let held = std::sync::Arc::downgrade(&value);
        peer.socket().extensions().insert(value);
        assert!(held.upgrade().is_some());
        end(&mut peer);
        peer.turn();
        assert!(held.upgrade().is_none(), "while the connection is there");
    }
}

#[tokio::test]
async fn errors_of_disconnection_handlers_are_reported() {
    let (io, log) = server();
    io.on_disconnect(async || Err("not saved"))
        .on_disconnect(async || {
            if true {
                panic!("broken");
            }
        });
    let mut peer = Peer::connect(&io).await;
    peer.send("1");
    assert_eq!(log.take(), ["error not saved", "error panicked: broken"]);
}

#[tokio::test]
async fn handlers_see_their_socket_leave() {
    let (io, log) = server();
    io.on(
        "ask",
        async |socket: Socket, Data(n): Data<u8>, State(log): State<Log>| {
            let answer = socket.emit_with_ack::<u8>("q", &n).await;
            log.push(answer.unwrap_err());
        },
    );
    let mut peer = Peer::connect(&io).await;
    peer.send(r#"2["ask",1]"#);
    assert!(peer.close(CloseReason::TransportClose));
    assert_eq!(log.take(), ["the socket is disconnected"]);
}
