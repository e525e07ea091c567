//! Encoding.

use engineio_proto::Encoded;
use serde::Serialize;

use crate::{Args, EncodeError};

/// What can be sent as arguments: everything `Serialize`, and [`Args`].
pub trait ToArgs {
    /// Writes.
    fn write_args(&self, out: &mut ArgsWriter<'_>) -> Result<(), EncodeError>;
}

/// Where arguments are written to.
#[derive(Debug)]
pub struct ArgsWriter<'a>(std::marker::PhantomData<&'a mut ()>);

impl<T: Serialize + ?Sized> ToArgs for T {
    fn write_args(&self, _: &mut ArgsWriter<'_>) -> Result<(), EncodeError> {
        todo!()
    }
}

impl ToArgs for Args {
    fn write_args(&self, _: &mut ArgsWriter<'_>) -> Result<(), EncodeError> {
        todo!()
    }
}

/// An event.
pub fn event<A: ToArgs + ?Sized>(
    _nsp: &str,
    _id: Option<u64>,
    _name: &str,
    _args: &A,
) -> Result<Encoded, EncodeError> {
    todo!()
}

/// An ack.
pub fn ack<A: ToArgs + ?Sized>(_nsp: &str, _id: u64, _args: &A) -> Result<Encoded, EncodeError> {
    todo!()
}
