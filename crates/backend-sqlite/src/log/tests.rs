//! Tests of the log's own: group commit, reopening, days, what is left in the files. The port's promises are
//! tested by the conformance suites.

use std::path::PathBuf;
use std::time::Duration;

use hearth_kernel::{Service, Timestamp};
use hearth_ports::ManualClock;
use tempfile::TempDir;

use super::*;

const DAY: Duration = Duration::from_secs(86_400);

struct Place {
    folder: TempDir,
    clock: ManualClock,
}

impl Place {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            clock: ManualClock::new(Timestamp::from_seconds(20_000 * 86_400 + 3_600)),
        }
    }

    fn open(&self) -> Arc<SqliteLog> {
        Arc::new(SqliteLog::open(self.folder.path(), Arc::new(self.clock.clone())).unwrap())
    }

    fn files(&self) -> Vec<PathBuf> {
        let telemetry = self.folder.path().join("telemetry");
        [self.folder.path(), &telemetry]
            .into_iter()
            .flat_map(|folder| std::fs::read_dir(folder).unwrap())
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file())
            .collect()
    }

    fn holds(&self, marker: &str) -> bool {
        self.files().iter().any(|path| {
            let bytes = std::fs::read(path).unwrap();
            bytes
                .windows(marker.len())
                .any(|window| window == marker.as_bytes())
        })
    }

    fn day_files(&self) -> usize {
        let is_day = |path: &&PathBuf| {
            path.extension().is_some_and(|end| end == "db")
                && path
                    .parent()
                    .is_some_and(|folder| folder.ends_with("telemetry"))
        };
        self.files().iter().filter(is_day).count()
    }
}

fn aggregate(family: Family, id: u128) -> Subject {
    let stream = Stream::new(family, Service::Accounts);
    Subject::from_tokens(stream, format!("account.{:032x}", id))
}

fn at(sequence: u64) -> Position {
    Position {
        generation: 1,
        sequence,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conflict_among_many_appends_fails_alone() {
    let place = Place::new();
    let log = place.open();
    let first = log
        .append(
            &aggregate(Family::Evt, 0),
            Expected::Subject(None),
            Bytes::from("0"),
        )
        .await
        .unwrap();
    let appends = (0..200_u128).map(|id| {
        let log = Arc::clone(&log);
        async move {
            log.append(
                &aggregate(Family::Evt, id),
                Expected::Subject(None),
                Bytes::from("x"),
            )
            .await
        }
    });
    let answers = futures::future::join_all(appends).await;
    assert!(matches!(answers[0], Err(StoreError::Conflict)));
    let mut positions: Vec<Position> = answers.into_iter().skip(1).map(Result::unwrap).collect();
    positions.sort();
    let expected: Vec<Position> = (2..=200).map(at).collect();
    assert_eq!((first, positions), (at(1), expected));
    assert_eq!(
        log.head(Stream::new(Family::Evt, Service::Accounts))
            .await
            .unwrap(),
        Some(at(200))
    );
}

#[tokio::test]
async fn a_tail_is_woken_by_a_commit_and_ends_when_the_log_closes() {
    let place = Place::new();
    let log = place.open();
    let stream = Stream::new(Family::State, Service::Accounts);
    let mut tail = log.tail(stream, Position::START);
    for id in 1..=3_u128 {
        let subject = aggregate(Family::State, id);
        let (appended, seen) = tokio::join!(
            log.append(&subject, Expected::Any, Bytes::from("x")),
            tail.next()
        );
        let seen = seen.unwrap().unwrap();
        assert_eq!(
            (seen.position, &seen.subject),
            (appended.unwrap(), &subject)
        );
    }
    let (ended, ()) = tokio::join!(tail.next(), async {
        let log = Arc::clone(&log);
        tokio::task::spawn_blocking(move || log.close())
            .await
            .unwrap();
    });
    assert!(matches!(ended, Some(Err(StoreError::Retryable(_)))));
    assert!(tail.next().await.is_none());
    assert!(matches!(
        log.append(&aggregate(Family::State, 9), Expected::Any, Bytes::new())
            .await,
        Err(StoreError::Retryable(_))
    ));
}

#[tokio::test]
async fn heads_do_not_go_back_when_everything_is_gone() {
    let place = Place::new();
    let record = aggregate(Family::Rec, 1);
    {
        let log = place.open();
        for _ in 0..3 {
            log.append(&record, Expected::Any, Bytes::from("x"))
                .await
                .unwrap();
        }
        assert_eq!(log.remove(&record, at(3)).await.unwrap(), Removed::Done);
        let shard = Subject::telemetry(3);
        for _ in 0..3 {
            log.append(&shard, Expected::Any, Bytes::from("marked-by-test"))
                .await
                .unwrap();
        }
        place.clock.advance(DAY);
        log.trim(Stream::TELEMETRY, at(4)).await.unwrap();
    }
    let log = place.open();
    assert_eq!(place.day_files(), 1);
    assert_eq!(
        log.append(&record, Expected::Subject(None), Bytes::new())
            .await
            .unwrap(),
        at(4)
    );
    assert_eq!(log.head(Stream::TELEMETRY).await.unwrap(), Some(at(3)));
    let shard = Subject::telemetry(0);
    let next = log.append(&shard, Expected::Stream(Some(at(3))), Bytes::new());
    assert_eq!(next.await.unwrap(), at(4));
    assert!(!place.holds("marked-by-test"));
}

#[tokio::test]
async fn frames_go_by_days_and_read_on_across_them() {
    let place = Place::new();
    let mut log = place.open();
    for day in 0..4_u64 {
        for _ in 0..5 {
            let shard = Subject::telemetry(u8::try_from(day).unwrap());
            log.append(&shard, Expected::Any, Bytes::from(vec![7; 20_000]))
                .await
                .unwrap();
        }
        place.clock.advance(DAY);
        if day == 1 {
            drop(log);
            log = place.open();
        }
    }
    assert_eq!(place.day_files(), 4);
    let page = log.page(Stream::TELEMETRY, at(3), 9).await.unwrap();
    let positions: Vec<u64> = page
        .iter()
        .map(|message| message.position.sequence)
        .collect();
    assert_eq!(positions, (4..=12).collect::<Vec<_>>());
    assert!(
        page.windows(2)
            .all(|two| two[0].recorded_at <= two[1].recorded_at)
    );
    let of_shard = log
        .load(&Subject::telemetry(1), None, 100, Read::Leader)
        .await
        .unwrap();
    assert_eq!(of_shard.len(), 5);
    // In the middle of the second day: the first day's file goes, the rest of the second is hidden.
    log.trim(Stream::TELEMETRY, at(8)).await.unwrap();
    assert_eq!(place.day_files(), 3);
    drop(log);
    let log = place.open();
    let first = log
        .page(Stream::TELEMETRY, Position::START, 1)
        .await
        .unwrap();
    assert_eq!(first[0].position, at(8));
    // A tail over all of it, and on to what comes.
    let tail = log.tail(Stream::TELEMETRY, Position::START).take(14);
    let shard = Subject::telemetry(9);
    let (tailed, appended) = tokio::join!(
        tail.collect::<Vec<_>>(),
        log.append(&shard, Expected::Any, Bytes::new())
    );
    assert_eq!(appended.unwrap(), at(21));
    assert_eq!(tailed.last().unwrap().as_ref().unwrap().position, at(21));
}

#[tokio::test]
async fn the_clock_may_go_back_but_the_file_does_not() {
    let place = Place::new();
    place.clock.advance(DAY);
    {
        let log = place.open();
        log.append(&Subject::telemetry(0), Expected::Any, Bytes::new())
            .await
            .unwrap();
    }
    let earlier = ManualClock::new(Timestamp::from_seconds(19_000 * 86_400));
    let log = SqliteLog::open(place.folder.path(), Arc::new(earlier)).unwrap();
    log.append(&Subject::telemetry(0), Expected::Any, Bytes::new())
        .await
        .unwrap();
    let all = log
        .page(Stream::TELEMETRY, Position::START, 10)
        .await
        .unwrap();
    assert_eq!(all.len(), 2);
    assert!(all[0].recorded_at <= all[1].recorded_at);
    assert_eq!(place.day_files(), 1);
}

#[tokio::test]
async fn what_was_removed_is_not_in_the_files_after_a_scrub() {
    let place = Place::new();
    let log = place.open();
    let (kept, gone) = (
        aggregate(Family::Evt, 1),
        aggregate(Family::Evt, 0xdead_beef),
    );
    let marker = |what: &str, i: u32| {
        Bytes::from(format!(
            "{what}-{}",
            "padding ".repeat(usize::try_from(i % 40).unwrap())
        ))
    };
    for i in 0..400_u32 {
        log.append(&kept, Expected::Any, marker("kept-marker", i))
            .await
            .unwrap();
        log.append(&gone, Expected::Any, marker("gone-marker", i))
            .await
            .unwrap();
        let record = aggregate(Family::Rec, 77);
        log.append(
            &record,
            Expected::Any,
            Bytes::from(format!("version-{i:05}-of-record")),
        )
        .await
        .unwrap();
    }
    assert!(place.holds("gone-marker"));
    let through = log
        .head(Stream::new(Family::Evt, Service::Accounts))
        .await
        .unwrap()
        .unwrap();
    // Closed with a tombstone, then purged to it.
    log.append(&gone, Expected::Any, Bytes::from("tombstone"))
        .await
        .unwrap();
    log.purge(&gone, through, Purge::KeepLast).await.unwrap();
    log.scrub().await.unwrap();
    assert!(!place.holds("gone-marker"));
    assert!(!place.holds("version-00398-of-record"));
    assert!(place.holds("version-00399-of-record"));
    assert!(place.holds("kept-marker"));
    // It still works after the writer's connection was opened anew.
    log.append(&kept, Expected::Any, Bytes::from("after"))
        .await
        .unwrap();
    let last = log.last(&kept, Read::Leader).await.unwrap().unwrap();
    assert_eq!(last.bytes, Bytes::from("after"));
}

#[tokio::test]
async fn a_newer_format_is_refused() {
    let place = Place::new();
    drop(place.open());
    let path = place.folder.path().join("log.db");
    let conn = rusqlite::Connection::open(&path).unwrap();
    conn.pragma_update(None, "user_version", 9).unwrap();
    drop(conn);
    let error = SqliteLog::open(place.folder.path(), Arc::new(place.clock.clone())).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("written by a newer version, format 9"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scrubbing_beside_writers_and_readers_harms_nothing() {
    let place = Place::new();
    let log = place.open();
    let write = async |id: u128| {
        for i in 0..150_u32 {
            let bytes = Bytes::from(vec![7; usize::try_from(i * 13 % 900).unwrap()]);
            let subject = aggregate(Family::Evt, id * 1_000 + u128::from(i % 40));
            log.append(&subject, Expected::Any, bytes).await.unwrap();
            let through = log.head(subject.stream()).await.unwrap().unwrap();
            if i % 7 == 0 {
                log.purge(&subject, through, Purge::KeepLast).await.unwrap();
            }
        }
    };
    let read = async {
        let stream = Stream::new(Family::Evt, Service::Accounts);
        for _ in 0..100 {
            log.page(stream, Position::START, 500).await.unwrap();
        }
    };
    let scrub = async {
        for _ in 0..8 {
            log.scrub().await.unwrap();
        }
    };
    tokio::join!(write(1), write(2), write(3), read, scrub);
    log.close();
    let conn = rusqlite::Connection::open(place.folder.path().join("log.db")).unwrap();
    let sound: String = conn
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(sound, "ok");
}
