//! Sessions of clients that may come back to another server, and what they have missed: as
//! `@socket.io/redis-streams-adapter` keeps them.

use std::{collections::HashMap, sync::Arc, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use redis::{Cmd, RedisResult, Value};
use serde::Deserialize;
use serde_json::value::RawValue;
use socketio_adapter::{
    BoxError, BoxFuture, Event, Message, Options, Place, SessionStore, StoredSession,
};
use socketio_proto::msgpack;

use crate::{
    Redis,
    queue::Publication,
    streams::{Reader, entries},
    wire::{
        RoomName, Text, WireError,
        cluster::{self, Incoming, MARK},
        push,
    },
};

/// The sessions and events of one namespace.
pub(crate) struct Sessions {
    pub(crate) redis: Redis,
    pub(crate) reader: Arc<Reader>,
    pub(crate) stream: Arc<str>,
    pub(crate) namespace: Arc<str>,
    /// What keys begin with.
    pub(crate) prefix: Arc<str>,
    /// How many entries the stream may have before some are dropped.
    pub(crate) max_len: usize,
}

impl SessionStore for Sessions {
    fn position(&self) -> Option<Place> {
        self.reader.position(&self.stream)
    }

    fn save(&self, session: &StoredSession, keep: Duration) {
        match encode(session) {
            Ok(value) => {
                let behind = self.behind();
                self.redis.publish(Publication::Keep {
                    key: self.key(&session.pid),
                    value,
                    time: u64::try_from(keep.as_millis()).unwrap_or(u64::MAX).max(1),
                    behind,
                });
            }
            Err(error) => self.redis.unsendable(&error),
        }
    }

    fn forget(&self, pid: &str) {
        let key = self.key(pid);
        let behind = self.behind();
        self.redis.publish(Publication::Forget { key, behind });
    }

    fn take(
        &self,
        pid: &str,
    ) -> BoxFuture<'static, Result<Option<(StoredSession, Duration)>, BoxError>> {
        let key = self.key(pid);
        let mut command = redis::cmd("EVAL");
        command.arg(TAKE).arg(1).arg(&key);
        let (answer, redis) = (self.redis.ask(&key, command), self.redis.clone());
        Box::pin(async move {
            let (value, time): (Option<Vec<u8>>, i64) =
                redis::from_redis_value(answer.await?).map_err(redis::RedisError::from)?;
            let Some(value) = value else {
                return Ok(None);
            };
            // Without an end if somebody else has set none.
            let time = u64::try_from(time).map_or(Duration::MAX, Duration::from_millis);
            let session = decode(&value);
            let session = session.inspect_err(|error| redis.refuse(b"a session", error));
            Ok(session.ok().map(|session| (session, time)))
        })
    }

    fn events_after<'a>(
        &'a self,
        place: Place,
        show: &'a mut (dyn FnMut(Event, Options) + Send),
    ) -> BoxFuture<'a, Result<Option<Place>, BoxError>> {
        let Self {
            redis,
            reader,
            stream,
            namespace,
            ..
        } = self;
        let max_len = self.max_len;
        Box::pin(async move {
            let range = |from: &str, count: usize| {
                let mut command = redis::cmd("XRANGE");
                command
                    .arg(&**stream)
                    .arg(from)
                    .arg("+")
                    .arg("COUNT")
                    .arg(count);
                redis.ask(stream, command)
            };
            let mut until = place;
            let mut count = FIRST_PAGE;
            loop {
                let next = until.next().to_string();
                let page = entries(range(&next, count).await?);
                let is_last = page.len() < count;
                let bytes = page.iter().flat_map(|(_, fields)| fields.values());
                let bytes: usize = bytes.map(Bytes::len).sum();
                count = (PAGE_BYTES * page.len() / bytes.max(1)).clamp(1, PAGE.min(count * 8));
                for (id, fields) in page {
                    let Ok(place) = id.parse() else {
                        continue;
                    };
                    until = place;
                    if let Some((event, options)) = event_of(namespace, place, &fields) {
                        show(event, options);
                    }
                }
                if is_last {
                    break;
                }
            }
            // Asked when all is read: what was dropped before is missed, what is dropped later is not.
            let (first, len) = (range("-", 1), redis.ask(stream, xlen(stream)));
            let first = entries(first.await?).into_iter().next();
            let first = first.and_then(|(id, _)| id.parse::<Place>().ok());
            let len = len_of(len.await?);
            let is_whole = len < max_len || first.is_some_and(|first| first <= place);
            if !is_whole {
                return Ok(None);
            }
            reader.reach(stream, until).await;
            Ok(Some(until))
        })
    }
}

impl Sessions {
    fn key(&self, pid: &str) -> String {
        format!("{}{pid}", self.prefix)
    }

    /// Nobody shall find a session, and not the events that came before its end.
    fn behind(&self) -> Option<Arc<str>> {
        self.redis.is_cluster().then(|| self.stream.clone())
    }
}

fn xlen(stream: &str) -> Cmd {
    let mut command = redis::cmd("XLEN");
    command.arg(stream);
    command
}

fn len_of(reply: Value) -> usize {
    let len: RedisResult<usize> = redis::from_redis_value(reply).map_err(Into::into);
    len.unwrap_or(usize::MAX)
}

/// The event in an entry, if there is one that is sent again.
fn event_of(
    namespace: &str,
    place: Place,
    fields: &HashMap<String, Bytes>,
) -> Option<(Event, Options)> {
    let field = |name: &str| fields.get(name).and_then(|it| str::from_utf8(it).ok());
    if field("nsp") != Some(namespace) || field("type") != Some("3") {
        return None;
    }
    let data = fields.get("data");
    let message = cluster::decode_fields(field("uid"), namespace, field("type"), data);
    match message.ok()??.content {
        Incoming::Message(Message::Broadcast {
            event,
            mut options,
            request: None,
        }) if !options.volatile => {
            options.place = Some(place);
            options.mark = field(MARK).map(Into::into);
            Some((event, options))
        }
        _ => None,
    }
}

fn encode(session: &StoredSession) -> Result<String, socketio_proto::EncodeError> {
    let mut json = String::from("{\"sid\":");
    push(&mut json, &session.sid);
    json.push_str(",\"pid\":");
    push(&mut json, &session.pid);
    json.push_str(",\"rooms\":");
    push(&mut json, &session.rooms);
    json.push_str(",\"data\":");
    json.push_str(session.data.as_ref().map_or("{}", |it| it.get()));
    let until = session.until.map(|it| it.to_string().into());
    for (name, value) in [
        ("server", &session.server),
        ("since", &session.since),
        ("until", &until),
    ] {
        if let Some(value) = value {
            json.push_str(&format!(",\"{name}\":"));
            push(&mut json, value);
        }
    }
    json.push('}');
    Ok(BASE64_STANDARD.encode(msgpack::from_json(&json, &[])?))
}

fn decode(value: &[u8]) -> Result<StoredSession, WireError> {
    let packed = BASE64_STANDARD.decode(value);
    let packed = packed.map_err(|_| WireError::Invalid("no base64"))?;
    let text = Text::read(&packed.into())?;
    let it: Session = text.parse()?;
    Ok(StoredSession {
        pid: it.pid,
        sid: it.sid,
        rooms: it.rooms.into_iter().map(|it| it.0).collect(),
        data: it.data,
        server: it.server,
        since: it.since,
        until: it.until.and_then(|it| it.parse().ok()),
    })
}

/// For fuzzers: a session, read and written.
#[cfg(feature = "fuzzing")]
pub(crate) fn rewrite(value: &[u8]) -> Option<Vec<u8>> {
    let session = decode(value).ok()?;
    let written = encode(&session).expect("what was read can be written");
    Some(written.into_bytes())
}

#[derive(Deserialize)]
struct Session {
    pid: Box<str>,
    sid: Box<str>,
    rooms: Vec<RoomName>,
    #[serde(default)]
    data: Option<Box<RawValue>>,
    #[serde(default)]
    server: Option<Box<str>>,
    #[serde(default)]
    since: Option<Box<str>>,
    #[serde(default)]
    until: Option<Box<str>>,
}

/// Gives what a key has, and for how many milliseconds yet, and deletes it.
const TAKE: &str = "\
    local value, time = redis.call('GET', KEYS[1]), redis.call('PTTL', KEYS[1]) \
    redis.call('DEL', KEYS[1]) \
    return {value, time}";

/// How many entries are read at once, at first and at most.
const FIRST_PAGE: usize = 4;
const PAGE: usize = 1000;

/// What they have together, about. They come on a connection that Redis cuts when too much waits for
/// it, by default 32 MiB.
const PAGE_BYTES: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// What the official adapter has written, and what it would read.
    #[test]
    fn a_session_in_the_official_form() {
        let session = StoredSession {
            pid: "p".into(),
            sid: "s".into(),
            rooms: vec!["s".into(), "room".into()],
            data: Some(RawValue::from_string("{\"a\":[1,null]}".into()).unwrap()),
            server: None,
            since: None,
            until: None,
        };
        let official = "hKNzaWShc6NwaWShcKVyb29tc5Khc6Ryb29tpGRhdGGBoWGSAcA=";
        assert_eq!(encode(&session).unwrap(), official);
        let read = decode(official.as_bytes()).unwrap();
        assert_eq!((&*read.pid, &*read.sid), ("p", "s"));
        assert_eq!(read.rooms, session.rooms);
        assert_eq!(read.data.unwrap().get(), "{\"a\":[1,null]}");
        let own = StoredSession {
            server: Some("12345678".into()),
            since: Some("12345678.0.5-6".into()),
            ..session
        };
        let read = decode(encode(&own).unwrap().as_bytes()).unwrap();
        assert_eq!((read.server, read.since), (own.server, own.since));
        for nonsense in ["", "%", "AAAA", "gA=="] {
            assert!(decode(nonsense.as_bytes()).is_err(), "{nonsense}");
        }
    }
}
