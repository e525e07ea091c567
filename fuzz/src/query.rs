//! Query strings.

use engineio_proto::{Dialect, Query, Version, query::Transport};

/// Every parameter is what the URL standard says, the last of a name; the protocol version is one that
/// exists; nothing but digits becomes part of a script.
pub fn run(input: &[u8]) {
    let Ok(query) = str::from_utf8(input) else {
        return;
    };
    let last = |name: &str| {
        let pairs = form_urlencoded::parse(input);
        let of_name = pairs.filter(|(it, _)| it == name);
        of_name.last().map(|(_, value)| value.into_owned())
    };
    let it = Query::parse(query);
    let name = last("transport");
    assert_eq!(it.transport_name(), name.as_deref());
    assert_eq!(
        it.transport().map(Transport::name),
        match name.as_deref() {
            Some(name @ ("polling" | "websocket")) => Some(name),
            _ => None,
        }
    );
    assert_eq!(it.eio(), last("EIO").as_deref());
    assert_eq!(
        it.sid().unwrap_or_default(),
        last("sid").unwrap_or_default()
    );
    assert_eq!(it.time_stamp(), last("t").as_deref());
    assert_eq!(it.base64(), last("b64").is_some_and(|it| !it.is_empty()));
    let digits = last("j").map(|it| it.replace(|it: char| !it.is_ascii_digit(), ""));
    let index = it.jsonp();
    assert_eq!(index.is_some(), digits.is_some());
    if let (Some(index), Some(digits)) = (index, digits) {
        assert!(index.len() <= 20 && digits.starts_with(&index));
        assert!(index.len() == 20 || index == digits);
    }
    let version = match it.eio() {
        Some("2" | "3") => Some(Version::V3),
        Some("4") => Some(Version::V4),
        _ => None,
    };
    let dialect = Dialect::from_query(&it);
    assert_eq!(dialect.map(|it| it.version), version);
    assert!(version != Some(Version::V4) || dialect == Some(Dialect::V4));
}
