//! A session's driver and those who send to it.

use std::{future::poll_fn, sync::Arc, task::Poll};

use engineio_proto::{CloseReason, Dialect, Encoded, Queue, Sid, query::Transport};
use loom::{future::block_on, thread};

use super::check;
use crate::{
    SessionHandle,
    backlog::{Limits, Traffic},
    item::Item,
};

fn session(limits: Limits) -> SessionHandle {
    let traffic = Arc::new(Traffic::new(limits));
    SessionHandle::new(Sid::from("a"), Dialect::V4, Transport::Polling, traffic)
}

fn text(message: &Encoded) -> String {
    let text = message.wire_text().expect("text");
    text[1..].to_owned()
}

/// Does with its mailbox what a driver does.
struct Driver {
    session: SessionHandle,
    /// A message that stays.
    unread: Option<&'static str>,
    left: Vec<String>,
    told_to_end: bool,
}

impl Driver {
    fn new(session: SessionHandle) -> Self {
        Self {
            session,
            unread: None,
            left: Vec::new(),
            told_to_end: false,
        }
    }

    /// Takes what has come.
    fn take(&mut self) {
        if !self.session.mailbox().is_filled() {
            return;
        }
        let mut items = Queue::default();
        self.session.mailbox().take(&mut items);
        while let Some(item) = items.pop_front() {
            match item {
                Item::Send(message) => {
                    let text = text(&message);
                    if self.unread != Some(&*text) {
                        self.session.credit(&message);
                    }
                    self.left.push(text);
                }
                Item::Close(_) | Item::Abort(_) => self.told_to_end = true,
            }
        }
    }

    /// Runs until that is so, and sleeps in between.
    async fn run_until(&mut self, done: impl Fn(&Self) -> bool) {
        poll_fn(|cx| {
            loop {
                self.take();
                if done(self) {
                    return Poll::Ready(());
                }
                if self.session.mailbox().sleep(|| self.session.is_ready(), cx) {
                    return Poll::Pending;
                }
            }
        })
        .await;
    }

    /// There is no driver any more; what it had not taken.
    fn end(&self) -> Vec<String> {
        let mut items = self.session.end();
        let texts = std::iter::from_fn(|| items.pop_front()).filter_map(|item| match item {
            Item::Send(message) => Some(text(&message)),
            _ => None,
        });
        texts.collect()
    }
}

#[test]
fn a_message_that_comes_while_the_driver_falls_asleep_wakes_it() {
    check(|| {
        let session = session(Limits::NONE);
        let sender = session.clone();
        let sending = thread::spawn(move || {
            sender.send("1");
            sender.close(CloseReason::ForcedClose);
        });
        let mut driver = Driver::new(session);
        block_on(driver.run_until(|it| it.told_to_end));
        assert_eq!(driver.left, ["1"]);
        sending.join().unwrap();
    });
}

#[test]
fn messages_of_each_sender_keep_their_order_and_come_once() {
    check(|| {
        let session = session(Limits::NONE);
        let senders = [&["a1", "a2"][..], &["b1"][..]].map(|messages| {
            let sender = session.clone();
            thread::spawn(move || messages.iter().for_each(|it| sender.send(*it)))
        });
        let mut driver = Driver::new(session.clone());
        block_on(driver.run_until(|it| it.left.len() == 3));
        let of_one: Vec<_> = driver
            .left
            .iter()
            .filter(|it| it.starts_with('a'))
            .collect();
        assert_eq!(of_one, ["a1", "a2"]);
        assert!(driver.left.iter().any(|it| it == "b1"), "{:?}", driver.left);
        senders.into_iter().for_each(|it| it.join().unwrap());
        driver.take();
        assert_eq!((driver.left.len(), session.queued_messages()), (3, 0));
    });
}

#[test]
fn a_message_that_meets_the_end_is_taken_or_its_sender_knows() {
    check(|| {
        let session = session(Limits::NONE);
        let sender = session.clone();
        let sending = thread::spawn(move || ["1", "2"].map(|it| sender.send_with(it, None)));
        let mut driver = Driver::new(session.clone());
        driver.take();
        let left_over = driver.end();
        let sent = sending.join().unwrap();
        let expected = std::iter::zip(["1", "2"], sent).filter_map(|(it, sent)| sent.then_some(it));
        let found: Vec<_> = driver.left.into_iter().chain(left_over).collect();
        assert_eq!(found, expected.collect::<Vec<_>>());
        // Nobody thinks that something is still on its way.
        assert_eq!((session.queued_messages(), session.queued()), (0, 0));
    });
}

#[test]
fn of_two_volatile_messages_at_once_one_is_queued() {
    check(|| {
        let session = session(Limits::NONE);
        session.set_writable(true);
        let other = session.clone();
        let sending = thread::spawn(move || other.send_volatile("1"));
        let sent = session.send_volatile("2");
        assert_ne!(sent, sending.join().unwrap());
        assert_eq!(session.queued_messages(), 1);
        assert_eq!(session.dropped_volatile(), 1);
    });
}

/// A sender that has sent two messages, and waits until at most one is queued.
const TWO: Limits = Limits {
    messages: 3,
    ..Limits::NONE
};

#[test]
fn a_sender_that_waits_goes_on_when_the_client_has_read() {
    check(|| {
        let session = session(TWO);
        session.send("1");
        session.send("2");
        let sender = session.clone();
        let sending = thread::spawn(move || {
            assert!(block_on(sender.ready()));
            sender.close(CloseReason::ForcedClose);
        });
        let mut driver = Driver::new(session);
        block_on(driver.run_until(|it| it.told_to_end));
        sending.join().unwrap();
    });
}

#[test]
fn a_sender_that_waits_hears_of_the_end() {
    check(|| {
        let session = session(TWO);
        session.send("1");
        session.send("2");
        let sender = session.clone();
        let sending = thread::spawn(move || block_on(sender.ready()));
        assert_eq!(Driver::new(session).end(), ["1", "2"]);
        assert!(!sending.join().unwrap());
    });
}

/// What is refused was counted for a moment, in which others may have begun to wait.
#[test]
fn a_message_that_is_too_much_makes_nobody_wait_for_ever() {
    for volatile in [false, true] {
        check(move || {
            let session = session(Limits {
                bytes: 300,
                ..Limits::NONE
            });
            session.set_writable(volatile);
            let mut driver = Driver::new(session.clone());
            session.send("1");
            driver.unread = Some("1");
            let driving = thread::spawn(move || block_on(driver.run_until(|it| it.told_to_end)));
            let other = session.clone();
            let refused = thread::spawn(move || {
                let large = Encoded::text(&"x".repeat(300));
                match volatile {
                    true => other.send_volatile(large),
                    false => other.send_with(large, None),
                }
            });
            assert!(block_on(session.ready()));
            let _ = refused.join().unwrap();
            session.close(CloseReason::ForcedClose);
            driving.join().unwrap();
        });
    }
}
