//! The codecs of device readings: the columnar segment, the sealed chunk and its rollups.
//!
//! * [`Segment`]: one hub batch's readings of one UTC day and retention class, in order of arrival.
//!   The unit of ingestion and of recent storage.
//! * [`Chunk`]: one capability of one device in one UTC day, sorted and without duplicates.
//!   The unit of long storage.
//! * [`Rollup`]: what a day of one capability comes to, by minute, hour or day.
//! * [`merge`]: the one place that says which of two readings of the same instant stays.
//!
//! Pure functions over bytes and columns: no I/O, no clock, no keys, no async. A capability is its
//! code, a device its 16-byte id, a time is i64 microseconds UTC. What a capability means, its unit
//! and its range belong to the catalogue of the ingest domain, not here.
//!
//! **Invariant:** decoding bytes of any origin does not panic and allocates no more than
//! [`Limits`] states. **Invariant:** a double comes back with the bits it went in with.

mod bitpack;
mod booleans;
mod chunk;
mod cursor;
mod doubles;
mod error;
mod integers;
mod limits;
mod merge;
mod rollup;
mod segment;
mod strings;
mod timestamps;
mod value;

pub use chunk::Chunk;
pub use error::{DecodeError, EncodeError};
pub use limits::Limits;
pub use merge::{Point, merge};
pub use rollup::{DayRollups, Duty, Level, Number, Rollup, Spread, States, Window, Windows};
pub use segment::{Columns, Measure, Row, Rows, Scratch, Segment, SegmentBuilder};
pub use strings::Texts;
pub use value::{DeviceId, Marks, Value, ValueKind};
