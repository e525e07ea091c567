//! Events whose name, payload and acknowledgement belong together.

use std::any::Any;

use serde::{Serialize, de::DeserializeOwned};
use socketio_proto::ArgsError;

use crate::{
    AckFuture, BoxError, BroadcastAcks, BroadcastOperator, EmitError, Emitter, Namespace,
    ParentBroadcastOperator, ParentNamespace, Socket, SocketIo,
    handler::{self, Event, EventHandler, FromContext, Handler},
};

/// A type that is the payload of one event: with it the event has one name and one
/// acknowledgement, and what does not fit together does not compile. Plain names go on working
/// beside it; on the wire it is all the same.
///
/// The payload is the type itself, with serde: a struct with named fields is one argument, a tuple
/// struct one for each field, a unit struct none.
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use socketio::{Socket, SocketIo, TypedEvent, handler::Typed};
///
/// #[derive(Serialize, Deserialize, TypedEvent)]
/// #[event(name = "chat message", ack = Receipt)]
/// struct ChatMessage { text: String }
///
/// #[derive(Serialize, Deserialize)]
/// struct Receipt { length: usize }
///
/// let io = SocketIo::new();
/// io.on_event(async |socket: Socket, Typed(message): Typed<ChatMessage>| {
///     socket.broadcast().emit_event(&message)?;
///     Ok::<_, socketio::EmitError>(Receipt { length: message.text.len() })
/// });
///
/// async fn ask(socket: &Socket) -> Result<usize, socketio::AckError> {
///     let message = ChatMessage { text: "hello".into() };
///     let receipt = socket.emit_event_with_ack(&message).await?;
///     Ok(receipt.length)
/// }
/// ```
///
/// A handler that returns something else does not compile:
///
/// ```compile_fail,E0277
/// # use serde::{Deserialize, Serialize};
/// # use socketio::{Socket, SocketIo, TypedEvent, handler::Typed};
/// # #[derive(Serialize, Deserialize, TypedEvent)]
/// # #[event(name = "chat message", ack = Receipt)]
/// # struct ChatMessage { text: String }
/// # #[derive(Serialize, Deserialize)]
/// # struct Receipt { length: usize }
/// # let io = SocketIo::new();
/// io.on_event(async |Typed(message): Typed<ChatMessage>| message.text.len());
/// ```
///
/// Nor does an acknowledgement that is read as something else:
///
/// ```compile_fail,E0308
/// # use serde::{Deserialize, Serialize};
/// # use socketio::{Socket, SocketIo, TypedEvent, handler::Typed};
/// # #[derive(Serialize, Deserialize, TypedEvent)]
/// # #[event(name = "chat message", ack = Receipt)]
/// # struct ChatMessage { text: String }
/// # #[derive(Serialize, Deserialize)]
/// # struct Receipt { length: usize }
/// # async fn ask(socket: &Socket, message: ChatMessage) -> Result<(), socketio::AckError> {
/// let length: usize = socket.emit_event_with_ack(&message).await?;
/// # Ok(())
/// # }
/// ```
///
/// Nor a payload that is no event:
///
/// ```compile_fail,E0277
/// # use socketio::SocketIo;
/// # let io = SocketIo::new();
/// io.emit_event("chat message");
/// ```
///
/// # Deriving
///
/// The derive macro (cargo feature `macros`, on by default) takes `#[event(name = "…")]`, and
/// `ack = Type` for what is answered if that is not `()`. By hand, as types with generic
/// parameters have to:
///
/// ```
/// use socketio::TypedEvent;
///
/// #[derive(serde::Serialize)]
/// struct Borrowed<'a> { text: &'a str }
///
/// impl TypedEvent for Borrowed<'_> {
///     const NAME: &'static str = "chat message";
///     type Ack = ();
/// }
/// ```
///
/// A name that no event can have is refused, as is a declaration without one:
///
/// ```compile_fail
/// #[derive(socketio::TypedEvent)]
/// #[event(name = "disconnect")]
/// struct Reserved;
/// ```
///
/// ```compile_fail
/// #[derive(socketio::TypedEvent)]
/// struct Nameless;
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a typed event",
    note = "derive `TypedEvent` for it, with `#[event(name = \"…\")]`"
)]
pub trait TypedEvent {
    /// The name of the event.
    const NAME: &'static str;

    /// What the receiver acknowledges it with: a tuple stands for several arguments, `()` for
    /// none.
    type Ack;
}

/// The payload of a [typed event](TypedEvent), the last parameter of its
/// [handler](Namespace::on_event). In other handlers it is the same as
/// [`Data`](crate::handler::Data).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Typed<E>(pub E);

impl<E: TypedEvent + DeserializeOwned> FromContext<Event> for Typed<E> {
    type Rejection = ArgsError;

    fn from_context(event: &Event) -> Result<Self, ArgsError> {
        event.args().deserialize().map(Typed)
    }
}

/// The parameters of a handler for a [typed event](TypedEvent): up to eight, the last of which is
/// [`Typed`].
#[diagnostic::on_unimplemented(
    message = "a handler for a typed event has the event as its last parameter",
    label = "the last parameter is not a `Typed<E>`"
)]
pub trait TypedParams {
    /// The event.
    type Event: TypedEvent;
}

macro_rules! impl_typed_params {
    ($($T:ident)*) => {
        impl<$($T,)* E: TypedEvent> TypedParams for ($($T,)* Typed<E>,) {
            type Event = E;
        }
    };
}

impl_typed_params!();
impl_typed_params!(T1);
impl_typed_params!(T1 T2);
impl_typed_params!(T1 T2 T3);
impl_typed_params!(T1 T2 T3 T4);
impl_typed_params!(T1 T2 T3 T4 T5);
impl_typed_params!(T1 T2 T3 T4 T5 T6);
impl_typed_params!(T1 T2 T3 T4 T5 T6 T7);

/// What a handler for a [typed event](TypedEvent) can return: the acknowledgement, or a `Result`
/// of it.
#[diagnostic::on_unimplemented(
    message = "the acknowledgement of this event is `{A}`, not `{Self}`",
    label = "returned by a handler of the event",
    note = "return `{A}`, or a `Result` of it with an error that is `Into<Box<dyn Error + Send + Sync>>`"
)]
pub trait IntoAck<A> {
    /// The acknowledgement.
    ///
    /// # Errors
    ///
    /// The handler's own error.
    fn into_ack(self) -> Result<A, BoxError>;
}

impl<A> IntoAck<A> for A {
    fn into_ack(self) -> Result<A, BoxError> {
        Ok(self)
    }
}

impl<A, E: Into<BoxError>> IntoAck<A> for Result<A, E> {
    fn into_ack(self) -> Result<A, BoxError> {
        self.map_err(Into::into)
    }
}

/// What acknowledges the event that a handler with these parameters is for.
type AckOf<T> = <<T as TypedParams>::Event as TypedEvent>::Ack;

impl Namespace {
    /// Adds a handler for a [typed event](TypedEvent). Its last parameter is the
    /// [`Typed`] event, and it returns the event's acknowledgement or a
    /// `Result` of it.
    ///
    /// # Panics
    ///
    /// If the name is reserved: no client can send it.
    pub fn on_event<H, T>(&self, handler: H) -> &Self
    where
        T: TypedParams,
        H: Handler<Event, T, Output: IntoAck<AckOf<T>>>,
        AckOf<T>: Any + Serialize,
    {
        let handler = typed_handler(handler);
        self.change_listeners(|listeners| listeners.add_event(T::Event::NAME, handler));
        self
    }

    /// Sends a [typed event](TypedEvent) to all sockets.
    ///
    /// # Errors
    ///
    /// If the name is reserved or the payload cannot be JSON.
    pub fn emit_event<E: TypedEvent + Serialize>(&self, event: &E) -> Result<(), EmitError> {
        self.emit(E::NAME, event)
    }
}

impl SocketIo {
    /// See [`Namespace::on_event`].
    ///
    /// # Panics
    ///
    /// If the name is reserved: no client can send it.
    pub fn on_event<H, T>(&self, handler: H) -> &Self
    where
        T: TypedParams,
        H: Handler<Event, T, Output: IntoAck<AckOf<T>>>,
        AckOf<T>: Any + Serialize,
    {
        self.main().on_event(handler);
        self
    }

    /// See [`Namespace::emit_event`].
    ///
    /// # Errors
    ///
    /// If the name is reserved or the payload cannot be JSON.
    pub fn emit_event<E: TypedEvent + Serialize>(&self, event: &E) -> Result<(), EmitError> {
        self.emit(E::NAME, event)
    }
}

impl ParentNamespace {
    /// See [`Namespace::on_event`].
    ///
    /// # Panics
    ///
    /// If the name is reserved: no client can send it.
    pub fn on_event<H, T>(&self, handler: H) -> &Self
    where
        T: TypedParams,
        H: Handler<Event, T, Output: IntoAck<AckOf<T>>>,
        AckOf<T>: Any + Serialize,
    {
        let handler = typed_handler(handler);
        self.update(|handlers| {
            let handler = handler.clone();
            handlers.listeners.add_event(T::Event::NAME, handler);
        })
    }

    /// Sends a [typed event](TypedEvent) to all sockets of all children.
    ///
    /// # Errors
    ///
    /// If the name is reserved or the payload cannot be JSON.
    pub fn emit_event<E: TypedEvent + Serialize>(&self, event: &E) -> Result<(), EmitError> {
        self.emit(E::NAME, event)
    }
}

impl ParentBroadcastOperator {
    /// Sends a [typed event](TypedEvent); see [`emit`](Self::emit).
    ///
    /// # Errors
    ///
    /// If the name is reserved or the payload cannot be JSON.
    pub fn emit_event<E: TypedEvent + Serialize>(&self, event: &E) -> Result<(), EmitError> {
        self.emit(E::NAME, event)
    }
}

impl Socket {
    /// Adds a handler for a [typed event](TypedEvent) of this socket alone; see
    /// [`Namespace::on_event`] and [`on`](Self::on).
    ///
    /// # Panics
    ///
    /// If the name is reserved: no client can send it.
    pub fn on_event<H, T>(&self, handler: H)
    where
        T: TypedParams,
        H: Handler<Event, T, Output: IntoAck<AckOf<T>>>,
        AckOf<T>: Any + Serialize,
    {
        let handler = typed_handler(handler);
        self.add_listener(|listeners| listeners.add_event(T::Event::NAME, handler));
    }

    /// Sends a [typed event](TypedEvent); see [`emit`](Self::emit).
    ///
    /// # Errors
    ///
    /// If the name is reserved or the payload cannot be JSON.
    pub fn emit_event<E: TypedEvent + Serialize>(&self, event: &E) -> Result<(), EmitError> {
        self.emit(E::NAME, event)
    }

    /// Sends a [typed event](TypedEvent) and asks for its acknowledgement; see
    /// [`emit_with_ack`](Self::emit_with_ack).
    pub fn emit_event_with_ack<E: TypedEvent + Serialize>(&self, event: &E) -> AckFuture<E::Ack> {
        self.emit_with_ack(E::NAME, event)
    }
}

impl Emitter<'_> {
    /// Sends a [typed event](TypedEvent); see [`emit`](Self::emit).
    ///
    /// # Errors
    ///
    /// If the name is reserved or the payload cannot be JSON.
    pub fn emit_event<E: TypedEvent + Serialize>(&self, event: &E) -> Result<bool, EmitError> {
        self.emit(E::NAME, event)
    }

    /// Sends a [typed event](TypedEvent) and asks for its acknowledgement; see
    /// [`emit_with_ack`](Self::emit_with_ack).
    pub fn emit_event_with_ack<E: TypedEvent + Serialize>(&self, event: &E) -> AckFuture<E::Ack> {
        self.emit_with_ack(E::NAME, event)
    }
}

impl BroadcastOperator {
    /// Sends a [typed event](TypedEvent); see [`emit`](Self::emit).
    ///
    /// # Errors
    ///
    /// If the name is reserved or the payload cannot be JSON.
    pub fn emit_event<E: TypedEvent + Serialize>(&self, event: &E) -> Result<(), EmitError> {
        self.emit(E::NAME, event)
    }

    /// Sends a [typed event](TypedEvent) and asks every socket for its acknowledgement; see
    /// [`emit_with_ack`](Self::emit_with_ack).
    pub fn emit_event_with_ack<E>(&self, event: &E) -> BroadcastAcks<E::Ack>
    where
        E: TypedEvent<Ack: DeserializeOwned> + Serialize,
    {
        self.emit_with_ack(E::NAME, event)
    }
}

fn typed_handler<H, T>(handler: H) -> EventHandler
where
    T: TypedParams,
    H: Handler<Event, T, Output: IntoAck<AckOf<T>>>,
    AckOf<T>: Any + Serialize,
{
    handler::check_name(T::Event::NAME);
    let call = handler::erase_event_as(handler, |output| output.into_ack());
    EventHandler { call, once: false }
}
