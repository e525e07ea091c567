#![doc = include_str!("../docs/handlers.md")]

mod context;
pub mod extract;
mod packet;
pub mod reply;
mod table;

use std::{
    any::Any,
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::{Pin, pin},
    sync::Arc,
    task::{self, Poll},
};

use futures_util::FutureExt as _;

pub use self::{
    context::{Connect, Context, Disconnect, Event},
    extract::{AckSender, Auth, Data, EventName, FromContext, Params, Query, State, TryData},
    packet::IntoVerdict,
    reply::{Answer, IntoReply, IntoResult, Reply},
    table::HandlerId,
};
pub(crate) use self::{
    packet::{PacketMiddleware, Passage, erase_packet_middleware, has_packet_middlewares, passage},
    table::{EventHandler, Handlers, Listeners},
};
pub use crate::typed::{IntoAck, Typed, TypedParams};
use crate::{
    ConnectError, Socket, Str,
    error::{BoxError, HandlerError},
};

/// An async function or closure whose parameters are all [extractors](extract::FromContext) for
/// this kind of [context](Context). Implemented for functions of up to eight parameters; see the
/// [module](self).
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot handle this",
    label = "not a handler for `{C}`",
    note = "a handler is an async function or closure of up to eight parameters, each of which is an extractor",
    note = "its future must be `Send` and must not borrow from the closure",
    note = "see the documentation of `socketio::handler`"
)]
pub trait Handler<C, T>: Send + Sync + 'static {
    /// What it returns.
    type Output;

    /// What runs it.
    type Future: Future<Output = Self::Output> + Send + 'static;

    /// Gets the parameters and calls the function.
    ///
    /// # Errors
    ///
    /// If a parameter cannot be had.
    fn call(&self, context: &C) -> Result<Self::Future, BoxError>;
}

macro_rules! impl_handler {
    ($($T:ident)*) => {
        impl<F, Fut, C, $($T,)*> Handler<C, ($($T,)*)> for F
        where
            F: Fn($($T),*) -> Fut + Send + Sync + 'static,
            Fut: Future + Send + 'static,
            C: Context,
            $($T: FromContext<C>,)*
        {
            type Output = Fut::Output;
            type Future = Fut;

            #[allow(unused_variables, reason = "a function without parameters")]
            fn call(&self, context: &C) -> Result<Fut, BoxError> {
                Ok(self($($T::from_context(context).map_err(Into::into)?),*))
            }
        }
    };
}

impl_handler!();
impl_handler!(T1);
impl_handler!(T1 T2);
impl_handler!(T1 T2 T3);
impl_handler!(T1 T2 T3 T4);
impl_handler!(T1 T2 T3 T4 T5);
impl_handler!(T1 T2 T3 T4 T5 T6);
impl_handler!(T1 T2 T3 T4 T5 T6 T7);
impl_handler!(T1 T2 T3 T4 T5 T6 T7 T8);

/// A handler at work. Whatever comes of it has been told to whom it concerns when it is done.
pub(crate) type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Handlers for that a socket is disconnecting, at work. Gives what the handlers for that it has
/// been disconnected need, with those of them that were the socket's own.
pub(crate) type Farewell =
    Pin<Box<dyn Future<Output = (Disconnect, Option<Arc<Listeners>>)> + Send>>;

/// A middleware at work.
pub(crate) type Admission = Pin<Box<dyn Future<Output = Result<(), ConnectError>> + Send>>;

/// A handler without its type. It gives nothing to run if it could not be called; the error hook
/// knows by then.
pub(crate) type Erased<C> = Arc<dyn Fn(&C) -> Option<Task> + Send + Sync>;

/// A handler for events without its type. It is called and polled once; it gives what has to wait.
pub(crate) type ErasedEvent =
    Arc<dyn Fn(&Event, &mut task::Context<'_>) -> Option<Task> + Send + Sync>;

pub(crate) type Middleware = Arc<dyn Fn(&Connect) -> Result<Admission, ConnectError> + Send + Sync>;

/// A handler for one event.
///
/// # Panics
///
/// If no client can send the event.
pub(crate) fn event_handler<H, T>(event: &str, handler: H, once: bool) -> EventHandler
where
    H: Handler<Event, T, Output: IntoReply>,
{
    check_name(event);
    let call = erase_event(handler);
    EventHandler { call, once }
}

/// # Panics
///
/// If no client can send the event.
pub(crate) fn check_name(event: &str) {
    assert!(
        !socketio_proto::is_reserved(event),
        "clients cannot send `{event}`; see `on_connection` and `on_disconnect`"
    );
}

/// A handler that may answer.
pub(crate) fn erase_event<H, T>(handler: H) -> ErasedEvent
where
    H: Handler<Event, T, Output: IntoReply>,
{
    erase_event_as(handler, |output| output)
}

/// The same, with what the handler returns turned into an answer.
pub(crate) fn erase_event_as<H, T, R, F>(handler: H, reply: F) -> ErasedEvent
where
    H: Handler<Event, T>,
    R: IntoReply,
    F: Fn(H::Output) -> R + Copy + Send + Sync + 'static,
{
    Arc::new(move |event, cx| {
        let answer = &event.answer;
        let polled = guarded(|| {
            let mut future = Box::pin(handler.call(event)?);
            match future.as_mut().poll(cx) {
                Poll::Ready(output) => answer.give(reply(output)),
                Poll::Pending => return Ok(Some(future)),
            }
            Ok(None)
        });
        let future = match polled {
            Ok(Ok(waits)) => waits?,
            Ok(Err(rejection)) => {
                answer.rejected(rejection);
                return None;
            }
            Err(panic) => {
                answer.panicked(&*panic);
                return None;
            }
        };
        // Slices of the message would keep all of it alive; see `waiting`.
        let mut answer = answer.clone();
        answer.detach();
        Some(Box::pin(async move {
            let run = async { answer.give(reply(future.await)) };
            if let Err(panic) = AssertUnwindSafe(run).catch_unwind().await {
                answer.panicked(&*panic);
            }
        }))
    })
}

/// Awaits the future of a handler. If it does not finish at once, what is kept beside it is to be
/// detached from the message: slices of it would keep all of it alive, which may be much, and is
/// counted nowhere.
async fn waiting<F: Future>(mut future: Pin<&mut F>, detach: impl FnOnce()) -> F::Output {
    let mut detach = Some(detach);
    poll_fn(|cx| {
        let output = future.as_mut().poll(cx);
        if output.is_pending()
            && let Some(detach) = detach.take()
        {
            detach();
        }
        output
    })
    .await
}

/// A handler for something that nobody waits for an answer to.
pub(crate) fn erase<C, H, T>(handler: H) -> Erased<C>
where
    C: Context,
    H: Handler<C, T, Output: IntoResult>,
{
    Arc::new(move |context: &C| {
        let (socket, mut event) = (context.socket().clone(), context.event_name().cloned());
        match guarded(|| handler.call(context)) {
            Ok(Ok(future)) => Some(Box::pin(async move {
                let mut future = pin!(future);
                let detach = || event = event.as_deref().map(Str::from);
                let run = async { waiting(future.as_mut(), detach).await.into_result() };
                let error = match AssertUnwindSafe(run).catch_unwind().await {
                    Ok(Ok(())) => return,
                    Ok(Err(error)) => HandlerError::Failed(error),
                    Err(panic) => panic_error(&*panic),
                };
                socket.report(event.as_deref(), error);
            })),
            Ok(Err(rejection)) => {
                socket.report(event.as_deref(), HandlerError::Extract(rejection));
                None
            }
            Err(panic) => {
                socket.report(event.as_deref(), panic_error(&*panic));
                None
            }
        }
    })
}

/// A middleware refuses also when it cannot be called or panics. What the client is told then says
/// no more than it must.
pub(crate) fn erase_middleware<H, T, E>(middleware: H) -> Middleware
where
    H: Handler<Connect, T, Output = Result<(), E>>,
    E: Into<ConnectError>,
{
    Arc::new(move |context| {
        let socket = context.socket().clone();
        match guarded(|| middleware.call(context)) {
            Ok(Ok(future)) => Ok(Box::pin(async move {
                let run = async { future.await.map_err(Into::into) };
                let outcome = AssertUnwindSafe(run).catch_unwind().await;
                outcome.unwrap_or_else(|panic| Err(refuse_after_panic(&socket, &*panic)))
            })),
            Ok(Err(rejection)) => {
                let refusal = ConnectError::new(text_of(&*rejection));
                socket.report(None, HandlerError::Extract(rejection));
                Err(refusal)
            }
            Err(panic) => Err(refuse_after_panic(&socket, &*panic)),
        }
    })
}

/// What a socket has to pass to be connected; nothing if there is no middleware.
pub(crate) fn admission(handlers: &Arc<Handlers>, socket: &Socket) -> Option<Admission> {
    if handlers.middlewares.is_empty() {
        return None;
    }
    let handlers = handlers.clone();
    let context = Connect {
        socket: socket.clone(),
    };
    Some(Box::pin(async move {
        for middleware in &handlers.middlewares {
            middleware(&context)?.await?;
        }
        Ok(())
    }))
}

fn refuse_after_panic(socket: &Socket, panic: &(dyn Any + Send)) -> ConnectError {
    socket.report(None, panic_error(panic));
    ConnectError::new(INTERNAL_ERROR)
}

/// Runs application code that must not take its connection down with it.
pub(crate) fn guarded<R>(f: impl FnOnce() -> R) -> Result<R, Box<dyn Any + Send>> {
    catch_unwind(AssertUnwindSafe(f))
}

/// What an error says. How it says so is the application's, and may panic.
pub(crate) fn text_of(error: &(dyn std::error::Error + Send + Sync)) -> String {
    guarded(|| error.to_string()).unwrap_or_else(|_| INTERNAL_ERROR.into())
}

pub(crate) fn panic_error(panic: &(dyn Any + Send)) -> HandlerError {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    HandlerError::Panicked(text.map(Into::into))
}

/// What a client is told of a panic.
pub(crate) const INTERNAL_ERROR: &str = "internal error";
