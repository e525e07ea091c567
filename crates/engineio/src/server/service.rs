//! The server as a service of hyper and tower.

use std::{
    convert::Infallible,
    error::Error,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tokio::runtime::Handle;

use crate::{Acceptor, Server, http::response::ResponseBody};

/// The future of a [`Server`] as a service.
pub struct ServerFuture {
    answer: Option<Response<ResponseBody>>,
    waiting: Pin<Box<dyn Future<Output = Response<ResponseBody>> + Send>>,
}

impl ServerFuture {
    /// hyper reads on before it polls what a service returns, and would have to take another 8 KiB
    /// for that as long as the head of this request is in use. So whatever can be done without
    /// waiting is done here, if this is the runtime that will do the rest. A body is read by hyper in
    /// between.
    fn new<A, B>(server: Server<A>, request: Request<B>) -> Self
    where
        A: Acceptor,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let has_body = !request.body().is_end_stream();
        let mut asked = server.asked(request);
        let mut waiting = Box::pin(async move { server.answer_asked(&mut asked).await });
        let mut answer = None;
        // Whatever is not ready is polled again, with a waker.
        let mut cx = Context::from_waker(Waker::noop());
        if !has_body
            && Handle::try_current().is_ok()
            && let Poll::Ready(ready) = waiting.as_mut().poll(&mut cx)
        {
            answer = Some(ready);
        }
        Self { answer, waiting }
    }
}

impl Future for ServerFuture {
    type Output = Result<Response<ResponseBody>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.answer.take() {
            Some(answer) => Poll::Ready(Ok(answer)),
            None => self.waiting.as_mut().poll(cx).map(Ok),
        }
    }
}

impl fmt::Debug for ServerFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerFuture")
    }
}

impl<A, B> hyper::service::Service<Request<B>> for Server<A>
where
    A: Acceptor,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = ServerFuture;

    fn call(&self, request: Request<B>) -> Self::Future {
        ServerFuture::new(self.clone(), request)
    }
}

impl<A, B> tower_service::Service<Request<B>> for Server<A>
where
    A: Acceptor,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = ServerFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        hyper::service::Service::call(self, request)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use http_body_util::Empty;
    use hyper::service::Service;

    use super::*;
    use crate::{Config, Connection, Handshake, SessionHandle};

    struct Nobody;

    impl Acceptor for Nobody {
        type Connection = Self;
        fn accept(&self, _: SessionHandle, _: Arc<Handshake>) -> Self {
            Nobody
        }
    }

    impl Connection for Nobody {
        fn on_message(&mut self, _: engineio_proto::Data, _: &mut Context<'_>) {}
    }

    /// A larger one leaves the quick lists of glibc's allocator.
    #[test]
    fn the_future_of_a_request_stays_small() {
        let server = Server::new(Config::default(), Nobody);
        let future = Service::call(&server, Request::new(Empty::new()));
        let size = size_of_val(&*future.waiting);
        assert!(size <= 1032, "{size} B");
    }
}
