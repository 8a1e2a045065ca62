//! Checkpoints on a log in memory: what they cover, through crashes, rivals, new keys and a forged head.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hearth_backend_memory::Memory;
use hearth_kernel::{AggregateRef, Owner, Purpose, Secret, Service, Timestamp};
use hearth_ports::sealing::ToOpen;
use hearth_ports::{
    Binding, Documents as _, Expected, Family, Log as _, ManualClock, Opened, Position, Purge,
    Read, SealError, Sealing, Subject, Tasks,
};
use prost::Message as _;
use uuid::Uuid;

use super::*;
use crate::envelope::{Commit, CommitKind, StoredEvent};
use crate::hashing::link;

const SERVICE: Service = Service::Accounts;

/// Gives secrets that differ by name and by what it holds, and nothing else.
pub(super) struct Secrets(u8);

#[async_trait]
impl Sealing for Secrets {
    async fn seal(&self, _: Owner, _: Purpose, _: &Binding, _: &[u8]) -> Result<Bytes, SealError> {
        Err(SealError::Denied)
    }

    async fn open(&self, _: Owner, _: Purpose, _: &Binding, _: &[u8]) -> Result<Opened, SealError> {
        Err(SealError::Denied)
    }

    async fn open_all(
        &self,
        _: Owner,
        _: Purpose,
        _: &[ToOpen<'_>],
    ) -> Result<Vec<Opened>, SealError> {
        Err(SealError::Denied)
    }

    async fn service_secret(&self, _: Purpose, name: &str) -> Result<Secret, SealError> {
        let hash = tree::sha256(&[&[self.0], name.as_bytes()]);
        Ok(Secret::new(hash.to_vec()))
    }
}

struct World {
    memory: Memory,
    clock: ManualClock,
}

impl World {
    fn new() -> Self {
        let clock = ManualClock::new(Timestamp::from_seconds(1_800_000_000));
        Self {
            memory: Memory::new(Arc::new(clock.clone())),
            clock,
        }
    }

    fn checkpoints(&self) -> Checkpoints {
        self.checkpoints_of(1)
    }

    fn checkpoints_of(&self, ring: u8) -> Checkpoints {
        let memory = &self.memory;
        Checkpoints::new(
            SERVICE,
            (
                Arc::clone(&memory.log) as _,
                Arc::clone(&memory.documents) as _,
            ),
            Arc::clone(&memory.leases) as _,
            Arc::new(Secrets(ring)),
            Arc::clone(&memory.clock),
        )
    }

    /// Appends the next commit of a thing.
    async fn commit(&self, thing: u128, what: CommitKind) -> Position {
        let reference = AggregateRef::new(SERVICE, "thing", Uuid::from_u128(thing));
        let subject = Subject::aggregate(Family::Evt, &reference);
        let last = self.memory.log.last(&subject, Read::Leader).await.unwrap();
        let before = last.as_ref().map(|it| Commit::read(&it.bytes).unwrap());
        let commit = Commit {
            service: u32::from(SERVICE.number()),
            kind: "thing".to_owned(),
            aggregate: Bytes::copy_from_slice(Uuid::from_u128(thing).as_bytes()),
            version: before.as_ref().map_or(0, |it| it.version) + 1,
            what: what.into(),
            decided_at: self.clock_micros(),
            events: vec![StoredEvent::default()],
            previous: last
                .as_ref()
                .map_or_else(Bytes::new, |it| Bytes::copy_from_slice(&link(&it.bytes))),
            ..Commit::default()
        };
        let expected = Expected::Subject(last.map(|it| it.position));
        let bytes = Bytes::from(commit.encode_to_vec());
        self.memory
            .log
            .append(&subject, expected, bytes)
            .await
            .unwrap()
    }

    fn clock_micros(&self) -> i64 {
        use hearth_ports::Clock as _;
        self.clock.now().micros()
    }

    async fn heads(&self) -> Vec<(Head, HeadBody)> {
        let stored = heads(&*self.memory.log, SERVICE, None).await.unwrap();
        let read = |bytes: &Bytes| {
            let head = Head::of(&Commit::read(bytes).unwrap()).unwrap();
            let body = head.read().unwrap();
            (head, body)
        };
        stored.iter().map(|it| read(&it.bytes)).collect()
    }

    async fn leaves(&self, body: &HeadBody) -> Vec<Leaf> {
        let root: Hash = body.root.as_ref().try_into().unwrap();
        let found = leaves(&*self.memory.documents, SERVICE, body.number, &root).await;
        found.unwrap().unwrap()
    }

    /// Every head is signed, linked to the one before and begins where it ends, and has the leaves of its root.
    async fn check(&self) -> Vec<HeadBody> {
        let mut previous: Option<(Head, HeadBody)> = None;
        let mut bodies = Vec::new();
        for (head, body) in self.heads().await {
            assert!(head.is_signed_by(&body.public_key));
            assert_eq!(
                body.number,
                previous.as_ref().map_or(1, |it| it.1.number + 1)
            );
            let (hash, through) = previous.as_ref().map_or_else(
                || {
                    (
                        Bytes::new(),
                        Bytes::copy_from_slice(&Position::START.to_bytes()),
                    )
                },
                |(head, body)| (Bytes::copy_from_slice(&head.hash()), body.through.clone()),
            );
            assert_eq!((&body.previous, &body.after), (&hash, &through));
            let leaves = self.leaves(&body).await;
            assert_eq!(body.leaves, u64::try_from(leaves.len()).unwrap());
            assert_eq!(body.root, Bytes::copy_from_slice(&root_of(&leaves)));
            bodies.push(body.clone());
            previous = Some((head, body));
        }
        bodies
    }
}

const HISTORY: CommitKind = CommitKind::Decision;

#[tokio::test]
async fn each_covers_what_changed_since_the_one_before_and_none_is_made_of_nothing() {
    let world = World::new();
    let checkpoints = world.checkpoints();
    assert_eq!(checkpoints.make().await.unwrap(), 0, "nothing happened");
    world.commit(1, HISTORY).await;
    world.commit(2, HISTORY).await;
    world.commit(1, HISTORY).await;
    assert_eq!(checkpoints.make().await.unwrap(), 1);
    assert_eq!(
        checkpoints.make().await.unwrap(),
        0,
        "its own head is no change"
    );
    world.commit(2, HISTORY).await;
    assert_eq!(checkpoints.make().await.unwrap(), 1);
    let bodies = world.check().await;
    let first = world.leaves(&bodies[0]).await;
    let mut versions: Vec<u64> = first.iter().map(|it| it.version).collect();
    versions.sort_unstable();
    assert_eq!(versions, [1, 2]);
    let second = world.leaves(&bodies[1]).await;
    assert_eq!((second.len(), second[0].version), (1, 2));
    let newest = checkpoints.newest().borrow().clone().unwrap();
    assert_eq!(newest.kept.number, 2);
    let noted = noted(&*world.memory.documents, SERVICE).await.unwrap();
    assert_eq!(noted, Some(newest.kept));
}

#[tokio::test]
async fn one_that_would_be_too_large_is_several() {
    let world = World::new();
    for thing in 0..10 {
        world.commit(thing, HISTORY).await;
    }
    assert_eq!(world.checkpoints().at_most(4).make().await.unwrap(), 3);
    let leaves: Vec<u64> = world.check().await.iter().map(|it| it.leaves).collect();
    assert_eq!(leaves, [4, 4, 2]);
}

#[tokio::test]
async fn leaves_fill_several_documents_each_within_the_bound() {
    let world = World::new();
    for thing in 0..1_000 {
        world.commit(thing, HISTORY).await;
    }
    world.checkpoints().make().await.unwrap();
    assert_eq!(world.check().await[0].leaves, 1_000);
    let partition = read::partition(SERVICE, 1);
    let all = hearth_ports::Range::all(100);
    let rows = world
        .memory
        .documents
        .range(TABLE, &partition, all)
        .await
        .unwrap();
    assert_eq!(rows.len(), 3);
    assert!(rows.iter().all(|row| row.value.len() < 65_536));
}

#[tokio::test]
async fn no_id_lies_in_the_documents() {
    let world = World::new();
    let thing = 0x1234_5678_9abc_def0_0fed_cba9_8765_4321;
    world.commit(thing, HISTORY).await;
    world.checkpoints().make().await.unwrap();
    let (id, text) = (
        thing.to_be_bytes(),
        Uuid::from_u128(thing).as_simple().to_string(),
    );
    let all = || hearth_ports::Range::all(100);
    for partition in world
        .memory
        .documents
        .partitions(TABLE, None, 100)
        .await
        .unwrap()
    {
        for row in world
            .memory
            .documents
            .range(TABLE, &partition, all())
            .await
            .unwrap()
        {
            for bytes in [&partition[..], &row.key[..], &row.value[..]] {
                assert!(!bytes.windows(16).any(|it| it == id));
                assert!(!bytes.windows(32).any(|it| it == text.as_bytes()));
            }
        }
    }
}

#[tokio::test]
async fn a_crash_between_the_leaves_and_the_head_leaves_nothing_that_contradicts_it() {
    let world = World::new();
    world.commit(1, HISTORY).await;
    // What a try left that never came to its head: leaves under the same number, of another root.
    let stray = read::page_key(&[0xab; 32], 0);
    let partition = read::partition(SERVICE, 1);
    let (documents, junk) = (&world.memory.documents, Bytes::from_static(b"\xff"));
    documents
        .put(TABLE, &partition, &stray, 1, junk)
        .await
        .unwrap();
    world.commit(2, HISTORY).await;
    assert_eq!(world.checkpoints().make().await.unwrap(), 1);
    assert_eq!(world.check().await[0].leaves, 2);
    let stray = documents.get(TABLE, &partition, &stray).await.unwrap();
    assert_eq!(stray, None, "and it is gone");
}

#[tokio::test]
async fn a_crash_between_the_head_and_its_note_is_made_up_for() {
    let world = World::new();
    world.commit(1, HISTORY).await;
    world.checkpoints().make().await.unwrap();
    // As if the documents had heard nothing.
    let other = World::new();
    let again = Checkpoints::new(
        SERVICE,
        (
            Arc::clone(&world.memory.log) as _,
            Arc::clone(&other.memory.documents) as _,
        ),
        Arc::clone(&world.memory.leases) as _,
        Arc::new(Secrets(1)),
        Arc::clone(&world.memory.clock),
    );
    assert_eq!(again.make().await.unwrap(), 0);
    let kept = again.newest().borrow().clone().unwrap().kept;
    assert_eq!(kept.number, 1);
    let noted = noted(&*other.memory.documents, SERVICE).await.unwrap();
    assert_eq!(noted, Some(kept));
}

#[tokio::test]
async fn of_two_processes_one_makes_it() {
    let world = World::new();
    world.commit(1, HISTORY).await;
    let (one, other) = (world.checkpoints(), world.checkpoints());
    let (a, b) = tokio::join!(one.make(), other.make());
    assert!(a.unwrap() + b.unwrap() <= 2);
    assert_eq!(world.check().await.len(), 1);
}

#[tokio::test]
async fn a_new_year_brings_a_new_key_that_continues_the_chain() {
    let world = World::new();
    let checkpoints = world.checkpoints();
    for _ in 0..3 {
        world.commit(1, HISTORY).await;
        checkpoints.make().await.unwrap();
        world.clock.advance(Duration::from_secs(366 * 86_400));
    }
    let bodies = world.check().await;
    let secrets = Secrets(1);
    let mut numbers = Vec::new();
    for ((head, body), checked) in world.heads().await.iter().zip(&bodies) {
        let name = key_name(body.key_number);
        let secret = secrets
            .service_secret(Purpose::Signing, &name)
            .await
            .unwrap();
        let public = public_key(&key_pair(secret.expose()).unwrap());
        assert!(head.is_signed_by(&public) && body.public_key == public);
        assert!(!checked.after_a_break);
        assert_eq!(body.key_number, key_number(Timestamp::from_micros(body.at)));
        numbers.push(body.key_number);
    }
    numbers.dedup();
    assert_eq!(numbers.len(), 3);
}

#[tokio::test]
async fn a_head_that_another_key_signed_is_not_extended_as_if_it_were_right() {
    let world = World::new();
    world.commit(1, HISTORY).await;
    world.checkpoints_of(2).make().await.unwrap();
    world.commit(2, HISTORY).await;
    world.checkpoints_of(1).make().await.unwrap();
    let heads = world.heads().await;
    assert_eq!(
        (heads[1].1.number, heads[1].1.leaves),
        (2, 2),
        "all is covered anew"
    );
    assert!(heads[1].1.after_a_break && !heads[0].1.after_a_break);
    world.commit(2, HISTORY).await;
    world.checkpoints_of(1).make().await.unwrap();
    assert!(!world.heads().await[2].1.after_a_break);
}

#[tokio::test]
async fn a_purged_one_is_a_tombstone_in_the_next() {
    let world = World::new();
    let checkpoints = world.checkpoints();
    world.commit(1, HISTORY).await;
    checkpoints.make().await.unwrap();
    let position = world.commit(1, CommitKind::Tombstone).await;
    let reference = AggregateRef::new(SERVICE, "thing", Uuid::from_u128(1));
    let subject = Subject::aggregate(Family::Evt, &reference);
    world
        .memory
        .log
        .purge(&subject, position, Purge::KeepLast)
        .await
        .unwrap();
    checkpoints.make().await.unwrap();
    let bodies = world.check().await;
    let leaf = &world.leaves(&bodies[1]).await[0];
    assert_eq!((leaf.version, leaf.ended_at), (2, world.clock_micros()));
}

#[tokio::test]
async fn the_last_one_is_made_when_the_service_stops() {
    let world = World::new();
    let (checkpoints, tasks) = (Arc::new(world.checkpoints()), Tasks::new());
    checkpoints.start(&tasks);
    world.commit(1, HISTORY).await;
    assert!(tasks.stop(Duration::from_secs(10)).await);
    assert_eq!(world.check().await.len(), 1);
}

#[tokio::test]
async fn it_is_made_hourly() {
    let world = World::new();
    let (checkpoints, tasks) = (Arc::new(world.checkpoints()), Tasks::new());
    let mut newest = checkpoints.newest();
    checkpoints.start(&tasks);
    for number in 1..=3 {
        world.commit(1, HISTORY).await;
        let made = newest.wait_for(|it| it.as_ref().is_some_and(|it| it.kept.number == number));
        tokio::pin!(made);
        loop {
            tokio::select! {
                made = &mut made => break drop(made.unwrap()),
                () = tokio::task::yield_now() => world.clock.advance(Duration::from_secs(3_600)),
            }
        }
    }
    tasks.stop(Duration::from_secs(10)).await;
    world.check().await;
}

#[test]
fn the_short_form_is_found_in_whatever_stands_around_it() {
    let kept = Kept {
        service: Service::Accounts,
        number: 12,
        hash: [0xa5; 32],
    };
    let other = Kept { number: 13, ..kept };
    assert_eq!(kept.to_string().parse(), Ok(kept));
    let text = format!(
        "2026-11-24T00:00:00Z INFO checkpoint={kept} through=1:9\n{{\"checkpoint\":\"{other}\"}}\nmedia:x:12"
    );
    assert_eq!(Kept::all_in(&text), [kept, other]);
    let long = format!("{kept}0");
    for wrong in ["", "accounts:1", "nobody:1:00", long.as_str()] {
        assert_eq!(wrong.parse::<Kept>(), Err(NotKept), "{wrong}");
    }
}
