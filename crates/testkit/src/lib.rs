//! What end-to-end tests stand on: a whole installation in the test's process, on a clock that it moves, with
//! people who have accounts.
//!
//! Test code only: it may panic. Nothing here knows what a test is about.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "test code: a failure here is the test's"
)]

pub mod hub;
pub mod person;
pub mod sandbox;

pub use hub::Hub;
pub use person::Person;
pub use sandbox::{Sandbox, cheap_passwords};
