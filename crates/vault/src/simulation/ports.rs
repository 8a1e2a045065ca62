//! The ports of the simulation: memory's, with a scheduling point before and after each effect, and faults.

use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use hearth_backend_memory::{MemoryCustody, MemoryLog};
use hearth_kernel::{InstallationId, Owner};
use hearth_ports::{
    Announcement, EpochKey, Expected, KeyCustody, Log, ManualClock, Message, Position, Purge, Read,
    Removed, StoreError, Stream, Subject, Topic,
};

use crate::core::lock;

/// A small generator (splitmix64): the same seed, the same run.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is small.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound.max(1)).unwrap();
        usize::try_from(self.next() % bound).unwrap()
    }
}

/// Lets the others go on once.
pub(super) struct Turn(bool);

pub(super) fn turn() -> Turn {
    Turn(false)
}

impl Future for Turn {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if self.0 {
            return Poll::Ready(());
        }
        self.0 = true;
        Poll::Pending
    }
}

/// The wait between tries: a turn.
pub(super) fn pause(_: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(turn())
}

/// Decides about faults, until the ports are calm.
struct Faults {
    random: Mutex<Random>,
    calm: AtomicBool,
}

impl Faults {
    fn new(seed: u64) -> Self {
        Self {
            random: Mutex::new(Random::new(seed ^ 0x5eed)),
            calm: AtomicBool::new(false),
        }
    }

    /// True once in `of` times.
    fn strikes(&self, of: usize) -> bool {
        !self.calm.load(Ordering::SeqCst) && lock(&self.random).below(of) == 0
    }

    async fn before(&self) -> Result<(), StoreError> {
        if self.calm.load(Ordering::SeqCst) {
            return Ok(());
        }
        turn().await;
        if self.strikes(40) {
            return Err(StoreError::retryable("fault before"));
        }
        Ok(())
    }

    async fn after(&self) {
        if !self.calm.load(Ordering::SeqCst) {
            turn().await;
        }
    }
}

/// A write that left its process and did not arrive yet.
type Underway = (Subject, Expected, Bytes);

/// The log, with everything that was ever stored in it.
pub(super) struct SimLog {
    inner: MemoryLog,
    faults: Faults,
    underway: Mutex<Vec<Underway>>,
    stored: Mutex<Vec<(Subject, Bytes)>>,
}

impl SimLog {
    pub(super) fn new(seed: u64, clock: ManualClock) -> Self {
        Self {
            inner: MemoryLog::new(Arc::new(clock)),
            faults: Faults::new(seed),
            underway: Mutex::default(),
            stored: Mutex::default(),
        }
    }

    /// No more faults and turns.
    pub(super) fn calm(&self) {
        self.faults.calm.store(true, Ordering::SeqCst);
        // What is still under way then may arrive or not; half of it does.
        let underway = std::mem::take(&mut *lock(&self.underway));
        for (subject, expected, bytes) in underway.into_iter().step_by(2) {
            self.store(&subject, expected, bytes).ok();
        }
    }

    /// One of the writes under way arrives.
    pub(super) fn land_one(&self, random: &mut Random) {
        let mut underway = lock(&self.underway);
        if underway.is_empty() {
            return;
        }
        let chosen = random.below(underway.len());
        let (subject, expected, bytes) = underway.swap_remove(chosen);
        drop(underway);
        self.store(&subject, expected, bytes).ok();
    }

    /// Every message ever stored under a subject, also those replaced since: what a thief of copies holds.
    pub(super) fn copies(&self, subject: &Subject) -> Vec<Bytes> {
        let stored = lock(&self.stored);
        let copies = stored.iter().filter(|(of, _)| of == subject);
        copies.map(|(_, bytes)| bytes.clone()).collect()
    }

    fn store(
        &self,
        subject: &Subject,
        expected: Expected,
        bytes: Bytes,
    ) -> Result<Position, StoreError> {
        let position = super::finish_now(self.inner.append(subject, expected, bytes.clone()))?;
        lock(&self.stored).push((subject.clone(), bytes));
        Ok(position)
    }
}

#[async_trait]
impl Log for SimLog {
    async fn append(
        &self,
        subject: &Subject,
        expected: Expected,
        bytes: Bytes,
    ) -> Result<Position, StoreError> {
        self.faults.before().await?;
        // First writes of a subject are few, and the ones that may be late to an epoch.
        let late = if expected == Expected::Subject(None) {
            6
        } else {
            25
        };
        if self.faults.strikes(late) {
            lock(&self.underway).push((subject.clone(), expected, bytes));
            return Err(StoreError::unknown("may arrive later"));
        }
        let stored = self.store(subject, expected, bytes);
        let unknown = self.faults.strikes(25);
        self.faults.after().await;
        if unknown {
            return Err(StoreError::unknown("happened, and was not heard of"));
        }
        stored
    }

    async fn load(
        &self,
        subject: &Subject,
        after: Option<Position>,
        limit: usize,
        read: Read,
    ) -> Result<Vec<Message>, StoreError> {
        self.faults.before().await?;
        let loaded = self.inner.load(subject, after, limit, read).await;
        self.faults.after().await;
        loaded
    }

    async fn last(&self, subject: &Subject, read: Read) -> Result<Option<Message>, StoreError> {
        self.faults.before().await?;
        let last = self.inner.last(subject, read).await;
        self.faults.after().await;
        last
    }

    async fn head(&self, stream: Stream) -> Result<Option<Position>, StoreError> {
        self.faults.before().await?;
        let head = self.inner.head(stream).await;
        self.faults.after().await;
        head
    }

    async fn newest(&self, stream: Stream) -> Result<Option<Message>, StoreError> {
        self.faults.before().await?;
        let newest = self.inner.newest(stream).await;
        self.faults.after().await;
        newest
    }

    async fn page(
        &self,
        stream: Stream,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        self.faults.before().await?;
        // Short pages, so that rings move while they are scanned.
        let page = self.inner.page(stream, after, limit.min(3)).await;
        self.faults.after().await;
        page
    }

    fn tail(
        &self,
        stream: Stream,
        after: Position,
    ) -> BoxStream<'static, Result<Message, StoreError>> {
        self.inner.tail(stream, after)
    }

    async fn purge(
        &self,
        subject: &Subject,
        through: Position,
        purge: Purge,
    ) -> Result<u64, StoreError> {
        self.inner.purge(subject, through, purge).await
    }

    async fn remove(&self, subject: &Subject, position: Position) -> Result<Removed, StoreError> {
        self.inner.remove(subject, position).await
    }

    async fn trim(&self, stream: Stream, before: Position) -> Result<(), StoreError> {
        self.inner.trim(stream, before).await
    }

    async fn announce(&self, topic: &Topic, bytes: Bytes) -> Result<(), StoreError> {
        self.inner.announce(topic, bytes).await
    }

    fn listen(&self, topic: &Topic) -> BoxStream<'static, Announcement> {
        self.inner.listen(topic)
    }
}

/// Custody. Its writes may fail after they happened; none happens later than its call.
pub(super) struct SimCustody {
    inner: MemoryCustody,
    faults: Faults,
    /// Every key that anybody ever asked to be stored.
    asked: Mutex<HashSet<[u8; 32]>>,
}

impl SimCustody {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            inner: MemoryCustody::new(InstallationId::from_bytes([1; 16])),
            faults: Faults::new(seed ^ 0xc057),
            asked: Mutex::default(),
        }
    }

    /// No more faults and turns.
    pub(super) fn calm(&self) {
        self.faults.calm.store(true, Ordering::SeqCst);
    }

    /// The keys that lie there now.
    pub(super) fn stolen_keys(&self) -> Vec<EpochKey> {
        super::finish_now(self.inner.epochs()).unwrap()
    }

    /// The ring that lies in the escrow now.
    pub(super) fn stolen_ring(&self, owner: Owner) -> Option<Bytes> {
        let ring = super::finish_now(self.inner.escrowed_ring(owner)).unwrap();
        ring.map(|(_, bytes)| Bytes::from(bytes))
    }

    async fn answer<T>(&self, done: Result<T, StoreError>) -> Result<T, StoreError> {
        let lost = self.faults.strikes(40);
        self.faults.after().await;
        if lost {
            return Err(StoreError::retryable("fault after"));
        }
        done
    }
}

#[async_trait]
impl KeyCustody for SimCustody {
    fn installation(&self) -> InstallationId {
        self.inner.installation()
    }

    fn overwrites_in_place(&self) -> bool {
        self.inner.overwrites_in_place()
    }

    async fn epochs(&self) -> Result<Vec<EpochKey>, StoreError> {
        self.faults.before().await?;
        let done = self.inner.epochs().await;
        self.answer(done).await
    }

    async fn store(&self, key: &EpochKey) -> Result<(), StoreError> {
        // Whoever stores a key that was stored before may bring it back after others destroyed it.
        assert!(
            lock(&self.asked).insert(*key.key),
            "{key:?} is stored again"
        );
        self.faults.before().await?;
        let done = self.inner.store(key).await;
        self.answer(done).await
    }

    async fn destroy(&self, bucket: u8, epoch: u64) -> Result<(), StoreError> {
        self.faults.before().await?;
        let done = self.inner.destroy(bucket, epoch).await;
        self.answer(done).await
    }

    async fn escrow_ring(
        &self,
        owner: Owner,
        version: u64,
        wrapped: &[u8],
    ) -> Result<(), StoreError> {
        self.faults.before().await?;
        let done = self.inner.escrow_ring(owner, version, wrapped).await;
        self.answer(done).await
    }

    async fn escrowed_ring(&self, owner: Owner) -> Result<Option<(u64, Vec<u8>)>, StoreError> {
        self.faults.before().await?;
        let done = self.inner.escrowed_ring(owner).await;
        self.answer(done).await
    }

    async fn remove_escrowed_ring(&self, owner: Owner) -> Result<(), StoreError> {
        self.faults.before().await?;
        let done = self.inner.remove_escrowed_ring(owner).await;
        self.answer(done).await
    }
}
