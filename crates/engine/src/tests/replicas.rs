//! Two replicas of a service on one store: one follows, the other stands by, and nothing of a former holder stays.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hearth_backend_memory::Memory;
use hearth_kernel::Service;
use hearth_ports::{
    Document, Documents, Family, Leases, Log, ManualClock, Message, Position, Range, StoreError,
    Stream, Table, Tasks,
};

use super::jar::{add, engine, id, memory};
use crate::consumer::CHECKPOINTS;
use crate::holding::{PERIOD, fence_of};
use crate::{
    Commit, CommitToken, Consume, ConsumeError, Consumer, Engine, Held, Holder, Projection,
    Rebuild, Rows, View, Watermarks,
};

const EVT: Stream = Stream::new(Family::Evt, Service::Accounts);

/// Counts how often each jar's commits were handled, and by which replica.
struct Counting {
    replica: u32,
    handled: Arc<Mutex<BTreeMap<u64, Vec<u32>>>>,
    /// Waits here in the middle of a message.
    gate: Arc<tokio::sync::Semaphore>,
    entered: Arc<AtomicU32>,
}

#[async_trait]
impl Consume for Counting {
    fn name(&self) -> String {
        "accounts.counting".to_owned()
    }

    fn sources(&self) -> Vec<Stream> {
        vec![EVT]
    }

    async fn handle(&self, message: &Message) -> Result<(), ConsumeError> {
        self.entered.fetch_add(1, Ordering::SeqCst);
        let pass = self.gate.acquire().await.unwrap();
        pass.forget();
        let mut handled = self.handled.lock().unwrap();
        let by = handled.entry(message.position.sequence).or_default();
        by.push(self.replica);
        Ok(())
    }
}

/// What replicas share.
struct World {
    memory: Memory,
    clock: ManualClock,
    engine: Engine,
    handled: Arc<Mutex<BTreeMap<u64, Vec<u32>>>>,
}

/// A process.
struct Replica {
    tasks: Tasks,
    holder: Holder,
    counting: Arc<Consumer<Counting>>,
    gate: Arc<tokio::sync::Semaphore>,
    entered: Arc<AtomicU32>,
}

impl World {
    fn new() -> Self {
        let (memory, clock) = memory();
        let engine = engine(&memory);
        Self {
            memory,
            clock,
            engine,
            handled: Arc::default(),
        }
    }

    fn holder(&self, tasks: &Tasks) -> Holder {
        let leases: Arc<dyn Leases> = Arc::clone(&self.memory.leases) as _;
        Holder::new(leases, Arc::clone(&self.memory.clock), tasks.clone())
    }

    fn replica(&self, replica: u32, passes: usize) -> Replica {
        let gate = Arc::new(tokio::sync::Semaphore::new(passes));
        let entered = Arc::new(AtomicU32::new(0));
        let counting = Counting {
            replica,
            handled: Arc::clone(&self.handled),
            gate: Arc::clone(&gate),
            entered: Arc::clone(&entered),
        };
        let tasks = Tasks::new();
        let replica = Replica {
            holder: self.holder(&tasks),
            counting: Arc::new(self.consumer(counting)),
            tasks,
            gate,
            entered,
        };
        run(&replica.tasks, &replica.holder, &replica.counting);
        replica
    }

    fn consumer<C: Consume>(&self, handler: C) -> Consumer<C> {
        let log: Arc<dyn Log> = Arc::clone(&self.memory.log) as _;
        let watermarks = Watermarks::new(Arc::clone(&log));
        Consumer::new(
            handler,
            log,
            Arc::clone(&self.memory.documents) as _,
            watermarks,
        )
    }

    async fn add(&self, jar: u8, request: &str) -> CommitToken {
        let done = add::<true>(&self.engine, jar, request, 1).await.unwrap();
        token(done.position.unwrap())
    }

    async fn adds(&self, from: u32, count: u32) -> CommitToken {
        let mut last = token(Position::START);
        for n in from..from + count {
            last = self.add(u8::try_from(n % 3).unwrap(), &n.to_string()).await;
        }
        last
    }

    fn handled_by(&self) -> Vec<Vec<u32>> {
        self.handled.lock().unwrap().values().cloned().collect()
    }

    async fn mark(&self) -> (Position, u64) {
        let name = EVT.name();
        let row = self
            .memory
            .documents
            .get(CHECKPOINTS, b"accounts.counting", name.as_bytes());
        row.await.unwrap().map_or((Position::START, 0), |row| {
            (
                Position::from_bytes(&row.value).unwrap(),
                fence_of(row.stamp),
            )
        })
    }
}

impl Replica {
    async fn reached(&self, token: CommitToken) {
        within(self.counting.reached(token)).await;
    }

    async fn drain(self) {
        assert!(self.tasks.stop(Duration::from_secs(5)).await);
    }
}

fn run<C: Consume>(tasks: &Tasks, holder: &Holder, consumer: &Arc<Consumer<C>>) {
    let (consumer, holder) = (Arc::clone(consumer), holder.clone());
    tasks.supervise("consumer", move || {
        let (consumer, holder) = (Arc::clone(&consumer), holder.clone());
        async move { consumer.hold(&holder).await }
    });
}

fn token(position: Position) -> CommitToken {
    CommitToken {
        service: Service::Accounts,
        position,
    }
}

async fn within<T>(wait: impl Future<Output = T>) -> T {
    let waited = tokio::time::timeout(Duration::from_secs(30), wait);
    waited.await.expect("it never happened")
}

async fn until(condition: impl AsyncFn() -> bool) {
    within(async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn one_of_two_handles_and_the_other_knows_how_far_it_has_come() {
    let world = World::new();
    let first = world.replica(1, 1000);
    until(async || first.holder.holds() == 1).await;
    let second = world.replica(2, 1000);
    let last = world.adds(0, 100).await;
    second.reached(last).await;
    first.reached(last).await;
    assert_eq!(world.handled_by(), vec![vec![1]; 100]);
    assert_eq!((first.holder.holds(), second.holder.holds()), (1, 0));

    // It drains: the other one goes on from the mark, though the clock stands.
    first.drain().await;
    let last = world.adds(100, 20).await;
    second.reached(last).await;
    let by = world.handled_by();
    assert_eq!(by.len(), 120);
    assert!(by[100..].iter().all(|by| *by == [2]));
    second.drain().await;
}

#[tokio::test]
async fn a_holder_that_is_killed_is_followed_from_its_mark_when_its_lease_ends() {
    let world = World::new();
    let first = world.replica(1, 1000);
    let last = world.adds(0, 70).await;
    first.reached(last).await;
    until(async || world.mark().await.0 == last.position).await;
    let (marked, fence) = world.mark().await;
    // Killed: nobody gives its lease up.
    let held = world.memory.leases.fork();
    first.drain().await;
    let world = World {
        memory: Memory {
            leases: Arc::new(held),
            ..world.memory
        },
        ..world
    };
    let second = world.replica(2, 1000);
    let last = world.adds(70, 10).await;
    until(async || world.mark().await.0 == marked).await;
    assert_eq!(world.handled_by().len(), 70, "the lease has not ended");
    world.clock.advance(PERIOD);
    second.reached(last).await;
    until(async || world.mark().await == (last.position, fence + 1)).await;
    assert!(world.handled_by()[..70].iter().all(|by| *by == [1]));
    second.drain().await;
}

#[tokio::test]
async fn a_holder_that_was_paused_cannot_take_back_what_another_has_marked() {
    let world = World::new();
    let first = world.replica(1, 10);
    world.adds(0, 10).await;
    let last = world.adds(10, 10).await;
    // In the middle of the eleventh message it stops being polled, and its lease ends.
    until(async || first.entered.load(Ordering::SeqCst) == 11).await;
    world.clock.advance(PERIOD);
    // The other one is quicker than what is left of the first.
    let lease = world
        .memory
        .leases
        .acquire("accounts.counting.all", "rival", PERIOD)
        .await
        .unwrap();
    assert_eq!(lease.fence, 2);
    let newer = Held::new(lease.fence);
    let name = EVT.name();
    let mark = last.position.to_bytes().to_vec();
    world
        .memory
        .documents
        .put(
            CHECKPOINTS,
            b"accounts.counting",
            name.as_bytes(),
            newer.stamp(1).unwrap(),
            mark.into(),
        )
        .await
        .unwrap();
    // What the first one had under way arrives now, many marks further.
    let former = Held::new(1);
    for write in 1..200 {
        let at = Position {
            generation: 0,
            sequence: write % 20,
        };
        let stamp = former.stamp(write).unwrap();
        world
            .memory
            .documents
            .put(
                CHECKPOINTS,
                b"accounts.counting",
                name.as_bytes(),
                stamp,
                at.to_bytes().to_vec().into(),
            )
            .await
            .unwrap();
    }
    first.gate.add_permits(1000);
    first.reached(last).await;
    assert_eq!(world.mark().await, (last.position, 2));
    world.memory.leases.release(&lease, "rival").await.unwrap();
    let last = world.adds(20, 1).await;
    first.reached(last).await;
    let handled: Vec<u64> = world.handled.lock().unwrap().keys().copied().collect();
    let expected: Vec<u64> = (1..=10).chain([21]).collect();
    assert_eq!(handled, expected, "it goes on where the other one was");
    first.drain().await;
}

#[tokio::test]
async fn a_standby_knows_what_was_handled_before_a_message_that_takes_long() {
    let world = World::new();
    let tenth = world.adds(0, 10).await;
    world.adds(10, 1).await;
    let first = world.replica(1, 10);
    // It stays in the eleventh: nothing else wakes it.
    until(async || first.entered.load(Ordering::SeqCst) == 11).await;
    let second = world.replica(2, 0);
    second.reached(tenth).await;
    assert_eq!(world.mark().await.0, tenth.position);
    first.drain().await;
    second.drain().await;
}

#[tokio::test]
async fn a_jump_of_the_clock_loses_no_progress() {
    let world = World::new();
    let first = world.replica(1, 1000);
    for week in 0..10 {
        let last = world.adds(week * 5, 5).await;
        first.reached(last).await;
        world.clock.advance(Duration::from_secs(7 * 86_400));
    }
    assert_eq!(
        world.handled_by(),
        vec![vec![1]; 50],
        "nothing was handled again"
    );
    first.drain().await;
}

/// One row per jar: its last version.
struct Versions;

#[async_trait]
impl Projection for Versions {
    const TABLE: Table = Table("accounts_replicated_versions");

    fn sources(&self) -> Vec<Stream> {
        vec![EVT]
    }

    async fn project(&self, message: &Message, rows: &Rows<'_>) -> Result<(), ConsumeError> {
        let commit = Commit::read(&message.bytes)?;
        let version = commit.version.to_be_bytes().to_vec();
        Ok(rows.put(b"all", &commit.aggregate, version).await?)
    }
}

type Viewing = (
    Tasks,
    Holder,
    Arc<View<Versions>>,
    Arc<Consumer<Arc<View<Versions>>>>,
);

async fn viewing(world: &World, documents: Arc<dyn Documents>) -> Viewing {
    let log: Arc<dyn Log> = Arc::clone(&world.memory.log) as _;
    let view = View::open(Versions, Arc::clone(&log), Arc::clone(&documents))
        .await
        .unwrap();
    let tasks = Tasks::new();
    let holder = world.holder(&tasks);
    let watermarks = Watermarks::new(Arc::clone(&log));
    let consumer = Arc::new(Consumer::new(Arc::clone(&view), log, documents, watermarks));
    run(&tasks, &holder, &consumer);
    (tasks, holder, view, consumer)
}

async fn values(view: &View<Versions>) -> Vec<u8> {
    let rows = view.range(b"all", Range::all(100)).await.unwrap();
    rows.iter().map(|row| row.value[7]).collect()
}

#[tokio::test]
async fn a_standby_reads_its_writes_through_swaps_and_does_not_rebuild() {
    let world = World::new();
    let documents: Arc<dyn Documents> = Arc::clone(&world.memory.documents) as _;
    let (tasks, holder, view, _consumer) = viewing(&world, Arc::clone(&documents)).await;
    until(async || holder.holds() == 1).await;
    let (other, _, standby, follows) = viewing(&world, documents).await;
    let last = world.adds(0, 9).await;
    within(follows.reached(last)).await;
    assert_eq!(values(&standby).await, [3, 3, 3]);
    for round in 1..=5_u8 {
        view.rebuild().await.unwrap();
        // The rows of the old version are gone, and the standby has not been told.
        assert_eq!(values(&standby).await, [2 + round; 3]);
        let row = standby.get(b"all", id(0).as_bytes()).await.unwrap();
        assert_eq!(row.unwrap().value[7], 2 + round);
        assert_eq!(standby.version(), u32::from(round));
        let last = world.adds(6 + u32::from(round) * 3, 3).await;
        within(follows.reached(last)).await;
        assert_eq!(values(&standby).await, [3 + round; 3], "read your writes");
    }
    assert_eq!(
        Rebuild::rows(&*standby).await.unwrap(),
        Rebuild::rows(&*view).await.unwrap()
    );
    assert!(tasks.stop(Duration::from_secs(5)).await);
    // Now it may, and writes where it reads.
    within(standby.rebuild()).await.unwrap();
    let last = world.adds(24, 3).await;
    within(follows.reached(last)).await;
    assert_eq!(values(&standby).await, [9, 9, 9]);
    assert!(other.stop(Duration::from_secs(5)).await);
}

/// Documents between any two calls of which somebody else may be quicker, and that may stop to take rows.
struct Yielding {
    inner: Arc<dyn Documents>,
    fails: AtomicBool,
}

impl Yielding {
    fn of(world: &World) -> Arc<Self> {
        Arc::new(Self {
            inner: Arc::clone(&world.memory.documents) as _,
            fails: AtomicBool::new(false),
        })
    }
}

#[async_trait]
impl Documents for Yielding {
    async fn put(
        &self,
        table: Table,
        partition: &[u8],
        key: &[u8],
        stamp: i64,
        value: Bytes,
    ) -> Result<(), StoreError> {
        tokio::task::yield_now().await;
        if table == Versions::TABLE && self.fails.load(Ordering::SeqCst) {
            return Err(StoreError::retryable("not now"));
        }
        self.inner.put(table, partition, key, stamp, value).await
    }

    async fn delete(
        &self,
        table: Table,
        partition: &[u8],
        key: &[u8],
        stamp: i64,
    ) -> Result<(), StoreError> {
        tokio::task::yield_now().await;
        self.inner.delete(table, partition, key, stamp).await
    }

    async fn get(
        &self,
        table: Table,
        partition: &[u8],
        key: &[u8],
    ) -> Result<Option<Document>, StoreError> {
        tokio::task::yield_now().await;
        self.inner.get(table, partition, key).await
    }

    async fn range(
        &self,
        table: Table,
        partition: &[u8],
        range: Range,
    ) -> Result<Vec<Document>, StoreError> {
        tokio::task::yield_now().await;
        self.inner.range(table, partition, range).await
    }

    async fn drop_partition(
        &self,
        table: Table,
        partition: &[u8],
        stamp: i64,
    ) -> Result<(), StoreError> {
        tokio::task::yield_now().await;
        self.inner.drop_partition(table, partition, stamp).await
    }

    async fn partitions(
        &self,
        table: Table,
        after: Option<Vec<u8>>,
        limit: usize,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        tokio::task::yield_now().await;
        self.inner.partitions(table, after, limit).await
    }
}

#[tokio::test]
async fn a_swap_that_crosses_a_change_of_holders_deletes_nothing_that_is_read() {
    // The newer holder comes between any two steps of the former one's rebuild.
    for polls in 1..80 {
        let world = World::new();
        let documents = Yielding::of(&world);
        let log: Arc<dyn Log> = Arc::clone(&world.memory.log) as _;
        world.adds(0, 9).await;
        let open = async || {
            View::open(Versions, Arc::clone(&log), Arc::clone(&documents) as _)
                .await
                .unwrap()
        };
        let (former, newer) = (open().await, open().await);
        former.begin(&Held::new(1)).await.unwrap();
        for message in world
            .memory
            .log
            .page(EVT, Position::START, 100)
            .await
            .unwrap()
        {
            former.handle(&message).await.unwrap();
        }
        let mut rebuild = Box::pin(former.rebuild());
        let ended = polled(rebuild.as_mut(), polls).await;
        newer.begin(&Held::new(2)).await.unwrap();
        let last = world.adds(9, 3).await;
        let message = world
            .memory
            .log
            .page(EVT, Position::START, 100)
            .await
            .unwrap();
        for message in &message[9..] {
            newer.handle(message).await.unwrap();
        }
        if !ended {
            let _ = rebuild.await;
        }
        assert_eq!(last.position.sequence, 12);
        for view in [&former, &newer] {
            assert_eq!(values(view).await, [4, 4, 4], "{polls} polls");
        }
        newer.rebuild().await.unwrap();
        assert_eq!(values(&former).await, [4, 4, 4]);
        let left = documents.partitions(Versions::TABLE, None, 100).await;
        assert_eq!(left.unwrap().len(), 1, "{polls} polls");
    }
}

/// Polls a future so often, or until it ends. Answers whether it has.
async fn polled<T>(mut future: Pin<&mut impl Future<Output = T>>, times: u32) -> bool {
    let mut left = times;
    std::future::poll_fn(|context| {
        if left == 0 {
            return std::task::Poll::Ready(false);
        }
        left -= 1;
        context.waker().wake_by_ref();
        future.as_mut().poll(context).map(|_| true)
    })
    .await
}

#[tokio::test]
async fn a_rebuild_of_a_former_holder_that_fails_late_deletes_nothing_that_is_read() {
    // The former one was paused before it noted which version it fills: the newer one fills the same. Then it fails, and
    // tidies up between any two steps of the newer one's rebuild.
    for (steps, tidies) in (0..40).flat_map(|steps| (1..8).map(move |tidies| (steps, tidies))) {
        let world = World::new();
        let (broken, sound) = (Yielding::of(&world), Yielding::of(&world));
        let log: Arc<dyn Log> = Arc::clone(&world.memory.log) as _;
        let open = async |documents| View::open(Versions, Arc::clone(&log), documents).await;
        let former = open(Arc::clone(&broken) as _).await.unwrap();
        let newer = open(Arc::clone(&sound) as _).await.unwrap();
        former.begin(&Held::new(1)).await.unwrap();
        world.adds(0, 3).await;
        for message in log.page(EVT, Position::START, 100).await.unwrap() {
            former.handle(&message).await.unwrap();
        }
        let mut late = Box::pin(former.rebuild());
        assert!(!polled(late.as_mut(), 3).await);
        newer.begin(&Held::new(2)).await.unwrap();
        let mut rebuild = Box::pin(newer.rebuild());
        let ended = polled(rebuild.as_mut(), steps).await;
        broken.fails.store(true, Ordering::SeqCst);
        let gave_up = polled(late.as_mut(), tidies).await;
        if !ended {
            rebuild.await.unwrap();
        }
        if !gave_up {
            late.await.unwrap_err();
        }
        assert_eq!(
            values(&newer).await,
            [1; 3],
            "{steps} steps, {tidies} polls"
        );
    }
}
