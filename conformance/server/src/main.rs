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
//! | `ask` | the client is asked `question` with the same arguments; acknowledged with its answer, a text, bytes and a number |
//! | `kick` | the socket is disconnected |
//! | `drop` | the connection is closed |
//!
//! The namespace `/shut` lets nobody in. With `--parser msgpack` clients have to use
//! `socket.io-msgpack-parser`.
//!
//! With `--redis URL` it passes requests for sessions of others with the same Redis on to them.
//!
//! The timings are those that the suites expect: a ping every 300 ms, 200 ms to answer it (unless
//! `--ping-timeout` says otherwise), 1 s to join a namespace.
#![forbid(unsafe_code)]

use std::{env, io, process::ExitCode, sync::Arc, task::Context, time::Duration};

use bytes::Bytes;
use engineio::{Acceptor, CloseReason, Config, Connection, Cors, Handshake, SessionHandle};
use hyper::service::service_fn;
use serde_json::value::RawValue;
use socketio::{
    Args, ConnectError, Namespace, Socket, SocketIo,
    handler::{Auth, Data},
    parser::MsgpackParser,
};
use socketio_adapter_redis::{Redis, RedisRelay};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> ExitCode {
    let Some(options) = Options::parse(env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let port = options.port;
    match run(options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("conformance-server: port {port}: {error}");
            ExitCode::FAILURE
        }
    }
}

const USAGE: &str = "usage: conformance-server [--port PORT] [--ping-timeout MILLISECONDS] [--parser default|msgpack] [--redis URL]";

struct Options {
    port: u16,
    ping_timeout: u64,
    msgpack: bool,
    redis: Option<String>,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Option<Self> {
        let mut options = Self {
            port: 3000,
            ping_timeout: 200,
            msgpack: false,
            redis: None,
        };
        while let Some(name) = arguments.next() {
            let value = arguments.next()?;
            match &*name {
                "--port" => options.port = value.parse().ok()?,
                "--ping-timeout" => options.ping_timeout = value.parse().ok()?,
                "--parser" if value == "default" => options.msgpack = false,
                "--parser" if value == "msgpack" => options.msgpack = true,
                "--redis" => options.redis = Some(value),
                _ => return None,
            }
        }
        Some(options)
    }

    fn config(&self) -> io::Result<Config> {
        let config = Config::default()
            .ping_interval(Duration::from_millis(300))
            .ping_timeout(Duration::from_millis(self.ping_timeout))
            .max_payload(1_000_000)
            // Clients 1.x and 2.x send credentials, which `*` does not allow.
            .cors(Cors::reflect().credentials(true));
        Ok(match &self.redis {
            Some(url) => {
                let redis = Redis::connect(url).map_err(io::Error::other)?;
                config.relay(RedisRelay::new(redis))
            }
            None => config,
        })
    }
}

async fn run(options: Options) -> io::Result<()> {
    let engine = engineio::Server::new(options.config()?.path("/engine.io/"), Echo);
    let config = options.config()?.path("/socket.io/");
    let mut builder = SocketIo::builder()
        .connect_timeout(Duration::from_secs(1))
        .engine(|_| config);
    if options.msgpack {
        builder = builder.parser(MsgpackParser);
    }
    let io = builder.build();
    serve_namespace(&io.of("/"));
    serve_namespace(&io.of("/custom"));
    io.of("/shut").middleware(async || {
        let data = serde_json::json!({ "code": 7, "é": [null] });
        Err::<(), _>(ConnectError::new("nobody gets in").with_data(&data))
    });
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
    namespace.on("ask", async |socket: Socket, args: Args| {
        type Answer = (String, Bytes, i64);
        socket.emit_with_ack::<Answer>("question", &args).await
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
