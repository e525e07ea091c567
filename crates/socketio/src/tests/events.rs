//! EVENT: handlers, their parameters, what they answer.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::peer::{Log, Peer, server};
use crate::{
    Args, BoxError, EmitError, ErrorReply, Namespace, Socket, SocketIo,
    handler::{AckSender, Data, Event, EventName, FromContext, Reply, State, TryData},
};

#[tokio::test]
async fn arguments_become_types() {
    #[derive(Serialize, Deserialize)]
    struct Message {
        text: String,
        bytes: Bytes,
    }

    let (io, log) = server();
    io.on("one", async |State(log): State<Log>, Data(n): Data<u8>| {
        log.push(n)
    })
    .on(
        "two",
        async |Data((a, b)): Data<(String, i8)>, State(log): State<Log>| {
            log.push(format!("{a} {b}"));
        },
    )
    .on(
        "none",
        async |State(log): State<Log>, Data(()): Data<()>| log.push("none"),
    )
    .on(
        "deep",
        async |State(log): State<Log>, Data(m): Data<Message>| {
            log.push(format!("{} {:?}", m.text, &m.bytes[..]));
        },
    );
    let mut peer = Peer::connect(&io).await;
    peer.send(r#"2["one",1]"#);
    peer.send(r#"2["two","é",-1,"more"]"#);
    peer.send(r#"2["none"]"#);
    peer.send(r#"51-["deep",{"text":"x","bytes":{"_placeholder":true,"num":0}}]"#);
    peer.send_binary(&[1, 2]);
    assert_eq!(log.take(), ["1", "é -1", "none", "x [1, 2]"]);
}

#[tokio::test]
async fn everything_else_that_is_a_parameter() {
    struct Twice(u8);

    impl FromContext<Event> for Twice {
        type Rejection = BoxError;

        fn from_context(event: &Event) -> Result<Self, BoxError> {
            assert!(!event.wants_ack());
            Ok(Twice(event.args().deserialize::<u8>()? * 2))
        }
    }

    #[allow(clippy::too_many_arguments, reason = "as many as there may be")]
    async fn all(
        Twice(twice): Twice,
        io: SocketIo,
        namespace: Namespace,
        socket: Socket,
        State(log): State<Log>,
        name: EventName,
        args: Args,
        TryData(data): TryData<String>,
    ) -> Result<(), EmitError> {
        log.push(format!("{twice} {name} {} {}", args.json(), data.is_err()));
        assert_eq!(&*name, name.as_str());
        assert_eq!(socket.namespace().name(), namespace.name());
        io.emit("done", &args)
    }

    let (io, log) = server();
    io.on("all", all);
    let mut peer = Peer::connect(&io).await;
    peer.send(r#"2["all",4,{"a":1}]"#);
    assert_eq!(log.take(), [r#"8 all 4,{"a":1} true"#]);
    assert_eq!(peer.received_one(), r#"2["done",4,{"a":1}]"#);
}

#[tokio::test]
async fn an_event_that_nobody_handles() {
    let (io, log) = server();
    let mut peer = Peer::connect(&io).await;
    peer.send(r#"27["nobody",1]"#);
    peer.send("2");
    assert!(peer.received().is_empty());
    assert!(log.take().is_empty());
    assert!(!peer.is_closed());
}

#[tokio::test]
async fn handlers_of_an_event_start_in_the_order_of_registration() {
    let (io, log) = server();
    io.on("e", async |State(log): State<Log>, socket: Socket| {
        log.push("first");
        socket.on("e", async |State(log): State<Log>| log.push("own"));
        socket
            .namespace()
            .on("e", async |State(log): State<Log>| log.push("late"));
    })
    .on("e", async |State(log): State<Log>| log.push("second"));
    let (mut one, mut two) = (Peer::connect(&io).await, Peer::connect(&io).await);
    one.send(r#"2["e"]"#);
    assert_eq!(log.take(), ["first", "second", "own"]);
    two.send(r#"2["e"]"#);
    assert_eq!(log.take(), ["first", "second", "late", "own"]);
}

#[tokio::test]
async fn a_socket_does_not_outlive_its_own_handlers() {
    let (io, _) = server();
    let weak = std::sync::Arc::new(());
    let held = std::sync::Arc::downgrade(&weak);
    io.on_connection(move |socket: Socket| {
        let (weak, own) = (weak.clone(), socket.clone());
        socket.on("e", move || {
            let _ = (&weak, &own);
            async {}
        });
        async {}
    });
    let mut peer = Peer::connect(&io).await;
    assert_eq!(held.strong_count(), 2);
    peer.send("1");
    assert_eq!(held.strong_count(), 1);
}

#[tokio::test]
#[should_panic(expected = "clients cannot send `disconnect`")]
async fn reserved_names_cannot_be_handled() {
    SocketIo::new().on("disconnect", async || ());
}

#[tokio::test]
async fn what_a_handler_returns_is_the_answer() {
    #[derive(Serialize)]
    struct Answer {
        ok: bool,
    }

    let (io, _) = server();
    io.on("unit", async || ())
        .on("text", async || "é")
        .on("string", async || String::from("s"))
        .on("number", async || 1.5)
        .on("tuple", async || (1, "b"))
        .on("vec", async || vec![1, 2])
        .on("option", async || None::<u8>)
        .on("value", async || json!({ "a": [1] }))
        .on("reply", async || Reply(Answer { ok: true }))
        .on("result", async || Ok::<_, BoxError>(Answer { ok: true }))
        .on("done", async || Ok::<_, BoxError>(()))
        .on("echo", async |args: Args| args)
        .on("bytes", async |Data(bytes): Data<Bytes>| bytes)
        .on("later", async || {
            tokio::task::yield_now().await;
            true
        });
    let mut peer = Peer::connect(&io).await;
    let mut ask = |event: &str| {
        peer.send(&format!(r#"27["{event}",1,[2]]"#));
        peer.received_one()
    };
    assert_eq!(ask("unit"), "37[]");
    assert_eq!(ask("text"), r#"37["é"]"#);
    assert_eq!(ask("string"), r#"37["s"]"#);
    assert_eq!(ask("number"), "37[1.5]");
    assert_eq!(ask("tuple"), r#"37[1,"b"]"#);
    assert_eq!(ask("vec"), "37[[1,2]]");
    assert_eq!(ask("option"), "37[null]");
    assert_eq!(ask("value"), r#"37[{"a":[1]}]"#);
    assert_eq!(ask("reply"), r#"37[{"ok":true}]"#);
    assert_eq!(ask("result"), r#"37[{"ok":true}]"#);
    assert_eq!(ask("done"), "37[]");
    assert_eq!(ask("echo"), "37[1,[2]]");
    peer.send(r#"51-12["bytes",{"_placeholder":true,"num":0}]"#);
    peer.send_binary(&[7]);
    assert_eq!(
        peer.received(),
        [r#"61-12[{"_placeholder":true,"num":0}]"#, "[7]"]
    );
    peer.send(r#"28["later"]"#);
    peer.settle().await;
    assert_eq!(peer.received_one(), "38[true]");
    peer.send(r#"2["text"]"#);
    assert!(peer.received().is_empty(), "nobody asked");
}

#[tokio::test]
async fn errors_are_answered_or_reported() {
    let (io, log) = server();
    io.on("fail", async || Err::<(), _>("no luck"))
        .on("own", async || {
            Err::<(), BoxError>(ErrorReply::new(&("code", 4)).into())
        });
    let mut peer = Peer::connect(&io).await;
    peer.send(r#"21["fail"]"#);
    assert_eq!(peer.received_one(), r#"31[{"error":"no luck"}]"#);
    peer.send(r#"22["own"]"#);
    assert_eq!(peer.received_one(), r#"32["code",4]"#);
    assert!(log.take().is_empty());
    peer.send(r#"2["fail"]"#);
    assert!(peer.received().is_empty());
    assert_eq!(log.take(), ["error `fail`: no luck"]);
}

#[tokio::test]
async fn arguments_of_another_shape_are_not_silent() {
    let (io, log) = server();
    io.on("n", async |Data(_): Data<u8>| true);
    let mut peer = Peer::connect(&io).await;
    peer.send(r#"21["n","text"]"#);
    let text = r#"argument 1 of `n`: invalid type: string \"text\", expected u8"#;
    assert_eq!(peer.received_one(), format!(r#"31[{{"error":"{text}"}}]"#));
    peer.send(r#"2["n"]"#);
    assert_eq!(
        log.take(),
        [
            "error `n`: argument 1 of `n`: invalid type: string \"text\", expected u8",
            "error `n`: argument 1 of `n` is missing"
        ]
    );
    assert!(!peer.is_closed());
}

#[tokio::test]
async fn a_state_that_nobody_gave() {
    let (io, log) = server();
    io.on("e", async |State(_): State<u8>| ());
    let mut peer = Peer::connect(&io).await;
    peer.send(r#"2["e"]"#);
    assert_eq!(log.take(), ["error `e`: there is no state of type `u8`"]);
}

#[tokio::test]
async fn a_panic_ends_the_handler_alone() {
    let (io, log) = server();
    io.on("now", |Data(deep): Data<bool>| {
        assert!(deep, "before the future");
        async {
            if true {
                panic!("secret {}", 1);
            }
        }
    })
    .on("later", async || {
        tokio::task::yield_now().await;
        if true {
            panic!("late");
        }
        0
    })
    .on("fine", async || "fine");
    let mut peer = Peer::connect(&io).await;
    let internal = |id| format!(r#"3{id}[{{"error":"internal error"}}]"#);
    peer.send(r#"21["now",true]"#);
    assert_eq!(peer.received_one(), internal(1));
    peer.send(r#"22["now",false]"#);
    assert_eq!(peer.received_one(), internal(2));
    peer.send(r#"23["later"]"#);
    peer.settle().await;
    assert_eq!(peer.received_one(), internal(3));
    assert_eq!(
        log.take(),
        [
            "error `now`: panicked: secret 1",
            "error `now`: panicked: before the future",
            "error `later`: panicked: late"
        ]
    );
    peer.send(r#"24["fine"]"#);
    assert_eq!(peer.received_one(), r#"34["fine"]"#);
}

#[tokio::test]
async fn an_answer_that_cannot_be_sent() {
    let (io, log) = server();
    io.on("map", async || {
        Reply(std::collections::BTreeMap::from([(vec![1], 1)]))
    });
    let mut peer = Peer::connect(&io).await;
    peer.send(r#"21["map"]"#);
    assert_eq!(peer.received_one(), r#"31[{"error":"internal error"}]"#);
    let errors = log.take();
    assert!(
        errors[0].contains("the answer cannot be sent"),
        "{errors:?}"
    );
}

#[tokio::test]
async fn the_first_answer_counts() {
    let (io, _) = server();
    io.on("e", async || ())
        .on("e", async || {
            tokio::task::yield_now().await;
            "value"
        })
        .on("e", async || {
            tokio::task::yield_now().await;
            "too late"
        });
    let mut peer = Peer::connect(&io).await;
    peer.send(r#"21["e"]"#);
    peer.settle().await;
    assert_eq!(peer.received_one(), r#"31["value"]"#);
}

#[tokio::test]
async fn an_answer_may_be_given_later() {
    let (io, log) = server();
    io.on("later", async |ack: AckSender| {
        tokio::spawn(async move {
            assert!(ack.is_wanted());
            ack.send(&("late", 1)).unwrap();
        });
        Ok::<_, BoxError>(())
    })
    .on("never", async |ack: AckSender| drop(ack))
    .on("unasked", async |ack: AckSender, State(log): State<Log>| {
        log.push(ack.is_wanted());
        ack.send(&1).unwrap();
    });
    let mut peer = Peer::connect(&io).await;
    peer.send(r#"21["later"]"#);
    // also after the namespace was left
    peer.send("1");
    assert!(peer.received().is_empty());
    peer.settle().await;
    assert_eq!(peer.received_one(), r#"31["late",1]"#);

    peer.join("/");
    peer.send(r#"22["never"]"#);
    assert!(peer.received().is_empty());
    assert_eq!(
        log.take(),
        ["error `never`: the event was not acknowledged"]
    );
    peer.send(r#"2["unasked"]"#);
    assert_eq!(log.take(), ["false"]);
    assert!(peer.received().is_empty());
}

#[tokio::test]
async fn a_namespace_can_have_an_error_hook_of_its_own() {
    let (io, log) = server();
    let own = Log::default();
    let errors = own.clone();
    io.of("/own")
        .on("fail", async || Err::<(), _>("x"))
        .on_error(move |report| {
            errors.push(report.socket().unwrap().namespace().name());
            errors.push(report.event().unwrap());
            errors.push(report.error());
            panic!("a hook that panics harms nobody");
        });
    let mut peer = Peer::open(&io).await;
    peer.join("/own");
    peer.send(r#"2/own,["fail"]"#);
    assert_eq!(own.take(), ["/own", "fail", "x"]);
    assert!(log.take().is_empty());
    assert!(!peer.is_closed());
}

#[tokio::test]
async fn extensions_belong_to_a_socket() {
    let (io, _) = server();
    io.on("set", async |socket: Socket, Data(n): Data<u8>| {
        socket.extensions().insert(n)
    })
    .on("get", async |socket: Socket| {
        socket.extensions().get::<u8>()
    })
    .on("take", async |socket: Socket| {
        socket.extensions().remove::<u8>()
    });
    let (mut one, mut two) = (Peer::connect(&io).await, Peer::connect(&io).await);
    let ask = |peer: &mut Peer, event: &str| {
        peer.send(&format!("20{event}"));
        peer.received_one()
    };
    assert_eq!(ask(&mut one, r#"["get"]"#), "30[null]");
    assert_eq!(ask(&mut one, r#"["set",1]"#), "30[null]");
    assert_eq!(ask(&mut one, r#"["set",2]"#), "30[1]");
    assert_eq!(ask(&mut one, r#"["get"]"#), "30[2]");
    assert_eq!(ask(&mut two, r#"["get"]"#), "30[null]");
    assert_eq!(ask(&mut one, r#"["take"]"#), "30[2]");
    assert_eq!(ask(&mut one, r#"["get"]"#), "30[null]");
}

#[tokio::test]
async fn reserved_names_are_not_sent() {
    let (io, _) = server();
    let mut peer = Peer::connect(&io).await;
    let socket = peer.socket();
    for name in ["connect", "connect_error", "disconnect", "disconnecting"] {
        assert_eq!(socket.emit(name, &()), Err(EmitError::ReservedEvent));
        assert_eq!(io.emit(name, &()), Err(EmitError::ReservedEvent));
        assert_eq!(
            socket.volatile().emit(name, &()),
            Err(EmitError::ReservedEvent)
        );
    }
    socket.emit("error", &()).unwrap();
    assert_eq!(peer.received_one(), r#"2["error"]"#);
    let map = std::collections::BTreeMap::from([(vec![1], 1)]);
    assert!(matches!(
        socket.emit("map", &map),
        Err(EmitError::Encode(_))
    ));
    assert!(peer.received().is_empty());
}
