//! What an adversary tries: storms of faults, callers that go away, relays and timers that are kept busy, rebuilds
//! that are cut off, clocks that are set back.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use hearth_backend_memory::{Memory, MemoryLog};
use hearth_conformance::{Faults, Faulty, Random, Rates, SimulatedClock};
use hearth_kernel::{Failure, Reason, Service};
use hearth_ports::{
    Announcement, Clock, Documents, Expected, Family, Log, Message, Position, Purge, Range, Read,
    Removed, StoreError, Stream, Subject, Table, Tasks, Topic,
};
use uuid::Uuid;

use super::jar::{Jar, add, engine, engine_on, id, memory};
use crate::watermark::{Watermark, announce};
use crate::{
    Commit, Consume, ConsumeError, Engine, FactCache, Fire, Held, Parking, Projection, Publication,
    PublishedFacts, Publisher, Rebuild, Relay, RelayError, Rows, Stale, Stamp, Target, Timer,
    Timers, View, Watermarks,
};

/// Polls a future that often and drops it.
async fn poll_and_drop(future: impl Future, polls: usize) {
    let (mut left, mut future) = (polls, Box::pin(future));
    std::future::poll_fn(|context| {
        if left == 0 {
            return std::task::Poll::Ready(());
        }
        left -= 1;
        context.waker().wake_by_ref();
        future.as_mut().poll(context).map(drop)
    })
    .await;
}

/// Whatever it takes, as a client does: the same request until it is answered.
async fn insist<const HISTORY: bool>(engine: &Engine, request: &str) {
    for _ in 0..1000 {
        match add::<HISTORY>(engine, 1, request, 1).await {
            Ok(_) => return,
            Err(error) => {
                let reason = Failure::from(error).reason;
                assert_ne!(reason, Reason::REQUEST_ID_REUSED);
                assert_ne!(reason, Reason::INTERNAL, "a fault is not a bug");
            }
        }
    }
    panic!("the request was never answered");
}

async fn in_a_storm<const HISTORY: bool>(seed: u64) {
    let (memory, _) = memory();
    let clock: Arc<dyn Clock> = Arc::new(SimulatedClock::new(memory.clock.now()));
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..3_u64 {
        // A process each, with weather of its own.
        let random = Random::seeded(seed * 10 + writer);
        let faults = Faults::seeded(Arc::clone(&clock), random, Rates::STORM);
        let engine = engine_on(
            &memory,
            Arc::new(Faulty::new(Arc::clone(&memory.log), faults)),
        );
        writers.spawn(async move {
            for n in 0..8 {
                insist::<HISTORY>(&engine, &format!("{writer}-{n}")).await;
            }
        });
    }
    writers.join_all().await;
    let loaded = engine(&memory)
        .load::<Jar<HISTORY>>(id(1), Read::Leader)
        .await
        .unwrap();
    assert_eq!(loaded.state.count, 24, "seed {seed}");
}

#[tokio::test]
async fn a_request_that_is_repeated_through_a_storm_is_once_in_effect() {
    for seed in 0..24 {
        in_a_storm::<true>(seed).await;
        in_a_storm::<false>(seed).await;
    }
}

/// A log that lets others run before and after each call: a caller can go away there.
struct Yielding(Arc<MemoryLog>);

#[async_trait]
impl Log for Yielding {
    async fn append(
        &self,
        subject: &Subject,
        expected: Expected,
        bytes: Bytes,
    ) -> Result<Position, StoreError> {
        tokio::task::yield_now().await;
        let done = self.0.append(subject, expected, bytes).await;
        tokio::task::yield_now().await;
        done
    }

    async fn load(
        &self,
        subject: &Subject,
        after: Option<Position>,
        limit: usize,
        read: Read,
    ) -> Result<Vec<Message>, StoreError> {
        tokio::task::yield_now().await;
        let loaded = self.0.load(subject, after, limit, read).await;
        tokio::task::yield_now().await;
        loaded
    }

    async fn last(&self, subject: &Subject, read: Read) -> Result<Option<Message>, StoreError> {
        tokio::task::yield_now().await;
        let last = self.0.last(subject, read).await;
        tokio::task::yield_now().await;
        last
    }

    async fn head(&self, stream: Stream) -> Result<Option<Position>, StoreError> {
        self.0.head(stream).await
    }

    async fn newest(&self, stream: Stream) -> Result<Option<Message>, StoreError> {
        self.0.newest(stream).await
    }

    async fn page(
        &self,
        stream: Stream,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        tokio::task::yield_now().await;
        self.0.page(stream, after, limit).await
    }

    fn tail(
        &self,
        stream: Stream,
        after: Position,
    ) -> BoxStream<'static, Result<Message, StoreError>> {
        self.0.tail(stream, after)
    }

    async fn purge(
        &self,
        subject: &Subject,
        through: Position,
        purge: Purge,
    ) -> Result<u64, StoreError> {
        self.0.purge(subject, through, purge).await
    }

    async fn remove(&self, subject: &Subject, position: Position) -> Result<Removed, StoreError> {
        self.0.remove(subject, position).await
    }

    async fn trim(&self, stream: Stream, before: Position) -> Result<(), StoreError> {
        self.0.trim(stream, before).await
    }

    async fn announce(&self, topic: &Topic, bytes: Bytes) -> Result<(), StoreError> {
        self.0.announce(topic, bytes).await
    }

    fn listen(&self, topic: &Topic) -> BoxStream<'static, Announcement> {
        self.0.listen(topic)
    }
}

async fn dropped_at<const HISTORY: bool>(polls: usize) {
    let (memory, _) = memory();
    let engine = engine_on(&memory, Arc::new(Yielding(Arc::clone(&memory.log))));
    for n in 0..4_u64 {
        let request = n.to_string();
        for again in 0..3 {
            poll_and_drop(add::<HISTORY>(&engine, 1, &request, 1), polls + again).await;
        }
        let done = add::<HISTORY>(&engine, 1, &request, 1).await.unwrap();
        assert_eq!(
            (done.version, done.state.count),
            (n + 1, n + 1),
            "{polls} polls"
        );
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_at_any_await_and_asks_again_is_answered_once() {
    for polls in 1..30 {
        dropped_at::<true>(polls).await;
        dropped_at::<false>(polls).await;
    }
}

#[tokio::test]
async fn a_request_that_arrives_again_while_it_is_under_way_gets_the_same_answer() {
    let (memory, _) = memory();
    let log: Arc<dyn Log> = Arc::new(Yielding(Arc::clone(&memory.log)));
    let engine = engine_on(&memory, log);
    for round in 0..20_u64 {
        let mut same = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let engine = engine.clone();
            same.spawn(async move { add::<true>(&engine, 1, &round.to_string(), 1).await });
        }
        let answers = same.join_all().await;
        let first = answers.iter().flatten().filter(|it| !it.repeated).count();
        assert_eq!(first, 1, "one of them did it");
        for answer in answers.into_iter().map(Result::unwrap) {
            assert_eq!((answer.version, answer.events.len()), (round + 1, 1));
        }
    }
}

#[tokio::test]
async fn a_process_that_missed_the_last_commits_learns_of_the_purge_as_erased() {
    let (memory, _) = memory();
    let (stale, busy) = (engine(&memory), engine(&memory));
    add::<true>(&stale, 1, "seen", 1).await.unwrap();
    for n in 0..3 {
        add::<true>(&busy, 1, &format!("missed-{n}"), 1)
            .await
            .unwrap();
    }
    busy.purge::<Jar<true>>(id(1)).await.unwrap();
    let late = add::<true>(&stale, 1, "late", 1).await.unwrap_err();
    assert_eq!(Failure::from(late).reason, Reason::ERASED);
    let loaded = stale.load::<Jar<true>>(id(1), Read::Leader).await.unwrap();
    assert!(loaded.gone && !loaded.exists());
}

/// Publishes an event and a fact per commit, and can keep its relay busy for ever.
#[derive(Default)]
struct Chatty {
    asked: AtomicU32,
    busy: Option<(Engine, hearth_ports::ManualClock)>,
}

#[async_trait]
impl Publisher for Chatty {
    async fn publish(
        &self,
        commit: &Commit,
        _: &PublishedFacts,
    ) -> Result<Vec<Publication>, RelayError> {
        let asked = self.asked.fetch_add(1, Ordering::SeqCst);
        if let Some((engine, clock)) = &self.busy {
            clock.advance(Duration::from_millis(100));
            add::<true>(engine, 1, &format!("more-{asked}"), 1)
                .await
                .unwrap();
            tokio::task::yield_now().await;
        }
        let id = Uuid::from_slice(&commit.aggregate).unwrap();
        let (name, kind) = ("bean", "jar");
        let event = Target::Event { name, major: 1, id };
        let fact = Target::Fact {
            kind,
            id,
            gone: false,
        };
        let body = || vec![0x10, 1];
        Ok(vec![
            Publication {
                target: event,
                body: body(),
            },
            Publication {
                target: fact,
                body: body(),
            },
        ])
    }
}

fn relay(memory: &Memory, publisher: &Arc<Chatty>) -> Relay {
    let parking = Parking::new(Arc::clone(&memory.documents) as _, "relay");
    Relay::new(
        Service::Accounts,
        Arc::clone(&memory.log) as _,
        Arc::clone(&memory.clock),
        parking,
        Arc::clone(publisher) as _,
    )
}

async fn events(memory: &Memory) -> Vec<(u64, u32)> {
    let int = Stream::new(Family::Int, Service::Accounts);
    let page = memory.log.page(int, Position::START, 1000).await.unwrap();
    let stamps = page.iter().map(|it| Stamp::read(&it.bytes).unwrap());
    stamps
        .map(|it| (it.position().sequence, it.index))
        .collect()
}

#[tokio::test]
async fn a_relay_whose_events_have_ended_resumes_without_a_marker_and_reads_no_history() {
    for polls in 1..30 {
        let (memory, _) = memory();
        let engine = engine(&memory);
        let publisher = Arc::new(Chatty::default());
        for n in 0..20 {
            add::<true>(&engine, 1 + n % 3, &n.to_string(), 1)
                .await
                .unwrap();
        }
        poll_and_drop(relay(&memory, &publisher).run(), 500).await;
        assert_eq!(events(&memory).await.len(), 20);
        let int = Stream::new(Family::Int, Service::Accounts);
        let head = memory.log.head(int).await.unwrap().unwrap();
        let behind = Position {
            sequence: head.sequence + 1,
            ..head
        };
        memory.log.trim(int, behind).await.unwrap();
        assert!(
            memory.log.newest(int).await.unwrap().is_none(),
            "INT is empty"
        );

        publisher.asked.store(0, Ordering::SeqCst);
        for n in 20..26 {
            add::<true>(&engine, 1 + n % 3, &n.to_string(), 1)
                .await
                .unwrap();
            // It dies anywhere, time and again.
            poll_and_drop(relay(&memory, &publisher).run(), polls).await;
        }
        poll_and_drop(relay(&memory, &publisher).run(), 500).await;
        let expected: Vec<_> = (21..=26).map(|n| (n, 0)).collect();
        assert_eq!(
            events(&memory).await,
            expected,
            "{polls} polls: each once, in order, none missing"
        );
        let asked = publisher.asked.load(Ordering::SeqCst);
        assert!(asked < 40, "history was read again: {asked}");
    }
}

#[tokio::test]
async fn a_relay_that_is_started_anew_all_the_time_writes_its_marker_all_the_same() {
    let (memory, clock) = memory();
    let engine = engine(&memory);
    let publisher = Arc::new(Chatty::default());
    for n in 0..8 {
        add::<true>(&engine, 1, &n.to_string(), 1).await.unwrap();
        poll_and_drop(relay(&memory, &publisher).run(), 200).await;
        clock.advance(Duration::from_secs(600));
    }
    let state = Stream::new(Family::State, Service::Accounts);
    let facts = memory.log.page(state, Position::START, 100).await.unwrap();
    let marker = facts.iter().find(|it| it.subject.kind() == "relay");
    assert!(marker.is_some(), "an hour has passed, in slices");
    assert_eq!(events(&memory).await.len(), 8);
}

#[tokio::test]
async fn a_relay_that_never_rests_announces_watermarks_all_the_same() {
    let (memory, clock) = memory();
    let writing = engine(&memory);
    add::<true>(&writing, 1, "first", 1).await.unwrap();
    let publisher = Arc::new(Chatty {
        asked: AtomicU32::new(0),
        busy: Some((writing, clock)),
    });
    let watermarks = Watermarks::new(Arc::clone(&memory.log) as _);
    let tasks = Tasks::new();
    let listening = watermarks.clone();
    tasks.spawn("watermarks", async move {
        let _ = listening.listen(Service::Accounts).await;
    });
    tokio::task::yield_now().await;
    let start = memory.clock.now();
    let relay = relay(&memory, &publisher);
    let heard = async {
        let mut newest = watermarks.newest(Service::Accounts);
        newest
            .wait_for(|mark| mark.at >= start.plus(Duration::from_secs(5)))
            .await
            .map(|mark| *mark)
    };
    // A jar holds a thousand beans, so the relay is busy for a hundred seconds of the clock, and not for ever.
    let outcome = tokio::time::timeout(Duration::from_secs(20), async {
        tokio::select! {
            _ = relay.run() => panic!("it ends only when the log does"),
            mark = heard => mark.unwrap(),
        }
    });
    let mark = outcome.await.expect("no watermark in all that time");
    assert!(
        mark.evt.sequence > 10 && mark.at <= memory.clock.now(),
        "{mark:?}"
    );
    tasks.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_clock_that_is_set_back_makes_a_cache_stale_and_not_deaf() {
    let (memory, clock) = memory();
    let log: Arc<dyn Log> = Arc::clone(&memory.log) as _;
    let watermarks = Watermarks::new(Arc::clone(&log));
    let cache = FactCache::new(
        Service::Accounts,
        Arc::clone(&log),
        Arc::clone(&memory.clock),
        watermarks.clone(),
        10,
    );
    let tasks = Tasks::new();
    let (listening, following) = (watermarks.clone(), cache.clone());
    tasks.spawn("watermarks", async move {
        let _ = listening.listen(Service::Accounts).await;
    });
    tasks.spawn("cache", async move {
        let _ = following.run().await;
    });
    tokio::task::yield_now().await;
    let say = async |at: hearth_kernel::Timestamp| {
        let mark = Watermark {
            source: Service::Accounts.name().to_owned(),
            at_micros: at.micros(),
            ..Watermark::default()
        };
        announce(&*log, Service::Accounts, &mark).await.unwrap();
        let mut newest = watermarks.newest(Service::Accounts);
        let heard = newest.wait_for(|mark| mark.at == at);
        drop(
            tokio::time::timeout(Duration::from_secs(20), heard)
                .await
                .expect("heard"),
        );
    };
    let now = memory.clock.now();
    say(now.plus(Duration::from_secs(3600))).await;
    assert_eq!(
        cache.get("jar", id(1)).await,
        Err(Stale),
        "a mark from before the clock was set back says nothing"
    );
    say(now).await;
    assert_eq!(cache.get("jar", id(1)).await, Ok(None));
    clock.advance(Duration::from_secs(11));
    assert!(!cache.is_fresh());
    tasks.stop(Duration::from_secs(5)).await;
}

/// Fails all timers but one.
struct Stuck(Uuid, tokio::sync::mpsc::UnboundedSender<()>);

#[async_trait]
impl Fire for Stuck {
    async fn fire(&self, timer: &Timer) -> Result<(), ConsumeError> {
        if timer.id != self.0 {
            return Err(StoreError::retryable("not now").into());
        }
        let _ = self.1.send(());
        Ok(())
    }
}

#[tokio::test]
async fn timers_that_cannot_be_done_keep_none_behind_them_waiting() {
    let (memory, clock) = memory();
    let documents: Arc<dyn Documents> = Arc::clone(&memory.documents) as _;
    let timers = Timers::new(Service::Accounts, documents, Arc::clone(&memory.clock));
    let good = Uuid::from_u128(u128::MAX);
    let start = memory.clock.now();
    for n in 0..600_u16 {
        let timer = Timer {
            // Some were due before they were set.
            due: start.minus(Duration::from_secs(u64::from(n))),
            id: Uuid::from_u128(u128::from(n)),
            task: Bytes::new(),
        };
        timers.set(Position::START, &timer).await.unwrap();
    }
    let timer = Timer {
        due: start.plus(Duration::from_secs(1)),
        id: good,
        task: Bytes::new(),
    };
    timers.set(Position::START, &timer).await.unwrap();
    let (sender, mut done) = tokio::sync::mpsc::unbounded_channel();
    let tasks = Tasks::new();
    tasks.spawn("timers", async move {
        let _ = timers.run(&Stuck(good, sender)).await;
    });
    clock.advance(Duration::from_secs(2));
    let fired = tokio::time::timeout(Duration::from_secs(20), done.recv()).await;
    assert_eq!(fired, Ok(Some(())), "256 others stood before it");
    tasks.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn forgetting_timers_walks_all_of_them_and_takes_those_that_are_named() {
    let (memory, _) = memory();
    let documents: Arc<dyn Documents> = Arc::clone(&memory.documents) as _;
    let timers = Timers::new(Service::Accounts, documents, Arc::clone(&memory.clock));
    let due = memory.clock.now().plus(Duration::from_secs(60));
    for n in 0..600_u16 {
        let timer = Timer {
            due,
            id: Uuid::from_u128(u128::from(n)),
            task: Bytes::copy_from_slice(&[u8::from(n % 3 == 0)]),
        };
        timers.set(Position::START, &timer).await.unwrap();
    }
    assert_eq!(timers.forget(|task| task == [1]).await.unwrap(), 200);
    assert_eq!(timers.forget(|task| task == [1]).await.unwrap(), 0);
    assert_eq!(timers.forget(|_| true).await.unwrap(), 400);
}

/// A partition per jar.
struct PerJar;

#[async_trait]
impl Projection for PerJar {
    const TABLE: Table = Table("accounts_test_jars");

    fn sources(&self) -> Vec<Stream> {
        vec![Stream::new(Family::Evt, Service::Accounts)]
    }

    async fn project(&self, message: &Message, rows: &Rows<'_>) -> Result<(), ConsumeError> {
        let commit = Commit::read(&message.bytes)?;
        tokio::task::yield_now().await;
        if commit.is_tombstone() {
            return Ok(rows.drop_partition(&commit.aggregate).await?);
        }
        let version = commit.version.to_be_bytes().to_vec();
        Ok(rows.put(&commit.aggregate, b"version", version).await?)
    }
}

async fn open(memory: &Memory) -> Arc<View<PerJar>> {
    let (log, documents) = (Arc::clone(&memory.log), Arc::clone(&memory.documents));
    View::open(PerJar, log as _, documents as _).await.unwrap()
}

#[tokio::test]
async fn a_rebuild_that_is_cut_off_anywhere_leaves_nothing_of_who_was_erased_since() {
    for polls in 1..40 {
        let (memory, _) = memory();
        let engine = engine(&memory);
        for n in 0..12 {
            add::<true>(&engine, 1 + n % 4, &n.to_string(), 1)
                .await
                .unwrap();
        }
        let view = open(&memory).await;
        view.rebuild().await.unwrap();
        poll_and_drop(view.rebuild(), polls).await;
        drop(view);

        // Whoever holds it next deletes what was left behind.
        let view = open(&memory).await;
        view.begin(&Held::new(1)).await.unwrap();
        engine.purge::<Jar<true>>(id(1)).await.unwrap();
        let evt = Stream::new(Family::Evt, Service::Accounts);
        let head = memory.log.head(evt).await.unwrap().unwrap();
        view.erase(id(1).as_bytes(), head).await.unwrap();
        let all = memory
            .documents
            .partitions(PerJar::TABLE, None, 100)
            .await
            .unwrap();
        let erased = all.iter().filter(|it| it.ends_with(id(1).as_bytes()));
        assert_eq!(erased.count(), 0, "{polls} polls");
        assert_eq!(all.len(), 3, "of the current version only");

        view.rebuild().await.unwrap();
        let rows = view.rows().await.unwrap();
        assert_eq!(rows.len(), 3, "what was swept does not hide what is new");
        assert_eq!(
            view.range(id(2).as_bytes(), Range::all(9))
                .await
                .unwrap()
                .len(),
            1
        );
    }
}

#[tokio::test]
async fn a_rebuild_that_is_under_way_does_not_bring_back_who_is_erased() {
    for polls in 1..60 {
        let (memory, _) = memory();
        let engine = engine(&memory);
        for n in 0..12 {
            add::<true>(&engine, 1 + n % 4, &n.to_string(), 1)
                .await
                .unwrap();
        }
        let view = open(&memory).await;
        view.rebuild().await.unwrap();
        let mut rebuild = Box::pin(view.rebuild());
        let mut left = polls;
        let ended = std::future::poll_fn(|context| {
            if left == 0 {
                return std::task::Poll::Ready(false);
            }
            left -= 1;
            context.waker().wake_by_ref();
            rebuild.as_mut().poll(context).map(|_| true)
        })
        .await;
        engine.purge::<Jar<true>>(id(1)).await.unwrap();
        let evt = Stream::new(Family::Evt, Service::Accounts);
        let head = memory.log.head(evt).await.unwrap().unwrap();
        view.erase(id(1).as_bytes(), head).await.unwrap();
        if !ended {
            rebuild.await.unwrap();
        }
        let rows = view.rows().await.unwrap();
        assert!(
            rows.iter()
                .all(|(partition, _, _)| partition != id(1).as_bytes()),
            "{polls} polls"
        );
        assert_eq!(rows.len(), 3);
    }
}
