//! Event sourcing over the ports: load, fold, decide, append; relays, views, caches, process managers,
//! timers. Generic over aggregates and backends.
//!
//! **Invariants:** the engine knows no service and no backend. It never opens a sealed part: it seals what
//! `decide` left clear and carries the rest as it came. Nothing is acknowledged before the log has it.

pub mod aggregate;
pub mod cache;
pub mod call;
pub mod checkpoint;
pub mod consumer;
pub mod envelope;
pub mod erasure;
mod error;
mod execute;
pub mod hashing;
pub mod holding;
mod join;
mod loaded;
pub mod parking;
mod purge;
pub mod relay;
mod snapshot;
pub mod stamp;
pub mod standing;
#[cfg(test)]
mod tests;
pub mod timers;
pub mod token;
pub mod view;
pub mod watermark;

pub use aggregate::{Aggregate, CodecError, EncodedEvent, Life, Stored};
pub use cache::{FactCache, Stale};
pub use call::{Actor, Call, Outcome};
pub use checkpoint::Checkpoints;
pub use consumer::{Consume, ConsumeError, Consumer};
pub use envelope::{Commit, CommitKind, StoredEvent};
pub use erasure::{Erased, Eraser, ErasersMismatch, Erasures, Follower};
pub use error::{ExecuteError, store_failure};
pub use execute::{Engine, EngineOptions};
pub use hashing::{Hasher, random_id};
pub use holding::{Held, Holder};
pub use loaded::{Loaded, decode_events};
pub use parking::Parking;
pub use purge::{EPISODIC_TOMBSTONES, Swept, Tombstones};
pub use relay::{Publication, PublishedFacts, Publisher, Relay, RelayError, Target};
pub use stamp::Stamp;
pub use timers::{Fire, Timer, Timers};
pub use token::CommitToken;
pub use view::{Projection, Rebuild, Row, Rows, View};
pub use watermark::Watermarks;
