//! The suites of blobs on a real S3 store: as it is, over reopenings, and behind faults, asked by a caller that follows
//! the protocol.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use hearth_backend_objects::{Bucket, S3Blobs};
use hearth_conformance::{Faults, Faulty, Instance, Patient, Random, Rates, SimulatedClock};
use hearth_kernel::Timestamp;
use hearth_ports::Blobs;

#[path = "kit/store.rs"]
mod store;

const BUCKET: &str = "conformance";

async fn open(bucket: Bucket) -> Arc<dyn Blobs> {
    Arc::new(S3Blobs::open(bucket).await.expect("a bucket"))
}

async fn blobs() -> Instance<dyn Blobs> {
    let server = tokio::task::spawn_blocking(store::shared).await;
    let endpoint = server.expect("a store").endpoint();
    store::make(&endpoint, BUCKET).await;
    let bucket = store::bucket(endpoint, BUCKET);
    Instance::new(open(bucket.clone()).await).reopened_by(move || open(bucket.clone()))
}

async fn stormy_blobs() -> Instance<dyn Blobs> {
    let clock = Arc::new(SimulatedClock::new(Timestamp::from_seconds(1_795_000_000)));
    let faults = Faults::seeded(clock, Random::fresh("stormy_blobs"), Rates::STORM);
    blobs().await.wrapped(move |store| {
        let faulty = Arc::new(Faulty::new(store, Arc::clone(&faults)));
        Arc::new(Patient::new(faulty)) as Arc<dyn Blobs>
    })
}

hearth_conformance::blobs_conformance!(blobs_in_a_bucket, blobs);
hearth_conformance::blobs_persistence!(blobs_reopened, blobs);
hearth_conformance::blobs_conformance!(
    blobs_in_a_storm,
    stormy_blobs,
    hearth_conformance::blobs::Capabilities::default().repeated()
);
hearth_conformance::blobs_persistence!(
    blobs_reopened_in_a_storm,
    stormy_blobs,
    hearth_conformance::blobs::Capabilities::default().repeated()
);
