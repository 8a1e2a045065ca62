//! The clock: the only source of the time, so that tests, simulations and the demo can move it.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use hearth_kernel::Timestamp;
use tokio::sync::watch;

/// A clock. Never goes back while it is one and the same: what a task reads is at least what any task has read before,
/// also when the machine's time is set back. All clones are one and the same.
#[async_trait]
pub trait Clock: Send + Sync + fmt::Debug + 'static {
    /// Now.
    fn now(&self) -> Timestamp;

    /// Waits until this clock says so: it never ends before that, and a time that has come is no wait. A clock that is
    /// moved wakes whoever's time has come. Giving the wait up is harmless.
    async fn sleep_until(&self, time: Timestamp);

    /// Waits for a while of this clock, counted from the first time it is polled.
    async fn sleep(&self, period: Duration) {
        self.sleep_until(self.now().plus(period)).await;
    }
}

/// When this process first asked for the time.
#[expect(
    clippy::disallowed_methods,
    reason = "one of the two places that ask the machine for the time"
)]
static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
/// The farthest that the machine's time has been ahead of [`BEGAN`], in microseconds.
static AHEAD: AtomicI64 = AtomicI64::new(0);

/// The machine's clock. When the machine's time is set ahead it follows; when that is set back it goes on from where it
/// was, at the same pace, until the process ends: what is measured in ages (watermarks, leases) stays right.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

/// The time, given the machine's and how long the process has asked for it.
fn steady(machine: Timestamp, running: Duration, ahead: &AtomicI64) -> Timestamp {
    let running = i64::try_from(running.as_micros()).unwrap_or(i64::MAX);
    let found = machine.micros().saturating_sub(running);
    let before = ahead.fetch_max(found, Ordering::SeqCst);
    Timestamp::from_micros(before.max(found).saturating_add(running))
}

#[async_trait]
impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "one of the two places that ask the machine for the time"
    )]
    fn now(&self) -> Timestamp {
        let began = *BEGAN;
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let machine = since.map_or(Timestamp::EPOCH, |since| Timestamp::EPOCH.plus(since));
        steady(machine, began.elapsed(), &AHEAD)
    }

    async fn sleep_until(&self, time: Timestamp) {
        loop {
            let left = time.since(self.now());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left).await;
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_is_set_back_goes_on_and_one_that_is_set_ahead_is_followed() {
        let ahead = AtomicI64::new(0);
        let at = |machine: i64, running: u64| {
            let running = Duration::from_secs(running);
            steady(Timestamp::from_seconds(machine), running, &ahead)
        };
        assert_eq!(at(1000, 0), Timestamp::from_seconds(1000));
        assert_eq!(at(1005, 5), Timestamp::from_seconds(1005));
        // Set back by an hour: it neither goes back nor stands still.
        assert_eq!(at(1006 - 3600, 6), Timestamp::from_seconds(1006));
        assert_eq!(at(1016 - 3600, 16), Timestamp::from_seconds(1016));
        assert_eq!(at(5000, 17), Timestamp::from_seconds(5000));
    }
}
