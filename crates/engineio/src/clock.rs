//! What time it is.

use std::time::Instant;

/// Now, by the clock of the runtime's timers: they and the sessions must agree, also in a test that
/// has paused it.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
