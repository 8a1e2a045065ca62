//! The file that outlives an account: what can ask about its erasure, the keys that receipts are checked with, got
//! before the erasure, and the receipts themselves.

use std::io;
use std::path::Path;

use bytes::Bytes;
use hearth_api::accounts::v1::CloseAccountResponse;
use hearth_api::retention::v1::{ReceiptKey, ReceiptReference, SignedReceipt};
use hearth_host::Exit;
use serde::{Deserialize, Serialize};

use super::session::write_private;
use super::values;

/// What the file holds. Bytes are in hexadecimal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReceiptFile {
    /// The server that was asked to erase.
    pub(crate) server: String,
    /// From closing.
    pub(crate) receipt_id: String,
    /// From closing: what proves the right to ask.
    receipt_secret: String,
    /// When the account was closed.
    closed_at: String,
    /// When the grace ends.
    grace_ends_at: String,
    /// The public keys of receipts that the server named when the account was closed.
    pub(crate) keys: Vec<Key>,
    /// The receipts that were got.
    #[serde(default)]
    pub(crate) receipts: Vec<Signed>,
}

/// A public key of receipts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Key {
    pub(crate) key_id: String,
    pub(crate) public_key: String,
}

/// A signed receipt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Signed {
    body: String,
    signature: String,
    key_id: String,
    public_key: String,
}

impl ReceiptFile {
    /// The file of an account that was just closed.
    pub(crate) fn new(server: &str, closed: &CloseAccountResponse, keys: &[ReceiptKey]) -> Self {
        let time = |it| {
            values::wire_time(it)
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        Self {
            server: server.to_owned(),
            receipt_id: closed.receipt_id.clone(),
            receipt_secret: hex::encode(&closed.receipt_secret),
            closed_at: time(closed.closed_at),
            grace_ends_at: time(closed.grace_ends_at),
            keys: keys.iter().map(Key::of).collect(),
            receipts: Vec::new(),
        }
    }

    /// Reads it.
    ///
    /// # Errors
    /// `Usage` when it is not there or is none.
    pub(crate) fn load(path: &Path) -> Result<Self, Exit> {
        let read = std::fs::read(path)
            .and_then(|bytes| serde_json::from_slice(&bytes).map_err(io::Error::from));
        read.map_err(|error| Exit::usage(format!("{}: not a receipt: {error}", path.display())))
    }

    /// Writes it, for this user only.
    ///
    /// # Errors
    /// `Failed` when it cannot be written.
    pub(crate) fn save(&self, path: &Path) -> Result<(), Exit> {
        let written = serde_json::to_vec_pretty(self)
            .map_err(io::Error::from)
            .and_then(|bytes| write_private(path, &bytes));
        let what = format!("{}: the receipt cannot be saved", path.display());
        written.map_err(|error| Exit::failed(&what, &error))
    }

    /// What asks about the erasure.
    ///
    /// # Errors
    /// `Usage` when the secret is damaged.
    pub(crate) fn reference(&self) -> Result<ReceiptReference, Exit> {
        let secret = hex::decode(&self.receipt_secret)
            .map_err(|_| Exit::usage("the receipt's secret is damaged"))?;
        Ok(ReceiptReference {
            receipt_id: self.receipt_id.clone(),
            receipt_secret: secret.into(),
        })
    }
}

impl Key {
    fn of(key: &ReceiptKey) -> Self {
        Self {
            key_id: key.key_id.clone(),
            public_key: hex::encode(&key.public_key),
        }
    }
}

impl Signed {
    pub(crate) fn of(receipt: &SignedReceipt) -> Self {
        Self {
            body: hex::encode(&receipt.body),
            signature: hex::encode(&receipt.signature),
            key_id: receipt.key_id.clone(),
            public_key: hex::encode(&receipt.public_key),
        }
    }

    /// In the form of the contract; `None` when it is damaged.
    pub(crate) fn receipt(&self) -> Option<SignedReceipt> {
        let bytes = |text: &str| hex::decode(text).ok().map(Bytes::from);
        Some(SignedReceipt {
            body: bytes(&self.body)?,
            signature: bytes(&self.signature)?,
            key_id: self.key_id.clone(),
            public_key: bytes(&self.public_key)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_kept_and_found_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("receipt.json");
        let closed = CloseAccountResponse {
            receipt_id: "a".repeat(32),
            receipt_secret: vec![5; 32].into(),
            ..CloseAccountResponse::default()
        };
        let key = ReceiptKey {
            key_id: "k".to_owned(),
            public_key: vec![1; 32].into(),
            ..ReceiptKey::default()
        };
        let mut file = ReceiptFile::new("http://a", &closed, &[key]);
        let signed = SignedReceipt {
            body: vec![1, 2].into(),
            signature: vec![3; 64].into(),
            key_id: "k".to_owned(),
            public_key: vec![1; 32].into(),
        };
        file.receipts.push(Signed::of(&signed));
        file.save(&path).unwrap();
        let again = ReceiptFile::load(&path).unwrap();
        assert_eq!(again, file);
        assert_eq!(again.receipts[0].receipt(), Some(signed));
        assert_eq!(
            again.reference().unwrap().receipt_secret,
            closed.receipt_secret
        );
        std::fs::write(&path, "{}").unwrap();
        assert_eq!(ReceiptFile::load(&path).unwrap_err().number(), 64);
    }
}
