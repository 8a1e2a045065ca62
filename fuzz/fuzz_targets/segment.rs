//! Any bytes decode as a segment or are refused; what decodes encodes and means the same again.

#![no_main]

use hearth_readings::{Limits, Segment};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(segment) = Segment::decode(bytes) else {
        return;
    };
    assert!(segment.len() <= Limits::SEGMENT.max_rows);
    assert_eq!(segment.rows().count(), segment.len());
    assert!(Segment::new(segment.columns().clone()).is_ok());
    if let Ok(again) = segment.encode() {
        let again = Segment::decode(&again).expect("own bytes decode");
        assert!(again.rows().eq(segment.rows()));
    }
});
