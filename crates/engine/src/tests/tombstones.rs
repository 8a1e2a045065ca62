//! Tombstones of episodic aggregates end after 30 days, those of lasting ones do not, and nothing else is touched: also
//! when a pass is cut off anywhere, when somebody holds the lease, and when a reader is behind.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hearth_backend_memory::Memory;
use hearth_conformance::{Fault, Faults, Faulty};
use hearth_kernel::{AggregateRef, Decider, Failure, Reason, Service};
use hearth_ports::{
    Clock, Expected, Family, Leases, Log, Position, Read, StoreError, Stream, Subject,
};
use tokio::sync::watch;

use super::jar::{Command, Jar, add, call, engine, engine_on, id, memory};
use crate::{
    Aggregate, CodecError, Commit, EPISODIC_TOMBSTONES, EncodedEvent, Engine, ExecuteError,
    Follower, Life, Outcome, Stored, Swept, Tombstones,
};

macro_rules! episodic {
    ($name:ident, $kind:literal, $like:ty) => {
        /// Like the lasting one, but thrown away some day.
        struct $name;

        impl Decider for $name {
            type State = <$like as Decider>::State;
            type Command = Command;
            type Event = <$like as Decider>::Event;
            type Facts = ();
            type Rejection = <$like as Decider>::Rejection;

            fn decide(
                state: &Self::State,
                command: &Command,
                facts: &(),
            ) -> Result<Vec<Self::Event>, Self::Rejection> {
                <$like>::decide(state, command, facts)
            }
            fn evolve(state: Self::State, event: &Self::Event) -> Self::State {
                <$like>::evolve(state, event)
            }
            fn invariant(state: &Self::State) -> Result<(), &'static str> {
                <$like>::invariant(state)
            }
        }

        impl Aggregate for $name {
            const SERVICE: Service = Service::Accounts;
            const KIND: &'static str = $kind;
            const STORED: Stored = <$like as Aggregate>::STORED;
            const LIFE: Life = Life::Episodic;
            const STATE_SCHEMA: u32 = 1;

            fn encode_event(event: &Self::Event) -> EncodedEvent {
                <$like>::encode_event(event)
            }
            fn decode_event(name: &str, major: u32, it: &[u8]) -> Result<Self::Event, CodecError> {
                <$like>::decode_event(name, major, it)
            }
            fn encode_state(state: &Self::State) -> Vec<u8> {
                <$like>::encode_state(state)
            }
            fn decode_state(schema: u32, bytes: &[u8]) -> Result<Self::State, CodecError> {
                <$like>::decode_state(schema, bytes)
            }
        }
    };
}

episodic!(Sack, "sack", Jar<true>);
episodic!(Pouch, "pouch", Jar<false>);

async fn fill<A: Aggregate<Command = Command, Facts = ()>>(
    engine: &Engine,
    n: u8,
    request: &str,
) -> Result<Outcome<A>, ExecuteError> {
    let call = call(engine, request);
    let filled = engine.execute::<A, _>(&call, id(n), &Command::Add(1), async |_| Ok(()));
    filled.await
}

fn sweeper(engine: &Engine, memory: &Memory) -> Tombstones {
    Tombstones::new(engine.clone(), Arc::clone(&memory.leases) as _)
        .of::<Sack>()
        .of::<Pouch>()
}

/// What lies in history and records: subject and whether it is a tombstone.
async fn stored(memory: &Memory) -> Vec<(String, bool)> {
    let mut all = Vec::new();
    for family in [Family::Evt, Family::Rec] {
        let stream = Stream::new(family, Service::Accounts);
        let page = memory.log.page(stream, Position::START, 10_000);
        for message in page.await.unwrap() {
            let tombstone = Commit::read(&message.bytes).is_ok_and(|it| it.is_tombstone());
            all.push((message.subject.tokens().to_owned(), tombstone));
        }
    }
    all.sort();
    all
}

fn reason<T: std::fmt::Debug>(outcome: Result<T, ExecuteError>) -> Reason {
    Failure::from(outcome.unwrap_err()).reason
}

/// Two of each kind, of which the first is purged.
async fn some(engine: &Engine) {
    for n in [1, 2] {
        fill::<Sack>(engine, n, "sack").await.unwrap();
        fill::<Pouch>(engine, n, "pouch").await.unwrap();
        add::<true>(engine, n, "jar", 1).await.unwrap();
        add::<false>(engine, n, "tin", 1).await.unwrap();
    }
    engine.purge::<Sack>(id(1)).await.unwrap();
    engine.purge::<Pouch>(id(1)).await.unwrap();
    engine.purge::<Jar<true>>(id(1)).await.unwrap();
    engine.purge::<Jar<false>>(id(1)).await.unwrap();
}

#[tokio::test]
async fn after_thirty_days_an_episodic_id_is_free_and_a_lasting_one_never() {
    let (memory, clock) = memory();
    let engine = engine(&memory);
    some(&engine).await;
    let all = stored(&memory).await;
    let sweeper = sweeper(&engine, &memory);

    clock.advance(EPISODIC_TOMBSTONES - Duration::from_secs(1));
    assert_eq!(sweeper.sweep().await.unwrap(), Swept::default());
    assert_eq!(stored(&memory).await, all, "nothing is due");
    assert_eq!(
        reason(fill::<Sack>(&engine, 1, "again").await),
        Reason::ERASED
    );
    assert_eq!(
        reason(fill::<Pouch>(&engine, 1, "again").await),
        Reason::ERASED
    );

    clock.advance(Duration::from_secs(1));
    assert_eq!(sweeper.sweep().await.unwrap().removed, 2);
    let ended = |(subject, tombstone): &(String, bool)| {
        *tombstone && (subject.starts_with("sack.") || subject.starts_with("pouch."))
    };
    let rest: Vec<_> = all.iter().filter(|it| !ended(it)).cloned().collect();
    assert_eq!(rest.len() + 2, all.len());
    assert_eq!(stored(&memory).await, rest, "and nothing else");
    assert_eq!(sweeper.sweep().await.unwrap().removed, 0);

    let anew = fill::<Sack>(&engine, 1, "anew").await.unwrap();
    assert_eq!((anew.version, anew.state.count), (1, 1));
    assert_eq!(fill::<Pouch>(&engine, 1, "anew").await.unwrap().version, 1);
    clock.advance(EPISODIC_TOMBSTONES * 100);
    sweeper.sweep().await.unwrap();
    assert_eq!(
        reason(add::<true>(&engine, 1, "anew", 1).await),
        Reason::ERASED
    );
    assert_eq!(
        reason(add::<false>(&engine, 1, "anew", 1).await),
        Reason::ERASED
    );
    let living = engine.load::<Sack>(id(2), Read::Leader).await.unwrap();
    assert!(living.exists());
}

#[tokio::test]
async fn a_pass_that_is_cut_off_anywhere_is_finished_by_the_next() {
    for calls in 0..14 {
        for fault in [Fault::Before, Fault::After] {
            let (memory, clock) = memory();
            some(&engine(&memory)).await;
            clock.advance(EPISODIC_TOMBSTONES);
            let now: Arc<dyn Clock> = Arc::clone(&memory.clock);
            let script = std::iter::repeat_n(Fault::None, calls).chain([fault]);
            let faults = Faults::script(now, script);
            let log = Arc::new(Faulty::new(Arc::clone(&memory.log), Arc::clone(&faults)));
            let broken = engine_on(&memory, log);
            let _ = sweeper(&broken, &memory).sweep().await;
            faults.calm();
            sweeper(&broken, &memory).sweep().await.unwrap();
            let left = stored(&memory).await;
            let tombstones: Vec<_> = left.iter().filter(|it| it.1).collect();
            assert_eq!(tombstones.len(), 2, "{calls} {fault:?}: the lasting ones");
            assert_eq!(left.len(), 6, "{calls} {fault:?}");
        }
    }
}

#[tokio::test]
async fn whoever_does_not_hold_the_lease_touches_nothing() {
    let (memory, clock) = memory();
    let engine = engine(&memory);
    some(&engine).await;
    clock.advance(EPISODIC_TOMBSTONES);
    let all = stored(&memory).await;
    let period = Duration::from_secs(30);
    let lease = memory
        .leases
        .acquire("accounts.tombstones.all", "another", period);
    let lease = lease.await.unwrap();
    let sweeper = sweeper(&engine, &memory);
    assert!(matches!(sweeper.sweep().await, Err(StoreError::Conflict)));
    assert_eq!(stored(&memory).await, all);
    memory.leases.release(&lease, "another").await.unwrap();
    assert_eq!(sweeper.sweep().await.unwrap().removed, 2);
}

#[tokio::test]
async fn a_tombstone_stays_until_every_follower_has_read_it() {
    let (memory, clock) = memory();
    let engine = engine(&memory);
    some(&engine).await;
    clock.advance(EPISODIC_TOMBSTONES);
    let evt = Stream::new(Family::Evt, Service::Accounts);
    let passed = watch::Sender::new(Position::START);
    let sweeper = sweeper(&engine, &memory).behind([Follower::new(evt, passed.subscribe())]);
    assert_eq!(sweeper.sweep().await.unwrap().removed, 1, "the record's");
    let head = memory.log.head(evt).await.unwrap().unwrap();
    passed.send_replace(head);
    assert_eq!(sweeper.sweep().await.unwrap().removed, 1);
}

#[tokio::test]
async fn one_pass_is_bounded_and_the_next_goes_on_behind_it() {
    let (memory, clock) = memory();
    let engine = engine(&memory);
    // What is no commit is somebody else's trouble, and none of the sweep's.
    for n in 0..5_000_u128 {
        let sack = AggregateRef::new(Service::Accounts, "sack", uuid::Uuid::from_u128(n));
        let subject = Subject::aggregate(Family::Evt, &sack);
        let bytes = Bytes::from_static(b"\xff\xff");
        let appended = memory.log.append(&subject, Expected::Subject(None), bytes);
        appended.await.unwrap();
    }
    fill::<Sack>(&engine, 0xff, "last").await.unwrap();
    engine.purge::<Sack>(id(0xff)).await.unwrap();
    clock.advance(EPISODIC_TOMBSTONES);
    let sweeper = sweeper(&engine, &memory);
    let first = Swept {
        seen: 4_096,
        removed: 0,
        more: true,
    };
    assert_eq!(sweeper.sweep().await.unwrap(), first);
    let second = Swept {
        seen: 905,
        removed: 1,
        more: false,
    };
    assert_eq!(sweeper.sweep().await.unwrap(), second);
    assert_eq!(sweeper.sweep().await.unwrap(), Swept::default());
}
