//! Handlers for whatever comes.

use super::peer::{Log, Peer, server};
use crate::{
    Args, Socket,
    handler::{AckSender, Data, EventName, State},
};

async fn note_any(State(log): State<Log>, name: EventName, args: Args) {
    log.push(format!("any {name} {}", args.json()));
}

#[tokio::test]
async fn every_event_is_seen_before_its_own_handlers() {
    let (io, log) = server();
    io.on("e", async |State(log): State<Log>| log.push("e"));
    let main = io.of("/");
    main.packet_middleware(async |State(log): State<Log>| log.push("middleware"));
    main.on_any(note_any);
    let mut peer = Peer::connect(&io).await;
    let socket = peer.socket();
    socket.on_any(async |State(log): State<Log>| log.push("own"));
    peer.send(r#"2["e",1,"x"]"#);
    assert_eq!(log.take(), [r#"any e 1,"x""#, "own", "middleware", "e"]);
    peer.send(r#"2["unknown"]"#);
    assert_eq!(log.take(), ["any unknown ", "own", "middleware"]);
    // acknowledgements are no events
    peer.send("30[1]");
    assert!(log.take().is_empty());
}

#[tokio::test]
async fn an_event_that_is_refused_has_been_seen() {
    let (io, log) = server();
    io.of("/").on_any(note_any);
    io.of("/").packet_middleware(async || Err::<(), _>("no"));
    let mut peer = Peer::connect(&io).await;
    peer.send(r#"2["e"]"#);
    assert_eq!(log.take(), ["any e ", "error `e`: no"]);
}

#[tokio::test]
async fn catch_all_handlers_are_put_in_front_counted_and_removed() {
    let (io, log) = server();
    let main = io.of("/");
    let mut peer = Peer::connect(&io).await;
    let socket = peer.socket();
    assert_eq!((main.listeners_any(), socket.listeners_any()), (0, 0));
    socket.off_any();
    let push = |text: &'static str| {
        move |State(log): State<Log>| {
            log.push(text);
            async {}
        }
    };
    main.on_any(push("namespace 2"));
    let first = main.prepend_any(push("namespace 1"));
    socket.on_any(push("socket 2"));
    let third = socket.prepend_any(push("socket 1"));
    assert_eq!((main.listeners_any(), socket.listeners_any()), (2, 2));
    peer.send(r#"2["e"]"#);
    assert_eq!(
        log.take(),
        ["namespace 1", "namespace 2", "socket 1", "socket 2"]
    );
    assert!(main.off(first) && socket.off(third));
    main.off_all();
    socket.off_all();
    peer.send(r#"2["e"]"#);
    assert_eq!(log.take(), ["namespace 2", "socket 2"]);
    main.off_any();
    socket.off_any();
    assert_eq!((main.listeners_any(), socket.listeners_any()), (0, 0));
    peer.send(r#"2["e"]"#);
    assert!(log.take().is_empty());
}

#[tokio::test]
async fn a_catch_all_handler_answers_only_if_it_takes_the_answer() {
    let (io, log) = server();
    let mut peer = Peer::connect(&io).await;
    let main = io.of("/");
    main.on_any(async || {});
    peer.send(r#"21["unknown"]"#);
    assert!(peer.received().is_empty());
    main.on_any(async |ack: AckSender| ack.send(&"seen"));
    peer.send(r#"22["unknown"]"#);
    assert_eq!(peer.received_one(), r#"32["seen"]"#);
    assert!(log.take().is_empty());
}

#[tokio::test]
async fn a_catch_all_handler_that_disconnects_the_socket_keeps_the_event_back() {
    let (io, log) = server();
    io.on_any(async |socket: Socket| socket.disconnect());
    io.on("e", async |State(log): State<Log>| log.push("e"));
    let mut peer = Peer::connect(&io).await;
    peer.send(r#"2["e"]"#);
    assert!(log.take().is_empty());
    assert_eq!(peer.received_one(), "1");
}

#[tokio::test]
async fn errors_of_catch_all_handlers_are_reported_with_the_event() {
    let (io, log) = server();
    let main = io.of("/");
    main.on_any(async |Data(_): Data<u8>| {});
    main.on_any(async || Err("sad"));
    main.on_any(async || {
        if true {
            panic!("broken");
        }
    });
    let mut peer = Peer::connect(&io).await;
    io.on("e", async || "answer");
    peer.send(r#"21["e",-1]"#);
    assert_eq!(peer.received_one(), r#"31["answer"]"#);
    let errors = log.take();
    assert!(errors[0].starts_with("error `e`: argument 1"), "{errors:?}");
    assert_eq!(
        errors[1..],
        ["error `e`: sad", "error `e`: panicked: broken"]
    );
}

#[tokio::test]
async fn a_fallback_handles_what_nobody_else_does() {
    let (io, log) = server();
    io.on("e", async || "e");
    let id = io
        .of("/")
        .on_fallback(async |name: EventName| format!("no {name}"));
    let mut peer = Peer::connect(&io).await;
    let socket = peer.socket();
    socket.on_fallback(async |State(log): State<Log>| log.push("own fallback"));
    socket.on("own", async || "own");
    for (event, answer) in [("e", "e"), ("own", "own"), ("other", "no other")] {
        peer.send(&format!(r#"21["{event}"]"#));
        assert_eq!(peer.received_one(), format!(r#"31["{answer}"]"#));
    }
    assert_eq!(log.take(), ["own fallback"]);
    assert!(io.of("/").off(id));
    peer.send(r#"21["other"]"#);
    assert_eq!(peer.received_one(), "31[]");
    socket.off_event("own");
    peer.send(r#"21["own"]"#);
    assert_eq!(peer.received_one(), "31[]");
}

#[tokio::test]
async fn a_fallback_can_send_what_it_got_to_others() {
    let (io, _) = server();
    io.of("/")
        .on_fallback(async |socket: Socket, name: EventName, args: Args| {
            socket.broadcast().emit(&name, &args)
        });
    let (mut one, mut two) = (Peer::connect(&io).await, Peer::connect(&io).await);
    one.send(r#"2["moved",{"x":1},[2]]"#);
    assert_eq!(two.received_one(), r#"2["moved",{"x":1},[2]]"#);
}
