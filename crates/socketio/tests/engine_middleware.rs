//! What a middleware of the engine finds out reaches the sockets.

mod common;

use common::Running;
use socketio::{ConnectError, Socket, SocketIo};

#[derive(Clone, Debug, PartialEq)]
struct User(String);

#[tokio::test]
async fn what_an_engine_middleware_finds_out_is_in_the_handshake() {
    let io = SocketIo::builder()
        .engine(|config| {
            config.middleware(async |mut exchange| {
                let path = exchange.request.uri.path().to_owned();
                exchange.extensions.insert(User(path));
                Ok(exchange)
            })
        })
        .build();
    io.middleware(async |socket: Socket| {
        let user = socket.handshake().extensions().get::<User>();
        user.map(drop).ok_or(ConnectError::new("who are you?"))
    });
    let running = Running::start(io).await;
    let (_session, polling) = running.polling_as().await;
    let (_ws, websocket) = running.joined_as().await;
    for socket in [polling, websocket] {
        let user = socket.handshake().extensions().get::<User>();
        assert_eq!(user, Some(&User("/socket.io/".to_owned())));
    }
}
