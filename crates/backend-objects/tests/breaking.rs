//! What must hold on a real S3 store that is killed, paused, cut off and slow: an object that was answered is there,
//! whole; one that was not is there whole or not at all, and no answer says more than is known. And which buckets are
//! refused.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hearth_backend_objects::{Bucket, Deadlines, Keeping, OpenError, S3Blobs};
use hearth_ports::{BlobKey, Blobs, StoreError};
use hearth_servers::{Cache, Process, SeaweedFs, Toxiproxy};
use http::Method;
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::{JoinSet, spawn_blocking};

#[path = "kit/store.rs"]
mod store;

const BUCKET: &str = "breaking";
/// The longest that a test waits for one thing. A bound, not a measure.
const PATIENCE: Duration = Duration::from_secs(60);
/// Deadlines that a test can wait for.
const SHORT: Deadlines = Deadlines {
    connect: Duration::from_secs(1),
    short: Duration::from_secs(2),
    transfer: Duration::from_secs(2),
};

fn key(text: &str) -> BlobKey {
    BlobKey::parse(text).expect("a key of the right form")
}

fn bytes_of(name: &str) -> Bytes {
    Bytes::from(name.repeat(20_000))
}

async fn open(bucket: Bucket) -> Arc<S3Blobs> {
    Arc::new(S3Blobs::open(bucket).await.expect("a bucket"))
}

/// Whether the object is there; it must be whole then. Asked again while the store cannot tell: after a start it is
/// ready for a while before it finds its volumes.
async fn is_there(blobs: &S3Blobs, name: &str) -> bool {
    let asking = async {
        loop {
            match blobs.read(&key(name), 0..u64::MAX).await {
                Ok(bytes) => {
                    assert!(bytes == bytes_of(name), "{name} is not whole");
                    return true;
                }
                Err(StoreError::NotFound) => return false,
                Err(StoreError::Retryable(_)) => {}
                Err(error) => panic!("{name}: {error:?}"),
            }
        }
    };
    let asked = tokio::time::timeout(PATIENCE, asking).await;
    asked.unwrap_or_else(|_| panic!("{name}: no answer"))
}

/// What a caller does about `Unknown`: creates the same again, and takes what is there for its own.
async fn settle(blobs: &S3Blobs, name: &str) {
    let creating = async {
        loop {
            match blobs.create(&key(name), bytes_of(name)).await {
                Ok(()) | Err(StoreError::Conflict) => return,
                Err(StoreError::Retryable(_) | StoreError::Unknown(_)) => {
                    tokio::task::yield_now().await;
                }
                Err(error) => panic!("{name}: {error:?}"),
            }
        }
    };
    let created = tokio::time::timeout(PATIENCE, creating).await;
    created.unwrap_or_else(|_| panic!("{name}: no answer"));
    assert!(is_there(blobs, name).await, "{name} is not there");
}

/// Creates objects from four tasks until something fails; answers which were answered, and which are unknown.
async fn write_until_it_fails(
    blobs: &Arc<S3Blobs>,
    round: &str,
    answered: &Arc<AtomicUsize>,
) -> (Vec<String>, Vec<String>) {
    let mut writers = JoinSet::new();
    for writer in 0..4 {
        let (blobs, answered) = (Arc::clone(blobs), Arc::clone(answered));
        let round = round.to_owned();
        writers.spawn(async move {
            let mut acked = Vec::new();
            for number in 0..100_000 {
                let name = format!("{round}/{writer}/{number}");
                match blobs.create(&key(&name), bytes_of(&name)).await {
                    Ok(()) => {
                        acked.push(name);
                        answered.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(StoreError::Unknown(_)) => return (acked, Some(name)),
                    Err(StoreError::Retryable(_)) => return (acked, None),
                    Err(error) => panic!("{name}: {error:?}"),
                }
            }
            panic!("it never failed");
        });
    }
    let ended = tokio::time::timeout(PATIENCE, writers.join_all()).await;
    let (acked, unknown): (Vec<_>, Vec<_>) = ended.expect("an end").into_iter().unzip();
    (acked.concat(), unknown.into_iter().flatten().collect())
}

async fn until(done: impl Fn() -> bool) {
    let waiting = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .expect("it happens");
}

/// The store, for one test at a time: another one's kill would be a surprise.
async fn alone() -> (MutexGuard<'static, ()>, &'static SeaweedFs) {
    static ALONE: Mutex<()> = Mutex::const_new(());
    let alone = ALONE.lock().await;
    let server = spawn_blocking(store::shared).await.expect("a store");
    store::make(&server.endpoint(), BUCKET).await;
    (alone, server)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_survives_a_kill() {
    let (_alone, server) = alone().await;
    let blobs = open(store::bucket(server.endpoint(), BUCKET)).await;
    for round in ["first", "second", "third"] {
        settle(&blobs, &format!("{round}/ready")).await;
        let answered = Arc::new(AtomicUsize::new(0));
        let writing = write_until_it_fails(&blobs, round, &answered);
        let killing = async {
            until(|| answered.load(Ordering::Relaxed) >= 20).await;
            spawn_blocking(|| server.kill()).await.expect("a kill");
        };
        let ((acked, unknown), ()) = tokio::join!(writing, killing);
        // Nobody listens, so nothing was written, and that is what it says.
        let refused = blobs.create(&key("down"), Bytes::from("x")).await;
        assert!(
            matches!(refused, Err(StoreError::Retryable(_))),
            "{refused:?}"
        );
        let restarted = spawn_blocking(|| server.restart()).await;
        restarted.expect("a thread").expect("a restart");
        assert!(acked.len() >= 20);
        for name in &acked {
            assert!(
                is_there(&blobs, name).await,
                "{name} was answered and is gone"
            );
        }
        for name in &unknown {
            settle(&blobs, name).await;
        }
        assert!(!is_there(&blobs, "down").await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_hangs_leaves_it_unknown() {
    let (_alone, server) = alone().await;
    let mut bucket = store::bucket(server.endpoint(), BUCKET);
    let patient = open(bucket.clone()).await;
    bucket.deadlines = SHORT;
    let blobs = open(bucket).await;
    settle(&patient, "before").await;
    server.with_process(Process::pause);
    let created = blobs.create(&key("hung"), bytes_of("hung")).await;
    let read = blobs.read(&key("before"), 0..1).await;
    let listed = blobs.list("", None, 10).await.map(|_| ());
    let deleted = blobs.delete(&key("before")).await;
    server.with_process(Process::resume);
    assert!(
        matches!(created, Err(StoreError::Unknown(_))),
        "{created:?}"
    );
    assert!(matches!(read, Err(StoreError::Retryable(_))), "{read:?}");
    for answer in [listed, deleted] {
        assert!(
            matches!(answer, Err(StoreError::Retryable(_))),
            "{answer:?}"
        );
    }
    settle(&patient, "hung").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cut_before_the_answer_is_unknown_and_never_a_conflict() {
    let (_alone, server) = alone().await;
    let started = spawn_blocking(|| {
        let cache = Cache::of_user().expect("a cache");
        let proxy = Toxiproxy::start(&cache).expect("Toxiproxy");
        let address = store::shared().address();
        let listens = proxy.proxy("s3", address).expect("a proxy");
        (Arc::new(proxy), listens)
    });
    let (proxy, listens) = started.await.expect("a proxy");
    let toxic = |act: fn(&Toxiproxy)| {
        let proxy = Arc::clone(&proxy);
        async move { spawn_blocking(move || act(&proxy)).await.expect("a toxic") }
    };
    let direct = store::bucket(server.endpoint(), BUCKET);
    let mut far = direct.clone();
    far.endpoint = format!("http://{listens}");
    let near = open(direct).await;
    let patient = open(far.clone()).await;
    far.deadlines = SHORT;
    let hasty = open(far).await;

    // The answer is later than the deadline.
    toxic(|it| it.delay("s3", Duration::from_secs(20)).expect("slow")).await;
    let late = hasty.create(&key("late"), bytes_of("late")).await;
    assert!(matches!(late, Err(StoreError::Unknown(_))), "{late:?}");
    // The connection breaks when the object is there and its answer is on the way.
    let cut_off = key("cut");
    let creating = patient.create(&cut_off, bytes_of("cut"));
    let cutting = async {
        let appears = async { while !is_there(&near, "cut").await {} };
        tokio::time::timeout(PATIENCE, appears).await.expect("it");
        toxic(|it| it.cut("s3").expect("cut")).await;
    };
    let (cut, ()) = tokio::join!(creating, cutting);
    assert!(matches!(cut, Err(StoreError::Unknown(_))), "{cut:?}");
    // Without any connection nothing was sent.
    let refused = patient.create(&key("refused"), Bytes::from("x")).await;
    assert!(
        matches!(refused, Err(StoreError::Retryable(_))),
        "{refused:?}"
    );
    toxic(|it| it.heal().expect("healed")).await;
    // Nothing passes in the middle of it.
    toxic(|it| it.silence("s3").expect("silent")).await;
    let silent = hasty.create(&key("silent"), bytes_of("silent")).await;
    assert!(
        !matches!(silent, Ok(()) | Err(StoreError::Conflict)),
        "{silent:?}"
    );
    toxic(|it| it.heal().expect("healed")).await;
    for name in ["late", "cut", "silent"] {
        settle(&patient, name).await;
    }
    assert!(!is_there(&near, "refused").await);
}

/// Opens a bucket that has something, first without and then with leave.
async fn refused_for(name: &str, set: &[(&str, &str)], keeping: Keeping, allowed: &[Keeping]) {
    let endpoint = store::shared().endpoint();
    store::make(&endpoint, name).await;
    let mut bucket = store::bucket(endpoint.clone(), name);
    open(bucket.clone()).await;
    for (query, body) in set {
        let path = format!("{name}?{query}");
        let (status, answer) = store::ask(&endpoint, Method::PUT, &path, body).await;
        assert_eq!(status, 200, "{answer}");
    }
    let all_but: BTreeSet<Keeping> = allowed
        .iter()
        .copied()
        .filter(|it| *it != keeping)
        .collect();
    for wrong in [BTreeSet::new(), all_but] {
        bucket.allowed = wrong;
        let refused = S3Blobs::open(bucket.clone()).await;
        assert!(
            matches!(refused, Err(OpenError::Keeps(_))),
            "{name}: {refused:?}"
        );
    }
    bucket.allowed = allowed.iter().copied().collect();
    let blobs = open(bucket).await;
    settle(&blobs, "object").await;
    blobs.delete(&key("object")).await.expect("a deletion");
    assert!(!is_there(&blobs, "object").await);
}

fn versioning(status: &str) -> String {
    format!("<VersioningConfiguration><Status>{status}</Status></VersioningConfiguration>")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_keeps_what_is_deleted_is_refused_unless_allowed_by_name() {
    let (_alone, _) = alone().await;
    let (enabled, suspended) = (versioning("Enabled"), versioning("Suspended"));
    let lock = "<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled></ObjectLockConfiguration>";
    let versions = Keeping::Versioning;
    refused_for(
        "versions",
        &[("versioning", &enabled)],
        versions,
        &[versions],
    )
    .await;
    let was = [
        ("versioning", enabled.as_str()),
        ("versioning", suspended.as_str()),
    ];
    refused_for("suspended", &was, versions, &[versions]).await;
    let locked = [("versioning", enabled.as_str()), ("object-lock", lock)];
    let both = [versions, Keeping::ObjectLock];
    refused_for("locked", &locked, Keeping::ObjectLock, &both).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_bucket_and_no_leave_are_told_apart() {
    let (_alone, server) = alone().await;
    let endpoint = server.endpoint();
    let missing = S3Blobs::open(store::bucket(endpoint.clone(), "missing")).await;
    assert!(matches!(missing, Err(OpenError::NoBucket)), "{missing:?}");
    let mut bucket = store::bucket(endpoint, BUCKET);
    bucket.credentials.secret = "wrong".to_owned().into();
    let stranger = S3Blobs::open(bucket).await;
    assert!(
        matches!(&stranger, Err(OpenError::Unclear { why, .. }) if why.contains("403")),
        "{stranger:?}"
    );
}
