//! What holds for all messages, and for all bytes.

use std::time::Duration;

use bytes::Bytes;
use proptest::{collection::vec, option, prelude::*};
use serde_json::{Value, json};
use socketio_adapter::{
    Event, HandshakeDetails, Message, Options, RequestId, Response, Room, Selection, SocketDetails,
};
use socketio_proto::{Args, is_reserved};

/// Values that JSON can hold and that come back as they were.
pub(crate) fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".*".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            vec((".*", inner), 0..6).prop_map(|all| Value::Object(all.into_iter().collect())),
        ]
    })
}

/// Arguments, binary data among them.
pub(crate) fn args() -> impl Strategy<Value = Args> {
    (vec(value(), 0..4), vec(vec(any::<u8>(), 0..40), 0..3)).prop_map(|(mut values, binary)| {
        for num in 0..binary.len() {
            values.insert(
                num % (values.len() + 1),
                json!({ "x": [{ "_placeholder": true, "num": num }] }),
            );
        }
        let json = Value::from(values).to_string();
        let attachments = binary.into_iter().map(Bytes::from).collect();
        Args::from_json(json.into(), attachments).unwrap()
    })
}

pub(crate) fn event() -> impl Strategy<Value = Event> {
    let name = ".*".prop_filter("reserved", |name| !is_reserved(name));
    (name, args()).prop_map(|(name, args)| Event {
        name: name.into(),
        args,
    })
}

fn rooms() -> impl Strategy<Value = Vec<Room>> {
    vec(".*".prop_map(Room::from), 0..4)
}

fn selection() -> impl Strategy<Value = Selection> {
    (rooms(), rooms()).prop_map(|(rooms, except)| Selection { rooms, except })
}

fn request() -> impl Strategy<Value = RequestId> {
    ".*".prop_map(|id| RequestId::from(&*id))
}

fn options() -> impl Strategy<Value = Options> {
    let timeout = option::of((0..1_000_000_u64).prop_map(Duration::from_millis));
    (selection(), any::<bool>(), any::<bool>(), timeout).prop_map(
        |(selection, volatile, compress, timeout)| Options {
            selection,
            volatile,
            compress,
            timeout,
            ..Options::default()
        },
    )
}

pub(crate) fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        (event(), options(), option::of(request())).prop_map(|(event, options, request)| {
            Message::Broadcast {
                event,
                options,
                request,
            }
        }),
        (selection(), rooms())
            .prop_map(|(selection, rooms)| Message::SocketsJoin { selection, rooms }),
        (selection(), rooms())
            .prop_map(|(selection, rooms)| Message::SocketsLeave { selection, rooms }),
        (selection(), any::<bool>())
            .prop_map(|(selection, close)| Message::DisconnectSockets { selection, close }),
        (selection(), request())
            .prop_map(|(selection, request)| Message::FetchSockets { selection, request }),
        (event(), option::of(request()))
            .prop_map(|(event, request)| Message::ServerSideEmit { event, request }),
    ]
}

fn socket() -> impl Strategy<Value = SocketDetails> {
    let texts = (".*", ".*", ".*", value(), value());
    (texts, rooms(), any::<u64>(), any::<bool>()).prop_map(
        |((id, time, url, auth, data), rooms, issued, flag)| SocketDetails {
            id: id.into(),
            handshake: HandshakeDetails {
                time,
                url,
                auth,
                issued,
                xdomain: flag,
                secure: !flag,
                ..HandshakeDetails::default()
            },
            rooms,
            data,
        },
    )
}

pub(crate) fn response() -> impl Strategy<Value = Response> {
    prop_oneof![
        (request(), vec(socket(), 0..3))
            .prop_map(|(request, sockets)| Response::Sockets { request, sockets }),
        (request(), args()).prop_map(|(request, args)| Response::ServerSideEmit { request, args }),
        (request(), any::<u32>()).prop_map(|(request, count)| Response::ClientCount {
            request,
            count: count as usize,
        }),
        (request(), args()).prop_map(|(request, args)| Response::Ack { request, args }),
    ]
}

/// Arguments are equal if they mean the same: on the way numbers may change their looks, and
/// attachments their order.
pub(crate) fn meaning(args: &Args) -> Value {
    fn resolve(value: &mut Value, attachments: &[Bytes]) {
        match value {
            Value::Object(object) if object.get("_placeholder") == Some(&true.into()) => {
                let num = object["num"].as_u64().unwrap() as usize;
                *value = json!({ "binary": attachments[num].to_vec() });
            }
            Value::Object(object) => object.values_mut().for_each(|it| resolve(it, attachments)),
            Value::Array(array) => array.iter_mut().for_each(|it| resolve(it, attachments)),
            // 1.0 and 1 are the same in JavaScript
            Value::Number(number) => *value = number.as_f64().into(),
            _ => {}
        }
    }
    let Ok(mut value) = serde_json::from_str(&format!("[{}]", args.json())) else {
        // A number that no double can hold, made by damage.
        return args.json().into();
    };
    resolve(&mut value, args.attachments());
    value
}

/// The message with its arguments beside it.
pub(crate) fn split_message(message: &Message) -> (Message, Option<Value>) {
    let mut message = message.clone();
    let args = match &mut message {
        Message::Broadcast { event, .. } | Message::ServerSideEmit { event, .. } => {
            let args = meaning(&event.args);
            event.args = Args::empty();
            Some(args)
        }
        _ => None,
    };
    (message, args)
}

pub(crate) fn split_response(response: &Response) -> (Response, Option<Value>) {
    let mut response = response.clone();
    let args = match &mut response {
        Response::Ack { args, .. } | Response::ServerSideEmit { args, .. } => {
            let value = meaning(args);
            *args = Args::empty();
            Some(value)
        }
        _ => None,
    };
    (response, args)
}

/// Bytes that are nearly what they should be: some are cut off or changed.
pub(crate) fn damage(payload: &[u8], at: usize, byte: u8, cut: bool) -> Bytes {
    let mut payload = payload.to_vec();
    if !payload.is_empty() {
        let at = at % payload.len();
        if cut {
            payload.truncate(at);
        } else {
            payload[at] = byte;
        }
    }
    payload.into()
}

mod classic {
    use super::{
        super::classic::{
            Channels, Request, decode_event, decode_request, decode_response, encode,
            encode_response,
        },
        *,
    };

    fn read(payload: &Bytes) {
        // Whatever it is, it is read or refused.
        for message in [
            decode_event(payload, "/").ok().flatten().map(|it| it.1),
            decode_request(payload).ok().and_then(|it| match it.1 {
                Request::Message(message) => Some(message),
                _ => None,
            }),
        ]
        .into_iter()
        .flatten()
        {
            split_message(&message);
        }
        if let Ok(response) = decode_response(payload) {
            split_response(&response);
        }
    }

    proptest! {
        #[test]
        fn messages_arrive_as_they_were_sent(
            message in message(),
            (at, byte, cut) in any::<(usize, u8, bool)>(),
        ) {
            let channels = Channels::new("key", "/nsp");
            let (channel, payload) = encode(&channels, "uid", "/nsp", &message).unwrap();
            let payload = Bytes::from(payload);
            let (uid, decoded) = if channel.starts_with(&channels.events) {
                decode_event(&payload, "/nsp").unwrap().unwrap()
            } else {
                let (uid, request) = decode_request(&payload).unwrap();
                let Request::Message(message) = request else { panic!() };
                (uid.unwrap(), message)
            };
            prop_assert_eq!(uid, "uid");
            prop_assert_eq!(split_message(&decoded), split_message(&message));
            read(&damage(&payload, at, byte, cut));
        }

        #[test]
        fn responses_arrive_as_they_were_sent(
            response in response(),
            (at, byte, cut) in any::<(usize, u8, bool)>(),
        ) {
            let payload = Bytes::from(encode_response(&response).unwrap());
            let decoded = decode_response(&payload).unwrap();
            prop_assert_eq!(split_response(&decoded), split_response(&response));
            read(&damage(&payload, at, byte, cut));
        }

        #[test]
        fn any_bytes_are_read_or_refused(payload in vec(any::<u8>(), 0..200)) {
            read(&payload.into());
        }
    }
}

mod cluster {
    use super::{
        super::cluster::{Body, Envelope, Incoming, decode, decode_fields},
        *,
    };

    fn content(envelope: Option<Envelope>) -> Option<Incoming> {
        envelope.map(|it| it.content)
    }

    fn split(content: Option<Incoming>) -> (Option<Incoming>, Option<Value>) {
        match content {
            Some(Incoming::Message(it)) => {
                let (message, args) = split_message(&it);
                (Some(Incoming::Message(message)), args)
            }
            Some(Incoming::Response(it)) => {
                let (response, args) = split_response(&it);
                (Some(Incoming::Response(response)), args)
            }
            None => (None, None),
        }
    }

    fn read(payload: &Bytes) {
        // Whatever it is, it is read or refused.
        if let Ok(envelope) = decode(payload) {
            split(content(envelope));
        }
        for kind in ["3", "9", "12"] {
            if let Ok(envelope) = decode_fields(Some("uid"), "/", Some(kind), Some(payload)) {
                split(content(envelope));
            }
        }
    }

    fn both() -> impl Strategy<Value = Incoming> {
        prop_oneof![
            message().prop_map(Incoming::Message),
            response().prop_map(Incoming::Response),
        ]
    }

    proptest! {
        #[test]
        fn everything_arrives_as_it_was_sent(
            sent in both(),
            (at, byte, cut) in any::<(usize, u8, bool)>(),
        ) {
            let body = || match &sent {
                Incoming::Message(message) => Body::of_message(message).unwrap(),
                Incoming::Response(response) => Body::of_response(response).unwrap(),
            };
            for payload in [body().in_json("uid", "/nsp"), body().in_msgpack("uid", "/nsp")] {
                let payload = Bytes::from(payload.unwrap());
                let envelope = decode(&payload).unwrap().unwrap();
                prop_assert_eq!((&*envelope.uid, &*envelope.nsp), ("uid", "/nsp"));
                prop_assert_eq!(split(Some(envelope.content)), split(clone(&sent)));
                read(&damage(&payload, at, byte, cut));
            }
            let fields = body().fields("uid", "/nsp", None).unwrap();
            let [(_, uid), (_, nsp), (_, kind), (_, data)] = &*fields else { unreachable!() };
            let data = Bytes::copy_from_slice(data.as_bytes());
            let envelope = decode_fields(Some(uid), nsp, Some(kind), Some(&data)).unwrap();
            prop_assert_eq!(split(content(envelope)), split(clone(&sent)));
            read(&damage(&data, at, byte, cut));
        }

        #[test]
        fn any_bytes_are_read_or_refused(payload in vec(any::<u8>(), 0..200)) {
            read(&payload.into());
        }
    }

    fn clone(it: &Incoming) -> Option<Incoming> {
        Some(match it {
            Incoming::Message(message) => Incoming::Message(message.clone()),
            Incoming::Response(response) => Incoming::Response(response.clone()),
        })
    }
}
