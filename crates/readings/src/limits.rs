//! The bounds of what is encoded and decoded. Both sides hold them: nothing is written that could
//! not be read again, and no bytes make the decoder allocate beyond them.

/// Bounds of one format.
///
/// Memory that decoding may take, whatever the bytes say, is at most
/// `max_rows * 128 + max_bytes * 3` bytes: the columns, the scratch space that stays with the
/// caller, the decompressed body and its copy in dictionaries. [`Segment`](crate::Segment): 11 MiB,
/// [`Chunk`](crate::Chunk): 22 MiB, [`Rollup`](crate::Rollup), whose rows are twice as wide: 2 MiB.
/// Counts of things that each need bytes are checked against the bytes left before anything is
/// allocated for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Readings, or windows of a rollup.
    pub max_rows: usize,
    /// Encoded bytes, and for a compressed body also the bytes it decompresses to.
    pub max_bytes: usize,
    /// Different (capability, kind) pairs of a segment.
    pub max_measures: usize,
    /// Bytes of one text value.
    pub max_text_bytes: usize,
}

impl Limits {
    /// Bounds of a segment: one hub batch.
    pub const SEGMENT: Self = Self {
        max_rows: 65_536,
        max_bytes: 1 << 20,
        max_measures: 1_024,
        max_text_bytes: 4_096,
    };

    /// Bounds of a chunk: a day of one reading a second, with room. More goes into a second chunk.
    pub const CHUNK: Self = Self {
        max_rows: 131_072,
        max_bytes: 2 << 20,
        max_measures: 1,
        max_text_bytes: 4_096,
    };

    /// Bounds of a rollup: a day by the minute, or eleven years by the day.
    pub const ROLLUP: Self = Self {
        max_rows: 4_096,
        max_bytes: 1 << 18,
        max_measures: 1,
        max_text_bytes: 4_096,
    };
}
