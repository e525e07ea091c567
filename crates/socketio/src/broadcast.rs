//! Many sockets at once.

use std::{
    collections::{BTreeSet, HashSet},
    fmt, iter,
    sync::Arc,
    time::Duration,
};

use engineio::Overflow;
use serde::de::DeserializeOwned;
use socketio_adapter::{Event, Message, Options, Room};
use socketio_proto::{Args, ToArgs};
use tokio::sync::mpsc;

use crate::{
    BroadcastAcks, EmitError, FetchError, Namespace, RemoteSocket, Socket, acks::Acks,
    socket::check_emit,
};

/// Which sockets something is for, and how events are sent to them. Made by [`Namespace::to`] and
/// its like; every method gives a new one, and a clone can be kept.
///
/// Without a room it is everybody in the namespace; with several it is the union of them, each
/// socket once; and never anybody in an excepted room. The id of a socket is the name of a room
/// too. In a cluster (see [`Builder::adapter`](crate::Builder::adapter)) it is the sockets of all
/// servers, unless it is [`local`](Self::local).
///
/// ```no_run
/// # fn example(io: socketio::SocketIo) -> Result<(), socketio::EmitError> {
/// let players = io.to(["red", "blue"]).except("banned");
/// players.emit("start", &())?;
/// players.clone().volatile().emit("tick", &1)?;
/// players.sockets_join("playing");
/// # Ok(())
/// # }
/// ```
///
/// The source of what each method means is "Broadcast operator" in the official documentation of
/// the server's API.
#[derive(Clone)]
#[must_use = "an operator does nothing by itself"]
pub struct BroadcastOperator {
    namespace: Namespace,
    options: Options,
    /// What happens to sockets of this server that read too slowly.
    overflow: Option<Overflow>,
    local: bool,
}

impl BroadcastOperator {
    pub(crate) fn new(namespace: Namespace) -> Self {
        Self {
            namespace,
            options: Options::default(),
            overflow: None,
            local: false,
        }
    }

    /// Adds rooms: one name, or a list of them.
    pub fn to(mut self, rooms: impl IntoRooms) -> Self {
        self.options.selection.rooms.extend(rooms.into_rooms());
        self
    }

    /// The same as [`to`](Self::to).
    #[doc(alias = "in")]
    pub fn in_(self, rooms: impl IntoRooms) -> Self {
        self.to(rooms)
    }

    /// Leaves out whoever is in these rooms.
    pub fn except(mut self, rooms: impl IntoRooms) -> Self {
        self.options.selection.except.extend(rooms.into_rooms());
        self
    }

    /// Leaves out whose connection cannot take the event right now: a WebSocket that has not
    /// written all before it, a polling client without a waiting poll. An event with binary data
    /// is sent or lost as a whole.
    pub fn volatile(mut self) -> Self {
        self.options.volatile = true;
        self
    }

    /// What happens to those sockets of this server for which more is queued than
    /// [may be](crate::Config::max_queued): the event is dropped, or the client is disconnected as
    /// too slow. Default, and always for the sockets of other servers: what the server's
    /// [`Config::overflow`](crate::Config::overflow) says.
    pub fn overflow(mut self, overflow: Overflow) -> Self {
        self.overflow = Some(overflow);
        self
    }

    /// Whether a poll response that carries the event may be compressed. Default: `true`.
    pub fn compress(mut self, compress: bool) -> Self {
        self.options.compress = compress;
        self
    }

    /// Only the sockets of this server.
    pub fn local(mut self) -> Self {
        self.local = true;
        self
    }

    /// How long [`emit_with_ack`](Self::emit_with_ack) and [`fetch_sockets`](Self::fetch_sockets)
    /// wait.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.options.timeout = Some(timeout);
        self
    }

    /// Sends the event. It is encoded once, whoever and how many receive it. A tuple stands for
    /// several arguments, `()` for none.
    ///
    /// Events of one task reach each socket in the order of the calls. The sockets of this server
    /// have it in their queues when this returns, whatever other servers do.
    ///
    /// # Errors
    ///
    /// If the name is reserved or the arguments cannot be JSON.
    pub fn emit<A: ToArgs + ?Sized>(&self, event: &str, args: &A) -> Result<(), EmitError> {
        check_emit(event)?;
        let cluster = self.namespace.cluster().filter(|_| !self.local);
        let Some(cluster) = cluster else {
            return self
                .namespace
                .broadcast(event, args, &self.options, self.overflow, &mut None);
        };
        let args = Args::new(args)?;
        let mut onward = Some(Message::Broadcast {
            event: Event {
                name: event.into(),
                args: args.clone(),
            },
            options: self.options.clone(),
            request: None,
        });
        self.namespace
            .broadcast(event, &args, &self.options, self.overflow, &mut onward)?;
        if let Some(message) = onward {
            cluster.publish(message);
        }
        Ok(())
    }

    /// Sends the event `message`.
    ///
    /// # Errors
    ///
    /// If the arguments cannot be JSON.
    #[doc(alias = "write")]
    pub fn send<A: ToArgs + ?Sized>(&self, args: &A) -> Result<(), EmitError> {
        self.emit("message", args)
    }

    /// Sends the event and asks every socket for an acknowledgement, each of which is read as a
    /// `T`; see [`BroadcastAcks`]. The event is sent at once.
    ///
    /// Without a [`timeout`](Self::timeout) it waits until each client has answered or is gone; the
    /// clients of other servers have [`Builder::request_timeout`](crate::Builder::request_timeout).
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # async fn example(io: socketio::SocketIo) {
    /// let question = io.to("jury").timeout(Duration::from_secs(5));
    /// match question.emit_with_ack::<u32>("points?", &"act 3").await {
    ///     Ok(points) => println!("{}", points.iter().sum::<u32>()),
    ///     Err(error) => println!("{} did: {error}", error.responses.len()),
    /// }
    /// # }
    /// ```
    #[doc(alias = "emitWithAck")]
    pub fn emit_with_ack<T: DeserializeOwned>(
        &self,
        event: &str,
        args: &(impl ToArgs + ?Sized),
    ) -> BroadcastAcks<T> {
        BroadcastAcks::new(self.ask(event, args))
    }

    fn ask(&self, event: &str, args: &(impl ToArgs + ?Sized)) -> Result<Acks, EmitError> {
        check_emit(event)?;
        let (sender, answers) = mpsc::unbounded_channel();
        let (namespace, options, overflow) = (&self.namespace, &self.options, self.overflow);
        let cluster = namespace.cluster().filter(|_| !self.local);
        let asked = match cluster {
            None => namespace.broadcast_with_ack(event, args, options, overflow, &sender)?,
            Some(cluster) => {
                let args = Args::new(args)?;
                let asked =
                    namespace.broadcast_with_ack(event, &args, options, overflow, &sender)?;
                let event = Event {
                    name: event.into(),
                    args,
                };
                crate::acks::pump(&cluster, event, options.clone(), sender);
                asked
            }
        };
        Ok(Acks::new(answers, asked, options.timeout))
    }

    /// The sockets of this server.
    pub fn sockets(&self) -> Vec<Socket> {
        self.namespace.sockets_in(&self.options.selection)
    }

    /// The sockets of all servers.
    ///
    /// ```no_run
    /// # async fn example(io: socketio::SocketIo) -> Result<(), socketio::FetchError> {
    /// for socket in io.in_("room 1").fetch_sockets().await? {
    ///     println!("{} from {}", socket.id(), socket.handshake().address);
    ///     socket.leave("room 1");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If another server does not answer in time: the [`timeout`](Self::timeout), or
    /// [`Builder::request_timeout`](crate::Builder::request_timeout). The error holds the sockets
    /// of those that do.
    #[doc(alias = "fetchSockets")]
    pub async fn fetch_sockets(&self) -> Result<Vec<RemoteSocket>, FetchError> {
        let selection = &self.options.selection;
        let here = self.sockets();
        let mut sockets: Vec<_> = here.into_iter().map(RemoteSocket::here).collect();
        let Some(cluster) = self.namespace.cluster().filter(|_| !self.local) else {
            return Ok(sockets);
        };
        let there = cluster.fetch_sockets(selection.clone(), self.options.timeout);
        let remote = |details| RemoteSocket::there(self.namespace.clone(), details);
        match there.await {
            Ok(there) => {
                sockets.extend(there.into_iter().map(remote));
                Ok(sockets)
            }
            Err(error) => {
                sockets.extend(error.responses.into_iter().map(remote));
                Err(FetchError::new(sockets, error.missing))
            }
        }
    }

    /// Makes the sockets join rooms.
    #[doc(alias = "socketsJoin")]
    pub fn sockets_join(&self, rooms: impl IntoRooms) {
        let rooms: Vec<Room> = rooms.into_rooms().collect();
        for socket in self.sockets() {
            socket.join(&rooms);
        }
        self.publish(|| Message::SocketsJoin {
            selection: self.options.selection.clone(),
            rooms,
        });
    }

    /// Makes the sockets leave rooms.
    #[doc(alias = "socketsLeave")]
    pub fn sockets_leave(&self, rooms: impl IntoRooms) {
        let rooms: Vec<Room> = rooms.into_rooms().collect();
        for socket in self.sockets() {
            rooms.iter().for_each(|room| socket.leave(room));
        }
        self.publish(|| Message::SocketsLeave {
            selection: self.options.selection.clone(),
            rooms,
        });
    }

    /// Disconnects the sockets; with `close`, also the connections below them and so their sockets
    /// in other namespaces.
    #[doc(alias = "disconnectSockets")]
    pub fn disconnect_sockets(&self, close: bool) {
        for socket in self.sockets() {
            if close {
                socket.disconnect_all();
            } else {
                socket.disconnect();
            }
        }
        self.publish(|| Message::DisconnectSockets {
            selection: self.options.selection.clone(),
            close,
        });
    }

    fn publish(&self, message: impl FnOnce() -> Message) {
        if let Some(cluster) = self.namespace.cluster()
            && !self.local
        {
            cluster.publish(message());
        }
    }
}

impl fmt::Debug for BroadcastOperator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BroadcastOperator")
            .field("namespace", &self.namespace.name())
            .field("options", &self.options)
            .field("overflow", &self.overflow)
            .field("local", &self.local)
            .finish()
    }
}

/// One name of a room, or several.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is neither the name of a room nor a list of names",
    note = "names are `&str`, `String` and `Arc<str>`; lists of them are arrays, slices, `Vec`, `HashSet` and `BTreeSet`"
)]
pub trait IntoRooms {
    /// The names.
    fn into_rooms(self) -> impl Iterator<Item = Room>;
}

macro_rules! impl_into_rooms {
    ($($T:ty),*) => {
        $(
            impl IntoRooms for $T {
                fn into_rooms(self) -> impl Iterator<Item = Room> {
                    iter::once(self.into())
                }
            }
        )*
    };
}

impl_into_rooms!(&str, String, Room);

impl IntoRooms for &String {
    fn into_rooms(self) -> impl Iterator<Item = Room> {
        iter::once(self.as_str().into())
    }
}

impl IntoRooms for &Room {
    fn into_rooms(self) -> impl Iterator<Item = Room> {
        iter::once(Arc::clone(self))
    }
}

impl<T: Into<Room>, const N: usize> IntoRooms for [T; N] {
    fn into_rooms(self) -> impl Iterator<Item = Room> {
        self.into_iter().map(Into::into)
    }
}

impl<T: Into<Room> + Clone, const N: usize> IntoRooms for &[T; N] {
    fn into_rooms(self) -> impl Iterator<Item = Room> {
        self.as_slice().into_rooms()
    }
}

impl<T: Into<Room>> IntoRooms for Vec<T> {
    fn into_rooms(self) -> impl Iterator<Item = Room> {
        self.into_iter().map(Into::into)
    }
}

impl<T: Into<Room> + Clone> IntoRooms for &Vec<T> {
    fn into_rooms(self) -> impl Iterator<Item = Room> {
        self.as_slice().into_rooms()
    }
}

impl<T: Into<Room>, S> IntoRooms for HashSet<T, S> {
    fn into_rooms(self) -> impl Iterator<Item = Room> {
        self.into_iter().map(Into::into)
    }
}

impl<T: Into<Room> + Clone, S> IntoRooms for &HashSet<T, S> {
    fn into_rooms(self) -> impl Iterator<Item = Room> {
        self.iter().cloned().map(Into::into)
    }
}

impl<T: Into<Room>> IntoRooms for BTreeSet<T> {
    fn into_rooms(self) -> impl Iterator<Item = Room> {
        self.into_iter().map(Into::into)
    }
}

impl<T: Into<Room> + Clone> IntoRooms for &BTreeSet<T> {
    fn into_rooms(self) -> impl Iterator<Item = Room> {
        self.iter().cloned().map(Into::into)
    }
}

impl<T: Into<Room> + Clone> IntoRooms for &[T] {
    fn into_rooms(self) -> impl Iterator<Item = Room> {
        self.iter().cloned().map(Into::into)
    }
}
