//! A server that closes, and sessions that come and go meanwhile.

use std::{future::poll_fn, sync::Arc};

use engineio_proto::{Sid, Version};
use loom::{
    future::block_on,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use super::check;
use crate::{SessionHandle, sessions::Sessions};

#[test]
fn whoever_closes_waits_for_the_last_session() {
    check(|| {
        let sessions = Arc::<Sessions>::default();
        let gone = Arc::new(AtomicBool::new(false));
        let opening = {
            let (sessions, gone) = (sessions.clone(), gone.clone());
            thread::spawn(move || {
                let session = SessionHandle::detached(Sid::from("a"), Version::V4);
                let is_in = sessions.insert(session.clone());
                if is_in {
                    let departure = sessions.depart(&session);
                    gone.store(true, Ordering::Relaxed);
                    drop(departure);
                }
                is_in
            })
        };
        sessions.begin_closing();
        block_on(sessions.emptied());
        let was_gone = gone.load(Ordering::Relaxed);
        let was_in = opening.join().unwrap();
        assert!(was_gone || !was_in, "it was not waited for");
        assert_eq!(sessions.len(), 0);
    });
}

#[test]
fn a_session_that_opens_while_the_server_closes_is_told_or_refused() {
    check(|| {
        let sessions = Arc::<Sessions>::default();
        let session = SessionHandle::detached(Sid::from("a"), Version::V4);
        let opening = {
            let (sessions, session) = (sessions.clone(), session.clone());
            thread::spawn(move || sessions.insert(session))
        };
        let told = sessions.begin_closing().iter().any(|it| it.is(&session));
        assert!(told || !opening.join().unwrap());
    });
}

#[test]
fn a_session_that_is_leaving_hears_that_the_time_is_over() {
    check(|| {
        let sessions = Arc::<Sessions>::default();
        let session = SessionHandle::detached(Sid::from("a"), Version::V4);
        assert!(sessions.insert(session.clone()));
        sessions.begin_closing();
        let leaving = {
            let sessions = sessions.clone();
            thread::spawn(move || {
                let mut departure = sessions.depart(&session);
                block_on(poll_fn(|cx| departure.poll_cut(cx)));
            })
        };
        sessions.cut();
        block_on(sessions.emptied());
        leaving.join().unwrap();
        assert_eq!(sessions.were_cut(), 1);
    });
}
