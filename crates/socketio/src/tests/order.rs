//! Whose turn it is.

use std::sync::Arc;

use engineio::CloseReason;
use tokio::sync::Semaphore;

use super::peer::{Log, Peer, server_with};
use crate::{
    Builder, ConnectError, DisconnectReason, Socket, SocketIo,
    handler::{Data, State},
};

type Gate = Arc<Semaphore>;

/// A server whose handler of `wait` ends only when it gets a permit.
fn gated(change: impl FnOnce(Builder) -> Builder) -> (SocketIo, Log, Gate) {
    let gate = Arc::new(Semaphore::new(0));
    let (io, log) = server_with(|builder| change(builder).state(gate.clone()));
    for namespace in ["/", "/other"] {
        io.of(namespace).on(
            "wait",
            async |State(log): State<Log>, State(gate): State<Gate>, Data(n): Data<u8>| {
                log.push(format!("start {n}"));
                gate.acquire().await.unwrap().forget();
                log.push(format!("end {n}"));
                n
            },
        );
        io.of(namespace)
            .on("note", async |State(log): State<Log>, Data(n): Data<u8>| {
                log.push(format!("note {n}"));
            });
        io.of(namespace)
            .on_disconnect(async |State(log): State<Log>, reason: DisconnectReason| {
                log.push(reason);
            });
    }
    (io, log, gate)
}

#[tokio::test]
async fn a_handler_that_waits_holds_up_nobody() {
    let (io, log, gate) = gated(|builder| builder);
    let mut peer = Peer::connect(&io).await;
    peer.send(r#"21["wait",1]"#);
    peer.send(r#"22["wait",2]"#);
    peer.send(r#"2["note",3]"#);
    assert_eq!(log.take(), ["start 1", "start 2", "note 3"]);
    assert!(!peer.turn());
    gate.add_permits(2);
    peer.settle().await;
    assert_eq!(peer.received(), ["31[1]", "32[2]"]);
    assert_eq!(log.take(), ["end 1", "end 2"]);
    assert!(peer.turn(), "nothing is in flight any more");
}

#[tokio::test]
async fn a_handler_that_can_go_on_wakes_the_connection() {
    let (io, log, gate) = gated(|builder| builder);
    let mut peer = Peer::connect(&io).await;
    peer.send(r#"2["wait",1]"#);
    peer.turn();
    assert_eq!(peer.wakes(), 0);
    gate.add_permits(1);
    assert_eq!(peer.wakes(), 1);
    peer.turn();
    assert_eq!(log.take(), ["start 1", "end 1"]);
}

#[tokio::test]
async fn one_at_a_time() {
    let (io, log, gate) = gated(|builder| builder.max_in_flight(1));
    let mut peer = Peer::connect(&io).await;
    for packet in [r#"2["wait",1]"#, r#"2["note",2]"#, r#"2["wait",3]"#, "1"] {
        peer.send(packet);
    }
    assert_eq!(log.take(), ["start 1"]);
    gate.add_permits(1);
    peer.settle().await;
    assert_eq!(log.take(), ["end 1", "note 2", "start 3"]);
    assert!(io.of("/").is_empty(), "the client is not there any more");
    gate.add_permits(1);
    peer.settle().await;
    assert_eq!(log.take(), ["end 3", "client namespace disconnect"]);
    assert!(io.of("/").is_empty());
    assert!(!peer.is_closed());
}

#[tokio::test]
async fn a_full_queue_takes_nothing_more() {
    let (io, log, gate) = gated(|builder| builder.max_in_flight(1).max_waiting(3, 1000));
    let mut peer = Peer::connect(&io).await;
    peer.send(r#"2["wait",0]"#);
    for n in 1..=3 {
        assert!(peer.is_ready());
        peer.send(&format!(r#"2["note",{n}]"#));
    }
    assert!(!peer.is_ready());
    gate.add_permits(1);
    peer.settle().await;
    assert!(peer.is_ready());
    assert_eq!(
        log.take(),
        ["start 0", "end 0", "note 1", "note 2", "note 3"]
    );
}

#[tokio::test]
async fn a_queue_is_full_of_bytes_too() {
    let (io, _, gate) = gated(|builder| builder.max_in_flight(1).max_waiting(100, 1000));
    let mut peer = Peer::connect(&io).await;
    peer.send(r#"2["wait",0]"#);
    peer.send(&format!(r#"2["big","{}"]"#, "x".repeat(900)));
    assert!(peer.is_ready());
    peer.send(r#"51-["big",{"_placeholder":true,"num":0}]"#);
    peer.send_binary(&[0; 200]);
    assert!(!peer.is_ready());
    gate.add_permits(1);
    peer.settle().await;
    assert!(peer.is_ready());
    assert!(peer.turn());
}

#[tokio::test]
async fn what_clients_give_to_be_let_in_fills_a_queue_too() {
    let (io, _, _gate) = gated(|builder| builder.max_in_flight(1).max_waiting(100, 1000));
    let mut peer = Peer::connect(&io).await;
    peer.send(r#"2["wait",1]"#);
    peer.send(r#"2["wait",2]"#);
    assert!(peer.is_ready());
    peer.send(&format!(r#"0{{"token":"{}"}}"#, "x".repeat(1000)));
    assert!(!peer.is_ready());
}

#[tokio::test]
async fn answers_overtake_events_that_wait() {
    let (io, log, gate) = gated(|builder| builder.max_in_flight(1));
    io.on("ask", async |socket: Socket, State(log): State<Log>| {
        let answer: u8 = socket.emit_with_ack("question", &()).await.unwrap();
        log.push(answer);
    });
    let mut peer = Peer::connect(&io).await;
    peer.send(r#"2["ask"]"#);
    peer.send(r#"2["note",1]"#);
    assert_eq!(peer.received_one(), r#"20["question"]"#);
    assert!(log.take().is_empty());
    peer.send("30[42]");
    assert_eq!(log.take(), ["42", "note 1"]);
    drop(gate);
}

#[tokio::test]
async fn events_wait_for_connection_handlers() {
    let (io, log, gate) = gated(|builder| builder);
    io.on_connection(async |socket: Socket, State(gate): State<Gate>| {
        gate.acquire().await.unwrap().forget();
        socket.on("own", async |State(log): State<Log>| log.push("own"));
    });
    io.on_connection(async |State(log): State<Log>| log.push("quick"));
    let mut peer = Peer::open(&io).await;
    peer.send("0");
    peer.send(r#"2["note",1]"#);
    peer.send(r#"2["own"]"#);
    peer.send(r#"2["note",2]"#);
    peer.joined("/");
    assert_eq!(log.take(), ["quick"]);

    // other namespaces do not wait
    peer.join("/other");
    peer.send(r#"2/other,["note",3]"#);
    assert_eq!(log.take(), ["note 3"]);

    gate.add_permits(1);
    peer.settle().await;
    assert_eq!(log.take(), ["note 1", "own", "note 2"]);
}

#[tokio::test]
async fn connection_handlers_can_ask_the_client() {
    let (io, log, _) = gated(|builder| builder.max_in_flight(1));
    io.on_connection(async |socket: Socket, State(log): State<Log>| {
        log.push(socket.emit_with_ack::<u8>("who", &()).await.unwrap());
    });
    let mut peer = Peer::open(&io).await;
    peer.send("0");
    peer.send(r#"2["note",1]"#);
    assert_eq!(peer.received()[1], r#"20["who"]"#);
    peer.send("30[9]");
    assert_eq!(log.take(), ["9", "note 1"]);
}

#[tokio::test]
async fn a_connection_handler_that_disconnects_at_once_is_noticed_at_once() {
    let (io, log, gate) = gated(|builder| builder);
    io.middleware(async |State(gate): State<Gate>| {
        gate.acquire().await.unwrap().forget();
        Ok::<_, ConnectError>(())
    });
    io.on_connection(async |socket: Socket| socket.disconnect());
    let mut peer = Peer::open(&io).await;
    peer.send("0");
    gate.add_permits(1);
    // There may be no other turn for a long time.
    assert!(peer.turn());
    assert_eq!(peer.received().len(), 2);
    assert_eq!(log.take(), ["server namespace disconnect"]);
}

#[tokio::test]
async fn a_namespace_is_joined_again_in_its_turn() {
    let (io, log, gate) = gated(|builder| builder.max_in_flight(1));
    let mut peer = Peer::open(&io).await;
    let first = peer.join("/");
    peer.send(r#"2["wait",1]"#);
    peer.send(r#"2["note",2]"#);
    peer.send("1");
    peer.send("0");
    assert!(!peer.is_closed(), "this is no second CONNECT");
    gate.add_permits(1);
    peer.settle().await;
    let second = peer.joined("/");
    assert_ne!(first, second);
    assert_eq!(
        log.take(),
        ["start 1", "end 1", "note 2", "client namespace disconnect"]
    );
}

#[tokio::test]
async fn what_arrived_before_the_end_is_still_handled() {
    let (io, log, gate) = gated(|builder| builder.max_in_flight(1));
    let mut peer = Peer::connect(&io).await;
    peer.join("/other");
    peer.send(r#"2["wait",1]"#);
    peer.send(r#"2/other,["note",2]"#);
    peer.send(r#"2["note",3]"#);
    assert!(!peer.close(CloseReason::PingTimeout));
    assert!(io.of("/").is_empty(), "nobody can reach it any more");
    gate.add_permits(1);
    peer.settle().await;
    assert_eq!(
        log.take(),
        [
            "start 1",
            "end 1",
            "note 2",
            "note 3",
            "ping timeout",
            "ping timeout"
        ]
    );
    assert!(peer.turn());
}

#[tokio::test]
async fn disconnection_handlers_come_after_connection_handlers() {
    let (io, log, gate) = gated(|builder| builder);
    io.on_connection(async |State(log): State<Log>, State(gate): State<Gate>| {
        gate.acquire().await.unwrap().forget();
        log.push("connected");
    });
    let mut peer = Peer::open(&io).await;
    peer.send("0");
    assert!(!peer.close(CloseReason::TransportClose));
    assert!(log.take().is_empty());
    gate.add_permits(1);
    peer.settle().await;
    assert_eq!(log.take(), ["connected", "transport close"]);
    assert!(peer.turn());
}

#[tokio::test]
async fn a_violation_does_not_lose_what_came_before_it() {
    let (io, log, gate) = gated(|builder| builder.max_in_flight(1));
    let mut peer = Peer::connect(&io).await;
    peer.send(r#"2["wait",1]"#);
    peer.send(r#"2["note",2]"#);
    peer.send("abc");
    assert!(peer.is_closed());
    gate.add_permits(1);
    peer.settle().await;
    assert_eq!(
        log.take(),
        [
            "start 1",
            "error unknown packet type NaN",
            "end 1",
            "note 2",
            "forced server close"
        ]
    );
}
