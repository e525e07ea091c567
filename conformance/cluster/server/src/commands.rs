//! What a server can be told.
//!
//! A command is an object with a member `do` and those that the table names; `nsp`, `rooms`,
//! `except`, `flags` (`volatile`, `compress`, `local`, `timeout` in milliseconds) say to whom and how.
//!
//! | `do` | members | result |
//! |---|---|---|
//! | `emit` | `event`, `args` | |
//! | `ask` | `event`, `args` | `answers`, `error` |
//! | `join`, `leave` | `names` | |
//! | `disconnect` | `close` | |
//! | `fetch` | | sockets |
//! | `remote` | `then`: one of these, `event`, `args`, `names`, `close` | does it with each socket that was fetched |
//! | `server emit` | `event`, `args` | |
//! | `server ask` | `event`, `args` | `answers`, `error` |
//! | `notes` | | the events of other servers since the last time |
//! | `count` | | how many servers there are |
//! | `emitter` | `then`: `emit`, `join`, `leave`, `disconnect` or `server emit`, and its members | does it as a process without a server |
//! | `stats` | | those of the connection to Redis |

use std::{
    mem,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde::Deserialize;
use serde_json::{Value, json};
use socketio::{
    BoxError, BroadcastOperator, Namespace, RemoteSocket, ServerSideError, ServerSideEvent,
    SocketIo,
};
use socketio_adapter_redis::{Emitter, Redis};

use crate::values::{Any, args};

/// Events of other servers.
#[derive(Clone, Default)]
pub(crate) struct Notes(Arc<Mutex<Vec<Value>>>);

impl Notes {
    fn add(&self, note: Value) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(note);
    }

    fn take(&self) -> Vec<Value> {
        mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What other servers may send: `note`, which is noted; `sum`, answered with the sum of two numbers;
/// `nothing`, answered with nothing; `silence`, which is not answered at all; `echo`, answered with
/// its first argument.
pub(crate) fn serve_servers(namespace: &Namespace, notes: &Notes) {
    let notes = notes.clone();
    namespace.on_server_side_emit("note", move |event: ServerSideEvent| {
        let values = event.data::<All>().map(|All(values)| values);
        notes.add(json!([
            event.namespace().name(),
            values.unwrap_or_default()
        ]));
        async { Ok::<_, BoxError>(()) }
    });
    namespace.on_server_side_emit("sum", async |event: ServerSideEvent| {
        let (a, b): (i64, i64) = event.data()?;
        event.answer(&(a + b))?;
        Ok::<_, BoxError>(())
    });
    namespace.on_server_side_emit("nothing", async |event: ServerSideEvent| {
        event.answer(&())?;
        Ok::<_, BoxError>(())
    });
    namespace.on_server_side_emit("silence", async |_: ServerSideEvent| Ok::<_, BoxError>(()));
    namespace.on_server_side_emit("echo", async |event: ServerSideEvent| {
        event.answer(event.args())?;
        Ok::<_, BoxError>(())
    });
}

/// Up to three arguments.
struct All(Vec<Value>);

impl<'de> Deserialize<'de> for All {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (a, b, c) = <(Option<Any>, Option<Any>, Option<Any>)>::deserialize(deserializer)?;
        let given = [a, b, c].into_iter().flatten();
        Ok(Self(given.map(|Any(value)| value).collect()))
    }
}

#[derive(Deserialize)]
pub(crate) struct Command {
    r#do: String,
    #[serde(default = "main_namespace")]
    nsp: String,
    #[serde(default)]
    rooms: Vec<String>,
    #[serde(default)]
    except: Vec<String>,
    #[serde(default)]
    flags: Flags,
    #[serde(default)]
    event: String,
    #[serde(default)]
    args: Value,
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    close: bool,
    #[serde(default)]
    then: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Flags {
    volatile: bool,
    compress: Option<bool>,
    local: bool,
    timeout: Option<u64>,
}

fn main_namespace() -> String {
    "/".into()
}

pub(crate) async fn run(
    io: &SocketIo,
    notes: &Notes,
    redis: &Redis,
    emitter: &Emitter,
    command: Value,
) -> Result<Value, BoxError> {
    let it: Command = serde_json::from_value(command)?;
    let namespace = io.of(&it.nsp);
    let to = operator(&namespace, &it);
    match &*it.r#do {
        "emit" => to.emit(&it.event, &args(&it.args)?)?,
        "ask" => {
            let answers = to.emit_with_ack::<Any>(&it.event, &args(&it.args)?).await;
            return Ok(match answers {
                Ok(answers) => outcome(answers, false),
                Err(error) => outcome(error.responses, true),
            });
        }
        "join" => to.sockets_join(it.names),
        "leave" => to.sockets_leave(it.names),
        "disconnect" => to.disconnect_sockets(it.close),
        "fetch" => return Ok(to.fetch_sockets().await?.iter().map(describe).collect()),
        "remote" => return remote(to.fetch_sockets().await?, &it).await,
        "server emit" => namespace.server_side_emit(&it.event, &args(&it.args)?)?,
        "server ask" => {
            let args = args(&it.args)?;
            let asked = namespace.server_side_emit_with_ack::<Option<Any>>(&it.event, &args);
            return Ok(match asked.await {
                Ok(answers) => outcome(or_null(answers), false),
                Err(ServerSideError::Incomplete { responses, .. }) => {
                    outcome(or_null(responses), true)
                }
                Err(error) => return Err(error.into()),
            });
        }
        "notes" => return Ok(notes.take().into()),
        "count" => return Ok(namespace.server_count().await?.into()),
        "emitter" => as_emitter(emitter, &it)?,
        "stats" => {
            let stats = redis.stats();
            return Ok(json!({
                "connected": stats.connected,
                "connections": stats.connections,
                "published": stats.published,
                "lost": stats.lost,
                "refused": stats.refused,
            }));
        }
        other => return Err(format!("nobody can {other}").into()),
    }
    Ok(Value::Null)
}

fn as_emitter(emitter: &Emitter, it: &Command) -> Result<(), BoxError> {
    let mut to = emitter.of(&it.nsp);
    for room in &it.rooms {
        to = to.to(&**room);
    }
    for room in &it.except {
        to = to.except(&**room);
    }
    match &*it.then {
        "emit" => to.emit(&it.event, &args(&it.args)?)?,
        "join" => to.sockets_join(it.names.iter().map(|it| &**it)),
        "leave" => to.sockets_leave(it.names.iter().map(|it| &**it)),
        "disconnect" => to.disconnect_sockets(it.close),
        "server emit" => to.server_side_emit(&it.event, &args(&it.args)?)?,
        other => return Err(format!("nobody can {other}").into()),
    }
    Ok(())
}

fn operator(namespace: &Namespace, it: &Command) -> BroadcastOperator {
    let mut to = namespace.to(it.rooms.clone()).except(it.except.clone());
    if it.flags.volatile {
        to = to.volatile();
    }
    if it.flags.local {
        to = to.local();
    }
    if let Some(compress) = it.flags.compress {
        to = to.compress(compress);
    }
    if let Some(millis) = it.flags.timeout {
        to = to.timeout(Duration::from_millis(millis));
    }
    to
}

async fn remote(sockets: Vec<RemoteSocket>, it: &Command) -> Result<Value, BoxError> {
    let mut answers = Vec::new();
    for socket in sockets {
        match &*it.then {
            "emit" => socket.emit(&it.event, &args(&it.args)?)?,
            "ask" => {
                let time = Duration::from_millis(it.flags.timeout.unwrap_or(5_000));
                let args = args(&it.args)?;
                answers.push(socket.emit_with_ack(&it.event, &args, time).await?);
            }
            "join" => socket.join(it.names.clone()),
            "leave" => it.names.iter().for_each(|room| socket.leave(room)),
            "disconnect" => socket.disconnect(it.close),
            other => return Err(format!("nobody can {other}").into()),
        }
    }
    Ok(outcome(answers, false))
}

fn or_null(answers: Vec<Option<Any>>) -> Vec<Any> {
    let or_null = |it: Option<Any>| it.unwrap_or(Any(Value::Null));
    answers.into_iter().map(or_null).collect()
}

fn outcome(answers: Vec<Any>, error: bool) -> Value {
    let answers: Vec<_> = answers.into_iter().map(|Any(value)| value).collect();
    json!({ "answers": answers, "error": error })
}

fn describe(socket: &RemoteSocket) -> Value {
    let handshake = serde_json::to_value(socket.handshake());
    json!({
        "id": socket.id(),
        "handshake": handshake.unwrap_or_default(),
        "rooms": socket.rooms(),
        "data": socket.data(),
    })
}
