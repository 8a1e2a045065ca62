//! Definitions, laws and round trips of the rollup.

use proptest::prelude::*;

use super::*;
use crate::{
    error::DecodeError,
    merge::merge,
    value::{Marks, Value},
};

const MINUTE: i64 = 60_000_000;
const HOUR: i64 = 60 * MINUTE;
const LEVELS: [Level; 3] = [Level::Minute, Level::Hour, Level::Day];

fn round_trip(rollup: &Rollup) {
    let bytes = rollup.encode().unwrap();
    let back = Rollup::decode(&bytes).unwrap();
    assert_eq!(&back, rollup);
    assert_eq!(back.encode().unwrap(), bytes);
}

fn times() -> impl Strategy<Value = i64> {
    // Bursts inside minutes, and gaps of hours.
    (0i64..24, 0i64..3, 0i64..4).prop_map(|(h, m, q)| h * HOUR + m * MINUTE + q * 15_000_001)
}

fn sorted(mut points: Vec<Point<'_>>) -> Vec<Point<'_>> {
    merge(&mut points);
    points
}

/// What a window of booleans holds, microsecond arithmetic from the definition.
fn duty_by_definition(points: &[Point<'_>], start: i64, end: i64) -> Option<Duty> {
    let states: Vec<(i64, bool)> = points
        .iter()
        .map(|p| (p.at, p.value == Value::Bool(true)))
        .collect();
    let inside: Vec<usize> = (0..states.len())
        .filter(|&i| (start..end).contains(&states[i].0))
        .collect();
    let (&first, &last) = (inside.first()?, inside.last()?);
    let true_micros = states
        .iter()
        .enumerate()
        .filter(|(_, state)| state.1)
        .map(|(i, state)| {
            let until = states.get(i + 1).map_or(end, |next| next.0).min(end);
            (until - state.0.max(start)).max(0)
        })
        .sum();
    let changes = inside
        .iter()
        .filter(|&&i| i > 0 && states[i].1 != states[i - 1].1)
        .count();
    Some(Duty {
        count: u64::try_from(inside.len()).unwrap(),
        changes: u64::try_from(changes).unwrap(),
        true_micros,
        first: states[first].1,
        last: states[last].1,
    })
}

proptest! {
    #[test]
    fn doubles_do_not_depend_on_order_and_round_trip(
        (original, shuffled) in prop::collection::vec((times(), any::<u64>(), 0u8..3), 0..80)
            .prop_flat_map(|p| (Just(p.clone()), Just(p).prop_shuffle())),
    ) {
        let points = |heads: &[(i64, u64, u8)]| {
            sorted(heads.iter().map(|&(at, bits, odd)| {
                let tenths = f64::from(u16::from_le_bytes([bits.to_le_bytes()[0], 0])) / 10.0;
                Point::new(at, Value::Double(if odd == 0 { f64::from_bits(bits) } else { tenths }))
            }).collect())
        };
        let (one, two) = (points(&original), points(&shuffled));
        for level in LEVELS {
            let rollup = Rollup::of_points(level, one.iter().copied());
            prop_assert_eq!(&rollup, &Rollup::of_points(level, two.iter().copied()));
            round_trip(&rollup);
        }
    }

    #[test]
    fn integers_sum_up_and_round_trip(
        heads in prop::collection::vec((times(), prop_oneof![-9i64..9, any::<i64>()]), 1..80),
    ) {
        let points = sorted(heads.iter().map(|&(at, v)| Point::new(at, Value::Int(v))).collect());
        for level in LEVELS {
            round_trip(&Rollup::of_points(level, points.iter().copied()));
        }
        let day = Rollup::of_points(Level::Day, points.iter().copied());
        let Windows::Int(windows) = day.windows() else { panic!("kind") };
        let values: Vec<i64> =
            points.iter().filter_map(|p| if let Value::Int(v) = p.value { Some(v) } else { None }).collect();
        prop_assert_eq!(windows.len(), 1);
        let holds = windows[0].holds;
        prop_assert_eq!(holds.count, u64::try_from(values.len()).unwrap());
        prop_assert_eq!(Some(&holds.min), values.iter().min());
        prop_assert_eq!(Some(&holds.max), values.iter().max());
        prop_assert_eq!(Some(&holds.first), values.first());
        prop_assert_eq!(Some(&holds.last), values.last());
    }

    #[test]
    fn booleans_are_what_the_definition_says_at_every_level(
        heads in prop::collection::vec((times(), any::<bool>()), 0..60),
    ) {
        let points = sorted(heads.iter().map(|&(at, v)| Point::new(at, Value::Bool(v))).collect());
        for level in LEVELS {
            let rollup = Rollup::of_points(level, points.iter().copied());
            round_trip(&rollup);
            let expected: Vec<Window<Duty>> = (0..24 * HOUR / level.micros())
                .map(|i| i * level.micros())
                .filter_map(|start| {
                    let holds = duty_by_definition(&points, start, start + level.micros())?;
                    Some(Window { start, holds })
                })
                .collect();
            match rollup.windows() {
                Windows::Bool(windows) => prop_assert_eq!(windows, &expected),
                other => prop_assert!(other.is_empty()),
            }
        }
    }

    #[test]
    fn texts_round_trip_and_count_their_changes(
        heads in prop::collection::vec((times(), "[ab]|off"), 1..60),
    ) {
        let points = sorted(heads.iter().map(|(at, v)| Point::new(*at, Value::Text(v))).collect());
        for level in LEVELS {
            round_trip(&Rollup::of_points(level, points.iter().copied()));
        }
        let day = Rollup::of_points(Level::Day, points.iter().copied());
        let Windows::Text(windows) = day.windows() else { panic!("kind") };
        let changes = points.windows(2).filter(|pair| pair[0].value != pair[1].value).count();
        prop_assert_eq!(windows[0].holds.changes, u64::try_from(changes).unwrap());
        prop_assert_eq!(Value::Text(&windows[0].holds.last), points[points.len() - 1].value);
    }
}

#[test]
fn sums_are_compensated_and_values_that_measure_nothing_are_left_out() {
    let values = [0.1, 0.2, 0.3, f64::NAN, f64::INFINITY, 0.4];
    let points = (0i64..)
        .zip(values)
        .map(|(at, v)| Point::new(at, Value::Double(v)));
    let day = Rollup::of_points(Level::Day, points);
    let Windows::Double(windows) = day.windows() else {
        panic!("kind")
    };
    let expected = Spread {
        count: 4,
        min: 0.1,
        max: 0.4,
        sum: 1.0,
        first: 0.1,
        last: 0.4,
    };
    assert_eq!(
        windows,
        &[Window {
            start: 0,
            holds: expected
        }]
    );

    let only = Rollup::of_points(Level::Day, [Point::new(5, Value::Double(-0.0))]);
    let Windows::Double(windows) = only.windows() else {
        panic!("kind")
    };
    assert_eq!(windows[0].holds, Spread::of(-0.0));
    assert!(Rollup::of_points(Level::Day, [Point::new(5, Value::Double(f64::NAN))]).is_empty());
}

#[test]
fn sums_at_their_bounds_stay_there() {
    let sum = |values: [f64; 3]| Spread::merge(values.map(Spread::of)).unwrap().sum;
    assert_eq!(
        sum([f64::MAX, f64::MAX, 1.0]).to_bits(),
        f64::INFINITY.to_bits()
    );
    assert_eq!(
        sum([-f64::MAX, -f64::MAX, 1.0]).to_bits(),
        f64::NEG_INFINITY.to_bits()
    );
    let ints = Spread::merge([i64::MAX, 5, -1].map(Spread::of)).unwrap();
    assert_eq!(ints.sum, i64::MAX);
}

#[test]
fn windows_whose_fields_do_not_follow_from_their_ends_are_kept_whole() {
    // Not from points: a window of one value with a sum of its own.
    let holds = Spread {
        count: 1,
        min: 1,
        max: 9,
        sum: 100,
        first: 3,
        last: 4,
    };
    let windows = Windows::Int(vec![Window { start: 0, holds }]);
    round_trip(&Rollup {
        level: Level::Hour,
        windows,
    });
}

#[test]
fn levels_that_add_nothing_are_not_stored() {
    let every = |step: i64| {
        let points = (0..24 * HOUR / step).map(move |i| Point {
            marks: Marks::FUTURE,
            ..Point::new(i * step, Value::Int(i))
        });
        let rollups = DayRollups::of_points(points);
        assert_eq!(rollups.day.len(), 1);
        (
            rollups.minutes.map(|level| level.len()),
            rollups.hours.map(|level| level.len()),
        )
    };
    assert_eq!(every(HOUR), (None, None));
    assert_eq!(every(MINUTE), (None, Some(24)));
    assert_eq!(every(MINUTE / 6), (None, Some(24)));
    assert_eq!(every(MINUTE / 10), (Some(1_440), Some(24)));
}

#[test]
fn bytes_that_contradict_themselves_are_refused() {
    assert_eq!(Rollup::decode(&[]), Err(DecodeError::Truncated));
    assert_eq!(
        Rollup::decode(&[0x72]),
        Err(DecodeError::UnknownFormat(0x72))
    );
    assert_eq!(
        Rollup::decode(&[0x71, 12, 0]),
        Err(DecodeError::Malformed("level of a rollup"))
    );
    let rollup = Rollup::of_points(Level::Hour, [Point::new(5, Value::Int(5))]);
    let mut bytes = rollup.encode().unwrap();
    bytes.push(0);
    assert_eq!(Rollup::decode(&bytes), Err(DecodeError::Trailing(1)));
}
