//! The server as a service among others, and on streams that are not TCP.

mod common;

use std::{
    convert::Infallible,
    future::{Future, IntoFuture, Ready, ready},
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use common::{App, PATH, Running, start};
use engineio::{CloseReason, Config, Data, Peer, Server};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use testkit::{Open, Polling, Upgrade, Ws};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, copy_bidirectional, duplex},
    net::TcpListener,
};
use tower_layer::Layer;
use tower_service::Service;

const URL: &str = "/engine.io/?EIO=4&transport=polling";

/// The same server on a pipe, behind a port that only copies bytes.
async fn on_a_pipe(server: Server<App>) -> SocketAddr {
    on_streams(server, |pipe| pipe).await
}

/// The same on what is made of such a pipe.
async fn on_streams<S>(server: Server<App>, stream: fn(DuplexStream) -> S) -> SocketAddr
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        loop {
            let (mut tcp, _) = listener.accept().await.expect("a connection");
            let (mut outside, inside) = duplex(1000);
            tokio::spawn(async move { copy_bidirectional(&mut tcp, &mut outside).await });
            let inside = TokioIo::new(stream(inside));
            let connection = http1::Builder::new().serve_connection(inside, server.clone());
            tokio::spawn(connection.with_upgrades());
        }
    });
    addr
}

#[tokio::test]
async fn polling_and_websocket_need_no_tcp() {
    let running = start(Config::default()).await;
    let addr = on_a_pipe(running.server.clone()).await;
    let mut session = Polling::open(addr, PATH, "EIO=4").await;
    let large = format!("4{}", "x".repeat(200_000));
    session.post_ok(&large).await;
    assert_eq!(session.poll_text().await, large);
    let (mut ws, _) = Upgrade::run(&mut session).await;
    ws.text(&large).await;
    assert_eq!(ws.recv_text().await, large);
    ws.close(None).await;
    running.close_reason(session.sid()).await;

    let mut ws = Ws::connect(addr, "/engine.io/?EIO=4&transport=websocket").await;
    let open = Open::parse(ws.recv_text().await.as_bytes());
    ws.binary([1, 2, 3]).await;
    assert_eq!(ws.recv_binary().await, [1, 2, 3][..]);
    // Nobody said whose connection it is.
    let handshake = running.seen(&open.sid).await.handshake;
    assert_eq!(handshake.remote_addr(), None);
    assert!(!handshake.secure());
}

/// A stream that has a look at what comes whenever it is flushed.
struct LooksAhead {
    pipe: DuplexStream,
    seen: Vec<u8>,
}

impl AsyncRead for LooksAhead {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.seen.is_empty() {
            return Pin::new(&mut self.pipe).poll_read(cx, buf);
        }
        let length = self.seen.len().min(buf.remaining());
        self.seen
            .drain(..length)
            .for_each(|it| buf.put_slice(&[it]));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for LooksAhead {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.pipe).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut bytes = [0; 100];
        let mut buf = ReadBuf::new(&mut bytes);
        if Pin::new(&mut self.pipe).poll_read(cx, &mut buf)?.is_ready() {
            self.seen.extend_from_slice(buf.filled());
            cx.waker().wake_by_ref();
        }
        Pin::new(&mut self.pipe).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.pipe).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn what_a_stream_has_read_for_its_writer_is_not_overlooked() {
    let running = start(Config::default()).await;
    let ahead = |pipe| LooksAhead {
        pipe,
        seen: Vec::new(),
    };
    let addr = on_streams(running.server.clone(), ahead).await;
    let mut ws = Ws::connect(addr, "/engine.io/?EIO=4&transport=websocket").await;
    let open = Open::parse(ws.recv_text().await.as_bytes());
    let handle = running.handle(&open.sid).await;
    for number in 0..3 {
        // The last thing that the driver does with the stream is to flush it.
        tokio::time::sleep(Duration::from_millis(20)).await;
        handle.send("pushed");
        assert_eq!(ws.recv_text().await, "4pushed");
        let text = format!("4{number}");
        ws.text(&text).await;
        assert_eq!(ws.recv_text().await, text);
    }
}

#[tokio::test]
async fn what_comes_together_with_overlapping_polls_comes_first() {
    let running = start(Config::default()).await;
    let response = running.server.handle(get(URL)).await;
    let open = Open::parse(body(response).await.as_bytes());
    let url = format!("{URL}&sid={}", open.sid);
    let post = Request::post(&url).body(Full::from("4hello"));
    let server = &running.server;
    // The session has its turn when all three have been asked.
    let (first, second, posted) = tokio::join!(
        server.handle(get(&url)),
        server.handle(get(&url)),
        server.handle(post.expect("a request"))
    );
    assert_eq!(body(posted).await, "ok");
    let messages = running.seen(&open.sid).await.messages;
    assert_eq!(messages, [Data::from("hello")]);
    assert_eq!(second.status(), StatusCode::BAD_REQUEST);
    drop(first);
    let reason = running.close_reason(&open.sid).await;
    assert_eq!(reason, CloseReason::TransportError);
}

fn get(url: &str) -> Request<Full<Bytes>> {
    Request::get(url).body(Full::default()).expect("a request")
}

async fn body(response: Response<impl http_body::Body<Data = Bytes>>) -> String {
    let collected = response.into_body().collect().await.ok();
    let bytes = collected.expect("a body").to_bytes();
    String::from_utf8(bytes.into()).expect("UTF-8")
}

#[tokio::test]
async fn requests_need_no_connection_at_all() {
    let running = start(Config::default()).await;
    let mut server = running.server.clone();
    let peer = Peer::new(([192, 0, 2, 1], 4711).into()).secure(true);
    let mut request = get(URL);
    request.extensions_mut().insert(peer);
    let response = Service::call(&mut server, request)
        .await
        .expect("infallible");
    assert_eq!(response.status(), StatusCode::OK);
    let open = Open::parse(body(response).await.as_bytes());
    let handshake = running.seen(&open.sid).await.handshake;
    assert_eq!(handshake.remote_addr(), Some(peer.addr()));
    assert!(handshake.secure());

    let url = format!("{URL}&sid={}", open.sid);
    let post = Request::post(&url)
        .body(Full::from("4hello"))
        .expect("a request");
    let response = server.handle(post).await;
    assert_eq!(body(response).await, "ok");
    assert_eq!(body(server.handle(get(&url)).await).await, "4hello");
}

#[tokio::test]
async fn a_websocket_that_nobody_can_upgrade_is_refused() {
    let running = start(Config::default()).await;
    let request = Request::get("/engine.io/?EIO=4&transport=websocket")
        .header("Upgrade", "websocket")
        .header("Connection", "Upgrade")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", testkit::ws::SAMPLE_KEY)
        .body(Full::<Bytes>::default())
        .expect("a request");
    // There is no connection below this request that could become a WebSocket.
    let response = running.server.handle(request).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    running.sessions(0).await;
}

/// Answers everything with its own name.
#[derive(Clone)]
struct Below;

impl Service<Request<Full<Bytes>>> for Below {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<Full<Bytes>>) -> Self::Future {
        ready(Ok(Response::new(Full::from("below"))))
    }
}

#[tokio::test]
async fn a_layer_passes_on_what_is_not_for_the_server() {
    let running: Running = start(Config::default()).await;
    let mut service = running.server.layer().layer(Below);
    for (url, expected) in [
        ("/", "below"),
        ("/engine.io", "below"),
        ("/engine.io/more", "below"),
        ("/engine.io/", r#"{"code":0,"message":"Transport unknown"}"#),
    ] {
        assert_eq!(running.server.is_for(&get(url)), expected != "below");
        let response = service.call(get(url)).await.expect("infallible");
        assert_eq!(body(response).await, expected, "{url}");
    }
    let response = service.call(get(URL)).await.expect("infallible");
    assert!(body(response).await.starts_with("0{"));
}

/// Asks the server, and answers something else.
#[derive(Clone)]
struct Contrary(Server<App>);

impl hyper::service::Service<Request<hyper::body::Incoming>> for Contrary {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future =
        std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: Request<hyper::body::Incoming>) -> Self::Future {
        let server = self.0.clone();
        Box::pin(async move {
            server.handle(request).await;
            Ok(Response::new(Full::from("something else")))
        })
    }
}

#[tokio::test]
async fn a_websocket_that_is_refused_by_a_service_around_the_server_hears_of_it() {
    let running = start(Config::default()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("an address");
    tokio::spawn(engineio::serve(listener, Contrary(running.server.clone())).into_future());
    let request = "GET /engine.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: a\r\n\
        Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let Err(refused) = Ws::handshake(addr, request).await else {
        panic!("a 101 that was replaced")
    };
    assert_eq!(refused.text(), "something else");
}

#[test]
fn a_service_may_be_called_outside_of_the_runtime() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut server = runtime.block_on(start(Config::default())).server.clone();
    let request = Request::get(URL).body(Full::<Bytes>::default());
    let answer = server.call(request.expect("a request"));
    let answer = runtime.block_on(answer).expect("no error");
    assert_eq!(answer.status(), StatusCode::OK);
}
