//! The server: requests in, sessions and responses out.

use std::{
    convert::Infallible,
    error::Error,
    fmt,
    future::{Future, poll_fn},
    mem,
    pin::{Pin, pin},
    sync::{Arc, Weak, atomic::Ordering::Relaxed},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use engineio_proto::{
    CloseReason, Dialect, Open, Query, Sid, Str, Version, Violation,
    payload::Framing,
    query::Transport,
    session::{Lane, Session, Settings},
};
use http::{HeaderMap, Method, Request, Response, StatusCode, header, request::Parts};
use http_body::Body;
use hyper::upgrade::OnUpgrade;
use tokio::{runtime::Handle, sync::oneshot};

use crate::{
    Acceptor, Config, ConnectionError, ConnectionErrorKind as Kind, Cors, Exchange, File, Halt,
    Handshake, HttpCompression, Peer, SessionHandle, Stats,
    backlog::Traffic,
    clock,
    config::CorsChoice,
    driver::{self, Driver, close_alone},
    http::{
        body::{self, ReadError},
        response::{self, ResponseBody},
        spare,
    },
    item::{Item, PollReply, Post},
    middleware::Cause,
    relay::Relay,
    sessions::Sessions,
    transport::{
        websocket::{self, WebSocket},
        wire::Hold,
    },
    visitors::{Visit, Visitors},
};

/// An Engine.IO server: a hyper 1 service and a tower service, cheap to clone.
///
/// It answers the requests of its [path](Config::path) and 404 to all others; to stand in front of
/// an application's own routes, ask [`is_for`](Self::is_for) or use [`layer`](Self::layer).
///
/// See the [crate's front page](crate) for a whole program.
pub struct Server<A: Acceptor>(Arc<Inner<A>>);

struct Inner<A> {
    acceptor: A,
    config: Config,
    settings: Arc<Settings>,
    sessions: Arc<Sessions>,
    traffic: Arc<Traffic>,
    relay: Option<Arc<Relay>>,
    visitors: Visitors,
}

impl<A: Acceptor> Server<A> {
    /// A server that makes a connection of the acceptor for each session.
    ///
    /// Sessions run as tasks of the tokio runtime in which requests are handled; it needs its
    /// timer and its I/O.
    pub fn new(config: Config, acceptor: A) -> Self {
        let relay = config.relay.clone();
        let relay = relay.map(|bus| Relay::new(bus, config.max_relayed));
        let server = Self(Arc::new(Inner {
            acceptor,
            settings: Arc::new(config.settings),
            traffic: Arc::new(Traffic::new(config.queue)),
            visitors: Visitors::new(config.per_address),
            config,
            sessions: Arc::default(),
            relay,
        }));
        if let Some(relay) = &server.0.relay {
            server.open_relay(relay);
        }
        server
    }

    /// Whether a request belongs to this server: its path is the [configured](Config::path) one, or
    /// that of one of its [files](Config::files).
    pub fn is_for<B>(&self, request: &Request<B>) -> bool {
        match self.target(request.uri().path()) {
            Target::Engine | Target::File(_) => true,
            Target::Unknown | Target::Elsewhere => false,
        }
    }

    /// Answers a request. Never fails: whatever is wrong with it becomes a response.
    ///
    /// WebSocket needs the connection to be served with upgrades, as [`serve`](crate::serve())
    /// does and hyper's `with_upgrades`.
    #[doc(alias("handleRequest", "handleUpgrade"))]
    pub async fn handle<B>(&self, request: Request<B>) -> Response<ResponseBody>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let mut asked = self.asked(request);
        self.answer_asked(&mut asked).await
    }

    /// How many sessions there are.
    #[doc(alias = "clientsCount")]
    pub fn sessions(&self) -> usize {
        self.0.sessions.len()
    }

    /// Numbers for whoever watches over the server. It looks at every session.
    pub fn stats(&self) -> Stats {
        let Traffic {
            dropped,
            dropped_volatile,
            waits,
            slow_clients,
            ..
        } = &*self.0.traffic;
        let (queued_bytes, queued_messages) = self.0.sessions.queued();
        Stats {
            sessions: self.sessions(),
            queued_messages,
            queued_bytes,
            dropped: dropped.load(Relaxed),
            dropped_volatile: dropped_volatile.load(Relaxed),
            waits: waits.load(Relaxed),
            slow_clients: slow_clients.load(Relaxed),
            relayed: self.0.relay.as_ref().map_or(0, |relay| relay.outgoing()),
        }
    }

    /// Closes all sessions and refuses new ones with 503: what is queued still leaves, then the
    /// clients are told, a poll that waits is answered, and the [`Connection`](crate::Connection)s
    /// finish what they have in flight.
    ///
    /// Returns when all that is done, or when `grace` is over. What is still there by then is cut
    /// off: transports are dropped, and with them the connections and what they have in flight. So
    /// nothing of the server runs any more when this returns, unless it blocks its thread.
    ///
    /// If several calls wait at once, the shortest grace holds. If the returned future is dropped,
    /// the server goes on closing, and another call waits for it.
    pub async fn close(&self, grace: Duration) -> Closed {
        let sessions = &self.0.sessions;
        for session in sessions.begin_closing() {
            session.close(CloseReason::ServerShuttingDown);
        }
        if tokio::time::timeout(grace, sessions.emptied())
            .await
            .is_err()
        {
            for session in sessions.cut() {
                // Wakes it.
                session.close(CloseReason::ServerShuttingDown);
            }
            let _ = tokio::time::timeout(CUT_TIME, sessions.emptied()).await;
        }
        if let Some(relay) = &self.0.relay {
            relay.close();
        }
        Closed {
            cut: sessions.were_cut(),
        }
    }

    /// Whether [`close`](Self::close) has been called: new sessions are refused.
    pub fn is_closing(&self) -> bool {
        self.0.sessions.is_closing()
    }

    /// A handle that does not keep the server alive. Each session does.
    pub fn downgrade(&self) -> WeakServer<A> {
        WeakServer(Arc::downgrade(&self.0))
    }

    /// The path of the requests that it answers; see [`Config::path`].
    pub fn path(&self) -> &str {
        &self.0.config.path
    }

    /// What this server makes connections of.
    pub fn acceptor(&self) -> &A {
        &self.0.acceptor
    }

    pub(crate) fn max_packets(&self) -> usize {
        self.0.config.max_packets
    }

    pub(crate) fn table(&self) -> &Arc<Sessions> {
        &self.0.sessions
    }

    fn target(&self, path: &str) -> Target {
        let Config {
            path: own, files, ..
        } = &self.0.config;
        if path == &**own {
            return Target::Engine;
        }
        let below = path.strip_prefix(own.trim_end_matches('/'));
        match below.and_then(|it| it.strip_prefix('/')) {
            Some(name) if !files.is_empty() => match files.get(name) {
                Some(file) => Target::File(file.clone()),
                None => Target::Unknown,
            },
            _ => Target::Elsewhere,
        }
    }

    fn asked<B: Body>(&self, request: Request<B>) -> Asked<B> {
        let target = self.target(request.uri().path());
        let (request, body) = request.into_parts();
        Asked {
            target,
            exchange: Exchange::new(request),
            body: (!body.is_end_stream()).then(|| Box::pin(body)),
        }
    }

    async fn answer_asked<B>(&self, asked: &mut Asked<B>) -> Response<ResponseBody>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        if let Target::Elsewhere = asked.target {
            return response::empty(StatusCode::NOT_FOUND);
        }
        let response = match self.cors(&asked.exchange.request).await {
            Ok(cors) => self.answer_across_origins(cors, asked).await,
            Err(kind) => self.refuse(kind, &asked.exchange.request),
        };
        if let Some(body) = asked.body.take_if(|it| !it.is_end_stream()) {
            body::discard(body);
        }
        // Clients that only open WebSockets would leave more than is ever used.
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let parts = &mut asked.exchange.request;
            spare::recycle(&mut parts.headers, &mut parts.extensions);
        }
        response
    }

    async fn cors(&self, request: &Parts) -> Result<Option<Arc<Cors>>, Kind> {
        match &self.0.config.cors {
            CorsChoice::None => Ok(None),
            CorsChoice::Always(cors) => Ok(Some(cors.clone())),
            CorsChoice::Asked(choose) => {
                let chosen = choose(request).await.map_err(Kind::Middleware)?;
                Ok(chosen.map(Arc::new))
            }
        }
    }

    async fn answer_across_origins<B>(
        &self,
        cors: Option<Arc<Cors>>,
        asked: &mut Asked<B>,
    ) -> Response<ResponseBody>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let Asked {
            target,
            exchange,
            body,
        } = asked;
        let Parts {
            method, headers, ..
        } = &exchange.request;
        if let Some(preflight) = cors.as_ref().and_then(|it| it.preflight(method, headers)) {
            return preflight.map(ResponseBody::new);
        }
        let answer = match target {
            Target::File(file) => Ok(Box::pin(file.response(&exchange.request)).await),
            Target::Engine => self.answer(exchange, body).await,
            Target::Unknown | Target::Elsewhere => Err(Kind::UnknownTransport(None)),
        };
        let mut response = answer.unwrap_or_else(|kind| self.refuse(kind, &exchange.request));
        exchange.finish(response.headers_mut());
        if let Some(cors) = cors {
            cors.headers(&exchange.request.headers, response.headers_mut());
        }
        response
    }

    /// The middlewares, then the engine.
    async fn answer<B>(
        &self,
        exchange: &mut Exchange,
        body: &mut Option<Pin<Box<B>>>,
    ) -> Result<Response<ResponseBody>, Kind>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let config = &self.0.config;
        for middleware in &config.middlewares {
            // A copy: one that halts takes its changes with it.
            match middleware(exchange.clone()).await {
                Ok(next) => *exchange = next,
                Err(Halt(Cause::Answer(response))) => return Ok(response.map(ResponseBody::new)),
                Err(Halt(Cause::Refusal(error))) => return Err(Kind::Middleware(error)),
            }
        }
        let mut response = match self.route(&exchange.request)? {
            // Boxed: it needs far more room than the others, which come far more often.
            Route::Open(opening) => Box::pin(self.open(exchange, opening)).await?,
            Route::Upgrade { session, base64 } => {
                self.upgrade(&mut exchange.request, base64, session)?
            }
            Route::Resume(session) => self.resume(&mut exchange.request, body, session).await?,
            Route::Relay(owner) => Box::pin(self.relayed(exchange, body, *owner)).await?,
        };
        let status = response.status();
        if let Some(hook) = &config.on_headers
            && (status.is_success() || status == StatusCode::SWITCHING_PROTOCOLS)
        {
            hook(response.headers_mut(), &exchange.request);
        }
        Ok(response)
    }

    fn refuse(&self, kind: Kind, request: &Parts) -> Response<ResponseBody> {
        let response = response::error(&kind);
        // Without the URL, which may hold the id of a living session.
        tracing::debug!(error = %kind, "refused");
        if let Some(hook) = &self.0.config.on_connection_error {
            hook(&ConnectionError::new(kind, request));
        }
        response
    }

    /// The checks in the order of the official server, and what the request asks for.
    fn route(&self, parts: &Parts) -> Result<Route, Kind> {
        let query = Query::parse(parts.uri.query().unwrap_or_default());
        let unknown = || Kind::UnknownTransport(query.transport_name().map(str::to_owned));
        let transport = query.transport().ok_or_else(unknown)?;
        if !self.0.config.transports.contains(&transport) {
            return Err(unknown());
        }
        let origin = parts.headers.get(header::ORIGIN);
        if let Some(origin) = origin.filter(|it| it.to_str().is_err()) {
            let readable = String::from_utf8_lossy(origin.as_bytes());
            return Err(Kind::InvalidOrigin(readable.into_owned()));
        }
        let Some(sid) = query.sid() else {
            return Ok(Route::Open(Box::new(Opening {
                transport,
                dialect: self.dialect(&query),
                jsonp: query.jsonp(),
            })));
        };
        let Some(session) = self.0.sessions.get(sid) else {
            let owner = self.0.relay.as_ref().and_then(|it| it.owner_of(sid));
            return match owner {
                Some(owner) => Ok(Route::Relay(Box::new(owner))),
                None => Err(Kind::UnknownSid(sid.to_owned())),
            };
        };
        let version = Dialect::from_query(&query).map(|it| it.version);
        if let Some(protocol) = query.eio().filter(|_| version != Some(session.version())) {
            return Err(Kind::ProtocolMismatch {
                protocol: protocol.to_owned(),
                previous: session.version(),
            });
        }
        Ok(match transport {
            Transport::WebSocket => Route::Upgrade {
                session,
                base64: query.base64(),
            },
            Transport::Polling => Route::Resume(session),
        })
    }

    fn dialect(&self, query: &Query<'_>) -> Result<Dialect, Kind> {
        Dialect::from_query(query)
            .filter(|it| self.0.config.allow_eio3 || *it == Dialect::V4)
            .ok_or_else(|| Kind::UnsupportedProtocol(query.eio().map(str::to_owned)))
    }

    /// A request without a session id opens a session.
    async fn open(
        &self,
        exchange: &mut Exchange,
        opening: Box<Opening>,
    ) -> Result<Response<ResponseBody>, Kind> {
        let Opening {
            transport,
            dialect,
            jsonp,
        } = *opening;
        let parts = &mut exchange.request;
        if parts.method != Method::GET {
            return Err(Kind::BadHandshakeMethod(parts.method.to_string()));
        }
        let upgrade = match transport {
            Transport::WebSocket => Some(WebSocketRequest::read(parts)?),
            Transport::Polling => None,
        };
        let mut dialect = dialect?;
        self.check_origin(&parts.headers)?;
        let visit = self.admit(parts)?;
        if upgrade.as_ref().is_some_and(|it| it.key_tells_time) {
            dialect.suspect_twice_encoded_frames();
        }
        let handshake = Arc::new(Handshake::new(
            parts,
            dialect.version,
            mem::take(&mut exchange.extensions),
        ));
        if let Some(allow) = &self.0.config.allow_request {
            allow(handshake.clone())
                .await
                .map_err(|refusal| Kind::Forbidden(refusal.message))?;
        }
        let handle = match &self.0.config.generate_id {
            None => self.register(dialect, transport)?,
            Some(generate) => {
                let id = generate(handshake.clone()).await;
                let sid = id.and_then(check_id).map_err(Kind::IdGeneration)?;
                self.register_as(sid, dialect, transport)?
            }
        };
        let response = match upgrade {
            None => {
                self.open_polling(parts, jsonp, handle, handshake, visit)
                    .await
            }
            Some(upgrade) => Ok(self.open_websocket(upgrade, handle, handshake, visit)),
        };
        response.map(|mut response| {
            if let Some(hook) = &self.0.config.on_initial_headers {
                hook(response.headers_mut(), parts);
            }
            response
        })
    }

    /// Whether pages from there may open sessions.
    fn check_origin(&self, headers: &HeaderMap) -> Result<(), Kind> {
        let Some(allowed) = &self.0.config.allowed_origins else {
            return Ok(());
        };
        for origin in headers.get_all(header::ORIGIN) {
            let origin = String::from_utf8_lossy(origin.as_bytes());
            if !allowed.iter().any(|it| it.eq_ignore_ascii_case(&origin)) {
                return Err(Kind::OriginNotAllowed(origin.into_owned()));
            }
        }
        Ok(())
    }

    /// Whether there is place for another session of whoever asks; before the application is asked,
    /// so that it need not work for those who get none.
    fn admit(&self, parts: &Parts) -> Result<Option<Visit>, Kind> {
        let Inner {
            config, visitors, ..
        } = &*self.0;
        if self.sessions() >= config.max_sessions {
            return Err(Kind::TooManySessions);
        }
        if !visitors.are_counted() {
            return Ok(None);
        }
        let address = match &config.client_address {
            Some(address) => address(parts),
            None => parts.extensions.get::<Peer>().map(|it| it.addr().ip()),
        };
        visitors.open(address).map(Some)
    }

    async fn open_polling(
        &self,
        parts: &Parts,
        jsonp: Option<String>,
        handle: SessionHandle,
        handshake: Arc<Handshake>,
        visit: Option<Visit>,
    ) -> Result<Response<ResponseBody>, Kind> {
        // In the mailbox before the driver starts: the open packet leaves with this request.
        let (reply, answer) = oneshot::channel();
        let _ = handle.mailbox().push(Item::Poll(reply));
        let jsonp = jsonp.map(String::into_boxed_str);
        let poll = self.poll(parts, handle.clone());
        tokio::spawn(self.driver(handle, handshake, Lane::Polling, jsonp, None, visit));
        let mut response = self.answer_poll(&poll, answer).await?;
        if let Some(cookie) = &self.0.config.cookie {
            let value = cookie.header_value(poll.session.sid().as_str());
            response.headers_mut().append(header::SET_COOKIE, value);
        }
        Ok(response)
    }

    fn open_websocket(
        &self,
        upgrade: WebSocketRequest,
        handle: SessionHandle,
        handshake: Arc<Handshake>,
        visit: Option<Visit>,
    ) -> Response<ResponseBody> {
        let server = self.clone();
        let max_payload = self.0.settings.max_payload;
        let dialect = *handle.dialect();
        // The open packet follows at once, but for clients that need time to settle.
        if let Some(hold) = &upgrade.hold
            && handle.version() == Version::V4
        {
            hold.set();
        }
        let (response, on_upgrade) = upgrade.accept();
        tokio::spawn(async move {
            let time = server.0.settings.upgrade_timeout;
            let upgraded = tokio::select! {
                // Usually it is there by now, and nothing needs to be waited for.
                biased;
                upgraded = tokio::time::timeout(time, on_upgrade) => upgraded.ok(),
                () = server.0.sessions.cut_off() => None,
            };
            match upgraded {
                Some(Ok(upgraded)) => {
                    let socket = WebSocket::new(upgraded, dialect, max_payload);
                    if handle.version() == Version::V3 {
                        tokio::time::sleep(SETTLING_TIME).await;
                    }
                    server
                        .driver(handle, handshake, Lane::Socket, None, Some(socket), visit)
                        .await;
                }
                _ => {
                    tracing::debug!(sid = ?handle.sid(), "the connection was not upgraded");
                    server.0.sessions.remove(&handle);
                }
            }
        });
        response
    }

    /// The session is at another server.
    async fn relayed<B>(
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

    pub(crate) fn relay(&self) -> Option<&Arc<Relay>> {
        self.0.relay.as_ref()
    }

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

    /// A polling request with a session id belongs to that session.
    async fn resume<B>(
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
    fn poll(&self, parts: &Parts, session: SessionHandle) -> PollRequest {
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

    /// A WebSocket for a session that is polling. Whether it may still take over is for the
    /// session to say; if not, it is closed again.
    fn upgrade(
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

    async fn answer_poll(
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

    fn register(&self, dialect: Dialect, transport: Transport) -> Result<SessionHandle, Kind> {
        // A collision of 118 random bits does not happen; an id that is taken is never shared.
        let sid = Sid::from_uuid(uuid::Uuid::new_v4().into_bytes());
        self.register_as(sid, dialect, transport)
    }

    fn register_as(
        &self,
        sid: Sid,
        dialect: Dialect,
        transport: Transport,
    ) -> Result<SessionHandle, Kind> {
        let sid = match &self.0.relay {
            Some(relay) => Sid::from(&*format!("{sid}.{}", relay.node())),
            None => sid,
        };
        let handle = SessionHandle::new(sid, dialect, transport, self.0.traffic.clone());
        if self.0.sessions.insert(handle.clone()) {
            if self.sessions() > self.0.config.max_sessions {
                self.0.sessions.remove(&handle);
                return Err(Kind::TooManySessions);
            }
            Ok(handle)
        } else if self.0.sessions.is_closing() {
            Err(Kind::ShuttingDown)
        } else {
            Err(Kind::IdGeneration("another session has it".to_owned()))
        }
    }

    /// The future that moves a new session.
    fn driver(
        &self,
        handle: SessionHandle,
        handshake: Arc<Handshake>,
        lane: Lane,
        jsonp: Option<Box<str>>,
        socket: Option<WebSocket>,
        visit: Option<Visit>,
    ) -> Driver<A> {
        let Inner {
            acceptor,
            config,
            settings,
            sessions,
            ..
        } = &*self.0;
        let upgrade = lane == Lane::Polling
            && config.allow_upgrades
            && config.transports.contains(&Transport::WebSocket);
        let open = Open {
            sid: handle.sid().as_str(),
            upgrades: if upgrade {
                &[Transport::WebSocket]
            } else {
                &[]
            },
            ping_interval: settings.ping_interval,
            ping_timeout: settings.ping_timeout,
            max_payload: settings.max_payload,
        }
        .packet();
        let version = handle.version();
        let registered = Registered(sessions, &handle);
        let session = Session::new(settings.clone(), version, lane, open, clock::now());
        if let Some(message) = &config.initial_packet {
            handle.send(message.clone());
        }
        let connection = acceptor.accept(handle.clone(), handshake);
        mem::forget(registered);
        Driver::new(driver::Parts {
            session,
            connection,
            handle,
            server: self.clone(),
            jsonp,
            socket,
            visit,
        })
    }
}

impl<A: Acceptor> Clone for Server<A> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<A: Acceptor> fmt::Debug for Server<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("config", &self.0.config)
            .field("sessions", &self.sessions())
            .finish_non_exhaustive()
    }
}

/// A request, taken apart. Built before there is a future: what a future is given it holds twice.
struct Asked<B> {
    target: Target,
    exchange: Exchange,
    /// Unless there is none.
    body: Option<Pin<Box<B>>>,
}

/// What a request asks of the engine.
enum Route {
    Open(Box<Opening>),
    Upgrade {
        session: SessionHandle,
        base64: bool,
    },
    Resume(SessionHandle),
    /// The session is at another server.
    Relay(Box<Str>),
}

/// What the query of a request without a session id says.
struct Opening {
    transport: Transport,
    dialect: Result<Dialect, Kind>,
    jsonp: Option<String>,
}

/// What a path stands for.
enum Target {
    Engine,
    File(Arc<File>),
    /// Below the path of a server that has files.
    Unknown,
    Elsewhere,
}

/// A poll or a POST for a session that has moved to its WebSocket.
const POLL_AFTER_UPGRADE: Kind = Kind::TransportMismatch {
    transport: Transport::Polling,
    previous: Transport::WebSocket,
};

/// An id made by the application: it stands in URLs, in a cookie and in JSON.
fn check_id(id: String) -> Result<Sid, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte);
    if (1..=MAX_ID).contains(&id.len()) && id.bytes().all(is_plain) {
        Ok(Sid::from(&*id))
    } else {
        Err("use 1 to 128 ASCII letters, digits and -._~:".to_owned())
    }
}

/// Characters in an id made by the application.
const MAX_ID: usize = 128;
/// How [`Server::close`] went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Closed {
    /// How many sessions were still there when the time was over, and were cut off.
    pub cut: usize,
}

impl Closed {
    /// Whether every session came to its end in time.
    pub const fn all_gone(self) -> bool {
        self.cut == 0
    }
}

/// A [`Server`] that is not kept alive; see [`Server::downgrade`]. The default is one that is gone.
pub struct WeakServer<A: Acceptor>(Weak<Inner<A>>);

impl<A: Acceptor> WeakServer<A> {
    /// The server, if anything keeps it alive.
    pub fn upgrade(&self) -> Option<Server<A>> {
        self.0.upgrade().map(Server)
    }
}

impl<A: Acceptor> Clone for WeakServer<A> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<A: Acceptor> Default for WeakServer<A> {
    fn default() -> Self {
        Self(Weak::new())
    }
}

impl<A: Acceptor> fmt::Debug for WeakServer<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WeakServer")
    }
}

/// How long what was cut off has to be dropped. It takes no time unless it blocks its thread.
const CUT_TIME: Duration = Duration::from_secs(1);

/// Programs of the time of version 3 tend to listen for messages only once their event loop has been
/// through with the socket's opening (the official protocol suite does so too). A first message that
/// arrives together with the 101 would be lost on them.
const SETTLING_TIME: Duration = Duration::from_millis(2);

/// What is kept of a poll while it waits.
struct PollRequest {
    session: SessionHandle,
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

/// A request that asks for a WebSocket in the way of RFC 6455, section 4.2.1.
struct WebSocketRequest {
    accept: http::HeaderValue,
    /// The key is `13-<milliseconds>` and not random: the client runs in Node.js and is a 1.x.
    key_tells_time: bool,
    subprotocol: Option<http::HeaderValue>,
    on_upgrade: OnUpgrade,
    /// If whoever serves the connection can hold the answer back.
    hold: Option<Hold>,
}

impl WebSocketRequest {
    fn read(parts: &mut Parts) -> Result<Self, Kind> {
        let headers = &parts.headers;
        let refuse = |what| Err(Kind::TransportHandshake(what));
        if parts.method != Method::GET {
            return Err(Kind::BadHandshakeMethod(parts.method.to_string()));
        }
        if !has_token(headers, header::UPGRADE, "websocket") {
            return refuse("the Upgrade header is not `websocket`");
        }
        if !has_token(headers, header::CONNECTION, "upgrade") {
            return refuse("the Connection header does not say `Upgrade`");
        }
        let Some(on_upgrade) = parts.extensions.remove::<OnUpgrade>() else {
            return refuse("this connection cannot be upgraded");
        };
        let version = headers.get(header::SEC_WEBSOCKET_VERSION);
        if !version.is_some_and(|version| version == "13" || version == "8") {
            return refuse("Sec-WebSocket-Version is not 13");
        }
        let Some(key) = headers.get(header::SEC_WEBSOCKET_KEY) else {
            return refuse("there is no Sec-WebSocket-Key");
        };
        if key.len() != 24 || !key.as_bytes().ends_with(b"==") {
            return refuse("Sec-WebSocket-Key is not 16 bytes in base64");
        }
        let offered = headers.get(header::SEC_WEBSOCKET_PROTOCOL);
        let names = |list: &'_ http::HeaderValue| {
            let mut names = list.to_str().ok()?.split(',').map(str::trim);
            names.find(|name| !name.is_empty())?.parse().ok()
        };
        let accept = websocket::accept_key(key.as_bytes());
        Ok(Self {
            accept: http::HeaderValue::try_from(accept)
                .map_err(|_| Kind::TransportHandshake("Sec-WebSocket-Key"))?,
            // "13-" in base64
            key_tells_time: key.as_bytes().starts_with(b"MTMt"),
            subprotocol: offered.and_then(names),
            on_upgrade,
            hold: parts.extensions.remove(),
        })
    }

    /// The answer, and what comes of it.
    fn accept(self) -> (Response<ResponseBody>, OnUpgrade) {
        let response = response::switching_protocols(self.accept, self.subprotocol);
        (response, self.on_upgrade)
    }
}

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

/// Takes a session out of the table if the application panics before there is a driver to do so.
struct Registered<'a>(&'a Sessions, &'a SessionHandle);

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.0.remove(self.1);
        self.1.end();
    }
}

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

fn has_token(headers: &HeaderMap, name: header::HeaderName, token: &str) -> bool {
    let has = |value: &http::HeaderValue| {
        value.to_str().is_ok_and(|list| {
            list.split(',')
                .any(|it| it.trim().eq_ignore_ascii_case(token))
        })
    };
    headers.get_all(name).iter().any(has)
}

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
    use http_body_util::Empty;
    use hyper::service::Service;

    use super::*;
    use crate::Connection;

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
