//! How far each stream of a hub is stored: rows in Documents, as far as the writer has come, and the frames behind it.
//!
//! The rows are derived from the telemetry stream: the writer puts them before its mark, so the mark, the rows and the
//! frames after the mark together know everything that was acked. How many frames are read for that has a bound: beyond
//! it a hub is sent away until the writer has caught up, because every one of them would read days again.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hearth_api::events::v1::Frame;
use hearth_api::stored::ingest::v1::ResumeRow;
use hearth_ingest_domain::window::Window;
use hearth_kernel::{ClaimId, Failure, HubStreamId, Reason};
use hearth_ports::{Documents, Log, Position, Range, StoreError, Stream, Table};
use prost::Message;
use tokio::sync::{Semaphore, watch};

/// The table of the rows: partition by claim, key by stream.
pub const TABLE: Table = Table("ingest_resume");
/// Where low-water marks of consumers lie.
pub(crate) const CHECKPOINTS: Table = Table("engine_checkpoints");
/// The writer's name there.
pub(crate) const WRITER: &str = "ingest.writer";
/// Messages of the telemetry stream per page.
const PAGE: usize = 64;
/// How long a hub waits for the writer to catch up before the stream itself is read.
const CATCH_UP: Duration = Duration::from_secs(2);

/// Readings of the stream itself that are under way at a time, of all hubs together.
const SCANS: usize = 2;
/// How long a hub waits for its turn, and how long its turn is.
const SCAN_PERIOD: Duration = Duration::from_secs(5);
/// Messages that one reads at most. When the writer is further behind, hubs that connect must wait for it.
const MOST_SCANNED: usize = 65_536;
/// When a hub may ask again that had to be sent away.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// Why it is not known how far streams are stored.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// A store does not answer.
    #[error("a store does not answer")]
    Store(#[from] StoreError),
    /// The writer is too far behind, or too many ask at once.
    #[error("too much is not written yet")]
    Behind,
}

impl From<ResumeError> for Failure {
    fn from(error: ResumeError) -> Self {
        match error {
            ResumeError::Store(error) => hearth_engine::store_failure(&error),
            ResumeError::Behind => {
                Self::new(Reason::TEMPORARILY_UNAVAILABLE).retry_after(ASK_AGAIN)
            }
        }
    }
}

/// The key of a stream.
pub(crate) type Key = (ClaimId, HubStreamId);

/// What the writer of this process has seen and not yet put into rows.
#[derive(Debug, Default)]
pub(crate) struct Fresh {
    windows: Mutex<HashMap<Key, Window>>,
}

impl Fresh {
    pub(crate) fn get(&self, key: Key) -> Option<Window> {
        self.lock().get(&key).cloned()
    }

    pub(crate) fn put(&self, key: Key, window: Window) {
        self.lock().insert(key, window);
    }

    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Window>> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads how far streams are stored. Cheap to clone.
#[derive(Clone)]
pub struct Resume {
    log: Arc<dyn Log>,
    documents: Arc<dyn Documents>,
    pub(crate) fresh: Arc<Fresh>,
    /// How far the writer of this process has come; `None` while there is none.
    progress: watch::Receiver<Option<Position>>,
    scans: Arc<Semaphore>,
    most_scanned: usize,
}

impl Resume {
    pub(crate) fn new(
        log: Arc<dyn Log>,
        documents: Arc<dyn Documents>,
        fresh: Arc<Fresh>,
        progress: watch::Receiver<Option<Position>>,
    ) -> Self {
        Self {
            log,
            documents,
            fresh,
            progress,
            scans: Arc::new(Semaphore::new(SCANS)),
            most_scanned: MOST_SCANNED,
        }
    }

    /// How far streams of a claim are stored, as of everything acked before this call.
    ///
    /// # Errors
    /// See [`ResumeError`].
    pub async fn windows(
        &self,
        claim: ClaimId,
        streams: &[HubStreamId],
    ) -> Result<BTreeMap<HubStreamId, Window>, ResumeError> {
        let Some(head) = self.log.head(Stream::TELEMETRY).await? else {
            return Ok(streams.iter().map(|it| (*it, Window::default())).collect());
        };
        if self.writer_passes(head).await {
            return Ok(self.written(claim, streams).await?);
        }
        let turn = tokio::time::timeout(SCAN_PERIOD, self.scans.acquire()).await;
        let _turn = turn.map_err(|_| ResumeError::Behind)?;
        let scanned = self.scanned(claim, streams, head);
        let scanned = tokio::time::timeout(SCAN_PERIOD, scanned).await;
        scanned.map_err(|_| ResumeError::Behind)?
    }

    /// What the rows say, and what the stream says behind them.
    async fn scanned(
        &self,
        claim: ClaimId,
        streams: &[HubStreamId],
        head: Position,
    ) -> Result<BTreeMap<HubStreamId, Window>, ResumeError> {
        let mark = checkpoint(&*self.documents, WRITER).await?;
        let mut windows = self.rows(claim, streams).await?;
        self.scan(claim, mark, head, &mut windows).await?;
        Ok(windows)
    }

    /// Waits until the writer of this process has passed a position of the telemetry stream, at most 2 s.
    pub async fn writer_passes(&self, head: Position) -> bool {
        let mut progress = self.progress.clone();
        if progress.borrow().is_none() {
            return false;
        }
        let passed = progress.wait_for(|at| at.is_some_and(|at| at >= head));
        matches!(tokio::time::timeout(CATCH_UP, passed).await, Ok(Ok(_)))
    }

    async fn written(
        &self,
        claim: ClaimId,
        streams: &[HubStreamId],
    ) -> Result<BTreeMap<HubStreamId, Window>, StoreError> {
        let mut windows = BTreeMap::new();
        for stream in streams {
            let window = match self.fresh.get((claim, *stream)) {
                Some(window) => window,
                None => read(&*self.documents, (claim, *stream)).await?,
            };
            windows.insert(*stream, window);
        }
        Ok(windows)
    }

    async fn rows(
        &self,
        claim: ClaimId,
        streams: &[HubStreamId],
    ) -> Result<BTreeMap<HubStreamId, Window>, StoreError> {
        let mut windows = BTreeMap::new();
        for stream in streams {
            windows.insert(*stream, read(&*self.documents, (claim, *stream)).await?);
        }
        Ok(windows)
    }

    async fn scan(
        &self,
        claim: ClaimId,
        mut after: Position,
        head: Position,
        windows: &mut BTreeMap<HubStreamId, Window>,
    ) -> Result<(), ResumeError> {
        let mut scanned = 0;
        while after < head {
            let page = self.log.page(Stream::TELEMETRY, after, PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = last.position;
            scanned += page.len();
            if scanned > self.most_scanned {
                return Err(ResumeError::Behind);
            }
            for message in &page {
                let frame = Frame::decode(message.bytes.clone()).unwrap_or_default();
                let of_claim = frame
                    .segments
                    .iter()
                    .filter(|it| it.claim_id == claim.as_bytes().as_slice());
                for segment in of_claim {
                    let stream = HubStreamId::from_slice(&segment.stream_id);
                    if let Some(window) = stream.and_then(|it| windows.get_mut(&it)) {
                        window.store(segment.sequence);
                    }
                }
            }
        }
        Ok(())
    }
}

/// The low-water mark of a consumer of the telemetry stream.
pub(crate) async fn checkpoint(
    documents: &dyn Documents,
    consumer: &str,
) -> Result<Position, StoreError> {
    let key = Stream::TELEMETRY.name();
    let row = documents
        .get(CHECKPOINTS, consumer.as_bytes(), key.as_bytes())
        .await?;
    Ok(row
        .and_then(|row| Position::from_bytes(&row.value))
        .unwrap_or(Position::START))
}

/// The row of a stream.
pub(crate) async fn read(documents: &dyn Documents, key: Key) -> Result<Window, StoreError> {
    let row = documents
        .get(TABLE, key.0.as_bytes(), key.1.as_bytes())
        .await?;
    let row = row.and_then(|row| ResumeRow::decode(row.value).ok());
    Ok(row.map_or_else(Window::default, |row| {
        let mut at = row.through;
        let beyond = row.beyond.into_iter().map(|step| {
            at = at.saturating_add(step);
            at
        });
        Window::new(row.through, beyond)
    }))
}

/// Puts the row of a stream, as of a position of the telemetry stream.
pub(crate) async fn write(
    documents: &dyn Documents,
    key: Key,
    window: &Window,
    at: Position,
) -> Result<(), StoreError> {
    let mut before = window.through();
    let beyond = window.beyond().map(|sequence| {
        let step = sequence - before;
        before = sequence;
        step
    });
    let row = ResumeRow {
        through: window.through(),
        beyond: beyond.collect(),
    };
    let value = Bytes::from(row.encode_to_vec());
    documents
        .put(TABLE, key.0.as_bytes(), key.1.as_bytes(), at.stamp(), value)
        .await
}

/// Deletes the rows of a claim.
///
/// # Errors
/// When the store fails.
pub(crate) async fn erase(documents: &dyn Documents, claim: ClaimId) -> Result<u64, StoreError> {
    let rows = documents
        .range(TABLE, claim.as_bytes(), Range::all(1_000))
        .await?;
    documents
        .drop_partition(TABLE, claim.as_bytes(), i64::MAX)
        .await?;
    Ok(u64::try_from(rows.len()).unwrap_or(u64::MAX))
}
