//! A Socket.IO server on a port of its own.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)] // each test file is a crate and uses a part of this

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use socketio::{Args, Namespace, Socket, SocketIo, handler::Auth};
use testkit::{Open, Polling, TIME_LIMIT, Ws, within};
use tokio::{net::TcpListener, task::JoinHandle};

/// Where the server listens in these tests.
pub const PATH: &str = "/socket.io/";

/// Longer than the server needs to see what was sent to it, short enough to wait for often.
pub const A_MOMENT: Duration = Duration::from_millis(60);

/// A server that runs until this is dropped.
pub struct Running {
    pub addr: SocketAddr,
    pub io: SocketIo,
    task: JoinHandle<()>,
}

impl Running {
    pub async fn start(io: SocketIo) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("an address");
        let serve = socketio::serve(listener, io.service());
        Self {
            addr,
            io,
            task: tokio::spawn(async move {
                serve.await.expect("no error ends the accept loop");
            }),
        }
    }

    /// A polling session of version 4 that has joined nothing.
    pub async fn poll(&self) -> Polling {
        Polling::open(self.addr, PATH, "EIO=4").await
    }

    /// A WebSocket session of version 4 that has joined nothing.
    pub async fn ws(&self) -> Ws {
        self.ws_with("EIO=4").await
    }

    pub async fn ws_with(&self, query: &str) -> Ws {
        let url = format!("{PATH}?{query}&transport=websocket");
        let mut ws = Ws::connect(self.addr, &url).await;
        Open::parse(ws.recv_text().await.as_bytes());
        ws
    }

    /// A WebSocket session of version 4 in the namespace `/`.
    pub async fn joined(&self) -> Ws {
        self.joined_as().await.0
    }

    /// The same, and its socket.
    pub async fn joined_as(&self) -> (Ws, Socket) {
        let mut ws = self.ws().await;
        ws.text("40").await;
        let socket = self.socket_of(&ws.recv_text().await);
        (ws, socket)
    }

    /// A polling session of version 4 in the namespace `/`, and its socket.
    pub async fn polling_as(&self) -> (Polling, Socket) {
        let mut session = self.poll().await;
        session.post_ok("40").await;
        let socket = self.socket_of(&session.poll_text().await);
        (session, socket)
    }

    /// The socket that an answer to a CONNECT names.
    fn socket_of(&self, packet: &str) -> Socket {
        let id = packet.strip_prefix(r#"40{"sid":""#);
        let id = id.and_then(|it| it.strip_suffix(r#""}"#));
        let socket = self.io.of("/").socket(id.expect(packet));
        socket.expect("a socket")
    }
}

/// Waits until the connection can take a message.
pub async fn writable(socket: &Socket) {
    let wait = async {
        while !socket.conn().is_writable() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    within(TIME_LIMIT, "a connection that can be written to", wait).await;
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What handlers saw.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub fn push(&self, line: impl ToString) {
        self.0.lock().unwrap().push(line.to_string());
    }

    pub fn is_empty(&self) -> bool {
        self.0.lock().unwrap().is_empty()
    }

    /// Waits for as many lines, and takes them.
    pub async fn lines(&self, count: usize) -> Vec<String> {
        let wait = async {
            loop {
                if let Some(lines) = self.take_if(count) {
                    return lines;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        within(TIME_LIMIT, "lines in the log", wait).await
    }

    fn take_if(&self, count: usize) -> Option<Vec<String>> {
        let mut lines = self.0.lock().unwrap();
        (lines.len() >= count).then(|| std::mem::take(&mut *lines))
    }
}

/// The application of the official suites: `auth` when a client has joined, `message` comes back,
/// `message-with-ack` is acknowledged with what it says.
pub fn official(io: &SocketIo) {
    for name in ["/", "/custom"] {
        serve_namespace(&io.of(name));
    }
}

fn serve_namespace(namespace: &Namespace) {
    type Anything = serde_json::Value;
    namespace.on_connection(async |socket: Socket, Auth(auth): Auth<Anything>| {
        socket.emit("auth", &auth)
    });
    namespace.on("message", async |socket: Socket, args: Args| {
        socket.emit("message-back", &args)
    });
    namespace.on("message-with-ack", async |args: Args| args);
}
