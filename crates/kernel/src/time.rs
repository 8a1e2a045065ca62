//! Points in time and days: i64 microseconds and i32 days since 1970-01-01 UTC, without leap seconds.
//!
//! Three clocks are never mixed: `observed_at` (the device), `received_at` (Hearth), `recorded_at` (the
//! log). All three have this type; the name of the field tells which one it is.

use std::fmt;
use std::time::Duration;

/// Microseconds in a second.
const MICROS_PER_SECOND: i64 = 1_000_000;
/// Microseconds in a day of UTC.
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;

/// A point in time: microseconds since 1970-01-01T00:00:00Z. Arithmetic saturates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(i64);

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);
    /// The last time there is; used as "never".
    pub const MAX: Self = Self(i64::MAX);

    /// The time that many microseconds after 1970.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// The time that many seconds after 1970.
    #[must_use]
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(MICROS_PER_SECOND))
    }

    /// Microseconds since 1970.
    #[must_use]
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970, rounded down.
    #[must_use]
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(MICROS_PER_SECOND)
    }

    /// The microseconds after [`Self::seconds`], 0 to 999,999.
    #[must_use]
    pub fn subsecond_micros(self) -> u32 {
        u32::try_from(self.0.rem_euclid(MICROS_PER_SECOND)).unwrap_or(0)
    }

    /// This time and a while.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(micros_of(by)))
    }

    /// A while before this time.
    #[must_use]
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(micros_of(by)))
    }

    /// How long after `earlier` this is; zero when it is not after.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        u64::try_from(self.0.saturating_sub(earlier.0))
            .map_or(Duration::ZERO, Duration::from_micros)
    }

    /// The UTC day this lies in.
    #[must_use]
    pub fn day(self) -> Day {
        let days = self.0.div_euclid(MICROS_PER_DAY);
        // i64 microseconds span less than 300,000 years: about 107 million days, well inside an i32.
        Day(i32::try_from(days).unwrap_or(i32::MAX))
    }
}

fn micros_of(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

impl fmt::Display for Timestamp {
    /// Microseconds since 1970, followed by `us`: unambiguous in logs, and free of a calendar.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}us", self.0)
    }
}

/// A day of UTC: days since 1970-01-01.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Day(i32);

impl Day {
    /// The day that many days after 1970-01-01.
    #[must_use]
    pub const fn from_number(days: i32) -> Self {
        Self(days)
    }

    /// Days since 1970-01-01.
    #[must_use]
    pub const fn number(self) -> i32 {
        self.0
    }

    /// Its first microsecond.
    #[must_use]
    pub fn start(self) -> Timestamp {
        Timestamp(i64::from(self.0).saturating_mul(MICROS_PER_DAY))
    }

    /// The first microsecond after it.
    #[must_use]
    pub fn end(self) -> Timestamp {
        Timestamp((i64::from(self.0) + 1).saturating_mul(MICROS_PER_DAY))
    }

    /// The day that many days later (or earlier, when negative).
    #[must_use]
    pub const fn plus(self, days: i32) -> Self {
        Self(self.0.saturating_add(days))
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "day {}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_cut_at_midnight_utc_also_before_1970() {
        assert_eq!(Timestamp::from_micros(-1).day(), Day::from_number(-1));
        assert_eq!(Timestamp::EPOCH.day(), Day::from_number(0));
        let day = Day::from_number(20_000);
        assert_eq!(day.start().day(), day);
        assert_eq!(Timestamp::from_micros(day.end().micros() - 1).day(), day);
        assert_eq!(day.end().day(), day.plus(1));
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Timestamp::MAX.plus(Duration::from_secs(1)), Timestamp::MAX);
        assert_eq!(Timestamp::EPOCH.since(Timestamp::MAX), Duration::ZERO);
    }
}
