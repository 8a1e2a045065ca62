//! Durable timers: something to do at a time, minutes or years ahead, once in effect.
//!
//! A timer is a row, put at the position of the message that asked for it, so setting it again changes
//! nothing. It is fired at least once and then deleted at that same position; what it does must carry a
//! commit id that the timer's id decides.

use std::collections::BTreeSet;
use std::sync::Arc;
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
/// Another process may have set a timer: look at least so often.
const LOOK_EVERY: Duration = Duration::from_secs(1);

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
    /// Does it; may be asked again for the same timer.
    ///
    /// # Errors
    /// `Retry` fires it again later, `Poison` drops it with an alarm.
    async fn fire(&self, timer: &Timer) -> Result<(), ConsumeError>;
}

/// The timers of one service. Cheap to clone.
#[derive(Clone)]
pub struct Timers {
    service: Service,
    documents: Arc<dyn Documents>,
    clock: Arc<dyn Clock>,
    changed: Arc<Notify>,
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
        }
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

    /// Fires what is due until something fails; supervise it.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn run(&self, handler: &dyn Fire) -> Result<(), StoreError> {
        loop {
            let now = self.clock.now();
            self.fire_due(now, handler).await?;
            let next = self.next_due(now).await?;
            let look = now.plus(LOOK_EVERY);
            tokio::select! {
                () = self.clock.sleep_until(next.unwrap_or(look).min(look)) => {}
                () = self.changed.notified() => {}
            }
        }
    }

    /// Fires everything that is due, each once: one that cannot be done now keeps none behind it waiting.
    async fn fire_due(&self, now: Timestamp, handler: &dyn Fire) -> Result<(), StoreError> {
        let mut range = Range {
            until: Some(key(now.plus(Duration::from_micros(1)), Uuid::nil())),
            ..Range::all(PAGE)
        };
        loop {
            let due = self
                .documents
                .range(TABLE, &self.partition(), range.clone())
                .await?;
            for row in &due {
                let Some((due, id)) = read_key(&row.key) else {
                    continue;
                };
                let timer = Timer {
                    due,
                    id,
                    task: row.value.clone(),
                };
                match handler.fire(&timer).await {
                    Ok(()) => {}
                    Err(ConsumeError::Retry(why)) => {
                        tracing::warn!(service = %self.service, error = %why, "timer not done, firing again");
                        continue;
                    }
                    Err(ConsumeError::Poison(why)) => {
                        tracing::error!(service = %self.service, error = %why, "timer dropped");
                    }
                }
                self.documents
                    .delete(TABLE, &self.partition(), &row.key, row.stamp)
                    .await?;
            }
            match due.last() {
                // The smallest key behind the last one.
                Some(last) if due.len() == PAGE => {
                    range.from = Some([&last.key[..], &[0]].concat())
                }
                _ => return Ok(()),
            }
        }
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
