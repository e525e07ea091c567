//! Reads inputs for decoders line by line, and writes a line with what they make of each.
//!
//! An input is `{"decoder":"…","messages":[…]}`, a message a text or `{"bytes":"<base64>"}`. Bodies and
//! forms are one message of bytes. What comes out is `{"packets":[…],"error":null}`, with the packets
//! before the first error and what that says.
#![forbid(unsafe_code)]

use std::io::{self, BufRead as _, Write as _};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use engineio_proto::{
    Data, Dialect, Packet, PacketKind, frame,
    payload::{self, Framing, jsonp},
};
use serde::Deserialize;
use serde_json::{Value, json};
use socketio_proto::{Codec, Limits, MsgpackParser, Packet as SocketPacket, PacketKind as Kind};

#[derive(Deserialize)]
struct Input {
    decoder: String,
    messages: Vec<Message>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Message {
    Text(String),
    Binary { bytes: String },
}

fn main() -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    for line in io::stdin().lock().lines() {
        let input: Input = serde_json::from_str(&line?)?;
        let messages: Result<Vec<Data>, _> = input.messages.into_iter().map(data).collect();
        let messages = messages.map_err(io::Error::other)?;
        writeln!(out, "{}", decode(&input.decoder, messages)?)?;
    }
    out.flush()
}

fn data(message: Message) -> Result<Data, base64::DecodeError> {
    Ok(match message {
        Message::Text(text) => text.into(),
        Message::Binary { bytes } => BASE64_STANDARD.decode(bytes)?.into(),
    })
}

fn decode(decoder: &str, messages: Vec<Data>) -> io::Result<Value> {
    let mut packets = Vec::new();
    let error = match decoder {
        "v4" => body(messages, Framing::Text, &Dialect::V4, &mut packets),
        "v3" => body(messages, Framing::Text, &Dialect::V3, &mut packets),
        "v3-binary" => body(messages, Framing::Binary, &Dialect::V3, &mut packets),
        "frame-v4" => frames(messages, &Dialect::V4, &mut packets),
        "frame-v3" => frames(messages, &Dialect::V3, &mut packets),
        "jsonp" => {
            let text = |form: &Data| jsonp::form_payload(&bytes(form)).map(|it| value(it.into()));
            packets.extend(messages.iter().filter_map(text));
            None
        }
        "packet-4" | "packet-5" => socket(messages, Codec::default(), &mut packets),
        "msgpack" => socket(messages, Codec::new(MsgpackParser), &mut packets),
        other => return Err(io::Error::other(format!("no decoder is called {other}"))),
    };
    Ok(json!({ "packets": packets, "error": error }))
}

fn body(
    messages: Vec<Data>,
    framing: Framing,
    dialect: &Dialect,
    packets: &mut Vec<Value>,
) -> Option<String> {
    for message in messages {
        for packet in payload::decode(bytes(&message), framing, dialect) {
            match packet {
                Ok(packet) => packets.push(engine_packet(packet)),
                Err(violation) => return Some(violation.to_string()),
            }
        }
    }
    None
}

fn frames(messages: Vec<Data>, dialect: &Dialect, packets: &mut Vec<Value>) -> Option<String> {
    for message in messages {
        match frame::decode(message, dialect) {
            Ok(packet) => packets.push(engine_packet(packet)),
            Err(violation) => return Some(violation.to_string()),
        }
    }
    None
}

fn socket(messages: Vec<Data>, codec: Codec, packets: &mut Vec<Value>) -> Option<String> {
    let mut decoder = codec.decoder(Limits::default());
    for message in messages {
        match decoder.add(message) {
            Ok(packet) => packets.extend(packet.map(socket_packet)),
            Err(error) => return Some(error.to_string()),
        }
    }
    None
}

fn engine_packet(packet: Packet) -> Value {
    let name = match packet.kind {
        PacketKind::Open => "open",
        PacketKind::Close => "close",
        PacketKind::Ping => "ping",
        PacketKind::Pong => "pong",
        PacketKind::Message => "message",
        PacketKind::Upgrade => "upgrade",
        PacketKind::Noop => "noop",
    };
    json!([name, value(packet.data)])
}

/// JSON stays text, as the other side reads it in its own way.
fn socket_packet(packet: SocketPacket) -> Value {
    let nsp = &*packet.nsp;
    let mut out = match &packet.kind {
        Kind::Connect { auth } => json!({ "type": 0, "json": auth.as_deref() }),
        Kind::Disconnect => json!({ "type": 1 }),
        Kind::Event { name, id, args } => {
            json!({ "type": 2, "id": id.map(|it| it.to_string()), "name": &**name, "args": arguments(args) })
        }
        Kind::Empty => json!({ "type": "empty" }),
        Kind::Ack { id, args } => {
            json!({ "type": 3, "id": id.to_string(), "args": arguments(args) })
        }
        Kind::ConnectError { data } => json!({ "type": 4, "json": data.as_deref() }),
    };
    out["nsp"] = nsp.into();
    out
}

fn arguments(args: &socketio_proto::Args) -> Value {
    let attachments = args.attachments().iter();
    json!({
        "json": format!("[{}]", args.json()),
        "attachments": attachments.map(|it| BASE64_STANDARD.encode(it)).collect::<Vec<_>>(),
    })
}

fn value(data: Data) -> Value {
    match data {
        Data::Text(text) => (&*text).into(),
        Data::Binary(bytes) => json!({ "bytes": BASE64_STANDARD.encode(bytes) }),
    }
}

fn bytes(data: &Data) -> Bytes {
    match data {
        Data::Text(text) => text.clone().into_bytes(),
        Data::Binary(bytes) => bytes.clone(),
    }
}
