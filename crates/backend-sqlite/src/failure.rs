//! How failures of SQLite and of files become the five classes of [`StoreError`].
//!
//! The mapping here is for calls that certainly wrote nothing: reads, and statements inside a transaction
//! that is not committed. What a failed COMMIT means is the writer's to say: `Unknown`.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use hearth_ports::StoreError;
use rusqlite::ErrorCode;

/// The class of a failed statement, after which nothing was written.
pub(crate) fn failed(error: rusqlite::Error) -> StoreError {
    let lasting = matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::TooBig
                | ErrorCode::ConstraintViolation
                | ErrorCode::TypeMismatch
                | ErrorCode::ApiMisuse
                | ErrorCode::DatabaseCorrupt
                | ErrorCode::NotADatabase
        )
    ) || matches!(
        error,
        rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::InvalidColumnType(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
    );
    let cause: hearth_ports::error::Cause = Arc::new(error);
    if lasting {
        StoreError::Terminal(cause)
    } else {
        StoreError::Retryable(cause)
    }
}

/// The class of a failed file operation, after which nothing was written (or writing again is harmless).
pub(crate) fn io_failed(error: std::io::Error) -> StoreError {
    if error.kind() == std::io::ErrorKind::NotFound {
        return StoreError::NotFound;
    }
    StoreError::Retryable(Arc::new(error))
}

/// The store was closed under the caller.
pub(crate) fn closed() -> StoreError {
    StoreError::retryable("the store is closed")
}

/// A call took longer than its deadline, and nothing was written.
pub(crate) fn too_late() -> StoreError {
    StoreError::retryable("the store did not answer within its deadline")
}

/// A count or sequence as SQLite stores integers. Nothing here counts beyond 2^63.
pub(crate) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A limit as SQLite takes it.
pub(crate) fn limit(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// An integer column that holds a count or sequence.
pub(crate) fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// Locks. What a panicking holder left is whole: every critical section here replaces values, never half of one.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Locks for reading, as [`lock`] does.
pub(crate) fn read_lock<T>(mutex: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    mutex.read().unwrap_or_else(PoisonError::into_inner)
}

/// Locks for writing, as [`lock`] does.
pub(crate) fn write_lock<T>(mutex: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    mutex.write().unwrap_or_else(PoisonError::into_inner)
}
