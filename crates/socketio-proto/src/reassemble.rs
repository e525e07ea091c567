//! Messages into packets: a text and the binary messages that it announces.

use bytes::Bytes;
use engineio_proto::{Data, Str};

use crate::{DecodeError, Packet, PacketKind, args::Attachments, decode::decode};

/// Turns the messages of one connection into packets.
///
/// A packet is one text, or a text and the binary messages that it announces; no other message
/// may come in between. At most one packet is waiting for its binary messages at any time. A
/// decoder that waits for none holds no memory but its own.
///
/// After an error the decoder is ready for the next packet, though the official server closes the
/// connection, and so should everybody: what the peer meant to say is unknown from here on.
///
/// Source: Socket.IO protocol 5, "Packet encoding"; version 4 has the same text.
///
/// ```
/// use bytes::Bytes;
/// use socketio_proto::{Decoder, Limits, PacketKind};
///
/// let mut decoder = Decoder::new(Limits::default());
/// let header = r#"51-/files,["put",{"_placeholder":true,"num":0}]"#;
/// assert_eq!(decoder.add(header.into()), Ok(None));
/// let packet = decoder.add(vec![1, 2].into()).unwrap().unwrap();
/// assert_eq!(packet.nsp, "/files");
/// let PacketKind::Event { name, id: None, args } = packet.kind else { panic!() };
/// assert_eq!(name, "put");
/// assert_eq!(args.deserialize::<Bytes>(), Ok(Bytes::from_static(&[1, 2])));
/// ```
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    partial: Option<Box<Partial>>,
}

/// What one client may send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Binary attachments of one packet. Default: 10, which the official server has no setting
    /// for.
    pub max_attachments: u32,
    /// Bytes of all attachments of one packet together. Default: 10 000 000, as many as the
    /// official server's limits (10 attachments, 1 MB each) let through.
    pub max_attachment_bytes: usize,
    /// Bytes of a namespace's name; in protocol 4 the query, which may hold a token, is a part of
    /// it. Default: 8192.
    pub max_namespace: u32,
    /// Bytes of an event's name. Default: 1024.
    pub max_event_name: u32,
    /// Lists and objects inside of each other in what a packet carries; its arguments are a list
    /// themselves. Default: 1000. The clients' parsers walk through them by recursion.
    pub max_depth: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_attachments: 10,
            max_attachment_bytes: 10_000_000,
            max_namespace: 8192,
            max_event_name: 1024,
            max_depth: 1000,
        }
    }
}

impl Limits {
    pub(crate) fn check_namespace(&self, nsp: &str) -> Result<(), DecodeError> {
        if nsp.len() > self.max_namespace as usize {
            return Err(DecodeError::NamespaceTooLong);
        }
        Ok(())
    }

    pub(crate) fn check_event_name(&self, name: &str) -> Result<(), DecodeError> {
        if name.len() > self.max_event_name as usize {
            return Err(DecodeError::EventNameTooLong);
        }
        Ok(())
    }
}

/// A packet that waits for its attachments.
#[derive(Debug)]
struct Partial {
    packet: Packet,
    attachments: Attachments,
    missing: usize,
    /// How many bytes may still come.
    budget: usize,
}

impl Decoder {
    /// A decoder for one connection.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            partial: None,
        }
    }

    /// Takes the next message: gives a packet, or `None` while attachments are missing.
    ///
    /// # Errors
    ///
    /// If the message breaks the protocol or a limit.
    pub fn add(&mut self, message: Data) -> Result<Option<Packet>, DecodeError> {
        match (self.partial.take(), message) {
            (None, Data::Text(text)) => self.begin(text),
            (None, Data::Binary(_)) => Err(DecodeError::UnexpectedBinary),
            (Some(partial), Data::Binary(bytes)) => self.attach(partial, bytes),
            (Some(_), Data::Text(_)) => Err(DecodeError::UnexpectedText),
        }
    }

    fn begin(&mut self, text: Str) -> Result<Option<Packet>, DecodeError> {
        let (packet, attachments) = decode(text, &self.limits)?;
        if attachments == 0 {
            return Ok(Some(packet));
        }
        self.partial = Some(Box::new(Partial {
            packet,
            attachments: Attachments::default(),
            missing: attachments,
            budget: self.limits.max_attachment_bytes,
        }));
        Ok(None)
    }

    fn attach(
        &mut self,
        mut partial: Box<Partial>,
        bytes: Bytes,
    ) -> Result<Option<Packet>, DecodeError> {
        partial.budget = partial
            .budget
            .checked_sub(bytes.len())
            .ok_or(DecodeError::AttachmentsTooLarge)?;
        partial.attachments.push(bytes);
        partial.missing -= 1;
        if partial.missing > 0 {
            self.partial = Some(partial);
            return Ok(None);
        }
        let Partial {
            mut packet,
            attachments,
            ..
        } = *partial;
        if let PacketKind::Event { args, .. } | PacketKind::Ack { args, .. } = &mut packet.kind {
            args.set_attachments(attachments);
        }
        Ok(Some(packet))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decoder_is_small() {
        assert!(size_of::<Decoder>() <= 32, "{}", size_of::<Decoder>());
    }

    #[test]
    fn limits_hold_at_their_value_and_not_above() {
        let limits = Limits {
            max_attachments: 2,
            max_attachment_bytes: 3,
            max_namespace: 4,
            max_event_name: 3,
            max_depth: 2,
        };
        let mut decoder = Decoder::new(limits);
        let mut add = |message: Data| decoder.add(message);
        assert_eq!(add("52-[\"a\"]".into()), Ok(None));
        assert_eq!(add(vec![0; 2].into()), Ok(None));
        assert!(add(vec![0; 1].into()).unwrap().is_some());
        assert_eq!(
            add("53-[\"a\"]".into()),
            Err(DecodeError::TooManyAttachments)
        );
        assert_eq!(add("52-[\"a\"]".into()), Ok(None));
        assert_eq!(add(vec![0; 3].into()), Ok(None));
        assert_eq!(
            add(vec![0; 1].into()),
            Err(DecodeError::AttachmentsTooLarge)
        );
        assert_eq!(add(vec![0; 1].into()), Err(DecodeError::UnexpectedBinary));
        assert!(add("0/abc,".into()).is_ok());
        assert_eq!(add("0/abcd".into()), Err(DecodeError::NamespaceTooLong));
        assert!(add(r#"2["\u0061bc"]"#.into()).is_ok());
        assert_eq!(
            add("2[\"abcd\"]".into()),
            Err(DecodeError::EventNameTooLong)
        );
        assert_eq!(add("2[1234]".into()), Err(DecodeError::EventNameTooLong));
        assert!(add("2[1,[],{\"a\":2}]".into()).is_ok());
        for text in [
            "2[1,[[]]]",
            "30[[{}]]",
            "2[1,{\"a\":[0",
            "0{\"a\":{\"b\":{}}}",
        ] {
            let result = add(text.into());
            assert_eq!(result, Err(DecodeError::TooDeep), "{text}");
        }
    }

    #[test]
    fn an_attachment_of_any_kind_of_packet_reaches_its_arguments() {
        for text in ["51-[\"a\"]", "61-7[]", "61-7"] {
            let mut decoder = Decoder::new(Limits::default());
            assert_eq!(decoder.add(text.into()), Ok(None));
            let packet = decoder.add(vec![7].into()).unwrap().unwrap();
            let (PacketKind::Event { args, .. } | PacketKind::Ack { args, .. }) = packet.kind
            else {
                panic!("{text}")
            };
            assert_eq!(args.attachments(), [Bytes::from_static(&[7])]);
        }
    }
}
