//! Typed events.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::peer::{Log, Peer, server};
use crate::{
    EmitError, Socket, TypedEvent,
    handler::{EventName, State, Typed},
};

/// With attributes of all kinds around it.
#[derive(Clone, Serialize, Deserialize, TypedEvent)]
#[event(name = "chat message", ack = Receipt)]
#[serde(rename_all = "camelCase")]
struct ChatMessage {
    room_name: String,
    text: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Receipt {
    length: usize,
}

#[derive(Serialize, Deserialize, TypedEvent)]
#[event(name = "move")]
struct Move(u8, i8);

#[derive(Serialize, Deserialize, TypedEvent)]
#[event(name = r"ping\")]
#[event(ack = (HashMap<String, Vec<(u8, u8)>>, bool))]
struct Ping;

#[derive(Serialize, Deserialize, TypedEvent)]
#[event(name = "choice", ack = HashMap<u8, u8>)]
#[serde(untagged)]
enum Choice {
    Number(u8),
    Text(String),
}

#[derive(Serialize, TypedEvent)]
#[event(name = "")]
struct Nothing {}

fn message(text: &str) -> ChatMessage {
    ChatMessage {
        room_name: "a".into(),
        text: text.into(),
    }
}

#[test]
fn the_macro_takes_what_is_said() {
    assert_eq!(ChatMessage::NAME, "chat message");
    assert_eq!(Ping::NAME, r"ping\");
    assert_eq!(Choice::NAME, "choice");
    assert_eq!(Nothing::NAME, "");
    let _: <Move as TypedEvent>::Ack = ();
    let _: <Ping as TypedEvent>::Ack = (HashMap::from([("a".into(), vec![(1, 2)])]), true);
    let _: <Choice as TypedEvent>::Ack = HashMap::from([(1, 2)]);
}

#[tokio::test]
async fn typed_events_are_handled() {
    let (io, log) = server();
    io.on_event(
        async |State(log): State<Log>, Typed(message): Typed<ChatMessage>| -> Receipt {
            log.push(&message.text);
            Receipt {
                length: message.text.len(),
            }
        },
    )
    .on_event(async |State(log): State<Log>, Typed(Move(x, y)): Typed<Move>| log.push(x as i8 + y))
    .on_event(async |choice: Typed<Choice>| match choice.0 {
        Choice::Number(n) => Ok(HashMap::from([(n, n)])),
        Choice::Text(text) => Err(text),
    });
    let mut peer = Peer::connect(&io).await;
    peer.send(r#"21["chat message",{"roomName":"a","text":"hello"}]"#);
    assert_eq!(peer.received_one(), r#"31[{"length":5}]"#);
    peer.send(r#"22["move",3,-1]"#);
    assert_eq!(peer.received_one(), "32[]");
    assert_eq!(log.take(), ["hello", "2"]);
    peer.send(r#"23["choice",7]"#);
    assert_eq!(peer.received_one(), r#"33[{"7":7}]"#);
    peer.send(r#"24["choice","none"]"#);
    assert_eq!(peer.received_one(), r#"34[{"error":"none"}]"#);
    peer.send(r#"25["move","x"]"#);
    let text = r#"argument 1 of `move`: invalid type: string \"x\", expected u8"#;
    assert_eq!(peer.received_one(), format!(r#"35[{{"error":"{text}"}}]"#));
    assert_eq!(log.take().len(), 1);
}

#[tokio::test]
async fn typed_events_are_sent_to_one_and_to_many() {
    let (io, _) = server();
    let (mut one, mut two) = (Peer::connect(&io).await, Peer::connect(&io).await);
    one.socket().emit_event(&Move(1, -1)).unwrap();
    assert_eq!(one.received_one(), r#"2["move",1,-1]"#);
    io.emit_event(&message("all")).unwrap();
    io.of("/").emit_event(&Choice::Text("x".into())).unwrap();
    let broadcast = one.socket().broadcast();
    broadcast.emit_event(&Nothing {}).unwrap();
    assert!(!one.socket().volatile().emit_event(&Move(1, 1)).unwrap());
    let text = r#"2["chat message",{"roomName":"a","text":"all"}]"#;
    assert_eq!(one.received(), [text, r#"2["choice","x"]"#]);
    assert_eq!(two.received(), [text, r#"2["choice","x"]"#, r#"2["",{}]"#]);
}

#[tokio::test]
async fn acknowledgements_of_typed_events_are_read_as_their_type() {
    let (io, _) = server();
    let mut peer = Peer::connect(&io).await;
    let answer = peer.socket().emit_event_with_ack(&message("hello"));
    assert!(peer.received_one().starts_with(r#"20["chat message","#));
    peer.send(r#"30[{"length":5}]"#);
    assert_eq!(answer.await, Ok(Receipt { length: 5 }));
    let answer = peer.socket().emit_event_with_ack(&Ping);
    assert_eq!(peer.received_one(), r#"21["ping\\"]"#);
    peer.send(r#"31[{"a":[[1,2]]},true]"#);
    let (map, flag) = answer.await.unwrap();
    assert!(flag && map["a"] == [(1, 2)]);

    let answer = peer.socket().compress(false).emit_event_with_ack(&Ping);
    assert_eq!(peer.received_one(), r#"22["ping\\"]"#);
    peer.send("32[{},false]");
    assert!(!answer.await.unwrap().1);
    let answers = io.to(peer.socket().id()).emit_event_with_ack(&Ping);
    assert_eq!(peer.received_one(), r#"23["ping\\"]"#);
    peer.send("33[{},true]");
    assert_eq!(answers.await.unwrap(), [(HashMap::new(), true)]);
}

#[tokio::test]
async fn a_socket_has_typed_handlers_of_its_own_beside_plain_ones() {
    let (io, log) = server();
    let mut peer = Peer::connect(&io).await;
    let socket = peer.socket();
    socket.on(
        "move",
        async |State(log): State<Log>, Typed(Move(x, _)): Typed<Move>| {
            log.push(x);
        },
    );
    socket.on_event(
        async |socket: Socket, name: EventName, Typed(Move(x, y)): Typed<Move>| {
            socket.broadcast().emit(&name, &(y, x))
        },
    );
    let mut other = Peer::connect(&io).await;
    peer.send(r#"2["move",1,2]"#);
    assert_eq!(log.take(), ["1"]);
    assert_eq!(other.received_one(), r#"2["move",2,1]"#);
}

#[tokio::test]
async fn parents_have_typed_events_for_their_children() {
    let (io, log) = server();
    let parent = io.of_dynamic("/room/{id}");
    parent.on_event(async |State(log): State<Log>, Typed(Move(x, _)): Typed<Move>| log.push(x));
    let mut peer = Peer::open(&io).await;
    let id = peer.join("/room/1");
    peer.send(r#"2/room/1,["move",7,0]"#);
    assert_eq!(log.take(), ["7"]);
    parent.emit_event(&Move(1, 2)).unwrap();
    parent.to(&*id).emit_event(&Move(3, 4)).unwrap();
    let packets = [r#"2/room/1,["move",1,2]"#, r#"2/room/1,["move",3,4]"#];
    assert_eq!(peer.received(), packets);
}

/// By hand, since the macro refuses such a name.
#[derive(Serialize, Deserialize)]
struct Reserved;

impl TypedEvent for Reserved {
    const NAME: &'static str = "disconnect";
    type Ack = ();
}

#[tokio::test]
async fn reserved_names_are_not_sent_as_typed_events() {
    let (io, _) = server();
    assert_eq!(io.emit_event(&Reserved), Err(EmitError::ReservedEvent));
}

#[tokio::test]
#[should_panic(expected = "clients cannot send `disconnect`")]
async fn reserved_names_cannot_be_handled_as_typed_events() {
    server().0.on_event(async |_: Typed<Reserved>| {});
}
