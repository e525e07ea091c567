//! What can go wrong: with a peer's message, with a value to send, with arguments of another shape.

use std::fmt;

/// A message that breaks the protocol. The connection it came on is to be closed.
///
/// [`Display`](fmt::Display) gives the official server's text where it has one.
///
/// ```
/// use socketio_proto::{DecodeError, Decoder, Limits};
///
/// let error = Decoder::new(Limits::default()).add("9".into()).unwrap_err();
/// assert_eq!(error, DecodeError::UnknownType(Some(9)));
/// assert_eq!(error.to_string(), "unknown packet type 9");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// The text does not start with a digit from 0 to 6. Holds the digit, if it is one.
    UnknownType(Option<u8>),
    /// A binary packet's header without a count of attachments, or with a count of 0.
    IllegalAttachments,
    /// More attachments than [`Limits::max_attachments`](crate::Limits::max_attachments).
    TooManyAttachments,
    /// A placeholder that names no attachment of its packet, or one that another one names.
    IllegalPlaceholder,
    /// A payload that is no JSON, or not of the shape that the packet type wants; a reserved event
    /// name; an id that does not fit 64 bits.
    InvalidPayload,
    /// Bytes that no header announced.
    UnexpectedBinary,
    /// Text while attachments are missing.
    UnexpectedText,
    /// A namespace longer than [`Limits::max_namespace`](crate::Limits::max_namespace).
    NamespaceTooLong,
    /// An event name longer than [`Limits::max_event_name`](crate::Limits::max_event_name).
    EventNameTooLong,
    /// More lists and objects inside of each other than [`Limits::max_depth`](crate::Limits::max_depth).
    TooDeep,
    /// Attachments with more bytes than
    /// [`Limits::max_attachment_bytes`](crate::Limits::max_attachment_bytes).
    AttachmentsTooLarge,
    /// A message that is no packet at all. This and what follows are errors of other parsers than
    /// the default one.
    InvalidPacket,
    /// A packet type that is none.
    InvalidType,
    /// A namespace that is no text.
    InvalidNamespace,
    /// An id that is no whole number, or does not fit 64 bits.
    InvalidId,
    /// The application's own [`Parser`](crate::Parser) panicked.
    ParserPanicked,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DecodeError::UnknownType(Some(digit)) => {
                return write!(f, "unknown packet type {digit}");
            }
            DecodeError::UnknownType(None) => "unknown packet type NaN",
            DecodeError::IllegalAttachments => "Illegal attachments",
            DecodeError::TooManyAttachments => "too many attachments",
            DecodeError::IllegalPlaceholder => "illegal attachments",
            DecodeError::InvalidPayload => "invalid payload",
            DecodeError::UnexpectedBinary => "got binary data when not reconstructing a packet",
            DecodeError::UnexpectedText => "got plaintext data when reconstructing a packet",
            DecodeError::NamespaceTooLong => "namespace too long",
            DecodeError::EventNameTooLong => "event name too long",
            DecodeError::TooDeep => "payload too deep",
            DecodeError::AttachmentsTooLarge => "attachments too large",
            DecodeError::InvalidPacket => "invalid packet",
            DecodeError::InvalidType => "invalid packet type",
            DecodeError::InvalidNamespace => "invalid namespace",
            DecodeError::InvalidId => "invalid packet id",
            DecodeError::ParserPanicked => "the parser panicked",
        })
    }
}

impl std::error::Error for DecodeError {}

/// A value that JSON cannot hold: a map whose keys are no strings, or whatever its own
/// `Serialize` refuses. Or a packet that a [`Parser`](crate::Parser) cannot encode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodeError(Box<str>);

impl EncodeError {
    /// The error with this text, for a parser of one's own.
    pub fn new(problem: impl fmt::Display) -> Self {
        Self(problem.to_string().into())
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for EncodeError {}

/// Arguments that do not fit the type asked for. Says which argument, and what is wrong with it.
///
/// ```
/// let args = socketio_proto::Args::new(&("a", "b")).unwrap();
/// let error = args.deserialize::<(String, u32)>().unwrap_err();
/// assert_eq!(error.argument(), 2);
/// assert_eq!(
///     error.to_string(),
///     "argument 2: invalid type: string \"b\", expected u32"
/// );
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ArgsError(Box<Inner>);

#[derive(Clone, PartialEq, Eq)]
struct Inner {
    argument: usize,
    event: Option<Box<str>>,
    /// `None`: there is no such argument.
    problem: Option<Box<str>>,
}

impl ArgsError {
    pub(crate) fn missing(argument: usize, event: Option<String>) -> Self {
        Self(Box::new(Inner {
            argument,
            event: event.map(Into::into),
            problem: None,
        }))
    }

    pub(crate) fn mismatch(
        argument: usize,
        event: Option<String>,
        error: &serde_json::Error,
    ) -> Self {
        Self(Box::new(Inner {
            argument,
            event: event.map(Into::into),
            problem: Some(describe(error).into()),
        }))
    }

    /// Which argument, counted from 1.
    pub fn argument(&self) -> usize {
        self.0.argument
    }

    /// Whether the peer left the argument out.
    pub fn is_missing(&self) -> bool {
        self.0.problem.is_none()
    }
}

impl fmt::Display for ArgsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "argument {}", self.0.argument)?;
        if let Some(event) = &self.0.event {
            write!(f, " of `{event}`")?;
        }
        match &self.0.problem {
            Some(problem) => write!(f, ": {problem}"),
            None => f.write_str(" is missing"),
        }
    }
}

impl fmt::Debug for ArgsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ArgsError({self})")
    }
}

impl std::error::Error for ArgsError {}

/// The error without its place in a text that nobody sees, and cut to a length fit for a log:
/// what a peer sent may be part of it.
fn describe(error: &serde_json::Error) -> String {
    let mut text = error.to_string();
    if error.line() > 0
        && let Some(place) = text.rfind(" at line ")
    {
        text.truncate(place);
    }
    if text.len() > MAX_DESCRIPTION {
        let expected = text.rfind(", expected ").map_or("", |at| &text[at..]);
        let expected: String = expected.chars().take(MAX_DESCRIPTION / 4).collect();
        text = text.chars().take(MAX_DESCRIPTION / 4).collect();
        text.push('…');
        text.push_str(&expected);
    }
    text
}

/// Bytes; a character has four at most.
const MAX_DESCRIPTION: usize = 400;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Args;

    #[test]
    fn errors_are_small() {
        assert_eq!(size_of::<DecodeError>(), 2);
        assert_eq!(size_of::<ArgsError>(), 8);
        assert_eq!(size_of::<EncodeError>(), 16);
    }

    #[test]
    fn a_long_value_is_cut_but_what_was_expected_stays() {
        let args = Args::new(&"é".repeat(10_000)).unwrap();
        let error = args.deserialize::<u32>().unwrap_err().to_string();
        assert!(
            error.starts_with("argument 1: invalid type: string \"éé"),
            "{error}"
        );
        assert!(error.ends_with("é…, expected u32"), "{error}");
        assert!(error.len() < 450);
    }
}
