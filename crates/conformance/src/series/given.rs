//! Keys, rows and whole homes that the cases share.

use bytes::Bytes;
use hearth_kernel::{
    Capability, ClaimId, Day, DeviceId, HomeId, HubStreamId, RetentionClass, Timestamp,
};
use hearth_ports::{ChunkKey, Latest, ManifestRow, SegmentKey, Series, StoredChunk, StoredSegment};

use crate::instance::within;

pub(super) const DAY: Day = Day::from_number(20_000);
pub(super) const NOW: Timestamp = Timestamp::from_seconds(20_001 * 86_400);
pub(super) const LATER: Timestamp = Timestamp::from_seconds(20_100 * 86_400);
/// Every day that a test writes to.
pub(super) const ALL_DAYS: (Day, Day) = (Day::from_number(-20_000), Day::from_number(40_000));

pub(super) fn home(number: u8) -> HomeId {
    HomeId::from_bytes([number; 16])
}

pub(super) fn segment_key(number: u8, sequence: u64) -> SegmentKey {
    SegmentKey {
        home: home(number),
        day: DAY,
        class: RetentionClass::Days30,
        claim: ClaimId::from_bytes([4; 16]),
        stream: HubStreamId::from_bytes([5; 16]),
        sequence,
    }
}

pub(super) fn segment(key: SegmentKey, text: &str) -> StoredSegment {
    StoredSegment {
        key,
        sealed: Bytes::from(text.to_owned()),
    }
}

pub(super) fn chunk_key(number: u8, day: Day, generation: u64) -> ChunkKey {
    ChunkKey {
        home: home(number),
        device: DeviceId::from_bytes([6; 16]),
        capability: Capability::from_stored(1),
        class: RetentionClass::Days30,
        day,
        window: 0,
        generation,
    }
}

pub(super) fn chunk(key: ChunkKey, text: &str) -> StoredChunk {
    StoredChunk {
        key,
        sealed: Bytes::from(text.to_owned()),
    }
}

pub(super) fn manifest(number: u8, day: Day, fence: u64, counter: u64) -> ManifestRow {
    ManifestRow {
        home: home(number),
        day,
        fence,
        counter,
        body: Bytes::from(format!("body {fence}/{counter}")),
    }
}

pub(super) fn latest(number: u8, device: u8, capability: u16, observed: i64) -> Latest {
    Latest {
        home: home(number),
        device: DeviceId::from_bytes([device; 16]),
        capability: Capability::from_stored(capability),
        observed_at: Timestamp::from_micros(observed),
        sealed: Bytes::from(format!("value at {observed}")),
    }
}

pub(super) async fn put_segments(series: &dyn Series, segments: &[StoredSegment]) {
    within(series.put_segments(segments)).await.expect("a put");
}

pub(super) async fn segments(series: &dyn Series, home: HomeId, day: Day) -> Vec<StoredSegment> {
    within(series.segments(home, day, None, 10_000))
        .await
        .expect("the segments")
}

pub(super) async fn put_chunks(series: &dyn Series, chunks: &[StoredChunk]) {
    within(series.put_chunks(chunks, LATER))
        .await
        .expect("a put");
}

/// The chunks that have home, device, capability, class and window of a key, in those days.
pub(super) async fn chunks_like(
    series: &dyn Series,
    key: ChunkKey,
    days: (Day, Day),
    now: Timestamp,
) -> Vec<StoredChunk> {
    let answer = series.chunks(
        key.home,
        key.device,
        key.capability,
        key.class,
        key.window,
        days,
        now,
    );
    within(answer).await.expect("the chunks")
}

pub(super) async fn put_manifest(series: &dyn Series, row: ManifestRow) {
    within(series.put_manifest(row)).await.expect("a put");
}

pub(super) async fn manifests(series: &dyn Series, home: HomeId) -> Vec<ManifestRow> {
    within(series.manifest(home, ALL_DAYS))
        .await
        .expect("the manifest")
}

pub(super) async fn put_latest(series: &dyn Series, rows: &[Latest]) {
    within(series.put_latest(rows)).await.expect("a put");
}

/// The latest rows of a home, by device and capability.
pub(super) async fn latest_of(series: &dyn Series, home: HomeId) -> Vec<Latest> {
    let mut rows = within(series.latest(home)).await.expect("the latest rows");
    rows.sort_by_key(|row| (row.device, row.capability));
    rows
}

/// Writes something of everything for a home.
pub(super) async fn furnish(series: &dyn Series, number: u8) {
    for offset in [0, 1, 40] {
        let day = DAY.plus(offset);
        let key = SegmentKey {
            day,
            ..segment_key(number, 1)
        };
        put_segments(series, &[segment(key, "segment")]).await;
        for class in RetentionClass::ALL {
            let key = ChunkKey {
                class,
                ..chunk_key(number, day, 1)
            };
            put_chunks(series, &[chunk(key, "chunk")]).await;
        }
        let rollup = ChunkKey {
            class: RetentionClass::Rollups,
            window: 3600,
            ..chunk_key(number, day, 1)
        };
        put_chunks(series, &[chunk(rollup, "rollup")]).await;
        put_manifest(series, manifest(number, day, 1, 1)).await;
    }
    put_latest(
        series,
        &[latest(number, 1, 1, 10), latest(number, 2, 2, 20)],
    )
    .await;
}

/// Everything there is of a home, as one comparable thing.
pub(super) async fn inventory(series: &dyn Series, number: u8) -> Vec<String> {
    let mut all = Vec::new();
    for offset in 0..=40 {
        let found = segments(series, home(number), DAY.plus(offset)).await;
        all.extend(found.iter().map(|segment| format!("{segment:?}")));
    }
    for class in RetentionClass::ALL {
        for window in [0, 3600] {
            let key = ChunkKey {
                class,
                window,
                ..chunk_key(number, DAY, 1)
            };
            let found = chunks_like(series, key, ALL_DAYS, NOW).await;
            all.extend(found.iter().map(|chunk| format!("{chunk:?}")));
        }
    }
    let rows = manifests(series, home(number)).await;
    all.extend(rows.iter().map(|row| format!("{row:?}")));
    let rows = latest_of(series, home(number)).await;
    all.extend(rows.iter().map(|row| format!("{row:?}")));
    all
}
