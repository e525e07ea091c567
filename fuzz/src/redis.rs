//! What other servers write to Redis: with each of the three adapters, and the sessions of clients.

use bytes::Bytes;
use socketio_adapter_redis::fuzzing;

/// What was read can be written; read and written once more, it is the same to the byte.
pub fn run(message: &[u8]) {
    fuzzing::read(&Bytes::copy_from_slice(message));
}
