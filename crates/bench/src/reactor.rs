//! One thread, one epoll, many clients: each client is a future that is polled when one of its
//! sockets is ready. There are no wakers and no queues between, so that a message costs the load
//! generator little more than its system calls.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io::{self, ErrorKind, Read, Write},
    net::SocketAddr,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use mio::{Events, Interest, Registry, Token};
use slab::Slab;

/// Runs clients. Clones are the same reactor.
#[derive(Clone)]
pub(crate) struct Reactor(Rc<Inner>);

pub(crate) type TaskId = usize;

type Task = Pin<Box<dyn Future<Output = Result<()>>>>;

struct Inner {
    poll: RefCell<mio::Poll>,
    events: RefCell<Events>,
    registry: Registry,
    /// `None` while it is being polled.
    tasks: RefCell<Slab<Option<Task>>>,
    sources: RefCell<Slab<Source>>,
    woken: RefCell<Vec<TaskId>>,
    running: Cell<TaskId>,
}

struct Source {
    task: TaskId,
    ready: Rc<Ready>,
}

#[derive(Default)]
struct Ready {
    readable: Cell<bool>,
    writable: Cell<bool>,
    /// The peer has sent its last byte: a read that comes up short says nothing about the next one.
    ended: Cell<bool>,
}

impl Reactor {
    pub(crate) fn new() -> Result<Self> {
        let poll = mio::Poll::new()?;
        let registry = poll.registry().try_clone()?;
        Ok(Self(Rc::new(Inner {
            poll: RefCell::new(poll),
            events: RefCell::new(Events::with_capacity(1024)),
            registry,
            tasks: RefCell::default(),
            sources: RefCell::default(),
            woken: RefCell::default(),
            running: Cell::new(TaskId::MAX),
        })))
    }

    /// Adds a client; it starts with the next turn.
    pub(crate) fn spawn(&self, client: impl Future<Output = Result<()>> + 'static) -> TaskId {
        let task = self.0.tasks.borrow_mut().insert(Some(Box::pin(client)));
        self.wake(task);
        task
    }

    /// Has a client polled in this turn or the next.
    pub(crate) fn wake(&self, task: TaskId) {
        self.0.woken.borrow_mut().push(task);
    }

    pub(crate) fn wake_all(&self) {
        let tasks = self.0.tasks.borrow();
        let all = tasks.iter().map(|(task, _)| task);
        self.0.woken.borrow_mut().extend(all);
    }

    /// The client that is being polled.
    pub(crate) fn current(&self) -> TaskId {
        self.0.running.get()
    }

    /// How many clients have not ended.
    pub(crate) fn clients(&self) -> usize {
        self.0.tasks.borrow().len()
    }

    /// Drops all clients, and with them their connections.
    pub(crate) fn clear(&self) {
        let tasks = self.0.tasks.take(); // a client that is dropped looks for its sources only
        drop(tasks);
    }

    /// Waits for sockets, at most so long, and polls who is concerned. The error is a client's.
    pub(crate) fn turn(&self, timeout: Duration) -> Result<()> {
        self.run_woken()?;
        let mut events = self.0.events.borrow_mut();
        match self.0.poll.borrow_mut().poll(&mut events, Some(timeout)) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            result => result?,
        }
        for event in events.iter() {
            let sources = self.0.sources.borrow();
            // It may have gone in this turn.
            let Some(source) = sources.get(event.token().0) else {
                continue;
            };
            if event.is_readable() || event.is_error() {
                source.ready.readable.set(true);
            }
            if event.is_writable() || event.is_error() {
                source.ready.writable.set(true);
            }
            if event.is_read_closed() || event.is_error() {
                source.ready.ended.set(true);
            }
            let task = source.task;
            drop(sources);
            self.run(task)?;
        }
        drop(events);
        self.run_woken()
    }

    pub(crate) fn run_for(&self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            self.turn(left)?;
        }
    }

    /// Runs until it is so, and fails when it takes too long.
    pub(crate) fn run_until(
        &self,
        what: &str,
        limit: Duration,
        mut is_so: impl FnMut() -> bool,
    ) -> Result<()> {
        let end = Instant::now() + limit;
        while !is_so() {
            if Instant::now() >= end {
                bail!("waited {limit:?} in vain until {what}");
            }
            self.turn(Duration::from_millis(10))?;
        }
        Ok(())
    }

    fn run_woken(&self) -> Result<()> {
        let woken = self.0.woken.take();
        for task in woken {
            self.run(task)?;
        }
        Ok(())
    }

    fn run(&self, id: TaskId) -> Result<()> {
        let Some(mut task) = self.0.tasks.borrow_mut().get_mut(id).and_then(Option::take) else {
            return Ok(());
        };
        self.0.running.set(id);
        let mut cx = Context::from_waker(Waker::noop());
        match task.as_mut().poll(&mut cx) {
            Poll::Pending => self.0.tasks.borrow_mut()[id] = Some(task),
            Poll::Ready(result) => {
                drop(task); // its sockets first
                self.0.tasks.borrow_mut().remove(id);
                result?;
            }
        }
        Ok(())
    }
}

/// A TCP connection of the client that made it.
pub(crate) struct Stream {
    tcp: mio::net::TcpStream,
    ready: Rc<Ready>,
    token: usize,
    reactor: Reactor,
}

impl Stream {
    pub(crate) async fn connect(reactor: &Reactor, addr: SocketAddr) -> io::Result<Self> {
        let mut tcp = mio::net::TcpStream::connect(addr)?;
        let ready = Rc::<Ready>::default();
        let token = reactor.0.sources.borrow_mut().insert(Source {
            task: reactor.current(),
            ready: ready.clone(),
        });
        let both = Interest::READABLE | Interest::WRITABLE;
        reactor.0.registry.register(&mut tcp, Token(token), both)?;
        let stream = Self {
            tcp,
            ready,
            token,
            reactor: reactor.clone(),
        };
        stream.writable().await;
        if let Some(error) = stream.tcp.take_error()? {
            return Err(error);
        }
        stream.tcp.set_nodelay(true)?;
        Ok(stream)
    }

    /// Ready when there may be something to read, or when the condition holds; says whether there
    /// may be. Whoever makes the condition true has to wake the client.
    pub(crate) async fn readable_or(&self, condition: impl Fn() -> bool) -> bool {
        poll_fn(|_| match self.ready.readable.get() {
            true => Poll::Ready(true),
            false if condition() => Poll::Ready(false),
            false => Poll::Pending,
        })
        .await
    }

    /// Reads what there is; 0 is the end.
    pub(crate) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.readable_or(|| false).await;
            match self.tcp.read(buffer) {
                Ok(read) => {
                    // Less than there was room for: that was all, and the next byte is an event.
                    if read < buffer.len() && !self.ready.ended.get() {
                        self.ready.readable.set(false);
                    }
                    return Ok(read);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.ready.readable.set(false);
                }
                Err(error) => return Err(error),
            }
        }
    }

    pub(crate) async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.tcp.write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.ready.writable.set(false);
                    self.writable().await;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn writable(&self) {
        poll_fn(|_| match self.ready.writable.get() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // Closing takes it out of the epoll.
        self.reactor.0.sources.borrow_mut().remove(self.token);
    }
}

/// Ready when it is so. Whoever makes it so has to wake the client.
pub(crate) async fn until(is_so: impl Fn() -> bool) {
    poll_fn(|_| {
        if is_so() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}
