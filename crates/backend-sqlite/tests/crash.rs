//! Kills a process that writes, again and again, and looks whether anything that was acked is missing or doubled.
//!
//! The process is this test binary, started on one of its tests with the folder as its working directory. It says
//! `ack <store> <chain> <sequence> <number>` after each answer; the parent kills it after a random number of those.
#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and the two processes talk through stdout"
)]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use hearth_backend_sqlite::{DataFolder, Stores};
use hearth_conformance::Random;
use hearth_kernel::{ClaimId, Day, HomeId, HubStreamId, RetentionClass, Service};
use hearth_ports::{
    BlobKey, Blobs, Documents, Expected, Family, Log, Position, Read, SegmentKey, Series,
    StoredSegment, Stream, Subject, SystemClock, Table,
};

/// How often the process is killed.
const KILLS: usize = 20;
/// Aggregates, shards and the like that are written at once.
const CHAINS: u8 = 4;
const TABLE: Table = Table("crash_rows");
/// Only in a folder with this file does that test do anything.
const INVITATION: &str = "crash-here";

async fn open(folder: &Path) -> Stores {
    let [data, keys, escrow] = ["data", "keys", "escrow"].map(|name| folder.join(name));
    DataFolder::open(&data, &keys, &escrow, Arc::new(SystemClock))
        .await
        .expect("a data folder that opens after a kill")
}

fn chain(family: Family, chain: u8) -> Subject {
    let stream = Stream::new(family, Service::Accounts);
    Subject::from_tokens(stream, format!("crash.{chain:032x}"))
}

fn number(bytes: &[u8]) -> u64 {
    let text = std::str::from_utf8(bytes).expect("a text");
    text.trim_end_matches('.').parse().expect("a number")
}

fn segment(id: u8, sequence: u64) -> StoredSegment {
    StoredSegment {
        key: SegmentKey {
            home: HomeId::from_bytes([id; 16]),
            day: Day::from_number(20_000),
            class: RetentionClass::Days30,
            claim: ClaimId::default(),
            stream: HubStreamId::default(),
            sequence,
        },
        sealed: Bytes::from(sequence.to_string()),
    }
}

fn blob(number: u64) -> BlobKey {
    BlobKey::parse(&format!("crash/{number:08}")).expect("a key")
}

/// Appends numbers to one aggregate, each behind the one before, from where it was left.
async fn write_chain(stores: &Stores, family: Family, id: u8) {
    let subject = chain(family, id);
    let last = stores
        .log
        .last(&subject, Read::Leader)
        .await
        .expect("a read");
    let mut next = last.as_ref().map_or(0, |last| number(&last.bytes) + 1);
    let mut position = last.map(|last| last.position);
    loop {
        let at = stores
            .log
            .append(
                &subject,
                Expected::Subject(position),
                Bytes::from(next.to_string()),
            )
            .await
            .expect("an append");
        println!("ack {family:?} {id} {} {next}", at.sequence);
        position = Some(at);
        next += 1;
    }
}

/// Appends frames; nothing tells them apart but their position.
async fn write_frames(stores: &Stores, shard: u8) {
    for next in 0_u64.. {
        // Greater than a page, so that a frame spans several.
        let frame = format!("{next}{}", ".".repeat(20_000));
        let at = stores
            .log
            .append(
                &Subject::telemetry(shard),
                Expected::Any,
                Bytes::from(frame),
            )
            .await
            .expect("a frame");
        println!("ack Telemetry {shard} {} {next}", at.sequence);
    }
}

async fn write_rows(stores: &Stores, from: u64) {
    for next in from.. {
        let stamp = i64::try_from(next).expect("a small number");
        let value = Bytes::from(next.to_string());
        stores
            .documents
            .put(TABLE, b"p", &next.to_be_bytes(), stamp, value)
            .await
            .expect("a document");
        println!("ack documents 0 {next} {next}");
        let segments = [segment(1, next), segment(2, next)];
        stores
            .series
            .put_segments(&segments)
            .await
            .expect("segments");
        println!("ack series 0 {next} {next}");
        let bytes = Bytes::from(next.to_string());
        stores
            .blobs
            .create(&blob(next), bytes)
            .await
            .expect("a blob");
        println!("ack blobs 0 {next} {next}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_that_is_killed() {
    // Run as a test among others, without an invitation, there is nothing to do.
    let invited = std::fs::read_to_string(INVITATION);
    let Ok(from) = invited else { return };
    let stores = open(Path::new(".")).await;
    let from = from.parse().expect("a number");
    let stores = &stores;
    let chains = (0..CHAINS).map(|id| async move {
        tokio::join!(
            write_chain(stores, Family::Evt, id),
            write_chain(stores, Family::Rec, id),
            write_frames(stores, id)
        );
    });
    futures::future::join(futures::future::join_all(chains), write_rows(stores, from)).await;
}

/// What was acked: by store and sequence, the chain and the number.
type Acked = BTreeMap<(String, u64), (u8, u64)>;

/// Starts the writer in a folder.
fn start(folder: &Path) -> Child {
    Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "the_process_that_is_killed", "--nocapture"])
        .current_dir(folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a process")
}

/// Lets the writer write until it has acked that many, kills it, and collects what else it had said.
fn run_and_kill(folder: &Path, after: u64, acked: &mut Acked) {
    let mut child = start(folder);
    let stdout = child.stdout.take().expect("its stdout");
    let mut left = after;
    for line in BufReader::new(stdout).lines() {
        let line = line.expect("a line");
        // The harness prints the test's name before the first line, without ending its own.
        let Some(at) = line.find("ack ") else {
            continue;
        };
        let words: Vec<&str> = line[at + 4..].split(' ').collect();
        let [store, chain, sequence, number] = words[..] else {
            continue;
        };
        let chain = chain.parse().expect("a chain");
        let sequence = sequence.parse().expect("a sequence");
        let number = number.parse().expect("a number");
        let before = acked.insert((store.to_owned(), sequence), (chain, number));
        assert_eq!(before, None, "{store} gave {sequence} twice");
        left = left.saturating_sub(1);
        if left == 0 {
            child.kill().expect("a kill");
        }
    }
    let status = child.wait().expect("an end");
    assert!(
        !status.success() && status.code().is_none(),
        "it ended by itself: {status}"
    );
}

async fn all(log: &dyn Log, stream: Stream) -> BTreeMap<u64, (Subject, u64)> {
    let mut found = BTreeMap::new();
    let mut after = Position::START;
    loop {
        let page = log.page(stream, after, 500).await.expect("a page");
        let Some(last) = page.last() else {
            return found;
        };
        after = last.position;
        for message in page {
            let text = number(&message.bytes);
            found.insert(message.position.sequence, (message.subject, text));
        }
    }
}

/// Everything acked is there, once, in order, and nothing is there that was never written.
async fn verify(stores: &Stores, acked: &Acked) {
    for family in [Family::Evt, Family::Rec, Family::Telemetry] {
        verify_stream(stores, family, acked).await;
    }
    verify_rows(stores, acked).await;
}

async fn verify_stream(stores: &Stores, family: Family, acked: &Acked) {
    let (name, keeps_all) = (format!("{family:?}"), family != Family::Rec);
    let subject = |id: u8| match family {
        Family::Telemetry => Subject::telemetry(id),
        _ => chain(family, id),
    };
    let stream = subject(0).stream();
    let stored = all(&*stores.log, stream).await;
    let last = stored.keys().last().copied();
    let head = stores.log.head(stream).await.expect("a head");
    assert_eq!(head.map(|head| head.sequence), last, "{name}");
    let mut newest = BTreeMap::new();
    for ((_, sequence), (id, number)) in acked.iter().filter(|((store, _), _)| *store == name) {
        newest.insert(*id, *number);
        if keeps_all {
            let there = stored.get(sequence);
            assert_eq!(there, Some(&(subject(*id), *number)), "{name} {sequence}");
        }
    }
    let dense = stored.keys().copied().eq(1..=last.unwrap_or(0));
    assert!(dense || !keeps_all, "{name} has gaps");
    for id in 0..CHAINS {
        let numbers: Vec<u64> = stored
            .values()
            .filter_map(|(of, number)| (*of == subject(id)).then_some(*number))
            .collect();
        match family {
            Family::Evt => {
                let count = u64::try_from(numbers.len()).expect("a small number");
                assert_eq!(numbers, (0..count).collect::<Vec<_>>(), "chain {id}");
            }
            Family::Rec => {
                let acked = newest.get(&id).copied();
                let kept = numbers.first().copied();
                assert!(numbers.len() <= 1 && kept >= acked, "chain {id}");
            }
            _ => {}
        }
    }
}

async fn verify_rows(stores: &Stores, acked: &Acked) {
    for (store, sequence) in acked.keys() {
        let expected = Bytes::from(sequence.to_string());
        let found = match store.as_str() {
            "documents" => {
                let key = sequence.to_be_bytes();
                let found = stores.documents.get(TABLE, b"p", &key).await;
                found.expect("a read").map(|document| document.value)
            }
            "blobs" => stores.blobs.read(&blob(*sequence), 0..99).await.ok(),
            _ => continue,
        };
        assert_eq!(found, Some(expected), "{store} {sequence}");
    }
    for id in [1, 2] {
        let key = segment(id, 0).key;
        let segments = stores
            .series
            .segments(key.home, key.day, None, usize::MAX)
            .await;
        let segments = segments.expect("segments");
        for (_, sequence) in acked.keys().filter(|(store, _)| store == "series") {
            let there = segments.binary_search_by_key(sequence, |one| one.key.sequence);
            let there = there.ok().and_then(|at| segments.get(at));
            assert_eq!(there, Some(&segment(id, *sequence)));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acked_is_lost_or_doubled_over_kills() {
    let mut random = Random::fresh("crash");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut acked = Acked::new();
    for kill in 0..KILLS {
        // Rows do not know where they were left, so each run gets numbers of its own.
        let from = u64::try_from(kill).expect("a small number") * 1_000_000;
        std::fs::write(folder.path().join(INVITATION), from.to_string()).expect("an invitation");
        let after = 1 + random.below(1_500);
        run_and_kill(folder.path(), after, &mut acked);
        if kill % 2 == 1 {
            // Every other time the next process finds what the kill left, not what this one made of it.
            let stores = open(folder.path()).await;
            verify(&stores, &acked).await;
        }
    }
    let stores = open(folder.path()).await;
    verify(&stores, &acked).await;
    assert!(acked.len() > KILLS, "the writers hardly wrote");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_start_that_is_killed_is_finished_by_the_next() {
    let parts = [
        "data/lock",
        "data/installation.new",
        "keys/epochs.bin",
        "escrow/rings",
        "escrow/epochs.bin",
        "data/log.db",
        "data/log.db-wal",
        "data/telemetry",
        "data/documents.db",
        "data/series.db",
        "data/series.db-wal",
        "data/blobs",
        "data/installation",
    ];
    for part in parts {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::write(folder.path().join(INVITATION), "0").expect("an invitation");
        let mut child = start(folder.path());
        while !folder.path().join(part).exists() {
            let ended = child.try_wait().expect("a process");
            assert_eq!(ended, None, "it ended before it made {part}");
            std::thread::yield_now();
        }
        child.kill().expect("a kill");
        child.wait().expect("an end");
        let id = open(folder.path()).await.installation;
        let stores = open(folder.path()).await;
        assert_eq!(stores.installation, id, "{part}");
        verify(&stores, &Acked::new()).await;
    }
}
