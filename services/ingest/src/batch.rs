//! From a hub's batch to segments: every reading checked, cut by UTC day and retention class, nothing allocated per
//! reading.
//!
//! Pure but for the memory it reuses: it knows no key, no log and no clock. A reading that is refused does not stop
//! the rest; columns that do not fit each other stop the batch.

mod cut;
mod measures;
mod rows;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use hearth_api::events::v1::{Signal, signal};
use hearth_api::ingest::v1::{Batch, Columns, batch::Body};
use hearth_ingest_domain::timing::{Bounds, Timing};
use hearth_kernel::capability::{Family, MAX_TEXT_BYTES, ValueType};
use hearth_kernel::{Reason, RetentionClass, Timestamp};
use hearth_readings::{EncodeError, ValueKind};

use crate::registry::Registry;
use cut::{Cut, Pushed};
use measures::{Dictionary, Measured};

pub use cut::Made;

/// The most encoded bytes of a batch.
pub const MAX_BATCH_BYTES: u32 = 1 << 20;
/// The most readings of a batch.
pub const MAX_READINGS: u32 = 16_384;
/// The most measures in the dictionary of a batch.
pub const MAX_MEASURES: u32 = 1_024;
/// The index of a refusal that is about the batch as a whole.
pub const WHOLE_BATCH: u32 = u32::MAX;
/// The most (day, class) pairs of one batch: as many as there can be, because a hub that was away for a year sends it in
/// one. Two families, 400 days back, a year ahead, and the days that these begin and end in.
const MAX_CUTS: usize = 2 * (400 + 366 + 2);

/// A reading that was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its place in the batch, or [`WHOLE_BATCH`].
    pub index: u32,
    /// Why.
    pub reason: Reason,
}

/// What a batch comes to.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Its readings by (day, class).
    pub made: Vec<Made>,
    /// What rules may act on, oldest first.
    pub signals: Vec<Signal>,
    /// What was not taken.
    pub refused: Vec<Refused>,
    /// Whether a device or capability was not known: the registry may be old.
    pub unknown: bool,
}

impl Outcome {
    /// Nothing of the batch is taken.
    fn whole(reason: Reason) -> Self {
        let index = WHOLE_BATCH;
        Self {
            refused: vec![Refused { index, reason }],
            ..Self::default()
        }
    }
}

/// A value on its way from a wire column to a segment's.
#[derive(Clone, Copy, Debug)]
enum Scalar {
    Number(f64),
    Integer(i64),
    Flag(bool),
    /// An index into the batch's texts.
    Text(u32),
}

/// The memory of one stream, reused from batch to batch.
#[derive(Debug, Default)]
pub struct Desk {
    dictionary: Dictionary,
    cuts: Vec<Cut>,
    spare: Vec<Cut>,
}

impl Desk {
    /// Checks and cuts a batch that was received then.
    pub fn take(&mut self, batch: &Batch, registry: &Registry, received_at: Timestamp) -> Outcome {
        match &batch.body {
            None => Outcome::default(),
            Some(Body::Columns(columns)) => self.columns(columns, registry, received_at),
            Some(Body::Rows(found)) => match rows::columns(found) {
                Ok((columns, misfits)) => {
                    let mut outcome = self.columns(&columns, registry, received_at);
                    rows::restore(&mut outcome, &misfits);
                    outcome
                }
                Err(reason) => Outcome::whole(reason),
            },
        }
    }

    /// Forgets what it resolved: the registry is another one.
    pub fn forget(&mut self) {
        self.dictionary.forget();
    }

    /// Gives the memory of segments back, once they are sealed.
    pub fn reuse(&mut self, made: impl IntoIterator<Item = Made>) {
        for made in made {
            if self.spare.len() < 4 {
                self.spare.push(Cut::of(made.segment.into_columns()));
            }
        }
    }

    fn columns(
        &mut self,
        columns: &Columns,
        registry: &Registry,
        received_at: Timestamp,
    ) -> Outcome {
        if columns.measure.len() != columns.time_delta.len()
            || columns.measure.len() > MAX_READINGS as usize
        {
            return Outcome::whole(Reason::BATCH_MALFORMED);
        }
        let mut outcome = Outcome::default();
        if let Err(reason) = self.dictionary.resolve(columns, registry) {
            // Which column holds the values of a capability that is not in the catalogue, nobody here can know.
            outcome.unknown = reason == Reason::UNKNOWN_CAPABILITY;
            outcome.refused.push(Refused {
                index: WHOLE_BATCH,
                reason,
            });
            return outcome;
        }
        match self.walk(columns, registry, received_at, &mut outcome) {
            Ok(()) => self.finish(columns, received_at, outcome),
            Err(reason) => {
                self.spare.extend(self.cuts.drain(..).take(1));
                Outcome::whole(reason)
            }
        }
    }

    /// Reads the columns once, in step.
    fn walk(
        &mut self,
        columns: &Columns,
        registry: &Registry,
        received_at: Timestamp,
        outcome: &mut Outcome,
    ) -> Result<(), Reason> {
        let bounds = Family::ALL.map(|family| Bounds::new(received_at, registry.class(family)));
        let mut values = Values {
            columns,
            at: [0; 4],
        };
        let mut time = columns.base_time;
        let mut current = 0;
        for (index, (&measure, &delta)) in
            (0u32..).zip(columns.measure.iter().zip(&columns.time_delta))
        {
            time = time.checked_add(delta).ok_or(Reason::BATCH_MALFORMED)?;
            let number = measure as usize;
            let measured = self.dictionary.get(number).ok_or(Reason::BATCH_MALFORMED)?;
            let value = values.next(measured.kind)?;
            let reason = match check(measured, value, &columns.texts) {
                Ok(()) => match bounds[measured.family as usize].judge(time) {
                    Timing::Fine | Timing::Future => None,
                    Timing::Expired => Some(Reason::EXPIRED),
                    Timing::TooFarAhead => Some(Reason::TIME_TOO_FAR_AHEAD),
                },
                Err(reason) => Some(reason),
            };
            if let Some(reason) = reason {
                outcome.unknown |=
                    matches!(reason, Reason::UNKNOWN_DEVICE | Reason::UNKNOWN_CAPABILITY);
                outcome.refused.push(Refused { index, reason });
                continue;
            }
            let future = bounds[measured.family as usize].judge(time) == Timing::Future;
            if !self
                .cuts
                .get(current)
                .is_some_and(|cut| cut.holds(time, measured.class))
            {
                current = cut_of(&mut self.cuts, &mut self.spare, time, measured.class)?;
            }
            self.cuts[current].push(Pushed {
                measured,
                number,
                time,
                future,
                value,
            });
            if measured.signal && !future {
                outcome
                    .signals
                    .push(signal(measured, time, received_at, value, &columns.texts));
            }
        }
        values.are_used_up()
    }

    fn finish(
        &mut self,
        columns: &Columns,
        received_at: Timestamp,
        mut outcome: Outcome,
    ) -> Outcome {
        for cut in self.cuts.drain(..) {
            match cut.finish(received_at, &columns.texts) {
                Ok(made) => outcome.made.push(made),
                // Cannot be: the walk has checked what a segment checks again. The batch is refused, not stored wrong.
                Err(EncodeError::TooLarge { .. }) => {
                    return Outcome::whole(Reason::BATCH_MALFORMED);
                }
                Err(_) => return Outcome::whole(Reason::INTERNAL),
            }
        }
        outcome.signals.sort_by_key(|signal| signal.observed_at);
        outcome
    }
}

/// The value columns and how far each has been read.
struct Values<'a> {
    columns: &'a Columns,
    at: [usize; 4],
}

impl Values<'_> {
    fn next(&mut self, kind: ValueKind) -> Result<Scalar, Reason> {
        let place = &mut self.at[kind as usize];
        let (at, columns) = (*place, self.columns);
        *place += 1;
        let value = match kind {
            ValueKind::Double => columns.numbers.get(at).copied().map(Scalar::Number),
            ValueKind::Int => columns.integers.get(at).copied().map(Scalar::Integer),
            ValueKind::Bool => columns.flags.get(at).copied().map(Scalar::Flag),
            ValueKind::Text => columns
                .text
                .get(at)
                .filter(|code| (**code as usize) < columns.texts.len())
                .copied()
                .map(Scalar::Text),
        };
        value.ok_or(Reason::BATCH_MALFORMED)
    }

    fn are_used_up(&self) -> Result<(), Reason> {
        let columns = self.columns;
        let lengths = [
            columns.numbers.len(),
            columns.integers.len(),
            columns.flags.len(),
            columns.text.len(),
        ];
        if lengths == self.at {
            Ok(())
        } else {
            Err(Reason::BATCH_MALFORMED)
        }
    }
}

fn check(measured: &Measured, value: Scalar, texts: &[String]) -> Result<(), Reason> {
    if let Some(reason) = measured.refused {
        return Err(reason);
    }
    let taken = match value {
        Scalar::Number(value) => measured.value.takes_number(value),
        Scalar::Integer(value) => measured.value.takes_integer(value),
        Scalar::Flag(_) => matches!(measured.value, ValueType::Flag),
        Scalar::Text(code) => texts
            .get(code as usize)
            .is_some_and(|text| text.len() <= MAX_TEXT_BYTES && measured.value.takes_text(text)),
    };
    if taken {
        Ok(())
    } else {
        Err(Reason::VALUE_OUT_OF_RANGE)
    }
}

/// The place of the cut that holds that time and class, opened if there is none.
fn cut_of(
    cuts: &mut Vec<Cut>,
    spare: &mut Vec<Cut>,
    time: i64,
    class: RetentionClass,
) -> Result<usize, Reason> {
    if let Some(at) = cuts.iter().position(|cut| cut.holds(time, class)) {
        return Ok(at);
    }
    if cuts.len() >= MAX_CUTS {
        return Err(Reason::BATCH_MALFORMED);
    }
    let mut cut = spare.pop().unwrap_or_default();
    cut.open(time, class);
    cuts.push(cut);
    Ok(cuts.len() - 1)
}

fn signal(
    measured: &Measured,
    time: i64,
    received_at: Timestamp,
    value: Scalar,
    texts: &[String],
) -> Signal {
    Signal {
        device_id: Bytes::copy_from_slice(measured.device.as_bytes()),
        capability: i32::from(measured.capability.number()),
        observed_at: time,
        received_at: received_at.micros(),
        value: Some(match value {
            Scalar::Number(value) => signal::Value::Number(value),
            Scalar::Integer(value) => signal::Value::Integer(value),
            Scalar::Flag(value) => signal::Value::Flag(value),
            Scalar::Text(code) => {
                signal::Value::Text(texts.get(code as usize).cloned().unwrap_or_default())
            }
        }),
    }
}
