//! Packets of Engine.IO over long-polling or WebSocket, on pipes in place of TCP.

use std::{
    convert::Infallible,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use engineio_proto::{
    Data, Dialect, Packet, PacketKind, Str,
    frame::{self, Kind},
    payload::{self, Framing},
    session::Transmit,
};
use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, service::service_fn, upgrade::Upgraded};
use hyper_util::rt::TokioIo;
use socketio::{Peer, Server, SocketIo, Version};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinSet,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};

/// Makes requests of one client, each on a pipe of its own, which a hyper server serves.
#[derive(Clone, Debug)]
pub(crate) struct Wire {
    pub(crate) service: Server<SocketIo>,
    pub(crate) version: Version,
    /// What the client adds to the query.
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    /// The session's id, once it has one.
    pub(crate) sid: Option<String>,
}

/// What a request has led to.
pub(crate) enum Answer {
    Response(Response<Bytes>),
    WebSocket(Upgraded),
}

impl Wire {
    pub(crate) fn dialect(&self) -> Dialect {
        match self.version {
            Version::V3 => Dialect::V3,
            Version::V4 => Dialect::V4,
        }
    }

    /// `None` if the connection broke. Dropped, it breaks the connection.
    pub(crate) async fn poll(&self) -> Option<Answer> {
        self.send(self.request(Method::GET, "polling", Bytes::new()))
            .await
    }

    async fn post(&self, packet: Transmit) -> Option<Answer> {
        let body = payload::encode(packet.into(), &self.dialect(), None);
        let mut request = self.request(Method::POST, "polling", body.bytes);
        let content_type = match body.framing {
            Framing::Text => "text/plain;charset=UTF-8",
            Framing::Binary => OCTETS,
        };
        let content_type = http::HeaderValue::from_static(content_type);
        request
            .headers_mut()
            .insert(header::CONTENT_TYPE, content_type);
        self.send(request).await
    }

    pub(crate) async fn websocket(&self) -> Option<Answer> {
        let mut request = self.request(Method::GET, "websocket", Bytes::new());
        for (name, value) in [
            (header::CONNECTION, "Upgrade"),
            (header::UPGRADE, "websocket"),
            (header::SEC_WEBSOCKET_VERSION, "13"),
            // Nobody looks: there is no proxy between the two.
            (header::SEC_WEBSOCKET_KEY, "dGhlIHNhbXBsZSBub25jZQ=="),
        ] {
            let value = http::HeaderValue::from_static(value);
            request.headers_mut().insert(name, value);
        }
        self.send(request).await
    }

    /// The packets of a poll's response.
    pub(crate) fn packets(&self, response: Response<Bytes>) -> Vec<Packet> {
        let content_type = response.headers().get(header::CONTENT_TYPE);
        let framing = match content_type {
            Some(it) if it == OCTETS => Framing::Binary,
            _ => Framing::Text,
        };
        let packets = payload::decode(response.into_body(), framing, &self.dialect());
        packets
            .map(|it| it.expect("the server's packets can be read"))
            .collect()
    }

    fn request(&self, method: Method, transport: &str, body: Bytes) -> Request<Full<Bytes>> {
        let mut url = format!(
            "{}?EIO={}&transport={transport}",
            self.service.path(),
            self.version.number()
        );
        for (name, value) in [("&", Some(&self.query)), ("&sid=", self.sid.as_ref())] {
            if let Some(value) = value.filter(|it| !it.is_empty()) {
                url.push_str(name);
                url.push_str(value);
            }
        }
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = url
            .parse()
            .expect("a path and a query that can stand in a URL");
        *request.headers_mut() = self.headers.clone();
        let host = http::HeaderValue::from_static("localhost");
        request.headers_mut().entry(header::HOST).or_insert(host);
        request
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Option<Answer> {
        let (outside, inside) = tokio::io::duplex(PIPE);
        let server = self.service.clone();
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(Peer::new(ADDRESS));
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.handle(request).await) }
        });
        tokio::spawn(
            hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(inside), service)
                .with_upgrades(),
        );
        let handshake = hyper::client::conn::http1::handshake(TokioIo::new(outside));
        let (mut sender, connection) = handshake.await.ok()?;
        let exchange = async move {
            let response = sender.send_request(request).await.ok()?;
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                return hyper::upgrade::on(response)
                    .await
                    .ok()
                    .map(Answer::WebSocket);
            }
            let (parts, body) = response.into_parts();
            let body = body.collect().await.ok()?.to_bytes();
            Some(Answer::Response(Response::from_parts(parts, body)))
        };
        tokio::join!(exchange, connection.with_upgrades()).0
    }
}

/// A transport in use. Dropped, it breaks off.
#[derive(Debug)]
pub(crate) struct Transport {
    packets: mpsc::UnboundedReceiver<Packet>,
    outgoing: mpsc::UnboundedSender<Outgoing>,
    /// No further poll is made.
    finishing: Arc<AtomicBool>,
    /// One reads and one writes, so that neither waits for the other.
    tasks: JoinSet<()>,
}

/// Something to be sent, and who wants to know when it has been.
type Outgoing = (Transmit, Option<oneshot::Sender<()>>);

impl Transport {
    /// Long-polling, after the first poll, and what that has brought behind the open packet.
    pub(crate) fn polling(wire: &Wire, first: Vec<Packet>) -> Self {
        let (incoming, packets) = mpsc::unbounded_channel();
        for packet in first {
            let _ = incoming.send(packet);
        }
        let (outgoing, mut queue) = mpsc::unbounded_channel::<Outgoing>();
        let finishing = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        let (reader, finish) = (wire.clone(), finishing.clone());
        tasks.spawn(async move {
            while !finish.load(Ordering::Relaxed)
                && let Some(Answer::Response(response)) = reader.poll().await
                && response.status() == StatusCode::OK
            {
                for packet in reader.packets(response) {
                    let _ = incoming.send(packet);
                }
            }
        });
        let writer = wire.clone();
        tasks.spawn(async move {
            while let Some((packet, sent)) = queue.recv().await {
                match writer.post(packet).await {
                    Some(Answer::Response(response)) if response.status() == StatusCode::OK => {
                        sent.map(|it| it.send(()));
                    }
                    // The reader sees the end of the session.
                    _ => return,
                }
            }
        });
        Self {
            packets,
            outgoing,
            finishing,
            tasks,
        }
    }

    /// A WebSocket, the first or the candidate of an upgrade.
    pub(crate) async fn websocket(io: Upgraded, dialect: Dialect) -> Self {
        let (incoming, packets) = mpsc::unbounded_channel();
        let (outgoing, mut queue) = mpsc::unbounded_channel::<Outgoing>();
        let mut tasks = JoinSet::new();
        let stream = WebSocketStream::from_raw_socket(TokioIo::new(io), Role::Client, None).await;
        let (mut sink, mut stream) = stream.split();
        tasks.spawn(async move {
            while let Some(Ok(message)) = stream.next().await {
                let data = match message {
                    Message::Text(text) => Data::Text(Str::from(text.as_str())),
                    Message::Binary(bytes) => Data::Binary(bytes),
                    _ => continue,
                };
                let packet = frame::decode(data, &dialect);
                let _ = incoming.send(packet.expect("the server's packets can be read"));
            }
        });
        tasks.spawn(async move {
            while let Some((packet, sent)) = queue.recv().await {
                for message in messages(&packet, &dialect) {
                    if sink.send(message).await.is_err() {
                        return;
                    }
                }
                sent.map(|it| it.send(()));
            }
        });
        Self {
            packets,
            outgoing,
            finishing: Arc::default(),
            tasks,
        }
    }

    /// The next packet, or `None` at the end. Loses nothing when dropped.
    pub(crate) async fn recv(&mut self) -> Option<Packet> {
        self.packets.recv().await
    }

    /// Queues a packet.
    pub(crate) fn send(&self, packet: Transmit, sent: Option<oneshot::Sender<()>>) {
        let _ = self.outgoing.send((packet, sent));
    }

    /// Lets polling come to its end: what is queued is posted, and the poll that waits is waited
    /// for. Returns what it brings.
    pub(crate) async fn finish(mut self) -> Vec<Packet> {
        self.finishing.store(true, Ordering::Relaxed);
        drop(self.outgoing);
        let mut packets = Vec::new();
        while let Some(packet) = self.packets.recv().await {
            packets.push(packet);
        }
        while self.tasks.join_next().await.is_some() {}
        packets
    }
}

fn messages(packet: &Transmit, dialect: &Dialect) -> Vec<Message> {
    match packet {
        Transmit::Control(packet) if packet.kind == PacketKind::Close => {
            vec![Message::Close(None)]
        }
        Transmit::Control(packet) => vec![Message::text(&*frame::encode_control(packet))],
        Transmit::Message(message) => {
            let mut messages = Vec::new();
            frame::encode(message, dialect, |kind, bytes| {
                messages.push(match kind {
                    Kind::Text => Message::text(&*String::from_utf8_lossy(bytes)),
                    Kind::Binary => Message::Binary(bytes.clone()),
                });
            });
            messages
        }
    }
}

const OCTETS: &str = "application/octet-stream";

/// Bytes that fit into a pipe.
const PIPE: usize = 64 * 1024;

/// Where the client seems to be.
const ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 49152);
