//! What a fuzzer needs: everything that reads what others have written to Redis.

use bytes::Bytes;

use crate::wire::{
    classic::{self, Channels, Request},
    cluster::{self, Body, Incoming},
};

/// Reads bytes in every way. What is read can be written and read again; that it is then the same is
/// shown by properties, on what does not lose its looks in MessagePack.
///
/// # Panics
///
/// If not.
pub fn read(payload: &Bytes) {
    let channels = Channels::new("key", "/");
    if let Ok(Some((uid, message))) = classic::decode_event(payload, "/") {
        let written = classic::encode(&channels, &uid, "/", &message);
        let (_, written) = written.expect("what was read can be written");
        let again = classic::decode_event(&written.into(), "/");
        assert!(matches!(again, Ok(Some((name, _))) if name == uid));
    }
    if let Ok((uid, Request::Message(message))) = classic::decode_request(payload)
        && !is_event(&message)
    {
        let uid = uid.unwrap_or_default();
        let written = classic::encode(&channels, &uid, "/", &message);
        let (_, written) = written.expect("what was read can be written");
        let again = classic::decode_request(&written.into());
        assert!(matches!(again, Ok((Some(name), _)) if name == uid));
    }
    if let Ok(response) = classic::decode_response(payload) {
        let written = classic::encode_response(&response);
        let written = written.expect("what was read can be written");
        let again = classic::decode_response(&written.into());
        assert!(matches!(again, Ok(it) if it.request() == response.request()));
    }
    if let Ok(Some(envelope)) = cluster::decode(payload) {
        let body = match &envelope.content {
            Incoming::Message(message) => Body::of_message(message),
            Incoming::Response(response) => Body::of_response(response),
        };
        let written = body.and_then(|it| it.in_msgpack(&envelope.uid, &envelope.nsp));
        let written = written.expect("what was read can be written");
        let again = cluster::decode(&written.into());
        assert!(matches!(again, Ok(Some(it)) if it.uid == envelope.uid && it.nsp == envelope.nsp));
    }
    for kind in ["3", "4", "8", "9", "11", "12"] {
        let _ = cluster::decode_fields(Some("uid"), "/", Some(kind), Some(payload));
    }
}

/// Whether it goes to another channel than requests.
fn is_event(message: &socketio_adapter::Message) -> bool {
    matches!(
        message,
        socketio_adapter::Message::Broadcast { request: None, .. }
    )
}
