//! Fences as a service process knows them: read from STATE_VAULT to the head, or nothing is leased.
//!
//! A lease lives only while its process has read the fences to their head within 60 s. Seeing a fence drops
//! the keys at once. Nothing is concluded here about what is erased: dropping keys is always safe.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use futures::StreamExt;
use hearth_kernel::{Owner, Purpose, Service, Timestamp};
use hearth_ports::{Clock, Family, Log, Message, Position, Stream};

use crate::core::lock;
use crate::error::VaultError;
use crate::record::{FenceFact, bucket_of};

/// How long keys may be used after the fences were last read to their head.
pub const LEASE: Duration = Duration::from_secs(60);
/// How often the head is asked for, so that a quiet log does not end the leases.
const BEAT: Duration = Duration::from_secs(10);
/// Messages read at once.
const PAGE: usize = 256;
/// Looks at the head before a reader that never catches up gives up for now.
const CATCH_UPS: u32 = 64;

/// The stream of fences.
pub(crate) const FENCES: Stream = Stream::new(Family::State, Service::Vault);

/// Somebody who holds keys.
pub(crate) trait KeyHolder: Send + Sync {
    /// Drops the keys of these purposes of an owner.
    fn drop_keys(&self, owner: Owner, purposes: &[Purpose]);

    /// Drops every key.
    fn drop_all(&self);
}

/// Reads the fences for every handle of one process.
pub(crate) struct FenceReader {
    log: Arc<dyn Log>,
    clock: Arc<dyn Clock>,
    /// When the read began that last reached the head, in microseconds; `MIN`: never.
    fresh_at: AtomicI64,
    /// How far the stream was read. Also keeps reads apart.
    read_to: tokio::sync::Mutex<Position>,
    /// Counts the fences seen, by bucket of owners.
    marks: Vec<AtomicU64>,
    holders: Mutex<Vec<Weak<dyn KeyHolder>>>,
}

impl FenceReader {
    pub(crate) fn new(log: Arc<dyn Log>, clock: Arc<dyn Clock>) -> Self {
        Self {
            log,
            clock,
            fresh_at: AtomicI64::new(i64::MIN),
            read_to: tokio::sync::Mutex::new(Position::START),
            marks: (0..256).map(|_| AtomicU64::new(0)).collect(),
            holders: Mutex::default(),
        }
    }

    /// From now on, this holder's keys are dropped when their owner is fenced.
    pub(crate) fn register(&self, holder: Weak<dyn KeyHolder>) {
        let mut holders = lock(&self.holders);
        holders.retain(|holder| holder.strong_count() > 0);
        holders.push(holder);
    }

    /// Whether leases are alive.
    pub(crate) fn is_fresh(&self, now: Timestamp) -> bool {
        let fresh_at = self.fresh_at.load(Ordering::Acquire);
        fresh_at != i64::MIN && now.since(Timestamp::from_micros(fresh_at)) <= LEASE
    }

    /// Changes whenever a fence of the owner's bucket is seen: a lease that was asked for before is not kept.
    pub(crate) fn mark(&self, owner: Owner) -> u64 {
        let mark = self.marks.get(usize::from(bucket_of(owner)));
        mark.map_or(0, |mark| mark.load(Ordering::SeqCst))
    }

    /// Drops every key of every holder when the leases have ended.
    pub(crate) fn drop_if_stale(&self) {
        if self.is_fresh(self.clock.now()) {
            return;
        }
        for holder in self.holders() {
            holder.drop_all();
        }
    }

    /// Reads to the head of now.
    pub(crate) async fn refresh(&self) -> Result<(), VaultError> {
        let mut read_to = self.read_to.lock().await;
        self.catch_up(&mut read_to).await
    }

    async fn catch_up(&self, read_to: &mut Position) -> Result<(), VaultError> {
        for _ in 0..CATCH_UPS {
            let began = self.clock.now();
            let newest = self.log.newest(FENCES).await?;
            // Only the last message of a subject is kept, so the newest one is the end of what there is.
            let Some(newest) = newest.filter(|newest| newest.position > *read_to) else {
                self.fresh_at.fetch_max(began.micros(), Ordering::AcqRel);
                return Ok(());
            };
            let mut behind = true;
            while behind {
                let page = self.log.page(FENCES, *read_to, PAGE).await?;
                behind = !page.is_empty();
                for message in page {
                    *read_to = message.position.max(*read_to);
                    self.see(&message)?;
                }
                behind &= *read_to < newest.position;
            }
        }
        Err(VaultError::Busy)
    }

    /// Follows the stream until it breaks: sees fences as they come, and asks for the head now and then.
    pub(crate) async fn follow(&self) -> Result<(), VaultError> {
        self.drop_if_stale();
        self.refresh().await?;
        let after = *self.read_to.lock().await;
        let mut tail = self.log.tail(FENCES, after);
        loop {
            let next_beat = self.clock.now().plus(BEAT);
            tokio::select! {
                message = tail.next() => {
                    let Some(message) = message.transpose()? else { return Ok(()) };
                    let mut read_to = self.read_to.lock().await;
                    *read_to = message.position.max(*read_to);
                    self.see(&message)?;
                }
                () = self.clock.sleep_until(next_beat) => self.refresh().await?,
            }
        }
    }

    fn see(&self, message: &Message) -> Result<(), VaultError> {
        if message.subject.kind() != "fence" {
            return Ok(());
        }
        let fact = FenceFact::decode(&message.bytes)?;
        if let Some(mark) = self.marks.get(usize::from(bucket_of(fact.owner))) {
            // Before the keys are dropped: who leases at this moment sees either the mark or the drop.
            mark.fetch_add(1, Ordering::SeqCst);
        }
        let purposes: Vec<_> = fact.fences.iter().map(|fence| fence.purpose).collect();
        for holder in self.holders() {
            holder.drop_keys(fact.owner, &purposes);
        }
        Ok(())
    }

    fn holders(&self) -> Vec<Arc<dyn KeyHolder>> {
        let holders = lock(&self.holders);
        holders.iter().filter_map(Weak::upgrade).collect()
    }
}
