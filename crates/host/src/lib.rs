//! What every process does: options, logs, metrics, sockets, health, drain. It runs any list of [`Module`]s.
//!
//! **Invariant:** no service, no backend, no generated message. The binary opens the backends, makes the [`Context`], and
//! hands both to [`server::Server`]; a process serves only what its modules have rows for.

pub mod config;
pub mod exit;
pub mod metrics;
pub mod module;
pub mod process;

pub use config::Config;
pub use exit::Exit;
pub use metrics::Metrics;
pub use module::{Context, KeyUse, Module, Readiness, StartError, Started, StreamUse};
