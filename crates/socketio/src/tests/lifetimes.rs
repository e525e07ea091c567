//! What outlives what: handlers that wait while their client leaves, sockets that are gone, errors
//! that come late.

use std::{
    fmt,
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use bytes::Bytes;
use engineio::Data as Message;
use tokio::sync::Semaphore;

use super::peer::{Log, Peer, server, server_with};
use crate::{
    ConnectError, DisconnectReason, Socket, SocketIo, Str,
    handler::{AckSender, Data, EventName, FromContext, State},
};

#[tokio::test]
async fn an_event_behind_the_one_that_disconnected_the_socket_is_dropped() {
    let (io, log) = server_with(|b| b.max_in_flight(1));
    let gate = Arc::new(Semaphore::new(0));
    let g = gate.clone();
    io.on("login", move |socket: Socket| {
        let g = g.clone();
        async move {
            g.acquire().await.unwrap().forget();
            socket.disconnect();
        }
    });
    io.on("admin", async |State(log): State<Log>, socket: Socket| {
        log.push(format!("admin, connected={}", socket.connected()))
    });
    let mut peer = Peer::connect(&io).await;
    peer.send(r#"2["login"]"#);
    peer.send(r#"2["admin"]"#);
    gate.add_permits(1);
    peer.settle().await;
    assert_eq!(log.take(), Vec::<String>::new());
}

#[tokio::test]
async fn disconnection_handlers_wait_for_connection_handlers_also_when_the_server_disconnects() {
    let (io, log) = server();
    let gate = Arc::new(Semaphore::new(0));
    let g = gate.clone();
    io.on_connection(move |State(log): State<Log>| {
        let g = g.clone();
        async move {
            log.push("begin");
            g.acquire().await.unwrap().forget();
            log.push("end");
        }
    });
    io.on_disconnect(async |State(log): State<Log>, r: DisconnectReason| log.push(r));
    let mut peer = Peer::open(&io).await;
    let id = peer.join("/");
    io.of("/").socket(&id).unwrap().disconnect();
    peer.settle().await;
    gate.add_permits(1);
    peer.settle().await;
    assert_eq!(log.take(), ["begin", "end", "server namespace disconnect"]);
}

#[tokio::test]
async fn a_socket_that_has_left_does_not_act_on_its_successor_of_the_same_id() {
    let (io, _) = server();
    io.of("/admin");
    let mut peer = Peer::open_old(&io, "").await;
    peer.received();
    peer.send("0/admin");
    peer.received();
    let old = peer.client.socket("/admin").unwrap();
    peer.send("1/admin");
    peer.send("0/admin");
    peer.received();
    let new = peer.client.socket("/admin").unwrap();
    assert!(old != new && !old.connected());
    old.join("secret");
    assert!(!new.rooms().iter().any(|r| &**r == "secret"));
}

/// Counts how often it was dropped.
struct Canary(Arc<AtomicUsize>);
impl Drop for Canary {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test]
async fn a_refused_socket_is_freed_though_its_handlers_hold_it() {
    let (io, _) = server();
    let dropped = Arc::new(AtomicUsize::new(0));
    let d = dropped.clone();
    io.middleware(move |socket: Socket| {
        let d = d.clone();
        async move {
            let canary = Arc::new(Canary(d));
            let s = socket.clone();
            socket.on("x", move || {
                let _c = canary.clone();
                let s = s.clone();
                async move {
                    let _ = s.emit("y", &());
                }
            });
            Err::<(), _>(ConnectError::new("no"))
        }
    });
    let mut peer = Peer::open(&io).await;
    peer.send("0");
    drop(peer);
    assert_eq!(dropped.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_error_after_the_answer_reaches_the_hook() {
    let (io, log) = server();
    io.on("e", async || 1);
    io.on("e", async || Err::<(), &str>("second failed"));
    io.on("f", async |ack: AckSender| -> Result<(), &str> {
        ack.send(&1).unwrap();
        Err("after the answer")
    });
    let mut peer = Peer::connect(&io).await;
    peer.send(r#"21["e"]"#);
    peer.send(r#"22["f"]"#);
    assert_eq!(log.take().len(), 2);
}

#[tokio::test]
async fn a_connection_handler_that_waits_for_an_answer_hears_that_the_client_left() {
    let (io, log) = server();
    io.of("/other");
    io.on_connection(async |socket: Socket, State(log): State<Log>| {
        let r = socket.emit_with_ack::<String>("who", &()).await;
        log.push(format!("{r:?}"));
    });
    io.on_disconnect(async |State(log): State<Log>, r: DisconnectReason| log.push(r));
    let mut peer = Peer::open(&io).await;
    peer.join("/other");
    peer.send("0");
    peer.send("1");
    peer.settle().await;
    assert_eq!(
        log.take(),
        ["Err(Disconnected)", "client namespace disconnect"]
    );
    peer.received();
    peer.send("0");
    assert!(peer.received()[0].starts_with("0{"), "it can come back");
}

#[tokio::test]
async fn a_handler_that_waits_for_an_answer_does_not_stop_other_namespaces_when_the_client_leaves()
{
    let (io, log) = server_with(|b| b.max_in_flight(1));
    io.of("/other").on("ping", async || "pong");
    io.on("ask", async |socket: Socket, State(log): State<Log>| {
        let r = socket.emit_with_ack::<String>("who", &()).await;
        log.push(format!("{r:?}"));
    });
    let mut peer = Peer::open(&io).await;
    peer.join("/other");
    peer.join("/");
    peer.send(r#"2["ask"]"#);
    peer.received();
    peer.send("1");
    peer.send(r#"2/other,1["ping"]"#);
    peer.settle().await;
    assert_eq!(log.take(), ["Err(Disconnected)"]);
    assert_eq!(peer.received(), ["3/other,1[\"pong\"]"]);
}

/// An error that panics when it is asked what it is.
struct Bad;
impl fmt::Debug for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bad")
    }
}

impl fmt::Display for Bad {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        panic!("display")
    }
}

impl std::error::Error for Bad {}

/// A parameter that can never be had.
struct BadParam;
impl<C> FromContext<C> for BadParam {
    type Rejection = Bad;
    fn from_context(_: &C) -> Result<Self, Bad> {
        Err(Bad)
    }
}

#[tokio::test]
async fn an_error_that_cannot_say_what_it_is_answers_all_the_same() {
    let (io, _) = server();
    io.on("x", async |_: BadParam| {});
    let mut peer = Peer::connect(&io).await;
    peer.send(r#"21["x"]"#);
    assert_eq!(peer.received(), [r#"31[{"error":"internal error"}]"#]);
    assert!(!peer.is_closed());
}

#[tokio::test]
async fn a_middleware_error_that_cannot_say_what_it_is_refuses_all_the_same() {
    let (io, _) = server();
    io.middleware(async |_: BadParam| Ok::<(), ConnectError>(()));
    let mut peer = Peer::open(&io).await;
    peer.send("0");
    assert_eq!(peer.received(), [r#"4{"message":"internal error"}"#]);
    assert!(!peer.is_closed());
}

#[tokio::test]
async fn a_handler_that_waits_keeps_nothing_of_the_message_alive() {
    type Register = fn(&SocketIo);
    let ways: [Register; 4] = [
        |io| {
            io.on("e", async |_: Data<u8>| pending::<()>().await);
        },
        |io| {
            io.on("e", async |_: EventName, _ack: AckSender| {
                pending::<()>().await
            });
        },
        |io| {
            io.on_any(async || pending::<()>().await);
        },
        |io| {
            io.of("/").packet_middleware(async || pending::<()>().await);
        },
    ];
    for (way, register) in ways.into_iter().enumerate() {
        for text in [r#"2["e",1]"#, r#"21["e",1]"#] {
            let (io, _) = server();
            register(&io);
            let mut peer = Peer::connect(&io).await;
            let owner = Arc::new(text.to_owned());
            let bytes = Bytes::from_owner(Owner(owner.clone()));
            peer.deliver(Message::Text(Str::try_from(bytes).unwrap()));
            assert!(!peer.turn(), "way {way}: a handler waits");
            assert_eq!(Arc::strong_count(&owner), 1, "way {way}: {text}");
        }
    }
}

/// Shows by its count whether the memory is still in use.
struct Owner(Arc<String>);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

#[tokio::test]
async fn what_handlers_hold_is_dropped_outside_of_locks() {
    struct OnDrop(Socket);
    impl Drop for OnDrop {
        fn drop(&mut self) {
            let s = self.0.clone();
            let t = thread::spawn(move || {
                s.on("z", async || {});
            });
            thread::sleep(Duration::from_millis(200));
            println!("R12 on() possible while dropping: {}", t.is_finished());
            assert!(t.is_finished() || thread::panicking());
        }
    }
    let (io, _) = server();
    io.on_connection(async |socket: Socket| {
        let it = Arc::new(OnDrop(socket.clone()));
        socket.on("x", move || {
            let _it = it.clone();
            async {}
        });
    });
    let mut peer = Peer::connect(&io).await;
    peer.send("1");
}
