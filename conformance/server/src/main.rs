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
//! | `spell` (text) | acknowledged with the code points that the server has read |
//! | `compose` (code points) | acknowledged with the text that they make |
//! | `kick` | the socket is disconnected |
//! | `drop` | the connection is closed |
//!
//! The timings are those that the suites expect: a ping every 300 ms, 200 ms to answer it (unless
//! `--ping-timeout` says otherwise), 1 s to join a namespace.
#![forbid(unsafe_code)]

use std::{env, io, process::ExitCode, sync::Arc, task::Context, time::Duration};

use engineio::{Acceptor, CloseReason, Config, Connection, Cors, Handshake, SessionHandle};
use hyper::service::service_fn;
use serde_json::value::RawValue;
use socketio::{
    Args, Namespace, Socket, SocketIo,
    handler::{Auth, Data},
};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> ExitCode {
    let Some(options) = Options::parse(env::args().skip(1)) else {
        eprintln!("usage: conformance-server [--port PORT] [--ping-timeout MILLISECONDS]");
        return ExitCode::from(2);
    };
    match run(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("conformance-server: port {}: {error}", options.port);
            ExitCode::FAILURE
        }
    }
}

#[derive(Clone, Copy)]
struct Options {
    port: u16,
    ping_timeout: u64,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Option<Self> {
        let mut options = Self {
            port: 3000,
            ping_timeout: 200,
        };
        while let Some(name) = arguments.next() {
            let value = arguments.next()?;
            match &*name {
                "--port" => options.port = value.parse().ok()?,
                "--ping-timeout" => options.ping_timeout = value.parse().ok()?,
                _ => return None,
            }
        }
        Some(options)
    }

    fn config(self) -> Config {
        Config::default()
            .ping_interval(Duration::from_millis(300))
            .ping_timeout(Duration::from_millis(self.ping_timeout))
            .max_payload(1_000_000)
            // Clients 1.x and 2.x send credentials, which `*` does not allow.
            .cors(Cors::reflect().credentials(true))
    }
}

async fn run(options: Options) -> io::Result<()> {
    let engine = engineio::Server::new(options.config().path("/engine.io/"), Echo);
    let io = SocketIo::builder()
        .connect_timeout(Duration::from_secs(1))
        .engine(|_| options.config().path("/socket.io/"))
        .build();
    serve_namespace(&io.of("/"));
    serve_namespace(&io.of("/custom"));
    let socketio = io.service();

    let listener = TcpListener::bind(("127.0.0.1", options.port)).await?;
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

fn serve_namespace(namespace: &Namespace) {
    namespace.on_connection(async |socket: Socket, Auth(auth): Auth<Box<RawValue>>| {
        let _ = socket.emit("auth", &auth);
    });
    namespace.on("message", async |socket: Socket, args: Args| {
        socket.emit("message-back", &args)
    });
    namespace.on("message-with-ack", async |args: Args| args);
    namespace.on("spell", async |Data(text): Data<String>| {
        text.chars().map(u32::from).collect::<Vec<_>>()
    });
    namespace.on("compose", async |Data(points): Data<Vec<u32>>| {
        let text = points.into_iter().map(char::from_u32);
        text.collect::<Option<String>>()
            .ok_or("not all are code points")
    });
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
