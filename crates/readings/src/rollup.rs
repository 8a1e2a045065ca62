//! Rollups: what the points of one series come to, by minute, hour or day (UTC).
//!
//! **Windows** begin at multiples of their length since 1970 and contain their start, not their end.
//! One without points is absent. Points are sorted and merged first, so the same readings give the
//! same rollup, bit by bit, in any order of arrival.
//!
//! **Numbers** ([`Spread`]): count, min, max, sum, first, last. A double that is not finite measures
//! nothing and is left out. Min and max follow `f64::total_cmp`. A sum of doubles is compensated
//! (Neumaier, 1974), in order of time; a sum of integers stays at the bounds of i64 instead of
//! wrapping. The mean is `sum / count`, and is not stored.
//!
//! **States** (booleans: [`Duty`], texts: [`States`]): count, first, last, and changes: how many
//! points differ from the point before them, which may lie in an earlier window. For booleans also
//! the time they were true: from a true point to the next point or the end of the window, and, for
//! what the last point of an earlier window left true, from the start of this window to its first
//! point. Before the first point the state is unknown and counts as not true. An absent window was
//! true throughout when the present one before it ended true: readers add that, and so does
//! [`Rollup::coarsen`]. So a coarser level equals the one computed from the points.
//!
//! **Levels**: an hour is by definition the merge of its minutes, a day that of its hours, so any
//! level can be derived from a finer one with the same bits.

mod aggregate;
mod codec;
#[cfg(test)]
mod tests;
mod window;

use crate::merge::Point;

pub use aggregate::{Duty, Number, Spread, States};
pub use window::{Window, Windows};

/// Length of the windows of a rollup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// One minute.
    Minute,
    /// One hour.
    Hour,
    /// One UTC day.
    Day,
}

impl Level {
    /// Length of a window in microseconds.
    #[must_use]
    pub const fn micros(self) -> i64 {
        match self {
            Self::Minute => 60_000_000,
            Self::Hour => 3_600_000_000,
            Self::Day => 86_400_000_000,
        }
    }

    /// Start of the window that contains this time.
    #[must_use]
    pub const fn start_of(self, time: i64) -> i64 {
        // Within a window of i64::MIN the start does not exist; the bound stands in for it.
        time.saturating_sub(time.rem_euclid(self.micros()))
    }

    const fn finer(self) -> Option<Self> {
        match self {
            Self::Minute => None,
            Self::Hour => Some(Self::Minute),
            Self::Day => Some(Self::Hour),
        }
    }
}

/// The windows of one level of one series, ascending.
#[derive(Debug, Clone, PartialEq)]
pub struct Rollup {
    level: Level,
    windows: Windows,
}

impl Rollup {
    /// The rollup of points that [`merge`](crate::merge) has sorted, such as those of a
    /// [`Chunk`](crate::Chunk). The first point says the kind; others of another kind are left out.
    #[must_use]
    pub fn of_points<'a>(level: Level, points: impl IntoIterator<Item = Point<'a>>) -> Self {
        let minutes = Self {
            level: Level::Minute,
            windows: Windows::of_points(points),
        };
        minutes.coarsen(level)
    }

    /// This rollup at a coarser level, with the bits that the points would give. At its own or a
    /// finer level it is returned as it is: detail cannot come back.
    #[must_use]
    pub fn coarsen(self, level: Level) -> Self {
        if level <= self.level {
            return self;
        }
        // One level after the other: the definition of an hour and of a day.
        let finer = match level.finer() {
            Some(finer) => self.coarsen(finer),
            None => self,
        };
        let windows = finer.windows.coarsen(finer.level, level);
        Self { level, windows }
    }

    /// The level.
    #[must_use]
    pub const fn level(&self) -> Level {
        self.level
    }

    /// The windows.
    #[must_use]
    pub const fn windows(&self) -> &Windows {
        &self.windows
    }

    /// Number of windows.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.windows.len()
    }

    /// Whether there are no windows.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.windows.len() == 0
    }
}

/// Points, or finer windows, that a window must stand for on average to be worth storing. A window
/// has six fields: below this, reading the finer level costs fewer bytes than reading this one.
const WORTH: usize = 8;

/// The levels of one day that are worth storing beside the points.
///
/// A level of less than eight points (or windows of the next finer level stored) per window is
/// absent: whoever asks for it derives it from that finer level, or from the points, with the same
/// bits. The day is always there. A store that lets points expire before their rollups takes
/// [`Rollup::of_points`] for the levels it promises.
#[derive(Debug, Clone, PartialEq)]
pub struct DayRollups {
    /// By the minute, if there are eight points to each.
    pub minutes: Option<Rollup>,
    /// By the hour, if there are eight to each of the minutes stored, or else of the points.
    pub hours: Option<Rollup>,
    /// The day itself.
    pub day: Rollup,
}

impl DayRollups {
    /// The rollups of a day's points, which [`merge`](crate::merge) has sorted.
    #[must_use]
    pub fn of_points<'a>(points: impl IntoIterator<Item = Point<'a>>) -> Self {
        let mut finest = 0usize;
        let counted = points.into_iter().inspect(|_| finest += 1);
        let minutes = Rollup::of_points(Level::Minute, counted);
        let hours = minutes.clone().coarsen(Level::Hour);
        let day = hours.clone().coarsen(Level::Day);
        let mut worth = |level: Rollup| {
            let kept = level.len() * WORTH <= finest;
            if kept {
                finest = level.len();
            }
            kept.then_some(level)
        };
        Self {
            minutes: worth(minutes),
            hours: worth(hours),
            day,
        }
    }
}
