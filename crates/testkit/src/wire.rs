//! Bytes, with a time limit on every wait.

use std::{future::Future, io, net::SocketAddr, time::Duration};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout, timeout_at},
};

/// How long a test waits for the server before it fails, unless it says otherwise.
pub const TIME_LIMIT: Duration = Duration::from_secs(5);

/// The future's output.
///
/// # Panics
///
/// If it takes longer than `limit`; `what` says what was waited for.
pub async fn within<T>(limit: Duration, what: &str, future: impl Future<Output = T>) -> T {
    match timeout(limit, future).await {
        Ok(output) => output,
        Err(_) => panic!("waited {limit:?} in vain for {what}"),
    }
}

/// A TCP connection and what has been read of it ahead of time.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    peer: SocketAddr,
    buffer: BytesMut,
    limit: Duration,
    ended: bool,
}

/// Until when to wait, and for what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wait<'a> {
    until: Instant,
    what: &'a str,
}

impl Wire {
    /// Opens a connection.
    pub async fn connect(addr: SocketAddr) -> Self {
        let stream = within(TIME_LIMIT, "a TCP connection", TcpStream::connect(addr)).await;
        let stream = stream.unwrap_or_else(|error| panic!("no connection to {addr}: {error}"));
        // Small writes must leave at once, or delayed acknowledgements dominate every timing.
        let _ = stream.set_nodelay(true);
        Self {
            stream,
            peer: addr,
            buffer: BytesMut::new(),
            limit: TIME_LIMIT,
            ended: false,
        }
    }

    /// The address connected to.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Changes the time limit of everything that waits for the server.
    pub fn set_limit(&mut self, limit: Duration) {
        self.limit = limit;
    }

    /// Sends bytes. That the peer has closed meanwhile is no error here: it shows when reading.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let what = "the server to take what is sent";
        let sent = within(self.limit, what, self.stream.write_all(bytes.as_ref())).await;
        self.ended |= sent.is_err();
    }

    /// Says that nothing more will be sent; what the server sends can still be read.
    pub async fn finish(&mut self) {
        let _ = self.stream.shutdown().await;
    }

    /// Whether the end of the connection has been seen.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Waits until the server closes the connection and returns what it sent before that.
    pub async fn rest(&mut self) -> Bytes {
        let what = "the server to close the connection";
        let wait = Wait::new(self.limit, what);
        while self.fill(wait).await {}
        self.buffer.split().freeze()
    }

    /// Watches the connection for as long as `time`.
    ///
    /// # Panics
    ///
    /// If anything arrives, the end of the connection included.
    pub async fn silence(&mut self, time: Duration) {
        assert!(
            self.buffer.is_empty(),
            "expected silence, got {:?}",
            self.buffer
        );
        if let Ok(read) = timeout(time, self.stream.read_buf(&mut self.buffer)).await {
            panic!("expected silence, got {read:?}: {:?}", self.buffer);
        }
    }

    pub(crate) fn wait<'a>(&self, what: &'a str) -> Wait<'a> {
        Wait::new(self.limit, what)
    }

    /// Everything up to and including the delimiter, or `None` if the connection ends before it.
    pub(crate) async fn until(&mut self, delimiter: &[u8], wait: Wait<'_>) -> Option<Bytes> {
        loop {
            let mut windows = self.buffer.windows(delimiter.len());
            if let Some(start) = windows.position(|window| window == delimiter) {
                return Some(self.buffer.split_to(start + delimiter.len()).freeze());
            }
            if !self.fill(wait).await {
                return None;
            }
        }
    }

    /// Exactly so many bytes, or `None` if the connection ends before them.
    pub(crate) async fn exactly(&mut self, count: usize, wait: Wait<'_>) -> Option<Bytes> {
        while self.buffer.len() < count {
            if !self.fill(wait).await {
                return None;
            }
        }
        Some(self.buffer.split_to(count).freeze())
    }

    /// What was read and not yet used.
    pub(crate) fn unread(&self) -> &[u8] {
        &self.buffer
    }

    /// Reads some bytes; `false` at the end of the connection, be it a reset.
    async fn fill(&mut self, wait: Wait<'_>) -> bool {
        let read = match timeout_at(wait.until, self.stream.read_buf(&mut self.buffer)).await {
            Ok(read) => read,
            Err(_) => panic!(
                "waited in vain for {}; so far {} has sent {:?}",
                wait.what, self.peer, self.buffer
            ),
        };
        match read {
            Ok(count) => self.ended |= count == 0,
            Err(error) if is_end(&error) => self.ended = true,
            Err(error) => panic!("reading from {}: {error}", self.peer),
        }
        !self.ended
    }
}

impl<'a> Wait<'a> {
    fn new(limit: Duration, what: &'a str) -> Self {
        Self {
            until: Instant::now() + limit,
            what,
        }
    }
}

fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    matches!(
        error.kind(),
        BrokenPipe | ConnectionAborted | ConnectionReset
    )
}
