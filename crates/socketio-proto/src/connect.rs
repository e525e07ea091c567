//! Joining and leaving a namespace. Here protocol 4 (clients 1.x and 2.x, Engine.IO 3) and
//! protocol 5 (clients 3.x and 4.x, Engine.IO 4) differ.

use engineio_proto::{Encoded, Version};
use serde_json::value::RawValue;

use crate::{encode::to_ascii, json};

/// The client has joined the namespace.
///
/// Protocol 5 tells it the id of its socket and, if it may resume the session after a
/// disconnection, the private id to do so. Protocol 4 has neither.
///
/// ```
/// use engineio_proto::Version;
/// use socketio_proto::connect::connect;
///
/// let it = connect(Version::V4, "/admin", "abc", None);
/// assert_eq!(&**it.wire_text().unwrap(), r#"40/admin,{"sid":"abc"}"#);
/// let it = connect(Version::V3, "/admin", "abc", None);
/// assert_eq!(&**it.wire_text().unwrap(), "40/admin,");
/// ```
pub fn connect(version: Version, nsp: &str, sid: &str, pid: Option<&str>) -> Encoded {
    let mut wire = header("40", nsp);
    push_payload(&mut wire, version, sid, pid);
    finish(wire)
}

/// The client may not join the namespace. `data` is what the application adds to the message.
///
/// In protocol 5 the client gets an object of both, in protocol 4 only one of them: the data if
/// there is any.
///
/// ```
/// use engineio_proto::Version;
/// use socketio_proto::connect::connect_error;
///
/// let it = connect_error(Version::V4, "/nope", "Invalid namespace", None);
/// assert_eq!(&**it.wire_text().unwrap(), r#"44/nope,{"message":"Invalid namespace"}"#);
/// let it = connect_error(Version::V3, "/", "no way", None);
/// assert_eq!(&**it.wire_text().unwrap(), r#"44"no way""#);
/// ```
pub fn connect_error(
    version: Version,
    nsp: &str,
    message: &str,
    data: Option<&RawValue>,
) -> Encoded {
    let mut wire = header("44", nsp);
    push_error_payload(&mut wire, version, message, data);
    finish(wire)
}

/// The server makes the client leave the namespace.
///
/// ```
/// use socketio_proto::connect::disconnect;
///
/// assert_eq!(&**disconnect("/").wire_text().unwrap(), "41");
/// assert_eq!(&**disconnect("/admin").wire_text().unwrap(), "41/admin,");
/// ```
pub fn disconnect(nsp: &str) -> Encoded {
    finish(header("41", nsp))
}

/// The JSON in [`connect`].
pub(crate) fn payload(version: Version, sid: &str, pid: Option<&str>) -> Option<String> {
    let mut json = String::new();
    push_payload(&mut json, version, sid, pid);
    (!json.is_empty()).then_some(json)
}

/// The JSON in [`connect_error`].
pub(crate) fn error_payload(version: Version, message: &str, data: Option<&RawValue>) -> String {
    let mut json = String::new();
    push_error_payload(&mut json, version, message, data);
    json
}

fn push_payload(out: &mut String, version: Version, sid: &str, pid: Option<&str>) {
    if version == Version::V4 {
        // As much as there usually is, so that it becomes the message as it is.
        out.reserve_exact("{\"sid\":\"\"}".len() + sid.len());
        out.push_str("{\"sid\":");
        json::push_string(out, sid);
        if let Some(pid) = pid {
            out.push_str(",\"pid\":");
            json::push_string(out, pid);
        }
        out.push('}');
    }
}

fn push_error_payload(out: &mut String, version: Version, message: &str, data: Option<&RawValue>) {
    match (version, data) {
        (Version::V4, data) => {
            out.push_str("{\"message\":");
            json::push_string(out, message);
            if let Some(data) = data {
                out.push_str(",\"data\":");
                out.push_str(data.get());
            }
            out.push('}');
        }
        (Version::V3, Some(data)) => out.push_str(data.get()),
        (Version::V3, None) => json::push_string(out, message),
    }
}

fn header(kind: &str, nsp: &str) -> String {
    if nsp == "/" {
        return kind.into();
    }
    format!("{kind}{nsp},")
}

fn finish(wire: String) -> Encoded {
    Encoded::from_wire(Some(wire.into()), Vec::new(), Some(to_ascii))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(it: &Encoded) -> &str {
        it.wire_text().unwrap()
    }

    #[test]
    fn joined() {
        assert_eq!(
            wire(&connect(Version::V4, "/", "a", None)),
            r#"40{"sid":"a"}"#
        );
        assert_eq!(
            wire(&connect(Version::V4, "/é", "a", Some("b\"\n"))),
            r#"40/é,{"sid":"a","pid":"b\"\u000a"}"#
        );
        assert_eq!(wire(&connect(Version::V3, "/", "a", Some("b"))), "40");
    }

    #[test]
    fn refused() {
        let data = RawValue::from_string(r#"{"a":1}"#.into()).unwrap();
        assert_eq!(
            wire(&connect_error(Version::V4, "/", "E", None)),
            r#"44{"message":"E"}"#
        );
        assert_eq!(
            wire(&connect_error(Version::V4, "/err", "E", Some(&data))),
            r#"44/err,{"message":"E","data":{"a":1}}"#
        );
        assert_eq!(
            wire(&connect_error(Version::V3, "/err", "boom", None)),
            r#"44/err,"boom""#
        );
        assert_eq!(
            wire(&connect_error(Version::V3, "/errd", "boom", Some(&data))),
            r#"44/errd,{"a":1}"#
        );
    }

    #[test]
    fn the_ascii_form_keeps_the_namespace() {
        let it = connect_error(Version::V4, "/é", "naïve 😀", None);
        assert_eq!(
            &**it.ascii().unwrap(),
            r#"44/é,{"message":"na\u00efve \ud83d\ude00"}"#
        );
        let it = connect_error(Version::V3, "/", "é, à", None);
        assert_eq!(&**it.ascii().unwrap(), r#"44"\u00e9, \u00e0""#);
    }
}
