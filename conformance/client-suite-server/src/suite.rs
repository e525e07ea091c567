//! What the official client's tests expect of their server.
//!
//! | namespace | what it does |
//! |---|---|
//! | `/` | answers the events of the tests; refuses whoever has `fail` in the query |
//! | `/foo` | tells a client its id |
//! | `/abc` | sends `handshake` to whoever connects |
//! | `/no` | refuses everybody |
//! | `/asd`, `/timeout_socket`, `/valid` | nothing |
//!
//! Events are answered with what the tests wait for only if they came as the client sent them. The
//! tests of a browser's `Blob` are left out: they do not run in Node.js.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use socketio::{
    AckError, Args, BoxError, Handshake, Socket, SocketIo,
    handler::{AckSender, Data, Query},
};

pub(crate) fn serve(io: &SocketIo) {
    io.middleware(async |handshake: Handshake| {
        let fail = handshake
            .query_param("fail")
            .is_some_and(|it| !it.is_empty());
        if fail {
            Err("Auth failed (main namespace)")
        } else {
            Ok(())
        }
    });
    io.on("hi", async |socket: Socket| socket.emit("hi", &()));
    io.on("echo", async |Data(value): Data<Value>| value);
    io.on("ack", ask);
    io.on("getId", id);
    io.on("getHandshake", handshake);
    serve_values(io);
    serve_binary(io);

    for name in ["/asd", "/timeout_socket", "/valid"] {
        io.of(name);
    }
    io.of("/foo").on("getId", id);
    io.of("/abc")
        .on_connection(async |socket: Socket, query: Query<Parameters>| {
            socket.emit(
                "handshake",
                &handshake(socket.handshake().clone(), query).await,
            )
        });
    io.of("/no")
        .middleware(async || Err::<(), _>("Auth failed (custom namespace)"));
}

fn serve_values(io: &SocketIo) {
    io.on("getAckDate", async || DATE);
    io.on("getDate", async |socket: Socket| {
        socket.emit("takeDate", DATE)
    });
    io.on("getDateObj", async |socket: Socket| {
        socket.emit("takeDateObj", &json!({ "date": DATE }))
    });
    io.on("getUtf8", async |socket: Socket| {
        TEXTS
            .iter()
            .try_for_each(|text| socket.emit("takeUtf8", text))
    });
    io.on("false", async |socket: Socket| socket.emit("false", &false));
}

fn serve_binary(io: &SocketIo) {
    io.on("doge", async |socket: Socket| socket.emit("doge", &BYTES));
    io.on("getbin", async |socket: Socket| {
        socket.emit("takebin", &BYTES)
    });
    io.on("buffa", async |socket: Socket, args: Args| {
        match args.attachments() {
            [_] => socket.emit("buffack", &()),
            _ => Ok(()),
        }
    });
    io.on("jsonbuff", mixed);
    io.on("abuff1", async |socket: Socket, args: Args| {
        if let [_] = args.attachments() {
            socket.extensions().insert(First);
        }
    });
    io.on("abuff2", async |socket: Socket| {
        match socket.extensions().get() {
            Some(First) => socket.emit("abuff2-ack", &()),
            None => Ok(()),
        }
    });
}

async fn id(socket: Socket) -> String {
    socket.id().to_owned()
}

/// Asks the client something. Whether the client wants an answer too is none of its business: a
/// test of retries waits for one in vain.
async fn ask(socket: Socket, _unanswered: AckSender) -> Result<(), AckError> {
    #[derive(Deserialize)]
    struct Answer {
        test: bool,
    }
    match socket.emit_with_ack("ack", &()).await {
        Ok((5, Answer { test: true })) => Ok(socket.emit("got it", &())?),
        // Who does not answer, or leaves without, is in another test.
        Ok(_) | Err(AckError::Disconnected) => Ok(()),
        Err(error) => Err(error),
    }
}

async fn mixed(socket: Socket, args: Args) -> Result<(), BoxError> {
    #[derive(Deserialize)]
    struct Mixed {
        hello: String,
        message: Bytes,
        goodbye: String,
    }
    let it: Mixed = args.deserialize()?;
    if it.hello == "lol" && it.goodbye == "gotcha" && args.attachments() == [it.message] {
        socket.emit("jsonbuff-ack", &())?;
    }
    Ok(())
}

type Parameters = BTreeMap<String, String>;

/// As the official server's `socket.handshake`.
async fn handshake(handshake: Handshake, Query(query): Query<Parameters>) -> Value {
    let headers = handshake.headers();
    let headers: BTreeMap<_, _> = headers
        .iter()
        .map(|(name, value)| (name.as_str(), String::from_utf8_lossy(value.as_bytes())))
        .collect();
    json!({
        "headers": headers,
        "address": handshake.address().map(|it| it.ip()),
        "xdomain": handshake.xdomain(),
        "secure": handshake.secure(),
        "time": DATE,
        "url": handshake.url(),
        "query": query,
        "auth": handshake.auth_as::<Value>().ok(),
    })
}

/// The socket has sent its first binary event.
#[derive(Clone)]
struct First;

const BYTES: Bytes = Bytes::from_static(b"asdfasdf");

/// What JSON makes of a `Date`. No test looks at which.
const DATE: &str = "2011-11-11T11:11:11.111Z";

const TEXTS: [&str; 5] = [
    "てすと",
    "Я Б Г Д Ж Й",
    "Ä ä Ü ü ß",
    "utf8 — string",
    "utf8 — string",
];
