//! Views: rows in Documents, folded from EVT and STATE, that can be dropped and rebuilt at any time.
//!
//! Each row is fed by one aggregate and put at the position of the message that made it, so a repeated or
//! late write changes nothing, and two writers cannot disagree. A rebuild fills a new version beside the
//! old one and then swaps.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use hearth_ports::{Document, Documents, Log, Message, Position, Range, StoreError, Stream, Table};
use tokio::sync::Mutex;

use crate::consumer::{Consume, ConsumeError};

const VERSIONS: Table = Table("engine_views");
/// The version that is read.
const CURRENT: &[u8] = b"current";
/// The last version that a rebuild began to fill.
const BEGUN: &[u8] = b"begun";
/// The value of [`BEGUN`] when all but the current version was last deleted.
const SWEPT: &[u8] = b"swept";
/// Messages per page of a rebuild, and partitions per page of a sweep.
const PAGE: usize = 512;

/// The fold of one view.
#[async_trait]
pub trait Projection: Send + Sync + 'static {
    /// The view's name and the table its rows lie in: `<service>_<plural>`.
    const TABLE: Table;

    /// The streams it is folded from: EVT of its own service, STATE of any. Never INT, which ends.
    fn sources(&self) -> Vec<Stream>;

    /// Puts and deletes the rows that a message makes so. May not read rows: it must give the same for the
    /// same messages of one aggregate in any interleaving with others.
    ///
    /// # Errors
    /// See [`ConsumeError`].
    async fn project(&self, message: &Message, rows: &Rows<'_>) -> Result<(), ConsumeError>;
}

/// The rows of one version of a view, written at one position.
pub struct Rows<'a> {
    documents: &'a dyn Documents,
    table: Table,
    version: u32,
    stamp: i64,
}

impl Rows<'_> {
    /// Puts a row.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn put(
        &self,
        partition: &[u8],
        key: &[u8],
        value: impl Into<Bytes> + Send,
    ) -> Result<(), StoreError> {
        let partition = versioned(self.version, partition);
        self.documents
            .put(self.table, &partition, key, self.stamp, value.into())
            .await
    }

    /// Deletes a row.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn delete(&self, partition: &[u8], key: &[u8]) -> Result<(), StoreError> {
        self.documents
            .delete(
                self.table,
                &versioned(self.version, partition),
                key,
                self.stamp,
            )
            .await
    }

    /// The rows of a range, as they were put: each with the stamp of the message that put it.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn range(&self, partition: &[u8], range: Range) -> Result<Vec<Document>, StoreError> {
        let partition = versioned(self.version, partition);
        self.documents.range(self.table, &partition, range).await
    }

    /// Deletes a whole partition.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn drop_partition(&self, partition: &[u8]) -> Result<(), StoreError> {
        let partition = versioned(self.version, partition);
        self.documents
            .drop_partition(self.table, &partition, self.stamp)
            .await
    }
}

fn versioned(version: u32, partition: &[u8]) -> Vec<u8> {
    let mut out = version.to_be_bytes().to_vec();
    out.extend_from_slice(partition);
    out
}

/// A view: its projection and its rows. Give it to a [`crate::Consumer`]; share it with readers.
pub struct View<P> {
    projection: P,
    log: Arc<dyn Log>,
    documents: Arc<dyn Documents>,
    version: AtomicU32,
    /// The version that a rebuild is filling; 0 when there is none.
    building: AtomicU32,
    /// Held for a whole rebuild: there is one at a time.
    rebuilding: Mutex<()>,
    /// Held while a message is projected, and while a rebuild swaps.
    writing: Mutex<()>,
}

impl<P: Projection> View<P> {
    /// Opens the view at the version that is current, and deletes what a rebuild that was cut off left behind:
    /// nobody reads it, and no eraser would find it.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn open(
        projection: P,
        log: Arc<dyn Log>,
        documents: Arc<dyn Documents>,
    ) -> Result<Arc<Self>, StoreError> {
        let view = Arc::new(Self {
            projection,
            log,
            documents,
            version: AtomicU32::new(0),
            building: AtomicU32::new(0),
            rebuilding: Mutex::new(()),
            writing: Mutex::new(()),
        });
        let version = view.noted(CURRENT).await?;
        view.version.store(version, Ordering::SeqCst);
        if view.noted(BEGUN).await? > view.noted(SWEPT).await? {
            view.sweep().await?;
        }
        Ok(view)
    }

    async fn noted(&self, what: &[u8]) -> Result<u32, StoreError> {
        let name = P::TABLE.0.as_bytes();
        let row = self.documents.get(VERSIONS, name, what).await?;
        let number = row.and_then(|row| row.value.as_ref().try_into().ok().map(u32::from_be_bytes));
        Ok(number.unwrap_or(0))
    }

    async fn note(&self, what: &[u8], version: u32) -> Result<(), StoreError> {
        let (name, value) = (P::TABLE.0.as_bytes(), version.to_be_bytes());
        let value = Bytes::copy_from_slice(&value);
        self.documents
            .put(VERSIONS, name, what, i64::from(version), value)
            .await
    }

    /// The version whose rows are read.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version.load(Ordering::SeqCst)
    }

    /// A row.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn get(&self, partition: &[u8], key: &[u8]) -> Result<Option<Document>, StoreError> {
        self.documents
            .get(P::TABLE, &versioned(self.version(), partition), key)
            .await
    }

    /// Rows of one partition.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn range(&self, partition: &[u8], range: Range) -> Result<Vec<Document>, StoreError> {
        self.documents
            .range(P::TABLE, &versioned(self.version(), partition), range)
            .await
    }

    /// Deletes a partition as of a position, also from what a rebuild is filling: for erasers.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn erase(&self, partition: &[u8], through: Position) -> Result<(), StoreError> {
        // In this order: a rebuild swaps before it says that it builds no more.
        let building = self.building.load(Ordering::SeqCst);
        let current = self.version();
        for version in [current, building] {
            let partition = versioned(version, partition);
            self.documents
                .drop_partition(P::TABLE, &partition, through.stamp())
                .await?;
        }
        Ok(())
    }

    /// Builds the next version from the log beside this one, swaps, and deletes the old rows.
    ///
    /// # Errors
    /// When a store fails or a message cannot be projected; then nothing has changed for readers.
    pub async fn rebuild(&self) -> Result<(), ConsumeError> {
        let _one = self.rebuilding.lock().await;
        // A number of its own, also after a rebuild that failed: what is swept away never comes back.
        let next = self.version().max(self.noted(BEGUN).await?) + 1;
        self.note(BEGUN, next).await?;
        self.building.store(next, Ordering::SeqCst);
        let filled = self.fill(next).await;
        self.building.store(0, Ordering::SeqCst);
        // The old version, or the one that could not be filled.
        let swept = self.sweep().await;
        filled?;
        Ok(swept?)
    }

    /// Fills a version and makes it the current one.
    async fn fill(&self, next: u32) -> Result<(), ConsumeError> {
        let mut through: Vec<(Stream, Position)> = self
            .projection
            .sources()
            .into_iter()
            .map(|s| (s, Position::START))
            .collect();
        self.catch_up(next, &mut through).await?;
        let _writing = self.writing.lock().await;
        self.catch_up(next, &mut through).await?;
        self.note(CURRENT, next).await?;
        self.version.store(next, Ordering::SeqCst);
        Ok(())
    }

    async fn catch_up(
        &self,
        version: u32,
        through: &mut [(Stream, Position)],
    ) -> Result<(), ConsumeError> {
        for (stream, position) in through {
            loop {
                let page = self.log.page(*stream, *position, PAGE).await?;
                for message in &page {
                    self.project(version, message).await?;
                }
                match page.last() {
                    Some(last) => *position = last.position,
                    None => break,
                }
            }
        }
        Ok(())
    }

    async fn project(&self, version: u32, message: &Message) -> Result<(), ConsumeError> {
        let stamp = message.position.stamp();
        let rows = Rows {
            documents: &*self.documents,
            table: P::TABLE,
            version,
            stamp,
        };
        self.projection.project(message, &rows).await
    }

    /// Deletes every row of every version but the current one, and notes that.
    async fn sweep(&self) -> Result<(), StoreError> {
        let begun = self.noted(BEGUN).await?;
        let current = self.version().to_be_bytes();
        let mut after = None;
        loop {
            let page = self.documents.partitions(P::TABLE, after, PAGE).await?;
            for partition in page.iter().filter(|p| !p.starts_with(&current)) {
                self.documents
                    .drop_partition(P::TABLE, partition, i64::MAX)
                    .await?;
            }
            if page.len() < PAGE {
                return self.note(SWEPT, begun).await;
            }
            after = page.last().cloned();
        }
    }
}

/// A row as a comparison sees it: partition without version, key, value.
pub type Row = (Vec<u8>, Vec<u8>, Bytes);

/// A view whose projection is not named: what operators and tests rebuild and compare.
#[async_trait]
pub trait Rebuild: Send + Sync + 'static {
    /// Its name.
    fn name(&self) -> &'static str;

    /// Builds it anew beside the old one, and swaps.
    ///
    /// # Errors
    /// See [`View::rebuild`].
    async fn rebuild(&self) -> Result<(), ConsumeError>;

    /// Every row of the current version, sorted. Slow.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn rows(&self) -> Result<Vec<Row>, StoreError>;
}

#[async_trait]
impl<P: Projection> Rebuild for View<P> {
    fn name(&self) -> &'static str {
        P::TABLE.0
    }

    async fn rebuild(&self) -> Result<(), ConsumeError> {
        Self::rebuild(self).await
    }

    async fn rows(&self) -> Result<Vec<Row>, StoreError> {
        let (current, mut rows, mut after) = (self.version().to_be_bytes(), Vec::new(), None);
        loop {
            let page = self.documents.partitions(P::TABLE, after, PAGE).await?;
            for partition in page.iter().filter(|p| p.starts_with(&current)) {
                self.partition_rows(partition, &mut rows).await?;
            }
            if page.len() < PAGE {
                rows.sort();
                return Ok(rows);
            }
            after = page.last().cloned();
        }
    }
}

impl<P: Projection> View<P> {
    async fn partition_rows(
        &self,
        partition: &[u8],
        rows: &mut Vec<Row>,
    ) -> Result<(), StoreError> {
        let mut range = Range::all(PAGE);
        loop {
            let page = self
                .documents
                .range(P::TABLE, partition, range.clone())
                .await?;
            let full = page.len() == PAGE;
            for document in page {
                // The smallest key after this one.
                range.from = Some([&document.key[..], &[0]].concat());
                rows.push((partition[4..].to_vec(), document.key, document.value));
            }
            if !full {
                return Ok(());
            }
        }
    }
}

#[async_trait]
impl<P: Projection> Consume for Arc<View<P>> {
    fn name(&self) -> String {
        format!("view.{}", P::TABLE.0)
    }

    fn sources(&self) -> Vec<Stream> {
        self.projection.sources()
    }

    async fn handle(&self, message: &Message) -> Result<(), ConsumeError> {
        let _writing = self.writing.lock().await;
        self.project(self.version(), message).await
    }
}
