//! An emitter reaches the clients and servers of every kind of cluster.

#![allow(clippy::unwrap_used)] // helpers of tests may, as the tests themselves

mod common;

use std::time::Duration;

use common::{connect, shared, unique};
use socketio::{Socket, SocketIo, adapter::Adapter};
use socketio_adapter_redis::{Emitter, PubSubAdapter, ShardedAdapter, StreamsAdapter};
use socketio_test::TestClient;
use tokio::{sync::mpsc, time::sleep};

/// Everything that an emitter can do, to two servers.
async fn everything(adapters: [impl Adapter; 2], emitter: Emitter) {
    let (sender, mut heard) = mpsc::unbounded_channel();
    let servers = adapters.map(|adapter| {
        let io = SocketIo::builder().adapter(adapter).build();
        let sender = sender.clone();
        io.on_connection(async |socket: Socket| socket.join("room"));
        io.on_server_side_emit("hello", move |event| {
            let _ = sender.send(event.data::<u8>().unwrap());
            async { Ok::<_, std::convert::Infallible>(()) }
        });
        io.of("/other");
        io
    });
    for io in &servers {
        while io.of("/").server_count().await.ok() != Some(2)
            || io.of("/other").server_count().await.ok() != Some(2)
        {
            sleep(Duration::from_millis(5)).await;
        }
    }
    let mut a = TestClient::connect(&servers[0]).await;
    let mut b = TestClient::connect(&servers[1]).await;
    let mut other = TestClient::builder(&servers[1])
        .namespace("/other")
        .connect()
        .await
        .unwrap();

    let bytes = bytes::Bytes::from_static(b"\x00\xff");
    emitter.emit("all", &("ü", &bytes)).unwrap();
    for client in [&mut a, &mut b] {
        let got: (String, bytes::Bytes) = client.expect_as("all").await;
        assert_eq!(got, ("ü".into(), bytes.clone()));
    }
    emitter.to("room").except(a.id()).emit("some", &1).unwrap();
    assert_eq!(b.expect_as::<u8>("some").await, 1);
    emitter
        .to(a.id())
        .volatile()
        .compress(false)
        .emit("one", &2)
        .unwrap();
    assert_eq!(a.expect_as::<u8>("one").await, 2);
    emitter.of("other").emit("other", &3).unwrap();
    assert_eq!(other.expect_as::<u8>("other").await, 3);

    emitter.in_(b.id()).sockets_join(["new", "newer"]);
    emitter.sockets_leave(["newer"]);
    emitter.to("new").emit("new", &()).unwrap();
    emitter.to("newer").emit("newer", &()).unwrap();
    b.expect("new").await;
    emitter.server_side_emit("hello", &7).unwrap();
    assert_eq!((heard.recv().await, heard.recv().await), (Some(7), Some(7)));
    a.expect_nothing().await;
    b.expect_nothing().await;

    assert!(emitter.emit("disconnect", &()).is_err());
    emitter.to(a.id()).disconnect_sockets(true);
    a.closed().await;
    b.expect_nothing().await;
}

#[tokio::test]
async fn with_pub_sub() {
    let key = unique();
    let adapter = || PubSubAdapter::new(connect(shared())).key(&key);
    let emitter = Emitter::pub_sub(&adapter());
    everything([adapter(), adapter()], emitter).await;
}

#[tokio::test]
async fn with_sharded_channels() {
    let prefix = unique();
    let adapter = || ShardedAdapter::new(connect(shared())).channel_prefix(&prefix);
    let emitter = Emitter::sharded(&adapter());
    everything([adapter(), adapter()], emitter).await;
}

#[tokio::test]
async fn with_streams() {
    let name = unique();
    let options = || {
        let options = StreamsAdapter::builder().stream_name(&name);
        options.channel_prefix(&name).stream_count(2)
    };
    let emitter = Emitter::streams(options(), connect(shared()));
    let adapter = || options().build(connect(shared()));
    everything([adapter(), adapter()], emitter).await;
}
