//! Messages of other servers: any is read or refused, and what was read can be written.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use socketio_adapter_redis::fuzzing;

fuzz_target!(|message: &[u8]| fuzzing::read(&Bytes::copy_from_slice(message)));
