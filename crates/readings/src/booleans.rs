//! A column of booleans: run lengths or a bitmap, whichever is smaller.
//!
//! One byte says the form and, for runs, the first value; the runs alternate, and the last one is
//! what is left. The number of values is known to the reader from elsewhere.

use crate::{
    cursor::{Cursor, put_count},
    error::DecodeError,
};

const BITMAP: u8 = 2;

/// Appends `values`. Nothing is written for none.
pub(crate) fn encode(values: &[bool], out: &mut Vec<u8>) {
    let Some(&first) = values.first() else { return };
    let start = out.len();
    out.push(u8::from(first));
    let breaks = values.windows(2).filter(|pair| pair[0] != pair[1]).count();
    // A run takes a byte at least.
    if breaks < values.len().div_ceil(8) {
        put_count(out, breaks);
        for run in values.chunk_by(|a, b| a == b).take(breaks) {
            put_count(out, run.len());
        }
        if out.len() - start <= 1 + values.len().div_ceil(8) {
            return;
        }
        out.truncate(start + 1);
    }
    out[start] = BITMAP;
    out.extend(values.chunks(8).map(|eight| {
        eight
            .iter()
            .enumerate()
            .fold(0u8, |byte, (bit, &value)| byte | u8::from(value) << bit)
    }));
}

/// Replaces the content of `out` by `count` values. The caller has bounded `count`.
pub(crate) fn decode(
    cursor: &mut Cursor<'_>,
    count: usize,
    out: &mut Vec<bool>,
) -> Result<(), DecodeError> {
    out.clear();
    if count == 0 {
        return Ok(());
    }
    let head = cursor.byte()?;
    if head == BITMAP {
        let bytes = cursor.take(count.div_ceil(8))?;
        let bits = bytes
            .iter()
            .flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1));
        out.extend(bits.take(count));
        return Ok(());
    }
    if head > 1 {
        return Err(DecodeError::Malformed("form of a boolean column"));
    }
    let mut value = head == 1;
    let breaks = cursor.count_of(count, 1, "runs")?;
    for _ in 0..breaks {
        let length = cursor.count(count - out.len(), "length of a run")?;
        out.resize(out.len() + length, value);
        value = !value;
    }
    out.resize(count, value);
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(values: &[bool]) -> usize {
        let mut bytes = Vec::new();
        encode(values, &mut bytes);
        let mut cursor = Cursor::new(&bytes);
        let mut back = vec![true];
        decode(&mut cursor, values.len(), &mut back).unwrap();
        cursor.finish().unwrap();
        assert_eq!(back, values);
        bytes.len()
    }

    proptest! {
        #[test]
        fn any_booleans_round_trip(values in prop::collection::vec(any::<bool>(), 0..300)) {
            check(&values);
        }

        #[test]
        fn runs_round_trip(runs in prop::collection::vec(1usize..400, 0..20)) {
            let values: Vec<bool> = (0usize..)
                .zip(&runs)
                .flat_map(|(i, &n)| std::iter::repeat_n(i % 2 == 0, n))
                .collect();
            check(&values);
        }
    }

    #[test]
    fn runs_and_bitmaps_are_both_used() {
        assert_eq!(check(&[true; 1_000]), 2);
        assert_eq!(check(&(0..80).map(|i| i % 2 == 0).collect::<Vec<_>>()), 11);
    }
}
