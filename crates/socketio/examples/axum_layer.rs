//! Socket.IO as a layer in front of an axum application.

use std::io;

use axum::{Router, extract::State, routing::get};
use socketio::{SocketIo, handler::Data};
use tokio::net::TcpListener;

fn server() -> SocketIo {
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

/// Serves the application until the process is asked to end.
pub async fn serve(listener: TcpListener) -> io::Result<()> {
    let io = server();
    let app = Router::new()
        .route("/", get(async || "hello"))
        .route("/announce", get(announce))
        .with_state(io.clone())
        // Requests of /socket.io/ end here, all others go on to the routes above.
        .layer(io.service().layer());
    axum::serve(listener, app)
        .with_graceful_shutdown(async move {
            let _ = tokio::signal::ctrl_c().await;
            // axum waits for requests, but not for WebSockets
            io.close().await;
        })
        .await
}

#[tokio::main]
async fn main() -> io::Result<()> {
    serve(TcpListener::bind("127.0.0.1:3000").await?).await
}
