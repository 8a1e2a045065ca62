//! Chunks and rollups: written once, found by days, window and class, and gone when they expire.

use hearth_kernel::{Capability, Day, DeviceId, RetentionClass, Timestamp};
use hearth_ports::{ChunkKey, Series, StoreError, StoredChunk};

use super::Capabilities;
use super::given::{ALL_DAYS, DAY, LATER, NOW, chunk, chunk_key, chunks_like, home, put_chunks};
use crate::instance::within;
use crate::{Instance, Random};

/// The chunks between two days, both included, every generation, by day and generation.
pub async fn chunks_come_by_day_and_generation(instance: Instance<dyn Series>, _: Capabilities) {
    let series = instance.store();
    let mut random = Random::fresh("chunks_come_by_day_and_generation");
    let mut sorted = Vec::new();
    // Over the end of a month and of 1969: both cut partitions.
    for offset in [-20_001, -20_000, -19_999, -1, 0, 1, 15, 31, 62] {
        for generation in [1, 2, 256, 1 << 40] {
            let key = chunk_key(1, DAY.plus(offset), generation);
            sorted.push(chunk(key, &format!("{offset} {generation}")));
        }
    }
    let mut order = sorted.clone();
    random.shuffle(&mut order);
    for few in order.chunks(7) {
        put_chunks(&*series, few).await;
    }
    let key = chunk_key(1, DAY, 0);
    assert_eq!(chunks_like(&*series, key, ALL_DAYS, NOW).await, sorted);
    for (from, to) in [
        (0, 0),
        (-1, 15),
        (2, 14),
        (16, 62),
        (-20_001, -20_000),
        (1, 0),
    ] {
        let days = (DAY.plus(from), DAY.plus(to));
        let expected: Vec<StoredChunk> = sorted
            .iter()
            .filter(|chunk| days.0 <= chunk.key.day && chunk.key.day <= days.1)
            .cloned()
            .collect();
        let found = chunks_like(&*series, key, days, NOW).await;
        assert_eq!(found, expected, "{from} to {to}");
    }
}

/// Two keys that differ in one column are two chunks, and a query for one does not find the other.
pub async fn every_column_of_a_chunk_key_counts(instance: Instance<dyn Series>, _: Capabilities) {
    let series = instance.store();
    let key = chunk_key(1, DAY, 1);
    let keys = [
        key,
        ChunkKey {
            home: home(2),
            ..key
        },
        ChunkKey {
            device: DeviceId::from_bytes([9; 16]),
            ..key
        },
        ChunkKey {
            capability: Capability::from_stored(2),
            ..key
        },
        ChunkKey {
            capability: Capability::from_stored(257),
            ..key
        },
        ChunkKey {
            class: RetentionClass::Days7,
            ..key
        },
        ChunkKey {
            class: RetentionClass::Rollups,
            ..key
        },
        ChunkKey {
            class: RetentionClass::Rollups,
            window: 60,
            ..key
        },
        ChunkKey {
            class: RetentionClass::Rollups,
            window: 3600,
            ..key
        },
        ChunkKey {
            class: RetentionClass::Rollups,
            window: 86_400,
            ..key
        },
    ];
    for (number, key) in keys.iter().enumerate() {
        put_chunks(&*series, &[chunk(*key, &format!("{number}"))]).await;
    }
    for (number, key) in keys.iter().enumerate() {
        let found = chunks_like(&*series, *key, ALL_DAYS, NOW).await;
        assert_eq!(found, [chunk(*key, &format!("{number}"))]);
    }
}

/// The same bytes may be put again. Others are refused, or at least do not mix with the first.
pub async fn a_chunk_is_written_once(instance: Instance<dyn Series>, can: Capabilities) {
    let series = instance.store();
    let key = chunk_key(1, DAY, 1);
    put_chunks(&*series, &[chunk(key, "first")]).await;
    put_chunks(&*series, &[chunk(key, "first")]).await;
    let other = [chunk(key, "other")];
    let rewritten = within(series.put_chunks(&other, LATER)).await;
    let found = chunks_like(&*series, key, ALL_DAYS, NOW).await;
    if can.refuses_rewrites {
        assert!(
            matches!(rewritten, Err(StoreError::Terminal(_))),
            "{rewritten:?}"
        );
        assert_eq!(found, [chunk(key, "first")]);
    } else {
        let either = [chunk(key, "first"), chunk(key, "other")];
        assert!(found.len() == 1 && either.contains(&found[0]), "{found:?}");
    }
}

/// Deleting takes the named ones and is repeatable.
pub async fn deleted_chunks_are_gone(instance: Instance<dyn Series>, _: Capabilities) {
    let series = instance.store();
    let all: Vec<_> = (1..=6)
        .map(|generation| chunk(chunk_key(1, DAY, generation), "there"))
        .collect();
    put_chunks(&*series, &all).await;
    put_chunks(&*series, &[chunk(chunk_key(2, DAY, 2), "another home")]).await;
    let keys: Vec<_> = (2..=4)
        .map(|generation| chunk_key(1, DAY, generation))
        .collect();
    for _ in 0..2 {
        within(series.delete_chunks(&keys)).await.expect("a delete");
        let left = chunks_like(&*series, all[0].key, ALL_DAYS, NOW).await;
        let left: Vec<u64> = left.iter().map(|chunk| chunk.key.generation).collect();
        assert_eq!(left, [1, 5, 6]);
    }
    let other = chunks_like(&*series, chunk_key(2, DAY, 2), ALL_DAYS, NOW).await;
    assert_eq!(other.len(), 1);
}

/// A chunk is there until the microsecond before it expires, and absent from then on.
pub async fn expired_chunks_are_absent(instance: Instance<dyn Series>, _: Capabilities) {
    let series = instance.store();
    let key = chunk_key(1, DAY, 1);
    let put = within(series.put_chunks(&[chunk(key, "there")], LATER)).await;
    put.expect("a put");
    let before = Timestamp::from_micros(LATER.micros() - 1);
    let after = Timestamp::from_micros(LATER.micros() + 1);
    for (now, count) in [(NOW, 1), (before, 1), (LATER, 0), (after, 0), (NOW, 1)] {
        let found = chunks_like(&*series, key, ALL_DAYS, now).await;
        assert_eq!(found.len(), count, "at {now}");
    }
}

/// Dropping what expired leaves everything else, and is repeatable.
pub async fn expiry_takes_only_what_is_over(instance: Instance<dyn Series>, can: Capabilities) {
    let series = instance.store();
    for generation in 1..=10 {
        let key = chunk_key(1, DAY, generation);
        let expires = Day::from_number(30_000)
            .plus(i32::try_from(generation).unwrap_or(0))
            .start();
        let put = within(series.put_chunks(&[chunk(key, "there")], expires)).await;
        put.expect("a put");
    }
    let now = Day::from_number(30_004).start();
    let gone = within(series.expire(now)).await.expect("expiry");
    if can.counts_expired {
        assert_eq!(gone, 4);
        assert_eq!(within(series.expire(now)).await.expect("expiry"), 0);
    }
    let left = chunks_like(&*series, chunk_key(1, DAY, 1), ALL_DAYS, now).await;
    let left: Vec<u64> = left.iter().map(|chunk| chunk.key.generation).collect();
    assert_eq!(left, [5, 6, 7, 8, 9, 10]);
}
