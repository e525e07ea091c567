//! What the benchmark's clients talk to: the `socketio` crate in its default configuration, on
//! `PORT`.
//!
//! | event | answer |
//! |---|---|
//! | `message` | `message-back` with the same arguments |
//! | `message-with-ack` | acknowledged with the same arguments |
//! | `broadcast` (payload) | `broadcast` to all |
//! | `join` (room) | |
//! | `room-broadcast` (room, payload) | `room-broadcast` to the room |
//!
//! The allocator is the system's. One thread: the benchmark gives each server a single core.
//!
//! With `PIPES` in the environment so many clients, in memory, have joined before the port opens.
#![cfg_attr(not(feature = "count-allocs"), forbid(unsafe_code))]

#[cfg(feature = "count-allocs")]
mod heap;
mod pipes;

use std::{env, error::Error};

use serde_json::value::RawValue;
use socketio::{Args, Socket, SocketIo, handler::Data, serve};
use tokio::net::TcpListener;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    #[cfg(feature = "count-allocs")]
    heap::answer();
    let port: u16 = env::var("PORT")?.parse()?;

    let io = SocketIo::new();
    io.on("message", async |socket: Socket, args: Args| {
        socket.emit("message-back", &args)
    });
    io.on("message-with-ack", async |args: Args| args);
    io.on("broadcast", async |io: SocketIo, args: Args| {
        io.emit("broadcast", &args)
    });
    io.on("join", async |socket: Socket, Data(room): Data<String>| {
        socket.join(room);
    });
    io.on(
        "room-broadcast",
        async |io: SocketIo, Data((room, payload)): Data<(String, Box<RawValue>)>| {
            io.to(room).emit("room-broadcast", &payload)
        },
    );

    if let Ok(count) = env::var("PIPES") {
        pipes::join(count.parse()?, io.service()).await?;
    }
    let listener = TcpListener::bind(("0.0.0.0", port)).await?;
    Ok(serve(listener, io.service()).await?)
}
