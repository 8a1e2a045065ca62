//! What every process does: options, logs, metrics, sockets, health, drain. It runs any list of [`Module`]s.
//!
//! **Invariant:** no service, no backend, no generated message. The binary opens the backends, makes the [`Context`], and
//! hands both to a [`Plan`]; a process serves only what its modules have rows for.

pub mod admin;
pub mod calls;
mod checkpoints;
pub mod config;
mod connection;
pub mod contract;
pub mod exit;
pub mod folder;
pub mod metrics;
pub mod module;
pub mod operate;
pub mod probe;
pub mod process;
pub mod run;
mod sampler;
pub mod server;
pub mod smtp;
pub mod telemetry;
pub mod tls;

pub use config::Config;
pub use exit::Exit;
pub use metrics::Metrics;
pub use module::{Context, Erasing, KeyUse, Module, Readiness, StartError, Started, StreamUse};
pub use run::{Plan, Running, told_to_end};
pub use server::Bound;
