//! A column of times: in the largest unit that holds them all, as a straight line and what departs
//! from it, or as plain integers, whichever is smaller.
//!
//! Times are i64 microseconds; any order and any value round-trips, sorted ones are small. One byte
//! says the unit of the first time, the unit of the distances from it, and the form.

use crate::{
    cursor::{Cursor, put_zigzag, zigzag_len},
    error::DecodeError,
    integers,
};

/// Microseconds of each unit: 1 us, 1 ms, 1 s, 1 min, 1 h, 1 day. Their index is on disk.
const UNITS: [i64; 6] = [
    1,
    1_000,
    1_000_000,
    60_000_000,
    3_600_000_000,
    86_400_000_000,
];

/// Microseconds of a UTC day.
const DAY: i64 = UNITS[5];

/// Whether all times lie in one UTC day, of which both ends can be written as times.
pub(crate) fn in_one_day(times: &[i64]) -> bool {
    in_days(times, 1)
}

/// Whether all times lie in that many UTC days, the first of which is that of the first time, and both ends can be
/// written as times.
pub(crate) fn in_days(times: &[i64], days: u16) -> bool {
    let Some(&first) = times.first() else {
        return true;
    };
    let start = first.checked_sub(first.rem_euclid(DAY));
    let length = DAY * i64::from(days);
    let Some((start, end)) = start.and_then(|start| Some((start, start.checked_add(length)?)))
    else {
        return false;
    };
    times.iter().fold(true, |inside, &time| {
        inside & (start <= time) & (time < end)
    })
}

const REGULAR: u8 = 0;
const LINE: u8 = 1;
const PLAIN: u8 = 2;

/// Fraction bits of the line's slope, in units per row.
const FRACTION: u32 = 16;

/// Scratch space of this codec.
#[derive(Debug, Default)]
pub(crate) struct Work {
    offsets: Vec<i64>,
    residuals: Vec<i64>,
}

/// Appends `times`. Nothing is written for none.
pub(crate) fn encode(times: &[i64], work: &mut Work, out: &mut Vec<u8>) {
    let Some(&first) = times.first() else { return };
    work.offsets.clear();
    work.offsets
        .extend(times.iter().map(|t| t.wrapping_sub(first)));
    let unit = shared_unit(&mut work.offsets);
    let (first_unit, first) = own_unit(first);
    let head = first_unit | unit << 3;

    if let Some(step) = regular_step(&work.offsets) {
        out.push(head | REGULAR << 6);
        put_zigzag(out, first);
        put_zigzag(out, step);
        return;
    }
    let slope = slope(&work.offsets);
    work.residuals.clear();
    let mut line = 0i64;
    work.residuals.extend(work.offsets.iter().map(|&offset| {
        let residual = offset.wrapping_sub(line >> FRACTION);
        line = line.wrapping_add(slope);
        residual
    }));
    let line = integers::plan(&work.residuals);
    let plain = integers::plan(&work.offsets);
    if zigzag_len(slope) + line.length < plain.length {
        out.push(head | LINE << 6);
        put_zigzag(out, first);
        put_zigzag(out, slope);
        integers::encode_as(&work.residuals, &line, out);
    } else {
        out.push(head | PLAIN << 6);
        put_zigzag(out, first);
        integers::encode_as(&work.offsets, &plain, out);
    }
}

/// Replaces the content of `out` by `count` times. The caller has bounded `count`.
pub(crate) fn decode(
    cursor: &mut Cursor<'_>,
    count: usize,
    out: &mut Vec<i64>,
) -> Result<(), DecodeError> {
    out.clear();
    if count == 0 {
        return Ok(());
    }
    let head = cursor.byte()?;
    let unit = unit_of(head >> 3)?;
    let first = cursor.zigzag()?.wrapping_mul(unit_of(head)?);
    match head >> 6 {
        REGULAR => {
            let step = cursor.zigzag()?.wrapping_mul(unit);
            let mut time = first;
            out.extend((0..count).map(|_| {
                let now = time;
                time = time.wrapping_add(step);
                now
            }));
        }
        LINE => {
            let slope = cursor.zigzag()?;
            integers::decode(cursor, count, out)?;
            let mut line = 0i64;
            for slot in out {
                let offset = slot.wrapping_add(line >> FRACTION);
                *slot = first.wrapping_add(offset.wrapping_mul(unit));
                line = line.wrapping_add(slope);
            }
        }
        PLAIN => {
            integers::decode(cursor, count, out)?;
            for slot in out {
                *slot = first.wrapping_add(slot.wrapping_mul(unit));
            }
        }
        _ => return Err(DecodeError::Malformed("form of a time column")),
    }
    Ok(())
}

fn unit_of(index: u8) -> Result<i64, DecodeError> {
    let index = usize::from(index & 7);
    UNITS
        .get(index)
        .copied()
        .ok_or(DecodeError::Malformed("unit of time"))
}

/// Divides all offsets by the largest unit that divides them all, and returns its index.
fn shared_unit(offsets: &mut [i64]) -> u8 {
    let mut found = 0;
    // Each unit is a multiple of the one before. The ratios are constants, so that the compiler
    // multiplies instead of dividing.
    found += u8::from(divide_all::<1_000>(offsets));
    if found == 1 && divide_all::<1_000>(offsets) {
        found += 1;
        if divide_all::<60>(offsets) {
            found += 1;
            if divide_all::<60>(offsets) {
                found += 1;
                found += u8::from(divide_all::<24>(offsets));
            }
        }
    }
    found
}

fn divide_all<const BY: i64>(offsets: &mut [i64]) -> bool {
    if offsets.iter().any(|offset| offset % BY != 0) {
        return false;
    }
    for offset in offsets {
        *offset /= BY;
    }
    true
}

/// The largest unit that divides `time`, as an index, and the quotient.
fn own_unit(time: i64) -> (u8, i64) {
    let mut quotient = [time];
    (shared_unit(&mut quotient), quotient[0])
}

fn regular_step(offsets: &[i64]) -> Option<i64> {
    let step = offsets.get(1).copied().unwrap_or(0);
    let regular = offsets
        .windows(2)
        .all(|pair| pair[1].wrapping_sub(pair[0]) == step);
    regular.then_some(step)
}

/// Units per row between the first and the last, with [`FRACTION`] bits. Only a prediction: what
/// it misses is in the residuals, and both sides compute it alike.
fn slope(offsets: &[i64]) -> i64 {
    let last = offsets.last().copied().unwrap_or(0);
    let steps = i64::try_from(offsets.len())
        .unwrap_or(i64::MAX)
        .saturating_sub(1)
        .max(1);
    last.wrapping_shl(FRACTION) / steps
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MINUTE: i64 = 60_000_000;

    fn check(times: &[i64]) -> usize {
        let mut bytes = Vec::new();
        encode(times, &mut Work::default(), &mut bytes);
        let mut cursor = Cursor::new(&bytes);
        let mut back = Vec::new();
        decode(&mut cursor, times.len(), &mut back).unwrap();
        cursor.finish().unwrap();
        assert_eq!(back, times);
        bytes.len()
    }

    proptest! {
        #[test]
        fn any_times_round_trip(times in prop::collection::vec(any::<i64>(), 0..150)) {
            check(&times);
        }

        #[test]
        fn jittery_times_round_trip(
            start in -50_000_000i64..50_000_000,
            unit in prop::sample::select(UNITS.to_vec()),
            steps in prop::collection::vec(1i64..90, 0..150),
        ) {
            let mut now = start * unit;
            let times: Vec<i64> = steps.iter().map(|s| { now += s * unit; now }).collect();
            check(&times);
        }
    }

    #[test]
    fn regular_times_take_a_few_bytes() {
        let hourly: Vec<i64> = (440_000..440_024).map(|h| h * 60 * MINUTE).collect();
        assert_eq!(check(&hourly), 5);
        // A clock of milliseconds with 20 ms of jitter: under 7 bits each.
        let jitter: Vec<i64> = (0i64..1_440)
            .map(|i| (26_000_000 + i) * MINUTE + (i * 7_919 % 41 - 20) * 1_000)
            .collect();
        assert!(check(&jitter) < 1_440 * 7 / 8);
    }
}
