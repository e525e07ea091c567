//! The adapters pass the behaviour suite, on a real server.

mod common;

mod pub_sub {
    use socketio_adapter::adapter_tests;
    use socketio_adapter_redis::PubSubAdapter;

    use crate::common::{connected, shared, unique};

    fn cluster() -> impl AsyncFn() -> PubSubAdapter {
        let key = unique();
        async move || PubSubAdapter::new(connected(shared()).await).key(&key)
    }

    adapter_tests!(cluster());
}

mod pub_sub_with_common_response_channel {
    use socketio_adapter::adapter_tests;
    use socketio_adapter_redis::PubSubAdapter;

    use crate::common::{connected, shared, unique};

    fn cluster() -> impl AsyncFn() -> PubSubAdapter {
        let key = unique();
        async move || {
            let adapter = PubSubAdapter::new(connected(shared()).await).key(&key);
            adapter.publish_on_specific_response_channel(false)
        }
    }

    adapter_tests!(cluster());
}
