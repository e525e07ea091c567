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

mod sharded {
    use socketio_adapter::adapter_tests;
    use socketio_adapter_redis::{ShardedAdapter, SubscriptionMode};

    use crate::common::{connected, shared, unique};

    fn cluster() -> impl AsyncFn() -> ShardedAdapter {
        let prefix = unique();
        async move || {
            ShardedAdapter::new(connected(shared()).await)
                .channel_prefix(&prefix)
                .subscription_mode(SubscriptionMode::Static)
        }
    }

    adapter_tests!(cluster());
}

mod sharded_and_dynamic {
    use socketio_adapter::adapter_tests;
    use socketio_adapter_redis::{ShardedAdapter, SubscriptionMode};

    use crate::common::{connected, shared, unique};

    fn cluster() -> impl AsyncFn() -> ShardedAdapter {
        let prefix = unique();
        async move || {
            ShardedAdapter::new(connected(shared()).await)
                .channel_prefix(&prefix)
                .subscription_mode(SubscriptionMode::DynamicPrivate)
        }
    }

    adapter_tests!(cluster());
}

mod streams {
    use socketio_adapter::adapter_tests;
    use socketio_adapter_redis::StreamsAdapter;

    use crate::common::{connected, shared, unique};

    fn cluster() -> impl AsyncFn() -> StreamsAdapter {
        let name = unique();
        async move || {
            let options = StreamsAdapter::builder().stream_name(&name);
            let options = options.channel_prefix(&name);
            options.build(connected(shared()).await)
        }
    }

    adapter_tests!(cluster());
}

mod three_streams_and_sharded_channels {
    use socketio_adapter::adapter_tests;
    use socketio_adapter_redis::StreamsAdapter;

    use crate::common::{connected, shared, unique};

    fn cluster() -> impl AsyncFn() -> StreamsAdapter {
        let name = unique();
        async move || {
            let options = StreamsAdapter::builder().stream_name(&name);
            let options = options.channel_prefix(&name).use_sharded_pub_sub(true);
            options.stream_count(3).build(connected(shared()).await)
        }
    }

    adapter_tests!(cluster());
}
