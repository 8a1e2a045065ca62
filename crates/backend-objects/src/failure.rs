//! Which of the five classes of [`StoreError`] a failed request is.

use std::error::Error;
use std::sync::Arc;

use hearth_ports::StoreError;
use hearth_ports::error::Cause;
use object_store::client::{HttpError, HttpErrorKind};

use crate::wire::Refusal;

/// What is known about a request that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// A clear answer.
    Refused(Refusal),
    /// It never left: there was no connection.
    NotSent,
    /// It may have arrived.
    Lost,
}

impl Fate {
    pub(crate) fn of(error: &(dyn Error + 'static)) -> Self {
        let mut next = Some(error);
        let mut fate = Self::Lost;
        while let Some(error) = next {
            if let Some(refusal) = error.downcast_ref::<Refusal>() {
                return Self::Refused(refusal.clone());
            }
            if let Some(http) = error.downcast_ref::<HttpError>()
                && http.kind() == HttpErrorKind::Connect
            {
                fate = Self::NotSent;
            }
            next = error.source();
        }
        fate
    }
}

/// The class of a failed creation, which alone can be `Unknown`.
pub(crate) fn creation(error: object_store::Error) -> StoreError {
    let fate = Fate::of(&error);
    let cause: Cause = Arc::new(error);
    match fate {
        Fate::NotSent => StoreError::Retryable(cause),
        Fate::Lost => StoreError::Unknown(cause),
        Fate::Refused(refusal) => match (refusal.status, refusal.code.as_str()) {
            (412 | 304, _) => StoreError::Conflict,
            // Told that it was turned away, not that it failed on the way.
            (429, _) | (503, "SlowDown") => StoreError::Retryable(cause),
            (500.., code) if code != "NotImplemented" => StoreError::Unknown(cause),
            // 409 among them: another request on the same key was under way, and neither need have won.
            (status, code) => lasting_or_not(status, code, cause),
        },
    }
}

/// The class of a failed request that may be repeated: it wrote nothing, or the same again.
pub(crate) fn repeatable(error: object_store::Error) -> StoreError {
    let fate = Fate::of(&error);
    let cause: Cause = Arc::new(error);
    match fate {
        Fate::NotSent | Fate::Lost => StoreError::Retryable(cause),
        Fate::Refused(refusal) => match (refusal.status, refusal.code.as_str()) {
            // An object that is not there, unless it is the bucket.
            (404, code) if code != "NoSuchBucket" => StoreError::NotFound,
            (500.., code) if code != "NotImplemented" => StoreError::Retryable(cause),
            (status, code) => lasting_or_not(status, code, cause),
        },
    }
}

/// Whether an answer is the store's range error: the object ends before the range begins.
pub(crate) fn is_beyond_the_end(error: &object_store::Error) -> bool {
    matches!(Fate::of(error), Fate::Refused(refusal) if refusal.status == 416)
}

/// What is refused for good. Much that looks so is not: a 400 can be a slow body or an expired token, a 403 a wrong
/// clock or a key that is just being changed, a 404 a bucket that comes back.
fn lasting_or_not(status: u16, code: &str, cause: Cause) -> StoreError {
    let lasting = matches!(status, 300..=399 | 405 | 413 | 414 | 501)
        || matches!(
            code,
            "EntityTooLarge" | "KeyTooLongError" | "NotImplemented" | "InvalidObjectName"
        );
    if lasting {
        StoreError::Terminal(cause)
    } else {
        StoreError::Retryable(cause)
    }
}
