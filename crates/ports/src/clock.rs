//! The clock: the only source of the time, so that tests, simulations and the demo can move it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use hearth_kernel::Timestamp;
use tokio::sync::watch;

/// A clock. Never goes back while it is one and the same.
#[async_trait]
pub trait Clock: Send + Sync + fmt::Debug + 'static {
    /// Now.
    fn now(&self) -> Timestamp;

    /// Waits until this clock says so.
    async fn sleep_until(&self, time: Timestamp);

    /// Waits for a while of this clock.
    async fn sleep(&self, period: Duration) {
        self.sleep_until(self.now().plus(period)).await;
    }
}

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

#[async_trait]
impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that asks the machine for the time"
    )]
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since.map_or(Timestamp::EPOCH, |since| Timestamp::EPOCH.plus(since))
    }

    async fn sleep_until(&self, time: Timestamp) {
        tokio::time::sleep(time.since(self.now())).await;
    }
}

/// The machine's clock, moved ahead: what the demo uses to let weeks pass.
#[derive(Clone, Debug)]
pub struct AdjustableClock {
    ahead_micros: Arc<AtomicI64>,
    moved: Arc<watch::Sender<()>>,
}

impl Default for AdjustableClock {
    fn default() -> Self {
        Self {
            ahead_micros: Arc::default(),
            moved: Arc::new(watch::Sender::new(())),
        }
    }
}

impl AdjustableClock {
    /// Lets that much time pass at once; sleepers whose time has come wake up.
    pub fn advance(&self, by: Duration) {
        let by = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        self.ahead_micros.fetch_add(by, Ordering::SeqCst);
        self.moved.send_replace(());
    }
}

#[async_trait]
impl Clock for AdjustableClock {
    fn now(&self) -> Timestamp {
        let now = SystemClock.now().micros();
        Timestamp::from_micros(now.saturating_add(self.ahead_micros.load(Ordering::SeqCst)))
    }

    async fn sleep_until(&self, time: Timestamp) {
        let mut moved = self.moved.subscribe();
        loop {
            let left = time.since(self.now());
            if left.is_zero() {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(left) => {}
                _ = moved.changed() => {}
            }
        }
    }
}

/// A clock that stands still until it is moved: for tests.
#[derive(Clone, Debug)]
pub struct ManualClock {
    now: Arc<watch::Sender<Timestamp>>,
}

impl ManualClock {
    /// A clock that says this.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self {
            now: Arc::new(watch::Sender::new(now)),
        }
    }

    /// Moves it ahead.
    pub fn advance(&self, by: Duration) {
        self.now.send_modify(|now| *now = now.plus(by));
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        *self.now.borrow()
    }

    async fn sleep_until(&self, time: Timestamp) {
        let mut now = self.now.subscribe();
        // The sender lives in `self`, so the wait cannot fail while this future runs.
        let _ = now.wait_for(|now| *now >= time).await;
    }
}
