//! A message already in wire shape, shared by all its recipients.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::{BufMut, Bytes, BytesMut};

use crate::{Data, Str};

/// A message in wire shape: one text, any number of binary attachments that follow it, or both.
/// The parts leave together and in order. Cloning is one reference count.
///
/// The shape that most recipients need (version 4 over WebSocket) is built by whoever makes the
/// message. Each other shape is built at most once, by the first recipient that needs it.
#[derive(Clone)]
pub struct Encoded(Arc<Inner>);

struct Inner {
    /// `4…`: the Engine.IO packet kind is already there.
    text: Option<Str>,
    attachments: Box<[Bytes]>,
    to_ascii: Option<fn(&str) -> String>,
    compress: bool,
    rare: OnceLock<Box<Rare>>,
}

/// The shapes that few recipients need.
#[derive(Default)]
struct Rare {
    ascii: OnceLock<Option<Str>>,
    twice: OnceLock<Str>,
    base64: OnceLock<Box<[Str]>>,
    prefixed: OnceLock<Box<[Bytes]>>,
}

impl Encoded {
    /// A text message.
    ///
    /// ```
    /// let message = engineio_proto::Encoded::text("hello");
    /// assert_eq!(&**message.wire_text().unwrap(), "4hello");
    /// ```
    pub fn text(text: &str) -> Self {
        let mut wire = String::with_capacity(text.len() + 1);
        wire.push('4');
        wire.push_str(text);
        Self::from_wire(Some(wire.into()), Vec::new(), None)
    }

    /// A binary message.
    pub fn binary(bytes: impl Into<Bytes>) -> Self {
        Self::from_wire(None, vec![bytes.into()], None)
    }

    /// A message whose text already starts with the packet kind `4`, and its attachments.
    ///
    /// `to_ascii` rewrites the text so that it means the same to its reader but has no character
    /// beyond ASCII (a JSON text can do that with `\u` escapes). Without it some old clients that
    /// poll with base64 misread such characters; see [`TextCoding::Detect`](crate::dialect::TextCoding::Detect).
    pub fn from_wire(
        text: Option<Str>,
        attachments: Vec<Bytes>,
        to_ascii: Option<fn(&str) -> String>,
    ) -> Self {
        debug_assert!(text.as_ref().is_none_or(|text| text.starts_with('4')));
        Self(Arc::new(Inner {
            text,
            attachments: attachments.into_boxed_slice(),
            to_ascii,
            compress: true,
            rare: OnceLock::new(),
        }))
    }

    /// Says whether a poll response may be compressed for the sake of this message. Default: `true`.
    /// A response with several messages is compressed if one of them wants it.
    ///
    /// ```
    /// let message = engineio_proto::Encoded::binary(vec![0xff, 0xd8]).compress(false);
    /// assert!(!message.compresses());
    /// ```
    #[must_use]
    pub fn compress(mut self, compress: bool) -> Self {
        if compress == self.0.compress {
            return self;
        }
        if let Some(inner) = Arc::get_mut(&mut self.0) {
            inner.compress = compress;
            return self;
        }
        let Inner {
            text,
            attachments,
            to_ascii,
            ..
        } = &*self.0;
        Self(Arc::new(Inner {
            text: text.clone(),
            attachments: attachments.clone(),
            to_ascii: *to_ascii,
            compress,
            rare: OnceLock::new(),
        }))
    }

    /// See [`compress`](Self::compress).
    pub fn compresses(&self) -> bool {
        self.0.compress
    }

    /// The text with its leading `4`: a version 4 text frame, and a version 4 polling packet.
    pub fn wire_text(&self) -> Option<&Str> {
        self.0.text.as_ref()
    }

    /// As [`wire_text`](Self::wire_text). The last recipient takes it without a reference count.
    pub fn into_wire_text(self) -> Option<Str> {
        match Arc::try_unwrap(self.0) {
            Ok(inner) => inner.text,
            Err(shared) => shared.text.clone(),
        }
    }

    /// The binary parts as the application gave them: version 4 binary frames.
    pub fn attachments(&self) -> &[Bytes] {
        &self.0.attachments
    }

    /// The binary parts as `0x04` and the bytes: version 3 binary frames.
    pub fn prefixed_attachments(&self) -> &[Bytes] {
        self.rare().prefixed.get_or_init(|| {
            let prefix = |bytes: &Bytes| {
                let mut frame = BytesMut::with_capacity(bytes.len() + 1);
                frame.put_u8(4);
                frame.extend_from_slice(bytes);
                frame.freeze()
            };
            self.0.attachments.iter().map(prefix).collect()
        })
    }

    /// The binary parts as standard base64 with padding, without any prefix.
    pub fn base64_attachments(&self) -> &[Str] {
        self.rare().base64.get_or_init(|| {
            let encode = |bytes: &Bytes| STANDARD.encode(bytes).into();
            self.0.attachments.iter().map(encode).collect()
        })
    }

    /// The text, kind included, without characters beyond ASCII; as it is if it has none, or if
    /// the maker of the message gave no way to do so.
    pub fn ascii(&self) -> Option<&Str> {
        let text = self.0.text.as_ref()?;
        let Some(to_ascii) = self.0.to_ascii else {
            return Some(text);
        };
        let rewrite = || (!text.is_ascii()).then(|| to_ascii(text).into());
        self.rare()
            .ascii
            .get_or_init(rewrite)
            .as_ref()
            .or(Some(text))
    }

    /// The text, kind included, encoded to UTF-8 once more: each character stands for one byte.
    pub fn twice_encoded(&self) -> Option<&Str> {
        let text = self.0.text.as_ref()?;
        if text.is_ascii() {
            return Some(text);
        }
        let encode = || encode_twice(text).into();
        Some(self.rare().twice.get_or_init(encode))
    }

    /// Bytes held, without what shapes other than the first add.
    pub fn len(&self) -> usize {
        let text = self.0.text.as_ref().map_or(0, |text| text.len());
        text + self.0.attachments.iter().map(Bytes::len).sum::<usize>()
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn rare(&self) -> &Rare {
        self.0.rare.get_or_init(Box::default)
    }
}

/// Text encoded to UTF-8, each byte of that as one character.
fn encode_twice(text: &str) -> String {
    text.bytes().map(char::from).collect()
}

impl From<Data> for Encoded {
    fn from(data: Data) -> Self {
        match data {
            Data::Text(text) => Encoded::text(&text),
            Data::Binary(bytes) => Encoded::binary(bytes),
        }
    }
}

impl From<&str> for Encoded {
    fn from(text: &str) -> Self {
        Encoded::text(text)
    }
}

impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Encoded")
            .field("text", &self.0.text)
            .field("attachments", &self.0.attachments.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_is_one_pointer() {
        assert_eq!(size_of::<Encoded>(), size_of::<usize>());
    }

    #[test]
    fn compression_is_switched_off_for_one_owner_only() {
        let it = Encoded::text("é");
        let plain = it.clone().compress(false);
        assert!(it.compresses());
        assert!(!plain.compresses());
        assert_eq!(plain.wire_text(), it.wire_text());
        assert!(plain.compress(true).compresses());
    }

    #[test]
    fn rare_shapes() {
        let it = Encoded::from_wire(
            Some("451-[\"é\"]".into()),
            vec![Bytes::from_static(&[1, 255])],
            Some(|text| text.replace('é', "\\u00e9")),
        );
        assert_eq!(&**it.ascii().unwrap(), "451-[\"\\u00e9\"]");
        assert_eq!(&**it.twice_encoded().unwrap(), "451-[\"Ã©\"]");
        assert_eq!(&*it.base64_attachments()[0], "Af8=");
        assert_eq!(&it.prefixed_attachments()[0][..], [4, 1, 255]);
        assert_eq!(it.len(), 12);
    }

    #[test]
    fn ascii_text_is_not_copied() {
        let it = Encoded::text("hello");
        assert_eq!(
            it.twice_encoded().unwrap().as_bytes().as_ptr(),
            it.wire_text().unwrap().as_bytes().as_ptr()
        );
    }
}
