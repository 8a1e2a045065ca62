//! Which of two readings of the same capability and instant stays.
//!
//! The order is total: the larger rank wins, and under equal ranks the larger value
//! ([`Value`]'s order); marks of equal winners are joined. So merging is commutative, associative
//! and idempotent: batches sent twice, cut, shuffled or compacted in between come to the same
//! points, bit by bit.
//!
//! A rank must be a property of the reading that a resend does not change. `received_at` is not
//! (a resend is received later), the hub's batch sequence is. A rank of 0 for all leaves the choice
//! to the value and costs nothing in a chunk.

use crate::value::{Marks, Value};

/// One reading of a series that is known from the context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point<'a> {
    /// Observed at, microseconds UTC.
    pub at: i64,
    /// The larger one wins among readings of the same instant. Stable under resends, or 0.
    pub rank: u64,
    /// Marks of the service.
    pub marks: Marks,
    /// The value.
    pub value: Value<'a>,
}

impl<'a> Point<'a> {
    /// A point of rank 0 without marks.
    #[must_use]
    pub const fn new(at: i64, value: Value<'a>) -> Self {
        Self {
            at,
            rank: 0,
            marks: Marks::NONE,
            value,
        }
    }
}

/// Sorts by time and keeps one point per instant: the winner. Any order of arrival, and any number
/// of repetitions, gives the same points.
pub fn merge(points: &mut Vec<Point<'_>>) {
    if points.windows(2).all(|pair| pair[0].at < pair[1].at) {
        return;
    }
    points.sort_unstable_by_key(|point| (point.at, point.rank, point.value));
    // `dedup_by` keeps the earlier slot; the later point is the greater, so it moves there.
    points.dedup_by(|next, kept| {
        if next.at != kept.at {
            return false;
        }
        if (next.rank, next.value) == (kept.rank, kept.value) {
            kept.marks = kept.marks.union(next.marks);
        } else {
            *kept = *next;
        }
        true
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn points() -> impl Strategy<Value = Vec<Point<'static>>> {
        let point =
            (0i64..12, 0u64..3, 0u8..4, -2i64..3).prop_map(|(at, rank, marks, value)| Point {
                at,
                rank,
                marks: Marks::from_bits(marks),
                value: Value::Int(value),
            });
        prop::collection::vec(point, 0..40)
    }

    proptest! {
        #[test]
        fn any_order_and_cut_comes_to_the_same(
            (original, shuffled) in points().prop_flat_map(|p| (Just(p.clone()), Just(p).prop_shuffle())),
            cut in 0usize..40,
        ) {
            let mut once = original.clone();
            merge(&mut once);
            prop_assert!(once.windows(2).all(|pair| pair[0].at < pair[1].at));

            let (mut left, mut right) = (shuffled.clone(), Vec::new());
            right.extend(left.drain(cut.min(shuffled.len())..));
            merge(&mut left);
            merge(&mut right);
            right.extend(left);
            right.extend_from_slice(&shuffled);
            merge(&mut right);
            prop_assert_eq!(right, once);
        }
    }

    #[test]
    fn the_larger_rank_wins_and_then_the_larger_value() {
        let point = |rank, value| Point {
            rank,
            ..Point::new(5, Value::Double(value))
        };
        let mut points = vec![point(2, 1.0), point(1, 9.0), point(2, 0.5)];
        merge(&mut points);
        assert_eq!(points, [point(2, 1.0)]);
    }
}
