//! The log and the leases on NATS JetStream 2.12 or later: what the cluster topology stands on.
//!
//! One stream per family and service, one literal subject per aggregate, one message per commit. It must not know what
//! a message means, who may write it, or what a caller does after an unknown outcome: it answers which of the five
//! classes of failure happened, and nothing more.
//!
//! **Invariant:** an acked append has been synced by the servers, so [`Nats::connect`] refuses servers that do not sync
//! each write. What the protocol allows and what it does not was measured; the reasons stand where the code relies on it.

mod api;
mod connection;
mod error;
mod leases;
mod log;
mod options;
mod read;
mod stamp;
mod start;
mod streams;
mod sync;
mod tail;

pub use error::StartError;
pub use leases::NatsLeases;
pub use log::NatsLog;
pub use options::{Credentials, NatsOptions, Tls};
pub use start::Nats;
