//! The key of a hub that is played for development. A real hub makes its key inside its own hardware.

use std::path::Path;

use bytes::Bytes;
use hearth_host::Exit;
use hearth_kernel::Timestamp;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use crate::ctl::session::write_private;

/// An Ed25519 key pair.
pub(super) struct HubKey(Ed25519KeyPair);

impl HubKey {
    /// The key in a file: its seed, 64 hexadecimal digits. Makes one, for this user only, if it is not there.
    ///
    /// # Errors
    /// `Usage` when the file is no key, or cannot be read or made.
    pub(super) fn load_or_make(path: &Path) -> Result<Self, Exit> {
        let wrong = |what: &str| Exit::usage(format!("{}: {what}", path.display()));
        let seed = match std::fs::read_to_string(path) {
            Ok(text) => {
                hex::decode(text.trim()).map_err(|_| wrong("this is not the key of a hub"))?
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let mut seed = [0; 32];
                let filled = SystemRandom::new().fill(&mut seed);
                filled.map_err(|_| wrong("the machine has no randomness for a key"))?;
                write_private(path, hex::encode(seed).as_bytes())
                    .map_err(|error| wrong(&format!("the key cannot be kept: {error}")))?;
                seed.to_vec()
            }
            Err(error) => return Err(wrong(&format!("the key cannot be read: {error}"))),
        };
        Ed25519KeyPair::from_seed_unchecked(&seed)
            .map(Self)
            .map_err(|_| wrong("this is not the key of a hub"))
    }

    /// 32 bytes.
    pub(super) fn public_key(&self) -> Bytes {
        Bytes::copy_from_slice(self.0.public_key().as_ref())
    }

    /// The signature of `BeginPairing`.
    pub(super) fn pairing(
        &self,
        audience: &str,
        request_id: &str,
        model: &str,
        at: Timestamp,
    ) -> Bytes {
        self.sign(&[
            b"hearth.pairing.v1",
            audience.as_bytes(),
            request_id.as_bytes(),
            self.0.public_key().as_ref(),
            model.as_bytes(),
            &at.micros().to_be_bytes(),
        ])
    }

    /// The signature of `GetPairing`.
    pub(super) fn pairing_state(&self, audience: &str, pairing_id: &str, at: Timestamp) -> Bytes {
        self.sign(&[
            b"hearth.pairing-state.v1",
            audience.as_bytes(),
            pairing_id.as_bytes(),
            &at.micros().to_be_bytes(),
        ])
    }

    fn sign(&self, parts: &[&[u8]]) -> Bytes {
        Bytes::copy_from_slice(self.0.sign(&signed(parts)).as_ref())
    }
}

/// What a hub signs: every part behind its length, so that parts cannot run together.
fn signed(parts: &[&[u8]]) -> Vec<u8> {
    let mut message = Vec::new();
    for part in parts {
        message.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        message.extend_from_slice(part);
    }
    message
}

#[cfg(test)]
mod tests {
    use ring::signature::{ED25519, UnparsedPublicKey};

    use super::*;

    #[test]
    fn the_key_stays_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hub.key");
        let made = HubKey::load_or_make(&path).unwrap().public_key();
        assert_eq!(HubKey::load_or_make(&path).unwrap().public_key(), made);
        std::fs::write(&path, "0123").unwrap();
        assert_eq!(
            HubKey::load_or_make(&path)
                .map(|_| ())
                .unwrap_err()
                .number(),
            64
        );
    }

    #[test]
    fn parts_stand_behind_their_lengths() {
        assert_eq!(signed(&[b"ab", b""]), [0, 0, 0, 2, b'a', b'b', 0, 0, 0, 0]);
        let folder = tempfile::tempdir().unwrap();
        let key = HubKey::load_or_make(&folder.path().join("hub.key")).unwrap();
        let at = Timestamp::from_micros(0x0102_0304_0506_0708);
        let signature = key.pairing_state("home", "p", at);
        let message = b"\0\0\0\x17hearth.pairing-state.v1\0\0\0\x04home\0\0\0\x01p\0\0\0\x08\x01\x02\x03\x04\x05\x06\x07\x08";
        let public = UnparsedPublicKey::new(&ED25519, key.public_key());
        assert!(public.verify(message, &signature).is_ok());
    }
}
