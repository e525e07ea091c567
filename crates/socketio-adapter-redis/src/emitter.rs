//! Emitting from a process without a server.

use std::fmt;

use socketio_adapter::{Event, Message, Options, Room};
use socketio_proto::{Args, EncodeError, ToArgs, is_reserved};

use crate::{
    PubSubAdapter, Redis, ShardedAdapter, StreamsBuilder,
    queue::Publication,
    wire::{
        classic::{self, Channels},
        cluster::Body,
    },
};

/// Emits to the clients of a cluster, from a process that is no server of it: a job, a script, a
/// server of another kind. As `@socket.io/redis-emitter` does, for all adapters.
///
/// Every method that says to whom gives another emitter, and leaves this one as it is.
///
/// ```no_run
/// use socketio_adapter_redis::{Emitter, PubSubAdapter, Redis};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let redis = Redis::connect("redis://127.0.0.1/")?;
/// let emitter = Emitter::pub_sub(&PubSubAdapter::new(redis.clone()));
/// emitter.emit("news", &("the build is done", 42))?;
/// emitter.to("admins").except("away").emit("news", &"to some")?;
/// emitter.of("/chat").in_("guests").disconnect_sockets(false);
/// // before the process ends: all that is written in a task
/// redis.flush().await;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Emitter {
    redis: Redis,
    way: Way,
    nsp: String,
    options: Options,
}

#[derive(Clone)]
enum Way {
    PubSub { key: String },
    Sharded { prefix: String },
    Stream(StreamsBuilder),
}

impl Emitter {
    /// For servers with an adapter like this.
    pub fn pub_sub(adapter: &PubSubAdapter) -> Self {
        let key = adapter.key_of_channels().into();
        Self::new(adapter.redis().clone(), Way::PubSub { key })
    }

    /// For servers with an adapter like this.
    pub fn sharded(adapter: &ShardedAdapter) -> Self {
        let prefix = adapter.prefix().into();
        Self::new(adapter.redis().clone(), Way::Sharded { prefix })
    }

    /// For servers with an adapter of these options.
    pub fn streams(options: StreamsBuilder, redis: Redis) -> Self {
        Self::new(redis, Way::Stream(options))
    }

    fn new(redis: Redis, way: Way) -> Self {
        Self {
            redis,
            way,
            nsp: "/".into(),
            options: Options::default(),
        }
    }

    /// In this namespace.
    #[must_use]
    pub fn of(&self, namespace: &str) -> Self {
        let slash = if namespace.starts_with('/') { "" } else { "/" };
        Self {
            nsp: format!("{slash}{namespace}"),
            options: Options::default(),
            ..self.clone()
        }
    }

    /// To a room; more than one are the union of them.
    #[must_use]
    pub fn to(&self, room: impl Into<Room>) -> Self {
        let mut it = self.clone();
        it.options.selection.rooms.push(room.into());
        it
    }

    /// The same.
    #[must_use]
    pub fn in_(&self, room: impl Into<Room>) -> Self {
        self.to(room)
    }

    /// Not to the members of a room.
    #[must_use]
    pub fn except(&self, room: impl Into<Room>) -> Self {
        let mut it = self.clone();
        it.options.selection.except.push(room.into());
        it
    }

    /// The event may be lost: only those get it whose connection can take it right now.
    #[must_use]
    pub fn volatile(&self) -> Self {
        let mut it = self.clone();
        it.options.volatile = true;
        it
    }

    /// Whether a poll response that carries the event may be compressed.
    #[must_use]
    pub fn compress(&self, compress: bool) -> Self {
        let mut it = self.clone();
        it.options.compress = compress;
        it
    }

    /// Sends an event to clients. A tuple stands for several arguments, `()` for none.
    ///
    /// # Errors
    ///
    /// If the name is reserved or the arguments cannot be JSON.
    pub fn emit<A: ToArgs + ?Sized>(&self, event: &str, args: &A) -> Result<(), EncodeError> {
        if is_reserved(event) {
            return Err(EncodeError::new("the name of the event is reserved"));
        }
        self.publish(&Message::Broadcast {
            event: self.event(event, args)?,
            options: self.options.clone(),
            request: None,
        });
        Ok(())
    }

    /// Makes sockets join rooms.
    #[doc(alias = "socketsJoin")]
    pub fn sockets_join<R: Into<Room>>(&self, rooms: impl IntoIterator<Item = R>) {
        self.publish(&Message::SocketsJoin {
            selection: self.options.selection.clone(),
            rooms: rooms.into_iter().map(Into::into).collect(),
        });
    }

    /// Makes sockets leave rooms.
    #[doc(alias = "socketsLeave")]
    pub fn sockets_leave<R: Into<Room>>(&self, rooms: impl IntoIterator<Item = R>) {
        self.publish(&Message::SocketsLeave {
            selection: self.options.selection.clone(),
            rooms: rooms.into_iter().map(Into::into).collect(),
        });
    }

    /// Disconnects sockets, and closes their connections if asked to.
    #[doc(alias = "disconnectSockets")]
    pub fn disconnect_sockets(&self, close: bool) {
        self.publish(&Message::DisconnectSockets {
            selection: self.options.selection.clone(),
            close,
        });
    }

    /// Sends an event to all servers.
    ///
    /// # Errors
    ///
    /// If the arguments cannot be JSON.
    #[doc(alias = "serverSideEmit")]
    pub fn server_side_emit<A: ToArgs + ?Sized>(
        &self,
        event: &str,
        args: &A,
    ) -> Result<(), EncodeError> {
        self.publish(&Message::ServerSideEmit {
            event: self.event(event, args)?,
            request: None,
        });
        Ok(())
    }

    fn event<A: ToArgs + ?Sized>(&self, name: &str, args: &A) -> Result<Event, EncodeError> {
        let (name, args) = (name.into(), Args::new(args)?);
        Ok(Event { name, args })
    }

    fn publish(&self, message: &Message) {
        match self.encode(message) {
            Ok(publication) => self.redis.publish(publication),
            Err(error) => self.redis.unsendable(&error),
        }
    }

    fn encode(&self, message: &Message) -> Result<Publication, EncodeError> {
        match &self.way {
            Way::PubSub { key } => {
                let channels = Channels::new(key, &self.nsp);
                let (channel, payload) = classic::encode(&channels, UID, &self.nsp, message)?;
                Ok(Publication::Publish {
                    channel: channel.into(),
                    sharded: false,
                    payload,
                })
            }
            Way::Sharded { prefix } => Ok(Publication::Publish {
                channel: format!("{prefix}#{}#", self.nsp).into(),
                sharded: true,
                payload: Body::of_message(message)?.in_json(UID, &self.nsp)?,
            }),
            Way::Stream(options) => {
                let fields = Body::of_message(message)?.fields(UID, &self.nsp, None)?;
                Ok(options.append(&self.nsp, fields))
            }
        }
    }
}

impl fmt::Debug for Emitter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Emitter")
            .field("redis", &self.redis)
            .field("nsp", &self.nsp)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// What all emitters call themselves.
const UID: &str = "emitter";
