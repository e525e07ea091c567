//! Socket.IO nested under a path of an axum application. Clients have to be told where:
//! `io({ path: "/live/socket.io/" })`.

use std::{future::Future, io};

use axum::{Router, routing::get};
use socketio::{ConnectError, Socket, SocketIo, handler::Auth};
use tokio::net::TcpListener;

#[derive(serde::Deserialize)]
struct Credentials {
    token: String,
}

async fn check(socket: Socket, Auth(credentials): Auth<Credentials>) -> Result<(), ConnectError> {
    if credentials.token != "secret" {
        return Err(ConnectError::new("wrong token"));
    }
    socket.join("members");
    Ok(())
}

/// What Socket.IO clients find here.
pub fn server() -> SocketIo {
    let io = SocketIo::new();
    io.of("/members")
        .middleware(check)
        .on("rooms", async |socket: Socket| socket.rooms());
    io
}

/// Serves the application until the signal comes.
pub async fn serve(
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let io = server();
    let app = Router::new()
        .route("/", get(async || "hello"))
        // axum takes `/live` away before the service sees the path
        .nest_service("/live", io.service());
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
