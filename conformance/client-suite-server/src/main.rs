//! The server that the official JavaScript client's own tests talk to, in the place of their
//! `test/support/server.ts`: see [`suite`]. Beside it, namespaces for tests of the client's
//! features: see [`features`].
#![forbid(unsafe_code)]

mod features;
mod suite;

use std::{env, io, process::ExitCode, time::Duration};

use socketio::{ConnectionStateRecovery, SocketIo};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> ExitCode {
    let Some(options) = Options::parse(env::args().skip(1)) else {
        eprintln!("usage: client-suite-server [--port PORT] [--recovery-time MILLISECONDS]");
        return ExitCode::from(2);
    };
    match run(&options).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("client-suite-server: port {}: {error}", options.port);
            ExitCode::FAILURE
        }
    }
}

struct Options {
    port: u16,
    recovery: ConnectionStateRecovery,
}

impl Options {
    fn parse(mut arguments: impl Iterator<Item = String>) -> Option<Self> {
        let mut options = Self {
            port: 3210,
            recovery: ConnectionStateRecovery::new(),
        };
        while let Some(name) = arguments.next() {
            let value = arguments.next()?;
            match &*name {
                "--port" => options.port = value.parse().ok()?,
                "--recovery-time" => {
                    let time = Duration::from_millis(value.parse().ok()?);
                    options.recovery = options.recovery.max_disconnection_duration(time);
                }
                _ => return None,
            }
        }
        Some(options)
    }
}

async fn run(options: &Options) -> io::Result<()> {
    let io = SocketIo::builder()
        .connection_state_recovery(options.recovery)
        .engine(|config| {
            config
                .ping_interval(Duration::from_secs(2))
                // The client's tests of its connection timeout need a server that is not at once there.
                .allow_request(async |_| {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    Ok(())
                })
        })
        .build();
    suite::serve(&io);
    features::serve(&io);

    let listener = TcpListener::bind(("127.0.0.1", options.port)).await?;
    println!("listening on *:{}", listener.local_addr()?.port());
    socketio::serve(listener, io.service()).await
}
