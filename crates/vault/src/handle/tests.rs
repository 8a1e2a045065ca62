//! Handles over a running vault: what seals and opens, who may, and when leases end.

use std::sync::atomic::Ordering;

use hearth_backend_memory::Memory;
use hearth_kernel::RetentionClass;

use super::*;
use crate::VaultError;
use crate::trial::{ANNA, BEN, DAY, HOME, clear, event, segment, start, trial, until};

#[tokio::test]
async fn what_is_sealed_opens_as_itself_and_in_another_process() {
    let trial = trial().await;
    let accounts = trial.vault.handle(Service::Accounts);
    let profile = Purpose::Profile;
    let sealed = accounts
        .seal(ANNA, profile, &event(1, 0), b"anna")
        .await
        .unwrap();
    let opened = accounts.open(ANNA, profile, &event(1, 0), &sealed).await;
    assert_eq!(opened.unwrap(), clear("anna"));

    for (owner, purpose, binding) in [
        (ANNA, profile, event(2, 0)),
        (ANNA, profile, event(1, 1)),
        (ANNA, Purpose::Records, event(1, 0)),
        (BEN, profile, event(1, 0)),
    ] {
        let moved = accounts.open(owner, purpose, &binding, &sealed).await;
        assert!(moved.is_err(), "{owner} {purpose:?} {binding:?}: {moved:?}");
    }
    for bit in 0..sealed.len() * 8 {
        let mut flipped = sealed.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let opened = accounts.open(ANNA, profile, &event(1, 0), &flipped).await;
        assert!(matches!(opened, Err(SealError::Corrupt)), "bit {bit}");
    }

    let other = start(&trial.memory, &trial.log, &trial.tasks)
        .await
        .unwrap();
    let accounts = other.handle(Service::Accounts);
    let opened = accounts.open(ANNA, profile, &event(1, 0), &sealed).await;
    assert_eq!(opened.unwrap(), clear("anna"));
    assert_eq!(other.verifier(), trial.vault.verifier());
}

#[tokio::test]
async fn a_fence_erases_all_but_records_for_good() {
    let trial = trial().await;
    let accounts = trial.vault.handle(Service::Accounts);
    let other = start(&trial.memory, &trial.log, &trial.tasks)
        .await
        .unwrap();
    let elsewhere = other.handle(Service::Accounts);
    let name = accounts
        .seal(ANNA, Purpose::Profile, &event(1, 0), b"anna")
        .await
        .unwrap();
    let record = accounts
        .seal(ANNA, Purpose::Records, &event(1, 1), b"paid")
        .await
        .unwrap();
    let bens = accounts
        .seal(BEN, Purpose::Profile, &event(1, 0), b"ben")
        .await
        .unwrap();
    let seen = elsewhere
        .open(ANNA, Purpose::Profile, &event(1, 0), &name)
        .await;
    assert_eq!(seen.unwrap(), clear("anna"));

    let standing = trial.vault.shred(ANNA).await.unwrap();
    let fenced: Vec<_> = standing.fences.iter().map(|fence| fence.purpose).collect();
    assert_eq!(
        fenced,
        [Purpose::Profile, Purpose::Inbox, Purpose::Delivery]
    );
    let verifier = trial.vault.verifier();
    assert!(standing.fences.iter().all(|fence| verifier.fence(fence)));
    assert_eq!(trial.vault.shred(ANNA).await.unwrap(), standing);
    assert_eq!(other.fences(ANNA).await.unwrap(), standing.fences);

    // Both processes see the fact; nobody waits for a lease to end.
    for vault in [&trial.vault, &other] {
        vault.inner().fences.refresh().await.unwrap();
    }
    for handle in [&accounts, &elsewhere] {
        let opened = handle
            .open(ANNA, Purpose::Profile, &event(1, 0), &name)
            .await;
        assert_eq!(opened.unwrap(), Opened::Erased);
        let again = handle
            .seal(ANNA, Purpose::Profile, &event(2, 0), b"back")
            .await;
        assert!(matches!(again, Err(SealError::Fenced)));
        let opened = handle
            .open(ANNA, Purpose::Records, &event(1, 1), &record)
            .await;
        assert_eq!(opened.unwrap(), clear("paid"));
        let opened = handle
            .open(BEN, Purpose::Profile, &event(1, 0), &bens)
            .await;
        assert_eq!(opened.unwrap(), clear("ben"));
    }
}

#[tokio::test]
async fn one_who_never_had_a_ring_can_be_fenced_and_services_cannot() {
    let trial = trial().await;
    trial.vault.shred(HOME).await.unwrap();
    let ingest = trial.vault.handle(Service::Ingest);
    let sealed = ingest
        .seal(HOME, Purpose::Home, &event(1, 0), b"kitchen")
        .await;
    assert!(matches!(sealed, Err(SealError::Fenced)));
    let refused = trial.vault.shred(Owner::Service(Service::Accounts)).await;
    assert!(matches!(refused, Err(VaultError::Denied)));
}

#[tokio::test]
async fn a_lease_ends_when_the_fences_were_not_read_for_a_minute() {
    let trial = trial().await;
    let accounts = trial.vault.handle(Service::Accounts);
    let profile = Purpose::Profile;
    let sealed = accounts
        .seal(ANNA, profile, &event(1, 0), b"anna")
        .await
        .unwrap();

    trial.log.cut.store(true, Ordering::SeqCst);
    trial.clock.advance(Duration::from_secs(60));
    let opened = accounts.open(ANNA, profile, &event(1, 0), &sealed).await;
    assert_eq!(opened.unwrap(), clear("anna"));
    trial.clock.advance(Duration::from_secs(1));
    let opened = accounts.open(ANNA, profile, &event(1, 0), &sealed).await;
    assert!(matches!(opened, Err(SealError::Unavailable)), "{opened:?}");
    let again = accounts.seal(ANNA, profile, &event(2, 0), b"anna").await;
    assert!(matches!(again, Err(SealError::Unavailable)));
    let secret = accounts.service_secret(Purpose::Hashing, "email").await;
    assert!(matches!(secret, Err(SealError::Unavailable)));

    trial.log.cut.store(false, Ordering::SeqCst);
    let opened = accounts.open(ANNA, profile, &event(1, 0), &sealed).await;
    assert_eq!(opened.unwrap(), clear("anna"));
}

#[tokio::test]
async fn the_period_of_a_key_ends_and_says_so() {
    let trial = trial().await;
    let ingest = trial.vault.handle(Service::Ingest);
    let purpose = Purpose::Telemetry(RetentionClass::Days7);
    let today = trial.clock.now().day();
    let sealed = ingest
        .seal(HOME, purpose, &segment(today), b"21.5")
        .await
        .unwrap();
    trial.clock.advance(DAY * 7);
    let opened = ingest.open(HOME, purpose, &segment(today), &sealed).await;
    assert_eq!(opened.unwrap(), clear("21.5"));
    let later = ingest
        .seal(HOME, purpose, &segment(today.plus(7)), b"20.0")
        .await;
    let later = later.unwrap();
    assert_ne!(later[..16], sealed[..16], "a later slot has another key");
    trial.clock.advance(DAY);
    let opened = ingest.open(HOME, purpose, &segment(today), &sealed).await;
    assert_eq!(opened.unwrap(), Opened::Expired);
    let opened = ingest
        .open(HOME, purpose, &segment(today.plus(7)), &later)
        .await;
    assert_eq!(opened.unwrap(), clear("20.0"));
    let late = ingest.seal(HOME, purpose, &segment(today), b"21.5").await;
    assert!(matches!(late, Err(SealError::Expired)));
}

#[tokio::test]
async fn the_table_is_enforced_in_front_of_the_vault_and_in_it() {
    let trial = trial().await;
    let notifications = trial.vault.handle(Service::Notifications);
    let purpose = Purpose::Telemetry(RetentionClass::Days30);
    let sealed = notifications.seal(HOME, purpose, &event(1, 0), b"x").await;
    assert!(matches!(sealed, Err(SealError::Denied)));
    let opened = notifications
        .open(HOME, purpose, &event(1, 0), &[0; 60])
        .await;
    assert!(matches!(opened, Err(SealError::Denied)));
    for want in [
        Want::Seal,
        Want::Open(KeyId::from_bytes([1; 16])),
        Want::Derive,
    ] {
        let lease = trial
            .vault
            .lease(Service::Notifications, HOME, purpose, want);
        assert!(matches!(lease.await, Err(SealError::Denied)), "{want:?}");
    }
    let theirs = Owner::Service(Service::Accounts);
    let lease = trial
        .vault
        .lease(Service::Ingest, theirs, Purpose::Signing, Want::Derive);
    assert!(matches!(lease.await, Err(SealError::Denied)));
}

#[tokio::test]
async fn service_secrets_stay_the_same_and_differ_by_name_and_service() {
    let trial = trial().await;
    let accounts = trial.vault.handle(Service::Accounts);
    let email = accounts
        .service_secret(Purpose::Hashing, "email")
        .await
        .unwrap();
    let other = start(&trial.memory, &trial.log, &trial.tasks)
        .await
        .unwrap();
    let again = other.handle(Service::Accounts);
    assert_eq!(
        again
            .service_secret(Purpose::Hashing, "email")
            .await
            .unwrap(),
        email
    );
    let different = [
        accounts.service_secret(Purpose::Hashing, "commit").await,
        accounts.service_secret(Purpose::Signing, "email").await,
        trial
            .vault
            .handle(Service::Ingest)
            .service_secret(Purpose::Hashing, "email")
            .await,
    ];
    for secret in different {
        assert_ne!(secret.unwrap(), email);
    }
    let wrong = accounts.service_secret(Purpose::Profile, "email").await;
    assert!(matches!(wrong, Err(SealError::Denied)));
}

#[tokio::test]
async fn no_ring_is_no_answer_and_an_unknown_key_is_no_key_of_ours() {
    let trial = trial().await;
    let accounts = trial.vault.handle(Service::Accounts);
    let opened = accounts
        .open(ANNA, Purpose::Profile, &event(1, 0), &[9; 60])
        .await;
    assert!(matches!(opened, Err(SealError::Unavailable)), "{opened:?}");
    accounts
        .seal(ANNA, Purpose::Profile, &event(1, 0), b"anna")
        .await
        .unwrap();
    let opened = accounts
        .open(ANNA, Purpose::Profile, &event(1, 0), &[9; 60])
        .await;
    assert!(matches!(opened, Err(SealError::Corrupt)), "{opened:?}");
    let opened = accounts
        .open(ANNA, Purpose::Profile, &event(1, 0), &[9; 40])
        .await;
    assert!(matches!(opened, Err(SealError::Corrupt)), "{opened:?}");
}

#[tokio::test]
async fn a_vault_refuses_to_start_beside_the_wrong_keys() {
    let trial = trial().await;
    let accounts = trial.vault.handle(Service::Accounts);
    accounts
        .seal(ANNA, Purpose::Profile, &event(1, 0), b"anna")
        .await
        .unwrap();
    let wrong = Memory::new(Arc::clone(&trial.memory.clock));
    let started = start(&wrong, &trial.log, &trial.tasks).await;
    assert!(
        matches!(started, Err(VaultError::KeyMissing { .. })),
        "{started:?}"
    );
}

#[tokio::test]
async fn a_fence_drops_the_keys_of_other_processes_without_being_asked() {
    let trial = trial().await;
    let accounts = trial.vault.handle(Service::Accounts);
    let sealed = accounts
        .seal(ANNA, Purpose::Profile, &event(1, 0), b"anna")
        .await
        .unwrap();
    let other = start(&trial.memory, &trial.log, &trial.tasks)
        .await
        .unwrap();
    other.shred(ANNA).await.unwrap();
    // The tail of this process's reader brings the fence; no time passes, and nothing is refreshed.
    until(|| async {
        let binding = event(1, 0);
        let opened = accounts.open(ANNA, Purpose::Profile, &binding, &sealed);
        opened.await.unwrap() == Opened::Erased
    })
    .await;
}

#[tokio::test]
async fn an_answer_that_is_not_signed_by_the_vault_is_no_answer() {
    /// Says of everything that it is erased, or expired.
    struct Liar(bool);

    #[async_trait]
    impl Leasing for Liar {
        async fn lease(
            &self,
            _: Service,
            owner: Owner,
            purpose: Purpose,
            want: Want,
        ) -> Result<Answer, SealError> {
            let signature = [7; 64];
            let key = match want {
                Want::Open(key) => key,
                _ => KeyId::default(),
            };
            Ok(if self.0 {
                Answer::Fenced(crate::FenceStatement {
                    owner,
                    purpose,
                    fenced_at: Timestamp::EPOCH,
                    signature,
                })
            } else {
                Answer::Expired(crate::ExpiredStatement {
                    owner,
                    purpose,
                    key,
                    signature,
                })
            })
        }
    }

    let trial = trial().await;
    for lie in [true, false] {
        let handle = Handle::new(
            Service::Accounts,
            Arc::new(Liar(lie)),
            Arc::clone(&trial.vault.inner().fences),
            Arc::clone(&trial.memory.clock),
            trial.vault.verifier(),
        );
        let binding = event(1, 0);
        let opened = handle.open(ANNA, Purpose::Profile, &binding, &[9; 60]);
        assert!(matches!(opened.await, Err(SealError::Unavailable)));
        let sealed = handle
            .seal(ANNA, Purpose::Profile, &event(1, 0), b"anna")
            .await;
        assert!(matches!(sealed, Err(SealError::Unavailable)));
    }
}

#[tokio::test]
async fn seals_are_drawn_in_blocks_before_they_are_made_whatever_becomes_of_a_write() {
    let trial = trial().await;
    // So that the tasks' own appends do not meet the fault below.
    trial.tasks.stop(Duration::from_secs(5)).await;
    let blocks = || async {
        let drawn = trial.vault.core().change(ANNA, |draft| {
            let blocks = draft.ring.generations().iter().map(|key| key.blocks);
            Ok((crate::core::Touch::Nothing, blocks.sum::<u32>()))
        });
        drawn.await.unwrap()
    };
    let accounts = trial.vault.handle(Service::Accounts);
    for (kind, expected) in [(0, 1), (1, 2), (2, 3)] {
        let (_, id) = match trial.vault.key_ids(ANNA).await.unwrap().first() {
            Some(key) => *key,
            None => (Purpose::Profile, KeyId::default()),
        };
        // The block that this process holds is used up, and the next one is drawn.
        trial.vault.core().budget(id).store(0, Ordering::SeqCst);
        trial.log.unknown.store(kind, Ordering::SeqCst);
        for _ in 0..3 {
            let sealed = accounts
                .seal(ANNA, Purpose::Profile, &event(1, 0), b"anna")
                .await;
            assert!(sealed.is_ok());
        }
        assert_eq!(blocks().await, expected, "fault {kind}");
        let (_, id) = trial.vault.key_ids(ANNA).await.unwrap()[0];
        let left = trial.vault.core().budget(id).load(Ordering::SeqCst);
        assert_eq!(left, crate::BLOCK_SEALS - 3, "fault {kind}");
    }
}
