//! Segments: a resend overwrites itself, and pages walk one home's day.

use bytes::Bytes;
use hearth_kernel::{ClaimId, Day, HomeId, HubStreamId, RetentionClass};
use hearth_ports::{SegmentKey, Series, StoredSegment};

use super::Capabilities;
use super::given::{
    ALL_DAYS, DAY, NOW, chunk_key, chunks_like, home, latest_of, manifests, put_segments, segment,
    segment_key, segments,
};
use crate::instance::within;
use crate::{Instance, Random};

async fn delete(series: &dyn Series, keys: &[SegmentKey]) {
    within(series.delete_segments(keys))
        .await
        .expect("a delete");
}

async fn days(series: &dyn Series, home: HomeId, limit: usize) -> Vec<Day> {
    within(series.segment_days(home, limit))
        .await
        .expect("the days")
}

/// A home that nobody wrote for has nothing, and asking is no error.
pub async fn a_new_series_has_nothing(instance: Instance<dyn Series>, _: Capabilities) {
    let series = instance.store();
    assert_eq!(segments(&*series, home(1), DAY).await, []);
    let key = chunk_key(1, DAY, 1);
    assert_eq!(chunks_like(&*series, key, ALL_DAYS, NOW).await, []);
    assert_eq!(manifests(&*series, home(1)).await, []);
    assert_eq!(latest_of(&*series, home(1)).await, []);
    assert_eq!(days(&*series, home(1), 10).await, []);
    assert_eq!(within(series.homes(None, 10)).await.expect("the homes"), []);
    put_segments(&*series, &[]).await;
    delete(&*series, &[]).await;
    within(series.delete_home(home(1)))
        .await
        .expect("nothing to delete");
}

/// A segment with a stored key replaces it, in one call or in many.
pub async fn a_resent_segment_overwrites_itself(instance: Instance<dyn Series>, _: Capabilities) {
    let series = instance.store();
    let key = segment_key(1, 7);
    for text in ["first", "first", "a longer resend", "short"] {
        put_segments(&*series, &[segment(key, text)]).await;
        assert_eq!(segments(&*series, home(1), DAY).await, [segment(key, text)]);
    }
    put_segments(&*series, &[segment(key, "a"), segment(key, "b")]).await;
    assert_eq!(segments(&*series, home(1), DAY).await, [segment(key, "b")]);
}

/// Segments come in the order of their keys, whatever the order of arrival; pages meet without gap or overlap.
pub async fn segments_come_by_key_and_by_pages(instance: Instance<dyn Series>, _: Capabilities) {
    let series = instance.store();
    let mut random = Random::fresh("segments_come_by_key_and_by_pages");
    let mut sorted: Vec<StoredSegment> = Vec::new();
    for class in [RetentionClass::Days7, RetentionClass::Days400] {
        for stream in [1, 0x80, 0xff] {
            // Beyond 255 and 2^63, so that neither bytes in the wrong order nor signed numbers sort right.
            for sequence in [0, 1, 255, 256, 1 << 32, u64::MAX >> 1, u64::MAX] {
                let key = SegmentKey {
                    class,
                    stream: HubStreamId::from_bytes([stream; 16]),
                    ..segment_key(1, sequence)
                };
                sorted.push(segment(key, &format!("{sequence}")));
            }
        }
    }
    let mut order = sorted.clone();
    random.shuffle(&mut order);
    for few in order.chunks(5) {
        put_segments(&*series, few).await;
    }
    for limit in [1, 5, 41, 42, 100] {
        let mut walked: Vec<StoredSegment> = Vec::new();
        loop {
            let after = walked.last().map(|segment| segment.key);
            let page = within(series.segments(home(1), DAY, after, limit)).await;
            let page = page.expect("a page");
            assert!(page.len() <= limit, "{} of {limit}", page.len());
            if page.is_empty() {
                break;
            }
            walked.extend(page);
            assert!(walked.len() <= sorted.len(), "pages overlap, by {limit}");
        }
        assert_eq!(walked, sorted, "by {limit}");
    }
}

/// One call may put segments of many homes and days; a page is of one.
pub async fn segments_of_other_homes_and_days_are_apart(
    instance: Instance<dyn Series>,
    _: Capabilities,
) {
    let series = instance.store();
    let mut all = Vec::new();
    for number in 1..=3 {
        for offset in [-20_001, -1, 0, 1] {
            let key = SegmentKey {
                day: DAY.plus(offset),
                ..segment_key(number, 1)
            };
            all.push(segment(key, &format!("{number} {offset}")));
        }
    }
    put_segments(&*series, &all).await;
    for segment in &all {
        let found = segments(&*series, segment.key.home, segment.key.day).await;
        assert_eq!(found, std::slice::from_ref(segment));
    }
    assert_eq!(segments(&*series, home(4), DAY).await, []);
    assert_eq!(segments(&*series, home(1), DAY.plus(2)).await, []);
}

/// Two keys that differ in one column are two segments.
pub async fn every_column_of_a_segment_key_counts(instance: Instance<dyn Series>, _: Capabilities) {
    let series = instance.store();
    let key = segment_key(1, 1);
    let keys = [
        key,
        SegmentKey {
            class: RetentionClass::Years5,
            ..key
        },
        SegmentKey {
            claim: ClaimId::from_bytes([9; 16]),
            ..key
        },
        SegmentKey {
            stream: HubStreamId::from_bytes([9; 16]),
            ..key
        },
        SegmentKey { sequence: 2, ..key },
    ];
    for (number, key) in keys.iter().enumerate() {
        put_segments(&*series, &[segment(*key, &format!("{number}"))]).await;
    }
    let found = segments(&*series, home(1), DAY).await;
    assert_eq!(found.len(), keys.len());
    for (number, key) in keys.iter().enumerate() {
        assert!(
            found.contains(&segment(*key, &format!("{number}"))),
            "{key:?}"
        );
    }
}

/// Deleting takes the named ones, is repeatable, and a delete does not keep a later resend away.
pub async fn deleted_segments_are_gone(instance: Instance<dyn Series>, _: Capabilities) {
    let series = instance.store();
    let all: Vec<_> = (0..10)
        .map(|sequence| segment(segment_key(1, sequence), "there"))
        .collect();
    put_segments(&*series, &all).await;
    put_segments(&*series, &[segment(segment_key(2, 3), "another home")]).await;
    let keys: Vec<_> = (3..6).map(|sequence| segment_key(1, sequence)).collect();
    for _ in 0..2 {
        delete(&*series, &keys).await;
        let left = segments(&*series, home(1), DAY).await;
        let left: Vec<u64> = left.iter().map(|segment| segment.key.sequence).collect();
        assert_eq!(left, [0, 1, 2, 6, 7, 8, 9]);
    }
    assert_eq!(segments(&*series, home(2), DAY).await.len(), 1);
    put_segments(&*series, &all[3..4]).await;
    assert_eq!(segments(&*series, home(1), DAY).await.len(), 8);
}

/// The days that have segments, in order; the homes that have any, each once, by pages.
pub async fn days_and_homes_are_listed(instance: Instance<dyn Series>, _: Capabilities) {
    let series = instance.store();
    for number in 1..=9 {
        for offset in [5, -20_100, 0] {
            let key = SegmentKey {
                day: DAY.plus(offset),
                ..segment_key(number, 1)
            };
            let other = SegmentKey { sequence: 2, ..key };
            put_segments(&*series, &[segment(key, "a"), segment(other, "b")]).await;
        }
    }
    let all = [DAY.plus(-20_100), DAY, DAY.plus(5)];
    assert_eq!(days(&*series, home(3), 10).await, all);
    assert_eq!(days(&*series, home(3), 2).await, all[..2]);
    delete(&*series, &[segment_key(3, 1), segment_key(3, 2)]).await;
    assert_eq!(days(&*series, home(3), 10).await, [all[0], all[2]]);
    within(series.delete_home(home(7))).await.expect("a delete");
    for limit in [1, 4, 100] {
        let mut homes: Vec<HomeId> = Vec::new();
        loop {
            let page = within(series.homes(homes.last().copied(), limit)).await;
            let page = page.expect("a page");
            assert!(page.len() <= limit, "{} of {limit}", page.len());
            if page.is_empty() {
                break;
            }
            homes.extend(page);
            assert!(homes.len() < 9, "pages overlap, by {limit}");
        }
        homes.sort_unstable();
        let expected: Vec<HomeId> = (1..=9).filter(|n| *n != 7).map(home).collect();
        assert_eq!(homes, expected, "by {limit}");
    }
}

/// A large segment, and an empty one, come back as they were.
pub async fn segments_of_a_megabyte(instance: Instance<dyn Series>, _: Capabilities) {
    let series = instance.store();
    let large: Vec<u8> = (0..=255).cycle().take(1_000_000).collect();
    for (sequence, sealed) in [(1, Bytes::from(large)), (2, Bytes::new())] {
        let key = segment_key(1, sequence);
        put_segments(
            &*series,
            &[StoredSegment {
                key,
                sealed: sealed.clone(),
            }],
        )
        .await;
        let found = segments(&*series, home(1), DAY).await;
        assert!(
            found.last().is_some_and(|last| last.sealed == sealed),
            "it differs"
        );
    }
}
