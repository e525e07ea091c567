//! Options of an Engine.IO server.

use std::{fmt, future::Future, net::IpAddr, pin::Pin, sync::Arc, time::Duration};

use engineio_proto::{Encoded, Str, query::Transport, relay::RelayBus, session::Settings};
use http::{HeaderMap, request};

use crate::{
    ConnectionError, Cookie, Cors, Exchange, Files, Halt, Handshake, HttpCompression, Overflow,
    backlog::Limits,
    middleware::Middleware,
    visitors::{AddressLimits, Rate},
};

/// Options of an Engine.IO server. Names and defaults are the official server's, but for
/// [`allow_eio3`](Self::allow_eio3), which is on.
///
/// ```
/// use std::time::Duration;
/// use engineio::Config;
///
/// let config = Config::default()
///     .path("/live/")
///     .ping_interval(Duration::from_secs(10))
///     .max_payload(100_000);
/// ```
#[derive(Clone)]
#[must_use]
pub struct Config {
    pub(crate) path: Str,
    pub(crate) transports: Vec<Transport>,
    pub(crate) allow_upgrades: bool,
    pub(crate) allow_eio3: bool,
    pub(crate) settings: Settings,
    pub(crate) queue: Limits,
    pub(crate) max_packets: usize,
    pub(crate) max_sessions: usize,
    pub(crate) per_address: AddressLimits,
    pub(crate) client_address: Option<ClientAddress>,
    pub(crate) allowed_origins: Option<Arc<[Box<str>]>>,
    pub(crate) initial_packet: Option<Encoded>,
    pub(crate) cors: CorsChoice,
    pub(crate) middlewares: Vec<Middleware>,
    pub(crate) cookie: Option<Cookie>,
    pub(crate) files: Files,
    pub(crate) http_compression: Option<HttpCompression>,
    pub(crate) allow_request: Option<AllowRequest>,
    pub(crate) generate_id: Option<GenerateId>,
    pub(crate) on_initial_headers: Option<OnHeaders>,
    pub(crate) on_headers: Option<OnHeaders>,
    pub(crate) on_connection_error: Option<OnConnectionError>,
    pub(crate) relay: Option<Arc<dyn RelayBus>>,
    pub(crate) max_relayed: usize,
}

#[derive(Clone)]
pub(crate) enum CorsChoice {
    None,
    Always(Arc<Cors>),
    Asked(ChooseCors),
}

pub(crate) type ChooseCors = Arc<
    dyn Fn(&request::Parts) -> Pin<Box<dyn Future<Output = Result<Option<Cors>, String>> + Send>>
        + Send
        + Sync,
>;
pub(crate) type AllowRequest = Arc<
    dyn Fn(Arc<Handshake>) -> Pin<Box<dyn Future<Output = Result<(), Refusal>> + Send>>
        + Send
        + Sync,
>;
pub(crate) type GenerateId = Arc<
    dyn Fn(Arc<Handshake>) -> Pin<Box<dyn Future<Output = Result<String, String>> + Send>>
        + Send
        + Sync,
>;
pub(crate) type ClientAddress = Arc<dyn Fn(&request::Parts) -> Option<IpAddr> + Send + Sync>;
pub(crate) type OnHeaders = Arc<dyn Fn(&mut HeaderMap, &request::Parts) + Send + Sync>;
pub(crate) type OnConnectionError = Arc<dyn Fn(&ConnectionError) + Send + Sync>;

impl Default for Config {
    fn default() -> Self {
        Self {
            path: Str::from_static("/engine.io/"),
            transports: vec![Transport::Polling, Transport::WebSocket],
            allow_upgrades: true,
            allow_eio3: true,
            settings: Settings::default(),
            queue: Limits {
                bytes: 16 * 1024 * 1024,
                messages: usize::MAX,
                low_water: 64 * 1024,
                overflow: Overflow::Disconnect,
            },
            max_packets: 100_000,
            max_sessions: 100_000,
            per_address: AddressLimits::default(),
            client_address: None,
            allowed_origins: None,
            initial_packet: None,
            cors: CorsChoice::None,
            middlewares: Vec::new(),
            cookie: None,
            files: Files::default(),
            http_compression: Some(HttpCompression::default()),
            allow_request: None,
            generate_id: None,
            on_initial_headers: None,
            on_headers: None,
            on_connection_error: None,
            relay: None,
            max_relayed: 10_000,
        }
    }
}

impl Config {
    /// The path that belongs to this server, compared exactly; a slash is put at either end where
    /// it is missing. Default: `/engine.io/`.
    pub fn path(mut self, path: &str) -> Self {
        let path = path.trim_matches('/');
        self.path = match path {
            "" => Str::from_static("/"),
            path => format!("/{path}/").into(),
        };
        self
    }

    /// Whether the path ends with a slash. Default: `true`.
    ///
    /// Call it after [`path`](Self::path), with `false` for clients that have their option
    /// `addTrailingSlash` off.
    #[doc(alias = "addTrailingSlash")]
    pub fn add_trailing_slash(mut self, slash: bool) -> Self {
        let path = self.path.trim_end_matches('/');
        // The root is all slash: without it there would be no path.
        self.path = if slash || path.is_empty() {
            format!("{path}/")
        } else {
            path.to_owned()
        }
        .into();
        self
    }

    /// The transports that clients may use. Default: polling and WebSocket.
    pub fn transports(mut self, transports: &[Transport]) -> Self {
        self.transports = transports.to_vec();
        self
    }

    /// Whether polling clients are told that they may move to a WebSocket. Default: `true`.
    #[doc(alias = "allowUpgrades")]
    pub fn allow_upgrades(mut self, allow: bool) -> Self {
        self.allow_upgrades = allow;
        self
    }

    /// Whether clients of Engine.IO 3 (Socket.IO clients 1.0 to 2.x) may connect.
    ///
    /// Default: `true`. In the official server it is `false`; serving every generation of client
    /// is what this one is for.
    #[doc(alias = "allowEIO3")]
    pub fn allow_eio3(mut self, allow: bool) -> Self {
        self.allow_eio3 = allow;
        self
    }

    /// Version 4: time from open, and then from each pong, to the next ping. Version 3: how often
    /// the client has to ping. Default: 25 s; at most 12 days.
    #[doc(alias = "pingInterval")]
    pub fn ping_interval(mut self, interval: Duration) -> Self {
        self.settings.ping_interval = interval.min(LONGEST_BEAT);
        self
    }

    /// Version 4: time for the answer to a ping. Version 3: added to the interval. Default: 20 s; at
    /// most 12 days.
    #[doc(alias = "pingTimeout")]
    pub fn ping_timeout(mut self, timeout: Duration) -> Self {
        self.settings.ping_timeout = timeout.min(LONGEST_BEAT);
        self
    }

    /// Time for an upgrade, from the WebSocket's arrival to the client's `5`. Default: 10 s. An
    /// upgrade that takes longer is given up; the session stays where it is.
    #[doc(alias = "upgradeTimeout")]
    pub fn upgrade_timeout(mut self, timeout: Duration) -> Self {
        self.settings.upgrade_timeout = timeout.min(FOR_EVER);
        self
    }

    /// How long a closing session waits for the client to take what is left. Default: 30 s.
    pub fn close_timeout(mut self, timeout: Duration) -> Self {
        self.settings.close_timeout = timeout.min(FOR_EVER);
        self
    }

    /// The largest message from a client in bytes, on every transport: a POST body beyond it gets
    /// 413, a WebSocket message beyond it closes the connection with 1009. Default: 1,000,000.
    /// (`maxHttpBufferSize` in the official server.)
    #[doc(alias = "maxHttpBufferSize")]
    pub fn max_payload(mut self, bytes: usize) -> Self {
        self.settings.max_payload = bytes;
        self
    }

    /// How many bytes may wait for one client, with a charge of 64 for each message, before it
    /// counts as too slow; see [`overflow`](Self::overflow). Default: 16 MiB. The official server
    /// has no such limit.
    ///
    /// A single message always fits.
    pub fn max_queued(mut self, bytes: usize) -> Self {
        self.queue.bytes = bytes;
        self
    }

    /// How many messages may wait for one client before it counts as too slow; see
    /// [`overflow`](Self::overflow). Default, and at most: 8,388,608, so that
    /// [`max_queued`](Self::max_queued) decides.
    pub fn max_queued_messages(mut self, count: usize) -> Self {
        self.queue.messages = count;
        self
    }

    /// What happens when something is sent to a client that is too slow. Default:
    /// [`Overflow::Disconnect`].
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.queue.overflow = overflow;
        self
    }

    /// How many bytes may be queued for a client when
    /// [`SessionHandle::ready`](crate::SessionHandle::ready) lets a sender go on. Default: 64 KiB;
    /// never more than half of [`max_queued`](Self::max_queued).
    pub fn low_water(mut self, bytes: usize) -> Self {
        self.queue.low_water = bytes;
        self
    }

    /// The most packets in one POST body. Default: 100,000.
    pub fn max_packets(mut self, packets: usize) -> Self {
        self.max_packets = packets;
        self
    }

    /// The most sessions at the same time. Beyond that, requests for new ones get 503 and
    /// [`TooManySessions`](crate::ConnectionErrorKind::TooManySessions). Default: 100,000.
    pub fn max_sessions(mut self, sessions: usize) -> Self {
        self.max_sessions = sessions;
        self
    }

    /// The most sessions of one address at the same time. Beyond that, its requests for new ones
    /// get 429 and [`TooManyFromAddress`](crate::ConnectionErrorKind::TooManyFromAddress). Default:
    /// any number, for behind a proxy all clients have one address until
    /// [`client_address`](Self::client_address) says otherwise, and many people may share one.
    ///
    /// All of an IPv6 /64 is one address, here and in the other limits. Those of whom no address is
    /// known count as one, too: whoever accepts connections without [`serve`](crate::serve()) has to
    /// put a [`Peer`](crate::Peer) into the requests.
    pub fn max_sessions_per_address(mut self, sessions: usize) -> Self {
        self.per_address.sessions = sessions;
        self
    }

    /// How many sessions one address may open, each second on average and at once after a while
    /// without any. Beyond that, its requests for new ones get 429 and
    /// [`TooManyFromAddress`](crate::ConnectionErrorKind::TooManyFromAddress). Default: any number.
    pub fn max_opens_per_second(mut self, per_second: u32, burst: u32) -> Self {
        self.per_address.opens = Some(Rate::new(per_second, burst));
        self
    }

    /// How many messages one address may send in all its sessions, each second on average and at
    /// once after a while without any. Beyond that, its messages wait, and then nothing more is read
    /// from it: nothing is lost. Default: any number.
    pub fn max_messages_per_second(mut self, per_second: u32, burst: u32) -> Self {
        self.per_address.messages = Some(Rate::new(per_second, burst));
        self
    }

    /// Of how many addresses something is remembered, for the limits by address: those that have
    /// sessions, and those that have used up something a short while ago. Beyond that, and unless
    /// some without sessions can be forgotten, others get 503 and
    /// [`TooManySessions`](crate::ConnectionErrorKind::TooManySessions). Default: 100,000.
    pub fn max_addresses(mut self, addresses: usize) -> Self {
        self.per_address.addresses = addresses;
        self
    }

    /// Which address a request comes from, for the limits by address. Default: that of the
    /// [`Peer`](crate::Peer).
    ///
    /// Behind a proxy that is the proxy's address. What the proxy says is then to be read, but not
    /// what anybody else says; [`forwarded_for`](crate::forwarded_for) does that.
    ///
    /// ```
    /// use engineio::{Config, forwarded_for};
    ///
    /// let config = Config::default()
    ///     .client_address(|request| forwarded_for(request, |proxy| proxy.is_loopback()))
    ///     .max_sessions_per_address(100);
    /// ```
    pub fn client_address(
        mut self,
        address: impl Fn(&request::Parts) -> Option<IpAddr> + Send + Sync + 'static,
    ) -> Self {
        self.client_address = Some(Arc::new(address));
        self
    }

    /// From where pages may open sessions, such as `https://example.com`: those whose `Origin`
    /// header is one of these, and clients that send none, which are no browsers. Others get 403 and
    /// [`OriginNotAllowed`](crate::ConnectionErrorKind::OriginNotAllowed). Default: from everywhere.
    ///
    /// It is what keeps other pages from acting for a visitor who is known by a cookie: browsers ask
    /// nobody before they open a WebSocket, so [`cors`](Self::cors) is no protection there. The
    /// server's own origin must be among them.
    ///
    /// ```
    /// use engineio::Config;
    ///
    /// let config = Config::default().allowed_origins(["https://example.com"]);
    /// ```
    pub fn allowed_origins(mut self, origins: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let boxed = |it: String| it.trim_end_matches('/').into();
        let origins = origins.into_iter().map(|it| boxed(it.into()));
        self.allowed_origins = Some(origins.collect());
        self
    }

    /// A message that every session gets right behind the open packet: in the same poll response, or
    /// as the next message of the WebSocket. Default: none.
    ///
    /// What a [`Connection`](crate::Connection) sends while it is made leaves behind this one.
    ///
    /// ```
    /// use engineio::Config;
    ///
    /// let config = Config::default().initial_packet("welcome");
    /// ```
    #[doc(alias = "initialPacket")]
    pub fn initial_packet(mut self, message: impl Into<Encoded>) -> Self {
        self.initial_packet = Some(message.into());
        self
    }

    /// Cross-origin requests. Default: none; no header is sent and `OPTIONS` is an error.
    pub fn cors(mut self, cors: Cors) -> Self {
        self.cors = CorsChoice::Always(Arc::new(cors));
        self
    }

    /// Cross-origin requests, decided for each request. `None` sends no header and takes an
    /// `OPTIONS` for what it is, an error; a failure refuses the request with
    /// [`Middleware`](crate::ConnectionErrorKind::Middleware).
    ///
    /// ```
    /// use engineio::{Config, Cors};
    ///
    /// # async fn is_customer(origin: &str) -> std::io::Result<bool> { Ok(true) }
    /// let config = Config::default().cors_with(|request| {
    ///     let origin = request.headers.get("origin").cloned();
    ///     async move {
    ///         let Some(origin) = origin else { return Ok(None) };
    ///         let known = is_customer(origin.to_str().unwrap_or_default()).await?;
    ///         Ok::<_, std::io::Error>(known.then(|| Cors::exact(origin).credentials(true)))
    ///     }
    /// });
    /// ```
    pub fn cors_with<F, Fut, E>(mut self, choose: F) -> Self
    where
        F: Fn(&request::Parts) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Option<Cors>, E>> + Send + 'static,
        E: fmt::Display,
    {
        self.cors = CorsChoice::Asked(Arc::new(move |request| {
            let choice = choose(request);
            Box::pin(async move { choice.await.map_err(|error| error.to_string()) })
        }));
        self
    }

    /// Adds a middleware: a function that sees every request of the engine before the engine does,
    /// polls and posts included. Default: none.
    ///
    /// CORS comes first, then the middlewares in the order in which they were added. Each passes
    /// the [`Exchange`] on, or ends it with a [`Halt`]. It sees no bodies; for those, put a tower
    /// layer around the [`Server`](crate::Server).
    ///
    /// ```
    /// use engineio::{Config, Halt};
    /// use http::{HeaderValue, Response, StatusCode};
    ///
    /// # fn is_overloaded() -> bool { false }
    /// let config = Config::default().middleware(async |mut exchange| {
    ///     if is_overloaded() {
    ///         let mut response = Response::new("come back later");
    ///         *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    ///         return Err(Halt::answer(response));
    ///     }
    ///     let node = HeaderValue::from_static("eu-1");
    ///     exchange.response_headers.insert("x-node", node);
    ///     Ok(exchange)
    /// });
    /// ```
    #[doc(alias = "use")]
    pub fn middleware<F, Fut>(mut self, middleware: F) -> Self
    where
        F: Fn(Exchange) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Exchange, Halt>> + Send + 'static,
    {
        let middleware = Arc::new(move |exchange| Box::pin(middleware(exchange)) as _);
        self.middlewares.push(middleware);
        self
    }

    /// The cookie that polling handshakes set, for load balancers. Default: none.
    pub fn cookie(mut self, cookie: Cookie) -> Self {
        self.cookie = Some(cookie);
        self
    }

    /// Compression of poll responses; `None` is off. Default: on, from 1,024 bytes.
    #[doc(alias = "httpCompression")]
    pub fn http_compression(mut self, compression: Option<HttpCompression>) -> Self {
        self.http_compression = compression;
        self
    }

    /// Files that are handed out below the path: `<path><name>`, with or without a query, by `GET`
    /// and `HEAD`. Default: none.
    ///
    /// The settings of [CORS](Self::cors) hold for them, the [middlewares](Self::middleware) do not
    /// see them. With files, other names below the path get status 400 and code 0 from
    /// [`Server::handle`](crate::Server::handle), as in the official server.
    pub fn files(mut self, files: Files) -> Self {
        self.files = files;
        self
    }

    /// Asks before a session opens. Default: everybody may.
    ///
    /// ```
    /// use engineio::{Config, Refusal};
    ///
    /// let config = Config::default().allow_request(async |request| {
    ///     match request.header("authorization") {
    ///         Some("Bearer secret") => Ok(()),
    ///         _ => Err(Refusal::new("who are you?")),
    ///     }
    /// });
    /// ```
    #[doc(alias = "allowRequest")]
    pub fn allow_request<F, Fut>(mut self, allow: F) -> Self
    where
        F: Fn(Arc<Handshake>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Refusal>> + Send + 'static,
    {
        self.allow_request = Some(Arc::new(move |handshake| Box::pin(allow(handshake))));
        self
    }

    /// Makes the ids of sessions. Default: 20 characters from the operating system's random
    /// generator.
    ///
    /// Whoever knows a session's id can poll and post in its client's place, so it must hold
    /// something that nobody can guess. It has 1 to 128 of the characters that need no escape in a
    /// URL: ASCII letters, digits and `-._~`, and also `:`.
    ///
    /// An error, an id with other characters, and one that another session has refuse the request
    /// with [`IdGeneration`](crate::ConnectionErrorKind::IdGeneration).
    ///
    /// ```
    /// use engineio::Config;
    ///
    /// # async fn next_id() -> std::io::Result<String> { Ok("1".to_owned()) }
    /// let config = Config::default()
    ///     .generate_id(async |_request| Ok::<_, std::io::Error>(format!("eu:{}", next_id().await?)));
    /// ```
    #[doc(alias = "generateId")]
    pub fn generate_id<F, Fut, E>(mut self, generate: F) -> Self
    where
        F: Fn(Arc<Handshake>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<String, E>> + Send + 'static,
        E: fmt::Display,
    {
        self.generate_id = Some(Arc::new(move |handshake| {
            let id = generate(handshake);
            Box::pin(async move { id.await.map_err(|error| error.to_string()) })
        }));
        self
    }

    /// Called for the response that opens a session, to add headers: the 200 of a polling
    /// handshake, the 101 of a WebSocket's.
    pub fn on_initial_headers(
        mut self,
        hook: impl Fn(&mut HeaderMap, &request::Parts) + Send + Sync + 'static,
    ) -> Self {
        self.on_initial_headers = Some(Arc::new(hook));
        self
    }

    /// Called for every successful response of the engine, to add headers.
    pub fn on_headers(
        mut self,
        hook: impl Fn(&mut HeaderMap, &request::Parts) + Send + Sync + 'static,
    ) -> Self {
        self.on_headers = Some(Arc::new(hook));
        self
    }

    /// Called for every request that is refused, with the code and what led to it.
    pub fn on_connection_error(
        mut self,
        hook: impl Fn(&ConnectionError) + Send + Sync + 'static,
    ) -> Self {
        self.on_connection_error = Some(Arc::new(hook));
        self
    }

    /// What connects this server with others, so that a client may reach any of them with each
    /// request: polls, posts and WebSockets that upgrade go on to the server that has the session.
    /// Behind a load balancer that is not sticky it must be set, at every server. Default: none, and
    /// a session id that this server does not know is refused.
    ///
    /// The ids of sessions end with a dot and the name of their server then.
    /// `socketio-adapter-redis` has a bus.
    pub fn relay(mut self, bus: impl RelayBus + 'static) -> Self {
        self.relay = Some(Arc::new(bus));
        self
    }

    /// Requests and WebSockets that may be on their way between this server and others at once;
    /// what is beyond that is refused. Each takes about 40 KiB at either end. Default: 10,000.
    pub fn max_relayed(mut self, count: usize) -> Self {
        self.max_relayed = count;
        self
    }
}

impl Config {
    /// How long it takes at most to notice that a client is gone: both times of the heartbeat.
    pub fn heartbeat(&self) -> Duration {
        self.settings.ping_interval + self.settings.ping_timeout
    }
}

/// Both times of the heartbeat together are a timer of the client, and JavaScript's timers end after
/// 24.8 days.
const LONGEST_BEAT: Duration = Duration::from_secs(12 * 24 * 60 * 60);

/// Ten years: longer than any session, and short enough to be added to any time.
const FOR_EVER: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("path", &self.path)
            .field("transports", &self.transports)
            .field("allow_upgrades", &self.allow_upgrades)
            .field("allow_eio3", &self.allow_eio3)
            .field("settings", &self.settings)
            .field("queue", &self.queue)
            .finish_non_exhaustive()
    }
}

/// Why [`Config::allow_request`] refuses. The client gets status 403, code 4 and the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub(crate) message: serde_json::Value,
}

impl Refusal {
    /// A refusal with a message: a text, or any JSON value.
    pub fn new(message: impl Into<serde_json::Value>) -> Self {
        Self {
            message: message.into(),
        }
    }
}

impl Default for Refusal {
    fn default() -> Self {
        Self::new("Forbidden")
    }
}
