//! Namespaces that a client has asked for and that are not there yet, or what it had in them.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};

use engineio::Version;

use crate::{ConnectError, Handshake, SocketIo, namespaces::Seat, recovery::Recoverable};

/// The searches of one connection that wait for something: for a predicate of the application, or
/// for another task that has just made the namespace. To drop one is to give it up. An empty set
/// holds no memory.
#[derive(Default)]
pub(super) struct Searches(Option<Box<FuturesUnordered<Search>>>);

/// A look for the namespace that a client has asked for.
pub(super) struct Search {
    name: Box<str>,
    handshake: Handshake,
    seat: Pin<Box<dyn Future<Output = Result<Place, ConnectError>> + Send>>,
}

/// A seat, and what the client had before at another server.
type Place = (Seat, Option<Recoverable>);

/// What came of a search.
pub(super) struct Found {
    pub(super) name: Box<str>,
    pub(super) handshake: Handshake,
    pub(super) seat: Result<Place, ConnectError>,
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
    pub(super) fn new(io: SocketIo, name: &str, handshake: Handshake, version: Version) -> Self {
        let (asked, said) = (name.to_owned(), handshake.clone());
        Self {
            name: name.into(),
            handshake,
            seat: Box::pin(async move {
                let seat = io.find_seat(&asked, &said).await?;
                if needs_restoring(version, &seat, &said) {
                    Ok(restore(seat, &said).await)
                } else {
                    Ok((seat, None))
                }
            }),
        }
    }

    /// The namespace is there, but not what the client had in it.
    pub(super) fn restoring(seat: Seat, handshake: Handshake) -> Self {
        let said = handshake.clone();
        Self {
            name: seat.namespace().name().into(),
            handshake,
            seat: Box::pin(async move { Ok(restore(seat, &said).await) }),
        }
    }
}

/// Whether the client says that it has been here before, or at another server.
pub(super) fn needs_restoring(version: Version, seat: &Seat, handshake: &Handshake) -> bool {
    let recovery = seat.namespace().recovery();
    version == Version::V4
        && recovery.is_some_and(|it| it.has_store() && it.is_named(handshake.auth()))
}

async fn restore(seat: Seat, handshake: &Handshake) -> Place {
    let namespace = seat.namespace().clone();
    let Some(recovery) = namespace.recovery().cloned() else {
        return (seat, None);
    };
    let restored = recovery.restore(namespace, handshake.auth().into());
    (seat, restored.await)
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
