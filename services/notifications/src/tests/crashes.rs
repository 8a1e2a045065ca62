//! The rules' runner, killed at every step: episodes are those of a run without a crash, and each is told once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hearth_engine::{Aggregate, Commit, Consume, Engine, EngineOptions, Hasher, Held};
use hearth_kernel::{Capability, DeviceId, Service};
use hearth_ports::{
    Document, Documents, Family, Log, Message, Position, Range, StoreError, Stream, Table,
};
use proptest::prelude::*;
use uuid::Uuid;

use super::kit::{ANNA, CAMERA, HEATER, HOME, World, signed_in};
use crate::aggregates::Episode;
use crate::app::commands::{App, Request};
use crate::app::fanout::Fanout;
use crate::app::runner::{Runner, Signalled};
use hearth_notifications_domain::rules::Condition;

/// Documents whose next put may fail, before or after it was done.
struct Failing {
    inner: Arc<dyn Documents>,
    /// 0: none; 1: the next put fails; 2: it is done, and fails.
    next: AtomicU32,
}

#[async_trait]
impl Documents for Failing {
    async fn put(
        &self,
        table: Table,
        partition: &[u8],
        key: &[u8],
        stamp: i64,
        value: Bytes,
    ) -> Result<(), StoreError> {
        let next = self.next.swap(0, Ordering::SeqCst);
        if next == 1 {
            return Err(StoreError::retryable("told to fail"));
        }
        self.inner.put(table, partition, key, stamp, value).await?;
        if next == 2 {
            return Err(StoreError::unknown("told to fail"));
        }
        Ok(())
    }

    async fn delete(&self, t: Table, p: &[u8], k: &[u8], stamp: i64) -> Result<(), StoreError> {
        self.inner.delete(t, p, k, stamp).await
    }

    async fn get(&self, t: Table, p: &[u8], k: &[u8]) -> Result<Option<Document>, StoreError> {
        self.inner.get(t, p, k).await
    }

    async fn range(&self, t: Table, p: &[u8], range: Range) -> Result<Vec<Document>, StoreError> {
        self.inner.range(t, p, range).await
    }

    async fn drop_partition(&self, t: Table, p: &[u8], stamp: i64) -> Result<(), StoreError> {
        self.inner.drop_partition(t, p, stamp).await
    }

    async fn partitions(
        &self,
        table: Table,
        after: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        self.inner.partitions(table, after, limit).await
    }
}

struct Machine {
    world: World,
    failing: Arc<Failing>,
    runner: Signalled,
    /// How many there were: the fence.
    lives: u64,
    fanout: Fanout,
}

impl Machine {
    async fn new() -> Self {
        let world = World::new();
        let failing = Arc::new(Failing {
            inner: Arc::clone(&world.memory.documents) as _,
            next: AtomicU32::new(0),
        });
        let (runner, fanout) = born(&world, &failing);
        let app = App {
            engine: fanout.engine.clone(),
            facts: Arc::clone(&fanout.facts),
        };
        let conditions = [
            Condition::HeatingLeftOn {
                devices: [].into(),
                areas: [].into(),
                after: Duration::from_secs(120),
                nobody_present: false,
            },
            Condition::MotionWhileArmed {
                areas: [].into(),
                cooldown: Duration::from_secs(60),
            },
        ];
        let anna = signed_in(ANNA);
        let request = |rpc, n: usize| Request {
            rpc,
            request_id: format!("request-{n:016}"),
            content: Vec::new(),
        };
        for (n, condition) in conditions.into_iter().enumerate() {
            let request = request("PutRule", n);
            let put = app.put_rule(&anna, &request, HOME, None, true, condition);
            put.await.expect("put");
        }
        app.arm(&anna, &request("ArmHome", 9), HOME, [].into())
            .await
            .expect("armed");
        let life = Self {
            world,
            failing,
            runner,
            fanout,
            lives: 1,
        };
        life.begin().await;
        life
    }

    /// Another life of the process: nothing of the memory of the one before.
    async fn crash(&mut self) {
        (self.runner, self.fanout) = born(&self.world, &self.failing);
        self.lives += 1;
        self.begin().await;
    }

    /// The lease is this life's.
    async fn begin(&self) {
        let begun = self.runner.begin(&Held::new(self.lives)).await;
        begun.expect("begun");
    }

    async fn messages(&self, stream: Stream) -> Vec<Message> {
        self.world
            .memory
            .log
            .page(stream, Position::START, 10_000)
            .await
            .expect("a page")
    }

    /// Takes in the last frame, crashing on the way as told, until it is done.
    async fn take_in(&mut self, message: &Message, crash: u8) {
        let how = u32::from(crash % 3);
        self.failing.next.store(how, Ordering::SeqCst);
        if self.runner.handle(message).await.is_err() {
            self.crash().await;
        }
        self.failing.next.store(0, Ordering::SeqCst);
        if crash > 2 {
            // The mark was not moved before the crash: the same frame again.
            self.crash().await;
        }
        self.runner.handle(message).await.expect("handled");
    }

    /// Each episode's events, by id.
    async fn episodes(&self) -> BTreeMap<Uuid, Vec<String>> {
        let mut found: BTreeMap<Uuid, Vec<String>> = BTreeMap::new();
        for message in self
            .messages(Stream::new(Family::Evt, Service::Notifications))
            .await
        {
            let commit = Commit::read(&message.bytes).expect("a commit");
            if commit.kind == Episode::KIND {
                let id = Uuid::from_slice(&commit.aggregate).expect("an id");
                let names = commit.events.into_iter().map(|event| event.name);
                found.entry(id).or_default().extend(names);
            }
        }
        found
    }

    /// Notices, after every episode was fanned out twice.
    async fn notices(&self) -> usize {
        let stream = Stream::new(Family::Evt, Service::Notifications);
        for _ in 0..2 {
            for message in self.messages(stream).await {
                self.fanout.handle(&message).await.expect("fanned out");
            }
        }
        let messages = self.messages(stream).await;
        let made = |message: &&Message| {
            let commit = Commit::read(&message.bytes).expect("a commit");
            commit
                .events
                .iter()
                .any(|event| event.name == "notice_made")
        };
        messages.iter().filter(made).count()
    }
}

fn born(world: &World, failing: &Arc<Failing>) -> (Signalled, Fanout) {
    let engine = Engine::new(EngineOptions {
        service: Service::Notifications,
        log: Arc::clone(&world.memory.log) as _,
        documents: Arc::clone(failing) as _,
        sealing: Arc::clone(&world.sealing) as _,
        clock: Arc::new(world.clock.clone()),
        hasher: Hasher::new(b"the same for ever"),
        cache: 100,
    });
    let facts: Arc<dyn crate::app::facts::Facts> = Arc::clone(&world.facts) as _;
    let runner = Arc::new(Runner::new(engine.clone(), Arc::clone(&facts)));
    (Signalled(runner), Fanout { engine, facts })
}

#[tokio::test]
async fn what_a_former_holder_puts_late_changes_no_watch() {
    let mut machine = Machine::new().await;
    for second in 1..=6 {
        let frame =
            machine
                .world
                .frame(&[(HEATER, Capability::HEATING_ON, second % 2 == 1, second)]);
        machine.world.append(frame).await;
    }
    let frames = machine.messages(Stream::TELEMETRY).await;
    for frame in &frames[..3] {
        machine.runner.handle(frame).await.expect("handled");
    }
    let (former, _) = born(&machine.world, &machine.failing);
    former
        .begin(&Held::new(machine.lives))
        .await
        .expect("begun");
    // It has read what is stored, and is paused; another one holds the lease, and comes further.
    former.handle(&frames[3]).await.expect("handled");
    machine.crash().await;
    for frame in &frames[3..] {
        machine.runner.handle(frame).await.expect("handled");
    }
    let rows = async || {
        let mut rows = Vec::new();
        for shard in 0..64 {
            let partition = [shard];
            let page = machine.world.memory.documents.range(
                Table("notifications_watches"),
                &partition,
                Range::all(9),
            );
            rows.extend(page.await.expect("rows"));
        }
        rows
    };
    let newer = rows().await;
    assert_eq!(newer.len(), 1);
    for frame in frames.iter().skip(1).rev() {
        former.handle(frame).await.expect("it does not know");
    }
    assert_eq!(rows().await, newer);
}

type Step = (DeviceId, Capability, bool, u64);

async fn run(steps: &[Step], crashes: &[u8]) -> (BTreeMap<Uuid, Vec<String>>, usize) {
    let mut machine = Machine::new().await;
    for (index, step) in steps.iter().enumerate() {
        let frame = machine.world.frame(&[*step]);
        machine.world.append(frame).await;
        let frames = machine.messages(Stream::TELEMETRY).await;
        let last = frames.last().expect("a frame");
        let crash = crashes.get(index).copied().unwrap_or(0);
        machine.take_in(last, crash).await;
        if crash > 4 {
            // An old frame once more, as after a mark that was lost.
            machine.take_in(&frames[0], 0).await;
        }
    }
    (machine.episodes().await, machine.notices().await)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn a_crash_at_any_step_changes_nothing_that_is_told(
        steps in prop::collection::vec((any::<bool>(), any::<bool>(), 1u64..100), 1..25),
        crashes in prop::collection::vec(0u8..6, 25),
    ) {
        let mut second = 0;
        let steps: Vec<Step> = steps.into_iter().map(|(heater, on, gap)| {
            second += gap;
            let (device, what) = if heater {
                (HEATER, Capability::HEATING_ON)
            } else {
                (CAMERA, Capability::MOTION)
            };
            (device, what, on, second)
        }).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let (clean, crashed) = runtime.expect("a runtime").block_on(async {
            (run(&steps, &[]).await, run(&steps, &crashes).await)
        });
        prop_assert_eq!(&clean.0, &crashed.0);
        prop_assert_eq!(clean.1, crashed.1);
        for events in clean.0.values() {
            prop_assert!(events.len() <= 2 && events[0] == "episode_began", "{events:?}");
        }
    }
}
