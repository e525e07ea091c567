//! Socket.IO nested under a path of an axum application. Clients have to be told where:
//! `io({ path: "/live/socket.io/" })`.

use std::io;

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

fn server() -> SocketIo {
    let io = SocketIo::new();
    io.of("/members")
        .middleware(check)
        .on("rooms", async |socket: Socket| socket.rooms());
    io
}

/// Serves the application for ever.
pub async fn serve(listener: TcpListener) -> io::Result<()> {
    let app = Router::new()
        .route("/", get(async || "hello"))
        // axum takes `/live` away before the service sees the path
        .nest_service("/live", server().service());
    axum::serve(listener, app).await
}

#[tokio::main]
async fn main() -> io::Result<()> {
    serve(TcpListener::bind("127.0.0.1:3000").await?).await
}
