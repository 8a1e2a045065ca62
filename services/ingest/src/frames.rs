//! Frames: what many hubs send at the same time goes into the log as one message per shard.
//!
//! At most [`IN_FLIGHT`] rounds are under way in a process; whatever arrives meanwhile shares the next one. So a quiet
//! house waits for nobody, and a busy one pays for a message once per hundreds of batches.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use hearth_api::events::v1::{Frame, Segment, Signals};
use hearth_kernel::{HomeId, HubStreamId};
use hearth_ports::{Clock, Expected, Log, StoreError, Subject, Tasks};
use prost::Message;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc};

pub use crate::counts::Counts;

/// Rounds of appends under way at a time.
pub const IN_FLIGHT: usize = 4;
/// Shards of the telemetry stream.
pub const SHARDS: u8 = 64;
/// Bytes that wait or are under way, of all hubs together.
const BUDGET_BYTES: usize = 64 << 20;
/// Items of a round.
const ROUND_ITEMS: usize = 4_096;
/// A frame is closed when it has this many bytes: with one more batch it stays under the 4 MiB of the contract.
const FRAME_BYTES: usize = 1 << 20;
/// How often an append is tried.
const TRIES: u32 = 6;
/// The wait after the first failure; it doubles.
const FIRST_WAIT: Duration = Duration::from_millis(20);

/// The shard of a home.
#[must_use]
pub fn shard_of(home: HomeId) -> u8 {
    // Ids are random or keyed hashes: any byte of them is evenly spread.
    home.as_bytes()[15] % SHARDS
}

/// What one batch puts into a frame.
#[derive(Debug, Default)]
pub struct Load {
    /// Its segments; at least one, if only to say that the batch was taken.
    pub segments: Vec<Segment>,
    /// Its signals.
    pub signals: Option<Signals>,
}

impl Load {
    fn bytes(&self) -> usize {
        let segments = self.segments.iter().map(|it| it.sealed.len() + 96);
        let signals = self.signals.iter().map(|it| it.sealed.len() + 72);
        segments.chain(signals).sum()
    }
}

/// What became of a batch.
#[derive(Clone, Debug)]
pub struct Done {
    /// Its stream.
    pub stream: HubStreamId,
    /// Its sequence.
    pub sequence: u64,
    /// Whether it is durable.
    pub stored: Result<(), StoreError>,
}

struct Item {
    shard: u8,
    load: Load,
    stream: HubStreamId,
    sequence: u64,
    done: mpsc::OwnedPermit<Done>,
    bytes: usize,
    _budget: Option<OwnedSemaphorePermit>,
}

/// Where batches are handed in. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Frames {
    sender: mpsc::Sender<Item>,
    budget: Arc<Semaphore>,
    counts: Arc<Counts>,
}

impl Frames {
    /// Starts the tasks that append.
    #[must_use]
    pub fn start(log: Arc<dyn Log>, clock: Arc<dyn Clock>, tasks: &Tasks) -> Self {
        let (sender, receiver) = mpsc::channel(ROUND_ITEMS);
        let receiver = Arc::new(Mutex::new(receiver));
        let counts = Arc::new(Counts::default());
        for _ in 0..IN_FLIGHT {
            let (log, clock) = (Arc::clone(&log), Arc::clone(&clock));
            let (receiver, counts) = (Arc::clone(&receiver), Arc::clone(&counts));
            tasks.spawn("ingest frames", append_rounds(log, clock, receiver, counts));
        }
        Self {
            sender,
            budget: Arc::new(Semaphore::new(BUDGET_BYTES >> 10)),
            counts,
        }
    }

    /// What was counted.
    #[must_use]
    pub const fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }

    /// Bytes that may still be handed in without a wait.
    #[must_use]
    pub fn room_bytes(&self) -> usize {
        self.budget.available_permits() << 10
    }

    /// Hands a batch in. Waits while too much is under way; `done` hears what became of it, and has a place for that
    /// from now on: an outcome that is lost would leave the batch under way for ever.
    ///
    /// # Errors
    /// When the process is stopping, or so many outcomes wait that `done` has no place for another.
    pub async fn submit(
        &self,
        home: HomeId,
        (stream, sequence): (HubStreamId, u64),
        load: Load,
        done: mpsc::Sender<Done>,
    ) -> Result<(), NotTaken> {
        let done = done.try_reserve_owned().map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => NotTaken::TooMany,
            mpsc::error::TrySendError::Closed(_) => NotTaken::Stopping,
        })?;
        let bytes = load.bytes();
        let kilobytes = u32::try_from((bytes >> 10) + 1).unwrap_or(1);
        let budget = Arc::clone(&self.budget).acquire_many_owned(kilobytes).await;
        let item = Item {
            shard: shard_of(home),
            load,
            stream,
            sequence,
            done,
            bytes,
            _budget: Some(budget.map_err(|_| NotTaken::Stopping)?),
        };
        self.sender.send(item).await.map_err(|_| NotTaken::Stopping)
    }
}

/// Why a batch was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// The process is stopping: nothing is taken any more.
    #[error("the process is stopping")]
    Stopping,
    /// Too many outcomes of the same stream wait to be heard.
    #[error("too many outcomes are not heard yet")]
    TooMany,
}

async fn append_rounds(
    log: Arc<dyn Log>,
    clock: Arc<dyn Clock>,
    receiver: Arc<Mutex<mpsc::Receiver<Item>>>,
    counts: Arc<Counts>,
) {
    let mut items = Vec::new();
    loop {
        let received = receiver
            .lock()
            .await
            .recv_many(&mut items, ROUND_ITEMS)
            .await;
        if received == 0 {
            return;
        }
        let mut shards: BTreeMap<u8, Vec<Vec<Item>>> = BTreeMap::new();
        for item in items.drain(..) {
            let frames = shards.entry(item.shard).or_default();
            match frames.last_mut() {
                Some(frame) if room(frame, &item) => frame.push(item),
                _ => frames.push(vec![item]),
            }
        }
        let now = clock.now().micros();
        let frames = shards
            .into_iter()
            .flat_map(|(shard, frames)| frames.into_iter().map(move |items| (shard, items)));
        join_all(frames.map(|(shard, items)| append(&*log, &counts, shard, now, items))).await;
    }
}

fn room(frame: &[Item], item: &Item) -> bool {
    frame.iter().map(|it| it.bytes).sum::<usize>() + item.bytes <= FRAME_BYTES
}

async fn append(log: &dyn Log, counts: &Counts, shard: u8, written_at: i64, mut items: Vec<Item>) {
    let mut frame = Frame {
        written_at,
        ..Frame::default()
    };
    for item in &mut items {
        frame.segments.append(&mut item.load.segments);
        frame.signals.extend(item.load.signals.take());
    }
    let bytes = Bytes::from(frame.encode_to_vec());
    drop(frame);
    let size = bytes.len();
    let stored = append_bytes(log, &Subject::telemetry(shard), bytes).await;
    counts.frame(size, stored.is_ok());
    if let Err(error) = &stored {
        tracing::warn!(shard, error = %error, "frame not stored");
    }
    for item in items {
        let done = Done {
            stream: item.stream,
            sequence: item.sequence,
            stored: stored.clone(),
        };
        // A hub that is gone hears of it when it comes back.
        item.done.send(done);
    }
}

/// A frame may be stored twice after an unknown outcome: its segments overwrite themselves.
async fn append_bytes(log: &dyn Log, subject: &Subject, bytes: Bytes) -> Result<(), StoreError> {
    let mut wait = FIRST_WAIT;
    let mut tries = 0;
    loop {
        let error = match log.append(subject, Expected::Any, bytes.clone()).await {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        tries += 1;
        if tries >= TRIES || matches!(error, StoreError::Terminal(_)) {
            return Err(error);
        }
        tokio::time::sleep(wait).await;
        wait *= 2;
    }
}
