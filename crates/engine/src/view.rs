//! Views: rows in Documents, folded from EVT and STATE, that can be dropped and rebuilt at any time.
//!
//! Each row is fed by one aggregate and put at the position of the message that made it, so a repeated or
//! late write changes nothing, and two writers cannot disagree: rows need no fence. A rebuild fills a new version
//! beside the old one and then swaps.
//!
//! The swap does need one. Only the process that holds the view's lease rebuilds and writes, and the current version
//! is noted under its fence. A new holder first writes its fence, then reads the current version and notes it again
//! as its own; a rebuild first notes the new version, then reads whose fence stands. So of a swap that crosses a
//! change of holders either the new holder sees it, or the former one sees that it is overtaken: its note loses to the
//! new holder's, and it deletes nothing. Readers, in whatever process, look which version is current after they have
//! read: rows that are being deleted are never taken for rows that are not there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hearth_ports::{Document, Documents, Log, Message, Position, Range, StoreError, Stream, Table};
use tokio::sync::{Mutex, watch};

use crate::consumer::{Consume, ConsumeError};
use crate::holding::{Held, fence_of};

const VERSIONS: Table = Table("engine_views");
/// The version that is read, under the fence of who made it so.
const CURRENT: &[u8] = b"current";
/// The last version that a rebuild began to fill.
const BEGUN: &[u8] = b"begun";
/// The value of [`BEGUN`] when all but the current version was last deleted.
const SWEPT: &[u8] = b"swept";
/// The fence of the holder.
const HOLDER: &[u8] = b"holder";
/// Versions that may have rows still when somebody is erased: the current one, and what rebuilds before and after it left.
const LEFTOVERS: u32 = 4;
/// How often a read is begun again because the version was swapped meanwhile.
const SWAPS: usize = 8;
/// How long a rebuild waits for the lease.
const LEASE_WITHIN: Duration = Duration::from_secs(10);
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

fn swapping() -> StoreError {
    StoreError::retryable("the view is swapped again and again")
}

fn versioned(version: u32, partition: &[u8]) -> Vec<u8> {
    let mut out = version.to_be_bytes().to_vec();
    out.extend_from_slice(partition);
    out
}

/// Another process holds the view's lease: it is the one to rebuild it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("another process holds the view")]
pub struct HeldElsewhere;

impl From<HeldElsewhere> for ConsumeError {
    fn from(error: HeldElsewhere) -> Self {
        Self::Retry(Arc::new(error))
    }
}

/// What this process is to a view.
#[derive(Clone, Debug)]
enum Role {
    /// Nobody follows for it here, and nobody anywhere: a tool or a test.
    Alone,
    /// It waits for the lease.
    StandsBy,
    /// It held the lease when this was noted.
    Holds(Held),
}

impl Role {
    fn held(&self) -> Option<Held> {
        match self {
            Self::Holds(held) => Some(held.clone()),
            Self::Alone | Self::StandsBy => None,
        }
    }
}

/// A view: its projection and its rows. Give it to a [`crate::Consumer`]; share it with readers.
pub struct View<P> {
    projection: P,
    log: Arc<dyn Log>,
    documents: Arc<dyn Documents>,
    /// The version that was read last.
    version: AtomicU32,
    /// The version that is written to.
    writes_to: AtomicU32,
    /// A swap was cut off: which version is written to must be found out first.
    unsettled: AtomicBool,
    /// How often the current version was noted under this lease.
    notes: AtomicU64,
    role: watch::Sender<Role>,
    /// Held for a whole rebuild: there is one at a time.
    rebuilding: Mutex<()>,
    /// Held while a message is projected, and while a rebuild swaps.
    writing: Mutex<()>,
}

impl<P: Projection> View<P> {
    /// Opens the view at the version that is current.
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
            writes_to: AtomicU32::new(0),
            unsettled: AtomicBool::new(false),
            notes: AtomicU64::new(0),
            role: watch::Sender::new(Role::Alone),
            rebuilding: Mutex::new(()),
            writing: Mutex::new(()),
        });
        let version = view.look_at_version().await?;
        view.writes_to.store(version, Ordering::SeqCst);
        Ok(view)
    }

    /// Takes over which version is current. Answers it.
    async fn look_at_version(&self) -> Result<u32, StoreError> {
        let version = self.noted(CURRENT).await?;
        self.version.store(version, Ordering::SeqCst);
        Ok(version)
    }

    /// Makes the view this holder's: nothing that a former one has under way changes which version is current. Deletes
    /// what a rebuild that was cut off left behind.
    async fn claim(&self, held: &Held) -> Result<(), StoreError> {
        let _writing = self.writing.lock().await;
        self.notes.store(0, Ordering::SeqCst);
        self.put(HOLDER, held.stamp(0)?, 0).await?;
        let version = self.settle(Some(held)).await?;
        let begun = self.noted(BEGUN).await?;
        // What a newer holder made current may be among what would go.
        if begun > self.noted(SWEPT).await? && !self.is_overtaken(held).await? {
            self.sweep(version, begun).await?;
        }
        Ok(())
    }

    /// Reads the current version and notes it again, so that no note from before can replace it; it is written to
    /// from now on.
    async fn settle(&self, held: Option<&Held>) -> Result<u32, StoreError> {
        let version = self.look_at_version().await?;
        self.put(CURRENT, self.note_stamp(held, version)?, version)
            .await?;
        self.writes_to.store(version, Ordering::SeqCst);
        self.unsettled.store(false, Ordering::SeqCst);
        Ok(version)
    }

    fn note_stamp(&self, held: Option<&Held>, version: u32) -> Result<i64, StoreError> {
        match held {
            Some(held) => held.stamp(self.notes.fetch_add(1, Ordering::SeqCst) + 1),
            None => Ok(i64::from(version)),
        }
    }

    async fn noted(&self, what: &[u8]) -> Result<u32, StoreError> {
        let name = P::TABLE.0.as_bytes();
        let row = self.documents.get(VERSIONS, name, what).await?;
        let number = row.and_then(|row| row.value.as_ref().try_into().ok().map(u32::from_be_bytes));
        Ok(number.unwrap_or(0))
    }

    async fn note(&self, what: &[u8], version: u32) -> Result<(), StoreError> {
        self.put(what, i64::from(version), version).await
    }

    async fn put(&self, what: &[u8], stamp: i64, version: u32) -> Result<(), StoreError> {
        let (name, value) = (P::TABLE.0.as_bytes(), version.to_be_bytes());
        let value = Bytes::copy_from_slice(&value);
        self.documents.put(VERSIONS, name, what, stamp, value).await
    }

    /// Notes a version as the current one, unless another holder has come.
    async fn swap(&self, held: Option<&Held>, version: u32) -> Result<(), ConsumeError> {
        // Whoever writes next finds out, if this is dropped before it is through.
        self.unsettled.store(true, Ordering::SeqCst);
        self.put(CURRENT, self.note_stamp(held, version)?, version)
            .await?;
        if let Some(held) = held {
            if self.is_overtaken(held).await? {
                return Err(HeldElsewhere.into());
            }
        } else if self.noted(CURRENT).await? != version {
            // Whoever holds no lease notes nothing over a holder, and so may delete nothing either.
            return Err(HeldElsewhere.into());
        }
        self.writes_to.store(version, Ordering::SeqCst);
        self.version.store(version, Ordering::SeqCst);
        self.unsettled.store(false, Ordering::SeqCst);
        Ok(())
    }

    /// Whether another holder has come. When it has not, a later one sees all that was noted before this was asked.
    async fn is_overtaken(&self, held: &Held) -> Result<bool, StoreError> {
        let name = P::TABLE.0.as_bytes();
        let holder = self.documents.get(VERSIONS, name, HOLDER).await?;
        Ok(held.is_lost() || holder.is_some_and(|row| fence_of(row.stamp) > held.fence()))
    }

    /// The version whose rows were read last: a swap in another process is followed by the next read.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.version.load(Ordering::SeqCst)
    }

    /// A row.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn get(&self, partition: &[u8], key: &[u8]) -> Result<Option<Document>, StoreError> {
        for _ in 0..SWAPS {
            let version = self.version();
            let partition = versioned(version, partition);
            let row = self.documents.get(P::TABLE, &partition, key).await?;
            if self.is_still(version).await? {
                return Ok(row);
            }
        }
        Err(swapping())
    }

    /// Rows of one partition.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn range(&self, partition: &[u8], range: Range) -> Result<Vec<Document>, StoreError> {
        for _ in 0..SWAPS {
            let version = self.version();
            let partition = versioned(version, partition);
            let rows = self.documents.range(P::TABLE, &partition, range.clone());
            let rows = rows.await?;
            if self.is_still(version).await? {
                return Ok(rows);
            }
        }
        Err(swapping())
    }

    /// Whether a version is the current one still, when rows of it have been read: before that nothing of it is
    /// deleted, and everything that the holder has marked is in it.
    async fn is_still(&self, version: u32) -> Result<bool, StoreError> {
        Ok(self.look_at_version().await? == version)
    }

    /// Deletes a partition as of a position, also from what a rebuild is filling, here or in another process: for
    /// erasers.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn erase(&self, partition: &[u8], through: Position) -> Result<(), StoreError> {
        // In this order: a rebuild swaps from one of these to another.
        let current = self.look_at_version().await?;
        let newest = current.max(self.noted(BEGUN).await?);
        for version in current.saturating_sub(LEFTOVERS)..=newest {
            let partition = versioned(version, partition);
            self.documents
                .drop_partition(P::TABLE, &partition, through.stamp())
                .await?;
        }
        Ok(())
    }

    /// Builds the next version from the log beside this one, swaps, and deletes the old rows. Only the process that
    /// holds the view's lease does; one that is about to get it is waited for.
    ///
    /// # Errors
    /// When a store fails, a message cannot be projected, or another process holds the lease or takes it; then nothing
    /// has changed for readers.
    pub async fn rebuild(&self) -> Result<(), ConsumeError> {
        let _one = self.rebuilding.lock().await;
        let mut role = self.role.subscribe();
        let holds = role.wait_for(|role| match role {
            Role::Alone => true,
            Role::StandsBy => false,
            Role::Holds(held) => !held.is_lost(),
        });
        let held = match tokio::time::timeout(LEASE_WITHIN, holds).await {
            Ok(Ok(role)) => role.held(),
            _ => return Err(HeldElsewhere.into()),
        };
        match &held {
            None => self.rebuild_under(None).await,
            Some(held) => tokio::select! {
                rebuilt = self.rebuild_under(Some(held)) => rebuilt,
                () = held.lost() => Err(HeldElsewhere.into()),
            },
        }
    }

    async fn rebuild_under(&self, held: Option<&Held>) -> Result<(), ConsumeError> {
        // A number of its own, also after a rebuild that failed: what is swept away never comes back.
        let next = self.noted(CURRENT).await?.max(self.noted(BEGUN).await?) + 1;
        self.note(BEGUN, next).await?;
        match self.fill(held, next).await {
            Ok(()) => Ok(self.sweep(next, next).await?),
            Err(error) => {
                // Also when it is not known whether the swap was noted.
                let _writing = self.writing.lock().await;
                if !held.is_some_and(Held::is_lost)
                    && !matches!(&error, ConsumeError::Retry(why) if why.is::<HeldElsewhere>())
                {
                    let current = self.settle(held).await?;
                    // A newer holder may have filled a version of the same number, and made it current since.
                    let overtaken = match held {
                        Some(held) => self.is_overtaken(held).await?,
                        None => false,
                    };
                    if !overtaken {
                        self.sweep(current, next).await?;
                    }
                }
                Err(error)
            }
        }
    }

    /// Fills a version and makes it the current one.
    async fn fill(&self, held: Option<&Held>, next: u32) -> Result<(), ConsumeError> {
        let mut through: Vec<(Stream, Position)> = self
            .projection
            .sources()
            .into_iter()
            .map(|s| (s, Position::START))
            .collect();
        self.catch_up(next, &mut through).await?;
        let _writing = self.writing.lock().await;
        self.catch_up(next, &mut through).await?;
        self.swap(held, next).await
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

    /// Deletes every row of every version but `keep` up to `newest`, and notes that. Greater ones are a rebuild's that
    /// began later, in another process.
    async fn sweep(&self, keep: u32, newest: u32) -> Result<(), StoreError> {
        let goes = |partition: &[u8]| {
            let version = partition.first_chunk().map(|it| u32::from_be_bytes(*it));
            version.is_some_and(|version| version != keep && version <= newest)
        };
        let mut after = None;
        loop {
            let page = self.documents.partitions(P::TABLE, after, PAGE).await?;
            for partition in page.iter().filter(|it| goes(it)) {
                self.documents
                    .drop_partition(P::TABLE, partition, i64::MAX)
                    .await?;
            }
            if page.len() < PAGE {
                return self.note(SWEPT, newest).await;
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
        let current = self.look_at_version().await?.to_be_bytes();
        let (mut rows, mut after) = (Vec::new(), None);
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

    fn lease(&self) -> String {
        match P::TABLE.0.split_once('_') {
            Some((service, view)) => format!("{service}.view-{view}.all"),
            None => format!("view.{}.all", P::TABLE.0),
        }
    }

    fn stand_by(&self) {
        self.role.send_replace(Role::StandsBy);
    }

    async fn begin(&self, held: &Held) -> Result<(), StoreError> {
        self.claim(held).await?;
        self.role.send_replace(Role::Holds(held.clone()));
        Ok(())
    }

    async fn handle(&self, message: &Message) -> Result<(), ConsumeError> {
        let _writing = self.writing.lock().await;
        if self.unsettled.load(Ordering::SeqCst) {
            let held = self.role.borrow().held();
            self.settle(held.as_ref()).await?;
        }
        let version = self.writes_to.load(Ordering::SeqCst);
        self.project(version, message).await
    }
}
