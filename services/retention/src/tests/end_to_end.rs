//! From the closing to the byte receipt.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use bytes::Bytes;
use hearth_api::retention::v1 as api;
use hearth_engine::Commit;
use hearth_kernel::{AccountId, HomeId, KeyId, Owner, ReceiptId, Service};
use hearth_ports::{Read, Table};
use hearth_retention_domain::erasure::{Next, State, next};
use hearth_retention_domain::limits;

use super::fake::{Closing, ROWS, id_of};
use super::fuse::Fuse;
use super::world::{Disk, Life, START};
use crate::drill::{Drilled, Handles, Stores, drill};
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

/// What opens under the keys that are left, searched for the notes of people who have them.
async fn drilled(life: &Life) -> Drilled {
    let disk = &life.world.disk;
    let handles = Service::ALL.map(|service| life.world.vault.handle(service));
    let stores = Stores {
        log: Arc::clone(&disk.log),
        documents: (Arc::clone(&disk.documents), vec![ROWS]),
        series: Arc::clone(&disk.memory.series) as _,
        chunks: Vec::new(),
    };
    let texts = ["a secret of anna", "a secret of ben"];
    drill(&stores, &Handles(handles.into()), &texts)
        .await
        .unwrap()
}

#[tokio::test]
async fn the_drill_reads_what_is_there_and_nothing_that_was_erased() {
    let disk = Disk::in_memory();
    let life = Life::begin(&disk).await;
    people(&life).await;
    for (owner, note) in [(ANNA, "a secret of anna"), (BEN, "a secret of ben")] {
        life.accounts.write(Owner::Account(owner), note).await;
        life.notifications.write(Owner::Account(owner), note).await;
    }
    let before = drilled(&life).await;
    assert_eq!((before.count(0), before.count(1)), (2, 2));
    let copy = disk.memory.fork();

    disk.clock.advance(GRACE);
    life.accounts.close(&closing(Some(true))).await;
    go_on(&life, |it| it.bytes_gone.is_some()).await;
    let after = drilled(&life).await;
    assert_eq!((after.count(0), after.count(1)), (0, 2));

    // A copy of the data from before opens nothing of hers under the keys of after.
    let stores = Stores {
        log: Arc::clone(&copy.log) as _,
        documents: (Arc::clone(&copy.documents) as _, vec![ROWS]),
        series: Arc::clone(&copy.series) as _,
        chunks: Vec::new(),
    };
    let handles = Service::ALL.map(|service| life.world.vault.handle(service));
    let texts = ["a secret of anna", "a secret of ben"];
    let old = drill(&stores, &Handles(handles.into()), &texts)
        .await
        .unwrap();
    assert_eq!((old.count(0), old.count(1)), (0, 2));
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

#[tokio::test]
async fn a_reopened_account_is_never_touched() {
    let disk = Disk::in_memory();
    let life = Life::begin(&disk).await;
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
    life.kill().await;
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
