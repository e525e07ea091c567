//! The models.

mod mailbox;
mod relay;
mod sessions;
mod signal;
mod tables;

/// Looks at a model in all orders in which no thread is interrupted more often than three times, or as
/// often as `LOOM_MAX_PREEMPTIONS` says.
fn check(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound.get_or_insert(3);
    builder.check(model);
}
