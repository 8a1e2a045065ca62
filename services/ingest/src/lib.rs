//! Ingest: hubs, devices and their readings, from the wire to queries.

mod aggregates;
mod app;
pub mod batch;
mod codec;
mod core;
mod counts;
mod erasers;
mod facts;
pub mod frames;
mod grpc;
mod history;
pub mod knowledge;
mod latest;
mod live;
mod module;
pub mod observed;
pub mod proof;
mod publish;
pub mod registry;
pub mod resume;
mod running;
mod seen;
mod stream;
#[cfg(test)]
mod tests;
mod views;
mod wire;
mod writer;

pub use module::MODULE;
