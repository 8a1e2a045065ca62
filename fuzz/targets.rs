//! What each fuzz target does with its bytes: once here, for the targets that coverage guides and for the test of
//! `hearth-readings` that runs with every build (`crates/readings/tests/hostile.rs`).
//!
//! Bytes are refused, or mean something: then they encode and mean the same again. Each answers which of the two.

use hearth_readings::{Chunk, DayRollups, Level, Limits, Rollup, Segment};

/// As a segment.
pub(crate) fn segment(bytes: &[u8]) -> bool {
    let Ok(segment) = Segment::decode(bytes) else {
        return false;
    };
    assert!(segment.len() <= Limits::SEGMENT.max_rows);
    assert_eq!(segment.rows().count(), segment.len());
    assert!(Segment::new(segment.columns().clone()).is_ok());
    if let Ok(again) = segment.encode() {
        assert!(Segment::decode(&again).unwrap().rows().eq(segment.rows()));
    }
    true
}

/// As a chunk, which rolls up.
pub(crate) fn chunk(bytes: &[u8]) -> bool {
    let Ok(chunk) = Chunk::decode(bytes) else {
        return false;
    };
    assert!(chunk.len() <= Limits::CHUNK.max_rows);
    assert_eq!(chunk.points().count(), chunk.len());
    if let Ok(again) = chunk.encode() {
        assert_eq!(Chunk::decode(&again).unwrap(), chunk);
    }
    let rollups = DayRollups::of_points(chunk.points());
    let rollups = [rollups.minutes, rollups.hours, Some(rollups.day)];
    for rolled in rollups.into_iter().flatten() {
        if let Ok(bytes) = rolled.encode() {
            assert_eq!(Rollup::decode(&bytes).unwrap(), rolled);
        }
    }
    true
}

/// As a rollup, which coarsens.
pub(crate) fn rollup(bytes: &[u8]) -> bool {
    let Ok(rollup) = Rollup::decode(bytes) else {
        return false;
    };
    assert!(rollup.len() <= Limits::ROLLUP.max_rows);
    if let Ok(again) = rollup.encode() {
        assert_eq!(Rollup::decode(&again).unwrap(), rollup);
    }
    assert!(rollup.coarsen(Level::Day).len() <= Limits::ROLLUP.max_rows);
    true
}
