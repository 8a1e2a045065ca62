//! Handles over a running vault: what seals and opens, who may, and when leases end.

use std::sync::atomic::{AtomicBool, Ordering};

use futures::stream::BoxStream;
use hearth_backend_memory::Memory;
use hearth_kernel::{
    AccountId, AggregateRef, ClaimId, Day, HomeId, HubStreamId, Origin, RetentionClass,
};
use hearth_ports::{
    Announcement, Expected, Log, ManualClock, Message, Position, Purge, Read, Removed, StoreError,
    Stream, Subject, Tasks, Topic,
};

use super::*;
use crate::{Vault, VaultError};

const ANNA: Owner = Owner::Account(AccountId::from_bytes([0xa1; 16]));
const BEN: Owner = Owner::Account(AccountId::from_bytes([0xb2; 16]));
const HOME: Owner = Owner::Home(HomeId::from_bytes([0xc3; 16]));
const DAY: Duration = Duration::from_secs(86_400);

/// A log whose reads of facts can be made to fail.
struct Cut {
    log: Arc<dyn Log>,
    cut: AtomicBool,
}

impl Cut {
    fn check(&self, stream: Stream) -> Result<(), StoreError> {
        if self.cut.load(Ordering::SeqCst) && stream.family == hearth_ports::Family::State {
            return Err(StoreError::retryable("cut"));
        }
        Ok(())
    }
}

#[async_trait]
impl Log for Cut {
    async fn append(
        &self,
        subject: &Subject,
        expected: Expected,
        bytes: Bytes,
    ) -> Result<Position, StoreError> {
        self.log.append(subject, expected, bytes).await
    }

    async fn load(
        &self,
        subject: &Subject,
        after: Option<Position>,
        limit: usize,
        read: Read,
    ) -> Result<Vec<Message>, StoreError> {
        self.log.load(subject, after, limit, read).await
    }

    async fn last(&self, subject: &Subject, read: Read) -> Result<Option<Message>, StoreError> {
        self.log.last(subject, read).await
    }

    async fn head(&self, stream: Stream) -> Result<Option<Position>, StoreError> {
        self.log.head(stream).await
    }

    async fn newest(&self, stream: Stream) -> Result<Option<Message>, StoreError> {
        self.check(stream)?;
        self.log.newest(stream).await
    }

    async fn page(
        &self,
        stream: Stream,
        after: Position,
        limit: usize,
    ) -> Result<Vec<Message>, StoreError> {
        self.check(stream)?;
        self.log.page(stream, after, limit).await
    }

    fn tail(
        &self,
        stream: Stream,
        after: Position,
    ) -> BoxStream<'static, Result<Message, StoreError>> {
        self.log.tail(stream, after)
    }

    async fn purge(
        &self,
        subject: &Subject,
        through: Position,
        purge: Purge,
    ) -> Result<u64, StoreError> {
        self.log.purge(subject, through, purge).await
    }

    async fn remove(&self, subject: &Subject, position: Position) -> Result<Removed, StoreError> {
        self.log.remove(subject, position).await
    }

    async fn trim(&self, stream: Stream, before: Position) -> Result<(), StoreError> {
        self.log.trim(stream, before).await
    }

    async fn announce(&self, topic: &Topic, bytes: Bytes) -> Result<(), StoreError> {
        self.log.announce(topic, bytes).await
    }

    fn listen(&self, topic: &Topic) -> BoxStream<'static, Announcement> {
        self.log.listen(topic)
    }
}

/// One installation with one vault.
struct Bench {
    clock: ManualClock,
    log: Arc<Cut>,
    memory: Memory,
    tasks: Tasks,
    vault: Vault,
}

async fn bench() -> Bench {
    let clock = ManualClock::new(Timestamp::from_seconds(1_800_000_000));
    let memory = Memory::new(Arc::new(clock.clone()));
    let log = Arc::new(Cut {
        log: Arc::clone(&memory.log) as Arc<dyn Log>,
        cut: AtomicBool::new(false),
    });
    let tasks = Tasks::new();
    let vault = start(&memory, &log, &tasks).await.unwrap();
    Bench {
        clock,
        log,
        memory,
        tasks,
        vault,
    }
}

async fn start(memory: &Memory, log: &Arc<Cut>, tasks: &Tasks) -> Result<Vault, VaultError> {
    Vault::start(
        Arc::clone(log) as Arc<dyn Log>,
        Arc::clone(&memory.custody) as Arc<dyn hearth_ports::KeyCustody>,
        Arc::clone(&memory.clock),
        tasks,
    )
    .await
}

fn event(version: u64, part: u16) -> Binding {
    Binding::Event(Origin {
        aggregate: AggregateRef::new(Service::Accounts, "account", uuid::Uuid::from_u128(7)),
        version,
        event: 0,
        part,
    })
}

fn segment(day: Day) -> Binding {
    Binding::Segment {
        home: HomeId::from_bytes([0xc3; 16]),
        claim: ClaimId::from_bytes([1; 16]),
        stream: HubStreamId::from_bytes([2; 16]),
        sequence: 1,
        class: RetentionClass::Days7,
        day,
    }
}

fn clear(text: &str) -> Opened {
    Opened::Clear(Secret::from(text))
}

#[tokio::test]
async fn what_is_sealed_opens_as_itself_and_in_another_process() {
    let bench = bench().await;
    let accounts = bench.vault.handle(Service::Accounts);
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

    let other = start(&bench.memory, &bench.log, &bench.tasks)
        .await
        .unwrap();
    let accounts = other.handle(Service::Accounts);
    let opened = accounts.open(ANNA, profile, &event(1, 0), &sealed).await;
    assert_eq!(opened.unwrap(), clear("anna"));
    assert_eq!(other.verifier(), bench.vault.verifier());
}

#[tokio::test]
async fn a_fence_erases_all_but_records_for_good() {
    let bench = bench().await;
    let accounts = bench.vault.handle(Service::Accounts);
    let other = start(&bench.memory, &bench.log, &bench.tasks)
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

    let standing = bench.vault.shred(ANNA).await.unwrap();
    let fenced: Vec<_> = standing.fences.iter().map(|fence| fence.purpose).collect();
    assert_eq!(
        fenced,
        [Purpose::Profile, Purpose::Inbox, Purpose::Delivery]
    );
    let verifier = bench.vault.verifier();
    assert!(standing.fences.iter().all(|fence| verifier.fence(fence)));
    assert_eq!(bench.vault.shred(ANNA).await.unwrap(), standing);
    assert_eq!(other.fences(ANNA).await.unwrap(), standing.fences);

    // Both processes see the fact; nobody waits for a lease to end.
    for vault in [&bench.vault, &other] {
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
    let bench = bench().await;
    bench.vault.shred(HOME).await.unwrap();
    let ingest = bench.vault.handle(Service::Ingest);
    let sealed = ingest
        .seal(HOME, Purpose::Home, &event(1, 0), b"kitchen")
        .await;
    assert!(matches!(sealed, Err(SealError::Fenced)));
    let refused = bench.vault.shred(Owner::Service(Service::Accounts)).await;
    assert!(matches!(refused, Err(VaultError::Denied)));
}

#[tokio::test]
async fn a_lease_ends_when_the_fences_were_not_read_for_a_minute() {
    let bench = bench().await;
    let accounts = bench.vault.handle(Service::Accounts);
    let profile = Purpose::Profile;
    let sealed = accounts
        .seal(ANNA, profile, &event(1, 0), b"anna")
        .await
        .unwrap();

    bench.log.cut.store(true, Ordering::SeqCst);
    bench.clock.advance(Duration::from_secs(60));
    let opened = accounts.open(ANNA, profile, &event(1, 0), &sealed).await;
    assert_eq!(opened.unwrap(), clear("anna"));
    bench.clock.advance(Duration::from_secs(1));
    let opened = accounts.open(ANNA, profile, &event(1, 0), &sealed).await;
    assert!(matches!(opened, Err(SealError::Unavailable)), "{opened:?}");
    let again = accounts.seal(ANNA, profile, &event(2, 0), b"anna").await;
    assert!(matches!(again, Err(SealError::Unavailable)));
    let secret = accounts.service_secret(Purpose::Hashing, "email").await;
    assert!(matches!(secret, Err(SealError::Unavailable)));

    bench.log.cut.store(false, Ordering::SeqCst);
    let opened = accounts.open(ANNA, profile, &event(1, 0), &sealed).await;
    assert_eq!(opened.unwrap(), clear("anna"));
}

#[tokio::test]
async fn the_period_of_a_key_ends_and_says_so() {
    let bench = bench().await;
    let ingest = bench.vault.handle(Service::Ingest);
    let purpose = Purpose::Telemetry(RetentionClass::Days7);
    let today = bench.clock.now().day();
    let sealed = ingest
        .seal(HOME, purpose, &segment(today), b"21.5")
        .await
        .unwrap();
    bench.clock.advance(DAY * 7);
    let opened = ingest.open(HOME, purpose, &segment(today), &sealed).await;
    assert_eq!(opened.unwrap(), clear("21.5"));
    let later = ingest
        .seal(HOME, purpose, &segment(today.plus(7)), b"20.0")
        .await;
    let later = later.unwrap();
    assert_ne!(later[..16], sealed[..16], "a later slot has another key");
    bench.clock.advance(DAY);
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
    let bench = bench().await;
    let notifications = bench.vault.handle(Service::Notifications);
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
        let lease = bench
            .vault
            .lease(Service::Notifications, HOME, purpose, want);
        assert!(matches!(lease.await, Err(SealError::Denied)), "{want:?}");
    }
    let theirs = Owner::Service(Service::Accounts);
    let lease = bench
        .vault
        .lease(Service::Ingest, theirs, Purpose::Signing, Want::Derive);
    assert!(matches!(lease.await, Err(SealError::Denied)));
}

#[tokio::test]
async fn service_secrets_stay_the_same_and_differ_by_name_and_service() {
    let bench = bench().await;
    let accounts = bench.vault.handle(Service::Accounts);
    let email = accounts
        .service_secret(Purpose::Hashing, "email")
        .await
        .unwrap();
    let other = start(&bench.memory, &bench.log, &bench.tasks)
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
        bench
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
    let bench = bench().await;
    let accounts = bench.vault.handle(Service::Accounts);
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
    let bench = bench().await;
    let accounts = bench.vault.handle(Service::Accounts);
    accounts
        .seal(ANNA, Purpose::Profile, &event(1, 0), b"anna")
        .await
        .unwrap();
    let wrong = Memory::new(Arc::clone(&bench.memory.clock));
    let started = start(&wrong, &bench.log, &bench.tasks).await;
    assert!(
        matches!(started, Err(VaultError::KeyMissing { .. })),
        "{started:?}"
    );
}
