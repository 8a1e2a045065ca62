//! Writing a segment.

use super::{Columns, FORMAT, LZ4, LZ4_FROM_ROWS, MARKED, Scratch, Segment, at_most};
use crate::{
    booleans,
    cursor::{put_count, put_varint, put_zigzag},
    doubles,
    error::EncodeError,
    integers,
    limits::Limits,
    timestamps,
    value::ValueKind,
};

impl Segment {
    /// The bytes of this segment.
    ///
    /// # Errors
    /// [`EncodeError::TooLarge`] above the bytes of [`Limits::SEGMENT`] (only long texts get there).
    pub fn encode(&self) -> Result<Vec<u8>, EncodeError> {
        let mut out = Vec::new();
        self.encode_with(&mut Scratch::default(), &mut out)?;
        Ok(out)
    }

    /// Appends the bytes of this segment to `out`, using the buffers of `scratch`.
    ///
    /// # Errors
    /// As [`Segment::encode`]; `out` is then as before.
    pub fn encode_with(&self, scratch: &mut Scratch, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let columns = &self.columns;
        let mut body = std::mem::take(&mut scratch.body);
        body.clear();
        let marked = columns.marks.iter().any(|marks| marks.bits() != 0);
        put_dictionaries(columns, &mut body);
        put_rows(columns, marked, scratch, &mut body);
        put_values(columns, scratch, &mut body);
        let fits = at_most("bytes of a segment", body.len(), Limits::SEGMENT.max_bytes);
        if fits.is_ok() {
            let start = out.len();
            let flags = if marked { MARKED } else { 0 };
            out.extend_from_slice(&[FORMAT, flags | LZ4]);
            if self.len() < LZ4_FROM_ROWS || !put_compressed(&body, out) {
                out.truncate(start);
                out.extend_from_slice(&[FORMAT, flags]);
                out.extend_from_slice(&body);
            }
        }
        scratch.body = body;
        fits
    }
}

/// Bytes that compression must save, beside a sixteenth of the body: less is not worth the reading.
const LZ4_SAVES: usize = 32;

/// Appends the compressed body when that helps.
fn put_compressed(body: &[u8], out: &mut Vec<u8>) -> bool {
    put_count(out, body.len());
    let start = out.len();
    out.resize(
        start + lz4_flex::block::get_maximum_output_size(body.len()),
        0,
    );
    match lz4_flex::block::compress_into(body, &mut out[start..]) {
        Ok(length) if length + LZ4_SAVES.max(body.len() / 16) <= body.len() => {
            out.truncate(start + length);
            true
        }
        _ => false,
    }
}

fn put_dictionaries(columns: &Columns, out: &mut Vec<u8>) {
    put_count(out, columns.observed_at.len());
    put_zigzag(out, columns.received_at);
    put_count(out, columns.devices.len());
    for device in &columns.devices {
        out.extend_from_slice(device);
    }
    put_count(out, columns.measures.len());
    for measure in &columns.measures {
        put_varint(
            out,
            u64::from(measure.capability) << 2 | u64::from(measure.kind.code()),
        );
    }
    if columns
        .measures
        .iter()
        .any(|measure| measure.kind == ValueKind::Text)
    {
        columns.texts.encode_dictionary(out);
    }
}

fn put_rows(columns: &Columns, marked: bool, scratch: &mut Scratch, out: &mut Vec<u8>) {
    let ints = &mut scratch.ints;
    ints.clear();
    ints.extend(columns.device.iter().map(|&index| i64::from(index)));
    integers::encode(ints, out);
    ints.clear();
    ints.extend(columns.measure.iter().map(|&index| i64::from(index)));
    integers::encode(ints, out);
    timestamps::encode(&columns.observed_at, &mut scratch.times, out);
    if marked {
        ints.clear();
        ints.extend(columns.marks.iter().map(|marks| i64::from(marks.bits())));
        integers::encode(ints, out);
    }
}

/// Groups the values of each kind by measure, and writes a column per measure.
fn put_values(columns: &Columns, scratch: &mut Scratch, out: &mut Vec<u8>) {
    columns.count_measures(&mut scratch.counts);
    scratch.place_groups(&columns.measures);
    group(columns, scratch);
    let mut next = [0usize; 4];
    for (measure, &count) in columns.measures.iter().zip(&scratch.counts) {
        let start = next[usize::from(measure.kind.code())];
        let range = start..start + count;
        next[usize::from(measure.kind.code())] = range.end;
        match measure.kind {
            ValueKind::Double => {
                doubles::encode(&scratch.doubles[range], &mut scratch.decimals, out);
            }
            ValueKind::Int => integers::encode(&scratch.grouped_ints[range], out),
            ValueKind::Bool => booleans::encode(&scratch.grouped_bools[range], out),
            ValueKind::Text => integers::encode(&scratch.codes[range], out),
        }
    }
}

fn group(columns: &Columns, scratch: &mut Scratch) {
    scratch.doubles.resize(columns.doubles.len(), 0.0);
    scratch.grouped_ints.resize(columns.ints.len(), 0);
    scratch.grouped_bools.resize(columns.bools.len(), false);
    scratch.codes.resize(columns.texts.len(), 0);
    let (mut doubles, mut ints) = (columns.doubles.iter(), columns.ints.iter());
    let (mut bools, mut codes) = (columns.bools.iter(), columns.texts.codes().iter());
    for &index in &columns.measure {
        let index = usize::from(index);
        let slot = scratch.starts[index];
        scratch.starts[index] += 1;
        // The columns fit: each kind has exactly as many values as rows that ask for one.
        match columns.measures[index].kind {
            ValueKind::Double => scratch.doubles[slot] = doubles.next().copied().unwrap_or(0.0),
            ValueKind::Int => scratch.grouped_ints[slot] = ints.next().copied().unwrap_or(0),
            ValueKind::Bool => scratch.grouped_bools[slot] = bools.next().copied().unwrap_or(false),
            ValueKind::Text => {
                scratch.codes[slot] = codes.next().map_or(0, |&code| i64::from(code));
            }
        }
    }
}
