//! Tests of the documents' own: tombstones that go, leases over a restart, what is left in the file. The
//! ports' promises are tested by the conformance suites.

use hearth_ports::{Leases, ManualClock};
use tempfile::TempDir;

use super::*;
use crate::SqliteLeases;

const TABLE: Table = Table("tests_rows");

struct Place {
    folder: TempDir,
    clock: ManualClock,
}

impl Place {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            clock: ManualClock::new(Timestamp::from_seconds(2_000_000_000)),
        }
    }

    fn open(&self) -> SqliteDocuments {
        SqliteDocuments::open(self.folder.path(), Arc::new(self.clock.clone())).unwrap()
    }

    fn holds(&self, marker: &[u8]) -> bool {
        std::fs::read_dir(self.folder.path()).unwrap().any(|entry| {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            bytes.windows(marker.len()).any(|window| window == marker)
        })
    }
}

#[tokio::test]
async fn tombstones_go_after_their_time_and_not_before() {
    let place = Place::new();
    let documents = place.open();
    documents
        .put(TABLE, b"p", b"k", 5, Bytes::from("v"))
        .await
        .unwrap();
    documents.delete(TABLE, b"p", b"k", 6).await.unwrap();
    documents.drop_partition(TABLE, b"q", 9).await.unwrap();
    place.clock.advance(TOMBSTONES_KEPT);
    assert_eq!(documents.expire(place.clock.now()).await.unwrap(), 0);
    documents
        .put(TABLE, b"p", b"k", 5, Bytes::from("late"))
        .await
        .unwrap();
    documents
        .put(TABLE, b"q", b"k", 9, Bytes::from("late"))
        .await
        .unwrap();
    assert!(documents.get(TABLE, b"p", b"k").await.unwrap().is_none());
    assert!(
        documents
            .partitions(TABLE, None, 10)
            .await
            .unwrap()
            .is_empty()
    );
    place.clock.advance(Duration::from_secs(1));
    assert_eq!(documents.expire(place.clock.now()).await.unwrap(), 2);
    documents
        .put(TABLE, b"q", b"k", 1, Bytes::from("new"))
        .await
        .unwrap();
    assert_eq!(
        documents.partitions(TABLE, None, 10).await.unwrap(),
        [b"q".to_vec()]
    );
}

#[tokio::test]
async fn a_dropped_partition_is_not_in_the_file_after_a_scrub() {
    let place = Place::new();
    let documents = place.open();
    for i in 0..300_u32 {
        for part in ["kept", "gone"] {
            let key = i.wrapping_mul(2_654_435_761).to_be_bytes();
            let value = format!("value-of-{part}-").repeat(usize::try_from(i % 30).unwrap() + 1);
            documents
                .put(TABLE, part.as_bytes(), &key, 1, Bytes::from(value))
                .await
                .unwrap();
        }
    }
    let long = "value-of-gone-".repeat(10_000);
    documents
        .put(TABLE, b"gone", b"long", 1, Bytes::from(long))
        .await
        .unwrap();
    assert!(place.holds(b"value-of-gone-"));
    documents.drop_partition(TABLE, b"gone", 2).await.unwrap();
    documents.scrub().await.unwrap();
    assert!(!place.holds(b"value-of-gone-"));
    assert!(place.holds(b"value-of-kept-"));
    let kept = documents
        .range(TABLE, b"kept", Range::all(1_000))
        .await
        .unwrap();
    assert_eq!(kept.len(), 300);
}

#[tokio::test]
async fn a_restart_that_ends_all_leases_waits_for_none_and_fences_grow_on() {
    let place = Place::new();
    let clock: Arc<dyn Clock> = Arc::new(place.clock.clone());
    let hour = Duration::from_secs(3_600);
    let first = {
        let leases = SqliteLeases::new(&place.open(), Arc::clone(&clock));
        leases.acquire("tests.work.0", "a", hour).await.unwrap()
    };
    let leases = SqliteLeases::new(&place.open(), clock);
    leases.end_all().await.unwrap();
    assert!(matches!(
        leases.renew(&first, "a", hour).await,
        Err(StoreError::Conflict)
    ));
    let second = leases.acquire("tests.work.0", "b", hour).await.unwrap();
    assert!(second.fence > first.fence);
}

#[tokio::test]
async fn a_scrub_gives_the_room_of_what_is_gone_back_to_the_file_system() {
    let place = Place::new();
    let documents = place.open();
    let value = Bytes::from(vec![b'z'; 3_000]);
    let key = |it: u32| it.to_be_bytes();
    for it in 0..400 {
        documents
            .put(TABLE, b"p", &key(it), 1, value.clone())
            .await
            .unwrap();
    }
    documents.scrub().await.unwrap();
    let bytes = || {
        let path = place.folder.path().join("documents.db");
        std::fs::metadata(path).unwrap().len()
    };
    let full = bytes();
    for it in 0..400 {
        // What stays lies at the end of the file, and has to move.
        if it != 399 {
            documents.delete(TABLE, b"p", &key(it), 2).await.unwrap();
        }
    }
    documents.scrub().await.unwrap();
    assert!(bytes() < full / 4, "{} of {full} bytes are left", bytes());
    let conn = Connection::open(place.folder.path().join("documents.db")).unwrap();
    let free: u32 = conn
        .pragma_query_value(None, "freelist_count", |row| row.get(0))
        .unwrap();
    assert_eq!(free, 0);
    drop(conn);
    let left = documents.get(TABLE, b"p", &key(399)).await.unwrap();
    assert_eq!(left.unwrap().value, value);
    // Other connections go on, and the next start finds all of it.
    documents
        .put(TABLE, b"p", b"more", 3, value.clone())
        .await
        .unwrap();
    documents.close();
    let again = place.open();
    let rows = again.range(TABLE, b"p", Range::all(10)).await.unwrap();
    assert_eq!(rows.len(), 2);
}
