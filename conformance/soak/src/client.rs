//! A raw client of numbered events, over every transport and protocol version.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use serde_json::Value;
use testkit::{Http, Message, Open, Polling, Upgrade, Ws};
use tokio::time::Instant;

use crate::tally::{Sequence, TALLY, add};

const PATH: &str = "/socket.io/";

/// Longer than the server's longest time limit.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a client talks to the server.
#[derive(Clone, Copy, PartialEq)]
pub enum Way {
    WebSocket,
    Polling,
    Jsonp,
    Upgrade,
}

pub const WAYS: [Way; 4] = [Way::WebSocket, Way::Polling, Way::Jsonp, Way::Upgrade];

/// In one namespace. Panics where the server does not do what it should.
pub struct Client {
    link: Link,
    version: u8,
    namespace: &'static str,
    ping_interval: Duration,
    /// When it was last heard by the server.
    spoke: Instant,
    /// When it sent its last ping, in version 3.
    pinged: Instant,
    inbox: VecDeque<Packet>,
    pub identity: Identity,
    ticks: Sequence,
    asked: u64,
    said: u64,
}

enum Link {
    Socket(Ws),
    Polling(Box<Polling>),
    Jsonp(Box<Polling>),
}

enum Packet {
    Text(String),
    Binary(Vec<u8>),
}

/// With which a client can come back.
#[derive(Clone, Default)]
pub struct Identity {
    pub sid: String,
    pid: Option<String>,
    offset: Option<String>,
    ticks: Sequence,
}

/// A packet of the client's namespace.
pub enum Heard {
    /// Number, and whether its bytes came with it.
    Event(String, Vec<Value>),
    Ack(u64, Vec<Value>),
    Connect(Value),
    Disconnect,
}

impl Client {
    /// Connects and joins. Who has been here before comes back.
    pub async fn join(
        addr: SocketAddr,
        way: Way,
        version: u8,
        namespace: &'static str,
        before: Option<Identity>,
    ) -> Self {
        let query = match (version, way) {
            (3, Way::WebSocket) => "EIO=3",
            (3, Way::Jsonp) => "EIO=3&j=0",
            (3, _) => "EIO=3&b64=1",
            (_, Way::Jsonp) => "EIO=4&j=0",
            _ => "EIO=4",
        };
        let (link, open) = if way == Way::WebSocket {
            let url = format!("{PATH}?{query}&transport=websocket");
            let mut ws = Ws::connect(addr, &url).await;
            ws.set_limit(PATIENCE);
            let open = Open::parse(ws.recv_text().await.as_bytes());
            (Link::Socket(ws), open)
        } else {
            let mut session = Box::new(Polling::open(addr, PATH, query).await);
            session.get_connection().set_limit(PATIENCE);
            session.post_connection().set_limit(PATIENCE);
            let open = session.open.clone();
            let link = match way {
                Way::Jsonp => Link::Jsonp(session),
                _ => Link::Polling(session),
            };
            (link, open)
        };
        let mut client = Self {
            link,
            version,
            namespace,
            ping_interval: open.ping_interval,
            spoke: Instant::now(),
            pinged: Instant::now(),
            inbox: VecDeque::new(),
            identity: Identity::default(),
            ticks: Sequence::default(),
            asked: 0,
            said: 0,
        };
        client.connect(before).await;
        if way == Way::Upgrade {
            client.upgrade().await;
        }
        add(&TALLY.came, 1);
        client
    }

    async fn connect(&mut self, before: Option<Identity>) {
        let namespace = self.namespace;
        let credentials = before.as_ref().and_then(|it| {
            let pid = it.pid.as_ref()?;
            Some(match &it.offset {
                Some(offset) => format!(r#",{{"pid":"{pid}","offset":"{offset}"}}"#),
                None => format!(r#",{{"pid":"{pid}"}}"#),
            })
        });
        let credentials = credentials.unwrap_or_default();
        self.send(&format!("40{namespace}{credentials}")).await;
        if let Some(before) = &before {
            self.identity = before.clone();
            self.ticks = before.ticks;
        }
        // What was missed comes first.
        let data = loop {
            match self.next().await {
                Heard::Connect(data) => break data,
                Heard::Event(..) if before.is_some() => {}
                _ => panic!("joining {namespace} was not answered first"),
            }
        };
        let text = |name: &str| data[name].as_str().map(str::to_owned);
        self.identity.sid = text("sid").unwrap_or_default();
        self.identity.pid = text("pid");
        let Some(before) = before else {
            return;
        };
        if before.sid == self.identity.sid {
            add(&TALLY.recovered, 1);
        } else {
            eprintln!("soak: {} did not get back what it had", before.sid);
            add(&TALLY.not_recovered, 1);
            self.identity.offset = None;
            self.ticks = Sequence::default();
        }
    }

    async fn upgrade(&mut self) {
        let Link::Polling(session) = &mut self.link else {
            panic!("only polling can be upgraded");
        };
        let (mut ws, body) = Upgrade::run(session).await;
        ws.set_limit(PATIENCE);
        self.link = Link::Socket(ws);
        self.unpack(&body);
    }

    /// So many events and one with an acknowledgement, all of which come back in order.
    pub async fn talk(&mut self, events: u64) {
        let namespace = self.namespace;
        let first = self.said + 1;
        for number in first..first + events {
            // Now and then with bytes; version 3 has another form for them.
            if number.is_multiple_of(10) && self.version == 4 {
                let event = r#"["say",NUMBER,{"_placeholder":true,"num":0}]"#;
                let event = event.replace("NUMBER", &number.to_string());
                self.send(&format!("451-{namespace},{event}")).await;
                self.send_bytes(&BYTES).await;
            } else {
                let event = format!(r#"42{namespace},["say",{number},"{PADDING}"]"#);
                self.send(&event).await;
            }
        }
        let last = first + events - 1;
        let ack = self.ask(&format!(r#"["echo",{last}]"#)).await;
        assert_eq!(ack, [last], "echo");
        assert_eq!(self.said, last, "answered before what was sent earlier");
    }

    /// All ticks up to now must be here.
    pub async fn check(&mut self) {
        let ack = self.ask(r#"["now"]"#).await;
        let now = ack.first().and_then(Value::as_u64).expect("a number");
        self.ticks.expect(now);
        // Later ones may have come before the answer, not the other way round.
        self.identity.ticks = self.ticks;
    }

    /// Emits an event and returns the arguments of its acknowledgement.
    pub async fn ask(&mut self, event: &str) -> Vec<Value> {
        self.asked += 1;
        let id = self.asked;
        self.send(&format!("42{},{id}{event}", self.namespace))
            .await;
        loop {
            match self.next().await {
                Heard::Ack(number, args) => {
                    assert_eq!(number, id, "another acknowledgement");
                    return args;
                }
                Heard::Event(..) => {}
                Heard::Connect(_) => panic!("connected twice"),
                Heard::Disconnect => panic!("thrown out"),
            }
        }
    }

    /// The next packet of the namespace. Ticks and answers are looked at on the way.
    pub async fn next(&mut self) -> Heard {
        loop {
            if self.version == 3 && self.pinged.elapsed() >= self.ping_interval {
                self.pinged = Instant::now();
                self.send_packet("2").await;
            }
            match self.packet().await {
                Packet::Text(packet) if packet == "2" => self.send_packet("3").await,
                Packet::Text(packet) => {
                    let Some(message) = packet.strip_prefix('4') else {
                        assert!(packet == "3" || packet == "6", "{packet} came");
                        continue;
                    };
                    if let Some(heard) = self.heard(message).await {
                        return heard;
                    }
                }
                Packet::Binary(bytes) => panic!("{bytes:?} belong to nothing"),
            }
        }
    }

    async fn heard(&mut self, message: &str) -> Option<Heard> {
        let (kind, rest) = message.split_at(1);
        let (attachments, rest) = match rest.split_once('-') {
            Some((count, rest)) if matches!(kind, "5" | "6") => (count == "1", rest),
            _ => (false, rest),
        };
        let (namespace, rest) = match rest.strip_prefix('/') {
            Some(_) => rest.split_once(',').unwrap_or((rest, "")),
            None => ("/", rest),
        };
        if attachments {
            let Packet::Binary(bytes) = self.packet().await else {
                panic!("there should be bytes after {message}");
            };
            assert_eq!(bytes, BYTES, "bytes");
        }
        if namespace != self.namespace {
            return None;
        }
        let digits = rest.find(|it: char| !it.is_ascii_digit());
        let (id, data) = rest.split_at(digits.unwrap_or(rest.len()));
        let data = match data {
            "" => Value::Null,
            data => serde_json::from_str(data).expect("JSON"),
        };
        let args = |data: Value| match data {
            Value::Array(args) => args,
            other => panic!("{other} is no list"),
        };
        Some(match kind {
            "0" => Heard::Connect(data),
            "1" => Heard::Disconnect,
            "3" | "6" => Heard::Ack(id.parse().expect("a number"), args(data)),
            "2" | "5" => {
                let mut args = args(data);
                let name = args.remove(0).as_str().expect("a name").to_owned();
                self.look_at(&name, &args);
                Heard::Event(name, args)
            }
            _ => panic!("{message} came"),
        })
    }

    fn look_at(&mut self, name: &str, args: &[Value]) {
        let number = args.first().and_then(Value::as_u64);
        match name {
            "tick" => {
                self.ticks.take(number.expect("a number"));
                self.identity.ticks = self.ticks;
            }
            "said" => {
                let mut sequence = Sequence {
                    last: Some(self.said),
                };
                sequence.take(number.expect("a number"));
                self.said = sequence.last.unwrap_or(self.said);
            }
            _ => {}
        }
        // Recovery adds it behind everything else.
        if let (Some(_), [_, .., Value::String(offset)]) = (&self.identity.pid, args) {
            self.identity.offset = Some(offset.clone());
        }
    }

    async fn packet(&mut self) -> Packet {
        loop {
            if let Some(packet) = self.inbox.pop_front() {
                return packet;
            }
            match &mut self.link {
                Link::Socket(ws) => match ws.recv().await {
                    Message::Text(text) => return Packet::Text(text),
                    Message::Binary(bytes) => {
                        // Version 3 puts its type before it.
                        let skip = usize::from(self.version == 3);
                        return Packet::Binary(bytes[skip..].to_vec());
                    }
                    other => panic!("{other:?} came"),
                },
                Link::Polling(session) => {
                    let body = session.poll_text().await;
                    self.unpack(&body);
                }
                Link::Jsonp(session) => {
                    let body = session.poll_text().await;
                    let string = body
                        .strip_prefix("___eio[0](")
                        .and_then(|it| it.strip_suffix(");"));
                    let string = string.unwrap_or_else(|| panic!("{body} is no call"));
                    let body: String = serde_json::from_str(string).expect("a string");
                    self.unpack(&body);
                }
            }
        }
    }

    fn unpack(&mut self, body: &str) {
        if self.version == 4 {
            self.inbox.extend(body.split('\x1e').map(|packet| {
                match packet.strip_prefix('b') {
                    // Only what it has sent itself comes as bytes.
                    Some(base64) if base64 == BASE64 => Packet::Binary(BYTES.to_vec()),
                    Some(other) => panic!("{other} came"),
                    None => Packet::Text(packet.to_owned()),
                }
            }));
            return;
        }
        let mut rest = body;
        while let Some((length, packets)) = rest.split_once(':') {
            // All is ASCII here.
            let (packet, others) = packets.split_at(length.parse().expect("a length"));
            self.inbox.push_back(Packet::Text(packet.to_owned()));
            rest = others;
        }
        assert!(rest.is_empty(), "{rest} is no packet");
    }

    /// Sends a packet as it stands on the wire.
    pub async fn send(&mut self, packet: &str) {
        self.send_packet(packet).await;
    }

    async fn send_packet(&mut self, packet: &str) {
        let rested = self.spoke.elapsed() > REST;
        self.spoke = Instant::now();
        let payload = match self.version {
            3 => format!("{}:{packet}", packet.len()),
            _ => packet.to_owned(),
        };
        match &mut self.link {
            Link::Socket(ws) => ws.text(packet).await,
            Link::Polling(session) => {
                if rested {
                    renew(session).await;
                }
                session.post_ok(&payload).await;
            }
            Link::Jsonp(session) => {
                if rested {
                    renew(session).await;
                }
                let form = "application/x-www-form-urlencoded";
                let body = format!("d={}", percent_encoded(&payload));
                let response = session.post_as(form, body).await;
                assert_eq!((response.status, response.text()), (200, "ok"), "JSONP");
            }
        }
    }

    async fn send_bytes(&mut self, bytes: &[u8]) {
        match &mut self.link {
            Link::Socket(ws) => ws.binary(bytes).await,
            _ => self.send_packet(&format!("b{BASE64}")).await,
        }
    }

    /// Leaves as it should be done.
    pub async fn leave(mut self) {
        self.send(&format!("41{},", self.namespace)).await;
        match &mut self.link {
            Link::Socket(ws) => {
                ws.close(None).await;
                ws.until_closed().await;
            }
            Link::Polling(_) | Link::Jsonp(_) => self.send_packet("1").await,
        }
    }

    /// The connection, where it is a WebSocket.
    pub fn ws(&mut self) -> &mut Ws {
        match &mut self.link {
            Link::Socket(ws) => ws,
            _ => panic!("no WebSocket"),
        }
    }
}

/// The server gives up connections that have not asked for anything in half a minute.
async fn renew(session: &mut Polling) {
    let addr = session.addr();
    let mut http = Http::connect(addr).await;
    http.set_limit(PATIENCE);
    *session.post_connection() = http;
}

const REST: Duration = Duration::from_secs(15);

fn percent_encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric();
    text.bytes()
        .map(|byte| match plain(byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}

const BYTES: [u8; 3] = [1, 2, 3];
const BASE64: &str = "AQID";

/// So that an event is as long as they are.
const PADDING: &str = "The quick brown fox jumps over the lazy dog, and over again.";
