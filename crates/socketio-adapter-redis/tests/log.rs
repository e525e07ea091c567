//! A reader of the log may send what it reads. In a program of its own: elsewhere other tests, which have no
//! reader, may have the same lines switched off.

#![allow(clippy::unwrap_used)] // helpers of tests may, as the tests themselves

use std::{
    fmt,
    sync::mpsc::{self, Receiver, Sender},
    thread,
    time::Duration,
};

use socketio::{ConnectionStateRecovery, SocketIo};
use socketio_adapter_redis::{Redis, StreamsAdapter};
use tokio::time::sleep;

/// Reads the log, and sends what it has read to everybody.
struct Reporter {
    io: SocketIo,
    lines: Sender<String>,
}

impl tracing::Subscriber for Reporter {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = String::new();
        event.record(
            &mut |field: &tracing::field::Field, value: &dyn fmt::Debug| {
                if field.name() == "message" {
                    line = format!("{value:?}");
                }
            },
        );
        self.io.emit("log", &line).unwrap();
        self.lines.send(line).unwrap();
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::Id {
        tracing::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::Id, _: &tracing::Id) {}

    fn enter(&self, _: &tracing::Id) {}

    fn exit(&self, _: &tracing::Id) {}
}

/// What is published in the order of a namespace is so under its lock.
#[test]
fn whoever_reads_in_the_log_of_what_is_lost_may_send_something() {
    let (lines, read): (_, Receiver<String>) = mpsc::channel();
    // A thread of its own: it may hang.
    thread::spawn(move || {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().build().unwrap().block_on(async {
            let redis = Redis::builder("redis://127.0.0.1:1/").max_queued(0);
            let io = SocketIo::builder()
                .adapter(StreamsAdapter::new(redis.connect().unwrap()))
                .connection_state_recovery(ConnectionStateRecovery::new())
                .build();
            let reporter = Reporter {
                io: io.clone(),
                lines,
            };
            let _reporter = tracing::subscriber::set_default(reporter);
            io.emit("event", &1).unwrap();
            sleep(Duration::from_secs(60)).await;
        });
    });
    let is_it = |line: String| line == "messages for other servers are lost";
    while !is_it(read.recv_timeout(Duration::from_secs(10)).unwrap()) {}
}
