//! Rotation, expiry and the proofs that follow from them, over a running vault.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hearth_backend_memory::Memory;
use hearth_kernel::{Purpose, RetentionClass, Service};
use hearth_ports::{Clock, KeyCustody, Opened, SealError, Sealing};

use crate::VaultError;
use crate::record::bucket_of;
use crate::trial::{ANNA, BEN, DAY, HOME, Trial, clear, event, segment, start, trial, until};

const HOUR: Duration = Duration::from_secs(3_600);
const WEEKLY: Purpose = Purpose::Telemetry(RetentionClass::Days7);

async fn sealed_name(trial: &Trial) -> (Arc<dyn Sealing>, bytes::Bytes) {
    let accounts = trial.vault.handle(Service::Accounts);
    let sealed = accounts
        .seal(ANNA, Purpose::Profile, &event(1, 0), b"anna")
        .await
        .unwrap();
    (accounts, sealed)
}

/// The log of one installation beside the custody of another.
async fn beside(log: &Memory, custody: &Memory) -> Result<crate::Vault, VaultError> {
    crate::Vault::start(
        Arc::clone(&log.log) as Arc<dyn hearth_ports::Log>,
        Arc::clone(&custody.custody) as Arc<dyn KeyCustody>,
        Arc::clone(&log.clock),
        &hearth_ports::Tasks::new(),
    )
    .await
}

#[tokio::test]
async fn after_shredding_and_rotation_a_copy_of_before_opens_nothing() {
    let trial = trial().await;
    let (_, sealed) = sealed_name(&trial).await;
    let accounts = trial.vault.handle(Service::Accounts);
    let bens = accounts
        .seal(BEN, Purpose::Profile, &event(1, 0), b"ben")
        .await
        .unwrap();
    let copy = trial.memory.fork();

    trial.vault.shred(ANNA).await.unwrap();
    // Fenced, but the copy still opens beside the keys of now: that is what the rotation is for.
    let thief = beside(&copy, &trial.memory).await.unwrap();
    let opened = thief.handle(Service::Accounts);
    let opened = opened
        .open(ANNA, Purpose::Profile, &event(1, 0), &sealed)
        .await;
    assert_eq!(opened.unwrap(), clear("anna"));
    assert_eq!(trial.vault.sealed_off(ANNA).await.unwrap(), None);

    let rotated = trial.vault.rotate(bucket_of(ANNA)).await.unwrap();
    assert!(rotated.unfinished.is_empty());
    assert_eq!(rotated.destroyed.len(), 1);
    let evidence = trial.vault.sealed_off(ANNA).await.unwrap().unwrap();
    assert_eq!(evidence.bucket, bucket_of(ANNA));
    assert!(evidence.epoch >= 1 && evidence.overwritten_in_place);

    let refused = beside(&copy, &trial.memory).await;
    assert!(matches!(refused, Err(VaultError::KeyMissing { .. })));
    for ring in [
        copy.custody.escrowed_ring(ANNA).await.unwrap(),
        trial.memory.custody.escrowed_ring(ANNA).await.unwrap(),
    ] {
        let record = crate::record::RingRecord::decode(&ring.unwrap().1).unwrap();
        for key in trial.memory.custody.epochs().await.unwrap() {
            let ring = record.open(&key.key);
            assert!(ring.is_none_or(|ring| ring.of(Purpose::Profile).next().is_none()));
        }
    }
    // With the custody of that day it does open, and the documents say so.
    let thief = beside(&copy, &copy)
        .await
        .unwrap()
        .handle(Service::Accounts);
    let opened = thief
        .open(ANNA, Purpose::Profile, &event(1, 0), &sealed)
        .await;
    assert_eq!(opened.unwrap(), clear("anna"));
    // And nobody else lost anything.
    let opened = accounts
        .open(BEN, Purpose::Profile, &event(1, 0), &bens)
        .await;
    assert_eq!(opened.unwrap(), clear("ben"));
    let opened = accounts
        .open(ANNA, Purpose::Profile, &event(1, 0), &sealed)
        .await;
    assert_eq!(opened.unwrap(), Opened::Erased);
}

#[tokio::test]
async fn a_rotation_keeps_what_lives_and_another_process_goes_on() {
    let trial = trial().await;
    let (accounts, sealed) = sealed_name(&trial).await;
    let other = start(&trial.memory, &trial.log, &trial.tasks)
        .await
        .unwrap();
    for round in 1..5 {
        let by = if round % 2 == 0 { &other } else { &trial.vault };
        let rotated = by.rotate_buckets(&(0..=255).collect()).await.unwrap();
        assert!(rotated.unfinished.is_empty(), "{rotated:?}");
        assert!(rotated.destroyed.values().all(|through| *through == round));
        for vault in [&trial.vault, &other] {
            let fresh = vault.handle(Service::Accounts);
            let opened = fresh
                .open(ANNA, Purpose::Profile, &event(1, 0), &sealed)
                .await;
            assert_eq!(opened.unwrap(), clear("anna"));
        }
    }
    let opened = accounts
        .open(ANNA, Purpose::Profile, &event(1, 0), &sealed)
        .await;
    assert_eq!(opened.unwrap(), clear("anna"));
    let facts = trial.vault.doctor().await.unwrap();
    assert_eq!(facts.buckets.len(), 2, "anna's and the vault's own");
    for bucket in facts.buckets {
        assert!(
            bucket.keys_present && bucket.leaving.is_none(),
            "{bucket:?}"
        );
        assert_eq!((bucket.destroyed_through, bucket.stray_keys), (4, 0));
    }
}

#[tokio::test]
async fn a_fence_makes_its_bucket_due_at_once_an_expired_key_within_a_day_else_a_week_does() {
    let trial = trial().await;
    sealed_name(&trial).await;
    let ingest = trial.vault.handle(Service::Ingest);
    let today = trial.clock.now().day();
    ingest
        .seal(HOME, WEEKLY, &segment(today), b"21.5")
        .await
        .unwrap();
    let vault = &trial.vault;
    let at = |after: Duration| trial.clock.now().plus(after);
    let due = vault.due(at(Duration::ZERO)).await.unwrap();
    assert_eq!(due, crate::Due::default());
    let due = vault.due(at(DAY * 7)).await.unwrap();
    assert_eq!(due.buckets.len(), 3, "all are a week old");

    vault.shred(ANNA).await.unwrap();
    let due = vault.due(at(Duration::ZERO)).await.unwrap();
    assert_eq!(due.buckets, BTreeSet::from([bucket_of(ANNA)]));
}

#[tokio::test]
async fn the_hourly_round_rotates_after_a_fence() {
    let trial = trial().await;
    sealed_name(&trial).await;
    trial.vault.shred(ANNA).await.unwrap();
    until(|| async {
        // The round that began at the start may still be under way.
        trial.clock.advance(HOUR / 100);
        trial.vault.sealed_off(ANNA).await.unwrap().is_some()
    })
    .await;
}

#[tokio::test]
async fn expired_keys_are_destroyed_by_the_round_and_their_bucket_rotated_within_a_day() {
    let trial = trial().await;
    let ingest = trial.vault.handle(Service::Ingest);
    let today = trial.clock.now().day();
    let sealed = ingest
        .seal(HOME, WEEKLY, &segment(today), b"21.5")
        .await
        .unwrap();
    assert_eq!(trial.vault.key_ids(HOME).await.unwrap().len(), 1);
    trial.tasks.stop(Duration::from_secs(5)).await;
    // Weekly rotation of its own, so that only the expiry makes the bucket due below.
    trial.clock.advance(DAY * 7);
    trial.vault.rotate_due(trial.clock.now()).await.unwrap();
    trial.clock.advance(DAY);
    let now = trial.clock.now();
    assert_eq!(trial.vault.expire_slots(now).await.unwrap(), 1);
    assert_eq!(trial.vault.key_ids(HOME).await.unwrap(), []);
    let opened = ingest.open(HOME, WEEKLY, &segment(today), &sealed).await;
    assert_eq!(opened.unwrap(), Opened::Expired);
    let due = |after: Duration| trial.vault.due(now.plus(after));
    assert!(due(HOUR * 19).await.unwrap().buckets.is_empty());
    let buckets = due(HOUR * 20).await.unwrap().buckets;
    assert_eq!(buckets, BTreeSet::from([bucket_of(HOME)]));
}

#[tokio::test]
async fn key_ids_are_those_in_front_of_what_was_sealed() {
    let trial = trial().await;
    let (_, sealed) = sealed_name(&trial).await;
    let ids = trial.vault.key_ids(ANNA).await.unwrap();
    assert_eq!(ids.len(), 1);
    assert_eq!(ids[0].0, Purpose::Profile);
    assert_eq!(ids[0].1.as_bytes()[..], sealed[..16]);
    trial.vault.shred(ANNA).await.unwrap();
    assert!(trial.vault.key_ids(ANNA).await.unwrap().is_empty());
    let accounts = trial.vault.handle(Service::Accounts);
    let again = accounts
        .seal(ANNA, Purpose::Inbox, &event(1, 0), b"mail")
        .await;
    assert!(matches!(again, Err(SealError::Fenced)));
}
