//! The chunk: the readings of one capability of one device in one UTC day, sorted, one per instant.
//!
//! The unit of long storage. It does not know which series it is: that is its key. Its points are in
//! the order and have the winners of [`merge`], so the same readings give the same bytes in
//! whatever order they arrived and however often they were compacted.
//!
//! Layout of version 1: one byte of format and version, one of kind and flags, the row count, the
//! times, the values, then ranks and marks if there are any.

#[cfg(test)]
mod tests;

use crate::{
    booleans,
    cursor::{Cursor, put_count},
    doubles,
    error::{DecodeError, EncodeError},
    integers,
    limits::Limits,
    merge::{Point, merge},
    strings::Texts,
    timestamps,
    value::{Marks, Value, ValueKind},
};

/// First byte of a chunk of version 1.
const FORMAT: u8 = 0x61;
/// Flags above the two bits of the kind.
const RANKED: u8 = 4;
const MARKED: u8 = 8;

/// The values of a chunk.
#[derive(Debug, Clone)]
enum Values {
    Double(Vec<f64>),
    Int(Vec<i64>),
    Bool(Vec<bool>),
    Text(Texts),
}

/// A day of one series: at most [`Limits::CHUNK`] points, sorted, one per instant.
#[derive(Debug, Clone)]
pub struct Chunk {
    times: Vec<i64>,
    values: Values,
    /// Per point, or empty when all are 0.
    ranks: Vec<u64>,
    /// Per point, or empty when there are none.
    marks: Vec<Marks>,
}

impl Chunk {
    /// The chunk of these points, which are sorted and merged first.
    ///
    /// # Errors
    /// [`EncodeError`] when kinds are mixed, times lie in more than one UTC day, or a bound of
    /// [`Limits::CHUNK`] is broken.
    pub fn from_points(points: Vec<Point<'_>>) -> Result<Self, EncodeError> {
        Self::of_days(points, 1)
    }

    /// The same of several UTC days, the first of which is that of the first point: for series so sparse that a chunk
    /// per day would be mostly its own header. [`Chunk::decode_days`] reads it.
    ///
    /// # Errors
    /// As [`Chunk::from_points`], for that many days.
    pub fn of_days(mut points: Vec<Point<'_>>, days: u16) -> Result<Self, EncodeError> {
        let kind = points
            .first()
            .map_or(ValueKind::Double, |point| point.value.kind());
        if points.iter().any(|point| point.value.kind() != kind) {
            return Err(EncodeError::MixedKinds);
        }
        merge(&mut points);
        let limits = Limits::CHUNK;
        if points.len() > limits.max_rows {
            let (what, found) = ("rows", points.len());
            return Err(EncodeError::TooLarge {
                what,
                found,
                limit: limits.max_rows,
            });
        }
        let times: Vec<i64> = points.iter().map(|point| point.at).collect();
        if !timestamps::in_days(&times, days) {
            return Err(EncodeError::CrossesMidnight);
        }
        let values = Values::from_points(kind, &points)?;
        let mut ranks = Vec::new();
        if points.iter().any(|point| point.rank != 0) {
            ranks.extend(points.iter().map(|point| point.rank));
        }
        let mut marks = Vec::new();
        if points.iter().any(|point| point.marks != Marks::NONE) {
            marks.extend(points.iter().map(|point| point.marks));
        }
        Ok(Self {
            times,
            values,
            ranks,
            marks,
        })
    }

    /// The bytes of this chunk.
    ///
    /// # Errors
    /// [`EncodeError::TooLarge`] above the bytes of [`Limits::CHUNK`] (only long texts get there).
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let mut out = Vec::with_capacity(64 + self.len() * 2);
        let ranked = if self.ranks.is_empty() { 0 } else { RANKED };
        let marked = if self.marks.is_empty() { 0 } else { MARKED };
        out.extend_from_slice(&[FORMAT, self.kind().code() | ranked | marked]);
        put_count(&mut out, self.len());
        timestamps::encode(&self.times, &mut timestamps::Work::default(), &mut out);
        match &self.values {
            Values::Double(v) => doubles::encode(v, &mut doubles::Work::default(), &mut out),
            Values::Int(v) => integers::encode(v, &mut out),
            Values::Bool(v) => booleans::encode(v, &mut out),
            Values::Text(v) => v.encode(&mut out),
        }
        if ranked != 0 {
            let ranks: Vec<i64> = self.ranks.iter().map(|rank| rank.cast_signed()).collect();
            integers::encode(&ranks, &mut out);
        }
        if marked != 0 {
            let marks: Vec<i64> = self
                .marks
                .iter()
                .map(|marks| i64::from(marks.bits()))
                .collect();
            integers::encode(&marks, &mut out);
        }
        let limit = Limits::CHUNK.max_bytes;
        if out.len() > limit {
            return Err(EncodeError::TooLarge {
                what: "bytes of a chunk",
                found: out.len(),
                limit,
            });
        }
        Ok(out)
    }

    /// The chunk of these bytes.
    ///
    /// # Errors
    /// [`DecodeError`] for anything that [`Chunk::encode`] could not have meant: also times that
    /// are not ascending or lie in more than one UTC day.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        Self::decode_days(bytes, 1)
    }

    /// The chunk of these bytes, of at most that many days.
    ///
    /// # Errors
    /// As [`Chunk::decode`], for that many days.
    pub fn decode_days(bytes: &[u8], days: u16) -> Result<Self, DecodeError> {
        let limits = Limits::CHUNK;
        let mut cursor = Cursor::new(bytes);
        let format = cursor.byte()?;
        if format != FORMAT {
            return Err(DecodeError::UnknownFormat(format));
        }
        let head = cursor.byte()?;
        if head & !(3 | RANKED | MARKED) != 0 {
            return Err(DecodeError::Malformed("flags of a chunk"));
        }
        let rows = cursor.count(limits.max_rows, "rows")?;
        let mut times = Vec::new();
        timestamps::decode(&mut cursor, rows, &mut times)?;
        if !times.is_sorted_by(|a, b| a < b) {
            return Err(DecodeError::Malformed("times that do not ascend"));
        }
        if !timestamps::in_days(&times, days) {
            return Err(DecodeError::Malformed("times of too many days"));
        }
        let values = Values::decode(ValueKind::from_code(head & 3)?, &mut cursor, rows)?;
        let mut ints = Vec::new();
        let mut ranks = Vec::new();
        if head & RANKED != 0 {
            integers::decode(&mut cursor, rows, &mut ints)?;
            ranks.extend(ints.iter().map(|rank| rank.cast_unsigned()));
        }
        let mut marks = Vec::new();
        if head & MARKED != 0 {
            integers::decode(&mut cursor, rows, &mut ints)?;
            for &bits in &ints {
                let bits = u8::try_from(bits).map_err(|_| DecodeError::Malformed("marks"))?;
                marks.push(Marks::from_bits(bits));
            }
        }
        cursor.finish()?;
        Ok(Self {
            times,
            values,
            ranks,
            marks,
        })
    }

    /// Number of points.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.times.len()
    }

    /// Whether there are no points.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.times.is_empty()
    }

    /// The kind of all values.
    #[must_use]
    pub const fn kind(&self) -> ValueKind {
        match self.values {
            Values::Double(_) => ValueKind::Double,
            Values::Int(_) => ValueKind::Int,
            Values::Bool(_) => ValueKind::Bool,
            Values::Text(_) => ValueKind::Text,
        }
    }

    /// The times, ascending, microseconds UTC.
    #[must_use]
    pub fn times(&self) -> &[i64] {
        &self.times
    }

    /// The point at a position.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<Point<'_>> {
        Some(Point {
            at: *self.times.get(index)?,
            rank: self.ranks.get(index).copied().unwrap_or(0),
            marks: self.marks.get(index).copied().unwrap_or(Marks::NONE),
            value: self.values.get(index)?,
        })
    }

    /// The points in order of time.
    pub fn points(&self) -> impl Iterator<Item = Point<'_>> {
        (0..self.len()).filter_map(|index| self.get(index))
    }

    /// The points from `start` on and before `end`, microseconds UTC, in order of time.
    pub fn points_between(&self, start: i64, end: i64) -> impl Iterator<Item = Point<'_>> {
        let from = self.times.partition_point(|&time| time < start);
        let to = self.times.partition_point(|&time| time < end);
        (from..to).filter_map(|index| self.get(index))
    }
}

/// Same points, bit by bit.
impl PartialEq for Chunk {
    fn eq(&self, other: &Self) -> bool {
        self.kind() == other.kind() && self.points().eq(other.points())
    }
}

impl Eq for Chunk {}

impl Values {
    /// Points that all have this kind.
    fn from_points(kind: ValueKind, points: &[Point<'_>]) -> Result<Self, EncodeError> {
        let values = points.iter().map(|point| point.value);
        Ok(match kind {
            ValueKind::Double => Self::Double(
                values
                    .filter_map(|v| {
                        if let Value::Double(v) = v {
                            Some(v)
                        } else {
                            None
                        }
                    })
                    .collect(),
            ),
            ValueKind::Int => Self::Int(
                values
                    .filter_map(|v| if let Value::Int(v) = v { Some(v) } else { None })
                    .collect(),
            ),
            ValueKind::Bool => Self::Bool(
                values
                    .filter_map(|v| {
                        if let Value::Bool(v) = v {
                            Some(v)
                        } else {
                            None
                        }
                    })
                    .collect(),
            ),
            ValueKind::Text => {
                let texts = values.filter_map(|v| {
                    if let Value::Text(v) = v {
                        Some(v)
                    } else {
                        None
                    }
                });
                Self::Text(Texts::from_rows(texts, Limits::CHUNK.max_text_bytes)?)
            }
        })
    }

    fn decode(kind: ValueKind, cursor: &mut Cursor<'_>, rows: usize) -> Result<Self, DecodeError> {
        match kind {
            ValueKind::Double => {
                let mut values = Vec::new();
                doubles::decode(cursor, rows, &mut doubles::Work::default(), &mut values)?;
                Ok(Self::Double(values))
            }
            ValueKind::Int => {
                let mut values = Vec::new();
                integers::decode(cursor, rows, &mut values)?;
                Ok(Self::Int(values))
            }
            ValueKind::Bool => {
                let mut values = Vec::new();
                booleans::decode(cursor, rows, &mut values)?;
                Ok(Self::Bool(values))
            }
            ValueKind::Text => {
                let mut texts = Texts::default();
                texts.decode(cursor, rows, Limits::CHUNK.max_text_bytes)?;
                Ok(Self::Text(texts))
            }
        }
    }

    fn get(&self, index: usize) -> Option<Value<'_>> {
        Some(match self {
            Self::Double(v) => Value::Double(*v.get(index)?),
            Self::Int(v) => Value::Int(*v.get(index)?),
            Self::Bool(v) => Value::Bool(*v.get(index)?),
            Self::Text(v) => Value::Text(v.get(index)?),
        })
    }
}
