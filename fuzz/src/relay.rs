//! What servers say to each other about clients that reach the wrong one.

use bytes::Bytes;
use engineio_proto::relay::{RelayKind, RelayMessage};

/// A message is written as it was read; the name in a session id is its end.
pub fn run(message: &[u8]) {
    if let Ok(it) = RelayMessage::decode(Bytes::copy_from_slice(message)) {
        let mut expected = message.to_vec();
        if matches!(it.kind, RelayKind::Ping | RelayKind::Pong) {
            // they are about no stream, so nobody has opened it
            expected[1] &= 127;
        }
        let written = it.encode();
        assert_eq!(written, expected);
        assert_eq!(RelayMessage::decode(written), Ok(it));
    }
    if let Ok(sid) = str::from_utf8(message)
        && let Some(node) = RelayMessage::node_of(sid)
    {
        assert!(sid.ends_with(&format!(".{node}")));
        assert!(!node.contains('.') && (1..=64).contains(&node.len()));
    }
}
