//! Errors.

use std::fmt;

/// What is wrong with a message of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DecodeError {
    /// `invalid payload`
    InvalidPayload,
}

/// Why a value cannot be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodeError(Box<str>);

/// Why arguments do not fit a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArgsError(Box<str>);

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("invalid payload")
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for ArgsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DecodeError {}
impl std::error::Error for EncodeError {}
impl std::error::Error for ArgsError {}
