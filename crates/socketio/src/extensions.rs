//! What applications keep with a socket.

use std::{
    fmt,
    sync::{Arc, PoisonError, RwLock, RwLockWriteGuard},
};

/// Values of any type, one of each, that belong to a [`Socket`](crate::Socket). One that is never
/// asked for them holds no memory for them.
///
/// ```
/// #[derive(Clone)]
/// struct UserName(String);
///
/// fn greet(socket: &socketio::Socket) {
///     socket.extensions().insert(UserName("ann".into()));
///     let name = socket.extensions().get::<UserName>();
/// }
/// ```
///
/// Each value stands behind a reference count: to clone it is the application's code, and no lock is
/// held meanwhile.
#[derive(Default)]
pub struct Extensions(RwLock<http::Extensions>);

impl Extensions {
    /// Adds a value, and returns the one of this type that was there.
    pub fn insert<T: Clone + Send + Sync + 'static>(&self, value: T) -> Option<T> {
        let before = self.values().insert(Arc::new(value));
        before.map(Arc::unwrap_or_clone)
    }

    /// A clone of the value of this type.
    pub fn get<T: Clone + Send + Sync + 'static>(&self) -> Option<T> {
        let values = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let value = values.get::<Arc<T>>().cloned();
        drop(values);
        value.map(Arc::unwrap_or_clone)
    }

    /// Takes the value of this type out.
    pub fn remove<T: Clone + Send + Sync + 'static>(&self) -> Option<T> {
        let value = self.values().remove::<Arc<T>>();
        value.map(Arc::unwrap_or_clone)
    }

    fn values(&self) -> RwLockWriteGuard<'_, http::Extensions> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Extensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Extensions").finish_non_exhaustive()
    }
}
