//! Two replicas through pauses, lost leases, restarts and failing stores, at random: a view is what its rebuild is, and
//! each command of a process manager takes effect once. On the stores in memory, and on SQLite.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use hearth_backend_sqlite::DataFolder;
use hearth_conformance::{Faults, Faulty, Random, Rates};
use hearth_kernel::Service;
use hearth_ports::{
    Documents, Family, Leases, Log, ManualClock, Message, Read, Stream, Table, Tasks,
};

use super::jar::{Jar, add, engine, id, memory};
use crate::{
    Commit, CommitToken, Consume, ConsumeError, Consumer, Engine, Held, Holder, Projection,
    Rebuild, Rows, View, Watermarks,
};

const EVT: Stream = Stream::new(Family::Evt, Service::Accounts);
const STEPS: usize = 120;
/// About one of seven calls fails, half of them after they were carried out.
const RATES: Rates = Rates {
    delay: 0,
    before: 70,
    after: 70,
    late: 0,
    cut: 0,
};

/// One row per jar: its last version.
struct Versions;

#[async_trait]
impl Projection for Versions {
    const TABLE: Table = Table("accounts_failover_versions");

    fn sources(&self) -> Vec<Stream> {
        vec![EVT]
    }

    async fn project(&self, message: &Message, rows: &Rows<'_>) -> Result<(), ConsumeError> {
        let commit = Commit::read(&message.bytes)?;
        let version = commit.version.to_be_bytes().to_vec();
        Ok(rows.put(b"all", &commit.aggregate, version).await?)
    }
}

/// A process manager: a bean in another jar for each commit.
struct Mirrors(Engine);

#[async_trait]
impl Consume for Mirrors {
    fn name(&self) -> String {
        "accounts.mirrors".to_owned()
    }

    fn sources(&self) -> Vec<Stream> {
        vec![EVT]
    }

    async fn handle(&self, message: &Message) -> Result<(), ConsumeError> {
        let request = format!("for {}", message.position.sequence);
        add::<false>(&self.0, 200, &request, 1).await?;
        Ok(())
    }
}

/// A process that can be stopped between any two polls, and goes on as if nothing had been.
struct Pausing(Pin<Box<dyn Future<Output = ()> + Send>>, Arc<AtomicBool>);

impl Future for Pausing {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.1.load(Ordering::SeqCst) {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.0.as_mut().poll(context)
    }
}

struct World {
    clock: ManualClock,
    log: Arc<dyn Log>,
    documents: Arc<dyn Documents>,
    leases: Arc<dyn Leases>,
    engine: Engine,
}

struct Replica {
    tasks: Tasks,
    paused: Arc<AtomicBool>,
    view: Arc<View<Versions>>,
    viewing: Arc<Consumer<Arc<View<Versions>>>>,
    mirroring: Arc<Consumer<Mirrors>>,
}

impl Replica {
    async fn start(world: &World) -> Self {
        let view = loop {
            let (log, documents) = (Arc::clone(&world.log), Arc::clone(&world.documents));
            if let Ok(view) = View::open(Versions, log, documents).await {
                break view;
            }
        };
        let replica = Self {
            tasks: Tasks::new(),
            paused: Arc::default(),
            viewing: consumer(world, Arc::clone(&view)),
            mirroring: consumer(world, Mirrors(world.engine.clone())),
            view,
        };
        let (leases, clock) = (Arc::clone(&world.leases), Arc::new(world.clock.clone()));
        let holder = Holder::new(leases, clock, replica.tasks.clone());
        replica.run(&replica.viewing, &holder);
        replica.run(&replica.mirroring, &holder);
        replica
    }

    fn run<C: Consume>(&self, consumer: &Arc<Consumer<C>>, holder: &Holder) {
        let (consumer, holder) = (Arc::clone(consumer), holder.clone());
        let again = async move {
            loop {
                let _ = consumer.hold(&holder).await;
                tokio::task::yield_now().await;
            }
        };
        let paused = Arc::clone(&self.paused);
        self.tasks
            .spawn("replica", Pausing(Box::pin(again), paused));
    }
}

fn consumer<C: Consume>(world: &World, handler: C) -> Arc<Consumer<C>> {
    let log = Arc::clone(&world.log);
    let watermarks = Watermarks::new(Arc::clone(&log));
    Arc::new(Consumer::new(
        handler,
        log,
        Arc::clone(&world.documents),
        watermarks,
    ))
}

async fn story(world: &World, random: &mut Random, faults: &[&Arc<Faults>]) {
    let mut replicas = [Replica::start(world).await, Replica::start(world).await];
    let mut added = 0_u64;
    let mut last = None;
    for step in 0..STEPS {
        let one = usize::from(random.chance(500));
        match random.below(12) {
            0 => replicas[one].paused.store(true, Ordering::SeqCst),
            1 | 2 => replicas[one].paused.store(false, Ordering::SeqCst),
            3 if random.chance(300) => {
                replicas[one].paused.store(false, Ordering::SeqCst);
                replicas[one].tasks.stop(Duration::from_secs(5)).await;
                replicas[one] = Replica::start(world).await;
            }
            4 => world.clock.advance(Duration::from_secs(random.below(15))),
            5 => world
                .clock
                .advance(Duration::from_millis(random.below(3_000))),
            _ => {
                let jar = u8::try_from(random.below(5)).unwrap();
                let done = add::<true>(&world.engine, jar, &step.to_string(), 1).await;
                last = done.unwrap().position;
                added += 1;
            }
        }
        for _ in 0..random.below(200) {
            tokio::task::yield_now().await;
        }
    }
    for faults in faults {
        faults.calm();
    }
    let token = CommitToken {
        service: Service::Accounts,
        position: last.unwrap(),
    };
    outcome(world, &replicas, token, added).await;
}

async fn outcome(world: &World, replicas: &[Replica; 2], token: CommitToken, added: u64) {
    for replica in replicas {
        replica.paused.store(false, Ordering::SeqCst);
    }
    let reached = async {
        for replica in replicas {
            replica.viewing.reached(token).await;
            replica.mirroring.reached(token).await;
        }
    };
    // A process that was stopped while it asked for a lease may have got it, and gives it to nobody before it ends.
    let passes = async {
        loop {
            world.clock.advance(Duration::from_secs(1));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let going_on = async {
        tokio::select! {
            () = reached => {}
            () = passes => {}
        }
    };
    tokio::time::timeout(Duration::from_secs(60), going_on)
        .await
        .expect("somebody goes on");
    let rows = replicas[0].view.rows().await.unwrap();
    assert_eq!(rows, replicas[1].view.rows().await.unwrap());
    for replica in replicas {
        replica.tasks.stop(Duration::from_secs(5)).await;
    }
    let (log, documents) = (Arc::clone(&world.log), Arc::clone(&world.documents));
    let view = View::open(Versions, log, documents).await.unwrap();
    assert!(
        view.rebuild().await.is_err(),
        "not without the lease, over a holder's note"
    );
    assert_eq!(rows, view.rows().await.unwrap());
    view.begin(&Held::new(1 << 20)).await.unwrap();
    view.rebuild().await.unwrap();
    assert_eq!(rows, view.rows().await.unwrap());
    let mirror = world.engine.load::<Jar<false>>(id(200), Read::Leader);
    assert_eq!(
        mirror.await.unwrap().state.count,
        added,
        "each command once"
    );
}

#[tokio::test]
async fn replicas_in_memory_agree_after_any_weather() {
    for _ in 0..12 {
        let mut random = Random::fresh("failover");
        let (memory, clock) = memory();
        let faults = |random: &mut Random| {
            Faults::seeded(
                Arc::clone(&memory.clock),
                Random::seeded(random.bits()),
                RATES,
            )
        };
        let (of_documents, of_leases) = (faults(&mut random), faults(&mut random));
        let (documents, leases) = (Arc::clone(&memory.documents), Arc::clone(&memory.leases));
        let world = World {
            log: Arc::clone(&memory.log) as _,
            documents: Arc::new(Faulty::new(documents, Arc::clone(&of_documents))),
            leases: Arc::new(Faulty::new(leases, Arc::clone(&of_leases))),
            engine: engine(&memory),
            clock,
        };
        story(&world, &mut random, &[&of_documents, &of_leases]).await;
    }
}

#[tokio::test]
async fn replicas_on_sqlite_agree_after_pauses_and_lost_leases() {
    let mut random = Random::fresh("failover on sqlite");
    let (memory, clock) = memory();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (data, keys, escrow) = (at("data"), at("keys"), at("escrow"));
    let stores = DataFolder::open(&data, &keys, &escrow, Arc::new(clock.clone()));
    let stores = stores.await.unwrap();
    let world = World {
        log: Arc::clone(&memory.log) as _,
        documents: Arc::clone(&stores.documents) as _,
        leases: Arc::clone(&stores.leases) as _,
        engine: engine(&memory),
        clock,
    };
    story(&world, &mut random, &[]).await;
    stores.close();
}
