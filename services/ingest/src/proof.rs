//! What hubs sign, and whether they did: Ed25519 over parts, each preceded by its length as 4 bytes, big-endian.

use hearth_kernel::{ClaimId, HubId};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ED25519, UnparsedPublicKey};
use uuid::Builder;

/// The domain tag of the stream of readings.
pub const INGEST_TAG: &str = "hearth.ingest.v1";
/// The domain tag of a wish to be paired.
pub const PAIRING_TAG: &str = "hearth.pairing.v1";
/// The domain tag of a question after a pairing.
pub const PAIRING_STATE_TAG: &str = "hearth.pairing-state.v1";

/// The id of the hub with that public key: the first half of a hash of it.
#[must_use]
pub fn hub_of(public_key: &[u8; 32]) -> HubId {
    let hash = digest(&SHA256, &framed(&[b"hearth.hub.v1", public_key]));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.as_ref()[..16]);
    Builder::from_custom_bytes(bytes).into_uuid().into()
}

/// The bytes that are signed.
#[must_use]
pub fn framed(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::with_capacity(parts.iter().map(|it| it.len() + 4).sum());
    for part in parts {
        let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(part);
    }
    out
}

/// Whether the holder of the key signed these parts.
#[must_use]
pub fn is_signed(public_key: &[u8; 32], parts: &[&[u8]], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, public_key)
        .verify(&framed(parts), signature)
        .is_ok()
}

/// Whether a hub signed for its stream.
#[must_use]
pub fn opens_stream(
    public_key: &[u8; 32],
    audience: &str,
    nonce: &[u8; 32],
    (hub, claim): (HubId, ClaimId),
    signature: &[u8],
) -> bool {
    let parts: [&[u8]; 5] = [
        INGEST_TAG.as_bytes(),
        audience.as_bytes(),
        nonce,
        hub.as_bytes(),
        claim.as_bytes(),
    ];
    is_signed(public_key, &parts, signature)
}

/// 32 random bytes; `None` when the machine has none.
#[must_use]
pub fn nonce() -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use ring::signature::{Ed25519KeyPair, KeyPair};

    use super::*;

    #[test]
    fn a_signature_is_for_one_nonce_claim_and_audience() {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[3; 32]).unwrap();
        let key: [u8; 32] = pair.public_key().as_ref().try_into().unwrap();
        let (hub, claim) = (hub_of(&key), ClaimId::from_bytes([1; 16]));
        let parts: [&[u8]; 5] = [
            INGEST_TAG.as_bytes(),
            b"home.example",
            &[7; 32],
            hub.as_bytes(),
            claim.as_bytes(),
        ];
        let signature = pair.sign(&framed(&parts));
        let opens = |audience, nonce: &[u8; 32], claim| {
            opens_stream(&key, audience, nonce, (hub, claim), signature.as_ref())
        };
        assert!(opens("home.example", &[7; 32], claim));
        assert!(!opens("other.example", &[7; 32], claim));
        assert!(!opens("home.example", &[8; 32], claim));
        assert!(!opens(
            "home.example",
            &[7; 32],
            ClaimId::from_bytes([2; 16])
        ));
    }

    #[test]
    fn parts_do_not_run_together() {
        assert_ne!(framed(&[b"ab", b"c"]), framed(&[b"a", b"bc"]));
    }
}
