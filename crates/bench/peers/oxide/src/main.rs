//! socketioxide with the contract of the benchmark's server, on `PORT`.
//!
//! As fast as its documentation knows how to make it: on hyper without a framework, on a runtime of
//! one thread, with Nagle's algorithm off. Everything else is the default, but for the feature `v4`,
//! which lets clients of Engine.IO 3 in. The allocator is the system's.

use std::{env, error::Error};

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use rmpv::Value;
use socketioxide::{
    SocketIo,
    extract::{AckSender, Data, SocketRef},
};
use tokio::net::TcpListener;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let port: u16 = env::var("PORT")?.parse()?;
    let (service, io) = SocketIo::new_svc();
    io.ns("/", async |socket: SocketRef| {
        // The only kind of value that has binary data in it.
        socket.on("message", async |socket: SocketRef, Data::<Value>(data)| {
            socket.emit("message-back", &data).ok();
        });
        socket.on(
            "message-with-ack",
            async |Data::<Value>(data), ack: AckSender| {
                ack.send(&data).ok();
            },
        );
        socket.on("broadcast", async |io: SocketIo, Data::<Value>(data)| {
            io.emit("broadcast", &data).await.ok();
        });
        socket.on("join", async |socket: SocketRef, Data::<String>(room)| {
            socket.join(room);
        });
        socket.on(
            "room-broadcast",
            async |io: SocketIo, Data::<(String, Value)>((room, data))| {
                io.to(room).emit("room-broadcast", &data).await.ok();
            },
        );
    });

    let listener = TcpListener::bind(("0.0.0.0", port)).await?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let service = service.clone();
        tokio::spawn(async move {
            let http = http1::Builder::new();
            let connection = http.serve_connection(TokioIo::new(stream), service);
            connection.with_upgrades().await.ok();
        });
    }
}
