//! The Socket.IO tutorial's chat in one binary.
#![forbid(unsafe_code)]

mod chat;
mod config;
mod http;

use std::{
    io::{self, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use hyper::service::service_fn;
use socketio::SocketIo;
use socketio_adapter_redis::Redis;
use tokio::net::TcpListener;

use crate::config::{Command, Config, HELP};

#[tokio::main]
async fn main() -> ExitCode {
    let config = match Config::read() {
        Ok(Command::Run(config)) => config,
        Ok(Command::Help) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            eprintln!("chat-server: {message}");
            return ExitCode::from(2);
        }
    };
    match run(config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chat-server: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Prints a line, if anybody still listens: the chat goes on when its terminal is gone.
fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

async fn run(config: Config) -> io::Result<()> {
    if let Some(dir) = &config.static_dir
        && !dir.is_dir()
    {
        let what = format!("--static-dir: {} is no folder", dir.display());
        return Err(io::Error::new(io::ErrorKind::NotFound, what));
    }
    let redis = config.redis.as_deref().map(connect).transpose()?;
    let listener = listen(&config).await?;
    let port = listener.local_addr()?.port();
    match config.host {
        None => say(&format!("listening on *:{port}")),
        Some(host) => say(&format!("listening on {}", SocketAddr::new(host, port))),
    }
    let io = chat::chat(redis);
    let routes = {
        let server = io.service();
        let dir: Option<Arc<std::path::Path>> = config.static_dir.map(Into::into);
        service_fn(move |request| {
            let (server, dir) = (server.clone(), dir.clone());
            async move {
                Ok(if server.is_for(&request) {
                    server.handle(request).await
                } else {
                    http::respond(&request, dir.as_deref()).await
                })
            }
        })
    };
    socketio::serve(listener, routes)
        .with_graceful_shutdown(shutdown(io))
        .await
}

/// Connects to Redis; not yet, if it is away.
fn connect(url: &str) -> io::Result<Redis> {
    let redis = Redis::builder(url)
        .on_lost(|lost| eprintln!("chat-server: lost for other servers: {lost}"))
        .connect();
    redis.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, format!("--redis: {error}")))
}

/// Listens on the asked address, or on all of the machine, IPv4 and IPv6.
async fn listen(config: &Config) -> io::Result<TcpListener> {
    let bind = |host: IpAddr| TcpListener::bind(SocketAddr::new(host, config.port));
    let bound = match config.host {
        Some(host) => bind(host).await,
        None => match bind(Ipv6Addr::UNSPECIFIED.into()).await {
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                bind(Ipv4Addr::UNSPECIFIED.into()).await
            }
            bound => bound,
        },
    };
    bound.map_err(|error| {
        let what = format!("cannot listen on port {}: {error}", config.port);
        io::Error::new(error.kind(), what)
    })
}

/// Completes when the process is asked to end and the clients have been told.
async fn shutdown(io: SocketIo) {
    asked_to_end().await;
    say("closing");
    io.close_within(GRACE).await;
}

#[cfg(unix)]
async fn asked_to_end() {
    use tokio::signal::unix::{SignalKind, signal};

    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => tokio::select! {
            _ = terminate.recv() => {}
            _ = tokio::signal::ctrl_c() => {}
        },
        Err(_) => drop(tokio::signal::ctrl_c().await),
    }
}

#[cfg(not(unix))]
async fn asked_to_end() {
    drop(tokio::signal::ctrl_c().await);
}

/// How long clients have to take their last messages.
const GRACE: Duration = Duration::from_secs(2);
