//! Clients that say that they have been at another server: what they may ask of the store.

use std::{
    future::{pending, ready},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use engineio::CloseReason;
use socketio_adapter::{
    Adapter, BoxError, BoxFuture, Channel, Event, Inbox, Message, NodeId, Options, Peers, Place,
    Response, SessionStore, StoredSession,
};

use super::{
    peer::{Peer, server_with},
    recovery::Session,
};
use crate::{ConnectionStateRecovery, SocketIo};

/// A cluster of one, with a store that knows no session.
#[derive(Clone, Default)]
struct Store {
    questions: Arc<AtomicUsize>,
    /// It does not answer.
    hangs: bool,
}

impl Adapter for Store {
    fn open(&self, _: &str, _: Inbox) -> Arc<dyn Channel> {
        Arc::new(self.clone())
    }
}

impl Channel for Store {
    fn publish(&self, _: Message) {}

    fn respond(&self, _: &NodeId, _: Response) {}

    fn peers(&self) -> BoxFuture<'static, Result<Peers, BoxError>> {
        Box::pin(ready(Ok(Peers::Count(0))))
    }

    fn store(&self) -> Option<Arc<dyn SessionStore>> {
        Some(Arc::new(self.clone()))
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(ready(()))
    }
}

impl SessionStore for Store {
    fn position(&self) -> Option<Place> {
        Some(Place::default())
    }

    fn save(&self, _: &StoredSession, _: Duration) {}

    fn forget(&self, _: &str) {}

    fn take(
        &self,
        _: &str,
    ) -> BoxFuture<'static, Result<Option<(StoredSession, Duration)>, BoxError>> {
        self.questions.fetch_add(1, Ordering::Relaxed);
        if self.hangs {
            Box::pin(pending())
        } else {
            Box::pin(ready(Ok(None)))
        }
    }

    fn events_after<'a>(
        &'a self,
        _: Place,
        _: &'a mut (dyn FnMut(Event, Options) + Send),
    ) -> BoxFuture<'a, Result<Option<Place>, BoxError>> {
        Box::pin(ready(Ok(None)))
    }
}

fn server(store: &Store) -> SocketIo {
    let (io, _) = server_with(|builder| {
        builder
            .adapter(store.clone())
            .connection_state_recovery(ConnectionStateRecovery::new())
    });
    io
}

/// So many clients that say something that is not so.
async fn strangers(io: &SocketIo, count: usize) -> Vec<Peer> {
    let mut peers = Vec::with_capacity(count);
    for _ in 0..count {
        let mut peer = Peer::open(io).await;
        let pid = uuid::Uuid::new_v4();
        peer.send(&format!(r#"0{{"pid":"{pid}"}}"#));
        peers.push(peer);
    }
    peers
}

/// How many of them have been let in since the last look.
async fn let_in(peers: &mut [Peer]) -> usize {
    tokio::time::sleep(Duration::from_millis(1)).await;
    let mut count = 0;
    for peer in peers {
        peer.turn();
        count += usize::from(peer.received().iter().any(|it| it.starts_with("0{")));
        // There is only so much that a task may do at once.
        tokio::task::yield_now().await;
    }
    count
}

#[tokio::test(start_paused = true)]
async fn so_many_unknown_sessions_are_asked_for_again() {
    let store = Store::default();
    let io = server(&store);
    let mut peers = strangers(&io, 300).await;
    assert_eq!(let_in(&mut peers).await, 300 - 256, "these need not wait");
    assert_eq!(store.questions.load(Ordering::Relaxed), 300);
    tokio::time::sleep(Duration::from_millis(310)).await;
    assert_eq!(let_in(&mut peers).await, 256);
    assert_eq!(store.questions.load(Ordering::Relaxed), 300 + 4 * 256);
    // And then the next ones.
    let mut peers = strangers(&io, 256).await;
    assert_eq!(let_in(&mut peers).await, 0);
}

#[tokio::test(start_paused = true)]
async fn nobody_asks_for_a_client_that_has_gone() {
    let store = Store::default();
    let mut peers = strangers(&server(&store), 1).await;
    assert_eq!(let_in(&mut peers).await, 0);
    peers[0].close(CloseReason::TransportClose);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(store.questions.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn beyond_so_many_questions_the_store_is_away() {
    let store = Store {
        hangs: true,
        ..Store::default()
    };
    let io = server(&store);
    let mut peer = Peer::open(&io).await;
    peer.send("0");
    let mut session = Session::of(&peer.received());
    io.emit("e", &1).unwrap();
    session.read(&peer.received());
    peer.close(CloseReason::TransportClose);
    io.emit("missed", &2).unwrap();

    let mut peers = strangers(&io, 10_000).await;
    assert_eq!(let_in(&mut peers).await, 0);
    assert_eq!(let_in(&mut strangers(&io, 1).await).await, 1);
    assert_eq!(store.questions.load(Ordering::Relaxed), 10_000);
    // Who was here before is what it was.
    let mut peer = Peer::open(&io).await;
    peer.send(&session.connect());
    tokio::time::sleep(Duration::from_millis(1)).await;
    peer.turn();
    let packets = peer.received();
    assert_eq!(Session::of(&packets).pid, session.pid);
    assert_eq!(session.read(&packets), [r#"["missed",2]"#]);
    // A store that never answers is asked anew once its answers were of no use.
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(let_in(&mut strangers(&io, 1).await).await, 0);
    assert_eq!(store.questions.load(Ordering::Relaxed), 10_001);
}
