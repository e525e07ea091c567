//! Events between servers.

use std::{
    collections::HashMap,
    error::Error,
    fmt,
    future::Future,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::FutureExt as _;
use serde::de::DeserializeOwned;
use socketio_adapter::{Event, Message, Reply};
use socketio_proto::{Args, ArgsError, EncodeError, ToArgs};

use crate::{
    EmitError, ErrorReport, Namespace, Str,
    error::{BoxError, HandlerError},
    handler::{IntoResult, guarded, panic_error},
};

/// An event that another server has sent; see [`Namespace::on_server_side_emit`].
#[derive(Debug)]
pub struct ServerSideEvent {
    namespace: Namespace,
    event: Event,
    /// Shared by the handlers of the event: the first one answers.
    reply: Arc<Mutex<Option<Reply>>>,
}

impl ServerSideEvent {
    /// The event's name.
    pub fn name(&self) -> &str {
        &self.event.name
    }

    /// The namespace for which it was sent.
    pub fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    /// Its arguments.
    pub fn args(&self) -> &Args {
        &self.event.args
    }

    /// Its arguments as a type; see [`Args::deserialize`].
    ///
    /// # Errors
    ///
    /// If they have another shape.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, ArgsError> {
        self.event.args.deserialize()
    }

    /// Answers the server that sent the event. Does nothing if it wants no answer or has got one.
    ///
    /// # Errors
    ///
    /// If the answer cannot be JSON.
    pub fn answer<A: ToArgs + ?Sized>(&self, args: &A) -> Result<(), EncodeError> {
        let args = Args::new(args)?;
        let reply = self
            .reply
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(reply) = reply {
            reply.answer(args);
        }
        Ok(())
    }
}

/// What a namespace does with events of other servers.
#[derive(Clone, Default)]
pub(crate) struct ServerSide(HashMap<Box<str>, Vec<Handler>>);

type Handler = Arc<
    dyn Fn(ServerSideEvent) -> Pin<Box<dyn Future<Output = Result<(), BoxError>> + Send>>
        + Send
        + Sync,
>;

impl fmt::Debug for ServerSide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Namespace {
    /// Adds a handler for an event that other servers send with
    /// [`server_side_emit`](Self::server_side_emit). Each event is handled in a task of its own.
    ///
    /// ```
    /// use socketio::{ServerSideEvent, SocketIo};
    ///
    /// let io = SocketIo::new();
    /// io.on_server_side_emit("how many?", async |event: ServerSideEvent| {
    ///     let room: String = event.data()?;
    ///     let count = event.namespace().to(room).sockets().len();
    ///     event.answer(&count)?;
    ///     Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
    /// });
    /// ```
    pub fn on_server_side_emit<H, F>(&self, event: &str, handler: H) -> &Self
    where
        H: Fn(ServerSideEvent) -> F + Send + Sync + 'static,
        F: Future<Output: IntoResult> + Send + 'static,
    {
        let handler: Handler = Arc::new(move |event| {
            let handled = handler(event);
            Box::pin(async move { handled.await.into_result() })
        });
        self.server_side()
            .update(|table| table.0.entry(event.into()).or_default().push(handler));
        self
    }

    /// Sends an event to all other servers of the cluster; without an
    /// [adapter](crate::Builder::adapter) there are none.
    ///
    /// # Errors
    ///
    /// If the name is reserved (`connect`, `connection`, `new_namespace`) or the arguments cannot be
    /// JSON.
    #[doc(alias = "serverSideEmit")]
    pub fn server_side_emit<A: ToArgs + ?Sized>(
        &self,
        event: &str,
        args: &A,
    ) -> Result<(), EmitError> {
        let event = server_side_event(event, args)?;
        if let Some(cluster) = self.cluster() {
            cluster.publish(Message::ServerSideEmit {
                event,
                request: None,
            });
        }
        Ok(())
    }

    /// Sends an event to all other servers of the cluster and gives what each of them answers, read
    /// as a `T`.
    ///
    /// # Errors
    ///
    /// If the event cannot be sent, if an answer is no `T`, or if not all servers answer within
    /// [`Builder::request_timeout`](crate::Builder::request_timeout); the error holds the answers
    /// that came.
    #[doc(alias = "serverSideEmitWithAck")]
    pub async fn server_side_emit_with_ack<T: DeserializeOwned>(
        &self,
        event: &str,
        args: &(impl ToArgs + ?Sized),
    ) -> Result<Vec<T>, ServerSideError<T>> {
        let event = server_side_event(event, args).map_err(ServerSideError::Emit)?;
        let Some(cluster) = self.cluster() else {
            return Ok(Vec::new());
        };
        let read = |answers: Vec<Args>| -> Result<Vec<T>, ArgsError> {
            answers.iter().map(Args::deserialize).collect()
        };
        match cluster.server_side_emit_with_ack(event, None).await {
            Ok(answers) => read(answers).map_err(ServerSideError::Args),
            Err(error) => Err(ServerSideError::Incomplete {
                responses: read(error.responses).map_err(ServerSideError::Args)?,
                missing: error.missing,
            }),
        }
    }

    /// Another server has sent an event.
    pub(crate) fn take_server_side(&self, event: Event, reply: Option<Reply>) {
        let handlers = self.server_side().current();
        let Some(handlers) = handlers.0.get(&*event.name) else {
            return;
        };
        let reply = Arc::new(Mutex::new(reply));
        for handler in handlers {
            let (namespace, name) = (self.clone(), event.name.clone());
            let event = ServerSideEvent {
                namespace: self.clone(),
                event: event.clone(),
                reply: reply.clone(),
            };
            let handled = guarded(|| handler(event));
            tokio::spawn(async move {
                let outcome = match handled {
                    Ok(handled) => AssertUnwindSafe(handled).catch_unwind().await,
                    Err(panic) => Err(panic),
                };
                let error = match outcome {
                    Ok(Ok(())) => return,
                    Ok(Err(error)) => HandlerError::Failed(error),
                    Err(panic) => panic_error(&*panic),
                };
                report(&namespace, &name, &error);
            });
        }
    }
}

fn report(namespace: &Namespace, event: &Str, error: &HandlerError) {
    namespace.report(&ErrorReport {
        socket: None,
        event: Some(event),
        error,
    });
}

fn server_side_event<A: ToArgs + ?Sized>(name: &str, args: &A) -> Result<Event, EmitError> {
    if RESERVED.contains(&name) {
        return Err(EmitError::ReservedEvent);
    }
    Ok(Event {
        name: name.into(),
        args: Args::new(args)?,
    })
}

/// What means something else to the servers of the official implementation.
const RESERVED: [&str; 3] = ["connect", "connection", "new_namespace"];

/// Why there are not the answers of all servers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerSideError<T> {
    /// The event was not sent.
    Emit(EmitError),
    /// An answer has another shape than was asked for.
    Args(ArgsError),
    /// Not all servers have answered in time.
    Incomplete {
        /// What the others answered.
        responses: Vec<T>,
        /// How many have not, if that is known.
        missing: Option<usize>,
    },
}

impl<T> fmt::Display for ServerSideError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServerSideError::Emit(error) => error.fmt(f),
            ServerSideError::Args(error) => error.fmt(f),
            ServerSideError::Incomplete {
                missing: Some(missing),
                ..
            } => write!(f, "{missing} other servers did not answer in time"),
            ServerSideError::Incomplete { missing: None, .. } => {
                f.write_str("the other servers could not be counted")
            }
        }
    }
}

impl<T: fmt::Debug> Error for ServerSideError<T> {}
