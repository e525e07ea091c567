//! Loom's, and what stands for what it has not.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

pub(crate) use dashmap::{DashMap, Entry, RefMulti};
pub(crate) use loom::sync::{Mutex, MutexGuard, RwLock};

/// Loom takes `SeqCst` for `AcqRel`, so what needs the one order of all such accesses would fail without
/// a reason. A fence on both sides, which loom knows, gives them that order.
pub(crate) mod atomic {
    use loom::sync::atomic as loom;
    pub(crate) use loom::{AtomicU32, AtomicU64, Ordering};

    fn fenced<R>(order: Ordering, access: impl FnOnce() -> R) -> R {
        let fence = || {
            if order == Ordering::SeqCst {
                loom::fence(order);
            }
        };
        fence();
        let result = access();
        fence();
        result
    }

    #[derive(Debug, Default)]
    pub(crate) struct AtomicBool(loom::AtomicBool);

    impl AtomicBool {
        pub(crate) fn new(value: bool) -> Self {
            Self(loom::AtomicBool::new(value))
        }

        pub(crate) fn load(&self, order: Ordering) -> bool {
            fenced(order, || self.0.load(order))
        }

        pub(crate) fn store(&self, value: bool, order: Ordering) {
            fenced(order, || self.0.store(value, order));
        }

        pub(crate) fn swap(&self, value: bool, order: Ordering) -> bool {
            fenced(order, || self.0.swap(value, order))
        }
    }

    #[derive(Debug, Default)]
    pub(crate) struct AtomicUsize(loom::AtomicUsize);

    impl AtomicUsize {
        pub(crate) fn new(value: usize) -> Self {
            Self(loom::AtomicUsize::new(value))
        }

        pub(crate) fn load(&self, order: Ordering) -> usize {
            fenced(order, || self.0.load(order))
        }

        pub(crate) fn fetch_add(&self, value: usize, order: Ordering) -> usize {
            fenced(order, || self.0.fetch_add(value, order))
        }

        pub(crate) fn fetch_sub(&self, value: usize, order: Ordering) -> usize {
            fenced(order, || self.0.fetch_sub(value, order))
        }
    }
}

/// As tokio's: whoever has begun to wait, by making the future, is told by the next call.
#[derive(Debug, Default)]
pub(crate) struct Notify(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    calls: usize,
    wakers: Vec<Waker>,
}

pub(crate) struct Notified<N: AsRef<Notify>> {
    notify: N,
    calls: usize,
}

pub(crate) type OwnedNotified = Notified<Arc<Notify>>;

impl Notify {
    pub(crate) fn notify_waiters(&self) {
        let mut waiting = self.0.lock().unwrap();
        waiting.calls += 1;
        let wakers = std::mem::take(&mut waiting.wakers);
        drop(waiting);
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn notified(&self) -> Notified<&Self> {
        let calls = self.0.lock().unwrap().calls;
        Notified {
            notify: self,
            calls,
        }
    }

    pub(crate) fn notified_owned(self: Arc<Self>) -> OwnedNotified {
        let calls = self.0.lock().unwrap().calls;
        Notified {
            notify: self,
            calls,
        }
    }
}

impl AsRef<Notify> for Notify {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl<N: AsRef<Notify>> Notified<N> {
    pub(crate) fn enable(self: Pin<&mut Self>) -> bool {
        false
    }
}

impl<N: AsRef<Notify> + Unpin> Future for Notified<N> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut waiting = self.notify.as_ref().0.lock().unwrap();
        if waiting.calls != self.calls {
            return Poll::Ready(());
        }
        waiting.wakers.push(cx.waker().clone());
        Poll::Pending
    }
}

impl<N: AsRef<Notify>> std::fmt::Debug for Notified<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Notified")
    }
}

/// A table with one lock.
mod dashmap {
    use std::{borrow::Borrow, collections::HashMap, hash::Hash, marker::PhantomData};

    use super::{Mutex, MutexGuard};

    #[derive(Debug)]
    pub(crate) struct DashMap<K, V>(Mutex<HashMap<K, V>>);

    pub(crate) struct RefMulti<'a, K, V>(V, PhantomData<&'a K>);

    impl<K, V> RefMulti<'_, K, V> {
        pub(crate) fn value(&self) -> &V {
            &self.0
        }
    }

    pub(crate) enum Entry<'a, K, V> {
        Occupied(MutexGuard<'a, HashMap<K, V>>),
        Vacant(Vacant<'a, K, V>),
    }

    pub(crate) struct Vacant<'a, K, V>(K, MutexGuard<'a, HashMap<K, V>>);

    impl<K: Eq + Hash, V> Vacant<'_, K, V> {
        pub(crate) fn insert(mut self, value: V) {
            self.1.insert(self.0, value);
        }
    }

    impl<K: Eq + Hash + Clone, V: Clone> DashMap<K, V> {
        pub(crate) fn entry(&self, key: K) -> Entry<'_, K, V> {
            let table = self.0.lock().unwrap();
            match table.contains_key(&key) {
                true => Entry::Occupied(table),
                false => Entry::Vacant(Vacant(key, table)),
            }
        }

        pub(crate) fn get<Q>(&self, key: &Q) -> Option<RefMulti<'_, K, V>>
        where
            K: Borrow<Q>,
            Q: Eq + Hash + ?Sized,
        {
            let value = self.0.lock().unwrap().get(key).cloned();
            value.map(|value| RefMulti(value, PhantomData))
        }

        pub(crate) fn remove_if_mut<Q>(
            &self,
            key: &Q,
            is_it: impl FnOnce(&K, &mut V) -> bool,
        ) -> Option<(K, V)>
        where
            K: Borrow<Q>,
            Q: Eq + Hash + ?Sized,
        {
            let mut table = self.0.lock().unwrap();
            let (found, mut value) = table.remove_entry(key)?;
            if is_it(&found, &mut value) {
                return Some((found, value));
            }
            table.insert(found, value);
            None
        }

        pub(crate) fn iter(&self) -> impl Iterator<Item = RefMulti<'_, K, V>> {
            let all: Vec<V> = self.0.lock().unwrap().values().cloned().collect();
            all.into_iter().map(|it| RefMulti(it, PhantomData))
        }

        pub(crate) fn capacity(&self) -> usize {
            0
        }

        pub(crate) fn shrink_to_fit(&self) {}
    }

    impl<K, V> Default for DashMap<K, V> {
        fn default() -> Self {
            Self(Mutex::new(HashMap::new()))
        }
    }
}
