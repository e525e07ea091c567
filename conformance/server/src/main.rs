//! The server that the official protocol suites and the real clients talk to.
//!
//! Under `/engine.io/`, an Engine.IO server that sends back what it gets. Under `/socket.io/`, on
//! the namespaces `/` and `/custom`:
//!
//! | event | answer |
//! |---|---|
//! | connection | `auth` with what the client gave to be let in |
//! | `message` | `message-back` with the same arguments |
//! | `message-with-ack` | acknowledged with the same arguments |
//! | `kick` | the socket is disconnected |
//! | `drop` | the connection is closed |
//!
//! The timings are those that the suites expect: a ping every 300 ms, 200 ms to answer it, 1 s to
//! join a namespace.
#![forbid(unsafe_code)]

use std::{env, io, process::ExitCode, sync::Arc, task::Context, time::Duration};

use engineio::{Acceptor, CloseReason, Config, Connection, Cors, Handshake, SessionHandle};
use hyper::service::service_fn;
use serde_json::value::RawValue;
use socketio::{Args, Namespace, Socket, SocketIo, handler::Auth};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> ExitCode {
    let port = match port() {
        Ok(port) => port,
        Err(usage) => {
            eprintln!("{usage}");
            return ExitCode::from(2);
        }
    };
    match run(port).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("conformance-server: port {port}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// `--port N`, 3000 without.
fn port() -> Result<u16, &'static str> {
    const USAGE: &str = "usage: conformance-server [--port PORT]";
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => Ok(3000),
        ["--port", port] => port.parse().map_err(|_| USAGE),
        _ => Err(USAGE),
    }
}

async fn run(port: u16) -> io::Result<()> {
    let engine = engineio::Server::new(config().path("/engine.io/"), Echo);
    let io = SocketIo::builder()
        .connect_timeout(Duration::from_secs(1))
        .engine(|_| config().path("/socket.io/"))
        .build();
    serve_namespace(&io.of("/"));
    serve_namespace(&io.of("/custom"));
    let socketio = io.service();

    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    println!("listening on *:{}", listener.local_addr()?.port());
    let routes = service_fn(move |request| {
        let (engine, socketio) = (engine.clone(), socketio.clone());
        async move {
            Ok(if engine.is_for(&request) {
                engine.handle(request).await
            } else {
                socketio.handle(request).await
            })
        }
    });
    engineio::serve(listener, routes).await
}

fn config() -> Config {
    Config::default()
        .ping_interval(Duration::from_millis(300))
        .ping_timeout(Duration::from_millis(200))
        .max_payload(1_000_000)
        // Clients 1.x and 2.x send credentials, which `*` does not allow.
        .cors(Cors::reflect().credentials(true))
}

fn serve_namespace(namespace: &Namespace) {
    namespace.on_connection(async |socket: Socket, Auth(auth): Auth<Box<RawValue>>| {
        let _ = socket.emit("auth", &auth);
    });
    namespace.on("message", async |socket: Socket, args: Args| {
        socket.emit("message-back", &args)
    });
    namespace.on("message-with-ack", async |args: Args| args);
    namespace.on("kick", async |socket: Socket| socket.disconnect());
    namespace.on("drop", async |socket: Socket| {
        socket.conn().close(CloseReason::ForcedClose);
    });
}

/// Engine.IO alone: what comes goes back.
struct Echo;

struct EchoConnection(SessionHandle);

impl Acceptor for Echo {
    type Connection = EchoConnection;

    fn accept(&self, session: SessionHandle, _: Arc<Handshake>) -> EchoConnection {
        EchoConnection(session)
    }
}

impl Connection for EchoConnection {
    fn on_message(&mut self, message: engineio::Data, _: &mut Context<'_>) {
        self.0.send(message);
    }
}
