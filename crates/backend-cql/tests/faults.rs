//! Kills, pauses and cuts of a real Cassandra: what was acked is there, and every answer comes in time.

#![expect(clippy::expect_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use hearth_backend_cql::{Cql, CqlDocuments, CqlSeries, Options, Replication, schema};
use hearth_kernel::{ClaimId, Day, HomeId, HubStreamId, RetentionClass, Service};
use hearth_ports::{Documents, SegmentKey, Series, StoreError, StoredSegment, SystemClock, Table};
use hearth_servers::{Cache, Cassandra, Process, Toxiproxy};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

const TABLE: Table = Table("ingest_things");
const DAY: Day = Day::from_number(20_000);
const WRITERS: u8 = 4;
const KILLS: u32 = 3;
/// Acked writes between two kills.
const ACKS: u32 = 200;
const DEADLINE: Duration = Duration::from_secs(2);
/// A bound, not a measure.
const PATIENCE: Duration = Duration::from_secs(60);

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("an answer in time")
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("it ends")
}

async fn start() -> Arc<Cassandra> {
    let start = || Cassandra::start(&Cache::of_user().expect("a cache")).expect("a node");
    Arc::new(blocking(start).await)
}

async fn open(address: String) -> (CqlDocuments, CqlSeries) {
    let mut options = Options::new(vec![address], "datacenter1", "faults");
    options.deadline = DEADLINE;
    let cql = Cql::connect(options, Arc::new(SystemClock))
        .await
        .expect("a connection");
    schema::apply(&cql, &Replication::of("datacenter1", 1))
        .await
        .expect("a schema");
    let documents = cql.documents(Service::Ingest).await.expect("documents");
    (documents, cql.series().await.expect("series"))
}

fn home() -> HomeId {
    HomeId::from_bytes([7; 16])
}

fn segment(writer: u8, sequence: u64) -> StoredSegment {
    StoredSegment {
        key: SegmentKey {
            home: home(),
            day: DAY,
            class: RetentionClass::Days30,
            claim: ClaimId::from_bytes([1; 16]),
            stream: HubStreamId::from_bytes([writer; 16]),
            sequence,
        },
        sealed: Bytes::from(format!("{writer}/{sequence}")),
    }
}

#[track_caller]
fn assert_passing(error: &StoreError) {
    assert!(
        matches!(error, StoreError::Retryable(_) | StoreError::Unknown(_)),
        "a fault that passes was taken for another: {error:?}"
    );
}

/// Asks again until it works.
async fn until_it_works<T, F: Future<Output = Result<T, StoreError>>>(ask: impl Fn() -> F) -> T {
    within(async {
        loop {
            match ask().await {
                Ok(answer) => return answer,
                Err(error) => assert_passing(&error),
            }
            // What a caller does too: a refused connection answers at once.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acked_outlives_kills() {
    let server = start().await;
    let (documents, series) = open(server.address(0).to_string()).await;
    let acked = Arc::new(Semaphore::new(0));
    let over = Arc::new(AtomicBool::new(false));
    let written: Arc<Mutex<BTreeMap<u8, u64>>> = Arc::default();
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (documents, series) = (documents.clone(), series.clone());
        let (acked, over, written) = (Arc::clone(&acked), Arc::clone(&over), Arc::clone(&written));
        writers.spawn(async move {
            let mut sequence = 0_u64;
            while !over.load(Ordering::SeqCst) {
                let segment = segment(writer, sequence);
                let (stamp, value) = (
                    1 + i64::try_from(sequence).unwrap_or(0),
                    segment.sealed.clone(),
                );
                let (partition, key) = ([writer], sequence.to_be_bytes());
                until_it_works(|| documents.put(TABLE, &partition, &key, stamp, value.clone()))
                    .await;
                until_it_works(|| series.put_segments(std::slice::from_ref(&segment))).await;
                written.lock().expect("a lock").insert(writer, sequence);
                acked.add_permits(1);
                sequence += 1;
            }
        });
    }
    for _ in 0..KILLS {
        within(acked.acquire_many(ACKS))
            .await
            .expect("acked writes")
            .forget();
        let server = Arc::clone(&server);
        blocking(move || {
            server.kill(0);
            server.restart(0).expect("it starts again");
        })
        .await;
    }
    over.store(true, Ordering::SeqCst);
    within(writers.join_all()).await;
    let written = written.lock().expect("a lock").clone();
    let mut found = until_it_works(|| series.segments(home(), DAY, None, 1_000_000)).await;
    found.retain(|it| {
        written.iter().any(|(writer, last)| {
            it.key.stream == HubStreamId::from_bytes([*writer; 16]) && it.key.sequence <= *last
        })
    });
    let expected: Vec<StoredSegment> = written
        .iter()
        .flat_map(|(writer, last)| (0..=*last).map(|sequence| segment(*writer, sequence)))
        .collect();
    assert_eq!(found.len(), expected.len(), "acked segments are missing");
    assert!(found == expected, "segments differ from what was acked");
    for (writer, last) in written {
        for sequence in 0..=last {
            let (partition, key) = ([writer], sequence.to_be_bytes());
            let got = until_it_works(|| documents.get(TABLE, &partition, &key)).await;
            let value = got.expect("an acked document is missing").value;
            assert_eq!(value, segment(writer, sequence).sealed);
        }
    }
    let days = until_it_works(|| series.segment_days(home(), 10)).await;
    assert_eq!(days, [DAY]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_store_is_answered_for_in_time() {
    let server = start().await;
    let (documents, series) = open(server.address(0).to_string()).await;
    documents
        .put(TABLE, b"p", b"k", 1, Bytes::from("before"))
        .await
        .expect("a put");
    server.with_process(0, Process::pause);
    let put = within(documents.put(TABLE, b"p", b"k", 2, Bytes::from("during"))).await;
    assert!(matches!(put, Err(StoreError::Unknown(_))), "{put:?}");
    let put = within(series.put_segments(&[segment(1, 1)])).await;
    assert!(matches!(put, Err(StoreError::Unknown(_))), "{put:?}");
    let got = within(documents.get(TABLE, b"p", b"k")).await;
    assert!(matches!(got, Err(StoreError::Retryable(_))), "{got:?}");
    server.with_process(0, Process::resume);
    until_it_works(|| documents.put(TABLE, b"p", b"k", 2, Bytes::from("during"))).await;
    let got = until_it_works(|| documents.get(TABLE, b"p", b"k")).await;
    assert_eq!(
        got.map(|it| (it.stamp, it.value)),
        Some((2, Bytes::from("during")))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_and_a_silent_connection_pass() {
    let server = start().await;
    let (proxy, address) = {
        let server = Arc::clone(&server);
        blocking(move || {
            let cache = Cache::of_user().expect("a cache");
            let proxy = Toxiproxy::start(&cache).expect("a proxy");
            let address = proxy.proxy("cql", server.address(0)).expect("a proxy");
            (Arc::new(proxy), address)
        })
        .await
    };
    let (documents, _) = open(address.to_string()).await;
    let value = |it: &str| Bytes::from(it.to_owned());
    documents
        .put(TABLE, b"p", b"k", 1, value("before"))
        .await
        .expect("a put");
    for (stamp, silent) in [(2, false), (3, true)] {
        let toxic = Arc::clone(&proxy);
        blocking(move || {
            if silent {
                toxic.silence("cql")
            } else {
                toxic.cut("cql")
            }
        })
        .await
        .expect("a fault");
        let put = within(documents.put(TABLE, b"p", b"k", stamp, value("during"))).await;
        assert_passing(&put.expect_err("nobody can have answered"));
        let got = within(documents.get(TABLE, b"p", b"k")).await;
        assert!(matches!(got, Err(StoreError::Retryable(_))), "{got:?}");
        let healed = Arc::clone(&proxy);
        blocking(move || {
            healed.heal()?;
            healed.restore("cql")
        })
        .await
        .expect("healed");
        until_it_works(|| documents.put(TABLE, b"p", b"k", stamp, value("after"))).await;
        // "during" may still have arrived at the same stamp: the greater value stays.
        let got = until_it_works(|| documents.get(TABLE, b"p", b"k")).await;
        let got = got.expect("a document");
        assert_eq!(got.stamp, stamp);
        assert!(got.value == value("after") || got.value == value("during"));
    }
}
