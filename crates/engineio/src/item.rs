//! What goes through a session's mailbox.

use bytes::Bytes;
use engineio_proto::{CloseReason, Encoded, Violation, payload};
use tokio::sync::oneshot;

use crate::transport::websocket::WebSocket;

/// What can happen to a session from outside its driver. 16 bytes, so that a queue of messages is
/// small.
#[derive(Debug)]
pub(crate) enum Item {
    /// A message for the peer.
    Send(Encoded),
    /// The application closes the session.
    Close(CloseReason),
    /// The session is to close at once, without what is queued.
    Abort(CloseReason),
    /// A GET has come.
    Poll(oneshot::Sender<PollReply>),
    /// A POST could not be read at once. The sender is dropped when the session ends.
    PostOpen(oneshot::Sender<()>),
    /// A POST came while another was being read.
    PostOverlap,
    /// The client gave up a POST half way.
    PostAborted,
    /// A POST has been read.
    Post(Box<Post>),
    /// A WebSocket wants to take over.
    Socket(Box<WebSocket>),
}

/// The answer to a GET. A dropped sender means that the session is gone.
#[derive(Debug)]
pub(crate) enum PollReply {
    Body {
        body: payload::Body,
        /// Something in it is worth the work.
        compress: bool,
    },
    Refused(Violation),
}

/// A POST that has been read.
#[derive(Debug)]
pub(crate) struct Post {
    pub(crate) body: Bytes,
    pub(crate) framing: payload::Framing,
    pub(crate) reply: oneshot::Sender<Result<(), Violation>>,
}
