//! Reads: a few connections to one file, on the runtime's threads for blocking work, each within the deadline.
//!
//! Also where blocking work on plain files gets its permits and deadlines. Knows no table.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
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
    let under_way = Arc::new(AtomicBool::new(false));
    let mark = Arc::clone(&under_way);
    let result = blocking(permits, move || {
        mark.store(true, Ordering::SeqCst);
        let result = work();
        mark.store(false, Ordering::SeqCst);
        result
    })
    .await;
    match result {
        Err(StoreError::Retryable(cause)) if under_way.load(Ordering::SeqCst) => {
            Err(StoreError::Unknown(cause))
        }
        other => other,
    }
}
