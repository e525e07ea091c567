//! Messages into packets.

use std::borrow::Cow;

use bytes::Bytes;
use engineio_proto::{Data, Str};
use serde::de::IgnoredAny;

use crate::{Args, DecodeError, Packet, PacketKind, is_reserved, json, placeholder};

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
    pub max_attachments: usize,
    /// Bytes of all attachments of one packet together. Default: 10 000 000, as many as the
    /// official server's limits (10 attachments, 1 MB each) let through.
    pub max_attachment_bytes: usize,
    /// Bytes of a namespace's name; in protocol 4 the query, which may hold a token, is a part of
    /// it. Default: 8192.
    pub max_namespace: usize,
    /// Bytes of an event's name. Default: 1024.
    pub max_event_name: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_attachments: 10,
            max_attachment_bytes: 10_000_000,
            max_namespace: 8192,
            max_event_name: 1024,
        }
    }
}

/// A packet that waits for its attachments.
#[derive(Debug)]
struct Partial {
    packet: Packet,
    attachments: Vec<Bytes>,
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
            (None, Data::Text(text)) => self.begin(&text),
            (None, Data::Binary(_)) => Err(DecodeError::UnexpectedBinary),
            (Some(partial), Data::Binary(bytes)) => self.attach(partial, bytes),
            (Some(_), Data::Text(_)) => Err(DecodeError::UnexpectedText),
        }
    }

    fn begin(&mut self, text: &Str) -> Result<Option<Packet>, DecodeError> {
        let (packet, attachments) = decode(text, &self.limits)?;
        if attachments == 0 {
            return Ok(Some(packet));
        }
        self.partial = Some(Box::new(Partial {
            packet,
            attachments: Vec::with_capacity(attachments.min(USUAL_ATTACHMENTS)),
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

/// Decodes the text of a packet; also says how many attachments follow.
fn decode(text: &Str, limits: &Limits) -> Result<(Packet, usize), DecodeError> {
    let kind = text
        .bytes()
        .next()
        .filter(u8::is_ascii_digit)
        .ok_or(DecodeError::UnknownType(None))?;
    let rest = &text[1..];
    let (attachments, rest) = match kind {
        b'0'..=b'4' => (0, rest),
        b'5' | b'6' => split_attachments(rest, limits)?,
        _ => return Err(DecodeError::UnknownType(Some(kind - b'0'))),
    };
    let (nsp, rest) = split_namespace(rest);
    if nsp.len() > limits.max_namespace {
        return Err(DecodeError::NamespaceTooLong);
    }
    let nsp = match nsp {
        "/" => Str::from_static("/"),
        _ => text.slice_ref(nsp),
    };
    let kind = match kind {
        b'0' => PacketKind::Connect {
            auth: optional(text, rest, &['{'])?,
        },
        b'1' if rest.is_empty() => PacketKind::Disconnect,
        b'1' => return Err(DecodeError::InvalidPayload),
        b'4' => PacketKind::ConnectError {
            data: optional(text, rest, &['{', '"'])?,
        },
        b'2' | b'5' => {
            let (id, payload) = split_id(rest)?;
            match array(text, payload, attachments)? {
                Some(array) => event(array, id, limits)?,
                None => PacketKind::Empty,
            }
        }
        _ => {
            let (id, payload) = split_id(rest)?;
            let id = id.ok_or(DecodeError::InvalidPayload)?;
            let args = match array(text, payload, attachments)? {
                Some(array) => Args::new_ack(array, Vec::new()),
                None => Args::empty(),
            };
            PacketKind::Ack { id, args }
        }
    };
    Ok((Packet { nsp, kind }, attachments))
}

/// `2-` at the start.
fn split_attachments<'a>(text: &'a str, limits: &Limits) -> Result<(usize, &'a str), DecodeError> {
    let (digits, rest) = split_digits(text);
    let rest = rest.strip_prefix('-');
    let (Some(rest), false) = (rest, digits.is_empty()) else {
        return Err(DecodeError::IllegalAttachments);
    };
    match digits.parse() {
        Ok(0) => Err(DecodeError::IllegalAttachments),
        Ok(count) if count <= limits.max_attachments => Ok((count, rest)),
        _ => Err(DecodeError::TooManyAttachments),
    }
}

/// `/admin,` at the start, or `/admin` if nothing follows.
fn split_namespace(text: &str) -> (&str, &str) {
    if text.starts_with('/') {
        text.split_once(',').unwrap_or((text, ""))
    } else {
        ("/", text)
    }
}

/// `12` at the start.
fn split_id(text: &str) -> Result<(Option<u64>, &str), DecodeError> {
    match split_digits(text) {
        ("", rest) => Ok((None, rest)),
        (digits, rest) => match digits.parse() {
            Ok(id) => Ok((Some(id), rest)),
            Err(_) => Err(DecodeError::InvalidPayload),
        },
    }
}

fn split_digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

/// A payload that may be absent, and starts with one of these characters if it is not.
fn optional(text: &Str, payload: &str, starts: &[char]) -> Result<Option<Str>, DecodeError> {
    if payload.is_empty() {
        return Ok(None);
    }
    let payload = validate(payload, starts)?;
    Ok(Some(text.slice_ref(payload)))
}

/// An array that may be absent, its placeholders checked and in the usual form.
fn array(text: &Str, payload: &str, attachments: usize) -> Result<Option<Str>, DecodeError> {
    if payload.is_empty() {
        return Ok(None);
    }
    let payload = validate(payload, &['['])?;
    if attachments > 0 {
        let normalised = placeholder::normalise(payload, attachments, 0);
        let normalised = normalised.map_err(|_| DecodeError::IllegalPlaceholder)?;
        if let Some(normalised) = normalised {
            return Ok(Some(normalised.into()));
        }
    }
    Ok(Some(text.slice_ref(payload)))
}

/// A whole and valid JSON text, however deep, that starts with one of these characters.
fn validate<'a>(payload: &'a str, starts: &[char]) -> Result<&'a str, DecodeError> {
    if !payload.starts_with(starts) {
        return Err(DecodeError::InvalidPayload);
    }
    // does not recurse
    serde_json::from_str::<IgnoredAny>(payload).map_err(|_| DecodeError::InvalidPayload)?;
    Ok(json::trim(payload))
}

/// An event from its array: the name is the first element, a string or a number.
fn event(array: Str, id: Option<u64>, limits: &Limits) -> Result<PacketKind, DecodeError> {
    let bytes = array.as_bytes();
    let start = json::skip_blanks(bytes, 1);
    let (end, name) = match bytes[start] {
        b'"' => {
            let end = json::string_end(bytes, start);
            (end, unquote(&array[start..end])?)
        }
        b'-' | b'0'..=b'9' => {
            let rest = &array[start..];
            let len = rest.find([',', ']', ' ', '\t', '\n', '\r']);
            let end = start + len.unwrap_or(rest.len());
            (end, Cow::Borrowed(&array[start..end]))
        }
        _ => return Err(DecodeError::InvalidPayload),
    };
    if name.len() > limits.max_event_name {
        return Err(DecodeError::EventNameTooLong);
    }
    if is_reserved(&name) {
        return Err(DecodeError::InvalidPayload);
    }
    let name = match name {
        Cow::Borrowed(name) => array.slice_ref(name),
        Cow::Owned(name) => name.into(),
    };
    let end = json::skip_blanks(bytes, end);
    let comma = usize::from(bytes.get(end) == Some(&b','));
    let args = Args::new_event(array.clone(), end + comma);
    Ok(PacketKind::Event { name, id, args })
}

/// The value of a JSON string, which most often is just what stands between the quotes.
fn unquote(string: &str) -> Result<Cow<'_, str>, DecodeError> {
    if string.contains('\\') {
        let name = json::unescape(string).ok_or(DecodeError::InvalidPayload)?;
        return Ok(name.into());
    }
    Ok(string[1..string.len() - 1].into())
}

/// Attachments to make room for before they are there.
const USUAL_ATTACHMENTS: usize = 16;
