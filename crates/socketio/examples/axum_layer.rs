//! Socket.IO as a layer in front of an axum application.

use std::{future::Future, io};

use axum::{Router, extract::State, routing::get};
use socketio::{SocketIo, handler::Data};
use tokio::net::TcpListener;

/// What Socket.IO clients find here.
pub fn server() -> SocketIo {
    let io = SocketIo::new();
    io.on(
        "chat message",
        async |io: SocketIo, Data(text): Data<String>| io.emit("chat message", &text),
    );
    io
}

/// Routes can send to Socket.IO clients too.
async fn announce(State(io): State<SocketIo>) -> String {
    match io.emit("chat message", "an announcement") {
        Ok(()) => format!("sent to {} clients", io.of("/").len()),
        Err(error) => error.to_string(),
    }
}

/// Serves the application until the signal comes.
pub async fn serve(
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let io = server();
    let app = Router::new()
        .route("/", get(async || "hello"))
        .route("/announce", get(announce))
        .with_state(io.clone())
        // Requests of /socket.io/ end here, all others go on to the routes above.
        .layer(io.service().layer());
    axum::serve(listener, app)
        .with_graceful_shutdown(async move {
            shutdown.await;
            // axum would wait for long-polling for ever, and not for WebSockets
            io.close().await;
        })
        .await
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    serve(listener, async { drop(tokio::signal::ctrl_c().await) }).await
}
