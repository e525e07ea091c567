//! A session's driver, its socket, and somebody else who wakes it.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
};

use loom::{
    future::block_on,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use super::check;
use crate::signal::Signal;

/// As tokio's: what has come is marked first, then whoever waits is woken. So one who asks in between is
/// woken for what it has got already.
#[derive(Default)]
struct Socket {
    come: AtomicUsize,
    reader: Mutex<Option<Waker>>,
}

impl Socket {
    fn arrive(&self) {
        self.come.fetch_add(1, Ordering::AcqRel);
        let reader = self.reader.lock().unwrap().take();
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    fn poll_read(&self, read: usize, cx: &mut Context<'_>) -> Poll<usize> {
        let ready = || Some(self.come.load(Ordering::Acquire)).filter(|it| *it > read);
        if let Some(come) = ready() {
            return Poll::Ready(come);
        }
        *self.reader.lock().unwrap() = Some(cx.waker().clone());
        match ready() {
            Some(come) => Poll::Ready(come),
            None => Poll::Pending,
        }
    }
}

/// A driver, as far as that goes: it reads what has come when its signal says so.
struct Driver {
    socket: Arc<Socket>,
    signal: Signal,
    read: usize,
}

impl Driver {
    fn new(socket: Arc<Socket>) -> Self {
        Self {
            socket,
            signal: Signal::default(),
            read: 0,
        }
    }

    /// Runs until that is so.
    fn run_until(mut self, done: impl Fn(&Self, &Waker) -> bool) {
        let mut task = None;
        block_on(poll_fn(|cx| {
            // Loom's does not know a clone of itself, and a signal would be new each time.
            let waker: &Waker = task.get_or_insert_with(|| Task(cx.waker().clone()).into());
            let task = Context::from_waker(waker);
            if self.signal.take(&task) {
                let own = self.signal.waker(&task);
                let mut own = Context::from_waker(&own);
                while let Poll::Ready(come) = self.socket.poll_read(self.read, &mut own) {
                    self.read = come;
                }
            }
            match done(&self, waker) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        }));
    }
}

struct Task(Waker);

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.0.wake_by_ref();
    }
}

impl From<Task> for Waker {
    fn from(task: Task) -> Self {
        Arc::new(task).into()
    }
}

#[test]
fn a_driver_that_reads_only_when_its_socket_has_woken_it_reads_everything() {
    check(|| {
        let socket = Arc::new(Socket::default());
        let arriving = thread::spawn({
            let socket = socket.clone();
            move || {
                socket.arrive();
                socket.arrive();
            }
        });
        Driver::new(socket).run_until(|it, _| it.read == 2);
        arriving.join().unwrap();
    });
}

#[test]
fn who_else_wakes_a_driver_takes_nothing_from_its_socket() {
    check(|| {
        let socket = Arc::new(Socket::default());
        let sleeper = Arc::new(Mutex::new(None::<Waker>));
        let is_sent = Arc::new(AtomicBool::new(false));
        let sending = thread::spawn({
            let (sleeper, is_sent) = (sleeper.clone(), is_sent.clone());
            move || {
                is_sent.store(true, Ordering::Release);
                let sleeper = sleeper.lock().unwrap().take();
                if let Some(sleeper) = sleeper {
                    sleeper.wake();
                }
            }
        });
        let arriving = thread::spawn({
            let socket = socket.clone();
            move || socket.arrive()
        });
        Driver::new(socket).run_until(|it, waker| {
            *sleeper.lock().unwrap() = Some(waker.clone());
            it.read == 1 && is_sent.load(Ordering::Acquire)
        });
        sending.join().unwrap();
        arriving.join().unwrap();
    });
}
