//! What events have to pass before their handlers are called.

use std::{
    future::Future,
    panic::AssertUnwindSafe,
    pin::{Pin, pin},
    sync::Arc,
};

use futures_util::FutureExt as _;

use super::{Event, Handler, Handlers, Listeners, guarded, waiting};
use crate::error::BoxError;

/// What a [packet middleware](crate::Namespace::packet_middleware) can return.
///
/// | Type | What becomes of the event |
/// |---|---|
/// | `()` | goes on as it came |
/// | [`Event`] | goes on with the name and the arguments of this one |
/// | `Result<_, E>` of either | goes on, or is refused |
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say what becomes of the event",
    label = "returned by a packet middleware",
    note = "return `()`, an `Event`, or a `Result` of either with an error that is `Into<Box<dyn Error + Send + Sync>>`"
)]
pub trait IntoVerdict {
    /// The event to go on with, if it is another one.
    ///
    /// # Errors
    ///
    /// Why the event is refused.
    fn into_verdict(self) -> Result<Option<Event>, BoxError>;
}

impl IntoVerdict for () {
    fn into_verdict(self) -> Result<Option<Event>, BoxError> {
        Ok(None)
    }
}

impl IntoVerdict for Event {
    fn into_verdict(self) -> Result<Option<Event>, BoxError> {
        Ok(Some(self))
    }
}

impl<V: IntoVerdict, E: Into<BoxError>> IntoVerdict for Result<V, E> {
    fn into_verdict(self) -> Result<Option<Event>, BoxError> {
        self.map_err(Into::into)?.into_verdict()
    }
}

/// An event on its way through packet middlewares. Gives the event as it is by then, or nothing if
/// it was refused; whom that concerns has been told.
pub(crate) type Passage = Pin<Box<dyn Future<Output = Option<Event>> + Send>>;

/// A packet middleware without its type.
pub(crate) type PacketMiddleware = Arc<dyn Fn(Event) -> Passage + Send + Sync>;

pub(crate) fn erase_packet_middleware<H, T>(middleware: H) -> PacketMiddleware
where
    H: Handler<Event, T, Output: IntoVerdict>,
{
    Arc::new(move |mut event| {
        let future = guarded(|| middleware.call(&event));
        Box::pin(async move {
            let future = match future {
                Ok(Ok(future)) => future,
                Ok(Err(rejection)) => {
                    event.answer.rejected(rejection);
                    return None;
                }
                Err(panic) => {
                    event.answer.panicked(&*panic);
                    return None;
                }
            };
            let mut future = pin!(future);
            let detach = || event.detach();
            let run = async { waiting(future.as_mut(), detach).await.into_verdict() };
            match AssertUnwindSafe(run).catch_unwind().await {
                Ok(Ok(None)) => Some(event),
                Ok(Ok(Some(changed))) => {
                    // Whoever returns another event answers for its name and arguments alone.
                    event.answer.event = changed.answer.event;
                    event.args = changed.args;
                    Some(event)
                }
                Ok(Err(error)) => {
                    event.answer.refused(error);
                    None
                }
                Err(panic) => {
                    event.answer.panicked(&*panic);
                    None
                }
            }
        })
    })
}

/// Whether events of a socket have to pass any.
pub(crate) fn has_packet_middlewares(handlers: &Handlers, own: Option<&Listeners>) -> bool {
    let has_any = |listeners: &Listeners| listeners.packet_middlewares.len() > 0;
    has_any(&handlers.listeners) || own.is_some_and(has_any)
}

/// What an event of a socket has to pass.
pub(crate) fn passage(
    handlers: Arc<Handlers>,
    own: Option<Arc<Listeners>>,
    mut event: Event,
) -> Passage {
    Box::pin(async move {
        let own = own.iter().flat_map(|own| own.packet_middlewares.iter());
        for middleware in handlers.listeners.packet_middlewares.iter().chain(own) {
            event = middleware(event).await?;
        }
        Some(event)
    })
}
