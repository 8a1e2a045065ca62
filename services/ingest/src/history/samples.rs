//! Readings of one series, gathered from chunks and segments, and brought into the one order that all answers have.

use hearth_readings::{Chunk, EncodeError, Limits, Marks, Point, Row, merge};

use super::HistoryError;
use crate::observed::Observed;

/// One reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) at: i64,
    marks: Marks,
    pub(crate) value: Observed,
}

/// Readings of one series.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Samples {
    samples: Vec<Sample>,
}

impl Samples {
    pub(crate) const fn len(&self) -> usize {
        self.samples.len()
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.samples.is_empty()
    }

    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Sample> {
        self.samples.iter()
    }

    /// Adds a reading of a segment.
    pub(crate) fn push(&mut self, row: &Row<'_>) {
        self.samples.push(Sample {
            at: row.observed_at,
            marks: row.marks,
            value: row.value.into(),
        });
    }

    /// Adds the readings of a column of a chunk of at most that many days.
    ///
    /// # Errors
    /// `Corrupt` when it does not decode.
    pub(crate) fn extend_encoded(&mut self, bytes: &[u8], days: u16) -> Result<(), HistoryError> {
        let chunk = Chunk::decode_days(bytes, days).map_err(|_| HistoryError::Corrupt("chunk"))?;
        self.samples.extend(chunk.points().map(|point| Sample {
            at: point.at,
            marks: point.marks,
            value: point.value.into(),
        }));
        Ok(())
    }

    /// Adds other readings.
    pub(crate) fn append(&mut self, mut other: Self) {
        self.samples.append(&mut other.samples);
    }

    /// Takes out what was observed from a time on and before another.
    pub(crate) fn between(&self, from: i64, until: i64) -> Self {
        let inside = self
            .samples
            .iter()
            .filter(|it| it.at >= from && it.at < until);
        Self {
            samples: inside.cloned().collect(),
        }
    }

    /// Drops what was observed before a time.
    pub(crate) fn drop_before(&mut self, time: i64) {
        self.samples.retain(|it| it.at >= time);
    }

    /// Sorts by time and keeps one reading per instant. Any order and repetition comes to the same. Ranks are all 0: of
    /// two values of one instant the greater stays, which costs nothing and needs no batch to be remembered.
    pub(crate) fn settle(&mut self) {
        if self.samples.is_sorted_by(|a, b| a.at < b.at) {
            return;
        }
        let merged: Vec<Sample> = {
            let mut points = self.points();
            merge(&mut points);
            points
                .into_iter()
                .map(|point| Sample {
                    at: point.at,
                    marks: point.marks,
                    value: point.value.into(),
                })
                .collect()
        };
        self.samples = merged;
    }

    /// The readings as the codecs see them. One series has one kind; should it ever have two, the kind of the first
    /// in the order of kinds stays.
    pub(crate) fn points(&self) -> Vec<Point<'_>> {
        let kinds = self.samples.iter().map(|it| it.value.value().kind());
        let kind = kinds.min();
        let of_kind = |it: &&Sample| Some(it.value.value().kind()) == kind;
        self.samples
            .iter()
            .filter(of_kind)
            .map(|it| Point {
                marks: it.marks,
                ..Point::new(it.at, it.value.value())
            })
            .collect()
    }

    /// Encoded columns that hold them all: one, unless there are more than a column may have.
    ///
    /// # Errors
    /// `Corrupt` when they are of more than that many days, which the caller has ruled out.
    pub(crate) fn encode(&self, days: u16) -> Result<Vec<Vec<u8>>, HistoryError> {
        let points = self.points();
        let encode = |points: &[Point<'_>]| -> Result<Vec<u8>, EncodeError> {
            Chunk::of_days(points.to_vec(), days)?.encode()
        };
        points
            .chunks(Limits::CHUNK.max_rows)
            .map(|part| encode(part).map_err(|_| HistoryError::Corrupt("readings of a span")))
            .collect()
    }
}
