//! A client in a namespace, as a test sees it.

use std::{error::Error, fmt, future::Future};

use serde::de::DeserializeOwned;
use socketio::{Args, ArgsError, SocketIo, ToArgs};
use socketio_proto::PacketKind;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use crate::{
    Builder, Connection, Refused,
    connection::{Command, to_args},
    wait::{QUIET, within},
};

/// A client in one namespace.
///
/// Whatever the server sends it waits here, in order, until the test asks for it: one by one with
/// [`recv`](Self::recv), or as what is to come next with [`expect`](Self::expect). Acknowledgements
/// do not wait: they go to whom they are for.
///
/// All that waits panics when the [time limit](Builder::time_limit) is over. Dropped, the client is
/// gone without a word, as a browser is that somebody closes.
#[derive(Debug)]
pub struct TestClient {
    id: String,
    namespace: String,
    connection: Connection,
    /// Events and the disconnection.
    packets: mpsc::UnboundedReceiver<PacketKind>,
}

impl TestClient {
    /// Connects to the namespace `/` by WebSocket, as today's clients do.
    ///
    /// # Panics
    ///
    /// If the server refuses. [`builder`](Self::builder) can expect it.
    pub async fn connect(io: &SocketIo) -> Self {
        match Self::builder(io).connect().await {
            Ok(client) => client,
            Err(refused) => panic!("{refused}"),
        }
    }

    /// Options for a client.
    pub fn builder(io: &SocketIo) -> Builder {
        Builder::new(io.clone())
    }

    pub(crate) fn new(
        id: String,
        namespace: String,
        connection: Connection,
        packets: mpsc::UnboundedReceiver<PacketKind>,
    ) -> Self {
        Self {
            id,
            namespace,
            connection,
            packets,
        }
    }

    /// The id of the socket, the same on both sides: `io.of("/").socket(client.id())`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The connection below, which clients in several namespaces may share.
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Joins another namespace on the same connection.
    ///
    /// # Errors
    ///
    /// If the server refuses.
    pub async fn join(&self, namespace: &str) -> Result<TestClient, Refused> {
        self.connection.join(namespace).await
    }

    /// Sends an event. A tuple stands for several arguments, `()` for none. Returns when it has
    /// been sent, which is before the server has seen it.
    ///
    /// # Panics
    ///
    /// If the client is disconnected, or the arguments cannot be JSON.
    pub async fn emit(&self, event: &str, args: &(impl ToArgs + ?Sized)) {
        self.send_event(event, args, None).await;
    }

    /// Sends an event and waits for the answer, which is read as a `T`: a tuple takes several
    /// arguments, `()` none, everything else the first.
    ///
    /// ```
    /// use socketio::{SocketIo, handler::Data};
    /// use socketio_test::TestClient;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// let io = SocketIo::new();
    /// io.on("add", async |Data((a, b)): Data<(i64, i64)>| a + b);
    /// let client = TestClient::connect(&io).await;
    /// assert_eq!(client.emit_with_ack("add", &(1, 2)).await, Ok(3));
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If the client is disconnected before it gets the answer, or the answer is of another shape.
    ///
    /// # Panics
    ///
    /// If there is no answer within the time limit; and as [`emit`](Self::emit).
    pub async fn emit_with_ack<T: DeserializeOwned>(
        &self,
        event: &str,
        args: &(impl ToArgs + ?Sized),
    ) -> Result<T, AckError> {
        let (ack, answer) = oneshot::channel();
        self.send_event(event, args, Some(ack)).await;
        let answer = self.wait(|| format!("the answer to {event:?}"), answer);
        let answer = answer.await.map_err(|_| AckError::Disconnected)?;
        let read = answer.deserialize();
        read.map_err(|error| AckError::Shape { error, answer })
    }

    async fn send_event(
        &self,
        event: &str,
        args: &(impl ToArgs + ?Sized),
        ack: Option<oneshot::Sender<Args>>,
    ) {
        let reserved = socketio_proto::is_reserved(event);
        assert!(!reserved, "no client can send the event {event:?}");
        let what = format!("the event {event:?}");
        let args = to_args(&what, args);
        let emit = |sent| Command::Emit {
            namespace: self.namespace.clone(),
            name: event.into(),
            args,
            ack,
            sent,
        };
        self.connection.send(&what, emit).await;
    }

    /// What the server has sent next.
    pub async fn recv(&mut self) -> Incoming {
        self.next(|| String::from("anything from the server")).await
    }

    /// The event that must come next.
    ///
    /// # Panics
    ///
    /// If something else comes, or nothing in time.
    pub async fn expect(&mut self, event: &str) -> Event {
        match self.next(|| format!("the event {event:?}")).await {
            Incoming::Event(it) if it.name() == event => it,
            other => panic!("expected the event {event:?}, but there came {other}"),
        }
    }

    /// The data of the event that must come next; see [`Event::data`].
    ///
    /// # Panics
    ///
    /// If something else comes, or nothing in time, or the data has another shape.
    pub async fn expect_as<T: DeserializeOwned>(&mut self, event: &str) -> T {
        self.expect(event).await.data()
    }

    /// Makes sure that nothing has come that was not asked for, and that nothing comes while
    /// everything runs that has something to do; see [`settle`](crate::settle).
    ///
    /// # Panics
    ///
    /// If something comes, the end of the connection included.
    pub async fn expect_nothing(&mut self) {
        if let Ok(packet) = timeout(QUIET, self.packets.recv()).await {
            let incoming = self.incoming(packet);
            panic!("expected nothing, but there came {incoming}");
        }
    }

    /// Leaves the namespace; and closes the connection, if it was in no other. Handlers for
    /// disconnections have started by the time that the connection is closed.
    pub async fn disconnect(self) {
        let (done, told) = oneshot::channel();
        self.connection.command(Command::Leave {
            namespace: self.namespace.clone(),
            done,
        });
        // Told or not, it is done.
        let told = self.connection.answer(told);
        self.wait(|| String::from("the disconnection"), told).await;
    }

    /// Breaks the connection off, as a network does that is gone.
    pub fn close(&self) {
        self.connection.close();
    }

    /// Waits until the connection is closed, by whomever. What came before can still be received.
    ///
    /// # Panics
    ///
    /// If that takes longer than the time limit.
    pub async fn closed(&self) {
        self.connection.closed().await;
    }

    async fn next(&mut self, what: impl FnOnce() -> String) -> Incoming {
        let Self { id, namespace, .. } = self;
        let what = || format!("{} (client {id} in {namespace})", what());
        let packet = within(self.connection.limit, what, self.packets.recv()).await;
        self.incoming(packet)
    }

    fn incoming(&self, packet: Option<PacketKind>) -> Incoming {
        match packet {
            Some(PacketKind::Event { name, id, args }) => Incoming::Event(Event {
                name: name.to_string(),
                args,
                id,
                namespace: self.namespace.clone(),
                connection: self.connection.clone(),
            }),
            Some(_) => Incoming::Disconnect,
            None => Incoming::Closed,
        }
    }

    async fn wait<F: Future>(&self, what: impl FnOnce() -> String, future: F) -> F::Output {
        let Self { id, namespace, .. } = self;
        let what = || format!("{} (client {id} in {namespace})", what());
        within(self.connection.limit, what, future).await
    }
}

/// What the server has sent.
#[derive(Debug)]
#[non_exhaustive]
pub enum Incoming {
    /// An event.
    Event(Event),
    /// The server has made the client leave the namespace.
    Disconnect,
    /// The connection is closed. After this nothing else comes.
    Closed,
}

impl fmt::Display for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Incoming::Event(event) => write!(f, "the event {event}"),
            Incoming::Disconnect => f.write_str("a disconnection by the server"),
            Incoming::Closed => f.write_str("the end of the connection"),
        }
    }
}

/// An event that the server has sent.
pub struct Event {
    name: String,
    args: Args,
    id: Option<u64>,
    namespace: String,
    connection: Connection,
}

impl Event {
    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The arguments.
    pub fn args(&self) -> &Args {
        &self.args
    }

    /// The arguments as a type: a tuple takes several, `()` none, everything else the first.
    ///
    /// # Panics
    ///
    /// If they have another shape.
    pub fn data<T: DeserializeOwned>(&self) -> T {
        match self.args.deserialize() {
            Ok(data) => data,
            Err(error) => panic!("{error} in the event {self}"),
        }
    }

    /// Whether the server waits for an answer.
    pub fn wants_ack(&self) -> bool {
        self.id.is_some()
    }

    /// Answers.
    ///
    /// ```
    /// use socketio::{Socket, SocketIo};
    /// use socketio_test::TestClient;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// let io = SocketIo::new();
    /// io.on("guess", async |socket: Socket| {
    ///     let guess: u32 = socket.emit_with_ack("number?", &()).await?;
    ///     socket.emit("result", &(guess == 42))?;
    ///     Ok::<_, socketio::BoxError>(())
    /// });
    /// let mut client = TestClient::connect(&io).await;
    /// client.emit("guess", &()).await;
    /// client.expect("number?").await.ack(&42).await;
    /// assert!(client.expect_as::<bool>("result").await);
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// If the server waits for no answer, if the client is disconnected, or if the value cannot be
    /// JSON.
    pub async fn ack(self, answer: &(impl ToArgs + ?Sized)) {
        let what = format!("the answer to the event {self}");
        let Some(id) = self.id else {
            panic!(
                "the server waits for no answer to the event {:?}",
                self.name
            )
        };
        let args = to_args(&what, answer);
        let ack = |sent| Command::Ack {
            namespace: self.namespace,
            id,
            args,
            sent,
        };
        self.connection.send(&what, ack).await;
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} [{}]", self.name, self.args.json())
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum AckError {
    /// The client was disconnected before the answer came.
    Disconnected,
    /// The answer is of another shape than was asked for.
    #[non_exhaustive]
    Shape {
        /// What is wrong with it.
        error: ArgsError,
        /// The answer.
        answer: Args,
    },
}

impl fmt::Display for AckError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AckError::Disconnected => f.write_str("disconnected before the answer came"),
            AckError::Shape { error, answer } => {
                write!(f, "{error} in the answer [{}]", answer.json())
            }
        }
    }
}

impl Error for AckError {}
