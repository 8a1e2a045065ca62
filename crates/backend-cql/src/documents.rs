//! Documents on CQL: a row each, whose write timestamp is the document's stamp.
//!
//! The rules of the port are the store's own: the greatest timestamp wins, at equal ones a delete over a put and the
//! greater value over the lesser. So nothing is read before a write. Each service has a table of its own, that a role
//! can be granted: a document table `<service>_<plural>` lies in that service's, and one of the engine
//! (`engine_checkpoints`, ...) in that of the service whose process asks.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use hearth_kernel::Service;
use hearth_ports::{Document, Documents, Range, StoreError, Table};
use scylla::response::PagingState;
use scylla::statement::prepared::PreparedStatement;
use tokio::sync::OnceCell;

use crate::connection::Connection;
use crate::error::{CqlError, not_prepared};

const KEY_BYTES: usize = 1 << 10;
const VALUE_BYTES: usize = 1 << 20;
const RANGE_DOCUMENTS: usize = 10_000;
/// Rows of a page: a value is up to a MiB, and a page must stay far below what a frame may be.
const PAGE_ROWS: i32 = 100;
const PAGE_PARTITIONS: i32 = 1_000;

/// The statements on one service's table.
struct Statements {
    put: PreparedStatement,
    delete: PreparedStatement,
    drop: PreparedStatement,
    get: PreparedStatement,
    /// Ascending, then descending; each without and with an upper bound.
    ranges: [[PreparedStatement; 2]; 2],
    first_partitions: PreparedStatement,
    next_partitions: PreparedStatement,
}

impl Statements {
    async fn prepare(connection: &Connection, service: Service) -> Result<Self, CqlError> {
        let table = format!("{{ks}}.documents_{}", service.name());
        let one = "table_name = ? AND partition = ?";
        let select = "SELECT key, value, WRITETIME(value) FROM";
        let range = |bound: &str, order: &str| {
            format!("{select} {table} WHERE {one} AND key >= ?{bound} ORDER BY key {order} LIMIT ?")
        };
        let reading = |text: String| async move { connection.reading(&text, PAGE_ROWS).await };
        let listing =
            |text: String| async move { connection.reading(&text, PAGE_PARTITIONS).await };
        let writing = |text: String| async move { connection.writing(&text).await };
        Ok(Self {
            put: writing(format!(
                "INSERT INTO {table} (table_name, partition, key, value) VALUES (?, ?, ?, ?) USING TIMESTAMP ?"
            ))
            .await?,
            delete: writing(format!(
                "DELETE FROM {table} USING TIMESTAMP ? WHERE {one} AND key = ?"
            ))
            .await?,
            drop: writing(format!("DELETE FROM {table} USING TIMESTAMP ? WHERE {one}")).await?,
            get: reading(format!("{select} {table} WHERE {one} AND key = ?")).await?,
            ranges: [
                [
                    reading(range("", "ASC")).await?,
                    reading(range(" AND key < ?", "ASC")).await?,
                ],
                [
                    reading(range("", "DESC")).await?,
                    reading(range(" AND key < ?", "DESC")).await?,
                ],
            ],
            first_partitions: listing(format!(
                "SELECT DISTINCT table_name, partition FROM {table}"
            ))
            .await?,
            next_partitions: listing(format!(
                "SELECT DISTINCT table_name, partition FROM {table} \
                 WHERE token(table_name, partition) > token(?, ?)"
            ))
            .await?,
        })
    }
}

/// Documents on CQL, as one service sees them. Cheap to clone.
#[derive(Clone)]
pub struct CqlDocuments {
    connection: Arc<Connection>,
    service: Service,
    /// Of each service, prepared when first asked for: a role may be allowed its own only.
    statements: Arc<[OnceCell<Statements>; Service::ALL.len()]>,
}

impl fmt::Debug for CqlDocuments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CqlDocuments")
            .field("service", &self.service)
            .finish_non_exhaustive()
    }
}

impl CqlDocuments {
    pub(crate) async fn open(
        connection: Arc<Connection>,
        service: Service,
    ) -> Result<Self, CqlError> {
        let documents = Self {
            connection,
            service,
            statements: Arc::new(std::array::from_fn(|_| OnceCell::new())),
        };
        documents.of(service).await?;
        Ok(documents)
    }

    async fn of(&self, service: Service) -> Result<&Statements, CqlError> {
        let cell = Service::ALL
            .iter()
            .zip(self.statements.iter())
            .find(|(it, _)| **it == service)
            .map(|(_, cell)| cell)
            .ok_or(CqlError::Option("a service without a table"))?;
        cell.get_or_try_init(|| Statements::prepare(&self.connection, service))
            .await
    }

    /// The statements of the service that a table is named after, or else of this one.
    async fn statements(&self, table: Table) -> Result<&Statements, StoreError> {
        let service = owner(table).unwrap_or(self.service);
        self.of(service).await.map_err(not_prepared)
    }

    fn name(&self, table: Table) -> String {
        format!("{}{}", self.connection.space, table.0)
    }
}

/// The service that a document table is named after.
fn owner(table: Table) -> Option<Service> {
    let (prefix, _) = table.0.split_once('_')?;
    Service::ALL
        .into_iter()
        .find(|service| service.name() == prefix)
}

fn check_key(what: &str, key: &[u8]) -> Result<(), StoreError> {
    if key.len() > KEY_BYTES {
        return Err(StoreError::terminal(format!("{what} is longer than 1 KiB")));
    }
    Ok(())
}

/// Both stores take the least number for "no timestamp".
fn check_stamp(stamp: i64) -> Result<(), StoreError> {
    if stamp == i64::MIN {
        return Err(StoreError::terminal("the least stamp is not one"));
    }
    Ok(())
}

/// A page of documents: key, value, stamp. A value is never null: rows are written whole.
type Row = (Vec<u8>, Bytes, i64);

fn document((key, value, stamp): Row) -> Document {
    Document { key, stamp, value }
}

#[async_trait]
impl Documents for CqlDocuments {
    async fn put(
        &self,
        table: Table,
        partition: &[u8],
        key: &[u8],
        stamp: i64,
        value: Bytes,
    ) -> Result<(), StoreError> {
        check_key("the partition", partition)?;
        check_key("the key", key)?;
        check_stamp(stamp)?;
        if value.len() > VALUE_BYTES {
            return Err(StoreError::terminal("the value is larger than 1 MiB"));
        }
        let statements = self.statements(table).await?;
        let values = (self.name(table), partition, key, value, stamp);
        self.connection.write(&statements.put, values).await
    }

    async fn delete(
        &self,
        table: Table,
        partition: &[u8],
        key: &[u8],
        stamp: i64,
    ) -> Result<(), StoreError> {
        check_key("the partition", partition)?;
        check_key("the key", key)?;
        check_stamp(stamp)?;
        let statements = self.statements(table).await?;
        let values = (stamp, self.name(table), partition, key);
        self.connection.write(&statements.delete, values).await
    }

    async fn get(
        &self,
        table: Table,
        partition: &[u8],
        key: &[u8],
    ) -> Result<Option<Document>, StoreError> {
        check_key("the partition", partition)?;
        check_key("the key", key)?;
        let statements = self.statements(table).await?;
        let values = (self.name(table), partition, key);
        let rows: Vec<Row> = self.connection.rows(&statements.get, values).await?;
        Ok(rows.into_iter().next().map(document))
    }

    async fn range(
        &self,
        table: Table,
        partition: &[u8],
        range: Range,
    ) -> Result<Vec<Document>, StoreError> {
        check_key("the partition", partition)?;
        if !(1..=RANGE_DOCUMENTS).contains(&range.limit) {
            return Err(StoreError::terminal("a range has 1 to 10,000 documents"));
        }
        let from = range.from.unwrap_or_default();
        if range.until.as_ref().is_some_and(|until| *until <= from) {
            return Ok(Vec::new());
        }
        let limit = i32::try_from(range.limit)
            .map_err(|_| StoreError::terminal("a range has 1 to 10,000 documents"))?;
        let statements = self.statements(table).await?;
        let [open, bounded] = &statements.ranges[usize::from(range.descending)];
        let name = self.name(table);
        let rows: Vec<Row> = match range.until {
            None => {
                let values = (name, partition, from, limit);
                self.connection.rows(open, values).await?
            }
            Some(until) => {
                let values = (name, partition, from, until, limit);
                self.connection.rows(bounded, values).await?
            }
        };
        Ok(rows.into_iter().map(document).collect())
    }

    async fn drop_partition(
        &self,
        table: Table,
        partition: &[u8],
        stamp: i64,
    ) -> Result<(), StoreError> {
        check_key("the partition", partition)?;
        check_stamp(stamp)?;
        let statements = self.statements(table).await?;
        let values = (stamp, self.name(table), partition);
        self.connection.write(&statements.drop, values).await
    }

    /// Walks the ring. Of two partitions with one 64-bit token, a page that ends between them would skip the second:
    /// the chance is that of a collision of the hash.
    async fn partitions(
        &self,
        table: Table,
        after: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        let statements = self.statements(table).await?;
        let name = self.name(table);
        let mut found = Vec::new();
        let mut from = PagingState::start();
        while found.len() < limit {
            let (rows, next): (Vec<(String, Vec<u8>)>, _) = match &after {
                None => {
                    let pages = self.connection.page(&statements.first_partitions, (), from);
                    pages.await?
                }
                Some(after) => {
                    let values = (&name, after);
                    let pages = self
                        .connection
                        .page(&statements.next_partitions, values, from);
                    pages.await?
                }
            };
            // The service's other document tables lie between.
            let own = rows.into_iter().filter(|(table, _)| *table == name);
            found.extend(own.map(|(_, partition)| partition));
            match next {
                Some(next) => from = next,
                None => break,
            }
        }
        found.truncate(limit);
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_belongs_to_the_service_it_is_named_after() {
        assert_eq!(owner(Table("ingest_seen")), Some(Service::Ingest));
        assert_eq!(owner(Table("accounts_homes")), Some(Service::Accounts));
        for engines in ["engine_checkpoints", "ingestion_things", "ingest", "_x"] {
            assert_eq!(owner(Table(engines)), None, "{engines}");
        }
    }
}
