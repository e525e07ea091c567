//! What handlers can return.

use std::{any::Any, sync::Arc};

use serde::Serialize;
use socketio_proto::{Args, EncodeError, ToArgs};

use super::{INTERNAL_ERROR, panic_error, text_of};
use crate::{
    ErrorReply, Socket, Str,
    ack::AckRequest,
    error::{BoxError, HandlerError},
};

/// What a handler for an event can return. It answers the client, if the client asked for an
/// answer.
///
/// | Type | Answer |
/// |---|---|
/// | `()` | no arguments; none at all if the handler took the [`AckSender`](super::AckSender) |
/// | text, numbers, `bool`, `Option`, `Vec`, [`serde_json::Value`] | one argument |
/// | tuples | one argument for each element |
/// | [`Args`] | the arguments as they came |
/// | [`Reply<T>`] | any `T` that is `Serialize` |
/// | `Result<T, E>` | the same for any `T` that is `Serialize`; an error `{"error":"<text>"}`, or what an [`ErrorReply`] says |
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no answer to an event",
    label = "returned by a handler",
    note = "wrap what is `Serialize` into `socketio::handler::Reply`, or return a `Result`",
    note = "an error must be `Into<Box<dyn Error + Send + Sync>>`"
)]
pub trait IntoReply {
    /// Gives the answer.
    ///
    /// # Errors
    ///
    /// The handler's own error.
    fn into_reply(self, answer: &Answer) -> Result<(), BoxError>;
}

/// What a handler can return that nobody waits for: `()`, or a `Result` whose error goes to the
/// error hook.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is nothing that this handler can return",
    note = "return `()` or `Result<(), E>` with an error that is `Into<Box<dyn Error + Send + Sync>>`"
)]
pub trait IntoResult {
    /// The error, if it is one.
    ///
    /// # Errors
    ///
    /// The handler's own error.
    fn into_result(self) -> Result<(), BoxError>;
}

impl IntoResult for () {
    fn into_result(self) -> Result<(), BoxError> {
        Ok(())
    }
}

impl<E: Into<BoxError>> IntoResult for Result<(), E> {
    fn into_result(self) -> Result<(), BoxError> {
        self.map_err(Into::into)
    }
}

/// Answers with any type that is `Serialize`; a tuple stands for several arguments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reply<T>(pub T);

impl<T: ToArgs> IntoReply for Reply<T> {
    fn into_reply(self, answer: &Answer) -> Result<(), BoxError> {
        answer.send(&self.0);
        Ok(())
    }
}

impl IntoReply for () {
    fn into_reply(self, answer: &Answer) -> Result<(), BoxError> {
        answer.nothing();
        Ok(())
    }
}

impl<T: Any + ToArgs, E: Into<BoxError>> IntoReply for Result<T, E> {
    fn into_reply(self, answer: &Answer) -> Result<(), BoxError> {
        let value = self.map_err(Into::into)?;
        // `()` is `ToArgs` like everything else, but leaves the answer to others.
        if (&value as &dyn Any).is::<()>() {
            answer.nothing();
        } else {
            answer.send(&value);
        }
        Ok(())
    }
}

macro_rules! impl_into_reply {
    ($([$($G:ident)*] $T:ty;)*) => {
        $(
            impl<$($G: Serialize),*> IntoReply for $T {
                fn into_reply(self, answer: &Answer) -> Result<(), BoxError> {
                    answer.send(&self);
                    Ok(())
                }
            }
        )*
    };
}

impl_into_reply! {
    [] bool; [] char; [] String; [] &'static str; [] Box<str>; [] Arc<str>;
    [] std::borrow::Cow<'static, str>;
    [] i8; [] i16; [] i32; [] i64; [] i128; [] isize;
    [] u8; [] u16; [] u32; [] u64; [] u128; [] usize;
    [] f32; [] f64;
    [] bytes::Bytes; [] Args;
    [] serde_json::Value; [] Box<serde_json::value::RawValue>;
    [T] Option<T>; [T] Vec<T>;
    [A] (A,); [A B] (A, B); [A B C] (A, B, C); [A B C D] (A, B, C, D);
    [A B C D E] (A, B, C, D, E); [A B C D E F] (A, B, C, D, E, F);
}

/// Where a handler's answer goes: to the client if it asked for one, errors otherwise to the error
/// hook.
#[derive(Clone, Debug)]
pub struct Answer {
    pub(super) socket: Socket,
    pub(super) event: Str,
    /// If the client wants an answer.
    pub(super) ack: Option<Arc<AckRequest>>,
}

impl Answer {
    pub(super) fn new(socket: Socket, event: Str, id: Option<u64>) -> Self {
        Self {
            ack: id.map(|id| Arc::new(AckRequest::new(socket.clone(), id))),
            socket,
            event,
        }
    }

    /// Makes it keep nothing of the message alive, for as long as its handler waits.
    pub(super) fn detach(&mut self) {
        self.event = Str::from(&*self.event);
    }

    /// Answers; a tuple stands for several arguments. Does nothing if the client wants no answer
    /// or has got one.
    pub fn send<A: ToArgs + ?Sized>(&self, args: &A) {
        if let Some(ack) = &self.ack
            && let Err(error) = ack.answer(args)
        {
            self.unsendable(ack, error);
        }
    }

    /// Answers without arguments, unless another handler of the event answers.
    pub fn nothing(&self) {
        if let Some(ack) = &self.ack {
            ack.answer_nothing();
        }
    }

    pub(super) fn give(&self, reply: impl IntoReply) {
        if let Err(error) = reply.into_reply(self) {
            // Whoever asked is told; if nobody did, or has his answer already, the hook is.
            if !self.answer_error(&*error) {
                self.report(HandlerError::Failed(error));
            }
        }
    }

    pub(super) fn rejected(&self, rejection: BoxError) {
        self.answer_error(&*rejection);
        self.report(HandlerError::Extract(rejection));
    }

    pub(super) fn refused(&self, error: BoxError) {
        self.answer_error(&*error);
        self.report(HandlerError::Refused(error));
    }

    pub(super) fn panicked(&self, panic: &(dyn Any + Send)) {
        if let Some(ack) = &self.ack {
            ack.answer_error(INTERNAL_ERROR);
        }
        self.report(panic_error(panic));
    }

    /// `false` if nobody asked, or has his answer already.
    fn answer_error(&self, error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
        let Some(ack) = &self.ack else {
            return false;
        };
        let Some(reply) = error.downcast_ref::<ErrorReply>() else {
            return ack.answer_error(&text_of(error));
        };
        let sent = match reply.args() {
            Ok(args) => ack.answer(args),
            Err(error) => Err(error.clone()),
        };
        sent.unwrap_or_else(|error| {
            self.unsendable(ack, error);
            true
        })
    }

    fn unsendable(&self, ack: &AckRequest, error: EncodeError) {
        ack.answer_error(INTERNAL_ERROR);
        self.report(HandlerError::Reply(error));
    }

    fn report(&self, error: HandlerError) {
        self.socket.report(Some(&self.event), error);
    }
}
