//! Arguments.

use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::{ArgsError, EncodeError, ToArgs};

/// The arguments of an event or ack, still in wire form.
#[derive(Clone, Debug, PartialEq)]
pub struct Args {}

impl Args {
    /// No arguments.
    pub fn empty() -> Self {
        todo!()
    }
    /// Arguments made of a value, as if they had arrived.
    pub fn new<A: ToArgs + ?Sized>(_value: &A) -> Result<Self, EncodeError> {
        todo!()
    }
    /// Typed.
    pub fn deserialize<T: DeserializeOwned>(&self) -> Result<T, ArgsError> {
        todo!()
    }
    /// Number of arguments.
    pub fn len(&self) -> usize {
        todo!()
    }
    /// No arguments.
    pub fn is_empty(&self) -> bool {
        todo!()
    }
    /// Binary parts.
    pub fn attachments(&self) -> &[Bytes] {
        todo!()
    }
    /// The elements, separated by commas, without brackets.
    pub fn json(&self) -> &str {
        todo!()
    }
}
