//! What several threads use, from one place: `crates/loom-models` builds the files that take it from here
//! with loom's.

pub(crate) use std::sync::{Mutex, MutexGuard, RwLock, atomic};
