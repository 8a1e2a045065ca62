//! Blobs in a bucket of an S3 service, by the `object_store` crate.
//!
//! **Invariant:** an object is created by one request that carries `If-None-Match: *`, whole or not at all, and that
//! request is sent once: what did not get a clear answer is `Unknown`, never tried again in secret, because the
//! second try would find the first one's object and call it somebody else's. No multipart upload: an object is at
//! most 64 MiB, which is one request, and an abandoned part would be bytes that no listing shows. Everything else
//! (length, read, list, delete) is harmless to repeat, and is repeated a few times within its deadline.
//!
//! **Deleted means gone:** a bucket with versioning, object lock or replication keeps what was deleted, so
//! [`S3Blobs::open`] refuses it unless the settings allow it by name. It also proves that the store keeps to
//! create-only writes, since not every store that speaks S3 does, and refuses one that does not.
//!
//! Must not know what is stored. Objects of an erased home that a store's own replicas or backups keep are sealed,
//! and their keys go.

mod blobs;
mod bucket;
mod failure;
mod keeping;
mod names;
mod probe;
mod wire;

pub use blobs::{MAX_BLOB_BYTES, S3Blobs};
pub use bucket::{Bucket, Credentials, Deadlines, OpenError};
pub use keeping::Keeping;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod tests;
