//! Building a segment row by row: finds the dictionary index of each device and measure.
//!
//! For small devices and tests. A batch that comes in columns goes through `Segment::new`.

use std::collections::HashMap;

use super::{Columns, Measure, Row, Segment, at_most};
use crate::{
    error::EncodeError,
    limits::Limits,
    strings::Interner,
    value::{DeviceId, Marks, Value},
};

/// Collects rows of one UTC day into a [`Segment`].
#[derive(Debug, Default)]
pub struct SegmentBuilder {
    columns: Columns,
    devices: HashMap<DeviceId, u16>,
    measures: HashMap<Measure, u16>,
    texts: Interner,
}

impl SegmentBuilder {
    /// A builder of a segment that was received then, microseconds UTC.
    #[must_use]
    pub fn new(received_at: i64) -> Self {
        let columns = Columns {
            received_at,
            ..Columns::default()
        };
        Self {
            columns,
            ..Self::default()
        }
    }

    /// Adds a reading.
    ///
    /// # Errors
    /// [`EncodeError::TooLarge`] when the row, its measure or its text is above
    /// [`Limits::SEGMENT`]. The builder is as before, and can be finished.
    pub fn push(&mut self, row: &Row<'_>) -> Result<(), EncodeError> {
        let limits = Limits::SEGMENT;
        let columns = &mut self.columns;
        at_most("rows", columns.observed_at.len() + 1, limits.max_rows)?;
        let measure = Measure {
            capability: row.capability,
            kind: row.value.kind(),
        };
        let measure = match self.measures.get(&measure) {
            Some(&index) => index,
            None => {
                let index = columns.measures.len();
                at_most("measures", index + 1, limits.max_measures)?;
                let index = index_of("measures", index)?;
                self.measures.insert(measure, index);
                columns.measures.push(measure);
                index
            }
        };
        match row.value {
            Value::Text(text) => self.texts.push(text, limits.max_text_bytes)?,
            Value::Double(value) => columns.doubles.push(value),
            Value::Int(value) => columns.ints.push(value),
            Value::Bool(value) => columns.bools.push(value),
        }
        let device = match self.devices.get(row.device) {
            Some(&index) => index,
            None => {
                let index = index_of("devices", columns.devices.len())?;
                self.devices.insert(*row.device, index);
                columns.devices.push(*row.device);
                index
            }
        };
        columns.device.push(device);
        columns.measure.push(measure);
        columns.observed_at.push(row.observed_at);
        columns.marks.push(row.marks);
        Ok(())
    }

    /// The segment of the rows added.
    ///
    /// # Errors
    /// [`EncodeError::CrossesMidnight`] when their times lie in more than one UTC day.
    pub fn finish(mut self) -> Result<Segment, EncodeError> {
        if self.columns.marks.iter().all(|&marks| marks == Marks::NONE) {
            self.columns.marks.clear();
        }
        self.columns.texts = self.texts.finish();
        Segment::new(self.columns)
    }
}

/// Row limits keep an index inside 16 bits: the error is for a limit that outgrew the format.
fn index_of(what: &'static str, index: usize) -> Result<u16, EncodeError> {
    let limit = usize::from(u16::MAX);
    u16::try_from(index).map_err(|_| EncodeError::TooLarge {
        what,
        found: index,
        limit,
    })
}
