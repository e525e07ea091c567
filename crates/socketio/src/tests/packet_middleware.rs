//! What events have to pass before their handlers are called.

use std::sync::Arc;

use engineio::CloseReason;
use tokio::sync::Semaphore;

use super::peer::{Log, Peer, server, server_with};
use crate::{
    Args, Builder, DisconnectReason, EmitError, ErrorReply, Socket, SocketIo,
    handler::{Data, Event, EventName, State},
};

#[derive(Clone)]
struct Gate(Arc<Semaphore>);

/// A server whose packet middleware lets the event `slow` wait for a permit.
fn gated(change: impl FnOnce(Builder) -> Builder) -> (SocketIo, Log, Arc<Semaphore>) {
    let gate = Arc::new(Semaphore::new(0));
    let (io, log) = server_with(|b| change(b.state(Gate(gate.clone()))));
    for name in ["/", "/other"] {
        let namespace = io.of(name);
        namespace.packet_middleware(async |name: EventName, State(Gate(gate)): State<Gate>| {
            if &*name == "slow" {
                gate.acquire().await.unwrap().forget();
            }
        });
        for event in ["slow", "fast"] {
            namespace.on(
                event,
                async |name: EventName, Data(n): Data<u8>, State(log): State<Log>| {
                    log.push(format!("{name} {n}"));
                },
            );
        }
        namespace.on_disconnect(async |State(log): State<Log>, reason: DisconnectReason| {
            log.push(reason)
        });
    }
    (io, log, gate)
}

#[tokio::test]
async fn later_middlewares_and_handlers_see_what_was_changed() {
    let (io, log) = server();
    let main = io.of("/");
    main.packet_middleware(async |mut event: Event| {
        let n: u8 = event.args().deserialize()?;
        event.set_args(&(n + 1, "added"))?;
        Ok::<_, crate::BoxError>(event)
    })
    .packet_middleware(async |mut event: Event, args: Args| {
        assert_eq!(args.json(), r#"2,"added""#);
        event.set_name("new");
        event
    });
    io.on("old", async |State(log): State<Log>| {
        log.push("it has another name")
    });
    io.on(
        "new",
        async |Data((n, text)): Data<(u8, String)>, name: EventName| (n, text, name.to_string()),
    );
    let mut peer = Peer::connect(&io).await;
    peer.socket()
        .packet_middleware(async |State(log): State<Log>, name: EventName| log.push(name));
    peer.send(r#"27["old",1]"#);
    assert_eq!(peer.received_one(), r#"37[2,"added","new"]"#);
    assert_eq!(log.take(), ["new"]);
}

#[tokio::test]
async fn a_changed_event_is_still_the_same_one() {
    let (io, _) = server();
    let kept = Arc::new(std::sync::Mutex::new(None));
    let first = kept.clone();
    io.of("/").packet_middleware(move |event: Event| {
        let mut first = first.lock().unwrap();
        let event = first.get_or_insert(event).clone();
        async { event }
    });
    io.on("one", async |socket: Socket| socket.id().to_owned());
    let (mut one, mut two) = (Peer::connect(&io).await, Peer::connect(&io).await);
    one.send(r#"21["one"]"#);
    assert_eq!(
        one.received_one(),
        format!(r#"31["{}"]"#, one.socket().id())
    );
    // has the name of an event of somebody else, and is answered to its own sender
    two.send(r#"22["two"]"#);
    assert_eq!(
        two.received_one(),
        format!(r#"32["{}"]"#, two.socket().id())
    );
    kept.lock().unwrap().take();
    assert!(one.received().is_empty());
}

#[tokio::test]
async fn an_event_is_refused_with_an_answer_and_a_report() {
    let (io, log) = server();
    let main = io.of("/");
    main.packet_middleware(async |name: EventName| match &*name {
        "no" => Err(crate::BoxError::from("not allowed")),
        "own" => Err(ErrorReply::new(&("code", 4)).into()),
        _ => Ok(()),
    });
    main.packet_middleware(async |name: EventName| {
        assert_eq!(&*name, "yes", "refused events go no further");
    });
    for name in ["no", "own", "yes"] {
        main.on(name, async |State(log): State<Log>, name: EventName| {
            log.push(name)
        });
    }
    let mut peer = Peer::connect(&io).await;
    peer.send(r#"21["no"]"#);
    assert_eq!(peer.received_one(), r#"31[{"error":"not allowed"}]"#);
    assert_eq!(log.take(), ["error `no`: not allowed"]);
    peer.send(r#"22["own"]"#);
    assert_eq!(peer.received_one(), r#"32["code",4]"#);
    peer.send(r#"2["no"]"#);
    assert!(peer.received().is_empty());
    assert_eq!(log.take().len(), 2);
    peer.send(r#"2["yes"]"#);
    assert_eq!(log.take(), ["yes"]);
    assert!(!peer.is_closed());
}

#[tokio::test]
async fn a_middleware_that_cannot_be_called_or_panics_refuses() {
    let (io, log) = server();
    let main = io.of("/");
    main.packet_middleware(|Data(n): Data<u8>| {
        assert_ne!(n, 1, "before the future");
        async move { assert_ne!(n, 2, "in the future") }
    });
    main.on("e", async || "passed");
    let mut peer = Peer::connect(&io).await;
    peer.send(r#"20["e",1]"#);
    assert_eq!(peer.received_one(), r#"30[{"error":"internal error"}]"#);
    peer.send(r#"20["e",2]"#);
    assert_eq!(peer.received_one(), r#"30[{"error":"internal error"}]"#);
    peer.send(r#"20["e"]"#);
    let text = r#"30[{"error":"argument 1 of `e` is missing"}]"#;
    assert_eq!(peer.received_one(), text);
    assert_eq!(log.take().len(), 3);
    peer.send(r#"20["e",3]"#);
    assert_eq!(peer.received_one(), r#"30["passed"]"#);
}

#[tokio::test]
async fn events_wait_behind_one_in_middleware() {
    let (io, log, gate) = gated(|builder| builder);
    let mut peer = Peer::connect(&io).await;
    peer.join("/other");
    for packet in [
        r#"2["slow",1]"#,
        r#"2["fast",2]"#,
        r#"2["slow",3]"#,
        r#"2["fast",4]"#,
    ] {
        peer.send(packet);
    }
    assert!(log.take().is_empty());
    // those of other namespaces do not
    peer.send(r#"2/other,["fast",5]"#);
    assert_eq!(log.take(), ["fast 5"]);
    gate.add_permits(1);
    peer.settle().await;
    assert_eq!(log.take(), ["slow 1", "fast 2"]);
    gate.add_permits(1);
    peer.settle().await;
    assert_eq!(log.take(), ["slow 3", "fast 4"]);
    assert!(peer.turn());
}

#[tokio::test]
async fn what_waits_behind_a_middleware_is_bounded() {
    let (io, log, gate) = gated(|builder| builder.max_waiting(2, 1000));
    let mut peer = Peer::connect(&io).await;
    for n in 1..=3 {
        assert!(peer.is_ready());
        peer.send(&format!(r#"2["slow",{n}]"#));
    }
    assert!(!peer.is_ready());
    gate.add_permits(3);
    peer.settle().await;
    assert!(peer.is_ready());
    assert_eq!(log.take(), ["slow 1", "slow 2", "slow 3"]);
}

#[tokio::test]
async fn an_event_in_middleware_counts_as_one_in_flight() {
    let (io, log, gate) = gated(|builder| builder.max_in_flight(1));
    let mut peer = Peer::connect(&io).await;
    peer.join("/other");
    peer.send(r#"2["slow",1]"#);
    peer.send(r#"2/other,["fast",2]"#);
    assert!(log.take().is_empty(), "one after the other");
    gate.add_permits(1);
    peer.settle().await;
    assert_eq!(log.take(), ["slow 1", "fast 2"]);
}

#[tokio::test]
async fn a_middleware_can_ask_the_client() {
    let (io, log) = server_with(|builder| builder.max_in_flight(1));
    io.of("/").packet_middleware(async |socket: Socket| {
        let sure: bool = socket.emit_with_ack("sure?", &()).await?;
        if sure {
            Ok(())
        } else {
            Err(crate::BoxError::from("not sure"))
        }
    });
    io.on("e", async |State(log): State<Log>, Data(n): Data<u8>| {
        log.push(n)
    });
    let mut peer = Peer::connect(&io).await;
    peer.send(r#"2["e",1]"#);
    peer.send(r#"2["e",2]"#);
    assert_eq!(peer.received_one(), r#"20["sure?"]"#);
    peer.send("30[true]");
    assert_eq!(log.take(), ["1"]);
    assert_eq!(peer.received_one(), r#"21["sure?"]"#);
    peer.send("1");
    peer.settle().await;
    assert_eq!(log.take(), ["error `e`: the socket is disconnected"]);
}

#[tokio::test]
async fn what_was_in_middleware_when_the_client_left_is_handled_before_its_end() {
    for leave in [
        |peer: &mut Peer| peer.send("1"),
        |peer: &mut Peer| assert!(!peer.close(CloseReason::TransportClose)),
    ] {
        let (io, log, gate) = gated(|builder| builder);
        let mut peer = Peer::connect(&io).await;
        peer.send(r#"2["slow",1]"#);
        peer.send(r#"2["fast",2]"#);
        leave(&mut peer);
        gate.add_permits(1);
        peer.settle().await;
        let lines = log.take();
        assert_eq!(lines[..2], ["slow 1", "fast 2"]);
        assert_eq!(lines.len(), 3);
        assert!(peer.turn());
    }
}

#[tokio::test]
async fn what_was_in_middleware_when_the_server_disconnected_is_dropped() {
    let (io, log, gate) = gated(|builder| builder);
    let mut peer = Peer::connect(&io).await;
    peer.send(r#"21["slow",1]"#);
    peer.socket().disconnect();
    peer.turn();
    gate.add_permits(1);
    peer.settle().await;
    assert_eq!(log.take(), ["server namespace disconnect"]);
    assert_eq!(peer.received(), ["1"]);
    // the client can come back
    peer.join("/");
    peer.send(r#"2["fast",2]"#);
    assert_eq!(log.take(), ["fast 2"]);
}

#[tokio::test]
async fn a_middleware_that_disconnects_the_socket_keeps_the_event_back() {
    let (io, log, _) = gated(|builder| builder);
    io.of("/")
        .packet_middleware(async |socket: Socket| socket.disconnect());
    let mut peer = Peer::connect(&io).await;
    peer.send(r#"2["fast",1]"#);
    assert_eq!(log.take(), ["server namespace disconnect"]);
}

#[tokio::test]
async fn a_middleware_of_a_socket_is_for_that_socket() {
    let (io, log, _) = gated(|builder| builder);
    let (mut one, mut two) = (Peer::connect(&io).await, Peer::connect(&io).await);
    one.socket()
        .packet_middleware(async || Err::<Event, EmitError>(EmitError::ReservedEvent));
    one.send(r#"2["fast",1]"#);
    two.send(r#"2["fast",2]"#);
    assert_eq!(
        log.take(),
        ["error `fast`: the name of the event is reserved", "fast 2"]
    );
}
