//! What the time of a reading says about it: too old to keep, in the future, or neither.

use std::time::Duration;

use hearth_kernel::{RetentionClass, Timestamp};

/// A reading whose time is further ahead of its receipt is marked, and never the latest.
pub const FUTURE_AFTER: Duration = Duration::from_secs(300);
/// A reading whose time is further ahead still is refused: the device's clock is broken.
pub const FUTURE_MOST: Duration = Duration::from_secs(366 * 86_400);

/// What the time of a reading says about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timing {
    /// It is kept.
    Fine,
    /// It is kept and marked.
    Future,
    /// It is older than its period, so its keys are gone: it counts as durable and is dropped.
    Expired,
    /// It is more than a year ahead.
    TooFarAhead,
}

/// The bounds of the times of one batch and class, computed once per batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    oldest: i64,
    future: i64,
    last: i64,
}

impl Bounds {
    /// The bounds for readings received then.
    #[must_use]
    pub fn new(received_at: Timestamp, class: RetentionClass) -> Self {
        Self {
            oldest: received_at.minus(class.period()).micros(),
            future: received_at.plus(FUTURE_AFTER).micros(),
            last: received_at.plus(FUTURE_MOST).micros(),
        }
    }

    /// What that time, microseconds since 1970, says.
    #[must_use]
    pub const fn judge(&self, observed_at: i64) -> Timing {
        if observed_at < self.oldest {
            Timing::Expired
        } else if observed_at <= self.future {
            Timing::Fine
        } else if observed_at <= self.last {
            Timing::Future
        } else {
            Timing::TooFarAhead
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_to_the_microsecond() {
        let now = Timestamp::from_seconds(1_800_000_000);
        let bounds = Bounds::new(now, RetentionClass::Days7);
        let week = now.minus(RetentionClass::Days7.period()).micros();
        let ahead = now.plus(FUTURE_AFTER).micros();
        for (time, expected) in [
            (week - 1, Timing::Expired),
            (week, Timing::Fine),
            (now.micros(), Timing::Fine),
            (ahead, Timing::Fine),
            (ahead + 1, Timing::Future),
            (i64::MAX, Timing::TooFarAhead),
            (i64::MIN, Timing::Expired),
        ] {
            assert_eq!(bounds.judge(time), expected, "{time}");
        }
    }
}
