//! The table of every RPC and the test that drives it. A method that is missing here fails.
//!
//! Who may call it and what makes it safe to repeat is the other half of the table: the `rule` label in the
//! contract, which each module's rows are compared with at start and in `tests/contract.rs`.

/// (method, a test function that calls it and looks at the answer).
pub const TESTED: &[(&str, &str)] = &[];
