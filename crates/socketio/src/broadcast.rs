//! One event to many.

use std::{
    collections::{BTreeSet, HashSet},
    fmt, iter,
    sync::Arc,
};

use socketio_adapter::{Room, Selection};
use socketio_proto::{ToArgs, encode};

use crate::{
    EmitError, Namespace, Socket,
    outgoing::{self, Audience},
    socket::check_emit,
};

/// Whom an event goes to. Made by [`Namespace::to`] and its like; every method gives a new one,
/// and a clone can be kept.
///
/// Without a room it is everybody in the namespace; with several it is the union of them, each
/// socket once; and never anybody in an excepted room. The id of a socket is the name of a room
/// too.
///
/// ```no_run
/// # fn example(io: socketio::SocketIo) -> Result<(), socketio::EmitError> {
/// let players = io.to(["red", "blue"]).except("banned");
/// players.emit("start", &())?;
/// players.volatile().emit("tick", &1)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
#[must_use = "nothing happens until `emit`"]
pub struct BroadcastOperator {
    namespace: Namespace,
    selection: Selection,
    volatile: bool,
}

impl BroadcastOperator {
    pub(crate) fn new(namespace: Namespace) -> Self {
        Self {
            namespace,
            selection: Selection::all(),
            volatile: false,
        }
    }

    /// Adds rooms: one name, or a list of them.
    pub fn to(mut self, rooms: impl IntoRooms) -> Self {
        self.selection.rooms.extend(rooms.into_rooms());
        self
    }

    /// The same as [`to`](Self::to).
    pub fn in_(self, rooms: impl IntoRooms) -> Self {
        self.to(rooms)
    }

    /// Leaves out whoever is in these rooms.
    pub fn except(mut self, rooms: impl IntoRooms) -> Self {
        self.selection.except.extend(rooms.into_rooms());
        self
    }

    /// Leaves out whose connection cannot take the event right now.
    pub fn volatile(mut self) -> Self {
        self.volatile = true;
        self
    }

    /// Sends the event. It is encoded once, whoever and how many receive it.
    ///
    /// Events of one task reach each socket in the order of the calls.
    ///
    /// # Errors
    ///
    /// If the name is reserved or the arguments cannot be JSON.
    pub fn emit<A: ToArgs + ?Sized>(&self, event: &str, args: &A) -> Result<(), EmitError> {
        check_emit(event)?;
        let packet = encode::event(self.namespace.name(), None, event, args)?;
        let registry = self.namespace.registry();
        let mut audience = Audience::of(&self.namespace);
        registry.each(&self.selection, |member| {
            if !self.volatile {
                member.session.send(packet.clone());
            } else if !member.session.send_volatile(packet.clone()) {
                return;
            }
            if let Some(audience) = &mut audience {
                audience.add(&member.socket);
            }
        });
        if let Some(audience) = audience {
            audience.tell(event, args);
        }
        Ok(())
    }
}

impl fmt::Debug for BroadcastOperator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BroadcastOperator")
            .field("namespace", &self.namespace.name())
            .field("selection", &self.selection)
            .field("volatile", &self.volatile)
            .finish()
    }
}

/// Sends events to one socket that may be lost. Made by [`Socket::volatile`].
#[derive(Clone, Copy, Debug)]
#[must_use = "nothing happens until `emit`"]
pub struct Volatile<'a>(&'a Socket);

impl<'a> Volatile<'a> {
    pub(crate) fn new(socket: &'a Socket) -> Self {
        Self(socket)
    }

    /// Sends the event if the connection can take it right now: a WebSocket that has written all
    /// before it, or a poll that waits. Returns whether it could. An event with binary data is
    /// sent or lost as a whole.
    ///
    /// # Errors
    ///
    /// If the name is reserved or the arguments cannot be JSON.
    pub fn emit<A: ToArgs + ?Sized>(&self, event: &str, args: &A) -> Result<bool, EmitError> {
        check_emit(event)?;
        if !self.0.connected() || !self.0.conn().is_writable() {
            return Ok(false);
        }
        let packet = encode::event(self.0.namespace().name(), None, event, args)?;
        let sent = self.0.conn().send_volatile(packet);
        if sent {
            outgoing::notify(self.0, event, args);
        }
        Ok(sent)
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
