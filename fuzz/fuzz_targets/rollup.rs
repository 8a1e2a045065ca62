//! Any bytes decode as a rollup or are refused; what decodes encodes and means the same again, and
//! coarsens.

#![no_main]

use hearth_readings::{Level, Limits, Rollup};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(rollup) = Rollup::decode(bytes) else {
        return;
    };
    assert!(rollup.len() <= Limits::ROLLUP.max_rows);
    if let Ok(again) = rollup.encode() {
        assert_eq!(Rollup::decode(&again).expect("own bytes decode"), rollup);
    }
    let coarse = rollup.coarsen(Level::Day);
    assert!(coarse.len() <= Limits::ROLLUP.max_rows);
});
