//! Requests of sessions that there are: polls, POSTs and upgrades.

use std::{
    error::Error,
    future::poll_fn,
    pin::{Pin, pin},
    task::Poll,
};

use bytes::Bytes;
use engineio_proto::{
    Dialect, Query, Str, Violation, payload::Framing, query::Transport, session::Settings,
};
use http::{HeaderMap, Method, Request, Response, StatusCode, header, request::Parts};
use http_body::Body;
use tokio::sync::oneshot;

use super::{handshake::WebSocketRequest, route::Route};
use crate::{
    Acceptor, ConnectionErrorKind as Kind, Exchange, HttpCompression, Server, SessionHandle,
    config::CorsChoice,
    driver::close_alone,
    http::{
        body::{self, ReadError},
        response::{self, ResponseBody},
        spare,
    },
    item::{Item, PollReply, Post},
    transport::websocket::WebSocket,
};

impl<A: Acceptor> Server<A> {
    /// A request that has come by way of another server, where everything but the session's part of
    /// it is done.
    pub(crate) async fn handle_relayed<B>(&self, request: Request<B>) -> Response<ResponseBody>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let (mut parts, body) = request.into_parts();
        let mut body = (!body.is_end_stream()).then(|| Box::pin(body));
        let answer = match self.route(&parts) {
            Ok(Route::Resume(session)) => self.resume(&mut parts, &mut body, session).await,
            Ok(Route::Upgrade { session, base64 }) => self.upgrade(&mut parts, base64, session),
            // Ids of this server's sessions lead nowhere else.
            Ok(Route::Open(_) | Route::Relay(_)) => Err(Kind::UnknownSid(String::new())),
            Err(kind) => Err(kind),
        };
        answer.unwrap_or_else(|kind| self.refuse(kind, &parts))
    }

    /// The session is at another server.
    pub(super) async fn relayed<B>(
        &self,
        exchange: &mut Exchange,
        body: &mut Option<Pin<Box<B>>>,
        owner: Str,
    ) -> Result<Response<ResponseBody>, Kind>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let parts = &mut exchange.request;
        if body::declares_too_much(&parts.headers, self.0.settings.max_payload) {
            return Ok(response::empty(StatusCode::PAYLOAD_TOO_LARGE));
        }
        let query = Query::parse(parts.uri.query().unwrap_or_default());
        let sid = query.sid().unwrap_or_default().to_owned();
        let answer = self.forward(owner, parts, body.take()).await;
        answer.ok_or(Kind::UnknownSid(sid))
    }

    /// A polling request with a session id belongs to that session.
    pub(super) async fn resume<B>(
        &self,
        parts: &mut Parts,
        body: &mut Option<Pin<Box<B>>>,
        session: SessionHandle,
    ) -> Result<Response<ResponseBody>, Kind>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        if session.transport() != Transport::Polling {
            return Err(POLL_AFTER_UPGRADE);
        }
        if parts.method == Method::GET {
            let (reply, answer) = oneshot::channel();
            let _ = session.mailbox().push(Item::Poll(reply));
            let poll = self.poll(parts, session);
            self.let_go(parts);
            self.answer_poll(&poll, answer).await
        } else if parts.method == Method::POST {
            self.post(parts, body, session).await
        } else {
            Err(Kind::BadHandshakeMethod(parts.method.to_string()))
        }
    }

    /// What the answer to a poll depends on.
    pub(super) fn poll(&self, parts: &Parts, session: SessionHandle) -> PollRequest {
        let compression = self.0.config.http_compression.as_ref();
        let accept = compression.and_then(|_| parts.headers.get(header::ACCEPT_ENCODING));
        PollRequest {
            session,
            accept: accept.and_then(|it| http::HeaderValue::from_bytes(it.as_bytes()).ok()),
            old_explorer: response::is_old_internet_explorer(&parts.headers),
        }
    }

    /// A poll may wait for long. What it came with are slices of the buffer that it was read into,
    /// several KiB: nothing of that stays, or a copy if anybody looks at it later.
    pub(crate) fn let_go(&self, parts: &mut Parts) {
        let config = &self.0.config;
        let is_looked_at = config.on_headers.is_some()
            || config.on_connection_error.is_some()
            || !matches!(config.cors, CorsChoice::None);
        if is_looked_at {
            *parts = detached(parts);
        } else {
            spare::recycle(&mut parts.headers, &mut parts.extensions);
            parts.uri = http::Uri::default();
        }
    }

    pub(super) async fn answer_poll(
        &self,
        poll: &PollRequest,
        answer: oneshot::Receiver<PollReply>,
    ) -> Result<Response<ResponseBody>, Kind> {
        match answer.await {
            Ok(PollReply::Body { mut body, compress }) => {
                let compression = self.0.config.http_compression.as_ref();
                let compression = compression.filter(|_| compress);
                let mut encoding = None;
                if let Some(compression) = compression {
                    let (plain, accept) = (body.bytes, poll.accept.as_ref());
                    (body.bytes, encoding) = if plain.len() <= COMPRESS_HERE {
                        compression.compress(plain, accept)
                    } else {
                        Box::pin(compressed(compression, plain, accept)).await
                    };
                }
                let mut response = response::poll(body, poll.old_explorer);
                if let Some(encoding) = encoding {
                    let value = http::HeaderValue::from_static(encoding);
                    response
                        .headers_mut()
                        .insert(header::CONTENT_ENCODING, value);
                }
                Ok(response)
            }
            Ok(PollReply::Refused(Violation::TransportMismatch)) => Err(POLL_AFTER_UPGRADE),
            Ok(PollReply::Refused(_)) => Ok(response::empty(StatusCode::BAD_REQUEST)),
            Err(_) => Err(Kind::UnknownSid(poll.session.sid().to_string())),
        }
    }

    async fn post<B>(
        &self,
        parts: &Parts,
        body: &mut Option<Pin<Box<B>>>,
        session: SessionHandle,
    ) -> Result<Response<ResponseBody>, Kind>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        if !session.begin_post() {
            let _ = session.mailbox().push(Item::PostOverlap);
            return Ok(response::empty(StatusCode::BAD_REQUEST));
        }
        let posting = Posting::new(session);
        let limit = self.0.settings.max_payload;
        if body::declares_too_much(&parts.headers, limit) {
            posting.finish();
            return Ok(response::empty(StatusCode::PAYLOAD_TOO_LARGE));
        }
        let framing = framing(&parts.headers);
        let read = match body {
            Some(body) => posting.read(body, limit).await,
            None => Ok(Bytes::new()),
        };
        let read = match read {
            Ok(read) => read,
            Err(ReadError::TooLarge) => {
                posting.finish();
                return Ok(response::empty(StatusCode::PAYLOAD_TOO_LARGE));
            }
            // Dropped unfinished, `posting` tells the session.
            Err(ReadError::Aborted) => return Ok(response::empty(StatusCode::BAD_REQUEST)),
        };
        let (reply, answer) = oneshot::channel();
        let session = posting.session.clone();
        let _ = session.mailbox().push(Item::Post(Box::new(Post {
            body: read,
            framing,
            reply,
        })));
        let answer = answer.await;
        posting.finish();
        match answer {
            Ok(Ok(())) => {
                let old_explorer = response::is_old_internet_explorer(&parts.headers);
                Ok(response::posted(old_explorer))
            }
            Ok(Err(Violation::TransportMismatch)) => Err(POLL_AFTER_UPGRADE),
            Ok(Err(_)) => Ok(response::empty(StatusCode::BAD_REQUEST)),
            Err(_) => Err(Kind::UnknownSid(session.sid().to_string())),
        }
    }

    /// A WebSocket for a session that is polling. Whether it may still take over is for the
    /// session to say; if not, it is closed again.
    pub(super) fn upgrade(
        &self,
        parts: &mut Parts,
        base64_frames: bool,
        session: SessionHandle,
    ) -> Result<Response<ResponseBody>, Kind> {
        self.check_origin(&parts.headers)?;
        let upgrade = WebSocketRequest::read(parts)?;
        let dialect = Dialect {
            base64_frames,
            ..*session.dialect()
        };
        let (response, on_upgrade) = upgrade.accept();
        let Settings {
            upgrade_timeout,
            max_payload,
            ..
        } = *self.0.settings;
        tokio::spawn(async move {
            if let Ok(Ok(upgraded)) = tokio::time::timeout(upgrade_timeout, on_upgrade).await {
                let socket = Box::new(WebSocket::new(upgraded, dialect, max_payload));
                if let Err(Item::Socket(socket)) = session.mailbox().push(Item::Socket(socket)) {
                    close_alone(*socket);
                }
            }
        });
        Ok(response)
    }
}

/// What is kept of a poll while it waits.
pub(super) struct PollRequest {
    pub(super) session: SessionHandle,
    /// If answers are compressed: its `Accept-Encoding`.
    accept: Option<http::HeaderValue>,
    old_explorer: bool,
}

/// A copy that shares nothing with the original but what the application put there.
fn detached(parts: &Parts) -> Parts {
    let (mut copy, ()) = Request::new(()).into_parts();
    copy.method = parts.method.clone();
    copy.version = parts.version;
    copy.extensions = parts.extensions.clone();
    copy.uri = parts.uri.to_string().parse().unwrap_or_default();
    for (name, value) in &parts.headers {
        let name = http::HeaderName::from_bytes(name.as_str().as_bytes());
        let value = http::HeaderValue::from_bytes(value.as_bytes());
        if let (Ok(name), Ok(value)) = (name, value) {
            copy.headers.append(name, value);
        }
    }
    copy
}

/// A poll or a POST for a session that has moved to its WebSocket.
const POLL_AFTER_UPGRADE: Kind = Kind::TransportMismatch {
    transport: Transport::Polling,
    previous: Transport::WebSocket,
};

/// Compresses what is large, where it holds up nobody.
async fn compressed(
    compression: &HttpCompression,
    body: Bytes,
    accept: Option<&http::HeaderValue>,
) -> (Bytes, Option<&'static str>) {
    let (compression, accept) = (compression.clone(), accept.cloned());
    let plain = body.clone();
    let task = tokio::task::spawn_blocking(move || compression.compress(body, accept.as_ref()));
    task.await.unwrap_or((plain, None))
}

/// Bytes that take well under a millisecond to compress.
const COMPRESS_HERE: usize = 32 * 1024;

/// A POST on its way. However it ends, the session can be posted to again; if it ends before it
/// was [finished](Self::finish), the client gave it up.
struct Posting {
    session: SessionHandle,
    finished: bool,
}

impl Posting {
    fn new(session: SessionHandle) -> Self {
        Self {
            session,
            finished: false,
        }
    }

    /// Reads the body, but not longer than the session lives.
    async fn read<B>(&self, body: B, limit: usize) -> Result<Bytes, ReadError>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let mut reading = pin!(body::read(body, limit));
        // A small body has come with the head of the request, and nobody needs to wait.
        let at_once = poll_fn(|cx| Poll::Ready(reading.as_mut().poll(cx))).await;
        if let Poll::Ready(read) = at_once {
            return read;
        }
        let (open, ended) = oneshot::channel();
        let _ = self.session.mailbox().push(Item::PostOpen(open));
        tokio::select! {
            read = reading => read,
            _ = ended => Err(ReadError::Aborted),
        }
    }

    fn finish(mut self) {
        self.finished = true;
    }
}

impl Drop for Posting {
    fn drop(&mut self) {
        if !self.finished {
            let _ = self.session.mailbox().push(Item::PostAborted);
        }
        self.session.end_post();
    }
}

/// Version 3 knows two framings and tells them apart by the exact content type; what a client of
/// version 4 sends as bytes is for its session to refuse.
fn framing(headers: &HeaderMap) -> Framing {
    match headers.get(header::CONTENT_TYPE) {
        Some(kind) if kind == "application/octet-stream" => Framing::Binary,
        _ => Framing::Text,
    }
}
