//! Values into arguments: which values are several arguments, and where bytes go.

use std::io;

use bytes::Bytes;
use serde::{Serialize, ser};
use serde_json::{
    Error, Result,
    ser::{CharEscape, CompactFormatter, Formatter},
};

use crate::{json, placeholder};

/// Arguments being written: JSON, and the attachments it refers to.
#[derive(Debug, Default)]
pub(crate) struct Output {
    /// What has been written so far, and whatever stood before it.
    pub(crate) text: String,
    pub(crate) attachments: Vec<Bytes>,
    /// Whether the next argument needs a comma.
    pub(crate) begun: bool,
    /// Whether what looks like a placeholder must not become one. On the wire of the default
    /// parser it does, with every official server and client.
    pub(crate) neutral: bool,
}

impl Output {
    /// Writes the arguments that a value stands for.
    pub(crate) fn push_all<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        value.serialize(Top {
            out: self,
            json: &mut None,
            // `()` and a JSON `null` look the same to serde; but there is nothing in `()`.
            is_empty: size_of_val(value) == 0,
        })
    }

    /// Writes one argument.
    pub(crate) fn push<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        value.serialize(&mut self.begin())
    }

    /// Appends a comma if one is needed.
    pub(crate) fn separate(&mut self) {
        if self.begun {
            self.text.push(',');
        }
        self.begun = true;
    }

    fn begin(&mut self) -> Json<'_> {
        self.separate();
        Json::with_formatter(io::sink(), Format { out: self })
    }
}

/// All output goes through the formatter, which gets text where a writer would get bytes: so the
/// buffer is a string from the start, and nobody has to check that it is one.
type Json<'a> = serde_json::Serializer<io::Sink, Format<'a>>;

struct Format<'a> {
    out: &'a mut Output,
}

impl Format<'_> {
    fn push(&mut self, text: &str) -> io::Result<()> {
        self.out.text.push_str(text);
        Ok(())
    }

    fn push_after_comma(&mut self, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { self.push(",") }
    }

    fn push_number(&mut self, write: impl FnOnce(&mut Digits) -> io::Result<()>) -> io::Result<()> {
        let mut digits = Digits {
            bytes: [0; 40],
            len: 0,
        };
        write(&mut digits)?;
        let number = &digits.bytes[..digits.len];
        self.push(str::from_utf8(number).map_err(io::Error::other)?)
    }
}

macro_rules! numbers {
    ($($method:ident($type:ty))*) => {$(
        fn $method<W: ?Sized + io::Write>(&mut self, _: &mut W, value: $type) -> io::Result<()> {
            self.push_number(|digits| CompactFormatter.$method(digits, value))
        }
    )*};
}

macro_rules! tokens {
    ($($method:ident => $text:literal)*) => {$(
        fn $method<W: ?Sized + io::Write>(&mut self, _: &mut W) -> io::Result<()> {
            self.push($text)
        }
    )*};
}

macro_rules! texts {
    ($($method:ident)*) => {$(
        fn $method<W: ?Sized + io::Write>(&mut self, _: &mut W, text: &str) -> io::Result<()> {
            self.push(text)
        }
    )*};
}

macro_rules! elements {
    ($($method:ident)*) => {$(
        fn $method<W: ?Sized + io::Write>(&mut self, _: &mut W, first: bool) -> io::Result<()> {
            self.push_after_comma(first)
        }
    )*};
}

impl Formatter for Format<'_> {
    numbers! {
        write_i8(i8) write_i16(i16) write_i32(i32) write_i64(i64) write_i128(i128)
        write_u8(u8) write_u16(u16) write_u32(u32) write_u64(u64) write_u128(u128)
        write_f32(f32) write_f64(f64)
    }

    tokens! {
        write_null => "null"
        begin_string => "\"" end_string => "\""
        begin_array => "[" end_array => "]"
        begin_object => "{" begin_object_value => ":" end_object => "}"
    }

    texts! { write_number_str }

    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        _: &mut W,
        text: &str,
    ) -> io::Result<()> {
        if self.out.neutral && text == placeholder::MARK {
            return self.push(placeholder::HIDDEN_MARK.trim_matches('"'));
        }
        self.push(text)
    }

    fn write_raw_fragment<W: ?Sized + io::Write>(
        &mut self,
        _: &mut W,
        json: &str,
    ) -> io::Result<()> {
        if self.out.neutral {
            return self.push(&placeholder::hide(json));
        }
        self.push(json)
    }

    elements! { begin_array_value begin_object_key }

    fn write_bool<W: ?Sized + io::Write>(&mut self, _: &mut W, value: bool) -> io::Result<()> {
        self.push(if value { "true" } else { "false" })
    }

    fn write_char_escape<W: ?Sized + io::Write>(
        &mut self,
        _: &mut W,
        escape: CharEscape,
    ) -> io::Result<()> {
        self.push(match escape {
            CharEscape::Quote => "\\\"",
            CharEscape::ReverseSolidus => "\\\\",
            CharEscape::Solidus => "\\/",
            CharEscape::Backspace => "\\b",
            CharEscape::FormFeed => "\\f",
            CharEscape::LineFeed => "\\n",
            CharEscape::CarriageReturn => "\\r",
            CharEscape::Tab => "\\t",
            CharEscape::AsciiControl(byte) => {
                json::push_escape(&mut self.out.text, byte.into());
                return Ok(());
            }
        })
    }

    /// Bytes become an attachment, numbered in the order of appearance.
    fn write_byte_array<W: ?Sized + io::Write>(
        &mut self,
        _: &mut W,
        bytes: &[u8],
    ) -> io::Result<()> {
        placeholder::push(&mut self.out.text, self.out.attachments.len());
        self.out.attachments.push(Bytes::copy_from_slice(bytes));
        Ok(())
    }
}

/// The digits of one number; 128 bits and a sign have 40 at most.
struct Digits {
    bytes: [u8; 40],
    len: usize,
}

impl io::Write for Digits {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = (&mut self.bytes[self.len..]).write(bytes)?;
        self.len += written;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The value that stands for all arguments: a tuple is several, `()` is none, anything else is
/// one.
struct Top<'out, 'json> {
    out: &'out mut Output,
    /// Room for the serializer of a single compound argument.
    json: &'json mut Option<Json<'out>>,
    is_empty: bool,
}

impl<'out, 'json> Top<'out, 'json> {
    fn one(self) -> &'json mut Json<'out> {
        self.json.insert(self.out.begin())
    }

    fn several(self) -> Several<'out> {
        Several { out: self.out }
    }
}

macro_rules! one {
    ($($method:ident($($name:ident: $type:ty),*) -> $result:ty;)*) => {$(
        fn $method(self, $($name: $type),*) -> Result<$result> {
            self.one().$method($($name),*)
        }
    )*};
}

type Compound<'out, 'json> = <&'json mut Json<'out> as ser::Serializer>::SerializeSeq;

impl<'out, 'json> ser::Serializer for Top<'out, 'json> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Compound<'out, 'json>;
    type SerializeTuple = Several<'out>;
    type SerializeTupleStruct = Several<'out>;
    type SerializeTupleVariant = Compound<'out, 'json>;
    type SerializeMap = Compound<'out, 'json>;
    type SerializeStruct = Compound<'out, 'json>;
    type SerializeStructVariant = Compound<'out, 'json>;

    one! {
        serialize_bool(value: bool) -> ();
        serialize_i8(value: i8) -> ();
        serialize_i16(value: i16) -> ();
        serialize_i32(value: i32) -> ();
        serialize_i64(value: i64) -> ();
        serialize_i128(value: i128) -> ();
        serialize_u8(value: u8) -> ();
        serialize_u16(value: u16) -> ();
        serialize_u32(value: u32) -> ();
        serialize_u64(value: u64) -> ();
        serialize_u128(value: u128) -> ();
        serialize_f32(value: f32) -> ();
        serialize_f64(value: f64) -> ();
        serialize_char(value: char) -> ();
        serialize_bytes(value: &[u8]) -> ();
        serialize_none() -> ();
        serialize_unit_variant(name: &'static str, index: u32, variant: &'static str) -> ();
        serialize_seq(len: Option<usize>) -> Self::SerializeSeq;
        serialize_map(len: Option<usize>) -> Self::SerializeMap;
        serialize_struct(name: &'static str, len: usize) -> Self::SerializeStruct;
        serialize_tuple_variant(
            name: &'static str, index: u32, variant: &'static str, len: usize
        ) -> Self::SerializeTupleVariant;
        serialize_struct_variant(
            name: &'static str, index: u32, variant: &'static str, len: usize
        ) -> Self::SerializeStructVariant;
    }

    /// Most text needs no escapes, and is found to by larger steps than serde_json's.
    fn serialize_str(self, value: &str) -> Result<()> {
        if self.out.neutral || json::plain_len(value.as_bytes()) < value.len() {
            return self.one().serialize_str(value);
        }
        self.out.separate();
        json::push_string(&mut self.out.text, value);
        Ok(())
    }

    fn serialize_unit(self) -> Result<()> {
        if self.is_empty {
            return Ok(());
        }
        self.one().serialize_unit()
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<()> {
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<()> {
        self.out.push(value)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<()> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<()> {
        self.one()
            .serialize_newtype_variant(name, index, variant, value)
    }

    fn serialize_tuple(self, _: usize) -> Result<Several<'out>> {
        Ok(self.several())
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Several<'out>> {
        Ok(self.several())
    }
}

/// The elements of a tuple, each an argument.
struct Several<'out> {
    out: &'out mut Output,
}

impl ser::SerializeTuple for Several<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        self.out.push(value)
    }

    fn end(self) -> Result<()> {
        Ok(())
    }
}

impl ser::SerializeTupleStruct for Several<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<()> {
        self.out.push(value)
    }

    fn end(self) -> Result<()> {
        Ok(())
    }
}
