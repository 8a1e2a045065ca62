//! `Faulty<T>`: a store that delays, fails before a write, and fails after one, by script or by seed.
//!
//! What a failed call means is what [`StoreError`] says: `Retryable`, nothing was written; `Unknown`, it
//! was, or will be. A tail is cut between two messages. Delays are the clock's, so no test waits for them.

mod log;
mod stores;
mod worlds;

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hearth_kernel::Timestamp;
use hearth_ports::{Clock, Expected, ManualClock, StoreError, Subject};

use crate::random::Random;

/// What happens to one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing: the call goes through.
    None,
    /// The call goes through after a while of the clock.
    Delay(Duration),
    /// The call does nothing and answers `Retryable`.
    Before,
    /// The write happens, and the answer is `Unknown`. For a read: as `Before`.
    After,
    /// The answer is `Unknown`, and the append happens before the next one, or right after it: what a log does
    /// with a message that was still under way. For any other call, and for appends that expect nothing: as
    /// `After`.
    Late,
}

/// How often a seeded plan does what, in thousandths of all calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// Delays, each of up to a second of the clock.
    pub delay: u16,
    /// Failures before.
    pub before: u16,
    /// Failures after.
    pub after: u16,
    /// Appends that land late.
    pub late: u16,
    /// Cuts of a tail, for each message.
    pub cut: u16,
}

impl Rates {
    /// Bad weather: about two of five calls go wrong.
    pub const STORM: Self = Self {
        delay: 100,
        before: 150,
        after: 150,
        late: 50,
        cut: 100,
    };
}

#[derive(Debug)]
enum Plan {
    /// These, then nothing any more.
    Script(VecDeque<Fault>),
    /// At random, for ever.
    Seeded(Random, Rates),
}

/// The plan of what goes wrong, shared by the wrappers that follow it and the test that wrote it.
#[derive(Debug)]
pub struct Faults {
    clock: Arc<dyn Clock>,
    plan: Mutex<Plan>,
    /// Tails to cut at their next message.
    cuts: Mutex<u32>,
}

impl Faults {
    /// Faults one after the other, one for each call; after the last, none.
    #[must_use]
    pub fn script(clock: Arc<dyn Clock>, faults: impl IntoIterator<Item = Fault>) -> Arc<Self> {
        Arc::new(Self {
            clock,
            plan: Mutex::new(Plan::Script(faults.into_iter().collect())),
            cuts: Mutex::new(0),
        })
    }

    /// Faults at random, which the generator's seed repeats where the calls come in the same order.
    #[must_use]
    pub fn seeded(clock: Arc<dyn Clock>, random: Random, rates: Rates) -> Arc<Self> {
        Arc::new(Self {
            clock,
            plan: Mutex::new(Plan::Seeded(random, rates)),
            cuts: Mutex::new(0),
        })
    }

    /// Adds faults to the end of a script; ends a seeded plan and begins a script.
    pub fn then(&self, faults: impl IntoIterator<Item = Fault>) {
        let mut plan = lock(&self.plan);
        match &mut *plan {
            Plan::Script(script) => script.extend(faults),
            Plan::Seeded(..) => *plan = Plan::Script(faults.into_iter().collect()),
        }
    }

    /// Nothing goes wrong any more.
    pub fn calm(&self) {
        *lock(&self.plan) = Plan::Script(VecDeque::new());
        *lock(&self.cuts) = 0;
    }

    /// Cuts that many tails, each when it would give its next message.
    pub fn cut_tails(&self, tails: u32) {
        *lock(&self.cuts) += tails;
    }

    fn next(&self) -> Fault {
        match &mut *lock(&self.plan) {
            Plan::Script(script) => script.pop_front().unwrap_or(Fault::None),
            Plan::Seeded(random, rates) => {
                let delay = Duration::from_micros(random.below(1_000_000));
                let mut roll = random.below(1000);
                // Each fault has its share of the thousand, one after the other.
                for (rate, fault) in [
                    (rates.delay, Fault::Delay(delay)),
                    (rates.before, Fault::Before),
                    (rates.after, Fault::After),
                    (rates.late, Fault::Late),
                ] {
                    match roll.checked_sub(u64::from(rate)) {
                        Some(rest) => roll = rest,
                        None => return fault,
                    }
                }
                Fault::None
            }
        }
    }

    /// Whether a tail is cut now, instead of giving its next message.
    fn cuts(&self) -> bool {
        let mut left = lock(&self.cuts);
        if *left > 0 {
            *left -= 1;
            return true;
        }
        match &mut *lock(&self.plan) {
            Plan::Script(_) => false,
            Plan::Seeded(random, rates) => random.chance(rates.cut),
        }
    }
}

/// A store behind a plan of faults.
pub struct Faulty<T: ?Sized> {
    inner: Arc<T>,
    faults: Arc<Faults>,
    /// Appends still under way.
    late: Mutex<Vec<LateAppend>>,
}

#[derive(Debug)]
struct LateAppend {
    subject: Subject,
    expected: Expected,
    bytes: Bytes,
}

impl<T: ?Sized> fmt::Debug for Faulty<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faulty")
            .field("faults", &self.faults)
            .finish_non_exhaustive()
    }
}

impl<T: ?Sized> Faulty<T> {
    /// That store, with those faults.
    #[must_use]
    pub fn new(inner: Arc<T>, faults: Arc<Faults>) -> Self {
        Self {
            inner,
            faults,
            late: Mutex::default(),
        }
    }

    /// A call that only reads: it fails before, or not at all.
    async fn read<R>(
        &self,
        call: impl Future<Output = Result<R, StoreError>> + Send,
    ) -> Result<R, StoreError> {
        match self.faults.next() {
            Fault::None => call.await,
            Fault::Delay(period) => {
                self.faults.clock.sleep(period).await;
                call.await
            }
            Fault::Before | Fault::After | Fault::Late => Err(failed_before()),
        }
    }

    /// A call that writes. A future does nothing until it is awaited, so dropping it is failing before.
    async fn write<R>(
        &self,
        call: impl Future<Output = Result<R, StoreError>> + Send,
    ) -> Result<R, StoreError> {
        match self.faults.next() {
            Fault::None => call.await,
            Fault::Delay(period) => {
                self.faults.clock.sleep(period).await;
                call.await
            }
            Fault::Before => Err(failed_before()),
            Fault::After | Fault::Late => {
                // A lost answer hides a refusal as well as a success.
                drop(call.await);
                Err(failed_after())
            }
        }
    }
}

fn failed_before() -> StoreError {
    StoreError::retryable("injected: failed before")
}

fn failed_after() -> StoreError {
    StoreError::unknown("injected: the answer was lost")
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A clock on which waiting is moving it: a simulation's, where nothing waits for the wall.
#[derive(Clone, Debug)]
pub struct SimulatedClock(ManualClock);

impl SimulatedClock {
    /// A clock that says this.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self(ManualClock::new(now))
    }

    /// Lets that much time pass.
    pub fn advance(&self, by: Duration) {
        self.0.advance(by);
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Clock for SimulatedClock {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    async fn sleep_until(&self, time: Timestamp) {
        // Others go first: that is all a delay is for.
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
        self.0.advance(time.since(self.0.now()));
    }

    async fn sleep(&self, period: Duration) {
        self.sleep_until(self.now().plus(period)).await;
    }
}
