//! The drill: opens whatever the surviving keys open, in bytes of any origin, to search them for planted plaintext.
//!
//! A role of its own, for canary owners, tests and the demo: nothing that serves makes one, and whoever makes one
//! holds the log and custody already. It does not ask what a sealed value is: it finds key ids where they lie and
//! undoes the cipher behind them without its authentication. So it finds also what lost its place, such as a part of a
//! deleted row, and what it gives is a guess.

use std::collections::HashMap;
use std::sync::Arc;

use hearth_kernel::Owner;
use hearth_ports::{KeyCustody, Log, Position};

use crate::error::VaultError;
use crate::keyring::KeyRing;
use crate::record::{RingRecord, bucket_of, owner_of};
use crate::seal::{DataKey, ID_LEN};
use crate::upkeep::RECORDS;

/// Rings read at once.
const PAGE: usize = 256;
/// Bytes of plaintext that are guessed behind one key id: more than any name, fewer than a long chunk.
const GUESS: usize = 4096;
/// Bytes of a nonce.
const NONCE: usize = 12;

/// Every data key that a log and a custody give together.
pub struct Drill {
    keys: HashMap<[u8; ID_LEN], (Owner, DataKey)>,
    /// Owners with a ring that did not open.
    closed: Vec<Owner>,
}

impl std::fmt::Debug for Drill {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Drill({} keys)", self.keys.len())
    }
}

/// What lay behind one key id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guess {
    /// Whose key it was.
    pub owner: Owner,
    /// Where the key id lies.
    pub at: usize,
    /// At most 4 KiB of what may be plaintext; what follows the sealed value is noise.
    pub clear: Vec<u8>,
}

impl Drill {
    /// Opens every ring of the log, and of the escrow beside it, that any epoch key of custody opens.
    ///
    /// # Errors
    /// `Store` when log or custody cannot be read.
    pub async fn new(log: &dyn Log, custody: &dyn KeyCustody) -> Result<Self, VaultError> {
        let epochs = custody.epochs().await?;
        let open = |owner: Owner, bytes: &[u8]| -> Option<KeyRing> {
            let record = RingRecord::decode(bytes).ok()?;
            let of_bucket = |bucket: u8| bucket == bucket_of(owner);
            let mut keys = epochs.iter().filter(|epoch| of_bucket(epoch.bucket));
            keys.find_map(|epoch| record.open(&epoch.key))
        };
        let mut drill = Self {
            keys: HashMap::new(),
            closed: Vec::new(),
        };
        let mut after = Position::START;
        loop {
            let page = log.page(RECORDS, after, PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(drill);
            };
            after = last.position;
            for message in &page {
                let Some(owner) = owner_of(&message.subject) else {
                    continue;
                };
                let escrowed = custody.escrowed_ring(owner).await?;
                let copies = [
                    open(owner, &message.bytes),
                    escrowed.and_then(|(_, bytes)| open(owner, &bytes)),
                ];
                if copies.iter().all(Option::is_none) {
                    drill.closed.push(owner);
                }
                for ring in copies.into_iter().flatten() {
                    drill.add(owner, &ring);
                }
            }
        }
    }

    fn add(&mut self, owner: Owner, ring: &KeyRing) {
        for generation in ring.generations() {
            let key = DataKey::new(generation.id, Arc::clone(&generation.key));
            self.keys.insert(*generation.id.as_bytes(), (owner, key));
        }
    }

    /// How many keys of an owner it holds.
    #[must_use]
    pub fn keys_of(&self, owner: Owner) -> usize {
        self.keys.values().filter(|(of, _)| *of == owner).count()
    }

    /// How many keys it holds.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.keys.len()
    }

    /// Owners that have a ring which it could not open, or which holds nothing.
    #[must_use]
    pub fn closed(&self) -> &[Owner] {
        &self.closed
    }

    /// Hands on what lies behind every id of a key that it holds, wherever it starts in these bytes.
    pub fn open(&self, bytes: &[u8], mut found: impl FnMut(Guess)) {
        let mut starts = vec![false; 1 << 16];
        for id in self.keys.keys() {
            if let Some(flag) = starts.get_mut(prefix(id)) {
                *flag = true;
            }
        }
        for (at, window) in bytes.windows(ID_LEN + NONCE).enumerate() {
            if !starts.get(prefix(window)).copied().unwrap_or(false) {
                continue;
            }
            let Some((id, nonce)) = window.split_first_chunk::<ID_LEN>() else {
                continue;
            };
            let Some((owner, key)) = self.keys.get(id) else {
                continue;
            };
            let start = at + ID_LEN + NONCE;
            let end = bytes.len().min(start + GUESS);
            let clear = bytes
                .get(start..end)
                .zip(nonce.first_chunk::<NONCE>())
                .and_then(|(hidden, nonce)| key.undo(*nonce, hidden));
            if let Some(clear) = clear {
                found(Guess {
                    owner: *owner,
                    at,
                    clear,
                });
            }
        }
    }
}

/// The first two bytes as a number.
fn prefix(bytes: &[u8]) -> usize {
    bytes
        .first_chunk::<2>()
        .map_or(0, |first| usize::from(u16::from_be_bytes(*first)))
}

#[cfg(test)]
mod tests;
