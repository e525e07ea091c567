//! The messages of the official `ClusterAdapter` (socket.io-adapter 2.5), which most adapters share.
//!
//! A message has a type, a number; data, an object that depends on it; the name of the server that
//! sends it; and a namespace.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use socketio_adapter::{Message, RequestId, Response, Room, Selection};
use socketio_proto::{EncodeError, msgpack};

use super::{
    Details, EVENT, Name, Opts, Packet, RoomName, Text, WireError, event_data, or_default, push,
    push_args, push_options, push_selection, raw,
};

/// Type and data of a message.
#[derive(Debug)]
pub(crate) struct Body {
    kind: u64,
    /// Whether clients are asked.
    is_question: bool,
    json: String,
    attachments: Vec<Bytes>,
}

/// What another server sends.
#[derive(Debug, PartialEq)]
pub(crate) enum Incoming {
    Message(Message),
    Response(Response),
}

/// What another server sends, and which one.
#[derive(Debug, PartialEq)]
pub(crate) struct Envelope {
    pub(crate) uid: String,
    pub(crate) nsp: String,
    pub(crate) content: Incoming,
}

impl Body {
    pub(crate) fn of_message(message: &Message) -> Result<Self, EncodeError> {
        let mut json = String::from("{");
        let mut attachments: &[Bytes] = &[];
        let kind = match message {
            Message::Broadcast {
                event,
                options,
                request,
            } => {
                json.push_str("\"packet\":{\"type\":");
                push(&mut json, &EVENT);
                json.push_str(",\"data\":");
                json.push_str(&event_data(event));
                json.push_str("},");
                if let Some(request) = request {
                    push_request(&mut json, request);
                    json.push(',');
                }
                json.push_str("\"opts\":");
                push_options(&mut json, options);
                attachments = event.args.attachments();
                BROADCAST
            }
            Message::SocketsJoin { selection, rooms } => {
                push_opts(&mut json, selection);
                json.push_str(",\"rooms\":");
                push(&mut json, rooms);
                SOCKETS_JOIN
            }
            Message::SocketsLeave { selection, rooms } => {
                push_opts(&mut json, selection);
                json.push_str(",\"rooms\":");
                push(&mut json, rooms);
                SOCKETS_LEAVE
            }
            Message::DisconnectSockets { selection, close } => {
                push_opts(&mut json, selection);
                json.push_str(",\"close\":");
                push(&mut json, close);
                DISCONNECT_SOCKETS
            }
            Message::FetchSockets { selection, request } => {
                push_opts(&mut json, selection);
                json.push(',');
                push_request(&mut json, request);
                FETCH_SOCKETS
            }
            Message::ServerSideEmit { event, request } => {
                if let Some(request) = request {
                    push_request(&mut json, request);
                    json.push(',');
                }
                json.push_str("\"packet\":");
                json.push_str(&event_data(event));
                attachments = event.args.attachments();
                SERVER_SIDE_EMIT
            }
            _ => return Err(EncodeError::new("the Redis adapter has no word for that")),
        };
        json.push('}');
        Ok(Self {
            kind,
            is_question: matches!(
                message,
                Message::Broadcast {
                    request: Some(_),
                    ..
                }
            ),
            json,
            attachments: attachments.to_vec(),
        })
    }

    pub(crate) fn of_response(response: &Response) -> Result<Self, EncodeError> {
        let mut json = String::from("{");
        let mut attachments: &[Bytes] = &[];
        push_request(&mut json, response.request());
        let kind = match response {
            Response::Sockets { sockets, .. } => {
                json.push_str(",\"sockets\":");
                push(&mut json, sockets);
                SOCKETS
            }
            Response::ServerSideEmit { args, .. } => {
                push_args(&mut json, "packet", args)?;
                attachments = args.attachments();
                SERVER_SIDE_RESPONSE
            }
            Response::ClientCount { count, .. } => {
                json.push_str(",\"clientCount\":");
                push(&mut json, count);
                CLIENT_COUNT
            }
            Response::Ack { args, .. } => {
                push_args(&mut json, "packet", args)?;
                attachments = args.attachments();
                ACK
            }
            _ => return Err(EncodeError::new("the Redis adapter has no word for that")),
        };
        json.push('}');
        Ok(Self {
            kind,
            is_question: false,
            json,
            attachments: attachments.to_vec(),
        })
    }

    /// The whole message, as JSON or, if there is binary data in it, as MessagePack.
    pub(crate) fn in_json(self, uid: &str, nsp: &str) -> Result<Vec<u8>, EncodeError> {
        if self.attachments.is_empty() {
            Ok(self.envelope(uid, nsp).into_bytes())
        } else {
            self.in_msgpack(uid, nsp)
        }
    }

    /// The whole message as MessagePack.
    pub(crate) fn in_msgpack(self, uid: &str, nsp: &str) -> Result<Vec<u8>, EncodeError> {
        msgpack::from_json(&self.envelope(uid, nsp), &self.attachments)
    }

    /// As an entry of a stream: its type in digits, its data as JSON or, if there is binary data in
    /// it, as MessagePack in base64.
    ///
    /// Servers in Node.js send all events in the stream again to clients that were away, but for
    /// those whose answers nobody waits for any more: these they do not expect in the stream. They
    /// look for the text `3` then, and read a number otherwise, so `03` is not sent again.
    ///
    /// What this server calls an event goes with it, in a field that they do not look at.
    pub(crate) fn fields(
        self,
        uid: &str,
        nsp: &str,
        mark: Option<&str>,
    ) -> Result<Box<[(&'static str, String)]>, EncodeError> {
        let data = if self.attachments.is_empty() {
            self.json
        } else {
            BASE64_STANDARD.encode(msgpack::from_json(&self.json, &self.attachments)?)
        };
        let kind = if self.is_question {
            format!("0{}", self.kind)
        } else {
            self.kind.to_string()
        };
        let fields = [
            ("uid", uid.into()),
            ("nsp", nsp.into()),
            ("type", kind),
            ("data", data),
        ];
        let mark = mark.map(|mark| (MARK, mark.into()));
        Ok(fields.into_iter().chain(mark).collect())
    }

    fn envelope(&self, uid: &str, nsp: &str) -> String {
        let mut out = String::with_capacity(self.json.len() + 64);
        out.push_str("{\"type\":");
        push(&mut out, &self.kind);
        out.push_str(",\"data\":");
        out.push_str(&self.json);
        out.push_str(",\"uid\":");
        push(&mut out, uid);
        out.push_str(",\"nsp\":");
        push(&mut out, nsp);
        out.push('}');
        out
    }
}

/// The room whose members alone an event is for, if nobody is to answer.
pub(crate) fn single_room(message: &Message) -> Option<&Room> {
    match message {
        Message::Broadcast {
            options,
            request: None,
            ..
        } => match &*options.selection.rooms {
            [room] => Some(room),
            _ => None,
        },
        _ => None,
    }
}

/// How whole messages end that this server itself has written, in JSON and in MessagePack. So they
/// need not be read to be ignored.
pub(crate) fn ends_of_own(uid: &str, nsp: &str) -> Vec<Vec<u8>> {
    let mut json = String::from("\"uid\":");
    push(&mut json, uid);
    json.push_str(",\"nsp\":");
    push(&mut json, nsp);
    json.push('}');
    let packed = msgpack::from_json(&format!("{{{json}"), &[]);
    // Without the head of the map.
    let packed = packed.ok().map(|it| it[1..].to_vec());
    [Some(json.into_bytes()), packed]
        .into_iter()
        .flatten()
        .collect()
}

/// Reads a whole message; `None` for one of a kind that concerns nobody here.
pub(crate) fn decode(payload: &Bytes) -> Result<Option<Envelope>, WireError> {
    let text = Text::read(payload)?;
    let it: RawEnvelope<'_> = text.parse()?;
    let data = it.data.map_or("{}", RawValue::get);
    Ok(read(it.kind, data, &text)?.map(|content| Envelope {
        uid: it.uid.0.into_owned(),
        nsp: it.nsp.0.into_owned(),
        content,
    }))
}

/// The field with what the sender of an event calls it in offsets.
pub(crate) const MARK: &str = "mark";

/// Reads an entry of a stream.
pub(crate) fn decode_fields(
    uid: Option<&str>,
    nsp: &str,
    kind: Option<&str>,
    data: Option<&Bytes>,
) -> Result<Option<Envelope>, WireError> {
    let uid = uid.ok_or(WireError::Invalid("an entry without `uid`"))?;
    let kind = kind.and_then(|it| it.parse().ok());
    let kind = kind.ok_or(WireError::Invalid("an entry without a type"))?;
    let text = match data {
        None => Text::read(&Bytes::from_static(b"{}"))?,
        Some(data) if data.starts_with(b"{") => Text::read(data)?,
        Some(data) => {
            let data = BASE64_STANDARD.decode(data);
            let data = data.map_err(|_| WireError::Invalid("neither JSON nor base64"))?;
            Text::read(&data.into())?
        }
    };
    Ok(read(kind, &text.json, &text)?.map(|content| Envelope {
        uid: uid.into(),
        nsp: nsp.into(),
        content,
    }))
}

/// Reads the data of a message; binary data that it names is in `text`.
fn read(kind: u64, data: &str, text: &Text) -> Result<Option<Incoming>, WireError> {
    // Heartbeats, and a farewell: servers are counted by Redis.
    if matches!(kind, INITIAL_HEARTBEAT | HEARTBEAT | ADAPTER_CLOSE) {
        return Ok(None);
    }
    let it: Data<'_> = serde_json::from_str(data)?;
    let request = it.request.as_ref().map(|it| RequestId::from(&*it.0));
    let named = || {
        request
            .clone()
            .ok_or(WireError::Invalid("a request without an id"))
    };
    let opts = |opts: Option<Opts>| opts.ok_or(WireError::Invalid("a message without `opts`"));
    let packet = || {
        it.packet
            .ok_or(WireError::Invalid("a message without a packet"))
    };
    let rooms: Vec<Room> = it.rooms.into_iter().map(|it| it.0).collect();
    let message = match kind {
        BROADCAST => {
            let packet: Packet<'_> = serde_json::from_str(packet()?.get())?;
            Message::Broadcast {
                event: text.client_event(&packet)?,
                options: opts(it.opts)?.options(),
                request,
            }
        }
        SOCKETS_JOIN => Message::SocketsJoin {
            selection: opts(it.opts)?.selection(),
            rooms,
        },
        SOCKETS_LEAVE => Message::SocketsLeave {
            selection: opts(it.opts)?.selection(),
            rooms,
        },
        DISCONNECT_SOCKETS => Message::DisconnectSockets {
            selection: opts(it.opts)?.selection(),
            close: it.close,
        },
        FETCH_SOCKETS => Message::FetchSockets {
            request: named()?,
            selection: opts(it.opts)?.selection(),
        },
        SERVER_SIDE_EMIT => Message::ServerSideEmit {
            event: text.event(packet()?)?,
            request,
        },
        SOCKETS => {
            let sockets = it
                .sockets
                .ok_or(WireError::Invalid("an answer without sockets"))?;
            return Ok(Some(Incoming::Response(Response::Sockets {
                request: request.ok_or(WireError::Invalid("an answer without an id"))?,
                sockets: sockets.into_iter().map(Details::into_socket).collect(),
            })));
        }
        SERVER_SIDE_RESPONSE => {
            return Ok(Some(Incoming::Response(Response::ServerSideEmit {
                request: named()?,
                args: text.args(it.packet, &it.rest)?,
            })));
        }
        CLIENT_COUNT => {
            return Ok(Some(Incoming::Response(Response::ClientCount {
                request: named()?,
                count: it
                    .count
                    .ok_or(WireError::Invalid("a count without number"))?,
            })));
        }
        ACK => {
            return Ok(Some(Incoming::Response(Response::Ack {
                request: named()?,
                args: text.args(it.packet, &it.rest)?,
            })));
        }
        _ => return Err(WireError::Invalid("a message of an unknown type")),
    };
    Ok(Some(Incoming::Message(message)))
}

#[derive(Deserialize)]
struct RawEnvelope<'a> {
    #[serde(rename = "type")]
    kind: u64,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    uid: Name<'a>,
    #[serde(borrow)]
    nsp: Name<'a>,
}

/// The data of all types.
#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow, rename = "requestId")]
    request: Option<Name<'a>>,
    #[serde(borrow, default, deserialize_with = "raw")]
    packet: Option<&'a RawValue>,
    #[serde(borrow, default)]
    rest: Vec<&'a RawValue>,
    opts: Option<Opts>,
    #[serde(default)]
    rooms: Vec<RoomName>,
    #[serde(default, deserialize_with = "or_default")]
    close: bool,
    sockets: Option<Vec<Details>>,
    #[serde(rename = "clientCount")]
    count: Option<usize>,
}

fn push_request(out: &mut String, request: &RequestId) {
    out.push_str("\"requestId\":");
    push(out, request.as_str());
}

fn push_opts(out: &mut String, selection: &Selection) {
    out.push_str("\"opts\":{");
    push_selection(out, selection);
    out.push_str(",\"flags\":{}}");
}

const INITIAL_HEARTBEAT: u64 = 1;
const HEARTBEAT: u64 = 2;
const BROADCAST: u64 = 3;
const SOCKETS_JOIN: u64 = 4;
const SOCKETS_LEAVE: u64 = 5;
const DISCONNECT_SOCKETS: u64 = 6;
const FETCH_SOCKETS: u64 = 7;
const SOCKETS: u64 = 8;
const SERVER_SIDE_EMIT: u64 = 9;
const SERVER_SIDE_RESPONSE: u64 = 10;
const CLIENT_COUNT: u64 = 11;
const ACK: u64 = 12;
const ADAPTER_CLOSE: u64 = 13;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use socketio_adapter::{Event, Options};
    use socketio_proto::Args;

    use super::*;

    // The bytes are what official adapters have published: sharded 8.3, streams 0.3.

    const UID: &str = "6ac603ef4426daf5";

    fn event(name: &str, json: &str, attachments: &[&'static [u8]]) -> Event {
        let attachments = attachments
            .iter()
            .map(|it| Bytes::from_static(it))
            .collect();
        let args = Args::from_json(format!("[{json}]").into(), attachments).unwrap();
        let name = name.into();
        Event { name, args }
    }

    fn rooms(rooms: &[&str], except: &[&str]) -> Selection {
        let names = |names: &[&str]| names.iter().map(|&name| name.into()).collect();
        Selection {
            rooms: names(rooms),
            except: names(except),
        }
    }

    #[track_caller]
    fn check_message(payload: &'static [u8], message: Message) {
        let payload = Bytes::from_static(payload);
        let envelope = decode(&payload).unwrap().unwrap();
        assert_eq!((&*envelope.uid, &*envelope.nsp), (UID, "/"));
        assert_eq!(envelope.content, Incoming::Message(message.clone()));
        let body = Body::of_message(&message).unwrap();
        let written = body.in_json(UID, "/").unwrap();
        assert_eq!(Bytes::from(written), payload);
        assert!(ends_of_own(UID, "/").iter().any(|it| payload.ends_with(it)));
        assert!(
            !ends_of_own(UID, "/a")
                .iter()
                .any(|it| payload.ends_with(it))
        );
    }

    #[track_caller]
    fn check_response(payload: &'static [u8], response: Response) {
        let payload = Bytes::from_static(payload);
        let envelope = decode(&payload).unwrap().unwrap();
        assert_eq!(envelope.content, Incoming::Response(response.clone()));
        let body = Body::of_response(&response).unwrap();
        let written = if payload.starts_with(b"{") {
            body.in_json(UID, "/")
        } else {
            body.in_msgpack(UID, "/")
        };
        assert_eq!(Bytes::from(written.unwrap()), payload);
    }

    #[test]
    fn events_are_those_of_the_official_adapters() {
        check_message(
            r#"{"type":3,"data":{"packet":{"type":2,"data":["hello",1,"é",{"a":null}]},"opts":{"rooms":[],"except":[],"flags":{}}},"uid":"6ac603ef4426daf5","nsp":"/"}"#.as_bytes(),
            Message::Broadcast {
                event: event("hello", r#"1,"é",{"a":null}"#, &[]),
                options: Options::default(),
                request: None,
            },
        );
        check_message(
            br#"{"type":3,"data":{"packet":{"type":2,"data":["d",1]},"opts":{"rooms":["r"],"except":["x"],"flags":{"volatile":true,"compress":false}}},"uid":"6ac603ef4426daf5","nsp":"/"}"#,
            Message::Broadcast {
                event: event("d", "1", &[]),
                options: Options {
                    selection: rooms(&["r"], &["x"]),
                    volatile: true,
                    compress: false,
                    ..Options::default()
                },
                request: None,
            },
        );
        check_message(
            b"\x84\xa4type\x03\xa4data\x82\xa6packet\x82\xa4type\x02\xa4data\x92\xa1d\xc4\x02\x00\xff\xa4opts\x83\xa5rooms\x91\xa1r\xa6except\x90\xa5flags\x80\xa3uid\xb06ac603ef4426daf5\xa3nsp\xa1/",
            Message::Broadcast {
                event: event("d", r#"{"_placeholder":true,"num":0}"#, &[b"\x00\xff"]),
                options: Options {
                    selection: rooms(&["r"], &[]),
                    ..Options::default()
                },
                request: None,
            },
        );
        check_message(
            br#"{"type":3,"data":{"packet":{"type":2,"data":["q",1]},"requestId":"7c73e784c060f29f","opts":{"rooms":[],"except":[],"flags":{"timeout":500}}},"uid":"6ac603ef4426daf5","nsp":"/"}"#,
            Message::Broadcast {
                event: event("q", "1", &[]),
                options: Options {
                    timeout: Some(Duration::from_millis(500)),
                    ..Options::default()
                },
                request: Some("7c73e784c060f29f".into()),
            },
        );
    }

    #[test]
    fn requests_are_those_of_the_official_adapters() {
        check_message(
            br#"{"type":4,"data":{"opts":{"rooms":["r"],"except":[],"flags":{}},"rooms":["s","t"]},"uid":"6ac603ef4426daf5","nsp":"/"}"#,
            Message::SocketsJoin {
                selection: rooms(&["r"], &[]),
                rooms: vec!["s".into(), "t".into()],
            },
        );
        check_message(
            br#"{"type":5,"data":{"opts":{"rooms":["r"],"except":[],"flags":{}},"rooms":["t"]},"uid":"6ac603ef4426daf5","nsp":"/"}"#,
            Message::SocketsLeave {
                selection: rooms(&["r"], &[]),
                rooms: vec!["t".into()],
            },
        );
        check_message(
            br#"{"type":6,"data":{"opts":{"rooms":[],"except":[],"flags":{}},"close":true},"uid":"6ac603ef4426daf5","nsp":"/"}"#,
            Message::DisconnectSockets {
                selection: Selection::all(),
                close: true,
            },
        );
        check_message(
            br#"{"type":7,"data":{"opts":{"rooms":[],"except":[],"flags":{}},"requestId":"477078f952c2f855"},"uid":"6ac603ef4426daf5","nsp":"/"}"#,
            Message::FetchSockets {
                selection: Selection::all(),
                request: "477078f952c2f855".into(),
            },
        );
        check_message(
            br#"{"type":9,"data":{"packet":["ev",1,"x"]},"uid":"6ac603ef4426daf5","nsp":"/"}"#,
            Message::ServerSideEmit {
                event: event("ev", r#"1,"x""#, &[]),
                request: None,
            },
        );
        check_message(
            br#"{"type":9,"data":{"requestId":"ecfde16ef0e44a19","packet":["ask",1]},"uid":"6ac603ef4426daf5","nsp":"/"}"#,
            Message::ServerSideEmit {
                event: event("ask", "1", &[]),
                request: Some("ecfde16ef0e44a19".into()),
            },
        );
        check_message(
            b"\x84\xa4type\t\xa4data\x82\xa9requestId\xb0497d98877e1d2a02\xa6packet\x92\xa4askb\xc4\x01\x07\xa3uid\xb06ac603ef4426daf5\xa3nsp\xa1/",
            Message::ServerSideEmit {
                event: event("askb", r#"{"_placeholder":true,"num":0}"#, &[b"\x07"]),
                request: Some("497d98877e1d2a02".into()),
            },
        );
    }

    #[test]
    fn answers_are_those_of_the_official_adapters() {
        check_response(
            br#"{"type":11,"data":{"requestId":"7c73e784c060f29f","clientCount":1},"uid":"6ac603ef4426daf5","nsp":"/"}"#,
            Response::ClientCount {
                request: "7c73e784c060f29f".into(),
                count: 1,
            },
        );
        check_response(
            br#"{"type":12,"data":{"requestId":"7c73e784c060f29f","packet":"yes"},"uid":"6ac603ef4426daf5","nsp":"/"}"#,
            Response::Ack {
                request: "7c73e784c060f29f".into(),
                args: event("", r#""yes""#, &[]).args,
            },
        );
        check_response(
            br#"{"type":12,"data":{"requestId":"8e286a66bc54db39"},"uid":"6ac603ef4426daf5","nsp":"/"}"#,
            Response::Ack {
                request: "8e286a66bc54db39".into(),
                args: Args::empty(),
            },
        );
        check_response(
            br#"{"type":10,"data":{"requestId":"ecfde16ef0e44a19","packet":"ans"},"uid":"6ac603ef4426daf5","nsp":"/"}"#,
            Response::ServerSideEmit {
                request: "ecfde16ef0e44a19".into(),
                args: event("", r#""ans""#, &[]).args,
            },
        );
        // of the streams adapter, to which nothing is `null`
        check_response(
            b"\x84\xa4type\x0c\xa4data\x82\xa9requestId\xb0a61d52094f7b2bfc\xa6packet\xc0\xa3uid\xb06ac603ef4426daf5\xa3nsp\xa1/",
            Response::Ack {
                request: "a61d52094f7b2bfc".into(),
                args: event("", "null", &[]).args,
            },
        );
        check_response(
            br#"{"type":8,"data":{"requestId":"477078f952c2f855","sockets":[]},"uid":"6ac603ef4426daf5","nsp":"/"}"#,
            Response::Sockets {
                request: "477078f952c2f855".into(),
                sockets: Vec::new(),
            },
        );
    }

    #[test]
    fn entries_of_streams_are_those_of_the_official_adapter() {
        for (message, kind, data) in [
            (
                Message::Broadcast {
                    event: event("hello", r#"1,"é",{"a":null}"#, &[]),
                    options: Options::default(),
                    request: None,
                },
                "3",
                r#"{"packet":{"type":2,"data":["hello",1,"é",{"a":null}]},"opts":{"rooms":[],"except":[],"flags":{}}}"#,
            ),
            (
                Message::Broadcast {
                    event: event("d", r#"{"_placeholder":true,"num":0}"#, &[b"\x00\xff"]),
                    options: Options {
                        selection: rooms(&["r"], &[]),
                        ..Options::default()
                    },
                    request: None,
                },
                "3",
                "gqZwYWNrZXSCpHR5cGUCpGRhdGGSoWTEAgD/pG9wdHODpXJvb21zkaFypmV4Y2VwdJClZmxhZ3OA",
            ),
            (
                Message::DisconnectSockets {
                    selection: Selection::all(),
                    close: true,
                },
                "6",
                r#"{"opts":{"rooms":[],"except":[],"flags":{}},"close":true}"#,
            ),
            // which the official adapter does not put there, and shall not send again
            (
                Message::Broadcast {
                    event: event("q", "", &[]),
                    options: Options::default(),
                    request: Some("id".into()),
                },
                "03",
                r#"{"packet":{"type":2,"data":["q"]},"requestId":"id","opts":{"rooms":[],"except":[],"flags":{}}}"#,
            ),
        ] {
            let fields = Body::of_message(&message).unwrap().fields(UID, "/", None);
            let fields = fields.unwrap();
            let values: Vec<_> = fields.iter().map(|(_, value)| &**value).collect();
            assert_eq!(values, [UID, "/", kind, data]);
            let data = Bytes::from_static(data.as_bytes());
            let read = decode_fields(Some(UID), "/", Some(kind), Some(&data));
            let envelope = read.unwrap().unwrap();
            assert_eq!(envelope.content, Incoming::Message(message));
        }
    }

    #[test]
    fn what_concerns_nobody_is_ignored_and_what_makes_no_sense_is_an_error() {
        for kind in [1, 2, 13] {
            let json = format!(r#"{{"type":{kind},"uid":"a","nsp":"/"}}"#);
            assert_eq!(decode(&json.into()).unwrap(), None);
        }
        for json in [
            "{}",
            r#"{"type":3,"uid":"a","nsp":"/"}"#,
            r#"{"type":3,"data":{"packet":{"type":2,"data":["connect"]},"opts":{}},"uid":"a","nsp":"/"}"#,
            r#"{"type":3,"data":{"packet":null,"opts":{}},"uid":"a","nsp":"/"}"#,
            r#"{"type":4,"data":{"rooms":[]},"uid":"a","nsp":"/"}"#,
            r#"{"type":7,"data":{"opts":{}},"uid":"a","nsp":"/"}"#,
            r#"{"type":8,"data":{"requestId":"a"},"uid":"a","nsp":"/"}"#,
            r#"{"type":9,"data":{"packet":[]},"uid":"a","nsp":"/"}"#,
            r#"{"type":10,"data":{"packet":1},"uid":"a","nsp":"/"}"#,
            r#"{"type":11,"data":{"requestId":"a"},"uid":"a","nsp":"/"}"#,
            r#"{"type":99,"data":{},"uid":"a","nsp":"/"}"#,
            r#"{"type":6,"data":{"opts":{}},"nsp":"/"}"#,
        ] {
            assert!(
                decode(&Bytes::from_static(json.as_bytes())).is_err(),
                "{json}"
            );
        }
        let data = Bytes::from_static(b"{}");
        assert!(decode_fields(None, "/", Some("6"), Some(&data)).is_err());
        assert!(decode_fields(Some("a"), "/", None, Some(&data)).is_err());
        assert!(decode_fields(Some("a"), "/", Some("x"), Some(&data)).is_err());
        let data = Bytes::from_static(b"$$$");
        assert!(decode_fields(Some("a"), "/", Some("6"), Some(&data)).is_err());
    }
}
