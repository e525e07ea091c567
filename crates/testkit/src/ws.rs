//! The WebSocket handshake and frames (RFC 6455), client side.

use std::{net::SocketAddr, time::Duration};

use bytes::{Bytes, BytesMut};

use crate::{
    http::{Response, read_response},
    wire::Wire,
};

/// The key of RFC 6455's example, sent unless a test brings its own.
pub const SAMPLE_KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";

/// What the server must answer to [`SAMPLE_KEY`].
pub const SAMPLE_ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// Opcode of a continuation frame.
pub const CONTINUATION: u8 = 0;
/// Opcode of a text frame.
pub const TEXT: u8 = 1;
/// Opcode of a binary frame.
pub const BINARY: u8 = 2;
/// Opcode of a close frame.
pub const CLOSE: u8 = 8;
/// Opcode of a ping frame.
pub const PING: u8 = 9;
/// Opcode of a pong frame.
pub const PONG: u8 = 10;

/// A WebSocket connection.
#[derive(Debug)]
pub struct Ws {
    wire: Wire,
    response: Response,
}

/// What arrives: a whole message, a control frame, or the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A text message, its fragments put together.
    Text(String),
    /// A binary message, its fragments put together.
    Binary(Bytes),
    /// A ping.
    Ping(Bytes),
    /// A pong.
    Pong(Bytes),
    /// A close frame: code and reason, or `None` for an empty one.
    Close(Option<(u16, String)>),
    /// The TCP connection has ended.
    Eof,
}

/// One frame as it stands on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Whether this is the last frame of its message.
    pub fin: bool,
    /// The three reserved bits, RSV1 as 4, RSV2 as 2, RSV3 as 1.
    pub reserved: u8,
    /// The opcode, 0 to 15.
    pub opcode: u8,
    /// Whether the payload goes masked. Clients must, servers must not.
    pub masked: bool,
    /// The payload, unmasked.
    pub payload: Bytes,
}

impl Frame {
    /// A well-formed client frame.
    pub fn new(opcode: u8, payload: impl AsRef<[u8]>) -> Self {
        Self {
            fin: true,
            reserved: 0,
            opcode,
            masked: true,
            payload: Bytes::copy_from_slice(payload.as_ref()),
        }
    }

    /// The bytes on the wire.
    pub fn encode(&self) -> Vec<u8> {
        let first = u8::from(self.fin) << 7 | (self.reserved & 7) << 4 | self.opcode & 15;
        let mask_bit = u8::from(self.masked) << 7;
        let mut bytes = vec![first];
        match self.payload.len() {
            length @ 0..=125 => bytes.push(mask_bit | length as u8),
            length @ 126..=0xffff => {
                bytes.push(mask_bit | 126);
                bytes.extend_from_slice(&(length as u16).to_be_bytes());
            }
            length => {
                bytes.push(mask_bit | 127);
                bytes.extend_from_slice(&(length as u64).to_be_bytes());
            }
        }
        if self.masked {
            bytes.extend_from_slice(&MASK);
            let masked = self.payload.iter().zip(MASK.iter().cycle());
            bytes.extend(masked.map(|(byte, mask)| byte ^ mask));
        } else {
            bytes.extend_from_slice(&self.payload);
        }
        bytes
    }
}

impl Ws {
    /// Opens a connection.
    ///
    /// # Panics
    ///
    /// If the server refuses.
    pub async fn connect(addr: SocketAddr, path: &str) -> Self {
        match Self::connect_with_headers(addr, path, &[]).await {
            Ok(ws) => ws,
            Err(response) => panic!("{path}: expected a 101, got {response:?}"),
        }
    }

    /// Opens a connection with more headers. One that the handshake has anyway (`Host`, `Upgrade`,
    /// `Connection`, `Sec-WebSocket-Key`, `Sec-WebSocket-Version`) replaces it; with an empty
    /// value it is left out.
    ///
    /// # Errors
    ///
    /// The response, if it is no 101.
    pub async fn connect_with_headers(
        addr: SocketAddr,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Self, Response> {
        let host = addr.to_string();
        let defaults = [
            ("Host", host.as_str()),
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Key", SAMPLE_KEY),
            ("Sec-WebSocket-Version", "13"),
        ];
        let given = |name: &str| headers.iter().any(|(it, _)| it.eq_ignore_ascii_case(name));
        let kept = defaults.iter().filter(|(name, _)| !given(name));
        let mut request = format!("GET {path} HTTP/1.1\r\n");
        for (name, value) in kept.chain(headers).filter(|(_, value)| !value.is_empty()) {
            request += &format!("{name}: {value}\r\n");
        }
        let has_sample_key = !given("sec-websocket-key");
        let connected = Self::handshake(addr, request + "\r\n").await?;
        if has_sample_key {
            let accept = connected.response.header("sec-websocket-accept");
            assert_eq!(accept, Some(SAMPLE_ACCEPT));
        }
        Ok(connected)
    }

    /// Opens a connection with a hand-written request.
    ///
    /// # Errors
    ///
    /// The response, if it is no 101.
    pub async fn handshake(addr: SocketAddr, request: impl AsRef<[u8]>) -> Result<Self, Response> {
        let mut wire = Wire::connect(addr).await;
        wire.send(request).await;
        let wait = wire.wait("the response to a WebSocket handshake");
        match read_response(&mut wire, false, wait).await {
            Some(response) if response.status == 101 => Ok(Self { wire, response }),
            Some(response) => Err(response),
            None => panic!("the connection ended before the response to a WebSocket handshake"),
        }
    }

    /// The 101 response.
    pub fn response(&self) -> &Response {
        &self.response
    }

    /// The bytes below, for whatever this type does not do.
    pub fn wire(&mut self) -> &mut Wire {
        &mut self.wire
    }

    /// Changes the time limit of everything that waits for the server (5 s).
    pub fn set_limit(&mut self, limit: Duration) {
        self.wire.set_limit(limit);
    }

    /// Sends a text message.
    pub async fn text(&mut self, text: &str) {
        self.frame(&Frame::new(TEXT, text)).await;
    }

    /// Sends a binary message.
    pub async fn binary(&mut self, bytes: impl AsRef<[u8]>) {
        self.frame(&Frame::new(BINARY, bytes)).await;
    }

    /// Sends one message as several frames: the first with the opcode, the others as
    /// continuations.
    pub async fn fragments(&mut self, opcode: u8, parts: &[&[u8]]) {
        for (index, part) in parts.iter().enumerate() {
            let opcode = if index == 0 { opcode } else { CONTINUATION };
            let fin = index + 1 == parts.len();
            let frame = Frame {
                fin,
                ..Frame::new(opcode, part)
            };
            self.frame(&frame).await;
        }
    }

    /// Sends a ping.
    pub async fn ping(&mut self, payload: impl AsRef<[u8]>) {
        self.frame(&Frame::new(PING, payload)).await;
    }

    /// Sends a pong.
    pub async fn pong(&mut self, payload: impl AsRef<[u8]>) {
        self.frame(&Frame::new(PONG, payload)).await;
    }

    /// Sends a close frame, an empty one without a code.
    pub async fn close(&mut self, code: Option<u16>) {
        let payload = code.map(u16::to_be_bytes);
        let payload = payload.as_ref().map_or(&[][..], |code| &code[..]);
        self.frame(&Frame::new(CLOSE, payload)).await;
    }

    /// Sends a frame as it is described, well-formed or not.
    pub async fn frame(&mut self, frame: &Frame) {
        self.wire.send(frame.encode()).await;
    }

    /// Sends bytes as they are.
    pub async fn raw(&mut self, bytes: impl AsRef<[u8]>) {
        self.wire.send(bytes).await;
    }

    /// The next message, control frame, or the end.
    ///
    /// # Panics
    ///
    /// If the time is up or the server breaks a rule of RFC 6455: masked frames, reserved bits,
    /// unknown opcodes, fragments out of place, text that is not UTF-8.
    pub async fn recv(&mut self) -> Message {
        let mut parts = BytesMut::new();
        let mut opcode = None;
        loop {
            let Some(frame) = self.recv_frame().await else {
                assert!(opcode.is_none(), "ended in the middle of a message");
                return Message::Eof;
            };
            assert_eq!(frame.reserved, 0, "reserved bits in {frame:?}");
            match frame.opcode {
                TEXT | BINARY => {
                    assert!(opcode.is_none(), "a message inside a message: {frame:?}");
                    opcode = Some(frame.opcode);
                }
                CONTINUATION => assert!(opcode.is_some(), "continues nothing: {frame:?}"),
                _ => return control(frame),
            }
            parts.extend_from_slice(&frame.payload);
            if frame.fin {
                let payload = parts.freeze();
                return match opcode {
                    Some(TEXT) => Message::Text(utf8(&payload)),
                    _ => Message::Binary(payload),
                };
            }
        }
    }

    /// The next frame as it is, or `None` at the end of the connection.
    pub async fn recv_frame(&mut self) -> Option<Frame> {
        let wait = self.wire.wait("a WebSocket frame");
        let head = self.wire.exactly(2, wait).await?;
        let end = "ended in the middle of a frame";
        let length = match head[1] & 127 {
            126 => {
                let bytes = self.wire.exactly(2, wait).await.expect(end);
                usize::from(u16::from_be_bytes([bytes[0], bytes[1]]))
            }
            127 => {
                let bytes = self.wire.exactly(8, wait).await.expect(end);
                let length = bytes
                    .iter()
                    .fold(0, |sum, byte| sum << 8 | u64::from(*byte));
                usize::try_from(length).expect("a length that fits")
            }
            length => usize::from(length),
        };
        let masked = head[1] & 128 != 0;
        assert!(!masked, "servers must not mask");
        Some(Frame {
            fin: head[0] & 128 != 0,
            reserved: head[0] >> 4 & 7,
            opcode: head[0] & 15,
            masked,
            payload: self.wire.exactly(length, wait).await.expect(end),
        })
    }

    /// The next message, which must be text.
    pub async fn recv_text(&mut self) -> String {
        match self.recv().await {
            Message::Text(text) => text,
            other => panic!("expected text, got {other:?}"),
        }
    }

    /// The next message, which must be binary.
    pub async fn recv_binary(&mut self) -> Bytes {
        match self.recv().await {
            Message::Binary(bytes) => bytes,
            other => panic!("expected bytes, got {other:?}"),
        }
    }

    /// The server's close frame, which must come next; its code. Answers it.
    pub async fn recv_close(&mut self) -> Option<u16> {
        match self.recv().await {
            Message::Close(close) => {
                let code = close.map(|(code, _)| code);
                self.close(code).await;
                code
            }
            other => panic!("expected a close frame, got {other:?}"),
        }
    }

    /// Waits until the server has closed, with a close frame or without, and returns the messages
    /// that came before.
    pub async fn until_closed(&mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        loop {
            match self.recv().await {
                Message::Close(_) | Message::Eof => return messages,
                message => messages.push(message),
            }
        }
    }

    /// Panics if anything arrives within `time`, the end of the connection included.
    pub async fn silence(&mut self, time: Duration) {
        self.wire.silence(time).await;
    }
}

fn control(frame: Frame) -> Message {
    assert!(frame.fin, "a control frame in parts: {frame:?}");
    assert!(
        frame.payload.len() <= 125,
        "a long control frame: {frame:?}"
    );
    match frame.opcode {
        PING => Message::Ping(frame.payload),
        PONG => Message::Pong(frame.payload),
        CLOSE if frame.payload.is_empty() => Message::Close(None),
        CLOSE => {
            assert!(frame.payload.len() >= 2, "half a close code: {frame:?}");
            let code = u16::from_be_bytes([frame.payload[0], frame.payload[1]]);
            Message::Close(Some((code, utf8(&frame.payload[2..]))))
        }
        _ => panic!("unknown opcode in {frame:?}"),
    }
}

fn utf8(bytes: &[u8]) -> String {
    let text = std::str::from_utf8(bytes);
    text.unwrap_or_else(|error| panic!("{error} in {bytes:?}"))
        .to_owned()
}

/// Any mask will do: it hides nothing from the server.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
