//! Packets in pieces: a text, and the attachments that it announces. The first four bytes are limits;
//! then come messages, each between bytes 255: `t` and a text, or any other byte and binary data.

use bytes::Bytes;
use engineio_proto::Data;
use socketio_proto::{DecodeError, Decoder, Limits, PacketKind};

/// A packet comes exactly when its last attachment does, with what came in order; nothing is longer or
/// larger than it may be; what comes at the wrong time is refused, and nothing of the packet stays.
pub fn run(input: &[u8]) {
    let Some(([count, bytes, namespace, name], messages)) = input.split_first_chunk() else {
        return;
    };
    let mut limits = Limits::default();
    limits.max_attachments = (*count).into();
    limits.max_attachment_bytes = (*bytes).into();
    limits.max_namespace = (*namespace).into();
    limits.max_event_name = (*name).into();

    let mut decoder = Decoder::new(limits);
    let mut pending: Option<Pending> = None;
    for message in messages.split(|byte| *byte == 255) {
        let Some((kind, content)) = message.split_first() else {
            continue;
        };
        match str::from_utf8(content) {
            Ok(text) if *kind == b't' => {
                let result = decoder.add(text.into());
                if pending.take().is_some() {
                    assert_eq!(result, Err(DecodeError::UnexpectedText));
                    continue;
                }
                match result {
                    Ok(None) => {
                        let announced = text[1..].split('-').next().and_then(|it| it.parse().ok());
                        let missing: usize = announced.expect("a count of attachments");
                        assert!(
                            (1..=limits.max_attachments as usize).contains(&missing),
                            "{text}"
                        );
                        pending = Some(Pending {
                            missing,
                            attachments: Vec::new(),
                        });
                    }
                    Ok(Some(packet)) => check(&packet, &[], &limits),
                    Err(DecodeError::UnexpectedText | DecodeError::UnexpectedBinary) => {
                        panic!("a text was expected")
                    }
                    Err(_) => {}
                }
            }
            _ => {
                let bytes = Bytes::copy_from_slice(content);
                let result = decoder.add(Data::Binary(bytes.clone()));
                let Some(mut it) = pending.take() else {
                    assert_eq!(result, Err(DecodeError::UnexpectedBinary));
                    continue;
                };
                it.attachments.push(bytes);
                let size: usize = it.attachments.iter().map(Bytes::len).sum();
                if size > limits.max_attachment_bytes {
                    assert_eq!(result, Err(DecodeError::AttachmentsTooLarge));
                } else if it.attachments.len() < it.missing {
                    assert_eq!(result, Ok(None));
                    pending = Some(it);
                } else {
                    let packet = result.expect("a whole packet").expect("a whole packet");
                    check(&packet, &it.attachments, &limits);
                }
            }
        }
    }
}

struct Pending {
    missing: usize,
    attachments: Vec<Bytes>,
}

fn check(packet: &socketio_proto::Packet, attachments: &[Bytes], limits: &Limits) {
    assert!(packet.nsp.len() <= limits.max_namespace as usize);
    match &packet.kind {
        PacketKind::Event { name, args, .. } => {
            assert!(name.len() <= limits.max_event_name as usize);
            assert_eq!(args.attachments(), attachments);
        }
        PacketKind::Ack { args, .. } => assert_eq!(args.attachments(), attachments),
        PacketKind::Empty => {}
        _ => assert_eq!(attachments.len(), 0),
    }
}
