//! The traits that storage and the world are seen through: log, documents, series, blobs, key custody,
//! leases, clock, outbound, sealing; and the supervised tasks that every process runs.
//!
//! **Invariant:** a port promises only what its weakest backend keeps. The log is JetStream with one
//! literal subject per aggregate; documents and series are CQL without transactions, lightweight
//! transactions or secondary indexes; blobs are S3. What a backend can do beyond that is not here.
//! `hearth-conformance` holds one suite per port, which every backend passes.

pub mod blobs;
pub mod clock;
pub mod custody;
pub mod documents;
pub mod erasing;
pub mod error;
pub mod leases;
pub mod log;
pub mod outbound;
pub mod sealing;
pub mod series;
pub mod tasks;

pub use blobs::{BlobKey, Blobs};
pub use clock::{AdjustableClock, Clock, ManualClock, SystemClock};
pub use custody::{EpochKey, KeyCustody};
pub use documents::{Document, Documents, Range, Table};
pub use erasing::{Holding, SealedOff, Shredding, StoredFile, StoredFiles};
pub use error::StoreError;
pub use leases::{Lease, Leases};
pub use log::{
    Announcement, Expected, Family, Log, Message, Position, Purge, Read, Removed, Stream, Subject,
    Topic,
};
pub use outbound::{Mail, Outbound, OutboundError};
pub use sealing::{Binding, Opened, SealError, Sealing};
pub use series::{ChunkKey, Latest, ManifestRow, SegmentKey, Series, StoredChunk, StoredSegment};
pub use tasks::Tasks;
