//! How long a client may take for the head of a request.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use hyper::rt::{Sleep, Timer};

/// The timer of one connection. hyper asks for a sleep before each request, and drops it when the
/// head has come. All of them share one entry in the runtime's timer, which stays where it is until
/// it fires: to enter and to remove one for each request would cost more than the request's parsing.
#[derive(Clone, Debug, Default)]
pub(crate) struct HeadTimer(Arc<Mutex<Option<Pin<Box<tokio::time::Sleep>>>>>);

struct HeadSleep {
    timer: HeadTimer,
    deadline: Instant,
}

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(HeadSleep {
            timer: self.clone(),
            deadline,
        })
    }

    fn now(&self) -> Instant {
        crate::clock::now()
    }
}

impl Sleep for HeadSleep {}

impl Future for HeadSleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = self.deadline.into();
        let mut entry = self.timer.0.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Box::pin(tokio::time::sleep_until(deadline));
        let entry = entry.get_or_insert_with(new);
        if entry.deadline() > deadline {
            entry.as_mut().reset(deadline);
        }
        while entry.as_mut().poll(cx).is_ready() {
            if entry.deadline() >= deadline {
                return Poll::Ready(());
            }
            // That was the time of an earlier request.
            entry.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_sleep_ends_at_its_own_time() {
        let timer = HeadTimer::default();
        let start = timer.now();
        let second = Duration::from_secs(1);
        let elapsed = || timer.now() - start;
        timer.sleep(second).await;
        assert_eq!(elapsed(), second);
        // one that is dropped in time, and a later one
        let dropped = tokio::time::timeout(second, timer.sleep(second * 10)).await;
        assert!(dropped.is_err());
        timer.sleep(second * 20).await;
        assert_eq!(elapsed(), second * 22);
        // one that is earlier than the last
        let dropped = tokio::time::timeout(second, timer.sleep(second * 10)).await;
        assert!(dropped.is_err());
        timer.sleep(second * 2).await;
        assert_eq!(elapsed(), second * 25);
        timer.sleep(Duration::ZERO).await;
        assert_eq!(elapsed(), second * 25);
    }
}
