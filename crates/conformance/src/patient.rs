//! `Patient<T>`: a caller that follows the protocol, in the shape of the port itself.
//!
//! It repeats what was not written, reads to find out what became of an unknown append, and begins a cut
//! tail again where it ended. Through it every suite must pass on a [`crate::Faulty`] store: that is the
//! proof that the five classes of [`StoreError`] are enough to lose nothing and double nothing.

mod log;
mod stores;
mod worlds;

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use hearth_ports::StoreError;

/// Tries of one call before it is given up: faults come at random, so the bound is far above any run of them.
const TRIES: usize = 1000;

/// A store whose failures are dealt with as the port's documentation says.
pub struct Patient<T: ?Sized> {
    inner: Arc<T>,
}

impl<T: ?Sized> Patient<T> {
    /// That store, asked patiently.
    #[must_use]
    pub const fn new(inner: Arc<T>) -> Self {
        Self { inner }
    }
}

impl<T: ?Sized> fmt::Debug for Patient<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Patient")
    }
}

/// Repeats a call that may be repeated until its outcome is known.
async fn again<R, Fut>(mut call: impl FnMut() -> Fut) -> Result<R, StoreError>
where
    Fut: Future<Output = Result<R, StoreError>>,
{
    for _ in 0..TRIES {
        match call().await {
            Err(StoreError::Retryable(_) | StoreError::Unknown(_)) => {
                tokio::task::yield_now().await;
            }
            known => return known,
        }
    }
    Err(exhausted())
}

fn exhausted() -> StoreError {
    StoreError::terminal("patience is over")
}
