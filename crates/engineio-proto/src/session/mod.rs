//! The state machine of one session.

use crate::{Encoded, Packet};

/// Something that is to leave.
#[derive(Clone, Debug)]
pub enum Transmit {
    /// A control packet.
    Control(Packet),
    /// A message.
    Message(Encoded),
}

/// The session.
#[derive(Debug)]
pub struct Session(());
