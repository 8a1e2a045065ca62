//! From the closing to the byte receipt.

use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;
use hearth_api::retention::v1 as api;
use hearth_engine::{Commit, EPISODIC_TOMBSTONES};
use hearth_kernel::{AccountId, HomeId, KeyId, Owner, ReceiptId, Service};
use hearth_ports::{Expected, Family, Position, Read, Stream, Subject, Table};
use hearth_retention_domain::erasure::{self, Next, State, next};
use hearth_retention_domain::limits;
use hearth_vault::Drill;

use super::fake::{Closing, id_of};
use super::fuse::Fuse;
use super::world::{Disk, Life, START};
use crate::app::Sweep;
use crate::search::{Marker, search};
use crate::{ReceiptError, verify_receipt};

pub(super) const ANNA: AccountId = AccountId::from_bytes(*b"anna's account..");
pub(super) const BEN: AccountId = AccountId::from_bytes(*b"ben's account...");
pub(super) const HOUSE: HomeId = HomeId::from_bytes(*b"house of anna...");
pub(super) const RECEIPT: ReceiptId = ReceiptId::from_bytes(*b"receipt for anna");
pub(super) const SECRET: [u8; 32] = [9; 32];
/// Whose rings are destroyed.
const SHREDDED: [Owner; 2] = [Owner::Account(ANNA), Owner::Home(HOUSE)];
const DAY: Duration = Duration::from_secs(86_400);
const GRACE: Duration = DAY.saturating_mul(3);

pub(super) fn closing(due: Option<bool>) -> Closing {
    Closing {
        account: ANNA,
        receipt: RECEIPT,
        secret: SECRET,
        grace_ends_at: START.plus(GRACE),
        due,
        homes: vec![HOUSE],
    }
}

/// Waits for a condition, with a bound that only a hang reaches.
pub(super) async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let wait = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), wait).await;
    assert!(waited.is_ok(), "never: {what}");
}

pub(super) async fn state(life: &Life) -> State {
    let loaded = life.app.load(life.app.erasure_of(RECEIPT)).await.unwrap();
    (*loaded.state).clone()
}

pub(super) async fn people(life: &Life) {
    for owner in [
        Owner::Account(ANNA),
        Owner::Home(HOUSE),
        Owner::Account(BEN),
    ] {
        life.accounts.write(owner, "a note in accounts").await;
    }
    for owner in [Owner::Account(ANNA), Owner::Account(BEN)] {
        life.notifications.write(owner, "a note elsewhere").await;
    }
}

/// Moves the clock whenever an erasure waits for it, until it has come that far.
pub(super) async fn go_on(life: &Life, far: impl Fn(&State) -> bool) {
    let clock = &life.world.disk.clock;
    until("the erasure goes on", async || {
        let now = life.app.engine.now();
        let state = state(life).await;
        if far(&state) {
            return true;
        }
        match next(&state, now) {
            Next::Wait(until) => clock.advance(until.since(now)),
            // The hourly round of the vault, and the pause between searches.
            Next::SignKeys => clock.advance(Duration::from_secs(3_601)),
            Next::Search(_) => clock.advance(Duration::from_secs(61)),
            Next::Nothing if state.closing.is_some() && state.request.is_none() => {}
            _ => {}
        }
        false
    })
    .await;
}

/// The search by hand: no id of these keys anywhere, and Ben is still found.
async fn nothing_is_found(disk: &Disk, keys: &[KeyId]) {
    let markers = keys.iter().map(|id| Marker::id(*id.as_bytes()));
    let looked_for: Vec<_> = markers.chain([Marker::id(*BEN.as_bytes())]).collect();
    let files = Arc::clone(&disk.files);
    let report = tokio::task::spawn_blocking(move || {
        search(&*files, &looked_for, &AtomicBool::new(false)).unwrap()
    });
    let report = report.await.unwrap();
    let left: u64 = (0..keys.len()).map(|it| report.count(it)).sum();
    assert_eq!(left, 0, "{:?}", report.hits);
    assert!(report.count(keys.len()) > 0);
}

/// What the byte receipt says, once the residuals have ended.
async fn byte_receipt_of(life: &Life) {
    go_on(life, |it| it.bytes_gone.is_some()).await;
    let proved = state(life).await;
    let (receipt, at) = proved.bytes_gone.as_ref().unwrap();
    assert!(*at >= proved.purged_at.unwrap().plus(limits::EVENTS));
    let body = verify_receipt(&receipt.body, &receipt.signature, &receipt.public_key).unwrap();
    assert_eq!(body.kind(), api::receipt_body::Kind::Bytes);
    assert_eq!(body.rings_destroyed, 2);
    let found = body.search.unwrap();
    assert_eq!(found.found_after, 0);
    assert!(found.found_before > 0);
    let (keys_receipt, _) = proved.keys_gone.as_ref().unwrap();
    let forged = verify_receipt(&keys_receipt.body, &receipt.signature, &receipt.public_key);
    assert_eq!(forged, Err(ReceiptError::Signature));
}

/// What stands when the key receipt is signed.
async fn purged_and_shredded(life: &Life) {
    let state = state(life).await;
    let control = state.control.as_ref().unwrap();
    assert!(control.markers >= 4 && control.found >= 4);
    let mut residuals = state.residuals.iter();
    assert!(residuals.any(|it| it.store == "fake.rows"));
    for owner in SHREDDED {
        assert!(life.world.vault.sealed_off(owner).await.unwrap().is_some());
        let left = life.world.disk.messages_of(id_of(owner)).await;
        assert!(left.len() <= 2, "a tombstone in each service, nothing else");
    }
}

async fn from_closing_to_proof(disk: &Disk) {
    let life = Life::begin(disk).await;
    people(&life).await;
    let ben = disk.messages_of(BEN.into()).await;
    let mut keys = Vec::new();
    for owner in SHREDDED {
        let ids = life.world.vault.key_ids(owner).await.unwrap();
        keys.extend(ids.into_iter().map(|(_, id)| id));
    }
    assert_eq!(keys.len(), 3, "profile, inbox and home");

    life.accounts.close(&closing(Some(false))).await;
    until("it is announced", async || {
        state(&life).await.closing.is_some()
    })
    .await;
    disk.clock.advance(GRACE);
    life.accounts.close(&closing(Some(true))).await;
    go_on(&life, |it| it.keys_gone.is_some()).await;

    purged_and_shredded(&life).await;
    assert_eq!(disk.messages_of(BEN.into()).await, ben, "others stay");

    byte_receipt_of(&life).await;
    nothing_is_found(disk, &keys).await;
    assert_eq!(disk.messages_of(BEN.into()).await, ben);
    // The order has ended, and so have the answers to it.
    until("the answers are purged", async || {
        let answers = disk.messages_of(life.app.erasure_of(RECEIPT).into()).await;
        let tombstone = |it: &Vec<u8>| Commit::read(it).is_ok_and(|it| it.is_tombstone());
        answers.len() == 2 && answers.iter().all(tombstone)
    })
    .await;
    life.kill().await;
}

/// Every byte of the data folder, as a copy of it would hold them.
async fn copied(disk: &Disk) -> Vec<Vec<u8>> {
    let files = Arc::clone(&disk.files);
    let copy = tokio::task::spawn_blocking(move || {
        let files = files.files().unwrap().into_iter().map(|file| {
            let mut bytes = Vec::new();
            if let Ok(mut opened) = files.open(&file) {
                opened.read_to_end(&mut bytes).unwrap();
            }
            bytes
        });
        files.collect()
    });
    copy.await.unwrap()
}

/// How often the notes of Anna and of Ben are read in a copy, under the keys that there are now.
async fn drilled(life: &Life, copy: &[Vec<u8>]) -> (usize, usize) {
    let disk = &life.world.disk;
    let drill = Drill::new(&*disk.log, &*disk.custody).await.unwrap();
    let mut found = (0, 0);
    for bytes in copy {
        drill.open(bytes, |guess| {
            found.0 += usize::from(guess.clear.starts_with(b"a secret of anna"));
            found.1 += usize::from(guess.clear.starts_with(b"a secret of ben"));
        });
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_drill_reads_what_is_there_and_nothing_that_was_erased() {
    let (disk, _folder) = Disk::in_files().await;
    let life = Life::begin(&disk).await;
    people(&life).await;
    for (owner, note) in [(ANNA, "a secret of anna"), (BEN, "a secret of ben")] {
        life.accounts.write(Owner::Account(owner), note).await;
        life.notifications.write(Owner::Account(owner), note).await;
    }
    let before = copied(&disk).await;
    let (anna, ben) = drilled(&life, &before).await;
    assert!(anna >= 2 && ben >= 2, "the positive control: {anna}, {ben}");

    disk.clock.advance(GRACE);
    life.accounts.close(&closing(Some(true))).await;
    go_on(&life, |it| it.bytes_gone.is_some()).await;
    let (anna, ben) = drilled(&life, &copied(&disk).await).await;
    assert!(anna == 0 && ben >= 2, "{anna}, {ben}");
    // A copy of the data from before opens nothing of hers under the keys of after.
    let (anna, ben) = drilled(&life, &before).await;
    assert!(anna == 0 && ben >= 2, "{anna}, {ben}");
    life.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_search_waits_for_events_that_are_not_dropped_yet() {
    let (disk, _folder) = Disk::in_files().await;
    let life = Life::begin(&disk).await;
    people(&life).await;
    let keys = life.world.vault.key_ids(Owner::Account(ANNA)).await;
    let (_, key) = keys.unwrap()[0];
    // A service that stands still published a mail of hers: nobody drops it when its time is over.
    let mail = Subject::event(Service::Ingest, "mail-requested", 1, ANNA);
    let sealed = Bytes::copy_from_slice(key.as_bytes());
    let appended = disk.log.append(&mail, Expected::Any, sealed);
    let at = appended.await.unwrap();

    disk.clock.advance(GRACE);
    life.accounts.close(&closing(Some(true))).await;
    go_on(&life, |it| it.keys_gone.is_some()).await;
    let end = state(&life).await.residuals_end_at().unwrap();
    disk.clock
        .advance(end.since(life.app.engine.now()) + Duration::from_secs(60));
    let erasure = life.app.erasure_of(RECEIPT);
    let due = Next::Search(erasure::Search::Residuals);
    assert_eq!(next(&state(&life).await, life.app.engine.now()), due);
    let passes = disk.passes();
    let sweep = Sweep(life.app.clone());
    assert!(!sweep.once(erasure).await.unwrap());
    assert_eq!(
        disk.passes(),
        passes,
        "nothing is looked for, so nothing alarms"
    );

    let behind = Position {
        sequence: at.sequence + 1,
        ..at
    };
    let events = Stream::new(Family::Int, Service::Ingest);
    disk.log.trim(events, behind).await.unwrap();
    go_on(&life, |it| it.bytes_gone.is_some()).await;
    life.kill().await;
}

#[tokio::test]
async fn a_closing_comes_to_both_receipts_in_memory() {
    from_closing_to_proof(&Disk::in_memory()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closing_comes_to_both_receipts_in_real_files() {
    let (disk, _folder) = Disk::in_files().await;
    from_closing_to_proof(&disk).await;
}

/// Closes and reopens, and lets what was kept of that be forgotten.
async fn reopened_and_forgotten(disk: &Disk) {
    let life = Life::begin(disk).await;
    people(&life).await;
    life.accounts.close(&closing(Some(false))).await;
    until("it is announced", async || {
        state(&life).await.closing.is_some()
    })
    .await;
    life.accounts.close(&closing(None)).await;
    until("it is taken back", async || {
        state(&life).await.cancelled_at.is_some()
    })
    .await;
    disk.clock.advance(GRACE * 2);
    assert!(
        life.world
            .vault
            .fences(Owner::Account(ANNA))
            .await
            .unwrap()
            .is_empty()
    );

    disk.clock.advance(limits::CANCELLED);
    until("it is forgotten", async || {
        let erasure = life.app.erasure_of(RECEIPT);
        let loaded = life
            .app
            .engine
            .load::<crate::aggregates::Erasure>(erasure, Read::Leader);
        loaded.await.unwrap().gone
    })
    .await;

    // An erasure is episodic: its tombstone forbids return for 30 days, and then it is gone too.
    let erasure = life.app.erasure_of(RECEIPT);
    let tombstones = async || {
        let evt = Stream::new(Family::Evt, Service::Retention);
        let page = disk.log.page(evt, Position::START, 100).await.unwrap();
        let of_it = page
            .iter()
            .filter(|it| it.subject.id() == Some(erasure.into()));
        of_it.count()
    };
    until("only its tombstone is left", async || {
        tombstones().await == 1
    })
    .await;
    disk.clock
        .advance(EPISODIC_TOMBSTONES - Duration::from_secs(7_200));
    until("it is looked through", async || {
        disk.clock.advance(Duration::from_secs(3_600));
        tombstones().await == 0
    })
    .await;
    let loaded = life.app.load(erasure).await.unwrap();
    assert!(!loaded.gone && !loaded.exists());
    life.kill().await;
}

#[tokio::test]
async fn a_reopened_account_is_never_touched_in_memory() {
    reopened_and_forgotten(&Disk::in_memory()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reopened_account_is_never_touched_in_real_files() {
    let (disk, _folder) = Disk::in_files().await;
    reopened_and_forgotten(&disk).await;
}

/// Runs an erasure until the stores have answered so often, kills it there, and lets another process end it. Answers
/// whether it was killed before its end.
async fn killed_after(calls: i64) -> bool {
    let disk = Disk::in_memory();
    let fuse = Fuse::new();
    let life = Life::begin(&disk.behind(&fuse)).await;
    people(&life).await;
    let ben = disk.messages_of(BEN.into()).await;
    disk.clock.advance(GRACE);
    life.accounts.close(&closing(Some(true))).await;
    fuse.set(calls);
    for _ in 0..60 {
        if fuse.is_blown() {
            break;
        }
        // The search reads on a thread of its own.
        tokio::time::sleep(Duration::from_millis(1)).await;
        disk.clock.advance(DAY);
    }
    let killed = fuse.is_blown();
    life.kill().await;

    let life = Life::begin(&disk).await;
    go_on(&life, |it| it.bytes_gone.is_some()).await;
    let proved = state(&life).await;
    let (receipt, _) = proved.bytes_gone.as_ref().unwrap();
    verify_receipt(&receipt.body, &receipt.signature, &receipt.public_key).unwrap();
    for owner in [ANNA.into(), HOUSE.into()] {
        let left = disk.messages_of(owner).await;
        assert!(
            left.iter()
                .all(|it| Commit::read(it).unwrap().is_tombstone())
        );
    }
    assert_eq!(
        disk.messages_of(BEN.into()).await,
        ben,
        "after {calls} calls"
    );
    life.kill().await;
    killed
}

#[tokio::test]
async fn killed_between_any_two_calls_of_the_stores_it_goes_on_to_the_same_end() {
    let mut killed = 0;
    for calls in (1..600).step_by(13) {
        killed += i32::from(killed_after(calls).await);
    }
    assert!(killed > 20, "only {killed} of the runs were killed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn something_that_is_left_keeps_the_receipt_back() {
    const STRAY: Table = Table("fake_strays");
    let (disk, _folder) = Disk::in_files().await;
    let life = Life::begin(&disk).await;
    people(&life).await;
    let keys = life.world.vault.key_ids(Owner::Account(ANNA)).await;
    let (_, stray) = keys.unwrap()[0];
    // Somebody wrote down what no eraser knows of.
    let value = Bytes::copy_from_slice(stray.as_bytes());
    let put = disk.documents.put(STRAY, b"by", b"mistake", 1, value);
    put.await.unwrap();
    disk.clock.advance(GRACE);
    life.accounts.close(&closing(Some(true))).await;
    go_on(&life, |it| it.purged_at.is_some()).await;
    let passes = disk.passes();
    until("it is searched twice", async || {
        disk.clock.advance(Duration::from_secs(61));
        tokio::time::sleep(Duration::from_millis(5)).await;
        disk.passes() >= passes + 2
    })
    .await;
    assert_eq!(state(&life).await.verified, None);

    disk.documents
        .delete(STRAY, b"by", b"mistake", 2)
        .await
        .unwrap();
    go_on(&life, |it| it.keys_gone.is_some()).await;
    life.kill().await;
}
