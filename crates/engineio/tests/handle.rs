//! What a handle says of its session.

mod common;

use common::{A_MOMENT, RECORD, start, start_with};
use engineio::{CloseReason, Config, Encoded};
use testkit::Upgrade;
use tokio::time::sleep;

#[tokio::test]
async fn a_volatile_message_needs_a_poll_that_waits() {
    let running = start(Config::default()).await;
    let mut session = running.open().await;
    let handle = running.handle(session.sid()).await;
    assert!(!handle.is_writable());
    assert!(!handle.send_volatile("lost"));
    session.send_poll().await;
    sleep(A_MOMENT).await;
    assert!(handle.is_writable());
    assert!(handle.send_volatile("first"));
    assert!(!handle.send_volatile("second"));
    assert_eq!(session.recv_poll().await.text(), "4first");
    assert!(!handle.is_writable());
    assert!(!handle.send_volatile("lost"));
    handle.send("next");
    assert_eq!(session.poll_text().await, "4next");
}

#[tokio::test]
async fn a_volatile_message_leaves_whole_or_not_at_all() {
    let running = start(Config::default()).await;
    let mut session = running.open().await;
    let handle = running.handle(session.sid()).await;
    let message = || {
        let parts = vec![vec![1].into(), vec![2].into()];
        Encoded::from_wire(Some("4with attachments".into()), parts, None)
    };
    session.send_poll().await;
    sleep(A_MOMENT).await;
    assert!(handle.send_volatile(message()));
    let body = session.recv_poll().await;
    assert_eq!(body.text(), "4with attachments\x1ebAQ==\x1ebAg==");
    assert!(!handle.send_volatile(message()));
}

#[tokio::test]
async fn a_volatile_message_needs_a_websocket_that_has_written_everything() {
    let running = start(Config::default()).await;
    let (mut ws, open) = running.ws().await;
    let handle = running.handle(&open.sid).await;
    sleep(A_MOMENT).await;
    assert!(handle.is_writable());
    handle.send("regular");
    assert!(!handle.send_volatile("lost"));
    assert_eq!(ws.recv_text().await, "4regular");
    sleep(A_MOMENT).await;
    assert!(handle.send_volatile("volatile"));
    assert_eq!(ws.recv_text().await, "4volatile");
    ws.silence(A_MOMENT).await;
}

#[tokio::test]
async fn volatile_messages_do_not_pile_up_for_a_client_that_does_not_read() {
    let running = start(Config::default()).await;
    let (mut ws, open) = running.ws().await;
    let handle = running.handle(&open.sid).await;
    let long = "x".repeat(1_000_000);
    let mut taken = 0;
    for _ in 0..100 {
        taken += usize::from(handle.send_volatile(&*long));
        sleep(std::time::Duration::from_millis(2)).await;
    }
    assert!(taken > 0 && taken < 60, "{taken} MB");
    for _ in 0..taken {
        assert_eq!(ws.recv_text().await.len(), 1_000_001);
    }
    running.assert_open(&open.sid).await;
}

#[tokio::test]
async fn a_handle_is_writable_again_after_an_upgrade() {
    let running = start(Config::default()).await;
    let mut session = running.open().await;
    let handle = running.handle(session.sid()).await;
    let (mut ws, _) = Upgrade::run(&mut session).await;
    ws.text("4hello").await;
    assert_eq!(ws.recv_text().await, "4hello");
    sleep(A_MOMENT).await;
    assert!(handle.send_volatile("volatile"));
    assert_eq!(ws.recv_text().await, "4volatile");
}

#[tokio::test]
async fn queued_bytes_are_counted_until_they_leave() {
    let running = start_with(Config::default(), RECORD).await;
    let mut session = running.open().await;
    let handle = running.handle(session.sid()).await;
    assert_eq!(handle.queued(), 0);
    handle.send("0123456789");
    handle.send(Encoded::binary(vec![0; 90]));
    assert!(handle.queued() >= 100, "{}", handle.queued());
    session.poll_text().await;
    assert_eq!(handle.queued(), 0);

    let (mut ws, open) = running.ws().await;
    let handle = running.handle(&open.sid).await;
    for _ in 0..10 {
        handle.send("0123456789");
    }
    for _ in 0..10 {
        ws.recv_text().await;
    }
    sleep(A_MOMENT).await;
    assert_eq!(handle.queued(), 0);
}

#[tokio::test]
async fn the_handle_of_a_session_that_is_gone_takes_nothing() {
    let running = start(Config::default()).await;
    let (mut ws, open) = running.ws().await;
    let handle = running.handle(&open.sid).await;
    ws.close(None).await;
    running.sessions(0).await;
    assert!(handle.is_closed());
    assert!(!handle.is_writable());
    assert!(!handle.send_volatile("lost"));
    for _ in 0..1000 {
        handle.send("lost");
    }
    assert_eq!(handle.queued(), 0);
}

#[tokio::test]
async fn nothing_is_queued_once_a_session_has_ended() {
    let running = start(Config::default().max_queued(10_000)).await;
    let session = running.open().await;
    let (_ws, open) = running.ws().await;
    for sid in [session.sid(), &open.sid] {
        let handle = running.handle(sid).await;
        for _ in 0..20 {
            handle.send(&*"x".repeat(1000));
        }
        assert!(handle.queued() > 0);
        let reason = running.close_reason(sid).await;
        assert_eq!(reason, CloseReason::SlowClient);
    }
    running.sessions(0).await;
    for sid in [session.sid(), &open.sid] {
        let handle = running.handle(sid).await;
        assert_eq!(handle.queued(), 0);
        handle.send("lost");
        assert_eq!(handle.queued(), 0);
    }
}

#[tokio::test]
async fn a_session_counts_as_closed_while_it_is_closing() {
    let running = start(Config::default()).await;
    let mut session = running.open().await;
    let handle = running.handle(session.sid()).await;
    assert!(!handle.is_closed());
    handle.send("queued");
    handle.close(CloseReason::ForcedClose);
    running.close_reason(session.sid()).await;
    // The client has not been told yet.
    assert_eq!(running.server.sessions(), 1);
    assert!(handle.is_closed());
    assert!(!handle.is_writable());
    let queued = handle.queued();
    handle.send("too late");
    assert_eq!(handle.queued(), queued);
    assert_eq!(session.poll_text().await, "4queued\x1e1");
    running.sessions(0).await;
    assert_eq!(handle.queued(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_threads_may_send_at_the_same_time() {
    let running = start(Config::default()).await;
    let (mut ws, open) = running.ws().await;
    let handle = running.handle(&open.sid).await;
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let handle = handle.clone();
            std::thread::spawn(move || {
                for number in 0..250 {
                    handle.send(&*format!("{thread} {number}"));
                }
            })
        })
        .collect();
    let mut next = [0; 4];
    for _ in 0..1000 {
        let text = ws.recv_text().await;
        let (thread, number) = text[1..].split_once(' ').expect("two numbers");
        let next = &mut next[thread.parse::<usize>().unwrap()];
        assert_eq!(number, next.to_string(), "thread {thread}");
        *next += 1;
    }
    threads.into_iter().for_each(|it| it.join().unwrap());
}
