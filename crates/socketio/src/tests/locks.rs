//! The application's code may do anything, wherever it is called: nothing is locked then.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
};

use serde::{Serialize, Serializer};
use tokio::runtime::Runtime;

use super::peer::{Peer, server_with};
use crate::{ConnectionStateRecovery, Socket, SocketIo};

/// Runs something in a thread of its own.
///
/// # Panics
///
/// If that does not come to an end. The thread then stays where it is.
fn ends(what: &str, run: impl FnOnce() + Send + 'static) {
    let (done, end) = mpsc::channel();
    thread::spawn(move || {
        run();
        done.send(()).unwrap();
    });
    if let Err(error) = end.recv_timeout(4 * testkit::TIME_LIMIT) {
        panic!("{what}: {error}");
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
}

/// Does what takes each lock that there is for a socket and its namespace.
fn use_all(socket: &Socket) {
    let namespace = socket.namespace();
    socket.emit("e", &1).unwrap();
    socket.join("used");
    socket.leave("used");
    socket.rooms();
    socket.set_data(&1).unwrap();
    socket.data::<u8>().unwrap();
    socket.extensions().insert(Note);
    socket.extensions().remove::<Note>();
    socket.off(socket.on_fallback(async || {}));
    drop(socket.emit_with_ack::<u8>("?", &()));
    namespace.to("used").emit("e", &2).unwrap();
    namespace.off(namespace.on_fallback(async || {}));
    drop(namespace.emit_with_ack::<u8>("?", &()));
    namespace.rooms();
    namespace.sockets();
}

#[derive(Clone)]
struct Note;

/// A value whose copies, and whose end, use the socket that it is kept with.
struct Busy(Socket);

impl Clone for Busy {
    fn clone(&self) -> Self {
        use_all(&self.0);
        Self(self.0.clone())
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        use_all(&self.0);
    }
}

impl Serialize for Busy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use_all(&self.0);
        serializer.serialize_u8(1)
    }
}

fn servers() -> [SocketIo; 2] {
    [false, true].map(|recovers| {
        let (io, _) = server_with(|builder| match recovers {
            true => builder.connection_state_recovery(ConnectionStateRecovery::new()),
            false => builder,
        });
        io
    })
}

async fn connect(io: &SocketIo) -> Peer {
    let mut peer = Peer::open(io).await;
    peer.send("0");
    peer
}

#[test]
fn values_may_use_the_socket_that_they_are_kept_with() {
    ends("a value that is kept with a socket", || {
        runtime().block_on(async {
            for io in servers() {
                let peer = connect(&io).await;
                let socket = peer.socket();
                let values = socket.extensions();
                values.insert(Busy(socket.clone()));
                assert!(values.get::<Busy>().is_some());
                assert!(values.insert(Busy(socket.clone())).is_some());
                assert!(values.remove::<Busy>().is_some());
            }
        });
    });
}

#[test]
fn an_error_hook_may_change_the_hook_when_it_goes() {
    struct Last(SocketIo);

    impl Drop for Last {
        fn drop(&mut self) {
            self.0.on_error(|_| {});
        }
    }

    ends("an error hook that is replaced", || {
        let (io, _) = server_with(|builder| builder);
        let last = Last(io.clone());
        io.on_error(move |_| _ = &last);
        io.on_error(|_| {});
    });
}

#[test]
fn what_is_sent_may_send_something_itself() {
    ends("a value that is sent", || {
        runtime().block_on(async {
            for io in servers() {
                let mut peer = connect(&io).await;
                let _old = Peer::open_old(&io, "").await;
                let socket = peer.socket();
                peer.received();
                let busy = Busy(socket.clone());
                socket.emit("busy", &busy).unwrap();
                io.emit("busy", &busy).unwrap();
                io.volatile().emit("busy", &busy).unwrap();
                drop(socket.emit_with_ack::<u8>("busy", &busy));
                drop(io.emit_with_ack::<u8>("busy", &busy));
                socket.set_data(&busy).unwrap();
                let received = peer.received();
                let busy = received.iter().filter(|it| it.contains("busy"));
                assert_eq!(busy.count(), 4, "{received:?}");
            }
        });
    });
}

/// Many threads do everything at once, and everywhere somebody uses the socket.
#[test]
fn everything_at_once_comes_to_an_end() {
    for io in servers() {
        ends("everything at once", move || {
            let runtime = runtime();
            let _context = runtime.enter();
            let told = hooks(&io);
            let stop = AtomicBool::new(false);
            let peers: Vec<Peer> = (0..4).map(|_| runtime.block_on(connect(&io))).collect();
            let sockets: Vec<Socket> = peers.iter().map(Peer::socket).collect();
            thread::scope(|scope| {
                let driving: Vec<_> = peers
                    .into_iter()
                    .map(|peer| {
                        let (stop, context) = (&stop, runtime.handle());
                        scope.spawn(move || {
                            let _context = context.enter();
                            drive(peer, stop);
                        })
                    })
                    .collect();
                for socket in &sockets {
                    let context = runtime.handle();
                    scope.spawn(move || {
                        let _context = context.enter();
                        for round in 0..ROUNDS {
                            let busy = Busy(socket.clone());
                            socket.extensions().insert(busy.clone());
                            socket.join([format!("{}", round % 3), "all".into()]);
                            socket.to("all").emit("busy", &busy).unwrap();
                            let answer = socket.emit_with_ack::<u8>("?", &busy);
                            drop(socket.broadcast().emit_with_ack::<u8>("?", &()));
                            socket.leave("all");
                            drop(answer);
                        }
                    });
                }
                // The last of each pair disconnects, while the others are still at it.
                let context = runtime.handle();
                let (io, sockets, stop) = (&io, &sockets, &stop);
                scope.spawn(move || {
                    let _context = context.enter();
                    for round in 0..ROUNDS {
                        io.emit("all", &round).unwrap();
                        if round == ROUNDS / 2 {
                            sockets[0].disconnect();
                            sockets[1].disconnect_all();
                        }
                    }
                    io.disconnect_sockets(true);
                    stop.store(true, Ordering::Relaxed);
                });
                driving.into_iter().for_each(|it| it.join().unwrap());
            });
            assert!(io.of("/").is_empty());
            assert!(told.load(Ordering::Relaxed) > 0);
        });
    }
}

const ROUNDS: usize = 100;

/// Hooks that use what they are told of.
fn hooks(io: &SocketIo) -> Arc<AtomicUsize> {
    let told = Arc::new(AtomicUsize::new(0));
    let (server, count) = (io.clone(), told.clone());
    io.of("/").on_room_event(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        server.to("0").emit("room", &()).unwrap();
    });
    io.on_any_outgoing(|socket, event| {
        if event.name() == "busy" {
            use_all(socket);
        }
    });
    io.on("e", async |socket: Socket| use_all(&socket));
    io.on("fails", async || Err::<(), _>("on purpose"));
    let server = io.clone();
    io.on_error(move |report| {
        server.emit("error", &report.to_string()).unwrap();
        report.socket.into_iter().for_each(use_all);
    });
    io.on_disconnect(async |socket: Socket| use_all(&socket));
    io.on_disconnecting(async |socket: Socket| use_all(&socket));
    told
}

/// A client that answers what it is asked, until the end.
fn drive(mut peer: Peer, stop: &AtomicBool) {
    while !peer.is_closed() && !stop.load(Ordering::Relaxed) {
        for packet in peer.received() {
            let id = packet.split_once('[').map(|(head, _)| head.to_owned());
            let id = id.and_then(|head| head.strip_prefix('2')?.parse::<u64>().ok());
            if let Some(id) = id
                && peer.is_ready()
            {
                peer.send(&format!("3{id}[1]"));
            }
        }
        for event in ["e", "fails"] {
            if !peer.is_closed() && peer.is_ready() && peer.client.socket("/").is_some() {
                peer.send(&format!(r#"2["{event}"]"#));
            }
        }
        peer.turn();
    }
    peer.turn();
}
