//! Parsers other than the default one: what packets look like on the wire.
//!
//! A server has one parser, chosen with [`Builder::parser`](crate::Builder::parser), and all its
//! clients must have the same (`parser` among their options). To write one, implement [`Parser`]
//! and [`PacketDecoder`]; it gets every packet in neutral form, JSON with binary data beside it.

pub use socketio_proto::{
    Data, DecodeError, EncodeError, Encoded, Limits, MsgpackParser, Packet, PacketDecoder,
    PacketKind, Parser,
};
