//! What goes through a mailbox, as far as models need it.

use engineio_proto::{CloseReason, Encoded};

#[derive(Debug)]
pub(crate) enum Item {
    Send(Encoded),
    Close(CloseReason),
    Abort(CloseReason),
}
