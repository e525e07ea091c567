//! Arguments of an event or an acknowledgement.

use std::{fmt, sync::Arc};

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
    /// A JSON array, valid. In an event its first element is the name.
    array: Str,
    /// Where the arguments begin in it: behind the bracket, or behind the name and its comma.
    start: usize,
    /// If there are any, objects that start with a member `_placeholder` set to `true`, its name
    /// without escapes, are placeholders, have `num` as the second and last member, and name one
    /// of these.
    attachments: Option<Arc<[Bytes]>>,
}

impl Args {
    /// No arguments.
    pub fn empty() -> Self {
        Self::new_ack(Str::from_static("[]"), Vec::new())
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
    /// If the text is no JSON array, or a placeholder names an attachment that is not there.
    ///
    /// ```
    /// use socketio_proto::Args;
    ///
    /// let args = Args::from_json(r#"["a", 1]"#.into(), Vec::new()).unwrap();
    /// assert_eq!(args.deserialize(), Ok(("a".to_owned(), 1)));
    /// assert!(Args::from_json("{}".into(), Vec::new()).is_err());
    /// ```
    pub fn from_json(array: Str, attachments: Vec<Bytes>) -> Result<Self, DecodeError> {
        let array = decode::array(&array, &array, attachments.len())?;
        Ok(Self::new_ack(array, attachments))
    }

    /// A valid JSON array and its attachments.
    pub(crate) fn new_ack(array: Str, attachments: Vec<Bytes>) -> Self {
        Self {
            array,
            start: 1,
            attachments: (!attachments.is_empty()).then(|| attachments.into()),
        }
    }

    /// A valid JSON array whose first element is an event's name.
    pub(crate) fn new_event(array: Str, start: usize) -> Self {
        Self {
            array,
            start,
            attachments: None,
        }
    }

    pub(crate) fn set_attachments(&mut self, attachments: Vec<Bytes>) {
        self.attachments = Some(attachments.into());
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
            self.array = format!("[{}]", self.json()).into();
        }
        let (name, start) = decode::split_name(&self.array)?;
        self.start = start;
        Some((name, self))
    }

    /// Copies what they hold; see [`Packet::detach`](crate::Packet::detach).
    pub fn detach(&mut self) {
        self.array = Str::from(&*self.array);
        if let Some(attachments) = &mut self.attachments {
            let copies = attachments
                .iter()
                .map(|bytes| Bytes::copy_from_slice(bytes));
            *attachments = copies.collect();
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
        self.attachments.as_deref().unwrap_or_default()
    }

    /// The arguments as JSON, separated by commas, without brackets around. Where binary data
    /// belongs stands `{"_placeholder":true,"num":0}` with the number of the attachment.
    pub fn json(&self) -> &str {
        json::trim(&self.array[self.start..self.array.len() - 1])
    }

    /// The array, name included.
    pub(crate) fn array(&self) -> &str {
        &self.array
    }

    /// Where the arguments begin in it.
    pub(crate) fn start(&self) -> usize {
        self.start
    }

    /// Whether a name comes before them.
    pub(crate) fn is_named(&self) -> bool {
        self.start > 1
    }

    /// The name of the event that these are the arguments of.
    pub(crate) fn event(&self) -> Option<String> {
        let name = json::trim(self.array[1..self.start].trim_end_matches(','));
        let name = self.is_named().then_some(name)?;
        if name.starts_with('"') {
            json::unescape(name)
        } else {
            Some(name.into())
        }
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
