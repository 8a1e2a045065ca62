//! Keys of rows as bytes that sort as the port's keys do, ranks as timestamps, and months.
//!
//! Bytes and not columns, because the stores sort UUIDs by their version and have no unsigned numbers.

use hearth_kernel::{ClaimId, Day, HomeId, HubStreamId, RetentionClass};
use hearth_ports::{ChunkKey, SegmentKey, StoreError};

/// Bits of a rank below the fence.
const COUNTER_BITS: u32 = 20;

/// class 1, claim 16, stream 16, sequence 8.
pub(super) fn segment(key: &SegmentKey) -> Vec<u8> {
    let mut out = Vec::with_capacity(41);
    out.push(key.class.number());
    out.extend_from_slice(key.claim.as_bytes());
    out.extend_from_slice(key.stream.as_bytes());
    out.extend_from_slice(&key.sequence.to_be_bytes());
    out
}

/// The key that [`segment`] wrote.
pub(super) fn segment_from(home: HomeId, day: Day, bytes: &[u8]) -> Result<SegmentKey, StoreError> {
    let read = || {
        let (class, rest) = bytes.split_first()?;
        let (claim, rest) = rest.split_first_chunk::<16>()?;
        let (stream, rest) = rest.split_first_chunk::<16>()?;
        Some(SegmentKey {
            home,
            day,
            class: RetentionClass::from_number(*class)?,
            claim: ClaimId::from_bytes(*claim),
            stream: HubStreamId::from_bytes(*stream),
            sequence: u64::from_be_bytes(rest.try_into().ok()?),
        })
    };
    read().ok_or_else(|| StoreError::terminal("a segment's key is malformed"))
}

fn day_bytes(day: Day) -> [u8; 4] {
    (day.number().cast_unsigned() ^ (1 << 31)).to_be_bytes()
}

/// window 4, day 4, generation 8.
pub(super) fn chunk(window: u32, day: Day, generation: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(16);
    out.extend_from_slice(&window.to_be_bytes());
    out.extend_from_slice(&day_bytes(day));
    out.extend_from_slice(&generation.to_be_bytes());
    out
}

/// The key that [`chunk`] wrote, with the rest of what it is like.
pub(super) fn chunk_from(like: &ChunkKey, bytes: &[u8]) -> Result<ChunkKey, StoreError> {
    let read = || {
        let (window, rest) = bytes.split_first_chunk::<4>()?;
        let (day, rest) = rest.split_first_chunk::<4>()?;
        let day = u32::from_be_bytes(*day) ^ (1 << 31);
        Some(ChunkKey {
            window: u32::from_be_bytes(*window),
            day: Day::from_number(day.cast_signed()),
            generation: u64::from_be_bytes(rest.try_into().ok()?),
            ..*like
        })
    };
    read().ok_or_else(|| StoreError::terminal("a chunk's key is malformed"))
}

/// The calendar month of a day, counted from January of the year 0.
pub(super) fn month(day: Day) -> i32 {
    // Days from civil, the other way round: eras of 400 years, years that begin in March.
    let days = i64::from(day.number()) + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let months = (era * 400 + year) * 12 + from_march + 2;
    i32::try_from(months).unwrap_or(if months < 0 { i32::MIN } else { i32::MAX })
}

/// The write timestamp of a manifest row: grows with (fence, counter), until one of them is beyond its bits; then
/// ranks share a timestamp, and the greater body, which begins with the rank, wins all the same.
pub(super) fn rank(fence: u64, counter: u64) -> i64 {
    let most = (1_u64 << (63 - COUNTER_BITS)) - 1;
    let counters = (1_u64 << COUNTER_BITS) - 1;
    let rank = if fence > most {
        (most << COUNTER_BITS) | counters
    } else {
        (fence << COUNTER_BITS) | counter.min(counters)
    };
    rank.cast_signed()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys() -> impl Strategy<Value = SegmentKey> {
        (
            any::<[u8; 16]>(),
            any::<[u8; 16]>(),
            0..6_usize,
            any::<u64>(),
        )
            .prop_map(|(claim, stream, class, sequence)| SegmentKey {
                home: HomeId::from_bytes([1; 16]),
                day: Day::from_number(-3),
                class: RetentionClass::ALL[class],
                claim: ClaimId::from_bytes(claim),
                stream: HubStreamId::from_bytes(stream),
                sequence,
            })
    }

    proptest! {
        #[test]
        fn segment_keys_sort_and_come_back(a in keys(), b in keys()) {
            prop_assert_eq!(segment(&a).cmp(&segment(&b)), a.cmp(&b));
            prop_assert_eq!(segment_from(a.home, a.day, &segment(&a)).ok(), Some(a));
        }

        #[test]
        fn ranks_never_sort_against_fences_and_counters(a in any::<(u64, u64)>(), b in any::<(u64, u64)>(), bits in 0..64_u32) {
            let small = |(fence, counter): (u64, u64)| (fence >> bits, counter >> bits);
            let (a, b) = (small(a), small(b));
            prop_assert!(rank(a.0, a.1) >= 0);
            if a <= b {
                prop_assert!(rank(a.0, a.1) <= rank(b.0, b.1));
            }
        }

        #[test]
        fn months_grow_with_days(day in -1_000_000..1_000_000_i32) {
            let next = month(Day::from_number(day + 1)) - month(Day::from_number(day));
            prop_assert!(next == 0 || next == 1);
        }
    }

    #[test]
    fn months_begin_where_the_calendar_says() {
        for (day, year, of_year) in [
            (0, 1970, 0),
            (-1, 1969, 11),
            (30, 1970, 0),
            (31, 1970, 1),
            (11_016, 2000, 1),
            (11_017, 2000, 2),
            (20_000, 2024, 9),
        ] {
            assert_eq!(
                month(Day::from_number(day)),
                year * 12 + of_year,
                "day {day}"
            );
        }
    }
}
