//! The suites on SQLite and on files: as they are, over reopenings, and behind faults, asked by a caller that follows
//! the protocol.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hearth_backend_sqlite::{
    DataFolder, FileCustody, FolderBlobs, SqliteDocuments, SqliteLeases, SqliteLog, SqliteSeries,
};
use hearth_conformance::{Faults, Faulty, Instance, Patient, Random, Rates, SimulatedClock};
use hearth_kernel::Timestamp;
use hearth_ports::{Blobs, Clock, Documents, KeyCustody, Leases, Log, ManualClock, Series};
use tempfile::TempDir;

fn now() -> Timestamp {
    Timestamp::from_seconds(1_795_000_000)
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(now()))
}

fn folder() -> Arc<TempDir> {
    Arc::new(tempfile::tempdir().expect("a temporary folder"))
}

/// An instance in a folder of its own, which the same function opens again.
fn instance<P: ?Sized + Send + Sync + 'static>(
    open: impl Fn(&Path) -> Arc<P> + Send + Sync + 'static,
) -> Instance<P> {
    let folder = folder();
    let store = open(folder.path());
    let path = folder.path().to_owned();
    Instance::new(store).holding(folder).reopened_by(move || {
        let store = open(&path);
        async { store }
    })
}

async fn log() -> Instance<dyn Log> {
    let clock = clock();
    instance(move |path| -> Arc<dyn Log> {
        Arc::new(SqliteLog::open(path, Arc::clone(&clock) as Arc<dyn Clock>).expect("a log"))
    })
}

async fn documents() -> Instance<dyn Documents> {
    let clock = clock();
    instance(move |path| -> Arc<dyn Documents> {
        let clock = Arc::clone(&clock) as Arc<dyn Clock>;
        Arc::new(SqliteDocuments::open(path, clock).expect("documents"))
    })
}

async fn series() -> Instance<dyn Series> {
    instance(|path| -> Arc<dyn Series> { Arc::new(SqliteSeries::open(path).expect("series")) })
}

async fn blobs() -> Instance<dyn Blobs> {
    instance(|path| -> Arc<dyn Blobs> {
        Arc::new(FolderBlobs::open(&path.join("blobs")).expect("blobs"))
    })
}

async fn custody() -> Instance<dyn KeyCustody> {
    // Only a data folder makes keys, so one is made, and closed again.
    let folder = folder();
    let [data, keys, escrow] = ["data", "keys", "escrow"].map(|name| folder.path().join(name));
    let stores = DataFolder::open(&data, &keys, &escrow, clock()).await;
    let installation = stores.expect("a data folder").installation;
    let open = move || -> Arc<dyn KeyCustody> {
        Arc::new(FileCustody::open(&keys, &escrow, installation).expect("custody"))
    };
    Instance::new(open()).holding(folder).reopened_by(move || {
        let store = open();
        async { store }
    })
}

async fn leases() -> Instance<dyn Leases> {
    let clock = clock();
    let on = Arc::clone(&clock);
    instance(move |path| -> Arc<dyn Leases> {
        let clock = Arc::clone(&on) as Arc<dyn Clock>;
        let documents = SqliteDocuments::open(path, Arc::clone(&clock)).expect("documents");
        Arc::new(SqliteLeases::new(&documents, clock))
    })
    .passing_time_by(move |period: Duration| {
        clock.advance(period);
        async {}
    })
}

hearth_conformance::log_conformance!(log_on_sqlite, log);
hearth_conformance::log_persistence!(log_reopened, log);
hearth_conformance::documents_conformance!(documents_on_sqlite, documents);
hearth_conformance::documents_persistence!(documents_reopened, documents);
hearth_conformance::series_conformance!(series_on_sqlite, series);
hearth_conformance::series_persistence!(series_reopened, series);
hearth_conformance::blobs_conformance!(blobs_in_a_folder, blobs);
hearth_conformance::blobs_persistence!(blobs_reopened, blobs);
hearth_conformance::custody_conformance!(custody_in_files, custody);
hearth_conformance::custody_persistence!(custody_reopened, custody);
hearth_conformance::leases_conformance!(leases_on_sqlite, leases);
hearth_conformance::leases_persistence!(leases_reopened, leases);

/// The same stores in a storm: four of ten calls fail or wait, one of ten messages ends its tail.
fn storm(user: &str) -> Arc<Faults> {
    let clock = Arc::new(SimulatedClock::new(now()));
    Faults::seeded(clock, Random::fresh(user), Rates::STORM)
}

macro_rules! in_a_storm {
    ($($name:ident, $fresh:ident, $port:ident;)+) => {$(
        async fn $name() -> Instance<dyn $port> {
            let faults = storm(stringify!($name));
            $fresh().await.wrapped(move |store| {
                let faulty = Arc::new(Faulty::new(store, Arc::clone(&faults)));
                Arc::new(Patient::new(faulty)) as Arc<dyn $port>
            })
        }
    )+};
}

in_a_storm! {
    stormy_log, log, Log;
    stormy_documents, documents, Documents;
    stormy_series, series, Series;
    stormy_blobs, blobs, Blobs;
    stormy_custody, custody, KeyCustody;
    stormy_leases, leases, Leases;
}

hearth_conformance::log_conformance!(
    log_in_a_storm,
    stormy_log,
    hearth_conformance::log::Capabilities::default().repeated()
);
hearth_conformance::log_persistence!(
    log_reopened_in_a_storm,
    stormy_log,
    hearth_conformance::log::Capabilities::default().repeated()
);
hearth_conformance::documents_conformance!(documents_in_a_storm, stormy_documents);
hearth_conformance::series_conformance!(
    series_in_a_storm,
    stormy_series,
    hearth_conformance::series::Capabilities::default().repeated()
);
hearth_conformance::blobs_conformance!(
    blobs_in_a_storm,
    stormy_blobs,
    hearth_conformance::blobs::Capabilities::default().repeated()
);
hearth_conformance::custody_conformance!(custody_in_a_storm, stormy_custody);
hearth_conformance::leases_conformance!(leases_in_a_storm, stormy_leases);
