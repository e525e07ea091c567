//! What the tests of features expect.
//!
//! | namespace | what it is |
//! |---|---|
//! | `/features`, `/features/a`, `/features/b` | the events below |
//! | `/features/shut` | refuses everybody |
//!
//! | event | answer |
//! |---|---|
//! | `echo` | acknowledged with the same arguments |
//! | `session` | acknowledged with the id of the connection |
//! | `join` (room) | joins the room; acknowledged with all rooms that the socket is in |
//! | `say` (room, …) | `said` with the same arguments to whoever is in the room |
//! | `shout` (…) | `said` with the same arguments to everybody in the namespace |
//! | `count` (n) | `counted` with 0, 1, …, n - 1 |
//! | `count-volatile` (n) | the same, but those events may be lost; then `counted-all` |
//! | `sleep` (ms) | acknowledged after this time |
//! | `note` (book, value, n) | notes the value; acknowledged from the n-th time on, never if n is 0 |
//! | `notes` (book) | acknowledged with what was noted |
//! | `ask` (ms, value) | asks the client `question` with the value and waits as long; acknowledged with its answer |
//! | `kick` | the socket is disconnected |

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde_json::Value;
use socketio::{
    Args, EmitError, Namespace, Socket, SocketIo,
    handler::{AckSender, Data},
};

pub(crate) fn serve(io: &SocketIo) {
    let books = Books::default();
    for name in ["/features", "/features/a", "/features/b"] {
        let namespace = io.of(name);
        serve_events(&namespace);
        serve_books(&namespace, &books);
    }
    io.of("/features/shut")
        .middleware(async || Err::<(), _>("nobody gets in"));
}

fn serve_events(namespace: &Namespace) {
    namespace.on("echo", async |args: Args| args);
    namespace.on("session", async |socket: Socket| {
        socket.conn().sid().as_str().to_owned()
    });
    namespace.on("join", async |socket: Socket, Data(room): Data<String>| {
        socket.join(room);
        socket.rooms()
    });
    namespace.on(
        "say",
        async |socket: Socket, Data(room): Data<String>, args: Args| {
            socket.namespace().to(room).emit("said", &args)
        },
    );
    namespace.on("shout", async |socket: Socket, args: Args| {
        socket.namespace().emit("said", &args)
    });
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
    namespace.on("kick", async |socket: Socket| socket.disconnect());
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
