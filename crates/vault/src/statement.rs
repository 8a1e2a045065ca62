//! What the vault signs: that a purpose of an owner is fenced, and that a key's period is over.
//!
//! A handle folds something as erased or expired only behind such a signature (Ed25519, RFC 8032), so that
//! no missing row, lost key or broken store can ever look like an erasure.

use hearth_kernel::{InstallationId, KeyId, Owner, Purpose, Timestamp};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

use crate::error::VaultError;

/// One purpose of one owner is fenced: its keys are destroyed, and none is ever made again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FenceStatement {
    /// Whose.
    pub owner: Owner,
    /// Which purpose.
    pub purpose: Purpose,
    /// When the fence was set.
    pub fenced_at: Timestamp,
    /// The vault's signature.
    pub signature: [u8; 64],
}

/// The period of one key is over, and the key destroyed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpiredStatement {
    /// Whose.
    pub owner: Owner,
    /// Which purpose.
    pub purpose: Purpose,
    /// Which key.
    pub key: KeyId,
    /// The vault's signature.
    pub signature: [u8; 64],
}

fn fence_message(
    installation: InstallationId,
    owner: Owner,
    purpose: Purpose,
    at: Timestamp,
) -> Vec<u8> {
    let mut message = b"hearth/vault/fence/1".to_vec();
    message.extend_from_slice(installation.as_bytes());
    message.extend_from_slice(&owner.to_bytes());
    message.extend_from_slice(&purpose.number().to_be_bytes());
    message.extend_from_slice(&at.micros().to_be_bytes());
    message
}

fn expired_message(
    installation: InstallationId,
    owner: Owner,
    purpose: Purpose,
    key: KeyId,
) -> Vec<u8> {
    let mut message = b"hearth/vault/expired/1".to_vec();
    message.extend_from_slice(installation.as_bytes());
    message.extend_from_slice(&owner.to_bytes());
    message.extend_from_slice(&purpose.number().to_be_bytes());
    message.extend_from_slice(key.as_bytes());
    message
}

/// Signs for one installation.
pub(crate) struct Signer {
    pair: Ed25519KeyPair,
    verifier: Verifier,
}

impl Signer {
    pub(crate) fn new(installation: InstallationId, seed: &[u8; 32]) -> Result<Self, VaultError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed)
            .map_err(|_| VaultError::Corrupt("the vault's signing seed is refused"))?;
        let public = pair.public_key().as_ref().first_chunk::<32>().copied();
        let public = public.ok_or(VaultError::Corrupt("a public key is not 32 bytes"))?;
        Ok(Self {
            pair,
            verifier: Verifier::new(installation, public),
        })
    }

    pub(crate) fn verifier(&self) -> Verifier {
        self.verifier.clone()
    }

    pub(crate) fn fence(&self, owner: Owner, purpose: Purpose, at: Timestamp) -> FenceStatement {
        let message = fence_message(self.verifier.installation, owner, purpose, at);
        FenceStatement {
            owner,
            purpose,
            fenced_at: at,
            signature: self.sign(&message),
        }
    }

    pub(crate) fn expired(&self, owner: Owner, purpose: Purpose, key: KeyId) -> ExpiredStatement {
        let message = expired_message(self.verifier.installation, owner, purpose, key);
        ExpiredStatement {
            owner,
            purpose,
            key,
            signature: self.sign(&message),
        }
    }

    fn sign(&self, message: &[u8]) -> [u8; 64] {
        // An Ed25519 signature always has 64 bytes; a wrong one would be refused by every verifier.
        let signature = self.pair.sign(message);
        signature
            .as_ref()
            .first_chunk::<64>()
            .copied()
            .unwrap_or([0; 64])
    }
}

/// Checks what the vault of one installation signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verifier {
    installation: InstallationId,
    public: [u8; 32],
}

impl Verifier {
    /// For that installation and Ed25519 public key.
    #[must_use]
    pub const fn new(installation: InstallationId, public: [u8; 32]) -> Self {
        Self {
            installation,
            public,
        }
    }

    /// The public key.
    #[must_use]
    pub const fn public_key(&self) -> &[u8; 32] {
        &self.public
    }

    /// Whether the vault signed this fence.
    #[must_use]
    pub fn fence(&self, fence: &FenceStatement) -> bool {
        let message = fence_message(
            self.installation,
            fence.owner,
            fence.purpose,
            fence.fenced_at,
        );
        self.verify(&message, &fence.signature)
    }

    /// Whether the vault signed that this key's period is over.
    #[must_use]
    pub fn expired(&self, expired: &ExpiredStatement) -> bool {
        let message = expired_message(
            self.installation,
            expired.owner,
            expired.purpose,
            expired.key,
        );
        self.verify(&message, &expired.signature)
    }

    fn verify(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.public)
            .verify(message, signature)
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use hearth_kernel::AccountId;

    use super::*;

    #[test]
    fn a_statement_says_one_thing_of_one_installation() {
        let here = InstallationId::from_bytes([1; 16]);
        let signer = Signer::new(here, &[7; 32]).unwrap();
        let owner = Owner::Account(AccountId::from_bytes([2; 16]));
        let fence = signer.fence(owner, Purpose::Profile, Timestamp::from_seconds(5));
        let verifier = signer.verifier();
        assert!(verifier.fence(&fence));
        let other = Verifier::new(InstallationId::from_bytes([9; 16]), *verifier.public_key());
        assert!(!other.fence(&fence));
        let moved = FenceStatement {
            purpose: Purpose::Inbox,
            ..fence
        };
        assert!(!verifier.fence(&moved));

        let key = KeyId::from_bytes([3; 16]);
        let expired = signer.expired(owner, Purpose::Inbox, key);
        assert!(verifier.expired(&expired));
        let moved = ExpiredStatement {
            key: KeyId::from_bytes([4; 16]),
            ..expired
        };
        assert!(!verifier.expired(&moved));
    }
}
