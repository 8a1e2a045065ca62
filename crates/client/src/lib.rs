//! The public Rust SDK: what apps and hubs are written with.
//!
//! **Invariant:** it knows the contract and nothing behind it: no service, backend or store.

pub mod app;
pub mod hub;
