//! Periods of 28 days, and the spans of days within them that share a chunk.

use hearth_kernel::{Capability, Day, RetentionClass, Timestamp};

/// Days of a period.
pub(crate) const DAYS: i32 = 28;
/// The most days of a query for readings or minutes.
pub(crate) const MOST_DAYS_RAW: i32 = 31;

/// A run of 28 days, counted from 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Period(i32);

impl Period {
    /// The period of a day.
    pub(crate) const fn of(day: Day) -> Self {
        Self(day.number().div_euclid(DAYS))
    }

    /// Its first day: where its manifest row stands.
    pub(crate) const fn first(self) -> Day {
        Day::from_number(self.0.saturating_mul(DAYS))
    }

    /// The day's place in it, 0 to 27.
    pub(crate) fn offset(self, day: Day) -> Option<u8> {
        let offset = day.number().checked_sub(self.first().number())?;
        u8::try_from(offset).ok().filter(|it| i32::from(*it) < DAYS)
    }

    /// The day at a place in it.
    pub(crate) fn day(self, offset: u8) -> Day {
        self.first().plus(i32::from(offset))
    }
}

/// How many days share a chunk in a class: at most an eighth of its period, and a divisor of 28.
pub(crate) const fn span_days(class: RetentionClass) -> u8 {
    match class {
        RetentionClass::Days7 => 1,
        RetentionClass::Days30 => 4,
        RetentionClass::Days90 => 7,
        RetentionClass::Days400 | RetentionClass::Years5 | RetentionClass::Rollups => 14,
    }
}

/// The last day, within the period, of the span that a day lies in: the day that its chunk has as key, because that is
/// when it may be sealed for the last time and when it is dropped.
pub(crate) const fn span_end(offset: u8, class: RetentionClass) -> u8 {
    let days = span_days(class);
    offset - offset % days + days - 1
}

/// Under which capability a part of a device's sparse readings stands: a number that no capability has.
pub(crate) fn shared(part: usize) -> Capability {
    Capability::from_stored(u16::try_from(part).unwrap_or(MOST_SHARED).min(MOST_SHARED))
}

/// The greatest number of a part; a device has at most 64 capabilities. The catalogue begins at 101.
const MOST_SHARED: u16 = 99;

/// Under which capability the rollups of all sparse readings of a class stand: a number that no capability has. Spans of
/// two classes may begin on one day, so they must not share a key.
pub(crate) const fn rolled(class: RetentionClass) -> Capability {
    // Classes are numbered from 1 to 6, and capabilities from 101.
    Capability::from_stored(class.number() as u16)
}

/// When what was observed up to and with a day may be dropped by the store.
pub(crate) fn expires(last: Day, class: RetentionClass) -> Timestamp {
    last.end().plus(class.period())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_is_in_one_span_of_one_period() {
        for number in -60..60 {
            let day = Day::from_number(number);
            let period = Period::of(day);
            assert!(period.first() <= day, "{number}");
            let offset = period.offset(day).unwrap();
            assert_eq!(period.day(offset), day);
            assert_eq!(Period::of(day.plus(DAYS)).offset(day), None);
            for class in RetentionClass::ALL {
                let end = span_end(offset, class);
                assert!(offset <= end && end < offset + span_days(class));
                assert!(i32::from(end) < DAYS);
            }
        }
    }

    #[test]
    fn spans_divide_the_period_and_are_short_beside_their_class() {
        for class in RetentionClass::ALL {
            assert_eq!(DAYS % i32::from(span_days(class)), 0);
            assert!(u16::from(span_days(class)) * 7 <= class.days(), "{class:?}");
        }
    }
}
