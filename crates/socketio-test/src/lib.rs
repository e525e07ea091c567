//! Test kit for applications of the `socketio` crate: scripted clients that connect to a
//! [`SocketIo`](socketio::SocketIo) without a port.
//!
//! ```
//! use socketio::{Socket, SocketIo, handler::Data};
//! use socketio_test::TestClient;
//!
//! fn chat() -> SocketIo {
//!     let io = SocketIo::new();
//!     io.on("chat message", async |socket: Socket, Data(text): Data<String>| {
//!         socket.broadcast().emit("chat message", &text)
//!     });
//!     io
//! }
//!
//! # macro_rules! hidden { ($($test:tt)*) => {} }
//! # hidden! {
//! #[tokio::test(start_paused = true)]
//! async fn everybody_else_gets_the_message() {
//! # }}
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//!     let io = chat();
//!     let mut anna = TestClient::connect(&io).await;
//!     let mut bert = TestClient::connect(&io).await;
//!     anna.emit("chat message", "hi").await;
//!     assert_eq!(bert.expect_as::<String>("chat message").await, "hi");
//!     anna.expect_nothing().await;
//! }
//! ```
//!
//! Everything but TCP is real: each client sends HTTP requests and WebSocket frames over pipes in
//! memory to a hyper server, which hands them to [`SocketIo::service`](socketio::SocketIo::service).
//!
//! # Time
//!
//! With `#[tokio::test(start_paused = true)]` (tokio's feature `test-util`) tokio's clock stands still
//! while anything runs, and jumps to the next timer when everything waits. So heartbeats, timeouts
//! of acknowledgements and whatever else takes time are tested in no time, and tests do not depend
//! on how fast the machine is. Without it everything works too, in real time.
//!
//! Applications that wait for something outside of the process (a database, say) need a clock that
//! runs: a paused one jumps while they wait.
//!
//! # What a test can do
//!
//! | To | see |
//! |---|---|
//! | connect, with options | [`TestClient::connect`], [`TestClient::builder`] |
//! | send | [`TestClient::emit`], [`TestClient::emit_with_ack`] |
//! | receive | [`TestClient::expect`], [`TestClient::recv`], [`TestClient::expect_nothing`] |
//! | answer | [`Event::ack`] |
//! | join more namespaces | [`TestClient::join`] |
//! | leave, or break off | [`TestClient::disconnect`], [`TestClient::close`] |
//! | miss heartbeats, use long-polling, be an old client | [`Builder`] |
//! | let the server finish what it is doing | [`settle`] |
//!
//! The kit panics where a test should fail, and says what it waited for and what came instead.
#![forbid(unsafe_code)]

mod builder;
mod client;
mod connection;
mod transport;
mod wait;

pub use builder::{Builder, Refused};
pub use client::{AckError, Event, Incoming, TestClient};
pub use connection::Connection;
pub use wait::settle;
