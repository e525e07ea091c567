//! What a fuzzer needs: everything that reads what others have written to Redis.

use bytes::Bytes;
use serde_json::Value;

use crate::{
    sessions,
    wire::{
        classic::{self, Channels, Request},
        cluster::{self, Body, Envelope, Incoming},
    },
};

/// Reads bytes in every way. What was read can be written; and read and written once more, it is the same
/// to the byte.
///
/// # Panics
///
/// If not.
pub fn read(payload: &Bytes) {
    let channels = Channels::new("key", "/");
    settles(payload, |payload| {
        let (uid, message) = classic::decode_event(payload, "/").ok()??;
        let written = classic::encode(&channels, &uid, "/", &message);
        Some(written.expect(WRITABLE).1)
    });
    settles(payload, |payload| {
        let (uid, Request::Message(message)) = classic::decode_request(payload).ok()? else {
            return None;
        };
        let uid = uid.unwrap_or_default();
        let written = classic::encode(&channels, &uid, "/", &message);
        // without anybody to answer to, it goes to another channel
        let is_request = !matches!(
            message,
            socketio_adapter::Message::Broadcast { request: None, .. }
        );
        is_request.then(|| written.expect(WRITABLE).1)
    });
    settles(payload, |payload| {
        let response = classic::decode_response(payload).ok()?;
        Some(classic::encode_response(&response).expect(WRITABLE))
    });
    for whole in [Body::in_json, Body::in_msgpack] {
        settles(payload, |payload| {
            let it = cluster::decode(payload).ok()??;
            Some(whole(body(&it), &it.uid, &it.nsp).expect(WRITABLE))
        });
    }
    for kind in [3, 4, 5, 6, 7, 8, 9, 10, 11, 12] {
        settles(payload, |payload| {
            let kind = kind.to_string();
            let it = cluster::decode_fields(Some("uid"), "/", Some(&kind), Some(payload));
            let it = it.ok()??;
            let fields = body(&it).fields(&it.uid, &it.nsp, None).expect(WRITABLE);
            let [_, _, (_, written_kind), (_, data)] = &*fields else {
                panic!("{fields:?}")
            };
            assert_eq!(written_kind.trim_start_matches('0'), kind);
            Some(data.clone().into_bytes())
        });
    }
    settles(payload, |payload| sessions::rewrite(payload));
}

/// Once written, something stays as it is. But a number beyond what a float can hold, which JSON may have,
/// is infinite in MessagePack, as it is in JavaScript, and then `null` in JSON: that takes once more.
fn settles(payload: &Bytes, rewrite: impl Fn(&Bytes) -> Option<Vec<u8>>) {
    let again = |payload: &Bytes| {
        let written = rewrite(payload).expect("what was written can be read");
        Bytes::from(written)
    };
    let Some(written) = rewrite(payload) else {
        return;
    };
    let mut written = Bytes::from(written);
    // a `Value` has no such numbers
    if payload.starts_with(b"{") && serde_json::from_slice::<Value>(payload).is_err() {
        written = again(&written);
    }
    assert_eq!(again(&written), written);
}

fn body(it: &Envelope) -> Body {
    let body = match &it.content {
        Incoming::Message(message) => Body::of_message(message),
        Incoming::Response(response) => Body::of_response(response),
    };
    body.expect(WRITABLE)
}

const WRITABLE: &str = "what was read can be written";
