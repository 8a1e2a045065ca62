//! Two replicas and one lease: who works, when it stops, what goes on, and who follows.

use std::sync::Mutex;

use hearth_backend_memory::MemoryLeases;
use hearth_conformance::{Fault, Faults, Faulty};
use hearth_ports::ManualClock;
use proptest::prelude::*;
use tokio::sync::mpsc;

use super::*;

const NAME: &str = "accounts.test.all";

/// A store of leases, a clock, and processes on them.
struct World {
    clock: ManualClock,
    leases: Arc<dyn Leases>,
}

impl World {
    fn new() -> Self {
        let clock = ManualClock::new(Timestamp::from_seconds(1_800_000_000));
        let leases = Arc::new(MemoryLeases::new(Arc::new(clock.clone())));
        Self { clock, leases }
    }

    fn holder(&self, tasks: &Tasks) -> Holder {
        let (leases, clock) = (Arc::clone(&self.leases), Arc::new(self.clock.clone()));
        Holder::new(leases, clock, tasks.clone())
    }

    /// A process that says the fence of each time that it begins to work, and how it ends.
    fn process(&self) -> (Tasks, mpsc::UnboundedReceiver<Said>) {
        let (tasks, (says, said)) = (Tasks::new(), mpsc::unbounded_channel());
        let holder = self.holder(&tasks);
        tasks.spawn("process", async move {
            let outcome: Result<(), StoreError> = holder
                .hold(NAME, |held| {
                    let _ = says.send(Said::Began(held.fence()));
                    let ends = Ends(says.clone());
                    async move {
                        let _ends = ends;
                        std::future::pending().await
                    }
                })
                .await;
            let _ = outcome;
        });
        (tasks, said)
    }

    async fn stop(&self, tasks: &Tasks) {
        assert!(tasks.stop(Duration::from_secs(5)).await);
    }
}

#[derive(Debug, PartialEq)]
enum Said {
    Began(u64),
    Ended,
}

struct Ends(mpsc::UnboundedSender<Said>);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.send(Said::Ended);
    }
}

async fn hear(said: &mut mpsc::UnboundedReceiver<Said>) -> Said {
    let heard = tokio::time::timeout(Duration::from_secs(20), said.recv());
    heard.await.expect("nothing was said").expect("it runs")
}

#[tokio::test]
async fn one_works_and_hands_over_when_it_drains() {
    let world = World::new();
    let (first, mut said) = world.process();
    assert_eq!(hear(&mut said).await, Said::Began(1));
    let (second, mut follows) = world.process();
    // The clock stands: only a lease that was given up can be taken.
    world.stop(&first).await;
    assert_eq!(hear(&mut said).await, Said::Ended);
    assert_eq!(hear(&mut follows).await, Said::Began(2));
    world.stop(&second).await;
    let free = world.leases.acquire(NAME, "third", PERIOD).await.unwrap();
    assert_eq!(free.fence, 3);
}

#[tokio::test]
async fn a_lease_is_renewed_for_as_long_as_the_work_lasts() {
    let world = World::new();
    let (tasks, mut said) = world.process();
    assert_eq!(hear(&mut said).await, Said::Began(1));
    for _ in 0..20 {
        world.clock.advance(PERIOD / 3);
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        let asks = world.leases.acquire(NAME, "rival", PERIOD).await;
        assert!(matches!(asks, Err(StoreError::Conflict)));
    }
    assert!(said.try_recv().is_err(), "it never began anew");
    world.stop(&tasks).await;
}

#[tokio::test]
async fn a_jump_of_the_clock_interrupts_nothing() {
    let world = World::new();
    let tasks = Tasks::new();
    let holder = world.holder(&tasks);
    let (says, mut said) = mpsc::unbounded_channel();
    let ticks = world.clock.clone();
    let working = holder.clone();
    tasks.spawn("process", async move {
        let work = |held: Held| {
            let (says, ticks) = (says.clone(), ticks.clone());
            async move {
                loop {
                    let _ = says.send(held.fence());
                    ticks.sleep(Duration::from_secs(86_400)).await;
                }
            }
        };
        let _: Result<(), StoreError> = working.hold(NAME, work).await;
    });
    for fence in 1..=10 {
        assert_eq!(
            said.recv().await,
            Some(fence),
            "one time of work, under the next fence"
        );
        assert_eq!(holder.holds(), 1);
        world.clock.advance(Duration::from_secs(86_400 * 7));
    }
    world.stop(&tasks).await;
    assert_eq!(holder.holds(), 0);
}

#[tokio::test]
async fn work_is_dropped_and_begun_anew_when_another_had_the_lease() {
    let world = World::new();
    let (tasks, mut said) = world.process();
    assert_eq!(hear(&mut said).await, Said::Began(1));
    // Between two polls of the process a rival comes and goes.
    world.clock.advance(PERIOD);
    let rival = world.leases.acquire(NAME, "rival", PERIOD).await.unwrap();
    assert_eq!(rival.fence, 2);
    assert_eq!(hear(&mut said).await, Said::Ended);
    world.leases.release(&rival, "rival").await.unwrap();
    assert_eq!(hear(&mut said).await, Said::Began(3));
    world.stop(&tasks).await;
}

#[tokio::test]
async fn work_stops_before_its_lease_ends_when_renewals_fail() {
    let clock = ManualClock::new(Timestamp::from_seconds(1_800_000_000));
    let inner = Arc::new(MemoryLeases::new(Arc::new(clock.clone())));
    let faults = Faults::script(Arc::new(clock.clone()), [Fault::None]);
    let leases = Arc::new(Faulty::new(Arc::clone(&inner), Arc::clone(&faults)));
    let (tasks, (says, mut said)) = (Tasks::new(), mpsc::unbounded_channel());
    let holder = Holder::new(leases as _, Arc::new(clock.clone()), tasks.clone());
    tasks.spawn("process", async move {
        let outcome: Result<(), StoreError> = holder
            .hold(NAME, |held| {
                let _ = says.send(Said::Began(held.fence()));
                let ends = Ends(says.clone());
                async move {
                    let _ends = ends;
                    std::future::pending().await
                }
            })
            .await;
        assert!(outcome.is_err(), "the store of leases fails");
    });
    assert_eq!(hear(&mut said).await, Said::Began(1));
    faults.then([Fault::Before; 1000]);
    let ends = clock.now().plus(PERIOD);
    let mut ended = false;
    while clock.now() < ends && !ended {
        clock.advance(Duration::from_millis(250));
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        ended = said.try_recv() == Ok(Said::Ended);
    }
    assert!(ended && clock.now() < ends, "while nobody else can hold it");
    tasks.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn work_that_ends_gives_its_lease_up() {
    let world = World::new();
    let tasks = Tasks::new();
    let holder = world.holder(&tasks);
    let outcome: Result<u64, StoreError> = holder.hold(NAME, async |held| Ok(held.fence())).await;
    assert_eq!(outcome.unwrap(), 1);
    world.stop(&tasks).await;
    let next = world.leases.acquire(NAME, "next", PERIOD).await;
    assert_eq!(next.unwrap().fence, 2);
}

/// A document whose last write is the one that counts, as all of `Documents` are.
#[derive(Default)]
struct Row(Mutex<(i64, u64)>);

impl Row {
    fn put(&self, stamp: i64, value: u64) {
        let mut row = self.0.lock().unwrap();
        *row = (*row).max((stamp, value));
    }
}

proptest! {
    #[test]
    fn stamps_order_by_holder_and_then_by_write(fence in 1_u64..1 << 30, counter in 0_u64..1 << 26, more in 1_u64..100) {
        let stamp = |fence, counter| Held::new(fence).stamp(counter).unwrap();
        prop_assert!(stamp(fence, counter + more) > stamp(fence, counter));
        prop_assert!(stamp(fence + more, 0) > stamp(fence, counter));
        prop_assert_eq!(fence_of(stamp(fence, counter)), fence);
        let held = Held::new(fence);
        prop_assert_eq!(held.stamp_after(stamp(fence, counter)).unwrap(), stamp(fence, counter + 1));
        prop_assert_eq!(held.stamp_after(i64::try_from(counter).unwrap()).unwrap(), stamp(fence, 1));
        let overtaken = held.stamp_after(stamp(fence + more, counter));
        prop_assert!(matches!(overtaken, Err(StoreError::Conflict)));
    }

    #[test]
    fn a_late_write_of_a_former_holder_changes_nothing(late in 0_u64..1 << 26, writes in 1_u64..50) {
        let (former, newer, row) = (Held::new(1), Held::new(2), Row::default());
        row.put(former.stamp(late).unwrap(), 1_000);
        for write in 1..=writes {
            row.put(newer.stamp(write).unwrap(), write);
            row.put(former.stamp(late + write).unwrap(), 1_000 + write);
        }
        prop_assert_eq!(row.0.lock().unwrap().1, writes);
    }
}

#[test]
fn stamps_end_with_an_error_and_do_not_wrap() {
    assert!(Held::new(1 << 36).stamp(0).is_err());
    assert!(Held::new(1).stamp(1 << COUNTER_BITS).is_err());
    let last = Held::new((1 << 36) - 1).stamp((1 << COUNTER_BITS) - 1);
    assert_eq!(last.unwrap(), i64::MAX);
}
