//! Round trips, refusals and sizes of the chunk.

use proptest::prelude::*;

use super::*;

/// 2026-11-23T00:00:00Z.
const MIDNIGHT: i64 = 1_795_392_000_000_000;
const MINUTE: i64 = 60_000_000;

#[derive(Debug, Clone)]
enum Column {
    Double(Vec<u64>),
    Int(Vec<i64>),
    Bool(Vec<bool>),
    Text(Vec<String>),
}

impl Column {
    fn value(&self, index: usize) -> Value<'_> {
        match self {
            Self::Double(v) => Value::Double(f64::from_bits(v[index])),
            Self::Int(v) => Value::Int(v[index]),
            Self::Bool(v) => Value::Bool(v[index]),
            Self::Text(v) => Value::Text(&v[index]),
        }
    }
}

fn column(rows: usize) -> impl Strategy<Value = Column> {
    use prop::collection::vec;
    let decimal = (-9_999i32..9_999).prop_map(|v| (f64::from(v) / 100.0).to_bits());
    prop_oneof![
        vec(any::<u64>(), rows).prop_map(Column::Double),
        vec(decimal, rows).prop_map(Column::Double),
        vec(any::<i64>(), rows).prop_map(Column::Int),
        vec(-5i64..5, rows).prop_map(Column::Int),
        vec(any::<bool>(), rows).prop_map(Column::Bool),
        vec("\\PC{0,3}", rows).prop_map(Column::Text),
    ]
}

/// Times of one day, with duplicates; ranks and marks; a column of values.
fn day() -> impl Strategy<Value = (Vec<(i64, u64, u8)>, Column)> {
    (0usize..150).prop_flat_map(|rows| {
        let at = prop_oneof![0..86_400_000_000i64, (0..1_440i64).prop_map(|m| m * MINUTE)];
        let rank = prop_oneof![Just(0u64), any::<u64>()];
        let head = (at, rank, 0u8..2);
        (prop::collection::vec(head, rows), column(rows))
    })
}

fn points<'a>(heads: &[(i64, u64, u8)], column: &'a Column) -> Vec<Point<'a>> {
    let point = |(index, &(offset, rank, marks)): (usize, &(i64, u64, u8))| Point {
        at: MIDNIGHT + offset,
        rank,
        marks: Marks::from_bits(marks),
        value: column.value(index),
    };
    heads.iter().enumerate().map(point).collect()
}

proptest! {
    #[test]
    fn any_day_round_trips_bit_by_bit((heads, column) in day()) {
        let chunk = Chunk::from_points(points(&heads, &column)).unwrap();
        let bytes = chunk.encode().unwrap();
        let back = Chunk::decode(&bytes).unwrap();
        prop_assert_eq!(&back, &chunk);
        let mut expected = points(&heads, &column);
        merge(&mut expected);
        prop_assert!(back.points().eq(expected));
        prop_assert_eq!(back.encode().unwrap(), bytes);
    }

    #[test]
    fn compacting_in_steps_gives_the_bytes_of_compacting_at_once(
        ((heads, column), cut) in (day(), 0usize..150),
    ) {
        let all = points(&heads, &column);
        let once = Chunk::from_points(all.clone()).unwrap().encode().unwrap();
        let (early, late) = all.split_at(cut.min(all.len()));
        // The late half came first, and the early one came twice.
        let first = Chunk::from_points(late.to_vec()).unwrap().encode().unwrap();
        let first = Chunk::decode(&first).unwrap();
        let mut next: Vec<Point<'_>> = first.points().collect();
        next.extend(early.iter().rev().chain(early));
        prop_assert_eq!(Chunk::from_points(next).unwrap().encode().unwrap(), once);
    }
}

#[test]
fn what_is_not_one_series_of_one_day_is_refused() {
    let point = |at, value| Point::new(at, value);
    let mixed = vec![point(0, Value::Int(1)), point(0, Value::Bool(true))];
    assert_eq!(Chunk::from_points(mixed), Err(EncodeError::MixedKinds));
    let days = vec![
        point(MIDNIGHT - 1, Value::Int(1)),
        point(MIDNIGHT, Value::Int(1)),
    ];
    assert_eq!(Chunk::from_points(days), Err(EncodeError::CrossesMidnight));
    let ends = vec![point(i64::MIN, Value::Int(1))];
    assert_eq!(Chunk::from_points(ends), Err(EncodeError::CrossesMidnight));
    let many = (0..131_073).map(|at| point(at, Value::Int(1))).collect();
    assert!(matches!(
        Chunk::from_points(many),
        Err(EncodeError::TooLarge { .. })
    ));
    let long = "x".repeat(4_097);
    let text = vec![point(0, Value::Text(&long))];
    assert!(matches!(
        Chunk::from_points(text),
        Err(EncodeError::TooLarge { .. })
    ));
}

#[test]
fn bytes_that_contradict_themselves_are_refused() {
    assert_eq!(Chunk::decode(&[]), Err(DecodeError::Truncated));
    assert_eq!(
        Chunk::decode(&[0x62, 0]),
        Err(DecodeError::UnknownFormat(0x62))
    );
    assert!(Chunk::decode(&[FORMAT, 1, 0]).unwrap().is_empty());
    assert_eq!(
        Chunk::decode(&[FORMAT, 1, 0, 0]),
        Err(DecodeError::Trailing(1))
    );
    // Two rows, a regular time column with a step of 0.
    let standing = [FORMAT, 1, 2, 0, 0, 0, 0, 0];
    assert_eq!(
        Chunk::decode(&standing),
        Err(DecodeError::Malformed("times that do not ascend"))
    );
    // A step of one day.
    let long = [FORMAT, 1, 2, 5 << 3, 0, 2, 0, 0];
    assert_eq!(
        Chunk::decode(&long),
        Err(DecodeError::Malformed("times of too many days"))
    );
}

#[test]
fn points_between_takes_the_start_and_leaves_the_end() {
    let points = (0..10)
        .map(|i| Point::new(MIDNIGHT + i, Value::Int(i)))
        .collect();
    let chunk = Chunk::from_points(points).unwrap();
    let found: Vec<i64> = chunk
        .points_between(MIDNIGHT + 3, MIDNIGHT + 5)
        .map(|point| point.at - MIDNIGHT)
        .collect();
    assert_eq!(found, [3, 4]);
    assert_eq!(chunk.points_between(MIDNIGHT + 5, MIDNIGHT + 3).count(), 0);
}

#[test]
fn a_day_of_minutes_from_a_sensor_stays_under_its_budget() {
    // A random walk in tenths on a clock of milliseconds with 20 ms of jitter: 1.4 bytes.
    let mut state = 0x2545_f491_4f6c_dd1du64;
    let mut random = |below: i64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        i64::try_from(state >> 33).unwrap() % below
    };
    let mut tenths = 215i32;
    let points: Vec<Point<'_>> = (0..1_440)
        .map(|minute| {
            tenths += i32::try_from(random(3)).unwrap() - 1;
            let jitter = (random(41)) * 1_000;
            Point::new(
                MIDNIGHT + minute * MINUTE + jitter,
                Value::Double(f64::from(tenths) / 10.0),
            )
        })
        .collect();
    let bytes = Chunk::from_points(points).unwrap().encode().unwrap().len();
    assert!(bytes * 10 <= 1_440 * 14, "{bytes} bytes");
}

#[test]
fn days_of_a_sparse_series_share_a_chunk() {
    let day = 86_400_000_000i64;
    let points: Vec<_> = (0..28)
        .map(|n| Point::new(n * day, Value::Int(n)))
        .collect();
    let chunk = Chunk::of_days(points.clone(), 28).unwrap();
    let bytes = chunk.encode().unwrap();
    assert_eq!(Chunk::decode_days(&bytes, 28), Ok(chunk));
    assert!(Chunk::decode_days(&bytes, 27).is_err() && Chunk::decode(&bytes).is_err());
    assert_eq!(
        Chunk::of_days(points, 27),
        Err(EncodeError::CrossesMidnight)
    );
}
