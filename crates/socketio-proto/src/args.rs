//! Arguments of an event or an acknowledgement.

use std::{borrow::Cow, fmt, slice, sync::Arc};

use bytes::Bytes;
use engineio_proto::Str;
use serde::de::DeserializeOwned;

use crate::{ArgsError, DecodeError, EncodeError, ToArgs, de, decode, encode::ArgsWriter, json};

/// The arguments of an event or of an acknowledgement, still in wire form: a slice of JSON, and
/// the attachments it refers to. Cloning copies neither.
///
/// They can be relayed as they are (this type is [`ToArgs`]), or read as a Rust type.
#[derive(Clone)]
pub struct Args {
    /// Ends with a JSON array, valid. In an event the first element is the name. What comes before
    /// may be the rest of the message.
    text: Str,
    /// Where the array begins.
    array: usize,
    /// Where the arguments begin: behind the bracket, or behind the name and its comma.
    start: usize,
    /// If there are any, objects that start with a member `_placeholder` set to `true`, its name
    /// without escapes, are placeholders, have `num` as the second and last member, and name one
    /// of these.
    attachments: Option<Arc<Attachments>>,
}

impl Args {
    /// No arguments.
    pub fn empty() -> Self {
        Self::of_array(Str::from_static("[]"), 0)
    }

    /// The arguments that a value stands for, as if they had arrived.
    ///
    /// # Errors
    ///
    /// If they cannot be JSON.
    ///
    /// ```
    /// let args = socketio_proto::Args::new(&("a", [1, 2])).unwrap();
    /// assert_eq!(args.json(), r#""a",[1,2]"#);
    /// ```
    pub fn new<A: ToArgs + ?Sized>(value: &A) -> Result<Self, EncodeError> {
        ArgsWriter::collect(value)
    }

    /// The arguments in a JSON array, for a parser of one's own. Its placeholders (see
    /// [`json`](Self::json)) stand for the attachments, if there are any.
    ///
    /// # Errors
    ///
    /// If the text is no JSON array, or a placeholder names an attachment that is not there, or one that
    /// another one names.
    ///
    /// ```
    /// use socketio_proto::Args;
    ///
    /// let args = Args::from_json(r#"["a", 1]"#.into(), Vec::new()).unwrap();
    /// assert_eq!(args.deserialize(), Ok(("a".to_owned(), 1)));
    /// assert!(Args::from_json("{}".into(), Vec::new()).is_err());
    /// ```
    pub fn from_json(array: Str, attachments: Vec<Bytes>) -> Result<Self, DecodeError> {
        let args = decode::array(array, 0, attachments.len(), usize::MAX)?;
        Ok(args.with_attachments(attachments))
    }

    /// The valid JSON array that a text ends with. It may have to get its attachments yet.
    pub(crate) fn of_array(text: Str, array: usize) -> Self {
        Self {
            text,
            array,
            start: array + 1,
            attachments: None,
        }
    }

    pub(crate) fn with_attachments(mut self, attachments: Vec<Bytes>) -> Self {
        if !attachments.is_empty() {
            self.set_attachments(Attachments::Many(attachments));
        }
        self
    }

    pub(crate) fn set_attachments(&mut self, attachments: Attachments) {
        self.attachments = Some(Arc::new(attachments));
    }

    /// The first argument as the name of an event, and the others. `None` if it is neither a string
    /// nor a number.
    ///
    /// ```
    /// let args = socketio_proto::Args::new(&("name", 1, 2)).unwrap();
    /// let (name, args) = args.split_name().unwrap();
    /// assert_eq!((&*name, args.json()), ("name", "1,2"));
    /// ```
    pub fn split_name(mut self) -> Option<(Str, Self)> {
        if self.is_named() {
            self.text = format!("[{}]", self.json()).into();
            self.array = 0;
        }
        let (name, start) = decode::split_name(self.array())?;
        let name = match name {
            Cow::Borrowed(name) => self.text.slice_ref(name),
            Cow::Owned(name) => name.into(),
        };
        self.start = self.array + start;
        Some((name, self))
    }

    /// Copies what they hold; see [`Packet::detach`](crate::Packet::detach).
    pub fn detach(&mut self) {
        self.text = Str::from(self.array());
        self.start -= self.array;
        self.array = 0;
        if let Some(attachments) = &mut self.attachments {
            let all = attachments.as_slice();
            let copies = all.iter().map(|bytes| Bytes::copy_from_slice(bytes));
            *attachments = Arc::new(Attachments::Many(copies.collect()));
        }
    }

    /// Reads the arguments as a Rust type.
    ///
    /// A tuple, a tuple struct and an array take one argument for each element; `()` and a unit
    /// struct take none; a newtype struct takes what its content takes; every other type takes
    /// the first argument. An `Option` of an argument that is not there is `None`. Arguments that
    /// the type does not ask for are ignored.
    ///
    /// Binary data is read by [`bytes::Bytes`] and every type that asks serde for bytes, at any
    /// depth. `Vec<u8>` is not one of these: to serde it is a list of numbers. A type that takes
    /// whatever comes (an untagged enum, a flattened field) is given bytes too, so
    /// `serde_json::Value`, which cannot hold any, refuses binary data.
    ///
    /// Half a surrogate pair, which a JavaScript string may hold but a Rust string may not, is
    /// read as U+FFFD.
    ///
    /// # Errors
    ///
    /// If an argument is missing or of another shape, or nested deeper than 127 levels.
    ///
    /// ```
    /// let args = socketio_proto::Args::new(&("a", 1, true)).unwrap();
    /// assert_eq!(args.deserialize::<(String, u32)>(), Ok(("a".into(), 1)));
    /// assert_eq!(args.deserialize::<String>(), Ok("a".into()));
    /// let error = args.deserialize::<(String, u32, bool, u8)>().unwrap_err();
    /// assert_eq!(error.to_string(), "argument 4 is missing");
    /// ```
    pub fn deserialize<T: DeserializeOwned>(&self) -> Result<T, ArgsError> {
        de::deserialize(self)
    }

    /// How many arguments there are. Walks along the JSON.
    pub fn len(&self) -> usize {
        json::count_elements(self.json())
    }

    /// Whether there are no arguments.
    pub fn is_empty(&self) -> bool {
        self.json().is_empty()
    }

    /// The binary parts, in the order in which they arrived.
    pub fn attachments(&self) -> &[Bytes] {
        let attachments = self.attachments.as_deref();
        attachments.map_or(&[], Attachments::as_slice)
    }

    /// The arguments as JSON, separated by commas, without brackets around. Where binary data
    /// belongs stands `{"_placeholder":true,"num":0}` with the number of the attachment.
    pub fn json(&self) -> &str {
        json::trim(&self.text[self.start..self.text.len() - 1])
    }

    /// The array, name included.
    pub(crate) fn array(&self) -> &str {
        &self.text[self.array..]
    }

    /// Where the arguments begin in it.
    pub(crate) fn start(&self) -> usize {
        self.start - self.array
    }

    /// Whether a name comes before them.
    pub(crate) fn is_named(&self) -> bool {
        self.start() > 1
    }

    /// The name of the event that these are the arguments of.
    pub(crate) fn event(&self) -> Option<String> {
        let name = json::trim(self.array()[1..self.start()].trim_end_matches(','));
        let name = self.is_named().then_some(name)?;
        if name.starts_with('"') {
            json::unescape(name)
        } else {
            Some(name.into())
        }
    }
}

/// The binary parts of a packet. Most have one, which needs no list.
#[derive(Debug)]
pub(crate) enum Attachments {
    One(Bytes),
    Many(Vec<Bytes>),
}

impl Attachments {
    pub(crate) fn push(&mut self, bytes: Bytes) {
        match self {
            Attachments::Many(many) if many.is_empty() => *self = Attachments::One(bytes),
            Attachments::Many(many) => many.push(bytes),
            Attachments::One(one) => {
                let one = std::mem::take(one);
                *self = Attachments::Many(vec![one, bytes]);
            }
        }
    }

    fn as_slice(&self) -> &[Bytes] {
        match self {
            Attachments::One(one) => slice::from_ref(one),
            Attachments::Many(many) => many,
        }
    }
}

impl Default for Attachments {
    fn default() -> Self {
        Attachments::Many(Vec::new())
    }
}

/// The same text and the same attachments.
impl PartialEq for Args {
    fn eq(&self, other: &Self) -> bool {
        self.json() == other.json() && self.attachments() == other.attachments()
    }
}

impl fmt::Debug for Args {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Args")
            .field("json", &self.json())
            .field("attachments", &self.attachments())
            .finish()
    }
}
