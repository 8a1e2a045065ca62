//! Round trips and refusals of the segment.

use proptest::prelude::*;

use super::*;
use crate::error::DecodeError;

/// 2026-11-23T00:00:00Z.
const MIDNIGHT: i64 = 1_795_392_000_000_000;
const DAY: i64 = 86_400_000_000;

#[derive(Debug, Clone)]
enum Owned {
    Double(u64),
    Int(i64),
    Bool(bool),
    Text(String),
}

impl Owned {
    fn borrow(&self) -> Value<'_> {
        match self {
            Self::Double(bits) => Value::Double(f64::from_bits(*bits)),
            Self::Int(value) => Value::Int(*value),
            Self::Bool(value) => Value::Bool(*value),
            Self::Text(value) => Value::Text(value),
        }
    }
}

type OwnedRow = (u8, u16, i64, u8, Owned);

fn value() -> impl Strategy<Value = Owned> {
    prop_oneof![
        any::<u64>().prop_map(Owned::Double),
        (-500i32..500).prop_map(|v| Owned::Double((f64::from(v) / 10.0).to_bits())),
        any::<i64>().prop_map(Owned::Int),
        any::<bool>().prop_map(Owned::Bool),
        "[a-zé]{0,4}".prop_map(Owned::Text),
    ]
}

fn rows(most: usize) -> impl Strategy<Value = Vec<OwnedRow>> {
    let row = (0u8..6, 0u16..5, 0..DAY, 0u8..3, value());
    prop::collection::vec(row, 0..most)
}

fn build(rows: &[OwnedRow]) -> Segment {
    let mut builder = SegmentBuilder::new(MIDNIGHT + 7);
    for (device, capability, offset, marks, value) in rows {
        builder
            .push(&Row {
                device: &[*device; 16],
                capability: *capability,
                observed_at: MIDNIGHT + offset,
                marks: Marks::from_bits(*marks),
                value: value.borrow(),
            })
            .unwrap();
    }
    builder.finish().unwrap()
}

proptest! {
    #[test]
    fn any_rows_round_trip_in_order_and_bit_by_bit(input in rows(200)) {
        let segment = build(&input);
        let back = Segment::decode(&segment.encode().unwrap()).unwrap();
        prop_assert!(back.rows().eq(segment.rows()));
        prop_assert_eq!(back.len(), input.len());
        prop_assert_eq!(back.received_at(), MIDNIGHT + 7);
        for (row, (device, capability, offset, marks, value)) in back.rows().zip(&input) {
            prop_assert_eq!(row.device, &[*device; 16]);
            prop_assert_eq!(row.capability, *capability);
            prop_assert_eq!(row.observed_at, MIDNIGHT + offset);
            prop_assert_eq!(row.marks.bits(), *marks);
            prop_assert_eq!(row.value, value.borrow());
        }
    }

    #[test]
    fn buffers_of_one_segment_do_not_leak_into_the_next(first in rows(100), second in rows(100)) {
        let mut scratch = Scratch::default();
        let mut reused = Segment::default();
        let mut bytes = Vec::new();
        for input in [&first, &second] {
            let segment = build(input);
            bytes.clear();
            segment.encode_with(&mut scratch, &mut bytes).unwrap();
            prop_assert_eq!(&bytes, &segment.encode().unwrap());
            reused.decode_into(&mut scratch, &bytes).unwrap();
            prop_assert!(reused.rows().eq(segment.rows()));
        }
    }
}

fn sample() -> Columns {
    Columns {
        received_at: MIDNIGHT + 3,
        devices: vec![[1; 16]],
        measures: vec![Measure {
            capability: 9,
            kind: ValueKind::Int,
        }],
        device: vec![0, 0],
        measure: vec![0, 0],
        observed_at: vec![MIDNIGHT, MIDNIGHT + 1],
        ints: vec![4, 5],
        ..Columns::default()
    }
}

#[test]
fn columns_that_do_not_fit_are_refused() {
    assert!(Segment::new(sample()).is_ok());
    let refused = |change: fn(&mut Columns)| {
        let mut columns = sample();
        change(&mut columns);
        Segment::new(columns).unwrap_err()
    };
    let inconsistent = |change| matches!(refused(change), EncodeError::Inconsistent(_));
    assert!(inconsistent(|c| c.device[1] = 1));
    assert!(inconsistent(|c| c.measure[1] = 1));
    assert!(inconsistent(|c| c.measures[0].kind = ValueKind::Double));
    assert!(inconsistent(|c| c.marks.push(Marks::FUTURE)));
    assert!(inconsistent(|c| c.ints.truncate(1)));
    assert!(inconsistent(|c| c.device.push(0)));
    assert_eq!(
        refused(|c| c.observed_at[0] -= 1),
        EncodeError::CrossesMidnight
    );
    assert_eq!(
        refused(|c| c.observed_at.fill(i64::MIN)),
        EncodeError::CrossesMidnight
    );
    let long = "x".repeat(5_000);
    let text = Texts::from_dictionary([long.as_str()], vec![]).unwrap();
    let columns = Columns {
        texts: text,
        ..sample()
    };
    assert!(matches!(
        Segment::new(columns),
        Err(EncodeError::TooLarge { .. })
    ));
    assert!(Texts::from_dictionary(["a"], vec![1]).is_err());
}

#[test]
fn bounds_are_held_before_memory_is_taken() {
    // Rows, decompressed length, devices: each far above what the bytes could hold.
    let mut huge_rows = vec![FORMAT, 0];
    crate::cursor::put_varint(&mut huge_rows, u64::MAX);
    let too_large =
        |bytes: &[u8]| matches!(Segment::decode(bytes), Err(DecodeError::TooLarge { .. }));
    assert!(too_large(&huge_rows));
    let mut huge_body = vec![FORMAT, LZ4];
    crate::cursor::put_varint(&mut huge_body, (1 << 20) + 1);
    assert!(too_large(&huge_body));
    let mut bomb = vec![FORMAT, LZ4];
    crate::cursor::put_varint(&mut bomb, 1 << 20);
    bomb.extend_from_slice(&[0; 100]);
    assert_eq!(Segment::decode(&bomb), Err(DecodeError::Truncated));
    let mut devices = vec![FORMAT, 0, 1, 0];
    crate::cursor::put_varint(&mut devices, 60_000);
    assert_eq!(Segment::decode(&devices), Err(DecodeError::Truncated));
    assert!(too_large(
        &[&[FORMAT, 0][..], &vec![0; (1 << 20) + 1]].concat()
    ));
}

#[test]
fn a_failed_decode_leaves_nothing() {
    let segment = Segment::new(sample()).unwrap();
    let bytes = segment.encode().unwrap();
    let mut target = segment;
    assert!(
        target
            .decode_into(&mut Scratch::default(), &bytes[..bytes.len() - 1])
            .is_err()
    );
    assert!(target.is_empty());
    assert_eq!(Segment::decode(&[]), Err(DecodeError::Truncated));
    assert_eq!(
        Segment::decode(&[0x52]),
        Err(DecodeError::UnknownFormat(0x52))
    );
    assert_eq!(
        Segment::decode(&[&bytes[..], &[0]].concat()),
        Err(DecodeError::Trailing(1))
    );
}

#[test]
fn compression_is_used_only_where_it_helps() {
    let columns = |texts: Vec<String>| {
        let mut builder = SegmentBuilder::new(0);
        for (at, text) in (0i64..).zip(&texts) {
            let value = Value::Text(text);
            let row = Row {
                device: &[1; 16],
                capability: 1,
                observed_at: at,
                marks: Marks::NONE,
                value,
            };
            builder.push(&row).unwrap();
        }
        builder.finish().unwrap().encode().unwrap()
    };
    let alike = columns(
        (0..64)
            .map(|i| format!("the same long words {i}"))
            .collect(),
    );
    assert_eq!(alike[1], LZ4);
    assert!(alike.len() < 64 * 12);
    assert_eq!(
        columns(
            (0..63)
                .map(|i| format!("the same long words {i}"))
                .collect()
        )[1],
        0
    );
    assert_eq!(columns(vec!["on".into(); 64])[1], 0);
}
