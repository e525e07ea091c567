//! The Engine.IO dance: open, poll, post, upgrade.

use std::{net::SocketAddr, time::Duration};

use serde_json::Value;

use crate::{
    http::{Http, Response},
    ws::Ws,
};

/// The open packet.
#[derive(Clone, Debug, PartialEq)]
pub struct Open {
    /// The session id.
    pub sid: String,
    /// The transports that the client may upgrade to.
    pub upgrades: Vec<String>,
    /// Time between pings.
    pub ping_interval: Duration,
    /// Time for the answer to a ping.
    pub ping_timeout: Duration,
    /// The largest body or message that the server takes, in bytes.
    pub max_payload: Option<u64>,
    /// The JSON text as it stood on the wire.
    pub json: String,
}

impl Open {
    /// Reads the open packet out of a polling body or WebSocket message of any protocol version,
    /// JSONP included.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn parse(body: &[u8]) -> Self {
        let body = String::from_utf8_lossy(body);
        let call = body.strip_prefix("___eio[").and_then(|it| {
            let string = it.split_once("](")?.1.strip_suffix(");")?;
            serde_json::from_str::<String>(string).ok()
        });
        let text = call.as_deref().unwrap_or(&body);
        let json = text.find("0{").zip(text.find('}'));
        let json = json.map(|(start, end)| &text[start + 1..=end]);
        let json = json.unwrap_or_else(|| panic!("no open packet in {text:?}"));
        let value: Value =
            serde_json::from_str(json).unwrap_or_else(|error| panic!("{error} in {json:?}"));
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let millis = |name: &str| value[name].as_u64().map(Duration::from_millis);
        Self {
            sid: text(&value["sid"]).expect("a sid"),
            upgrades: value["upgrades"]
                .as_array()
                .map(|list| list.iter().filter_map(text).collect())
                .expect("a list of upgrades"),
            ping_interval: millis("pingInterval").expect("a ping interval"),
            ping_timeout: millis("pingTimeout").expect("a ping timeout"),
            max_payload: value["maxPayload"].as_u64(),
            json: json.to_owned(),
        }
    }
}

/// A session on the polling transport: one connection for GETs, one for POSTs.
#[derive(Debug)]
pub struct Polling {
    /// The open packet.
    pub open: Open,
    /// The whole response it came in.
    pub opened: Response,
    addr: SocketAddr,
    path: String,
    query: String,
    get: Http,
    post: Http,
}

impl Polling {
    /// Opens a session. The query is what comes beside `transport`, such as `EIO=4`, and is
    /// repeated in every later request.
    ///
    /// # Panics
    ///
    /// If the server refuses.
    pub async fn open(addr: SocketAddr, path: &str, query: &str) -> Self {
        let mut get = Http::connect(addr).await;
        let url = format!("{path}?{query}&transport=polling");
        let opened = get.get(&url).await;
        assert_eq!(opened.status, 200, "{url}: {opened:?}");
        Self {
            open: Open::parse(&opened.body),
            opened,
            addr,
            path: path.to_owned(),
            query: query.to_owned(),
            get,
            post: Http::connect(addr).await,
        }
    }

    /// The session id.
    pub fn sid(&self) -> &str {
        &self.open.sid
    }

    /// The server's address.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Path and query of the session's polling requests.
    pub fn url(&self) -> String {
        self.url_of("polling")
    }

    /// Path and query of the session's WebSocket handshake.
    pub fn ws_url(&self) -> String {
        self.url_of("websocket")
    }

    /// A poll and its response.
    pub async fn poll(&mut self) -> Response {
        self.send_poll().await;
        self.recv_poll().await
    }

    /// A poll that must be answered 200; its body.
    pub async fn poll_text(&mut self) -> String {
        let response = self.poll().await;
        assert_eq!(response.status, 200, "{response:?}");
        response.text().to_owned()
    }

    /// Sends a poll and leaves it pending. The server may take a moment to see it.
    pub async fn send_poll(&mut self) {
        let url = self.url();
        self.get.send_request("GET", &url, &[], "").await;
    }

    /// The response to the pending poll.
    pub async fn recv_poll(&mut self) -> Response {
        self.get.response().await
    }

    /// The connection of the polls, for whatever this type does not do.
    pub fn get_connection(&mut self) -> &mut Http {
        &mut self.get
    }

    /// Breaks the connection of the polls off, whatever is pending on it, and opens a new one.
    pub async fn abort_poll(&mut self) {
        self.get = Http::connect(self.addr).await;
    }

    /// A POST of text and its response.
    pub async fn post(&mut self, body: &str) -> Response {
        self.post_as("text/plain;charset=UTF-8", body).await
    }

    /// A POST that must be answered `200 ok`.
    pub async fn post_ok(&mut self, body: &str) {
        let response = self.post(body).await;
        assert_eq!((response.status, response.text()), (200, "ok"), "{body:?}");
    }

    /// A POST of any content type and its response.
    pub async fn post_as(&mut self, content_type: &str, body: impl AsRef<[u8]>) -> Response {
        let url = self.url();
        self.post.post(&url, content_type, body).await
    }

    /// The connection of the POSTs, for whatever this type does not do.
    pub fn post_connection(&mut self) -> &mut Http {
        &mut self.post
    }

    fn url_of(&self, transport: &str) -> String {
        let Self { path, query, .. } = self;
        let sid = &self.open.sid;
        format!("{path}?{query}&transport={transport}&sid={sid}")
    }
}

/// A WebSocket that is about to take over a polling session.
#[derive(Debug)]
pub struct Upgrade {
    /// The connection.
    pub ws: Ws,
}

impl Upgrade {
    /// Opens the WebSocket.
    ///
    /// # Panics
    ///
    /// If the server refuses.
    pub async fn connect(session: &Polling) -> Self {
        Self {
            ws: Ws::connect(session.addr(), &session.ws_url()).await,
        }
    }

    /// `2probe`, which must be answered `3probe`.
    pub async fn probe(&mut self) {
        self.ws.text("2probe").await;
        assert_eq!(self.ws.recv_text().await, "3probe");
    }

    /// `5`: from here on the session is on this WebSocket.
    pub async fn finish(mut self) -> Ws {
        self.ws.text("5").await;
        self.ws
    }

    /// The whole dance as the official client does it, with a poll pending: probe, noop on the
    /// poll, `5`. Returns the WebSocket and the body that the poll was answered with.
    pub async fn run(session: &mut Polling) -> (Ws, String) {
        session.send_poll().await;
        let mut upgrade = Self::connect(session).await;
        upgrade.probe().await;
        let poll = session.recv_poll().await;
        assert_eq!(poll.status, 200, "{poll:?}");
        let body = poll.text().to_owned();
        (upgrade.finish().await, body)
    }
}
