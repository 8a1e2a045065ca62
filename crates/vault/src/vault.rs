//! The vault: leases keys, fences owners, and answers what proofs need to know.
//!
//! Knows the log and custody, nothing of any store or service. All state is in the log and in custody; a
//! process of the vault can stop anywhere and another go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use hearth_kernel::{KeyId, Owner, Purpose, Secret, Service, Timestamp};
use hearth_ports::{
    Clock, Expected, KeyCustody, Log, Position, Read, SealError, Sealing, StoreError, Tasks,
};

use crate::core::{Core, Draft, Pause, Touch, Tries, Written, pause};
use crate::epoch::EpochState;
use crate::error::VaultError;
use crate::fences::FenceReader;
use crate::handle::Handle;
use crate::keyring::{BLOCK_SEALS, Generation};
use crate::lease::{Answer, Lease, Leasing, Want};
use crate::record::{Fence, FenceFact, RingRecord, bucket_of, fence_subject, ring_subject};
use crate::seal::DataKey;
use crate::statement::{FenceStatement, Signer, Verifier};
use crate::table::{Use, belongs, permits, purposes_of};
use crate::upkeep;

/// The name that the vault's own signing seed is derived under.
const FENCE_SIGNING: &str = "fence";

/// Which purposes a fence takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fencing {
    /// Every purpose but `records`: an erasure.
    AllButRecords,
    /// Every purpose: when the records' periods are over too.
    All,
    /// These.
    Only(Vec<Purpose>),
}

/// A fence that stands in the record and is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Each fenced purpose of the owner, signed.
    pub fences: Vec<FenceStatement>,
    /// Where the fact lies in STATE_VAULT.
    pub position: Position,
    /// When the log stored the fact: leases have ended 90 s after.
    pub stands_since: Timestamp,
}

/// The proof that no old copy of a ring opens anything: every epoch that ever wrapped it with the keys that
/// were fenced is destroyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The owner's bucket.
    pub bucket: u8,
    /// The destroyed epoch; all before it are destroyed too. 0: there never was a key.
    pub epoch: u64,
    /// When its key was destroyed.
    pub destroyed_at: Timestamp,
    /// Whether the key's bytes were overwritten where they lay.
    pub overwritten_in_place: bool,
}

/// A running vault. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Vault {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vault")
    }
}

/// What the clones of a vault share.
pub(crate) struct Inner {
    pub(crate) core: Core,
    signer: Signer,
    pub(crate) fences: Arc<FenceReader>,
}

impl Vault {
    /// Starts a vault: checks that custody has the keys of every open epoch, reads the fences to their head,
    /// and starts its tasks. Any number of vaults may run on one log and custody.
    ///
    /// # Errors
    /// `KeyMissing` when the log's keys are not in this custody: wrong folder, refuse to start. `Store` when
    /// the log or custody does not answer.
    pub async fn start(
        log: Arc<dyn Log>,
        custody: Arc<dyn KeyCustody>,
        clock: Arc<dyn Clock>,
        tasks: &Tasks,
    ) -> Result<Self, VaultError> {
        let vault = Self::open(log, custody, clock, pause).await?;
        vault.check_custody().await?;
        vault.inner.fences.refresh().await?;
        upkeep::start(&vault, tasks);
        Ok(vault)
    }

    /// A vault without tasks.
    pub(crate) async fn open(
        log: Arc<dyn Log>,
        custody: Arc<dyn KeyCustody>,
        clock: Arc<dyn Clock>,
        pause: Pause,
    ) -> Result<Self, VaultError> {
        let core = Core::new(Arc::clone(&log), custody, Arc::clone(&clock), pause);
        let lease = own_keys(&core, Service::Vault, Purpose::Signing).await?;
        let seed = lease
            .deriving_key()
            .and_then(|key| derive(key, Purpose::Signing, FENCE_SIGNING))
            .ok_or(VaultError::Corrupt("the vault's ring has no signing key"))?;
        let signer = Signer::new(core.custody.installation(), &seed)?;
        let fences = Arc::new(FenceReader::new(log, clock));
        Ok(Self {
            inner: Arc::new(Inner {
                core,
                signer,
                fences,
            }),
        })
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.inner
    }

    pub(crate) fn core(&self) -> &Core {
        &self.inner.core
    }

    /// Sealing and opening for one service, with what the table lets it do.
    #[must_use]
    pub fn handle(&self, service: Service) -> Arc<dyn Sealing> {
        let source: Arc<dyn Leasing> = Arc::new(self.clone());
        Arc::new(Handle::new(
            service,
            source,
            Arc::clone(&self.inner.fences),
            Arc::clone(&self.core().clock),
            self.verifier(),
        ))
    }

    /// Whether this process has read the fences as lately as leases of keys need: for metrics. While it has not,
    /// nothing is sealed or opened.
    #[must_use]
    pub fn leases_are_fresh(&self) -> bool {
        self.inner.fences.is_fresh(self.core().clock.now())
    }

    /// What checks the vault's signatures.
    #[must_use]
    pub fn verifier(&self) -> Verifier {
        self.inner.signer.verifier()
    }

    /// Fences every purpose of an owner but `records`. See [`Self::fence`].
    ///
    /// # Errors
    /// As [`Self::fence`].
    pub async fn shred(&self, owner: Owner) -> Result<Standing, VaultError> {
        self.fence(owner, &Fencing::AllButRecords).await
    }

    /// Destroys the keys of these purposes in the owner's ring and forbids new ones for ever, then publishes
    /// that. Fencing again is harmless and answers the same fence; an owner without a ring is fenced too.
    ///
    /// # Errors
    /// `Denied` for a service or a purpose that the owner has not; `Store` and `Busy`: call again. When this
    /// fails the fence may stand already; the vault's tasks publish it then.
    pub async fn fence(&self, owner: Owner, which: &Fencing) -> Result<Standing, VaultError> {
        let purposes = purposes(owner, which)?;
        let signer = &self.inner.signer;
        let fences = self.core().change(owner, |draft| {
            let missing: Vec<_> = purposes
                .iter()
                .copied()
                .filter(|purpose| !fenced(draft.fences, *purpose))
                .collect();
            for purpose in &missing {
                draft.fences.push(Fence {
                    statement: signer.fence(owner, *purpose, draft.now),
                    epoch: draft.last_epoch,
                });
            }
            draft.ring.destroy(&purposes);
            let touch = if missing.is_empty() {
                Touch::Nothing
            } else {
                Touch::Keys
            };
            Ok((touch, statements(draft.fences)))
        });
        let fences = fences.await?;
        self.publish(owner, fences).await
    }

    /// Every fenced purpose of the owner, signed, by a leader read.
    ///
    /// # Errors
    /// `Store`, `Corrupt`.
    pub async fn fences(&self, owner: Owner) -> Result<Vec<FenceStatement>, VaultError> {
        let record = self.record(owner).await?;
        Ok(record.map_or_else(Vec::new, |record| statements(&record.head.fences)))
    }

    /// The ids of the owner's keys now, with their purposes: what a search for residuals looks for. To be
    /// asked before the owner is fenced.
    ///
    /// # Errors
    /// `Store`, `Busy`, `Corrupt`.
    pub async fn key_ids(&self, owner: Owner) -> Result<Vec<(Purpose, KeyId)>, VaultError> {
        let ids = |draft: &mut Draft<'_>| {
            let generations = draft.ring.generations().iter();
            let ids = generations.map(|generation| (generation.purpose, generation.id));
            Ok((Touch::Nothing, ids.collect()))
        };
        self.core().change(owner, ids).await
    }

    /// Whether no old copy of the owner's fenced keys opens any more, and since when. `None`: not yet, or the
    /// owner is not fenced.
    ///
    /// # Errors
    /// `Store`, `Corrupt`.
    pub async fn sealed_off(&self, owner: Owner) -> Result<Option<Evidence>, VaultError> {
        let Some(record) = self.record(owner).await? else {
            return Ok(None);
        };
        let Some(epoch) = record.head.fences.iter().map(|fence| fence.epoch).max() else {
            return Ok(None);
        };
        let bucket = bucket_of(owner);
        let overwritten_in_place = self.core().custody.overwrites_in_place();
        if epoch == 0 {
            let times = record.head.fences.iter();
            let last = times.map(|fence| fence.statement.fenced_at).max();
            return Ok(Some(Evidence {
                bucket,
                epoch,
                destroyed_at: last.unwrap_or_default(),
                overwritten_in_place,
            }));
        }
        let (epochs, _) = self.core().epochs(bucket).await?;
        Ok(epochs.destroyed_at(epoch).map(|destroyed| Evidence {
            bucket,
            epoch: destroyed.number,
            destroyed_at: destroyed.at,
            overwritten_in_place,
        }))
    }

    async fn record(&self, owner: Owner) -> Result<Option<RingRecord>, VaultError> {
        let subject = ring_subject(owner);
        let last = self.core().log.last(&subject, Read::Leader).await?;
        last.map(|message| RingRecord::decode(&message.bytes))
            .transpose()
    }

    /// Publishes the fences of an owner, never fewer than stand there already.
    pub(crate) async fn publish(
        &self,
        owner: Owner,
        fences: Vec<FenceStatement>,
    ) -> Result<Standing, VaultError> {
        let subject = fence_subject(owner);
        let mut tries = Tries::new(self.core());
        loop {
            let there = match self.core().log.last(&subject, Read::Leader).await {
                Ok(there) => there,
                Err(error) => {
                    tries.after(error.into()).await?;
                    continue;
                }
            };
            let mut fact = FenceFact {
                owner,
                fences: fences.clone(),
            };
            if let Some(there) = &there {
                let old = FenceFact::decode(&there.bytes)?;
                let news = |fence: &FenceStatement| {
                    old.fences.iter().all(|old| old.purpose != fence.purpose)
                };
                let new: Vec<_> = fences.iter().filter(|fence| news(fence)).cloned().collect();
                if new.is_empty() {
                    return Ok(Standing {
                        fences: old.fences,
                        position: there.position,
                        stands_since: there.recorded_at,
                    });
                }
                fact.fences = old.fences.into_iter().chain(new).collect();
            }
            let expected = Expected::Subject(there.map(|there| there.position));
            let bytes = Bytes::from(fact.encode());
            match self.core().write(&subject, expected, bytes).await {
                // Read it back: where it lies and since when is what the caller waits by.
                Ok(Written::Landed) => tries.again(true, VaultError::Busy).await?,
                Ok(Written::Lost) => tries.after(VaultError::Busy).await?,
                Err(error) => tries.after(error).await?,
            }
        }
    }

    /// Custody must hold the key of every open epoch.
    async fn check_custody(&self) -> Result<(), VaultError> {
        let held = self.core().custody.epochs().await?;
        for bucket in 0..=u8::MAX {
            let (epochs, _) = self.core().epochs(bucket).await?;
            let Some(open) = epochs.in_state(EpochState::Open) else {
                continue;
            };
            let epoch = open.number;
            let here = |key: &hearth_ports::EpochKey| key.bucket == bucket && key.epoch == epoch;
            if !held.iter().any(here) {
                return Err(VaultError::KeyMissing { bucket, epoch });
            }
        }
        Ok(())
    }

    async fn lease_to_seal(&self, owner: Owner, purpose: Purpose) -> Result<Answer, VaultError> {
        let core = self.core();
        let mut drawn: Option<KeyId> = None;
        let granted = core.change(owner, |draft| {
            if let Some(fence) = fence_of(draft.fences, purpose) {
                return Ok((Touch::Nothing, Granted::Fenced(fence)));
            }
            let current = draft.ring.current(purpose, draft.now);
            if let Some(current) = current {
                let ours = draft.landed && drawn == Some(current.id);
                if ours || core.budget(current.id).load(Ordering::Relaxed) > 0 {
                    return Ok((
                        Touch::Nothing,
                        Granted::Keys {
                            seal: Some((current.id, current.seals_until(), ours)),
                            generations: draft.ring.of(purpose).cloned().collect(),
                        },
                    ));
                }
            }
            let before = draft.ring.generations().len();
            drawn = Some(draft.ring.draw(purpose, draft.now)?);
            let touch = if draft.ring.generations().len() > before {
                Touch::Keys
            } else {
                Touch::Counters
            };
            Ok((touch, Granted::Nothing))
        });
        match granted.await? {
            Granted::Fenced(fence) => Ok(Answer::Fenced(fence)),
            Granted::Nothing => Err(VaultError::Busy),
            Granted::Keys { generations, seal } => {
                let mut lease = lease_of(&generations);
                if let Some((id, until, ours)) = seal {
                    let budget = core.budget(id);
                    if ours {
                        credit(&budget);
                    }
                    lease.permit(id, until, budget);
                }
                Ok(Answer::Keys(lease))
            }
        }
    }

    async fn lease_to_open(
        &self,
        owner: Owner,
        purpose: Purpose,
        id: KeyId,
    ) -> Result<Result<Answer, SealError>, VaultError> {
        let signer = &self.inner.signer;
        let answer = self.core().change(owner, |draft| {
            if let Some(fence) = fence_of(draft.fences, purpose) {
                return Ok((Touch::Nothing, Ok(Answer::Fenced(fence))));
            }
            let answer = if draft.ring.find(purpose, id).is_some() {
                let generations: Vec<_> = draft.ring.of(purpose).cloned().collect();
                Ok(Answer::Keys(lease_of(&generations)))
            } else if draft.ring.expired(purpose, id) {
                Ok(Answer::Expired(signer.expired(owner, purpose, id)))
            } else if draft.exists {
                // The whole ring was read and believed, and never had such a key: these bytes are not ours.
                Err(SealError::Corrupt)
            } else {
                // No ring at all says nothing about the thing.
                Err(SealError::Unavailable)
            };
            Ok((Touch::Nothing, answer))
        });
        answer.await
    }

    /// The answer to a service, apart from what it may ask for.
    pub(crate) async fn answer(
        &self,
        owner: Owner,
        purpose: Purpose,
        want: Want,
    ) -> Result<Result<Answer, SealError>, VaultError> {
        match want {
            Want::Open(id) => self.lease_to_open(owner, purpose, id).await,
            Want::Seal => self.lease_to_seal(owner, purpose).await.map(Ok),
            Want::Derive => match owner {
                Owner::Service(service) => {
                    let lease = own_keys(self.core(), service, purpose).await;
                    lease.map(|lease| Ok(Answer::Keys(lease)))
                }
                Owner::Account(_) | Owner::Home(_) => Err(VaultError::Denied),
            },
        }
    }
}

#[async_trait]
impl Leasing for Vault {
    async fn lease(
        &self,
        service: Service,
        owner: Owner,
        purpose: Purpose,
        want: Want,
    ) -> Result<Answer, SealError> {
        let what = match want {
            Want::Open(_) => Use::Open,
            Want::Seal | Want::Derive => Use::Seal,
        };
        if !permits(service, owner, purpose, what) {
            return Err(SealError::Denied);
        }
        let derives = matches!(purpose, Purpose::Hashing | Purpose::Signing);
        if want == Want::Derive && !derives {
            return Err(SealError::Denied);
        }
        let answer = self.answer(owner, purpose, want).await;
        answer.map_err(|error| refused(&error))?
    }
}

/// What a pass found to lend.
enum Granted {
    Fenced(FenceStatement),
    Keys {
        generations: Vec<Generation>,
        /// The key to seal with, until when, and whether a block was drawn for it.
        seal: Option<(KeyId, Timestamp, bool)>,
    },
    Nothing,
}

/// The first key of a service's own purpose, made when there is none.
async fn own_keys(core: &Core, service: Service, purpose: Purpose) -> Result<Lease, VaultError> {
    let owner = Owner::Service(service);
    let first = core.change(owner, |draft| {
        let touch = if draft.ring.ensure(purpose, draft.now)? {
            Touch::Keys
        } else {
            Touch::Nothing
        };
        Ok((touch, draft.ring.first(purpose).cloned()))
    });
    Ok(lease_of(first.await?.as_slice()))
}

/// 32 bytes of a key for a purpose and a name.
pub(crate) fn derive(
    key: &DataKey,
    purpose: Purpose,
    name: &str,
) -> Option<zeroize::Zeroizing<[u8; 32]>> {
    let number = purpose.number().to_be_bytes();
    key.derive(&[b"service secret/1", &number, name.as_bytes()])
}

/// The same as a secret for a service.
pub(crate) fn derive_secret(key: &DataKey, purpose: Purpose, name: &str) -> Option<Secret> {
    derive(key, purpose, name).map(|bytes| Secret::new(bytes.to_vec()))
}

fn lease_of(generations: &[Generation]) -> Lease {
    let mut lease = Lease::new();
    for generation in generations {
        let key = DataKey::new(generation.id, Arc::clone(&generation.key));
        lease.add(key, generation.expires_at());
    }
    lease
}

/// Adds a drawn block. What a budget went below zero by was refused, not sealed.
fn credit(budget: &AtomicI64) {
    let add = |left: i64| Some(left.max(0).saturating_add(BLOCK_SEALS));
    let _ = budget.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
}

fn purposes(owner: Owner, which: &Fencing) -> Result<Vec<Purpose>, VaultError> {
    if matches!(owner, Owner::Service(_)) {
        return Err(VaultError::Denied);
    }
    let purposes = match which {
        Fencing::All => purposes_of(owner),
        Fencing::AllButRecords => {
            let mut all = purposes_of(owner);
            all.retain(|purpose| *purpose != Purpose::Records);
            all
        }
        Fencing::Only(some) => some.clone(),
    };
    if purposes.iter().all(|purpose| belongs(owner, *purpose)) {
        Ok(purposes)
    } else {
        Err(VaultError::Denied)
    }
}

fn fenced(fences: &[Fence], purpose: Purpose) -> bool {
    fence_of(fences, purpose).is_some()
}

fn fence_of(fences: &[Fence], purpose: Purpose) -> Option<FenceStatement> {
    let mut fences = fences.iter();
    let fence = fences.find(|fence| fence.statement.purpose == purpose);
    fence.map(|fence| fence.statement.clone())
}

fn statements(fences: &[Fence]) -> Vec<FenceStatement> {
    fences.iter().map(|fence| fence.statement.clone()).collect()
}

/// What a service hears of a failure; people hear the whole of it.
fn refused(error: &VaultError) -> SealError {
    match error {
        VaultError::Store(StoreError::Terminal(_))
        | VaultError::Corrupt(_)
        | VaultError::KeyMissing { .. }
        | VaultError::Random => tracing::error!(%error, "a ring cannot be used"),
        _ => tracing::debug!(%error, "a ring cannot be used for now"),
    }
    SealError::from(error)
}
