//! What the official protocol suites and the real clients talk to.

use std::{sync::Arc, task::Context, time::Duration};

use engineio::{Acceptor, Config, Connection, Data, Handshake, Server, SessionHandle};

struct Echo;
struct EchoConnection(SessionHandle);

impl Acceptor for Echo {
    type Connection = EchoConnection;
    fn accept(&self, session: SessionHandle, _: Arc<Handshake>) -> EchoConnection {
        EchoConnection(session)
    }
}

impl Connection for EchoConnection {
    fn on_message(&mut self, message: Data, _: &mut Context<'_>) {
        self.0.send(message);
    }
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let config = Config::default()
        .ping_interval(Duration::from_millis(300))
        .ping_timeout(Duration::from_millis(200));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
    println!("listening on *:3000");
    engineio::serve(listener, Server::new(config, Echo)).await
}
