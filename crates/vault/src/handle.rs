//! Sealing and opening for one service: a cache of leased keys in front of the vault.
//!
//! The hot path is one look into a map and one AES-GCM. Everything else asks the vault: a key that is not
//! here, a used-up budget, a slot that ended. Answers *erased* and *expired* only behind the vault's signature.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hearth_kernel::{KeyId, Owner, Purpose, Secret, Service, Timestamp};
use hearth_ports::{Binding, Clock, Opened, SealError, Sealing, sealing::ToOpen};

use crate::fences::{FenceReader, KeyHolder};
use crate::lease::{Answer, Lease, Leasing, Want};
use crate::seal;
use crate::statement::Verifier;
use crate::table::{Use, permits};
use crate::vault::derive_secret;

/// Owners' purposes whose keys one handle holds at once. At most about 20 keys each, most of them 32 bytes.
const MAX_LEASES: usize = 8_192;
/// Fences that one handle remembers having verified.
const MAX_KNOWN_FENCES: usize = 65_536;
/// Tries to lease when fences of the same bucket keep arriving meanwhile.
const LEASE_TRIES: u32 = 4;
/// The longest wait for the vault, or for the fences.
const DEADLINE: Duration = Duration::from_secs(15);

type LeaseKey = (Owner, Purpose);

/// One service's sealing.
pub(crate) struct Handle {
    service: Service,
    source: Arc<dyn Leasing>,
    fences: Arc<FenceReader>,
    clock: Arc<dyn Clock>,
    verifier: Verifier,
    cache: Arc<Cache>,
}

/// The keys that a handle holds.
#[derive(Default)]
struct Cache {
    held: RwLock<Held>,
}

#[derive(Default)]
struct Held {
    leases: HashMap<LeaseKey, Arc<Lease>>,
    /// Fences whose signature was checked here. A fence is for ever, so these are never wrong.
    fenced: HashMap<LeaseKey, ()>,
}

/// What is known of an owner's purpose.
enum Known {
    Lease(Arc<Lease>),
    Fenced,
    Expired,
}

impl KeyHolder for Cache {
    fn drop_keys(&self, owner: Owner, purposes: &[Purpose]) {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        for purpose in purposes {
            held.leases.remove(&(owner, *purpose));
        }
    }

    fn drop_all(&self) {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        held.leases = HashMap::new();
    }
}

impl Cache {
    fn get(&self, key: &LeaseKey) -> Option<Known> {
        let held = self.held.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(lease) = held.leases.get(key) {
            return Some(Known::Lease(Arc::clone(lease)));
        }
        held.fenced.contains_key(key).then_some(Known::Fenced)
    }

    /// Keeps a lease unless a fence of that bucket arrived since `mark`.
    fn put(&self, key: LeaseKey, lease: &Arc<Lease>, fences: &FenceReader, mark: u64) -> bool {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        if fences.mark(key.0) != mark {
            return false;
        }
        bound(&mut held.leases, MAX_LEASES);
        held.leases.insert(key, Arc::clone(lease));
        true
    }

    fn put_fence(&self, key: LeaseKey) {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        held.leases.remove(&key);
        bound(&mut held.fenced, MAX_KNOWN_FENCES);
        held.fenced.insert(key, ());
    }
}

/// Makes room in a full map: an eighth of it goes, whichever comes first.
fn bound<V>(map: &mut HashMap<LeaseKey, V>, most: usize) {
    if map.len() >= most {
        let some: Vec<_> = map.keys().take(most / 8).copied().collect();
        for key in some {
            map.remove(&key);
        }
    }
}

impl Handle {
    pub(crate) fn new(
        service: Service,
        source: Arc<dyn Leasing>,
        fences: Arc<FenceReader>,
        clock: Arc<dyn Clock>,
        verifier: Verifier,
    ) -> Self {
        let cache = Arc::new(Cache::default());
        let weak: Weak<Cache> = Arc::downgrade(&cache);
        fences.register(weak);
        Self {
            service,
            source,
            fences,
            clock,
            verifier,
            cache,
        }
    }

    fn check(&self, owner: Owner, purpose: Purpose, what: Use) -> Result<(), SealError> {
        if permits(self.service, owner, purpose, what) {
            Ok(())
        } else {
            Err(SealError::Denied)
        }
    }

    /// The time, if leases are alive now. Else every key is dropped, and the fences are read before any is
    /// leased again.
    async fn live_now(&self) -> Result<Timestamp, SealError> {
        let now = self.clock.now();
        if self.fences.is_fresh(now) {
            return Ok(now);
        }
        self.cache.drop_all();
        match tokio::time::timeout(DEADLINE, self.fences.refresh()).await {
            Ok(Ok(())) => Ok(self.clock.now()),
            Ok(Err(error)) => {
                tracing::warn!(%error, "fences cannot be read, keys are dropped");
                Err(SealError::Unavailable)
            }
            Err(_) => Err(SealError::Unavailable),
        }
    }

    /// Asks the vault.
    async fn lease(&self, owner: Owner, purpose: Purpose, want: Want) -> Result<Known, SealError> {
        for _ in 0..LEASE_TRIES {
            let mark = self.fences.mark(owner);
            let asked = self.source.lease(self.service, owner, purpose, want);
            let answer = tokio::time::timeout(DEADLINE, asked)
                .await
                .map_err(|_| SealError::Unavailable)??;
            match answer {
                Answer::Keys(lease) => {
                    let lease = Arc::new(lease);
                    let key = (owner, purpose);
                    if self.cache.put(key, &lease, &self.fences, mark) {
                        return Ok(Known::Lease(lease));
                    }
                }
                Answer::Fenced(fence) => {
                    let about = fence.owner == owner && fence.purpose == purpose;
                    if !about || !self.verifier.fence(&fence) {
                        return Err(SealError::Unavailable);
                    }
                    self.cache.put_fence((owner, purpose));
                    return Ok(Known::Fenced);
                }
                Answer::Expired(expired) => {
                    let about = expired.owner == owner
                        && expired.purpose == purpose
                        && want == Want::Open(expired.key);
                    if !about || !self.verifier.expired(&expired) {
                        return Err(SealError::Unavailable);
                    }
                    return Ok(Known::Expired);
                }
            }
        }
        Err(SealError::Unavailable)
    }

    /// What is known for opening what that key sealed.
    async fn known(
        &self,
        owner: Owner,
        purpose: Purpose,
        id: KeyId,
        now: Timestamp,
    ) -> Result<Known, SealError> {
        match self.cache.get(&(owner, purpose)) {
            Some(Known::Lease(lease)) if lease.opening_key(id, now).is_none() => {}
            Some(known) => return Ok(known),
            None => {}
        }
        self.lease(owner, purpose, Want::Open(id)).await
    }

    async fn open_one(
        &self,
        owner: Owner,
        purpose: Purpose,
        binding: &Binding,
        sealed: &[u8],
    ) -> Result<Opened, SealError> {
        let now = self.live_now().await?;
        let id = seal::key_id(sealed).ok_or(SealError::Corrupt)?;
        let lease = match self.known(owner, purpose, id, now).await? {
            Known::Fenced => return Ok(Opened::Erased),
            Known::Expired => return Ok(Opened::Expired),
            Known::Lease(lease) => lease,
        };
        // Its period may have ended in this very moment; the next try hears so from the vault.
        let key = lease.opening_key(id, now).ok_or(SealError::Unavailable)?;
        let associated = binding.associated_data(owner, purpose, id);
        let clear = key.open(&associated, sealed).ok_or(SealError::Corrupt)?;
        Ok(Opened::Clear(clear))
    }
}

/// Whether what is to be sealed was observed before its period began.
fn too_old(binding: &Binding, now: Timestamp) -> bool {
    match binding {
        Binding::Segment { class, day, .. } | Binding::Chunk { class, day, .. } => {
            day.end().plus(class.period()) <= now
        }
        _ => false,
    }
}

#[async_trait]
impl Sealing for Handle {
    async fn seal(
        &self,
        owner: Owner,
        purpose: Purpose,
        binding: &Binding,
        clear: &[u8],
    ) -> Result<Bytes, SealError> {
        self.check(owner, purpose, Use::Seal)?;
        let now = self.live_now().await?;
        if too_old(binding, now) {
            return Err(SealError::Expired);
        }
        let mut lease = match self.cache.get(&(owner, purpose)) {
            Some(Known::Lease(lease)) => Some(lease),
            Some(Known::Fenced) => return Err(SealError::Fenced),
            Some(Known::Expired) | None => None,
        };
        for _ in 0..LEASE_TRIES {
            if let Some(key) = lease.as_ref().and_then(|lease| lease.sealing_key(now)) {
                let associated = binding.associated_data(owner, purpose, key.id());
                return key.seal(&associated, clear).ok_or(SealError::Unavailable);
            }
            lease = match self.lease(owner, purpose, Want::Seal).await? {
                Known::Lease(lease) => Some(lease),
                Known::Fenced => return Err(SealError::Fenced),
                Known::Expired => None,
            };
        }
        Err(SealError::Unavailable)
    }

    async fn open(
        &self,
        owner: Owner,
        purpose: Purpose,
        binding: &Binding,
        sealed: &[u8],
    ) -> Result<Opened, SealError> {
        self.check(owner, purpose, Use::Open)?;
        self.open_one(owner, purpose, binding, sealed).await
    }

    async fn open_all(
        &self,
        owner: Owner,
        purpose: Purpose,
        things: &[ToOpen<'_>],
    ) -> Result<Vec<Opened>, SealError> {
        self.check(owner, purpose, Use::Open)?;
        let mut opened = Vec::with_capacity(things.len());
        for thing in things {
            let one = self.open_one(owner, purpose, &thing.binding, thing.sealed);
            opened.push(one.await?);
        }
        Ok(opened)
    }

    async fn service_secret(&self, purpose: Purpose, name: &str) -> Result<Secret, SealError> {
        let owner = Owner::Service(self.service);
        self.check(owner, purpose, Use::Seal)?;
        self.live_now().await?;
        let lease = match self.cache.get(&(owner, purpose)) {
            Some(Known::Lease(lease)) => lease,
            _ => match self.lease(owner, purpose, Want::Derive).await? {
                Known::Lease(lease) => lease,
                Known::Fenced | Known::Expired => return Err(SealError::Unavailable),
            },
        };
        lease
            .deriving_key()
            .and_then(|key| derive_secret(key, purpose, name))
            .ok_or(SealError::Unavailable)
    }
}

#[cfg(test)]
mod tests;
