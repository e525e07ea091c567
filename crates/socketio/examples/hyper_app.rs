//! Socket.IO beside an application's own routes, on hyper and nothing else.
//!
//! `curl http://127.0.0.1:3000/count` tells how many votes came in by Socket.IO.

use std::{
    convert::Infallible,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use http_body_util::{Either, Full};
use hyper::{Method, Request, Response, StatusCode, body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use socketio::{
    Peer, SocketIo,
    handler::{Data, State},
};
use tokio::net::TcpListener;

/// What routes and handlers share.
type Votes = Arc<AtomicUsize>;

fn server(votes: Votes) -> SocketIo {
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

/// Serves the application for ever.
pub async fn serve(listener: TcpListener) -> io::Result<()> {
    let votes = Votes::default();
    let socketio = server(votes.clone()).service();
    loop {
        let (stream, addr) = listener.accept().await?;
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
        tokio::spawn(
            hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                // without this there are no WebSockets
                .with_upgrades(),
        );
    }
}

#[tokio::main]
async fn main() -> io::Result<()> {
    serve(TcpListener::bind("127.0.0.1:3000").await?).await
}
