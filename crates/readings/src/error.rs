//! What can be wrong with bytes that are decoded, and with readings that are encoded.
//!
//! Knows nothing of storage or transport: callers map these to their own failures.

/// Why bytes are not a segment, chunk or rollup of a format known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes end before what they announce.
    #[error("bytes end too early")]
    Truncated,
    /// The first byte names no format and version that this build reads.
    #[error("unknown format or version {0:#04x}")]
    UnknownFormat(u8),
    /// A count or size is above its bound in [`Limits`](crate::Limits).
    #[error("{what} of {found} is above the limit of {limit}")]
    TooLarge {
        /// The thing that was counted.
        what: &'static str,
        /// The count or size that the bytes announce.
        found: u64,
        /// The bound it breaks.
        limit: u64,
    },
    /// The bytes contradict themselves.
    #[error("malformed: {0}")]
    Malformed(&'static str),
    /// Bytes follow the end of the value.
    #[error("{0} bytes follow the end")]
    Trailing(usize),
}

/// Why readings cannot be encoded. Nothing has been written when this is returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// A count or size is above its bound in [`Limits`](crate::Limits).
    #[error("{what} of {found} is above the limit of {limit}")]
    TooLarge {
        /// The thing that was counted.
        what: &'static str,
        /// The count or size found.
        found: usize,
        /// The bound it breaks.
        limit: usize,
    },
    /// Times lie in more than one UTC day.
    #[error("times lie in more than one utc day")]
    CrossesMidnight,
    /// One capability came with values of different kinds.
    #[error("values of different kinds in one column")]
    MixedKinds,
    /// Columns do not fit each other.
    #[error("inconsistent columns: {0}")]
    Inconsistent(&'static str),
}
