//! Parsers other than the default one, over every transport and both versions.
#![allow(
    clippy::unwrap_used,
    reason = "clippy sees no tests in functions that tests share"
)]

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::{Log, PATH, Running};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use socketio::{
    Args, ConnectError, DisconnectReason, SocketIo,
    handler::{Auth, Data, State},
    parser::{
        DecodeError, EncodeError, Encoded, Limits, MsgpackParser, Packet, PacketDecoder,
        PacketKind, Parser,
    },
};
use testkit::{Polling, Upgrade, Ws};

/// A server that sends back what comes, and logs why sockets leave.
async fn start(parser: impl Parser) -> (Running, Log) {
    let log = Log::default();
    let io = SocketIo::builder()
        .state(log.clone())
        .parser(parser)
        .build();
    for name in ["/", "/other"] {
        io.of(name)
            .on("echo", async |args: Args| args)
            .on_disconnect(async |State(log): State<Log>, reason: DisconnectReason| {
                log.push(reason);
            });
    }
    (Running::start(io).await, log)
}

/// A WebSocket that has joined the namespace `/`, and the id of its socket.
async fn joined(running: &Running) -> (Ws, String) {
    let mut ws = running.ws().await;
    ws.binary(JOIN).await;
    let answer = ws.recv_binary().await;
    (ws, sid_of(&answer))
}

/// The id in the answer to [`JOIN`].
fn sid_of(answer: &[u8]) -> String {
    let sid = answer.strip_prefix(b"\x83\xa4type\x00\xa4data\x81\xa3sid\xb4");
    let sid = sid.and_then(|it| it.strip_suffix(b"\xa3nsp\xa1/"));
    String::from_utf8(sid.expect("an id of 20 characters").to_vec()).unwrap()
}

const JOIN: &[u8] = b"\x82\xa4type\x00\xa3nsp\xa1/";

/// The event `echo` with two bytes, which asks for an answer; and this answer.
const ECHO: &[u8] = b"\x84\xa4type\x02\xa3nsp\xa1/\xa4data\x92\xa4echo\xc4\x02\x07\xff\xa2id\x05";
const ECHOED: &[u8] = b"\x84\xa2id\x05\xa4type\x03\xa4data\x91\xc4\x02\x07\xff\xa3nsp\xa1/";

/// The three of them as polling has them.
const JOIN_BASE64: &str = "bgqR0eXBlAKNuc3ChLw==";
const ECHO_BASE64: &str = "bhKR0eXBlAqNuc3ChL6RkYXRhkqRlY2hvxAIH/6JpZAU=";
const ECHOED_BASE64: &str = "bhKJpZAWkdHlwZQOkZGF0YZHEAgf/o25zcKEv";

#[tokio::test]
async fn msgpack_events_and_acks_go_both_ways() {
    let (running, _) = start(MsgpackParser).await;
    let (mut ws, sid) = joined(&running).await;
    ws.binary(ECHO).await;
    assert_eq!(ws.recv_binary().await, ECHOED);

    running
        .io
        .emit("all", &("é", Bytes::from_static(&[1])))
        .unwrap();
    let event = b"\x83\xa4type\x02\xa4data\x93\xa3all\xa2\xc3\xa9\xc4\x01\x01\xa3nsp\xa1/";
    assert_eq!(ws.recv_binary().await, event[..]);

    let socket = running.io.of("/").socket(&sid).unwrap();
    let answer = socket.emit_with_ack::<(u8, Bytes)>("ask", &());
    let answer = answer.timeout(Duration::from_secs(5));
    let event = b"\x84\xa4type\x02\xa4data\x91\xa3ask\xa2id\x00\xa3nsp\xa1/";
    assert_eq!(ws.recv_binary().await, event[..]);
    ws.binary(b"\x84\xa4type\x03\xa4data\x92\x07\xc4\x01\x08\xa2id\x00\xa3nsp\xa1/")
        .await;
    assert_eq!(answer.await.unwrap(), (7, Bytes::from_static(&[8])));
}

#[tokio::test]
async fn msgpack_values_reach_handlers_as_their_types() {
    #[derive(Deserialize)]
    struct Message {
        text: String,
        file: Bytes,
        at: String,
        size: Option<f32>,
    }

    let (running, log) = start(MsgpackParser).await;
    running.io.on(
        "put",
        async |State(log): State<Log>, Data(it): Data<Message>| {
            log.push(format!("{} {:?} {} {:?}", it.text, it.file, it.at, it.size));
        },
    );
    let (mut ws, _) = joined(&running).await;
    let object =
        b"\x84\xa4size\xd4\0\0\xa4text\xa1a\xa4file\xc7\x01\0\x07\xa2at\xd7\0\0\0\0\0\0\0\0\0";
    let event = [
        b"\x83\xa4type\x02\xa3nsp\xa1/\xa4data\x92\xa3put",
        &object[..],
    ]
    .concat();
    ws.binary(event).await;
    let expected = r#"a b"\x07" 1970-01-01T00:00:00.000Z None"#;
    assert_eq!(log.lines(1).await, [expected]);
}

#[tokio::test]
async fn msgpack_clients_join_and_leave_namespaces() {
    let (running, log) = start(MsgpackParser).await;
    running.io.of("/other").on_connection(
        async |State(log): State<Log>, Auth(auth): Auth<serde_json::Value>| log.push(auth),
    );
    running
        .io
        .of("/shut")
        .middleware(async || Err::<(), _>(ConnectError::new("no").with_data(&[1])));
    let (mut ws, _) = joined(&running).await;
    ws.binary(b"\x83\xa4type\x00\xa3nsp\xa6/other\xa4data\x81\xa1t\x01")
        .await;
    assert!(ws.recv_binary().await.ends_with(b"\xa3nsp\xa6/other"));
    assert_eq!(log.lines(1).await, [r#"{"t":1}"#]);
    ws.binary(b"\x82\xa4type\x01\xa3nsp\xa6/other").await;
    assert_eq!(log.lines(1).await, ["client namespace disconnect"]);
    ws.binary(b"\x82\xa4type\x00\xa3nsp\xa5/shut").await;
    let refused = b"\x83\xa4type\x04\xa4data\x82\xa7message\xa2no\xa4data\x91\x01\xa3nsp\xa5/shut";
    assert_eq!(ws.recv_binary().await, refused[..]);
    ws.binary(b"\x82\xa4type\x00\xa3nsp\xa3/no").await;
    let unknown = b"\x83\xa4type\x04\xa4data\x81\xa7message\xb1Invalid namespace\xa3nsp\xa3/no";
    assert_eq!(ws.recv_binary().await, unknown[..]);
    running.io.emit("bye", &()).unwrap();
    assert_eq!(
        ws.recv_binary().await,
        b"\x83\xa4type\x02\xa4data\x91\xa3bye\xa3nsp\xa1/"[..]
    );
}

#[tokio::test]
async fn a_server_can_disconnect_msgpack_clients() {
    let (running, log) = start(MsgpackParser).await;
    let (mut ws, sid) = joined(&running).await;
    running.io.of("/").socket(&sid).unwrap().disconnect();
    assert_eq!(ws.recv_binary().await, b"\x82\xa4type\x01\xa3nsp\xa1/"[..]);
    assert_eq!(log.lines(1).await, ["server namespace disconnect"]);
}

#[tokio::test]
async fn msgpack_by_polling_and_across_the_upgrade() {
    let (running, _) = start(MsgpackParser).await;
    let mut session = running.poll().await;
    session.post_ok(JOIN_BASE64).await;
    assert!(
        session
            .poll_text()
            .await
            .starts_with("bg6R0eXBlAKRkYXRhgaNzaWS0")
    );
    session
        .post_ok(&format!("{ECHO_BASE64}\x1e{ECHO_BASE64}"))
        .await;
    let body = session.poll_text().await;
    assert_eq!(body, format!("{ECHOED_BASE64}\x1e{ECHOED_BASE64}"));
    let (mut ws, _) = Upgrade::run(&mut session).await;
    ws.binary(ECHO).await;
    assert_eq!(ws.recv_binary().await, ECHOED);
}

#[tokio::test]
async fn msgpack_clients_of_protocol_4() {
    let (running, _) = start(MsgpackParser).await;
    let mut ws = running.ws_with("EIO=3").await;
    // Here binary messages have the engine's packet kind before them.
    assert_eq!(
        ws.recv_binary().await,
        b"\x04\x82\xa4type\x00\xa3nsp\xa1/"[..]
    );
    ws.binary([b"\x04", ECHO].concat()).await;
    assert_eq!(ws.recv_binary().await, [b"\x04", ECHOED].concat());

    let mut session = Polling::open(running.addr, PATH, "EIO=3&b64=1").await;
    let opened = session.opened.text();
    assert!(opened.ends_with("22:b4gqR0eXBlAKNuc3ChLw=="), "{opened}");
    let echo = ECHO_BASE64.replacen('b', "b4", 1);
    session.post_ok(&format!("{}:{echo}", echo.len())).await;
    let echoed = ECHOED_BASE64.replacen('b', "b4", 1);
    assert_eq!(
        session.poll_text().await,
        format!("{}:{echoed}", echoed.len())
    );
}

#[tokio::test]
async fn what_is_no_msgpack_packet_closes_the_connection() {
    for message in [
        &b"\x90"[..],
        b"",
        b"\x82\xa4type\x07\xa3nsp\xa1/",
        &ECHO[..20],
    ] {
        let (running, log) = start(MsgpackParser).await;
        let (mut ws, sid) = joined(&running).await;
        common::writable(&running.io.of("/").socket(&sid).unwrap()).await;
        ws.binary(message).await;
        assert!(ws.until_closed().await.is_empty());
        assert_eq!(log.lines(1).await, ["forced close"], "{message:x?}");
    }
    let (running, log) = start(MsgpackParser).await;
    let (mut ws, sid) = joined(&running).await;
    common::writable(&running.io.of("/").socket(&sid).unwrap()).await;
    ws.text(r#"42["echo"]"#).await;
    assert!(ws.until_closed().await.is_empty());
    assert_eq!(log.lines(1).await, ["forced close"]);
}

/// One of one's own: every packet is a JSON text `[type, namespace, id, data]`. Binary data stays
/// out of it.
struct JsonParser;

#[derive(Deserialize, Serialize)]
struct Line(u8, String, Option<u64>, Option<Box<RawValue>>);

impl Parser for JsonParser {
    fn encode(&self, packet: &Packet) -> Result<Encoded, EncodeError> {
        let (kind, id, data) = match &packet.kind {
            PacketKind::Connect { auth } => (0, None, auth.as_deref().map(str::to_owned)),
            PacketKind::Disconnect => (1, None, None),
            PacketKind::Event { name, id, args } => (2, *id, Some(list(Some(name), args)?)),
            PacketKind::Ack { id, args } => (3, Some(*id), Some(list(None, args)?)),
            PacketKind::ConnectError { data } => (4, None, data.as_deref().map(str::to_owned)),
            PacketKind::Empty => return Err(EncodeError::new("nothing")),
        };
        let data = data.map(RawValue::from_string).transpose();
        let line = Line(
            kind,
            packet.nsp.to_string(),
            id,
            data.map_err(EncodeError::new)?,
        );
        let text = serde_json::to_string(&line).map_err(EncodeError::new)?;
        Ok(Encoded::text(&text))
    }

    fn decoder(&self, _: Limits) -> Box<dyn PacketDecoder> {
        Box::new(JsonDecoder)
    }
}

/// A JSON array of a name and arguments.
fn list(name: Option<&str>, args: &Args) -> Result<String, EncodeError> {
    if !args.attachments().is_empty() {
        return Err(EncodeError::new("no binary data here"));
    }
    let name = name.map(|name| serde_json::to_string(name).unwrap());
    let args = Some(args.json().to_owned()).filter(|it| !it.is_empty());
    let parts: Vec<String> = name.into_iter().chain(args).collect();
    Ok(format!("[{}]", parts.join(",")))
}

struct JsonDecoder;

impl PacketDecoder for JsonDecoder {
    fn add(&mut self, message: socketio::parser::Data) -> Result<Option<Packet>, DecodeError> {
        let socketio::parser::Data::Text(text) = message else {
            return Err(DecodeError::UnexpectedBinary);
        };
        let Line(kind, nsp, id, data) =
            serde_json::from_str(&text).map_err(|_| DecodeError::InvalidPacket)?;
        let data = data.map(|it| it.get().to_owned());
        let args = |data: Option<String>| {
            let data = data.ok_or(DecodeError::InvalidPayload)?;
            Args::from_json(data.into(), Vec::new())
        };
        let kind = match kind {
            0 => PacketKind::Connect {
                auth: data.map(Into::into),
            },
            1 => PacketKind::Disconnect,
            2 => PacketKind::event(id, args(data)?),
            3 => PacketKind::Ack {
                id: id.ok_or(DecodeError::InvalidId)?,
                args: args(data)?,
            },
            _ => return Err(DecodeError::InvalidType),
        };
        Ok(Some(Packet {
            nsp: nsp.into(),
            kind,
        }))
    }
}

#[tokio::test]
async fn a_parser_of_ones_own() {
    let (running, log) = start(JsonParser).await;
    let mut ws = running.ws().await;
    ws.text(r#"4[0,"/",null,null]"#).await;
    let answer = ws.recv_text().await;
    assert!(answer.starts_with(r#"4[0,"/",null,{"sid":"#), "{answer}");
    ws.text(r#"4[2,"/",1,["echo", "é", {"a":[]}]]"#).await;
    assert_eq!(ws.recv_text().await, r#"4[3,"/",1,["é", {"a":[]}]]"#);
    ws.text(r#"4[2,"/",2,["echo"]]"#).await;
    assert_eq!(ws.recv_text().await, r#"4[3,"/",2,[]]"#);
    running.io.emit("e", &(1, "b")).unwrap();
    assert_eq!(ws.recv_text().await, r#"4[2,"/",null,["e",1,"b"]]"#);
    let error = running.io.emit("e", &Bytes::new()).unwrap_err();
    assert_eq!(error.to_string(), "no binary data here");
    ws.text(r#"4[1,"/",null,null]"#).await;
    assert_eq!(log.lines(1).await, ["client namespace disconnect"]);
    ws.text(r#"4[0,"/no",null,null]"#).await;
    assert_eq!(
        ws.recv_text().await,
        r#"4[4,"/no",null,{"message":"Invalid namespace"}]"#
    );
}
