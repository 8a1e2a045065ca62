//! The retention service: for how long things are kept, the erasure of somebody through all services, and its proof.
//!
//! `app` takes the steps that `hearth-retention-domain` orders, `project` says what others learn, `codec` knows the
//! stored form, `grpc` answers whoever holds a receipt's secret. [`search`] and [`receipt`] are for others too: they
//! know no service.

mod aggregates;
mod app;
mod codec;
mod grpc;
mod module;
mod project;
pub mod receipt;
pub mod search;
#[cfg(test)]
mod tests;

pub use module::{MODULE, Options};
pub use receipt::{ReceiptError, key_id, verify_receipt};
