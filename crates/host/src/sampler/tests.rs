//! What the sampler makes of what stands in the stores.

use hearth_backend_memory::Memory;
use hearth_engine::{Timer, Timers};
use hearth_kernel::AccountId;
use hearth_ports::{Expected, ManualClock, Subject, Table};
use tokio_util::bytes::Bytes;

use super::*;

fn account(n: u8) -> AccountId {
    AccountId::from_bytes([n; 16])
}

struct Bench {
    memory: Memory,
    clock: ManualClock,
    metrics: Metrics,
    sampler: Sampler,
}

fn bench() -> Bench {
    let clock = ManualClock::new(Timestamp::from_seconds(1_795_000_000));
    let memory = Memory::new(Arc::new(clock.clone()));
    let metrics = Metrics::new();
    let log: Arc<dyn Log> = Arc::clone(&memory.log) as _;
    let sampler = Sampler {
        watermarks: Watermarks::new(Arc::clone(&log)),
        log,
        documents: Arc::clone(&memory.documents) as _,
        clock: Arc::clone(&memory.clock),
        services: vec![Service::Accounts],
        gauges: Gauges::new(&metrics),
        still: BTreeMap::new(),
    };
    Bench {
        memory,
        clock,
        metrics,
        sampler,
    }
}

impl Bench {
    fn shows(&self, line: &str) {
        let text = self.metrics.text();
        assert!(text.lines().any(|it| it == line), "{line} in\n{text}");
    }

    async fn put(&self, table: &'static str, partition: &str, key: &str, at: Position) {
        let value = Bytes::copy_from_slice(&at.to_bytes());
        let (partition, key) = (partition.as_bytes(), key.as_bytes());
        let documents = &self.memory.documents;
        let put = documents.put(Table(table), partition, key, at.stamp(), value);
        put.await.expect("put");
    }
}

#[tokio::test]
async fn lag_stuck_parked_and_late_are_seen() {
    let mut bench = bench();
    let subject = Subject::fact(Service::Accounts, "x", account(9));
    let mut positions = Vec::new();
    for n in 0..3 {
        let subject = Subject::fact(Service::Accounts, "x", account(n));
        let append = bench
            .memory
            .log
            .append(&subject, Expected::Any, Bytes::new());
        positions.push(append.await.expect("appended"));
    }
    bench
        .put(
            "engine_checkpoints",
            "view.x",
            "STATE_ACCOUNTS",
            positions[0],
        )
        .await;
    let parked = subject.to_string();
    bench
        .put("engine_parked", "view.x", &parked, positions[0])
        .await;
    let documents: Arc<dyn Documents> = Arc::clone(&bench.memory.documents) as _;
    let timers = Timers::new(
        Service::Accounts,
        documents,
        Arc::clone(&bench.memory.clock),
    );
    let timer = Timer {
        due: bench.clock.now(),
        id: account(9).into(),
        task: Bytes::new(),
    };
    timers.set(Position::START, &timer).await.expect("set");
    bench.clock.advance(Duration::from_secs(30));
    bench.sampler.look().await;
    bench.shows("hearth_consumer_lag_messages{consumer=\"view.x\",stream=\"STATE_ACCOUNTS\"} 2");
    bench.shows("hearth_consumer_lag_seconds{consumer=\"view.x\",stream=\"STATE_ACCOUNTS\"} 30");
    bench.shows("hearth_consumer_stuck{consumer=\"view.x\"} 0");
    bench.shows("hearth_parked_subjects{consumer=\"view.x\"} 1");
    bench.shows("hearth_timers_late{service=\"accounts\"} 1");
    bench.shows("hearth_timers_oldest_late_seconds{service=\"accounts\"} 30");
    bench.shows("hearth_relay_lag_messages{service=\"accounts\"} 0");
    bench.clock.advance(Duration::from_secs(60));
    bench.sampler.look().await;
    bench.shows("hearth_consumer_stuck{consumer=\"view.x\"} 1");
    bench
        .put(
            "engine_checkpoints",
            "view.x",
            "STATE_ACCOUNTS",
            positions[1],
        )
        .await;
    bench.sampler.look().await;
    bench.shows("hearth_consumer_stuck{consumer=\"view.x\"} 0");
    // No id gets out.
    let id = subject.id().expect("an id").simple().to_string();
    assert!(!bench.metrics.text().contains(&id));
}
