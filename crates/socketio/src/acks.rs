//! The acknowledgements of many.

use std::{
    error::Error,
    fmt,
    future::{Future, IntoFuture, poll_fn},
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use futures_util::Stream;
use serde::de::DeserializeOwned;
use socketio_adapter::{Cluster, Event, Options};
use tokio::{
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
    time::Sleep,
};

use crate::{
    AckError, EmitError,
    delivery::{Asked, ClientAck},
};

/// What the clients answer to one event; see
/// [`BroadcastOperator::emit_with_ack`](crate::BroadcastOperator::emit_with_ack).
///
/// Awaited, it gives all answers, in the order in which they came. As a [`Stream`], or with
/// [`next`](Self::next), it gives one after the other as they come, or why there is none from one
/// of the clients:
///
/// - [`AckError::Disconnected`]: it was disconnected before it answered,
/// - [`AckError::Args`]: what it answered is no `T`,
/// - [`AckError::TooManyPending`]: it owes too many answers already,
/// - [`AckError::NotSent`]: too much is queued for it,
/// - [`AckError::Timeout`], once and last: the others have not answered in time.
///
/// Dropped, it waits for nobody any more, and nothing of the question is left anywhere.
#[must_use = "without the answers, `emit` does the same"]
pub struct BroadcastAcks<T> {
    state: State,
    answer: PhantomData<fn() -> T>,
}

enum State {
    Open(Acks),
    Failed(EmitError),
    Done,
}

/// A question that has been sent.
#[derive(Debug)]
pub(crate) struct Acks {
    answers: UnboundedReceiver<ClientAck>,
    /// Those of this server who were asked.
    _asked: Asked,
    deadline: Option<Pin<Box<Sleep>>>,
    /// Other servers have not answered in time.
    is_late: bool,
}

impl Acks {
    pub(crate) fn new(
        answers: UnboundedReceiver<ClientAck>,
        asked: Asked,
        timeout: Option<Duration>,
    ) -> Self {
        Self {
            answers,
            _asked: asked,
            deadline: timeout.map(|timeout| Box::pin(tokio::time::sleep(timeout))),
            is_late: false,
        }
    }
}

impl<T> BroadcastAcks<T> {
    pub(crate) fn new(sent: Result<Acks, EmitError>) -> Self {
        Self {
            state: match sent {
                Ok(acks) => State::Open(acks),
                Err(error) => State::Failed(error),
            },
            answer: PhantomData,
        }
    }
}

impl<T: DeserializeOwned> BroadcastAcks<T> {
    /// The next answer; `None` when all have come or the time is up.
    pub async fn next(&mut self) -> Option<Result<T, AckError>> {
        poll_fn(|cx| self.poll_answer(cx)).await
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, AckError>>> {
        let State::Open(acks) = &mut self.state else {
            return Poll::Ready(match std::mem::replace(&mut self.state, State::Done) {
                State::Failed(error) => Some(Err(error.into())),
                _ => None,
            });
        };
        // The answers first: what has come in time counts.
        let answer = loop {
            match acks.answers.poll_recv(cx) {
                // The clients of this server may have more time.
                Poll::Ready(Some(Err(AckError::Timeout))) => acks.is_late = true,
                Poll::Ready(Some(answer)) => break answer,
                Poll::Ready(None) if acks.is_late => break Err(AckError::Timeout),
                Poll::Ready(None) => {
                    self.state = State::Done;
                    return Poll::Ready(None);
                }
                Poll::Pending => {
                    let Some(deadline) = &mut acks.deadline else {
                        return Poll::Pending;
                    };
                    ready!(deadline.as_mut().poll(cx));
                    break Err(AckError::Timeout);
                }
            }
        };
        if answer == Err(AckError::Timeout) {
            self.state = State::Done;
        }
        Poll::Ready(Some(
            answer.and_then(|args| args.deserialize().map_err(AckError::Args)),
        ))
    }
}

impl<T: DeserializeOwned> Stream for BroadcastAcks<T> {
    type Item = Result<T, AckError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_answer(cx)
    }
}

impl<T: DeserializeOwned + Send + 'static> IntoFuture for BroadcastAcks<T> {
    type Output = Result<Vec<T>, BroadcastAckError<T>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(mut self) -> Self::IntoFuture {
        Box::pin(async move {
            let (mut responses, mut errors) = (Vec::new(), Vec::new());
            while let Some(answer) = self.next().await {
                match answer {
                    Ok(response) => responses.push(response),
                    Err(error) => errors.push(error),
                }
            }
            if errors.is_empty() {
                return Ok(responses);
            }
            Err(BroadcastAckError { responses, errors })
        })
    }
}

impl<T> fmt::Debug for BroadcastAcks<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BroadcastAcks").finish_non_exhaustive()
    }
}

/// Not every client has answered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BroadcastAckError<T> {
    /// The answers that came.
    pub responses: Vec<T>,
    /// Why there are not more; see [`BroadcastAcks`].
    pub errors: Vec<AckError>,
}

impl<T> fmt::Display for BroadcastAckError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.errors {
            [error] => error.fmt(f),
            [error, more @ ..] => write!(f, "{error}, and {} other errors", more.len()),
            [] => f.write_str("not every client has answered"),
        }
    }
}

impl<T: fmt::Debug> Error for BroadcastAckError<T> {}

/// Asks the clients of the other servers, and puts what they answer into the channel.
pub(crate) fn pump(
    cluster: &Cluster,
    event: Event,
    options: Options,
    answers: UnboundedSender<ClientAck>,
) {
    let (sender, mut remote) = mpsc::unbounded_channel();
    let ask = cluster.broadcast_with_ack(event, options, sender);
    tokio::spawn(async move {
        let forward = async {
            while let Some(args) = remote.recv().await {
                let _ = answers.send(Ok(args));
            }
        };
        let (result, ()) = tokio::select! {
            both = async { tokio::join!(ask, forward) } => both,
            () = answers.closed() => return,
        };
        if result.is_err() {
            let _ = answers.send(Err(AckError::Timeout));
        }
    });
}
