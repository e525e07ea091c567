//! One of several servers that share a cluster. It does what it is told, line by line, and says what
//! came of it: the same that `node.mjs` beside it does with the official server. The commands are in
//! [`commands`].
#![forbid(unsafe_code)]

mod at_request;
mod commands;
mod values;

use std::{env, process::ExitCode, time::Duration};

use serde_json::{Value, json};
use socketio::{
    BoxError, ConnectionStateRecovery, Namespace, Socket, SocketIo,
    handler::{Auth, Data},
    parser::MsgpackParser,
};
use socketio_adapter_redis::{
    Emitter, PubSubAdapter, Redis, ShardedAdapter, StreamsAdapter, SubscriptionMode,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpListener,
};

use commands::Notes;

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cluster-server: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), BoxError> {
    let mut options = Options::default();
    let mut arguments = env::args().skip(1);
    while let (Some(name), Some(value)) = (arguments.next(), arguments.next()) {
        match &*name {
            "--redis" => options.redis = value,
            "--mode" => options.mode = value,
            "--key" => options.key = value,
            "--parser" if value == "msgpack" => options.is_msgpack = true,
            "--parser" if value == "default" => {}
            // What clients can make the server do.
            "--serve" if value == "at-request" => options.is_at_request = true,
            _ => return Err(format!("{name} is unknown").into()),
        }
    }
    let urls: Vec<_> = options.redis.split(',').collect();
    let redis = match *urls {
        [url] => Redis::connect(url)?,
        _ => Redis::cluster(urls).connect()?,
    };
    let builder = SocketIo::builder().request_timeout(REQUEST_TIMEOUT);
    let builder = match &*options.mode {
        "pubsub" => builder.adapter(PubSubAdapter::new(redis.clone()).key(&options.key)),
        "sharded" | "sharded-to-rooms" | "sharded-static" => {
            let adapter = ShardedAdapter::new(redis.clone()).channel_prefix(&options.key);
            builder.adapter(match &*options.mode {
                "sharded-static" => adapter.subscription_mode(SubscriptionMode::Static),
                "sharded-to-rooms" => adapter.publish_to_rooms(true),
                _ => adapter,
            })
        }
        "none" => builder,
        "streams" | "streams-recovery" => {
            let adapter = StreamsAdapter::builder().stream_name(&options.key);
            let adapter = adapter.channel_prefix(&options.key).build(redis.clone());
            let builder = builder.adapter(adapter);
            match &*options.mode {
                "streams" => builder,
                _ => builder.connection_state_recovery(ConnectionStateRecovery::new()),
            }
        }
        mode => return Err(format!("there is no mode {mode}").into()),
    };
    let io = if options.is_msgpack {
        builder.parser(MsgpackParser).build()
    } else {
        builder.build()
    };
    let emitter = options.emitter(&redis);
    let notes = Notes::default();
    if options.is_at_request {
        at_request::serve(&io.of("/"));
    } else {
        serve(&io.of("/"), &notes);
    }
    serve(&io.of("/other"), &notes);
    let parent = io.of_dynamic(|name: &str| name.starts_with("/room-"));
    let of_children = notes.clone();
    io.on_new_namespace(move |namespace| {
        if namespace.parent().is_some() {
            serve(namespace, &of_children);
        }
    });
    parent.on_connection(async |_: Socket| {});

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("listening on *:{}", listener.local_addr()?.port());
    tokio::spawn(socketio::serve(listener, io.service()).into_future());

    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        let command: Value = serde_json::from_str(&line)?;
        let (io, notes, redis) = (io.clone(), notes.clone(), redis.clone());
        let emitter = emitter.clone();
        tokio::spawn(async move {
            let id = command["id"].clone();
            let line = match commands::run(&io, &notes, &redis, &emitter, command).await {
                Ok(result) => json!({ "id": id, "result": result }),
                Err(error) => json!({ "id": id, "error": error.to_string() }),
            };
            println!("{line}");
        });
    }
    io.close().await;
    Ok(())
}

impl Options {
    /// For servers like this one.
    fn emitter(&self, redis: &Redis) -> Emitter {
        let redis = redis.clone();
        match &*self.mode {
            "streams" | "streams-recovery" => {
                let streams = StreamsAdapter::builder().stream_name(&self.key);
                Emitter::streams(streams.channel_prefix(&self.key), redis)
            }
            mode if mode.starts_with("sharded") => {
                Emitter::sharded(&ShardedAdapter::new(redis).channel_prefix(&self.key))
            }
            _ => Emitter::pub_sub(&PubSubAdapter::new(redis).key(&self.key)),
        }
    }
}

struct Options {
    redis: String,
    mode: String,
    key: String,
    is_msgpack: bool,
    is_at_request: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            redis: "redis://127.0.0.1/".into(),
            mode: "pubsub".into(),
            key: "socket.io".into(),
            is_msgpack: false,
            is_at_request: false,
        }
    }
}

/// What every namespace does for its clients and for other servers.
fn serve(namespace: &Namespace, notes: &Notes) {
    namespace.on_connection(async |socket: Socket, Auth(auth): Auth<Value>| {
        socket.set_data(&json!({ "name": auth["name"], "list": [1, null, "ü"] }))?;
        for room in auth["rooms"].as_array().into_iter().flatten() {
            socket.join(room.as_str().unwrap_or_default());
        }
        Ok::<_, BoxError>(())
    });
    namespace.on("shout", async |socket: Socket, Data(text): Data<String>| {
        socket.broadcast().emit("heard", &text)
    });
    namespace.on(
        "whisper",
        async |socket: Socket, Data((room, text)): Data<(String, String)>| {
            socket.to(room).emit("heard", &text)
        },
    );
    commands::serve_servers(namespace, notes);
}

/// How long servers have for an answer; the same in `node.mjs`.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(1);
