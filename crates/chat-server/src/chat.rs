//! The chat itself: the tutorial's `server.js` in Rust.

use socketio::{Args, DisconnectReason, SocketIo};
use socketio_adapter_redis::{PubSubAdapter, Redis, RedisRelay};

use crate::say;

/// A Socket.IO server that prints who comes and goes, and sends every chat message to everyone, also
/// to those at other servers with the same Redis. Behind a load balancer it need not be sticky.
pub(crate) fn chat(redis: Option<Redis>) -> SocketIo {
    let io = match redis {
        Some(redis) => SocketIo::builder()
            .adapter(PubSubAdapter::new(redis.clone()))
            .engine(|config| config.relay(RedisRelay::new(redis)))
            .build(),
        None => SocketIo::new(),
    };
    io.on_connection(async || say("a user connected"));
    io.on_disconnect(async |_: DisconnectReason| say("user disconnected"));
    // As raw arguments: whatever a browser can say reaches the others unchanged.
    io.on("chat message", async |io: SocketIo, message: Args| {
        io.emit("chat message", &message)
    });
    io
}
