//! Bodies of POST requests: any bytes are read or refused, and the messages that were read can be
//! sent back and are read the same again.
#![no_main]

use bytes::Bytes;
use engineio_proto::{
    Dialect, Packet, PacketKind,
    dialect::{BodyShape, TextCoding},
    payload::{self, Body, Framing, jsonp},
    session::Transmit,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&choice, body)) = input.split_first() else {
        return;
    };
    let dialect = match choice & 3 {
        0 => Dialect::V4,
        choice => Dialect {
            body: [BodyShape::Text, BodyShape::Binary][usize::from(choice & 1)],
            text: [TextCoding::Plain, TextCoding::Detect, TextCoding::Twice]
                [usize::from(choice) - 1],
            ..Dialect::V3
        },
    };
    let framing = if choice & 4 == 0 {
        Framing::Text
    } else {
        Framing::Binary
    };
    let body = if choice & 8 == 0 {
        Bytes::copy_from_slice(body)
    } else {
        jsonp::form_payload(body).unwrap_or_default()
    };

    let length = body.len();
    let results: Vec<_> = payload::decode(body, framing, &dialect).collect();
    assert!(results.len() <= length + 1);
    let last = results.len().saturating_sub(1);
    assert!(results.iter().take(last).all(Result::is_ok));

    // detection may find in what comes back what it did not find before
    if dialect.text == TextCoding::Detect {
        return;
    }
    let messages: Vec<Packet> = results
        .into_iter()
        .flatten()
        .filter(|packet| packet.kind == PacketKind::Message)
        .collect();
    if messages.is_empty() {
        return;
    }
    let items = messages
        .iter()
        .map(|packet| Transmit::Message(packet.data.clone().into()))
        .collect();
    let Body { framing, bytes } = payload::encode(items, &dialect, None);
    let back: Vec<_> = payload::decode(bytes, framing, &dialect)
        .flatten()
        .collect();
    assert_eq!(back, messages);
});
