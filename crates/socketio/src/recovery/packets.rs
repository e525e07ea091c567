//! Events with their offsets.

use engineio::Version;
use serde::Serialize;
use socketio_proto::{Args, ArgsWriter, EncodeError, Encoded, ToArgs};

use crate::{Namespace, namespace::Member};

/// An event in the shapes that its recipients need.
#[derive(Debug)]
pub(crate) struct Packets {
    pub(super) new: Encoded,
    /// For sockets of protocol 4, if it is another one and there are any.
    pub(super) plain: Option<Encoded>,
}

impl Packets {
    /// An event that is not kept. A client takes the last element of every event for an offset if
    /// it is text, be it an argument or the name, so `null` comes behind it.
    pub(crate) fn unkept<A: ToArgs + ?Sized>(
        namespace: &Namespace,
        event: &str,
        args: &A,
        compress: bool,
    ) -> Result<Self, EncodeError> {
        let args = Args::new(args)?;
        let (codec, name) = (namespace.codec(), namespace.name());
        let plain = codec.event(name, None, event, &args)?.compress(compress);
        if !args.is_empty() && !args.json().ends_with('"') {
            return Ok(Self {
                new: plain,
                plain: None,
            });
        }
        let new = codec.event(name, None, event, &Followed(&args, &NULL))?;
        Ok(Self {
            new: new.compress(compress),
            plain: Some(plain),
        })
    }

    pub(crate) fn of(&self, member: &Member) -> Encoded {
        let plain = self.plain.as_ref();
        let plain = plain.filter(|_| member.session.version() == Version::V3);
        plain.unwrap_or(&self.new).clone()
    }

    pub(crate) fn new_clients(&self) -> Encoded {
        self.new.clone()
    }
}

/// Arguments, and one more.
pub(super) struct Followed<'a, A: ?Sized, T: ?Sized>(pub(super) &'a A, pub(super) &'a T);

impl<A: ToArgs + ?Sized, T: Serialize + ?Sized> ToArgs for Followed<'_, A, T> {
    fn write_args(&self, out: &mut ArgsWriter) -> Result<(), EncodeError> {
        self.0.write_args(out)?;
        out.push(self.1)
    }

    fn size_hint(&self) -> usize {
        self.0.size_hint() + OFFSET_SIZE
    }
}

/// Bytes that what follows usually fits into.
const OFFSET_SIZE: usize = 32;

/// JSON's `null`.
const NULL: Option<()> = None;
