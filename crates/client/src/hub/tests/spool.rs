//! The spool: what was answered is there after any end of the process, and nothing stands for something else.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use hearth_kernel::{ClaimId, HubStreamId};

use super::reading;
use crate::hub::spool::{Spool, SpoolError};
use crate::hub::{HubClient, HubError, HubKey, HubOptions, Value, columns};

const CLAIM: ClaimId = ClaimId::from_bytes([1; 16]);
/// Where the process that is killed has its spool.
const FOLDER: &str = "HEARTH_TEST_SPOOL";

fn stream(n: u8) -> HubStreamId {
    HubStreamId::from_bytes([n; 16])
}

fn batch(n: i64) -> hearth_api::ingest::v1::Columns {
    columns::of(&[reading(1, n, Value::Number(1.0))]).unwrap()
}

fn client(folder: &Path, buffer: usize) -> Result<HubClient, HubError> {
    let (key, _) = HubKey::generate().unwrap();
    let options = HubOptions {
        audience: "test".into(),
        claim: CLAIM,
        buffer,
    };
    HubClient::open(key, options, folder)
}

#[test]
fn a_torn_end_is_cut_off_wherever_it_tore_and_the_rest_gets_another_stream() {
    let folder = tempfile::tempdir().unwrap();
    let mut ends = vec![0u64];
    let file = folder.path().join(format!("{:020}.batches", 1));
    {
        let (mut spool, _) = Spool::open(folder.path(), CLAIM, stream(1)).unwrap();
        for n in 1..=3 {
            spool.append(&batch(n), 0).unwrap();
            ends.push(std::fs::metadata(&file).unwrap().len());
        }
    }
    let bytes = std::fs::read(&file).unwrap();
    let near = |length: &usize| ends.iter().any(|end| (*length as u64).abs_diff(*end) <= 1);
    for length in (0..=bytes.len()).filter(|it| it % 13 == 0 || near(it)) {
        std::fs::write(&file, &bytes[..length]).unwrap();
        std::fs::remove_file(folder.path().join("stream")).unwrap();
        super::super::spool::write_state(folder.path(), CLAIM, stream(1), 0).unwrap();
        let (mut spool, found) = Spool::open(folder.path(), CLAIM, stream(2)).unwrap();
        let whole = ends.iter().filter(|end| **end <= length as u64).count() - 1;
        assert_eq!(found.batches.len(), whole);
        let is_torn = !ends.contains(&(length as u64));
        assert_eq!(
            found.stream,
            stream(if is_torn { 2 } else { 1 }),
            "{length}"
        );
        spool.append(&batch(9), 0).unwrap();
        drop(spool);
        let (_, again) = Spool::open(folder.path(), CLAIM, stream(3)).unwrap();
        assert_eq!(
            (again.stream, again.batches.len()),
            (found.stream, whole + 1)
        );
        assert_eq!(again.batches[whole], batch(9));
    }
}

#[test]
fn a_spool_is_of_one_claim_one_process_and_one_owner() {
    let folder = tempfile::tempdir().unwrap();
    let open = |claim| Spool::open(folder.path(), claim, stream(1));
    let first = open(CLAIM).unwrap();
    assert!(matches!(open(CLAIM), Err(SpoolError::InUse)));
    drop(first);
    let other = ClaimId::from_bytes([2; 16]);
    assert!(matches!(open(other), Err(SpoolError::OtherClaim)));
    for entry in std::fs::read_dir(folder.path()).unwrap() {
        let mode = entry.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

#[test]
fn files_that_hold_only_what_is_durable_go() {
    let folder = tempfile::tempdir().unwrap();
    let texts: Vec<_> = (0..10_000)
        .map(|n| reading(1, n, Value::Text(format!("{n:064}"))))
        .collect();
    let large = columns::of(&texts).unwrap();
    let (mut spool, _) = Spool::open(folder.path(), CLAIM, stream(1)).unwrap();
    for n in 1..=8u64 {
        spool.append(&large, n - 1).unwrap();
    }
    drop(spool);
    let (mut spool, found) = Spool::open(folder.path(), CLAIM, stream(2)).unwrap();
    assert_eq!((found.first, found.batches.len()), (7, 2));
    assert_eq!(found.stream, stream(1));
    spool.restream(stream(3), 7).unwrap();
    drop(spool);
    let (_, found) = Spool::open(folder.path(), CLAIM, stream(4)).unwrap();
    assert_eq!((found.stream, found.before), (stream(3), 7));
    assert_eq!((found.first, found.batches.len()), (8, 1));
}

#[test]
#[cfg(target_os = "linux")]
fn what_cannot_be_undone_is_the_last_that_is_tried() {
    let folder = tempfile::tempdir().unwrap();
    let (mut spool, _) = Spool::open(folder.path(), CLAIM, stream(1)).unwrap();
    spool.append(&batch(1), 0).unwrap();
    // A device that takes no bytes and cannot be cut.
    let full = std::fs::OpenOptions::new().append(true).open("/dev/full");
    let disk = std::mem::replace(&mut spool.current, full.unwrap());
    assert!(matches!(spool.append(&batch(2), 0), Err(SpoolError::Io(_))));
    spool.current = disk;
    assert!(matches!(
        spool.append(&batch(2), 0),
        Err(SpoolError::Failed)
    ));
    drop(spool);
    let (_, found) = Spool::open(folder.path(), CLAIM, stream(2)).unwrap();
    assert_eq!((found.stream, found.batches.len()), (stream(1), 1));
}

#[tokio::test]
async fn a_full_spool_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let hub = client(folder.path(), 1).unwrap();
    let readings = [reading(1, 1, Value::Number(1.0))];
    assert_eq!(hub.send(&readings).await.unwrap(), 1);
    assert!(matches!(hub.send(&readings).await, Err(HubError::Full)));
}

/// The process that is killed: sends for ever, and says what was answered. Without a folder it is the other half of the
/// test below and does nothing.
#[tokio::test]
async fn sends_for_ever() {
    let Some(folder) = std::env::var_os(FOLDER) else {
        return;
    };
    let hub = client(Path::new(&folder), 1 << 20).unwrap();
    loop {
        let sent = hub.send(&[reading(1, 1, Value::Number(1.0))]).await;
        println!("sent {}", sent.unwrap());
    }
}

#[test]
fn what_was_answered_is_there_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let mut answered = 0;
    for round in 1..=3usize {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--nocapture", "--exact"])
            .arg("hub::tests::spool::sends_for_ever")
            .env(FOLDER, folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let sent = lines.filter_map(|line| Some(line.ok()?.split_once("sent ")?.1.to_owned()));
        for number in sent.take(20 * round) {
            answered = number.parse().unwrap();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let hub = client(folder.path(), 1 << 20).unwrap();
        assert!(hub.waiting() >= answered, "round {round}");
    }
    assert!(answered >= 100);
}
