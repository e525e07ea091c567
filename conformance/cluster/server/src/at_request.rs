//! Clients make their server do things to all clients of the cluster, for scripts that have nothing else
//! to make a cluster act: that of socketioxide, and ours that stands in for it.
//!
//! | event | what the server does | answer |
//! |---|---|---|
//! | `broadcast`, `volatile_broadcast` | greets all clients with the event of the same name | |
//! | `broadcast_with_ack` | asks all clients with the event of the same name | their answers |
//! | `disconnect_socket` | disconnects all | |
//! | `rooms` | | the names of all rooms |
//! | `fetch_sockets` | | `id` and `ns` of each socket |
//! | `join_room`, `leave_room` | all join `room7`, leave `room4` | null |
//! | `emit_from_remote_sock`, id | greets one client with `emit` | null |
//! | `emit_with_ack_from_remote_sock`, id | the same, as a question | its answer |
//! | `join_room_from_remote_sock`, id | one client joins a room that is called like the greeting | null |
//! | `leave_room_from_remote_sock`, id | one leaves `room4` | null |
//! | `get_rooms_remote_sock`, id | | the rooms of one |
//! | `disconnect_remote_sock`, id | disconnects one | null |

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};
use socketio::{BoxError, Namespace, RemoteSocket, Socket, handler::Data};

pub(crate) fn serve(namespace: &Namespace) {
    namespace.on_connection(async |socket: Socket| {
        socket.join(["room1", "room2", "room4", "room5"]);
    });
    for name in ["broadcast", "volatile_broadcast"] {
        let all = namespace.clone();
        namespace.on(name, move |socket: Socket| {
            let all = if name == "broadcast" {
                all.except(NOBODY)
            } else {
                all.volatile()
            };
            async move { all.emit(name, &greeting(&socket)) }
        });
    }
    with(namespace, "broadcast_with_ack", async |all, _, _| {
        let all = all.timeout(SOON);
        let answers = all.emit_with_ack::<String>("broadcast_with_ack", &Value::Null);
        Ok(answers.await?.into())
    });
    with(namespace, "disconnect_socket", async |all, _, _| {
        all.disconnect_sockets(false);
        Ok(Value::Null)
    });
    with(namespace, "rooms", async |all, _, _| {
        let sockets = all.fetch_sockets().await?;
        let rooms: BTreeSet<_> = sockets.iter().flat_map(RemoteSocket::rooms).collect();
        Ok(json!(rooms))
    });
    with(namespace, "fetch_sockets", async |all, _, _| {
        let sockets = all.fetch_sockets().await?;
        let describe = |it: &RemoteSocket| json!({ "id": it.id(), "ns": all.name() });
        Ok(sockets.iter().map(describe).collect())
    });
    with(namespace, "join_room", async |all, _, _| {
        all.sockets_join("room7");
        Ok(Value::Null)
    });
    with(namespace, "leave_room", async |all, _, _| {
        all.sockets_leave("room4");
        Ok(Value::Null)
    });
    with(namespace, "emit_from_remote_sock", async |all, from, id| {
        one(&all, &id).await?.emit("emit", &greeting(&from))?;
        Ok(Value::Null)
    });
    with(
        namespace,
        "emit_with_ack_from_remote_sock",
        async |all, from, id| {
            let it = one(&all, &id).await?;
            let greeting = greeting(&from);
            let answer = it.emit_with_ack::<String>("emit", &greeting, SOON);
            Ok(answer.await?.into())
        },
    );
    with(
        namespace,
        "join_room_from_remote_sock",
        async |all, from, id| {
            one(&all, &id).await?.join(greeting(&from));
            Ok(Value::Null)
        },
    );
    with(
        namespace,
        "leave_room_from_remote_sock",
        async |all, _, id| {
            one(&all, &id).await?.leave("room4");
            Ok(Value::Null)
        },
    );
    with(namespace, "get_rooms_remote_sock", async |all, _, id| {
        Ok(json!(one(&all, &id).await?.rooms()))
    });
    with(namespace, "disconnect_remote_sock", async |all, _, id| {
        one(&all, &id).await?.disconnect(false);
        Ok(Value::Null)
    });
}

/// A handler that is given the namespace, who asks, and the id of another client if there is one.
fn with<F, A>(namespace: &Namespace, event: &str, handler: F)
where
    F: Fn(Namespace, Socket, String) -> A + Send + Sync + 'static,
    A: Future<Output = Result<Value, BoxError>> + Send + 'static,
{
    let all = namespace.clone();
    namespace.on(
        event,
        move |socket: Socket, Data(id): Data<Option<String>>| {
            handler(all.clone(), socket, id.unwrap_or_default())
        },
    );
}

async fn one(all: &Namespace, id: &str) -> Result<RemoteSocket, BoxError> {
    let found = all.to(id).fetch_sockets().await?;
    found
        .into_iter()
        .next()
        .ok_or("there is no such client".into())
}

fn greeting(socket: &Socket) -> String {
    format!("hello from {}", socket.id())
}

const NOBODY: &str = "nobody";
const SOON: Duration = Duration::from_secs(5);
