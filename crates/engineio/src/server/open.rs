//! Requests without a session id: they open a session.

use std::{mem, sync::Arc, time::Duration};

use engineio_proto::{
    Dialect, Open, Sid, Version,
    query::Transport,
    session::{Lane, Session},
};
use http::{HeaderMap, Method, Response, header, request::Parts};
use tokio::sync::oneshot;

use super::{Inner, handshake::WebSocketRequest, route::Opening};
use crate::{
    Acceptor, ConnectionErrorKind as Kind, Exchange, Handshake, Peer, Server, SessionHandle, clock,
    driver::{self, Driver},
    http::response::ResponseBody,
    item::Item,
    sessions::Sessions,
    transport::websocket::WebSocket,
    visitors::Visit,
};

impl<A: Acceptor> Server<A> {
    /// A request without a session id opens a session.
    pub(super) async fn open(
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
    pub(super) fn check_origin(&self, headers: &HeaderMap) -> Result<(), Kind> {
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

/// Takes a session out of the table if the application panics before there is a driver to do so.
struct Registered<'a>(&'a Sessions, &'a SessionHandle);

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        self.0.remove(self.1);
        self.1.end();
    }
}

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

/// Programs of the time of version 3 tend to listen for messages only once their event loop has been
/// through with the socket's opening (the official protocol suite does so too). A first message that
/// arrives together with the 101 would be lost on them.
const SETTLING_TIME: Duration = Duration::from_millis(2);
