//! What the simulated processes do, what is known to be true, and the checks.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use hearth_kernel::{AccountId, HomeId, KeyId, Owner, Purpose, RetentionClass, Service, Timestamp};
use hearth_ports::{Binding, Clock, Log, ManualClock, Position, Read};

use super::ports::{Random, SimCustody, SimLog, pause};
use crate::core::lock;
use crate::error::VaultError;
use crate::keyring::KeyRing;
use crate::lease::{Answer, Want};
use crate::record::{FenceFact, RingRecord, bucket_of, fence_subject, ring_subject};
use crate::seal::DataKey;
use crate::upkeep::{RECORDS, relay};
use crate::vault::Vault;

const WEEKLY: Purpose = Purpose::Telemetry(RetentionClass::Days7);
const THING: Binding = Binding::Named("simulated", [0; 16]);
/// Owners of one installation; they come into being one after the other.
pub(super) const OWNERS: usize = 10;
const TEXT: &[u8] = b"something personal";

/// What one process does at a time.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operation {
    Seal(usize, usize),
    Open(usize),
    Shred(usize),
    Rotate(usize),
    Round,
    Relay,
    Audit(usize),
}

impl Operation {
    /// The next thing to do, when the first `owners` exist. `mood` differs from run to run.
    pub(super) fn random(random: &mut Random, owners: usize, mood: u64) -> Self {
        let rotations = if mood.is_multiple_of(2) { 4 } else { 14 };
        match random.below(41 + rotations) {
            0..=17 => Self::Seal(random.below(owners), random.below(64)),
            18..=31 => Self::Open(random.below(1 << 16)),
            32 => Self::Shred(random.below(owners)),
            33..=37 => Self::Audit(random.below(owners)),
            38 => Self::Round,
            39..=40 => Self::Relay,
            _ => Self::Rotate(random.below(64)),
        }
    }
}

/// One thing that was sealed.
#[derive(Clone, Debug)]
struct Thing {
    owner: Owner,
    purpose: Purpose,
    key: KeyId,
    bytes: Bytes,
    sealed_at: Timestamp,
}

/// What is known to be true, told by those who did it.
#[derive(Default)]
struct Truth {
    things: Vec<Thing>,
    /// Owners whose shredding somebody began.
    begun: BTreeSet<Owner>,
    /// Owners whose shredding was answered.
    shredded: BTreeSet<Owner>,
}

/// What one run did.
#[derive(Default)]
pub(super) struct Found {
    pub(super) sealed: usize,
    pub(super) opened: usize,
    pub(super) erased: usize,
    pub(super) expired: usize,
    /// Things of the shredded that a thief could still open before the last rotation.
    pub(super) copies_before: usize,
    pub(super) rotations: u64,
}

/// One simulated installation.
pub(super) struct World {
    pub(super) clock: ManualClock,
    pub(super) log: Arc<SimLog>,
    custody: Arc<SimCustody>,
    owners: Vec<Owner>,
    buckets: Vec<u8>,
    truth: Mutex<Truth>,
    /// Which kind of run it is.
    pub(super) mood: u64,
}

/// Accounts in one bucket; homes and accounts in that of the vault's own ring; mixed.
fn owners() -> Vec<Owner> {
    let own = bucket_of(Owner::Service(Service::Vault));
    let account = |n: u128| Owner::Account(AccountId::from_bytes(n.to_be_bytes()));
    let home = |n: u128| Owner::Home(HomeId::from_bytes(n.to_be_bytes()));
    let first = bucket_of(account(1));
    assert_ne!(first, own);
    let accounts = (1..).map(account);
    let together = accounts.clone().filter(|owner| bucket_of(*owner) == first);
    let homes = (1..).map(home).filter(|owner| bucket_of(*owner) == own);
    let beside = accounts.filter(|owner| bucket_of(*owner) == own);
    let others = homes
        .zip(beside)
        .flat_map(|(home, account)| [home, account]);
    let mixed = together.zip(others).flat_map(|(one, other)| [one, other]);
    mixed.take(OWNERS).collect()
}

/// A purpose of the owner.
fn purpose_of(owner: Owner, choice: usize) -> Purpose {
    match owner {
        Owner::Account(_) => [Purpose::Profile, Purpose::Inbox, Purpose::Records][choice % 3],
        Owner::Home(_) | Owner::Service(_) => [WEEKLY, Purpose::Home][choice % 2],
    }
}

/// An error that may pass. Any other would mean that the vault does not understand its own records.
fn passing(error: &VaultError) {
    assert!(
        matches!(error, VaultError::Store(_) | VaultError::Busy),
        "{error:?}"
    );
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let clock = ManualClock::new(Timestamp::from_seconds(1_800_000_000));
        let owners = owners();
        let buckets: BTreeSet<_> = owners.iter().map(|owner| bucket_of(*owner)).collect();
        Self {
            log: Arc::new(SimLog::new(seed, clock.clone())),
            custody: Arc::new(SimCustody::new(seed)),
            clock,
            owners,
            buckets: buckets.into_iter().collect(),
            truth: Mutex::default(),
            mood: seed,
        }
    }

    pub(super) fn calm(&self) {
        self.log.calm();
        self.custody.calm();
    }

    pub(super) async fn boot(self: Arc<Self>) -> Option<Vault> {
        let log = Arc::clone(&self.log) as Arc<dyn Log>;
        let custody = Arc::clone(&self.custody) as Arc<dyn hearth_ports::KeyCustody>;
        Vault::open(log, custody, Arc::new(self.clock.clone()), pause)
            .await
            .ok()
    }

    pub(super) async fn run(self: Arc<Self>, vault: Vault, operation: Operation) {
        match operation {
            Operation::Seal(owner, choice) => {
                let owner = self.owners[owner];
                self.seal(&vault, owner, choice).await;
            }
            Operation::Open(thing) => self.open_any(&vault, thing).await,
            Operation::Shred(owner) => {
                let owner = self.owners[owner];
                lock(&self.truth).begun.insert(owner);
                match vault.shred(owner).await {
                    Ok(_) => {
                        lock(&self.truth).shredded.insert(owner);
                    }
                    Err(error) => passing(&error),
                }
            }
            Operation::Rotate(bucket) => {
                let bucket = self.buckets[bucket % self.buckets.len()];
                if let Err(error) = vault.rotate(bucket).await {
                    passing(&error);
                }
            }
            Operation::Round => {
                if let Err(error) = vault.rotate_due(self.clock.now()).await {
                    passing(&error);
                }
            }
            Operation::Relay => self.relay(&vault).await,
            Operation::Audit(owner) => {
                let owner = self.owners[owner];
                if let Ok(Some(evidence)) = vault.sealed_off(owner).await {
                    let things = lock(&self.truth).things.clone();
                    let (opened, _) = self.steal(&[owner], &things);
                    assert_eq!(opened, 0, "copies of {owner} open after {evidence:?}");
                }
            }
        }
    }

    async fn relay(&self, vault: &Vault) {
        let mut after = Position::START;
        while let Ok(page) = self.log.page(RECORDS, after, 64).await {
            let Some(last) = page.last() else { return };
            after = last.position;
            for message in &page {
                relay(vault, message).await.ok();
            }
        }
    }

    fn is_shredded(&self, owner: Owner) -> bool {
        lock(&self.truth).shredded.contains(&owner)
    }

    async fn seal(&self, vault: &Vault, owner: Owner, choice: usize) {
        let purpose = purpose_of(owner, choice);
        let gone = self.is_shredded(owner) && purpose != Purpose::Records;
        let answer = vault.answer(owner, purpose, Want::Seal).await;
        match answer {
            Ok(Ok(Answer::Keys(lease))) => {
                assert!(
                    !gone,
                    "a key of {owner} {purpose:?} was made after it was shredded"
                );
                let now = self.clock.now();
                // None: the slot ended while the vault answered.
                let Some(key) = lease.sealing_key(now) else {
                    return;
                };
                let associated = THING.associated_data(owner, purpose, key.id());
                let bytes = key.seal(&associated, TEXT).unwrap();
                lock(&self.truth).things.push(Thing {
                    owner,
                    purpose,
                    key: key.id(),
                    bytes,
                    sealed_at: now,
                });
            }
            Ok(Ok(Answer::Fenced(fence))) => {
                assert!(vault.verifier().fence(&fence));
                assert!(lock(&self.truth).begun.contains(&owner));
                assert_ne!(purpose, Purpose::Records);
            }
            Ok(other) => panic!("{owner} {purpose:?}: {other:?}"),
            Err(error) => passing(&error),
        }
    }

    async fn open_any(&self, vault: &Vault, thing: usize) {
        let thing = {
            let truth = lock(&self.truth);
            if truth.things.is_empty() {
                return;
            }
            truth.things[thing % truth.things.len()].clone()
        };
        let mut found = Found::default();
        let gone = self.is_shredded(thing.owner) && thing.purpose != Purpose::Records;
        let opened = self.open(vault, &thing, &mut found).await;
        assert!(!(gone && opened), "{thing:?} opens after it was shredded");
    }

    /// Opens one thing as a handle does, and checks that the answer is true. Answers whether it opened.
    async fn open(&self, vault: &Vault, thing: &Thing, found: &mut Found) -> bool {
        let want = Want::Open(thing.key);
        let answer = vault.answer(thing.owner, thing.purpose, want).await;
        match answer {
            Ok(Ok(Answer::Keys(lease))) => {
                let Some(key) = lease.opening_key(thing.key, self.clock.now()) else {
                    assert!(self.period_over(thing), "{thing:?} lost its key");
                    return false;
                };
                let associated = THING.associated_data(thing.owner, thing.purpose, thing.key);
                let clear = key.open(&associated, &thing.bytes);
                assert_eq!(clear.expect("it opens").expose(), TEXT);
                found.opened += 1;
                true
            }
            Ok(Ok(Answer::Fenced(fence))) => {
                assert!(vault.verifier().fence(&fence));
                assert!(lock(&self.truth).begun.contains(&thing.owner));
                assert_ne!(thing.purpose, Purpose::Records);
                found.erased += 1;
                false
            }
            Ok(Ok(Answer::Expired(expired))) => {
                assert!(vault.verifier().expired(&expired));
                assert!(self.period_over(thing), "{thing:?} expired too early");
                found.expired += 1;
                false
            }
            Ok(Err(error)) => panic!("{thing:?} is lost: {error}"),
            Err(error) => {
                passing(&error);
                false
            }
        }
    }

    /// Whether the period after the end of its slot may be over by now.
    fn period_over(&self, thing: &Thing) -> bool {
        let class = thing.purpose.class();
        class.is_some_and(|class| self.clock.now() >= thing.sealed_at.plus(class.period()))
    }

    /// After everything stopped and one process came back.
    pub(super) async fn check(self: Arc<Self>, vault: Vault) -> Found {
        let mut found = Found::default();
        self.relay(&vault).await;
        let things = lock(&self.truth).things.clone();
        found.sealed = things.len();
        for thing in &things {
            self.check_thing(&vault, thing, &mut found).await;
        }
        let fenced = self.check_facts(&vault).await;
        self.check_evidence(&vault, &fenced, &things).await;
        found.copies_before = self.steal(&fenced, &things).0;
        vault.rotate_due(self.clock.now()).await.unwrap();
        for owner in &fenced {
            let evidence = vault.sealed_off(*owner).await.unwrap();
            assert!(
                evidence.is_some(),
                "{owner} is not sealed off after a rotation"
            );
        }
        self.check_evidence(&vault, &fenced, &things).await;
        // And nobody else lost anything by it.
        for thing in &things {
            let again = &mut Found::default();
            self.check_thing(&vault, thing, again).await;
        }
        for owner in &self.owners {
            let answer = vault
                .answer(*owner, purpose_of(*owner, 0), Want::Seal)
                .await;
            assert!(
                answer.is_ok(),
                "{owner} has no ring that can be used: {answer:?}"
            );
        }
        found.rotations = self.check_buckets(&vault).await;
        found
    }

    /// Who is sealed off is so against a thief of now.
    async fn check_evidence(&self, vault: &Vault, fenced: &[Owner], things: &[Thing]) {
        for owner in fenced {
            if let Some(evidence) = vault.sealed_off(*owner).await.unwrap() {
                let (opened, _) = self.steal(&[*owner], things);
                assert_eq!(opened, 0, "copies of {owner} open after {evidence:?}");
            }
        }
        let (_, rings) = self.steal(&[], things);
        assert!(
            rings > 0 || things.is_empty(),
            "the thief found no ring at all"
        );
    }

    /// A rotation of everything leaves nothing half done, also of what stopped processes began.
    async fn check_buckets(&self, vault: &Vault) -> u64 {
        let all = self.buckets.iter().copied().collect();
        let rotated = vault.rotate_buckets(&all).await.unwrap();
        assert!(rotated.unfinished.is_empty(), "{rotated:?}");
        let facts = vault.doctor().await.unwrap();
        for bucket in &facts.buckets {
            assert!(
                bucket.keys_present && bucket.leaving.is_none(),
                "{bucket:?}"
            );
            assert_eq!(bucket.stray_keys, 0, "{bucket:?}");
        }
        let through = facts.buckets.iter().map(|bucket| bucket.destroyed_through);
        through.sum()
    }

    async fn check_thing(&self, vault: &Vault, thing: &Thing, found: &mut Found) {
        let (begun, shredded) = {
            let truth = lock(&self.truth);
            (
                truth.begun.contains(&thing.owner),
                truth.shredded.contains(&thing.owner),
            )
        };
        let opened = self.open(vault, thing, found).await;
        let kept = thing.purpose == Purpose::Records;
        if shredded && !kept {
            assert!(!opened, "{thing:?} opens after it was shredded");
        } else if (kept || !begun) && !self.period_over(thing) {
            assert!(opened, "{thing:?} is lost");
        }
    }

    /// Every fence of a record is published, and every shredded owner is fenced. Answers the fenced.
    async fn check_facts(&self, vault: &Vault) -> Vec<Owner> {
        let mut fenced = Vec::new();
        for owner in &self.owners {
            let fences = vault.fences(*owner).await.unwrap();
            assert!(!self.is_shredded(*owner) || !fences.is_empty());
            if fences.is_empty() {
                continue;
            }
            fenced.push(*owner);
            let fact = self.log.last(&fence_subject(*owner), Read::Leader).await;
            let fact = FenceFact::decode(&fact.unwrap().expect("a fact").bytes).unwrap();
            assert_eq!(fact.fences, fences);
        }
        fenced
    }

    /// A thief with every copy of every ring ever stored, the escrow, and custody of now. Answers how many
    /// things of the fenced open, and how many rings of anybody do.
    fn steal(&self, fenced: &[Owner], things: &[Thing]) -> (usize, usize) {
        let keys = self.custody.stolen_keys();
        let mut opened = 0;
        let mut rings = 0;
        for owner in &self.owners {
            let mut copies = self.log.copies(&ring_subject(*owner));
            copies.extend(self.custody.stolen_ring(*owner));
            let unwrapped: Vec<KeyRing> = copies
                .iter()
                .map(|copy| RingRecord::decode(copy).unwrap())
                .flat_map(|record| {
                    keys.iter()
                        .filter_map(|key| record.open(&key.key))
                        .collect::<Vec<_>>()
                })
                .collect();
            rings += unwrapped.len();
            if !fenced.contains(owner) {
                continue;
            }
            let theirs = things
                .iter()
                .filter(|thing| thing.owner == *owner && thing.purpose != Purpose::Records);
            for thing in theirs {
                let opens = unwrapped.iter().any(|ring| thing_opens(ring, thing));
                opened += usize::from(opens);
            }
        }
        (opened, rings)
    }
}

/// Whether any key of the ring, under whichever name, opens the thing.
fn thing_opens(ring: &KeyRing, thing: &Thing) -> bool {
    let associated = THING.associated_data(thing.owner, thing.purpose, thing.key);
    ring.generations().iter().any(|generation| {
        let key = DataKey::new(thing.key, Arc::clone(&generation.key));
        key.open(&associated, &thing.bytes).is_some()
    })
}
