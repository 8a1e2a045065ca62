//! The writer: puts the segments of the telemetry stream into the series as they are, and keeps the newest values.
//!
//! One per installation, by a lease; two for a moment do no harm, because everything they write is idempotent and the
//! greater wins. It opens each segment, for the newest values and for who watches; so what belongs to a fenced owner
//! is dropped here. Order: series, then newest values and resume points, then the mark. A crash at any point repeats.

mod open;
mod trim;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use hearth_api::events::v1::Frame;
use hearth_engine::Holder;
use hearth_ingest_domain::window::Window;
use hearth_kernel::{ClaimId, HubStreamId};
use hearth_ports::{
    Clock, Documents, Log, Message, Position, Sealing, Series, StoreError, StoredSegment, Stream,
};
use prost::Message as _;
use tokio::sync::watch;

use crate::latest::{LatestError, Pending};
use crate::live::Live;
use crate::resume::{self, CHECKPOINTS, Fresh, Key, WRITER};
pub(crate) use open::{Opener, binding};
pub(crate) use trim::{KEPT as FRAMES_STAY, TOO_OLD, Trimmer};

/// Messages handled together.
const TOGETHER: usize = 64;
/// Newest values that are kept in memory before they are put into rows.
const MOST_PENDING: usize = 50_000;
/// The longest time between two marks.
const MARK_EVERY: Duration = Duration::from_secs(1);
/// The lease.
const LEASE: &str = "ingest.writer.all";
/// How long the lease lasts: a process that was killed is followed after as long.
pub(crate) const LEASE_PERIOD: Duration = Duration::from_secs(3);
/// How often a process that does not write looks how far the one that does has come.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Streams whose windows are kept in memory.
const MOST_WINDOWS: usize = 100_000;

/// Why the writer stopped; it starts again at its mark.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    /// A store failed.
    #[error("a store failed")]
    Store(#[from] StoreError),
    /// Newest values could not be stored.
    #[error("newest values were not stored")]
    Latest(#[from] LatestError),
    /// Keys are away: nothing may be concluded of what cannot be opened.
    #[error("keys are away")]
    Keys(#[from] hearth_ports::SealError),
}

/// What the writer works on, and what it shares with the rest of the process.
pub(crate) struct Writer {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) documents: Arc<dyn Documents>,
    pub(crate) series: Arc<dyn Series>,
    pub(crate) sealing: Arc<dyn Sealing>,
    pub(crate) holder: Holder,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) pending: Pending,
    pub(crate) live: Live,
    pub(crate) fresh: Arc<Fresh>,
    /// Whether it writes, and not another process.
    pub(crate) writes: AtomicBool,
    /// How far it has come; `None` while another process writes.
    pub(crate) progress: watch::Sender<Option<Position>>,
    /// How far it has come, here or in another process: what an erasure waits for.
    pub(crate) passed: watch::Sender<Position>,
}

/// One time of writing, however it ends: what is only in memory may be old when the next one begins.
struct Writing<'a>(&'a Writer);

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        self.0.writes.store(false, Ordering::SeqCst);
        self.0.fresh.clear();
        self.0.progress.send_replace(Some(Position::START));
    }
}

/// How far one run has come.
struct Run {
    /// Everything before this is in the series.
    written: Position,
    /// Everything before this is marked.
    marked: Position,
    /// Windows that differ from their rows.
    dirty: HashMap<Key, Window>,
    opener: Opener,
}

impl Writer {
    /// Writes whenever this process holds the lease, until something fails; supervise it.
    ///
    /// # Errors
    /// See [`WriteError`].
    pub(crate) async fn run(&self) -> Result<(), WriteError> {
        tokio::select! {
            outcome = self.holder.hold(LEASE, |_| self.follow()) => outcome,
            () = self.stand_by() => Ok(()),
        }
    }

    /// While another process writes, says from its mark how far it has come. Never ends.
    async fn stand_by(&self) {
        let mut since = self.clock.now();
        loop {
            if self.writes.load(Ordering::SeqCst) {
                since = self.clock.now();
            } else {
                if let Ok(marked) = resume::checkpoint(&*self.documents, WRITER).await {
                    self.passed
                        .send_if_modified(|at| std::mem::replace(at, marked.max(*at)) < marked);
                }
                // Whoever waits for this writer goes on waiting while it starts again, and while the lease of a process
                // that died runs out. When another process writes, he must look for himself.
                let another_writes = self.clock.now().since(since) > LEASE_PERIOD * 2;
                if another_writes && !self.writes.load(Ordering::SeqCst) {
                    self.progress.send_replace(None);
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn follow(&self) -> Result<(), WriteError> {
        let _writing = Writing(self);
        let mut run = self.begin().await?;
        let tail = self.log.tail(Stream::TELEMETRY, run.written);
        let mut tail = tail.ready_chunks(TOGETHER);
        let mut marks = tokio::time::interval(MARK_EVERY);
        marks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                next = tail.next() => {
                    let Some(messages) = next else { return Ok(()) };
                    let messages = messages.into_iter().collect::<Result<Vec<_>, _>>()?;
                    self.write(&messages, &mut run).await?;
                    if self.pending.len() > MOST_PENDING || run.dirty.len() > MOST_WINDOWS {
                        self.mark(&mut run).await?;
                    }
                }
                _ = marks.tick() => {
                    self.mark(&mut run).await?;
                }
            }
        }
    }

    async fn begin(&self) -> Result<Run, WriteError> {
        self.writes.store(true, Ordering::SeqCst);
        let from = resume::checkpoint(&*self.documents, WRITER).await?;
        self.fresh.clear();
        self.progress.send_replace(Some(from));
        self.passed.send_replace(from);
        Ok(Run {
            written: from,
            marked: from,
            dirty: HashMap::new(),
            opener: Opener::default(),
        })
    }

    /// Puts the segments of some messages, newest values and windows included.
    async fn write(&self, messages: &[Message], run: &mut Run) -> Result<(), WriteError> {
        let Some(last) = messages.last() else {
            return Ok(());
        };
        let mut segments = Vec::new();
        for message in messages {
            match Frame::decode(message.bytes.clone()) {
                Ok(frame) => segments.extend(frame.segments),
                // It authenticates nowhere and names nobody: there is nothing to put.
                Err(error) => {
                    tracing::error!(sequence = message.position.sequence, error = %error, "a frame cannot be read");
                }
            }
        }
        let opened = run.opener.open(&*self.sealing, &segments).await?;
        let kept: Vec<StoredSegment> = opened.iter().map(|it| it.stored.clone()).collect();
        if !kept.is_empty() {
            self.series.put_segments(&kept).await?;
        }
        for segment in &opened {
            let key = segment.stored.key;
            self.pending.note(key.home, key.class, segment.rows());
            if self.live.is_watched(key.home) {
                let readings = segment.rows().map(|row| crate::observed::Reading::of(&row));
                self.live.tell(key.home, readings.collect());
            }
        }
        for segment in &segments {
            let claim = ClaimId::from_slice(&segment.claim_id);
            let stream = HubStreamId::from_slice(&segment.stream_id);
            if let (Some(claim), Some(stream)) = (claim, stream) {
                self.stored((claim, stream), segment.sequence, run).await?;
            }
        }
        run.written = last.position;
        self.progress.send_replace(Some(last.position));
        self.passed.send_replace(last.position);
        Ok(())
    }

    async fn stored(&self, key: Key, sequence: u64, run: &mut Run) -> Result<(), WriteError> {
        let mut window = match run.dirty.remove(&key).or_else(|| self.fresh.get(key)) {
            Some(window) => window,
            None => resume::read(&*self.documents, key).await?,
        };
        window.store(sequence);
        self.fresh.put(key, window.clone());
        run.dirty.insert(key, window);
        Ok(())
    }

    /// Puts what is only in memory, then the mark.
    async fn mark(&self, run: &mut Run) -> Result<(), WriteError> {
        let at = run.written;
        if at == run.marked {
            return Ok(());
        }
        self.pending.flush(&*self.series, &*self.sealing).await?;
        for (key, window) in &run.dirty {
            resume::write(&*self.documents, *key, window, at).await?;
        }
        run.dirty.clear();
        let (partition, key) = (WRITER.as_bytes(), Stream::TELEMETRY.name());
        let value = Bytes::copy_from_slice(&at.to_bytes());
        self.documents
            .put(CHECKPOINTS, partition, key.as_bytes(), at.stamp(), value)
            .await?;
        // Everything is in rows now; a window that is asked for is read from there.
        self.fresh.clear();
        run.marked = at;
        tracing::debug!(sequence = at.sequence, at = %self.clock.now(), "telemetry marked");
        Ok(())
    }
}
