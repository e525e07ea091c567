//! Who may talk to Redis, and how: TLS, passwords, users, databases.

#![allow(clippy::unwrap_used)] // helpers of tests may, as the tests themselves

mod common;

use std::time::Duration;

use common::{Server, unique};
use socketio::SocketIo;
use socketio_adapter::Adapter;
use socketio_adapter_redis::{PubSubAdapter, Redis, StreamsAdapter};
use tokio::time::{sleep, timeout};

const SOON: Duration = Duration::from_secs(20);

/// Two servers find each other.
async fn meet(adapters: [impl Adapter; 2]) {
    let servers = adapters.map(|it| SocketIo::builder().adapter(it).build());
    for io in &servers {
        let meet = async {
            while io.of("/").server_count().await.ok() != Some(2) {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(SOON, meet).await.unwrap();
    }
    assert!(servers[0].fetch_sockets().await.unwrap().is_empty());
}

/// Whether there is no connection, though Redis could be reached.
async fn is_refused(redis: Redis) -> bool {
    timeout(Duration::from_secs(1), redis.connected())
        .await
        .is_err()
}

fn at(server: &Server, who: &str) -> String {
    server.url().replace("://", &format!("://{who}@"))
}

#[tokio::test]
async fn with_tls() {
    let server = Server::start_tls();
    let connect = |certificate: &str| {
        let builder = Redis::builder(&server.url());
        builder.root_certificate(certificate).connect()
    };
    let redis = || connect(Server::CA).unwrap();
    meet([PubSubAdapter::new(redis()), PubSubAdapter::new(redis())]).await;
    // a second connection
    meet([StreamsAdapter::new(redis()), StreamsAdapter::new(redis())]).await;
    // nobody that this machine trusts has signed it
    assert!(is_refused(Redis::connect(&server.url()).unwrap()).await);
    assert!(is_refused(Redis::connect(&server.url().replace("rediss", "redis")).unwrap()).await);
    assert!(connect("-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----").is_err());
}

#[tokio::test]
async fn with_a_password() {
    let server = Server::start_with(&["--requirepass", "p@ss:word"]);
    let redis = || Redis::connect(&at(&server, ":p%40ss%3Aword")).unwrap();
    meet([PubSubAdapter::new(redis()), PubSubAdapter::new(redis())]).await;
    assert!(is_refused(Redis::connect(&at(&server, ":wrong")).unwrap()).await);
    assert!(is_refused(Redis::connect(&server.url()).unwrap()).await);
}

#[tokio::test]
async fn with_a_user_who_may_do_what_is_needed() {
    let server = Server::start();
    // Redis takes a pattern only if its rules name just this one.
    let rules = "on >secret resetchannels &chat* &chat#/#* -@all +@pubsub +@connection";
    let rules: Vec<_> = ["acl", "setuser", "chat"]
        .into_iter()
        .chain(rules.split(' '))
        .collect();
    assert_eq!(server.command(&rules).trim(), "OK");
    let redis = || Redis::connect(&at(&server, "chat:secret")).unwrap();
    let adapter = |key| PubSubAdapter::new(redis()).key(key);
    meet([adapter("chat"), adapter("chat")]).await;
    // Where it may not subscribe there is no cluster, and nothing else happens.
    let other = redis();
    let io = SocketIo::builder()
        .adapter(PubSubAdapter::new(other.clone()).key("other"))
        .build();
    io.of("/");
    sleep(Duration::from_millis(500)).await;
    assert!(!other.stats().connected);
    assert!(io.of("/").server_count().await.is_err());
    assert!(is_refused(Redis::connect(&at(&server, "chat:wrong")).unwrap()).await);
}

#[tokio::test]
async fn with_a_database() {
    let server = Server::start();
    let name = unique();
    let url = format!("{}3", server.url());
    let io = SocketIo::builder()
        .adapter(
            StreamsAdapter::builder()
                .stream_name(&name)
                .build(Redis::connect(&url).unwrap()),
        )
        .build();
    while io.of("/").server_count().await.is_err() {
        sleep(Duration::from_millis(5)).await;
    }
    io.emit("event", &1).unwrap();
    io.close().await;
    assert_eq!(server.command(&["-n", "3", "xlen", &name]).trim(), "1");
    assert_eq!(server.command(&["-n", "0", "xlen", &name]).trim(), "0");
}
