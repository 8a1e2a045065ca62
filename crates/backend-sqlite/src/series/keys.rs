//! The keys of the tables: fixed-width bytes that sort as the port's keys do.
//!
//! One byte string per row instead of six columns: the primary key is one comparison, and a home, a day or a
//! series is a range of it.

use hearth_kernel::{Capability, ClaimId, Day, DeviceId, HomeId, HubStreamId, RetentionClass};
use hearth_ports::{ChunkKey, SegmentKey};

/// A day as four bytes that sort as days do, also before 1970.
pub(super) fn day_bytes(day: Day) -> [u8; 4] {
    (day.number().cast_unsigned() ^ (1 << 31)).to_be_bytes()
}

/// The day that [`day_bytes`] wrote.
pub(super) fn day_from(bytes: [u8; 4]) -> Day {
    Day::from_number((u32::from_be_bytes(bytes) ^ (1 << 31)).cast_signed())
}

/// home 16, day 4, class 1, claim 16, stream 16, sequence 8.
pub(super) fn segment(key: &SegmentKey) -> Vec<u8> {
    let mut out = home_day(key.home, key.day);
    out.push(key.class.number());
    out.extend_from_slice(key.claim.as_bytes());
    out.extend_from_slice(key.stream.as_bytes());
    out.extend_from_slice(&key.sequence.to_be_bytes());
    out
}

/// The key that [`segment`] wrote.
pub(super) fn segment_from(bytes: &[u8]) -> Option<SegmentKey> {
    let (home, rest) = bytes.split_first_chunk::<16>()?;
    let (day, rest) = rest.split_first_chunk::<4>()?;
    let (class, rest) = rest.split_first()?;
    let (claim, rest) = rest.split_first_chunk::<16>()?;
    let (stream, rest) = rest.split_first_chunk::<16>()?;
    Some(SegmentKey {
        home: HomeId::from_bytes(*home),
        day: day_from(*day),
        class: RetentionClass::from_number(*class)?,
        claim: ClaimId::from_bytes(*claim),
        stream: HubStreamId::from_bytes(*stream),
        sequence: u64::from_be_bytes(rest.try_into().ok()?),
    })
}

/// home 16, day 4.
pub(super) fn home_day(home: HomeId, day: Day) -> Vec<u8> {
    let mut out = Vec::with_capacity(61);
    out.extend_from_slice(home.as_bytes());
    out.extend_from_slice(&day_bytes(day));
    out
}

/// The home and day at the beginning of a key.
pub(super) fn home_day_from(bytes: &[u8]) -> Option<(HomeId, Day)> {
    let (home, rest) = bytes.split_first_chunk::<16>()?;
    let (day, _) = rest.split_first_chunk::<4>()?;
    Some((HomeId::from_bytes(*home), day_from(*day)))
}

/// home 16, device 16, capability 2, window 4: what all chunks of one series begin with.
pub(super) fn chunk_series(
    home: HomeId,
    device: DeviceId,
    capability: Capability,
    window: u32,
) -> Vec<u8> {
    let mut out = device_key(home, device, capability);
    out.extend_from_slice(&window.to_be_bytes());
    out
}

/// home 16, device 16, capability 2, window 4, day 4, generation 8. The class is in the window's prefix.
pub(super) fn chunk(key: &ChunkKey) -> Vec<u8> {
    let mut out = chunk_series(key.home, key.device, key.capability, key.window);
    out.extend_from_slice(&day_bytes(key.day));
    out.extend_from_slice(&key.generation.to_be_bytes());
    out
}

/// The day and generation at the end of a chunk's key.
pub(super) fn chunk_end(bytes: &[u8]) -> Option<(Day, u64)> {
    let (rest, generation) = bytes.split_last_chunk::<8>()?;
    let (_, day) = rest.split_last_chunk::<4>()?;
    Some((day_from(*day), u64::from_be_bytes(*generation)))
}

/// home 16, device 16, capability 2.
pub(super) fn device_key(home: HomeId, device: DeviceId, capability: Capability) -> Vec<u8> {
    let mut out = Vec::with_capacity(50);
    out.extend_from_slice(home.as_bytes());
    out.extend_from_slice(device.as_bytes());
    out.extend_from_slice(&capability.number().to_be_bytes());
    out
}

/// The device and capability that [`device_key`] wrote.
pub(super) fn device_key_from(bytes: &[u8]) -> Option<(DeviceId, Capability)> {
    let (_, rest) = bytes.split_first_chunk::<16>()?;
    let (device, rest) = rest.split_first_chunk::<16>()?;
    let capability = u16::from_be_bytes(rest.try_into().ok()?);
    Some((
        DeviceId::from_bytes(*device),
        Capability::from_stored(capability),
    ))
}

/// The least key after all that begin with a prefix.
pub(super) fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    // Nothing sorts after a prefix of 0xff bytes except longer ones: all keys are shorter than this.
    vec![u8::MAX; 128]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys() -> impl Strategy<Value = SegmentKey> {
        let ids = (any::<[u8; 16]>(), any::<[u8; 16]>(), any::<[u8; 16]>());
        (ids, any::<i32>(), 0..6_usize, any::<u64>()).prop_map(|(ids, day, class, sequence)| {
            SegmentKey {
                home: HomeId::from_bytes(ids.0),
                day: Day::from_number(day),
                class: RetentionClass::ALL[class],
                claim: ClaimId::from_bytes(ids.1),
                stream: HubStreamId::from_bytes(ids.2),
                sequence,
            }
        })
    }

    proptest! {
        #[test]
        fn segment_keys_sort_and_come_back(a in keys(), mut b in keys(), same in any::<bool>()) {
            if same {
                b.home = a.home;
            }
            let (left, right) = (segment(&a), segment(&b));
            prop_assert_eq!(left.cmp(&right), a.cmp(&b));
            prop_assert_eq!(segment_from(&left), Some(a));
            let prefix = home_day(a.home, a.day);
            prop_assert!(left >= prefix && left < after_prefix(&prefix));
        }
    }
}
