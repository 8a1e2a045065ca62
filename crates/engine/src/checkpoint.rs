//! Hourly signed checkpoints over a service's history, in the manner of a transparency log's signed tree heads.
//!
//! The hash chain of an aggregate vouches for every commit but its last. A checkpoint closes that: it says, of each
//! aggregate that changed since the one before, which commit was its last, under one Merkle root, linked to the
//! checkpoint before and signed with a key of the service's ring. Whoever rewrites the log afterwards contradicts it,
//! and whoever rewrites the checkpoints too contradicts the heads that were kept elsewhere.
//!
//! Heads are commits of EVT under a subject of their own; leaves are documents, written first and addressed by the
//! root, so neither a crash between the two nor a rival leaves anything that contradicts a head. Records (REC) are
//! not covered: their past may not stay, and a trail of when a credential changed would be one.
//!
//! It must not know what is in a commit, and names no aggregate outside the log but by the hash of its subject.

mod head;
mod read;
#[cfg(test)]
mod tests;
mod tree;
mod write;

use hearth_ports::Table;

pub use head::{
    Head, HeadBody, Kept, Leaf, NotKept, key_name, key_number, key_pair, public_key, root_of,
    subject_hash,
};
pub use read::{heads, is_checkpoints, leaves, noted, subject};
pub use tree::{Hash, Tree};
pub use write::{CheckpointError, Checkpoints, Newest};

/// The kind of the subject that holds the heads.
pub const KIND: &str = "checkpoint";
/// The table of the leaves.
const TABLE: Table = Table("engine_leaves");
