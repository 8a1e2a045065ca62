//! Rings and epochs over the log and custody: the one protocol by which a record is read, believed and changed.
//!
//! Several vault processes run at once and may stop anywhere. What holds them together:
//! - A record changes only at the position that was read.
//! - A ring is believed only when a leader read of its bucket's epochs, *begun after* the ring was read,
//!   shows its epoch open; else it is re-wrapped first and read again. So a ring is never used that the scan
//!   of a rotation could have missed.
//! - A new wrapping uses the epoch that this later read showed open. A rotation's scan moves every ring of its
//!   bucket, so a change that was decided before the scan conflicts, and no change lands under an epoch whose
//!   scan is over, save a ring's very first: that one is marked fresh, was never used, and is replaced.
//! - The escrow holds the ring before any key of it is handed out.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hearth_kernel::{KeyId, Owner, Timestamp};
use hearth_ports::{
    Clock, EpochKey, Expected, KeyCustody, Log, Position, Read, StoreError, Subject,
};
use zeroize::Zeroizing;

use crate::epoch::{EpochState, Epochs};
use crate::error::VaultError;
use crate::keyring::KeyRing;
use crate::record::{Fence, RingHead, RingRecord, bucket_of, epoch_subject, ring_subject};
use crate::seal::{Key, fill_random, key_from};

/// Tries of one change before the caller is told to come back.
const TRIES: u32 = 16;
/// The shortest of the longest waits between tries; doubled each time (full jitter).
const FIRST_WAIT: Duration = Duration::from_micros(200);
/// The longest wait between tries.
const LONGEST_WAIT: Duration = Duration::from_millis(100);
/// Locks that keep the tasks of one process from racing each other for a ring.
const LOCKS: usize = 64;
/// Unspent blocks of seals that one process remembers. One that is forgotten is never spent.
const MAX_BUDGETS: usize = 65_536;

/// How a task waits between tries. Apart from the clock, which may stand still in tests.
pub(crate) type Pause = fn(Duration) -> Pin<Box<dyn Future<Output = ()> + Send>>;

/// Waits by the machine's time.
pub(crate) fn pause(wait: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
    Box::pin(tokio::time::sleep(wait))
}

/// The vault's ports, and what one process remembers.
pub(crate) struct Core {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) custody: Arc<dyn KeyCustody>,
    pub(crate) clock: Arc<dyn Clock>,
    pause: Pause,
    /// Keys of live epochs: at most two for each of 256 buckets.
    epoch_keys: Mutex<HashMap<(u8, u64), Key>>,
    /// Seals that were drawn and not made yet, by key.
    budgets: Mutex<HashMap<KeyId, Arc<AtomicI64>>>,
    locks: Vec<tokio::sync::Mutex<()>>,
}

/// A ring as the log has it, unwrapped.
struct View {
    record: Option<(RingRecord, Position)>,
    ring: KeyRing,
    epochs: Epochs,
    /// Whether it must be written again before anything in it may be used.
    must_move: bool,
    /// Whether what was wrapped could never have been used, and was put aside.
    replaced: bool,
}

/// What an edit works on.
pub(crate) struct Draft<'a> {
    pub(crate) ring: &'a mut KeyRing,
    pub(crate) fences: &'a mut Vec<Fence>,
    /// The last epoch under which keys of this ring can lie in any copy.
    pub(crate) last_epoch: u64,
    /// Whether there is a record already.
    pub(crate) exists: bool,
    pub(crate) now: Timestamp,
    /// Whether the change of the pass before this one certainly stands in the log.
    pub(crate) landed: bool,
}

/// How much an edit changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Touch {
    /// Nothing: what was read may be used as it is.
    Nothing,
    /// Counters only: an older copy of the ring opens the same things.
    Counters,
    /// Keys or fences.
    Keys,
}

/// What became of one pass.
enum Step<T> {
    Done(T),
    Again { landed: bool },
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// It stands in the log.
    Landed,
    /// It does not, or it cannot be told: read again.
    Lost,
}

impl Core {
    pub(crate) fn new(
        log: Arc<dyn Log>,
        custody: Arc<dyn KeyCustody>,
        clock: Arc<dyn Clock>,
        pause: Pause,
    ) -> Self {
        Self {
            log,
            custody,
            clock,
            pause,
            epoch_keys: Mutex::default(),
            budgets: Mutex::default(),
            locks: (0..LOCKS).map(|_| tokio::sync::Mutex::new(())).collect(),
        }
    }

    /// Changes a ring by `edit`, until a pass has nothing left to change and may believe what it read.
    /// Answers what that last pass's edit answered. `edit` is called once per pass and must converge.
    pub(crate) async fn change<T>(
        &self,
        owner: Owner,
        mut edit: impl FnMut(&mut Draft<'_>) -> Result<(Touch, T), VaultError> + Send,
    ) -> Result<T, VaultError>
    where
        T: Send,
    {
        let lock = self.locks.get(usize::from(bucket_of(owner)) % LOCKS);
        let _one_at_a_time = match lock {
            Some(lock) => Some(lock.lock().await),
            None => None,
        };
        let mut tries = Tries::new(self);
        let mut landed = false;
        loop {
            match self.pass(owner, landed, &mut edit).await {
                Ok(Step::Done(answer)) => return Ok(answer),
                Ok(Step::Again { landed: now }) => {
                    landed = now;
                    tries.again(now, VaultError::Busy).await?;
                }
                Err(error) => {
                    landed = false;
                    tries.after(error).await?;
                }
            }
        }
    }

    async fn pass<T>(
        &self,
        owner: Owner,
        landed: bool,
        edit: &mut (impl FnMut(&mut Draft<'_>) -> Result<(Touch, T), VaultError> + Send),
    ) -> Result<Step<T>, VaultError>
    where
        T: Send,
    {
        let mut view = self.view(owner).await?;
        let now = self.clock.now();
        let old = view.record.as_ref().map(|(record, _)| record.head.clone());
        let mut fences = old.as_ref().map_or_else(Vec::new, |old| old.fences.clone());
        let expired = view.ring.expire(now);
        let mut draft = Draft {
            ring: &mut view.ring,
            fences: &mut fences,
            last_epoch: old.as_ref().map_or(0, |old| old.epoch.max(old.shred_epoch)),
            exists: old.is_some(),
            now,
            landed,
        };
        let before = draft.ring.generations().len();
        let (touch, answer) = edit(&mut draft)?;
        let shredded = expired || view.ring.generations().len() < before;
        if touch == Touch::Nothing && !expired && !view.must_move {
            if let Some((record, _)) = &view.record {
                self.escrow(record).await?;
            }
            return Ok(Step::Done(answer));
        }
        let Some((epoch, key)) = self.wrapping_key(owner, &view).await? else {
            return Ok(Step::Again { landed: false });
        };
        let light = touch == Touch::Counters && !expired && !view.must_move;
        let head = next_head(owner, old.as_ref(), &view, fences, shredded, light, now);
        let record = RingRecord::seal(head, &view.ring, epoch, &key)?;
        let expected = Expected::Subject(view.record.map(|(_, position)| position));
        let written = self
            .write(&ring_subject(owner), expected, Bytes::from(record.encode()))
            .await?;
        Ok(Step::Again {
            landed: written == Written::Landed,
        })
    }

    /// The open epoch's number and key; `None` when one had to be opened, and all must be read again.
    async fn wrapping_key(
        &self,
        owner: Owner,
        view: &View,
    ) -> Result<Option<(u64, Key)>, VaultError> {
        if view.ring.is_empty() {
            return Ok(Some((0, key_from(&[0; 32]))));
        }
        let bucket = bucket_of(owner);
        match view.epochs.open() {
            Some(open) => {
                let key = self.epoch_key(bucket, open.number).await?;
                Ok(Some((open.number, key)))
            }
            None => {
                self.open_epoch(bucket).await?;
                Ok(None)
            }
        }
    }

    /// Reads a ring, and behind it the epochs of its bucket.
    async fn view(&self, owner: Owner) -> Result<View, VaultError> {
        let message = self.log.last(&ring_subject(owner), Read::Leader).await?;
        let (epochs, _) = self.epochs(bucket_of(owner)).await?;
        let Some(message) = message else {
            return Ok(View {
                record: None,
                ring: KeyRing::new()?,
                epochs,
                must_move: false,
                replaced: false,
            });
        };
        let record = RingRecord::decode(&message.bytes)?;
        if record.head.owner != owner {
            return Err(VaultError::Corrupt("a ring stands under another's subject"));
        }
        let unwrapped = match self.unwrap(&record, &epochs).await {
            Err(VaultError::Corrupt(why)) => {
                // Before anything is believed to be lost: it may have moved between the two reads.
                let again = self.log.last(&ring_subject(owner), Read::Leader).await?;
                let still = again.is_some_and(|again| again.position == message.position);
                return Err(if still {
                    VaultError::Corrupt(why)
                } else {
                    VaultError::Busy
                });
            }
            other => other?,
        };
        let (ring, must_move, replaced) = unwrapped;
        Ok(View {
            record: Some((record, message.position)),
            ring,
            epochs,
            must_move,
            replaced,
        })
    }

    /// The ring of a record, whether it must move, and whether it was put aside as never used.
    async fn unwrap(
        &self,
        record: &RingRecord,
        epochs: &Epochs,
    ) -> Result<(KeyRing, bool, bool), VaultError> {
        let epoch = record.head.epoch;
        if record.wrapped.is_empty() {
            return Ok((KeyRing::new()?, false, false));
        }
        let must_move = match epochs.state_of(epoch) {
            Some(EpochState::Open) => false,
            Some(EpochState::Draining) => true,
            Some(EpochState::Opening) => {
                return Err(VaultError::Corrupt("a ring lies under an unopened epoch"));
            }
            Some(EpochState::Destroying) | None => {
                let gone = epochs.state_of(epoch).is_some() || epoch <= epochs.destroyed_through();
                return if gone && record.head.fresh {
                    Ok((KeyRing::new()?, true, true))
                } else {
                    Err(VaultError::Corrupt("a used ring lies under a lost epoch"))
                };
            }
        };
        let key = self.epoch_key(bucket_of(record.head.owner), epoch).await?;
        let ring = record.open(&key);
        let ring = ring.ok_or(VaultError::Corrupt("a ring does not unwrap"))?;
        Ok((ring, must_move, false))
    }

    /// Sees to it that the escrow has this ring, or a later one.
    async fn escrow(&self, record: &RingRecord) -> Result<(), VaultError> {
        let head = &record.head;
        let there = self.custody.escrowed_ring(head.owner).await?;
        if there.is_none_or(|(version, _)| version < head.escrow_version) {
            self.custody
                .escrow_ring(head.owner, head.version, &record.encode())
                .await?;
        }
        Ok(())
    }

    /// Appends; an unknown outcome is settled by reading the subject.
    pub(crate) async fn write(
        &self,
        subject: &Subject,
        expected: Expected,
        bytes: Bytes,
    ) -> Result<Written, VaultError> {
        match self.log.append(subject, expected, bytes.clone()).await {
            Ok(_) => Ok(Written::Landed),
            Err(StoreError::Conflict) => Ok(Written::Lost),
            Err(StoreError::Unknown(_)) => {
                let last = self.log.last(subject, Read::Leader).await?;
                if last.is_some_and(|last| last.bytes == bytes) {
                    Ok(Written::Landed)
                } else {
                    Ok(Written::Lost)
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The seals of a key that this process has drawn and not made.
    pub(crate) fn budget(&self, key: KeyId) -> Arc<AtomicI64> {
        let mut budgets = lock(&self.budgets);
        if budgets.len() >= MAX_BUDGETS && !budgets.contains_key(&key) {
            // What is forgotten here counts as made. Those still leased stay with their leases.
            let some: Vec<_> = budgets.keys().take(MAX_BUDGETS / 8).copied().collect();
            for key in some {
                budgets.remove(&key);
            }
        }
        Arc::clone(budgets.entry(key).or_default())
    }

    /// The epochs of a bucket, by a leader read; forgets keys of those that are gone.
    pub(crate) async fn epochs(
        &self,
        bucket: u8,
    ) -> Result<(Epochs, Option<Position>), VaultError> {
        let message = self.log.last(&epoch_subject(bucket), Read::Leader).await?;
        let Some(message) = message else {
            return Ok((Epochs::default(), None));
        };
        let epochs = Epochs::decode(bucket, &message.bytes)?;
        self.forget_epoch_keys(bucket, &epochs);
        Ok((epochs, Some(message.position)))
    }

    /// Drops the keys of epochs that are destroyed or being destroyed.
    pub(crate) fn forget_epoch_keys(&self, bucket: u8, epochs: &Epochs) {
        lock(&self.epoch_keys).retain(|(of, number), _| {
            *of != bucket
                || epochs
                    .state_of(*number)
                    .is_some_and(|state| state != EpochState::Destroying)
        });
    }

    /// Changes the epochs of a bucket by `edit`, which answers whether there was anything to change.
    pub(crate) async fn change_epochs(
        &self,
        bucket: u8,
        mut edit: impl FnMut(&mut Epochs, Timestamp) -> bool + Send,
    ) -> Result<Epochs, VaultError> {
        let mut tries = Tries::new(self);
        loop {
            let error = match self.epochs(bucket).await {
                Ok((mut epochs, position)) => {
                    if !edit(&mut epochs, self.clock.now()) {
                        return Ok(epochs);
                    }
                    let bytes = Bytes::from(epochs.encode(bucket));
                    let expected = Expected::Subject(position);
                    let subject = epoch_subject(bucket);
                    match self.write(&subject, expected, bytes).await {
                        Ok(Written::Landed) => {
                            self.forget_epoch_keys(bucket, &epochs);
                            return Ok(epochs);
                        }
                        Ok(Written::Lost) => VaultError::Busy,
                        Err(error) => error,
                    }
                }
                Err(error) => error,
            };
            tries.after(error).await?;
        }
    }

    /// Opens a bucket's next epoch: announces it, has its key in custody and escrow, and only then opens it;
    /// the one open before drains. Does nothing while an older one is still on its way out.
    pub(crate) async fn open_epoch(&self, bucket: u8) -> Result<Epochs, VaultError> {
        let announced = self
            .change_epochs(bucket, |epochs, now| epochs.announce(now).is_some())
            .await?;
        let Some(opening) = announced.in_state(EpochState::Opening).copied() else {
            return Ok(announced);
        };
        self.confirm_key(bucket, opening.number, announced.destroyed_through())
            .await?;
        self.change_epochs(bucket, |epochs, now| epochs.promote(opening.number, now))
            .await
    }

    /// Sees to it that custody and escrow hold a key for an announced epoch.
    ///
    /// A key is stored at most once, by who made it: storing one again that custody already had could bring
    /// it back after others destroyed it.
    async fn confirm_key(
        &self,
        bucket: u8,
        number: u64,
        destroyed_through: u64,
    ) -> Result<(), VaultError> {
        let mut tries = Tries::new(self);
        loop {
            let held = self.custody.epochs().await?;
            let mut here = held.iter().filter(|key| key.bucket == bucket);
            if here.any(|key| key.epoch == number) {
                return Ok(());
            }
            // Stored late by somebody who was slow, after its number was destroyed: never used.
            let late = held
                .iter()
                .filter(|key| key.bucket == bucket && key.epoch <= destroyed_through);
            for key in late {
                self.custody.destroy(bucket, key.epoch).await?;
            }
            let mut key = EpochKey {
                bucket,
                epoch: number,
                key: Zeroizing::new([0; 32]),
            };
            fill_random(key.key.as_mut_slice())?;
            // Read back, whatever store answers: another's key for this number may be the one that stands.
            match self.custody.store(&key).await {
                Ok(()) => tries.again(true, VaultError::Busy).await?,
                Err(error) => tries.after(VaultError::Store(error)).await?,
            }
        }
    }

    /// The key of a live epoch.
    pub(crate) async fn epoch_key(&self, bucket: u8, epoch: u64) -> Result<Key, VaultError> {
        if let Some(key) = lock(&self.epoch_keys).get(&(bucket, epoch)) {
            return Ok(Arc::clone(key));
        }
        let held = self.custody.epochs().await?;
        let key = held
            .iter()
            .find(|key| key.bucket == bucket && key.epoch == epoch)
            .map(|key| key_from(&key.key))
            .ok_or(VaultError::KeyMissing { bucket, epoch })?;
        lock(&self.epoch_keys).insert((bucket, epoch), Arc::clone(&key));
        Ok(key)
    }
}

/// The clear part of a ring's next version.
fn next_head(
    owner: Owner,
    old: Option<&RingHead>,
    view: &View,
    fences: Vec<Fence>,
    shredded: bool,
    light: bool,
    now: Timestamp,
) -> RingHead {
    let version = old.map_or(0, |old| old.version) + 1;
    let destroyed = view.epochs.destroyed_through();
    let (mut shred_epoch, mut shredded_at) = old.map_or((0, Timestamp::EPOCH), |old| {
        (old.shred_epoch, old.shredded_at)
    });
    if let Some(old) = old
        && shredded
    {
        if shred_epoch <= destroyed {
            shredded_at = now;
        }
        shred_epoch = shred_epoch.max(old.epoch);
    }
    let had_keys = old.is_some_and(|old| old.epoch != 0) && !view.replaced;
    RingHead {
        owner,
        version,
        escrow_version: match old {
            Some(old) if light => old.escrow_version,
            _ => version,
        },
        epoch: 0,
        fresh: !had_keys && !view.ring.is_empty(),
        fences,
        shred_epoch,
        shredded_at,
        next_expiry: view.ring.next_expiry(),
    }
}

/// Bounded tries with full jitter.
pub(crate) struct Tries {
    left: u32,
    most: Duration,
    pause: Pause,
}

impl Tries {
    pub(crate) fn new(core: &Core) -> Self {
        Self {
            left: TRIES,
            most: FIRST_WAIT,
            pause: core.pause,
        }
    }

    /// Another try, at once when the last one got somewhere.
    pub(crate) async fn again(
        &mut self,
        progress: bool,
        error: VaultError,
    ) -> Result<(), VaultError> {
        self.left = self.left.checked_sub(1).ok_or(error)?;
        if !progress {
            self.wait().await;
        }
        Ok(())
    }

    /// Another try after an error that may pass; any other ends it.
    pub(crate) async fn after(&mut self, error: VaultError) -> Result<(), VaultError> {
        match error {
            // A key that is missing may have been destroyed between the two reads: the next look tells.
            VaultError::Store(
                StoreError::Conflict | StoreError::Retryable(_) | StoreError::Unknown(_),
            )
            | VaultError::Busy
            | VaultError::KeyMissing { .. } => self.again(false, error).await,
            error => Err(error),
        }
    }

    async fn wait(&mut self) {
        let mut random = [0; 4];
        // Without random bytes the wait is the whole one.
        let part = fill_random(&mut random).map_or(u32::MAX, |()| u32::from_be_bytes(random));
        let wait = self.most.mul_f64(f64::from(part) / f64::from(u32::MAX));
        self.most = (self.most * 2).min(LONGEST_WAIT);
        (self.pause)(wait).await;
    }
}

/// Locks, also after a holder panicked: each critical section here leaves its data whole.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
