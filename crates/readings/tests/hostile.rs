//! Hostile bytes: whatever they are, decoding returns, and what it accepts encodes again.
//!
//! The functions of the fuzz targets themselves, over generated and mutated bytes, so that they run with
//! every test run and not only where a fuzzer does.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot prepare its input fails"
)]

use hearth_readings::{Chunk, Level, Marks, Point, Rollup, Row, Segment, SegmentBuilder, Value};
use proptest::prelude::*;

#[path = "../../../fuzz/targets.rs"]
mod targets;

/// A small generator with a fixed seed: the mutations are the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() >> 8).unwrap() % bound.max(1)
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[3]
    }
}

fn check_all(bytes: &[u8]) {
    targets::segment(bytes);
    targets::chunk(bytes);
    targets::rollup(bytes);
}

fn value(kind: usize, row: usize) -> Value<'static> {
    let number = i64::try_from(row).unwrap();
    match kind {
        0 => Value::Double(f64::from(u16::try_from(row * 37 % 500).unwrap()) / 10.0),
        1 => Value::Double(f64::from_bits(
            0x4009_21fb_5444_2d18 ^ (number * 977).cast_unsigned(),
        )),
        2 => Value::Int(number * number),
        3 => Value::Bool((row / 5).is_multiple_of(2)),
        _ => Value::Text(["heat", "off", "défaut"][row % 3]),
    }
}

/// Valid encodings of all forms, to start from.
fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for rows in [1usize, 7, 130] {
        let mut builder = SegmentBuilder::new(99);
        for row in 0..rows {
            let row_number = i64::try_from(row).unwrap();
            let device = [u8::try_from(row / 5 % 4).unwrap(); 16];
            builder
                .push(&Row {
                    device: &device,
                    capability: u16::try_from(row % 5).unwrap(),
                    observed_at: 1_000 * row_number,
                    marks: Marks::from_bits(u8::from(row % 50 == 3)),
                    value: value(row % 5, row),
                })
                .unwrap();
        }
        seeds.push(builder.finish().unwrap().encode().unwrap());
        for kind in 0..5 {
            let points: Vec<Point<'_>> = (0..rows)
                .map(|row| {
                    let at = i64::try_from(row * 17_000_000 + row % 7).unwrap();
                    Point {
                        rank: u64::from(row % 9 == 0),
                        ..Point::new(at, value(kind, row))
                    }
                })
                .collect();
            for level in [Level::Minute, Level::Hour, Level::Day] {
                let rollup = Rollup::of_points(level, points.iter().copied());
                seeds.push(rollup.encode().unwrap());
            }
            seeds.push(Chunk::from_points(points).unwrap().encode().unwrap());
        }
    }
    let words: Vec<String> = (0..80)
        .map(|i| format!("a compressible text {i}"))
        .collect();
    let mut builder = SegmentBuilder::new(1);
    for (at, word) in (0i64..).zip(&words) {
        let (marks, value) = (Marks::NONE, Value::Text(word));
        builder
            .push(&Row {
                device: &[1; 16],
                capability: 3,
                observed_at: at,
                marks,
                value,
            })
            .unwrap();
    }
    seeds.push(builder.finish().unwrap().encode().unwrap());
    seeds
}

fn mutate(seed: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        match random.below(7) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, random.byte()),
            2 if !bytes.is_empty() => bytes[at] = random.byte(),
            3 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
            4 if !bytes.is_empty() => bytes[at] = [0, 0x7f, 0x80, 0xff][random.below(4)],
            5 if !bytes.is_empty() => drop(bytes.remove(at)),
            _ => bytes.splice(at..at, [0xff; 9]).for_each(drop),
        }
    }
    bytes
}

#[test]
fn mutated_encodings_are_refused_or_mean_something() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut accepted = 0usize;
    for seed in &seeds() {
        assert!(targets::segment(seed) || targets::chunk(seed) || targets::rollup(seed));
        for _ in 0..400 {
            let bytes = mutate(seed, &mut random);
            accepted += usize::from(
                targets::segment(&bytes) || targets::chunk(&bytes) || targets::rollup(&bytes),
            );
        }
    }
    // Else the mutations only ever reach the first byte.
    assert!(accepted > 100, "{accepted}");
}

#[test]
fn every_prefix_of_an_encoding_is_refused() {
    for seed in seeds() {
        for end in 0..seed.len() {
            assert!(Segment::decode(&seed[..end]).is_err());
            assert!(Chunk::decode(&seed[..end]).is_err());
            assert!(Rollup::decode(&seed[..end]).is_err());
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_refused_or_mean_something(
        first in prop::sample::select(vec![0x51u8, 0x61, 0x71]),
        rest in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        check_all(&[&[first][..], &rest].concat());
        check_all(&rest);
    }

    #[test]
    fn small_bytes_reach_deep(
        first in prop::sample::select(vec![0x51u8, 0x61, 0x71]),
        rest in prop::collection::vec(0u8..6, 0..60),
    ) {
        check_all(&[&[first][..], &rest].concat());
    }
}
