//! Whether a receipt is true, without Hearth: the key, the signature over the exact bytes, and then what they say.

use hearth_api::retention::v1::receipt_body::Kind;
use hearth_api::retention::v1::{ReceiptBody, SignedReceipt};
use hearth_host::Exit;
use prost::Message as _;
use ring::digest;
use ring::signature::{ED25519, UnparsedPublicKey};
use serde_json::json;

use super::{residuals, steps};
use crate::ctl::output::{Shown, Table};
use crate::ctl::receipt::ReceiptFile;
use crate::ctl::values;

/// What stands before the body in what is signed, with a zero byte after it.
const DOMAIN: &[u8] = b"hearth.receipt.v1\0";

/// Checks every receipt of a file, against a key that was got elsewhere or those got at closing.
///
/// # Errors
/// `Usage` when there is none, `Failed` when one is not true.
pub(super) fn verify(file: &ReceiptFile, key: Option<&str>) -> Result<Shown, Exit> {
    if file.receipts.is_empty() {
        return Err(Exit::usage(
            "no receipts are in this file: get them with erasure receipts",
        ));
    }
    let mut parts = Vec::new();
    for signed in &file.receipts {
        let receipt = signed.receipt().ok_or_else(|| untrue("it is damaged"))?;
        let trusted = file.keys.iter().map(|it| it.public_key.as_str());
        let trusted: Vec<_> = key.map_or_else(|| trusted.collect(), |key| vec![key]);
        let body = checked(&receipt, &trusted).map_err(untrue)?;
        if body.receipt_id != file.receipt_id {
            return Err(untrue("it is of another erasure"));
        }
        let title = match body.kind() {
            Kind::Keys => "the_keys_are_destroyed",
            Kind::Bytes => "the_bytes_are_gone",
            Kind::Unspecified => return Err(untrue("it does not say what it proves")),
        };
        parts.push((title, shown(&receipt, &body)));
    }
    Ok(Shown::Parts(parts))
}

fn untrue(why: &str) -> Exit {
    Exit::Failed(format!("a receipt cannot be believed: {why}"))
}

/// What a receipt says, once key and signature are right. `trusted` are public keys in hexadecimal.
fn checked(receipt: &SignedReceipt, trusted: &[&str]) -> Result<ReceiptBody, &'static str> {
    let hash = digest::digest(&digest::SHA256, &receipt.public_key);
    if hex::encode(&hash.as_ref()[..16]) != receipt.key_id {
        return Err("its key is not the one that it names");
    }
    let key = hex::encode(&receipt.public_key);
    if !trusted
        .iter()
        .any(|trusted| trusted.eq_ignore_ascii_case(&key))
    {
        return Err("its key is not one that was known before; name one got elsewhere with --key");
    }
    let message = [DOMAIN, &receipt.body].concat();
    UnparsedPublicKey::new(&ED25519, &receipt.public_key)
        .verify(&message, &receipt.signature)
        .map_err(|_| "its signature is wrong")?;
    let body = ReceiptBody::decode(receipt.body.clone()).map_err(|_| "its body cannot be read")?;
    let found_after = body.search.as_ref().map_or(0, |search| search.found_after);
    if found_after > 0 {
        return Err("it says that something was found after the erasure");
    }
    Ok(body)
}

fn shown(receipt: &SignedReceipt, body: &ReceiptBody) -> Shown {
    let search = body.search.unwrap_or_default();
    let removed = body
        .stores
        .iter()
        .map(|it| vec![json!(it.store), json!(it.removed)]);
    Shown::Parts(vec![
        (
            "receipt",
            Shown::One(vec![
                ("signature", json!("right")),
                ("key_id", json!(receipt.key_id)),
                ("receipt_id", json!(body.receipt_id)),
                ("installation_id", json!(body.installation_id)),
                ("issued_at", values::wire_time(body.issued_at)),
                ("key_rings_destroyed", json!(body.rings_destroyed)),
                ("files_searched", json!(search.files)),
                ("bytes_searched", json!(search.bytes)),
                ("markers", json!(search.markers)),
                ("found_before", json!(search.found_before)),
                ("found_after", json!(search.found_after)),
                ("found_residual", json!(search.found_residual)),
            ]),
        ),
        ("steps", steps(&body.steps).into()),
        ("removed", Table::of(&["store", "items"], removed).into()),
        ("residuals", residuals(&body.residuals).into()),
        ("caveats", Shown::List(body.caveats.clone())),
    ])
}

#[cfg(test)]
mod tests {
    use hearth_api::retention::v1::SearchResult;
    use ring::signature::{Ed25519KeyPair, KeyPair as _};

    use super::*;
    use crate::ctl::receipt::{Key, Signed};

    const ID: &str = "0123456789abcdef0123456789abcdef";

    fn pair(seed: u8) -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
    }

    fn public(seed: u8) -> String {
        hex::encode(pair(seed).public_key())
    }

    /// A receipt as the server makes it, after its body was changed.
    fn receipt(seed: u8, change: impl FnOnce(&mut ReceiptBody)) -> SignedReceipt {
        let mut body = ReceiptBody {
            kind: Kind::Keys.into(),
            receipt_id: ID.to_owned(),
            ..ReceiptBody::default()
        };
        change(&mut body);
        let body = body.encode_to_vec();
        let pair = pair(seed);
        let hash = digest::digest(&digest::SHA256, pair.public_key().as_ref());
        let signature = pair.sign(&[DOMAIN, &body].concat());
        SignedReceipt {
            body: body.into(),
            signature: signature.as_ref().to_vec().into(),
            key_id: hex::encode(&hash.as_ref()[..16]),
            public_key: pair.public_key().as_ref().to_vec().into(),
        }
    }

    fn file(receipt: &SignedReceipt) -> ReceiptFile {
        let mut file = ReceiptFile::default();
        ID.clone_into(&mut file.receipt_id);
        file.keys.push(Key {
            key_id: String::new(),
            public_key: public(1),
        });
        file.receipts.push(Signed::of(receipt));
        file
    }

    fn refused(receipt: &SignedReceipt) -> String {
        verify(&file(receipt), None).unwrap_err().to_string()
    }

    #[test]
    fn a_true_receipt_is_believed() {
        let shown = verify(&file(&receipt(1, |_| {})), None).unwrap().json();
        let facts = &shown["the_keys_are_destroyed"]["receipt"];
        assert_eq!(
            (&facts["signature"], &facts["receipt_id"]),
            (&json!("right"), &json!(ID))
        );
        assert!(verify(&file(&receipt(1, |_| {})), Some(&public(1).to_uppercase())).is_ok());
    }

    #[test]
    fn what_was_changed_or_made_up_is_not() {
        let mut changed = receipt(1, |_| {});
        let mut body = changed.body.to_vec();
        let last = body.len() - 1;
        body[last] ^= 1;
        changed.body = body.into();
        assert!(refused(&changed).contains("signature"));
        assert!(refused(&receipt(2, |_| {})).contains("not one that was known before"));
        let known = file(&receipt(1, |_| {}));
        assert!(
            verify(&known, Some(&public(2))).is_err(),
            "a key that is named replaces the others"
        );
        let mut named = receipt(1, |_| {});
        named.key_id = "0".repeat(32);
        assert!(refused(&named).contains("not the one that it names"));
    }

    #[test]
    fn a_receipt_of_another_erasure_or_of_none_is_not() {
        assert!(refused(&receipt(1, |body| body.receipt_id.clear())).contains("another erasure"));
        assert!(refused(&receipt(1, |body| body.kind = 0)).contains("what it proves"));
        let found = SearchResult {
            found_after: 1,
            ..SearchResult::default()
        };
        let found = receipt(1, |body| body.search = Some(found));
        assert!(refused(&found).contains("found after the erasure"));
        let empty = ReceiptFile::default();
        assert_eq!(verify(&empty, None).unwrap_err().number(), 64);
    }
}
