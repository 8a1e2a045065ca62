//! For how long things are kept, and what it takes to forget somebody: the rules of retention.
//!
//! [`erasure`] is a history: one per closing, from the closing to the byte receipt. [`signing`] is the list of keys
//! that receipts are signed with. [`periods`] is the table that the privacy notice shows.
//!
//! **Invariant:** nothing here knows how a thing is stored, searched, signed or sealed, or what time it is. What was
//! found, fenced or answered arrives as a command, times arrive as facts.

pub mod erasure;
pub mod limits;
pub mod periods;
pub mod signing;

pub use erasure::Erasure;
pub use signing::Signing;
