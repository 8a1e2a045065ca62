//! The bytes of version 1. A stored segment, chunk or rollup must decode for ever: a change here is a
//! new version beside the old one, never a new expectation.
//!
//! The files are hexadecimal, 32 bytes a line. A test that fails prints what it would have written.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot prepare its input fails"
)]

use hearth_readings::{Chunk, Level, Marks, Point, Rollup, Row, Segment, SegmentBuilder, Value};

/// 2026-11-23T00:00:00Z.
const MIDNIGHT: i64 = 1_795_392_000_000_000;
const SECOND: i64 = 1_000_000;
const STRANGE: [f64; 4] = [-0.0, f64::INFINITY, f64::MIN_POSITIVE, 0.1 + 0.2];

fn hex(bytes: &[u8]) -> String {
    let line = |line: &[u8]| {
        line.iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
            + "\n"
    };
    bytes.chunks(32).map(line).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text
        .chars()
        .filter_map(|digit| digit.to_digit(16))
        .collect();
    digits
        .chunks(2)
        .map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap())
        .collect()
}

/// Checks bytes against a file, and returns the bytes of the file.
fn golden(name: &str, golden: &str, bytes: &[u8]) -> Vec<u8> {
    let expected = unhex(golden);
    assert!(
        bytes == expected,
        "tests/golden/{name}.hex is not:\n{}",
        hex(bytes)
    );
    expected
}

fn kinds(row: i64) -> [Value<'static>; 4] {
    let index = usize::try_from(row).unwrap();
    let decimal = f64::from(i16::try_from(200 + row * 7 % 40).unwrap()) / 10.0;
    [
        Value::Double(if row < 4 { STRANGE[index] } else { decimal }),
        Value::Int(1_000 - row * row),
        Value::Bool(row % 6 < 2),
        Value::Text(["heat", "off", "défaut"][index % 3]),
    ]
}

fn points(kind: usize) -> Vec<Point<'static>> {
    (0..40)
        .map(|row| Point {
            at: MIDNIGHT + row * 25 * SECOND + row % 3 * 1_000,
            rank: u64::try_from(row / 20).unwrap(),
            marks: if row == 39 {
                Marks::FUTURE
            } else {
                Marks::NONE
            },
            value: kinds(row)[kind],
        })
        .collect()
}

fn segment(rows: i64) -> Segment {
    let mut builder = SegmentBuilder::new(MIDNIGHT + 5_000 * SECOND);
    for row in 0..rows {
        for (capability, value) in (7u16..).zip(kinds(row)) {
            builder
                .push(&Row {
                    device: &[u8::try_from(row % 3).unwrap(); 16],
                    capability,
                    observed_at: MIDNIGHT + row * 60 * SECOND + 250_000,
                    marks: if row == 9 { Marks::FUTURE } else { Marks::NONE },
                    value,
                })
                .unwrap();
        }
    }
    builder.finish().unwrap()
}

#[test]
fn segments_of_version_1() {
    let small = segment(10);
    let file = golden(
        "segment",
        include_str!("golden/segment.hex"),
        &small.encode().unwrap(),
    );
    assert!(Segment::decode(&file).unwrap().rows().eq(small.rows()));

    // Compressed bytes depend on the version of the compressor: only their meaning is fixed.
    let large = segment(30);
    let bytes = large.encode().unwrap();
    assert_eq!(bytes[1] & 1, 1, "compressed");
    let file = unhex(include_str!("golden/segment-lz4.hex"));
    let decoded = Segment::decode(&file).unwrap_or_default();
    assert!(
        decoded.rows().eq(large.rows()),
        "tests/golden/segment-lz4.hex is not:\n{}",
        hex(&bytes)
    );
}

#[test]
fn chunks_of_version_1() {
    let files = [
        ("chunk-double", include_str!("golden/chunk-double.hex")),
        ("chunk-int", include_str!("golden/chunk-int.hex")),
        ("chunk-bool", include_str!("golden/chunk-bool.hex")),
        ("chunk-text", include_str!("golden/chunk-text.hex")),
    ];
    for (kind, (name, file)) in files.into_iter().enumerate() {
        let chunk = Chunk::from_points(points(kind)).unwrap();
        let bytes = golden(name, file, &chunk.encode().unwrap());
        assert!(Chunk::decode(&bytes).unwrap().points().eq(points(kind)));
    }
}

#[test]
fn rollups_of_version_1() {
    let files = [
        ("rollup-double", include_str!("golden/rollup-double.hex")),
        ("rollup-int", include_str!("golden/rollup-int.hex")),
        ("rollup-bool", include_str!("golden/rollup-bool.hex")),
        ("rollup-text", include_str!("golden/rollup-text.hex")),
    ];
    for (kind, (name, file)) in files.into_iter().enumerate() {
        let rollup = Rollup::of_points(Level::Minute, points(kind));
        let bytes = golden(name, file, &rollup.encode().unwrap());
        assert_eq!(Rollup::decode(&bytes).unwrap(), rollup);
    }
}
