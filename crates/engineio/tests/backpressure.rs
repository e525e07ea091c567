//! Clients that read too slowly: what is dropped, who is closed, and how a sender can wait.

mod common;

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use common::{A_MOMENT, RECORD, Running, start_with};
use engineio::{CloseReason, Config, Overflow, SessionHandle};
use testkit::{TIME_LIMIT, Upgrade, within};
use tokio::{io::AsyncWriteExt, time::timeout};

async fn start(config: Config) -> Running {
    start_with(config, RECORD).await
}

async fn waits(ready: impl Future<Output = bool>) -> bool {
    timeout(A_MOMENT, ready).await.is_err()
}

async fn ready(handle: &SessionHandle) -> bool {
    within(TIME_LIMIT, "a session to be ready", handle.ready()).await
}

#[tokio::test]
async fn more_messages_than_may_wait_close_the_session() {
    let running = start(Config::default().max_queued_messages(3)).await;
    let mut session = running.open().await;
    let handle = running.handle(session.sid()).await;
    for text in ["a", "b", "c"] {
        handle.send(text);
    }
    assert_eq!(session.poll_text().await, "4a\x1e4b\x1e4c");
    for text in ["a", "b", "c", "d", "e"] {
        handle.send(text);
    }
    let reason = running.close_reason(session.sid()).await;
    assert_eq!(reason, CloseReason::SlowClient);
    let stats = running.server.stats();
    assert_eq!((stats.slow_clients, stats.dropped), (1, 2));
}

#[tokio::test]
async fn a_session_may_outlive_what_it_could_not_take() {
    let config = Config::default()
        .max_queued_messages(3)
        .overflow(Overflow::DropNewest);
    let running = start(config).await;
    let mut session = running.open().await;
    let handle = running.handle(session.sid()).await;
    for text in ["a", "b", "c", "d", "e"] {
        handle.send(text);
    }
    assert_eq!((handle.queued_messages(), handle.dropped()), (3, 2));
    assert_eq!(session.poll_text().await, "4a\x1e4b\x1e4c");
    handle.send("f");
    assert_eq!(session.poll_text().await, "4f");
    running.assert_open(session.sid()).await;
    let stats = running.server.stats();
    assert_eq!((stats.slow_clients, stats.dropped), (0, 2));
}

#[tokio::test]
async fn bytes_overflow_in_the_same_way() {
    let config = Config::default()
        .max_queued(10_000)
        .overflow(Overflow::DropNewest);
    let running = start(config).await;
    let mut session = running.open().await;
    let handle = running.handle(session.sid()).await;
    let long = "x".repeat(4_000);
    for _ in 0..5 {
        handle.send(&*long);
    }
    assert_eq!(handle.dropped(), 3);
    assert!(handle.queued() <= 10_000);
    assert_eq!(session.poll_text().await.len(), 2 * 4_001 + 1);
    assert_eq!(handle.queued(), 0);
    running.assert_open(session.sid()).await;
}

#[tokio::test]
async fn a_message_may_have_its_own_word_on_overflow() {
    for configured in [Overflow::Disconnect, Overflow::DropNewest] {
        let config = Config::default()
            .max_queued_messages(2)
            .overflow(configured);
        let running = start(config).await;
        let mut session = running.open().await;
        let handle = running.handle(session.sid()).await;
        assert!(handle.send_with("a", None) && handle.send_with("b", Overflow::Disconnect));
        assert!(!handle.send_with("c", Overflow::DropNewest));
        assert_eq!(session.poll_text().await, "4a\x1e4b");
        running.assert_open(session.sid()).await;
        assert!(handle.send_with("d", None) && handle.send_with("e", Overflow::DropNewest));
        assert!(!handle.send_with("f", Overflow::Disconnect));
        let reason = running.close_reason(session.sid()).await;
        assert_eq!(reason, CloseReason::SlowClient);
        assert!(!handle.send_with("g", None));
        let stats = running.server.stats();
        assert_eq!((stats.slow_clients, stats.dropped), (1, 2));
    }
}

#[tokio::test]
async fn what_is_essential_is_not_dropped_but_bounded_all_the_same() {
    let config = Config::default()
        .max_queued(1000)
        .overflow(Overflow::DropNewest);
    let running = start(config).await;
    let mut session = running.open().await;
    let handle = running.handle(session.sid()).await;
    let mut sent = 0;
    while handle.send_with("event", None) {
        sent += 1;
    }
    handle.send_essential("answer");
    assert!(
        !handle.send_with("event", None),
        "the reserve is not for it"
    );
    let body = session.poll_text().await;
    assert!(body.ends_with("\x1e4answer"), "{body}");
    assert_eq!(body.split('\x1e').count(), sent + 1);
    running.assert_open(session.sid()).await;

    for _ in 0..100 {
        handle.send_essential("answer");
        assert!(handle.queued() <= 2 * 1000);
    }
    let reason = running.close_reason(session.sid()).await;
    assert_eq!(reason, CloseReason::SlowClient);
}

#[tokio::test]
async fn a_sender_who_waits_never_meets_the_limits_on_websocket() {
    let running = start(Config::default().max_queued(200_000)).await;
    let (mut ws, open) = running.ws().await;
    let handle = running.handle(&open.sid).await;
    let long = "x".repeat(50_000);
    let sender = tokio::spawn(async move {
        for _ in 0..1000 {
            assert!(handle.ready().await);
            handle.send(&*long);
            assert!(handle.queued() <= 200_000);
        }
        handle.dropped()
    });
    for _ in 0..1000 {
        assert_eq!(ws.recv_text().await.len(), 50_001);
    }
    assert_eq!(sender.await.expect("no panic"), 0);
    running.assert_open(&open.sid).await;
}

#[tokio::test]
async fn a_sender_who_waits_never_meets_the_limits_on_polling_nor_during_an_upgrade() {
    let running = start(Config::default().max_queued_messages(8)).await;
    let mut session = running.open().await;
    let handle = running.handle(session.sid()).await;
    let sender = tokio::spawn(async move {
        for number in 0..200 {
            assert!(handle.ready().await);
            handle.send(&*number.to_string());
        }
        handle.dropped()
    });
    let mut got = Vec::new();
    let mut take = |body: &str| {
        let messages = body.split('\x1e').filter_map(|it| it.strip_prefix('4'));
        got.extend(messages.map(|it| it.parse::<u32>().expect("a number")));
        got.len()
    };
    while take(&session.poll_text().await) < 50 {}
    let (mut ws, body) = Upgrade::run(&mut session).await;
    take(&body);
    while take(&ws.recv_text().await) < 200 {}
    assert_eq!(got, (0..200).collect::<Vec<_>>());
    assert_eq!(sender.await.expect("no panic"), 0);
}

#[tokio::test]
async fn a_sender_who_gives_up_waiting_is_forgotten() {
    struct Task;
    impl Wake for Task {
        fn wake(self: Arc<Self>) {}
    }

    let running = start(Config::default().low_water(0)).await;
    let session = running.open().await;
    let handle = running.handle(session.sid()).await;
    handle.send("x");
    let task = Arc::new(Task);
    {
        let mut waiting = pin!(handle.ready());
        let waker = Waker::from(task.clone());
        let polled = waiting.as_mut().poll(&mut Context::from_waker(&waker));
        assert!(polled.is_pending());
    }
    assert_eq!(Arc::strong_count(&task), 1, "its waker keeps a task alive");
}

#[tokio::test]
async fn a_sender_waits_until_the_client_has_read() {
    let running = start(Config::default().low_water(100)).await;
    let mut session = running.open().await;
    let handle = running.handle(session.sid()).await;
    assert!(ready(&handle).await);
    handle.send("x");
    assert!(ready(&handle).await, "one message is little");
    handle.send("x");
    assert_eq!(running.server.stats().waits, 0);
    assert!(waits(handle.ready()).await);
    assert_eq!(running.server.stats().waits, 1);
    let (one, two) = (handle.clone(), handle.clone());
    let one = tokio::spawn(async move { one.ready().await });
    let two = tokio::spawn(async move { two.ready().await });
    session.poll_text().await;
    assert!(
        within(TIME_LIMIT, "the first", one)
            .await
            .expect("no panic")
    );
    assert!(
        within(TIME_LIMIT, "the second", two)
            .await
            .expect("no panic")
    );
    assert!(ready(&handle).await);
}

#[tokio::test]
async fn a_sender_that_asks_again_and_again_is_woken() {
    let running = start(Config::default().low_water(0)).await;
    let mut session = running.open().await;
    let handle = running.handle(session.sid()).await;
    handle.send("x");
    {
        let mut waiting = pin!(handle.ready());
        for _ in 0..10 {
            assert!(
                timeout(Duration::from_millis(1), &mut waiting)
                    .await
                    .is_err()
            );
            assert!(
                timeout(Duration::from_millis(1), handle.ready())
                    .await
                    .is_err()
            );
        }
        let poll = async { session.poll_text().await };
        let (ready, _) = tokio::join!(waiting, poll);
        assert!(ready);
    }
    assert!(ready(&handle).await);
}

#[tokio::test]
async fn a_sender_does_not_wait_until_the_client_has_said_all() {
    const FRAME: &[u8] = b"\x81\x82\0\0\0\x004x"; // a message `x`
    const COUNT: usize = 100_000;

    let running = start(Config::default().low_water(0)).await;
    let (mut pipe, open) = running.ws_on_a_pipe(COUNT * FRAME.len()).await;
    let handle = running.handle(&open.sid).await;
    handle.send("x");
    let mut ready = pin!(handle.ready());
    let polled = poll_fn(|cx| Poll::Ready(ready.as_mut().poll(cx))).await;
    assert!(polled.is_pending());
    pipe.write_all(&FRAME.repeat(COUNT)).await.expect("a pipe");
    assert!(within(TIME_LIMIT, "the session to be ready", ready).await);
    assert!(running.seen(&open.sid).await.messages.len() < COUNT);
}

#[tokio::test]
async fn a_sender_that_waits_for_a_session_that_ends_is_let_go() {
    for end in ["session", "slow client", "server"] {
        let config = Config::default().max_queued(1_000_000).low_water(0);
        let running = start(config).await;
        let session = running.open().await;
        let handle = running.handle(session.sid()).await;
        handle.send("x");
        let waiting = tokio::spawn({
            let handle = handle.clone();
            async move { handle.ready().await }
        });
        tokio::time::sleep(A_MOMENT).await;
        assert!(!waiting.is_finished());
        match end {
            "session" => handle.close(CloseReason::ForcedClose),
            "server" => drop(running.server.close(Duration::from_millis(1)).await),
            _ => (0..20).for_each(|_| handle.send(&*"x".repeat(100_000))),
        }
        let open = within(TIME_LIMIT, "the sender to be let go", waiting).await;
        assert!(!open.expect("no panic"));
        assert!(!ready(&handle).await);
    }
}

#[tokio::test]
async fn a_sender_that_waits_for_a_client_that_leaves_is_let_go() {
    let running = start(Config::default().low_water(0)).await;
    let (mut pipe, open) = running.ws_on_a_pipe(1000).await;
    let handle = running.handle(&open.sid).await;
    for _ in 0..10 {
        handle.send(&*"x".repeat(100_000));
    }
    let waiting = tokio::spawn({
        let handle = handle.clone();
        async move { handle.ready().await }
    });
    tokio::time::sleep(A_MOMENT).await;
    assert!(!waiting.is_finished());
    tokio::io::AsyncWriteExt::shutdown(&mut pipe)
        .await
        .expect("a pipe");
    drop(pipe);
    let open = within(TIME_LIMIT, "the sender to be let go", waiting).await;
    assert!(!open.expect("no panic"));
}

#[tokio::test]
async fn the_server_has_numbers() {
    let running = start(Config::default()).await;
    let stats = running.server.stats();
    assert_eq!(
        (stats.sessions, stats.queued_bytes, stats.dropped_volatile),
        (0, 0, 0)
    );
    let mut one = running.open().await;
    let two = running.open().await;
    for session in [&one, &two] {
        let handle = running.handle(session.sid()).await;
        handle.send("12345");
        handle.send("12345");
        assert!(!handle.send_volatile("12345"));
        assert_eq!(handle.dropped_volatile(), 1);
    }
    let stats = running.server.stats();
    assert_eq!((stats.sessions, stats.dropped_volatile), (2, 2));
    assert_eq!((stats.queued_messages, stats.queued_bytes), (4, 4 * 70));
    one.poll_text().await;
    let stats = running.server.stats();
    assert_eq!((stats.queued_messages, stats.queued_bytes), (2, 2 * 70));
    assert_eq!((stats.dropped, stats.slow_clients), (0, 0));
}
