//! Waiting, but not for ever.

use std::{future::Future, time::Duration};

use tokio::time::{sleep, timeout};

/// Lets the server, its handlers and all clients run until nothing is left to do but to wait for
/// time to pass.
///
/// This takes 100 ms of tokio's time, and none of real time if the clock is paused. For what has no
/// event to wait for:
///
/// ```
/// use std::sync::{Arc, atomic::{AtomicBool, Ordering}};
/// use socketio::SocketIo;
/// use socketio_test::TestClient;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let gone = Arc::new(AtomicBool::new(false));
/// let io = SocketIo::new();
/// let seen = gone.clone();
/// io.on_disconnect(move || {
///     let seen = seen.clone();
///     async move { seen.store(true, Ordering::Relaxed) }
/// });
/// let client = TestClient::connect(&io).await;
/// drop(client);
/// socketio_test::settle().await;
/// assert!(gone.load(Ordering::Relaxed));
/// # }
/// ```
pub async fn settle() {
    sleep(QUIET).await;
}

/// Waits for something.
///
/// # Panics
///
/// If it takes too long.
pub(crate) async fn within<T>(
    limit: Duration,
    what: impl FnOnce() -> String,
    future: impl Future<Output = T>,
) -> T {
    match timeout(limit, future).await {
        Ok(output) => output,
        Err(_) => panic!("waited {limit:?} in vain for {}", what()),
    }
}

/// With a clock that runs: long enough for what does not wait for anything else.
pub(crate) const QUIET: Duration = Duration::from_millis(100);
