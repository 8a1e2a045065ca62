//! The suites of the log and the leases on one topology, as they are and behind faults.

use std::sync::Arc;
use std::time::Duration;

use hearth_conformance::{Faults, Faulty, Instance, Patient, Random, Rates, SimulatedClock};
use hearth_kernel::Timestamp;
use hearth_ports::{Leases, Log};

use super::POOL;
use super::pool::STREAMS;

async fn log() -> Instance<dyn Log> {
    let account = Arc::new(POOL.account().await);
    let nats = account.connect().await;
    nats.declare(&STREAMS).await.expect("streams");
    let store: Arc<dyn Log> = Arc::new(nats.log());
    let again = Arc::clone(&account);
    Instance::new(store).holding(account).reopened_by(move || {
        let account = Arc::clone(&again);
        async move {
            let nats = account.connect().await;
            nats.declare(&STREAMS).await.expect("streams");
            Arc::new(nats.log()) as Arc<dyn Log>
        }
    })
}

async fn leases() -> Instance<dyn Leases> {
    let account = Arc::new(POOL.account().await);
    let nats = account.connect().await;
    nats.declare_leases().await.expect("the stream of leases");
    let store: Arc<dyn Leases> = Arc::new(nats.leases());
    let again = Arc::clone(&account);
    Instance::new(store)
        .holding(account)
        .reopened_by(move || {
            let account = Arc::clone(&again);
            async move { Arc::new(account.connect().await.leases()) as Arc<dyn Leases> }
        })
        // The clock is the servers'.
        .passing_time_by(|period: Duration| tokio::time::sleep(period))
}

hearth_conformance::log_conformance!(log_as_it_is, log);
hearth_conformance::log_persistence!(log_reopened, log);
hearth_conformance::leases_conformance!(leases_as_they_are, leases);
hearth_conformance::leases_persistence!(leases_reopened, leases);

/// The same stores in a storm: four of ten calls fail or wait, one of ten messages ends its tail.
fn storm(user: &str) -> Arc<Faults> {
    let clock = Arc::new(SimulatedClock::new(Timestamp::from_seconds(1_795_000_000)));
    Faults::seeded(clock, Random::fresh(user), Rates::STORM)
}

async fn stormy_log() -> Instance<dyn Log> {
    let faults = storm("stormy_log");
    log().await.wrapped(move |store| {
        let faulty = Arc::new(Faulty::new(store, Arc::clone(&faults)));
        Arc::new(Patient::new(faulty)) as Arc<dyn Log>
    })
}

async fn stormy_leases() -> Instance<dyn Leases> {
    let faults = storm("stormy_leases");
    leases().await.wrapped(move |store| {
        let faulty = Arc::new(Faulty::new(store, Arc::clone(&faults)));
        Arc::new(Patient::new(faulty)) as Arc<dyn Leases>
    })
}

hearth_conformance::log_conformance!(
    log_in_a_storm,
    stormy_log,
    hearth_conformance::log::Capabilities::default().repeated()
);
hearth_conformance::leases_conformance!(leases_in_a_storm, stormy_leases);
