//! The suites on memory: once as it is, and once behind faults, asked by a caller that follows the protocol.
//!
//! Nothing here is kept over a restart, so the persistence suites do not apply.

use std::sync::Arc;
use std::time::Duration;

use hearth_backend_memory::{
    Memory, MemoryBlobs, MemoryCustody, MemoryDocuments, MemoryLeases, MemoryLog, MemoryOutbound,
    MemorySeries,
};
use hearth_conformance::outbound::{Answer, Arrived, Channel, Through};
use hearth_conformance::{Faults, Faulty, Instance, Patient, Random, Rates, SimulatedClock};
use hearth_kernel::{InstallationId, Secret, Timestamp};
use hearth_ports::{
    AdjustableClock, Blobs, Clock, Documents, KeyCustody, Leases, Log, ManualClock, Outbound,
    OutboundError, Series, SystemClock,
};

fn now() -> Timestamp {
    Timestamp::from_seconds(1_795_000_000)
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(now()))
}

async fn log() -> Instance<dyn Log> {
    Instance::new(Arc::new(MemoryLog::new(clock())))
}

async fn documents() -> Instance<dyn Documents> {
    Instance::new(Arc::new(MemoryDocuments::default()))
}

async fn series() -> Instance<dyn Series> {
    Instance::new(Arc::new(MemorySeries::default()))
}

async fn blobs() -> Instance<dyn Blobs> {
    Instance::new(Arc::new(MemoryBlobs::default()))
}

async fn custody() -> Instance<dyn KeyCustody> {
    let installation = InstallationId::from_bytes([7; 16]);
    Instance::new(Arc::new(MemoryCustody::new(installation)))
}

async fn leases() -> Instance<dyn Leases> {
    let clock = clock();
    let leases = MemoryLeases::new(Arc::clone(&clock) as Arc<dyn Clock>);
    Instance::new(Arc::new(leases) as Arc<dyn Leases>).passing_time_by(move |period: Duration| {
        clock.advance(period);
        async {}
    })
}

hearth_conformance::log_conformance!(log_in_memory, log);
hearth_conformance::documents_conformance!(documents_in_memory, documents);
hearth_conformance::series_conformance!(series_in_memory, series);
hearth_conformance::blobs_conformance!(blobs_in_memory, blobs);
hearth_conformance::custody_conformance!(custody_in_memory, custody);
hearth_conformance::leases_conformance!(leases_in_memory, leases);

hearth_conformance::clock_conformance!(manual_clock, manual);
hearth_conformance::clock_conformance!(adjustable_clock, adjustable);
hearth_conformance::clock_conformance!(system_clock, system);
hearth_conformance::clock_conformance!(simulated_clock, simulated);

async fn manual() -> Instance<dyn Clock> {
    let clock = clock();
    Instance::new(Arc::clone(&clock) as Arc<dyn Clock>).passing_time_by(move |period| {
        clock.advance(period);
        async {}
    })
}

async fn adjustable() -> Instance<dyn Clock> {
    let clock = AdjustableClock::default();
    Instance::new(Arc::new(clock.clone()) as Arc<dyn Clock>).passing_time_by(move |period| {
        clock.advance(period);
        async {}
    })
}

async fn system() -> Instance<dyn Clock> {
    // The machine's time passes by itself, and that is what is looked at.
    Instance::new(Arc::new(SystemClock) as Arc<dyn Clock>).passing_time_by(tokio::time::sleep)
}

async fn simulated() -> Instance<dyn Clock> {
    let clock = SimulatedClock::new(now());
    Instance::new(Arc::new(clock.clone()) as Arc<dyn Clock>).passing_time_by(move |period| {
        clock.advance(period);
        async {}
    })
}

/// Outbound in memory, which is its own far side.
struct InMemory(Arc<MemoryOutbound>);

#[async_trait::async_trait]
impl Channel for InMemory {
    fn outbound(&self) -> Arc<dyn Outbound> {
        Arc::clone(&self.0) as _
    }

    async fn arrived(&self) -> Vec<Arrived> {
        let text = |secret: &Secret| secret.expose_text().unwrap_or_default().to_owned();
        let sent = self.0.sent().into_iter();
        sent.map(|mail| Arrived {
            to: vec![text(&mail.to)],
            subject: text(&mail.subject),
            text: text(&mail.text),
            attempt: mail.attempt,
        })
        .collect()
    }

    fn answer_next(&self, answer: Answer) {
        let why = Arc::new(std::io::Error::other("told to"));
        self.0.fail_next(match answer {
            Answer::Never => OutboundError::Refused(why),
            Answer::Later | Answer::Hang => OutboundError::Retryable(why),
        });
    }
}

async fn outbound() -> Instance<dyn Channel> {
    Instance::new(Arc::new(InMemory(Arc::default())) as Arc<dyn Channel>)
}

async fn stormy_outbound() -> Instance<dyn Channel> {
    let faults = storm("stormy_outbound");
    outbound().await.wrapped(move |channel| {
        let faults = Arc::clone(&faults);
        Through::new(channel, |inner| {
            Arc::new(Patient::new(Arc::new(Faulty::new(inner, faults))))
        })
    })
}

hearth_conformance::outbound_conformance!(
    outbound_in_memory,
    outbound,
    hearth_conformance::outbound::Capabilities::default().without_hanging()
);
hearth_conformance::outbound_conformance!(
    outbound_in_a_storm,
    stormy_outbound,
    hearth_conformance::outbound::Capabilities::default()
        .without_hanging()
        .repeated()
);

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

#[test]
fn a_memory_is_send_and_cheap_to_clone() {
    fn assert_shared<T: Clone + Send + Sync + 'static>() {}
    assert_shared::<Memory>();
}
