//! The format of `@socket.io/redis-adapter` 8 and `@socket.io/redis-emitter` 5.
//!
//! Events are MessagePack on a channel of their own for each namespace, or for each room if they are
//! for one room only. Everything else is JSON on a channel for requests, and answers on a channel for
//! answers; a question to clients and their answers are MessagePack, for there may be binary data in
//! them. A server that reads tells the two by the first byte, so here anything with binary data is
//! MessagePack, also what the official adapter has no way to send.
//!
//! An answer of the official adapter is one value. What is answered beyond that stands in a member
//! `rest`, which that adapter does not look at.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use socketio_adapter::{Message, RequestId, Response, Room, Selection, SocketDetails};
use socketio_proto::{EncodeError, msgpack};

use super::{
    Details, EVENT, Name, Opts, Packet, Text, WireError, event_data, or_default, push, push_args,
    push_options, push_selection, raw,
};

/// The names of the channels of one namespace.
#[derive(Debug)]
pub(crate) struct Channels {
    /// Events; those for one room on a channel that begins like this.
    pub(crate) events: String,
    pub(crate) requests: String,
    /// Answers; those for one server on a channel that begins like this.
    pub(crate) responses: String,
}

impl Channels {
    pub(crate) fn new(key: &str, nsp: &str) -> Self {
        Self {
            events: format!("{key}#{nsp}#"),
            requests: format!("{key}-request#{nsp}#"),
            responses: format!("{key}-response#{nsp}#"),
        }
    }

    /// The pattern of all channels for events: what has a meaning in patterns has none here.
    pub(crate) fn pattern(&self) -> String {
        let mut pattern = String::with_capacity(self.events.len() + 1);
        for char in self.events.chars() {
            if matches!(char, '*' | '?' | '[' | ']' | '\\') {
                pattern.push('\\');
            }
            pattern.push(char);
        }
        pattern.push('*');
        pattern
    }

    /// The channel for answers to one server.
    pub(crate) fn responses_to(&self, uid: &str) -> String {
        format!("{}{uid}#", self.responses)
    }

    fn events_for(&self, selection: &Selection) -> String {
        match &*selection.rooms {
            [room] => format!("{}{room}#", self.events),
            _ => self.events.clone(),
        }
    }
}

/// What another server wants.
#[derive(Debug, PartialEq)]
pub(crate) enum Request {
    /// What there is a word for.
    Message(Message),
    /// The ids of sockets in rooms.
    Ids {
        rooms: Vec<Room>,
        request: RequestId,
    },
    /// The names of all rooms.
    Rooms { request: RequestId },
}

/// A message and the channel for it.
pub(crate) fn encode(
    channels: &Channels,
    uid: &str,
    nsp: &str,
    message: &Message,
) -> Result<(String, Vec<u8>), EncodeError> {
    let mut out = String::new();
    let mut attachments: &[Bytes] = &[];
    match message {
        Message::Broadcast {
            event,
            options,
            request: None,
        } => {
            out.push('[');
            push(&mut out, uid);
            out.push(',');
            push_packet(&mut out, &event_data(event), nsp);
            out.push(',');
            push_options(&mut out, options);
            out.push(']');
            let payload = msgpack::from_json(&out, event.args.attachments())?;
            return Ok((channels.events_for(&options.selection), payload));
        }
        Message::Broadcast {
            event,
            options,
            request: Some(request),
        } => {
            begin(&mut out, uid, Some(request), BROADCAST);
            out.push_str(",\"packet\":");
            push_packet(&mut out, &event_data(event), nsp);
            out.push_str(",\"opts\":");
            push_options(&mut out, options);
            out.push('}');
            let payload = msgpack::from_json(&out, event.args.attachments())?;
            return Ok((channels.requests.clone(), payload));
        }
        Message::SocketsJoin { selection, rooms } => {
            begin(&mut out, uid, None, REMOTE_JOIN);
            push_opts(&mut out, selection);
            out.push_str(",\"rooms\":");
            push(&mut out, rooms);
        }
        Message::SocketsLeave { selection, rooms } => {
            begin(&mut out, uid, None, REMOTE_LEAVE);
            push_opts(&mut out, selection);
            out.push_str(",\"rooms\":");
            push(&mut out, rooms);
        }
        Message::DisconnectSockets { selection, close } => {
            begin(&mut out, uid, None, REMOTE_DISCONNECT);
            push_opts(&mut out, selection);
            out.push_str(",\"close\":");
            push(&mut out, close);
        }
        Message::FetchSockets { selection, request } => {
            begin(&mut out, uid, Some(request), REMOTE_FETCH);
            push_opts(&mut out, selection);
        }
        Message::ServerSideEmit { event, request } => {
            begin(&mut out, uid, request.as_ref(), SERVER_SIDE_EMIT);
            out.push_str(",\"data\":");
            out.push_str(&event_data(event));
            attachments = event.args.attachments();
        }
        _ => return Err(EncodeError::new("the Redis adapter has no word for that")),
    }
    out.push('}');
    Ok((channels.requests.clone(), finish(out, attachments)?))
}

/// How events begin that this server itself has written, with acknowledgements and without: most of
/// what it gets back from Redis. So they need not be read to be ignored.
///
/// The name has up to 31 bytes.
pub(crate) fn beginnings_of_own(uid: &str) -> [Vec<u8>; 2] {
    let len = [0xA0 | (uid.len() as u8 & 0x1F)];
    [&b"\x93"[..], b"\x85\xa3uid"].map(|before| [before, &len, uid.as_bytes()].concat())
}

/// An event from the channels for events: who sends it, and what for.
pub(crate) fn decode_event(
    payload: &Bytes,
    nsp: &str,
) -> Result<Option<(String, Message)>, WireError> {
    let text = Text::read(payload)?;
    let (Name(uid), packet, opts) = text.parse::<(Name<'_>, Packet<'_>, Opts)>()?;
    if packet.nsp.as_ref().map_or("/", |it| &it.0) != nsp {
        return Ok(None);
    }
    let message = Message::Broadcast {
        event: text.client_event(&packet)?,
        options: opts.options(),
        request: None,
    };
    Ok(Some((uid.into_owned(), message)))
}

/// Something from the channel for requests: who asks, if that is said, and what for.
pub(crate) fn decode_request(payload: &Bytes) -> Result<(Option<String>, Request), WireError> {
    let text = Text::read(payload)?;
    let it: RawRequest<'_> = text.parse()?;
    let uid = it.uid.map(|it| it.0.into_owned());
    let request = it.request.map(|it| RequestId::from(&*it.0));
    let named = || {
        request
            .clone()
            .ok_or(WireError::Invalid("a request without an id"))
    };
    let selection = |opts: Option<Opts>| {
        let opts = opts.ok_or(WireError::Invalid("a request without `opts`"))?;
        Ok::<_, WireError>(opts.selection())
    };
    let rooms: Vec<Room> = it.rooms.into_iter().map(|it| it.0).collect();
    let message = match it.kind {
        SOCKETS => {
            let request = named()?;
            return Ok((uid, Request::Ids { rooms, request }));
        }
        ALL_ROOMS => return Ok((uid, Request::Rooms { request: named()? })),
        REMOTE_JOIN => Message::SocketsJoin {
            selection: selection(it.opts)?,
            rooms,
        },
        REMOTE_LEAVE => Message::SocketsLeave {
            selection: selection(it.opts)?,
            rooms,
        },
        REMOTE_DISCONNECT => Message::DisconnectSockets {
            selection: selection(it.opts)?,
            close: it.close,
        },
        REMOTE_FETCH => Message::FetchSockets {
            selection: selection(it.opts)?,
            request: named()?,
        },
        SERVER_SIDE_EMIT => {
            let data = it.data.ok_or(WireError::Invalid("an event without data"))?;
            let event = text.event(data)?;
            Message::ServerSideEmit { event, request }
        }
        BROADCAST => {
            let packet = it
                .packet
                .ok_or(WireError::Invalid("an event without data"))?;
            let opts = it
                .opts
                .ok_or(WireError::Invalid("a request without `opts`"))?;
            Message::Broadcast {
                event: text.client_event(&packet)?,
                options: opts.options(),
                request: Some(named()?),
            }
        }
        _ => return Err(WireError::Invalid("a request of an unknown type")),
    };
    Ok((uid, Request::Message(message)))
}

/// An answer.
pub(crate) fn encode_response(response: &Response) -> Result<Vec<u8>, EncodeError> {
    let mut out = String::from("{");
    let mut attachments: &[Bytes] = &[];
    let kind = |out: &mut String, kind: u64| {
        out.push_str("\"type\":");
        push(out, &kind);
        out.push(',');
    };
    match response {
        Response::Sockets { request, sockets } => {
            push_request(&mut out, request);
            out.push_str(",\"sockets\":");
            push(&mut out, sockets);
        }
        Response::ServerSideEmit { request, args } => {
            kind(&mut out, SERVER_SIDE_EMIT);
            push_request(&mut out, request);
            push_args(&mut out, "data", args)?;
            attachments = args.attachments();
        }
        Response::ClientCount { request, count } => {
            kind(&mut out, CLIENT_COUNT);
            push_request(&mut out, request);
            out.push_str(",\"clientCount\":");
            push(&mut out, count);
        }
        Response::Ack { request, args } => {
            kind(&mut out, ACK);
            push_request(&mut out, request);
            push_args(&mut out, "packet", args)?;
            out.push('}');
            return msgpack::from_json(&out, args.attachments());
        }
        _ => return Err(EncodeError::new("the Redis adapter has no word for that")),
    }
    out.push('}');
    finish(out, attachments)
}

/// The answer to [`Request::Ids`].
pub(crate) fn encode_ids(request: &RequestId, sockets: &[SocketDetails]) -> Vec<u8> {
    let ids: Vec<&Room> = sockets.iter().map(|it| &it.id).collect();
    names(request, "sockets", &ids)
}

/// The answer to [`Request::Rooms`].
pub(crate) fn encode_rooms(request: &RequestId, sockets: &[SocketDetails]) -> Vec<u8> {
    let mut rooms: Vec<&Room> = sockets.iter().flat_map(|it| &it.rooms).collect();
    rooms.sort_unstable();
    rooms.dedup();
    names(request, "rooms", &rooms)
}

fn names(request: &RequestId, what: &str, names: &[&Room]) -> Vec<u8> {
    let mut out = String::from("{");
    push_request(&mut out, request);
    out.push(',');
    push(&mut out, what);
    out.push(':');
    push(&mut out, names);
    out.push('}');
    out.into_bytes()
}

/// An answer of another server.
pub(crate) fn decode_response(payload: &Bytes) -> Result<Response, WireError> {
    let text = Text::read(payload)?;
    let it: RawResponse<'_> = text.parse()?;
    let request = RequestId::from(&*it.request.0);
    Ok(match it.kind {
        None => {
            let sockets = it.sockets.ok_or(WireError::Invalid("an unknown answer"))?;
            let sockets = sockets.into_iter().map(Details::into_socket).collect();
            Response::Sockets { request, sockets }
        }
        Some(SERVER_SIDE_EMIT) => Response::ServerSideEmit {
            request,
            args: text.args(it.data, &it.rest)?,
        },
        Some(CLIENT_COUNT) => Response::ClientCount {
            request,
            count: it
                .count
                .ok_or(WireError::Invalid("a count without number"))?,
        },
        Some(ACK) => Response::Ack {
            request,
            args: text.args(it.packet, &it.rest)?,
        },
        Some(_) => return Err(WireError::Invalid("an answer of an unknown type")),
    })
}

#[derive(Deserialize)]
struct RawRequest<'a> {
    #[serde(rename = "type")]
    kind: u64,
    #[serde(borrow)]
    uid: Option<Name<'a>>,
    #[serde(borrow, rename = "requestId")]
    request: Option<Name<'a>>,
    opts: Option<Opts>,
    #[serde(default)]
    rooms: Vec<super::RoomName>,
    #[serde(default, deserialize_with = "or_default")]
    close: bool,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    packet: Option<Packet<'a>>,
}

#[derive(Deserialize)]
struct RawResponse<'a> {
    #[serde(rename = "type")]
    kind: Option<u64>,
    #[serde(borrow, rename = "requestId")]
    request: Name<'a>,
    sockets: Option<Vec<Details>>,
    #[serde(rename = "clientCount")]
    count: Option<usize>,
    #[serde(borrow, default, deserialize_with = "raw")]
    data: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "raw")]
    packet: Option<&'a RawValue>,
    #[serde(borrow, default)]
    rest: Vec<&'a RawValue>,
}

/// The members that all requests have, in their order.
fn begin(out: &mut String, uid: &str, request: Option<&RequestId>, kind: u64) {
    out.push_str("{\"uid\":");
    push(out, uid);
    out.push(',');
    if let Some(request) = request {
        push_request(out, request);
        out.push(',');
    }
    out.push_str("\"type\":");
    push(out, &kind);
}

fn push_request(out: &mut String, request: &RequestId) {
    out.push_str("\"requestId\":");
    push(out, request.as_str());
}

fn push_packet(out: &mut String, data: &str, nsp: &str) {
    out.push_str("{\"type\":");
    push(out, &EVENT);
    out.push_str(",\"data\":");
    out.push_str(data);
    out.push_str(",\"nsp\":");
    push(out, nsp);
    out.push('}');
}

fn push_opts(out: &mut String, selection: &Selection) {
    out.push_str(",\"opts\":{");
    push_selection(out, selection);
    out.push('}');
}

/// JSON as long as there is no binary data.
fn finish(json: String, attachments: &[Bytes]) -> Result<Vec<u8>, EncodeError> {
    if attachments.is_empty() {
        Ok(json.into_bytes())
    } else {
        msgpack::from_json(&json, attachments)
    }
}

const SOCKETS: u64 = 0;
const ALL_ROOMS: u64 = 1;
const REMOTE_JOIN: u64 = 2;
const REMOTE_LEAVE: u64 = 3;
const REMOTE_DISCONNECT: u64 = 4;
const REMOTE_FETCH: u64 = 5;
const SERVER_SIDE_EMIT: u64 = 6;
const BROADCAST: u64 = 7;
const CLIENT_COUNT: u64 = 8;
const ACK: u64 = 9;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;
    use socketio_adapter::{Event, HandshakeDetails, Options};
    use socketio_proto::Args;

    use super::*;

    // The bytes are what the official adapter 8.3 and emitter 5.1 have published.

    fn bytes(hex: &str) -> Bytes {
        let digits: Vec<_> = hex.bytes().filter(|it| !it.is_ascii_whitespace()).collect();
        let byte = |pair: &[u8]| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
        digits.chunks(2).map(byte).collect()
    }

    fn event(name: &str, json: &str, attachments: &[&'static [u8]]) -> Event {
        let attachments = attachments
            .iter()
            .map(|it| Bytes::from_static(it))
            .collect();
        let args = Args::from_json(format!("[{json}]").into(), attachments).unwrap();
        let name = name.into();
        Event { name, args }
    }

    fn broadcast(event: Event, options: Options, request: Option<&str>) -> Message {
        Message::Broadcast {
            event,
            options,
            request: request.map(RequestId::from),
        }
    }

    fn selection(rooms: &[&str], except: &[&str]) -> Selection {
        let names = |names: &[&str]| names.iter().map(|&name| name.into()).collect();
        Selection {
            rooms: names(rooms),
            except: names(except),
        }
    }

    fn channels() -> Channels {
        Channels::new("socket.io", "/")
    }

    fn published(uid: &str, message: &Message) -> (String, Bytes) {
        let (channel, payload) = encode(&channels(), uid, "/", message).unwrap();
        (channel, payload.into())
    }

    #[track_caller]
    fn check_event(hex: &str, channel: &str, uid: &str, message: &Message) {
        let payload = bytes(hex);
        let decoded = decode_event(&payload, "/").unwrap().unwrap();
        assert_eq!(decoded, (uid.to_owned(), message.clone()));
        assert_eq!(published(uid, message), (channel.to_owned(), payload));
    }

    #[track_caller]
    fn check_request(payload: Bytes, uid: &str, message: &Message) {
        let decoded = decode_request(&payload).unwrap();
        let expected = (Some(uid.to_owned()), Request::Message(message.clone()));
        assert_eq!(decoded, expected);
        let channel = "socket.io-request#/#".to_owned();
        assert_eq!(published(uid, message), (channel, payload));
    }

    #[track_caller]
    fn check_response(payload: Bytes, response: &Response) {
        assert_eq!(decode_response(&payload).unwrap(), *response);
        assert_eq!(encode_response(response).unwrap(), payload);
    }

    #[test]
    fn channels_are_those_of_the_official_adapter() {
        let channels = Channels::new("key", "/a");
        assert_eq!(channels.pattern(), "key#/a#*");
        assert_eq!(channels.requests, "key-request#/a#");
        assert_eq!(channels.responses, "key-response#/a#");
        assert_eq!(channels.responses_to("uid"), "key-response#/a#uid#");
        let strange = Channels::new("*", "/[a]?\\");
        assert_eq!(strange.pattern(), "\\*#/\\[a\\]\\?\\\\#*");
    }

    #[test]
    fn events_are_those_of_the_official_adapter() {
        let hello = event("hello", r#"1,"é",{"a":null}"#, &[]);
        check_event(
            "93a667325f43747083a47479706502a46461746194a568656c6c6f01a2c3a981a161c0a36e7370a12f83a57
             26f6f6d7390a665786365707490a5666c61677380",
            "socket.io#/#",
            "g2_Ctp",
            &broadcast(hello, Options::default(), None),
        );
        // `to(1).to("r")`: in JavaScript rooms may be numbers
        let payload = bytes(
            "93a667325f43747083a47479706502a46461746193a164cf0000010000000000d3ffffff0000000000a36e7
             370a12f83a5726f6f6d739201a172a665786365707490a5666c61677380",
        );
        let options = Options {
            selection: selection(&["1", "r"], &[]),
            ..Options::default()
        };
        let numbers = event("d", "1099511627776,-1099511627776", &[]);
        let message = broadcast(numbers, options, None);
        let decoded = decode_event(&payload, "/").unwrap();
        assert_eq!(decoded, Some(("g2_Ctp".into(), message)));
    }

    #[test]
    fn flags_and_what_json_has_no_word_for_are_read() {
        let payload = bytes(
            "93a667325f43747083a47479706502a46461746195a164c40200ffd6ff0000000094c0cb3ff800000000000
             0cf0000000000000000fb80a36e7370a12f83a5726f6f6d7391a172a665786365707492a178a179a5666c61
             677382a8766f6c6174696c65c3a8636f6d7072657373c2",
        );
        let json = r#"{"_placeholder":true,"num":0},"1970-01-01T00:00:00.000Z",[null,1.5,0,-5],{}"#;
        let options = Options {
            selection: selection(&["r"], &["x", "y"]),
            volatile: true,
            compress: false,
            ..Options::default()
        };
        let message = broadcast(event("d", json, &[b"\x00\xff"]), options, None);
        let decoded = decode_event(&payload, "/").unwrap();
        assert_eq!(decoded, Some(("g2_Ctp".into(), message.clone())));
        // one room has a channel of its own
        assert_eq!(published("g2_Ctp", &message).0, "socket.io#/#r#");
    }

    #[test]
    fn events_of_the_official_emitter_are_read() {
        let payload = bytes(
            "93a7656d697474657283a47479706502a46461746192a164c40101a36e7370a12f83a5726f6f6d7390a5666
             c61677380a665786365707490",
        );
        let placeholder = r#"{"_placeholder":true,"num":0}"#;
        let message = broadcast(
            event("d", placeholder, &[b"\x01"]),
            Options::default(),
            None,
        );
        let decoded = decode_event(&payload, "/").unwrap();
        assert_eq!(decoded, Some(("emitter".into(), message)));
        assert_eq!(decode_event(&payload, "/other").unwrap(), None);
    }

    #[test]
    fn questions_to_clients_are_those_of_the_official_adapter() {
        let options = Options {
            timeout: Some(Duration::from_millis(500)),
            ..Options::default()
        };
        check_request(
            bytes(
                "85a3756964a667325f437470a9726571756573744964a64c4f435a7744a47479706507a67061636b657
                 483a47479706502a46461746192a17101a36e7370a12fa46f70747383a5726f6f6d7390a665786365707
                 490a5666c61677381a774696d656f7574cd01f4",
            ),
            "g2_Ctp",
            &broadcast(event("q", "1", &[]), options, Some("LOCZwD")),
        );
        let request = RequestId::from("LOCZwD");
        check_response(
            Bytes::from_static(br#"{"type":8,"requestId":"LOCZwD","clientCount":1}"#),
            &Response::ClientCount { request, count: 1 },
        );
        let answer = |request: &str, json: &str, attachments| Response::Ack {
            request: request.into(),
            args: event("", json, attachments).args,
        };
        check_response(
            bytes("83a47479706509a9726571756573744964a64c4f435a7744a67061636b6574a3796573"),
            &answer("LOCZwD", r#""yes""#, &[]),
        );
        check_response(
            bytes("82a47479706509a9726571756573744964a658306a6d6858"),
            &answer("X0jmhX", "", &[]),
        );
        check_response(
            bytes("83a47479706509a9726571756573744964a6754470314258a67061636b6574c4020908"),
            &answer("uDp1BX", r#"{"_placeholder":true,"num":0}"#, &[b"\x09\x08"]),
        );
    }

    #[test]
    fn requests_are_those_of_the_official_adapter() {
        let request = |text: &'static str| Bytes::from_static(text.as_bytes());
        check_request(
            request(
                r#"{"uid":"g2_Ctp","type":2,"opts":{"rooms":["r"],"except":[]},"rooms":["s","t"]}"#,
            ),
            "g2_Ctp",
            &Message::SocketsJoin {
                selection: selection(&["r"], &[]),
                rooms: vec!["s".into(), "t".into()],
            },
        );
        check_request(
            request(
                r#"{"uid":"g2_Ctp","type":3,"opts":{"rooms":["r"],"except":[]},"rooms":["t"]}"#,
            ),
            "g2_Ctp",
            &Message::SocketsLeave {
                selection: selection(&["r"], &[]),
                rooms: vec!["t".into()],
            },
        );
        check_request(
            request(r#"{"uid":"g2_Ctp","type":4,"opts":{"rooms":[],"except":[]},"close":false}"#),
            "g2_Ctp",
            &Message::DisconnectSockets {
                selection: Selection::all(),
                close: false,
            },
        );
        check_request(
            request(
                r#"{"uid":"g2_Ctp","requestId":"aHTZKl","type":5,"opts":{"rooms":[],"except":[]}}"#,
            ),
            "g2_Ctp",
            &Message::FetchSockets {
                selection: Selection::all(),
                request: "aHTZKl".into(),
            },
        );
        check_request(
            request(r#"{"uid":"g2_Ctp","type":6,"data":["ev",1,"x"]}"#),
            "g2_Ctp",
            &Message::ServerSideEmit {
                event: event("ev", r#"1,"x""#, &[]),
                request: None,
            },
        );
        check_request(
            request(r#"{"uid":"g2_Ctp","requestId":"j1BQjw","type":6,"data":["ask",1]}"#),
            "g2_Ctp",
            &Message::ServerSideEmit {
                event: event("ask", "1", &[]),
                request: Some("j1BQjw".into()),
            },
        );
        // the emitter's
        let payload = request(r#"{"type":2,"opts":{"rooms":[],"except":[]},"rooms":["z"]}"#);
        let message = Message::SocketsJoin {
            selection: Selection::all(),
            rooms: vec!["z".into()],
        };
        let decoded = decode_request(&payload).unwrap();
        assert_eq!(decoded, (None, Request::Message(message)));
    }

    #[test]
    fn names_of_rooms_and_sockets_are_told() {
        let payload = Bytes::from_static(br#"{"uid":"g2_Ctp","requestId":"MxCym9","type":1}"#);
        let request = RequestId::from("MxCym9");
        let rooms = Request::Rooms {
            request: request.clone(),
        };
        let decoded = decode_request(&payload).unwrap();
        assert_eq!(decoded, (Some("g2_Ctp".into()), rooms));
        let socket = |id: &str, rooms: &[&str]| SocketDetails {
            id: id.into(),
            handshake: HandshakeDetails::default(),
            rooms: rooms.iter().map(|&room| room.into()).collect(),
            data: json!(null),
        };
        let sockets = [socket("a", &["a", "r"]), socket("b", &["b", "r", "s"])];
        assert_eq!(
            encode_rooms(&request, &sockets),
            br#"{"requestId":"MxCym9","rooms":["a","b","r","s"]}"#
        );
        assert_eq!(
            encode_ids(&request, &sockets),
            br#"{"requestId":"MxCym9","sockets":["a","b"]}"#
        );
    }

    #[test]
    fn sockets_of_the_official_adapter_are_read() {
        let payload = Bytes::from_static(
            br#"{"requestId":"aHTZKl","sockets":[{"id":"p-eh","handshake":{"headers":{"host":"h:1"},
            "time":"Sat Nov 28 2026 03:23:58 GMT+0000 (Coordinated Universal Time)",
            "address":"127.0.0.1","xdomain":false,"secure":false,"issued":1795836238172,
            "url":"/socket.io/?EIO=4","query":{"EIO":"4"},"auth":{}},"rooms":["p-eh","r",7],
            "data":{"n":1}},{"id":"bare","handshake":{"address":null,"issued":"?"}}]}"#,
        );
        let Response::Sockets { request, sockets } = decode_response(&payload).unwrap() else {
            panic!()
        };
        assert_eq!(request.as_str(), "aHTZKl");
        let [full, bare] = &*sockets else { panic!() };
        assert_eq!(full.rooms, ["p-eh", "r", "7"].map(Room::from));
        assert_eq!(full.data, json!({ "n": 1 }));
        let handshake = &full.handshake;
        assert_eq!(handshake.headers["host"], "h:1");
        assert_eq!(handshake.query["EIO"], "4");
        assert_eq!(handshake.issued, 1_795_836_238_172);
        assert_eq!(handshake.url, "/socket.io/?EIO=4");
        // what applications have changed costs no more than that
        assert_eq!((&*bare.id, bare.handshake.issued), ("bare", 0));
    }

    #[test]
    fn answers_of_servers_are_those_of_the_official_adapter() {
        let answer = |request: &str, json: &str| Response::ServerSideEmit {
            request: request.into(),
            args: event("", json, &[]).args,
        };
        check_response(
            Bytes::from_static(br#"{"type":6,"requestId":"j1BQjw","data":"ans"}"#),
            &answer("j1BQjw", r#""ans""#),
        );
        check_response(
            Bytes::from_static(br#"{"type":6,"requestId":"cidBIY"}"#),
            &answer("cidBIY", ""),
        );
        check_response(
            Bytes::from_static(br#"{"type":6,"requestId":"cidBIY","data":null}"#),
            &answer("cidBIY", "null"),
        );
        // the official adapter sees the first one
        check_response(
            Bytes::from_static(br#"{"type":6,"requestId":"cidBIY","data":1,"rest":[[2],"3"]}"#),
            &answer("cidBIY", r#"1,[2],"3""#),
        );
    }

    #[test]
    fn what_is_binary_is_messagepack_everywhere() {
        let placeholder = r#"1,{"_placeholder":true,"num":0}"#;
        let message = Message::ServerSideEmit {
            event: event("photo", placeholder, &[b"\xff"]),
            request: Some("id".into()),
        };
        let (_, payload) = published("uid", &message);
        assert!(!payload.starts_with(b"{"));
        let decoded = decode_request(&payload).unwrap();
        assert_eq!(decoded, (Some("uid".into()), Request::Message(message)));
        let response = Response::ServerSideEmit {
            request: "id".into(),
            args: event("", placeholder, &[b"\xff"]).args,
        };
        let payload = encode_response(&response).unwrap().into();
        assert_eq!(decode_response(&payload).unwrap(), response);
    }

    #[test]
    fn an_object_that_looks_like_binary_data_stays_one() {
        let message = broadcast(
            event("e", r#"{"_placeholder":true,"num":0}"#, &[]),
            Options::default(),
            None,
        );
        let (_, payload) = published("uid", &message);
        let (_, decoded) = decode_event(&payload, "/").unwrap().unwrap();
        let Message::Broadcast { event, .. } = decoded else {
            panic!()
        };
        assert_eq!(event.args.attachments().len(), 0);
        let value: serde_json::Value = event.args.deserialize().unwrap();
        assert_eq!(value, json!({ "_placeholder": true, "num": 0 }));
    }

    #[test]
    fn own_messages_are_known_by_how_they_begin() {
        let own = beginnings_of_own("0123456789abcdef");
        for request in [None, Some("request")] {
            let message = broadcast(event("e", "1", &[]), Options::default(), request);
            let (_, payload) = published("0123456789abcdef", &message);
            assert!(own.iter().any(|it| payload.starts_with(it)));
            let (_, payload) = published("0123456789abcdee", &message);
            assert!(!own.iter().any(|it| payload.starts_with(it)));
        }
    }

    #[test]
    fn what_makes_no_sense_is_an_error() {
        for json in [
            "",
            "{",
            "{}",
            "[]",
            r#"{"type":2}"#,
            r#"{"type":2,"opts":{"rooms":[null]},"rooms":[]}"#,
            r#"{"type":5,"opts":{"rooms":[],"except":[]}}"#,
            r#"{"type":6}"#,
            r#"{"type":6,"data":[]}"#,
            r#"{"type":6,"data":[{}]}"#,
            r#"{"type":6,"data":{}}"#,
            r#"{"type":7,"requestId":"a","opts":{},"packet":{"type":3,"data":["a"]}}"#,
            r#"{"type":7,"requestId":"a","opts":{},"packet":{"type":2,"data":["connect"]}}"#,
            r#"{"type":7,"opts":{},"packet":{"type":2,"data":["a"]}}"#,
            r#"{"type":10,"requestId":"a"}"#,
            r#"{"type":-1}"#,
        ] {
            let payload = Bytes::from_static(json.as_bytes());
            assert!(decode_request(&payload).is_err(), "{json}");
            assert!(decode_event(&payload, "/").is_err(), "{json}");
        }
        for json in [
            "{}",
            r#"{"requestId":"a"}"#,
            r#"{"requestId":1,"sockets":[]}"#,
            r#"{"requestId":"a","sockets":[{}]}"#,
            r#"{"requestId":"a","type":8}"#,
            r#"{"requestId":"a","type":8,"clientCount":-1}"#,
            r#"{"requestId":"a","type":7}"#,
        ] {
            let payload = Bytes::from_static(json.as_bytes());
            assert!(decode_response(&payload).is_err(), "{json}");
        }
    }
}
