//! A game whose events are types: what is sent, what is handled and what is answered have to fit
//! together, or the program does not compile.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
};

use serde::{Deserialize, Serialize};
use socketio::{
    EmitError, Socket, SocketIo, TypedEvent,
    handler::{State, Typed},
};
use tokio::net::TcpListener;

/// From a client: it wants to move. In JavaScript: `socket.emit("move", 3, (position) => …)`.
#[derive(Serialize, Deserialize, TypedEvent)]
#[event(name = "move", ack = Position)]
struct Move(i32);

/// To the others: somebody has moved.
#[derive(Serialize, Deserialize, TypedEvent)]
#[event(name = "moved")]
struct Moved {
    who: String,
    to: Position,
}

/// To a client: whether it wants to begin.
#[derive(Serialize, Deserialize, TypedEvent)]
#[event(name = "ready?", ack = bool)]
struct Ready;

#[derive(Clone, Copy, Serialize, Deserialize)]
struct Position {
    x: i32,
}

/// Where the piece is that all move.
type Board = Arc<AtomicI32>;

async fn welcome(socket: Socket) {
    if let Ok(true) = socket.emit_event_with_ack(&Ready).await {
        socket.join("players");
    }
}

async fn make_move(
    socket: Socket,
    State(board): State<Board>,
    Typed(Move(by)): Typed<Move>,
) -> Result<Position, EmitError> {
    let x = board.fetch_add(by, Ordering::Relaxed) + by;
    let to = Position { x };
    let who = socket.id().to_owned();
    socket.to("players").emit_event(&Moved { who, to })?;
    Ok(to)
}

/// The game.
pub fn server() -> SocketIo {
    let io = SocketIo::builder().state(Board::default()).build();
    io.on_connection(welcome).on_event(make_move);
    io
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    socketio::serve(listener, server().service()).await
}
