//! The server in front of somebody else's service.

use std::{
    error::Error,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Either;
use tower_layer::Layer;
use tower_service::Service;

use crate::{Acceptor, Server, http::response::ResponseBody};

/// A tower layer that answers the requests of an Engine.IO server and passes on all others. Made
/// by [`Server::layer`].
#[derive(Debug)]
pub struct EngineLayer<A: Acceptor>(Server<A>);

impl<A: Acceptor> Server<A> {
    /// This server as a tower layer, for axum and other frameworks built on tower: requests of its
    /// [path](crate::Config::path) are answered here, all others by the service below.
    ///
    /// Nested under a path, it sees what the framework left of the path.
    pub fn layer(&self) -> EngineLayer<A> {
        EngineLayer(self.clone())
    }
}

impl<A: Acceptor> Clone for EngineLayer<A> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<A: Acceptor, S> Layer<S> for EngineLayer<A> {
    type Service = EngineService<A, S>;

    fn layer(&self, inner: S) -> Self::Service {
        EngineService {
            server: self.0.clone(),
            inner,
        }
    }
}

/// A service with an Engine.IO server in front of it. Made by [`EngineLayer`].
#[derive(Debug)]
pub struct EngineService<A: Acceptor, S> {
    server: Server<A>,
    inner: S,
}

impl<A: Acceptor, S: Clone> Clone for EngineService<A, S> {
    fn clone(&self) -> Self {
        Self {
            server: self.server.clone(),
            inner: self.inner.clone(),
        }
    }
}

impl<A, S, B, R> Service<Request<B>> for EngineService<A, S>
where
    A: Acceptor,
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Response = Response<Either<ResponseBody, R>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if self.server.is_for(&request) {
            let server = self.server.clone();
            Box::pin(async move { Ok(server.handle(request).await.map(Either::Left)) })
        } else {
            let response = self.inner.call(request);
            Box::pin(async move { Ok(response.await?.map(Either::Right)) })
        }
    }
}
