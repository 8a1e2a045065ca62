//! Every port in memory, for tests and simulation: as strict as the strictest backend, and no kinder.
//!
//! **Invariant:** nothing here may be relied on that JetStream, CQL, S3 or the file system does not also
//! give. What those refuse (an oversized key, a purge of an aggregate's tombstone, a rewritten chunk), this
//! refuses too, so that a test on memory finds what a cluster would. Nothing is durable: a process's end is
//! the data's end, and [`Memory::fork`] stands in for the copy of a disk.

mod blobs;
mod custody;
mod documents;
mod guard;
mod leases;
mod log;
mod memory;
mod outbound;
mod series;

pub use blobs::{MAX_BLOB_BYTES, MemoryBlobs};
pub use custody::MemoryCustody;
pub use documents::{MAX_KEY_BYTES, MAX_RANGE_LIMIT, MAX_VALUE_BYTES, MemoryDocuments};
pub use leases::MemoryLeases;
pub use log::{MAX_MESSAGE_BYTES, MemoryLog};
pub use memory::Memory;
pub use outbound::MemoryOutbound;
pub use series::MemorySeries;
