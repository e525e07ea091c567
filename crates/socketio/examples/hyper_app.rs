//! Socket.IO beside an application's own routes, on hyper and nothing else.
//!
//! `curl http://127.0.0.1:3000/count` tells how many votes came in by Socket.IO.

use std::{
    convert::Infallible,
    future::Future,
    io,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http_body_util::{Either, Full};
use hyper::{Method, Request, Response, StatusCode, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use socketio::{
    Peer, SocketIo,
    handler::{Data, State},
};
use tokio::{net::TcpListener, sync::watch};

/// What routes and handlers share.
pub type Votes = Arc<AtomicUsize>;

/// What Socket.IO clients find here.
pub fn server(votes: Votes) -> SocketIo {
    let io = SocketIo::builder().state(votes).build();
    io.on(
        "vote",
        async |io: SocketIo, State(votes): State<Votes>, Data(weight): Data<usize>| {
            let total = votes.fetch_add(weight, Ordering::Relaxed) + weight;
            io.emit("votes", &total)?;
            // the answer, if the client wants one
            Ok::<_, socketio::EmitError>(total)
        },
    );
    io
}

fn route(request: &Request<Incoming>, votes: &Votes) -> Response<Full<bytes::Bytes>> {
    let (status, text) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/count") => (StatusCode::OK, votes.load(Ordering::Relaxed).to_string()),
        _ => (StatusCode::NOT_FOUND, String::from("not found")),
    };
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    response
}

/// Serves the application until the signal comes.
pub async fn serve(listener: TcpListener, shutdown: impl Future<Output = ()>) -> io::Result<()> {
    let votes = Votes::default();
    let io = server(votes.clone());
    let socketio = io.service();
    // Requests are served until the clients have been told.
    let mut shutdown = pin!(async {
        shutdown.await;
        io.close().await;
    });
    let (stop, stopped) = watch::channel(());
    loop {
        let (stream, addr) = tokio::select! {
            accepted = listener.accept() => accepted?,
            () = &mut shutdown => break,
        };
        stream.set_nodelay(true)?;
        let (votes, socketio) = (votes.clone(), socketio.clone());
        let service = service_fn(move |mut request: Request<Incoming>| {
            let (votes, socketio) = (votes.clone(), socketio.clone());
            async move {
                Ok::<_, Infallible>(if socketio.is_for(&request) {
                    // so that handlers can have the client's address
                    request.extensions_mut().insert(Peer::new(addr));
                    socketio.handle(request).await.map(Either::Left)
                } else {
                    route(&request, &votes).map(Either::Right)
                })
            }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            // without this there are no WebSockets
            .with_upgrades();
        let mut stopped = stopped.clone();
        tokio::spawn(async move {
            let mut connection = pin!(connection);
            tokio::select! {
                _ = connection.as_mut() => {}
                _ = stopped.changed() => {
                    connection.as_mut().graceful_shutdown();
                    let _ = connection.await;
                }
            }
        });
    }
    drop((listener, stopped));
    stop.send_replace(());
    // The last answers are on their way.
    let _ = tokio::time::timeout(Duration::from_secs(3), stop.closed()).await;
    Ok(())
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:3000").await?;
    serve(listener, async { drop(tokio::signal::ctrl_c().await) }).await
}
