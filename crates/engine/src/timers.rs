//! Durable timers: something to do at a time, minutes or years ahead, once in effect.
//!
//! A timer is a row, put at the position of the message that asked for it, so setting it again changes
//! nothing. It is fired at least once and then deleted at that same position; what it does must carry a
//! commit id that the timer's id decides. How many fire at once, and what becomes of one that fails or hangs,
//! is decided in [`round`].

mod round;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hearth_kernel::{Service, Timestamp};
use hearth_ports::{Clock, Documents, Position, Range, StoreError, Table};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::consumer::ConsumeError;

const TABLE: Table = Table("engine_timers");
/// Timers per look.
const PAGE: usize = 256;
/// How long firing one timer may take: a mail relay that hangs has been given up by then (30 s), and the outcome noted.
const FIRE_WITHIN: Duration = Duration::from_secs(60);

/// A timer that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timer {
    /// When it was due.
    pub due: Timestamp,
    /// Its id: the same for every firing.
    pub id: Uuid,
    /// What to do: a constant of the service and its own encoding.
    pub task: Bytes,
}

/// What is done when a timer fires.
#[async_trait]
pub trait Fire: Send + Sync + 'static {
    /// Does it; may be asked again for the same timer, and is dropped at an await when it takes longer than a minute.
    ///
    /// # Errors
    /// `Retry` fires it again later, `Poison` drops it with an alarm.
    async fn fire(&self, timer: &Timer) -> Result<(), ConsumeError>;

    /// Timers of one lane fire one after the other in the order of their times, and one that has to be fired again
    /// holds up its lane; lanes do not wait for each other. Each id is a lane unless this says otherwise.
    fn lane(&self, timer: &Timer) -> Uuid {
        timer.id
    }
}

/// How the timers of a process stand; counted since it started, or at its last look. A process that fires no more, since
/// another holds the lease, has nothing late.
#[derive(Debug, Default)]
pub struct TimerFacts {
    /// Timers that were due and not done at the last look, whether they are being fired or wait to be fired again.
    pub late: AtomicU64,
    /// The time of the oldest of them in microseconds; 0 when there is none.
    pub oldest_due: AtomicI64,
    /// Timers that are being fired.
    pub firing: AtomicU64,
    /// Firings that were done.
    pub done: AtomicU64,
    /// Firings that failed, or took too long, and come again.
    pub again: AtomicU64,
    /// Timers that were dropped.
    pub dropped: AtomicU64,
}

/// The timers of one service. Cheap to clone.
#[derive(Clone)]
pub struct Timers {
    service: Service,
    documents: Arc<dyn Documents>,
    clock: Arc<dyn Clock>,
    changed: Arc<Notify>,
    fire_within: Duration,
    facts: Arc<TimerFacts>,
}

impl Timers {
    /// The timers of a service.
    #[must_use]
    pub fn new(service: Service, documents: Arc<dyn Documents>, clock: Arc<dyn Clock>) -> Self {
        Self {
            service,
            documents,
            clock,
            changed: Arc::default(),
            fire_within: FIRE_WITHIN,
            facts: Arc::default(),
        }
    }

    /// The same with another bound on firing one timer, instead of a minute.
    #[must_use]
    pub const fn fire_within(mut self, period: Duration) -> Self {
        self.fire_within = period;
        self
    }

    /// How they stand, as of [`Self::run`] in this process.
    #[must_use]
    pub const fn facts(&self) -> &Arc<TimerFacts> {
        &self.facts
    }

    fn partition(&self) -> Vec<u8> {
        self.service.name().as_bytes().to_vec()
    }

    /// Sets a timer, as of the position of the message that asks for it.
    ///
    /// # Errors
    /// When the store fails; setting it again is harmless.
    pub async fn set(&self, at: Position, timer: &Timer) -> Result<(), StoreError> {
        let (partition, key) = (self.partition(), key(timer.due, timer.id));
        self.documents
            .put(TABLE, &partition, &key, at.stamp(), timer.task.clone())
            .await?;
        self.changed.notify_one();
        Ok(())
    }

    /// Cancels a timer, as of the position of the message that asks for it.
    ///
    /// # Errors
    /// When the store fails; cancelling it again is harmless.
    pub async fn cancel(&self, at: Position, due: Timestamp, id: Uuid) -> Result<(), StoreError> {
        self.documents
            .delete(TABLE, &self.partition(), &key(due, id), at.stamp())
            .await
    }

    /// Removes every timer of the service whose task `whose` names, due or not: for erasures. Walks all of them.
    /// Answers how many went.
    ///
    /// # Errors
    /// When the store fails; again is harmless.
    pub async fn forget(&self, whose: impl Fn(&[u8]) -> bool + Send) -> Result<u64, StoreError> {
        let (mut range, mut removed) = (Range::all(PAGE), 0);
        loop {
            let partition = self.partition();
            let rows = self
                .documents
                .range(TABLE, &partition, range.clone())
                .await?;
            for row in rows.iter().filter(|row| whose(&row.value)) {
                self.documents
                    .delete(TABLE, &partition, &row.key, row.stamp)
                    .await?;
                removed += 1;
            }
            match rows.last() {
                Some(last) if rows.len() == PAGE => {
                    range.from = Some([&last.key[..], &[0]].concat())
                }
                _ => return Ok(removed),
            }
        }
    }

    /// Fires what is due until something fails; supervise it. At most 16 at once, each with a deadline.
    ///
    /// # Errors
    /// When the store fails; what is being fired then is waited for.
    pub async fn run(&self, handler: &dyn Fire) -> Result<(), StoreError> {
        round::run(self, handler).await
    }

    /// The first timer after `now`.
    async fn next_due(&self, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        let from = Some(key(now.plus(Duration::from_micros(1)), Uuid::nil()));
        let range = Range {
            from,
            ..Range::all(1)
        };
        let rows = self
            .documents
            .range(TABLE, &self.partition(), range)
            .await?;
        Ok(rows
            .first()
            .and_then(|row| read_key(&row.key))
            .map(|(due, _)| due))
    }
}

/// How many timers of a service are due at `now`, the time of the oldest of them, and how many are not due yet; each
/// counted up to `most`. Walks them.
pub(crate) async fn count(
    documents: &dyn Documents,
    service: Service,
    now: Timestamp,
    most: usize,
) -> Result<(usize, Option<Timestamp>, usize), StoreError> {
    let partition = service.name().as_bytes();
    let split = Some(key(now.plus(Duration::from_micros(1)), Uuid::nil()));
    let late = Range {
        until: split.clone(),
        ..Range::all(PAGE)
    };
    let waiting = Range {
        from: split,
        ..Range::all(PAGE)
    };
    let (mut counts, mut oldest) = ([0, 0], None);
    for (mut range, count) in [late, waiting].into_iter().zip(&mut counts) {
        while *count < most {
            let page = documents.range(TABLE, partition, range.clone()).await?;
            *count += page.len();
            let first = page.first().and_then(|row| read_key(&row.key));
            let first = first.map(|(due, _)| due).filter(|due| *due <= now);
            oldest = oldest.or(first);
            match page.last() {
                Some(last) if page.len() == PAGE => {
                    range.from = Some([&last.key[..], &[0]].concat());
                }
                _ => break,
            }
        }
    }
    Ok((counts[0], oldest, counts[1]))
}

/// Deletes the timers of a service that name one of these, by their id or in their task: for an erasure. What
/// they would have done has lost its object.
pub(crate) async fn forget(
    documents: &dyn Documents,
    service: Service,
    ids: &BTreeSet<Uuid>,
) -> Result<(), StoreError> {
    let partition = service.name().as_bytes();
    let names = |row: &hearth_ports::Document| {
        let own = read_key(&row.key).is_some_and(|(_, id)| ids.contains(&id));
        let task = |id: &Uuid| row.value.windows(16).any(|part| part == id.as_bytes());
        own || ids.iter().any(task)
    };
    let mut range = Range::all(PAGE);
    loop {
        let page = documents.range(TABLE, partition, range.clone()).await?;
        for row in page.iter().filter(|row| names(row)) {
            documents
                .delete(TABLE, partition, &row.key, row.stamp)
                .await?;
        }
        match page.last() {
            Some(last) if page.len() == PAGE => range.from = Some([&last.key[..], &[0]].concat()),
            _ => return Ok(()),
        }
    }
}

/// Sorts by due time, then id. Times before 1970 are never due times.
fn key(due: Timestamp, id: Uuid) -> Vec<u8> {
    let mut key = due.micros().max(0).to_be_bytes().to_vec();
    key.extend_from_slice(id.as_bytes());
    key
}

fn read_key(key: &[u8]) -> Option<(Timestamp, Uuid)> {
    let (due, id) = key.split_first_chunk::<8>()?;
    Some((
        Timestamp::from_micros(i64::from_be_bytes(*due)),
        Uuid::from_slice(id).ok()?,
    ))
}

#[cfg(test)]
mod tests;
