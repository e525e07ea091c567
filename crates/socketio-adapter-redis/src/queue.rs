//! What waits to be written to Redis.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Notify, oneshot};

/// Something to be written, in the order of the calls.
pub(crate) enum Item {
    /// A message; it may be lost.
    Publish(Publication),
    /// How many connections subscribe to a channel.
    Count {
        channel: Arc<str>,
        sharded: bool,
        reply: oneshot::Sender<Result<usize, redis::RedisError>>,
    },
    /// Something else that Redis is asked.
    Ask {
        command: Box<redis::Cmd>,
        reply: oneshot::Sender<Result<redis::Value, redis::RedisError>>,
    },
    /// Answered when everything before it has been written.
    Barrier(oneshot::Sender<()>),
}

/// A message.
pub(crate) enum Publication {
    /// For a channel.
    Publish {
        channel: Arc<str>,
        sharded: bool,
        payload: Vec<u8>,
    },
    /// For a stream, which is cut to about so many entries.
    Append {
        stream: Arc<str>,
        max_len: usize,
        fields: Box<[(&'static str, String)]>,
    },
    /// To be kept for so many milliseconds.
    Keep {
        key: String,
        value: String,
        time: u64,
        /// First what is for this stream has to be written, at another node.
        behind: Option<Arc<str>>,
    },
    /// Not to be kept any more.
    Forget {
        key: String,
        /// As above, so that it does not overtake what is kept.
        behind: Option<Arc<str>>,
    },
}

impl Publication {
    pub(crate) fn len(&self) -> usize {
        match self {
            Publication::Publish {
                channel, payload, ..
            } => channel.len() + payload.len(),
            Publication::Append { stream, fields, .. } => {
                let fields = fields.iter().map(|(name, value)| name.len() + value.len());
                stream.len() + fields.sum::<usize>()
            }
            Publication::Keep { key, value, .. } => key.len() + value.len(),
            Publication::Forget { key, .. } => key.len(),
        }
    }

    /// Appends the command for it.
    pub(crate) fn write(&self, commands: &mut redis::Pipeline) {
        match self {
            Publication::Publish {
                channel,
                sharded,
                payload,
            } => {
                let command = if *sharded { "SPUBLISH" } else { "PUBLISH" };
                commands.cmd(command).arg(&**channel).arg(payload);
            }
            Publication::Append {
                stream,
                max_len,
                fields,
            } => {
                let command = commands.cmd("XADD").arg(&**stream);
                let command = command.arg("MAXLEN").arg("~").arg(*max_len).arg("*");
                for (name, value) in &**fields {
                    command.arg(*name).arg(value);
                }
            }
            _ if self.is_behind() => {
                commands.cmd("PING");
            }
            Publication::Keep {
                key, value, time, ..
            } => {
                commands.cmd("SET").arg(key).arg(value).arg("PX").arg(*time);
            }
            Publication::Forget { key, .. } => {
                commands.cmd("DEL").arg(key);
            }
        }
    }

    /// Whether something at another node has to be written first.
    pub(crate) fn is_behind(&self) -> bool {
        matches!(
            self,
            Publication::Keep {
                behind: Some(_),
                ..
            }
        )
    }

    /// The same when that has been written.
    pub(crate) fn not_behind(mut self) -> Self {
        if let Publication::Keep { behind, .. } | Publication::Forget { behind, .. } = &mut self {
            *behind = None;
        }
        self
    }
}

impl Item {
    fn cost(&self) -> usize {
        let data = match self {
            Item::Publish(it) => it.len(),
            Item::Count { channel, .. } => channel.len(),
            Item::Ask { .. } | Item::Barrier(_) => 0,
        };
        data + size_of::<Item>()
    }
}

/// A queue with a bound in bytes. What does not fit is given back: the newest, so that what does
/// arrive has no gap in it but at the end.
pub(crate) struct Queue {
    state: Mutex<State>,
    changed: Notify,
    max_bytes: usize,
}

#[derive(Default)]
struct State {
    items: VecDeque<Item>,
    bytes: usize,
    closed: bool,
}

impl Queue {
    pub(crate) fn new(max_bytes: usize) -> Self {
        Self {
            state: Mutex::default(),
            changed: Notify::new(),
            max_bytes,
        }
    }

    /// Adds an item.
    ///
    /// # Errors
    ///
    /// Gives it back if there is no room, or nobody takes it any more.
    pub(crate) fn push(&self, item: Item) -> Result<(), Item> {
        let cost = item.cost();
        let mut state = self.state();
        if state.closed || state.bytes.saturating_add(cost) > self.max_bytes {
            return Err(item);
        }
        state.bytes += cost;
        state.items.push_back(item);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// The oldest items, up to so many bytes but at least one; none if there are none.
    pub(crate) fn take(&self, max_bytes: usize, max_items: usize) -> Vec<Item> {
        let mut state = self.state();
        let mut bytes = 0;
        let mut taken = Vec::new();
        while taken.len() < max_items
            && let Some(item) = state.items.front()
        {
            bytes += item.cost();
            if bytes > max_bytes && !taken.is_empty() {
                break;
            }
            state.bytes -= item.cost();
            taken.extend(state.items.pop_front());
        }
        taken
    }

    /// Puts what has been taken to the front again, over the bound if there is no room.
    pub(crate) fn put_back(&self, publications: Vec<Publication>) {
        let mut state = self.state();
        for publication in publications.into_iter().rev() {
            let item = Item::Publish(publication);
            state.bytes += item.cost();
            state.items.push_front(item);
        }
    }

    /// Takes out publications, in their order.
    pub(crate) fn extract(&self, mut which: impl FnMut(&Publication) -> bool) -> Vec<Item> {
        let mut state = self.state();
        let items = std::mem::take(&mut state.items);
        let (mut taken, mut kept) = (Vec::new(), VecDeque::new());
        for item in items {
            match &item {
                Item::Publish(it) if which(it) => taken.push(item),
                _ => kept.push_back(item),
            }
        }
        state.bytes -= taken.iter().map(Item::cost).sum::<usize>();
        state.items = kept;
        taken
    }

    /// Adds what has waited in another queue, over the bound if there is no room.
    pub(crate) fn push_over(&self, item: Item) {
        let mut state = self.state();
        state.bytes += item.cost();
        state.items.push_back(item);
        drop(state);
        self.changed.notify_one();
    }

    /// Forgets all but publications: who asks while Redis is away shall know.
    pub(crate) fn give_up_questions(&self) {
        let mut state = self.state();
        let items = std::mem::take(&mut state.items);
        let is_kept = |item: &Item| matches!(item, Item::Publish(_));
        let (kept, given_up): (VecDeque<_>, VecDeque<_>) = items.into_iter().partition(is_kept);
        state.bytes = kept.iter().map(Item::cost).sum();
        state.items = kept;
        // Not under the lock: whoever waits for an answer is woken, and a waker is anybody's code.
        drop(state);
        drop(given_up);
    }

    /// Somebody has pushed, closed or [called](Self::wake) since the last time.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    pub(crate) fn wake(&self) {
        self.changed.notify_one();
    }

    /// Nothing is taken any more.
    pub(crate) fn close(&self) {
        self.state().closed = true;
        self.wake();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// How many bytes wait.
    pub(crate) fn bytes(&self) -> usize {
        self.state().bytes
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::Future as _,
        pin::pin,
        task::{Context, Wake, Waker},
    };

    use super::*;

    fn publication(len: usize) -> Item {
        Item::Publish(Publication::Publish {
            channel: "".into(),
            sharded: false,
            payload: vec![0; len],
        })
    }

    #[test]
    fn what_does_not_fit_is_given_back_and_what_leaves_makes_room() {
        let queue = Queue::new(1_000 + 2 * size_of::<Item>());
        assert!(queue.push(publication(500)).is_ok());
        assert!(queue.push(publication(501)).is_err());
        assert!(queue.push(publication(500)).is_ok());
        assert!(queue.push(publication(0)).is_err());
        assert_eq!(queue.take(1, 10).len(), 1, "at least one");
        assert!(queue.push(publication(500)).is_ok());
        assert_eq!(queue.take(usize::MAX, 10).len(), 2);
        assert_eq!(queue.bytes(), 0);
    }

    #[test]
    fn questions_are_given_up_and_publications_kept() {
        let queue = Queue::new(10_000);
        let (barrier, mut given_up) = oneshot::channel();
        assert!(queue.push(publication(1)).is_ok());
        assert!(queue.push(Item::Barrier(barrier)).is_ok());
        let (reply, mut count) = oneshot::channel();
        let (channel, sharded) = ("channel".into(), false);
        let item = Item::Count {
            channel,
            sharded,
            reply,
        };
        assert!(queue.push(item).is_ok());
        queue.give_up_questions();
        assert!(given_up.try_recv().is_err());
        assert!(count.try_recv().is_err());
        assert_eq!(queue.bytes(), 1 + size_of::<Item>());
        assert_eq!(queue.take(usize::MAX, 10).len(), 1);
    }

    #[test]
    fn whoever_hears_of_that_may_use_the_queue() {
        struct User(Arc<Queue>);

        impl Wake for User {
            fn wake(self: Arc<Self>) {
                assert!(self.0.state.try_lock().is_ok(), "it is locked");
            }
        }

        let queue = Arc::new(Queue::new(10_000));
        let waker = Waker::from(Arc::new(User(queue.clone())));
        let mut cx = Context::from_waker(&waker);
        let (barrier, written) = oneshot::channel();
        assert!(queue.push(Item::Barrier(barrier)).is_ok());
        let mut written = pin!(written);
        assert!(written.as_mut().poll(&mut cx).is_pending());
        queue.give_up_questions();
        assert!(written.poll(&mut cx).is_ready());
    }

    #[test]
    fn nothing_goes_into_a_closed_queue_but_what_is_there_comes_out() {
        let queue = Queue::new(10_000);
        assert!(queue.push(publication(1)).is_ok());
        queue.close();
        assert!(queue.push(publication(1)).is_err());
        assert_eq!(queue.take(usize::MAX, 10).len(), 1);
    }
}
