//! The adapter in memory passes the behaviour suite.

use socketio_adapter::{MemoryAdapter, adapter_tests};

fn cluster() -> impl AsyncFn() -> MemoryAdapter {
    let cluster = MemoryAdapter::new();
    async move || cluster.clone()
}

adapter_tests!(cluster(), start_paused = true);
