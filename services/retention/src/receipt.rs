//! Receipts, verified without Hearth: a key that was got before or elsewhere, the signature, then the body.
//!
//! Nothing here asks a service or a store. `hearth ctl verify` and whoever holds a receipt use it.

use hearth_api::retention::v1::ReceiptBody;
use prost::Message;
use ring::digest::{SHA256, digest};
use ring::signature::{ED25519, UnparsedPublicKey};

/// What stands before the body in what is signed, with a zero byte after it.
const DOMAIN: &[u8] = b"hearth.receipt.v1\0";

/// Why a receipt proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// The key did not sign these bytes.
    #[error("the signature is not that of this key over these bytes")]
    Signature,
    /// What was signed is no receipt.
    #[error("the signed bytes are no receipt")]
    Body,
}

/// The bytes that are signed for a body.
pub(crate) fn signed_bytes(body: &[u8]) -> Vec<u8> {
    [DOMAIN, body].concat()
}

/// The id of a key: 32 lower-case hexadecimal digits, the first half of the SHA-256 of the public key.
#[must_use]
pub fn key_id(public_key: &[u8]) -> String {
    let hash = digest(&SHA256, public_key);
    let half = hash.as_ref().iter().take(16);
    half.map(|byte| format!("{byte:02x}")).collect()
}

/// Checks a receipt: `body` as it was received, never encoded again; the signature; and the public key, which the
/// caller compares with keys that were got before or elsewhere. Answers what the receipt says.
///
/// # Errors
/// See [`ReceiptError`].
pub fn verify_receipt(
    body: &[u8],
    signature: &[u8],
    public_key: &[u8],
) -> Result<ReceiptBody, ReceiptError> {
    UnparsedPublicKey::new(&ED25519, public_key)
        .verify(&signed_bytes(body), signature)
        .map_err(|_| ReceiptError::Signature)?;
    ReceiptBody::decode(body).map_err(|_| ReceiptError::Body)
}

#[cfg(test)]
mod tests {
    //! One byte of difference anywhere, and it is no receipt.

    use ring::signature::{Ed25519KeyPair, KeyPair};

    use super::*;

    #[test]
    fn a_receipt_verifies_under_its_key_alone_and_not_when_a_byte_differs() {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let body = ReceiptBody {
            receipt_id: "ab".repeat(16),
            ..ReceiptBody::default()
        };
        let bytes = body.encode_to_vec();
        let signature = pair.sign(&signed_bytes(&bytes));
        let key = pair.public_key().as_ref();
        assert_eq!(verify_receipt(&bytes, signature.as_ref(), key), Ok(body));
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 1;
            assert_eq!(
                verify_receipt(&other, signature.as_ref(), key),
                Err(ReceiptError::Signature)
            );
        }
        let other = Ed25519KeyPair::from_seed_unchecked(&[8; 32]).unwrap();
        let other = other.public_key().as_ref();
        assert!(verify_receipt(&bytes, signature.as_ref(), other).is_err());
        assert!(verify_receipt(&bytes, pair.sign(&bytes).as_ref(), key).is_err());
        assert!(verify_receipt(&bytes, &[], &[]).is_err());
        assert_eq!(key_id(key).len(), 32);
    }
}
