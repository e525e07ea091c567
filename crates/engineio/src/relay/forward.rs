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
use http::{HeaderMap, HeaderName, Request, Response, StatusCode, header, request::Parts};
use http_body::Body;
use http_body_util::{BodyExt, Empty, Full, Limited, combinators::UnsyncBoxBody};
use hyper::{body::Incoming, client, server, service::service_fn, upgrade::OnUpgrade};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{self, AsyncRead, AsyncWrite, AsyncWriteExt},
    sync::watch,
};

use super::{Relay, Sender, stream::RelayStream};
use crate::{
    Acceptor, Server, WeakServer,
    http::response::{self, ResponseBody},
};

/// A request's body on its way to another server.
pub(super) type RelayedBody = UnsyncBoxBody<Bytes, Box<dyn Error + Send + Sync>>;

impl<A: Acceptor> Server<A> {
    /// Takes what other servers pass on.
    pub(crate) fn open_relay(&self, relay: &Arc<Relay>) {
        let server = self.downgrade();
        relay.open(move |stream, closing| {
            tokio::spawn(serve(server.clone(), stream, closing));
        });
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
        let relay = self.relay()?;
        let on_upgrade = parts.extensions.remove::<OnUpgrade>();
        let request = outgoing(parts, on_upgrade.is_some(), body)?;
        // It may wait for long, and what it came with are slices of a buffer of several KiB.
        self.let_go(parts);
        let (mut theirs, sender) = send(relay, &owner, request).await?;
        let mut ours = response::empty(theirs.status());
        let switches = theirs.status() == StatusCode::SWITCHING_PROTOCOLS;
        *ours.headers_mut() = end_to_end(theirs.headers(), switches);
        if switches {
            let owner = hyper::upgrade::on(&mut theirs);
            tokio::spawn(join(on_upgrade?, owner));
            return Some(ours);
        }
        let body = Limited::new(theirs.into_body(), MAX_ANSWER);
        *ours.body_mut() = Full::new(body.collect().await.ok()?.to_bytes());
        relay.put_idle(owner, sender);
        Some(ours)
    }
}

/// Sends a request, over a connection that is there if there is one.
async fn send(
    relay: &Arc<Relay>,
    owner: &Str,
    mut request: Request<RelayedBody>,
) -> Option<(Response<Incoming>, Sender)> {
    while let Some(mut sender) = relay.take_idle(owner) {
        match sender.try_send_request(request).await {
            Ok(response) => return Some((response, sender)),
            // It has failed meanwhile, and nothing was sent.
            Err(mut error) => request = error.take_message()?,
        }
    }
    let io = TokioIo::new(relay.connect(owner.clone())?);
    let (mut sender, connection) = client::conn::http1::handshake(io).await.ok()?;
    tokio::spawn(connection.with_upgrades());
    let response = sender.send_request(request).await.ok()?;
    Some((response, sender))
}

/// Answers what another server passes on, until it or this server closes.
async fn serve<A: Acceptor>(
    server: WeakServer<A>,
    stream: RelayStream,
    mut closing: watch::Receiver<bool>,
) {
    let answer = service_fn(|request: Request<Incoming>| {
        let server = server.upgrade();
        async move {
            Ok::<_, Infallible>(match server {
                Some(server) => server.handle_relayed(request).await,
                None => response::empty(StatusCode::SERVICE_UNAVAILABLE),
            })
        }
    });
    let mut http = server::conn::http1::Builder::new();
    http.max_buf_size(MAX_HEAD);
    let connection = http.serve_connection(TokioIo::new(stream), answer);
    let mut connection = pin!(connection.with_upgrades());
    let closing = async {
        // Fails if there is no server any more.
        let _ = closing.wait_for(|closing| *closing).await;
    };
    let result = tokio::select! {
        biased;
        result = connection.as_mut() => result,
        () = closing => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "a stream from another server");
    }
}

/// The request as it goes to another server.
fn outgoing<B>(
    parts: &Parts,
    upgrades: bool,
    body: Option<Pin<Box<B>>>,
) -> Option<Request<RelayedBody>>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let has_body = body.is_some();
    let body = match body {
        Some(body) => UnsyncBoxBody::new(body.map_err(Into::into)),
        None => UnsyncBoxBody::new(Empty::new().map_err(|never| match never {})),
    };
    let mut request = Request::new(body);
    *request.method_mut() = parts.method.clone();
    // A slice of it would keep the buffer that the request was read into.
    *request.uri_mut() = parts.uri.path_and_query()?.as_str().parse().ok()?;
    let headers = request.headers_mut();
    *headers = end_to_end(&parts.headers, upgrades);
    if !has_body {
        headers.remove(header::CONTENT_LENGTH);
    }
    Some(request)
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

/// Headers without those that are about one connection only (RFC 9110, section 7.6.1), unless both
/// connections become something else.
fn end_to_end(headers: &HeaderMap, upgrades: bool) -> HeaderMap {
    let listed = headers.get_all(header::CONNECTION).iter();
    let listed: Vec<&str> = listed
        .filter_map(|it| it.to_str().ok())
        .flat_map(|it| it.split(',').map(str::trim))
        .collect();
    let is_of_both = |name: &HeaderName| {
        let hop = [
            header::CONNECTION,
            header::UPGRADE,
            header::TRANSFER_ENCODING,
            header::EXPECT,
            header::TE,
            header::TRAILER,
            header::DATE,
        ];
        let is_hop = hop.contains(name)
            || name == "keep-alive"
            || listed
                .iter()
                .any(|it| name.as_str().eq_ignore_ascii_case(it));
        !is_hop || (upgrades && [header::CONNECTION, header::UPGRADE].contains(name))
    };
    let of_both = headers.iter().filter(|(name, _)| is_of_both(name));
    of_both
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// The largest head of a request, and of a response.
const MAX_HEAD: usize = 64 * 1024;

/// The largest answer that another server may give. All that waits for one client is in it.
const MAX_ANSWER: usize = 256 * 1024 * 1024;

/// How long the two connections under a WebSocket have to be there.
const UPGRADE_TIME: Duration = Duration::from_secs(10);

/// How long one side of a WebSocket stays when the other has ended.
const END_TIME: Duration = Duration::from_secs(3);
