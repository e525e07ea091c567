//! MessagePack: the parser that makes each packet a map of it, and values of other protocols.

mod date;
mod decode;
mod encode;

use bytes::Bytes;
use engineio_proto::{Data, Encoded};

use crate::{DecodeError, EncodeError, Limits, Packet, PacketDecoder, Parser};

/// The parser of the npm package `socket.io-msgpack-parser`: each packet is one binary message,
/// a MessagePack map with the members `type`, `nsp`, `data` and `id`. Binary data stands in
/// `data` where it belongs.
///
/// What JSON has no word for becomes what JavaScript's JSON would make of it: a `Date` a string
/// like `"2024-02-29T12:00:00.000Z"`, `undefined` no member or `null`, infinity `null`. An
/// extension type that the package does not know becomes a list of its number and its bytes. Keys
/// of maps must be strings; bytes in strings that are not UTF-8 are read as U+FFFD.
///
/// All binary data of a packet is in one message, so the engine's limit for messages bounds it,
/// and [`Limits::max_attachment_bytes`] does not matter. There may be
/// [`Limits::max_attachments`] pieces of it, but always 10,000. There may be none in what a client
/// gives to be let in. [`Limits::max_depth`] holds, too.
///
/// Source: `socket.io-msgpack-parser` 3.0.
///
/// ```
/// use socketio_proto::{Codec, MsgpackParser};
///
/// let it = Codec::new(MsgpackParser).event("/", None, "a", &1).unwrap();
/// assert_eq!(&it.attachments()[0][..], b"\x83\xa4type\x02\xa4data\x92\xa1a\x01\xa3nsp\xa1/");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MsgpackParser;

impl Parser for MsgpackParser {
    fn encode(&self, packet: &Packet) -> Result<Encoded, EncodeError> {
        encode::encode(packet).map(Encoded::binary)
    }

    fn decoder(&self, limits: Limits) -> Box<dyn PacketDecoder> {
        Box::new(MsgpackDecoder {
            max_binaries: MIN_BINARIES.max(limits.max_attachments as usize),
            max_depth: limits.max_depth as usize,
        })
    }
}

#[derive(Debug)]
struct MsgpackDecoder {
    max_binaries: usize,
    max_depth: usize,
}

impl PacketDecoder for MsgpackDecoder {
    fn add(&mut self, message: Data) -> Result<Option<Packet>, DecodeError> {
        match message {
            Data::Binary(message) => {
                decode::decode(&message, self.max_binaries, self.max_depth).map(Some)
            }
            Data::Text(_) => Err(DecodeError::InvalidPacket),
        }
    }
}

/// A JSON value as MessagePack. Its placeholders (see [`Args::json`](crate::Args::json)) become the
/// binary data that they stand for.
///
/// This is what servers write for each other, not what clients are sent.
///
/// # Errors
///
/// If something is longer than 4 GiB.
///
/// ```
/// let it = socketio_proto::msgpack::from_json(r#"["a",{"b":null}]"#, &[]).unwrap();
/// assert_eq!(it, b"\x92\xa1a\x81\xa1b\xc0");
/// ```
pub fn from_json(json: &str, attachments: &[Bytes]) -> Result<Vec<u8>, EncodeError> {
    encode::value(json, attachments)
}

/// A MessagePack value as JSON, with placeholders for its binary data, and that data.
///
/// Like [`MsgpackParser`] it makes what JavaScript would of what JSON has no word for. A timestamp
/// of MessagePack itself is a `Date` here, too.
///
/// # Errors
///
/// If the bytes are anything else than one value, or there is more binary data in it than that.
///
/// ```
/// let message = b"\x92\xa1a\xc4\x02\0\xff".as_slice().into();
/// let (json, binary) = socketio_proto::msgpack::to_json(&message, 1).unwrap();
/// assert_eq!(json, r#"["a",{"_placeholder":true,"num":0}]"#);
/// assert_eq!(binary, [&b"\0\xff"[..]]);
/// ```
pub fn to_json(message: &Bytes, max_binaries: usize) -> Result<(String, Vec<Bytes>), DecodeError> {
    decode::value(message, max_binaries)
}

/// Each takes two bytes of the message and 66 here, so there must be an end to them.
const MIN_BINARIES: usize = 10_000;
