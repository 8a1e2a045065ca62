//! The suite of key custody: two slots for each bucket, destruction, and the escrow of rings.

use std::future::Future;

use hearth_kernel::{AccountId, HomeId, Owner, Service};
use hearth_ports::{EpochKey, KeyCustody, StoreError};
use zeroize::Zeroizing;

use crate::instance::within;
use crate::{Instance, Random};

/// What backends may differ in: nothing yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {}

suite! { $
    /// Every case of custody that needs no reopening.
    suite, custody_conformance, custody, dyn KeyCustody:
    what_is_stored_is_there,
    a_bucket_has_two_slots,
    an_epoch_has_one_key,
    a_destroyed_key_is_gone_and_frees_its_slot,
    every_bucket_has_its_own_slots,
    an_escrowed_ring_is_replaced_by_newer_ones_only,
    owners_have_rings_of_their_own,
}

suite! { $
    /// The cases of custody that outlives the store: instances must know how to be reopened.
    persistence, custody_persistence, custody, dyn KeyCustody:
    reopening_keeps_keys_and_rings,
    rotating_many_times_keeps_what_is_live,
}

fn key(bucket: u8, epoch: u64, byte: u8) -> EpochKey {
    EpochKey {
        bucket,
        epoch,
        key: Zeroizing::new([byte; 32]),
    }
}

async fn store(custody: &dyn KeyCustody, bucket: u8, epoch: u64, byte: u8) {
    within(custody.store(&key(bucket, epoch, byte)))
        .await
        .expect("a free slot");
}

async fn assert_full(custody: &dyn KeyCustody, refused: &EpochKey) {
    let answer = within(custody.store(refused)).await;
    assert!(matches!(answer, Err(StoreError::Conflict)), "{answer:?}");
}

/// Every key, in order, by the byte it is made of.
async fn keys(custody: &dyn KeyCustody) -> Vec<(u8, u64, u8)> {
    let epochs = within(custody.epochs()).await.expect("the epoch keys");
    let mut keys: Vec<(u8, u64, u8)> = epochs
        .iter()
        .map(|key| {
            assert!(
                key.key.iter().all(|byte| *byte == key.key[0]),
                "a mangled key"
            );
            (key.bucket, key.epoch, key.key[0])
        })
        .collect();
    keys.sort_unstable();
    keys
}

async fn ring(custody: &dyn KeyCustody, owner: Owner) -> Option<(u64, Vec<u8>)> {
    within(custody.escrowed_ring(owner))
        .await
        .expect("the escrow")
}

async fn escrow(custody: &dyn KeyCustody, owner: Owner, version: u64, wrapped: &[u8]) {
    within(custody.escrow_ring(owner, version, wrapped))
        .await
        .expect("the escrow");
}

fn account(byte: u8) -> Owner {
    Owner::Account(AccountId::from_bytes([byte; 16]))
}

/// Nothing at first; then what was stored, also when it was stored twice. The installation stays the same.
pub async fn what_is_stored_is_there(instance: Instance<dyn KeyCustody>, _: Capabilities) {
    let custody = instance.store();
    assert_eq!(keys(&*custody).await, []);
    let installation = custody.installation();
    store(&*custody, 7, 1, 0xa1).await;
    store(&*custody, 7, 1, 0xa1).await;
    store(&*custody, 0, u64::MAX, 0).await;
    assert_eq!(keys(&*custody).await, [(0, u64::MAX, 0), (7, 1, 0xa1)]);
    assert_eq!(custody.installation(), installation);
}

/// A third epoch of a bucket conflicts until one of the two is destroyed.
pub async fn a_bucket_has_two_slots(instance: Instance<dyn KeyCustody>, _: Capabilities) {
    let custody = instance.store();
    store(&*custody, 3, 1, 1).await;
    store(&*custody, 3, 2, 2).await;
    assert_full(&*custody, &key(3, 3, 3)).await;
    assert_eq!(keys(&*custody).await, [(3, 1, 1), (3, 2, 2)]);
    store(&*custody, 3, 2, 2).await;
    within(custody.destroy(3, 1)).await.expect("destruction");
    store(&*custody, 3, 3, 3).await;
    assert_full(&*custody, &key(3, 4, 4)).await;
    assert_eq!(keys(&*custody).await, [(3, 2, 2), (3, 3, 3)]);
}

/// Another key under an epoch that has one conflicts, and changes nothing.
pub async fn an_epoch_has_one_key(instance: Instance<dyn KeyCustody>, _: Capabilities) {
    let custody = instance.store();
    store(&*custody, 3, 1, 1).await;
    assert_full(&*custody, &key(3, 1, 9)).await;
    assert_eq!(keys(&*custody).await, [(3, 1, 1)]);
}

/// Destroying is repeatable, touches no other key, and frees the slot.
pub async fn a_destroyed_key_is_gone_and_frees_its_slot(
    instance: Instance<dyn KeyCustody>,
    _: Capabilities,
) {
    let custody = instance.store();
    store(&*custody, 3, 1, 1).await;
    store(&*custody, 3, 2, 2).await;
    store(&*custody, 4, 1, 4).await;
    for _ in 0..2 {
        within(custody.destroy(3, 1)).await.expect("destruction");
        assert_eq!(keys(&*custody).await, [(3, 2, 2), (4, 1, 4)]);
    }
    within(custody.destroy(5, 1))
        .await
        .expect("nothing to destroy");
    within(custody.destroy(3, 2)).await.expect("destruction");
    assert_eq!(keys(&*custody).await, [(4, 1, 4)]);
    store(&*custody, 3, 5, 5).await;
    store(&*custody, 3, 6, 6).await;
    assert_eq!(keys(&*custody).await, [(3, 5, 5), (3, 6, 6), (4, 1, 4)]);
}

/// All 256 buckets, both slots.
pub async fn every_bucket_has_its_own_slots(instance: Instance<dyn KeyCustody>, _: Capabilities) {
    let custody = instance.store();
    let mut expected = Vec::new();
    for bucket in 0..=u8::MAX {
        for epoch in [10, 11] {
            store(&*custody, bucket, epoch, bucket).await;
            expected.push((bucket, epoch, bucket));
        }
    }
    assert_eq!(keys(&*custody).await, expected);
}

/// The newest version stays, in any order of arrival.
pub async fn an_escrowed_ring_is_replaced_by_newer_ones_only(
    instance: Instance<dyn KeyCustody>,
    _: Capabilities,
) {
    let custody = instance.store();
    let mut random = Random::fresh("an_escrowed_ring_is_replaced_by_newer_ones_only");
    for round in 0..10 {
        let owner = account(round);
        assert_eq!(ring(&*custody, owner).await, None);
        let mut versions: Vec<u8> = (1..=6).chain(1..=6).collect();
        random.shuffle(&mut versions);
        let mut newest = 0;
        for version in &versions {
            // A ring may shrink: nothing of the longer one before may be left behind it.
            let wrapped = vec![*version; 400 - 50 * usize::from(*version)];
            escrow(&*custody, owner, u64::from(*version), &wrapped).await;
            newest = newest.max(*version);
            let there = ring(&*custody, owner).await.expect("a ring");
            assert_eq!(there.0, u64::from(newest), "after {versions:?}");
            assert_eq!(there.1, vec![newest; 400 - 50 * usize::from(newest)]);
        }
    }
}

/// Owners with the same id bytes but of another kind are others; removing is repeatable.
pub async fn owners_have_rings_of_their_own(instance: Instance<dyn KeyCustody>, _: Capabilities) {
    let custody = instance.store();
    let owners = [
        account(1),
        Owner::Home(HomeId::from_bytes([1; 16])),
        Owner::Service(Service::Accounts),
        account(2),
    ];
    for (version, owner) in (1..).zip(owners) {
        escrow(&*custody, owner, version, format!("{owner}").as_bytes()).await;
    }
    for _ in 0..2 {
        within(custody.remove_escrowed_ring(account(1)))
            .await
            .expect("the escrow");
        assert_eq!(ring(&*custody, account(1)).await, None);
    }
    for (version, owner) in (1..).zip(owners).skip(1) {
        let wrapped = format!("{owner}").into_bytes();
        assert_eq!(ring(&*custody, owner).await, Some((version, wrapped)));
    }
}

/// Keys, rings and the installation are there after reopening; what was destroyed is not.
pub async fn reopening_keeps_keys_and_rings(
    mut instance: Instance<dyn KeyCustody>,
    _: Capabilities,
) {
    let custody = instance.store();
    let installation = custody.installation();
    store(&*custody, 3, 1, 1).await;
    store(&*custody, 3, 2, 2).await;
    within(custody.destroy(3, 1)).await.expect("destruction");
    escrow(&*custody, account(1), 4, b"ring").await;
    escrow(&*custody, account(2), 4, b"removed").await;
    within(custody.remove_escrowed_ring(account(2)))
        .await
        .expect("the escrow");
    drop(custody);
    instance.reopen().await;
    let custody = instance.store();
    assert_eq!(custody.installation(), installation);
    assert_eq!(keys(&*custody).await, [(3, 2, 2)]);
    assert_eq!(
        ring(&*custody, account(1)).await,
        Some((4, b"ring".to_vec()))
    );
    assert_eq!(ring(&*custody, account(2)).await, None);
    escrow(&*custody, account(1), 3, b"older").await;
    assert_eq!(
        ring(&*custody, account(1)).await,
        Some((4, b"ring".to_vec()))
    );
}

/// Store the next, destroy the last, reopen now and then: always exactly the live ones.
pub async fn rotating_many_times_keeps_what_is_live(
    mut instance: Instance<dyn KeyCustody>,
    _: Capabilities,
) {
    for epoch in 1..=20_u8 {
        let custody = instance.store();
        for bucket in [0, 128, 255] {
            store(&*custody, bucket, u64::from(epoch), epoch).await;
            if epoch > 1 {
                let before = within(custody.destroy(bucket, u64::from(epoch) - 1)).await;
                before.expect("destruction");
            }
        }
        drop(custody);
        if epoch % 5 == 0 {
            instance.reopen().await;
        }
        let live = [0, 128, 255].map(|bucket| (bucket, u64::from(epoch), epoch));
        assert_eq!(keys(&*instance.store()).await, live);
    }
}
