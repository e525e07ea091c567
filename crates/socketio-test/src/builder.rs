//! How a client connects.

use std::{error::Error, fmt, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;
use serde_json::Value;
use socketio::{SocketIo, Transport, Version};

use crate::{
    Connection, TestClient,
    connection::{self, to_object},
    transport::{Answer, Wire},
};

/// Options for a [`TestClient`].
///
/// ```
/// use serde_json::json;
/// use socketio::{ConnectError, SocketIo, Transport, handler::Auth};
/// use socketio_test::TestClient;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let io = SocketIo::new();
/// io.of("/admin").middleware(async |Auth(auth): Auth<serde_json::Value>| {
///     match auth["token"] == "secret" {
///         true => Ok(()),
///         false => Err(ConnectError::new("wrong token")),
///     }
/// });
///
/// let builder = || TestClient::builder(&io).namespace("/admin");
/// let refused = builder().auth(&json!({"token": "guess"})).connect().await.unwrap_err();
/// assert_eq!(refused.message, "wrong token");
///
/// let client = builder()
///     .auth(&json!({"token": "secret"}))
///     .transport(Transport::Polling)
///     .connect()
///     .await
///     .unwrap();
/// assert_eq!(io.of("/admin").socket(client.id()).unwrap().id(), client.id());
/// # }
/// ```
#[derive(Debug)]
#[must_use]
pub struct Builder {
    io: SocketIo,
    namespace: String,
    auth: Option<String>,
    query: String,
    headers: HeaderMap,
    transport: Transport,
    upgrade: bool,
    version: Version,
    heartbeat: bool,
    limit: Duration,
}

impl Builder {
    pub(crate) fn new(io: SocketIo) -> Self {
        Self {
            io,
            namespace: String::from("/"),
            auth: None,
            query: String::new(),
            headers: HeaderMap::new(),
            transport: Transport::WebSocket,
            upgrade: false,
            version: Version::V4,
            heartbeat: true,
            limit: TIME_LIMIT,
        }
    }

    /// The namespace to join. Default: `/`.
    pub fn namespace(mut self, name: &str) -> Self {
        name.clone_into(&mut self.namespace);
        self
    }

    /// What the client gives the server to be let in. Default: nothing.
    ///
    /// Clients of version 3 have nothing of the kind; there the server reads it from the
    /// [query](Self::query).
    ///
    /// # Panics
    ///
    /// If it is no JSON object.
    pub fn auth(mut self, auth: &impl Serialize) -> Self {
        self.auth = Some(to_object(auth));
        self
    }

    /// What the client adds to the query of its requests, such as `a=b&c=d`. Default: nothing.
    pub fn query(mut self, query: &str) -> Self {
        query.clone_into(&mut self.query);
        self
    }

    /// Adds a header to the requests. Default: `Host` and what the transport needs.
    ///
    /// # Panics
    ///
    /// If the name or the value cannot stand in a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let parsed = (name.parse::<HeaderName>(), value.parse::<HeaderValue>());
        let (Ok(name), Ok(value)) = parsed else {
            panic!("no header: {name:?}: {value:?}")
        };
        self.headers.append(name, value);
        self
    }

    /// The transport to connect by. Default: WebSocket.
    pub fn transport(mut self, transport: Transport) -> Self {
        self.transport = transport;
        self
    }

    /// Whether the client moves on from long-polling to WebSocket once it has joined its namespace.
    /// Default: `false`.
    pub fn upgrade(mut self, upgrade: bool) -> Self {
        self.upgrade = upgrade;
        self
    }

    /// The version of the engine's protocol: 4 for clients 3.x and 4.x, 3 for clients 1.x and 2.x.
    /// Default: 4.
    pub fn version(mut self, version: Version) -> Self {
        self.version = version;
        self
    }

    /// Whether the client takes part in the heartbeat. Without, the server gives it up after a
    /// while. Default: `true`.
    ///
    /// ```
    /// use socketio::{DisconnectReason, SocketIo};
    /// use socketio_test::TestClient;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// let io = SocketIo::new();
    /// let client = TestClient::builder(&io).heartbeat(false).connect().await.unwrap();
    /// let start = tokio::time::Instant::now();
    /// client.closed().await;
    /// assert_eq!(start.elapsed().as_secs(), 25 + 20); // ping interval and ping timeout
    /// # }
    /// ```
    pub fn heartbeat(mut self, heartbeat: bool) -> Self {
        self.heartbeat = heartbeat;
        self
    }

    /// How long the client waits for anything before it panics, in tokio's time. Default: one
    /// minute, which is more than the server's own limits and takes no real time if the clock is
    /// paused.
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Connects and joins the namespace.
    ///
    /// # Errors
    ///
    /// If the server refuses.
    ///
    /// # Panics
    ///
    /// If the server does not answer within the time limit.
    pub async fn connect(self) -> Result<TestClient, Refused> {
        let Self {
            ref namespace,
            ref auth,
            upgrade,
            ..
        } = self;
        let (namespace, auth) = (namespace.clone(), auth.clone());
        let connection = self.open().await?;
        let client = connection.join_as(&namespace, auth).await?;
        if upgrade {
            connection.upgrade().await?;
        }
        Ok(client)
    }

    /// Connects and joins nothing. The server closes such a connection after a while.
    ///
    /// # Errors
    ///
    /// If the server refuses.
    ///
    /// # Panics
    ///
    /// If the server does not answer within the time limit.
    pub async fn open(self) -> Result<Connection, Refused> {
        let wire = Wire {
            service: self.io.service(),
            version: self.version,
            query: self.query,
            headers: self.headers,
            sid: None,
        };
        connection::open(wire, self.transport, self.heartbeat, self.limit).await
    }
}

/// The server has refused a client.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Refused {
    /// What the server says.
    pub message: String,
    /// What it adds to that.
    pub data: Option<Value>,
    /// The status of the HTTP response, if the server has refused the connection itself and not a
    /// namespace.
    pub status: Option<u16>,
}

impl Refused {
    /// The connection has ended before there was an answer.
    pub(crate) fn closed() -> Self {
        Self {
            message: String::from("the connection was closed"),
            data: None,
            status: None,
        }
    }

    /// Anything but the response that was asked for.
    pub(crate) fn by(answer: Option<Answer>) -> Self {
        let Some(Answer::Response(response)) = answer else {
            return Self::closed();
        };
        let text = String::from_utf8_lossy(response.body());
        let error: Value = serde_json::from_str(&text).unwrap_or_default();
        Self {
            message: match error.get("message") {
                Some(Value::String(message)) => message.clone(),
                Some(message) => message.to_string(),
                None => text.into_owned(),
            },
            data: None,
            status: Some(response.status().as_u16()),
        }
    }

    /// The packet that refuses a client. In version 3 it has one or the other.
    pub(crate) fn from_packet(data: Option<&str>) -> Self {
        let value: Value = data
            .and_then(|it| serde_json::from_str(it).ok())
            .unwrap_or_default();
        let (message, data) = match value {
            Value::String(message) => (message, None),
            Value::Object(mut object) if object.contains_key("message") => {
                let message = object.remove("message").unwrap_or_default();
                let message = message.as_str().map(str::to_owned);
                (message.unwrap_or_default(), object.remove("data"))
            }
            data => (String::new(), Some(data)),
        };
        Self {
            message,
            data,
            status: None,
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "refused: {}", self.message)?;
        if let Some(data) = &self.data {
            write!(f, " {data}")?;
        }
        if let Some(status) = self.status {
            write!(f, " (HTTP {status})")?;
        }
        Ok(())
    }
}

impl Error for Refused {}

/// More than the heartbeat of a server with the default options, and more than its connect timeout.
const TIME_LIMIT: Duration = Duration::from_secs(60);
