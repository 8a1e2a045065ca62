//! Bit packing of blocks of at most 64 integers, least significant bit first.
//!
//! Knows no bases or deltas: those are [`crate::integers`].

/// Values of a full block.
pub(crate) const BLOCK: usize = 64;

/// Bits that hold every value up to `max`: 0 to 64.
pub(crate) const fn width(max: u64) -> u32 {
    64 - max.leading_zeros()
}

/// Bytes that `count` values of `width` bits take.
pub(crate) fn packed_len(count: usize, width: u32) -> usize {
    // Widths are at most 64 and counts at most a block: nothing is lost or overflows.
    (count * usize::try_from(width).unwrap_or(64)).div_ceil(8)
}

/// Appends `values`, each of at most `width` bits.
pub(crate) fn pack(values: &[u64], width: u32, out: &mut Vec<u8>) {
    if width == 0 {
        return;
    }
    out.reserve(packed_len(values.len(), width));
    let mut word = 0u64;
    let mut filled = 0u32;
    for &value in values {
        word |= value << filled;
        filled += width;
        if filled >= 64 {
            out.extend_from_slice(&word.to_le_bytes());
            filled -= 64;
            word = if filled == 0 {
                0
            } else {
                value >> (width - filled)
            };
        }
    }
    let tail = packed_len(1, filled);
    out.extend_from_slice(&word.to_le_bytes()[..tail]);
}

/// Fills `out` (at most a block) from `bytes`, which are exactly [`packed_len`] long.
pub(crate) fn unpack(bytes: &[u8], width: u32, out: &mut [u64]) {
    if width == 0 {
        out.fill(0);
        return;
    }
    // One word more than a block can fill, so that the high half always exists.
    let mut words = [0u64; BLOCK + 1];
    let (whole, tail) = bytes.as_chunks::<8>();
    for (word, chunk) in words.iter_mut().zip(whole) {
        *word = u64::from_le_bytes(*chunk);
    }
    if let Some(word) = words.get_mut(whole.len()) {
        let mut last = [0u8; 8];
        last[..tail.len()].copy_from_slice(tail);
        *word = u64::from_le_bytes(last);
    }
    let mask = u64::MAX >> (64 - width.min(64));
    let mut index = 0usize;
    let mut shift = 0u32;
    for slot in out {
        let at = index & (BLOCK - 1);
        let low = words[at] >> shift;
        // Shifting twice keeps a shift of 64 legal when the value starts at a word.
        let high = (words[at + 1] << 1) << (63 - shift);
        *slot = (low | high) & mask;
        shift += width;
        if shift >= 64 {
            shift -= 64;
            index += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn packing_round_trips(width in 0u32..=64, raw in prop::collection::vec(any::<u64>(), 0..=BLOCK)) {
            let values: Vec<u64> =
                raw.iter().map(|v| if width == 0 { 0 } else { v >> (64 - width) }).collect();
            let mut bytes = Vec::new();
            pack(&values, width, &mut bytes);
            prop_assert_eq!(bytes.len(), packed_len(values.len(), width));
            let mut back = vec![7; values.len()];
            unpack(&bytes, width, &mut back);
            prop_assert_eq!(back, values);
        }
    }
}
