//! Parsers of the application that fail.

use super::peer::{Log, Peer, server_with};
use crate::{
    EmitError, SocketIo,
    parser::{
        Data, DecodeError, EncodeError, Encoded, Limits, Packet, PacketDecoder, PacketKind, Parser,
    },
};

/// Has a word for having joined, but for nothing else, and takes every text for the wish to join.
#[derive(Clone, Copy)]
struct Poor {
    can_welcome: bool,
    can_decode: bool,
}

impl Parser for Poor {
    fn encode(&self, packet: &Packet) -> Result<Encoded, EncodeError> {
        match packet.kind {
            PacketKind::Connect { .. } if self.can_welcome => Ok(Encoded::text("joined")),
            PacketKind::Event { .. } => panic!("an event"),
            _ => Err(EncodeError::new("cannot say it")),
        }
    }

    fn decoder(&self, _: Limits) -> Box<dyn PacketDecoder> {
        assert!(self.can_decode, "no decoder");
        Box::new(*self)
    }
}

impl PacketDecoder for Poor {
    fn add(&mut self, message: Data) -> Result<Option<Packet>, DecodeError> {
        match message {
            Data::Text(nsp) => Ok(Some(Packet {
                nsp,
                kind: PacketKind::Connect { auth: None },
            })),
            Data::Binary(_) => panic!("binary"),
        }
    }
}

fn server(parser: Poor) -> (SocketIo, Log) {
    server_with(|builder| builder.parser(parser))
}

const POOR: Poor = Poor {
    can_welcome: true,
    can_decode: true,
};

#[tokio::test]
async fn an_event_that_the_parser_cannot_encode_is_its_senders_error() {
    let (io, _) = server(POOR);
    let mut peer = Peer::open(&io).await;
    peer.send("/");
    assert_eq!(peer.received_one(), "joined");
    let error = peer.socket().emit("e", &1).unwrap_err();
    assert_eq!(error.to_string(), "the parser panicked");
    assert!(matches!(error, EmitError::Encode(_)));
    assert!(io.emit("e", &1).is_err());
    assert!(!peer.is_closed());
}

#[tokio::test]
async fn a_client_that_cannot_be_told_that_it_has_joined_is_disconnected() {
    let (io, log) = server(Poor {
        can_welcome: false,
        ..POOR
    });
    let mut peer = Peer::open(&io).await;
    peer.send("/");
    assert!(peer.is_closed());
    assert!(io.of("/").is_empty());
    assert_eq!(
        log.take(),
        ["error the client cannot be told: cannot say it"]
    );
}

#[tokio::test]
async fn a_client_that_cannot_be_refused_is_disconnected() {
    let (io, _) = server(POOR);
    let mut peer = Peer::open(&io).await;
    peer.send("/nope");
    assert!(peer.is_closed());

    let (io, _) = server(POOR);
    io.middleware(async || Err::<(), _>("no"));
    let mut peer = Peer::open(&io).await;
    peer.send("/");
    assert!(peer.is_closed());
}

#[tokio::test]
async fn a_socket_is_disconnected_even_if_the_client_cannot_be_told() {
    let (io, log) = server(POOR);
    let mut peer = Peer::open(&io).await;
    peer.send("/");
    let socket = peer.socket();
    socket.disconnect();
    peer.turn();
    assert!(!socket.connected());
    assert!(io.of("/").is_empty());
    assert_eq!(
        log.take(),
        ["error the client cannot be told: cannot say it"]
    );
}

#[tokio::test]
async fn a_decoder_that_panics_closes_its_own_connection() {
    let (io, log) = server(POOR);
    let mut other = Peer::open(&io).await;
    let mut peer = Peer::open(&io).await;
    peer.send("/");
    peer.send_binary(&[1]);
    assert!(peer.is_closed());
    let log = log.take();
    assert!(log[0].ends_with("the parser panicked"), "{log:?}");
    other.send("/");
    assert!(other.socket().connected());
}

#[tokio::test]
async fn a_connection_for_which_there_is_no_decoder_is_closed() {
    let (io, _) = server(Poor {
        can_decode: false,
        ..POOR
    });
    let mut peer = Peer::open(&io).await;
    peer.send("/");
    assert!(peer.is_closed());
}
