//! What a request asks for, and who answers it.

use std::{error::Error, pin::Pin, sync::Arc};

use bytes::Bytes;
use engineio_proto::{Dialect, Query, Str, query::Transport};
use http::{Request, Response, StatusCode, header, request::Parts};
use http_body::Body;

use crate::{
    Acceptor, Config, ConnectionError, ConnectionErrorKind as Kind, Cors, Exchange, File, Halt,
    Server, SessionHandle,
    config::CorsChoice,
    http::{
        body,
        response::{self, ResponseBody},
        spare,
    },
    middleware::Cause,
};

impl<A: Acceptor> Server<A> {
    pub(super) fn asked<B: Body>(&self, request: Request<B>) -> Asked<B> {
        let target = self.target(request.uri().path());
        let (request, body) = request.into_parts();
        Asked {
            target,
            exchange: Exchange::new(request),
            body: (!body.is_end_stream()).then(|| Box::pin(body)),
        }
    }

    pub(super) async fn answer_asked<B>(&self, asked: &mut Asked<B>) -> Response<ResponseBody>
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

    /// The checks in the order of the official server, and what the request asks for.
    pub(super) fn route(&self, parts: &Parts) -> Result<Route, Kind> {
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

    pub(super) fn target(&self, path: &str) -> Target {
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

    pub(super) fn refuse(&self, kind: Kind, request: &Parts) -> Response<ResponseBody> {
        let response = response::error(&kind);
        // Without the URL, which may hold the id of a living session.
        tracing::debug!(error = %kind, "refused");
        if let Some(hook) = &self.0.config.on_connection_error {
            hook(&ConnectionError::new(kind, request));
        }
        response
    }
}

/// A request, taken apart. Built before there is a future: what a future is given it holds twice.
pub(super) struct Asked<B> {
    target: Target,
    exchange: Exchange,
    /// Unless there is none.
    body: Option<Pin<Box<B>>>,
}

/// What a request asks of the engine.
pub(super) enum Route {
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
pub(super) struct Opening {
    pub(super) transport: Transport,
    pub(super) dialect: Result<Dialect, Kind>,
    pub(super) jsonp: Option<String>,
}

/// What a path stands for.
pub(super) enum Target {
    Engine,
    File(Arc<File>),
    /// Below the path of a server that has files.
    Unknown,
    Elsewhere,
}
