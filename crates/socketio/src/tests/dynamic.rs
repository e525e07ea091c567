//! Namespaces that come to be when a client asks for them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use engineio::CloseReason;
use regex::Regex;
use tokio::sync::Semaphore;

use super::peer::{Log, Peer, server, server_with};
use crate::{
    BoxError, ConnectError, DisconnectReason, Handshake, Namespace, NamespaceMatcher, Socket,
    SocketIo,
    adapter::MemoryAdapter,
    handler::{Data, Params, State},
};

fn invalid(name: &str) -> String {
    format!(r#"4{name},{{"message":"Invalid namespace"}}"#)
}

fn too_many(name: &str) -> String {
    format!(r#"4{name},{{"message":"Too many namespaces"}}"#)
}

fn names(namespaces: &[Namespace]) -> Vec<&str> {
    let mut names: Vec<_> = namespaces.iter().map(Namespace::name).collect();
    names.sort_unstable();
    names
}

/// A server that removes children that nobody is in.
fn cleaning() -> (SocketIo, Log) {
    server_with(|builder| builder.cleanup_empty_child_namespaces(true))
}

#[tokio::test]
async fn a_name_that_matches_a_pattern_comes_to_be() {
    let (io, log) = server();
    let rooms = io.of_dynamic("/room/{id}");
    rooms
        .middleware(async |State(log): State<Log>| {
            log.push("middleware");
            Ok::<_, ConnectError>(())
        })
        .on_connection(async |State(log): State<Log>, namespace: Namespace| {
            log.push(format!("connected to {}", namespace.name()));
        })
        .on("add", async |Data((a, b)): Data<(u8, u8)>| a + b)
        .on_disconnect(async |State(log): State<Log>, reason: DisconnectReason| log.push(reason));
    assert!(io.namespace("/room/1").is_none());
    let mut peer = Peer::open(&io).await;
    peer.join("/room/1");
    let room = io.namespace("/room/1").unwrap();
    assert_eq!((room.len(), room.is_dynamic()), (1, true));
    assert_eq!(room.parent(), Some(&rooms));
    peer.send(r#"2/room/1,5["add",1,2]"#);
    assert_eq!(peer.received_one(), "3/room/1,5[3]");
    peer.send("1/room/1,");
    assert_eq!(
        log.take(),
        [
            "middleware",
            "connected to /room/1",
            "client namespace disconnect"
        ]
    );
    assert!(!io.of("/").is_dynamic());
    assert_eq!(io.of("/").parent(), None);
}

#[tokio::test]
async fn a_name_that_matches_no_parent_is_invalid() {
    let (io, _) = server();
    io.of_dynamic("/room/{id}");
    io.of_dynamic(|name: &str| name.starts_with("/live-"));
    io.of_dynamic(Regex::new(r"^/dynamic-\d+$").unwrap());
    io.of_dynamic(NamespaceMatcher::predicate(async |name, _| {
        Ok(name == "/asked")
    }));
    let mut peer = Peer::open(&io).await;
    for name in [
        "/abc",
        "/room",
        "/room/1/2",
        "/dynamic-1x",
        "/asked2",
        "/_0",
    ] {
        peer.send(&format!("0{name},"));
        assert_eq!(peer.received_one(), invalid(name));
    }
    for name in ["/room/1", "/live-1", "/dynamic-12", "/asked"] {
        peer.join(name);
        assert!(io.namespace(name).unwrap().is_dynamic());
    }
    assert_eq!(io.namespaces().len(), 5);
}

#[tokio::test]
async fn handlers_can_have_the_parameters() {
    #[derive(serde::Deserialize)]
    struct Room {
        id: u32,
    }

    let (io, log) = server();
    let push = async |State(log): State<Log>, Params(room): Params<Room>| log.push(room.id);
    io.of_dynamic("/room/{id}").on_connection(push);
    io.of_dynamic(Regex::new(r"^/(?<kind>[a-z]+)-(?<id>\d+)$").unwrap())
        .on_connection(push)
        .on_connection(async |State(log): State<Log>, namespace: Namespace| {
            log.push(format!("{:?}", namespace.param("kind")));
            log.push(format!("{:?}", namespace.param("other")));
        });
    let mut peer = Peer::open(&io).await;
    peer.join("/room/7");
    peer.join("/x-8");
    assert_eq!(log.take(), ["7", "8", "Some(\"x\")", "None"]);
    peer.join("/room/none");
    assert_eq!(
        log.take(),
        [r#"error invalid namespace: invalid type: string "none", expected u32"#]
    );
    io.on_connection(push);
    peer.join("/");
    assert_eq!(log.take(), ["error invalid namespace: missing field `id`"]);
}

#[tokio::test]
async fn the_first_parent_that_matches_counts() {
    let (io, log) = server();
    let asked = log.clone();
    io.of_dynamic(NamespaceMatcher::predicate(move |name, _| {
        asked.push(format!("asked for {name}"));
        async move {
            tokio::task::yield_now().await;
            match &*name {
                "/room/error" => Err("cannot say".into()),
                name => Ok(name == "/room/1"),
            }
        }
    }))
    .on("who", async || "first");
    io.of_dynamic("/room/{id}").on("who", async || "second");
    io.of_dynamic("/{*all}").on("who", async || "third");
    let mut peer = Peer::open(&io).await;
    for (name, who) in [
        ("/room/1", "first"),
        ("/room/2", "second"),
        ("/room/error", "second"),
        ("/x", "third"),
    ] {
        peer.send(&format!("0{name},"));
        peer.settle().await;
        peer.joined(name);
        peer.send(&format!(r#"2{name},1["who"]"#));
        assert_eq!(peer.received_one(), format!(r#"3{name},1["{who}"]"#));
    }
    assert_eq!(
        log.take(),
        [
            "asked for /room/1",
            "asked for /room/2",
            "asked for /room/error",
            "error cannot say",
            "asked for /x",
        ]
    );
    // for one that there is nobody is asked
    let mut other = Peer::open(&io).await;
    other.join("/room/1");
    assert!(log.take().is_empty());
}

#[tokio::test]
async fn a_predicate_knows_what_the_client_said() {
    #[derive(serde::Deserialize)]
    struct Credentials {
        token: String,
    }

    let (io, log) = server();
    let seen = log.clone();
    io.of_dynamic(NamespaceMatcher::predicate(
        move |name: String, handshake: Handshake| {
            seen.push(format!("{name} {}", handshake.auth()));
            assert_eq!(handshake.header("x-test"), Some("yes"));
            async move {
                let auth: Credentials = handshake.auth_as()?;
                Ok(auth.token == "good")
            }
        },
    ));
    let mut peer = Peer::open(&io).await;
    peer.send(r#"0/x,{"token":"bad"}"#);
    assert_eq!(peer.received_one(), invalid("/x"));
    peer.send(r#"0/x,{"token":"good"}"#);
    peer.joined("/x");
    let auth = r#"{"token":"good"}"#;
    assert_eq!(peer.client.socket("/x").unwrap().handshake().auth(), auth);
    let lines = [r#"/x {"token":"bad"}"#, r#"/x {"token":"good"}"#];
    assert_eq!(log.take(), lines);
}

#[tokio::test]
async fn a_panic_in_a_matcher_means_no() {
    let (io, log) = server();
    io.of_dynamic(|name: &str| if name == "/a" { panic!("a") } else { false });
    let b = io.of_dynamic(NamespaceMatcher::predicate(async |name, _| {
        tokio::task::yield_now().await;
        if name == "/b" { panic!("b") } else { Ok(false) }
    }));
    let own = log.clone();
    b.on_error(move |report| own.push(format!("own {report}")));
    io.of_dynamic(NamespaceMatcher::predicate(
        |name: String, _: Handshake| -> std::future::Ready<Result<bool, BoxError>> {
            if name == "/c" {
                panic!("c")
            } else {
                std::future::ready(Ok(false))
            }
        },
    ));
    let mut peer = Peer::open(&io).await;
    for (name, line) in [
        ("/a", "error panicked: a"),
        ("/b", "own panicked: b"),
        ("/c", "error panicked: c"),
    ] {
        peer.send(&format!("0{name},"));
        peer.settle().await;
        assert_eq!(peer.received_one(), invalid(name));
        assert_eq!(log.take(), [line]);
    }
    peer.join("/");
}

/// A server with a predicate that waits for a permit, and how many of its calls are at work.
fn gated(io: &SocketIo) -> (Arc<Semaphore>, Arc<AtomicUsize>) {
    struct AtWork(Arc<AtomicUsize>);
    impl Drop for AtWork {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }

    let gate = Arc::new(Semaphore::new(0));
    let at_work = Arc::new(AtomicUsize::new(0));
    let (g, count) = (gate.clone(), at_work.clone());
    io.of_dynamic(NamespaceMatcher::predicate(move |_, _| {
        count.fetch_add(1, Ordering::SeqCst);
        let (g, at_work) = (g.clone(), AtWork(count.clone()));
        async move {
            let _at_work = at_work;
            g.acquire().await?.forget();
            Ok(true)
        }
    }));
    (gate, at_work)
}

#[tokio::test]
async fn events_before_the_answer_of_a_predicate_close() {
    for packet in [r#"2/x,["e"]"#, "1/x,", "3/x,0[]", "2/x,", "0/x,"] {
        let (io, _) = server();
        let (gate, at_work) = gated(&io);
        let mut peer = Peer::connect(&io).await;
        peer.send("0/x,");
        assert!(!peer.turn(), "something is in flight");
        peer.send(packet);
        assert!(peer.is_closed(), "{packet}");
        assert_eq!(at_work.load(Ordering::SeqCst), 0);
        gate.add_permits(1);
        peer.settle().await;
        assert!(peer.received().is_empty());
        assert!(io.namespace("/x").is_none());
    }
}

#[tokio::test]
async fn other_namespaces_do_not_wait_for_a_predicate() {
    let (io, _) = server();
    io.on("ping", async || "pong");
    let (gate, _) = gated(&io);
    let mut peer = Peer::open(&io).await;
    peer.send("0/x,");
    peer.join("/");
    peer.send(r#"21["ping"]"#);
    assert_eq!(peer.received_one(), r#"31["pong"]"#);
    gate.add_permits(1);
    assert!(peer.wakes() > 0);
    peer.turn();
    peer.joined("/x");
}

#[tokio::test(start_paused = true)]
async fn a_predicate_is_dropped_when_the_connection_ends() {
    let (io, _) = server_with(|builder| builder.connect_timeout(Duration::from_secs(1)));
    let (_gate, at_work) = gated(&io);

    let mut gone = Peer::connect(&io).await;
    gone.send("0/x,");
    assert_eq!(at_work.load(Ordering::SeqCst), 1);
    assert!(gone.close(CloseReason::TransportClose), "nothing is left");
    assert_eq!(at_work.load(Ordering::SeqCst), 0);

    let mut late = Peer::open(&io).await;
    late.send("0/x,");
    assert_eq!(at_work.load(Ordering::SeqCst), 1);
    tokio::time::advance(Duration::from_millis(1100)).await;
    assert!(late.turn());
    assert!(late.is_closed(), "it has joined nothing in time");
    assert_eq!(at_work.load(Ordering::SeqCst), 0);
    assert!(io.namespace("/x").is_none());
}

#[tokio::test]
async fn what_is_emitted_at_the_parent_reaches_all_children() {
    let (io, _) = server();
    let rooms = io.of_dynamic("/room/{id}");
    io.of_dynamic("/other/{id}");
    rooms.emit("nobody", &()).unwrap();
    let mut peer = Peer::open(&io).await;
    for name in ["/", "/room/1", "/room/2", "/other/1"] {
        peer.join(name);
    }
    let mut received = |_: ()| {
        let mut packets = peer.received();
        packets.sort();
        packets
    };
    rooms.emit("hello", &(1, "2", [3])).unwrap();
    let both = [
        r#"2/room/1,["hello",1,"2",[3]]"#,
        r#"2/room/2,["hello",1,"2",[3]]"#,
    ];
    assert_eq!(received(()), both);
    rooms
        .emit("bytes", &bytes::Bytes::from_static(&[7]))
        .unwrap();
    assert_eq!(received(()).len(), 4, "a header and an attachment for each");

    let sockets: Vec<Socket> = ["/room/1", "/room/2"]
        .map(|name| {
            let socket = peer.client.socket(name).unwrap();
            socket.join("players");
            socket
        })
        .into();
    sockets[1].join("banned");
    let mut received = |_: ()| peer.received();
    rooms.to("nobody").emit("e", &()).unwrap();
    rooms
        .to("players")
        .except(["banned"])
        .emit("e", &1)
        .unwrap();
    assert_eq!(received(()), [r#"2/room/1,["e",1]"#]);
    rooms
        .except("banned")
        .in_(["players", "x"])
        .emit("e", &2)
        .unwrap();
    assert_eq!(received(()), [r#"2/room/1,["e",2]"#]);
    rooms.in_(sockets[1].id()).emit("e", &3).unwrap();
    assert_eq!(received(()), [r#"2/room/2,["e",3]"#]);
    rooms.volatile().emit("e", &4).unwrap();
    assert!(
        received(()).is_empty(),
        "no transport can take it right now"
    );
    assert!(rooms.emit("connect", &()).is_err());
    assert_eq!(names(&rooms.children()), ["/room/1", "/room/2"]);
}

#[tokio::test]
async fn what_a_parent_sends_says_whether_it_may_be_compressed() {
    let (io, _) = server();
    let rooms = io.of_dynamic("/room/{id}");
    let mut peer = Peer::open(&io).await;
    let id = peer.join("/room/1");
    rooms.emit("e", &()).unwrap();
    rooms.compress(false).emit("e", &()).unwrap();
    rooms.to(&id).compress(false).send(&()).unwrap();
    let sent = peer.session.take_sent();
    let flags: Vec<bool> = sent.iter().map(|message| message.compresses()).collect();
    assert_eq!(flags, [true, false, false]);
}

#[tokio::test]
async fn what_is_added_to_the_parent_later_is_for_the_children_that_there_are_too() {
    let (io, log) = server();
    let rooms = io.of_dynamic("/room/{id}");
    let mut peer = Peer::open(&io).await;
    peer.join("/room/1");
    peer.join("/room/2");
    io.of("/room/1")
        .on("e", async |State(log): State<Log>| log.push("own"));
    rooms
        .on("e", async |State(log): State<Log>| log.push("parent's"))
        .on_disconnect(async |State(log): State<Log>, n: Namespace| log.push(n.name()));
    peer.send(r#"2/room/1,["e"]"#);
    assert_eq!(log.take(), ["own", "parent's"]);
    peer.send(r#"2/room/2,["e"]"#);
    assert_eq!(log.take(), ["parent's"]);
    peer.join("/room/3");
    peer.send(r#"2/room/3,["e"]"#);
    assert_eq!(log.take(), ["parent's"]);
    for name in ["/room/1", "/room/2", "/room/3"] {
        peer.send(&format!("1{name},"));
        assert_eq!(log.take(), [name]);
    }
}

#[tokio::test]
async fn what_is_added_to_a_child_is_its_own() {
    let (io, log) = server();
    let rooms = io.of_dynamic("/room/{id}");
    rooms.on("e", async || "parent");
    let errors = log.clone();
    rooms.on_error(move |report| errors.push(format!("parent {report}")));
    io.on_new_namespace(|namespace| {
        if namespace.name() == "/room/1" {
            namespace.on("own", async || "own");
        }
    });
    let mut peer = Peer::open(&io).await;
    peer.join("/room/1");
    peer.join("/room/2");
    for (name, answers) in [("/room/1", 2), ("/room/2", 1)] {
        peer.send(&format!(r#"2{name},1["own"]"#));
        peer.send(&format!(r#"2{name},2["e"]"#));
        assert_eq!(peer.received().len(), answers);
    }
    rooms.on("bad", async || Err::<(), _>("bad"));
    let errors = log.clone();
    io.of("/room/2")
        .on_error(move |report| errors.push(format!("child {report}")));
    peer.send(r#"2/room/1,["bad"]"#);
    peer.send(r#"2/room/2,["bad"]"#);
    assert_eq!(log.take(), ["parent `bad`: bad", "child `bad`: bad"]);
}

#[tokio::test]
async fn a_namespace_made_by_hand_gets_the_parent_that_it_matches() {
    let (io, log) = server();
    let asked = log.clone();
    io.of_dynamic(NamespaceMatcher::predicate(move |_, _| {
        asked.push("asked");
        async { Ok(true) }
    }));
    let dynamic = io.of_dynamic(Regex::new(r"^/dynamic-(?<id>\d+)$").unwrap());
    dynamic.on("e", async || 1);
    io.of_dynamic("/{all}");
    let child = io.of("dynamic-101");
    assert_eq!(child.parent(), Some(&dynamic));
    assert_eq!(child.param("id"), Some("101"));
    assert_eq!(dynamic.children(), [child]);
    assert!(!io.of("/a/b").is_dynamic(), "predicates are not asked");
    assert!(log.take().is_empty());
    let mut peer = Peer::open(&io).await;
    peer.join("/dynamic-101");
    peer.send(r#"2/dynamic-101,0["e"]"#);
    assert_eq!(peer.received_one(), "3/dynamic-101,0[1]");
}

#[tokio::test]
async fn the_hook_hears_of_every_namespace_once() {
    let (io, log) = server();
    io.of("/before");
    let seen = log.clone();
    io.on_new_namespace(move |namespace| {
        assert!(namespace.is_empty());
        seen.push(namespace.name());
    });
    io.of("/nsp");
    io.of("nsp");
    io.of_dynamic("/room/{id}");
    let mut peer = Peer::open(&io).await;
    for name in ["/", "/nsp", "/before", "/room/1"] {
        peer.join(name);
    }
    let mut other = Peer::open(&io).await;
    other.join("/room/1");
    io.of("/room/2");
    other.send("0/none,");
    assert_eq!(log.take(), ["/nsp", "/room/1", "/room/2"]);
}

#[tokio::test]
async fn a_hook_may_use_the_server_and_may_panic() {
    let (io, log) = server();
    let (weak, seen) = (io.clone(), log.clone());
    io.on_new_namespace(move |namespace| {
        assert!(weak.of(namespace.name()) == *namespace);
        if namespace.name() == "/room/1" {
            weak.of("/room/2");
            panic!("oh");
        }
    });
    io.on_new_namespace(move |namespace| seen.push(namespace.name()));
    io.of_dynamic("/room/{id}");
    let mut peer = Peer::open(&io).await;
    peer.join("/room/1");
    peer.join("/room/2");
    assert_eq!(log.take(), ["/room/2", "error panicked: oh", "/room/1"]);
}

#[tokio::test]
async fn nobody_comes_in_before_the_hook_is_done() {
    let (io, log) = cleaning();
    let (entered, leave) = (
        Arc::new(Semaphore::new(0)),
        Arc::new(std::sync::Barrier::new(2)),
    );
    let (e, l, seen) = (entered.clone(), leave.clone(), log.clone());
    io.on_new_namespace(move |namespace| {
        e.add_permits(1);
        l.wait();
        seen.push(format!("hook {}", namespace.len()));
    });
    io.of_dynamic("/room/{id}")
        .on_connection(async |State(log): State<Log>| log.push("connected"));
    let maker = io.clone();
    let making = thread::spawn(move || maker.of("/room/1"));
    entered.acquire().await.unwrap().forget();
    let mut peer = Peer::open(&io).await;
    peer.send("0/room/1,");
    let mut gone = Peer::open(&io).await;
    gone.send("0/room/1,");
    drop(gone);
    assert!(io.namespace("/room/1").is_some(), "one still waits");
    assert!(peer.received().is_empty());
    leave.wait();
    let room = making.join().unwrap();
    peer.settle().await;
    peer.joined("/room/1");
    assert_eq!(room.len(), 1);
    assert_eq!(log.take(), ["hook 0", "connected"]);
}

#[tokio::test]
async fn clients_that_ask_at_the_same_time_get_the_same_child() {
    let (io, log) = server();
    let (gate, _) = gated(&io);
    let seen = log.clone();
    io.on_new_namespace(move |namespace| seen.push(namespace.name()));
    let mut peers = Vec::new();
    for _ in 0..5 {
        let mut peer = Peer::open(&io).await;
        peer.send("0/dynamic-101,");
        peers.push(peer);
    }
    gate.add_permits(5);
    for peer in &mut peers {
        peer.settle().await;
        peer.joined("/dynamic-101");
    }
    io.of("/dynamic-101").emit("message", &()).unwrap();
    for peer in &mut peers {
        assert_eq!(peer.received_one(), r#"2/dynamic-101,["message"]"#);
    }
    assert_eq!(log.take(), ["/dynamic-101"]);
}

#[tokio::test]
async fn an_empty_child_stays_unless_it_is_to_be_cleaned_up() {
    for cleanup in [false, true] {
        let (io, _) = server_with(|builder| builder.cleanup_empty_child_namespaces(cleanup));
        io.of_dynamic("/room/{id}");
        let static_one = io.of("/static");
        for leave in ["client", "server", "connection"] {
            let mut peer = Peer::open(&io).await;
            peer.join("/room/1");
            peer.join("/static");
            let room = io.of("/room/1");
            let mut other = Peer::open(&io).await;
            other.join("/room/1");
            drop(other);
            assert!(io.of("/room/1") == room, "somebody is in it");
            match leave {
                "client" => peer.send("1/room/1,"),
                "server" => peer.client.socket("/room/1").unwrap().disconnect(),
                _ => assert!(peer.close(CloseReason::TransportClose)),
            }
            assert_eq!(io.namespace("/room/1").is_none(), cleanup, "{leave}");
            assert_eq!(room.parent().unwrap().children().is_empty(), cleanup);
            assert!(room.is_empty());
            drop(peer);
            assert!(io.namespace("/static") == Some(static_one.clone()));
        }
    }
}

#[tokio::test]
async fn a_child_whose_first_client_is_refused() {
    for cleanup in [false, true] {
        let (io, _) = server_with(|builder| builder.cleanup_empty_child_namespaces(cleanup));
        let seen = Arc::new(AtomicUsize::new(0));
        let count = seen.clone();
        // lets in the second one only
        io.of_dynamic("/room/{id}").middleware(move || {
            let count = count.fetch_add(1, Ordering::SeqCst);
            async move {
                tokio::task::yield_now().await;
                if count == 1 {
                    Ok(())
                } else {
                    Err("you shall not pass")
                }
            }
        });
        let mut refused = Peer::open(&io).await;
        let mut second = Peer::open(&io).await;
        let no = r#"4/room/1,{"message":"you shall not pass"}"#;
        refused.send("0/room/1,");
        second.send("0/room/1,");
        refused.settle().await;
        assert_eq!(refused.received_one(), no);
        assert!(
            io.namespace("/room/1").is_some(),
            "another one is about to join"
        );
        second.settle().await;
        second.joined("/room/1");
        refused.send("0/room/1,");
        refused.settle().await;
        assert_eq!(refused.received_one(), no);
        assert_eq!(
            io.namespace("/room/1").unwrap().len(),
            1,
            "somebody is in it"
        );
        drop(second);
        assert_eq!(io.namespace("/room/1").is_none(), cleanup);

        refused.send("0/room/2,");
        refused.settle().await;
        refused.received();
        assert_eq!(io.namespace("/room/2").is_none(), cleanup);
        refused.send("0/room/3,");
        drop(refused);
        assert_eq!(
            io.namespace("/room/3").is_none(),
            cleanup,
            "gone while it waited"
        );
    }
}

#[tokio::test]
async fn a_child_that_was_removed_comes_to_be_again() {
    let (io, log) = cleaning();
    let seen = log.clone();
    io.on_new_namespace(move |namespace| seen.push(namespace.name()));
    let rooms = io.of_dynamic("/room/{id}");
    rooms.on("e", async || "still there");
    let mut peer = Peer::open(&io).await;
    peer.join("/room/1");
    let old = io.of("/room/1");
    peer.send("1/room/1,");
    peer.join("/room/1");
    peer.send(r#"2/room/1,1["e"]"#);
    assert_eq!(peer.received_one(), r#"3/room/1,1["still there"]"#);
    assert!(old != io.of("/room/1") && old.is_empty());
    // whoever says so late does not mean its successor
    io.vacated(&old);
    assert_eq!(io.namespace("/room/1").map(|it| it.len()), Some(1));
    assert_eq!(log.take(), ["/room/1", "/room/1"]);
}

#[tokio::test]
async fn a_client_that_comes_back_after_it_was_disconnected_by_the_server() {
    let (io, _) = cleaning();
    io.of_dynamic("/room/{id}");
    let mut peer = Peer::open(&io).await;
    peer.join("/room/1");
    peer.client.socket("/room/1").unwrap().disconnect();
    assert!(io.namespace("/room/1").is_none());
    peer.send(r#"2/room/1,["late"]"#);
    assert!(!peer.is_closed());
    assert_eq!(peer.received_one(), "1/room/1,");
    peer.join("/room/1");
    assert_eq!(io.namespace("/room/1").unwrap().len(), 1);
}

#[tokio::test]
async fn a_child_made_by_hand_stays_until_somebody_has_left_it() {
    let (io, _) = cleaning();
    io.of_dynamic("/room/{id}");
    let room = io.of("/room/1");
    let mut peer = Peer::open(&io).await;
    peer.join("/");
    assert!(io.namespace("/room/1") == Some(room.clone()));
    peer.join("/room/1");
    assert_eq!(room.len(), 1);
    peer.send("1/room/1,");
    assert!(io.namespace("/room/1").is_none());
}

#[tokio::test]
async fn one_that_nobody_is_in_makes_place() {
    let (io, _) = server_with(|builder| builder.max_dynamic_namespaces(2));
    let rooms = io.of_dynamic("/room/{id}");
    let mut peer = Peer::open(&io).await;
    peer.join("/room/1");
    peer.join("/room/2");
    peer.send("0/room/3,");
    assert_eq!(peer.received_one(), too_many("/room/3"));
    let mut other = Peer::open(&io).await;
    other.join("/room/1");
    peer.send("1/room/2,");
    peer.send("1/room/1,");
    peer.join("/room/3");
    assert_eq!(names(&rooms.children()), ["/room/1", "/room/3"]);
    other.send("1/room/1,");
    other.join("/room/1");
    other.send("1/room/1,");
    peer.send("1/room/3,");
    other.join("/room/3");
    // the first in the queue is in use again
    peer.join("/room/4");
    peer.send("0/room/5,");
    assert_eq!(peer.received_one(), too_many("/room/5"));
    assert_eq!(names(&rooms.children()), ["/room/3", "/room/4"]);
    // the application is not bound
    io.of("/room/6");
    io.of("/static");
    peer.join("/static");
    assert_eq!(rooms.children().len(), 3);
}

#[tokio::test]
async fn a_client_cannot_be_in_any_number_of_namespaces() {
    let (io, _) = server_with(|builder| builder.max_namespaces_per_client(3));
    let (_gate, _) = gated(&io);
    io.of("/a");
    let mut peer = Peer::connect(&io).await;
    peer.join("/a");
    peer.send("0/x,");
    peer.send("0/y,");
    assert_eq!(peer.received_one(), too_many("/y"));
    peer.send("1/a,");
    peer.send("0/y,");
    assert!(peer.received().is_empty(), "the predicate has to be asked");
    peer.send("0/a,");
    assert_eq!(
        peer.received_one(),
        too_many("/a"),
        "what is asked for counts"
    );
    assert!(!peer.is_closed());
}

#[tokio::test]
async fn namespaces_that_a_client_was_disconnected_from_do_not_keep_it_from_others() {
    let (io, _) = server_with(|builder| builder.max_namespaces_per_client(3));
    io.of_dynamic("/room/{id}");
    let mut peer = Peer::connect(&io).await;
    for room in ["/room/1", "/room/2", "/room/3", "/room/4"] {
        peer.join(room);
        peer.client.socket(room).unwrap().disconnect();
        assert_eq!(peer.received_one(), format!("1{room},"));
        peer.turn();
    }
    peer.send(r#"2/room/4,["late"]"#);
    assert!(!peer.is_closed(), "the client may not know yet");
    peer.join("/room/5");
    peer.join("/room/6");
    peer.send("0/room/7,");
    assert_eq!(peer.received_one(), too_many("/room/7"));
}

#[tokio::test]
async fn a_namespace_that_was_removed_is_no_member_of_the_cluster() {
    let cluster = MemoryAdapter::new();
    let (io, _) = server_with(|builder| builder.adapter(cluster).max_dynamic_namespaces(1));
    io.of_dynamic("/room/{id}");
    let mut peer = Peer::open(&io).await;
    let mut other = Peer::open(&io).await;
    peer.join("/room/1");
    let removed = io.of("/room/1");
    peer.send("1/room/1,");
    peer.join("/room/2");
    peer.send("1/room/2,");
    other.join("/room/1");
    let room = io.of("/room/1");
    assert!(room != removed);
    assert_eq!(room.server_count().await.unwrap(), 1);
}

#[tokio::test]
async fn clients_of_protocol_4_bring_namespaces_into_being_too() {
    let (io, log) = cleaning();
    io.of_dynamic("/room/{id}")
        .on_connection(async |State(log): State<Log>, socket: Socket| {
            log.push(socket.handshake().auth());
        });
    let mut peer = Peer::open_old(&io, "").await;
    peer.received();
    peer.send("0/room/1?token=a");
    assert_eq!(peer.received_one(), "0/room/1,");
    assert_eq!(log.take(), [r#"{"token":"a"}"#]);
    peer.send("1/room/1");
    assert_eq!(names(&io.namespaces()), ["/"]);
}

#[tokio::test]
async fn whoever_is_let_in_is_in_the_namespace_that_the_server_has() {
    const THREADS: usize = 4;
    for predicate in [false, true] {
        let (io, _) = cleaning();
        let announced = Arc::new(AtomicUsize::new(0));
        let count = announced.clone();
        io.on_new_namespace(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
        });
        let matcher = match predicate {
            true => NamespaceMatcher::predicate(async |_, _| Ok(true)),
            false => "/{*all}".into(),
        };
        let parent = io.of_dynamic(matcher);
        let mut peers = Vec::new();
        for _ in 0..THREADS {
            peers.push(Peer::open(&io).await);
        }
        thread::scope(|scope| {
            for peer in &mut peers {
                let io = &io;
                scope.spawn(move || {
                    for round in 0..300 {
                        peer.send("0/x,");
                        while peer.client.socket("/x").is_none() {
                            peer.turn();
                            thread::yield_now();
                        }
                        peer.joined("/x");
                        let socket = peer.client.socket("/x").unwrap();
                        assert!(io.namespace("/x").as_ref() == Some(socket.namespace()));
                        assert!(io.of("/x").socket(socket.id()).is_some());
                        match round % 2 {
                            0 => socket.disconnect(),
                            _ => peer.send("1/x,"),
                        }
                        peer.turn();
                        peer.received();
                    }
                });
            }
        });
        assert!(parent.children().is_empty());
        assert!(announced.load(Ordering::SeqCst) > 0);
    }
}
