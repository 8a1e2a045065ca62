//! The suites of documents and series on a real Cassandra: as they are, over reopenings, and behind faults.
//!
//! One node serves all cases; each has a space of its own. Run by name: `cargo test -p hearth-backend-cql --test
//! conformance`, with Cassandra in the cache of `cargo xtask servers`.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hearth_backend_cql::{Cql, Options, Replication, schema};
use hearth_conformance::{Faults, Faulty, Instance, Patient, Random, Rates, SimulatedClock};
use hearth_kernel::{Service, Timestamp};
use hearth_ports::{Clock, Documents, ManualClock, Series};
use hearth_servers::{Cache, Cassandra};
use tokio::sync::OnceCell;

const KEYSPACE: &str = "conformance";

/// Before every day on which a chunk of the suite expires.
fn now() -> Timestamp {
    Timestamp::from_seconds(20_001 * 86_400)
}

fn server() -> &'static Cassandra {
    static SERVER: OnceLock<Cassandra> = OnceLock::new();
    SERVER.get_or_init(|| {
        Cassandra::start(&Cache::of_user().expect("a cache")).expect("a node of Cassandra")
    })
}

async fn contact_points() -> Vec<String> {
    let server = tokio::task::spawn_blocking(server).await.expect("a server");
    server.addresses().iter().map(ToString::to_string).collect()
}

async fn connect(space: String) -> Cql {
    let mut options = Options::new(contact_points().await, "datacenter1", KEYSPACE);
    options.space = space;
    // Cases run side by side on a small machine.
    options.deadline = Duration::from_secs(20);
    let clock = Arc::new(ManualClock::new(now()));
    Cql::connect(options, clock).await.expect("a connection")
}

/// A space that no other case uses, in a keyspace whose schema is there.
async fn space() -> String {
    static READY: OnceCell<()> = OnceCell::const_new();
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let prepare = || async {
        let cql = connect(String::new()).await;
        let replication = Replication::of("datacenter1", 1);
        schema::apply(&cql, &replication).await.expect("a schema");
    };
    READY.get_or_init(prepare).await;
    format!("case{}/", NEXT.fetch_add(1, Ordering::SeqCst))
}

async fn open_documents(space: String) -> Arc<dyn Documents> {
    let cql = connect(space).await;
    Arc::new(cql.documents(Service::Ingest).await.expect("documents"))
}

async fn open_series(space: String) -> Arc<dyn Series> {
    Arc::new(connect(space).await.series().await.expect("series"))
}

async fn documents() -> Instance<dyn Documents> {
    let space = space().await;
    Instance::new(open_documents(space.clone()).await)
        .reopened_by(move || open_documents(space.clone()))
}

async fn series() -> Instance<dyn Series> {
    let space = space().await;
    Instance::new(open_series(space.clone()).await).reopened_by(move || open_series(space.clone()))
}

fn storm(user: &str) -> Arc<Faults> {
    let clock: Arc<dyn Clock> = Arc::new(SimulatedClock::new(now()));
    Faults::seeded(clock, Random::fresh(user), Rates::STORM)
}

async fn stormy_documents() -> Instance<dyn Documents> {
    let faults = storm("stormy_documents");
    documents().await.wrapped(move |store| {
        let faulty = Arc::new(Faulty::new(store, Arc::clone(&faults)));
        Arc::new(Patient::new(faulty)) as Arc<dyn Documents>
    })
}

async fn stormy_series() -> Instance<dyn Series> {
    let faults = storm("stormy_series");
    series().await.wrapped(move |store| {
        let faulty = Arc::new(Faulty::new(store, Arc::clone(&faults)));
        Arc::new(Patient::new(faulty)) as Arc<dyn Series>
    })
}

fn can() -> hearth_conformance::series::Capabilities {
    hearth_conformance::series::Capabilities::default().write_only()
}

hearth_conformance::documents_conformance!(documents_on_cassandra, documents);
hearth_conformance::documents_persistence!(documents_reopened, documents);
hearth_conformance::series_conformance!(series_on_cassandra, series, can());
hearth_conformance::series_persistence!(series_reopened, series, can());
hearth_conformance::documents_conformance!(documents_in_a_storm, stormy_documents);
hearth_conformance::series_conformance!(series_in_a_storm, stormy_series, can().repeated());
