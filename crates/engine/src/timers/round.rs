//! Rounds of firing: walk what is due in order, fire a bounded number at once, and come back to what failed.
//!
//! It must not know what a timer does. A handler that hangs costs one of the places and its own lane until its deadline;
//! one that fails waits longer each time. What is remembered between rounds is bounded, and lost with the process:
//! then the timers fire sooner, which is harmless.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use futures::{FutureExt, future::BoxFuture};
use hearth_kernel::Timestamp;
use hearth_ports::tasks::Chain;
use hearth_ports::{Document, Range, StoreError};
use uuid::Uuid;

use super::{Fire, PAGE, TABLE, Timer, TimerFacts, Timers, key, read_key};
use crate::consumer::ConsumeError;

/// Timers that are fired at once.
const AT_ONCE: usize = 16;
/// Another process may have set a timer: look at least so often.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The first and the longest wait before a timer is fired again.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// After so many tries of one timer, some five minutes, somebody has to look.
const ALARM_AFTER: u32 = 15;
/// Timers whose waits are remembered. Beyond it, those that wait the shortest are forgotten: they fire at the next look.
const REMEMBERED: usize = 4096;

type Key = Vec<u8>;

/// It took longer than it may.
#[derive(Debug, thiserror::Error)]
#[error("firing the timer took too long")]
struct TooLong;

/// A timer that failed.
struct Waiting {
    tries: u32,
    next: Timestamp,
    /// The last round that saw it: one that is gone is forgotten.
    seen: u64,
}

/// What became of a firing.
struct Fired {
    key: Key,
    lane: Uuid,
    again: bool,
}

type Firing<'a> = FuturesUnordered<BoxFuture<'a, Fired>>;

/// What is known between rounds.
#[derive(Default)]
struct Memory {
    waiting: BTreeMap<Key, Waiting>,
    /// The lanes that are being fired, each with its one timer.
    lanes: BTreeMap<Uuid, Key>,
    round: u64,
    /// Something was passed over because its lane was busy, which has ended since: worth another round at once.
    freed: bool,
    passed_over: BTreeSet<Uuid>,
}

/// Who fires no more has nothing in firing and knows of nothing late, also when it was dropped with its lease.
struct Looking<'a>(&'a TimerFacts);

impl Drop for Looking<'_> {
    fn drop(&mut self) {
        self.0.firing.store(0, Ordering::Relaxed);
        self.0.late.store(0, Ordering::Relaxed);
        self.0.oldest_due.store(0, Ordering::Relaxed);
    }
}

/// Fires until the store fails.
pub(super) async fn run(timers: &Timers, handler: &dyn Fire) -> Result<(), StoreError> {
    let _looking = Looking(&timers.facts);
    let (mut firing, mut memory) = (Firing::new(), Memory::default());
    let outcome = rounds(timers, handler, &mut firing, &mut memory).await;
    // What goes out is not cut in the middle: each ends by its deadline.
    while firing.next().await.is_some() {}
    outcome
}

async fn rounds<'a>(
    timers: &'a Timers,
    handler: &'a dyn Fire,
    firing: &mut Firing<'a>,
    memory: &mut Memory,
) -> Result<(), StoreError> {
    loop {
        let now = timers.clock.now();
        round(timers, now, handler, firing, memory).await?;
        let next = timers.next_due(now).await?;
        // One whose wait is over is being fired, or stands behind another one of its lane.
        let again = memory.waiting.values().map(|waiting| waiting.next);
        let again = again.filter(|next| *next > now).min();
        let look = now.plus(LOOK_EVERY);
        let until = [next, again]
            .into_iter()
            .flatten()
            .fold(look, Timestamp::min);
        // A time that has passed meanwhile is looked at in the next round, but others go first.
        let mut sleep = timers.clock.sleep_until(until);
        while !memory.freed {
            tokio::select! {
                () = &mut sleep => break,
                () = timers.changed.notified() => break,
                Some(fired) = firing.next() => memory.ended(timers, fired),
            }
        }
        memory.freed = false;
    }
}

/// Walks everything that is due, once, and fires what may be fired. Waits only for a free place.
async fn round<'a>(
    timers: &'a Timers,
    now: Timestamp,
    handler: &'a dyn Fire,
    firing: &mut Firing<'a>,
    memory: &mut Memory,
) -> Result<(), StoreError> {
    memory.round += 1;
    memory.passed_over.clear();
    let (mut late, mut oldest) = (0_u64, None);
    let mut range = Range {
        until: Some(key(now.plus(Duration::from_micros(1)), Uuid::nil())),
        ..Range::all(PAGE)
    };
    // Lanes with an earlier timer that waits: what is behind it waits too.
    let mut held = BTreeSet::new();
    loop {
        let partition = timers.partition();
        let due = timers.documents.range(TABLE, &partition, range.clone());
        let due = due.await?;
        for row in &due {
            let Some((due, id)) = read_key(&row.key) else {
                continue;
            };
            late += 1;
            oldest = oldest.or(Some(due));
            let timer = Timer {
                due,
                id,
                task: row.value.clone(),
            };
            let lane = handler.lane(&timer);
            while firing.len() >= AT_ONCE {
                if let Some(fired) = firing.next().await {
                    memory.ended(timers, fired);
                }
            }
            // Asked in any case: it also notes that the timer is still there.
            let may_fire = memory.may_fire(&row.key, lane, now);
            if held.contains(&lane) || !may_fire {
                held.insert(lane);
                continue;
            }
            // While others took their time, it may have been fired from the page before, or cancelled.
            if is_there(timers, row).await? {
                memory.lanes.insert(lane, row.key.clone());
                timers.facts.firing.fetch_add(1, Ordering::Relaxed);
                firing.push(fire(timers, handler, timer, row.clone(), lane).boxed());
            }
        }
        match due.last() {
            // The smallest key behind the last one.
            Some(last) if due.len() == PAGE => range.from = Some([&last.key[..], &[0]].concat()),
            _ => break,
        }
    }
    let round = memory.round;
    memory.waiting.retain(|_, waiting| waiting.seen == round);
    timers.facts.late.store(late, Ordering::Relaxed);
    let oldest = oldest.map_or(0, Timestamp::micros);
    timers.facts.oldest_due.store(oldest, Ordering::Relaxed);
    Ok(())
}

impl Memory {
    /// Whether a timer's own wait is over and nothing of its lane is being fired.
    fn may_fire(&mut self, key: &[u8], lane: Uuid, now: Timestamp) -> bool {
        let round = self.round;
        let waits = self.waiting.get_mut(key).is_some_and(|waiting| {
            waiting.seen = round;
            waiting.next > now
        });
        let busy = self.lanes.contains_key(&lane);
        if busy && self.lanes.get(&lane).is_none_or(|fired| fired != key) {
            self.passed_over.insert(lane);
        }
        !waits && !busy
    }

    fn ended(&mut self, timers: &Timers, fired: Fired) {
        timers.facts.firing.fetch_sub(1, Ordering::Relaxed);
        self.lanes.remove(&fired.lane);
        self.freed |= self.passed_over.remove(&fired.lane);
        if !fired.again {
            timers.facts.done.fetch_add(1, Ordering::Relaxed);
            self.waiting.remove(&fired.key);
            return;
        }
        timers.facts.again.fetch_add(1, Ordering::Relaxed);
        let tries = self.waiting.get(&fired.key).map_or(0, |it| it.tries) + 1;
        let wait = AGAIN
            .0
            .saturating_mul(1 << (tries - 1).min(10))
            .min(AGAIN.1);
        if tries == ALARM_AFTER {
            tracing::error!(service = %timers.service, tries, "a timer fails again and again");
        }
        if self.waiting.len() >= REMEMBERED && !self.waiting.contains_key(&fired.key) {
            let shortest = self.waiting.iter().min_by_key(|(_, waiting)| waiting.next);
            let shortest = shortest.map(|(key, _)| key.clone());
            shortest.map(|key| self.waiting.remove(&key));
        }
        let waiting = Waiting {
            tries,
            next: timers.clock.now().plus(wait),
            seen: self.round,
        };
        self.waiting.insert(fired.key, waiting);
    }
}

/// Whether the row of a page is still there.
async fn is_there(timers: &Timers, row: &Document) -> Result<bool, StoreError> {
    let partition = timers.partition();
    let there = timers.documents.get(TABLE, &partition, &row.key).await?;
    Ok(there.is_some_and(|there| there.stamp == row.stamp))
}

async fn fire(
    timers: &Timers,
    handler: &dyn Fire,
    timer: Timer,
    row: Document,
    lane: Uuid,
) -> Fired {
    let outcome = tokio::time::timeout(timers.fire_within, handler.fire(&timer)).await;
    let outcome =
        outcome.unwrap_or_else(|_| Err(ConsumeError::Retry(std::sync::Arc::new(TooLong))));
    let service = timers.service;
    let failed = match outcome {
        Ok(()) => None,
        Err(ConsumeError::Retry(why)) => Some(why),
        Err(ConsumeError::Poison(why)) => {
            tracing::error!(%service, error = %Chain(&*why), "timer dropped");
            timers.facts.dropped.fetch_add(1, Ordering::Relaxed);
            None
        }
    };
    if let Some(why) = &failed {
        tracing::warn!(%service, error = %Chain(&**why), "timer not done, firing again");
    }
    let again = match failed {
        Some(_) => true,
        None => {
            let partition = timers.partition();
            let deleted = timers
                .documents
                .delete(TABLE, &partition, &row.key, row.stamp);
            let deleted = tokio::time::timeout(timers.fire_within, deleted).await;
            let failed = !matches!(deleted, Ok(Ok(())));
            if failed {
                tracing::warn!(%service, "a fired timer could not be deleted, firing again");
            }
            failed
        }
    };
    Fired {
        key: row.key,
        lane,
        again,
    }
}
