//! Every port embedded in one process: SQLite for log, documents, series and leases, folders for blobs and keys.
//! The default of a small installation.
//!
//! **Invariant:** an answer means durable, and survives a kill and a power cut: each file has one writer
//! thread, which answers after COMMIT returned with `synchronous=FULL`. Must not know what is stored: bytes
//! under subjects, keys and stamps are all it sees. Nothing here is more than the ports promise, so what runs
//! on it runs on a cluster.

mod blobs;
mod custody;
mod database;
mod documents;
mod failure;
mod folder;
mod leases;
mod log;
mod pages;
mod readers;
mod series;
mod writer;

pub use blobs::{FolderBlobs, MAX_BLOB_BYTES};
pub use custody::{CustodyError, FileCustody};
pub use database::DatabaseError;
pub use documents::{
    MAX_KEY_BYTES, MAX_RANGE_LIMIT, MAX_VALUE_BYTES, SqliteDocuments, TOMBSTONES_KEPT,
};
pub use folder::{DataFolder, OpenError, Stores};
pub use leases::SqliteLeases;
pub use log::{MAX_MESSAGE_BYTES, SqliteLog};
pub use series::SqliteSeries;
