//! The outside of a session.

use engineio_proto::{CloseReason, Encoded, Sid, Version};

/// A session as everybody but its driver sees it. Cloning is one reference count; any thread may
/// send at any time.
#[derive(Clone, Debug)]
pub struct SessionHandle(());

impl SessionHandle {
    /// The session id. It authenticates the client: do not show it to others.
    pub fn sid(&self) -> &Sid {
        todo!()
    }

    /// The protocol version.
    pub fn version(&self) -> Version {
        todo!()
    }

    /// Queues a message. After the session closed it does nothing.
    pub fn send(&self, message: impl Into<Encoded>) {
        let _ = message.into();
        todo!()
    }

    /// Queues a message if the transport could take it right now; returns whether it did.
    pub fn send_volatile(&self, message: impl Into<Encoded>) -> bool {
        let _ = message.into();
        todo!()
    }

    /// Closes the session: what is queued still leaves, then the client is told.
    pub fn close(&self, reason: CloseReason) {
        let _ = reason;
        todo!()
    }

    /// Whether the transport could take a message right now.
    pub fn is_writable(&self) -> bool {
        todo!()
    }

    /// Whether the session has closed or is closing.
    pub fn is_closed(&self) -> bool {
        todo!()
    }

    /// A handle without a driver: what is sent collects in it. For tests of upper layers.
    pub fn detached(sid: Sid, version: Version) -> Self {
        let _ = (sid, version);
        todo!()
    }

    /// Takes the messages that were sent and not yet driven out. For tests of upper layers.
    pub fn take_sent(&self) -> Vec<Encoded> {
        todo!()
    }
}
