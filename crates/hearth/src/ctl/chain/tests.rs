//! Chains with one planted fault of each kind, on a log in memory.

use std::sync::Arc;

use bytes::Bytes;
use hearth_backend_memory::MemoryLog;
use hearth_engine::{CommitKind, StoredEvent};
use hearth_kernel::{AggregateRef, Service, Timestamp};
use hearth_ports::{Expected, Family, ManualClock, Purge};
use prost::Message as _;
use uuid::Uuid;

use super::*;

const STREAM: Stream = Stream::new(Family::Evt, Service::Accounts);

/// A log, and the end of the chain that is being written.
struct Script {
    log: MemoryLog,
    id: Uuid,
    next: Commit,
    position: Option<Position>,
}

impl Script {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::from_seconds(1)));
        let mut script = Self {
            log: MemoryLog::new(clock),
            id: Uuid::nil(),
            next: Commit::default(),
            position: None,
        };
        script.begin(1);
        script
    }

    /// Begins the chain of another aggregate.
    fn begin(&mut self, number: u128) {
        self.id = Uuid::from_u128(number);
        self.position = None;
        self.next = Commit {
            id: Bytes::from_static(&[7; 16]),
            service: u32::from(Service::Accounts.number()),
            kind: "thing".to_owned(),
            aggregate: Bytes::copy_from_slice(self.id.as_bytes()),
            version: 1,
            events: vec![
                StoredEvent {
                    name: "happened".to_owned(),
                    ..StoredEvent::default()
                };
                2
            ],
            ..Commit::default()
        };
    }

    fn subject(&self) -> Subject {
        Subject::aggregate(
            Family::Evt,
            &AggregateRef::new(Service::Accounts, "thing", self.id),
        )
    }

    async fn bytes(&mut self, bytes: Bytes) -> Position {
        let subject = self.subject();
        let position = self
            .log
            .append(&subject, Expected::Subject(self.position), bytes)
            .await
            .unwrap();
        self.position = Some(position);
        position
    }

    /// Appends the next commit as it was changed, and makes a good one to follow it.
    async fn commit(&mut self, change: impl FnOnce(&mut Commit)) -> Position {
        let mut commit = self.next.clone();
        change(&mut commit);
        let bytes = Bytes::from(commit.encode_to_vec());
        self.next.previous = Bytes::copy_from_slice(&link(&bytes));
        self.next.version = commit.version + 1;
        self.next.base = commit.base + u64::try_from(commit.events.len()).unwrap();
        self.bytes(bytes).await
    }

    async fn good(&mut self, count: usize) {
        for _ in 0..count {
            self.commit(|_| {}).await;
        }
    }

    async fn tombstone(&mut self) -> Position {
        self.commit(|commit| {
            commit.what = CommitKind::Tombstone.into();
            commit.events.clear();
        })
        .await
    }

    async fn report(&self) -> Report {
        walk(&self.log, STREAM, |_, _, _| {}).await.unwrap()
    }

    /// The only fault, which must lie there.
    async fn only(&self, position: Position) -> Fault {
        let report = self.report().await;
        assert_eq!(report.faults, 1, "{report:?}");
        assert_eq!(report.broken[0].position, position);
        assert_eq!(report.broken[0].subject, self.subject());
        report.broken[0].fault
    }
}

#[tokio::test]
async fn whole_chains_have_no_fault_over_many_pages() {
    let mut script = Script::new();
    script.good(PAGE + 3).await;
    script.begin(2);
    script.good(5).await;
    let commits = u64::try_from(PAGE).unwrap() + 8;
    assert_eq!(
        script.report().await,
        Report {
            aggregates: 2,
            commits,
            ..Report::default()
        }
    );
}

#[tokio::test]
async fn a_purged_chain_is_whole_also_when_its_purge_was_cut_off() {
    let mut script = Script::new();
    script.good(3).await;
    let tombstone = script.tombstone().await;
    let cut_off = script.report().await;
    assert_eq!(
        (cut_off.faults, cut_off.tombstones, cut_off.commits),
        (0, 1, 4)
    );
    script
        .log
        .purge(&script.subject(), tombstone, Purge::KeepLast)
        .await
        .unwrap();
    let purged = script.report().await;
    assert_eq!(
        (purged.faults, purged.tombstones, purged.commits),
        (0, 1, 1)
    );
}

#[tokio::test]
async fn a_commit_after_a_tombstone_is_found() {
    let mut script = Script::new();
    script.good(1).await;
    script.tombstone().await;
    let after = script.commit(|_| {}).await;
    assert_eq!(script.only(after).await, Fault::AfterTombstone);
}

#[tokio::test]
async fn a_beginning_that_is_gone_without_a_tombstone_is_found() {
    let mut script = Script::new();
    script.good(2).await;
    let third = script.commit(|_| {}).await;
    script
        .log
        .purge(&script.subject(), third, Purge::KeepLast)
        .await
        .unwrap();
    assert_eq!(script.only(third).await, Fault::BeginningMissing);
}

#[tokio::test]
async fn a_version_that_is_left_out_or_comes_again_is_found() {
    let mut script = Script::new();
    script.good(2).await;
    let gap = script.commit(|commit| commit.version += 1).await;
    script.good(2).await;
    assert_eq!(
        script.only(gap).await,
        Fault::Version {
            expected: 3,
            found: 4
        }
    );

    let mut script = Script::new();
    script.good(2).await;
    let again = script.commit(|commit| commit.version -= 1).await;
    assert_eq!(
        script.only(again).await,
        Fault::Version {
            expected: 3,
            found: 2
        }
    );
}

#[tokio::test]
async fn another_hash_or_a_changed_commit_is_found() {
    let mut script = Script::new();
    script.good(2).await;
    let other = script
        .commit(|commit| commit.previous = Bytes::from_static(&[9; 32]))
        .await;
    script.good(2).await;
    assert_eq!(script.only(other).await, Fault::Link);

    // The second commit was changed after the third had hashed it.
    let mut script = Script::new();
    script.good(1).await;
    let honest = script.next.encode_to_vec();
    script
        .commit(|commit| commit.actor = Bytes::from_static(b"other"))
        .await;
    script.next.previous = Bytes::copy_from_slice(&link(&honest));
    let third = script.commit(|_| {}).await;
    assert_eq!(script.only(third).await, Fault::Link);
}

#[tokio::test]
async fn a_first_commit_that_has_one_before_it_is_found() {
    let mut script = Script::new();
    let first = script
        .commit(|commit| commit.previous = Bytes::from_static(&[9; 32]))
        .await;
    assert_eq!(script.only(first).await, Fault::FirstHasPrevious);
    let mut script = Script::new();
    let first = script.commit(|commit| commit.base = 4).await;
    assert_eq!(
        script.only(first).await,
        Fault::Events {
            expected: 0,
            found: 4
        }
    );
}

#[tokio::test]
async fn a_wrong_count_of_events_is_found() {
    let mut script = Script::new();
    script.good(2).await;
    let miscounted = script.commit(|commit| commit.base += 1).await;
    assert_eq!(
        script.only(miscounted).await,
        Fault::Events {
            expected: 4,
            found: 5
        }
    );
}

#[tokio::test]
async fn a_commit_of_another_aggregate_is_found() {
    let mut script = Script::new();
    script.good(1).await;
    let strange = script
        .commit(|commit| commit.kind = "other".to_owned())
        .await;
    script.good(1).await;
    assert_eq!(script.only(strange).await, Fault::OtherAggregate);
}

#[tokio::test]
async fn bytes_that_are_no_commit_are_told_once_and_the_rest_is_still_checked() {
    for before in [0, 2] {
        let mut script = Script::new();
        script.good(before).await;
        let bytes = Bytes::from_static(&[0xff; 9]);
        script.next.previous = Bytes::copy_from_slice(&link(&bytes));
        script.next.version += 1;
        // The damaged commit had events too.
        script.next.base += 2;
        let garbage = script.bytes(bytes).await;
        script.good(2).await;
        assert_eq!(script.only(garbage).await, Fault::Unreadable);
        let unlinked = script.commit(|commit| commit.previous.clear()).await;
        let broken = script.report().await.broken;
        assert_eq!(broken.len(), 2);
        assert_eq!(
            (broken[1].position, broken[1].fault),
            (unlinked, Fault::Link)
        );
    }
}
