//! What applications keep with a socket.

use std::{
    fmt,
    sync::{PoisonError, RwLock},
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
#[derive(Default)]
pub struct Extensions(RwLock<http::Extensions>);

impl Extensions {
    /// Adds a value, and returns the one of this type that was there.
    pub fn insert<T: Clone + Send + Sync + 'static>(&self, value: T) -> Option<T> {
        let mut values = self.0.write().unwrap_or_else(PoisonError::into_inner);
        values.insert(value)
    }

    /// A clone of the value of this type.
    pub fn get<T: Clone + Send + Sync + 'static>(&self) -> Option<T> {
        let values = self.0.read().unwrap_or_else(PoisonError::into_inner);
        values.get().cloned()
    }

    /// Takes the value of this type out.
    pub fn remove<T: Clone + Send + Sync + 'static>(&self) -> Option<T> {
        let mut values = self.0.write().unwrap_or_else(PoisonError::into_inner);
        values.remove()
    }
}

impl fmt::Debug for Extensions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Extensions").finish_non_exhaustive()
    }
}
