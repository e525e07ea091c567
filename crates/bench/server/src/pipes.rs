//! Clients in this process: for more connections than it may open files.
//!
//! Each is an HTTP connection as any other, only over a pipe in memory in place of TCP, served by
//! the same service. Its client makes the WebSocket handshake, joins `/`, and from then on answers
//! pings.

use std::{
    io::{Error, Result},
    net::Ipv4Addr,
};

use hyper::{body::Incoming, server::conn::http1, service::Service};
use hyper_util::rt::TokioIo;
use socketio::{Peer, Server, SocketIo};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    sync::mpsc,
};

/// Returns when so many have joined. They stay for as long as the process.
pub(crate) async fn join(count: usize, service: Server<SocketIo>) -> Result<()> {
    let (joined, mut all) = mpsc::unbounded_channel();
    for number in 0..count {
        let (outside, inside) = duplex(CAPACITY);
        let service = service.clone();
        let service = hyper::service::service_fn(move |mut request: http::Request<Incoming>| {
            let addr = (Ipv4Addr::LOCALHOST, 1).into();
            request.extensions_mut().insert(Peer::new(addr));
            service.call(request)
        });
        let connection = http1::Builder::new().serve_connection(TokioIo::new(inside), service);
        tokio::spawn(connection.with_upgrades());
        let joined = joined.clone();
        tokio::spawn(async move {
            let client = Client::join(outside).await;
            let (client, result) = match client {
                Ok(client) => (Some(client), Ok(())),
                Err(error) => (None, Err(error)),
            };
            let _ = joined.send(result);
            drop(joined);
            if let Some(client) = client
                && let Err(error) = client.stay().await
            {
                // Whoever measures beside it has to know.
                eprintln!("a client in memory has gone: {error}");
                std::process::exit(1);
            }
        });
        // So many at a time.
        if number % AT_ONCE == AT_ONCE - 1 {
            hear(&mut all, AT_ONCE).await?;
        }
    }
    hear(&mut all, count % AT_ONCE).await
}

async fn hear(all: &mut mpsc::UnboundedReceiver<Result<()>>, count: usize) -> Result<()> {
    for _ in 0..count {
        all.recv()
            .await
            .ok_or_else(|| Error::other("no client"))??;
    }
    Ok(())
}

struct Client {
    pipe: DuplexStream,
}

impl Client {
    async fn join(pipe: DuplexStream) -> Result<Self> {
        let mut client = Self { pipe };
        client.pipe.write_all(REQUEST).await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(client.pipe.read_u8().await?);
        }
        expect(&head, b"HTTP/1.1 101 ")?;
        expect(&client.message().await?, b"0{")?;
        client.say(b"40").await?;
        expect(&client.message().await?, b"40{")?;
        Ok(client)
    }

    async fn stay(mut self) -> Result<()> {
        loop {
            expect(&self.message().await?, b"2")?;
            self.say(b"3").await?;
        }
    }

    /// The payload of the next frame. Those that come here are small.
    async fn message(&mut self) -> Result<Vec<u8>> {
        let opcode = self.pipe.read_u8().await?;
        let len = match self.pipe.read_u8().await? {
            126 => usize::from(self.pipe.read_u16().await?),
            len => usize::from(len),
        };
        let mut payload = vec![0; len];
        self.pipe.read_exact(&mut payload).await?;
        expect(&[opcode], &[TEXT])?;
        Ok(payload)
    }

    async fn say(&mut self, text: &[u8]) -> Result<()> {
        let mut frame = vec![TEXT, 0x80 | text.len() as u8];
        frame.extend(MASK);
        let masked = text.iter().zip(MASK.iter().cycle());
        frame.extend(masked.map(|(byte, key)| byte ^ key));
        self.pipe.write_all(&frame).await
    }
}

fn expect(bytes: &[u8], start: &[u8]) -> Result<()> {
    if bytes.starts_with(start) {
        return Ok(());
    }
    let [bytes, start] = [bytes, start].map(String::from_utf8_lossy);
    Err(Error::other(format!("{bytes:?} instead of {start:?}")))
}

const REQUEST: &[u8] = b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\n\
    Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// The first byte of a text message in one frame.
const TEXT: u8 = 0x81;

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// Bytes that a pipe holds in each direction.
const CAPACITY: usize = 4096;

/// How many join at the same time.
const AT_ONCE: usize = 100;
