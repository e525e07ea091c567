//! Where sessions and events are kept that another node may need: for clients that come back
//! somewhere else.

use std::{fmt, str::FromStr, time::Duration};

use serde_json::value::RawValue;

use crate::{BoxError, BoxFuture, Event, Options, Room};

/// A place in the one order that an adapter gives to the events of all nodes of a namespace: the id
/// of an entry in a Redis stream, for one. On the wire `<time>-<number>`.
///
/// ```
/// use socketio_adapter::Place;
///
/// let place: Place = "1526919030474-55".parse().unwrap();
/// assert!(place < Place { time: 1526919030475, number: 0 });
/// assert_eq!(place.to_string(), "1526919030474-55");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Milliseconds since 1970, by the clock of whoever gives the places.
    pub time: u64,
    /// Counts what has the same time.
    pub number: u64,
}

/// Text that is no [`Place`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidPlace;

/// Keeps what a client needs that comes back to another node.
///
/// The node that has a client keeps its session when the client is gone for the time being, and the
/// node to which it comes back takes it. What the client has missed meanwhile is in the order that
/// the [places](Options::place) of events tell.
///
/// What is no future is called under locks of the server, as [`Channel::publish`](crate::Channel) is.
pub trait SessionStore: Send + Sync {
    /// The last place whose event has come to this node, as far as that is known. What is in this
    /// place or before it has been given to the inbox, unless it is of this node.
    fn position(&self) -> Option<Place>;

    /// Keeps a session for so long. Does not wait, and may fail in silence: the client begins anew
    /// then.
    fn save(&self, session: &StoredSession, keep: Duration);

    /// A session is not needed any more, and nobody must get it. Does not wait, and may fail in
    /// silence.
    fn forget(&self, pid: &str);

    /// Takes a session, and how long it would have been kept: nobody else gets it. What the node has
    /// published that saved it is there by then.
    fn take(
        &self,
        pid: &str,
    ) -> BoxFuture<'static, Result<Option<(StoredSession, Duration)>, BoxError>>;

    /// Shows all events behind a place, those of this node too, in their order, but for those that
    /// were for servers, asked for acknowledgements or were volatile. Gives the last place that it
    /// has looked at, or `None` if something may not be there any more. What other nodes have
    /// published up to it has been given to the inbox when this is done.
    fn events_after<'a>(
        &'a self,
        place: Place,
        show: &'a mut (dyn FnMut(Event, Options) + Send),
    ) -> BoxFuture<'a, Result<Option<Place>, BoxError>>;
}

/// A client that is gone for the time being.
#[derive(Clone, Debug)]
pub struct StoredSession {
    /// The private id that proves that a client is this one.
    pub pid: Box<str>,
    /// Id of its socket.
    pub sid: Box<str>,
    /// The rooms that it was in, its own too.
    pub rooms: Vec<Room>,
    /// What was kept with the socket.
    pub data: Option<Box<RawValue>>,
    /// What only servers of this kind write: the name of the server in its offsets,
    pub server: Option<Box<str>>,
    /// and the offset for a client that says none of this server.
    pub since: Option<Box<str>>,
    /// and where what it was sent out of the store has ended, if it was.
    pub until: Option<Place>,
}

impl Place {
    /// The place behind this one.
    pub const fn next(self) -> Self {
        let Self { time, number } = self;
        match number.checked_add(1) {
            Some(number) => Self { time, number },
            None => Self {
                time: time.saturating_add(1),
                number: 0,
            },
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.time, self.number)
    }
}

impl FromStr for Place {
    type Err = InvalidPlace;

    fn from_str(text: &str) -> Result<Self, InvalidPlace> {
        let number = |text: &str| {
            let digits = text.bytes().all(|it| it.is_ascii_digit());
            let number = text.parse().ok().filter(|_| digits);
            number.ok_or(InvalidPlace)
        };
        let (time, count) = text.split_once('-').ok_or(InvalidPlace)?;
        Ok(Self {
            time: number(time)?,
            number: number(count)?,
        })
    }
}

impl fmt::Display for InvalidPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no place in an order")
    }
}

impl std::error::Error for InvalidPlace {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_two_numbers() {
        for text in [
            "",
            "1",
            "1-",
            "-1",
            "1-2-3",
            "+1-2",
            "1- 2",
            "18446744073709551616-0",
        ] {
            assert_eq!(text.parse::<Place>(), Err(InvalidPlace), "{text}");
        }
        let place = |text: &str| text.parse::<Place>().unwrap();
        assert!(place("9-9") < place("10-0") && place("10-0") < place("10-1"));
        assert_eq!(place("1-2").next(), place("1-3"));
        assert_eq!(place("1-18446744073709551615").next(), place("2-0"));
    }
}
