//! Sockets of any server.

use std::{error::Error, fmt, time::Duration};

use serde::de::DeserializeOwned;
use serde_json::Value;
use socketio_adapter::{HandshakeDetails, Room, SocketDetails};
use socketio_proto::ToArgs;

use crate::{AckError, BroadcastOperator, EmitError, Namespace, Socket, broadcast::IntoRooms};

/// A socket of this server or of another one, as it was when it was
/// [fetched](BroadcastOperator::fetch_sockets).
///
/// What is done to it reaches it wherever it is, if it is still connected.
#[derive(Clone)]
pub struct RemoteSocket {
    namespace: Namespace,
    details: SocketDetails,
    here: Option<Socket>,
}

impl RemoteSocket {
    pub(crate) fn here(socket: Socket) -> Self {
        Self {
            namespace: socket.namespace().clone(),
            details: socket.details(),
            here: Some(socket),
        }
    }

    pub(crate) fn there(namespace: Namespace, details: SocketDetails) -> Self {
        Self {
            namespace,
            details,
            here: None,
        }
    }

    /// The id.
    pub fn id(&self) -> &str {
        &self.details.id
    }

    /// What the client said when it connected.
    pub fn handshake(&self) -> &HandshakeDetails {
        &self.details.handshake
    }

    /// The rooms that it was in, its own first.
    pub fn rooms(&self) -> &[Room] {
        &self.details.rooms
    }

    /// The [data](Socket::set_data) that its server kept with it.
    pub fn data(&self) -> &Value {
        &self.details.data
    }

    /// The socket itself, if it is one of this server.
    pub fn socket(&self) -> Option<&Socket> {
        self.here.as_ref()
    }

    /// Sends it an event.
    ///
    /// # Errors
    ///
    /// If the name is reserved or the arguments cannot be JSON.
    pub fn emit<A: ToArgs + ?Sized>(&self, event: &str, args: &A) -> Result<(), EmitError> {
        self.operator().emit(event, args)
    }

    /// Sends it an event and waits for its acknowledgement.
    ///
    /// # Errors
    ///
    /// If it does not answer in time, or with something else; if it is gone; if the event could not
    /// be sent.
    #[doc(alias = "emitWithAck")]
    pub async fn emit_with_ack<T: DeserializeOwned>(
        &self,
        event: &str,
        args: &(impl ToArgs + ?Sized),
        timeout: Duration,
    ) -> Result<T, AckError> {
        let mut answers = self.operator().timeout(timeout).emit_with_ack(event, args);
        answers.next().await.unwrap_or(Err(AckError::Disconnected))
    }

    /// Makes it join rooms.
    pub fn join(&self, rooms: impl IntoRooms) {
        self.operator().sockets_join(rooms);
    }

    /// Makes it leave a room.
    pub fn leave(&self, room: &str) {
        self.operator().sockets_leave(room);
    }

    /// Disconnects it; with `close`, also the connection below it.
    pub fn disconnect(&self, close: bool) {
        self.operator().disconnect_sockets(close);
    }

    fn operator(&self) -> BroadcastOperator {
        BroadcastOperator::new(self.namespace.clone()).to(&self.details.id)
    }
}

impl fmt::Debug for RemoteSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteSocket")
            .field("id", &self.details.id)
            .field("here", &self.here.is_some())
            .finish_non_exhaustive()
    }
}

/// Not all servers have told of their sockets in time.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FetchError {
    /// The sockets of those that have.
    pub sockets: Vec<RemoteSocket>,
    /// How many have not, if that is known.
    pub missing: Option<usize>,
}

impl FetchError {
    pub(crate) fn new(sockets: Vec<RemoteSocket>, missing: Option<usize>) -> Self {
        Self { sockets, missing }
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.missing {
            Some(missing) => write!(f, "{missing} other servers did not answer in time"),
            None => f.write_str("the other servers could not be counted"),
        }
    }
}

impl Error for FetchError {}
