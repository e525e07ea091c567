//! What servers of a cluster say to each other about a client that has reached the wrong one.
//!
//! A client without a server of its own sends each request to another one. A server that does not
//! have the session passes the request on to the one that has, over a byte stream, as if the client
//! had connected there. This module has the messages of which such streams are made, and what
//! carries them: a [`RelayBus`]. The `engineio` crate does the rest.
//!
//! A message is, in this order and with numbers in network byte order:
//!
//! | bytes | what |
//! |--:|---|
//! | 1 | 1, the version |
//! | 1 | the kind; 128 more if the sender has opened the stream |
//! | 4 | how often the sender has been [interrupted](RelayInbox::interrupted) |
//! | 1, then as many | the name of the sender |
//! | 8 | number of the stream, if the message is about one |
//! | 4 | number of the message, from 0 on, in the direction of the stream that it belongs to |
//! | rest | the data |

use std::{error::Error, fmt, sync::Arc};

use bytes::{BufMut, Bytes, BytesMut};

use crate::Str;

/// Carries messages between the servers of a cluster. Each server has a name, which is part of the
/// ids of its sessions.
///
/// From one server to another messages arrive in the order in which they were sent, at most once.
/// Some may be lost: the streams that they were for are then reset.
///
/// It is called under locks of the server: a bus may take a place in a queue, and must not call an inbox or
/// the server.
pub trait RelayBus: Send + Sync {
    /// From now on messages for `node` go to `inbox`.
    fn open(&self, node: &str, inbox: Arc<dyn RelayInbox>);

    /// There is no such node any more.
    fn close(&self, node: &str);

    /// Sends a message, without waiting and without calling an inbox. `false` if it is plain that it
    /// cannot arrive.
    fn send(&self, node: &str, message: Bytes) -> bool;
}

/// Where a server gets what others send.
pub trait RelayInbox: Send + Sync {
    /// Takes a message. Never blocks.
    ///
    /// # Errors
    ///
    /// If it makes no sense; it is ignored then.
    fn receive(&self, message: Bytes) -> Result<(), InvalidRelayMessage>;

    /// Messages of the past may be lost, in either direction.
    fn interrupted(&self);
}

/// A message from one server to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayMessage {
    /// Name of the sender.
    pub from: Str,
    /// How often the sender has been interrupted.
    pub epoch: u32,
    /// What it says.
    pub kind: RelayKind,
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RelayKind {
    /// Are you there?
    Ping,
    /// Yes.
    Pong,
    /// Something about a stream.
    Stream {
        /// Its number; each server numbers those that it opens.
        number: u64,
        /// Whether the sender has opened it.
        by_sender: bool,
        /// Of the messages that the sender sends about it, from 0 on.
        order: u32,
        /// What is said.
        event: RelayEvent,
    },
}

/// What happens to a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RelayEvent {
    /// There is a new one.
    Open,
    /// The other side has it too.
    Accept,
    /// Some of its bytes.
    Data(Bytes),
    /// So many more bytes may be sent.
    Credit(u32),
    /// No more bytes come.
    End,
    /// It has failed.
    Reset,
}

/// A message that makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidRelayMessage;

impl RelayMessage {
    /// The name that every session id of a server has behind its last dot.
    ///
    /// ```
    /// use engineio_proto::relay::RelayMessage;
    ///
    /// assert_eq!(RelayMessage::node_of("lv_VI97HAXpY6yYWAAAC.b6Pq0A2z"), Some("b6Pq0A2z"));
    /// assert_eq!(RelayMessage::node_of("lv_VI97HAXpY6yYWAAAC"), None);
    /// ```
    pub fn node_of(sid: &str) -> Option<&str> {
        let (_, node) = sid.rsplit_once('.')?;
        (1..=MAX_NAME).contains(&node.len()).then_some(node)
    }

    /// The bytes.
    ///
    /// # Panics
    ///
    /// If the name of the sender has more than 255 bytes.
    pub fn encode(&self) -> Bytes {
        let data: &[u8] = match &self.kind {
            RelayKind::Stream {
                event: RelayEvent::Data(data),
                ..
            } => data,
            _ => &[],
        };
        let mut out = BytesMut::with_capacity(self.from.len() + data.len() + MAX_HEAD);
        let (kind, by_sender) = match &self.kind {
            RelayKind::Ping => (PING, false),
            RelayKind::Pong => (PONG, false),
            RelayKind::Stream {
                event, by_sender, ..
            } => (event.kind(), *by_sender),
        };
        out.put_u8(VERSION);
        out.put_u8(kind | if by_sender { BY_SENDER } else { 0 });
        out.put_u32(self.epoch);
        out.put_u8(u8::try_from(self.from.len()).expect("a short name"));
        out.put_slice(self.from.as_bytes());
        if let RelayKind::Stream {
            number,
            order,
            event,
            ..
        } = &self.kind
        {
            out.put_u64(*number);
            out.put_u32(*order);
            match event {
                RelayEvent::Data(data) => out.put_slice(data),
                RelayEvent::Credit(credit) => out.put_u32(*credit),
                _ => {}
            }
        }
        out.freeze()
    }

    /// Reads a message. Data is a slice of it.
    ///
    /// # Errors
    ///
    /// If it is none.
    pub fn decode(message: Bytes) -> Result<Self, InvalidRelayMessage> {
        let mut rest = message;
        let [version, kind] = take(&mut rest)?;
        if version != VERSION {
            return Err(InvalidRelayMessage);
        }
        let epoch = u32::from_be_bytes(take(&mut rest)?);
        let [len] = take(&mut rest)?;
        let name = take_bytes(&mut rest, len.into())?;
        let from = Str::try_from(name).map_err(|_| InvalidRelayMessage)?;
        let by_sender = kind & BY_SENDER != 0;
        let kind = match kind & !BY_SENDER {
            PING => RelayKind::Ping,
            PONG => RelayKind::Pong,
            kind => {
                let number = u64::from_be_bytes(take(&mut rest)?);
                let order = u32::from_be_bytes(take(&mut rest)?);
                let event = match kind {
                    OPEN => RelayEvent::Open,
                    ACCEPT => RelayEvent::Accept,
                    DATA => RelayEvent::Data(std::mem::take(&mut rest)),
                    CREDIT => RelayEvent::Credit(u32::from_be_bytes(take(&mut rest)?)),
                    END => RelayEvent::End,
                    RESET => RelayEvent::Reset,
                    _ => return Err(InvalidRelayMessage),
                };
                RelayKind::Stream {
                    number,
                    by_sender,
                    order,
                    event,
                }
            }
        };
        if rest.is_empty() {
            Ok(Self { from, epoch, kind })
        } else {
            Err(InvalidRelayMessage)
        }
    }
}

impl RelayEvent {
    fn kind(&self) -> u8 {
        match self {
            RelayEvent::Open => OPEN,
            RelayEvent::Accept => ACCEPT,
            RelayEvent::Data(_) => DATA,
            RelayEvent::Credit(_) => CREDIT,
            RelayEvent::End => END,
            RelayEvent::Reset => RESET,
        }
    }
}

impl fmt::Display for InvalidRelayMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no message of a relay")
    }
}

impl Error for InvalidRelayMessage {}

fn take_bytes(rest: &mut Bytes, len: usize) -> Result<Bytes, InvalidRelayMessage> {
    if len <= rest.len() {
        Ok(rest.split_to(len))
    } else {
        Err(InvalidRelayMessage)
    }
}

fn take<const N: usize>(rest: &mut Bytes) -> Result<[u8; N], InvalidRelayMessage> {
    let bytes = take_bytes(rest, N)?;
    bytes[..].try_into().map_err(|_| InvalidRelayMessage)
}

const VERSION: u8 = 1;
const BY_SENDER: u8 = 128;

const PING: u8 = 0;
const PONG: u8 = 1;
const OPEN: u8 = 2;
const ACCEPT: u8 = 3;
const DATA: u8 = 4;
const CREDIT: u8 = 5;
const END: u8 = 6;
const RESET: u8 = 7;

/// Characters in a name that is read from a session id.
const MAX_NAME: usize = 64;

/// What stands before the data, without the name.
const MAX_HEAD: usize = 1 + 1 + 4 + 1 + 8 + 4 + 4;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event() -> impl Strategy<Value = RelayEvent> {
        prop_oneof![
            Just(RelayEvent::Open),
            Just(RelayEvent::Accept),
            proptest::collection::vec(any::<u8>(), 0..40)
                .prop_map(|data| RelayEvent::Data(data.into())),
            any::<u32>().prop_map(RelayEvent::Credit),
            Just(RelayEvent::End),
            Just(RelayEvent::Reset),
        ]
    }

    fn kind() -> impl Strategy<Value = RelayKind> {
        let stream = (any::<u64>(), any::<bool>(), any::<u32>(), event());
        prop_oneof![
            Just(RelayKind::Ping),
            Just(RelayKind::Pong),
            stream.prop_map(|(number, by_sender, order, event)| RelayKind::Stream {
                number,
                by_sender,
                order,
                event,
            }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(from in ".{0,20}", epoch: u32, kind in kind()) {
            let message = RelayMessage { from: from.into(), epoch, kind };
            prop_assert_eq!(RelayMessage::decode(message.encode()), Ok(message));
        }

        /// Whatever others write: either it is what this would have written, or it is refused.
        #[test]
        fn what_is_read_is_written(mut bytes in proptest::collection::vec(any::<u8>(), 0..60), sane: bool) {
            if sane && bytes.len() > 7 {
                bytes[0] = VERSION;
                bytes[1] %= 9;
                bytes[6] %= 4;
            }
            let bytes = Bytes::from(bytes);
            if let Ok(message) = RelayMessage::decode(bytes.clone()) {
                prop_assert!(message.encode() == bytes || bytes[1] >= BY_SENDER);
            }
        }

        /// A message that is cut off is none, unless it has data at its end.
        #[test]
        fn half_a_message_is_none(from in "[a-z]{0,9}", epoch: u32, kind in kind(), cut in 0.0..1.0) {
            let has_data = matches!(&kind, RelayKind::Stream { event: RelayEvent::Data(_), .. });
            let whole = RelayMessage { from: from.into(), epoch, kind }.encode();
            let half = whole.slice(..(whole.len() as f64 * cut) as usize);
            prop_assert!(has_data || RelayMessage::decode(half).is_err());
        }
    }

    #[test]
    fn a_message_on_the_wire() {
        let message = RelayMessage {
            from: "ab".into(),
            epoch: 3,
            kind: RelayKind::Stream {
                number: 258,
                by_sender: true,
                order: 1,
                event: RelayEvent::Data("GET".into()),
            },
        };
        let expected = b"\x01\x84\0\0\0\x03\x02ab\0\0\0\0\0\0\x01\x02\0\0\0\x01GET";
        assert_eq!(&message.encode()[..], expected);
    }
}
