//! Handlers that did not finish when they were first polled.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};

use crate::{
    ConnectError, Socket,
    handler::{
        Admission, Disconnect, Event, Farewell, Listeners, Passage, Task, guarded, panic_error,
    },
};

/// The handlers of one connection that did not finish when they were first polled.
///
/// The first poll happens in place, with the waker of the connection's driver; only what waits
/// then gets a place in the set, and an empty set holds no memory.
pub(crate) struct InFlight {
    parked: Option<Box<FuturesUnordered<Work>>>,
    events: usize,
    max_events: usize,
}

/// Something that may wait.
pub(crate) enum Work {
    /// A handler of an event or of a disconnection.
    Event(Task),
    /// Handlers for that a socket is disconnecting.
    Disconnecting(Farewell),
    /// An event in packet middlewares.
    Pass(Passage, Socket),
    /// A connection handler.
    Connect(Task, Socket),
    /// The middlewares that a client has to pass.
    Admit(Admission, Socket),
}

/// What has finished.
pub(crate) enum Done {
    Event,
    Disconnecting(Disconnect, Option<Arc<Listeners>>),
    Pass(Socket, Option<Event>),
    Connect(Socket),
    Admit(Socket, Result<(), ConnectError>),
}

impl InFlight {
    /// `max_events` bounds the work for events; at least one is let in.
    pub(crate) fn new(max_events: usize) -> Self {
        Self {
            parked: None,
            events: 0,
            max_events: max_events.max(1),
        }
    }

    /// Whether as many handlers of events wait as may.
    pub(crate) fn is_full(&self) -> bool {
        self.events >= self.max_events
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.parked.is_none()
    }

    /// Polls once. What has to wait is kept.
    pub(crate) fn start(&mut self, mut work: Work, cx: &mut Context<'_>) -> Option<Done> {
        match Pin::new(&mut work).poll(cx) {
            Poll::Ready(done) => Some(done),
            Poll::Pending => {
                self.park(work);
                None
            }
        }
    }

    /// Keeps what has been polled and has to wait.
    pub(crate) fn park(&mut self, work: Work) {
        self.events += usize::from(work.is_bounded());
        self.parked.get_or_insert_default().push(work);
    }

    /// Drops the middlewares that a client has to pass. What else there is gets a new place, and
    /// wakes nobody before [`poll_finished`](Self::poll_finished) has been called.
    pub(crate) fn give_up_admissions(&mut self) {
        let is_admission = |work: &Work| matches!(work, Work::Admit(..));
        let parked = self.parked.take_if(|it| it.iter().any(is_admission));
        for work in parked.into_iter().flat_map(|it| *it) {
            match work {
                Work::Admit(admission, socket) => {
                    if let Err(panic) = guarded(|| drop(admission)) {
                        socket.report(None, panic_error(&*panic));
                    }
                }
                other => self.parked.get_or_insert_default().push(other),
            }
        }
    }

    /// The next one that has finished, if there is one now.
    pub(crate) fn poll_finished(&mut self, cx: &mut Context<'_>) -> Option<Done> {
        let parked = self.parked.as_mut()?;
        match parked.poll_next_unpin(cx) {
            Poll::Ready(Some(done)) => {
                self.events -= usize::from(done.was_bounded());
                if parked.is_empty() {
                    self.parked = None;
                }
                Some(done)
            }
            Poll::Ready(None) | Poll::Pending => None,
        }
    }
}

impl Work {
    fn is_bounded(&self) -> bool {
        !matches!(self, Work::Connect(..) | Work::Admit(..))
    }
}

impl Done {
    fn was_bounded(&self) -> bool {
        !matches!(self, Done::Connect(_) | Done::Admit(..))
    }
}

impl Future for Work {
    type Output = Done;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Done> {
        Poll::Ready(match self.get_mut() {
            Work::Event(task) => {
                ready!(task.as_mut().poll(cx));
                Done::Event
            }
            Work::Disconnecting(farewell) => {
                let (context, own) = ready!(farewell.as_mut().poll(cx));
                Done::Disconnecting(context, own)
            }
            Work::Pass(passage, socket) => {
                let event = ready!(passage.as_mut().poll(cx));
                Done::Pass(socket.clone(), event)
            }
            Work::Connect(task, socket) => {
                ready!(task.as_mut().poll(cx));
                Done::Connect(socket.clone())
            }
            Work::Admit(admission, socket) => {
                let outcome = ready!(admission.as_mut().poll(cx));
                Done::Admit(socket.clone(), outcome)
            }
        })
    }
}

impl fmt::Debug for InFlight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InFlight")
            .field("parked", &self.parked.as_ref().map_or(0, |it| it.len()))
            .field("events", &self.events)
            .finish_non_exhaustive()
    }
}
