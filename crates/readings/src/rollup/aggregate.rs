//! What one window holds, by kind of value, and how two neighbouring windows merge.
//!
//! Knows no windows: order and gaps of time are [`super::window`].

use std::{cmp::Ordering, fmt::Debug};

/// Count, extremes, sum and ends of the numbers in a window.
#[derive(Debug, Clone, Copy)]
pub struct Spread<T> {
    /// Number of points: at least 1.
    pub count: u64,
    /// The least value.
    pub min: T,
    /// The greatest value.
    pub max: T,
    /// The sum of the values.
    pub sum: T,
    /// The earliest value.
    pub first: T,
    /// The latest value.
    pub last: T,
}

/// A type of number that can be rolled up: f64 or i64. Comparison is total and bit-exact.
pub trait Number: Copy + Debug + sealed::Sealed {
    /// A sum that has not been rounded yet.
    #[doc(hidden)]
    type Total: Copy + Default + Debug;
    /// Adds to a sum.
    #[doc(hidden)]
    fn add(total: &mut Self::Total, value: Self);
    /// Rounds a sum, or holds it at its bounds.
    #[doc(hidden)]
    fn total(total: Self::Total) -> Self;
    /// The total order.
    #[doc(hidden)]
    fn order(self, other: Self) -> Ordering;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f64 {}
    impl Sealed for i64 {}
}

/// A sum of doubles and what rounding took from it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Compensated {
    /// `None` before the first value: 0.0 + -0.0 would lose a sign.
    sum: Option<f64>,
    lost: f64,
}

impl Number for f64 {
    type Total = Compensated;

    fn add(total: &mut Compensated, value: Self) {
        let Some(sum) = total.sum else {
            total.sum = Some(value);
            return;
        };
        let next = sum + value;
        total.lost += if sum.abs() >= value.abs() {
            (sum - next) + value
        } else {
            (value - next) + sum
        };
        total.sum = Some(next);
    }

    fn total(total: Compensated) -> Self {
        match total.sum {
            None => 0.0,
            // An overflow leaves NaN in `lost`; the sum itself then says which infinity.
            Some(sum) if !sum.is_finite() => {
                if sum.is_nan() {
                    Self::NAN
                } else {
                    sum
                }
            }
            Some(sum) if total.lost == 0.0 || !total.lost.is_finite() => sum,
            Some(sum) => sum + total.lost,
        }
    }

    fn order(self, other: Self) -> Ordering {
        self.total_cmp(&other)
    }
}

impl Number for i64 {
    type Total = i128;

    fn add(total: &mut i128, value: Self) {
        *total = total.saturating_add(i128::from(value));
    }

    fn total(total: i128) -> Self {
        let out_of_range = if total < 0 { Self::MIN } else { Self::MAX };
        Self::try_from(total).unwrap_or(out_of_range)
    }

    fn order(self, other: Self) -> Ordering {
        self.cmp(&other)
    }
}

impl<T: Number> Spread<T> {
    /// The window of one value.
    #[must_use]
    pub const fn of(value: T) -> Self {
        Self {
            count: 1,
            min: value,
            max: value,
            sum: value,
            first: value,
            last: value,
        }
    }

    /// The merge of windows in order of time. `None` for none.
    #[must_use]
    pub fn merge(windows: impl IntoIterator<Item = Self>) -> Option<Self> {
        let mut windows = windows.into_iter();
        let mut merged = windows.next()?;
        let mut total = T::Total::default();
        T::add(&mut total, merged.sum);
        for next in windows {
            merged.count = merged.count.saturating_add(next.count);
            merged.min = least(merged.min, next.min);
            merged.max = greatest(merged.max, next.max);
            T::add(&mut total, next.sum);
            merged.last = next.last;
        }
        merged.sum = T::total(total);
        Some(merged)
    }

    /// What `count`, `first` and `last` say of a window of one or two points.
    pub(super) fn of_ends(count: u64, first: T, last: T) -> Self {
        let mut total = T::Total::default();
        T::add(&mut total, first);
        if count > 1 {
            T::add(&mut total, last);
        }
        let (min, max) = (least(first, last), greatest(first, last));
        Self {
            count,
            min,
            max,
            sum: T::total(total),
            first,
            last,
        }
    }
}

impl<T: Number> PartialEq for Spread<T> {
    fn eq(&self, other: &Self) -> bool {
        let same = |a: T, b: T| a.order(b) == Ordering::Equal;
        self.count == other.count
            && same(self.min, other.min)
            && same(self.max, other.max)
            && same(self.sum, other.sum)
            && same(self.first, other.first)
            && same(self.last, other.last)
    }
}

fn least<T: Number>(a: T, b: T) -> T {
    if b.order(a) == Ordering::Less { b } else { a }
}

fn greatest<T: Number>(a: T, b: T) -> T {
    if b.order(a) == Ordering::Greater {
        b
    } else {
        a
    }
}

/// The booleans in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Duty {
    /// Number of points: at least 1.
    pub count: u64,
    /// Points that differ from the point before them.
    pub changes: u64,
    /// Microseconds of the window during which the state was true.
    pub true_micros: i64,
    /// The earliest value.
    pub first: bool,
    /// The latest value.
    pub last: bool,
}

/// The texts in a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct States {
    /// Number of points: at least 1.
    pub count: u64,
    /// Points that differ from the point before them.
    pub changes: u64,
    /// The earliest value.
    pub first: Box<str>,
    /// The latest value.
    pub last: Box<str>,
}
