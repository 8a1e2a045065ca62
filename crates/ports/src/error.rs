//! What can go wrong with a store, in the five classes that callers must tell apart.

use std::sync::Arc;

/// The cause inside a backend: for logs only, never for clients.
pub type Cause = Arc<dyn std::error::Error + Send + Sync>;

/// A failure of a store. The classes decide what the caller may do next; they never share a variant.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// Somebody else wrote first; nothing was written. Read again, decide again.
    #[error("the expected position is not the current one")]
    Conflict,
    /// What was named is not there.
    #[error("not found")]
    NotFound,
    /// Nothing was written; the same call may work later.
    #[error("the store is unavailable for now")]
    Retryable(#[source] Cause),
    /// Nothing was written, and the same call never works.
    #[error("the store refuses this")]
    Terminal(#[source] Cause),
    /// The write may have happened. Read to find out.
    #[error("the outcome of the write is unknown")]
    Unknown(#[source] Cause),
}

/// A cause that is only a sentence.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Sentence(String);

impl StoreError {
    /// Retryable, because of this.
    pub fn retryable(why: impl Into<String>) -> Self {
        Self::Retryable(Arc::new(Sentence(why.into())))
    }

    /// Terminal, because of this.
    pub fn terminal(why: impl Into<String>) -> Self {
        Self::Terminal(Arc::new(Sentence(why.into())))
    }

    /// Unknown, because of this.
    pub fn unknown(why: impl Into<String>) -> Self {
        Self::Unknown(Arc::new(Sentence(why.into())))
    }

    /// Whether the write certainly did not happen.
    #[must_use]
    pub const fn nothing_written(&self) -> bool {
        !matches!(self, Self::Unknown(_))
    }
}
