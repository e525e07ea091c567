//! The options of a server.

use std::{fmt, io, path::Path, sync::Arc, time::Duration};

use engineio::Config;
use socketio_adapter::Adapter;
use socketio_proto::{Codec, Limits, Parser};

use crate::{
    ConnectionStateRecovery, SocketIo, client_files, namespace::ErrorHook, recovery::Budget,
    server::Core,
};

/// Options for a [`SocketIo`].
///
/// ```
/// use std::time::Duration;
/// use socketio::SocketIo;
///
/// let io = SocketIo::builder()
///     .state(String::from("what every handler can have"))
///     .connect_timeout(Duration::from_secs(10))
///     .engine(|config| config.ping_interval(Duration::from_secs(10)))
///     .build();
/// ```
#[must_use]
pub struct Builder {
    options: Options,
    codec: Codec,
    state: http::Extensions,
    adapter: Option<Arc<dyn Adapter>>,
    recovery: Option<ConnectionStateRecovery>,
    engine: Config,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            options: Options::default(),
            codec: Codec::default(),
            state: http::Extensions::new(),
            adapter: None,
            recovery: None,
            engine: Config::default().path(PATH),
        }
    }
}

impl Builder {
    /// Adds a value that handlers can have as [`State<T>`](crate::handler::State), one of each
    /// type. Default: none.
    pub fn state<T: Clone + Send + Sync + 'static>(mut self, state: T) -> Self {
        self.state.insert(state);
        self
    }

    /// How long a connection may take to join its first namespace before it is closed, and how long
    /// [middlewares](crate::Namespace::middleware) may run on when it has closed. Default: 45 s.
    #[doc(alias = "connectTimeout")]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.options.connect_timeout = timeout;
        self
    }

    /// The most binary attachments of one event. A client that sends more is disconnected.
    /// Default: 10.
    pub fn max_attachments(mut self, count: u32) -> Self {
        self.options.limits.max_attachments = count;
        self
    }

    /// The most bytes in all attachments of one event. A client that sends more is disconnected.
    /// Default: 10,000,000.
    pub fn max_attachment_bytes(mut self, bytes: usize) -> Self {
        self.options.limits.max_attachment_bytes = bytes;
        self
    }

    /// The most bytes of a namespace's name in a packet; for clients 1.x and 2.x the query is a part
    /// of it. A client that sends more is disconnected. Default: 8192.
    pub fn max_namespace_length(mut self, bytes: u32) -> Self {
        self.options.limits.max_namespace = bytes;
        self
    }

    /// The most lists and objects inside of each other in what a client sends; the list of an event's
    /// arguments is one of them. A client that sends more is disconnected: what one client sends may be
    /// passed on to others, whose parsers walk through it by recursion. Default: 1000.
    pub fn max_depth(mut self, levels: u32) -> Self {
        self.options.limits.max_depth = levels;
        self
    }

    /// The most bytes of an event's name. A client that sends more is disconnected. Default: 1024.
    pub fn max_event_name_length(mut self, bytes: u32) -> Self {
        self.options.limits.max_event_name = bytes;
        self
    }

    /// How many handlers of events of one connection may be waiting for something before further
    /// events wait for them. At 1 a connection's events are handled strictly one after the other.
    /// Default: 64.
    ///
    /// Handlers start in the order in which the events came, at any number.
    pub fn max_in_flight(mut self, handlers: usize) -> Self {
        self.options.max_in_flight = handlers;
        self
    }

    /// How many events of one connection may wait for their handlers to start, and how many bytes
    /// of arguments they may have together. Beyond either, nothing more is read from the client.
    /// Default: 256 and 1,000,000.
    ///
    /// Acknowledgements do not wait with events, but for what is not read they wait too: a handler
    /// that waits for an acknowledgement should do so with a
    /// [timeout](crate::AckFuture::timeout).
    pub fn max_waiting(mut self, events: usize, bytes: usize) -> Self {
        self.options.max_waiting = events.max(1);
        self.options.max_waiting_bytes = bytes.max(1);
        self
    }

    /// How many acknowledgements one socket may owe; see
    /// [`AckError::TooManyPending`](crate::AckError::TooManyPending). Default: 1024.
    pub fn max_pending_acks(mut self, count: usize) -> Self {
        self.options.max_pending_acks = count;
        self
    }

    /// Makes this server one of several that act as one: broadcasts reach the sockets of all of
    /// them, the sockets of this one [first](crate::BroadcastOperator::emit). Default: none, the
    /// server is alone. [`adapter`](crate::adapter::adapter) shows how one is written.
    ///
    /// ```
    /// use socketio::{SocketIo, adapter::MemoryAdapter};
    ///
    /// let cluster = MemoryAdapter::new();
    /// let one = SocketIo::builder().adapter(cluster.clone()).build();
    /// let another = SocketIo::builder().adapter(cluster).build();
    /// ```
    pub fn adapter(mut self, adapter: impl Adapter) -> Self {
        self.adapter = Some(Arc::new(adapter));
        self
    }

    /// Lets clients 3.x and 4.x come back after a short disconnection as if it had not been: with
    /// the id, the rooms and the [data](crate::Socket::set_data) that they had, and with the events
    /// that they have missed, in order, before the answer to their CONNECT. Default: off.
    ///
    /// An event that the client may have to be sent again has one more argument, the offset; events
    /// that are [volatile](crate::Namespace::volatile), ask for an acknowledgement or are sent in a
    /// middleware are not sent again. If such a one would end with text, or has no arguments, `null`
    /// comes behind it: clients take any text at the end for an offset. Old clients (1.x and 2.x) see
    /// no offsets and cannot be recovered. A client that [was
    /// disconnected](crate::DisconnectReason::is_recoverable) on purpose, or left, is not.
    ///
    /// While this is on, the events of a namespace are sent one after the other, whichever thread
    /// they come from. What is [sent to a socket](crate::Socket::emit) whose client is gone for the
    /// time being is kept for it, and reaches it too if it has come back as another
    /// [`Socket`](crate::Socket).
    ///
    /// ```
    /// use socketio::{ConnectionStateRecovery, SocketIo};
    ///
    /// let io = SocketIo::builder()
    ///     .connection_state_recovery(ConnectionStateRecovery::new())
    ///     .build();
    /// io.on_connection(async |socket: socketio::Socket| {
    ///     if !socket.recovered() {
    ///         socket.join("news");
    ///     }
    /// });
    /// ```
    #[doc(alias = "connectionStateRecovery")]
    pub fn connection_state_recovery(mut self, options: ConnectionStateRecovery) -> Self {
        self.recovery = Some(options);
        self
    }

    /// How long other servers have for an answer where nothing else is said. Default: 5 s.
    #[doc(alias = "requestsTimeout")]
    pub fn request_timeout(mut self, timeout: Duration) -> Self {
        self.options.request_timeout = timeout;
        self
    }

    /// What packets look like on the wire. Clients must use the same parser. Default: that of the
    /// protocol document; see [`parser`](crate::parser) for others.
    ///
    /// ```
    /// use socketio::{SocketIo, parser::MsgpackParser};
    ///
    /// let io = SocketIo::builder().parser(MsgpackParser).build();
    /// ```
    pub fn parser(mut self, parser: impl Parser) -> Self {
        self.codec = Codec::new(parser);
        self
    }

    /// How many namespaces one client may be in, or ask for, at the same time. Beyond that it is
    /// refused with `Too many namespaces`. Default: 100.
    pub fn max_namespaces_per_client(mut self, count: usize) -> Self {
        self.options.max_namespaces_per_client = count;
        self
    }

    /// How many [dynamic](SocketIo::of_dynamic) namespaces there may be when a client brings
    /// another one into being. Beyond that the new one takes the place of one that everybody has
    /// left, and if there is none the client is refused with `Too many namespaces`. Default:
    /// 10,000, each of which takes about 6 KB.
    ///
    /// Those that the application makes count, but it may make any number.
    pub fn max_dynamic_namespaces(mut self, count: usize) -> Self {
        self.options.max_dynamic_namespaces = count;
        self
    }

    /// Whether a [dynamic](SocketIo::of_dynamic) namespace is removed when its last socket has
    /// left, or when a client was refused while nobody else was in it or about to join. With
    /// [recovery](Self::connection_state_recovery), it stays as long as somebody may come back to
    /// it, or until its place is [needed](Self::max_dynamic_namespaces). Whoever asks for its name
    /// after that makes a new one. Namespaces that have no parent are never removed. Default:
    /// false, so it stays until its place is needed.
    ///
    /// A [`Namespace`](crate::Namespace) that was removed reaches nobody any more. What was registered with it, and
    /// not with its parent, is gone; [`on_new_namespace`](SocketIo::on_new_namespace) is the place
    /// to do it again.
    #[doc(alias = "cleanupEmptyChildNamespaces")]
    pub fn cleanup_empty_child_namespaces(mut self, cleanup: bool) -> Self {
        self.options.cleanup_empty_child_namespaces = cleanup;
        self
    }

    /// Options of the engine below: path, transports, heartbeat, sizes, CORS, cookies, and what
    /// happens [when a client reads too slowly](crate#when-a-client-reads-too-slowly). The path is
    /// `/socket.io/` to begin with, where clients look if they are not told otherwise.
    ///
    /// Requests that are refused, and headers of responses, are told here too; see
    /// [`conn`](crate::conn).
    ///
    /// ```
    /// use socketio::SocketIo;
    ///
    /// let io = SocketIo::builder()
    ///     .engine(|config| {
    ///         config
    ///             .max_payload(100_000)
    ///             .on_connection_error(|error| eprintln!("{} {:?}", error.method, error.kind))
    ///     })
    ///     .build();
    /// ```
    pub fn engine(mut self, change: impl FnOnce(Config) -> Config) -> Self {
        self.engine = change(self.engine);
        self
    }

    /// Hands out the JavaScript client below the path, so that pages can say
    /// `<script src="/socket.io/socket.io.js">`. Default: it does not; the official server brings
    /// the client along, in Rust it comes from npm.
    ///
    /// The directory is that of the built client, `node_modules/socket.io-client/dist` after
    /// `npm install socket.io-client`. Of the eight files of the official server those that are
    /// there are read once, now. To take them from elsewhere, see
    /// [`Config::files`](engineio::Config::files).
    ///
    /// # Errors
    ///
    /// If none of the files is there, or one cannot be read.
    ///
    /// ```no_run
    /// use socketio::SocketIo;
    ///
    /// # fn main() -> std::io::Result<()> {
    /// let io = SocketIo::builder()
    ///     .serve_client("node_modules/socket.io-client/dist")?
    ///     .build();
    /// # Ok(())
    /// # }
    /// ```
    #[doc(alias = "serveClient")]
    pub fn serve_client(mut self, directory: impl AsRef<Path>) -> io::Result<Self> {
        let files = client_files::read(directory.as_ref())?;
        self.engine = self.engine.files(files);
        Ok(self)
    }

    /// The server.
    pub fn build(self) -> SocketIo {
        let heartbeat = self.engine.heartbeat();
        let core = Core {
            options: self.options,
            codec: self.codec,
            state: self.state,
            adapter: self.adapter,
            recovery: self
                .recovery
                .map(|options| Arc::new(Budget::new(options, heartbeat))),
            on_error: ErrorHook::default(),
        };
        SocketIo::with(core, self.engine)
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// Limits; see the methods of [`Builder`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(crate) connect_timeout: Duration,
    pub(crate) limits: Limits,
    pub(crate) max_in_flight: usize,
    pub(crate) max_waiting: usize,
    pub(crate) max_waiting_bytes: usize,
    pub(crate) max_pending_acks: usize,
    pub(crate) request_timeout: Duration,
    pub(crate) max_namespaces_per_client: usize,
    pub(crate) max_dynamic_namespaces: usize,
    pub(crate) cleanup_empty_child_namespaces: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(45),
            limits: Limits::default(),
            max_in_flight: 64,
            max_waiting: 256,
            max_waiting_bytes: 1_000_000,
            max_pending_acks: 1024,
            request_timeout: Duration::from_secs(5),
            max_namespaces_per_client: 100,
            max_dynamic_namespaces: 10_000,
            cleanup_empty_child_namespaces: false,
        }
    }
}

/// Where clients look if they are not told otherwise.
const PATH: &str = "/socket.io/";
