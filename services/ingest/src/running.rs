//! The service, put together: what its handlers share, and what runs behind them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use hearth_engine::erasure::Follower;
use hearth_engine::{
    Consumer, Engine, ErasersMismatch, Erasures, Holder, Parking, Relay, Timers, Tombstones, View,
    Watermarks,
};
use hearth_ingest_domain::window;
use hearth_kernel::Service;
use hearth_ports::{Leases, Position, Series, StoreError, Stream, Tasks};
use tokio::sync::watch;

use crate::app::App;
use crate::core::{Connected, Core};
use crate::erasers;
use crate::frames::Frames;
use crate::history::{Store, Sweeper};
use crate::knowledge::Knowledge;
use crate::latest::Pending;
use crate::live::Live;
use crate::publish::IngestPublisher;
use crate::resume::{Fresh, Resume};
use crate::seen::Seen;
use crate::views::ClaimsOfHome;
use crate::writer::{self, TOO_OLD, Trimmer, Writer};

/// How often it is looked how far the writer is behind.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// And while it is behind, how often it is looked whether it still is.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// How often old frames are trimmed.
const TRIM_EVERY: Duration = Duration::from_secs(3_600);

/// What the service is put together from.
pub(crate) struct Parts {
    pub(crate) engine: Engine,
    pub(crate) series: Arc<dyn Series>,
    pub(crate) leases: Arc<dyn Leases>,
    pub(crate) holder: Holder,
    pub(crate) watermarks: Watermarks,
    pub(crate) knowledge: Arc<dyn Knowledge>,
    pub(crate) tasks: Tasks,
    pub(crate) audience: String,
}

/// The service, running.
pub(crate) struct Running {
    pub(crate) app: App,
    #[cfg_attr(not(test), expect(dead_code, reason = "tests sweep when they want to"))]
    pub(crate) sweeper: Arc<Sweeper>,
    pub(crate) view: Arc<View<ClaimsOfHome>>,
    /// How far the relay has published.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "tests call the erasers themselves")
    )]
    pub(crate) relayed: watch::Receiver<Position>,
}

/// Why it did not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    /// A store failed.
    #[error("a store failed")]
    Store(#[from] StoreError),
    /// A store has no eraser.
    #[error("erasers and stores differ")]
    Erasers(#[from] ErasersMismatch),
}

/// Starts everything.
///
/// # Errors
/// When the view cannot be opened, or a store has no eraser.
pub(crate) async fn run(parts: Parts) -> Result<Running, RunError> {
    let (engine, tasks) = (parts.engine.clone(), parts.tasks.clone());
    let (log, documents) = (Arc::clone(engine.log()), Arc::clone(engine.documents()));
    let view = View::open(ClaimsOfHome, Arc::clone(&log), Arc::clone(&documents)).await?;
    let viewing = Arc::new(Consumer::new(
        Arc::clone(&view),
        Arc::clone(&log),
        Arc::clone(&documents),
        parts.watermarks.clone(),
    ));
    let (core, writer) = shared(&parts, &view);
    let sweeper = Arc::new(Sweeper {
        store: Store {
            series: Arc::clone(&parts.series),
            sealing: Arc::clone(engine.sealing()),
        },
        leases: Arc::clone(&parts.leases),
        clock: Arc::clone(engine.clock()),
    });
    let app = App {
        timers: Timers::new(
            Service::Ingest,
            Arc::clone(&documents),
            Arc::clone(engine.clock()),
        ),
        viewing: Arc::clone(&viewing),
        core: Arc::clone(&core),
    };
    let relay = Arc::new(Relay::new(
        Service::Ingest,
        Arc::clone(&log),
        Arc::clone(engine.clock()),
        Parking::new(Arc::clone(&documents), "ingest.relay"),
        Arc::new(IngestPublisher),
    ));
    let holder = parts.holder.clone();
    supervise(&tasks, &holder, &app, &relay, &viewing);
    erase(&parts, &app, &relay, &writer)?;
    write(&tasks, &core, &writer, &sweeper);
    Ok(Running {
        app,
        sweeper,
        view,
        relayed: relay.passed(),
    })
}

/// What the handlers share, and the writer that shares it with them.
fn shared(parts: &Parts, view: &Arc<View<ClaimsOfHome>>) -> (Arc<Core>, Arc<Writer>) {
    let engine = &parts.engine;
    let (log, documents) = (Arc::clone(engine.log()), Arc::clone(engine.documents()));
    let (progress, progressed) = watch::channel(Some(Position::START));
    let fresh = Arc::new(Fresh::default());
    let (pending, live) = (Pending::default(), Live::default());
    let core = Arc::new(Core {
        frames: Frames::start(Arc::clone(&log), Arc::clone(engine.clock()), &parts.tasks),
        resume: Resume::new(
            Arc::clone(&log),
            Arc::clone(&documents),
            Arc::clone(&fresh),
            progressed,
        ),
        series: Arc::clone(&parts.series),
        knowledge: Arc::clone(&parts.knowledge),
        pending: pending.clone(),
        live: live.clone(),
        claims: Arc::clone(view),
        seen: Seen::new(Arc::clone(&documents)),
        connected: Connected::default(),
        audience: parts.audience.clone(),
        credit: AtomicU32::new(window::CREDIT),
        closed: AtomicBool::new(false),
        engine: engine.clone(),
    });
    let writer = Arc::new(Writer {
        log: Arc::clone(&log),
        documents: Arc::clone(&documents),
        series: Arc::clone(&parts.series),
        sealing: Arc::clone(engine.sealing()),
        holder: parts.holder.clone().lasting(writer::LEASE_PERIOD),
        clock: Arc::clone(engine.clock()),
        pending,
        live,
        fresh,
        writes: AtomicBool::new(false),
        progress,
        passed: watch::Sender::new(Position::START),
    });
    (core, writer)
}

fn supervise(
    tasks: &Tasks,
    holder: &Holder,
    app: &App,
    relay: &Arc<Relay>,
    viewing: &Arc<Consumer<Arc<View<ClaimsOfHome>>>>,
) {
    let relay = Arc::clone(relay);
    tasks.supervise("ingest relay", move || {
        let relay = Arc::clone(&relay);
        async move { relay.run().await }
    });
    let (viewing, holds) = (Arc::clone(viewing), holder.clone());
    tasks.supervise("ingest claims view", move || {
        let (viewing, holder) = (Arc::clone(&viewing), holds.clone());
        async move { viewing.hold(&holder).await }
    });
    let (app, holder) = (app.clone(), holder.clone());
    tasks.supervise("ingest timers", move || {
        let (app, holder) = (app.clone(), holder.clone());
        async move {
            let fire = |_| app.timers.run(&app);
            holder.hold("ingest.timers.all", fire).await
        }
    });
}

/// Carries out the erasures that retention orders.
fn erase(
    parts: &Parts,
    app: &App,
    relay: &Arc<Relay>,
    writer: &Arc<Writer>,
) -> Result<(), ErasersMismatch> {
    let (engine, core, viewing) = (&parts.engine, &app.core, &app.viewing);
    let followers = Follower::consumer(viewing)
        .into_iter()
        .chain([Follower::relay(Service::Ingest, relay)])
        .chain([Follower::new(Stream::TELEMETRY, writer.passed.subscribe())]);
    let erasures = Erasures::new(
        engine.clone(),
        erasers::STORES,
        erasers::all(core, &relay.passed()),
    )?;
    let erasures = erasures.behind(followers);
    let tombstones = Tombstones::new(engine.clone(), Arc::clone(&parts.leases));
    let tombstones = Arc::new(tombstones.behind(erasures.followers()));
    parts.tasks.supervise("ingest tombstones", move || {
        let tombstones = Arc::clone(&tombstones);
        async move { tombstones.run().await }
    });
    let erasures = Arc::new(Consumer::new(
        erasures,
        Arc::clone(engine.log()),
        Arc::clone(engine.documents()),
        parts.watermarks.clone(),
    ));
    let holder = parts.holder.clone();
    parts.tasks.supervise("ingest erasures", move || {
        let (erasures, holder) = (Arc::clone(&erasures), holder.clone());
        async move { erasures.hold(&holder).await }
    });
    Ok(())
}

fn write(tasks: &Tasks, core: &Arc<Core>, writer: &Arc<Writer>, sweeper: &Arc<Sweeper>) {
    let trimmer = Arc::new(Trimmer {
        log: Arc::clone(&writer.log),
        documents: Arc::clone(&writer.documents),
        clock: Arc::clone(&writer.clock),
    });
    let passed = writer.passed.subscribe();
    let writer = Arc::clone(writer);
    tasks.supervise("ingest writer", move || {
        let writer = Arc::clone(&writer);
        async move { writer.run().await }
    });
    let sweeper = Arc::clone(sweeper);
    tasks.supervise("ingest compactor", move || {
        let sweeper = Arc::clone(&sweeper);
        async move { sweeper.run().await }
    });
    let (trims, core) = (Arc::clone(&trimmer), Arc::clone(core));
    tasks.supervise("ingest trim", move || {
        let trims = Arc::clone(&trims);
        async move {
            loop {
                trims.trim().await?;
                trims.clock.sleep(TRIM_EVERY).await;
            }
            #[expect(
                unreachable_code,
                reason = "it says what kind of failure the loop ends with"
            )]
            Ok::<(), StoreError>(())
        }
    });
    tasks.supervise("ingest backlog", move || {
        let (trimmer, core) = (Arc::clone(&trimmer), Arc::clone(&core));
        let passed = passed.clone();
        async move { watch_backlog(&trimmer, &core, &passed).await }
    });
}

/// Grants hubs less credit the further the writer is behind, and takes no readings while it is days behind. It begins
/// open, so that a process that comes back after days has the time to write what it left.
async fn watch_backlog(
    trimmer: &Trimmer,
    core: &Core,
    passed: &watch::Receiver<Position>,
) -> Result<(), StoreError> {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        loop {
            let at = *passed.borrow();
            let behind = trimmer.behind(at).await?;
            core.credit.store(window::credit(behind), Ordering::Relaxed);
            let closed = behind > TOO_OLD;
            if core.closed.swap(closed, Ordering::Relaxed) != closed {
                tracing::warn!(closed, "whether readings are taken depends on the writer");
            }
            if behind < window::KEEPS_UP {
                break;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}
