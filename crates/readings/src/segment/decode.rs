//! Reading a segment: bytes of any origin, into columns that are reused.

use super::{Columns, FORMAT, LZ4, MARKED, Measure, Scratch, Segment, below};
use crate::{
    booleans,
    cursor::Cursor,
    doubles,
    error::DecodeError,
    integers,
    limits::Limits,
    timestamps,
    value::{Marks, ValueKind},
};

/// LZ4 stores at most 255 bytes for each byte of a block; more is a lie about the length.
const LZ4_MOST_PER_BYTE: usize = 255;

impl Segment {
    /// The segment of these bytes.
    ///
    /// # Errors
    /// [`DecodeError`] for anything that [`Segment::encode`] could not have meant.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut segment = Self::default();
        segment.decode_into(&mut Scratch::default(), bytes)?;
        Ok(segment)
    }

    /// Replaces the content of this segment by that of `bytes`, reusing its memory and that of
    /// `scratch`.
    ///
    /// # Errors
    /// As [`Segment::decode`]; the segment is then empty.
    pub fn decode_into(&mut self, scratch: &mut Scratch, bytes: &[u8]) -> Result<(), DecodeError> {
        self.columns.clear();
        let mut body = std::mem::take(&mut scratch.body);
        let result = decode(bytes, &mut body, &mut self.columns, scratch);
        scratch.body = body;
        if result.is_err() {
            self.columns.clear();
        }
        result
    }
}

fn decode(
    bytes: &[u8],
    body: &mut Vec<u8>,
    columns: &mut Columns,
    scratch: &mut Scratch,
) -> Result<(), DecodeError> {
    let mut cursor = Cursor::new(bytes);
    let format = cursor.byte()?;
    if format != FORMAT {
        return Err(DecodeError::UnknownFormat(format));
    }
    let flags = cursor.byte()?;
    if flags & !(LZ4 | MARKED) != 0 {
        return Err(DecodeError::Malformed("flags of a segment"));
    }
    let limit = Limits::SEGMENT.max_bytes;
    if flags & LZ4 != 0 {
        let length = cursor.count(limit, "bytes of a segment")?;
        if length / LZ4_MOST_PER_BYTE > cursor.remaining() {
            return Err(DecodeError::Truncated);
        }
        body.clear();
        body.resize(length, 0);
        match lz4_flex::block::decompress_into(cursor.rest(), body) {
            Ok(written) if written == length => {}
            _ => return Err(DecodeError::Malformed("compressed body")),
        }
        cursor = Cursor::new(body);
    } else if cursor.remaining() > limit {
        let found = u64::try_from(cursor.remaining()).unwrap_or(u64::MAX);
        let limit = u64::try_from(limit).unwrap_or(u64::MAX);
        return Err(DecodeError::TooLarge {
            what: "bytes of a segment",
            found,
            limit,
        });
    }
    let rows = take_dictionaries(&mut cursor, columns)?;
    take_rows(&mut cursor, rows, flags & MARKED != 0, columns, scratch)?;
    take_values(&mut cursor, columns, scratch)?;
    cursor.finish()
}

fn take_dictionaries(cursor: &mut Cursor<'_>, columns: &mut Columns) -> Result<usize, DecodeError> {
    let limits = Limits::SEGMENT;
    let rows = cursor.count(limits.max_rows, "rows")?;
    columns.received_at = cursor.zigzag()?;
    let devices = cursor.count_of(limits.max_rows, 16, "devices")?;
    let (devices, _) = cursor.take(devices * 16)?.as_chunks::<16>();
    columns.devices.extend_from_slice(devices);
    let measures = cursor.count_of(limits.max_measures, 1, "measures")?;
    let mut texts = false;
    for _ in 0..measures {
        let code = cursor.varint()?;
        let kind = ValueKind::from_code(code.to_le_bytes()[0] & 3)?;
        let capability =
            u16::try_from(code >> 2).map_err(|_| DecodeError::Malformed("capability"))?;
        columns.measures.push(Measure { capability, kind });
        texts |= kind == ValueKind::Text;
    }
    if texts {
        columns
            .texts
            .decode_dictionary(cursor, limits.max_rows, limits.max_text_bytes)?;
    }
    Ok(rows)
}

fn take_rows(
    cursor: &mut Cursor<'_>,
    rows: usize,
    marked: bool,
    columns: &mut Columns,
    scratch: &mut Scratch,
) -> Result<(), DecodeError> {
    let ints = &mut scratch.ints;
    take_indexes(cursor, rows, ints, &mut columns.device)?;
    if !below(&columns.device, columns.devices.len()) {
        return Err(DecodeError::Malformed("index of a device"));
    }
    take_indexes(cursor, rows, ints, &mut columns.measure)?;
    if !below(&columns.measure, columns.measures.len()) {
        return Err(DecodeError::Malformed("index of a measure"));
    }
    timestamps::decode(cursor, rows, &mut columns.observed_at)?;
    if !timestamps::in_one_day(&columns.observed_at) {
        return Err(DecodeError::Malformed("times of more than one day"));
    }
    if marked {
        integers::decode(cursor, rows, ints)?;
        columns.marks.reserve(rows);
        for &bits in ints.iter() {
            let bits = u8::try_from(bits).map_err(|_| DecodeError::Malformed("marks"))?;
            columns.marks.push(Marks::from_bits(bits));
        }
    }
    Ok(())
}

fn take_indexes(
    cursor: &mut Cursor<'_>,
    rows: usize,
    ints: &mut Vec<i64>,
    out: &mut Vec<u16>,
) -> Result<(), DecodeError> {
    integers::decode(cursor, rows, ints)?;
    // One test for the column, so that the narrowing itself is a plain loop.
    if ints.iter().fold(0, |all, index| all | index) & !0xffff != 0 {
        return Err(DecodeError::Malformed("index of more than 16 bits"));
    }
    out.extend(ints.iter().map(|index| {
        let [low, high, ..] = index.to_le_bytes();
        u16::from_le_bytes([low, high])
    }));
    Ok(())
}

/// Reads a column per measure, then hands the values out in row order.
fn take_values(
    cursor: &mut Cursor<'_>,
    columns: &mut Columns,
    scratch: &mut Scratch,
) -> Result<(), DecodeError> {
    columns.count_measures(&mut scratch.counts);
    scratch.place_groups(&columns.measures);
    scratch.doubles.clear();
    scratch.grouped_ints.clear();
    scratch.grouped_bools.clear();
    scratch.codes.clear();
    for (measure, &count) in columns.measures.iter().zip(&scratch.counts) {
        match measure.kind {
            ValueKind::Double => {
                doubles::decode(cursor, count, &mut scratch.decimals, &mut scratch.column)?;
                scratch.doubles.extend_from_slice(&scratch.column);
            }
            ValueKind::Int => {
                integers::decode(cursor, count, &mut scratch.ints)?;
                scratch.grouped_ints.extend_from_slice(&scratch.ints);
            }
            ValueKind::Bool => {
                booleans::decode(cursor, count, &mut scratch.bools)?;
                scratch.grouped_bools.extend_from_slice(&scratch.bools);
            }
            ValueKind::Text => {
                integers::decode(cursor, count, &mut scratch.ints)?;
                scratch.codes.extend_from_slice(&scratch.ints);
            }
        }
    }
    // The codes are checked once, in groups; the rows then take them from the scratch space.
    columns.texts.extend_codes(&scratch.codes)?;
    columns.texts.clear_rows();
    hand_out(columns, scratch);
    Ok(())
}

fn hand_out(columns: &mut Columns, scratch: &mut Scratch) {
    columns.doubles.reserve(scratch.doubles.len());
    for &index in &columns.measure {
        let index = usize::from(index);
        let slot = scratch.starts[index];
        scratch.starts[index] += 1;
        match columns.measures[index].kind {
            ValueKind::Double => columns.doubles.push(scratch.doubles[slot]),
            ValueKind::Int => columns.ints.push(scratch.grouped_ints[slot]),
            ValueKind::Bool => columns.bools.push(scratch.grouped_bools[slot]),
            // Checked above to be the index of a text, which fits.
            ValueKind::Text => {
                columns
                    .texts
                    .push_code(u32::try_from(scratch.codes[slot]).unwrap_or(0));
            }
        }
    }
}
