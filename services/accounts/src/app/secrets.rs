//! Secrets that are derived and never stored: codes, undo tokens, refresh tokens, receipts.
//!
//! Each is a keyed hash, under the service's own ring, of the ids it belongs to. Whoever asks twice gets the same one
//! twice, there is no record of it to steal, and it moves with a restore.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hearth_engine::Hasher;
use hearth_kernel::{
    AccountId, CommitId, HomeId, InvitationId, ReceiptId, RegistrationId, Secret, SessionId,
};
use subtle::ConstantTimeEq;

/// Session, generation and hash.
const REFRESH_BYTES: usize = 16 + 8 + 32;
/// Home and hash.
const INVITATION_BYTES: usize = 16 + 32;

/// Derives the service's secrets.
#[derive(Clone, Debug)]
pub(crate) struct Secrets {
    hasher: Hasher,
}

/// A refresh token that was shown: what it claims, not proved yet.
pub(crate) struct Shown {
    /// The session.
    pub(crate) session: SessionId,
    /// The generation.
    pub(crate) generation: u64,
    hash: [u8; 32],
}

impl Secrets {
    /// Derives under this key.
    pub(crate) fn new(key: &Secret) -> Self {
        Self {
            hasher: Hasher::new(key.expose()),
        }
    }

    /// The code of a registration: 8 digits.
    pub(crate) fn verification_code(&self, registration: RegistrationId) -> String {
        let hash = self
            .hasher
            .hash("verification-code", &[registration.as_bytes()]);
        let mut first = [0; 8];
        first.copy_from_slice(&hash[..8]);
        format!("{:08}", u64::from_be_bytes(first) % 100_000_000)
    }

    /// What takes a closing back.
    pub(crate) fn undo_token(&self, account: AccountId, receipt: ReceiptId) -> String {
        let parts: [&[u8]; 2] = [account.as_bytes(), receipt.as_bytes()];
        URL_SAFE_NO_PAD.encode(self.hasher.hash("undo", &parts))
    }

    /// The receipt of a closing: its id, and the secret that proves whose it is.
    pub(crate) fn receipt(&self, closing: CommitId) -> (ReceiptId, [u8; 32]) {
        let parts: [&[u8]; 1] = [closing.as_bytes()];
        let id = self.hasher.id("receipt", &parts).into();
        (id, self.hasher.hash("receipt-secret", &parts))
    }

    /// What takes an invitation.
    pub(crate) fn invitation_code(&self, home: HomeId, invitation: InvitationId) -> String {
        let mut bytes = home.as_bytes().to_vec();
        bytes.extend_from_slice(&self.invitation_hash(home, invitation));
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn invitation_hash(&self, home: HomeId, invitation: InvitationId) -> [u8; 32] {
        let parts: [&[u8]; 2] = [home.as_bytes(), invitation.as_bytes()];
        self.hasher.hash("invitation", &parts)
    }

    /// The home of an invitation, if the code is the right one.
    pub(crate) fn invited_home(&self, invitation: InvitationId, code: &str) -> Option<HomeId> {
        let bytes = URL_SAFE_NO_PAD.decode(code).ok()?;
        let bytes = <[u8; INVITATION_BYTES]>::try_from(bytes).ok()?;
        let home = HomeId::from_slice(&bytes[..16])?;
        let right = self.invitation_hash(home, invitation);
        bool::from(bytes[16..].ct_eq(&right)).then_some(home)
    }

    /// The refresh token of a generation.
    pub(crate) fn refresh_token(
        &self,
        session: SessionId,
        seed: CommitId,
        generation: u64,
    ) -> String {
        let mut bytes = session.as_bytes().to_vec();
        bytes.extend_from_slice(&generation.to_be_bytes());
        bytes.extend_from_slice(&self.refresh_hash(session, seed, generation));
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn refresh_hash(&self, session: SessionId, seed: CommitId, generation: u64) -> [u8; 32] {
        let generation = generation.to_be_bytes();
        let parts: [&[u8]; 3] = [session.as_bytes(), seed.as_bytes(), &generation];
        self.hasher.hash("refresh", &parts)
    }

    /// Whether a shown refresh token is one that was given out.
    pub(crate) fn proves(&self, shown: &Shown, seed: CommitId) -> bool {
        let right = self.refresh_hash(shown.session, seed, shown.generation);
        shown.hash.ct_eq(&right).into()
    }
}

impl Shown {
    /// What a refresh token claims, if it is one at all.
    pub(crate) fn parse(token: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let bytes = <[u8; REFRESH_BYTES]>::try_from(bytes).ok()?;
        Some(Self {
            session: SessionId::from_slice(&bytes[..16])?,
            generation: u64::from_be_bytes(bytes[16..24].try_into().ok()?),
            hash: bytes[24..].try_into().ok()?,
        })
    }
}

/// Whether two texts are the same, in a time that does not tell where they differ.
pub(crate) fn same(one: &str, other: &str) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    //! What is derived is found again, and nothing else is taken for it.

    use super::*;

    fn secrets() -> Secrets {
        Secrets::new(&Secret::new(vec![7; 32]))
    }

    #[test]
    fn a_code_is_eight_digits_and_the_registration_s_own() {
        let code = |n| secrets().verification_code(RegistrationId::from_bytes([n; 16]));
        assert_eq!(code(1).len(), 8);
        assert!(code(1).bytes().all(|it| it.is_ascii_digit()));
        assert_eq!(code(1), code(1));
        assert_ne!(code(1), code(2));
    }

    #[test]
    fn a_refresh_token_proves_its_session_seed_and_generation() {
        let (session, seed) = (
            SessionId::from_bytes([1; 16]),
            CommitId::from_bytes([2; 16]),
        );
        let token = secrets().refresh_token(session, seed, 5);
        assert!(token.len() <= 128);
        let mut shown = Shown::parse(&token).expect("a token");
        assert_eq!((shown.session, shown.generation), (session, 5));
        assert!(secrets().proves(&shown, seed));
        assert!(!secrets().proves(&shown, CommitId::from_bytes([3; 16])));
        shown.generation = 6;
        assert!(!secrets().proves(&shown, seed));
        for other in ["", "x", &token[1..], &format!("{token}A")] {
            assert!(Shown::parse(other).is_none(), "{other}");
        }
    }

    #[test]
    fn an_invitation_code_names_its_home() {
        let (home, invitation) = (
            HomeId::from_bytes([1; 16]),
            InvitationId::from_bytes([2; 16]),
        );
        let code = secrets().invitation_code(home, invitation);
        assert_eq!(secrets().invited_home(invitation, &code), Some(home));
        let other = InvitationId::from_bytes([3; 16]);
        assert_eq!(secrets().invited_home(other, &code), None);
        assert_eq!(secrets().invited_home(invitation, "AAAA"), None);
    }
}
