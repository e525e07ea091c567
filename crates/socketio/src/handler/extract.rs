//! What handlers can have as parameters.

mod params;
mod query;

use std::{any::type_name, convert::Infallible, fmt, ops::Deref, sync::Arc};

use serde::de::DeserializeOwned;
use socketio_proto::{Args, ArgsError, ToArgs};

use super::{Context, Disconnect, Event};
use crate::{
    DisconnectReason, EmitError, Handshake, Namespace, Socket, SocketIo, Str, ack::AckRequest,
    error::BoxError,
};

/// A type that a handler can have as a parameter, got from what the handler is called for.
///
/// Implement it for types of your own; generic over the [context](Context) if all it needs is the
/// socket:
///
/// ```
/// use socketio::handler::{Context, FromContext};
///
/// #[derive(Clone)]
/// struct User(String);
///
/// impl<C: Context> FromContext<C> for User {
///     type Rejection = &'static str;
///
///     fn from_context(context: &C) -> Result<Self, &'static str> {
///         context.socket().extensions().get().ok_or("nobody has logged in")
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a parameter of a handler for `{C}`",
    label = "not an extractor here",
    note = "what a client sends is had as `Data<T>` with a `T` that is `DeserializeOwned`, and only in handlers for events",
    note = "see the documentation of `socketio::handler`"
)]
pub trait FromContext<C>: Sized {
    /// Why it cannot be had. The error hook is told, and the client if it asked for an answer.
    type Rejection: Into<BoxError>;

    /// Gets it.
    ///
    /// # Errors
    ///
    /// If it cannot be had; the handler is not called then.
    fn from_context(context: &C) -> Result<Self, Self::Rejection>;
}

impl<C: Context> FromContext<C> for Socket {
    type Rejection = Infallible;

    fn from_context(context: &C) -> Result<Self, Infallible> {
        Ok(context.socket().clone())
    }
}

impl<C: Context> FromContext<C> for Namespace {
    type Rejection = Infallible;

    fn from_context(context: &C) -> Result<Self, Infallible> {
        Ok(context.socket().namespace().clone())
    }
}

impl<C: Context> FromContext<C> for SocketIo {
    type Rejection = ServerGone;

    fn from_context(context: &C) -> Result<Self, ServerGone> {
        context.socket().namespace().server().ok_or(ServerGone)
    }
}

impl<C: Context> FromContext<C> for Handshake {
    type Rejection = Infallible;

    fn from_context(context: &C) -> Result<Self, Infallible> {
        Ok(context.socket().handshake().clone())
    }
}

/// The server has been dropped while the handler's connection was still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerGone;

impl fmt::Display for ServerGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the server is gone")
    }
}

impl std::error::Error for ServerGone {}

/// A clone of what was given to [`Builder::state`](crate::Builder::state). Put what is large or is
/// to be changed into an [`Arc`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State<T>(pub T);

impl<C: Context, T: Clone + Send + Sync + 'static> FromContext<C> for State<T> {
    type Rejection = MissingState;

    fn from_context(context: &C) -> Result<Self, MissingState> {
        let state = context.socket().namespace().state::<T>().cloned();
        state.map(State).ok_or(MissingState(type_name::<T>()))
    }
}

/// The server was built without a [`State`] of this type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MissingState(&'static str);

impl fmt::Display for MissingState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is no state of type `{}`", self.0)
    }
}

impl std::error::Error for MissingState {}

/// What the client gave to be let in, as a type; see
/// [`Handshake::auth`](crate::Handshake::auth).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Auth<T>(pub T);

impl<C: Context, T: DeserializeOwned> FromContext<C> for Auth<T> {
    type Rejection = InvalidAuth;

    fn from_context(context: &C) -> Result<Self, InvalidAuth> {
        let auth = context.socket().handshake().auth_as();
        auth.map(Auth).map_err(InvalidAuth)
    }
}

/// What the client gave to be let in has another shape.
#[derive(Debug)]
pub struct InvalidAuth(serde_json::Error);

impl fmt::Display for InvalidAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "invalid auth: {}", self.0)
    }
}

impl std::error::Error for InvalidAuth {}

/// The query of the request that opened the connection, as a type. Fields may be text, numbers,
/// `bool`, `char`, unit variants of enums, and options of these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Query<T>(pub T);

impl<C: Context, T: DeserializeOwned> FromContext<C> for Query<T> {
    type Rejection = InvalidQuery;

    fn from_context(context: &C) -> Result<Self, InvalidQuery> {
        query::deserialize(context.socket().handshake().query()).map(Query)
    }
}

pub use params::{InvalidParams, Params};
pub use query::InvalidQuery;

impl FromContext<Disconnect> for DisconnectReason {
    type Rejection = Infallible;

    fn from_context(context: &Disconnect) -> Result<Self, Infallible> {
        Ok(context.reason)
    }
}

/// All of the disconnection.
impl FromContext<Disconnect> for Disconnect {
    type Rejection = Infallible;

    fn from_context(context: &Disconnect) -> Result<Self, Infallible> {
        Ok(context.clone())
    }
}

/// The arguments of the event, as a type.
///
/// A tuple takes several arguments, `()` none, everything else the first; [`bytes::Bytes`] takes
/// binary data at any depth. See [`Args::deserialize`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Data<T>(pub T);

impl<T: DeserializeOwned> FromContext<Event> for Data<T> {
    type Rejection = ArgsError;

    fn from_context(event: &Event) -> Result<Self, ArgsError> {
        event.args.deserialize().map(Data)
    }
}

/// Like [`Data`], but the handler is also called for arguments of another shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TryData<T>(pub Result<T, ArgsError>);

impl<T: DeserializeOwned> FromContext<Event> for TryData<T> {
    type Rejection = Infallible;

    fn from_context(event: &Event) -> Result<Self, Infallible> {
        Ok(TryData(event.args.deserialize()))
    }
}

/// The arguments as they came, to look at or to relay.
impl FromContext<Event> for Args {
    type Rejection = Infallible;

    fn from_context(event: &Event) -> Result<Self, Infallible> {
        Ok(event.args.clone())
    }
}

/// All of the event.
impl FromContext<Event> for Event {
    type Rejection = Infallible;

    fn from_context(event: &Event) -> Result<Self, Infallible> {
        Ok(event.clone())
    }
}

/// The name of the event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventName(Str);

impl EventName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Deref for EventName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromContext<Event> for EventName {
    type Rejection = Infallible;

    fn from_context(event: &Event) -> Result<Self, Infallible> {
        Ok(EventName(event.name().into()))
    }
}

/// Answers the event at a time of the handler's choice, also after the handler has returned.
///
/// A handler that takes this and returns `()` leaves the answer to it. Only the first answer of
/// all handlers of an event is sent.
#[derive(Debug)]
pub struct AckSender(Option<Arc<AckRequest>>);

impl AckSender {
    /// Whether the client wants an answer.
    pub fn is_wanted(&self) -> bool {
        self.0.is_some()
    }

    /// Answers; a tuple stands for several arguments. Does nothing if the client wants no answer
    /// or has got one.
    ///
    /// # Errors
    ///
    /// If the answer cannot be JSON.
    pub fn send<A: ToArgs + ?Sized>(self, args: &A) -> Result<(), EmitError> {
        match &self.0 {
            Some(ack) => ack.answer(args).map(drop).map_err(EmitError::from),
            None => Ok(()),
        }
    }
}

impl FromContext<Event> for AckSender {
    type Rejection = Infallible;

    fn from_context(event: &Event) -> Result<Self, Infallible> {
        let ack = event.answer.ack.clone();
        let ack = ack.inspect(|ack| ack.take(event.name()));
        Ok(AckSender(ack))
    }
}
