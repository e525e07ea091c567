//! The floor: what the kernel and tokio cost, on `PORT`.
//!
//! It keeps the contract of the benchmark's server and nothing else. There is no parser: events are
//! known by the bytes that they begin with, and patched. There are no locks, as there is one thread.
//! There are no heartbeats, no limits, no checks: the benchmark's clients make no mistakes. What a
//! turn has to say to a connection leaves in one write at the end of the turn.
//!
//! | event | answer |
//! |---|---|
//! | `message` | `message-back` with the same arguments (binary ones over WebSocket only) |
//! | `message-with-ack` | acknowledged with the same arguments |
//! | `broadcast` (payload) | `broadcast` to all |
//! | `join` (room) | |
//! | `room-broadcast` (room, payload) | `room-broadcast` to the room |

mod connection;
mod frame;
mod hub;
mod request;

use std::{env, error::Error, rc::Rc};

use hub::Hub;
use tokio::{
    net::TcpListener,
    task::{LocalSet, spawn_local},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let port: u16 = env::var("PORT")?.parse()?;
    let listener = TcpListener::bind(("0.0.0.0", port)).await?;
    let accept = async {
        let hub = Rc::<Hub>::default();
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            spawn_local(connection::run(hub.clone(), stream));
        }
    };
    LocalSet::new().run_until(accept).await
}
