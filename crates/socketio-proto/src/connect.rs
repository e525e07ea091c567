//! Packets that open and close a namespace.

use engineio_proto::{Encoded, Version};
use serde_json::value::RawValue;

/// The answer to a CONNECT.
pub fn connect(_version: Version, _nsp: &str, _sid: &str, _pid: Option<&str>) -> Encoded {
    todo!()
}

/// The refusal of a CONNECT.
pub fn connect_error(
    _version: Version,
    _nsp: &str,
    _message: &str,
    _data: Option<&RawValue>,
) -> Encoded {
    todo!()
}

/// The server leaves a namespace.
pub fn disconnect(_nsp: &str) -> Encoded {
    todo!()
}

/// `/admin?token=abc` into `/admin` and `token=abc`.
pub fn split_namespace_query(nsp: &str) -> (&str, &str) {
    nsp.split_once('?').unwrap_or((nsp, ""))
}
