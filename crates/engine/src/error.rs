//! What a command can fail with, and how that looks to a client.

use std::time::Duration;

use hearth_kernel::{Failure, Reason};
use hearth_ports::{SealError, StoreError};

use crate::aggregate::CodecError;

/// How long a client waits before it tries again when a store is away.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why a command did not lead to an outcome.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ExecuteError {
    /// The decision, or the use case, says no.
    #[error("refused")]
    Refused(#[source] Failure),
    /// The log failed.
    #[error("the log failed")]
    Store(#[from] StoreError),
    /// A part could not be sealed.
    #[error("sealing failed")]
    Seal(#[from] SealError),
    /// What is stored cannot be understood: the aggregate is parked until a release that can.
    #[error("stored commits cannot be read")]
    Codec(#[from] CodecError),
    /// A rule of the aggregate or of the chain is broken in what is stored or was decided.
    #[error("invariant broken: {0}")]
    Broken(&'static str),
}

impl From<Failure> for ExecuteError {
    fn from(failure: Failure) -> Self {
        Self::Refused(failure)
    }
}

impl From<ExecuteError> for Failure {
    fn from(error: ExecuteError) -> Self {
        match error {
            ExecuteError::Refused(failure) => failure,
            ExecuteError::Store(error) => store_failure(&error),
            ExecuteError::Seal(SealError::Fenced | SealError::Expired) => Self::new(Reason::ERASED),
            ExecuteError::Seal(SealError::Unavailable) => {
                Self::new(Reason::TEMPORARILY_UNAVAILABLE).retry_after(RETRY_AFTER)
            }
            ExecuteError::Seal(SealError::Corrupt) | ExecuteError::Codec(_) => {
                Self::new(Reason::DATA_CORRUPT)
            }
            ExecuteError::Seal(SealError::Denied) | ExecuteError::Broken(_) => {
                Self::new(Reason::INTERNAL)
            }
        }
    }
}

/// How a store's failure looks to a client: its class, and nothing of its text.
#[must_use]
pub fn store_failure(error: &StoreError) -> Failure {
    match error {
        StoreError::Conflict => Failure::new(Reason::TOO_MANY_CONFLICTS).retry_after(RETRY_AFTER),
        StoreError::NotFound => Failure::new(Reason::NOT_FOUND),
        StoreError::Retryable(_) => {
            Failure::new(Reason::TEMPORARILY_UNAVAILABLE).retry_after(RETRY_AFTER)
        }
        StoreError::Terminal(_) => Failure::new(Reason::INTERNAL),
        StoreError::Unknown(_) => Failure::new(Reason::WRITE_OUTCOME_UNKNOWN),
    }
}
