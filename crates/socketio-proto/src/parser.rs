//! The parser as a choice: the default one, or another for all connections of a server.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use engineio_proto::{Data, Encoded, Str, Version};
use serde_json::value::RawValue;

use crate::{
    Args, DecodeError, Decoder, EncodeError, Limits, Packet, PacketKind, ToArgs, connect, encode,
};

/// What packets look like on the wire, in place of the default parser. Clients must use the same.
///
/// A [`Packet`] is the neutral form in both directions: JSON with binary data beside it. How the
/// two protocol versions differ has been settled in it, so a parser does not have to know.
///
/// One that panics does harm to one packet, or to the connection that the packet came on.
///
/// Source: Socket.IO documentation, "Custom parser".
///
/// ```
/// use socketio_proto::{
///     Args, Codec, Data, DecodeError, EncodeError, Encoded, Limits, Packet, PacketDecoder,
///     PacketKind, Parser,
/// };
///
/// /// Nothing but events without ids, in the namespace `/`: the name, a blank, and a list.
/// struct Terse;
///
/// impl Parser for Terse {
///     fn encode(&self, packet: &Packet) -> Result<Encoded, EncodeError> {
///         match &packet.kind {
///             PacketKind::Event { name, args, .. } if args.attachments().is_empty() => {
///                 Ok(Encoded::text(&format!("{name} [{}]", args.json())))
///             }
///             _ => Err(EncodeError::new("only events can be sent")),
///         }
///     }
///
///     fn decoder(&self, _: Limits) -> Box<dyn PacketDecoder> {
///         Box::new(Terse)
///     }
/// }
///
/// impl PacketDecoder for Terse {
///     fn add(&mut self, message: Data) -> Result<Option<Packet>, DecodeError> {
///         let Data::Text(text) = message else {
///             return Err(DecodeError::UnexpectedBinary);
///         };
///         let (name, list) = text.split_once(' ').ok_or(DecodeError::InvalidPayload)?;
///         Ok(Some(Packet {
///             nsp: "/".into(),
///             kind: PacketKind::Event {
///                 name: name.into(),
///                 id: None,
///                 args: Args::from_json(list.into(), Vec::new())?,
///             },
///         }))
///     }
/// }
///
/// let codec = Codec::new(Terse);
/// let it = codec.event("/", None, "sum", &(1, 2)).unwrap();
/// assert_eq!(&**it.wire_text().unwrap(), "4sum [1,2]");
///
/// let mut decoder = codec.decoder(Limits::default());
/// let packet = decoder.add("sum [1,2]".into()).unwrap().unwrap();
/// let PacketKind::Event { args, .. } = packet.kind else { panic!() };
/// assert_eq!(args.deserialize(), Ok((1, 2)));
/// ```
pub trait Parser: Send + Sync + 'static {
    /// A packet as one message, or several that leave together. Never an
    /// [`Empty`](PacketKind::Empty) one.
    ///
    /// # Errors
    ///
    /// If the packet cannot be said in this way. An event is then not sent, and its sender is
    /// told; a client that cannot be told that it has joined a namespace is disconnected.
    fn encode(&self, packet: &Packet) -> Result<Encoded, EncodeError>;

    /// A decoder for one connection. It is to hold to the limits in what it keeps; the lengths of
    /// names are looked at again when it gives a packet.
    fn decoder(&self, limits: Limits) -> Box<dyn PacketDecoder>;
}

/// Turns the messages of one connection into packets; made by [`Parser::decoder`].
pub trait PacketDecoder: Send {
    /// Takes the next message: gives a packet, or `None` while more messages belong to it.
    ///
    /// # Errors
    ///
    /// If the message breaks the protocol or a limit. The connection is then closed.
    fn add(&mut self, message: Data) -> Result<Option<Packet>, DecodeError>;
}

/// How a server encodes and decodes: the default parser, which is a plain call of [`encode`],
/// [`connect`](mod@connect) and [`Decoder`], or another one. Cheap to clone.
#[derive(Clone, Default)]
pub struct Codec(Option<Arc<dyn Parser>>);

impl Codec {
    /// Another parser than the default one.
    pub fn new(parser: impl Parser) -> Self {
        Self(Some(Arc::new(parser)))
    }

    /// An event; see [`encode::event`].
    ///
    /// # Errors
    ///
    /// If the arguments cannot be JSON, or the parser cannot encode them.
    pub fn event<A: ToArgs + ?Sized>(
        &self,
        nsp: &str,
        id: Option<u64>,
        name: &str,
        args: &A,
    ) -> Result<Encoded, EncodeError> {
        let Some(parser) = &self.0 else {
            return encode::event(nsp, id, name, args);
        };
        let (name, args) = (name.into(), Args::new(args)?);
        run(&**parser, nsp, PacketKind::Event { name, id, args })
    }

    /// The answer to an event; see [`encode::ack`].
    ///
    /// # Errors
    ///
    /// If the arguments cannot be JSON, or the parser cannot encode them.
    pub fn ack<A: ToArgs + ?Sized>(
        &self,
        nsp: &str,
        id: u64,
        args: &A,
    ) -> Result<Encoded, EncodeError> {
        let Some(parser) = &self.0 else {
            return encode::ack(nsp, id, args);
        };
        let args = Args::new(args)?;
        run(&**parser, nsp, PacketKind::Ack { id, args })
    }

    /// The client has joined the namespace; see [`connect::connect`].
    ///
    /// # Errors
    ///
    /// If the parser cannot encode it.
    pub fn connect(
        &self,
        version: Version,
        nsp: &str,
        sid: &str,
        pid: Option<&str>,
    ) -> Result<Encoded, EncodeError> {
        let Some(parser) = &self.0 else {
            return Ok(connect::connect(version, nsp, sid, pid));
        };
        let auth = connect::payload(version, sid, pid).map(Str::from);
        run(&**parser, nsp, PacketKind::Connect { auth })
    }

    /// The client may not join the namespace; see [`connect::connect_error`].
    ///
    /// # Errors
    ///
    /// If the parser cannot encode it.
    pub fn connect_error(
        &self,
        version: Version,
        nsp: &str,
        message: &str,
        data: Option<&RawValue>,
    ) -> Result<Encoded, EncodeError> {
        let Some(parser) = &self.0 else {
            return Ok(connect::connect_error(version, nsp, message, data));
        };
        let data = Some(connect::error_payload(version, message, data).into());
        run(&**parser, nsp, PacketKind::ConnectError { data })
    }

    /// The server makes the client leave the namespace; see [`connect::disconnect`].
    ///
    /// # Errors
    ///
    /// If the parser cannot encode it.
    pub fn disconnect(&self, nsp: &str) -> Result<Encoded, EncodeError> {
        match &self.0 {
            None => Ok(connect::disconnect(nsp)),
            Some(parser) => run(&**parser, nsp, PacketKind::Disconnect),
        }
    }

    /// A decoder for one connection.
    pub fn decoder(&self, limits: Limits) -> AnyDecoder {
        AnyDecoder(match &self.0 {
            None => Kind::Default(Decoder::new(limits)),
            Some(parser) => Kind::Other(Box::new(Checked {
                decoder: guarded(|| parser.decoder(limits)).ok(),
                limits,
            })),
        })
    }
}

impl fmt::Debug for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parser = if self.0.is_some() { "other" } else { "default" };
        f.debug_tuple("Codec").field(&parser).finish()
    }
}

/// The decoder of one connection, whatever the parser; made by [`Codec::decoder`].
#[derive(Debug)]
pub struct AnyDecoder(Kind);

#[derive(Debug)]
enum Kind {
    Default(Decoder),
    Other(Box<Checked>),
}

impl AnyDecoder {
    /// Takes the next message: gives a packet, or `None` while more messages belong to it.
    ///
    /// # Errors
    ///
    /// If the message breaks the protocol or a limit, or the parser panics. The connection is then
    /// to be closed.
    pub fn add(&mut self, message: Data) -> Result<Option<Packet>, DecodeError> {
        match &mut self.0 {
            Kind::Default(decoder) => decoder.add(message),
            Kind::Other(decoder) => decoder.add(message),
        }
    }
}

/// A decoder that is not taken at its word.
struct Checked {
    /// `None`: the parser panicked instead of giving one.
    decoder: Option<Box<dyn PacketDecoder>>,
    limits: Limits,
}

impl Checked {
    fn add(&mut self, message: Data) -> Result<Option<Packet>, DecodeError> {
        let decoder = self.decoder.as_mut().ok_or(DecodeError::ParserPanicked)?;
        let packet =
            guarded(|| decoder.add(message)).unwrap_or(Err(DecodeError::ParserPanicked))?;
        if let Some(packet) = &packet {
            self.limits.check_namespace(&packet.nsp)?;
            if let PacketKind::Event { name, .. } = &packet.kind {
                self.limits.check_event_name(name)?;
            }
        }
        Ok(packet)
    }
}

impl fmt::Debug for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checked").finish_non_exhaustive()
    }
}

fn run(parser: &dyn Parser, nsp: &str, kind: PacketKind) -> Result<Encoded, EncodeError> {
    let nsp = nsp.into();
    guarded(|| parser.encode(&Packet { nsp, kind }))
        .unwrap_or_else(|_| Err(EncodeError::new("the parser panicked")))
}

/// Calls the application, which may panic.
fn guarded<R>(call: impl FnOnce() -> R) -> std::thread::Result<R> {
    catch_unwind(AssertUnwindSafe(call))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives back what it was told to, and panics when it was told nothing.
    struct Stub(Option<PacketKind>);

    impl Parser for Stub {
        fn encode(&self, packet: &Packet) -> Result<Encoded, EncodeError> {
            let expected = self.0.as_ref().expect("to be told");
            assert_eq!(&packet.kind, expected);
            Ok(Encoded::text(&packet.nsp))
        }

        fn decoder(&self, _: Limits) -> Box<dyn PacketDecoder> {
            Box::new(Stub(self.0.clone()))
        }
    }

    impl PacketDecoder for Stub {
        fn add(&mut self, message: Data) -> Result<Option<Packet>, DecodeError> {
            let Data::Text(nsp) = message else {
                return Ok(None);
            };
            let kind = self.0.clone().expect("to be told");
            Ok(Some(Packet { nsp, kind }))
        }
    }

    #[test]
    fn a_decoder_is_no_larger_than_the_default_one() {
        assert!(size_of::<AnyDecoder>() <= 40, "{}", size_of::<AnyDecoder>());
        assert_eq!(size_of::<Codec>(), 16);
    }

    #[test]
    fn the_default_is_the_default_parser() {
        let codec = Codec::default();
        let text = |it: Result<Encoded, EncodeError>| it.unwrap().wire_text().unwrap().to_string();
        assert_eq!(text(codec.event("/", None, "a", &1)), r#"42["a",1]"#);
        assert_eq!(text(codec.ack("/", 1, &())), "431[]");
        assert_eq!(text(codec.disconnect("/a")), "41/a,");
        let packet = codec.decoder(Limits::default()).add("1/a,".into());
        assert_eq!(packet.unwrap().unwrap().kind, PacketKind::Disconnect);
    }

    #[test]
    fn another_parser_gets_packets_in_neutral_form() {
        let json = |text: &str| Some(Str::from(text));
        let sent = |kind: PacketKind, send: &dyn Fn(&Codec) -> Result<Encoded, EncodeError>| {
            let it = send(&Codec::new(Stub(Some(kind)))).unwrap();
            assert_eq!(&**it.wire_text().unwrap(), "4/a");
        };
        let args = Args::new(&(1, 2)).unwrap();
        let event = PacketKind::Event {
            name: "e".into(),
            id: Some(3),
            args: args.clone(),
        };
        sent(event, &|it| it.event("/a", Some(3), "e", &(1, 2)));
        sent(PacketKind::Ack { id: 4, args }, &|it| {
            it.ack("/a", 4, &(1, 2))
        });
        sent(PacketKind::Disconnect, &|it| it.disconnect("/a"));
        for (version, auth, data) in [
            (
                Version::V4,
                json(r#"{"sid":"s","pid":"p"}"#),
                r#"{"message":"m","data":1}"#,
            ),
            (Version::V3, None, "1"),
        ] {
            sent(PacketKind::Connect { auth }, &|it| {
                it.connect(version, "/a", "s", Some("p"))
            });
            sent(PacketKind::ConnectError { data: json(data) }, &|it| {
                let data = RawValue::from_string("1".into()).unwrap();
                it.connect_error(version, "/a", "m", Some(&data))
            });
        }
    }

    #[test]
    fn a_parser_that_panics_is_an_error() {
        let codec = Codec::new(Stub(None));
        let error = codec.event("/", None, "a", &()).unwrap_err();
        assert_eq!(error.to_string(), "the parser panicked");
        let mut decoder = codec.decoder(Limits::default());
        assert_eq!(decoder.add("/".into()), Err(DecodeError::ParserPanicked));
    }

    #[test]
    fn names_are_held_to_the_limits_whatever_the_parser() {
        let event = |len| PacketKind::Event {
            name: "n".repeat(len).into(),
            id: None,
            args: Args::empty(),
        };
        let add = |nsp: usize, name| {
            let mut decoder = Codec::new(Stub(Some(event(name)))).decoder(Limits::default());
            decoder.add("/".repeat(nsp).into()).map(|it| it.is_some())
        };
        assert_eq!(add(8192, 1024), Ok(true));
        assert_eq!(add(8193, 1024), Err(DecodeError::NamespaceTooLong));
        assert_eq!(add(8192, 1025), Err(DecodeError::EventNameTooLong));
    }
}
