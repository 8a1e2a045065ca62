//! What somebody with a SQLite shell could do to a data folder, each named; and what is right, without alarm.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hearth_backend_sqlite::Stores;
use hearth_engine::checkpoint::{Checkpoints, Head, Kept};
use hearth_engine::hashing::link;
use hearth_engine::{Commit, CommitKind, StoredEvent};
use hearth_kernel::{AggregateRef, Service, Timestamp};
use hearth_ports::{
    Clock as _, Documents as _, Expected, Family, Log as _, ManualClock, Purge, Read, Subject,
    SystemClock, Table, Tasks,
};
use hearth_vault::Vault;
use prost::Message as _;
use rusqlite::{Connection, params};
use uuid::Uuid;

use crate::ctl::verify::{Found, verify};
use crate::installation::Folders;

const SERVICE: Service = Service::Accounts;

/// An installation in a folder, closed.
struct House {
    folder: tempfile::TempDir,
    clock: ManualClock,
}

/// The same, open.
struct Open {
    stores: Stores,
    vault: Vault,
    tasks: Tasks,
    clock: ManualClock,
}

fn reference(thing: u128) -> AggregateRef {
    AggregateRef::new(SERVICE, "thing", Uuid::from_u128(thing))
}

fn subject(thing: u128) -> Subject {
    Subject::aggregate(Family::Evt, &reference(thing))
}

impl House {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            clock: ManualClock::new(SystemClock.now()),
        }
    }

    /// With two things, of two and three commits, under a checkpoint; and one more of each under the next.
    async fn furnished() -> Self {
        let house = Self::new();
        let open = house.open().await;
        for thing in [1, 2, 1, 2, 2] {
            open.commit(thing).await;
        }
        open.make().await;
        for thing in [1, 2] {
            open.commit(thing).await;
        }
        open.make().await;
        open.close().await;
        house
    }

    fn folders(&self, of: &Path) -> Folders {
        Folders::new(of.join("data"), None, None)
    }

    async fn open(&self) -> Open {
        let folders = self.folders(self.folder.path());
        let stores = folders.open(Arc::new(SystemClock)).await.unwrap();
        let tasks = Tasks::new();
        let (log, custody) = (Arc::clone(&stores.log), Arc::clone(&stores.custody));
        let vault = Vault::start(log, custody, Arc::new(SystemClock), &tasks);
        Open {
            vault: vault.await.unwrap(),
            stores,
            tasks,
            clock: self.clock.clone(),
        }
    }

    fn shell(&self) -> Connection {
        Connection::open(self.folder.path().join("data/log.db")).unwrap()
    }

    async fn verify(&self, kept: &[Kept]) -> Found {
        let folders = self.folders(self.folder.path());
        let stores = folders.open(Arc::new(SystemClock)).await.unwrap();
        let found = verify(&stores, kept, self.clock.now()).await.unwrap();
        stores.close();
        found
    }

    /// The only finding, of a history whose chains are whole.
    async fn only(&self, kept: &[Kept]) -> String {
        let found = self.verify(kept).await;
        assert_eq!(found.findings.len(), 1, "{:?}", found.findings);
        let end = found.end().unwrap().to_string();
        assert!(
            end.contains("0 faults") && end.contains("1 findings"),
            "{end}"
        );
        found.findings[0].clone()
    }

    async fn is_well(&self, kept: &[Kept]) {
        let found = self.verify(kept).await;
        assert!(found.findings.is_empty(), "{:?}", found.findings);
        assert!(found.end().is_none());
    }

    async fn newest(&self) -> Kept {
        let open = self.open().await;
        let noted = hearth_engine::checkpoint::noted(&*open.stores.documents, SERVICE).await;
        open.close().await;
        noted.unwrap().unwrap()
    }
}

impl Open {
    async fn append(&self, thing: u128, what: CommitKind) {
        let subject = subject(thing);
        let last = self.stores.log.last(&subject, Read::Leader).await.unwrap();
        let before = last.as_ref().map(|it| Commit::read(&it.bytes).unwrap());
        let before = before.unwrap_or_default();
        let events = u64::try_from(before.events.len()).unwrap();
        let ends = what == CommitKind::Tombstone;
        let commit = Commit {
            service: u32::from(SERVICE.number()),
            kind: "thing".to_owned(),
            aggregate: Bytes::copy_from_slice(Uuid::from_u128(thing).as_bytes()),
            version: before.version + 1,
            base: before.base + events,
            what: what.into(),
            decided_at: self.clock.now().micros(),
            events: if ends {
                Vec::new()
            } else {
                vec![StoredEvent::default()]
            },
            previous: last
                .as_ref()
                .map_or_else(Bytes::new, |it| Bytes::copy_from_slice(&link(&it.bytes))),
            ..Commit::default()
        };
        let expected = Expected::Subject(last.map(|it| it.position));
        let bytes = Bytes::from(commit.encode_to_vec());
        let position = self
            .stores
            .log
            .append(&subject, expected, bytes)
            .await
            .unwrap();
        if ends {
            let purged = self.stores.log.purge(&subject, position, Purge::KeepLast);
            purged.await.unwrap();
        }
    }

    async fn commit(&self, thing: u128) {
        self.append(thing, CommitKind::Decision).await;
    }

    async fn purge(&self, thing: u128) {
        self.append(thing, CommitKind::Tombstone).await;
    }

    async fn make(&self) -> u64 {
        let stores = &self.stores;
        let checkpoints = Checkpoints::new(
            SERVICE,
            (
                Arc::clone(&stores.log) as _,
                Arc::clone(&stores.documents) as _,
            ),
            Arc::clone(&stores.leases) as _,
            self.vault.handle(SERVICE),
            Arc::new(self.clock.clone()),
        );
        checkpoints.make().await.unwrap()
    }

    async fn close(self) {
        assert!(self.tasks.stop(Duration::from_secs(10)).await);
        self.stores.close();
    }
}

/// The rows of a subject: sequence and bytes, oldest first.
fn rows(shell: &Connection, tokens: &str) -> Vec<(i64, Vec<u8>)> {
    let sql = "SELECT seq, bytes FROM evt_accounts WHERE subject = ?1 ORDER BY seq";
    let mut statement = shell.prepare(sql).unwrap();
    let rows = statement.query_map([tokens], |row| Ok((row.get(0)?, row.get(1)?)));
    rows.unwrap().map(Result::unwrap).collect()
}

fn replace(shell: &Connection, sequence: i64, commit: &Commit) {
    let sql = "UPDATE evt_accounts SET bytes = ?2 WHERE seq = ?1";
    let changed = shell.execute(sql, params![sequence, commit.encode_to_vec()]);
    assert_eq!(changed.unwrap(), 1);
}

fn delete(shell: &Connection, sequence: i64) {
    let sql = "DELETE FROM evt_accounts WHERE seq = ?1";
    assert_eq!(shell.execute(sql, [sequence]).unwrap(), 1);
}

fn heads(shell: &Connection) -> Vec<(i64, Vec<u8>)> {
    rows(shell, hearth_engine::checkpoint::subject(SERVICE).tokens())
}

#[tokio::test]
async fn a_history_that_nobody_touched_is_well_and_counted() {
    let house = House::furnished().await;
    house.is_well(&[house.newest().await]).await;
    let open = house.open().await;
    open.commit(3).await;
    open.close().await;
    house.is_well(&[]).await;
}

#[tokio::test]
async fn a_newest_commit_that_was_cut_off_is_named() {
    let house = House::furnished().await;
    let shell = house.shell();
    delete(&shell, rows(&shell, subject(2).tokens()).last().unwrap().0);
    drop(shell);
    let finding = house.only(&[]).await;
    let name = subject(2).to_string();
    assert!(
        finding.contains(&name) && finding.contains("cut off"),
        "{finding}"
    );
    assert!(
        finding.contains("version 3, before version 4, which checkpoint 2"),
        "{finding}"
    );
}

#[tokio::test]
async fn a_chain_that_was_computed_anew_is_named() {
    let house = House::furnished().await;
    let shell = house.shell();
    let mut previous: Option<[u8; 32]> = None;
    for (sequence, bytes) in rows(&shell, subject(1).tokens()) {
        let mut commit = Commit::read(&bytes).unwrap();
        commit.actor = Bytes::from_static(b"somebody else");
        if let Some(previous) = previous {
            commit.previous = Bytes::copy_from_slice(&previous);
        }
        previous = Some(link(&commit.encode_to_vec()));
        replace(&shell, sequence, &commit);
    }
    drop(shell);
    let finding = house.only(&[]).await;
    let name = subject(1).to_string();
    assert!(
        finding.contains(&name) && finding.contains("was changed"),
        "{finding}"
    );
}

#[tokio::test]
async fn an_aggregate_that_was_taken_out_is_named() {
    let house = House::furnished().await;
    let shell = house.shell();
    for (sequence, _) in rows(&shell, subject(2).tokens()) {
        delete(&shell, sequence);
    }
    drop(shell);
    let finding = house.only(&[]).await;
    assert!(
        finding.contains("EVT_ACCOUNTS/thing with the subject hash"),
        "{finding}"
    );
    assert!(
        finding.contains("is missing: it had version 4"),
        "{finding}"
    );
    // Where its id still stands anywhere, it has its name.
    let open = house.open().await;
    let fact = Subject::fact(SERVICE, "other", Uuid::from_u128(2));
    let stated = open
        .stores
        .log
        .append(&fact, Expected::Subject(None), Bytes::new());
    stated.await.unwrap();
    open.close().await;
    let finding = house.only(&[]).await;
    assert!(finding.contains(&subject(2).to_string()), "{finding}");
}

#[tokio::test]
async fn a_newest_checkpoint_that_was_taken_out_is_named() {
    let house = House::furnished().await;
    let kept = house.newest().await;
    let shell = house.shell();
    delete(&shell, heads(&shell).last().unwrap().0);
    drop(shell);
    let finding = house.only(&[]).await;
    assert!(finding.contains("was taken out of the log"), "{finding}");
    let findings = house.verify(&[kept]).await.findings;
    assert!(
        findings.iter().any(|it| it.contains("rolled back")),
        "{findings:?}"
    );
}

#[tokio::test]
async fn a_folder_that_was_rolled_back_contradicts_what_was_kept_and_nothing_else() {
    let house = House::furnished().await;
    let before = house.newest().await;
    let copy = |to: &str| {
        let sql = format!("VACUUM INTO '{}'", house.folder.path().join(to).display());
        for name in ["log.db", "documents.db"] {
            let path = house.folder.path().join("data").join(name);
            let shell = Connection::open(path).unwrap();
            shell
                .execute_batch(&sql.replace(to, &format!("{to}-{name}")))
                .unwrap();
        }
    };
    copy("then");
    let open = house.open().await;
    open.commit(1).await;
    open.make().await;
    open.close().await;
    let kept = house.newest().await;
    house.is_well(&[before, kept]).await;
    for name in ["log.db", "documents.db"] {
        for beside in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(house.folder.path().join(format!("data/{name}{beside}")));
        }
        let then = house.folder.path().join(format!("then-{name}"));
        std::fs::copy(then, house.folder.path().join("data").join(name)).unwrap();
    }
    house.is_well(&[before]).await;
    let finding = house.only(&[kept]).await;
    assert!(finding.contains("rolled back or cut off"), "{finding}");
    assert!(finding.contains(&kept.to_string()), "{finding}");
    // And whoever goes on from there makes another history under the same number.
    let open = house.open().await;
    open.commit(2).await;
    open.make().await;
    open.close().await;
    house.is_well(&[before]).await;
    let finding = house.only(&[kept]).await;
    assert!(finding.contains("this history was rewritten"), "{finding}");
}

#[tokio::test]
async fn a_purge_is_no_alarm_before_and_after_the_next_checkpoint_and_when_its_time_is_over() {
    let house = House::furnished().await;
    let open = house.open().await;
    open.purge(1).await;
    open.commit(2).await;
    open.purge(2).await;
    open.close().await;
    house.is_well(&[]).await;
    let open = house.open().await;
    open.make().await;
    open.close().await;
    house.is_well(&[]).await;
    // A tombstone of an episodic one goes after thirty days.
    let shell = house.shell();
    delete(&shell, rows(&shell, subject(1).tokens())[0].0);
    drop(shell);
    assert!(house.only(&[]).await.contains("is missing"), "too early");
    house.clock.advance(Duration::from_secs(30 * 86_400));
    house.is_well(&[]).await;
}

#[tokio::test]
async fn a_tombstone_of_another_history_is_named() {
    let house = House::furnished().await;
    let open = house.open().await;
    open.purge(1).await;
    open.close().await;
    let shell = house.shell();
    let (sequence, bytes) = rows(&shell, subject(1).tokens()).remove(0);
    let mut tombstone = Commit::read(&bytes).unwrap();
    tombstone.previous = Bytes::from_static(&[1; 32]);
    replace(&shell, sequence, &tombstone);
    drop(shell);
    let finding = house.only(&[]).await;
    assert!(
        finding.contains("its tombstone does not follow"),
        "{finding}"
    );
}

#[tokio::test]
async fn what_was_put_in_among_the_covered_is_named() {
    let house = House::furnished().await;
    let open = house.open().await;
    open.purge(1).await;
    open.make().await;
    open.close().await;
    let shell = house.shell();
    let strange = Commit {
        service: u32::from(SERVICE.number()),
        kind: "thing".to_owned(),
        aggregate: Bytes::copy_from_slice(Uuid::from_u128(9).as_bytes()),
        version: 1,
        ..Commit::default()
    };
    // The first place is free since the purge.
    let sql = "INSERT INTO evt_accounts(seq, subject, at, bytes) VALUES (1, ?1, 0, ?2)";
    let (subject, strange) = (subject(9), strange.encode_to_vec());
    shell
        .execute(sql, params![subject.tokens(), strange])
        .unwrap();
    drop(shell);
    let finding = house.only(&[]).await;
    assert!(finding.contains("that no checkpoint saw"), "{finding}");
    assert!(finding.contains(&subject.to_string()), "{finding}");
}

#[tokio::test]
async fn a_signature_that_is_not_the_services_is_named_and_stays_to_be_seen() {
    let house = House::furnished().await;
    let shell = house.shell();
    let (sequence, bytes) = heads(&shell).pop().unwrap();
    let mut commit = Commit::read(&bytes).unwrap();
    let mut head = Head::of(&commit).unwrap();
    let mut signature = head.signature.to_vec();
    signature[0] ^= 1;
    head.signature = signature.into();
    commit.events[0].public = Bytes::from(head.encode_to_vec());
    replace(&shell, sequence, &commit);
    drop(shell);
    let findings = house.verify(&[]).await.findings;
    assert!(
        findings[0].contains("checkpoint 2 was not signed by this service"),
        "{findings:?}"
    );
    let open = house.open().await;
    open.commit(1).await;
    assert_eq!(open.make().await, 1);
    open.close().await;
    let findings = house.verify(&[]).await.findings;
    assert_eq!(findings.len(), 2, "{findings:?}");
    assert!(
        findings[1].contains("the one before it did not verify"),
        "{findings:?}"
    );
}

#[tokio::test]
async fn leaves_that_were_taken_out_are_named_and_those_of_a_crash_are_not_missed() {
    let house = House::furnished().await;
    let open = house.open().await;
    let table = Table("engine_leaves");
    // Leaves of a checkpoint that never came to its head.
    let (partition, stray) = (
        b"accounts.00000000000000000003",
        Bytes::from_static(b"\xff"),
    );
    let put = open
        .stores
        .documents
        .put(table, partition, &[7; 36], 1, stray);
    put.await.unwrap();
    open.close().await;
    house.is_well(&[]).await;
    let open = house.open().await;
    let partition = b"accounts.00000000000000000001";
    let dropped = open
        .stores
        .documents
        .drop_partition(table, partition, i64::MAX);
    dropped.await.unwrap();
    open.close().await;
    assert!(house.only(&[]).await.contains("the leaves of checkpoint 1"));
}

#[tokio::test]
async fn keys_of_several_years_are_all_the_services() {
    let house = House::furnished().await;
    for _ in 0..2 {
        house.clock.advance(Duration::from_secs(366 * 86_400));
        let open = house.open().await;
        open.commit(1).await;
        open.make().await;
        open.close().await;
    }
    house.is_well(&[]).await;
    assert!(house.clock.now() > Timestamp::EPOCH);
}
