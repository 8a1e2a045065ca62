//! Any bytes decode as a segment or are refused; what decodes encodes and means the same again.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../targets.rs"]
#[expect(dead_code, reason = "the other targets are other programs")]
mod targets;

fuzz_target!(|bytes: &[u8]| {
    targets::segment(bytes);
});
