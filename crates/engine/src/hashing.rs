//! Keyed hashes: commit ids and new ids from requests, fingerprints, and the hash chain. And randomness.

use hearth_kernel::CommitId;
use ring::rand::SecureRandom;
use ring::{digest, hmac};
use uuid::{Builder, Uuid};

/// Derives ids under a service's hash key: the same input gives the same id, and an id tells nothing.
#[derive(Clone)]
pub struct Hasher {
    key: hmac::Key,
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hasher")
    }
}

impl Hasher {
    /// A hasher under these secret bytes.
    #[must_use]
    pub fn new(secret: &[u8]) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, secret),
        }
    }

    /// The HMAC-SHA-256 of labelled parts; each part is preceded by its length, so parts cannot run together.
    #[must_use]
    pub fn hash(&self, label: &str, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        for part in std::iter::once(label.as_bytes()).chain(parts.iter().copied()) {
            context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            context.update(part);
        }
        let mut out = [0; 32];
        out.copy_from_slice(context.sign().as_ref());
        out
    }

    /// A `UUIDv8` (RFC 9562, section 5.8) from labelled parts.
    #[must_use]
    pub fn id(&self, label: &str, parts: &[&[u8]]) -> Uuid {
        let hash = self.hash(label, parts);
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash[..16]);
        Builder::from_custom_bytes(bytes).into_uuid()
    }

    /// The commit id of a request: a keyed hash of who, which RPC and the client's request id.
    #[must_use]
    pub fn commit_id(&self, principal: &[u8], rpc: &str, request_id: &str) -> CommitId {
        self.id(
            "commit",
            &[principal, rpc.as_bytes(), request_id.as_bytes()],
        )
        .into()
    }

    /// The fingerprint of a request's content: 16 bytes. Leave secrets out: it is stored.
    #[must_use]
    pub fn fingerprint(&self, parts: &[&[u8]]) -> [u8; 16] {
        let hash = self.hash("fingerprint", parts);
        let mut out = [0; 16];
        out.copy_from_slice(&hash[..16]);
        out
    }
}

/// A random id. Answers the nil id if the system has no randomness, which nothing accepts as an id.
#[must_use]
pub fn random_id<T: From<Uuid>>() -> T {
    let mut bytes = [0; 16];
    if ring::rand::SystemRandom::new().fill(&mut bytes).is_err() {
        return Uuid::nil().into();
    }
    Builder::from_random_bytes(bytes).into_uuid().into()
}

/// A random number below `bound` (for jitter); 0 when `bound` is 0.
#[must_use]
pub fn random_below(bound: u64) -> u64 {
    let mut bytes = [0; 8];
    if bound == 0 || ring::rand::SystemRandom::new().fill(&mut bytes).is_err() {
        return 0;
    }
    u64::from_be_bytes(bytes) % bound
}

/// SHA-256 of a commit's bytes: the link of the hash chain.
#[must_use]
pub fn link(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}
