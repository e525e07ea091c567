//! What a stream between servers needs around it.

#[path = "../../engineio/src/relay/stream.rs"]
mod stream;

use std::sync::{Arc, Mutex};

use engineio_proto::relay::RelayEvent;

pub(crate) use stream::RelayStream;
use stream::{Broken, Half};

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key;

/// Remembers what was sent. A lock that loom does not see: nothing happens meanwhile.
#[derive(Default)]
pub(crate) struct Relay(Mutex<Vec<(u32, RelayEvent)>>);

impl Relay {
    pub(crate) fn sent(&self) -> Vec<(u32, RelayEvent)> {
        self.0.lock().unwrap().clone()
    }

    fn send_about(&self, _: &Key, order: u32, event: RelayEvent) -> bool {
        self.0.lock().unwrap().push((order, event));
        true
    }

    fn remove(&self, _: &Key) {}
}

/// Where the other end's messages come in.
#[derive(Clone)]
pub(crate) struct Line(Arc<Half>);

impl Line {
    pub(crate) fn receive(&self, order: u32, event: RelayEvent) {
        let taken: Result<(), Broken> = self.0.receive(0, order, event);
        taken.unwrap();
    }

    pub(crate) fn fail(&self) {
        self.0.fail();
    }
}

/// A stream that has been opened here.
pub(crate) fn stream() -> (RelayStream, Line, Arc<Relay>) {
    let (relay, half) = (Arc::<Relay>::default(), Arc::new(Half::opened_here()));
    let stream = RelayStream::new(relay.clone(), Key, half.clone());
    (stream, Line(half), relay)
}
