//! CONNECT: joining a namespace, and being refused.

use std::{sync::Arc, time::Duration};

use crate::{
    ConnectError, Handshake, Namespace, Socket, SocketIo,
    handler::{Auth, Query, State},
};
use engineio::CloseReason;
use tokio::sync::Semaphore;

use super::peer::{Log, Peer, server, server_with};

#[tokio::test]
async fn the_main_namespace() {
    let (io, _) = server();
    let mut peer = Peer::open(&io).await;
    assert!(peer.received().is_empty(), "nobody is let in unasked");
    let id = peer.join("/");
    assert_eq!(id.len(), 20);
    assert_ne!(id, peer.session.sid().as_str());
    let socket = io.of("/").socket(&id).unwrap();
    assert!(socket.connected());
    assert_eq!(socket.rooms(), [id.into()]);
}

#[tokio::test]
async fn what_the_client_gives_to_be_let_in() {
    let (io, _) = server();
    let auth = async |socket: Socket| socket.emit("auth", &socket.handshake().auth());
    io.on_connection(auth);
    io.of("/admin").on_connection(auth);
    let mut peer = Peer::open(&io).await;
    peer.send("0");
    assert_eq!(peer.received()[1], r#"2["auth","{}"]"#);
    peer.send(r#"0/admin,{"token":"é"}"#);
    assert_eq!(
        peer.received()[1],
        r#"2/admin,["auth","{\"token\":\"é\"}"]"#
    );
}

#[tokio::test]
async fn what_the_request_said() {
    let (io, log) = server();
    #[derive(serde::Deserialize)]
    struct Params {
        #[serde(rename = "EIO")]
        eio: u8,
    }
    io.on_connection(
        async |State(log): State<Log>, handshake: Handshake, Query(params): Query<Params>| {
            log.push(params.eio);
            log.push(handshake.header("X-Test").unwrap());
            log.push(handshake.query_param("transport").unwrap());
            log.push(handshake.xdomain());
            log.push(handshake.secure());
            assert_eq!(handshake.address(), None);
            assert!(handshake.url().starts_with("/engine.io/?EIO=4"));
            assert!(handshake.time().elapsed().unwrap() < Duration::from_secs(60));
        },
    );
    Peer::connect(&io).await;
    assert_eq!(log.take(), ["4", "yes", "polling", "false", "false"]);
}

#[tokio::test]
async fn an_unknown_namespace() {
    let (io, _) = server();
    let mut peer = Peer::open(&io).await;
    peer.send("0/nope");
    assert_eq!(
        peer.received_one(),
        r#"4/nope,{"message":"Invalid namespace"}"#
    );
    peer.join("/");
}

#[tokio::test]
async fn names_are_completed() {
    let io = SocketIo::new();
    assert_eq!(io.of("").name(), "/");
    assert_eq!(io.of("abc").name(), "/abc");
    io.of("/abc")
        .on_connection(async |namespace: Namespace, socket: Socket| {
            socket.emit("in", &namespace.name())
        });
    let mut peer = Peer::open(&io).await;
    peer.send("0/abc,");
    assert_eq!(peer.received()[1], r#"2/abc,["in","/abc"]"#);
}

#[tokio::test]
async fn several_namespaces_share_a_connection() {
    let (io, _) = server();
    io.of("/a").on("hello", async || "from a");
    io.on("hello", async || "from /");
    let mut peer = Peer::connect(&io).await;
    let id = peer.join("/a");
    assert!(io.of("/").socket(&id).is_none());
    peer.send(r#"2/a,1["hello"]"#);
    peer.send(r#"21["hello"]"#);
    assert_eq!(peer.received(), [r#"3/a,1["from a"]"#, r#"31["from /"]"#]);
}

#[tokio::test]
async fn a_namespace_may_have_several_connection_handlers() {
    let (io, log) = server();
    io.of("/news")
        .on_connection(async |State(log): State<Log>| log.push("first"));
    io.of("news")
        .on_connection(async |State(log): State<Log>| log.push("second"));
    io.of("/chat");
    let mut peer = Peer::open(&io).await;
    peer.join("/chat");
    assert!(log.take().is_empty());
    peer.join("/news");
    assert_eq!(log.take(), ["first", "second"]);
}

#[tokio::test]
async fn each_client_has_a_socket_of_its_own_in_a_namespace() {
    let (io, _) = server();
    io.of("/chat");
    let (mut one, mut two) = (Peer::open(&io).await, Peer::open(&io).await);
    let ids = [one.join("/chat"), two.join("/chat")];
    assert_ne!(ids[0], ids[1]);
    assert_eq!(io.of("/chat").len(), 2);
    io.of("/chat").except(&ids[1]).emit("a", &()).unwrap();
    assert_eq!(one.received_one(), r#"2/chat,["a"]"#);
    assert!(two.received().is_empty());
}

#[tokio::test]
async fn middlewares_run_in_order_and_before_everything_else() {
    let (io, log) = server();
    io.middleware(async |State(log): State<Log>, socket: Socket| {
        log.push("first");
        assert!(!socket.connected());
        assert!(socket.namespace().is_empty());
        Ok::<_, ConnectError>(())
    })
    .middleware(async |State(log): State<Log>| {
        tokio::task::yield_now().await;
        log.push("second");
        Ok::<_, ConnectError>(())
    })
    .on_connection(async |State(log): State<Log>, socket: Socket| {
        assert!(socket.connected());
        log.push("connected");
    });
    io.of("/other");
    let mut peer = Peer::open(&io).await;
    peer.send("0");
    peer.settle().await;
    peer.joined("/");
    assert_eq!(log.take(), ["first", "second", "connected"]);
    peer.join("/other");
    assert!(log.take().is_empty(), "other namespaces have none");
}

#[tokio::test]
async fn a_middleware_refuses() {
    #[derive(serde::Deserialize)]
    struct Credentials {
        token: String,
    }

    let (io, log) = server();
    io.middleware(
        async |Auth(credentials): Auth<Credentials>, socket: Socket| {
            socket.join("staff");
            match &*credentials.token {
                "good" => Ok(()),
                "old" => {
                    let data = serde_json::json!({ "renew": true });
                    Err(ConnectError::new("expired").with_data(&data))
                }
                _ => Err("who are you?".into()),
            }
        },
    )
    .on_connection(async |State(log): State<Log>| log.push("connected"));
    let mut peer = Peer::open(&io).await;
    peer.send(r#"0{"token":"bad"}"#);
    assert_eq!(peer.received_one(), r#"4{"message":"who are you?"}"#);
    peer.send(r#"0{"token":"old"}"#);
    assert_eq!(
        peer.received_one(),
        r#"4{"message":"expired","data":{"renew":true}}"#
    );
    assert!(log.take().is_empty());
    peer.send("0");
    let refusal = peer.received_one();
    assert!(refusal.contains("invalid auth: missing field `token`"));
    assert_eq!(log.take().len(), 1, "the error hook is told");
    assert!(io.of("/").is_empty());

    // it may try again
    peer.send(r#"0{"token":"good"}"#);
    let id = peer.joined("/");
    assert_eq!(log.take(), ["connected"]);
    let rooms = io.of("/").socket(&id).unwrap().rooms();
    assert_eq!(rooms, [id.into(), "staff".into()]);
}

#[tokio::test]
async fn rooms_can_be_left_before_they_are_joined() {
    let (io, _) = server();
    io.middleware(async |socket: Socket| {
        socket.join(["a", "b", "a"]);
        socket.leave("b");
        assert_eq!(socket.rooms(), ["a".into()]);
        Ok::<_, ConnectError>(())
    });
    let mut peer = Peer::open(&io).await;
    let id = peer.join("/");
    let rooms = io.of("/").socket(&id).unwrap().rooms();
    assert_eq!(rooms, [id.into(), "a".into()]);
}

#[tokio::test]
async fn a_connection_that_is_dropped_leaves() {
    let (io, _) = server();
    let peer = Peer::connect(&io).await;
    assert_eq!(io.of("/").len(), 1);
    drop(peer);
    assert!(io.of("/").is_empty());
}

#[tokio::test]
async fn details_that_cannot_be_sent() {
    let (io, log) = server();
    io.middleware(async || {
        let map = std::collections::BTreeMap::from([(vec![1], 1)]);
        Err::<(), _>(ConnectError::new("no").with_data(&map))
    });
    let mut peer = Peer::open(&io).await;
    peer.send("0");
    assert_eq!(peer.received_one(), r#"4{"message":"no"}"#);
    assert_eq!(log.take(), ["error key must be a string"]);
}

#[tokio::test]
async fn a_panic_refuses() {
    let (io, log) = server();
    io.middleware(async || {
        if true {
            panic!("secret detail");
        }
        Ok::<_, ConnectError>(())
    });
    let mut peer = Peer::open(&io).await;
    peer.send("0");
    assert_eq!(peer.received_one(), r#"4{"message":"internal error"}"#);
    assert_eq!(log.take(), ["error panicked: secret detail"]);
}

#[tokio::test]
async fn what_a_middleware_emits_comes_first() {
    let (io, _) = server();
    io.middleware(async |socket: Socket| {
        socket.emit("early", &1).unwrap();
        Ok::<_, ConnectError>(())
    });
    let mut peer = Peer::open(&io).await;
    peer.send("0");
    let packets = peer.received();
    assert_eq!(packets[0], r#"2["early",1]"#);
    assert!(packets[1].starts_with("0{"));
}

#[tokio::test]
async fn broadcasts_miss_whoever_is_in_middleware() {
    let (io, gate) = gated();
    let mut peer = Peer::open(&io).await;
    peer.send("0");
    io.emit("e", &1).unwrap();
    io.to("early").emit("e", &2).unwrap();
    gate.add_permits(1);
    peer.settle().await;
    peer.joined("/");
    io.to("early").emit("e", &3).unwrap();
    assert_eq!(peer.received_one(), r#"2["e",3]"#);
}

/// A server that lets nobody in before there is a permit.
fn gated() -> (SocketIo, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let (io, _) = server_with(|builder| builder.state(gate.clone()));
    io.middleware(async |State(gate): State<Arc<Semaphore>>, socket: Socket| {
        socket.join("early");
        gate.acquire().await.unwrap().forget();
        Ok::<_, ConnectError>(())
    });
    (io, gate)
}

#[tokio::test]
async fn events_before_the_answer_close() {
    for packet in [r#"2["e"]"#, "1", "30[]", "2"] {
        let (io, _) = gated();
        let mut peer = Peer::open(&io).await;
        peer.send("0");
        assert!(!peer.is_closed());
        peer.send(packet);
        assert!(peer.is_closed(), "{packet}");
    }
}

#[tokio::test]
async fn a_second_connect_closes() {
    let (io, _) = server();
    let mut peer = Peer::connect(&io).await;
    peer.send("0");
    assert!(peer.is_closed());
    assert!(io.of("/").is_empty());

    let (io, gate) = gated();
    let mut peer = Peer::open(&io).await;
    peer.send("0");
    peer.send("0");
    assert!(peer.is_closed(), "also while the first one waits");
    gate.add_permits(1);
    peer.settle().await;
    assert!(peer.received().is_empty());
    assert!(io.of("/").is_empty());
}

#[tokio::test]
async fn packets_for_a_namespace_that_was_not_joined_close() {
    for packet in [r#"2/other,["e"]"#, "1/other,", "3/other,0[]", "2/other,"] {
        let (io, _) = server();
        io.of("/other");
        let mut peer = Peer::connect(&io).await;
        peer.send(packet);
        assert!(peer.is_closed(), "{packet}");
        assert!(io.of("/").is_empty());
        peer.send(r#"2["ignored"]"#);
        assert!(peer.received().is_empty());
    }
}

#[tokio::test]
async fn connect_error_is_nothing_that_clients_send() {
    for packet in [r#"4"x""#, r#"4/other,{"message":"x"}"#] {
        let (io, _) = server();
        let mut peer = Peer::connect(&io).await;
        peer.send(packet);
        assert!(peer.is_closed(), "{packet}");
    }
}

#[tokio::test]
async fn a_connection_that_closes_meanwhile_is_dropped_in_silence() {
    let (io, gate) = gated();
    let log = Log::default();
    let seen = log.clone();
    io.on_connection(move || {
        seen.push("connected");
        async {}
    });
    let mut peer = Peer::open(&io).await;
    peer.send("0");
    assert!(!peer.close(CloseReason::TransportClose));
    gate.add_permits(1);
    peer.settle().await;
    assert!(peer.turn(), "nothing is in flight");
    assert!(peer.received().is_empty());
    assert!(io.of("/").is_empty());
    assert!(log.take().is_empty());
    io.to("early").emit("e", &1).unwrap();
    assert!(peer.received().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_connection_has_to_join_something_in_time() {
    let (io, _) = server_with(|builder| builder.connect_timeout(Duration::from_secs(1)));
    io.of("/x");
    let mut idle = Peer::open(&io).await;
    let mut refused = Peer::open(&io).await;
    refused.send("0/nope,");
    let mut joined = Peer::connect(&io).await;
    joined.send("1");
    tokio::time::advance(Duration::from_millis(900)).await;
    for peer in [&mut idle, &mut refused, &mut joined] {
        peer.turn();
        assert!(!peer.is_closed());
    }
    tokio::time::advance(Duration::from_millis(200)).await;
    for peer in [&mut idle, &mut refused, &mut joined] {
        peer.turn();
    }
    assert!(idle.is_closed());
    assert!(refused.is_closed());
    assert!(!joined.is_closed(), "whoever joined once may stay");
}

/// What a middleware holds while it waits. Its end may do anything, too.
struct Held(Log, Socket);

impl Drop for Held {
    fn drop(&mut self) {
        self.1.join("late");
        self.0.push("dropped");
        if self.1.namespace().name() == "/bad" && !std::thread::panicking() {
            panic!("at its end");
        }
    }
}

/// A server with a namespace that nobody ever comes into.
fn stuck(namespace: &str) -> (SocketIo, Log) {
    let (io, log) = server_with(|builder| builder.connect_timeout(Duration::from_secs(1)));
    io.of(namespace)
        .middleware(async |State(log): State<Log>, socket: Socket| {
            let _held = Held(log, socket);
            std::future::pending::<Result<(), ConnectError>>().await
        });
    (io, log)
}

#[tokio::test(start_paused = true)]
async fn a_middleware_that_never_ends_is_dropped_after_its_connection() {
    type End = fn(&mut Peer);
    let ends: [(&str, End); 3] = [
        ("it closes", |peer| {
            peer.close(CloseReason::TransportClose);
        }),
        ("against the rules", |peer| peer.send("2/other,[")),
        ("disconnected", |peer| {
            peer.socket().disconnect_all();
            peer.turn();
        }),
    ];
    for (what, end) in ends {
        let (io, log) = stuck("/stuck");
        let gate = Arc::new(Semaphore::new(0));
        let (inner, seen) = (gate.clone(), log.clone());
        io.on("waits", move || {
            let (gate, log) = (inner.clone(), seen.clone());
            async move {
                gate.acquire().await.unwrap().forget();
                log.push("handled");
            }
        });
        let mut peer = Peer::connect(&io).await;
        peer.send(r#"2["waits"]"#);
        peer.send("0/stuck,");
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(!peer.turn());
        assert!(!peer.is_closed(), "it has joined another one in time");
        end(&mut peer);
        assert!(peer.is_closed(), "{what}");
        log.take();
        tokio::time::advance(Duration::from_millis(900)).await;
        assert!(!peer.turn());
        assert!(log.take().is_empty(), "it may come to its end: {what}");
        tokio::time::advance(Duration::from_millis(200)).await;
        assert!(!peer.turn());
        assert_eq!(log.take(), ["dropped"], "{what}");
        assert!(io.of("/stuck").rooms().is_empty());
        // A handler is not.
        gate.add_permits(1);
        tokio::task::yield_now().await;
        assert!(peer.wakes() > 0, "{what}");
        assert!(peer.turn(), "nothing is in flight");
        assert_eq!(log.take(), ["handled"], "{what}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_middleware_that_never_ends_has_as_long_as_its_client_to_join_something() {
    for closes in [false, true] {
        let (io, log) = stuck("/stuck");
        let mut peer = Peer::open(&io).await;
        peer.send("0/stuck,");
        tokio::time::advance(Duration::from_millis(900)).await;
        let is_over = if closes {
            peer.close(CloseReason::TransportClose)
        } else {
            peer.turn()
        };
        assert!(!is_over);
        assert!(log.take().is_empty());
        tokio::time::advance(Duration::from_millis(200)).await;
        assert!(peer.wakes() > 0);
        assert!(peer.turn(), "nothing is in flight");
        assert!(peer.is_closed());
        assert_eq!(log.take(), ["dropped"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_at_the_end_of_a_middleware_that_is_dropped_is_told() {
    let (io, log) = stuck("/bad");
    let mut peer = Peer::connect(&io).await;
    peer.send("0/bad,");
    assert!(!peer.close(CloseReason::TransportClose));
    tokio::time::advance(Duration::from_millis(1100)).await;
    assert!(peer.turn());
    assert_eq!(log.take(), ["dropped", "error panicked: at its end"]);
    assert!(io.of("/").is_empty());
}
