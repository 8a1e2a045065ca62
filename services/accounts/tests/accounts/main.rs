//! The accounts service over gRPC, on stores in memory: what a client sees, and what others learn.
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::clone_on_ref_ptr,
    reason = "a test fails by panicking, and hands its stores around"
)]

mod counted;
mod erasure;
mod homes;
mod house;
mod leaving;
mod sessions;
mod signing_up;
mod silence;
