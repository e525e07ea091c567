//! Packets with arguments, in one pass into one buffer.
//!
//! How many attachments the header has to announce is known only after the arguments have been
//! written. Few packets have any, so there the header is mended afterwards.

use engineio_proto::Encoded;
use serde::Serialize;

use crate::{Args, EncodeError, json, placeholder, ser::Output};

/// An event: type 2, or 5 with its attachments. The same text serves protocol 4 and 5.
///
/// `nsp` starts with a slash and has no comma in it. With an `id`, the client is to answer.
/// The name is not checked; see [`is_reserved`](crate::is_reserved).
///
/// | `args` | arguments |
/// |---|---|
/// | `()`, a unit struct | none |
/// | a tuple, a tuple struct, an array `[T; N]` | one for each element |
/// | a newtype struct | those of what is in it |
/// | [`Args`] | those it holds |
/// | everything else: text, numbers, structs, maps, `Option`, `Vec`, slices | one |
///
/// So a list that is to arrive as one argument is a `Vec` or a slice, or is put into a tuple of one
/// element: `&([1, 2],)`. Below the top tuples and arrays are lists like all others.
///
/// # Errors
///
/// If the arguments cannot be JSON.
///
/// ```
/// use bytes::Bytes;
/// use socketio_proto::encode;
///
/// let it = encode::event("/", None, "msg", &("a", 1)).unwrap();
/// assert_eq!(&**it.wire_text().unwrap(), r#"42["msg","a",1]"#);
///
/// let it = encode::event("/", None, "msg", &[1, 2]).unwrap();
/// assert_eq!(&**it.wire_text().unwrap(), r#"42["msg",1,2]"#);
/// let it = encode::event("/", None, "msg", &vec![1, 2]).unwrap();
/// assert_eq!(&**it.wire_text().unwrap(), r#"42["msg",[1,2]]"#);
///
/// let it = encode::event("/files", Some(7), "put", &Bytes::from_static(&[1, 2])).unwrap();
/// assert_eq!(
///     &**it.wire_text().unwrap(),
///     r#"451-/files,7["put",{"_placeholder":true,"num":0}]"#
/// );
/// assert_eq!(it.attachments(), [Bytes::from_static(&[1, 2])]);
/// ```
pub fn event<A: ToArgs + ?Sized>(
    nsp: &str,
    id: Option<u64>,
    name: &str,
    args: &A,
) -> Result<Encoded, EncodeError> {
    let size = args.size_hint();
    let comma = usize::from(size > 0);
    let mut out = ArgsWriter::begin(EVENT, nsp, id, "\"\"".len() + name.len() + comma + size);
    out.0.begun = true;
    json::push_string(&mut out.0.text, name);
    args.write_args(&mut out)?;
    Ok(out.finish(BINARY_EVENT))
}

/// The answer to an event that came with an `id`: type 3, or 6 with its attachments. The same text
/// serves protocol 4 and 5. Values are arguments as in [`event`].
///
/// # Errors
///
/// If the arguments cannot be JSON.
///
/// ```
/// let it = socketio_proto::encode::ack("/admin", 12, &true).unwrap();
/// assert_eq!(&**it.wire_text().unwrap(), "43/admin,12[true]");
/// ```
pub fn ack<A: ToArgs + ?Sized>(nsp: &str, id: u64, args: &A) -> Result<Encoded, EncodeError> {
    let mut out = ArgsWriter::begin(ACK, nsp, Some(id), args.size_hint());
    args.write_args(&mut out)?;
    Ok(out.finish(BINARY_ACK))
}

/// What can be sent as arguments: everything that is `Serialize`, and [`Args`].
///
/// A tuple, a tuple struct and an array stand for several arguments. `()` and a unit struct stand
/// for none, a newtype struct for what is in it, and everything else (a `Vec` and a `null` too) for
/// one.
/// Whatever serialises as bytes becomes an attachment, at any depth: [`bytes::Bytes`] does, a
/// `Vec<u8>` does not (to serde it is a list of numbers).
///
/// A type that is not `Serialize` can implement this by hand, argument by argument:
///
/// ```
/// use socketio_proto::{EncodeError, ToArgs, encode::{self, ArgsWriter}};
///
/// struct WithOffset<'a>(&'a dyn ToArgs, &'a str);
///
/// impl ToArgs for WithOffset<'_> {
///     fn write_args(&self, out: &mut ArgsWriter) -> Result<(), EncodeError> {
///         self.0.write_args(out)?;
///         out.push(self.1)
///     }
/// }
///
/// let it = encode::event("/", None, "e", &WithOffset(&(1, 2), "x")).unwrap();
/// assert_eq!(&**it.wire_text().unwrap(), r#"42["e",1,2,"x"]"#);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent as the arguments of an event",
    label = "not `Serialize`",
    note = "derive `serde::Serialize` for it"
)]
pub trait ToArgs {
    /// Writes the arguments, in order.
    ///
    /// # Errors
    ///
    /// If they cannot be JSON.
    fn write_args(&self, out: &mut ArgsWriter) -> Result<(), EncodeError>;

    /// How many bytes they take, as far as that is known before: the buffer is made for so many. One
    /// that is neither too small nor too large saves an allocation.
    fn size_hint(&self) -> usize {
        USUAL_SIZE
    }
}

impl<T: Serialize + ?Sized> ToArgs for T {
    fn write_args(&self, out: &mut ArgsWriter) -> Result<(), EncodeError> {
        out.0.push_all(self).map_err(EncodeError::new)
    }
}

/// Relays what has arrived: the JSON as it was, attachments without a copy.
impl ToArgs for Args {
    fn write_args(&self, out: &mut ArgsWriter) -> Result<(), EncodeError> {
        let (json, attachments) = (self.json(), self.attachments());
        if !json.is_empty() {
            let json = match (attachments.len(), out.0.attachments.len()) {
                (0, _) if out.0.neutral => placeholder::hide(json),
                (0, _) | (_, 0) => json.into(),
                (_, shift) => placeholder::shift(json, shift).into(),
            };
            out.0.separate();
            out.0.text.push_str(&json);
        }
        if !attachments.is_empty() {
            // no larger than what becomes of it
            out.0.attachments.reserve_exact(attachments.len());
            out.0.attachments.extend_from_slice(attachments);
        }
        Ok(())
    }

    fn size_hint(&self) -> usize {
        let count = match self.attachments().len() {
            0 => 0,
            count => digits(count as u64) + "-".len(),
        };
        self.json().len() + count
    }
}

/// Where [`ToArgs`] writes to.
#[derive(Debug)]
pub struct ArgsWriter(Output);

impl ArgsWriter {
    /// Writes one argument; a tuple is a list here.
    ///
    /// # Errors
    ///
    /// If it cannot be JSON.
    pub fn push<T: Serialize + ?Sized>(&mut self, argument: &T) -> Result<(), EncodeError> {
        self.0.push(argument).map_err(EncodeError::new)
    }

    /// The arguments of a value, as if they had arrived.
    pub(crate) fn collect<A: ToArgs + ?Sized>(args: &A) -> Result<Args, EncodeError> {
        let mut out = ArgsWriter(Output {
            text: String::from("["),
            neutral: true,
            ..Output::default()
        });
        args.write_args(&mut out)?;
        out.0.text.push(']');
        let args = Args::of_array(out.0.text.into(), 0);
        Ok(args.with_attachments(out.0.attachments))
    }

    fn begin(kind: &str, nsp: &str, id: Option<u64>, size: usize) -> Self {
        let nsp = if nsp == "/" { "" } else { nsp };
        let header = kind.len() + nsp.len() + usize::from(!nsp.is_empty()) + id.map_or(0, digits);
        let mut text = String::with_capacity(header + "[]".len() + size);
        text.push_str(kind);
        if !nsp.is_empty() {
            text.push_str(nsp);
            text.push(',');
        }
        if let Some(id) = id {
            json::push_number(&mut text, id);
        }
        text.push('[');
        Self(Output {
            text,
            ..Output::default()
        })
    }

    fn finish(self, binary: &str) -> Encoded {
        let Output {
            mut text,
            attachments,
            ..
        } = self.0;
        text.push(']');
        if !attachments.is_empty() {
            text.replace_range(..binary.len(), binary);
            text.insert(binary.len(), '-');
            let mut count = itoa::Buffer::new();
            text.insert_str(binary.len(), count.format(attachments.len()));
        }
        Encoded::from_wire(Some(text.into()), attachments, Some(to_ascii))
    }
}

/// The wire text with everything beyond ASCII escaped, where it can be: in the JSON. The name of
/// a namespace stays.
pub(crate) fn to_ascii(wire: &str) -> String {
    let after_count = wire.trim_start_matches(|it: char| it.is_ascii_digit() || it == '-');
    let json = match after_count.split_once(',') {
        Some((_, json)) if after_count.starts_with('/') => json,
        _ => after_count,
    };
    let mut out = String::with_capacity(wire.len() * 2);
    out.push_str(&wire[..wire.len() - json.len()]);
    json::push_ascii(&mut out, json);
    out
}

fn digits(number: u64) -> usize {
    number.checked_ilog10().unwrap_or(0) as usize + 1
}

const EVENT: &str = "42";
const ACK: &str = "43";
const BINARY_EVENT: &str = "45";
const BINARY_ACK: &str = "46";

/// Bytes that most arguments fit into.
const USUAL_SIZE: usize = 128;
