//! Timers that hang, fail and share a lane.

use std::sync::Mutex;
use std::sync::atomic::Ordering;

use hearth_backend_memory::Memory;
use hearth_conformance::SimulatedClock;
use hearth_ports::{ManualClock, Tasks};
use tokio::sync::{Semaphore, mpsc};

use super::*;

const HANGS: u8 = 1;
const FAILS: u8 = 2;
const WORKS: u8 = 3;

/// Does what the first byte of the task says; tells who began.
struct Scripted {
    began: mpsc::UnboundedSender<Uuid>,
    at_once: Mutex<(usize, usize)>,
    gate: Semaphore,
    lane: Option<Uuid>,
}

struct Inside<'a>(&'a Mutex<(usize, usize)>);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.lock().unwrap().0 -= 1;
    }
}

#[async_trait]
impl Fire for Scripted {
    async fn fire(&self, timer: &Timer) -> Result<(), ConsumeError> {
        {
            let mut at_once = self.at_once.lock().unwrap();
            at_once.0 += 1;
            at_once.1 = at_once.1.max(at_once.0);
        }
        let _inside = Inside(&self.at_once);
        let _ = self.began.send(timer.id);
        match timer.task[0] {
            HANGS => std::future::pending().await,
            FAILS => Err(StoreError::retryable("not now").into()),
            _ => {
                let _pass = self.gate.acquire().await;
                Ok(())
            }
        }
    }

    fn lane(&self, timer: &Timer) -> Uuid {
        self.lane.unwrap_or(timer.id)
    }
}

fn scripted(open: usize, lane: Option<Uuid>) -> (Arc<Scripted>, mpsc::UnboundedReceiver<Uuid>) {
    let (began, heard) = mpsc::unbounded_channel();
    let handler = Scripted {
        began,
        at_once: Mutex::default(),
        gate: Semaphore::new(open),
        lane,
    };
    (Arc::new(handler), heard)
}

fn memory() -> (Memory, ManualClock) {
    let clock = ManualClock::new(Timestamp::from_seconds(1_795_000_000));
    (Memory::new(Arc::new(clock.clone())), clock)
}

fn timers(memory: &Memory) -> Timers {
    let documents = Arc::clone(&memory.documents) as _;
    Timers::new(Service::Accounts, documents, Arc::clone(&memory.clock))
}

async fn set(timers: &Timers, n: u128, task: u8) -> Uuid {
    let id = Uuid::from_u128(n);
    let timer = Timer {
        due: timers.clock.now().minus(Duration::from_secs(3600)).plus(
            // In the order of their numbers.
            Duration::from_millis(u64::try_from(n).unwrap()),
        ),
        id,
        task: Bytes::from(vec![task]),
    };
    timers.set(Position::START, &timer).await.unwrap();
    id
}

fn start(timers: &Timers, handler: &Arc<Scripted>) -> Tasks {
    let (tasks, timers, handler) = (Tasks::new(), timers.clone(), Arc::clone(handler));
    tasks.spawn("timers", async move {
        let _ = timers.run(&*handler).await;
    });
    tasks
}

async fn next(heard: &mut mpsc::UnboundedReceiver<Uuid>) -> Uuid {
    let next = tokio::time::timeout(Duration::from_secs(20), heard.recv());
    next.await.expect("one begins").expect("the handler lives")
}

async fn rows(timers: &Timers) -> usize {
    let partition = timers.partition();
    let rows = timers.documents.range(TABLE, &partition, Range::all(1000));
    rows.await.unwrap().len()
}

async fn until(mut holds: impl AsyncFnMut() -> bool) {
    tokio::time::timeout(Duration::from_secs(20), async {
        while !holds().await {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("it holds in the end");
}

#[tokio::test]
async fn one_that_hangs_delays_none_of_the_others() {
    let (memory, _) = memory();
    let timers = timers(&memory);
    let (handler, mut heard) = scripted(100, None);
    let hanging = set(&timers, 1, HANGS).await;
    for n in 2..60 {
        set(&timers, n, WORKS).await;
    }
    let tasks = start(&timers, &handler);
    assert_eq!(next(&mut heard).await, hanging);
    until(async || rows(&timers).await == 1).await;
    assert_eq!(timers.facts().firing.load(Ordering::Relaxed), 1);
    tasks.stop(Duration::from_secs(5)).await;
}

#[tokio::test(start_paused = true)]
async fn one_that_hangs_is_given_up_and_fired_again_later() {
    let (memory, clock) = memory();
    let timers = timers(&memory).fire_within(Duration::from_secs(7));
    let (handler, mut heard) = scripted(100, None);
    let hanging = set(&timers, 1, HANGS).await;
    let tasks = start(&timers, &handler);
    for _ in 0..3 {
        assert_eq!(next(&mut heard).await, hanging);
        let again = timers.facts().again.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_secs(8)).await;
        assert_eq!(timers.facts().again.load(Ordering::Relaxed), again + 1);
        assert_eq!(rows(&timers).await, 1, "it is not lost");
        clock.advance(Duration::from_secs(30));
    }
    tasks.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn sixteen_fire_at_once_and_no_more() {
    let (memory, _) = memory();
    let timers = timers(&memory);
    let (handler, mut heard) = scripted(0, None);
    for n in 0..100 {
        set(&timers, n, WORKS).await;
    }
    let tasks = start(&timers, &handler);
    for _ in 0..16 {
        next(&mut heard).await;
    }
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert!(heard.try_recv().is_err(), "the seventeenth waits");
    handler.gate.add_permits(100);
    until(async || rows(&timers).await == 0).await;
    assert_eq!(handler.at_once.lock().unwrap().1, 16);
    assert_eq!(timers.facts().done.load(Ordering::Relaxed), 100);
    tasks.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_lane_keeps_its_order_behind_one_that_is_fired_again() {
    let (memory, clock) = memory();
    let timers = timers(&memory);
    let (handler, mut heard) = scripted(100, Some(Uuid::from_u128(77)));
    let first = set(&timers, 1, FAILS).await;
    let second = set(&timers, 2, WORKS).await;
    let third = set(&timers, 3, WORKS).await;
    let tasks = start(&timers, &handler);
    assert_eq!(next(&mut heard).await, first);
    until(async || timers.facts().again.load(Ordering::Relaxed) == 1).await;
    clock.advance(Duration::from_secs(2));
    assert_eq!(next(&mut heard).await, first, "its lane waits for it");
    until(async || timers.facts().again.load(Ordering::Relaxed) == 2).await;
    // It works now.
    set(&timers, 1, WORKS).await;
    let partition = timers.partition();
    let due = timers.documents.range(TABLE, &partition, Range::all(1));
    let row = due.await.unwrap().remove(0);
    let works = Bytes::from(vec![WORKS]);
    let put = timers.documents.put(TABLE, &partition, &row.key, 1, works);
    put.await.unwrap();
    clock.advance(Duration::from_secs(5));
    for expected in [first, second, third] {
        assert_eq!(next(&mut heard).await, expected);
    }
    until(async || rows(&timers).await == 0).await;
    assert_eq!(handler.at_once.lock().unwrap().1, 1, "one after the other");
    tasks.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn one_that_fails_waits_longer_each_time_and_only_itself() {
    let (memory, clock) = memory();
    let timers = timers(&memory);
    let (handler, mut heard) = scripted(100, None);
    let failing = set(&timers, 1, FAILS).await;
    let tasks = start(&timers, &handler);
    let failed = || timers.facts().again.load(Ordering::Relaxed);
    for (times, wait) in [1_u64, 2, 4, 8, 16, 30, 30].into_iter().enumerate() {
        assert_eq!(next(&mut heard).await, failing);
        until(async || failed() == times as u64 + 1).await;
        // Just before its time another one fires, and it does not.
        clock.advance(Duration::from_millis(wait * 1000 - 1));
        let other = set(&timers, 100 + times as u128, WORKS).await;
        assert_eq!(next(&mut heard).await, other);
        until(async || rows(&timers).await == 1).await;
        assert!(heard.try_recv().is_err());
        clock.advance(Duration::from_millis(1));
    }
    until(async || timers.facts().late.load(Ordering::Relaxed) == 1).await;
    tasks.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn what_goes_out_is_not_cut_when_the_store_fails() {
    use hearth_conformance::{Fault, Faults, Faulty};
    let clock = SimulatedClock::new(Timestamp::from_seconds(1_795_000_000));
    let memory = Memory::new(Arc::new(clock.clone()));
    let faults = Faults::script(Arc::new(clock), []);
    let faulty = Faulty::new(Arc::clone(&memory.documents), Arc::clone(&faults));
    let clock = Arc::clone(&memory.clock);
    let timers = Timers::new(Service::Accounts, Arc::new(faulty), clock);
    let (handler, mut heard) = scripted(0, None);
    set(&timers, 1, WORKS).await;
    let running = timers.run(&*handler);
    tokio::pin!(running);
    let began = async { next(&mut heard).await };
    tokio::select! {
        _ = &mut running => unreachable!("nothing fails yet"),
        _ = began => {}
    }
    faults.then([Fault::Before]);
    let mut ended = false;
    for _ in 0..100 {
        let poll = futures::poll!(&mut running);
        ended |= poll.is_ready();
        tokio::task::yield_now().await;
    }
    assert!(!ended, "it waits for what is being fired");
    handler.gate.add_permits(1);
    let outcome = tokio::time::timeout(Duration::from_secs(20), running).await;
    assert!(outcome.expect("an end").is_err());
    assert_eq!(rows(&timers).await, 0, "done and deleted");
}

#[tokio::test]
async fn a_process_that_fires_no_more_shows_nothing_late_and_nothing_in_firing() {
    let (memory, _) = memory();
    let timers = timers(&memory);
    let (handler, mut heard) = scripted(100, None);
    set(&timers, 1, HANGS).await;
    let tasks = start(&timers, &handler);
    next(&mut heard).await;
    until(async || timers.facts().late.load(Ordering::Relaxed) == 1).await;
    // Dropped in the middle, as work is whose lease is lost: now another process fires.
    tasks.stop(Duration::from_secs(5)).await;
    let facts = timers.facts();
    assert_eq!(facts.firing.load(Ordering::Relaxed), 0);
    assert_eq!(facts.late.load(Ordering::Relaxed), 0);
    assert_eq!(facts.oldest_due.load(Ordering::Relaxed), 0);
}
