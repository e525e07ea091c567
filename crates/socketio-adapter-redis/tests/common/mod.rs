//! Redis servers, and connections to them.
#![allow(dead_code, clippy::unwrap_used)] // each test file uses a part of it

use std::sync::OnceLock;

use socketio_adapter_redis::Redis;

pub(crate) use testkit::RedisServer as Server;

/// One that all tests of a file share.
pub(crate) fn shared() -> &'static Server {
    static SHARED: OnceLock<Server> = OnceLock::new();
    SHARED.get_or_init(Server::start)
}

/// A name that no other test uses.
pub(crate) fn unique() -> String {
    uuid::Uuid::new_v4().to_string()
}

pub(crate) fn connect(server: &Server) -> Redis {
    Redis::connect(&server.url()).unwrap()
}

/// The same, when the connection is there: what is published is then written at once.
pub(crate) async fn connected(server: &Server) -> Redis {
    let redis = connect(server);
    redis.connected().await;
    redis
}
