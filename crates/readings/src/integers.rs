//! A column of i64: constant, frame of reference, deltas or runs, whichever is the smallest.
//!
//! Frame of reference: blocks of 64, each with the least value (as the difference from the block
//! before), a width, and the packed differences from it. Every column of the crate ends up here.
//! The number of values is known to the reader from elsewhere.

use crate::{
    bitpack::{BLOCK, pack, packed_len, unpack, width},
    cursor::{Cursor, put_count, put_zigzag, zigzag_len},
    error::DecodeError,
};

const CONSTANT: u8 = 0;
const FRAME: u8 = 1;
const DELTA: u8 = 2;
const RUNS: u8 = 3;

/// Runs are tried only when they are on average this long: below, packing wins.
const SHORTEST_RUN: usize = 4;

/// The form that [`plan`] chose for a column, and the bytes it will take.
#[derive(Debug)]
pub(crate) struct Plan {
    form: Form,
    /// Bytes of the encoded column (a few less than that where there are thousands of runs).
    pub(crate) length: usize,
}

#[derive(Debug)]
enum Form {
    Constant,
    Frame,
    Delta,
    Runs(Vec<i64>, Vec<i64>),
}

/// Appends `values`. Nothing is written for none.
pub(crate) fn encode(values: &[i64], out: &mut Vec<u8>) {
    encode_as(values, &plan(values), out);
}

/// The smallest form of `values`.
pub(crate) fn plan(values: &[i64]) -> Plan {
    let Some(&first) = values.first() else {
        return Plan {
            form: Form::Constant,
            length: 0,
        };
    };
    let breaks = values.windows(2).filter(|pair| pair[0] != pair[1]).count();
    if breaks == 0 {
        return Plan {
            form: Form::Constant,
            length: 1 + zigzag_len(first),
        };
    }
    let plain = 1 + frame_len(values.len(), |i| values[i]);
    let delta = |i: usize| values[i + 1].wrapping_sub(values[i]);
    let delta = 1 + zigzag_len(first) + frame_len(values.len() - 1, delta);
    if (breaks + 1) * SHORTEST_RUN <= values.len() {
        let (heads, lengths) = runs(values, breaks + 1);
        let length =
            3 + frame_len(heads.len(), |i| heads[i]) + frame_len(lengths.len(), |i| lengths[i]);
        if length < plain.min(delta) {
            return Plan {
                form: Form::Runs(heads, lengths),
                length,
            };
        }
    }
    let form = if plain <= delta {
        Form::Frame
    } else {
        Form::Delta
    };
    Plan {
        form,
        length: plain.min(delta),
    }
}

/// Appends `values` in the form planned for them.
pub(crate) fn encode_as(values: &[i64], plan: &Plan, out: &mut Vec<u8>) {
    let Some(&first) = values.first() else { return };
    match &plan.form {
        Form::Constant => {
            out.push(CONSTANT);
            put_zigzag(out, first);
        }
        Form::Frame => {
            out.push(FRAME);
            put_frame(values.len(), |i| values[i], out);
        }
        Form::Delta => {
            out.push(DELTA);
            put_zigzag(out, first);
            put_frame(
                values.len() - 1,
                |i| values[i + 1].wrapping_sub(values[i]),
                out,
            );
        }
        Form::Runs(heads, lengths) => {
            out.push(RUNS);
            put_count(out, heads.len());
            put_frame(heads.len(), |i| heads[i], out);
            put_frame(lengths.len(), |i| lengths[i], out);
        }
    }
}

/// Replaces the content of `out` by `count` values. The caller has bounded `count`.
pub(crate) fn decode(
    cursor: &mut Cursor<'_>,
    count: usize,
    out: &mut Vec<i64>,
) -> Result<(), DecodeError> {
    out.clear();
    if count == 0 {
        return Ok(());
    }
    match cursor.byte()? {
        CONSTANT => {
            let value = cursor.zigzag()?;
            out.resize(count, value);
            Ok(())
        }
        FRAME => take_frame(cursor, count, out),
        DELTA => {
            let mut value = cursor.zigzag()?;
            out.push(value);
            take_frame(cursor, count - 1, out)?;
            for slot in out.iter_mut().skip(1) {
                value = value.wrapping_add(*slot);
                *slot = value;
            }
            Ok(())
        }
        RUNS => take_runs(cursor, count, out),
        _ => Err(DecodeError::Malformed("form of an integer column")),
    }
}

fn runs(values: &[i64], count: usize) -> (Vec<i64>, Vec<i64>) {
    let mut heads = Vec::with_capacity(count);
    let mut lengths = Vec::with_capacity(count);
    for run in values.chunk_by(|a, b| a == b) {
        heads.push(run[0]);
        lengths.push(i64::try_from(run.len()).unwrap_or(i64::MAX));
    }
    (heads, lengths)
}

fn take_runs(cursor: &mut Cursor<'_>, count: usize, out: &mut Vec<i64>) -> Result<(), DecodeError> {
    let runs = cursor.count(count, "runs")?;
    let mut heads = Vec::new();
    let mut lengths = Vec::new();
    take_frame(cursor, runs, &mut heads)?;
    take_frame(cursor, runs, &mut lengths)?;
    out.reserve(count);
    for (&head, &length) in heads.iter().zip(&lengths) {
        match usize::try_from(length) {
            Ok(length) if length <= count - out.len() => out.resize(out.len() + length, head),
            _ => return Err(DecodeError::Malformed("length of a run")),
        }
    }
    if out.len() == count {
        Ok(())
    } else {
        Err(DecodeError::Malformed("sum of runs"))
    }
}

/// Least value and width of the differences from it.
fn frame(block: &[i64]) -> (i64, u32) {
    let (low, high) = block.iter().fold((i64::MAX, i64::MIN), |(low, high), &v| {
        (low.min(v), high.max(v))
    });
    (low, width(high.wrapping_sub(low).cast_unsigned()))
}

/// Calls `each` with every block of values, gathered on the stack.
fn blocks(count: usize, get: impl Fn(usize) -> i64, mut each: impl FnMut(&[i64])) {
    let mut block = [0i64; BLOCK];
    let mut start = 0;
    while start < count {
        let length = BLOCK.min(count - start);
        for (offset, slot) in block.iter_mut().take(length).enumerate() {
            *slot = get(start + offset);
        }
        each(&block[..length]);
        start += length;
    }
}

fn frame_len(count: usize, get: impl Fn(usize) -> i64) -> usize {
    let mut total = 0;
    let mut before = 0i64;
    blocks(count, get, |block| {
        let (low, width) = frame(block);
        total += 1 + zigzag_len(low.wrapping_sub(before)) + packed_len(block.len(), width);
        before = low;
    });
    total
}

fn put_frame(count: usize, get: impl Fn(usize) -> i64, out: &mut Vec<u8>) {
    let mut before = 0i64;
    let mut packed = [0u64; BLOCK];
    blocks(count, get, |block| {
        let (low, width) = frame(block);
        // A width is at most 64.
        out.push(width.to_le_bytes()[0]);
        put_zigzag(out, low.wrapping_sub(before));
        for (slot, value) in packed.iter_mut().zip(block) {
            *slot = value.wrapping_sub(low).cast_unsigned();
        }
        pack(&packed[..block.len()], width, out);
        before = low;
    });
}

/// Appends `count` values.
fn take_frame(
    cursor: &mut Cursor<'_>,
    count: usize,
    out: &mut Vec<i64>,
) -> Result<(), DecodeError> {
    // Each block takes two bytes at least, so what is reserved is bounded by the bytes left too.
    if count.div_ceil(BLOCK) * 2 > cursor.remaining() {
        return Err(DecodeError::Truncated);
    }
    out.reserve(count);
    let mut packed = [0u64; BLOCK];
    let mut low = 0i64;
    let mut left = count;
    while left > 0 {
        let length = BLOCK.min(left);
        let width = u32::from(cursor.byte()?);
        if width > 64 {
            return Err(DecodeError::Malformed("width of a block"));
        }
        low = low.wrapping_add(cursor.zigzag()?);
        let bytes = cursor.take(packed_len(length, width))?;
        unpack(bytes, width, &mut packed[..length]);
        out.extend(
            packed[..length]
                .iter()
                .map(|&v| low.wrapping_add(v.cast_signed())),
        );
        left -= length;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(values: &[i64]) -> usize {
        let mut bytes = Vec::new();
        encode(values, &mut bytes);
        let mut cursor = Cursor::new(&bytes);
        let mut back = vec![99];
        decode(&mut cursor, values.len(), &mut back).unwrap();
        cursor.finish().unwrap();
        assert_eq!(back, values);
        bytes.len()
    }

    proptest! {
        #[test]
        fn any_column_round_trips(values in prop::collection::vec(any::<i64>(), 0..200)) {
            check(&values);
        }

        #[test]
        fn small_and_repeated_columns_round_trip(
            runs in prop::collection::vec((-3i64..40, 1usize..30), 0..40),
        ) {
            let values: Vec<i64> =
                runs.iter().flat_map(|&(v, n)| std::iter::repeat_n(v, n)).collect();
            check(&values);
        }
    }

    #[test]
    fn each_form_is_as_small_as_it_should_be() {
        assert_eq!(check(&[5; 1_000]), 2);
        // 64 values of 4 bits, tag, base and width.
        assert!(check(&(0..64).map(|i| (i * 7) % 16).collect::<Vec<_>>()) <= 35);
        assert!(check(&(0..1_000).map(|i| i * 1_000_000).collect::<Vec<_>>()) <= 60);
        let steps: Vec<i64> = (0..1_000).map(|i| (i / 100) * 1_000_003).collect();
        assert!(check(&steps) <= 60);
        check(&[i64::MIN, i64::MAX, 0, -1]);
    }
}
