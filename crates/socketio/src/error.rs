//! What can go wrong, and who is told.

use std::{error::Error, fmt, sync::Arc};

use serde::Serialize;
use serde_json::value::RawValue;
use socketio_proto::{Args, ArgsError, DecodeError, EncodeError, ToArgs};

use crate::{Namespace, Socket};

/// Any error. What handlers return is turned into this.
pub type BoxError = Box<dyn Error + Send + Sync>;

/// Why an event was not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EmitError {
    /// The name means something else to every client (`connect`, `connect_error`, `disconnect`,
    /// `disconnecting`, `newListener`, `removeListener`).
    ReservedEvent,
    /// The arguments cannot be JSON.
    Encode(EncodeError),
}

impl fmt::Display for EmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EmitError::ReservedEvent => f.write_str("the name of the event is reserved"),
            EmitError::Encode(error) => error.fmt(f),
        }
    }
}

impl Error for EmitError {}

impl From<EncodeError> for EmitError {
    fn from(error: EncodeError) -> Self {
        EmitError::Encode(error)
    }
}

/// Why there is no acknowledgement.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AckError {
    /// The event was not sent.
    Emit(EmitError),
    /// The client did not answer in time.
    Timeout,
    /// The socket is not connected, or was disconnected before the client answered.
    Disconnected,
    /// The client owes as many answers as [`Builder::max_pending_acks`] allows.
    ///
    /// [`Builder::max_pending_acks`]: crate::Builder::max_pending_acks
    TooManyPending,
    /// The connection could not take the event: it was volatile, or too much was queued for the
    /// client.
    NotSent,
    /// The answer has another shape than was asked for.
    Args(ArgsError),
}

impl fmt::Display for AckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AckError::Emit(error) => error.fmt(f),
            AckError::Timeout => f.write_str("operation has timed out"),
            AckError::Disconnected => f.write_str("the socket is disconnected"),
            AckError::TooManyPending => f.write_str("too many acknowledgements are pending"),
            AckError::NotSent => f.write_str("the connection could not take the event"),
            AckError::Args(error) => error.fmt(f),
        }
    }
}

impl Error for AckError {}

impl From<EmitError> for AckError {
    fn from(error: EmitError) -> Self {
        AckError::Emit(error)
    }
}

/// Why a middleware refuses a client. The client sees it as its `connect_error`.
///
/// ```
/// use socketio::ConnectError;
///
/// let error = ConnectError::new("not authorized").with_data(&["retry", "later"]);
/// assert_eq!(error.message(), "not authorized");
/// ```
#[derive(Clone, Debug)]
pub struct ConnectError {
    message: Box<str>,
    data: Result<Option<Box<RawValue>>, Arc<serde_json::Error>>,
}

impl ConnectError {
    /// A refusal with a message for the client.
    pub fn new(message: impl Into<Box<str>>) -> Self {
        Self {
            message: message.into(),
            data: Ok(None),
        }
    }

    /// Adds details for the client. If they cannot be JSON, the refusal goes without them and the
    /// error hook is told.
    #[must_use]
    pub fn with_data<T: Serialize + ?Sized>(mut self, data: &T) -> Self {
        self.data = match serde_json::value::to_raw_value(data) {
            Ok(data) => Ok(Some(data)),
            Err(error) => Err(Arc::new(error)),
        };
        self
    }

    /// The message.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The details, as JSON.
    pub fn data(&self) -> Option<&RawValue> {
        self.data.as_ref().ok()?.as_deref()
    }

    /// What is wrong with the details.
    pub(crate) fn data_error(&self) -> Option<Arc<serde_json::Error>> {
        self.data.as_ref().err().cloned()
    }
}

impl From<&str> for ConnectError {
    fn from(message: &str) -> Self {
        Self::new(message)
    }
}

impl From<String> for ConnectError {
    fn from(message: String) -> Self {
        Self::new(message)
    }
}

/// An error that a handler answers an event with, in a shape of its own. Other errors are answered
/// with `{"error":"<text>"}`.
///
/// ```
/// use socketio::{ErrorReply, handler::Data};
///
/// async fn divide(Data((a, b)): Data<(f64, f64)>) -> Result<f64, ErrorReply> {
///     if b == 0.0 {
///         return Err(ErrorReply::new(&serde_json::json!({ "code": 1, "reason": "zero" })));
///     }
///     Ok(a / b)
/// }
/// ```
#[derive(Clone, Debug)]
pub struct ErrorReply(Result<Args, EncodeError>);

impl ErrorReply {
    /// The arguments of the answer; a tuple stands for several.
    pub fn new<A: ToArgs + ?Sized>(args: &A) -> Self {
        Self(Args::new(args))
    }

    pub(crate) fn args(&self) -> Result<&Args, &EncodeError> {
        self.0.as_ref()
    }
}

impl fmt::Display for ErrorReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Ok(args) => f.write_str(args.json()),
            Err(error) => error.fmt(f),
        }
    }
}

impl Error for ErrorReply {}

/// What went wrong while a client was being served. See [`SocketIo::on_error`].
///
/// [`SocketIo::on_error`]: crate::SocketIo::on_error
#[derive(Debug)]
#[non_exhaustive]
pub enum HandlerError {
    /// The client broke the protocol; its connection closes.
    Decode(DecodeError),
    /// A parameter of a handler could not be had: arguments of another shape, a
    /// [`State`](crate::handler::State) that nobody gave. The handler was not called.
    Extract(BoxError),
    /// A handler returned an error, and the client had not asked for an answer.
    Failed(BoxError),
    /// A [packet middleware](crate::Namespace::packet_middleware) refused an event.
    Refused(BoxError),
    /// A handler panicked. Holds the panic's message, if it is text.
    Panicked(Option<Box<str>>),
    /// What a handler answered cannot be JSON.
    Reply(EncodeError),
    /// The application's [parser](crate::parser) cannot say that a client has joined a namespace,
    /// may not, or has to leave.
    Encode(EncodeError),
    /// A handler took the [`AckSender`](crate::handler::AckSender) and dropped it unused: the
    /// client waits in vain.
    Unanswered,
}

impl fmt::Display for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HandlerError::Decode(error) => error.fmt(f),
            HandlerError::Extract(error)
            | HandlerError::Failed(error)
            | HandlerError::Refused(error) => error.fmt(f),
            HandlerError::Panicked(Some(message)) => write!(f, "panicked: {message}"),
            HandlerError::Panicked(None) => f.write_str("panicked"),
            HandlerError::Reply(error) => write!(f, "the answer cannot be sent: {error}"),
            HandlerError::Encode(error) => write!(f, "the client cannot be told: {error}"),
            HandlerError::Unanswered => f.write_str("the event was not acknowledged"),
        }
    }
}

impl Error for HandlerError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            HandlerError::Decode(error) => Some(error),
            HandlerError::Extract(error)
            | HandlerError::Failed(error)
            | HandlerError::Refused(error) => Some(&**error),
            HandlerError::Reply(error) | HandlerError::Encode(error) => Some(error),
            HandlerError::Panicked(_) | HandlerError::Unanswered => None,
        }
    }
}

/// An error and where it happened.
#[derive(Debug)]
pub struct ErrorReport<'a> {
    pub(crate) socket: Option<&'a Socket>,
    pub(crate) event: Option<&'a str>,
    pub(crate) error: &'a HandlerError,
}

impl<'a> ErrorReport<'a> {
    /// The socket; none if the client had joined no namespace.
    pub fn socket(&self) -> Option<&'a Socket> {
        self.socket
    }

    /// The namespace; none if the client had joined no namespace.
    pub fn namespace(&self) -> Option<&'a Namespace> {
        self.socket.map(Socket::namespace)
    }

    /// The event that was being handled, if it was one.
    pub fn event(&self) -> Option<&'a str> {
        self.event
    }

    /// What went wrong.
    pub fn error(&self) -> &'a HandlerError {
        self.error
    }
}

impl fmt::Display for ErrorReport<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.event {
            Some(event) => write!(f, "`{event}`: {}", self.error),
            None => self.error.fmt(f),
        }
    }
}
