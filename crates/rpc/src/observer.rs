//! What the stack tells about the calls it served: the host makes metrics of it.

use std::time::Duration;

use tonic::Code;

/// Hears of every call. `method` is a path of the table, so there are only so many.
pub trait Observer: Send + Sync + 'static {
    /// A call began.
    fn started(&self, method: &'static str);

    /// A call ended: with that code, after that long. A stream that its client left ends as CANCELLED.
    fn finished(&self, method: &'static str, code: Code, took: Duration);

    /// A handler panicked.
    fn panicked(&self, method: &'static str);
}

/// Nobody listens.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn started(&self, _: &'static str) {}
    fn finished(&self, _: &'static str, _: Code, _: Duration) {}
    fn panicked(&self, _: &'static str) {}
}
