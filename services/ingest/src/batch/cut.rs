//! One (day, class) of a batch: the columns that become a segment.

use hearth_kernel::{Day, RetentionClass, Timestamp};
use hearth_readings::{Columns, EncodeError, Marks, Measure, Segment, Texts};

use super::Scalar;
use super::measures::Measured;

/// Not yet in a dictionary.
const UNSET: u16 = u16::MAX;

/// A batch's readings of one day and class.
#[derive(Debug)]
pub struct Made {
    /// The UTC day.
    pub day: Day,
    /// For how long they are kept.
    pub class: RetentionClass,
    /// The readings; at least one.
    pub segment: Segment,
}

/// One reading that was accepted.
pub(super) struct Pushed<'a> {
    pub(super) measured: &'a Measured,
    /// Its measure in the batch's dictionary.
    pub(super) number: usize,
    pub(super) time: i64,
    pub(super) future: bool,
    pub(super) value: Scalar,
}

/// The columns of one (day, class), being filled.
#[derive(Debug)]
pub(super) struct Cut {
    columns: Columns,
    start: i64,
    end: i64,
    class: RetentionClass,
    /// Per measure of the batch, its device and measure in the dictionaries of the segment.
    places: Vec<(u16, u16)>,
    /// Indexes into the batch's texts.
    codes: Vec<u32>,
}

impl Default for Cut {
    fn default() -> Self {
        Self::of(Columns::default())
    }
}

impl Cut {
    /// An unused cut that fills these columns' memory.
    pub(super) fn of(mut columns: Columns) -> Self {
        columns.clear();
        Self {
            columns,
            start: 0,
            end: 0,
            class: RetentionClass::Days7,
            places: Vec::new(),
            codes: Vec::new(),
        }
    }

    /// Begins with the day of that time.
    pub(super) fn open(&mut self, time: i64, class: RetentionClass) {
        let day = Timestamp::from_micros(time).day();
        (self.start, self.end) = (day.start().micros(), day.end().micros());
        self.class = class;
        self.columns.clear();
        self.places.clear();
        self.codes.clear();
    }

    pub(super) fn holds(&self, time: i64, class: RetentionClass) -> bool {
        time >= self.start && time < self.end && class == self.class
    }

    pub(super) fn push(&mut self, reading: Pushed<'_>) {
        if self.places.len() <= reading.number {
            self.places.resize(reading.number + 1, (UNSET, UNSET));
        }
        let mut place = self.places[reading.number];
        if place.0 == UNSET {
            place = self.enter(reading.measured);
            self.places[reading.number] = place;
        }
        let columns = &mut self.columns;
        columns.device.push(place.0);
        columns.measure.push(place.1);
        columns.observed_at.push(reading.time);
        if reading.future && columns.marks.is_empty() {
            columns
                .marks
                .resize(columns.observed_at.len() - 1, Marks::NONE);
        }
        if reading.future || !columns.marks.is_empty() {
            let marks = if reading.future {
                Marks::FUTURE
            } else {
                Marks::NONE
            };
            columns.marks.push(marks);
        }
        match reading.value {
            Scalar::Number(value) => columns.doubles.push(value),
            Scalar::Integer(value) => columns.ints.push(value),
            Scalar::Flag(value) => columns.bools.push(value),
            Scalar::Text(code) => self.codes.push(code),
        }
    }

    /// Enters a measure into the segment's dictionaries. Batches have at most 1,024 of them: looking through is cheap.
    fn enter(&mut self, measured: &Measured) -> (u16, u16) {
        let columns = &mut self.columns;
        let device = *measured.device.as_bytes();
        let measure = Measure {
            capability: measured.capability.number(),
            kind: measured.kind,
        };
        (
            place_of(&mut columns.devices, device),
            place_of(&mut columns.measures, measure),
        )
    }

    pub(super) fn finish(
        mut self,
        received_at: Timestamp,
        texts: &[String],
    ) -> Result<Made, EncodeError> {
        self.columns.received_at = received_at.micros();
        if !self.codes.is_empty() {
            let used = |code: &u32| texts.get(*code as usize).map_or("", String::as_str);
            self.columns.texts = Texts::from_rows(
                self.codes.iter().map(used),
                hearth_kernel::capability::MAX_TEXT_BYTES,
            )?;
        }
        Ok(Made {
            day: Timestamp::from_micros(self.start).day(),
            class: self.class,
            segment: Segment::new(self.columns)?,
        })
    }
}

fn place_of<T: PartialEq>(dictionary: &mut Vec<T>, item: T) -> u16 {
    let at = dictionary
        .iter()
        .position(|it| *it == item)
        .unwrap_or_else(|| {
            dictionary.push(item);
            dictionary.len() - 1
        });
    // At most 1,024 measures: far below.
    u16::try_from(at).unwrap_or(UNSET)
}
