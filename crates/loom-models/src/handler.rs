//! How hooks of the application are called. None of those in models panics.

pub(crate) fn guarded<R>(call: impl FnOnce() -> R) -> Result<R, ()> {
    Ok(call())
}
