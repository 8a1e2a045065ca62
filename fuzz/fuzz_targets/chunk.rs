//! Any bytes decode as a chunk or are refused; what decodes encodes and means the same again, and
//! rolls up.

#![no_main]

use hearth_readings::{Chunk, DayRollups, Limits, Rollup};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(chunk) = Chunk::decode(bytes) else {
        return;
    };
    assert!(chunk.len() <= Limits::CHUNK.max_rows);
    assert_eq!(chunk.points().count(), chunk.len());
    if let Ok(again) = chunk.encode() {
        assert_eq!(Chunk::decode(&again).expect("own bytes decode"), chunk);
    }
    let rollups = DayRollups::of_points(chunk.points());
    for rollup in [rollups.minutes, rollups.hours, Some(rollups.day)]
        .into_iter()
        .flatten()
    {
        if let Ok(bytes) = rollup.encode() {
            assert_eq!(Rollup::decode(&bytes).expect("own bytes decode"), rollup);
        }
    }
});
