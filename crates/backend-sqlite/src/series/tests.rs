//! Tests of the series' own: windows that come and go with expiry, and what is left in the file. The port's
//! promises are tested by the conformance suites.

use bytes::Bytes;
use hearth_kernel::{ClaimId, HubStreamId};
use tempfile::TempDir;

use super::*;

fn home(id: u8) -> HomeId {
    HomeId::from_bytes([id; 16])
}

fn segment(id: u8, sequence: u64, sealed: &str) -> StoredSegment {
    StoredSegment {
        key: SegmentKey {
            home: home(id),
            day: Day::from_number(20_000),
            class: RetentionClass::Days30,
            claim: ClaimId::from_bytes([1; 16]),
            stream: HubStreamId::from_bytes([2; 16]),
            sequence,
        },
        sealed: Bytes::copy_from_slice(sealed.as_bytes()),
    }
}

fn chunk(id: u8, class: RetentionClass, day: i32, sealed: &str) -> StoredChunk {
    StoredChunk {
        key: ChunkKey {
            home: home(id),
            device: DeviceId::from_bytes([9; 16]),
            capability: Capability::from_stored(3),
            class,
            day: Day::from_number(day),
            window: 0,
            generation: 1,
        },
        sealed: Bytes::copy_from_slice(sealed.as_bytes()),
    }
}

fn holds(folder: &TempDir, marker: &[u8]) -> bool {
    std::fs::read_dir(folder.path()).unwrap().any(|entry| {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        bytes.windows(marker.len()).any(|window| window == marker)
    })
}

#[tokio::test]
async fn chunks_expire_by_windows_and_the_windows_go() {
    let folder = tempfile::tempdir().unwrap();
    let class = RetentionClass::Days7;
    let days = (Day::from_number(0), Day::from_number(30_000));
    {
        let series = SqliteSeries::open(folder.path()).unwrap();
        for day in 20_000..20_010 {
            let expires = Day::from_number(day + 7).end();
            series
                .put_chunks(&[chunk(1, class, day, "x")], expires)
                .await
                .unwrap();
        }
        assert_eq!(series.known.all().len(), 10);
    }
    let series = SqliteSeries::open(folder.path()).unwrap();
    let read = async |now| {
        let key = chunk(1, class, 0, "").key;
        series
            .chunks(key.home, key.device, key.capability, class, 0, days, now)
            .await
            .unwrap()
            .len()
    };
    let now = Day::from_number(20_012).start();
    assert_eq!(read(now).await, 5);
    assert_eq!(series.expire(now).await.unwrap(), 5);
    assert_eq!(series.expire(now).await.unwrap(), 0);
    assert_eq!(read(now).await, 5);
    // The window of what expires within this day is still there, and empty or not.
    assert!(series.known.all().len() <= 6);
    let late = chunk(1, class, 20_000, "late");
    series.put_chunks(&[late], now).await.unwrap();
    assert_eq!(
        series
            .expire(Day::from_number(20_100).start())
            .await
            .unwrap(),
        6
    );
    assert!(series.known.all().is_empty());
}

#[tokio::test]
async fn a_deleted_home_is_not_in_the_file_after_a_scrub() {
    let folder = tempfile::tempdir().unwrap();
    let series = SqliteSeries::open(folder.path()).unwrap();
    for round in 0..40_u64 {
        let mut segments = Vec::new();
        for id in 1..=20_u8 {
            let text = format!("marker-{id:03}-").repeat(1 + usize::try_from(round).unwrap() * 3);
            segments.push(segment(id, round, &text));
        }
        series.put_segments(&segments).await.unwrap();
        for id in 1..=20_u8 {
            let day = 20_000 + i32::try_from(round).unwrap();
            let one = chunk(
                id,
                RetentionClass::Days400,
                day,
                &format!("marker-{id:03}-chunk"),
            );
            series
                .put_chunks(&[one], Day::from_number(20_500).start())
                .await
                .unwrap();
        }
    }
    assert!(holds(&folder, b"marker-007-"));
    assert!(holds(&folder, &[7; 16]));
    series.delete_home(home(7)).await.unwrap();
    series.scrub().await.unwrap();
    assert!(!holds(&folder, b"marker-007-"));
    assert!(!holds(&folder, &[7; 16]));
    assert!(holds(&folder, b"marker-008-"));
    assert_eq!(series.homes(None, 100).await.unwrap().len(), 19);
}
