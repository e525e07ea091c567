//! Acknowledgements of what the server sends.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;

use super::peer::{Peer, server, server_with};
use crate::{AckError, EmitError};

#[tokio::test]
async fn the_answer_is_read_as_a_type() {
    let (io, _) = server();
    let mut peer = Peer::connect(&io).await;
    let socket = peer.socket();
    let one = socket.emit_with_ack::<String>("one", &1);
    let two = socket.emit_with_ack::<(u8, Bytes)>("two", &());
    let none = socket.emit_with_ack::<()>("none", &("a", "b"));
    assert_eq!(
        peer.received(),
        [r#"20["one",1]"#, r#"21["two"]"#, r#"22["none","a","b"]"#]
    );
    peer.send("32[]");
    peer.send(r#"61-1[5,{"_placeholder":true,"num":0}]"#);
    peer.send_binary(&[1, 2]);
    peer.send(r#"30["é",2]"#);
    assert_eq!(one.await.unwrap(), "é");
    assert_eq!(two.await.unwrap(), (5, Bytes::from_static(&[1, 2])));
    assert_eq!(none.await, Ok(()));
    assert_eq!(socket.pending_acks(), 0);
}

#[tokio::test]
async fn an_answer_of_another_shape() {
    let (io, _) = server();
    let mut peer = Peer::connect(&io).await;
    let answer = peer.socket().emit_with_ack::<u8>("e", &());
    peer.send(r#"30["text"]"#);
    let error = answer.await.unwrap_err();
    assert!(matches!(error, AckError::Args(_)), "{error:?}");
}

#[tokio::test]
async fn ids_are_counted_by_namespace() {
    let (io, _) = server();
    io.of("/other");
    let (mut one, mut two) = (Peer::connect(&io).await, Peer::connect(&io).await);
    let mut sent = Vec::new();
    for socket in [one.socket(), two.socket(), one.socket()] {
        sent.push(socket.emit_with_ack::<()>("e", &()));
    }
    assert_eq!(one.received(), [r#"20["e"]"#, r#"22["e"]"#]);
    assert_eq!(two.received(), [r#"21["e"]"#]);
    let id = one.join("/other");
    let other = io.of("/other").socket(&id).unwrap();
    sent.push(other.emit_with_ack("e", &()));
    assert_eq!(one.received(), [r#"2/other,0["e"]"#]);
}

#[tokio::test]
async fn answers_that_nobody_waits_for() {
    let (io, log) = server();
    let mut peer = Peer::connect(&io).await;
    let socket = peer.socket();
    peer.send("30[1]");
    peer.send("399999999999[1]");
    let answer = socket.emit_with_ack::<u8>("e", &());
    peer.send("30[2]");
    peer.send("30[3]");
    assert_eq!(answer.await, Ok(2));
    assert!(!peer.is_closed());
    assert!(log.take().is_empty());
}

#[tokio::test(start_paused = true)]
async fn no_answer_in_time() {
    let (io, _) = server();
    let mut peer = Peer::connect(&io).await;
    let socket = peer.socket();
    let patience = Duration::from_secs(1);
    let answer = socket.emit_with_ack::<u8>("e", &()).timeout(patience);
    assert_eq!(socket.pending_acks(), 1);
    let error = answer.await.unwrap_err();
    assert_eq!(error, AckError::Timeout);
    assert_eq!(error.to_string(), "operation has timed out");
    assert_eq!(socket.pending_acks(), 0);
    peer.send("30[1]");
    assert!(!peer.is_closed(), "too late is no violation");

    let answer = socket.emit_with_ack::<u8>("e", &()).timeout(patience);
    peer.send("31[1]");
    tokio::time::advance(2 * patience).await;
    assert_eq!(answer.await, Ok(1), "it was in time");
}

#[tokio::test]
async fn an_answer_that_is_given_up_is_forgotten() {
    let (io, _) = server();
    let peer = Peer::connect(&io).await;
    let socket = peer.socket();
    let mut answer = socket.emit_with_ack::<u8>("e", &());
    assert!((&mut answer).now_or_never().is_none());
    assert_eq!(socket.pending_acks(), 1);
    drop(answer);
    assert_eq!(socket.pending_acks(), 0);
}

#[tokio::test]
async fn a_disconnection_ends_the_wait() {
    let (io, _) = server();
    let mut peer = Peer::connect(&io).await;
    let socket = peer.socket();
    let answer = socket.emit_with_ack::<u8>("e", &());
    peer.send("1");
    assert_eq!(answer.await, Err(AckError::Disconnected));
    peer.received();
    let answer = socket.emit_with_ack::<u8>("e", &());
    assert!(peer.received().is_empty());
    assert_eq!(answer.await, Err(AckError::Disconnected));
    assert_eq!(socket.pending_acks(), 0);
}

#[tokio::test]
async fn what_cannot_be_sent_is_not_waited_for() {
    let (io, _) = server_with(|builder| builder.max_pending_acks(2));
    let mut peer = Peer::connect(&io).await;
    let socket = peer.socket();
    let error = socket.emit_with_ack::<u8>("connect", &()).await;
    assert_eq!(error, Err(AckError::Emit(EmitError::ReservedEvent)));
    let first = socket.emit_with_ack::<u8>("e", &());
    let _second = socket.emit_with_ack::<u8>("e", &());
    let third = socket.emit_with_ack::<u8>("e", &());
    assert_eq!(third.await, Err(AckError::TooManyPending));
    assert_eq!(peer.received().len(), 2);
    peer.send("30[1]");
    assert_eq!(first.await, Ok(1));
    let _fourth = socket.emit_with_ack::<u8>("e", &());
    assert_eq!(peer.received().len(), 1);
}
