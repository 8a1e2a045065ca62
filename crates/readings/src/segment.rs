//! The segment: one hub batch's readings of one UTC day and retention class, as columns.
//!
//! What it is made of: a dictionary of devices, a dictionary of measures (a capability with the kind
//! of its values), and per row an index into each, a time, marks and a value. Rows keep their order
//! of arrival. One `received_at` holds for all.
//!
//! It does not know which home, class or batch it belongs to: that is its key, and what seals it
//! binds it. Nor does it know what a capability means.
//!
//! Layout of version 1: one byte of format and version, one of flags, then the body, as it is or
//! LZ4-compressed behind its length. The body: row count, `received_at`, devices, measures, the two
//! index columns, the times, marks if there are any, the dictionary of texts if there is one, then
//! for each measure in turn its values in row order. Grouping the values by measure is what makes
//! them small: neighbours are alike.

mod builder;
mod decode;
mod encode;
#[cfg(test)]
mod tests;

use crate::{
    bitpack, doubles,
    error::EncodeError,
    limits::Limits,
    strings::Texts,
    timestamps,
    value::{DeviceId, Marks, Value, ValueKind},
};

pub use builder::SegmentBuilder;

/// First byte of a segment of version 1.
const FORMAT: u8 = 0x51;
/// Flag: the body is compressed.
const LZ4: u8 = 1;
/// Flag: there is a column of marks.
const MARKED: u8 = 2;
/// Rows from which compression is tried. Below, LZ4 finds nothing (measured on batches of 16).
const LZ4_FROM_ROWS: usize = 64;

/// A capability and the kind of its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Measure {
    /// Code of the capability in the catalogue.
    pub capability: u16,
    /// Kind of all its values in this segment.
    pub kind: ValueKind,
}

/// The readings of a segment, by column. `device`, `measure` and `observed_at` have one item per
/// row; `marks` too, or none at all; the four value columns together have one per row, each in row
/// order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Columns {
    /// When the service received the batch, microseconds UTC.
    pub received_at: i64,
    /// The devices that `device` points into.
    pub devices: Vec<DeviceId>,
    /// The measures that `measure` points into. At most [`Limits::max_measures`].
    pub measures: Vec<Measure>,
    /// Per row, the index of its device.
    pub device: Vec<u16>,
    /// Per row, the index of its measure.
    pub measure: Vec<u16>,
    /// Per row, when it was observed, microseconds UTC. All in one UTC day.
    pub observed_at: Vec<i64>,
    /// Per row its marks, or empty when no row has any.
    pub marks: Vec<Marks>,
    /// Values of the rows whose measure is a double.
    pub doubles: Vec<f64>,
    /// Values of the rows whose measure is an integer.
    pub ints: Vec<i64>,
    /// Values of the rows whose measure is a boolean.
    pub bools: Vec<bool>,
    /// Values of the rows whose measure is a text.
    pub texts: Texts,
}

impl Columns {
    /// Empties every column and keeps the memory.
    pub fn clear(&mut self) {
        self.received_at = 0;
        self.devices.clear();
        self.measures.clear();
        self.device.clear();
        self.measure.clear();
        self.observed_at.clear();
        self.marks.clear();
        self.doubles.clear();
        self.ints.clear();
        self.bools.clear();
        self.texts.clear();
    }

    /// Rows per measure, by index, into `counts`.
    fn count_measures(&self, counts: &mut Vec<usize>) {
        counts.clear();
        counts.resize(self.measures.len(), 0);
        for &measure in &self.measure {
            // Out of range: refused where indexes are checked.
            if let Some(count) = counts.get_mut(usize::from(measure)) {
                *count += 1;
            }
        }
    }

    fn check(&self) -> Result<(), EncodeError> {
        let rows = self.observed_at.len();
        let limits = Limits::SEGMENT;
        at_most("rows", rows, limits.max_rows)?;
        at_most("devices", self.devices.len(), limits.max_rows)?;
        at_most("measures", self.measures.len(), limits.max_measures)?;
        at_most("texts", self.texts.dictionary_len(), limits.max_rows)?;
        at_most(
            "bytes of a text",
            self.texts.longest(),
            limits.max_text_bytes,
        )?;
        if self.device.len() != rows || self.measure.len() != rows {
            return Err(EncodeError::Inconsistent("columns of different lengths"));
        }
        if !self.marks.is_empty() && self.marks.len() != rows {
            return Err(EncodeError::Inconsistent("marks for some rows only"));
        }
        if !below(&self.device, self.devices.len()) {
            return Err(EncodeError::Inconsistent("index of a device"));
        }
        if !below(&self.measure, self.measures.len()) {
            return Err(EncodeError::Inconsistent("index of a measure"));
        }
        let mut counts = Vec::new();
        self.count_measures(&mut counts);
        let mut by_kind = [0usize; 4];
        for (measure, count) in self.measures.iter().zip(counts) {
            by_kind[usize::from(measure.kind.code())] += count;
        }
        let values = [
            self.doubles.len(),
            self.ints.len(),
            self.bools.len(),
            self.texts.len(),
        ];
        if by_kind != values {
            return Err(EncodeError::Inconsistent(
                "values that do not fit their measures",
            ));
        }
        if timestamps::in_one_day(&self.observed_at) {
            Ok(())
        } else {
            Err(EncodeError::CrossesMidnight)
        }
    }
}

fn below(indexes: &[u16], length: usize) -> bool {
    indexes
        .iter()
        .max()
        .is_none_or(|&max| usize::from(max) < length)
}

const fn at_most(what: &'static str, found: usize, limit: usize) -> Result<(), EncodeError> {
    if found > limit {
        Err(EncodeError::TooLarge { what, found, limit })
    } else {
        Ok(())
    }
}

/// One hub batch's readings of one UTC day and retention class: columns that are known to fit.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Segment {
    columns: Columns,
}

impl Segment {
    /// A segment of columns that came from elsewhere, after checking that they fit each other.
    ///
    /// # Errors
    /// [`EncodeError`] when lengths, indexes or kinds do not fit, a bound of [`Limits::SEGMENT`] is
    /// broken, or the times lie in more than one UTC day.
    pub fn new(columns: Columns) -> Result<Self, EncodeError> {
        columns.check()?;
        Ok(Self { columns })
    }

    /// The columns.
    #[must_use]
    pub const fn columns(&self) -> &Columns {
        &self.columns
    }

    /// Gives the columns back, to fill them anew.
    #[must_use]
    pub fn into_columns(self) -> Columns {
        self.columns
    }

    /// Number of readings.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.columns.observed_at.len()
    }

    /// Whether there are no readings.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.columns.observed_at.is_empty()
    }

    /// When the service received the batch, microseconds UTC.
    #[must_use]
    pub const fn received_at(&self) -> i64 {
        self.columns.received_at
    }

    /// The earliest observation, microseconds UTC.
    #[must_use]
    pub fn base_time(&self) -> Option<i64> {
        self.columns.observed_at.iter().copied().min()
    }

    /// The readings in order of arrival.
    #[must_use]
    pub const fn rows(&self) -> Rows<'_> {
        Rows {
            columns: &self.columns,
            row: 0,
            next: [0; 4],
        }
    }
}

impl<'a> IntoIterator for &'a Segment {
    type Item = Row<'a>;
    type IntoIter = Rows<'a>;

    fn into_iter(self) -> Rows<'a> {
        self.rows()
    }
}

/// One reading of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row<'a> {
    /// Its device.
    pub device: &'a DeviceId,
    /// Code of its capability.
    pub capability: u16,
    /// When it was observed, microseconds UTC.
    pub observed_at: i64,
    /// What the service noted.
    pub marks: Marks,
    /// Its value.
    pub value: Value<'a>,
}

/// The readings of a segment in order of arrival.
#[derive(Debug, Clone)]
pub struct Rows<'a> {
    columns: &'a Columns,
    row: usize,
    /// Position of the next value in each value column.
    next: [usize; 4],
}

impl<'a> Iterator for Rows<'a> {
    type Item = Row<'a>;

    fn next(&mut self) -> Option<Row<'a>> {
        let columns = self.columns;
        let observed_at = *columns.observed_at.get(self.row)?;
        let device = columns
            .devices
            .get(usize::from(*columns.device.get(self.row)?))?;
        let measure = *columns
            .measures
            .get(usize::from(*columns.measure.get(self.row)?))?;
        let position = &mut self.next[usize::from(measure.kind.code())];
        let value = match measure.kind {
            ValueKind::Double => Value::Double(*columns.doubles.get(*position)?),
            ValueKind::Int => Value::Int(*columns.ints.get(*position)?),
            ValueKind::Bool => Value::Bool(*columns.bools.get(*position)?),
            ValueKind::Text => Value::Text(columns.texts.get(*position)?),
        };
        *position += 1;
        let marks = columns.marks.get(self.row).copied().unwrap_or(Marks::NONE);
        self.row += 1;
        Some(Row {
            device,
            capability: measure.capability,
            observed_at,
            marks,
            value,
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.columns.observed_at.len() - self.row;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Rows<'_> {}

/// Buffers that encoding and decoding reuse. One per task; what is in it does not matter.
#[derive(Debug, Default)]
pub struct Scratch {
    ints: Vec<i64>,
    codes: Vec<i64>,
    bools: Vec<bool>,
    column: Vec<f64>,
    /// Values of all measures of a kind, grouped by measure.
    doubles: Vec<f64>,
    grouped_ints: Vec<i64>,
    grouped_bools: Vec<bool>,
    /// Rows per measure, and where the next value of each lies in its group.
    counts: Vec<usize>,
    starts: Vec<usize>,
    body: Vec<u8>,
    times: timestamps::Work,
    decimals: doubles::Work,
}

impl Scratch {
    /// Sets `starts` to where each measure's group begins within its kind.
    fn place_groups(&mut self, measures: &[Measure]) {
        let mut next = [0usize; 4];
        self.starts.clear();
        self.starts
            .extend(measures.iter().zip(&self.counts).map(|(measure, &count)| {
                let slot = &mut next[usize::from(measure.kind.code())];
                let start = *slot;
                *slot += count;
                start
            }));
    }
}

// The block is part of the format of version 1.
const _: () = assert!(bitpack::BLOCK == 64);
