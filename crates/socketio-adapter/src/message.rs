//! What the nodes of a cluster say to each other.

use std::{fmt, sync::Arc, time::Duration};

use engineio_proto::Str;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use socketio_proto::Args;

use crate::{Place, Room, Selection};

/// The name of a node, unique in its cluster; an adapter may have one for each namespace.
pub type NodeId = Arc<str>;

/// An event with its arguments.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// The name.
    pub name: Str,
    /// The arguments.
    pub args: Args,
}

/// How an event is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// To whom.
    pub selection: Selection,
    /// It may be lost: only those get it whose connection can take it right now.
    pub volatile: bool,
    /// A poll response that carries it may be compressed.
    pub compress: bool,
    /// How long acknowledgements are waited for.
    pub timeout: Option<Duration>,
    /// What the node that sends it calls it in offsets, if clients may get it
    /// [later, at another node](crate::SessionStore).
    pub mark: Option<Arc<str>>,
    /// Where it stands among the events of all nodes, if its adapter knows that.
    pub place: Option<Place>,
}

impl Default for Options {
    /// To everybody, compressed where possible.
    fn default() -> Self {
        Self {
            selection: Selection::all(),
            volatile: false,
            compress: true,
            timeout: None,
            mark: None,
            place: None,
        }
    }
}

/// What one node tells all others. Source: the messages of the official `ClusterAdapter`.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Message {
    /// Send an event to sockets.
    Broadcast {
        /// The event.
        event: Event,
        /// To whom, and how.
        options: Options,
        /// If acknowledgements are wanted: each node answers [`Response::ClientCount`] once, and
        /// then [`Response::Ack`] for each client that has answered.
        request: Option<RequestId>,
    },
    /// Make sockets join rooms.
    SocketsJoin {
        /// Which sockets.
        selection: Selection,
        /// Which rooms.
        rooms: Vec<Room>,
    },
    /// Make sockets leave rooms.
    SocketsLeave {
        /// Which sockets.
        selection: Selection,
        /// Which rooms.
        rooms: Vec<Room>,
    },
    /// Disconnect sockets.
    DisconnectSockets {
        /// Which sockets.
        selection: Selection,
        /// Close their connections too.
        close: bool,
    },
    /// Tell about sockets; the answer is [`Response::Sockets`].
    FetchSockets {
        /// Which sockets.
        selection: Selection,
        /// The answer names it.
        request: RequestId,
    },
    /// An event for the servers themselves.
    ServerSideEmit {
        /// The event.
        event: Event,
        /// If an answer is wanted: [`Response::ServerSideEmit`].
        request: Option<RequestId>,
    },
}

/// What a node answers to the one that asked.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Response {
    /// The sockets of this node.
    Sockets {
        /// The request.
        request: RequestId,
        /// They.
        sockets: Vec<SocketDetails>,
    },
    /// What this node's handler said.
    ServerSideEmit {
        /// The request.
        request: RequestId,
        /// The answer.
        args: Args,
    },
    /// How many clients of this node were asked.
    ClientCount {
        /// The request.
        request: RequestId,
        /// So many.
        count: usize,
    },
    /// A client's answer.
    Ack {
        /// The request.
        request: RequestId,
        /// The answer.
        args: Args,
    },
}

impl Response {
    /// The request that it answers.
    pub fn request(&self) -> &RequestId {
        match self {
            Response::Sockets { request, .. }
            | Response::ServerSideEmit { request, .. }
            | Response::ClientCount { request, .. }
            | Response::Ack { request, .. } => request,
        }
    }
}

/// The name of a request, chosen by the node that asks and repeated by those that answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// 16 random hexadecimal digits, as the official adapters have them.
    pub fn random() -> Self {
        let bits = uuid::Uuid::new_v4().as_u64_pair().1;
        Self(format!("{bits:016x}").into())
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for RequestId {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is known of a socket, wherever it is. The names in its JSON are the official ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SocketDetails {
    /// The id.
    pub id: Room,
    /// What the client said when it connected.
    pub handshake: HandshakeDetails,
    /// The rooms that it is in, its own first.
    pub rooms: Vec<Room>,
    /// The data that the application keeps with it.
    #[serde(default)]
    pub data: Value,
}

/// What a client said when it connected.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HandshakeDetails {
    /// The headers of the first request: texts, or lists of texts.
    pub headers: serde_json::Map<String, Value>,
    /// When it came, as text.
    pub time: String,
    /// The address of the TCP peer.
    pub address: String,
    /// Whether the request named another origin.
    pub xdomain: bool,
    /// Whether the connection is encrypted.
    pub secure: bool,
    /// When it came, in milliseconds since 1970.
    pub issued: u64,
    /// Path and query.
    pub url: String,
    /// The parameters of the query.
    pub query: serde_json::Map<String, Value>,
    /// What the client gave to be let into the namespace.
    pub auth: Value,
}
