//! Leases on SQLite: rows of `documents.db`, so that the fence outlives the process.
//!
//! A lease outlives the store that granted it, as on a cluster. Only who knows that every holder is gone, because it
//! has locked the data folder, may end them all.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hearth_kernel::Timestamp;
use hearth_ports::{Clock, Lease, Leases, StoreError};
use rusqlite::{Connection, OptionalExtension};

use crate::documents::SqliteDocuments;
use crate::failure::{count, failed, int};

/// Leases on SQLite.
#[derive(Clone, Debug)]
pub struct SqliteLeases {
    documents: SqliteDocuments,
    clock: Arc<dyn Clock>,
}

struct Row {
    holder: String,
    fence: i64,
    expires: i64,
}

impl SqliteLeases {
    /// The leases in the file of these documents.
    #[must_use]
    pub fn new(documents: &SqliteDocuments, clock: Arc<dyn Clock>) -> Self {
        Self {
            documents: documents.clone(),
            clock,
        }
    }

    /// Ends every lease; their fences stay. For who knows that no holder lives: the process that has just
    /// locked the data folder. So a restart waits for nobody.
    ///
    /// # Errors
    /// `Retryable` or `Unknown`, as every write.
    pub async fn end_all(&self) -> Result<(), StoreError> {
        self.documents
            .write(0, |conn| {
                conn.execute("UPDATE leases SET expires = 0 WHERE expires > 0", [])
                    .map(|_| ())
                    .map_err(failed)
            })
            .await
    }
}

fn row(conn: &Connection, name: &str) -> Result<Option<Row>, StoreError> {
    conn.prepare_cached("SELECT holder, fence, expires FROM leases WHERE name = ?1")
        .and_then(|mut statement| {
            statement
                .query_row([name], |row| {
                    Ok(Row {
                        holder: row.get(0)?,
                        fence: row.get(1)?,
                        expires: row.get(2)?,
                    })
                })
                .optional()
        })
        .map_err(failed)
}

fn put(conn: &Connection, name: &str, row: &Row) -> Result<(), StoreError> {
    conn.prepare_cached(
        "INSERT INTO leases(name, holder, fence, expires) VALUES (?1, ?2, ?3, ?4) \
         ON CONFLICT(name) DO UPDATE SET holder = excluded.holder, fence = excluded.fence, \
         expires = excluded.expires",
    )
    .and_then(|mut statement| statement.execute((name, &row.holder, row.fence, row.expires)))
    .map(|_| ())
    .map_err(failed)
}

impl Row {
    fn is_held_by(&self, lease: &Lease, holder: &str, now: Timestamp) -> bool {
        self.holder == holder && self.fence == int(lease.fence) && self.expires > now.micros()
    }
}

#[async_trait]
impl Leases for SqliteLeases {
    async fn acquire(
        &self,
        name: &str,
        holder: &str,
        period: Duration,
    ) -> Result<Lease, StoreError> {
        let (name, holder, clock) = (name.to_owned(), holder.to_owned(), Arc::clone(&self.clock));
        self.documents
            .write(0, move |conn| {
                let now = clock.now();
                let before = row(conn, &name)?;
                if let Some(before) = &before
                    && before.expires > now.micros()
                    && before.holder != holder
                {
                    return Err(StoreError::Conflict);
                }
                let expires = now.plus(period);
                let taken = Row {
                    holder,
                    fence: before.map_or(0, |before| before.fence) + 1,
                    expires: expires.micros(),
                };
                put(conn, &name, &taken)?;
                Ok(Lease {
                    name,
                    fence: count(taken.fence),
                    expires,
                })
            })
            .await
    }

    async fn renew(
        &self,
        lease: &Lease,
        holder: &str,
        period: Duration,
    ) -> Result<Lease, StoreError> {
        let (lease, holder, clock) = (lease.clone(), holder.to_owned(), Arc::clone(&self.clock));
        self.documents
            .write(0, move |conn| {
                let now = clock.now();
                let mut held = row(conn, &lease.name)?
                    .filter(|row| row.is_held_by(&lease, &holder, now))
                    .ok_or(StoreError::Conflict)?;
                let expires = now.plus(period);
                held.expires = expires.micros();
                put(conn, &lease.name, &held)?;
                Ok(Lease { expires, ..lease })
            })
            .await
    }

    async fn release(&self, lease: &Lease, holder: &str) -> Result<(), StoreError> {
        let (lease, holder, clock) = (lease.clone(), holder.to_owned(), Arc::clone(&self.clock));
        let released = self
            .documents
            .write(0, move |conn| {
                let now = clock.now();
                if let Some(mut held) = row(conn, &lease.name)?
                    && held.is_held_by(&lease, &holder, now)
                {
                    held.expires = now.micros();
                    put(conn, &lease.name, &held)?;
                }
                Ok(())
            })
            .await;
        match released {
            // Giving up twice is harmless, so the caller need not tell the two apart.
            Err(StoreError::Unknown(cause)) => Err(StoreError::Retryable(cause)),
            other => other,
        }
    }
}
