//! Password hashing: argon2id in a fixed number of arenas, with a bounded queue in front, off the async threads.
//!
//! Memory is what makes guessing dear, so it is what is bounded: never more arenas than configured, whatever arrives.
//! The key of the hash (the pepper) is the service's own secret and lies apart from the hashes.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use hearth_kernel::{Failure, Reason, Secret};
use ring::rand::{SecureRandom, SystemRandom};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

/// Bytes of a salt (RFC 9106, section 3.1).
const SALT_BYTES: usize = 16;
/// Bytes of a hash.
const HASH_BYTES: usize = 32;
/// The most memory that a stored hash may ask for, in KiB: a corrupt one must not take the machine down.
const MOST_MEMORY_KIB: u32 = 1024 * 1024;
/// When to come back when the queue is full.
const COME_BACK: Duration = Duration::from_secs(1);

/// What a hash costs. Changing it rehashes each password at its next sign-in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cost {
    /// Memory in KiB: 46 MiB unless configured.
    pub(crate) memory_kib: u32,
    /// Passes over the memory.
    pub(crate) passes: u32,
    /// Arenas, and so hashes at a time.
    pub(crate) arenas: usize,
    /// Hashes that may wait.
    pub(crate) queue: usize,
}

/// Hashes and verifies. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Passwords {
    inner: Arc<Inner>,
}

struct Inner {
    cost: Cost,
    pepper: Secret,
    places: Semaphore,
    waiting: AtomicUsize,
    arenas: Mutex<Vec<Vec<Block>>>,
    /// The blocks of each hash that was computed.
    #[cfg(test)]
    filled: Mutex<Vec<usize>>,
}

impl std::fmt::Debug for Passwords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Passwords({:?})", self.inner.cost)
    }
}

/// A stored hash, taken apart.
struct Stored {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

impl Stored {
    /// Reads a PHC string of argon2id, version 19.
    fn parse(phc: &str) -> Option<Self> {
        let mut fields = phc.strip_prefix("$argon2id$v=19$")?.split('$');
        let (costs, salt, hash) = (fields.next()?, fields.next()?, fields.next()?);
        let mut costs = costs.split(',');
        let mut cost = |name: &str| {
            let value = costs.next()?.strip_prefix(name)?.strip_prefix('=')?;
            value.parse::<u32>().ok()
        };
        let stored = Self {
            memory_kib: cost("m")?,
            passes: cost("t")?,
            lanes: cost("p")?,
            salt: STANDARD_NO_PAD.decode(salt).ok()?,
            hash: STANDARD_NO_PAD.decode(hash).ok()?,
        };
        let sane = stored.memory_kib <= MOST_MEMORY_KIB && stored.hash.len() == HASH_BYTES;
        (sane && fields.next().is_none()).then_some(stored)
    }

    fn write(&self) -> Secret {
        Secret::from(format!(
            "$argon2id$v=19$m={},t={},p={}${}${}",
            self.memory_kib,
            self.passes,
            self.lanes,
            STANDARD_NO_PAD.encode(&self.salt),
            STANDARD_NO_PAD.encode(&self.hash),
        ))
    }
}

/// What a look at a password found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Whether it is the right one.
    pub(crate) right: bool,
    /// Whether its hash is of another cost than today's.
    pub(crate) outdated: bool,
}

impl Passwords {
    /// Arenas are allocated when they are first needed, and kept: a fresh one costs more than the hash.
    pub(crate) fn new(cost: Cost, pepper: Secret) -> Self {
        Self {
            inner: Arc::new(Inner {
                cost,
                pepper,
                places: Semaphore::new(cost.arenas.max(1)),
                waiting: AtomicUsize::new(0),
                arenas: Mutex::new(Vec::new()),
                #[cfg(test)]
                filled: Mutex::default(),
            }),
        }
    }

    /// The PHC string of a password's hash, with a new salt.
    ///
    /// # Errors
    /// `TOO_MANY_REQUESTS` when the queue is full, `INTERNAL` when the machine gives no randomness.
    pub(crate) async fn hash(&self, password: &Secret) -> Result<Secret, Failure> {
        let mut salt = vec![0; SALT_BYTES];
        let random = SystemRandom::new().fill(&mut salt);
        random.map_err(|_| Failure::new(Reason::INTERNAL))?;
        let mut stored = Stored {
            memory_kib: self.inner.cost.memory_kib,
            passes: self.inner.cost.passes,
            lanes: 1,
            salt,
            hash: Vec::new(),
        };
        stored.hash = self.derive(password, &stored).await?;
        Ok(stored.write())
    }

    /// Whether a password is that of a stored hash; costs the same either way.
    ///
    /// # Errors
    /// `TOO_MANY_REQUESTS` when the queue is full, `DATA_CORRUPT` when the hash cannot be read.
    pub(crate) async fn verify(&self, password: &Secret, phc: &Secret) -> Result<Verdict, Failure> {
        let stored = phc.expose_text().and_then(Stored::parse);
        let stored = stored.ok_or_else(|| Failure::new(Reason::DATA_CORRUPT))?;
        let derived = self.derive(password, &stored).await?;
        let cost = self.inner.cost;
        let today = (cost.memory_kib, cost.passes, 1);
        Ok(Verdict {
            right: derived.ct_eq(&stored.hash).into(),
            outdated: (stored.memory_kib, stored.passes, stored.lanes) != today,
        })
    }

    /// A hash of today's cost that no password has: what is verified against where there is nobody.
    pub(crate) fn decoy(&self) -> Secret {
        let stored = Stored {
            memory_kib: self.inner.cost.memory_kib,
            passes: self.inner.cost.passes,
            lanes: 1,
            salt: vec![0; SALT_BYTES],
            hash: vec![0; HASH_BYTES],
        };
        stored.write()
    }

    async fn derive(&self, password: &Secret, stored: &Stored) -> Result<Vec<u8>, Failure> {
        let full = || Failure::new(Reason::TOO_MANY_REQUESTS).retry_after(COME_BACK);
        let params = Params::new(
            stored.memory_kib,
            stored.passes,
            stored.lanes,
            Some(HASH_BYTES),
        );
        let params = params.map_err(|_| Failure::new(Reason::DATA_CORRUPT))?;
        let waiting = Waiting::enter(&self.inner).ok_or_else(full)?;
        let place = self.inner.places.acquire().await;
        let place = place.map_err(|_| Failure::new(Reason::SHUTTING_DOWN))?;
        drop(waiting);
        let inner = Arc::clone(&self.inner);
        let (password, salt) = (password.clone(), stored.salt.clone());
        let work = tokio::task::spawn_blocking(move || inner.fill(params, &password, &salt));
        let derived = work.await.map_err(|_| Failure::new(Reason::INTERNAL))?;
        drop(place);
        derived.ok_or_else(|| Failure::new(Reason::INTERNAL))
    }
}

impl Inner {
    fn fill(&self, params: Params, password: &Secret, salt: &[u8]) -> Option<Vec<u8>> {
        let blocks = params.block_count();
        #[cfg(test)]
        self.filled.lock().ok()?.push(blocks);
        let mut arena = self.arenas().pop().unwrap_or_default();
        arena.resize(blocks.max(arena.len()), Block::new());
        let (algorithm, version) = (Algorithm::Argon2id, Version::V0x13);
        let argon =
            Argon2::new_with_secret(self.pepper.expose(), algorithm, version, params).ok()?;
        let mut out = vec![0; HASH_BYTES];
        let done = argon.hash_password_into_with_memory(
            password.expose(),
            salt,
            &mut out,
            &mut arena[..blocks],
        );
        // What the password left in the arena is overwritten by the next one; it never leaves the process.
        self.arenas().push(arena);
        done.ok().map(|()| out)
    }

    fn arenas(&self) -> std::sync::MutexGuard<'_, Vec<Vec<Block>>> {
        self.arenas.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place in the queue; given back when dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn enter(inner: &'a Inner) -> Option<Self> {
        let most = inner.cost.queue.saturating_add(inner.cost.arenas);
        let before = inner.waiting.fetch_add(1, Ordering::AcqRel);
        let place = Self(&inner.waiting);
        (before < most).then_some(place)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    //! Hashes come back as right or wrong, an old cost is seen, and a full queue refuses.

    use super::*;

    const CHEAP: Cost = Cost {
        memory_kib: 64,
        passes: 1,
        arenas: 1,
        queue: 0,
    };

    fn passwords(cost: Cost, pepper: u8) -> Passwords {
        Passwords::new(cost, Secret::new(vec![pepper; 32]))
    }

    #[tokio::test]
    async fn the_right_password_and_no_other() {
        let passwords = passwords(CHEAP, 1);
        let phc = passwords.hash(&Secret::from("right")).await.unwrap();
        let verdict = |right| Verdict {
            right,
            outdated: false,
        };
        let right = Secret::from("right");
        assert_eq!(passwords.verify(&right, &phc).await, Ok(verdict(true)));
        let wrong = Secret::from("wrong");
        assert_eq!(passwords.verify(&wrong, &phc).await, Ok(verdict(false)));
        let decoy = passwords.decoy();
        assert_eq!(passwords.verify(&right, &decoy).await, Ok(verdict(false)));
        let again = passwords.hash(&right).await.unwrap();
        assert_ne!(again.expose(), phc.expose(), "salted");
    }

    #[tokio::test]
    async fn another_pepper_opens_nothing_and_another_cost_is_seen() {
        let right = Secret::from("right");
        let phc = passwords(CHEAP, 1).hash(&right).await.unwrap();
        let other = passwords(CHEAP, 2).verify(&right, &phc).await.unwrap();
        assert!(!other.right);
        let dearer = Cost {
            memory_kib: 128,
            ..CHEAP
        };
        let verdict = passwords(dearer, 1).verify(&right, &phc).await.unwrap();
        assert!(verdict.right && verdict.outdated);
    }

    #[tokio::test]
    async fn a_decoy_costs_one_hash_over_as_much_memory_as_a_password() {
        let passwords = passwords(CHEAP, 1);
        let phc = passwords.hash(&Secret::from("right")).await.unwrap();
        let cost = async |phc: &Secret| {
            passwords.inner.filled.lock().unwrap().clear();
            let verdict = passwords.verify(&Secret::from("wrong"), phc).await.unwrap();
            assert!(!verdict.right && !verdict.outdated);
            passwords.inner.filled.lock().unwrap().clone()
        };
        let known = cost(&phc).await;
        assert_eq!(known.len(), 1);
        assert_eq!(cost(&passwords.decoy()).await, known);
    }

    #[tokio::test]
    async fn what_is_no_hash_is_corrupt_and_never_a_yes() {
        let passwords = passwords(CHEAP, 1);
        for text in ["", "$argon2id$v=19$m=99999999,t=1,p=1$AAAA$AAAA", "plain"] {
            let found = passwords.verify(&"x".into(), &text.into()).await;
            assert_eq!(found.unwrap_err().reason, Reason::DATA_CORRUPT, "{text}");
        }
    }

    #[tokio::test]
    async fn a_full_queue_refuses_and_says_when_to_come_back() {
        let passwords = passwords(CHEAP, 1);
        let held = passwords.inner.places.acquire().await.unwrap();
        // One hash may wait for the arena; this is one more.
        let waiting = Waiting::enter(&passwords.inner);
        let refused = passwords.hash(&Secret::from("another")).await;
        drop(waiting);
        drop(held);
        let failure = refused.unwrap_err();
        assert_eq!(failure.reason, Reason::TOO_MANY_REQUESTS);
        assert!(failure.retry_after.is_some());
        assert_eq!(passwords.inner.waiting.load(Ordering::SeqCst), 0);
    }
}
