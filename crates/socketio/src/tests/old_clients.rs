//! Clients of protocol 4 (1.x and 2.x, Engine.IO 3).

use super::peer::{Log, Peer, server};
use crate::{ConnectError, Socket, handler::State};

#[tokio::test]
async fn the_main_namespace_is_joined_unasked() {
    let (io, log) = server();
    io.on_connection(async |socket: Socket, State(log): State<Log>| {
        log.push(socket.id());
        log.push(socket.handshake().auth());
        socket.emit("hello", &1)
    });
    let mut peer = Peer::open_old(&io, "&token=abc").await;
    assert_eq!(peer.received(), ["0", r#"2["hello",1]"#]);
    let sid = peer.session.sid().to_string();
    assert_eq!(log.take(), [&*sid, r#"{"token":"abc"}"#]);
    peer.send("0");
    assert!(peer.is_closed(), "it has joined already");
}

#[tokio::test]
async fn other_namespaces() {
    let (io, log) = server();
    io.of("/admin")
        .on_connection(async |socket: Socket, State(log): State<Log>| {
            log.push(socket.id());
            log.push(socket.handshake().auth());
        })
        .on("e", async || "answer");
    let mut peer = Peer::open_old(&io, "").await;
    peer.received();
    peer.send("0/admin?token=a%20b&token=c,");
    assert_eq!(peer.received_one(), "0/admin,");
    let id = format!("/admin#{}", peer.session.sid());
    assert_eq!(log.take(), [&*id, r#"{"token":"c"}"#]);
    peer.send(r#"2/admin,1["e"]"#);
    assert_eq!(peer.received_one(), r#"3/admin,1["answer"]"#);
    peer.send("0/nope");
    assert_eq!(
        peer.received_one(),
        r#"4/nope,{"message":"Invalid namespace"}"#
    );
    peer.send("1/admin");
    assert!(io.of("/admin").is_empty());
    assert_eq!(io.of("/").len(), 1);
}

#[tokio::test]
async fn names_are_normalised_like_the_path_of_a_url() {
    let (io, _) = server();
    io.of("/b").on("e", async || "b");
    io.of("/caf%C3%A9");
    let mut peer = Peer::open_old(&io, "").await;
    peer.received();
    peer.send("0/a/../b?x=1,");
    assert_eq!(peer.received_one(), "0/b,");
    for name in ["/b", "/a/../b", "//host/b"] {
        peer.send(&format!(r#"2{name},1["e"]"#));
        assert_eq!(peer.received_one(), r#"3/b,1["b"]"#);
    }
    peer.send("0/café");
    assert_eq!(peer.received_one(), "0/caf%C3%A9,");
    peer.send("0/é?x");
    assert_eq!(
        peer.received_one(),
        r#"4/%C3%A9,{"message":"Invalid namespace"}"#
    );
    peer.send("1//host/b");
    assert!(io.of("/b").is_empty());
    peer.send("0/..");
    assert!(peer.is_closed(), "it is in the main namespace already");
}

#[tokio::test]
async fn names_of_newer_clients_stay_as_they_are() {
    let (io, _) = server();
    io.of("/a/../b?c");
    let mut peer = Peer::open(&io).await;
    peer.join("/a/../b?c");
}

#[tokio::test]
async fn refusals() {
    let (io, _) = server();
    io.middleware(async || Err::<(), _>("no way"));
    io.of("/data")
        .middleware(async || Err::<(), _>(ConnectError::new("boom").with_data(&[1])));
    io.of("/free");
    let mut peer = Peer::open_old(&io, "").await;
    assert_eq!(peer.received_one(), r#"4"no way""#);
    peer.send("0/data");
    assert_eq!(peer.received_one(), "4/data,[1]");
    peer.send("0/free");
    assert_eq!(peer.received_one(), "0/free,");
    peer.send(r#"2["e"]"#);
    assert!(peer.is_closed(), "it is not in this namespace");
}

#[tokio::test]
async fn middlewares_may_take_their_time() {
    let (io, _) = server();
    io.middleware(async || {
        tokio::task::yield_now().await;
        Ok::<_, ConnectError>(())
    });
    let mut peer = Peer::open_old(&io, "").await;
    peer.settle().await;
    assert_eq!(peer.received_one(), "0");
    assert_eq!(io.of("/").len(), 1);
}

#[tokio::test]
async fn binary_data_comes_and_goes() {
    let (io, _) = server();
    io.on("echo", async |args: crate::Args| args);
    let mut peer = Peer::open_old(&io, "").await;
    peer.received();
    peer.send(r#"51-3["echo",{"_placeholder":true,"num":0}]"#);
    peer.send_binary(&[9]);
    assert_eq!(
        peer.received(),
        [r#"61-3[{"_placeholder":true,"num":0}]"#, "[9]"]
    );
}
