//! What the end-to-end tests share: calling any method of the contract by its descriptor.
//!
//! The tests themselves are in `tests/`. Test code only: it may panic.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code: a failure here is the test's"
)]

pub mod bodies;
pub mod child;
pub mod coverage;
pub mod cut;
pub mod dynamic;
pub mod household;
pub mod random;
pub mod stormy;
pub mod views;
