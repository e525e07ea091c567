//! What the tests of features expect.
//!
//! | namespace | what it is |
//! |---|---|
//! | `/features`, `/features/a`, `/features/b` | the events below |
//! | `/features/ticket` | the same; lets a client in once for each `ticket` in its `auth` |
//! | `/features/shut` | refuses everybody |
//! | `/dynamic-` and a number | the same events; comes to be when a client asks for it, refuses whoever has `refuse` in its `auth` |
//!
//! | event | answer |
//! |---|---|
//! | `echo` | acknowledged with the same arguments |
//! | `session` | acknowledged with the id of the connection |
//! | `join` (room) | joins the room |
//! | `rooms` | acknowledged with the rooms that the socket is in |
//! | `remember` (value), `recall` | keeps the value as the data of the socket; acknowledged with it |
//! | `recovered` | acknowledged with whether the socket was recovered |
//! | `say` (room, …) | `said` with the same arguments to whoever is in the room |
//! | `shout` (…) | `said` with the same arguments to everybody in the namespace |
//! | `shout-volatile` (…) | the same, but it may be lost |
//! | `shout-to-parent` (…) | in a dynamic namespace, the same to everybody in all of them |
//! | `count` (n) | `counted` with 0, 1, …, n - 1 |
//! | `count-volatile` (n) | the same, but those events may be lost; then `counted-all` |
//! | `sleep` (ms) | acknowledged after this time |
//! | `note` (book, value, n) | notes the value; acknowledged from the n-th time on, never if n is 0 |
//! | `notes` (book) | acknowledged with what was noted |
//! | `ask` (ms, value) | asks the client `question` with the value and waits as long; acknowledged with its answer |
//! | `kick` | the socket is disconnected |

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde::Deserialize;
use serde_json::Value;
use socketio::{
    Args, EmitError, Namespace, Socket, SocketIo,
    handler::{AckSender, Auth, Data},
};

pub(crate) fn serve(io: &SocketIo) {
    let books = Books::default();
    for name in [
        "/features",
        "/features/a",
        "/features/b",
        "/features/ticket",
    ] {
        serve_events(&io.of(name), &books);
    }
    let used = Tickets::default();
    io.of("/features/ticket")
        .middleware(move |Auth(Ticket { ticket })| {
            let is_new = used.lock().is_ok_and(|mut used| used.insert(ticket));
            async move { is_new.then_some(()).ok_or("the ticket is used") }
        });
    io.of("/features/shut")
        .middleware(async || Err::<(), _>("nobody gets in"));
    serve_dynamic(io, books);
}

type Tickets = Mutex<HashSet<String>>;

#[derive(Deserialize)]
struct Ticket {
    ticket: String,
}

fn serve_dynamic(io: &SocketIo, books: Books) {
    #[derive(Deserialize)]
    struct Refusal {
        refuse: Option<bool>,
    }
    let number = |name: &str| {
        let digits = name.strip_prefix("/dynamic-").unwrap_or_default();
        !digits.is_empty() && digits.bytes().all(|it| it.is_ascii_digit())
    };
    let parent = io.of_dynamic(number);
    parent.middleware(async |Auth(Refusal { refuse })| match refuse {
        Some(true) => Err("refused"),
        _ => Ok(()),
    });
    let all = parent.clone();
    parent.on("shout-to-parent", move |args: Args| {
        let sent = all.emit("said", &args);
        async { sent }
    });
    io.on_new_namespace(move |namespace| {
        if number(namespace.name()) {
            serve_events(namespace, &books);
        }
    });
}

fn serve_events(namespace: &Namespace, books: &Books) {
    serve_acks(namespace);
    serve_rooms(namespace);
    serve_streams(namespace);
    serve_state(namespace);
    serve_books(namespace, books);
    namespace.on("kick", async |socket: Socket| socket.disconnect());
}

fn serve_acks(namespace: &Namespace) {
    namespace.on("echo", async |args: Args| args);
    namespace.on("sleep", async |Data(ms): Data<u64>| {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    });
    namespace.on(
        "ask",
        async |socket: Socket, Data((ms, value)): Data<(u64, Value)>| {
            let answer = socket.emit_with_ack::<Value>("question", &value);
            answer.timeout(Duration::from_millis(ms)).await
        },
    );
}

fn serve_rooms(namespace: &Namespace) {
    namespace.on("join", async |socket: Socket, Data(room): Data<String>| {
        socket.join(room);
    });
    namespace.on("rooms", async |socket: Socket| socket.rooms());
    namespace.on(
        "say",
        async |namespace: Namespace, Data(room): Data<String>, args: Args| {
            namespace.to(room).emit("said", &args)
        },
    );
    namespace.on("shout", async |namespace: Namespace, args: Args| {
        namespace.emit("said", &args)
    });
    namespace.on(
        "shout-volatile",
        async |namespace: Namespace, args: Args| namespace.volatile().emit("said", &args),
    );
}

fn serve_streams(namespace: &Namespace) {
    namespace.on("count", async |socket: Socket, Data(count): Data<u32>| {
        (0..count).try_for_each(|n| socket.emit("counted", &n))
    });
    namespace.on(
        "count-volatile",
        async |socket: Socket, Data(count): Data<u32>| {
            for n in 0..count {
                socket.volatile().emit("counted", &n)?;
            }
            socket.emit("counted-all", &())
        },
    );
}

fn serve_state(namespace: &Namespace) {
    namespace.on("session", async |socket: Socket| {
        socket.conn().sid().as_str().to_owned()
    });
    namespace.on("recovered", async |socket: Socket| socket.recovered());
    namespace.on(
        "remember",
        async |socket: Socket, Data(value): Data<Value>| socket.set_data(&value),
    );
    namespace.on("recall", async |socket: Socket| socket.data::<Value>());
}

/// What clients have had noted, also over several connections.
#[derive(Clone, Default)]
struct Books(Arc<Mutex<HashMap<String, Vec<Value>>>>);

impl Books {
    /// Returns how often the book has the value now.
    fn note(&self, book: String, value: Value) -> usize {
        let mut books = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let book = books.entry(book).or_default();
        book.push(value.clone());
        book.iter().filter(|it| **it == value).count()
    }

    fn notes(&self, book: &str) -> Vec<Value> {
        let books = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        books.get(book).cloned().unwrap_or_default()
    }
}

fn serve_books(namespace: &Namespace, books: &Books) {
    let noting = books.clone();
    namespace.on(
        "note",
        move |Data((book, value, wanted)): Data<(String, Value, usize)>, ack: AckSender| {
            let times = noting.note(book, value);
            async move {
                if (1..=times).contains(&wanted) {
                    ack.send(&times)?;
                }
                Ok::<_, EmitError>(())
            }
        },
    );
    let books = books.clone();
    namespace.on("notes", move |Data(book): Data<String>| {
        let notes = books.notes(&book);
        async { notes }
    });
}
