//! Namespaces that a client has asked for and that are not there yet.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};

use crate::{ConnectError, Handshake, SocketIo, namespaces::Seat};

/// The searches of one connection that wait for something: for a predicate of the application, or
/// for another task that has just made the namespace. To drop one is to give it up. An empty set
/// holds no memory.
#[derive(Default)]
pub(super) struct Searches(Option<Box<FuturesUnordered<Search>>>);

/// A look for the namespace that a client has asked for.
pub(super) struct Search {
    name: Box<str>,
    handshake: Handshake,
    seat: Pin<Box<dyn Future<Output = Result<Seat, ConnectError>> + Send>>,
}

/// What came of a search.
pub(super) struct Found {
    pub(super) name: Box<str>,
    pub(super) handshake: Handshake,
    pub(super) seat: Result<Seat, ConnectError>,
}

impl Searches {
    /// Polls once. What has to wait is kept.
    pub(super) fn start(&mut self, mut search: Search, cx: &mut Context<'_>) -> Option<Found> {
        match Pin::new(&mut search).poll(cx) {
            Poll::Ready(found) => Some(found),
            Poll::Pending => {
                self.0.get_or_insert_default().push(search);
                None
            }
        }
    }

    /// The next one that has come to an end, if there is one now.
    pub(super) fn poll_found(&mut self, cx: &mut Context<'_>) -> Option<Found> {
        let searches = self.0.as_mut()?;
        match searches.poll_next_unpin(cx) {
            Poll::Ready(found) => {
                if searches.is_empty() {
                    self.0 = None;
                }
                found
            }
            Poll::Pending => None,
        }
    }

    /// Whether this namespace is being looked for.
    pub(super) fn contains(&self, name: &str) -> bool {
        let searches = self.0.as_deref();
        searches.is_some_and(|it| it.iter().any(|search| *search.name == *name))
    }

    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |it| it.len())
    }

    pub(super) fn give_up(&mut self) {
        self.0 = None;
    }
}

impl Search {
    pub(super) fn new(io: SocketIo, name: &str, handshake: Handshake) -> Self {
        let (asked, said) = (name.to_owned(), handshake.clone());
        Self {
            name: name.into(),
            handshake,
            seat: Box::pin(async move { io.find_seat(&asked, &said).await }),
        }
    }
}

impl Future for Search {
    type Output = Found;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Found> {
        let seat = ready!(self.seat.as_mut().poll(cx));
        Poll::Ready(Found {
            name: std::mem::take(&mut self.name),
            handshake: self.handshake.clone(),
            seat,
        })
    }
}

impl fmt::Debug for Searches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Searches").field(&self.len()).finish()
    }
}
