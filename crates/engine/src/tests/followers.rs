//! What follows the log: the relay through crashes, views through rebuilds, caches through silence, timers through time.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hearth_backend_memory::Memory;
use hearth_kernel::Service;
use hearth_ports::{Documents, Family, Log, Message, Position, Range, Stream, Table, Tasks};
use uuid::Uuid;

use super::jar::{add, engine, id, memory};
use crate::{
    Commit, CommitToken, ConsumeError, Consumer, FactCache, Fire, Parking, Projection, Publication,
    PublishedFacts, Publisher, Relay, RelayError, Rows, Stale, Stamp, Target, Timer, Timers, View,
    Watermarks,
};

/// Publishes two events and one fact per commit; the fact counts versions by folding its former value.
struct Loud;

#[async_trait]
impl Publisher for Loud {
    async fn publish(
        &self,
        commit: &Commit,
        facts: &PublishedFacts,
    ) -> Result<Vec<Publication>, RelayError> {
        let id = Uuid::from_slice(&commit.aggregate).unwrap();
        let version = u8::try_from(commit.version).unwrap();
        let former = facts.current("jar", id).await?;
        assert!(former.is_none_or(|fact| fact.last() <= Some(&version)));
        let event = |body: u8| Publication {
            target: Target::Event {
                name: "bean",
                major: 1,
                id,
            },
            body: vec![0x10, version, 0x18, body],
        };
        let fact = Publication {
            target: Target::Fact {
                kind: "jar",
                id,
                gone: commit.is_tombstone(),
            },
            body: vec![0x10, version],
        };
        Ok(vec![event(0), event(1), fact])
    }
}

fn relay(memory: &Memory) -> Relay {
    let log: Arc<dyn Log> = Arc::clone(&memory.log) as _;
    let parking = Parking::new(Arc::clone(&memory.documents) as _, "relay");
    Relay::new(
        Service::Accounts,
        log,
        Arc::clone(&memory.clock),
        parking,
        Arc::new(Loud),
    )
}

async fn all(memory: &Memory, family: Family) -> Vec<Message> {
    let stream = Stream::new(family, Service::Accounts);
    memory
        .log
        .page(stream, Position::START, 10_000)
        .await
        .unwrap()
}

fn places(messages: &[Message]) -> Vec<(Position, u32)> {
    let stamps = messages
        .iter()
        .map(|message| Stamp::read(&message.bytes).unwrap());
    stamps
        .map(|stamp| (stamp.position(), stamp.index))
        .collect()
}

/// Polls a relay a number of times and drops it: a crash between any two of its steps.
async fn run_for_polls(relay: &Relay, polls: usize) {
    let mut left = polls;
    let mut run = Box::pin(relay.run());
    std::future::poll_fn(|context| {
        if left == 0 {
            return std::task::Poll::Ready(());
        }
        left -= 1;
        context.waker().wake_by_ref();
        run.as_mut().poll(context).map(|outcome| outcome.unwrap())
    })
    .await;
}

#[tokio::test]
async fn a_relay_that_dies_anywhere_publishes_each_message_once_and_in_order() {
    for polls in 1..40 {
        let (memory, _) = memory();
        let engine = engine(&memory);
        let mut lives = 0;
        for n in 0..6 {
            add::<true>(&engine, 1 + n % 2, &n.to_string(), 1)
                .await
                .unwrap();
            run_for_polls(&relay(&memory), polls).await;
        }
        while *relay_at(&memory).await < 6 {
            lives += 1;
            run_for_polls(&relay(&memory), polls + lives).await;
        }
        let expected = |of: u32| (1..=6).flat_map(move |n| (0..of).map(move |i| (n, i)));
        let int: Vec<_> = places(&all(&memory, Family::Int).await);
        let seen: Vec<_> = int
            .iter()
            .map(|(evt, index)| (evt.sequence, *index))
            .collect();
        assert_eq!(seen, expected(2).collect::<Vec<_>>(), "{polls} polls");
        let state: Vec<_> = places(&all(&memory, Family::State).await);
        assert_eq!(state.len(), 2, "one value per fact");
    }
}

/// The last commit whose fact is published.
async fn relay_at(memory: &Memory) -> Box<u64> {
    let state = places(&all(memory, Family::State).await);
    let last = state.last().map_or(0, |(evt, _)| evt.sequence);
    let int = places(&all(memory, Family::Int).await)
        .last()
        .map_or(0, |(evt, index)| {
            if *index == 1 {
                evt.sequence
            } else {
                evt.sequence - 1
            }
        });
    Box::new(last.min(int))
}

#[tokio::test]
async fn two_relays_at_once_do_not_double() {
    let (memory, _) = memory();
    let engine = engine(&memory);
    let tasks = Tasks::new();
    for _ in 0..2 {
        let relay = Arc::new(relay(&memory));
        tasks.supervise("relay", move || {
            let relay = Arc::clone(&relay);
            async move { relay.run().await }
        });
    }
    for n in 0..30 {
        add::<true>(&engine, 1, &n.to_string(), 1).await.unwrap();
    }
    until(async || *relay_at(&memory).await == 30).await;
    assert_eq!(all(&memory, Family::Int).await.len(), 60);
    tasks.stop(Duration::from_secs(5)).await;
}

async fn until(condition: impl AsyncFn() -> bool) {
    let wait = async {
        while !condition().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait)
        .await
        .expect("the condition never held");
}

/// One row per jar: its last version.
struct Versions;

#[async_trait]
impl Projection for Versions {
    const TABLE: Table = Table("accounts_test_versions");

    fn sources(&self) -> Vec<Stream> {
        vec![Stream::new(Family::Evt, Service::Accounts)]
    }

    async fn project(&self, message: &Message, rows: &Rows<'_>) -> Result<(), ConsumeError> {
        let commit = Commit::read(&message.bytes)?;
        if commit.version == 13 {
            return Err(ConsumeError::Poison(Arc::new(std::io::Error::other(
                "unlucky",
            ))));
        }
        let version = commit.version.to_be_bytes().to_vec();
        Ok(rows.put(b"all", &commit.aggregate, version).await?)
    }
}

async fn rows<P: Projection>(view: &View<P>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let rows = view.range(b"all", Range::all(100)).await.unwrap();
    rows.into_iter()
        .map(|row| (row.key, row.value.to_vec()))
        .collect()
}

#[tokio::test]
async fn a_view_survives_restarts_and_equals_its_rebuild() {
    let (memory, _) = memory();
    let engine = engine(&memory);
    let log: Arc<dyn Log> = Arc::clone(&memory.log) as _;
    let documents: Arc<dyn Documents> = Arc::clone(&memory.documents) as _;
    let evt = Stream::new(Family::Evt, Service::Accounts);
    let mut last = None;
    for n in 0..10u8 {
        last = add::<true>(&engine, n % 3, &n.to_string(), 1)
            .await
            .unwrap()
            .position;
        let view = View::open(Versions, Arc::clone(&log), Arc::clone(&documents))
            .await
            .unwrap();
        let watermarks = Watermarks::new(Arc::clone(&log));
        let consumer = Consumer::new(view, Arc::clone(&log), Arc::clone(&documents), watermarks);
        let token = CommitToken {
            service: Service::Accounts,
            position: last.unwrap(),
        };
        tokio::select! {
            _ = consumer.run() => panic!("it ends only when the log does"),
            () = consumer.reached(token) => {}
        }
    }
    let view = View::open(Versions, Arc::clone(&log), Arc::clone(&documents))
        .await
        .unwrap();
    let before = rows(&view).await;
    assert_eq!(before.len(), 3);
    let all = crate::Rebuild::rows(&*view).await.unwrap();
    view.rebuild().await.unwrap();
    assert_eq!(crate::Rebuild::rows(&*view).await.unwrap(), all);
    assert_eq!((view.version(), rows(&view).await), (1, before.clone()));
    let reopened = View::open(Versions, Arc::clone(&log), Arc::clone(&documents))
        .await
        .unwrap();
    assert_eq!((reopened.version(), rows(&reopened).await), (1, before));
    assert_eq!(
        documents
            .partitions(Versions::TABLE, None, 10)
            .await
            .unwrap()
            .len(),
        1
    );
    assert!(last.is_some() && log.head(evt).await.unwrap() == last);
}

#[tokio::test]
async fn a_poison_message_parks_its_aggregate_and_the_rest_goes_on() {
    let (memory, _) = memory();
    let engine = engine(&memory);
    for n in 0..15 {
        add::<true>(&engine, 1, &n.to_string(), 1).await.unwrap();
    }
    let position = add::<true>(&engine, 2, "other", 1)
        .await
        .unwrap()
        .position
        .unwrap();
    let log: Arc<dyn Log> = Arc::clone(&memory.log) as _;
    let documents: Arc<dyn Documents> = Arc::clone(&memory.documents) as _;
    let view = View::open(Versions, Arc::clone(&log), Arc::clone(&documents))
        .await
        .unwrap();
    let watermarks = Watermarks::new(Arc::clone(&log));
    let consumer = Consumer::new(Arc::clone(&view), log, documents, watermarks);
    tokio::select! {
        _ = consumer.run() => panic!("it ends only when the log does"),
        () = consumer.reached(CommitToken { service: Service::Accounts, position }) => {}
    }
    let versions: Vec<u8> = rows(&view)
        .await
        .into_iter()
        .map(|(_, value)| value[7])
        .collect();
    assert_eq!(
        versions,
        [12, 1],
        "parked at 12; the other aggregate is there"
    );
}

#[tokio::test]
async fn a_cache_answers_while_it_hears_watermarks_and_not_a_moment_longer() {
    let (memory, clock) = memory();
    let engine = engine(&memory);
    let tasks = Tasks::new();
    let log: Arc<dyn Log> = Arc::clone(&memory.log) as _;
    let watermarks = Watermarks::new(Arc::clone(&log));
    let listening = watermarks.clone();
    tasks.spawn("watermarks", async move {
        let _ = listening.listen(Service::Accounts).await;
    });
    let cache = FactCache::new(
        Service::Accounts,
        log,
        Arc::clone(&memory.clock),
        watermarks,
        100,
    );
    let following = cache.clone();
    tasks.spawn("cache", async move {
        let _ = following.run().await;
    });
    assert_eq!(
        cache.get("jar", id(1)).await,
        Err(Stale),
        "nothing was heard yet"
    );
    let relaying = tasks.child();
    let relay = relay(&memory);
    relaying.spawn("relay", async move {
        let _ = relay.run().await;
    });
    let position = add::<true>(&engine, 1, "r1", 1)
        .await
        .unwrap()
        .position
        .unwrap();
    cache
        .reached(CommitToken {
            service: Service::Accounts,
            position,
        })
        .await;
    assert!(cache.get("jar", id(1)).await.unwrap().is_some());
    assert_eq!(
        cache.get("jar", id(2)).await,
        Ok(None),
        "absent is known to be absent"
    );
    relaying.stop(Duration::from_secs(5)).await;
    clock.advance(Duration::from_secs(11));
    assert_eq!(
        cache.get("jar", id(1)).await,
        Err(Stale),
        "never an old yes"
    );
    assert_eq!(
        cache.get("jar", id(2)).await,
        Err(Stale),
        "never a false no"
    );
    tasks.stop(Duration::from_secs(5)).await;
}

struct Fired(tokio::sync::mpsc::UnboundedSender<Uuid>);

#[async_trait]
impl Fire for Fired {
    async fn fire(&self, timer: &Timer) -> Result<(), ConsumeError> {
        let _ = self.0.send(timer.id);
        Ok(())
    }
}

#[tokio::test]
async fn timers_fire_in_order_when_their_time_comes_and_are_gone_then() {
    let (memory, clock) = memory();
    let documents: Arc<dyn Documents> = Arc::clone(&memory.documents) as _;
    let timers = Timers::new(
        Service::Accounts,
        Arc::clone(&documents),
        Arc::clone(&memory.clock),
    );
    let start = memory.clock.now();
    let at = |hours: u64, n: u8| Timer {
        due: start.plus(Duration::from_secs(3600 * hours)),
        id: id(n),
        task: bytes::Bytes::new(),
    };
    let position = |sequence| Position {
        generation: 0,
        sequence,
    };
    timers.set(position(1), &at(2, 2)).await.unwrap();
    timers.set(position(2), &at(1, 1)).await.unwrap();
    timers.set(position(3), &at(3, 3)).await.unwrap();
    timers
        .cancel(position(4), at(3, 3).due, id(3))
        .await
        .unwrap();
    timers.set(position(3), &at(3, 3)).await.unwrap();
    let (sender, mut fired) = tokio::sync::mpsc::unbounded_channel();
    let tasks = Tasks::new();
    let running = timers.clone();
    tasks.spawn("timers", async move {
        let _ = running.run(&Fired(sender)).await;
    });
    clock.advance(Duration::from_secs(3600));
    assert_eq!(fired.recv().await, Some(id(1)));
    clock.advance(Duration::from_secs(4 * 3600));
    assert_eq!(fired.recv().await, Some(id(2)));
    let left = async || {
        documents
            .range(Table("engine_timers"), b"accounts", Range::all(10))
            .await
            .unwrap()
            .len()
    };
    until(async || left().await == 0).await;
    assert!(
        fired.try_recv().is_err(),
        "a cancelled timer stays cancelled"
    );
    tasks.stop(Duration::from_secs(5)).await;
}
