//! Event sourcing over the ports: load, fold, decide, append; relays, views, caches, process managers,
//! timers. Generic over aggregates and backends.
//!
//! **Invariants:** the engine knows no service and no backend. It never opens a sealed part: it seals what
//! `decide` left clear and carries the rest as it came. Nothing is acknowledged before the log has it.

pub mod aggregate;
pub mod call;
pub mod envelope;
mod error;
mod execute;
pub mod hashing;
mod loaded;
mod purge;
mod snapshot;
#[cfg(test)]
mod tests;

pub use aggregate::{Aggregate, CodecError, EncodedEvent, Life, Stored};
pub use call::{Actor, Call, Outcome};
pub use envelope::{Commit, CommitKind, StoredEvent};
pub use error::{ExecuteError, store_failure};
pub use execute::{Engine, EngineOptions};
pub use hashing::{Hasher, random_id};
pub use loaded::Loaded;
