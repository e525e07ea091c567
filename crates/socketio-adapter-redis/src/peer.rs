//! One namespace of this server, among servers that speak as the official `ClusterAdapter` does.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use bytes::Bytes;
use socketio_adapter::{Inbox, NodeId};
use uuid::Uuid;

use crate::{
    Redis,
    wire::{
        WireError,
        cluster::{self, Envelope, Incoming},
    },
};

pub(crate) struct Peer {
    pub(crate) redis: Redis,
    pub(crate) uid: NodeId,
    pub(crate) namespace: Arc<str>,
    inbox: Inbox,
    closed: AtomicBool,
    /// How what this server itself has written ends, in JSON and in MessagePack.
    own: Vec<Vec<u8>>,
}

impl Peer {
    pub(crate) fn new(redis: Redis, namespace: &str, inbox: Inbox) -> Self {
        let uid = Uuid::new_v4().as_u64_pair().1;
        let uid: NodeId = format!("{uid:016x}").into();
        Self {
            redis,
            own: cluster::ends_of_own(&uid, namespace),
            uid,
            namespace: namespace.into(),
            inbox,
            closed: AtomicBool::new(false),
        }
    }

    pub(crate) fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    /// Returns whether it was open.
    pub(crate) fn close(&self) -> bool {
        !self.closed.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// A whole message has come on a channel.
    pub(crate) fn receive(&self, channel: &[u8], payload: &Bytes) {
        if !self.is_closed() && !self.own.iter().any(|own| payload.ends_with(own)) {
            self.take(channel, cluster::decode(payload));
        }
    }

    /// Something has come, on a channel or in a stream.
    pub(crate) fn take(&self, from: &[u8], envelope: Result<Option<Envelope>, WireError>) {
        let Envelope { uid, nsp, content } = match envelope {
            Ok(Some(envelope)) => envelope,
            Ok(None) => return,
            Err(error) => return self.redis.refuse(from, &error),
        };
        if self.is_closed() || *uid == *self.uid || *nsp != *self.namespace {
            return;
        }
        let uid = NodeId::from(uid);
        match content {
            Incoming::Message(message) => self.inbox.message(&uid, message),
            Incoming::Response(response) => self.inbox.response(&uid, response),
        }
    }
}
