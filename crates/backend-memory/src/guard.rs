//! One way to lock: a panic of a test in one task must not turn into a panic of every other.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks, also after a holder panicked: each critical section here leaves its data whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
