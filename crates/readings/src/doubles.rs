//! A column of doubles, bit-exact.
//!
//! Sensors send decimals. A decimal `d` with `e` digits is kept as the integer `d * 10^e` when
//! `integer / 10^e` gives back the very bits (the idea of ALP, Afroozeh et al., SIGMOD 2023). Sums
//! of decimals miss by a unit in the last place, so a second column may hold that miss; what fits
//! neither (-0.0, NaN, infinities) is a patch: its position and its bits. Where decimals do not pay,
//! the bits themselves are packed, or their XOR with the bits before, without the trailing zeros
//! that all of them share.
//!
//! Only IEEE 754 multiplication, addition and division are used, so the bytes are the same on every
//! machine.

use crate::{
    cursor::{Cursor, put_count},
    error::DecodeError,
    integers,
};

const DECIMAL: u8 = 0;
const BITS: u8 = 1;
const XOR: u8 = 2;
/// Flags beside [`DECIMAL`].
const WITH_ULPS: u8 = 4;
const WITH_PATCHES: u8 = 8;

const POWERS: [f64; 10] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];

/// Adding and subtracting it rounds to the nearest integer, for magnitudes under [`ROUNDABLE`].
const ROUNDER: f64 = 6_755_399_441_055_744.0; // 1.5 * 2^52
const ROUNDABLE: f64 = 2_251_799_813_685_248.0; // 2^51

/// How many units in the last place a value may be off its decimal, before it becomes a patch.
const MOST_ULPS: u64 = 31;

/// Scratch space of this codec.
#[derive(Debug, Default)]
pub(crate) struct Work {
    ints: Vec<i64>,
    ulps: Vec<i64>,
    patches: Vec<(usize, u64)>,
    left: Vec<u8>,
    right: Vec<u8>,
}

/// Appends `values`. Nothing is written for none.
pub(crate) fn encode(values: &[f64], work: &mut Work, out: &mut Vec<u8>) {
    if values.is_empty() {
        return;
    }
    if let Some(exponent) = exact_exponent(values) {
        let power = POWERS[usize::from(exponent)];
        work.ints.clear();
        work.ints
            .extend(values.iter().map(|&v| to_int(round(v * power))));
        out.push(DECIMAL | exponent << 4);
        integers::encode(&work.ints, out);
        return;
    }
    encode_bits(values, work);
    if let Some(exponent) = near_exponent(values) {
        encode_near(values, exponent, work);
        if work.left.len() <= work.right.len() {
            out.extend_from_slice(&work.left);
            return;
        }
    }
    out.extend_from_slice(&work.right);
}

/// Replaces the content of `out` by `count` values. The caller has bounded `count`.
pub(crate) fn decode(
    cursor: &mut Cursor<'_>,
    count: usize,
    work: &mut Work,
    out: &mut Vec<f64>,
) -> Result<(), DecodeError> {
    out.clear();
    if count == 0 {
        return Ok(());
    }
    let head = cursor.byte()?;
    match head & 3 {
        DECIMAL => decode_decimal(head, cursor, count, work, out),
        form @ (BITS | XOR) => {
            let shift = u32::from(cursor.byte()?);
            if shift > 63 {
                return Err(DecodeError::Malformed("shift of doubles"));
            }
            integers::decode(cursor, count, &mut work.ints)?;
            let mut before = 0u64;
            out.extend(work.ints.iter().map(|&v| {
                let bits = (v.cast_unsigned() << shift) ^ before;
                if form == XOR {
                    before = bits;
                }
                f64::from_bits(bits)
            }));
            Ok(())
        }
        _ => Err(DecodeError::Malformed("form of a double column")),
    }
}

fn decode_decimal(
    head: u8,
    cursor: &mut Cursor<'_>,
    count: usize,
    work: &mut Work,
    out: &mut Vec<f64>,
) -> Result<(), DecodeError> {
    let exponent = usize::from(head >> 4);
    let power = *POWERS
        .get(exponent)
        .ok_or(DecodeError::Malformed("power of ten"))?;
    integers::decode(cursor, count, &mut work.ints)?;
    out.extend(work.ints.iter().map(|&v| from_int(v) / power));
    if head & WITH_ULPS != 0 {
        integers::decode(cursor, count, &mut work.ulps)?;
        for (value, &ulps) in out.iter_mut().zip(&work.ulps) {
            *value = f64::from_bits(value.to_bits().wrapping_add(ulps.cast_unsigned()));
        }
    }
    if head & WITH_PATCHES != 0 {
        // A patch takes a byte of distance and eight of bits.
        let patches = cursor.count_of(count, 9, "patches")?;
        let mut at = 0usize;
        for _ in 0..patches {
            at = at.saturating_add(cursor.count(count, "position of a patch")?);
            let slot = out
                .get_mut(at)
                .ok_or(DecodeError::Malformed("position of a patch"))?;
            *slot = f64::from_bits(u64::from_le_bytes(*cursor.array()?));
        }
    }
    Ok(())
}

/// Rounds to the nearest integer, ties to even. Only for magnitudes under [`ROUNDABLE`].
fn round(value: f64) -> f64 {
    (value + ROUNDER) - ROUNDER
}

/// The integer that [`round`] gave.
fn to_int(rounded: f64) -> i64 {
    // In this range a step of the sum's bits is a step of one: exact, and without a cast.
    (rounded + ROUNDER)
        .to_bits()
        .wrapping_sub(ROUNDER.to_bits())
        .cast_signed()
}

fn from_int(value: i64) -> f64 {
    value as f64
}

/// The nearest double of the nearest decimal, or NaN when the magnitude is out of range.
fn nearest(value: f64, power: f64) -> f64 {
    let scaled = value * power;
    if scaled.abs() < ROUNDABLE {
        round(scaled) / power
    } else {
        f64::NAN
    }
}

/// The smallest power of ten under which every value comes back bit by bit.
fn exact_exponent(values: &[f64]) -> Option<u8> {
    let mut exponent = 0u8;
    let mut passed = 0;
    for (index, &value) in values.iter().enumerate() {
        while !is_exact(value, *POWERS.get(usize::from(exponent))?) {
            exponent += 1;
            passed = index;
        }
    }
    // Those that passed under a smaller power nearly always pass under this one: check.
    let power = *POWERS.get(usize::from(exponent))?;
    values[..passed]
        .iter()
        .all(|&value| is_exact(value, power))
        .then_some(exponent)
}

fn is_exact(value: f64, power: f64) -> bool {
    let scaled = value * power;
    scaled.abs() < ROUNDABLE && (round(scaled) / power).to_bits() == value.to_bits()
}

/// Distance in units of the last place from the nearest decimal, when it is small.
fn near(value: f64, power: f64) -> Option<i64> {
    let ulps = value
        .to_bits()
        .wrapping_sub(nearest(value, power).to_bits());
    (value.is_finite() && ulps.wrapping_add(MOST_ULPS) <= 2 * MOST_ULPS).then(|| ulps.cast_signed())
}

/// The power of ten that promises the fewest bytes with ulps and patches.
fn near_exponent(values: &[f64]) -> Option<u8> {
    let mut best = None;
    for (exponent, &power) in (0u8..).zip(&POWERS) {
        let patches = values.iter().filter(|&&v| near(v, power).is_none()).count();
        if patches > values.len().div_ceil(4) {
            continue;
        }
        // Bits: about 10/3 a digit, 80 a patch.
        let cost = patches * 80 + values.len() * usize::from(exponent) * 10 / 3;
        if best.is_none_or(|(least, _)| cost < least) {
            best = Some((cost, exponent));
        }
        if patches == 0 {
            break;
        }
    }
    best.map(|(_, exponent)| exponent)
}

/// Fills `work.left` with the decimal form that has ulps and patches.
fn encode_near(values: &[f64], exponent: u8, work: &mut Work) {
    let power = POWERS[usize::from(exponent)];
    work.ints.clear();
    work.ulps.clear();
    work.patches.clear();
    let mut before = 0;
    for (index, &value) in values.iter().enumerate() {
        let ulps = near(value, power);
        if ulps.is_some() {
            before = to_int(round(value * power));
        } else {
            work.patches.push((index, value.to_bits()));
        }
        work.ints.push(before);
        work.ulps.push(ulps.unwrap_or(0));
    }
    let with_ulps = if work.ulps.iter().any(|&u| u != 0) {
        WITH_ULPS
    } else {
        0
    };
    let with_patches = if work.patches.is_empty() {
        0
    } else {
        WITH_PATCHES
    };
    let out = &mut work.left;
    out.clear();
    out.push(DECIMAL | with_ulps | with_patches | exponent << 4);
    integers::encode(&work.ints, out);
    if with_ulps != 0 {
        integers::encode(&work.ulps, out);
    }
    if with_patches != 0 {
        put_count(out, work.patches.len());
        let mut at = 0;
        for &(index, bits) in &work.patches {
            put_count(out, index - at);
            out.extend_from_slice(&bits.to_le_bytes());
            at = index;
        }
    }
}

/// Fills `work.right` with the smaller of the two forms that keep the bits.
fn encode_bits(values: &[f64], work: &mut Work) {
    let all = values.iter().fold(0u64, |all, v| all | v.to_bits());
    let shift = if all == 0 { 0 } else { all.trailing_zeros() };
    let head = |form: u8, out: &mut Vec<u8>| {
        out.clear();
        out.push(form);
        // Trailing zeros of a value that is not zero: at most 63.
        out.push(shift.to_le_bytes()[0]);
    };
    work.ints.clear();
    work.ints
        .extend(values.iter().map(|v| (v.to_bits() >> shift).cast_signed()));
    head(BITS, &mut work.right);
    integers::encode(&work.ints, &mut work.right);

    let mut before = 0i64;
    for slot in &mut work.ints {
        let bits = *slot;
        *slot = bits ^ before;
        before = bits;
    }
    head(XOR, &mut work.left);
    integers::encode(&work.ints, &mut work.left);
    if work.left.len() < work.right.len() {
        std::mem::swap(&mut work.left, &mut work.right);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(values: &[f64]) -> usize {
        let mut bytes = Vec::new();
        let mut work = Work::default();
        encode(values, &mut work, &mut bytes);
        let mut cursor = Cursor::new(&bytes);
        let mut back = Vec::new();
        decode(&mut cursor, values.len(), &mut work, &mut back).unwrap();
        cursor.finish().unwrap();
        let bits = |v: &[f64]| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&back), bits(values));
        bytes.len()
    }

    proptest! {
        #[test]
        fn any_bit_patterns_round_trip(bits in prop::collection::vec(any::<u64>(), 0..150)) {
            check(&bits.iter().map(|&b| f64::from_bits(b)).collect::<Vec<_>>());
        }

        #[test]
        fn decimals_with_strangers_among_them_round_trip(
            ints in prop::collection::vec((-100_000i64..100_000, 0u8..40), 0..150),
            exponent in 0usize..10,
        ) {
            let values: Vec<f64> = ints
                .iter()
                .map(|&(int, odd)| match odd {
                    0 => -0.0,
                    1 => f64::NAN,
                    2 => f64::NEG_INFINITY,
                    3 => f64::from_bits(0xfff8_0000_dead_beef),
                    4 => (int as f64 / POWERS[exponent]) * 1.000_000_000_000_000_2,
                    _ => int as f64 / POWERS[exponent],
                })
                .collect();
            check(&values);
        }
    }

    #[test]
    fn decimals_are_small_even_with_a_few_strangers() {
        let temperatures: Vec<f64> = (0..1_024)
            .map(|i| f64::from(200 + (i * 37) % 50) / 10.0)
            .collect();
        assert!(check(&temperatures) < 1_024 * 7 / 8);
        let mut strange = temperatures.clone();
        strange[3] = -0.0;
        strange[700] = f64::NAN;
        assert!(check(&strange) < 1_024 * 7 / 8 + 40);
        let sums: Vec<f64> = temperatures
            .iter()
            .map(|t| t / 1_000.0 + 0.1 + 0.2)
            .collect();
        assert!(check(&sums) < 1_024 * 15 / 8);
        let single: Vec<f64> = (0..256u16)
            .map(|i| f64::from(f32::from(i).sqrt()))
            .collect();
        assert!(check(&single) < 256 * 5);
    }
}
