//! Requests on their way to the server that has the session, and there.

use std::{
    convert::Infallible,
    error::Error,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use engineio_proto::Str;
use http::{HeaderMap, Request, Response, StatusCode, header, request::Parts};
use http_body::Body;
use http_body_util::{BodyExt, Either, Full, Limited};
use hyper::{body::Incoming, client, server, service::service_fn, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use tokio::io::{self, AsyncRead, AsyncWrite, AsyncWriteExt};

use super::{Relay, stream::RelayStream};
use crate::{
    Acceptor, Server,
    http::response::{self, ResponseBody},
};

impl<A: Acceptor> Server<A> {
    /// Takes what other servers pass on.
    pub(crate) fn open_relay(&self, relay: &Arc<Relay>) {
        let server = self.downgrade();
        relay.open(move |stream| {
            if let Some(server) = server.upgrade() {
                tokio::spawn(server.serve_relayed(stream));
            }
        });
    }

    async fn serve_relayed(self, stream: RelayStream) {
        let answer = service_fn(|request: Request<Incoming>| {
            let server = self.clone();
            async move { Ok::<_, Infallible>(server.handle_relayed(request).await) }
        });
        let mut http = server::conn::http1::Builder::new();
        http.keep_alive(false).max_buf_size(MAX_HEAD);
        let connection = http.serve_connection(TokioIo::new(stream), answer);
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "a request of another server");
        }
    }

    /// Passes a request on to the server that has its session. If that cannot be reached, or does
    /// not answer, nobody knows the session.
    pub(crate) async fn forward<B>(
        &self,
        owner: Str,
        parts: &mut Parts,
        body: Option<Pin<Box<B>>>,
    ) -> Option<Response<ResponseBody>>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let stream = self.relay()?.connect(owner)?;
        let (mut sender, connection) = client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .ok()?;
        tokio::spawn(connection.with_upgrades());
        let has_body = body.is_some();
        let mut request = Request::new(match body {
            Some(body) => Either::Right(body),
            None => Either::Left(Full::<Bytes>::default()),
        });
        *request.method_mut() = parts.method.clone();
        *request.uri_mut() = parts.uri.path_and_query()?.as_str().parse().ok()?;
        *request.headers_mut() = end_to_end(&parts.headers);
        if !has_body {
            request.headers_mut().remove(header::CONTENT_LENGTH);
        }
        let on_upgrade = parts.extensions.remove::<OnUpgrade>();
        if on_upgrade.is_some() {
            for name in [header::CONNECTION, header::UPGRADE] {
                if let Some(value) = parts.headers.get(&name) {
                    request.headers_mut().insert(name, value.clone());
                }
            }
        }
        // It may wait for long, and what it came with are slices of a buffer of several KiB.
        self.let_go(parts);
        let mut theirs = sender.send_request(request).await.ok()?;
        let mut ours = response::empty(theirs.status());
        *ours.headers_mut() = end_to_end(theirs.headers());
        if theirs.status() == StatusCode::SWITCHING_PROTOCOLS {
            for name in [header::CONNECTION, header::UPGRADE] {
                if let Some(value) = theirs.headers().get(&name) {
                    ours.headers_mut().insert(name, value.clone());
                }
            }
            let owner = hyper::upgrade::on(&mut theirs);
            tokio::spawn(join(on_upgrade?, owner));
            return Some(ours);
        }
        let body = Limited::new(theirs.into_body(), MAX_ANSWER);
        let body = body.collect().await.ok()?.to_bytes();
        *ours.body_mut() = Full::new(body);
        Some(ours)
    }
}

/// Carries the bytes of a WebSocket in both directions. When one side has ended, the other has
/// little time to do so too.
async fn join(client: OnUpgrade, owner: OnUpgrade) {
    let upgraded = async { tokio::try_join!(client, owner) };
    let Ok(Ok((client, owner))) = tokio::time::timeout(UPGRADE_TIME, upgraded).await else {
        return;
    };
    let (from_client, to_client) = io::split(TokioIo::new(client));
    let (from_owner, to_owner) = io::split(TokioIo::new(owner));
    let mut up = pin!(carry(from_client, to_owner));
    let mut down = pin!(carry(from_owner, to_client));
    tokio::select! {
        () = &mut up => drop(tokio::time::timeout(END_TIME, down).await),
        () = &mut down => drop(tokio::time::timeout(END_TIME, up).await),
    }
}

async fn carry(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) {
    // Whatever fails here is told to the other end by closing.
    let _ = io::copy(&mut from, &mut to).await;
    let _ = to.shutdown().await;
}

/// Headers without those that are about one connection only (RFC 9110, section 7.6.1).
fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    let listed: Vec<_> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|it| it.to_str().ok())
        .flat_map(|it| it.split(','))
        .filter_map(|it| it.trim().parse::<header::HeaderName>().ok())
        .collect();
    for name in listed.iter().chain(&[
        header::CONNECTION,
        header::UPGRADE,
        header::TRANSFER_ENCODING,
        header::EXPECT,
        header::TE,
        header::TRAILER,
        header::DATE,
    ]) {
        headers.remove(name);
    }
    headers.remove("keep-alive");
    headers
}

/// The largest head of a request, and of a response.
const MAX_HEAD: usize = 64 * 1024;

/// The largest answer that another server may give. All that waits for one client is in it.
const MAX_ANSWER: usize = 256 * 1024 * 1024;

/// How long the two connections under a WebSocket have to be there.
const UPGRADE_TIME: Duration = Duration::from_secs(10);

/// How long one side of a WebSocket stays when the other has ended.
const END_TIME: Duration = Duration::from_secs(3);
