//! Sealing and opening with one data key: AES-256-GCM by `ring`, random nonce, key id in front.
//!
//! Knows bytes and keys; not owners' rights, rings or the log. A sealed value is key id (16), nonce (12),
//! ciphertext, tag (16); see `hearth_ports::sealing`.

use std::cell::RefCell;
use std::hint::black_box;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use hearth_kernel::{KeyId, Secret};
use hearth_ports::sealing::OVERHEAD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroizing;

use crate::error::VaultError;

/// Bytes of a key id in front of a sealed value.
pub(crate) const ID_LEN: usize = 16;
/// Bytes of the tag at its end.
const TAG_LEN: usize = 16;
/// Nonces drawn from the machine at once: a system call costs as much as sealing 500 bytes.
const NONCES_AT_ONCE: usize = 128;

/// 256 secret bits, shared and never copied: the one place that is overwritten when the last holder is gone.
pub(crate) type Key = Arc<Zeroizing<[u8; 32]>>;

/// A new random key.
pub(crate) fn random_key() -> Result<Key, VaultError> {
    let mut key = Arc::new(Zeroizing::new([0; 32]));
    let fresh = Arc::get_mut(&mut key).ok_or(VaultError::Random)?;
    fill_random(fresh.as_mut_slice())?;
    Ok(key)
}

/// A key from bytes that stand elsewhere.
pub(crate) fn key_from(bytes: &[u8; 32]) -> Key {
    let mut key = Arc::new(Zeroizing::new([0; 32]));
    if let Some(fresh) = Arc::get_mut(&mut key) {
        fresh.copy_from_slice(bytes);
    }
    key
}

/// Fills with random bytes of the machine.
pub(crate) fn fill_random(out: &mut [u8]) -> Result<(), VaultError> {
    SystemRandom::new()
        .fill(out)
        .map_err(|_| VaultError::Random)
}

/// The expanded key. `ring` does not overwrite its keys, so this writes another one over it when dropped.
struct Expanded(LessSafeKey);

impl Expanded {
    fn new(key: &[u8; 32]) -> Option<Self> {
        let key = UnboundKey::new(&AES_256_GCM, key).ok()?;
        Some(Self(LessSafeKey::new(key)))
    }
}

impl Drop for Expanded {
    fn drop(&mut self) {
        if let Ok(zero) = UnboundKey::new(&AES_256_GCM, &[0; 32]) {
            self.0 = LessSafeKey::new(zero);
            // Keeps the compiler from dropping a write that nobody reads.
            black_box(&self.0);
        }
    }
}

/// One data key, ready for use. Expanded when first used: most leased keys never are.
pub(crate) struct DataKey {
    id: KeyId,
    raw: Key,
    expanded: OnceLock<Option<Box<Expanded>>>,
}

impl std::fmt::Debug for DataKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DataKey({})", self.id)
    }
}

impl DataKey {
    pub(crate) fn new(id: KeyId, raw: Key) -> Self {
        Self {
            id,
            raw,
            expanded: OnceLock::new(),
        }
    }

    pub(crate) fn id(&self) -> KeyId {
        self.id
    }

    fn key(&self) -> Option<&LessSafeKey> {
        self.expanded
            .get_or_init(|| Expanded::new(&self.raw).map(Box::new))
            .as_ref()
            .map(|expanded| &expanded.0)
    }

    /// Seals. `None` only when the machine gives no random bytes.
    pub(crate) fn seal(&self, associated: &[u8], clear: &[u8]) -> Option<Bytes> {
        let nonce = next_nonce()?;
        let mut out = Vec::with_capacity(OVERHEAD + clear.len());
        out.extend_from_slice(self.id.as_bytes());
        seal_into(self.key()?, nonce, associated, clear, &mut out)?;
        Some(Bytes::from(out))
    }

    /// Opens; `None` when it is not what was sealed, or not with this key or as this thing.
    pub(crate) fn open(&self, associated: &[u8], sealed: &[u8]) -> Option<Secret> {
        let (id, rest) = sealed.split_at_checked(ID_LEN)?;
        if id != self.id.as_bytes() {
            return None;
        }
        open_from(self.key()?, associated, rest).map(Secret::new)
    }

    /// Undoes the cipher without asking whether this is what was sealed: for the drill alone. What GCM seals of zeros
    /// is its key stream.
    pub(crate) fn undo(&self, nonce: [u8; NONCE_LEN], hidden: &[u8]) -> Option<Vec<u8>> {
        let mut clear = vec![0; hidden.len()];
        let nonce = Nonce::assume_unique_for_key(nonce);
        let _tag = self
            .key()?
            .seal_in_place_separate_tag(nonce, Aad::empty(), &mut clear)
            .ok()?;
        for (clear, hidden) in clear.iter_mut().zip(hidden) {
            *clear ^= hidden;
        }
        Some(clear)
    }

    /// 32 bytes derived from the key for a named use (HKDF-SHA256, RFC 5869).
    pub(crate) fn derive(&self, info: &[&[u8]]) -> Option<Zeroizing<[u8; 32]>> {
        let mut out = Zeroizing::new([0; 32]);
        Salt::new(HKDF_SHA256, b"hearth/vault/1")
            .extract(self.raw.as_slice())
            .expand(info, HKDF_SHA256)
            .ok()?
            .fill(out.as_mut_slice())
            .ok()?;
        Some(out)
    }
}

/// Wraps bytes under a key that is used rarely: nonce, ciphertext, tag.
pub(crate) fn wrap(key: &[u8; 32], associated: &[u8], clear: &[u8]) -> Result<Vec<u8>, VaultError> {
    let mut out = Vec::with_capacity(NONCE_LEN + clear.len() + TAG_LEN);
    Expanded::new(key)
        .zip(next_nonce())
        .and_then(|(key, nonce)| seal_into(&key.0, nonce, associated, clear, &mut out))
        .ok_or(VaultError::Random)?;
    Ok(out)
}

/// Unwraps what [`wrap`] wrote.
pub(crate) fn unwrap(
    key: &[u8; 32],
    associated: &[u8],
    wrapped: &[u8],
) -> Option<Zeroizing<Vec<u8>>> {
    let key = Expanded::new(key)?;
    open_from(&key.0, associated, wrapped).map(Zeroizing::new)
}

fn seal_into(
    key: &LessSafeKey,
    nonce: [u8; NONCE_LEN],
    associated: &[u8],
    clear: &[u8],
    out: &mut Vec<u8>,
) -> Option<()> {
    out.extend_from_slice(&nonce);
    let start = out.len();
    out.extend_from_slice(clear);
    let nonce = Nonce::assume_unique_for_key(nonce);
    let tag = key
        .seal_in_place_separate_tag(nonce, Aad::from(associated), out.get_mut(start..)?)
        .ok()?;
    out.extend_from_slice(tag.as_ref());
    Some(())
}

fn open_from(key: &LessSafeKey, associated: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let (nonce, ciphertext) = sealed.split_first_chunk::<NONCE_LEN>()?;
    let length = ciphertext.len().checked_sub(TAG_LEN)?;
    let mut buffer = ciphertext.to_vec();
    let nonce = Nonce::assume_unique_for_key(*nonce);
    key.open_in_place(nonce, Aad::from(associated), &mut buffer)
        .ok()?;
    buffer.truncate(length);
    Some(buffer)
}

/// A random nonce. Nonces are public, so that drawing them ahead gives nothing away.
fn next_nonce() -> Option<[u8; NONCE_LEN]> {
    struct Drawn {
        bytes: [u8; NONCE_LEN * NONCES_AT_ONCE],
        used: usize,
    }
    thread_local! {
        static DRAWN: RefCell<Drawn> = const {
            RefCell::new(Drawn { bytes: [0; NONCE_LEN * NONCES_AT_ONCE], used: NONCES_AT_ONCE })
        };
    }
    DRAWN.with_borrow_mut(|drawn| {
        if drawn.used == NONCES_AT_ONCE {
            fill_random(&mut drawn.bytes).ok()?;
            drawn.used = 0;
        }
        let start = drawn.used * NONCE_LEN;
        let nonce = drawn.bytes.get(start..)?.first_chunk::<NONCE_LEN>()?;
        drawn.used += 1;
        Some(*nonce)
    })
}

/// The id of the key that sealed it: the first 16 bytes.
pub(crate) fn key_id(sealed: &[u8]) -> Option<KeyId> {
    if sealed.len() < OVERHEAD {
        return None;
    }
    KeyId::from_slice(sealed.get(..ID_LEN)?)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn nonces_do_not_repeat_across_draws() {
        let nonces: HashSet<_> = (0..1000).map(|_| next_nonce().unwrap()).collect();
        assert_eq!(nonces.len(), 1000);
    }

    #[test]
    fn derived_secrets_differ_by_name_and_stay_the_same() {
        let key = DataKey::new(KeyId::from_bytes([1; 16]), random_key().unwrap());
        let one = key.derive(&[b"a"]).unwrap();
        assert_eq!(one, key.derive(&[b"a"]).unwrap());
        assert_ne!(one, key.derive(&[b"b"]).unwrap());
    }

    #[test]
    fn short_or_foreign_bytes_do_not_open() {
        let key = DataKey::new(KeyId::from_bytes([1; 16]), random_key().unwrap());
        let sealed = key.seal(b"thing", b"clear").unwrap();
        assert_eq!(sealed.len(), 5 + OVERHEAD);
        assert_eq!(key.open(b"thing", &sealed).unwrap().expose(), b"clear");
        for length in 0..sealed.len() {
            assert!(key.open(b"thing", &sealed[..length]).is_none(), "{length}");
        }
    }
}
