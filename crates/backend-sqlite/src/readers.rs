//! Reads: a few connections to one file, on the runtime's threads for blocking work, each within the deadline.
//!
//! Also where blocking work on plain files gets its permits and deadlines. Knows no table.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};

use hearth_ports::StoreError;
use rusqlite::Connection;
use tokio::sync::Semaphore;

use crate::database::connect;
use crate::failure::{closed, failed, lock, too_late};
use crate::writer::DEADLINE;

/// A few connections that read, opened when they are first needed.
#[derive(Clone)]
pub(crate) struct Readers {
    pool: Arc<Pool>,
}

struct Pool {
    path: PathBuf,
    cache_kib: u32,
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
}

impl Readers {
    pub(crate) fn new(path: PathBuf, cache_kib: u32, count: usize) -> Self {
        Self {
            pool: Arc::new(Pool {
                path,
                cache_kib,
                idle: Mutex::default(),
                permits: Arc::new(Semaphore::new(count)),
            }),
        }
    }

    /// Runs a read on a thread for blocking work, within the deadline. It sees all that was acked before.
    ///
    /// # Errors
    /// The read's own, or `Retryable`.
    pub(crate) async fn read<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
        T: Send + 'static,
    {
        let pool = Arc::clone(&self.pool);
        blocking(&self.pool.permits, move || {
            let idle = lock(&pool.idle).pop();
            let conn = match idle {
                Some(conn) => conn,
                None => pool.open().map_err(failed)?,
            };
            let result = work(&conn);
            // One that failed may be in any state: the next read opens a new one.
            if result.is_ok() && !pool.permits.is_closed() {
                lock(&pool.idle).push(conn);
            }
            result
        })
        .await
    }

    /// Later reads fail; those under way end by themselves.
    pub(crate) fn close(&self) {
        self.pool.permits.close();
        lock(&self.pool.idle).clear();
    }
}

impl Pool {
    fn open(&self) -> rusqlite::Result<Connection> {
        let conn = connect(&self.path, self.cache_kib)?;
        conn.pragma_update(None, "query_only", "ON")?;
        Ok(conn)
    }
}

/// Runs a blocking read when a permit is free, within the deadline. The work itself runs to its end.
///
/// # Errors
/// The work's own, or `Retryable`.
pub(crate) async fn blocking<T, F>(permits: &Arc<Semaphore>, work: F) -> Result<T, StoreError>
where
    F: FnOnce() -> Result<T, StoreError> + Send + 'static,
    T: Send + 'static,
{
    let permits = Arc::clone(permits);
    let asked = async move {
        let permit = permits.acquire_owned().await.map_err(|_| closed())?;
        tokio::task::spawn_blocking(move || {
            let result = work();
            drop(permit);
            result
        })
        .await
        .map_err(|error| StoreError::Retryable(Arc::new(error)))?
    };
    tokio::time::timeout(DEADLINE, asked)
        .await
        .map_err(|_| too_late())?
}

/// Runs a blocking write as [`blocking`] does; one that began and is not heard of in time is `Unknown`.
///
/// # Errors
/// The work's own, `Retryable` or `Unknown`.
pub(crate) async fn blocking_write<T, F>(permits: &Arc<Semaphore>, work: F) -> Result<T, StoreError>
where
    F: FnOnce() -> Result<T, StoreError> + Send + 'static,
    T: Send + 'static,
{
    let stage = Arc::new(AtomicU8::new(WAITING));
    let mark = Arc::clone(&stage);
    let result = blocking(permits, move || {
        // Who gave up was told that nothing was written, so nothing may be.
        if !enter(&mark, BEGUN) {
            return Err(too_late());
        }
        let result = work();
        if result.is_err() {
            mark.store(FAILED, Ordering::SeqCst);
        }
        result
    })
    .await;
    match result {
        Err(StoreError::Retryable(cause))
            if !enter(&stage, ABANDONED) && stage.load(Ordering::SeqCst) == BEGUN =>
        {
            Err(StoreError::Unknown(cause))
        }
        other => other,
    }
}

const WAITING: u8 = 0;
const BEGUN: u8 = 1;
/// It ended, and its own error says how; one that did what it should stays [`BEGUN`] for who gave up.
const FAILED: u8 = 2;
const ABANDONED: u8 = 3;

/// Leaves the first stage for another; only one side can.
fn enter(stage: &AtomicU8, next: u8) -> bool {
    stage
        .compare_exchange(WAITING, next, Ordering::SeqCst, Ordering::SeqCst)
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_was_given_up_before_it_began_never_begins() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .max_blocking_threads(1)
            .build()
            .unwrap();
        runtime.block_on(async {
            // The one thread is busy, so the write has its permit and waits.
            let (release, held) = std::sync::mpsc::channel::<()>();
            let busy = tokio::task::spawn_blocking(move || held.recv());
            let permits = Arc::new(Semaphore::new(1));
            let written = Arc::new(AtomicU8::new(0));
            let mark = Arc::clone(&written);
            let work = move || {
                mark.store(1, Ordering::SeqCst);
                Ok(())
            };
            let write = blocking_write(&permits, work);
            let later = async {
                tokio::task::yield_now().await;
                tokio::time::advance(DEADLINE * 2).await;
            };
            let (answer, ()) = tokio::join!(write, later);
            assert!(matches!(answer, Err(StoreError::Retryable(_))));
            drop(release);
            let _ = busy.await.unwrap();
            // It comes to its turn, and gives its permit back.
            let _permit = permits.acquire().await.unwrap();
            assert_eq!(written.load(Ordering::SeqCst), 0);
        });
    }
}
